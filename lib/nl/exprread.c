/*
 * exprread: expressions out of the kernel's bytes, by a const row for each name.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <string.h>

#include "base/arena.h"
#include "nl/attr.h"
#include "nl/dump.h"
#include "nl/read.h"

enum { MOST_ATTR = 16, MOST_INFO = 65535 };

struct rd {
	struct arena *a;
	struct attr t[MOST_ATTR + 1];
	int err;
	unsigned depth;
};

/* A register's number in units of 4 bytes: nft_parse_register() of the kernel. */
static uint8_t
reg(struct rd *r, unsigned attr)
{
	uint32_t x;

	if (!r->t[attr].p)
		return NL_NO_REG;
	x = attr_u32(r->t[attr], 0, &r->err);
	if (x <= NFT_REG_4)
		return (uint8_t)(x * 4);
	if (x >= NFT_REG32_00 && x <= NFT_REG32_15)
		return (uint8_t)(x - NFT_REG32_00 + NL_DATA_REG);
	r->err = -EBADMSG;
	return NL_NO_REG;
}

static uint32_t
u32(struct rd *r, unsigned attr)
{
	return attr_u32(r->t[attr], 0, &r->err);
}

static const char *
text(struct rd *r, unsigned attr)
{
	const char *s = attr_text(r->a, r->t[attr]);

	if (!s)
		r->err = -EBADMSG;
	return s ? s : "";
}

static struct nl_bytes
keep(struct arena *a, struct attr x)
{
	struct nl_bytes b = {.n = x.n};

	if (x.n)
		b.p = memcpy(arena_alloc(a, x.n), x.p, x.n);
	return b;
}

int
read_data(struct arena *a, struct attr x, struct nl_bytes *value, struct nl_verdict *verdict)
{
	struct attr t[NFTA_DATA_MAX + 1], v[NFTA_VERDICT_MAX + 1];
	int err = 0;

	if (attr_table(x.p, x.n, t, NFTA_DATA_MAX))
		return -EBADMSG;
	if (t[NFTA_DATA_VALUE].p && value) {
		if (!t[NFTA_DATA_VALUE].n || t[NFTA_DATA_VALUE].n > NL_MOST_DATA)
			return -EBADMSG;
		*value = keep(a, t[NFTA_DATA_VALUE]);
		return 0;
	}
	if (!t[NFTA_DATA_VERDICT].p || !verdict ||
	    attr_table(t[NFTA_DATA_VERDICT].p, t[NFTA_DATA_VERDICT].n, v, NFTA_VERDICT_MAX) ||
	    !v[NFTA_VERDICT_CODE].p)
		return -EBADMSG;
	verdict->code = (int32_t)attr_u32(v[NFTA_VERDICT_CODE], 0, &err);
	verdict->chain = attr_text(a, v[NFTA_VERDICT_CHAIN]);
	if ((verdict->code == NL_JUMP || verdict->code == NL_GOTO) && !verdict->chain)
		return -EBADMSG;
	return err;
}

/* A value that must be there. */
static struct nl_bytes
value(struct rd *r, unsigned attr)
{
	struct nl_bytes v = {0};

	if (!r->t[attr].p || read_data(r->a, r->t[attr], &v, NULL))
		r->err = -EBADMSG;
	return v;
}

static void
payload(struct rd *r, struct nl_expr *e)
{
	e->u.payload.base = u32(r, NFTA_PAYLOAD_BASE);
	e->u.payload.offset = u32(r, NFTA_PAYLOAD_OFFSET);
	e->u.payload.len = u32(r, NFTA_PAYLOAD_LEN);
	e->u.payload.dreg = reg(r, NFTA_PAYLOAD_DREG);
	e->u.payload.sreg = reg(r, NFTA_PAYLOAD_SREG);
}

static void
meta(struct rd *r, struct nl_expr *e)
{
	e->u.meta.key = u32(r, NFTA_META_KEY);
	e->u.meta.dreg = reg(r, NFTA_META_DREG);
	e->u.meta.sreg = reg(r, NFTA_META_SREG);
}

/* A load with no source: rt, xfrm, osf, tunnel. */
static void
load(struct rd *r, struct nl_expr *e, unsigned dreg, uint32_t key)
{
	e->u.meta.key = key;
	e->u.meta.dreg = reg(r, dreg);
	e->u.meta.sreg = NL_NO_REG;
}

static void
rt(struct rd *r, struct nl_expr *e)
{
	load(r, e, NFTA_RT_DREG, u32(r, NFTA_RT_KEY));
}

