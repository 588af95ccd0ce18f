/*
 * The server session: transcripts, a row each. `|` in what the client says is where it
 * waits for replies. Each row runs in its pieces and, where it holds no attack that a wait
 * would hide, byte by byte: the same must come of both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "smtp/reply.h"
#include "smtp/server.h"

#define HI "220 h.example ESMTP ready\r\n"
#define EHLO "250-h.example\r\n250-SIZE 1000\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n" \
	"250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250-AUTH PLAIN LOGIN\r\n250 HELP\r\n"
#define MAIL "250 2.1.0 sender fine\r\n"
#define RCPT "250 2.1.5 recipient fine\r\n"
#define GO "354 go ahead; end with a line that is one dot\r\n"
#define TAKEN "250 2.0.0 taken\r\n"
#define BYE "221 2.0.0 goodbye\r\n"
#define EARLY "554 5.5.0 bytes before our reply\r\n"
#define BEHIND "554 5.5.0 bytes behind a command that must wait for its reply\r\n"
#define TO_DATA "EHLO c|MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n|"
#define DATA_OK HI EHLO MAIL RCPT GO
#define DATA_EV "connect mail(a@b.c) rcpt(d@e.f) data "

struct session {
	struct smtp_server *s;
	struct buf out, log;
	uint64_t now;
	bool hold_end;             /* END is left standing */
};

static const char *const why_words[] = {
	[SMTP_WHY_QUIT] = "quit", [SMTP_WHY_REFUSED] = "refused", [SMTP_WHY_EARLY] = "early",
	[SMTP_WHY_LINES] = "lines", [SMTP_WHY_FOREIGN] = "foreign", [SMTP_WHY_ERRORS] = "errors",
	[SMTP_WHY_TIME] = "time", [SMTP_WHY_SHUTDOWN] = "shutdown", [SMTP_WHY_GONE] = "gone",
	[SMTP_WHY_CONTENT] = "content", [SMTP_WHY_SIZE] = "size", [SMTP_WHY_MEMORY] = "memory",
};

/* "no@..." is refused for good, "later@..." for now. */
static unsigned
verdict(const char *path)
{
	return !strncmp(path, "no@", 3) ? 550 : !strncmp(path, "later@", 6) ? 451 : 250;
}

static void
log_mail(struct buf *b, const struct smtp_server_event *e)
{
	buf_printf(b, "mail(%s", e->path);
	if (e->mail.sized)
		buf_printf(b, " size=%llu", (unsigned long long)e->mail.size);
	if (e->mail.body != SMTP_BODY_UNSAID)
		buf_str(b, e->mail.body == SMTP_BODY_7BIT ? " 7bit" : " 8bit");
	if (e->mail.utf8)
		buf_str(b, " utf8");
	if (e->mail.ret != SMTP_RET_UNSAID)
		buf_str(b, e->mail.ret == SMTP_RET_FULL ? " full" : " hdrs");
	if (e->mail.envid)
		buf_printf(b, " envid=%s", e->mail.envid);
	if (e->mail.auth)
		buf_printf(b, " auth=%s", e->mail.auth);
	buf_str(b, ") ");
}

/* Sees to the event that stands; false when it is to be left standing. */
static bool
event(struct session *t)
{
	const struct smtp_server_event *e = smtp_server_event(t->s);
	unsigned code;

	switch (e->is) {
	case SMTP_SERVER_CONNECT:
		buf_str(&t->log, "connect ");
		smtp_server_answer(t->s, 220, NULL, NULL, t->now);
		break;
	case SMTP_SERVER_MAIL:
		log_mail(&t->log, e);
		code = verdict(e->path);
		smtp_server_answer(t->s, code, code == 250 ? NULL : code == 550 ? "5.7.1" : "4.7.1", NULL, t->now);
		break;
	case SMTP_SERVER_RCPT:
		buf_printf(&t->log, "rcpt(%s%s", e->path, e->bare ? " bare" : "");
		if (e->rcpt.notify)
			buf_printf(&t->log, " notify=%u", e->rcpt.notify);
		if (e->rcpt.orcpt)
			buf_printf(&t->log, " orcpt=%s", e->rcpt.orcpt);
		buf_str(&t->log, ") ");
		code = verdict(e->path);
		smtp_server_answer(t->s, code, code == 250 ? NULL : code == 550 ? "5.1.1" : "4.2.1", NULL, t->now);
		break;
	case SMTP_SERVER_DATA:
		buf_str(&t->log, "data ");
		smtp_server_answer(t->s, 354, NULL, NULL, t->now);
		break;
	case SMTP_SERVER_CONTENT:
		buf_add(&t->log, e->run, e->nrun);
		smtp_server_next(t->s, t->now);
		break;
	case SMTP_SERVER_END:
		if (t->hold_end)
			return false;
		buf_printf(&t->log, "end(%llu%s) ", (unsigned long long)e->size, e->high ? " high" : "");
		smtp_server_answer(t->s, 250, NULL, NULL, t->now);
		break;
	case SMTP_SERVER_RESET:
		buf_printf(&t->log, "reset(%s) ", why_words[e->why]);
		smtp_server_next(t->s, t->now);
		break;
	case SMTP_SERVER_CLOSE:
		return false;
	}
	return true;
}

static void
drain(struct session *t)
{
	const char *p;
	size_t n;

	while (smtp_server_event(t->s) && event(t))
		;
	while ((p = smtp_server_output(t->s, &n)), n) {
		buf_add(&t->out, p, n);
		smtp_server_sent(t->s, n, t->now);
	}
}

