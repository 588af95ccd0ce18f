/* What people ask of the queue, and the counters. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "ipc/doctor.h"
#include "role/queue_inside.h"

enum { LINE = 4096 };

static const char *const state_word[] = {
	[SPOOL_PENDING] = "pending", [SPOOL_SENDING] = "sending", [SPOOL_HELD] = "held",
	[SPOOL_DELIVERED] = "delivered", [SPOOL_FAILED] = "failed", [SPOOL_DROPPED] = "dropped",
};

/* From outside to a terminal: a byte that is no printable ASCII, nor one of `also`, becomes `?`. */
static char
seen(char c, const char *also)
{
	char out = '?';

	if ((c >= ' ' && c <= '~') || (c && strchr(also, c)))
		out = c;
	return out;
}

static void
plain(struct buf *b, const char *s)
{
	for (; s && *s; s++)
		buf_chr(b, seen(*s, ""));
}

static void
when(struct buf *b, uint64_t ms)
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;
	char s[32];

	gmtime_r(&t, &tm);
	strftime(s, sizeof s, "%Y-%m-%dT%H:%M:%SZ", &tm);
	buf_str(b, s);
}

static size_t
open_of(const struct spool_message *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->env.nrcpt; i++)
		n += m->env.rcpt[i].state < SPOOL_DELIVERED;
	return n;
}

static const struct spool_rcpt *
waiting(const struct spool_message *m)
{
	for (size_t i = 0; i < m->env.nrcpt; i++)
		if (m->env.rcpt[i].state < SPOOL_DELIVERED)
			return &m->env.rcpt[i];
	return &m->env.rcpt[0];
}

/* The code; an alarm's text says it itself. */
static void
code_of(struct buf *b, const struct spool_reply *r)
{
	if (r->code && !(r->text && !strncmp(r->text, QUEUE_ALARM, strlen(QUEUE_ALARM))))
		buf_printf(b, "%u ", r->code);
}

/* It waits, and what the relay said once is not why: the policy has it no more. */
static const char *
lost(const struct queue *q, const struct spool_rcpt *r)
{
	return q->policy.p && r->state < SPOOL_DELIVERED && !policy_relay_find(q->policy.p, r->relay) ?
	    "the policy has no such relay any more, and no other way" : NULL;
}

/* ---- as text ------------------------------------------------------------------------ */

static void
list_text(const struct queue *q, struct buf *b, const struct spool_message *m)
{
	const struct spool_rcpt *r = waiting(m);
	char id[SPOOL_ID_LEN + 1];

	spool_id_text(m->env.id, id);
	buf_printf(b, "%s ", id);
	when(b, m->env.arrived);
	buf_printf(b, " %llu %s %zu/%zu ", (unsigned long long)m->size, state_word[r->state], open_of(m),
	    m->env.nrcpt);
	plain(b, r->relay);
	buf_str(b, " <");
	plain(b, m->env.from);
	buf_str(b, "> <");
	plain(b, r->address);
	buf_chr(b, '>');
	if (lost(q, r)) {
		buf_printf(b, " (%s)", lost(q, r));
	} else if (r->last.code || r->last.text) {
		buf_str(b, " (");
		code_of(b, &r->last);
		plain(b, r->last.text);
		buf_chr(b, ')');
	}
	buf_chr(b, '\n');
}

static void
field(struct buf *b, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	buf_printf(b, "%s: ", name);
	plain(b, value);
	buf_chr(b, '\n');
}

/* The header of the content, as far as it is shown; for JSON the caller escapes. */
static void
header(struct buf *b, const struct spool_message *m)
{
	size_t want = m->size < QUEUE_SHOWN ? (size_t)m->size : QUEUE_SHOWN;
	char *p = malloc(want + 1), *end;
	ssize_t n = p ? pread(m->fd, p, want, (off_t)m->offset) : 0;

	if (n > 0) {
		p[n] = 0;
		end = memmem(p, (size_t)n, "\r\n\r\n", 4);
		if (end)
			n = end - p;
		for (ssize_t i = 0; i < n; i++)
			if (p[i] != '\r')
				buf_chr(b, seen(p[i], "\n\t"));
		buf_chr(b, '\n');
	}
	free(p);
}

