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
#include "nl/watch.h"

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

/* How the table is changed. */
struct nl_block_job {
	bool there;                /* there is a table of its name */
	bool fresh;                /* it is made; what was there goes */
	uint32_t flags;            /* NL_OWNER, NL_PERSIST, as it is to have */
	uint32_t genid;            /* 0: any */
};

/* The transaction that makes the table hold these, in any order; where they overlap the longer
 * time holds. 0 or -errno. */
int
nl_block(struct arena *a, const struct nl_blocked *v, uint32_t n, const struct nl_block_job *how,
    struct nl_batch *out);

/* The transaction that takes the table down, which must be there. */
int
nl_block_remove(struct arena *a, uint32_t genid, struct nl_batch *out);

/* Whether the dump (with its rules) has the table as nl_block() makes it, at first sight: flags of
 * ownership, foreign rules and elements are not looked at. */
bool
nl_block_whole(const struct nl_dump *d);

/* What of the table is not as it should be, rule by rule, without its elements: a dump with its
 * rules and their anonymous sets' sums. 0 or -errno. */
int
nl_block_look(const struct nl_dump *d, const struct nl_sums *s, uint32_t flags,
    struct nl_diff *out);

/* What its elements refuse otherwise than these do: a dump with elements. Times may differ by
 * `slack` milliseconds; what ends within that may be there or not. */
void
nl_block_compare(struct arena *a, const struct nl_blocked *v, uint32_t n, const struct nl_dump *d,
    uint64_t slack, struct nl_diff *out);

/* What the sets of the dump (with elements) refuse, in the arena; what is no range of
 * ours is passed over. */
struct nl_blocked *
nl_block_read(struct arena *a, const struct nl_dump *d, uint32_t *n);

#endif
