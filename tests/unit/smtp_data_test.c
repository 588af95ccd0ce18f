/*
 * The content on the wire, in and out: every string up to a length over the bytes that
 * matter, against an oracle that shares no code; the smuggling sequences; command lines.
 * SMTP_DATA_LENGTH (or the first argument) makes it longer: 11 is 61 million strings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "smtp/data.h"
#include "smtp/line.h"

static const char letters[] = {'\r', '\n', '.', 0, 'a'};
static unsigned longest = 8;

/* ---- the oracle ---------------------------------------------------------- */

/* What a stream means, found by looking at it whole. */
struct meaning {
	bool ended;
	size_t used;               /* with the end */
	bool bad;
	char content[64];
	size_t n;
};

/*
 * RFC 5321 4.1.1.4: the end is the first CRLF.CRLF, where the CRLF of the DATA command
 * counts as the first. So one is put before the stream and the words are searched.
 */
static void
oracle(const char *s, size_t n, struct meaning *m)
{
	char t[66] = "\r\n";
	size_t end = SIZE_MAX, from;

	memcpy(t + 2, s, n);
	n += 2;
	for (size_t i = 0; i + 5 <= n && end == SIZE_MAX; i++)
		if (!memcmp(t + i, "\r\n.\r\n", 5))
			end = i;
	*m = (struct meaning){.ended = end != SIZE_MAX};
	m->used = m->ended ? end + 3 : n - 2;
	from = m->ended ? end + 2 : n;
	/* The text is t[2] to t[from]. */
	for (size_t i = 2; i < from; i++) {
		if (!t[i] || (t[i] == '\n' && t[i - 1] != '\r'))
			m->bad = true;
		if (t[i - 1] == '\r' && t[i] != '\n' && i > 2)
			m->bad = true;
		if (t[i] == '.' && t[i - 1] == '\n' && t[i - 2] == '\r')
			continue;
		m->content[m->n++] = t[i];
	}
}

/* ---- the reader under test ------------------------------------------------ */

struct read {
	struct smtp_data d;
	char content[64];
	size_t n, used;
};

static void
feed(struct read *r, const char *p, size_t n)
{
	while (n && !r->d.ended) {
		const char *run;
		size_t nrun, k = smtp_data_feed(&r->d, p, n, &run, &nrun);

		if (!k && !nrun)
			fail_msg("no progress");
		memcpy(r->content + r->n, run, nrun);
		r->n += nrun;
		r->used += k;
		p += k;
		n -= k;
	}
}

/* Bit i of `splits`: a piece ends behind byte i. */
static bool
agrees(const char *s, size_t n, unsigned splits, const struct meaning *m)
{
	struct read r = {.n = 0};
	size_t from = 0;

	smtp_data_init(&r.d);
	for (size_t i = 0; i < n; i++)
		if (i + 1 == n || splits & 1u << i) {
			feed(&r, s + from, i + 1 - from);
			from = i + 1;
		}
	if (r.d.ended != m->ended || r.used != m->used)
		return false;
	if (r.d.ended)
		return !!r.d.bad == m->bad && (m->bad ? r.d.size == m->n :
		    r.d.size == m->n && r.n == m->n && !memcmp(r.content, m->content, m->n));
	return true;
}

static void
show(const char *s, size_t n, unsigned splits)
{
	printf("splits %x:", splits);
	for (size_t i = 0; i < n; i++)
		printf(" %02x", (unsigned char)s[i]);
	printf("\n");
}

/* All strings of exactly n letters; up to length 8 in all ways of cutting them to pieces, beyond
 * that whole and byte by byte. */
