/*
 * Whether the kernel holds what a form says: the pure parts of nl/watch.h and nl/block.h. The
 * "kernel" here is what a batch asks of it, read back by the reader of dumps: the messages
 * that make things are those that tell of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "nl/batch.h"
#include "nl/block.h"
#include "nl/dump.h"
#include "nl/watch.h"
#include "nl/wire.h"

enum { INET = 1, RANGES = 3 };

static const struct addr_range4 list[RANGES] = {
	{0x0a000000, 0x0affffff}, {0xc0000200, 0xc00002ff}, {0xf0000000, 0xffffffff},
};
static const struct port_range ports[] = {{25, 25}, {587, 587}};
static const char *const users[] = {"a", "b", "c"};

static int
uid_of(void *arg, const char *name, uint32_t *uid)
{
	(void)arg;
	*uid = *name == 'c' ? 7 : 5;       /* a and b are one number */
	return 0;
}

static const struct nl_host host = {.uid = uid_of};

/* output -> judge: refuses the list; lets users of a set through. */
struct world {
	struct arena *a;
	struct plan p;
	struct plan_set set[3];
	struct plan_chain chain[2];
	struct plan_rule rule[4];
	struct plan_match match[3];
	struct plan_counter counter;
	struct nl_form *form;
	struct nl_watch *watch;
	struct nl_dump d;
	struct nl_sums sums;
};

static struct plan_rule
rule(struct plan_match *m, enum plan_verdict_kind k, uint32_t to)
{
	return (struct plan_rule){.match = m, .nmatch = m != NULL, .verdict = {k, to},
	    .vmap = PLAN_NONE, .counter = PLAN_NONE, .limit.meter = PLAN_NONE, .stmt = PLAN_NONE,
	    .at = TEXT_NO_SPAN};
}

static void
read_batch(struct arena *a, const struct nl_batch *b, struct nl_dump *d)
{
	for (size_t at = 0; at < b->bytes.n;) {
		struct nlmsghdr h;

		memcpy(&h, b->bytes.p + at, sizeof h);
		if (h.nlmsg_type != NLMSG_MIN_TYPE)
			nl_dump_add(a, d, b->bytes.p + at, h.nlmsg_len);
		at += NLMSG_ALIGN(h.nlmsg_len);
	}
}

static struct world *
world(void)
{
	struct world *w = calloc(1, sizeof *w);
	struct nl_batch b;
	struct nl_job j = {.seq = 1};
	const char *who;

	assert_non_null(w);
	w->a = arena_new();
	w->set[0] = (struct plan_set){.name = "list", .interval = true, .n = RANGES, .v4 = list};
	w->set[1] = (struct plan_set){.key = PLAN_KEY_PORT, .n = 2, .port = ports};
	w->set[2] = (struct plan_set){.name = "users", .key = PLAN_KEY_UID, .n = 3, .user = users};
	w->match[0] = (struct plan_match){.field = PLAN_DADDR4, .set = 0};
	w->match[1] = (struct plan_match){.field = PLAN_DPORT, .set = 1};
	w->match[2] = (struct plan_match){.field = PLAN_SKUID, .set = 2};
	w->rule[0] = rule(&w->match[0], PLAN_DO_DROP, PLAN_NONE);
	w->rule[1] = rule(&w->match[2], PLAN_DO_ACCEPT, PLAN_NONE);
	w->rule[1].comment = "who may";
	w->rule[2] = rule(NULL, PLAN_DO_REJECT, PLAN_NONE);
	w->rule[2].counter = 0;
	w->rule[3] = rule(&w->match[1], PLAN_DO_JUMP, 0);
	w->counter.name = "otherwise";
	w->chain[0] = (struct plan_chain){.name = "judge", .rule = w->rule, .nrule = 3};
	w->chain[1] = (struct plan_chain){.name = "output", .entry = true, .base = true,
	    .hook = PACKET_OUTPUT, .rule = &w->rule[3], .nrule = 1};
	w->p = (struct plan){.table = "mailreeve", .own_table = true, .set = w->set, .nset = 3,
	    .chain = w->chain, .nchain = 2, .counter = &w->counter, .ncounter = 1,
	    .policy = "p", .point = "q"};
	plan_seal(&w->p);
	assert_int_equal(nl_form(w->a, &w->p, &host, (struct nl_salt){0}, &w->form, &who), 0);
	assert_int_equal(nl_watch(w->a, w->form, NULL, &w->watch), 0);
	j.a = w->a;
	j.form = w->form;
	assert_int_equal(nl_stage(&j, &b, &who), 0);
	read_batch(w->a, &b, &w->d);
	nl_batch_free(&b);
	assert_int_equal(nl_swap(&j, &b, &who), 0);
	read_batch(w->a, &b, &w->d);
	nl_batch_free(&b);
	w->d.ntable = 1;           /* both batches name it */
	w->sums.n = w->d.nset;
	w->sums.of = arena_array(w->a, w->d.nset, struct nl_sum);
	for (uint32_t i = 0; i < w->d.nset; i++)
		if (w->d.set[i].flags & NFT_SET_ANONYMOUS)
			w->sums.of[i] = w->watch->set[1];
	return w;
}

