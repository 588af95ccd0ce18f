#include "nl/block.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "nl/dump.h"
#include "nl/expr.h"
#include "nl/put.h"
#include "nl/wire.h"

enum {
	PRIORITY = -150,           /* before dstnat, behind connection tracking */
	MOST_RULE = 4096,
	MOST_NEST = 60000,
	RULES = 4,                 /* of each chain */
	CHAINS = 3,
	IPV4_TYPE = 7, IPV6_TYPE = 8, /* for nft's listing */
	COMMENT_TAG = 0,
	NETWORK_ORDER = 2,
	DORMANT = 1,               /* NFT_TABLE_F_DORMANT */
};

enum { SET_PORTS, SET_V4, SET_V6, NSET };

static const char comment[] = "blocked for a time by mailreeve";
static const char *const set_name[NSET] = {NULL, "block4", "block6"};
static const char *const chain_name[CHAINS] = {"input", "forward", "output"};
static const enum packet_hook chain_hook[CHAINS] = {PACKET_INPUT, PACKET_FORWARD, PACKET_OUTPUT};

/* The table as a plan, and its form under plain names. */
struct model {
	struct plan p;
	struct nl_form f;
	struct plan_set set[NSET];
	struct nl_set_form set_form[NSET];
	struct plan_counter counter;
	struct plan_chain chain[CHAINS];
	struct nl_chain_form chain_form[CHAINS];
	struct plan_rule rule[RULES];
	struct plan_match match[RULES][2];
	struct nl_rule_form rule_form[RULES];
};

static int
form_rules(struct arena *a, struct model *m)
{
	struct expr_out o = {.b = BUF_INIT(MOST_RULE), .form = &m->f};
	struct buf tag = BUF_INIT(256);
	int err = 0;

	wire_tag(&tag, COMMENT_TAG, comment, sizeof comment);
	for (uint32_t k = 0; k < RULES && !err; k++) {
		struct nl_rule_form *f = &m->rule_form[k];

		o.b.n = 0;
		o.nanon = 0;
		expr_rule(&o, &m->rule[k]);
		err = o.err ? o.err : o.b.err ? o.b.err : tag.err;
		if (err)
			break;
		f->bytes = memcpy(arena_alloc(a, o.b.n), o.b.p, o.b.n);
		f->n = (uint32_t)o.b.n;
		f->anon = memcpy(arena_alloc(a, sizeof o.anon), o.anon, sizeof o.anon);
		f->nanon = o.nanon;
		f->udata = memcpy(arena_alloc(a, tag.n), tag.p, tag.n);
		f->nudata = (uint32_t)tag.n;
	}
	buf_free(&o.b);
	buf_free(&tag);
	return err;
}

static int
model(struct arena *a, struct model *m)
{
	static const struct port_range port[] = {
		{25, 25}, {110, 110}, {143, 143}, {465, 465}, {587, 587}, {993, 993}, {995, 995},
	};
	static const enum plan_field field[RULES] = {
		PLAN_SADDR4, PLAN_DADDR4, PLAN_SADDR6, PLAN_DADDR6,
	};

	m->p = (struct plan){.table = NL_BLOCK_TABLE, .own_table = true, .counter = &m->counter,
	    .ncounter = 1, .set = m->set, .nset = NSET, .chain = m->chain, .nchain = CHAINS};
	m->f = (struct nl_form){.plan = &m->p, .set = m->set_form, .chain = m->chain_form};
	m->counter.name = "blocked";
	m->set[SET_PORTS] = (struct plan_set){.key = PLAN_KEY_PORT, .port = port,
	    .n = sizeof port / sizeof *port};
	m->set[SET_V4] = (struct plan_set){.name = set_name[SET_V4], .key = PLAN_KEY_IPV4,
	    .interval = true};
	m->set[SET_V6] = (struct plan_set){.name = set_name[SET_V6], .key = PLAN_KEY_IPV6,
	    .interval = true};
	for (int i = 0; i < NSET; i++)
		m->set_form[i].name = set_name[i];
	for (int k = 0; k < RULES; k++) {
		m->match[k][0] = (struct plan_match){.field = field[k],
		    .set = k < 2 ? SET_V4 : SET_V6};
		m->match[k][1] = (struct plan_match){.field = PLAN_DPORT, .set = SET_PORTS};
		m->rule[k] = (struct plan_rule){.match = m->match[k], .nmatch = 2,
		    .limit.meter = PLAN_NONE, .vmap = PLAN_NONE, .counter = 0,
		    .verdict = {PLAN_DO_REJECT, PLAN_NONE}, .stmt = PLAN_NONE,
		    .at = TEXT_NO_SPAN, .comment = comment};
	}
	for (int c = 0; c < CHAINS; c++) {
		m->chain[c] = (struct plan_chain){.name = chain_name[c], .entry = true,
		    .base = true, .hook = chain_hook[c], .priority = PRIORITY, .rule = m->rule,
		    .nrule = RULES};
		m->chain_form[c] = (struct nl_chain_form){.name = chain_name[c],
		    .rule = m->rule_form};
	}
	return form_rules(a, m);
}

