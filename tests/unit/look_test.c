/*
 * What people ask of policies: explain against a naive reading, lint row by
 * row, differences paired by name, and the tests of a policy over its days.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "look/look.h"
#include "text/diag.h"
#include "random_policy.h"

#define CHECK(seed, x) do { \
	if (!(x)) { \
		print_error("seed %llu: %s\n", (unsigned long long)(seed), #x); \
		fail(); \
	} \
} while (0)

/* ---- a small policy by hand ------------------------------------------------------- */

struct lab {
	struct arena *a;
	struct policy *p;
	struct policy_point *pt;
	struct policy_zone *z;
	struct policy_judge *out;
	struct flow *f;
	struct diags *d;
};

static struct policy_meta
meta(const char *name)
{
	return (struct policy_meta){.at = TEXT_NO_SPAN, .name = name, .days = POLICY_ALWAYS};
}

static void
where(struct lab *l, struct policy_where *w, const char *v4, const char *v6)
{
	struct addr_prefix x;

	*w = (struct policy_where){.at = TEXT_NO_SPAN, .label = "somewhere"};
	if (!v4 && !v6)
		rnd_anywhere(l->a, w);
	if (v4) {
		assert_int_equal(addr_prefix_read(v4, strlen(v4), &x, NULL), ADDR_OK);
		addr_set_add(l->a, &w->set, ADDR_V4, x.lo, x.hi);
	}
	if (v6) {
		assert_int_equal(addr_prefix_read(v6, strlen(v6), &x, NULL), ADDR_OK);
		addr_set_add(l->a, &w->set, ADDR_V6, x.lo, x.hi);
	}
	addr_set_finish(&w->set);
}

/* A router with one zone, 192.0.2.0/24 and 2001:db8:2::/48, and no statements but
 * `otherwise: untouched`; or a host. */
static struct lab
lab(enum policy_kind kind)
{
	struct lab l = {.a = arena_new(), .f = flow_new(0)};

	l.d = diags_new(l.a);
	l.p = arena_of(l.a, struct policy);
	l.p->a = l.a;
	l.p->meta = meta("policy");
	l.pt = arena_of(l.a, struct policy_point);
	l.pt->meta = meta("border");
	l.pt->kind = kind;
	l.pt->containers = true;
	l.z = arena_of(l.a, struct policy_zone);
	l.z->meta = meta("institution");
	l.z->point = l.pt;
	where(&l, &l.z->inside, "192.0.2.0/24", "2001:db8:2::/48");
	l.z->internal = l.z->inside.set;
	for (int k = 0; k < POLICY_NDIR; k++)
		l.z->judge[k] = (struct policy_judge){.at = TEXT_NO_SPAN,
		    .dir = (enum policy_dir)k, .zone = l.z};
	l.out = &l.z->judge[POLICY_OUTBOUND];
	l.out->present = true;
	ARENA_PUSH(l.a, l.pt->zone, l.pt->nzone, l.pt->capzone) = l.z;
	ARENA_PUSH(l.a, l.p->point, l.p->npoint, l.p->cappoint) = l.pt;
	l.p->submission.at = TEXT_NO_SPAN;
	return l;
}

static void
done(struct lab *l)
{
	flow_free(l->f);
	arena_free(l->a);
}

/* From anywhere to anywhere, port 25. */
static struct policy_stmt *
stmt(struct lab *l, enum policy_stmt_kind kind, const char *name)
{
	struct policy_stmt *s = arena_of(l->a, struct policy_stmt);

	s->meta = meta(name);
	s->id = (uint32_t)l->p->nstmt;
	s->kind = kind;
	s->point = l->pt;
	s->zone = l->z;
	where(l, &s->from, NULL, NULL);
	where(l, &s->to, NULL, NULL);
	s->ports.set = port_set_mail;
	s->ports.set.n = 1;
	ARENA_PUSH(l->a, l->p->stmt, l->p->nstmt, l->p->capstmt) = s;
	ARENA_PUSH(l->a, l->out->stmt, l->out->nstmt, l->out->capstmt) = s;
	return s;
}

