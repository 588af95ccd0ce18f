/*
 * diag: a diagnostic is a record.
 *
 * Whatever is wrong with a policy is told by one of these: a stable code, a
 * place, perhaps a second place that it clashes with, what was wanted and
 * what was seen, and the way out. All are collected, sorted by place and
 * printed once; printing (text with a caret, JSON, SARIF, GitHub) is in
 * text/print.h.
 */
#ifndef TEXT_DIAG_H
#define TEXT_DIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/text.h"

struct arena;

enum diag_severity {
	DIAG_ERROR,
	DIAG_WARNING,
	DIAG_NOTE,
};

/* One row a code, in the .def file of the room that reports it. The
 * severity is part of the code: E errors, W warnings, N notes. */
enum diag_code {
#define CODE(code, title, text) DIAG_##code,
#include "text/codes.def"
#undef CODE
	DIAG_NCODE
};

struct diag_row {
	const char *code;   /* "E0123" */
	const char *title;  /* a few words, lower case */
	const char *text;   /* the explanation: cause, example, way out */
};

struct diag {
	enum diag_code code;
	enum diag_severity severity;
	struct text_span at;
	struct text_span also;     /* TEXT_NO_SPAN when there is none */
	const char *also_label;    /* what the second place is; NULL */
	const char *message;       /* one sentence, no full stop */
	const char *hint;          /* the way out; NULL when the message is it */
	bool hidden;               /* what stands at `at` may be a secret: no snippet shows it */
};

struct diags {
	struct arena *a;
	struct diag *v;
	size_t n, cap;
	size_t errors, warnings;
	size_t dropped;            /* past the limit */
};

enum { DIAG_MOST = 200 };

/* A new, empty list in the arena. */
struct diags *
diags_new(struct arena *a);

/* Adds a diagnostic with a formatted message; gives the record, so that a
 * hint or a second place can be set. Never NULL: past DIAG_MOST a record is
 * given that is not in the list. */
struct diag *
diag_add(struct diags *d, enum diag_code code, struct text_span at,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Sets the hint of a record. Returns the record. */
struct diag *
diag_hint(struct diags *d, struct diag *g, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the second place of a record. Returns the record. */
struct diag *
diag_also(struct diag *g, struct text_span at, const char *label);

/* Sorts by place (file, offset, code) and drops exact repeats. */
void
diags_sort(struct diags *d);

/* The row of a code; its number by name ("E0123", any case), or
 * DIAG_NCODE. */
const struct diag_row *
diag_row(enum diag_code code);

enum diag_code
diag_code_find(const char *name);

#endif
