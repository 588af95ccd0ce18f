/*
 * The header block of a submitted message: what is found in it, what is added, what is left
 * alone; attachments; bytes above 127.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "smtp/base64.h"
#include "smtp/field.h"
#include "smtp/header.h"
#include "smtp/mime.h"

/* ---- addresses (RFC 5322 3.4, RFC 6854) --------------------------------------- */

static const struct {
	const char *s;
	const char *found;         /* the addresses with blanks between; NULL: refused */
} lists[] = {
	{"a@b.c", "a@b.c"},
	{" a@b.c , d@e.f ", "a@b.c d@e.f"},
	{"Foo <a@b.c>", "a@b.c"},
	{"\"Foo, Bar\" <a@b.c>, d@e.f", "a@b.c d@e.f"},
	{"Foo (x) Bar (y) <a (z) @ b . c> (w)", "a@b.c"},
	{"(a@evil.org) b@c.d", "b@c.d"},
	{"\"a@evil.org\" <b@c.d>", "b@c.d"},
	{"=?utf-8?q?a=40evil=2Eorg?= <b@c.d>", "b@c.d"},
	{"\"x@y\"@z.a", "\"x@y\"@z.a"},
	{"a@[192.0.2.1]", "a@[192.0.2.1]"},
	{"root (Cron Daemon)", "root"},
	{"root", "root"},
	{"\"root\"", "\"root\""},
	{"Foo <root>", "root"},
	{"Foo\r\n\t<a@b.c>", "a@b.c"},
	{"group: a@b.c, Foo <d@e.f>;", "a@b.c d@e.f"},
	{"undisclosed-senders:;", ""},
	{"g: a@b.c;, d@e.f", "a@b.c d@e.f"},
	{", a@b.c,, d@e.f,", "a@b.c d@e.f"},
	{"J. Doe <j@d.e>", "j@d.e"},
	{"J\xc3\xa9r\xc3\xb4me <j@d.e>", "j@d.e"},
	{"\xc3\xa9@b.c", "\xc3\xa9@b.c"},
	{"(a(b\\)c)d) e@f.g", "e@f.g"},
	{"", NULL},
	{"   ", NULL},
	{"<>", NULL},
	{"a@evil.org <b@c.d>", NULL},
	{"<b@c.d> a@evil.org", NULL},
	{"a@b.c d@e.f", NULL},
	{"<a@b.c> <d@e.f>", NULL},
	{"<a@b.c", NULL},
	{"a@b.c>", NULL},
	{"a@", NULL},
	{"@b.c", NULL},
	{"a@b@c.d", NULL},
	{"Foo Bar", NULL},
	{"\"Foo <a@b.c>", NULL},
	{"(Foo a@b.c", NULL},
	{"g: a@b.c", NULL},
	{"g: h: a@b.c;;", NULL},
	{"a@b.c; d@e.f", NULL},
	{"<@x.y:a@b.c>", NULL},
	{"a\x01@b.c", NULL},
};

static void
rfc5322_3_4_rfc6854_address_lists(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		struct smtp_mailboxes m = {0};
		const char *why = NULL;
		size_t n = strlen(lists[i].s);
		char *copy = malloc(n + 1);
		struct buf b = BUF_INIT(4096);
		int r;

		assert_non_null(copy);
		memcpy(copy, lists[i].s, n);
		r = smtp_mailboxes_read(&m, copy, n, &why);
		buf_str(&b, "");
		for (size_t j = 0; j < m.n; j++)
			buf_printf(&b, "%s%s", j ? " " : "", m.v[j].addr);
		if ((r == 0) != (lists[i].found != NULL) ||
		    (!r && strcmp(b.p, lists[i].found)))
			fail_msg("\"%s\": %d \"%s\" %s", lists[i].s, r, b.p, why ? why : "");
		if (r)
			assert_non_null(why);
		buf_free(&b);
		smtp_mailboxes_free(&m);
		free(copy);
	}
}

