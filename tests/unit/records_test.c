/* lib/look/records: what two policies say of messages, and their metadata. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "look/look.h"

/* Two policies by hand, the same at first. */
struct side {
	struct policy p;
	struct policy_relay *ser, *mx;
	struct policy_application *forms;
	struct policy_rate *web;
	struct policy_point *point;
	struct policy_judge *out;
};

struct world {
	struct arena *a;
	struct side was, now;
	struct look_diff diff;
};

static struct policy_meta
meta(const char *name)
{
	return (struct policy_meta){.at = TEXT_NO_SPAN, .name = name, .days = POLICY_ALWAYS};
}

static void
add_pattern(struct arena *a, struct policy_patterns *l, enum policy_pattern_kind kind,
    const char *local, const char *domain)
{
	ARENA_PUSH(a, l->v, l->n, l->cap) = (struct policy_pattern){.at = TEXT_NO_SPAN, .kind = kind,
	    .local = local, .domain = domain};
}

static void
set_of(struct arena *a, struct addr_set *s, const char *prefix)
{
	struct addr_prefix p;

	assert_int_equal(addr_prefix_read(prefix, strlen(prefix), &p, NULL), ADDR_OK);
	addr_set_add(a, s, p.family, p.lo, p.hi);
	addr_set_finish(s);
}

static struct policy_relay *
add_relay(struct arena *a, struct policy *p, const char *name)
{
	struct policy_relay *r = arena_of(a, struct policy_relay);

	r->meta = meta(name);
	r->index = (uint32_t)p->nrelay;
	r->host = arena_printf(a, "%s.example.org", name);
	r->size.at = TEXT_NO_SPAN;
	r->ranges.at = r->clients.at = TEXT_NO_SPAN;
	r->clients.any = true;
	add_pattern(a, &r->recipients, POLICY_PATTERN_ANY, NULL, NULL);
	ARENA_PUSH(a, p->relay, p->nrelay, p->caprelay) = r;
	return r;
}

static void
set_endpoints(struct arena *a, struct policy_relay *r, const struct policy_endpoint *e, size_t n)
{
	r->endpoint = arena_array(a, n, struct policy_endpoint);
	r->nendpoint = n;
	for (size_t i = 0; i < n; i++) {
		r->endpoint[i] = e[i];
		r->endpoint[i].at = TEXT_NO_SPAN;
	}
}

#define ENDPOINTS(a, r, ...) set_endpoints((a), (r), \
	(const struct policy_endpoint[]){__VA_ARGS__}, \
	sizeof((const struct policy_endpoint[]){__VA_ARGS__}) / sizeof(struct policy_endpoint))

static struct policy_route *
add_route(struct arena *a, struct policy *p, const struct policy_relay *via)
{
	struct policy_submission *s = &p->submission;
	struct policy_route *r = &ARENA_PUSH(a, s->route, s->nroute, s->caproute);

	r->meta = meta(NULL);
	r->via = via;
	return r;
}

static struct policy_mail_limit *
add_limit(struct arena *a, struct policy_mail_limits *l, uint64_t most, enum policy_over over)
{
	struct policy_mail_limit *x = &ARENA_PUSH(a, l->v, l->n, l->cap);

	*x = (struct policy_mail_limit){.meta = meta(NULL), .most = most, .over = over,
	    .count = POLICY_COUNT_MESSAGES, .window = POLICY_PER_SECONDS, .seconds = 3600};
	return x;
}

static void
add_sender(struct arena *a, struct policy_application *x, const char *local, const char *domain)
{
	struct policy_sender_pair *s = &ARENA_PUSH(a, x->sender, x->nsender, x->capsender);

	s->at = TEXT_NO_SPAN;
	s->envelope = (struct policy_pattern){.kind = local ? POLICY_PATTERN_ADDRESS :
	    POLICY_PATTERN_LOCAL_ANY, .local = local, .domain = domain};
	s->header = s->envelope;
}

