/*
 * Changes of single elements in place, against the kernel of this machine: run in a user and a
 * network namespace.
 *
 *     unshare -Urn nl_edit_test
 *
 * ROUNDS= (150) of each property; SEED= repeats a run.
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
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "nl/batch.h"
#include "nl/dump.h"
#include "nl/edit.h"
#include "nl/probe.h"
#include "nl/talk.h"
#include "nl/wire.h"
#include "plan/plan.h"

enum { INET = 1, TRIES = 1000, MOST = 28, NSET = 3, MOST_KEY = 16 };

static int rounds = 150;
static uint64_t state;

static uint32_t
pick(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)((state * 0x2545f4914f6cdd1dULL >> 33) % n);
}

/* ---- plans -------------------------------------------------------------------------- */

/* forward -> judge -> IPv4 sources, IPv6 sources, ports. */
struct world {
	struct arena *a;
	struct plan p;
	struct plan_set set[NSET];
	struct plan_chain chain[2];
	struct plan_rule rule[NSET + 1];
	struct plan_match match[NSET];
	struct plan_counter counter;
	struct addr_range4 v4[MOST];
	struct addr_range6 v6[MOST];
	struct port_range port[MOST];
};

static u128
last_of(enum plan_key key)
{
	return key == PLAN_KEY_IPV4 ? UINT32_MAX : key == PLAN_KEY_PORT ? UINT16_MAX : U128_MAX;
}

/* Ranges of a few values about both ends of the line and its middle: they touch, and the
 * first and the last value are often among them. */
static void
random_set(struct world *w, uint32_t i)
{
	static const enum plan_key key[NSET] = {PLAN_KEY_IPV4, PLAN_KEY_IPV6, PLAN_KEY_PORT};
	u128 last = last_of(key[i]), base[3] = {0, last / 2 - 20, last - 40};
	size_t n = 0, want = pick(MOST + 1);

	for (int part = 0; part < 3; part++) {
		u128 at = base[part] + pick(4), past = base[part] + 40;

		while (n < want * ((size_t)part + 1) / 3 && at <= past) {
			u128 more = pick(4), hi = past - at > more && pick(8) ? at + more : past;

			w->v4[n] = i == 0 ? (struct addr_range4){(uint32_t)at, (uint32_t)hi} : w->v4[n];
			w->v6[n] = i == 1 ? (struct addr_range6){at, hi} : w->v6[n];
			w->port[n] = i == 2 ? (struct port_range){(uint16_t)at, (uint16_t)hi} : w->port[n];
			n++;
			if (hi >= past)
				break;
			more = 1 + (pick(2) ? pick(3) : 0);
			if (past - hi < more)
				break;
			at = hi + more;
		}
	}
	w->set[i].n = n;
}

static void
link_up(struct world *w)
{
	static const char *const name[NSET] = {"four", "six", "ports"};
	static const enum plan_key key[NSET] = {PLAN_KEY_IPV4, PLAN_KEY_IPV6, PLAN_KEY_PORT};
	static const enum plan_field field[NSET] = {PLAN_SADDR4, PLAN_SADDR6, PLAN_DPORT};

	for (uint32_t i = 0; i < NSET; i++) {
		size_t n = w->set[i].n;

		w->set[i] = (struct plan_set){.name = name[i], .key = key[i], .interval = true,
		    .n = n};
		w->match[i] = (struct plan_match){.field = field[i], .set = i};
	}
	w->set[0].v4 = w->v4;
	w->set[1].v6 = w->v6;
	w->set[2].port = w->port;
	for (uint32_t i = 0; i <= NSET; i++)
		w->rule[i] = (struct plan_rule){.vmap = PLAN_NONE, .counter = PLAN_NONE,
		    .limit.meter = PLAN_NONE, .stmt = PLAN_NONE, .at = TEXT_NO_SPAN,
		    .match = i < NSET ? &w->match[i] : NULL, .nmatch = i < NSET,
		    .verdict = {i < NSET ? PLAN_DO_DROP : PLAN_DO_JUMP, i < NSET ? PLAN_NONE : 0}};
	w->chain[0] = (struct plan_chain){.name = "judge", .rule = w->rule, .nrule = NSET};
	w->chain[1] = (struct plan_chain){.name = "forward", .entry = true, .base = true,
	    .rule = &w->rule[NSET], .nrule = 1};
	w->counter = (struct plan_counter){"dropped"};
	w->rule[0].counter = 0;
	w->p = (struct plan){.table = "mailreeve", .own_table = true, .set = w->set, .nset = NSET,
	    .counter = &w->counter, .ncounter = 1,
	    .chain = w->chain, .nchain = 2, .policy = "p", .point = "q"};
	plan_seal(&w->p);
}