static void
too_many_addresses(void **state)
{
	struct buf b = BUF_INIT(4096);
	struct smtp_mailboxes m;
	const char *why;

	(void)state;
	for (int i = 0; i < 101; i++)
		buf_str(&b, "a@b.c,");
	assert_int_equal(smtp_mailboxes_read(&m, b.p, b.n, &why), -7);
	assert_int_equal(smtp_mailboxes_read(&m, b.p, b.n - 6, &why), 0);
	assert_int_equal(m.n, 100);
	smtp_mailboxes_free(&m);
	buf_free(&b);
}

static void
rfc5322_3_3_dates(void **state)
{
	static const struct {
		unsigned long long t;
		int east;
		const char *s;
	} dates[] = {
		{0, 0, "Thu, 1 Jan 1970 00:00:00 +0000"},
		{0, -1, "Wed, 31 Dec 1969 23:59:00 -0001"},
		{951782400, 0, "Tue, 29 Feb 2000 00:00:00 +0000"},
		{951868799, 60, "Wed, 1 Mar 2000 00:59:59 +0100"},
		{1795307596, 0, "Sun, 22 Nov 2026 00:33:16 +0000"},
		{1795307596, 345, "Sun, 22 Nov 2026 06:18:16 +0545"},
		{4107542400, 0, "Mon, 1 Mar 2100 00:00:00 +0000"},
		{1709164800, -210, "Wed, 28 Feb 2024 20:30:00 -0330"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
		struct buf b = BUF_INIT(64);

		smtp_date_write(&b, dates[i].t, dates[i].east);
		assert_string_equal(b.p, dates[i].s);
		buf_free(&b);
	}
}

/* ---- repair -------------------------------------------------------------------- */

#define RECEIVED "Received: from c (uid 1000)\r\n\tby h.example with ESMTP id i1\r\n\tfor <d@e.f>;\r\n" \
	"\tSun, 22 Nov 2026 00:33:16 +0000\r\n"
#define DATE "Date: Sun, 22 Nov 2026 00:33:16 +0000\r\n"
#define ID "Message-ID: <i1@h.example>\r\n"
#define ALL "Date: x\r\nMessage-ID: y\r\nFrom: a@b.c\r\n"

static const struct smtp_header_fill usual = {.now = 1795307596, .host = "h.example", .id = "i1", .helo = "c",
	.peer = "uid 1000", .with = "ESMTP", .recipient = "d@e.f", .from = "env@b.c"};

static const struct repair {
	const char *name, *in, *out;
	const char *rewrite, *qualify, *sender;
} repairs[] = {
	{"rfc6409_8_nothing_is_missing", ALL "\r\nbody\r\n", RECEIVED ALL "\r\nbody\r\n", NULL, NULL, NULL},
	{"rfc6409_8_2_8_3_date_and_message_id", "From: a@b.c\r\n\r\nx", RECEIVED DATE ID "From: a@b.c\r\n\r\nx", NULL, NULL, NULL},
	{"from_is_the_envelope_sender", "Subject: s\r\n\r\n", RECEIVED DATE ID "From: <env@b.c>\r\nSubject: s\r\n\r\n", NULL, NULL, NULL},
	{"what_is_there_is_not_touched", ALL "X:\t odd  \r\n  fold\r\nsubject : s\r\nDKIM-Signature: z\r\n\r\n",
	    RECEIVED ALL "X:\t odd  \r\n  fold\r\nsubject : s\r\nDKIM-Signature: z\r\n\r\n", NULL, NULL, NULL},
	{"rfc5322_3_6_3_bcc_is_taken_away", ALL "bcc: a@b.c,\r\n\td@e.f\r\nTo: x@y.z\r\nResent-BCC: q@y.z\r\n\r\nBcc: body\r\n",
	    RECEIVED ALL "To: x@y.z\r\n\r\nBcc: body\r\n", NULL, NULL, NULL},
	{"an_empty_header", "\r\nbody\r\n", RECEIVED DATE ID "From: <env@b.c>\r\n\r\nbody\r\n", NULL, NULL, NULL},
	{"no_header_at_all", "Hello there\r\nFrom: x\r\n", RECEIVED DATE ID "From: <env@b.c>\r\n\r\nHello there\r\nFrom: x\r\n", NULL, NULL, NULL},
	{"a_header_that_ends_without_a_blank_line", ALL "Hello there\r\n", RECEIVED ALL "\r\nHello there\r\n", NULL, NULL, NULL},
	{"a_fold_at_the_top_is_body", " x\r\n", RECEIVED DATE ID "From: <env@b.c>\r\n\r\n x\r\n", NULL, NULL, NULL},
	{"mbox_from_line", "From a@b.c Sun Nov 22\r\n" ALL "\r\n", RECEIVED ALL "\r\n", NULL, NULL, NULL},
	{"a_header_without_a_body", ALL, RECEIVED ALL "\r\n", NULL, NULL, NULL},
	{"nothing_at_all", "", RECEIVED DATE ID "From: <env@b.c>\r\n\r\n", NULL, NULL, NULL},
	{"rewrite_keeps_the_note_of_cron", "From: root (Cron Daemon)\r\nSender: root\r\nDate: x\r\nMessage-ID: y\r\n\r\n",
	    RECEIVED "From: \"Cron Daemon\" <web@b.c>\r\nDate: x\r\nMessage-ID: y\r\n\r\n", "web@b.c", NULL, NULL},
	{"rewrite_keeps_the_name", "Date: x\r\nFrom: \"Foo \\\" Bar\"\r\n Baz <r@x.y>\r\nMessage-ID: y\r\n\r\n",
	    RECEIVED "From: \"Foo \\\" Bar\" Baz <web@b.c>\r\nDate: x\r\nMessage-ID: y\r\n\r\n", "web@b.c", NULL, NULL},
	{"rewrite_where_nothing_stood", "Date: x\r\nMessage-ID: y\r\n\r\n",
	    RECEIVED "From: <web@b.c>\r\nDate: x\r\nMessage-ID: y\r\n\r\n", "web@b.c", NULL, NULL},
	{"rfc6409_8_a_bare_address_gets_our_domain", "From: Foo <root>\r\nDate: x\r\nMessage-ID: y\r\n\r\n",
	    RECEIVED "From: Foo <root@h.example>\r\nDate: x\r\nMessage-ID: y\r\n\r\n", NULL, "h.example", NULL},
	{"qualify_leaves_whole_addresses", ALL "\r\n", RECEIVED ALL "\r\n", NULL, "h.example", NULL},
	{"rfc6409_8_1_sender", ALL "\r\n", RECEIVED "Sender: <s@b.c>\r\n" ALL "\r\n", NULL, NULL, "s@b.c"},
};

static struct smtp_header *
read_header(const char *s, size_t n, size_t piece, size_t *used, enum smtp_header_is *is)
{
	struct smtp_header *h = smtp_header_new();

	assert_non_null(h);
	*used = 0;
	*is = SMTP_HEADER_MORE;
	while (*used < n && *is == SMTP_HEADER_MORE) {
		size_t k = n - *used < piece ? n - *used : piece;
		char *copy = malloc(k);

		assert_non_null(copy);
		memcpy(copy, s + *used, k);
		*used += smtp_header_feed(h, copy, k, is);
		free(copy);
	}
	if (*is == SMTP_HEADER_MORE)
		*is = smtp_header_end(h);
	return h;
}

static void
repair_transcripts(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof repairs / sizeof *repairs; i++)
		for (size_t piece = 1; piece < 40; piece += 6) {
			const struct repair *r = &repairs[i];
			struct smtp_header_fill f = usual;
			struct buf out = BUF_INIT(1 << 16);
			enum smtp_header_is is;
			size_t used;
			struct smtp_header *h = read_header(r->in, strlen(r->in), piece, &used, &is);

			assert_int_equal(is, SMTP_HEADER_WHOLE);
			f.rewrite = r->rewrite;
			f.qualify = r->qualify;
			f.sender = r->sender;
			assert_int_equal(smtp_header_write(h, &f, &out), 0);
			buf_str(&out, r->in + used);
			if (strcmp(out.p, r->out)) {
				printf("%s in pieces of %zu:\n%s---- wanted:\n%s----\n", r->name, piece, out.p, r->out);
				wrong++;
			}
			buf_free(&out);
			smtp_header_free(h);
		}
	assert_int_equal(wrong, 0);
}