static struct policy_stmt *
add_stmt(struct arena *a, struct side *x, enum policy_stmt_kind kind, const char *name)
{
	struct policy_stmt *s = arena_of(a, struct policy_stmt);

	s->meta = meta(name);
	s->kind = kind;
	s->id = (uint32_t)x->p.nstmt;
	s->point = x->point;
	s->zone = x->point->zone[0];
	s->ports.label = "smtp";
	ARENA_PUSH(a, x->p.stmt, x->p.nstmt, x->p.capstmt) = s;
	ARENA_PUSH(a, x->out->stmt, x->out->nstmt, x->out->capstmt) = s;
	return s;
}

static void
make(struct arena *a, struct side *x)
{
	struct policy *p = &x->p;
	struct policy_submission *s = &p->submission;
	struct policy_zone *z = arena_of(a, struct policy_zone);

	*x = (struct side){0};
	p->a = a;
	p->meta = meta("test");
	p->timezone = "UTC";
	x->ser = add_relay(a, p, "ser");
	x->mx = add_relay(a, p, "mx");
	ENDPOINTS(a, x->ser, {.port = 587, .tls = POLICY_TLS_STARTTLS},
	    {.port = 465, .tls = POLICY_TLS_IMPLICIT}, {.port = 25, .tls = POLICY_TLS_STARTTLS});
	ENDPOINTS(a, x->mx, {.port = 25, .tls = POLICY_TLS_NONE});
	x->ser->auth = POLICY_AUTH_PASSWORD;
	x->ser->credential = "ser";
	x->ser->size = (struct policy_size){.set = true, .strict = true, .bytes = 5000000,
	    .at = TEXT_NO_SPAN};
	set_of(a, &x->ser->ranges.set, "192.0.2.0/24");
	x->web = arena_of(a, struct policy_rate);
	x->web->meta = meta("web-application");
	ARENA_PUSH(a, p->rate, p->nrate, p->caprate) = x->web;
	s->present = true;
	s->at = TEXT_NO_SPAN;
	add_pattern(a, &add_route(a, p, x->mx)->to, POLICY_PATTERN_DOMAIN, NULL, "columbia.edu");
	add_pattern(a, &add_route(a, p, x->ser)->to, POLICY_PATTERN_ANY, NULL, NULL);
	x->forms = arena_of(a, struct policy_application);
	x->forms->meta = meta("forms");
	x->forms->kind = x->web;
	x->forms->user = "www-data";
	x->forms->via_at = TEXT_NO_SPAN;
	ARENA_PUSH(a, s->application, s->napplication, s->capapplication) = x->forms;
	add_sender(a, x->forms, "forms", "columbia.edu");
	x->point = arena_of(a, struct policy_point);
	x->point->meta = meta("firewall");
	z->meta = meta("campus");
	z->point = x->point;
	ARENA_PUSH(a, x->point->zone, x->point->nzone, x->point->capzone) = z;
	ARENA_PUSH(a, p->point, p->npoint, p->cappoint) = x->point;
	x->out = &z->judge[POLICY_OUTBOUND];
	x->out->present = true;
	x->out->zone = z;
}

static int
setup(void **state)
{
	struct arena *a = arena_new();
	struct world *w = arena_of(a, struct world);

	w->a = a;
	make(a, &w->was);
	make(a, &w->now);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	arena_free(w->a);
	return 0;
}

/* The changes as text, one a line: area, subject, what, values, direction. */
static const char *
diff(struct world *w)
{
	static const char area[] = {[LOOK_TRAFFIC] = 't', [LOOK_MESSAGES] = 'm', [LOOK_METADATA] = 'i'};
	const char *s = "";

	w->diff = (struct look_diff){0};
	look_diff_records(w->a, &w->was.p, &w->now.p, &w->diff);
	for (size_t i = 0; i < w->diff.nchange; i++) {
		const struct look_change *c = &w->diff.change[i];

		assert_false(c->widens && c->narrows);
		assert_true(c->was || c->now);
		s = arena_printf(w->a, "%s%c %s: %s: %s -> %s%s\n", s, area[c->area], c->subject, c->what,
		    c->was ? c->was : "-", c->now ? c->now : "-",
		    c->widens ? " (widens)" : c->narrows ? " (narrows)" : "");
	}
	return s;
}

#define IS(w, text) assert_string_equal(diff(w), text)