static void
end(struct world *w)
{
	arena_free(w->a);
	free(w);
}

static struct nl_diff
look(struct world *w)
{
	struct nl_diff d = {0};

	nl_watch_look(w->watch, &w->d, &w->sums, 0, &d, NULL);
	return d;
}

static struct nl_rule *
rule_of(struct world *w, const char *chain, uint32_t n)
{
	for (uint32_t i = 0; i < w->d.nrule; i++)
		if (!strncmp(w->d.rule[i].chain, chain, strlen(chain)) && n-- == 0)
			return &w->d.rule[i];
	fail();
	return NULL;
}

static struct nl_set *
set_of(struct world *w, const char *name)
{
	for (uint32_t i = 0; i < w->d.nset; i++)
		if (!strncmp(w->d.set[i].name, name, strlen(name)))
			return &w->d.set[i];
	fail();
	return NULL;
}

static struct nl_chain *
chain_of(struct world *w, const char *name)
{
	for (uint32_t i = 0; i < w->d.nchain; i++)
		if (!strncmp(w->d.chain[i].name, name, strlen(name)))
			return &w->d.chain[i];
	fail();
	return NULL;
}

/* One difference, in these words, and no more. */
static void
says(struct world *w, const char *words, bool chain, bool set)
{
	struct nl_diff d = look(w);

	assert_int_equal(d.n, 1);
	assert_string_equal(d.words.p, words);
	assert_int_equal(d.chain, chain);
	assert_int_equal(d.set, set);
	nl_diff_free(&d);
	end(w);
}

/* ---- rules ---------------------------------------------------------------------------- */

static void
what_the_batches_ask_for_is_what_the_form_says(void **state)
{
	struct world *w = world();
	struct nl_diff d = look(w);

	(void)state;
	if (d.n)
		print_error("%s\n", d.words.p);
	assert_int_equal(d.n, 0);
	assert_false(d.table || d.chain || d.set);
	nl_diff_free(&d);
	end(w);
}

static void
each_change_of_rules_has_its_words(void **state)
{
	struct world *w = world();
	struct nl_rule *r = rule_of(w, "judge", 1), all;

	(void)state;
	all = *r;
	memmove(r, r + 1, (size_t)(&w->d.rule[--w->d.nrule] - r) * sizeof *r);
	says(w, "rule 2 of chain judge deleted", true, false);

	w = world();
	r = rule_of(w, "judge", 1);
	r->nexpr--;
	says(w, "rule 2 of chain judge changed", true, false);

	w = world();
	r = rule_of(w, "judge", 1);
	r->udata.n--;                      /* the comment */
	says(w, "rule 2 of chain judge changed", true, false);

	w = world();
	r = rule_of(w, "judge", 0);
	all = *r;
	*r = *rule_of(w, "judge", 2);
	*rule_of(w, "judge", 2) = all;
	says(w, "rules 1 to 3 of chain judge changed", true, false);

	/* another port in the anonymous set that it looks into */
	w = world();
	w->sums.of[set_of(w, "__set") - w->d.set].sum++;
	says(w, "rule 1 of chain output changed", false, false);
}

static void
each_change_of_chains_and_tables_has_its_words(void **state)
{
	struct world *w = world();
	struct nl_object *o;
	struct nl_diff d;

	(void)state;
	chain_of(w, "output")->policy = 0;
	says(w, "the policy of chain output is drop", false, false);

	w = world();
	chain_of(w, "output")->priority = 5;
	says(w, "chain output is hooked elsewhere", false, false);

	w = world();
	chain_of(w, "output")->base = false;
	says(w, "chain output is not hooked any more", false, false);

	w = world();
	w->d.table[0].flags = 1;
	says(w, "table inet mailreeve made dormant", false, false);

	w = world();
	for (o = w->d.object; strcmp(o->name, NL_STAMP) != 0; o++)
		;
	o->name = "mailreeve/other";
	says(w, "the stamp deleted", false, false);

	w = world();
	for (o = w->d.object; strcmp(o->name, "otherwise") != 0; o++)
		;
	o->name = "x";
	d = look(w);
	assert_string_equal(d.words.p, "object x added; counter otherwise deleted");
	nl_diff_free(&d);
	end(w);

	w = world();
	ARENA_PUSH(w->a, w->d.chain, w->d.nchain, w->d.capchain) =
	    (struct nl_chain){.family = INET, .table = "mailreeve", .name = "x"};
	says(w, "chain x added", false, false);

	w = world();
	w->d.ntable = 0;
	d = look(w);
	assert_true(d.table);
	assert_string_equal(d.words.p, "table inet mailreeve deleted");
	nl_diff_free(&d);
	end(w);
}

