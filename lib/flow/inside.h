/*
 * inside: what the files of lib/flow share and nobody else sees.
 */
#ifndef FLOW_INSIDE_H
#define FLOW_INSIDE_H

#include "flow/flow.h"
#include "policy/policy.h"

#define NOTHING fdd_leaf(0)    /* untouched; an empty region; no limits */

struct hash_names;

struct flow {
	struct arena *a;
	struct fdd *fdd;
	struct hash_names *leaves; /* struct key -> number of a leaf */
	struct flow_leaf *leaf;    /* by number; 0: untouched */
	size_t nleaf, capleaf;
	struct hash_names *limit;  /* text -> number of one limit */
	struct hash_names *sets;   /* numbers of limits -> number of a set; 0: empty */
	struct flow_limits {
		const uint32_t *v;
		size_t n;
		const char *text;
	} *set;
	size_t nset, capset;
	struct hash_names *user, *unit;
	struct hash_names *pairs;  /* two effects -> number of a pair; 0: the same */
	struct flow_pair {
		uint32_t was, now;
	} *pair;
	size_t npair, cappair;
	bool strict;               /* for the pairs of the diff under way */
	uint32_t mute, effect, fate; /* tags of maps */
	struct fdd_op with, over, under, join, restrict_to, limits, limited, capture;
};

/* The number of the leaf with that content. */
uint32_t
flow_leaf_number(struct flow *f, const struct flow_leaf *l);

/* The number of a set of limits: the two together, each as often as it is
 * counted. */
uint32_t
flow_limits_both(struct flow *f, uint32_t a, uint32_t b);

/* The number of the set that holds that limit alone. */
uint32_t
flow_limits_one(struct flow *f, const struct policy_limit *l);

/* A packet as values of the fields. */
void
flow_packet(struct flow *f, const struct packet *p, u128 x[FLOW_NFIELD]);

/* The effect of a leaf as one number: all that a difference looks at. */
uint32_t
flow_effect(const struct flow_leaf *l);

/* Where the statement matches, for packets that its judge sees. */
fdd_ref
flow_stmt_region(struct flow *f, const struct policy_stmt *s);

/* The packets that the judge sees: leaf 1; else leaf 0. */
fdd_ref
flow_judge_sees(struct flow *f, const struct policy_judge *j);

/* The statements of each class, side by side; out[k] for class k. */
void
flow_judge_classes(struct flow *f, const struct policy_judge *j,
    fdd_ref out[POLICY_OTHERWISE + 1]);

/* Sweeps what was made since mark (with so many edges then) save r, when that
 * is worth it. Returns r. */
fdd_ref
flow_finish(struct flow *f, uint32_t mark, uint64_t edges, fdd_ref r);

/* Says that the limit was reached by `what`, whose judges they are. */
void
flow_too_large(struct flow *f, const struct policy_judge *const *j, size_t nj,
    struct text_span at, const char *what, struct diags *d);

static inline enum flow_verdict
effect_verdict(uint32_t e)
{
	return (enum flow_verdict)(e & 7);
}

static inline bool
effect_observe(uint32_t e)
{
	return e >> 3 & 1;
}

static inline uint32_t
effect_limits(uint32_t e)
{
	return e >> 4;
}

#endif
