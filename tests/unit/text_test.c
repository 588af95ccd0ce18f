/*
 * text: places, diagnostics, and their printing, byte for byte.
 */
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
#include "text/print.h"

static struct text_span
span(uint32_t file, uint32_t off, uint32_t len)
{
	return (struct text_span){file, off, len};
}

static void
places_count_lines_and_code_points(void **state)
{
	static const char s[] = "ab\n\xc3\xbc\xe2\x82\xac" "c\n\nlast";
	static const struct { uint32_t off, line, col; } row[] = {
		{0, 1, 1}, {1, 1, 2}, {2, 1, 3}, {3, 2, 1}, {5, 2, 2}, {8, 2, 3},
		{9, 2, 4}, {10, 3, 1}, {11, 4, 1}, {14, 4, 4}, {15, 4, 5},
		{999, 4, 5},
	};
	struct arena *a = arena_new();
	struct text_set *t = text_set_new(a);
	struct text_place p;

	(void)state;
	text_add(t, "other", "", 0);
	assert_int_equal(text_add(t, "p.yaml", s, sizeof s - 1), 1);
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		p = text_place(t, span(1, row[i].off, 1));
		assert_string_equal(p.name, "p.yaml");
		assert_int_equal(p.line, row[i].line);
		assert_int_equal(p.col, row[i].col);
	}
	p = text_place(t, span(0, 0, 0));
	assert_true(p.line == 1 && p.col == 1);
	p = text_place(t, TEXT_NO_SPAN);
	assert_true(!*p.name && !p.line && !p.col);
	arena_free(a);
}

static void
lines_come_without_their_ends(void **state)
{
	static const char s[] = "a\r\nbc\n\r\nd";
	static const struct { uint32_t off; const char *want; } row[] = {
		{0, "a"}, {1, "a"}, {2, "a"}, {3, "bc"}, {5, "bc"}, {6, ""},
		{8, "d"}, {9, "d"}, {99, "d"},
	};
	struct arena *a = arena_new();
	struct text_set *t = text_set_new(a);

	(void)state;
	text_add(t, "x", s, sizeof s - 1);
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		size_t n;
		const char *p = text_line(t, 0, row[i].off, &n);

		assert_int_equal(n, strlen(row[i].want));
		assert_memory_equal(p, row[i].want, n);
	}
	arena_free(a);
}

static void
spans_join(void **state)
{
	struct text_span j = text_join(span(0, 3, 2), span(0, 9, 4));

	(void)state;
	assert_true(j.off == 3 && j.len == 10);
	j = text_join(span(0, 3, 20), span(0, 4, 1));
	assert_true(j.off == 3 && j.len == 2);
	j = text_join(TEXT_NO_SPAN, span(1, 4, 1));
	assert_true(j.file == 1 && j.off == 4 && j.len == 1);
	j = text_join(span(0, 3, 2), span(1, 4, 1));
	assert_true(j.file == 0 && j.len == 2);
}

static void
codes_are_unique_and_explained(void **state)
{
	(void)state;
	assert_true(DIAG_NCODE > 20);
	for (int i = 0; i < DIAG_NCODE; i++) {
		const struct diag_row *r = diag_row((enum diag_code)i);

		assert_non_null(strchr("EWN", r->code[0]));
		assert_int_equal(strlen(r->code), 5);
		assert_int_equal(strspn(r->code + 1, "0123456789"), 4);
		assert_int_equal(diag_code_find(r->code), i);
		/* A few words, and some sentences. */
		assert_true(strlen(r->title) >= 3 && strlen(r->title) <= 60);
		if (strlen(r->text) < 40 || r->text[strlen(r->text) - 1] == ' ')
			fail_msg("%s is not explained", r->code);
	}
	assert_int_equal(diag_code_find("e0101"), DIAG_E0101);
	assert_int_equal(diag_code_find("E9999"), DIAG_NCODE);
}

