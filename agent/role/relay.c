/* The role relay: its jail, its loop, its two channels. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "jail/jail.h"
#include "log/log.h"
#include "role/relay_inside.h"

enum {
	MOST_TAKEN = 128,          /* messages of a channel taken in one turn */
	MOST_PATHS = 80,
	MOST_PATH = 512,
	MOST_OVER = 1024,          /* results that wait: then no more is taken */
	WAIT_CONN = DNS_MOST_ADDRESSES,
	MOST_CONNS = RELAY_MOST_CONNS + 1 + RELAY_PROBES,
	MOST_WAIT = 2 + DNS_MOST_FDS + MOST_CONNS * WAIT_CONN,
	PARENT_MS = 1000,          /* to wait for room in the parent's channel */
	LATE_MS = 20,              /* what there is no memory for is taken after that */
};

static uint64_t
clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the jail --------------------------------------------------------------------------- */

static int
enter(const struct role_relay *o)
{
	static const char *const known[] = {
		/* names: c-ares, the C library; roots, OpenSSL's own settings. Folders, for a rule of Landlock is
		   about the file that bears a name now, and these are replaced by others of their names */
		"/etc", "/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf",
		"/usr/lib/ssl", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
		/* days of the policy */
		"/usr/share/zoneinfo",
	};
	struct jail_path path[MOST_PATHS] = {0};
	char folder[MOST_PATHS][MOST_PATH];
	struct rlimit core = {0, 0}, files;
	unsigned n = 0;
	int err;

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		path[n++].path = known[i];
	for (unsigned i = 0; i < o->nca && n + 1 < MOST_PATHS; i++) {
		const char *slash = strrchr(o->ca[i], '/');
		size_t len = slash ? (size_t)(slash - o->ca[i]) : 0;

		path[n++].path = o->ca[i];
		if (!len || len >= MOST_PATH)
			continue;
		snprintf(folder[n], MOST_PATH, "%.*s", (int)len, o->ca[i]);
		path[n].path = folder[n];
		n++;
	}
	if (setrlimit(RLIMIT_CORE, &core) || getrlimit(RLIMIT_NOFILE, &files))
		return -errno;
	if (files.rlim_cur < 2048) {
		files.rlim_cur = files.rlim_max < 2048 ? files.rlim_max : 2048;
		setrlimit(RLIMIT_NOFILE, &files); /* fewer: then connections and claims fail one by one */
	}
	if ((err = jail_begin()) < 0 || (err = jail_user(o->uid, o->gid, false)) < 0 ||
	    (err = jail_landlock_connect(path, n)) < 0 || (err = jail_caps(0)) < 0 ||
	    (err = jail_seccomp(JAIL_RELAY)) < 0)
		return err;
	return 0;
}

/* ---- the parent -------------------------------------------------------------------------- */

static void
taken(struct relay *r, uint32_t id, int err, const char *text)
{
	struct mail_taken m = {(uint32_t)-err, text};

	int no = ipc_send_wait(r->opt->parent, MAIL_TAKEN, id, &mail_tell_shape[MAIL_TAKEN], &m, NULL, 0, PARENT_MS);

	if (no)
		log_say(LOG_IS_WARNING, NULL, "the parent takes no answer: %s", strerror(-no));
	/* it waits for what became of a policy: who cannot tell it begins anew */
	if (no && no != -ETIMEDOUT && no != -EPIPE)
		r->gone = true;
}

static int
take_policy(struct relay *r, struct ipc_in *in, char why[RELAY_WORDS])
{
	const struct mail_policy *m;
	const void *body;
	int err = ipc_body(in, &mail_ask_shape[MAIL_POLICY], &body), fd;

	if (err)
		return err;
	m = body;
	fd = ipc_take(in, 0);
	if (fd < 0)
		return -EBADMSG;
	err = relay_book_read(r, fd, why);
	close(fd);
	if (err)
		return err;
	/* a name that cannot be said is no name; smtp_client_new() asserts what can */
	if (strlen(m->host) < sizeof r->host && smtp_helo_ok(m->host, strlen(m->host)))
		snprintf(r->host, sizeof r->host, "%s", m->host);
	else
		r->host[0] = 0;
	if (!r->have_policy && ipc_send_wait(r->opt->queue, RELAY_READY, 0, &relay_tell_shape[RELAY_READY],
	    NULL, NULL, 0, PARENT_MS)) {
		/* which would wait for it for ever */
		log_say(LOG_IS_ERROR, NULL, "the queue takes no word");
		r->gone = true;
	}
	r->have_policy = true;
	return 0;
}

