/* The jail, the loop, the three channels, the policy. */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "jail/jail.h"
#include "log/log.h"
#include "mail/mail.h"
#include "role/queue_inside.h"
#include "world/bundle.h"
#include "world/world.h"

enum { SCRATCH = 256 << 10, SHORT_MS = 20 };

static uint64_t
clock_ms(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void *
queue_room(size_t n, size_t size)
{
	return calloc(n, size);
}

/* ---- relays, routes --------------------------------------------------------------- */

struct queue_relay *
queue_relay_of(struct queue *q, const char *name)
{
	struct queue_relay *r;

	for (size_t i = 0; i < q->nrelay; i++)
		if (!strcmp(q->relay[i].name, name))
			return &q->relay[i];
	if (q->nrelay == SPOOL_RELAYS_MOST)
		return NULL;
	r = &q->relay[q->nrelay];
	*r = (struct queue_relay){.name = strdup(name), .well = true};
	if (!r->name)
		return NULL;
	q->nrelay++;
	return r;
}

const char *
queue_host_of(const struct queue *q, const char *relay)
{
	const struct policy_relay *r = policy_relay_find(q->policy.p, relay);

	return r && r->host ? r->host : relay;
}

const struct policy_application *
queue_application(const struct queue *q, const char *name)
{
	const struct policy_submission *s = &q->policy.p->submission;

	for (size_t i = 0; name && i < s->napplication; i++)
		if (!strcmp(s->application[i]->meta.name, name))
			return s->application[i];
	return NULL;
}

struct asked {
	struct queue *q;
	const char *application, *recipient;
	struct mail_route way;
};

static void
route(void *arg)
{
	struct asked *x = arg;
	struct queue *q = x->q;

	if (!q->scratch) {
		q->scratch = arena_new();
		arena_keep(q->scratch);
	}
	mail_route(q->scratch, q->policy.p, queue_application(q, x->application), x->recipient, q->now / 1000,
	    &x->way);
}

int
queue_route(struct queue *q, const char *application, const char *recipient, const char **relay)
{
	struct asked x = {q, application, recipient, {0}};

	if (q->scratch && arena_used(q->scratch) > SCRATCH)
		q->scratch = arena_free(q->scratch);
	if (arena_try(route, &x))
		return -ENOMEM;
	*relay = x.way.relay ? x.way.relay->meta.name : NULL;
	return 0;
}

/* ---- the policy ----------------------------------------------------------------------- */

/* A policy being read. */
struct reading {
	const uint8_t *map;
	size_t n;
	struct world world;
	struct arena *a;
	struct policy *p;
	int err;
	char *why;                 /* 512 bytes */
};

/* As far as memory is from arenas. */
static void
policy_read(void *arg)
{
	struct reading *x = arg;
	struct policy_world served;
	struct bundle *b;
	struct diags *d;
	const char *bytes, *name;
	uint8_t *copy;
	size_t len;

	x->a = arena_new();
	d = diags_new(x->a);
	/* the policy's texts point into its files */
	copy = arena_alloc(x->a, x->n + 1);
	memcpy(copy, x->map, x->n);
	x->err = bundle_read(x->a, copy, x->n, &b);
	if (x->err) {
		snprintf(x->why, 512, "the policy's bundle: %s", strerror(-x->err));
		return;
	}
	bundle_serve(b, &x->world.policy, &served);
	name = bundle_file(b, 0, &bytes, &len);
	x->p = policy_load(x->a, text_set_new(x->a), name, bytes, len, &served, d);
	if (!x->p) {
		x->err = -EINVAL;
		snprintf(x->why, 512, "%s", d->n ? d->v[0].message : "the policy has errors");
	}
}

/* Goes over to the policy in a sealed bundle, or stays with what there is. */
static int
policy_take(struct queue *q, int fd, const char *host, char why[512])
{
	struct reading x = {.world.dir = -1, .why = why};
	int err = ipc_map(fd, BUNDLE_MOST, &x.map, &x.n);

	if (err) {
		snprintf(why, 512, "the policy's bundle: %s", strerror(-err));
		return err;
	}
	err = world_open(&x.world, "/usr/share/zoneinfo/");
	if (err)
		snprintf(why, 512, "/usr/share/zoneinfo: %s", strerror(-err));
	else if (arena_try(policy_read, &x)) {
		x.a = NULL;        /* it has gone */
		err = -ENOMEM;
		snprintf(why, 512, "no memory for the policy; the one before it stays");
	} else {
		err = x.err;
	}
	ipc_unmap(x.map, x.n);
	world_close(&x.world);
	if (err) {
		arena_free(x.a);
		return err;
	}
	arena_free(q->policy.a);
	q->policy = (struct queue_policy){.a = x.a, .p = x.p};
	snprintf(q->policy.host, sizeof q->policy.host, "%s", host);
	/* what is queued may go another way now */
	q->scan = 0;
	for (size_t i = 0; i < q->nrelay; i++)
		if (q->relay[i].knock)
			q->relay[i].knock = q->mono;
	return 0;
}

/* ---- the parent's channel ------------------------------------------------------------------ */

/* As queue_front(). */
static int
parent(struct queue *q, struct ipc_in *in)
{
	struct mail_taken t = {.text = ""};
	char why[512] = "";
	const void *body = NULL;
	int fd, err;

	switch ((enum mail_ask)in->type) {
	case MAIL_POLICY:
		err = ipc_body(in, &mail_ask_shape[MAIL_POLICY], &body);
		if (err == -ENOMEM)
			return err;
		fd = ipc_take(in, 0);
		if (err || fd < 0) {
			t.err = EBADMSG;
		} else {
			t.err = (uint32_t)-policy_take(q, fd, ((const struct mail_policy *)body)->host, why);
			t.text = why;
		}
		if (fd >= 0)
			close(fd);
		break;
	case MAIL_STOP:
		if (!q->stopping)
			q->stop_at = q->mono + QUEUE_STOP_MS;
		q->stopping = true;
		queue_mail_limits(q, true);
		return 0;
	case MAIL_QUEUE:
	case MAIL_STATUS:
	case MAIL_PROBE:
		return queue_people(q, in);
	case MAIL_CREDENTIAL:
	case MAIL_NAMES:
	case MAIL_NASK:
	default: /* what later headers add for others */
		t.err = EOPNOTSUPP;
		break;
	}
	err = ipc_send_wait(q->opt->parent, MAIL_TAKEN, in->id, &mail_tell_shape[MAIL_TAKEN], &t, NULL, 0, 1000);
	/* the parent waits for what became of a policy: who cannot tell it begins anew */
	q->leave |= err && err != -ETIMEDOUT;
	return 0;
}

/* ---- the loop --------------------------------------------------------------------------------- */

static const struct {
	int (*take)(struct queue *, struct ipc_in *);
	size_t chan;               /* in struct role_queue */
} from[QUEUE_FROM] = {
	[QUEUE_FROM_FRONT] = {queue_front, offsetof(struct role_queue, front)},
	[QUEUE_FROM_RELAY] = {queue_relay, offsetof(struct role_queue, relay)},
	[QUEUE_FROM_PARENT] = {parent, offsetof(struct role_queue, parent)},
};

static int
chan_of(const struct queue *q, enum queue_from which)
{
	return *(const int *)((const char *)q->opt + from[which].chan);
}

/* Takes messages until there are none, or others have their turn, or the memory is short, when the message waits
 * for a moment: its sender waits for what becomes of it. 0; 1: the other end is gone. */
static int
take(struct queue *q, enum queue_from which)
{
	struct queue_late *late = &q->late[which];

	for (int i = 0; i < QUEUE_TURN; i++) {
		struct ipc_in in = late->in;
		int r = in.bytes ? 1 : ipc_recv(chan_of(q, which), &in);

		late->in = (struct ipc_in){0};
		late->is = r == -ENOMEM || r == -ENOBUFS;
		if (r == -EAGAIN || late->is)
			return 0;
		if (r == -EBADMSG || r == -EINTR)
			continue;
		if (r <= 0)
			return 1;
		if (from[which].take(q, &in) == -ENOMEM) {
			*late = (struct queue_late){true, in};
			return 0;
		}
		ipc_free(&in);
	}
	return 0;
}

static bool
full(int err)
{
	return err == -EAGAIN;
}

/* The machine is short of something for the moment: memory, or descriptors that are under way (unix(7)). */
static bool
is_short(int err)
{
	return err == -ENOMEM || err == -ENOBUFS || err == -ETOOMANYREFS || err == -EMFILE || err == -ENFILE;
}

static int
wait_ms(const struct queue *q)
{
	uint64_t t = queue_mail_deadline(q), d = queue_deliver_deadline(q);

	if (d < t)
		t = d;
	if (q->leisure && q->leisure + QUEUE_LEISURE_MS < t)
		t = q->leisure + QUEUE_LEISURE_MS;
	if (q->sick && q->mono + 1000 < t)
		t = q->mono + 1000;
	if (q->stopping && q->mono + 200 < t)
		t = q->mono + 200;
	if (q->names && q->mono + FRONT_RESOLVE_MS < t)
		t = q->mono + FRONT_RESOLVE_MS;
	if (t == UINT64_MAX)
		return -1;
	if (t <= q->mono)
		return 0;
	return t - q->mono < 60000 ? (int)(t - q->mono) : 60000;
}

/* Nothing of ours is under way. */
static bool
quiet(const struct queue *q)
{
	for (const struct queue_mail *m = q->mails; m; m = m->next)
		if (m->at == MAIL_THROUGH || m->at == MAIL_COMMITS)
			return false;
	return !q->job && spool_commit_wanted(q->s) != 2;
}

static void
claims_free(struct queue *q)
{
	while (q->claims) {
		struct queue_claim *c = q->claims;

		q->claims = c->next;
		queue_send_free(q, &c->sends);
		c->relay->claims--;
		free(c);
	}
	q->nclaim = 0;
}

/* A folder whose sync failed is believed no more: what is really there is read anew. */
static int
heal(struct queue *q)
{
	struct spool_found f;
	int err;

	spool_found(q->s, &f);
	if (!f.sick)
		return 0;
	if (!q->sick) {
		q->sick = q->mono;
		log_say(LOG_IS_ERROR, NULL, "the spool could not be made durable: nothing is taken until it can");
	}
	if (q->mono - q->sick < QUEUE_REOPEN_MS || !quiet(q) || q->commit.keep)
		return 0;
	for (struct queue_mail *m = q->mails; m; m = m->next)
		m->a = spool_drop_arrival(q->s, m->a);
	/* their results find nobody: at worst these go twice */
	claims_free(q);
	q->s = spool_close(q->s);
	err = spool_open(&q->s, q->opt->spool, &q->config, q->now);
	if (err)
		return err;
	q->sick = 0;
	q->scan = 0;
	log_say(LOG_IS_NOTICE, NULL, "the spool was opened anew");
	return 0;
}

static void
look_at_clocks(struct queue *q)
{
	uint64_t before = q->now;

	q->now = clock_ms(CLOCK_REALTIME);
	q->mono = clock_ms(CLOCK_MONOTONIC);
	if (q->now + QUEUE_SET_BACK_MS >= before)
		return;
	log_say(LOG_IS_NOTICE, NULL, "the clock was set back by %llu s: what waits for its next try does not wait "
	    "so much longer", (unsigned long long)(before - q->now) / 1000);
	spool_set_back(q->s, q->now);
}

static int
run(struct queue *q)
{
	/* results first: they end what others wait for */
	static const enum queue_from turn[] = {QUEUE_FROM_RELAY, QUEUE_FROM_FRONT, QUEUE_FROM_PARENT};
	int front = 0, relay = 0, err;
	bool later = false;

	for (;;) {
		struct pollfd f[QUEUE_FROM + 1] = {
			[QUEUE_FROM_FRONT] = {q->opt->front, POLLIN | (front ? POLLOUT : 0), 0},
			[QUEUE_FROM_RELAY] = {q->opt->relay, POLLIN | (relay ? POLLOUT : 0), 0},
			[QUEUE_FROM_PARENT] = {q->opt->parent, POLLIN, 0},
			[QUEUE_FROM] = {q->commit.done, POLLIN, 0},
		};

		/* answers that wait hold what was asked: no more of it then */
		if (q->nmail >= 2 * QUEUE_MAILS)
			f[QUEUE_FROM_FRONT].events &= ~POLLIN;
		int wait = wait_ms(q);

		for (int i = 0; i < QUEUE_FROM; i++)
			if (q->late[i].is) {
				f[i].events &= ~POLLIN;
				later = true;
			}
		if (later && (wait < 0 || wait > SHORT_MS))
			wait = SHORT_MS;
		if (poll(f, QUEUE_FROM + 1, wait) < 0) {
			if (errno != EINTR && errno != ENOMEM)
				return -errno;
			memset(f, 0, sizeof f);
		}
		look_at_clocks(q);
		if (f[QUEUE_FROM].revents & POLLIN)
			queue_commit_done(q);
		for (size_t i = 0; i < sizeof turn / sizeof turn[0]; i++)
			if ((f[turn[i]].revents & (POLLIN | POLLHUP | POLLERR) || q->late[turn[i]].is) &&
			    take(q, turn[i]))
				return 0;
		if (q->leave)
			return -EPIPE;
		queue_mail_limits(q, false);
		err = heal(q);
		if (err)
			return err;
		queue_deliver(q);
		queue_commit(q);
		err = queue_relay_out(q);
		relay = full(err);
		later = is_short(err);
		if (err && !relay && !later)
			return 0;
		err = queue_front_out(q);
		front = full(err);
		later |= is_short(err);
		if (err && !front && !is_short(err))
			return 0;
		/* front may have a last state to be kept, and closes then */
		if (q->stopping && ((quiet(q) && !q->nclaim && !q->out &&
		    q->mono + QUEUE_STOP_MS >= q->stop_at + QUEUE_LAST_MS) || q->mono >= q->stop_at))
			return 0;
	}
}

static int
enter(const struct role_queue *o)
{
	const struct jail_path path[] = {{.dir = o->spool, .write = true}, {.path = "/usr/share/zoneinfo"}};
	int err = jail_begin();

	if (!err)
		err = jail_user(o->uid, o->gid, false);
	if (!err)
		err = jail_landlock(path, sizeof path / sizeof path[0]);
	if (err >= 0)
		err = jail_caps(0);
	if (err >= 0)
		err = jail_seccomp(JAIL_QUEUE);
	return err < 0 ? err : 0;
}

static void
clear(struct queue *q)
{
	/* what front said before the end: a state to be kept */
	for (int i = 0; q->s && i < 16 && !take(q, QUEUE_FROM_FRONT); i++) {
		struct pollfd f = {q->opt->front, POLLIN, 0};
		if (poll(&f, 1, 0) <= 0)
			break;
	}
	if (q->s)
		queue_commit_stop(q);
	/* who still can is told what became durable */
	if (q->s)
		(void)queue_front_out(q);
	while (q->mails)
		queue_mail_free(q, q->mails);
	claims_free(q);
	while (q->names) {
		struct queue_name *n = q->names;

		q->names = n->next;
		free(n);
	}
	if (q->s)
		q->s = spool_close(q->s);
	for (size_t i = 0; i < q->nrelay; i++) {
		free(q->relay[i].name);
		free(q->relay[i].held);
	}
	for (unsigned i = 0; i < QUEUE_KEEPS; i++)
		buf_free(&q->keep[i].b);
	for (int i = 0; i < QUEUE_FROM; i++)
		ipc_free(&q->late[i].in);
	free(q->kept);
	queue_storm_free(q->storm);
	arena_free(q->scratch);
	arena_free(q->policy.a);
	free(q);
}

int
role_queue(const struct role_queue *o)
{
	struct queue *q = calloc(1, sizeof *q);
	int err = q ? 0 : -ENOMEM;

	log_begin("mailreeved queue");
	if (!err && !o->no_jail)
		err = enter(o);
	if (!err) {
		q->opt = o;
		q->out_end = &q->out;
		q->to_send_end = &q->to_send;
		q->commit.done = -1;
		q->scan = UINT64_MAX;
		q->now = clock_ms(CLOCK_REALTIME);
		q->mono = clock_ms(CLOCK_MONOTONIC);
		if (o->config) {
			q->config = *o->config;
		} else {
			spool_config_default(&q->config);
			/* reports arrive here, too */
			q->config.arrivals_most = QUEUE_MAILS + 64;
			q->config.last_chance = QUEUE_LAST_CHANCE_MS;
			q->config.seed = q->now ^ (uint64_t)getpid() << 32;
		}
		q->storm = queue_storm_new(QUEUE_REPORTS);
		err = q->storm ? spool_open(&q->s, o->spool, &q->config, q->now) : -ENOMEM;
	}
	if (!err) {
		err = queue_commit_start(q);
		if (err && q->commit.done >= 0) {
			log_say(LOG_IS_NOTICE, NULL, "syncs have no thread of their own: %s", strerror(-err));
			err = 0;
		}
	}
	if (!err)
		err = run(q);
	if (err)
		log_say(LOG_IS_ERROR, NULL, "the queue is not kept any more: %s", strerror(-err));
	if (q && q->out_end)
		clear(q);
	else
		free(q);
	return err ? 1 : 0;
}