static void
xfrm(struct rd *r, struct nl_expr *e)
{
	load(r, e, NFTA_XFRM_DREG, u32(r, NFTA_XFRM_KEY));
}

static void
osf(struct rd *r, struct nl_expr *e)
{
	load(r, e, NFTA_OSF_DREG, 0);
}

static void
tunnel(struct rd *r, struct nl_expr *e)
{
	load(r, e, NFTA_TUNNEL_DREG, u32(r, NFTA_TUNNEL_KEY));
}

static void
ct(struct rd *r, struct nl_expr *e)
{
	e->u.ct.key = u32(r, NFTA_CT_KEY);
	e->u.ct.dreg = reg(r, NFTA_CT_DREG);
	e->u.ct.sreg = reg(r, NFTA_CT_SREG);
	e->u.ct.dir = r->t[NFTA_CT_DIRECTION].p ?
	    attr_u8(r->t[NFTA_CT_DIRECTION], 0, &r->err) : -1;
}

static void
fib(struct rd *r, struct nl_expr *e)
{
	e->u.fib.result = u32(r, NFTA_FIB_RESULT);
	e->u.fib.flags = u32(r, NFTA_FIB_FLAGS);
	e->u.fib.dreg = reg(r, NFTA_FIB_DREG);
}

static void
sock(struct rd *r, struct nl_expr *e)
{
	e->u.socket.key = u32(r, NFTA_SOCKET_KEY);
	e->u.socket.level = u32(r, NFTA_SOCKET_LEVEL);
	e->u.socket.dreg = reg(r, NFTA_SOCKET_DREG);
}

static void
exthdr(struct rd *r, struct nl_expr *e)
{
	e->u.exthdr.type = attr_u8(r->t[NFTA_EXTHDR_TYPE], 0, &r->err);
	e->u.exthdr.offset = u32(r, NFTA_EXTHDR_OFFSET);
	e->u.exthdr.len = u32(r, NFTA_EXTHDR_LEN);
	e->u.exthdr.flags = u32(r, NFTA_EXTHDR_FLAGS);
	e->u.exthdr.op = u32(r, NFTA_EXTHDR_OP);
	e->u.exthdr.dreg = reg(r, NFTA_EXTHDR_DREG);
	e->u.exthdr.sreg = reg(r, NFTA_EXTHDR_SREG);
}

static void
numgen(struct rd *r, struct nl_expr *e)
{
	e->u.number.type = u32(r, NFTA_NG_TYPE);
	e->u.number.modulus = u32(r, NFTA_NG_MODULUS);
	e->u.number.offset = u32(r, NFTA_NG_OFFSET);
	e->u.number.dreg = reg(r, NFTA_NG_DREG);
	e->u.number.sreg = NL_NO_REG;
}

static void
hash(struct rd *r, struct nl_expr *e)
{
	e->u.number.type = u32(r, NFTA_HASH_TYPE);
	e->u.number.modulus = u32(r, NFTA_HASH_MODULUS);
	e->u.number.offset = u32(r, NFTA_HASH_OFFSET);
	e->u.number.len = u32(r, NFTA_HASH_LEN);
	e->u.number.seed = u32(r, NFTA_HASH_SEED);
	e->u.number.dreg = reg(r, NFTA_HASH_DREG);
	e->u.number.sreg = reg(r, NFTA_HASH_SREG);
}

static void
cmp(struct rd *r, struct nl_expr *e)
{
	e->u.cmp.op = u32(r, NFTA_CMP_OP);
	e->u.cmp.sreg = reg(r, NFTA_CMP_SREG);
	e->u.cmp.v = value(r, NFTA_CMP_DATA);
}

static void
range(struct rd *r, struct nl_expr *e)
{
	e->u.range.op = u32(r, NFTA_RANGE_OP);
	e->u.range.sreg = reg(r, NFTA_RANGE_SREG);
	e->u.range.from = value(r, NFTA_RANGE_FROM_DATA);
	e->u.range.to = value(r, NFTA_RANGE_TO_DATA);
	if (e->u.range.from.n != e->u.range.to.n)
		r->err = -EBADMSG;
}

