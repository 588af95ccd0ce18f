/* What happens on a connection: SMTP and AUTH. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "role/relay_inside.h"

/* ---- the beginning --------------------------------------------------------------------- */

/* RFC 5321 4.1.3: one without a name says its address. */
static void
own_name(struct relay_conn *c)
{
	struct sockaddr_storage s = {0};
	socklen_t n = sizeof s;
	char a[INET6_ADDRSTRLEN] = "127.0.0.1";

	if (*c->r->host) {
		memcpy(c->host, c->r->host, sizeof c->host);
		return;
	}
	if (getsockname(c->fd, (struct sockaddr *)&s, &n))
		s.ss_family = AF_UNSPEC;
	if (s.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&s)->sin6_addr, a, sizeof a);
	else if (s.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&s)->sin_addr, a, sizeof a);
	snprintf(c->host, sizeof c->host, "[%s%s]", s.ss_family == AF_INET6 ? "IPv6:" : "", a);
}

void
relay_session_begin(struct relay_conn *c)
{
	const struct relay_dest *d = c->lane->dest;
	const struct relay_endpoint *e = &d->endpoint[c->endpoint];
	struct smtp_client_options o = {.host = c->host};
	struct relay_cause cause = {.fate = RELAY_DEFERRED, .text = "no memory for a session"};

	switch (e->tls) {
	case POLICY_TLS_NONE:
		o.tls = c->clear ? SMTP_TLS_NONE : SMTP_TLS_MAY;
		break;
	case POLICY_TLS_STARTTLS:
		o.tls = SMTP_TLS_STARTTLS;
		break;
	case POLICY_TLS_IMPLICIT:
		o.tls = SMTP_TLS_IMPLICIT;
		break;
	case POLICY_TLS_FORBIDDEN:
		o.tls = SMTP_TLS_NONE;
		break;
	}
	if (c->lane->credential && d->auth == POLICY_AUTH_PASSWORD)
		o.auth = SMTP_AUTH_REQUIRED;
	/* An endpoint whose policy asks for no TLS and for AUTH: by a mechanism that does not show the
	   password (sasl_choose), or not at all. */
	o.auth_in_clear = e->tls == POLICY_TLS_NONE || e->tls == POLICY_TLS_FORBIDDEN;
	own_name(c);
	c->c = smtp_client_new(&o);
	if (!c->c) {
		relay_conn_failed(c, &cause, false);
		return;
	}
	c->at = CONN_OPEN;
	c->born = c->r->now;
	smtp_client_start(c->c, c->r->now);
	c->again = true;
}

static void
went_live(struct relay_conn *c)
{
	struct relay_lane *l = c->lane;
	struct relay_dest *d = l->dest;
	struct relay_endpoint *e = &d->endpoint[c->endpoint];
	char words[RELAY_WORDS];
	unsigned before = 0;

	c->at = CONN_LIVE;
	c->r->count.live++;
	d->far = c->born && c->r->now - c->born >= RELAY_FAR_MS;
	l->ndial--;
	d->ndial--;
	c->born = c->used = c->r->now;
	e->back = 0;
	e->fails = 0;
	l->back = 0;
	l->fails = 0;
	l->proved = true;
	while (before < c->endpoint && !d->endpoint[before].fails)
		before++;
	if (before < c->endpoint) {
		snprintf(words, sizeof words, "port %u serves, for port %u does not: %.400s", e->port,
		    d->endpoint[before].port, d->endpoint[before].why);
		relay_dest_state(d, true, d->endpoint[before].alarm, words);
	} else if (!c->outside) {
		relay_dest_state(d, true, false, "");
	} else {
		relay_dest_state(d, true, true, d->text);
	}
}

/* ---- TLS and AUTH ----------------------------------------------------------------------- */

static void
cut(struct relay_conn *c, const char *why)
{
	c->cut = true;
	snprintf(c->why, sizeof c->why, "%s", why);
	smtp_client_abort(c->c);
}

