/*
 * xtread: iptables' extensions out of their bytes, by a const row for each name.
 */
#include <netinet/in.h>

#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_iprange.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_owner.h>
#include <linux/netfilter/xt_set.h>
#include <linux/netfilter/xt_state.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6t_REJECT.h>
#include <stddef.h>
#include <string.h>

#include "nl/dump.h"
#include "nl/xtread.h"

/* As nft numbers states; and how xt's own bits stand beside them. */
enum { STATES = 1 | 2 | 4 | 8, STATE_UNTRACKED = 64 };

static void
port_test(struct nl_xt *x, enum nl_xt_end of, const uint16_t range[2], bool invert)
{
	struct nl_xt_ports *t = &x->u.ports.test[x->u.ports.n++];

	t->of = of;
	t->invert = invert;
	t->n = 1;
	t->range[0].lo = range[0];
	t->range[0].hi = range[1];
}

static void
tcp(struct nl_xt *x, const uint8_t *p)
{
	struct xt_tcp m;

	memcpy(&m, p, sizeof m);
	if (m.invflags & ~XT_TCP_INV_MASK)
		return;
	x->kind = NL_XT_PORTS;
	x->u.ports.proto = IPPROTO_TCP;
	port_test(x, NL_XT_SOURCE, m.spts, m.invflags & XT_TCP_INV_SRCPT);
	port_test(x, NL_XT_DESTINATION, m.dpts, m.invflags & XT_TCP_INV_DSTPT);
	x->u.ports.flags = m.flg_mask || m.flg_cmp || m.invflags & XT_TCP_INV_FLAGS;
	x->u.ports.flags_invert = m.invflags & XT_TCP_INV_FLAGS;
	x->u.ports.flags_mask = m.flg_mask;
	x->u.ports.flags_is = m.flg_cmp;
	x->u.ports.option = m.option;
}

static void
udp(struct nl_xt *x, const uint8_t *p)
{
	struct xt_udp m;

	memcpy(&m, p, sizeof m);
	if (m.invflags & ~XT_UDP_INV_MASK)
		return;
	x->kind = NL_XT_PORTS;
	x->u.ports.proto = IPPROTO_UDP;
	port_test(x, NL_XT_SOURCE, m.spts, m.invflags & XT_UDP_INV_SRCPT);
	port_test(x, NL_XT_DESTINATION, m.dpts, m.invflags & XT_UDP_INV_DSTPT);
}

/* A port whose flag is set is the start of a range that ends with the next one. */
static void
multiport(struct nl_xt *x, const uint8_t *p)
{
	static const enum nl_xt_end of[] = {
		[XT_MULTIPORT_SOURCE] = NL_XT_SOURCE,
		[XT_MULTIPORT_DESTINATION] = NL_XT_DESTINATION,
		[XT_MULTIPORT_EITHER] = NL_XT_EITHER,
	};
	struct nl_xt_ports *t = &x->u.ports.test[0];
	struct xt_multiport_v1 m;

	memcpy(&m, p, sizeof m);
	if (m.flags > XT_MULTIPORT_EITHER || m.count > XT_MULTI_PORTS)
		return;
	for (unsigned i = 0; i < m.count; i++) {
		t->range[t->n].lo = t->range[t->n].hi = m.ports[i];
		if (m.pflags[i] && ++i == m.count)
			return;            /* a range without its end */
		t->range[t->n++].hi = m.ports[i];
	}
	t->of = of[m.flags];
	t->invert = m.invert;
	x->u.ports.n = 1;
	x->kind = NL_XT_PORTS;
}

