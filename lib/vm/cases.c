/*
 * cases: where the same rule means different things for different packets.
 */
#include <netinet/in.h>

#include "addr/packet.h"
#include "vm/inside.h"

/* a where c (which is known everywhere) holds, else b. */
fdd_ref
case_choose(struct exec *x, fdd_ref c, fdd_ref a, fdd_ref b)
{
	struct vm *v = x->v;

	return over(v, x->state, guard(v, x->state, c, a), guard(v, x->state, cond_not(v, c), b));
}

static bool
proto_has(const struct exec *x, unsigned p)
{
	return x->proto[p / 64] >> p % 64 & 1;
}

bool
case_has_ports(unsigned p)
{
	return p == IPPROTO_TCP || p == IPPROTO_UDP || p == IPPROTO_DCCP || p == IPPROTO_SCTP ||
	    p == IPPROTO_UDPLITE;
}

bool
case_is_tcp(unsigned p)
{
	return p == IPPROTO_TCP;
}

bool
case_is_udp(unsigned p)
{
	return p == IPPROTO_UDP;
}

/* 1: of all protocols that are possible, 0: of none, -1: of some. */
int
case_protocols(const struct exec *x, bool (*of)(unsigned))
{
	bool some = false, others = false;

	for (unsigned p = 0; p < 256; p++)
		if (proto_has(x, p)) {
			some |= of(p);
			others |= !of(p);
		}
	return some ? (others ? -1 : 1) : 0;
}

/* Executes from i on for the protocols that are of the kind and for the others. */
fdd_ref
case_by_protocol(struct exec *x, uint32_t i, bool (*of)(unsigned))
{
	struct exec a = *x, b = *x;
	struct ivals s = {0};

	for (unsigned p = 0; p < 256; p++) {
		struct exec *away = of(p) ? &b : &a;

		if (of(p))
			ival_add(x->v->a, &s, p, p);
		away->proto[p / 64] &= ~((uint64_t)1 << p % 64);
	}
	ival_finish(&s);
	return case_choose(x, fdd_among(x->v->f, FLOW_PROTO, &s, YES, NO), rule_go(&a, i), rule_go(&b, i));
}

fdd_ref
case_by_family(struct exec *x, uint32_t i)
{
	struct exec a = *x, b = *x;

	a.families = 1 << ADDR_V4;
	b.families = 1 << ADDR_V6;
	return case_choose(x, fdd_range(x->v->f, FLOW_FAMILY, ADDR_V4, ADDR_V4, YES, NO),
	    rule_go(&a, i), rule_go(&b, i));
}

fdd_ref
case_in_states(struct exec *x, unsigned from, unsigned to)
{
	return fdd_range(x->v->f, FLOW_STATE, from, to, YES, NO);
}

/* Packets that may be ICMP errors over somebody else's connection. */
fdd_ref
case_errors(struct vm *v)
{
	fdd_ref related = fdd_range(v->f, FLOW_STATE, PACKET_RELATED, PACKET_RELATED, YES, NO);

	return cond_and(v, related, cond_or(v,
	    fdd_range(v->f, FLOW_PROTO, IPPROTO_ICMP, IPPROTO_ICMP, YES, NO),
	    fdd_range(v->f, FLOW_PROTO, IPPROTO_ICMPV6, IPPROTO_ICMPV6, YES, NO)));
}

/* What a condition leaves of families and protocols. */
void
case_narrow(struct exec *x, fdd_ref c)
{
	struct fdd_view v;

	if (fdd_is_leaf(c))
		return;
	v = fdd_view(x->v->f, c);
	if (v.field == FLOW_FAMILY) {
		for (unsigned k = ADDR_V4; k <= ADDR_V6; k++)
			if (v.child[fdd_find(&v, k)] == NO)
				x->families &= (uint8_t)~(1 << k);
	} else if (v.field == FLOW_PROTO) {
		for (unsigned p = 0; p < 256; p++)
			if (v.child[fdd_find(&v, p)] == NO)
				x->proto[p / 64] &= ~((uint64_t)1 << p % 64);
	}
}