static struct policy_relay *
relay(struct lab *l, const char *name, const char *v4, const char *v6)
{
	struct policy_relay *y = arena_of(l->a, struct policy_relay);

	y->meta = meta(name);
	y->index = (uint32_t)l->p->nrelay;
	y->class = POLICY_CLASS_DEVICE;
	y->host = "relay.example.org";
	where(l, &y->ranges, v4, v6);
	where(l, &y->clients, NULL, NULL);
	y->stored_credentials = true;
	y->ports = port_set_mail;
	ARENA_PUSH(l->a, l->p->relay, l->p->nrelay, l->p->caprelay) = y;
	return y;
}

/* An application that sends by y and is registered in full. */
static struct policy_application *
application(struct lab *l, const char *name, struct policy_relay *y)
{
	struct policy_application *x = arena_of(l->a, struct policy_application);

	l->p->submission.present = true;
	x->meta = meta(name);
	x->meta.title = "A program";
	x->via = y;
	x->via_at = TEXT_NO_SPAN;
	x->group = x->contract = x->purpose = x->audience = "said";
	ARENA_PUSH(l->a, l->p->submission.application, l->p->submission.napplication,
	    l->p->submission.capapplication) = x;
	return x;
}

static struct policy_location *
location(struct lab *l, struct policy_application *x, const char *cidr)
{
	struct policy_location *y = &ARENA_PUSH(l->a, x->location, x->nlocation, x->caplocation);
	struct policy_where w;

	y->meta = meta("campus");
	where(l, &w, cidr, NULL);
	y->cidr = w.set;
	return y;
}

/* Whether lint says the code. */
static bool
said_at(struct lab *l, enum diag_code code, uint64_t now, uint64_t window)
{
	struct look_lint_options o = {now, window};

	l->d = diags_new(l->a);
	look_lint(l->a, l->f, l->p, &o, l->d);
	for (size_t i = 0; i < l->d->n; i++)
		if (l->d->v[i].code == code) {
			assert_non_null(l->d->v[i].hint);
			return true;
		}
	return false;
}

static bool
said(struct lab *l, enum diag_code code)
{
	return said_at(l, code, 0, 0);
}

/* ---- lint ------------------------------------------------------------------------------ */

static void
lint_exemption_that_decides_nothing(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	struct policy_stmt *e, *b, *wide;

	(void)state;
	b = stmt(&l, POLICY_BLOCK, "block");
	e = stmt(&l, POLICY_EXEMPT, "mta");
	where(&l, &e->from, "192.0.2.5", NULL);
	assert_false(said(&l, DIAG_W1001) || said(&l, DIAG_W1002) || said(&l, DIAG_N1001));
	wide = stmt(&l, POLICY_EXEMPT, "wide");
	where(&l, &wide->from, "192.0.2.0/28", NULL);
	assert_true(said(&l, DIAG_W1001));
	wide->ports.set.v++;
	assert_true(said(&l, DIAG_W1001)); /* 110 is not blocked */
	l.out->nstmt--;
	b->ports.set.v++;
	assert_true(said(&l, DIAG_W1001)); /* 25 is not blocked any more */
	b->ports.set.v--;
	where(&l, &e->from, "198.51.100.5", NULL);
	assert_false(said(&l, DIAG_W1001));
	assert_true(said(&l, DIAG_W1002));
	done(&l);
}

static void
lint_relays_of_an_open_zone_are_a_note(void **state)
{
	struct lab l = lab(POLICY_ROUTER);

	(void)state;
	stmt(&l, POLICY_RELAY, "ppsw")->relay = relay(&l, "ppsw", "198.51.100.0/24", NULL);
	assert_true(said(&l, DIAG_N1001));
	assert_int_equal(l.d->warnings, 0);
	stmt(&l, POLICY_BLOCK, "block");
	assert_false(said(&l, DIAG_N1001));
	done(&l);
}

