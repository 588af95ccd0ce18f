/*
 * client: our session with a relay (RFC 5321, 2920, 3207, 4954, 8314, 9422).
 *
 * Bytes in, bytes out, and events between, as in server.h. The machine stops
 * at an event and takes no input until smtp_client_next() or the call that
 * the event asks for. Of a message it keeps nothing but the caller's record,
 * which must live until its DONE (or FAILED).
 *
 * One message travels while the next is being asked for: once the content of
 * the first is written the event READY stands again, before the reply to its
 * dot (RFC 2920 3.1), when the relay offers PIPELINING.
 * So over a long way a message costs one round trip.
 * Times are milliseconds of a clock that never goes back.
 */
#ifndef SMTP_CLIENT_H
#define SMTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smtp/command.h"
#include "smtp/ehlo.h"
#include "smtp/reply.h"

struct smtp_client;

enum smtp_client_tls {
	SMTP_TLS_NONE,             /* never, also where it is offered */
	SMTP_TLS_STARTTLS,         /* required: a relay without it is not used */
	SMTP_TLS_MAY,              /* STARTTLS where it is offered; refused, the session goes on in clear. A
	                              handshake that fails is FAILED: connect again with NONE, where the policy
	                              does not ask for TLS (RFC 7435) */
	SMTP_TLS_IMPLICIT,         /* the caller's connection is TLS already (RFC 8314) */
};

enum smtp_client_auth {
	SMTP_AUTH_NEVER,           /* also where it is offered (CAM-09) */
	SMTP_AUTH_REQUIRED,        /* a relay without it is not used (COL-13) */
};

/* Strings must live as long as the session. */
struct smtp_client_options {
	const char *host;          /* our name, for EHLO */
	enum smtp_client_tls tls;
	enum smtp_client_auth auth;
	bool auth_in_clear;        /* AUTH without TLS: the policy names this relay so */
	bool no_pipelining;        /* one command at a time, also where it is offered */
};

/* The places of a session at which a reply is awaited. The deadlines of
 * RFC 5321 4.5.3.2 are a row each in client.c. */
enum smtp_stage {
	SMTP_AT_GREETING, SMTP_AT_EHLO, SMTP_AT_HELO, SMTP_AT_STARTTLS, SMTP_AT_TLS, SMTP_AT_AUTH,
	SMTP_AT_MAIL, SMTP_AT_RCPT, SMTP_AT_DATA, SMTP_AT_CONTENT, SMTP_AT_DOT, SMTP_AT_RSET,
	SMTP_AT_QUIT, SMTP_AT_IDLE,
};

/* "greeting", "RCPT", "end of data": for logs and reports. */
const char *
smtp_stage_name(enum smtp_stage s);

enum smtp_client_event_is {
	SMTP_CLIENT_REPLY,         /* a reply was read: keep it (COL-35), learn a recipient's fate (a 552
	                              to RCPT means 452, RFC 5321 4.5.3.1.10); next() */
	SMTP_CLIENT_STARTTLS,      /* send the output, then begin TLS; smtp_client_tls() */
	SMTP_CLIENT_AUTH,          /* choose a mechanism; smtp_client_auth() */
	SMTP_CLIENT_CHALLENGE,     /* answer the relay's line; smtp_client_auth_line() */
	SMTP_CLIENT_READY,         /* smtp_client_send() or smtp_client_quit(), or leave it standing */
	SMTP_CLIENT_CONTENT,       /* smtp_client_content() and at last smtp_client_content_end() */
	SMTP_CLIENT_DONE,          /* a message is settled: `outcome`; next() */
	SMTP_CLIENT_FAILED,        /* the connection is of no use any more: `why`; the messages in
	                              `lost` are not settled. The last event */
	SMTP_CLIENT_CLOSED,        /* QUIT is answered, or need not be: close. The last event */
};

