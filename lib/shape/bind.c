/* Nodes to records, by the rows; every mistake, once. */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/near.h"
#include "base/utf8.h"
#include "shape/scalar.h"
#include "shape/shape.h"

struct bind {
	struct arena *a;
	struct diags *d;
};

/* What a value is called in a message: its key, or "an item of" it. */
struct what {
	const char *key;
	bool item;
	const char *example;  /* of the row; NULL */
};

static bool
bind(struct bind *b, const struct shape_type *t, const struct doc_node *n,
    struct what w, void *value);

static const char *
called(struct bind *b, struct what w)
{
	if (!w.key)
		return w.item ? "an item" : "the text";
	return arena_printf(b->a, w.item ? "an item of `%s`" : "`%s`", w.key);
}

/* The value as it stands, in backquotes, not too long and fit for a terminal;
 * or its kind. */
static const char *
seen(struct bind *b, const struct doc_node *n)
{
	size_t k = 0, most = 40;
	char *s;

	if (n->kind != DOC_SCALAR)
		return doc_kind_text(n->kind);
	if (!n->n)
		return "an empty string";
	s = arena_strn(b->a, n->s, n->n);
	while (k < n->n && k < most) {
		uint32_t c = 0;
		size_t step = utf8_next(s + k, n->n - k, &c);

		if (!step || c < 0x20 || c == 0x7f)
			s[k] = '?';
		k += step ? step : 1;
	}
	return arena_printf(b->a, "`%.*s%s`", (int)k, s, k < n->n ? "..." : "");
}

/* The value to write instead, for a hint. */
static const char *
example(const struct shape_type *t, struct what w)
{
	return w.example ? w.example : shape_example(t);
}

static struct diag *
wrong(struct bind *b, enum diag_code code, const struct shape_type *t,
    const struct doc_node *n, struct what w)
{
	struct diag *g = diag_add(b->d, code, n->at, "%s wants %s, not %s", called(b, w),
	    shape_wanted(b->a, t), t->secret ? "what stands here" : seen(b, n));
	const char *e = example(t, w);

	g->hidden = t->secret;
	if (*e && w.key && !w.item)
		diag_hint(b->d, g, "write, for example, `%s: %s`", w.key, e);
	else if (*e)
		diag_hint(b->d, g, "write, for example, `%s`", e);
	return g;
}

static bool
is_empty(struct bind *b, const struct shape_type *t, const struct doc_node *n, struct what w)
{
	struct diag *g = diag_add(b->d, DIAG_E0304, n->at, "%s is empty", called(b, w));
	const char *e = example(t, w);

	if (n->kind == DOC_SEQ)
		diag_hint(b->d, g, "an empty list is never `any`: write what it holds%s%s%s, "
		    "or leave the key out", *e ? ", for example `" : "", e, *e ? "`" : "");
	else
		diag_hint(b->d, g, "write %s%s%s%s, or leave the key out", shape_wanted(b->a, t),
		    *e ? ", for example `" : "", e, *e ? "`" : "");
	return false;
}

/* ---- scalars ------------------------------------------------------------ */

/* The text in one line: line breaks and tabs as blanks, none at the end. */
static bool
bind_text(struct bind *b, const struct shape_type *t, const struct doc_node *n,
    struct what w, struct shape_text *v)
{
	uint64_t most = t->hi ? t->hi : SHAPE_TEXT_MOST;
	size_t len = n->n;
	char *s;

	while (len && (n->s[len - 1] == '\n' || n->s[len - 1] == ' '))
		len--;
	if (!len && !t->empty)
		return is_empty(b, t, n, w);
	if (!n->quoted && (!strcmp(n->s, "true") || !strcmp(n->s, "false"))) {
		struct diag *g = diag_add(b->d, DIAG_E0302, n->at,
		    "%s wants text, not the boolean `%s`", called(b, w), n->s);

		diag_hint(b->d, g, "write `\"%s\"` if this is the text", n->s);
		return false;
	}
	if (len > most) {
		struct diag *g = diag_add(b->d, DIAG_E0314, n->at,
		    "%s is %zu bytes long", called(b, w), len);

		diag_hint(b->d, g, "at most %" PRIu64 " bytes", most);
		return false;
	}
	s = arena_strn(b->a, n->s, len);
	for (size_t i = 0, k; i < len; i += k) {
		uint32_t c = 0;

		k = utf8_next(s + i, len - i, &c);
		if (c == '\n' || c == '\t')
			s[i] = ' ';
		else if (!k || c < 0x20 || (c >= 0x7f && c < 0xa0)) {
			diag_hint(b->d, diag_add(b->d, DIAG_E0314, n->at,
			    "%s holds the control character U+%04X", called(b, w), (unsigned)c),
			    "leave it out: this text goes into rules, replies and logs");
			return false;
		}
	}
	v->s = s;
	v->n = len;
	return true;
}

