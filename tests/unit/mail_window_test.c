/* lib/mail/window: exact, bounded, and calm when the clock jumps. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "mail/mail.h"
#include "mail/window.h"

static uint64_t seed = 88172645463325252;

static uint64_t
roll(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

/* The oracle: a list of all that was ever counted. */
struct event {
	uint64_t t, n;
	int key;
};

/* The windows as another process has them that read what this one wrote at second `now`. */
static struct mail_windows *
after_a_restart(struct mail_windows *w, struct arena *a, uint64_t now)
{
	struct buf b = BUF_INIT(16 << 20);
	struct mail_windows *other = mail_windows_new(a);

	mail_windows_write(w, now, &b);
	assert_int_equal(b.err, 0);
	assert_int_equal(mail_windows_read(other, b.p, b.n), 0);
	assert_int_equal(window_keys(other), window_keys(w));
	assert_int_equal(window_slots(other), window_slots(w));
	buf_free(&b);
	return other;
}

static void
windows_agree_with_a_list_of_all_events(void **state)
{
	static struct event all[20000];

	(void)state;
	for (int turn = 0; turn < 200; turn++) {
		struct arena *a = arena_new();
		struct mail_windows *w = mail_windows_new(a);
		uint64_t now = 1000, seconds = 1 + roll(50), most = roll(20), nall = 0;
		char key[2] = "a";

		for (int i = 0; i < 300; i++) {
			struct window_ask q = {.id = 7, .key = key, .seconds = seconds, .most = most,
			    .n = 1 + roll(4)};
			uint64_t sum = 0, when, t;
			int k = (int)roll(3);
			enum window_answer got;

			now += roll(4) ? roll(3) : roll(60);
			if (!roll(8))
				w = after_a_restart(w, a, now);
			key[0] = (char)('a' + k);
			for (uint64_t e = 0; e < nall; e++)
				if (all[e].key == k && all[e].t + seconds > now)
					sum += all[e].n;
			window_begin(w, now, 1);
			got = window_over(w, &q, &when);
			assert_int_equal(got, sum + q.n > most ? WINDOW_OVER : WINDOW_FITS);
			/* The earliest second at which it would fit. */
			for (t = now; t < now + seconds; t++) {
				uint64_t then = 0;

				for (uint64_t e = 0; e < nall; e++)
					if (all[e].key == k && all[e].t + seconds > t)
						then += all[e].n;
				if (then + q.n <= most)
					break;
			}
			assert_true(when == (q.n > most ? UINT64_MAX : t));
			/* Some that are over are counted all the same: limits that warn. */
			if (got == WINDOW_OVER && roll(3))
				continue;
			window_add(w, &q, now, NULL);
			all[nall++] = (struct event){now, q.n, k};
		}
		arena_free(a);
	}
}

/* What is given back counts no more, whenever that is; what else there is stays. */
static void
what_is_taken_back_was_never_there(void **state)
{
	(void)state;
	for (int turn = 0; turn < 200; turn++) {
		struct arena *a = arena_new();
		struct mail_windows *w = mail_windows_new(a);
		struct mail_session *s = mail_session_new(a);
		struct mail_tally tally[600];
		struct event all[300];
		uint64_t now = 1000, seconds = 1 + roll(50), most = 3 + roll(20), in_session = 0;
		char key[2] = "a";

		for (int i = 0; i < 300; i++) {
			struct window_ask q = {.id = 7, .key = key, .seconds = seconds, .most = most, .n = 1 + roll(4)};
			struct window_ask c = {.id = 8, .key = "", .most = 30, .n = q.n};
			uint64_t sum = 0;

			now += roll(4) ? roll(3) : roll(60);
			all[i] = (struct event){now, q.n, (int)roll(3)};
			key[0] = (char)('a' + all[i].key);
			for (int e = 0; e < i; e++)
				if (all[e].key == all[i].key && all[e].t + seconds > now)
					sum += all[e].n;
			window_begin(w, now, 1);
			assert_int_equal(window_over(w, &q, NULL), sum + q.n > most ? WINDOW_OVER : WINDOW_FITS);
			assert_int_equal(session_over(s, &c), in_session + c.n > 30);
			tally[2 * i] = tally[2 * i + 1] = (struct mail_tally){0};
			if (sum + q.n > most || in_session + c.n > 30) {
				all[i].n = 0;
			} else {
				window_add(w, &q, now, &tally[2 * i]);
				session_add(s, &c, &tally[2 * i + 1]);
				in_session += c.n;
			}
			int e = (int)roll((uint64_t)i + 1);
			if (!roll(2)) {
				mail_take_back(w, s, &tally[2 * e], 2);
				in_session -= all[e].n;
				all[e].n = 0;
				tally[2 * e] = tally[2 * e + 1] = (struct mail_tally){0};
			}
		}
		window_begin(w, now + 100, WINDOW_KEYS_MOST);
		assert_int_equal(window_slots(w), 0);
		arena_free(a);
	}
}