static void
the_same_is_no_change(void **state)
{
	struct world *w = *state;

	IS(w, "");
	assert_false(w->diff.traffic || w->diff.messages || w->diff.metadata);
}

static void
X_05_order_and_spelling_are_no_change(void **state)
{
	struct world *w = *state;
	struct policy_submission *s = &w->now.p.submission;
	struct policy_route r = s->route[0];
	struct policy_relay *t = w->now.p.relay[0];
	struct policy_network *net = arena_of(w->a, struct policy_network);

	s->route[0] = s->route[1];
	s->route[1] = r;
	w->now.p.relay[0] = w->now.p.relay[1];
	w->now.p.relay[1] = t;
	/* The same largest message in other words. */
	w->now.ser->size = (struct policy_size){.set = true, .bytes = 4999999, .at = TEXT_NO_SPAN};
	/* A network under another name. */
	net->meta = meta("renamed");
	net->meta.title = "a title";
	ARENA_PUSH(w->a, w->now.p.network, w->now.p.nnetwork, w->now.p.capnetwork) = net;
	/* A route that says what holds anyway. */
	add_pattern(w->a, &add_route(w->a, &w->now.p, w->now.ser)->to, POLICY_PATTERN_BELOW, NULL,
	    "example.org");
	add_limit(w->a, &w->was.web->limits, 5, POLICY_OVER_WARN);
	add_limit(w->a, &w->was.web->limits, 9, POLICY_OVER_DEFER);
	add_limit(w->a, &w->now.web->limits, 9, POLICY_OVER_DEFER);
	add_limit(w->a, &w->now.web->limits, 5, POLICY_OVER_WARN);
	add_sender(w->a, w->was.forms, NULL, "a.example");
	add_sender(w->a, w->was.forms, "x", "b.example");
	add_sender(w->a, w->now.forms, "x", "b.example");
	add_sender(w->a, w->now.forms, NULL, "a.example");
	w->now.forms->sender[0] = w->now.forms->sender[1];
	add_sender(w->a, w->now.forms, "forms", "columbia.edu");
	IS(w, "");
}

static void
COL_17_endpoints_are_named_apart(void **state)
{
	struct world *w = *state;

	ENDPOINTS(w->a, w->now.ser, {.port = 587, .tls = POLICY_TLS_STARTTLS});
	IS(w, "m relay ser: endpoint 25: starttls -> - (narrows)\n"
	    "m relay ser: endpoint 465: implicit -> - (narrows)\n");
	ENDPOINTS(w->a, w->now.ser, {.port = 465, .tls = POLICY_TLS_IMPLICIT},
	    {.port = 587, .tls = POLICY_TLS_STARTTLS}, {.port = 25, .tls = POLICY_TLS_NONE},
	    {.port = 2525, .tls = POLICY_TLS_STARTTLS});
	IS(w, "m relay ser: endpoint 25: starttls -> none (widens)\n"
	    "m relay ser: endpoint 2525: - -> starttls (widens)\n"
	    "m relay ser: endpoint order: 587, 465, 25 -> 465, 587, 25\n");
	ENDPOINTS(w->a, w->now.ser, {.port = 587, .tls = POLICY_TLS_IMPLICIT},
	    {.port = 465, .tls = POLICY_TLS_IMPLICIT}, {.port = 25, .tls = POLICY_TLS_STARTTLS});
	IS(w, "m relay ser: endpoint 587: starttls -> implicit\n");
}

static void
COL_30_sizes_widen_and_narrow(void **state)
{
	struct world *w = *state;

	w->now.ser->size.strict = false;
	IS(w, "m relay ser: message-size: below 5 MB -> up to 5 MB (widens)\n");
	w->now.ser->size.bytes = 4000000;
	IS(w, "m relay ser: message-size: below 5 MB -> up to 4 MB (narrows)\n");
	w->now.ser->size.set = false;
	IS(w, "m relay ser: message-size: below 5 MB -> - (widens)\n");
}