static struct world *
world_new(void)
{
	struct world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	w->a = arena_new();
	for (uint32_t i = 0; i < NSET; i++)
		random_set(w, i);
	link_up(w);
	return w;
}

/* Another plan: other addresses of both families, or other ports: no packet looks into more
 * than one set that changes. */
static struct world *
world_beside(const struct world *from)
{
	struct world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	*w = *from;
	w->a = arena_new();
	if (pick(3)) {
		random_set(w, 0);
		if (pick(2))
			random_set(w, 1);
	} else {
		random_set(w, 2);
	}
	link_up(w);
	return w;
}

static void
world_end(struct world *w)
{
	arena_free(w->a);
	free(w);
}

/* ---- the kernel ------------------------------------------------------------------------ */

static struct nl_talk *
fresh(void)
{
	struct nl_talk *t;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(nl_talk_open(&t), 0);
	return t;
}

static struct nl_dump
look(struct nl_talk *t, struct arena *a, unsigned what)
{
	struct nl_dump d;

	assert_int_equal(nl_talk_dump(t, a, INET, "mailreeve", what, TRIES, &d), 0);
	return d;
}

static int
send_one(struct nl_talk *t, struct nl_job *j,
    int (*build)(const struct nl_job *, struct nl_batch *, const char **))
{
	const char *who;
	struct nl_batch b;
	int err = build(j, &b, &who);

	if (err)
		return err;
	if (b.changes)
		err = nl_talk_send(t, &b, NULL);
	if (!err)
		j->genid = nl_gen_after(j->genid, &b);
	nl_batch_free(&b);
	return err;
}

/* Stage, swap, sweep under the names in force. */
static int
apply(struct nl_talk *t, const struct plan *p, struct nl_salt salt, bool sweep)
{
	struct arena *a = arena_new();
	struct nl_dump d = look(t, a, NL_DUMP_RULES);
	struct nl_job j = {.a = a, .seq = 1, .have = &d, .genid = d.genid,
	    .most = nl_talk_most(t)};
	struct nl_form *f;
	const char *who;
	int err;

	assert_int_equal(nl_form_as(a, p, NULL, salt, &d, &f, &who), 0);
	j.form = f;
	err = send_one(t, &j, nl_stage);
	if (!err)
		err = send_one(t, &j, nl_swap);
	if (!err && sweep) {
		d = look(t, a, NL_DUMP_RULES);
		j.genid = d.genid;
		err = send_one(t, &j, nl_sweep);
	}
	arena_free(a);
	return err;
}

/* From one plan to another in place. */
static int
edit(struct nl_talk *t, const struct plan *old, const struct plan *p, const char **who)
{
	struct arena *a = arena_new();
	struct nl_dump d = look(t, a, NL_DUMP_RULES);
	struct nl_job j = {.a = a, .seq = 1, .have = &d, .in_place = true};
	uint8_t digest[NL_DIGEST];
	struct nl_form *from, *to;
	struct nl_salt salt = {0};
	struct nl_faults *f = calloc(1, sizeof *f);
	struct nl_batch b;
	int err;

	assert_non_null(f);
	nl_stamp(&d, "mailreeve", digest, &salt);
	assert_int_equal(nl_form_as(a, old, NULL, salt, &d, &from, who), 0);
	assert_int_equal(nl_form_over(a, p, NULL, from, &to, who), 0);
	j.old = from;
	j.form = to;
	err = nl_edit(&j, &b, who);
	if (!err) {
		assert_null(b.next);
		if (b.changes)
			err = nl_talk_send(t, &b, f);
		for (size_t i = 0; i < f->n && err != -ERESTART; i++)
			print_message("%s: %s\n", nl_item_text(a, f->v[i].item),
			    strerror(-f->v[i].err));
		nl_batch_free(&b);
	}
	free(f);
	arena_free(a);
	return err;
}

static bool
in_force(struct nl_talk *t, const struct plan *p, bool as_held)
{
	struct arena *a = arena_new();
	struct nl_dump d = look(t, a, NL_DUMP_RULES);
	uint8_t digest[NL_DIGEST];
	struct nl_salt salt = {0};
	struct nl_form *f;
	const char *who;
	bool yes;

	nl_stamp(&d, "mailreeve", digest, &salt);
	assert_int_equal(nl_form_as(a, p, NULL, salt, as_held ? &d : NULL, &f, &who), 0);
	yes = nl_in_force(f, &d);
	arena_free(a);
	return yes;
}

/* ---- what a set must hold --------------------------------------------------------------- */

struct boundary {
	uint8_t key[MOST_KEY];
	bool end;
};

static int
by_key(const void *a, const void *b)
{
	const struct boundary *x = a, *y = b;
	int c = memcmp(x->key, y->key, MOST_KEY);

	return c ? c : y->end - x->end;
}