static void
bitwise(struct rd *r, struct nl_expr *e)
{
	e->u.bitwise.op = u32(r, NFTA_BITWISE_OP);
	e->u.bitwise.len = u32(r, NFTA_BITWISE_LEN);
	e->u.bitwise.sreg = reg(r, NFTA_BITWISE_SREG);
	e->u.bitwise.dreg = reg(r, NFTA_BITWISE_DREG);
	if (e->u.bitwise.op == NFT_BITWISE_BOOL) {
		e->u.bitwise.mask = value(r, NFTA_BITWISE_MASK);
		e->u.bitwise.flip = value(r, NFTA_BITWISE_XOR);
		if (e->u.bitwise.mask.n != e->u.bitwise.len ||
		    e->u.bitwise.flip.n != e->u.bitwise.len)
			r->err = -EBADMSG;
	} else if (r->t[NFTA_BITWISE_DATA].p) {
		e->u.bitwise.data = value(r, NFTA_BITWISE_DATA);
	}
}

static void
byteorder(struct rd *r, struct nl_expr *e)
{
	e->u.byteorder.op = u32(r, NFTA_BYTEORDER_OP);
	e->u.byteorder.len = u32(r, NFTA_BYTEORDER_LEN);
	e->u.byteorder.size = u32(r, NFTA_BYTEORDER_SIZE);
	e->u.byteorder.sreg = reg(r, NFTA_BYTEORDER_SREG);
	e->u.byteorder.dreg = reg(r, NFTA_BYTEORDER_DREG);
}

static void
lookup(struct rd *r, struct nl_expr *e)
{
	e->u.lookup.set = text(r, NFTA_LOOKUP_SET);
	e->u.lookup.sreg = reg(r, NFTA_LOOKUP_SREG);
	e->u.lookup.dreg = reg(r, NFTA_LOOKUP_DREG);
	e->u.lookup.invert = u32(r, NFTA_LOOKUP_FLAGS) & NFT_LOOKUP_F_INV;
}

static void
dynset(struct rd *r, struct nl_expr *e)
{
	struct attr one = r->t[NFTA_DYNSET_EXPR], many = r->t[NFTA_DYNSET_EXPRESSIONS];
	struct nl_expr *inner = NULL;

	e->u.dynset.set = text(r, NFTA_DYNSET_SET_NAME);
	e->u.dynset.op = u32(r, NFTA_DYNSET_OP);
	e->u.dynset.key = reg(r, NFTA_DYNSET_SREG_KEY);
	e->u.dynset.data = reg(r, NFTA_DYNSET_SREG_DATA);
	e->u.dynset.timeout = attr_u64(r->t[NFTA_DYNSET_TIMEOUT], 0, &r->err);
	if (r->depth) {
		r->err = -EBADMSG;
	} else if (many.p) {
		if (read_exprs(r->a, many.p, many.n, r->depth + 1, &inner, &e->u.dynset.nexpr))
			r->err = -EBADMSG;
		e->u.dynset.expr = inner;
	} else if (one.p) {
		inner = arena_of(r->a, struct nl_expr);
		if (read_expr(r->a, one, r->depth + 1, inner))
			r->err = -EBADMSG;
		e->u.dynset.expr = inner;
		e->u.dynset.nexpr = 1;
	}
}

static void
objref(struct rd *r, struct nl_expr *e)
{
	e->u.objref.type = u32(r, NFTA_OBJREF_IMM_TYPE);
	e->u.objref.object = attr_text(r->a, r->t[NFTA_OBJREF_IMM_NAME]);
	e->u.objref.set = attr_text(r->a, r->t[NFTA_OBJREF_SET_NAME]);
	e->u.objref.sreg = reg(r, NFTA_OBJREF_SET_SREG);
	if (!e->u.objref.object && !e->u.objref.set)
		r->err = -EBADMSG;
}

static void
immediate(struct rd *r, struct nl_expr *e)
{
	e->u.immediate.dreg = reg(r, NFTA_IMMEDIATE_DREG);
	if (!r->t[NFTA_IMMEDIATE_DATA].p || read_data(r->a, r->t[NFTA_IMMEDIATE_DATA],
	    &e->u.immediate.v, &e->u.immediate.verdict))
		r->err = -EBADMSG;
}

static void
reject(struct rd *r, struct nl_expr *e)
{
	e->u.reject.type = u32(r, NFTA_REJECT_TYPE);
	e->u.reject.code = attr_u8(r->t[NFTA_REJECT_ICMP_CODE], 0, &r->err);
}

