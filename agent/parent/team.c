/*
 * team: roles that the starter starts, and starts again when they die.
 *
 * Roles that have channels to each other are a team: when one dies its neighbours' channels are of no use,
 * so all end, and all are started anew with new channels, after a pause that doubles.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "parent/inside.h"

enum { STARTER_MS = 10000, GRACE_US = 3000000, WELL_US = 60000000, BACK_LEAST_US = 1000000, BACK_MOST_US = 60000000 };

/* ---- the starter -------------------------------------------------------------------------- */

static struct role *
role_of(struct parent *p, uint32_t pid, struct team **of)
{
	struct team *all[] = {&p->watch, &p->mail.team, &p->rules};

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		for (unsigned k = 0; k < all[i]->n; k++)
			if (all[i]->role[k]->pid && (uint32_t)all[i]->role[k]->pid == pid) {
				*of = all[i];
				return all[i]->role[k];
			}
	return NULL;
}

static void
ended(struct parent *p, const struct start_ended *e)
{
	struct team *t;
	struct role *r = role_of(p, e->pid, &t);
	char how[300];

	if (!r)
		return;
	r->pid = 0;
	if (e->signal)
		snprintf(how, sizeof how, "the role %s was killed by signal %u (%s)%s", r->name, e->signal,
		    strsignal((int)e->signal), t == &p->rules ? "" : oom_words(p, (int)e->signal));
	else
		snprintf(how, sizeof how, "the role %s ended with status %u", r->name, e->status);
	/* the first to go is why; its neighbours follow */
	if (t->up || !*t->why) {
		snprintf(t->why, sizeof t->why, "%s", how);
		if (!t->stopping && !p->ending)
			log_say(LOG_IS_ERROR, (struct log_field[]){{"ROLE", r->name}, {NULL, NULL}}, "%s", how);
	}
	if (t == &p->rules)
		p->oom = oom_killed(p, (int)e->signal);
	team_fell(p, t);
}

static void
told(struct parent *p, struct ipc_in *in)
{
	const void *body;

	if (in->type == START_ENDED && !ipc_body(in, &start_tell_shape[START_ENDED], &body))
		ended(p, body);
}

/* Asks, and waits for the answer, which comes at once. 0 or -errno. */
static int
ask(struct parent *p, struct role *st, uint32_t type, const void *body, const int *fd, uint32_t nfd, uint32_t *pid, int *out)
{
	const struct ipc_shape *s = &start_ask_shape[type];
	uint32_t id = ++p->start_id ? p->start_id : ++p->start_id;
	const void *answer;
	struct ipc_in in;
	int err;

	p->start_why[0] = '\0';
	if (st->chan < 0)
		return -EPIPE;
	err = ipc_send_wait(st->chan, type, id, s->size ? s : NULL, body, fd, nfd, STARTER_MS);
	while (!err) {
		err = ipc_recv_wait(st->chan, &in, STARTER_MS);
		if (err != 1)
			return err ? err : -EPIPE;
		err = 0;
		if (in.type == START_DONE && in.id == id) {
			err = ipc_body(&in, &start_tell_shape[START_DONE], &answer);
			if (!err) {
				const struct start_done *d = answer;

				err = -(int)d->err;
				snprintf(p->start_why, sizeof p->start_why, "%s", d->why);
				if (pid)
					*pid = d->pid;
			}
			if (!err && out && (*out = ipc_take(&in, 0)) < 0)
				err = -EBADMSG;
			ipc_free(&in);
			return err;
		}
		told(p, &in);
		ipc_free(&in);
	}
	return err;
}

int
starter_bind(struct parent *p, const char *address, uint32_t port, int *fd)
{
	struct start_bind b = {.address = address, .port = port};

	return ask(p, p->mail.team.starter, START_BIND, &b, NULL, 0, NULL, fd);
}

int
starter_role(struct parent *p, const struct team *t, struct role *r, const struct start_role *w, const int *fd, uint32_t nfd)
{
	uint32_t pid = 0, k;
	int err = 0;

	for (uint32_t at = 0; at < nfd && !err; at += k) {
		k = nfd - at < IPC_MOST_FDS ? nfd - at : IPC_MOST_FDS;
		err = ask(p, t->starter, START_GIVE, NULL, fd + at, k, NULL, NULL);
	}
	if (!err)
		err = ask(p, t->starter, START_ROLE, w, NULL, 0, &pid, NULL);
	if (!err)
		r->pid = (pid_t)pid;
	return err;
}

/* The unit of the mail roles has ended, and they with it. */
static void
apart_gone(struct parent *p)
{
	struct team *t = &p->mail.team;

	role_close(&p->apart);
	for (unsigned i = 0; i < t->n; i++)
		t->role[i]->pid = 0;
	log_say(LOG_IS_ERROR, NULL, "the mail roles' unit has ended");
	if (t->up && !*t->why)
		snprintf(t->why, sizeof t->why, "the mail roles' unit has ended");
	team_fell(p, t);
}

