/* lint: rules on relays, applications and their registrations. */
#include "look/lint.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"

/* ---- private addresses ---------------------------------------------------------- */

static const struct addr_prefix private[] = {
	{ADDR_V4, 8, 0x0a000000, 0x0affffff},      /* RFC 1918 */
	{ADDR_V4, 12, 0xac100000, 0xac1fffff},
	{ADDR_V4, 16, 0xc0a80000, 0xc0a8ffff},
	{ADDR_V4, 10, 0x64400000, 0x647fffff},     /* RFC 6598 */
};

static struct addr_set
private_set(struct arena *m)
{
	struct addr_set s = {0};

	for (size_t i = 0; i < sizeof private / sizeof *private; i++)
		addr_set_add(m, &s, private[i].family, private[i].lo, private[i].hi);
	/* RFC 4193, fc00::/7 */
	addr_set_add(m, &s, ADDR_V6, u128_of(0xfc00000000000000, 0),
	    u128_of(0xfdffffffffffffff, UINT64_MAX));
	addr_set_finish(&s);
	return s;
}

static bool
all_private(struct arena *m, const struct addr_set *s)
{
	struct addr_set all = private_set(m);

	return (s->n4 || s->n6) && addr_set_covers(&all, s);
}

static bool
any_private(struct arena *m, const struct addr_set *s)
{
	struct addr_set all = private_set(m);

	return addr_set_meets(&all, s, NULL);
}

/* ---- relays --------------------------------------------------------------------- */

/* Whether the forwarder sends by it: a route, an application, the rest. */
static bool
forwards(const struct policy *p, const struct policy_relay *y)
{
	const struct policy_submission *s = &p->submission;

	if (!s->present)
		return false;
	if (s->unregistered_via == y)
		return true;
	for (size_t i = 0; i < s->nroute; i++)
		if (s->route[i].via == y)
			return true;
	for (size_t i = 0; i < s->napplication; i++)
		if (s->application[i]->via == y)
			return true;
	return false;
}

static bool
opened(const struct policy *p, const struct policy_relay *y)
{
	for (size_t i = 0; i < p->nstmt; i++)
		if (p->stmt[i]->relay == y)
			return true;
	return false;
}

/* A host where a network should be: CAM-06. */
static void
single(struct lint *l, const struct policy_relay *y)
{
	const struct addr_set *s = &y->ranges.set;
	char text[46];
	struct diag *g;

	if (y->ranges.any)
		return;
	for (size_t i = 0; i < s->n4 + s->n6; i++) {
		struct addr x = {ADDR_V4, 0};

		if (i < s->n4) {
			if (s->v4[i].lo != s->v4[i].hi)
				continue;
			x.n = s->v4[i].lo;
		} else {
			if (s->v6[i - s->n4].lo != s->v6[i - s->n4].hi)
				continue;
			x = (struct addr){ADDR_V6, s->v6[i - s->n4].lo};
		}
		addr_write(x, text);
		g = lint_say(l, DIAG_W1010, y->ranges.at, "relay %s is the single address %s",
		    y->meta.name, text);
		lint_hint(l, g, "name the range that its operator keeps for it: single servers come and "
		    "go (CAM-06)");
		return;
	}
}

static void
literal(struct lint *l, const struct policy_relay *y)
{
	struct diag *g;

	if (!y->host_literal)
		return;
	if (y->host_reason) {
		g = lint_say(l, DIAG_N1010, y->meta.at, "relay %s is reached by its address %s: %s",
		    y->meta.name, y->host, y->host_reason);
		lint_hint(l, g, "an address does not follow its service when that moves (CAM-10)");
		return;
	}
	g = lint_say(l, DIAG_W1011, y->meta.at, "relay %s is reached by its address %s, and no reason "
	    "is given", y->meta.name, y->host);
	lint_hint(l, g, "write the name of the service, or `host-reason:` where only an address will "
	    "do (CAM-10)");
}

/*
 * Base64 makes 4 bytes of 3, and lines of 76 of them end with two more
 * (RFC 2045 section 6.8): of 100 MB, 73.07 MB are left.
 */
