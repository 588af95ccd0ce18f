/*
 * expr: the bytecode of nft 1.0.6 for each thing that a plan's rule says.
 *
 * nft puts a check of the protocol before a match that needs it, once a rule:
 * `ip saddr` begins with meta nfproto, `tcp dport` with meta l4proto. A prefix of
 * whole bytes loads and compares only these.
 */
#include "nl/expr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "nl/wire.h"

enum {
	TCP = 6,
	NAT_RANGE_PROTO_SPECIFIED = 2, /* linux/netfilter/nf_nat.h */
	DIR_ORIGINAL = 0,          /* IP_CT_DIR_ORIGINAL */
	OBJECT_COUNTER = 1,        /* NFT_OBJECT_COUNTER */
};

/* What the rule has made sure of. */
struct known {
	unsigned nfproto, l4proto;
};

struct place {
	size_t elem, data;
};

static struct place
begin(struct buf *b, const char *name)
{
	struct place p;

	p.elem = wire_nest(b, NFTA_LIST_ELEM);
	wire_str(b, NFTA_EXPR_NAME, name);
	p.data = wire_nest(b, NFTA_EXPR_DATA);
	return p;
}

static void
end(struct buf *b, struct place p)
{
	wire_end(b, p.data);
	wire_end(b, p.elem);
}

static void
put_value(struct buf *b, uint16_t type, const void *v, size_t n)
{
	size_t at = wire_nest(b, type);

	wire_put(b, NFTA_DATA_VALUE, v, n);
	wire_end(b, at);
}

static void
load_meta(struct buf *b, uint32_t key)
{
	struct place p = begin(b, "meta");

	wire_u32(b, NFTA_META_DREG, NFT_REG_1);
	wire_u32(b, NFTA_META_KEY, key);
	end(b, p);
}

