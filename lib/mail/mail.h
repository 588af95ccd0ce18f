/*
 * mail: may this message go, by which relay, with which reply.
 *
 * Pure: no sockets, files, clock or names. The forwarder, `mailreeve test` and
 * `mailreeve explain` run this same code. Time is an argument; windows are a
 * state that the caller keeps. What only DNS can say (`sender-domain:
 * resolvable`, `mx-required`) the forwarder asks; mail_mx_required() says for
 * which addresses. What is inside a message (its type of attachments, whether
 * it has a From field at all) is the forwarder's to look at, too.
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
	const char *text;          /* one sentence with the reason, what to do and whom to ask;
	                              printable ASCII, at most 480 bytes */
	const char *rule;          /* what decided: "application web-forms: senders" */
	struct text_span at;       /* its place in the policy */
};

struct mail_recipient {
	const char *address;       /* as the message gave it */
	const struct policy_relay *relay; /* NULL when refused */
	bool auth;                 /* AUTH is used for it */
	struct mail_reply reply;
};

/* What a message was counted as in one window, or in one connection (mail_take_back). */
struct mail_tally {
	uint64_t id, key;          /* the limit, and its key as a hash */
	uint64_t at, n;            /* second of the windows' own clock, how much; n 0: nothing */
	uint32_t place;            /* of the window */
	bool session;              /* of the connection */
};

struct mail_verdict {
	const struct policy_application *application; /* NULL: unregistered */
	struct mail_reply reply;   /* 250 when a recipient is accepted, else the first refusal */
	const char *sender;        /* the envelope sender to use: as given, or `rewrite` */
	bool rewritten;            /* it replaces envelope sender and From field */
	struct mail_recipient *recipient;
	size_t nrecipient;
	const char **warning;      /* thresholds passed, for the log; one sentence each */
	size_t nwarning, capwarning;
	uint64_t not_before;       /* a limit puts the message off to this second; 0: none does */
	struct mail_tally *tally;  /* what it was counted as */
	size_t ntally, captally;
};

/* ---- addresses --------------------------------------------------------- */

/* An address taken apart; the parts point into it and are as written. */
struct mail_address {
	const char *local, *domain; /* the last @ outside quotes divides them */
	size_t nlocal, ndomain;     /* bytes */
	bool quoted;                /* the local part is a quoted string */
	bool literal;               /* the domain is an address literal, "[192.0.2.1]" */
	bool utf8;                  /* bytes above 127: to be sent with SMTPUTF8 only */
};

/* Takes the n bytes at s (a path without brackets) apart by RFC 5321 4.1.2 and
 * 4.1.3; `utf8`: RFC 6531 allowed. On failure *why (NULL: not wanted) is a
 * constant sentence without a full stop. Local parts are never interpreted:
 * "a%b" and "a!b" are names like others. A domain that ends with a full stop,
 * a source route, the bare "postmaster" are no addresses. */
bool
mail_address_read(const char *s, size_t n, bool utf8, struct mail_address *out,
    const char **why);

/* Whether an address (a forward or reverse path without brackets) is RFC 5321
 * syntax; else *why is a sentence. `utf8`: RFC 6531 allowed. */
bool
mail_address_ok(const char *s, bool utf8, const char **why);

/* Whether the address matches the pattern (domain without case, local part
 * with, quotes and backslashes being only its spelling; the last @ outside
 * quotes divides). "" is matched by the null pattern alone, and what is no
 * address by `any` alone. Domains are compared as written: a U-label never
 * matches a pattern. */
bool
mail_pattern_match(const struct policy_pattern *p, const char *address);

/* The pattern as the language writes it: "@example.org", "any", "<>". */
const char *
mail_pattern_text(struct arena *m, const struct policy_pattern *p);

/* Whether one of the patterns matches. */
bool
mail_patterns_match(const struct policy_patterns *p, const char *address);

/* Whether the address lies in the domain or below it. */
bool
mail_domain_in(const struct mail_address *a, const char *domain);

/* Whether the policy wants an MX record for the domain of the address
 * (CAM-18): an address record is then not enough. */
bool
mail_mx_required(const struct policy *p, const char *address);

/* Whether a message of so many bytes passes the limit. */
bool
mail_size_fits(const struct policy_size *limit, uint64_t bytes);

/* ---- who, and by which relay ------------------------------------------- */

/* Which application a program of that user and unit is; NULL: none. Both given
 * in the registration must match; the one that says more wins (a unit says
 * more than a user, a longer unit more than a shorter; then the order of the
 * file). A unit stands for itself and the control groups below it; without a
 * slash it is one of system.slice. */
const struct policy_application *
mail_application(const struct policy *p, const char *user, const char *unit);

struct mail_route {
	const struct policy_relay *relay; /* NULL: there is none */
	const char *rule;          /* "application web-forms: via", "route to @cam.ac.uk" */
	struct text_span at;
};