/* ---- sets ------------------------------------------------------------------------------ */

static void
a_count_tells_how_many(void **state)
{
	struct world *w = world();
	bool unjudged[3] = {0};
	struct nl_diff d = {0};

	(void)state;
	set_of(w, "list/")->count = 5;
	says(w, "set list has 2 elements more", false, true);
	w = world();
	/* the kernel counts halves: a range to the last address has one boundary */
	set_of(w, "list/")->count = 2;
	set_of(w, "users/")->count = 2;    /* three names, two numbers */
	nl_watch_look(w->watch, &w->d, &w->sums, 0, &d, unjudged);
	assert_int_equal(d.n, 0);
	assert_false(unjudged[0] || unjudged[2]);
	set_of(w, "list/")->count = UINT32_MAX;
	nl_watch_look(w->watch, &w->d, &w->sums, 0, &d, unjudged);
	assert_true(unjudged[0]);
	set_of(w, "list/")->count = 1;
	says(w, "set list has 2 elements fewer", false, true);
}

/* The attribute's content: boundaries as (address, end). */
static void
put(struct buf *b, uint32_t at, bool is_end)
{
	size_t e = wire_nest(b, NFTA_LIST_ELEM), k = wire_nest(b, NFTA_SET_ELEM_KEY);
	uint8_t key[4] = {(uint8_t)(at >> 24), (uint8_t)(at >> 16), (uint8_t)(at >> 8), (uint8_t)at};

	wire_put(b, NFTA_DATA_VALUE, key, sizeof key);
	wire_end(b, k);
	if (is_end)
		wire_u32(b, NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
	wire_end(b, e);
}

static void
elements_are_compared_in_any_order(void **state)
{
	struct world *w = world();
	struct buf b = BUF_INIT(4096);
	struct nl_sum s = {0};
	struct nl_diff d = {0};

	(void)state;
	put(&b, 0xf0000000, false);
	put(&b, 0xc0000300, true);
	put(&b, 0xc0000200, false);
	put(&b, 0x0a000000, false);
	assert_int_equal(nl_sum_add(w->a, (uint8_t *)b.p, b.n, &s), 0);
	b.n = 0;
	put(&b, 0x0b000000, true);
	put(&b, 0, true);                  /* nft's */
	assert_int_equal(nl_sum_add(w->a, (uint8_t *)b.p, b.n, &s), 0);
	nl_watch_set(w->watch, 0, s, &d);
	assert_int_equal(d.n, 0);
	/* one for another */
	b.n = 0;
	s = (struct nl_sum){0};
	put(&b, 0xf0000000, false);
	put(&b, 0xc0000300, true);
	put(&b, 0xc0000201, false);
	put(&b, 0x0a000000, false);
	put(&b, 0x0b000000, true);
	assert_int_equal(nl_sum_add(w->a, (uint8_t *)b.p, b.n, &s), 0);
	nl_watch_set(w->watch, 0, s, &d);
	assert_string_equal(d.words.p, "set list has other elements");
	assert_true(d.set);
	/* an odd list is an error */
	assert_int_not_equal(nl_sum_add(w->a, (uint8_t *)b.p, b.n - 3, &s), 0);
	nl_diff_free(&d);
	buf_free(&b);
	end(w);
}

static void
words_have_a_limit(void **state)
{
	struct nl_diff d = {0};

	(void)state;
	for (int i = 0; i < 1000; i++)
		nl_diff_add(&d, "rule %d of chain %s deleted", i, "x");
	assert_int_equal(d.n, 1000);
	assert_in_range(strlen(d.words.p), 2000, NL_MOST_WORDS + 64);
	assert_non_null(strstr(d.words.p, "; and more"));
	nl_diff_free(&d);
}

/* ---- others' --------------------------------------------------------------------------- */

static void
what_others_have_is_told_apart_from_ours(void **state)
{
	struct world *w = world(), *v = world();
	struct nl_others before, after;
	struct nl_diff d = {0};

	(void)state;
	nl_others(w->a, &w->d, &w->sums, &w->p, NULL, &before);
	assert_int_equal(before.n, 0);
	nl_others(w->a, &w->d, &w->sums, NULL, "mailreeve", &before);
	assert_int_equal(before.n, 0);
	/* seen by somebody whose rules these are not */
	nl_others(w->a, &w->d, &w->sums, NULL, NULL, &before);
	assert_int_equal(before.n, 3);
	rule_of(v, "judge", 1)->nexpr--;
	nl_others(v->a, &v->d, &v->sums, NULL, NULL, &after);
	nl_others_diff(&before, &after, &d);
	assert_int_equal(d.n, 1);
	assert_non_null(strstr(d.words.p, "of table inet mailreeve changed"));
	nl_diff_free(&d);
	after.n--;
	nl_others_diff(&before, &after, &d);
	assert_non_null(strstr(d.words.p, "deleted"));
	nl_diff_free(&d);
	end(v);
	end(w);
}

/* ---- blocks ------------------------------------------------------------------------------- */

static uint64_t state64;

static uint32_t
pick(uint32_t n)
{
	state64 = state64 * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state64 >> 33) % n;
}