static void
relay_security_is_ranked(void **state)
{
	struct world *w = *state;
	struct policy_relay *r = w->now.ser;
	const char *two[] = {"B", "A"}, *one[] = {"A"};

	r->auth = POLICY_AUTH_NONE;
	r->credential = NULL;
	IS(w, "m relay ser: auth: password -> none (widens)\n"
	    "m relay ser: credential: ser -> -\n");
	r->auth = POLICY_AUTH_PASSWORD;
	r->credential = "other";
	r->senders_registered = true;
	w->was.ser->registration = true;
	w->was.ser->tls_minimum = 12;
	r->tls_minimum = 13;
	r->host = "elsewhere.example.org";
	w->was.ser->class = POLICY_CLASS_DEVICE;
	IS(w, "m relay ser: class: device -> any (widens)\n"
	    "m relay ser: host: ser.example.org -> elsewhere.example.org\n"
	    "m relay ser: tls minimum: 1.2 -> 1.3 (narrows)\n"
	    "m relay ser: credential: ser -> other\n"
	    "m relay ser: senders: any -> registered (narrows)\n"
	    "m relay ser: registration: required -> none (widens)\n");
	make(w->a, &w->now);
	make(w->a, &w->was);
	w->now.ser->cipher = two;
	w->now.ser->ncipher = 2;
	IS(w, "m relay ser: tls ciphers: - -> A\n"
	    "m relay ser: tls ciphers: - -> B\n"
	    "m relay ser: tls ciphers: any -> - (narrows)\n");
	w->was.ser->cipher = one;
	w->was.ser->ncipher = 1;
	IS(w, "m relay ser: tls ciphers: - -> B (widens)\n");
	w->now.ser->auth_recipients.n = 0;
	add_pattern(w->a, &w->now.ser->auth_recipients, POLICY_PATTERN_DOMAIN, NULL, "x.org");
	w->was.ser->ncipher = w->now.ser->ncipher = 0;
	IS(w, "m relay ser: auth recipients: - -> @x.org\n"
	    "m relay ser: auth recipients: any -> - (widens)\n");
}

static void
COL_23_recipients_by_what_they_cover(void **state)
{
	struct world *w = *state;
	struct policy_patterns *l = &w->now.ser->recipients;

	l->n = 0;
	add_pattern(w->a, l, POLICY_PATTERN_DOMAIN, NULL, "columbia.edu");
	IS(w, "m relay ser: recipients: - -> @columbia.edu\n"
	    "m relay ser: recipients: any -> - (narrows)\n");
	w->was.ser->recipients.n = 0;
	add_pattern(w->a, &w->was.ser->recipients, POLICY_PATTERN_BELOW, NULL, "edu");
	/* It lies below edu, so this is less than before and nothing new. */
	IS(w, "m relay ser: recipients: @*.edu -> - (narrows)\n"
	    "m relay ser: recipients: - -> @columbia.edu\n");
	w->was.ser->recipients.v[0].domain = "columbia.edu";
	IS(w, "m relay ser: recipients: @*.columbia.edu -> - (narrows)\n"
	    "m relay ser: recipients: - -> @columbia.edu (widens)\n");
}

static void
ranges_that_no_point_uses_are_told_here(void **state)
{
	struct world *w = *state;

	set_of(w->a, &w->now.ser->ranges.set, "198.51.100.0/25");
	w->now.ser->ports_all = true;
	IS(w, "m relay ser: ranges: - -> 198.51.100.0/25 (widens)\n"
	    "m relay ser: ports: - -> all\n");
	w->now.ser->clients = (struct policy_where){.at = TEXT_NO_SPAN};
	set_of(w->a, &w->now.ser->clients.set, "10.0.0.0/8");
	w->now.ser->ports_all = false;
	IS(w, "m relay ser: ranges: - -> 198.51.100.0/25 (widens)\n"
	    "m relay ser: clients: any -> 10.0.0.0/8 (narrows)\n");
	/* A point that uses it shows them as traffic. */
	add_stmt(w->a, &w->now, POLICY_RELAY, "ser")->relay = w->now.ser;
	IS(w, "");
	/* Another statement's relay does not. */
	w->now.p.stmt[0]->relay = w->now.mx;
	assert_int_not_equal(strlen(diff(w)), 0);
}