static void
conntrack_common(struct nl_xt *x, const struct xt_conntrack_mtinfo1 *m)
{
	x->kind = NL_XT_CONNTRACK;
	x->u.ct.asks = m->match_flags & (2u * NL_XT_CT_DIRECTION - 1);
	x->u.ct.invert = m->invert_flags;
	x->u.ct.proto = m->l4proto;
	memcpy(x->u.ct.src, &m->origsrc_addr, sizeof x->u.ct.src);
	memcpy(x->u.ct.src_mask, &m->origsrc_mask, sizeof x->u.ct.src_mask);
	memcpy(x->u.ct.dst, &m->origdst_addr, sizeof x->u.ct.dst);
	memcpy(x->u.ct.dst_mask, &m->origdst_mask, sizeof x->u.ct.dst_mask);
	x->u.ct.sport_lo = x->u.ct.sport_hi = ntohs(m->origsrc_port);
	x->u.ct.dport_lo = x->u.ct.dport_hi = ntohs(m->origdst_port);
}

static void
conntrack_states(struct nl_xt *x, uint32_t states, uint32_t status)
{
	x->u.ct.states = states & STATES;
	if (states & XT_CONNTRACK_STATE_UNTRACKED)
		x->u.ct.states |= STATE_UNTRACKED;
	x->u.ct.snat = states & XT_CONNTRACK_STATE_SNAT;
	x->u.ct.dnat = states & XT_CONNTRACK_STATE_DNAT;
	x->u.ct.status = status;
}

static void
conntrack1(struct nl_xt *x, const uint8_t *p)
{
	struct xt_conntrack_mtinfo1 m;

	memcpy(&m, p, sizeof m);
	conntrack_common(x, &m);
	conntrack_states(x, m.state_mask, m.status_mask);
}

/* Its bytes are those of the first revision up to the masks. */
static void
conntrack2(struct nl_xt *x, const uint8_t *p)
{
	struct xt_conntrack_mtinfo2 m;
	struct xt_conntrack_mtinfo1 one = {.l4proto = 0};

	memcpy(&m, p, sizeof m);
	memcpy(&one, p, offsetof(struct xt_conntrack_mtinfo1, state_mask));
	conntrack_common(x, &one);
	conntrack_states(x, m.state_mask, m.status_mask);
}

static void
conntrack3(struct nl_xt *x, const uint8_t *p)
{
	struct xt_conntrack_mtinfo3 m;

	conntrack2(x, p);
	memcpy(&m, p, sizeof m);
	x->u.ct.sport_lo = m.origsrc_port;
	x->u.ct.sport_hi = m.origsrc_port_high;
	x->u.ct.dport_lo = m.origdst_port;
	x->u.ct.dport_hi = m.origdst_port_high;
}

static void
state(struct nl_xt *x, const uint8_t *p)
{
	struct xt_state_info m;

	memcpy(&m, p, sizeof m);
	x->kind = NL_XT_CONNTRACK;
	x->u.ct.asks = NL_XT_CT_STATE;
	x->u.ct.states = m.statemask & STATES;
	if (m.statemask & XT_STATE_UNTRACKED)
		x->u.ct.states |= STATE_UNTRACKED;
}

static void
owner(struct nl_xt *x, const uint8_t *p)
{
	struct xt_owner_match_info m;

	memcpy(&m, p, sizeof m);
	x->kind = NL_XT_OWNER;
	x->u.owner.uid_lo = m.uid_min;
	x->u.owner.uid_hi = m.uid_max;
	x->u.owner.asks = m.match;
	x->u.owner.invert = m.invert;
}

static void
iprange(struct nl_xt *x, const uint8_t *p)
{
	struct xt_iprange_mtinfo m;

	memcpy(&m, p, sizeof m);
	x->kind = NL_XT_ADDRS;
	x->u.addrs.src = m.flags & IPRANGE_SRC;
	x->u.addrs.dst = m.flags & IPRANGE_DST;
	x->u.addrs.src_invert = m.flags & IPRANGE_SRC_INV;
	x->u.addrs.dst_invert = m.flags & IPRANGE_DST_INV;
	memcpy(x->u.addrs.src_lo, &m.src_min, sizeof x->u.addrs.src_lo);
	memcpy(x->u.addrs.src_hi, &m.src_max, sizeof x->u.addrs.src_hi);
	memcpy(x->u.addrs.dst_lo, &m.dst_min, sizeof x->u.addrs.dst_lo);
	memcpy(x->u.addrs.dst_hi, &m.dst_max, sizeof x->u.addrs.dst_hi);
}

