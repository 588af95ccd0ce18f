/*
 * report: delivery status notifications (RFC 3461, 3462, 3464, 6533).
 *
 * The message is written in three steps: smtp_report_head(), then the caller's bytes of
 * the original (its header block, or the whole where RET=FULL), then
 * smtp_report_tail(). It goes out with a null sender (RFC 5321 4.5.5) and never to
 * a null path.
 */
#ifndef SMTP_REPORT_H
#define SMTP_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum smtp_report_action {
	SMTP_REPORT_FAILED,        /* will not be tried again */
	SMTP_REPORT_DELAYED,       /* is being tried */
	SMTP_REPORT_RELAYED,       /* given to a relay that knows no DSN, SUCCESS was asked */
};

struct smtp_report_rcpt {
	enum smtp_report_action action;
	const char *path;          /* final recipient */
	const char *orcpt;         /* as RCPT gave it, "type;xtext"; NULL */
	const char *status;        /* "5.1.1"; NULL or of another class: made of the action */
	const char *relay;         /* who said so: its host name, or its address; NULL: we did */
	const char *reply;         /* what it said: "550 5.1.1 no such user"; NULL */
	const char *words;         /* for people: why, and what to do; NULL */
	uint64_t last;             /* seconds of the last attempt; 0: none */
	uint64_t until;            /* DELAYED: it is tried until then; 0 unsaid */
};

struct smtp_report {
	const char *host;          /* our name */
	const char *id;            /* of the report: letters, digits, `-`, `.`: in Message-ID and boundary */
	const char *message;       /* of the original, for people; NULL */
	uint64_t now, arrived;     /* seconds since 1970 */
	int east;                  /* minutes east of Greenwich */
	const char *to;            /* the original's reverse path, never "" */
	const char *postmaster;    /* whom to ask: a contact in words; NULL */
	const char *envid;         /* xtext as MAIL gave it; NULL */
	bool full;                 /* the whole original follows, not its header alone */
	bool utf8;                 /* the original was SMTPUTF8: message/global-... (RFC 6533); the report
	                              needs SMTPUTF8 as well */
	bool high;                 /* what follows holds bytes above 127: the report needs 8BITMIME */
	const struct smtp_report_rcpt *rcpt;
	size_t nrcpt;
};

/* Whether a report of this kind is wanted for a recipient with that NOTIFY (0: unsaid,
 * RFC 3461 4.1) and reverse path ("" never). */
bool
smtp_report_wanted(enum smtp_report_action action, unsigned notify, const char *reverse);

/* Adds everything before the original's bytes. 0, the buffer's error, or -EINVAL where `to`
 * is the null path. Text from outside becomes printable ASCII, one line. */
int
smtp_report_head(const struct smtp_report *r, struct buf *out);

/* Adds what follows them (they ended with CRLF). */
int
smtp_report_tail(const struct smtp_report *r, struct buf *out);

#endif
