/*
 * run: chains, base chains by priority, and the whole way of a packet.
 */
#include <stdlib.h>
#include <string.h>

#include "addr/packet.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "nl/xtread.h"
#include "vm/inside.h"

/* ---- chains ------------------------------------------------------------------------- */

uint32_t
chain_find(struct vm *v, const struct nl_rule *r, const char *name)
{
	const struct nl_chain *c = name ? nl_dump_chain(v->d, r->family, r->table, name) : NULL;

	return c ? (uint32_t)(c - v->d->chain) : UINT32_MAX;
}

struct memo {
	uint32_t chain, rule, state, hook;
	uint8_t way, family, early, pad;
};

static fdd_ref *
remembered(struct vm *v, const struct memo *m, bool *fresh)
{
	int is_new;
	uint32_t i = hash_names_add(v->memo, (const char *)m, sizeof *m, &is_new);

	if (is_new)
		ARENA_PUSH(v->a, v->done, v->ndone, v->capdone) = FDD_NONE;
	*fresh = is_new;
	return &v->done[i];
}

static fdd_ref
rules_run(struct vm *v, uint32_t chain, uint32_t from, struct place at, uint32_t s);

/* The rules behind `from`, in each state in which the diagram goes on. */
static fdd_ref
go_on(struct vm *v, fdd_ref r, uint32_t chain, uint32_t from, struct place at)
{
	uint32_t *state;
	size_t n = states_in(v, r, V_NEXT, &state);

	for (size_t i = 0; i < n; i++)
		r = over(v, state[i], r, rules_run(v, chain, from, at, state[i]));
	return r;
}

static fdd_ref
rules_run(struct vm *v, uint32_t chain, uint32_t from, struct place at, uint32_t s)
{
	uint32_t first = v->first[chain], n = v->nrule[chain], k = from;
	struct memo m = {.chain = chain, .rule = from, .state = s, .hook = at.hook,
	    .way = (uint8_t)at.way, .family = at.family, .early = at.early};
	uint32_t astray = outcome(V_OTHER, 0);
	fdd_ref *part, r, *out;
	bool changes = false, fresh;
	size_t np = 0;

	out = remembered(v, &m, &fresh);
	if (!fresh)
		return *out;
	/* until it is known: a chain that calls itself, which no kernel has */
	*out = fdd_leaf(leaf_of(v, &astray, 1, BY_UNKNOWN,
	    cause_of(v, NULL, 0, "calls that are nested too deep") + 1));
	if (v->depth >= MOST_CALLS)
		return *out;
	v->depth++;
	part = calloc(n - from + 1, sizeof *part);
	if (!part)
		abort();
	while (k < n && !changes)
		part[np++] = rule_run(v, &v->d->rule[v->order[first + k++]], at, s, &changes);
	r = fdd_fold(v->f, &v->state[s]->over, part, np, fdd_leaf(v->state[s]->on));
	free(part);
	if (k < n)
		r = go_on(v, r, chain, k, at);
	else
		r = verb_map(v, r, V_NEXT, V_RETURN);
	v->depth--;
	*remembered(v, &m, &fresh) = r;
	return r;
}

fdd_ref
chain_run(struct vm *v, uint32_t chain, struct place at, uint32_t s)
{
	return rules_run(v, chain, 0, at, s);
}

/* ---- base chains ----------------------------------------------------------------------- */

/* Of two with one priority the kernel runs the younger first. */
static int
by_priority(const void *p, const void *q)
{
	const struct step *a = p, *b = q;

	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	return a->chain > b->chain ? -1 : 1;
}

static bool
is_step(const struct nl_chain *c, unsigned hook)
{
	if (!c->base)
		return false;
	if (hook == HOOK_INGRESS)
		return (c->family == NF_NETDEV && c->hook == 0) ||
		    (c->family == NF_INET && c->hook == HOOK_INGRESS);
	return (c->family == NF_INET || c->family == NF_IP || c->family == NF_IP6) &&
	    c->hook == hook;
}

