/* What each statement of a judge is good for. */
#include "flow/inside.h"

#include <stdlib.h>

#include "base/arena.h"

/* Statements that are asked why they decide nothing; past that, TWIN. */
enum { DIAGNOSED = 200 };

struct use {
	struct flow *f;
	uint8_t *mask;             /* of each node below: the verdicts it leads to, 0: not asked */
	uint32_t *index;           /* id of a statement -> its place in the judge + 1 */
	struct flow_useful *out;
};

enum {
	PASSES = 1 << FLOW_UNTOUCHED | 1 << FLOW_ALLOW,
	UNSEEN = 1 << 7,           /* beside the verdicts of a mask: the judge sees none */
};

/* The leaf of packets that the judge does not see: no number of a real one. */
#define OUTSIDE fdd_leaf(FDD_LEAF - 2)

/* The verdicts of the same fate as v; untouched and allowed are one. */
static unsigned
same_fate(enum flow_verdict v)
{
	return 1u << v & PASSES ? PASSES : 1u << v;
}

static uint8_t
mask_of(struct use *u, fdd_ref r)
{
	struct fdd_view v;
	uint8_t m = 0;

	if (r == OUTSIDE)
		return UNSEEN;
	if (fdd_is_leaf(r))
		return (uint8_t)(1u << u->f->leaf[fdd_number(r)].verdict);
	if (u->mask[r])
		return u->mask[r];
	v = fdd_view(u->f->fdd, r);
	for (uint32_t i = 0; i < v.n; i++)
		m |= mask_of(u, v.child[i]);
	return u->mask[r] = m;
}

/* Where a statement stands alone in its class (leaf a), all that the lower
 * classes may say is in b: it is free to vary there. */
static fdd_ref
quick_alone(void *arg, fdd_ref a, fdd_ref b)
{
	struct use *u = arg;
	const struct flow_leaf *l;
	struct flow_useful *x;
	uint8_t m;

	if (!fdd_is_leaf(a))
		return FDD_NONE;
	l = &u->f->leaf[fdd_number(a)];
	if (l->nstmt != 1 || l->more)
		return NOTHING;
	x = &u->out[u->index[l->stmt[0]->id] - 1];
	m = mask_of(u, b) & ~UNSEEN;
	if (!m)
		return NOTHING;
	if (m & ~same_fate(l->verdict)) {
		x->use = FLOW_USE_DECIDES;
	} else if (x->use != FLOW_USE_DECIDES) {
		x->use = FLOW_USE_SAME;
		x->without = m == 1 << FLOW_UNTOUCHED ? FLOW_UNTOUCHED : l->verdict;
	}
	return NOTHING;
}

/* b where the judge sees (leaf 1), OUTSIDE elsewhere. */
static uint32_t
leaf_within(void *arg, uint32_t a, uint32_t b)
{
	(void)arg;
	return a ? b : fdd_number(OUTSIDE);
}

static fdd_ref
quick_within(void *arg, fdd_ref a, fdd_ref b)
{
	(void)arg;
	return a == NOTHING ? OUTSIDE : fdd_is_leaf(a) ? b : FDD_NONE;
}

/* Never called: quick_alone knows every leaf of a. */
static uint32_t
leaf_alone(void *arg, uint32_t a, uint32_t b)
{
	(void)arg;
	(void)a;
	(void)b;
	return 0;
}

/* The lowest values of a packet for which r, which is not NOTHING, says
 * something. */
static void
some_packet(const struct fdd *f, fdd_ref r, u128 x[FLOW_NFIELD])
{
	for (enum flow_field k = 0; k < FLOW_NFIELD; k++)
		x[k] = field_row(k)->first;
	while (!fdd_is_leaf(r)) {
		struct fdd_view v = fdd_view(f, r);
		uint32_t i = 0;

		while (v.child[i] == NOTHING)
			i++;
		if (i)
			x[v.field] = fdd_hi(&v, i - 1) + 1;
		r = v.child[i];
	}
}

static const struct policy_stmt *
said_by(struct flow *f, fdd_ref r, const u128 x[FLOW_NFIELD], const struct policy_stmt *not)
{
	const struct flow_leaf *l = &f->leaf[fdd_number(fdd_eval(f->fdd, r, x))];

	for (unsigned i = 0; i < l->nstmt; i++)
		if (l->stmt[i] != not)
			return l->stmt[i];
	return NULL;
}

