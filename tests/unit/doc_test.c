/*
 * doc: YAML to a tree; what is refused, where, and with which way out.
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
#include "doc/doc.h"
#include "text/diag.h"

/* One text, read. */
struct reading {
	struct arena *a;
	struct text_set *t;
	struct diags *d;
	struct doc_node *root;
	size_t events;
};

static struct reading
read_bytes(const char *s, size_t n)
{
	struct reading r = {.a = arena_new()};

	r.t = text_set_new(r.a);
	r.d = diags_new(r.a);
	/* Not the first file, so that numbers are not mixed up. */
	text_add(r.t, "other", "", 0);
	text_add(r.t, "p.yaml", s, n);
	r.root = doc_parse_most(r.a, r.t, 1, DOC_MOST, &r.events, r.d);
	diags_sort(r.d);
	return r;
}

static struct reading
read_text(const char *s)
{
	return read_bytes(s, strlen(s));
}

static void
done(struct reading *r)
{
	r->a = arena_free(r->a);
}

/* A mistake: the text, the code, where, and a part of the hint. */
struct mistake {
	const char *text;
	enum diag_code code;
	uint32_t line, col, len;
	const char *hint;
};

static const struct mistake mistakes[] = {
	/* Nothing there. */
	{"", DIAG_E0118, 1, 1, 0, NULL},
	{"\n\n", DIAG_E0118, 1, 1, 0, NULL},
	{"# only a comment\n", DIAG_E0118, 1, 1, 0, NULL},
	{"---\n", DIAG_E0118, 1, 3, 1, NULL},
	{"a:\n", DIAG_E0119, 1, 1, 1, "leave the key out"},
	{"a:\nb: 1\n", DIAG_E0119, 1, 1, 1, NULL},
	{"b: 1\na: # none\n", DIAG_E0119, 2, 1, 1, NULL},
	{"{b: 1, a}\n", DIAG_E0119, 1, 8, 1, NULL},
	{"a: {b: }\n", DIAG_E0119, 1, 5, 1, NULL},
	{"- a\n-\n- b\n", DIAG_E0119, 2, 1, 1, NULL},
	{"a: ~\n", DIAG_E0119, 1, 4, 1, "\"~\""},
	{"a: null\n", DIAG_E0119, 1, 4, 4, "\"null\""},
	{"a: Null\n", DIAG_E0119, 1, 4, 4, NULL},
	{"[a, NULL]\n", DIAG_E0119, 1, 5, 4, NULL},
	/* Booleans of older readers. */
	{"a: yes\n", DIAG_E0120, 1, 4, 3, "write `true`, or \"yes\""},
	{"a: No\n", DIAG_E0120, 1, 4, 2, "write `false`, or \"No\""},
	{"a: y\n", DIAG_E0120, 1, 4, 1, "`true`"},
	{"a: N\n", DIAG_E0120, 1, 4, 1, "`false`"},
	{"a: on\n", DIAG_E0120, 1, 4, 2, "`true`"},
	{"a: OFF\n", DIAG_E0120, 1, 4, 3, "`false`"},
	{"a: True\n", DIAG_E0120, 1, 4, 4, "`true`"},
	{"a: FALSE\n", DIAG_E0120, 1, 4, 5, "`false`"},
	{"[oFf]\n", DIAG_E0120, 1, 2, 3, NULL},
	{"no: 1\n", DIAG_E0120, 1, 1, 2, "write \"no\" in quotes"},
	{"a: {y: 1}\n", DIAG_E0120, 1, 5, 1, NULL},
	/* Base 60. */
	{"a: 10:25\n", DIAG_E0121, 1, 4, 5, "write \"10:25\""},
	{"a: [25, 1:20:30]\n", DIAG_E0121, 1, 9, 7, NULL},
	{"10:25: a\n", DIAG_E0121, 1, 1, 5, NULL},
	{"a: -1:30.5\n", DIAG_E0121, 1, 4, 7, NULL},
	{"a: 1:2:3:4:5:6:7:8\n", DIAG_E0121, 1, 4, 15, NULL},
	/* What YAML has and a policy has not. */
	{"a: !!str x\n", DIAG_E0113, 1, 4, 5, NULL},
	{"a: !x [b]\n", DIAG_E0113, 1, 4, 2, NULL},
	{"a: !<x> {b: c}\n", DIAG_E0113, 1, 4, 4, NULL},
	{"!x a: b\n", DIAG_E0113, 1, 1, 2, NULL},
	{"a: !x!y z\n", DIAG_E0113, 1, 4, 4, NULL},
	{"a: &x b\n", DIAG_E0114, 1, 4, 2, NULL},
	{"a: &x\n  b: 1\n", DIAG_E0114, 1, 4, 2, NULL},
	{"a: [*x]\n", DIAG_E0114, 1, 5, 2, "\"*x\""},
	{"*x : b\n", DIAG_E0114, 1, 1, 2, NULL},
	{"<<: {a: 1}\n", DIAG_E0115, 1, 1, 2, NULL},
	{"%YAML 1.1\n---\na: 1\n", DIAG_E0116, 1, 1, 13, "%"},
	{"%YAML 1.1\na: 1\n", DIAG_E0116, 1, 1, 5, NULL},
	{"%TAG ! x\n---\na: 1\n", DIAG_E0116, 1, 1, 12, NULL},
	{"a: 1\n%FOO x\n", DIAG_E0116, 2, 1, 4, NULL},
	{"a: 1\n---\nb: 1\n", DIAG_E0117, 2, 1, 3, NULL},
	{"a: 1\n...\n", DIAG_E0117, 2, 1, 3, NULL},
	{"? [a]\n: b\n", DIAG_E0123, 1, 3, 3, NULL},
	{"{{a: 1}: b}\n", DIAG_E0123, 1, 2, 6, NULL},
	{"a: {{ name }}\n", DIAG_E0123, 1, 5, 8, "quotes"},
	{": b\n", DIAG_E0123, 1, 1, 1, NULL},
	{"~: b\n", DIAG_E0123, 1, 1, 1, "\"~\""},
	/* Repeated keys. */
	{"a: 1\nb: 2\na: 3\n", DIAG_E0122, 3, 1, 1, "merge"},
	{"a: 1\n\"a\": 3\n", DIAG_E0122, 2, 1, 3, NULL},
	{"x: {a: 1, b: {a: 2}, a: 3}\n", DIAG_E0122, 1, 22, 1, NULL},
	/* IPv6 addresses without quotes. */
	{"[::1]\n", DIAG_E0112, 1, 2, 3, "write \"::1\""},
	{"a: [131.111.0.0/16, 2001:db8::, x]\n", DIAG_E0112, 1, 21, 10, "\"2001:db8::\""},
	{"a: fe80::\n", DIAG_E0112, 1, 4, 6, "\"fe80::\""},
	{"a:\n  - 2001:db8::\n  - b\n", DIAG_E0112, 2, 5, 10, "\"2001:db8::\""},
	{"{listen: ::1}\n", DIAG_E0112, 1, 10, 3, "\"::1\""},
	{"a: [::]\n", DIAG_E0112, 1, 5, 2, "\"::\""},
	/* Quotes and brackets. */
	{"a: \"x\nb: c\n", DIAG_E0111, 1, 4, 1, "close"},
	{"a: 'x\n", DIAG_E0111, 1, 4, 1, "close"},
	{"a: [1, 2\nb: c\n", DIAG_E0111, 1, 4, 1, "`]`"},
	{"a: {b: 1\nc: 2\n", DIAG_E0111, 1, 4, 1, "`}`"},
	{"a: [1,\n", DIAG_E0111, 1, 4, 1, NULL},
	{"a: [{b: [1,", DIAG_E0111, 1, 9, 1, NULL},
	{"a: ]\n", DIAG_E0109, 1, 4, 1, NULL},
	{"a: [1}}\n", DIAG_E0109, 1, 6, 1, NULL},
	{"a: [1,,2]\n", DIAG_E0109, 1, 7, 1, "comma"},
	{"a: [x: 1 y: 2]\n", DIAG_E0109, 1, 11, 1, "quotes"},
	{"a: ['x' 'y']\n", DIAG_E0109, 1, 9, 3, NULL},
	/* Words that need quotes. */
	{"a: [@b.c]\n", DIAG_E0109, 1, 5, 4, "write \"@b.c\""},
	{"a: *@x.y\n", DIAG_E0109, 1, 4, 5, "write \"*@x.y\""},
	{"a: *\n", DIAG_E0109, 1, 4, 1, "write \"*\""},
	{"a: `x`\n", DIAG_E0109, 1, 4, 3, NULL},
	{"a: %x\n", DIAG_E0109, 1, 4, 2, "write \"%x\""},
	{"a: > 5 MB\n", DIAG_E0109, 1, 6, 1, "quotes"},
	{"a: \"\\q\"\n", DIAG_E0109, 1, 5, 2, "backslash"},
	{"a: 'x'y\n", DIAG_E0109, 1, 7, 1, "quotes"},
	/* Colons. */
	{"a: 1\nb:2\n", DIAG_E0109, 2, 2, 1, "`key: value`"},
	{"a: 1\nb\nc: 3\n", DIAG_E0109, 2, 1, 1, "`key: value`"},
	{"a: b: c\n", DIAG_E0109, 1, 5, 1, "quotes"},
	{"relays\n  ppsw: 1\n", DIAG_E0109, 1, 1, 6, "`key:`"},
	{"p:\n  relays\n    ppsw: 1\n", DIAG_E0109, 2, 3, 6, "`key:`"},
	/* Indentation. */
	{"a:\n\tb: 1\n", DIAG_E0110, 2, 1, 1, "blanks"},
	{"a:\n  b: 1\n\tc: 1\n", DIAG_E0110, 3, 1, 1, "blanks"},
	{"a:\n   b: 1\n  c: 2\n", DIAG_E0109, 3, 3, 2, "same column"},
	{"a: 1\n b: 2\n", DIAG_E0109, 2, 2, 1, "align"},
	{"- a\nb: 1\n", DIAG_E0109, 2, 1, 2, "`- `"},
	{"a: - b\n", DIAG_E0109, 1, 4, 1, "[a, b]"},
	/* Bytes. */
	{"a: \xc3\xbc \xff\xfe x\n", DIAG_E0102, 1, 6, 2, "UTF-8"},
	{"a: \xed\xa0\x80\n", DIAG_E0102, 1, 4, 3, NULL},
	{"a: \xc0\xaf\n", DIAG_E0102, 1, 4, 2, NULL},
	{"\xff\xfe" "a", DIAG_E0102, 1, 1, 2, "UTF-16"},
	/* the first such byte is told alone: a binary file has thousands */
	{"a: \xff b\nc: \xff \x01\n", DIAG_E0102, 1, 4, 1, "UTF-8"},
	{"a: \x07\n", DIAG_E0103, 1, 4, 1, NULL},
	{"# \x1b[2J\n", DIAG_E0103, 1, 3, 1, NULL},
	{"a: \x7f\n", DIAG_E0103, 1, 4, 1, NULL},
	{"a: \xc2\x9f\n", DIAG_E0103, 1, 4, 2, NULL},
	{"a: \xef\xbf\xbe\n", DIAG_E0103, 1, 4, 3, NULL},
	{"a: \xef\xb7\x90\n", DIAG_E0103, 1, 4, 3, NULL},
	{"a: 1\rb: 2\n", DIAG_E0105, 1, 5, 1, NULL},
	{"# a\r", DIAG_E0105, 1, 4, 1, NULL},
	{"# comment\xe2\x80\xa8" "allow: any\n", DIAG_E0105, 1, 10, 3, NULL},
	{"# comment\xe2\x80\xa9" "allow: any\n", DIAG_E0105, 1, 10, 3, NULL},
	{"# comment\xc2\x85" "allow: any\n", DIAG_E0105, 1, 10, 2, NULL},
	{"\xef\xbb\xbf" "a: 1\n", DIAG_E0106, 1, 1, 3, "without"},
	{"a: \"\\u202e\"\n", DIAG_E0104, 1, 4, 8, NULL},
	{"a: \"\\0\"\n", DIAG_E0103, 1, 4, 4, NULL},
	{"a: \"\\r\"\n", DIAG_E0103, 1, 4, 4, NULL},
	{"a: \"\\N\"\n", DIAG_E0105, 1, 4, 4, NULL},
	{"\"a\\u200b\": 1\n", DIAG_E0104, 1, 1, 9, NULL},
};

