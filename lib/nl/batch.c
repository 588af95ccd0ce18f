#include "nl/batch.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "nl/dump.h"
#include "nl/element.h"
#include "nl/wire.h"

enum {
	MOST_BATCH = 1 << 29,      /* bytes; a million IPv6 prefixes are 64 MB */
	OBJECT_COUNTER = 1,
	OBJECT_COMMENT_TAG = 0,    /* NFTNL_UDATA_OBJ_COMMENT */
};

#define OURS "mailreeve-"

/* A batch being written. */
struct out {
	const struct nl_job *j;
	const struct nl_form *f;
	const struct plan *p;
	struct nl_batch *b;
	const char *who;
	size_t last;               /* where the last object's message begins */
	uint32_t set_id;
	int err;
};

/* ---- messages ------------------------------------------------------------------ */

static size_t
begin(struct out *o, int type, uint16_t flags, struct nl_item item)
{
	struct nl_batch *b = o->b;

	o->last = b->bytes.n;
	if (!b->bytes.err)
		o->who = item.name;
	ARENA_PUSH(o->j->a, b->item, b->nitem, b->capitem) = item;
	return wire_msg(&b->bytes, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type),
	    NLM_F_REQUEST | flags, b->seq + b->nitem - 1, NFPROTO_INET, 0);
}

static void
begin_batch(struct out *o)
{
	struct buf *b = &o->b->bytes;
	size_t at;

	ARENA_PUSH(o->j->a, o->b->item, o->b->nitem, o->b->capitem) =
	    (struct nl_item){.what = NL_THE_BATCH, .name = o->p->table};
	at = wire_msg(b, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, o->b->seq, 0,
	    NFNL_SUBSYS_NFTABLES);
	if (o->j->genid)
		wire_u32(b, NFNL_BATCH_GENID, o->j->genid);
	wire_msg_end(b, at);
}

/* The last object's message asks for an answer: older kernels do not acknowledge the
 * end of a batch. */
static int
end_batch(struct out *o, const char **who)
{
	struct nl_batch *b = o->b;
	struct nlmsghdr h;
	size_t at;

	if (!b->bytes.err && o->last) {
		memcpy(&h, b->bytes.p + o->last, sizeof h);
		h.nlmsg_flags |= NLM_F_ACK;
		memcpy(b->bytes.p + o->last, &h, sizeof h);
	}
	at = wire_msg(&b->bytes, NFNL_MSG_BATCH_END, NLM_F_REQUEST, b->seq + b->nitem, 0,
	    NFNL_SUBSYS_NFTABLES);
	wire_msg_end(&b->bytes, at);
	if (!o->err && !b->bytes.err)
		return 0;
	if (who)
		*who = o->who;
	buf_free(&b->bytes);
	return o->err ? o->err : b->bytes.err;
}

static struct out
start(const struct nl_job *j, struct nl_batch *b)
{
	struct out o = {.j = j, .f = j->form, .p = j->form->plan, .b = b};

	*b = (struct nl_batch){.bytes = BUF_INIT(MOST_BATCH), .seq = j->seq};
	begin_batch(&o);
	return o;
}

/* A message about an object of which only the name matters. */
static void
by_name(struct out *o, int type, uint16_t attr_table, uint16_t attr_name, struct nl_item item)
{
	size_t at = begin(o, type, 0, item);

	wire_str(&o->b->bytes, attr_table, o->p->table);
	wire_str(&o->b->bytes, attr_name, item.name);
	wire_msg_end(&o->b->bytes, at);
	o->b->changes++;
}

/* ---- objects ---------------------------------------------------------------------- */

static void
put_table(struct out *o)
{
	size_t at = begin(o, NFT_MSG_NEWTABLE, NLM_F_CREATE,
	    (struct nl_item){.what = NL_A_TABLE, .name = o->p->table});

	wire_str(&o->b->bytes, NFTA_TABLE_NAME, o->p->table);
	wire_u32(&o->b->bytes, NFTA_TABLE_FLAGS, o->j->table_flags);
	wire_msg_end(&o->b->bytes, at);
}

