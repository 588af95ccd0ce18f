/*
 * command: one line of a client, as a row of a const table and its arguments.
 *
 * Whatever comes out has no control character, no NUL and no newline in any
 * parameter; strings point into the line and are NUL-terminated there.
 */
#ifndef SMTP_COMMAND_H
#define SMTP_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smtp/address.h"

enum smtp_verb {
	SMTP_EHLO, SMTP_HELO, SMTP_MAIL, SMTP_RCPT, SMTP_DATA, SMTP_RSET, SMTP_NOOP,
	SMTP_VRFY, SMTP_HELP, SMTP_QUIT, SMTP_AUTH,
	/* known, and not offered */
	SMTP_EXPN, SMTP_STARTTLS, SMTP_BDAT, SMTP_TURN, SMTP_ETRN, SMTP_SEND, SMTP_SOML,
	SMTP_SAML, SMTP_BURL,
	/* no mail program says this: a browser was turned on us */
	SMTP_HTTP,
	SMTP_UNKNOWN,
};

enum smtp_argument {
	SMTP_ARG_NONE,             /* none may follow */
	SMTP_ARG_ANY,              /* whatever follows is ignored */
	SMTP_ARG_WORD,             /* one is required */
	SMTP_ARG_HELO,             /* a name of a host */
	SMTP_ARG_MAIL,             /* FROM:<path> parameters */
	SMTP_ARG_RCPT,             /* TO:<path> parameters */
	SMTP_ARG_AUTH,             /* mechanism, initial response */
};

struct smtp_command_row {
	const char *verb;
	enum smtp_verb is;
	enum smtp_argument argument;
	unsigned most;             /* octets of the line with CRLF: 512 (RFC 5321 4.5.3.1.4) and what
	                              the extensions add */
	bool last;                 /* must end a group (RFC 2920 3.1) */
	bool closes;               /* what follows it may be no commands: answered and closed */
	bool offered;
	const char *help;          /* its syntax, for HELP */
};

/* The table; ends with a row without verb. */
extern const struct smtp_command_row smtp_commands[];

enum smtp_body { SMTP_BODY_UNSAID, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };
enum smtp_ret { SMTP_RET_UNSAID, SMTP_RET_FULL, SMTP_RET_HDRS };
enum {
	SMTP_NOTIFY_NEVER = 1,
	SMTP_NOTIFY_SUCCESS = 2,
	SMTP_NOTIFY_FAILURE = 4,
	SMTP_NOTIFY_DELAY = 8,
};

/* What MAIL says besides the path. */
struct smtp_mail {
	bool sized;
	uint64_t size;             /* RFC 1870 */
	enum smtp_body body;       /* RFC 6152 */
	bool utf8;                 /* RFC 6531 */
	enum smtp_ret ret;         /* RFC 3461 4.3 */
	const char *envid;         /* RFC 3461 4.4: xtext as written; NULL */
	const char *auth;          /* RFC 4954 5: xtext as written, "<>", NULL */
};

/* What RCPT says besides the path. */
struct smtp_rcpt {
	unsigned notify;           /* SMTP_NOTIFY_...; 0: unsaid (RFC 3461 4.1) */
	const char *orcpt;         /* RFC 3461 4.2: "type;xtext" as written; NULL */
};

struct smtp_command {
	const struct smtp_command_row *row;
	const char *arg;           /* EHLO, HELO, VRFY, HELP: what follows; "" for nothing */
	const char *path;          /* MAIL, RCPT: the mailbox; "" is the null path */
	bool bare;                 /* RCPT: "postmaster" without a domain */
	struct smtp_mail mail;
	struct smtp_rcpt rcpt;
	const char *mechanism;     /* AUTH */
	char *initial;             /* AUTH: the initial response, NULL for none */
	size_t ninitial;
};

/* What MAIL and RCPT may bring along. */
struct smtp_grammar {
	bool extended;             /* EHLO was said: parameters are known at all */
	bool auth;                 /* AUTH is offered: MAIL may say AUTH= */
	bool utf8;                 /* MAIL may say SMTPUTF8; for RCPT: its MAIL did */
	bool space;                /* a blank behind FROM: and TO: is passed over */
};

/* Reads a line of n bytes, NUL-terminated, without CRLF, in place. 0, or the
 * code of the refusal with its enhanced code and a sentence: 500 5.5.2, 501
 * 5.5.4, 501 5.1.7, 501 5.1.3, 502 5.5.1, 553 5.6.7, 555 5.5.4. out->row is set in any case
 * (that of SMTP_UNKNOWN for what is in no row). */
unsigned
smtp_command_read(char *line, size_t n, const struct smtp_grammar *g, struct smtp_command *out,
    const char **enhanced, const char **why);

#endif