static void
mistakes_have_their_code_and_place(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
		const struct mistake *m = &mistakes[i];
		struct reading r = read_text(m->text);
		const struct diag *g = r.d->n ? &r.d->v[0] : NULL;
		struct text_place p = text_place(r.t, g ? g->at : TEXT_NO_SPAN);

		if (!g || r.d->n != 1 || g->code != m->code || p.line != m->line ||
		    p.col != m->col || g->at.len != m->len || (m->hint &&
		    !(g->hint && strstr(g->hint, m->hint)))) {
			print_message("`%s`: wanted %s at %u:%u+%u `%s`\n", m->text,
			    diag_row(m->code)->code, m->line, m->col, m->len,
			    m->hint ? m->hint : "");
			for (size_t k = 0; k < r.d->n; k++) {
				g = &r.d->v[k];
				p = text_place(r.t, g->at);
				print_message("    %s at %u:%u+%u %s (%s)\n",
				    diag_row(g->code)->code, p.line, p.col,
				    g->at.len, g->message, g->hint ? g->hint : "");
			}
			wrong++;
		}
		done(&r);
	}
	assert_int_equal(wrong, 0);
}

/* Each of the characters that gates.md names, in a comment and in a value,
 * behind others of several bytes. */
static void
unseen_characters_are_refused_with_their_place(void **state)
{
	static const struct { const char *s; enum diag_code code; } row[] = {
		{"\xd8\x9c", DIAG_E0104}, {"\xe2\x80\x8e", DIAG_E0104},
		{"\xe2\x80\x8f", DIAG_E0104}, {"\xe2\x80\xaa", DIAG_E0104},
		{"\xe2\x80\xab", DIAG_E0104}, {"\xe2\x80\xac", DIAG_E0104},
		{"\xe2\x80\xad", DIAG_E0104}, {"\xe2\x80\xae", DIAG_E0104},
		{"\xe2\x81\xa6", DIAG_E0104}, {"\xe2\x81\xa7", DIAG_E0104},
		{"\xe2\x81\xa8", DIAG_E0104}, {"\xe2\x81\xa9", DIAG_E0104},
		{"\xe2\x80\x8b", DIAG_E0104}, {"\xe2\x80\x8c", DIAG_E0104},
		{"\xe2\x80\x8d", DIAG_E0104}, {"\xe2\x81\xa0", DIAG_E0104},
		{"\xef\xbb\xbf", DIAG_E0104}, {"\xc2\xad", DIAG_E0104},
		{"\xf3\xa0\x81\x81", DIAG_E0104}, {"\xe2\x80\xa8", DIAG_E0105},
		{"\xe2\x80\xa9", DIAG_E0105}, {"\xc2\x85", DIAG_E0105},
		{"\x01", DIAG_E0103}, {"\x08", DIAG_E0103}, {"\x0b", DIAG_E0103},
		{"\x0c", DIAG_E0103}, {"\x1f", DIAG_E0103}, {"\xc2\x80", DIAG_E0103},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		for (int where = 0; where < 3; where++) {
			static const char *const form[] = {
				"\xc3\xbc: \xe2\x82\xac%sx\nb: 1\n",
				"\xc3\xbc: \xe2\x82\xac # %sx\nb: 1\n",
				"\xc3\xbc: \"\xe2\x82\xac%sx\"\nb: 1\n",
			};
			static const uint32_t col[] = {5, 8, 6};
			char s[64];
			struct reading r;
			struct text_place p;

			snprintf(s, sizeof s, form[where], row[i].s);
			r = read_text(s);
			assert_int_equal(r.d->n, 1);
			assert_int_equal(r.d->v[0].code, row[i].code);
			assert_int_equal(r.d->v[0].at.len, strlen(row[i].s));
			p = text_place(r.t, r.d->v[0].at);
			assert_int_equal(p.line, 1);
			assert_int_equal(p.col, col[where]);
			assert_null(r.root);
			done(&r);
		}
	}
}