static const struct nl_block_job made = {.fresh = true};

/* How long the sets of the dump refuse an address. */
static uint64_t
blocked_for(const struct nl_dump *d, uint32_t at)
{
	const struct nl_set *s = nl_dump_set(d, INET, NL_BLOCK_TABLE, "block4");
	uint64_t ms = 0;

	/* in order: the last boundary at or before it decides */
	for (uint32_t i = 0; i < s->nelem; i++) {
		const uint8_t *k = s->elem[i].key;
		uint32_t x = (uint32_t)k[0] << 24 | (uint32_t)k[1] << 16 | (uint32_t)k[2] << 8 | k[3];

		if (x <= at)
			ms = s->elem[i].end ? 0 : s->elem[i].more ? s->elem[i].more->timeout : 1;
	}
	return ms;
}

static void
blocks_that_overlap_last_as_the_longest(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < 200; round++) {
		struct nl_blocked v[12];
		struct arena *a = arena_new();
		struct nl_dump d = {0};
		struct nl_batch b;
		uint32_t n = pick(12) + 1;

		state64 += round;
		for (uint32_t i = 0; i < n; i++) {
			uint32_t lo = pick(40), hi = lo + pick(20);

			if (pick(8) == 0)
				hi = UINT32_MAX;
			v[i] = (struct nl_blocked){{false, lo, hi}, 1000 * (1 + pick(5))};
		}
		assert_int_equal(nl_block(a, v, n, &made, &b), 0);
		read_batch(a, &b, &d);
		assert_true(nl_block_whole(&d));
		for (uint32_t at = 0; at < 80; at++) {
			uint32_t x = at < 79 ? at : UINT32_MAX;
			uint64_t want = 0;

			for (uint32_t i = 0; i < n; i++)
				if (v[i].range.lo <= x && x <= v[i].range.hi && v[i].ms > want)
					want = v[i].ms;
			if (blocked_for(&d, x) != want)
				print_error("round %u: %u\n", round, x);
			assert_int_equal(blocked_for(&d, x), want);
		}
		nl_batch_free(&b);
		arena_free(a);
	}
}

static void
a_table_of_blocks_that_was_touched_is_not_whole(void **state)
{
	struct nl_blocked v = {{true, 1, 5}, 1000};
	struct arena *a = arena_new();
	struct nl_blocked *back;
	struct nl_dump d = {0};
	struct nl_batch b;
	uint32_t n;

	(void)state;
	assert_int_equal(nl_block(a, &v, 1, &made, &b), 0);
	read_batch(a, &b, &d);
	nl_batch_free(&b);
	assert_true(nl_block_whole(&d));
	d.nrule--;
	assert_false(nl_block_whole(&d));
	d.nrule++;
	d.chain[0].policy = 0;
	assert_false(nl_block_whole(&d));
	/* as the kernel tells it, with the time that is left */
	for (uint32_t i = 0; i < d.nset; i++)
		for (uint32_t k = 0; k < d.set[i].nelem; k++)
			if (d.set[i].elem[k].more) {
				struct nl_elem_more *m = arena_of(a, struct nl_elem_more);

				*m = *d.set[i].elem[k].more;
				m->expires = 700;
				d.set[i].elem[k].more = m;
			}
	back = nl_block_read(a, &d, &n);
	assert_int_equal(n, 1);
	assert_true(back[0].range.v6 && back[0].range.lo == 1 && back[0].range.hi == 5);
	assert_int_equal(back[0].ms, 700);
	arena_free(a);
}