static void
limits_are_paired_by_what_they_count(void **state)
{
	struct world *w = *state;
	struct policy_mail_limits *x = &w->was.p.submission.limits, *y = &w->now.p.submission.limits;

	add_limit(w->a, x, 60, POLICY_OVER_WARN)->each = POLICY_EACH_HOST;
	add_limit(w->a, x, 100, POLICY_OVER_DEFER)->each = POLICY_EACH_HOST;
	add_limit(w->a, y, 200, POLICY_OVER_DEFER)->each = POLICY_EACH_HOST;
	add_limit(w->a, y, 60, POLICY_OVER_WARN)->each = POLICY_EACH_HOST;
	IS(w, "m submission: limit messages per hour, each host: 100, over: defer -> 200, over: defer (widens)\n");
	y->v[0].most = 100;
	y->v[0].over = POLICY_OVER_REFUSE;
	IS(w, "m submission: limit messages per hour, each host: 100, over: defer -> 100, over: refuse (narrows)\n");
	y->v[0].over = POLICY_OVER_DEFER;
	y->v[0].meta.reason = "because";
	IS(w, "i submission: limit messages per hour, each host: reason: - -> because\n");
	y->v[0].meta.reason = NULL;
	add_pattern(w->a, &y->v[0].except, POLICY_PATTERN_DOMAIN, NULL, "b.org");
	add_pattern(w->a, &y->v[0].except, POLICY_PATTERN_DOMAIN, NULL, "a.org");
	IS(w, "m submission: limit messages per hour, each host: 100, over: defer -> "
	    "100, over: defer, except @a.org, @b.org\n");
	y->n = 1;
	y->v[0].except.n = 0;
	IS(w, "m submission: limit messages per hour, each host: 60, over: warn -> -\n");
	y->n = 0;
	IS(w, "m submission: limit messages per hour, each host: 60, over: warn -> -\n"
	    "m submission: limit messages per hour, each host: 100, over: defer -> - (widens)\n");
	add_limit(w->a, y, 9, POLICY_OVER_DEFER)->seconds = 86400;
	x->n = 0;
	IS(w, "m submission: limit messages per day: - -> 9, over: defer (narrows)\n");
}

static void
routes_are_compared_by_where_mail_goes(void **state)
{
	struct world *w = *state;
	struct policy_route *r = w->now.p.submission.route;

	r[0].via = w->now.ser;
	IS(w, "m routes: to @columbia.edu: via mx -> via ser\n");
	r[0].via = w->now.mx;
	r[0].to.v[0].kind = POLICY_PATTERN_BELOW;
	IS(w, "m routes: to @*.columbia.edu: via ser -> via mx\n"
	    "m routes: to @columbia.edu: via mx -> via ser\n");
	r[0].to.v[0].kind = POLICY_PATTERN_DOMAIN;
	r[0].meta.days.until = 77;
	IS(w, "m routes: to @columbia.edu: via mx -> via mx until @77, else via ser\n");
	r[0].meta = meta(NULL);
	r[0].meta.ticket = "RT-1";
	IS(w, "i routes: to @columbia.edu: ticket: - -> RT-1\n");
	r[0].meta.ticket = NULL;
	w->now.p.submission.nroute = 1;
	IS(w, "m routes: to any: via ser -> - (narrows)\n");
}

static void
COR_02_unregistered_programs_tighten(void **state)
{
	struct world *w = *state;
	struct policy_submission *s = &w->now.p.submission;
	const char *domain[] = {"cam.ac.uk"}, *type[] = {".exe"};
	struct addr lo = {ADDR_V4, 0x7f000001};

	s->unregistered_refuse = true;
	s->sender_domain_resolvable = true;
	s->through = true;
	s->mx_required = domain;
	s->nmx_required = 1;
	s->blocked_types = type;
	s->nblocked_types = 1;
	s->listen = &lo;
	s->nlisten = 1;
	IS(w, "m submission: listen: - -> 127.0.0.1 (widens)\n"
	    "m submission: mode: spool -> through\n"
	    "m submission: unregistered: by route -> refuse (narrows)\n"
	    "m submission: sender-domain: any -> resolvable (narrows)\n"
	    "m submission: mx-required: - -> cam.ac.uk (narrows)\n"
	    "m submission: blocked-types: - -> .exe (narrows)\n");
}

