/*
 * The client session: transcripts, a row each. The relay is a script: what it
 * says when it has read a line that begins with certain words. What the client
 * says and the events it raises must be as the row has it, in all pieces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "base/buf.h"
#include "smtp/client.h"

/* What the relay answers to a line that begins so; each row serves once, in order; those
 * of an empty word speak first. */
struct says {
	const char *word, *reply;
};

struct play {
	struct smtp_client *c;
	const struct says *script;
	bool used[32];
	struct buf heard, log, relay; /* all that the client said; events; what waits to be fed */
	size_t line;               /* where in heard the line begun stands */
	bool data;                 /* heard is content, to its CRLF.CRLF */
	size_t data_from;
	const struct smtp_client_message *message;
	size_t nmessage, sent;
	size_t piece;              /* so many bytes are fed at once */
	uint64_t now;
	bool tls_ok, quit;
	const char *content;
	const char *password;
};

static const char *const why_words[] = {
	[SMTP_FAIL_GREETING] = "greeting", [SMTP_FAIL_EHLO] = "ehlo", [SMTP_FAIL_NO_TLS] = "no-tls",
	[SMTP_FAIL_TLS] = "tls", [SMTP_FAIL_INJECTED] = "injected", [SMTP_FAIL_NO_AUTH] = "no-auth",
	[SMTP_FAIL_AUTH_CLEAR] = "auth-clear", [SMTP_FAIL_AUTH] = "auth", [SMTP_FAIL_UNASKED] = "unasked",
	[SMTP_FAIL_NONSENSE] = "nonsense", [SMTP_FAIL_ENDLESS] = "endless", [SMTP_FAIL_SHUT] = "shut",
	[SMTP_FAIL_TIME] = "time", [SMTP_FAIL_GONE] = "gone", [SMTP_FAIL_CONTENT] = "content",
	[SMTP_FAIL_MEMORY] = "memory",
};
static const char *const outcomes[] = {
	[SMTP_OUT_SENT] = "sent", [SMTP_OUT_MAIL] = "mail", [SMTP_OUT_RCPT] = "rcpt",
	[SMTP_OUT_DATA] = "data", [SMTP_OUT_DOT] = "dot", [SMTP_OUT_ASKED] = "asked",
};

static void
answer(struct play *t, const char *line, size_t n)
{
	for (size_t i = 0; t->script[i].word; i++) {
		size_t k = strlen(t->script[i].word);

		if (t->used[i] || !k || k > n || strncasecmp(line, t->script[i].word, k))
			continue;
		t->used[i] = true;
		buf_str(&t->relay, t->script[i].reply);
		return;
	}
}

/* The relay reads what the client has written. */
static void
hear(struct play *t)
{
	const char *p;
	size_t n;

	while ((p = smtp_client_output(t->c, &n)), n) {
		/* Odd pieces, so that what is half sent is seen too. */
		size_t k = n > 7 ? n / 2 + 1 : n;

		buf_add(&t->heard, p, k);
		smtp_client_sent(t->c, k, t->now);
	}
	for (;;) {
		const char *from = t->heard.p + t->line, *end;
		size_t left = t->heard.n - t->line;

		if (!left || !(end = memmem(from, left, "\r\n", 2)))
			return;
		t->line += (size_t)(end + 2 - from);
		if (!t->data) {
			answer(t, from, (size_t)(end - from));
			/* What the relay has said decides whether content follows. */
			if (end - from == 4 && !memcmp(from, "DATA", 4) && t->relay.n >= 3 &&
			    strstr(t->relay.p, "354"))
				t->data = true;
		} else if (end - from == 1 && *from == '.') {
			t->data = false;
			answer(t, ".", 1);
		}
	}
}

/* Sees to the event that stands; false: nothing more can be done. */
static bool
event(struct play *t)
{
	const struct smtp_client_event *e = smtp_client_event(t->c);
	enum smtp_client_fit fit;
	const char *s;

	switch (e->is) {
	case SMTP_CLIENT_REPLY:
		buf_printf(&t->log, "%s", smtp_stage_name(e->stage));
		if (e->stage == SMTP_AT_RCPT)
			buf_printf(&t->log, "%zu", e->rcpt);
		buf_printf(&t->log, "=%u%s%s ", e->reply->code, *e->reply->enhanced ? "/" : "", e->reply->enhanced);
		smtp_client_next(t->c, t->now);
		break;
	case SMTP_CLIENT_STARTTLS:
		hear(t);
		buf_str(&t->log, "starttls ");
		smtp_client_tls_done(t->c, t->tls_ok, t->now);
		buf_str(&t->heard, "[TLS]\r\n");
		t->line = t->heard.n;
		break;
	case SMTP_CLIENT_AUTH:
		buf_printf(&t->log, "auth(%s) ", smtp_client_capable(t->c)->mechanisms);
		if (smtp_capable_auth(smtp_client_capable(t->c), "PLAIN"))
			smtp_client_auth(t->c, "PLAIN", t->password, t->now);
		else if (smtp_capable_auth(smtp_client_capable(t->c), "login"))
			smtp_client_auth(t->c, "LOGIN", NULL, t->now);
		else
			smtp_client_auth(t->c, NULL, NULL, t->now);
		break;
	case SMTP_CLIENT_CHALLENGE:
		buf_printf(&t->log, "challenge(%s) ", e->challenge);
		smtp_client_auth_line(t->c, *e->challenge == '!' ? NULL : "QQ==", t->now);
		break;
	case SMTP_CLIENT_READY:
		if (t->sent < t->nmessage && !smtp_client_spent(t->c)) {
			fit = smtp_client_fits(t->c, &t->message[t->sent]);
			if (fit == SMTP_FIT_OK)
				smtp_client_send(t->c, &t->message[t->sent], t->now);
			else
				buf_printf(&t->log, "unfit%d ", (int)fit);
			t->sent++;
		} else if (!t->quit) {
			t->quit = true;
			smtp_client_quit(t->c, t->now);
		} else {
			return false;
		}
		break;
	case SMTP_CLIENT_CONTENT:
		for (s = t->content; *s;) {
			s += smtp_client_content(t->c, s, strlen(s), t->now);
			hear(t);
			if (smtp_client_event(t->c) && smtp_client_event(t->c)->is == SMTP_CLIENT_FAILED)
				return true;
		}
		smtp_client_content_end(t->c, t->now);
		break;
	case SMTP_CLIENT_DONE:
		buf_printf(&t->log, "done(%s %zu) ", outcomes[e->outcome], e->tried);
		smtp_client_next(t->c, t->now);
		break;
	case SMTP_CLIENT_FAILED:
		buf_printf(&t->log, "failed(%s at %s", why_words[e->why], smtp_stage_name(e->stage));
		if (e->reply)
			buf_printf(&t->log, " %u", e->reply->code);
		for (int i = 0; i < 2; i++)
			if (e->lost[i])
				buf_printf(&t->log, " lost%zu", (size_t)(e->lost[i] - t->message));
		buf_printf(&t->log, "%s)", e->dot ? " dot" : "");
		return false;
	case SMTP_CLIENT_CLOSED:
		buf_str(&t->log, "closed");
		return false;
	}
	return true;
}