static void
show_text(const struct queue *q, struct buf *b, const struct spool_message *m)
{
	const struct spool_envelope *e = &m->env;
	char id[SPOOL_ID_LEN + 1];

	spool_id_text(e->id, id);
	field(b, "id", id);
	buf_str(b, "arrived: ");
	when(b, e->arrived);
	buf_printf(b, "\nsize: %llu\nfrom: <", (unsigned long long)m->size);
	plain(b, e->from);
	buf_str(b, ">\n");
	field(b, "application", e->application);
	field(b, "unit", e->unit);
	if (e->uid != UINT32_MAX)
		buf_printf(b, "uid: %u\n", e->uid);
	field(b, "envid", e->envid);
	field(b, "came", e->note);
	if (e->not_before) {
		buf_str(b, "not before: ");
		when(b, e->not_before);
		buf_chr(b, '\n');
	}
	for (size_t i = 0; i < e->nrcpt; i++) {
		const struct spool_rcpt *r = &e->rcpt[i];

		buf_str(b, "to: <");
		plain(b, r->address);
		buf_printf(b, ">\n  %s, relay ", state_word[r->state]);
		plain(b, r->relay);
		buf_printf(b, ", %u attempt%s", r->attempts, r->attempts == 1 ? "" : "s");
		if (r->state == SPOOL_PENDING && r->next) {
			buf_str(b, ", next ");
			when(b, r->next);
		}
		buf_chr(b, '\n');
		field(b, "  waits", lost(q, r));
		if (r->last.code || r->last.text) {
			buf_str(b, "  last: ");
			code_of(b, &r->last);
			plain(b, r->last.text);
			buf_chr(b, '\n');
		}
		field(b, "  peer", r->last.peer);
		field(b, "  tls", r->last.tls);
		field(b, "  cipher", r->last.cipher);
	}
	buf_chr(b, '\n');
	header(b, m);
}

/* ---- as JSON ------------------------------------------------------------------------------ */

static void
pair(struct buf *b, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	buf_printf(b, ",\"%s\":", key);
	buf_json(b, value);
}

static void
put_json(const struct queue *q, struct buf *b, const struct spool_message *m, bool all)
{
	const struct spool_envelope *e = &m->env;
	struct buf head = BUF_INIT(2 * QUEUE_SHOWN);
	char id[SPOOL_ID_LEN + 1];

	spool_id_text(e->id, id);
	buf_printf(b, "{\"id\":\"%s\",\"arrived\":%llu,\"size\":%llu,\"from\":", id,
	    (unsigned long long)e->arrived / 1000, (unsigned long long)m->size);
	buf_json(b, e->from);
	pair(b, "application", e->application);
	pair(b, "unit", e->unit);
	pair(b, "envid", e->envid);
	pair(b, "came", e->note);
	if (e->not_before)
		buf_printf(b, ",\"not-before\":%llu", (unsigned long long)e->not_before / 1000);
	buf_str(b, ",\"to\":[");
	for (size_t i = 0; i < e->nrcpt; i++) {
		const struct spool_rcpt *r = &e->rcpt[i];

		buf_printf(b, "%s{\"address\":", i ? "," : "");
		buf_json(b, r->address);
		pair(b, "relay", r->relay);
		pair(b, "state", state_word[r->state]);
		pair(b, "waits", lost(q, r));
		buf_printf(b, ",\"attempts\":%u", r->attempts);
		if (r->state == SPOOL_PENDING && r->next)
			buf_printf(b, ",\"next\":%llu", (unsigned long long)r->next / 1000);
		if (r->last.code)
			buf_printf(b, ",\"code\":%u", r->last.code);
		pair(b, "text", r->last.text);
		pair(b, "peer", r->last.peer);
		pair(b, "tls", r->last.tls);
		pair(b, "cipher", r->last.cipher);
		buf_chr(b, '}');
	}
	buf_chr(b, ']');
	if (all) {
		header(&head, m);
		pair(b, "header", head.p);
		buf_free(&head);
	}
	buf_str(b, "}\n");
}

/* ---- the questions ------------------------------------------------------------------------- */

static void
trace_line(void *arg, const char *text)
{
	char *line = strdup(text);

	if (line)
		queue_life_line(arg, line);
	free(line);
}

static bool
goes_by(const struct spool_message *m, const char *relay)
{
	if (!*relay)
		return true;
	for (size_t i = 0; i < m->env.nrcpt; i++)
		if (!strcmp(m->env.rcpt[i].relay, relay))
			return true;
	return false;
}

static int
list(struct queue *q, const struct mail_queue *ask, struct buf *b, uint32_t *done)
{
	for (uint64_t id = 0; (id = spool_after(q->s, id)) && !b->err; ) {
		struct spool_message m = {0};

		if (ask->most && *done >= ask->most)
			break;
		if (spool_read(q->s, id, &m))
			continue;
		if (goes_by(&m, ask->relay)) {
			if (ask->json)
				put_json(q, b, &m, false);
			else
				list_text(q, b, &m);
			++*done;
		}
		spool_message_end(&m);
	}
	return b->err;
}