static void
facts(void **state)
{
	static const char s[] = "Received: a\r\nReceived: b\r\nFrom: a@b.c, Foo <d@e.f>\r\nfrom: x@y.z\r\nResent-From: q@y.z\r\n"
	    "Bcc: x\r\nSubject: \xc3\xa9\r\n\r\n";
	const struct smtp_header_facts *f;
	enum smtp_header_is is;
	struct smtp_header *h;
	size_t used, n;

	(void)state;
	h = read_header(s, sizeof s - 1, 1000, &used, &is);
	assert_int_equal(is, SMTP_HEADER_WHOLE);
	f = smtp_header_facts(h);
	assert_int_equal(f->from_fields, 2);
	assert_int_equal(f->from.n, 2);
	assert_string_equal(f->from.v[1].addr, "d@e.f");
	assert_null(f->from_why);
	assert_int_equal(f->received, 2);
	assert_true(f->resent && f->bcc && f->high && !f->date && !f->message_id && !f->headless);
	assert_int_equal(f->octets, sizeof s - 1);
	/* RFC 5322 3.6.2: several addresses of From ask for a Sender. */
	assert_true(smtp_header_wants_sender(h));
	assert_non_null(smtp_header_value(h, "SUBJECT", &n));
	assert_int_equal(n, 3);
	smtp_header_free(h);
	h = read_header("From: a@b@c\r\n\r\n", 15, 1000, &used, &is);
	assert_non_null(smtp_header_facts(h)->from_why);
	smtp_header_free(h);
}

