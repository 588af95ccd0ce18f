/*
 * Malformed policies: each gives its error in its place, and no other.
 *
 * tests/malformed/cases.txt are written by hand; the rest are mutants of good
 * policies, made from a printed seed: each either is a policy or gives errors
 * that stand in a file, and none makes the reader fall over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/hash.h"
#include "policy_world.h"

/* ---- the cases ----------------------------------------------------------------- */

enum { FRAMES = 32, FILES = 8, CODES = 16 };

struct piece {
	char *p;
	size_t n;
};

struct wanted {
	enum diag_code code;
	char place;                /* '*' and '^': at the frame's own marks; else a mark */
	unsigned file;             /* 0: the main text, else 1 + its number in the case */
	size_t off;
};

struct mcase {
	char head[400];
	unsigned line;
	char frame[32];
	struct piece body;
	struct world_file file[FILES + 1];
	size_t nfile;
	struct wanted want[CODES];
	size_t nwant, nmark, nplaced;
};

struct book {
	struct arena *a;
	struct {
		char name[32];
		struct piece text;
	} frame[FRAMES];
	size_t nframe;
	unsigned ran, failed;
	bool code[DIAG_NCODE];
	unsigned ncode;
};

static void
piece_add(struct book *b, struct piece *p, const char *s, size_t n)
{
	p->p = arena_resize(b->a, p->p, p->n, p->n + n + 1, 1);
	memcpy(p->p + p->n, s, n);
	p->n += n;
}

static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A mark in a frame: for the codes that say so. */
static void
frame_mark(struct mcase *c, char place, size_t off)
{
	for (size_t k = 0; k < c->nwant; k++)
		if (c->want[k].place == place)
			c->want[k].off = off;
}

/* The text without its marks and escapes; each mark is the place of the next
 * code. */
static struct piece
unmark(struct book *b, struct mcase *c, unsigned file, struct piece in)
{
	struct piece out = {arena_alloc(b->a, in.n + 1), 0};

	for (size_t i = 0; i < in.n; i++) {
		if (in.n - i >= 2 && !memcmp(in.p + i, "\xc2\xab", 2)) {
			while (c->nplaced < c->nwant && c->want[c->nplaced].place)
				c->nplaced++;
			if (c->nplaced < c->nwant) {
				c->want[c->nplaced].file = file;
				c->want[c->nplaced].off = out.n;
			}
			c->nplaced++;
			c->nmark++;
			i++;
		} else if (in.n - i >= 3 && !memcmp(in.p + i, "\xe2\x80\xb9", 3)) {
			frame_mark(c, '*', out.n);
			i += 2;
		} else if (in.n - i >= 3 && !memcmp(in.p + i, "\xe2\x80\xba", 3)) {
			frame_mark(c, '^', out.n);
			i += 2;
		} else if (in.n - i >= 6 && !memcmp(in.p + i, "{{", 2) && hex(in.p[i + 2]) >= 0) {
			for (i += 2; i + 1 < in.n && in.p[i] != '}'; i += 2) {
				int hi = hex(in.p[i]), lo = hex(in.p[i + 1]);

				if (hi < 0 || lo < 0)
					fail_msg("a byte in braces is two digits");
				out.p[out.n++] = (char)((unsigned)hi << 4 | (unsigned)lo);
			}
			i++;
		} else {
			out.p[out.n++] = in.p[i];
		}
	}
	return out;
}

static struct piece
in_frame(struct book *b, const struct mcase *c)
{
	struct piece out = {NULL, 0};

	for (size_t i = 0; i < b->nframe; i++) {
		const struct piece *t = &b->frame[i].text;
		const char *hole;

		if (strcmp(b->frame[i].name, c->frame))
			continue;
		hole = strstr(t->p, "%\n");
		assert_non_null(hole);
		piece_add(b, &out, t->p, (size_t)(hole - t->p));
		piece_add(b, &out, c->body.p ? c->body.p : "", c->body.n);
		hole += 2;
		/* the hole's own end of line goes with an empty frame */
		piece_add(b, &out, "\n", b->frame[i].text.n > 2);
		piece_add(b, &out, hole, t->n - (size_t)(hole - t->p));
		return out;
	}
	fail_msg("line %u: no frame %s", c->line, c->frame);
	return out;
}