static int
take_credential(struct relay *r, struct ipc_in *in, char why[RELAY_WORDS])
{
	const void *body;
	int err = ipc_body(in, &mail_ask_shape[MAIL_CREDENTIAL], &body), fd;

	if (err)
		return err;
	fd = ipc_take(in, 0);
	err = relay_cred_take(r, body, fd, why);
	if (fd >= 0)
		close(fd);
	return err;
}

static void
tell_counts(struct relay *r, uint32_t id)
{
	const struct relay_count *n = &r->count;
	struct mail_count c[] = {
		{"relay_connections", r->nconn},
		{"relay_connections_total{result=\"live\"}", n->live},
		{"relay_connections_total{result=\"failed\"}", n->failed},
		{"relay_messages_total{result=\"sent\"}", n->sent},
		{"relay_messages_total{result=\"refused\"}", n->refused},
		{"relay_messages_total{result=\"lost\"}", n->lost},
		{"relay_claims", r->nclaim},
	};
	struct mail_counted told = {.count = c, .ncount = sizeof c / sizeof c[0], .text = ""};

	if (ipc_send_wait(r->opt->parent, MAIL_COUNTED, id, &mail_tell_shape[MAIL_COUNTED], &told, NULL, 0, PARENT_MS))
		log_say(LOG_IS_WARNING, NULL, "the parent takes no answer");
}

static void
take_probe(struct relay *r, struct ipc_in *in, char why[RELAY_WORDS])
{
	struct mail_probed m = {.text = why};
	const void *body;
	int err = ipc_body(in, &mail_ask_shape[MAIL_PROBE], &body);

	if (!err && (r->stopping || !r->have_policy))
		err = -EAGAIN;
	if (!err)
		err = relay_probe_begin(r, body, in->id, why);
	m.err = (uint32_t)-err;
	if (err && ipc_send_wait(r->opt->parent, MAIL_PROBED, in->id, &mail_tell_shape[MAIL_PROBED], &m, NULL, 0,
	    PARENT_MS))
		log_say(LOG_IS_WARNING, NULL, "the parent takes no answer");
}

/* Nothing new begins; what waits goes back; what travels may end. */
static void
stop(struct relay *r)
{
	if (r->stopping)
		return;
	relay_probe_end(r, false);
	r->stopping = true;
	r->stop_at = r->now + RELAY_STOP_MS;
	for (struct relay_lane *l = r->lane; l; l = l->next) {
		struct relay_claim *c;
		while ((c = relay_lane_next(l))) {
			c->told_canceled = true;
			relay_claim_over(r, c, RELAY_DEFERRED, 0, "the forwarder ends");
		}
	}
	for (struct relay_conn *c = r->conn; c; c = c->next) {
		if (c->at < CONN_LIVE)
			relay_conn_dead(c);
		else if (relay_session_ready(c))
			relay_session_leave(c);
	}
}

static bool
is_short(int err)
{
	return err == -ENOMEM || err == -ENOBUFS;
}

static void
from_parent(struct relay *r)
{
	struct ipc_in in;
	char why[RELAY_WORDS];

	for (unsigned i = 0; i < MOST_TAKEN; i++) {
		int err = ipc_recv(r->opt->parent, &in);

		why[0] = 0;
		r->late_parent.until = is_short(err) ? r->now + LATE_MS : 0;
		if (err == -EAGAIN || is_short(err))
			return;
		if (err == 0 || (err < 0 && err != -EBADMSG)) {
			stop(r);
			r->parent_gone = true;
			return;
		}
		if (err < 0)
			continue;
		if (in.type == MAIL_STOP) {
			stop(r);
		} else if (in.type == MAIL_POLICY) {
			err = take_policy(r, &in, why);
			taken(r, in.id, err, why);
		} else if (in.type == MAIL_CREDENTIAL) {
			err = take_credential(r, &in, why);
			taken(r, in.id, err, why);
		} else if (in.type == MAIL_COUNT) {
			tell_counts(r, in.id);
		} else if (in.type == MAIL_PROBE) {
			take_probe(r, &in, why);
		}
		ipc_free(&in);
	}
}