/* False: it has to wait for the handshake. */
static bool
starttls(struct relay_conn *c)
{
	const struct relay_dest *d = c->lane->dest;

	if (!c->tls) {
		c->tls = tls_new(c->lane->tls ? c->lane->tls : d->tls, d->host, d->pinned, d->npinned);
		if (!c->tls)
			cut(c, "no memory for TLS");
		c->again = true;
		return !c->tls;
	}
	if (tls_state(c->tls) == TLS_SHAKING)
		return false;
	if (tls_state(c->tls) == TLS_READY) {
		smtp_client_tls_done(c->c, true, c->r->now);
		return true;
	}
	snprintf(c->why, sizeof c->why, "%s", tls_state(c->tls) == TLS_FAILED ? tls_why(c->tls) :
	    "it was ended");
	smtp_client_tls_done(c->c, false, c->r->now);
	return true;
}

static void
auth(struct relay_conn *c)
{
	const struct relay_dest *d = c->lane->dest;
	struct relay_cred *cred = relay_cred_find(c->r, c->lane->credential);
	bool encrypted = c->tls && tls_state(c->tls) == TLS_READY, bound;
	const char *mechanism = NULL, *first = NULL;
	uint8_t binding[32];

	bound = encrypted && tls_binding(c->tls, binding);
	if (cred && cred->c)
		mechanism = sasl_choose(smtp_client_capable(c->c)->mechanisms, cred->c, encrypted, bound);
	if (mechanism && sasl_new(mechanism, cred->c, d->host, d->endpoint[c->endpoint].port,
	    bound ? binding : NULL, &c->sasl)) {
		cut(c, "the AUTH mechanism could not be begun");
		return;
	}
	if (!mechanism) {
		snprintf(c->why, sizeof c->why, "it offers %.200s%s", smtp_client_capable(c->c)->mechanisms,
		    encrypted ? "" : ", and without TLS none may be used that shows the password");
		smtp_client_auth(c->c, NULL, NULL, c->r->now);
		return;
	}
	cred->refs++;
	c->cred = cred;
	if (sasl_is_first(c->sasl) && !(first = sasl_step(c->sasl, NULL))) {
		cut(c, "the AUTH mechanism could not be begun");
		return;
	}
	smtp_client_auth(c->c, mechanism, first, c->r->now);
}

static void
challenge(struct relay_conn *c, const char *text)
{
	smtp_client_auth_line(c->c, sasl_step(c->sasl, text), c->r->now);
}

/* ---- a message --------------------------------------------------------------------------- */

static void
tell_session(const struct relay_conn *c, struct relay_claim *m)
{
	m->connected = true;
	m->dsn = smtp_client_capable(c->c)->dsn;
	snprintf(m->peer, sizeof m->peer, "%s", c->peer);
	snprintf(m->tls, sizeof m->tls, "%s", c->tls ? tls_version(c->tls) : "");
	snprintf(m->cipher, sizeof m->cipher, "%s", c->tls ? tls_cipher(c->tls) : "");
}

/* One that this relay does not take as it is: its end, or NULL and it is formed. */
static const char *
unfit(struct relay_conn *c, struct relay_claim *m, unsigned *fate)
{
	enum smtp_client_fit fit;
	const char *why;

	relay_claim_form(m, smtp_client_capable(c->c));
	fit = smtp_client_fits(c->c, &m->m);
	*fate = RELAY_FAILED;
	if (fit == SMTP_FIT_SEVEN) {
		why = relay_claim_seven(c->r, m);
		if (why) {
			snprintf(m->text, sizeof m->text, "5.6.3 the relay does not take 8-bit content, and it "
			    "cannot be converted: %.300s", why);
			return m->text;
		}
		fit = smtp_client_fits(c->c, &m->m);
	}
	switch (fit) {
	case SMTP_FIT_OK:
		return NULL;
	case SMTP_FIT_UTF8:
		return "5.6.7 the relay does not take internationalized addresses (SMTPUTF8)";
	case SMTP_FIT_SIZE:
		snprintf(m->text, sizeof m->text, "5.3.4 the message has %llu bytes, and the relay takes "
		    "no more than %llu", (unsigned long long)m->s->size,
		    (unsigned long long)smtp_client_capable(c->c)->size_most);
		return m->text;
	case SMTP_FIT_SEVEN:
	case SMTP_FIT_LINE:
		break;
	}
	*fate = RELAY_HELD;
	return "an address or parameter of the message cannot be said in SMTP: a mistake of the forwarder";
}

static bool
is_spent(const struct relay_conn *c)
{
	const struct relay_dest *d = c->lane->dest;

	return c->r->stopping || d->gone || smtp_client_spent(c->c) || c->messages >= d->most_messages ||
	    c->born + d->most_ms <= c->r->now || !c->born;
}

