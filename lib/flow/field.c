#include "flow/field.h"

#include <assert.h>

#define BITS(n) (((u128)1 << (n)) - 1)

static const struct field_row row[FLOW_NFIELD] = {
	[FLOW_HOOK] = {"hook", "hook", 0, 2, false},
	[FLOW_LOOPBACK] = {"loopback", "lo", 0, 1, false},
	[FLOW_PROTO] = {"protocol", "proto", 0, 255, false},
	[FLOW_STATE] = {"connection state", "state", 0, 4, false},
	[FLOW_SYN] = {"first TCP packet", "syn", 0, 1, false},
	[FLOW_DPORT] = {"destination port", "dport", 0, 65535, false},
	[FLOW_FAMILY] = {"family", "family", 1, 2, false},
	[FLOW_SRC4] = {"source address", "src4", 0, BITS(32), false},
	[FLOW_DST4] = {"destination address", "dst4", 0, BITS(32), false},
	[FLOW_SRC6] = {"source address", "src6", 0, U128_MAX, true},
	[FLOW_DST6] = {"destination address", "dst6", 0, U128_MAX, true},
	[FLOW_USER] = {"user", "user", 0, BITS(33), true},
	[FLOW_UNIT] = {"unit", "unit", 0, BITS(32), false},
	[FLOW_DATE] = {"date", "date", 0, BITS(64), true},
	[FLOW_SPORT] = {"source port", "sport", 0, 65535, false},
	[FLOW_FLAGS] = {"TCP flags", "flags", 0, 255, false},
	[FLOW_IIF] = {"input interface", "iif", 0, U128_MAX, true},
	[FLOW_OIF] = {"output interface", "oif", 0, U128_MAX, true},
	[FLOW_MARK] = {"packet mark", "mark", 0, BITS(32), false},
	[FLOW_CTMARK] = {"connection mark", "ctmark", 0, BITS(32), false},
	[FLOW_CTPORT] = {"connection's first port", "ctport", 0, 65535, false},
	[FLOW_DSTTYPE] = {"kind of destination", "dsttype", 0, 15, false},
};

const struct field_row *
field_row(enum flow_field x)
{
	assert(x < FLOW_NFIELD);
	return &row[x];
}