static void
put_counter(struct out *o, const char *name, const struct buf *udata)
{
	struct buf *b = &o->b->bytes;
	size_t at = begin(o, NFT_MSG_NEWOBJ, NLM_F_CREATE | NLM_F_EXCL,
	    (struct nl_item){.what = NL_A_COUNTER, .name = name});
	size_t data;

	wire_str(b, NFTA_OBJ_TABLE, o->p->table);
	wire_str(b, NFTA_OBJ_NAME, name);
	wire_u32(b, NFTA_OBJ_TYPE, OBJECT_COUNTER);
	data = wire_nest(b, NFTA_OBJ_DATA);
	wire_u64(b, NFTA_COUNTER_BYTES, 0);
	wire_u64(b, NFTA_COUNTER_PACKETS, 0);
	wire_end(b, data);
	if (udata)
		wire_put(b, NFTA_OBJ_USERDATA, udata->p, udata->n);
	wire_msg_end(b, at);
	o->b->changes++;
}

static void
delete_counter(struct out *o, const char *name)
{
	struct buf *b = &o->b->bytes;
	size_t at = begin(o, NFT_MSG_DELOBJ, 0,
	    (struct nl_item){.what = NL_A_COUNTER, .del = true, .name = name});

	wire_str(b, NFTA_OBJ_TABLE, o->p->table);
	wire_str(b, NFTA_OBJ_NAME, name);
	wire_u32(b, NFTA_OBJ_TYPE, OBJECT_COUNTER);
	wire_msg_end(b, at);
	o->b->changes++;
}

/* Sends a set and its elements; gives its ID. */
static uint32_t
put_set(struct out *o, uint32_t i)
{
	const struct plan_set *s = &o->p->set[i];
	const struct nl_set_form *f = &o->f->set[i];
	struct element_run run = {.form = o->f, .set = i};
	struct nl_item item = {.what = NL_A_SET, .name = f->name ? f->name : "(anonymous)"};
	struct buf *b = &o->b->bytes;
	uint32_t id = ++o->set_id;
	size_t at;

	at = begin(o, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL, item);
	element_set(b, o->f, i, id);
	wire_msg_end(b, at);
	item.what = NL_AN_ELEMENT;
	while (run.at < s->n && !b->err) {
		at = begin(o, NFT_MSG_NEWSETELEM, NLM_F_CREATE, item);
		element_put(b, &run, id);
		wire_msg_end(b, at);
	}
	o->b->changes++;
	return id;
}

static uint32_t
hook_number(enum packet_hook h)
{
	switch (h) {
	case PACKET_FORWARD:
		return NF_INET_FORWARD;
	case PACKET_OUTPUT:
		return NF_INET_LOCAL_OUT;
	case PACKET_INPUT:
		return NF_INET_LOCAL_IN;
	}
	return 0;
}

static const char *
chain_type(enum plan_chain_type t)
{
	return t == PLAN_NAT ? "nat" : "filter";
}

