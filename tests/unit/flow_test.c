/*
 * The meaning of policies: small cases with a name, then random policies
 * against a naive reading of policy.h. A failure prints its seed; to see it
 * again: flow_test SEED.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "flow/flow.h"
#include "flow/inside.h"
#include "text/diag.h"
#include "random_policy.h"

static uint64_t first_seed = 1, seeds = 1500;

#define CHECK(seed, x) do { \
	if (!(x)) { \
		print_error("seed %llu: %s\n", (unsigned long long)(seed), #x); \
		fail(); \
	} \
} while (0)

/* ---- intervals -------------------------------------------------------------- */

static uint64_t
bits_of(const struct ivals *s)
{
	uint64_t m = 0;

	for (size_t i = 0; i < s->n; i++)
		for (u128 x = s->v[i].lo; x <= s->v[i].hi; x++)
			m |= 1ull << (unsigned)x;
	return m;
}

static bool
canonical(const struct ivals *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].lo > s->v[i].hi || (i && s->v[i].lo <= s->v[i - 1].hi + 1))
			return false;
	return true;
}

static void
ival_algebra_equals_bit_sets(void **state)
{
	struct rnd r = {7};

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct arena *m = arena_new();
		struct ivals s[2] = {0}, o;
		uint64_t b[2];

		for (int k = 0; k < 2; k++) {
			for (unsigned n = rnd_below(&r, 6); n--; ) {
				unsigned lo = rnd_below(&r, 64), hi = lo + rnd_below(&r, 64 - lo);

				ival_add(m, &s[k], lo, rnd_one_in(&r, 2) ? lo : hi);
			}
			ival_finish(&s[k]);
			assert_true(canonical(&s[k]));
			b[k] = bits_of(&s[k]);
			for (unsigned x = 0; x < 64; x++)
				assert_int_equal(ival_has(s[k].v, s[k].n, x), b[k] >> x & 1);
		}
		ival_and(m, &o, &s[0], &s[1]);
		assert_true(canonical(&o) && bits_of(&o) == (b[0] & b[1]));
		ival_or(m, &o, &s[0], &s[1]);
		assert_true(canonical(&o) && bits_of(&o) == (b[0] | b[1]));
		ival_minus(m, &o, &s[0], &s[1]);
		assert_true(canonical(&o) && bits_of(&o) == (b[0] & ~b[1]));
		arena_free(m);
	}
}

static void
ival_reaches_the_end_of_128_bits(void **state)
{
	struct arena *m = arena_new();
	struct ivals a = {0}, b = {0}, o;

	(void)state;
	ival_add(m, &a, 0, U128_MAX);
	ival_finish(&a);
	ival_add(m, &b, U128_MAX, U128_MAX);
	ival_add(m, &b, 5, 9);
	ival_finish(&b);
	ival_minus(m, &o, &a, &b);
	assert_int_equal(o.n, 2);
	assert_true(o.v[1].lo == 10 && o.v[1].hi == U128_MAX - 1);
	ival_or(m, &o, &o, &b);
	ival_minus(m, &a, &b, &b);
	assert_int_equal(a.n, 0);
	arena_free(m);
}

/* ---- the store ---------------------------------------------------------------- */

static uint32_t
leaf_sum(void *arg, uint32_t a, uint32_t b)
{
	(void)arg;
	return a + b;
}

static uint32_t
leaf_half(void *arg, uint32_t l)
{
	(void)arg;
	return l / 2;
}

