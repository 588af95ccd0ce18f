/*
 * inside: what the files of lib/doc share.
 */
#ifndef DOC_INSIDE_H
#define DOC_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "doc/doc.h"
#include "text/diag.h"

enum {
	DOC_KEY_MOST = 256  /* bytes of a key; libyaml looks 1024 characters ahead */
};

/* One text, and the way from libyaml's marks, which count characters, to
 * offsets, which count bytes. */
struct scan {
	const char *s;
	size_t n;
	uint32_t file;
	bool ascii;       /* characters are bytes */
	uint32_t *at;     /* offset of each 64th character, where not ascii */
	size_t nat;
};

/* Looks at the raw bytes before any parser does and reports those that no
 * policy needs and that tools or people take for something else. Gives
 * whether there were none; then `sc` is ready for scan_offset(). */
bool
scan_bytes(struct arena *a, struct text_set *t, uint32_t file, struct scan *sc,
    struct diags *d);

/* The offset of the character with this index; that of the end for more. */
uint32_t
scan_offset(const struct scan *sc, size_t index);

/* The span from character `from` to character `to`. */
struct text_span
scan_span(const struct scan *sc, size_t from, size_t to);

/* Reports the first character of a decoded scalar that scan_bytes() would
 * not let pass; line feeds and tabs may stand there. Whether there was none. */
bool
scan_decoded(const char *s, size_t n, struct text_span at, struct diags *d);

/* Whether the text has the looks of an IPv6 address: two colons together, or
 * seven, and nothing else but hexadecimal digits, dots and a length. */
bool
why_looks_ipv6(const char *s, size_t n);

/* What libyaml says where it cannot go on; the marks are character indices,
 * the strings its own. */
struct complaint {
	const char *problem, *context;
	size_t at, context_at;
	struct text_span last;     /* the node that ended last, or TEXT_NO_SPAN */
	struct text_span bracket;  /* the innermost one that is open, or TEXT_NO_SPAN */
};

/* Reports a syntax error in the author's terms. */
void
why_syntax(const struct scan *sc, const struct complaint *c, struct diags *d);

/* What YAML readers make of a plain scalar, beside a string. */
enum word {
	WORD_STRING,
	WORD_NULL,      /* ~, null, or nothing */
	WORD_BOOLEAN,   /* yes, no, on, off, y, n, and true and false not in lower case */
	WORD_TRUTH,     /* true, false: as they should be */
	WORD_BASE60,    /* 10:25 */
	WORD_MERGE,     /* << */
	WORD_NUMBER,    /* begins as a number or a date does */
};

enum word
word_of(const char *s, size_t n);

#endif
