/*
 * order: the plan's numbers, put in order.
 */
#include <string.h>

#include "plan/lower.h"

struct order {
	struct plan *p;
	uint32_t *to;              /* a chain's new number + 1; 0: not reached */
	uint32_t *depth;           /* how deep calls from a chain are nested */
	uint32_t n;
	bool *set, *counter;       /* used */
};

static void visit(struct order *o, uint32_t i);

/* Visits a callee; gives the depth of the caller through it. */
static uint32_t
deeper(struct order *o, uint32_t depth, struct plan_verdict v)
{
	if (v.chain == PLAN_NONE)
		return depth;
	visit(o, v.chain);
	return o->depth[v.chain] + 1 > depth ? o->depth[v.chain] + 1 : depth;
}

static void
visit(struct order *o, uint32_t i)
{
	const struct plan_chain *c = &o->p->chain[i];
	uint32_t depth = 0;

	if (o->to[i])
		return;
	for (uint32_t k = 0; k < c->nrule; k++) {
		const struct plan_rule *r = &c->rule[k];

		depth = deeper(o, depth, r->verdict);
		for (uint32_t m = 0; m < r->nmatch; m++)
			if (r->match[m].set != PLAN_NONE)
				o->set[r->match[m].set] = true;
		if (r->counter != PLAN_NONE)
			o->counter[r->counter] = true;
		if (r->limit.meter != PLAN_NONE)
			o->set[r->limit.meter] = true;
		if (r->vmap == PLAN_NONE)
			continue;
		o->set[r->vmap] = true;
		for (size_t q = 0; q < o->p->set[r->vmap].n; q++)
			depth = deeper(o, depth, o->p->set[r->vmap].verdict[q]);
	}
	o->depth[i] = depth;
	o->to[i] = ++o->n;
}

/* The new numbers of those used. */
static uint32_t *
renumber(struct arena *a, const bool *used, uint32_t n)
{
	uint32_t *to = arena_array(a, n + 1, uint32_t), k = 0;

	for (uint32_t i = 0; i < n; i++)
		to[i] = used[i] ? k++ : PLAN_NONE;
	to[n] = k;
	return to;
}

static void
move(uint32_t *x, const uint32_t *to)
{
	if (*x != PLAN_NONE)
		*x = to[*x];
}

static void
redirect_set(struct arena *a, struct plan_set *s, const uint32_t *chain)
{
	struct plan_verdict *v;

	if (s->kind != PLAN_MAP)
		return;
	v = arena_array(a, s->n, struct plan_verdict);
	for (size_t q = 0; q < s->n; q++) {
		v[q] = s->verdict[q];
		if (v[q].chain != PLAN_NONE)
			v[q].chain = chain[v[q].chain] - 1;
	}
	s->verdict = v;
}

uint32_t
lower_order(struct arena *a, struct plan *p)
{
	struct order o = {.p = p,
	    .to = arena_array(a, p->nchain + 1, uint32_t),
	    .depth = arena_array(a, p->nchain + 1, uint32_t),
	    .set = arena_array(a, p->nset + 1, bool),
	    .counter = arena_array(a, p->ncounter + 1, bool)};
	struct plan_chain *chain = arena_array(a, p->nchain + 1, struct plan_chain);
	uint32_t *set, *counter, deepest = 0;

	for (uint32_t i = 0; i < p->nchain; i++)
		if (p->chain[i].entry) {
			visit(&o, i);
			if (o.depth[i] > deepest)
				deepest = o.depth[i];
		}
	set = renumber(a, o.set, p->nset);
	counter = renumber(a, o.counter, p->ncounter);
	for (uint32_t i = 0; i < p->nchain; i++) {
		struct plan_chain *c = &p->chain[i];

		if (!o.to[i])
			continue;
		for (uint32_t k = 0; k < c->nrule; k++) {
			struct plan_rule *r = &c->rule[k];

			if (r->verdict.chain != PLAN_NONE)
				r->verdict.chain = o.to[r->verdict.chain] - 1;
			for (uint32_t m = 0; m < r->nmatch; m++)
				move(&r->match[m].set, set);
			move(&r->limit.meter, set);
			move(&r->vmap, set);
			move(&r->counter, counter);
		}
		chain[o.to[i] - 1] = *c;
	}
	for (uint32_t i = 0; i < p->nset; i++)
		if (o.set[i]) {
			redirect_set(a, &p->set[i], o.to);
			p->set[set[i]] = p->set[i];
		}
	for (uint32_t i = 0; i < p->ncounter; i++)
		if (o.counter[i])
			p->counter[counter[i]] = p->counter[i];
	p->nset = set[p->nset];
	p->ncounter = counter[p->ncounter];
	p->chain = chain;
	p->nchain = p->capchain = o.n;
	return deepest;
}
