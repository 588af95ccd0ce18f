/* A message from a program: arrival, seal, through, the answer. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/log.h"
#include "role/queue_inside.h"
#include "smtp/report.h"

enum { SEALS = 64, NAMES = 256 };

static const char *
given(const char *s)
{
	return s && *s ? s : NULL;
}

static struct queue_mail **
slot_of(struct queue *q, uint64_t token)
{
	struct queue_mail **at = &q->mail_slot[token % QUEUE_SLOTS];

	while (*at && (*at)->token != token)
		at = &(*at)->slot;
	return at;
}

static void
line_up(struct queue *q, struct queue_mail *m)
{
	if (m->waits)
		return;
	m->waits = true;
	m->wait = NULL;
	*q->out_end = m;
	q->out_end = &m->wait;
}

struct queue_mail *
queue_mail_free(struct queue *q, struct queue_mail *m)
{
	if (!m)
		return NULL;
	*slot_of(q, m->token) = m->slot;
	*m->prev = m->next;
	if (m->next)
		m->next->prev = m->prev;
	if (m->waits) {
		struct queue_mail **at = &q->out;

		while (*at != m)
			at = &(*at)->wait;
		*at = m->wait;
		if (!*at)
			q->out_end = at;
	}
	q->nmail--;
	queue_send_free(q, &m->sends);
	spool_drop_arrival(q->s, m->a);
	while (m->seal) {
		struct queue_seal *s = m->seal;

		m->seal = s->next;
		ipc_free(&s->in);
		free(s);
	}
	free(m->rcpt);
	free(m->fate);
	free(m);
	return NULL;
}

static void
over(struct queue *q, struct queue_mail *m)
{
	m->at = MAIL_OVER;
	if (m->answer.code == 250)
		q->count.accepted++;
	if (m->delivered)
		q->count.through++;
	m->a = spool_drop_arrival(q->s, m->a);
	line_up(q, m);
}

/* A message that is in the spool, but whose program was told that it is not taken. What is with the relay role
 * stays; it may come twice then. */
static void
take_back(struct queue *q, uint64_t id)
{
	int err = spool_drop(q->s, id, q->now, "the program was told 451: it was not kept whole, or not in time");
	char text[SPOOL_ID_LEN + 1];

	spool_id_text(id, text);
	if (!err)
		log_say(LOG_IS_NOTICE, NULL, "message %s is not sent: its program was told 451 before it was kept", text);
	else if (err != -ENOENT)
		log_say(LOG_IS_WARNING, NULL, "message %s may be sent twice: its program was told 451, and %s", text,
		    err == -EBUSY ? "it is being sent" : strerror(-err));
}

/* DROP. */
static void
drop(struct queue *q, uint64_t token)
{
	struct queue_mail *m = *slot_of(q, token);

	for (unsigned i = 0; !m && i < QUEUE_MAILS; i++)
		if (q->told[i].token == token && q->told[i].id) {
			take_back(q, q->told[i].id);
			q->told[i].id = 0;
		}
	if (!m || m->dropped)
		return;
	switch (m->at) {
	case MAIL_ARRIVES:
		queue_mail_free(q, m);
		break;
	case MAIL_THROUGH:
		m->dropped = true;
		m->limit = 0;              /* queue_mail_limits() cancels it */
		break;
	case MAIL_COMMITS:
		m->dropped = true;
		break;
	case MAIL_OVER:
		m->dropped = true;
		if (m->kept && m->answer.code == 250)
			take_back(q, m->id);
		break;
	}
}

static void
fails(struct queue *q, struct queue_mail *m, int err)
{
	queue_answer_error(err, &m->answer);
	m->delivered = false;
	q->count.failed++;
	over(q, m);
}

/* ---- arrival -------------------------------------------------------------------- */