/* By which relay mail of the application (NULL: unregistered) for the
 * recipient goes at second `now`: the application's `via`, else that of
 * `unregistered`, else the route with the most specific pattern (an address,
 * an exact domain, the longest domain above, any; of equals the first in the
 * file). The queue asks again after a reload. Results live in the arena m. */
void
mail_route(struct arena *m, const struct policy *p, const struct policy_application *app,
    const char *recipient, uint64_t now, struct mail_route *out);

/* ---- windows ----------------------------------------------------------- */

struct mail_windows;
struct mail_session;

/* An empty set of sliding windows; it lives in the arena. Windows are known by
 * what a limit counts and where it stands, not by its number, so they
 * can be kept over a reload of the policy. Bounds and what happens at them:
 * mail/window.h. */
struct mail_windows *
mail_windows_new(struct arena *a);

/* Adds all that the windows count at second `now`, as bytes for mail_windows_read(): at most some 8 MB,
 * empty windows left out. */
struct buf;
void
mail_windows_write(struct mail_windows *w, uint64_t now, struct buf *out);

/* Fills new windows with what was written; time that has gone by since then has gone by for them. 0;
 * -EBADMSG, and the windows are empty, for what was not written by mail_windows_write(). */
int
mail_windows_read(struct mail_windows *w, const void *bytes, size_t n);

/* What one connection has sent, for limits `per: connection`; it lives in the
 * connection's arena. */
struct mail_session *
mail_session_new(struct arena *a);

/* ---- the verdict ------------------------------------------------------- */

/*
 * Judges a message of a program on this host, and counts it when a recipient
 * is accepted. Results live in the arena m. `w` NULL: no windows; `s` NULL: a
 * connection of its own. `now`: seconds, for the windows and for dates.
 *
 * The checks in their order, each with the reply of the first that fails:
 *   syntax         501 5.1.7 sender, 501 5.1.3 recipient, 553 5.1.7 From field
 *   registration   550 5.7.1 no registration, pending, suspended, out of its dates
 *   senders        550 5.7.1 envelope and each address of From match a pair,
 *                  or `rewrite` replaces them; never the null sender
 *   route          550 5.7.1 none, or the relay is of another class, wants a
 *                  registration or registered senders
 *   size           552 5.3.4 of every relay that a recipient goes by
 *   recipients     550 5.7.1 the relay does not take the recipient
 *   limits         451 4.7.1 defer, 550 5.7.1 refuse; per message
 *                  452 4.5.3, 550 5.5.3 recipients, 452 4.3.4, 552 5.3.4 bytes
 * Sender, size and the limits of the whole message refuse the whole message;
 * all else a recipient. Past `recipients per message, over: defer` the first
 * recipients are accepted and the others deferred, so that the program sends
 * to them later (RFC 5321 4.5.3.1.10).
 *
 * nheader 0: the From field is not known yet, the envelope alone is judged
 * (for replies to MAIL and RCPT, with w NULL). The caller sees to it that what
 * is accepted in the end has a From field.
 *
 * A limit of a kind is one for all its applications with `each: all`, and counts
 * each apart with `each: application` (what the policy reader gives to a kind's
 * limit that says nothing). `each: host` and `each: source` are one window: a
 * forwarder is one host. A limit is over when
 * there would be strictly more than it says; what is refused is not counted;
 * a message is not counted whose recipients are all excepted. A full table
 * (mail/window.h) defers, also where the limit would refuse.
 */
void
mail_admit_session(struct arena *m, const struct policy *p, const struct policy_message *msg,
    struct mail_windows *w, struct mail_session *s, uint64_t now, struct mail_verdict *out);

/* The same for a message that is taken for all its recipients or for none (after DATA there is
 * one reply for all, RFC 5321 4.1.1.4): nothing is counted unless every recipient is accepted. */
void
mail_admit_whole(struct arena *m, const struct policy *p, const struct policy_message *msg,
    struct mail_windows *w, struct mail_session *s, uint64_t now, struct mail_verdict *out);

/* Takes back what a verdict counted, for a message that was not taken in the end. The windows and the session (NULL: has
 * gone) are those of the verdict; what has left its window since, or was cut off there, is left alone. */
void
mail_take_back(struct mail_windows *w, struct mail_session *s, const struct mail_tally *t, size_t n);

/* The same as mail_admit_session() with s NULL. */
void
mail_admit(struct arena *m, const struct policy *p, const struct policy_message *msg,
    struct mail_windows *w, uint64_t now, struct mail_verdict *out);

/* Judges a new connection of a program by the limits that count connections,
 * and counts it. The reply is 220, 421 4.7.0 (defer) or 554 5.7.1 (refuse);
 * there are no recipients. */
void
mail_connect(struct arena *m, const struct policy *p, const char *user, const char *unit,
    struct mail_windows *w, uint64_t now, struct mail_verdict *out);

#endif