static void
addrtype0(struct nl_xt *x, const uint8_t *p)
{
	struct xt_addrtype_info m;

	memcpy(&m, p, sizeof m);
	x->kind = NL_XT_ADDRTYPE;
	x->u.addrtype.src = m.source;
	x->u.addrtype.dst = m.dest;
	x->u.addrtype.src_invert = m.invert_source;
	x->u.addrtype.dst_invert = m.invert_dest;
}

static void
addrtype1(struct nl_xt *x, const uint8_t *p)
{
	struct xt_addrtype_info_v1 m;

	memcpy(&m, p, sizeof m);
	x->kind = NL_XT_ADDRTYPE;
	x->u.addrtype.src = m.source;
	x->u.addrtype.dst = m.dest;
	x->u.addrtype.src_invert = m.flags & XT_ADDRTYPE_INVERT_SOURCE;
	x->u.addrtype.dst_invert = m.flags & XT_ADDRTYPE_INVERT_DEST;
	x->u.addrtype.device = m.flags & (XT_ADDRTYPE_LIMIT_IFACE_IN | XT_ADDRTYPE_LIMIT_IFACE_OUT);
}

static void
marked(struct nl_xt *x, const uint8_t *p)
{
	struct xt_mark_mtinfo1 m;

	memcpy(&m, p, sizeof m);
	x->kind = NL_XT_MARKED;
	x->u.mark.is = m.mark;
	x->u.mark.mask = m.mask;
	x->u.mark.invert = m.invert;
}

static void
ctmarked(struct nl_xt *x, const uint8_t *p)
{
	marked(x, p);                  /* the same struct, of another file */
	x->kind = NL_XT_CTMARKED;
}

/* IPv4's type 255 is any; IPv6 has no such. */
static void
icmp(struct nl_xt *x, const uint8_t *p)
{
	struct ipt_icmp m;

	memcpy(&m, p, sizeof m);
	x->kind = NL_XT_ICMP;
	x->u.icmp.any = m.type == 0xff && !(m.invflags & IPT_ICMP_INV);
}

static void
icmp6(struct nl_xt *x, const uint8_t *p)
{
	(void)p;
	x->kind = NL_XT_ICMP;
}

static void
set(struct nl_xt *x, const uint8_t *p)
{
	struct xt_set_info m;

	memcpy(&m, p, sizeof m);
	x->kind = NL_XT_SET;
	x->u.set.number = m.index;
}

static void
always(struct nl_xt *x, const uint8_t *p)
{
	(void)p;
	x->kind = NL_XT_ALWAYS;
}

static void
chance(struct nl_xt *x, const uint8_t *p)
{
	(void)p;
	x->kind = NL_XT_CHANCE;
}

/* ---- targets ------------------------------------------------------------------------- */

static void
goes_on(struct nl_xt *x, const uint8_t *p)
{
	(void)p;
	x->kind = NL_XT_ON;
}

/* Adds to sets; one of them may also give the packet its mark. */
static void
set3(struct nl_xt *x, const uint8_t *p)
{
	struct xt_set_info_target_v3 m;

	memcpy(&m, p, sizeof m);
	if (!(m.flags & IPSET_FLAG_MAP_SKBMARK))
		x->kind = NL_XT_ON;
}

/* Both families number their answers up to the same. */
static void
reject(struct nl_xt *x, const uint8_t *p)
{
	struct ip6t_reject_info m;

	memcpy(&m, p, sizeof m);
	if (m.with <= IP6T_ICMP6_REJECT_ROUTE)
		x->kind = NL_XT_REJECT;
}

static void
queue(struct nl_xt *x, const uint8_t *p)
{
	(void)p;
	x->kind = NL_XT_QUEUE;
}

static void
mark(struct nl_xt *x, const uint8_t *p)
{
	struct xt_mark_tginfo2 m;

	memcpy(&m, p, sizeof m);
	x->kind = NL_XT_MARK;
	x->u.mark.is = m.mark;
	x->u.mark.mask = m.mask;
}

