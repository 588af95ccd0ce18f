/*
 * scalar: the forms of single values, inside shape.
 */
#ifndef SHAPE_SCALAR_H
#define SHAPE_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the n bytes are a decimal integer. */
bool
scalar_int(const char *s, size_t n, uint64_t *x);

/* Whether they are "up to SIZE" or "below SIZE". */
bool
scalar_bound(const char *s, size_t n, uint64_t *bytes, bool *strict);

/* Whether they are a day of the calendar, yyyy-mm-dd. */
bool
scalar_day(const char *s, size_t n, int *y, int *m, int *d);

#endif