static int
arrive(struct queue *q, const struct front_arrive *f)
{
	struct queue_mail *m = *slot_of(q, f->token);

	if (m && m->at != MAIL_ARRIVES) {
		log_say(LOG_IS_ERROR, NULL, "the role front uses a number twice");
		return 0;
	}
	/* it has outgrown what a seal brings */
	if (m && m->a && !f->later) {
		m->later = false;
		m->err = spool_arrival_open(m->a);
		q->count.failed += m->err != 0;
		line_up(q, m);
		return 0;
	}
	queue_mail_free(q, m);
	m = queue_room(1, sizeof *m);
	if (!m)
		return -ENOMEM;
	m->token = f->token;
	m->later = f->later;
	m->seal_end = &m->seal;
	m->slot = *slot_of(q, f->token);
	*slot_of(q, f->token) = m;
	m->next = q->mails;
	m->prev = &q->mails;
	if (m->next)
		m->next->prev = &m->next;
	q->mails = m;
	q->nmail++;
	if (q->stopping)
		m->err = -ESHUTDOWN;
	else if (!q->policy.p || q->sick || q->nmail > QUEUE_MAILS)
		m->err = -EAGAIN;
	else if (f->later)
		m->err = spool_arrive_later(q->s, f->size, q->now, &m->a);
	else
		m->err = spool_arrive(q->s, f->size, q->now, &m->a);
	if (m->a)
		m->id = spool_arrival_id(m->a);
	else
		q->count.failed++;
	line_up(q, m);
	return 0;
}

/* ---- commit ---------------------------------------------------------------------- */

static void
envelope(const struct queue_mail *m, struct spool_envelope *e)
{
	const struct front_seal *f = m->s;

	*e = (struct spool_envelope){.id = m->id, .application = given(f->application),
		.unit = given(f->unit), .uid = f->uid, .from = f->from, .envid = given(f->envid),
		.ret = given(f->ret), .body = f->eight ? "8BITMIME" : NULL, .smtputf8 = f->utf8,
		.note = given(f->note), .not_before = f->not_before * 1000, .rcpt = m->rcpt,
		.nrcpt = m->nrcpt};
}

/* A content that a seal brought goes into a file of the spool. */
static int
store(struct queue_mail *m)
{
	const struct front_seal *f = m->s;
	uint64_t offset;
	int err, fd;

	if (!m->brought)
		return 0;
	err = spool_arrival_open(m->a);
	fd = spool_arrival_fd(m->a, &offset);
	for (size_t done = 0; !err && done < f->ncontent; ) {
		ssize_t k = pwrite(fd, f->content + done, f->ncontent - done, (off_t)(offset + done));

		if (k > 0)
			done += (size_t)k;
		else if (!k || errno != EINTR)
			err = k ? -errno : -EIO;
	}
	if (!err)
		err = spool_adopt_own(m->a, f->ncontent);
	m->brought = err != 0;
	return err;
}

/* Gives the recipients that `fate` has open (NULL: all) to the spool. */
static int
keep(struct queue *q, struct queue_mail *m)
{
	struct spool_envelope e;
	struct spool_rcpt *some = NULL;
	int err = store(m);

	if (err)
		return err;
	envelope(m, &e);
	if (m->fate) {
		e.nrcpt = 0;
		some = calloc(m->nrcpt ? m->nrcpt : 1, sizeof *some);
		if (!some)
			return -ENOMEM;
		for (size_t i = 0; i < m->nrcpt; i++)
			if (m->fate[i].fate == RELAY_DEFERRED || m->fate[i].fate == RELAY_HELD)
				some[e.nrcpt++] = m->rcpt[i];
		e.rcpt = some;
	}
	m->own = (struct queue_token){.mail = m};
	err = spool_seal(q->s, m->a, &e, q->now, &m->own);
	free(some);
	if (err)
		return err;
	m->kept = true;
	m->a = NULL;
	m->ncommit++;
	return 0;
}

void
queue_mail_committed(struct queue *q, struct queue_mail *m, int err)
{
	if (err && !m->commit_err)
		m->commit_err = err;
	if (--m->ncommit)
		return;
	/* the program sends it again, and its sender gets a report then */
	if (m->report && (m->commit_err || m->dropped))
		(void)spool_drop(q->s, m->report, q->now, "the message that it is about was not taken");
	/* nothing of it has been claimed: that comes after all outcomes */
	if (m->durable && (m->commit_err || m->dropped))
		take_back(q, m->id);
	if (!m->commit_err || (m->told_report && !m->kept && !m->owed)) {
		over(q, m);
	} else if (m->told_report && !m->kept) {
		queue_answer_refused(m->fate, m->nrcpt, &m->answer);
		over(q, m);
	} else {
		fails(q, m, m->commit_err);
	}
}

/* ---- through ------------------------------------------------------------------------ */

static const char *const fate_word[] = {
	[RELAY_DEFERRED] = "deferred", [RELAY_DELIVERED] = "delivered", [RELAY_FAILED] = "refused",
	[RELAY_HELD] = "held",
};

