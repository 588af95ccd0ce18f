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
change_port(const struct nat_to *to, struct changed *c)
{
	if (!to->port)
		return;
	c->dport = to->one_port ? FIXED : LOST;
	c->dport_is = to->one_port ? to->port_is : 0;
}

fdd_ref
nat_redirect(struct exec *x, uint32_t i, const struct nat_to *to)
{
	static const uint8_t lo4[4] = {127, 0, 0, 1}, lo6[16] = {[15] = 1};
	struct changed c = *rule_now(x);

	change_port(to, &c);
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
nat_destination(struct exec *x, uint32_t i, const struct nat_to *to)
{
	struct changed c = *rule_now(x);

	change_port(to, &c);
	c.nat = VM_MOVED;
	if (to->addr) {
		c.dst4 = c.dst6 = LOST;
		if (to->one_addr && to->n == 4) {
			c.dst4 = FIXED;
			memcpy(&c.dst4_is, to->addr_is, sizeof c.dst4_is);
		} else if (to->one_addr) {
			c.dst6 = FIXED;
			memcpy(c.dst6_is, to->addr_is, sizeof c.dst6_is);
		}
	}
	return accept_changed(x, i, &c);
}

fdd_ref
nat_source(struct exec *x, uint32_t i)
{
	struct changed c = *rule_now(x);

	c.src4 = c.src6 = c.sport = LOST;
	return accept_changed(x, i, &c);
}

/* ---- nft's own expressions ------------------------------------------------------------- */

/* Whether the registers of a range hold one value. */
static bool
one_value(const struct exec *x, unsigned from, unsigned to, uint32_t n, uint8_t *out)
{
	uint8_t last[16];

	return reg_is_fixed(x, from, n, out) && (to == NL_NO_REG ||
	    (reg_is_fixed(x, to, n, last) && !memcmp(out, last, n)));
}

static void
to_port(const struct exec *x, const struct nl_expr *e, struct nat_to *to)
{
	uint8_t p[2];

	to->port = e->u.nat.port_min != NL_NO_REG;
	to->one_port = to->port && one_value(x, e->u.nat.port_min, e->u.nat.port_max, 2, p);
	if (to->one_port)
		to->port_is = (uint16_t)(p[0] << 8 | p[1]);
}

fdd_ref
rule_redirect(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	struct nat_to to = {.n = 0};

	to_port(x, e, &to);
	return nat_redirect(x, i, &to);
}

fdd_ref
rule_nat(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	struct nat_to to = {.n = e->u.nat.family == NF_IP ? 4 : 16};

	if (e->kind == NL_MASQ || e->u.nat.type == NAT_SOURCE)
		return nat_source(x, i);
	to_port(x, e, &to);
	to.addr = e->u.nat.addr_min != NL_NO_REG;
	to.one_addr = to.addr &&
	    one_value(x, e->u.nat.addr_min, e->u.nat.addr_max, to.n, to.addr_is);
	return nat_destination(x, i, &to);
}