static void
nul_is_refused_with_its_place(void **state)
{
	struct reading r = read_bytes("ab: 1\nc\0: 2\n", 12);

	(void)state;
	assert_int_equal(r.d->n, 1);
	assert_int_equal(r.d->v[0].code, DIAG_E0103);
	assert_int_equal(r.d->v[0].at.off, 7);
	assert_null(r.root);
	done(&r);
	/* UTF-16 is one mistake, not one for each of its NULs. */
	r = read_bytes("a\0:\0 \0" "1\0", 8);
	assert_int_equal(r.d->n, 1);
	assert_int_equal(r.d->v[0].code, DIAG_E0102);
	done(&r);
}

static void
all_mistakes_at_once(void **state)
{
	static const char s[] =
	    "a: yes\nb:\nc: 10:25\na: 1\nd: !x y\ne: &z [*z]\nf: [~, no]\n<<: 1\n";
	static const char *const want[] = {
		"E0120", "E0119", "E0121", "E0122", "E0113", "E0114", "E0114",
		"E0119", "E0120", "E0115",
	};
	struct reading r = read_text(s);

	(void)state;
	assert_int_equal(r.d->n, sizeof want / sizeof *want);
	for (size_t i = 0; i < r.d->n; i++)
		assert_string_equal(diag_row(r.d->v[i].code)->code, want[i]);
	/* A clash shows both places. */
	assert_int_equal(text_place(r.t, r.d->v[3].also).line, 1);
	/* The tree is there, the second `a` is not, and neither is `<<`. */
	assert_non_null(r.root);
	assert_int_equal(r.root->npair, 6);
	assert_true(r.root->bad);
	assert_true(doc_find(r.root, "a")->value->bad);
	assert_true(doc_find(r.root, "b")->value->bad);
	assert_true(doc_find(r.root, "e")->value->bad);
	assert_false(doc_find(r.root, "f")->value->bad);
	assert_null(doc_find(r.root, "<<"));
	done(&r);
}