/* Why s, that is nowhere alone, decides nothing. False at the limit. */
static bool
diagnose(struct flow *f, const struct policy_stmt *s, fdd_ref sees, fdd_ref higher,
    fdd_ref class, struct flow_useful *out)
{
	fdd_ref r = fdd_apply(f->fdd, &f->restrict_to, sees, flow_stmt_region(f, s)), t;
	u128 x[FLOW_NFIELD];

	if (r == NOTHING) {
		out->use = FLOW_USE_NEVER;
		return true;
	}
	t = fdd_apply(f->fdd, &f->under, higher, r);
	if (r == FDD_NONE || t == FDD_NONE)
		return false;
	out->use = t == NOTHING ? FLOW_USE_OVERRULED : FLOW_USE_TWIN;
	some_packet(f->fdd, t == NOTHING ? r : t, x);
	out->by = said_by(f, t == NOTHING ? higher : class, x, s);
	return true;
}

/* Goes through the classes from the highest. */
static bool
useful(struct use *u, const struct policy_judge *j)
{
	struct flow *f = u->f;
	fdd_ref sees = flow_judge_sees(f, j), class[POLICY_OTHERWISE + 1];
	fdd_ref lower[POLICY_OTHERWISE + 2], higher = NOTHING;
	struct fdd_op within = {fdd_tag(f->fdd), false, leaf_within, quick_within, NULL};
	size_t asked = 0;

	flow_judge_classes(f, j, class);
	lower[POLICY_OTHERWISE + 1] = NOTHING;
	for (int k = POLICY_OTHERWISE; k >= POLICY_EXEMPT; k--)
		lower[k] = fdd_apply(f->fdd, &f->over, class[k], lower[k + 1]);
	if (lower[POLICY_EXEMPT] == FDD_NONE)
		return false;
	for (int k = POLICY_EXEMPT; k <= POLICY_OTHERWISE; k++) {
		struct fdd_op alone = {fdd_tag(f->fdd), false, leaf_alone, quick_alone, u};
		fdd_ref r = fdd_apply(f->fdd, &f->under, higher, class[k]), below;

		if (class[k] == NOTHING)
			continue;
		/* The lower side is what is cut, so that a statement stays a leaf there:
		 * then all that is below it is known at once. */
		below = fdd_apply(f->fdd, &within, sees, lower[k + 1]);
		if (r == FDD_NONE || below == FDD_NONE)
			return false;
		free(u->mask);
		if (!(u->mask = calloc(fdd_mark(f->fdd) + 1, 1)))
			abort();
		if (fdd_apply(f->fdd, &alone, r, below) == FDD_NONE)
			return false;
		for (size_t i = 0; i < j->nstmt; i++) {
			if ((int)j->stmt[i]->kind != k || u->out[i].use >= FLOW_USE_SAME)
				continue;
			u->out[i].use = FLOW_USE_TWIN;
			if (asked++ < DIAGNOSED &&
			    !diagnose(f, j->stmt[i], sees, higher, class[k], &u->out[i]))
				return false;
		}
		higher = fdd_apply(f->fdd, &f->over, higher, class[k]);
	}
	return higher != FDD_NONE;
}

bool
flow_judge_useful(struct flow *f, const struct policy_judge *j, struct diags *d,
    struct flow_useful *out)
{
	struct use u = {.f = f, .out = out};
	uint32_t mark = fdd_mark(f->fdd), most = 0;
	uint64_t edges = fdd_edges(f->fdd);
	bool ok;

	for (size_t i = 0; i < j->nstmt; i++) {
		out[i] = (struct flow_useful){.use = FLOW_USE_NEVER};
		if (j->stmt[i]->id > most)
			most = j->stmt[i]->id;
	}
	if (!(u.index = calloc((size_t)most + 1, sizeof *u.index)))
		abort();
	for (size_t i = 0; i < j->nstmt; i++)
		u.index[j->stmt[i]->id] = (uint32_t)i + 1;
	ok = useful(&u, j);
	free(u.mask);
	free(u.index);
	if (!ok)
		flow_too_large(f, &j, 1, j->at, "this direction of the zone", d);
	flow_finish(f, mark, edges, ok ? NOTHING : FDD_NONE);
	return ok;
}