static void
bounds_of_a_header(void **state)
{
	struct buf b = BUF_INIT(1 << 20);
	enum smtp_header_is is;
	size_t used;

	(void)state;
	for (int i = 0; i < SMTP_HEADER_FIELDS; i++)
		buf_str(&b, "X: y\r\n");
	smtp_header_free(read_header(b.p, b.n, 1000, &used, &is));
	assert_int_equal(is, SMTP_HEADER_WHOLE);
	buf_str(&b, "X: y\r\n");
	smtp_header_free(read_header(b.p, b.n, 1000, &used, &is));
	assert_int_equal(is, SMTP_HEADER_LONG);
	b.n = 0;
	buf_str(&b, "X: ");
	while (b.n < SMTP_HEADER_MOST - 4)
		buf_chr(&b, 'x');
	buf_str(&b, "\r\n\r\n");
	smtp_header_free(read_header(b.p, SMTP_HEADER_MOST, 1000, &used, &is));
	assert_int_equal(is, SMTP_HEADER_WHOLE);
	memmove(b.p + 3, b.p + 2, b.n - 3);
	smtp_header_free(read_header(b.p, b.n + 1, 1000, &used, &is));
	assert_int_equal(is, SMTP_HEADER_LONG);
	buf_free(&b);
}

/* Nothing of what the caller passes on from outside can end a comment or a line. */
static void
header_injection_by_what_is_added(void **state)
{
	struct smtp_header_fill f = usual;
	struct buf out = BUF_INIT(4096);
	enum smtp_header_is is;
	struct smtp_header *h;
	size_t used;

	(void)state;
	h = read_header("\r\n", 2, 10, &used, &is);
	f.helo = "x\r\nEvil: 1";
	f.peer = "a)\r\nEvil: 2 (\\";
	f.recipient = "d@e.f\r\nEvil: 3";
	f.from = "a@b.c>\r\nEvil: 4";
	f.sender = "a@b.c\r\nEvil: 5";
	f.id = "1\r\nEvil: 6";
	assert_int_equal(smtp_header_write(h, &f, &out), 0);
	assert_null(strstr(out.p, "\nEvil"));
	assert_non_null(strstr(out.p, "from localhost (a???Evil: 2 ?" "?)"));
	assert_null(strstr(out.p, "for <"));
	smtp_header_free(h);
	buf_free(&out);
}

/* ---- attachments ------------------------------------------------------------------ */

#define MIXED "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\npreamble\r\n--b\r\n"

