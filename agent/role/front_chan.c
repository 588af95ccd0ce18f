/* The two channels: what is told and asked, windows kept. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "log/log.h"
#include "mail/window.h"
#include "role/front_inside.h"

static const char windows_name[] = "windows";

enum { SEAL_BYTES = 40 << 10, READ_MOST = 64 };

/* ---- to the queue ------------------------------------------------------------------------- */

/* 0; -EAGAIN: later. What else goes wrong with the channel is the end of us. */
static int
send_queue(struct front *f, uint32_t type, const void *body, uint32_t id)
{
	int err = ipc_send(f->opt->queue, type, id, &front_ask_shape[type], body, NULL, 0);

	if (err == -EAGAIN || err == -ENOBUFS || err == -ENOMEM) {
		f->chan_full = true;
		return -EAGAIN;
	}
	if (err && err != -EMSGSIZE) {
		if (err != -EPIPE && err != -ECONNRESET)
			log_say(LOG_IS_ERROR, NULL, "the queue cannot be told: %s", strerror(-err));
		f->gone = f->queue_gone = true;
	}
	return err;
}

void
front_tell(struct front_conn *c)
{
	struct front *f = c->f;

	if (c->tells)
		return;
	c->tells = true;
	c->tell_next = NULL;
	*f->tell_last = c;
	f->tell_last = &c->tell_next;
}

void
front_drop(struct front *f, uint64_t token)
{
	struct front_drop d = {.token = token};

	if (!f->ndrop && !f->chan_full && !send_queue(f, FRONT_DROP, &d, 0))
		return;
	/* ARRIVE waits behind these, so there are never more than there were messages */
	if (f->ndrop < sizeof f->drop / sizeof f->drop[0]) {
		f->drop[f->ndrop++] = token;
	} else {
		log_say(LOG_IS_ERROR, NULL, "more messages were given up than there can be");
		f->gone = true;
	}
}

/* "SUCCESS,DELAY" */
static const char *
notify_text(unsigned mask)
{
	static const char *const text[] = {
		"", "NEVER", "SUCCESS", "", "FAILURE", "", "SUCCESS,FAILURE", "", "DELAY", "",
		"SUCCESS,DELAY", "", "FAILURE,DELAY", "", "SUCCESS,FAILURE,DELAY", "",
	};

	return text[mask & 15];
}

static const char *
ret_text(enum smtp_ret r)
{
	switch (r) {
	case SMTP_RET_UNSAID:
		return "";
	case SMTP_RET_FULL:
		return "FULL";
	case SMTP_RET_HDRS:
		return "HDRS";
	}
	return "";
}

/* As many recipients as go into one message, from m->sealed on. */
static uint32_t
seal_rcpts(const struct front_msg *m, struct front_rcpt *out)
{
	size_t bytes = 0;
	uint32_t n = 0;

	for (size_t i = m->sealed; i < m->nto && n < FRONT_MOST_RCPT; i++) {
		const struct front_to *t = m->to[i];
		const char *orcpt = t->orcpt ? t->orcpt : "";

		bytes += strlen(t->address) + strlen(t->relay) + strlen(orcpt) + 64;
		if (n && bytes > SEAL_BYTES)
			break;
		out[n++] = (struct front_rcpt){t->address, t->relay, notify_text(t->notify), orcpt};
	}
	return n;
}

static int
tell_seal(struct front *f, struct front_conn *c)
{
	struct front_msg *m = &c->m;
	struct front_rcpt rcpt[FRONT_MOST_RCPT];
	char note[400];

	snprintf(note, sizeof note, "%s from %.255s", m->with, smtp_server_helo(c->s));
	while (m->sealed < m->nto) {
		struct front_seal s = {.token = m->token, .size = m->wrote, .application = m->application,
		    .unit = c->unit ? c->unit : "", .uid = c->u->uid, .from = m->as,
		    .envid = m->envid ? m->envid : "", .ret = ret_text(m->ret), .eight = m->high,
		    .utf8 = m->utf8, .note = note, .rcpt = rcpt, .not_before = m->not_before};
		int err;

		s.through = m->p->policy->submission.through && !m->not_before;
		s.nrcpt = seal_rcpts(m, rcpt);
		s.more = m->sealed + s.nrcpt < m->nto;
		if (m->small && !s.more) {
			s.content = (const uint8_t *)m->out.p;
			s.ncontent = (uint32_t)m->out.n;
		}
		err = send_queue(f, FRONT_SEAL, &s, 0);
		if (err)
			return err;
		m->sealed += s.nrcpt;
	}
	front_msg_sealed(m);
	return 0;
}

