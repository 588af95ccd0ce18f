/*
 * What a probe has found, in words: a sentence that tells what is wrong and where, and what to do.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/units.h"
#include "role/relay_inside.h"

enum { WORDS = 700, SOON_DAYS = 21, CLOCK_WARN = 120, CLOCK_FAIL = 1800 };

struct telling {
	const struct relay *r;
	const struct relay_probe *p;
	const struct relay_check *k;
	struct doctor_list *out;
	int64_t now;               /* seconds since 1970 */
};

#define SAY(t, check, verdict, todo, ...) \
	doctor_add((t)->out, check, verdict, (t)->k->dest.name, todo, __VA_ARGS__)

static uint16_t
port_of(const struct relay_check *k, const struct relay_try *t)
{
	return k->dest.endpoint[t->endpoint].port;
}

static enum policy_tls
tls_of(const struct relay_check *k, const struct relay_try *t)
{
	return k->dest.endpoint[t->endpoint].tls;
}

/* Where it is another endpoint that serves, mail flows all the same. */
static enum doctor_verdict
how_bad(const struct relay_check *k)
{
	return k->good < k->dest.nendpoint ? DOCTOR_WARN : DOCTOR_FAIL;
}

static uint64_t
seconds_tried(const struct relay_try *t)
{
	return (t->until - t->began) / 1000;
}

/* ---- name --------------------------------------------------------------------------------- */

static void
found_name(struct telling *t)
{
	const struct relay_check *k = t->k;
	const struct relay_dest *d = &k->dest;
	char in[WORDS] = "", out[WORDS] = "", a[46], text[WORDS];
	size_t nin = 0, nout = 0;

	if (!k->ntry)
		return;
	if (!k->named || k->names.outcome == DNS_NOT_NOW) {
		snprintf(text, sizeof text, "look at the name servers in /etc/resolv.conf, and whether they can be reached: getent hosts "
		    "%.200s", d->host);
		SAY(t, DOCTOR_NAME, DOCTOR_FAIL, text, "the name %.200s cannot be looked up: %s", d->host, k->named && k->names.why ?
		    k->names.why : "no name server answers");
		return;
	}
	if (k->names.outcome != DNS_FOUND) {
		SAY(t, DOCTOR_NAME, DOCTOR_FAIL, "is `host:` of the relay spelt right in the policy? Else ask the relay's "
		    "operators for its name of today", "there is no address of the name %.200s in DNS", d->host);
		return;
	}
	for (unsigned i = 0; i < k->names.n; i++) {
		struct addr x = relay_addr_of(&k->names.address[i]);
		bool inside = addr_set_has(&d->ranges, x);
		char *to = inside ? in : out;
		size_t at = strlen(to), *n = inside ? &nin : &nout;

		addr_write(x, a);
		snprintf(to + at, WORDS - at, "%s%s", (*n)++ ? ", " : "", a);
	}
	if (nout) {
		snprintf(text, sizeof text, "if the relay has moved (ask its operators), add %.300s to `ranges:` of the relay "
		    "in the policy, then mailreevectl apply", out);
		SAY(t, DOCTOR_NAME, nin ? DOCTOR_WARN : DOCTOR_FAIL, text, "the name %.200s leads to %.300s, outside the "
		    "relay's `ranges`: %s", d->host, out, nin ? "never connected to" : "nothing is sent there");
		return;
	}
	if (d->literal)
		SAY(t, DOCTOR_NAME, DOCTOR_PASS, "", "the policy gives its address, %s, within its ranges", in);
	else
		SAY(t, DOCTOR_NAME, DOCTOR_PASS, "", "%.200s is %.300s, within its ranges", d->host, in);
}

/* ---- port ---------------------------------------------------------------------------------- */

static const char *
todo_of_errno(int err)
{
	switch (err) {
	case ECONNREFUSED:
		return "is the port right in the policy (`endpoints:`)? Else the relay is down, or a firewall refuses: see the "
		    "check `firewall`, then ask the relay's operators";
	case ENETUNREACH:
	case EHOSTUNREACH:
		return "this host has no way there, or a firewall says so: ip route get ADDRESS, then ask who runs the network";
	case EPERM:
	case EACCES:
		return "a rule or a security module of this host forbids it: see the check `firewall`";
	}
	return "something on the way swallows it, mostly a firewall: see the check `firewall`, then ask who runs the network "
	    "to let this host connect to that port";
}

