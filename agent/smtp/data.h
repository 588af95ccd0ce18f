/*
 * data: the content of a message on the wire, in and out (RFC 5321 4.1.1.4, 4.5.2).
 *
 * In: the data ends at CRLF.CRLF and nowhere else; the CRLF before the dot
 * belongs to the content; a dot at the beginning of a line is removed. CR and
 * LF that stand alone and NUL are noted and never repaired: the message is
 * read to its true end and refused there.
 * Out: dots are stuffed after everything else; what is written holds exactly
 * one CRLF.CRLF, by construction; a content with a bare CR, bare LF or NUL is
 * refused.
 */
#ifndef SMTP_DATA_H
#define SMTP_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is wrong with a content. */
enum {
	SMTP_BAD_CR = 1,           /* a CR that no LF follows */
	SMTP_BAD_LF = 2,           /* a LF that no CR precedes */
	SMTP_BAD_NUL = 4,
};

/* The first CR, LF or NUL in the n bytes at p, as an offset; n when there is
 * none. *high is set when a byte above 127 stands before it. */
size_t
smtp_data_scan(const char *p, size_t n, bool *high);

struct smtp_data {
	uint64_t size;             /* octets of content so far, as RFC 1870 counts: CRLF yes,
	                              stuffed dots and the final dot no */
	uint64_t longest;          /* octets of the longest line so far, CRLF included */
	uint64_t line;             /* octets of the line begun */
	unsigned bad;              /* SMTP_BAD_... */
	bool high;                 /* a byte above 127 was seen */
	bool ended;
	unsigned char at;          /* the state, data.c */
};

/* A reader at the beginning of a content (which is the beginning of a line). */
void
smtp_data_init(struct smtp_data *d);

/* Takes bytes and gives how many. *run, *nrun: content, pointing into the input
 * (or at a constant); nrun 0 for none. Call again with the rest while bytes are left and
 * d->ended is not set; after the end nothing is taken. Once d->bad is set no more
 * content is given, and d->size goes on counting. */
size_t
smtp_data_feed(struct smtp_data *d, const char *p, size_t n, const char **run, size_t *nrun);

struct smtp_stuff {
	uint64_t size;             /* octets of content taken */
	unsigned bad;              /* SMTP_BAD_...: refused, nothing more is written */
	bool ended;
	unsigned char at;          /* the state, data.c */
};

/* A writer at the beginning of a content. */
void
smtp_stuff_init(struct smtp_stuff *w);

/* Takes content and gives how many bytes of it: *run, *nrun are to be sent
 * (into the input, or a constant dot, with which nothing may be taken).
 * Call again with the rest. When w->bad is set the connection
 * is to be dropped: what was sent is no message. */
size_t
smtp_stuff_feed(struct smtp_stuff *w, const char *p, size_t n, const char **run, size_t *nrun);

/* The end: a constant to be sent, ".\r\n", preceded by CRLF where the content did
 * not end with one; NULL when the content ended inside a CRLF (w->bad is set). */
const char *
smtp_stuff_end(struct smtp_stuff *w);

#endif