/* What is read before a syntax error is there; what is missing behind it means
 * nothing, and `bad` says so on every level that was open. */
static void
a_tree_that_breaks_off(void **state)
{
	struct reading r = read_text("a: 1\nb:\n  c: [x, z]\n  d:\n    e: 1\n    f: g: h\n");
	const struct doc_node *b, *d;

	(void)state;
	assert_int_equal(r.d->n, 1);
	assert_non_null(r.root);
	assert_true(r.root->bad);
	assert_string_equal(doc_find(r.root, "a")->value->s, "1");
	b = doc_find(r.root, "b")->value;
	assert_true(b->kind == DOC_MAP && b->bad);
	assert_true(!doc_find(b, "c")->value->bad);
	assert_int_equal(doc_find(b, "c")->value->nitem, 2);
	d = doc_find(b, "d")->value;
	assert_true(d->kind == DOC_MAP && d->bad);
	assert_string_equal(doc_find(d, "e")->value->s, "1");
	done(&r);
}

/* The bytes of a span. */
static void
assert_span(const char *s, const struct doc_node *n, const char *want)
{
	assert_int_equal(n->at.file, 1);
	assert_int_equal(n->at.len, strlen(want));
	assert_memory_equal(s + n->at.off, want, n->at.len);
}

static void
nodes_carry_their_places(void **state)
{
	static const char s[] =
	    "\xc3\xbc: 'it''s' # c\n"
	    "\"b\" : [ x, {z: \"\xe2\x82\xac\"} ]   # c\n"
	    "list:\n"
	    "  - one\n"
	    "  - two\n"
	    "\n"
	    "# c\n"
	    "text: |\n"
	    "  a\n"
	    "  b\n"
	    "\n"
	    "last: plain\n"
	    "  goes on # c\n";
	struct reading r = read_text(s);
	const struct doc_node *n;

	(void)state;
	assert_int_equal(r.d->n, 0);
	assert_int_equal(r.root->npair, 5);
	assert_span(s, r.root->pair[0].key, "\xc3\xbc");
	assert_span(s, r.root->pair[0].value, "'it''s'");
	assert_string_equal(r.root->pair[0].value->s, "it's");
	assert_true(r.root->pair[0].value->quoted && !r.root->pair[0].key->quoted);
	assert_span(s, r.root->pair[1].key, "\"b\"");
	n = r.root->pair[1].value;
	assert_span(s, n, "[ x, {z: \"\xe2\x82\xac\"} ]");
	assert_span(s, n->item[0], "x");
	assert_span(s, n->item[1], "{z: \"\xe2\x82\xac\"}");
	assert_span(s, n->item[1]->pair[0].value, "\"\xe2\x82\xac\"");
	assert_span(s, r.root->pair[2].value, "- one\n  - two");
	assert_span(s, r.root->pair[3].value, "|\n  a\n  b");
	assert_string_equal(r.root->pair[3].value->s, "a\nb\n");
	assert_true(r.root->pair[3].value->quoted);
	assert_span(s, r.root->pair[4].value, "plain\n  goes on");
	assert_string_equal(r.root->pair[4].value->s, "plain goes on");
	assert_int_equal(r.root->at.off, 0);
	done(&r);
}

