/*
 * Delivery status notifications: when one is wanted, and what it says, byte for byte.
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
#include "smtp/command.h"
#include "smtp/report.h"

static void
rfc3461_4_1_when_a_report_is_wanted(void **state)
{
	static const struct {
		enum smtp_report_action action;
		unsigned notify;
		const char *to;
		bool wanted;
	} table[] = {
		{SMTP_REPORT_FAILED, 0, "a@b.c", true},
		{SMTP_REPORT_DELAYED, 0, "a@b.c", true},
		{SMTP_REPORT_RELAYED, 0, "a@b.c", false},
		{SMTP_REPORT_FAILED, SMTP_NOTIFY_NEVER, "a@b.c", false},
		{SMTP_REPORT_DELAYED, SMTP_NOTIFY_NEVER, "a@b.c", false},
		{SMTP_REPORT_FAILED, SMTP_NOTIFY_SUCCESS, "a@b.c", false},
		{SMTP_REPORT_RELAYED, SMTP_NOTIFY_SUCCESS, "a@b.c", true},
		{SMTP_REPORT_DELAYED, SMTP_NOTIFY_FAILURE, "a@b.c", false},
		{SMTP_REPORT_DELAYED, SMTP_NOTIFY_DELAY | SMTP_NOTIFY_FAILURE, "a@b.c", true},
		/* RFC 5321 4.5.5: never to a null path. */
		{SMTP_REPORT_FAILED, 0, "", false},
		{SMTP_REPORT_FAILED, SMTP_NOTIFY_FAILURE, "", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		assert_int_equal(smtp_report_wanted(table[i].action, table[i].notify, table[i].to), table[i].wanted);
}

static const struct smtp_report_rcpt rcpts[] = {
	{.action = SMTP_REPORT_FAILED, .path = "d@e.f", .orcpt = "rfc822;d+2Bx@e.f", .status = "5.1.1", .relay = "r.example",
	    .reply = "550 5.1.1 no such\nuser", .words = "Ask them.", .last = 1795307596},
	{.action = SMTP_REPORT_DELAYED, .path = "g@e.f", .status = "5.0.0", .until = 1795307596},
};

static const struct smtp_report usual = {.host = "h.example", .id = "r1", .message = "m1", .now = 1795307596,
	.arrived = 1795307596, .to = "a@b.c", .postmaster = "help@b.c", .envid = "Q+2B1", .rcpt = rcpts, .nrcpt = 2};

static void
rfc3464_a_report_byte_for_byte(void **state)
{
	struct buf b = BUF_INIT(1 << 16);

	(void)state;
	assert_int_equal(smtp_report_head(&usual, &b), 0);
	buf_str(&b, "Subject: x\r\n");
	assert_int_equal(smtp_report_tail(&usual, &b), 0);
	assert_string_equal(b.p,
	    "From: \"Mail service\" <MAILER-DAEMON@h.example>\r\nTo: <a@b.c>\r\nSubject: Mail could not be delivered\r\n"
	    "Date: Sun, 22 Nov 2026 00:33:16 +0000\r\nMessage-ID: <r1@h.example>\r\nAuto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"=_report-r1\"\r\n"
	    "Content-Transfer-Encoding: 7bit\r\n\r\n"
	    "--=_report-r1\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
	    "This is the mail service at h.example.\r\n\r\n"
	    "Your message could not be delivered to the recipients below. It will not be tried again.\r\n\r\n"
	    "  <d@e.f> failed\r\n    Ask them.\r\n    r.example said: 550 5.1.1 no such user\r\n\r\n"
	    "  <g@e.f> delayed\r\n    It is tried until Sun, 22 Nov 2026 00:33:16 +0000.\r\n\r\n"
	    "The service knows the message as m1.\r\n\r\nWhoever can help: help@b.c\r\n\r\n"
	    "--=_report-r1\r\nContent-Type: message/delivery-status\r\n\r\n"
	    "Original-Envelope-Id: Q+1\r\nReporting-MTA: dns; h.example\r\nArrival-Date: Sun, 22 Nov 2026 00:33:16 +0000\r\n\r\n"
	    "Original-Recipient: rfc822;d+x@e.f\r\nFinal-Recipient: rfc822; d@e.f\r\nAction: failed\r\nStatus: 5.1.1\r\n"
	    "Remote-MTA: dns; r.example\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
	    "Last-Attempt-Date: Sun, 22 Nov 2026 00:33:16 +0000\r\n\r\n"
	    /* The class of a status is that of its action (RFC 3464 2.3.4). */
	    "Final-Recipient: rfc822; g@e.f\r\nAction: delayed\r\nStatus: 4.0.0\r\n"
	    "Will-Retry-Until: Sun, 22 Nov 2026 00:33:16 +0000\r\n\r\n"
	    "--=_report-r1\r\nContent-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
	    "Subject: x\r\n\r\n--=_report-r1--\r\n");
	buf_free(&b);
}