static void
add_hook(struct vm *v, struct way *w, unsigned hook)
{
	size_t from = w->n;

	for (uint32_t i = 0; i < v->d->nchain; i++) {
		const struct nl_chain *c = &v->d->chain[i];

		if (is_step(c, hook))
			w->v[w->n++] = (struct step){i, hook == HOOK_INGRESS ? HOOK_PRE : hook,
			    c->priority, hook == HOOK_INGRESS};
	}
	qsort(w->v + from, w->n - from, sizeof *w->v, by_priority);
}

struct place
step_place(const struct vm *v, const struct step *st, unsigned way)
{
	return (struct place){.way = way, .hook = st->hook,
	    .family = v->d->chain[st->chain].family,
	    .early = st->device || ((st->hook == HOOK_PRE || st->hook == HOOK_OUT) &&
	    st->priority < PRIO_CONNTRACK)};
}

static fdd_ref
step_run(struct vm *v, const struct step *st, unsigned way, uint32_t s)
{
	const struct nl_chain *c = &v->d->chain[st->chain];
	struct place at = step_place(v, st, way);
	fdd_ref r, asked, pass = fdd_leaf(v->state[s]->on);

	r = verb_map(v, chain_run(v, st->chain, at, s), V_RETURN, c->policy ? V_ACCEPT : V_DROP);
	r = verb_map(v, r, V_ACCEPT, V_NEXT);
	if (c->family == NF_IP)
		r = guard(v, s, fdd_range(v->f, FLOW_FAMILY, ADDR_V4, ADDR_V4, YES, NO), r);
	if (c->family == NF_IP6)
		r = guard(v, s, fdd_range(v->f, FLOW_FAMILY, ADDR_V6, ADDR_V6, YES, NO), r);
	/* NAT is asked once a connection, and not what has none. */
	if (!strcmp(c->type, "nat")) {
		fdd_begin(v->f, FLOW_STATE);
		fdd_edge(v->f, PACKET_NEW, YES);
		fdd_edge(v->f, PACKET_ESTABLISHED, NO);
		fdd_edge(v->f, PACKET_RELATED, YES);
		fdd_edge(v->f, PACKET_UNTRACKED, NO);
		asked = fdd_end(v->f);
		/* an ICMP error goes the way of its connection, if NAT was there when that began */
		asked = cond_and(v, asked, cond_or(v, cond_not(v, case_errors(v)),
		    not_known(cause_of(v, NULL, 0, "NAT of an ICMP error"))));
		r = v->state[s]->c.state == FIXED ? pass : guard(v, s, asked, r);
	}
	if (st->device)
		r = guard(v, s, not_known(cause_of(v, NULL, 0, "a chain of one device")), r);
	return r;
}

static fdd_ref
way_run(struct vm *v, const struct way *ways, unsigned which, size_t i, uint32_t s);

static size_t
behind_prerouting(const struct way *w)
{
	size_t i = 0;

	while (i < w->n && w->v[i].hook == HOOK_PRE)
		i++;
	return i;
}

/* What follows step i - 1. Behind prerouting NAT may have sent the packet another way. */
static fdd_ref
follow(struct vm *v, const struct way *ways, unsigned which, size_t i, uint32_t s)
{
	const struct changed *c = &v->state[s]->c;
	fdd_ref in;

	if (which == WAY_OUTPUT || !c->nat || i != behind_prerouting(&ways[which]))
		return way_run(v, ways, which, i, s);
	in = way_run(v, ways, WAY_INPUT, behind_prerouting(&ways[WAY_INPUT]), s);
	if (c->local)
		return in;
	return fdd_apply(v->f, &v->any, in, way_run(v, ways, WAY_FORWARD,
	    behind_prerouting(&ways[WAY_FORWARD]), s));
}

static fdd_ref
way_run(struct vm *v, const struct way *ways, unsigned which, size_t i, uint32_t s)
{
	const struct way *w = &ways[which];
	uint32_t *state;
	fdd_ref r;
	size_t n;

	if (i == w->n)
		return fdd_leaf(leaf_one(v, V_ACCEPT, s));
	r = step_run(v, &w->v[i], which, s);
	n = states_in(v, r, V_NEXT, &state);
	for (size_t k = 0; k < n; k++)
		r = over(v, state[k], r, follow(v, ways, which, i + 1, state[k]));
	return r;
}

