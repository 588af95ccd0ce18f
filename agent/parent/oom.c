/*
 * oom: the role apply where the unit has too little memory for it.
 *
 * The kernel kills it then, and its rules stay. An agent that ended for it and was started anew would do the
 * same at once, for ever. So the parent goes on, says what has happened, and has the starter start the role
 * again, each time after a longer pause. What else ends the role ends the agent, as ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parent/inside.h"

enum { GONE_US = 3000000 };

/* memory.events of our control group; -1. To be opened before the jail. */
static int
events_open(const struct parent *p)
{
	char line[512], path[600];
	FILE *f;
	int fd = -1;

	if (p->o->memory_events)
		return open(p->o->memory_events, O_RDONLY | O_CLOEXEC);
	f = fopen("/proc/self/cgroup", "re");
	while (f && fd < 0 && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.events", line + 3);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (f)
		fclose(f);
	return fd;
}

/* How many of our processes the kernel has killed for want of memory. */
static uint64_t
kills(const struct parent *p)
{
	char text[1024];
	ssize_t n = p->memory_events < 0 ? -1 : pread(p->memory_events, text, sizeof text - 1, 0);
	const char *at;

	text[n > 0 ? n : 0] = '\0';
	at = strstr(text, "oom_kill ");
	return at ? strtoull(at + 9, NULL, 10) : 0;
}

bool
oom_killed(struct parent *p, int sig)
{
	uint64_t n = kills(p), was = p->oom_kills;

	p->oom_kills = n;
	return sig == SIGKILL && n > was;
}

const char *
oom_words(struct parent *p, int sig)
{
	if (sig == SIGSYS)
		return ": its jail forbids a call that it made";
	if (sig != SIGKILL || kills(p) <= p->oom_kills)
		return "";
	/* one of them: another's end may not have been told yet */
	p->oom_kills++;
	return " for want of memory (oom_kill in memory.events): is MemoryMax= of the unit too small for this policy?";
}

static int
start(struct parent *p)
{
	struct start_role w = {.which = START_APPLY};
	struct role *r = &p->apply;
	int pair[2], err = ipc_pair(pair);

	if (err)
		return err;
	err = starter_role(p, &p->rules, r, &w, &pair[1], 1);
	close(pair[1]);
	if (err) {
		close(pair[0]);
		return err;
	}
	r->chan = pair[0];
	err = sd_event_add_io(p->ev, &r->io, r->chan, EPOLLIN, on_apply, p);
	if (err < 0)
		return err;
	/* all that it knew is told to it anew */
	op_settle(p);
	return 0;
}

static void
fell(struct parent *p)
{
	asks_gone(p);
	p->note[0] = '\0';
	if (!p->oom) {
		log_say(LOG_IS_ERROR, NULL, "without the role apply the agent ends; the rules stay in the kernel");
		parent_end(p, 1);
		return;
	}
	snprintf(p->trouble, sizeof p->trouble, "the role apply was killed for want of memory (SIGKILL, and oom_kill in "
	    "memory.events): is MemoryMax= of the unit too small for this policy? The rules stay as they are, and it is "
	    "started again, each time after a longer pause");
	log_say(LOG_IS_ERROR, (struct log_field[]){{"ROLE", "apply"}, {"CAUSE", "oom_kill"}, {NULL, NULL}}, "%s", p->trouble);
	notify_status(p);
}

void
oom_begin(struct parent *p)
{
	p->memory_events = events_open(p);
	p->oom_kills = kills(p);
	p->rules = (struct team){.name = "the role apply", .role = {&p->apply}, .n = 1, .start = start, .fell = fell,
	    .starter = &p->starter, .up = true};
}

void
oom_fell(struct parent *p)
{
	p->oom = true;
	p->rules.wanted = true;
	snprintf(p->rules.why, sizeof p->rules.why, "it was killed for want of memory");
	team_fell(p, &p->rules);
}

void
apply_gone(struct parent *p)
{
	if (p->rules.wanted)
		team_wait(p, &p->rules, now_us(CLOCK_MONOTONIC) + GONE_US);
	else
		role_gone(p, &p->apply);
	/* who heard of its end has done all */
	if (p->apply.chan < 0 || p->ending)
		return;
	p->oom = false;
	team_fell(p, &p->rules);
}
