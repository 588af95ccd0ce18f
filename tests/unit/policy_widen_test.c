/*
 * It never silently widens: every key of the language, mistyped in five ways,
 * said twice, given a value of another kind, and left empty, is an error at
 * the right line and column, and nearly always with the right proposal.
 *
 * tests/malformed/whole.yaml has every key; that it does is tested first. It is
 * written anew with one thing broken each time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "doc/doc.h"
#include "policy/raw.h"
#include "policy_world.h"

static const char *const dir = "tests/malformed";

/* ---- breaking one pair ------------------------------------------------------- */

enum how {
	TYPO,
	TYPO_LAST = TYPO + 4,
	REPEAT,
	WRONG,
	EMPTY_TEXT,
	EMPTY_LIST,
	EMPTY_MAP,
	EMPTY_NOTHING,
	NHOW
};

struct broken {
	const struct doc_pair *pair;
	const struct shape_type *rec;
	const struct shape_key *row;
	enum how how;
	char key[80];
	size_t at, end;            /* the bytes of what is broken, in the text written */
};

struct writer {
	struct buf out;
	struct broken *b;
};

static bool
plain(const struct doc_node *n)
{
	if (n->quoted || !n->n)
		return false;
	for (size_t i = 0; i < n->n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@- ",
		    n->s[i]))
			return false;
	return true;
}

static void
write_node(struct writer *w, const struct doc_node *n);

static void
write_wrong(struct writer *w, const struct shape_type *t)
{
	size_t off;

	buf_str(&w->out, !shape_pick(t, DOC_MAP, &off) ? "{zz: zz}" :
	    !shape_pick(t, DOC_SEQ, &off) ? "[zz]" :
	    !shape_pick(t, DOC_SCALAR, &off) ? "zz" : "[[zz]]");
}

static void
write_broken(struct writer *w, const struct doc_pair *p)
{
	struct broken *b = w->b;

	switch (b->how) {
	case REPEAT:
		buf_printf(&w->out, "%s: ", p->key->s);
		write_node(w, p->value);
		buf_str(&w->out, ",\n");
		b->at = w->out.n;
		buf_str(&w->out, p->key->s);
		b->end = w->out.n;
		buf_str(&w->out, ": ");
		write_node(w, p->value);
		return;
	case WRONG:
	case EMPTY_TEXT:
	case EMPTY_LIST:
	case EMPTY_MAP:
	case EMPTY_NOTHING:
		b->at = w->out.n;
		buf_printf(&w->out, "%s: ", p->key->s);
		if (b->how != EMPTY_NOTHING)
			b->at = w->out.n;
		if (b->how == WRONG)
			write_wrong(w, b->row->type);
		else
			buf_str(&w->out, b->how == EMPTY_TEXT ? "\"\"" : b->how == EMPTY_LIST ? "[]" :
			    b->how == EMPTY_MAP ? "{}" : "");
		b->end = w->out.n;
		return;
	case TYPO:
	case TYPO_LAST:
	case NHOW:
		break;
	}
	b->at = w->out.n;
	buf_str(&w->out, b->key);
	b->end = w->out.n;
	buf_str(&w->out, ": ");
	write_node(w, p->value);
}

static void
write_node(struct writer *w, const struct doc_node *n)
{
	switch (n->kind) {
	case DOC_SCALAR:
		if (plain(n))
			buf_add(&w->out, n->s, n->n);
		else
			buf_json(&w->out, n->s);
		return;
	case DOC_SEQ:
		buf_str(&w->out, "[\n");
		for (size_t i = 0; i < n->nitem; i++) {
			write_node(w, n->item[i]);
			buf_str(&w->out, ",\n");
		}
		buf_str(&w->out, "]");
		return;
	case DOC_MAP:
		buf_str(&w->out, "{\n");
		for (size_t i = 0; i < n->npair; i++) {
			if (w->b && w->b->pair == &n->pair[i]) {
				write_broken(w, &n->pair[i]);
			} else {
				buf_printf(&w->out, "%s: ", n->pair[i].key->s);
				write_node(w, n->pair[i].value);
			}
			buf_str(&w->out, ",\n");
		}
		buf_str(&w->out, "}");
		return;
	}
}

