/* The spool's claims, its events, new routes after a reload. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/log.h"
#include "role/queue_inside.h"
#include "smtp/command.h"
#include "smtp/report.h"

enum { EVENTS = 32, REFUSED_MS = 1000 };

static unsigned
room_of(const struct policy_relay *p)
{
	uint64_t n = p->most_connections ? p->most_connections * QUEUE_AHEAD : QUEUE_EACH;

	return n < QUEUE_CLAIMS ? (unsigned)n : QUEUE_CLAIMS;
}

/* Whether this relay may have one more claim: the last of them all are for relays that have few, so that some
 * that are slow do not keep back the mail of the others. */
static bool
may_claim(const struct queue *q, const struct queue_relay *r, const struct policy_relay *p)
{
	unsigned most = r->claims < QUEUE_FEW ? QUEUE_CLAIMS : QUEUE_CLAIMS - QUEUE_FEW;

	return r->claims < room_of(p) && q->nclaim < most && q->nsend < QUEUE_SENDS;
}

/* ---- routes --------------------------------------------------------------------------- */

/* Recipients whose way has changed since get their new relay; those that an alarm held are
 * known again. 0, 1: nothing changed; errno. */
static int
look_at(struct queue *q, uint64_t id)
{
	const char *relay[SPOOL_RCPT_MOST];
	struct spool_message m = {0};
	bool any = false;
	int err = spool_read(q->s, id, &m);

	if (err)
		return err;
	for (size_t i = 0; i < m.env.nrcpt; i++) {
		const struct spool_rcpt *r = &m.env.rcpt[i];
		const char *way = NULL;
		struct queue_relay *to;

		/* without memory it goes the way it had */
		if (r->state < SPOOL_DELIVERED)
			(void)queue_route(q, m.env.application, r->address, &way);
		relay[i] = way && strcmp(way, r->relay) ? way : NULL;
		any |= relay[i] != NULL;
		if (r->state == SPOOL_HELD && r->last.text && !strncmp(r->last.text, QUEUE_ALARM, strlen(QUEUE_ALARM)) &&
		    (to = queue_relay_of(q, relay[i] ? relay[i] : r->relay)))
			queue_relay_hold(q, to, id);
	}
	if (any) {
		err = spool_reroute(q->s, id, relay, q->now);
		if (!err)
			log_say(LOG_IS_INFO, NULL, "message %016llx goes by another relay now",
			    (unsigned long long)id);
	}
	spool_message_end(&m);
	return any ? err : 1;
}

/* Mail for a relay that the policy has no more, and that has no other way, is tried by nobody: people are told so,
 * and not what the relay's last failure was. */
static void
look_for(struct queue *q, struct queue_relay *r, bool there)
{
	static const char lost[] = "the policy has no such relay any more, and no other way for its mail, which waits: give it "
	    "a route, or drop it";
	struct spool_depth d;
	bool told = !strcmp(r->text, lost);

	_Static_assert(sizeof lost <= sizeof r->text, "it is known again");
	if (there == !told)
		return;
	if (!there) {
		spool_depth(q->s, r->name, &d);
		if (!d.pending && !d.held)
			return;
		log_say(LOG_IS_ERROR, NULL, "relay %s: %s", r->name, lost);
	}
	snprintf(r->text, sizeof r->text, "%s", there ? "" : lost);
	r->alarm = !there;
}

static void
scan(struct queue *q)
{
	if (q->scan == UINT64_MAX)
		return;
	for (int i = 0; i < QUEUE_SCAN && q->scan != UINT64_MAX; i++) {
		uint64_t id = spool_after(q->s, q->scan);

		q->scan = id ? id : UINT64_MAX;
		if (!id)
			break;
		if (look_at(q, id) == -EBUSY)
			for (struct queue_claim *c = q->claims; c; c = c->next)
				c->reroute |= c->m->env.id == id;
	}
	for (size_t i = 0; q->scan == UINT64_MAX && i < q->nrelay; i++)
		if (policy_relay_find(q->policy.p, q->relay[i].name))
			look_for(q, &q->relay[i], true);
}

/* ---- claims --------------------------------------------------------------------------------- */