/* The client says n bytes at once. */
static void
say(struct session *t, const char *p, size_t n)
{
	/* Its own size exactly, so that a read past the end is seen. */
	char *copy = malloc(n ? n : 1);
	size_t i = 0;

	assert_non_null(copy);
	memcpy(copy, p, n);
	while (i < n) {
		size_t k = smtp_server_feed(t->s, copy + i, n - i, t->now);
		const struct smtp_server_event *e;

		i += k;
		while ((e = smtp_server_event(t->s)) && event(t))
			;
		if (!k && (e || !n))
			break;
		if (!k && !smtp_server_event(t->s)) {
			size_t left;

			/* Much output waits. */
			smtp_server_output(t->s, &left);
			if (!left)
				break;
			drain(t);
		}
	}
	free(copy);
	drain(t);
}

static struct session
begin(const struct smtp_server_options *o)
{
	static const struct smtp_server_options usual = {.host = "h.example", .size = 1000, .auth = true};
	struct session t = {.out = BUF_INIT(1 << 20), .log = BUF_INIT(1 << 20), .now = 1000};

	t.s = smtp_server_new(o ? o : &usual);
	assert_non_null(t.s);
	smtp_server_start(t.s, t.now);
	return t;
}

static void
finish(struct session *t)
{
	smtp_server_free(t->s);
	buf_free(&t->out);
	buf_free(&t->log);
}

static const char *
text(const struct buf *b)
{
	return b->p ? b->p : "";
}

/* Once closed, what it was for. */
static void
log_close(struct session *t)
{
	const struct smtp_server_event *e = smtp_server_event(t->s);

	if (e && e->is == SMTP_SERVER_CLOSE)
		buf_printf(&t->log, "close(%s)", why_words[e->why]);
}

/* Pieces of `in`: `|` waits; a piece without its CRLF at a `|` gets one. */
static void
converse(struct session *t, const char *in, size_t n, bool bytewise)
{
	struct buf b = BUF_INIT(1 << 20);

	drain(t);
	for (size_t i = 0; i <= n; i++) {
		if (i < n && in[i] != '|') {
			buf_chr(&b, in[i]);
			continue;
		}
		if (b.n && (b.n < 2 || b.p[b.n - 1] != '\n') && i < n)
			buf_str(&b, "\r\n");
		for (size_t k = 0; k < b.n; k += bytewise ? 1 : b.n)
			say(t, b.p + k, bytewise ? 1 : b.n);
		b.n = 0;
	}
	buf_free(&b);
	log_close(t);
}

static void
talk(struct session *t, const char *in)
{
	converse(t, in, strlen(in), false);
}

