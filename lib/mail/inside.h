/*
 * inside: what the files of lib/mail share.
 */
#ifndef MAIL_INSIDE_H
#define MAIL_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mail/mail.h"

struct window_ask;

/* One message, or one connection, while it is judged. */
struct admit {
	struct arena *m;
	const struct policy *p;
	const struct policy_message *msg; /* NULL: a connection */
	const char *user, *unit;
	struct mail_windows *w;    /* NULL: none */
	struct mail_session *s;    /* NULL: none */
	uint64_t now;
	bool whole;                /* all recipients or none */
	struct mail_verdict *out;
};

/* Whether the second lies in the days; `until` 0 is no end, so that what was
 * never filled in does not end a limit. */
bool
admit_active(const struct policy_days *d, uint64_t now);

/* As mail_application(), of those that are in their days before the others. */
const struct policy_application *
route_application(const struct policy *p, const char *user, const char *unit, uint64_t now);

/* A reply whose text is the format, and behind it whom to ask. */
struct mail_reply
admit_reply(const struct admit *a, unsigned code, const char *enhanced,
    const char *rule, struct text_span at, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

/* Refuses the recipient, or all that are not refused yet. */
void
admit_refuse(struct mail_recipient *r, struct mail_reply reply);
void
admit_refuse_all(struct admit *a, struct mail_reply reply);

/* Applies all limits to the recipients that are accepted so far, and counts
 * what is left. */
void
limits_message(struct admit *a);

/* Applies the limits that count connections. */
void
limits_connection(struct admit *a);

#endif
