/*
 * hash: a 64-bit hash for in-memory tables, and a table of strings.
 *
 * Not for anything an adversary gains by colliding: tables that grow from
 * outside have their own limits.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct arena;
struct hash_names;

/* A hash of n bytes at p, continued from h (0 at first). The same on every
 * machine and in every run. */
uint64_t
hash_bytes(uint64_t h, const void *p, size_t n);

/* A hash of one number, continued from h. */
uint64_t
hash_u64(uint64_t h, uint64_t x);

/* A table from strings to numbers 0, 1, 2, ... in order of first sight; it
 * lives in the arena. */
struct hash_names *
hash_names_new(struct arena *a);

/* The number of the n bytes at s, given to it now if new (the bytes are
 * copied); *fresh, when not NULL, tells whether it was. */
uint32_t
hash_names_add(struct hash_names *t, const char *s, size_t n, int *fresh);

/* The number of the n bytes at s, or UINT32_MAX. */
uint32_t
hash_names_find(const struct hash_names *t, const char *s, size_t n);

/* The string of number i, NUL-terminated; i < hash_names_count(). */
const char *
hash_names_at(const struct hash_names *t, uint32_t i);

/* Its bytes, without the NUL. */
size_t
hash_names_size(const struct hash_names *t, uint32_t i);

uint32_t
hash_names_count(const struct hash_names *t);

#endif
