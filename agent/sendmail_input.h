/*
 * sendmail_input: a message as programs write it for sendmail(1), read as lines that end with CR LF.
 */
#ifndef SENDMAIL_INPUT_H
#define SENDMAIL_INPUT_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

enum { SENDMAIL_RUN = 64 << 10, SENDMAIL_LINE = 16 << 10 };

/* Standard input. All zero is its beginning. */
struct sendmail_input {
	bool dots;                 /* given: a line that is one dot does not end the message */
	int err;                   /* errno of what ended it; 0 */
	bool over;
	bool begun;                /* a long line goes on */
	size_t at, n;
	char raw[SENDMAIL_RUN];
};

/* Adds a line, or a piece of one longer than SENDMAIL_LINE, to out; CR before LF belongs to the line's end,
 * another stays where it is. False: the input has ended. */
bool
sendmail_line(struct sendmail_input *in, struct buf *out);

/* Bytes before the value, where the n bytes at p begin a field of that name (any case); else 0. */
size_t
sendmail_field_is(const char *p, size_t n, const char *name);

/* Bytes of the field that begins at p, with the lines that go on with it. */
size_t
sendmail_field_length(const char *p, size_t n);

#endif
