/*
 * Changes of elements in place as bytes; against a kernel: tests/agree/nl_edit_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "nl/attr.h"
#include "nl/batch.h"
#include "nl/dump.h"
#include "nl/edit.h"
#include "nl/wire.h"

enum { INET = 1, RANGES = 9000, GENERATION = 7, STEP = 64, KEYS = 2 * RANGES };

/* forward -> judge -> a list. */
struct world {
	struct arena *a;
	struct plan p;
	struct plan_set set;
	struct plan_chain chain[2];
	struct plan_rule rule[2];
	struct plan_match match;
	struct plan_counter counter;
	struct addr_range4 v4[RANGES];
	struct nl_form *form;
};

/* The list of n ranges; the last has no end. */
static struct world *
world(uint32_t n)
{
	struct world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	w->a = arena_new();
	for (uint32_t i = 0; i < n; i++)
		w->v4[i] = (struct addr_range4){i * STEP, i * STEP + 9};
	w->v4[n - 1].hi = UINT32_MAX;
	w->set = (struct plan_set){.name = "list", .interval = true, .n = n, .v4 = w->v4};
	w->match = (struct plan_match){.field = PLAN_DADDR4, .set = 0};
	for (int i = 0; i < 2; i++)
		w->rule[i] = (struct plan_rule){.vmap = PLAN_NONE, .counter = PLAN_NONE,
		    .limit.meter = PLAN_NONE, .stmt = PLAN_NONE, .at = TEXT_NO_SPAN};
	w->rule[0].match = &w->match;
	w->rule[0].nmatch = 1;
	w->rule[0].verdict = (struct plan_verdict){PLAN_DO_DROP, PLAN_NONE};
	w->rule[1].verdict = (struct plan_verdict){PLAN_DO_JUMP, 0};
	w->counter.name = "count";
	w->chain[0] = (struct plan_chain){.name = "judge", .rule = &w->rule[0], .nrule = 1};
	w->chain[1] = (struct plan_chain){.name = "forward", .entry = true, .base = true,
	    .rule = &w->rule[1], .nrule = 1};
	w->p = (struct plan){.table = "mailreeve", .own_table = true, .set = &w->set, .nset = 1,
	    .chain = w->chain, .nchain = 2, .counter = &w->counter, .ncounter = 1,
	    .policy = "p", .point = "q"};
	plan_seal(&w->p);
	return w;
}

static void
world_end(struct world *w)
{
	arena_free(w->a);
	free(w);
}

/* The messages of a batch. */
struct walk {
	const uint8_t *p;
	size_t n;
	struct nlmsghdr h;
	const uint8_t *message;
};

static bool
next(struct walk *k)
{
	if (k->n == 0)
		return false;
	memcpy(&k->h, k->p, sizeof k->h);
	assert_true(k->h.nlmsg_len >= sizeof k->h && k->h.nlmsg_len <= k->n);
	k->message = k->p;
	k->p += NLMSG_ALIGN(k->h.nlmsg_len);
	k->n -= NLMSG_ALIGN(k->h.nlmsg_len);
	return true;
}

static struct walk
walk(const struct nl_batch *b)
{
	return (struct walk){.p = (const uint8_t *)b->bytes.p, .n = b->bytes.n};
}

/* What the kernel would hold after the stage and the swap of a plan. */
static struct nl_dump
applied(struct world *w)
{
	int (*const build[])(const struct nl_job *, struct nl_batch *, const char **) = {
	    nl_stage, nl_swap};
	struct nl_job j = {.a = w->a, .seq = 1};
	struct nl_dump d = {.genid = GENERATION};
	const char *who;

	assert_int_equal(nl_form(w->a, &w->p, NULL, (struct nl_salt){0}, &w->form, &who), 0);
	j.form = w->form;
	for (int i = 0; i < 2; i++) {
		struct nl_batch b;
		struct walk k;

		assert_int_equal(build[i](&j, &b, &who), 0);
		k = walk(&b);
		while (next(&k))
			if (k.h.nlmsg_type >= NLMSG_MIN_TYPE + 2 &&
			    (i == 0 || NFNL_MSG_TYPE(k.h.nlmsg_type) != NFT_MSG_NEWTABLE))
				assert_int_equal(nl_dump_add(w->a, &d, k.message, k.h.nlmsg_len), 0);
		nl_batch_free(&b);
	}
	return d;
}

