#include "mail/mail.h"

#include <string.h>

#include "addr/addr.h"
#include "base/utf8.h"

/* RFC 5321 4.5.3.1: octets of a local part, a domain, a path without its
 * brackets; RFC 1035 2.3.4: of a label. */
enum { LOCAL_MOST = 64, DOMAIN_MOST = 255, PATH_MOST = 254, LABEL_MOST = 63 };

static bool
is_alnum(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static unsigned char
lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

/* RFC 5322 3.2.3. */
static bool
is_atext(unsigned char c)
{
	return is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/*
 * RFC 6531 3.3 lets any code point above 127 into an address. We leave out
 * what serves only to deceive a reader or a log: C1 controls, line and
 * paragraph separators, what turns the direction of writing, what has no
 * width, and noncharacters.
 */
static bool
is_shown(uint32_t c)
{
	return c >= 0xa0 && c != 0xad &&
	    !(c >= 0x200b && c <= 0x200f) && !(c >= 0x2028 && c <= 0x202e) &&
	    !(c >= 0x2060 && c <= 0x206f) && c != 0xfeff &&
	    !(c >= 0xfff9 && c <= 0xffff) && c < 0xe0000;
}

/* In a domain also: blanks, and what IDNA would read as a full stop. */
static bool
is_shown_in_domain(uint32_t c)
{
	return is_shown(c) && c != 0xa0 && !(c >= 0x2000 && c <= 0x200a) &&
	    c != 0x202f && c != 0x205f && c != 0x3000 && c != 0x3002 &&
	    c != 0xff0e && c != 0xff61 && !(c >= 0xe000 && c <= 0xf8ff);
}

/* The length of the text above 127 at s, or 0 with *why. */
static size_t
wide(const char *s, size_t n, bool utf8, bool (*fit)(uint32_t), const char **why)
{
	uint32_t c = 0;
	size_t k = utf8_next(s, n, &c);

	if (!utf8)
		*why = "it holds bytes above 127, which need SMTPUTF8 (RFC 6531)";
	else if (!k)
		*why = "it is no UTF-8";
	else if (!fit(c))
		*why = "it holds a character that cannot be seen";
	else
		return k;
	return 0;
}

/* The length of the local part at s (it ends before the @), or 0 with *why. */
static size_t
local_quoted(const char *s, size_t n, bool utf8, const char **why)
{
	size_t i = 1, k;

	while (i < n && s[i] != '"') {
		unsigned char c = (unsigned char)s[i];

		if (c == '\\') {
			if (++i == n)
				break;
			c = (unsigned char)s[i];
			if (c >= 0x80) {
				*why = "a backslash stands before a byte above 127";
				return 0;
			}
		}
		if (c >= 0x80) {
			if (!(k = wide(s + i, n - i, utf8, is_shown, why)))
				return 0;
			i += k;
			continue;
		}
		if (c < 32 || c == 127) {
			*why = "the quoted local part holds a control character";
			return 0;
		}
		i++;
	}
	if (i >= n) {
		*why = "the quoted local part does not end";
		return 0;
	}
	return i + 1;
}

static size_t
local_dotted(const char *s, size_t n, bool utf8, const char **why)
{
	size_t i = 0, k;
	bool dot = true;

	while (i < n && s[i] != '@') {
		unsigned char c = (unsigned char)s[i];

		if (c >= 0x80) {
			if (!(k = wide(s + i, n - i, utf8, is_shown, why)))
				return 0;
			i += k;
			dot = false;
		} else if (c == '.' && !dot) {
			dot = true;
			i++;
		} else if (c == '.') {
			*why = i ? "the local part holds two full stops in a row" :
			    "the local part begins with a full stop";
			return 0;
		} else if (is_atext(c)) {
			dot = false;
			i++;
		} else {
			*why = "the local part holds a character that must stand in quotes";
			return 0;
		}
	}
	if (!i)
		*why = "there is nothing before the @";
	else if (dot)
		*why = "the local part ends with a full stop";
	else
		return i;
	return 0;
}

/* RFC 5321 4.1.3; "[" and "]" are in s. */
static bool
literal_ok(const char *s, size_t n, const char **why)
{
	static const char tag[] = "ipv6:";
	size_t i = 0, k = sizeof tag - 1;
	struct addr a;
	enum addr_wrong w;

	*why = "the address literal is no IPv4 address and no \"IPv6:\" with an IPv6 address";
	if (n < 3 || s[n - 1] != ']')
		return false;
	s++;
	n -= 2;
	while (i < n && i < k && lower((unsigned char)s[i]) == (unsigned char)tag[i])
		i++;
	if (i != k && memchr(s, ':', n))
		return false;
	if (i == k) {
		s += k;
		n -= k;
		if (!memchr(s, ':', n))
			return false;
	}
	/* What is odd as a range of a firewall is still syntax here. */
	w = addr_read(s, n, &a);
	return w == ADDR_OK || w == ADDR_MAPPED || w == ADDR_UNSPECIFIED;
}

static bool
domain_ok(const char *s, size_t n, bool utf8, const char **why)
{
	size_t label = 0, i = 0, k;

	while (i < n) {
		unsigned char c = (unsigned char)s[i];

		if (c == '.') {
			if (!label) {
				*why = i ? "the domain holds two full stops in a row" :
				    "the domain begins with a full stop";
				return false;
			}
			if (s[i - 1] == '-')
				goto hyphen;
			if (i + 1 == n) {
				*why = "the domain ends with a full stop";
				return false;
			}
			label = 0;
			i++;
			continue;
		}
		k = 1;
		if (c >= 0x80) {
			if (!(k = wide(s + i, n - i, utf8, is_shown_in_domain, why)))
				return false;
		} else if (c == '-' && !label) {
			goto hyphen;
		} else if (c != '-' && !is_alnum(c)) {
			*why = "the domain holds a character other than letters, digits, hyphens and full stops";
			return false;
		}
		if (++label > LABEL_MOST) {
			*why = "a part of the domain is longer than 63 characters";
			return false;
		}
		i += k;
	}
	if (s[n - 1] != '-')
		return true;
hyphen:
	*why = "a part of the domain begins or ends with a hyphen";
	return false;
}

bool
mail_address_read(const char *s, size_t n, bool utf8, struct mail_address *out,
    const char **why)
{
	struct mail_address a = {.local = s};
	const char *none;
	size_t k;

	if (!why)
		why = &none;
	*why = NULL;
	if (!n)
		*why = "it is empty";
	else if (*s == '<' || s[n - 1] == '>')
		*why = "the brackets do not belong to it";
	else if (*s == '@')
		*why = memchr(s, ':', n) ? "source routes are not used (RFC 5321 appendix C)" :
		    "there is nothing before the @";
	if (*why)
		return false;
	a.quoted = *s == '"';
	if (!(k = a.quoted ? local_quoted(s, n, utf8, why) : local_dotted(s, n, utf8, why)))
		return false;
	a.nlocal = k;
	if (k == n)
		*why = "it has no @ and no domain";
	else if (s[k] != '@')
		*why = "something stands between the quoted local part and the @";
	else if (k + 1 == n)
		*why = "there is nothing behind the @";
	else if (k > LOCAL_MOST)
		*why = "the local part is longer than 64 octets";
	if (*why)
		return false;
	a.domain = s + k + 1;
	a.ndomain = n - k - 1;
	a.literal = *a.domain == '[';
	if (a.ndomain > DOMAIN_MOST)
		*why = "the domain is longer than 255 octets";
	else if (n > PATH_MOST)
		*why = "it is longer than 254 octets";
	else if (memchr(a.domain, '@', a.ndomain))
		*why = "it holds more than one @ outside quotes";
	if (*why)
		return false;
	if (a.literal ? !literal_ok(a.domain, a.ndomain, why) :
	    !domain_ok(a.domain, a.ndomain, utf8, why))
		return false;
	for (k = 0; k < n; k++)
		a.utf8 |= (unsigned char)s[k] >= 0x80;
	*why = NULL;
	*out = a;
	return true;
}

bool
mail_address_ok(const char *s, bool utf8, const char **why)
{
	struct mail_address a;

	return mail_address_read(s, strlen(s), utf8, &a, why);
}

/* A walk over the characters that a local part stands for: quotes and
 * backslashes are only its spelling (RFC 5321 4.1.2). */
struct spelled {
	const char *p, *end;
	bool quoted;
};

static struct spelled
spelled(const char *s, size_t n)
{
	if (n >= 2 && s[0] == '"' && s[n - 1] == '"')
		return (struct spelled){s + 1, s + n - 1, true};
	return (struct spelled){s, s + n, false};
}

/* -1 at the end. */
static int
spelled_next(struct spelled *w)
{
	if (w->quoted && w->p + 1 < w->end && *w->p == '\\')
		w->p++;
	return w->p < w->end ? (unsigned char)*w->p++ : -1;
}

static bool
local_equal(const char *a, size_t an, const char *b, size_t bn)
{
	struct spelled x = spelled(a, an), y = spelled(b, bn);
	int c;

	while ((c = spelled_next(&x)) == spelled_next(&y))
		if (c < 0)
			return true;
	return false;
}

static bool
domain_equal(const char *s, size_t n, const char *domain)
{
	size_t i = 0;

	while (i < n && domain[i] && lower((unsigned char)s[i]) == lower((unsigned char)domain[i]))
		i++;
	return i == n && !domain[i];
}

/* Whether the domain lies below (never at) `domain`: at the border of a
 * label, so that notcolumbia.edu is not below columbia.edu (COL-22). */
static bool
domain_below(const char *s, size_t n, const char *domain)
{
	size_t k = strlen(domain);

	return n > k + 1 && s[n - k - 1] == '.' && domain_equal(s + (n - k), k, domain);
}

bool
mail_domain_in(const struct mail_address *a, const char *domain)
{
	return domain_equal(a->domain, a->ndomain, domain) ||
	    domain_below(a->domain, a->ndomain, domain);
}

static bool
address_match(const struct policy_pattern *p, const struct mail_address *a)
{
	switch (p->kind) {
	case POLICY_PATTERN_ANY:
		return true;
	case POLICY_PATTERN_DOMAIN:
	case POLICY_PATTERN_LOCAL_ANY:
		return domain_equal(a->domain, a->ndomain, p->domain);
	case POLICY_PATTERN_BELOW:
		return domain_below(a->domain, a->ndomain, p->domain);
	case POLICY_PATTERN_ADDRESS:
		return domain_equal(a->domain, a->ndomain, p->domain) &&
		    local_equal(a->local, a->nlocal, p->local, strlen(p->local));
	case POLICY_PATTERN_NULL:
		return false;
	}
	return false;
}

bool
mail_pattern_match(const struct policy_pattern *p, const char *address)
{
	struct mail_address a;

	if (!*address)
		return p->kind == POLICY_PATTERN_NULL;
	if (p->kind == POLICY_PATTERN_ANY)
		return true;
	return mail_address_read(address, strlen(address), true, &a, NULL) &&
	    address_match(p, &a);
}

bool
mail_patterns_match(const struct policy_patterns *p, const char *address)
{
	for (size_t i = 0; i < p->n; i++)
		if (mail_pattern_match(&p->v[i], address))
			return true;
	return false;
}