static void
one_port(struct telling *t, const struct relay_try *x)
{
	const struct relay_check *k = t->k;
	unsigned port = port_of(k, x);

	if (!k->named || k->names.outcome != DNS_FOUND || (x->step == STEP_TCP && !*x->peer && !x->late)) {
		SAY(t, DOCTOR_PORT, DOCTOR_NOT, "", "%u: there is no address to connect to (see `name`)", port);
	} else if (x->step <= STEP_TCP && !x->failed) {
		SAY(t, DOCTOR_PORT, how_bad(k), todo_of_errno(ETIMEDOUT), "nothing answers at %s: no connection within %llu s",
		    x->peer, (unsigned long long)seconds_tried(x));
	} else if (x->step <= STEP_TCP) {
		SAY(t, DOCTOR_PORT, how_bad(k), todo_of_errno(x->err), "nothing answers at %s: %s", x->peer,
		    strerror(x->err));
	} else if (x->step == STEP_TALK && !x->spoke && x->late) {
		SAY(t, DOCTOR_PORT, how_bad(k), "is the port right in the policy, and is its `tls:`? (465 wants implicit, 587 "
		    "and 25 starttls.) Else the relay hangs: tell its operators", "%s takes the connection and then says "
		    "nothing for %llu s", x->peer, (unsigned long long)seconds_tried(x));
	} else if (x->failed && x->stage == SMTP_AT_GREETING && x->reply.code) {
		SAY(t, DOCTOR_PORT, x->reply.code / 100 == 4 ? DOCTOR_WARN : how_bad(k), "the relay tells why: ask its operators "
		    "to let this host in", "%s answers, and refuses us: %u %s", x->peer, x->reply.code, x->reply.text);
	} else if (x->failed && x->step == STEP_TALK && x->stage == SMTP_AT_GREETING) {
		SAY(t, DOCTOR_PORT, how_bad(k), "is it a mail server that answers there, and is `tls:` right in the policy? "
		    "(465 wants implicit, 587 and 25 starttls)", "%s", x->why);
	} else {
		SAY(t, DOCTOR_PORT, DOCTOR_PASS, "", "%u answers at %s, after %llu ms", port, x->peer,
		    (unsigned long long)(x->tcp - x->began));
	}
}

/* ---- tls ----------------------------------------------------------------------------------- */

static void
day_of(int64_t s, char out[32])
{
	time_t t = (time_t)s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, 32, "%Y-%m-%d", &tm))
		snprintf(out, 32, "a day that cannot be read");
}

static void
tls_stands(struct telling *t, const struct relay_try *x)
{
	int64_t days = (x->cert.until - t->now) / 86400;
	char until[32];

	day_of(x->cert.until, until);
	SAY(t, DOCTOR_TLS, days < SOON_DAYS ? DOCTOR_WARN : DOCTOR_PASS, days < SOON_DAYS ? "the relay's operators must "
	    "renew it before that day: mail waits from then on" : "", "%u: %s; the certificate is for %.200s, and valid "
	    "until %s (%lld day%s)", port_of(t->k, x), x->version, x->cert.names, until, (long long)days,
	    days == 1 ? "" : "s");
}

