/*
 * Shape alone, with rows of a test: the forms of values, what is told of wrong
 * ones, and what is printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "shape/shape.h"

/* ---- forms ------------------------------------------------------------------ */

static void
names_are_lower_case_and_short(void **state)
{
	static const char *const good[] = {
		"a", "a-b", "a_b", "a1", "abcdefghijklmnopqrstuvwxyz0123456789-_abcdefghij",
	};
	static const char *const bad[] = {
		"", "A", "1a", "-a", "_a", "a b", "a.b", "a/b", "\xc3\xa4", "aB",
		"abcdefghijklmnopqrstuvwxyz0123456789-_abcdefghijk",
	};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(shape_name_ok(good[i], strlen(good[i])));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(shape_name_ok(bad[i], strlen(bad[i])));
}

static void
sizes_have_a_unit(void **state)
{
	static const struct {
		const char *s;
		uint64_t n;
	} good[] = {
		{"0 B", 0}, {"1 byte", 1}, {"100 bytes", 100}, {"5 kB", 5000}, {"5 KB", 5000},
		{"5 MB", 5000000}, {"5MB", 5000000}, {"5 MiB", 5242880}, {"1 GB", 1000000000},
		{"1 GiB", 1073741824}, {"3 KiB", 3072},
	};
	static const char *const bad[] = {
		"", "5", "MB", "5  MB", "5 mb", "5 Mb", "5 M", "5.5 MB", "-5 MB", "05 MB", " 5 MB",
		"5 MB ", "5 TB", "99999999999999999999 B", "99999999999 GiB", "5\tMB", "+5 MB",
	};
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_true(shape_size_read(good[i].s, strlen(good[i].s), &n));
		assert_int_equal(n, good[i].n);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (shape_size_read(bad[i], strlen(bad[i]), &n))
			fail_msg("`%s` was taken", bad[i]);
}

static void
durations_have_a_unit(void **state)
{
	static const struct {
		const char *s;
		uint64_t n;
	} good[] = {
		{"1 s", 1}, {"30 sec", 30}, {"1 second", 1}, {"10 min", 600}, {"10min", 600},
		{"2 minutes", 120}, {"1 h", 3600}, {"36 hours", 129600}, {"2 d", 172800},
		{"2 days", 172800}, {"1 week", 604800}, {"3 weeks", 1814400},
		{"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", 86400}, {"week", 604800},
	};
	static const char *const bad[] = {
		"", "10", "min", "h", "s", "d", "hours", "days", "0 s", "0 h", "1 month", "1 m",
		"10  min", "1.5 h", "-1 h", "1 h 30 min", "99999999 weeks", "1e3 s", "sec",
	};
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_true(shape_time_read(good[i].s, strlen(good[i].s), &n));
		assert_int_equal(n, good[i].n);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (shape_time_read(bad[i], strlen(bad[i]), &n))
			fail_msg("`%s` was taken", bad[i]);
}