static const struct row {
	const char *name, *in;
	size_t n;
	const char *out, *log;
	bool attack;               /* only at once: byte by byte it would be none */
} rows[] = {
#define ROW(name, in, out, log) {name, in, sizeof in - 1, out, log, false}
#define ATTACK(name, in, out, log) {name, in, sizeof in - 1, out, log, true}
	ROW("rfc5321_4_1_1_1_ehlo", "EHLO c|QUIT|", HI EHLO BYE, "connect close(quit)"),
	ROW("rfc5321_4_1_1_1_helo", "HELO c|QUIT|", HI "250 h.example\r\n" BYE, "connect close(quit)"),
	ROW("rfc5321_2_4_verbs_without_case", "eHLo c|qUIt|", HI EHLO BYE, "connect close(quit)"),
	ROW("rfc5321_4_1_1_trailing_blanks", "EHLO c  |QUIT \t|", HI EHLO BYE, "connect close(quit)"),
	ROW("rfc5321_4_1_1_1_ehlo_needs_a_name", "EHLO|EHLO a b|EHLO a(b|",
	    HI "501 5.5.4 the name of the host must follow, of letters, digits, hyphens and full stops\r\n"
	    "501 5.5.4 the name of the host must follow, of letters, digits, hyphens and full stops\r\n"
	    "501 5.5.4 the name of the host must follow, of letters, digits, hyphens and full stops\r\n", "connect "),
	ROW("rfc5321_4_1_3_address_literals_in_ehlo", "EHLO [IPv6:::1]|", HI EHLO, "connect "),
	ROW("rfc5321_4_1_4_mail_needs_ehlo", "MAIL FROM:<a@b.c>|RCPT TO:<a@b.c>|DATA|",
	    HI "503 5.5.1 say EHLO first\r\n503 5.5.1 say MAIL first\r\n503 5.5.1 say MAIL first\r\n", "connect "),
	ROW("rfc5321_3_3_a_whole_message", TO_DATA "hello\r\n.\r\n|QUIT|",
	    DATA_OK TAKEN BYE, DATA_EV "hello\r\nend(7) close(quit)"),
	ROW("rfc5321_4_5_2_dot_stuffing", TO_DATA "..\r\n...a\r\n.b\r\n.\r\n|",
	    DATA_OK TAKEN, DATA_EV ".\r\n..a\r\nb\r\nend(11) "),
	ROW("rfc5321_4_1_1_4_an_empty_message", TO_DATA ".\r\n|", DATA_OK TAKEN, DATA_EV "end(0) "),
	ROW("rfc5321_4_1_4_ehlo_again_resets", "EHLO c|MAIL FROM:<a@b.c>|EHLO d|RCPT TO:<d@e.f>|",
	    HI EHLO MAIL EHLO "503 5.5.1 say MAIL first\r\n", "connect mail(a@b.c) reset(quit) "),
	ROW("rfc5321_4_1_1_5_rset", "EHLO c|RSET|MAIL FROM:<a@b.c>|RSET|MAIL FROM:<g@b.c>|RSET x|",
	    HI EHLO "250 2.0.0 forgotten\r\n" MAIL "250 2.0.0 forgotten\r\n" MAIL
	    "501 5.5.4 nothing may follow this command\r\n", "connect mail(a@b.c) reset(quit) mail(g@b.c) "),
	ROW("rfc5321_4_1_1_2_mail_twice", "EHLO c|MAIL FROM:<a@b.c>|MAIL FROM:<a@b.c>|",
	    HI EHLO MAIL "503 5.5.1 a transaction is open; say RSET first\r\n", "connect mail(a@b.c) "),
	ROW("rfc5321_3_3_data_without_recipients", "EHLO c|MAIL FROM:<a@b.c>|RCPT TO:<no@e.f>|DATA|",
	    HI EHLO MAIL "550 5.1.1 refused\r\n554 5.5.1 no valid recipients\r\n", "connect mail(a@b.c) rcpt(no@e.f) "),
	ROW("rfc5321_3_3_refused_sender_opens_nothing", "EHLO c|MAIL FROM:<later@b.c>|RCPT TO:<d@e.f>|",
	    HI EHLO "451 4.7.1 not now; try again later\r\n503 5.5.1 say MAIL first\r\n", "connect mail(later@b.c) "),
	ROW("rfc5321_3_5_3_vrfy_expn_help_noop", "VRFY a|VRFY|EXPN a|NOOP x|HELP QUIT|HELP nothing|",
	    HI "252 2.0.0 nobody is looked up here; send, and it will be tried\r\n"
	    "501 5.5.4 an argument must follow this command\r\n502 5.5.1 this command is not offered\r\n"
	    "250 2.0.0 nothing done\r\n214 2.0.0 QUIT\r\n504 5.5.1 there is no such command\r\n", "connect "),
	ROW("rfc5321_4_1_4_noop_vrfy_help_quit_inside_a_transaction", "EHLO c|MAIL FROM:<a@b.c>|NOOP|VRFY a|HELP QUIT|RCPT TO:<d@e.f>|NOOP|QUIT|",
	    HI EHLO MAIL "250 2.0.0 nothing done\r\n252 2.0.0 nobody is looked up here; send, and it will be tried\r\n"
	    "214 2.0.0 QUIT\r\n" RCPT "250 2.0.0 nothing done\r\n" BYE,
	    "connect mail(a@b.c) rcpt(d@e.f) reset(quit) close(quit)"),
	ROW("rfc5321_4_5_1_bare_postmaster", "EHLO c|MAIL FROM:<>|RCPT TO:<PostMaster>|MAIL FROM:<postmaster>|",
	    HI EHLO MAIL RCPT "501 5.1.7 it has no @ and no domain\r\n", "connect mail() rcpt(PostMaster bare) "),
	ROW("rfc5321_4_5_5_null_path_is_for_senders", "EHLO c|MAIL FROM:<a@b.c>|RCPT TO:<>|",
	    HI EHLO MAIL "501 5.1.3 it is empty\r\n", "connect mail(a@b.c) "),
	ROW("rfc5321_appendix_f_2_source_route_dropped", "EHLO c|MAIL FROM:<@x.y:a@b.c>|RCPT TO:<@x.y,@[::1]:d@e.f>|",
	    HI EHLO MAIL RCPT, "connect mail(a@b.c) rcpt(d@e.f) "),
	ROW("rfc5321_4_1_2_quoted_at_and_bracket", "EHLO c|MAIL FROM:<\"a@b>c\"@d.e>|RCPT TO:<\"x\\\"@y\"@z.a>|",
	    HI EHLO MAIL RCPT, "connect mail(\"a@b>c\"@d.e) rcpt(\"x\\\"@y\"@z.a) "),
	ROW("rfc5321_4_1_2_percent_is_a_letter", "EHLO c|MAIL FROM:<a%b.c@d.e>|", HI EHLO MAIL,
	    "connect mail(a%b.c@d.e) "),
	ROW("rfc5321_3_3_no_blank_behind_the_colon", "EHLO c|MAIL FROM: <a@b.c>|", HI EHLO
	    "501 5.5.4 no blank may stand behind FROM: (RFC 5321 3.3)\r\n", "connect "),
	ROW("rfc5321_4_1_1_11_unknown_parameters", "EHLO c|MAIL FROM:<a@b.c> X=1|MAIL FROM:<a@b.c> NOTIFY=NEVER|",
	    HI EHLO "555 5.5.4 this parameter is not known here\r\n555 5.5.4 this parameter is not known here\r\n", "connect "),
	ROW("rfc5321_2_2_helo_knows_no_parameters", "HELO c|MAIL FROM:<a@b.c> SIZE=1|",
	    HI "250 h.example\r\n555 5.5.4 parameters need EHLO, not HELO\r\n", "connect "),
	ROW("rfc1870_declared_and_refused", "EHLO c|MAIL FROM:<a@b.c> SIZE=1001|MAIL FROM:<a@b.c> SIZE=1000|",
	    HI EHLO "552 5.3.4 the message is larger than may be sent from here: at most 1000 bytes\r\n" MAIL,
	    "connect mail(a@b.c size=1000) "),
	ROW("rfc1870_no_number", "EHLO c|MAIL FROM:<a@b.c> SIZE=x|MAIL FROM:<a@b.c> SIZE=|MAIL FROM:<a@b.c> SIZE=99999999999999999999|"
	    "MAIL FROM:<a@b.c> SIZE=1 SIZE=1|",
	    HI EHLO "501 5.5.4 SIZE is a number of 1 to 20 digits (RFC 1870)\r\n"
	    "501 5.5.4 SIZE is a number of 1 to 20 digits (RFC 1870)\r\n"
	    "552 5.3.4 the message is larger than may be sent from here: at most 1000 bytes\r\n"
	    "501 5.5.4 a parameter stands there twice\r\n", "connect "),
	ROW("rfc6152_rfc3461_rfc6531_rfc4954_of_mail",
	    "EHLO c|MAIL FROM:<a@b.c> body=8bitmime RET=HDRS ENVID=QQ+2B1 AUTH=x+3Dy@z.a SMTPUTF8|",
	    HI EHLO MAIL, "connect mail(a@b.c 8bit utf8 hdrs envid=QQ+2B1 auth=x+3Dy@z.a) "),
	ROW("rfc3461_of_rcpt", "EHLO c|MAIL FROM:<a@b.c>|RCPT TO:<d@e.f> NOTIFY=success,DELAY ORCPT=rfc822;d@e.f|"
	    "RCPT TO:<g@e.f> NOTIFY=NEVER|",
	    HI EHLO MAIL RCPT RCPT, "connect mail(a@b.c) rcpt(d@e.f notify=10 orcpt=rfc822;d@e.f) rcpt(g@e.f notify=1) "),
	ROW("rfc3461_4_1_never_stands_alone", "EHLO c|MAIL FROM:<a@b.c>|RCPT TO:<d@e.f> NOTIFY=NEVER,DELAY|RCPT TO:<d@e.f> NOTIFY=|",
	    HI EHLO MAIL "501 5.5.4 NOTIFY is NEVER, or some of SUCCESS, FAILURE, DELAY with commas (RFC 3461)\r\n"
	    "501 5.5.4 NOTIFY is NEVER, or some of SUCCESS, FAILURE, DELAY with commas (RFC 3461)\r\n",
	    "connect mail(a@b.c) "),
	ROW("rfc6531_3_5_wide_address_needs_smtputf8", "EHLO c|MAIL FROM:<\xc3\xa9@b.c>|MAIL FROM:<\xc3\xa9@b.c> SMTPUTF8|"
	    "RCPT TO:<\xc3\xa9@e.f>|RSET|MAIL FROM:<a@b.c>|RCPT TO:<\xc3\xa9@e.f>|",
	    HI EHLO "553 5.6.7 an address with bytes above 127 needs SMTPUTF8 behind MAIL (RFC 6531)\r\n" MAIL RCPT
	    "250 2.0.0 forgotten\r\n" MAIL
	    "553 5.6.7 an address with bytes above 127 needs SMTPUTF8 behind MAIL (RFC 6531)\r\n",
	    "connect mail(\xc3\xa9@b.c utf8) rcpt(\xc3\xa9@e.f) reset(quit) mail(a@b.c) "),
	ROW("rfc2920_3_2_replies_in_order", "EHLO c|MAIL FROM:<a@b.c>\r\nRCPT TO:<no@e.f>\r\nRCPT TO:<d@e.f>\r\nRSET\r\n|",
	    HI EHLO MAIL "550 5.1.1 refused\r\n" RCPT "250 2.0.0 forgotten\r\n",
	    "connect mail(a@b.c) rcpt(no@e.f) rcpt(d@e.f) reset(quit) "),
	ROW("rfc2920_3_1_next_message_behind_the_dot", TO_DATA "x\r\n.\r\nMAIL FROM:<g@b.c>\r\nRCPT TO:<h@e.f>\r\nDATA\r\n|y\r\n.\r\nQUIT|",
	    DATA_OK TAKEN MAIL RCPT GO TAKEN BYE,
	    DATA_EV "x\r\nend(3) mail(g@b.c) rcpt(h@e.f) data y\r\nend(3) close(quit)"),
	ATTACK("rfc2920_3_1_bytes_behind_data", "EHLO c|MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nSubject: x\r\n.\r\n|",
	    HI EHLO MAIL RCPT BEHIND, "connect mail(a@b.c) rcpt(d@e.f) reset(early) close(early)"),
	ATTACK("rfc2920_3_1_bytes_behind_ehlo", "EHLO c\r\nMAIL FROM:<a@b.c>\r\n|", HI BEHIND, "connect close(early)"),
	ATTACK("rfc2920_3_1_bytes_behind_noop", "NOOP\r\nN|", HI BEHIND, "connect close(early)"),
	ATTACK("rfc2920_3_1_bytes_behind_vrfy", "EHLO c|VRFY a\r\nNOOP\r\n|", HI EHLO BEHIND, "connect close(early)"),
	ATTACK("rfc2920_3_1_bytes_behind_expn", "EHLO c|EXPN a\r\nNOOP\r\n|", HI EHLO BEHIND, "connect close(early)"),
	ATTACK("rfc2920_3_1_bytes_behind_quit_are_never_read", "EHLO c|QUIT\r\nMAIL FROM:<a@b.c>\r\n|", HI EHLO BYE,
	    "connect close(quit)"),
	ATTACK("rfc2920_3_1_bytes_behind_auth", "EHLO c|AUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b.c>\r\n|", HI EHLO BEHIND,
	    "connect close(early)"),
	ATTACK("rfc3207_4_2_bytes_behind_starttls", "EHLO c|STARTTLS\r\nMAIL FROM:<a@b.c>\r\n|", HI EHLO BEHIND,
	    "connect close(early)"),
	ROW("starttls_is_not_offered", "EHLO c|STARTTLS|NOOP|", HI EHLO "502 5.5.1 this command is not offered\r\n"
	    "250 2.0.0 nothing done\r\n", "connect "),
	ROW("rfc3030_bdat_closes_since_a_message_follows", "EHLO c|BDAT 4 LAST|QUIT|", HI EHLO
	    "502 5.5.1 this command is not offered\r\n", "connect close(foreign)"),
	ROW("a_browser_is_sent_away", "POST / HTTP/1.1|", HI "554 5.5.1 this is no web server\r\n",
	    "connect close(foreign)"),
	ROW("rfc5321_2_3_8_bare_lf_in_a_command", "EHLO c\n|", HI
	    "554 5.5.2 a line must end with CR LF, not with LF alone (RFC 5321 2.3.8)\r\n", "connect close(lines)"),
	ROW("rfc5321_2_3_8_bare_cr_in_a_command", "EHLO\rc|", HI
	    "554 5.5.2 a line must end with CR LF, not with CR alone (RFC 5321 2.3.8)\r\n", "connect close(lines)"),
	ROW("a_nul_in_a_command", "EHLO c\0d|", HI "500 5.5.2 a NUL stands in the line\r\n", "connect "),
	ROW("control_characters_in_a_command", "EHLO c|MAIL FROM:<a@b.c> ENVID=a\vb|NOOP \x1b[2J|", HI EHLO
	    "500 5.5.2 a control character stands in the line\r\n500 5.5.2 a control character stands in the line\r\n",
	    "connect "),
	ROW("bare_lf_in_the_data_is_refused_at_its_end", TO_DATA "a\nb\r\n.\r\n|NOOP|",
	    DATA_OK "550 5.6.0 the message holds a CR or LF that stands alone; lines end with CR LF (RFC 5321 2.3.8)\r\n"
	    "250 2.0.0 nothing done\r\n", NULL),
	ROW("a_nul_in_the_data_is_refused_at_its_end", TO_DATA "a\0b\r\n.\r\n|",
	    DATA_OK "550 5.6.0 the message holds a NUL\r\n", NULL),
	ROW("rfc4954_plain", "EHLO c|AUTH PLAIN AGEAYg==|AUTH PLAIN AGEAYg==|", HI EHLO
	    "235 2.7.0 accepted; this machine knows its programs without it\r\n503 5.5.1 AUTH was done already\r\n", "connect "),
	ROW("rfc4954_plain_with_a_challenge", "EHLO c|AUTH plain|AGEAYg==|", HI EHLO "334 \r\n"
	    "235 2.7.0 accepted; this machine knows its programs without it\r\n", "connect "),
	ROW("rfc4954_login", "EHLO c|AUTH LOGIN|YQ==|Yg==|", HI EHLO "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n"
	    "235 2.7.0 accepted; this machine knows its programs without it\r\n", "connect "),
	ROW("rfc4954_4_star_cancels", "EHLO c|AUTH LOGIN|*|NOOP|", HI EHLO "334 VXNlcm5hbWU6\r\n"
	    "501 5.7.0 AUTH was cancelled\r\n250 2.0.0 nothing done\r\n", "connect "),
	ROW("rfc4954_4_no_base64", "EHLO c|AUTH PLAIN !!!!|AUTH PLAIN =|AUTH PLAIN YQ==|AUTH CRAM-MD5|", HI EHLO
	    "501 5.5.2 the response is no base64 of a name and a password\r\n"
	    "501 5.5.2 the response is no base64 of a name and a password\r\n"
	    "501 5.5.2 the response is no base64 of a name and a password\r\n"
	    "504 5.5.4 this mechanism is not offered; PLAIN and LOGIN are\r\n", "connect "),
	ROW("rfc4954_4_not_in_a_transaction", "EHLO c|MAIL FROM:<a@b.c>|AUTH PLAIN AGEAYg==|", HI EHLO MAIL
	    "503 5.5.1 AUTH may not stand inside a transaction\r\n", "connect mail(a@b.c) "),
	ROW("unknown_commands", "FOO|  |", HI "500 5.5.2 this command is not known\r\n500 5.5.2 this command is not known\r\n",
	    "connect "),
#undef ROW
#undef ATTACK
};

