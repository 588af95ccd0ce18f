/*
 * inside: what the files of this room share.
 */
#ifndef STATE_INSIDE_H
#define STATE_INSIDE_H

#include "base/buf.h"
#include "state/state.h"

struct state {
	int dir, folder[2];        /* the folder; history and plans */
	uint32_t next[2];          /* the next number of each */
	state_warn *warn;
	void *arg;
};

/* Says what is wrong. */
void
state_say(struct state *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Writes the whole file below dir by a temporary name, synchronised; rename: also puts it in
 * place and synchronises the folder, else it stays as NAME.new. 0 or -errno; on failure nothing
 * is left behind. */
int
state_write(int dir, const char *name, const void *bytes, size_t n, bool rename);

/* Adds "key value" with the value's control characters escaped. */
void
state_line(struct buf *b, const char *key, const char *value);

/* Adds the last line, the sum of all before it. */
void
state_sum_line(struct buf *b);

/* Reads a small file and checks its sum; out gets its lines, NUL-terminated, without the last.
 * 0, -ENOENT, -EBADMSG for a wrong sum, or -errno. */
int
state_read(int dir, const char *name, struct buf *out);

/* Takes the next line "key value" off *p, cutting it up in place, the value unescaped. false at
 * the end. */
bool
state_next(char **p, char **key, char **value);

/* A decimal number of the whole text; false for anything else. */
bool
state_number(const char *s, uint64_t *out);

void
state_hex(const uint8_t *p, size_t n, char *out);
bool
state_unhex(const char *s, uint8_t *out, size_t n);

/* Sets the small file aside as NAME.damaged. */
void
state_bad_file(struct state *s, const char *name, const char *why);

#endif
