/*
 * addr: strict text, set algebra against two oracles (libcidr and a bitmap),
 * probes.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "addr/addr.h"
#include "addr/packet.h"
#include "addr/set.h"
#include "base/arena.h"

/* A text, what it is, and the text to write instead; for a good one, the
 * text that addr_prefix_write() gives. */
static const struct odd {
	const char *text;
	enum addr_wrong want;
	const char *fix;
} odd[] = {
	/* Good ones, in their canonical form. */
	{"10.0.0.0/8", ADDR_OK, "10.0.0.0/8"},
	{"131.111.8.128/27", ADDR_OK, "131.111.8.128/27"},
	{"192.0.2.1", ADDR_OK, "192.0.2.1"},
	{"192.0.2.1/32", ADDR_OK, "192.0.2.1"},
	{"255.255.255.255", ADDR_OK, "255.255.255.255"},
	{"255.255.255.254/31", ADDR_OK, "255.255.255.254/31"},
	{"0.0.0.0/8", ADDR_OK, "0.0.0.0/8"},
	{"0.0.0.0/1", ADDR_OK, "0.0.0.0/1"},
	{"128.0.0.0/1", ADDR_OK, "128.0.0.0/1"},
	{"0.0.0.1", ADDR_OK, "0.0.0.1"},
	{"1.2.3.4", ADDR_OK, "1.2.3.4"},
	{"100.100.100.100", ADDR_OK, "100.100.100.100"},
	{"2001:db8::/32", ADDR_OK, "2001:db8::/32"},
	{"2001:DB8::/32", ADDR_OK, "2001:db8::/32"},
	{"2001:0db8:0000::/48", ADDR_OK, "2001:db8::/48"},
	{"2001:630:212:8::e:0/112", ADDR_OK, "2001:630:212:8::e:0/112"},
	{"2001:db8:0:0:0:0:0:1", ADDR_OK, "2001:db8::1"},
	{"2001:db8:0:1:1:1:1:1", ADDR_OK, "2001:db8:0:1:1:1:1:1"},
	{"2001:db8::1/128", ADDR_OK, "2001:db8::1"},
	{"::1", ADDR_OK, "::1"},
	{"::/1", ADDR_OK, "::/1"},
	{"8000::/1", ADDR_OK, "8000::/1"},
	{"fe80::/10", ADDR_OK, "fe80::/10"},
	{"64:ff9b::192.0.2.33", ADDR_OK, "64:ff9b::c000:221"},
	{"::ffff:0:0:0/80", ADDR_OK, "::ffff:0:0:0/80"},
	{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_OK,
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	{"1:2:3:4:5:6:7::", ADDR_OK, "1:2:3:4:5:6:7:0"},
	{"::2:3:4:5:6:7:8", ADDR_OK, "0:2:3:4:5:6:7:8"},
	/* Nothing at all. */
	{"", ADDR_EMPTY, ""},
	{" ", ADDR_SPACE, ""},
	{"/", ADDR_SYNTAX, ""},
	{"/8", ADDR_SYNTAX, ""},
	{"//", ADDR_SYNTAX, ""},
	{".", ADDR_SYNTAX, ""},
	{"...", ADDR_SYNTAX, ""},
	{"....", ADDR_SYNTAX, ""},
	{":", ADDR_SYNTAX, ""},
	{":::", ADDR_SYNTAX, ""},
	{"-", ADDR_SYNTAX, ""},
	{"%", ADDR_SYNTAX, ""},
	{"[", ADDR_SYNTAX, ""},
	{"[]", ADDR_SYNTAX, ""},
	{"]", ADDR_SYNTAX, ""},
	{"*", ADDR_SYNTAX, ""},
	{"!", ADDR_SYNTAX, ""},
	/* Names. */
	{"ppsw.cam.ac.uk", ADDR_NAME, ""},
	{"localhost", ADDR_NAME, ""},
	{"cafe", ADDR_NAME, ""},
	{"any", ADDR_NAME, ""},
	{"mail-1.example.org", ADDR_NAME, ""},
	{"10-0-0-1.example.org", ADDR_NAME, ""},
	{"1.example", ADDR_NAME, ""},
	{"example.org.", ADDR_NAME, ""},
	{"*.example.org", ADDR_NAME, ""},
	{"@example.org", ADDR_NAME, ""},
	{"a@example.org", ADDR_NAME, ""},
	{"_spf.example.org", ADDR_NAME, ""},
	{"example.org/24", ADDR_NAME, ""},
	{"host.example.org:25", ADDR_NAME, ""},
	{"x", ADDR_NAME, ""},
	{"10.0.0.x", ADDR_NAME, ""},
	/* Numbers that inet_aton(3) takes. */
	{"0x7f000001", ADDR_SYNTAX, ""},
	{"0x7f.1", ADDR_SYNTAX, ""},
	{"0x0a.0.0.1", ADDR_SYNTAX, ""},
	{"2130706433", ADDR_OCTET, ""},
	{"127.1", ADDR_SHORT, "127.1.0.0/16"},
	{"127.0.1", ADDR_SHORT, "127.0.1.0/24"},
	/* Leading zeros. */
	{"010.0.0.1", ADDR_LEADING_ZERO, "10.0.0.1"},
	{"10.0.0.01", ADDR_LEADING_ZERO, "10.0.0.1"},
	{"10.00.0.1", ADDR_LEADING_ZERO, "10.0.0.1"},
	{"010.000.000.000/8", ADDR_LEADING_ZERO, "10.0.0.0/8"},
	{"010.0.0.1/8", ADDR_LEADING_ZERO, "10.0.0.0/8"},
	{"192.168.000.001", ADDR_LEADING_ZERO, "192.168.0.1"},
	{"010/8", ADDR_LEADING_ZERO, "10.0.0.0/8"},
	{"0000000010.0.0.1", ADDR_LEADING_ZERO, "10.0.0.1"},
	{"00.0.0.0/0", ADDR_ANY, "any"},
	{"000.0.0.0", ADDR_LEADING_ZERO, ""},
	{"08.08.08.08", ADDR_LEADING_ZERO, "8.8.8.8"},
	{"0377.1.1.1", ADDR_OCTET, ""},
	/* Short forms. */
	{"10/8", ADDR_SHORT, "10.0.0.0/8"},
	{"10.0/16", ADDR_SHORT, "10.0.0.0/16"},
	{"131.111/16", ADDR_SHORT, "131.111.0.0/16"},
	{"10.0.0", ADDR_SHORT, "10.0.0.0/24"},
	{"10.0.0/24", ADDR_SHORT, "10.0.0.0/24"},
	{"10.1/8", ADDR_SHORT, "10.0.0.0/8"},
	{"10.0.0.", ADDR_SHORT, "10.0.0.0/24"},
	{"131.111.", ADDR_SHORT, "131.111.0.0/16"},
	{"10", ADDR_SHORT, ""},
	{"25", ADDR_SHORT, ""},
	{"0", ADDR_SHORT, ""},
	{"0/0", ADDR_ANY, "any"},
	{"0.0.0/0", ADDR_ANY, "any"},
	{"10/33", ADDR_SHORT, ""},
	{"10/", ADDR_SHORT, ""},
	{"2001:db8/32", ADDR_SHORT, "2001:db8::/32"},
	{"2001:db8:/32", ADDR_SHORT, "2001:db8::/32"},
	{"2001:630:212:8/64", ADDR_SHORT, "2001:630:212:8::/64"},
	{"fe80/10", ADDR_NAME, ""},
	/* Numbers out of range. */
	{"256.0.0.1", ADDR_OCTET, ""},
	{"10.0.0.256", ADDR_OCTET, ""},
	{"10.0.0.300/24", ADDR_OCTET, ""},
	{"999.999.999.999", ADDR_OCTET, ""},
	{"1000.0.0.1", ADDR_OCTET, ""},
	{"10.0.0.99999999999999999999", ADDR_OCTET, ""},
	{"4294967306.0.0.1", ADDR_OCTET, ""},
	/* Too many, too few, misplaced. */
	{"10.0.0.0.0", ADDR_SYNTAX, ""},
	{"1.2.3.4.", ADDR_SYNTAX, ""},
	{".1.2.3.4", ADDR_SYNTAX, ""},
	{"1..2.3", ADDR_SYNTAX, ""},
	{"1.2..3.4", ADDR_SYNTAX, ""},
	{"10.0.0.0,10.1.0.0", ADDR_SYNTAX, ""},
	{"10.0.0.0/8,10.1.0.0/16", ADDR_BITS, ""},
	{"!10.0.0.0/8", ADDR_SYNTAX, ""},
	{"+10.0.0.1", ADDR_SYNTAX, ""},
	{"-10.0.0.1", ADDR_SYNTAX, ""},
	{"10.0.0.1#", ADDR_SYNTAX, ""},
	{"10.0.0.1;", ADDR_SYNTAX, ""},
	{"10.0.0.1\\8", ADDR_SYNTAX, ""},
	{"\"10.0.0.1\"", ADDR_SYNTAX, ""},
	{"http://10.0.0.1/", ADDR_SYNTAX, ""},
	{"\xef\xbc\x91.2.3.4", ADDR_SYNTAX, ""},
	{"10\xe3\x80\x82""0.0.1", ADDR_SYNTAX, ""},
	/* Prefix lengths. */
	{"10.0.0.0/", ADDR_BITS, ""},
	{"10.0.0.0/33", ADDR_BITS, ""},
	{"10.0.0.0/-1", ADDR_BITS, ""},
	{"10.0.0.0/+8", ADDR_BITS, ""},
	{"10.0.0.0/x", ADDR_BITS, ""},
	{"10.0.0.0/abc", ADDR_BITS, ""},
	{"10.0.0.0/8x", ADDR_BITS, ""},
	{"10.0.0.0/0x8", ADDR_BITS, ""},
	{"10.0.0.0/08", ADDR_BITS, "10.0.0.0/8"},
	{"10.0.0.0/008", ADDR_BITS, "10.0.0.0/8"},
	{"10.0.0.1/08", ADDR_BITS, "10.0.0.0/8"},
	{"10.0.0.0/00", ADDR_BITS, ""},
	{"10.0.0.0/24/8", ADDR_BITS, ""},
	{"10.0.0.0//8", ADDR_BITS, ""},
	{"10.0.0.0/8/", ADDR_BITS, ""},
	{"10.0.0.0/8.0", ADDR_BITS, ""},
	{"10.0.0.0/1e1", ADDR_BITS, ""},
	{"10.0.0.0/4294967304", ADDR_BITS, ""},
	{"10.0.0.0/18446744073709551624", ADDR_BITS, ""},
	{"10.0.0.0/128", ADDR_BITS, ""},
	{"10.0.0.0/ffff::", ADDR_BITS, ""},
	{"2001:db8::/129", ADDR_BITS, ""},
	{"2001:db8::/999", ADDR_BITS, ""},
	{"2001:db8::/", ADDR_BITS, ""},
	{"2001:db8::/032", ADDR_BITS, "2001:db8::/32"},
	{"::/x", ADDR_BITS, ""},
	{"::/-0", ADDR_BITS, ""},
	/* Netmasks, and Cisco's wildcards. */
	{"10.0.0.0/255.0.0.0", ADDR_NETMASK, "10.0.0.0/8"},
	{"10.1.2.3/255.0.0.0", ADDR_NETMASK, "10.0.0.0/8"},
	{"10.0.0.1/255.255.255.255", ADDR_NETMASK, "10.0.0.1/32"},
	{"10.0.0.0/255.255.255.254", ADDR_NETMASK, "10.0.0.0/31"},
	{"10.0.0.0/0.0.0.255", ADDR_NETMASK, "10.0.0.0/24"},
	{"10.0.0.0/255.0.255.0", ADDR_NETMASK, ""},
	{"10.0.0.0/0.0.0.0", ADDR_NETMASK, ""},
	{"10.0.0.0/1.2.3.4", ADDR_NETMASK, ""},
	{"2001:db8::/ffff:ffff::", ADDR_NETMASK, "2001:db8::/32"},
	{"10.0.0.0/255.255", ADDR_BITS, ""},
	/* Host bits. */
	{"10.0.0.1/8", ADDR_HOST_BITS, "10.0.0.0/8"},
	{"131.111.8.129/27", ADDR_HOST_BITS, "131.111.8.128/27"},
	{"255.255.255.255/31", ADDR_HOST_BITS, "255.255.255.254/31"},
	{"2001:db8::1/32", ADDR_HOST_BITS, "2001:db8::/32"},
	{"2001:db8::1/127", ADDR_HOST_BITS, "2001:db8::/127"},
	{"ffff::1/1", ADDR_HOST_BITS, "8000::/1"},
	{"127.0.0.1/1", ADDR_HOST_BITS, "0.0.0.0/1"},
	/* IPv4 in IPv6. */
	{"::ffff:10.0.0.1", ADDR_MAPPED, "10.0.0.1"},
	{"::ffff:a00:1", ADDR_MAPPED, "10.0.0.1"},
	{"::FFFF:10.0.0.0/104", ADDR_MAPPED, "10.0.0.0/8"},
	{"::ffff:10.0.0.1/104", ADDR_MAPPED, "10.0.0.0/8"},
	{"::ffff:10.0.0.1/128", ADDR_MAPPED, "10.0.0.1"},
	{"::ffff:0:0/96", ADDR_MAPPED, "any"},
	{"::ffff:10.0.0.0/64", ADDR_MAPPED, ""},
	{"::ffff:010.0.0.1", ADDR_SYNTAX, ""},
	{"::ffff:256.0.0.1", ADDR_SYNTAX, ""},
	/* Zones. */
	{"fe80::1%eth0", ADDR_ZONE, "fe80::1"},
	{"fe80::%eth0/64", ADDR_ZONE, "fe80::/64"},
	{"fe80::1%eth0/64", ADDR_ZONE, "fe80::/64"},
	{"fe80::1%", ADDR_ZONE, "fe80::1"},
	{"10.0.0.1%lo", ADDR_ZONE, "10.0.0.1"},
	{"x%y", ADDR_SYNTAX, ""},
	/* Everything. */
	{"0.0.0.0/0", ADDR_ANY, "any"},
	{"::/0", ADDR_ANY, "any"},
	{"0:0:0:0:0:0:0:0/0", ADDR_ANY, "any"},
	{"10.0.0.0/0", ADDR_ANY, ""},
	{"2001:db8::/0", ADDR_ANY, ""},
	{"0.0.0.0", ADDR_UNSPECIFIED, ""},
	{"0.0.0.0/32", ADDR_UNSPECIFIED, ""},
	{"::", ADDR_UNSPECIFIED, ""},
	{"::/128", ADDR_UNSPECIFIED, ""},
	{"::0.0.0.0", ADDR_UNSPECIFIED, ""},
	/* Ranges. */
	{"10.0.0.0-10.255.255.255", ADDR_RANGE, "10.0.0.0/8"},
	{"10.0.0.1-10.0.0.4", ADDR_RANGE, "10.0.0.1, 10.0.0.2/31, 10.0.0.4"},
	{"10.0.0.1-9", ADDR_RANGE, "10.0.0.1, 10.0.0.2/31, 10.0.0.4/30, 10.0.0.8/31"},
	{"10.0.0.1-10.0.255.254", ADDR_RANGE, ""},
	{"10.0.0.9-10.0.0.1", ADDR_RANGE, ""},
	{"10.0.0.1-2001:db8::1", ADDR_RANGE, ""},
	{"0.0.0.0-255.255.255.255", ADDR_RANGE, "any"},
	{"2001:db8::-2001:db8::ffff", ADDR_RANGE, "2001:db8::/112"},
	{"10.0.0.1-", ADDR_SYNTAX, ""},
	{"10.0.0.1-x", ADDR_NAME, ""},
	/* Ports. */
	{"10.0.0.1:25", ADDR_PORT, "10.0.0.1"},
	{"10.0.0.256:25", ADDR_PORT, ""},
	{"[::1]:25", ADDR_PORT, "::1"},
	{"[2001:db8::1]:587", ADDR_PORT, "2001:db8::1"},
	{"[::1]", ADDR_SYNTAX, "::1"},
	{"[2001:db8::/32]", ADDR_SYNTAX, "2001:db8::/32"},
	{"[::1]:", ADDR_SYNTAX, "::1"},
	{"[::1", ADDR_SYNTAX, ""},
	{"10:25", ADDR_SYNTAX, ""},
	{"10.0.0.1:", ADDR_SYNTAX, ""},
	{"10.0.0.1:25:26", ADDR_SYNTAX, ""},
	/* Blanks. */
	{" 10.0.0.1", ADDR_SPACE, "10.0.0.1"},
	{"10.0.0.1 ", ADDR_SPACE, "10.0.0.1"},
	{"10.0.0.1\n", ADDR_SPACE, "10.0.0.1"},
	{"\t10.0.0.0/8", ADDR_SPACE, "10.0.0.0/8"},
	{"10.0.0.0 / 8", ADDR_SPACE, "10.0.0.0/8"},
	{"10.0.0.1 / 8", ADDR_SPACE, "10.0.0.0/8"},
	{"10.0.0.1 2", ADDR_SPACE, ""},
	{"10.0.0.0/8 10.1.0.0/16", ADDR_SPACE, ""},
	{"10. 0.0.1", ADDR_SPACE, ""},
	/* Asterisks. */
	{"10.*", ADDR_SYNTAX, "10.0.0.0/8"},
	{"10.0.0.*", ADDR_SYNTAX, "10.0.0.0/24"},
	{"131.111.*.*", ADDR_SYNTAX, "131.111.0.0/16"},
	{"10.0.0.0.*", ADDR_SYNTAX, ""},
	{"10*", ADDR_SYNTAX, ""},
	/* What is no IPv6. */
	{"00:11:22:33:44:55", ADDR_SYNTAX, ""},
	{"2001:db8", ADDR_SYNTAX, ""},
	{"2001:db8:::1", ADDR_SYNTAX, ""},
	{"2001::db8::1", ADDR_SYNTAX, ""},
	{"1:2:3:4:5:6:7", ADDR_SYNTAX, ""},
	{"1:2:3:4:5:6:7:8:9", ADDR_SYNTAX, ""},
	{"1:2:3:4:5:6:7:8::", ADDR_SYNTAX, ""},
	{"::1:2:3:4:5:6:7:8", ADDR_SYNTAX, ""},
	{"12345::", ADDR_SYNTAX, ""},
	{"2001:dg8::1", ADDR_SYNTAX, ""},
	{":1:2:3:4:5:6:7", ADDR_SYNTAX, ""},
	{"1:2:3:4:5:6:7:", ADDR_SYNTAX, ""},
	{"::1.2.3", ADDR_SYNTAX, ""},
	{"::1.2.3.4.5", ADDR_SYNTAX, ""},
	{"1.2.3.4::", ADDR_SYNTAX, ""},
	{"::01.2.3.4", ADDR_SYNTAX, ""},
	{"4141:4141:4141:4141:4141:4141:4141:4141:4141:4141:4141:4141:4141:4141:"
	 "4141:4141:4141:4141:4141:4141::", ADDR_SYNTAX, ""},
};

enum { NODD = sizeof odd / sizeof *odd };

static void
CAM_08_odd_addresses(void **state)
{
	unsigned wrong = 0;

	(void)state;
	assert_true(NODD >= 150);
	for (size_t i = 0; i < NODD; i++) {
		struct addr_prefix p;
		char text[64] = "";
		/* Malloc'd to its length, so that a read past the end shows. */
		size_t n = strlen(odd[i].text);
		char *s = malloc(n ? n : 1);
		enum addr_wrong w;

		assert_non_null(s);
		memcpy(s, odd[i].text, n);
		w = addr_prefix_read(s, n, &p, text);
		if (w == ADDR_OK) {
			assert_string_equal(text, "");
			addr_prefix_write(p, text);
		}
		if (w != odd[i].want || strcmp(text, odd[i].fix)) {
			print_message("`%s`: %s, `%s`; wanted %s, `%s`\n",
			    odd[i].text, addr_wrong_text(w), text,
			    addr_wrong_text(odd[i].want), odd[i].fix);
			wrong++;
		}
		free(s);
	}
	print_message("%d odd addresses, %u wrong\n", (int)NODD, wrong);
	assert_int_equal(wrong, 0);
}

/* Every suggestion reads, says `any`, or is a list of prefixes that read. */
static void
suggestions_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < NODD; i++) {
		struct addr_prefix p;
		char fix[64], *save = NULL;

		if (addr_prefix_read(odd[i].text, strlen(odd[i].text), &p, fix) ==
		    ADDR_OK || !*fix || !strcmp(fix, "any"))
			continue;
		for (char *one = strtok_r(fix, ", ", &save); one;
		    one = strtok_r(NULL, ", ", &save))
			assert_int_equal(addr_prefix_read(one, strlen(one), &p,
			    NULL), ADDR_OK);
	}
}