static void
advertised(struct lint *l, const struct policy_relay *y)
{
	u128 left;
	struct diag *g;

	if (!y->size.set || !y->advertised_raw)
		return;
	left = (u128)y->size.bytes * 3 / 4 * 76 / 78;
	if (y->advertised_raw <= left)
		return;
	g = lint_say(l, DIAG_W1012, y->size.at, "relay %s takes %llu bytes: an attachment of %llu "
	    "bytes, as people are told, does not fit once encoded", y->meta.name,
	    (unsigned long long)y->size.bytes, (unsigned long long)y->advertised_raw);
	lint_hint(l, g, "at most %llu bytes are left before encoding (CAM-20)",
	    (unsigned long long)left);
}

static void
endpoints(struct lint *l, const struct policy_relay *y)
{
	struct diag *g;

	for (size_t i = 0; i < y->nendpoint; i++) {
		uint16_t port = y->endpoint[i].port;

		if (port == 25 || port == 465 || port == 587)
			continue;
		g = lint_say(l, DIAG_W1013, y->endpoint[i].at, "relay %s is reached on port %u, which is no "
		    "port for sending mail", y->meta.name, port);
		lint_hint(l, g, "relays listen on 587, 465 or 25 (COL-27)");
	}
}

/* A password that can be read on the way. */
static void
readable(struct lint *l, const struct policy_relay *y)
{
	struct diag *g;

	for (size_t i = 0; y->auth == POLICY_AUTH_PASSWORD && i < y->nendpoint; i++) {
		enum policy_tls tls = y->endpoint[i].tls;

		if (tls != POLICY_TLS_NONE && tls != POLICY_TLS_FORBIDDEN)
			continue;
		g = lint_say(l, DIAG_W1015, y->endpoint[i].at, "relay %s has a password, and at port %u "
		    "TLS is %s", y->meta.name, y->endpoint[i].port,
		    tls == POLICY_TLS_NONE ? "not required" : "never begun");
		lint_hint(l, g, "write `tls: %s`, or remove the endpoint: the password could be read on "
		    "the way (COL-14)", y->endpoint[i].port == 465 ? "implicit" : "starttls");
	}
}

static void
personal(struct lint *l, const struct policy_relay *y, struct text_span at, const char *who)
{
	struct diag *g;

	if (y->class != POLICY_CLASS_PERSONAL)
		return;
	g = lint_say(l, DIAG_W1014, at, "%s by relay %s, which is for the personal mail of people",
	    who, y->meta.name);
	if (g)
		diag_also(g, y->meta.at, "the relay");
	lint_hint(l, g, "send by a relay of `class: device`: mail of software and devices is usually "
	    "not handled there (COL-09)");
}

void
lint_relays(struct lint *l)
{
	const struct policy_submission *s = &l->p->submission;

	for (size_t i = 0; i < l->p->nrelay; i++) {
		const struct policy_relay *y = l->p->relay[i];
		struct diag *g;

		single(l, y);
		literal(l, y);
		advertised(l, y);
		endpoints(l, y);
		readable(l, y);
		/* One for people may stand there to be read. */
		if (y->class != POLICY_CLASS_PERSONAL && !forwards(l->p, y) && !opened(l->p, y)) {
			g = lint_say(l, DIAG_N1011, y->meta.at, "relay %s is used nowhere", y->meta.name);
			lint_hint(l, g, "name it in a `relays:` or a `via:`, or remove it");
		}
	}
	for (size_t i = 0; s->present && i < s->nroute; i++)
		personal(l, s->route[i].via, s->route[i].meta.at, "the forwarder sends");
	if (s->present && s->unregistered_via)
		personal(l, s->unregistered_via, s->at, "programs without a registration send");
}

/* ---- applications ------------------------------------------------------------------ */

/* Each relay that the application may send by: its own, or those of the routes. */
static size_t
ways(const struct policy *p, const struct policy_application *a)
{
	return a->via ? 1 : p->submission.nroute;
}

static const struct policy_relay *
way(const struct policy *p, const struct policy_application *a, size_t i)
{
	return a->via ? a->via : p->submission.route[i].via;
}

static void
classes(struct lint *l, const struct policy_application *a)
{
	enum policy_class class = a->kind ? a->kind->class : POLICY_CLASS_ANY;
	struct diag *g;

	for (size_t i = 0; i < ways(l->p, a); i++) {
		const struct policy_relay *y = way(l->p, a, i);

		/* Routes were told already, for all. */
		if (a->via && y->class == POLICY_CLASS_PERSONAL && class != POLICY_CLASS_PERSONAL)
			personal(l, y, a->via_at, arena_printf(l->m, "application %s sends",
			    a->meta.name));
		if (y->class != POLICY_CLASS_DEVICE || class != POLICY_CLASS_PERSONAL)
			continue;
		g = lint_say(l, DIAG_W1014, a->meta.at, "application %s is of the personal class, and relay "
		    "%s is for devices and software", a->meta.name, y->meta.name);
		lint_hint(l, g, "choose another relay, or another class for its kind (COL-09)");
	}
}