static void
tls_failed(struct telling *t, const struct relay_try *x)
{
	const struct relay_dest *d = &t->k->dest;
	enum doctor_verdict bad = tls_of(t->k, x) == POLICY_TLS_NONE ? DOCTOR_WARN : how_bad(t->k);
	char day[32], todo[WORDS];
	int64_t days;

	switch (x->fault) {
	case TLS_FAULT_EXPIRED:
		days = (t->now - x->cert.until) / 86400;
		day_of(x->cert.until, day);
		SAY(t, DOCTOR_TLS, bad, "the relay's operators must renew it; until then mail waits. (If that day is not over, "
		    "this host's clock is wrong: date)", "the certificate of %s expired on %s, %lld day%s ago", x->peer, day,
		    (long long)days, days == 1 ? "" : "s");
		break;
	case TLS_FAULT_NOT_YET:
		day_of(x->cert.from, day);
		SAY(t, DOCTOR_TLS, bad, "is this host's clock right? (date) Else the relay's operators must look at their "
		    "certificate", "the certificate of %s begins to be valid on %s", x->peer, day);
		break;
	case TLS_FAULT_NAME:
		snprintf(todo, sizeof todo, "if that is the relay's name now, write it as `host:` of the relay in the policy, or as "
		    "`tls: {names: [...]}` where it is to bear another; else it is another server that answers");
		SAY(t, DOCTOR_TLS, bad, todo, "the certificate of %s is for %.200s, not for %.200s", x->peer,
		    *x->cert.names ? x->cert.names : "nobody", d->npinned ? d->pinned[0] : d->host);
		break;
	case TLS_FAULT_ROOT:
		snprintf(todo, sizeof todo, "get the root of that authority from the relay's operators and name its file as "
		    "`tls: {ca: FILE}` of the relay in the policy%s%.200s%s", d->ca ? " (now " : "", d->ca ? d->ca : "",
		    d->ca ? ")" : "; without one the system's roots hold");
		SAY(t, DOCTOR_TLS, bad, todo, "the certificate of %s is not vouched for by anybody we trust: %s%.150s (%.150s)",
		    x->peer, x->cert.self ? "it is self-signed, " : "its issuer is ", x->cert.issuer, x->tls_why);
		break;
	case TLS_FAULT_VERSION:
		snprintf(todo, sizeof todo, "the relay's operators must offer TLS %s; older versions are never spoken%s",
		    d->tls_minimum == 13 ? "1.3" : "1.2 or 1.3", d->tls_minimum == 13 ? " (the policy says `minimum: \"1.3\"`; "
		    "it could say \"1.2\")" : "");
		SAY(t, DOCTOR_TLS, bad, todo, "%s speaks no TLS of version %s: %.150s", x->peer,
		    d->tls_minimum == 13 ? "1.3" : "1.2 or newer", x->tls_why);
		break;
	case TLS_FAULT_CIPHERS:
		SAY(t, DOCTOR_TLS, bad, "see the check `ciphers`", "%s and we have no cipher in common", x->peer);
		break;
	case TLS_FAULT_OURS:
		SAY(t, DOCTOR_TLS, bad, "is our certificate the one that is registered with the relay, and not expired? The "
		    "relay's operators see why they refuse it", "%s refuses us for our own certificate: %.150s", x->peer,
		    x->tls_why);
		break;
	case TLS_FAULT_CUT:
	case TLS_FAULT_OTHER:
	case TLS_FAULT_NONE:
		SAY(t, DOCTOR_TLS, bad, "is the kind right in the policy? (465 wants `tls: implicit`, 587 and 25 `tls: starttls`.) "
		    "Else ask the relay's operators", "TLS with %s fails: %.200s", x->peer, x->fault == TLS_FAULT_CUT ?
		    "the other side closes the connection" : *x->tls_why ? x->tls_why : x->why);
		break;
	}
}

static void
one_tls(struct telling *t, const struct relay_try *x)
{
	enum policy_tls tls = tls_of(t->k, x);
	unsigned port = port_of(t->k, x);

	if (tls == POLICY_TLS_FORBIDDEN) {
		SAY(t, DOCTOR_TLS, DOCTOR_NOT, "", "%u: the policy forbids TLS there: mail goes in clear", port);
	} else if (x->tls_over) {
		tls_stands(t, x);
	} else if (x->step <= STEP_TCP || (!x->spoke && !x->tls_begun)) {
		SAY(t, DOCTOR_TLS, DOCTOR_NOT, "", "%u: it does not answer (see `port`)", port);
	} else if (x->tls_begun && x->late) {
		SAY(t, DOCTOR_TLS, how_bad(t->k), "is the kind right in the policy? (465 wants `tls: implicit`, 587 and 25 "
		    "`tls: starttls`.) Else the relay hangs: tell its operators", "TLS with %s does not come about within %llu s",
		    x->peer, (unsigned long long)seconds_tried(x));
	} else if (x->tls_begun) {
		tls_failed(t, x);
	} else if (x->failed && x->what == SMTP_FAIL_NO_TLS) {
		SAY(t, DOCTOR_TLS, how_bad(t->k), "ask the relay's operators; where they offer none by intent the policy has to say "
		    "so (`tls: none`), and then passwords and mail can be read on the way", "%s offers no STARTTLS, which the "
		    "policy wants%s%.150s", x->peer, x->reply.code ? ": " : "", x->reply.code ? x->reply.text : "");
	} else if (x->failed && x->what == SMTP_FAIL_INJECTED) {
		SAY(t, DOCTOR_TLS, DOCTOR_FAIL, "somebody between, or a broken relay: tell its operators, and send no mail by it",
		    "%s sends bytes before TLS that would count as if they had come by it", x->peer);
	} else if (x->step == STEP_LIVE) {
		SAY(t, DOCTOR_TLS, DOCTOR_PASS, "", "%u: it offers none, and the policy wants none: mail goes in clear", port);
	} else {
		SAY(t, DOCTOR_TLS, DOCTOR_NOT, "", "%u: it did not come so far (see `port`)", port);
	}
}