static void
output_untouched_on_error(void **state)
{
	struct addr_prefix p, q;
	struct addr a, b;

	(void)state;
	memset(&p, 0x5a, sizeof p);
	memset(&a, 0x5a, sizeof a);
	q = p;
	b = a;
	for (size_t i = 0; i < NODD; i++) {
		if (odd[i].want == ADDR_OK)
			continue;
		addr_prefix_read(odd[i].text, strlen(odd[i].text), &p, NULL);
		addr_read(odd[i].text, strlen(odd[i].text), &a);
	}
	assert_memory_equal(&p, &q, sizeof p);
	assert_memory_equal(&a, &b, sizeof a);
}

static void
one_address_is_no_prefix(void **state)
{
	static const struct {
		const char *text;
		enum addr_wrong want;
		const char *fix;
	} row[] = {
		{"192.0.2.1", ADDR_OK, ""},
		{"2001:db8::1", ADDR_OK, ""},
		{"127.0.0.1", ADDR_OK, ""},
		{"192.0.2.1/32", ADDR_PREFIX, ""},
		{"10.0.0.0/8", ADDR_PREFIX, ""},
		{"::1/128", ADDR_PREFIX, ""},
		{"0.0.0.0", ADDR_UNSPECIFIED, ""},
		{"::", ADDR_UNSPECIFIED, ""},
		{"::ffff:1.2.3.4", ADDR_MAPPED, "1.2.3.4"},
		{"01.2.3.4", ADDR_LEADING_ZERO, "1.2.3.4"},
		{"10.0.0", ADDR_SHORT, ""},
		{"10.0.0.1-10.0.0.2", ADDR_RANGE, ""},
		{"[::1]:25", ADDR_PORT, "::1"},
		{"localhost", ADDR_NAME, ""},
		{"", ADDR_EMPTY, ""},
		{" ::1", ADDR_SPACE, "::1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		struct addr a;
		char fix[64];

		assert_int_equal(addr_read_fix(row[i].text, strlen(row[i].text),
		    &a, fix), row[i].want);
		assert_string_equal(fix, row[i].fix);
	}
	for (int w = 0; w < ADDR_NWRONG; w++)
		assert_non_null(addr_wrong_text((enum addr_wrong)w));
}

/* Numbers that are the same in every run. */
static uint64_t
roll(void)
{
	static uint64_t s = 0x9e3779b97f4a7c15u;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s * 0x2545f4914f6cdd1du;
}

/* Strings from an alphabet of trouble: an address reads exactly where
 * inet_pton(3) reads it, and as the same number. */
static void
agrees_with_inet_pton(void **state)
{
	static const char abc[] = "0123456789.:.:a0f1";
	unsigned good = 0;

	(void)state;
	for (unsigned i = 0; i < 400000; i++) {
		char s[46] = "";
		size_t n;
		uint8_t b4[4], b6[16];
		struct addr a;
		enum addr_wrong w;
		bool want4, want6;

		if (i % 4) {
			/* Near misses of good ones. */
			uint8_t r[16];
			uint64_t x = roll();

			memset(r, 0, sizeof r);
			for (int k = 0; k < 4; k++)
				r[roll() % 16] = (uint8_t)(x >> 8 * k);
			inet_ntop(i & 1 ? AF_INET : AF_INET6, r, s, sizeof s);
			n = strlen(s);
			if (n && i % 3)
				s[roll() % n] = abc[roll() % (sizeof abc - 1)];
		} else {
			n = 1 + roll() % 12;
			for (size_t k = 0; k < n; k++)
				s[k] = abc[roll() % (sizeof abc - 1)];
		}
		want4 = inet_pton(AF_INET, s, b4) == 1;
		want6 = inet_pton(AF_INET6, s, b6) == 1;
		w = addr_read(s, strlen(s), &a);
		if (w == ADDR_OK) {
			good++;
			assert_true(want4 || want6);
			if (want4)
				assert_true(a.family == ADDR_V4 && a.n ==
				    ((uint32_t)b4[0] << 24 | b4[1] << 16 |
				    b4[2] << 8 | b4[3]));
			else
				assert_true(a.family == ADDR_V6 &&
				    a.n == u128_from_be(b6));
		} else if (want4 || want6) {
			assert_true(w == ADDR_MAPPED || w == ADDR_UNSPECIFIED);
		}
	}
	assert_true(good > 10000);
}

static void
writes_as_inet_ntop(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		char got[50], want[50];
		uint8_t be[16];
		struct addr_prefix p, q;
		struct addr a;
		bool v4 = i & 1;
		size_t n;

		a.family = v4 ? ADDR_V4 : ADDR_V6;
		a.n = v4 ? (u128)(uint32_t)roll() : u128_of(roll(), roll());
		/* Runs of zeros, for the two colons. */
		if (!v4)
			a.n &= ~((u128)0xffff << roll() % 112) &
			    ~((u128)0xffffffff << roll() % 96);
		u128_to_be(a.n, be);
		inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? be + 12 : be, want,
		    sizeof want);
		assert_int_equal(addr_write(a, got), strlen(want));
		assert_string_equal(got, want);

		p = addr_range_head(a.family, a.n, addr_last(a.family));
		n = addr_prefix_write(p, got);
		assert_int_equal(n, strlen(got));
		if (addr_prefix_read(got, strlen(got), &q, NULL) == ADDR_OK)
			assert_true(p.family == q.family && p.bits == q.bits &&
			    p.lo == q.lo && p.hi == q.hi);
		else
			assert_true(!p.bits || !p.lo || p.lo >> 32 == 0xffff);
	}
}

