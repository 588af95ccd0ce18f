/* The rows as JSON Schema, draft 2020-12: for editors, and for other
 * programs that write policies. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "shape/shape.h"

enum { MOST_DEFS = 128 };

struct schema {
	struct buf *out;
	struct arena *a;
	unsigned depth;
	bool first;                /* nothing yet in the object or list that is open */
	const struct shape_type *def[MOST_DEFS];
	size_t ndef;
};

static void
line(struct schema *s)
{
	if (!s->first)
		buf_chr(s->out, ',');
	s->first = false;
	buf_chr(s->out, '\n');
	for (unsigned i = 0; i < s->depth; i++)
		buf_str(s->out, "  ");
}

static void
key(struct schema *s, const char *k)
{
	line(s);
	buf_json(s->out, k);
	buf_str(s->out, ": ");
}

static void
text(struct schema *s, const char *k, const char *v)
{
	key(s, k);
	buf_json(s->out, v);
}

static void
number(struct schema *s, const char *k, uint64_t v)
{
	key(s, k);
	buf_dec(s->out, v);
}

static void
truth(struct schema *s, const char *k, bool v)
{
	key(s, k);
	buf_str(s->out, v ? "true" : "false");
}

static void
open_(struct schema *s, char c)
{
	buf_chr(s->out, c);
	s->depth++;
	s->first = true;
}

static void
close_(struct schema *s, char c)
{
	bool empty = s->first;

	s->depth--;
	if (!empty) {
		buf_chr(s->out, '\n');
		for (unsigned i = 0; i < s->depth; i++)
			buf_str(s->out, "  ");
	}
	buf_chr(s->out, c);
	s->first = false;
}

static void
type_body(struct schema *s, const struct shape_type *t);

/* A reference where the type has a name, else the type in place; inside an
 * object that is already open. */
static void
type_in(struct schema *s, const struct shape_type *t)
{
	char ref[96];

	if (!t->id) {
		type_body(s, t);
		return;
	}
	snprintf(ref, sizeof ref, "#/$defs/%s", t->id);
	text(s, "$ref", ref);
}

static void
type_object(struct schema *s, const struct shape_type *t)
{
	open_(s, '{');
	type_in(s, t);
	close_(s, '}');
}

static void
words(struct schema *s, const struct shape_type *t)
{
	key(s, "enum");
	open_(s, '[');
	for (const struct shape_word *w = t->words; w->word; w++) {
		line(s);
		buf_json(s->out, w->word);
		/* 1.2 without quotes is a number to a YAML reader */
		if (w->word[0] >= '0' && w->word[0] <= '9' &&
		    (strspn(w->word, "0123456789.") == strlen(w->word))) {
			line(s);
			buf_str(s->out, w->word);
		}
	}
	close_(s, ']');
}

static void
own(struct schema *s, const struct shape_type *t)
{
	if (t->integer) {
		key(s, "anyOf");
		open_(s, '[');
		line(s);
		open_(s, '{');
		text(s, "type", "integer");
		number(s, "minimum", t->lo);
		number(s, "maximum", t->hi);
		close_(s, '}');
		line(s);
		open_(s, '{');
	}
	text(s, "type", "string");
	if (t->pattern)
		text(s, "pattern", t->pattern);
	else if (!t->empty)
		number(s, "minLength", 1);
	if (t->integer) {
		close_(s, '}');
		close_(s, ']');
	}
}

static void
property(void *arg, const struct shape_key *k, size_t off)
{
	struct schema *s = arg;
	const char *e = k->example ? k->example : shape_example(k->type);

	(void)off;
	if (k->type->kind == SHAPE_NOT)
		return;
	key(s, k->key);
	open_(s, '{');
	text(s, "description", arena_printf(s->a, "%s%s%s%s%s%s%s", k->doc,
	    *e ? " Example: `" : "", *e ? e : "", *e ? "`." : "",
	    k->id ? " (" : "", k->id ? k->id : "", k->id ? ")" : ""));
	type_in(s, k->type);
	close_(s, '}');
}

static void
required(void *arg, const struct shape_key *k, size_t off)
{
	struct schema *s = arg;

	(void)off;
	if (!k->required)
		return;
	line(s);
	buf_json(s->out, k->key);
}

static void
is_required(void *arg, const struct shape_key *k, size_t off)
{
	(void)off;
	*(bool *)arg |= k->required;
}

static void
record(struct schema *s, const struct shape_type *t)
{
	bool any = false;

	text(s, "type", "object");
	if (t->wanted)
		text(s, "title", t->wanted);
	key(s, "properties");
	open_(s, '{');
	shape_keys_each(t, property, s);
	close_(s, '}');
	shape_keys_each(t, is_required, &any);
	if (any) {
		key(s, "required");
		open_(s, '[');
		shape_keys_each(t, required, s);
		close_(s, ']');
	}
	truth(s, "additionalProperties", false);
	if (!t->empty && !any)
		number(s, "minProperties", 1);
}

