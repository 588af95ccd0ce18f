/*
 * The pure part of the role queue: from what became of the recipients to what the program is told.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "role/queue_outcome.h"
#include "smtp/command.h"

#define F(f, c, t, a) {.fate = RELAY_##f, .code = c, .text = t, .address = a, .relay = "one"}

static void
ISSUE_04_every_outcome_has_its_answer(void **state)
{
	static const struct {
		struct queue_fate f[3];
		size_t n;
		unsigned code;
		const char *enhanced;
		const char *has[4], *has_not;
	} row[] = {
		{{F(DELIVERED, 250, "2.0.0 mine", "a")}, 1, 250, "2.0.0", {"mine"}, "queued"},
		{{F(DELIVERED, 250, "ok", "a"), F(DELIVERED, 250, "ok", "b")}, 2, 250, "2.0.0", {"ok"}, "queued"},
		/* a class that is not the code's is no enhanced code */
		{{F(DELIVERED, 250, "5.0.0 ok", "a")}, 1, 250, "2.0.0", {"5.0.0 ok"}, "queued"},
		{{F(DELIVERED, 251, "2.1.5 will forward", "a")}, 1, 251, "2.1.5", {"will forward"}, NULL},
		{{F(FAILED, 550, "5.1.1 who", "a")}, 1, 550, "5.1.1", {"who"}, "queued"},
		{{F(FAILED, 552, "5.3.4 large", "a"), F(FAILED, 552, "5.3.4 large", "b")}, 2, 552, "5.3.4",
		    {"large"}, "<a>"},
		/* where refusals differ each is named */
		{{F(FAILED, 550, "5.1.1 who", "a"), F(FAILED, 552, "5.2.2 full", "b")}, 2, 550, "5.1.1",
		    {"who", "<a>: 550 5.1.1 who", "<b>: 552 5.2.2 full"}, "queued"},
		/* what we refuse for the relay's sake has no code of its */
		{{F(FAILED, 0, "5.6.7 it has no SMTPUTF8", "a")}, 1, 554, "5.6.7", {"it has no SMTPUTF8"}, NULL},
		{{F(FAILED, 0, "", "a")}, 1, 554, "5.0.0", {"refused"}, NULL},
		/* a 4xx that somebody calls refused is never a 4xx to the program */
		{{F(FAILED, 450, "4.0.0 x", "a")}, 1, 554, "5.0.0", {"x"}, NULL},
		{{F(DEFERRED, 451, "4.3.0 later", "a")}, 1, 250, "2.0.0", {"queued as ID: relay one: 451 4.3.0 later"},
		    "refused"},
		{{F(HELD, 535, "5.7.8 password", "a")}, 1, 250, "2.0.0", {"queued as ID", "535 5.7.8 password"}, NULL},
		/* of what waits the gravest cause is told */
		{{F(DEFERRED, 0, "slow", "a"), F(HELD, 0, "certificate", "b")}, 2, 250, "2.0.0",
		    {"queued as ID: relay one: certificate"}, "slow"},
		{{F(DELIVERED, 250, "ok", "a"), F(DEFERRED, 450, "busy", "b")}, 2, 250, "2.0.0",
		    {"delivered to 1 of 2", "queued as ID for 1", "450 busy"}, "refused"},
		{{F(DELIVERED, 250, "ok", "a"), F(FAILED, 550, "no", "b")}, 2, 250, "2.0.0",
		    {"delivered to 1 of 2", "refused: <b> 550 no", "a report"}, "queued"},
		{{F(DEFERRED, 450, "busy", "a"), F(FAILED, 550, "no", "b")}, 2, 250, "2.0.0",
		    {"queued as ID for 1", "refused: <b> 550 no"}, "delivered"},
		{{F(DELIVERED, 250, "ok", "a"), F(DEFERRED, 450, "busy", "b"), F(FAILED, 550, "no", "c")}, 3, 250,
		    "2.0.0", {"delivered to 1 of 3", "queued as ID for 1", "refused: <c> 550 no"}, "2 of 3"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct queue_answer a;

		queue_answer(row[i].f, row[i].n, "ID", true, &a);
		assert_int_equal(a.code, row[i].code);
		assert_string_equal(a.enhanced, row[i].enhanced);
		assert_int_equal(a.ndelivered + a.nrefused + a.nopen, row[i].n);
		for (size_t k = 0; k < 4 && row[i].has[k]; k++)
			if (!strstr(a.text, row[i].has[k]))
				fail_msg("row %zu: '%s' has no '%s'", i, a.text, row[i].has[k]);
		if (row[i].has_not && strstr(a.text, row[i].has_not))
			fail_msg("row %zu: '%s' has '%s'", i, a.text, row[i].has_not);
	}
}