static void
rfc3464_2_3_5_a_relay_by_its_address_is_a_literal(void **state)
{
	struct smtp_report_rcpt to = usual.rcpt[0];
	struct smtp_report r = usual;
	struct buf b = BUF_INIT(1 << 16);

	(void)state;
	r.rcpt = &to;
	r.nrcpt = 1;
	to.relay = "192.0.2.1";
	assert_int_equal(smtp_report_head(&r, &b), 0);
	assert_non_null(strstr(b.p, "Remote-MTA: dns; [192.0.2.1]\r\n"));
	b.n = 0;
	to.relay = "2001:db8::1";
	assert_int_equal(smtp_report_head(&r, &b), 0);
	assert_non_null(strstr(b.p, "Remote-MTA: dns; [IPv6:2001:db8::1]\r\n"));
	buf_free(&b);
}

static void
rfc6533_international_and_whole(void **state)
{
	struct smtp_report r = usual;
	struct buf b = BUF_INIT(1 << 16);

	(void)state;
	r.utf8 = r.full = true;
	assert_int_equal(smtp_report_head(&r, &b), 0);
	assert_non_null(strstr(b.p, "Content-Type: message/global-delivery-status\r\n"));
	assert_non_null(strstr(b.p, "Final-Recipient: utf-8; d@e.f\r\n"));
	assert_non_null(strstr(b.p, "Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"));
	b.n = 0;
	r.utf8 = false;
	assert_int_equal(smtp_report_head(&r, &b), 0);
	assert_non_null(strstr(b.p, "Content-Type: message/rfc822\r\n"));
	buf_free(&b);
}

static void
rfc5321_4_5_5_never_to_a_null_path(void **state)
{
	struct smtp_report r = usual;
	struct buf b = BUF_INIT(1 << 16);

	(void)state;
	r.to = "";
	assert_int_equal(smtp_report_head(&r, &b), -EINVAL);
	assert_int_equal(b.n, 0);
	buf_free(&b);
}

/* What a relay or a client said can end no field, no line and no part. */
static void
report_injection(void **state)
{
	static const struct smtp_report_rcpt bad[] = {
		{.action = SMTP_REPORT_FAILED, .path = "d@e.f\r\nEvil: 1", .orcpt = "rfc822;a\r\nEvil:", .relay = "r\r\nEvil: 2",
		    .reply = "550 x\r\n\r\n--=_report-r1--\r\nEvil: 3\xff", .words = "y\r\nEvil: 4"},
	};
	struct smtp_report r = usual;
	struct buf b = BUF_INIT(1 << 16);

	(void)state;
	r.rcpt = bad;
	r.nrcpt = 1;
	r.envid = "Q\r\nEvil: 5";
	r.to = "a@b.c>\r\nEvil: 6";
	r.message = "m\r\nEvil: 7";
	r.postmaster = "p\r\nEvil: 8";
	assert_int_equal(smtp_report_head(&r, &b), 0);
	assert_null(strstr(b.p, "\nEvil"));
	assert_null(strstr(b.p, "\n--=_report-r1--"));
	assert_null(memchr(b.p, 0xff, b.n));
	assert_null(strstr(b.p, "Original-"));
	buf_free(&b);
}

static void
lack_of_room_is_an_error(void **state)
{
	struct buf b = BUF_INIT(300);

	(void)state;
	assert_int_equal(smtp_report_head(&usual, &b), -E2BIG);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc3461_4_1_when_a_report_is_wanted),
		cmocka_unit_test(rfc3464_a_report_byte_for_byte),
		cmocka_unit_test(rfc3464_2_3_5_a_relay_by_its_address_is_a_literal),
		cmocka_unit_test(rfc6533_international_and_whole),
		cmocka_unit_test(rfc5321_4_5_5_never_to_a_null_path),
		cmocka_unit_test(report_injection),
		cmocka_unit_test(lack_of_room_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