/* What is released or dropped by people is not an alarm's any more. */
static void
forget(struct queue *q, uint64_t id)
{
	for (size_t i = 0; i < q->nrelay; i++) {
		struct queue_relay *r = &q->relay[i];
		size_t n = 0;

		for (size_t k = 0; k < r->nheld; k++)
			if (r->held[k] != id)
				r->held[n++] = r->held[k];
		r->nheld = n;
	}
}

static int
one(struct queue *q, const struct mail_queue *ask, uint64_t id, struct buf *b)
{
	struct spool_message m = {0};
	struct queue_life life = {.b = b};
	int err;

	switch ((enum mail_queue_op)ask->op) {
	case MAIL_QUEUE_SHOW:
		err = spool_read(q->s, id, &m);
		if (!err && ask->json)
			put_json(q, b, &m, true);
		else if (!err)
			show_text(q, b, &m);
		spool_message_end(&m);
		return err ? err : b->err;
	case MAIL_QUEUE_RETRY:
		return spool_retry(q->s, id, q->now);
	case MAIL_QUEUE_HOLD:
		return spool_hold(q->s, id, q->now);
	case MAIL_QUEUE_RELEASE:
		forget(q, id);
		return spool_release(q->s, id, q->now);
	case MAIL_QUEUE_DROP:
		forget(q, id);
		return spool_drop(q->s, id, q->now, *ask->why ? ask->why : "by hand");
	case MAIL_QUEUE_TRACE:
		err = spool_trace(q->s, id, trace_line, &life);
		queue_life_end(&life);
		return err ? err : b->err;
	case MAIL_QUEUE_LIST:
	case MAIL_QUEUE_FLUSH:
	case MAIL_QUEUE_NOP:
		break;
	}
	return -EINVAL;
}

static void
flush(struct queue *q, const char *relay)
{
	spool_flush(q->s, *relay ? relay : NULL, q->now);
	for (size_t i = 0; i < q->nrelay; i++)
		if (!*relay || !strcmp(q->relay[i].name, relay)) {
			q->relay[i].down = q->relay[i].pause = 0;
			queue_relay_release(q, &q->relay[i]);
		}
	/* a second one before the first was told is of all */
	snprintf(q->again_of, sizeof q->again_of, "%s", q->again && strcmp(q->again_of, relay) != 0 ? "" : relay);
	q->again = true;
}

static const char *
words(int err)
{
	switch (-err) {
	case ENOENT:
		return "is not in the queue";
	case EBUSY:
		return "is being sent at this moment";
	case EBADMSG:
		return "was damaged and has been set aside";
	case EINVAL:
		return "is no number of a message";
	}
	return strerror(-err);
}

static void
answer(struct queue *q, uint32_t id, const struct mail_queue *ask)
{
	struct buf b = BUF_INIT(MAIL_MOST_TEXT);
	struct mail_answer a = {.text = ""};
	char text[256] = "";
	int fd = -1, err = 0;

	if (ask->op == MAIL_QUEUE_LIST) {
		err = list(q, ask, &b, &a.done);
	} else if (ask->op == MAIL_QUEUE_FLUSH) {
		flush(q, ask->relay);
	} else {
		for (uint32_t i = 0; i < ask->nid; i++) {
			uint64_t n = spool_id_of(ask->id[i].text);
			int e = n ? one(q, ask, n, &b) : -EINVAL;

			a.done += !e;
			if (e && !err) {
				err = e;
				snprintf(text, sizeof text, "%.32s %s", ask->id[i].text, words(e));
			}
		}
	}
	if (b.n && b.p) {
		fd = ipc_file("queue", b.p, b.n);
		if (fd < 0 && !err)
			err = fd;
	}
	a.err = (uint32_t)-err;
	a.text = text;
	a.file = fd >= 0;
	/* not done twice: who waits for it in vain asks again */
	(void)ipc_send_wait(q->opt->parent, MAIL_ANSWER, id, &mail_tell_shape[MAIL_ANSWER], &a, &fd, fd >= 0,
	    1000);
	if (fd >= 0)
		close(fd);
	buf_free(&b);
}

