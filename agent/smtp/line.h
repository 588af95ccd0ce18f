/*
 * line: command lines, strictly (RFC 5321 2.3.8: only CRLF ends a line).
 *
 * A line holds at most `max` octets with its CRLF; what is longer is read to
 * its end and dropped, so that the next line begins where it should. A CR or LF
 * that stands alone is no line end and is never repaired: the reader stops
 * there, because what follows cannot be trusted to be a command.
 */
#ifndef SMTP_LINE_H
#define SMTP_LINE_H

#include <stdbool.h>
#include <stddef.h>

struct smtp_line {
	char *p;                   /* the line without CRLF; NUL-terminated once it is whole */
	size_t n, cap;
	size_t max;                /* octets with CRLF */
	size_t seen;               /* octets of this line so far, kept or not */
	bool cr;                   /* the last byte was a CR */
	bool over;                 /* longer than max: p holds its beginning only */
	bool nul;                  /* it holds a NUL */
	bool lost;                 /* no memory for it: p holds nothing of use */
};

enum smtp_line_is {
	SMTP_LINE_MORE,            /* all was taken, the line does not end yet */
	SMTP_LINE_WHOLE,
	SMTP_LINE_BARE_CR,         /* a CR that no LF follows: the reader is done for */
	SMTP_LINE_BARE_LF,         /* a LF that no CR precedes: the same */
};

/* An empty reader of lines of at most `max` octets, CRLF included. */
void
smtp_line_init(struct smtp_line *l, size_t max);

/* Overwrites and frees what it holds; the reader stays usable. */
void
smtp_line_free(struct smtp_line *l);

/* Takes bytes up to the end of one line and gives how many. Where *is is
 * SMTP_LINE_WHOLE, call smtp_line_again() before the next feed. */
size_t
smtp_line_feed(struct smtp_line *l, const char *p, size_t n, enum smtp_line_is *is);

/* Ready for the next line; the bytes of this one are overwritten (they may be a
 * password), a large buffer is freed. */
void
smtp_line_again(struct smtp_line *l);

#endif
