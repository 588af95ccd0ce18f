#include "nl/element.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <string.h>

#include "nl/expr.h"
#include "nl/wire.h"

enum {
	MOST_NEST = 60000,         /* bytes of elements in a message; the limit is 65,535 */
	BYTEORDER_TAG = 0,         /* NFTNL_UDATA_SET_KEYBYTEORDER: for nft's listing */
	HOST_ORDER = 1,
	NETWORK_ORDER = 2,
	COMMENT_TAG = 0,           /* NFTNL_UDATA_SET_ELEM_COMMENT */
	MOST_KEY = 16,
};

/* The numbers of nft's types, for its listing. */
static const struct {
	uint32_t type, order;
} key_row[PLAN_NKEY] = {
	[PLAN_KEY_IPV4] = {7, NETWORK_ORDER},
	[PLAN_KEY_IPV6] = {8, NETWORK_ORDER},
	[PLAN_KEY_PORT] = {13, NETWORK_ORDER},
	[PLAN_KEY_UID] = {24, HOST_ORDER},
};

static uint32_t
set_flags(const struct plan_set *s)
{
	uint32_t flags = 0;

	if (!s->name)
		flags |= NFT_SET_ANONYMOUS | NFT_SET_CONSTANT;
	if (s->interval)
		flags |= NFT_SET_INTERVAL;
	if (s->kind == PLAN_MAP)
		flags |= NFT_SET_MAP;
	if (s->kind == PLAN_METER)
		flags |= NFT_SET_EVAL | NFT_SET_TIMEOUT;
	return flags;
}

static const char *
set_name(const struct nl_form *f, uint32_t set)
{
	return f->set[set].name ? f->set[set].name : "__set%d";
}