static void
COL_32_applications_come_go_and_are_suspended(void **state)
{
	struct world *w = *state;
	struct policy_application *x = w->now.forms;
	const char *owner[] = {"b@x", "a@x"};

	x->state = POLICY_SUSPENDED;
	IS(w, "m application forms: state: registered -> suspended (narrows)\n");
	x->state = POLICY_REGISTERED;
	add_sender(w->a, x, NULL, "columbia.edu");
	add_sender(w->a, x, "bounce", "columbia.edu");
	/* The wider one widens; so does the other: neither was allowed before. */
	IS(w, "m application forms: senders: - -> *@columbia.edu (widens)\n"
	    "m application forms: senders: - -> bounce@columbia.edu (widens)\n");
	x->nsender = 0;
	IS(w, "m application forms: senders: - -> any (widens)\n"
	    "m application forms: senders: forms@columbia.edu -> -\n");
	x->nsender = 1;
	x->via = w->now.mx;
	x->user = NULL;
	x->unit = "forms.service";
	x->kind = NULL;
	x->owners = owner;
	x->nowners = 2;
	x->purpose = "forms";
	x->declared_rate = 30;
	x->meta.title = "Forms";
	x->meta.days.until = 5;
	IS(w, "m application forms: kind: web-application -> -\n"
	    "m application forms: user: www-data -> -\n"
	    "m application forms: unit: - -> forms.service\n"
	    "m application forms: via: - -> mx\n"
	    "m application forms: until: - -> @5 (narrows)\n"
	    "i application forms: owners: - -> a@x, b@x\n"
	    "i application forms: rate: - -> 30\n"
	    "i application forms: purpose: - -> forms\n"
	    "i application forms: title: - -> Forms\n");
	assert_true(w->diff.messages && w->diff.metadata && !w->diff.traffic);
	make(w->a, &w->now);
	w->now.p.submission.napplication = 0;
	IS(w, "m application forms: application: registered -> - (narrows)\n"
	    "m application forms: state: registered -> -\n"
	    "m application forms: kind: web-application -> -\n"
	    "m application forms: user: www-data -> -\n"
	    "m application forms: senders: forms@columbia.edu -> -\n");
	w->was.p.submission.napplication = 0;
	w->now.p.submission.napplication = 1;
	w->now.forms->state = POLICY_PENDING;
	IS(w, "m application forms: application: - -> pending\n"
	    "m application forms: state: - -> pending\n"
	    "m application forms: kind: - -> web-application\n"
	    "m application forms: user: - -> www-data\n"
	    "m application forms: senders: - -> forms@columbia.edu\n");
}

static struct policy_location *
add_location(struct arena *a, struct policy_application *x, const char *name, const char *prefix)
{
	struct policy_location *l = &ARENA_PUSH(a, x->location, x->nlocation, x->caplocation);

	l->meta = meta(name);
	if (prefix)
		set_of(a, &l->cidr, prefix);
	return l;
}

static void
COR_20_locations_by_name_and_identity(void **state)
{
	struct world *w = *state;
	struct policy_location *l;

	/* The same addresses, spread otherwise. */
	add_location(w->a, w->was.forms, "campus", "10.0.0.0/24");
	add_location(w->a, w->now.forms, "campus", "10.0.0.128/25");
	add_location(w->a, w->now.forms, "campus", "10.0.0.0/25");
	IS(w, "");
	l = add_location(w->a, w->now.forms, "aws", NULL);
	l->identity = POLICY_ID_CERTIFICATE;
	l->value = "forms-cert";
	set_of(w->a, &w->was.forms->location[0].cidr, "10.0.1.0/24");
	IS(w, "m application forms: location aws: - -> certificate forms-cert (widens)\n"
	    "m application forms: location campus: 10.0.1.0/24 -> - (narrows)\n");
}

