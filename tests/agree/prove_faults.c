/*
 * prove_faults: proofs hold, and planted faults are found.
 *
 *     prove_faults POLICY...
 *
 * For each point of each policy the plan is proved; then plans with one rule dropped, or one
 * verdict changed. A fault that is found must come with a packet for which an evaluation of
 * the faulty plan that knows no kernel (plan_eval) does what the policy does not, and with
 * the changed rule; one that is not found must do nothing wrong with a packet of any region of
 * the policy's meaning. (No such evaluation exceeds a limit, or
 * follows a captured packet on its way.) Exit status 77: no namespaces here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "compile/compile.h"
#include "plan/plan.h"
#include "prove/prove.h"
#include "world/world.h"

enum { SKIP = 77, FAULTS = 10, REGIONS = 200 };

static unsigned failed, proved, found, harmless;

static void
fail(const char *policy, const char *point, const char *what)
{
	printf("%s %s: %s\n", policy, point, what);
	failed++;
}

static bool
refuses_or(enum plan_fate f, enum flow_verdict v)
{
	switch (f) {
	case PLAN_UNTOUCHED:
	case PLAN_ACCEPT:
		return v == FLOW_UNTOUCHED || v == FLOW_ALLOW;
	case PLAN_REJECT:
		return v == FLOW_REJECT;
	case PLAN_DROP:
		return v == FLOW_DROP;
	case PLAN_REDIRECT:
		return v == FLOW_CAPTURE;
	}
	return false;
}

/* Whether the plan does with the packet what the leaf says. */
static bool
does(const struct plan *p, const struct packet *x, const struct flow_leaf *l)
{
	struct plan_answer y;

	plan_eval(p, x, &y);
	return refuses_or(y.fate, l->observe ? FLOW_UNTOUCHED : l->verdict);
}

/* The plan with rule r of chain c changed: without it, or with another verdict. */
static struct plan *
faulty(struct arena *a, const struct plan *p, uint32_t c, uint32_t r, bool drop)
{
	struct plan *q = arena_of(a, struct plan);
	struct plan_chain *to;

	*q = *p;
	q->chain = arena_array(a, p->nchain, struct plan_chain);
	memcpy(q->chain, p->chain, p->nchain * sizeof *q->chain);
	to = &q->chain[c];
	to->rule = arena_array(a, to->nrule, struct plan_rule);
	memcpy(to->rule, p->chain[c].rule, to->nrule * sizeof *to->rule);
	if (drop) {
		memmove(&to->rule[r], &to->rule[r + 1], (to->nrule - r - 1) * sizeof *to->rule);
		to->nrule--;
	} else {
		struct plan_verdict *v = &to->rule[r].verdict;

		v->kind = v->kind == PLAN_DO_ACCEPT ? PLAN_DO_DROP : PLAN_DO_ACCEPT;
	}
	plan_seal(q);
	return q;
}

static void
fault(struct compile *k, const struct policy_point *pt, uint32_t c, uint32_t r, bool drop)
{
	const struct plan *good = k->plan[pt->index];
	const struct plan_chain *chain = &good->chain[c];
	struct prove p = {.a = arena_new(), .flow = k->flow, .meant = k->meaning[pt->index],
	    .strict = true, .most = 100};
	struct plan *bad = faulty(p.a, good, c, r, drop);
	int outcome = prove_plan(&p, bad);
	const char *what = arena_printf(p.a, "rule %u of %s %s", r + 1, chain->name,
	    drop ? "dropped" : "changed");

	if (outcome < 0) {
		fail(k->name, pt->meta.name, arena_printf(p.a, "%s: %s", what, strerror(-outcome)));
	} else if (outcome == PROVE_DIFFERS) {
		const struct prove_region *b = &p.region[0];

		found++;
		if (!p.nregion || (!b->leaf->limits && b->leaf->verdict != FLOW_CAPTURE &&
		    does(bad, &b->witness, b->leaf))) {
			char packet[128];

			packet_write(&b->witness, packet);
			fail(k->name, pt->meta.name, arena_printf(p.a, "%s: found, and %s is right",
			    what, packet));
		} else if (!drop && (!b->rule || b->rule->number != r + 1 ||
		    strncmp(b->rule->chain, chain->name, strlen(chain->name)) != 0)) {
			fail(k->name, pt->meta.name, arena_printf(p.a, "%s: told is %s, %s %u", what,
			    b->rule ? b->rule->text : "no rule", b->rule ? b->rule->chain : "",
			    b->rule ? b->rule->number : 0));
		}
	} else {
		struct flow_diff d;

		harmless++;
		flow_boxes(k->flow, p.a, p.meant, REGIONS, &d);
		for (size_t i = 0; i < d.nbox; i++)
			if (!does(bad, &d.box[i].witness, flow_eval(k->flow, p.meant,
			    &d.box[i].witness)))
				fail(k->name, pt->meta.name, arena_printf(p.a, "%s: not found", what));
	}
	arena_free(p.a);
}

static void
point(struct compile *k, const struct policy_point *pt)
{
	const struct plan *good = k->plan[pt->index];
	struct prove p = {.a = arena_new(), .flow = k->flow, .meant = k->meaning[pt->index],
	    .strict = true, .most = 100};
	int outcome = prove_plan(&p, good);
	uint32_t rules = 0, n = 0;

	if (outcome < 0 && p.step == PROVE_SPACE) {
		printf("no namespaces: %s\n", strerror(-outcome));
		exit(SKIP);
	}
	if (outcome)
		fail(k->name, pt->meta.name, outcome < 0 ? strerror(-outcome) : "is not proved");
	proved++;
	arena_free(p.a);
	for (uint32_t c = 0; c < good->nchain; c++)
		rules += good->chain[c].nrule;
	for (uint32_t c = 0; c < good->nchain; c++)
		for (uint32_t r = 0; r < good->chain[c].nrule; r++, n++) {
			enum plan_verdict_kind v = good->chain[c].rule[r].verdict.kind;

			if (n % (rules / FAULTS + 1))
				continue;
			fault(k, pt, c, r, true);
			if (v == PLAN_DO_ACCEPT || v == PLAN_DO_DROP || v == PLAN_DO_REJECT)
				fault(k, pt, c, r, false);
		}
}

static void
policy(const char *path)
{
	struct arena *a = arena_new();
	struct compile k = {.a = a, .text = text_set_new(a), .d = diags_new(a), .name = path};
	struct world world = {.dir = -1};

	if (world_slurp(a, path, 1 << 26, &k.bytes, &k.len) || world_open(&world, path)) {
		fail(path, "", "cannot be read");
		return;
	}
	k.world = &world.policy;
	if (!compile_run(&k, 1u << COMPILE_READ | 1u << COMPILE_MEAN | 1u << COMPILE_PLAN))
		fail(path, "", "does not compile");
	else
		for (size_t i = 0; i < k.policy->npoint; i++)
			point(&k, k.policy->point[i]);
	flow_free(k.flow);
	world_close(&world);
	arena_free(a);
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		policy(argv[i]);
	printf("%u points proved, %u faults found with a packet, %u without effect; %u failed\n", proved,
	    found, harmless, failed);
	return failed || !proved || !found;
}