void
element_set(struct buf *b, const struct nl_form *f, uint32_t set, uint32_t id)
{
	const struct plan_set *s = &f->plan->set[set];
	struct buf tag = BUF_INIT(128);
	size_t at;

	wire_str(b, NFTA_SET_TABLE, f->plan->table);
	wire_str(b, NFTA_SET_NAME, set_name(f, set));
	wire_u32(b, NFTA_SET_FLAGS, set_flags(s));
	wire_u32(b, NFTA_SET_KEY_TYPE, key_row[s->key].type);
	wire_u32(b, NFTA_SET_KEY_LEN, plan_key_len(s->key));
	if (s->kind == PLAN_MAP)
		wire_u32(b, NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
	wire_u32(b, NFTA_SET_ID, id);
	if (s->kind == PLAN_METER)
		wire_u64(b, NFTA_SET_TIMEOUT, (uint64_t)s->timeout * 1000);
	if (s->kind == PLAN_METER || !s->name) {
		at = wire_nest(b, NFTA_SET_DESC);
		wire_u32(b, NFTA_SET_DESC_SIZE,
		    s->kind == PLAN_METER ? s->size : (uint32_t)s->n);
		wire_end(b, at);
	}
	wire_tag(&tag, BYTEORDER_TAG, &key_row[s->key].order, sizeof key_row[0].order);
	if (s->name)
		wire_tag(&tag, WIRE_TAG_DIGEST, f->set[set].digest, NL_DIGEST);
	if (tag.err && !b->err)
		b->err = tag.err;
	wire_put(b, NFTA_SET_USERDATA, tag.p, tag.err ? 0 : tag.n);
	buf_free(&tag);
}

/* The ends of element i as bytes; false when nothing is behind hi. */
static bool
ends(const struct plan_set *s, const struct nl_set_form *f, size_t i,
    uint8_t lo[MOST_KEY], uint8_t past[MOST_KEY])
{
	uint32_t a, b;
	uint16_t p, q;

	switch (s->key) {
	case PLAN_KEY_IPV4:
		a = htonl(s->v4[i].lo);
		b = htonl(s->v4[i].hi + 1);
		memcpy(lo, &a, sizeof a);
		memcpy(past, &b, sizeof b);
		return b != 0;
	case PLAN_KEY_IPV6:
		u128_to_be(s->v6[i].lo, lo);
		u128_to_be(s->v6[i].hi + 1, past);
		return s->v6[i].hi != U128_MAX;
	case PLAN_KEY_PORT:
		p = htons(s->port[i].lo);
		q = htons((uint16_t)(s->port[i].hi + 1));
		memcpy(lo, &p, sizeof p);
		memcpy(past, &q, sizeof q);
		return q != 0;
	case PLAN_KEY_UID:
		memcpy(lo, &f->uid[i], sizeof f->uid[i]);
		return false;
	case PLAN_NKEY:
		break;
	}
	return false;
}

/* One element of a few bytes, written at once: a list is mostly these. */
static void
put_plain(struct buf *b, const uint8_t *key, unsigned len, uint32_t flags)
{
	struct {
		struct nlattr elem, key, value;
		uint8_t bytes[MOST_KEY + sizeof(struct nlattr) + sizeof(uint32_t)];
	} x;
	unsigned padded = NLA_ALIGN(len), n = padded;

	x.value = (struct nlattr){(uint16_t)(NLA_HDRLEN + len), NFTA_DATA_VALUE};
	x.key = (struct nlattr){(uint16_t)(2 * NLA_HDRLEN + padded),
	    NFTA_SET_ELEM_KEY | NLA_F_NESTED};
	memset(x.bytes, 0, MOST_KEY);
	memcpy(x.bytes, key, len);
	if (flags) {
		struct nlattr h = {NLA_HDRLEN + sizeof flags, NFTA_SET_ELEM_FLAGS};

		flags = htonl(flags);
		memcpy(x.bytes + n, &h, sizeof h);
		memcpy(x.bytes + n + sizeof h, &flags, sizeof flags);
		n += (unsigned)(sizeof h + sizeof flags);
	}
	n += 3 * NLA_HDRLEN;
	x.elem = (struct nlattr){(uint16_t)n, NFTA_LIST_ELEM | NLA_F_NESTED};
	buf_add(b, &x, n);
}

static void
put_rich(struct buf *b, const struct element_run *run, size_t i, const uint8_t *key,
    unsigned len)
{
	const struct plan_set *s = &run->form->plan->set[run->set];
	const char *comment = s->comment ? s->comment[i] : NULL;
	size_t elem = wire_nest(b, NFTA_LIST_ELEM), at;

	at = wire_nest(b, NFTA_SET_ELEM_KEY);
	wire_put(b, NFTA_DATA_VALUE, key, len);
	wire_end(b, at);
	if (s->kind == PLAN_MAP)
		expr_verdict(b, NFTA_SET_ELEM_DATA, s->verdict[i], run->form);
	if (comment) {
		uint8_t tag[2 + PLAN_COMMENT + 1];
		size_t n = strnlen(comment, PLAN_COMMENT);

		tag[0] = COMMENT_TAG;
		tag[1] = (uint8_t)(n + 1);
		memcpy(tag + 2, comment, n);
		tag[2 + n] = 0;
		wire_put(b, NFTA_SET_ELEM_USERDATA, tag, n + 3);
	}
	wire_end(b, elem);
}

bool
element_done(const struct element_run *run)
{
	return run->at >= (run->pick ? run->npick : run->form->plan->set[run->set].n);
}

void
element_put(struct buf *b, struct element_run *run, uint32_t id)
{
	const struct plan_set *s = &run->form->plan->set[run->set];
	const struct nl_set_form *f = &run->form->set[run->set];
	unsigned len = plan_key_len(s->key);
	uint8_t lo[MOST_KEY], past[MOST_KEY];
	size_t list;

	wire_str(b, NFTA_SET_ELEM_LIST_TABLE, run->form->plan->table);
	wire_str(b, NFTA_SET_ELEM_LIST_SET, set_name(run->form, run->set));
	if (id)
		wire_u32(b, NFTA_SET_ELEM_LIST_SET_ID, id);
	list = wire_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
	while (!element_done(run) && b->n - list < MOST_NEST && !b->err) {
		size_t i = run->pick ? run->pick[run->at] : run->at;
		bool end = ends(s, f, i, lo, past);

		run->at++;
		if (!run->bare && (s->kind == PLAN_MAP || s->comment))
			put_rich(b, run, i, lo, len);
		else
			put_plain(b, lo, len, 0);
		if (s->interval && end)
			put_plain(b, past, len, NFT_SET_ELEM_INTERVAL_END);
	}
	wire_end(b, list);
}
