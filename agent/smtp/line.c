#include "smtp/line.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What is kept between lines; most commands fit. */
enum { SMALL = 512 };

void
smtp_line_init(struct smtp_line *l, size_t max)
{
	*l = (struct smtp_line){.max = max};
}

void
smtp_line_free(struct smtp_line *l)
{
	if (l->p)
		explicit_bzero(l->p, l->cap);
	free(l->p);
	smtp_line_init(l, l->max);
}

void
smtp_line_again(struct smtp_line *l)
{
	if (l->cap > SMALL) {
		smtp_line_free(l);
		return;
	}
	if (l->p)
		explicit_bzero(l->p, l->cap);
	l->n = l->seen = 0;
	l->cr = l->over = l->nul = l->lost = false;
}

/* Room for n more bytes and a NUL. Not realloc(3): it would leave the old
 * bytes, perhaps a password, in memory that is nobody's. */
static bool
room(struct smtp_line *l, size_t n)
{
	size_t cap = l->cap ? l->cap : SMALL;
	char *p;

	if (l->n + n + 1 <= l->cap)
		return true;
	while (cap < l->n + n + 1)
		cap *= 2;
	p = malloc(cap);
	if (!p)
		return false;
	if (l->p) {
		memcpy(p, l->p, l->n);
		explicit_bzero(l->p, l->cap);
		free(l->p);
	}
	l->p = p;
	l->cap = cap;
	return true;
}

static void
keep(struct smtp_line *l, const char *p, size_t n)
{
	size_t most = l->max - 2;

	l->seen += n;
	if (memchr(p, 0, n))
		l->nul = true;
	if (n > most - l->n) {
		l->over = true;
		n = most - l->n;
	}
	if (l->lost || !n)
		return;
	if (!room(l, n)) {
		l->lost = true;
		return;
	}
	memcpy(l->p + l->n, p, n);
	l->n += n;
}

size_t
smtp_line_feed(struct smtp_line *l, const char *p, size_t n, enum smtp_line_is *is)
{
	size_t i = 0;

	assert(l->max > 2);
	while (i < n) {
		size_t from = i;

		if (l->cr) {
			if (p[i] != '\n') {
				*is = SMTP_LINE_BARE_CR;
				return i;
			}
			l->seen += 2;
			if (!l->lost && !room(l, 0))
				l->lost = true;
			if (!l->lost)
				l->p[l->n] = 0;
			*is = SMTP_LINE_WHOLE;
			return i + 1;
		}
		while (i < n && p[i] != '\r' && p[i] != '\n')
			i++;
		if (i > from)
			keep(l, p + from, i - from);
		if (i == n)
			break;
		if (p[i] == '\n') {
			*is = SMTP_LINE_BARE_LF;
			return i;
		}
		l->cr = true;
		i++;
	}
	*is = SMTP_LINE_MORE;
	return n;
}
