/*
 * fmt: a policy laid out evenly. Only blanks change: two spaces a level, one
 * after a dash, none at the end of a line; comments and the author's line
 * breaks stay. The result is read again and must be the same tree.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "doc/doc.h"
#include "gen/commands.h"
#include "gen/out/out.h"
#include "gen/unit.h"

enum { DEPTH = 4 * DOC_DEPTH };

/* For each line: whether it goes on with a scalar or a flow collection that
 * began on an earlier one, so that its blanks are not ours to judge. */
struct fmt {
	struct text_set *t;
	uint32_t file;
	bool *inner;
	bool *verbatim;            /* in a quoted or block scalar: not even its end */
};

static void
mark(struct fmt *f, const struct doc_node *n)
{
	const char *s = f->t->file[f->file]->bytes + n->at.off;
	struct text_span end = {f->file, n->at.off + (n->at.len ? n->at.len - 1 : 0), 0};
	uint32_t from = text_place(f->t, n->at).line, to = text_place(f->t, end).line;

	if (n->kind == DOC_SCALAR || *s == '[' || *s == '{') {
		for (uint32_t l = from + 1; l <= to; l++) {
			f->inner[l] = true;
			f->verbatim[l] |= n->kind == DOC_SCALAR;
		}
		if (n->kind == DOC_SCALAR)
			return;
	}
	for (size_t i = 0; n->kind == DOC_SEQ && i < n->nitem; i++)
		mark(f, n->item[i]);
	for (size_t i = 0; n->kind == DOC_MAP && i < n->npair; i++) {
		mark(f, n->pair[i].key);
		mark(f, n->pair[i].value);
	}
}

static void
blanks(struct buf *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_chr(out, ' ');
}

/* Old columns of the open levels and the new ones that stand for them. */
struct levels {
	struct {
		size_t old, new;
	} v[DEPTH];
	size_t n;
};

static size_t
level(struct levels *l, size_t col)
{
	while (l->n && l->v[l->n - 1].old > col)
		l->n--;
	if (l->n < DEPTH && (!l->n || l->v[l->n - 1].old < col)) {
		l->v[l->n].old = col;
		l->v[l->n].new = l->n ? l->v[l->n - 1].new + 2 : 0;
		l->n++;
	}
	return l->n ? l->v[l->n - 1].new : 0;
}

/* Lays the lines out. Comment lines wait for the next line of content and
 * stand where it does. */
static void
lay(struct buf *out, struct fmt *f)
{
	struct levels lv = {.n = 0};
	const struct text_file *file = f->t->file[f->file];
	long shift = 0;
	size_t comment_from = 0, ncomment = 0, empty = 0;

	for (uint32_t l = 1; l <= file->nline; l++) {
		size_t n, col = 0, new;
		const char *s = text_line(f->t, f->file, file->line[l - 1], &n);

		if (f->inner[l]) {
			while (col < n && s[col] == ' ')
				col++;
			if (!f->verbatim[l])
				while (n > col && strchr(" \t", s[n - 1]))
					n--;
			if (n > col)
				blanks(out, (long)col + shift > 0 ? (size_t)((long)col + shift) : 0);
			buf_add(out, s + col, n - col);
			if (l < file->nline || n)
				buf_chr(out, '\n');
			continue;
		}
		while (n && strchr(" \t", s[n - 1]))
			n--;
		while (col < n && s[col] == ' ')
			col++;
		if (col == n || s[col] == '#') {
			if (!ncomment)
				comment_from = l;
			ncomment++;
			continue;
		}
		new = level(&lv, col);
		shift = (long)new - (long)col;
		for (size_t k = 0; k < ncomment; k++) {
			size_t cn, c = 0;
			const char *cs = text_line(f->t, f->file, file->line[comment_from + k - 1], &cn);

			while (cn && strchr(" \t", cs[cn - 1]))
				cn--;
			while (c < cn && cs[c] == ' ')
				c++;
			empty = c == cn ? empty + 1 : 0;
			if (empty > 1)
				continue;
			if (c < cn) {
				blanks(out, new);
				buf_add(out, cs + c, cn - c);
			}
			buf_chr(out, '\n');
		}
		ncomment = 0;
		empty = 0;
		blanks(out, new);
		/* "-   key: value": the mapping stands two columns further. */
		while (col + 1 < n && s[col] == '-' && s[col + 1] == ' ') {
			size_t in = col + 1;

			while (in < n && s[in] == ' ')
				in++;
			buf_str(out, "- ");
			new += 2;
			if (lv.n < DEPTH) {
				lv.v[lv.n].old = in;
				lv.v[lv.n].new = new;
				lv.n++;
			}
			shift = (long)new - (long)in;
			col = in;
		}
		buf_add(out, s + col, n - col);
		buf_chr(out, '\n');
	}
	for (size_t k = 0; k < ncomment; k++) {
		size_t cn, c = 0;
		const char *cs = text_line(f->t, f->file, file->line[comment_from + k - 1], &cn);

		while (c < cn && cs[c] == ' ')
			c++;
		while (cn > c && strchr(" \t", cs[cn - 1]))
			cn--;
		if (c < cn) {
			buf_add(out, cs + c, cn - c);
			buf_chr(out, '\n');
		}
	}
}

int
command_fmt(const struct args *a)
{
	struct buf out = BUF_INIT(2 * DOC_MOST + 4096);
	struct unit u;
	struct fmt f;
	const struct doc_node *was, *now;
	int status = unit_open(&u, a->word[0], a);

	if (status)
		goto end;
	f.t = u.c.text;
	f.file = text_add(f.t, u.c.name, u.c.bytes, u.c.len);
	was = doc_parse(u.a, f.t, f.file, u.d);
	unit_report(&u);
	if (!was || u.d->errors) {
		status = UNIT_BAD;
		goto end;
	}
	text_place(f.t, (struct text_span){f.file, 0, 0}); /* makes the line table */
	f.inner = arena_array(u.a, f.t->file[f.file]->nline + 2, bool);
	f.verbatim = arena_array(u.a, f.t->file[f.file]->nline + 2, bool);
	mark(&f, was);
	lay(&out, &f);
	now = out.err ? NULL : doc_parse(u.a, f.t, text_add(f.t, "<result>",
	    arena_strn(u.a, out.p ? out.p : "", out.n), out.n), u.d);
	if (!now || u.d->errors || !doc_equal(was, now)) {
		fprintf(stderr, "mailreeve fmt: %s cannot be laid out without changing what it says; "
		    "it is left as it is\n", u.c.name);
		status = UNIT_BAD;
		goto end;
	}
	if (arg_value(a, ARG_WRITE) && strcmp(a->word[0], "-")) {
		int err = 0;

		assert((out.p || !out.n) && (u.c.bytes || !u.c.len));
		if (out.n != u.c.len || (out.n && memcmp(out.p, u.c.bytes, out.n)))
			err = out_file(a->word[0], out.p, out.n);
		if (err) {
			fprintf(stderr, "mailreeve fmt: cannot write %s: %s\n", a->word[0], strerror(-err));
			status = UNIT_MACHINE;
		}
	} else {
		status = unit_write(a, &out, 0);
	}
end:
	buf_free(&out);
	unit_close(&u);
	return status;
}