/* What the relays said, for people: a line for those of a send that are alike. */
static void
trace(struct queue *q, const struct queue_mail *m)
{
	for (const struct queue_send *s = m->sends; s; s = s->next) {
		for (uint32_t i = 0; s->r && i < s->n; ) {
			const struct relay_fate_of *f = &s->r->rcpt[i];
			struct buf b = BUF_INIT(SPOOL_TEXT_MOST);

			buf_printf(&b, "through\t%s\trelay %s\t%u %.300s\t%s %s %s\tfrom <%s>\tapplication %s\tto",
			    fate_word[f->fate < RELAY_HELD ? f->fate : RELAY_HELD], s->relay, f->code, f->text,
			    s->r->peer, s->r->tls, s->r->cipher, m->s->from, m->s->application);
			do
				buf_printf(&b, " <%s>", m->rcpt[s->which[i]].address);
			while (++i < s->n && !b.err && s->r->rcpt[i].fate == f->fate &&
			    s->r->rcpt[i].code == f->code && !strcmp(s->r->rcpt[i].text, f->text));
			if (b.p)
				(void)spool_trace_add(q->s, m->id, q->now, b.p);
			buf_free(&b);
		}
	}
}

/* A report on the refused ones and, where the relay makes none, on the delivered ones, as they are wanted. As
 * queue_report(); 1 where none is. */
static int
report(struct queue *q, struct queue_mail *m)
{
	struct smtp_report_rcpt *v = calloc(m->nrcpt, sizeof *v);
	char (*status)[12] = calloc(m->nrcpt, sizeof *status);
	char (*reply)[320] = calloc(m->nrcpt, sizeof *reply);
	struct spool_envelope e;
	struct queue_about about = {.env = &e, .fd = -1, .size = m->s->size, .rcpt = v};
	int err;

	envelope(m, &e);
	e.arrived = q->now;
	err = v && status && reply ? store(m) : -ENOMEM;
	if (!err) {
		for (size_t i = 0; i < m->nrcpt; i++) {
			const struct queue_fate *f = &m->fate[i];
			const char *rest;

			if (!f->relayed && (f->fate != RELAY_FAILED || !queue_report_wanted(&e, &m->rcpt[i], false)))
				continue;
			unsigned code = f->code ? f->code : f->relayed ? 250 : 554;

			queue_enhanced(code, f->text, status[i], &rest);
			snprintf(reply[i], sizeof reply[i], "%u %.300s", code, f->text);
			v[about.nrcpt++] = (struct smtp_report_rcpt){
				.action = f->relayed ? SMTP_REPORT_RELAYED : SMTP_REPORT_FAILED,
				.path = f->address, .orcpt = m->rcpt[i].orcpt, .status = status[i],
				.relay = queue_host_of(q, f->relay), .reply = reply[i], .last = q->now / 1000};
		}
		about.fd = spool_arrival_fd(m->a, &about.offset);
		err = about.nrcpt ? queue_report(q, &about, m) : 1;
	}
	free(v);
	free(status);
	free(reply);
	return err;
}

/* Takes the results over into the fates. */
static void
take_fates(struct queue_mail *m)
{
	for (const struct queue_send *s = m->sends; s; s = s->next)
		for (uint32_t i = 0; i < s->n; i++) {
			struct queue_fate *f = &m->fate[s->which[i]];

			f->fate = RELAY_DEFERRED;
			f->text = m->cancelled ? "it has not answered in time" : "it was not asked";
			if (!s->r || s->r->canceled)
				continue;
			if (s->r->busy) {
				f->text = "too much waits for it";
				continue;
			}
			f->fate = s->r->rcpt[i].fate <= RELAY_HELD ? (enum relay_fate)s->r->rcpt[i].fate :
			    RELAY_DEFERRED;
			f->code = s->r->rcpt[i].code;
			f->text = s->r->rcpt[i].text;
			/* RFC 3461 5.2.2 */
			f->relayed = f->fate == RELAY_DELIVERED && !s->r->dsn && smtp_report_wanted(
			    SMTP_REPORT_RELAYED, queue_notify(m->rcpt[s->which[i]].notify), m->s->from);
		}
}

