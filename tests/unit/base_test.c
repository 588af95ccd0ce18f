/*
 * base: arena, buffer, hash, names, near misses, wide numbers, UTF-8.
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

#include "base/arena.h"
#include "base/buf.h"
#include "base/cgroup.h"
#include "base/hash.h"
#include "base/near.h"
#include "base/u128.h"
#include "base/utf8.h"

static void
arena_gives_zeroed_aligned_memory(void **state)
{
	static const size_t sizes[] = {0, 1, 15, 16, 17, 4000, 16384, 70000, 5 << 20};
	enum { N = sizeof sizes / sizeof *sizes };
	struct arena *a = arena_new();
	char *got[N * 20];
	size_t before = 0;

	(void)state;
	for (unsigned i = 0; i < N * 20; i++) {
		size_t n = sizes[i % N];

		got[i] = arena_alloc(a, n);
		assert_non_null(got[i]);
		assert_int_equal((uintptr_t)got[i] % _Alignof(max_align_t), 0);
		for (size_t k = 0; k < n; k += n > 1000 ? 97 : 1)
			assert_int_equal(got[i][k], 0);
		memset(got[i], (int)i, n);
		assert_true(arena_used(a) >= before);
		before = arena_used(a);
	}
	/* Nothing overlaps. */
	for (unsigned i = 0; i < N * 20; i++)
		for (size_t k = 0; k < sizes[i % N]; k += 61)
			assert_int_equal(got[i][k], (char)i);
	assert_null(arena_free(a));
	assert_null(arena_free(NULL));
}

static void
units_stand_where_systemd_puts_them(void **state)
{
	static const char *const unit[][2] = {
		{"apache2.service", "system.slice/apache2.service"},
		{"a@b.service", "system.slice/system-a.slice/a@b.service"},
		{"postgresql@15-main.service", "system.slice/system-postgresql.slice/postgresql@15-main.service"},
		{"my-list@x.y.service", "system.slice/system-my\\x2dlist.slice/my-list@x.y.service"},
		{"a\\x2db@1.service", "system.slice/system-a\\x5cx2db.slice/a\\x2db@1.service"},
		{"a@.service", "system.slice/a@.service"},     /* the template itself runs nowhere */
		{"user.slice", "user.slice"},
		{"user-1000.slice", "user.slice/user-1000.slice"},
		{"a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice"},
		{"-.slice", "-.slice"},
		{"docker-0a1b.scope", "system.slice/docker-0a1b.scope"},
		{"user.slice/user-1000.slice/session-3.scope", "user.slice/user-1000.slice/session-3.scope"},
	};
	struct arena *a = arena_new();

	(void)state;
	for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
		assert_string_equal(cgroup_of_unit(a, unit[i][0]), unit[i][1]);
	arena_free(a);
}

static void
arena_push_keeps_what_is_there(void **state)
{
	struct arena *a = arena_new();
	struct { unsigned *v; size_t n, cap; } s = {0};
	unsigned *old;

	(void)state;
	for (unsigned i = 0; i < 5000; i++)
		ARENA_PUSH(a, s.v, s.n, s.cap) = i * 3;
	old = s.v;
	while (s.n < s.cap)
		ARENA_PUSH(a, s.v, s.n, s.cap) = 0;
	ARENA_PUSH(a, s.v, s.n, s.cap) = 1;
	assert_ptr_not_equal(old, s.v);
	for (unsigned i = 0; i < 5000; i++)
		assert_true(s.v[i] == i * 3 && old[i] == i * 3);
	arena_free(a);
}

/* Tells it from a crash. */
const char *
__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "allocator_may_return_null=1:max_allocation_size_mb=65536";
}

enum { TOO_MUCH_BITS = 47 };       /* more than there are addresses */

struct trial {
	struct arena *kept, *inner;
	int deeper, reached;
};

static void
ask_too_much(void *arg)
{
	struct trial *t = arg;

	t->inner = arena_new();
	arena_free(arena_new());
	t->reached++;
	arena_alloc(t->inner, (size_t)1 << TOO_MUCH_BITS);
	t->reached = 100;
}

static void
ask_for_some(void *arg)
{
	struct trial *t = arg;

	t->inner = arena_new();
	arena_alloc(t->inner, 100000);
	t->reached++;
}

