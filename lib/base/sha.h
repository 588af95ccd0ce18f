/*
 * sha: SHA-256 (FIPS 180-4), by libmd.
 */
#ifndef BASE_SHA_H
#define BASE_SHA_H

#include <stddef.h>
#include <stdint.h>

enum { SHA_LEN = 32 };

struct sha;

/* A digest to be made, of nothing so far; the caller ends it by sha_end().
 * NULL without memory. */
struct sha *
sha_new(void);

/* Adds n bytes. */
void
sha_add(struct sha *s, const void *p, size_t n);

/* Writes the digest of all that was added and frees s; NULL is fine and writes nothing. */
void
sha_end(struct sha *s, uint8_t out[SHA_LEN]);

#endif