/* What c has to tell. -EAGAIN: not yet. */
static int
tell_one(struct front *f, struct front_conn *c)
{
	struct front_msg *m = &c->m;
	int err;

	if (m->ask) {
		struct front_arrive a = {.token = m->token, .size = m->sized ? m->said : 0, .later = m->small};

		err = send_queue(f, FRONT_ARRIVE, &a, 0);
		if (err)
			return err;
		m->ask = false;
		m->known = true;
	}
	if (m->at == FRONT_AT_SEALED && m->sealed < m->nto) {
		err = tell_seal(f, c);
		if (err == -EMSGSIZE) {
			const struct front_settled no = {.code = 554, .enhanced = "5.3.4",
			    .text = "the envelope is too large"};

			front_msg_settled(c, &no);
			err = 0;
		}
		return err;
	}
	return 0;
}

/* ---- windows ------------------------------------------------------------------------------------ */

static void
keep_begin(struct front *f)
{
	buf_free(&f->keep);
	f->keep_at = 0;
	f->keep_dirty = false;
	f->keep_next = f->now + FRONT_KEEP_MS;
	mail_windows_write(f->windows, f->sec, &f->keep);
	if (f->keep.err) {
		log_say(LOG_IS_WARNING, NULL, "the counts of limits cannot be kept: %s", strerror(-f->keep.err));
		buf_free(&f->keep);
	}
}

static int
keep_go_on(struct front *f)
{
	while (f->keep.n) {
		size_t left = f->keep.n - f->keep_at, n = left < FRONT_MOST_KEEP ? left : FRONT_MOST_KEEP;
		struct front_keep k = {.name = windows_name, .bytes = (const uint8_t *)f->keep.p + f->keep_at,
		    .n = (uint32_t)n, .more = n < left};
		int err = send_queue(f, FRONT_KEEP, &k, 0);

		if (err)
			return err;
		f->keep_at += n;
		if (f->keep_at == f->keep.n)
			buf_free(&f->keep);
	}
	return 0;
}

static void
kept(struct front *f, const struct front_keep *k)
{
	int err;

	if (f->have_kept)
		return;
	if (k->n)
		buf_add(&f->kept, k->bytes, k->n);
	if (k->more)
		return;
	f->have_kept = true;
	err = f->kept.err;
	if (!err && f->kept.n)
		err = mail_windows_read(f->windows, f->kept.p, f->kept.n);
	if (err)
		log_say(LOG_IS_WARNING, NULL, "the counts of limits that were kept cannot be read: %s; "
		    "they begin anew", strerror(-err));
	buf_free(&f->kept);
}

void
front_tell_run(struct front *f)
{
	if (f->chan_full || f->gone)
		return;
	while (f->ndrop) {
		struct front_drop d = {.token = f->drop[f->ndrop - 1]};

		if (send_queue(f, FRONT_DROP, &d, 0))
			return;
		f->ndrop--;
	}
	while (f->tell) {
		struct front_conn *c = f->tell;

		if (tell_one(f, c) == -EAGAIN)
			return;
		/* it may have ended the message, never the connection */
		f->tell = c->tell_next;
		if (!f->tell)
			f->tell_last = &f->tell;
		c->tells = false;
	}
	if (keep_go_on(f))
		return;
	if (f->have_kept && f->keep_dirty && !f->keep.n && f->now >= f->keep_next) {
		keep_begin(f);
		keep_go_on(f);
	}
}

bool
front_ask_domain(struct front *f, uint64_t token, const char *domain)
{
	struct front_resolve r = {.token = token, .domain = domain};

	return !f->chan_full && !send_queue(f, FRONT_RESOLVE, &r, 0);
}

/* ---- from the queue -------------------------------------------------------------------------------- */

/* Whose message it is; NULL: nobody's any more. */
static struct front_conn *
conn_of(const struct front *f, uint64_t token)
{
	struct front_conn *c = f->conn[token % 1024 % FRONT_MOST_CONNS];

	return c && token && c->m.token == token ? c : NULL;
}

