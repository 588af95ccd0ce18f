/* A message's content on its way into the queue's file. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "role/front_inside.h"

enum { OUT_MOST = 1 << 20, LITTLE = 32 << 10, ENVELOPE_MOST = 2048 };

void
front_refuse(struct front_conn *c, unsigned code, const char *enhanced, const char *text)
{
	struct front_msg *m = &c->m;

	if (m->refusal.code)
		return;
	m->refusal.code = code;
	snprintf(m->refusal.enhanced, sizeof m->refusal.enhanced, "%s", enhanced);
	front_words(m->p, text, m->refusal.text);
	/* what still comes is read and thrown away */
	m->header = smtp_header_free(m->header);
	m->attach = smtp_attach_free(m->attach);
	buf_free(&m->out);
	m->niov = 0;
	m->pending = 0;
}

/* ---- the envelope ---------------------------------------------------------------------- */

bool
front_msg_begin(struct front_conn *c, const struct smtp_server_event *e)
{
	struct front_msg *m = &c->m;

	assert(m->at == FRONT_AT_NONE && !m->p);
	*m = (struct front_msg){.fd = -1, .out = BUF_INIT(OUT_MOST), .ret = e->mail.ret,
	    .sized = e->mail.sized, .said = e->mail.size, .utf8 = e->mail.utf8};
	m->from = strdup(e->path);
	m->envid = e->mail.envid ? strdup(e->mail.envid) : NULL;
	m->p = front_policy_ref(c->f->p);
	m->at = FRONT_AT_MAIL;
	/* the queue will keep room for what was said, so it is on the user's account from now on */
	m->counted = e->mail.size < FRONT_BYTES_EACH ? e->mail.size : FRONT_BYTES_EACH;
	c->u->bytes += m->counted;
	if (m->from && (m->envid || !e->mail.envid))
		return true;
	front_msg_forget(c);
	return false;
}

/* The queue is asked for the message's number, and for its file. */
static void
begin(struct front_conn *c)
{
	struct front_msg *m = &c->m;

	m->token = ++c->f->generation << 10 | c->slot;
	m->ask = m->filed = true;
	c->u->nmsg++;
	c->f->nmsg++;
	front_tell(c);
}

/* One mailbox, and told the same of it: local parts are compared exactly, domains without case (RFC 5321 2.4). */
static bool
same_rcpt(const struct front_to *t, const struct smtp_server_event *e)
{
	const char *at = strrchr(t->address, '@');
	size_t n = at ? (size_t)(at - t->address) : strlen(t->address);

	return t->notify == e->rcpt.notify && !strncmp(t->address, e->path, n) &&
	    !strcasecmp(t->address + n, e->path + n) &&
	    !strcmp(t->orcpt ? t->orcpt : "", e->rcpt.orcpt ? e->rcpt.orcpt : "");
}

bool
front_msg_rcpt(struct front_conn *c, const struct smtp_server_event *e)
{
	struct front_msg *m = &c->m;
	size_t n = strlen(e->path) + 1, k = e->rcpt.orcpt ? strlen(e->rcpt.orcpt) + 1 : 0;
	struct front_to *t;

	/* said twice, sent once */
	for (size_t i = 0; i < m->nto; i++)
		if (same_rcpt(m->to[i], e))
			return true;
	if (m->nto == m->capto) {
		size_t cap = m->capto ? 2 * m->capto : 4;
		struct front_to **to = realloc(m->to, cap * sizeof *to);

		if (!to)
			return false;
		m->to = to;
		m->capto = cap;
	}
	t = calloc(1, sizeof *t + n + k);
	if (!t)
		return false;
	memcpy(t->address, e->path, n);
	if (k) {
		t->orcpt = t->address + n;
		memcpy(t->orcpt, e->rcpt.orcpt, k);
	}
	t->notify = e->rcpt.notify;
	m->to[m->nto++] = t;
	m->envelope += sizeof *t + sizeof t + n + k;
	/* its number is there before its content is; where many are under way, who gives no content gets none */
	if (!m->token && !m->arrived && m->p->policy->submission.through && m->said <= FRONT_MOST_CONTENT &&
	    c->f->nmsg < FRONT_MOST_MESSAGES / 2) {
		m->small = true;
		begin(c);
	}
	return true;
}