static void
ask_in_turn(void *arg)
{
	struct trial *t = arg;

	t->kept = arena_new();
	t->deeper = arena_try(ask_too_much, t);
	assert_int_equal(arena_try(ask_for_some, t), 0);
	arena_keep(t->kept);
	ask_too_much(t);
}

/* Leaks are the sanitizer's to find. */
static void
a_lack_of_memory_is_told_where_it_was_asked(void **state)
{
	struct trial t = {0};

	(void)state;
	assert_int_equal(arena_try(ask_too_much, &t), -ENOMEM);
	assert_int_equal(t.reached, 1);
	assert_int_equal(arena_try(ask_for_some, &t), 0);
	assert_int_equal(arena_used(t.inner) > 100000, 1);
	arena_free(t.inner);
	t.reached = 0;
	assert_int_equal(arena_try(ask_in_turn, &t), -ENOMEM);
	assert_int_equal(t.deeper, -ENOMEM);
	assert_int_equal(t.reached, 3);
	assert_string_equal(arena_strn(t.kept, "kept", 4), "kept");
	arena_free(t.kept);
}

static void
arena_strings(void **state)
{
	struct arena *a = arena_new();

	(void)state;
	assert_string_equal(arena_strn(a, "abc", 2), "ab");
	assert_string_equal(arena_str(a, ""), "");
	assert_null(arena_str(a, NULL));
	assert_string_equal(arena_printf(a, "%s-%d-%200d", "x", 7, 1) + 200, "   1");
	arena_free(a);
}

static void
buffer_remembers_its_first_error(void **state)
{
	struct buf b = BUF_INIT(10);

	(void)state;
	buf_str(&b, "12345");
	buf_dec(&b, 67890);
	assert_int_equal(b.err, 0);
	assert_string_equal(b.p, "1234567890");
	buf_chr(&b, 'x');
	assert_int_equal(b.err, -E2BIG);
	buf_printf(&b, "%s", "");
	buf_add(&b, "", 0);
	assert_string_equal(b.p, "1234567890");
	assert_int_equal(b.n, 10);
	buf_free(&b);
	assert_true(!b.p && !b.n && !b.err && b.max == 10);
	/* All or nothing, also when it grows. */
	buf_printf(&b, "%20d", 1);
	assert_true(b.err == -E2BIG && b.n == 0);
	buf_free(&b);
}

static void
buffer_numbers(void **state)
{
	static const uint64_t x[] = {0, 9, 10, 99, 100, 4294967296u, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
		struct buf b = BUF_INIT(100);
		char want[32];

		buf_dec(&b, x[i]);
		snprintf(want, sizeof want, "%llu", (unsigned long long)x[i]);
		assert_string_equal(b.p, want);
		buf_free(&b);
	}
}