static void
arrived(struct front *f, struct ipc_in *in, const struct front_arrived *a)
{
	struct front_conn *c = conn_of(f, a->token);
	int fd = ipc_take(in, 0);

	if (!c || c->m.arrived || !c->m.known) {
		/* its DROP is on the way */
		if (fd >= 0)
			close(fd);
		return;
	}
	front_msg_arrived(c, a, fd);
}

static void
settled(struct front *f, const struct front_settled *s)
{
	struct front_conn *c = conn_of(f, s->token);

	if (c && c->m.at == FRONT_AT_SEALED)
		front_msg_settled(c, s);
}

static int
queue_message(struct front *f, struct ipc_in *in)
{
	const void *body;
	int err;

	if (!in->type || in->type >= FRONT_NTELL)
		return -EBADMSG;
	err = ipc_body(in, &front_tell_shape[in->type], &body);
	if (err)
		return err;
	switch ((enum front_tell)in->type) {
	case FRONT_ARRIVED:
		arrived(f, in, body);
		return 0;
	case FRONT_SETTLED:
		settled(f, body);
		return 0;
	case FRONT_KEPT:
		kept(f, body);
		return 0;
	case FRONT_RESOLVED:
		front_domain_resolved(f, body);
		return 0;
	case FRONT_NTELL:
		break;
	}
	return -EBADMSG;
}

struct taking {
	int (*take)(struct front *, struct ipc_in *);
	struct front *f;
	struct ipc_in *in;
	int err;
};

static void
take_one(void *arg)
{
	struct taking *x = arg;

	x->err = x->take(x->f, x->in);
}

/* Takes a few messages of a channel. */
static void
read_some(struct front *f, int chan, const char *who, int (*take)(struct front *, struct ipc_in *))
{
	for (int i = 0; i < READ_MOST; i++) {
		struct ipc_in in = {0};
		int err = ipc_recv(chan, &in);

		if (err == -EAGAIN || err == -EINTR)
			return;
		if (!err || (err < 0 && err != -EBADMSG && err != -ENOMEM)) {
			if (err && err != -ECONNRESET)
				log_say(LOG_IS_ERROR, NULL, "the channel of the %s: %s", who, strerror(-err));
			f->gone = true;
			return;
		}
		if (err > 0) {
			struct taking x = {take, f, &in, 0};

			err = arena_try(take_one, &x) ? -ENOMEM : x.err;
			/* half of it may have been done */
			if (err == -ENOMEM)
				f->gone = true;
		}
		if (err < 0)
			log_say(LOG_IS_WARNING, NULL, "a message of the %s cannot be read: %s", who, strerror(-err));
		ipc_free(&in);
	}
}

void
front_queue_read(struct front *f)
{
	read_some(f, f->opt->queue, "queue", queue_message);
	f->queue_gone = f->gone;
}

/* ---- the parent ---------------------------------------------------------------------------------------- */

static void
send_parent(struct front *f, uint32_t type, uint32_t id, const void *body)
{
	int err = ipc_send_wait(f->opt->parent, type, id, &mail_tell_shape[type], body, NULL, 0, 1000);

	if (err && err != -EPIPE && err != -ECONNRESET)
		log_say(LOG_IS_WARNING, NULL, "the parent cannot be told: %s", strerror(-err));
	/* it waits for what became of a policy */
	if (err == -EPIPE || err == -ECONNRESET || (err && err != -ETIMEDOUT && type == MAIL_TAKEN))
		f->gone = true;
}

static void
taken(struct front *f, uint32_t id, int err, const char *why)
{
	struct mail_taken t = {.err = (uint32_t)-err, .text = why};

	send_parent(f, MAIL_TAKEN, id, &t);
}

/* Goes over to the policy that waits. */
static void
go_over(struct front *f)
{
	front_policy_number(f, f->next);
	front_policy_free(f->p);
	f->p = f->next;
	f->next = NULL;
	snprintf(f->host, sizeof f->host, "%s", f->next_host);
	taken(f, f->next_id, 0, "");
}

/* Asks for names that are missing. False: all are known. */
static bool
wants(struct front *f)
{
	struct apply_name name[APPLY_MOST_NAMES];
	struct apply_host want = {.name = name};

	want.nname = front_policy_wants(f, f->next, name, APPLY_MOST_NAMES);
	if (want.nname)
		send_parent(f, MAIL_WANT, f->next_id, &want);
	return want.nname != 0;
}