/* ---- ciphers -------------------------------------------------------------------------------- */

static void
found_ciphers(struct telling *t)
{
	const struct relay_dest *d = &t->k->dest;
	const struct relay_try *good = NULL, *bad = NULL;
	char todo[WORDS];

	for (size_t i = 0; i < t->k->ntry; i++) {
		const struct relay_try *x = &t->k->try[i];

		good = !good && x->tls_over ? x : good;
		bad = !bad && x->fault == TLS_FAULT_CIPHERS ? x : bad;
	}
	if (bad) {
		snprintf(todo, sizeof todo, d->ciphers ? "the policy's `ciphers` are %.300s: add one that the relay has (its "
		    "operators know), or leave the list out" : "the relay has only old ciphers (or keys too short): its operators "
		    "must offer those of RFC 9325", d->ciphers);
		SAY(t, DOCTOR_CIPHERS, how_bad(t->k), todo, "%s takes none of the ciphers that we offer: %.150s", bad->peer,
		    bad->tls_why);
	} else if (good) {
		SAY(t, DOCTOR_CIPHERS, DOCTOR_PASS, "", "%s, %s", good->cipher, d->ciphers ? "of the policy's list" :
		    "OpenSSL's choice, for the policy names none");
	} else {
		SAY(t, DOCTOR_CIPHERS, DOCTOR_NOT, "", "no TLS came about (see `tls`)");
	}
}

/* ---- auth ------------------------------------------------------------------------------------- */

/* Of the credential of the lane; its try, where it came to one. */
static void
one_auth(struct telling *t, const struct relay_lane *l, const struct relay_cause *unfit, const struct relay_try *x)
{
	const char *name = l->credential;
	char todo[WORDS];

	snprintf(todo, sizeof todo, "put the user and password that the relay's operators gave you into the file of the credential "
	    "'%.100s' (lines `user: ...` and `password: ...`), then mailreevectl apply", name);
	if (*unfit->text) {
		/* not the relay's word: what is wrong with the file, its mode perhaps, or with our side of TLS */
		SAY(t, DOCTOR_AUTH, DOCTOR_FAIL, strncmp(unfit->text, "TLS", 3) ? "see the check `credential`" :
		    "mend the relay's `tls:` in the policy, then mailreevectl apply", "%.400s", unfit->text);
	} else if (!x) {
		SAY(t, DOCTOR_AUTH, DOCTOR_NOT, "", "credential '%.100s': no endpoint is well", name);
	} else if (x->step == STEP_LIVE) {
		SAY(t, DOCTOR_AUTH, DOCTOR_PASS, "", "the credential '%.100s' is accepted at port %u", name, port_of(t->k, x));
	} else if (x->failed && x->what == SMTP_FAIL_AUTH && x->auth.code) {
		SAY(t, DOCTOR_AUTH, x->auth.code / 100 == 4 ? DOCTOR_WARN : DOCTOR_FAIL, x->auth.code / 100 == 4 ?
		    "the relay cannot say now: try again in a while" : todo, "the relay refuses the credential '%.100s': %u %.200s",
		    name, x->auth.code, x->auth.text);
	} else if (x->failed && (x->what == SMTP_FAIL_NO_AUTH || x->what == SMTP_FAIL_AUTH_CLEAR)) {
		SAY(t, DOCTOR_AUTH, DOCTOR_FAIL, "does the relay want a password at this port at all? Then its operators must offer "
		    "one of SCRAM, CRAM-MD5, PLAIN, LOGIN (for a token OAUTHBEARER, XOAUTH2); else `auth: none`",
		    "%s offers no AUTH that can be used with the credential '%.100s'%s%.150s", x->peer, name,
		    *x->can.mechanisms ? ": it has " : "", x->can.mechanisms);
	} else {
		SAY(t, DOCTOR_AUTH, DOCTOR_FAIL, todo, "the credential '%.100s' could not be proved: %.300s", name,
		    x->failed ? x->why : "the relay does not answer in time");
	}
}