static void
run(struct play *t)
{
	bool on = true;

	smtp_client_start(t->c, t->now);
	for (size_t i = 0; t->script[i].word; i++)
		if (!*t->script[i].word)
			buf_str(&t->relay, t->script[i].reply);
	while (on) {
		const struct smtp_client_event *e = smtp_client_event(t->c);
		size_t k = 0, n;

		on = false;
		/* READY can wait for what the relay has still to say, but need not. */
		if (e) {
			on = event(t);
			if (!on && (e = smtp_client_event(t->c)) &&
			    (e->is == SMTP_CLIENT_FAILED || e->is == SMTP_CLIENT_CLOSED))
				break;
		}
		hear(t);
		n = t->relay.n < t->piece ? t->relay.n : t->piece;
		if (n) {
			char *copy = malloc(n);

			assert_non_null(copy);
			memcpy(copy, t->relay.p, n);
			k = smtp_client_feed(t->c, copy, n, t->now);
			free(copy);
			memmove(t->relay.p, t->relay.p + k, t->relay.n - k + 1);
			t->relay.n -= k;
			on |= k || smtp_client_event(t->c);
		}
	}
}

static struct play
begin(const struct smtp_client_options *o, const struct says *script, size_t piece)
{
	struct play t = {.script = script, .heard = BUF_INIT(1 << 20), .log = BUF_INIT(1 << 20),
	    .relay = BUF_INIT(8 << 20), .piece = piece, .now = 1000, .tls_ok = true,
	    .content = "hello\r\n", .password = "AGEAYg=="};

	t.c = smtp_client_new(o);
	assert_non_null(t.c);
	return t;
}

static void
finish(struct play *t)
{
	smtp_client_free(t->c);
	buf_free(&t->heard);
	buf_free(&t->log);
	buf_free(&t->relay);
}

static const char *
text(const struct buf *b)
{
	return b->p ? b->p : "";
}

#define HI {"", "220 r.example ESMTP\r\n"}
#define BYE {"QUIT", "221 2.0.0 bye\r\n"}
#define OK(word) {word, "250 2.0.0 ok\r\n"}
#define GO {"DATA", "354 go\r\n"}
#define EHLO(more) {"EHLO", "250-r.example\r\n" more "250 HELP\r\n"}
#define PIPE EHLO("250-PIPELINING\r\n")
#define END {NULL, NULL}

static const struct smtp_client_rcpt one[] = {{.path = "d@e.f"}};
static const struct smtp_client_rcpt three[] = {{.path = "d@e.f"}, {.path = "g@e.f"}, {.path = "h@e.f"}};
static const struct smtp_client_rcpt noted[] = {
	{.path = "d@e.f", .dsn = {SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY, "rfc822;d@e.f"}},
};
static const struct smtp_client_message to_one[] = {
	{.path = "a@b.c", .rcpt = one, .nrcpt = 1}, {.path = "", .rcpt = one, .nrcpt = 1},
	{.path = "a@b.c", .rcpt = one, .nrcpt = 1},
};
static const struct smtp_client_message to_three[] = {{.path = "a@b.c", .rcpt = three, .nrcpt = 3}};
static const struct smtp_client_message full[] = {
	{.path = "a@b.c", .mail = {.sized = true, .size = 7, .ret = SMTP_RET_HDRS, .envid = "Q1", .auth = "<>"},
	    .high = true, .rcpt = noted, .nrcpt = 1},
};
static const struct smtp_client_message asks[] = {
	{.path = "a@b.c", .ask = true}, {.path = "x@b.c", .ask = true}, {.path = "a@b.c", .rcpt = one, .nrcpt = 1},
};
static const struct smtp_client_message wide[] = {
	{.path = "\xc3\xa9@b.c", .mail = {.utf8 = true}, .rcpt = one, .nrcpt = 1},
};