static void
lint_CAM_03_exemptions_end(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	struct policy_stmt *e;

	(void)state;
	stmt(&l, POLICY_BLOCK, "block");
	e = stmt(&l, POLICY_EXEMPT, "mta");
	assert_true(said(&l, DIAG_N1002));
	e->meta.days.until = 1000;
	assert_false(said(&l, DIAG_N1002));
	assert_false(said_at(&l, DIAG_W1003, 999, 0));
	assert_true(said_at(&l, DIAG_W1003, 1000, 0));
	assert_false(said_at(&l, DIAG_W1004, 1000, 100));
	assert_true(said_at(&l, DIAG_W1004, 950, 100));
	assert_false(said_at(&l, DIAG_W1004, 850, 100));
	/* without a day nothing is said of dates passed */
	assert_false(said(&l, DIAG_W1003) || said(&l, DIAG_W1004));
	done(&l);
}

static void
lint_block_with_until_widens_by_itself(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	struct policy_stmt *b = stmt(&l, POLICY_BLOCK, "block");

	(void)state;
	assert_false(said(&l, DIAG_W1005));
	b->meta.days.until = 1000;
	assert_true(said(&l, DIAG_W1005));
	done(&l);
}

static void
lint_X_06_port_25_is_blocked_for_both_families(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	struct policy_stmt *b = stmt(&l, POLICY_BLOCK, "block"), *c;

	(void)state;
	assert_false(said(&l, DIAG_W1006));
	where(&l, &b->from, "192.0.2.0/24", NULL);
	assert_true(said(&l, DIAG_W1006));
	c = stmt(&l, POLICY_BLOCK, "block-2");
	where(&l, &c->from, NULL, "2001:db8:2::/48");
	assert_false(said(&l, DIAG_W1006));
	l.out->nstmt--;
	where(&l, &l.z->inside, "192.0.2.0/24", NULL);
	assert_false(said(&l, DIAG_W1006));
	assert_true(said(&l, DIAG_N1003));
	done(&l);
}

static void
lint_what_points_do_not_cover(void **state)
{
	struct lab l = lab(POLICY_ROUTER), h = lab(POLICY_HOST);

	(void)state;
	assert_true(said(&l, DIAG_N1005));
	assert_false(said(&h, DIAG_N1005));
	assert_false(said(&h, DIAG_N1004));
	h.pt->observe = true;
	assert_true(said(&h, DIAG_N1004));
	done(&l);
	done(&h);
}

static void
lint_CAM_06_relay_is_a_range(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	struct policy_relay *y = relay(&l, "ppsw", "198.51.100.0/31", "2001:db8:25::/64");

	(void)state;
	assert_false(said(&l, DIAG_W1010));
	assert_true(said(&l, DIAG_N1011)); /* and it is not used */
	where(&l, &y->ranges, "198.51.100.7", "2001:db8:25::/64");
	assert_true(said(&l, DIAG_W1010));
	where(&l, &y->ranges, "198.51.100.0/24", "2001:db8:25::1");
	assert_true(said(&l, DIAG_W1010));
	done(&l);
}

static void
lint_CAM_10_host_by_address(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	struct policy_relay *y = relay(&l, "ppsw", "198.51.100.0/24", NULL);

	(void)state;
	assert_false(said(&l, DIAG_W1011));
	y->host_literal = true;
	assert_true(said(&l, DIAG_W1011));
	y->host_reason = "the copiers have no DNS";
	assert_false(said(&l, DIAG_W1011));
	assert_true(said(&l, DIAG_N1010));
	done(&l);
}

static void
lint_CAM_20_advertised_size_fits(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	struct policy_relay *y = relay(&l, "ppsw", "198.51.100.0/24", NULL);

	(void)state;
	y->size = (struct policy_size){.set = true, .bytes = 100000000, .at = TEXT_NO_SPAN};
	y->advertised_raw = 70000000;
	assert_false(said(&l, DIAG_W1012));
	y->advertised_raw = 73076923;
	assert_false(said(&l, DIAG_W1012));
	y->advertised_raw++;
	assert_true(said(&l, DIAG_W1012));
	done(&l);
}

