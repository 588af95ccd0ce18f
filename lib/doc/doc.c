/*
 * doc: libyaml's events to a tree.
 *
 * Depth is counted here, event by event: libyaml 0.2.5 takes time that grows
 * with the square of the depth, and it looks at most 1024 characters ahead.
 */
#include "doc/doc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/arena.h"
#include "base/hash.h"
#include "doc/inside.h"

enum {
	NODES = 100,          /* allocated at a time */
	TEXT = 4096,          /* bytes for strings, at a time */
	FEW = 12              /* keys that are compared one by one */
};

/* A list or mapping that is being read. */
struct frame {
	struct doc_node *node;
	struct doc_node *key;       /* a mapping's key that waits for its value */
	struct doc_node **item;     /* in the work arena until its end */
	size_t nitem, itemcap;
	struct doc_pair *pair;
	size_t npair, paircap;
	struct hash_names *names;   /* of the keys, where they are many */
	bool flow;
};

struct parse {
	struct arena *a, *work;
	struct scan sc;
	struct diags *d;
	yaml_parser_t yaml;
	struct frame stack[DOC_DEPTH];
	size_t depth;
	struct doc_node *root;
	struct text_span last;      /* the node that ended last */
	size_t documents, events;
	struct doc_node *nodes;     /* the rest of the last NODES */
	size_t nnode;
	char *text;                 /* the rest of the last TEXT */
	size_t ntext;
};

static struct doc_node *
node_new(struct parse *p, enum doc_kind kind, const yaml_event_t *e)
{
	struct doc_node *n;

	if (!p->nnode) {
		p->nodes = arena_array(p->a, NODES, struct doc_node);
		p->nnode = NODES;
	}
	n = p->nodes++;
	p->nnode--;
	n->kind = kind;
	n->at = scan_span(&p->sc, e->start_mark.index, e->end_mark.index);
	return n;
}

/* A NUL-terminated copy; many short ones share a piece of memory. */
static const char *
keep(struct parse *p, const char *s, size_t n)
{
	char *out;

	if (n >= TEXT / 4)
		return arena_strn(p->a, s, n);
	if (p->ntext < n + 1) {
		p->text = arena_alloc(p->a, TEXT);
		p->ntext = TEXT;
	}
	out = p->text;
	memcpy(out, s, n);
	p->text += n + 1;
	p->ntext -= n + 1;
	return out;
}

static struct frame *
top(struct parse *p)
{
	return p->depth ? &p->stack[p->depth - 1] : NULL;
}

/* Blanks and line ends behind a block scalar are not its own. */
static void
trim(const struct parse *p, struct text_span *at)
{
	while (at->len && strchr(" \t\r\n", p->sc.s[at->off + at->len - 1]))
		at->len--;
}

/* Whether a word is there, and is nothing that must be written otherwise. */
static bool
plain_is_fine(struct parse *p, const struct doc_node *n, bool is_key)
{
	struct diag *g;

	switch (word_of(n->s, n->n)) {
	case WORD_STRING:
	case WORD_TRUTH:
	case WORD_NUMBER:
		return true;
	case WORD_NULL:
		if (!p->depth && !n->n) {
			diag_add(p->d, DIAG_E0118, n->at,
			    "there is nothing in this file");
			return false;
		}
		if (is_key)
			g = diag_add(p->d, DIAG_E0123, n->at, "the key is empty");
		else
			g = diag_add(p->d, DIAG_E0119, n->at,
			    n->n ? "`%s` is no value" : "a value is missing",
			    n->s);
		if (n->n)
			diag_hint(p->d, g, "put \"%s\" in quotes if it is a string",
			    n->s);
		return false;
	case WORD_BOOLEAN:
		g = diag_add(p->d, DIAG_E0120, n->at,
		    "`%s` is a boolean to some readers and a string to others",
		    n->s);
		if (is_key)
			diag_hint(p->d, g, "write \"%s\" in quotes", n->s);
		else
			diag_hint(p->d, g, "write `%s`, or \"%s\" if it is a string",
			    strchr("yYtT", n->s[0]) || !strcasecmp(n->s, "on") ?
			    "true" : "false", n->s);
		return false;
	case WORD_BASE60:
		g = diag_add(p->d, DIAG_E0121, n->at,
		    "`%s` is a number in base 60 to some readers", n->s);
		diag_hint(p->d, g, "write \"%s\" in quotes", n->s);
		return false;
	case WORD_MERGE:
		if (!is_key)
			return true;
		g = diag_add(p->d, DIAG_E0115, n->at, "a policy has no merge keys");
		diag_hint(p->d, g, "write the keys here that are to be merged");
		return false;
	}
	return false;
}

