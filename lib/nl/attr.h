/*
 * attr: netlink attributes of nobody's good will, read. Private to lib/nl.
 */
#ifndef NL_ATTR_H
#define NL_ATTR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct attr {
	const uint8_t *p;          /* NULL: not there */
	uint32_t n;
};

/* A run of attributes and its first error. */
struct attrs {
	const uint8_t *p;
	size_t n;
	int err;                   /* 0 or -EBADMSG */
};

/* The next attribute; false at the end or at an odd one. */
bool
attr_next(struct attrs *s, uint16_t *type, struct attr *out);

/* All of a run by type, the last of each; types above `most` are passed over. out
 * has most + 1 places. 0 or -EBADMSG. */
int
attr_table(const uint8_t *p, size_t n, struct attr *out, unsigned most);

/* Numbers in network order, bytes and text; where the attribute is not there, the
 * other value; where it is of another size, *err becomes -EBADMSG. */
uint8_t
attr_u8(struct attr a, uint8_t other, int *err);
uint16_t
attr_u16(struct attr a, uint16_t other, int *err);
uint32_t
attr_u32(struct attr a, uint32_t other, int *err);
uint64_t
attr_u64(struct attr a, uint64_t other, int *err);
/* A copy of a text up to its first NUL; NULL where there is none. */
const char *
attr_text(struct arena *m, struct attr a);

#endif
