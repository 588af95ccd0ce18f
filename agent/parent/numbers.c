/*
 * numbers: how the mail roles do, in words, as JSON and as metrics.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "parent/inside.h"

enum { ANSWER_US = 2000000 };

struct wish {
	struct parent *p;
	numbers_fn *fn;
	void *arg;
	unsigned left;
};

struct wait {
	struct wish *w;
	struct mail_said *to;
	const struct ipc_shape *shape;
};

static void
forget(struct mail_said *s)
{
	ipc_free(&s->in);
	*s = (struct mail_said){0};
}

void
mail_numbers_forget(struct parent *p)
{
	struct mail *m = &p->mail;

	forget(&m->status);
	for (int i = 0; i < 3; i++)
		forget(&m->count[i]);
}

static void
one_less(struct wish *w)
{
	if (--w->left)
		return;
	w->fn(w->arg);
	free(w);
}

/* The message is kept: its texts are told later. */
static void
said(void *arg, struct ipc_in *in, int err)
{
	struct wait *x = arg;
	const void *body;

	/* where nothing is answered nothing is known: an old figure would look like a new one */
	forget(x->to);
	if (!err && !ipc_body(in, x->shape, &body)) {
		x->to->in = *in;
		x->to->body = body;
		*in = (struct ipc_in){0};
	}
	one_less(x->w);
	free(x);
}

static void
put(struct wish *w, struct role *r, uint32_t type, uint32_t want, struct mail_said *to)
{
	struct wait *x = malloc(sizeof *x);

	if (!x)
		return;
	*x = (struct wait){.w = w, .to = to, .shape = &mail_tell_shape[want]};
	w->left++;
	if (ask_mail(w->p, r, type, NULL, want, ANSWER_US, said, x)) {
		forget(to);
		w->left--;
		free(x);
	}
}

void
mail_numbers(struct parent *p, numbers_fn *fn, void *arg)
{
	struct mail *m = &p->mail;
	struct wish *w = m->team.up ? malloc(sizeof *w) : NULL;
	struct role *all[] = {&m->queue, &m->relay, &m->front};

	if (!w) {
		fn(arg);
		return;
	}
	*w = (struct wish){.p = p, .fn = fn, .arg = arg, .left = 1};
	put(w, &m->queue, MAIL_STATUS, MAIL_STATUS_IS, &m->status);
	/* the queue's figures are its status */
	for (int i = 1; i < 3; i++)
		put(w, all[i], MAIL_COUNT, MAIL_COUNTED, &m->count[i]);
	one_less(w);
}

/* ---- words --------------------------------------------------------------------------------- */

bool
mail_well(const struct parent *p)
{
	const struct mail *m = &p->mail;
	const struct mail_status *s = m->status.body;

	for (uint32_t i = 0; s && i < s->nrelay; i++)
		if (s->relay[i].alarm)
			return false;
	return !*m->trouble && !*m->taken[0] && !*m->taken[1] && !*m->taken[2] && m->credentials_bad == 0 &&
	    (!m->team.wanted || m->team.up);
}

static const char *
ago(uint64_t ms, char out[32])
{
	uint64_t now = now_us(CLOCK_REALTIME) / 1000, s = now > ms ? (now - ms) / 1000 : 0;

	/* of long spans the seconds say nothing */
	return units_span(s > 7200 ? s / 3600 * 3600 : s > 120 ? s / 60 * 60 : s, out);
}

