/*
 * Good policies: what is read is what was written. (Bad ones are in
 * policy_malformed_test.c and policy_widen_test.c.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "policy/keys.h"
#include "policy_world.h"

struct state {
	struct arena *a;
	struct text_set *t;
	struct diags *d;
	struct world_file file[8];
};

static int
setup(void **state)
{
	struct arena *a = arena_new();
	struct state *s = arena_of(a, struct state);

	s->a = a;
	s->t = text_set_new(a);
	s->d = diags_new(a);
	*state = s;
	return 0;
}

static int
teardown(void **state)
{
	arena_free(((struct state *)*state)->a);
	return 0;
}

static const struct policy *
load_in(struct state *s, const char *dir, const char *text)
{
	struct test_world tw = {.file = s->file, .dir = dir};
	struct policy_world pw = world_of(&tw);
	const struct policy *p = policy_load(s->a, s->t, "main.yaml", text, strlen(text), &pw, s->d);

	for (size_t i = 0; i < s->d->n; i++)
		print_error("%s at %u: %s\n", diag_row(s->d->v[i].code)->code, s->d->v[i].at.off,
		    s->d->v[i].message);
	assert_non_null(p);
	assert_int_equal(s->d->n, 0);
	return p;
}

static const struct policy *
load(struct state *s, const char *text)
{
	return load_in(s, NULL, text);
}

static const struct policy *
load_whole(struct state *s)
{
	size_t n;
	char *text = world_file_read(s->a, "tests/malformed/whole.yaml", &n);

	assert_non_null(text);
	return load_in(s, "tests/malformed", text);
}

static void
give(struct state *s, const char *name, const char *bytes)
{
	size_t i = 0;

	while (s->file[i].name)
		i++;
	s->file[i] = (struct world_file){name, bytes, strlen(bytes)};
}

static bool
holds(const struct addr_set *set, const char *s)
{
	struct addr x;

	assert_int_equal(addr_read(s, strlen(s), &x), ADDR_OK);
	return addr_set_has(set, x);
}

static const struct policy_stmt *
stmt(const struct policy *p, const char *point, size_t zone, enum policy_dir dir, const char *name)
{
	const struct policy_point *pt = policy_point_find(p, point);
	const struct policy_judge *j;

	assert_non_null(pt);
	assert_true(zone < pt->nzone);
	j = &pt->zone[zone]->judge[dir];
	for (size_t i = 0; i < j->nstmt; i++)
		if (!strcmp(j->stmt[i]->meta.name, name))
			return j->stmt[i];
	fail_msg("no statement %s", name);
	return NULL;
}

/* ---- networks and ports --------------------------------------------------------- */

#define HEAD "mailreeve: 1\nname: t\n"
#define NOTHING "points: {h: {kind: host, outbound: {otherwise: untouched}}}\n"

static const struct policy_network *
network(const struct policy *p, const char *name)
{
	for (size_t i = 0; i < p->nnetwork; i++)
		if (!strcmp(p->network[i]->meta.name, name))
			return p->network[i];
	fail_msg("no network %s", name);
	return NULL;
}

static void
networks_are_made_of_ranges_names_lists_and_exceptions(void **state)
{
	struct state *s = *state;
	const struct policy_network *lab, *rest;
	const struct policy *p;

	give(s, "lists/lab.txt", "# the lab\r\n  10.1.0.0/16  # one\r\n\r\n10.3.0.1\r\n");
	p = load(s, HEAD "networks:\n"
	    "  rest: {ranges: any, except: [lab, 192.0.2.0/24]}\n"
	    "  lab: {ranges: [more, 10.0.0.0/24], ranges-from: lists/lab.txt, "
	    "except: [10.1.9.0/24], families: ipv4}\n"
	    "  more: {ranges: [10.0.1.0/24], families: ipv4}\n" NOTHING);
	lab = network(p, "lab");
	rest = network(p, "rest");
	assert_int_equal(lab->families, ADDR_V4);
	assert_int_equal(rest->families, ADDR_BOTH);
	/* 10.0.0.0/23, 10.1.0.0-10.1.8.255, 10.1.10.0-10.1.255.255, 10.3.0.1 */
	assert_int_equal(lab->set.n4, 4);
	assert_true(holds(&lab->set, "10.0.1.255"));
	assert_true(holds(&lab->set, "10.1.8.255"));
	assert_false(holds(&lab->set, "10.1.9.0"));
	assert_true(holds(&lab->set, "10.3.0.1"));
	assert_false(holds(&lab->set, "10.3.0.2"));
	assert_false(holds(&rest->set, "10.3.0.1"));
	assert_true(holds(&rest->set, "10.1.9.0"));
	assert_true(holds(&rest->set, "2001:db8::1"));
}

