/*
 * why: what is wrong with a text that is no address, and what to write
 * instead. Nothing here ever accepts: it runs after the strict reading failed.
 *
 * A suggestion is made by writing the text anew without the mistake and
 * reading it strictly; what does not read then is asked for its own
 * suggestion, so that `010.0.0.1/8` ends at `10.0.0.0/8`.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "addr/scan.h"
#include "addr/set.h"

enum {
	LONG = 128,  /* a longer text has no suggestion */
	DEEP = 6     /* suggestions of suggestions */
};

/* A text under inspection. */
struct text {
	const char *s;
	size_t n;
	bool prefix;     /* a prefix is wanted, not one address */
	unsigned depth;
};

static const char *const wrong_text[ADDR_NWRONG] = {
	[ADDR_OK] = "nothing is wrong",
	[ADDR_EMPTY] = "the address is empty",
	[ADDR_NAME] = "this is a name, and a rule needs addresses",
	[ADDR_SYNTAX] = "this is no IPv4 or IPv6 address",
	[ADDR_LEADING_ZERO] = "a number in an IPv4 address begins with 0, which some programs read as octal",
	[ADDR_SHORT] = "the address is not written in full",
	[ADDR_OCTET] = "a number in an IPv4 address is greater than 255",
	[ADDR_BITS] = "what follows the slash is no prefix length of this family",
	[ADDR_NETMASK] = "a netmask follows the slash, and a prefix length is wanted",
	[ADDR_HOST_BITS] = "the address has bits behind its prefix length",
	[ADDR_MAPPED] = "this is an IPv4 address in IPv6 clothes, which never appears on the wire",
	[ADDR_ZONE] = "the address has a zone, which means something on one machine only",
	[ADDR_ANY] = "this prefix is every address of its family, which is not said by a number",
	[ADDR_RANGE] = "this is a range from one address to another, and prefixes are wanted",
	[ADDR_PORT] = "the address has a port",
	[ADDR_SPACE] = "there is a blank in or around the address",
	[ADDR_UNSPECIFIED] = "this is the unspecified address, which no host has",
	[ADDR_PREFIX] = "this is a prefix, and one address is wanted",
};

const char *
addr_wrong_text(enum addr_wrong w)
{
	assert((unsigned)w < ADDR_NWRONG);
	return wrong_text[w];
}

static enum addr_wrong
why(struct text t, char fix[SCAN_FIX]);