int
on_apart(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct parent *p = arg;
	struct ucred u = {0};
	socklen_t n = sizeof u;
	int k = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)s, (void)events;
	if (k < 0)
		return 0;
	if (p->apart.chan >= 0 || getsockopt(k, SOL_SOCKET, SO_PEERCRED, &u, &n) ||
	    (u.uid != 0 && u.uid != p->uid) || sd_event_add_io(p->ev, &p->apart.io, k, EPOLLIN, on_starter, p) < 0) {
		close(k);
		return 0;
	}
	p->apart.chan = k;
	p->mail.team.due = 0;
	mail_follow(p);
	return 0;
}

int
on_starter(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct parent *p = arg;
	struct ipc_in in;
	int err;

	(void)s, (void)events;
	while ((err = ipc_recv(fd, &in)) == 1) {
		told(p, &in);
		ipc_free(&in);
	}
	if (err == -EAGAIN || err == -EBADMSG)
		return 0;
	if (fd != p->starter.chan) {
		apart_gone(p);
		return 0;
	}
	role_gone(p, &p->starter);
	log_say(LOG_IS_ERROR, NULL, "without the starter the agent ends; the rules stay in the kernel");
	parent_end(p, 1);
	return 0;
}

/* ---- teams --------------------------------------------------------------------------------- */

static bool
any_left(const struct team *t)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->role[i]->pid)
			return true;
	return false;
}

void
role_close(struct role *r)
{
	r->io = sd_event_source_disable_unref(r->io);
	if (r->chan >= 0)
		close(r->chan);
	r->chan = -1;
}

void
team_fell(struct parent *p, struct team *t)
{
	uint64_t now = now_us(CLOCK_MONOTONIC), pause = BACK_LEAST_US;

	(void)p;
	if (!t->up)
		return;
	t->up = false;
	for (unsigned i = 0; i < t->n; i++)
		role_close(t->role[i]);
	t->kill_at = now + GRACE_US;
	if (t->fell)
		t->fell(p);
	if (t->stopping) {
		t->stopping = false;
		t->fails = 0;
		t->due = 0;
		t->why[0] = '\0';
		return;
	}
	t->fails = now - t->began > WELL_US ? 1 : t->fails + 1;
	for (unsigned i = 1; i < t->fails && pause < BACK_MOST_US; i++)
		pause *= 2;
	t->due = now + (pause < BACK_MOST_US ? pause : BACK_MOST_US);
	t->deaths++;
}

void
team_stop(struct parent *p, struct team *t, uint64_t within)
{
	(void)p;
	if (!t->up || t->stopping)
		return;
	t->stopping = true;
	t->kill_at = now_us(CLOCK_MONOTONIC) + within;
}

static void
kill_left(struct parent *p, struct team *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct start_kill k = {.pid = (uint32_t)t->role[i]->pid};

		if (!k.pid)
			continue;
		log_say(LOG_IS_WARNING, NULL, "the role %s does not end: killed", t->role[i]->name);
		(void)ask(p, t->starter, START_KILL, &k, NULL, 0, NULL, NULL);
	}
	t->kill_at = now_us(CLOCK_MONOTONIC) + GRACE_US;
}

void
team_tick(struct parent *p, struct team *t)
{
	uint64_t now = now_us(CLOCK_MONOTONIC);
	char was[sizeof t->why];
	int err;

	if (p->ending)
		return;
	if (any_left(t)) {
		if ((!t->up || t->stopping) && now >= t->kill_at)
			kill_left(p, t);
		return;
	}
	if (t->up || !t->wanted || now < t->due)
		return;
	if (t->starter->chan < 0) {
		snprintf(t->why, sizeof t->why, "the unit mailreeve-mail.service does not run");
		return;
	}
	t->began = now;
	snprintf(was, sizeof was, "%s", t->why);
	t->why[0] = '\0';
	t->up = true;              /* so that what fails from here on is a fall */
	err = t->start(p);
	if (err) {
		snprintf(t->why, sizeof t->why, "%s cannot be started: %s", t->name,
		    *p->start_why ? p->start_why : strerror(-err));
		/* who tries again and again says it once */
		if (strcmp(was, t->why) != 0)
			log_say(LOG_IS_ERROR, NULL, "%s", t->why);
		team_fell(p, t);
	} else if (t->deaths) {
		log_say(LOG_IS_NOTICE, NULL, "%s: started again", t->name);
	}
}

/* Told to end already: waits until all have, and kills who does not. */
void
team_wait(struct parent *p, struct team *t, uint64_t until)
{
	struct ipc_in in;

	while (any_left(t) && now_us(CLOCK_MONOTONIC) < until) {
		int err = ipc_recv_wait(t->starter->chan, &in, 50);

		if (err == 1) {
			told(p, &in);
			ipc_free(&in);
		} else if (err != -ETIMEDOUT && err != -EBADMSG) {
			return;
		}
	}
	if (any_left(t))
		kill_left(p, t);
}
