#include "smtp/header.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "smtp/address.h"

struct span {
	size_t at, name, end;      /* where it begins, its name ends, and it ends */
};

struct smtp_header {
	struct buf raw;            /* the block, and the line behind it where it was headless */
	size_t line;               /* where the line begun stands */
	size_t skip;               /* an mbox "From " line at the top */
	size_t end;                /* of the block's fields */
	size_t rest;               /* where in raw the body begins */
	struct span *field;
	size_t nfield;
	bool whole;
	struct smtp_header_facts facts;
};

struct smtp_header *
smtp_header_new(void)
{
	struct smtp_header *h = calloc(1, sizeof *h);

	if (h)
		h->raw = (struct buf)BUF_INIT(SMTP_HEADER_MOST);
	return h;
}

struct smtp_header *
smtp_header_free(struct smtp_header *h)
{
	if (!h)
		return NULL;
	smtp_mailboxes_free(&h->facts.from);
	smtp_mailboxes_free(&h->facts.sender);
	buf_free(&h->raw);
	free(h->field);
	free(h);
	return NULL;
}

/* ---- reading ---------------------------------------------------------------- */

/* The length of the field name at s with what stands before its colon, or 0; *name
 * without blanks. */
static size_t
name_of(const char *s, size_t n, size_t *name)
{
	size_t i = 0;

	while (i < n && s[i] > 32 && s[i] < 127 && s[i] != ':')
		i++;
	*name = i;
	while (i < n && (s[i] == ' ' || s[i] == '\t'))
		i++;
	return *name && i < n && s[i] == ':' ? i : 0;
}

static bool
is_named(const struct smtp_header *h, const struct span *f, const char *name)
{
	size_t n = strlen(name);

	return f->name - f->at == n && !strncasecmp(h->raw.p + f->at, name, n);
}

static const char *
value_of(const struct smtp_header *h, const struct span *f, size_t *n)
{
	const char *s = h->raw.p + f->name, *end = h->raw.p + f->end;

	s = (const char *)memchr(s, ':', (size_t)(end - s)) + 1;
	while (end > s && (end[-1] == '\n' || end[-1] == '\r'))
		end--;
	*n = (size_t)(end - s);
	return s;
}

static bool
addresses(const struct smtp_header *h, const struct span *f, struct smtp_mailboxes *out,
    const char **why)
{
	size_t n;
	const char *s = value_of(h, f, &n);

	return smtp_mailboxes_read(out, s, n, why) != -ENOMEM;
}

static bool
fact(struct smtp_header *h, const struct span *f)
{
	struct smtp_header_facts *x = &h->facts;

	if (is_named(h, f, "From"))
		return x->from_fields++ || addresses(h, f, &x->from, &x->from_why);
	if (is_named(h, f, "Sender"))
		return x->sender_fields++ || addresses(h, f, &x->sender, &x->sender_why);
	x->date |= is_named(h, f, "Date");
	x->message_id |= is_named(h, f, "Message-ID");
	x->bcc |= is_named(h, f, "Bcc");
	x->received += is_named(h, f, "Received");
	x->resent |= f->name - f->at > 7 && !strncasecmp(h->raw.p + f->at, "Resent-", 7);
	return true;
}

static enum smtp_header_is
finish(struct smtp_header *h, size_t end, size_t rest)
{
	h->whole = true;
	h->end = end;
	h->rest = rest;
	if (h->nfield)
		h->field[h->nfield - 1].end = end;
	h->facts.octets = rest;
	for (size_t i = 0; i < rest; i++)
		h->facts.high |= (unsigned char)h->raw.p[i] >= 0x80;
	for (size_t i = 0; i < h->nfield; i++)
		if (!fact(h, &h->field[i]))
			return SMTP_HEADER_NO_MEMORY;
	return SMTP_HEADER_WHOLE;
}

static enum smtp_header_is
field_begins(struct smtp_header *h, size_t name)
{
	if (h->nfield)
		h->field[h->nfield - 1].end = h->line;
	if (h->nfield == SMTP_HEADER_FIELDS)
		return SMTP_HEADER_LONG;
	if (h->nfield % 32 == 0) {
		struct span *v = realloc(h->field, (h->nfield + 32) * sizeof *v);

		if (!v)
			return SMTP_HEADER_NO_MEMORY;
		h->field = v;
	}
	h->field[h->nfield++] = (struct span){h->line, h->line + name, 0};
	return SMTP_HEADER_MORE;
}

/* The line from h->line to the end of raw is whole. */
static enum smtp_header_is
line_ends(struct smtp_header *h)
{
	const char *s = h->raw.p + h->line;
	size_t n = h->raw.n - h->line, name;
	enum smtp_header_is is;

	if (n == 2 && s[0] == '\r')
		return finish(h, h->line, h->raw.n);
	if (!h->line && n > 5 && !memcmp(s, "From ", 5) && !name_of(s, n, &name)) {
		h->skip = n;
	} else if ((*s == ' ' || *s == '\t') && h->nfield) {
		/* a fold */
	} else if (name_of(s, n, &name)) {
		is = field_begins(h, name);
		if (is != SMTP_HEADER_MORE)
			return is;
	} else {
		h->facts.headless = true;
		return finish(h, h->line, h->line);
	}
	h->line = h->raw.n;
	return SMTP_HEADER_MORE;
}