static uint64_t
every(unsigned n, uint64_t *strings)
{
	uint64_t wrong = 0, all = 1;
	char s[16];

	for (unsigned i = 0; i < n; i++)
		all *= 5;
	for (uint64_t x = 0; x < all; x++) {
		uint64_t y = x;
		struct meaning m;

		for (unsigned i = 0; i < n; i++, y /= 5)
			s[i] = letters[y % 5];
		oracle(s, n, &m);
		for (unsigned splits = 0; splits < (n <= 8 ? 1u << (n ? n - 1 : 0) : 1); splits++)
			if (!agrees(s, n, splits, &m) && wrong++ < 10)
				show(s, n, splits);
		if (n > 8 && !agrees(s, n, UINT32_MAX, &m) && wrong++ < 10)
			show(s, n, UINT32_MAX);
	}
	*strings += all;
	return wrong;
}

static void
rfc5321_4_1_1_4_end_of_data_every_string(void **state)
{
	uint64_t strings = 0, wrong = 0;

	(void)state;
	for (unsigned n = 0; n <= longest; n++)
		wrong += every(n, &strings);
	printf("%llu strings up to length %u, %llu mismatches\n", (unsigned long long)strings, longest,
	    (unsigned long long)wrong);
	assert_int_equal(wrong, 0);
	assert_true(strings > 400000);
}

/* ---- outbound ------------------------------------------------------------- */

/* What the writer makes of a content given in two pieces; -1: refused. */
static int
stuff(const char *s, size_t n, size_t split, char *out)
{
	const size_t parts[2] = {split, n - split};
	struct smtp_stuff w;
	const char *run, *end;
	size_t nrun, k = 0;

	smtp_stuff_init(&w);
	for (int i = 0; i < 2; i++) {
		size_t left = parts[i];

		while (left) {
			size_t took = smtp_stuff_feed(&w, s, left, &run, &nrun);

			if (w.bad)
				return -1;
			if (!took && !nrun)
				fail_msg("no progress");
			memcpy(out + k, run, nrun);
			k += nrun;
			s += took;
			left -= took;
		}
	}
	end = smtp_stuff_end(&w);
	if (!end)
		return -1;
	memcpy(out + k, end, strlen(end));
	return (int)(k + strlen(end));
}

/* The writer refuses what is no clean content, writes one CRLF.CRLF at the very
 * end, and what it writes reads back as the content. */
static void
rfc5321_4_5_2_outbound_every_string(void **state)
{
	uint64_t wrong = 0, taken = 0;

	(void)state;
	for (unsigned n = 0; n <= 7; n++) {
		uint64_t all = 1;

		for (unsigned i = 0; i < n; i++)
			all *= 5;
		for (uint64_t x = 0; x < all; x++) {
			char s[16] = {0}, out[64] = "\r\n", want[20];
			struct meaning m;
			bool clean = true;
			uint64_t y = x;
			size_t nwant;

			for (unsigned i = 0; i < n; i++, y /= 5)
				s[i] = letters[y % 5];
			for (unsigned i = 0; i < n; i++)
				clean &= s[i] && (s[i] != '\n' || (i && s[i - 1] == '\r')) &&
				    (s[i] != '\r' || (i + 1 < n && s[i + 1] == '\n'));
			memcpy(want, s, n);
			nwant = n;
			if (n && (n < 2 || s[n - 1] != '\n')) {
				memcpy(want + n, "\r\n", 2);
				nwant += 2;
			}
			for (size_t split = 0; split <= n; split++) {
				int k = stuff(s, n, split, out + 2);

				if ((k >= 0) != clean) {
					wrong++;
					continue;
				}
				if (!clean)
					continue;
				taken++;
				oracle(out + 2, (size_t)k, &m);
				wrong += !m.ended || m.used != (size_t)k || m.bad || m.n != nwant ||
				    memcmp(m.content, want, nwant);
			}
		}
	}
	printf("%llu contents written\n", (unsigned long long)taken);
	assert_int_equal(wrong, 0);
	assert_true(taken > 1000);
}

/* ---- smuggling ------------------------------------------------------------- */