static const struct relay_try *
full_of(const struct relay_check *k, const struct relay_lane *l)
{
	for (size_t i = k->nfirst; i < k->ntry; i++)
		if (k->try[i].lane == l)
			return &k->try[i];
	return NULL;
}

static void
found_auth(struct telling *t)
{
	const struct relay_check *k = t->k;
	const struct relay_try *x;

	if (k->dest.auth == POLICY_AUTH_NONE) {
		SAY(t, DOCTOR_AUTH, DOCTOR_NOT, "", "the policy says `auth: none`");
		return;
	}
	for (size_t i = 1; i < k->nlane; i++)
		one_auth(t, &k->lane[i], &k->unfit[i], full_of(k, &k->lane[i]));
	if (k->dest.auth != POLICY_AUTH_CERTIFICATE || !k->lane[0].credential)
		return;
	x = k->good < k->dest.nendpoint ? &k->try[k->good] : NULL;
	if (*k->unfit[0].text)
		SAY(t, DOCTOR_AUTH, DOCTOR_FAIL, "see the check `credential`", "%.400s", k->unfit[0].text);
	else if (x)
		SAY(t, DOCTOR_AUTH, DOCTOR_PASS, "", "our certificate '%.100s' is accepted at port %u", k->lane[0].credential,
		    port_of(k, x));
	else
		SAY(t, DOCTOR_AUTH, DOCTOR_NOT, "", "no endpoint is well (see `tls`)");
}

/* ---- senders ------------------------------------------------------------------------------------ */

/* What was said to the sender, by the kindest of the credentials. */
static const struct relay_answer *
said_to(const struct relay_check *k, size_t i)
{
	const struct relay_answer *a = NULL;

	for (size_t n = k->nfirst; n < k->ntry; n++) {
		const struct relay_answer *x = &k->try[n].said[i];

		if (x->code && (!a || x->code / 100 == 2))
			a = x;
	}
	return a;
}

static void
found_senders(struct telling *t)
{
	const struct relay_want *w = t->k->want;
	char taken[WORDS] = "";
	size_t at = 0, n = 0;

	if (!w->nsender) {
		SAY(t, DOCTOR_SENDERS, DOCTOR_NOT, "", "no registered application that sends by this relay names a sender");
		return;
	}
	for (size_t i = 0; i < w->nsender; i++) {
		const struct relay_sender *s = &w->sender[i];
		const struct relay_answer *a = said_to(t->k, i);
		char todo[WORDS];

		if (!a)
			continue;
		n++;
		if (a->code / 100 == 2) {
			if (at < WORDS - 300)
				at += (size_t)snprintf(taken + at, WORDS - at, "%s%.100s%s%.100s%s", at ? ", " : "", s->envelope,
				    s->header ? " (From: " : "", s->header ? s->header : "", s->header ? ")" : "");
			continue;
		}
		snprintf(todo, sizeof todo, "ask the relay's operators to register %.200s for this host, or name another under "
		    "`senders` of the application %.100s", s->envelope, s->application);
		SAY(t, DOCTOR_SENDERS, a->code / 100 == 4 ? DOCTOR_WARN : s->pattern ? DOCTOR_WARN : DOCTOR_FAIL, todo,
		    "the relay does not take the sender %.200s of the application %.100s: %u %.200s", s->envelope, s->application,
		    a->code, a->text);
	}
	if (*taken)
		SAY(t, DOCTOR_SENDERS, DOCTOR_PASS, "", "%s: taken at MAIL (what it thinks of the From field it tells only when a "
		    "message comes)", taken);
	if (!n)
		SAY(t, DOCTOR_SENDERS, DOCTOR_NOT, "", "the relay did not come so far (see the checks above)");
}