static void
lint_COL_27_ports_of_relays(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	struct policy_relay *y = relay(&l, "ser", "198.51.100.0/24", NULL);
	struct policy_endpoint e[] = {{TEXT_NO_SPAN, 587, POLICY_TLS_STARTTLS},
	    {TEXT_NO_SPAN, 25, POLICY_TLS_STARTTLS}};

	(void)state;
	y->endpoint = e;
	y->nendpoint = 2;
	assert_false(said(&l, DIAG_W1013));
	e[1].port = 26;
	assert_true(said(&l, DIAG_W1013));
	done(&l);
}

static void
lint_COL_14_passwords_that_can_be_read(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	struct policy_relay *y = relay(&l, "ser", "198.51.100.0/24", NULL);
	struct policy_endpoint e[] = {{TEXT_NO_SPAN, 587, POLICY_TLS_STARTTLS},
	    {TEXT_NO_SPAN, 25, POLICY_TLS_STARTTLS}};

	(void)state;
	y->endpoint = e;
	y->nendpoint = 2;
	y->auth = POLICY_AUTH_PASSWORD;
	assert_false(said(&l, DIAG_W1015));
	e[1].tls = POLICY_TLS_NONE;
	assert_true(said(&l, DIAG_W1015));
	e[1].tls = POLICY_TLS_FORBIDDEN;
	assert_true(said(&l, DIAG_W1015));
	y->auth = POLICY_AUTH_NONE;
	assert_false(said(&l, DIAG_W1015));
	done(&l);
}

static void
lint_COL_09_classes_of_relays(void **state)
{
	struct lab l = lab(POLICY_HOST);
	struct policy_relay *y = relay(&l, "send", "198.51.100.0/24", NULL);
	struct policy_rate people = {.meta = meta("people"), .class = POLICY_CLASS_PERSONAL};
	struct policy_application *x = application(&l, "forms", y);
	struct policy_route route = {.meta = meta("route"), .via = y};

	(void)state;
	assert_false(said(&l, DIAG_W1014));
	y->class = POLICY_CLASS_PERSONAL;
	assert_true(said(&l, DIAG_W1014));
	x->kind = &people;
	assert_false(said(&l, DIAG_W1014));
	y->class = POLICY_CLASS_DEVICE;
	assert_true(said(&l, DIAG_W1014));
	x->kind = NULL;
	l.p->submission.route = &route;
	l.p->submission.nroute = 1;
	assert_false(said(&l, DIAG_W1014));
	y->class = POLICY_CLASS_PERSONAL;
	l.p->submission.napplication = 0;
	assert_true(said(&l, DIAG_W1014));
	done(&l);
}

static void
lint_CAM_13_more_than_60_an_hour_is_arranged(void **state)
{
	struct lab l = lab(POLICY_HOST);
	struct policy_application *x = application(&l, "list",
	    relay(&l, "ppsw", "198.51.100.0/24", NULL));

	(void)state;
	x->declared_rate = 60;
	assert_false(said(&l, DIAG_W1020));
	x->declared_rate = 61;
	assert_true(said(&l, DIAG_W1020));
	x->arrangement = "told";
	assert_false(said(&l, DIAG_W1020));
	done(&l);
}

static void
lint_COL_31_COL_33_registrations_are_complete(void **state)
{
	struct lab l = lab(POLICY_HOST);
	struct policy_relay *y = relay(&l, "ser", "198.51.100.0/24", NULL);
	struct policy_application *x = application(&l, "forms", y), *other;

	(void)state;
	x->contract = x->audience = NULL;
	assert_false(said(&l, DIAG_W1021)); /* the relay asks for nothing */
	y->registration = true;
	assert_false(said(&l, DIAG_W1021)); /* and nobody says it */
	y->auth = POLICY_AUTH_PASSWORD;
	assert_true(said(&l, DIAG_W1021));
	assert_non_null(strstr(l.d->v[0].message, "`audience`, `contract`"));
	x->contract = x->audience = "said";
	assert_false(said(&l, DIAG_W1021));
	y->auth = POLICY_AUTH_NONE;
	other = application(&l, "scans", y);
	other->account_type = "EGA";
	assert_true(said(&l, DIAG_W1021)); /* COR-04: the others say it */
	x->account_type = "ega";
	assert_false(said(&l, DIAG_W1021) || said(&l, DIAG_W1022));
	x->account_type = "personal";
	assert_true(said(&l, DIAG_W1022));
	done(&l);
}

