/* Questions about the rows themselves. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "shape/shape.h"

const struct shape_key *
shape_key_find(const struct shape_type *rec, const char *key, size_t *at)
{
	for (const struct shape_key *k = rec->keys; k->type; k++) {
		if (k->key && !strcmp(k->key, key)) {
			if (at)
				*at = k->off;
			return k;
		}
		if (!k->key) {
			const struct shape_key *in = shape_key_find(k->type, key, at);

			if (in) {
				if (at)
					*at += k->off;
				return in;
			}
		}
	}
	return NULL;
}

static void
each(const struct shape_type *top, const struct shape_type *rec, size_t off,
    void (*fn)(void *arg, const struct shape_key *k, size_t off), void *arg)
{
	for (const struct shape_key *k = rec->keys; k->type; k++) {
		/* a key that stands in the record itself hides one that is spliced in */
		if (k->key && shape_key_find(top, k->key, NULL) == k)
			fn(arg, k, off + k->off);
		else if (!k->key)
			each(top, k->type, off + k->off, fn, arg);
	}
}

void
shape_keys_each(const struct shape_type *rec,
    void (*fn)(void *arg, const struct shape_key *k, size_t off), void *arg)
{
	each(rec, rec, 0, fn, arg);
}

const struct shape_type *
shape_pick(const struct shape_type *t, enum doc_kind k, size_t *off)
{
	*off = 0;
	switch (t->kind) {
	case SHAPE_TEXT:
	case SHAPE_NAME:
	case SHAPE_OWN:
	case SHAPE_BOOL:
	case SHAPE_INT:
	case SHAPE_WORD:
	case SHAPE_SIZE:
	case SHAPE_BOUND:
	case SHAPE_TIME:
	case SHAPE_DAY:
		return k == DOC_SCALAR ? t : NULL;
	case SHAPE_LIST: {
		size_t in;

		return k == DOC_SEQ || (t->lone && shape_pick(t->item, k, &in)) ? t : NULL;
	}
	case SHAPE_MAP:
	case SHAPE_REC:
		return k == DOC_MAP ? t : NULL;
	case SHAPE_ONE:
		for (const struct shape_alt *a = t->alt; a->type; a++) {
			const struct shape_type *p = shape_pick(a->type, k, off);

			if (p) {
				*off += a->off;
				return p;
			}
		}
		return NULL;
	case SHAPE_NOT:
		return NULL;
	}
	return NULL;
}

static void
wanted_words(struct buf *b, const struct shape_word *w)
{
	for (const struct shape_word *i = w; i->word; i++)
		buf_printf(b, "%s`%s`", i == w ? "" : i[1].word ? ", " : " or ", i->word);
}

static void
wanted(struct buf *b, const struct shape_type *t)
{
	if (t->wanted) {
		buf_str(b, t->wanted);
		return;
	}
	switch (t->kind) {
	case SHAPE_TEXT:
	case SHAPE_OWN:
		buf_str(b, "text");
		return;
	case SHAPE_NAME:
		buf_str(b, "a name");
		return;
	case SHAPE_BOOL:
		buf_str(b, "`true` or `false`");
		return;
	case SHAPE_INT:
		buf_printf(b, t->lo == t->hi ? "the number %" PRIu64 : "a number from %" PRIu64, t->lo);
		if (t->lo != t->hi && t->hi != UINT64_MAX)
			buf_printf(b, " to %" PRIu64, t->hi);
		return;
	case SHAPE_WORD:
		wanted_words(b, t->words);
		return;
	case SHAPE_SIZE:
		buf_str(b, "a size with its unit");
		return;
	case SHAPE_BOUND:
		buf_str(b, "`up to` or `below` a size");
		return;
	case SHAPE_TIME:
		buf_str(b, "a duration with its unit");
		return;
	case SHAPE_DAY:
		buf_str(b, "a date, year-month-day");
		return;
	case SHAPE_LIST:
		if (t->lone) {
			wanted(b, t->item);
			buf_str(b, ", or a list of such");
		} else {
			buf_str(b, "a list");
		}
		return;
	case SHAPE_MAP:
		buf_str(b, "a mapping from names");
		return;
	case SHAPE_REC:
		buf_str(b, "a mapping");
		return;
	case SHAPE_ONE:
		for (const struct shape_alt *a = t->alt; a->type; a++) {
			if (a != t->alt)
				buf_str(b, ", or ");
			wanted(b, a->type);
		}
		return;
	case SHAPE_NOT:
		return;
	}
}

const char *
shape_wanted(struct arena *a, const struct shape_type *t)
{
	struct buf b = BUF_INIT(4096);
	const char *s;

	wanted(&b, t);
	s = arena_strn(a, b.n ? b.p : "", b.n);
	buf_free(&b);
	return s;
}

const char *
shape_example(const struct shape_type *t)
{
	if (t->example)
		return t->example;
	switch (t->kind) {
	case SHAPE_TEXT:
		return "a few words";
	case SHAPE_NAME:
		return "a-name";
	case SHAPE_BOOL:
		return "true";
	case SHAPE_WORD:
		return t->words->word;
	case SHAPE_SIZE:
		return "5 MB";
	case SHAPE_BOUND:
		return "up to 5 MB";
	case SHAPE_TIME:
		return "10 min";
	case SHAPE_DAY:
		return "2027-03-31";
	case SHAPE_LIST:
		return t->lone ? shape_example(t->item) : "";
	case SHAPE_ONE:
		return t->alt ? shape_example(t->alt->type) : "";
	case SHAPE_OWN:
	case SHAPE_INT:
	case SHAPE_MAP:
	case SHAPE_REC:
	case SHAPE_NOT:
		return "";
	}
	return "";
}