/* Each stands behind a line of a message, and a second message behind it. */
static const struct {
	const char *name, *bytes;
	size_t n;
	bool bad;                  /* the message is refused; else it is taken with the words inside */
} smuggling[] = {
#define ROW(name, bytes, bad) {name, bytes, sizeof bytes - 1, bad}
	ROW("LF.LF", "\n.\n", true),
	ROW("LF.CR", "\n.\r", true),
	ROW("CR.LF", "\r.\n", true),
	ROW("CR.CR", "\r.\r", true),
	ROW("LF.CRLF", "\n.\r\n", true),
	ROW("CR.CRLF", "\r.\r\n", true),
	ROW("CRLF.LF", "\r\n.\n", true),
	ROW("CRLF.CR", "\r\n.\r", true),
	ROW("CRLF NUL . CRLF", "\r\n\0.\r\n", true),
	ROW("CRLF.NUL CRLF", "\r\n.\0\r\n", true),
	ROW("CRLF.CR CRLF", "\r\n.\r\r\n", true),
	ROW("CR CRLF.CR CRLF", "\r\r\n.\r\r\n", true),
	ROW("LF LF.CRLF", "\n\n.\r\n", true),
	ROW("CRLF. CRLF", "\r\n. \r\n", false),
	ROW("CRLF.VT CRLF", "\r\n.\v\r\n", false),
	ROW("CRLF..CRLF", "\r\n..\r\n", false),
	ROW("CRLF NUL.CR", "\r\n\0.\r", true),
	ROW("CRLF NUL.LF", "\r\n\0.\n", true),
#undef ROW
};

static void
smuggling_eighteen_sequences_do_not_end_the_data(void **state)
{
	static const char second[] = "MAIL FROM:<evil@example.org>\r\nRCPT TO:<x@example.org>\r\nDATA\r\n";

	(void)state;
	assert_int_equal(sizeof smuggling / sizeof *smuggling, 18);
	for (size_t i = 0; i < 18; i++) {
		char s[256];
		size_t n = 0;

		memcpy(s, "Subject: a\r\n\r\nfirst", 19);
		n += 19;
		memcpy(s + n, smuggling[i].bytes, smuggling[i].n);
		n += smuggling[i].n;
		memcpy(s + n, second, sizeof second - 1);
		n += sizeof second - 1;
		memcpy(s + n, "\r\n.\r\n", 5);
		n += 5;
		for (size_t chunk = 1; chunk <= n; chunk++) {
			struct smtp_data d;
			size_t used = 0;

			smtp_data_init(&d);
			while (used < n && !d.ended) {
				const char *run;
				size_t nrun, k = n - used < chunk ? n - used : chunk;

				used += smtp_data_feed(&d, s + used, k, &run, &nrun);
			}
			if (!d.ended || used != n || !!d.bad != smuggling[i].bad)
				fail_msg("%s in pieces of %zu", smuggling[i].name, chunk);
		}
	}
}

static void
rfc1870_6_3_size_counts_content_without_stuffing(void **state)
{
	static const char s[] = "..a\r\n....\r\nb\r\n.\r\n";
	struct smtp_data d;
	const char *run;
	size_t nrun, i = 0;

	(void)state;
	smtp_data_init(&d);
	while (!d.ended)
		i += smtp_data_feed(&d, s + i, sizeof s - 1 - i, &run, &nrun);
	assert_int_equal(i, sizeof s - 1);
	assert_int_equal(d.size, strlen(".a\r\n...\r\nb\r\n"));
	assert_int_equal(d.longest, 5);
	assert_false(d.high);
}

static void
rfc6152_bytes_above_127_are_seen_wherever_they_stand(void **state)
{
	(void)state;
	for (size_t n = 1; n < 70; n++)
		for (size_t at = 0; at < n; at++) {
			char s[80];
			bool high = false;

			memset(s, 'x', n);
			s[at] = (char)0x80;
			assert_int_equal(smtp_data_scan(s, n, &high), n);
			assert_true(high);
			/* Behind the place where the scan stops it is not its business. */
			s[at] = '\r';
			if (at + 1 < n)
				s[at + 1] = (char)0xff;
			high = false;
			assert_int_equal(smtp_data_scan(s, n, &high), at);
			assert_false(high);
		}
}

