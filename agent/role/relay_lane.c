/* Which message goes next, when to connect, when not to; how a relay does. */
#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/log.h"
#include "role/relay_inside.h"

/* ---- how a relay does -------------------------------------------------------------- */

void
relay_dest_state(struct relay_dest *d, bool well, bool alarm, const char *text)
{
	struct log_field f[] = {{"RELAY", d->name}, {0}};

	if (d->apart || (d->known && d->well == well && d->alarm == alarm && !strcmp(d->text, text)))
		return;
	if (*text)
		log_say(alarm ? LOG_IS_ERROR : LOG_IS_WARNING, f, "the relay %s: %s", d->name, text);
	else if (*d->text)
		log_say(LOG_IS_NOTICE, f, "the relay %s is well again", d->name);
	d->known = true;
	d->well = well;
	d->alarm = alarm;
	if (text != d->text)
		snprintf(d->text, sizeof d->text, "%s", text);
	d->dirty = true;
}

/* ---- endpoints ----------------------------------------------------------------------- */

bool
relay_endpoint_free(const struct relay *r, const struct relay_endpoint *e)
{
	return e->back <= r->now;
}

static uint64_t
back_off(unsigned fails, uint64_t least, uint64_t most)
{
	uint64_t ms = least << (fails < 8 ? fails : 8);

	return ms < most ? ms : most;
}

/* Many connections that fail together are one failure. */
void
relay_endpoint_failed(struct relay *r, struct relay_endpoint *e)
{
	if (e->back > r->now)
		return;
	e->back = r->now + back_off(e->fails, RELAY_BACK_MS, RELAY_BACK_MOST_MS);
	e->fails++;
}

/* The first endpoint that may be tried; nendpoint: none. */
static unsigned
first_endpoint(const struct relay *r, const struct relay_dest *d)
{
	unsigned i = 0;

	while (i < d->nendpoint && !relay_endpoint_free(r, &d->endpoint[i]))
		i++;
	return i;
}

/* ---- lanes --------------------------------------------------------------------------- */

static bool
same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static struct relay_lane *
lane_of(struct relay *r, struct relay_dest *d, const char *credential)
{
	struct relay_lane *l;

	for (l = r->lane; l; l = l->next)
		if (l->dest == d && same(l->credential, credential))
			return l;
	if (r->nlane == RELAY_MOST_LANES || !(l = calloc(1, sizeof *l)))
		return NULL;
	if (credential && !(l->credential = strdup(credential))) {
		free(l);
		return NULL;
	}
	l->dest = d;
	l->last = &l->first;
	l->next = r->lane;
	r->lane = l;
	r->nlane++;
	d->nlane++;
	return l;
}

void
relay_lanes_sweep(struct relay *r, bool all)
{
	struct relay_lane **p = &r->lane;

	while (*p) {
		struct relay_lane *l = *p;

		/* one that waits out a refused credential is remembered */
		if (!all && (l->first || l->nconn || (l->back > r->now && !l->dest->gone))) {
			p = &l->next;
			continue;
		}
		assert(!l->nconn);
		*p = l->next;
		r->nlane--;
		l->dest->nlane--;
		while (l->first) {
			struct relay_claim *c = l->first;
			l->first = c->next;
			relay_claim_free(c);
		}
		tls_context_free(l->tls);
		free(l->credential);
		free(l);
	}
	/* the roots of a context are a megabyte or more */
	for (struct relay_dest *d = r->dest; d; d = d->next)
		if (d->tls && !d->nconn && (all || d->used + RELAY_CONTEXT_MS <= r->now)) {
			d->tls = tls_context_free(d->tls);
			malloc_trim(0);
		}
}

