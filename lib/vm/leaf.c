/*
 * leaf: sets of outcomes, states, causes, and what is done with two diagrams.
 */
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "vm/inside.h"

/* ---- leaves ------------------------------------------------------------------------ */

/* o is ascending. A lone outcome needs no reason. */
uint32_t
leaf_of(struct vm *v, const uint32_t *o, uint32_t n, uint32_t why, uint32_t cause)
{
	uint32_t key[3 + MOST_OUTCOMES], i, other = outcome(V_OTHER, 0);
	uint32_t *kept;
	int fresh;

	if (n > MOST_OUTCOMES) {
		o = &other;
		n = 1;
	}
	if (n == 1 && outcome_verb(o[0]) != V_OTHER)
		why = 0;
	if (!(why & BY_UNKNOWN))
		cause = 0;
	key[0] = n;
	key[1] = why;
	key[2] = cause;
	memcpy(key + 3, o, n * sizeof *o);
	i = hash_names_add(v->leaves, (const char *)key, (3 + n) * sizeof *key, &fresh);
	if (fresh) {
		kept = arena_array(v->a, n, uint32_t);
		memcpy(kept, o, n * sizeof *o);
		ARENA_PUSH(v->a, v->leaf, v->nleaf, v->capleaf) =
		    (struct leaf){n, why, cause, kept};
	}
	return i;
}

uint32_t
leaf_one(struct vm *v, enum verb verb, uint32_t state)
{
	uint32_t o = outcome(verb, state);

	return leaf_of(v, &o, 1, 0, 0);
}

static uint32_t
least_cause(uint32_t a, uint32_t b)
{
	return !a || (b && b < a) ? b : a;
}

/* Both sets in one, without `skip` of the first (UINT32_MAX: all of it). */
static uint32_t
leaf_both(struct vm *v, const struct leaf *a, uint32_t skip, const struct leaf *b,
    uint32_t why, uint32_t cause)
{
	uint32_t o[2 * (MOST_OUTCOMES + 1)], n = 0;

	for (uint32_t i = 0, j = 0; i < a->n || j < b->n; ) {
		uint32_t x;

		if (j == b->n || (i < a->n && a->o[i] <= b->o[j])) {
			x = a->o[i++];
			if (x == skip)
				continue;
			if (j < b->n && b->o[j] == x)
				j++;
		} else {
			x = b->o[j++];
		}
		o[n++] = x;
	}
	return leaf_of(v, o, n, a->why | b->why | why,
	    least_cause(least_cause(a->cause, b->cause), cause));
}

uint32_t
cause_of(struct vm *v, const struct nl_rule *r, uint32_t expr, const char *why)
{
	struct {
		const void *r, *why;
		uint64_t expr;
	} key = {r, why, expr};
	int fresh;
	uint32_t i = hash_names_add(v->causes, (const char *)&key, sizeof key, &fresh);

	if (fresh)
		ARENA_PUSH(v->a, v->cause, v->ncause, v->capcause) =
		    (struct vm_cause){r, expr, why};
	return i;
}

/* ---- operations ---------------------------------------------------------------------- */

static bool
goes_on(const struct vm *v, uint32_t l, uint32_t state)
{
	const struct leaf *x = &v->leaf[l];

	for (uint32_t i = 0; i < x->n; i++)
		if (x->o[i] == outcome(V_NEXT, state))
			return true;
	return false;
}

static uint32_t
leaf_over(void *arg, uint32_t a, uint32_t b)
{
	struct state *s = arg;
	struct vm *v = s->v;

	if (a == s->on)
		return b;
	if (!goes_on(v, a, s->number))
		return a;
	return leaf_both(v, &v->leaf[a], outcome(V_NEXT, s->number), &v->leaf[b], 0, 0);
}

static fdd_ref
quick_over(void *arg, fdd_ref a, fdd_ref b)
{
	struct state *s = arg;

	if (a == fdd_leaf(s->on))
		return b;
	if (b == fdd_leaf(s->on))
		return a;
	if (fdd_is_leaf(a) && !goes_on(s->v, fdd_number(a), s->number))
		return a;
	return FDD_NONE;
}

