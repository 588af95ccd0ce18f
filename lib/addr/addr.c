#include "addr/addr.h"

#include <arpa/inet.h>
#include <string.h>

#include "addr/scan.h"

static bool
digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The value of a hexadecimal digit, or 16. */
static unsigned
hex(char c)
{
	if (digit(c))
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return 16;
}

/* Four decimal numbers of one to three digits, without leading zeros; their
 * size is for inet_pton(3). */
static bool
shape4(const char *s, size_t n)
{
	unsigned dots = 0, len = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '.') {
			if (!len || ++dots > 3)
				return false;
			len = 0;
		} else if (!digit(s[i]) || ++len > 3 ||
		    (len == 2 && s[i - 1] == '0')) {
			return false;
		}
	}
	return dots == 3 && len;
}

static bool
pton(int family, const char *s, size_t n, void *out)
{
	char text[SCAN_MOST + 1];

	memcpy(text, s, n);
	text[n] = 0;
	return inet_pton(family, text, out) == 1;
}

/* RFC 4291 section 2.2: eight groups of one to four hexadecimal digits, or
 * fewer with one `::` for a run of zeros. The third form, with a dotted tail,
 * is rare and left to inet_pton(3), which takes five times as long. */
static bool
read6(const char *s, size_t n, u128 *out)
{
	unsigned groups = 0, len = 0, x = 0;
	int twin = -1;               /* groups before the `::` */
	u128 head = 0, all = 0;
	size_t i = 0;

	if (n < 2 || (s[0] == ':' && s[1] != ':'))
		return false;
	if (s[0] == ':') {
		twin = 0;
		i = 2;
	}
	for (; i < n; i++) {
		unsigned d = hex(s[i]);

		if (d < 16) {
			if (++len > 4)
				return false;
			x = x << 4 | d;
			continue;
		}
		if (s[i] == '.') {
			uint8_t be[16];

			/* A NUL would end the text early for inet_pton(3). */
			for (size_t k = i; k < n; k++)
				if (s[k] != '.' && !digit(s[k]))
					return false;
			if (!pton(AF_INET6, s, n, be))
				return false;
			*out = u128_from_be(be);
			return true;
		}
		if (s[i] != ':' || !len || groups == 8 || i + 1 == n)
			return false;
		all = all << 16 | x;
		groups++;
		len = x = 0;
		if (s[i + 1] == ':') {
			if (twin >= 0)
				return false;
			twin = (int)groups;
			head = all;
			all = 0;
			i++;
		}
	}
	if (len) {
		all = all << 16 | x;
		groups++;
	}
	if (twin < 0) {
		*out = all;
		return groups == 8;
	}
	if (groups > 7)
		return false;
	*out = twin ? head << 16 * (8 - twin) | all : all;
	return true;
}

bool
scan_addr(const char *s, size_t n, struct addr *out)
{
	struct in_addr a4;
	u128 x;

	if (!n || n > SCAN_MOST)
		return false;
	if (shape4(s, n)) {
		if (!pton(AF_INET, s, n, &a4))
			return false;
		*out = (struct addr){ADDR_V4, ntohl(a4.s_addr)};
		return true;
	}
	if (!read6(s, n, &x))
		return false;
	*out = (struct addr){ADDR_V6, x};
	return true;
}

bool
scan_bits(const char *s, size_t n, unsigned most, unsigned *out)
{
	unsigned x = 0;

	if (!n || n > 3 || (n > 1 && s[0] == '0'))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!digit(s[i]))
			return false;
		x = 10 * x + (unsigned)(s[i] - '0');
	}
	if (x > most)
		return false;
	*out = x;
	return true;
}

enum addr_wrong
scan_read(const char *s, size_t n, bool prefix, struct addr_prefix *out)
{
	const char *slash = n ? memchr(s, '/', n) : NULL;
	size_t head = slash ? (size_t)(slash - s) : n;
	unsigned bits, most;
	struct addr a;
	u128 host;

	if (slash && !prefix)
		return ADDR_SYNTAX;
	if (!scan_addr(s, head, &a))
		return ADDR_SYNTAX;
	bits = most = a.family == ADDR_V4 ? 32 : 128;
	if (slash && !scan_bits(slash + 1, n - head - 1, most, &bits))
		return ADDR_SYNTAX;
	host = most - bits == 128 ? U128_MAX : ((u128)1 << (most - bits)) - 1;
	*out = (struct addr_prefix){a.family, bits, a.n & ~host, a.n | host};
	if (a.family == ADDR_V6 && a.n >> 32 == 0xffff)
		return ADDR_MAPPED;
	if (!bits)
		return ADDR_ANY;
	if (a.n & host)
		return ADDR_HOST_BITS;
	if (!a.n && bits == most)
		return ADDR_UNSPECIFIED;
	return ADDR_OK;
}

enum addr_wrong
addr_read(const char *s, size_t n, struct addr *out)
{
	return addr_read_fix(s, n, out, NULL);
}

enum addr_wrong
addr_read_fix(const char *s, size_t n, struct addr *out, char fix[64])
{
	struct addr_prefix p;
	char unused[SCAN_FIX];

	if (!fix)
		fix = unused;
	fix[0] = 0;
	if (scan_read(s, n, false, &p) != ADDR_OK)
		return scan_why(s, n, false, fix);
	*out = (struct addr){p.family, p.lo};
	return ADDR_OK;
}

enum addr_wrong
addr_prefix_read(const char *s, size_t n, struct addr_prefix *out, char fix[64])
{
	struct addr_prefix p;
	char unused[SCAN_FIX];

	if (!fix)
		fix = unused;
	fix[0] = 0;
	if (scan_read(s, n, true, &p) != ADDR_OK)
		return scan_why(s, n, true, fix);
	*out = p;
	return ADDR_OK;
}

static size_t
write4(uint32_t x, char *out)
{
	char *p = out;

	for (int shift = 24; shift >= 0; shift -= 8) {
		unsigned o = x >> shift & 0xff;

		if (o >= 100)
			*p++ = (char)('0' + o / 100);
		if (o >= 10)
			*p++ = (char)('0' + o / 10 % 10);
		*p++ = (char)('0' + o % 10);
		if (shift)
			*p++ = '.';
	}
	*p = 0;
	return (size_t)(p - out);
}

size_t
addr_write(struct addr a, char out[46])
{
	uint8_t be[16];

	if (a.family == ADDR_V4)
		return write4((uint32_t)a.n, out);
	u128_to_be(a.n, be);
	inet_ntop(AF_INET6, be, out, 46);
	return strlen(out);
}

size_t
addr_prefix_write(struct addr_prefix p, char out[50])
{
	size_t n = addr_write((struct addr){p.family, p.lo}, out);
	unsigned b = p.bits;

	if (p.lo == p.hi)
		return n;
	out[n++] = '/';
	if (b >= 100)
		out[n++] = (char)('0' + b / 100);
	if (b >= 10)
		out[n++] = (char)('0' + b / 10 % 10);
	out[n++] = (char)('0' + b % 10);
	out[n] = 0;
	return n;
}