/* All places are taken, and another lane waits without any: this one gives one up. */
static bool
sheds(const struct relay_conn *c)
{
	if (c->r->nconn < RELAY_MOST_CONNS || c->lane->nconn < 2)
		return false;
	for (const struct relay_lane *l = c->r->lane; l; l = l->next)
		if (l->first && !l->nconn && l->back <= c->r->now)
			return true;
	return false;
}

void
relay_session_leave(struct relay_conn *c)
{
	assert(relay_session_ready(c));
	smtp_client_quit(c->c, c->r->now);
	c->at = CONN_LEAVES;
	c->again = true;
}

/* Takes the next message. False: there is none, or none more. */
static bool
take(struct relay_conn *c)
{
	struct relay_claim *m;
	const char *why;
	unsigned fate;

	if (is_spent(c) || sheds(c) ||
	    (!c->nclaim && !c->lane->first && c->used + RELAY_IDLE_MS <= c->r->now)) {
		relay_session_leave(c);
		return false;
	}
	m = relay_lane_next(c->lane);
	if (!m)
		return false;
	why = unfit(c, m, &fate);
	if (why) {
		tell_session(c, m);
		relay_claim_over(c->r, m, fate, 0, why);
		return true;
	}
	m->at = CLAIM_TRAVELS;
	m->conn = c;
	c->claim[c->nclaim++] = m;
	c->messages++;
	smtp_client_send(c->c, &m->m, c->r->now);
	return true;
}

/* ---- replies ------------------------------------------------------------------------------ */

static void
line_of(char out[RELAY_WORDS], const struct smtp_reply *reply)
{
	snprintf(out, RELAY_WORDS, "%.500s", reply->text ? reply->text : "");
}

/* A refusal that tells of us, not of the message. */
static void
look_at(struct relay_conn *c, unsigned code, const char *text)
{
	char words[RELAY_WORDS];

	if (relay_fate_of_code(code) != RELAY_HELD)
		return;
	snprintf(words, sizeof words, "%.80s refuses to take mail from us: %u %.380s", c->peer, code, text);
	relay_dest_state(c->lane->dest, false, true, words);
}

static void
on_rcpt(struct relay_conn *c, struct relay_claim *m, size_t k, const struct smtp_reply *reply)
{
	struct relay_one *o;
	char text[RELAY_WORDS];

	assert(k < m->m.nrcpt);
	/* after a refused MAIL it means nothing */
	if (m->code / 100 != 2)
		return;
	o = &m->one[m->which[k]];
	line_of(text, reply);
	if (reply->code / 100 == 2) {
		o->good = true;
		m->ngood++;
		return;
	}
	/* too many recipients (RFC 5321 4.5.3.1.10): these go in another transaction */
	if ((reply->code == 452 || reply->code == 552) && m->ngood)
		return;
	look_at(c, reply->code, text);
	relay_claim_settle(m, m->which[k], relay_fate_of_code(reply->code), reply->code, text);
}

static void
on_reply(struct relay_conn *c, const struct smtp_client_event *e)
{
	struct relay_claim *m = e->message ? e->message->arg : NULL;

	if (c->probe)
		relay_probe_reply(c, e);
	switch (e->stage) {
	case SMTP_AT_RCPT:
		if (m)
			on_rcpt(c, m, e->rcpt, e->reply);
		break;
	case SMTP_AT_MAIL:
	case SMTP_AT_DATA:
	case SMTP_AT_DOT:
		/* after a refused MAIL the replies to what was pipelined behind it (503) mean nothing */
		if (!m || (e->stage != SMTP_AT_MAIL && m->code / 100 != 2 && m->code != 354))
			break;
		m->code = e->reply->code;
		line_of(m->text, e->reply);
		if (e->stage == SMTP_AT_MAIL)
			look_at(c, m->code, m->text);
		break;
	case SMTP_AT_AUTH:
		c->proved = e->reply->code / 100 == 2 && c->sasl && sasl_is_proved(c->sasl);
		if (e->reply->code / 100 == 2 && !c->proved)
			cut(c, "the relay took the credential without a proof that it knows it");
		break;
	case SMTP_AT_GREETING:
	case SMTP_AT_EHLO:
	case SMTP_AT_HELO:
	case SMTP_AT_STARTTLS:
	case SMTP_AT_TLS:
	case SMTP_AT_CONTENT:
	case SMTP_AT_RSET:
	case SMTP_AT_QUIT:
	case SMTP_AT_IDLE:
		break;
	}
}