static void
claim_free(struct queue *q, struct queue_claim *c)
{
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	q->nclaim--;
	c->relay->claims--;
	queue_send_free(q, &c->sends);
	free(c);
}

/* Given up before anything was sent. */
static void
spare(struct queue *q, struct queue_claim *c)
{
	(void)spool_done(q->s, c->c, NULL, q->now);
	claim_free(q, c);
}

static bool
is_rerouted(struct queue *q, const struct queue_claim *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct spool_rcpt *r = &c->m->env.rcpt[c->which[i]];
		const char *way = NULL;

		if (!queue_route(q, c->m->env.application, r->address, &way) && way && strcmp(way, r->relay))
			return true;
	}
	return false;
}

/* 0: it is with the relay role, or goes another way; else the relay has to wait. */
static int
begin(struct queue *q, struct queue_relay *r, struct spool_claim *given)
{
	struct queue_claim *c = calloc(1, sizeof *c);
	struct queue_parcel p;
	int err;

	if (!c) {
		(void)spool_done(q->s, given, NULL, q->now);
		return -ENOMEM;
	}
	c->c = given;
	c->relay = r;
	c->m = spool_claim_message(given, &c->which, &c->n);
	c->next = q->claims;
	c->prev = &q->claims;
	if (c->next)
		c->next->prev = &c->next;
	q->claims = c;
	q->nclaim++;
	r->claims++;
	if (is_rerouted(q, c)) {
		uint64_t id = c->m->env.id;

		spare(q, c);
		return look_at(q, id) ? -EBUSY : 0;
	}
	p = (struct queue_parcel){.rcpt = c->m->env.rcpt};
	err = queue_send_new(q, NULL, c, r->name, &p, c->which, c->n);
	if (err)
		spare(q, c);
	return err;
}

static void
claims_of(struct queue *q, const char *name)
{
	const struct policy_relay *p = policy_relay_find(q->policy.p, name);
	struct queue_relay *r = queue_relay_of(q, name);

	if (r && !p && q->scan == UINT64_MAX)
		look_for(q, r, false);

	while (r && p && r->pause <= q->mono && may_claim(q, r, p)) {
		struct spool_claim *c;
		int err = spool_claim(q->s, name, q->now, &c);

		if (err > 0)
			return;
		if (!err)
			err = begin(q, r, c);
		if (err) {
			r->pause = q->mono + REFUSED_MS;
			return;
		}
	}
}

static enum spool_fate
fate_of(uint32_t fate)
{
	switch ((enum relay_fate)fate) {
	case RELAY_DEFERRED:
		return SPOOL_FATE_DEFERRED;
	case RELAY_DELIVERED:
		return SPOOL_FATE_DELIVERED;
	case RELAY_FAILED:
		return SPOOL_FATE_FAILED;
	case RELAY_HELD:
		return SPOOL_FATE_HELD;
	}
	return SPOOL_FATE_DEFERRED;
}

/* The results of one send, at the places of its recipients among the claim's. */
static bool
take(struct queue *q, const struct queue_claim *c, const struct queue_send *s,
    struct spool_result *out, char (*held)[512])
{
	size_t at = 0;

	if (!s->r || s->r->canceled || s->r->busy)
		return false;
	while (c->which[at] != s->which[0])
		at++;
	for (uint32_t i = 0; i < s->n; i++) {
		const struct spool_rcpt *r = &c->m->env.rcpt[s->which[i]];
		const struct relay_fate_of *f = &s->r->rcpt[i];
		struct spool_result *o = &out[at + i];

		*o = (struct spool_result){.fate = fate_of(f->fate), .reply = {f->code, f->text,
			*s->r->tls ? s->r->tls : NULL, *s->r->cipher ? s->r->cipher : NULL,
			*s->r->peer ? s->r->peer : NULL}};
		q->count.delivered += o->fate == SPOOL_FATE_DELIVERED;
		q->count.deferred += o->fate == SPOOL_FATE_DEFERRED;
		q->count.bounced += o->fate == SPOOL_FATE_FAILED;
		if (o->fate == SPOOL_FATE_FAILED)
			o->report = queue_report_wanted(&c->m->env, r, false);
		if (o->fate == SPOOL_FATE_DELIVERED && !s->r->dsn)
			o->report = smtp_report_wanted(SMTP_REPORT_RELAYED, queue_notify(r->notify),
			    c->m->env.from);
		if (o->fate == SPOOL_FATE_HELD) {
			snprintf(held[at + i], sizeof *held, QUEUE_ALARM "%.500s", f->text);
			o->reply.text = held[at + i];
		}
	}
	return true;
}