static bool
bind_own(struct bind *b, const struct shape_type *t, const struct doc_node *n,
    struct what w, struct shape_text *v)
{
	const char *why;
	uint64_t x;

	if (t->integer && !n->quoted && scalar_int(n->s, n->n, &x)) {
		if (x < t->lo || x > t->hi) {
			wrong(b, DIAG_E0306, t, n, w);
			return false;
		}
	}
	if (!n->n) {
		if (!t->empty)
			return is_empty(b, t, n, w);
	} else if (t->read && (why = t->read(b->a, n->s, n->n))) {
		struct diag *g = wrong(b, DIAG_E0315, t, n, w);

		g->message = arena_printf(b->a, "%s: %s", g->message, why);
		return false;
	}
	v->s = n->s;
	v->n = n->n;
	return true;
}

static bool
bind_name(struct bind *b, const struct shape_type *t, const struct doc_node *n,
    struct what w, struct shape_text *v)
{
	if (!n->n)
		return is_empty(b, t, n, w);
	if (!shape_name_ok(n->s, n->n)) {
		diag_hint(b->d, wrong(b, DIAG_E0313, t, n, w),
		    "a name is a lower-case letter, then lower-case letters, digits, `-` and `_`, "
		    "at most %d characters", SHAPE_NAME_MOST);
		return false;
	}
	v->s = n->s;
	v->n = n->n;
	return true;
}

static const char *
word_at(const void *arg, size_t i)
{
	return ((const struct shape_word *)arg)[i].word;
}

static bool
bind_word(struct bind *b, const struct shape_type *t, const struct doc_node *n,
    struct what w, struct shape_num *v)
{
	struct diag *g;
	const char *near;

	if (!n->n)
		return is_empty(b, t, n, w);
	for (const struct shape_word *i = t->words; i->word; i++)
		if (!strcmp(i->word, n->s)) {
			v->n = i->value;
			return true;
		}
	g = wrong(b, DIAG_E0305, t, n, w);
	if ((near = near_of(n->s, n->n, word_at, t->words)))
		diag_hint(b->d, g, "did you mean `%s`?", near);
	return false;
}

static bool
bind_number(struct bind *b, const struct shape_type *t, const struct doc_node *n,
    struct what w, struct shape_num *v)
{
	bool yes = !strcmp(n->s, "true");
	uint64_t x;

	if (!n->n)
		return is_empty(b, t, n, w);
	switch (t->kind) {
	case SHAPE_BOOL:
		if (n->quoted || (!yes && strcmp(n->s, "false"))) {
			wrong(b, DIAG_E0312, t, n, w);
			return false;
		}
		v->n = yes;
		return true;
	case SHAPE_INT:
		if (n->quoted || !scalar_int(n->s, n->n, &x)) {
			struct diag *g = wrong(b, DIAG_E0307, t, n, w);

			if (n->quoted && scalar_int(n->s, n->n, &x))
				diag_hint(b->d, g, "write the number without quotes");
			return false;
		}
		if (x < t->lo || x > t->hi) {
			wrong(b, DIAG_E0306, t, n, w);
			return false;
		}
		v->n = x;
		return true;
	case SHAPE_SIZE:
		if (shape_size_read(n->s, n->n, &v->n))
			return true;
		diag_hint(b->d, wrong(b, DIAG_E0308, t, n, w), "a whole number and bytes, kB, MB, GB "
		    "(powers of 1000) or KiB, MiB, GiB (powers of 1024): `%s`", example(t, w));
		return false;
	case SHAPE_BOUND:
		if (scalar_bound(n->s, n->n, &v->n, &v->strict))
			return true;
		if (shape_size_read(n->s, n->n, &x))
			diag_hint(b->d, wrong(b, DIAG_E0309, t, n, w), "say whether exactly %s passes: "
			    "`up to %s` (it does) or `below %s` (it does not)", n->s, n->s, n->s);
		else
			wrong(b, DIAG_E0309, t, n, w);
		return false;
	case SHAPE_TIME:
		if (shape_time_read(n->s, n->n, &v->n))
			return true;
		diag_hint(b->d, wrong(b, DIAG_E0310, t, n, w),
		    "a whole number and s, min, h, days or weeks: `%s`", example(t, w));
		return false;
	case SHAPE_TEXT:
	case SHAPE_NAME:
	case SHAPE_OWN:
	case SHAPE_WORD:
	case SHAPE_DAY:
	case SHAPE_LIST:
	case SHAPE_MAP:
	case SHAPE_REC:
	case SHAPE_ONE:
	case SHAPE_NOT:
		break;
	}
	return false;
}

