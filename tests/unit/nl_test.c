/*
 * The netlink form of plans: batches as bytes, read back by libnftnl and by lib/nl.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sha.h"
#include "nl/batch.h"
#include "nl/dump.h"
#include "nl/wire.h"

enum { INET = 1 };

static int
uid_of(void *arg, const char *name, uint32_t *uid)
{
	(void)arg;
	*uid = 42;
	return strcmp(name, "mail") ? -ENOENT : 0;
}

static int
cgroup_of(void *arg, const char *path, uint64_t *id)
{
	(void)arg;
	*id = 0x1122334455667788;
	return strcmp(path, "system.slice/x.service") ? -ENOENT : 0;
}

static const struct nl_host host = {.uid = uid_of, .cgroup = cgroup_of};

/* forward -> mail -> a, b: a looks into a set of addresses, b into one of ports and a user. */
struct world {
	struct arena *a;
	struct plan p;
	struct plan_set set[3];
	struct plan_chain chain[4];
	struct plan_rule rule[6];
	struct plan_match match[6];
	struct plan_counter counter[1];
	struct addr_range6 v6[5000];
	struct nl_form *form;
	const char *who;
};

static struct plan_rule
rule(struct plan_match *m, uint32_t n, enum plan_verdict_kind k, uint32_t to)
{
	return (struct plan_rule){.match = m, .nmatch = n, .verdict = {k, to},
	    .vmap = PLAN_NONE, .counter = PLAN_NONE, .limit.meter = PLAN_NONE,
	    .stmt = PLAN_NONE, .at = TEXT_NO_SPAN};
}

static const struct port_range mail_ports[] = {{25, 25}, {465, 465}, {587, 587}};

static int
form(struct world *w, struct nl_salt salt)
{
	plan_seal(&w->p);
	return nl_form(w->a, &w->p, &host, salt, &w->form, &w->who);
}

static struct world *
world(void)
{
	struct world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	w->a = arena_new();
	for (size_t i = 0; i < 5000; i++)
		w->v6[i] = (struct addr_range6){(u128)i << 64, ((u128)i << 64) + 9};
	w->set[0] = (struct plan_set){.name = "list6", .key = PLAN_KEY_IPV6, .interval = true,
	    .n = 5000, .v6 = w->v6};
	w->set[1] = (struct plan_set){.key = PLAN_KEY_PORT, .n = 3, .port = mail_ports};
	w->set[2] = (struct plan_set){.name = "meter", .kind = PLAN_METER, .key = PLAN_KEY_IPV4,
	    .timeout = 60, .size = 65535};
	w->match[0] = (struct plan_match){.field = PLAN_SADDR6, .set = 0};
	w->match[1] = (struct plan_match){.field = PLAN_DPORT, .set = 1};
	w->match[2] = (struct plan_match){.field = PLAN_SKUID, .set = PLAN_NONE, .text = "mail"};
	w->match[3] = (struct plan_match){.field = PLAN_CGROUP, .set = PLAN_NONE,
	    .text = "system.slice/x.service", .level = 2};
	w->match[4] = (struct plan_match){.field = PLAN_DPORT, .set = 1};
	w->rule[0] = rule(&w->match[0], 1, PLAN_DO_ACCEPT, PLAN_NONE);
	w->rule[1] = rule(&w->match[1], 3, PLAN_DO_REJECT, PLAN_NONE);
	w->rule[1].comment = "block, policy.yaml:7";
	w->rule[2] = rule(NULL, 0, PLAN_DO_JUMP, 0);
	w->rule[3] = rule(NULL, 0, PLAN_DO_GOTO, 1);
	w->rule[3].limit = (struct plan_limit){.rate = 60, .unit = 3600, .burst = 60, .meter = 2,
	    .prefix = 32};
	w->rule[4] = rule(&w->match[4], 1, PLAN_DO_JUMP, 2);
	w->rule[4].counter = PLAN_NONE;
	w->chain[0] = (struct plan_chain){.name = "a", .rule = &w->rule[0], .nrule = 1};
	w->chain[1] = (struct plan_chain){.name = "b", .rule = &w->rule[1], .nrule = 1};
	w->chain[2] = (struct plan_chain){.name = "mail", .rule = &w->rule[2], .nrule = 2};
	w->chain[3] = (struct plan_chain){.name = "forward", .entry = true, .base = true,
	    .rule = &w->rule[4], .nrule = 1};
	w->counter[0].name = "count";
	w->p = (struct plan){.table = "mailreeve", .own_table = true, .set = w->set, .nset = 3,
	    .chain = w->chain, .nchain = 4, .counter = w->counter, .ncounter = 1,
	    .policy = "p", .point = "q"};
	assert_int_equal(form(w, (struct nl_salt){0}), 0);
	return w;
}

