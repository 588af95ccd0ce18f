/*
 * out: the renderings of a plan: nft text, nft JSON, plan file.
 *
 * Deterministic to the byte: no clock, host name or path of the machine.
 */
#ifndef OUT_OUT_H
#define OUT_OUT_H

#include <stddef.h>

struct buf;
struct diags;
struct plan;

/*
 * A set that is created in the same transaction as the rule that uses it is
 * empty for packets until the commit ends (milliseconds for 10,000 elements).
 * A replacement without that gap takes two loads: STAGE makes a table of its
 * own for the slot, with everything but the base chains, so nothing of it is
 * live; SWAP adds the base chains and deletes the table of the other slot (and
 * the one without a slot) in one transaction. The slots alternate.
 */
enum out_part {
	OUT_ALL,               /* everything in one load */
	OUT_STAGE,
	OUT_SWAP,
};

enum out_slot {
	OUT_NO_SLOT,           /* table mailreeve; with OUT_ALL only */
	OUT_SLOT_A,            /* table mailreeve-a */
	OUT_SLOT_B,            /* table mailreeve-b */
};

struct out_options {
	enum out_part part;    /* a plan without a table of its own (`as: chains`): OUT_ALL only */
	enum out_slot slot;
};

enum { OUT_MOST = 1 << 30 };   /* a sound limit for the buffers, bytes */

/* Adds the plan as text for `nft -f`. NULL for options means OUT_ALL. */
void
out_nft(struct buf *b, const struct plan *p, const struct out_options *o);

/* Adds the plan as JSON for `nft -j -f` (libnftables-json(5)); it loads to the
 * same ruleset as the text. 0, or -EOPNOTSUPP with the reason in d and nothing added:
 * JSON cannot say `socket cgroupv2` (E0805), nor a limit's meter in a table that is
 * not ours (E0806). */
int
out_json(struct buf *b, const struct plan *p, const struct out_options *o,
    struct diags *d);

/* Adds the plan file. */
void
out_plan(struct buf *b, const struct plan *p);

/* Writes n bytes to the file, whole or not at all: a temporary file in the same
 * folder, fsync, rename, fsync of the folder. The mode of an existing file is
 * kept; a new one gets 0666 less the umask. 0 or -errno; on failure nothing is
 * left behind and what was there before is there still. */
int
out_file(const char *path, const void *bytes, size_t n);

#endif