static void
memory_is_bounded_and_comes_back(void **state)
{
	struct arena *a = arena_new();
	struct mail_windows *w = mail_windows_new(a);
	char key[32];
	struct window_ask q = {.id = 1, .key = key, .seconds = 100, .most = 5, .n = 1};
	size_t used;

	(void)state;
	for (int round = 0; round < 3; round++) {
		uint64_t now = (uint64_t)round * 1000;

		for (int i = 0; i < WINDOW_KEYS_MOST; i++) {
			snprintf(key, sizeof key, "%d", i);
			assert_true(window_begin(w, now, 1));
			assert_int_equal(window_over(w, &q, NULL), WINDOW_FITS);
			window_add(w, &q, now, NULL);
		}
		assert_int_equal(window_keys(w), WINDOW_KEYS_MOST);
		/* Full: a new key is not let through, a known one goes on. */
		snprintf(key, sizeof key, "new");
		assert_false(window_begin(w, now, 1));
		assert_int_equal(window_over(w, &q, NULL), WINDOW_FULL);
		window_add(w, &q, now, NULL);
		assert_int_equal(window_keys(w), WINDOW_KEYS_MOST);
		snprintf(key, sizeof key, "0");
		assert_int_equal(window_over(w, &q, NULL), WINDOW_FITS);
		/* When the others have run empty there is room again. */
		snprintf(key, sizeof key, "new");
		assert_false(window_begin(w, now + 99, 1));
		assert_true(window_begin(w, now + 100, 1));
		assert_int_equal(window_over(w, &q, NULL), WINDOW_FITS);
		assert_int_equal(window_keys(w), 0);
		assert_int_equal(window_slots(w), 0);
		if (!round)
			used = arena_used(a);
	}
	assert_int_equal(arena_used(a), used);
	arena_free(a);
}

static void
slots_are_bounded_and_nothing_is_forgotten(void **state)
{
	struct arena *a = arena_new();
	struct mail_windows *w = mail_windows_new(a);
	struct window_ask q = {.id = 1, .key = "", .seconds = UINT32_MAX, .most = UINT32_MAX, .n = 1};
	uint64_t n = WINDOW_SLOTS_MOST + 1000;

	(void)state;
	for (uint64_t t = 0; t < n; t++) {
		window_begin(w, t, 1);
		assert_int_equal(window_over(w, &q, NULL), WINDOW_FITS);
		window_add(w, &q, t, NULL);
	}
	assert_int_equal(window_slots(w), WINDOW_SLOTS_MOST);
	q.most = n;
	assert_int_equal(window_over(w, &q, NULL), WINDOW_OVER);
	q.most = n + 1;
	assert_int_equal(window_over(w, &q, NULL), WINDOW_FITS);
	q.key = "other";
	assert_int_equal(window_over(w, &q, NULL), WINDOW_FULL);
	window_add(w, &q, n, NULL);
	arena_free(a);
}

static void
far_over_the_limit_costs_no_more(void **state)
{
	struct arena *a = arena_new();
	struct mail_windows *w = mail_windows_new(a);
	struct window_ask q = {.id = 1, .key = "", .seconds = 3600, .most = 60, .n = 1};

	(void)state;
	for (uint64_t t = 0; t < 3600; t++) {
		window_begin(w, t, 1);
		window_add(w, &q, t, NULL);
	}
	assert_true(window_slots(w) <= 61);
	/* Exact all the same: over until only sixty are left with one more. */
	window_begin(w, 3599 + 3540, 1);
	assert_int_equal(window_over(w, &q, NULL), WINDOW_OVER);
	window_begin(w, 3599 + 3541, 1);
	assert_int_equal(window_over(w, &q, NULL), WINDOW_FITS);
	arena_free(a);
}

static void
time_that_jumps_back_frees_nothing_and_freezes_nothing(void **state)
{
	struct arena *a = arena_new();
	struct mail_windows *w = mail_windows_new(a);
	struct window_ask q = {.id = 1, .key = "", .seconds = 100, .most = 1, .n = 1};
	uint64_t when;

	(void)state;
	window_begin(w, 1000000, 1);
	window_add(w, &q, 1000000, NULL);
	/* Ten seconds later the clock is set back by most of a year. */
	window_begin(w, 1000010, 1);
	window_begin(w, 500, 1);
	assert_int_equal(window_over(w, &q, &when), WINDOW_OVER);
	assert_int_equal(when, 590);
	window_begin(w, 589, 1);
	assert_int_equal(window_over(w, &q, NULL), WINDOW_OVER);
	window_begin(w, 590, 1);
	assert_int_equal(window_over(w, &q, NULL), WINDOW_FITS);
	arena_free(a);
}