static void
transcripts(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int bytewise = 0; bytewise < (rows[i].attack ? 1 : 2); bytewise++) {
			struct session t = begin(NULL);

			converse(&t, rows[i].in, rows[i].n, bytewise);
			if (strcmp(text(&t.out), rows[i].out) || (rows[i].log && strcmp(text(&t.log), rows[i].log))) {
				printf("%s%s\n  said:\n%s  wanted:\n%s  events: %s\n  wanted: %s\n", rows[i].name,
				    bytewise ? " byte by byte" : "", text(&t.out), rows[i].out, text(&t.log),
				    rows[i].log ? rows[i].log : "");
				wrong++;
			}
			finish(&t);
		}
	assert_int_equal(wrong, 0);
}

/* Bad content leaves nothing: RESET, never END, in any pieces. */
static void
bad_content_is_reset_and_never_ended(void **state)
{
	static const char *const bad[] = {"a\nb", "a\rb", "\n.\n", "x\r.\r\n"};

	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (int bytewise = 0; bytewise < 2; bytewise++) {
			struct session t = begin(NULL);
			char in[256];
			int n = snprintf(in, sizeof in, TO_DATA "%s\r\n.\r\n|QUIT|", bad[i]);

			converse(&t, in, (size_t)n, bytewise);
			assert_null(strstr(text(&t.log), "end("));
			assert_non_null(strstr(text(&t.log), "reset(content) close(quit)"));
			finish(&t);
		}
}