/* ---- our address ------------------------------------------------------------------------------- */

static bool
is_loopback(struct addr a)
{
	return a.family == ADDR_V4 ? a.n >> 24 == 127 : a.n == 1;
}

/* RFC 1918, RFC 6598, RFC 4193, and those of a link: nobody outside sees them. */
static bool
is_private(struct addr a)
{
	uint32_t x = (uint32_t)a.n;

	if (a.family == ADDR_V6)
		return a.n >> 121 == 0xfc >> 1 || a.n >> 118 == 0xfe80 >> 6;
	return x >> 24 == 10 || x >> 20 == (172 << 4 | 1) || x >> 16 == (192 << 8 | 168) ||
	    x >> 22 == (100 << 2 | 1) || x >> 16 == (169 << 8 | 254);
}

static bool
peer_is_private(const struct relay_check *k)
{
	for (unsigned i = 0; i < k->names.n; i++) {
		struct addr a = relay_addr_of(&k->names.address[i]);

		if (!is_private(a) && !is_loopback(a))
			return false;
	}
	return true;
}

/* An application that is registered for other addresses; NULL: none. */
static const struct relay_place *
stranger(const struct relay_want *w, struct addr a)
{
	for (size_t i = 0; i < w->nplace; i++) {
		const struct relay_place *p = &w->place[i];
		bool inside = false;

		if (p->identity != POLICY_ID_CIDR)
			continue;
		/* one of its places is enough */
		for (size_t n = 0; n < w->nplace; n++)
			inside = inside || (!strcmp(w->place[n].application, p->application) &&
			    (w->place[n].identity != POLICY_ID_CIDR || addr_set_has(&w->place[n].set, a)));
		if (!inside)
			return p;
	}
	return NULL;
}

static void
found_address(struct telling *t)
{
	const struct relay_check *k = t->k;
	const struct relay_own *o = k->own == SIZE_MAX ? NULL : &t->p->own[k->own];
	const struct relay_place *p;
	char text[46], todo[WORDS];
	const char *by = k->seen ? "the relay sees us as" : "we send from";
	struct addr a;

	if (!o) {
		SAY(t, DOCTOR_ADDRESS, DOCTOR_NOT, "", "no connection came about (see `port`)");
		return;
	}
	if (k->dest.auth == POLICY_AUTH_CERTIFICATE) {
		SAY(t, DOCTOR_ADDRESS, DOCTOR_NOT, "", "our certificate says who we are, from wherever we send (COR-17)");
		return;
	}
	a = relay_addr_of(&o->address);
	addr_write(a, text);
	/* a relay on this host sends on from wherever it does */
	p = is_loopback(a) ? NULL : stranger(k->want, a);
	if (!k->want->everybody && !addr_set_has(&k->want->clients, a)) {
		snprintf(todo, sizeof todo, "send from an address that the relay lets in (route, NAT), or ask its operators to let %s "
		    "in; then say so under `clients:` of the relay", text);
		SAY(t, DOCTOR_ADDRESS, DOCTOR_FAIL, todo, "%s %s, and that is none of the relay's `clients`", by, text);
	} else if (p) {
		snprintf(todo, sizeof todo, "register %s with the relay's operators, then add it under `locations:` of the "
		    "application; or send from the address that is registered (route, NAT)", text);
		SAY(t, DOCTOR_ADDRESS, DOCTOR_FAIL, todo, "%s %s, and the application %.100s is registered for other addresses "
		    "(location %.100s)", by, text, p->application, p->name);
	} else if (!k->seen && is_private(a) && !peer_is_private(k)) {
		SAY(t, DOCTOR_ADDRESS, DOCTOR_WARN, "ask the relay's operators which address they see, and have that one registered",
		    "we send from %s, which nobody outside sees: a NAT puts another in its place, and the relay does not tell which",
		    text);
	} else {
		SAY(t, DOCTOR_ADDRESS, DOCTOR_PASS, "", "%s %s%s", by, text, is_loopback(a) ? ": it is on this host" :
		    k->seen ? "" : " (the relay does not tell what it sees)");
	}
}

