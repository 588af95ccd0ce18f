/*
 * doc: one YAML text as a tree of nodes, each with its place.
 *
 * libyaml gives the events; this room turns them into scalars, lists and
 * mappings and refuses what a policy has no use for: tags, anchors, aliases,
 * merge keys, directives, second documents, keys that are no strings,
 * repeated keys, empty values, and plain words that another reader of YAML
 * would take for a boolean, null or a number in base 60. It does not know
 * what any key or value means.
 *
 * All mistakes are diagnostics (codes E01xx).
 */
#ifndef DOC_DOC_H
#define DOC_DOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/text.h"

struct arena;
struct buf;
struct diags;

enum {
	DOC_MOST = 4 * 1024 * 1024,   /* bytes of a text */
	DOC_DEPTH = 32,               /* lists and mappings in each other */
	DOC_SCALAR_MOST = 64 * 1024,  /* bytes of one scalar */
};

enum doc_kind {
	DOC_SCALAR,
	DOC_SEQ,
	DOC_MAP,
};

struct doc_node {
	enum doc_kind kind;
	bool quoted;  /* a scalar in quotes, or a block scalar: certainly a string */
	bool bad;     /* reported already. A scalar without a usable value; or a
	               * list or mapping that breaks off: what is in it is
	               * good, but what is missing means nothing */
	struct text_span at;  /* with its quotes or brackets, without comments */
	union {
		struct {                   /* DOC_SCALAR */
			const char *s;     /* UTF-8, decoded; n bytes and a NUL; none inside */
			size_t n;
		};
		struct {                   /* DOC_SEQ */
			struct doc_node **item;
			size_t nitem;
		};
		struct {                   /* DOC_MAP, in the order of the text */
			struct doc_pair *pair;
			size_t npair;
		};
	};
};

struct doc_pair {
	struct doc_node *key;    /* always a scalar, each string once */
	struct doc_node *value;  /* never NULL */
};

/* Parses the text with this number in the set. Gives the root, or NULL when
 * nothing is usable; whatever was wrong is in d. Nodes live in the arena and
 * do not point into the text. A tree is given even where there were errors,
 * so that later passes can report theirs too: see `bad`. */
struct doc_node *
doc_parse(struct arena *a, struct text_set *t, uint32_t file, struct diags *d);

/* The same with another limit for the bytes of the text; *events, when not
 * NULL, gets the number of parser events it took, a measure of the work. */
struct doc_node *
doc_parse_most(struct arena *a, struct text_set *t, uint32_t file, size_t most,
    size_t *events, struct diags *d);

/* The pair of a mapping with this key, or NULL. Linear. */
const struct doc_pair *
doc_find(const struct doc_node *map, const char *key);

/* "a string", "a list", "a mapping": for messages. */
const char *
doc_kind_text(enum doc_kind k);

/* Whether the trees say the same (places and quoting style aside). */
bool
doc_equal(const struct doc_node *a, const struct doc_node *b);

/* Writes the tree as YAML in one canonical form: block style, two spaces a
 * level, quotes only where they are needed (or `quoted` is set and the word
 * would otherwise not be a string for sure). doc_parse() reads it back as an
 * equal tree. Nothing for NULL. Scalars that are bad are written as "". */
void
doc_dump(struct buf *out, const struct doc_node *n);

#endif
