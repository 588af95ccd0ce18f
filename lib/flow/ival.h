/*
 * ival: lists of intervals of one field.
 *
 * A finished list is ascending and disjoint, no two intervals adjacent, so
 * equal sets are equal lists. Lists live in an arena; an empty list is n 0.
 */
#ifndef FLOW_IVAL_H
#define FLOW_IVAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/u128.h"

struct arena;

struct flow_ival {
	u128 lo, hi;     /* both in it */
};

struct ivals {
	struct flow_ival *v;
	size_t n, cap;
};

/* Adds lo..hi, in any order; ival_finish() makes the list canonical. Quick and
 * merging where it comes behind what is there. */
void
ival_add(struct arena *m, struct ivals *s, u128 lo, u128 hi);

/* Sorts and merges. */
void
ival_finish(struct ivals *s);

/* Whether x lies in the n intervals at v, a finished list. */
bool
ival_has(const struct flow_ival *v, size_t n, u128 x);

/* out = a and b, a or b, a without b; `out` is another list than a and b, and
 * what it held is dropped. a and b must be finished. */
void
ival_and(struct arena *m, struct ivals *out, const struct ivals *a, const struct ivals *b);
void
ival_or(struct arena *m, struct ivals *out, const struct ivals *a, const struct ivals *b);
void
ival_minus(struct arena *m, struct ivals *out, const struct ivals *a, const struct ivals *b);

#endif
