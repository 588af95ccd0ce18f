/*
 * set: the algebra of addresses and ports against a bitmap, and prefixes
 * against libcidr, whose algebra is sound (its text is never used).
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libcidr.h>

#include "addr/set.h"
#include "base/arena.h"

static uint64_t
roll(void)
{
	static uint64_t s = 0x2545f4914f6cdd1du;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s * 0x9e3779b97f4a7c15u;
}

/*
 * The naive side: one byte a point. A point 0..255 is an address at the
 * bottom of its family, 256..511 one at the top, so that both ends of the
 * numbers are in play; the ranges between are never used.
 */
enum { HALF = 256, POINTS = 2 * HALF };

struct naive {
	bool has[2][POINTS];
};

static u128
point(int f, unsigned i)
{
	return i < HALF ? (u128)i :
	    addr_last(f ? ADDR_V6 : ADDR_V4) - (POINTS - 1 - i);
}

static void
random_set(struct arena *a, struct addr_set *s, struct naive *v)
{
	unsigned n = (unsigned)(roll() % 24);

	*s = (struct addr_set){0};
	memset(v, 0, sizeof *v);
	for (unsigned k = 0; k < n; k++) {
		int f = (int)(roll() & 1);
		unsigned half = (unsigned)(roll() & 1) * HALF;
		unsigned lo = (unsigned)(roll() % HALF);
		unsigned hi = lo + (unsigned)(roll() % (k % 4 ? 8 : 64));

		if (hi >= HALF)
			hi = HALF - 1;
		addr_set_add(a, s, f ? ADDR_V6 : ADDR_V4, point(f, half + lo),
		    point(f, half + hi));
		for (unsigned i = lo; i <= hi; i++)
			v->has[f][half + i] = true;
	}
	addr_set_finish(s);
}

/* Finished: ascending, disjoint, not adjacent. */
static void
assert_canonical(const struct addr_set *s)
{
	for (size_t i = 0; i < s->n4; i++) {
		assert_true(s->v4[i].lo <= s->v4[i].hi);
		assert_true(!i || (u128)s->v4[i - 1].hi + 1 < s->v4[i].lo);
	}
	for (size_t i = 0; i < s->n6; i++) {
		assert_true(s->v6[i].lo <= s->v6[i].hi);
		assert_true(!i || (s->v6[i - 1].hi < s->v6[i].lo &&
		    s->v6[i].lo - s->v6[i - 1].hi > 1));
	}
}

static void
assert_same(const struct addr_set *s, const struct naive *v)
{
	assert_canonical(s);
	for (int f = 0; f < 2; f++)
		for (unsigned i = 0; i < POINTS; i++)
			assert_true(addr_set_has(s, (struct addr){
			    f ? ADDR_V6 : ADDR_V4, point(f, i)}) ==
			    v->has[f][i]);
}

static void
set_algebra_agrees_with_a_bitmap(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		struct arena *m = arena_new();
		struct addr_set a, b, got, back;
		struct naive va, vb, want;
		bool covers = true, meets = false;
		struct addr low = {0}, x;

		random_set(m, &a, &va);
		random_set(m, &b, &vb);
		assert_same(&a, &va);
		for (int f = 0; f < 2; f++) {
			for (unsigned i = 0; i < POINTS; i++) {
				covers &= va.has[f][i] || !vb.has[f][i];
				if (!meets && va.has[f][i] && vb.has[f][i]) {
					meets = true;
					low = (struct addr){f ? ADDR_V6 : ADDR_V4,
					    point(f, i)};
				}
			}
		}
		assert_true(addr_set_covers(&a, &b) == covers);
		assert_true(addr_set_meets(&a, &b, &x) == meets);
		assert_true(addr_set_meets(&a, &b, NULL) == meets);
		if (meets)
			assert_true(x.family == low.family && x.n == low.n);

		for (int f = 0; f < 2; f++)
			for (unsigned i = 0; i < POINTS; i++)
				want.has[f][i] = va.has[f][i] || vb.has[f][i];
		addr_set_union(m, &got, &a, &b);
		assert_same(&got, &want);
		assert_true(addr_set_covers(&got, &a) && addr_set_covers(&got, &b));
		addr_set_union(m, &back, &b, &a);
		assert_true(addr_set_equal(&got, &back));

		for (int f = 0; f < 2; f++)
			for (unsigned i = 0; i < POINTS; i++)
				want.has[f][i] = va.has[f][i] && vb.has[f][i];
		addr_set_and(m, &got, &a, &b);
		assert_same(&got, &want);
		assert_true(!!addr_set_families(&got) == meets);

		for (int f = 0; f < 2; f++)
			for (unsigned i = 0; i < POINTS; i++)
				want.has[f][i] = va.has[f][i] && !vb.has[f][i];
		addr_set_minus(m, &got, &a, &b);
		assert_same(&got, &want);
		assert_false(addr_set_meets(&got, &b, NULL));
		/* a = (a without b) or (a and b) */
		addr_set_and(m, &back, &a, &b);
		{
			struct addr_set whole;

			addr_set_union(m, &whole, &got, &back);
			assert_true(addr_set_equal(&whole, &a));
		}
		arena_free(m);
	}
}

