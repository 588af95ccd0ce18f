/*
 * One line of a client: what is taken, and that nothing which is taken holds
 * a control character, a newline or a NUL in any parameter.
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
#include "smtp/address.h"
#include "smtp/command.h"

static const struct smtp_grammar whole = {.extended = true, .auth = true, .utf8 = true};

static unsigned
read_line(const char *s, size_t n, struct smtp_command *c, char *copy)
{
	const char *enhanced = NULL, *why = NULL;
	unsigned code;

	memcpy(copy, s, n);
	copy[n] = 0;
	code = smtp_command_read(copy, n, &whole, c, &enhanced, &why);
	if (code) {
		assert_non_null(why);
		/* RFC 2034 4: the class is the first digit. */
		assert_int_equal(enhanced[0], '0' + code / 100);
	}
	assert_non_null(c->row);
	return code;
}

static const struct {
	const char *s;
	unsigned code;
} lines[] = {
	{"MAIL FROM:<>", 0}, {"mail from:<a@b.c>", 0}, {"MAIL  FROM:<a@b.c>", 0}, {"MAIL FROM:<a@b.c>  SIZE=1  ", 0},
	{"MAIL FROM:<a@b.c> AUTH=<>", 0}, {"MAIL FROM:<a@b.c> AUTH=a@b.c", 0},
	{"MAIL FROM:<a@b.c> ENVID=x RET=full", 0}, {"MAIL FROM:<a@b.c> BODY=7BIT SMTPUTF8", 0},
	{"RCPT TO:<a@b.c> ORCPT=utf-8;\xc3\xa9@b.c", 0}, {"RCPT TO:<a@b.c> ORCPT=rfc822;a+2Bb@b.c", 0},
	{"MAIL", 501}, {"MAIL FROM", 501}, {"MAIL FROM:", 501}, {"MAIL FROM:a@b.c", 501}, {"MAIL FROM:<a@b.c", 501},
	{"MAIL FROM:a@b.c>", 501}, {"MAIL FROM:<a@b.c>>", 501}, {"MAIL FROM:<a@b.c>x", 501}, {"MAIL FROM:<a@b.c>,<d@e.f>", 501},
	{"MAIL FROM :<a@b.c>", 501}, {"MAIL TO:<a@b.c>", 501}, {"MAIL FROM:< a@b.c>", 501}, {"MAIL FROM:<a@b.c >", 501},
	{"MAIL FROM:<a@b..c>", 501}, {"MAIL FROM:<a@-b>", 501}, {"MAIL FROM:<.a@b>", 501}, {"MAIL FROM:<a b@c>", 501},
	{"MAIL FROM:<a@b@c>", 501}, {"MAIL FROM:<@b:>", 501}, {"MAIL FROM:<@b,c:a@d>", 501}, {"MAIL FROM:<\"a@b.c>", 501},
	{"MAIL FROM:<a@b.c> =1", 501}, {"MAIL FROM:<a@b.c> SI_ZE=1", 501}, {"MAIL FROM:<a@b.c> -X=1", 501},
	{"MAIL FROM:<a@b.c> SIZE", 501}, {"MAIL FROM:<a@b.c> SIZE=-1", 501}, {"MAIL FROM:<a@b.c> SIZE=1x", 501},
	{"MAIL FROM:<a@b.c> SIZE=123456789012345678901", 501}, {"MAIL FROM:<a@b.c> BODY=BINARYMIME", 501},
	{"MAIL FROM:<a@b.c> SMTPUTF8=1", 501}, {"MAIL FROM:<a@b.c> SMTPUTF8=", 501}, {"MAIL FROM:<a@b.c> RET=SOME", 501},
	{"MAIL FROM:<a@b.c> ENVID=a+0Ab", 501}, {"MAIL FROM:<a@b.c> ENVID=a+2", 501}, {"MAIL FROM:<a@b.c> ENVID=a+2b", 501},
	{"MAIL FROM:<a@b.c> ENVID=a=b", 501}, {"MAIL FROM:<a@b.c> ENVID=\xc3\xa9", 501}, {"MAIL FROM:<a@b.c> AUTH=x", 501},
	{"MAIL FROM:<a@b.c> AUTH=a+0Ab@c.d", 501}, {"MAIL FROM:<a@b.c> NOTIFY=NEVER", 555}, {"MAIL FROM:<a@b.c> XYZ", 555},
	{"RCPT TO:<a@b.c> SIZE=1", 555}, {"RCPT TO:<a@b.c> NOTIFY=SUCCESS,NEVER", 501}, {"RCPT TO:<a@b.c> NOTIFY=SUCCESS,", 501},
	{"RCPT TO:<a@b.c> ORCPT=rfc822", 501}, {"RCPT TO:<a@b.c> ORCPT=;a", 501}, {"RCPT TO:<a@b.c> ORCPT=rfc822;", 501},
	{"RCPT TO:<a@b.c> ORCPT=rfc822;a+0D+0Ab", 501}, {"RCPT TO:<a@b.c> ORCPT=rfc822;\xc3\xa9@b.c", 501},
	{"RCPT TO:<>", 501}, {"RCPT TO:<a>", 501}, {"RCPT TO:<postmaster@>", 501}, {"RCPT FROM:<a@b.c>", 501},
	{"DATA x", 501}, {"QUIT x", 501}, {"RSET x", 501}, {"AUTH", 501}, {"AUTH PLAIN a b", 501}, {"AUTH PLAIN", 0}, {"AUTH PLAIN =", 0},
	{"EHLO", 501}, {"EHLO a b", 501}, {"EHLO a\"b", 501}, {"EHLO \xc3\xa9", 501}, {"EHLO my_host", 0}, {"EHLO [IPv6:::1]", 0},
	{"NOOP\tx", 500}, {"NOOP \x7f", 500}, {"", 500}, {"MAILFROM:<a@b.c>", 500}, {"EXPN x", 502}, {"BDAT 5", 502}, {"TURN", 502},
};

