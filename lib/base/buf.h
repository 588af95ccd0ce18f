/*
 * buf: a bounded, growing run of bytes, for output.
 *
 * Born with a limit; a write past it (or without memory) is remembered as
 * the first error and nothing more is added, so a writer checks once, at
 * the end. The bytes are always NUL-terminated for convenience.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
	char *p;
	size_t n, cap, max;
	int err;  /* 0, or the first error: -E2BIG, -ENOMEM */
};

#define BUF_INIT(limit) {.max = (limit)}

/* Frees the bytes and leaves an empty buffer of the same limit. */
void
buf_free(struct buf *b);

/* Adds n bytes. */
void
buf_add(struct buf *b, const void *p, size_t n);

/* Adds a string. */
void
buf_str(struct buf *b, const char *s);

/* Adds one byte. */
void
buf_chr(struct buf *b, char c);

/* Adds formatted text. */
void
buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds an unsigned decimal number; the quick way for long lists. */
void
buf_dec(struct buf *b, uint64_t x);

/* Adds s as a JSON string with its quotes (RFC 8259 section 7); bytes that
 * are no UTF-8 become U+FFFD. */
void
buf_json(struct buf *b, const char *s);

#endif