/* ---- what comes out -------------------------------------------------------------------------- */

static uint32_t
final_leaf(void *arg, uint32_t l)
{
	struct vm *v = arg;
	const struct leaf *x = &v->leaf[l];
	struct {
		uint32_t fates, why, cause;
	} key = {0};
	struct vm_cause *cause = NULL;
	uint32_t i;
	int fresh;

	for (i = 0; i < x->n; i++) {
		uint8_t nat = v->state[outcome_state(x->o[i])]->c.nat;

		switch (outcome_verb(x->o[i])) {
		case V_NEXT:
		case V_RETURN:
		case V_ACCEPT:
			key.fates |= 1u << (nat ? nat : VM_PASS);
			break;
		case V_DROP:
			key.fates |= 1u << VM_DROP;
			break;
		case V_REJECT:
			key.fates |= 1u << VM_REJECT;
			break;
		case V_QUEUE:
			key.fates |= 1u << VM_QUEUE;
			break;
		case V_OTHER:
			key.fates |= 1u << VM_OTHER;
			break;
		}
	}
	if (key.fates & (key.fates - 1) || key.fates == 1u << VM_OTHER) {
		key.why = x->why;
		key.cause = x->cause;
	}
	i = hash_names_add(v->finals, (const char *)&key, sizeof key, &fresh);
	if (fresh && key.cause) {
		cause = arena_of(v->a, struct vm_cause);
		*cause = v->cause[key.cause - 1];
	}
	if (fresh)
		ARENA_PUSH(v->a, v->final, v->nfinal, v->capfinal) = (struct vm_leaf){
		    .fates = key.fates, .may = key.why & BY_LIMIT, .cause = cause,
		    .unknown = key.why & BY_UNKNOWN || key.fates == 1u << VM_OTHER};
	return i;
}

void
ways_make(struct vm *v, struct way ways[3])
{
	static const struct {
		unsigned way, hook[3], n;
	} hooks[] = {
		{WAY_FORWARD, {HOOK_INGRESS, HOOK_PRE, HOOK_FORWARD}, 3},
		{WAY_FORWARD, {HOOK_POST}, 1},
		{WAY_OUTPUT, {HOOK_OUT, HOOK_POST}, 2},
		{WAY_INPUT, {HOOK_INGRESS, HOOK_PRE, HOOK_IN}, 3},
	};

	for (unsigned k = 0; k < 3; k++)
		ways[k] = (struct way){arena_array(v->a, 3 * (v->d->nchain + 1), struct step), 0};
	for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++)
		for (unsigned k = 0; k < hooks[i].n; k++)
			add_hook(v, &ways[hooks[i].way], hooks[i].hook[k]);
}

fdd_ref
vm_read(struct vm *v)
{
	static const enum packet_hook of[] = {
		[WAY_FORWARD] = PACKET_FORWARD, [WAY_OUTPUT] = PACKET_OUTPUT,
		[WAY_INPUT] = PACKET_INPUT,
	};
	struct way ways[3];
	fdd_ref r[3];

	ways_make(v, ways);
	for (unsigned k = 0; k < 3; k++)
		r[of[k]] = fdd_map(v->f, v->end, final_leaf, v, way_run(v, ways, k, 0, 0));
	fdd_begin(v->f, FLOW_HOOK);
	for (unsigned k = PACKET_FORWARD; k <= PACKET_INPUT; k++)
		fdd_edge(v->f, k, r[k]);
	return fdd_end(v->f);
}

/* ---- the reader ------------------------------------------------------------------------------ */