/* ---- typos ----------------------------------------------------------------- */

static void
typo(struct broken *b)
{
	const char *s = b->pair->key->s;
	size_t n = strlen(s), m = n / 2;
	char *k = b->key;

	assert_true(n + 2 < sizeof b->key);
	memcpy(k, s, n + 1);
	switch (b->how - TYPO) {
	case 0:                    /* a letter lost */
		memmove(k + m, k + m + 1, n - m);
		break;
	case 1:                    /* a letter doubled */
		memmove(k + m + 1, k + m, n - m + 1);
		break;
	case 2:                    /* two neighbours swapped */
		k[m - 1] = s[m];
		k[m] = s[m - 1];
		break;
	case 3:                    /* another letter */
		k[m] = s[m] == 'e' ? 'r' : 'e';
		break;
	default:                   /* the plural, or not */
		if (s[n - 1] == 's')
			k[n - 1] = 0;
		else
			memcpy(k + n, "s", 2);
	}
	if (!strcmp(k, s) || shape_key_find(b->rec, k, NULL)) {
		memcpy(k, s, n + 1);
		k[m] = 'x';
	}
}

/* ---- the run ----------------------------------------------------------------- */

struct run {
	struct doc_node *root;
	struct visit {
		const struct shape_type *rec;
		const struct shape_key *row;
		const struct doc_pair *pair;
	} *v;
	size_t n, cap;
	struct arena *a;
	unsigned broken, typos, proposed;
};

static void
walk(struct run *r, const struct shape_type *t, const struct doc_node *n)
{
	size_t off;

	t = shape_pick(t, n->kind, &off);
	assert_non_null(t);
	if (t->kind == SHAPE_LIST) {
		if (n->kind != DOC_SEQ)
			walk(r, t->item, n);
		else
			for (size_t i = 0; i < n->nitem; i++)
				walk(r, t->item, n->item[i]);
	} else if (t->kind == SHAPE_MAP) {
		for (size_t i = 0; i < n->npair; i++)
			walk(r, t->item, n->pair[i].value);
	} else if (t->kind == SHAPE_REC) {
		for (size_t i = 0; i < n->npair; i++) {
			const struct shape_key *k = shape_key_find(t, n->pair[i].key->s, NULL);
			bool seen = false;

			assert_non_null(k);
			for (size_t j = 0; j < r->n; j++)
				seen |= r->v[j].rec == t && r->v[j].row == k;
			if (!seen)
				ARENA_PUSH(r->a, r->v, r->n, r->cap) =
				    (struct visit){t, k, &n->pair[i]};
			walk(r, k->type, n->pair[i].value);
		}
	}
}

static int
setup(void **state)
{
	struct arena *a = arena_new();
	struct run *r = arena_of(a, struct run);
	struct text_set *t = text_set_new(a);
	struct diags *d = diags_new(a);
	size_t len;
	char *bytes = world_file_read(a, "tests/malformed/whole.yaml", &len);

	assert_non_null(bytes);
	r->a = a;
	r->root = doc_parse(a, t, text_add(t, "whole.yaml", bytes, len), d);
	assert_int_equal(d->errors, 0);
	walk(r, &policy_file_type, r->root);
	*state = r;
	return 0;
}

static int
teardown(void **state)
{
	arena_free(((struct run *)*state)->a);
	return 0;
}

struct cover {
	struct run *r;
	const struct shape_type *rec;
	unsigned missing;
};

static void
covered(void *arg, const struct shape_key *k, size_t off)
{
	struct cover *c = arg;

	(void)off;
	if (k->type->kind == SHAPE_NOT)
		return;
	for (size_t i = 0; i < c->r->n; i++)
		if (c->r->v[i].rec == c->rec && c->r->v[i].row == k)
			return;
	print_error("whole.yaml has no `%s` in %s\n", k->key, c->rec->wanted);
	c->missing++;
}