/* ---- size ----------------------------------------------------------------------------------------- */

static void
found_size(struct telling *t)
{
	const struct policy_size *s = &t->k->want->size;
	uint64_t most = s->bytes - (s->set && s->strict);
	const struct relay_try *x = NULL;
	char a[32], b[32], todo[WORDS];

	for (size_t i = t->k->ntry; i-- > 0 && !(x && x->can.esmtp);)
		x = &t->k->try[i];
	if (!x || !x->can.esmtp) {
		SAY(t, DOCTOR_SIZE, DOCTOR_NOT, "", "the relay was not heard (see `port`)");
	} else if (!x->can.size || !x->can.size_most) {
		SAY(t, DOCTOR_SIZE, x->can.size ? DOCTOR_PASS : DOCTOR_NOT, "", "the relay announces no limit%s%s",
		    s->set ? "; the policy's is " : "", s->set ? units_size(s->bytes, a) : "");
	} else if (!s->set) {
		snprintf(todo, sizeof todo, "write `accepts: {message-size: up to %s}` at the relay in the policy, so that a program is told "
		    "at once", units_size(x->can.size_most, a));
		SAY(t, DOCTOR_SIZE, DOCTOR_WARN, todo, "the relay takes messages of at most %s, and the policy names no limit: "
		    "larger ones come back as reports", units_size(x->can.size_most, a));
	} else if (x->can.size_most < most) {
		snprintf(todo, sizeof todo, "write `message-size: up to %s` under `accepts:` of the relay in the policy, or ask its "
		    "operators for more", units_size(x->can.size_most, a));
		SAY(t, DOCTOR_SIZE, DOCTOR_FAIL, todo, "the relay takes messages of at most %s, and the policy promises %s: those "
		    "between come back as reports", units_size(x->can.size_most, a), units_size(s->bytes, b));
	} else {
		SAY(t, DOCTOR_SIZE, DOCTOR_PASS, "", "the relay takes %s, the policy %s%s", units_size(x->can.size_most, a),
		    s->strict ? "less than " : "", units_size(s->bytes, b));
	}
}

/* ---- registration in DNS ----------------------------------------------------------------------------- */

/* The host name by which an application is registered; *must: its address has to be in DNS. */
static const char *
host_of(const struct relay_want *w, bool *must)
{
	const char *host = NULL;

	*must = false;
	for (size_t i = 0; i < w->nplace; i++) {
		*must = *must || w->place[i].registered || w->place[i].identity == POLICY_ID_HOSTNAME;
		if (w->place[i].identity == POLICY_ID_HOSTNAME)
			host = w->place[i].host;
	}
	return host;
}

static void
found_dns(struct telling *t)
{
	const struct relay_check *k = t->k;
	const struct relay_own *o = k->own == SIZE_MAX ? NULL : &t->p->own[k->own];
	bool must, named = false;
	const char *host = host_of(k->want, &must);
	char text[46], todo[WORDS];
	struct addr a;

	if (!o || is_loopback(a = relay_addr_of(&o->address))) {
		SAY(t, DOCTOR_DNS, DOCTOR_NOT, "", "%s", o ? "the relay is on this host" :
		    "no connection came about (see `port`)");
		return;
	}
	addr_write(a, text);
	snprintf(todo, sizeof todo, "ask who keeps your DNS for a name of %s (a PTR record) and for that name's address, %s (%s)", text,
	    text, a.family == ADDR_V4 ? "an A record" : "an AAAA record");
	for (unsigned i = 0; host && i < o->reverse.nname; i++)
		named = named || !strcasecmp(host, o->reverse.name[i]);
	if (!o->answered || o->reverse.outcome == DNS_NOT_NOW) {
		SAY(t, DOCTOR_DNS, DOCTOR_WARN, "look at the name servers in /etc/resolv.conf", "whether our address %s is registered "
		    "cannot be told: %s", text, o->answered && o->reverse.why ? o->reverse.why : "no name server answers");
	} else if (o->reverse.outcome != DNS_FOUND) {
		SAY(t, DOCTOR_DNS, must ? DOCTOR_FAIL : DOCTOR_WARN, todo, "our address %s has no name in DNS (no PTR record)%s", text,
		    must ? ", and it has to be registered" : "");
	} else if (host && !named) {
		SAY(t, DOCTOR_DNS, DOCTOR_FAIL, todo, "our address %s is called %.200s in DNS, and what is registered is %.200s", text,
		    o->reverse.name[0], host);
	} else if (!o->confirmed && (o->not_now || o->waits)) {
		SAY(t, DOCTOR_DNS, DOCTOR_WARN, "look at the name servers in /etc/resolv.conf", "our address %s is %.200s in DNS; whether "
		    "that name leads back cannot be told now", text, o->reverse.name[0]);
	} else if (!o->confirmed) {
		SAY(t, DOCTOR_DNS, must ? DOCTOR_FAIL : DOCTOR_WARN, todo, "our address %s is %.200s in DNS, and that name does not "
		    "lead back to it", text, o->reverse.name[0]);
	} else {
		SAY(t, DOCTOR_DNS, DOCTOR_PASS, "", "our address %s is %.200s, and that name leads back", text, o->reverse.name[0]);
	}
}

