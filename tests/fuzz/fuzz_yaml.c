/*
 * Any bytes as a policy's text.
 *
 * Every place lies inside the text, in the tree and in the diagnostics; a
 * text gives a tree or a diagnostic; a tree without errors is written and read
 * back as the same tree; the work is linear; every form of printing ends.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "doc/doc.h"
#include "text/print.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A macro, so that a finding names its line. */
#define must(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort(); \
		} \
	} while (0)

static void
check_span(struct text_span at, uint32_t file, size_t size)
{
	must(at.file == file && at.off <= size && at.len <= size - at.off);
}

static void
check_tree(const struct doc_node *n, size_t size, unsigned depth)
{
	must(depth <= DOC_DEPTH);
	check_span(n->at, 0, size);
	switch (n->kind) {
	case DOC_SCALAR: {
		uint32_t c;

		must(n->s[n->n] == 0 && strlen(n->s) == n->n);
		must(n->n <= DOC_SCALAR_MOST);
		for (size_t i = 0, k; i < n->n; i += k)
			must((k = utf8_next(n->s + i, n->n - i, &c)) > 0);
		break;
	}
	case DOC_SEQ:
		for (size_t i = 0; i < n->nitem; i++)
			check_tree(n->item[i], size, depth + 1);
		break;
	case DOC_MAP:
		for (size_t i = 0; i < n->npair; i++) {
			const struct doc_node *k = n->pair[i].key;

			must(k->kind == DOC_SCALAR && !k->bad);
			check_tree(k, size, depth + 1);
			check_tree(n->pair[i].value, size, depth + 1);
			if (i < 16)
				must(doc_find(n, k->s) == &n->pair[i]);
		}
		break;
	}
}

static void
check_diags(struct diags *d, struct text_set *t, size_t size)
{
	static const enum print_form forms[] = {
		PRINT_HUMAN, PRINT_JSON, PRINT_SARIF, PRINT_GITHUB,
	};

	diags_sort(d);
	for (size_t i = 0; i < d->n; i++) {
		struct text_place p = text_place(t, d->v[i].at);

		check_span(d->v[i].at, 0, size);
		must(p.line > 0 && p.col > 0);
		if (d->v[i].also.file != TEXT_NOWHERE)
			check_span(d->v[i].also, 0, size);
		must(d->v[i].message[0] != 0);
	}
	/* Printing is the dearest part, and all are printed alike. */
	if (d->n > 6)
		d->n = 6;
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		struct buf b = BUF_INIT(64 << 20);

		print_diags(&b, d, t, forms[i], i & 1);
		must(!b.err);
		/* Nothing that acts on a terminal, but for our own colours. */
		for (size_t k = 0; !(i & 1) && k < b.n; k++)
			must((unsigned char)b.p[k] >= 0x20 || b.p[k] == '\n');
		buf_free(&b);
	}
}

static void
check_round_trip(struct arena *a, const struct doc_node *root)
{
	struct text_set *t = text_set_new(a);
	struct diags *d = diags_new(a);
	struct buf b = BUF_INIT(256 << 20), again = BUF_INIT(256 << 20);
	const struct doc_node *back;

	doc_dump(&b, root);
	must(!b.err && b.n);
	text_add(t, "dump", b.p, b.n);
	back = doc_parse_most(a, t, 0, SIZE_MAX, NULL, d);
	must(back && !d->n);
	must(doc_equal(root, back));
	doc_dump(&again, back);
	must(again.n == b.n && !memcmp(again.p, b.p, b.n));
	buf_free(&b);
	buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	struct text_set *t = text_set_new(a);
	struct diags *d = diags_new(a);
	char *s = malloc(size + 1);
	struct doc_node *root;
	size_t events;

	if (!s)
		abort();
	if (size)
		memcpy(s, data, size);
	s[size] = 0;
	text_add(t, "policy.yaml", s, size);
	root = doc_parse_most(a, t, 0, DOC_MOST, &events, d);
	must(root || d->errors);
	must(events <= 4 * size + 16);
	if (root)
		check_tree(root, size, 0);
	if (root && !d->n)
		check_round_trip(a, root);
	check_diags(d, t, size);
	free(s);
	arena_free(a);
	return 0;
}
