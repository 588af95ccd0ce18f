/*
 * queue_outcome: from what became of a message's recipients to what its program is told, and what has
 * to be done first. Pure.
 *
 *   delivered   refused   open     the program is told                 first
 *   ---------   -------   ------   ----------------------------------  -----------------------------
 *   all                            the relay's own 2xx                 -
 *               all                the relay's own refusal             -
 *                         all      250 queued as ID: why               all kept, durable
 *   some        some               250 what became of whom             a report, durable (*)
 *   some                  some     250 what became of whom             the open ones kept, durable
 *               some      some     250 what became of whom             both
 *   some        some      some     250 what became of whom             both
 *
 * Open: deferred, held, or not answered. (*) Where nobody may be sent a report (a null path,
 * NOTIFY=NEVER) the words are the report. Where a report is wanted and cannot be made, the program is told the
 * refusal, which is true of some.
 */
#ifndef ROLE_QUEUE_OUTCOME_H
#define ROLE_QUEUE_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/relay.h"

enum { QUEUE_WORDS = 2000 };       /* bytes of an answer's text */

/* What became of one recipient. */
struct queue_fate {
	enum relay_fate fate;      /* DEFERRED as well where there was no answer */
	unsigned code;             /* of the reply; 0: none */
	const char *text;          /* its lines, or the cause in words */
	const char *address, *relay;
	bool relayed;              /* a report that it was DELIVERED is wanted, and the relay makes none */
};

struct queue_answer {
	unsigned code;
	char enhanced[12];
	char text[QUEUE_WORDS];    /* lines divided by LF */
	size_t ndelivered, nrefused, nopen;
};

/* The answer for n recipients (at least one), and how many are of which kind. `id`: as text.
 * `reported`: a report about the refused ones goes to the sender. */
void
queue_answer(const struct queue_fate *f, size_t n, const char *id, bool reported,
    struct queue_answer *out);

/* The refusal of the first refused one, where the 250 of queue_answer() cannot be kept. */
void
queue_answer_refused(const struct queue_fate *f, size_t n, struct queue_answer *out);

/* What a program is told for the machine's negative errno: 452 4.3.1, 552 5.3.4, 451 4.3.0. */
void
queue_answer_error(int err, struct queue_answer *out);

/* The enhanced code at the beginning of a reply's text, of the code's class, else "C.0.0"; *rest:
 * the text behind it. */
void
queue_enhanced(unsigned code, const char *text, char out[12], const char **rest);

/* SMTP_NOTIFY_... of RFC 3461's words as they were given; 0: unsaid (NULL, ""). */
unsigned
queue_notify(const char *words);

/* ---- how many reports a sender gets ------------------------------------------- */

enum { QUEUE_REPORTS = 50, QUEUE_REPORT_SENDERS = 4096 };

/* Reports to each sender within the hour. A full table drops who was silent longest. */
struct queue_storm;

/* NULL: no memory. */
struct queue_storm *
queue_storm_new(unsigned most);

/* Frees; NULL is fine. Returns NULL. */
struct queue_storm *
queue_storm_free(struct queue_storm *s);

/* Whether one more may go to this sender at second `now`, which is then counted; *left: how many were
 * left out since the last that went. */
bool
queue_storm_passes(struct queue_storm *s, const char *sender, uint64_t now, unsigned *left);

#endif