static void
case_run(struct book *b, struct mcase *c)
{
	struct arena *a = arena_new();
	struct text_set *t = text_set_new(a);
	struct diags *d = diags_new(a);
	struct test_world tw = {.file = c->file};
	struct policy_world pw = world_of(&tw);
	struct piece text = unmark(b, c, 0, in_frame(b, c));
	size_t errors = 0;
	bool bad = false;

	for (size_t i = 0; i < c->nfile; i++) {
		struct piece p = unmark(b, c, (unsigned)i + 1,
		    (struct piece){(char *)(uintptr_t)c->file[i].bytes, c->file[i].len});

		c->file[i].bytes = p.p;
		c->file[i].len = p.n;
	}
	for (size_t k = 0; k < c->nwant; k++)
		c->nmark += !!c->want[k].place;
	bad = c->nmark != c->nwant;
	if (policy_load(a, t, "main.yaml", text.p, text.n, &pw, d))
		bad = true;
	for (size_t k = 0; k < c->nwant; k++) {
		bool found = false;

		b->ncode += !b->code[c->want[k].code];
		b->code[c->want[k].code] = true;
		for (size_t i = 0; i < d->n; i++) {
			const char *name = d->v[i].at.file == TEXT_NOWHERE ? "" :
			    t->file[d->v[i].at.file]->name;

			if (d->v[i].code == c->want[k].code && d->v[i].at.off == c->want[k].off &&
			    !strcmp(name, c->want[k].file ? c->file[c->want[k].file - 1].name :
			    "main.yaml"))
				found = true;
		}
		bad |= !found;
	}
	for (size_t i = 0; i < d->n; i++)
		errors += d->v[i].severity == DIAG_ERROR;
	for (size_t i = 0; i < d->n; i++)
		if (!d->v[i].hint && strncmp(diag_row(d->v[i].code)->code, "E01", 3)) {
			print_error("no way out: %s\n", d->v[i].message);
			bad = true;
		}
	bad |= errors != c->nwant;
	b->ran++;
	if (bad) {
		b->failed++;
		print_error("cases.txt:%u: %s (%zu marks)\n", c->line, c->head, c->nmark);
		for (size_t k = 0; k < c->nwant; k++)
			print_error("  wants %s at %u:%zu\n", diag_row(c->want[k].code)->code,
			    c->want[k].file, c->want[k].off);
		for (size_t i = 0; i < d->n; i++)
			print_error("  got   %s at %u:%u %s\n", diag_row(d->v[i].code)->code,
			    d->v[i].at.file, d->v[i].at.off, d->v[i].message);
	}
	arena_free(a);
}

static void
case_head(struct mcase *c, const char *s, size_t n, unsigned line)
{
	size_t i = 3, k;

	*c = (struct mcase){.line = line};
	snprintf(c->head, sizeof c->head, "%.*s", (int)n, s);
	k = strcspn(c->head + i, " ");
	snprintf(c->frame, sizeof c->frame, "%.*s", (int)k, c->head + i);
	for (i += k + 1; c->head[i] == 'E' && hex(c->head[i + 1]) >= 0; i += 6) {
		char code[6], place = c->head[i + 5];

		snprintf(code, sizeof code, "%.5s", c->head + i);
		assert_true(c->nwant < CODES);
		c->want[c->nwant].code = diag_code_find(code);
		if (place == '*' || place == '^') {
			c->want[c->nwant].place = place;
			i++;
		}
		if (c->want[c->nwant++].code == DIAG_NCODE)
			fail_msg("line %u: no code %s", line, code);
	}
}

