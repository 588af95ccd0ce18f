/*
 * records: what the files of the comparison of records share.
 *
 * A thing (a relay, an application) is compared by rows, one for each of its
 * keys, and by sets, for its lists. Both leave changes in a fixed order; what
 * is written otherwise and means the same leaves none.
 */
#ifndef LOOK_RECORDS_H
#define LOOK_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "look/look.h"

struct arena;

/* The comparison: where changes go, and the thing they are of. */
struct records {
	struct arena *m;
	const struct policy *was, *now;
	struct look_diff *out;
	const char *subject;
	bool whole;                /* the thing is on both sides: what widens can be told */
};

/* How values are ordered. */
enum records_rank {
	RECORDS_PLAIN,             /* not at all */
	RECORDS_RANKED,            /* more `loose` is wider; equal ones may still differ */
	RECORDS_EXACT,             /* and `loose` alone says whether they differ */
};

/* One value of one side. */
struct records_fact {
	const char *value;         /* NULL: not there */
	struct text_span at;
	enum records_rank rank;
	uint64_t loose;
};

/* One key of a thing. `of` gives the fact of a thing (a pointer to what the
 * table is of) of the policy p. */
struct records_row {
	const char *what;
	enum look_area area;
	struct records_fact (*of)(struct arena *m, const struct policy *p, const void *thing);
};

/* What one more element of a set does. */
enum records_sense { RECORDS_SENSELESS, RECORDS_WIDENS, RECORDS_NARROWS };

/* One element of a list; equal texts are equal elements. */
struct records_elem {
	const char *text;
	struct text_span at;
	bool all;                  /* stands for everything: it covers every other */
	const void *thing;
};

struct records_set {
	struct records_elem *v;
	size_t n, cap;
};

/* Adds a change, unless both values are NULL. */
struct look_change *
records_put(struct records *r, enum look_area area, const char *what,
    struct records_fact was, struct records_fact now);

/* Compares by rows; x or y NULL: the thing is not on that side. `prefix` is
 * put before each row's word (NULL: nothing). */
void
records_rows(struct records *r, const char *prefix, const struct records_row *row, size_t n,
    const void *x, const void *y);

/* The rows that every struct policy_meta has: title, owner, contact, reason,
 * ticket, source. */
void
records_meta(struct records *r, const char *prefix, const struct policy_meta *x,
    const struct policy_meta *y);

/* `since` and `until` of what grants something while it lasts. */
void
records_days(struct records *r, const struct policy_meta *x, const struct policy_meta *y);

/* Compares two lists as sets. `covers(big, small)` (NULL: never) says whether
 * what the one element allows holds all that the other does. */
void
records_sets(struct records *r, enum look_area area, const char *what,
    enum records_sense sense, bool (*covers)(const void *big, const void *small),
    struct records_set *x, struct records_set *y);

/* Adds an element. */
struct records_elem *
records_elem(struct records *r, struct records_set *s, const char *text,
    struct text_span at, const void *thing);

/* Adds the strings as elements, all with the span. */
void
records_strings(struct records *r, struct records_set *s, const char *const *v, size_t n,
    struct text_span at);

/* Adds the patterns as elements; an empty list as "any" when `empty_is_any`. */
void
records_patterns(struct records *r, struct records_set *s, const struct policy_patterns *p,
    bool empty_is_any, struct text_span at);

/* Whether every address that matches the one pattern matches the other. */
bool
records_pattern_covers(const void *big, const void *small);

/* Compares address sets: what is gone and what is new, as prefixes. */
void
records_addresses(struct records *r, const char *what, const struct policy_where *x,
    const struct policy_where *y);

/* Compares lists of limits; x or y NULL: not there. */
void
records_limits(struct records *r, const struct policy_mail_limits *x,
    const struct policy_mail_limits *y);

/* The words of a policy at the span, else "@" and the second. */
const char *
records_day(struct arena *m, const struct policy *p, struct text_span at, uint64_t sec);

/* records_things.c: one relay, the submission, one application, one rate
 * class; x or y NULL: not on that side. */
void
records_relay(struct records *r, const struct policy_relay *x, const struct policy_relay *y);
void
records_submission(struct records *r, const struct policy_submission *x,
    const struct policy_submission *y);
void
records_application(struct records *r, const struct policy_application *x,
    const struct policy_application *y);
void
records_kind(struct records *r, const struct policy_rate *x, const struct policy_rate *y);

#endif
