/*
 * xt: iptables' extensions, as the kernel's own functions take them.
 *
 * A match becomes a condition. What it asks of something that is no field (an ICMP type, an
 * ipset, a group) is not known, with the expression as its cause.
 */
#include <netinet/in.h>
#include <string.h>

#include "addr/packet.h"
#include "nl/xtread.h"
#include "vm/inside.h"

/* As nft numbers states (struct nl_xt); statuses of linux/netfilter/nf_conntrack_common.h. */
enum { INVALID_BIT = 1, UNTRACKED_BIT = 64 };
enum { SEEN_REPLY = 2, ASSURED = 4, EXPECTED = 1, DST_NAT = 0x20 };
enum { RTN_UNICAST = 1, RTN_LOCAL = 2, RTN_MULTICAST = 5, MOST_RTN = 12 };
enum { PORT_AT_SOURCE = 0, PORT_AT_DESTINATION = 2, FLAGS_AT = 13 };

static fdd_ref
unknown(struct exec *x, uint32_t i, const char *why)
{
	return not_known(cause_of(x->v, x->rule, i, why));
}

static fdd_ref
inverted(struct exec *x, bool invert, fdd_ref c)
{
	return invert ? cond_not(x->v, c) : c;
}

/* a where c holds (which is known), else b. */
static fdd_ref
pick(struct exec *x, fdd_ref c, fdd_ref a, fdd_ref b)
{
	return cond_or(x->v, cond_and(x->v, c, a), cond_and(x->v, cond_not(x->v, c), b));
}

/* ---- ports, flags ------------------------------------------------------------------------ */

static fdd_ref
port_within(struct exec *x, uint32_t i, uint32_t at, uint16_t lo, uint16_t hi)
{
	uint8_t from[2] = {(uint8_t)(lo >> 8), (uint8_t)lo}, to[2] = {(uint8_t)(hi >> 8), (uint8_t)hi};
	struct exec y = *x;

	if (lo > hi)
		return NO;
	for (uint32_t j = 0; j < sizeof from; j++)
		head_transport(x, &y.reg[j], at + j, i);
	return bytes_between(&y, i, 0, from, to, sizeof from);
}

static fdd_ref
port_test(struct exec *x, uint32_t i, const struct nl_xt_ports *t)
{
	fdd_ref c = NO;

	for (uint32_t k = 0; k < t->n; k++) {
		uint16_t lo = t->range[k].lo, hi = t->range[k].hi;

		if (t->of != NL_XT_DESTINATION)
			c = cond_or(x->v, c, port_within(x, i, PORT_AT_SOURCE, lo, hi));
		if (t->of != NL_XT_SOURCE)
			c = cond_or(x->v, c, port_within(x, i, PORT_AT_DESTINATION, lo, hi));
	}
	return inverted(x, t->invert, c);
}

static fdd_ref
flags_test(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	struct exec y = *x;

	head_transport(x, &y.reg[0], FLAGS_AT, i);
	y.reg[0].mask &= m->u.ports.flags_mask;
	if (!y.reg[0].mask)
		y.reg[0] = (struct sym){S_FIXED, 0, 0, 0};
	return inverted(x, m->u.ports.flags_invert, bytes_equal(&y, i, 0, &m->u.ports.flags_is, 1));
}

static fdd_ref
ports(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	bool (*of)(unsigned) = m->u.ports.proto == IPPROTO_TCP ? case_is_tcp :
	    m->u.ports.proto == IPPROTO_UDP ? case_is_udp : case_has_ports;
	fdd_ref c = YES;

	if (case_protocols(x, of) < 0)
		return case_by_protocol(x, i, of);
	if (!case_protocols(x, of))
		return rule_lost(x, i, "a match for another protocol");
	for (uint32_t k = 0; k < m->u.ports.n; k++)
		c = cond_and(x->v, c, port_test(x, i, &m->u.ports.test[k]));
	if (m->u.ports.flags)
		c = cond_and(x->v, c, flags_test(x, i, m));
	if (m->u.ports.option)
		c = cond_and(x->v, c, unknown(x, i, "an option that a packet may have"));
	return rule_guarded(x, i, c);
}

