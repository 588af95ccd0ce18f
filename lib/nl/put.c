#include "nl/put.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

#include "base/arena.h"
#include "nl/dump.h"
#include "nl/element.h"
#include "nl/held.h"
#include "nl/wire.h"

enum {
	MOST_BATCH = 1 << 29,      /* bytes; a million IPv6 prefixes are 64 MB */
	OBJECT_COUNTER = 1,
	OBJECT_COMMENT_TAG = 0,    /* NFTNL_UDATA_OBJ_COMMENT */
};

/* ---- messages ------------------------------------------------------------------ */

size_t
put_begin(struct put *o, int type, uint16_t flags, struct nl_item item)
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
begin_batch(struct put *o)
{
	struct buf *b = &o->b->bytes;
	size_t at;

	ARENA_PUSH(o->j->a, o->b->item, o->b->nitem, o->b->capitem) =
	    (struct nl_item){.what = NL_THE_BATCH, .name = o->p->table};
	at = wire_msg(b, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, o->b->seq, 0,
	    NFNL_SUBSYS_NFTABLES);
	if (o->genid)
		wire_u32(b, NFNL_BATCH_GENID, o->genid);
	wire_msg_end(b, at);
	o->last = 0;
}

uint32_t
put_gen_next(uint32_t g)
{
	return g + 1 ? g + 1 : 1;
}

/* The last object's message asks for an answer: older kernels do not acknowledge the
 * end of a batch. */
static void
end_part(struct put *o)
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
	if (b->bytes.err && !o->err)
		o->err = b->bytes.err;
}

int
put_end(struct put *o, const char **who)
{
	end_part(o);
	if (!o->err)
		return 0;
	if (who)
		*who = o->who;
	nl_batch_free(o->first);
	return o->err;
}

struct put
put_start(const struct nl_job *j, struct nl_batch *b)
{
	struct put o = {.j = j, .f = j->form, .p = j->form->plan, .b = b, .first = b,
	    .genid = j->genid};

	*b = (struct nl_batch){.bytes = BUF_INIT(MOST_BATCH), .seq = j->seq};
	begin_batch(&o);
	return o;
}

void
put_part(struct put *o, size_t n)
{
	struct nl_batch *b = o->b;

	if (!o->j->most || b->bytes.n + n + PUT_SLACK <= o->j->most || o->err || !o->last)
		return;
	/* a table alone may be there already: then nothing is committed, and no generation passes */
	if (b->nitem == 2 && b->item[1].what == NL_A_TABLE)
		return;
	end_part(o);
	b->next = arena_of(o->j->a, struct nl_batch);
	*b->next = (struct nl_batch){.bytes = BUF_INIT(MOST_BATCH),
	    .seq = b->seq + b->nitem + 1};
	o->b = b->next;
	if (o->genid)
		o->genid = put_gen_next(o->genid);
	begin_batch(o);
}

/* A message about an object of which only the name matters. */
static void
by_name(struct put *o, int type, uint16_t attr_table, uint16_t attr_name, struct nl_item item)
{
	size_t at = put_begin(o, type, 0, item);

	wire_str(&o->b->bytes, attr_table, o->p->table);
	wire_str(&o->b->bytes, attr_name, item.name);
	wire_msg_end(&o->b->bytes, at);
	o->first->changes++;
}

/* ---- objects ---------------------------------------------------------------------- */

void
put_table(struct put *o)
{
	size_t at = put_begin(o, NFT_MSG_NEWTABLE, NLM_F_CREATE,
	    (struct nl_item){.what = NL_A_TABLE, .name = o->p->table});

	wire_str(&o->b->bytes, NFTA_TABLE_NAME, o->p->table);
	wire_u32(&o->b->bytes, NFTA_TABLE_FLAGS, o->j->table_flags);
	wire_msg_end(&o->b->bytes, at);
}

