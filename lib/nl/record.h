/*
 * record: a dump as bytes, for a process that has no netlink.
 *
 * Who may ask the kernel need not be who understands the answer: the messages are kept as
 * they came, and are read elsewhere by the reader of dump.h. A record is
 *
 *     "nlrecord"          8 bytes
 *     generation          4 bytes, big-endian, as the two below
 *     version             4 bytes: 1
 *     n                   8 bytes
 *     messages            n bytes, in all; each with its nlmsghdr (of this machine's byte
 *                         order), and padded with NULs to a multiple of 4
 */
#ifndef NL_RECORD_H
#define NL_RECORD_H

#include <stddef.h>
#include <stdint.h>

struct arena;
struct buf;
struct nl_dump;
struct nl_talk;

enum {
	NL_RECORD_HEAD = 24,
	NL_RECORD_MOST = 1 << 28,  /* bytes of a record that is read, at most */
};

/* Adds a record of what nl_talk_dump() would give, with the same arguments. 0 or -errno, and
 * then out is as it was: as nl_talk_dump(), -E2BIG past the limit of the buffer, -ENOMEM. It
 * needs no other memory. */
int
nl_record(struct nl_talk *t, uint8_t family, const char *table, unsigned what,
    unsigned tries, struct buf *out);

/* Makes the dump again, in the arena. The bytes need not live on, and are not believed: -EBADMSG
 * for what is no whole record, -E2BIG past NL_RECORD_MOST; then out is not set. */
int
nl_record_read(struct arena *a, const void *bytes, size_t n, struct nl_dump *out);

#endif