static void
lint_COL_37_credentials_have_locations(void **state)
{
	struct lab l = lab(POLICY_HOST);
	struct policy_relay *y = relay(&l, "ser", "198.51.100.0/24", NULL);
	struct policy_application *x = application(&l, "forms", y);

	(void)state;
	y->registration = true;
	assert_false(said(&l, DIAG_N1020));
	y->auth = POLICY_AUTH_PASSWORD;
	assert_true(said(&l, DIAG_N1020));
	location(&l, x, "192.0.2.25");
	assert_false(said(&l, DIAG_N1020));
	done(&l);
}

static void
lint_COR_10_locations_are_clients(void **state)
{
	struct lab l = lab(POLICY_HOST);
	struct policy_relay *y = relay(&l, "appsmtp", "198.51.100.0/24", NULL);

	(void)state;
	location(&l, application(&l, "scans", y), "192.0.2.0/28");
	assert_false(said(&l, DIAG_W1023));
	where(&l, &y->clients, "192.0.2.0/24", NULL);
	assert_false(said(&l, DIAG_W1023));
	where(&l, &y->clients, "192.0.2.0/29", NULL);
	assert_true(said(&l, DIAG_W1023));
	done(&l);
}

static void
lint_COR_16_COR_17_private_sources(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	struct policy_relay *y = relay(&l, "ser", "203.0.113.0/24", NULL);
	struct policy_location *x = location(&l, application(&l, "scans", y), "10.1.2.0/24");

	(void)state;
	assert_true(said(&l, DIAG_W1024));
	x->identity = POLICY_ID_CERTIFICATE;
	assert_false(said(&l, DIAG_W1024));
	x->identity = POLICY_ID_CIDR;
	where(&l, &y->clients, "10.0.0.0/8", NULL);
	assert_false(said(&l, DIAG_W1024)); /* the relay knows them */
	where(&l, &y->clients, NULL, NULL);
	where(&l, &y->ranges, "192.0.2.0/28", NULL);
	assert_false(said(&l, DIAG_W1024)); /* it stands inside the zone */
	done(&l);
}

static void
lint_COR_12_CAM_15_identities(void **state)
{
	struct lab l = lab(POLICY_HOST);
	struct policy_relay *y = relay(&l, "appsmtp", "198.51.100.0/24", NULL);
	struct policy_application *a = application(&l, "scans", y);
	struct policy_location *x;

	(void)state;
	location(&l, a, "192.0.2.25");
	assert_false(said(&l, DIAG_N1021) || said(&l, DIAG_N1022));
	relay(&l, "with-certificate", "198.51.100.0/24", NULL)->auth = POLICY_AUTH_CERTIFICATE;
	assert_true(said(&l, DIAG_N1021));
	x = location(&l, a, "192.0.2.26");
	x->dns_registered = true;
	assert_true(said(&l, DIAG_N1022));
	x->dns_registered = false;
	assert_false(said(&l, DIAG_N1022));
	x->identity = a->location[0].identity = POLICY_ID_CERTIFICATE;
	assert_false(said(&l, DIAG_N1021));
	done(&l);
}

static void
lint_CAM_18_host_names_are_no_mail_domains(void **state)
{
	struct lab l = lab(POLICY_HOST);
	struct policy_relay *y = relay(&l, "ppsw", "198.51.100.0/24", NULL);
	struct policy_application *a = application(&l, "forms", y);
	struct policy_sender_pair pair = {.at = TEXT_NO_SPAN};
	const char *cam[] = {"cam.ac.uk"};

	(void)state;
	pair.envelope = pair.header = (struct policy_pattern){.at = TEXT_NO_SPAN,
	    .kind = POLICY_PATTERN_ADDRESS, .local = "root", .domain = "web.inst.cam.ac.uk"};
	a->sender = &pair;
	a->nsender = 1;
	*location(&l, a, "192.0.2.25") = (struct policy_location){.meta = meta("campus"),
	    .identity = POLICY_ID_HOSTNAME, .value = "web.inst.cam.ac.uk"};
	assert_false(said(&l, DIAG_W1025));
	l.p->submission.mx_required = cam;
	l.p->submission.nmx_required = 1;
	assert_true(said(&l, DIAG_W1025));
	pair.envelope.domain = pair.header.domain = "inst.cam.ac.uk";
	assert_false(said(&l, DIAG_W1025));
	done(&l);
}