void
put_counter(struct put *o, const char *name, const struct buf *udata)
{
	struct buf *b = &o->b->bytes;
	size_t at = put_begin(o, NFT_MSG_NEWOBJ, NLM_F_CREATE | NLM_F_EXCL,
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
	o->first->changes++;
}

void
put_delete_object(struct put *o, const char *name, uint32_t type)
{
	struct buf *b = &o->b->bytes;
	size_t at = put_begin(o, NFT_MSG_DELOBJ, 0,
	    (struct nl_item){.what = NL_A_COUNTER, .del = true, .name = name});

	wire_str(b, NFTA_OBJ_TABLE, o->p->table);
	wire_str(b, NFTA_OBJ_NAME, name);
	wire_u32(b, NFTA_OBJ_TYPE, type);
	wire_msg_end(b, at);
	o->first->changes++;
}

void
put_delete_counter(struct put *o, const char *name)
{
	put_delete_object(o, name, OBJECT_COUNTER);
}

uint32_t
put_set(struct put *o, uint32_t i)
{
	const struct plan_set *s = &o->p->set[i];
	const struct nl_set_form *f = &o->f->set[i];
	struct element_run run = {.form = o->f, .set = i};
	struct nl_item item = {.what = NL_A_SET, .name = f->name ? f->name : "(anonymous)"};
	uint32_t id = ++o->set_id;
	size_t at;

	at = put_begin(o, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL, item);
	element_set(&o->b->bytes, o->f, i, id);
	wire_msg_end(&o->b->bytes, at);
	item.what = NL_AN_ELEMENT;
	while (run.at < s->n && !o->b->bytes.err) {
		if (f->name)
			put_part(o, WIRE_ATTR);
		at = put_begin(o, NFT_MSG_NEWSETELEM, NLM_F_CREATE, item);
		element_put(&o->b->bytes, &run, id);
		wire_msg_end(&o->b->bytes, at);
	}
	o->first->changes++;
	return id;
}

void
put_elements(struct put *o, struct element_run *run, bool add)
{
	struct nl_item item = {.what = NL_AN_ELEMENT, .del = !add,
	    .name = o->f->set[run->set].name};
	size_t at;

	while (!element_done(run) && !o->b->bytes.err) {
		at = put_begin(o, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM,
		    add ? NLM_F_CREATE | NLM_F_EXCL : 0, item);
		element_put(&o->b->bytes, run, 0);
		wire_msg_end(&o->b->bytes, at);
		o->first->changes++;
	}
}

/* ---- the stamp ---------------------------------------------------------------------- */

static void
stamp(struct put *o, const struct held *h, struct nl_bytes text, struct nl_bytes salt,
    struct nl_bytes frame, const uint8_t sum[NL_DIGEST])
{
	static const uint8_t none[NL_DIGEST];
	struct buf b = BUF_INIT(256);

	wire_tag(&b, OBJECT_COMMENT_TAG, text.p, text.n);
	wire_tag(&b, WIRE_TAG_SALT, salt.p, salt.n);
	wire_tag(&b, WIRE_TAG_FRAME, frame.p, frame.n);
	if (memcmp(sum, none, sizeof none))
		wire_tag(&b, WIRE_TAG_EDITS, sum, NL_DIGEST);
	if (index_find(&h->object, NL_STAMP) != UINT32_MAX)
		put_delete_counter(o, NL_STAMP);
	put_counter(o, NL_STAMP, &b);
	if (b.err && !o->err)
		o->err = b.err;
	buf_free(&b);
}

void
put_stamp(struct put *o, const struct held *h, const uint8_t sum[NL_DIGEST])
{
	char text[2 * PLAN_DIGEST + 1];
	uint8_t salt[8];

	plan_digest_text(o->p, text);
	for (int i = 0; i < 4; i++) {
		salt[i] = (uint8_t)(o->f->salt.set >> (24 - 8 * i));
		salt[4 + i] = (uint8_t)(o->f->salt.chain >> (24 - 8 * i));
	}
	stamp(o, h, (struct nl_bytes){(const uint8_t *)text, sizeof text},
	    (struct nl_bytes){salt, sizeof salt}, (struct nl_bytes){o->f->frame, NL_DIGEST}, sum);
}

void
put_stamp_again(struct put *o, const struct held *h, const uint8_t sum[NL_DIGEST])
{
	uint32_t at = index_find(&h->object, NL_STAMP);
	static const struct {
		uint8_t tag, most;
	} row[3] = {{OBJECT_COMMENT_TAG, 2 * PLAN_DIGEST + 1}, {WIRE_TAG_SALT, 8},
	    {WIRE_TAG_FRAME, NL_DIGEST}};
	struct nl_bytes v[3];

	if (at == UINT32_MAX)
		return;
	for (int i = 0; i < 3; i++) {
		struct nl_bytes udata = h->d->object[at].udata;
		size_t n = 0;

		v[i].p = wire_tag_find(udata.p, udata.n, row[i].tag, &n);
		if (!v[i].p || n > row[i].most)
			return;
		v[i].n = (uint32_t)n;
	}
	stamp(o, h, v[0], v[1], v[2], sum);
}

uint32_t
put_hook(enum packet_hook h)
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

const char *
put_chain_type(enum plan_chain_type t)
{
	return t == PLAN_NAT ? "nat" : "filter";
}

void
put_chain(struct put *o, uint32_t c)
{
	const struct plan_chain *from = &o->p->chain[c];
	const struct nl_chain_form *f = &o->f->chain[c];
	struct buf *b = &o->b->bytes, tag = BUF_INIT(64);
	size_t at = put_begin(o, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL,
	    (struct nl_item){.what = NL_A_CHAIN, .name = f->name});
	size_t hook;

	wire_str(b, NFTA_CHAIN_TABLE, o->p->table);
	wire_str(b, NFTA_CHAIN_NAME, f->name);
	if (from->entry && from->base) {
		hook = wire_nest(b, NFTA_CHAIN_HOOK);
		wire_u32(b, NFTA_HOOK_HOOKNUM, put_hook(from->hook));
		wire_u32(b, NFTA_HOOK_PRIORITY, (uint32_t)from->priority);
		wire_end(b, hook);
		wire_u32(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
		wire_str(b, NFTA_CHAIN_TYPE, put_chain_type(from->type));
	}
	if (!from->entry) {
		wire_tag(&tag, WIRE_TAG_DIGEST, f->digest, sizeof f->digest);
		wire_put(b, NFTA_CHAIN_USERDATA, tag.p, tag.n);
	}
	wire_msg_end(b, at);
	if (tag.err && !o->err)
		o->err = tag.err;
	buf_free(&tag);
	o->first->changes++;
}

void
put_rule(struct put *o, uint32_t c, uint32_t k)
{
	const struct nl_chain_form *chain = &o->f->chain[c];
	const struct nl_rule_form *f = &chain->rule[k];
	struct buf *b = &o->b->bytes;
	uint32_t id[PLAN_MOST_RULE_MATCHES + 1] = {0};
	size_t at, list;

	for (uint32_t i = 0; i < f->nanon; i++)
		id[i] = put_set(o, f->anon[i].set);
	at = put_begin(o, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND,
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
	o->first->changes++;
}

void
put_rules(struct put *o, uint32_t c)
{
	for (uint32_t k = 0; k < o->p->chain[c].nrule; k++)
		put_rule(o, c, k);
}

void
put_flush(struct put *o, const char *name)
{
	by_name(o, NFT_MSG_DELRULE, NFTA_RULE_TABLE, NFTA_RULE_CHAIN,
	    (struct nl_item){.what = NL_A_RULE, .del = true, .name = name});
}

void
put_delete_chain(struct put *o, const char *name)
{
	by_name(o, NFT_MSG_DELCHAIN, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME,
	    (struct nl_item){.what = NL_A_CHAIN, .del = true, .name = name});
}

void
put_delete_set(struct put *o, const char *name)
{
	by_name(o, NFT_MSG_DELSET, NFTA_SET_TABLE, NFTA_SET_NAME,
	    (struct nl_item){.what = NL_A_SET, .del = true, .name = name});
}