/* It has no file of the queue's (any more). */
static void
unfile(struct front_conn *c)
{
	if (c->m.filed && c->u) {
		c->u->nmsg--;
		c->f->nmsg--;
	}
	c->m.filed = false;
}

void
front_msg_forget(struct front_conn *c)
{
	struct front_msg *m = &c->m;

	/* after its whole seal it is the queue's, and the answer finds nobody: whoever leaves before it has sent */
	if (m->token && (m->at != FRONT_AT_SEALED || m->sealed < m->nto) && m->known)
		front_drop(c->f, m->token);
	if (m->fd >= 0)
		close(m->fd);
	if (c->u)
		c->u->bytes -= m->counted;
	unfile(c);
	smtp_header_free(m->header);
	smtp_attach_free(m->attach);
	buf_free(&m->out);
	for (size_t i = 0; i < m->nsender; i++)
		free(m->sender[i]);
	free(m->sender);
	for (size_t i = 0; i < m->nto; i++)
		free(m->to[i]);
	free(m->to);
	free(m->from);
	free(m->envid);
	free(m->as);
	free(m->tally);
	front_policy_free(m->p);
	*m = (struct front_msg){.fd = -1};
	c->waits = FRONT_WAITS_NOT;
}

bool
front_msg_data(struct front_conn *c)
{
	struct front_msg *m = &c->m;
	const struct policy_submission *s = &m->p->policy->submission;

	m->header = smtp_header_new();
	if (!m->header)
		return false;
	if (s->nblocked_types) {
		m->attach = smtp_attach_new(s->blocked_types, s->nblocked_types);
		if (!m->attach) {
			m->header = smtp_header_free(m->header);
			return false;
		}
	}
	m->at = FRONT_AT_DATA;
	m->with = smtp_server_with(c->s);
	/* its file comes while the header does */
	if (!m->token && !m->arrived)
		begin(c);
	return true;
}

/* ---- the header -------------------------------------------------------------------------- */

/* Seconds since 1970 as Received shows them: minutes east of Greenwich. */
static int
east_of(uint64_t sec)
{
	time_t t = (time_t)sec;
	struct tm tm;

	return localtime_r(&t, &tm) ? (int)(tm.tm_gmtoff / 60) : 0;
}

/* Keeps the addresses that the verdict needs. */
static bool
keep_senders(struct front_msg *m, const struct smtp_header_facts *x)
{
	m->sender = calloc(x->from.n + 1, sizeof *m->sender);
	if (!m->sender)
		return false;
	for (size_t i = 0; i < x->from.n; i++, m->nsender++)
		if (!(m->sender[i] = strdup(x->from.v[i].addr)))
			return false;
	/* a From field that is missing will hold the envelope's sender */
	if (!x->from_fields && *m->from) {
		if (!(m->sender[0] = strdup(m->from)))
			return false;
		m->nsender = 1;
	}
	return true;
}

/* What is wrong with the header by itself. */
static void
look(struct front_conn *c, const struct smtp_header_facts *x)
{
	char why[FRONT_WORDS];

	if (x->received >= SMTP_HEADER_RECEIVED) {
		front_refuse(c, 554, "5.4.6", "the message goes round in a loop: it bears 100 Received fields");
	} else if (x->from_fields > 1) {
		front_refuse(c, 550, "5.6.0", "the message has more than one From field (RFC 5322 3.6); send one");
	} else if (x->from_why) {
		snprintf(why, sizeof why, "the From field cannot be read: %.300s; write From: local@domain",
		    x->from_why);
		front_refuse(c, 553, "5.1.7", why);
	} else if (x->from_fields && !x->from.n && !x->from.group) {
		front_refuse(c, 553, "5.1.7", "the From field holds no address; write From: local@domain");
	}
}

/* The queue's number of the message stands in Received and Message-ID, by which its trace is found. It
 * may come after the header: then its place is kept for it. */
static const char no_id[] = "0000000000000000";

/* Where behind `mark`, from *at on, the id stands; 0: it does not. */
static size_t
id_place(const struct buf *b, size_t *at, const char *mark)
{
	const char *p = memmem(b->p + *at, b->n - *at, mark, strlen(mark));

	if (!p)
		return 0;
	*at = (size_t)(p - b->p) + strlen(mark);
	return *at;
}