static void
written_by_hand_give_their_error_in_its_place(void **state)
{
	struct book b = {.a = arena_new()};
	size_t len;
	char *s = world_file_read(b.a, "tests/malformed/cases.txt", &len);
	struct mcase c = {.line = 0};
	struct piece *to = NULL;
	unsigned line = 0;

	(void)state;
	assert_non_null(s);
	for (char *end = s + len; s < end; ) {
		char *nl = memchr(s, '\n', (size_t)(end - s));
		size_t n = nl ? (size_t)(nl - s) : (size_t)(end - s);

		line++;
		if (!strncmp(s, ":: ", 3)) {
			assert_true(b.nframe < FRAMES);
			snprintf(b.frame[b.nframe].name, sizeof b.frame[b.nframe].name, "%.*s",
			    (int)n - 3, s + 3);
			to = &b.frame[b.nframe++].text;
		} else if (!strncmp(s, "== ", 3)) {
			if (c.line)
				case_run(&b, &c);
			case_head(&c, s, n, line);
			to = &c.body;
		} else if (!strncmp(s, "-- ", 3)) {
			assert_true(c.nfile < FILES);
			c.file[c.nfile].name = arena_strn(b.a, s + 3, n - 3);
			c.file[c.nfile++].bytes = "";
			to = NULL;
		} else if (n > 6 && !strncmp(s, "# ----", 6)) {
			to = NULL;
		} else if (to && to != &c.body) {
			piece_add(&b, to, s, n + 1);
		} else if (to && n) {
			if (to->n)
				piece_add(&b, to, "\n", 1);
			piece_add(&b, to, s, n);
		} else if (c.nfile && n) {
			struct world_file *f = &c.file[c.nfile - 1];
			struct piece p = {(char *)(uintptr_t)f->bytes, f->len};

			piece_add(&b, &p, s, n + 1);
			f->bytes = p.p;
			f->len = p.n;
		}
		s += n + 1;
	}
	case_run(&b, &c);
	print_message("%u policies by hand, %u codes\n", b.ran, b.ncode);
	assert_int_equal(b.failed, 0);
	assert_true(b.ran >= 300);
	assert_true(b.ncode >= 60);
	for (enum diag_code k = 0; k < DIAG_NCODE; k++)
		if (!strncmp(diag_row(k)->code, "E02", 3) || !strncmp(diag_row(k)->code, "E03", 3) ||
		    !strncmp(diag_row(k)->code, "E04", 3))
			/* an empty item is E0304 before; the others are too large for here */
			if (!b.code[k] && k != DIAG_E0201 && k != DIAG_E0417 && k != DIAG_E0418)
				fail_msg("no case gives %s", diag_row(k)->code);
	arena_free(b.a);
}

/* ---- mutants ---------------------------------------------------------------------- */

struct dice {
	uint64_t s;
};

static uint32_t
roll(struct dice *d, size_t n)
{
	d->s = hash_u64(0x6d61696c, ++d->s);
	return n ? (uint32_t)(d->s % n) : 0;
}

static const char *const base[] = {
	"tests/malformed/whole.yaml",
	"policies/cambridge-border.yaml",
	"policies/cambridge-institution.yaml",
	"policies/cambridge-host.yaml",
	"policies/columbia-v1.yaml",
	"policies/columbia-v3.yaml",
	"policies/cornell-appsmtp.yaml",
};

enum { NBASE = sizeof base / sizeof *base, MUTANTS = 1700, TRIES = 4000 };

/* The line that holds offset i: [*lo, *hi), with its end. */
static void
line_of(const char *s, size_t n, size_t i, size_t *lo, size_t *hi)
{
	for (*lo = i; *lo && s[*lo - 1] != '\n'; --*lo)
		;
	for (*hi = i; *hi < n && s[*hi] != '\n'; ++*hi)
		;
	if (*hi < n)
		++*hi;
}