static void
a_network_of_one_family_by_name_needs_no_families(void **state)
{
	const struct policy *p = load(*state, HEAD "networks:\n"
	    "  four: {ranges: [10.0.0.0/8], families: ipv4}\n"
	    "  six: {ranges: [\"2001:db8::/32\"], families: ipv6}\n"
	    "  both: [four, six]\n"
	    "  again: [four]\n" NOTHING);

	assert_int_equal(network(p, "both")->families, ADDR_BOTH);
	assert_int_equal(network(p, "again")->families, ADDR_V4);
}

static void
CAM_07_ports_are_names_numbers_and_ranges(void **state)
{
	static const uint16_t six[] = {110, 143, 465, 587, 993, 995};
	const struct policy *p = load(*state, HEAD
	    "ports:\n  lot: [mail, odd, 26]\n  odd: [2525, 3000-3010]\n"
	    "points: {h: {kind: host, outbound: {roaming: {ports: [pop3, imap, submissions, "
	    "submission, imaps, pop3s]}, otherwise: untouched}, "
	    "inbound: {block: {ports: [lot, 24]}, otherwise: untouched}}}\n");
	const struct policy_ports *r = &stmt(p, "h", 0, POLICY_OUTBOUND, "roaming")->ports;
	const struct policy_ports *b = &stmt(p, "h", 0, POLICY_INBOUND, "block")->ports;

	assert_int_equal(r->set.n, 6);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(r->set.v[i].lo, six[i]);
	assert_string_equal(b->label, "lot,24");
	assert_int_equal(b->set.v[0].lo, 24);
	assert_int_equal(b->set.v[0].hi, 26);
	assert_true(port_set_has(&b->set, 995));
	assert_true(port_set_has(&b->set, 2525));
	assert_true(port_set_has(&b->set, 3010));
	assert_false(port_set_has(&b->set, 3011));
}

static void
includes_are_read_once_and_beside_their_file(void **state)
{
	struct state *s = *state;
	const struct policy *p;

	give(s, "parts/a.yaml", "mailreeve: 1\ninclude: [deep/b.yaml, c.yaml]\n"
	    "networks: {a: [b, 10.0.0.0/8, \"2001:db8::/32\"]}\n");
	give(s, "parts/deep/b.yaml", "mailreeve: 1\n"
	    "networks: {b: {ranges-from: l.txt, families: ipv4}}\n");
	give(s, "parts/deep/l.txt", "192.0.2.0/24\n");
	give(s, "parts/c.yaml", "mailreeve: 1\nports: {x: [25]}\n"
	    "relays: {r: {ranges: a, ports: x}}\nkinds: {k: {class: device}}\n");
	p = load(s, HEAD "include: [parts/a.yaml, parts/c.yaml]\n"
	    "points: {h: {kind: host, outbound: {relays: [r], block: {ports: x}, "
	    "otherwise: untouched}}}\n");
	assert_int_equal(p->nnetwork, 2);
	assert_int_equal(p->nrelay, 1);
	assert_int_equal(p->nrate, 1);
	assert_true(holds(&p->relay[0]->ranges.set, "192.0.2.7"));
	assert_string_equal(s->t->file[p->relay[0]->meta.at.file]->name, "parts/c.yaml");
}

/* ---- relays ------------------------------------------------------------------------ */

static void
X_02_sizes_are_inclusive_or_strict(void **state)
{
	const struct policy *p = load(*state, HEAD "relays:\n"
	    "  cam: {host: a.example.org, endpoints: [{port: 25, tls: none}], "
	    "accepts: {message-size: up to 100 MB, un-encoded: up to 70 MB}}\n"
	    "  col: {host: a.example.org, endpoints: [{port: 25, tls: none}], "
	    "accepts: {message-size: below 5 MiB}}\n" NOTHING);
	const struct policy_relay *cam = policy_relay_find(p, "cam"), *col = policy_relay_find(p, "col");

	assert_true(cam->size.set && !cam->size.strict && cam->size.bytes == 100000000);
	assert_int_equal(cam->advertised_raw, 70000000);
	assert_true(col->size.set && col->size.strict && col->size.bytes == 5 * 1048576);
	assert_int_equal(col->advertised_raw, 0);
}

