/*
 * address: paths (RFC 5321 4.1.2), names in EHLO, xtext (RFC 3461 4).
 *
 * The syntax of a mailbox is lib/mail's, asked in address.c alone: the rest of
 * this room knows no policy.
 */
#ifndef SMTP_ADDRESS_H
#define SMTP_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

enum smtp_path_kind { SMTP_PATH_REVERSE, SMTP_PATH_FORWARD };

struct smtp_path {
	const char *p;             /* the mailbox as written, without brackets and source route;
	                              n 0: the null path */
	size_t n;
	bool utf8;                 /* bytes above 127 */
	bool bare;                 /* "postmaster" without a domain (RFC 5321 4.5.1) */
	bool route;                /* a source route stood before it and was dropped (5321 F.2) */
};

/* Reads the path that begins at s with "<" and gives its length with brackets;
 * 0 on failure, with a constant sentence in *why. "<>" is a reverse path only,
 * "<postmaster>" a forward path only. `utf8`: RFC 6531 allowed. */
size_t
smtp_path_read(const char *s, size_t n, enum smtp_path_kind kind, bool utf8,
    struct smtp_path *out, const char **why);

/* Whether the n bytes are a mailbox (no brackets), lib/mail's syntax. */
bool
smtp_mailbox_ok(const char *s, size_t n, bool utf8, const char **why);

/* Whether the n bytes may stand behind EHLO: 1 to 255 of letters, digits, `-._:[]`.
 * A little more than RFC 5321 4.1.2 has, because programs say the name of their host
 * there as it is; never anything that could end a comment or a line. */
bool
smtp_helo_ok(const char *s, size_t n);

/* Whether the n bytes are xtext whose meaning has no control characters and
 * no bytes above 126; at least one byte. */
bool
smtp_xtext_ok(const char *s, size_t n);

/* Adds what the xtext means; `s` has passed smtp_xtext_ok(). */
void
smtp_xtext_read(struct buf *out, const char *s, size_t n);

/* Adds the n bytes as xtext. */
void
smtp_xtext_write(struct buf *out, const char *s, size_t n);

/* Whether the n bytes are an ORCPT value, "type;xtext" (RFC 3461 4.2; `utf-8` of
 * RFC 6533 3 also with bytes above 127 where `utf8`). */
bool
smtp_orcpt_ok(const char *s, size_t n, bool utf8);

#endif
