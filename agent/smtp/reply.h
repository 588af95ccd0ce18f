/*
 * reply: replies, written and read (RFC 5321 4.2, RFC 2034, RFC 3463).
 */
#ifndef SMTP_REPLY_H
#define SMTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/* Adds a reply. `text` may have several lines, divided by LF, and becomes several
 * lines of the same code, each at most 512 octets with CRLF (a longer one is
 * broken at a blank where there is one). What is not printable ASCII becomes `?`. `enhanced`
 * (NULL: none is written) is made "x.0.0" where its class is not the first
 * digit of the code or it is no enhanced code. */
void
smtp_reply_write(struct buf *out, unsigned code, const char *enhanced, const char *text);

/* Whether s is an enhanced code of that class (0: any of 2, 4, 5), and its length. */
size_t
smtp_enhanced_read(const char *s, size_t n, unsigned class);

enum {
	SMTP_REPLY_LINE = 512,     /* octets of a line that are kept; the rest is dropped */
	SMTP_REPLY_LINES = 100,
	SMTP_REPLY_MOST = 64 * 1024, /* octets of one reply, dropped ones counted */
};

enum smtp_reply_is {
	SMTP_REPLY_MORE,
	SMTP_REPLY_WHOLE,
	SMTP_REPLY_NONSENSE,       /* no three digits of 2-5, 0-5, 0-9; no blank or hyphen; NUL; a CR or LF
	                              alone; the code changes from line to line */
	SMTP_REPLY_ENDLESS,        /* more lines or octets than are allowed */
	SMTP_REPLY_NO_MEMORY,
};

/* A reader of replies, and the reply once it is whole. */
struct smtp_reply {
	unsigned code;             /* 220 ... 599 */
	char enhanced[12];         /* "5.7.1" of the first line, class equal to the code's; "" */
	char *text;                /* its lines without codes, divided by LF; printable ASCII, others
	                              are `?`; never NULL when whole */
	size_t n;
	/* reading */
	size_t cap, octets, lines, col;
	unsigned char digit[3];
	bool cr, last, over;
};

/* A reader of the first reply; takes no memory yet. */
void
smtp_reply_init(struct smtp_reply *r);

/* Frees the text and makes it a reader again. */
void
smtp_reply_free(struct smtp_reply *r);

/* Takes bytes up to the end of one reply and gives how many. Whole: look at r,
 * then smtp_reply_again(). Errors are for good. */
size_t
smtp_reply_feed(struct smtp_reply *r, const char *p, size_t n, enum smtp_reply_is *is);

/* Ready for the next reply; keeps its memory. */
void
smtp_reply_again(struct smtp_reply *r);

/* Whether a reply has begun and not ended. */
bool
smtp_reply_begun(const struct smtp_reply *r);

#endif
