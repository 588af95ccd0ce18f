/*
 * xtread: iptables' extensions, as their C structs stand in a dump, as plain structs.
 *
 * iptables-nft writes what nf_tables has no expression for as the bytes of
 * linux/netfilter/xt_NAME.h. Pure bytes, nothing in them believed: an extension that we do
 * not know, a revision that we do not, or a length that is not its struct's is
 * NL_XT_UNREAD. Numbers that the extensions keep in network order are in host order here;
 * addresses are 16 bytes, of which IPv4 has the first 4.
 */
#ifndef NL_XTREAD_H
#define NL_XTREAD_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct nl_expr;

enum nl_xt_kind {
	NL_XT_UNREAD,
	/* matches */
	NL_XT_ALWAYS,              /* comment */
	NL_XT_PORTS,               /* tcp, udp, multiport */
	NL_XT_CONNTRACK,           /* conntrack, state */
	NL_XT_OWNER,
	NL_XT_ADDRS,               /* iprange */
	NL_XT_ADDRTYPE,
	NL_XT_MARKED,              /* mark */
	NL_XT_CTMARKED,            /* connmark */
	NL_XT_ICMP,                /* icmp, icmp6 */
	NL_XT_CHANCE,              /* limit, hashlimit, statistic, connlimit, quota */
	NL_XT_SET,                 /* an ipset, which stands outside of nf_tables */
	/* targets */
	NL_XT_ON,                  /* LOG, NFLOG, TCPMSS, ...: the packet goes on */
	NL_XT_REJECT,
	NL_XT_QUEUE,
	NL_XT_MARK,
	NL_XT_CONNMARK,
	NL_XT_NOTRACK,
	NL_XT_TEMPLATE,            /* CT, to track otherwise */
	NL_XT_NAT,                 /* DNAT, SNAT, REDIRECT, MASQUERADE, NETMAP */
};

enum { NL_XT_MOST_RANGES = 15, NL_XT_MOST_TESTS = 2 };
enum nl_xt_end { NL_XT_SOURCE, NL_XT_DESTINATION, NL_XT_EITHER };

/* Whether the port is in one of the ranges (both ends in; an end before its start: nothing). */
struct nl_xt_ports {
	enum nl_xt_end of;
	bool invert;
	uint32_t n;
	struct {
		uint16_t lo, hi;
	} range[NL_XT_MOST_RANGES];
};

/* What a conntrack match asks, and what it wants otherwise: bits of `asks` and `invert`. */
enum {
	NL_XT_CT_STATE = 1 << 0, NL_XT_CT_PROTO = 1 << 1, NL_XT_CT_ORIGSRC = 1 << 2,
	NL_XT_CT_ORIGDST = 1 << 3, NL_XT_CT_REPLSRC = 1 << 4, NL_XT_CT_REPLDST = 1 << 5,
	NL_XT_CT_STATUS = 1 << 6, NL_XT_CT_EXPIRES = 1 << 7, NL_XT_CT_ORIGSRC_PORT = 1 << 8,
	NL_XT_CT_ORIGDST_PORT = 1 << 9, NL_XT_CT_REPLSRC_PORT = 1 << 10,
	NL_XT_CT_REPLDST_PORT = 1 << 11, NL_XT_CT_DIRECTION = 1 << 12,
};

enum { NL_XT_UID = 1, NL_XT_GID = 2, NL_XT_SOCKET = 4 };
enum nl_xt_connmark { NL_XT_CTMARK_SET, NL_XT_CTMARK_SAVE, NL_XT_CTMARK_RESTORE };
enum nl_xt_nat { NL_XT_DNAT, NL_XT_SNAT, NL_XT_REDIRECT, NL_XT_MASQUERADE, NL_XT_NETMAP };

struct nl_xt {
	enum nl_xt_kind kind;
	union {
		struct {           /* all tests hold */
			uint8_t proto;   /* 6, 17; 0: any protocol with ports */
			bool option;     /* and there is a TCP option */
			bool flags, flags_invert; /* TCP's & mask == is */
			uint8_t flags_mask, flags_is;
			uint32_t n;
			struct nl_xt_ports test[NL_XT_MOST_TESTS];
		} ports;
		struct {
			uint32_t asks, invert;
			uint32_t states;  /* as nft's: invalid 1, established 2, related 4,
			                     new 8, untracked 64 */
			bool snat, dnat;  /* or the connection was translated */
			uint32_t status;  /* IPS_* */
			uint16_t proto;
			uint8_t src[16], src_mask[16], dst[16], dst_mask[16]; /* of its first
			                                                         packet */
			uint16_t sport_lo, sport_hi, dport_lo, dport_hi;
		} ct;
		struct {           /* asks, invert: bits of NL_XT_UID ... */
			uint32_t uid_lo, uid_hi;
			uint8_t asks, invert;
		} owner;
		struct {
			bool src, dst, src_invert, dst_invert;
			uint8_t src_lo[16], src_hi[16], dst_lo[16], dst_hi[16];
		} addrs;
		struct {           /* bits 1 << RTN_*; 0: not asked */
			uint16_t src, dst;
			bool src_invert, dst_invert;
			bool device; /* of the interface alone */
		} addrtype;
		struct {           /* mark & mask == is; MARK: mark = mark & ~mask ^ is */
			uint32_t is, mask;
			bool invert;
		} mark;
		struct {
			bool any;  /* every message of the protocol */
		} icmp;
		struct {
			uint16_t number; /* the kernel's, of the set */
		} set;
		struct {
			enum nl_xt_connmark how;
			uint32_t ctmark, ctmask, nfmask;
			bool shift;
		} connmark;
		struct {
			enum nl_xt_nat how;
			bool addr, port; /* whether it says any */
			uint8_t addr_lo[16], addr_hi[16];
			uint16_t port_lo, port_hi;
			bool chosen; /* among several by chance, or by arithmetic */
		} nat;
	} u;
};

/* What the expression (NL_XT_MATCH, NL_XT_TARGET) says. */
void
nl_xt_read(const struct nl_expr *e, struct nl_xt *out);

/* Adds one expression as a line for people: an extension by what it asks, as far as it is read
 * ("match multiport destination port 25,465-587"), any other as nl_expr_text() has it. */
void
nl_expr_words(struct buf *b, const struct nl_expr *e);

#endif
