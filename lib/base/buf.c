#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void
buf_free(struct buf *b)
{
	size_t max = b->max;

	free(b->p);
	*b = (struct buf)BUF_INIT(max);
}

/* Room for n more bytes and a NUL. */
static int
room(struct buf *b, size_t n)
{
	size_t cap;
	char *p;

	if (b->err)
		return b->err;
	if (n > b->max || b->n > b->max - n)
		return b->err = -E2BIG;
	if (b->n + n + 1 <= b->cap)
		return 0;
	cap = b->cap ? b->cap : 256;
	while (cap < b->n + n + 1)
		cap *= 2;
	p = realloc(b->p, cap);
	if (!p)
		return b->err = -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
	if (room(b, n))
		return;
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = 0;
}

void
buf_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_chr(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, aq;
	int n;

	va_start(ap, fmt);
	va_copy(aq, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n >= 0 && !room(b, (size_t)n)) {
		vsnprintf(b->p + b->n, (size_t)n + 1, fmt, aq);
		b->n += (size_t)n;
	}
	va_end(aq);
}

void
buf_dec(struct buf *b, uint64_t x)
{
	char t[20];
	size_t i = sizeof t;

	do
		t[--i] = (char)('0' + x % 10);
	while (x /= 10);
	buf_add(b, t + i, sizeof t - i);
}

void
buf_json(struct buf *b, const char *s)
{
	size_t n = strlen(s);

	buf_chr(b, '"');
	while (n) {
		uint32_t c;
		size_t k = utf8_next(s, n, &c);

		if (!k) {
			buf_str(b, "\\ufffd");
			k = 1;
		} else if (c == '"' || c == '\\') {
			buf_chr(b, '\\');
			buf_chr(b, (char)c);
		} else if (c < 0x20 || c == 0x7f) {
			buf_printf(b, "\\u%04x", (unsigned)c);
		} else {
			buf_add(b, s, k);
		}
		s += k;
		n -= k;
	}
	buf_chr(b, '"');
}