static const struct row {
	const char *name;
	struct smtp_client_options o;
	const struct smtp_client_message *message;
	size_t nmessage;
	struct says script[16];
	const char *heard, *log;
	bool whole;                /* the relay's words arrive at once; else also byte by byte */
	bool tls_fails;
} rows[] = {
	{"rfc5321_a_message", {.host = "h"}, to_one, 1,
	    {HI, EHLO(""), OK("MAIL"), OK("RCPT"), GO, OK("."), BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n",
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 RCPT0=250/2.0.0 DATA=354 end of data=250/2.0.0 done(sent 1) "
	    "QUIT=221/2.0.0 closed", false, false},
	{"rfc2920_pipelined_over_the_dot", {.host = "h"}, to_one, 3,
	    {HI, PIPE, OK("MAIL"), OK("RCPT"), GO, OK("."), OK("MAIL"), OK("RCPT"), GO, OK("."), OK("MAIL"),
	    OK("RCPT"), GO, OK("."), BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\n"
	    "MAIL FROM:<>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\n"
	    "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n", NULL, false, false},
	{"rfc2920_3_1_the_next_is_asked_for_before_the_reply_to_the_dot", {.host = "h"}, to_one, 2,
	    {HI, PIPE, OK("MAIL"), OK("RCPT"), GO, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\n"
	    "MAIL FROM:<>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n",
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 RCPT0=250/2.0.0 DATA=354 ", false, false},
	{"COL_36_a_sender_is_asked_about_and_taken_back", {.host = "h"}, asks, 3,
	    {HI, PIPE, OK("MAIL"), OK("RSET"), {"MAIL", "553 5.7.1 no\r\n"}, OK("MAIL"), OK("RCPT"), GO, OK("."), BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRSET\r\nMAIL FROM:<x@b.c>\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n"
	    "hello\r\n.\r\nQUIT\r\n",
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 done(asked 0) RSET=250/2.0.0 MAIL=553/5.7.1 done(asked 0) MAIL=250/2.0.0 "
	    "RCPT0=250/2.0.0 DATA=354 end of data=250/2.0.0 done(sent 1) QUIT=221/2.0.0 closed", false, false},
	{"rfc5321_4_1_1_1_helo_after_a_5xx", {.host = "h"}, to_one, 1,
	    {HI, {"EHLO", "502 what\r\n"}, {"HELO", "250 r\r\n"}, OK("MAIL"), OK("RCPT"), GO, OK("."), BYE, END},
	    "EHLO h\r\nHELO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n", NULL, false, false},
	{"rfc5321_4_1_1_1_no_helo_after_a_4xx", {.host = "h"}, to_one, 1,
	    {HI, {"EHLO", "451 later\r\n"}, {"HELO", "250 r\r\n"}, END}, "EHLO h\r\n",
	    "greeting=220 EHLO=451 failed(ehlo at EHLO 451)", false, false},
	{"a_4xx_greeting_is_for_now", {.host = "h"}, to_one, 1, {{"", "421 4.3.2 busy\r\n"}, END}, "",
	    "greeting=421/4.3.2 failed(greeting at greeting 421)", false, false},
	{"a_554_greeting", {.host = "h"}, to_one, 1, {{"", "554 no\r\n"}, END}, "",
	    "greeting=554 failed(greeting at greeting 554)", false, false},
	{"rfc5321_4_2_1_codes_must_not_change", {.host = "h"}, to_one, 1, {{"", "220-a\r\n221 b\r\n"}, END}, "",
	    "failed(nonsense at greeting)", false, false},
	{"rfc5321_4_2_four_digits", {.host = "h"}, to_one, 1, {{"", "2200 a\r\n"}, END}, "",
	    "failed(nonsense at greeting)", false, false},
	{"rfc5321_4_2_two_digits", {.host = "h"}, to_one, 1, {{"", "22 a\r\n"}, END}, "",
	    "failed(nonsense at greeting)", false, false},
	{"rfc5321_4_2_no_such_class", {.host = "h"}, to_one, 1, {{"", "120 a\r\n"}, END}, "",
	    "failed(nonsense at greeting)", false, false},
	{"rfc5321_4_2_code_alone", {.host = "h"}, to_one, 1, {{"", "220\r\n"}, EHLO(""), END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\n", NULL, false, false},
	{"bare_lf_in_a_reply", {.host = "h"}, to_one, 1, {{"", "220 a\n"}, END}, "",
	    "failed(nonsense at greeting)", false, false},
	{"a_reply_before_ehlo", {.host = "h"}, to_one, 1, {{"", "220 a\r\n250 b\r\n"}, END}, "",
	    "failed(unasked at greeting)", true, false},
	{"a_421_behind_the_greeting", {.host = "h"}, to_one, 1, {{"", "220 a\r\n421 b\r\n"}, END}, "",
	    "failed(shut at greeting)", true, false},
	{"a_reply_too_many", {.host = "h"}, to_one, 1,
	    {HI, EHLO(""), {"MAIL", "250 a\r\n250 b\r\n"}, END}, "EHLO h\r\nMAIL FROM:<a@b.c>\r\n",
	    "greeting=220 EHLO=250 failed(unasked at MAIL lost0)", true, false},
	{"rfc3207_starttls", {.host = "h", .tls = SMTP_TLS_STARTTLS}, to_one, 1,
	    {HI, EHLO("250-STARTTLS\r\n250-SIZE 5\r\n"), {"STARTTLS", "220 go\r\n"}, EHLO(""), OK("MAIL"), OK("RCPT"), GO,
	    OK("."), BYE, END},
	    "EHLO h\r\nSTARTTLS\r\n[TLS]\r\nEHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n",
	    NULL, false, false},
	{"rfc3207_4_2_bytes_behind_the_220", {.host = "h", .tls = SMTP_TLS_STARTTLS}, to_one, 1,
	    {HI, EHLO("250-STARTTLS\r\n"), {"STARTTLS", "220 go\r\n250 x\r\n"}, END}, "EHLO h\r\nSTARTTLS\r\n",
	    "greeting=220 EHLO=250 failed(injected at STARTTLS)", true, false},
	{"rfc3207_4_2_one_byte_behind_the_220", {.host = "h", .tls = SMTP_TLS_STARTTLS}, to_one, 1,
	    {HI, EHLO("250-STARTTLS\r\n"), {"STARTTLS", "220 go\r\n\r"}, END}, "EHLO h\r\nSTARTTLS\r\n",
	    "greeting=220 EHLO=250 failed(injected at STARTTLS)", true, false},
	{"starttls_stripped", {.host = "h", .tls = SMTP_TLS_STARTTLS}, to_one, 1, {HI, EHLO(""), END}, "EHLO h\r\n",
	    "greeting=220 EHLO=250 failed(no-tls at EHLO)", false, false},
	{"starttls_refused", {.host = "h", .tls = SMTP_TLS_STARTTLS}, to_one, 1,
	    {HI, EHLO("250-STARTTLS\r\n"), {"STARTTLS", "454 no\r\n"}, END}, "EHLO h\r\nSTARTTLS\r\n",
	    "greeting=220 EHLO=250 STARTTLS=454 failed(no-tls at STARTTLS 454)", false, false},
	{"no_helo_where_tls_is_required", {.host = "h", .tls = SMTP_TLS_STARTTLS}, to_one, 1,
	    {HI, {"EHLO", "500 no\r\n"}, {"HELO", "250 r\r\n"}, END}, "EHLO h\r\n",
	    "greeting=220 EHLO=500 failed(no-tls at EHLO 500)", false, false},
	{"rfc3207_4_the_handshake_fails", {.host = "h", .tls = SMTP_TLS_STARTTLS}, to_one, 1,
	    {HI, EHLO("250-STARTTLS\r\n"), {"STARTTLS", "220 go\r\n"}, EHLO(""), END}, "EHLO h\r\nSTARTTLS\r\n[TLS]\r\n",
	    "greeting=220 EHLO=250 STARTTLS=220 starttls failed(tls at TLS handshake)", true, true},
	{"no_starttls_unless_told", {.host = "h"}, to_one, 0, {HI, EHLO("250-STARTTLS\r\n"), BYE, END},
	    "EHLO h\r\nQUIT\r\n", NULL, false, false},
	{"CAM_09_no_auth_unless_told", {.host = "h"}, to_one, 0, {HI, EHLO("250-AUTH PLAIN\r\n"), BYE, END},
	    "EHLO h\r\nQUIT\r\n", NULL, false, false},
	{"rfc4954_plain_over_tls", {.host = "h", .tls = SMTP_TLS_IMPLICIT, .auth = SMTP_AUTH_REQUIRED}, full, 1,
	    {HI, EHLO("250-AUTH LOGIN PLAIN\r\n250-8BITMIME\r\n"), {"AUTH", "235 2.7.0 ok\r\n"}, OK("MAIL"), OK("RCPT"), GO, OK("."),
	    BYE, END},
	    "EHLO h\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b.c> BODY=8BITMIME AUTH=<>\r\nRCPT TO:<d@e.f>\r\n"
	    "DATA\r\nhello\r\n.\r\nQUIT\r\n", NULL, false, false},
	{"rfc4954_login_with_challenges", {.host = "h", .auth = SMTP_AUTH_REQUIRED, .auth_in_clear = true}, to_one, 0,
	    {HI, EHLO("250-AUTH=LOGIN\r\n"), {"AUTH", "334 VXNlcm5hbWU6\r\n"}, {"QQ==", "334 UGFzc3dvcmQ6\r\n"},
	    {"QQ==", "235 ok\r\n"}, BYE, END},
	    "EHLO h\r\nAUTH LOGIN\r\nQQ==\r\nQQ==\r\nQUIT\r\n",
	    "greeting=220 EHLO=250 auth(LOGIN) AUTH=334 challenge(VXNlcm5hbWU6) AUTH=334 challenge(UGFzc3dvcmQ6) AUTH=235 "
	    "QUIT=221/2.0.0 closed", false, false},
	{"rfc4954_4_a_challenge_is_cancelled", {.host = "h", .auth = SMTP_AUTH_REQUIRED, .auth_in_clear = true}, to_one, 1,
	    {HI, EHLO("250-AUTH PLAIN\r\n"), {"AUTH", "334 !\r\n"}, {"*", "501 cancelled\r\n"}, END},
	    "EHLO h\r\nAUTH PLAIN AGEAYg==\r\n*\r\n",
	    "greeting=220 EHLO=250 auth(PLAIN) AUTH=334 challenge(!) AUTH=501 failed(auth at AUTH 501)", false, false},
	{"no_auth_in_clear", {.host = "h", .auth = SMTP_AUTH_REQUIRED}, to_one, 1,
	    {HI, EHLO("250-AUTH PLAIN\r\n"), END}, "EHLO h\r\n",
	    "greeting=220 EHLO=250 failed(auth-clear at EHLO)", false, false},
	{"COL_13_auth_required_and_not_offered", {.host = "h", .tls = SMTP_TLS_IMPLICIT, .auth = SMTP_AUTH_REQUIRED},
	    to_one, 1, {HI, EHLO(""), END}, "EHLO h\r\n", "greeting=220 EHLO=250 failed(no-auth at EHLO)", false, false},
	{"no_mechanism_in_common", {.host = "h", .tls = SMTP_TLS_IMPLICIT, .auth = SMTP_AUTH_REQUIRED},
	    to_one, 1, {HI, EHLO("250-AUTH GSSAPI\r\n"), END}, "EHLO h\r\n",
	    "greeting=220 EHLO=250 auth(GSSAPI) failed(no-auth at AUTH)", false, false},
	{"a_535_is_an_alarm", {.host = "h", .tls = SMTP_TLS_IMPLICIT, .auth = SMTP_AUTH_REQUIRED},
	    to_one, 1, {HI, EHLO("250-AUTH PLAIN\r\n"), {"AUTH", "535 5.7.8 no\r\n"}, END},
	    "EHLO h\r\nAUTH PLAIN AGEAYg==\r\n",
	    "greeting=220 EHLO=250 auth(PLAIN) AUTH=535/5.7.8 failed(auth at AUTH 535)", false, false},
	{"rfc3461_rfc1870_rfc6152_parameters", {.host = "h"}, full, 1,
	    {HI, EHLO("250-SIZE 1000\r\n250-8BITMIME\r\n250-DSN\r\n250-AUTH PLAIN\r\n"), OK("MAIL"), OK("RCPT"), GO, OK("."), BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c> SIZE=7 BODY=8BITMIME RET=HDRS ENVID=Q1\r\n"
	    "RCPT TO:<d@e.f> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;d@e.f\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n", NULL, false, false},
	{"rfc6152_3_no_8bitmime_no_bytes_above_127", {.host = "h"}, full, 1, {HI, EHLO(""), BYE, END},
	    "EHLO h\r\nQUIT\r\n", "greeting=220 EHLO=250 unfit1 QUIT=221/2.0.0 closed", false, false},
	{"rfc6531_3_2_no_smtputf8_no_wide_address", {.host = "h"}, wide, 1, {HI, EHLO("250-8BITMIME\r\n"), BYE, END},
	    "EHLO h\r\nQUIT\r\n", "greeting=220 EHLO=250 unfit2 QUIT=221/2.0.0 closed", false, false},
	{"rfc6531_smtputf8_is_said", {.host = "h"}, wide, 1,
	    {HI, EHLO("250-8BITMIME\r\n250-SMTPUTF8\r\n"), OK("MAIL"), OK("RCPT"), GO, OK("."), BYE, END},
	    "EHLO h\r\nMAIL FROM:<\xc3\xa9@b.c> SMTPUTF8\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n", NULL, false, false},
	{"rfc1870_6_1_too_large_for_the_relay", {.host = "h"}, full, 1, {HI, EHLO("250-SIZE 6\r\n250-8BITMIME\r\n"), BYE, END},
	    "EHLO h\r\nQUIT\r\n", "greeting=220 EHLO=250 unfit3 QUIT=221/2.0.0 closed", false, false},
	{"mail_refused_one_at_a_time", {.host = "h"}, to_one, 1,
	    {HI, EHLO(""), {"MAIL", "550 5.7.1 no\r\n"}, BYE, END}, "EHLO h\r\nMAIL FROM:<a@b.c>\r\nQUIT\r\n",
	    "greeting=220 EHLO=250 MAIL=550/5.7.1 done(mail 1) QUIT=221/2.0.0 closed", false, false},
	{"mail_refused_pipelined", {.host = "h"}, to_one, 1,
	    {HI, PIPE, {"MAIL", "550 5.7.1 no\r\n"}, {"RCPT", "503 no\r\n"}, {"DATA", "503 no\r\n"}, BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nQUIT\r\n",
	    "greeting=220 EHLO=250 MAIL=550/5.7.1 RCPT0=503 DATA=503 done(mail 1) QUIT=221/2.0.0 closed", false, false},
	{"each_recipient_has_its_own_fate", {.host = "h"}, to_three, 1,
	    {HI, PIPE, OK("MAIL"), {"RCPT", "450 4.2.1 later\r\n"}, OK("RCPT"), {"RCPT", "550 5.1.1 no\r\n"}, GO, OK("."), BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nRCPT TO:<g@e.f>\r\nRCPT TO:<h@e.f>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n",
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 RCPT0=450/4.2.1 RCPT1=250/2.0.0 RCPT2=550/5.1.1 DATA=354 "
	    "end of data=250/2.0.0 done(sent 3) QUIT=221/2.0.0 closed", false, false},
	{"rfc2920_3_1_a_354_for_nobody_gets_a_lone_dot", {.host = "h"}, to_one, 1,
	    {HI, PIPE, OK("MAIL"), {"RCPT", "550 no\r\n"}, GO, {".", "554 nobody\r\n"}, BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n.\r\nQUIT\r\n",
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 RCPT0=550 DATA=354 end of data=554 done(rcpt 1) QUIT=221/2.0.0 closed", false, false},
	{"nobody_left_means_rset", {.host = "h"}, to_one, 2,
	    {HI, EHLO(""), OK("MAIL"), {"RCPT", "550 no\r\n"}, OK("RSET"), OK("MAIL"), OK("RCPT"), GO, OK("."), BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n",
	    NULL, false, false},
	{"data_refused_pipelined_means_rset", {.host = "h"}, to_one, 1,
	    {HI, PIPE, OK("MAIL"), OK("RCPT"), {"DATA", "451 4.3.0 later\r\n"}, OK("RSET"), BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nRSET\r\nQUIT\r\n",
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 RCPT0=250/2.0.0 DATA=451/4.3.0 done(data 1) RSET=250/2.0.0 QUIT=221/2.0.0 closed",
	    false, false},
	{"refused_after_the_dot", {.host = "h"}, to_one, 1,
	    {HI, EHLO(""), OK("MAIL"), OK("RCPT"), GO, {".", "550 5.6.0 no\r\n"}, BYE, END}, NULL,
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 RCPT0=250/2.0.0 DATA=354 end of data=550/5.6.0 done(dot 1) QUIT=221/2.0.0 closed",
	    false, false},
	{"rfc5321_3_8_421_at_any_time", {.host = "h"}, to_one, 1,
	    {HI, PIPE, OK("MAIL"), {"RCPT", "421 4.3.2 bye\r\n"}, END}, NULL,
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 RCPT0=421/4.3.2 failed(shut at RCPT 421 lost0)", false, false},
	{"a_250_to_data_is_nonsense", {.host = "h"}, to_one, 1,
	    {HI, EHLO(""), OK("MAIL"), OK("RCPT"), OK("DATA"), END}, NULL,
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 RCPT0=250/2.0.0 DATA=250/2.0.0 failed(nonsense at DATA 250 lost0)", false, false},
	{"a_354_to_rcpt_is_nonsense", {.host = "h"}, to_one, 1,
	    {HI, EHLO(""), OK("MAIL"), {"RCPT", "354 go\r\n"}, END}, NULL,
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 RCPT0=354 failed(nonsense at RCPT 354 lost0)", false, false},
	{"rfc9422_limits", {.host = "h"}, to_three, 1,
	    {HI, EHLO("250-LIMITS RCPTMAX=2 MAILMAX=1 X=Y\r\n"), OK("MAIL"), OK("RCPT"), OK("RCPT"), GO, OK("."), BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nRCPT TO:<g@e.f>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n",
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 RCPT0=250/2.0.0 RCPT1=250/2.0.0 DATA=354 end of data=250/2.0.0 done(sent 2) "
	    "QUIT=221/2.0.0 closed", false, false},
	{"an_answer_to_the_message_counts_with_a_421_behind_it", {.host = "h"}, to_one, 2,
	    {HI, PIPE, OK("MAIL"), OK("RCPT"), GO, {".", "250 2.0.0 ok\r\n421 4.3.2 bye\r\n"}, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\n",
	    "greeting=220 EHLO=250 MAIL=250/2.0.0 RCPT0=250/2.0.0 DATA=354 end of data=250/2.0.0 done(sent 1) "
	    "idle=421/4.3.2 failed(shut at idle 421)", true, false},
	{"rfc9422_mailmax", {.host = "h"}, to_one, 2,
	    {HI, EHLO("250-PIPELINING\r\n250-LIMITS MAILMAX=1\r\n"), OK("MAIL"), OK("RCPT"), GO, OK("."), BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n", NULL, false, false},
	{"a_relay_that_does_not_forget_is_left", {.host = "h"}, to_one, 2,
	    {HI, EHLO(""), OK("MAIL"), {"RCPT", "550 no\r\n"}, {"RSET", "500 what\r\n"}, BYE, END},
	    "EHLO h\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nRSET\r\nQUIT\r\n", NULL, false, false},
};

static void
transcripts(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int bytewise = 0; bytewise < (rows[i].whole ? 1 : 2); bytewise++) {
			struct play t = begin(&rows[i].o, rows[i].script, bytewise ? 1 : 1 << 20);
			bool ok;

			t.message = rows[i].message;
			t.nmessage = rows[i].nmessage;
			t.tls_ok = !rows[i].tls_fails;
			run(&t);
			/* Not told of a failure: it went to its end. */
			ok = (!rows[i].heard || !strcmp(text(&t.heard), rows[i].heard)) &&
			    (rows[i].log ? !strcmp(text(&t.log), rows[i].log) : !strstr(text(&t.log), "failed"));
			if (!ok) {
				printf("%s%s\n  heard:\n%s  wanted:\n%s  events: %s\n  wanted: %s\n", rows[i].name,
				    bytewise ? " byte by byte" : "", text(&t.heard), rows[i].heard ? rows[i].heard : "",
				    text(&t.log), rows[i].log ? rows[i].log : "");
				wrong++;
			}
			finish(&t);
		}
	assert_int_equal(wrong, 0);
}

/* ---- replies ------------------------------------------------------------------ */

static void
a_relay_that_never_stops_talking(void **state)
{
	(void)state;
	for (int lines = 0; lines < 2; lines++) {
		const struct smtp_client_options o = {.host = "h"};
		struct smtp_client *c = smtp_client_new(&o);
		size_t fed = 0, k = 1;

		smtp_client_start(c, 0);
		while (k && fed < 4u << 20) {
			const char *p = lines ? "220-more\r\n" : "220-aaaaaaa";

			k = smtp_client_feed(c, p + (fed && !lines ? 4 : 0), strlen(p) - (fed && !lines ? 4 : 0), 0);
			fed += k;
		}
		assert_in_range(fed, 100, SMTP_REPLY_MOST + 100);
		assert_int_equal(smtp_client_event(c)->is, SMTP_CLIENT_FAILED);
		assert_int_equal(smtp_client_event(c)->why, SMTP_FAIL_ENDLESS);
		smtp_client_free(c);
	}
}

static void
rfc5321_4_5_3_1_5_a_long_line_is_cut_not_fatal(void **state)
{
	enum smtp_reply_is is;
	struct smtp_reply r;
	char s[2100];

	(void)state;
	smtp_reply_init(&r);
	memset(s, 'x', sizeof s);
	memcpy(s, "550 ", 4);
	memcpy(s + 2098, "\r\n", 2);
	assert_int_equal(smtp_reply_feed(&r, s, sizeof s, &is), sizeof s);
	assert_int_equal(is, SMTP_REPLY_WHOLE);
	assert_int_equal(r.n, 512 - 2 - 4);
	smtp_reply_free(&r);
}

static void
reply_injection_what_is_kept_is_printable(void **state)
{
	static const char s[] = "550-5.7.1 a\x1b[2J\x80z\r\n550 5.7.1 b\r\n";
	enum smtp_reply_is is;
	struct smtp_reply r;

	(void)state;
	smtp_reply_init(&r);
	assert_int_equal(smtp_reply_feed(&r, s, sizeof s - 1, &is), sizeof s - 1);
	assert_int_equal(is, SMTP_REPLY_WHOLE);
	assert_string_equal(r.text, "5.7.1 a?[2J?z\n5.7.1 b");
	assert_string_equal(r.enhanced, "5.7.1");
	smtp_reply_again(&r);
	/* A NUL is no text. */
	assert_int_equal(smtp_reply_feed(&r, "250 a\0b\r\n", 9, &is), 5);
	assert_int_equal(is, SMTP_REPLY_NONSENSE);
	smtp_reply_free(&r);
}

static void
rfc2034_4_a_class_that_differs_is_not_believed(void **state)
{
	enum smtp_reply_is is;
	struct smtp_reply r;

	(void)state;
	smtp_reply_init(&r);
	smtp_reply_feed(&r, "550 2.0.0 fine\r\n", 16, &is);
	assert_int_equal(is, SMTP_REPLY_WHOLE);
	assert_string_equal(r.enhanced, "");
	smtp_reply_free(&r);
}

/* ---- the rest of the session ----------------------------------------------------- */

static void
rfc5321_4_5_3_2_deadlines(void **state)
{
	const struct smtp_client_options o = {.host = "h"};
	struct smtp_client *c = smtp_client_new(&o);
	const struct {
		const char *reply;
		uint64_t after;
	} steps[] = {{"220 r\r\n", 300000}, {"250 r\r\n", 300000}, {"250 ok\r\n", 300000},
	    {"250 ok\r\n", 120000}};
	uint64_t now = 1000;
	size_t n;

	(void)state;
	smtp_client_start(c, now);
	assert_int_equal(smtp_client_deadline(c), now + 300000);
	for (size_t i = 0; i < 4; i++) {
		const struct smtp_client_event *e;

		now += 1000;
		assert_int_equal(smtp_client_feed(c, steps[i].reply, strlen(steps[i].reply), now), strlen(steps[i].reply));
		smtp_client_next(c, now);
		if ((e = smtp_client_event(c)) && e->is == SMTP_CLIENT_READY) {
			assert_true(smtp_client_deadline(c) == UINT64_MAX);
			smtp_client_send(c, to_one, now);
		}
		smtp_client_output(c, &n);
		smtp_client_sent(c, n, now);
		assert_int_equal(smtp_client_deadline(c), now + steps[i].after);
	}
	assert_int_equal(smtp_client_feed(c, "354 go\r\n", 8, now), 8);
	smtp_client_next(c, now);
	assert_int_equal(smtp_client_event(c)->is, SMTP_CLIENT_CONTENT);
	/* What the caller owes has no deadline; what the relay does not take has. */
	assert_true(smtp_client_deadline(c) == UINT64_MAX);
	smtp_client_content(c, "x\r\n", 3, now);
	assert_int_equal(smtp_client_deadline(c), now + 180000);
	smtp_client_content_end(c, now);
	smtp_client_output(c, &n);
	smtp_client_sent(c, n, now + 5);
	assert_int_equal(smtp_client_deadline(c), now + 5 + 600000);
	smtp_client_tick(c, now + 5 + 600000);
	assert_int_equal(smtp_client_event(c)->why, SMTP_FAIL_TIME);
	assert_int_equal(smtp_client_event(c)->stage, SMTP_AT_DOT);
	assert_ptr_equal(smtp_client_event(c)->lost[0], to_one);
	assert_true(smtp_client_event(c)->dot);
	smtp_client_free(c);
}

/* The dot that is only in our buffer cannot have arrived. */
static void
gone_before_the_dot_is_no_doubt(void **state)
{
	(void)state;
	for (int sent = 0; sent < 2; sent++) {
		const struct smtp_client_options o = {.host = "h"};
		static const struct says script[] = {HI, EHLO(""), OK("MAIL"), OK("RCPT"), GO, END};
		struct play t = begin(&o, script, 1 << 20);
		size_t n;

		t.message = to_one;
		t.nmessage = 1;
		smtp_client_start(t.c, 0);
		buf_str(&t.relay, script[0].reply);
		while (!smtp_client_event(t.c) || smtp_client_event(t.c)->is != SMTP_CLIENT_CONTENT) {
			size_t k;

			if (smtp_client_event(t.c))
				event(&t);
			hear(&t);
			k = t.relay.n ? smtp_client_feed(t.c, t.relay.p, t.relay.n, 0) : 0;
			if (k)
				memmove(t.relay.p, t.relay.p + k, t.relay.n - k + 1);
			t.relay.n -= k;
		}
		smtp_client_content(t.c, "x\r\n", 3, 0);
		smtp_client_content_end(t.c, 0);
		smtp_client_output(t.c, &n);
		smtp_client_sent(t.c, n - !sent, 0);
		smtp_client_gone(t.c, 0);
		assert_int_equal(smtp_client_event(t.c)->is, SMTP_CLIENT_FAILED);
		assert_int_equal(smtp_client_event(t.c)->dot, sent);
		finish(&t);
	}
}

static void
rfc5321_2_3_8_bad_content_is_never_finished(void **state)
{
	static const char *const bad[] = {"a\nb\r\n", "a\rb\r\n", "a\r\n.\n", "a\r"};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		const struct smtp_client_options o = {.host = "h"};
		static const struct says script[] = {HI, EHLO(""), OK("MAIL"), OK("RCPT"), GO, OK("."), END};
		struct play t = begin(&o, script, 1 << 20);

		t.message = to_one;
		t.nmessage = 1;
		t.content = bad[i];
		run(&t);
		assert_non_null(strstr(text(&t.log), "failed(content at content lost0)"));
		assert_null(strstr(text(&t.heard), "\r\n.\r\n"));
		finish(&t);
	}
}

/* A message of some size: dots, and an output that is taken in pieces. */
static void
rfc5321_4_5_2_large_content_is_stuffed(void **state)
{
	const struct smtp_client_options o = {.host = "h"};
	static const struct says script[] = {HI, PIPE, OK("MAIL"), OK("RCPT"), GO, OK("."), BYE, END};
	struct play t = begin(&o, script, 1 << 20);
	struct buf b = BUF_INIT(1 << 20), want = BUF_INIT(1 << 20);

	(void)state;
	for (int i = 0; i < 20000; i++) {
		buf_str(&b, i % 7 ? "xxxxxxxxxxxxxxx\r\n" : i % 2 ? ".\r\n" : "..x\r\n");
		buf_str(&want, i % 7 ? "xxxxxxxxxxxxxxx\r\n" : i % 2 ? "..\r\n" : "...x\r\n");
	}
	buf_str(&want, ".\r\nQUIT\r\n");
	t.message = to_one;
	t.nmessage = 1;
	t.content = b.p;
	run(&t);
	assert_non_null(strstr(text(&t.heard), want.p));
	assert_non_null(strstr(text(&t.log), "done(sent 1) QUIT=221/2.0.0 closed"));
	buf_free(&b);
	buf_free(&want);
	finish(&t);
}

static void
envelope_injection_does_not_fit(void **state)
{
	static const struct smtp_client_rcpt bad_rcpt[] = {{.path = "d@e.f>\r\nRSET"}, {.path = ""},
	    {.path = "d@e.f", .dsn = {0, "rfc822;a b"}}, {.path = "d@e.f", .dsn = {0, "rfc822;a\r\nDATA"}}};
	const struct smtp_client_options o = {.host = "h"};
	struct smtp_client *c = smtp_client_new(&o);
	struct smtp_client_message m = {.path = "a@b.c", .nrcpt = 1};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		m.rcpt = &bad_rcpt[i];
		assert_int_equal(smtp_client_fits(c, &m), SMTP_FIT_LINE);
	}
	m.rcpt = one;
	assert_int_equal(smtp_client_fits(c, &m), SMTP_FIT_OK);
	m.path = "a@b.c\r\n";
	assert_int_equal(smtp_client_fits(c, &m), SMTP_FIT_LINE);
	m.path = "\xc3\xa9@b.c";
	assert_int_equal(smtp_client_fits(c, &m), SMTP_FIT_LINE);
	m.path = "";
	m.mail.envid = "a\nb";
	assert_int_equal(smtp_client_fits(c, &m), SMTP_FIT_LINE);
	m.mail.envid = NULL;
	m.mail.auth = "a=b";
	assert_int_equal(smtp_client_fits(c, &m), SMTP_FIT_LINE);
	smtp_client_free(c);
}

static void
ehlo_keywords(void **state)
{
	enum smtp_reply_is is;
	struct smtp_capable c;
	struct smtp_reply r;
	static const char s[] = "250-PIPELINING\r\n250-size 35882577\r\n250-SIZE 1\r\n250-8bitmime\r\n"
	    "250-AUTH plain LOGIN PLAIN x!y\r\n250-AUTH=LOGIN XOAUTH2\r\n250-LIMITS rcptmax=5 MAILMAX=0 MAILMAX=1234567\r\n"
	    "250-SIZEX\r\n250-DSN\r\n250 CHUNKING\r\n";

	(void)state;
	smtp_reply_init(&r);
	smtp_reply_feed(&r, s, sizeof s - 1, &is);
	assert_int_equal(is, SMTP_REPLY_WHOLE);
	smtp_capable_read(&c, &r);
	/* The first line is a name. */
	assert_false(c.pipelining);
	assert_true(c.size && c.size_most == 35882577);
	assert_true(c.eightbit && c.dsn && c.chunking && c.auth && !c.utf8 && !c.starttls);
	assert_string_equal(c.mechanisms, "PLAIN LOGIN XOAUTH2");
	assert_true(smtp_capable_auth(&c, "xoauth2"));
	assert_false(smtp_capable_auth(&c, "XOAUTH"));
	assert_int_equal(c.rcpt_most, 5);
	assert_int_equal(c.mail_most, 0);
	smtp_reply_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transcripts),
		cmocka_unit_test(a_relay_that_never_stops_talking),
		cmocka_unit_test(rfc5321_4_5_3_1_5_a_long_line_is_cut_not_fatal),
		cmocka_unit_test(reply_injection_what_is_kept_is_printable),
		cmocka_unit_test(rfc2034_4_a_class_that_differs_is_not_believed),
		cmocka_unit_test(rfc5321_4_5_3_2_deadlines),
		cmocka_unit_test(gone_before_the_dot_is_no_doubt),
		cmocka_unit_test(rfc5321_2_3_8_bad_content_is_never_finished),
		cmocka_unit_test(rfc5321_4_5_2_large_content_is_stuffed),
		cmocka_unit_test(envelope_injection_does_not_fit),
		cmocka_unit_test(ehlo_keywords),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
