/*
 * base64: RFC 4648 4, strictly: no blanks, no bytes behind the padding, no bits left over.
 */
#ifndef SMTP_BASE64_H
#define SMTP_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* Decodes the n bytes at s in place and gives the length, which is smaller; false for what
 * is no base64. */
bool
smtp_base64_read(char *s, size_t n, size_t *length);

#endif