static void
days_are_of_the_calendar(void **state)
{
	static const int last[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int y = 1999, m = 12, d = 31;

	(void)state;
	for (int i = 1; i <= 12; i++) {
		assert_true(shape_day_ok(2027, i, last[i - 1]));
		assert_false(shape_day_ok(2027, i, last[i - 1] + 1));
	}
	assert_true(shape_day_ok(2028, 2, 29) && shape_day_ok(2000, 2, 29));
	assert_false(shape_day_ok(2100, 2, 29) || shape_day_ok(1969, 12, 31));
	/* the kernel's clock of 64 bits of nanoseconds ends in July 2554 */
	assert_true(shape_day_ok(2553, 12, 31));
	assert_false(shape_day_ok(2554, 7, 21) || shape_day_ok(9999, 12, 31));
	assert_false(shape_day_ok(2027, 0, 1) || shape_day_ok(2027, 13, 1) || shape_day_ok(2027, 1, 0));
	shape_day_next(&y, &m, &d);
	assert_true(y == 2000 && m == 1 && d == 1);
	m = 2;
	d = 28;
	shape_day_next(&y, &m, &d);
	assert_true(m == 2 && d == 29);
	shape_day_next(&y, &m, &d);
	assert_true(m == 3 && d == 1);
}

/* ---- rows ---------------------------------------------------------------------- */

struct inner {
	struct shape_rec in;
	struct shape_num n;
	struct shape_text name;
};

struct outer {
	struct shape_rec in;
	struct shape_list many;    /* struct inner */
	struct shape_list named;   /* struct inner */
	struct {
		struct shape_rec in;
		struct shape_num word;
		struct shape_text name;
	} either;
	struct {
		struct shape_text title;
	} meta;
};

static const struct shape_type number = {.kind = SHAPE_INT, .lo = 1, .hi = 9, .example = "3"};
static const struct shape_type name = {.kind = SHAPE_NAME};
static const struct shape_type text = {.kind = SHAPE_TEXT};

static const struct shape_key inner_keys[] = {
	{"num", &number, offsetof(struct inner, n), true, "A number.", NULL, "T-1"},
	{"name", &name, offsetof(struct inner, name), false, "A name.", NULL, NULL},
	{0},
};

static const struct shape_type inner = {
	.kind = SHAPE_REC, .keys = inner_keys, .wanted = "an inner", .id = "inner",
	.title = "An inner",
};

static const struct shape_type many = {
	.kind = SHAPE_LIST, .lone = true, .item = &inner, .size = sizeof(struct inner),
};

static const struct shape_type named = {
	.kind = SHAPE_MAP, .item = &inner, .size = sizeof(struct inner),
};

static const struct shape_word words[] = {{"none", 7, NULL}, {0}};
static const struct shape_type word = {.kind = SHAPE_WORD, .words = words};

static const struct shape_key either_keys[] = {
	{"name", &name, offsetof(struct outer, either.name) - offsetof(struct outer, either), true,
		"A name.", NULL, NULL},
	{0},
};

static const struct shape_type either_rec = {
	.kind = SHAPE_REC, .keys = either_keys, .wanted = "a mapping with `name`",
};

static const struct shape_alt either_alts[] = {
	{&word, offsetof(struct outer, either.word) - offsetof(struct outer, either)},
	{&either_rec, 0},
	{0},
};

static const struct shape_type either = {.kind = SHAPE_ONE, .alt = either_alts};

static const struct shape_key meta_keys[] = {
	{"title", &text, 0, false, "A title.", NULL, NULL},
	{0},
};

static const struct shape_type meta = {.kind = SHAPE_REC, .keys = meta_keys};
static const struct shape_type elsewhere = {.kind = SHAPE_NOT, .wanted = "write it elsewhere"};

static const struct shape_key outer_keys[] = {
	{"many", &many, offsetof(struct outer, many), false, "Many.", NULL, NULL},
	{"named", &named, offsetof(struct outer, named), false, "Named.", NULL, NULL},
	{"either", &either, offsetof(struct outer, either), false, "Either.", NULL, NULL},
	{"never", &elsewhere, 0, false, "", NULL, NULL},
	{NULL, &meta, offsetof(struct outer, meta), false, NULL, NULL, NULL},
	{0},
};

static const struct shape_type outer = {
	.kind = SHAPE_REC, .keys = outer_keys, .wanted = "an outer", .title = "An outer",
};

struct bound {
	struct arena *a;
	struct diags *d;
	struct text_set *t;
	struct outer o;
	bool ok;
};

static struct bound
bind(const char *s)
{
	struct bound b = {.a = arena_new()};
	const struct doc_node *n;

	b.d = diags_new(b.a);
	b.t = text_set_new(b.a);
	n = doc_parse(b.a, b.t, text_add(b.t, "t", s, strlen(s)), b.d);
	assert_non_null(n);
	b.ok = shape_bind(b.a, b.d, &outer, n, &b.o);
	assert_int_equal(b.ok, !b.d->errors);
	return b;
}

static void
values_go_where_the_rows_say(void **state)
{
	struct bound b = bind("many: [{num: 1}, {num: 2, name: b}]\nnamed: {x: {num: 3}}\n"
	    "either: none\ntitle: hello\n");

	(void)state;
	assert_true(b.ok);
	assert_int_equal(b.o.many.n, 2);
	assert_int_equal(SHAPE_AT(b.o.many, struct inner, 1)->n.n, 2);
	assert_string_equal(SHAPE_AT(b.o.many, struct inner, 1)->name.s, "b");
	assert_null(SHAPE_AT(b.o.many, struct inner, 0)->name.node);
	assert_string_equal(SHAPE_AT(b.o.named, struct inner, 0)->in.name, "x");
	assert_int_equal(SHAPE_AT(b.o.named, struct inner, 0)->in.key->at.off, 44);
	assert_int_equal(b.o.either.word.n, 7);
	assert_true(b.o.either.in.ok);
	assert_string_equal(b.o.meta.title.s, "hello");
	arena_free(b.a);

	b = bind("many: {num: 4}\neither: {name: e}\n");
	assert_true(b.ok);
	assert_int_equal(b.o.many.n, 1);
	assert_int_equal(SHAPE_AT(b.o.many, struct inner, 0)->n.n, 4);
	assert_null(b.o.either.word.node);
	assert_string_equal(b.o.either.name.s, "e");
	arena_free(b.a);
}

static void
what_is_good_is_bound_beside_what_is_not(void **state)
{
	struct bound b = bind("many: [{num: 1}, {num: 10}, {m: 2}, 5]\n"
	    "named: {x: {num: 3}, Zed: {num: 4}}\n"
	    "never: 1\n");

	(void)state;
	assert_false(b.ok);
	assert_true(SHAPE_AT(b.o.many, struct inner, 0)->in.ok);
	assert_false(SHAPE_AT(b.o.many, struct inner, 1)->in.ok);
	assert_non_null(SHAPE_AT(b.o.many, struct inner, 1)->n.node);
	assert_true(SHAPE_AT(b.o.many, struct inner, 2)->in.unknown);
	assert_null(SHAPE_AT(b.o.named, struct inner, 1)->in.name);
	assert_true(SHAPE_AT(b.o.named, struct inner, 0)->in.ok);
	/* 10 is out of bounds, m is unknown and num missing, 5 is no mapping, Zed no name, never no key */
	assert_int_equal(b.d->errors, 6);
	arena_free(b.a);
}

static void
a_key_that_was_mistyped_is_not_missing_too(void **state)
{
	struct bound b = bind("many: [{numb: 1}, {name: a}]\n");

	(void)state;
	diags_sort(b.d);
	assert_int_equal(b.d->n, 2);
	assert_int_equal(b.d->v[0].code, DIAG_E0301);
	assert_string_equal(b.d->v[0].hint, "did you mean `num`?");
	assert_int_equal(b.d->v[1].code, DIAG_E0303);
	assert_string_equal(b.d->v[1].message, "an inner has no `num`");
	arena_free(b.a);
}

static void
a_message_holds_nothing_that_a_terminal_obeys(void **state)
{
	struct bound b = bind("either: \"a\\tb\"\n");

	(void)state;
	assert_int_equal(b.d->n, 1);
	assert_null(strchr(b.d->v[0].message, '\t'));
	assert_non_null(strstr(b.d->v[0].message, "`a?b`"));
	arena_free(b.a);
}

static void
the_schema_is_made_of_the_rows(void **state)
{
	static const char *const want[] = {
		"\"$ref\": \"#/$defs/inner\"",
		"\"minimum\": 1",
		"\"maximum\": 9",
		"\"required\": [\n        \"num\"\n      ]",
		"\"description\": \"A number. Example: `3`. (T-1)\"",
		"\"title\": {",
		"\"minItems\": 1",
		"\"none\"",
	};
	struct buf b = BUF_INIT(1 << 16);

	(void)state;
	shape_schema_print(&b, &outer, "test:outer", "An outer");
	assert_int_equal(b.err, 0);
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		if (!strstr(b.p, want[i]))
			fail_msg("no %s in\n%s", want[i], b.p);
	assert_null(strstr(b.p, "never"));
	buf_free(&b);
}

static void
the_manual_is_made_of_the_rows(void **state)
{
	struct buf b = BUF_INIT(1 << 16);

	(void)state;
	shape_manual_print(&b, &outer);
	assert_int_equal(b.err, 0);
	assert_non_null(strstr(b.p, ".SS An outer\n"));
	assert_non_null(strstr(b.p, ".SS An inner\n"));
	assert_non_null(strstr(b.p, "\\fBnum\\fR (required)\nA number.\n"));
	assert_null(strstr(b.p, "never"));
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_lower_case_and_short),
		cmocka_unit_test(sizes_have_a_unit),
		cmocka_unit_test(durations_have_a_unit),
		cmocka_unit_test(days_are_of_the_calendar),
		cmocka_unit_test(values_go_where_the_rows_say),
		cmocka_unit_test(what_is_good_is_bound_beside_what_is_not),
		cmocka_unit_test(a_key_that_was_mistyped_is_not_missing_too),
		cmocka_unit_test(a_message_holds_nothing_that_a_terminal_obeys),
		cmocka_unit_test(the_schema_is_made_of_the_rows),
		cmocka_unit_test(the_manual_is_made_of_the_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