void
front_parent_tick(struct front *f)
{
	if (f->next && f->now - f->next_since >= FRONT_WANT_MS) {
		log_say(LOG_IS_WARNING, NULL, "the numbers of users were not told; applications of users by name "
		    "may be refused");
		go_over(f);
	}
}

static void
take_policy(struct front *f, struct ipc_in *in, const struct mail_policy *m)
{
	char why[FRONT_WORDS] = "";
	int fd = ipc_take(in, 0), err = fd < 0 ? -EBADF : 0;
	struct front_policy *p = fd < 0 ? NULL : front_policy_read(fd, &err, why);

	assert(m);
	if (fd >= 0)
		close(fd);
	if (!p) {
		taken(f, in->id, err, why);
		return;
	}
	if (f->next) {
		taken(f, f->next_id, -ECANCELED, "another policy came before this one was in use");
		front_policy_free(f->next);
	}
	f->next = p;
	f->next_id = in->id;
	f->next_since = f->now;
	snprintf(f->next_host, sizeof f->next_host, "%s", *m->host ? m->host : f->host);
	if (!wants(f))
		go_over(f);
}

static void
take_names(struct front *f, uint32_t id, const struct apply_host *h)
{
	int err = front_names_take(f, h);

	if (!err && f->p)
		front_policy_number(f, f->p);
	taken(f, id, err, err ? "the names cannot be kept" : "");
	if (!err && f->next && !wants(f))
		go_over(f);
}

static void
tell_counts(struct front *f, uint32_t id)
{
	const struct front_count *n = &f->count;
	struct mail_count c[] = {
		{"front_connections", f->nconn},
		{"front_connections_total{result=\"taken\"}", n->connections},
		{"front_connections_total{result=\"refused\"}", n->connections_refused},
		{"front_connections_total{result=\"gave_way\"}", n->connections_gave_way},
		{"front_messages_total{result=\"accepted\"}", n->accepted},
		{"front_messages_total{result=\"deferred\"}", n->deferred},
		{"front_messages_total{result=\"refused\"}", n->refused},
		{"front_messages_delayed_total", n->delayed},
		{"front_recipients_total{result=\"deferred\"}", n->rcpt_deferred},
		{"front_recipients_total{result=\"refused\"}", n->rcpt_refused},
		{"front_unregistered_total", n->unregistered},
		{"front_bytes_total", n->bytes},
		{"front_buffered_bytes", f->mem},
		{"front_window_keys", window_keys(f->windows)},
	};
	struct mail_counted told = {.count = c, .ncount = sizeof c / sizeof c[0], .text = f->paused ?
	    "no descriptors are left: no connection is taken for a moment" : ""};

	send_parent(f, MAIL_COUNTED, id, &told);
}

static int
parent_message(struct front *f, struct ipc_in *in)
{
	const void *body = NULL;
	int err = 0;

	if (!in->type || in->type >= MAIL_NASK)
		return -EBADMSG;
	if (mail_ask_shape[in->type].size)
		err = ipc_body(in, &mail_ask_shape[in->type], &body);
	if (err)
		return err;
	switch ((enum mail_ask)in->type) {
	case MAIL_POLICY:
		take_policy(f, in, body);
		return 0;
	case MAIL_NAMES:
		take_names(f, in->id, body);
		return 0;
	case MAIL_COUNT:
		tell_counts(f, in->id);
		return 0;
	case MAIL_STOP:
		f->stopping = true;
		return 0;
	case MAIL_CREDENTIAL:
	case MAIL_STATUS:
	case MAIL_QUEUE:
	case MAIL_PROBE:
	case MAIL_NASK:
		break;
	}
	return -EBADMSG;
}

void
front_parent_read(struct front *f)
{
	read_some(f, f->opt->parent, "parent", parent_message);
}

void
front_keep_last(struct front *f)
{
	if (!f->have_kept || f->queue_gone)
		return;
	if (f->keep_dirty && !f->keep.n)
		keep_begin(f);
	for (int i = 0; i < 40 && f->keep.n && !f->queue_gone; i++) {
		f->chan_full = false;
		if (keep_go_on(f) == -EAGAIN)
			usleep(50000);
	}
}