static uint32_t
leaf_guard(void *arg, uint32_t c, uint32_t a)
{
	struct state *s = arg;
	struct vm *v = s->v;

	if (c < 2)
		return c ? a : s->on;
	return leaf_both(v, &v->leaf[a], UINT32_MAX, &v->leaf[s->on], BY_UNKNOWN, c - 1);
}

static fdd_ref
quick_guard(void *arg, fdd_ref c, fdd_ref a)
{
	struct state *s = arg;

	if (c == NO || a == fdd_leaf(s->on))
		return fdd_leaf(s->on);
	return c == YES ? a : FDD_NONE;
}

static uint32_t
leaf_may(void *arg, uint32_t a)
{
	struct state *s = arg;
	struct vm *v = s->v;

	return leaf_both(v, &v->leaf[a], UINT32_MAX, &v->leaf[s->on], BY_LIMIT, 0);
}

/* NO, then what is not known, then YES. */
static uint32_t
leaf_and(void *arg, uint32_t a, uint32_t b)
{
	(void)arg;
	if (!a || !b)
		return 0;
	return a == 1 ? b : b == 1 ? a : a < b ? a : b;
}

static fdd_ref
quick_and(void *arg, fdd_ref a, fdd_ref b)
{
	(void)arg;
	return a == NO || b == NO ? NO : a == YES || a == b ? b : b == YES ? a : FDD_NONE;
}

static uint32_t
leaf_or(void *arg, uint32_t a, uint32_t b)
{
	(void)arg;
	if (a == 1 || b == 1)
		return 1;
	return !a ? b : !b ? a : a < b ? a : b;
}

static fdd_ref
quick_or(void *arg, fdd_ref a, fdd_ref b)
{
	(void)arg;
	return a == YES || b == YES ? YES : a == NO || a == b ? b : b == NO ? a : FDD_NONE;
}

static uint32_t
leaf_not(void *arg, uint32_t a)
{
	(void)arg;
	return a < 2 ? !a : a;
}

/* Results of which either may be. */
static uint32_t
leaf_any(void *arg, uint32_t a, uint32_t b)
{
	struct vm *v = arg;

	return leaf_both(v, &v->leaf[a], UINT32_MAX, &v->leaf[b], BY_UNKNOWN, 0);
}

static fdd_ref
quick_any(void *arg, fdd_ref a, fdd_ref b)
{
	(void)arg;
	return a == b ? a : FDD_NONE;
}

void
ops_init(struct vm *v)
{
	v->and = (struct fdd_op){fdd_tag(v->f), true, leaf_and, quick_and, v};
	v->or = (struct fdd_op){fdd_tag(v->f), true, leaf_or, quick_or, v};
	v->any = (struct fdd_op){fdd_tag(v->f), true, leaf_any, quick_any, v};
	v->not = fdd_tag(v->f);
	v->end = fdd_tag(v->f);
}

uint32_t
state_of(struct vm *v, const struct changed *c)
{
	uint32_t i = hash_names_find(v->states, (const char *)c, sizeof *c);
	struct state *s;

	if (i != UINT32_MAX)
		return i;
	if (v->nstate >= MOST_STATES)
		return UINT32_MAX;
	i = hash_names_add(v->states, (const char *)c, sizeof *c, NULL);
	s = arena_of(v->a, struct state);
	s->c = *c;
	s->v = v;
	s->number = i;
	s->on = leaf_one(v, V_NEXT, i);
	s->over = (struct fdd_op){fdd_tag(v->f), false, leaf_over, quick_over, s};
	s->guard = (struct fdd_op){fdd_tag(v->f), false, leaf_guard, quick_guard, s};
	s->may = fdd_tag(v->f);
	ARENA_PUSH(v->a, v->state, v->nstate, v->capstate) = s;
	return i;
}

fdd_ref
may_go_on(struct vm *v, uint32_t s, fdd_ref a)
{
	return fdd_map(v->f, v->state[s]->may, leaf_may, v->state[s], a);
}

