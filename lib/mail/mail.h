/*
 * mail: may this message go, by which relay, with which reply.
 *
 * Pure: no sockets, files, clock or names. The forwarder, `mailreeve test` and
 * `mailreeve explain` run this same code. Time is an argument; what DNS says
 * is an argument; windows are a state that the caller keeps.
 */
#ifndef MAIL_MAIL_H
#define MAIL_MAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

/* A reply to the program: RFC 5321 code, RFC 3463 enhanced code, words. */
struct mail_reply {
	unsigned code;             /* 250, 550, 451, ... */
	const char *enhanced;      /* "5.7.1" */
	const char *text;          /* one sentence with the reason and whom to ask */
	const char *rule;          /* what decided: "application web-forms: senders" */
	struct text_span at;       /* its place in the policy */
};

struct mail_recipient {
	const char *address;
	const struct policy_relay *relay; /* NULL when refused */
	bool auth;                 /* AUTH is used for it */
	struct mail_reply reply;
};

struct mail_verdict {
	const struct policy_application *application; /* NULL: unregistered */
	struct mail_reply reply;   /* for the message as a whole: the first refusal, or 250 */
	struct mail_recipient *recipient;
	size_t nrecipient;
	const char **warning;      /* thresholds passed, for the log */
	size_t nwarning;
};

struct mail_windows;

/* An empty set of sliding windows; it lives in the arena. */
struct mail_windows *
mail_windows_new(struct arena *a);

/* Which application a program of that user and unit is; NULL: none. Both given
 * in the registration must match; the one that says more wins. */
const struct policy_application *
mail_application(const struct policy *p, const char *user, const char *unit);

/* Judges a message. `host` is the name of this host for windows keyed by host;
 * `w` may be NULL: no windows. Counts the message in the windows when it is
 * accepted. Results live in the arena m. */
void
mail_admit(struct arena *m, const struct policy *p, const struct policy_message *msg,
    struct mail_windows *w, uint64_t now, struct mail_verdict *out);

/* Whether an address (a forward or reverse path without brackets) is RFC 5321
 * syntax; else *why is a sentence. `utf8`: RFC 6531 allowed. */
bool
mail_address_ok(const char *s, bool utf8, const char **why);

/* Whether the address matches the pattern (domain without case, local part
 * with; the last @ outside quotes divides). */
bool
mail_pattern_match(const struct policy_pattern *p, const char *address);

#endif