void
queue_claim_sent(struct queue *q, struct queue_claim *c)
{
	struct spool_result *r = calloc(c->n, sizeof *r);
	char (*held)[512] = calloc(c->n, sizeof *held);
	uint64_t id = c->m->env.id;
	bool any = false, alarm = false, reroute = c->reroute;
	int err;

	for (size_t i = 0; r && i < c->n; i++)
		r[i].reply.text = "not tried";
	for (const struct queue_send *s = c->sends; r && held && s; s = s->next)
		any |= take(q, c, s, r, held);
	for (size_t i = 0; any && i < c->n; i++)
		alarm |= r[i].fate == SPOOL_FATE_HELD;
	/* without memory it is tried again: a duplicate, and nothing worse */
	err = spool_done(q->s, c->c, any ? r : NULL, q->now);
	if (err)
		log_say(LOG_IS_WARNING, NULL, "message %016llx: what became of it is not on disk yet: %s",
		    (unsigned long long)id, strerror(-err));
	if (alarm)
		queue_relay_hold(q, c->relay, id);
	else if (any && c->relay->well && c->relay->nheld && (!c->relay->alarm || c->relay->serves) &&
	    c->relay->knocks)
		queue_relay_release(q, c->relay);
	free(r);
	free(held);
	claim_free(q, c);
	if (reroute)
		(void)look_at(q, id);
}

/* ---- the turn ------------------------------------------------------------------------------------- */

/* Of those that an alarm holds one tries again. */
static void
knock(struct queue *q, struct queue_relay *r)
{
	uint64_t wait = QUEUE_ALARM_MS;

	if (!r->knock || r->knock > q->mono)
		return;
	if (!r->nheld) {
		r->knock = 0;
		r->knocks = 0;
		return;
	}
	(void)spool_release(q->s, r->held[0], q->now);
	memmove(r->held, r->held + 1, --r->nheld * sizeof *r->held);
	for (unsigned i = 0; i < r->knocks && wait < QUEUE_ALARM_MOST_MS; i++)
		wait *= 2;
	r->knocks++;
	r->knock = q->mono + wait;
}

void
queue_deliver(struct queue *q)
{
	struct spool_event e;
	const char *name;

	if (!q->policy.p || q->stopping || q->sick)
		return;
	for (int i = 0; i < EVENTS && !spool_event(q->s, q->now, &e); i++)
		queue_event(q, &e);
	scan(q);
	for (size_t i = 0; i < q->nrelay; i++)
		knock(q, &q->relay[i]);
	if (q->relay_ready)
		for (size_t i = 0; (name = spool_relay(q->s, i)); i++)
			claims_of(q, name);
}

uint64_t
queue_deliver_deadline(const struct queue *q)
{
	uint64_t t = UINT64_MAX, wall, first;
	const char *name;

	if (!q->policy.p || q->stopping || q->sick)
		return t;
	if (q->scan != UINT64_MAX)
		return q->mono;
	for (size_t i = 0; i < q->nrelay; i++)
		if (q->relay[i].knock && q->relay[i].knock < t)
			t = q->relay[i].knock;
	wall = spool_event_wake(q->s);
	for (size_t i = 0; q->relay_ready && (name = spool_relay(q->s, i)); i++) {
		const struct policy_relay *p = policy_relay_find(q->policy.p, name);
		const struct queue_relay *r = p ? queue_relay_of((struct queue *)q, name) : NULL;

		if (!r || !may_claim(q, r, p))
			continue;
		if (r->pause > q->mono) {
			t = r->pause < t ? r->pause : t;
			continue;
		}
		first = spool_relay_wake(q->s, name);
		wall = first < wall ? first : wall;
	}
	if (wall == UINT64_MAX)
		return t;
	/* what is due and was not taken in this turn is taken in the next, after a breath */
	first = q->mono + (wall > q->now ? wall - q->now : 20);
	return first < t ? first : t;
}