static struct boundary
boundary(u128 x, uint32_t len, bool end)
{
	struct boundary b = {.end = end};

	for (uint32_t i = 0; i < len; i++)
		b.key[i] = (uint8_t)(x >> (8 * (len - 1 - i)));
	return b;
}

static size_t
wanted(const struct plan_set *s, struct boundary *out)
{
	uint32_t len = plan_key_len(s->key);
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		u128 lo = s->key == PLAN_KEY_IPV4 ? s->v4[i].lo :
		    s->key == PLAN_KEY_IPV6 ? s->v6[i].lo : s->port[i].lo;
		u128 hi = s->key == PLAN_KEY_IPV4 ? s->v4[i].hi :
		    s->key == PLAN_KEY_IPV6 ? s->v6[i].hi : s->port[i].hi;

		out[n++] = boundary(lo, len, false);
		if (hi != last_of(s->key))
			out[n++] = boundary(hi + 1, len, true);
	}
	qsort(out, n, sizeof *out, by_key);
	return n;
}

static size_t
held(const struct nl_set *s, struct boundary *out)
{
	assert_true(s->nelem <= 2 * MOST);
	if (s->nelem == 0)
		return 0;
	for (uint32_t i = 0; i < s->nelem; i++) {
		out[i] = (struct boundary){.end = s->elem[i].end};
		memcpy(out[i].key, s->elem[i].key, s->key_len);
	}
	qsort(out, s->nelem, sizeof *out, by_key);
	return s->nelem;
}

/* The chain that the entry jumps to, and the sets that its rules look into, hold what the
 * plan says: by following the rules as a packet does, names and digests not believed. */
static void
enforced(struct nl_talk *t, const struct plan *p)
{
	struct arena *a = arena_new();
	struct nl_dump d = look(t, a, NL_DUMP_ALL);
	const char *judge = NULL;
	unsigned seen = 0;

	for (uint32_t i = 0; i < d.nrule; i++)
		for (uint32_t k = 0; k < d.rule[i].nexpr; k++)
			if (!strcmp(d.rule[i].chain, "forward") &&
			    d.rule[i].expr[k].kind == NL_IMMEDIATE)
				judge = d.rule[i].expr[k].u.immediate.verdict.chain;
	assert_non_null(judge);
	for (uint32_t i = 0; i < d.nrule; i++)
		for (uint32_t k = 0; k < d.rule[i].nexpr; k++) {
			const struct nl_expr *e = &d.rule[i].expr[k];
			struct boundary want[2 * MOST], have[2 * MOST];
			const struct nl_set *s;
			size_t n;

			if (strcmp(d.rule[i].chain, judge) != 0 || e->kind != NL_LOOKUP)
				continue;
			s = nl_dump_set(&d, INET, "mailreeve", e->u.lookup.set);
			assert_non_null(s);
			assert_true(seen < NSET);
			n = wanted(&p->set[seen], want);
			assert_int_equal(s->key_len, plan_key_len(p->set[seen].key));
			assert_int_equal(held(s, have), n);
			assert_memory_equal(have, want, n * sizeof *want);
			seen++;
		}
	assert_int_equal(seen, NSET);
	arena_free(a);
}

/* Two namespaces hold the same elements in sets of the same base names. */
static void
alike(struct nl_talk *t, struct nl_talk *u)
{
	struct arena *a = arena_new();
	struct nl_dump d[2] = {look(t, a, NL_DUMP_ALL), look(u, a, NL_DUMP_ALL)};

	assert_int_equal(d[0].nset, NSET);
	assert_int_equal(d[1].nset, NSET);
	assert_int_equal(d[0].nrule, d[1].nrule);
	for (uint32_t i = 0; i < NSET; i++) {
		struct boundary x[2 * MOST], y[2 * MOST];
		size_t n = held(&d[0].set[i], x);

		assert_int_equal(held(&d[1].set[i], y), n);
		assert_memory_equal(x, y, n * sizeof *x);
		assert_int_equal(d[0].set[i].count, d[1].set[i].count);
	}
	arena_free(a);
}

static uint32_t
edited_counters(struct nl_talk *t)
{
	struct arena *a = arena_new();
	struct nl_dump d = look(t, a, NL_DUMP_RULES);
	uint32_t n = 0;

	for (uint32_t i = 0; i < d.nobject; i++)
		n += !strncmp(d.object[i].name, NL_EDITED, strlen(NL_EDITED));
	arena_free(a);
	return n;
}

/* ---- one after another ---------------------------------------------------------------------- */