static void
connmark(struct nl_xt *x, const struct xt_connmark_tginfo1 *m)
{
	static const enum nl_xt_connmark how[] = {
		[XT_CONNMARK_SET] = NL_XT_CTMARK_SET,
		[XT_CONNMARK_SAVE] = NL_XT_CTMARK_SAVE,
		[XT_CONNMARK_RESTORE] = NL_XT_CTMARK_RESTORE,
	};

	if (m->mode > XT_CONNMARK_RESTORE)
		return;
	x->kind = NL_XT_CONNMARK;
	x->u.connmark.how = how[m->mode];
	x->u.connmark.ctmark = m->ctmark;
	x->u.connmark.ctmask = m->ctmask;
	x->u.connmark.nfmask = m->nfmask;
}

static void
connmark1(struct nl_xt *x, const uint8_t *p)
{
	struct xt_connmark_tginfo1 m;

	memcpy(&m, p, sizeof m);
	connmark(x, &m);
}

static void
connmark2(struct nl_xt *x, const uint8_t *p)
{
	struct xt_connmark_tginfo2 m;

	memcpy(&m, p, sizeof m);
	connmark(x, &(struct xt_connmark_tginfo1){m.ctmark, m.ctmask, m.nfmask, m.mode});
	x->u.connmark.shift = m.shift_bits;
}

static void
notrack(struct nl_xt *x, const uint8_t *p)
{
	(void)p;
	x->kind = NL_XT_NOTRACK;
}

/* All revisions begin alike. */
static void
ct(struct nl_xt *x, const uint8_t *p)
{
	struct xt_ct_target_info m;

	memcpy(&m, p, sizeof m);
	x->kind = m.flags & XT_CT_NOTRACK ? NL_XT_NOTRACK : NL_XT_TEMPLATE;
}

static void
nat(struct nl_xt *x, enum nl_xt_nat how, unsigned flags, uint16_t lo, uint16_t hi)
{
	x->kind = NL_XT_NAT;
	x->u.nat.how = how;
	x->u.nat.addr = flags & NF_NAT_RANGE_MAP_IPS;
	x->u.nat.port = flags & (NF_NAT_RANGE_PROTO_SPECIFIED | NF_NAT_RANGE_PROTO_RANDOM_ALL);
	x->u.nat.port_lo = ntohs(lo);
	x->u.nat.port_hi = ntohs(hi);
	x->u.nat.chosen = flags & ~(unsigned)(NF_NAT_RANGE_MAP_IPS |
	    NF_NAT_RANGE_PROTO_SPECIFIED | NF_NAT_RANGE_PERSISTENT);
}

static void
nat_old(struct nl_xt *x, enum nl_xt_nat how, const uint8_t *p)
{
	struct nf_nat_ipv4_multi_range_compat m;

	memcpy(&m, p, sizeof m);
	if (m.rangesize != 1)
		return;
	nat(x, how, m.range[0].flags, m.range[0].min.all, m.range[0].max.all);
	memcpy(x->u.nat.addr_lo, &m.range[0].min_ip, sizeof m.range[0].min_ip);
	memcpy(x->u.nat.addr_hi, &m.range[0].max_ip, sizeof m.range[0].max_ip);
}

/* Revision 2 of the range adds to the end of it. */
static void
nat_new(struct nl_xt *x, enum nl_xt_nat how, const uint8_t *p)
{
	struct nf_nat_range m;

	memcpy(&m, p, sizeof m);
	nat(x, how, m.flags, m.min_proto.all, m.max_proto.all);
	memcpy(x->u.nat.addr_lo, &m.min_addr, sizeof x->u.nat.addr_lo);
	memcpy(x->u.nat.addr_hi, &m.max_addr, sizeof x->u.nat.addr_hi);
}

static void
dnat_old(struct nl_xt *x, const uint8_t *p)
{
	nat_old(x, NL_XT_DNAT, p);
}

static void
dnat_new(struct nl_xt *x, const uint8_t *p)
{
	nat_new(x, NL_XT_DNAT, p);
}

