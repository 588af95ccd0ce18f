/*
 * Types and parameters of MIME fields. Where the grammar is broken the reading that finds a name
 * is taken: what is looked for are names of attachments that a mail program might see.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "smtp/base64.h"
#include "smtp/field.h"

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t
blanks(const char *s, size_t n, size_t i)
{
	unsigned depth = 0;

	for (; i < n; i++) {
		if (depth && s[i] == '\\' && i + 1 < n)
			i++;
		else if (s[i] == '(')
			depth++;
		else if (depth && s[i] == ')')
			depth--;
		else if (!depth && !is_blank(s[i]))
			break;
	}
	return i;
}

static bool
is_token(char c)
{
	return (unsigned char)c > 32 && (unsigned char)c < 127 && !strchr("()<>@,;:\\\"/[]?=", c);
}

void
smtp_type_read(struct buf *out, const char *s, size_t n)
{
	size_t a = blanks(s, n, 0), b = a, c, d;

	while (b < n && is_token(s[b]))
		b++;
	c = blanks(s, n, b);
	if (b == a || c == n || s[c] != '/')
		goto plain;
	c = d = blanks(s, n, c + 1);
	while (d < n && is_token(s[d]))
		d++;
	if (d == c || b - a + d - c > 120)
		goto plain;
	for (size_t i = a; i < d; i++) {
		if (i == b) {
			buf_chr(out, '/');
			i = c;
		}
		buf_chr(out, (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] - 'A' + 'a' : s[i]));
	}
	return;
plain:
	buf_str(out, "text/plain");
}

/* The value that begins at i, added without quotes; gives the place behind it. */
static size_t
value(struct buf *out, const char *s, size_t n, size_t i)
{
	i = blanks(s, n, i);
	if (i < n && s[i] == '"') {
		for (i++; i < n && s[i] != '"'; i++) {
			if (s[i] == '\\' && i + 1 < n)
				i++;
			if (out && s[i] != '\r' && s[i] != '\n')
				buf_chr(out, s[i]);
		}
		return i < n ? i + 1 : n;
	}
	/* Blanks in a value without quotes are an error that many programs overlook. */
	for (; i < n && s[i] != ';'; i++)
		if (out && s[i] != '\r' && s[i] != '\n')
			buf_chr(out, s[i]);
	return i;
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent signs undone (RFC 2231 4), behind charset'language' where it is the first piece. */
static void
percent(struct buf *out, const char *s, size_t n, bool first)
{
	size_t i = 0;

	if (first) {
		const char *a = memchr(s, '\'', n);
		const char *b = a ? memchr(a + 1, '\'', n - (size_t)(a + 1 - s)) : NULL;

		i = b ? (size_t)(b + 1 - s) : 0;
	}
	for (; i < n; i++) {
		int hi, lo;

		if (s[i] == '%' && i + 2 < n && (hi = hex(s[i + 1])) >= 0 && (lo = hex(s[i + 2])) >= 0) {
			buf_chr(out, (char)(hi << 4 | lo));
			i += 2;
		} else {
			buf_chr(out, s[i]);
		}
	}
}

/* The encoded word at s, "=?charset?B?text?=", added decoded; its length or 0. */
static size_t
encoded_word(struct buf *out, const char *s, size_t n)
{
	const char *q1, *q2, *end = s + n, *text, *stop;
	struct buf b = BUF_INIT(4096);
	size_t k;

	if (n < 8 || s[0] != '=' || s[1] != '?' || !(q1 = memchr(s + 2, '?', n - 2)))
		return 0;
	if (end - q1 < 3 || q1[2] != '?')
		return 0;
	q2 = q1 + 2;
	text = q2 + 1;
	stop = memchr(text, '?', (size_t)(end - text));
	if (!stop || stop + 1 == end || stop[1] != '=')
		return 0;
	if (q1[1] == 'Q' || q1[1] == 'q') {
		for (const char *p = text; p < stop; p++) {
			int hi, lo;

			if (*p == '=' && stop - p > 2 && (hi = hex(p[1])) >= 0 && (lo = hex(p[2])) >= 0) {
				buf_chr(out, (char)(hi << 4 | lo));
				p += 2;
			} else {
				buf_chr(out, (char)(*p == '_' ? ' ' : *p));
			}
		}
	} else {
		buf_add(&b, text, (size_t)(stop - text));
		/* Padding is often forgotten. */
		while (!b.err && b.n % 4)
			buf_chr(&b, '=');
		if (b.err || !b.n || !smtp_base64_read(b.p, b.n, &k)) {
			if (b.err == -ENOMEM)
				out->err = b.err;
			buf_free(&b);
			return 0;
		}
		buf_add(out, b.p, k);
		buf_free(&b);
	}
	return (size_t)(stop + 2 - s);
}

static void
encoded_words(struct buf *out, const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t k = encoded_word(out, s + i, n - i), j;

		if (!k) {
			buf_chr(out, s[i++]);
			continue;
		}
		i += k;
		/* Blanks between two of them are nothing (RFC 2047 6.2). */
		for (j = i; j < n && is_blank(s[j]); j++)
			;
		if (j + 1 < n && s[j] == '=' && s[j + 1] == '?')
			i = j;
	}
}

/* Adds the value of the parameter whose name is exactly that; false: it is not there. */
static bool
exact(struct buf *out, const char *s, size_t n, const char *name)
{
	size_t i = 0, k = strlen(name);

	/* The type or disposition itself. */
	while (i < n && s[i] != ';')
		i = s[i] == '"' ? value(NULL, s, n, i) : i + 1;
	while (i < n) {
		size_t from;

		i = blanks(s, n, i + 1);
		from = i;
		while (i < n && s[i] != '=' && s[i] != ';')
			i++;
		if (i < n && s[i] == '=') {
			size_t end = i;

			while (end > from && is_blank(s[end - 1]))
				end--;
			if (end - from == k && !strncasecmp(s + from, name, k)) {
				value(out, s, n, i + 1);
				return true;
			}
			i = value(NULL, s, n, i + 1);
			while (i < n && s[i] != ';')
				i++;
		}
	}
	return false;
}

bool
smtp_parameter_read(struct buf *out, const char *s, size_t n, const char *name)
{
	struct buf raw = BUF_INIT(64 * 1024), piece = BUF_INIT(128);
	bool found = false;

	buf_printf(&piece, "%s*", name);
	if (!piece.err && exact(&raw, s, n, piece.p)) {
		found = true;
		if (raw.n)
			percent(out, raw.p, raw.n, true);
		goto out;
	}
	for (unsigned i = 0; i < 100 && !piece.err; i++) {
		piece.n = raw.n = 0;
		buf_printf(&piece, "%s*%u", name, i);
		if (!piece.err && exact(&raw, s, n, piece.p)) {
			if (raw.n)
				buf_add(out, raw.p, raw.n);
		} else {
			buf_chr(&piece, '*');
			if (piece.err || !exact(&raw, s, n, piece.p))
				break;
			if (raw.n)
				percent(out, raw.p, raw.n, !i);
		}
		found = true;
	}
	raw.n = 0;
	if (!found && exact(&raw, s, n, name)) {
		found = true;
		if (raw.n)
			encoded_words(out, raw.p, raw.n);
	}
out:
	if (raw.err || piece.err)
		out->err = raw.err ? raw.err : piece.err;
	buf_free(&raw);
	buf_free(&piece);
	return found;
}