/* Words that are nobody's boolean, null or number in base 60. */
static void
words_that_are_fine(void **state)
{
	static const char *const words[] = {
		"true", "false", "25", "010", "any", "nobody", "offline", "yes.",
		"2026-11-21", "1.2", "5 MB", "10 min", "::1", "2001:db8::1",
		"fe80::1/64", "1:2:3:4:5:6:7:80", "10:65", "smtp:25", "nulls",
		"a:b", "10.0.0.0/8", "131.111.0.0/16", "\"yes\"", "'null'",
		"\"10:25\"", "\"\"", "-1", "+5", ".5", "<<", "=",
	};

	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		char s[64];
		struct reading r;

		snprintf(s, sizeof s, "a: %s\n", words[i]);
		r = read_text(s);
		if (r.d->n)
			fail_msg("`%s`: %s", words[i], r.d->v[0].message);
		assert_false(r.root->bad || r.root->pair[0].value->bad);
		assert_span(s, r.root->pair[0].value, words[i]);
		done(&r);
	}
}

static void
line_ends_and_the_first_marker(void **state)
{
	struct reading r = read_text("# c\r\n---\r\na: 1\r\nb:\r\n  - \xc3\xbc\r\n  - 2\r\n");

	(void)state;
	assert_int_equal(r.d->n, 0);
	assert_string_equal(doc_find(r.root, "a")->value->s, "1");
	assert_int_equal(text_place(r.t, doc_find(r.root, "b")->value->item[1]->at).line, 6);
	done(&r);
	r = read_text("a: 1");
	assert_int_equal(r.d->n, 0);
	assert_int_equal(r.root->npair, 1);
	done(&r);
}