static void
nat(struct rd *r, struct nl_expr *e)
{
	e->u.nat.type = u32(r, NFTA_NAT_TYPE);
	e->u.nat.family = u32(r, NFTA_NAT_FAMILY);
	e->u.nat.flags = u32(r, NFTA_NAT_FLAGS);
	e->u.nat.addr_min = reg(r, NFTA_NAT_REG_ADDR_MIN);
	e->u.nat.addr_max = reg(r, NFTA_NAT_REG_ADDR_MAX);
	e->u.nat.port_min = reg(r, NFTA_NAT_REG_PROTO_MIN);
	e->u.nat.port_max = reg(r, NFTA_NAT_REG_PROTO_MAX);
}

static void
masq(struct rd *r, struct nl_expr *e)
{
	e->u.nat.addr_min = e->u.nat.addr_max = NL_NO_REG;
	e->u.nat.flags = u32(r, NFTA_MASQ_FLAGS);
	e->u.nat.port_min = reg(r, NFTA_MASQ_REG_PROTO_MIN);
	e->u.nat.port_max = reg(r, NFTA_MASQ_REG_PROTO_MAX);
}

static void
redir(struct rd *r, struct nl_expr *e)
{
	e->u.nat.addr_min = e->u.nat.addr_max = NL_NO_REG;
	e->u.nat.flags = u32(r, NFTA_REDIR_FLAGS);
	e->u.nat.port_min = reg(r, NFTA_REDIR_REG_PROTO_MIN);
	e->u.nat.port_max = reg(r, NFTA_REDIR_REG_PROTO_MAX);
}

static void
tproxy(struct rd *r, struct nl_expr *e)
{
	e->u.nat.family = u32(r, NFTA_TPROXY_FAMILY);
	e->u.nat.addr_min = reg(r, NFTA_TPROXY_REG_ADDR);
	e->u.nat.port_min = reg(r, NFTA_TPROXY_REG_PORT);
	e->u.nat.addr_max = e->u.nat.port_max = NL_NO_REG;
}

static void
queue(struct rd *r, struct nl_expr *e)
{
	e->u.queue.num = attr_u16(r->t[NFTA_QUEUE_NUM], 0, &r->err);
	e->u.queue.total = attr_u16(r->t[NFTA_QUEUE_TOTAL], 1, &r->err);
	e->u.queue.flags = attr_u16(r->t[NFTA_QUEUE_FLAGS], 0, &r->err);
	e->u.queue.sreg = reg(r, NFTA_QUEUE_SREG_QNUM);
}

static void
logging(struct rd *r, struct nl_expr *e)
{
	e->u.log.prefix = attr_text(r->a, r->t[NFTA_LOG_PREFIX]);
	e->u.log.group = r->t[NFTA_LOG_GROUP].p ?
	    attr_u16(r->t[NFTA_LOG_GROUP], 0, &r->err) : -1;
	e->u.log.snaplen = u32(r, NFTA_LOG_SNAPLEN);
	e->u.log.level = u32(r, NFTA_LOG_LEVEL);
}

static void
limit(struct rd *r, struct nl_expr *e)
{
	e->u.limit.rate = attr_u64(r->t[NFTA_LIMIT_RATE], 0, &r->err);
	e->u.limit.unit = attr_u64(r->t[NFTA_LIMIT_UNIT], 0, &r->err);
	e->u.limit.burst = u32(r, NFTA_LIMIT_BURST);
	e->u.limit.type = u32(r, NFTA_LIMIT_TYPE);
	e->u.limit.over = u32(r, NFTA_LIMIT_FLAGS) & NFT_LIMIT_F_INV;
}

static void
quota(struct rd *r, struct nl_expr *e)
{
	e->u.limit.rate = attr_u64(r->t[NFTA_QUOTA_BYTES], 0, &r->err);
	e->u.limit.over = u32(r, NFTA_QUOTA_FLAGS) & NFT_QUOTA_F_INV;
}

static void
connlimit(struct rd *r, struct nl_expr *e)
{
	e->u.limit.rate = u32(r, NFTA_CONNLIMIT_COUNT);
	e->u.limit.over = u32(r, NFTA_CONNLIMIT_FLAGS) & NFT_CONNLIMIT_F_INV;
}

static void
counter(struct rd *r, struct nl_expr *e)
{
	e->u.counter.packets = attr_u64(r->t[NFTA_COUNTER_PACKETS], 0, &r->err);
	e->u.counter.bytes = attr_u64(r->t[NFTA_COUNTER_BYTES], 0, &r->err);
}