static void
rate(struct lint *l, const struct policy_application *a)
{
	struct diag *g;

	if (a->declared_rate <= 60 || a->arrangement)
		return;
	g = lint_say(l, DIAG_W1020, a->meta.at, "application %s declares %llu messages an hour, and no "
	    "arrangement", a->meta.name, (unsigned long long)a->declared_rate);
	lint_hint(l, g, "above 60 an hour talk to those who run the relay first, then write "
	    "`arrangement:` (CAM-13)");
}

/* What a registration asks for (COL-31, COL-33, COR-04, COR-05). */
static const struct {
	const char *key;
	size_t field;
	bool credential;           /* asked for wherever a password is handed out */
} asked[] = {
	{"title", offsetof(struct policy_application, meta.title), true},
	{"group", offsetof(struct policy_application, group), true},
	{"audience", offsetof(struct policy_application, audience), true},
	{"contract", offsetof(struct policy_application, contract), true},
	{"purpose", offsetof(struct policy_application, purpose), true},
	{"account-type", offsetof(struct policy_application, account_type), false},
	{"registrant", offsetof(struct policy_application, registrant), false},
};

static const char *
answer(const struct policy_application *a, size_t i)
{
	return *(const char *const *)(const void *)((const char *)a + asked[i].field);
}

static bool
sends_by(const struct policy *p, const struct policy_application *a,
    const struct policy_relay *y)
{
	for (size_t i = 0; i < ways(p, a); i++)
		if (way(p, a, i) == y)
			return true;
	return false;
}

/* What others who send by the relay answered is asked of all; what a relay with a
 * password asks is asked in any case. */
static void
registration(struct lint *l, const struct policy_application *a, const struct policy_relay *y)
{
	const struct policy_submission *s = &l->p->submission;
	const char *missing = "";
	struct diag *g;

	for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
		bool need = asked[i].credential && y->auth == POLICY_AUTH_PASSWORD;

		if (answer(a, i))
			continue;
		for (size_t k = 0; k < s->napplication; k++)
			need = need || (answer(s->application[k], i) &&
			    sends_by(l->p, s->application[k], y));
		if (need)
			missing = arena_printf(l->m, "%s%s`%s`", missing, *missing ? ", " : "",
			    asked[i].key);
	}
	if (*missing) {
		g = lint_say(l, DIAG_W1021, a->meta.at, "the registration of application %s lacks %s",
		    a->meta.name, missing);
		if (g)
			diag_also(g, y->meta.at, "the relay that asks for it");
		lint_hint(l, g, "relay %s takes mail of registered applications only: say what its form "
		    "asks (COL-31, COL-33)", y->meta.name);
	}
	if (!a->nlocation && y->auth != POLICY_AUTH_NONE) {
		g = lint_say(l, DIAG_N1020, a->meta.at, "application %s uses a credential of relay %s from "
		    "no stated location", a->meta.name, y->meta.name);
		lint_hint(l, g, "write `locations:`: mail must come from the authorised addresses (COL-37)");
	}
	if (a->account_type && strcasecmp(a->account_type, "EGA") != 0) {
		g = lint_say(l, DIAG_W1022, a->meta.at, "application %s sends as an account of type %s",
		    a->meta.name, a->account_type);
		lint_hint(l, g, "only addresses of an Exchange Group Account (EGA) can be registered (COR-04)");
	}
}

/* Whether the policy knows the relay as one of the inside. */
static bool
internal(const struct policy *p, const struct policy_relay *y)
{
	for (size_t i = 0; i < p->npoint; i++)
		for (size_t k = 0; k < p->point[i]->nzone; k++)
			if (p->point[i]->kind == POLICY_ROUTER &&
			    addr_set_covers(&p->point[i]->zone[k]->internal, &y->ranges.set))
				return true;
	return false;
}