static void
lint_many_of_one_kind_hide_nothing(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	char name[16];
	size_t n = 0;

	(void)state;
	stmt(&l, POLICY_BLOCK, "block")->meta.days.until = 1000;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "e%d", i);
		where(&l, &stmt(&l, POLICY_EXEMPT, arena_str(l.a, name))->from, "203.0.113.9", NULL);
	}
	assert_true(said(&l, DIAG_W1005) && said(&l, DIAG_N1002) && said(&l, DIAG_N1005));
	assert_int_equal(l.d->dropped, 0);
	for (size_t i = 0; i < l.d->n; i++)
		n += l.d->v[i].code == DIAG_N1002 &&
		    strstr(l.d->v[i].message, "(and 980 more like this)");
	assert_int_equal(n, 1);
	done(&l);
}

/* ---- explain ------------------------------------------------------------------------------ */

static void
explain_names_all_who_spoke(void **state)
{
	size_t overruled = 0, asleep = 0, decided = 0;

	(void)state;
	for (uint64_t seed = 1; seed < 1200; seed++) {
		struct rnd r = {seed};
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 5, true);
		struct flow *f = flow_new(0);
		flow_ref x = flow_point(f, p->point[0], diags_new(a));

		for (int i = 0; i < 30; i++) {
			struct packet q = rnd_packet(&r);
			struct naive n = naive_point(p->point[0], &q);
			struct look_explain e;
			size_t d = 0;

			look_explain(a, f, x, p->point[0], &q, &e);
			for (size_t k = 0; k < e.nsaid; k++) {
				bool in = false;

				for (size_t s = 0; s < n.nstmt; s++)
					in = in || n.stmt[s] == e.said[k].stmt;
				CHECK(seed, in == e.said[k].decided);
				CHECK(seed, !e.said[k].decided || d == k);
				CHECK(seed, !e.said[k].decided || !e.said[k].asleep);
				d += e.said[k].decided;
				asleep += e.said[k].asleep;
			}
			CHECK(seed, d == n.nstmt);
			CHECK(seed, (int)e.leaf.verdict == (int)n.verdict);
			CHECK(seed, e.fate == (n.observe ? FLOW_UNTOUCHED : e.leaf.verdict));
			CHECK(seed, e.why && !strstr(e.why, "(null)"));
			CHECK(seed, !*e.limits == !n.nlimit);
			overruled += e.nsaid > d;
			decided += d;
		}
		flow_free(f);
		arena_free(a);
	}
	assert_true(overruled > 300 && asleep > 200 && decided > 2000);
}

static void
explain_says_why_nothing_is_said(void **state)
{
	static const struct {
		struct packet p;
		const char *words;
	} row[] = {
		{{.proto = IPPROTO_UDP}, "only TCP"},
		{{.proto = IPPROTO_TCP, .state = PACKET_ESTABLISHED}, "when it began"},
		{{.proto = IPPROTO_TCP, .hook = PACKET_OUTPUT}, "forwarded"},
		{{.proto = IPPROTO_TCP, .dport = 80}, "port 80"},
		{{.proto = IPPROTO_TCP, .dport = 25}, "rejected by block"},
	};
	struct lab l = lab(POLICY_ROUTER);
	struct look_explain e;
	flow_ref r;

	(void)state;
	stmt(&l, POLICY_BLOCK, "block");
	r = flow_point(l.f, l.pt, l.d);
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct packet p = row[i].p;

		p.src = (struct addr){ADDR_V4, 0xc0000209};
		p.dst = (struct addr){ADDR_V4, 0x08080808};
		look_explain(l.a, l.f, r, l.pt, &p, &e);
		assert_non_null(strstr(e.why, row[i].words));
		p.src.n = 0x08080404;
		look_explain(l.a, l.f, r, l.pt, &p, &e);
		assert_non_null(strstr(e.why, "not touched"));
	}
	done(&l);
}

