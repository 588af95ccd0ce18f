/*
 * shape: what a tree of nodes must look like, as const rows.
 *
 * A row says for one key: its name, the type of its value, where the value
 * goes in a record, whether it must be there, one line of documentation, an
 * example, and the requirement it serves. From the same rows come the
 * binding of nodes to records, all mistakes in one pass (codes E03xx), the JSON
 * Schema, and the table in the manual. This room knows no key.
 *
 * A record that rows bind to is a struct of the value structs below. Each of
 * these begins with the node it came from (NULL: not given) and whether it is
 * usable; a mistake has been reported where a node is there and `ok` is not.
 */
#ifndef SHAPE_SHAPE_H
#define SHAPE_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "doc/doc.h"
#include "text/diag.h"

struct arena;
struct buf;
struct shape_key;
struct shape_type;

/* ---- values ----------------------------------------------------------- */

/* What every value begins with. */
#define SHAPE_HEAD \
	const struct doc_node *node; \
	bool ok

struct shape_any {
	SHAPE_HEAD;
};

struct shape_text {          /* TEXT, NAME, OWN */
	SHAPE_HEAD;
	const char *s;       /* never NULL when ok */
	size_t n;
};

struct shape_num {           /* BOOL, INT, WORD, SIZE, BOUND, TIME */
	SHAPE_HEAD;
	bool strict;         /* BOUND: said `below` */
	uint64_t n;          /* 0 or 1; the number; the word's value; bytes; seconds */
};

struct shape_day {           /* DAY */
	SHAPE_HEAD;
	int y, m, d;
};

struct shape_list {          /* LIST, MAP */
	SHAPE_HEAD;
	void *v;             /* n values of the item's type; those not ok are left in */
	size_t n;
};

struct shape_rec {           /* REC: what the record begins with */
	SHAPE_HEAD;
	const struct doc_node *key; /* MAP: the key that names it; else NULL */
	const char *name;    /* MAP: the key; NULL when it is no name */
	bool unknown;        /* it has a key that it does not know, or none at all: what
	                        seems to be missing was reported or is mistyped */
};

/* Item i of a list of values of that C type. */
#define SHAPE_AT(list, type, i) (&((type *)(list).v)[i])

/* ---- types ------------------------------------------------------------- */

enum shape_kind {
	SHAPE_TEXT,   /* any text in one line; line breaks count as blanks */
	SHAPE_NAME,   /* [a-z][a-z0-9_-]*, at most 48 characters */
	SHAPE_OWN,    /* a word that the caller's `read` takes apart */
	SHAPE_BOOL,   /* true, false */
	SHAPE_INT,    /* decimal, lo..hi */
	SHAPE_WORD,   /* one of `words` */
	SHAPE_SIZE,   /* "5 MB", "5 MiB", "100 bytes" */
	SHAPE_BOUND,  /* "up to 5 MB", "below 5 MB" */
	SHAPE_TIME,   /* "10 min", "1 h", "2 days", "hour" */
	SHAPE_DAY,    /* 2026-11-21 */
	SHAPE_LIST,   /* a list of `item`; with `lone`, one item may stand alone */
	SHAPE_MAP,    /* names -> `item` */
	SHAPE_REC,    /* a mapping with the keys `keys` */
	SHAPE_ONE,    /* one of `alt`, told apart by the kind of the node */
	SHAPE_NOT,    /* a key that is no key: `wanted` says what to do */
};

struct shape_word {
	const char *word;    /* NULL ends the table */
	uint64_t value;
	const char *doc;     /* for schema and manual; NULL */
};

struct shape_alt {
	const struct shape_type *type;
	size_t off;          /* in the value of the ONE */
};

/* Takes the n bytes of an OWN apart, to tell whether they are fine: NULL, or a
 * clause that says what is wrong ("has no `@`"). Called for each value; what
 * is made of it is made later. */
typedef const char *
shape_read(struct arena *a, const char *s, size_t n);