static void
load_payload(struct buf *b, uint32_t base, uint32_t offset, uint32_t len)
{
	struct place p = begin(b, "payload");

	wire_u32(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
	wire_u32(b, NFTA_PAYLOAD_BASE, base);
	wire_u32(b, NFTA_PAYLOAD_OFFSET, offset);
	wire_u32(b, NFTA_PAYLOAD_LEN, len);
	end(b, p);
}

static void
compare(struct buf *b, uint32_t op, const void *v, size_t n)
{
	struct place p = begin(b, "cmp");

	wire_u32(b, NFTA_CMP_SREG, NFT_REG_1);
	wire_u32(b, NFTA_CMP_OP, op);
	put_value(b, NFTA_CMP_DATA, v, n);
	end(b, p);
}

/* lo <= register <= hi, or not. */
static void
between(struct buf *b, enum plan_op op, const void *lo, const void *hi, size_t n)
{
	struct place p;

	if (op != PLAN_NOT) {
		compare(b, NFT_CMP_GTE, lo, n);
		compare(b, NFT_CMP_LTE, hi, n);
		return;
	}
	p = begin(b, "range");
	wire_u32(b, NFTA_RANGE_SREG, NFT_REG_1);
	wire_u32(b, NFTA_RANGE_OP, NFT_RANGE_NEQ);
	put_value(b, NFTA_RANGE_FROM_DATA, lo, n);
	put_value(b, NFTA_RANGE_TO_DATA, hi, n);
	end(b, p);
}

static void
mask_with(struct buf *b, const void *mask, size_t n)
{
	static const uint8_t none[16];
	struct place p = begin(b, "bitwise");

	wire_u32(b, NFTA_BITWISE_SREG, NFT_REG_1);
	wire_u32(b, NFTA_BITWISE_DREG, NFT_REG_1);
	wire_u32(b, NFTA_BITWISE_LEN, (uint32_t)n);
	put_value(b, NFTA_BITWISE_MASK, mask, n);
	put_value(b, NFTA_BITWISE_XOR, none, n);
	end(b, p);
}

static void
to_network_order(struct buf *b, uint32_t n)
{
	struct place p = begin(b, "byteorder");

	wire_u32(b, NFTA_BYTEORDER_SREG, NFT_REG_1);
	wire_u32(b, NFTA_BYTEORDER_DREG, NFT_REG_1);
	wire_u32(b, NFTA_BYTEORDER_OP, NFT_BYTEORDER_HTON);
	wire_u32(b, NFTA_BYTEORDER_LEN, n);
	wire_u32(b, NFTA_BYTEORDER_SIZE, n);
	end(b, p);
}

static uint32_t
cmp_op(enum plan_op op)
{
	switch (op) {
	case PLAN_IS:
	case PLAN_NOP:
		break;
	case PLAN_NOT:
		return NFT_CMP_NEQ;
	case PLAN_LESS:
		return NFT_CMP_LT;
	case PLAN_LEAST:
		return NFT_CMP_GTE;
	}
	return NFT_CMP_EQ;
}

/* ---- what a rule needs to know first ------------------------------------------ */

static void
need_family(struct buf *b, struct known *k, uint8_t family)
{
	if (k->nfproto == family)
		return;
	load_meta(b, NFT_META_NFPROTO);
	compare(b, NFT_CMP_EQ, &family, 1);
	k->nfproto = family;
}

static void
need_tcp(struct buf *b, struct known *k)
{
	static const uint8_t tcp = TCP;

	if (k->l4proto == TCP)
		return;
	load_meta(b, NFT_META_L4PROTO);
	compare(b, NFT_CMP_EQ, &tcp, 1);
	k->l4proto = TCP;
}

/* ---- addresses and ports ---------------------------------------------------------- */

static bool
is_v6(enum plan_field f)
{
	return f == PLAN_SADDR6 || f == PLAN_DADDR6;
}

/* Where an address stands behind the network header. */
static uint32_t
address_offset(enum plan_field f)
{
	return f == PLAN_SADDR4 ? 12 : f == PLAN_DADDR4 ? 16 : f == PLAN_SADDR6 ? 8 : 24;
}

/* Loads a field that sets can be looked into with. */
static void
load_key(struct buf *b, struct known *k, enum plan_field f)
{
	switch (f) {
	case PLAN_SADDR4:
	case PLAN_DADDR4:
	case PLAN_SADDR6:
	case PLAN_DADDR6:
		need_family(b, k, is_v6(f) ? NFPROTO_IPV6 : NFPROTO_IPV4);
		load_payload(b, NFT_PAYLOAD_NETWORK_HEADER, address_offset(f), is_v6(f) ? 16 : 4);
		break;
	case PLAN_DPORT:
		need_tcp(b, k);
		load_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
		break;
	case PLAN_SKUID:
		load_meta(b, NFT_META_SKUID);
		break;
	case PLAN_NFPROTO:
	case PLAN_L4PROTO:
	case PLAN_IIFNAME:
	case PLAN_OIFNAME:
	case PLAN_TCP_FLAGS:
	case PLAN_CT_STATE:
	case PLAN_CT_DPORT:
	case PLAN_TIME:
	case PLAN_CGROUP:
	case PLAN_NFIELD:
		break;
	}
}

static void
put_address(struct buf *b, struct known *k, enum plan_field f, enum plan_op op,
    u128 lo, u128 hi)
{
	unsigned len = is_v6(f) ? 16 : 4, bits;
	uint8_t from[16], to[16], mask[16];
	u128 span = hi - lo;

	u128_to_be(len == 4 ? lo << 96 : lo, from);
	u128_to_be(len == 4 ? hi << 96 : hi, to);
	if (lo == hi || span & (span + 1) || lo & span) {
		load_key(b, k, f);
		if (lo == hi)
			compare(b, cmp_op(op), from, len);
		else
			between(b, op, from, to, len);
		return;
	}
	for (bits = 8 * len; span; span >>= 1)
		bits--;
	if (bits && bits % 8 == 0) {
		need_family(b, k, len == 16 ? NFPROTO_IPV6 : NFPROTO_IPV4);
		load_payload(b, NFT_PAYLOAD_NETWORK_HEADER, address_offset(f), bits / 8);
		compare(b, cmp_op(op), from, bits / 8);
		return;
	}
	load_key(b, k, f);
	for (unsigned i = 0; i < len; i++)
		mask[i] = (uint8_t)~(from[i] ^ to[i]);
	mask_with(b, mask, len);
	compare(b, cmp_op(op), from, len);
}

static void
put_port(struct buf *b, enum plan_op op, u128 lo, u128 hi)
{
	uint16_t from = htons((uint16_t)lo), to = htons((uint16_t)hi);

	if (lo == hi)
		compare(b, cmp_op(op), &from, sizeof from);
	else
		between(b, op, &from, &to, sizeof from);
}

/* ---- the rest of the fields --------------------------------------------------------- */

static void
put_state(struct buf *b, enum plan_op op, uint32_t mask)
{
	static const uint32_t none = 0;
	struct place p = begin(b, "ct");

	wire_u32(b, NFTA_CT_DREG, NFT_REG_1);
	wire_u32(b, NFTA_CT_KEY, NFT_CT_STATE);
	end(b, p);
	mask_with(b, &mask, sizeof mask);
	compare(b, op == PLAN_NOT ? NFT_CMP_EQ : NFT_CMP_NEQ, &none, sizeof none);
}

static void
put_first_port(struct buf *b, const struct plan_match *m)
{
	struct place p = begin(b, "ct");

	wire_u32(b, NFTA_CT_DREG, NFT_REG_1);
	wire_u32(b, NFTA_CT_KEY, NFT_CT_PROTO_DST);
	wire_u8(b, NFTA_CT_DIRECTION, DIR_ORIGINAL);
	end(b, p);
	put_port(b, m->op, m->lo, m->hi);
}

static void
put_time(struct buf *b, const struct plan_match *m)
{
	uint64_t ns = (uint64_t)m->lo * 1000000000;
	uint32_t v[2] = {htonl((uint32_t)(ns >> 32)), htonl((uint32_t)ns)};

	load_meta(b, NFT_META_TIME_NS);
	to_network_order(b, sizeof v);
	compare(b, cmp_op(m->op), v, sizeof v);
}

static void
put_interface(struct buf *b, const struct plan_match *m)
{
	char name[16] = {0};       /* IFNAMSIZ */

	memcpy(name, m->text, strnlen(m->text, sizeof name - 1));
	load_meta(b, m->field == PLAN_IIFNAME ? NFT_META_IIFNAME : NFT_META_OIFNAME);
	compare(b, cmp_op(m->op), name, sizeof name);
}

static void
put_flags(struct buf *b, const struct plan_match *m)
{
	uint8_t mask = (uint8_t)m->mask, value = (uint8_t)m->lo;

	load_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1);
	mask_with(b, &mask, 1);
	compare(b, cmp_op(m->op), &value, 1);
}