static void
a_relay_says_what_the_firewall_and_the_forwarder_need(void **state)
{
	const struct policy *p = load_whole(*state);
	const struct policy_relay *ppsw = policy_relay_find(p, "ppsw");
	const struct policy_relay *ser = policy_relay_find(p, "ser");
	const struct policy_relay *by = policy_relay_find(p, "by-address");

	assert_true(ppsw->ports_all && port_set_equal(&ppsw->ports, &port_set_all));
	assert_int_equal(ppsw->families, ADDR_BOTH);
	assert_true(ppsw->clients.any);
	assert_int_equal(ppsw->class, POLICY_CLASS_DEVICE);
	assert_int_equal(ppsw->auth, POLICY_AUTH_NONE);
	assert_string_equal(ppsw->host, "ppsw.cam.ac.uk");
	assert_false(ppsw->host_literal);
	assert_int_equal(ppsw->recipients.n, 1);
	assert_int_equal(ppsw->recipients.v[0].kind, POLICY_PATTERN_ANY);
	assert_int_equal(ppsw->most_connections, 4);
	assert_int_equal(ppsw->messages_per_connection, 100);
	assert_int_equal(ppsw->connection_seconds, 600);
	assert_int_equal(ppsw->limits.v[0].each, POLICY_EACH_RELAY);
	assert_string_equal(ppsw->for_class[0], "mail-servers");

	assert_false(ser->ports_all);
	assert_int_equal(ser->ports.n, 2);
	assert_true(port_set_has(&ser->ports, 587) && port_set_has(&ser->ports, 465));
	assert_int_equal(ser->endpoint[0].port, 587);
	assert_int_equal(ser->endpoint[0].tls, POLICY_TLS_STARTTLS);
	assert_int_equal(ser->endpoint[1].tls, POLICY_TLS_IMPLICIT);
	assert_int_equal(ser->tls_minimum, 12);
	assert_int_equal(ser->auth, POLICY_AUTH_PASSWORD);
	assert_string_equal(ser->credential, "ser-forms");
	assert_int_equal(ser->auth_recipients.v[0].kind, POLICY_PATTERN_BELOW);
	assert_string_equal(ser->auth_recipients.v[0].domain, "example.org");
	assert_int_equal(ser->auth_recipients.v[1].kind, POLICY_PATTERN_DOMAIN);
	assert_true(ser->stored_credentials);

	assert_true(by->host_literal);
	assert_string_equal(by->host_reason, "a scanner without DNS");
	assert_int_equal(by->auth, POLICY_AUTH_CERTIFICATE);
	assert_true(port_set_has(&by->ports, 587));
}

/* ---- points --------------------------------------------------------------------------- */

static void
CAM_03_a_statement_ends_with_its_last_day(void **state)
{
	const struct policy *p = load_whole(*state);
	const struct policy_stmt *s = stmt(p, "firewall", 0, POLICY_OUTBOUND, "physics-mta");

	assert_int_equal(s->kind, POLICY_EXEMPT);
	assert_int_equal(s->meta.days.since, (uint64_t)world_days(2026, 11, 21) * 86400);
	assert_int_equal(s->meta.days.until, (uint64_t)world_days(2027, 4, 1) * 86400);
	assert_true(holds(&s->from.set, "131.111.70.5"));
	assert_string_equal(s->from.label, "131.111.70.5");
	assert_true(s->to.any);
	assert_string_equal(s->meta.owner, "physics-it");
	assert_string_equal(s->meta.ticket, "RT-4711");
}

static void
a_relay_statement_lasts_as_long_as_both_say(void **state)
{
	const struct policy *p = load(*state, HEAD
	    "relays: {r: {ranges: [192.0.2.1], families: ipv4, ports: [25], since: 2026-02-01, "
	    "until: 2026-12-31}}\n"
	    "points: {h: {kind: host, outbound: {relays: [{relay: r, since: 2026-01-01, "
	    "until: 2026-06-30}, {relay: r, name: later, since: 2026-07-01}], "
	    "otherwise: untouched}}}\n");
	const struct policy_stmt *a = stmt(p, "h", 0, POLICY_OUTBOUND, "relay-r");
	const struct policy_stmt *b = stmt(p, "h", 0, POLICY_OUTBOUND, "later");

	assert_int_equal(a->meta.days.since, (uint64_t)world_days(2026, 2, 1) * 86400);
	assert_int_equal(a->meta.days.until, (uint64_t)world_days(2026, 7, 1) * 86400);
	assert_int_equal(b->meta.days.since, (uint64_t)world_days(2026, 7, 1) * 86400);
	assert_int_equal(b->meta.days.until, (uint64_t)world_days(2027, 1, 1) * 86400);
}

static void
days_begin_in_the_policys_time_zone(void **state)
{
	const struct policy *p = load(*state, HEAD "timezone: America/New_York\n"
	    "points: {h: {kind: host, outbound: {block: {ports: [25], until: 2027-03-31}, "
	    "otherwise: untouched}}}\n");

	assert_int_equal(stmt(p, "h", 0, POLICY_OUTBOUND, "block")->meta.days.until,
	    (uint64_t)world_days(2027, 4, 1) * 86400 + 5 * 3600);
}

