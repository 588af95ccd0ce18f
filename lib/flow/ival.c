#include "flow/ival.h"

#include <stdlib.h>

#include "base/arena.h"

void
ival_add(struct arena *m, struct ivals *s, u128 lo, u128 hi)
{
	if (s->n) {
		struct flow_ival *last = &s->v[s->n - 1];

		if (lo > last->hi && lo - last->hi == 1) {
			last->hi = hi;
			return;
		}
	}
	ARENA_PUSH(m, s->v, s->n, s->cap) = (struct flow_ival){lo, hi};
}

static int
by_lo(const void *x, const void *y)
{
	const struct flow_ival *a = x, *b = y;

	return a->lo != b->lo ? (a->lo < b->lo ? -1 : 1) :
	    a->hi != b->hi ? (a->hi < b->hi ? -1 : 1) : 0;
}

void
ival_finish(struct ivals *s)
{
	size_t k = 0;

	if (s->n < 2)
		return;
	qsort(s->v, s->n, sizeof *s->v, by_lo);
	for (size_t i = 1; i < s->n; i++) {
		struct flow_ival *last = &s->v[k], x = s->v[i];

		if (x.lo <= last->hi || x.lo - last->hi == 1) {
			if (x.hi > last->hi)
				last->hi = x.hi;
		} else {
			s->v[++k] = x;
		}
	}
	s->n = k + 1;
}

bool
ival_has(const struct flow_ival *v, size_t n, u128 x)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v[mid].hi < x)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && v[lo].lo <= x;
}

void
ival_and(struct arena *m, struct ivals *out, const struct ivals *a, const struct ivals *b)
{
	*out = (struct ivals){0};
	for (size_t i = 0, j = 0; i < a->n && j < b->n; ) {
		u128 lo = a->v[i].lo > b->v[j].lo ? a->v[i].lo : b->v[j].lo;
		u128 hi = a->v[i].hi < b->v[j].hi ? a->v[i].hi : b->v[j].hi;

		if (lo <= hi)
			ival_add(m, out, lo, hi);
		if (a->v[i].hi == hi)
			i++;
		else
			j++;
	}
}

void
ival_or(struct arena *m, struct ivals *out, const struct ivals *a, const struct ivals *b)
{
	*out = (struct ivals){0};
	for (size_t i = 0; i < a->n; i++)
		ival_add(m, out, a->v[i].lo, a->v[i].hi);
	for (size_t i = 0; i < b->n; i++)
		ival_add(m, out, b->v[i].lo, b->v[i].hi);
	ival_finish(out);
}

void
ival_minus(struct arena *m, struct ivals *out, const struct ivals *a, const struct ivals *b)
{
	size_t j = 0;

	*out = (struct ivals){0};
	for (size_t i = 0; i < a->n; i++) {
		u128 lo = a->v[i].lo, hi = a->v[i].hi;
		bool left = true;

		while (j < b->n && b->v[j].hi < lo)
			j++;
		for (size_t k = j; left && k < b->n && b->v[k].lo <= hi; k++) {
			if (b->v[k].lo > lo)
				ival_add(m, out, lo, b->v[k].lo - 1);
			left = b->v[k].hi < hi;
			if (left)
				lo = b->v[k].hi + 1;
		}
		if (left)
			ival_add(m, out, lo, hi);
	}
}