static void
list(struct schema *s, const struct shape_type *t)
{
	if (t->lone) {
		key(s, "anyOf");
		open_(s, '[');
		line(s);
		type_object(s, t->item);
		line(s);
		open_(s, '{');
	}
	text(s, "type", "array");
	if (!t->empty)
		number(s, "minItems", 1);
	key(s, "items");
	type_object(s, t->item);
	if (t->lone) {
		close_(s, '}');
		close_(s, ']');
	}
}

static void
type_body(struct schema *s, const struct shape_type *t)
{
	switch (t->kind) {
	case SHAPE_TEXT:
		key(s, "type");
		open_(s, '[');
		line(s);
		buf_json(s->out, "string");
		line(s);
		buf_json(s->out, "number");
		close_(s, ']');
		if (t->pattern)
			text(s, "pattern", t->pattern);
		else if (!t->empty)
			number(s, "minLength", 1);
		number(s, "maxLength", t->hi ? t->hi : SHAPE_TEXT_MOST);
		return;
	case SHAPE_NAME:
		text(s, "type", "string");
		text(s, "pattern", "^[a-z][a-z0-9_-]{0,47}$");
		return;
	case SHAPE_OWN:
		own(s, t);
		return;
	case SHAPE_BOOL:
		text(s, "type", "boolean");
		return;
	case SHAPE_INT:
		text(s, "type", "integer");
		number(s, "minimum", t->lo);
		if (t->hi != UINT64_MAX)
			number(s, "maximum", t->hi);
		return;
	case SHAPE_WORD:
		words(s, t);
		return;
	case SHAPE_SIZE:
		text(s, "type", "string");
		text(s, "pattern", "^[0-9]+ ?(B|bytes?|[kK]B|[MG]B|[KMG]iB)$");
		return;
	case SHAPE_BOUND:
		text(s, "type", "string");
		text(s, "pattern", "^(up to|below) [0-9]+ ?(B|bytes?|[kK]B|[MG]B|[KMG]iB)$");
		return;
	case SHAPE_TIME:
		text(s, "type", "string");
		text(s, "pattern", "^([0-9]+ ?(s|sec|seconds?|min|minutes?|h|hours?|d|days?|weeks?)"
		    "|second|minute|hour|day|week)$");
		return;
	case SHAPE_DAY:
		text(s, "type", "string");
		text(s, "pattern", "^[0-9]{4}-[0-9]{2}-[0-9]{2}$");
		return;
	case SHAPE_LIST:
		list(s, t);
		return;
	case SHAPE_MAP:
		text(s, "type", "object");
		if (!t->empty)
			number(s, "minProperties", 1);
		if (!t->plain_keys) {
			key(s, "propertyNames");
			open_(s, '{');
			text(s, "pattern", "^[a-z][a-z0-9_-]{0,47}$");
			close_(s, '}');
		}
		key(s, "additionalProperties");
		type_object(s, t->item);
		return;
	case SHAPE_REC:
		record(s, t);
		return;
	case SHAPE_ONE:
		key(s, "anyOf");
		open_(s, '[');
		for (const struct shape_alt *a = t->alt; a->type; a++) {
			line(s);
			type_object(s, a->type);
		}
		close_(s, ']');
		return;
	case SHAPE_NOT:
		return;
	}
}

/* The named types, each once, in order of first sight. */
static void
collect(struct schema *s, const struct shape_type *t);

static void
collect_key(void *arg, const struct shape_key *k, size_t off)
{
	(void)off;
	collect(arg, k->type);
}

static void
collect(struct schema *s, const struct shape_type *t)
{
	if (t->id) {
		for (size_t i = 0; i < s->ndef; i++)
			if (s->def[i] == t)
				return;
		if (s->ndef == MOST_DEFS)
			return;
		s->def[s->ndef++] = t;
	}
	if (t->item)
		collect(s, t->item);
	if (t->keys)
		shape_keys_each(t, collect_key, s);
	for (const struct shape_alt *a = t->alt; a && a->type; a++)
		collect(s, a->type);
}

void
shape_schema_print(struct buf *out, const struct shape_type *root,
    const char *id, const char *title)
{
	struct schema s = {.out = out, .a = arena_new()};

	collect(&s, root);
	open_(&s, '{');
	text(&s, "$schema", "https://json-schema.org/draft/2020-12/schema");
	text(&s, "$id", id);
	text(&s, "title", title);
	type_in(&s, root);
	key(&s, "$defs");
	open_(&s, '{');
	for (size_t i = 0; i < s.ndef; i++) {
		key(&s, s.def[i]->id);
		open_(&s, '{');
		type_body(&s, s.def[i]);
		close_(&s, '}');
	}
	close_(&s, '}');
	close_(&s, '}');
	buf_chr(out, '\n');
	arena_free(s.a);
}