enum smtp_client_why {
	SMTP_FAIL_GREETING,        /* not 220: the reply says whether for now (4xx) or not (5xx) */
	SMTP_FAIL_EHLO,            /* EHLO and HELO refused */
	SMTP_FAIL_NO_TLS,          /* STARTTLS required, and not offered or refused */
	SMTP_FAIL_TLS,             /* the handshake failed, or the name, or the certificate */
	SMTP_FAIL_INJECTED,        /* bytes between the 220 of STARTTLS and TLS (RFC 3207 4.2) */
	SMTP_FAIL_NO_AUTH,         /* AUTH required, and not offered, or no mechanism in common */
	SMTP_FAIL_AUTH_CLEAR,      /* AUTH required without TLS and not allowed so */
	SMTP_FAIL_AUTH,            /* refused; a 535 is an alarm, not a bounce */
	SMTP_FAIL_UNASKED,         /* a reply that nothing asked for */
	SMTP_FAIL_NONSENSE,        /* no reply at all: digits, NUL, line ends, code changing */
	SMTP_FAIL_ENDLESS,         /* a reply too long */
	SMTP_FAIL_SHUT,            /* 421: the relay closes */
	SMTP_FAIL_TIME,            /* a deadline has passed */
	SMTP_FAIL_GONE,            /* the caller said that the peer is gone */
	SMTP_FAIL_CONTENT,         /* the content held a bare CR, LF or NUL, or was given up by the caller */
	SMTP_FAIL_MEMORY,
};

struct smtp_client_rcpt {
	const char *path;          /* the mailbox without brackets */
	struct smtp_rcpt dsn;      /* NOTIFY and ORCPT, for a relay with DSN */
};

/* A message to be sent. The relay's answers arrive as events. */
struct smtp_client_message {
	const char *path;          /* reverse path without brackets; "" is null */
	struct smtp_mail mail;     /* size where `sized`; ret, envid and auth where the relay knows them;
	                              utf8: SMTPUTF8 is needed */
	bool high;                 /* the body holds bytes above 127: BODY=8BITMIME is needed */
	const struct smtp_client_rcpt *rcpt;
	size_t nrcpt;              /* at least 1; none where */
	bool ask;                  /* MAIL alone is said, to hear what the relay thinks of the sender, and taken back
	                              (RSET): ASKED */
	void *arg;                 /* the caller's */
};

/* How a message ended. */
enum smtp_client_outcome {
	SMTP_OUT_SENT,             /* 2xx to the dot: for the recipients that had 2xx */
	SMTP_OUT_MAIL,             /* MAIL refused: for all recipients */
	SMTP_OUT_RCPT,             /* no recipient taken: each has its own reply */
	SMTP_OUT_DATA,             /* DATA refused: for the recipients that had 2xx */
	SMTP_OUT_DOT,              /* refused after the dot: the same */
	SMTP_OUT_ASKED,            /* of one that only asks: MAIL was answered */
};

struct smtp_client_event {
	enum smtp_client_event_is is;
	/* REPLY, and FAILED where a reply was the cause (code 0: none was) */
	enum smtp_stage stage;     /* FAILED: where it was awaited */
	const struct smtp_reply *reply;
	size_t rcpt;               /* SMTP_AT_RCPT: which recipient */
	/* CHALLENGE: what stands behind 334, base64 as it came */
	const char *challenge;
	/* REPLY at MAIL to DOT, CONTENT, DONE: which message */
	const struct smtp_client_message *message;
	enum smtp_client_outcome outcome;
	size_t tried;              /* DONE: so many recipients were named to the relay (its RCPTMAX); the
	                              rest asks for another transaction */
	/* FAILED */
	enum smtp_client_why why;
	const struct smtp_client_message *lost[2]; /* not settled, in order; NULL */
	bool dot;                  /* lost[0] had been written to its dot: it may have arrived */
};

/* A session; NULL without memory. */
struct smtp_client *
smtp_client_new(const struct smtp_client_options *o);

