#include "gen/diff_rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "gen/prove.h"
#include "gen/unit.h"
#include "plan/plan.h"
#include "tell/region.h"

enum { REGIONS = 1000, PLAN_MOST = 1 << 28 };

struct rules {
	const struct args *args;
	struct arena *a;
	const struct policy_point *point; /* of the policy; NULL: there is none */
	struct text_set *text;
	struct prove p;
	bool back;                 /* the policy is the new side */
};

enum diff_side
diff_side(const char *word)
{
	static const char end[] = ".nft";
	struct arena *a;
	const char *bytes;
	enum diff_side side = DIFF_POLICY;
	size_t n = strlen(word);

	if (!strcmp(word, "live"))
		return DIFF_LIVE;
	if (n > strlen(end) && !strcmp(word + n - strlen(end), end))
		return DIFF_FILE;
	if (!strcmp(word, "-"))
		return DIFF_POLICY;
	a = arena_new();
	/* what cannot be read is told by who reads policies */
	if (!world_slurp(a, word, PLAN_MOST, &bytes, &n) && plan_is(bytes, n))
		side = DIFF_PLAN;
	arena_free(a);
	return side;
}

/* One side that is no policy. 0 or an exit status after a message. */
static int
source(struct arena *a, enum diff_side side, const char *word, struct prove_source *out)
{
	struct plan *plan = NULL;
	const char *bytes, *wrong;
	size_t n;
	int err;

	*out = (struct prove_source){.from = side == DIFF_LIVE ? PROVE_LIVE : PROVE_FILE, .path = word};
	if (side != DIFF_PLAN)
		return 0;
	err = world_slurp(a, word, PLAN_MOST, &bytes, &n);
	if (err)
		return unit_cannot("read", word, err);
	wrong = plan_read(a, bytes, n, &plan);
	if (wrong) {
		fprintf(stderr, "mailreeve diff: %s is no whole plan file: %s\n", word, wrong);
		return UNIT_MACHINE;
	}
	*out = (struct prove_source){.from = PROVE_PLAN, .plan = plan};
	return 0;
}

static void
print(struct buf *out, const struct rules *r, bool json)
{
	const struct prove *p = &r->p;
	const char *point = r->point ? r->point->meta.name : NULL;

	if (!json && !p->nregion)
		buf_str(out, "no change\n");
	else if (!json)
		buf_printf(out, "traffic%s%s: %zu region%s\n", point ? " at " : "", point ? point : "",
		    p->nregion, p->nregion == 1 ? "" : "s");
	if (json) {
		buf_printf(out, "{\"changed\": {\"traffic\": %s},\n \"points\": [\n  {\"point\": ",
		    p->nregion ? "true" : "false");
		if (point)
			buf_json(out, point);
		else
			buf_str(out, "null");
		buf_printf(out, ", \"was\": true, \"now\": true, \"truncated\": %s, \"regions\": [",
		    p->truncated ? "true" : "false");
	}
	for (size_t i = 0; i < p->nregion; i++) {
		if (json) {
			buf_str(out, i ? ",\n   " : "\n   ");
			region_change_json(out, r->a, p->flow, r->text, &p->region[i], r->back);
		} else {
			region_change(out, r->a, p->flow, r->text, &p->region[i], r->back);
		}
	}
	if (json)
		buf_str(out, "]}]}\n");
	else if (p->truncated)
		buf_str(out, "  and more regions than are shown\n");
}

/* What is asked, with p and the outcome; prints. */
static int
finish(struct rules *r, int outcome, bool json)
{
	struct buf out = BUF_INIT(UNIT_OUT_MOST);

	if (outcome < 0)
		return prove_cannot("diff", &r->p, outcome);
	print(&out, r, json);
	return unit_write(r->args, &out, outcome == PROVE_DIFFERS &&
	    arg_value(r->args, ARG_DETAILED) ? UNIT_DIFFERS : UNIT_FINE);
}

static int
two_rulesets(struct rules *r, const enum diff_side side[2], bool json)
{
	struct prove_source s[2];
	int status;

	if (arg_value(r->args, ARG_POINT)) {
		fprintf(stderr, "mailreeve diff: --point is of a policy, and there is none\n");
		return UNIT_MACHINE;
	}
	r->a = r->p.a = arena_new();
	r->p.flow = flow_new(0);
	status = source(r->a, side[0], r->args->word[0], &s[0]);
	if (!status)
		status = source(r->a, side[1], r->args->word[1], &s[1]);
	if (!status)
		status = finish(r, prove_sources(&r->p, &s[0], &s[1]), json);
	r->p.flow = flow_free(r->p.flow);
	arena_free(r->a);
	return status;
}

/* The point that is asked for; that of the plan where nobody asks. */
static const struct policy_point *
point_of(struct unit *u, const struct prove_source *s)
{
	const struct policy_point *pt = NULL;

	if (!arg_value(u->args, ARG_POINT) && s->from == PROVE_PLAN && s->plan->point)
		pt = policy_point_find(u->c.policy, s->plan->point);
	return pt ? pt : unit_point(u, ARG_POINT);
}

static int
policy_and_ruleset(struct rules *r, enum diff_side side, bool json)
{
	const char *policy = r->args->word[r->back], *other = r->args->word[!r->back];
	struct prove_source s;
	struct unit u;
	int status = unit_open(&u, policy, r->args);

	u.no_notes = true;
	if (!status && !compile_run(&u.c, 1u << COMPILE_READ)) {
		unit_report(&u);
		status = UNIT_BAD;
	}
	if (!status)
		status = source(u.a, side, other, &s);
	if (!status) {
		r->point = point_of(&u, &s);
		status = r->point ? 0 : UNIT_MACHINE;
	}
	if (!status) {
		u.c.only = r->point->meta.name;
		status = unit_run(&u, 1u << COMPILE_MEAN);
	}
	if (!status) {
		r->a = r->p.a = u.a;
		r->text = u.c.text;
		r->p.flow = u.c.flow;
		r->p.meant = u.c.meaning[r->point->index];
		r->p.observe = r->point->observe;
		status = finish(r, prove_source(&r->p, &s), json);
	}
	u.c.flow = flow_free(u.c.flow);
	unit_close(&u);
	return status;
}

int
diff_rules(const struct args *a, enum diff_side was, enum diff_side now, bool json)
{
	struct rules r = {.args = a, .back = now == DIFF_POLICY, .p = {.most = REGIONS,
	    .host = &prove_host, .strict = arg_value(a, ARG_STRICT) != NULL}};

	if (was != DIFF_POLICY && now != DIFF_POLICY)
		return two_rulesets(&r, (const enum diff_side[]){was, now}, json);
	return policy_and_ruleset(&r, r.back ? was : now, json);
}
