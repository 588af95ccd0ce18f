/*
 * group: many exemptions as one set.
 *
 * A rule for each of a thousand machines that run their own mail server would
 * cost every packet to port 25 a thousand comparisons. Exemptions of one
 * shape (the same ports, to anywhere, by nobody in particular, undated) are
 * looked up in one set instead; each element's comment names its statement. They
 * share one counter.
 */
#include <assert.h>
#include <stdlib.h>

#include "plan/lower.h"

struct entry {
	u128 lo, hi;
	const struct policy_stmt *stmt;
};

struct group {
	const struct policy_stmt **v;
	size_t n, cap;
	struct port_set ports;
};

static bool
simple(const struct policy_stmt *s)
{
	return s->kind == POLICY_EXEMPT && !s->nuser && !s->nunit &&
	    !s->meta.days.since && s->meta.days.until == UINT64_MAX &&
	    lower_all(ADDR_V4, &s->to.set) && lower_all(ADDR_V6, &s->to.set) &&
	    !lower_all(ADDR_V4, &s->from.set) && !lower_all(ADDR_V6, &s->from.set);
}

static int
by_place(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;

	if (a->lo != b->lo)
		return a->lo < b->lo ? -1 : 1;
	return (a->stmt->id > b->stmt->id) - (a->stmt->id < b->stmt->id);
}

/* All ranges of the group in a family, ascending, what is said twice but once. */
static size_t
entries(struct lower *l, const struct group *g, enum addr_family f, struct entry **out)
{
	struct entry *e;
	size_t n = 0, k = 0;

	for (size_t i = 0; i < g->n; i++)
		n += lower_count(f, &g->v[i]->from.set);
	*out = e = arena_array(l->a, n + 1, struct entry);
	n = 0;
	for (size_t i = 0; i < g->n; i++) {
		const struct addr_set *s = &g->v[i]->from.set;

		for (size_t q = 0; q < lower_count(f, s); q++)
			e[n++] = f == ADDR_V4 ?
			    (struct entry){s->v4[q].lo, s->v4[q].hi, g->v[i]} :
			    (struct entry){s->v6[q].lo, s->v6[q].hi, g->v[i]};
	}
	qsort(e, n, sizeof *e, by_place);
	for (size_t i = 0; i < n; i++) {
		if (k && e[i].hi <= e[k - 1].hi)
			continue;
		if (k && e[i].lo <= e[k - 1].hi)
			e[i].lo = e[k - 1].hi + 1;
		e[k++] = e[i];
	}
	return k;
}

/* The set of the entries, as a match. */
static void
look_up(struct lower *l, struct draft *r, enum addr_family f, const struct entry *e,
    size_t n, const char *name)
{
	struct plan_set set = {.kind = PLAN_SET, .interval = true, .n = n,
	    .key = f == ADDR_V4 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6};
	struct addr_set *plain = arena_of(l->a, struct addr_set);
	const char **comment;

	for (size_t i = 0; i < n; i++)
		addr_set_add(l->a, plain, f, e[i].lo, e[i].hi);
	if (n < 2 || (l->split && n > l->split->above)) {
		addr_set_finish(plain);    /* too large for comments */
		draft_addr(l, r, PLAN_SADDR4, PLAN_IS, f, plain, name);
		return;
	}
	comment = arena_array(l->a, n, const char *);
	for (size_t i = 0; i < n; i++)
		comment[i] = lower_stmt_comment(l, e[i].stmt);
	set.v4 = plain->v4;
	set.v6 = plain->v6;
	set.comment = comment;
	set.name = lower_name(l, NAME_SET, "%s%c", name, f == ADDR_V4 ? '4' : '6');
	draft_value(r, f == ADDR_V4 ? PLAN_SADDR4 : PLAN_SADDR6, PLAN_IS, 0);
	r->match[r->nmatch - 1].m.set = lower_set(l, set);
}

static void
emit(struct lower *l, const struct bench *b, uint32_t chain, const struct group *g,
    struct plan_verdict allow)
{
	const char *name = arena_printf(l->a, "%s-exempt", lower_judge_name(l, b->judge));
	uint32_t counter = b->nat ? PLAN_NONE : lower_counter_new(l, name);
	struct entry *e;

	for (int k = 0; k < 2; k++) {
		enum addr_family f = k ? ADDR_V6 : ADDR_V4;
		size_t n = entries(l, g, f, &e);
		struct draft r = draft_new(allow);

		if (!n)
			continue;
		look_up(l, &r, f, e, n, name);
		if (b->seen.all || !port_set_equal(&g->ports, &b->seen.set))
			draft_ports(l, &r, &g->ports, g->v[0]->ports.label);
		r.r.counter = counter;
		r.r.comment = arena_printf(l->a, "exempt: %zu statements, named at the elements of the set",
		    g->n);
		lower_emit(l, chain, &r);
	}
}

bool *
lower_group(struct lower *l, const struct bench *b, uint32_t chain,
    struct plan_verdict allow)
{
	const struct policy_judge *j = b->judge;
	bool *done = arena_array(l->a, j->nstmt + 1, bool);
	struct group *group = NULL;
	size_t *of = arena_array(l->a, j->nstmt + 1, size_t);
	size_t n = 0, cap = 0, k;

	for (size_t i = 0; i < j->nstmt; i++) {
		struct port_set ports;

		if (!simple(j->stmt[i]))
			continue;
		ports = lower_visible(l, &b->seen, &j->stmt[i]->ports.set);
		if (!ports.n)
			continue;
		for (k = 0; k < n && !port_set_equal(&group[k].ports, &ports); k++)
			;
		if (k == n)
			ARENA_PUSH(l->a, group, n, cap).ports = ports;
		ARENA_PUSH(l->a, group[k].v, group[k].n, group[k].cap) = j->stmt[i];
		of[i] = k + 1;
	}
	for (k = 0; k < n; k++)
		if (group[k].n >= LOWER_GROUP)
			emit(l, b, chain, &group[k], allow);
	for (size_t i = 0; i < j->nstmt; i++) {
		assert(of[i] <= n);
		done[i] = of[i] && group[of[i] - 1].n >= LOWER_GROUP;
	}
	return done;
}
