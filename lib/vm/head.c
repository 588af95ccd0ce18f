/*
 * head: what a packet's headers have at a place, and what writing there changes.
 */
#include <string.h>

#include "addr/packet.h"
#include "vm/inside.h"

enum { BASE_NETWORK = 1, BASE_TRANSPORT = 2 };

static void
put_byte(struct sym *b, enum source s, unsigned idx, uint8_t how, const uint8_t *is,
    uint32_t i)
{
	if (how == SAME)
		*b = (struct sym){(uint8_t)s, (uint8_t)idx, 0xff, 0};
	else if (how == FIXED)
		*b = (struct sym){S_FIXED, 0, 0, is[idx]};
	else
		*b = (struct sym){S_LOST, (uint8_t)i, 0xff, 0};
}

void
head_network(struct exec *x, struct sym *b, uint32_t o, uint32_t i)
{
	static const uint8_t none[16];
	const struct changed *c = rule_now(x);
	uint8_t dst4[4];

	memcpy(dst4, &c->dst4_is, sizeof dst4);
	*b = (struct sym){S_LOST, (uint8_t)i, 0xff, 0};
	if (x->families == 1 << ADDR_V4) {
		if (o == 9)
			*b = (struct sym){S_L4PROTO, 0, 0xff, 0};
		else if (o >= 12 && o < 16)
			put_byte(b, S_SRC4, o - 12, c->src4, none, i);
		else if (o >= 16 && o < 20)
			put_byte(b, S_DST4, o - 16, c->dst4, dst4, i);
		else if (o == 6)           /* no fragment */
			b->mask = 0xc0;
		else if (o == 7)
			*b = (struct sym){S_FIXED, 0, 0, 0};
	} else {
		if (o == 6)
			*b = (struct sym){S_L4PROTO, 0, 0xff, 0};
		else if (o >= 8 && o < 24)
			put_byte(b, S_SRC6, o - 8, c->src6, none, i);
		else if (o >= 24 && o < 40)
			put_byte(b, S_DST6, o - 24, c->dst6, c->dst6_is, i);
	}
}

void
head_transport(struct exec *x, struct sym *b, uint32_t o, uint32_t i)
{
	const struct changed *c = rule_now(x);
	uint8_t port[2] = {(uint8_t)(c->dport_is >> 8), (uint8_t)c->dport_is};

	*b = (struct sym){S_LOST, (uint8_t)i, 0xff, 0};
	if (o < 2 && case_protocols(x, case_has_ports) == 1)
		put_byte(b, S_SPORT, o, c->sport, port, i);
	else if (o < 4 && case_protocols(x, case_has_ports) == 1)
		put_byte(b, S_DPORT, o - 2, c->dport, port, i);
	else if (o == 13 && case_protocols(x, case_is_tcp) == 1)
		*b = (struct sym){S_FLAGS, 0, 0xff, 0};
}

fdd_ref
head_payload(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	uint32_t base = e->u.payload.base, o = e->u.payload.offset, n = e->u.payload.len;
	struct changed c = *rule_now(x);
	struct sym *b;

	if (e->u.payload.sreg != NL_NO_REG) {
		if (base == BASE_NETWORK) {
			c.src4 = c.dst4 = c.src6 = c.dst6 = LOST;
			return o >= 10 && o <= 12 && n <= 12 - o ? rule_go(x, i + 1) : rule_change(x, i, &c);
		}
		if (base == BASE_TRANSPORT && o < 4) {
			c.sport = c.dport = LOST;
			return rule_change(x, i, &c);
		}
		return rule_go(x, i + 1);
	}
	if (base == BASE_NETWORK && x->families == (1 << ADDR_V4 | 1 << ADDR_V6))
		return case_by_family(x, i);
	if (base == BASE_TRANSPORT && o < 4 && case_protocols(x, case_has_ports) < 0)
		return case_by_protocol(x, i, case_has_ports);
	if (base == BASE_TRANSPORT && o <= 13 && o + n > 13 && case_protocols(x, case_is_tcp) < 0)
		return case_by_protocol(x, i, case_is_tcp);
	b = reg_clear(x, e->u.payload.dreg, n);
	if (!b)
		reg_lost(x, e->u.payload.dreg, n, i);
	for (uint32_t j = 0; b && j < n; j++) {
		if (base == BASE_NETWORK)
			head_network(x, &b[j], o + j, i);
		else if (base == BASE_TRANSPORT)
			head_transport(x, &b[j], o + j, i);
		else
			b[j] = (struct sym){S_LOST, (uint8_t)i, 0xff, 0};
	}
	return rule_go(x, i + 1);
}