static void
queue_words(struct op *o, const struct mail_status *s)
{
	char a[32], b[32];

	op_out(o, "queue        %u message%s (%s)", s->messages, s->messages == 1 ? "" : "s", units_size(s->bytes, a));
	if (s->oldest != UINT64_MAX)
		op_out(o, ", the oldest %s old", ago(s->oldest, b));
	op_out(o, "; %u arriving, %u being sent, %u held: mailreevectl queue list\n", s->arriving, s->sending, s->held);
	op_out(o, "             accepted %" PRIu64 " (%" PRIu64 " by the relay itself), refused %" PRIu64 ", failed %"
	    PRIu64 "; later: delivered %" PRIu64 ", put off %" PRIu64 ", bounced %" PRIu64 "\n", s->accepted, s->through,
	    s->refused, s->failed, s->delivered, s->deferred, s->bounced);
	if (s->damaged || s->unreadable || s->sick)
		op_out(o, "             THE SPOOL IS NOT WELL: %u damaged, %u unreadable, %u not to be written\n", s->damaged,
		    s->unreadable, s->sick);
	for (uint32_t i = 0; i < s->nrelay; i++) {
		const struct mail_relay_status *r = &s->relay[i];

		op_out(o, "relay        %s: %u waiting, %u being sent, %u held, %u connection%s%s%s%s\n", r->relay,
		    r->pending, r->sending, r->held, r->connections, r->connections == 1 ? "" : "s",
		    r->down ? "; left alone for a while" : "", *r->text ? r->alarm ? "; ALARM: " : ": " : "", r->text);
	}
}