static const struct {
	const char *s, *name;
} attachments[] = {
	{MIXED "Content-Disposition: attachment; filename=\"a.exe\"\r\n\r\nx\r\n--b--\r\n", "a.exe"},
	{MIXED "Content-Disposition: attachment; filename=a.EXE\r\n\r\nx\r\n--b--\r\n", "a.EXE"},
	{MIXED "content-type: application/x; name=\"b.scr\"\r\n\r\nx\r\n--b--\r\n", "b.scr"},
	{MIXED "\r\nhi\r\n--b\r\nContent-Disposition: attachment;\r\n\tfilename=\"c.exe\"\r\n\r\nx\r\n--b--\r\n", "c.exe"},
	{MIXED "Content-Disposition: attachment; filename*=utf-8''d%2Eexe\r\n\r\n\r\n--b--\r\n", "d.exe"},
	{MIXED "Content-Disposition: attachment; filename*0=\"e.e\"; filename*1=xe\r\n\r\n\r\n--b--\r\n", "e.exe"},
	{MIXED "Content-Disposition: attachment; filename*0*=''f%2e; filename*1=\"exe\"\r\n\r\n\r\n--b--\r\n", "f.exe"},
	{MIXED "Content-Type: a/b; name=\"=?utf-8?B?Zy5leGU=?=\"\r\n\r\n\r\n--b--\r\n", "g.exe"},
	{MIXED "Content-Type: a/b; name==?utf-8?Q?h=2E?= =?utf-8?Q?exe?=\r\n\r\n\r\n--b--\r\n", "h.exe"},
	{MIXED "Content-Disposition: attachment; filename=\"i.exe. \"\r\n\r\n\r\n--b--\r\n", "i.exe"},
	{MIXED "Content-Disposition: attachment; filename=my file.exe\r\n\r\n\r\n--b--\r\n", "my file.exe"},
	{MIXED "Content-Disposition: attachment; x=\"; filename=a.txt\"; filename=j.exe\r\n\r\n\r\n--b--\r\n", "j.exe"},
	{"Content-Type: application/x; name=k.exe\r\n\r\nx\r\n", "k.exe"},
	{MIXED "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: a/b; name=l.exe\r\n\r\n\r\n--c--\r\n--b--\r\n", "l.exe"},
	{MIXED "Content-Type: message/rfc822\r\n\r\nContent-Type: a/b; name=m.exe\r\n\r\n\r\n--b--\r\n", "m.exe"},
	{MIXED "Content-Type: a/b; name=a.exe.txt\r\n\r\n\r\n--b--\r\n", NULL},
	/* CAM-21: an archive is not looked into. */
	{MIXED "Content-Type: application/zip; name=a.zip\r\n\r\nContent-Type: a/b; name=a.exe\r\n\r\n--b--\r\n", NULL},
	{MIXED "\r\nContent-Type: a/b; name=a.exe\r\n--b--\r\nContent-Type: a/b; name=a.exe\r\n", NULL},
	{MIXED "\r\n--bb\r\nContent-Type: a/b; name=a.exe\r\n\r\n--b--\r\n", NULL},
	{"Subject: Content-Type: a/b; name=a.exe\r\n\r\nContent-Type: a/b; name=a.exe\r\n", NULL},
};

static void
CAM_21_attachments_by_their_names(void **state)
{
	static const char *const endings[] = {".exe", ".scr"};

	(void)state;
	for (size_t i = 0; i < sizeof attachments / sizeof *attachments; i++)
		for (size_t piece = 1; piece < 400; piece += 37) {
			struct smtp_attach *a = smtp_attach_new(endings, 2);
			size_t n = strlen(attachments[i].s);
			const char *ending;
			int r = 0;

			for (size_t k = 0; k < n && !r; k += piece)
				r = smtp_attach_feed(a, attachments[i].s + k, n - k < piece ? n - k : piece);
			if (!r)
				r = smtp_attach_end(a);
			if (r != (attachments[i].name != NULL) ||
			    (r && strcmp(smtp_attach_name(a, &ending), attachments[i].name)))
				fail_msg("row %zu in pieces of %zu: %d %s", i, piece, r, smtp_attach_name(a, &ending));
			smtp_attach_free(a);
		}
}

