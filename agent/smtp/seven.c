/*
 * Bytes above 127 as quoted-printable or base64 (RFC 2045 6.7 and 6.8, RFC 6152 3). Text stays
 * readable, its lines stay lines; in what is no text a CRLF is two bytes like others, which
 * quoted-printable's line ends would not promise, so that is base64, and so is text that would be mostly
 * escapes. The CRLF before a boundary is the boundary's (RFC 2046 5.1.1): it is not encoded.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp/mime.h"

enum { QP_LINE = 76, BASE64_LINE = 57 };
enum { AS_IS, QUOTED, BASE64 };
static const char *const encodings[] = {
	[AS_IS] = "7bit", [QUOTED] = "quoted-printable", [BASE64] = "base64",
};

struct smtp_seven {
	struct smtp_mime *walk;
	const char *cannot;
	unsigned char how[SMTP_MIME_PARTS + 1]; /* by number: what becomes of it; */
	int64_t most[SMTP_MIME_PARTS + 1]; /* its bytes above 127 less the others */
	bool version, typed;       /* MIME-Version and Content-Type of the message itself */
	bool dkim;                 /* it is signed as a whole (RFC 6376) */
	/* second pass */
	struct buf *out;
	unsigned number;           /* of the part whose body is written */
	unsigned col;
	char blank;                /* a blank that may turn out to end its line; 0: none */
	bool cr;
	unsigned char line[BASE64_LINE]; /* of base64 */
	unsigned nline, held;      /* held: of a CRLF that may be a boundary's */
};

static size_t
high_of(const char *p, size_t n)
{
	size_t high = 0;

	for (size_t i = 0; i < n; i++)
		high += (unsigned char)p[i] >> 7;
	return high;
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
	size_t high = high_of(p, n);

	assert(part->number <= SMTP_MIME_PARTS);
	if (is == SMTP_MIME_FIELD_IS && !part->number) {
		s->version |= is_field(p, n, "MIME-Version");
		s->typed |= is_field(p, n, "Content-Type");
		s->dkim |= is_field(p, n, "DKIM-Signature");
	}
	if (is == SMTP_MIME_BODY)
		s->most[part->number] += 2 * (int64_t)high - (int64_t)n;
	if (s->cannot || !high)
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
		s->cannot = s->dkim ? "the message bears a DKIM signature, which a conversion would break" :
		    why_not(part);
		s->how[part->number] = strncmp(part->type.p, "text/", 5) ? BASE64 : QUOTED;
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

static void
base64_line(struct smtp_seven *s)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char out[BASE64_LINE / 3 * 4 + 2];
	unsigned k = 0;

	for (unsigned i = 0; i < s->nline; i += 3) {
		unsigned left = s->nline - i;
		unsigned x = (unsigned)s->line[i] << 16 | (left > 1 ? (unsigned)s->line[i + 1] << 8 : 0) |
		    (left > 2 ? s->line[i + 2] : 0);

		out[k++] = digit[x >> 18];
		out[k++] = digit[x >> 12 & 63];
		out[k++] = (char)(left > 1 ? digit[x >> 6 & 63] : '=');
		out[k++] = (char)(left > 2 ? digit[x & 63] : '=');
	}
	out[k++] = '\r';
	out[k++] = '\n';
	buf_add(s->out, out, k);
	s->nline = 0;
}

static void
base64_byte(struct smtp_seven *s, unsigned char c)
{
	s->line[s->nline++] = c;
	if (s->nline == BASE64_LINE)
		base64_line(s);
}

static void
base64_held(struct smtp_seven *s)
{
	if (s->held > 0)
		base64_byte(s, '\r');
	if (s->held > 1)
		base64_byte(s, '\n');
	s->held = 0;
}

static void
base64(struct smtp_seven *s, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (s->held == 1 && p[i] == '\n') {
			s->held = 2;
			continue;
		}
		base64_held(s);
		if (p[i] == '\r')
			s->held = 1;
		else
			base64_byte(s, (unsigned char)p[i]);
	}
}

/* The body of a part has ended: before a boundary, or with the message. */
static void
flush(struct smtp_seven *s, bool boundary)
{
	qp_flush(s);
	if (s->held == 2 && boundary)
		s->held = 0;           /* each line of base64 brings its own */
	base64_held(s);
	if (s->nline)
		base64_line(s);
}

static int
see_second(void *arg, enum smtp_mime_is is, const struct smtp_mime_part *part, const char *p,
    size_t n)
{
	struct smtp_seven *s = arg;
	unsigned convert = s->how[part->number];

	if (is != SMTP_MIME_BODY || s->number != part->number)
		flush(s, true);
	s->number = part->number;
	if (is == SMTP_MIME_BODY && convert == QUOTED) {
		qp(s, p, n);
	} else if (is == SMTP_MIME_BODY && convert == BASE64) {
		base64(s, p, n);
	} else if (is == SMTP_MIME_FIELD_IS && !part->sealed && !s->dkim &&
	    is_field(p, n, "Content-Transfer-Encoding") &&
	    (convert || part->encoding == SMTP_MIME_8BIT || part->encoding == SMTP_MIME_BINARY)) {
		buf_printf(s->out, "Content-Transfer-Encoding: %s\r\n", encodings[convert]);
	} else if (is == SMTP_MIME_BLANK && convert) {
		if (!part->number && !s->version)
			buf_str(s->out, "MIME-Version: 1.0\r\n");
		/* RFC 1428: nobody knows what it is. */
		if (!part->number && !s->typed)
			buf_str(s->out, "Content-Type: text/plain; charset=unknown-8bit\r\n");
		if (!part->encoded)
			buf_printf(s->out, "Content-Transfer-Encoding: %s\r\n", encodings[convert]);
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
	for (unsigned i = 0; i <= SMTP_MIME_PARTS; i++)
		if (s->how[i] == QUOTED && s->most[i] > 0)
			s->how[i] = BASE64;
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
		flush(s, false);
	}
	return r ? r : out->err;
}