static void
kinds_and_relays_come_and_go(void **state)
{
	struct world *w = *state;
	struct policy_rate *k = arena_of(w->a, struct policy_rate);

	k->meta = meta("scanner");
	k->class = POLICY_CLASS_DEVICE;
	add_limit(w->a, &k->limits, 5, POLICY_OVER_DEFER);
	ARENA_PUSH(w->a, w->now.p.rate, w->now.p.nrate, w->now.p.caprate) = k;
	w->now.p.nrelay = 1;
	w->now.p.submission.route[0].via = w->was.mx;
	IS(w, "m relay mx: relay: mx.example.org -> -\n"
	    "m relay mx: class: any -> -\n"
	    "m relay mx: host: mx.example.org -> -\n"
	    "m relay mx: endpoint 25: none -> -\n"
	    "m relay mx: auth: none -> -\n"
	    "m relay mx: stored-credentials: forbidden -> -\n"
	    "m relay mx: senders: any -> -\n"
	    "m relay mx: registration: none -> -\n"
	    "m relay mx: recipients: any -> -\n"
	    "m kind scanner: kind: - -> rate class\n"
	    "m kind scanner: class: - -> device\n"
	    "m kind scanner: limit messages per hour: - -> 5, over: defer\n");
}

static void
statements_are_paired_though_they_move(void **state)
{
	struct world *w = *state;
	struct policy_stmt *a, *b, *c, *d;

	/* Two unnamed blocks whose made names follow their order in the file. */
	a = add_stmt(w->a, &w->was, POLICY_BLOCK, "block");
	b = add_stmt(w->a, &w->was, POLICY_BLOCK, "block-2");
	c = add_stmt(w->a, &w->now, POLICY_BLOCK, "block");
	d = add_stmt(w->a, &w->now, POLICY_BLOCK, "block-2");
	port_set_add(w->a, &a->ports.set, 25, 25);
	port_set_add(w->a, &b->ports.set, 587, 587);
	port_set_add(w->a, &c->ports.set, 587, 587);
	port_set_add(w->a, &d->ports.set, 25, 25);
	a->ports.label = d->ports.label = "smtp";
	b->ports.label = c->ports.label = "submission";
	a->log = d->log = true;
	b->meta.reason = c->meta.reason = "not here";
	IS(w, "");
	d->log = false;
	d->meta.ticket = "RT-2";
	IS(w, "i point firewall, zone campus, outbound, block-2: log: true -> -\n"
	    "i point firewall, zone campus, outbound, block-2: ticket: - -> RT-2\n");
	d->log = true;
	d->meta.ticket = NULL;
	/* Changed in what it matches: still itself, by its label. */
	d->meta.name = "other";
	port_set_add(w->a, &d->ports.set, 26, 26);
	d->meta.owner = "ops";
	IS(w, "i point firewall, zone campus, outbound, block other: owner: - -> ops\n");
	/* Only on one side: that is traffic. */
	w->now.out->nstmt = 1;
	IS(w, "");
}

static void
metadata_of_points_zones_networks_and_the_policy(void **state)
{
	struct world *w = *state;
	struct policy_network *n = arena_array(w->a, 2, struct policy_network);

	n[0].meta = n[1].meta = meta("campus");
	n[1].meta.source = "S3:43";
	ARENA_PUSH(w->a, w->was.p.network, w->was.p.nnetwork, w->was.p.capnetwork) = &n[0];
	ARENA_PUSH(w->a, w->now.p.network, w->now.p.nnetwork, w->now.p.capnetwork) = &n[1];
	w->now.p.meta.contact = "help";
	w->now.point->meta.title = "The firewall";
	w->now.point->as = POLICY_AS_CHAINS;
	w->now.point->zone[0]->meta.owner = "net";
	w->now.ser->host_reason = "no DNS";
	IS(w, "i policy: contact: - -> help\n"
	    "i relay ser: host-reason: - -> no DNS\n"
	    "i point firewall: as: base -> chains\n"
	    "i point firewall: title: - -> The firewall\n"
	    "i point firewall, zone campus: owner: - -> net\n"
	    "i network campus: source: - -> S3:43\n");
	assert_true(w->diff.metadata && !w->diff.messages);
}

/* ---- from text ---- */

/* Days as if every month had 31; good enough to order them. */
static int
day(void *arg, const char *zone, int y, int m, int d, uint64_t *sec)
{
	(void)arg;
	(void)zone;
	*sec = (uint64_t)((y * 12 + m) * 31 + d) * 86400;
	return 0;
}

