/*
 * flow_bench: what the decision diagram costs, on policies built by hand:
 * lists of random prefixes, and many statements. Prints one line a figure.
 *
 *     flow_bench [PREFIXES [STATEMENTS]]
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "flow/flow.h"
#include "policy/policy.h"
#include "text/diag.h"

static uint64_t seed = 1;

/* splitmix64 */
static uint64_t
next(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void
add_prefix(struct arena *a, struct addr_set *s, bool v6, unsigned least, unsigned most)
{
	unsigned bits = least + (unsigned)(next() % (most - least + 1));

	if (v6) {
		u128 mask = ~(u128)0 << (128 - bits), x = u128_of(next() >> 3 | 1ull << 61, next());

		addr_set_add(a, s, ADDR_V6, x & mask, (x & mask) | ~mask);
	} else {
		uint32_t mask = ~0u << (32 - bits), x = (uint32_t)next();

		addr_set_add(a, s, ADDR_V4, x & mask, (x & mask) | ~mask);
	}
}

static struct policy_stmt *
stmt(struct policy *p, struct policy_judge *j, enum policy_stmt_kind kind)
{
	struct policy_stmt *s = arena_of(p->a, struct policy_stmt);

	s->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .days = POLICY_ALWAYS};
	s->id = (uint32_t)p->nstmt;
	s->meta.name = arena_printf(p->a, "s%u", s->id);
	s->kind = kind;
	s->zone = j->zone;
	s->point = j->zone->point;
	s->dir = j->dir;
	s->from.any = s->to.any = true;
	s->ports.set = port_set_mail;
	s->ports.set.n = 1;
	ARENA_PUSH(p->a, p->stmt, p->nstmt, p->capstmt) = s;
	ARENA_PUSH(p->a, j->stmt, j->nstmt, j->capstmt) = s;
	return s;
}

/* A border router: relays with n prefixes, an institution of `inside` prefixes
 * (0: one /8 of each family), both directions, and the given number of exemptions
 * from random prefixes, to random prefixes when `both`. */
static struct policy *
build(struct arena *a, size_t n, size_t inside, size_t exempt, bool both)
{
	struct policy *p = arena_of(a, struct policy);
	struct policy_point *pt = arena_of(a, struct policy_point);
	struct policy_zone *z = arena_of(a, struct policy_zone);
	struct policy_relay *y = arena_of(a, struct policy_relay);
	struct addr_set *s = &z->inside.set;

	p->a = a;
	pt->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .name = "border", .days = POLICY_ALWAYS};
	z->meta = pt->meta;
	z->point = pt;
	ARENA_PUSH(a, pt->zone, pt->nzone, pt->capzone) = z;
	ARENA_PUSH(a, p->point, p->npoint, p->cappoint) = pt;
	y->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .name = "ppsw", .days = POLICY_ALWAYS};
	ARENA_PUSH(a, p->relay, p->nrelay, p->caprelay) = y;
	y->clients.any = true;
	y->ports = port_set_mail;
	for (size_t i = 0; i < n; i++)
		add_prefix(a, &y->ranges.set, i % 2, i % 2 ? 40 : 24, i % 2 ? 64 : 32);
	addr_set_finish(&y->ranges.set);
	for (size_t i = 0; i < inside; i++)
		add_prefix(a, s, i % 2, i % 2 ? 40 : 24, i % 2 ? 64 : 32);
	if (!inside) {
		addr_set_add(a, s, ADDR_V4, 0x80000000, 0x8fffffff);
		addr_set_add(a, s, ADDR_V6, u128_of(1ull << 61, 0), u128_of(1ull << 61 | 1ull << 56, 0));
	}
	addr_set_finish(s);
	z->internal = *s;
	for (int k = 0; k < POLICY_NDIR; k++) {
		struct policy_judge *j = &z->judge[k];

		*j = (struct policy_judge){.present = true, .at = TEXT_NO_SPAN,
		    .dir = (enum policy_dir)k, .zone = z};
		stmt(p, j, POLICY_RELAY)->relay = y;
		stmt(p, j, POLICY_BLOCK)->with = k ? POLICY_DROP : POLICY_REJECT;
		if (k == POLICY_OUTBOUND) {
			struct policy_stmt *r = stmt(p, j, POLICY_ROAMING);

			r->ports.set = port_set_mail;
			r->ports.set.v++;
			r->ports.set.n--;
			for (size_t i = 0; i < exempt; i++) {
				struct policy_stmt *e = stmt(p, j, POLICY_EXEMPT);

				e->from.any = false;
				add_prefix(a, &e->from.set, i % 4 == 3, i % 4 == 3 ? 12 : 8,
				    i % 4 == 3 ? 64 : 32);
				e->to.any = !both;
				if (both)
					add_prefix(a, &e->to.set, i % 4 == 3,
					    i % 4 == 3 ? 8 : 4, i % 4 == 3 ? 64 : 32);
			}
		}
		stmt(p, j, POLICY_OTHERWISE)->deny = k;
		j->stmt[j->nstmt - 1]->ports.set = port_set_mail;
		j->otherwise = j->stmt[j->nstmt - 1];
	}
	return p;
}