static void
X_06_empty_is_not_any(void **state)
{
	struct arena *m = arena_new();
	struct addr_set none = {0}, all = {0}, v4 = {0}, out;

	(void)state;
	addr_set_finish(&none);
	addr_set_all(m, &all, ADDR_BOTH);
	addr_set_all(m, &v4, ADDR_V4);
	assert_int_equal(addr_set_families(&none), 0);
	assert_int_equal(addr_set_families(&v4), ADDR_V4);
	assert_int_equal(addr_set_families(&all), ADDR_BOTH);
	assert_true(addr_set_covers(&all, &none) && !addr_set_covers(&none, &all));
	assert_true(addr_set_covers(&none, &none));
	assert_false(addr_set_meets(&none, &all, NULL));
	addr_set_minus(m, &out, &all, &all);
	assert_true(addr_set_equal(&out, &none));
	addr_set_minus(m, &out, &all, &v4);
	assert_int_equal(addr_set_families(&out), ADDR_V6);
	out = addr_set_family(&all, ADDR_V4);
	assert_true(addr_set_equal(&out, &v4));
	assert_true(all.n4 == 1 && all.v4[0].lo == 0 && all.v4[0].hi == UINT32_MAX);
	assert_true(all.n6 == 1 && all.v6[0].lo == 0 && all.v6[0].hi == U128_MAX);
	arena_free(m);
}

/* Many ranges in disorder, sorted by the radix sort, are the same set as in
 * order. */
static void
finish_sorts_many(void **state)
{
	enum { N = 20000 };
	struct arena *m = arena_new();
	struct addr_set a = {0}, b = {0};
	uint32_t *lo = arena_array(m, N, uint32_t);

	(void)state;
	for (unsigned i = 0; i < N; i++)
		lo[i] = (uint32_t)i * 100003u + 7;
	for (unsigned i = 0; i < N; i++) {
		addr_set_add(m, &a, ADDR_V4, lo[i], (u128)lo[i] + (i & 3) * 50001);
		addr_set_add(m, &a, ADDR_V6, (u128)lo[i] << 90, (u128)lo[i] << 90 | 1);
	}
	for (unsigned i = N; i-- > 1; ) {
		unsigned j = (unsigned)(roll() % (i + 1));
		uint32_t t = lo[i];

		lo[i] = lo[j];
		lo[j] = t;
	}
	for (unsigned i = 0; i < N; i++) {
		addr_set_add(m, &b, ADDR_V4, lo[i],
		    (u128)lo[i] + ((lo[i] - 7) / 100003u & 3) * 50001);
		addr_set_add(m, &b, ADDR_V6, (u128)lo[i] << 90, (u128)lo[i] << 90 | 1);
	}
	addr_set_finish(&a);
	addr_set_finish(&b);
	assert_canonical(&a);
	assert_true(a.n4 > 1000 && a.n4 < N && a.n6 == N);
	assert_true(addr_set_equal(&a, &b));
	arena_free(m);
}

/* The prefixes of a range are aligned, cover it without a gap, and are as
 * few as can be: no two of them join. */
static void
ranges_as_prefixes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		enum addr_family f = i & 1 ? ADDR_V6 : ADDR_V4;
		u128 last = addr_last(f), lo = u128_of(roll(), roll()) & last;
		u128 hi = u128_of(roll(), roll()) & last, at;
		struct addr_prefix p, before = {0};

		if (i % 3)
			hi = lo + (roll() & 0xfff) < lo ? last : lo + (roll() & 0xfff);
		if (hi > last || hi < lo)
			hi = i % 5 ? lo : last;
		for (at = lo; ; at = p.hi + 1) {
			unsigned most = f == ADDR_V4 ? 32 : 128;

			p = addr_range_head(f, at, hi);
			assert_true(p.family == f && p.lo == at && p.hi <= hi);
			assert_true(p.bits <= most);
			/* The size is that of the length, and the start is
			 * a multiple of it. */
			assert_true(p.bits ? p.hi - p.lo ==
			    ((u128)1 << (most - p.bits)) - 1 : p.hi - p.lo == last);
			assert_true((p.lo & (p.hi - p.lo)) == 0);
			if (before.bits && at != lo && before.bits == p.bits)
				assert_true((before.lo ^ (p.hi - p.lo + 1)) != p.lo ||
				    before.lo & (p.hi - p.lo + 1));
			before = p;
			if (p.hi == hi)
				break;
		}
	}
}