static void
rfc5321_4_3_1_bytes_before_the_greeting(void **state)
{
	struct session t = begin(NULL);
	char early[] = "EHLO c\r\n";

	(void)state;
	assert_int_equal(smtp_server_feed(t.s, early, 8, t.now), 0);
	drain(&t);
	log_close(&t);
	assert_string_equal(text(&t.out), EARLY);
	assert_string_equal(text(&t.log), "close(early)");
	finish(&t);
}

/* The reply was written but the client cannot have seen it. */
static void
rfc2920_3_1_bytes_before_the_reply_went_out(void **state)
{
	struct session t = begin(NULL);
	char ehlo[] = "EHLO c\r\n", mail[] = "MAIL FROM:<a@b.c>\r\n";

	(void)state;
	drain(&t);
	assert_int_equal(smtp_server_feed(t.s, ehlo, 8, t.now), 8);
	assert_int_equal(smtp_server_feed(t.s, mail, 19, t.now), 0);
	drain(&t);
	log_close(&t);
	assert_string_equal(text(&t.log), "connect close(early)");
	finish(&t);
}

static void
rfc1870_6_3_size_by_count_is_inclusive(void **state)
{
	(void)state;
	for (int over = 0; over < 2; over++) {
		struct session t = begin(NULL);

		talk(&t, TO_DATA);
		for (int i = 0; i < 100; i++)
			say(&t, i == 99 && over ? "12345678x\r\n" : "12345678\r\n", i == 99 && over ? 11 : 10);
		say(&t, ".\r\n", 3);
		assert_non_null(strstr(text(&t.out), over ? "552 5.3.4" : "250 2.0.0 taken"));
		assert_non_null(strstr(text(&t.log), over ? "reset(size)" : "end(1000)"));
		finish(&t);
	}
}