static int
no_file(void *arg, struct arena *a, const char *name, size_t most, const char **bytes, size_t *len)
{
	(void)arg;
	(void)a;
	(void)name;
	(void)most;
	(void)bytes;
	(void)len;
	return -1;
}

static const struct policy *
load(struct arena *a, const char *size, const char *until)
{
	static const struct policy_world world = {.read = no_file, .day = day};
	struct diags *d = diags_new(a);
	const char *text = arena_printf(a,
	    "mailreeve: 1\n"
	    "name: test\n"
	    "contact: help\n"
	    "relays:\n"
	    "  ser:\n"
	    "    class: device\n"
	    "    host: ser.example.org\n"
	    "    endpoints: [{port: 587, tls: starttls}]\n"
	    "    auth: none\n"
	    "    accepts: {recipients: any, message-size: %s}\n"
	    "kinds:\n"
	    "  web: {title: Web}\n"
	    "submission:\n"
	    "  listen: [127.0.0.1, \"::1\"]\n"
	    "  routes:\n"
	    "    - {to: any, via: ser}\n"
	    "  applications:\n"
	    "    forms:\n"
	    "      kind: web\n"
	    "      runs-as: {user: forms}\n"
	    "      owners: [forms@example.org]\n"
	    "      senders: [{envelope: forms@example.org}]\n"
	    "      until: %s\n"
	    "  unregistered: refuse\n", size, until);
	const struct policy *p = policy_load(a, text_set_new(a), "test.yaml", text, strlen(text),
	    &world, d);

	for (size_t i = 0; i < d->n; i++)
		if (d->v[i].severity == DIAG_ERROR)
			print_error("%s\n", d->v[i].message);
	assert_non_null(p);
	return p;
}

static void
is_at(const struct policy *p, struct text_span at, const char *text)
{
	assert_int_not_equal(at.file, TEXT_NOWHERE);
	assert_int_equal(at.len, strlen(text));
	assert_memory_equal(p->text->file[at.file]->bytes + at.off, text, at.len);
}

static void
changes_know_their_places_in_both_texts(void **state)
{
	struct world *w = *state;
	const struct policy *was = load(w->a, "below 5 MB", "2027-03-31");
	const struct policy *now = load(w->a, "up to 10 MB", "2027-04-30");
	struct look_diff d = {0};

	look_diff_records(w->a, was, now, &d);
	assert_int_equal(d.nchange, 2);
	assert_string_equal(d.change[0].subject, "relay ser");
	assert_string_equal(d.change[0].now, "up to 10 MB");
	assert_true(d.change[0].widens);
	is_at(was, d.change[0].was_at, "below 5 MB");
	is_at(now, d.change[0].now_at, "up to 10 MB");
	assert_string_equal(d.change[1].what, "until");
	assert_string_equal(d.change[1].was, "2027-03-31");
	assert_string_equal(d.change[1].now, "2027-04-30");
	assert_true(d.change[1].widens);
	is_at(was, d.change[1].was_at, "2027-03-31");
	d = (struct look_diff){0};
	look_diff_records(w->a, was, load(w->a, "up to 4999999 bytes", "2027-03-31"), &d);
	assert_int_equal(d.nchange, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_same_is_no_change),
		TEST(X_05_order_and_spelling_are_no_change),
		TEST(COL_17_endpoints_are_named_apart),
		TEST(COL_30_sizes_widen_and_narrow),
		TEST(relay_security_is_ranked),
		TEST(COL_23_recipients_by_what_they_cover),
		TEST(ranges_that_no_point_uses_are_told_here),
		TEST(limits_are_paired_by_what_they_count),
		TEST(routes_are_compared_by_where_mail_goes),
		TEST(COR_02_unregistered_programs_tighten),
		TEST(COL_32_applications_come_go_and_are_suspended),
		TEST(COR_20_locations_by_name_and_identity),
		TEST(kinds_and_relays_come_and_go),
		TEST(statements_are_paired_though_they_move),
		TEST(metadata_of_points_zones_networks_and_the_policy),
		TEST(changes_know_their_places_in_both_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