static int
status(struct queue *q, uint32_t id)
{
	struct mail_relay_status *row = calloc(MAIL_MOST_RELAYS, sizeof *row);
	struct mail_status s = q->count;
	struct spool_depth d;
	struct spool_found f;
	unsigned again = 0;
	int err = 0;

	if (!row)
		return -ENOMEM;
	spool_size(q->s, &s.messages, &s.bytes);
	spool_depth(q->s, NULL, &d);
	spool_found(q->s, &f);
	s.oldest = d.oldest;
	s.sending = d.sending;
	s.held = d.held;
	s.damaged = f.damaged;
	s.unreadable = f.unreadable;
	s.sick = f.sick;
	s.arriving = q->nmail;
	s.relay = row;
	for (size_t i = 0; i < q->nrelay && s.nrelay < MAIL_MOST_RELAYS; i++) {
		const struct queue_relay *r = &q->relay[i];

		spool_depth(q->s, r->name, &d);
		/* of the policy before, and done with */
		if (q->policy.p && !policy_relay_find(q->policy.p, r->name) && !d.pending && !d.sending && !d.held)
			continue;
		row[s.nrelay++] = (struct mail_relay_status){r->name, d.pending, d.sending, d.held, d.oldest,
			r->well, r->alarm || r->nheld, r->down > q->mono || d.open, r->connections, r->text};
	}
	do {
		/* where the causes are too many together, only mail that waits has one; then some relays have none */
		for (uint32_t i = 0; i < s.nrelay && err == -EMSGSIZE; i++)
			if (!row[i].pending && !row[i].held)
				row[i].text = "";
		err = ipc_send_wait(q->opt->parent, MAIL_STATUS_IS, id, &mail_tell_shape[MAIL_STATUS_IS], &s,
		    NULL, 0, 1000);
		s.nrelay /= again++ ? 2 : 1;
	} while (err == -EMSGSIZE && s.nrelay);
	free(row);
	return err;
}

/* The spool, as a message would find it: begun, and dropped. */
static int
probe(struct queue *q, uint32_t id)
{
	static const char todo[] = "make room: `mailreevectl queue list` tells what waits, df and df -i how full the disk is";
	struct mail_probed m = {.text = ""};
	struct doctor_list l = {0};
	struct spool_arrival *a = NULL;
	struct spool_found f;
	struct statvfs v;
	char room[32];
	int err = spool_arrive(q->s, 0, q->now, &a), fd;

	if (!err)
		spool_drop_arrival(q->s, a);
	spool_found(q->s, &f);
	if (err == -ENOSPC)
		doctor_add(&l, DOCTOR_SPOOL, DOCTOR_FAIL, "", todo, "no message can be kept: there is too little space, or there are too few "
		    "inodes, on the disk of the spool, or the queue is full");
	else if (err)
		doctor_add(&l, DOCTOR_SPOOL, DOCTOR_FAIL, "", "look at the disk and at the owner and mode of the spool's folder (the agent's user, "
		    "0700); journalctl -u mailreeved tells more", "no message can be kept: %s", strerror(-err));
	else if (f.sick)
		doctor_add(&l, DOCTOR_SPOOL, DOCTOR_FAIL, "", "look at the disk (dmesg): a write to it failed", "the spool's disk is not well");
	if (f.damaged || f.unreadable)
		doctor_add(&l, DOCTOR_SPOOL, DOCTOR_WARN, "", "look at them in the spool's folder, and at the disk", "%u messages of the spool are "
		    "damaged, %u cannot be read", f.damaged, f.unreadable);
	if (!fstatvfs(q->opt->spool, &v) && !err && !f.sick) {
		uint64_t bytes = (uint64_t)v.f_bavail * v.f_frsize;
		bool tight = bytes < 4 * q->config.floor_bytes || (v.f_files && v.f_favail < 4 * q->config.floor_inodes);

		/* in whole megabytes: nobody wants to know better */
		units_size(bytes > 1000000 ? bytes / 1000000 * 1000000 : bytes, room);
		doctor_add(&l, DOCTOR_SPOOL, tight ? DOCTOR_WARN : DOCTOR_PASS, "", tight ? todo : "", "a message can be kept; %s are free%s", room,
		    tight ? ", which is little" : "");
	}
	fd = l.err ? l.err : doctor_file(&l);
	doctor_free(&l);
	m.err = fd < 0 ? (uint32_t)-fd : 0;
	err = ipc_send_wait(q->opt->parent, MAIL_PROBED, id, &mail_tell_shape[MAIL_PROBED], &m, &fd, fd >= 0, 1000);
	if (fd >= 0)
		close(fd);
	return err;
}

int
queue_people(struct queue *q, struct ipc_in *in)
{
	const void *body = NULL;
	int err;

	if (in->type == MAIL_STATUS)
		return status(q, in->id);
	if (in->type == MAIL_PROBE)
		return probe(q, in->id);
	err = ipc_body(in, &mail_ask_shape[MAIL_QUEUE], &body);
	if (!err)
		answer(q, in->id, body);
	return err;
}
