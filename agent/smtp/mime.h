/*
 * mime: a walk over the parts of a message as its bytes go by (RFC 2045, 2046).
 *
 * Every byte is handed on in order, in exactly one piece: the pieces together
 * are the message. multipart/... and message/rfc822 are entered, to
 * SMTP_MIME_DEPTH; what lies deeper is the body of a leaf. Upon it stand the look for
 * attachments and the conversion to seven bits.
 */
#ifndef SMTP_MIME_H
#define SMTP_MIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
	SMTP_MIME_DEPTH = 16,
	SMTP_MIME_PARTS = 1000,    /* more: what follows belongs to the last */
	SMTP_MIME_FIELD = 64 * 1024, /* octets of a field that are looked at */
};

enum smtp_mime_is {
	SMTP_MIME_FIELD_IS,        /* a whole field of a part's header, with its CRLF */
	SMTP_MIME_BLANK,           /* the end of a part's header (n 0 where no blank line stood) */
	SMTP_MIME_BODY,            /* bytes of a leaf's body */
	SMTP_MIME_FRAME,           /* preamble, boundary lines, epilogue */
};

enum smtp_mime_encoding { SMTP_MIME_7BIT, SMTP_MIME_8BIT, SMTP_MIME_BINARY, SMTP_MIME_QP,
	SMTP_MIME_BASE64, SMTP_MIME_ODD };

struct smtp_mime_part {
	unsigned number;           /* in order of their beginning; 0 is the message */
	unsigned depth;
	bool inner;                /* it is not a leaf: multipart or message */
	bool sealed;               /* inside multipart/signed */
	bool encoded;              /* a Content-Transfer-Encoding field stands there */
	enum smtp_mime_encoding encoding;
	struct buf type;           /* "text/plain", known at SMTP_MIME_BLANK */
};

struct smtp_mime;

/* A walker that hands its pieces to see(). A nonzero return of see() ends
 * the walk and is given to the caller of feed. NULL without memory. */
struct smtp_mime *
smtp_mime_new(int (*see)(void *arg, enum smtp_mime_is is, const struct smtp_mime_part *part,
    const char *p, size_t n), void *arg);

struct smtp_mime *
smtp_mime_free(struct smtp_mime *m);

/* Takes all n bytes of content. 0, see()'s return, -ENOMEM. */
int
smtp_mime_feed(struct smtp_mime *m, const char *p, size_t n);

/* The content has ended: the last pieces. */
int
smtp_mime_end(struct smtp_mime *m);

/* ---- attachments (CAM-21) ----------------------------------------------- */

struct smtp_attach;

/* A look for attachments whose name ends with one of the n endings (".exe", any
 * case). The strings must live as long. NULL without memory. */
struct smtp_attach *
smtp_attach_new(const char *const *ending, size_t n);

struct smtp_attach *
smtp_attach_free(struct smtp_attach *a);

/* Takes the whole content, header block included. 0, 1 once one is found, -ENOMEM. */
int
smtp_attach_feed(struct smtp_attach *a, const char *p, size_t n);

/* The content has ended; as smtp_attach_feed(). */
int
smtp_attach_end(struct smtp_attach *a);

/* The name that was found, printable ASCII, others `?`; and the ending. */
const char *
smtp_attach_name(const struct smtp_attach *a, const char **ending);

/* ---- seven bits (RFC 6152 3) --------------------------------------------- */

/*
 * A message with bytes above 127 for a relay without 8BITMIME: leaves that
 * hold them become quoted-printable, or base64 where they are no text or mostly such bytes. Two passes over the same
 * content: smtp_seven_look_...() finds the leaves, then smtp_seven_...() writes.
 */
struct smtp_seven;

struct smtp_seven *
smtp_seven_new(void);

struct smtp_seven *
smtp_seven_free(struct smtp_seven *s);

/* First pass; all n bytes are taken. 0 or -ENOMEM. */
int
smtp_seven_look(struct smtp_seven *s, const char *p, size_t n);

/* Its end: NULL when the conversion can be made, else a constant sentence why it
 * cannot: bytes above 127 in a header field, in a signed part or message, in a part that says it
 * has none to convert. */
const char *
smtp_seven_cannot(struct smtp_seven *s);

/* Second pass: adds to out what the bytes become. 0, -ENOMEM, the buffer's error. */
int
smtp_seven_feed(struct smtp_seven *s, const char *p, size_t n, struct buf *out);

/* Its end. */
int
smtp_seven_end(struct smtp_seven *s, struct buf *out);

#endif