int
expr_uid(const struct nl_host *h, const char *name, uint32_t *uid)
{
	unsigned long x;
	char *tail;

	if (*name && strspn(name, "0123456789") == strlen(name)) {
		errno = 0;
		x = strtoul(name, &tail, 10);
		if (errno || x >= UINT32_MAX)
			return -ERANGE;
		*uid = (uint32_t)x;
		return 0;
	}
	return h && h->uid ? h->uid(h->arg, name, uid) : -ENOENT;
}

static void
put_user(struct expr_out *o, const struct plan_match *m)
{
	uint32_t uid = 0;
	int err = expr_uid(o->host, m->text, &uid);

	if (err && !o->err) {
		o->err = err;
		o->who = m->text;
	}
	load_meta(&o->b, NFT_META_SKUID);
	compare(&o->b, cmp_op(m->op), &uid, sizeof uid);
}

static void
put_cgroup(struct expr_out *o, const struct plan_match *m)
{
	uint64_t id = 0;
	struct place p;
	int err = o->host && o->host->cgroup ?
	    o->host->cgroup(o->host->arg, m->text, &id) : -ENOENT;

	if (err && !o->err) {
		o->err = err;
		o->who = m->text;
	}
	p = begin(&o->b, "socket");
	wire_u32(&o->b, NFTA_SOCKET_KEY, NFT_SOCKET_CGROUPV2);
	wire_u32(&o->b, NFTA_SOCKET_DREG, NFT_REG_1);
	wire_u32(&o->b, NFTA_SOCKET_LEVEL, m->level);
	end(&o->b, p);
	compare(&o->b, cmp_op(m->op), &id, sizeof id);
}

/* ---- sets ----------------------------------------------------------------------------- */