static void
fdd_equal_functions_are_equal_references(void **state)
{
	struct fdd *f = fdd_new(1000);
	struct fdd_op sum = {fdd_tag(f), true, leaf_sum, NULL, NULL};
	fdd_ref a, b, c, x, y;

	(void)state;
	a = fdd_range(f, FLOW_DPORT, 25, 25, fdd_leaf(1), fdd_leaf(0));
	b = fdd_range(f, FLOW_SRC6, 5, U128_MAX, fdd_leaf(2), fdd_leaf(0));
	c = fdd_range(f, FLOW_DPORT, 26, 90, fdd_leaf(1), fdd_leaf(0));
	x = fdd_apply(f, &sum, fdd_apply(f, &sum, a, b), c);
	y = fdd_apply(f, &sum, fdd_apply(f, &sum, c, b), a);
	assert_int_equal(x, y);
	/* a and c make one interval */
	assert_int_equal(fdd_apply(f, &sum, a, c),
	    fdd_range(f, FLOW_DPORT, 25, 90, fdd_leaf(1), fdd_leaf(0)));
	/* a node with one child is its child */
	assert_int_equal(fdd_range(f, FLOW_PROTO, 0, 255, a, b), a);
	assert_int_equal(fdd_range(f, FLOW_PROTO, 6, 6, a, a), a);
	/* halved, 0 and 1 are one */
	assert_int_equal(fdd_map(f, fdd_tag(f), leaf_half, NULL, a), fdd_leaf(0));
	assert_int_equal(fdd_map(f, fdd_tag(f), leaf_half, NULL, b),
	    fdd_range(f, FLOW_SRC6, 5, U128_MAX, fdd_leaf(1), fdd_leaf(0)));
	/* fixed, a field is not asked */
	assert_int_equal(fdd_fix(f, x, FLOW_SRC6, 4), fdd_apply(f, &sum, a, c));
	assert_int_equal(fdd_fix(f, x, FLOW_DPORT, 7), b);
	fdd_free(f);
}

static void
fdd_sweep_keeps_what_is_held(void **state)
{
	struct fdd *f = fdd_new(100000);
	struct fdd_op sum = {fdd_tag(f), true, leaf_sum, NULL, NULL};
	fdd_ref old, keep, big;
	uint32_t mark, n;
	u128 x[FLOW_NFIELD] = {0};

	(void)state;
	old = fdd_range(f, FLOW_DPORT, 25, 25, fdd_leaf(1), fdd_leaf(0));
	mark = fdd_mark(f);
	fdd_begin(f, FLOW_SRC4);
	for (uint32_t i = 0; i < 9999; i++)
		fdd_edge(f, i, fdd_leaf(i % 2));
	fdd_edge(f, UINT32_MAX, fdd_leaf(7));
	big = fdd_end(f);
	keep = fdd_apply(f, &sum, old, big);
	(void)fdd_apply(f, &sum, keep, big);
	n = fdd_count(f);
	fdd_sweep(f, mark, &keep, 1);
	assert_true(fdd_count(f) < n);
	x[FLOW_DPORT] = 25;
	x[FLOW_SRC4] = 1;
	assert_int_equal(fdd_eval(f, keep, x), fdd_leaf(2));
	assert_int_equal(fdd_apply(f, &sum, old, fdd_fix(f, keep, FLOW_DPORT, 9)), keep);
	fdd_sweep(f, mark, NULL, 0);
	assert_int_equal(fdd_count(f), 1);
	assert_true(fdd_edges(f) == 3);
	fdd_free(f);
}

static void
fdd_limit_is_passed_on(void **state)
{
	struct fdd *f = fdd_new(3);
	struct fdd_op sum = {fdd_tag(f), true, leaf_sum, NULL, NULL};
	fdd_ref a, b, c;

	(void)state;
	a = fdd_range(f, FLOW_DPORT, 25, 25, fdd_leaf(1), fdd_leaf(0));
	b = fdd_range(f, FLOW_SRC4, 25, 25, fdd_leaf(2), fdd_leaf(0));
	c = fdd_range(f, FLOW_DST4, 25, 25, fdd_leaf(4), fdd_leaf(0));
	assert_true(a != FDD_NONE && b != FDD_NONE && c != FDD_NONE);
	assert_int_equal(fdd_apply(f, &sum, fdd_apply(f, &sum, a, b), c), FDD_NONE);
	assert_int_equal(fdd_fix(f, FDD_NONE, FLOW_DPORT, 1), FDD_NONE);
	fdd_free(f);
}

/* ---- random policies ------------------------------------------------------------ */

static bool
leaf_agrees(struct flow *f, const struct flow_leaf *l, const struct naive *n)
{
	uint32_t limits = 0;
	size_t k = 0;

	if ((int)l->verdict != (int)n->verdict || l->observe != n->observe)
		return false;
	if ((n->nstmt > 2) != l->more || l->nstmt != (n->nstmt < 2 ? n->nstmt : 2))
		return false;
	for (uint32_t id = 0; id < 64; id++)
		for (size_t i = 0; i < n->nstmt; i++)
			if (n->stmt[i]->id == id && k < 2 && l->stmt[k++] != n->stmt[i])
				return false;
	for (size_t i = 0; i < n->nlimit; i++)
		limits = flow_limits_both(f, limits, flow_limits_one(f, n->limit[i]));
	return limits == l->limits;
}