static void
edited_sets_hold_what_a_fresh_load_holds(void **unused)
{
	struct world *w = world_new();
	const char *who = "";

	(void)unused;
	for (int i = 0; i < rounds; i++) {
		struct nl_talk *t = fresh(), *u = fresh();
		struct world *next = world_beside(w), *third;
		int err;

		assert_int_equal(apply(t, &w->p, (struct nl_salt){0}, true), 0);
		for (int k = 0; k < 4; k++) {
			err = edit(t, &w->p, &next->p, &who);
			if (err)
				print_message("round %d: %s\n", i, who);
			assert_int_equal(err, 0);
			enforced(t, &next->p);
			assert_true(in_force(t, &next->p, true));
			third = world_beside(next);
			world_end(w);
			w = next;
			next = third;
		}
		assert_int_equal(apply(u, &w->p, (struct nl_salt){0}, true), 0);
		alike(t, u);
		world_end(next);
		nl_talk_close(t);
		nl_talk_close(u);
	}
	world_end(w);
}

static void
an_edited_set_is_never_taken_for_its_old_content(void **unused)
{
	struct nl_talk *t = fresh();
	struct world *a = world_new(), *b = world_beside(a);
	struct nl_salt none = {0};
	const char *who = "";

	(void)unused;
	while (!memcmp(a->p.digest, b->p.digest, PLAN_DIGEST)) {
		world_end(b);
		b = world_beside(a);
	}
	/* there and back: as if it had never been */
	assert_int_equal(apply(t, &a->p, none, true), 0);
	assert_int_equal(edit(t, &a->p, &b->p, &who), 0);
	assert_true(edited_counters(t) > 0);
	assert_int_equal(edit(t, &b->p, &a->p, &who), 0);
	assert_int_equal(edited_counters(t), 0);
	assert_true(in_force(t, &a->p, false));
	enforced(t, &a->p);
	/* whoever comes now knows of nothing: names as if by content are refused ... */
	assert_int_equal(edit(t, &a->p, &b->p, &who), 0);
	assert_false(in_force(t, &a->p, false));
	assert_false(in_force(t, &a->p, true));
	assert_false(in_force(t, &b->p, false));
	assert_true(in_force(t, &b->p, true));
	{
		struct arena *m = arena_new();
		struct nl_dump d = look(t, m, NL_DUMP_RULES);
		struct nl_job j = {.a = m, .seq = 1, .have = &d, .genid = d.genid};
		struct nl_form *f;
		struct nl_batch batch;

		assert_int_equal(nl_form(m, &a->p, NULL, none, &f, &who), 0);
		j.form = f;
		assert_int_equal(nl_stage(&j, &batch, &who), -EEXIST);
		arena_free(m);
	}
	/* ... and under the names in force the old plan gets sets of its own */
	assert_int_equal(apply(t, &a->p, none, false), 0);
	enforced(t, &a->p);
	assert_true(in_force(t, &a->p, true));
	assert_int_equal(apply(t, &b->p, none, false), 0); /* the edited sets are there still */
	enforced(t, &b->p);
	assert_int_equal(apply(t, &a->p, none, true), 0);
	enforced(t, &a->p);
	assert_true(in_force(t, &a->p, true));
	assert_int_equal(edited_counters(t), 0);
	/* a change of what bears a later name of its content */
	assert_int_equal(edit(t, &a->p, &b->p, &who), 0);
	enforced(t, &b->p);
	assert_int_equal(apply(t, &a->p, (struct nl_salt){1, 1}, true), 0);
	enforced(t, &a->p);
	nl_talk_close(t);
	world_end(a);
	world_end(b);
}

static void
counters_alone_are_dumped_for_metrics(void **unused)
{
	struct nl_talk *t = fresh();
	struct world *w = world_new(), *x = world_beside(w);
	struct arena *a = arena_new();
	const char *who;
	struct nl_dump d;

	(void)unused;
	assert_int_equal(nl_talk_counters(t, a, "mailreeve", &d), 0);
	assert_int_equal(d.nobject, 0);
	assert_int_equal(apply(t, &w->p, (struct nl_salt){0}, true), 0);
	assert_int_equal(edit(t, &w->p, &x->p, &who), 0);
	assert_int_equal(nl_talk_counters(t, a, "mailreeve", &d), 0);
	assert_int_equal(d.nobject, 1);
	assert_string_equal(d.object[0].name, "dropped");
	assert_int_equal(d.object[0].packets, 0);
	assert_int_equal(d.nset + d.nchain + d.nrule, 0);
	arena_free(a);
	world_end(w);
	world_end(x);
	nl_talk_close(t);
}