/* A probe, what it is written as again, or what is wrong and where. */
static const struct probe {
	const char *text, *want, *wrong;
	size_t where, len;
} probe[] = {
	{"tcp 131.111.64.9 -> 8.8.8.8:25", "tcp 131.111.64.9 -> 8.8.8.8:25", NULL, 0, 0},
	{"tcp [2001:db8::1]:4000 -> [2001:DB8::2]:25",
	    "tcp [2001:db8::1]:4000 -> [2001:db8::2]:25", NULL, 0, 0},
	{"tcp 2001:db8::1 -> [2001:db8::2]:25", "tcp 2001:db8::1 -> [2001:db8::2]:25", NULL, 0, 0},
	{"  udp\t10.0.0.1   ->  10.0.0.2:53 ", "udp 10.0.0.1 -> 10.0.0.2:53", NULL, 0, 0},
	{"icmp 10.0.0.1 -> 10.0.0.2", "icmp 10.0.0.1 -> 10.0.0.2", NULL, 0, 0},
	{"icmp ::1 -> ::2", "icmp ::1 -> ::2", NULL, 0, 0},
	{"sctp 10.0.0.1:9 -> 10.0.0.2:9", "sctp 10.0.0.1:9 -> 10.0.0.2:9", NULL, 0, 0},
	{"6 10.0.0.1 -> 10.0.0.2:25", "tcp 10.0.0.1 -> 10.0.0.2:25", NULL, 0, 0},
	{"47 10.0.0.1 -> 10.0.0.2", "47 10.0.0.1 -> 10.0.0.2", NULL, 0, 0},
	{"58 10.0.0.1 -> 10.0.0.2", "58 10.0.0.1 -> 10.0.0.2", NULL, 0, 0},
	{"1 ::1 -> ::2", "1 ::1 -> ::2", NULL, 0, 0},
	{"255 ::1 -> ::2", "255 ::1 -> ::2", NULL, 0, 0},
	/* A witness may be any packet. */
	{"tcp 0.0.0.0 -> 255.255.255.255:0", "tcp 0.0.0.0 -> 255.255.255.255:0", NULL, 0, 0},
	{"tcp :: -> [::ffff:1.2.3.4]:65535", "tcp :: -> [::ffff:1.2.3.4]:65535", NULL, 0, 0},
	{"", NULL, "empty", 0, 0},
	{"   ", NULL, "empty", 3, 0},
	{"TCP 10.0.0.1 -> 10.0.0.2:25", "tcp 10.0.0.1 -> 10.0.0.2:25"},
	{"256 10.0.0.1 -> 10.0.0.2", NULL, "begins with", 0, 3},
	{"tcp", NULL, "address is missing", 3, 0},
	{"tcp 10.0.0.1", NULL, "`->`", 12, 0},
	{"tcp 10.0.0.1 8.8.8.8:25", NULL, "`->`", 13, 10},
	{"tcp 10.0.0.1->8.8.8.8:25", NULL, "blank", 4, 20},
	{"tcp 10.0.0.1 -> ", NULL, "address is missing", 16, 0},
	{"tcp 10.0.0.1 -> 8.8.8.8", NULL, "port of the destination is missing", 16, 7},
	{"tcp ::1 -> ::2", NULL, "port of the destination is missing", 11, 3},
	{"tcp 10.0.0.1 -> 8.8.8.8:25 x", NULL, "nothing may follow", 27, 1},
	{"tcp 10.0.0.1 -> [::1]:25", NULL, "different families", 4, 20},
	{"tcp 10.0.0.1 -> 8.8.8.8:65536", NULL, "0 to 65535", 24, 5},
	{"tcp 10.0.0.1 -> 8.8.8.8:025", NULL, "0 to 65535", 24, 3},
	{"tcp 10.0.0.1 -> 8.8.8.8:", NULL, "0 to 65535", 16, 8},
	{"tcp 10.0.0.1 -> 8.8.8.8:-1", NULL, "0 to 65535", 24, 2},
	{"tcp 10.0.0.1 -> mx.example.org:25", NULL, "name", 16, 14},
	{"tcp 010.0.0.1 -> 8.8.8.8:25", NULL, "begins with 0", 4, 9},
	{"tcp 10.0.0.0/8 -> 8.8.8.8:25", NULL, "prefix", 4, 10},
	{"tcp [::1 -> [::1]:25", NULL, "`]`", 4, 4},
	{"tcp ::1 -> [::1]25", NULL, "only `:`", 11, 7},
	{"tcp [10.0.0.1]:1 -> 8.8.8.8:25", NULL, "brackets", 4, 12},
	{"tcp [] -> [::1]:25", NULL, "brackets", 4, 2},
	{"icmp 10.0.0.1 -> 10.0.0.2:25", NULL, "no ports", 17, 11},
	{"47 10.0.0.1:1 -> 10.0.0.2", NULL, "no ports", 3, 10},
	{"tcp fe80::1%eth0 -> [fe80::2]:25", NULL, "zone", 4, 12},
};

