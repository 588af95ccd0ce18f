#include "policy/read.h"

#include <string.h>

#include "addr/addr.h"
#include "base/arena.h"
#include "shape/shape.h"

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && !memcmp(s, word, n);
}

const char *
read_lower(struct arena *a, const char *s, size_t n)
{
	char *p = arena_strn(a, s, n);

	for (size_t i = 0; i < n; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] + 'a' - 'A');
	return p;
}

/* ---- ports ---------------------------------------------------------------- */

static size_t
port_digits(const char *s, size_t n, uint32_t *x)
{
	size_t i = 0;

	*x = 0;
	for (; i < n && i < 6 && is_digit(s[i]); i++)
		*x = *x * 10 + (uint32_t)(s[i] - '0');
	if (!i || s[0] == '0' || *x > UINT16_MAX)
		return 0;
	return i;
}

bool
read_ports(const char *s, size_t n, uint16_t *lo, uint16_t *hi)
{
	uint32_t a, b;
	size_t i = port_digits(s, n, &a), j;

	if (!i)
		return false;
	if (i == n) {
		*lo = *hi = (uint16_t)a;
		return true;
	}
	if (s[i] != '-')
		return false;
	j = port_digits(s + i + 1, n - i - 1, &b);
	if (!j || i + 1 + j != n || a > b)
		return false;
	*lo = (uint16_t)a;
	*hi = (uint16_t)b;
	return true;
}

const char *
read_port_ok(struct arena *a, const char *s, size_t n)
{
	uint16_t lo, hi;

	(void)a;
	if (read_ports(s, n, &lo, &hi) || shape_name_ok(s, n))
		return NULL;
	if (is_digit(s[0]) && memchr(s, ':', n))
		return "`:` between digits is a number in base 60 to older readers of YAML; "
		    "a port stands alone";
	if (is_digit(s[0]))
		return "a port is a number from 1 to 65535, a range of ports two of them, "
		    "the smaller first, with `-` between";
	return "it is neither a number nor a name";
}

/* ---- paths, users, units -------------------------------------------------- */

const char *
read_path_ok(struct arena *a, const char *s, size_t n)
{
	(void)a;
	if (n > 255)
		return "it is longer than 255 bytes";
	if (s[0] == '/')
		return "it is absolute; write it relative to the folder of this file";
	if (s[n - 1] == '/')
		return "it names a folder";
	for (size_t i = 0; i <= n; ) {
		const char *e = memchr(s + i, '/', n - i);
		size_t k = e ? (size_t)(e - s) - i : n - i;

		if (is(s + i, k, ".."))
			return "it leads out of a folder; a policy reads only files beside "
			    "and below it";
		if (!k || is(s + i, k, "."))
			return "a part of it is empty or `.`";
		i += k + 1;
	}
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == '\\' || s[i] == 0x7f)
			return "it holds a backslash or a control character";
	return NULL;
}

const char *
read_user_ok(struct arena *a, const char *s, size_t n)
{
	size_t i = 0;

	(void)a;
	if (n > 32)
		return "it is longer than 32 characters";
	while (i < n && is_digit(s[i]))
		i++;
	if (i == n)
		return n > 10 || (n == 10 && memcmp(s, "4294967294", 10) > 0) ||
		    (n > 1 && s[0] == '0') ? "it is no uid" : NULL;
	for (i = 0; i < n; i++)
		if (!(s[i] >= 'a' && s[i] <= 'z') && s[i] != '_' &&
		    !(i && (is_digit(s[i]) || s[i] == '-')))
			return "a user name has lower-case letters, digits, `_` and `-`, "
			    "a letter or `_` first";
	return NULL;
}

const char *
read_unit_ok(struct arena *a, const char *s, size_t n)
{
	(void)a;
	if (n > 255)
		return "it is longer than 255 bytes";
	if (s[0] == '/')
		return "write the cgroup path without the first `/`";
	for (size_t i = 0; i < n; i++) {
		if (!is_alpha(s[i]) && !is_digit(s[i]) && !strchr("._-@:\\/", s[i]))
			return "it holds a character that no unit name has";
		if (s[i] == '/' && (i + 1 == n || s[i + 1] == '/' || s[i + 1] == '.'))
			return "a part of the path is empty or begins with a dot";
	}
	if (s[0] == '.')
		return "it begins with a dot";
	if (!memchr(s, '/', n) && !memchr(s, '.', n))
		return "a unit is written with its kind, as in `apache2.service`";
	return NULL;
}

/* ---- names of hosts and domains ------------------------------------------- */