/* ---- test ---------------------------------------------------------------------------------- */

static bool
holds(struct lab *l, enum policy_expect expect, uint64_t from, uint64_t until, uint64_t *when)
{
	struct look_results r;

	l->p->test->expect = expect;
	l->p->test->dated = until;
	l->p->test->day_from = from;
	l->p->test->day_until = until;
	assert_int_equal(look_test(l->a, l->f, l->p, l->d, &r), 0);
	assert_int_equal(r.n, 1);
	assert_int_equal(r.failed, !r.v[0].ok);
	if (when)
		*when = r.v[0].when;
	return r.v[0].ok;
}

static void
test_undated_holds_on_every_day(void **state)
{
	struct lab l = lab(POLICY_ROUTER);
	struct policy_test t = {.meta = meta("t"), .point = l.pt, .probe = "probe"};
	struct policy_stmt *e;
	uint64_t when;

	(void)state;
	t.packet = (struct packet){.proto = IPPROTO_TCP, .syn = true, .dport = 25,
	    .src = {ADDR_V4, 0xc0000205}, .dst = {ADDR_V4, 0x08080808}};
	l.p->test = &t;
	l.p->ntest = 1;
	stmt(&l, POLICY_BLOCK, "block");
	e = stmt(&l, POLICY_EXEMPT, "mta");
	assert_true(holds(&l, POLICY_EXPECT_ALLOW, 0, 0, NULL));
	e->meta.days.since = 1000;
	e->meta.days.until = 2000;
	assert_false(holds(&l, POLICY_EXPECT_ALLOW, 0, 0, &when));
	assert_int_equal(when, 0);
	assert_false(holds(&l, POLICY_EXPECT_REJECT, 0, 0, &when));
	assert_int_equal(when, 1000);
	assert_true(holds(&l, POLICY_EXPECT_ALLOW, 1000, 2000, NULL));
	assert_false(holds(&l, POLICY_EXPECT_ALLOW, 1000, 2001, &when));
	assert_int_equal(when, 2000);
	assert_false(holds(&l, POLICY_EXPECT_ALLOW, 999, 2000, &when));
	assert_int_equal(when, 999);
	assert_true(holds(&l, POLICY_EXPECT_REJECT, 2000, 3000, NULL));
	done(&l);
}

