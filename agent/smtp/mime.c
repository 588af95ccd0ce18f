#include "smtp/mime.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp/field.h"

enum {
	BOUNDARY = 70,             /* RFC 2046 5.1.1 */
	LINE_KEPT = 200,           /* a line that may be a boundary, with blanks behind it */
};

enum mime_at {
	AT_HEADER,
	AT_BODY,                   /* of a leaf */
	AT_FRAME,                  /* preamble or epilogue */
};

struct level {
	char boundary[BOUNDARY + 1];
	size_t n;
	bool sealed;
	unsigned depth;
};

struct smtp_mime {
	int (*see)(void *arg, enum smtp_mime_is is, const struct smtp_mime_part *part,
	    const char *p, size_t n);
	void *arg;
	enum mime_at at;
	bool begun;                /* a line is being read that can be no boundary */
	struct buf line;           /* a line that is not yet known */
	struct buf field;          /* the field begun, whole lines of it */
	struct smtp_mime_part part;
	unsigned parts;
	bool typed;                /* Content-Type of this part was seen: the first holds */
	char boundary[BOUNDARY + 1]; /* its parameter */
	struct level level[SMTP_MIME_DEPTH];
	unsigned nlevel;
};

struct smtp_mime *
smtp_mime_new(int (*see)(void *arg, enum smtp_mime_is is, const struct smtp_mime_part *part,
    const char *p, size_t n), void *arg)
{
	struct smtp_mime *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->see = see;
	m->arg = arg;
	m->line = m->field = (struct buf)BUF_INIT(SMTP_MIME_FIELD);
	m->part.type = (struct buf)BUF_INIT(256);
	m->parts = 1;
	return m;
}

struct smtp_mime *
smtp_mime_free(struct smtp_mime *m)
{
	if (!m)
		return NULL;
	buf_free(&m->line);
	buf_free(&m->field);
	buf_free(&m->part.type);
	free(m);
	return NULL;
}

static int
give(struct smtp_mime *m, enum smtp_mime_is is, const char *p, size_t n)
{
	return m->see(m->arg, is, &m->part, p, n);
}

/* Body or frame, whichever it is. */
static int
give_bytes(struct smtp_mime *m, const char *p, size_t n)
{
	return n ? give(m, m->at == AT_BODY ? SMTP_MIME_BODY : SMTP_MIME_FRAME, p, n) : 0;
}

static void
part_begins(struct smtp_mime *m, unsigned depth, bool sealed)
{
	struct buf type = m->part.type;

	type.n = 0;
	m->part = (struct smtp_mime_part){.number = m->parts++, .depth = depth, .sealed = sealed,
	    .type = type};
	m->typed = false;
	m->boundary[0] = 0;
	m->at = AT_HEADER;
}

/* ---- header of a part --------------------------------------------------------- */

static bool
is_name(const char *s, size_t n, const char *name)
{
	size_t k = strlen(name);

	if (n <= k || strncasecmp(s, name, k))
		return false;
	while (k < n && (s[k] == ' ' || s[k] == '\t'))
		k++;
	return k < n && s[k] == ':';
}

static enum smtp_mime_encoding
encoding_of(const char *s, size_t n)
{
	static const struct {
		const char *word;
		enum smtp_mime_encoding is;
	} words[] = {
		{"7bit", SMTP_MIME_7BIT}, {"8bit", SMTP_MIME_8BIT}, {"binary", SMTP_MIME_BINARY},
		{"quoted-printable", SMTP_MIME_QP}, {"base64", SMTP_MIME_BASE64},
	};

	while (n && strchr(" \t\r\n", *s) && *s) {
		s++;
		n--;
	}
	while (n && s[n - 1] && strchr(" \t\r\n;", s[n - 1]))
		n--;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strlen(words[i].word) == n && !strncasecmp(s, words[i].word, n))
			return words[i].is;
	return SMTP_MIME_ODD;
}

