/*
 * field: the values of header fields (RFC 5322 3.2, 3.4; RFC 2045 5; RFC 2231).
 *
 * Values come as they stand in the message, folded. Comments, quoted strings
 * and folding are passed over as the grammar says; the addr-spec decides, never
 * a display name.
 */
#ifndef SMTP_FIELD_H
#define SMTP_FIELD_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/* An address of an address list; the parts point into the value. */
struct smtp_mailbox {
	const char *phrase;        /* the display name as written; n 0: none */
	size_t nphrase;
	const char *note;          /* the last comment behind it, without its outer brackets; n 0: none */
	size_t nnote;
	char *addr;                /* the addr-spec without comments and blanks, NUL-terminated;
	                              "root" where it has no domain */
	bool bare;                 /* it has no domain */
	bool utf8;                 /* bytes above 127 in the addr-spec */
};

enum { SMTP_MAILBOXES = 100 };

struct smtp_mailboxes {
	struct smtp_mailbox *v;
	size_t n;
	bool group;                /* a group stood there (RFC 6854), perhaps an empty one */
};

/* Reads a mailbox list with groups. 0; -EBADMSG with a constant sentence in
 * *why for what is no such list; -E2BIG above SMTP_MAILBOXES; -ENOMEM. */
int
smtp_mailboxes_read(struct smtp_mailboxes *out, const char *s, size_t n, const char **why);

/* Frees what it holds and leaves it empty. */
void
smtp_mailboxes_free(struct smtp_mailboxes *m);

/* Adds the display name, or else the comment, so that it may stand before <addr>, with a blank
 * behind it: quoted where it has to be, unfolded; nothing where there is none. */
void
smtp_phrase_write(struct buf *out, const struct smtp_mailbox *m);

/* Adds the date of RFC 5322 3.3, "Sun, 22 Nov 2026 00:33:16 +0000": seconds since
 * 1970 and minutes east of Greenwich. */
void
smtp_date_write(struct buf *out, unsigned long long seconds, int east);

/* Adds the type of a Content-Type value in lower case, "text/plain" where it says nothing
 * that can be read. */
void
smtp_type_read(struct buf *out, const char *s, size_t n);

/* Adds the value of a parameter of Content-Type or Content-Disposition: quoted strings
 * undone, RFC 2231 pieces joined and percent signs decoded, RFC 2047 words
 * decoded to their bytes (the character set is not converted). Gives false where it is
 * not there. */
bool
smtp_parameter_read(struct buf *out, const char *s, size_t n, const char *name);

#endif