static void
flow_point_agrees_with_the_words_of_policy_h(void **state)
{
	size_t judged = 0, refused = 0, allowed = 0, captured = 0, limited = 0, two = 0;

	(void)state;
	for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
		struct rnd r = {seed};
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 5, true);
		struct flow *f = flow_new(0);
		struct diags *d = diags_new(a);
		flow_ref x = flow_point(f, p->point[0], d);

		CHECK(seed, x != FLOW_NONE && !d->n);
		for (int i = 0; i < 60; i++) {
			struct packet q = rnd_packet(&r);
			struct naive n = naive_point(p->point[0], &q);
			const struct flow_leaf *l = flow_eval(f, x, &q);

			CHECK(seed, leaf_agrees(f, l, &n));
			judged += n.nstmt > 0;
			two += n.nstmt > 2;
			limited += l->limits > 0;
			allowed += l->verdict == FLOW_ALLOW;
			captured += l->verdict == FLOW_CAPTURE;
			refused += l->verdict >= FLOW_REJECT;
		}
		flow_free(f);
		arena_free(a);
	}
	/* The packets are not all beside the point. */
	if (seeds >= 1000)
		assert_true(judged > 5 * seeds && refused > seeds && allowed > seeds &&
		    captured && limited && two);
}

static void
flow_judge_is_the_point_of_that_judge_alone(void **state)
{
	(void)state;
	for (uint64_t seed = first_seed; seed < first_seed + seeds / 4; seed++) {
		struct rnd r = {seed};
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 4, true);
		struct policy_zone *z = p->point[0]->zone[0];
		struct flow *f = flow_new(0);
		struct diags *d = diags_new(a);
		enum policy_dir k = (enum policy_dir)rnd_below(&r, 2);
		flow_ref x = flow_judge(f, &z->judge[k], d);

		z->judge[!k].present = false;
		p->point[0]->nzone = 1;
		CHECK(seed, x == flow_point(f, p->point[0], d));
		flow_free(f);
		arena_free(a);
	}
}

static void
shuffle(struct rnd *r, void *v, size_t n, size_t size)
{
	char t[64], *p = v;

	for (size_t i = n; i > 1; i--) {
		size_t k = rnd_below(r, (unsigned)i);

		memcpy(t, p + k * size, size);
		memcpy(p + k * size, p + (i - 1) * size, size);
		memcpy(p + (i - 1) * size, t, size);
	}
}

static void
flow_order_never_matters(void **state)
{
	(void)state;
	for (uint64_t seed = first_seed; seed < first_seed + seeds / 2; seed++) {
		struct rnd r = {seed};
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 6, true);
		struct policy_point *pt = p->point[0];
		struct flow *f = flow_new(0);
		struct diags *d = diags_new(a);
		flow_ref x = flow_point(f, pt, d);

		for (int round = 0; round < 3; round++) {
			shuffle(&r, pt->zone, pt->nzone, sizeof *pt->zone);
			for (size_t i = 0; i < pt->nzone; i++)
				for (int k = 0; k < POLICY_NDIR; k++) {
					struct policy_judge *j = &pt->zone[i]->judge[k];

					shuffle(&r, j->stmt, j->nstmt, sizeof *j->stmt);
				}
			CHECK(seed, flow_point(f, pt, d) == x);
		}
		flow_free(f);
		arena_free(a);
	}
}

static void
flow_two_statements_for_one_are_the_same(void **state)
{
	(void)state;
	for (uint64_t seed = first_seed; seed < first_seed + seeds / 2; seed++) {
		struct rnd r = {seed};
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 4, true);
		struct policy_point *pt = p->point[0];
		struct flow *f = flow_new(0);
		struct diags *d = diags_new(a);
		flow_ref x = flow_point(f, pt, d), y;
		struct addr_set first_half = {0};

		rnd_ranges(&r, a, &first_half, 0, 64);
		for (size_t i = 0; i < pt->nzone; i++)
			for (int k = 0; k < POLICY_NDIR; k++) {
				struct policy_judge *j = &pt->zone[i]->judge[k];
				size_t n = j->nstmt;

				for (size_t s = 0; s < n; s++) {
					struct policy_stmt *half;

					if (j->stmt[s]->kind == POLICY_RELAY ||
					    j->stmt[s]->kind == POLICY_OTHERWISE)
						continue;
					half = arena_of(a, struct policy_stmt);
					*half = *j->stmt[s];
					half->id = (uint32_t)p->nstmt++;
					half->from.any = false;
					j->stmt[s]->from.any = false;
					addr_set_minus(a, &j->stmt[s]->from.set,
					    &half->from.set, &first_half);
					ARENA_PUSH(a, j->stmt, j->nstmt, j->capstmt) = half;
				}
			}
		y = flow_point(f, pt, d);
		CHECK(seed, flow_same(f, x, y, true) && flow_same(f, x, y, false));
		flow_free(f);
		arena_free(a);
	}
}

