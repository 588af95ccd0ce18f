/*
 * exprtext: expressions as lines, for people and for comparing.
 */
#include <linux/netfilter/nf_tables.h>

#include "base/buf.h"
#include "nl/dump.h"

static const char *
word(const char *const *list, size_t n, uint32_t i)
{
	return i < n && list[i] ? list[i] : "?";
}

#define WORD(list, i) word((list), sizeof(list) / sizeof *(list), (i))

static const char *const base_word[] = {"link", "network", "transport", "inner"};
static const char *const cmp_word[] = {"==", "!=", "<", "<=", ">", ">="};
static const char *const meta_word[] = {
	[NFT_META_LEN] = "len", [NFT_META_PROTOCOL] = "protocol", [NFT_META_MARK] = "mark",
	[NFT_META_IIF] = "iif", [NFT_META_OIF] = "oif", [NFT_META_IIFNAME] = "iifname",
	[NFT_META_OIFNAME] = "oifname", [NFT_META_SKUID] = "skuid", [NFT_META_SKGID] = "skgid",
	[NFT_META_NFPROTO] = "nfproto", [NFT_META_L4PROTO] = "l4proto",
	[NFT_META_PKTTYPE] = "pkttype", [NFT_META_TIME_NS] = "time",
	[NFT_META_TIME_DAY] = "day", [NFT_META_TIME_HOUR] = "hour",
	[NFT_META_IIFGROUP] = "iifgroup", [NFT_META_OIFGROUP] = "oifgroup",
	[NFT_META_CGROUP] = "cgroup", [NFT_META_PRIORITY] = "priority",
};
static const char *const ct_word[] = {
	[NFT_CT_STATE] = "state", [NFT_CT_DIRECTION] = "direction", [NFT_CT_STATUS] = "status",
	[NFT_CT_MARK] = "mark", [NFT_CT_EXPIRATION] = "expiration", [NFT_CT_HELPER] = "helper",
	[NFT_CT_L3PROTOCOL] = "l3proto", [NFT_CT_SRC] = "src", [NFT_CT_DST] = "dst",
	[NFT_CT_PROTOCOL] = "protocol", [NFT_CT_PROTO_SRC] = "proto-src",
	[NFT_CT_PROTO_DST] = "proto-dst", [NFT_CT_ZONE] = "zone",
};

/* Where a value goes to or comes from. */
static void
ends(struct buf *b, uint8_t sreg, uint8_t dreg)
{
	if (sreg != NL_NO_REG)
		buf_printf(b, " <- r%u", sreg);
	if (dreg != NL_NO_REG)
		buf_printf(b, " -> r%u", dreg);
}

static void
bytes(struct buf *b, const char *before, struct nl_bytes v)
{
	if (!v.n)
		return;
	buf_str(b, before);
	buf_str(b, "0x");
	for (uint32_t i = 0; i < v.n; i++)
		buf_printf(b, "%02x", v.p[i]);
}

void
nl_verdict_text(struct buf *b, struct nl_verdict v)
{
	static const char *const given[] = {"drop", "accept", "stolen", "queue"};
	static const char *const own[] = {"", "continue", "break", "jump", "goto", "return"};

	if (v.code < 0)
		buf_str(b, WORD(own, (uint32_t)-v.code));
	else
		buf_str(b, WORD(given, (uint32_t)v.code & 0xff));
	if (v.chain)
		buf_printf(b, " %s", v.chain);
}

