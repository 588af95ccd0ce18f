/*
 * nat: where address translation sends a packet.
 */
#include <string.h>

#include "vm/inside.h"

enum { NAT_SOURCE };

static fdd_ref
accept_changed(struct exec *x, uint32_t i, const struct changed *c)
{
	uint32_t s = state_of(x->v, c);

	if (s == UINT32_MAX)
		return rule_other(x, i, "too many ways to change a packet");
	return fdd_leaf(leaf_one(x->v, V_ACCEPT, s));
}

static void
to_port(struct exec *x, const struct nl_expr *e, struct changed *c)
{
	uint8_t min[2], max[2];

	if (e->u.nat.port_min == NL_NO_REG)
		return;
	c->dport = LOST;
	if (!reg_is_fixed(x, e->u.nat.port_min, 2, min))
		return;
	if (e->u.nat.port_max != NL_NO_REG &&
	    (!reg_is_fixed(x, e->u.nat.port_max, 2, max) || memcmp(min, max, 2)))
		return;
	c->dport = FIXED;
	c->dport_is = (uint32_t)min[0] << 8 | min[1];
}

fdd_ref
rule_redirect(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	static const uint8_t lo4[4] = {127, 0, 0, 1}, lo6[16] = {[15] = 1};
	struct changed c = *rule_now(x);

	to_port(x, e, &c);
	c.nat = VM_CAPTURE;
	c.local = 1;
	c.dst4 = c.dst6 = LOST;
	if (x->at.hook == HOOK_OUT) {
		c.dst4 = c.dst6 = FIXED;
		memcpy(&c.dst4_is, lo4, sizeof lo4);
		memcpy(c.dst6_is, lo6, sizeof lo6);
	}
	return accept_changed(x, i, &c);
}

fdd_ref
rule_nat(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	struct changed c = *rule_now(x);
	uint8_t min[16], max[16];
	uint32_t n = e->u.nat.family == NF_IP ? 4 : 16;

	if (e->kind == NL_MASQ || e->u.nat.type == NAT_SOURCE) {
		c.src4 = c.src6 = c.sport = LOST;
		return accept_changed(x, i, &c);
	}
	to_port(x, e, &c);
	c.nat = VM_MOVED;
	if (e->u.nat.addr_min != NL_NO_REG) {
		bool one = reg_is_fixed(x, e->u.nat.addr_min, n, min) &&
		    (e->u.nat.addr_max == NL_NO_REG ||
		    (reg_is_fixed(x, e->u.nat.addr_max, n, max) && !memcmp(min, max, n)));

		c.dst4 = c.dst6 = LOST;
		if (one && n == 4) {
			c.dst4 = FIXED;
			memcpy(&c.dst4_is, min, n);
		} else if (one) {
			c.dst6 = FIXED;
			memcpy(c.dst6_is, min, n);
		}
	}
	return accept_changed(x, i, &c);
}