void
mail_words(struct op *o)
{
	struct parent *p = o->p;
	struct mail *m = &p->mail;
	bool any = false;
	char span[32];
	uint64_t now = now_us(CLOCK_MONOTONIC);

	if (!m->submission && !m->team.up && !*m->trouble) {
		op_out(o, "mail         the policy in force has no `submission:` for this host: none is taken\n");
		return;
	}
	if (m->team.up && !m->team.stopping) {
		op_out(o, "mail         taken at ");
		for (uint32_t i = 0; i < m->nlistener; i++)
			if (m->listener[i].handed) {
				op_out(o, "%s%s", any ? ", " : "", m->listener[i].address);
				any = true;
			}
		op_out(o, "%s%s%s/submission.sock\n", any ? " port " : "", any ?
		    (snprintf(span, sizeof span, "%u and ", p->o->submission_port), span) : "", p->o->run);
	} else if (m->submission) {
		op_out(o, "mail         NOT TAKEN NOW%s%s", *m->team.why ? ": " : "", m->team.why);
		if (m->team.due > now)
			op_out(o, "; the mail roles are started again in %s",
			    units_span((m->team.due - now + 999999) / 1000000, span));
		op_out(o, "\n");
	}
	if (*m->trouble)
		op_out(o, "             TROUBLE: %s\n", m->trouble);
	for (int i = 0; i < 3; i++)
		if (*m->taken[i])
			op_out(o, "             TROUBLE: %s\n", m->taken[i]);
	if (m->credentials_bad)
		op_out(o, "             TROUBLE: %s%s\n", m->credential_why, m->credentials_bad > 1 ? " (and others)" : "");
	if (m->team.deaths)
		op_out(o, "             the mail roles were started again %" PRIu64 " time%s; the last because %s\n",
		    m->team.deaths, m->team.deaths == 1 ? "" : "s", *m->team.why ? m->team.why : "one of them ended");
	for (int i = 0; i < 3; i++) {
		const struct mail_counted *c = m->count[i].body;

		if (c && *c->text)
			op_out(o, "             %s: %s\n", m->team.role[i]->name, c->text);
	}
	if (m->status.body)
		queue_words(o, m->status.body);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void
number(struct buf *b, const char *key, uint64_t x)
{
	if (x == UINT64_MAX)
		buf_printf(b, ",\"%s\":null", key);
	else
		buf_printf(b, ",\"%s\":%" PRIu64, key, x);
}

static void
text(struct buf *b, const char *key, const char *s)
{
	buf_printf(b, ",\"%s\":", key);
	buf_json(b, s);
}

static void
queue_json(struct buf *b, const struct mail_status *s)
{
	buf_printf(b, ",\"queue\":{\"messages\":%u", s->messages);
	number(b, "bytes", s->bytes);
	number(b, "oldest_ms", s->oldest);
	number(b, "arriving", s->arriving);
	number(b, "sending", s->sending);
	number(b, "held", s->held);
	number(b, "damaged", s->damaged);
	number(b, "unreadable", s->unreadable);
	number(b, "sick", s->sick);
	number(b, "accepted", s->accepted);
	number(b, "through", s->through);
	number(b, "refused", s->refused);
	number(b, "failed", s->failed);
	number(b, "delivered", s->delivered);
	number(b, "deferred", s->deferred);
	number(b, "bounced", s->bounced);
	number(b, "reports", s->reports);
	number(b, "doubts", s->doubts);
	buf_str(b, ",\"relays\":[");
	for (uint32_t i = 0; i < s->nrelay; i++) {
		const struct mail_relay_status *r = &s->relay[i];

		buf_printf(b, "%s{\"relay\":", i ? "," : "");
		buf_json(b, r->relay);
		number(b, "pending", r->pending);
		number(b, "sending", r->sending);
		number(b, "held", r->held);
		number(b, "oldest_ms", r->oldest);
		number(b, "well", r->well);
		number(b, "alarm", r->alarm);
		number(b, "down", r->down);
		number(b, "connections", r->connections);
		text(b, "text", r->text);
		buf_chr(b, '}');
	}
	buf_str(b, "]}");
}

void
mail_json(struct parent *p, struct buf *b)
{
	struct mail *m = &p->mail;

	buf_printf(b, ",\"mail\":{\"submission\":%s,\"up\":%s,\"restarts\":%" PRIu64, m->submission ? "true" : "false",
	    m->team.up && !m->team.stopping ? "true" : "false", m->team.deaths);
	text(b, "trouble", *m->trouble ? m->trouble : *m->taken[0] ? m->taken[0] : *m->taken[1] ? m->taken[1] :
	    *m->taken[2] ? m->taken[2] : m->credentials_bad ? m->credential_why : "");
	text(b, "why", m->team.why);
	buf_str(b, ",\"listens\":[");
	for (uint32_t i = 0, n = 0; i < m->nlistener; i++)
		if (m->listener[i].handed) {
			buf_str(b, n++ ? "," : "");
			buf_json(b, m->listener[i].address);
		}
	buf_str(b, "]");
	if (m->status.body)
		queue_json(b, m->status.body);
	buf_chr(b, '}');
}

/* ---- metrics ---------------------------------------------------------------------------------- */

static void
head(struct buf *b, const char *name, size_t n, const char *help)
{
	bool total = n > 6 && !strncmp(name + (n - 6), "_total", 6);

	buf_printf(b, "# HELP mailreeve_%.*s %s\n# TYPE mailreeve_%.*s %s\n", (int)n, name, help, (int)n, name,
	    total ? "counter" : "gauge");
}

static void
one(struct buf *b, const char *name, const char *help, uint64_t x)
{
	head(b, name, strlen(name), help);
	buf_printf(b, "mailreeve_%s %" PRIu64 "\n", name, x);
}

/* A role's numbers; those of one name stand together, whatever their order was. */
static void
role_metrics(struct buf *b, const struct mail_counted *c, const char *role)
{
	char help[64];

	snprintf(help, sizeof help, "Of the role %s.", role);
	for (uint32_t i = 0; i < c->ncount; i++) {
		const char *name = c->count[i].name;
		size_t n = strcspn(name, "{");
		uint32_t k = 0;

		while (k < i && (strncmp(c->count[k].name, name, n) != 0 || strcspn(c->count[k].name, "{") != n))
			k++;
		if (k < i)
			continue;
		head(b, name, n, help);
		for (k = i; k < c->ncount; k++)
			if (!strncmp(c->count[k].name, name, n) && strcspn(c->count[k].name, "{") == n)
				buf_printf(b, "mailreeve_%s %" PRIu64 "\n", c->count[k].name, c->count[k].value);
	}
}

static void
label(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			buf_chr(b, '\\');
		if (*s == '\n')
			buf_str(b, "\\n");
		else
			buf_chr(b, *s);
	}
}

static uint64_t
age(uint64_t oldest)
{
	uint64_t now = now_us(CLOCK_REALTIME) / 1000;

	return oldest < now ? (now - oldest) / 1000 : 0;
}