static void
rfc5321_4_1_2_command_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct smtp_command c;
		char copy[512];
		unsigned code = read_line(lines[i].s, strlen(lines[i].s), &c, copy);

		if (code != lines[i].code)
			fail_msg("%s: %u", lines[i].s, code);
	}
}

static bool
clean(const char *s)
{
	for (; s && *s; s++)
		if ((unsigned char)*s < 32 || *s == 127)
			return false;
	return true;
}

/* Every byte at every place of lines that hold every parameter. */
static void
envelope_injection_no_control_gets_through(void **state)
{
	static const char *const full[] = {
		"MAIL FROM:<\"a b\"@b.c> SIZE=12 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb AUTH=x+3Dy@z.a",
		"RCPT TO:<@r.s,@t.u:a@b.c> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c.d",
		"EHLO a-b.c", "AUTH PLAIN abcd", "VRFY a@b.c",
	};
	unsigned taken = 0;

	(void)state;
	for (size_t i = 0; i < sizeof full / sizeof *full; i++)
		for (size_t at = 0, n = strlen(full[i]); at <= n; at++)
			for (int byte = 0; byte < 256; byte++)
				for (int insert = 0; insert < 2 - (at == n); insert++) {
					char s[512], copy[512];
					struct smtp_command c;

					memcpy(s, full[i], at);
					s[at] = (char)byte;
					memcpy(s + at + 1, full[i] + at + !insert, n - at);
					if (read_line(s, n + insert, &c, copy))
						continue;
					taken++;
					assert_true(clean(c.arg) && clean(c.path) && clean(c.mail.envid) && clean(c.mail.auth) &&
					    clean(c.rcpt.orcpt) && clean(c.mechanism) && clean(c.initial));
					assert_true(!c.mail.envid || !strchr(c.mail.envid, ' '));
					assert_true(!c.rcpt.orcpt || !strchr(c.rcpt.orcpt, ' '));
				}
	assert_true(taken > 1000);
}

static void
rfc3461_4_xtext_both_ways(void **state)
{
	char all[95];
	struct buf x = BUF_INIT(1024), back = BUF_INIT(1024);

	(void)state;
	for (int i = 0; i < 95; i++)
		all[i] = (char)(32 + i);
	smtp_xtext_write(&x, all, sizeof all);
	assert_true(smtp_xtext_ok(x.p, x.n));
	smtp_xtext_read(&back, x.p, x.n);
	assert_int_equal(back.n, sizeof all);
	assert_memory_equal(back.p, all, sizeof all);
	buf_free(&x);
	buf_free(&back);
	assert_false(smtp_xtext_ok("", 0));
	assert_false(smtp_xtext_ok("+", 1));
	assert_false(smtp_xtext_ok("+4", 2));
	assert_false(smtp_xtext_ok("+7F", 3));
	assert_false(smtp_xtext_ok("+00", 3));
}

static void
the_table_of_commands_is_whole(void **state)
{
	unsigned seen[SMTP_UNKNOWN + 1] = {0};

	(void)state;
	for (const struct smtp_command_row *r = smtp_commands;; r++) {
		seen[r->is]++;
		assert_true(r->most >= 512);
		assert_true(!r->offered || *r->help);
		/* What is offered says its own name in HELP. */
		if (r->offered)
			assert_int_equal(strncasecmp(r->help, r->verb, strlen(r->verb)), 0);
		if (!r->verb)
			break;
	}
	for (int i = 0; i <= SMTP_UNKNOWN; i++)
		assert_true(seen[i] >= 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc5321_4_1_2_command_lines),
		cmocka_unit_test(envelope_injection_no_control_gets_through),
		cmocka_unit_test(rfc3461_4_xtext_both_ways),
		cmocka_unit_test(the_table_of_commands_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