static void
location(struct lint *l, const struct policy_application *a, const struct policy_location *x,
    const struct policy_relay *y)
{
	bool known = !y->clients.any && addr_set_covers(&y->clients.set, &x->cidr);
	struct diag *g;

	if (x->identity != POLICY_ID_CIDR)
		return;
	if (!y->clients.any && !known) {
		g = lint_say(l, DIAG_W1023, x->meta.at, "location %s of application %s is not among the "
		    "clients of relay %s", x->meta.name, a->meta.name, y->meta.name);
		if (g)
			diag_also(g, y->clients.at, "its clients");
		lint_hint(l, g, "the relay is not available from other sources, however well registered "
		    "(COR-10, COR-15)");
	}
	if (known || y->ranges.any || internal(l->p, y) || all_private(l->m, &y->ranges.set) ||
	    !any_private(l->m, &x->cidr) || !(y->ranges.set.n4 + y->ranges.set.n6))
		return;
	g = lint_say(l, DIAG_W1024, x->meta.at, "location %s of application %s has private addresses, "
	    "and relay %s stands outside", x->meta.name, a->meta.name, y->meta.name);
	lint_hint(l, g, "write the addresses that the relay really sees, behind address translation "
	    "those of the translator (COR-16)");
}

static bool
below(const char *domain, const char *of)
{
	size_t n = strlen(domain), k = strlen(of);

	return n >= k && !strcasecmp(domain + n - k, of) && (n == k || domain[n - k - 1] == '.');
}

/* A host name may not be used in an address (CAM-18). */
static void
host_names(struct lint *l, const struct policy_application *a)
{
	const struct policy_submission *s = &l->p->submission;
	struct diag *g;

	for (size_t i = 0; i < 2 * a->nsender; i++) {
		const struct policy_pattern *x = i % 2 ? &a->sender[i / 2].header :
		    &a->sender[i / 2].envelope;
		bool within = false, host = false;

		for (size_t k = 0; x->domain && k < s->nmx_required; k++)
			within = within || below(x->domain, s->mx_required[k]);
		for (size_t k = 0; within && k < a->nlocation; k++)
			host = host || (a->location[k].identity == POLICY_ID_HOSTNAME &&
			    !strcasecmp(a->location[k].value, x->domain));
		for (size_t k = 0; within && k < l->p->nrelay; k++)
			host = host || (l->p->relay[k]->host && !l->p->relay[k]->host_literal &&
			    !strcasecmp(l->p->relay[k]->host, x->domain));
		if (!host)
			continue;
		g = lint_say(l, DIAG_W1025, x->at, "%s is a host, and application %s sends as an address "
		    "there", x->domain, a->meta.name);
		lint_hint(l, g, "use a mail domain, one with an MX record: a host name may not be used in "
		    "an address (CAM-18)");
		return;
	}
}

void
lint_applications(struct lint *l)
{
	const struct policy *p = l->p;
	const struct policy_submission *s = &p->submission;
	bool certificates = false, dns = false;
	struct diag *g;

	for (size_t i = 0; i < p->nrelay; i++)
		certificates |= p->relay[i]->auth == POLICY_AUTH_CERTIFICATE;
	for (size_t i = 0; i < s->napplication; i++)
		for (size_t k = 0; k < s->application[i]->nlocation; k++)
			dns |= s->application[i]->location[k].dns_registered;
	for (size_t i = 0; s->present && i < s->napplication; i++) {
		const struct policy_application *a = s->application[i];

		classes(l, a);
		rate(l, a);
		host_names(l, a);
		for (size_t k = 0; k < ways(p, a); k++) {
			const struct policy_relay *y = way(p, a, k);

			if (y->registration)
				registration(l, a, y);
			for (size_t n = 0; n < a->nlocation; n++)
				location(l, a, &a->location[n], y);
		}
		for (size_t n = 0; n < a->nlocation; n++) {
			const struct policy_location *x = &a->location[n];

			/* With a certificate none of this matters (COR-17). */
			if (x->identity == POLICY_ID_CERTIFICATE)
				continue;
			if (certificates) {
				g = lint_say(l, DIAG_N1021, x->meta.at, "location %s of application %s is known "
				    "by its %s", x->meta.name, a->meta.name,
				    x->identity == POLICY_ID_CIDR ? "addresses" : "host name");
				lint_hint(l, g, "a certificate is preferred: it does not depend on the network "
				    "(COR-12)");
			}
			if (dns && !x->dns_registered) {
				g = lint_say(l, DIAG_N1022, x->meta.at, "location %s of application %s is not said "
				    "to be in the DNS", x->meta.name, a->meta.name);
				lint_hint(l, g, "register it, then write `dns-registered: true` (CAM-15)");
			}
		}
	}
}