/* Deletes a counter as somebody else would. */
static void
delete_counter(struct nl_talk *t, const char *name)
{
	struct nl_item item[2] = {{.what = NL_THE_BATCH, .name = "x"}, {.what = NL_A_COUNTER, .name = "x"}};
	struct nl_batch b = {.bytes = BUF_INIT(4096), .seq = 1, .item = item, .nitem = 2,
	    .changes = 1};
	size_t at = wire_msg(&b.bytes, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, 1, 0,
	    NFNL_SUBSYS_NFTABLES);

	wire_msg_end(&b.bytes, at);
	at = wire_msg(&b.bytes, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELOBJ,
	    NLM_F_REQUEST | NLM_F_ACK, 2, INET, 0);
	wire_str(&b.bytes, NFTA_OBJ_TABLE, "mailreeve");
	wire_str(&b.bytes, NFTA_OBJ_NAME, name);
	wire_u32(&b.bytes, NFTA_OBJ_TYPE, 1);
	wire_msg_end(&b.bytes, at);
	at = wire_msg(&b.bytes, NFNL_MSG_BATCH_END, NLM_F_REQUEST, 3, 0, NFNL_SUBSYS_NFTABLES);
	wire_msg_end(&b.bytes, at);
	assert_int_equal(nl_talk_send(t, &b, NULL), 0);
	buf_free(&b.bytes);
}

static void
without_its_counter_no_set_is_believed(void **unused)
{
	struct nl_talk *t = fresh();
	struct world *a = world_new(), *b = world_beside(a);
	struct arena *m = arena_new();
	struct nl_salt none = {0};
	const char *who = "", *name = NULL;
	struct nl_dump d;

	(void)unused;
	while (!memcmp(a->p.digest, b->p.digest, PLAN_DIGEST)) {
		world_end(b);
		b = world_beside(a);
	}
	for (int which = 0; which < 2; which++) {
		assert_int_equal(apply(t, &a->p, none, true), 0);
		assert_int_equal(edit(t, &a->p, &b->p, &who), 0);
		d = look(t, m, NL_DUMP_RULES);
		for (uint32_t i = 0; i < d.nobject; i++)
			if (!strncmp(d.object[i].name, NL_EDITED, strlen(NL_EDITED)))
				name = d.object[i].name;
		assert_non_null(name);
		assert_true(nl_edits_agree(&a->p, &d));
		delete_counter(t, which ? NL_STAMP : name);
		d = look(t, m, NL_DUMP_RULES);
		assert_false(nl_edits_agree(&a->p, &d));
		assert_false(in_force(t, &a->p, true));
		assert_false(in_force(t, &b->p, true));
		assert_int_equal(edit(t, &b->p, &a->p, &who), -EOPNOTSUPP);
		/* also when the sweep does not come: no later plan believes them */
		assert_int_equal(apply(t, &b->p, none, false), 0);
		enforced(t, &b->p);
		assert_int_equal(apply(t, &a->p, none, false), 0);
		enforced(t, &a->p);
		assert_int_equal(apply(t, &a->p, none, true), 0);
		enforced(t, &a->p);
		assert_true(in_force(t, &a->p, true));
		assert_int_equal(edited_counters(t), 0);
	}
	nl_talk_close(t);
	arena_free(m);
	world_end(a);
	world_end(b);
}

static void
what_cannot_be_done_in_place_is_refused(void **unused)
{
	struct nl_talk *t = fresh();
	struct world *w = world_new(), *x;
	struct nl_salt none = {0};
	const char *who = "";

	(void)unused;
	for (uint32_t i = 0; i < NSET; i++) { /* something to take away */
		w->set[i].n = 1;
		w->v4[0] = (struct addr_range4){1, 9};
		w->v6[0] = (struct addr_range6){1, 9};
		w->port[0] = (struct port_range){1, 9};
	}
	link_up(w);
	assert_int_equal(apply(t, &w->p, none, true), 0);

	x = world_beside(w);   /* addresses and ports: a packet would look twice */
	memcpy(x->set, w->set, sizeof x->set);
	x->v4[0] = (struct addr_range4){1, 8};
	x->port[0] = (struct port_range){1, 8};
	x->v6[0] = w->v6[0];
	link_up(x);
	assert_int_equal(edit(t, &w->p, &x->p, &who), -EOPNOTSUPP);
	assert_non_null(strstr(who, "more than once"));
	x->port[0] = w->port[0];
	x->match[1] = x->match[0];
	x->rule[0].match = x->match;
	x->rule[0].nmatch = 2; /* the same set twice */
	plan_seal(&x->p);
	assert_int_equal(apply(t, &x->p, none, true), 0);
	{
		struct world *y = calloc(1, sizeof *y);

		assert_non_null(y);
		*y = *x;
		y->a = arena_new();
		link_up(y);
		y->match[1] = y->match[0];
		y->rule[0].match = y->match;
		y->rule[0].nmatch = 2;
		y->v4[0].hi = 7;
		plan_seal(&y->p);
		assert_int_equal(edit(t, &x->p, &y->p, &who), -EOPNOTSUPP);
		assert_non_null(strstr(who, "more than once"));
		world_end(y);
	}
	link_up(x);
	x->rule[1].verdict.kind = PLAN_DO_ACCEPT;
	plan_seal(&x->p);
	assert_int_equal(apply(t, &w->p, none, true), 0);
	assert_int_equal(edit(t, &w->p, &x->p, &who), -EOPNOTSUPP);
	assert_non_null(strstr(who, "more than elements"));
	link_up(x);
	x->chain[1].priority = 5;
	plan_seal(&x->p);
	assert_int_equal(edit(t, &w->p, &x->p, &who), -EOPNOTSUPP);
	link_up(x);
	assert_int_equal(edit(t, &x->p, &w->p, &who), -EOPNOTSUPP); /* not what is in force */
	assert_non_null(strstr(who, "not in force"));
	assert_int_equal(edit(t, &w->p, &x->p, &who), 0);
	enforced(t, &x->p);
	world_end(x);
	world_end(w);
	nl_talk_close(t);
}

