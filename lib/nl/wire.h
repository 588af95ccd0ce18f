/*
 * wire: netlink messages and attributes, written into a bounded buffer.
 * Private to lib/nl.
 *
 * The buffer remembers the first error, so a writer checks once, at the end:
 * -E2BIG past its limit, -EMSGSIZE for an attribute of more than 65,535 bytes
 * (its length has 16 bits), -ENOMEM.
 */
#ifndef NL_WIRE_H
#define NL_WIRE_H

#include <stddef.h>
#include <stdint.h>

struct buf;

enum {
	WIRE_ATTR = 65535,         /* bytes of an attribute with its head, at most */
	/* tags of ours in the kernel's user data: nft has those below 16 and passes over
	 * others */
	WIRE_TAG_DIGEST = 0xd0,    /* 32 bytes: of a set's or a chain's content */
	WIRE_TAG_SALT = 0xd1,      /* 8 bytes, big-endian: of sets, of chains */
	WIRE_TAG_EDITS = 0xd2,     /* 32 bytes: the sum of the counters of changed sets */
	WIRE_TAG_FRAME = 0xd3,     /* 32 bytes: nl_form.frame of the form in force */
};

/* Begins a message with its nfgenmsg; gives the place for wire_msg_end(). The
 * type is a whole nlmsg_type. */
size_t
wire_msg(struct buf *b, uint16_t type, uint16_t flags, uint32_t seq, uint8_t family,
    uint16_t res_id);

/* Ends it: its length is known now. */
void
wire_msg_end(struct buf *b, size_t at);

/* Attributes: bytes; a string with its NUL; numbers in network order. */
void
wire_put(struct buf *b, uint16_t type, const void *p, size_t n);
void
wire_str(struct buf *b, uint16_t type, const char *s);
void
wire_u8(struct buf *b, uint16_t type, uint8_t x);
void
wire_u16(struct buf *b, uint16_t type, uint16_t x);
void
wire_u32(struct buf *b, uint16_t type, uint32_t x);
void
wire_u64(struct buf *b, uint16_t type, uint64_t x);

/* Begins a nested attribute; gives the place for wire_end(). */
size_t
wire_nest(struct buf *b, uint16_t type);
void
wire_end(struct buf *b, size_t at);

/* One tag of user data: type, length, bytes. n is at most 255. */
void
wire_tag(struct buf *b, uint8_t type, const void *p, size_t n);

/* The bytes of a tag in user data that nobody vouches for; NULL: not there. */
const uint8_t *
wire_tag_find(const uint8_t *p, size_t n, uint8_t type, size_t *len);

#endif
