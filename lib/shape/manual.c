/* The rows as the reference part of a man(7) page. */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "shape/shape.h"

enum { MOST_SECTIONS = 128 };

struct manual {
	struct buf *out;
	struct arena *a;
	const struct shape_type *said[MOST_SECTIONS];
	size_t nsaid, done;
};

/* Text as roff reads it: no escapes, no requests, hyphens as they are. A word
 * in backquotes becomes bold. */
static void
roff(struct buf *out, const char *s)
{
	bool bold = false, start = true;

	for (; *s; s++) {
		if (start && (*s == '.' || *s == '\''))
			buf_str(out, "\\&");
		start = false;
		switch (*s) {
		case '\\':
			buf_str(out, "\\e");
			break;
		case '-':
			buf_str(out, "\\-");
			break;
		case '`':
			bold = !bold;
			buf_str(out, bold ? "\\fB" : "\\fR");
			break;
		case '"':
			buf_str(out, "\\(dq");
			break;
		case '^':
			buf_str(out, "\\(ha");
			break;
		case '~':
			buf_str(out, "\\(ti");
			break;
		default:
			buf_chr(out, *s);
		}
	}
	if (bold)
		buf_str(out, "\\fR");
}

static void
queue(struct manual *m, const struct shape_type *t)
{
	for (size_t i = 0; i < m->nsaid; i++)
		if (m->said[i] == t)
			return;
	if (m->nsaid < MOST_SECTIONS)
		m->said[m->nsaid++] = t;
}

/* The records with a heading that a value of this type may hold. */
static void
queue_in(struct manual *m, const struct shape_type *t)
{
	if (t->kind == SHAPE_REC && t->title) {
		queue(m, t);
		return;
	}
	if (t->item)
		queue_in(m, t->item);
	if (t->keys)
		for (const struct shape_key *k = t->keys; k->type; k++)
			queue_in(m, k->type);
	for (const struct shape_alt *a = t->alt; a && a->type; a++)
		queue_in(m, a->type);
}

/* The keys of a record without a heading stand with the key that holds it. */
static void
rows(struct manual *m, const struct shape_type *t, const char *before);

static const struct shape_type *
inline_rec(const struct shape_type *t)
{
	const struct shape_type *r;

	if (t->kind == SHAPE_REC)
		return t->title ? NULL : t;
	if ((t->kind == SHAPE_LIST || t->kind == SHAPE_MAP) && t->item)
		return inline_rec(t->item);
	for (const struct shape_alt *a = t->alt; a && a->type; a++)
		if ((r = inline_rec(a->type)))
			return r;
	return NULL;
}

static void
word_docs(struct manual *m, const struct shape_type *t)
{
	for (const struct shape_word *w = t->words; w && w->word; w++) {
		if (!w->doc)
			continue;
		buf_str(m->out, ".br\n");
		roff(m->out, arena_printf(m->a, "`%s`: %s", w->word, w->doc));
		buf_chr(m->out, '\n');
	}
	if (t->item && t->kind == SHAPE_LIST)
		word_docs(m, t->item);
	for (const struct shape_alt *a = t->alt; a && a->type; a++)
		word_docs(m, a->type);
}

static void
row(struct manual *m, const struct shape_key *k, const char *before)
{
	const char *e = k->example ? k->example : shape_example(k->type);
	const char *name = arena_printf(m->a, "%s%s", before, k->key);
	const struct shape_type *in = inline_rec(k->type);

	buf_str(m->out, ".TP\n");
	roff(m->out, arena_printf(m->a, "`%s`%s", name, k->required ? " (required)" : ""));
	buf_chr(m->out, '\n');
	roff(m->out, k->doc);
	buf_chr(m->out, '\n');
	roff(m->out, arena_printf(m->a, "Value: %s.", shape_wanted(m->a, k->type)));
	buf_chr(m->out, '\n');
	word_docs(m, k->type);
	if (*e) {
		buf_str(m->out, ".br\n");
		roff(m->out, arena_printf(m->a, "Example: `%s: %s`", k->key, e));
		buf_chr(m->out, '\n');
	}
	if (in)
		rows(m, in, arena_printf(m->a, "%s.", name));
}

static void
rows(struct manual *m, const struct shape_type *t, const char *before)
{
	for (const struct shape_key *k = t->keys; k->type; k++) {
		if (k->key && k->type->kind != SHAPE_NOT) {
			row(m, k, before);
		} else if (!k->key && k->type->title) {
			buf_str(m->out, ".PP\n");
			roff(m->out, arena_printf(m->a, "And the keys under \"%s\", below.",
			    k->type->title));
			buf_chr(m->out, '\n');
		} else if (!k->key) {
			rows(m, k->type, before);
		}
	}
}

void
shape_manual_print(struct buf *out, const struct shape_type *root)
{
	struct manual m = {.out = out, .a = arena_new()};

	/* examples are not to be broken or stretched */
	buf_str(out, ".ad l\n.nh\n");
	queue(&m, root);
	for (; m.done < m.nsaid; m.done++) {
		const struct shape_type *t = m.said[m.done];

		buf_str(out, ".SS ");
		roff(out, t->title ? t->title : "The policy");
		buf_chr(out, '\n');
		if (t->wanted && t->example) {
			roff(out, t->example);
			buf_chr(out, '\n');
		}
		rows(&m, t, "");
		for (const struct shape_key *k = t->keys; k->type; k++)
			queue_in(&m, k->type);
	}
	arena_free(m.a);
}