static void
put_lookup(struct expr_out *o, uint32_t set, bool invert, bool verdict)
{
	const char *name = o->form->set[set].name;
	struct buf *b = &o->b;
	struct place p = begin(b, "lookup");

	wire_str(b, NFTA_LOOKUP_SET, name ? name : "__set%d");
	wire_u32(b, NFTA_LOOKUP_SREG, NFT_REG_1);
	if (verdict)
		wire_u32(b, NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
	if (!name) {
		o->anon[o->nanon++] = (struct nl_anon){set, (uint32_t)b->n + NLA_HDRLEN};
		wire_u32(b, NFTA_LOOKUP_SET_ID, 0);
	}
	wire_u32(b, NFTA_LOOKUP_FLAGS, invert ? NFT_LOOKUP_F_INV : 0);
	end(b, p);
}

/* An anonymous set of one is that one. */
static bool
single(const struct plan_set *s, struct plan_match *m)
{
	if (s->name || s->n != 1 || s->kind != PLAN_SET)
		return false;
	m->set = PLAN_NONE;
	switch (s->key) {
	case PLAN_KEY_IPV4:
		m->lo = s->v4[0].lo;
		m->hi = s->v4[0].hi;
		break;
	case PLAN_KEY_IPV6:
		m->lo = s->v6[0].lo;
		m->hi = s->v6[0].hi;
		break;
	case PLAN_KEY_PORT:
		m->lo = s->port[0].lo;
		m->hi = s->port[0].hi;
		break;
	case PLAN_KEY_UID:
		m->text = s->user[0];
		break;
	case PLAN_NKEY:
		break;
	}
	return true;
}

static void
put_match(struct expr_out *o, struct known *k, const struct plan_match *match)
{
	struct plan_match m = *match;
	struct buf *b = &o->b;
	uint8_t byte = (uint8_t)m.lo;

	if (m.set != PLAN_NONE && !single(&o->form->plan->set[m.set], &m)) {
		load_key(b, k, m.field);
		put_lookup(o, m.set, m.op == PLAN_NOT, false);
		return;
	}
	switch (m.field) {
	case PLAN_NFPROTO:
		load_meta(b, NFT_META_NFPROTO);
		compare(b, cmp_op(m.op), &byte, 1);
		k->nfproto = m.op == PLAN_IS ? byte : 0;
		break;
	case PLAN_L4PROTO:
		load_meta(b, NFT_META_L4PROTO);
		compare(b, cmp_op(m.op), &byte, 1);
		k->l4proto = m.op == PLAN_IS ? byte : 0;
		break;
	case PLAN_IIFNAME:
	case PLAN_OIFNAME:
		put_interface(b, &m);
		break;
	case PLAN_SADDR4:
	case PLAN_DADDR4:
	case PLAN_SADDR6:
	case PLAN_DADDR6:
		put_address(b, k, m.field, m.op, m.lo, m.hi);
		break;
	case PLAN_DPORT:
		load_key(b, k, PLAN_DPORT);
		put_port(b, m.op, m.lo, m.hi);
		break;
	case PLAN_TCP_FLAGS:
		need_tcp(b, k);
		put_flags(b, &m);
		break;
	case PLAN_CT_STATE:
		put_state(b, m.op, m.mask);
		break;
	case PLAN_CT_DPORT:
		put_first_port(b, &m);
		break;
	case PLAN_TIME:
		put_time(b, &m);
		break;
	case PLAN_SKUID:
		put_user(o, &m);
		break;
	case PLAN_CGROUP:
		put_cgroup(o, &m);
		break;
	case PLAN_NFIELD:
		break;
	}
}

/* ---- statements ------------------------------------------------------------------------- */

static void
put_bucket(struct buf *b, const struct plan_limit *k)
{
	size_t at;

	wire_str(b, NFTA_EXPR_NAME, "limit");
	at = wire_nest(b, NFTA_EXPR_DATA);
	wire_u64(b, NFTA_LIMIT_RATE, k->rate);
	wire_u64(b, NFTA_LIMIT_UNIT, k->unit);
	wire_u32(b, NFTA_LIMIT_BURST, k->burst);
	wire_u32(b, NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
	wire_u32(b, NFTA_LIMIT_FLAGS, 0);
	wire_end(b, at);
}

static void
put_limit(struct expr_out *o, struct known *k, const struct plan_limit *t)
{
	static const uint8_t upper[16] = {255, 255, 255, 255, 255, 255, 255, 255};
	struct buf *b = &o->b;
	struct place p;
	size_t at;

	if (!t->rate)
		return;
	if (t->meter == PLAN_NONE) {
		at = wire_nest(b, NFTA_LIST_ELEM);
		put_bucket(b, t);
		wire_end(b, at);
		return;
	}
	if (o->form->plan->set[t->meter].key == PLAN_KEY_IPV4) {
		load_key(b, k, PLAN_SADDR4);
	} else {
		load_key(b, k, PLAN_SADDR6);
		mask_with(b, upper, sizeof upper);
	}
	p = begin(b, "dynset");
	wire_str(b, NFTA_DYNSET_SET_NAME, o->form->set[t->meter].name);
	wire_u32(b, NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
	wire_u32(b, NFTA_DYNSET_SREG_KEY, NFT_REG_1);
	at = wire_nest(b, NFTA_DYNSET_EXPR);
	put_bucket(b, t);
	wire_end(b, at);
	end(b, p);
}

static void
put_log(struct buf *b, const char *prefix)
{
	struct place p = begin(b, "log");

	wire_str(b, NFTA_LOG_PREFIX, prefix);
	wire_u16(b, NFTA_LOG_GROUP, PLAN_LOG_GROUP);
	end(b, p);
}

bool
expr_verdict(struct buf *b, uint16_t type, struct plan_verdict v, const struct nl_form *f)
{
	static const int code[PLAN_NVERDICT] = {
		[PLAN_DO_ACCEPT] = NF_ACCEPT,
		[PLAN_DO_DROP] = NF_DROP,
		[PLAN_DO_RETURN] = NFT_RETURN,
		[PLAN_DO_JUMP] = NFT_JUMP,
		[PLAN_DO_GOTO] = NFT_GOTO,
	};
	bool call = v.kind == PLAN_DO_JUMP || v.kind == PLAN_DO_GOTO;
	size_t data, at;

	if (!call && v.kind != PLAN_DO_ACCEPT && v.kind != PLAN_DO_DROP &&
	    v.kind != PLAN_DO_RETURN)
		return false;
	data = wire_nest(b, type);
	at = wire_nest(b, NFTA_DATA_VERDICT);
	wire_u32(b, NFTA_VERDICT_CODE, (uint32_t)code[v.kind]);
	if (call)
		wire_str(b, NFTA_VERDICT_CHAIN, f->chain[v.chain].name);
	wire_end(b, at);
	wire_end(b, data);
	return true;
}

static void
put_verdict(struct expr_out *o, struct known *k, struct plan_verdict v)
{
	uint16_t port = htons(PLAN_CAPTURE_PORT);
	struct buf *b = &o->b;
	struct place p;

	switch (v.kind) {
	case PLAN_GO_ON:
	case PLAN_NVERDICT:
		break;
	case PLAN_DO_REJECT:
		need_tcp(b, k);
		p = begin(b, "reject");
		wire_u32(b, NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST);
		wire_u8(b, NFTA_REJECT_ICMP_CODE, 0);
		end(b, p);
		break;
	case PLAN_DO_REDIRECT:
		p = begin(b, "immediate");
		wire_u32(b, NFTA_IMMEDIATE_DREG, NFT_REG_1);
		put_value(b, NFTA_IMMEDIATE_DATA, &port, sizeof port);
		end(b, p);
		p = begin(b, "redir");
		wire_u32(b, NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
		wire_u32(b, NFTA_REDIR_FLAGS, NAT_RANGE_PROTO_SPECIFIED);
		end(b, p);
		break;
	case PLAN_DO_ACCEPT:
	case PLAN_DO_DROP:
	case PLAN_DO_RETURN:
	case PLAN_DO_JUMP:
	case PLAN_DO_GOTO:
		p = begin(b, "immediate");
		wire_u32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
		expr_verdict(b, NFTA_IMMEDIATE_DATA, v, o->form);
		end(b, p);
		break;
	}
}

void
expr_rule(struct expr_out *o, const struct plan_rule *r)
{
	struct known k = {0};
	struct buf *b = &o->b;
	struct place p;

	for (uint32_t i = 0; i < r->nmatch; i++)
		put_match(o, &k, &r->match[i]);
	put_limit(o, &k, &r->limit);
	if (r->vmap != PLAN_NONE) {
		load_key(b, &k, r->vmap_field);
		put_lookup(o, r->vmap, false, true);
	}
	if (r->counter != PLAN_NONE) {
		p = begin(b, "objref");
		wire_u32(b, NFTA_OBJREF_IMM_TYPE, OBJECT_COUNTER);
		wire_str(b, NFTA_OBJREF_IMM_NAME, o->form->plan->counter[r->counter].name);
		end(b, p);
	}
	if (r->log)
		put_log(b, r->log);
	put_verdict(o, &k, r->verdict);
}
