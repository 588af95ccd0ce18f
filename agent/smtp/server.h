/*
 * server: the session of one client (RFC 5321, 6409, 2920, 1870, 2034, 3461,
 * 4954, 6152, 6531).
 *
 * Bytes in, bytes out, and events between. The machine stops at an event; the
 * caller answers now or later; until then no input is taken. So what is not
 * taken stays in the caller's buffer, which bounds it. The loop of a caller:
 *
 *   smtp_server_start();
 *   for (;;) {
 *       while ((e = smtp_server_event(s)))
 *           answer it, or go on with something else until you can;
 *       send smtp_server_output() to the peer, smtp_server_sent();
 *       read from the peer, smtp_server_feed(); keep what was not taken
 *       at smtp_server_deadline(): smtp_server_tick();
 *   }
 *
 * Feed again what was left whenever an event was answered or output was sent.
 * Times are milliseconds of a clock that never goes back, the caller's.
 */
#ifndef SMTP_SERVER_H
#define SMTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smtp/command.h"

struct smtp_server;

/* What the caller decides for a session; copied, but for the texts, which must live as
 * long as the session. A number 0 is the default that stands beside it. */
struct smtp_server_options {
	const char *host;          /* our name, in the greeting and in EHLO */
	const char *contact;       /* whom to ask: stands behind what the session itself refuses, but for
	                              errors of syntax and order; NULL: nobody */
	uint64_t size;             /* octets of a message, offered as SIZE; 0: no limit */
	bool auth;                 /* AUTH is offered and accepted as a formality; the password is
	                              wiped unseen */
	bool space;                /* "MAIL FROM: <a@b>" with a blank is taken */
	bool no_utf8;              /* SMTPUTF8 is not offered */
	unsigned recipients;       /* of one message; default 1000, never below 100 */
	unsigned messages;         /* of one connection; default 10000 */
	unsigned errors;           /* of syntax or order until 421; default 20 */
	unsigned idle;             /* commands between messages, RCPT not counted; default 200 */
	unsigned line;             /* octets of a line of text with CRLF: a longer one refuses the
	                              message, 550 5.6.0; 0: no limit, never below 1000 */
	uint64_t command_ms;       /* until a command is whole: default 300000 (5321 4.5.3.2.7) */
	uint64_t block_ms;         /* until the next 4 KiB of data: default 180000 (4.5.3.2.5) */
	uint64_t message_ms;       /* until the data has ended: default 3600000 */
	uint64_t write_ms;         /* until the peer takes some of our output: default 300000 */
};

enum smtp_server_event_is {
	SMTP_SERVER_CONNECT,       /* answer 220 (the text follows our name), or 4xx, 5xx: closed */
	SMTP_SERVER_MAIL,          /* answer 250 or a refusal */
	SMTP_SERVER_RCPT,          /* the same, 251 too */
	SMTP_SERVER_DATA,          /* answer 354, or a refusal: the transaction is still open */
	SMTP_SERVER_CONTENT,       /* a run of content; smtp_server_next() when it was taken */
	SMTP_SERVER_END,           /* the message is whole and fine; answer 250 or a refusal. After 250
	                              it is ours */
	SMTP_SERVER_RESET,         /* a transaction that MAIL had opened is over without END: forget it;
	                              smtp_server_next() */
	SMTP_SERVER_CLOSE,         /* send what is left of the output, close; nothing comes after it */
};

enum smtp_server_why {
	SMTP_WHY_QUIT,             /* the client said QUIT, or RSET, EHLO for a RESET */
	SMTP_WHY_REFUSED,          /* CONNECT was answered by a refusal */
	SMTP_WHY_EARLY,            /* bytes where the client had to wait: an attack (RFC 2920 3.1) */
	SMTP_WHY_LINES,            /* CR or LF alone in a command */
	SMTP_WHY_FOREIGN,          /* BDAT, HTTP: what follows is no SMTP */
	SMTP_WHY_ERRORS,           /* too many errors, commands or messages */
	SMTP_WHY_TIME,             /* a deadline has passed */
	SMTP_WHY_SHUTDOWN,
	SMTP_WHY_GONE,             /* the caller said that the peer is gone */
	SMTP_WHY_CONTENT,          /* RESET: CR, LF alone, NUL or a long line in the data, refused 550 5.6.0 */
	SMTP_WHY_SIZE,             /* RESET: more than allowed, refused 552 5.3.4 */
	SMTP_WHY_MEMORY,           /* no memory, 421 4.3.0 or 451 4.3.0 */
};

