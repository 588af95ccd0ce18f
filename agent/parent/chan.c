/*
 * chan: what the parent asks the role apply, and what the roles tell.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "parent/inside.h"

int
done_error(struct ipc_in *in, int err)
{
	const void *body;

	if (!err)
		err = ipc_body(in, &apply_tell_shape[APPLY_DONE], &body);
	return err ? err : -(int)((const struct apply_done *)body)->err;
}

int
ask_apply(struct parent *p, uint32_t type, const void *body, int fd, uint32_t want,
    uint64_t within, ask_fn *fn, void *arg)
{
	const struct ipc_shape *s = &apply_ask_shape[type];
	struct ask *a = NULL;
	int err;

	for (int i = 0; i < MOST_ASKS && !a; i++)
		if (p->ask[i].id == 0)
			a = &p->ask[i];
	if (!a)
		return -EBUSY;
	if (p->apply.chan < 0)
		return -EPIPE;
	if (p->o->ask_ms && within > p->o->ask_ms * 1000ull)
		within = p->o->ask_ms * 1000ull;
	if (++p->next_id == 0)
		p->next_id = 1;
	err = ipc_send(p->apply.chan, type, p->next_id, s->size ? s : NULL, s->size ? body : NULL, &fd,
	    fd >= 0 ? 1 : 0);
	if (err)
		return err;
	*a = (struct ask){.id = p->next_id, .want = want, .until = now_us(CLOCK_MONOTONIC) + within,
	    .fn = fn, .arg = arg};
	return 0;
}

/* Calls back, once; the place is free before, for it may ask again. */
static void
answer(struct ask *a, struct ipc_in *in, int err)
{
	struct ask x = *a;

	*a = (struct ask){0};
	x.fn(x.arg, in, err);
}

void
asks_late(struct parent *p)
{
	uint64_t now = now_us(CLOCK_MONOTONIC);

	for (int i = 0; i < MOST_ASKS; i++)
		if (p->ask[i].id && p->ask[i].until <= now)
			answer(&p->ask[i], NULL, -ETIMEDOUT);
}

void
asks_gone(struct parent *p)
{
	for (int i = 0; i < MOST_ASKS; i++)
		if (p->ask[i].id)
			answer(&p->ask[i], NULL, -ECONNRESET);
}

void
asks_drop(struct parent *p, const void *arg)
{
	for (int i = 0; i < MOST_ASKS; i++)
		if (p->ask[i].id && p->ask[i].arg == arg)
			p->ask[i] = (struct ask){0};
	mail_asks_drop(p, arg);
}

bool
asks_wait(const struct parent *p, const void *arg)
{
	for (int i = 0; i < MOST_ASKS; i++)
		if (p->ask[i].id && p->ask[i].arg == arg)
			return true;
	return false;
}

static void
told(struct parent *p, struct ipc_in *in)
{
	if (in->type == APPLY_EVENT) {
		report_event(p, in);
		return;
	}
	for (int i = 0; i < MOST_ASKS; i++)
		if (p->ask[i].id && p->ask[i].id == in->id) {
			answer(&p->ask[i], in, in->type == p->ask[i].want ? 0 : -EBADMSG);
			return;
		}
	/* an answer that was given up */
}

int
on_apply(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct parent *p = arg;
	struct ipc_in in;
	int err;

	(void)s, (void)events;
	while ((err = ipc_recv(fd, &in)) == 1) {
		told(p, &in);
		ipc_free(&in);
		if (p->ending)
			return 0;
	}
	if (err == -EAGAIN)
		return 0;
	if (err == -EBADMSG) {
		log_say(LOG_IS_ERROR, NULL, "the role apply sent what is no message");
		return 0;
	}
	apply_gone(p);
	return 0;
}

int
on_attempts(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct parent *p = arg;
	struct ipc_in in;
	const void *body;
	int err = 0;

	(void)events;
	/* a flood of them does not keep the loop from the rest */
	for (int i = 0; i < 64 && (err = ipc_recv(fd, &in)) == 1; i++) {
		if (in.type < ATTEMPTS_NTELL && in.type > 0 &&
		    !ipc_body(&in, &attempts_shape[in.type], &body)) {
			if (in.type == ATTEMPTS_ONE)
				report_attempt(p, body);
			else
				report_untold(p, body);
		}
		ipc_free(&in);
	}
	if (err == 1 || err == -EAGAIN || err == -EBADMSG)
		return 0;
	/* rules stand without it */
	(void)s;
	team_fell(p, &p->watch);
	return 0;
}

static int
start(struct parent *p)
{
	struct start_role w = {.which = START_ATTEMPTS};
	struct role *r = &p->attempts;
	int pair[2], err = ipc_pair(pair);

	if (err)
		return err;
	err = starter_role(p, &p->watch, r, &w, &pair[1], 1);
	close(pair[1]);
	if (err) {
		close(pair[0]);
		return err;
	}
	r->chan = pair[0];
	err = sd_event_add_io(p->ev, &r->io, r->chan, EPOLLIN, on_attempts, p);
	return err < 0 ? err : 0;
}

void
watch_begin(struct parent *p)
{
	p->attempts = (struct role){.name = "attempts", .chan = -1, .p = p};
	p->watch = (struct team){.name = "the role attempts", .role = {&p->attempts}, .n = 1, .start = start,
	    .starter = &p->starter, .wanted = true};
}