/* ---- sets ------------------------------------------------------------------------------ */

static struct nl_item
set_item(enum nl_what what, int set)
{
	return (struct nl_item){.what = what, .name = set_name[set]};
}

static void
put_timed_set(struct put *o, int set)
{
	static const uint32_t order = NETWORK_ORDER;
	struct buf *b = &o->b->bytes, tag = BUF_INIT(64);
	size_t at = put_begin(o, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL,
	    set_item(NL_A_SET, set));

	wire_str(b, NFTA_SET_TABLE, NL_BLOCK_TABLE);
	wire_str(b, NFTA_SET_NAME, set_name[set]);
	wire_u32(b, NFTA_SET_FLAGS, NFT_SET_INTERVAL | NFT_SET_TIMEOUT);
	wire_u32(b, NFTA_SET_KEY_TYPE, set == SET_V4 ? IPV4_TYPE : IPV6_TYPE);
	wire_u32(b, NFTA_SET_KEY_LEN, set == SET_V4 ? 4 : 16);
	wire_u32(b, NFTA_SET_ID, ++o->set_id);
	wire_tag(&tag, 0, &order, sizeof order);
	wire_put(b, NFTA_SET_USERDATA, tag.p, tag.n);
	wire_msg_end(b, at);
	if (tag.err && !o->err)
		o->err = tag.err;
	buf_free(&tag);
	o->first->changes++;
}

static void
put_empty(struct put *o, int set)
{
	struct buf *b = &o->b->bytes;
	struct nl_item item = set_item(NL_AN_ELEMENT, set);
	size_t at;

	item.del = true;
	at = put_begin(o, NFT_MSG_DELSETELEM, 0, item);
	wire_str(b, NFTA_SET_ELEM_LIST_TABLE, NL_BLOCK_TABLE);
	wire_str(b, NFTA_SET_ELEM_LIST_SET, set_name[set]);
	wire_msg_end(b, at);
	o->first->changes++;
}

static void
put_key(struct buf *b, bool v6, u128 x, uint32_t flags, uint64_t ms)
{
	size_t elem = wire_nest(b, NFTA_LIST_ELEM), at = wire_nest(b, NFTA_SET_ELEM_KEY);
	uint8_t key[16];

	u128_to_be(v6 ? x : x << 96, key);
	wire_put(b, NFTA_DATA_VALUE, key, v6 ? 16 : 4);
	wire_end(b, at);
	if (flags)
		wire_u32(b, NFTA_SET_ELEM_FLAGS, flags);
	if (ms)
		wire_u64(b, NFTA_SET_ELEM_TIMEOUT, ms);
	wire_end(b, elem);
}