enum { MANY = 1000 };

static void
a_third_of_a_set_is_too_much(void **unused)
{
	struct nl_talk *t = fresh();
	struct world *w = world_new(), *x = world_beside(w);
	struct addr_range4 *v[2] = {calloc(MANY, sizeof **v), calloc(MANY, sizeof **v)};
	const char *who = "";

	(void)unused;
	assert_non_null(v[0]);
	assert_non_null(v[1]);
	for (uint32_t i = 0; i < MANY; i++)
		v[0][i] = v[1][i] = (struct addr_range4){i * 16, i * 16 + 8};
	memcpy(x->set, w->set, sizeof x->set);
	memcpy(x->v6, w->v6, sizeof x->v6);
	memcpy(x->port, w->port, sizeof x->port);
	for (int k = 0; k < 2; k++) {
		/* a change is one taken away and one put there */
		for (uint32_t i = 0; i < (k ? 160 : 140); i++)
			v[1][i * 6].hi = i * 96 + 9;
		w->set[0].n = x->set[0].n = 0;
		link_up(w);
		link_up(x);
		w->set[0].v4 = v[0];
		x->set[0].v4 = v[1];
		w->set[0].n = x->set[0].n = MANY;
		plan_seal(&w->p);
		plan_seal(&x->p);
		assert_int_equal(apply(t, &w->p, (struct nl_salt){0}, true), 0);
		assert_int_equal(edit(t, &w->p, &x->p, &who), k ? -EOPNOTSUPP : 0);
		assert_true(in_force(t, k ? &w->p : &x->p, true));
	}
	assert_non_null(strstr(who, "too much"));
	free(v[0]);
	free(v[1]);
	world_end(w);
	world_end(x);
	nl_talk_close(t);
}

static void
an_edit_at_another_generation_changes_nothing(void **unused)
{
	struct nl_talk *t = fresh();
	struct world *a = world_new(), *b = world_beside(a);
	struct arena *m = arena_new();
	struct nl_dump d;
	struct nl_job j = {.a = m, .seq = 1, .have = &d, .in_place = true};
	struct nl_form *from, *to;
	struct nl_batch batch;
	const char *who = "";
	uint32_t gen, after;

	(void)unused;
	while (!memcmp(a->p.digest, b->p.digest, PLAN_DIGEST)) {
		world_end(b);
		b = world_beside(a);
	}
	assert_int_equal(apply(t, &a->p, (struct nl_salt){0}, true), 0);
	d = look(t, m, NL_DUMP_RULES);
	assert_int_equal(nl_form_as(m, &a->p, NULL, (struct nl_salt){0}, &d, &from, &who), 0);
	assert_int_equal(nl_form_over(m, &b->p, NULL, from, &to, &who), 0);
	j.old = from;
	j.form = to;
	assert_int_equal(nl_edit(&j, &batch, &who), 0);
	/* somebody puts the same plan over itself */
	assert_int_equal(apply(t, &a->p, (struct nl_salt){3, 3}, true), 0);
	assert_int_equal(nl_talk_gen(t, &gen), 0);
	assert_int_equal(nl_talk_send(t, &batch, NULL), -ERESTART);
	assert_int_equal(nl_talk_gen(t, &after), 0);
	assert_int_equal(gen, after);
	enforced(t, &a->p);
	nl_batch_free(&batch);
	arena_free(m);
	world_end(a);
	world_end(b);
	nl_talk_close(t);
}

/* ---- at the same time, and cut off -------------------------------------------------------------- */