static void
find_ids(struct front_msg *m, bool message_id)
{
	size_t at = 0;

	/* what the client said of itself has no blank and no line end */
	if (id_place(&m->out, &at, "\r\n\tby ") && id_place(&m->out, &at, " with ")) {
		m->id_at[0] = id_place(&m->out, &at, " id ");
		if (message_id)
			m->id_at[1] = id_place(&m->out, &at, "\r\nMessage-ID: <");
	}
}

static void
put_ids(struct front_msg *m)
{
	char id[sizeof no_id];

	snprintf(id, sizeof id, "%016" PRIx64, m->id);
	for (int i = 0; i < 2; i++)
		if (m->id_at[i] && m->id_at[i] + sizeof no_id - 1 <= m->out.n)
			memcpy(m->out.p + m->id_at[i], id, sizeof no_id - 1);
	m->id_at[0] = m->id_at[1] = 0;
}

static void
write_header(struct front_conn *c, const struct smtp_header_facts *x, const char *rewrite)
{
	struct front_msg *m = &c->m;
	struct front *f = c->f;
	char peer[PEER_UNIT + 64], daemon[300];
	struct smtp_header_fill fill = {.now = f->sec, .east = east_of(f->sec), .host = f->host, .id = no_id,
	    .helo = smtp_server_helo(c->s), .peer = peer, .with = m->with, .rewrite = rewrite};

	snprintf(peer, sizeof peer, "%s%s%s%s", c->user[0] ? "uid " : "unknown user", c->user,
	    c->unit ? " unit " : "", c->unit ? c->unit : "");
	snprintf(daemon, sizeof daemon, "MAILER-DAEMON@%s", f->host);
	if (m->nto == 1)
		fill.recipient = m->to[0]->address;
	fill.qualify = m->qualified ? f->host : NULL;
	fill.from = rewrite ? rewrite : *m->from ? m->from : daemon;
	if (!rewrite && (smtp_header_wants_sender(m->header) || (x->from.group && !x->from.n &&
	    !x->sender_fields)))
		fill.sender = *m->from ? m->from : daemon;
	if (smtp_header_write(m->header, &fill, &m->out))
		front_refuse(c, 451, "4.3.0", "no memory at the moment; send it again later");
	if (m->refusal.code)
		return;
	find_ids(m, !x->message_id);
	if (m->arrived)
		put_ids(m);
}

/* The block is whole. */
static void
header_ends(struct front_conn *c)
{
	struct front_msg *m = &c->m;
	const struct smtp_header_facts *x = smtp_header_facts(m->header);
	const char *rewrite = NULL;

	look(c, x);
	if (!m->refusal.code && !keep_senders(m, x))
		front_refuse(c, 451, "4.3.0", "no memory at the moment; send it again later");
	if (!m->refusal.code)
		front_admit_header(c, &rewrite);
	/* cppcheck-suppress duplicateCondition ; what it is asked may refuse it */
	if (!m->refusal.code) {
		m->high |= x->high;
		write_header(c, x, rewrite);
	}
	m->header = smtp_header_free(m->header);
	m->fed = 0;
}

static void
header_is(struct front_conn *c, enum smtp_header_is is)
{
	switch (is) {
	case SMTP_HEADER_MORE:
		break;
	case SMTP_HEADER_WHOLE:
		header_ends(c);
		break;
	case SMTP_HEADER_LONG:
		front_refuse(c, 552, "5.3.4", "the header of the message is larger than 256 KiB or has more than "
		    "1000 fields");
		break;
	case SMTP_HEADER_NO_MEMORY:
		front_refuse(c, 451, "4.3.0", "no memory at the moment; send it again later");
		break;
	}
}

/* ---- content ------------------------------------------------------------------------------- */

static void
attached(struct front_conn *c, int is)
{
	char why[FRONT_WORDS];
	const char *ending, *name;

	if (!is)
		return;
	if (is < 0) {
		front_refuse(c, 451, "4.3.0", "no memory at the moment; send it again later");
		return;
	}
	name = smtp_attach_name(c->m.attach, &ending);
	snprintf(why, sizeof why, "the attachment %.200s is of a type (%.40s) that is not sent from here; "
	    "put it into an archive", name, ending);
	front_refuse(c, 552, "5.7.0", why);
}