struct smtp_client *
smtp_client_free(struct smtp_client *c);

/* The connection stands: the greeting is awaited. Once, before all else. */
void
smtp_client_start(struct smtp_client *c, uint64_t now);

/* Takes bytes of the relay and gives how many: all, unless an event stands that is not READY,
 * CONTENT or STARTTLS. After the 220 to STARTTLS any byte is FAILED, so feed whatever was
 * read before TLS begins. READY and CONTENT give way to the REPLY that comes meanwhile. */
size_t
smtp_client_feed(struct smtp_client *c, const char *p, size_t n, uint64_t now);

const struct smtp_client_event *
smtp_client_event(const struct smtp_client *c);

/* REPLY and DONE have been seen to. */
void
smtp_client_next(struct smtp_client *c, uint64_t now);

/* The end of TLS's handshake, with certificate and name verified as the policy
 * wants: what was learnt before is forgotten (RFC 3207 4.2). */
void
smtp_client_tls_done(struct smtp_client *c, bool ok, uint64_t now);

/* AUTH by that mechanism (one that smtp_capable_auth() knows), with its initial response in
 * base64; NULL: none, "": an empty one. mechanism NULL: there is none in common. */
void
smtp_client_auth(struct smtp_client *c, const char *mechanism, const char *initial, uint64_t now);

/* The answer to a CHALLENGE in base64; NULL cancels. Overwritten inside once it is sent. */
void
smtp_client_auth_line(struct smtp_client *c, const char *line, uint64_t now);

/* What the relay can do; empty before EHLO and from STARTTLS to the EHLO after it. */
const struct smtp_capable *
smtp_client_capable(const struct smtp_client *c);

/* Whether this relay takes the message as it is. */
enum smtp_client_fit {
	SMTP_FIT_OK,
	SMTP_FIT_SEVEN,            /* bytes above 127 and no 8BITMIME: convert (mime.h), or report 5.6.3 */
	SMTP_FIT_UTF8,             /* SMTPUTF8 needed and not offered: report 5.6.7 */
	SMTP_FIT_SIZE,             /* larger than its SIZE: report 5.3.4 */
	SMTP_FIT_LINE,             /* a path, ENVID or ORCPT that is not fit to be said: a mistake of ours */
};

enum smtp_client_fit
smtp_client_fits(const struct smtp_client *c, const struct smtp_client_message *m);

/* READY: begins a message that fits. */
void
smtp_client_send(struct smtp_client *c, const struct smtp_client_message *m, uint64_t now);

/* Whether the relay's MAILMAX is used up: QUIT and connect again. */
bool
smtp_client_spent(const struct smtp_client *c);

/* CONTENT: takes content and gives how much (less when the output is full: send it
 * first). Dots are stuffed here. */
size_t
smtp_client_content(struct smtp_client *c, const char *p, size_t n, uint64_t now);

/* The content is whole. */
void
smtp_client_content_end(struct smtp_client *c, uint64_t now);

/* READY: QUIT, once the reply to a dot that is awaited has come. */
void
smtp_client_quit(struct smtp_client *c, uint64_t now);

/* Anywhere: the caller gives up (a content that cannot be read, the service ends). */
void
smtp_client_abort(struct smtp_client *c);

/* Bytes for the relay; *n 0 for none. They stay in place until the next call that
 * is not smtp_client_event(). */
const char *
smtp_client_output(const struct smtp_client *c, size_t *n);

void
smtp_client_sent(struct smtp_client *c, size_t n, uint64_t now);

/* The next moment at which smtp_client_tick() has work; UINT64_MAX for none. */
uint64_t
smtp_client_deadline(const struct smtp_client *c);

void
smtp_client_tick(struct smtp_client *c, uint64_t now);

/* The relay has closed, or the connection failed. */
void
smtp_client_gone(struct smtp_client *c, uint64_t now);

#endif