static void
statements_stand_by_precedence_and_have_names_of_their_own(void **state)
{
	struct state *s = *state;
	const struct policy *p = load(s, HEAD
	    "relays: {r: {ranges: [192.0.2.1], families: ipv4, ports: [25]}}\n"
	    "points: {h: {kind: host, outbound: {otherwise: {deny: true}, "
	    "roaming: {ports: [993]}, block: [{ports: [25]}, {ports: [587]}, "
	    "{name: block-2, ports: [24]}], relays: r, "
	    "exempt: {ports: [25], to: 192.0.2.9, owner: o, reason: r}}}}\n");
	static const char *const name[] = {
		"exempt", "relay-r", "block", "block-3", "block-2", "roaming", "otherwise",
	};
	static const char *const label[] = {
		"exempt", "relay r", "block", "block-3", "block-2", "roaming", "otherwise",
	};
	const struct policy_judge *j = &p->point[0]->zone[0]->judge[POLICY_OUTBOUND];

	assert_int_equal(j->nstmt, 7);
	for (size_t i = 0; i < 7; i++) {
		assert_string_equal(j->stmt[i]->meta.name, name[i]);
		assert_string_equal(policy_stmt_label(s->a, j->stmt[i]), label[i]);
	}
	/* ids in the order of the file: otherwise came first */
	assert_int_equal(p->nstmt, 7);
	for (size_t i = 0; i < 7; i++)
		assert_int_equal(p->stmt[i]->id, i);
	assert_int_equal(p->stmt[0]->kind, POLICY_OTHERWISE);
	assert_int_equal(p->stmt[6]->kind, POLICY_EXEMPT);
	assert_ptr_equal(j->otherwise, p->stmt[0]);
	assert_true(j->otherwise->deny);
	assert_true(port_set_equal(&j->otherwise->ports.set, &port_set_mail));
}

static void
refusals_are_reject_outbound_and_drop_inbound(void **state)
{
	const struct policy *p = load(*state, HEAD "points: {h: {kind: host, "
	    "outbound: {block: {ports: [25]}, otherwise: deny}, "
	    "inbound: {block: {ports: [25]}, otherwise: {deny: true, with: reject, log: true}}}}\n");

	assert_int_equal(stmt(p, "h", 0, POLICY_OUTBOUND, "block")->with, POLICY_REJECT);
	assert_int_equal(stmt(p, "h", 0, POLICY_OUTBOUND, "otherwise")->with, POLICY_REJECT);
	assert_int_equal(stmt(p, "h", 0, POLICY_INBOUND, "block")->with, POLICY_DROP);
	assert_int_equal(stmt(p, "h", 0, POLICY_INBOUND, "otherwise")->with, POLICY_REJECT);
	assert_true(stmt(p, "h", 0, POLICY_INBOUND, "otherwise")->log);
}

static void
CAM_02_internal_adds_to_inside(void **state)
{
	const struct policy *p = load_whole(*state);
	const struct policy_zone *z = policy_point_find(p, "firewall")->zone[0];

	assert_true(holds(&z->inside.set, "131.111.64.9"));
	assert_false(holds(&z->inside.set, "128.232.1.1"));
	assert_true(holds(&z->internal, "131.111.64.9"));
	assert_true(holds(&z->internal, "128.232.1.1"));
	assert_non_null(z->inside.network);
	assert_string_equal(z->inside.label, "institution");
}

static void
an_inbound_exemption_is_towards_the_inside(void **state)
{
	const struct policy *p = load(*state, HEAD
	    "networks: {in: [10.0.0.0/8, \"2001:db8::/32\"]}\n"
	    "points: {p: {kind: router, zones: {z: {inside: in, inbound: {exempt: {from: 192.0.2.1, "
	    "ports: [25], owner: o, reason: r}, otherwise: deny}}}}}\n");
	const struct policy_stmt *s = stmt(p, "p", 0, POLICY_INBOUND, "exempt");

	assert_false(s->to.any);
	assert_true(holds(&s->to.set, "10.1.2.3"));
}

static void
CAM_04_only_forwarder_names_its_user(void **state)
{
	const struct policy *p = load_whole(*state);
	const struct policy_stmt *s = stmt(p, "other-host", 0, POLICY_OUTBOUND, "relay-ppsw");

	assert_int_equal(s->nuser, 1);
	assert_string_equal(s->user[0], "mailreeve");
	s = stmt(p, "web-host", 0, POLICY_OUTBOUND, "exempt");
	assert_int_equal(s->nuser, 2);
	assert_string_equal(s->user[1], "1000");
	assert_string_equal(s->unit[0], "system.slice/backup.service");
	assert_true(s->from.any);
	assert_true(policy_point_find(p, "web-host")->zone[0]->judge[POLICY_OUTBOUND].capture);
	assert_true(policy_point_find(p, "web-host")->containers);
}

