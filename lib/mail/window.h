/*
 * window: exact sliding windows, and what one connection has sent.
 *
 * A window is keyed by a limit (its identity, a number) and a key (a sender,
 * an application, a relay). It holds what was counted within the last
 * `seconds`: an event at second t leaves the window at t + seconds. Exact,
 * not sampled: events of one second share a slot, and of what is far over
 * the limit only so much is kept as is needed to know that it is over.
 *
 * Memory is bounded (WINDOW_KEYS_MOST, WINDOW_SLOTS_MOST). When it is used
 * up, windows that have run empty are given up first; after that a key that
 * is not yet there is WINDOW_FULL until some window runs empty: what cannot
 * be counted is not let through.
 *
 * Time may jump. Backwards: no time is taken to have passed between the two
 * calls, nothing counted is lost, and nothing stays for longer than
 * its window. Forwards: that much time is taken to have passed.
 */
#ifndef MAIL_WINDOW_H
#define MAIL_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct mail_session;
struct mail_tally;
struct mail_windows;

enum {
	WINDOW_KEYS_MOST = 4096,     /* of about 300 bytes */
	WINDOW_SLOTS_MOST = 1 << 18, /* of 24 bytes */
	WINDOW_KEY_MOST = 255,       /* bytes of a key; a longer one is cut, with a hash at its end */
};

/* One question to a window. */
struct window_ask {
	uint64_t id;               /* the limit */
	const char *key;
	uint64_t seconds;          /* of the window */
	uint64_t most;             /* strictly more is over */
	uint64_t n;                /* how much more there would be */
};

enum window_answer {
	WINDOW_FITS,
	WINDOW_OVER,
	WINDOW_FULL,               /* cannot be counted: no memory for the key */
};

/* Sets the windows' own clock to `now` and makes room for k more keys, as
 * many as will be asked for before the next call. False when there is none. */
bool
window_begin(struct mail_windows *w, uint64_t now, size_t k);

/* Whether q->n more would be over. *when, if not NULL, gets the earliest
 * second at which they would not be (UINT64_MAX: never, n alone is over);
 * when FULL, one window from now. */
enum window_answer
window_over(struct mail_windows *w, const struct window_ask *q, uint64_t *when);

/* Counts q->n at second `at`: now, or later for what is put off. What cannot
 * be counted (FULL) is not. *t (NULL: not wanted) is what was counted, for
 * window_take(). */
void
window_add(struct mail_windows *w, const struct window_ask *q, uint64_t at, struct mail_tally *t);

/* Takes back what was counted, as far as it is still there. */
void
window_take(struct mail_windows *w, const struct mail_tally *t);

/* Keys and slots in use, for tests and for a report. */
size_t
window_keys(const struct mail_windows *w);
size_t
window_slots(const struct mail_windows *w);

/* Whether q->n more in this connection would be over; counts them. A
 * connection knows at most SESSION_MOST keys: one more is over. */
bool
session_over(const struct mail_session *s, const struct window_ask *q);
void
session_add(struct mail_session *s, const struct window_ask *q, struct mail_tally *t);

/* Takes back what was counted in this connection. */
void
session_take(struct mail_session *s, const struct mail_tally *t);

enum { SESSION_MOST = 64 };

#endif