/* Dumps have the rules of a chain together; nothing is built on it. */
static void
index_rules(struct vm *v)
{
	const struct nl_dump *d = v->d;
	uint32_t *of = arena_array(v->a, d->nrule + 1, uint32_t), at = 0;

	v->first = arena_array(v->a, d->nchain + 1, uint32_t);
	v->nrule = arena_array(v->a, d->nchain + 1, uint32_t);
	v->order = arena_array(v->a, d->nrule + 1, uint32_t);
	for (uint32_t i = 0; i < d->nrule; i++) {
		const struct nl_rule *r = &d->rule[i];

		if (i && !strcmp(r->chain, r[-1].chain) && !strcmp(r->table, r[-1].table) &&
		    r->family == r[-1].family)
			of[i] = of[i - 1];
		else
			of[i] = chain_find(v, r, r->chain);
		if (of[i] != UINT32_MAX)
			v->nrule[of[i]]++;
	}
	for (uint32_t c = 0; c < d->nchain; c++) {
		v->first[c] = at;
		at += v->nrule[c];
		v->nrule[c] = 0;
	}
	for (uint32_t i = 0; i < d->nrule; i++)
		if (of[i] != UINT32_MAX)
			v->order[v->first[of[i]] + v->nrule[of[i]]++] = i;
}

static void
index_effects(struct vm *v)
{
	for (uint32_t i = 0; i < v->d->nrule; i++) {
		const struct nl_rule *r = &v->d->rule[i];

		for (uint32_t k = 0; k < r->nexpr; k++) {
			const struct nl_expr *e = &r->expr[k];

			if ((e->kind == NL_META && e->u.meta.sreg != NL_NO_REG) ||
			    (e->kind == NL_CT && e->u.ct.sreg != NL_NO_REG) ||
			    (e->kind == NL_PAYLOAD && e->u.payload.sreg != NL_NO_REG) ||
			    e->kind == NL_NOTRACK || e->kind == NL_XT_TARGET)
				v->marks = true;
			if (e->kind == NL_DYNSET) {
				const struct nl_set *s = nl_dump_set(v->d, r->family, r->table,
				    e->u.dynset.set);

				if (s)
					hash_names_add(v->written, (const char *)&s, sizeof s, NULL);
			}
		}
	}
}

struct vm *
vm_new(struct fdd *f, const struct nl_dump *d, const struct vm_world *w)
{
	struct vm *v = calloc(1, sizeof *v);
	struct changed none;

	if (!v)
		abort();
	memset(&none, 0, sizeof none);
	v->a = arena_new();
	v->f = f;
	v->d = d;
	if (w)
		v->w = *w;
	v->leaves = hash_names_new(v->a);
	v->states = hash_names_new(v->a);
	v->causes = hash_names_new(v->a);
	v->finals = hash_names_new(v->a);
	v->memo = hash_names_new(v->a);
	v->written = hash_names_new(v->a);
	ops_init(v);
	state_of(v, &none);
	index_rules(v);
	index_effects(v);
	return v;
}

struct vm *
vm_free(struct vm *v)
{
	if (!v)
		return NULL;
	arena_free(v->a);
	free(v);
	return NULL;
}

const struct vm_leaf *
vm_leaf(const struct vm *v, uint32_t number)
{
	return &v->final[number];
}

const char *
vm_fate_name(enum vm_fate x)
{
	static const char *const name[VM_NFATE] = {
		[VM_PASS] = "pass", [VM_DROP] = "drop", [VM_REJECT] = "reject",
		[VM_CAPTURE] = "capture", [VM_MOVED] = "pass elsewhere",
		[VM_QUEUE] = "queue", [VM_OTHER] = "unknown",
	};

	return name[x];
}

void
vm_leaf_text(struct buf *out, const struct vm_leaf *l)
{
	const char *sep = "";

	for (enum vm_fate k = 0; k < VM_NFATE; k++)
		if (l->fates >> k & 1) {
			buf_str(out, sep);
			buf_str(out, vm_fate_name(k));
			sep = " or ";
		}
	if (l->may)
		buf_str(out, " (by a limit)");
	if (!l->unknown || !l->cause)
		return;
	buf_printf(out, " (%s", l->cause->why);
	if (l->cause->rule) {
		const struct nl_rule *r = l->cause->rule;

		buf_printf(out, ": %s %s handle %llu", r->table, r->chain,
		    (unsigned long long)r->handle);
		if (l->cause->expr < r->nexpr) {
			buf_str(out, ": ");
			nl_expr_words(out, &r->expr[l->cause->expr]);
		}
	}
	buf_str(out, ")");
}
