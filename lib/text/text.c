#include "text/text.h"

#include <string.h>

#include "base/arena.h"
#include "base/utf8.h"

struct text_set *
text_set_new(struct arena *a)
{
	struct text_set *t = arena_of(a, struct text_set);

	t->a = a;
	return t;
}

uint32_t
text_add(struct text_set *t, const char *name, const char *bytes, size_t len)
{
	struct text_file *f = arena_of(t->a, struct text_file);

	*f = (struct text_file){.name = name, .bytes = bytes, .len = len};
	ARENA_PUSH(t->a, t->file, t->n, t->cap) = f;
	return t->n - 1;
}

static void
lines(struct text_set *t, struct text_file *f)
{
	uint32_t cap = 0;

	if (f->line)
		return;
	ARENA_PUSH(t->a, f->line, f->nline, cap) = 0;
	for (const char *p = f->bytes, *end = p + f->len;
	    (p = memchr(p, '\n', (size_t)(end - p))); ) {
		p++;
		ARENA_PUSH(t->a, f->line, f->nline, cap) =
		    (uint32_t)(p - f->bytes);
	}
}

/* The index of the line that holds off. */
static uint32_t
line_of(const struct text_file *f, uint32_t off)
{
	uint32_t lo = 0, hi = f->nline;

	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (f->line[mid] <= off)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

struct text_place
text_place(struct text_set *t, struct text_span s)
{
	struct text_file *f;
	struct text_place p = {.name = ""};
	uint32_t l, off;

	if (s.file >= t->n)
		return p;
	f = t->file[s.file];
	lines(t, f);
	off = s.off < f->len ? s.off : (uint32_t)f->len;
	l = line_of(f, off);
	p.name = f->name;
	p.line = l + 1;
	p.col = 1;
	for (uint32_t i = f->line[l]; i < off; p.col++) {
		uint32_t c;
		size_t k = utf8_next(f->bytes + i, off - i, &c);

		i += k ? (uint32_t)k : 1;
	}
	return p;
}

const char *
text_line(struct text_set *t, uint32_t file, uint32_t off, size_t *len)
{
	struct text_file *f = t->file[file];
	uint32_t l;
	const char *p, *e;

	lines(t, f);
	l = line_of(f, off < f->len ? off : (uint32_t)f->len);
	p = f->bytes + f->line[l];
	e = memchr(p, '\n', f->len - f->line[l]);
	*len = e ? (size_t)(e - p) : f->len - f->line[l];
	if (*len && p[*len - 1] == '\r')
		--*len;
	return p;
}

struct text_span
text_join(struct text_span a, struct text_span b)
{
	uint32_t end = b.off + b.len;

	if (a.file == TEXT_NOWHERE)
		return b;
	if (b.file == a.file && end > a.off)
		a.len = end - a.off;
	return a;
}
