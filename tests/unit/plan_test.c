/*
 * plan: the lowering against a naive reading of the policy, the plan file
 * against itself, and what a plan must look like.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "plan/lower.h"
#include "random_policy.h"

static uint64_t seed;

static int
by_precedence(const void *pa, const void *pb)
{
	const struct policy_stmt *a = *(struct policy_stmt *const *)pa;
	const struct policy_stmt *b = *(struct policy_stmt *const *)pb;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

/* What the loader does: statements in order, and no users where none are known. */
static void
settle(struct policy *p)
{
	for (size_t i = 0; i < p->point[0]->nzone; i++)
		for (int k = 0; k < POLICY_NDIR; k++) {
			struct policy_judge *j = &p->point[0]->zone[i]->judge[k];

			if (j->nstmt)
				qsort(j->stmt, j->nstmt, sizeof *j->stmt, by_precedence);
			for (size_t s = 0; k == POLICY_INBOUND && s < j->nstmt; s++)
				j->stmt[s]->nuser = j->stmt[s]->nunit = 0;
		}
}

/* A router with so many zones that a map finds them. */
static struct policy *
many_zones(struct rnd *r, struct arena *a)
{
	struct policy *p = rnd_policy(r, a, 2, true);
	struct policy_point *pt = p->point[0];

	p->nstmt = 0;
	pt->kind = POLICY_ROUTER;
	pt->nzone = 0;
	for (unsigned i = 0; i < 10; i++) {
		struct policy_zone *z = arena_of(a, struct policy_zone);
		struct addr_set more;

		z->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .days = POLICY_ALWAYS,
		    .name = arena_printf(a, "z%u", i)};
		z->point = pt;
		rnd_ranges(r, a, &z->inside.set, 6 * i, 6 * i + 6);
		rnd_ranges(r, a, &more, 0, 64);
		addr_set_union(a, &z->internal, &z->inside.set,
		    rnd_one_in(r, 2) ? &more : &z->inside.set);
		ARENA_PUSH(a, pt->zone, pt->nzone, pt->capzone) = z;
		for (int k = 0; k < POLICY_NDIR; k++)
			rnd_judge(r, p, &z->judge[k], z, (enum policy_dir)k, 2, true);
	}
	return p;
}

static enum plan_fate
fate_of(const struct naive *n)
{
	switch (n->verdict) {
	case NAIVE_UNTOUCHED:
		return PLAN_UNTOUCHED;
	case NAIVE_ALLOW:
		return PLAN_ACCEPT;
	case NAIVE_REJECT:
		return PLAN_REJECT;
	case NAIVE_DROP:
		return PLAN_DROP;
	case NAIVE_CAPTURE:
		return PLAN_REDIRECT;
	}
	return PLAN_UNTOUCHED;
}

/* Whether the plan's answer is the policy's. */
static bool
agrees(const struct policy_point *pt, const struct plan *plan, const struct packet *pk,
    char *why, size_t room)
{
	struct naive n = naive_point(pt, pk);
	enum plan_fate want = fate_of(&n);
	struct plan_answer got;

	plan_eval(plan, pk, &got);
	snprintf(why, room, "want %d%s got %d%s by %d (wanted %d), limits %zu %d", (int)want,
	    n.observe ? " observed" : "", (int)got.fate, got.observed ? " observed" : "",
	    (int)got.stmt, n.nstmt ? (int)n.stmt[0]->id : -1, n.nlimit, got.limited);
	if (n.observe)
		return got.observed && got.would == want && got.stmt == n.stmt[0]->id &&
		    (pt->as == POLICY_AS_CHAINS ? got.fate == PLAN_UNTOUCHED :
		    got.fate == PLAN_ACCEPT || got.fate == PLAN_UNTOUCHED);
	if (got.observed)
		return false;
	if (want > PLAN_ACCEPT)
		return got.fate == want && got.stmt == n.stmt[0]->id;
	if (want == PLAN_ACCEPT && got.limited != (n.nlimit > 0))
		return false;
	if (pt->as == POLICY_AS_CHAINS)
		return got.fate == (pt->observe ? PLAN_UNTOUCHED : want);
	return got.fate <= PLAN_ACCEPT;
}