struct shape_type {
	enum shape_kind kind;
	const char *wanted;  /* "a port": for "wants ..., not ..."; NULL: made from the kind */
	const char *example; /* a right value; NULL */
	const char *id;      /* REC, ONE: the name in the schema's $defs; NULL: inline */
	const char *title;   /* REC: the heading in the manual */
	uint64_t lo, hi;     /* INT: the bounds; TEXT: hi is the most bytes, 0: 1000 */
	const struct shape_word *words;
	const char *pattern; /* TEXT, OWN: a regular expression for the schema; NULL */
	bool integer;        /* OWN: a plain integer will do as well; lo..hi its bounds */
	bool empty;          /* TEXT, OWN: "" is a value; LIST, MAP, REC: so is [] or {} */
	bool lone;           /* LIST */
	bool plain_keys;     /* MAP: keys are any text, not names */
	bool secret;         /* what stands here wrongly may be a secret, and is not shown */
	shape_read *read;    /* OWN; NULL: nothing to check here */
	const struct shape_type *item;
	size_t size, off;    /* LIST, MAP: size of an element; MAP: where the item's value is
	                        in the element, which begins with a struct shape_rec */
	const struct shape_key *keys;   /* REC: up to the row without a type */
	const struct shape_alt *alt;    /* ONE: up to the row without a type */
};

/* A row. A row without a key splices in the keys of its type (a REC) as if
 * they stood here, their values at `off`. */
struct shape_key {
	const char *key;
	const struct shape_type *type;  /* NULL ends the rows */
	size_t off;
	bool required;
	const char *doc;     /* one line, an upper-case letter to a full stop */
	const char *example; /* the value as a user writes it; NULL: the type's */
	const char *id;      /* the requirement, "CAM-07"; NULL */
};

/* ---- use --------------------------------------------------------------- */

/* Binds the node to the record (the value of the type, zeroed). Reports all
 * mistakes; tells whether there were none. What is good is bound even so. */
bool
shape_bind(struct arena *a, struct diags *d, const struct shape_type *t,
    const struct doc_node *n, void *value);

/* The row for a key of a REC, through splices; *at, when not NULL, gets the
 * whole offset. NULL when there is none. */
const struct shape_key *
shape_key_find(const struct shape_type *rec, const char *key, size_t *at);

/* Calls fn for every row of a REC, through splices, in order. */
void
shape_keys_each(const struct shape_type *rec,
    void (*fn)(void *arg, const struct shape_key *k, size_t off), void *arg);

/* The alternative of the type that takes nodes of this kind: the type itself
 * when it is no ONE; NULL when none does. */
const struct shape_type *
shape_pick(const struct shape_type *t, enum doc_kind k, size_t *off);

/* "a number from 1 to 65535": what the type wants, for people. */
const char *
shape_wanted(struct arena *a, const struct shape_type *t);

/* A right value of the type, as YAML on one line; "" where none is known. */
const char *
shape_example(const struct shape_type *t);

/* Whether the n bytes at s are a name: [a-z][a-z0-9_-]*, at most SHAPE_NAME_MOST. */
bool
shape_name_ok(const char *s, size_t n);

enum { SHAPE_NAME_MOST = 48, SHAPE_TEXT_MOST = 1000 };

/* The kernel counts nanoseconds in 64 bits: a later date would come round again, as one
 * that is over. */
enum { SHAPE_YEAR_MOST = 2553 };

/* Whether y-m-d is a day of the calendar in 1970..SHAPE_YEAR_MOST; makes it the day after. */
bool
shape_day_ok(int y, int m, int d);
void
shape_day_next(int *y, int *m, int *d);

/* Reads "10 min" or "hour"; whether it is a duration. At most 100 years. */
bool
shape_time_read(const char *s, size_t n, uint64_t *seconds);

/* Reads "5 MB"; whether it is a size. */
bool
shape_size_read(const char *s, size_t n, uint64_t *bytes);

/* Prints the JSON Schema (draft 2020-12) of a REC. `id` and `title` go to its
 * head. */
void
shape_schema_print(struct buf *out, const struct shape_type *root,
    const char *id, const char *title);

/* Prints the records with a title, root first, as sections of a man(7) page:
 * each key, its value, its line, its example. */
void
shape_manual_print(struct buf *out, const struct shape_type *root);

#endif
