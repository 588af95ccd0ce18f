/*
 * Any bytes as the content of a message: its header block, its repair, its parts,
 * its attachments, and the way to seven bits.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "smtp/data.h"
#include "smtp/header.h"
#include "smtp/mime.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool x)
{
	if (!x)
		abort();
}

static int
collect(void *arg, enum smtp_mime_is is, const struct smtp_mime_part *part, const char *p, size_t n)
{
	must(part->number < SMTP_MIME_PARTS && part->depth <= SMTP_MIME_DEPTH + 1);
	must(is == SMTP_MIME_BLANK || n);
	buf_add(arg, p, n);
	return ((struct buf *)arg)->err;
}

static void
walk(const char *p, size_t n, size_t piece)
{
	struct buf out = BUF_INIT(8 << 20);
	struct smtp_mime *m = smtp_mime_new(collect, &out);

	if (!m)
		return;
	for (size_t i = 0; i < n; i += piece)
		must(!smtp_mime_feed(m, p + i, n - i < piece ? n - i : piece));
	must(!smtp_mime_end(m));
	must(out.n == n && (!n || !memcmp(out.p, p, n)));
	smtp_mime_free(m);
	buf_free(&out);
}

static void
seven(const char *p, size_t n, size_t piece)
{
	struct smtp_seven *s = smtp_seven_new();
	struct buf out = BUF_INIT(64 << 20);
	bool high = false;

	if (!s)
		return;
	for (size_t i = 0; i < n; i++)
		high |= (unsigned char)p[i] >= 0x80;
	for (size_t i = 0; i < n; i += piece)
		must(!smtp_seven_look(s, p + i, n - i < piece ? n - i : piece));
	if (!smtp_seven_cannot(s)) {
		for (size_t i = 0; i < n; i += piece)
			must(!smtp_seven_feed(s, p + i, n - i < piece ? n - i : piece, &out));
		must(!smtp_seven_end(s, &out));
		for (size_t i = 0; i < out.n; i++)
			must((unsigned char)out.p[i] < 0x80);
	} else {
		must(high);
	}
	smtp_seven_free(s);
	buf_free(&out);
}

static void
attach(const char *p, size_t n, size_t piece)
{
	static const char *const endings[] = {".exe"};
	struct smtp_attach *a = smtp_attach_new(endings, 1);
	const char *ending;
	int r = 0;

	if (!a)
		return;
	for (size_t i = 0; i < n && !r; i += piece)
		r = smtp_attach_feed(a, p + i, n - i < piece ? n - i : piece);
	if (!r)
		r = smtp_attach_end(a);
	must(r == 0 || r == 1);
	if (r)
		must(strlen(smtp_attach_name(a, &ending)) >= 4 && ending == endings[0]);
	smtp_attach_free(a);
}

static void
header(const char *p, size_t n, size_t piece)
{
	static const struct smtp_header_fill fill = {.now = 1, .host = "h", .id = "i", .with = "SMTP", .from = "e@b.c",
		.rewrite = "r@b.c"};
	struct smtp_header *h = smtp_header_new(), *again;
	const struct smtp_header_facts *f;
	enum smtp_header_is is = SMTP_HEADER_MORE;
	struct buf out = BUF_INIT(1 << 20);
	size_t used = 0;

	if (!h)
		return;
	while (used < n && is == SMTP_HEADER_MORE)
		used += smtp_header_feed(h, p + used, n - used < piece ? n - used : piece, &is);
	if (is == SMTP_HEADER_MORE)
		is = smtp_header_end(h);
	if (is != SMTP_HEADER_WHOLE)
		goto out;
	f = smtp_header_facts(h);
	must(f->octets <= n);
	must(!f->from_fields || f->from_why || f->from.n || f->from.group);
	must(!smtp_header_write(h, &fill, &out));
	/* What was written reads back, with everything that had to be there and one From. */
	again = smtp_header_new();
	if (!again)
		goto out;
	smtp_header_feed(again, out.p, out.n, &is);
	if (is == SMTP_HEADER_MORE)
		is = smtp_header_end(again);
	if (is == SMTP_HEADER_WHOLE) {
		f = smtp_header_facts(again);
		must(f->date && f->message_id && f->received >= 1 && !f->bcc);
		must(f->from_fields == 1 && f->from.n == 1 && !strcmp(f->from.v[0].addr, "r@b.c"));
	}
	smtp_header_free(again);
out:
	smtp_header_free(h);
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size && data[0] & 1 ? (size_t)1 + (data[0] >> 1) : size + 1, k = 0;
	struct smtp_data d;
	struct buf b = BUF_INIT(8 << 20);

	/* As it comes out of the data reader: whole lines, no CR or LF alone. */
	smtp_data_init(&d);
	for (size_t i = 1; i < size && !d.bad; i += k) {
		const char *run;
		size_t n;

		k = smtp_data_feed(&d, (const char *)data + i, size - i, &run, &n);
		if (d.ended)
			break;
		buf_add(&b, run, n);
	}
	if (!d.bad && !b.err && (b.n < 2 || b.p[b.n - 1] != '\n')) {
		if (b.n && b.p[b.n - 1] == '\r')
			buf_chr(&b, '\n');
		else
			buf_str(&b, "\r\n");
	}
	if (!d.bad && !b.err) {
		header(b.p, b.n, piece);
		walk(b.p, b.n, piece);
		attach(b.p, b.n, piece);
		seven(b.p, b.n, piece);
	}
	buf_free(&b);
	return 0;
}
