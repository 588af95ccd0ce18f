#include "compile/compile.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "plan/plan.h"

/* Regions whose witness the check executes; more would not find more, since a
 * lowering goes wrong for a statement, not for one region of many. */
enum { CHECKED_REGIONS = 512 };

static bool
wanted(const struct compile *c, const struct policy_point *pt)
{
	return !c->only || !strcmp(c->only, pt->meta.name);
}

static void
read_policy(struct compile *c)
{
	c->policy = policy_load(c->a, c->text, c->name, c->bytes, c->len, c->world, c->d);
}

static void
mean(struct compile *c)
{
	const struct policy *p = c->policy;

	if (!c->flow)
		c->flow = flow_new(0);
	c->meaning = arena_array(c->a, p->npoint + 1, flow_ref);
	for (size_t i = 0; i < p->npoint; i++)
		c->meaning[i] = wanted(c, p->point[i]) ?
		    flow_point(c->flow, p->point[i], c->d) : FLOW_NONE;
}

static void
lint(struct compile *c)
{
	look_lint(c->a, c->flow, c->policy, &c->lint, c->d);
}

static void
plan(struct compile *c)
{
	const struct policy *p = c->policy;

	c->plan = (const struct plan **)arena_alloc(c->a, (p->npoint + 1) * sizeof *c->plan);
	for (size_t i = 0; i < p->npoint; i++)
		if (wanted(c, p->point[i]))
			c->plan[i] = plan_of_point(c->a, p, p->point[i], c->d);
}

/* What a plan did, in the words of the diagram. */
static enum flow_verdict
verdict_of(const struct plan_answer *x)
{
	switch (x->observed ? x->would : x->fate) {
	case PLAN_UNTOUCHED:
	case PLAN_ACCEPT:
		return FLOW_UNTOUCHED;
	case PLAN_REJECT:
		return FLOW_REJECT;
	case PLAN_DROP:
		return FLOW_DROP;
	case PLAN_REDIRECT:
		return FLOW_CAPTURE;
	}
	return FLOW_UNTOUCHED;
}

static enum flow_verdict
effect_of(enum flow_verdict v)
{
	return v == FLOW_ALLOW ? FLOW_UNTOUCHED : v;
}

/* Executes the plan on a witness of every region of the meaning. */
static void
check_plan(struct compile *c)
{
	const struct policy *p = c->policy;

	for (size_t i = 0; i < p->npoint; i++) {
		struct arena *m;
		struct flow_diff regions;

		if (!c->plan[i] || !c->meaning || c->meaning[i] == FLOW_NONE)
			continue;
		m = arena_new();
		flow_boxes(c->flow, m, c->meaning[i], CHECKED_REGIONS, &regions);
		for (size_t k = 0; k < regions.nbox; k++) {
			const struct flow_box *b = &regions.box[k];
			struct plan_answer x;
			char probe[128];

			plan_eval(c->plan[i], &b->witness, &x);
			if (verdict_of(&x) == effect_of(b->now))
				continue;
			packet_write(&b->witness, probe);
			diag_add(c->d, DIAG_E2002, p->point[i]->meta.at,
			    "the rules made for %s do %s with %s%s%s%s%s at second %llu, and the policy says %s",
			    p->point[i]->meta.name, flow_verdict_name(verdict_of(&x)), probe,
			    b->witness.user ? " by " : "", b->witness.user ? b->witness.user : "",
			    b->witness.unit ? " in " : "", b->witness.unit ? b->witness.unit : "",
			    (unsigned long long)b->witness.date, flow_verdict_name(b->now));
			break;
		}
		arena_free(m);
	}
}

static void
dump_policy(struct compile *c)
{
	buf_printf(c->dumped, "policy %s: %zu networks, %zu relays, %zu points, %zu statements, %zu tests\n",
	    c->policy->meta.name ? c->policy->meta.name : "", c->policy->nnetwork,
	    c->policy->nrelay, c->policy->npoint, c->policy->nstmt, c->policy->ntest);
	for (size_t i = 0; i < c->policy->nstmt; i++) {
		const struct policy_stmt *s = c->policy->stmt[i];

		buf_printf(c->dumped, "  %u %s %s %s: %s\n", s->id, s->point->meta.name,
		    s->zone->meta.name, policy_dir_word(s->dir), policy_stmt_label(c->a, s));
	}
}

static void
dump_meaning(struct compile *c)
{
	for (size_t i = 0; i < c->policy->npoint; i++) {
		struct flow_diff regions;

		if (c->meaning[i] == FLOW_NONE)
			continue;
		flow_boxes(c->flow, c->a, c->meaning[i], 1000, &regions);
		buf_printf(c->dumped, "meaning of %s: %zu regions, %u nodes in all\n",
		    c->policy->point[i]->meta.name, regions.nbox, flow_count(c->flow));
		for (size_t k = 0; k < regions.nbox; k++) {
			char probe[128];

			packet_write(&regions.box[k].witness, probe);
			buf_printf(c->dumped, "  %s  %s\n", probe, flow_verdict_name(regions.box[k].now));
		}
	}
}

static void
dump_plan(struct compile *c)
{
	for (size_t i = 0; i < c->policy->npoint; i++) {
		char digest[2 * PLAN_DIGEST + 1];

		if (!c->plan[i])
			continue;
		plan_digest_text(c->plan[i], digest);
		buf_printf(c->dumped, "plan of %s: %u sets, %u chains, digest %s\n",
		    c->policy->point[i]->meta.name, c->plan[i]->nset, c->plan[i]->nchain, digest);
	}
}

static const struct {
	char letter;               /* that asks for its dump */
	void (*run)(struct compile *c);
	void (*check)(struct compile *c);
	void (*dump)(struct compile *c);
} pass[COMPILE_NPASS] = {
	/* source, world -> policy */
	[COMPILE_READ] = {'R', read_policy, NULL, dump_policy},
	/* policy -> flow, meaning */
	[COMPILE_MEAN] = {'M', mean, NULL, dump_meaning},
	/* policy, flow -> warnings */
	[COMPILE_LINT] = {'L', lint, NULL, NULL},
	/* policy, meaning -> plan */
	[COMPILE_PLAN] = {'P', plan, check_plan, dump_plan},
};

bool
compile_run(struct compile *c, unsigned which)
{
	for (int p = 0; p < COMPILE_NPASS; p++) {
		if (!(which & 1u << p))
			continue;
		pass[p].run(c);
		if (c->d->errors)
			return false;
		if (pass[p].check)
			pass[p].check(c);
		if (c->d->errors)
			return false;
		if (pass[p].dump && c->dump && c->dumped && strchr(c->dump, pass[p].letter))
			pass[p].dump(c);
	}
	return true;
}