/* A value that is not there is best shown at its key or dash. */
static void
place_nothing(struct parse *p, struct doc_node *n)
{
	struct frame *f = top(p);
	const char *s = p->sc.s;

	if (f && f->key) {
		n->at = f->key->at;
		return;
	}
	while (n->at.off && strchr(" \t\r\n", s[n->at.off - 1]))
		n->at.off--;
	if (n->at.off) {
		n->at.off--;
		n->at.len = 1;
	}
}

/* Whether what is being read is inside of a key: `{{ name }}`. The key itself
 * is reported at its end, and that is enough. */
static bool
inside_key(const struct parse *p)
{
	for (size_t i = 0; i + 1 < p->depth; i++)
		if (p->stack[i].node->kind == DOC_MAP && !p->stack[i].key)
			return true;
	return false;
}

/* The key for which there is no value. A trap is told apart: `2001:db8::`
 * and a line end is the key `2001:db8:` to YAML. */
static void
no_value(struct parse *p, struct doc_node *n)
{
	struct doc_node *key = p->stack[p->depth - 1].key;
	struct text_span at = key->at;

	n->bad = true;
	if (key->bad || key->kind != DOC_SCALAR || inside_key(p))
		return;
	at.len++;
	if (!key->quoted && at.off + at.len <= p->sc.n &&
	    why_looks_ipv6(p->sc.s + at.off, at.len)) {
		diag_hint(p->d, diag_add(p->d, DIAG_E0112, at,
		    "an IPv6 address needs quotes here"), "write \"%.*s\"",
		    (int)at.len, p->sc.s + at.off);
		return;
	}
	diag_hint(p->d, diag_add(p->d, DIAG_E0119, key->at, "`%s` has no value",
	    key->s), "write a value, indent what belongs to the key, or leave the key out");
}

/* The place of an earlier pair with this key, or SIZE_MAX. */
static size_t
pair_with(struct parse *p, struct frame *f, const struct doc_node *key)
{
	int fresh;
	size_t i;

	if (f->npair < FEW) {
		for (i = 0; i < f->npair; i++)
			if (f->pair[i].key->n == key->n &&
			    !memcmp(f->pair[i].key->s, key->s, key->n))
				return i;
		return SIZE_MAX;
	}
	if (!f->names) {
		f->names = hash_names_new(p->work);
		for (i = 0; i < f->npair; i++)
			hash_names_add(f->names, f->pair[i].key->s,
			    f->pair[i].key->n, NULL);
	}
	i = hash_names_add(f->names, key->s, key->n, &fresh);
	return fresh ? SIZE_MAX : i;
}

static void
add_pair(struct parse *p, struct frame *f, struct doc_node *key,
    struct doc_node *value)
{
	size_t old;

	f->key = NULL;
	if (key->bad || key->kind != DOC_SCALAR) {
		f->node->bad = true;
		return;
	}
	old = pair_with(p, f, key);
	if (old != SIZE_MAX) {
		diag_also(diag_hint(p->d, diag_add(p->d, DIAG_E0122, key->at,
		    "`%s` is repeated", key->s),
		    "merge the two, or delete one"), f->pair[old].key->at,
		    "it stands here already");
		return;
	}
	ARENA_PUSH(p->work, f->pair, f->npair, f->paircap) =
	    (struct doc_pair){key, value};
}

/* Puts a node where it belongs: a whole scalar, list or mapping. */
static void
place(struct parse *p, struct doc_node *n)
{
	struct frame *f = top(p);

	p->last = n->at;
	if (!f) {
		p->root = n;
	} else if (f->node->kind == DOC_SEQ) {
		ARENA_PUSH(p->work, f->item, f->nitem, f->itemcap) = n;
	} else if (!f->key) {
		if (n->kind != DOC_SCALAR && !inside_key(p))
			diag_hint(p->d, diag_add(p->d, DIAG_E0123, n->at,
			    "the key is %s", doc_kind_text(n->kind)),
			    "put it in quotes if it is a string");
		f->key = n;
	} else {
		add_pair(p, f, f->key, n);
	}
}

/* Whether the next node is a key. */
static bool
at_key(const struct parse *p)
{
	const struct frame *f = p->depth ? &p->stack[p->depth - 1] : NULL;

	return f && f->node->kind == DOC_MAP && !f->key;
}

static bool
properties(struct parse *p, const yaml_char_t *tag, const yaml_char_t *anchor,
    struct text_span at)
{
	/* They come first; what they belong to is not shown. */
	for (uint32_t i = 0; i < at.len; i++)
		if (strchr(" \t\r\n", p->sc.s[at.off + i]))
			at.len = i;
	if (tag)
		diag_hint(p->d, diag_add(p->d, DIAG_E0113, at,
		    "a policy has no tags"),
		    "leave it out; a string that begins with `!` needs quotes");
	if (anchor)
		diag_hint(p->d, diag_add(p->d, DIAG_E0114, at,
		    "a policy has no anchors"),
		    "leave it out; a string that begins with `&` needs quotes");
	return !tag && !anchor;
}