static void
release(struct relay_conn *c)
{
	c->claim[0] = c->claim[1];
	c->nclaim--;
	c->used = c->r->now;
}

/* Some count the messages of a session and say so only by a 452 to MAIL (OpenSMTPD after 100): that is a word on
 * the connection, which another asks again, once. */
static bool
is_of_session(struct relay_conn *c, struct relay_claim *m, enum smtp_client_outcome how)
{
	if (how != SMTP_OUT_MAIL || m->code != 452 || !c->took || m->canceled || ++m->tries >= RELAY_TRIES)
		return false;
	c->born = 0;
	return true;
}

static void
on_done(struct relay_conn *c, const struct smtp_client_event *e)
{
	struct relay_claim *m = e->message->arg;
	unsigned fate = relay_fate_of_code(m->code);
	uint32_t settled = 0;

	assert(c->nclaim && c->claim[0] == m);
	release(c);
	tell_session(c, m);
	c->took |= e->outcome == SMTP_OUT_SENT;
	c->r->count.sent += e->outcome == SMTP_OUT_SENT;
	c->r->count.refused += e->outcome != SMTP_OUT_SENT;
	if (is_of_session(c, m, e->outcome)) {
		relay_lane_put(c->r, m, true);
		return;
	}
	if (e->outcome != SMTP_OUT_SENT && fate == RELAY_DELIVERED)
		fate = RELAY_DEFERRED;
	for (size_t i = 0; i < m->m.nrcpt; i++) {
		uint32_t k = m->which[i];

		if (!m->one[k].settled && (e->outcome == SMTP_OUT_MAIL ||
		    (i < e->tried && m->one[k].good)))
			relay_claim_settle(m, k, fate, m->code, m->text);
		settled += m->one[k].settled;
	}
	/* each round settles somebody, or is the last */
	if (!settled || m->canceled || relay_claim_open(m) == m->s->nrcpt)
		relay_claim_over(c->r, m, RELAY_DEFERRED, m->code, m->text);
	else
		relay_lane_put(c->r, m, true);
}

/* ---- failures ------------------------------------------------------------------------------ */

/* One row for each: what it is called, whether people must look, what becomes of messages that
 * wait when it happens before the first of them. */
static const struct {
	const char *what;
	bool alarm, tls, ours;     /* ours: who we are was refused: no other endpoint will help */
	enum relay_fate fate;
} failure[] = {
	[SMTP_FAIL_GREETING] = {"refused the connection", .fate = RELAY_DEFERRED},
	[SMTP_FAIL_EHLO] = {"refused EHLO and HELO", .fate = RELAY_DEFERRED},
	[SMTP_FAIL_NO_TLS] = {"does not offer STARTTLS, which the policy requires", true, true, false,
	    RELAY_DEFERRED},
	[SMTP_FAIL_TLS] = {"TLS failed", true, true, false, RELAY_HELD},
	[SMTP_FAIL_INJECTED] = {"sent bytes between STARTTLS and TLS: an attack, or a broken relay", true,
	    true, false, RELAY_DEFERRED},
	[SMTP_FAIL_NO_AUTH] = {"offers no AUTH that can be used", true, false, true, RELAY_HELD},
	[SMTP_FAIL_AUTH_CLEAR] = {"would get the credential without TLS", true, false, true, RELAY_HELD},
	[SMTP_FAIL_AUTH] = {"refused the credential", true, false, true, RELAY_HELD},
	[SMTP_FAIL_UNASKED] = {"answered what was not asked", true, false, false, RELAY_DEFERRED},
	[SMTP_FAIL_NONSENSE] = {"answers nonsense", true, false, false, RELAY_DEFERRED},
	[SMTP_FAIL_ENDLESS] = {"answers without end", true, false, false, RELAY_DEFERRED},
	[SMTP_FAIL_SHUT] = {"closes the connection", .fate = RELAY_DEFERRED},
	[SMTP_FAIL_TIME] = {"does not answer in time", .fate = RELAY_DEFERRED},
	[SMTP_FAIL_GONE] = {"has gone", .fate = RELAY_DEFERRED},
	[SMTP_FAIL_CONTENT] = {"was given up", .fate = RELAY_DEFERRED},
	[SMTP_FAIL_MEMORY] = {"no memory for the session", .fate = RELAY_DEFERRED},
};