void
relay_lane_put(struct relay *r, struct relay_claim *c, bool front)
{
	struct relay_dest *d = relay_dest_find(r, c->s->relay);
	uint32_t i = relay_claim_open(c);
	struct relay_lane *l;
	char why[RELAY_WORDS];

	assert(i < c->s->nrcpt);
	c->conn = NULL;
	c->at = CLAIM_WAITS;
	r->moved = true;
	if (r->stopping) {
		relay_claim_over(r, c, RELAY_DEFERRED, 0, "the forwarder ends");
		return;
	}
	if (!d) {
		snprintf(why, sizeof why, "the policy has no relay '%.200s' (any more)", c->s->relay);
		c->connected = false;
		relay_claim_over(r, c, RELAY_DEFERRED, 0, why);
		return;
	}
	l = lane_of(r, d, c->s->rcpt[i].auth ? relay_credential_of(r, d, c->s->application) : NULL);
	if (!l) {
		c->busy = true;
		relay_claim_over(r, c, RELAY_DEFERRED, 0, "too many relays and credentials at a time");
		return;
	}
	c->lane = l;
	if (front) {
		c->next = l->first;
		if (!l->first)
			l->last = &c->next;
		l->first = c;
	} else {
		c->next = NULL;
		*l->last = c;
		l->last = &c->next;
	}
	l->nwaiting++;
}

void
relay_lane_drop(struct relay_claim *c)
{
	struct relay_lane *l = c->lane;
	struct relay_claim **p = &l->first;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	if (!*p)
		l->last = p;
	c->next = NULL;
	l->nwaiting--;
}

struct relay_claim *
relay_lane_next(struct relay_lane *l)
{
	struct relay_claim *c = l->first;

	if (c)
		relay_lane_drop(c);
	return c;
}

void
relay_lane_fail(struct relay *r, struct relay_lane *l, const struct relay_cause *cause)
{
	struct relay_claim *c;

	while ((c = relay_lane_next(l)))
		relay_claim_over(r, c, cause->fate, cause->code, cause->text);
}

void
relay_lanes_renew(struct relay *r, const char *credential)
{
	for (struct relay_lane *l = r->lane; l; l = l->next) {
		if (!same(l->credential, credential))
			continue;
		l->back = 0;
		l->fails = 0;
		l->proved = false;
		if (l->dest->auth == POLICY_AUTH_CERTIFICATE)
			l->tls = tls_context_free(l->tls);
		/* those that said who they are by the old one end when they may */
		for (struct relay_conn *c = r->conn; c; c = c->next)
			if (c->lane == l)
				c->born = 0;
	}
}

/* ---- connecting ---------------------------------------------------------------------- */

bool
relay_lane_fit(struct relay *r, struct relay_lane *l, struct relay_cause *why)
{
	struct relay_dest *d = l->dest;
	struct tls_options o = {.minimum = d->tls_minimum, .ciphers = d->ciphers, .ca = d->ca};
	struct relay_cred *cred = NULL;
	unsigned clear = 0;
	char words[TLS_MOST_WHY], path[40];
	bool certificate = d->auth == POLICY_AUTH_CERTIFICATE;
	struct tls_context **tls = certificate && l->credential ? &l->tls : &d->tls;

	*why = (struct relay_cause){.fate = RELAY_HELD, .alarm = true};
	if (l->credential) {
		cred = relay_cred_find(r, l->credential);
		if (!cred || (certificate ? cred->pem < 0 : !cred->c)) {
			snprintf(why->text, sizeof why->text, "the credential '%.100s' is missing: %.300s",
			    l->credential, !cred ? "it was never given to the forwarder" : *cred->why ?
			    cred->why : certificate ? "it is no certificate (PEM)" : "it is a certificate");
			return false;
		}
	}
	while (clear < d->nendpoint && d->endpoint[clear].tls == POLICY_TLS_FORBIDDEN)
		clear++;
	/* sessions of the old one live on */
	if (*tls && tls_context_stale(*tls))
		*tls = tls_context_free(*tls);
	if (*tls || clear == d->nendpoint)
		return true;
	if (cred && certificate) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", cred->pem);
		o.certificate = path;
	}
	if (tls_context_new(&o, tls, words)) {
		*tls = NULL;
		snprintf(why->text, sizeof why->text, "TLS cannot be set up: %.400s", *words ? words : "no memory");
		return false;
	}
	return true;
}

static unsigned
limit_of(struct relay *r, struct relay_dest *d)
{
	if (d->limit_until <= r->now)
		d->limit = d->most_conns ? d->most_conns : d->far ? RELAY_CONNS_FAR : RELAY_CONNS_EACH;
	return d->limit;
}

/* Whether one connection more is worth it: it costs some round trips, a message that waits costs
 * one on a connection that stands. Where that is long, connections are what mail for it waits for. */