static void
queue_metrics(struct buf *b, const struct mail_status *s)
{
	static const struct {
		const char *name, *help;
		size_t at;
	} relay[] = {
		{"relay_waiting", "Messages that wait for a relay.", offsetof(struct mail_relay_status, pending)},
		{"relay_sending", "Messages being sent to a relay.", offsetof(struct mail_relay_status, sending)},
		{"relay_held", "Messages for a relay that people hold.", offsetof(struct mail_relay_status, held)},
		{"relay_alarm", "Whether people must look at a relay.", offsetof(struct mail_relay_status, alarm)},
		{"relay_down", "Whether a relay is left alone for a while.", offsetof(struct mail_relay_status, down)},
		{"relay_connections", "Connections to a relay.", offsetof(struct mail_relay_status, connections)},
	};

	one(b, "queue_messages", "Messages in the queue.", s->messages);
	one(b, "queue_bytes", "Bytes of messages in the queue.", s->bytes);
	one(b, "queue_oldest_seconds", "Age of the oldest message in the queue.", age(s->oldest));
	one(b, "queue_held", "Messages that people hold.", s->held);
	one(b, "queue_damaged", "Files of the spool that are damaged.", s->damaged);
	one(b, "queue_unreadable", "Files of the spool that cannot be read.", s->unreadable);
	one(b, "mail_accepted_total", "Messages that were taken over from programs.", s->accepted);
	one(b, "mail_through_total", "Messages that the relay itself took at once.", s->through);
	one(b, "mail_refused_total", "Messages that the relay itself refused at once.", s->refused);
	one(b, "mail_failed_total", "Messages not taken for want of space and the like.", s->failed);
	one(b, "mail_delivered_total", "Recipients of queued mail delivered.", s->delivered);
	one(b, "mail_deferred_total", "Recipients of queued mail put off.", s->deferred);
	one(b, "mail_bounced_total", "Recipients of queued mail given up.", s->bounced);
	one(b, "mail_reports_total", "Reports made.", s->reports);
	one(b, "mail_reports_left_out_total", "Reports left out, for the sender had had too many.",
	    s->reports_left_out);
	one(b, "mail_commits_total", "Group commits.", s->commits);
	one(b, "mail_committed_total", "Messages in group commits.", s->committed);
	one(b, "mail_doubts_total", "Messages lost after their end was sent: a duplicate is possible.", s->doubts);
	for (size_t k = 0; s->nrelay && k < sizeof relay / sizeof relay[0]; k++) {
		head(b, relay[k].name, strlen(relay[k].name), relay[k].help);
		for (uint32_t i = 0; i < s->nrelay; i++) {
			uint32_t x;

			memcpy(&x, (const char *)&s->relay[i] + relay[k].at, sizeof x);
			buf_printf(b, "mailreeve_%s{relay=\"", relay[k].name);
			label(b, s->relay[i].relay);
			buf_printf(b, "\"} %u\n", x);
		}
	}
	if (s->nrelay)
		head(b, "relay_oldest_seconds", strlen("relay_oldest_seconds"), "Age of the oldest message for a relay.");
	for (uint32_t i = 0; i < s->nrelay; i++) {
		buf_str(b, "mailreeve_relay_oldest_seconds{relay=\"");
		label(b, s->relay[i].relay);
		buf_printf(b, "\"} %" PRIu64 "\n", age(s->relay[i].oldest));
	}
}

void
mail_metrics(struct parent *p, struct buf *b)
{
	struct mail *m = &p->mail;

	one(b, "attempts_restarts_total", "Times that the role attempts died.", p->watch.deaths);
	one(b, "mail_wanted", "Whether the policy in force has a submission for this host.", m->submission);
	one(b, "mail_up", "Whether the mail roles run.", m->team.up && !m->team.stopping);
	one(b, "mail_trouble", "Whether people must look: mailreevectl status.", !mail_well(p));
	one(b, "mail_restarts_total", "Times that the mail roles died.", m->team.deaths);
	if (m->status.body)
		queue_metrics(b, m->status.body);
	for (int i = 0; i < 3; i++)
		if (m->count[i].body)
			role_metrics(b, m->count[i].body, m->team.role[i]->name);
}