/* ---- differences ------------------------------------------------------------------ */

static bool
box_has(const struct flow_box *b, const u128 x[FLOW_NFIELD])
{
	for (enum flow_field k = 0; k < FLOW_NFIELD; k++) {
		bool in = !b->field[k].n;

		for (size_t i = 0; i < b->field[k].n; i++)
			in = in || (b->field[k].v[i].lo <= x[k] && x[k] <= b->field[k].v[i].hi);
		if (!in)
			return false;
	}
	return true;
}

static bool
field_meets(const struct flow_box *a, const struct flow_box *b, enum flow_field k)
{
	if (!a->field[k].n || !b->field[k].n)
		return true;
	for (size_t i = 0; i < a->field[k].n; i++)
		for (size_t j = 0; j < b->field[k].n; j++)
			if (a->field[k].v[i].lo <= b->field[k].v[j].hi &&
			    b->field[k].v[j].lo <= a->field[k].v[i].hi)
				return true;
	return false;
}

static bool
field_same(const struct flow_box *a, const struct flow_box *b, enum flow_field k)
{
	return a->field[k].n == b->field[k].n && (!a->field[k].n ||
	    !memcmp(a->field[k].v, b->field[k].v, a->field[k].n * sizeof *a->field[k].v));
}

static bool
names(const struct policy_stmt *const *v, size_t n, const struct flow_leaf *l)
{
	for (unsigned i = 0; i < l->nstmt; i++) {
		bool in = n > 8;

		for (size_t k = 0; k < n && k < 8; k++)
			in = in || v[k] == l->stmt[i];
		if (!in)
			return false;
	}
	return true;
}

/* Another policy that differs from p here and there. */
static void
mutate(struct rnd *r, struct policy *p)
{
	struct policy_point *pt = p->point[0];

	for (unsigned n = 1 + rnd_below(r, 3); n--; ) {
		struct policy_judge *j =
		    &pt->zone[rnd_below(r, (unsigned)pt->nzone)]->judge[rnd_below(r, 2)];
		struct policy_stmt *s;

		if (!j->nstmt)
			continue;
		s = j->stmt[rnd_below(r, (unsigned)j->nstmt)];
		switch (rnd_below(r, 6)) {
		case 0:
			rnd_where(r, p->a, &s->from);
			break;
		case 1:
			rnd_ports(r, p->a, &s->ports.set);
			break;
		case 2:
			s->meta.days = rnd_days(r);
			break;
		case 3:
			j->nstmt--;
			j->stmt[rnd_below(r, (unsigned)j->nstmt + 1)] = j->stmt[j->nstmt];
			break;
		case 4:
			pt->observe = !pt->observe;
			break;
		case 5:
			if (j->nlimit)
				j->limit[0].most++;
			break;
		}
	}
}

