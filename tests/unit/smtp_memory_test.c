/*
 * A lack of memory: allocation number k fails, for every k, through a whole session of
 * server and client, a repair, a look for attachments, a conversion, a report. Nothing
 * aborts, nothing is lost silently: the server says 451 or closes, the client fails, all
 * else gives an error. (Linked so that malloc and its kin come here first.)
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "smtp/client.h"
#include "smtp/header.h"
#include "smtp/mime.h"
#include "smtp/report.h"
#include "smtp/server.h"

/* Allocations still to come before the one that fails; below 0: none fails. */
static long left = -1;
static bool failed;

static bool
refused(void)
{
	if (left < 0 || left-- > 0)
		return false;
	failed = true;
	return true;
}

void *
__real_malloc(size_t n);
void *
__real_calloc(size_t n, size_t size);
void *
__real_realloc(void *p, size_t n);
void *
__wrap_malloc(size_t n);
void *
__wrap_calloc(size_t n, size_t size);
void *
__wrap_realloc(void *p, size_t n);

void *
__wrap_malloc(size_t n)
{
	return refused() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return refused() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return refused() ? NULL : __real_realloc(p, n);
}

/* What a round came to: it said that it had no memory, or all went well. */
enum end { WELL, SAID };

/* ---- server ------------------------------------------------------------------- */

static enum end
server(void)
{
	static const char *const lines[] = {"EHLO c\r\n", "AUTH PLAIN AGEAYg==\r\n", "HELP\r\n",
		"MAIL FROM:<a@b.c> SIZE=9 AUTH=x+3Dy@z.a\r\n", "RCPT TO:<d@e.f> ORCPT=rfc822;x\r\n", "DATA\r\n", "x\r\n.\r\n", "QUIT\r\n"};
	const struct smtp_server_options o = {.host = "h", .auth = true};
	struct smtp_server *s = smtp_server_new(&o);
	const struct smtp_server_event *e;
	bool said = !s, taken = false, replied = false;

	if (!s)
		return SAID;
	smtp_server_start(s, 0);
	for (size_t i = 0, at = 0; i <= sizeof lines / sizeof *lines;) {
		char copy[100];
		const char *p;
		size_t n;

		while ((e = smtp_server_event(s)) && e->is != SMTP_SERVER_CLOSE) {
			if (e->is == SMTP_SERVER_CONTENT || e->is == SMTP_SERVER_RESET) {
				smtp_server_next(s, 0);
				continue;
			}
			taken |= e->is == SMTP_SERVER_END;
			smtp_server_answer(s, e->is == SMTP_SERVER_CONNECT ? 220 : e->is == SMTP_SERVER_DATA ? 354 : 250, NULL, NULL, 0);
		}
		said |= e && e->why == SMTP_WHY_MEMORY;
		p = smtp_server_output(s, &n);
		said |= memmem(p, n, "451 4.3.0", 9) != NULL;
		/* A command that came to nothing makes the next ones come to nothing, in words. */
		replied |= memmem(p, n, "\r\n503", 5) || (n >= 3 && (!memcmp(p, "503", 3) || !memcmp(p, "500", 3) || !memcmp(p, "501", 3)));
		smtp_server_sent(s, n, 0);
		if (e || i == sizeof lines / sizeof *lines)
			break;
		memcpy(copy, lines[i], strlen(lines[i]));
		at += smtp_server_feed(s, copy + at, strlen(lines[i]) - at, 0);
		if (!lines[i][at]) {
			at = 0;
			i++;
		}
	}
	smtp_server_free(s);
	return taken && !said && !replied ? WELL : SAID;
}

/* ---- client ------------------------------------------------------------------- */

static enum end
client(void)
{
	static const struct smtp_client_rcpt rcpt[] = {{.path = "d@e.f"}};
	static const struct smtp_client_message m = {.path = "a@b.c", .rcpt = rcpt, .nrcpt = 1};
	static const char *const replies[] = {"220 r\r\n", "250-r\r\n250 AUTH PLAIN\r\n", "235 ok\r\n", "250 ok\r\n", "250 ok\r\n",
		"354 go\r\n", "250 ok\r\n", "221 bye\r\n"};
	const struct smtp_client_options o = {.host = "h", .auth = SMTP_AUTH_REQUIRED, .auth_in_clear = true};
	struct smtp_client *c = smtp_client_new(&o);
	const struct smtp_client_event *e = NULL;
	enum end end = SAID;
	bool sent = false;

	if (!c)
		return SAID;
	smtp_client_start(c, 0);
	for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
		size_t n;

		smtp_client_feed(c, replies[i], strlen(replies[i]), 0);
		while ((e = smtp_client_event(c))) {
			if (e->is == SMTP_CLIENT_REPLY || e->is == SMTP_CLIENT_DONE)
				smtp_client_next(c, 0);
			else if (e->is == SMTP_CLIENT_AUTH)
				smtp_client_auth(c, "PLAIN", "AGEAYg==", 0);
			else if (e->is == SMTP_CLIENT_READY && !sent)
				sent = true, smtp_client_send(c, &m, 0);
			else if (e->is == SMTP_CLIENT_READY)
				smtp_client_quit(c, 0);
			else if (e->is == SMTP_CLIENT_CONTENT)
				smtp_client_content(c, "x\r\n", 3, 0), smtp_client_content_end(c, 0);
			else
				break;
		}
		if (e && e->is == SMTP_CLIENT_FAILED) {
			assert_int_equal(e->why, SMTP_FAIL_MEMORY);
			break;
		}
		if (e && e->is == SMTP_CLIENT_CLOSED)
			end = WELL;
		smtp_client_output(c, &n);
		smtp_client_sent(c, n, 0);
	}
	smtp_client_free(c);
	return end;
}