/* ---- the queue ----------------------------------------------------------------------------- */

/* These take a message of the queue. 0; -ENOMEM: nothing was done, it is to be said again; -EBADMSG. */
static int
send_message(struct relay *r, struct ipc_in *in)
{
	struct relay_claim *c;
	int err = relay_claim_new(r, in, &c);

	if (err)
		return err;
	if (c->fd < 0 && !c->s->ncontent) {
		relay_claim_over(r, c, RELAY_DEFERRED, 0, "the content did not come along");
	} else if (relay_claim_open(c) == c->s->nrcpt) {
		relay_claim_over(r, c, RELAY_DEFERRED, 0, "there is no recipient");
	} else if (r->stopping || !r->have_policy) {
		c->told_canceled = true;
		relay_claim_over(r, c, RELAY_DEFERRED, 0, r->stopping ? "the forwarder ends" :
		    "the forwarder has no policy yet");
	} else if (r->nclaim - r->nover > RELAY_MOST_CLAIMS) {
		c->busy = true;
		relay_claim_over(r, c, RELAY_DEFERRED, 0, "too many messages wait for relays at a time");
	} else {
		relay_lane_put(r, c, false);
	}
	return 0;
}

/* A claim of the same message, for a result that is told before the message is let go. */
static struct relay_claim *
twin(struct relay *r, const struct relay_claim *c)
{
	struct ipc_in in = {.type = RELAY_SEND, .n = c->in.n, .bytes = malloc(c->in.n + 1)};
	struct relay_claim *t;

	if (!in.bytes)
		return NULL;
	memcpy(in.bytes, c->in.bytes, c->in.n);
	if (!relay_claim_new(r, &in, &t))
		return t;
	ipc_free(&in);
	return NULL;
}

/* Until the end of its content was handed over a message can be called back: by never ending it. */
static int
cancel(struct relay *r, struct relay_claim *c)
{
	struct relay_claim *t;

	if (c->at == CLAIM_WAITS) {
		relay_lane_drop(c);
		c->told_canceled = true;
		relay_claim_over(r, c, RELAY_DEFERRED, 0, "canceled");
	} else if (!c->ended && !c->canceled) {
		t = twin(r, c);
		if (!t)
			return -ENOMEM;
		c->canceled = true;
		t->told_canceled = true;
		relay_claim_over(r, t, RELAY_DEFERRED, 0, "canceled");
		/* between two pieces of content there is no other way out */
		c->conn->again = true;
	}
	return 0;
}

static int
cancel_message(struct relay *r, struct ipc_in *in)
{
	const struct relay_cancel *m;
	const void *body;
	int err = ipc_body(in, &relay_ask_shape[RELAY_CANCEL], &body);

	if (err)
		return err;
	m = body;
	for (struct relay_lane *l = r->lane; l; l = l->next)
		for (struct relay_claim *c = l->first; c; c = c->next)
			if (c->s->claim == m->claim)
				return cancel(r, c);
	for (struct relay_conn *k = r->conn; k; k = k->next)
		for (unsigned i = 0; i < k->nclaim; i++)
			if (k->claim[i]->s->claim == m->claim)
				return cancel(r, k->claim[i]);
	/* its result is under way already */
	return 0;
}

/* ---- names that the queue asks for ---------------------------------------------------------- */

static void
on_name(void *arg, const struct dns_answer *a)
{
	struct relay_name_asked *q = arg;

	q->waits = false;
	if (a->outcome == DNS_NOT_NOW)
		q->answer = RELAY_NAME_NOT_NOW;
	else if (a->outcome == DNS_FOUND)
		q->answer = q->asks == DNS_MX ? RELAY_NAME_MX : RELAY_NAME_ADDRESS;
	else
		q->answer = RELAY_NAME_NONE;
	/* without an MX the address serves (RFC 5321 5.1); a null MX says that nothing does (RFC 7505) */
	q->over = a->outcome != DNS_NONE || q->asks == DNS_ADDRESSES;
	if (!q->over)
		q->asks = DNS_ADDRESSES;
}