static void
probes_read_and_write(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof probe / sizeof *probe; i++) {
		const struct probe *q = &probe[i];
		size_t where = 99, len = 99, n = strlen(q->text);
		char text[128], *s = malloc(n + 1);
		struct packet p;
		const char *wrong;

		assert_non_null(s);
		memcpy(s, q->text, n);
		wrong = packet_read(s, n, &p, &where, &len);
		free(s);
		if (q->want) {
			assert_null(wrong);
			n = packet_write(&p, text);
			assert_int_equal(n, strlen(text));
			assert_string_equal(text, q->want);
			continue;
		}
		if (!wrong || !strstr(wrong, q->wrong) || where != q->where ||
		    len != q->len)
			fail_msg("`%s`: %s at %zu+%zu", q->text,
			    wrong ? wrong : "reads", where, len);
	}
}

static void
probe_is_a_new_connection(void **state)
{
	static const char tcp[] = "tcp 127.9.9.9:4000 -> 8.8.8.8:25";
	static const char icmp[] = "icmp 2001:db8::1 -> ::1";
	struct packet p;
	size_t where, len;

	(void)state;
	assert_null(packet_read(tcp, sizeof tcp - 1, &p, &where, &len));
	assert_true(p.proto == 6 && p.syn && p.loopback);
	assert_true(p.state == PACKET_NEW && p.hook == PACKET_FORWARD);
	assert_true(p.sport == 4000 && p.dport == 25 && !p.user && !p.date);
	assert_true(p.src.family == ADDR_V4 && p.dst.n == 0x08080808);
	assert_null(packet_read(icmp, sizeof icmp - 1, &p, &where, &len));
	assert_true(p.proto == 58 && !p.syn && p.loopback && !p.dport);
}