static void
world_end(struct world *w)
{
	arena_free(w->a);
	free(w);
}

static struct nl_batch
batch(struct world *w, int (*build)(const struct nl_job *, struct nl_batch *, const char **),
    const struct nl_dump *have)
{
	struct nl_job j = {.a = w->a, .form = w->form, .have = have, .seq = 100, .genid = 7,
	    .table_flags = NL_OWNER | NL_PERSIST};
	struct nl_batch b;

	assert_int_equal(build(&j, &b, &w->who), 0);
	return b;
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
	assert_true(k->n >= sizeof k->h);
	memcpy(&k->h, k->p, sizeof k->h);
	assert_true(k->h.nlmsg_len >= sizeof k->h + sizeof(struct nfgenmsg));
	assert_true(k->h.nlmsg_len <= k->n && k->h.nlmsg_len % 4 == 0);
	k->message = k->p;
	k->p += k->h.nlmsg_len;
	k->n -= k->h.nlmsg_len;
	return true;
}

static struct walk
walk(const struct nl_batch *b)
{
	return (struct walk){.p = (uint8_t *)b->bytes.p, .n = b->bytes.n};
}

static unsigned
count(const struct nl_batch *b, int type)
{
	struct walk k = walk(b);
	unsigned n = 0;

	while (next(&k))
		n += k.h.nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | type);
	return n;
}

/* What the kernel would say that it holds after the batch, deletions apart. */
static void
commit(struct world *w, struct nl_dump *d, const struct nl_batch *b)
{
	struct walk k = walk(b);

	while (next(&k))
		if (k.h.nlmsg_type >= NLMSG_MIN_TYPE + 2)
			assert_int_equal(nl_dump_add(w->a, d, k.message, k.h.nlmsg_len), 0);
}

/* ---- batches -------------------------------------------------------------------- */

static void
batch_is_numbered_bounded_and_names_its_generation(void **state)
{
	struct world *w = world();
	struct nl_batch b = batch(w, nl_stage, NULL);
	struct walk k = walk(&b);
	uint32_t i = 0, acks = 0;

	(void)state;
	while (next(&k)) {
		assert_int_equal(k.h.nlmsg_seq, 100 + i);
		i++;
		acks += !!(k.h.nlmsg_flags & NLM_F_ACK);
		/* message head, table and set name, one nest of at most 65,535 */
		assert_true(k.h.nlmsg_len < 65535);
		if (i == 1) {
			static const uint8_t genid[] = {8, 0, 1, 0, 0, 0, 0, 7};

			assert_int_equal(k.h.nlmsg_type, NFNL_MSG_BATCH_BEGIN);
			assert_memory_equal(k.message + 20, genid, sizeof genid);
		}
	}
	assert_int_equal(k.h.nlmsg_type, NFNL_MSG_BATCH_END);
	assert_int_equal(i, b.nitem + 1);
	assert_int_equal(acks, 1);
	nl_batch_free(&b);
	world_end(w);
	(void)state;
}