/* A text of `head`, n times `unit`, and `tail`. */
static char *
many(const char *head, const char *unit, size_t n, const char *tail)
{
	size_t k = strlen(unit);
	char *s = malloc(strlen(head) + n * k + strlen(tail) + 1), *p = s;

	assert_non_null(s);
	p = stpcpy(p, head);
	for (size_t i = 0; i < n; i++)
		p = stpcpy(p, unit);
	stpcpy(p, tail);
	return s;
}

/* libyaml 0.2.5 takes half a minute for 100 KB of brackets; the number of
 * events, not the time, shows that it is never asked to. */
static void
deep_nesting_ends_early(void **state)
{
	static const struct { const char *unit; uint32_t line, col; } row[] = {
		{"[", 1, 33}, {"[\n", 33, 1}, {"{a: ", 1, 129}, {"- ", 1, 65},
		{"[{a: ", 1, 81},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		char *s = many("", row[i].unit, 100000 / strlen(row[i].unit), "");
		struct reading r = read_text(s);
		struct text_place p;

		assert_int_equal(r.d->n, 1);
		assert_int_equal(r.d->v[0].code, DIAG_E0107);
		p = text_place(r.t, r.d->v[0].at);
		assert_int_equal(p.line, row[i].line);
		assert_int_equal(p.col, row[i].col);
		assert_true(r.events <= 3 + 2 * (DOC_DEPTH + 1));
		assert_true(r.root->bad);
		done(&r);
		free(s);
	}
}