static CIDR *
cidr(struct addr a, unsigned bits)
{
	uint8_t be[16];
	struct in6_addr a6;
	struct in_addr a4 = {htonl((uint32_t)a.n)};
	CIDR *c;

	u128_to_be(a.n, be);
	memcpy(&a6, be, sizeof a6);
	c = a.family == ADDR_V4 ? cidr_from_inaddr(&a4) : cidr_from_in6addr(&a6);
	assert_non_null(c);
	for (unsigned i = 0; i < 128; i++) {
		unsigned fixed = a.family == ADDR_V4 ? 96 : 0;
		uint8_t bit = (uint8_t)(0x80 >> i % 8);

		if (i < fixed + bits)
			c->mask[i / 8] |= bit;
		else
			c->mask[i / 8] &= (uint8_t)~bit;
	}
	return c;
}

static u128
number(const CIDR *c, enum addr_family f)
{
	struct in6_addr a6;
	struct in_addr a4;

	if (f == ADDR_V4) {
		assert_non_null(cidr_to_inaddr(c, &a4));
		return ntohl(a4.s_addr);
	}
	assert_non_null(cidr_to_in6addr(c, &a6));
	return u128_from_be(a6.s6_addr);
}

/* What is read from text has the first and last address that libcidr gives
 * it; a text with host bits is answered with libcidr's network. */
static void
prefixes_agree_with_libcidr(void **state)
{
	unsigned good = 0, host_bits = 0;

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		enum addr_family f = i & 1 ? ADDR_V6 : ADDR_V4;
		unsigned most = f == ADDR_V4 ? 32 : 128;
		unsigned bits = 1 + (unsigned)(roll() % most);
		struct addr a = {f, u128_of(roll(), roll()) & addr_last(f)};
		struct addr_prefix p, q;
		char text[64], fix[64];
		size_t n;
		CIDR *c, *net, *last;

		if (i % 4 < 2 && bits < most)
			a.n &= ~((((u128)1 << (most - bits)) - 1));
		c = cidr(a, bits);
		net = cidr_addr_network(c);
		last = cidr_addr_broadcast(c);
		assert_int_equal(cidr_get_pflen(c), bits);
		n = addr_write(a, text);
		text[n++] = '/';
		n += (size_t)snprintf(text + n, 4, "%u", bits);
		switch (addr_prefix_read(text, n, &p, fix)) {
		case ADDR_OK:
			good++;
			assert_true(number(net, f) == a.n);
			assert_true(p.bits == bits && p.lo == number(net, f) &&
			    p.hi == number(last, f));
			break;
		case ADDR_HOST_BITS:
			host_bits++;
			assert_true(number(net, f) != a.n);
			if (addr_prefix_read(fix, strlen(fix), &q, NULL) == ADDR_OK)
				assert_true(q.bits == bits && q.lo == number(net, f) &&
				    q.hi == number(last, f));
			else
				assert_true(f == ADDR_V6 || !number(net, f));
			break;
		case ADDR_UNSPECIFIED: case ADDR_MAPPED: case ADDR_ANY:
			break;
		case ADDR_EMPTY: case ADDR_NAME: case ADDR_SYNTAX:
		case ADDR_LEADING_ZERO: case ADDR_SHORT: case ADDR_OCTET:
		case ADDR_BITS: case ADDR_NETMASK: case ADDR_ZONE:
		case ADDR_RANGE: case ADDR_PORT: case ADDR_SPACE:
		case ADDR_PREFIX: case ADDR_NWRONG:
			fail_msg("`%s`", text);
		}
		cidr_free(c);
		cidr_free(net);
		cidr_free(last);
	}
	assert_true(good > 40000 && host_bits > 30000);
}