static void
the_callers_limit_holds_for_one_message(void **state)
{
	struct session t = begin(NULL);
	char mail[] = "MAIL FROM:<a@b.c>\r\n";

	(void)state;
	talk(&t, "EHLO c|");
	smtp_server_feed(t.s, mail, 19, t.now);
	smtp_server_answer(t.s, 250, NULL, NULL, t.now);
	smtp_server_limit(t.s, 10);
	talk(&t, "RCPT TO:<d@e.f>\r\nDATA|123456789\r\n.\r\n");
	assert_non_null(strstr(text(&t.log), "reset(size)"));
	talk(&t, "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA|123456789\r\n.\r\n");
	assert_non_null(strstr(text(&t.log), "end(11)"));
	finish(&t);
}

static void
rfc5321_4_5_3_1_10_recipients(void **state)
{
	struct session t = begin(&(struct smtp_server_options){.host = "h", .recipients = 1});

	(void)state;
	talk(&t, "EHLO c|MAIL FROM:<a@b.c>|");
	for (int i = 0; i < 101; i++)
		talk(&t, "RCPT TO:<d@e.f>|");
	/* Never below 100. */
	assert_non_null(strstr(text(&t.out), RCPT "452 4.5.3 "));
	assert_int_equal(t.out.n > 100 * strlen(RCPT), 1);
	talk(&t, "DATA|x\r\n.\r\n");
	assert_non_null(strstr(text(&t.log), "end(3)"));
	finish(&t);
}

static void
limits_of_errors_idle_commands_and_messages(void **state)
{
	static const struct {
		struct smtp_server_options o;
		const char *in, *end;
		int times;
	} table[] = {
		{{.host = "h", .errors = 5}, "FOO|", "421 4.7.0 too many errors\r\n", 5},
		{{.host = "h", .idle = 7}, "NOOP|", "421 4.7.0 too many commands without a message\r\n", 8},
		{{.host = "h", .messages = 2}, "EHLO c|MAIL FROM:<a@b.c>|RCPT TO:<d@e.f>|DATA|x\r\n.\r\n|",
		    "421 4.7.0 enough messages for one connection; connect again\r\n", 3},
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct session t = begin(&table[i].o);
		size_t k = strlen(table[i].end);

		for (int j = 0; j < table[i].times; j++)
			talk(&t, table[i].in);
		assert_true(t.out.n > k);
		assert_string_equal(t.out.p + t.out.n - k, table[i].end);
		finish(&t);
	}
}

/* It cannot know that its MAIL was refused: the 503 that follow are no errors of its own. */
static void
rfc2920_who_pipelines_is_not_punished(void **state)
{
	struct session t = begin(&(struct smtp_server_options){.host = "h", .errors = 5, .idle = 1000});

	(void)state;
	talk(&t, "EHLO c|");
	for (int i = 0; i < 50; i++)
		talk(&t, "MAIL FROM:<no@b.c>\r\nRCPT TO:<d@e.f>\r\nRCPT TO:<d@e.f>\r\nDATA|");
	assert_null(strstr(text(&t.out), "421 "));
	/* But neither is it free for ever. */
	for (int i = 0; i < 1000; i++)
		talk(&t, "RCPT TO:<d@e.f>|");
	assert_non_null(strstr(text(&t.out), "421 4.7.0 too many recipients were refused\r\n"));
	finish(&t);
}

static void
rfc5321_4_5_3_1_6_long_text_lines_as_the_option_says(void **state)
{
	(void)state;
	for (int limited = 0; limited < 2; limited++) {
		struct session t = begin(&(struct smtp_server_options){.host = "h", .line = limited ? 1 : 0});
		char s[1001];

		memset(s, 'x', sizeof s);
		talk(&t, TO_DATA);
		say(&t, s, 998);
		say(&t, "\r\n.\r\n", 5);
		assert_non_null(strstr(text(&t.log), "end(1000)"));
		talk(&t, &TO_DATA[7]);
		say(&t, s, 999);
		say(&t, "\r\n.\r\n", 5);
		assert_non_null(strstr(text(&t.log), limited ? "reset(content)" : "end(1001)"));
		finish(&t);
	}
}

static void
rfc4954_4_long_lines_for_auth_alone(void **state)
{
	struct session t = begin(NULL);
	char s[13000];

	(void)state;
	talk(&t, "EHLO c|");
	memset(s, 'A', sizeof s);
	memcpy(s, "AUTH LOGIN ", 11);
	memcpy(s + 12288, "\r\n", 2);
	s[12287] = 'A';
	/* 12277 letters are no whole groups of four: read, and refused for that alone. */
	say(&t, s, 12290);
	assert_non_null(strstr(text(&t.out), "501 5.5.2 the response is no base64"));
	memset(s, 'A', sizeof s);
	memcpy(s, "NOOP ", 5);
	memcpy(s + 511, "\r\n", 2);
	say(&t, s, 513);
	assert_non_null(strstr(text(&t.out), "500 5.5.2 the line is too long"));
	finish(&t);
}