/* ---- messages ----------------------------------------------------------------- */

static const char message[] = "From: \"Foo\" <a@b.c>, d@e.f\r\nSender: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	"--b\r\nContent-Disposition: attachment; filename*0=\"a.\"; filename*1*=e%78e\r\n\r\n\xc3\xa9\r\n"
	"--b\r\nContent-Type: a/b; name=\"=?utf-8?B?YS5leGU=?=\"\r\n\r\nx\r\n--b--\r\n";

static enum end
repair(void)
{
	const struct smtp_header_fill f = {.now = 1, .host = "h", .id = "i", .with = "SMTP", .rewrite = "r@b.c"};
	struct smtp_header *h = smtp_header_new();
	struct buf out = BUF_INIT(1 << 16);
	enum smtp_header_is is = SMTP_HEADER_NO_MEMORY;
	int r = -ENOMEM;

	if (h)
		smtp_header_feed(h, message, sizeof message - 1, &is);
	if (is == SMTP_HEADER_WHOLE)
		r = smtp_header_write(h, &f, &out);
	else
		assert_int_equal(is, SMTP_HEADER_NO_MEMORY);
	assert_true(!r || r == -ENOMEM);
	smtp_header_free(h);
	buf_free(&out);
	return r ? SAID : WELL;
}

static enum end
attach(void)
{
	static const char *const endings[] = {".exe"};
	struct smtp_attach *a = smtp_attach_new(endings, 1);
	int r = a ? smtp_attach_feed(a, message, sizeof message - 1) : -ENOMEM;

	/* That no attachment was found would be a lie. */
	assert_true(r == 1 || r == -ENOMEM);
	smtp_attach_free(a);
	return r == 1 ? WELL : SAID;
}

static enum end
seven(void)
{
	struct smtp_seven *s = smtp_seven_new();
	struct buf out = BUF_INIT(1 << 16);
	int r = s ? smtp_seven_look(s, message, sizeof message - 1) : -ENOMEM;

	if (!r && smtp_seven_cannot(s))
		r = -ENOMEM;
	if (!r)
		r = smtp_seven_feed(s, message, sizeof message - 1, &out);
	if (!r)
		r = smtp_seven_end(s, &out);
	assert_true(!r || r == -ENOMEM);
	for (size_t i = 0; !r && i < out.n; i++)
		assert_true((unsigned char)out.p[i] < 128);
	smtp_seven_free(s);
	buf_free(&out);
	return r ? SAID : WELL;
}

static enum end
report(void)
{
	static const struct smtp_report_rcpt rcpt[] = {{.path = "d@e.f", .orcpt = "rfc822;x", .reply = "550 x"}};
	static const struct smtp_report r = {.host = "h", .id = "i", .to = "a@b.c", .envid = "x", .rcpt = rcpt, .nrcpt = 1};
	struct buf out = BUF_INIT(1 << 16);
	int err = smtp_report_head(&r, &out);

	if (!err)
		err = smtp_report_tail(&r, &out);
	assert_true(!err || err == -ENOMEM);
	assert_true(err || strstr(out.p, "Original-Recipient: rfc822;x"));
	buf_free(&out);
	return err ? SAID : WELL;
}

static const struct {
	const char *name;
	enum end (*run)(void);
} rounds[] = {
	{"server", server}, {"client", client}, {"repair", repair}, {"attach", attach}, {"seven", seven}, {"report", report},
};

static void
every_allocation_fails_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rounds / sizeof *rounds; i++) {
		long k = 0;

		for (;; k++) {
			enum end end;

			failed = false;
			left = k;
			end = rounds[i].run();
			left = -1;
			if (!failed) {
				/* All allocations were allowed. */
				if (end != WELL)
					fail_msg("%s goes wrong by itself", rounds[i].name);
				break;
			}
			if (end != SAID)
				fail_msg("%s: allocation %ld failed and nobody was told", rounds[i].name, k);
		}
		printf("%s: %ld allocations\n", rounds[i].name, k);
		assert_true(k > 3);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