/* ---- addresses ----------------------------------------------------------------------------- */

static bool
both_families(const struct exec *x)
{
	return x->families == (1 << ADDR_V4 | 1 << ADDR_V6);
}

/* The address in the packet as it is now, at register 0 of y; gives its length. */
static uint32_t
load_addr(const struct exec *x, struct exec *y, uint32_t i, bool source)
{
	bool v4 = x->families == 1 << ADDR_V4;
	uint32_t n = v4 ? 4 : 16, at = v4 ? (source ? 12 : 16) : (source ? 8 : 24);

	*y = *x;
	for (uint32_t j = 0; j < n; j++)
		head_network(y, &y->reg[j], at + j, i);
	return n;
}

static fdd_ref
addr_within(struct exec *x, uint32_t i, bool source, const uint8_t *lo, const uint8_t *hi)
{
	struct exec y;
	uint32_t n = load_addr(x, &y, i, source);

	return memcmp(lo, hi, n) > 0 ? NO : bytes_between(&y, i, 0, lo, hi, n);
}

static fdd_ref
addrs(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	fdd_ref c = YES;

	if (both_families(x))
		return case_by_family(x, i);
	if (m->u.addrs.src)
		c = inverted(x, m->u.addrs.src_invert,
		    addr_within(x, i, true, m->u.addrs.src_lo, m->u.addrs.src_hi));
	if (m->u.addrs.dst)
		c = cond_and(x->v, c, inverted(x, m->u.addrs.dst_invert,
		    addr_within(x, i, false, m->u.addrs.dst_lo, m->u.addrs.dst_hi)));
	return rule_guarded(x, i, c);
}

/* IPv6 asks the address itself whether it is one of a machine or of a group. */
static fdd_ref
dst_type6(struct exec *x, uint32_t i, uint16_t types)
{
	static const uint8_t one[16] = {[15] = 1}, groups[16] = {0xff};
	static const uint8_t machines[16] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct exec y;
	uint32_t n = load_addr(x, &y, i, false);

	if (types == 1 << RTN_UNICAST)
		return bytes_between(&y, i, 0, one, machines, n);
	if (types == 1 << RTN_MULTICAST)
		return bytes_between(&y, i, 0, groups, NULL, n);
	return unknown(x, i, "a type of IPv6 addresses");
}

/* The type of the destination, by the routing table. */
static fdd_ref
dst_type(struct exec *x, uint32_t i, uint16_t types)
{
	const struct changed *c = rule_now(x);
	struct ivals s = {0};

	if (x->families != 1 << ADDR_V4 && types != 1 << RTN_LOCAL)
		return dst_type6(x, i, types);
	if (c->local)
		return types >> RTN_LOCAL & 1 ? YES : NO;
	if (c->dst4 != SAME || c->dst6 != SAME)
		return unknown(x, i, "the type of an address that is changed");
	for (unsigned k = 0; k < MOST_RTN; k++)
		if (types >> k & 1)
			ival_add(x->v->a, &s, k, k);
	ival_finish(&s);
	return source_among(x, S_DSTTYPE, &s);
}

static fdd_ref
addrtype(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	fdd_ref c = YES;

	if (both_families(x))
		return case_by_family(x, i);
	if (m->u.addrtype.src)
		c = unknown(x, i, "the type of a source address");
	if (m->u.addrtype.dst)
		c = cond_and(x->v, c, inverted(x, m->u.addrtype.dst_invert, m->u.addrtype.device ?
		    unknown(x, i, "the type of an address at one interface") :
		    dst_type(x, i, m->u.addrtype.dst)));
	return rule_guarded(x, i, c);
}

/* ---- connections ---------------------------------------------------------------------------- */

/* Packets that have a connection; those that make one. */
static fdd_ref
connected(struct exec *x)
{
	if (x->at.early || rule_now(x)->state == FIXED)
		return NO;
	return case_in_states(x, PACKET_NEW, PACKET_RELATED);
}

