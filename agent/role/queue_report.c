/* Reports to senders: through the same door, as messages of their own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/log.h"
#include "role/queue_inside.h"
#include "smtp/report.h"

enum { REPORT_MOST = 2 << 20 };

bool
queue_report_wanted(const struct spool_envelope *env, const struct spool_rcpt *r, bool delayed)
{
	return smtp_report_wanted(delayed ? SMTP_REPORT_DELAYED : SMTP_REPORT_FAILED,
	    queue_notify(r->notify), env->from);
}

/* How much of the content goes back: its header with the empty line, or all. */
static int
original(struct buf *b, const struct queue_about *a, bool full)
{
	size_t most = full ? QUEUE_ORIGINAL : QUEUE_HEADER;
	size_t want = a->size < most ? (size_t)a->size : most, got = 0;
	char *p = malloc(want + 1), *end;

	if (!p)
		return -ENOMEM;
	while (got < want) {
		ssize_t k = pread(a->fd, p + got, want - got, (off_t)(a->offset + got));
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			int err = k ? -errno : -ENODATA;
			free(p);
			return err;
		}
		got += (size_t)k;
	}
	p[got] = 0;
	if (!full) {
		end = memmem(p, got, "\r\n\r\n", 4);
		if (end)
			got = (size_t)(end - p) + 2;
		else if (got == QUEUE_HEADER) {
			/* a header without end: as many whole lines as there are */
			while (got && p[got - 1] != '\n')
				got--;
		}
	}
	buf_add(b, p, got);
	if (got < 2 || memcmp(p + got - 2, "\r\n", 2) != 0)
		buf_str(b, "\r\n");
	free(p);
	return b->err;
}

static bool
is_high(const struct buf *b)
{
	for (size_t i = 0; i < b->n; i++)
		if ((unsigned char)b->p[i] > 127)
			return true;
	return false;
}

static int
store(struct queue *q, const struct queue_about *a, struct queue_mail *mail, const char *relay,
    const struct buf *text, bool high)
{
	struct spool_rcpt to = {.address = a->env->from, .relay = relay};
	struct spool_envelope e = {.application = a->env->application, .uid = UINT32_MAX, .from = "",
		.body = high ? "8BITMIME" : NULL, .smtputf8 = a->env->smtputf8, .note = "a report of ours",
		.rcpt = &to, .nrcpt = 1};
	struct queue_token *t = calloc(1, sizeof *t);
	uint32_t *owed = calloc(a->nowed + 1, sizeof *owed);
	struct spool_arrival *x = NULL;
	int err = t && owed ? spool_arrive(q->s, text->n, q->now, &x) : -ENOMEM;

	if (!err)
		err = spool_write(x, text->p, text->n);
	if (!err) {
		*t = (struct queue_token){.mail = mail, .report = true, .about = a->env->id, .owed = owed,
			.nowed = a->nowed};
		if (a->nowed)
			memcpy(owed, a->owed, a->nowed * sizeof *owed);
		err = spool_seal(q->s, x, &e, q->now, t);
	}
	if (err) {
		spool_drop_arrival(q->s, x);
		free(owed);
		free(t);
	}
	return err;
}

static int
left_out(struct queue *q, const struct queue_about *a, const char *why)
{
	q->count.reports_left_out++;
	log_say(LOG_IS_WARNING, NULL, "message %016llx from <%s>: no report on %zu recipients (<%s>): %s",
	    (unsigned long long)a->env->id, a->env->from, a->nrcpt, a->rcpt[0].path, why);
	return 1;
}

int
queue_report(struct queue *q, const struct queue_about *a, struct queue_mail *mail)
{
	const char *relay = NULL;
	struct buf b = BUF_INIT(REPORT_MOST), orig = BUF_INIT(QUEUE_ORIGINAL + 2);
	char id[SPOOL_ID_LEN + 1], rid[SPOOL_ID_LEN + 32], help[400];
	struct smtp_report r = {.host = *q->policy.host ? q->policy.host : "localhost", .id = rid,
		.message = id, .now = q->now / 1000, .arrived = a->env->arrived / 1000, .to = a->env->from,
		.postmaster = q->policy.p->meta.contact, .envid = a->env->envid, .utf8 = a->env->smtputf8,
		.rcpt = a->rcpt, .nrcpt = a->nrcpt};
	unsigned left;
	int err = queue_route(q, a->env->application, a->env->from, &relay);

	if (err)
		return err;
	if (!relay)
		return left_out(q, a, "the policy has no way to the sender");
	if (!queue_storm_passes(q->storm, a->env->from, q->now / 1000, &left))
		return left_out(q, a, "the sender had too many within the hour");
	if (left) {
		snprintf(help, sizeof help, "%.250s. (%u more of your messages failed with no report, for there "
		    "were too many.)", r.postmaster ? r.postmaster : "the administrators of this host", left);
		r.postmaster = help;
	}
	spool_id_text(a->env->id, id);
	snprintf(rid, sizeof rid, "%s.%llx", id, (unsigned long long)q->now);
	r.full = a->env->ret && !strcasecmp(a->env->ret, "FULL") && a->size <= QUEUE_ORIGINAL;
	err = original(&orig, a, r.full);
	r.high = is_high(&orig);
	if (!err)
		err = smtp_report_head(&r, &b);
	buf_add(&b, orig.p ? orig.p : "", orig.n);
	if (!err)
		err = smtp_report_tail(&r, &b);
	if (!err)
		err = b.err;
	if (!err)
		err = store(q, a, mail, relay, &b, r.high);
	buf_free(&orig);
	buf_free(&b);
	if (err)
		log_say(LOG_IS_WARNING, NULL, "message %s: its report could not be made: %s", id, strerror(-err));
	return err;
}