size_t
smtp_header_feed(struct smtp_header *h, const char *p, size_t n, enum smtp_header_is *is)
{
	size_t i = 0;

	assert(!h->whole);
	*is = SMTP_HEADER_MORE;
	while (i < n && *is == SMTP_HEADER_MORE) {
		const char *lf = memchr(p + i, '\n', n - i);
		size_t k = lf ? (size_t)(lf + 1 - (p + i)) : n - i;

		buf_add(&h->raw, p + i, k);
		i += k;
		if (h->raw.err)
			*is = h->raw.err == -E2BIG ? SMTP_HEADER_LONG : SMTP_HEADER_NO_MEMORY;
		else if (lf)
			*is = line_ends(h);
	}
	return i;
}

enum smtp_header_is
smtp_header_end(struct smtp_header *h)
{
	enum smtp_header_is is = SMTP_HEADER_MORE;

	assert(!h->whole);
	if (h->raw.n > h->line)
		is = line_ends(h);
	if (is != SMTP_HEADER_MORE)
		return is;
	if (!h->raw.p)
		buf_add(&h->raw, "", 0);
	if (h->raw.err)
		return SMTP_HEADER_NO_MEMORY;
	h->facts.headless = true;
	return finish(h, h->raw.n, h->raw.n);
}

const struct smtp_header_facts *
smtp_header_facts(const struct smtp_header *h)
{
	assert(h->whole);
	return &h->facts;
}

const char *
smtp_header_value(const struct smtp_header *h, const char *name, size_t *n)
{
	for (size_t i = 0; i < h->nfield; i++)
		if (is_named(h, &h->field[i], name))
			return value_of(h, &h->field[i], n);
	return NULL;
}

bool
smtp_header_wants_sender(const struct smtp_header *h)
{
	return h->facts.from.n > 1 && !h->facts.sender_fields;
}

/* ---- writing ---------------------------------------------------------------- */

/* Text that can neither end a comment nor a line. */
static void
plain(struct buf *out, const char *s)
{
	for (; *s; s++)
		buf_chr(out, (char)(*s < 32 || *s > 126 || strchr("()\\<>\"", *s) ? '?' : *s));
}

/* An address as it may stand between angle brackets; it has been looked at before. */
static void
address(struct buf *out, const char *s)
{
	buf_chr(out, '<');
	for (; *s; s++)
		buf_chr(out, (char)((unsigned char)*s < 32 || *s == 127 ? '?' : *s));
	buf_chr(out, '>');
}

static void
received(struct buf *out, const struct smtp_header_fill *f)
{
	const char *helo = f->helo && smtp_helo_ok(f->helo, strlen(f->helo)) ? f->helo : "localhost";
	bool one = f->recipient && *f->recipient;

	buf_printf(out, "Received: from %s", helo);
	if (f->peer) {
		buf_str(out, " (");
		plain(out, f->peer);
		buf_chr(out, ')');
	}
	buf_str(out, "\r\n\tby ");
	plain(out, f->host);
	buf_printf(out, " with %s id ", f->with);
	plain(out, f->id);
	for (const char *s = one ? f->recipient : ""; *s; s++)
		one &= *s > 32 && *s < 127;
	if (one) {
		buf_str(out, "\r\n\tfor ");
		address(out, f->recipient);
	}
	buf_str(out, ";\r\n\t");
	smtp_date_write(out, f->now, f->east);
	buf_str(out, "\r\n");
}

static void
added(const struct smtp_header *h, const struct smtp_header_fill *f, bool from, struct buf *out)
{
	const struct smtp_header_facts *x = &h->facts;

	received(out, f);
	if (!x->date) {
		buf_str(out, "Date: ");
		smtp_date_write(out, f->now, f->east);
		buf_str(out, "\r\n");
	}
	if (!x->message_id) {
		buf_str(out, "Message-ID: <");
		plain(out, f->id);
		buf_chr(out, '@');
		plain(out, f->host);
		buf_str(out, ">\r\n");
	}
	if (from) {
		const struct smtp_mailbox *m = x->from.n ? &x->from.v[0] : NULL;

		buf_str(out, "From: ");
		if (m && x->from.n == 1)
			smtp_phrase_write(out, m);
		if (f->rewrite) {
			address(out, f->rewrite);
		} else {
			assert(m);
			buf_printf(out, "<%s@", m->addr);
			plain(out, f->qualify);
			buf_chr(out, '>');
		}
		buf_str(out, "\r\n");
	} else if (!x->from_fields && f->from && *f->from) {
		buf_str(out, "From: ");
		address(out, f->from);
		buf_str(out, "\r\n");
	}
	if (f->sender && *f->sender) {
		buf_str(out, "Sender: ");
		address(out, f->sender);
		buf_str(out, "\r\n");
	}
}

int
smtp_header_write(const struct smtp_header *h, const struct smtp_header_fill *f, struct buf *out)
{
	const struct smtp_header_facts *x = &h->facts;
	bool from = f->rewrite || (f->qualify && x->from.n == 1 && x->from.v[0].bare);
	size_t at = h->skip;

	assert(h->whole);
	added(h, f, from, out);
	/* Runs of what stays, byte by byte. */
	for (size_t i = 0; i < h->nfield; i++) {
		const struct span *s = &h->field[i];

		if (is_named(h, s, "Bcc") || is_named(h, s, "Resent-Bcc") ||
		    (from && is_named(h, s, "From")) || (f->rewrite && is_named(h, s, "Sender"))) {
			buf_add(out, h->raw.p + at, s->at - at);
			at = s->end;
		}
	}
	buf_add(out, h->raw.p + at, h->end - at);
	buf_add(out, "\r\n", 2);
	buf_add(out, h->raw.p + h->rest, h->raw.n - h->rest);
	return out->err;
}