static fdd_ref
fresh(struct exec *x)
{
	return case_in_states(x, PACKET_NEW, PACKET_NEW);
}

/* Whether the connection's destination or source was translated; of one that is just being
 * made we know what rules have done before this one. */
static fdd_ref
translated(struct exec *x, uint32_t i, bool destination)
{
	const struct changed *c = rule_now(x);
	fdd_ref why = unknown(x, i, "whether a connection was translated");
	bool before = destination ? !c->nat :
	    c->src4 == SAME && c->src6 == SAME && c->sport == SAME &&
	    x->at.hook != HOOK_POST && x->at.hook != HOOK_IN;

	return pick(x, fresh(x), before ? NO : why, why);
}

static fdd_ref
states(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	static const uint8_t bit[] = {
		[PACKET_NEW] = 8, [PACKET_ESTABLISHED] = 2, [PACKET_RELATED] = 4,
		[PACKET_INVALID] = 1, [PACKET_UNTRACKED] = 64,
	};
	uint32_t want = m->u.ct.states;
	fdd_ref c, translations = NO;

	if (rule_now(x)->state == FIXED)
		return want & UNTRACKED_BIT ? YES : NO;
	if (x->at.early)
		return want & INVALID_BIT ? YES : NO;
	fdd_begin(x->v->f, FLOW_STATE);
	for (unsigned s = PACKET_NEW; s <= PACKET_UNTRACKED; s++)
		fdd_edge(x->v->f, s, want & bit[s] ? YES : NO);
	c = fdd_end(x->v->f);
	if (m->u.ct.dnat)
		translations = translated(x, i, true);
	if (m->u.ct.snat)
		translations = cond_or(x->v, translations, translated(x, i, false));
	return cond_or(x->v, c, cond_and(x->v, connected(x), translations));
}

static fdd_ref
status(struct exec *x, uint32_t i, uint32_t want)
{
	uint32_t known = SEEN_REPLY | ASSURED | EXPECTED | (rule_now(x)->nat ? 0 : DST_NAT);
	fdd_ref why = unknown(x, i, "the status of a connection"), later;

	if (!want)
		return NO;
	/* what counts as established has seen its reply */
	later = want & SEEN_REPLY ? pick(x, case_in_states(x, PACKET_ESTABLISHED, PACKET_ESTABLISHED),
	    YES, why) : why;
	return pick(x, fresh(x), want & ~known ? why : NO, later);
}

/* Of the address or the port of a connection's first packet: as it came. */
static fdd_ref
first_addr(struct exec *x, uint32_t i, bool source, const uint8_t *is, const uint8_t *mask)
{
	bool v4 = x->families == 1 << ADDR_V4;
	enum source s = v4 ? (source ? S_SRC4 : S_DST4) : (source ? S_SRC6 : S_DST6);
	uint32_t n = source_row(s)->bytes;
	struct exec y = *x;
	uint8_t want[16];

	for (uint32_t j = 0; j < n; j++) {
		y.reg[j] = (struct sym){(uint8_t)s, (uint8_t)j, mask[j], 0};
		if (!mask[j])
			y.reg[j] = (struct sym){S_FIXED, 0, 0, 0};
		want[j] = is[j] & mask[j];
	}
	return pick(x, fresh(x), bytes_equal(&y, i, 0, want, n),
	    unknown(x, i, "an address of a connection"));
}

static fdd_ref
first_port(struct exec *x, uint32_t i, bool source, uint16_t lo, uint16_t hi)
{
	fdd_ref why = unknown(x, i, "a port of a connection"), now;
	struct ivals s = {0};

	if (case_protocols(x, case_has_ports) != 1)
		return why;
	if (lo > hi)
		return NO;
	ival_add(x->v->a, &s, lo, hi);
	now = source_among(x, source ? S_SPORT : S_DPORT, &s);
	return pick(x, fresh(x), now, source ? why : source_among(x, S_CTPORT, &s));
}