/* Writes, reads, writes again. */
static struct plan *
again(struct arena *a, const struct plan *plan)
{
	struct buf one = BUF_INIT(1 << 28), two = BUF_INIT(1 << 28);
	struct plan *copy = NULL;
	const char *wrong;

	plan_write(&one, plan);
	wrong = plan_read(a, one.p, one.n, &copy);
	if (wrong)
		fail_msg("seed %llu: own plan file: %s", (unsigned long long)seed, wrong);
	plan_write(&two, copy);
	assert_int_equal(one.n, two.n);
	assert_memory_equal(one.p, two.p, one.n);
	assert_memory_equal(copy->digest, plan->digest, PLAN_DIGEST);
	buf_free(&one);
	buf_free(&two);
	return copy;
}

static void
lowering_agrees_with_a_naive_reading(void **state)
{
	static const struct split tiny = {.above = 1, .least = 1, .chance = 2};
	struct rnd r = {seed};

	(void)state;
	for (int round = 0; round < 3000; round++) {
		uint64_t here = r.s;
		struct arena *a = arena_new();
		struct policy *p = round % 5 == 4 ? many_zones(&r, a) :
		    rnd_policy(&r, a, 5, true);
		struct policy_point *pt = p->point[0];
		struct diags *d = diags_new(a);
		struct plan *plan;

		settle(p);
		pt->as = rnd_one_in(&r, 3) ? POLICY_AS_CHAINS : POLICY_AS_BASE;
		plan = rnd_one_in(&r, 2) ? lower_point(a, p, pt, d, &tiny) :
		    plan_of_point(a, p, pt, d);
		if (!plan)
			fail_msg("seed %llu: no plan: %s", (unsigned long long)here,
			    d->n ? d->v[0].message : "");
		if (round % 4 == 0)
			plan = again(a, plan);
		for (int i = 0; i < 400; i++) {
			struct packet pk = rnd_packet(&r);
			char text[128], why[128];

			if (agrees(pt, plan, &pk, why, sizeof why))
				continue;
			packet_write(&pk, text);
			fail_msg("seed %llu round %d: %s hook %d state %d lo %d syn %d user %s date %llu: %s",
			    (unsigned long long)here, round, text, pk.hook, pk.state, pk.loopback,
			    pk.syn, pk.user ? pk.user : "-", (unsigned long long)pk.date, why);
		}
		arena_free(a);
	}
}

/* ---- plan files ----------------------------------------------------------------- */

static struct plan *
some_plan(struct arena *a, uint64_t s)
{
	struct rnd r = {s};
	struct policy *p = rnd_policy(&r, a, 5, true);

	settle(p);
	return plan_of_point(a, p, p->point[0], diags_new(a));
}

static void
plan_read_survives_any_byte_changed(void **state)
{
	(void)state;
	for (uint64_t s = 1; s < 4; s++) {
		struct arena *a = arena_new();
		struct plan *plan = some_plan(a, s), *copy;
		struct buf b = BUF_INIT(1 << 24);
		size_t told = 0;

		plan_write(&b, plan);
		for (size_t i = 0; i < b.n; i++) {
			struct arena *t = arena_new();
			char was = b.p[i];

			b.p[i] = (char)(was ^ (1 << i % 8));
			told += plan_read(t, b.p, b.n, &copy) != NULL;
			b.p[i] = was;
			arena_free(t);
		}
		/* what is enforced is under the digest; the rest is only comments */
		assert_true(told > b.n / 2);
		for (size_t n = 0; n < b.n; n++) {
			struct arena *t = arena_new();

			assert_non_null(plan_read(t, b.p, n, &copy));
			arena_free(t);
		}
		buf_free(&b);
		arena_free(a);
	}
}

static void
digest_is_of_what_is_enforced_not_of_comments(void **state)
{
	struct arena *a = arena_new();
	struct plan *one, *two;

	(void)state;
	one = some_plan(a, 7);
	two = some_plan(a, 7);
	assert_memory_equal(one->digest, two->digest, PLAN_DIGEST);
	for (uint32_t i = 0; i < two->nchain; i++)
		for (uint32_t k = 0; k < two->chain[i].nrule; k++)
			two->chain[i].rule[k].comment = "another";
	plan_seal(two);
	assert_memory_equal(one->digest, two->digest, PLAN_DIGEST);
	two->chain[0].rule[0].verdict.kind = PLAN_DO_DROP;
	two->chain[0].rule[0].verdict.chain = PLAN_NONE;
	plan_seal(two);
	assert_memory_not_equal(one->digest, two->digest, PLAN_DIGEST);
	arena_free(a);
}

/* ---- shards ------------------------------------------------------------------------ */