/* Plan number n: nobody has to remember it. */
static struct world *
numbered(uint32_t n)
{
	struct world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	w->a = arena_new();
	w->v4[0] = (struct addr_range4){0, n};
	w->v4[1] = (struct addr_range4){n + 1, n + 5};
	w->v4[2] = (struct addr_range4){UINT32_MAX - n, UINT32_MAX};
	w->set[0].n = 3;
	link_up(w);
	memcpy(w->p.digest, &n, sizeof n);
	return w;
}

static atomic_int restarts;

static void *
count_up(void *arg)
{
	struct nl_talk *t;

	(void)arg;
	assert_int_equal(nl_talk_open(&t), 0);
	for (int i = 0; i < rounds; ) {
		struct arena *a = arena_new();
		struct nl_dump d = look(t, a, NL_DUMP_RULES);
		uint8_t digest[NL_DIGEST];
		struct world *w, *x;
		struct nl_salt salt;
		const char *who = "";
		uint32_t n;
		int err;

		assert_int_equal(nl_stamp(&d, "mailreeve", digest, &salt), 0);
		memcpy(&n, digest, sizeof n);
		w = numbered(n);
		x = numbered(n + 1);
		err = edit(t, &w->p, &x->p, &who);
		if (err == -ERESTART || err == -EOPNOTSUPP)
			restarts++;
		else
			assert_int_equal(err, 0);
		i += !err;
		world_end(w);
		world_end(x);
		arena_free(a);
	}
	nl_talk_close(t);
	return NULL;
}

static void
races_between_edits_lose_none(void **unused)
{
	struct nl_talk *t = fresh();
	struct world *w = numbered(0);
	pthread_t one, two;

	(void)unused;
	assert_int_equal(apply(t, &w->p, (struct nl_salt){0}, true), 0);
	world_end(w);
	assert_int_equal(pthread_create(&one, NULL, count_up, NULL), 0);
	assert_int_equal(pthread_create(&two, NULL, count_up, NULL), 0);
	pthread_join(one, NULL);
	pthread_join(two, NULL);
	w = numbered(2 * (uint32_t)rounds);
	print_message("%d edits, %d times somebody was quicker\n", 2 * rounds, restarts);
	assert_true(in_force(t, &w->p, true));
	enforced(t, &w->p);
	world_end(w);
	nl_talk_close(t);
}

enum { PLANS = 4 };

/* From whatever is in force to plan after plan, in place where that can be. */
static void
go_on(struct world *const plan[PLANS], uint32_t first)
{
	struct nl_talk *t;

	if (nl_talk_open(&t))
		_exit(2);
	for (uint32_t k = first; ; k++) {
		const struct plan *to = &plan[k % PLANS]->p;
		struct arena *a = arena_new();
		struct nl_dump d = look(t, a, NL_DUMP_RULES);
		uint8_t digest[NL_DIGEST];
		struct nl_salt salt;
		const char *who = "";
		int err = -EOPNOTSUPP;

		for (int i = 0; i < PLANS && k % 5 && !nl_stamp(&d, "mailreeve", digest, &salt); i++)
			if (!memcmp(digest, plan[i]->p.digest, sizeof digest))
				err = edit(t, &plan[i]->p, to, &who);
		if (err == -EOPNOTSUPP)
			err = apply(t, to, (struct nl_salt){k % 11 == 0, k % 13 == 0}, k % 3);
		if (err)
			_exit(3);
		arena_free(a);
	}
}