static void
flow_diff_boxes_are_disjoint_complete_and_true(void **state)
{
	size_t all = 0;

	(void)state;
	for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
		struct rnd r = {seed}, again = {seed};
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 3, true);
		struct policy *q = rnd_policy(&again, a, 3, true);
		bool strict = rnd_one_in(&r, 2);
		struct flow *f = flow_new(0);
		struct diags *d = diags_new(a);
		struct flow_diff diff;
		flow_ref x, y;

		mutate(&r, q);
		x = flow_point(f, p->point[0], d);
		y = flow_point(f, q->point[0], d);
		flow_diff(f, a, x, y, strict, 100000, &diff);
		CHECK(seed, !diff.truncated && !diff.nbox == flow_same(f, x, y, strict));
		all += diff.nbox;
		for (size_t i = 0; i < diff.nbox; i++) {
			const struct flow_box *b = &diff.box[i];
			const struct flow_leaf *was = flow_eval(f, x, &b->witness);
			const struct flow_leaf *now = flow_eval(f, y, &b->witness);
			u128 v[FLOW_NFIELD];

			flow_packet(f, &b->witness, v);
			CHECK(seed, box_has(b, v));
			CHECK(seed, was->verdict == b->was && was->observe == b->was_observe &&
			    was->limits == b->was_limits);
			CHECK(seed, now->verdict == b->now && now->observe == b->now_observe &&
			    now->limits == b->now_limits);
			for (size_t k = 0; i < 40 && k < i; k++) {
				unsigned apart = 0, other = 0;

				for (enum flow_field g = 0; g < FLOW_NFIELD; g++) {
					apart += !field_meets(b, &diff.box[k], g);
					other += !field_same(b, &diff.box[k], g);
				}
				CHECK(seed, apart);
				/* two that differ in one field alone would be one */
				CHECK(seed, other > 1 || b->was != diff.box[k].was ||
				    b->now != diff.box[k].now ||
				    b->was_limits != diff.box[k].was_limits ||
				    b->now_limits != diff.box[k].now_limits);
			}
		}
		for (int i = 0; i < 40; i++) {
			struct packet z = rnd_packet(&r);
			const struct flow_leaf *was = flow_eval(f, x, &z), *now = flow_eval(f, y, &z);
			bool same = was->observe == now->observe && was->limits == now->limits &&
			    (was->verdict == now->verdict || (!strict &&
			    was->verdict <= FLOW_ALLOW && now->verdict <= FLOW_ALLOW));
			u128 v[FLOW_NFIELD];
			unsigned in = 0;

			flow_packet(f, &z, v);
			for (size_t k = 0; k < diff.nbox; k++) {
				const struct flow_box *b = &diff.box[k];

				if (!box_has(b, v))
					continue;
				in++;
				CHECK(seed, b->was == was->verdict && b->now == now->verdict);
				CHECK(seed, names(b->was_stmt, b->nwas, was));
				CHECK(seed, names(b->now_stmt, b->nnow, now));
			}
			CHECK(seed, in == (same ? 0 : 1));
		}
		flow_free(f);
		arena_free(a);
	}
	if (seeds >= 1000)
		assert_true(all > seeds);
}

static void
flow_boxes_tell_every_packet(void **state)
{
	(void)state;
	for (uint64_t seed = first_seed; seed < first_seed + seeds / 4; seed++) {
		struct rnd r = {seed};
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 3, false);
		struct flow *f = flow_new(0);
		struct flow_diff all;
		flow_ref x = flow_point(f, p->point[0], diags_new(a));

		flow_boxes(f, a, x, 100000, &all);
		for (int i = 0; i < 40; i++) {
			struct packet z = rnd_packet(&r);
			unsigned in = 0;
			u128 v[FLOW_NFIELD];

			flow_packet(f, &z, v);
			for (size_t k = 0; k < all.nbox; k++)
				if (box_has(&all.box[k], v)) {
					in++;
					CHECK(seed, all.box[k].was == flow_eval(f, x, &z)->verdict);
				}
			CHECK(seed, in == 1);
		}
		flow_free(f);
		arena_free(a);
	}
}

/* ---- what a statement is good for --------------------------------------------------- */

static void
flow_useful_statements_are_those_that_change_a_fate(void **state)
{
	size_t count[FLOW_USE_DECIDES + 1] = {0};

	(void)state;
	for (uint64_t seed = first_seed; seed < first_seed + seeds / 2; seed++) {
		struct rnd r = {seed};
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 6, false);
		struct policy_judge *j = &p->point[0]->zone[0]->judge[rnd_below(&r, 2)];
		struct flow_useful u[64];
		struct flow *f = flow_new(0);
		struct diags *d = diags_new(a);
		flow_ref x, y;

		j->capture = false;
		CHECK(seed, flow_judge_useful(f, j, d, u));
		x = flow_judge(f, j, d);
		for (size_t i = 0; j->present && i < j->nstmt; i++) {
			struct policy_stmt *s = j->stmt[i];

			j->stmt[i] = j->stmt[--j->nstmt];
			y = flow_judge(f, j, d);
			/* A host's users and units are seen at hook output alone. */
			CHECK(seed, (u[i].use == FLOW_USE_DECIDES) == !flow_same(f, x, y, false));
			if (u[i].use == FLOW_USE_NEVER)
				CHECK(seed, x == y);
			if (u[i].use == FLOW_USE_TWIN)
				CHECK(seed, u[i].by && u[i].by != s && u[i].by->kind == s->kind);
			if (u[i].use == FLOW_USE_OVERRULED)
				CHECK(seed, u[i].by && u[i].by->kind < s->kind);
			j->nstmt++;
			j->stmt[i] = s;
			count[u[i].use]++;
		}
		flow_free(f);
		arena_free(a);
	}
	for (int k = 0; seeds >= 1000 && k <= FLOW_USE_DECIDES; k++)
		assert_true(count[k] > 5);
}