static void
long_keys_and_great_numbers(void **state)
{
	struct arena *a = arena_new();
	struct mail_windows *w = mail_windows_new(a);
	char x[5000], y[5000];
	struct window_ask q = {.id = 1, .key = x, .seconds = UINT64_MAX, .most = UINT64_MAX,
	    .n = UINT64_MAX};

	(void)state;
	memset(x, 'k', sizeof x);
	x[sizeof x - 1] = 0;
	memcpy(y, x, sizeof y);
	y[sizeof y - 2] = 'l';
	window_begin(w, UINT64_MAX / 2, 2);
	for (int i = 0; i < 100; i++)
		window_add(w, &q, UINT64_MAX / 2, NULL);
	window_begin(w, UINT64_MAX - 1, 2);
	assert_int_equal(window_over(w, &q, NULL), WINDOW_OVER);
	/* Keys that differ only where they are cut are two keys. */
	q = (struct window_ask){.id = 2, .key = x, .seconds = 10, .most = 1, .n = 1};
	window_add(w, &q, UINT64_MAX - 1, NULL);
	assert_int_equal(window_over(w, &q, NULL), WINDOW_OVER);
	q.key = y;
	assert_int_equal(window_over(w, &q, NULL), WINDOW_FITS);
	arena_free(a);
}

static void
a_connection_knows_so_many_keys(void **state)
{
	struct arena *a = arena_new();
	struct mail_session *s = mail_session_new(a);
	char key[32];
	struct window_ask q = {.id = 1, .key = key, .most = 2, .n = 1};

	(void)state;
	for (int i = 0; i < SESSION_MOST; i++) {
		snprintf(key, sizeof key, "%d", i);
		assert_false(session_over(s, &q));
		session_add(s, &q, NULL);
	}
	snprintf(key, sizeof key, "0");
	assert_false(session_over(s, &q));
	session_add(s, &q, NULL);
	assert_true(session_over(s, &q));
	snprintf(key, sizeof key, "new");
	assert_true(session_over(s, &q));
	session_add(s, &q, NULL);
	assert_true(session_over(s, &q));
	arena_free(a);
}

/* A full table is kept whole; what is torn or bent is refused, and leaves nothing behind. */
static void
kept_windows_are_whole_or_not_there(void **state)
{
	struct arena *a = arena_new();
	struct mail_windows *w = mail_windows_new(a), *other;
	struct buf b = BUF_INIT(16 << 20);
	char key[32];

	(void)state;
	for (unsigned i = 0; i < WINDOW_KEYS_MOST; i++) {
		snprintf(key, sizeof key, "%u", i);
		struct window_ask q = {.id = i % 3, .key = key, .seconds = 3600, .most = 1000, .n = 1};
		window_begin(w, 5000 + i / 100, 1);
		window_add(w, &q, 5000 + i / 100, NULL);
	}
	other = after_a_restart(w, a, 5060);
	assert_int_equal(window_keys(other), WINDOW_KEYS_MOST);
	/* few, so that each place can be torn and bent */
	w = mail_windows_new(a);
	for (unsigned i = 0; i < 6; i++) {
		struct window_ask q = {.id = 9, .key = i & 1 ? "odd" : "even", .seconds = 60, .most = 50, .n = 2};
		window_begin(w, 100 + i, 1);
		window_add(w, &q, 100 + i, NULL);
	}
	mail_windows_write(w, 106, &b);
	for (size_t n = 0; n < b.n; n++) {
		other = mail_windows_new(a);
		assert_int_equal(mail_windows_read(other, b.p, n), -EBADMSG);
		assert_int_equal(window_keys(other), 0);
		assert_int_equal(window_slots(other), 0);
	}
	for (size_t at = 0; at < b.n; at++) {
		struct window_ask q = {.id = 9, .key = "odd", .seconds = 60, .most = 5, .n = 1};

		b.p[at] = (char)(b.p[at] ^ (1 << at % 8));
		other = mail_windows_new(a);
		if (mail_windows_read(other, b.p, b.n))
			assert_int_equal(window_keys(other), 0);
		window_begin(other, 200, 1);
		window_over(other, &q, NULL);
		window_add(other, &q, 200, NULL);
		b.p[at] = (char)(b.p[at] ^ (1 << at % 8));
	}
	buf_free(&b);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_agree_with_a_list_of_all_events),
		cmocka_unit_test(what_is_taken_back_was_never_there),
		cmocka_unit_test(kept_windows_are_whole_or_not_there),
		cmocka_unit_test(memory_is_bounded_and_comes_back),
		cmocka_unit_test(slots_are_bounded_and_nothing_is_forgotten),
		cmocka_unit_test(far_over_the_limit_costs_no_more),
		cmocka_unit_test(time_that_jumps_back_frees_nothing_and_freezes_nothing),
		cmocka_unit_test(long_keys_and_great_numbers),
		cmocka_unit_test(a_connection_knows_so_many_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