/* Content that comes after the header block. */
static void
body(struct front_conn *c, const char *p, size_t n)
{
	struct front_msg *m = &c->m;

	if (m->niov == FRONT_IOV)
		front_msg_flush(c, false);
	if (m->refusal.code || !n)
		return;
	m->iov[m->niov++] = (struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = n};
	m->pending += n;
}

/* What the user's messages under way take of the disk. */
static void
charge(struct front_conn *c, size_t n)
{
	c->m.came += n;
	if (c->m.came <= c->m.counted)
		return;
	c->u->bytes += c->m.came - c->m.counted;
	c->m.counted = c->m.came;
	if (c->u->bytes > FRONT_BYTES_EACH)
		front_refuse(c, 452, "4.3.1", "messages of this user that are under way take too much; "
		    "send it again later");
}

void
front_msg_content(struct front_conn *c, const char *p, size_t n)
{
	struct front_msg *m = &c->m;
	enum smtp_header_is is;
	size_t k = 0;

	if (m->refusal.code)
		return;
	charge(c, n);
	if (m->attach && !m->refusal.code)
		attached(c, smtp_attach_feed(m->attach, p, n));
	if (m->header && !m->refusal.code) {
		k = smtp_header_feed(m->header, p, n, &is);
		m->fed += k;
		header_is(c, is);
	}
	if (!m->refusal.code)
		body(c, p + k, n - k);
}

static void
write_failed(struct front_conn *c, int err)
{
	bool room = err == -ENOSPC || err == -EDQUOT || err == -EFBIG;
	char why[FRONT_WORDS];

	snprintf(why, sizeof why, "the message cannot be stored: %s; send it again later", strerror(-err));
	front_refuse(c, room ? 452 : 451, room ? "4.3.1" : "4.3.0", why);
}

/* Writes out and iov to the file. */
static void
write_all(struct front_conn *c)
{
	struct front_msg *m = &c->m;
	struct iovec v[FRONT_IOV + 1];
	int n = 0, at = 0;

	if (m->out.n)
		v[n++] = (struct iovec){.iov_base = m->out.p, .iov_len = m->out.n};
	memcpy(v + n, m->iov, (size_t)m->niov * sizeof *v);
	n += m->niov;
	while (at < n) {
		ssize_t k = pwritev(m->fd, v + at, n - at, (off_t)(m->offset + m->wrote));

		if (k <= 0) {
			if (k < 0 && errno == EINTR)
				continue;
			write_failed(c, k < 0 ? -errno : -EIO);
			return;
		}
		m->wrote += (uint64_t)k;
		while (at < n && (size_t)k >= v[at].iov_len)
			k -= (ssize_t)v[at++].iov_len;
		if (k && at < n) {
			v[at].iov_base = (char *)v[at].iov_base + k;
			v[at].iov_len -= (size_t)k;
		}
	}
	if (m->out.cap > FRONT_GATHER)
		buf_free(&m->out);
	m->out.n = 0;
	m->niov = 0;
	m->pending = 0;
	/* the disk has it while the rest comes: the sync before the 250 waits for little. What goes wrong is told
	   by that sync */
	if (m->wrote - m->started >= FRONT_EARLY) {
		(void)sync_file_range(m->fd, (off_t)(m->offset + m->started), (off_t)(m->wrote - m->started),
		    SYNC_FILE_RANGE_WRITE);
		m->started = m->wrote;
	}
}

void
front_msg_flush(struct front_conn *c, bool all)
{
	struct front_msg *m = &c->m;

	if (m->refusal.code || m->at < FRONT_AT_DATA)
		return;
	if (m->fd >= 0 && (all || m->out.n + m->pending >= LITTLE || c->f->mem >= FRONT_MEM_MOST / 2)) {
		if (m->out.n + m->pending)
			write_all(c);
		return;
	}
	for (int i = 0; i < m->niov; i++)
		buf_add(&m->out, m->iov[i].iov_base, m->iov[i].iov_len);
	m->niov = 0;
	m->pending = 0;
	if (m->out.err)
		front_refuse(c, 451, "4.3.0", "no memory at the moment; send it again later");
	/* it has outgrown its seal */
	if (m->small && m->out.n > FRONT_MOST_CONTENT && !m->refusal.code) {
		m->small = m->arrived = false;
		m->ask = true;
		front_tell(c);
	}
}