static void
put_chain(struct out *o, uint32_t c)
{
	const struct plan_chain *from = &o->p->chain[c];
	const struct nl_chain_form *f = &o->f->chain[c];
	struct buf *b = &o->b->bytes, tag = BUF_INIT(64);
	size_t at = begin(o, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL,
	    (struct nl_item){.what = NL_A_CHAIN, .name = f->name});
	size_t hook;

	wire_str(b, NFTA_CHAIN_TABLE, o->p->table);
	wire_str(b, NFTA_CHAIN_NAME, f->name);
	if (from->entry && from->base) {
		hook = wire_nest(b, NFTA_CHAIN_HOOK);
		wire_u32(b, NFTA_HOOK_HOOKNUM, hook_number(from->hook));
		wire_u32(b, NFTA_HOOK_PRIORITY, (uint32_t)from->priority);
		wire_end(b, hook);
		wire_u32(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
		wire_str(b, NFTA_CHAIN_TYPE, chain_type(from->type));
	}
	if (!from->entry) {
		wire_tag(&tag, WIRE_TAG_DIGEST, f->digest, sizeof f->digest);
		wire_put(b, NFTA_CHAIN_USERDATA, tag.p, tag.n);
	}
	wire_msg_end(b, at);
	if (tag.err && !o->err)
		o->err = tag.err;
	buf_free(&tag);
	o->b->changes++;
}

static void
put_rule(struct out *o, uint32_t c, uint32_t k)
{
	const struct nl_chain_form *chain = &o->f->chain[c];
	const struct nl_rule_form *f = &chain->rule[k];
	struct buf *b = &o->b->bytes;
	uint32_t id[PLAN_MOST_RULE_MATCHES + 1];
	size_t at, list;

	for (uint32_t i = 0; i < f->nanon; i++)
		id[i] = put_set(o, f->anon[i].set);
	at = begin(o, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND,
	    (struct nl_item){.what = NL_A_RULE, .name = chain->name, .rule = k});
	wire_str(b, NFTA_RULE_TABLE, o->p->table);
	wire_str(b, NFTA_RULE_CHAIN, chain->name);
	list = wire_nest(b, NFTA_RULE_EXPRESSIONS);
	buf_add(b, f->bytes, f->n);
	wire_end(b, list);
	for (uint32_t i = 0; i < f->nanon && !b->err; i++) {
		uint8_t *p = (uint8_t *)b->p + list + NLA_HDRLEN + f->anon[i].at;

		for (int byte = 0; byte < 4; byte++)
			p[byte] = (uint8_t)(id[i] >> (24 - 8 * byte));
	}
	if (f->udata)
		wire_put(b, NFTA_RULE_USERDATA, f->udata, f->nudata);
	wire_msg_end(b, at);
	o->b->changes++;
}

static void
put_rules(struct out *o, uint32_t c)
{
	for (uint32_t k = 0; k < o->p->chain[c].nrule; k++)
		put_rule(o, c, k);
}

static void
flush_chain(struct out *o, const char *name)
{
	by_name(o, NFT_MSG_DELRULE, NFTA_RULE_TABLE, NFTA_RULE_CHAIN,
	    (struct nl_item){.what = NL_A_RULE, .del = true, .name = name});
}

static void
delete_chain(struct out *o, const char *name)
{
	by_name(o, NFT_MSG_DELCHAIN, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME,
	    (struct nl_item){.what = NL_A_CHAIN, .del = true, .name = name});
}

/* ---- what is there already ------------------------------------------------------------ */

static bool
in_table(const struct plan *p, uint8_t family, const char *table)
{
	return family == NFPROTO_INET && !strcmp(table, p->table);
}

/* Whether a thing of that name in the plan's table is ours. */
static bool
ours(const struct plan *p, const char *name)
{
	return p->own_table || !strncmp(name, OURS, strlen(OURS)) || !strcmp(name, NL_STAMP);
}

static bool
same_digest(struct nl_bytes udata, const uint8_t digest[NL_DIGEST])
{
	size_t n;
	const uint8_t *p = wire_tag_find(udata.p, udata.n, WIRE_TAG_DIGEST, &n);

	return p && n == NL_DIGEST && !memcmp(p, digest, NL_DIGEST);
}

/* Names to places, for a dump of thousands. */
struct index {
	struct hash_names *names;
	uint32_t *at;
	uint32_t n, cap;
};

static void
index_add(struct arena *a, struct index *x, const char *name, uint32_t at)
{
	int fresh;

	if (!x->names)
		x->names = hash_names_new(a);
	hash_names_add(x->names, name, strlen(name), &fresh);
	if (fresh)
		ARENA_PUSH(a, x->at, x->n, x->cap) = at;
}

static uint32_t
index_find(const struct index *x, const char *name)
{
	uint32_t i = x->names ? hash_names_find(x->names, name, strlen(name)) : UINT32_MAX;

	return i == UINT32_MAX ? UINT32_MAX : x->at[i];
}

struct held {
	struct index set, chain, object;
	const struct nl_dump *d;
};

static struct held
hold(const struct nl_job *j)
{
	const struct plan *p = j->form->plan;
	const struct nl_dump *d = j->have;
	struct held h = {.d = d};

	for (uint32_t i = 0; d && i < d->nset; i++)
		if (in_table(p, d->set[i].family, d->set[i].table))
			index_add(j->a, &h.set, d->set[i].name, i);
	for (uint32_t i = 0; d && i < d->nchain; i++)
		if (in_table(p, d->chain[i].family, d->chain[i].table))
			index_add(j->a, &h.chain, d->chain[i].name, i);
	for (uint32_t i = 0; d && i < d->nobject; i++)
		if (in_table(p, d->object[i].family, d->object[i].table))
			index_add(j->a, &h.object, d->object[i].name, i);
	return h;
}

static const struct nl_set *
held_set(const struct held *h, const char *name)
{
	uint32_t i = index_find(&h->set, name);

	return i == UINT32_MAX ? NULL : &h->d->set[i];
}

static const struct nl_chain *
held_chain(const struct held *h, const char *name)
{
	uint32_t i = index_find(&h->chain, name);

	return i == UINT32_MAX ? NULL : &h->d->chain[i];
}

/* ---- stage ------------------------------------------------------------------------------- */

/* 1 where the set is there, 0 where it is not; -EEXIST where another has its name. */
static int
set_there(const struct held *h, const struct nl_form *f, uint32_t i)
{
	const struct nl_set *s = held_set(h, f->set[i].name);

	if (!s)
		return 0;
	return same_digest(s->udata, f->set[i].digest) ? 1 : -EEXIST;
}

static int
chain_there(const struct held *h, const struct nl_chain_form *f)
{
	const struct nl_chain *c = held_chain(h, f->name);

	if (!c)
		return 0;
	return !c->base && same_digest(c->udata, f->digest) ? 1 : -EEXIST;
}

static void
stage_sets(struct out *o, const struct held *h, bool maps)
{
	for (uint32_t i = 0; i < o->p->nset && !o->err; i++) {
		int there;

		if (!o->f->set[i].name || (o->p->set[i].kind == PLAN_MAP) != maps)
			continue;
		there = set_there(h, o->f, i);
		if (there < 0) {
			o->err = there;
			o->who = o->f->set[i].name;
		} else if (!there) {
			put_set(o, i);
		}
	}
}

int
nl_stage(const struct nl_job *j, struct nl_batch *out, const char **who)
{
	struct out o = start(j, out);
	struct held h = hold(j);
	const struct plan *p = o.p;
	bool *fresh = arena_array(j->a, p->nchain + 1, bool);

	put_table(&o);
	out->changes += !nl_dump_table(j->have, NFPROTO_INET, p->table);
	for (uint32_t i = 0; i < p->ncounter; i++)
		if (index_find(&h.object, p->counter[i].name) == UINT32_MAX)
			put_counter(&o, p->counter[i].name, NULL);
	stage_sets(&o, &h, false);
	for (uint32_t c = 0; c < p->nchain && !o.err; c++) {
		int there;

		if (p->chain[c].entry)
			continue;
		there = chain_there(&h, &o.f->chain[c]);
		if (there < 0) {
			o.err = there;
			o.who = o.f->chain[c].name;
		} else if (!there) {
			fresh[c] = true;
			put_chain(&o, c);
		}
	}
	stage_sets(&o, &h, true);
	for (uint32_t c = 0; c < p->nchain && !o.err; c++)
		if (fresh[c])
			put_rules(&o, c);
	return end_batch(&o, who);
}

/* ---- swap --------------------------------------------------------------------------------- */

static bool
same_entry(const struct nl_chain *have, const struct plan_chain *want)
{
	if (!want->base)
		return !have->base;
	return have->base && have->hook == hook_number(want->hook) &&
	    have->priority == want->priority && have->policy == NF_ACCEPT &&
	    !strcmp(have->type, chain_type(want->type));
}

/* The entry chains of ours that the plan has not: base chains go, others are emptied,
 * for rules of the administrator may still jump to them. */
static void
retire(struct out *o, const struct held *h)
{
	struct index wanted = {0};

	for (uint32_t c = 0; c < o->p->nchain; c++)
		if (o->p->chain[c].entry)
			index_add(o->j->a, &wanted, o->f->chain[c].name, c);
	for (uint32_t i = 0; h->d && i < h->d->nchain; i++) {
		const struct nl_chain *c = &h->d->chain[i];

		if (!in_table(o->p, c->family, c->table) || !ours(o->p, c->name) ||
		    index_find(&wanted, c->name) != UINT32_MAX)
			continue;
		if (!c->base && (o->p->own_table || nl_is_generation(c->name)))
			continue;          /* the sweep's */
		flush_chain(o, c->name);
		if (c->base)
			delete_chain(o, c->name);
	}
}

static void
put_stamp(struct out *o, const struct held *h)
{
	struct buf b = BUF_INIT(256);
	char text[2 * PLAN_DIGEST + 1];
	uint8_t salt[8];

	plan_digest_text(o->p, text);
	for (int i = 0; i < 4; i++) {
		salt[i] = (uint8_t)(o->f->salt.set >> (24 - 8 * i));
		salt[4 + i] = (uint8_t)(o->f->salt.chain >> (24 - 8 * i));
	}
	wire_tag(&b, OBJECT_COMMENT_TAG, text, sizeof text);
	wire_tag(&b, WIRE_TAG_SALT, salt, sizeof salt);
	if (index_find(&h->object, NL_STAMP) != UINT32_MAX)
		delete_counter(o, NL_STAMP);
	put_counter(o, NL_STAMP, &b);
	if (b.err && !o->err)
		o->err = b.err;
	buf_free(&b);
}

int
nl_swap(const struct nl_job *j, struct nl_batch *out, const char **who)
{
	struct out o = start(j, out);
	struct held h = hold(j);

	put_table(&o);
	put_stamp(&o, &h);
	retire(&o, &h);
	for (uint32_t c = 0; c < o.p->nchain; c++) {
		const struct nl_chain *have;

		if (!o.p->chain[c].entry)
			continue;
		have = held_chain(&h, o.f->chain[c].name);
		if (have)
			flush_chain(&o, have->name);
		if (have && !same_entry(have, &o.p->chain[c])) {
			delete_chain(&o, have->name);
			have = NULL;
		}
		if (!have)
			put_chain(&o, c);
		put_rules(&o, c);
	}
	return end_batch(&o, who);
}

/* ---- sweep -------------------------------------------------------------------------------- */

/* Whether rules outside of the chain refer to it. */
static bool
called(const struct nl_dump *d, const struct nl_chain *c)
{
	uint32_t own = 0;

	for (uint32_t i = 0; i < d->nrule; i++)
		own += d->rule[i].family == c->family && !strcmp(d->rule[i].chain, c->name) &&
		    !strcmp(d->rule[i].table, c->table);
	return c->use > own;
}

/* Deletes what is ours and not in `keep`: rules first, then what they used. */
static void
clear(struct out *o, const struct nl_dump *d, const struct index keep[3])
{
	bool *gone = arena_array(o->j->a, d->nchain + 1, bool);

	for (uint32_t i = 0; i < d->nchain; i++) {
		const struct nl_chain *c = &d->chain[i];

		gone[i] = in_table(o->p, c->family, c->table) && ours(o->p, c->name) &&
		    index_find(&keep[0], c->name) == UINT32_MAX;
		/* an entry of ours that the administrator's rules still jump to stays,
		 * empty */
		if (gone[i] && !o->p->own_table && !nl_is_generation(c->name) && called(d, c))
			gone[i] = false;
		if (gone[i])
			flush_chain(o, c->name);
	}
	for (uint32_t i = 0; i < d->nset; i++) {
		const struct nl_set *s = &d->set[i];

		if (!in_table(o->p, s->family, s->table) || !ours(o->p, s->name) ||
		    s->flags & NFT_SET_ANONYMOUS ||
		    index_find(&keep[1], s->name) != UINT32_MAX)
			continue;
		by_name(o, NFT_MSG_DELSET, NFTA_SET_TABLE, NFTA_SET_NAME,
		    (struct nl_item){.what = NL_A_SET, .del = true, .name = s->name});
	}
	for (uint32_t i = 0; i < d->nchain; i++)
		if (gone[i])
			delete_chain(o, d->chain[i].name);
	for (uint32_t i = 0; i < d->nobject; i++) {
		const struct nl_object *x = &d->object[i];

		if (in_table(o->p, x->family, x->table) && ours(o->p, x->name) &&
		    x->type == OBJECT_COUNTER &&
		    index_find(&keep[2], x->name) == UINT32_MAX)
			delete_counter(o, x->name);
	}
}

int
nl_sweep(const struct nl_job *j, struct nl_batch *out, const char **who)
{
	struct out o = start(j, out);
	struct index keep[3] = {0};

	for (uint32_t c = 0; c < o.p->nchain; c++)
		index_add(j->a, &keep[0], o.f->chain[c].name, c);
	for (uint32_t i = 0; i < o.p->nset; i++)
		if (o.f->set[i].name)
			index_add(j->a, &keep[1], o.f->set[i].name, i);
	for (uint32_t i = 0; i < o.p->ncounter; i++)
		index_add(j->a, &keep[2], o.p->counter[i].name, i);
	index_add(j->a, &keep[2], NL_STAMP, 0);
	put_table(&o);
	if (j->have)
		clear(&o, j->have, keep);
	return end_batch(&o, who);
}

int
nl_remove(const struct nl_job *j, struct nl_batch *out, const char **who)
{
	struct out o = start(j, out);
	struct index keep[3] = {0};
	size_t at;

	put_table(&o);
	if (!o.p->own_table) {
		if (j->have)
			clear(&o, j->have, keep);
		return end_batch(&o, who);
	}
	at = begin(&o, NFT_MSG_DELTABLE, 0,
	    (struct nl_item){.what = NL_A_TABLE, .del = true, .name = o.p->table});
	wire_str(&out->bytes, NFTA_TABLE_NAME, o.p->table);
	wire_msg_end(&out->bytes, at);
	out->changes++;
	return end_batch(&o, who);
}

void
nl_batch_free(struct nl_batch *b)
{
	buf_free(&b->bytes);
	*b = (struct nl_batch){0};
}

/* ---- reading back --------------------------------------------------------------------------- */

static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
nl_stamp(const struct nl_dump *d, const char *table, uint8_t digest[NL_DIGEST],
    struct nl_salt *salt)
{
	const struct nl_object *o = nl_dump_object(d, NFPROTO_INET, table, NL_STAMP);
	const uint8_t *text, *s;
	uint8_t bytes[NL_DIGEST];
	size_t n, ns;

	if (!o)
		return -ENOENT;
	text = wire_tag_find(o->udata.p, o->udata.n, OBJECT_COMMENT_TAG, &n);
	s = wire_tag_find(o->udata.p, o->udata.n, WIRE_TAG_SALT, &ns);
	if (!text || n != 2 * NL_DIGEST + 1 || !s || ns != 8)
		return -EBADMSG;
	for (size_t i = 0; i < NL_DIGEST; i++) {
		int hi = hex((char)text[2 * i]), lo = hex((char)text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EBADMSG;
		bytes[i] = (uint8_t)(hi << 4 | lo);
	}
	memcpy(digest, bytes, sizeof bytes);
	salt->set = (uint32_t)s[0] << 24 | (uint32_t)s[1] << 16 | (uint32_t)s[2] << 8 | s[3];
	salt->chain = (uint32_t)s[4] << 24 | (uint32_t)s[5] << 16 | (uint32_t)s[6] << 8 | s[7];
	return 0;
}

bool
nl_in_force(const struct nl_form *f, const struct nl_dump *d)
{
	struct nl_job j = {.a = arena_new(), .form = f, .have = d};
	const struct plan *p = f->plan;
	struct held h = hold(&j);
	uint8_t digest[NL_DIGEST];
	struct nl_salt salt;
	bool yes = !nl_stamp(d, p->table, digest, &salt) &&
	    !memcmp(digest, p->digest, sizeof digest) && salt.set == f->salt.set &&
	    salt.chain == f->salt.chain;

	for (uint32_t i = 0; i < p->ncounter && yes; i++)
		yes = index_find(&h.object, p->counter[i].name) != UINT32_MAX;
	for (uint32_t i = 0; i < p->nset && yes; i++)
		yes = !f->set[i].name || set_there(&h, f, i) == 1;
	for (uint32_t c = 0; c < p->nchain && yes; c++) {
		const struct nl_chain *have = held_chain(&h, f->chain[c].name);
		uint32_t n = 0;

		if (!p->chain[c].entry) {
			yes = chain_there(&h, &f->chain[c]) == 1;
			continue;
		}
		for (uint32_t i = 0; i < d->nrule; i++)
			n += in_table(p, d->rule[i].family, d->rule[i].table) &&
			    !strcmp(d->rule[i].chain, p->chain[c].name);
		yes = have && same_entry(have, &p->chain[c]) && n == p->chain[c].nrule;
	}
	arena_free(j.a);
	return yes;
}

const char *
nl_item_text(struct arena *a, const struct nl_item *i)
{
	static const char *const word[NL_NWHAT] = {
		[NL_THE_BATCH] = "the transaction on table", [NL_A_TABLE] = "table",
		[NL_A_COUNTER] = "counter", [NL_A_SET] = "set",
		[NL_AN_ELEMENT] = "an element of set", [NL_A_CHAIN] = "chain",
		[NL_A_RULE] = "rule",
	};

	if (i->what == NL_A_RULE && !i->del)
		return arena_printf(a, "rule %u of chain %s", i->rule + 1, i->name);
	if (i->what == NL_A_RULE)
		return arena_printf(a, "the old rules of chain %s", i->name);
	return arena_printf(a, "%s%s %s", i->del ? "deleting " : "", word[i->what], i->name);
}