static bool
bind_day(struct bind *b, const struct shape_type *t, const struct doc_node *n,
    struct what w, struct shape_day *v)
{
	if (!n->n)
		return is_empty(b, t, n, w);
	if (scalar_day(n->s, n->n, &v->y, &v->m, &v->d))
		return true;
	diag_hint(b->d, wrong(b, DIAG_E0311, t, n, w),
	    "a day of the calendar, from 1970 to %d: four digits, two, two, as in `%s`; "
	    "what has no end has no `until`", (int)SHAPE_YEAR_MOST, example(t, w));
	return false;
}

/* ---- lists and mappings ---------------------------------------------------- */

static bool
bind_list(struct bind *b, const struct shape_type *t, const struct doc_node *n,
    struct what w, struct shape_list *v)
{
	bool ok = true;

	w.item = true;
	w.example = NULL;
	if (n->kind != DOC_SEQ) {
		v->v = arena_alloc(b->a, t->size);
		v->n = 1;
		w.item = false;
		return bind(b, t->item, n, w, v->v);
	}
	if (!n->nitem && !t->empty && !n->bad) {
		w.item = false;
		return is_empty(b, t, n, w);
	}
	v->v = arena_alloc(b->a, n->nitem * t->size);
	v->n = n->nitem;
	for (size_t i = 0; i < n->nitem; i++)
		ok &= bind(b, t->item, n->item[i], w, (char *)v->v + i * t->size);
	return ok && !n->bad;
}

static bool
bind_map(struct bind *b, const struct shape_type *t, const struct doc_node *n,
    struct what w, struct shape_list *v)
{
	bool ok = true;

	if (!n->npair && !t->empty && !n->bad)
		return is_empty(b, t, n, w);
	v->v = arena_alloc(b->a, n->npair * t->size);
	v->n = n->npair;
	for (size_t i = 0; i < n->npair; i++) {
		const struct doc_pair *p = &n->pair[i];
		struct shape_rec *r = (struct shape_rec *)((char *)v->v + i * t->size);
		struct what in = {.key = p->key->s};
		bool good = true;

		if (p->key->bad)
			good = false;
		else if (!t->plain_keys && !shape_name_ok(p->key->s, p->key->n)) {
			diag_hint(b->d, diag_add(b->d, DIAG_E0313, p->key->at,
			    "%s is no name", seen(b, p->key)), "a name in %s is a lower-case letter, "
			    "then lower-case letters, digits, `-` and `_`, at most %d characters",
			    called(b, w), SHAPE_NAME_MOST);
			good = false;
		} else {
			r->name = p->key->s;
		}
		r->key = p->key;
		good &= bind(b, t->item, p->value, in, (char *)r + t->off);
		r->node = p->value;
		r->ok = good;
		ok &= good;
	}
	return ok && !n->bad;
}

/* The keys of a record, for did-you-mean: those not given yet. */
struct keys {
	const struct doc_node *map;
	struct {
		const char *key;
		bool given;
	} v[128];
	size_t n;
};

static void
keys_add(void *arg, const struct shape_key *k, size_t off)
{
	struct keys *s = arg;

	(void)off;
	if (k->type->kind == SHAPE_NOT || s->n == sizeof s->v / sizeof *s->v)
		return;
	s->v[s->n].key = k->key;
	s->v[s->n++].given = doc_find(s->map, k->key);
}

static const char *
keys_at(const void *arg, size_t i)
{
	const struct keys *s = arg;

	for (size_t j = 0; j < s->n; j++)
		if (!s->v[j].given && !i--)
			return s->v[j].key;
	return NULL;
}

/* Gives the key that was probably meant, or NULL. */
static const char *
unknown_key(struct bind *b, const struct shape_type *t, const struct doc_node *map,
    const struct doc_node *key)
{
	struct keys s = {.map = map};
	struct diag *g;
	const char *near, *all = "";

	g = diag_add(b->d, DIAG_E0301, key->at, "%s is no key of %s", seen(b, key),
	    shape_wanted(b->a, t));
	shape_keys_each(t, keys_add, &s);
	if ((near = near_of(key->s, key->n, keys_at, &s))) {
		diag_hint(b->d, g, "did you mean `%s`?", near);
		return near;
	}
	for (size_t i = 0; i < s.n; i++)
		all = arena_printf(b->a, "%s%s%s", all, i ? ", " : "", s.v[i].key);
	diag_hint(b->d, g, "its keys are %s", all);
	return NULL;
}

struct missing {
	struct bind *b;
	const struct shape_type *t;
	const struct doc_node *map;
	const char *name;
	bool ok;
	const char *meant[8];      /* keys that were mistyped: not missing as well */
	size_t nmeant;
};