/* ---- command lines ---------------------------------------------------------- */

static void
rfc5321_2_3_8_only_crlf_ends_a_line(void **state)
{
	static const struct {
		const char *s;
		size_t n, used;
		enum smtp_line_is is;
	} rows[] = {
		{"NOOP\r\nRSET\r\n", 12, 6, SMTP_LINE_WHOLE},
		{"\r\n", 2, 2, SMTP_LINE_WHOLE},
		{"NOOP", 4, 4, SMTP_LINE_MORE},
		{"NOOP\r", 5, 5, SMTP_LINE_MORE},
		{"NOOP\n", 5, 4, SMTP_LINE_BARE_LF},
		{"\n", 1, 0, SMTP_LINE_BARE_LF},
		{"NO\rOP\r\n", 7, 3, SMTP_LINE_BARE_CR},
		{"NOOP\r\r\n", 7, 5, SMTP_LINE_BARE_CR},
		{"NO\0OP\r\n", 7, 7, SMTP_LINE_WHOLE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t chunk = 1; chunk <= rows[i].n; chunk++) {
			enum smtp_line_is is = SMTP_LINE_MORE;
			struct smtp_line l;
			size_t used = 0;

			smtp_line_init(&l, 512);
			while (is == SMTP_LINE_MORE && used < rows[i].n) {
				size_t k = rows[i].n - used < chunk ? rows[i].n - used : chunk;

				used += smtp_line_feed(&l, rows[i].s + used, k, &is);
			}
			assert_int_equal(is, rows[i].is);
			assert_int_equal(used, rows[i].used);
			assert_int_equal(l.nul, i == 8);
			smtp_line_free(&l);
		}
}

static void
rfc5321_4_5_3_1_4_line_limit_is_exact_and_the_rest_is_dropped(void **state)
{
	(void)state;
	for (size_t n = 500; n < 520; n++) {
		enum smtp_line_is is;
		struct smtp_line l;
		char s[600];

		smtp_line_init(&l, 512);
		memset(s, 'x', n);
		memcpy(s + n, "\r\nNOOP\r\n", 8);
		assert_int_equal(smtp_line_feed(&l, s, n + 8, &is), n + 2);
		assert_int_equal(is, SMTP_LINE_WHOLE);
		assert_int_equal(l.over, n + 2 > 512);
		assert_int_equal(l.n, n > 510 ? 510 : n);
		assert_int_equal(l.seen, n + 2);
		smtp_line_again(&l);
		assert_int_equal(smtp_line_feed(&l, s + n + 2, 6, &is), 6);
		assert_string_equal(l.p, "NOOP");
		assert_false(l.over);
		smtp_line_free(&l);
	}
}

int
main(int argc, char **argv)
{
	const char *length = argc > 1 ? argv[1] : getenv("SMTP_DATA_LENGTH");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc5321_4_1_1_4_end_of_data_every_string),
		cmocka_unit_test(rfc5321_4_5_2_outbound_every_string),
		cmocka_unit_test(smuggling_eighteen_sequences_do_not_end_the_data),
		cmocka_unit_test(rfc1870_6_3_size_counts_content_without_stuffing),
		cmocka_unit_test(rfc6152_bytes_above_127_are_seen_wherever_they_stand),
		cmocka_unit_test(rfc5321_2_3_8_only_crlf_ends_a_line),
		cmocka_unit_test(rfc5321_4_5_3_1_4_line_limit_is_exact_and_the_rest_is_dropped),
	};

	if (length) {
		unsigned long n = strtoul(length, NULL, 10);

		longest = n >= 8 && n <= 13 ? (unsigned)n : 8;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