static void
whole_yaml_has_every_key(void **state)
{
	struct cover c = {.r = *state};

	for (size_t i = 0; i < c.r->n; i++) {
		bool seen = false;

		for (size_t j = 0; j < i; j++)
			seen |= c.r->v[j].rec == c.r->v[i].rec;
		if (seen)
			continue;
		c.rec = c.r->v[i].rec;
		shape_keys_each(c.rec, covered, &c);
	}
	assert_int_equal(c.missing, 0);
	assert_true(c.r->n > 250);
}

/* Loads the policy with one thing broken; tells whether an error stands in
 * the right place, and whether its hint proposes the key. */
static bool
load_broken(struct run *r, struct broken *b, bool *proposed)
{
	struct arena *a = arena_new();
	struct text_set *t = text_set_new(a);
	struct diags *d = diags_new(a);
	struct writer w = {.out = BUF_INIT(1 << 20), .b = b};
	struct test_world tw = {.dir = dir};
	struct policy_world pw = world_of(&tw);
	bool placed = false;

	*proposed = false;
	write_node(&w, r->root);
	buf_chr(&w.out, '\n');
	assert_int_equal(w.out.err, 0);
	if (policy_load(a, t, "whole.yaml", w.out.p, w.out.n, &pw, d))
		assert_int_equal(d->errors, 0);
	for (size_t i = 0; b && i < d->n; i++) {
		const struct diag *g = &d->v[i];

		if (g->severity != DIAG_ERROR || g->at.file || g->at.off < b->at ||
		    g->at.off > b->end || (b->how <= TYPO_LAST && g->at.off != b->at))
			continue;
		placed = true;
		if (b->how <= TYPO_LAST && g->hint &&
		    strstr(g->hint, arena_printf(a, "did you mean `%s`?", b->pair->key->s)))
			*proposed = true;
	}
	if (!b)
		placed = !d->errors;
	for (size_t i = 0; !placed && i < d->n; i++)
		print_error("  said: %u %s (%s)\n", d->v[i].at.off, d->v[i].message,
		    d->v[i].hint ? d->v[i].hint : "");
	buf_free(&w.out);
	arena_free(a);
	return placed;
}

static void
whole_yaml_written_anew_is_without_a_mistake(void **state)
{
	bool proposed;

	assert_true(load_broken(*state, NULL, &proposed));
}

static bool
is_allowed_empty(const struct shape_type *t, enum how how)
{
	size_t off;

	t = shape_pick(t, how == EMPTY_TEXT ? DOC_SCALAR : how == EMPTY_LIST ? DOC_SEQ : DOC_MAP,
	    &off);
	return t && t->empty;
}

static void
every_key_broken_is_an_error_in_its_place(void **state)
{
	static const char *const how_word[NHOW] = {
		"a letter lost", "a letter doubled", "letters swapped", "another letter",
		"plural", "said twice", "wrong kind", "empty text", "empty list",
		"empty mapping", "nothing",
	};
	struct run *r = *state;
	unsigned bad = 0;

	for (size_t i = 0; i < r->n; i++)
		for (enum how how = TYPO; how < NHOW; how++) {
			struct broken b = {
				.pair = r->v[i].pair, .rec = r->v[i].rec, .row = r->v[i].row, .how = how,
			};
			bool proposed;

			if (how <= TYPO_LAST)
				typo(&b);
			else if (how >= EMPTY_TEXT && how < EMPTY_NOTHING &&
			    is_allowed_empty(b.row->type, how))
				continue;
			r->broken++;
			if (!load_broken(r, &b, &proposed)) {
				print_error("`%s` of %s: %s: no error in its place\n", b.row->key,
				    b.rec->wanted, how_word[how]);
				bad++;
			}
			if (how <= TYPO_LAST) {
				r->typos++;
				r->proposed += proposed;
			}
		}
	print_message("%u texts broken, %u typos, %u proposed rightly\n", r->broken, r->typos,
	    r->proposed);
	assert_int_equal(bad, 0);
	assert_true(r->proposed * 10 >= r->typos * 9);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_yaml_has_every_key),
		cmocka_unit_test(whole_yaml_written_anew_is_without_a_mistake),
		cmocka_unit_test(every_key_broken_is_an_error_in_its_place),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
