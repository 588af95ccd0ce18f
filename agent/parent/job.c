/*
 * job: children of the spawner, one question each.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parent/inside.h"

static void
unlink_job(struct parent *p, struct job *j)
{
	for (struct job **at = &p->job; *at; at = &(*at)->next)
		if (*at == j) {
			*at = j->next;
			return;
		}
}

static struct job *
job_free(struct job *j)
{
	if (j) {
		sd_event_source_unref(j->io);
		if (j->chan >= 0)
			close(j->chan);
		free(j);
	}
	return NULL;
}

/* Tells who waits, once. */
static void
answer(struct job *j, struct ipc_in *in, const char *why)
{
	if (j->answered)
		return;
	j->answered = true;
	j->io = sd_event_source_unref(j->io);
	j->fn(j->arg, in, why);
}

static int
on_child(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct job *j = arg;
	struct ipc_in in;
	int err = ipc_recv(fd, &in);

	(void)s, (void)events;
	if (err == -EAGAIN)
		return 0;
	if (err == 1 && in.type == j->want) {
		answer(j, &in, NULL);
	} else if (err == 0) {
		/* closed without an answer: how it ended, the spawner tells */
		sd_event_source_set_enabled(j->io, SD_EVENT_OFF);
		return 0;
	} else {
		answer(j, NULL, "the child answered with what is no answer");
	}
	if (err == 1)
		ipc_free(&in);
	return 0;
}

static const char *const job_name[SPAWN_NASK] = {
	[SPAWN_COMPILE] = "compile",
	[SPAWN_NAMES] = "names",
};

/* How long a child may take, milliseconds. */
static uint32_t
most_ms(const struct parent *p, uint32_t type)
{
	uint32_t ms = type == SPAWN_NAMES ? NAMES_MS : JOB_MS;

	return p->o->job_ms && p->o->job_ms < ms ? p->o->job_ms : ms;
}

int
job_start(struct parent *p, uint32_t type, uint32_t ask, const struct ipc_shape *s, const void *body,
    const int *fd, uint32_t nfd, uint32_t want, job_fn *fn, void *arg)
{
	struct spawn_job w = {.ms = most_ms(p, type)};
	struct job *j;
	unsigned n = 0;
	int pair[2], err;

	for (j = p->job; j; j = j->next)
		n++;
	if (n >= MOST_JOBS)
		return -EBUSY;
	j = calloc(1, sizeof *j);
	if (!j)
		return -ENOMEM;
	err = ipc_pair(pair);
	if (err) {
		free(j);
		return err;
	}
	if (++p->next_id == 0)
		p->next_id = 1;
	*j = (struct job){.id = p->next_id, .type = type, .want = want, .chan = pair[0], .fn = fn,
	    .arg = arg};
	err = ipc_send(j->chan, ask, j->id, s, body, fd, nfd);
	if (!err)
		err = ipc_send(p->spawner.chan, type, j->id, &spawn_job_shape, &w, &pair[1], 1);
	close(pair[1]);
	if (!err)
		err = sd_event_add_io(p->ev, &j->io, j->chan, EPOLLIN, on_child, j);
	if (err < 0) {
		job_free(j);
		return err;
	}
	j->next = p->job;
	p->job = j;
	return 0;
}

bool
jobs_drop(struct parent *p, const void *arg)
{
	bool any = false;

	for (struct job *j = p->job; j; j = j->next) {
		if (j->arg != arg || j->answered)
			continue;
		/* the spawner passes over what is closed */
		j->answered = any = true;
		j->io = sd_event_source_disable_unref(j->io);
		close(j->chan);
		j->chan = -1;
	}
	return any;
}

static void
ended(struct parent *p, uint32_t id, const struct spawn_ended *e)
{
	struct job *j = p->job;
	struct ipc_in in;
	char why[300];

	while (j && j->id != id)
		j = j->next;
	if (!j)
		return;
	unlink_job(p, j);
	/* its answer may lie in the channel still */
	if (!j->answered && ipc_recv(j->chan, &in) == 1) {
		if (in.type == j->want)
			answer(j, &in, NULL);
		ipc_free(&in);
	}
	if (e->err)
		snprintf(why, sizeof why, "the %s child could not be run: %s", job_name[j->type],
		    strerror((int)e->err));
	else if (e->late)
		snprintf(why, sizeof why, "the %s child was ended: it took longer than %u s",
		    job_name[j->type], most_ms(p, j->type) / 1000);
	else if (e->signal)
		snprintf(why, sizeof why, "the %s child was killed by signal %u (%s)%s", job_name[j->type],
		    e->signal, strsignal((int)e->signal), oom_words(p, (int)e->signal));
	else
		snprintf(why, sizeof why, "the %s child ended without an answer, with status %u",
		    job_name[j->type], e->status);
	answer(j, NULL, why);
	job_free(j);
}

int
on_spawner(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct parent *p = arg;
	struct ipc_in in;
	const void *body;
	int err;

	(void)s, (void)events;
	while ((err = ipc_recv(fd, &in)) == 1) {
		if (in.type == SPAWN_ENDED && !ipc_body(&in, &spawn_ended_shape, &body))
			ended(p, in.id, body);
		ipc_free(&in);
	}
	if (err == -EAGAIN)
		return 0;
	role_gone(p, &p->spawner);
	log_say(LOG_IS_ERROR, NULL, "without the spawner the agent ends; the rules stay in the kernel");
	parent_end(p, 1);
	return 0;
}