static int
edit(struct world *from, struct world *to, const struct nl_dump *d, struct nl_batch *b)
{
	struct nl_job j = {.a = to->a, .have = d, .seq = 50, .in_place = true, .old = from->form};
	const char *who = "";
	int err;

	assert_int_equal(nl_form_over(to->a, &to->p, NULL, from->form, &to->form, &who), 0);
	j.form = to->form;
	err = nl_edit(&j, b, &who);
	if (err && err != -EOPNOTSUPP)
		print_message("%d %s\n", err, who);
	return err;
}

struct key {
	uint32_t at;
	bool end;
};

/* The elements of a message, in order. */
static size_t
elements(const struct walk *k, struct key *out)
{
	size_t head = sizeof k->h + sizeof(struct nfgenmsg), n = 0;
	struct attr t[NFTA_SET_ELEM_LIST_MAX + 1], one, e[NFTA_SET_ELEM_MAX + 1],
	    v[NFTA_DATA_MAX + 1];
	struct attrs s;
	uint16_t type;
	int err = 0;

	assert_int_equal(attr_table(k->message + head, k->h.nlmsg_len - head, t,
	    NFTA_SET_ELEM_LIST_MAX), 0);
	s = (struct attrs){t[NFTA_SET_ELEM_LIST_ELEMENTS].p, t[NFTA_SET_ELEM_LIST_ELEMENTS].n, 0};
	while (attr_next(&s, &type, &one)) {
		assert_int_equal(attr_table(one.p, one.n, e, NFTA_SET_ELEM_MAX), 0);
		assert_int_equal(attr_table(e[NFTA_SET_ELEM_KEY].p, e[NFTA_SET_ELEM_KEY].n, v,
		    NFTA_DATA_MAX), 0);
		out[n].end = attr_u32(e[NFTA_SET_ELEM_FLAGS], 0, &err) & NFT_SET_ELEM_INTERVAL_END;
		out[n++].at = attr_u32(v[NFTA_DATA_VALUE], 0, &err);
	}
	assert_int_equal(err, 0);
	return n;
}

static void
an_edit_is_one_transaction_at_one_generation_and_deletes_first(void **state)
{
	struct world *w = world(RANGES), *x = world(RANGES);
	struct key *key = calloc(KEYS, sizeof *key);
	struct nl_dump d = applied(w);
	size_t deleted = 0, added = 0;
	bool generation = false;
	struct nl_batch b;
	struct walk k;

	(void)state;
	assert_non_null(key);
	for (uint32_t i = 0; i < RANGES; i += 9) /* a tenth, and the one without an end */
		x->v4[i].hi--;
	x->v4[RANGES - 1] = (struct addr_range4){(RANGES - 1) * STEP + 1, UINT32_MAX};
	plan_seal(&x->p);
	assert_int_equal(edit(w, x, &d, &b), 0);
	assert_null(b.next);
	k = walk(&b);
	while (next(&k)) {
		int type = NFNL_MSG_TYPE(k.h.nlmsg_type);
		size_t n;

		if (k.h.nlmsg_type == NFNL_MSG_BATCH_BEGIN) {
			struct attr a[NFNL_BATCH_GENID + 1];
			size_t head = sizeof k.h + sizeof(struct nfgenmsg);
			int err = 0;

			assert_int_equal(attr_table(k.message + head, k.h.nlmsg_len - head, a,
			    NFNL_BATCH_GENID), 0);
			generation = attr_u32(a[NFNL_BATCH_GENID], 0, &err) == GENERATION;
			continue;
		}
		if (k.h.nlmsg_type < NLMSG_MIN_TYPE + 2 ||
		    (type != NFT_MSG_NEWSETELEM && type != NFT_MSG_DELSETELEM))
			continue;
		n = elements(&k, key);
		/* a range is whole in its message; one that is not stands at its end */
		for (size_t i = 0; i < n; i++) {
			assert_false(key[i].end);
			if (i + 1 < n && key[i + 1].end)
				i++;
			else
				assert_int_equal(i, n - 1);
		}
		if (type == NFT_MSG_DELSETELEM)
			deleted += n;
		else
			added += n;
		assert_true(type == NFT_MSG_NEWSETELEM || added == 0);
	}
	assert_true(generation);
	assert_int_equal(deleted, 2 * RANGES / 9 + 1);
	assert_int_equal(added, deleted);
	nl_batch_free(&b);
	/* nothing to do: nothing is sent */
	assert_int_equal(edit(w, w, &d, &b), 0);
	assert_int_equal(b.changes, 0);
	nl_batch_free(&b);
	free(key);
	world_end(w);
	world_end(x);
}

