#include "addr/set.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

#define RANGE struct addr_range4
#define BOUND uint32_t
#define LAST UINT32_MAX
#define NAME(x) four_##x
#include "addr/algebra.h"
#undef RANGE
#undef BOUND
#undef LAST
#undef NAME

#define RANGE struct addr_range6
#define BOUND u128
#define LAST U128_MAX
#define NAME(x) six_##x
#include "addr/algebra.h"
#undef RANGE
#undef BOUND
#undef LAST
#undef NAME

void
addr_set_add(struct arena *a, struct addr_set *s, enum addr_family f, u128 lo,
    u128 hi)
{
	assert(lo <= hi && hi <= addr_last(f));
	if (f == ADDR_V4)
		ARENA_PUSH(a, s->v4, s->n4, s->cap4) =
		    (struct addr_range4){(uint32_t)lo, (uint32_t)hi};
	else
		ARENA_PUSH(a, s->v6, s->n6, s->cap6) =
		    (struct addr_range6){lo, hi};
}

void
addr_set_finish(struct addr_set *s)
{
	if (!four_sorted(s->v4, s->n4))
		four_sort(s->v4, s->n4);
	if (!six_sorted(s->v6, s->n6))
		six_sort(s->v6, s->n6);
	s->n4 = four_merge(s->v4, s->n4);
	s->n6 = six_merge(s->v6, s->n6);
}

void
addr_set_all(struct arena *a, struct addr_set *s, unsigned families)
{
	*s = (struct addr_set){0};
	if (families & ADDR_V4)
		addr_set_add(a, s, ADDR_V4, 0, addr_last(ADDR_V4));
	if (families & ADDR_V6)
		addr_set_add(a, s, ADDR_V6, 0, addr_last(ADDR_V6));
}

unsigned
addr_set_families(const struct addr_set *s)
{
	return (s->n4 ? ADDR_V4 : 0u) | (s->n6 ? ADDR_V6 : 0u);
}

bool
addr_set_equal(const struct addr_set *a, const struct addr_set *b)
{
	return four_equal(a->v4, a->n4, b->v4, b->n4) &&
	    six_equal(a->v6, a->n6, b->v6, b->n6);
}

bool
addr_set_has(const struct addr_set *s, struct addr x)
{
	return x.family == ADDR_V4 ? four_has(s->v4, s->n4, (uint32_t)x.n) :
	    six_has(s->v6, s->n6, x.n);
}

bool
addr_set_covers(const struct addr_set *s, const struct addr_set *in)
{
	return four_covers(s->v4, s->n4, in->v4, in->n4) &&
	    six_covers(s->v6, s->n6, in->v6, in->n6);
}

bool
addr_set_meets(const struct addr_set *a, const struct addr_set *b,
    struct addr *x)
{
	struct addr first;

	for (size_t i = 0, j = 0; i < a->n4 && j < b->n4; ) {
		uint32_t lo = a->v4[i].lo > b->v4[j].lo ?
		    a->v4[i].lo : b->v4[j].lo;

		if (lo <= a->v4[i].hi && lo <= b->v4[j].hi) {
			first = (struct addr){ADDR_V4, lo};
			goto met;
		}
		if (a->v4[i].hi < b->v4[j].hi)
			i++;
		else
			j++;
	}
	for (size_t i = 0, j = 0; i < a->n6 && j < b->n6; ) {
		u128 lo = a->v6[i].lo > b->v6[j].lo ?
		    a->v6[i].lo : b->v6[j].lo;

		if (lo <= a->v6[i].hi && lo <= b->v6[j].hi) {
			first = (struct addr){ADDR_V6, lo};
			goto met;
		}
		if (a->v6[i].hi < b->v6[j].hi)
			i++;
		else
			j++;
	}
	return false;
met:
	if (x)
		*x = first;
	return true;
}

/* An empty set with room for the ranges of both. */
static void
room(struct arena *m, struct addr_set *out, const struct addr_set *a,
    const struct addr_set *b)
{
	assert(out != a && out != b);
	*out = (struct addr_set){
		.cap4 = a->n4 + b->n4,
		.cap6 = a->n6 + b->n6,
	};
	out->v4 = arena_array(m, out->cap4, struct addr_range4);
	out->v6 = arena_array(m, out->cap6, struct addr_range6);
}

void
addr_set_union(struct arena *m, struct addr_set *out, const struct addr_set *a,
    const struct addr_set *b)
{
	room(m, out, a, b);
	out->n4 = four_union(out->v4, a->v4, a->n4, b->v4, b->n4);
	out->n6 = six_union(out->v6, a->v6, a->n6, b->v6, b->n6);
}

void
addr_set_and(struct arena *m, struct addr_set *out, const struct addr_set *a,
    const struct addr_set *b)
{
	room(m, out, a, b);
	out->n4 = four_and(out->v4, a->v4, a->n4, b->v4, b->n4);
	out->n6 = six_and(out->v6, a->v6, a->n6, b->v6, b->n6);
}

void
addr_set_minus(struct arena *m, struct addr_set *out, const struct addr_set *a,
    const struct addr_set *b)
{
	room(m, out, a, b);
	out->n4 = four_minus(out->v4, a->v4, a->n4, b->v4, b->n4);
	out->n6 = six_minus(out->v6, a->v6, a->n6, b->v6, b->n6);
}

struct addr_set
addr_set_family(const struct addr_set *s, unsigned families)
{
	struct addr_set f = {0};

	if (families & ADDR_V4) {
		f.v4 = s->v4;
		f.n4 = f.cap4 = s->n4;
	}
	if (families & ADDR_V6) {
		f.v6 = s->v6;
		f.n6 = f.cap6 = s->n6;
	}
	return f;
}

struct addr_prefix
addr_range_head(enum addr_family f, u128 lo, u128 hi)
{
	unsigned host = 0, most = f == ADDR_V4 ? 32 : 128;
	u128 span = 0;  /* 2^host - 1 */

	assert(lo <= hi && hi <= addr_last(f));
	while (host < most) {
		u128 wider = span << 1 | 1;

		if (lo & wider || wider > hi - lo)
			break;
		span = wider;
		host++;
	}
	return (struct addr_prefix){f, most - host, lo, lo + span};
}
