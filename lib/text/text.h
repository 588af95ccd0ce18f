/*
 * text: source text and places in it.
 *
 * Offsets travel; lines and columns are computed when they are printed. A
 * span is 12 bytes, so every node of a policy can carry one.
 */
#ifndef TEXT_TEXT_H
#define TEXT_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct arena;

struct text_span {
	uint32_t file;  /* number in the text set; TEXT_NOWHERE: no place */
	uint32_t off;   /* bytes */
	uint32_t len;   /* bytes */
};

#define TEXT_NOWHERE UINT32_MAX
#define TEXT_NO_SPAN ((struct text_span){.file = TEXT_NOWHERE})

struct text_file {
	const char *name;   /* as the user wrote it, or relative to the policy */
	const char *bytes;  /* NUL-terminated behind len */
	size_t len;
	uint32_t *line;     /* offset of each line, made on first use */
	uint32_t nline;
};

/* All the files that a compilation has read. */
struct text_set {
	struct arena *a;
	struct text_file **file;  /* places stay valid */
	uint32_t n, cap;
};

struct text_place {
	const char *name;
	uint32_t line, col;  /* from 1; columns count code points */
};

/* A new, empty set in the arena. */
struct text_set *
text_set_new(struct arena *a);

/* Adds a file (name and bytes are copied by reference: they must live as long
 * as the set) and gives its number. len < UINT32_MAX. */
uint32_t
text_add(struct text_set *t, const char *name, const char *bytes, size_t len);

/* The place where the span begins; name is "" for TEXT_NO_SPAN. */
struct text_place
text_place(struct text_set *t, struct text_span s);

/* The bytes of the line that holds offset off, without its end of line. */
const char *
text_line(struct text_set *t, uint32_t file, uint32_t off, size_t *len);

/* The span from the start of a to the end of b, both in one file. */
struct text_span
text_join(struct text_span a, struct text_span b);

#endif