void
queue_mail_sent(struct queue *q, struct queue_mail *m)
{
	char id[SPOOL_ID_LEN + 1];
	size_t nopen = 0, nrefused = 0, nrelayed = 0;
	int reported = 1, err = 0;

	take_fates(m);
	for (size_t i = 0; i < m->nrcpt; i++) {
		nopen += m->fate[i].fate == RELAY_DEFERRED || m->fate[i].fate == RELAY_HELD;
		nrefused += m->fate[i].fate == RELAY_FAILED;
		nrelayed += m->fate[i].relayed;
		m->owed |= m->fate[i].fate == RELAY_FAILED && smtp_report_wanted(SMTP_REPORT_FAILED,
		    queue_notify(m->rcpt[i].notify), m->s->from);
	}
	m->at = MAIL_COMMITS;
	if (nopen < m->nrcpt)
		trace(q, m);
	/* the program sends it again, to all */
	if (m->dropped) {
		fails(q, m, -ECANCELED);
		return;
	}
	if ((m->owed && nrefused < m->nrcpt) || nrelayed)
		reported = report(q, m);
	/* that some were delivered is not worth a second delivery */
	if (reported < 0 && !m->owed)
		reported = 1;
	if (!reported) {
		m->told_report = true;
		m->ncommit++;
	}
	spool_id_text(m->id, id);
	queue_answer(m->fate, m->nrcpt, id, !reported && m->owed, &m->answer);
	m->delivered = m->answer.ndelivered == m->nrcpt;
	q->count.refused += nrefused == m->nrcpt;
	if (nopen && reported >= 0)
		err = keep(q, m);
	else if (reported < 0)
		err = reported;
	if (!m->ncommit && err && !nopen) {
		queue_answer_refused(m->fate, m->nrcpt, &m->answer);
		over(q, m);
	} else if (!m->ncommit && err) {
		fails(q, m, err);
	} else if (!m->ncommit) {
		over(q, m);
	} else if (err) {
		m->commit_err = err;
		/* not its report's: the open ones are not kept */
		m->kept = true;
	}
}

/* The sends to each relay. What cannot go now is open. */
static int
go_through(struct queue *q, struct queue_mail *m)
{
	struct queue_parcel p = {.rcpt = m->rcpt};
	uint32_t *which = malloc(m->nrcpt * sizeof *which);

	m->fate = queue_room(m->nrcpt, sizeof *m->fate);
	if (!which || !m->fate) {
		free(which);
		free(m->fate);
		m->fate = NULL;
		return -ENOMEM;
	}
	for (size_t i = 0; i < m->nrcpt; i++)
		m->fate[i] = (struct queue_fate){.fate = RELAY_DEFERRED, .address = m->rcpt[i].address,
			.relay = m->rcpt[i].relay};
	m->at = MAIL_THROUGH;
	m->limit = q->mono + QUEUE_THROUGH_MS;
	for (size_t i = 0; i < m->nrcpt; i++) {
		struct queue_relay *r = queue_relay_of(q, m->rcpt[i].relay);
		const char *why = NULL;
		size_t n = 0;

		if (m->fate[i].text)
			continue;
		assert(m->rcpt[i].relay);  /* gather() saw to all */
		for (size_t k = i; k < m->nrcpt; k++)
			if (m->rcpt[k].relay && !strcmp(m->rcpt[k].relay, m->rcpt[i].relay))
				which[n++] = (uint32_t)k;
		if (!q->relay_ready || !r)
			why = "nothing can be sent at this moment";
		else if (r->down > q->mono)
			why = *r->text ? r->text : "it is not reachable";
		else if (r->pause > q->mono || queue_send_new(q, m, NULL, r->name, &p, which, n))
			why = "too much waits for it";
		for (size_t k = 0; k < n; k++)
			m->fate[which[k]].text = why ? why : "it was not asked";
	}
	free(which);
	if (!m->nopen)
		queue_mail_sent(q, m);
	return 0;
}

/* ---- the seal --------------------------------------------------------------------------- */

/* The recipients of all seals, in one array. */
static int
gather(struct queue_mail *m)
{
	size_t n = 0;

	for (const struct queue_seal *s = m->seal; s; s = s->next)
		n += ((const struct front_seal *)s->in.body)->nrcpt;
	if (n > SPOOL_RCPT_MOST)
		return -E2BIG;
	if (!n)
		return -EINVAL;
	m->rcpt = queue_room(n, sizeof *m->rcpt);
	if (!m->rcpt)
		return -ENOMEM;
	for (const struct queue_seal *s = m->seal; s; s = s->next) {
		const struct front_seal *f = s->in.body;

		for (uint32_t k = 0; k < f->nrcpt; k++) {
			if (!*f->rcpt[k].relay || !*f->rcpt[k].address)
				return -EINVAL;
			m->rcpt[m->nrcpt++] = (struct spool_rcpt){.address = f->rcpt[k].address,
				.relay = f->rcpt[k].relay, .notify = given(f->rcpt[k].notify),
				.orcpt = given(f->rcpt[k].orcpt)};
		}
	}
	return 0;
}