static const char *
labels(const char *s, size_t n, bool dot, bool underscore)
{
	size_t len = 0, dots = 0;

	if (n > 253)
		return "it is longer than 253 characters";
	for (size_t i = 0; i <= n; i++) {
		if (i == n || s[i] == '.') {
			if (!len)
				return i == n && n ? "it ends with a dot" :
				    "a label is empty";
			if (len > 63)
				return "a label is longer than 63 characters";
			if (s[i - 1] == '-')
				return "a label ends with `-`";
			dots += i < n;
			len = 0;
			continue;
		}
		if ((unsigned char)s[i] >= 0x80)
			return "write the domain with A-labels (`xn--...`), as the DNS has it";
		if (!is_alpha(s[i]) && !is_digit(s[i]) && !(s[i] == '-' && len) &&
		    !(underscore && s[i] == '_'))
			return s[i] == '-' ? "a label begins with `-`" :
			    "it holds a character that no host name has";
		len++;
	}
	if (dot && !dots)
		return "it has no dot: write the full name";
	for (size_t i = n; i-- && s[i] != '.'; )
		if (!is_digit(s[i]))
			return NULL;
	return "its last part is a number";
}

const char *
read_hostname_ok(struct arena *a, const char *s, size_t n)
{
	(void)a;
	return labels(s, n, true, false);
}

const char *
read_host_ok(struct arena *a, const char *s, size_t n)
{
	struct addr x;

	(void)a;
	if (addr_read(s, n, &x) == ADDR_OK)
		return NULL;
	if (memchr(s, '/', n))
		return "it is a prefix; the ranges are in `ranges`, the host is one name";
	return labels(s, n, true, false);
}

const char *
read_domain_ok(struct arena *a, const char *s, size_t n)
{
	(void)a;
	if (memchr(s, '@', n))
		return "a domain has no `@`";
	return labels(s, n, true, false);
}

/* ---- mail addresses -------------------------------------------------------- */

/* The last @ outside quotes; n where there is none. */
static size_t
at_sign(const char *s, size_t n)
{
	size_t at = n;
	bool quoted = false;

	for (size_t i = 0; i < n; i++) {
		if (quoted && s[i] == '\\')
			i++;
		else if (s[i] == '"')
			quoted = !quoted;
		else if (s[i] == '@' && !quoted)
			at = i;
	}
	return at;
}

/* RFC 5321 section 4.1.2, Local-part: a dot-string or a quoted string. */
static const char *
local_part(const char *s, size_t n)
{
	if (!n)
		return "there is nothing before the `@`";
	if (n > 64)
		return "what is before the `@` is longer than 64 bytes";
	if (s[0] == '"') {
		if (n < 2 || s[n - 1] != '"')
			return "a quoted part does not end before the `@`";
		for (size_t i = 1; i + 1 < n; i++) {
			if (s[i] == '\\' && i + 2 < n)
				i++;
			else if (s[i] == '"' || s[i] == '\\')
				return "a quoted part is not closed where it should be";
			if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
				return "it holds a control character";
		}
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '.') {
			if (!i || i + 1 == n || s[i - 1] == '.')
				return "a dot stands at an end or beside a dot";
		} else if (c < 0x80 && !is_alpha(s[i]) && !is_digit(s[i]) &&
		    !strchr("!#$%&'*+/=?^_`{|}~-", c)) {
			return c == ' ' ? "it holds a blank" :
			    "it holds a character that must be quoted";
		}
	}
	return NULL;
}

const char *
read_address_ok(struct arena *a, const char *s, size_t n)
{
	size_t at = at_sign(s, n);
	const char *why;

	(void)a;
	if (at == n)
		return "it has no `@`";
	if ((why = local_part(s, at)))
		return why;
	if (at == 1 && s[0] == '*')
		return "`*` is no address";
	return labels(s + at + 1, n - at - 1, true, false);
}

/* "@example.org" or "@*.example.org". */
static const char *
domain_pattern(const char *s, size_t n)
{
	if (n > 2 && s[1] == '*' && s[2] == '.')
		return labels(s + 3, n - 3, false, false);
	if (n > 1 && s[1] == '*')
		return "`*` stands only as `@*.`, for everything below a domain";
	return labels(s + 1, n - 1, true, false);
}

const char *
read_recipient_ok(struct arena *a, const char *s, size_t n)
{
	if (is(s, n, "any"))
		return NULL;
	if (s[0] == '@')
		return domain_pattern(s, n);
	if (n > 2 && s[0] == '*' && s[1] == '@')
		return "for every address of a domain leave out the `*`";
	if (!memchr(s, '@', n))
		return "a domain is written with `@` in front";
	return read_address_ok(a, s, n);
}