static void
CAM_13_a_limit_counts_towards_the_relays(void **state)
{
	const struct policy *p = load_whole(*state);
	const struct policy_judge *j = &policy_point_find(p, "firewall")->zone[0]->judge[0];

	assert_int_equal(j->nlimit, 1);
	assert_int_equal(j->limit[0].most, 60);
	assert_int_equal(j->limit[0].seconds, 3600);
	assert_int_equal(j->limit[0].each, POLICY_EACH_SOURCE);
	assert_int_equal(j->limit[0].over, POLICY_OVER_LOG);
	assert_true(j->limit[0].to_relays);
	assert_true(holds(&j->limit[0].to.set, "205.220.188.1"));
	assert_true(holds(&j->limit[0].to.set, "131.111.8.130"));
	assert_false(holds(&j->limit[0].to.set, "8.8.8.8"));
}

/* What looks like a contradiction and is none. */
static void
statements_that_share_no_packet_do_not_contradict(void **state)
{
	load(*state, HEAD "networks: {in: [10.0.0.0/8, \"2001:db8::/32\"], far: [192.0.2.0/24, "
	    "\"2001:db9::/32\"]}\npoints:\n  p:\n    kind: router\n    zones:\n      z:\n"
	    "        inside: in\n        internal: 172.16.0.0/12\n        outbound:\n"
	    "          block:\n"
	    "            - {ports: [587], until: 2026-12-31}\n"
	    "            - {ports: [465], to: 192.0.2.0/25, with: drop}\n"
	    "            - {ports: [465], to: 192.0.2.128/25, with: reject}\n"
	    "            - {ports: [993], from: 10.1.0.0/16}\n"
	    "            - {ports: [995], to: [198.51.100.0/24, 172.16.0.0/12]}\n"
	    "            - {ports: [110], from: [10.9.0.0/16, 203.0.113.0/24]}\n"
	    "            - {ports: [143], to: \"2001:db9::/32\"}\n"
	    "          roaming:\n"
	    "            - {ports: [587], since: 2027-01-01}\n"
	    "            - {ports: [993], from: 10.2.0.0/16}\n"
	    /* what both name lies inside, where nothing is judged */
	    "            - {ports: [995], to: [192.0.2.0/24, 172.16.0.0/12]}\n"
	    /* what both name lies outside, where nothing is judged */
	    "            - {ports: [110], from: [10.8.0.0/16, 203.0.113.0/24]}\n"
	    "            - {ports: [143], to: 192.0.2.0/24}\n"
	    "          otherwise: untouched\n");
}

/* ---- submission -------------------------------------------------------------------------- */

static void
COL_05_the_forwarder_listens_at_both_loopbacks(void **state)
{
	const struct policy *p = load(*state, HEAD
	    "relays: {r: {host: A.example.org, endpoints: [{port: 25, tls: none}]}}\n"
	    "submission: {unregistered: {via: r}}\n");

	assert_int_equal(p->submission.nlisten, 2);
	assert_true(p->submission.listen[0].family == ADDR_V4);
	assert_true(p->submission.listen[0].n == 0x7f000001);
	assert_true(p->submission.listen[1].family == ADDR_V6);
	assert_true(p->submission.listen[1].n == 1);
	assert_string_equal(p->submission.user, "mailreeve");
	assert_string_equal(p->submission.unregistered_via->host, "a.example.org");
	assert_int_equal(p->npoint, 0);
}

static void
COL_26_the_unregistered_may_go_by_routes(void **state)
{
	const struct policy *p = load(*state, HEAD
	    "relays: {r: {host: a.example.org, endpoints: [{port: 25, tls: none}]}}\n"
	    "submission: {unregistered: route, routes: [{to: any, via: r}]}\n");

	assert_false(p->submission.unregistered_refuse);
	assert_null(p->submission.unregistered_via);
}

static void
COL_33_a_registration_is_what_was_written(void **state)
{
	const struct policy *p = load_whole(*state);
	const struct policy_application *x = p->submission.application[0];

	assert_string_equal(x->meta.name, "web-forms");
	assert_string_equal(x->kind->meta.name, "web-application");
	assert_string_equal(x->user, "www-data");
	assert_string_equal(x->unit, "system.slice/apache2.service");
	assert_string_equal(x->owners[0], "forms@inst.example.org");
	assert_int_equal(x->sender[0].envelope.kind, POLICY_PATTERN_ADDRESS);
	assert_string_equal(x->sender[0].envelope.local, "bounce");
	assert_string_equal(x->sender[0].envelope.domain, "forms.inst.example.org");
	assert_int_equal(x->sender[0].header.kind, POLICY_PATTERN_LOCAL_ANY);
	assert_string_equal(x->via->meta.name, "ser");
	assert_int_equal(x->state, POLICY_REGISTERED);
	assert_int_equal(x->nlocation, 3);
	assert_int_equal(x->location[0].identity, POLICY_ID_CIDR);
	assert_true(x->location[0].dns_registered);
	assert_int_equal(x->location[1].identity, POLICY_ID_HOSTNAME);
	assert_string_equal(x->location[1].value, "forms.example.net");
	assert_int_equal(x->location[2].identity, POLICY_ID_CERTIFICATE);
	assert_int_equal(x->declared_rate, 90);
	assert_int_equal(x->rewrite.kind, POLICY_PATTERN_ADDRESS);
	assert_string_equal(x->registrant, "owner");
	assert_string_equal(x->account_type, "EGA");
}