static int
by_place(const void *a, const void *b)
{
	const u128 *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Ranges without overlap, the longest time of each place. */
static uint32_t
disjoint(struct arena *a, const struct nl_blocked *v, uint32_t n, bool v6,
    struct nl_blocked **out)
{
	const u128 top = v6 ? U128_MAX : UINT32_MAX;
	u128 *cut = arena_array(a, 2 * (size_t)n + 1, u128);
	uint32_t ncut = 0, m = 0;

	*out = arena_array(a, 2 * (size_t)n + 1, struct nl_blocked);
	for (uint32_t i = 0; i < n; i++)
		if (v[i].range.v6 == v6 && v[i].ms) {
			cut[ncut++] = v[i].range.lo;
			if (v[i].range.hi != top)
				cut[ncut++] = v[i].range.hi + 1;
		}
	qsort(cut, ncut, sizeof *cut, by_place);
	for (uint32_t i = 0; i < ncut; i++) {
		struct nl_blocked *last = m ? &(*out)[m - 1] : NULL;
		u128 hi = i + 1 < ncut ? cut[i + 1] - 1 : top;
		uint64_t ms = 0;

		if (i + 1 < ncut && cut[i + 1] == cut[i])
			continue;
		for (uint32_t k = 0; k < n; k++)
			if (v[k].range.v6 == v6 && v[k].range.lo <= cut[i] && cut[i] <= v[k].range.hi &&
			    v[k].ms > ms)
				ms = v[k].ms;
		if (!ms)
			continue;
		if (last && last->ms == ms && last->range.hi + 1 == cut[i])
			last->range.hi = hi;
		else
			(*out)[m++] = (struct nl_blocked){{v6, cut[i], hi}, ms};
	}
	return m;
}

static void
put_ranges(struct put *o, const struct nl_blocked *v, uint32_t n, int set)
{
	bool v6 = set == SET_V6;
	const u128 top = v6 ? U128_MAX : UINT32_MAX;
	struct buf *b = &o->b->bytes;
	struct nl_blocked *r;
	uint32_t m = disjoint(o->j->a, v, n, v6, &r);
	size_t at, list;

	for (uint32_t i = 0; i < m && !b->err;) {
		at = put_begin(o, NFT_MSG_NEWSETELEM, NLM_F_CREATE, set_item(NL_AN_ELEMENT, set));
		wire_str(b, NFTA_SET_ELEM_LIST_TABLE, NL_BLOCK_TABLE);
		wire_str(b, NFTA_SET_ELEM_LIST_SET, set_name[set]);
		list = wire_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
		for (; i < m && b->n - list < MOST_NEST && !b->err; i++) {
			put_key(b, v6, r[i].range.lo, 0, r[i].ms);
			if (r[i].range.hi != top)
				put_key(b, v6, r[i].range.hi + 1, NFT_SET_ELEM_INTERVAL_END, 0);
		}
		wire_end(b, list);
		wire_msg_end(b, at);
		o->first->changes++;
	}
}

/* ---- batches ----------------------------------------------------------------------------- */

static void
put_delete_table(struct put *o)
{
	size_t at = put_begin(o, NFT_MSG_DELTABLE, 0,
	    (struct nl_item){.what = NL_A_TABLE, .del = true, .name = NL_BLOCK_TABLE});

	wire_str(&o->b->bytes, NFTA_TABLE_NAME, NL_BLOCK_TABLE);
	wire_msg_end(&o->b->bytes, at);
	o->first->changes++;
}

int
nl_block(struct arena *a, const struct nl_blocked *v, uint32_t n, const struct nl_block_job *how,
    struct nl_batch *out)
{
	struct model *m = arena_of(a, struct model);
	struct nl_job j = {.a = a, .form = &m->f, .genid = how->genid, .seq = 1,
	    .table_flags = how->flags};
	struct put o;
	int err = model(a, m);

	if (err)
		return err;
	o = put_start(&j, out);
	if (how->fresh && how->there)
		put_delete_table(&o);
	/* an orphan is adopted by that */
	put_table(&o);
	if (how->fresh) {
		put_timed_set(&o, SET_V4);
		put_timed_set(&o, SET_V6);
		put_counter(&o, m->counter.name, NULL);
		for (uint32_t c = 0; c < CHAINS; c++) {
			put_chain(&o, c);
			put_rules(&o, c);
		}
	} else {
		put_empty(&o, SET_V4);
		put_empty(&o, SET_V6);
	}
	put_ranges(&o, v, n, SET_V4);
	put_ranges(&o, v, n, SET_V6);
	return put_end(&o, NULL);
}

int
nl_block_remove(struct arena *a, uint32_t genid, struct nl_batch *out)
{
	struct plan p = {.table = NL_BLOCK_TABLE, .own_table = true};
	struct nl_form f = {.plan = &p};
	struct nl_job j = {.a = a, .form = &f, .genid = genid, .seq = 1};
	struct put o = put_start(&j, out);

	put_delete_table(&o);
	return put_end(&o, NULL);
}

/* ---- reading ----------------------------------------------------------------------------- */

bool
nl_block_whole(const struct nl_dump *d)
{
	const struct nl_table *t = nl_dump_table(d, NFPROTO_INET, NL_BLOCK_TABLE);
	uint32_t rules[CHAINS] = {0};

	if (!t || t->flags & DORMANT)
		return false;
	for (int i = SET_V4; i < NSET; i++)
		if (!nl_dump_set(d, NFPROTO_INET, NL_BLOCK_TABLE, set_name[i]))
			return false;
	for (uint32_t i = 0; i < d->nrule; i++)
		for (int c = 0; c < CHAINS; c++)
			rules[c] += d->rule[i].family == NFPROTO_INET &&
			    !strcmp(d->rule[i].table, NL_BLOCK_TABLE) &&
			    !strcmp(d->rule[i].chain, chain_name[c]) &&
			    d->rule[i].comment && !strcmp(d->rule[i].comment, comment);
	for (int c = 0; c < CHAINS; c++) {
		const struct nl_chain *x = nl_dump_chain(d, NFPROTO_INET, NL_BLOCK_TABLE,
		    chain_name[c]);

		if (!x || !x->base || x->policy != NF_ACCEPT || x->priority != PRIORITY ||
		    rules[c] != RULES)
			return false;
	}
	return true;
}

struct boundary {
	u128 at;
	bool end;
	uint64_t ms;
};

/* An end before a start at the same place. */
static int
by_boundary(const void *a, const void *b)
{
	const struct boundary *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at ? 1 : (int)y->end - (int)x->end;
}

/* Those without an end too, where `ever` is set: as long as can be. */
static struct nl_blocked *
read_ranges(struct arena *a, const struct nl_dump *d, bool ever, uint32_t *n)
{
	struct nl_blocked *out = NULL;
	size_t cap = 0;

	*n = 0;
	for (int set = SET_V4; set < NSET; set++) {
		const struct nl_set *s = nl_dump_set(d, NFPROTO_INET, NL_BLOCK_TABLE, set_name[set]);
		bool v6 = set == SET_V6;
		struct boundary *b;
		uint32_t m = 0;

		if (!s || s->key_len != (v6 ? 16 : 4) || !s->nelem)
			continue;
		b = arena_array(a, s->nelem, struct boundary);
		for (uint32_t i = 0; i < s->nelem; i++) {
			const struct nl_elem *e = &s->elem[i];
			uint8_t key[16] = {0};

			if (!e->key)
				continue;
			memcpy(key + (v6 ? 0 : 12), e->key, s->key_len);
			b[m++] = (struct boundary){u128_from_be(key), e->end,
			    e->more && e->more->expires ? e->more->expires :
			    ever && !e->end ? UINT64_MAX : 0};
		}
		qsort(b, m, sizeof *b, by_boundary);
		for (uint32_t i = 0; i < m; i++) {
			bool closed = i + 1 < m && b[i + 1].end;
			struct nl_blocked *x;

			if (b[i].end || !b[i].ms || (!closed && i + 1 < m))
				continue;
			x = &ARENA_PUSH(a, out, *n, cap);
			*x = (struct nl_blocked){{v6, b[i].at, closed ? b[i + 1].at - 1 :
			    v6 ? U128_MAX : UINT32_MAX}, b[i].ms};
		}
	}
	return out;
}

struct nl_blocked *
nl_block_read(struct arena *a, const struct nl_dump *d, uint32_t *n)
{
	return read_ranges(a, d, false, n);
}

/* ---- watching ---------------------------------------------------------------------------- */

int
nl_block_look(const struct nl_dump *d, const struct nl_sums *s, uint32_t flags,
    struct nl_diff *out)
{
	struct arena *a = arena_new();
	struct model *m = arena_of(a, struct model);
	struct nl_watch *w;
	int err = model(a, m);

	/* their elements are compared apart */
	m->set[SET_V4].kind = m->set[SET_V6].kind = PLAN_METER;
	if (!err)
		err = nl_watch(a, &m->f, NULL, &w);
	if (!err)
		nl_watch_look(w, d, s, flags, out, NULL);
	arena_free(a);
	return err;
}

/* For how long the range that holds `at` is refused; ranges without overlap, in order. */
static uint64_t
time_at(const struct nl_blocked *v, uint32_t n, uint32_t *i, u128 at)
{
	while (*i < n && v[*i].range.hi < at)
		++*i;
	return *i < n && v[*i].range.lo <= at ? v[*i].ms : 0;
}

static void
compare_set(struct arena *a, const struct nl_blocked *want, uint32_t nwant,
    const struct nl_blocked *have, uint32_t nhave, bool v6, uint64_t slack, struct nl_diff *out)
{
	const u128 top = v6 ? U128_MAX : UINT32_MAX;
	u128 *cut = arena_array(a, 2 * ((size_t)nwant + nhave) + 1, u128);
	uint32_t ncut = 0, more = 0, fewer = 0, other = 0, w = 0, h = 0;

	for (uint32_t i = 0; i < nwant + nhave; i++) {
		const struct nl_prefix *r = i < nwant ? &want[i].range : &have[i - nwant].range;

		cut[ncut++] = r->lo;
		if (r->hi != top)
			cut[ncut++] = r->hi + 1;
	}
	qsort(cut, ncut, sizeof *cut, by_place);
	for (uint32_t i = 0; i < ncut; i++) {
		uint64_t x, y;

		if (i && cut[i] == cut[i - 1])
			continue;
		x = time_at(want, nwant, &w, cut[i]);
		y = time_at(have, nhave, &h, cut[i]);
		if ((x > y ? x - y : y - x) <= slack)
			continue;
		more += !x;
		fewer += !y;
		other += x && y;
	}
	if (fewer)
		nl_diff_add(out, "%u of the blocks in set %s deleted", fewer, set_name[SET_V4 + v6]);
	if (more)
		nl_diff_add(out, "%u block%s more in set %s", more, more == 1 ? "" : "s",
		    set_name[SET_V4 + v6]);
	if (other)
		nl_diff_add(out, "%u block%s in set %s made to end at another time", other,
		    other == 1 ? "" : "s", set_name[SET_V4 + v6]);
}

void
nl_block_compare(struct arena *a, const struct nl_blocked *v, uint32_t n, const struct nl_dump *d,
    uint64_t slack, struct nl_diff *out)
{
	uint32_t nhave, n4 = 0;
	struct nl_blocked *have = read_ranges(a, d, true, &nhave);

	while (n4 < nhave && !have[n4].range.v6)
		n4++;
	for (int v6 = 0; v6 < 2; v6++) {
		struct nl_blocked *want;
		uint32_t nwant = disjoint(a, v, n, v6, &want);

		compare_set(a, want, nwant, v6 && n4 ? have + n4 : have, v6 ? nhave - n4 : n4, v6, slack, out);
	}
}
