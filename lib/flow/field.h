/*
 * field: what a decision diagram can ask of a packet.
 *
 * Rows of one const table; the order of the enum is the order of every
 * diagram. Ports stand before addresses, so that a rule for one port does not
 * repeat the address lists of another; of what policies ask, USER, UNIT and DATE
 * stand last, because few statements speak of them.
 *
 * Knows nothing of policies: lib/vm builds its diagrams on the same fields.
 */
#ifndef FLOW_FIELD_H
#define FLOW_FIELD_H

#include <stdbool.h>

#include "base/u128.h"

/* The fields, in the order of the diagram. */
enum flow_field {
	FLOW_HOOK,       /* enum packet_hook */
	FLOW_LOOPBACK,   /* 0 no, 1 yes */
	FLOW_PROTO,
	FLOW_STATE,      /* enum packet_state */
	FLOW_SYN,        /* 0 no, 1 yes */
	FLOW_DPORT,
	FLOW_FAMILY,     /* enum addr_family: 1, 2 */
	FLOW_SRC4, FLOW_DST4,
	FLOW_SRC6, FLOW_DST6,
	FLOW_USER,       /* uid, or 2^32 + number of a name; FLOW_USER_NONE */
	FLOW_UNIT,       /* FLOW_UNIT_NONE, else 1 + number of a name */
	FLOW_DATE,       /* seconds since 1970 */
	/* what only rulesets ask (lib/vm), behind all that policies ask */
	FLOW_SPORT,
	FLOW_FLAGS,      /* TCP's, as a byte; agrees with FLOW_SYN */
	FLOW_IIF, FLOW_OIF, /* interface names: 16 bytes, the first the highest; "lo" is
	                    FLOW_LOOPBACK */
	FLOW_MARK,       /* of the packet when it comes to the first hook */
	FLOW_CTMARK,
	FLOW_CTPORT,     /* the connection's first destination port, where not of state new */
	FLOW_DSTTYPE,    /* RTN_*, of the routing table: 2 a local address */
	FLOW_NFIELD
};

#define FLOW_USER_NAMES ((u128)1 << 32)       /* names begin here */
#define FLOW_USER_NONE (((u128)1 << 33) - 1)  /* nobody that a policy names */
#define FLOW_UNIT_NONE ((u128)0)

struct field_row {
	const char *name;   /* "source address": for people */
	const char *word;   /* "src4": for dumps */
	u128 first, last;   /* the domain */
	bool wide;          /* more than 32 bits */
};

/* The row of a field; x < FLOW_NFIELD. */
const struct field_row *
field_row(enum flow_field x);

#endif