static int
read_type(struct smtp_mime *m, const char *s, size_t n)
{
	struct buf b = BUF_INIT(4096);
	bool lost;

	m->typed = true;
	smtp_type_read(&m->part.type, s, n);
	if (smtp_parameter_read(&b, s, n, "boundary") && !b.err && b.n && b.n <= BOUNDARY) {
		memcpy(m->boundary, b.p, b.n);
		m->boundary[b.n] = 0;
		/* Blanks at its end are none of it. */
		while (b.n && m->boundary[b.n - 1] == ' ')
			m->boundary[--b.n] = 0;
	}
	lost = b.err == -ENOMEM || m->part.type.err;
	buf_free(&b);
	return lost ? -ENOMEM : 0;
}

static int
field_ends(struct smtp_mime *m)
{
	const char *s = m->field.p, *colon;
	size_t n = m->field.n, k;
	int r = 0;

	if (!n)
		return 0;
	colon = memchr(s, ':', n);
	k = colon ? (size_t)(colon + 1 - s) : n;
	if (!m->typed && is_name(s, n, "Content-Type"))
		r = read_type(m, s + k, n - k);
	if (!m->part.encoded && is_name(s, n, "Content-Transfer-Encoding")) {
		m->part.encoded = true;
		m->part.encoding = encoding_of(s + k, n - k);
	}
	if (!r)
		r = give(m, SMTP_MIME_FIELD_IS, s, n);
	m->field.n = 0;
	return r;
}

static bool
is_multipart(const struct smtp_mime *m)
{
	return m->part.type.n > 10 && !memcmp(m->part.type.p, "multipart/", 10) && m->boundary[0] &&
	    m->nlevel < SMTP_MIME_DEPTH;
}

static bool
is_message(const struct smtp_mime *m)
{
	const char *type = m->part.type.p;

	return (!strcmp(type, "message/rfc822") || !strcmp(type, "message/global")) &&
	    m->part.encoding <= SMTP_MIME_BINARY && m->part.depth < SMTP_MIME_DEPTH &&
	    m->parts < SMTP_MIME_PARTS;
}

/* The header of the part has ended, with the n bytes of a blank line at p. */
static int
header_ends(struct smtp_mime *m, const char *p, size_t n)
{
	int r = field_ends(m);

	if (r)
		return r;
	if (!m->part.type.n)
		buf_str(&m->part.type, "text/plain");
	if (m->part.type.err)
		return -ENOMEM;
	m->part.inner = is_multipart(m) || is_message(m);
	r = give(m, SMTP_MIME_BLANK, p, n);
	if (r)
		return r;
	if (is_multipart(m)) {
		struct level *l = &m->level[m->nlevel++];

		l->n = strlen(m->boundary);
		memcpy(l->boundary, m->boundary, l->n + 1);
		l->sealed = m->part.sealed || !strcmp(m->part.type.p, "multipart/signed");
		l->depth = m->part.depth + 1;
		m->at = AT_FRAME;
	} else if (is_message(m)) {
		part_begins(m, m->part.depth + 1, m->part.sealed);
	} else {
		m->at = AT_BODY;
	}
	return 0;
}

/* The header ends without a blank line; that of a message inside, too. */
static int
body_begins(struct smtp_mime *m)
{
	int r = 0;

	while (!r && m->at == AT_HEADER)
		r = header_ends(m, "", 0);
	return r;
}

/* ---- lines ---------------------------------------------------------------------- */

/* Which level's boundary the line is, from within; -1: none. */
static int
boundary_of(const struct smtp_mime *m, const char *s, size_t n, bool *close)
{
	while (n && strchr(" \t\r\n", s[n - 1]) && s[n - 1])
		n--;
	if (n < 3 || s[0] != '-' || s[1] != '-')
		return -1;
	for (unsigned i = m->nlevel; i--;) {
		const struct level *l = &m->level[i];

		if (n < l->n + 2 || memcmp(s + 2, l->boundary, l->n))
			continue;
		*close = n == l->n + 4 && s[n - 1] == '-' && s[n - 2] == '-';
		if (*close || n == l->n + 2)
			return (int)i;
	}
	return -1;
}