static void
CAM_14_limits_of_mail_count_what_they_say(void **state)
{
	const struct policy *p = load_whole(*state);
	const struct policy_mail_limits *l = &p->submission.limits;

	assert_int_equal(l->n, 4);
	assert_int_equal(l->v[0].count, POLICY_COUNT_MESSAGES);
	assert_int_equal(l->v[0].window, POLICY_PER_SECONDS);
	assert_int_equal(l->v[0].seconds, 3600);
	assert_int_equal(l->v[0].each, POLICY_EACH_HOST);
	assert_int_equal(l->v[0].over, POLICY_OVER_WARN);
	/* internal: the domain and all below it */
	assert_int_equal(l->v[0].except.n, 2);
	assert_int_equal(l->v[0].except.v[0].kind, POLICY_PATTERN_DOMAIN);
	assert_int_equal(l->v[0].except.v[1].kind, POLICY_PATTERN_BELOW);
	assert_string_equal(l->v[0].except.v[1].domain, "inst.example.org");
	assert_int_equal(l->v[1].window, POLICY_PER_MESSAGE);
	assert_int_equal(l->v[1].count, POLICY_COUNT_RECIPIENTS);
	assert_int_equal(l->v[1].each, POLICY_EACH_ALL);
	assert_int_equal(l->v[2].most, 100000000);
	assert_int_equal(l->v[2].each, POLICY_EACH_SENDER);
	assert_int_equal(l->v[3].count, POLICY_COUNT_CONNECTIONS);
	assert_int_equal(l->v[3].seconds, 60);
	assert_int_equal(p->rate[0]->limits.v[0].each, POLICY_EACH_APPLICATION);
}

/* ---- tests ------------------------------------------------------------------------------- */

static void
a_test_is_a_packet_or_a_message(void **state)
{
	const struct policy *p = load_whole(*state);

	assert_int_equal(p->ntest, 5);
	assert_int_equal(p->test[0].packet.hook, PACKET_FORWARD);
	assert_int_equal(p->test[0].packet.dport, 587);
	assert_int_equal(p->test[0].expect, POLICY_EXPECT_ALLOW);
	assert_false(p->test[0].dated);
	assert_true(p->test[1].dated);
	assert_int_equal(p->test[1].day_from, (uint64_t)world_days(2027, 4, 1) * 86400);
	assert_int_equal(p->test[1].day_until - p->test[1].day_from, 86400);
	assert_int_equal(p->test[2].packet.hook, PACKET_OUTPUT);
	assert_string_equal(p->test[2].packet.user, "www-data");
	assert_string_equal(p->test[2].packet.unit, "system.slice/apache2.service");
	assert_true(p->test[3].send);
	assert_int_equal(p->test[3].message.size, 6000000);
	assert_string_equal(p->test[3].message.header[0], "a@inst.example.org");
	assert_string_equal(p->test[3].expect_code, "250");
	assert_string_equal(p->test[3].expect_relay, "ser");
	/* COL-33: the From field is as the envelope where nothing is said */
	assert_string_equal(p->test[4].message.header[0], "bounce@forms.inst.example.org");
	assert_string_equal(p->test[4].message.application, "web-forms");
}

static void
a_test_of_a_host_is_where_its_rules_are(void **state)
{
	const struct policy *p = load(*state, HEAD
	    "points: {in: {kind: host, inbound: {otherwise: untouched}}, "
	    "both: {kind: host, outbound: {otherwise: untouched}, inbound: {otherwise: untouched}}}\n"
	    "tests:\n"
	    "  - {at: in, probe: \"tcp 10.0.0.1 -> 10.0.0.2:25\", expect: untouched}\n"
	    "  - {at: both, probe: \"tcp 10.0.0.1 -> 10.0.0.2:25\", expect: untouched}\n"
	    "  - {at: both, direction: forwarded, probe: \"tcp 10.0.0.1 -> 10.0.0.2:25\", "
	    "expect: deny}\n");

	assert_int_equal(p->test[0].packet.hook, PACKET_INPUT);
	assert_int_equal(p->test[1].packet.hook, PACKET_OUTPUT);
	assert_int_equal(p->test[2].packet.hook, PACKET_FORWARD);
	assert_int_equal(p->test[2].expect, POLICY_EXPECT_DENY);
}

