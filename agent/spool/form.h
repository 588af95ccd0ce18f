/*
 * form: the bytes of a spool file; pure.
 *
 *   front     FORM_FRONT bytes, a line of text padded with blanks: version,
 *             id, size and checksum of the content, checksum of itself
 *   content   exactly as it will be sent (before dots are stuffed)
 *   records   "\n#LENGTH CHECKSUM NUMBER\n" and LENGTH bytes of lines; the
 *             first is the envelope, each later one tells what happened
 *
 * A record's checksum covers id and number too, so that a block of another
 * file is no record of this one. Texts from outside have their control
 * bytes and backslashes written as \xHH: none can end a column, a line or a
 * record. A line of a later record has FORM_COLUMNS columns between tabs:
 *
 *   event time recipients attempts next owed code relay peer tls cipher text
 */
#ifndef SPOOL_FORM_H
#define SPOOL_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "spool/spool.h"

enum {
	FORM_FRONT = 256,
	FORM_HEAD = 29,              /* bytes before a record's lines */
	FORM_COLUMNS = 12,
	FORM_TIME = 24,              /* "2026-11-22T00:32:41.123Z" */
	FORM_ENVELOPE_MOST = 4 << 20,
	FORM_TAIL_SOFT = 8 << 20,    /* beyond it attempts are no longer written */
	FORM_TAIL_MOST = 16 << 20,   /* all records */
};

struct form_front {
	uint64_t id, size;
	uint32_t crc;
};

/* Writes the front. */
void
form_front(char out[FORM_FRONT], const struct form_front *f);

/* 0, or -EBADMSG. */
int
form_front_read(const char p[FORM_FRONT], struct form_front *f);

/* Milliseconds since 1970 as text (years 1970 to 9999) and back (false: it is none). */
void
form_time(uint64_t ms, char out[FORM_TIME + 1]);
bool
form_time_read(const char *s, size_t n, uint64_t *ms);

/* What a line tells. */
enum form_event {
	FORM_SENDING, FORM_SPARED, FORM_DELIVERED, FORM_DEFERRED, FORM_FAILED, FORM_EXPIRED, FORM_HELD,
	FORM_RELEASED, FORM_RETRY, FORM_REROUTED, FORM_WARNED, FORM_REPORTED, FORM_DROPPED, FORM_CUT,
	FORM_NEVENT
};

const char *
form_event_name(enum form_event e);

struct form_line {
	enum form_event event;
	uint64_t at;
	const uint32_t *which;       /* recipients; NULL: all */
	size_t n;
	unsigned attempts;
	uint64_t next;
	bool owed;
	const char *relay;           /* NULL: as it is */
	struct spool_reply reply;
};

/* Begins a record in b; its place, for form_end(). */
size_t
form_begin(struct buf *b);

/* Ends it, as number seq of message id. */
void
form_end(struct buf *b, size_t place, uint64_t id, uint32_t seq);

/* The lines of an envelope (texts over SPOOL_TEXT_MOST: b->err is -EINVAL). */
void
form_envelope(struct buf *b, const struct spool_envelope *e);

/* One line; texts are cut at SPOOL_TEXT_MOST. */
void
form_line(struct buf *b, const struct form_line *l);

/* What form_read found. */
struct form_tail {
	struct spool_envelope env;   /* rcpt is malloc, the caller's; texts lie in the bytes read */
	size_t good;                 /* bytes of whole records from the first */
	uint32_t seq;                /* number of the next record */
	bool warned;
	bool torn;                   /* something other than records follows */
};

/* Reads the records of message id from the n bytes at p, which it changes
 * (texts are made readable in place; p[n] must be writable). 0; -EBADMSG:
 * no envelope, a record that is whole but wrong, or whole records behind a
 * bad one; -ENOMEM. */
int
form_read(char *p, size_t n, uint64_t id, struct form_tail *t);

/* Gives each line of the whole records (unchanged bytes) to `line`. */
void
form_lines(const char *p, size_t n, uint64_t id, void (*line)(void *arg, const char *s, size_t n),
    void *arg);

#endif