static void
elements_are_split_and_none_is_lost_as_libnftnl_reads_them(void **state)
{
	struct world *w = world();
	struct nl_batch b = batch(w, nl_stage, NULL);
	struct walk k = walk(&b);
	uint32_t n = 0, messages = 0, len;

	(void)state;
	while (next(&k)) {
		struct nftnl_set_elems_iter *it;
		struct nftnl_set_elem *e;
		struct nftnl_set *s;

		if (k.h.nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM))
			continue;
		s = nftnl_set_alloc();
		assert_int_equal(nftnl_set_elems_nlmsg_parse((const struct nlmsghdr *)(const void *)
		    k.message, s), 0);
		if (strncmp(nftnl_set_get_str(s, NFTNL_SET_NAME), "list6/", 6)) {
			nftnl_set_free(s);
			continue;
		}
		messages++;
		it = nftnl_set_elems_iter_create(s);
		while ((e = nftnl_set_elems_iter_next(it))) {
			uint8_t key[16];
			u128 want = (u128)(n / 2) << 64;

			u128_to_be(n % 2 ? want + 10 : want, key);
			assert_memory_equal(nftnl_set_elem_get(e, NFTNL_SET_ELEM_KEY, &len), key, 16);
			assert_int_equal(nftnl_set_elem_is_set(e, NFTNL_SET_ELEM_FLAGS) &&
			    nftnl_set_elem_get_u32(e, NFTNL_SET_ELEM_FLAGS) & 1, n % 2);
			n++;
		}
		nftnl_set_elems_iter_destroy(it);
		nftnl_set_free(s);
	}
	assert_int_equal(n, 10000);
	assert_true(messages > 5);
	nl_batch_free(&b);
	world_end(w);
}

static void
rules_read_by_libnftnl_as_nft_writes_them(void **state)
{
	static const char want[] =
	    "[ meta load l4proto => reg 1 ]"
	    "[ cmp eq reg 1 0x00000006 ]"
	    "[ payload load 2b @ transport header + 2 => reg 1 ]"
	    "[ lookup reg 1 set __set%d 0x0 ]"
	    "[ meta load skuid => reg 1 ]"
	    "[ cmp eq reg 1 0x0000002a ]"
	    "[ socket load cgroupv2 => reg 1 ]"
	    "[ cmp eq reg 1 0x55667788 0x11223344 ]"
	    "[ reject type 1 code 0 ]";
	struct world *w = world();
	struct nl_batch b = batch(w, nl_stage, NULL);
	struct walk k = walk(&b);
	char text[4096], flat[4096];
	unsigned found = 0;

	(void)state;
	while (next(&k)) {
		struct nftnl_rule *r;
		size_t n = 0;

		if (k.h.nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE))
			continue;
		r = nftnl_rule_alloc();
		assert_int_equal(nftnl_rule_nlmsg_parse((const struct nlmsghdr *)(const void *)
		    k.message, r), 0);
		nftnl_rule_snprintf(text, sizeof text, r, NFTNL_OUTPUT_DEFAULT, 0);
		if (!strncmp(nftnl_rule_get_str(r, NFTNL_RULE_CHAIN), "b/", 2)) {
			char *p = strchr(text, '[');

			assert_non_null(p);
			for (; *p && strncmp(p, "userdata", 8); p++)
				if (*p == '[' || (n && flat[n - 1] != ']'))
					flat[n++] = *p;
			flat[n] = 0;
			assert_string_equal(flat, want);
			found++;
		}
		nftnl_rule_free(r);
	}
	assert_int_equal(found, 1);
	nl_batch_free(&b);
	world_end(w);
}

static void
swap_makes_nothing_that_starts_empty(void **state)
{
	struct world *w = world();
	struct nl_dump d = {0};
	struct nl_batch b = batch(w, nl_stage, NULL), s;

	(void)state;
	assert_int_equal(count(&b, NFT_MSG_NEWCHAIN), 3);
	commit(w, &d, &b);
	s = batch(w, nl_swap, &d);
	/* the anonymous hash set of the entry's rule, and no other */
	assert_int_equal(count(&s, NFT_MSG_NEWSET), 1);
	assert_int_equal(count(&s, NFT_MSG_NEWRULE), 1);
	assert_int_equal(count(&s, NFT_MSG_NEWCHAIN), 1);
	assert_true(s.bytes.n < 2000);
	nl_batch_free(&b);
	nl_batch_free(&s);
	world_end(w);
}