static void
cause_of(const struct relay_conn *c, const struct smtp_client_event *e, struct relay_cause *out)
{
	const char *reply = e->reply && e->reply->text ? e->reply->text : "";
	char code[16] = "";

	*out = (struct relay_cause){.fate = failure[e->why].fate, .alarm = failure[e->why].alarm,
	    .code = e->reply ? e->reply->code : 0};
	/* for now is not for good */
	if (out->code / 100 == 4)
		*out = (struct relay_cause){.fate = RELAY_DEFERRED, .code = out->code};
	else if (out->code / 100 == 5)
		out->alarm = true;
	/* a handshake that was only cut off says nothing of certificates */
	if (e->why == SMTP_FAIL_TLS && c->eof)
		*out = (struct relay_cause){.fate = RELAY_DEFERRED};
	if (out->code)
		snprintf(code, sizeof code, "%u ", out->code);
	snprintf(out->text, sizeof out->text, "%.80s %.200s (%s)%s%s%.200s", c->peer,
	    c->cut ? c->why : failure[e->why].what, smtp_stage_name(e->stage),
	    *reply || (*c->why && !c->cut) ? ": " : "", code,
	    *reply ? reply : c->cut ? "" : c->why);
	/* a reply of many lines is one cause: no line of it shall look like one of ours */
	for (char *p = out->text; (p = strchr(p, '\n')); p++)
		*p = ' ';
}

/* Who we are was refused: no connection by that credential for a while. */
static void
refused(struct relay_conn *c, const struct relay_cause *cause)
{
	struct relay_lane *l = c->lane;
	uint64_t ms = (uint64_t)RELAY_AUTH_BACK_MS << (l->fails < 5 ? l->fails : 5);

	if (l->back <= c->r->now) {
		l->back = c->r->now + (ms < RELAY_AUTH_BACK_MOST_MS ? ms : RELAY_AUTH_BACK_MOST_MS);
		l->fails++;
	}
	l->proved = false;
	l->cause = *cause;
	relay_dest_state(l->dest, false, cause->alarm, cause->text);
	relay_conn_dead(c);
	if (l->nconn == l->ndial)
		relay_lane_fail(c->r, l, cause);
}

/* A refusal that came before the end of the content (RFC 5321 4.1.1.4 knows none, but relays that see a size or a
 * header they do not take are that quick): it is the relay's word on the message, and the session's end. */
static bool
is_early(const struct smtp_client_event *e)
{
	return e->why == SMTP_FAIL_UNASKED && e->reply && !e->dot && e->lost[0] &&
	    (e->stage == SMTP_AT_CONTENT || e->stage == SMTP_AT_DOT) && e->reply->code / 100 > 3;
}

static void
early(struct relay_conn *c, struct relay_claim *m, const struct smtp_client_event *e)
{
	char text[RELAY_WORDS];

	c->r->count.refused++;
	tell_session(c, m);
	line_of(text, e->reply);
	for (size_t i = 0; i < m->m.nrcpt; i++)
		if (!m->one[m->which[i]].settled && m->one[m->which[i]].good)
			relay_claim_settle(m, m->which[i], relay_fate_of_code(e->reply->code), e->reply->code, text);
	if (m->canceled || relay_claim_open(m) == m->s->nrcpt)
		relay_claim_over(c->r, m, RELAY_DEFERRED, 0, "");
	else
		relay_lane_put(c->r, m, true);
}

/* A message whose connection was lost. */
static void
lost(struct relay_conn *c, struct relay_claim *m, const struct smtp_client_event *e, bool dot,
    const struct relay_cause *cause)
{
	char words[RELAY_WORDS];

	c->r->count.lost++;
	tell_session(c, m);
	if (m->canceled) {
		relay_claim_over(c->r, m, RELAY_DEFERRED, 0, "");
	} else if (dot && !(e->stage == SMTP_AT_DOT && cause->code)) {
		m->doubt = true;
		snprintf(words, sizeof words, "%.400s; the message may have arrived", cause->text);
		relay_claim_over(c->r, m, RELAY_DEFERRED, cause->code, words);
	} else if (e->why == SMTP_FAIL_CONTENT && !c->cut) {
		relay_claim_over(c->r, m, RELAY_FAILED, 0,
		    "5.6.0 the content has a CR, a LF or a NUL where none may be, and cannot be sent");
	} else if (!dot && (e->why == SMTP_FAIL_SHUT || e->why == SMTP_FAIL_GONE) && ++m->tries < RELAY_TRIES) {
		/* it was closed between two messages, most likely */
		if (relay_claim_open(m) < m->s->nrcpt)
			relay_lane_put(c->r, m, true);
		else
			relay_claim_over(c->r, m, RELAY_DEFERRED, 0, "");
	} else {
		relay_claim_over(c->r, m, RELAY_DEFERRED, cause->code, cause->text);
	}
}