static void
without_what_it_stands_on_nothing_is_edited(void **state)
{
	struct world *w = world(20), *x = world(20);
	struct nl_dump d = applied(w);
	struct nl_job j = {.a = x->a, .have = &d, .seq = 1, .in_place = true};
	const char *who;
	struct nl_batch b;

	(void)state;
	x->v4[3].hi++;
	plan_seal(&x->p);
	assert_int_equal(nl_form_over(x->a, &x->p, NULL, w->form, &x->form, &who), 0);
	j.form = x->form;
	j.old = w->form;
	assert_int_equal(nl_edit(&j, &b, &who), 0);
	nl_batch_free(&b);
	j.in_place = false;
	assert_int_equal(nl_edit(&j, &b, &who), -EOPNOTSUPP);
	j.in_place = true;
	j.old = NULL;
	assert_int_equal(nl_edit(&j, &b, &who), -EOPNOTSUPP);
	j.old = w->form;
	j.have = NULL;
	assert_int_equal(nl_edit(&j, &b, &who), -EOPNOTSUPP);
	j.have = &d;
	d.genid = 0;
	assert_int_equal(nl_edit(&j, &b, &who), -EOPNOTSUPP);
	d.genid = GENERATION;
	j.most = 200;          /* bytes: it must be one transaction */
	assert_int_equal(nl_edit(&j, &b, &who), -EOPNOTSUPP);
	assert_null(b.bytes.p);
	j.most = 0;
	d.set[0].count = 19;   /* somebody took an element; or the kernel counts half an open one */
	assert_int_equal(nl_edit(&j, &b, &who), 0);
	nl_batch_free(&b);
	d.set[0].count = 18;
	assert_int_equal(nl_edit(&j, &b, &who), -EOPNOTSUPP);
	d.set[0].count = UINT32_MAX;
	d.nrule--;             /* and somebody a rule */
	assert_int_equal(nl_edit(&j, &b, &who), -EOPNOTSUPP);
	world_end(w);
	world_end(x);
}

static void
a_form_is_the_same_for_the_same_plan_salt_and_dump(void **state)
{
	struct world *w = world(20), *x = world(20);
	struct nl_dump d = applied(w);
	struct nl_form *f, *g;
	const char *who;

	(void)state;
	assert_int_equal(nl_form_as(w->a, &w->p, NULL, (struct nl_salt){0}, &d, &f, &who), 0);
	assert_string_equal(f->set[0].name, w->form->set[0].name);
	assert_memory_equal(f->frame, w->form->frame, NL_DIGEST);
	assert_true(nl_in_force(f, &d));
	/* under another's name the content has the digest that it has under its own */
	x->v4[3].hi++;
	plan_seal(&x->p);
	assert_int_equal(nl_form_over(x->a, &x->p, NULL, w->form, &f, &who), 0);
	assert_int_equal(nl_form(x->a, &x->p, NULL, (struct nl_salt){0}, &g, &who), 0);
	assert_string_equal(f->set[0].name, w->form->set[0].name);
	assert_string_not_equal(g->set[0].name, f->set[0].name);
	assert_memory_equal(f->set[0].digest, g->set[0].digest, NL_DIGEST);
	assert_false(nl_in_force(f, &d));
	assert_false(nl_in_force(g, &d));
	world_end(w);
	world_end(x);
}