static bool
digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
hex(char c)
{
	return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool
letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What a host name, a wildcard of them or a mail domain is made of. */
static bool
namely(char c)
{
	return letter(c) || digit(c) || c == '.' || c == '-' || c == '_' ||
	    c == '*' || c == '@';
}

static bool
dotted(char c)
{
	return digit(c) || c == '.';
}

static bool
grouped(char c)
{
	return hex(c) || c == ':' || c == '.';
}

/* Whether there are bytes, and all of them are such. */
static bool
made_of(const char *s, size_t n, bool (*is)(char))
{
	for (size_t i = 0; i < n; i++)
		if (!is(s[i]))
			return false;
	return n;
}

static size_t
count(struct text t, char c)
{
	size_t k = 0;

	for (size_t i = 0; i < t.n; i++)
		k += t.s[i] == c;
	return k;
}

/* The index of the first c, or n. */
static size_t
find(struct text t, char c)
{
	const char *p = t.n ? memchr(t.s, c, t.n) : NULL;

	return p ? (size_t)(p - t.s) : t.n;
}

static struct text
cut(struct text t, size_t from, size_t to)
{
	t.s += from;
	t.n = to - from;
	return t;
}

/* Makes the n bytes at s the suggestion if they read, or else their own
 * suggestion. Gives what they are. */
static enum addr_wrong
propose(struct text from, char fix[SCAN_FIX], const char *s, size_t n)
{
	struct text t = {s, n, from.prefix, from.depth + 1};
	struct addr_prefix p;

	fix[0] = 0;
	if (!n || n >= SCAN_FIX || t.depth > DEEP)
		return ADDR_SYNTAX;
	if (scan_read(s, n, t.prefix, &p) != ADDR_OK)
		return why(t, fix);
	memcpy(fix, s, n);
	fix[n] = 0;
	return ADDR_OK;
}

/* Blanks at the ends and around the slash can be left out; others may stand
 * for anything. */
static enum addr_wrong
why_space(struct text t, char fix[SCAN_FIX])
{
	char cand[LONG];
	size_t k = 0;

	for (size_t i = 0; i < t.n && t.n < LONG; i++) {
		size_t j = i;

		if (!blank(t.s[i])) {
			cand[k++] = t.s[i];
			continue;
		}
		while (j < t.n && blank(t.s[j]))
			j++;
		if (k && j < t.n && cand[k - 1] != '/' && t.s[j] != '/')
			return ADDR_SPACE;
		i = j - 1;
	}
	propose(t, fix, cand, k);
	return ADDR_SPACE;
}

/* fe80::1%eth0/64: without the zone. */
static enum addr_wrong
why_zone(struct text t, char fix[SCAN_FIX])
{
	size_t from = find(t, '%'), to = find(t, '/');
	struct addr a;
	char cand[LONG];

	if (!scan_addr(t.s, from, &a))
		return ADDR_SYNTAX;
	if (to < from)
		to = t.n;
	if (t.n < LONG) {
		memcpy(cand, t.s, from);
		memcpy(cand + from, t.s + to, t.n - to);
		propose(t, fix, cand, from + t.n - to);
	}
	return ADDR_ZONE;
}

/* The prefixes of lo..hi as one list, if there is room. */
static void
write_range(struct addr lo, struct addr hi, char fix[SCAN_FIX])
{
	struct addr_prefix unused;
	char one[50];
	size_t k = 0;

	if (lo.family != hi.family || lo.n > hi.n)
		return;
	for (u128 at = lo.n; ; ) {
		struct addr_prefix p = addr_range_head(lo.family, at, hi.n);
		size_t n;

		n = p.bits ? addr_prefix_write(p, one) :
		    (size_t)snprintf(one, sizeof one, "any");
		/* :: alone, say, may stand in no policy. */
		if (k + n + 3 > SCAN_FIX || (p.bits &&
		    scan_read(one, n, true, &unused) != ADDR_OK)) {
			fix[0] = 0;
			return;
		}
		k += (size_t)snprintf(fix + k, SCAN_FIX - k, "%s%s",
		    k ? ", " : "", one);
		if (p.hi == hi.n)
			return;
		at = p.hi + 1;
	}
}

/* 10.0.0.1-10.0.0.9, and 10.0.0.1-9 for short. */
static bool
why_range(struct text t, char fix[SCAN_FIX])
{
	size_t dash = find(t, '-');
	struct addr lo, hi;
	unsigned last;

	if (dash == t.n || !scan_addr(t.s, dash, &lo))
		return false;
	t = cut(t, dash + 1, t.n);
	if (scan_addr(t.s, t.n, &hi)) {
		if (lo.family == hi.family && t.prefix)
			write_range(lo, hi, fix);
		return true;
	}
	if (lo.family == ADDR_V4 && scan_bits(t.s, t.n, 255, &last)) {
		hi = (struct addr){ADDR_V4, (lo.n & ~(u128)0xff) | last};
		if (t.prefix)
			write_range(lo, hi, fix);
		return true;
	}
	return false;
}

/* [2001:db8::1]:25, 10.0.0.1:25; and brackets alone. */
static enum addr_wrong
why_port(struct text t, char fix[SCAN_FIX])
{
	size_t close;

	if (t.s[0] != '[') {
		size_t colon = find(t, ':');
		struct text head = cut(t, 0, colon);

		if (!made_of(head.s, head.n, dotted) || count(head, '.') != 3 ||
		    !made_of(t.s + colon + 1, t.n - colon - 1, digit))
			return ADDR_SYNTAX;
		propose(t, fix, head.s, head.n);
		return ADDR_PORT;
	}
	close = find(t, ']');
	if (close == t.n)
		return ADDR_SYNTAX;
	propose(t, fix, t.s + 1, close - 1);
	return close + 2 < t.n && t.s[close + 1] == ':' &&
	    made_of(t.s + close + 2, t.n - close - 2, digit) ?
	    ADDR_PORT : ADDR_SYNTAX;
}

/* 10.0.*, 10.0.0.*: the prefix of the numbers before the asterisks. */
static void
wildcard4(struct text t, char fix[SCAN_FIX])
{
	static const char *const rest[] = {NULL, ".0.0.0/8", ".0.0/16", ".0/24"};
	char cand[LONG];
	size_t end = find(t, '*'), dots;
	int k;

	if (end < 2 || end == t.n || t.s[end - 1] != '.')
		return;
	for (size_t i = end; i < t.n; i++)
		if (t.s[i] != '*' && t.s[i] != '.')
			return;
	t.n = end - 1;
	dots = count(t, '.');
	if (t.n > 11 || dots > 2 || !made_of(t.s, t.n, dotted))
		return;
	k = snprintf(cand, sizeof cand, "%.*s%s", (int)t.n, t.s,
	    rest[dots + 1]);
	propose(t, fix, cand, (size_t)k);
}

/* Digits and dots, with or without a length, that are not the strict form:
 * the text anew, without zeros in front, with zeros for what is missing. */
static enum addr_wrong
why_four(struct text head, struct text tail, bool slash, char fix[SCAN_FIX])
{
	static const char *const fill[] = {NULL, ".0.0.0", ".0.0", ".0", ""};
	enum addr_wrong w = ADDR_SYNTAX, more;
	char cand[LONG];
	unsigned octets = 0;
	size_t k = 0;

	if (head.n + tail.n + 16 > LONG)
		return ADDR_SYNTAX;
	for (size_t i = 0; i < head.n; ) {
		size_t end = i + find(cut(head, i, head.n), '.'), from = i;

		if (end == i)
			return ADDR_SYNTAX;
		while (from + 1 < end && head.s[from] == '0')
			from++;
		if (from > i)
			w = ADDR_LEADING_ZERO;
		if (end - from > 3 || (end - from == 3 &&
		    memcmp(head.s + from, "255", 3) > 0))
			return ADDR_OCTET;
		if (++octets > 4 || (octets == 4 && end < head.n))
			return ADDR_SYNTAX;
		if (k)
			cand[k++] = '.';
		memcpy(cand + k, head.s + from, end - from);
		k += end - from;
		i = end + 1;
	}
	if (octets < 4 && w == ADDR_SYNTAX)
		w = ADDR_SHORT;
	if (w == ADDR_SYNTAX)
		return w;
	if (octets == 1 && !slash)
		return w;  /* any number: a port, perhaps */
	k += (size_t)snprintf(cand + k, LONG - k, "%s", fill[octets]);
	if (slash)
		k += (size_t)snprintf(cand + k, LONG - k, "/%.*s", (int)tail.n,
		    tail.s);
	else if (octets < 4 && head.prefix)
		k += (size_t)snprintf(cand + k, LONG - k, "/%u", 8 * octets);
	else if (octets < 4)
		return w;
	more = propose(head, fix, cand, k);
	return more == ADDR_ANY ? more : w;
}

/* 2001:db8/32, 2001:db8:/32: the two colons are missing. */
static bool
why_six_short(struct text head, struct text tail, char fix[SCAN_FIX])
{
	char cand[LONG];
	struct addr a;
	size_t k;
	int n;

	if (head.n > 40)
		return false;
	k = head.s[head.n - 1] == ':' ? head.n - 1 : head.n;
	n = snprintf(cand, sizeof cand, "%.*s::", (int)k, head.s);
	if (!scan_addr(cand, (size_t)n, &a))
		return false;
	n += snprintf(cand + n, sizeof cand - (size_t)n, "/%.*s",
	    tail.n < 40 ? (int)tail.n : 40, tail.s);
	propose(head, fix, cand, (size_t)n);
	return true;
}

/* Writes the head's network with this length as the suggestion. */
static enum addr_wrong
with_bits(struct text t, char fix[SCAN_FIX], struct addr a, unsigned bits)
{
	char cand[LONG];
	size_t k = addr_write(a, cand);

	k += (size_t)snprintf(cand + k, LONG - k, "/%u", bits);
	return propose(t, fix, cand, k);
}

/* The address is good; what follows its slash is not. */
static enum addr_wrong
why_bits(struct text t, struct addr a, struct text tail, char fix[SCAN_FIX])
{
	unsigned most = a.family == ADDR_V4 ? 32 : 128, bits;
	struct addr mask;
	size_t zeros = 0;

	if (scan_addr(tail.s, tail.n, &mask)) {
		if (mask.family != a.family)
			return ADDR_BITS;
		/* A mask of Cisco's has the bits of the host instead. */
		if (!scan_netmask(mask, &bits)) {
			mask.n ^= addr_last(a.family);
			if (!scan_netmask(mask, &bits))
				return ADDR_NETMASK;
		}
		if (bits)
			with_bits(t, fix, a, bits);
		return ADDR_NETMASK;
	}
	while (zeros + 1 < tail.n && tail.s[zeros] == '0')
		zeros++;
	if (zeros && scan_bits(tail.s + zeros, tail.n - zeros, most, &bits) &&
	    bits)
		with_bits(t, fix, a, bits);
	return ADDR_BITS;
}

/* The form is right; `w` says what is not. */
static enum addr_wrong
why_value(struct text t, enum addr_wrong w, struct addr a,
    struct addr_prefix p, char fix[SCAN_FIX])
{
	struct addr net;
	char cand[LONG];
	size_t k;

	switch (w) {
	case ADDR_MAPPED:
		if (p.bits < 96)
			break;
		a = (struct addr){ADDR_V4, a.n & UINT32_MAX};
		if (p.bits < 128) {
			with_bits(t, fix, a, p.bits - 96);
		} else {
			k = addr_write(a, cand);
			propose(t, fix, cand, k);
		}
		break;
	case ADDR_ANY:
		/* 10.0.0.0/0 was meant to be something, and not this. */
		if (!a.n)
			snprintf(fix, SCAN_FIX, "any");
		break;
	case ADDR_HOST_BITS:
		if (scan_network(a, p.bits, &net))
			with_bits(t, fix, net, p.bits);
		break;
	case ADDR_OK: case ADDR_EMPTY: case ADDR_NAME: case ADDR_SYNTAX:
	case ADDR_LEADING_ZERO: case ADDR_SHORT: case ADDR_OCTET:
	case ADDR_BITS: case ADDR_NETMASK: case ADDR_ZONE: case ADDR_RANGE:
	case ADDR_PORT: case ADDR_SPACE: case ADDR_UNSPECIFIED:
	case ADDR_PREFIX: case ADDR_NWRONG:
		break;
	}
	return w;
}

static bool
is_name(struct text t)
{
	bool any = false;

	if (!made_of(t.s, t.n, namely))
		return false;
	for (size_t i = 0; i < t.n; i++)
		any |= letter(t.s[i]);
	/* 0x7f.1 is a number to inet_aton(3), and no name. */
	return any && !(t.n > 1 && t.s[0] == '0' && (t.s[1] | 0x20) == 'x');
}

static enum addr_wrong
why(struct text t, char fix[SCAN_FIX])
{
	struct text head, tail;
	struct addr_prefix p;
	enum addr_wrong w;
	struct addr a;
	bool slash;

	fix[0] = 0;
	if (!t.n)
		return ADDR_EMPTY;
	for (size_t i = 0; i < t.n; i++)
		if (blank(t.s[i]))
			return why_space(t, fix);
	if (find(t, '%') < t.n)
		return why_zone(t, fix);
	if (why_range(t, fix))
		return ADDR_RANGE;
	if (t.s[0] == '[')
		return why_port(t, fix);
	slash = find(t, '/') < t.n;
	head = cut(t, 0, find(t, '/'));
	tail = slash ? cut(t, head.n + 1, t.n) : cut(t, t.n, t.n);
	if (scan_addr(head.s, head.n, &a)) {
		if (slash && !t.prefix)
			return ADDR_PREFIX;
		w = scan_read(t.s, t.n, t.prefix, &p);
		return w == ADDR_SYNTAX ? why_bits(t, a, tail, fix) :
		    why_value(t, w, a, p, fix);
	}
	if (made_of(head.s, head.n, dotted))
		return why_four(head, tail, slash, fix);
	if (find(head, '*') < head.n && !slash && t.prefix)
		wildcard4(t, fix);
	if (find(head, ':') < head.n) {
		if (made_of(head.s, head.n, grouped) && slash && t.prefix &&
		    why_six_short(head, tail, fix))
			return ADDR_SHORT;
		if (count(head, ':') == 1 && !slash) {
			struct text host = cut(head, 0, find(head, ':'));

			return is_name(host) && !made_of(host.s, host.n, hex) ?
			    ADDR_NAME : why_port(t, fix);
		}
		return ADDR_SYNTAX;
	}
	return is_name(head) ? ADDR_NAME : ADDR_SYNTAX;
}

enum addr_wrong
scan_why(const char *s, size_t n, bool prefix, char fix[SCAN_FIX])
{
	return why((struct text){s, n, prefix, 0}, fix);
}