static void
depth_is_exactly_the_limit(void **state)
{
	char s[200];
	struct reading r;

	(void)state;
	for (int deep = DOC_DEPTH; deep <= DOC_DEPTH + 1; deep++) {
		memset(s, '[', (size_t)deep);
		memset(s + deep, ']', (size_t)deep);
		s[2 * deep] = 0;
		r = read_text(s);
		assert_int_equal(r.d->n, deep > DOC_DEPTH);
		done(&r);
	}
}

static void
sizes_are_exactly_the_limits(void **state)
{
	static const struct { size_t n; bool key, ok; } row[] = {
		{DOC_SCALAR_MOST, false, true}, {DOC_SCALAR_MOST + 1, false, false},
		{256, true, true}, {257, true, false},
	};
	struct diags *d;
	struct arena *a = arena_new();
	struct text_set *t = text_set_new(a);
	char *s;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct reading r;

		s = many(row[i].key ? "" : "a: ", "x", row[i].n, row[i].key ? ": 1\n" : "\n");
		r = read_text(s);
		assert_int_equal(r.d->n, !row[i].ok);
		if (!row[i].ok) {
			assert_int_equal(r.d->v[0].code, DIAG_E0108);
			assert_int_equal(r.d->v[0].at.len, row[i].n);
		}
		done(&r);
		free(s);
	}
	for (size_t over = 0; over < 2; over++) {
		size_t events;

		s = many("a: 1\n", "#", DOC_MOST - 5 + over, "");
		text_add(t, "big", s, DOC_MOST + over);
		d = diags_new(a);
		assert_true(!doc_parse(a, t, (uint32_t)over, d) == !!over);
		assert_int_equal(d->n, over);
		if (over) {
			/* The limit is named. */
			assert_int_equal(d->v[0].code, DIAG_E0101);
			assert_non_null(strstr(d->v[0].message, "4194304"));
			assert_non_null(doc_parse_most(a, t, 1, DOC_MOST + 1,
			    &events, diags_new(a)));
			assert_int_equal(events, 8);
		}
		free(s);
	}
	arena_free(a);
}

/* Past the limit of diagnostics nothing more would be shown, so nothing more
 * is read. */