static size_t
many(struct rnd *r, struct addr_range4 *v, size_t n)
{
	struct addr_set s = {0};
	struct arena *a = arena_new();

	for (size_t i = 0; i < n; i++) {
		uint32_t x = (uint32_t)rnd_next(r) & ~(uint32_t)7;

		addr_set_add(a, &s, ADDR_V4, x, x + 3);
	}
	addr_set_finish(&s);
	memcpy(v, s.v4, s.n4 * sizeof *v);
	n = s.n4;
	arena_free(a);
	return n;
}

static void
shards_are_of_about_16000_and_at_most_64(void **state)
{
	static const size_t count[] = {16384, 16385, 40000, 100000, 1000000};
	struct addr_range4 *v = malloc(sizeof *v * 1000000);
	size_t first[PLAN_SHARD_MOST];
	u128 cut[PLAN_SHARD_MOST];
	struct rnd r = {seed};

	(void)state;
	for (size_t i = 0; i < sizeof count / sizeof *count; i++) {
		size_t n = many(&r, v, count[i]);
		uint32_t k = lower_split(PLAN_KEY_IPV4, v, n, &split_usual, first, cut);

		assert_in_range(k, 1, PLAN_SHARD_MOST);
		if (n <= PLAN_SHARD_ABOVE)
			assert_int_equal(k, 1);
		else
			assert_in_range(k, n / 24000, n / 14336 + 1);
		for (uint32_t s = 0; s < k; s++) {
			size_t held = (s + 1 < k ? first[s + 1] : n) - first[s];

			assert_true(held <= 14336 + 8 * 2048);
			assert_true(cut[s] == (s ? v[first[s]].lo : 0));
		}
	}
	free(v);
}

static void
shards_hardly_move_when_a_policy_changes(void **state)
{
	size_t n, m, first[2][PLAN_SHARD_MOST], moved = 0, shards = 0;
	struct addr_range4 *v = malloc(sizeof *v * 100000), *w = malloc(sizeof *w * 100000);
	u128 cut[2][PLAN_SHARD_MOST];
	struct rnd r = {seed};
	uint32_t k[2];

	(void)state;
	n = many(&r, v, 100000);
	for (int round = 0; round < 50; round++) {
		size_t gone = rnd_below(&r, (unsigned)n - 100);

		/* a hundred neighbours are taken out */
		memcpy(w, v, gone * sizeof *w);
		memcpy(w + gone, v + gone + 100, (n - gone - 100) * sizeof *w);
		m = n - 100;
		k[0] = lower_split(PLAN_KEY_IPV4, v, n, &split_usual, first[0], cut[0]);
		k[1] = lower_split(PLAN_KEY_IPV4, w, m, &split_usual, first[1], cut[1]);
		for (uint32_t i = 0; i < k[0]; i++) {
			size_t end = i + 1 < k[0] ? first[0][i + 1] : n;
			bool same = false;

			for (uint32_t q = 0; q < k[1]; q++)
				same |= cut[1][q] == cut[0][i] &&
				    (q + 1 < k[1] ? first[1][q + 1] : m) - first[1][q] == end - first[0][i];
			shards++;
			moved += !same;
		}
	}
	/* One shard a change, its neighbour where the change took a cut away, and all of them
	 * in the rare round in which the density of cuts doubles. */
	assert_true(moved <= 50 * 2 + PLAN_SHARD_MOST);
	assert_true(shards >= 50 * 5);
	free(v);
	free(w);
}

/* ---- by hand ---------------------------------------------------------------------- */

struct hand {
	struct arena *a;
	struct policy *p;
	struct policy_point *pt;
	struct policy_zone *z;
	struct policy_judge *out;
	struct diags *d;
};

static struct hand
router_by_hand(void)
{
	struct hand h = {.a = arena_new()};

	h.d = diags_new(h.a);
	h.p = arena_of(h.a, struct policy);
	h.p->a = h.a;
	h.pt = arena_of(h.a, struct policy_point);
	h.pt->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .name = "firewall",
	    .days = POLICY_ALWAYS};
	ARENA_PUSH(h.a, h.p->point, h.p->npoint, h.p->cappoint) = h.pt;
	h.z = arena_of(h.a, struct policy_zone);
	h.z->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .name = "institution",
	    .days = POLICY_ALWAYS};
	h.z->point = h.pt;
	addr_set_add(h.a, &h.z->inside.set, ADDR_V4, 0x836f4000, 0x836f4fff);
	addr_set_add(h.a, &h.z->inside.set, ADDR_V6, u128_of(0x2001063002100100, 0),
	    u128_of(0x20010630021001ff, UINT64_MAX));
	h.z->internal = h.z->inside.set;
	ARENA_PUSH(h.a, h.pt->zone, h.pt->nzone, h.pt->capzone) = h.z;
	h.out = &h.z->judge[POLICY_OUTBOUND];
	*h.out = (struct policy_judge){.present = true, .at = TEXT_NO_SPAN, .zone = h.z};
	return h;
}

