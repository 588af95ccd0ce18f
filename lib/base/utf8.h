/*
 * utf8: one code point at a time, strictly (RFC 3629: no surrogates, no
 * overlong forms, nothing above U+10FFFF).
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The length of the code point at s (n bytes there), stored to *c; 0 when
 * the bytes are no UTF-8 or n is 0. */
size_t
utf8_next(const char *s, size_t n, uint32_t *c);

#endif