static void
diagnostics_sort_by_place_and_once(void **state)
{
	struct arena *a = arena_new();
	struct diags *d = diags_new(a);

	(void)state;
	diag_add(d, DIAG_E0109, span(0, 9, 1), "b");
	diag_add(d, DIAG_E0109, span(1, 0, 1), "d");
	diag_add(d, DIAG_E0101, span(0, 9, 1), "a");
	diag_add(d, DIAG_E0109, span(0, 9, 1), "b");
	diag_add(d, DIAG_E0109, span(0, 10, 1), "c");
	assert_int_equal(d->errors, 5);
	diags_sort(d);
	assert_int_equal(d->n, 4);
	assert_int_equal(d->errors, 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(d->v[i].message[0], "abcd"[i]);
	arena_free(a);
}

/* Which of several stays is told by what they say, never by the order they came in. */
static void
diagnostics_that_repeat_leave_the_same_one(void **state)
{
	(void)state;
	for (int turn = 0; turn < 6; turn++) {
		static const int order[6][3] = {
			{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0},
		};
		struct arena *a = arena_new();
		struct diags *d = diags_new(a);

		for (int i = 0; i < 3; i++) {
			struct diag *g = diag_add(d, DIAG_E0101, span(0, 3, 1), "x");

			if (order[turn][i] == 1)
				diag_hint(d, g, "b");
			else if (order[turn][i] == 2)
				diag_hint(d, diag_also(g, span(0, 9, 1), "there"), "c");
		}
		diags_sort(d);
		assert_int_equal(d->n, 1);
		assert_int_equal(d->errors, 1);
		assert_string_equal(d->v[0].hint, "c");
		arena_free(a);
	}
}

static void
diagnostics_have_a_limit(void **state)
{
	struct arena *a = arena_new();
	struct diags *d = diags_new(a);
	struct buf b = BUF_INIT(1000);

	(void)state;
	print_summary(&b, d);
	assert_int_equal(b.n, 0);
	for (uint32_t i = 0; i < DIAG_MOST + 3; i++)
		diag_hint(d, diag_add(d, DIAG_E0109, span(0, i, 1), "m"), "h");
	assert_int_equal(d->n, DIAG_MOST);
	assert_int_equal(d->dropped, 3);
	print_summary(&b, d);
	assert_string_equal(b.p, "203 errors, 3 not shown\n");
	buf_free(&b);
	arena_free(a);
}

/* What one diagnostic looks like, in a text of one's own. */
static void
assert_printed(const char *text, struct text_span at, const char *hint,
    enum print_form form, bool colour, const char *want)
{
	struct arena *a = arena_new();
	struct text_set *t = text_set_new(a);
	struct diags *d = diags_new(a);
	struct buf b = BUF_INIT(100000);
	struct diag *g;

	text_add(t, "p.yaml", text, strlen(text));
	g = diag_add(d, DIAG_E0122, at, "it is so");
	if (hint)
		diag_hint(d, g, "%s", hint);
	print_diags(&b, d, t, form, colour);
	assert_int_equal(b.err, 0);
	assert_string_equal(b.p, want);
	buf_free(&b);
	arena_free(a);
}

static void
human_form(void **state)
{
	(void)state;
	assert_printed("a: 1\n  form: any\n", span(0, 7, 4), "did you mean `from`?",
	    PRINT_HUMAN, false,
	    "p.yaml:2:3: error[E0122]: it is so\n"
	    "       2 |   form: any\n"
	    "         |   ^^^^\n"
	    "      hint: did you mean `from`?\n");
	/* No length, the end of a line, the end of the text, no text. */
	assert_printed("ab\ncd", span(0, 2, 0), NULL, PRINT_HUMAN, false,
	    "p.yaml:1:3: error[E0122]: it is so\n"
	    "       1 | ab\n"
	    "         |   ^\n");
	assert_printed("ab\ncd", span(0, 99, 9), NULL, PRINT_HUMAN, false,
	    "p.yaml:2:3: error[E0122]: it is so\n"
	    "       2 | cd\n"
	    "         |   ^\n");
	assert_printed("", span(0, 0, 0), NULL, PRINT_HUMAN, false,
	    "p.yaml:1:1: error[E0122]: it is so\n"
	    "       1 |\n"
	    "         | ^\n");
	/* More lines than one: the first is shown. */
	assert_printed("ab: |\n  c\n", span(0, 4, 6), NULL, PRINT_HUMAN, false,
	    "p.yaml:1:5: error[E0122]: it is so\n"
	    "       1 | ab: |\n"
	    "         |     ^\n");
	/* No place at all. */
	assert_printed("x", TEXT_NO_SPAN, "h", PRINT_HUMAN, false,
	    "error[E0122]: it is so\n"
	    "      hint: h\n");
}

static void
carets_stand_below_their_word(void **state)
{
	(void)state;
	/* Tabs are expanded, also inside the marked part. */
	assert_printed("\tab\tcd", span(0, 1, 5), NULL, PRINT_HUMAN, false,
	    "p.yaml:1:2: error[E0122]: it is so\n"
	    "       1 |         ab      cd\n"
	    "         |         ^^^^^^^^^^\n");
	/* Two bytes, one cell; three bytes, two cells; a mark without any. */
	assert_printed("\xc3\xbc\xe6\x97\xa5" "e\xcc\x81x", span(0, 8, 1), NULL,
	    PRINT_HUMAN, false,
	    "p.yaml:1:5: error[E0122]: it is so\n"
	    "       1 | \xc3\xbc\xe6\x97\xa5" "e\xcc\x81x\n"
	    "         |     ^\n");
	/* What is not seen is shown, and nothing reaches the terminal raw. */
	assert_printed("a\x1b[2J\xe2\x80\xae\xff\x7f", span(0, 5, 3), "\x1b]0;x\x07",
	    PRINT_HUMAN, false,
	    "p.yaml:1:6: error[E0122]: it is so\n"
	    "       1 | a<U+001B>[2J<U+202E><FF><U+007F>\n"
	    "         |             ^^^^^^^^\n"
	    "      hint: <U+001B>]0;x<U+0007>\n");
}

static void
long_lines_are_clipped_around_the_caret(void **state)
{
	char line[1001], want[1000];
	int n;

	(void)state;
	memset(line, 'x', 1000);
	line[1000] = 0;
	memcpy(line + 500, "HERE", 4);
	n = snprintf(want, sizeof want,
	    "p.yaml:1:501: error[E0122]: it is so\n"
	    "       1 | ...%.32sHERE%.60s...\n"
	    "         |    %32s^^^^\n", line, line, "");
	assert_true(n > 0 && (size_t)n < sizeof want);
	assert_printed(line, span(0, 500, 4), NULL, PRINT_HUMAN, false, want);
	/* The marked part is longer than the window. */
	snprintf(want, sizeof want,
	    "p.yaml:1:1: error[E0122]: it is so\n"
	    "       1 | %.96s...\n"
	    "         | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"
	    "^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n", line);
	assert_printed(line, span(0, 0, 1000), NULL, PRINT_HUMAN, false, want);
	/* At the very end nothing is missing behind. */
	snprintf(want, sizeof want,
	    "p.yaml:1:1001: error[E0122]: it is so\n"
	    "       1 | ...%.32s\n"
	    "         |    %32s^\n", line, "");
	assert_printed(line, span(0, 1000, 0), NULL, PRINT_HUMAN, false, want);
}

static void
colour_only_when_asked(void **state)
{
	(void)state;
	assert_printed("ab", span(0, 0, 2), "h", PRINT_HUMAN, true,
	    "\033[1mp.yaml:1:1: \033[1;31merror[E0122]:\033[0m "
	    "\033[1mit is so\033[0m\n"
	    "       1 | ab\n"
	    "         | \033[1;31m^^\033[0m\n"
	    "      \033[1;32mhint:\033[0m h\n");
}

/* A clash of two files, in each form. */
static void
assert_clash(enum print_form form, const char *want)
{
	struct arena *a = arena_new();
	struct text_set *t = text_set_new(a);
	struct diags *d = diags_new(a);
	struct buf b = BUF_INIT(100000);

	text_add(t, "a b:c,d%.yaml", "x: \xc3\xbc\ny: 1\n", 11);
	text_add(t, "/etc/q", "first: 1\n", 9);
	diag_also(diag_hint(d, diag_add(d, DIAG_E0122, span(0, 6, 4),
	    "50%% \"so\"\nor: a,b"), "the\tway"), span(1, 0, 5), "stands here");
	diag_add(d, DIAG_E0109, TEXT_NO_SPAN, "nowhere");
	diag_also(diag_add(d, DIAG_E0122, span(0, 3, 6), "lines"), span(1, 7, 1),
	    NULL);
	print_diags(&b, d, t, form, false);
	assert_int_equal(b.err, 0);
	assert_string_equal(b.p, want);
	buf_free(&b);
	arena_free(a);
}

static void
two_places(void **state)
{
	(void)state;
	assert_clash(PRINT_HUMAN,
	    "a b:c,d%.yaml:2:1: error[E0122]: 50% \"so\"<U+000A>or: a,b\n"
	    "       2 | y: 1\n"
	    "         | ^^^^\n"
	    "  /etc/q:1:1: stands here\n"
	    "       1 | first: 1\n"
	    "         | ^^^^^\n"
	    "      hint: the     way\n"
	    "error[E0109]: nowhere\n"
	    "a b:c,d%.yaml:1:4: error[E0122]: lines\n"
	    "       1 | x: \xc3\xbc\n"
	    "         |    ^\n"
	    "  /etc/q:1:8: see here\n"
	    "       1 | first: 1\n"
	    "         |        ^\n");
}

static void
json_form(void **state)
{
	(void)state;
	assert_clash(PRINT_JSON,
	    "[\n"
	    "  {\"code\": \"E0122\", \"severity\": \"error\", "
	    "\"message\": \"50% \\\"so\\\"\\u000aor: a,b\", "
	    "\"hint\": \"the\\u0009way\", \"file\": \"a b:c,d%.yaml\", "
	    "\"line\": 2, \"column\": 1, \"end_line\": 2, \"end_column\": 5, "
	    "\"also\": {\"label\": \"stands here\", \"file\": \"/etc/q\", "
	    "\"line\": 1, \"column\": 1, \"end_line\": 1, \"end_column\": 6}},\n"
	    "  {\"code\": \"E0109\", \"severity\": \"error\", "
	    "\"message\": \"nowhere\", \"hint\": null, \"file\": null, "
	    "\"line\": null, \"column\": null, \"end_line\": null, "
	    "\"end_column\": null, \"also\": null},\n"
	    "  {\"code\": \"E0122\", \"severity\": \"error\", "
	    "\"message\": \"lines\", \"hint\": null, \"file\": \"a b:c,d%.yaml\", "
	    "\"line\": 1, \"column\": 4, \"end_line\": 2, \"end_column\": 4, "
	    "\"also\": {\"label\": null, \"file\": \"/etc/q\", \"line\": 1, "
	    "\"column\": 8, \"end_line\": 1, \"end_column\": 9}}\n"
	    "]\n");
}

static void
github_form(void **state)
{
	char want[1000];

	(void)state;
	snprintf(want, sizeof want,
	    "::error file=a b%%3Ac%%2Cd%%25.yaml,line=2,col=1,endLine=2,"
	    "endColumn=5,title=E0122 %s::50%%25 \"so\"%%0Aor: a,b%%0Ahint: the\tway\n"
	    "::error title=E0109 %s::nowhere\n"
	    "::error file=a b%%3Ac%%2Cd%%25.yaml,line=1,col=4,endLine=2,"
	    "title=E0122 %s::lines\n",
	    diag_row(DIAG_E0122)->title, diag_row(DIAG_E0109)->title,
	    diag_row(DIAG_E0122)->title);
	assert_clash(PRINT_GITHUB, want);
}

/* The parts that a reader of SARIF 2.1.0 relies on, in their order. */
static void
sarif_form(void **state)
{
	static const char *const parts[] = {
		"\"version\": \"2.1.0\"",
		"\"name\": \"mailreeve\", \"rules\": [",
		"{\"id\": \"E0109\", \"shortDescription\": {\"text\": \"",
		"\"defaultConfiguration\": {\"level\": \"error\"}},",
		"{\"id\": \"E0122\", ",
		"]}},\n",
		"\"columnKind\": \"unicodeCodePoints\"",
		("{\"ruleId\": \"E0122\", \"ruleIndex\": 1, \"level\": \"error\", "
		"\"message\": {\"text\": \"50% \\\"so\\\"\\u000aor: a,b; the\\u0009way\"}, "
		"\"locations\": [{\"physicalLocation\": {\"artifactLocation\": "
		"{\"uri\": \"a%20b%3Ac%2Cd%25.yaml\"}, \"region\": {\"startLine\": 2, "
		"\"startColumn\": 1, \"endLine\": 2, \"endColumn\": 5}}}], "
		"\"relatedLocations\": [{\"id\": 1, \"physicalLocation\": "
		"{\"artifactLocation\": {\"uri\": \"file:///etc/q\"}, \"region\": "
		"{\"startLine\": 1, \"startColumn\": 1, \"endLine\": 1, "
		"\"endColumn\": 6}}, \"message\": {\"text\": \"stands here\"}}]},"),
		("{\"ruleId\": \"E0109\", \"ruleIndex\": 0, \"level\": \"error\", "
		"\"message\": {\"text\": \"nowhere\"}},"),
		"\"text\": \"see here\"}}]}]\n  }]\n}\n",
	};
	struct arena *a = arena_new();
	struct text_set *t = text_set_new(a);
	struct diags *d = diags_new(a);
	struct buf b = BUF_INIT(100000);
	const char *at;
	int depth = 0;
	bool string = false;

	(void)state;
	text_add(t, "a b:c,d%.yaml", "x: \xc3\xbc\ny: 1\n", 11);
	text_add(t, "/etc/q", "first: 1\n", 9);
	diag_also(diag_hint(d, diag_add(d, DIAG_E0122, span(0, 6, 4),
	    "50%% \"so\"\nor: a,b"), "the\tway"), span(1, 0, 5), "stands here");
	diag_add(d, DIAG_E0109, TEXT_NO_SPAN, "nowhere");
	diag_also(diag_add(d, DIAG_E0122, span(0, 3, 6), "lines"), span(1, 7, 1),
	    NULL);
	print_diags(&b, d, t, PRINT_SARIF, false);
	at = b.p;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		const char *p = strstr(at, parts[i]);

		if (!p)
			fail_msg("missing: %s\nin: %s", parts[i], b.p);
		at = p + strlen(parts[i]);
	}
	assert_string_equal(at, "");
	for (const char *p = b.p; *p; p++) {
		if (string && *p == '\\')
			p++;
		else if (*p == '"')
			string = !string;
		else if (!string)
			depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
		assert_true(depth >= 0 && (depth || p[0] == '}' || p[0] == '\n'));
	}
	assert_int_equal(depth, 0);
	buf_free(&b);
	arena_free(a);
}