static void
what_is_there_is_not_sent_again_and_reads_as_in_force(void **state)
{
	struct world *w = world();
	struct nl_dump d = {0};
	struct nl_batch b = batch(w, nl_stage, NULL), s;
	uint8_t digest[NL_DIGEST];
	struct nl_salt salt;

	(void)state;
	commit(w, &d, &b);
	assert_false(nl_in_force(w->form, &d));
	s = batch(w, nl_swap, &d);
	commit(w, &d, &s);
	assert_true(nl_in_force(w->form, &d));
	assert_int_equal(nl_stamp(&d, "mailreeve", digest, &salt), 0);
	assert_memory_equal(digest, w->p.digest, NL_DIGEST);
	nl_batch_free(&b);
	nl_batch_free(&s);
	b = batch(w, nl_stage, &d);
	assert_int_equal(b.changes, 0);
	nl_batch_free(&b);
	b = batch(w, nl_sweep, &d);
	assert_int_equal(b.changes, 0);
	nl_batch_free(&b);
	/* a rule too many in an entry, another salt, another plan */
	d.nrule++;
	d.rule = arena_resize(w->a, d.rule, d.nrule - 1, d.nrule, sizeof *d.rule);
	d.rule[d.nrule - 1] = d.rule[d.nrule - 2];
	assert_false(nl_in_force(w->form, &d));
	d.nrule--;
	assert_int_equal(form(w, (struct nl_salt){.chain = 1}), 0);
	assert_false(nl_in_force(w->form, &d));
	w->counter[0].name = "another";
	assert_int_equal(form(w, (struct nl_salt){0}), 0);
	assert_false(nl_in_force(w->form, &d));
	world_end(w);
}

static void
generation_names_follow_content_upwards_only(void **state)
{
	struct world *w = world();
	struct nl_form *one = w->form;

	(void)state;
	assert_true(nl_is_generation(one->set[0].name));
	assert_true(nl_is_generation(one->chain[0].name));
	assert_string_equal(one->chain[3].name, "forward");
	assert_int_equal(form(w, (struct nl_salt){0}), 0);
	assert_string_equal(w->form->chain[2].name, one->chain[2].name);
	w->v6[77].hi++;
	assert_int_equal(form(w, (struct nl_salt){0}), 0);
	assert_string_not_equal(w->form->set[0].name, one->set[0].name);
	assert_string_not_equal(w->form->chain[0].name, one->chain[0].name);
	assert_string_not_equal(w->form->chain[2].name, one->chain[2].name);
	assert_string_equal(w->form->chain[1].name, one->chain[1].name);
	assert_string_equal(w->form->set[2].name, one->set[2].name);
	w->v6[77].hi--;
	/* a bucket remembers the limit that it was made for */
	w->rule[3].limit.burst++;
	assert_int_equal(form(w, (struct nl_salt){0}), 0);
	assert_string_not_equal(w->form->set[2].name, one->set[2].name);
	assert_string_equal(w->form->set[0].name, one->set[0].name);
	w->rule[3].limit.burst--;
	assert_int_equal(form(w, (struct nl_salt){.chain = 1}), 0);
	assert_string_equal(w->form->set[0].name, one->set[0].name);
	assert_string_not_equal(w->form->chain[0].name, one->chain[0].name);
	world_end(w);
}

static void
a_generation_name_with_other_content_is_refused(void **state)
{
	struct world *w = world();
	struct nl_batch b = batch(w, nl_stage, NULL);
	struct nl_job j = {.a = w->a, .form = w->form};
	struct nl_dump d = {0};

	(void)state;
	commit(w, &d, &b);
	nl_batch_free(&b);
	j.have = &d;
	w->form->set[0].digest[20] ^= 1;
	assert_int_equal(nl_stage(&j, &b, &w->who), -EEXIST);
	assert_string_equal(w->who, w->form->set[0].name);
	assert_null(b.bytes.p);
	w->form->set[0].digest[20] ^= 1;
	w->form->chain[1].digest[31] ^= 1;
	d.chain[1].use = 2;
	assert_int_equal(nl_stage(&j, &b, &w->who), -EEXIST);
	assert_string_equal(w->who, w->form->chain[1].name);
	/* nothing jumps to it: it goes */
	d.chain[1].use = 1;
	assert_int_equal(nl_stage(&j, &b, &w->who), 0);
	assert_int_equal(count(&b, NFT_MSG_DELCHAIN), 1);
	assert_int_equal(count(&b, NFT_MSG_NEWCHAIN), 1);
	nl_batch_free(&b);
	world_end(w);
}