static void
containment_agrees_with_libcidr(void **state)
{
	unsigned inside = 0;

	(void)state;
	for (unsigned i = 0; i < 50000; i++) {
		struct arena *m = arena_new();
		enum addr_family f = i & 1 ? ADDR_V6 : ADDR_V4;
		unsigned most = f == ADDR_V4 ? 32 : 128;
		unsigned b1 = (unsigned)(roll() % (most + 1));
		unsigned b2 = (unsigned)(roll() % (most + 1));
		struct addr a = {f, u128_of(roll(), roll()) & addr_last(f)}, b = a;
		struct addr_set s1 = {0}, s2 = {0};
		u128 m1 = b1 ? ((u128)1 << (most - b1)) - 1 : addr_last(f);
		u128 m2 = b2 ? ((u128)1 << (most - b2)) - 1 : addr_last(f);
		CIDR *c1, *c2;

		if (f == ADDR_V6 && !b1)
			m1 = U128_MAX;
		if (i % 3 == 0)
			b.n ^= (u128)1 << roll() % most;
		a.n &= ~m1;
		b.n &= ~m2;
		c1 = cidr(a, b1);
		c2 = cidr(b, b2);
		addr_set_add(m, &s1, f, a.n, a.n | m1);
		addr_set_add(m, &s2, f, b.n, b.n | m2);
		addr_set_finish(&s1);
		addr_set_finish(&s2);
		/* 0: the second lies in the first. */
		assert_true(addr_set_covers(&s1, &s2) == !cidr_contains(c1, c2));
		inside += addr_set_covers(&s1, &s2);
		assert_true(addr_set_equal(&s1, &s2) == !cidr_equals(c1, c2));
		cidr_free(c1);
		cidr_free(c2);
		arena_free(m);
	}
	assert_true(inside > 10000);
}

static void
random_ports(struct arena *m, struct port_set *s, bool has[65536])
{
	unsigned n = (unsigned)(roll() % 12);

	*s = (struct port_set){0};
	memset(has, 0, 65536);
	for (unsigned k = 0; k < n; k++) {
		uint16_t lo = (uint16_t)(k % 3 ? roll() : 65535 - roll() % 4);
		unsigned hi = lo + (unsigned)(roll() % (k % 2 ? 3 : 9000));

		if (hi > 65535)
			hi = 65535;
		port_set_add(m, s, lo, (uint16_t)hi);
		memset(has + lo, 1, hi - lo + 1);
	}
	port_set_finish(s);
}

static void
port_algebra_agrees_with_a_bitmap(void **state)
{
	static bool ha[65536], hb[65536];

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		struct arena *m = arena_new();
		struct port_set a, b, u, n, d, back;
		bool covers = true;

		random_ports(m, &a, ha);
		random_ports(m, &b, hb);
		port_set_union(m, &u, &a, &b);
		port_set_and(m, &n, &a, &b);
		port_set_minus(m, &d, &a, &b);
		for (unsigned p = 0; p < 65536; p++) {
			uint16_t x = (uint16_t)p;

			covers &= ha[p] || !hb[p];
			if (port_set_has(&a, x) != ha[p] ||
			    port_set_has(&u, x) != (ha[p] || hb[p]) ||
			    port_set_has(&n, x) != (ha[p] && hb[p]) ||
			    port_set_has(&d, x) != (ha[p] && !hb[p]))
				fail_msg("port %u in round %u", p, round);
		}
		assert_true(port_set_covers(&a, &b) == covers);
		assert_true(port_set_covers(&port_set_all, &u));
		port_set_union(m, &back, &d, &n);
		assert_true(port_set_equal(&back, &a));
		arena_free(m);
	}
}

static void
mail_ports(void **state)
{
	static const uint16_t want[] = {25, 110, 143, 465, 587, 993, 995};
	struct arena *m = arena_new();
	struct port_set s = {0};

	(void)state;
	for (size_t i = sizeof want / sizeof *want; i--; )
		port_set_add(m, &s, want[i], want[i]);
	port_set_finish(&s);
	assert_true(port_set_equal(&s, &port_set_mail));
	assert_true(port_set_has(&port_set_all, 0) &&
	    port_set_has(&port_set_all, 65535));
	/* Adding to a copy leaves the constant alone. */
	s = port_set_mail;
	port_set_add(m, &s, 26, 26);
	port_set_finish(&s);
	assert_true(port_set_has(&s, 26) && !port_set_has(&port_set_mail, 26));
	assert_int_equal(port_set_mail.n, 7);
	arena_free(m);
}

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(set_algebra_agrees_with_a_bitmap),
		cmocka_unit_test(X_06_empty_is_not_any),
		cmocka_unit_test(finish_sorts_many),
		cmocka_unit_test(ranges_as_prefixes),
		cmocka_unit_test(prefixes_agree_with_libcidr),
		cmocka_unit_test(containment_agrees_with_libcidr),
		cmocka_unit_test(port_algebra_agrees_with_a_bitmap),
		cmocka_unit_test(mail_ports),
	};

	return cmocka_run_group_tests_name("set", t, NULL, NULL);
}