static struct policy_stmt *
stmt_by_hand(struct hand *h, enum policy_stmt_kind kind, const char *name, uint16_t lo, uint16_t hi)
{
	struct policy_stmt *s = arena_of(h->a, struct policy_stmt);

	s->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .name = name, .days = POLICY_ALWAYS};
	s->id = (uint32_t)h->p->nstmt;
	s->kind = kind;
	s->point = h->pt;
	s->zone = h->z;
	rnd_anywhere(h->a, &s->from);
	rnd_anywhere(h->a, &s->to);
	s->ports.label = "p";
	port_set_add(h->a, &s->ports.set, lo, hi);
	port_set_finish(&s->ports.set);
	ARENA_PUSH(h->a, h->p->stmt, h->p->nstmt, h->p->capstmt) = s;
	ARENA_PUSH(h->a, h->out->stmt, h->out->nstmt, h->out->capstmt) = s;
	return s;
}

static const struct plan_chain *
chain_named(const struct plan *p, const char *name)
{
	for (uint32_t i = 0; i < p->nchain; i++)
		if (!strcmp(p->chain[i].name, name))
			return &p->chain[i];
	return NULL;
}

static void
CAM_01_a_block_alone_is_one_rule_behind_one_lookup(void **state)
{
	struct hand h = router_by_hand();
	const struct plan_chain *c;
	struct plan *p;

	(void)state;
	stmt_by_hand(&h, POLICY_BLOCK, "block", 25, 25);
	/* ports that nothing refuses need no rule in a chain that can only narrow */
	stmt_by_hand(&h, POLICY_ROAMING, "roaming", 587, 587);
	p = plan_of_point(h.a, h.p, h.pt, h.d);
	assert_non_null(p);
	c = chain_named(p, "forward");
	assert_true(c->entry && c->base && c->hook == PACKET_FORWARD);
	assert_int_equal(c->nrule, 1);
	assert_int_equal(c->rule[0].match[0].field, PLAN_DPORT);
	assert_int_equal((int)c->rule[0].match[0].lo, 25);
	c = chain_named(p, "institution-outbound");
	assert_int_equal(c->nrule, 1);
	assert_int_equal(c->rule[0].verdict.kind, PLAN_DO_REJECT);
	assert_string_equal(p->counter[c->rule[0].counter].name, "institution-outbound-block");
	/* the judge's chain knows that the packet is from inside */
	assert_int_equal(c->rule[0].nmatch, 1);
	assert_int_equal(c->rule[0].match[0].field, PLAN_L4PROTO);
	arena_free(h.a);
}

static void
CAM_03_an_exemption_of_one_family_stays_in_it(void **state)
{
	struct hand h = router_by_hand();
	struct policy_stmt *s = stmt_by_hand(&h, POLICY_EXEMPT, "physics-mta", 25, 25);
	const struct plan_chain *c;
	struct plan *p;

	(void)state;
	s->meta.source = "CAM-03";
	s->from = (struct policy_where){.label = "131.111.70.5"};
	addr_set_add(h.a, &s->from.set, ADDR_V4, 0x836f4605, 0x836f4605);
	stmt_by_hand(&h, POLICY_BLOCK, "block", 25, 25);
	p = plan_of_point(h.a, h.p, h.pt, h.d);
	c = chain_named(p, "institution-outbound");
	assert_int_equal(c->nrule, 2);
	assert_int_equal(c->rule[0].nmatch, 1);
	assert_int_equal(c->rule[0].match[0].field, PLAN_SADDR4);
	assert_int_equal(c->rule[0].verdict.kind, PLAN_DO_ACCEPT);
	assert_string_equal(c->rule[0].comment, "exempt physics-mta, CAM-03");
	arena_free(h.a);
}

