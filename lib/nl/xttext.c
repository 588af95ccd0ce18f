/*
 * xttext: iptables' extensions as words.
 */
#include <arpa/inet.h>
#include <string.h>

#include "base/buf.h"
#include "nl/dump.h"
#include "nl/xtread.h"

enum { TOP = 65535 };

static const char *
not(bool invert)
{
	return invert ? "not " : "";
}

static void
span(struct buf *b, uint32_t lo, uint32_t hi)
{
	buf_printf(b, lo == hi ? "%u" : "%u-%u", lo, hi);
}

static void
ports(struct buf *b, const struct nl_xt *m)
{
	static const char *const end[] = {
		[NL_XT_SOURCE] = "source port", [NL_XT_DESTINATION] = "destination port",
		[NL_XT_EITHER] = "port",
	};

	for (uint32_t i = 0; i < m->u.ports.n; i++) {
		const struct nl_xt_ports *t = &m->u.ports.test[i];

		if (t->n == 1 && !t->range[0].lo && t->range[0].hi == TOP && !t->invert)
			continue;
		buf_printf(b, " %s %s", end[t->of], not(t->invert));
		for (uint32_t k = 0; k < t->n; k++) {
			buf_str(b, k ? "," : "");
			span(b, t->range[k].lo, t->range[k].hi);
		}
	}
	if (m->u.ports.flags)
		buf_printf(b, " flags %s& 0x%02x == 0x%02x", not(m->u.ports.flags_invert),
		    m->u.ports.flags_mask, m->u.ports.flags_is);
	if (m->u.ports.option)
		buf_str(b, " with an option");
}

static void
conntrack(struct buf *b, const struct nl_xt *m)
{
	static const struct {
		uint32_t bit;
		const char *word;
	} states[] = {{8, "new"}, {2, "established"}, {4, "related"}, {1, "invalid"}, {64, "untracked"}};
	const char *sep = "";

	if (m->u.ct.asks & NL_XT_CT_STATE) {
		buf_printf(b, " state %s", not(m->u.ct.invert & NL_XT_CT_STATE));
		for (size_t i = 0; i < sizeof states / sizeof *states; i++)
			if (m->u.ct.states & states[i].bit) {
				buf_printf(b, "%s%s", sep, states[i].word);
				sep = ",";
			}
		if (m->u.ct.snat)
			buf_printf(b, "%ssnat", sep);
		if (m->u.ct.dnat)
			buf_printf(b, "%sdnat", m->u.ct.snat ? "," : sep);
	}
	if (m->u.ct.asks & ~(uint32_t)NL_XT_CT_STATE)
		buf_str(b, " and more of the connection");
}

/* The family is not said: an address of 4 bytes has zeros behind them. */
static void
address(struct buf *b, const uint8_t a[16])
{
	static const uint8_t none[12];
	char text[INET6_ADDRSTRLEN] = "";

	inet_ntop(memcmp(a + 4, none, sizeof none) ? AF_INET6 : AF_INET, a, text, sizeof text);
	buf_str(b, text);
}

static void
addresses(struct buf *b, const uint8_t lo[16], const uint8_t hi[16])
{
	address(b, lo);
	if (!memcmp(lo, hi, 16))
		return;
	buf_chr(b, '-');
	address(b, hi);
}

static void
nat(struct buf *b, const struct nl_xt *m)
{
	if (m->u.nat.addr) {
		buf_str(b, " to ");
		addresses(b, m->u.nat.addr_lo, m->u.nat.addr_hi);
	}
	if (m->u.nat.port) {
		buf_str(b, " to port ");
		span(b, m->u.nat.port_lo, m->u.nat.port_hi);
	}
}

/* A string that ends where it likes. */
static void
comment(struct buf *b, const struct nl_bytes *v)
{
	char text[257] = "";

	if (v->n)
		memcpy(text, v->p, v->n < sizeof text ? v->n : sizeof text - 1);
	buf_chr(b, ' ');
	buf_json(b, text);
}

static void
options(struct buf *b, const struct nl_expr *e, const struct nl_xt *m)
{
	switch (m->kind) {
	case NL_XT_UNREAD:
		buf_printf(b, " rev %u", e->u.xt.rev);
		break;
	case NL_XT_ALWAYS:
		comment(b, &e->u.xt.info);
		break;
	case NL_XT_PORTS:
		ports(b, m);
		break;
	case NL_XT_CONNTRACK:
		conntrack(b, m);
		break;
	case NL_XT_OWNER:
		if (m->u.owner.asks & NL_XT_UID) {
			buf_printf(b, " user %s", not(m->u.owner.invert & NL_XT_UID));
			span(b, m->u.owner.uid_lo, m->u.owner.uid_hi);
		}
		if (m->u.owner.asks & ~(unsigned)NL_XT_UID)
			buf_str(b, " and more of the socket");
		break;
	case NL_XT_ADDRS:
		if (m->u.addrs.src) {
			buf_printf(b, " source %s", not(m->u.addrs.src_invert));
			addresses(b, m->u.addrs.src_lo, m->u.addrs.src_hi);
		}
		if (m->u.addrs.dst) {
			buf_printf(b, " destination %s", not(m->u.addrs.dst_invert));
			addresses(b, m->u.addrs.dst_lo, m->u.addrs.dst_hi);
		}
		break;
	case NL_XT_ADDRTYPE:
		if (m->u.addrtype.src)
			buf_printf(b, " source type %s0x%x", not(m->u.addrtype.src_invert),
			    m->u.addrtype.src);
		if (m->u.addrtype.dst)
			buf_printf(b, " destination type %s0x%x", not(m->u.addrtype.dst_invert),
			    m->u.addrtype.dst);
		break;
	case NL_XT_MARKED:
	case NL_XT_CTMARKED:
		buf_printf(b, " %s& 0x%x == 0x%x", not(m->u.mark.invert), m->u.mark.mask, m->u.mark.is);
		break;
	case NL_XT_MARK:
		buf_printf(b, " & 0x%x ^ 0x%x", ~m->u.mark.mask, m->u.mark.is);
		break;
	case NL_XT_SET:
		buf_printf(b, " number %u", m->u.set.number);
		break;
	case NL_XT_NAT:
		nat(b, m);
		break;
	case NL_XT_ICMP:
	case NL_XT_CHANCE:
	case NL_XT_ON:
	case NL_XT_REJECT:
	case NL_XT_QUEUE:
	case NL_XT_CONNMARK:
	case NL_XT_NOTRACK:
	case NL_XT_TEMPLATE:
		break;
	}
}

void
nl_expr_words(struct buf *b, const struct nl_expr *e)
{
	struct nl_xt m;

	if (e->kind != NL_XT_MATCH && e->kind != NL_XT_TARGET) {
		nl_expr_text(b, e);
		return;
	}
	nl_xt_read(e, &m);
	buf_printf(b, "%s %s", e->kind == NL_XT_MATCH ? "match" : "target",
	    e->u.xt.ext ? e->u.xt.ext : "?");
	options(b, e, &m);
}