/* ---- cases with a name ---------------------------------------------------------------- */

static void
flow_limit_is_a_diagnostic_that_names_the_statement(void **state)
{
	struct rnd r = {3};
	struct arena *a = arena_new();
	struct policy *p = rnd_policy(&r, a, 5, false);
	struct diags *d = diags_new(a);
	struct flow *f = flow_new(8);

	(void)state;
	assert_int_equal(flow_point(f, p->point[0], d), FLOW_NONE);
	assert_int_equal(d->errors, 1);
	assert_int_equal(d->v[0].code, DIAG_E0701);
	assert_non_null(strstr(d->v[0].message, "'s"));
	assert_non_null(d->v[0].hint);
	/* and the store is as good as new */
	assert_int_equal(flow_count(f), 0);
	flow_free(f);
	arena_free(a);
}

static void
flow_verdict_lasts_until_the_day_ends(void **state)
{
	(void)state;
	for (uint64_t seed = first_seed; seed < first_seed + seeds / 4; seed++) {
		struct rnd r = {seed};
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 5, false);
		struct flow *f = flow_new(0);
		flow_ref x = flow_point(f, p->point[0], diags_new(a));

		for (int i = 0; i < 20; i++) {
			struct packet q = rnd_packet(&r);
			enum flow_verdict v = flow_eval(f, x, &q)->verdict;
			uint64_t until = flow_eval_until(f, x, &q), from = q.date;

			for (uint64_t t = from; t < 400; t++) {
				q.date = t;
				CHECK(seed, t >= until || flow_eval(f, x, &q)->verdict == v);
				if (t == until) {
					CHECK(seed, flow_eval(f, x, &q)->verdict != v);
					break;
				}
			}
			if (until != UINT64_MAX)
				CHECK(seed, until == 100 || until == 200 || until == 300);
		}
		flow_free(f);
		arena_free(a);
	}
}

static void
flow_dump_is_the_same_in_every_run(void **state)
{
	struct buf b[2] = {BUF_INIT(1 << 24), BUF_INIT(1 << 24)};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct rnd r = {11};
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 5, true);
		struct flow *f = flow_new(0);

		flow_dump(f, flow_point(f, p->point[0], diags_new(a)), &b[i]);
		flow_free(f);
		arena_free(a);
	}
	assert_true(b[0].n > 100);
	assert_string_equal(b[0].p, b[1].p);
	buf_free(&b[0]);
	buf_free(&b[1]);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ival_algebra_equals_bit_sets),
		cmocka_unit_test(ival_reaches_the_end_of_128_bits),
		cmocka_unit_test(fdd_equal_functions_are_equal_references),
		cmocka_unit_test(fdd_sweep_keeps_what_is_held),
		cmocka_unit_test(fdd_limit_is_passed_on),
		cmocka_unit_test(flow_point_agrees_with_the_words_of_policy_h),
		cmocka_unit_test(flow_judge_is_the_point_of_that_judge_alone),
		cmocka_unit_test(flow_order_never_matters),
		cmocka_unit_test(flow_two_statements_for_one_are_the_same),
		cmocka_unit_test(flow_diff_boxes_are_disjoint_complete_and_true),
		cmocka_unit_test(flow_boxes_tell_every_packet),
		cmocka_unit_test(flow_useful_statements_are_those_that_change_a_fate),
		cmocka_unit_test(flow_limit_is_a_diagnostic_that_names_the_statement),
		cmocka_unit_test(flow_verdict_lasts_until_the_day_ends),
		cmocka_unit_test(flow_dump_is_the_same_in_every_run),
	};

	if (argc > 1) {
		first_seed = strtoull(argv[1], NULL, 10);
		seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : 4;
	}
	return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