/* What a conntrack match asks of the connection, where there is one. */
static fdd_ref
of_connection(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	enum { LOST_ASKS = NL_XT_CT_REPLSRC | NL_XT_CT_REPLDST | NL_XT_CT_EXPIRES |
	    NL_XT_CT_REPLSRC_PORT | NL_XT_CT_REPLDST_PORT };
	uint32_t asks = m->u.ct.asks, invert = m->u.ct.invert;
	uint16_t p = m->u.ct.proto;
	struct vm *v = x->v;
	fdd_ref c = YES, one;

	if (asks & NL_XT_CT_DIRECTION) {
		one = pick(x, fresh(x), YES, unknown(x, i, "the direction of a packet"));
		c = cond_and(v, c, inverted(x, invert & NL_XT_CT_DIRECTION, one));
	}
	if (asks & NL_XT_CT_PROTO) {
		one = p > UINT8_MAX ? NO : fdd_range(v->f, FLOW_PROTO, p, p, YES, NO);
		one = pick(x, case_errors(x->v), unknown(x, i, "the protocol of a connection"), one);
		c = cond_and(v, c, inverted(x, invert & NL_XT_CT_PROTO, one));
	}
	if (asks & NL_XT_CT_ORIGSRC)
		c = cond_and(v, c, inverted(x, invert & NL_XT_CT_ORIGSRC,
		    first_addr(x, i, true, m->u.ct.src, m->u.ct.src_mask)));
	if (asks & NL_XT_CT_ORIGDST)
		c = cond_and(v, c, inverted(x, invert & NL_XT_CT_ORIGDST,
		    first_addr(x, i, false, m->u.ct.dst, m->u.ct.dst_mask)));
	if (asks & NL_XT_CT_ORIGSRC_PORT)
		c = cond_and(v, c, inverted(x, invert & NL_XT_CT_ORIGSRC_PORT,
		    first_port(x, i, true, m->u.ct.sport_lo, m->u.ct.sport_hi)));
	if (asks & NL_XT_CT_ORIGDST_PORT)
		c = cond_and(v, c, inverted(x, invert & NL_XT_CT_ORIGDST_PORT,
		    first_port(x, i, false, m->u.ct.dport_lo, m->u.ct.dport_hi)));
	if (asks & NL_XT_CT_STATUS)
		c = cond_and(v, c, inverted(x, invert & NL_XT_CT_STATUS,
		    status(x, i, m->u.ct.status)));
	if (asks & LOST_ASKS)
		c = cond_and(v, c, unknown(x, i, "what a connection is"));
	return c;
}

/* A packet without a connection can have but a state. */
static fdd_ref
conntrack(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	uint32_t asks = m->u.ct.asks;
	fdd_ref c = YES;

	if (asks & (NL_XT_CT_ORIGSRC | NL_XT_CT_ORIGDST) && both_families(x))
		return case_by_family(x, i);
	if (asks & (NL_XT_CT_ORIGSRC_PORT | NL_XT_CT_ORIGDST_PORT) &&
	    case_protocols(x, case_has_ports) < 0)
		return case_by_protocol(x, i, case_has_ports);
	if (x->at.early && rule_now(x)->state == LOST)
		return rule_lost(x, i, "a template of a connection");
	if (asks & NL_XT_CT_STATE)
		c = inverted(x, m->u.ct.invert & NL_XT_CT_STATE, states(x, i, m));
	c = cond_and(x->v, c, pick(x, connected(x), of_connection(x, i, m),
	    asks & NL_XT_CT_STATE ? YES : NO));
	return rule_guarded(x, i, c);
}

/* ---- marks, owners ----------------------------------------------------------------------------- */

static fdd_ref
marked(struct exec *x, uint32_t i, const struct nl_xt *m, enum source s)
{
	uint8_t mask[4], want[4];
	struct exec y = *x;
	fdd_ref c;

	if (s == S_CTMARK && x->at.early && rule_now(x)->state == LOST)
		return rule_lost(x, i, "a template of a connection");
	mark_load(&y, i, 0, s);
	memcpy(mask, &m->u.mark.mask, sizeof mask);
	memcpy(want, &m->u.mark.is, sizeof want);
	for (unsigned j = 0; j < sizeof mask; j++) {
		y.reg[j].mask &= mask[j];
		y.reg[j].flip &= mask[j];
		if (!y.reg[j].mask)
			y.reg[j] = (struct sym){S_FIXED, 0, 0, y.reg[j].flip};
	}
	c = inverted(x, m->u.mark.invert, bytes_equal(&y, i, 0, want, sizeof want));
	if (s == S_CTMARK)
		c = cond_and(x->v, c, connected(x));
	return rule_guarded(x, i, c);
}