/* ---- the walk and the conversion ---------------------------------------------------- */

static int
collect(void *arg, enum smtp_mime_is is, const struct smtp_mime_part *part, const char *p, size_t n)
{
	(void)is;
	(void)part;
	buf_add(arg, p, n);
	return ((struct buf *)arg)->err;
}

/* Lines that mean something, in any order: the pieces are the message again. */
static void
the_walk_hands_on_every_byte(void **state)
{
	static const char *const lines[] = {"Content-Type: multipart/mixed; boundary=b\r\n", "--b\r\n", "--b--\r\n", "\r\n",
		"Content-Type: message/rfc822\r\n", "text\r\n", " fold\r\n", "Content-Type: multipart/signed; boundary=c\r\n",
		"--c\r\n", "--", "\r", "-x\r\n", "--b \t\r\n"};
	uint32_t x = 20261122;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct buf in = BUF_INIT(1 << 16), out = BUF_INIT(1 << 16);
		struct smtp_mime *m;
		unsigned n;

		x = x * 1664525 + 1013904223;
		n = x >> 24 & 31;
		for (unsigned i = 0; i < n; i++) {
			x = x * 1664525 + 1013904223;
			buf_str(&in, lines[(x >> 16) % (sizeof lines / sizeof *lines)]);
		}
		m = smtp_mime_new(collect, &out);
		for (size_t k = 0, piece; k < in.n; k += piece) {
			x = x * 1664525 + 1013904223;
			piece = 1 + (x >> 20) % 40;
			if (piece > in.n - k)
				piece = in.n - k;
			assert_int_equal(smtp_mime_feed(m, in.p + k, piece), 0);
		}
		assert_int_equal(smtp_mime_end(m), 0);
		assert_int_equal(in.n, out.n);
		if (in.n)
			assert_memory_equal(in.p, out.p, in.n);
		smtp_mime_free(m);
		buf_free(&in);
		buf_free(&out);
	}
}