/* The attributes of a match and of a target are numbered alike. */
static void
xt(struct rd *r, struct nl_expr *e)
{
	e->u.xt.ext = text(r, NFTA_MATCH_NAME);
	e->u.xt.rev = u32(r, NFTA_MATCH_REV);
	if (r->t[NFTA_MATCH_INFO].p && r->t[NFTA_MATCH_INFO].n <= MOST_INFO)
		e->u.xt.info = keep(r->a, r->t[NFTA_MATCH_INFO]);
}

static void
nothing(struct rd *r, struct nl_expr *e)
{
	(void)r;
	(void)e;
}

static const struct {
	const char *name;
	enum nl_kind kind;
	void (*read)(struct rd *, struct nl_expr *);
} row[] = {
	{"payload", NL_PAYLOAD, payload},
	{"meta", NL_META, meta},
	{"ct", NL_CT, ct},
	{"fib", NL_FIB, fib},
	{"socket", NL_SOCKET, sock},
	{"rt", NL_RT, rt},
	{"exthdr", NL_EXTHDR, exthdr},
	{"numgen", NL_NUMGEN, numgen},
	{"hash", NL_HASH, hash},
	{"osf", NL_OSF, osf},
	{"xfrm", NL_XFRM, xfrm},
	{"tunnel", NL_TUNNEL, tunnel},
	{"cmp", NL_CMP, cmp},
	{"range", NL_RANGE, range},
	{"bitwise", NL_BITWISE, bitwise},
	{"byteorder", NL_BYTEORDER, byteorder},
	{"lookup", NL_LOOKUP, lookup},
	{"dynset", NL_DYNSET, dynset},
	{"objref", NL_OBJREF, objref},
	{"immediate", NL_IMMEDIATE, immediate},
	{"reject", NL_REJECT, reject},
	{"nat", NL_NAT, nat},
	{"masq", NL_MASQ, masq},
	{"redir", NL_REDIR, redir},
	{"tproxy", NL_TPROXY, tproxy},
	{"queue", NL_QUEUE, queue},
	{"dup", NL_DUP, nothing},
	{"fwd", NL_FWD, nothing},
	{"synproxy", NL_SYNPROXY, nothing},
	{"flow_offload", NL_FLOW, nothing},
	{"counter", NL_COUNTER, counter},
	{"log", NL_LOG, logging},
	{"limit", NL_LIMIT, limit},
	{"quota", NL_QUOTA, quota},
	{"connlimit", NL_CONNLIMIT, connlimit},
	{"last", NL_LAST, nothing},
	{"notrack", NL_NOTRACK, nothing},
	{"match", NL_XT_MATCH, xt},
	{"target", NL_XT_TARGET, xt},
};

int
read_expr(struct arena *a, struct attr x, unsigned depth, struct nl_expr *e)
{
	struct attr t[NFTA_EXPR_MAX + 1];
	struct rd r = {.a = a, .depth = depth};

	*e = (struct nl_expr){.kind = NL_UNKNOWN};
	if (attr_table(x.p, x.n, t, NFTA_EXPR_MAX) || !t[NFTA_EXPR_NAME].p)
		return -EBADMSG;
	e->name = attr_text(a, t[NFTA_EXPR_NAME]);
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		if (strcmp(row[i].name, e->name))
			continue;
		e->kind = row[i].kind;
		r.err = attr_table(t[NFTA_EXPR_DATA].p, t[NFTA_EXPR_DATA].n, r.t, MOST_ATTR);
		if (!r.err)
			row[i].read(&r, e);
		return r.err;
	}
	return 0;
}

int
read_exprs(struct arena *a, const uint8_t *p, size_t n, unsigned depth,
    struct nl_expr **out, uint32_t *nout)
{
	struct attrs s = {p, n, 0};
	struct nl_expr *v;
	struct attr x;
	uint32_t count = 0, i = 0;
	uint16_t type;
	int err = 0;

	while (attr_next(&s, &type, &x))
		count += type == NFTA_LIST_ELEM;
	if (s.err || count > NL_MOST_EXPRS)
		return -EBADMSG;
	v = arena_array(a, count, struct nl_expr);
	s = (struct attrs){p, n, 0};
	while (attr_next(&s, &type, &x) && !err)
		if (type == NFTA_LIST_ELEM)
			err = read_expr(a, x, depth, &v[i++]);
	if (err)
		return err;
	*out = v;
	*nout = count;
	return 0;
}

int
nl_exprs_read(struct arena *a, const uint8_t *p, size_t n, struct nl_expr **out,
    uint32_t *nout)
{
	return read_exprs(a, p, n, 0, out, nout);
}