static void
on_failed(struct relay_conn *c, const struct smtp_client_event *event)
{
	struct smtp_client_event e = *event;
	struct relay_cause cause;
	bool open = c->at == CONN_OPEN;

	cause_of(c, &e, &cause);
	if (c->probe) {
		relay_probe_failed(c, &e, cause.text);
		relay_conn_dead(c);
	} else if (open && c->cut && e.stage == SMTP_AT_AUTH) {
		cause.alarm = true;
		refused(c, &cause);
	} else if (open && failure[e.why].ours && cause.fate == RELAY_HELD) {
		refused(c, &cause);
	} else if (open) {
		relay_conn_failed(c, &cause, failure[e.why].tls);
	} else if (is_early(&e) && c->nclaim == 1) {
		c->nclaim = 0;
		early(c, c->claim[0], &e);
		relay_conn_dead(c);
	} else {
		if (cause.alarm || e.why == SMTP_FAIL_TIME)
			relay_dest_state(c->lane->dest, false, cause.alarm, cause.text);
		for (unsigned k = c->nclaim; k-- > 0;)
			lost(c, c->claim[k], &e, k == 0 && e.dot, &cause);
		c->nclaim = 0;
		relay_conn_dead(c);
	}
}

/* ---- the events ------------------------------------------------------------------------------ */

/* Content until the session takes no more. False: it has to be sent first. */
static bool
content(struct relay_conn *c, struct relay_claim *m)
{
	const struct smtp_client_event *e;
	char words[RELAY_WORDS];
	int err;

	if (m->canceled) {
		cut(c, "was left, for the message was canceled");
		return true;
	}
	err = relay_claim_content(c->r, m, c->c);
	if (err) {
		snprintf(words, sizeof words, "was left, for the message could not be read: %s",
		    strerror(-err));
		cut(c, words);
	}
	/* a session that failed of it has its say at once: nobody else would wake it */
	e = smtp_client_event(c->c);
	return err || m->ended || (e && e->is == SMTP_CLIENT_FAILED);
}

bool
relay_session_ready(const struct relay_conn *c)
{
	const struct smtp_client_event *e = c->at == CONN_LIVE ? smtp_client_event(c->c) : NULL;

	return e && e->is == SMTP_CLIENT_READY;
}

void
relay_session_run(struct relay_conn *c)
{
	const struct smtp_client_event *e;
	bool on = true;

	while (on && c->at >= CONN_OPEN && c->at != CONN_DEAD && (e = smtp_client_event(c->c))) {
		switch (e->is) {
		case SMTP_CLIENT_REPLY:
			on_reply(c, e);
			e = smtp_client_event(c->c);
			if (e && e->is == SMTP_CLIENT_REPLY)
				smtp_client_next(c->c, c->r->now);
			break;
		case SMTP_CLIENT_STARTTLS:
			on = starttls(c);
			break;
		case SMTP_CLIENT_AUTH:
			auth(c);
			break;
		case SMTP_CLIENT_CHALLENGE:
			challenge(c, e->challenge);
			break;
		case SMTP_CLIENT_READY:
			if (c->probe) {
				on = relay_probe_ready(c);
				break;
			}
			if (c->at == CONN_OPEN)
				went_live(c);
			on = take(c);
			break;
		case SMTP_CLIENT_CONTENT:
			on = content(c, e->message->arg);
			break;
		case SMTP_CLIENT_DONE:
			if (!c->probe)
				on_done(c, e);
			smtp_client_next(c->c, c->r->now);
			break;
		case SMTP_CLIENT_FAILED:
			on_failed(c, e);
			return;
		case SMTP_CLIENT_CLOSED:
			assert(!c->nclaim);
			relay_conn_dead(c);
			return;
		}
	}
}