const char *
read_uncounted_ok(struct arena *a, const char *s, size_t n)
{
	return is(s, n, "internal") ? NULL : read_recipient_ok(a, s, n);
}

const char *
read_sender_ok(struct arena *a, const char *s, size_t n)
{
	if (is(s, n, "<>"))
		return NULL;
	if (is(s, n, "any"))
		return "a registration names its senders";
	if (n > 2 && s[0] == '*' && s[1] == '@')
		return domain_pattern(s + 1, n - 1);
	if (s[0] == '@')
		return "for every address of a domain write `*` before the `@`";
	if (memchr(s, '*', n) && at_sign(s, n) < n && memchr(s, '*', at_sign(s, n)))
		return "`*` stands only for a whole local part";
	return read_address_ok(a, s, n);
}

struct policy_pattern
read_pattern(struct arena *a, const char *s, size_t n, struct text_span at)
{
	struct policy_pattern p = {.at = at};
	size_t i;

	if (is(s, n, "any") || is(s, n, "internal"))
		return p;
	if (is(s, n, "<>")) {
		p.kind = POLICY_PATTERN_NULL;
		return p;
	}
	p.kind = POLICY_PATTERN_DOMAIN;
	if (s[0] == '*' && n > 1 && s[1] == '@') {
		p.kind = POLICY_PATTERN_LOCAL_ANY;
		s++;
		n--;
	}
	if (s[0] == '@') {
		s++;
		n--;
		if (n > 2 && s[0] == '*') {
			p.kind = POLICY_PATTERN_BELOW;
			s += 2;
			n -= 2;
		}
		p.domain = read_lower(a, s, n);
		return p;
	}
	p.kind = POLICY_PATTERN_ADDRESS;
	i = at_sign(s, n);
	p.local = arena_strn(a, s, i);
	p.domain = read_lower(a, s + i + 1, i < n ? n - i - 1 : 0);
	return p;
}

/* ---- others ---------------------------------------------------------------- */

const char *
read_per_ok(struct arena *a, const char *s, size_t n)
{
	uint64_t x;

	(void)a;
	if (is(s, n, "message") || is(s, n, "connection") || shape_time_read(s, n, &x))
		return NULL;
	return "it is neither `message`, `connection`, nor a duration with its unit";
}

static const struct {
	const char *word;
	enum policy_expect value;
} verdicts[] = {
	{"allow", POLICY_EXPECT_ALLOW},
	{"untouched", POLICY_EXPECT_UNTOUCHED},
	{"deny", POLICY_EXPECT_DENY},
	{"reject", POLICY_EXPECT_REJECT},
	{"drop", POLICY_EXPECT_DROP},
	{"capture", POLICY_EXPECT_CAPTURE},
};

bool
read_verdict(const char *s, enum policy_expect *out)
{
	for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
		if (!strcmp(verdicts[i].word, s)) {
			*out = verdicts[i].value;
			return true;
		}
	return false;
}

const char *
read_expect_ok(struct arena *a, const char *s, size_t n)
{
	enum policy_expect x;
	char c = s[0];

	(void)a;
	if (read_verdict(s, &x))
		return NULL;
	if (c < '2' || c > '5' || c == '3' || n > 60)
		return "it is neither a verdict nor the beginning of a reply";
	for (size_t i = 0; i < n; i++)
		if (i < 3 ? !is_digit(s[i]) : (i == 3 && s[i] != ' ') || (unsigned char)s[i] < 0x20)
			return "a reply begins with three digits and a blank";
	return NULL;
}

const char *
read_ending_ok(struct arena *a, const char *s, size_t n)
{
	(void)a;
	if (n < 2 || n > 16 || s[0] != '.')
		return "an ending begins with a dot";
	for (size_t i = 1; i < n; i++)
		if (!is_alpha(s[i]) && !is_digit(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
			return "an ending has letters and digits";
	return NULL;
}

const char *
read_ca_ok(struct arena *a, const char *s, size_t n)
{
	(void)a;
	if (s[0] != '/')
		return "it is not absolute";
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return "it holds a control character";
	return NULL;
}

const char *
read_zone_ok(struct arena *a, const char *s, size_t n)
{
	(void)a;
	if (n > 64 || !is_alpha(s[0]))
		return "it is no name of a time zone";
	for (size_t i = 0; i < n; i++)
		if (!is_alpha(s[i]) && !is_digit(s[i]) && !strchr("/_+-", s[i]))
			return "it holds a character that no time zone has";
	return strstr(s, "//") ? "a part of it is empty" : NULL;
}