static void
CAM_03_many_exemptions_are_one_lookup(void **state)
{
	struct hand h = router_by_hand();
	struct rnd r = {seed};
	struct plan *p;

	(void)state;
	for (int i = 0; i < 100; i++) {
		struct policy_stmt *s = stmt_by_hand(&h, POLICY_EXEMPT,
		    arena_printf(h.a, "mta-%d", i), 25, 25);
		unsigned host = rnd_below(&r, 250), more = rnd_below(&r, 4);

		s->from = (struct policy_where){.label = "mta"};
		addr_set_add(h.a, &s->from.set, ADDR_V4, 0x836f4600 + host, 0x836f4600 + host + more);
		if (i % 10 == 0)
			s->meta.days.until = 1000;     /* these keep rules of their own */
	}
	stmt_by_hand(&h, POLICY_BLOCK, "block", 25, 25);
	p = plan_of_point(h.a, h.p, h.pt, h.d);
	assert_int_equal(chain_named(p, "institution-outbound")->nrule, 12);
	assert_int_equal(p->nset, 1);
	assert_non_null(p->set[0].comment);
	assert_memory_equal(p->set[0].comment[0], "exempt mta-", 11);
	again(h.a, p);
	for (unsigned i = 0; i < 2000; i++) {
		struct packet pk = {.proto = IPPROTO_TCP, .syn = true, .dport = 25,
		    .src = {ADDR_V4, 0x836f4600 + i % 300}, .dst = {ADDR_V4, 0x08080808},
		    .date = 999 + i / 300 % 2};
		struct plan_answer got;
		bool allowed = false;

		for (size_t k = 0; k < h.p->nstmt; k++)
			allowed |= h.p->stmt[k]->kind == POLICY_EXEMPT &&
			    addr_set_has(&h.p->stmt[k]->from.set, pk.src) &&
			    pk.date < h.p->stmt[k]->meta.days.until;
		plan_eval(p, &pk, &got);
		assert_int_equal(got.fate, allowed ? PLAN_ACCEPT : PLAN_REJECT);
	}
	arena_free(h.a);
}

static void
limits_are_never_more_than_asked(void **state)
{
	static const struct {
		uint64_t most, seconds, rate;
		uint32_t unit;
	} row[] = {
		{60, 3600, 60, 3600},
		{60, 600, 6, 60},
		{7, 600, 42, 3600},
		{1, 7 * 3600, 24, 604800},
		{5, 30 * 86400, 1, 604800},
		{100, 1, 100, 1},
		{3, 7, 259200, 604800},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct hand h = router_by_hand();
		struct policy_limit *t = &ARENA_PUSH(h.a, h.out->limit, h.out->nlimit, h.out->caplimit);
		const struct plan_chain *c;
		struct plan *p;

		t->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .days = POLICY_ALWAYS};
		t->most = row[i].most;
		t->seconds = row[i].seconds;
		t->each = POLICY_EACH_SOURCE;
		t->over = POLICY_OVER_DROP;
		rnd_anywhere(h.a, &t->to);
		stmt_by_hand(&h, POLICY_ROAMING, "roaming", 587, 587);
		p = plan_of_point(h.a, h.p, h.pt, h.d);
		assert_non_null(p);
		c = chain_named(p, "institution-outbound-limit-1");
		assert_int_equal(c->nrule, 3);
		assert_int_equal(c->rule[0].limit.rate, row[i].rate);
		assert_int_equal(c->rule[0].limit.unit, row[i].unit);
		assert_int_equal(c->rule[0].limit.burst, row[i].most);
		assert_true(row[i].rate * row[i].seconds <= row[i].most * row[i].unit);
		/* under it, back; a full table falls through to the action */
		assert_int_equal(c->rule[0].verdict.kind, PLAN_DO_RETURN);
		assert_int_equal(c->rule[1].limit.prefix, 64);
		assert_int_equal(c->rule[2].verdict.kind, PLAN_DO_DROP);
		arena_free(h.a);
	}
}