static void
rfc5321_4_2_a_code_and_its_enhanced_code_are_of_one_class(void **state)
{
	static const enum relay_fate fate[] = {RELAY_DEFERRED, RELAY_DELIVERED, RELAY_FAILED, RELAY_HELD};
	static const struct {
		unsigned code;
		const char *text;
	} reply[] = {{0, ""}, {250, "2.1.0 x"}, {250, "4.1.0 x"}, {450, "4.2.0 x"}, {550, "5.1.1 x"}, {550, "2.0.0 x"},
		{354, ""}, {999, "9.9.9"}, {550, "5.1.1"}, {550, "\n\n"}};

	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (size_t k = 0; k < sizeof reply / sizeof *reply; k++)
			for (size_t j = 0; j < 4; j++) {
				struct queue_fate f[2] = {
					{fate[i], reply[k].code, reply[k].text, "a", "one"},
					{fate[j], reply[k].code, reply[k].text, "b", "one"}};
				struct queue_answer a;

				queue_answer(f, 2, "ID", false, &a);
				assert_true(a.code / 100 == 2 || a.code / 100 == 5);
				assert_int_equal(a.enhanced[0] - '0', a.code / 100);
				/* never a 5xx where something was delivered or is kept; never a 2xx where all
				   was refused */
				assert_int_equal(a.code / 100 == 5, a.nrefused == 2);
				assert_true(strlen(a.text) < QUEUE_WORDS);
			}
}

static void
an_answer_of_a_thousand_recipients_has_its_bound(void **state)
{
	static struct queue_fate f[1000];
	static char address[1000][256], text[600];
	struct queue_answer a;

	(void)state;
	memset(text, 'x', sizeof text - 1);
	for (size_t i = 0; i < 1000; i++) {
		memset(address[i], 'y', 255);
		f[i] = (struct queue_fate){i ? RELAY_FAILED : RELAY_DELIVERED, 550, text, address[i], "one"};
	}
	queue_answer(f, 1000, "ID", true, &a);
	assert_int_equal(a.code, 250);
	assert_true(strlen(a.text) < QUEUE_WORDS);
	queue_answer_refused(f, 1000, &a);
	assert_int_equal(a.code, 550);
}

static void
errors_of_the_machine_are_4xx_and_a_size_is_5xx(void **state)
{
	static const struct {
		int err;
		unsigned code;
		const char *enhanced;
	} row[] = {{-ENOSPC, 452, "4.3.1"}, {-EMSGSIZE, 552, "5.3.4"}, {-EIO, 451, "4.3.0"}, {-ENOMEM, 451, "4.3.0"},
		{-EMFILE, 451, "4.3.0"}, {-EDQUOT, 452, "4.3.1"}, {-EAGAIN, 451, "4.3.0"}};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct queue_answer a;

		queue_answer_error(row[i].err, &a);
		assert_int_equal(a.code, row[i].code);
		assert_string_equal(a.enhanced, row[i].enhanced);
		assert_true(*a.text);
	}
}

static void
rfc3461_4_1_words_of_notify(void **state)
{
	(void)state;
	assert_int_equal(queue_notify(NULL), 0);
	assert_int_equal(queue_notify(""), 0);
	assert_int_equal(queue_notify("NEVER"), SMTP_NOTIFY_NEVER);
	assert_int_equal(queue_notify("success,Delay"), SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY);
	assert_int_equal(queue_notify("FAILURE,"), SMTP_NOTIFY_FAILURE);
	assert_int_equal(queue_notify("NEVERMORE"), 0);
}

static void
reports_are_counted_for_each_sender_and_hour(void **state)
{
	struct queue_storm *s = queue_storm_new(3);
	unsigned left;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_true(queue_storm_passes(s, "a@b.c", 1000, &left));
		assert_int_equal(left, 0);
	}
	assert_false(queue_storm_passes(s, "a@b.c", 1001, &left));
	assert_false(queue_storm_passes(s, "A@B.C", 4599, &left));
	assert_true(queue_storm_passes(s, "d@b.c", 1001, &left));
	/* the next hour's first says how many were left out */
	assert_true(queue_storm_passes(s, "a@b.c", 4600, &left));
	assert_int_equal(left, 2);
	assert_true(queue_storm_passes(s, "a@b.c", 4600, &left));
	assert_int_equal(left, 0);
	/* a full table forgets who was silent longest, and never grows */
	for (unsigned i = 0; i < 2 * QUEUE_REPORT_SENDERS; i++) {
		char name[32];
		snprintf(name, sizeof name, "x%u@b.c", i);
		assert_true(queue_storm_passes(s, name, 5000, &left));
	}
	queue_storm_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ISSUE_04_every_outcome_has_its_answer),
		cmocka_unit_test(rfc5321_4_2_a_code_and_its_enhanced_code_are_of_one_class),
		cmocka_unit_test(an_answer_of_a_thousand_recipients_has_its_bound),
		cmocka_unit_test(errors_of_the_machine_are_4xx_and_a_size_is_5xx),
		cmocka_unit_test(rfc3461_4_1_words_of_notify),
		cmocka_unit_test(reports_are_counted_for_each_sender_and_hour),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