/* What was asked of a packet that has a socket. */
static fdd_ref
owned(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	uint32_t asks = m->u.owner.asks, invert = m->u.owner.invert;
	struct ivals s = {0};
	fdd_ref c = YES;

	if (asks & invert & NL_XT_SOCKET)
		return NO;
	if (asks & NL_XT_UID) {
		if (m->u.owner.uid_lo <= m->u.owner.uid_hi)
			ival_add(x->v->a, &s, m->u.owner.uid_lo, m->u.owner.uid_hi);
		ival_finish(&s);
		c = inverted(x, invert & NL_XT_UID, source_among(x, S_UID, &s));
	}
	if (asks & NL_XT_GID)
		c = cond_and(x->v, c, unknown(x, i, "a group of users"));
	return c;
}

static fdd_ref
owner(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	fdd_ref none = m->u.owner.asks ^ m->u.owner.invert ? NO : YES;

	if (x->at.way == WAY_OUTPUT)
		return rule_guarded(x, i, owned(x, i, m));
	if (x->at.way == WAY_FORWARD)
		return rule_guarded(x, i, none);
	return rule_guarded(x, i, pick(x, fresh(x), none, unknown(x, i, "a socket that receives")));
}

/* ---- targets ------------------------------------------------------------------------------------- */

static fdd_ref
set_mark(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	struct changed c = *rule_now(x);

	mark_change(S_MARK, &c, m->u.mark.mask, m->u.mark.is);
	return rule_change(x, i, &c);
}

/* From one mark to the other: known where what is taken is. */
static void
copy_mark(struct changed *c, enum source from, enum source to, uint32_t take, uint32_t clear,
    bool shift)
{
	uint32_t is;

	if (!shift && mark_known(from, c, take, &is))
		mark_change(to, c, clear, is);
	else
		mark_lose(to, c);
}

/* Without a connection nothing happens. */
static fdd_ref
connmark(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	struct changed c = *rule_now(x);
	uint32_t ctmask = m->u.connmark.ctmask, nfmask = m->u.connmark.nfmask;
	struct exec y = *x;

	if (x->at.early && c.state == LOST)
		return rule_lost(x, i, "a template of a connection");
	if (x->at.early || c.state == FIXED)
		return rule_go(x, i + 1);
	switch (m->u.connmark.how) {
	case NL_XT_CTMARK_SET:
		if (m->u.connmark.shift)
			mark_lose(S_CTMARK, &c);
		else
			mark_change(S_CTMARK, &c, ctmask, m->u.connmark.ctmark);
		return rule_change(x, i, &c);
	case NL_XT_CTMARK_SAVE:
		copy_mark(&c, S_MARK, S_CTMARK, nfmask, ctmask, m->u.connmark.shift);
		return rule_change(x, i, &c);
	case NL_XT_CTMARK_RESTORE:
		copy_mark(&c, S_CTMARK, S_MARK, ctmask, nfmask, m->u.connmark.shift);
		break;
	}
	return case_choose(x, connected(x), rule_change(&y, i, &c), rule_go(x, i + 1));
}

/* Another zone, another helper: only before tracking does the packet look otherwise. */
static fdd_ref
template(struct exec *x, uint32_t i)
{
	struct changed c = *rule_now(x);

	if (!x->at.early || c.state != SAME)
		return rule_go(x, i + 1);
	c.state = LOST;
	return rule_change(x, i, &c);
}