static void
ask_names(struct relay *r)
{
	for (struct relay_name_asked *q = r->asked; q; q = q->next) {
		while (!q->over && !q->waits) {
			int err;

			q->waits = true;
			err = dns_ask(r->dns, q->asks, q->domain, r->now, on_name, q);
			if (err) {
				q->waits = false;
				q->over = true;
				q->answer = err == -EINVAL ? RELAY_NAME_NONE : RELAY_NAME_NOT_NOW;
			}
		}
	}
}

static int
resolve(struct relay *r, struct ipc_in *in)
{
	const struct relay_resolve *m;
	struct relay_name_asked *q;
	const void *body;
	int err = ipc_body(in, &relay_ask_shape[RELAY_RESOLVE], &body);

	if (err)
		return err;
	q = calloc(1, sizeof *q);
	if (!q)
		return -ENOMEM;
	m = body;
	q->token = m->token;
	q->asks = DNS_MX;
	if (strlen(m->domain) >= sizeof q->domain) {
		q->over = true;
		q->answer = RELAY_NAME_NONE;
	} else if (r->nasked >= RELAY_MOST_ASKED) {
		q->over = true;
		q->answer = RELAY_NAME_NOT_NOW;
	} else {
		snprintf(q->domain, sizeof q->domain, "%s", m->domain);
	}
	q->next = r->asked;
	r->asked = q;
	r->nasked++;
	return 0;
}

static int
again(struct relay *r, struct ipc_in *in)
{
	const struct relay_again *m;
	const void *body;
	int err = ipc_body(in, &relay_ask_shape[RELAY_AGAIN], &body);

	if (err)
		return err;
	m = body;
	relay_again(r, m->relay);
	return 0;
}

static int
take(struct relay *r, struct ipc_in *in)
{
	switch ((enum relay_ask)in->type) {
	case RELAY_SEND:
		return send_message(r, in);
	case RELAY_CANCEL:
		return cancel_message(r, in);
	case RELAY_RESOLVE:
		return resolve(r, in);
	case RELAY_AGAIN:
		return again(r, in);
	case RELAY_NASK:
		break;
	}
	return -EBADMSG;
}

/* Of what is said here the queue waits for the end: what there is no memory for waits for a moment. */
static void
from_queue(struct relay *r)
{
	struct relay_late *late = &r->late_queue;

	if (late->until)
		late->until = r->now + LATE_MS;
	for (unsigned i = 0; i < MOST_TAKEN && r->nover < MOST_OVER && r->nasked < 2 * RELAY_MOST_ASKED;
	    i++) {
		struct ipc_in in = late->in;
		int err = in.bytes ? 1 : ipc_recv(r->opt->queue, &in);

		*late = (struct relay_late){.until = is_short(err) ? r->now + LATE_MS : 0};
		if (err == -EAGAIN || is_short(err))
			return;
		if (err == 0 || (err < 0 && err != -EBADMSG)) {
			r->gone = true;
			return;
		}
		if (err > 0)
			err = take(r, &in);
		if (err == -ENOMEM) {
			*late = (struct relay_late){r->now + LATE_MS, in};
			return;
		}
		if (err)
			log_say(LOG_IS_ERROR, NULL, "the queue said what cannot be read");
		ipc_free(&in);
	}
}

/* ---- the loop ---------------------------------------------------------------------------------- */

struct waits {
	struct pollfd p[MOST_WAIT];
	struct { struct relay_conn *c; unsigned at, n; } conn[MOST_CONNS];
	unsigned n, nconn, dns, ndns;
};

static bool
owes(const struct relay *r)
{
	if (r->over)
		return true;
	for (const struct relay_name_asked *q = r->asked; q; q = q->next)
		if (q->over)
			return true;
	for (const struct relay_dest *d = r->dest; d; d = d->next)
		if (d->dirty && !d->gone)
			return true;
	return false;
}

static int
until(const struct relay *r)
{
	uint64_t t = relay_lanes_deadline(r), now = clock_ms();

	for (const struct relay_conn *c = r->conn; c; c = c->next) {
		uint64_t k = relay_conn_deadline(c);
		t = k < t ? k : t;
	}
	if (relay_probe_deadline(r) < t)
		t = relay_probe_deadline(r);
	if (r->stopping && r->stop_at < t)
		t = r->stop_at;
	if (r->late_queue.until && r->late_queue.until < t)
		t = r->late_queue.until;
	if (r->late_parent.until && r->late_parent.until < t)
		t = r->late_parent.until;
	if (t == UINT64_MAX)
		return -1;
	return t <= now ? 0 : t - now < 60000 ? (int)(t - now) : 60000;
}