static void
seal(struct queue *q, struct ipc_in *in, const struct front_seal *f)
{
	struct queue_mail *m = *slot_of(q, f->token);
	struct queue_seal *more;
	char id[SPOOL_ID_LEN + 1];
	int err = 0;

	if (!m || m->at != MAIL_ARRIVES || m->nseal == SEALS) {
		log_say(LOG_IS_ERROR, NULL, "the role front ends a message that has not begun");
		return;
	}
	more = queue_room(1, sizeof *more);
	if (!more) {
		fails(q, m, -ENOMEM);
		return;
	}
	more->in = *in;
	*in = (struct ipc_in){0};
	*m->seal_end = more;
	m->seal_end = &more->next;
	m->nseal++;
	if (f->more)
		return;
	m->s = f;
	m->at = MAIL_COMMITS;
	/* its file is gone where the spool had to be opened anew */
	err = m->a ? gather(m) : -EIO;
	m->brought = f->ncontent > 0;
	if (!err && m->brought && f->ncontent != f->size)
		err = -EBADMSG;
	if (!err && !m->brought)
		err = spool_arrival_open(m->a);
	if (!err && !m->brought)
		err = spool_adopt_own(m->a, f->size);
	/* who waits for a relay holds a place: the last ones are for what is committed at once */
	if (!err && f->through && !q->stopping && f->not_before * 1000 <= q->now &&
	    q->nmail <= QUEUE_MAILS - QUEUE_MAILS / 4) {
		err = go_through(q, m);
		if (!err)
			return;
	}
	if (!err)
		err = keep(q, m);
	if (err) {
		fails(q, m, err);
		return;
	}
	spool_id_text(m->id, id);
	m->answer = (struct queue_answer){.code = 250, .enhanced = "2.0.0"};
	snprintf(m->answer.text, sizeof m->answer.text, "queued as %s", id);
}

/* ---- time ---------------------------------------------------------------------------------- */

void
queue_mail_limits(struct queue *q, bool all)
{
	for (struct queue_mail *m = q->mails, *next; m; m = next) {
		next = m->next;
		if (m->at != MAIL_THROUGH || m->cancelled || (m->limit > q->mono && !all))
			continue;
		m->cancelled = true;
		/* the last of them may end the mail, which stays in its list: it is told first */
		for (struct queue_send *s = m->sends, *then; s; s = then) {
			then = s->next;
			queue_send_cancel(q, s);
		}
	}
}

uint64_t
queue_mail_deadline(const struct queue *q)
{
	uint64_t t = UINT64_MAX;

	for (const struct queue_mail *m = q->mails; m; m = m->next)
		if (m->at == MAIL_THROUGH && !m->cancelled && m->limit < t)
			t = m->limit;
	return t;
}

/* ---- front's channel --------------------------------------------------------------------------- */

static void
resolve(struct queue *q, const struct front_resolve *f)
{
	struct queue_name *n = q->nname < NAMES ? calloc(1, sizeof *n) : NULL;

	/* no answer is a deferral */
	if (!n || strlen(f->domain) >= sizeof n->domain) {
		free(n);
		return;
	}
	snprintf(n->domain, sizeof n->domain, "%s", f->domain);
	n->token = f->token;
	n->since = q->mono;
	if (!q->relay_ready) {
		n->back = n->answered = true;
		n->answer = FRONT_NAME_NOT_NOW;
	}
	n->next = q->names;
	q->names = n;
	q->nname++;
}

static void
keep_state(struct queue *q, const struct front_keep *f)
{
	struct queue_keep *k = NULL;

	for (unsigned i = 0; i < QUEUE_KEEPS && !k; i++)
		if (!*q->keep[i].name || !strcmp(q->keep[i].name, f->name))
			k = &q->keep[i];
	if (!k || strlen(f->name) >= sizeof k->name)
		return;
	/* one that still waits gives way to the next */
	if (!*k->name || k->whole) {
		snprintf(k->name, sizeof k->name, "%s", f->name);
		buf_free(&k->b);
		k->b = (struct buf)BUF_INIT(SPOOL_KEEP_MOST);
		k->whole = false;
	}
	buf_add(&k->b, f->bytes, f->n);
	if (f->more)
		return;
	if (k->b.err) {
		buf_free(&k->b);
		*k->name = 0;
		return;
	}
	k->whole = true;
	queue_keep(q);
}