bool
front_msg_full(const struct front_msg *m)
{
	/* a small one that comes to more asks for its file then, and not before */
	return m->fd < 0 && !m->small && m->out.n >= FRONT_READ_LITTLE;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The answer that is ours; the transaction is over. */
static void
answer(struct front_conn *c)
{
	const struct front_reply r = c->m.refusal;

	*(r.code >= 500 ? &c->f->count.refused : &c->f->count.deferred) += 1;
	front_admit_tell(c, r.code, r.enhanced, r.text);
	front_msg_forget(c);
	smtp_server_answer(c->s, r.code, r.enhanced, r.text, c->f->now);
}

bool
front_msg_end(struct front_conn *c)
{
	struct front_msg *m = &c->m;

	if (m->at == FRONT_AT_SEALED)
		return false;
	if (m->at == FRONT_AT_DATA) {
		m->at = FRONT_AT_END;
		m->since = c->f->now;
		if (m->header && !m->refusal.code)
			header_is(c, smtp_header_end(m->header));
		if (m->attach && !m->refusal.code)
			attached(c, smtp_attach_end(m->attach));
	}
	/* where there is no file the input goes, and what it held stays */
	front_msg_flush(c, true);
	if (!m->refusal.code && m->fd < 0 && !(m->small && m->arrived))
		return false;
	if (!m->refusal.code)
		front_admit_end(c);
	if (m->refusal.code) {
		answer(c);
		return true;
	}
	m->at = FRONT_AT_SEALED;
	m->since = c->f->now;
	if (m->small)
		m->wrote = m->out.n;
	else
		front_msg_sealed(m);
	front_tell(c);
	return false;
}

void
front_msg_sealed(struct front_msg *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	buf_free(&m->out);
}

void
front_msg_arrived(struct front_conn *c, const struct front_arrived *a, int fd)
{
	struct front_msg *m = &c->m;
	bool none = !a->err && a->later;
	int err = a->err ? -(int)a->err : fd < 0 && !none ? -EMFILE : 0;

	m->id = a->id;
	/* it has outgrown this answer; that to the other question comes */
	if (none && !m->small) {
		put_ids(m);
		return;
	}
	m->arrived = true;
	if (err) {
		/* there is nothing to be dropped, unless it was asked for again */
		if (a->err && (m->small || m->ask || !a->later)) {
			m->token = 0;
			m->ask = false;
			unfile(c);
		}
		if (err == -EMSGSIZE)
			front_refuse(c, 552, "5.3.4", "the message is larger than the queue takes");
		else
			write_failed(c, err);
	} else {
		m->small = none;
		m->fd = fd;
		m->offset = a->offset;
		put_ids(m);
	}
	front_run(c);
}

void
front_msg_settled(struct front_conn *c, const struct front_settled *s)
{
	struct front *f = c->f;
	unsigned code = s->code;
	char text[FRONT_WORDS], words[FRONT_WORDS];
	const char *enhanced = s->enhanced && *s->enhanced ? s->enhanced : NULL;

	if (code / 100 != 2 && code / 100 != 4 && code / 100 != 5)
		code = 451;
	if (s->text && *s->text)
		snprintf(text, sizeof text, "%s", s->text);
	else
		snprintf(text, sizeof text, "%s %016" PRIx64, code / 100 == 2 ? "taken as" : "not taken,", s->id);
	if (code / 100 == 2) {
		f->count.accepted++;
		f->count.bytes += c->m.wrote;
		f->count.delayed += c->m.not_before != 0;
	} else {
		bool relays = code >= 500 && c->m.p->policy->submission.through && !c->m.not_before;

		*(code >= 500 ? &f->count.refused : &f->count.deferred) += 1;
		/* what the relay itself has refused was sent, and those are its own words */
		if (!relays)
			front_admit_undo(c);
		if (code < 500 || (code == 552 && !relays)) {
			snprintf(text, sizeof text, "%s", front_words(c->m.p, text, words));
		}
	}
	c->m.id = s->id;
	front_admit_tell(c, code, enhanced ? enhanced : "", text);
	front_msg_forget(c);
	smtp_server_answer(c->s, code, enhanced, text, f->now);
	front_run(c);
}