static void
nothing_to_say(void **state)
{
	struct arena *a = arena_new();
	struct text_set *t = text_set_new(a);
	struct diags *d = diags_new(a);
	struct buf b = BUF_INIT(10000);

	(void)state;
	print_diags(&b, d, t, PRINT_HUMAN, true);
	print_diags(&b, d, t, PRINT_GITHUB, true);
	print_summary(&b, d);
	assert_int_equal(b.n, 0);
	print_diags(&b, d, t, PRINT_JSON, false);
	assert_string_equal(b.p, "[]\n");
	buf_free(&b);
	print_diags(&b, d, t, PRINT_SARIF, false);
	assert_non_null(strstr(b.p, "\"rules\": []}}"));
	assert_non_null(strstr(b.p, "\"results\": []"));
	buf_free(&b);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(places_count_lines_and_code_points),
		cmocka_unit_test(lines_come_without_their_ends),
		cmocka_unit_test(spans_join),
		cmocka_unit_test(codes_are_unique_and_explained),
		cmocka_unit_test(diagnostics_sort_by_place_and_once),
		cmocka_unit_test(diagnostics_that_repeat_leave_the_same_one),
		cmocka_unit_test(diagnostics_have_a_limit),
		cmocka_unit_test(human_form),
		cmocka_unit_test(carets_stand_below_their_word),
		cmocka_unit_test(long_lines_are_clipped_around_the_caret),
		cmocka_unit_test(colour_only_when_asked),
		cmocka_unit_test(two_places),
		cmocka_unit_test(json_form),
		cmocka_unit_test(github_form),
		cmocka_unit_test(sarif_form),
		cmocka_unit_test(nothing_to_say),
	};

	return cmocka_run_group_tests_name("text", t, NULL, NULL);
}