/* The line m->line is whole (or the content ended in it). */
static int
line_ends(struct smtp_mime *m)
{
	const char *s = m->line.p;
	size_t n = m->line.n;
	bool close = false;
	int k = boundary_of(m, s, n, &close), r;

	m->line.n = 0;
	if (k >= 0 && (close || m->parts < SMTP_MIME_PARTS)) {
		if ((r = body_begins(m)))
			return r;
		/* That may have opened a level of its own, which ends here too. */
		m->nlevel = (unsigned)k + !close;
		m->at = AT_FRAME;
		if ((r = give_bytes(m, s, n)))
			return r;
		if (!close)
			part_begins(m, m->level[k].depth, m->level[k].sealed);
		return 0;
	}
	if (m->at != AT_HEADER)
		return give_bytes(m, s, n);
	if (n == 2 && s[0] == '\r')
		return header_ends(m, s, n);
	if ((*s == ' ' || *s == '\t') && m->field.n) {
		/* a fold of the field begun */
	} else if (!memchr(s, ':', n)) {
		/* No field: the body begins without a blank line. */
		r = body_begins(m);
		return r ? r : give_bytes(m, s, n);
	} else if ((r = field_ends(m))) {
		return r;
	}
	if (m->field.n + n > SMTP_MIME_FIELD) {
		r = body_begins(m);
		return r ? r : give_bytes(m, s, n);
	}
	buf_add(&m->field, s, n);
	return m->field.err ? -ENOMEM : 0;
}

/* How much of a line must be seen before it is known to be no boundary and no field. */
static size_t
wanted(const struct smtp_mime *m)
{
	return m->at == AT_HEADER ? SMTP_MIME_FIELD : LINE_KEPT;
}

/* What was kept of a line is no boundary: it goes on as bytes. */
static int
let_go(struct smtp_mime *m)
{
	int r = body_begins(m);

	if (!r)
		r = give_bytes(m, m->line.p, m->line.n);
	m->line.n = 0;
	m->begun = true;
	return r;
}

/* Up to the end of a line whose beginning went on already; gives how many. */
static size_t
rest_of_line(struct smtp_mime *m, const char *p, size_t n)
{
	const char *lf = memchr(p, '\n', n);

	m->begun = !lf;
	return lf ? (size_t)(lf + 1 - p) : n;
}

int
smtp_mime_feed(struct smtp_mime *m, const char *p, size_t n)
{
	size_t i = 0, from = 0;
	int r;

	/* Bytes of a body go on in runs: p[from] to p[i] has not been given yet. */
	while (i < n) {
		const char *lf;
		size_t k;

		if (m->begun) {
			i += rest_of_line(m, p + i, n - i);
			continue;
		}
		if (m->at != AT_HEADER && !m->line.n && (!m->nlevel || p[i] != '-')) {
			/* Without a boundary to come, lines do not matter. */
			if (!m->nlevel) {
				i = n;
			} else {
				m->begun = true;
			}
			continue;
		}
		if ((r = give_bytes(m, p + from, i - from)))
			return r;
		lf = memchr(p + i, '\n', n - i);
		k = lf ? (size_t)(lf + 1 - (p + i)) : n - i;
		if (k > wanted(m) - m->line.n) {
			k = wanted(m) - m->line.n;
			lf = NULL;
		}
		buf_add(&m->line, p + i, k);
		if (m->line.err)
			return -ENOMEM;
		i += k;
		from = i;
		if (lf)
			r = line_ends(m);
		else if (m->line.n == wanted(m) ||
		    (m->at != AT_HEADER && m->line.n >= 2 && m->line.p[1] != '-'))
			r = let_go(m);
		if (r)
			return r;
	}
	return from < n ? give_bytes(m, p + from, n - from) : 0;
}

int
smtp_mime_end(struct smtp_mime *m)
{
	int r = 0;

	m->begun = false;
	if (m->line.n)
		r = line_ends(m);
	return r ? r : body_begins(m);
}