static void
kill_9_in_a_mixture_of_edits_and_stages_leaves_one_plan_whole(void **unused)
{
	struct nl_talk *t = fresh();
	struct world *plan[PLANS];
	int moved = 0, last = 0;

	(void)unused;
	plan[0] = world_new();
	for (int i = 1; i < PLANS; i++)
		plan[i] = world_beside(plan[i - 1]);
	assert_int_equal(apply(t, &plan[0]->p, (struct nl_salt){0}, true), 0);
	for (int i = 0; i < rounds; i++) {
		struct arena *a = arena_new();
		uint8_t digest[NL_DIGEST];
		struct nl_salt salt;
		struct nl_dump d;
		int status, now = -1;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			go_on(plan, (uint32_t)i);
		usleep((useconds_t)((unsigned)i * 7919 % 9000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		d = look(t, a, NL_DUMP_RULES);
		assert_int_equal(nl_stamp(&d, "mailreeve", digest, &salt), 0);
		for (int k = 0; k < PLANS; k++)
			if (!memcmp(digest, plan[k]->p.digest, sizeof digest))
				now = k;
		assert_true(now >= 0);
		enforced(t, &plan[now]->p);
		assert_true(in_force(t, &plan[now]->p, true));
		moved += now != last;
		last = now;
		arena_free(a);
	}
	print_message("%d kills, %d found another plan in force\n", rounds, moved);
	for (int i = 0; i < PLANS; i++)
		world_end(plan[i]);
	nl_talk_close(t);
}

/* ---- the probe ------------------------------------------------------------------------------- */

static uint32_t
tables(struct nl_talk *t)
{
	struct arena *a = arena_new();
	struct nl_dump d;
	uint32_t n;

	assert_int_equal(nl_talk_dump(t, a, 0, NULL, 0, TRIES, &d), 0);
	n = d.ntable;
	arena_free(a);
	return n;
}

static void
a_probe_tells_what_is_so_and_leaves_nothing(void **unused)
{
	struct nl_talk *t = fresh();
	struct world *w = world_new();
	struct arena *a = arena_new();
	struct buf b = BUF_INIT(4096);
	struct nl_probe p;
	struct nl_dump d;
	int lines = 0, err;

	(void)unused;
	assert_int_equal(nl_probe(&p), 0);
	assert_int_equal(tables(t), 0);
	nl_probe_text(&b, &p);
	print_message("%.*s", (int)b.n, b.p);
	for (size_t i = 0; i < b.n; i++)
		lines += b.p[i] == '\n';
	assert_int_equal(lines, 6);
	buf_free(&b);
	/* the same by using it */
	err = apply(t, &w->p, (struct nl_salt){0}, true);
	assert_int_equal(err, 0);
	d = look(t, a, NL_DUMP_RULES);
	assert_int_equal(p.set_count, d.set[0].count == UINT32_MAX ? NL_HAS_NOT : NL_HAS);
	assert_true(p.owner != NL_NOT_KNOWN && p.persist != NL_NOT_KNOWN);
	assert_true(p.persist == NL_HAS_NOT || p.owner == NL_HAS);
	assert_int_equal(nl_probe(&p), 0); /* beside tables that are there */
	assert_int_equal(tables(t), 1);
	enforced(t, &w->p);
	arena_free(a);
	world_end(w);
	nl_talk_close(t);
}

enum { LOOKS = 2000 };

static void
a_probe_killed_at_any_point_leaves_nothing(void **unused)
{
	struct nl_talk *t = fresh();
	struct nl_probe p;
	int cut = 0;

	(void)unused;
	assert_int_equal(nl_probe(&p), 0);
	for (int i = 0; i < rounds && p.owner == NL_HAS; i++) {
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			for (;;)
				if (nl_probe(&p))
					_exit(1);
		/* at some time, or just when its table is seen */
		if (i % 2)
			usleep((useconds_t)((unsigned)i * 7919 % 4000));
		for (int k = 0; k < LOOKS && i % 2 == 0; k++) {
			struct arena *a = arena_new();
			struct nl_dump d;
			bool there = !nl_talk_dump(t, a, 0, NULL, 0, 1, &d) && d.ntable;

			arena_free(a);
			if (there) {
				cut++;
				break;
			}
		}
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(tables(t), 0);
	}
	print_message("%d kills, %d of them when its table was seen\n", rounds, cut);
	nl_talk_close(t);
}

static void
a_probe_without_the_right_says_so(void **unused)
{
	int status;
	pid_t pid = fork();

	(void)unused;
	assert_true(pid >= 0);
	if (pid == 0) {
		struct nl_probe p;

		/* a user namespace within: this network namespace is not its own */
		_exit(unshare(CLONE_NEWUSER) ? 2 : nl_probe(&p) == -EPERM ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edited_sets_hold_what_a_fresh_load_holds),
		cmocka_unit_test(an_edited_set_is_never_taken_for_its_old_content),
		cmocka_unit_test(without_its_counter_no_set_is_believed),
		cmocka_unit_test(counters_alone_are_dumped_for_metrics),
		cmocka_unit_test(what_cannot_be_done_in_place_is_refused),
		cmocka_unit_test(a_third_of_a_set_is_too_much),
		cmocka_unit_test(an_edit_at_another_generation_changes_nothing),
		cmocka_unit_test(races_between_edits_lose_none),
		cmocka_unit_test(kill_9_in_a_mixture_of_edits_and_stages_leaves_one_plan_whole),
		cmocka_unit_test(a_probe_tells_what_is_so_and_leaves_nothing),
		cmocka_unit_test(a_probe_killed_at_any_point_leaves_nothing),
		cmocka_unit_test(a_probe_without_the_right_says_so),
	};
	const char *r = getenv("ROUNDS"), *s = getenv("SEED");

	if (r)
		rounds = (int)strtol(r, NULL, 10);
	state = s ? strtoull(s, NULL, 10) : (uint64_t)time(NULL);
	print_message("seed %llu\n", (unsigned long long)state);
	state = state * 2 + 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