/* Any packet with addresses of one family comes back as it was. */
static void
packets_round_trip(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		bool v4 = roll() & 1, ports;
		struct packet p = {.proto = (uint8_t)roll()}, q;
		char text[128];
		size_t n, where, len;

		if (i % 2)
			p.proto = (const uint8_t []){6, 17, 132, 1, 58}[i / 2 % 5];
		ports = p.proto == 6 || p.proto == 17 || p.proto == 132;
		p.src.family = p.dst.family = v4 ? ADDR_V4 : ADDR_V6;
		p.src.n = v4 ? (u128)(uint32_t)roll() : u128_of(roll(), roll());
		p.dst.n = v4 ? (u128)(uint32_t)roll() : roll() & 0xffff;
		p.sport = ports && i % 3 ? (uint16_t)roll() : 0;
		p.dport = ports ? (uint16_t)roll() : 0;
		n = packet_write(&p, text);
		assert_null(packet_read(text, n, &q, &where, &len));
		assert_true(p.proto == q.proto && p.sport == q.sport &&
		    p.dport == q.dport && p.src.family == q.src.family &&
		    p.src.n == q.src.n && p.dst.n == q.dst.n &&
		    p.dst.family == q.dst.family);
	}
}

int
main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(CAM_08_odd_addresses),
		cmocka_unit_test(suggestions_read),
		cmocka_unit_test(output_untouched_on_error),
		cmocka_unit_test(one_address_is_no_prefix),
		cmocka_unit_test(agrees_with_inet_pton),
		cmocka_unit_test(writes_as_inet_ntop),
		cmocka_unit_test(probes_read_and_write),
		cmocka_unit_test(probe_is_a_new_connection),
		cmocka_unit_test(packets_round_trip),
	};

	return cmocka_run_group_tests_name("addr", t, NULL, NULL);
}