/* ---- events of the spool ----------------------------------------------------------------- */

/* What a recipient's row in the report says; false: it is not in it. */
static bool
row_of(struct queue *q, const struct spool_message *m, const struct spool_rcpt *r, bool delayed,
    struct smtp_report_rcpt *out, char status[12], char reply[320])
{
	const char *rest, *words = NULL;
	enum smtp_report_action action = SMTP_REPORT_DELAYED;

	if (delayed) {
		if (r->state != SPOOL_PENDING && r->state != SPOOL_SENDING && r->state != SPOOL_HELD)
			return false;
	} else {
		if (!r->owed)
			return false;
		action = r->state == SPOOL_DELIVERED ? SMTP_REPORT_RELAYED : SMTP_REPORT_FAILED;
	}
	if (!smtp_report_wanted(action, queue_notify(r->notify), m->env.from))
		return false;
	*out = (struct smtp_report_rcpt){.action = action, .path = r->address, .orcpt = r->orcpt,
		.last = r->attempts || r->last.code ? q->now / 1000 : 0};
	if (r->last.code) {
		queue_enhanced(r->last.code, r->last.text ? r->last.text : "", status, &rest);
		snprintf(reply, 320, "%u %.300s", r->last.code, r->last.text ? r->last.text : "");
		out->status = status;
		out->reply = reply;
		out->relay = queue_host_of(q, r->relay);
	} else if (r->last.text) {
		snprintf(reply, 320, "%.300s", r->last.text);
		words = reply;
	}
	if (action == SMTP_REPORT_FAILED && r->last.code / 100 != 5) {
		/* it was too old: RFC 3463 X.4.7 */
		out->status = "5.4.7";
		out->words = words ? words : "It could not be delivered in time.";
	} else {
		out->words = words;
	}
	if (action == SMTP_REPORT_DELAYED)
		out->until = (m->env.arrived + q->config.lifetime) / 1000;
	return true;
}

static void
about_spooled(struct queue *q, uint64_t id, bool delayed)
{
	struct spool_message m = {0};
	struct queue_about a = {.env = &m.env};
	struct smtp_report_rcpt *v = NULL;
	char (*status)[12] = NULL;
	char (*reply)[320] = NULL;
	uint32_t *owed = NULL;
	int err = spool_read(q->s, id, &m);

	if (err)
		return;
	v = calloc(m.env.nrcpt, sizeof *v);
	status = calloc(m.env.nrcpt, sizeof *status);
	reply = calloc(m.env.nrcpt, sizeof *reply);
	owed = calloc(m.env.nrcpt, sizeof *owed);
	if (v && status && reply && owed) {
		for (size_t i = 0; i < m.env.nrcpt; i++) {
			if (m.env.rcpt[i].owed && !delayed)
				owed[a.nowed++] = (uint32_t)i;
			a.nrcpt += row_of(q, &m, &m.env.rcpt[i], delayed, &v[a.nrcpt], status[i], reply[i]);
		}
		a.owed = owed;
		a.rcpt = v;
		a.fd = m.fd;
		a.offset = m.offset;
		a.size = m.size;
		err = a.nrcpt ? queue_report(q, &a, NULL) : 1;
		/* else it is told again by the spool, and so is the event after an error */
		if (err == 1 && !delayed)
			(void)spool_reported(q->s, id, q->now);
	}
	free(v);
	free(owed);
	free(status);
	free(reply);
	spool_message_end(&m);
}

void
queue_event(struct queue *q, const struct spool_event *e)
{
	switch (e->kind) {
	case SPOOL_EVENT_WARN:
		about_spooled(q, e->id, true);
		break;
	case SPOOL_EVENT_REPORT:
		about_spooled(q, e->id, false);
		break;
	case SPOOL_EVENT_DAMAGED:
		log_say(LOG_IS_ERROR, NULL, "message %016llx is damaged and was set aside: spool folder damaged/",
		    (unsigned long long)e->id);
		break;
	}
}