static void
E0801_and_E0802_limits_that_no_kernel_counts(void **state)
{
	static const struct {
		uint64_t most, seconds;
		enum diag_code code;
	} row[] = {
		{1, 30 * 86400, DIAG_E0801},
		{1000000000, 1, DIAG_E0802},
		{60, 0, DIAG_E0802},
		{UINT64_MAX, 3600, DIAG_E0802},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct hand h = router_by_hand();
		struct policy_limit *t = &ARENA_PUSH(h.a, h.out->limit, h.out->nlimit, h.out->caplimit);

		t->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .days = POLICY_ALWAYS};
		t->most = row[i].most;
		t->seconds = row[i].seconds;
		t->each = POLICY_EACH_SOURCE;
		rnd_anywhere(h.a, &t->to);
		stmt_by_hand(&h, POLICY_ROAMING, "roaming", 587, 587);
		assert_null(plan_of_point(h.a, h.p, h.pt, h.d));
		assert_int_equal(h.d->v[0].code, row[i].code);
		arena_free(h.a);
	}
}

static void
E0803_users_on_a_router(void **state)
{
	struct hand h = router_by_hand();
	struct policy_stmt *s = stmt_by_hand(&h, POLICY_EXEMPT, "x", 25, 25);
	const char *user[] = {"www-data"};

	(void)state;
	s->user = user;
	s->nuser = 1;
	stmt_by_hand(&h, POLICY_BLOCK, "block", 25, 25);
	assert_null(plan_of_point(h.a, h.p, h.pt, h.d));
	assert_int_equal(h.d->v[0].code, DIAG_E0803);
	arena_free(h.a);
}

static void
names_that_nft_would_not_read_are_made_so(void **state)
{
	static const char *const name[] = {"ip", "1st", "wohn heim", "\xc3\xa9", "-x", "limit"};
	struct arena *a = arena_new();

	(void)state;
	for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
		struct hand h = router_by_hand();
		struct plan *p;

		h.z->meta.name = name[i];
		/* two ranges, so that a set bears the name */
		addr_set_add(h.a, &h.z->inside.set, ADDR_V6, 1, 2);
		addr_set_finish(&h.z->inside.set);
		h.z->internal = h.z->inside.set;
		stmt_by_hand(&h, POLICY_BLOCK, "block", 25, 25);
		p = plan_of_point(h.a, h.p, h.pt, h.d);
		assert_int_equal(p->nset, 1);
		assert_string_not_equal(p->set[0].name, "ip6");
		again(a, p);               /* the reader checks every name */
		arena_free(h.a);
	}
	arena_free(a);
}

/* In a table of the administrator's, what an earlier version of the policy had would
 * live on where her chains still jump to it. */
static void
every_entry_of_a_host_is_made_in_chains(void **state)
{
	static const char *const entry[] = {"mailreeve-forward", "mailreeve-output",
	    "mailreeve-input", "mailreeve-capture"};
	struct rnd r = {seed};

	(void)state;
	for (int round = 0; round < 200; round++) {
		uint64_t here = r.s;
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 5, true);
		struct plan *plan;

		if (p->point[0]->kind == POLICY_HOST) {
			settle(p);
			p->point[0]->as = POLICY_AS_CHAINS;
			plan = plan_of_point(a, p, p->point[0], diags_new(a));
			assert_non_null(plan);
			for (size_t e = 0; e < sizeof entry / sizeof *entry; e++) {
				uint32_t i = 0;

				while (i < plan->nchain && strcmp(plan->chain[i].name, entry[e]))
					i++;
				if (i == plan->nchain || !plan->chain[i].entry)
					fail_msg("seed %llu: no %s", (unsigned long long)here, entry[e]);
			}
		}
		arena_free(a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lowering_agrees_with_a_naive_reading),
		cmocka_unit_test(plan_read_survives_any_byte_changed),
		cmocka_unit_test(digest_is_of_what_is_enforced_not_of_comments),
		cmocka_unit_test(shards_are_of_about_16000_and_at_most_64),
		cmocka_unit_test(shards_hardly_move_when_a_policy_changes),
		cmocka_unit_test(CAM_01_a_block_alone_is_one_rule_behind_one_lookup),
		cmocka_unit_test(CAM_03_an_exemption_of_one_family_stays_in_it),
		cmocka_unit_test(CAM_03_many_exemptions_are_one_lookup),
		cmocka_unit_test(limits_are_never_more_than_asked),
		cmocka_unit_test(E0801_and_E0802_limits_that_no_kernel_counts),
		cmocka_unit_test(E0803_users_on_a_router),
		cmocka_unit_test(names_that_nft_would_not_read_are_made_so),
		cmocka_unit_test(every_entry_of_a_host_is_made_in_chains),
	};
	const char *s = getenv("SEED");

	seed = s ? strtoull(s, NULL, 10) : (uint64_t)time(NULL);
	print_message("seed %llu (SEED= to repeat)\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
