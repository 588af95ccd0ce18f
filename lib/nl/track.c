#include "nl/track.h"

#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "nl/talk.h"
#include "nl/wire.h"

enum { ROOM = 4096, SEQ = 1 };

static void
put_tuple(struct buf *b, uint16_t type, const struct nl_connection *c, const uint8_t src[16],
    uint16_t sport, const uint8_t dst[16], uint16_t dport)
{
	size_t tuple = wire_nest(b, type), part = wire_nest(b, CTA_TUPLE_IP), n = c->v6 ? 16 : 4;

	wire_put(b, c->v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, src, n);
	wire_put(b, c->v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, dst, n);
	wire_end(b, part);
	part = wire_nest(b, CTA_TUPLE_PROTO);
	wire_u8(b, CTA_PROTO_NUM, c->proto);
	wire_u16(b, CTA_PROTO_SRC_PORT, sport);
	wire_u16(b, CTA_PROTO_DST_PORT, dport);
	wire_end(b, part);
	wire_end(b, tuple);
}

static void
put_tcp(struct buf *b)
{
	static const struct nf_ct_tcp_flags liberal = {IP_CT_TCP_FLAG_BE_LIBERAL,
	    IP_CT_TCP_FLAG_BE_LIBERAL};
	size_t info = wire_nest(b, CTA_PROTOINFO), tcp = wire_nest(b, CTA_PROTOINFO_TCP);

	wire_u8(b, CTA_PROTOINFO_TCP_STATE, TCP_CONNTRACK_ESTABLISHED);
	wire_put(b, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, &liberal, sizeof liberal);
	wire_put(b, CTA_PROTOINFO_TCP_FLAGS_REPLY, &liberal, sizeof liberal);
	wire_end(b, tcp);
	wire_end(b, info);
}

int
nl_track(struct nl_talk *t, const struct nl_connection *c)
{
	struct nl_batch one = {.bytes = BUF_INIT(ROOM), .seq = SEQ, .changes = 1};
	struct buf *b = &one.bytes;
	size_t at = wire_msg(b, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW,
	    NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, SEQ,
	    c->v6 ? AF_INET6 : AF_INET, 0);
	int err;

	put_tuple(b, CTA_TUPLE_ORIG, c, c->src, c->sport, c->dst, c->dport);
	put_tuple(b, CTA_TUPLE_REPLY, c, c->dst, c->dport, c->src, c->sport);
	wire_u32(b, CTA_STATUS, IPS_CONFIRMED | IPS_ASSURED | IPS_SEEN_REPLY);
	wire_u32(b, CTA_TIMEOUT, NL_TRACK_SECONDS);
	wire_u32(b, CTA_MARK, c->mark);
	if (c->proto == IPPROTO_TCP)
		put_tcp(b);
	wire_msg_end(b, at);
	err = b->err ? b->err : nl_talk_send(t, &one, NULL);
	nl_batch_free(&one);
	return err;
}