static void
snat_old(struct nl_xt *x, const uint8_t *p)
{
	nat_old(x, NL_XT_SNAT, p);
}

static void
snat_new(struct nl_xt *x, const uint8_t *p)
{
	nat_new(x, NL_XT_SNAT, p);
}

static void
redirect_old(struct nl_xt *x, const uint8_t *p)
{
	nat_old(x, NL_XT_REDIRECT, p);
}

static void
redirect_new(struct nl_xt *x, const uint8_t *p)
{
	nat_new(x, NL_XT_REDIRECT, p);
}

static void
masquerade_old(struct nl_xt *x, const uint8_t *p)
{
	nat_old(x, NL_XT_MASQUERADE, p);
}

static void
masquerade_new(struct nl_xt *x, const uint8_t *p)
{
	nat_new(x, NL_XT_MASQUERADE, p);
}

static void
netmap_old(struct nl_xt *x, const uint8_t *p)
{
	nat_old(x, NL_XT_NETMAP, p);
}

static void
netmap_new(struct nl_xt *x, const uint8_t *p)
{
	nat_new(x, NL_XT_NETMAP, p);
}

/* ---- by name ------------------------------------------------------------------------------ */

enum { ANY_LENGTH = 0 };

struct row {
	const char *name;
	uint32_t from, to;         /* revisions */
	size_t size;               /* of its struct; ANY_LENGTH: it is not read */
	void (*read)(struct nl_xt *, const uint8_t *);
};

static const struct row matches[] = {
	{"tcp", 0, 0, sizeof(struct xt_tcp), tcp},
	{"udp", 0, 0, sizeof(struct xt_udp), udp},
	{"multiport", 1, 1, sizeof(struct xt_multiport_v1), multiport},
	{"comment", 0, 0, ANY_LENGTH, always},
	{"conntrack", 1, 1, sizeof(struct xt_conntrack_mtinfo1), conntrack1},
	{"conntrack", 2, 2, sizeof(struct xt_conntrack_mtinfo2), conntrack2},
	{"conntrack", 3, 3, sizeof(struct xt_conntrack_mtinfo3), conntrack3},
	{"state", 0, 0, sizeof(struct xt_state_info), state},
	{"owner", 1, 1, sizeof(struct xt_owner_match_info), owner},
	{"iprange", 1, 1, sizeof(struct xt_iprange_mtinfo), iprange},
	{"addrtype", 0, 0, sizeof(struct xt_addrtype_info), addrtype0},
	{"addrtype", 1, 1, sizeof(struct xt_addrtype_info_v1), addrtype1},
	{"mark", 1, 1, sizeof(struct xt_mark_mtinfo1), marked},
	{"connmark", 1, 1, sizeof(struct xt_connmark_mtinfo1), ctmarked},
	{"icmp", 0, 0, sizeof(struct ipt_icmp), icmp},
	{"icmp6", 0, 0, sizeof(struct ipt_icmp), icmp6},
	{"set", 1, 2, sizeof(struct xt_set_info_match_v1), set},
	{"set", 3, 3, sizeof(struct xt_set_info_match_v3), set},
	{"set", 4, 4, sizeof(struct xt_set_info_match_v4), set},
	{"limit", 0, 0, ANY_LENGTH, chance},
	{"hashlimit", 1, 3, ANY_LENGTH, chance},
	{"statistic", 0, 0, ANY_LENGTH, chance},
	{"connlimit", 0, 1, ANY_LENGTH, chance},
	{"quota", 0, 0, ANY_LENGTH, chance},
};

