/*
 * near: "did you mean".
 */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H

#include <stddef.h>

/* The edits (insert, delete, replace, swap of neighbours) that turn a into
 * b; a number above `most` where more than `most` are needed. Strings over
 * 64 bytes are never near. */
unsigned
near_edits(const char *a, size_t an, const char *b, size_t bn, unsigned most);

/* The candidate nearest to the n bytes at s, or NULL when none is near
 * enough to be meant (a third of its length, at least 1, at most 3). `at(arg,
 * i)` gives candidate i, NULL ends the list. The first of equals wins. */
const char *
near_of(const char *s, size_t n, const char *(*at)(const void *arg, size_t i),
    const void *arg);

#endif