void
nl_expr_text(struct buf *b, const struct nl_expr *e)
{
	buf_str(b, e->kind == NL_UNKNOWN ? "unknown " : "");
	buf_str(b, e->name ? e->name : "?");
	switch (e->kind) {
	case NL_UNKNOWN:
	case NL_NKIND:
	case NL_DUP:
	case NL_FWD:
	case NL_SYNPROXY:
	case NL_FLOW:
	case NL_COUNTER:
	case NL_LAST:
	case NL_NOTRACK:
		break;
	case NL_PAYLOAD:
		buf_printf(b, " %u @ %s + %u", e->u.payload.len,
		    WORD(base_word, e->u.payload.base), e->u.payload.offset);
		ends(b, e->u.payload.sreg, e->u.payload.dreg);
		break;
	case NL_META:
		buf_printf(b, " %s(%u)", WORD(meta_word, e->u.meta.key), e->u.meta.key);
		ends(b, e->u.meta.sreg, e->u.meta.dreg);
		break;
	case NL_RT:
	case NL_OSF:
	case NL_XFRM:
	case NL_TUNNEL:
		buf_printf(b, " %u", e->u.meta.key);
		ends(b, e->u.meta.sreg, e->u.meta.dreg);
		break;
	case NL_CT:
		buf_printf(b, " %s(%u)%s", WORD(ct_word, e->u.ct.key), e->u.ct.key,
		    e->u.ct.dir == 0 ? " original" : e->u.ct.dir == 1 ? " reply" : "");
		ends(b, e->u.ct.sreg, e->u.ct.dreg);
		break;
	case NL_FIB:
		buf_printf(b, " result %u flags %u", e->u.fib.result, e->u.fib.flags);
		ends(b, NL_NO_REG, e->u.fib.dreg);
		break;
	case NL_SOCKET:
		buf_printf(b, " %u level %u", e->u.socket.key, e->u.socket.level);
		ends(b, NL_NO_REG, e->u.socket.dreg);
		break;
	case NL_EXTHDR:
		buf_printf(b, " %u: %u @ %u flags %u op %u", e->u.exthdr.type, e->u.exthdr.len,
		    e->u.exthdr.offset, e->u.exthdr.flags, e->u.exthdr.op);
		ends(b, e->u.exthdr.sreg, e->u.exthdr.dreg);
		break;
	case NL_NUMGEN:
	case NL_HASH:
		buf_printf(b, " type %u mod %u offset %u len %u", e->u.number.type,
		    e->u.number.modulus, e->u.number.offset, e->u.number.len);
		ends(b, e->u.number.sreg, e->u.number.dreg);
		break;
	case NL_CMP:
		buf_printf(b, " r%u %s", e->u.cmp.sreg, WORD(cmp_word, e->u.cmp.op));
		bytes(b, " ", e->u.cmp.v);
		break;
	case NL_RANGE:
		buf_printf(b, " r%u %s", e->u.range.sreg, WORD(cmp_word, e->u.range.op));
		bytes(b, " ", e->u.range.from);
		bytes(b, "-", e->u.range.to);
		break;
	case NL_BITWISE:
		buf_printf(b, " op %u len %u", e->u.bitwise.op, e->u.bitwise.len);
		bytes(b, " & ", e->u.bitwise.mask);
		bytes(b, " ^ ", e->u.bitwise.flip);
		bytes(b, " by ", e->u.bitwise.data);
		ends(b, e->u.bitwise.sreg, e->u.bitwise.dreg);
		break;
	case NL_BYTEORDER:
		buf_printf(b, " %s %u,%u", e->u.byteorder.op ? "hton" : "ntoh",
		    e->u.byteorder.len, e->u.byteorder.size);
		ends(b, e->u.byteorder.sreg, e->u.byteorder.dreg);
		break;
	case NL_LOOKUP:
		buf_printf(b, "%s @%s", e->u.lookup.invert ? " not" : "", e->u.lookup.set);
		ends(b, e->u.lookup.sreg, e->u.lookup.dreg);
		break;
	case NL_DYNSET:
		buf_printf(b, " op %u @%s timeout %llu", e->u.dynset.op, e->u.dynset.set,
		    (unsigned long long)e->u.dynset.timeout);
		ends(b, e->u.dynset.key, e->u.dynset.data);
		for (uint32_t i = 0; i < e->u.dynset.nexpr; i++) {
			buf_str(b, " { ");
			nl_expr_text(b, &e->u.dynset.expr[i]); /* never deeper */
			buf_str(b, " }");
		}
		break;
	case NL_OBJREF:
		buf_printf(b, " type %u %s%s", e->u.objref.type, e->u.objref.set ? "@" : "",
		    e->u.objref.set ? e->u.objref.set : e->u.objref.object);
		ends(b, e->u.objref.sreg, NL_NO_REG);
		break;
	case NL_IMMEDIATE:
		if (e->u.immediate.v.n) {
			bytes(b, " ", e->u.immediate.v);
			ends(b, NL_NO_REG, e->u.immediate.dreg);
			break;
		}
		buf_chr(b, ' ');
		nl_verdict_text(b, e->u.immediate.verdict);
		break;
	case NL_REJECT:
		buf_printf(b, " type %u code %u", e->u.reject.type, e->u.reject.code);
		break;
	case NL_NAT:
	case NL_MASQ:
	case NL_REDIR:
	case NL_TPROXY:
		buf_printf(b, " type %u family %u flags %u address r%u-r%u port r%u-r%u",
		    e->u.nat.type, e->u.nat.family, e->u.nat.flags, e->u.nat.addr_min,
		    e->u.nat.addr_max, e->u.nat.port_min, e->u.nat.port_max);
		break;
	case NL_QUEUE:
		buf_printf(b, " %u of %u flags %u", e->u.queue.num, e->u.queue.total,
		    e->u.queue.flags);
		ends(b, e->u.queue.sreg, NL_NO_REG);
		break;
	case NL_LOG:
		buf_printf(b, " group %d snaplen %u level %u prefix ", e->u.log.group,
		    e->u.log.snaplen, e->u.log.level);
		buf_json(b, e->u.log.prefix ? e->u.log.prefix : "");
		break;
	case NL_LIMIT:
	case NL_QUOTA:
	case NL_CONNLIMIT:
		buf_printf(b, " %s%llu/%llu burst %u type %u", e->u.limit.over ? "over " : "",
		    (unsigned long long)e->u.limit.rate, (unsigned long long)e->u.limit.unit,
		    e->u.limit.burst, e->u.limit.type);
		break;
	case NL_XT_MATCH:
	case NL_XT_TARGET:
		buf_printf(b, " %s rev %u", e->u.xt.ext, e->u.xt.rev);
		bytes(b, " ", e->u.xt.info);
		break;
	}
}