fdd_ref
cond_and(struct vm *v, fdd_ref a, fdd_ref b)
{
	return fdd_apply(v->f, &v->and, a, b);
}

fdd_ref
cond_or(struct vm *v, fdd_ref a, fdd_ref b)
{
	return fdd_apply(v->f, &v->or, a, b);
}

fdd_ref
cond_not(struct vm *v, fdd_ref a)
{
	return fdd_map(v->f, v->not, leaf_not, v, a);
}

fdd_ref
guard(struct vm *v, uint32_t s, fdd_ref cond, fdd_ref a)
{
	return fdd_apply(v->f, &v->state[s]->guard, cond, a);
}

fdd_ref
over(struct vm *v, uint32_t s, fdd_ref a, fdd_ref b)
{
	return fdd_apply(v->f, &v->state[s]->over, a, b);
}

/* ---- looking through --------------------------------------------------------------------- */

struct look {
	struct vm *v;
	uint8_t *seen, *leaf, *state;
	enum verb verb;
};

static void
look(struct look *w, fdd_ref r)
{
	struct fdd_view v;
	fdd_ref last = FDD_NONE;

	if (fdd_is_leaf(r)) {
		const struct leaf *l = &w->v->leaf[fdd_number(r)];

		if (w->leaf[fdd_number(r)])
			return;
		w->leaf[fdd_number(r)] = 1;
		for (uint32_t i = 0; i < l->n; i++)
			if (outcome_verb(l->o[i]) == w->verb)
				w->state[outcome_state(l->o[i])] = 1;
		return;
	}
	if (w->seen[r])
		return;
	w->seen[r] = 1;
	v = fdd_view(w->v->f, r);
	for (uint32_t i = 0; i < v.n; i++)
		if (v.child[i] != last)
			look(w, last = v.child[i]);
}

size_t
states_in(struct vm *v, fdd_ref r, enum verb verb, uint32_t **out)
{
	struct arena *a = arena_new();
	struct look w = {.v = v, .verb = verb};
	size_t n = 0;

	*out = arena_array(v->a, v->nstate, uint32_t);
	if (r != FDD_NONE) {
		w.seen = arena_alloc(a, (size_t)fdd_mark(v->f) + 1);
		w.leaf = arena_alloc(a, v->nleaf);
		w.state = arena_alloc(a, v->nstate);
		look(&w, r);
		for (uint32_t i = 0; i < v->nstate; i++)
			if (w.state[i])
				(*out)[n++] = i;
	}
	arena_free(a);
	return n;
}

struct renaming {
	struct vm *v;
	enum verb from, to;
};

static uint32_t
leaf_rename(void *arg, uint32_t l)
{
	struct renaming *w = arg;
	const struct leaf *x = &w->v->leaf[l];
	uint32_t o[MOST_OUTCOMES], n = x->n;

	for (uint32_t i = 0; i < n; i++)
		o[i] = outcome_verb(x->o[i]) == w->from ?
		    outcome(w->to, w->to == V_DROP ? 0 : outcome_state(x->o[i])) : x->o[i];
	/* insertion sort, and no outcome twice */
	for (uint32_t i = 1; i < n; i++)
		for (uint32_t j = i; j && o[j - 1] > o[j]; j--) {
			uint32_t t = o[j];

			o[j] = o[j - 1];
			o[j - 1] = t;
		}
	for (uint32_t i = 1; i < n; )
		if (o[i] == o[i - 1]) {
			memmove(o + i, o + i + 1, (n - i - 1) * sizeof *o);
			n--;
		} else {
			i++;
		}
	return leaf_of(w->v, o, n, x->why, x->cause);
}

fdd_ref
verb_map(struct vm *v, fdd_ref r, enum verb from, enum verb to)
{
	struct renaming w = {v, from, to};
	uint32_t *tag = &v->rename[from][to];

	if (!*tag)
		*tag = fdd_tag(v->f);
	return fdd_map(v->f, *tag, leaf_rename, &w, r);
}