static void
scalar(struct parse *p, const yaml_event_t *e)
{
	const char *s = (const char *)e->data.scalar.value;
	size_t n = e->data.scalar.length;
	struct doc_node *x = node_new(p, DOC_SCALAR, e);
	bool key = at_key(p);
	size_t most = key ? (size_t)DOC_KEY_MOST : (size_t)DOC_SCALAR_MOST;

	x->s = "";
	x->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	trim(p, &x->at);
	if (!properties(p, e->data.scalar.tag, e->data.scalar.anchor, x->at)) {
		x->bad = true;
	} else if (n > most) {
		diag_add(p->d, DIAG_E0108, x->at,
		    "%s has %zu bytes, and %zu is the most",
		    key ? "the key" : "the string", n, most);
		x->bad = true;
	} else if (e->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE &&
	    !scan_decoded(s, n, x->at, p->d)) {
		x->bad = true;
	} else {
		x->s = keep(p, s, n);
		x->n = n;
		if (!x->quoted && !n)
			place_nothing(p, x);
		if (!x->quoted && !n && !key && top(p) && top(p)->key)
			no_value(p, x);
		else if (!x->quoted)
			x->bad = !plain_is_fine(p, x, key);
	}
	place(p, x);
}

/* Gives false where it is too deep to go on. */
static bool
begin(struct parse *p, enum doc_kind kind, const yaml_event_t *e)
{
	struct doc_node *n = node_new(p, kind, e);
	bool seq = kind == DOC_SEQ;

	if (p->depth == DOC_DEPTH) {
		diag_add(p->d, DIAG_E0107, n->at,
		    "nested deeper than %d lists and mappings", DOC_DEPTH);
		return false;
	}
	if (!properties(p, seq ? e->data.sequence_start.tag :
	    e->data.mapping_start.tag, seq ? e->data.sequence_start.anchor :
	    e->data.mapping_start.anchor, n->at))
		n->bad = true;
	p->stack[p->depth++] = (struct frame){
		.node = n,
		.flow = seq ? e->data.sequence_start.style ==
		    YAML_FLOW_SEQUENCE_STYLE : e->data.mapping_start.style ==
		    YAML_FLOW_MAPPING_STYLE,
	};
	return true;
}

/* Ends the innermost list or mapping; `e` is its end, or NULL where the text
 * breaks off. */
static void
end(struct parse *p, const yaml_event_t *e)
{
	struct frame *f = &p->stack[p->depth - 1];
	struct doc_node *n = f->node;

	if (!e) {
		n->bad = true;
		if (f->key && f->key->kind == DOC_SCALAR) {
			/* Its value is what the error is about. */
			struct doc_node *x = arena_of(p->a, struct doc_node);

			*x = (struct doc_node){.kind = DOC_SCALAR, .bad = true,
			    .at = f->key->at, .s = ""};
			add_pair(p, f, f->key, x);
		}
	}
	if (n->kind == DOC_SEQ) {
		n->item = arena_resize(p->a, f->item, f->nitem, f->nitem,
		    sizeof *f->item);
		n->nitem = f->nitem;
	} else {
		n->pair = arena_resize(p->a, f->pair, f->npair, f->npair,
		    sizeof *f->pair);
		n->npair = f->npair;
	}
	if (e && f->flow) {
		n->at = text_join(n->at, scan_span(&p->sc,
		    e->start_mark.index, e->end_mark.index));
	} else {
		/* A block ends with its last part: libyaml's end is that of
		 * the blank lines and comments behind it. */
		n->at = text_join(n->at, p->last);
		trim(p, &n->at);
	}
	p->depth--;
	place(p, n);
}

/* Gives false where there is nothing more to read. */
static bool
event(struct parse *p, const yaml_event_t *e)
{
	struct text_span at;

	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		at = scan_span(&p->sc, e->start_mark.index, e->end_mark.index);
		if (p->documents++) {
			diag_hint(p->d, diag_add(p->d, DIAG_E0117, at,
			    "a second document begins here"),
			    "make it a file of its own, or delete the line");
			return false;
		}
		if (e->data.document_start.version_directive ||
		    e->data.document_start.tag_directives.start !=
		    e->data.document_start.tag_directives.end) {
			diag_hint(p->d, diag_add(p->d, DIAG_E0116, at,
			    "a policy has no directives"),
			    "leave out the lines that begin with `%%`");
		}
		return true;
	case YAML_DOCUMENT_END_EVENT:
		if (e->data.document_end.implicit)
			return true;
		at = scan_span(&p->sc, e->start_mark.index, e->end_mark.index);
		diag_hint(p->d, diag_add(p->d, DIAG_E0117, at,
		    "the text is ended before the file is"), "delete the line");
		return true;
	case YAML_ALIAS_EVENT: {
		struct doc_node *n = node_new(p, DOC_SCALAR, e);

		n->s = "";
		n->bad = true;
		diag_hint(p->d, diag_add(p->d, DIAG_E0114, n->at,
		    "a policy has no aliases"), "write \"%.*s\" if it is a string",
		    n->at.len < 80 ? (int)n->at.len : 80,
		    p->sc.s + n->at.off);
		place(p, n);
		return true;
	}
	case YAML_SCALAR_EVENT:
		scalar(p, e);
		return true;
	case YAML_SEQUENCE_START_EVENT:
		return begin(p, DOC_SEQ, e);
	case YAML_MAPPING_START_EVENT:
		return begin(p, DOC_MAP, e);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		end(p, e);
		return true;
	case YAML_STREAM_END_EVENT:
		return false;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
		return true;
	}
	return true;
}