static void
what_an_interrupted_stage_left_is_not_believed(void **state)
{
	struct world *w = world();
	struct nl_job j = {.a = w->a, .form = w->form, .genid = 9, .most = 100000};
	struct nl_batch b;
	unsigned seen = 0;

	(void)state;
	assert_int_equal(nl_stage(&j, &b, &w->who), 0);
	assert_non_null(b.next);
	assert_non_null(b.next->next);
	for (const struct nl_batch *p = &b; p; p = p->next) {
		struct nl_dump d = {0};
		struct nl_job again = {.a = w->a, .form = w->form, .have = &d};
		struct nl_batch c;

		assert_true(p->bytes.n <= j.most);
		for (const struct nl_batch *q = &b; q != p->next; q = q->next)
			commit(w, &d, q);
		assert_int_equal(nl_stage(&again, &c, &w->who), 0);
		/* until a rule looks into the list, it may be half a list */
		assert_int_equal(count(&c, NFT_MSG_DELSET), d.nset && !d.nrule ? 1 : 0);
		seen += d.nset && !d.nrule;
		assert_true(d.nrule ? c.bytes.n < 20000 : c.bytes.n > 300000);
		assert_true(p->next || c.changes == 0);
		nl_batch_free(&c);
	}
	assert_true(seen > 3);
	assert_int_equal(nl_gen_after(7, b.next->next), 7); /* only the first knows of changes */
	assert_true(nl_gen_after(UINT32_MAX - 1, &b) >= 2); /* 0 is no generation */
	nl_batch_free(&b);
	world_end(w);
}

static void
a_chain_that_lost_a_rule_is_filled_again_in_one_transaction(void **state)
{
	struct world *w = world();
	struct nl_batch b = batch(w, nl_stage, NULL);
	struct nl_job j = {.a = w->a, .form = w->form, .most = 20000};
	struct nl_dump d = {0};

	(void)state;
	commit(w, &d, &b);
	nl_batch_free(&b);
	j.have = &d;
	assert_string_equal(d.rule[d.nrule - 1].chain, w->form->chain[2].name);
	d.nrule--;
	assert_int_equal(nl_stage(&j, &b, &w->who), 0);
	assert_null(b.next);
	assert_int_equal(count(&b, NFT_MSG_DELRULE), 1);
	assert_int_equal(count(&b, NFT_MSG_NEWRULE), 2);
	assert_int_equal(count(&b, NFT_MSG_NEWCHAIN), 0);
	nl_batch_free(&b);
	world_end(w);
}

static void
the_table_of_others_is_left_to_them(void **state)
{
	struct nl_chain chain[] = {
		{.family = INET, .table = "filter", .name = "theirs"},
		{.family = INET, .table = "filter", .name = "input", .base = true, .type = "filter"},
		{.family = INET, .table = "filter", .name = "mailreeve-old/0123abcd"},
		{.family = INET, .table = "filter", .name = "mailreeve-output", .use = 1},
		{.family = INET, .table = "other", .name = "mailreeve-old/0123abcd"},
		{.family = 2, .table = "filter", .name = "mailreeve-old/0123abcd"},
	};
	struct nl_set set[] = {
		{.family = INET, .table = "filter", .name = "theirs"},
		{.family = INET, .table = "filter", .name = "mailreeve-x/00000000"},
		{.family = INET, .table = "filter", .name = "__set0", .flags = NFT_SET_ANONYMOUS},
	};
	struct nl_object object[] = {
		{.family = INET, .table = "filter", .name = "theirs", .type = 1},
		{.family = INET, .table = "filter", .name = "mailreeve-c", .type = 1},
	};
	struct nl_dump d = {.chain = chain, .nchain = 6, .set = set, .nset = 3, .object = object,
	    .nobject = 2};
	struct world *w = world();
	struct nl_batch b;

	(void)state;
	w->p.table = "filter";
	w->p.own_table = false;
	w->chain[3].base = false;
	w->chain[3].name = "mailreeve-forward";
	assert_int_equal(form(w, (struct nl_salt){0}), 0);
	for (int pass = 0; pass < 3; pass++) {
		b = batch(w, pass == 0 ? nl_sweep : pass == 1 ? nl_remove : nl_swap, &d);
		assert_int_equal(count(&b, NFT_MSG_DELTABLE), 0);
		for (uint32_t i = 0; i < b.nitem; i++) {
			if (!b.item[i].del)
				continue;
			assert_int_equal(strncmp(b.item[i].name, "mailreeve-", 10), 0);
			/* rules of the administrator may still jump to it */
			if (b.item[i].what == NL_A_CHAIN)
				assert_string_not_equal(b.item[i].name, "mailreeve-output");
		}
		assert_int_equal(count(&b, NFT_MSG_DELCHAIN), pass == 2 ? 0 : 1);
		assert_int_equal(count(&b, NFT_MSG_DELSET), pass == 2 ? 0 : 1);
		nl_batch_free(&b);
	}
	world_end(w);
}