static bool
is_worth(const struct relay *r, const struct relay_lane *l)
{
	unsigned live = l->nconn - l->ndial;

	if (l->ndial >= l->nwaiting)
		return false;
	if (!l->nconn || l->nwaiting - l->ndial > (l->dest->far ? 1 : 2) * live)
		return true;
	return !l->ndial && l->first->since + RELAY_WAITED_MS <= r->now;
}

/* Makes place: the connection of another lane that is idle for the longest time goes. */
static bool
make_place(struct relay *r, const struct relay_lane *l)
{
	struct relay_conn *idle = NULL;

	for (struct relay_conn *c = r->conn; c; c = c->next)
		if (c->lane != l && !c->nclaim && relay_session_ready(c) && (!idle || c->used < idle->used))
			idle = c;
	if (idle)
		relay_session_leave(idle);
	return false;              /* when it has gone */
}

static void
lane_dial(struct relay *r, struct relay_lane *l)
{
	struct relay_dest *d = l->dest;
	struct relay_cause why;
	unsigned e;

	while (l->first && is_worth(r, l)) {
		if (d->gone) {         /* the same relay under another definition, or none */
			struct relay_claim *c = relay_lane_next(l);
			relay_lane_put(r, c, false);
			continue;
		}
		if (l->back > r->now) {
			relay_lane_fail(r, l, &l->cause);
			return;
		}
		if (!relay_lane_fit(r, l, &why)) {
			relay_dest_state(d, false, true, why.text);
			relay_lane_fail(r, l, &why);
			return;
		}
		e = first_endpoint(r, d);
		if (e == d->nendpoint) {
			if (!l->nconn)
				relay_lane_fail(r, l, &d->cause);
			return;
		}
		/* one that may be wrong is tried once, not by many at a time */
		if (l->credential && !l->proved && l->ndial)
			return;
		if (d->ndial >= (d->well ? RELAY_DIAL_MORE : RELAY_DIAL_FIRST) || d->nconn >= limit_of(r, d))
			return;
		if (r->nconn >= RELAY_MOST_CONNS && !make_place(r, l))
			return;
		if (!relay_conn_begin(r, l, e, NULL)) {
			if (l->nconn)
				return;
			why = (struct relay_cause){.fate = RELAY_DEFERRED, .text = "no memory for a connection"};
			relay_lane_fail(r, l, &why);
			return;
		}
	}
}

void
relay_lanes_run(struct relay *r)
{
	r->moved = false;
	for (struct relay_lane *l = r->lane; l; l = l->next) {
		/* one that is idle before one whose last message waits for its answer */
		for (unsigned busy = 0; busy < 2 && l->first; busy++)
			for (struct relay_conn *c = r->conn; c && l->first; c = c->next)
				if (c->lane == l && c->nclaim == busy && relay_session_ready(c))
					relay_conn_turn(c, NULL, 0);
		lane_dial(r, l);
	}
	for (struct relay_dest **p = &r->dest; *p;) {
		struct relay_dest *d = *p;

		if (!d->gone || d->nlane) {
			p = &d->next;
			continue;
		}
		*p = d->next;
		relay_dest_free(d);
	}
}

uint64_t
relay_lanes_deadline(const struct relay *r)
{
	uint64_t t = UINT64_MAX;

	/* a claim came into a lane that may have had its turn */
	if (r->moved)
		return r->now;
	for (const struct relay_lane *l = r->lane; l; l = l->next)
		if (l->first && l->nconn && !l->ndial && l->first->since + RELAY_WAITED_MS > r->now &&
		    l->first->since + RELAY_WAITED_MS < t)
			t = l->first->since + RELAY_WAITED_MS;
	for (const struct relay_dest *d = r->dest; d; d = d->next)
		if (d->known && !d->gone && d->nconn != d->told_conns && d->told + RELAY_STATE_MS > r->now &&
		    d->told + RELAY_STATE_MS < t)
			t = d->told + RELAY_STATE_MS;
	for (const struct relay_dest *d = r->dest; d; d = d->next)
		if (d->tls && !d->nconn && d->used + RELAY_CONTEXT_MS < t)
			t = d->used + RELAY_CONTEXT_MS;
	return t;
}