static void
rfc8259_7_json_strings(void **state)
{
	static const char *const row[][2] = {
		{"", "\"\""},
		{"a\"b\\c/", "\"a\\\"b\\\\c/\""},
		{"\n\t\x01\x1f\x7f", "\"\\u000a\\u0009\\u0001\\u001f\\u007f\""},
		{"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{"a\xff" "b\xc3", "\"a\\ufffdb\\ufffd\""},
		{"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct buf b = BUF_INIT(100);

		buf_json(&b, row[i][0]);
		assert_string_equal(b.p, row[i][1]);
		buf_free(&b);
	}
}

static void
names_are_numbered_in_order(void **state)
{
	enum { N = 20000 };
	struct arena *a = arena_new();
	struct hash_names *t = hash_names_new(a);
	char s[16];
	int fresh;

	(void)state;
	for (uint32_t i = 0; i < N; i++) {
		int n = snprintf(s, sizeof s, "n%u", i);

		assert_int_equal(hash_names_find(t, s, (size_t)n), UINT32_MAX);
		assert_int_equal(hash_names_add(t, s, (size_t)n, &fresh), i);
		assert_true(fresh);
		assert_int_equal(hash_names_add(t, s, (size_t)n, &fresh), i);
		assert_false(fresh);
	}
	assert_int_equal(hash_names_count(t), N);
	memset(s, 0, sizeof s);
	for (uint32_t i = 0; i < N; i++) {
		int n = snprintf(s, sizeof s, "n%u", i);

		assert_int_equal(hash_names_find(t, s, (size_t)n), i);
		assert_string_equal(hash_names_at(t, i), s);
	}
	/* A part of a name is another name, and so is the empty one. */
	assert_int_equal(hash_names_find(t, "n1", 1), UINT32_MAX);
	assert_int_equal(hash_names_add(t, "", 0, NULL), N);
	assert_int_equal(hash_names_find(t, "", 0), N);
	arena_free(a);
}

static void
hash_is_the_same_everywhere(void **state)
{
	static const unsigned char p[] = "the same on every machine and in every run";

	(void)state;
	/* Pinned: iteration orders must not change between versions. */
	assert_true(hash_u64(0, 1) == 0x910a2dec89025cc1u);
	assert_true(hash_bytes(0, p, sizeof p - 1) == 0xdc9271e433d5111fu);
	assert_true(hash_bytes(0, "a", 1) != hash_bytes(0, "a\0", 2));
	assert_true(hash_bytes(0, "ab", 2) != hash_bytes(0, "ba", 2));
	assert_true(hash_bytes(1, "ab", 2) != hash_bytes(0, "ab", 2));
	/* Every bit of the input matters. */
	for (unsigned i = 0; i < 64; i++)
		for (unsigned j = 0; j < i; j++)
			assert_true(hash_u64(0, 1ull << i) != hash_u64(0, 1ull << j));
}

static const char *
word_at(const void *arg, size_t i)
{
	return ((const char *const *)arg)[i];
}

static void
did_you_mean(void **state)
{
	static const char *const keys[] = {
		"ports", "from", "to", "relays", "roaming", "block", "with",
		"otherwise", "owner", NULL,
	};
	static const char *const row[][2] = {
		{"port", "ports"}, {"form", "from"}, {"realys", "relays"},
		{"romaing", "roaming"}, {"blok", "block"}, {"wiht", "with"},
		{"otherwhise", "otherwise"}, {"ownr", "owner"}, {"ot", "to"},
		{"from", "from"}, {"elephant", NULL}, {"", NULL}, {"x", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		const char *got = near_of(row[i][0], strlen(row[i][0]), word_at, keys);

		if (row[i][1])
			assert_true(got && !strcmp(got, row[i][1]));
		else
			assert_null(got);
	}
}

/* The naive distance, by recursion. */
static unsigned
edits(const char *a, size_t an, const char *b, size_t bn)
{
	unsigned best, d;

	if (!an || !bn)
		return (unsigned)(an + bn);
	best = edits(a, an - 1, b, bn - 1) + (a[an - 1] != b[bn - 1]);
	d = edits(a, an - 1, b, bn) + 1;
	best = d < best ? d : best;
	d = edits(a, an, b, bn - 1) + 1;
	best = d < best ? d : best;
	if (an > 1 && bn > 1 && a[an - 1] == b[bn - 2] && a[an - 2] == b[bn - 1]) {
		d = edits(a, an - 2, b, bn - 2) + 1;
		best = d < best ? d : best;
	}
	return best;
}

static void
edits_agree_with_the_naive_count(void **state)
{
	(void)state;
	/* All pairs of words of up to four letters of two. */
	for (unsigned i = 0; i < 31 * 31; i++) {
		char a[5], b[5];
		size_t an = 0, bn = 0;

		for (unsigned x = i / 31 + 1; x > 1; x /= 2)
			a[an++] = x & 1 ? 'x' : 'y';
		for (unsigned x = i % 31 + 1; x > 1; x /= 2)
			b[bn++] = x & 1 ? 'x' : 'y';
		assert_int_equal(near_edits(a, an, b, bn, 9), edits(a, an, b, bn));
		if (edits(a, an, b, bn) > 1)
			assert_true(near_edits(a, an, b, bn, 1) == 2);
	}
}

static void
wide_numbers_keep_their_bytes(void **state)
{
	uint8_t p[16], q[16];

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		p[i] = (uint8_t)(i * 17 + 3);
	u128_to_be(u128_from_be(p), q);
	assert_memory_equal(p, q, 16);
	assert_true(u128_hi(u128_from_be(p)) == 0x031425364758697au);
	assert_true(u128_of(5, 7) == ((u128)5 << 64) + 7);
	assert_true(u128_lo(u128_of(5, 7)) == 7 && u128_hi(u128_of(5, 7)) == 5);
	assert_true(U128_MAX + 1 == 0);
}

/* RFC 3629 section 4, by its own table: every sequence of up to three bytes,
 * and those of four whose third and fourth are at an edge. */
static size_t
by_the_grammar(const uint8_t *u, size_t n)
{
#define IN(i, lo, hi) (n > (i) && u[i] >= (lo) && u[i] <= (hi))
#define TAIL(i) IN(i, 0x80, 0xbf)
	if (IN(0, 0, 0x7f))
		return 1;
	if (IN(0, 0xc2, 0xdf) && TAIL(1))
		return 2;
	if ((IN(0, 0xe0, 0xe0) && IN(1, 0xa0, 0xbf) && TAIL(2)) ||
	    (IN(0, 0xe1, 0xec) && TAIL(1) && TAIL(2)) ||
	    (IN(0, 0xed, 0xed) && IN(1, 0x80, 0x9f) && TAIL(2)) ||
	    (IN(0, 0xee, 0xef) && TAIL(1) && TAIL(2)))
		return 3;
	if ((IN(0, 0xf0, 0xf0) && IN(1, 0x90, 0xbf) && TAIL(2) && TAIL(3)) ||
	    (IN(0, 0xf1, 0xf3) && TAIL(1) && TAIL(2) && TAIL(3)) ||
	    (IN(0, 0xf4, 0xf4) && IN(1, 0x80, 0x8f) && TAIL(2) && TAIL(3)))
		return 4;
	return 0;
#undef IN
#undef TAIL
}

static void
rfc3629_4_utf8(void **state)
{
	static const uint8_t edge[] = {0, 0x7f, 0x80, 0x8f, 0x90, 0xbf, 0xc0, 0xff};

	(void)state;
	for (unsigned x = 0; x < 1u << 16; x++) {
		for (unsigned e = 0; e < 64; e++) {
			uint8_t u[4] = {(uint8_t)(x >> 8), (uint8_t)x, edge[e / 8],
			    edge[e % 8]};

			for (size_t n = 0; n <= 4; n++) {
				uint32_t c = 0xdead;
				size_t k = utf8_next((const char *)u, n, &c);

				if (k != by_the_grammar(u, n))
					fail_msg("%02x %02x %02x %02x, %zu: %zu",
					    u[0], u[1], u[2], u[3], n, k);
				assert_true(!k || c <= 0x10ffff);
			}
		}
	}
}

static void
utf8_values(void **state)
{
	static const struct { const char *s; uint32_t c; } row[] = {
		{"A", 'A'}, {"\xc2\x80", 0x80}, {"\xdf\xbf", 0x7ff},
		{"\xe0\xa0\x80", 0x800}, {"\xe2\x80\xa8", 0x2028},
		{"\xef\xbf\xbf", 0xffff}, {"\xf0\x90\x80\x80", 0x10000},
		{"\xf4\x8f\xbf\xbf", 0x10ffff},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		uint32_t c;

		assert_int_equal(utf8_next(row[i].s, strlen(row[i].s), &c),
		    strlen(row[i].s));
		assert_int_equal(c, row[i].c);
	}
}

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(arena_gives_zeroed_aligned_memory),
		cmocka_unit_test(units_stand_where_systemd_puts_them),
		cmocka_unit_test(arena_push_keeps_what_is_there),
		cmocka_unit_test(a_lack_of_memory_is_told_where_it_was_asked),
		cmocka_unit_test(arena_strings),
		cmocka_unit_test(buffer_remembers_its_first_error),
		cmocka_unit_test(buffer_numbers),
		cmocka_unit_test(rfc8259_7_json_strings),
		cmocka_unit_test(names_are_numbered_in_order),
		cmocka_unit_test(hash_is_the_same_everywhere),
		cmocka_unit_test(did_you_mean),
		cmocka_unit_test(edits_agree_with_the_naive_count),
		cmocka_unit_test(wide_numbers_keep_their_bytes),
		cmocka_unit_test(rfc3629_4_utf8),
		cmocka_unit_test(utf8_values),
	};

	return cmocka_run_group_tests_name("base", t, NULL, NULL);
}