/* ---- text, mistakes ----------------------------------------------------------------------- */

static void
texts_are_one_line(void **state)
{
	const struct policy *p = load(*state, HEAD
	    "title: |\n  two\n  lines\ncontact: \"a\\nb\"\n" NOTHING);

	assert_string_equal(p->meta.title, "two lines");
	assert_string_equal(p->meta.contact, "a b");
}

static void
a_mistake_does_not_hide_another_or_make_one_up(void **state)
{
	struct state *s = *state;
	const char *text = HEAD
	    "networks: {in: [10.0.0.0/8, \"2001:db8::/33x\"]}\n"
	    "relays: {r: {ranges: in, ports: all, clas: any}}\n"
	    "points: {p: {kind: router, zones: {z: {inside: in, outbound: {relays: [r], "
	    "block: {port: [25]}, exempt: {form: 10.0.0.1, to: anywhere, ports: [25], owner: o, "
	    "reason: r}, otherwise: untouched}}}}}\n"
	    "tests: [{at: p, probe: \"tcp 10.0.0.1 -> 8.8.8.8:25\", expect: deny}]\n";
	struct test_world tw = {.file = s->file};
	struct policy_world pw = world_of(&tw);
	static const enum diag_code want[] = {DIAG_E0207, DIAG_E0301, DIAG_E0301, DIAG_E0301};

	assert_null(policy_load(s->a, s->t, "main.yaml", text, strlen(text), &pw, s->d));
	assert_int_equal(s->d->n, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(s->d->v[i].code, want[i]);
		assert_non_null(s->d->v[i].hint);
	}
}

static void
a_long_list_with_mistakes_tells_twenty(void **state)
{
	struct state *s = *state;
	const char *text = HEAD "networks: {in: {ranges-from: l.txt}}\n" NOTHING;
	struct test_world tw = {.file = s->file};
	struct policy_world pw = world_of(&tw);
	struct buf b = BUF_INIT(1 << 20);

	for (unsigned i = 0; i < 1000; i++)
		buf_printf(&b, "10.0.%u.1/24\n", i % 256);
	give(s, "l.txt", b.p);
	assert_null(policy_load(s->a, s->t, "main.yaml", text, strlen(text), &pw, s->d));
	assert_int_equal(s->d->n, 21);
	assert_int_equal(s->d->v[0].code, DIAG_E0414);
	assert_int_equal(s->d->v[20].code, DIAG_E0209);
	assert_int_equal(text_place(s->t, s->d->v[20].at).line, 20);
	buf_free(&b);
}

/* ---- what is printed from the rows ---------------------------------------------------------- */

static void
the_schema_refuses_unknown_keys_and_says_what_each_is(void **state)
{
	struct buf b = BUF_INIT(4 << 20);
	size_t objects = 0;

	(void)state;
	policy_schema_print(&b);
	assert_int_equal(b.err, 0);
	for (const char *s = b.p; (s = strstr(s, "\"properties\": {")); s++)
		objects++;
	assert_true(objects > 25);
	for (const char *s = b.p; (s = strstr(s, "\"additionalProperties\": false")); s++)
		objects--;
	assert_int_equal(objects, 0);
	assert_non_null(strstr(b.p, "CAM-07"));
	buf_free(&b);
}

static void
the_manual_has_a_section_for_each_record(void **state)
{
	struct buf b = BUF_INIT(4 << 20);

	(void)state;
	policy_manual_print(&b);
	assert_int_equal(b.err, 0);
	assert_non_null(strstr(b.p, ".SS A relay\n"));
	assert_non_null(strstr(b.p, ".SS An exemption: exempt\n"));
	assert_non_null(strstr(b.p, "\\fBaccepts.message\\-size\\fR"));
	buf_free(&b);
}