static fdd_ref
nat(struct exec *x, uint32_t i, const struct nl_xt *m)
{
	uint32_t n = x->families == 1 << ADDR_V4 ? 4 : 16;
	struct nat_to to = {.addr = m->u.nat.addr, .port = m->u.nat.port, .n = (uint8_t)n};
	bool at_source = x->at.hook == HOOK_POST || x->at.hook == HOOK_IN;

	to.one_port = to.port && !m->u.nat.chosen && m->u.nat.port_lo == m->u.nat.port_hi;
	to.port_is = m->u.nat.port_lo;
	to.one_addr = to.addr && !m->u.nat.chosen && !both_families(x) &&
	    !memcmp(m->u.nat.addr_lo, m->u.nat.addr_hi, n);
	memcpy(to.addr_is, m->u.nat.addr_lo, n);
	switch (m->u.nat.how) {
	case NL_XT_DNAT:
		return nat_destination(x, i, &to);
	case NL_XT_REDIRECT:
		return nat_redirect(x, i, &to);
	case NL_XT_NETMAP:
		to = (struct nat_to){.addr = true};
		return at_source ? nat_source(x, i) : nat_destination(x, i, &to);
	case NL_XT_SNAT:
	case NL_XT_MASQUERADE:
		break;
	}
	return nat_source(x, i);
}

/* ---- by kind ---------------------------------------------------------------------------------- */

fdd_ref
xt_match(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	struct nl_xt m;

	nl_xt_read(e, &m);
	switch (m.kind) {
	case NL_XT_ALWAYS:
		return rule_go(x, i + 1);
	case NL_XT_PORTS:
		return ports(x, i, &m);
	case NL_XT_CONNTRACK:
		return conntrack(x, i, &m);
	case NL_XT_OWNER:
		return owner(x, i, &m);
	case NL_XT_ADDRS:
		return addrs(x, i, &m);
	case NL_XT_ADDRTYPE:
		return addrtype(x, i, &m);
	case NL_XT_MARKED:
		return marked(x, i, &m, S_MARK);
	case NL_XT_CTMARKED:
		return marked(x, i, &m, S_CTMARK);
	case NL_XT_ICMP:
		return m.u.icmp.any ? rule_go(x, i + 1) : rule_lost(x, i, "a type of ICMP message");
	case NL_XT_CHANCE:
		return rule_perhaps(x, i);
	case NL_XT_SET:
		return rule_lost(x, i, "an ipset, whose members are not in the ruleset");
	case NL_XT_UNREAD:
	case NL_XT_ON:
	case NL_XT_REJECT:
	case NL_XT_QUEUE:
	case NL_XT_MARK:
	case NL_XT_CONNMARK:
	case NL_XT_NOTRACK:
	case NL_XT_TEMPLATE:
	case NL_XT_NAT:
		break;
	}
	return rule_lost(x, i, "an iptables match");
}

fdd_ref
xt_target(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	struct nl_xt m;

	nl_xt_read(e, &m);
	switch (m.kind) {
	case NL_XT_ON:
		return rule_go(x, i + 1);
	case NL_XT_REJECT:
		return fdd_leaf(leaf_one(x->v, V_REJECT, 0));
	case NL_XT_QUEUE:
		return fdd_leaf(leaf_one(x->v, V_QUEUE, 0));
	case NL_XT_MARK:
		return set_mark(x, i, &m);
	case NL_XT_CONNMARK:
		return connmark(x, i, &m);
	case NL_XT_NOTRACK:
		return rule_notrack(x, i);
	case NL_XT_TEMPLATE:
		return template(x, i);
	case NL_XT_NAT:
		return nat(x, i, &m);
	case NL_XT_UNREAD:
	case NL_XT_ALWAYS:
	case NL_XT_PORTS:
	case NL_XT_CONNTRACK:
	case NL_XT_OWNER:
	case NL_XT_ADDRS:
	case NL_XT_ADDRTYPE:
	case NL_XT_MARKED:
	case NL_XT_CTMARKED:
	case NL_XT_ICMP:
	case NL_XT_CHANCE:
	case NL_XT_SET:
		break;
	}
	return rule_other(x, i, "an iptables target");
}