static void
a_base_chain_that_is_no_longer_wanted_goes_with_the_swap(void **state)
{
	struct nl_chain chain[] = {
		{.family = INET, .table = "mailreeve", .name = "output", .base = true,
		    .type = "filter", .hook = NF_INET_LOCAL_OUT, .policy = 1},
		{.family = INET, .table = "mailreeve", .name = "forward", .base = true,
		    .type = "filter", .hook = NF_INET_FORWARD, .policy = 1, .priority = 3},
	};
	struct nl_dump d = {.chain = chain, .nchain = 2};
	struct world *w = world();
	struct nl_batch b = batch(w, nl_swap, &d);

	(void)state;
	/* forward has another priority: made anew */
	assert_int_equal(count(&b, NFT_MSG_DELCHAIN), 2);
	assert_int_equal(count(&b, NFT_MSG_NEWCHAIN), 1);
	nl_batch_free(&b);
	chain[1].priority = 0;
	b = batch(w, nl_swap, &d);
	assert_int_equal(count(&b, NFT_MSG_DELCHAIN), 1);
	assert_int_equal(count(&b, NFT_MSG_NEWCHAIN), 0);
	nl_batch_free(&b);
	world_end(w);
}

static void
names_that_this_host_does_not_know_are_told(void **state)
{
	struct world *w = world();

	(void)state;
	w->match[2].text = "nobody-here";
	assert_int_equal(form(w, (struct nl_salt){0}), -ENOENT);
	assert_string_equal(w->who, "nobody-here");
	w->match[2].text = "4294967295";
	assert_int_equal(form(w, (struct nl_salt){0}), -ERANGE);
	w->match[2].text = "mail";
	w->match[3].text = "system.slice/gone.service";
	assert_int_equal(form(w, (struct nl_salt){0}), -ENOENT);
	assert_string_equal(w->who, "system.slice/gone.service");
	w->match[3].text = "system.slice/x.service";
	w->rule[0].verdict = (struct plan_verdict){PLAN_DO_JUMP, 1};
	assert_int_equal(form(w, (struct nl_salt){0}), -EINVAL);
	world_end(w);
}

/* ---- reading -------------------------------------------------------------------- */

static void
a_dump_cut_or_bent_anywhere_is_read_or_refused(void **state)
{
	struct world *w = world();
	struct nl_batch b, s;
	uint64_t x = 88172645463325252ULL;
	unsigned refused = 0;

	(void)state;
	w->set[0].n = 3;
	assert_int_equal(form(w, (struct nl_salt){0}), 0);
	b = batch(w, nl_stage, NULL);
	s = batch(w, nl_swap, NULL);
	buf_add(&b.bytes, s.bytes.p, s.bytes.n);
	for (int round = 0; round < 20000; round++) {
		struct arena *a = arena_new();
		struct nl_dump d = {0};
		uint8_t *copy = malloc(b.bytes.n), *p = copy, *message;
		size_t n = b.bytes.n;
		struct buf text = BUF_INIT(1 << 20);
		struct nlmsghdr h;

		memcpy(copy, b.bytes.p, n);
		for (int k = 0; k < 4; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			copy[x % n] = (uint8_t)(x >> 32);
		}
		while (n >= sizeof h) {
			memcpy(&h, p, sizeof h);
			if (h.nlmsg_len < sizeof h || h.nlmsg_len > n)
				break;
			/* a copy of its own, so that reading behind it is seen */
			message = malloc(h.nlmsg_len);
			memcpy(message, p, h.nlmsg_len);
			refused += nl_dump_add(a, &d, message, h.nlmsg_len) != 0;
			free(message);
			p += h.nlmsg_len;
			n -= h.nlmsg_len;
		}
		for (uint32_t i = 0; i < d.nrule; i++)
			for (uint32_t k = 0; k < d.rule[i].nexpr; k++)
				nl_expr_text(&text, &d.rule[i].expr[k]);
		buf_free(&text);
		free(copy);
		arena_free(a);
	}
	assert_true(refused > 1000);
	nl_batch_free(&b);
	nl_batch_free(&s);
	world_end(w);
}