static void
rfc3848_with_keywords(void **state)
{
	static const struct {
		const char *said, *with;
	} row[] = {
		{"HELO c|", "SMTP"}, {"EHLO c|", "ESMTP"}, {"EHLO c|AUTH PLAIN AGEAYg==|", "ESMTPA"},
		{"EHLO c|MAIL FROM:<a@b.c> SMTPUTF8|", "UTF8SMTP"},
		{"EHLO c|AUTH PLAIN AGEAYg==|MAIL FROM:<a@b.c> SMTPUTF8|", "UTF8SMTPA"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct session t = begin(NULL);

		talk(&t, row[i].said);
		assert_string_equal(smtp_server_with(t.s), row[i].with);
		finish(&t);
	}
}

static void
a_password_is_wiped_where_it_was_read(void **state)
{
	struct session t = begin(NULL);
	char line[] = "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n";
	static const char nothing[64];

	(void)state;
	talk(&t, "EHLO c|");
	assert_int_equal(smtp_server_feed(t.s, line, sizeof line - 1, t.now), sizeof line - 1);
	assert_memory_equal(line, nothing, sizeof line - 1);
	assert_string_equal(smtp_server_user(t.s), "user");
	assert_string_equal(smtp_server_with(t.s), "ESMTPA");
	finish(&t);
}

/* ---- time ------------------------------------------------------------------- */

static void
rfc5321_4_5_3_2_7_five_minutes_for_a_command(void **state)
{
	struct session t = begin(NULL);

	(void)state;
	assert_true(smtp_server_deadline(t.s) == UINT64_MAX);
	drain(&t);
	assert_int_equal(smtp_server_deadline(t.s), 1000 + 300000);
	/* A letter now and then puts nothing off. */
	t.now = 200000;
	say(&t, "NOO", 3);
	assert_int_equal(smtp_server_deadline(t.s), 1000 + 300000);
	say(&t, "P\r\n", 3);
	assert_int_equal(smtp_server_deadline(t.s), 200000 + 300000);
	smtp_server_tick(t.s, 499999);
	assert_null(smtp_server_event(t.s));
	smtp_server_tick(t.s, 500000);
	drain(&t);
	log_close(&t);
	assert_non_null(strstr(text(&t.out), "421 4.4.2 "));
	assert_non_null(strstr(text(&t.log), "close(time)"));
	finish(&t);
}

static void
data_must_go_on_and_must_end(void **state)
{
	struct session t = begin(&(struct smtp_server_options){.host = "h"});
	char block[4098];

	(void)state;
	memset(block, 'x', sizeof block);
	memcpy(block + 4096, "\r\n", 2);
	talk(&t, TO_DATA);
	assert_int_equal(smtp_server_deadline(t.s), 1000 + 180000);
	t.now = 100000;
	say(&t, "x\r\n", 3);
	assert_int_equal(smtp_server_deadline(t.s), 1000 + 180000);
	say(&t, block, sizeof block);
	assert_int_equal(smtp_server_deadline(t.s), 100000 + 180000);
	t.now = 3500000;
	say(&t, block, sizeof block);
	assert_int_equal(smtp_server_deadline(t.s), 1000 + 3600000);
	smtp_server_tick(t.s, 3601000);
	drain(&t);
	log_close(&t);
	assert_non_null(strstr(text(&t.log), "reset(time) close(time)"));
	finish(&t);
}

static void
who_does_not_read_is_given_up(void **state)
{
	struct session t = begin(NULL);
	char line[] = "NOOP\r\n";
	size_t n;

	(void)state;
	drain(&t);
	smtp_server_feed(t.s, line, 6, 5000);
	assert_int_equal(smtp_server_deadline(t.s), 5000 + 300000);
	smtp_server_tick(t.s, 305000);
	smtp_server_output(t.s, &n);
	assert_int_equal(n, 0);
	log_close(&t);
	assert_string_equal(text(&t.log), "connect close(time)");
	finish(&t);
}

static void
a_slow_answer_stops_the_clock_and_holds_input_back(void **state)
{
	struct session t = begin(NULL);
	char next[] = "RSET\r\n";

	(void)state;
	t.hold_end = true;
	talk(&t, TO_DATA "x\r\n.\r\n");
	assert_int_equal(smtp_server_event(t.s)->is, SMTP_SERVER_END);
	assert_true(smtp_server_deadline(t.s) == UINT64_MAX);
	assert_int_equal(smtp_server_feed(t.s, next, 6, t.now), 0);
	smtp_server_answer(t.s, 451, "4.4.1", "the relay\nis slow", 9000000);
	assert_int_equal(smtp_server_feed(t.s, next, 6, 9000000), 6);
	drain(&t);
	assert_non_null(strstr(text(&t.out), GO "451-4.4.1 the relay\r\n451 4.4.1 is slow\r\n250 2.0.0 forgotten\r\n"));
	finish(&t);
}

static void
rfc5321_3_8_shutdown_at_each_place(void **state)
{
	static const struct {
		const char *in, *log, *out;
	} table[] = {
		{"", "connect close(shutdown)", HI "421 4.3.2 the service ends; try again soon\r\n"},
		{"EHLO c|MAIL FROM:<a@b.c>|", "connect mail(a@b.c) reset(shutdown) close(shutdown)", NULL},
		{TO_DATA, DATA_EV, NULL},
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct session t = begin(NULL);

		talk(&t, table[i].in);
		smtp_server_shutdown(t.s, t.now);
		drain(&t);
		log_close(&t);
		assert_string_equal(text(&t.log), table[i].log);
		if (table[i].out)
			assert_string_equal(text(&t.out), table[i].out);
		if (i == 2) {
			/* What is being sent may end. */
			say(&t, "x\r\n.\r\n", 6);
			log_close(&t);
			assert_string_equal(text(&t.log), DATA_EV "x\r\nend(3) close(shutdown)");
			assert_non_null(strstr(text(&t.out), TAKEN "421 4.3.2 "));
		}
		finish(&t);
	}
}

/* The policy takes its time with MAIL, and the service ends meanwhile. */
static void
rfc5321_3_8_shutdown_while_mail_is_judged(void **state)
{
	struct session t = begin(NULL);
	char mail[] = "MAIL FROM:<a@b.c>\r\n";

	(void)state;
	talk(&t, "EHLO c|");
	smtp_server_feed(t.s, mail, sizeof mail - 1, t.now);
	assert_int_equal(smtp_server_event(t.s)->is, SMTP_SERVER_MAIL);
	smtp_server_shutdown(t.s, t.now);
	smtp_server_answer(t.s, 250, NULL, NULL, t.now);
	smtp_server_limit(t.s, 10);
	drain(&t);
	log_close(&t);
	assert_string_equal(text(&t.log), "connect reset(shutdown) close(shutdown)");
	finish(&t);
}

static void
a_client_that_is_gone_leaves_no_half_message(void **state)
{
	struct session t = begin(NULL);

	(void)state;
	talk(&t, TO_DATA "half");
	smtp_server_gone(t.s, t.now);
	drain(&t);
	log_close(&t);
	assert_string_equal(text(&t.log), DATA_EV "halfreset(gone) close(gone)");
	finish(&t);
	/* Whole, and its answer is awaited: it is ours to keep. */
	t = begin(NULL);
	t.hold_end = true;
	talk(&t, TO_DATA "x\r\n.\r\n");
	smtp_server_gone(t.s, t.now);
	assert_int_equal(smtp_server_event(t.s)->is, SMTP_SERVER_END);
	t.hold_end = false;
	drain(&t);
	log_close(&t);
	assert_string_equal(text(&t.log), DATA_EV "x\r\nend(3) close(gone)");
	finish(&t);
}

static void
rfc5321_3_1_connect_refused(void **state)
{
	struct session t = begin(NULL);

	(void)state;
	smtp_server_answer(t.s, 554, "5.7.1", "no", t.now);
	drain(&t);
	log_close(&t);
	assert_string_equal(text(&t.out), "554 5.7.1 no\r\n");
	assert_string_equal(text(&t.log), "close(refused)");
	finish(&t);
}

/* Options that take things away or along. */
static void
offers_follow_the_options(void **state)
{
	struct session t = begin(&(struct smtp_server_options){.host = "h", .no_utf8 = true, .space = true});

	(void)state;
	talk(&t, "EHLO c|AUTH PLAIN AGEAYg==|MAIL FROM:<a@b.c> SMTPUTF8|MAIL FROM: <a@b.c>|");
	assert_string_equal(text(&t.out), "220 h ESMTP ready\r\n250-h\r\n250-SIZE\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
	    "250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 HELP\r\n502 5.5.1 this command is not offered\r\n"
	    "555 5.5.4 this parameter is not known here\r\n" MAIL);
	finish(&t);
}

static void
rfc2034_enhanced_class_follows_the_code(void **state)
{
	struct buf b = BUF_INIT(4096);

	(void)state;
	smtp_reply_write(&b, 550, "4.7.1", "x");
	smtp_reply_write(&b, 450, "4.7.1000", "x");
	smtp_reply_write(&b, 250, "", "x");
	smtp_reply_write(&b, 550, "5.7.1", "a\rb\x80\n\nc");
	assert_string_equal(b.p, "550 5.0.0 x\r\n450 4.0.0 x\r\n250 2.0.0 x\r\n"
	    "550-5.7.1 a?b?\r\n550-5.7.1\r\n550 5.7.1 c\r\n");
	buf_free(&b);
}

static void
rfc5321_4_5_3_1_5_long_replies_are_broken(void **state)
{
	struct buf b = BUF_INIT(4096);
	char words[1500];

	(void)state;
	memset(words, 'x', sizeof words);
	words[sizeof words - 1] = 0;
	for (size_t i = 50; i < 900; i += 50)
		words[i] = ' ';
	smtp_reply_write(&b, 550, "5.7.1", words);
	for (const char *p = b.p, *end; *p; p = end + 2) {
		end = strstr(p, "\r\n");
		assert_non_null(end);
		assert_in_range(end + 2 - p, 11, 512);
		assert_memory_equal(p, "550", 3);
		assert_int_equal(p[3], end[2] ? '-' : ' ');
	}
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transcripts),
		cmocka_unit_test(bad_content_is_reset_and_never_ended),
		cmocka_unit_test(rfc5321_4_3_1_bytes_before_the_greeting),
		cmocka_unit_test(rfc2920_3_1_bytes_before_the_reply_went_out),
		cmocka_unit_test(rfc1870_6_3_size_by_count_is_inclusive),
		cmocka_unit_test(the_callers_limit_holds_for_one_message),
		cmocka_unit_test(rfc5321_4_5_3_1_10_recipients),
		cmocka_unit_test(limits_of_errors_idle_commands_and_messages),
		cmocka_unit_test(rfc2920_who_pipelines_is_not_punished),
		cmocka_unit_test(rfc5321_4_5_3_1_6_long_text_lines_as_the_option_says),
		cmocka_unit_test(rfc4954_4_long_lines_for_auth_alone),
		cmocka_unit_test(rfc3848_with_keywords),
		cmocka_unit_test(a_password_is_wiped_where_it_was_read),
		cmocka_unit_test(rfc5321_4_5_3_2_7_five_minutes_for_a_command),
		cmocka_unit_test(data_must_go_on_and_must_end),
		cmocka_unit_test(who_does_not_read_is_given_up),
		cmocka_unit_test(a_slow_answer_stops_the_clock_and_holds_input_back),
		cmocka_unit_test(rfc5321_3_8_shutdown_at_each_place),
		cmocka_unit_test(rfc5321_3_8_shutdown_while_mail_is_judged),
		cmocka_unit_test(a_client_that_is_gone_leaves_no_half_message),
		cmocka_unit_test(rfc5321_3_1_connect_refused),
		cmocka_unit_test(offers_follow_the_options),
		cmocka_unit_test(rfc2034_enhanced_class_follows_the_code),
		cmocka_unit_test(rfc5321_4_5_3_1_5_long_replies_are_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