static void
complain(struct parse *p)
{
	struct complaint c = {
		.problem = p->yaml.problem,
		.context = p->yaml.context,
		.at = p->yaml.problem_mark.index,
		.context_at = p->yaml.context_mark.index,
		.last = p->last,
		.bracket = TEXT_NO_SPAN,
	};

	if (p->yaml.error == YAML_MEMORY_ERROR) {
		yaml_parser_delete(&p->yaml);
		arena_no_memory();
	}
	if (p->yaml.error == YAML_READER_ERROR) {
		/* Its mark is nowhere, and its offset counts bytes. What it
		 * refuses was refused by scan_bytes(), so this is one more
		 * lock on the same door. */
		uint32_t off = (uint32_t)(p->yaml.problem_offset < p->sc.n ?
		    p->yaml.problem_offset : p->sc.n);

		diag_add(p->d, DIAG_E0102, (struct text_span){p->sc.file, off, 1},
		    "the text cannot be read here");
		return;
	}
	/* The innermost bracket, if the innermost thing is in one. */
	for (size_t i = p->depth; i--; ) {
		if (!p->stack[i].flow)
			continue;
		c.bracket = p->stack[i].node->at;
		/* `[a: b]` opens a mapping without a bracket. */
		if (c.bracket.len)
			break;
	}
	why_syntax(&p->sc, &c, p->d);
}

static void
run(struct parse *p)
{
	bool more = true;

	if (!yaml_parser_initialize(&p->yaml))
		arena_no_memory();
	yaml_parser_set_encoding(&p->yaml, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p->yaml, (const unsigned char *)p->sc.s,
	    p->sc.n);
	while (more) {
		yaml_event_t e;

		if (!yaml_parser_parse(&p->yaml, &e)) {
			complain(p);
			break;
		}
		p->events++;
		more = event(p, &e);
		yaml_event_delete(&e);
		/* Past the limit nothing more would be shown. */
		if (p->d->dropped)
			more = false;
	}
	yaml_parser_delete(&p->yaml);
	while (p->depth)
		end(p, NULL);
}

struct doc_node *
doc_parse_most(struct arena *a, struct text_set *t, uint32_t file, size_t most,
    size_t *events, struct diags *d)
{
	struct parse p = {.a = a, .d = d, .last = TEXT_NO_SPAN};
	const struct text_file *f = t->file[file];
	struct text_span start = {file, 0, 0};

	if (events)
		*events = 0;
	if (f->len > most) {
		diag_hint(d, diag_add(d, DIAG_E0101, start,
		    "the file has %zu bytes, and %zu is the most", f->len, most),
		    "put long lists into files of their own: `ranges-from: FILE`");
		return NULL;
	}
	p.work = arena_new();
	if (scan_bytes(p.work, t, file, &p.sc, d)) {
		run(&p);
		if (!p.documents && !d->errors)
			diag_add(d, DIAG_E0118, start,
			    "there is nothing in this file");
	}
	arena_free(p.work);
	if (events)
		*events = p.events;
	return p.root;
}

struct doc_node *
doc_parse(struct arena *a, struct text_set *t, uint32_t file, struct diags *d)
{
	return doc_parse_most(a, t, file, DOC_MOST, NULL, d);
}

const struct doc_pair *
doc_find(const struct doc_node *map, const char *key)
{
	size_t n = strlen(key);

	assert(map->kind == DOC_MAP);
	for (size_t i = 0; i < map->npair; i++)
		if (map->pair[i].key->n == n &&
		    !memcmp(map->pair[i].key->s, key, n))
			return &map->pair[i];
	return NULL;
}

const char *
doc_kind_text(enum doc_kind k)
{
	switch (k) {
	case DOC_SCALAR:
		return "a string";
	case DOC_SEQ:
		return "a list";
	case DOC_MAP:
		return "a mapping";
	}
	return "";
}
