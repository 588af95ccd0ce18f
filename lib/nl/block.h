/*
 * block: addresses refused for a time, in a table of its own. Pure bytes.
 *
 * `inet mailreeve-block` refuses TCP to and from the addresses in its two sets, on the
 * ports of mail, before any other filter and before a redirection to the forwarder. The
 * elements have timeouts, so that the kernel ends a block in time, whoever has died meanwhile.
 * A change is one transaction that empties both sets and fills them again.
 */
#ifndef NL_BLOCK_H
#define NL_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/u128.h"
#include "nl/batch.h"

#define NL_BLOCK_TABLE "mailreeve-block"

struct nl_prefix {
	bool v6;
	u128 lo, hi;               /* first and last address */
};

/* Addresses that are refused for so long. */
struct nl_blocked {
	struct nl_prefix range;
	uint64_t ms;               /* milliseconds, from now */
};

/* The transaction that makes the table hold these, in any order; where they overlap the longer
 * time holds. `fresh`: also makes the table; what was there under its name goes. 0 or -errno. */
int
nl_block(struct arena *a, const struct nl_blocked *v, uint32_t n, bool fresh, uint32_t genid,
    struct nl_batch *out);

/* The transaction that takes the table down, whether it is there or not. */
int
nl_block_remove(struct arena *a, uint32_t genid, struct nl_batch *out);

/* Whether the dump (with its rules) has the table as nl_block() makes it; elements are not looked
 * at. */
bool
nl_block_whole(const struct nl_dump *d);

/* What the sets of the dump (with elements) refuse, in the arena; what is no range of
 * ours is passed over. */
struct nl_blocked *
nl_block_read(struct arena *a, const struct nl_dump *d, uint32_t *n);

#endif