static void
await(struct relay *r, struct waits *w)
{
	int ms = until(r);
	bool hears = !r->late_queue.until && r->nover < MOST_OVER && r->nasked < 2 * RELAY_MOST_ASKED;

	w->n = w->nconn = 0;
	w->p[w->n++] = (struct pollfd){.fd = r->opt->queue,
	    .events = (short)((hears ? POLLIN : 0) | (owes(r) ? POLLOUT : 0))};
	w->p[w->n++] = (struct pollfd){.fd = r->parent_gone || r->late_parent.until ? -1 : r->opt->parent,
	    .events = POLLIN};
	for (struct relay_conn *c = r->conn; c && w->nconn < MOST_CONNS; c = c->next) {
		w->conn[w->nconn].c = c;
		w->conn[w->nconn].at = w->n;
		w->conn[w->nconn].n = relay_conn_wait(c, &w->p[w->n]);
		w->n += w->conn[w->nconn++].n;
	}
	w->dns = w->n;
	w->ndns = (unsigned)dns_wait(r->dns, &w->p[w->n], &ms);
	w->n += w->ndns;
	if (poll(w->p, w->n, ms) < 0)
		for (unsigned i = 0; i < w->n; i++)
			w->p[i].revents = 0;
	r->now = clock_ms();
}

static bool
is_due(const struct relay *r, const struct relay_late *l)
{
	return l->until && l->until <= r->now;
}

static void
turn(struct relay *r, struct waits *w)
{
	await(r, w);
	if (w->p[1].revents || is_due(r, &r->late_parent))
		from_parent(r);
	if (w->p[0].revents & (POLLIN | POLLHUP | POLLERR) || is_due(r, &r->late_queue))
		from_queue(r);
	dns_done(r->dns, &w->p[w->dns], w->ndns, r->now);
	ask_names(r);
	for (unsigned i = 0; i < w->nconn; i++) {
		struct relay_conn *c = w->conn[i].c;
		struct pollfd *p = &w->p[w->conn[i].at];
		bool due = c->again || (c->at == CONN_NAME && c->answered) ||
		    relay_conn_deadline(c) <= r->now;

		for (unsigned k = 0; k < w->conn[i].n; k++)
			due |= p[k].revents != 0;
		if (due)
			relay_conn_turn(c, p, w->conn[i].n);
	}
	relay_lanes_run(r);
	relay_probe_run(r);
	relay_conns_sweep(r, false);
	relay_lanes_sweep(r, false);
	relay_tell(r);
}

static void
clear(struct relay *r)
{
	relay_probe_end(r, true);
	relay_conns_sweep(r, true);
	relay_lanes_sweep(r, true);
	while (r->over) {
		struct relay_claim *c = r->over;
		r->over = c->next;
		relay_claim_free(c);
	}
	while (r->asked) {
		struct relay_name_asked *q = r->asked;
		r->asked = q->next;
		dns_forget(r->dns, q);
		free(q);
	}
	ipc_free(&r->late_queue.in);
	relay_book_free(r);
	dns_close(r->dns);
	free(r);
}

int
role_relay(const struct role_relay *o)
{
	struct relay *r = calloc(1, sizeof *r);
	struct waits *w = calloc(1, sizeof *w);
	int err = r && w ? 0 : -ENOMEM;

	if (!err && !o->no_jail)
		err = enter(o);
	if (!err)
		err = dns_open(o->servers, &r->dns);
	if (err) {
		log_say(LOG_IS_ERROR, NULL, "the relay role cannot begin: %s", strerror(-err));
		free(r);
		free(w);
		return 1;
	}
	r->opt = o;
	r->over_last = &r->over;
	r->now = clock_ms();
	while (!r->gone && !(r->stopping && ((!r->conn && !r->over) || r->now >= r->stop_at)))
		turn(r, w);
	clear(r);
	free(w);
	return 0;
}