/* ---- the clock ---------------------------------------------------------------------------------------- */

/* The time that some relays tell in their greeting, as RFC 5322 writes it; 0: none. */
static int64_t
time_in(const char *s)
{
	for (const char *p = strchr(s, ','); p; p = strchr(p + 1, ',')) {
		struct tm tm = {0};

		if (strptime(p + 1, " %d %b %Y %H:%M:%S %z", &tm)) {
			long off = tm.tm_gmtoff;
			return (int64_t)timegm(&tm) - off;
		}
	}
	return 0;
}

static void
found_clock(struct telling *t)
{
	for (size_t i = 0; i < t->k->ntry; i++) {
		const struct relay_try *x = &t->k->try[i];
		int64_t theirs = time_in(x->greeting), off = theirs - t->now;
		char span[32];

		if (!theirs)
			continue;
		off = off < 0 ? -off : off;
		/* of long spans the seconds say nothing */
		off = off > 7200 ? off / 3600 * 3600 : off;
		if (off < CLOCK_WARN)
			SAY(t, DOCTOR_CLOCK, DOCTOR_PASS, "", "it agrees with the relay's");
		else
			SAY(t, DOCTOR_CLOCK, off < CLOCK_FAIL ? DOCTOR_WARN : DOCTOR_FAIL, "set this host's clock, and run a time "
			    "service: timedatectl set-ntp true", "this host's clock is %s %s the relay's",
			    units_span((uint64_t)off, span), theirs > t->now ? "behind" : "before");
		return;
	}
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

void
relay_found(const struct relay *r, const struct relay_probe *p, struct doctor_list *out)
{
	struct telling t = {.r = r, .p = p, .out = out, .now = (int64_t)time(NULL)};

	for (size_t i = 0; i < p->ncheck; i++) {
		const struct relay_check *k = t.k = &p->check[i];

		if (i >= p->nopen) {
			SAY(&t, DOCTOR_PORT, DOCTOR_NOT, "mailreevectl doctor RELAY looks at it alone", "there was no time for it");
			continue;
		}
		if (*k->unfit[0].text && !k->ntry) {
			SAY(&t, DOCTOR_TLS, DOCTOR_FAIL, "mend what it says; until then nothing is sent to the relay", "nobody was "
			    "connected to: %.400s", k->unfit[0].text);
			continue;
		}
		found_name(&t);
		for (size_t e = 0; e < k->nfirst; e++)
			one_port(&t, &k->try[e]);
		for (size_t e = 0; e < k->nfirst; e++)
			one_tls(&t, &k->try[e]);
		found_auth(&t);
		found_senders(&t);
		found_address(&t);
		found_size(&t);
		found_ciphers(&t);
		found_dns(&t);
		found_clock(&t);
	}
	if (p->ncheck == RELAY_PROBE_RELAYS)
		doctor_add(out, DOCTOR_AGENT, DOCTOR_NOT, "", "mailreevectl doctor RELAY looks at others", "no more than %d relays "
		    "are looked at", RELAY_PROBE_RELAYS);
}
