/*
 * Bytes above 127 as quoted-printable (RFC 2045 6.7, RFC 6152 3). Always that, never
 * base64: the lines of a part stay lines, so what stands before a boundary stays right.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp/mime.h"

enum { QP_LINE = 76 };

struct smtp_seven {
	struct smtp_mime *walk;
	const char *cannot;
	unsigned char high[SMTP_MIME_PARTS + 1]; /* by number: its body holds bytes above 127 */
	bool version, typed;       /* MIME-Version and Content-Type of the message itself */
	/* second pass */
	struct buf *out;
	unsigned number;           /* of the part whose body is written */
	unsigned col;
	char blank;                /* a blank that may turn out to end its line; 0: none */
	bool cr;
};

static bool
has_high(const char *p, size_t n)
{
	unsigned char x = 0;

	for (size_t i = 0; i < n; i++)
		x |= (unsigned char)p[i];
	return x & 0x80;
}

static bool
is_field(const char *p, size_t n, const char *name)
{
	size_t k = strlen(name);

	return n > k && !strncasecmp(p, name, k) && (p[k] == ':' || p[k] == ' ' || p[k] == '\t');
}

/* ---- first pass ------------------------------------------------------------- */

static const char *
why_not(const struct smtp_mime_part *part)
{
	if (part->sealed)
		return "a signed part holds bytes above 127, and to convert it would break its signature";
	if (part->encoding == SMTP_MIME_QP || part->encoding == SMTP_MIME_BASE64 ||
	    part->encoding == SMTP_MIME_ODD)
		return "a part that says how it is encoded holds bytes above 127 all the same";
	if (!strncmp(part->type.p, "multipart/", 10) || !strncmp(part->type.p, "message/", 8))
		return "a part that cannot be taken apart holds bytes above 127";
	return NULL;
}

static int
see_first(void *arg, enum smtp_mime_is is, const struct smtp_mime_part *part, const char *p,
    size_t n)
{
	struct smtp_seven *s = arg;

	if (is == SMTP_MIME_FIELD_IS && !part->number) {
		s->version |= is_field(p, n, "MIME-Version");
		s->typed |= is_field(p, n, "Content-Type");
	}
	if (s->cannot || !has_high(p, n))
		return 0;
	switch (is) {
	case SMTP_MIME_FIELD_IS:
	case SMTP_MIME_BLANK:
		s->cannot = "a header field holds bytes above 127";
		break;
	case SMTP_MIME_FRAME:
		s->cannot = "text between the parts holds bytes above 127";
		break;
	case SMTP_MIME_BODY:
		s->cannot = why_not(part);
		assert(part->number <= SMTP_MIME_PARTS);
		s->high[part->number] = 1;
		break;
	}
	return 0;
}

struct smtp_seven *
smtp_seven_new(void)
{
	struct smtp_seven *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->walk = smtp_mime_new(see_first, s);
	return s->walk ? s : smtp_seven_free(s);
}

struct smtp_seven *
smtp_seven_free(struct smtp_seven *s)
{
	if (!s)
		return NULL;
	smtp_mime_free(s->walk);
	free(s);
	return NULL;
}

int
smtp_seven_look(struct smtp_seven *s, const char *p, size_t n)
{
	assert(s->walk);
	return smtp_mime_feed(s->walk, p, n);
}

/* ---- second pass ------------------------------------------------------------ */

static void
qp_out(struct smtp_seven *s, const char *p, unsigned n)
{
	if (s->col + n > QP_LINE - 1) {
		buf_add(s->out, "=\r\n", 3);
		s->col = 0;
	}
	buf_add(s->out, p, n);
	s->col += n;
}

static void
qp_hex(struct smtp_seven *s, unsigned char c)
{
	static const char hex[] = "0123456789ABCDEF";
	const char t[3] = {'=', hex[c >> 4], hex[c & 15]};

	qp_out(s, t, 3);
}

static void
qp_blank(struct smtp_seven *s, bool end)
{
	if (s->blank && end)
		qp_hex(s, (unsigned char)s->blank);
	else if (s->blank)
		qp_out(s, &s->blank, 1);
	s->blank = 0;
}

static void
qp_flush(struct smtp_seven *s)
{
	qp_blank(s, true);
	if (s->cr)
		qp_hex(s, '\r');
	s->cr = false;
	s->col = 0;
}

static void
qp(struct smtp_seven *s, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];

		if (s->cr) {
			s->cr = false;
			if (c == '\n') {
				qp_blank(s, true);
				buf_add(s->out, "\r\n", 2);
				s->col = 0;
				continue;
			}
			qp_blank(s, false);
			qp_hex(s, '\r');
		}
		if (c == '\r') {
			s->cr = true;
			continue;
		}
		qp_blank(s, false);
		if (c == ' ' || c == '\t')
			s->blank = (char)c;
		else if (c < 32 || c > 126 || c == '=')
			qp_hex(s, c);
		else
			qp_out(s, (const char *)&p[i], 1);
	}
}

static int
see_second(void *arg, enum smtp_mime_is is, const struct smtp_mime_part *part, const char *p,
    size_t n)
{
	struct smtp_seven *s = arg;
	bool convert = s->high[part->number];

	if (is != SMTP_MIME_BODY || s->number != part->number)
		qp_flush(s);
	s->number = part->number;
	if (is == SMTP_MIME_BODY && convert) {
		qp(s, p, n);
	} else if (is == SMTP_MIME_FIELD_IS && !part->sealed &&
	    is_field(p, n, "Content-Transfer-Encoding") &&
	    (convert || part->encoding == SMTP_MIME_8BIT || part->encoding == SMTP_MIME_BINARY)) {
		buf_str(s->out, convert ? "Content-Transfer-Encoding: quoted-printable\r\n" :
		    "Content-Transfer-Encoding: 7bit\r\n");
	} else if (is == SMTP_MIME_BLANK && convert) {
		if (!part->number && !s->version)
			buf_str(s->out, "MIME-Version: 1.0\r\n");
		/* RFC 1428: nobody knows what it is. */
		if (!part->number && !s->typed)
			buf_str(s->out, "Content-Type: text/plain; charset=unknown-8bit\r\n");
		if (!part->encoded)
			buf_str(s->out, "Content-Transfer-Encoding: quoted-printable\r\n");
		if (n)
			buf_add(s->out, p, n);
		else
			buf_add(s->out, "\r\n", 2);
	} else {
		buf_add(s->out, p, n);
	}
	return s->out->err;
}

const char *
smtp_seven_cannot(struct smtp_seven *s)
{
	if (smtp_mime_end(s->walk))
		s->cannot = "there was no memory to look at it";
	s->walk = smtp_mime_free(s->walk);
	return s->cannot;
}

int
smtp_seven_feed(struct smtp_seven *s, const char *p, size_t n, struct buf *out)
{
	assert(!s->cannot);
	if (!s->walk && !(s->walk = smtp_mime_new(see_second, s)))
		return -ENOMEM;
	s->out = out;
	return smtp_mime_feed(s->walk, p, n);
}

int
smtp_seven_end(struct smtp_seven *s, struct buf *out)
{
	int r = 0;

	s->out = out;
	if (s->walk) {
		r = smtp_mime_end(s->walk);
		qp_flush(s);
	}
	return r ? r : out->err;
}