static void
an_expression_that_is_not_known_keeps_its_name(void **state)
{
	struct arena *a = arena_new();
	struct buf b = BUF_INIT(4096), text = BUF_INIT(4096);
	struct nl_expr *e;
	uint32_t n;
	size_t at = wire_nest(&b, NFTA_LIST_ELEM), data;

	(void)state;
	wire_str(&b, NFTA_EXPR_NAME, "newfangled");
	data = wire_nest(&b, NFTA_EXPR_DATA);
	wire_u32(&b, 1, 5);
	wire_end(&b, data);
	wire_end(&b, at);
	assert_int_equal(nl_exprs_read(a, (uint8_t *)b.p, b.n, &e, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(e->kind, NL_UNKNOWN);
	nl_expr_text(&text, e);
	assert_string_equal(text.p, "unknown newfangled");
	buf_free(&text);
	buf_free(&b);
	arena_free(a);
}

static void
an_attribute_of_64_KiB_is_an_error_and_no_wrapped_length(void **state)
{
	struct buf b = BUF_INIT(1 << 20);
	static const uint8_t lots[65535];
	size_t at;

	(void)state;
	wire_put(&b, 1, lots, 65532);
	assert_int_equal(b.err, -EMSGSIZE);
	buf_free(&b);
	at = wire_nest(&b, 1);
	wire_put(&b, 2, lots, 40000);
	wire_put(&b, 2, lots, 40000);
	assert_int_equal(b.err, 0);
	wire_end(&b, at);
	assert_int_equal(b.err, -EMSGSIZE);
	buf_free(&b);
}

static void
sha_is_fips_180_4(void **state)
{
	/* the example of appendix B.1 */
	static const uint8_t want[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41,
	    0x40, 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
	    0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
	struct sha *s = sha_new();
	uint8_t have[SHA_LEN];

	(void)state;
	sha_add(s, "a", 1);
	sha_add(s, "bc", 2);
	sha_end(s, have);
	assert_memory_equal(have, want, sizeof want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batch_is_numbered_bounded_and_names_its_generation),
		cmocka_unit_test(elements_are_split_and_none_is_lost_as_libnftnl_reads_them),
		cmocka_unit_test(rules_read_by_libnftnl_as_nft_writes_them),
		cmocka_unit_test(swap_makes_nothing_that_starts_empty),
		cmocka_unit_test(what_is_there_is_not_sent_again_and_reads_as_in_force),
		cmocka_unit_test(generation_names_follow_content_upwards_only),
		cmocka_unit_test(a_generation_name_with_other_content_is_refused),
		cmocka_unit_test(what_an_interrupted_stage_left_is_not_believed),
		cmocka_unit_test(a_chain_that_lost_a_rule_is_filled_again_in_one_transaction),
		cmocka_unit_test(the_table_of_others_is_left_to_them),
		cmocka_unit_test(a_base_chain_that_is_no_longer_wanted_goes_with_the_swap),
		cmocka_unit_test(names_that_this_host_does_not_know_are_told),
		cmocka_unit_test(a_dump_cut_or_bent_anywhere_is_read_or_refused),
		cmocka_unit_test(an_expression_that_is_not_known_keeps_its_name),
		cmocka_unit_test(an_attribute_of_64_KiB_is_an_error_and_no_wrapped_length),
		cmocka_unit_test(sha_is_fips_180_4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
