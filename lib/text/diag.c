#include "text/diag.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"

static const struct diag_row row[] = {
#define CODE(code, title, text) {#code, title, text},
#include "text/codes.def"
#undef CODE
	{NULL, NULL, NULL},
};

struct diags *
diags_new(struct arena *a)
{
	struct diags *d = arena_of(a, struct diags);

	d->a = a;
	return d;
}

static enum diag_severity
severity_of(enum diag_code code)
{
	switch (row[code].code[0]) {
	case 'W':
		return DIAG_WARNING;
	case 'N':
		return DIAG_NOTE;
	}
	return DIAG_ERROR;
}

struct diag *
diag_add(struct diags *d, enum diag_code code, struct text_span at,
    const char *fmt, ...)
{
	struct diag *g;
	va_list ap;

	if (severity_of(code) == DIAG_ERROR)
		d->errors++;
	else if (severity_of(code) == DIAG_WARNING)
		d->warnings++;
	if (d->n >= DIAG_MOST) {
		d->dropped++;
		g = arena_of(d->a, struct diag);
	} else {
		g = &ARENA_PUSH(d->a, d->v, d->n, d->cap);
	}
	va_start(ap, fmt);
	*g = (struct diag){
		.code = code,
		.severity = severity_of(code),
		.at = at,
		.also = TEXT_NO_SPAN,
		.message = arena_vprintf(d->a, fmt, ap),
	};
	va_end(ap);
	return g;
}

struct diag *
diag_hint(struct diags *d, struct diag *g, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g->hint = arena_vprintf(d->a, fmt, ap);
	va_end(ap);
	return g;
}

struct diag *
diag_also(struct diag *g, struct text_span at, const char *label)
{
	g->also = at;
	g->also_label = label;
	return g;
}

/* What is there before what is not. */
static int
by_text(const char *a, const char *b)
{
	if (!a || !b)
		return (b != NULL) - (a != NULL);
	return strcmp(a, b);
}

static int
by_place(const struct diag *a, const struct diag *b)
{
	if (a->at.file != b->at.file)
		return a->at.file < b->at.file ? -1 : 1;
	if (a->at.off != b->at.off)
		return a->at.off < b->at.off ? -1 : 1;
	if (a->code != b->code)
		return a->code < b->code ? -1 : 1;
	return strcmp(a->message, b->message);
}

/* By all there is, so that of repeats the same one stays whatever qsort(3) does. */
static int
by_all(const void *pa, const void *pb)
{
	const struct diag *a = pa, *b = pb;
	int c = by_place(a, b);

	if (!c)
		c = (a->at.len > b->at.len) - (a->at.len < b->at.len);
	if (!c)
		c = (a->also.file > b->also.file) - (a->also.file < b->also.file);
	if (!c)
		c = (a->also.off > b->also.off) - (a->also.off < b->also.off);
	if (!c)
		c = (a->also.len > b->also.len) - (a->also.len < b->also.len);
	if (!c)
		c = by_text(a->also_label, b->also_label);
	return c ? c : by_text(a->hint, b->hint);
}

void
diags_sort(struct diags *d)
{
	size_t n = 0;

	if (d->n)
		qsort(d->v, d->n, sizeof *d->v, by_all);
	for (size_t i = 0; i < d->n; i++) {
		if (n && !by_place(&d->v[n - 1], &d->v[i])) {
			if (d->v[i].severity == DIAG_ERROR)
				d->errors--;
			else if (d->v[i].severity == DIAG_WARNING)
				d->warnings--;
			continue;
		}
		d->v[n++] = d->v[i];
	}
	d->n = n;
}

const struct diag_row *
diag_row(enum diag_code code)
{
	return &row[code];
}

enum diag_code
diag_code_find(const char *name)
{
	for (int i = 0; i < DIAG_NCODE; i++)
		if (!strcasecmp(row[i].code, name))
			return (enum diag_code)i;
	return DIAG_NCODE;
}
