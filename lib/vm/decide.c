/*
 * decide: which rule has the last word over one packet.
 *
 * The packet is taken from rule to rule; what each does with it is read from the diagram of
 * that rule alone.
 */
#include <string.h>

#include "addr/packet.h"
#include "vm/inside.h"

struct trace {
	struct vm *v;
	const u128 *x;
	const struct nl_rule *rule; /* the innermost that decided */
};

/* The chain that the rule hands the packet on to; UINT32_MAX: none. */
static uint32_t
callee(struct vm *v, const struct nl_rule *r, const struct nl_elem *picked)
{
	const struct nl_verdict *k = picked && picked->more ? &picked->more->verdict : NULL;

	for (uint32_t i = 0; i < r->nexpr; i++)
		if (r->expr[i].kind == NL_IMMEDIATE && !r->expr[i].u.immediate.v.n)
			k = &r->expr[i].u.immediate.verdict;
	return k && (k->code == NL_JUMP || k->code == NL_GOTO) ? chain_find(v, r, k->chain) :
	    UINT32_MAX;
}

/* Through a chain, from state *s on: gives how it ends. V_OTHER: not to be told. */
static enum verb
chain_trace(struct trace *t, uint32_t chain, struct place at, uint32_t *s, unsigned depth)
{
	struct vm *v = t->v;

	for (uint32_t k = 0; k < v->nrule[chain]; k++) {
		const struct nl_rule *rule = &v->d->rule[v->first[chain] + k];
		const struct leaf *l;
		uint32_t inner, from = *s;
		enum verb verb;
		bool changes;
		fdd_ref r;

		v->picked = NULL;
		r = rule_run(v, rule, at, from, &changes);
		if (r == FDD_NONE)
			return V_OTHER;
		l = &v->leaf[fdd_number(fdd_eval(v->f, r, t->x))];
		verb = l->n == 1 ? outcome_verb(l->o[0]) : V_OTHER;
		if (l->n == 1)
			*s = outcome_state(l->o[0]);
		if (verb == V_NEXT)
			continue;
		inner = callee(v, rule, v->picked);
		t->rule = NULL;
		if (inner != UINT32_MAX && depth < MOST_CALLS &&
		    chain_trace(t, inner, at, &from, depth + 1) != verb)
			t->rule = NULL;
		if (!t->rule)
			t->rule = rule;
		return verb;
	}
	t->rule = NULL;
	return V_RETURN;
}

/* Whether the step looks at the packet at all. */
static bool
is_asked(const struct trace *t, const struct step *st, uint32_t s)
{
	const struct nl_chain *c = &t->v->d->chain[st->chain];
	u128 state = t->x[FLOW_STATE];

	if (st->device || (c->family == NF_IP && t->x[FLOW_FAMILY] != ADDR_V4) ||
	    (c->family == NF_IP6 && t->x[FLOW_FAMILY] != ADDR_V6))
		return false;
	return strcmp(c->type, "nat") || ((state == PACKET_NEW || state == PACKET_RELATED) &&
	    t->v->state[s]->c.state != FIXED);
}

static bool
way_trace(struct trace *t, const struct way *w, unsigned way, struct vm_decider *out)
{
	uint32_t s = 0;

	for (size_t i = 0; i < w->n; i++) {
		const struct step *st = &w->v[i];
		const struct nl_chain *c = &t->v->d->chain[st->chain];
		enum verb verb;

		if (!is_asked(t, st, s))
			continue;
		verb = chain_trace(t, st->chain, step_place(t->v, st, way), &s, 0);
		switch (verb) {
		case V_NEXT:
		case V_RETURN:
			if (!c->policy) {
				*out = (struct vm_decider){.chain = c};
				return true;
			}
			if (!out->rule)
				out->chain = c;
			break;
		case V_ACCEPT:
			*out = (struct vm_decider){.rule = t->rule};
			break;
		case V_DROP:
		case V_REJECT:
		case V_QUEUE:
			*out = (struct vm_decider){.rule = t->rule};
			return true;
		case V_OTHER:
			*out = (struct vm_decider){.rule = t->rule};
			return false;
		}
		/* NAT may send it another way than its first hook said. */
		if (way != WAY_OUTPUT && t->v->state[s]->c.nat)
			return false;
	}
	return true;
}

bool
vm_decide(struct vm *v, const u128 x[FLOW_NFIELD], struct vm_decider *out)
{
	static const unsigned of[] = {
		[PACKET_FORWARD] = WAY_FORWARD, [PACKET_OUTPUT] = WAY_OUTPUT,
		[PACKET_INPUT] = WAY_INPUT,
	};
	struct trace t = {.v = v, .x = x};
	struct way ways[3];
	bool told;

	*out = (struct vm_decider){NULL, NULL};
	ways_make(v, ways);
	v->packet = x;
	told = way_trace(&t, &ways[of[(int)x[FLOW_HOOK]]], of[(int)x[FLOW_HOOK]], out);
	v->packet = NULL;
	return told;
}