static size_t
mutate(struct dice *d, const char *in, size_t n, char *out)
{
	static const char *const token[] = {
		"{", "}", "[", "]", ": ", "- ", "\"", "'", "#", "&a ", "*a", "!!str ", "|", ">", "\t",
		"any", "::/0", "0.0.0.0/0", "yes", "null", "~", "<<", "---\n", "\n", "true", "-1",
		"99999999999999999999", "\xc2\x85", "\xe2\x80\xae", "\xff", ",", "%", "@", "2027-02-30",
	};
	size_t i = roll(d, n), lo, hi, k;

	line_of(in, n, i, &lo, &hi);
	switch (roll(d, 10)) {
	case 0:                    /* a line lost */
		memcpy(out, in, lo);
		memcpy(out + lo, in + hi, n - hi);
		return n - (hi - lo);
	case 1:                    /* a line twice */
		memcpy(out, in, hi);
		memcpy(out + hi, in + lo, n - lo);
		return n + (hi - lo);
	case 2:                    /* bytes lost */
		k = 1 + roll(d, 8);
		if (k > n - i)
			k = n - i;
		memcpy(out, in, i);
		memcpy(out + i, in + i + k, n - i - k);
		return n - k;
	case 3:                    /* another byte */
		memcpy(out, in, n);
		out[i] = (char)roll(d, 256);
		return n;
	case 4:                    /* two neighbours swapped */
		memcpy(out, in, n);
		if (i + 1 < n) {
			out[i] = in[i + 1];
			out[i + 1] = in[i];
		}
		return n;
	case 5:                    /* indented otherwise */
		k = 1 + roll(d, 3);
		memcpy(out, in, lo);
		memset(out + lo, ' ', k);
		memcpy(out + lo + k, in + lo, n - lo);
		return n + k;
	case 6:                    /* cut off */
		memcpy(out, in, i);
		return i;
	case 7:                    /* a digit changed */
		memcpy(out, in, n);
		for (k = i; k < n && (out[k] < '0' || out[k] > '9'); k++)
			;
		if (k < n)
			out[k] = (char)('0' + roll(d, 10));
		return n;
	default: {                 /* a token in between */
		const char *t = token[roll(d, sizeof token / sizeof *token)];

		k = strlen(t);
		memcpy(out, in, i);
		memcpy(out + i, t, k);
		memcpy(out + i + k, in + i, n - i);
		return n + k;
	}
	}
}

static void
check_places(const struct diags *d, struct text_set *t)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct diag *g = &d->v[i];

		assert_true(g->at.file < t->n);
		assert_true(g->at.off <= t->file[g->at.file]->len);
		assert_true(g->at.len <= t->file[g->at.file]->len - g->at.off);
		assert_true(text_place(t, g->at).line >= 1);
		if (g->also.file != TEXT_NOWHERE)
			assert_true(g->also.off + g->also.len <= t->file[g->also.file]->len);
		assert_true(g->message && *g->message);
	}
}

static void
mutants_are_policies_or_errors_with_a_place(void **state)
{
	struct dice dice = {.s = 20261121};
	unsigned wrong = 0, right = 0;

	(void)state;
	for (unsigned i = 0; i < TRIES && wrong < MUTANTS; i++) {
		const char *path = base[i % NBASE];
		struct arena *a = arena_new();
		struct text_set *t = text_set_new(a);
		struct diags *d = diags_new(a);
		struct test_world tw = {.dir = i % NBASE ? "policies" : "tests/malformed"};
		struct policy_world pw = world_of(&tw);
		size_t n;
		char *in = world_file_read(a, path, &n), *out, *last;

		assert_non_null(in);
		out = arena_alloc(a, 3 * n + 64);
		n = mutate(&dice, in, n, out);
		/* what is read is as long as it says, not a byte more */
		last = malloc(n + 1);
		memcpy(last, out, n);
		last[n] = 0;
		if (policy_load(a, t, path, last, n, &pw, d)) {
			right++;
		} else {
			wrong++;
			assert_true(d->errors > 0);
		}
		check_places(d, t);
		free(last);
		arena_free(a);
	}
	print_message("%u mutants with errors, %u still policies\n", wrong, right);
	assert_true(wrong >= MUTANTS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_by_hand_give_their_error_in_its_place),
		cmocka_unit_test(mutants_are_policies_or_errors_with_a_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
