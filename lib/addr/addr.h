/*
 * addr: addresses and prefixes as text, strictly, both ways.
 *
 * libcidr's parser is never used (it overflows and reads odd strings as /0);
 * a strict scanner and inet_pton(3) read, libcidr does the algebra, and
 * inet_ntop(3) writes (RFC 5952 for IPv6).
 */
#ifndef ADDR_ADDR_H
#define ADDR_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/u128.h"

enum addr_family {
	ADDR_V4 = 1,
	ADDR_V6 = 2,
	ADDR_BOTH = 3,   /* a mask of families */
};

struct addr {
	enum addr_family family;
	u128 n;          /* the address as a number */
};

struct addr_prefix {
	enum addr_family family;
	unsigned bits;   /* 0..32 or 0..128 */
	u128 lo, hi;     /* first and last address */
};

/* What may be wrong with a text that should be an address or a prefix. The
 * codes E0201, E0202, ... of text/codes_addr.def are in this order, from
 * ADDR_EMPTY on. */
enum addr_wrong {
	ADDR_OK,
	ADDR_EMPTY,
	ADDR_NAME,          /* a host name */
	ADDR_SYNTAX,        /* nothing recognisable */
	ADDR_LEADING_ZERO,  /* 010.0.0.1 */
	ADDR_SHORT,         /* 10.0.0 or 10/8 */
	ADDR_OCTET,         /* 256.0.0.1 */
	ADDR_BITS,          /* /33, /-1, /x, no digits, /08 */
	ADDR_NETMASK,       /* 10.0.0.0/255.0.0.0 */
	ADDR_HOST_BITS,     /* 10.0.0.1/8 */
	ADDR_MAPPED,        /* ::ffff:10.0.0.1 */
	ADDR_ZONE,          /* fe80::1%eth0 */
	ADDR_ANY,           /* 0.0.0.0/0 or ::/0: write `any` */
	ADDR_RANGE,         /* a-b: write prefixes */
	ADDR_PORT,          /* 10.0.0.1:25, [::1]:25 */
	ADDR_SPACE,         /* blanks inside or around */
	ADDR_UNSPECIFIED,   /* 0.0.0.0 or :: as a single address */
	ADDR_PREFIX,        /* 10.0.0.0/8 where one address is wanted */
	ADDR_NWRONG
};

/* A sentence for people about what is wrong, without a full stop. */
const char *
addr_wrong_text(enum addr_wrong w);

/* Reads the n bytes at s as one address. Sets *out on ADDR_OK only. */
enum addr_wrong
addr_read(const char *s, size_t n, struct addr *out);

/* The same, with the text to write instead, as addr_prefix_read() gives it. */
enum addr_wrong
addr_read_fix(const char *s, size_t n, struct addr *out, char fix[64]);

/* Reads the n bytes at s as a prefix; an address alone is /32 or /128. Sets
 * *out on ADDR_OK only. `fix`, when not NULL, gets the text to write instead
 * (NUL-terminated, "" when there is none). */
enum addr_wrong
addr_prefix_read(const char *s, size_t n, struct addr_prefix *out, char fix[64]);

/* Writes an address, NUL-terminated; gives its length. */
size_t
addr_write(struct addr a, char out[46]);

/* Writes a prefix, a single address without its length ("/32" is left
 * out); gives the length. */
size_t
addr_prefix_write(struct addr_prefix p, char out[50]);

/* The last address of a family as a number. */
static inline u128
addr_last(enum addr_family f)
{
	return f == ADDR_V4 ? (u128)UINT32_MAX : U128_MAX;
}

#endif