#define E9 "\xc3\xa9"
static const struct {
	const char *in, *out;      /* NULL: it cannot be */
} sevens[] = {
	{"A: b\r\n\r\nplain\r\n", "A: b\r\n\r\nplain\r\n"},
	{"A: b\r\n\r\ncaf" E9 " = \r\n", "A: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 =3D=20\r\n"},
	{"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" E9 "\r\n",
	    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n"},
	{"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" E9 "\r\n--b\r\n"
	    "Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--b--\r\n",
	    "MIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--b--\r\n"},
	/* what is no text: its line ends are bytes */
	{"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" E9 "\r\n",
	    "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nw6kNCg==\r\n"},
	/* the CRLF before a boundary is the boundary's (RFC 2046 5.1.1); a label of 8bit on what has none is mended */
	{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/x\r\n\r\n" E9 "\r\n--b\r\n\r\n" E9 " text\r\n--b\r\n"
	    "Content-Transfer-Encoding: 8bit\r\n\r\nplain\r\n--b\r\nContent-Type: application/x\r\n\r\n\r\n" E9 "\r\n\r\n--b--\r\nend\r\n",
	    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n"
	    "\r\nw6k=\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9 text\r\n--b\r\n"
	    "Content-Transfer-Encoding: 7bit\r\n\r\nplain\r\n--b\r\nContent-Type: application/x\r\n"
	    "Content-Transfer-Encoding: base64\r\n\r\nDQrDqQ0K\r\n--b--\r\nend\r\n"},
	/* a line of base64 is full where the part ends */
	{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/x\r\n\r\n"
	    "0123456789012345678901234567890123456789012345678901234" E9 "\r\n--b--\r\n",
	    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	    "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNMOp\r\n--b--\r\n"},
	/* text that would be mostly escapes */
	{"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" E9 E9 E9 "\r\n",
	    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nw6nDqcOpDQo=\r\n"},
	/* RFC 6376: a signature over all of it */
	{"DKIM-Signature: v=1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" E9 "\r\n", NULL},
	{"DKIM-Signature: v=1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nx\r\n",
	    "DKIM-Signature: v=1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nx\r\n"},
	{"Subject: " E9 "\r\n\r\nx\r\n", NULL},
	{"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n" E9 "\r\n--b--\r\n", NULL},
	{"Content-Type: multipart/mixed; boundary=b\r\n\r\n" E9 "\r\n--b\r\n\r\nx\r\n--b--\r\n", NULL},
	{"Content-Transfer-Encoding: base64\r\n\r\n" E9 "\r\n", NULL},
};

static void
rfc6152_3_bytes_above_127_become_seven_bits(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof sevens / sizeof *sevens; i++)
		for (size_t piece = 1; piece < 300; piece += 23) {
			struct smtp_seven *s = smtp_seven_new();
			struct buf out = BUF_INIT(1 << 16);
			size_t n = strlen(sevens[i].in);
			const char *cannot;

			for (size_t k = 0; k < n; k += piece)
				smtp_seven_look(s, sevens[i].in + k, n - k < piece ? n - k : piece);
			cannot = smtp_seven_cannot(s);
			if (!cannot != !!sevens[i].out)
				fail_msg("row %zu: %s", i, cannot ? cannot : "it can");
			if (!cannot) {
				for (size_t k = 0; k < n; k += piece)
					smtp_seven_feed(s, sevens[i].in + k, n - k < piece ? n - k : piece, &out);
				assert_int_equal(smtp_seven_end(s, &out), 0);
				assert_string_equal(out.p, sevens[i].out);
			}
			smtp_seven_free(s);
			buf_free(&out);
		}
}

static void
rfc2045_6_7_lines_of_at_most_76(void **state)
{
	struct smtp_seven *s = smtp_seven_new();
	struct buf in = BUF_INIT(1 << 16), out = BUF_INIT(1 << 16);
	size_t line = 0;

	(void)state;
	buf_str(&in, "A: b\r\n\r\n");
	for (int i = 0; i < 500; i++)
		buf_str(&in, i % 3 ? "xy z" : E9);
	buf_str(&in, "\r\n");
	smtp_seven_look(s, in.p, in.n);
	assert_null(smtp_seven_cannot(s));
	smtp_seven_feed(s, in.p, in.n, &out);
	smtp_seven_end(s, &out);
	for (size_t i = 0; i < out.n; i++) {
		assert_true((unsigned char)out.p[i] < 128);
		line = out.p[i] == '\n' ? 0 : line + (out.p[i] != '\r');
		assert_true(line <= 76);
	}
	smtp_seven_free(s);
	buf_free(&in);
	buf_free(&out);
}

static void
rfc4648_base64(void **state)
{
	static const struct {
		const char *in, *out;
	} table[] = {{"", ""}, {"Zg==", "f"}, {"Zm8=", "fo"}, {"Zm9v", "foo"}, {"Zm9vYg==", "foob"}, {"Zg=", NULL}, {"Zg", NULL},
		{"Zh==", NULL}, {"Zm9=", NULL}, {"Z===", NULL}, {"====", NULL}, {"Zm9v Zg==", NULL}, {"Zg==Zg==", NULL}, {"Zm9!", NULL}};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char s[32];
		size_t n = 0;
		bool ok;

		memcpy(s, table[i].in, strlen(table[i].in) + 1);
		ok = smtp_base64_read(s, strlen(s), &n);
		if (ok != !!table[i].out || (ok && (n != strlen(table[i].out) || memcmp(s, table[i].out, n))))
			fail_msg("%s", table[i].in);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc5322_3_4_rfc6854_address_lists),
		cmocka_unit_test(too_many_addresses),
		cmocka_unit_test(rfc5322_3_3_dates),
		cmocka_unit_test(repair_transcripts),
		cmocka_unit_test(facts),
		cmocka_unit_test(bounds_of_a_header),
		cmocka_unit_test(header_injection_by_what_is_added),
		cmocka_unit_test(CAM_21_attachments_by_their_names),
		cmocka_unit_test(the_walk_hands_on_every_byte),
		cmocka_unit_test(rfc6152_3_bytes_above_127_become_seven_bits),
		cmocka_unit_test(rfc2045_6_7_lines_of_at_most_76),
		cmocka_unit_test(rfc4648_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