static void
test_allow_covers_untouched_and_deny_covers_reject_and_drop(void **state)
{
	static const struct {
		enum { NONE, EXEMPT, REJECT, DROP, CAPTURE, OBSERVE } what;
		bool ok[POLICY_EXPECT_CAPTURE + 1];
	} row[] = {
		/*          allow untouched deny reject drop capture */
		{NONE,     {true, true, false, false, false, false}},
		{EXEMPT,   {true, false, false, false, false, false}},
		{REJECT,   {false, false, true, true, false, false}},
		{DROP,     {false, false, true, false, true, false}},
		{CAPTURE,  {false, false, false, false, false, true}},
		{OBSERVE,  {true, true, false, false, false, false}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct lab l = lab(POLICY_HOST);
		struct policy_test t = {.meta = meta("t"), .point = l.pt, .probe = "probe"};

		t.packet = (struct packet){.hook = PACKET_OUTPUT, .proto = IPPROTO_TCP, .syn = true,
		    .dport = 25, .src = {ADDR_V4, 0xc0000205}, .dst = {ADDR_V4, 0x08080808}};
		l.p->test = &t;
		l.p->ntest = 1;
		if (row[i].what == EXEMPT)
			stmt(&l, POLICY_EXEMPT, "mta");
		else if (row[i].what != NONE)
			stmt(&l, POLICY_BLOCK, "block")->with =
			    row[i].what == DROP ? POLICY_DROP : POLICY_REJECT;
		l.out->capture = row[i].what == CAPTURE || row[i].what == OBSERVE;
		l.pt->observe = row[i].what == OBSERVE;
		for (int e = 0; e <= POLICY_EXPECT_CAPTURE; e++)
			assert_int_equal(holds(&l, (enum policy_expect)e, 0, 0, NULL), row[i].ok[e]);
		done(&l);
	}
}

/* ---- diff ---------------------------------------------------------------------------------- */

static void
diff_pairs_points_by_name(void **state)
{
	struct lab l = lab(POLICY_ROUTER), k = lab(POLICY_ROUTER);
	struct look_diff x;

	(void)state;
	stmt(&l, POLICY_BLOCK, "block");
	stmt(&k, POLICY_BLOCK, "another-name");
	assert_int_equal(look_diff(l.a, l.f, l.p, k.p, l.d, &x), 0);
	assert_false(x.traffic);
	assert_int_equal(x.npoint, 1);
	assert_int_equal(x.point[0].diff.nbox, 0);
	k.out->stmt[0]->with = POLICY_DROP;
	assert_int_equal(look_diff(l.a, l.f, l.p, k.p, l.d, &x), 0);
	assert_true(x.traffic);
	/* one box a family */
	assert_int_equal(x.point[0].diff.nbox, 2);
	assert_int_equal(x.point[0].diff.box[0].was, FLOW_REJECT);
	assert_int_equal(x.point[0].diff.box[0].now, FLOW_DROP);
	assert_int_equal(x.point[0].diff.box[0].witness.dport, 25);
	assert_ptr_equal(x.point[0].diff.box[0].now_stmt[0], k.out->stmt[0]);
	k.pt->meta.name = "gate";
	assert_int_equal(look_diff(l.a, l.f, l.p, k.p, l.d, &x), 0);
	assert_int_equal(x.npoint, 2);
	assert_string_equal(x.point[0].name, "gate");
	assert_null(x.point[0].was);
	assert_int_equal(x.point[0].diff.box[0].was, FLOW_UNTOUCHED);
	assert_string_equal(x.point[1].name, "border");
	assert_null(x.point[1].now);
	assert_int_equal(x.point[1].diff.box[0].now, FLOW_UNTOUCHED);
	done(&l);
	done(&k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lint_exemption_that_decides_nothing),
		cmocka_unit_test(lint_relays_of_an_open_zone_are_a_note),
		cmocka_unit_test(lint_CAM_03_exemptions_end),
		cmocka_unit_test(lint_block_with_until_widens_by_itself),
		cmocka_unit_test(lint_X_06_port_25_is_blocked_for_both_families),
		cmocka_unit_test(lint_what_points_do_not_cover),
		cmocka_unit_test(lint_CAM_06_relay_is_a_range),
		cmocka_unit_test(lint_CAM_10_host_by_address),
		cmocka_unit_test(lint_CAM_20_advertised_size_fits),
		cmocka_unit_test(lint_COL_27_ports_of_relays),
		cmocka_unit_test(lint_COL_14_passwords_that_can_be_read),
		cmocka_unit_test(lint_COL_09_classes_of_relays),
		cmocka_unit_test(lint_CAM_13_more_than_60_an_hour_is_arranged),
		cmocka_unit_test(lint_COL_31_COL_33_registrations_are_complete),
		cmocka_unit_test(lint_COL_37_credentials_have_locations),
		cmocka_unit_test(lint_COR_10_locations_are_clients),
		cmocka_unit_test(lint_COR_16_COR_17_private_sources),
		cmocka_unit_test(lint_COR_12_CAM_15_identities),
		cmocka_unit_test(lint_CAM_18_host_names_are_no_mail_domains),
		cmocka_unit_test(lint_many_of_one_kind_hide_nothing),
		cmocka_unit_test(explain_names_all_who_spoke),
		cmocka_unit_test(explain_says_why_nothing_is_said),
		cmocka_unit_test(test_undated_holds_on_every_day),
		cmocka_unit_test(test_allow_covers_untouched_and_deny_covers_reject_and_drop),
		cmocka_unit_test(diff_pairs_points_by_name),
	};

	return cmocka_run_group_tests_name("look", tests, NULL, NULL);
}