static void
a_bent_dump_is_never_edited_nor_a_cause_of_harm(void **state)
{
	struct world *w = world(3), *x = world(3);
	struct nl_dump d = applied(w);
	struct nl_batch b;
	struct buf all = BUF_INIT(1 << 20);
	uint64_t r = 88172645463325252ULL;
	unsigned edited = 0, refused = 0;

	(void)state;
	x->v4[1].hi++;
	plan_seal(&x->p);
	/* the whole as messages, with a counter of a changed set among them */
	{
		struct nl_job j = {.a = w->a, .seq = 1, .form = w->form};
		const char *who;

		assert_int_equal(nl_stage(&j, &b, &who), 0);
		buf_add(&all, b.bytes.p, b.bytes.n);
		nl_batch_free(&b);
		assert_int_equal(nl_swap(&j, &b, &who), 0);
		buf_add(&all, b.bytes.p, b.bytes.n);
		nl_batch_free(&b);
		assert_int_equal(edit(w, x, &d, &b), 0);
		buf_add(&all, b.bytes.p, b.bytes.n);
		nl_batch_free(&b);
	}
	for (int round = 0; round < 4000; round++) {
		struct arena *a = arena_new();
		struct nl_job j = {.a = a, .seq = 1, .in_place = true, .form = x->form,
		    .old = w->form};
		uint8_t *copy = malloc(all.n), *p = copy;
		struct nl_dump bent = {.genid = 1};
		size_t n = all.n;
		struct nl_form *f;
		struct nlmsghdr h;
		const char *who;
		int (*const build[])(const struct nl_job *, struct nl_batch *, const char **) = {
		    nl_edit, nl_stage, nl_swap, nl_sweep, nl_remove};

		assert_non_null(copy);
		memcpy(copy, all.p, n);
		for (int k = 0; k < round % 4; k++) {
			r ^= r << 13;
			r ^= r >> 7;
			r ^= r << 17;
			copy[r % n] = (uint8_t)(r >> 32);
		}
		while (n >= sizeof h) {
			memcpy(&h, p, sizeof h);
			if (h.nlmsg_len < sizeof h || h.nlmsg_len > n)
				break;
			if (round % 3 || NFNL_MSG_TYPE(h.nlmsg_type) != NFT_MSG_NEWOBJ)
				nl_dump_add(a, &bent, p, h.nlmsg_len);
			p += h.nlmsg_len;
			n -= h.nlmsg_len;
		}
		j.have = &bent;
		for (size_t i = 0; i < sizeof build / sizeof *build; i++) {
			int err = build[i](&j, &b, &who);

			if (i == 0 && !err)
				assert_true(nl_in_force(w->form, &bent));
			edited += i == 0 && !err;
			refused += i == 0 && err;
			if (!err)
				nl_batch_free(&b);
		}
		if (!nl_form_as(a, &x->p, NULL, (struct nl_salt){0}, &bent, &f, &who)) {
			j.form = f;
			if (!nl_stage(&j, &b, &who))
				nl_batch_free(&b);
		}
		free(copy);
		arena_free(a);
	}
	/* in all of them the stamp is there twice, with and without the change */
	print_message("%u edited, %u refused\n", edited, refused);
	assert_true(refused > 1000);
	buf_free(&all);
	world_end(w);
	world_end(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_edit_is_one_transaction_at_one_generation_and_deletes_first),
		cmocka_unit_test(without_what_it_stands_on_nothing_is_edited),
		cmocka_unit_test(a_form_is_the_same_for_the_same_plan_salt_and_dump),
		cmocka_unit_test(a_bent_dump_is_never_edited_nor_a_cause_of_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