int
queue_front(struct queue *q, struct ipc_in *in)
{
	enum front_ask type = in->type;
	const struct ipc_shape *shape = type > 0 && type < FRONT_NASK ? &front_ask_shape[type] : NULL;
	const void *body = NULL;
	int err = shape ? 0 : -EBADMSG;

	if (!err && type != FRONT_READY)
		err = ipc_body(in, shape, &body);
	if (err == -ENOMEM)
		return err;
	if (err) {
		log_say(LOG_IS_ERROR, NULL, "the role front said what cannot be read");
		return 0;
	}
	switch (type) {
	case FRONT_ARRIVE:
		return arrive(q, body);
	case FRONT_SEAL:
		seal(q, in, body);
		break;
	case FRONT_DROP:
		drop(q, ((const struct front_drop *)body)->token);
		break;
	case FRONT_KEEP:
		keep_state(q, body);
		break;
	case FRONT_READY:
		free(q->kept);
		q->kept = NULL;
		q->nkept = q->kept_at = 0;
		if (spool_kept(q->s, "windows", &q->kept, &q->nkept))
			q->nkept = 0;
		q->tell_kept = true;
		break;
	case FRONT_RESOLVE:
		resolve(q, body);
		break;
	case FRONT_NASK:
		break;
	}
	return 0;
}

static int
tell_kept(struct queue *q)
{
	while (q->tell_kept) {
		size_t left = q->nkept - q->kept_at;
		uint32_t n = left < FRONT_MOST_KEEP ? (uint32_t)left : FRONT_MOST_KEEP;
		struct front_keep k = {"windows", q->kept ? (const uint8_t *)q->kept + q->kept_at : NULL, n,
			left > n};
		int err = ipc_send(q->opt->front, FRONT_KEPT, 0, &front_tell_shape[FRONT_KEPT], &k, NULL, 0);

		if (err)
			return err;
		q->kept_at += n;
		q->tell_kept = k.more;
	}
	free(q->kept);
	q->kept = NULL;
	return 0;
}

static int
tell_names(struct queue *q)
{
	for (struct queue_name **at = &q->names, *n; (n = *at); ) {
		struct front_resolved r = {n->token, n->answer};
		bool old = q->mono - n->since > 2 * FRONT_RESOLVE_MS;
		int err;

		if (!n->answered && !old) {
			at = &n->next;
			continue;
		}
		err = n->answered ? ipc_send(q->opt->front, FRONT_RESOLVED, 0,
		    &front_tell_shape[FRONT_RESOLVED], &r, NULL, 0) : 0;
		if (err)
			return err;
		*at = n->next;
		free(n);
		q->nname--;
	}
	return 0;
}

int
queue_front_out(struct queue *q)
{
	int err = tell_names(q);

	if (!err)
		err = tell_kept(q);
	while (!err && q->out) {
		struct queue_mail *m = q->out;

		if (m->at == MAIL_OVER) {
			const struct front_settled s = {.token = m->token, .id = m->id, .code = m->answer.code,
				.enhanced = m->answer.enhanced, .text = m->answer.text, .delivered = m->delivered};
			err = ipc_send(q->opt->front, FRONT_SETTLED, 0, &front_tell_shape[FRONT_SETTLED], &s,
			    NULL, 0);
		} else {
			struct front_arrived a = {.token = m->token, .id = m->id, .err = (uint32_t)-m->err};
			int fd = m->a ? spool_arrival_fd(m->a, &a.offset) : -1;

			a.later = m->later;
			err = ipc_send(q->opt->front, FRONT_ARRIVED, 0, &front_tell_shape[FRONT_ARRIVED], &a, &fd,
			    fd >= 0);
		}
		if (err)
			break;
		q->out = m->wait;
		if (!q->out)
			q->out_end = &q->out;
		m->waits = false;
		if (m->at == MAIL_OVER && m->kept && m->answer.code == 250 && !m->dropped)
			q->told[q->ntold++ % QUEUE_MAILS] = (struct queue_told){m->token, m->id};
		if (m->at == MAIL_OVER || m->err)
			queue_mail_free(q, m);
	}
	return err;
}