static void
missing(void *arg, const struct shape_key *k, size_t off)
{
	struct missing *m = arg;
	struct diag *g;
	const char *e = k->example ? k->example : shape_example(k->type);

	(void)off;
	if (!k->required || doc_find(m->map, k->key))
		return;
	m->ok = false;
	for (size_t i = 0; i < m->nmeant; i++)
		if (!strcmp(m->meant[i], k->key))
			return;
	g = m->name ?
	    diag_add(m->b->d, DIAG_E0303, m->map->at, "`%s` has no `%s`", m->name, k->key) :
	    diag_add(m->b->d, DIAG_E0303, m->map->at, "%s has no `%s`",
	    shape_wanted(m->b->a, m->t), k->key);
	diag_hint(m->b->d, g, "%s Write `%s: %s`", k->doc, k->key, *e ? e : "...");
}

static bool
bind_rec(struct bind *b, const struct shape_type *t, const struct doc_node *n,
    struct what w, void *value)
{
	struct missing m = {.b = b, .t = t, .map = n, .name = w.item ? NULL : w.key, .ok = true};
	bool ok = true;

	if (!n->npair && !t->empty && !n->bad) {
		((struct shape_rec *)value)->unknown = true;
		return is_empty(b, t, n, w);
	}
	for (size_t i = 0; i < n->npair; i++) {
		const struct doc_pair *p = &n->pair[i];
		const struct shape_key *k;
		size_t off = 0;

		if (p->key->bad) {
			ok = false;
			continue;
		}
		k = shape_key_find(t, p->key->s, &off);
		if (!k) {
			const char *meant = unknown_key(b, t, n, p->key);

			if (meant && m.nmeant < sizeof m.meant / sizeof *m.meant)
				m.meant[m.nmeant++] = meant;
			((struct shape_rec *)value)->unknown = true;
			ok = false;
		} else if (k->type->kind == SHAPE_NOT) {
			diag_hint(b->d, diag_add(b->d, DIAG_E0316, p->key->at,
			    "`%s` does not belong in %s", k->key, shape_wanted(b->a, t)),
			    "%s", k->type->wanted);
			ok = false;
		} else {
			ok &= bind(b, k->type, p->value,
			    (struct what){.key = k->key, .example = k->example},
			    (char *)value + off);
		}
	}
	if (!n->bad)
		shape_keys_each(t, missing, &m);
	return ok && m.ok && !n->bad;
}

/* ---- any type -------------------------------------------------------------- */

static bool
bind(struct bind *b, const struct shape_type *t, const struct doc_node *n,
    struct what w, void *value)
{
	struct shape_any *v = value;
	const struct shape_type *p;
	size_t off;

	v->node = n;
	v->ok = false;
	if (n->bad && n->kind == DOC_SCALAR)
		return false;
	p = shape_pick(t, n->kind, &off);
	if (!p) {
		wrong(b, DIAG_E0302, t, n, w);
		return false;
	}
	if (off || p != t) {
		struct shape_any *in = (struct shape_any *)((char *)value + off);

		in->node = n;
		v = in;
	}
	switch (p->kind) {
	case SHAPE_TEXT:
		v->ok = bind_text(b, p, n, w, (struct shape_text *)v);
		break;
	case SHAPE_NAME:
		v->ok = bind_name(b, p, n, w, (struct shape_text *)v);
		break;
	case SHAPE_OWN:
		v->ok = bind_own(b, p, n, w, (struct shape_text *)v);
		break;
	case SHAPE_WORD:
		v->ok = bind_word(b, p, n, w, (struct shape_num *)v);
		break;
	case SHAPE_BOOL:
	case SHAPE_INT:
	case SHAPE_SIZE:
	case SHAPE_BOUND:
	case SHAPE_TIME:
		v->ok = bind_number(b, p, n, w, (struct shape_num *)v);
		break;
	case SHAPE_DAY:
		v->ok = bind_day(b, p, n, w, (struct shape_day *)v);
		break;
	case SHAPE_LIST:
		v->ok = bind_list(b, p, n, w, (struct shape_list *)v);
		break;
	case SHAPE_MAP:
		v->ok = bind_map(b, p, n, w, (struct shape_list *)v);
		break;
	case SHAPE_REC:
		v->ok = bind_rec(b, p, n, w, v);
		break;
	case SHAPE_ONE:
	case SHAPE_NOT:
		break;
	}
	((struct shape_any *)value)->ok = v->ok;
	return v->ok;
}

bool
shape_bind(struct arena *a, struct diags *d, const struct shape_type *t,
    const struct doc_node *n, void *value)
{
	struct bind b = {a, d};

	return bind(&b, t, n, (struct what){.key = NULL}, value);
}
