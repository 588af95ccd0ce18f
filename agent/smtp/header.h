/*
 * header: the header block of a submitted message, and its repair (RFC 6409 8.1
 * to 8.4, RFC 5322 3.6).
 *
 * The content is fed until the block has ended; then its facts are known, the
 * caller decides, and smtp_header_write() gives the block to be sent: the
 * added fields in front, everything else byte by byte as it came, so that signatures
 * survive. Taken away are only Bcc and Resent-Bcc, an mbox "From " line at the very top, and,
 * where the sender is rewritten, From and Sender. The body is not touched.
 */
#ifndef SMTP_HEADER_H
#define SMTP_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smtp/field.h"

struct buf;
struct smtp_header;

enum {
	SMTP_HEADER_MOST = 256 * 1024, /* octets of a block */
	SMTP_HEADER_FIELDS = 1000,
	SMTP_HEADER_RECEIVED = 100,    /* so many Received fields are a loop (RFC 5321 6.3) */
};

enum smtp_header_is {
	SMTP_HEADER_MORE,
	SMTP_HEADER_WHOLE,
	SMTP_HEADER_LONG,          /* over SMTP_HEADER_MOST or SMTP_HEADER_FIELDS: 552 5.3.4 */
	SMTP_HEADER_NO_MEMORY,     /* 451 4.3.0 */
};

struct smtp_header_facts {
	unsigned from_fields;      /* From fields; more than one is to be refused */
	struct smtp_mailboxes from; /* of the first */
	const char *from_why;      /* NULL, or why that one cannot be read: 553 5.1.7 */
	unsigned sender_fields;
	struct smtp_mailboxes sender;
	const char *sender_why;
	bool date, message_id;
	bool bcc;
	unsigned received;
	bool resent;               /* Resent-... fields stand there: it was submitted before */
	bool high;                 /* bytes above 127 in the block */
	bool headless;             /* the block ended at a line that is no field: a blank line goes
	                              between */
	size_t octets;             /* of the block as it came, the blank line included */
};

struct smtp_header *
smtp_header_new(void);

struct smtp_header *
smtp_header_free(struct smtp_header *h);

/* Takes content and gives how much; what is left belongs to the body. */
size_t
smtp_header_feed(struct smtp_header *h, const char *p, size_t n, enum smtp_header_is *is);

/* The content ended: the block is what there was. */
enum smtp_header_is
smtp_header_end(struct smtp_header *h);

/* Whole: what stands there; lives as long as h. */
const struct smtp_header_facts *
smtp_header_facts(const struct smtp_header *h);

/* The value of the first field of that name (any case), folded as it came; NULL. */
const char *
smtp_header_value(const struct smtp_header *h, const char *name, size_t *n);

/* What the caller knows, for the fields that are added. */
struct smtp_header_fill {
	uint64_t now;              /* seconds since 1970 */
	int east;                  /* minutes east of Greenwich */
	const char *host;          /* our name */
	const char *id;            /* of the message: letters, digits, `-`, `.` */
	const char *helo;          /* what the client said; NULL or "": unsaid */
	const char *peer;          /* who it is, in words: "uid 1000 unit web.service"; NULL */
	const char *with;          /* smtp_server_with() */
	const char *recipient;     /* the one recipient, for `for`; NULL: several, or not to be told */
	const char *from;          /* the address of a From field that is missing */
	const char *sender;        /* the address of a Sender field to be added; NULL: none */
	const char *rewrite;       /* replaces the addresses of From; NULL: does not */
	const char *qualify;       /* the domain for a lone From address that has none; NULL: leave */
};

/* Whether a Sender field is wanted and missing: several From addresses (RFC 5322 3.6.2). */
bool
smtp_header_wants_sender(const struct smtp_header *h);

/* Adds the block as it is to be sent, its blank line included. What of the fill is not
 * printable ASCII, or would end a comment, becomes `?`. 0, or the buffer's error. */
int
smtp_header_write(const struct smtp_header *h, const struct smtp_header_fill *f, struct buf *out);

#endif