static const struct row targets[] = {
	{"REJECT", 0, 0, sizeof(struct ip6t_reject_info), reject},
	{"LOG", 0, 0, ANY_LENGTH, goes_on},
	{"NFLOG", 0, 0, ANY_LENGTH, goes_on},
	{"TRACE", 0, 0, ANY_LENGTH, goes_on},
	{"AUDIT", 0, 1, ANY_LENGTH, goes_on},
	{"TCPMSS", 0, 0, ANY_LENGTH, goes_on},
	{"TCPOPTSTRIP", 0, 0, ANY_LENGTH, goes_on},
	{"CHECKSUM", 0, 0, ANY_LENGTH, goes_on},
	{"CLASSIFY", 0, 0, ANY_LENGTH, goes_on},
	{"CONNSECMARK", 0, 0, ANY_LENGTH, goes_on},
	{"SECMARK", 0, 1, ANY_LENGTH, goes_on},
	{"DSCP", 0, 0, ANY_LENGTH, goes_on},
	{"TOS", 0, 1, ANY_LENGTH, goes_on},
	{"TTL", 0, 0, ANY_LENGTH, goes_on},
	{"HL", 0, 0, ANY_LENGTH, goes_on},
	{"TEE", 1, 1, ANY_LENGTH, goes_on},
	{"RATEEST", 0, 0, ANY_LENGTH, goes_on},
	{"IDLETIMER", 0, 1, ANY_LENGTH, goes_on},
	{"LED", 0, 0, ANY_LENGTH, goes_on},
	{"SET", 1, 2, ANY_LENGTH, goes_on},
	{"SET", 3, 3, sizeof(struct xt_set_info_target_v3), set3},
	{"NFQUEUE", 0, 3, ANY_LENGTH, queue},
	{"MARK", 2, 2, sizeof(struct xt_mark_tginfo2), mark},
	{"CONNMARK", 1, 1, sizeof(struct xt_connmark_tginfo1), connmark1},
	{"CONNMARK", 2, 2, sizeof(struct xt_connmark_tginfo2), connmark2},
	{"NOTRACK", 0, 0, ANY_LENGTH, notrack},
	{"CT", 0, 0, sizeof(struct xt_ct_target_info), ct},
	{"CT", 1, 2, sizeof(struct xt_ct_target_info_v1), ct},
	{"DNAT", 0, 0, sizeof(struct nf_nat_ipv4_multi_range_compat), dnat_old},
	{"DNAT", 1, 1, sizeof(struct nf_nat_range), dnat_new},
	{"DNAT", 2, 2, sizeof(struct nf_nat_range2), dnat_new},
	{"SNAT", 0, 0, sizeof(struct nf_nat_ipv4_multi_range_compat), snat_old},
	{"SNAT", 1, 1, sizeof(struct nf_nat_range), snat_new},
	{"SNAT", 2, 2, sizeof(struct nf_nat_range2), snat_new},
	/* of one revision for both families, and told apart by their lengths */
	{"REDIRECT", 0, 0, sizeof(struct nf_nat_ipv4_multi_range_compat), redirect_old},
	{"REDIRECT", 0, 0, sizeof(struct nf_nat_range), redirect_new},
	{"MASQUERADE", 0, 0, sizeof(struct nf_nat_ipv4_multi_range_compat), masquerade_old},
	{"MASQUERADE", 0, 0, sizeof(struct nf_nat_range), masquerade_new},
	{"NETMAP", 0, 0, sizeof(struct nf_nat_ipv4_multi_range_compat), netmap_old},
	{"NETMAP", 0, 0, sizeof(struct nf_nat_range), netmap_new},
};

/* The kernel dumps an extension's struct padded to the alignment of all of them. */
static bool
fits(const struct row *r, const struct nl_expr *e)
{
	uint32_t n = e->u.xt.info.n;

	return e->u.xt.ext && e->u.xt.rev >= r->from && e->u.xt.rev <= r->to && !strcmp(e->u.xt.ext, r->name) &&
	    (r->size == ANY_LENGTH || n == r->size || n == XT_ALIGN(r->size));
}

void
nl_xt_read(const struct nl_expr *e, struct nl_xt *out)
{
	bool match = e->kind == NL_XT_MATCH;
	const struct row *row = match ? matches : targets;
	size_t n = match ? sizeof matches / sizeof *matches : sizeof targets / sizeof *targets;

	memset(out, 0, sizeof *out);
	out->kind = NL_XT_UNREAD;
	for (size_t i = 0; i < n; i++)
		if (fits(&row[i], e)) {
			row[i].read(out, e->u.xt.info.p);
			return;
		}
}