static void
one(const char *what, size_t n, size_t inside, size_t exempt, bool both)
{
	struct arena *a = arena_new();
	struct policy *p = build(a, n, inside, exempt, both);
	struct diags *d = diags_new(a);
	struct flow *f = flow_new(0);
	double t = now();
	flow_ref r = flow_point(f, p->point[0], d);

	printf("%s: build %.1f ms, %u nodes, %llu edges, %.1f MB\n", what, now() - t,
	    flow_count(f), (unsigned long long)fdd_edges(flow_fdd(f)),
	    (double)fdd_used(flow_fdd(f)) / 1e6);
	if (r == FLOW_NONE)
		printf("%s: limit\n", what);
	t = now();
	for (int k = 0; k < POLICY_NDIR; k++) {
		const struct policy_judge *j = &p->point[0]->zone[0]->judge[k];
		struct flow_useful *u = arena_array(a, j->nstmt, struct flow_useful);

		if (!flow_judge_useful(f, j, d, u))
			printf("%s: limit\n", what);
	}
	printf("%s: what decides nothing %.1f ms\n", what, now() - t);
	if (n) {
		struct packet q = {.hook = PACKET_FORWARD, .proto = IPPROTO_TCP, .syn = true,
		    .src = {ADDR_V4, 0x80000001}, .dst = {ADDR_V4, 0x08080808}, .dport = 25};
		struct policy_relay *y = arena_of(a, struct policy_relay);
		struct flow_diff diff;
		unsigned sum = 0;
		flow_ref now_r;

		t = now();
		for (unsigned i = 0; i < 1000; i++) {
			q.dst.n = (uint32_t)next();
			sum += (unsigned)flow_eval(f, r, &q)->verdict;
		}
		printf("%s: one packet %.4f ms (%u)\n", what, (now() - t) / 1000, sum);
		*y = *p->relay[0];
		y->ranges.set = (struct addr_set){0};
		for (size_t i = 0; i < p->relay[0]->ranges.set.n4; i++)
			if (i % 1000 != 500)
				addr_set_add(a, &y->ranges.set, ADDR_V4,
				    p->relay[0]->ranges.set.v4[i].lo, p->relay[0]->ranges.set.v4[i].hi);
		for (size_t i = 0; i < p->relay[0]->ranges.set.n6; i++)
			addr_set_add(a, &y->ranges.set, ADDR_V6,
			    p->relay[0]->ranges.set.v6[i].lo, p->relay[0]->ranges.set.v6[i].hi);
		addr_set_finish(&y->ranges.set);
		for (size_t i = 0; i < p->nstmt; i++)
			if (p->stmt[i]->relay)
				p->stmt[i]->relay = y;
		t = now();
		now_r = flow_point(f, p->point[0], d);
		printf("%s: the other side %.1f ms\n", what, now() - t);
		t = now();
		flow_diff(f, a, r, now_r, false, 1000, &diff);
		printf("%s: diff %.1f ms, %zu boxes\n", what, now() - t, diff.nbox);
	}
	flow_free(f);
	arena_free(a);
}

int
main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
	size_t m = argc > 2 ? strtoul(argv[2], NULL, 10) : 4000;

	if (n) {
		one("relay prefixes", n, 0, 0, false);
		one("inside prefixes", 100, n, 0, false);
		one("prefixes on both sides", n, n, 0, false);
	}
	one("exemptions by source", 0, 0, m, false);
	one("exemptions by source and destination", 0, 0, m, true);
	if (n)
		one("exemptions and prefixes", n, 0, m, false);
	return 0;
}
