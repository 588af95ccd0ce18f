#include "smtp/address.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "mail/mail.h"

static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* The length of the source route "@a,@b:" at s with its colon, or 0. */
static size_t
route(const char *s, size_t n)
{
	size_t i = 0;

	for (;;) {
		size_t from;
		bool in = false;

		if (i == n || s[i] != '@')
			return 0;
		from = ++i;
		for (; i < n; i++) {
			char c = s[i];

			if (c == '[')
				in = true;
			else if (c == ']')
				in = false;
			else if (!is_alnum(c) && c != '-' && c != '.' && !(in && c == ':'))
				break;
		}
		if (i == from || i == n)
			return 0;
		if (s[i] == ':')
			return i + 1;
		if (s[i++] != ',')
			return 0;
	}
}

size_t
smtp_path_read(const char *s, size_t n, enum smtp_path_kind kind, bool utf8,
    struct smtp_path *out, const char **why)
{
	struct smtp_path p = {0};
	struct mail_address a;
	size_t i = 1, k;

	if (!n || *s != '<') {
		*why = "the address must stand in angle brackets";
		return 0;
	}
	for (bool quoted = false; i < n && (quoted || s[i] != '>'); i++) {
		if (s[i] == '"')
			quoted = !quoted;
		else if (quoted && s[i] == '\\' && i + 1 < n)
			i++;
	}
	if (i >= n) {
		*why = "the angle bracket is not closed";
		return 0;
	}
	p.p = s + 1;
	p.n = i - 1;
	if (p.n && *p.p == '@' && (k = route(p.p, p.n))) {
		p.route = true;
		p.p += k;
		p.n -= k;
	}
	if (!p.n && !p.route && kind == SMTP_PATH_REVERSE) {
		*out = p;
		return i + 1;
	}
	if (p.n == 10 && !p.route && kind == SMTP_PATH_FORWARD && !strncasecmp(p.p, "postmaster", 10)) {
		p.bare = true;
		*out = p;
		return i + 1;
	}
	if (!mail_address_read(p.p, p.n, utf8, &a, why))
		return 0;
	p.utf8 = a.utf8;
	*out = p;
	return i + 1;
}

bool
smtp_mailbox_ok(const char *s, size_t n, bool utf8, const char **why)
{
	struct mail_address a;

	return mail_address_read(s, n, utf8, &a, why);
}

bool
smtp_helo_ok(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && (!s[i] || !strchr("-._:[]", s[i])))
			return false;
	return n >= 1 && n <= 255;
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The meaning of the "+XX" at s, or -1. */
static int
escaped(const char *s, size_t n)
{
	int hi, lo;

	if (n < 3 || (hi = hex(s[1])) < 0 || (lo = hex(s[2])) < 0)
		return -1;
	return hi << 4 | lo;
}

static bool
xtext(const char *s, size_t n, bool utf8)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		uint32_t wide;

		if (c == '+') {
			int x = escaped(s + i, n - i);

			if (x < 32 || x > 126)
				return false;
			i += 2;
		} else if (c >= 0x80 && utf8) {
			size_t k = utf8_next(s + i, n - i, &wide);

			if (!k || wide < 0xa0)
				return false;
			i += k - 1;
		} else if (c < 33 || c > 126 || c == '=') {
			return false;
		}
	}
	return n > 0;
}

bool
smtp_xtext_ok(const char *s, size_t n)
{
	return xtext(s, n, false);
}

void
smtp_xtext_read(struct buf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int x = s[i] == '+' ? escaped(s + i, n - i) : -1;

		buf_chr(out, (char)(x < 0 ? s[i] : x));
		if (x >= 0)
			i += 2;
	}
}

void
smtp_xtext_write(struct buf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 33 || c > 126 || c == '+' || c == '=')
			buf_printf(out, "+%02X", c);
		else
			buf_chr(out, (char)c);
	}
}

bool
smtp_orcpt_ok(const char *s, size_t n, bool utf8)
{
	const char *semi = memchr(s, ';', n);
	size_t k = semi ? (size_t)(semi - s) : 0;

	if (!k || n > 500)
		return false;
	for (size_t i = 0; i < k; i++)
		if (!is_alnum(s[i]) && s[i] != '-')
			return false;
	return xtext(semi + 1, n - k - 1, utf8 && k == 5 && !strncasecmp(s, "utf-8", 5));
}