/* A short text must not ask for any amount of memory. */
static void
E0417_copies_of_a_long_list(void **state)
{
	struct state *s = *state;
	struct buf list = BUF_INIT(1 << 24), text = BUF_INIT(1 << 24);
	struct world_file file[] = {{"list", NULL, 0}, {NULL, NULL, 0}};
	struct test_world tw = {.file = file};
	struct policy_world pw = world_of(&tw);

	for (unsigned i = 0; i < 65536; i++)
		buf_printf(&list, "10.%u.%u.0/25\n", i >> 8, i & 255);
	file[0].bytes = list.p;
	file[0].len = list.n;
	buf_str(&text, "mailreeve: 1\nname: t\nnetworks:\n  big: {ranges-from: list, families: ipv4}\n");
	for (unsigned i = 0; i < 2000; i++)
		buf_printf(&text, "  n%u: {ranges: big, except: 10.%u.%u.0/26, families: ipv4}\n", i,
		    i >> 8, i & 255);
	buf_str(&text, "points: {h: {kind: host, outbound: {otherwise: deny}}}\n");
	assert_false(list.err || text.err);
	assert_null(policy_load(s->a, s->t, "main.yaml", text.p, text.n, &pw, s->d));
	assert_int_equal(s->d->n, 1);
	assert_int_equal(s->d->v[0].code, DIAG_E0417);

	/* the same list, many times */
	text.n = 0;
	buf_str(&text, "mailreeve: 1\nname: t\nnetworks:\n");
	for (unsigned i = 0; i < 2000; i++)
		buf_printf(&text, "  n%u: {ranges-from: list, families: ipv4}\n", i);
	buf_str(&text, "points: {h: {kind: host, outbound: {otherwise: deny}}}\n");
	s->d = diags_new(s->a);
	assert_null(policy_load(s->a, s->t, "main.yaml", text.p, text.n, &pw, s->d));
	assert_int_equal(s->d->n, 1);
	assert_int_equal(s->d->v[0].code, DIAG_E0417);
	buf_free(&list);
	buf_free(&text);
}

/* Nor for any amount of time. */
static void
E0418_more_zones_than_a_point_can_have(void **state)
{
	struct state *s = *state;
	struct test_world tw = {0};
	struct policy_world pw = world_of(&tw);

	for (unsigned n = 2000; n <= 2001; n++) {
		struct buf text = BUF_INIT(1 << 20);

		buf_str(&text, "mailreeve: 1\nname: t\nnetworks:\n");
		for (unsigned i = 0; i < n; i++)
			buf_printf(&text, "  z%u: {ranges: [10.%u.%u.0/24], families: ipv4}\n", i, i >> 8,
			    i & 255);
		buf_str(&text, "points:\n  r:\n    kind: router\n    zones:\n");
		for (unsigned i = 0; i < n; i++)
			buf_printf(&text, "      z%u: {inside: z%u, outbound: {otherwise: deny}}\n", i, i);
		s->d = diags_new(s->a);
		if (n == 2000) {
			assert_non_null(policy_load(s->a, s->t, "main.yaml", text.p, text.n, &pw, s->d));
			assert_int_equal(s->d->errors, 0);
		} else {
			assert_null(policy_load(s->a, s->t, "main.yaml", text.p, text.n, &pw, s->d));
			assert_int_equal(s->d->n, 1);
			assert_int_equal(s->d->v[0].code, DIAG_E0418);
			assert_int_equal(text_place(s->t, s->d->v[0].at).line, 3 + n + 4 + n);
		}
		buf_free(&text);
	}
}

int
main(void)
{
#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(networks_are_made_of_ranges_names_lists_and_exceptions),
		TEST(a_network_of_one_family_by_name_needs_no_families),
		TEST(CAM_07_ports_are_names_numbers_and_ranges),
		TEST(includes_are_read_once_and_beside_their_file),
		TEST(X_02_sizes_are_inclusive_or_strict),
		TEST(a_relay_says_what_the_firewall_and_the_forwarder_need),
		TEST(CAM_03_a_statement_ends_with_its_last_day),
		TEST(a_relay_statement_lasts_as_long_as_both_say),
		TEST(days_begin_in_the_policys_time_zone),
		TEST(statements_stand_by_precedence_and_have_names_of_their_own),
		TEST(refusals_are_reject_outbound_and_drop_inbound),
		TEST(CAM_02_internal_adds_to_inside),
		TEST(an_inbound_exemption_is_towards_the_inside),
		TEST(CAM_04_only_forwarder_names_its_user),
		TEST(CAM_13_a_limit_counts_towards_the_relays),
		TEST(statements_that_share_no_packet_do_not_contradict),
		TEST(COL_05_the_forwarder_listens_at_both_loopbacks),
		TEST(COL_26_the_unregistered_may_go_by_routes),
		TEST(COL_33_a_registration_is_what_was_written),
		TEST(CAM_14_limits_of_mail_count_what_they_say),
		TEST(a_test_is_a_packet_or_a_message),
		TEST(a_test_of_a_host_is_where_its_rules_are),
		TEST(texts_are_one_line),
		TEST(a_mistake_does_not_hide_another_or_make_one_up),
		TEST(a_long_list_with_mistakes_tells_twenty),
		TEST(E0417_copies_of_a_long_list),
		TEST(E0418_more_zones_than_a_point_can_have),
		TEST(the_schema_refuses_unknown_keys_and_says_what_each_is),
		TEST(the_manual_has_a_section_for_each_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