/* What nl_block() makes of `have`, as the kernel tells it with ms of each time gone, against `want`. */
static uint32_t
differences(const struct nl_blocked *have, uint32_t nhave, const struct nl_blocked *want,
    uint32_t nwant, uint64_t gone, const char *says)
{
	struct arena *a = arena_new();
	struct nl_diff diff = {0};
	struct nl_dump d = {0};
	struct nl_batch b;
	uint32_t n;

	assert_int_equal(nl_block(a, have, nhave, &made, &b), 0);
	read_batch(a, &b, &d);
	nl_batch_free(&b);
	for (uint32_t i = 0; i < d.nset; i++)
		for (uint32_t k = 0; k < d.set[i].nelem; k++)
			if (d.set[i].elem[k].more) {
				struct nl_elem_more *m = arena_of(a, struct nl_elem_more);

				*m = *d.set[i].elem[k].more;
				m->expires = m->timeout > gone ? m->timeout - gone : 0;
				d.set[i].elem[k].more = m;
			}
	nl_block_compare(a, want, nwant, &d, 500, &diff);
	n = diff.n;
	if (says)
		assert_non_null(strstr(diff.words.p, says));
	nl_diff_free(&diff);
	arena_free(a);
	return n;
}

static void
blocks_are_compared_by_what_they_refuse_and_when_they_end(void **state)
{
	const struct nl_blocked v[] = {
		{{false, 10, 20}, 9000}, {{false, 15, 15}, 5000}, {{false, 18, 40}, 12000},
		{{false, 100, UINT32_MAX}, 7000}, {{true, 1, 5}, 9000}, {{true, 6, U128_MAX}, 8000},
	};
	const uint32_t n = sizeof v / sizeof *v;
	struct nl_blocked w[sizeof v / sizeof *v];

	(void)state;
	assert_int_equal(differences(v, n, v, n, 0, NULL), 0);
	assert_int_equal(differences(v, n, v, n, 400, NULL), 0);
	/* others make the same, cut otherwise */
	const struct nl_blocked cut[] = {
		{{false, 10, 12}, 9000}, {{false, 13, 17}, 9000}, {{false, 18, 40}, 12000},
		{{false, 100, UINT32_MAX}, 7000}, {{true, 1, 5}, 9000}, {{true, 6, U128_MAX}, 8000},
	};
	assert_int_equal(differences(v, n, cut, n, 0, NULL), 0);
	assert_int_equal(differences(v, n - 1, v, n, 0, "1 of the blocks in set block6 deleted"), 1);
	assert_int_equal(differences(v, n, v, n - 1, 0, "1 block more in set block6"), 1);
	assert_int_equal(differences(NULL, 0, v, n, 0, "deleted"), 2);
	assert_int_equal(differences(v, n, NULL, 0, 0, "more in set"), 2);
	memcpy(w, v, sizeof w);
	w[3].ms += 501;
	assert_int_equal(differences(v, n, w, n, 0, "end at another time"), 1);
	w[3].ms -= 1;
	assert_int_equal(differences(v, n, w, n, 0, NULL), 0);
	w[3].range.lo++;
	assert_int_equal(differences(v, n, w, n, 0, "1 block more in set block4"), 1);
	/* what ends now may be there or not */
	memcpy(w, v, sizeof w);
	w[4].ms = 500;
	assert_int_equal(differences(w, n, v + 5, 0, 0, NULL), 2);
	assert_int_equal(differences(w + 4, 1, NULL, 0, 0, NULL), 0);
	assert_int_equal(differences(NULL, 0, w + 4, 1, 0, NULL), 0);
	/* one that never ends is none of ours */
	assert_int_equal(differences(v, 1, v, 1, 9000, "end at another time"), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_batches_ask_for_is_what_the_form_says),
		cmocka_unit_test(each_change_of_rules_has_its_words),
		cmocka_unit_test(each_change_of_chains_and_tables_has_its_words),
		cmocka_unit_test(a_count_tells_how_many),
		cmocka_unit_test(elements_are_compared_in_any_order),
		cmocka_unit_test(words_have_a_limit),
		cmocka_unit_test(what_others_have_is_told_apart_from_ours),
		cmocka_unit_test(blocks_that_overlap_last_as_the_longest),
		cmocka_unit_test(a_table_of_blocks_that_was_touched_is_not_whole),
		cmocka_unit_test(blocks_are_compared_by_what_they_refuse_and_when_they_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
