/*
 * set: sets of addresses and of ports, as sorted disjoint ranges.
 *
 * A finished set is canonical: ascending, disjoint, no two ranges adjacent.
 * Equal sets are equal bytes.
 */
#ifndef ADDR_SET_H
#define ADDR_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr/addr.h"

struct arena;

struct addr_range4 {
	uint32_t lo, hi;
};

struct addr_range6 {
	u128 lo, hi;
};

struct addr_set {
	struct addr_range4 *v4;
	struct addr_range6 *v6;
	size_t n4, n6, cap4, cap6;
};

struct port_range {
	uint16_t lo, hi;
};

struct port_set {
	struct port_range *v;
	size_t n, cap;
};

/* Adds a range, in any order; set_finish() makes the set canonical. */
void
addr_set_add(struct arena *a, struct addr_set *s, enum addr_family f, u128 lo, u128 hi);

/* Sorts and merges. Quick where it is sorted already. */
void
addr_set_finish(struct addr_set *s);

/* All addresses of the families in the mask. */
void
addr_set_all(struct arena *a, struct addr_set *s, unsigned families);

/* The families that the set has addresses of. */
unsigned
addr_set_families(const struct addr_set *s);

bool
addr_set_equal(const struct addr_set *a, const struct addr_set *b);

bool
addr_set_has(const struct addr_set *s, struct addr x);

/* Whether all of `in` lies inside s. */
bool
addr_set_covers(const struct addr_set *s, const struct addr_set *in);

/* Whether the sets share an address; *x, when not NULL, gets the lowest. */
bool
addr_set_meets(const struct addr_set *a, const struct addr_set *b, struct addr *x);

/* out = a or b, a and b, a without b. `out` must be another set than a and b;
 * what it held before is dropped. a and b must be finished. */
void
addr_set_union(struct arena *m, struct addr_set *out, const struct addr_set *a, const struct addr_set *b);
void
addr_set_and(struct arena *m, struct addr_set *out, const struct addr_set *a, const struct addr_set *b);
void
addr_set_minus(struct arena *m, struct addr_set *out, const struct addr_set *a, const struct addr_set *b);

/* The part of the set with the families in the mask only (shares memory). */
struct addr_set
addr_set_family(const struct addr_set *s, unsigned families);

/* The next prefix of the range lo..hi (the largest aligned one at lo); the
 * caller goes on behind its `hi`. For printing ranges as prefixes. */
struct addr_prefix
addr_range_head(enum addr_family f, u128 lo, u128 hi);

/* The same for ports. */
void
port_set_add(struct arena *a, struct port_set *s, uint16_t lo, uint16_t hi);
void
port_set_finish(struct port_set *s);
bool
port_set_has(const struct port_set *s, uint16_t p);
bool
port_set_equal(const struct port_set *a, const struct port_set *b);
bool
port_set_covers(const struct port_set *s, const struct port_set *in);
void
port_set_union(struct arena *m, struct port_set *out, const struct port_set *a, const struct port_set *b);
void
port_set_and(struct arena *m, struct port_set *out, const struct port_set *a, const struct port_set *b);
void
port_set_minus(struct arena *m, struct port_set *out, const struct port_set *a, const struct port_set *b);

/* The mail ports, 25 110 143 465 587 993 995, that `otherwise: deny` refuses. */
extern const struct port_set port_set_mail;

/* All ports, 0..65535. */
extern const struct port_set port_set_all;

#endif