struct smtp_server_event {
	enum smtp_server_event_is is;
	/* MAIL, RCPT; the strings live until the answer */
	const char *path;          /* the mailbox without brackets; "" is the null sender */
	bool bare;                 /* RCPT: "postmaster" without a domain */
	struct smtp_mail mail;
	struct smtp_rcpt rcpt;
	/* CONTENT; lives until smtp_server_next() or the next feed */
	const char *run;
	size_t nrun;
	/* END: what RFC 1870 counts, bytes above 127 seen */
	uint64_t size;
	bool high;
	/* RESET, CLOSE */
	enum smtp_server_why why;
};

/* A session; NULL without memory. */
struct smtp_server *
smtp_server_new(const struct smtp_server_options *o);

/* Overwrites and frees it; NULL is fine. Returns NULL. */
struct smtp_server *
smtp_server_free(struct smtp_server *s);

/* Begins: the event CONNECT stands. Once, before all else. */
void
smtp_server_start(struct smtp_server *s, uint64_t now);

/* Takes bytes of the peer and gives how many. All of them, unless an event stands or
 * much output waits. What belongs to AUTH is overwritten in place. While CONNECT
 * waits for its answer, and behind a command that must end a group, bytes are an attack:
 * 554 5.5.0 and CLOSE. (So feed what is there also while CONNECT and DATA wait.) */
size_t
smtp_server_feed(struct smtp_server *s, char *p, size_t n, uint64_t now);

/* The event that stands; NULL for none. */
const struct smtp_server_event *
smtp_server_event(const struct smtp_server *s);

/* Answers CONNECT, MAIL, RCPT, DATA, END, as the enum says. `text` may have several lines,
 * divided by LF; NULL for the usual words. A code that does not fit the event
 * is a mistake of ours. */
void
smtp_server_answer(struct smtp_server *s, unsigned code, const char *enhanced, const char *text,
    uint64_t now);

/* CONTENT and RESET have been seen to. */
void
smtp_server_next(struct smtp_server *s, uint64_t now);

/* From the answer to MAIL until the end of its transaction: at most so many octets
 * (the relay's limit), 552 5.3.4 after them. 0: the option's. Nothing where the
 * session ended with that answer. */
void
smtp_server_limit(struct smtp_server *s, uint64_t octets);

/* Bytes for the peer; *n 0 for none. They stay in place until the next call that
 * is not smtp_server_event(). */
const char *
smtp_server_output(const struct smtp_server *s, size_t *n);

/* The peer has taken n bytes of it. */
void
smtp_server_sent(struct smtp_server *s, size_t n, uint64_t now);

/* The next moment at which smtp_server_tick() has work; UINT64_MAX for none. While an
 * event waits for its answer time stands still, but for output that is not taken. */
uint64_t
smtp_server_deadline(const struct smtp_server *s);

/* Tells the time: what has passed its deadline is answered 421 4.4.2, and closed. Here, as
 * by shutdown and gone, an event that stands may give way to RESET or CLOSE: END alone never
 * does. */
void
smtp_server_tick(struct smtp_server *s, uint64_t now);

/* The service ends: 421 4.3.2 and CLOSE, now or, where a message is being sent or
 * answered, after its answer. */
void
smtp_server_shutdown(struct smtp_server *s, uint64_t now);

/* The peer has closed or failed: RESET where a transaction was open, then CLOSE. What
 * it had sent before should have been fed; a message without its end is none. */
void
smtp_server_gone(struct smtp_server *s, uint64_t now);

/* What the client called itself; "" before EHLO. */
const char *
smtp_server_helo(const struct smtp_server *s);

/* The user name of AUTH, printable, for the log alone; "" without AUTH. */
const char *
smtp_server_user(const struct smtp_server *s);

/* The keyword of `with` in a Received field (RFC 3848, 6531): SMTP, ESMTP, ESMTPA,
 * UTF8SMTP, UTF8SMTPA. */
const char *
smtp_server_with(const struct smtp_server *s);

#endif