static void
too_many_mistakes_end_the_reading(void **state)
{
	static const struct { const char *unit; size_t n; } row[] = {
		{"a: 1\n", 100000}, {"- yes\n", 100000}, {"\x01", 100000},
		{"- \xe2\x80\x8b\n", 50000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		char *s = many("", row[i].unit, row[i].n, "");
		struct reading r = read_text(s);

		assert_int_equal(r.d->n, DIAG_MOST);
		assert_true(r.d->dropped <= 2);
		assert_true(r.events < 3 * DIAG_MOST);
		assert_true(arena_used(r.a) < 1 << 20);
		done(&r);
		free(s);
	}
}

static void
many_keys_find_their_repeat(void **state)
{
	enum { N = 5000 };
	char *s = malloc(N * 16 + 100), *p = s;
	struct reading r;

	(void)state;
	for (int i = 0; i < N; i++)
		p += snprintf(p, 16, "k%d: %d\n", i, i);
	snprintf(p, 16, "\"k4321\": x\n");
	r = read_text(s);
	assert_int_equal(r.d->n, 1);
	assert_int_equal(r.d->v[0].code, DIAG_E0122);
	assert_int_equal(text_place(r.t, r.d->v[0].at).line, N + 1);
	assert_int_equal(text_place(r.t, r.d->v[0].also).line, 4322);
	assert_int_equal(r.root->npair, N);
	done(&r);
	free(s);
}

/* 100,000 prefixes are an ordinary policy: at most 20 MB for the tree. */
static void
long_lists_are_compact(void **state)
{
	char *s = many("ranges:\n", "  - 131.111.255.0/24\n", 100000, "");
	struct reading r = read_text(s);

	(void)state;
	assert_int_equal(r.d->n, 0);
	assert_int_equal(r.root->pair[0].value->nitem, 100000);
	assert_true(arena_used(r.a) < 20 << 20);
	assert_true(r.events < 100020);
	done(&r);
	free(s);
}

static void
canonical_dump(void **state)
{
	static const char *const row[][2] = {
		{"{a: 1, b: [x, 'y z'], c: {}, d: []}", "a: 1\nb:\n  - x\n  - y z\nc: {}\nd: []\n"},
		{"- [a, [b, c]]\n- {d: e, f: {g: h}}\n",
		    "- - a\n  - - b\n    - c\n- d: e\n  f:\n    g: h\n"},
		{"a: \"true\"\nb: true\nc: 'yes'\nd: \"25\"\ne: 25\nf: \"text\"\n",
		    "a: \"true\"\nb: true\nc: \"yes\"\nd: \"25\"\ne: 25\nf: text\n"},
		{"a: \"x: y\"\nb: 'x #y'\nc: \"@b.c\"\nd: \"::1\"\ne: ' x'\nf: \"\"\n",
		    "a: \"x: y\"\nb: \"x #y\"\nc: \"@b.c\"\nd: \"::1\"\ne: \" x\"\nf: \"\"\n"},
		{"a: |\n  x\n  \"y\"\\\nb: x\n  y\n", "a: \"x\\n\\\"y\\\"\\\\\\n\"\nb: x y\n"},
		{"\"a b\": \xc3\xbc\n\"c: d\": e\n", "a b: \xc3\xbc\n\"c: d\": e\n"},
		{"- 10.0.0.0/8\n- 2001:db8::/32\n- \"10:25\"\n- a:b\n- ~x\n",
		    "- 10.0.0.0/8\n- 2001:db8::/32\n- \"10:25\"\n- a:b\n- \"~x\"\n"},
		{"just text", "just text\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct reading r = read_text(row[i][0]), again;
		struct buf b = BUF_INIT(10000);

		assert_int_equal(r.d->n, 0);
		doc_dump(&b, r.root);
		assert_string_equal(b.p, row[i][1]);
		again = read_text(b.p);
		assert_int_equal(again.d->n, 0);
		assert_true(doc_equal(r.root, again.root));
		done(&again);
		done(&r);
		buf_free(&b);
	}
}

static void
equality_sees_every_difference(void **state)
{
	static const char *const different[] = {
		"a: 1", "a: 2", "b: 1", "[a, 1]", "[a]", "[]", "{}", "a", "\"1\"", "1",
		"{a: 1, b: 2}", "{b: 2, a: 1}", "[a, b]", "[b, a]", "\"yes\"", "''",
		"\"true\"", "true", "a: [1]", "a: {1: 1}", "[[a]]",
	};
	enum { N = sizeof different / sizeof *different };

	(void)state;
	for (size_t i = 0; i < N; i++) {
		for (size_t j = 0; j < N; j++) {
			struct reading x = read_text(different[i]);
			struct reading y = read_text(different[j]);

			assert_true(x.root && y.root);
			assert_true(doc_equal(x.root, y.root) == (i == j));
			done(&x);
			done(&y);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(mistakes_have_their_code_and_place),
		cmocka_unit_test(unseen_characters_are_refused_with_their_place),
		cmocka_unit_test(nul_is_refused_with_its_place),
		cmocka_unit_test(all_mistakes_at_once),
		cmocka_unit_test(a_tree_that_breaks_off),
		cmocka_unit_test(nodes_carry_their_places),
		cmocka_unit_test(words_that_are_fine),
		cmocka_unit_test(line_ends_and_the_first_marker),
		cmocka_unit_test(deep_nesting_ends_early),
		cmocka_unit_test(depth_is_exactly_the_limit),
		cmocka_unit_test(sizes_are_exactly_the_limits),
		cmocka_unit_test(too_many_mistakes_end_the_reading),
		cmocka_unit_test(many_keys_find_their_repeat),
		cmocka_unit_test(long_lists_are_compact),
		cmocka_unit_test(canonical_dump),
		cmocka_unit_test(equality_sees_every_difference),
	};

	return cmocka_run_group_tests_name("doc", t, NULL, NULL);
}
