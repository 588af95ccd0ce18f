#include "smtp/field.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* A walk over a value. */
struct walk {
	const char *s;
	size_t n, i;
	const char *note;          /* the last comment passed over, without brackets */
	size_t nnote;
	const char *why;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* RFC 5322 3.2.3, and bytes above 127: display names of programs hold them raw. */
static bool
is_atom(char c)
{
	return (unsigned char)c > 32 && c != 127 && !strchr("()<>[]:;@\\,.\"", c);
}

static bool
more(const struct walk *w)
{
	return w->i < w->n;
}

static char
at(const struct walk *w)
{
	return (char)(more(w) ? w->s[w->i] : 0);
}

static bool
wrong(struct walk *w, const char *why)
{
	if (!w->why)
		w->why = why;
	return false;
}

static bool
comment(struct walk *w)
{
	size_t from = ++w->i;
	unsigned depth = 1;

	for (; more(w); w->i++) {
		char c = at(w);

		if (c == '\\')
			w->i++;
		else if (c == '(')
			depth++;
		else if (c == ')' && !--depth)
			break;
	}
	if (!more(w))
		return wrong(w, "a comment is not closed");
	w->note = w->s + from;
	w->nnote = w->i++ - from;
	return true;
}

/* Over blanks, folds and comments. */
static bool
blanks(struct walk *w)
{
	while (more(w)) {
		if (at(w) == '(') {
			if (!comment(w))
				return false;
		} else if (is_blank(at(w))) {
			w->i++;
		} else {
			break;
		}
	}
	return true;
}

/* The quoted string at w, added without its folds but with its quotes. */
static bool
quoted(struct walk *w, struct buf *out)
{
	buf_chr(out, '"');
	for (w->i++; more(w) && at(w) != '"'; w->i++) {
		if (at(w) == '\\' && w->i + 1 < w->n) {
			buf_chr(out, '\\');
			w->i++;
		}
		if (at(w) != '\r' && at(w) != '\n')
			buf_chr(out, at(w));
	}
	if (!more(w))
		return wrong(w, "a quoted string is not closed");
	buf_chr(out, '"');
	w->i++;
	return true;
}

/*
 * Words and full stops, up to what is neither; without blanks they are added to
 * out. *apart: two words stood there with only a blank between, so this is a
 * display name and no local part.
 */
static bool
words(struct walk *w, struct buf *out, bool *apart)
{
	bool word = false;         /* the last thing was a word */

	*apart = false;
	for (;;) {
		char c;

		if (!blanks(w))
			return false;
		c = at(w);
		if (!more(w))
			return true;
		if (c == '.') {
			buf_chr(out, c);
			w->i++;
			word = false;
			continue;
		}
		if (c != '"' && !is_atom(c))
			return true;
		*apart |= word;
		word = true;
		if (c == '"') {
			if (!quoted(w, out))
				return false;
		} else {
			for (; more(w) && is_atom(at(w)); w->i++)
				buf_chr(out, at(w));
		}
	}
}

/* What follows the @. */
static bool
domain(struct walk *w, struct buf *out)
{
	bool apart;

	if (!blanks(w))
		return false;
	if (at(w) != '[') {
		size_t before = out->n;

		if (!words(w, out, &apart))
			return false;
		return (out->n > before && !apart) || wrong(w, "there is no domain behind an @");
	}
	for (; more(w) && at(w) != ']'; w->i++)
		if (!is_blank(at(w)))
			buf_chr(out, at(w));
	if (!more(w))
		return wrong(w, "an address literal is not closed");
	buf_chr(out, ']');
	w->i++;
	return blanks(w);
}

/* "<addr>" at w. */
static bool
angle(struct walk *w, struct buf *out)
{
	bool apart;

	w->i++;
	if (!words(w, out, &apart))
		return false;
	if (apart || !out->n)
		return wrong(w, "what stands in angle brackets is no address");
	if (at(w) == '@') {
		buf_chr(out, '@');
		w->i++;
		if (!domain(w, out))
			return false;
	}
	if (at(w) != '>')
		return wrong(w, "an angle bracket is not closed");
	w->i++;
	return blanks(w);
}

static int
push(struct smtp_mailboxes *out, struct smtp_mailbox m)
{
	if (out->n == SMTP_MAILBOXES)
		return -E2BIG;
	/* In steps of eight. */
	if (out->n % 8 == 0) {
		struct smtp_mailbox *v = realloc(out->v, (out->n + 8) * sizeof *v);

		if (!v)
			return -ENOMEM;
		out->v = v;
	}
	out->v[out->n++] = m;
	return 0;
}

/* One mailbox, or the name of a group up to its colon (*group). */
static int
mailbox(struct walk *w, struct smtp_mailboxes *out, bool *group)
{
	struct smtp_mailbox m = {0};
	struct buf b = BUF_INIT(1024);
	bool apart, ok;
	size_t from = w->i;
	int r = -EBADMSG;

	w->note = NULL;
	w->nnote = 0;
	*group = false;
	ok = words(w, &b, &apart);
	if (ok && at(w) == ':') {
		*group = true;
		w->i++;
		ok = b.n > 0 || wrong(w, "a group has no name");
		r = ok ? 0 : r;
		goto out;
	}
	if (ok && at(w) == '<') {
		m.phrase = w->s + from;
		m.nphrase = w->i - from;
		while (m.nphrase && is_blank(m.phrase[m.nphrase - 1]))
			m.nphrase--;
		b.n = 0;
		ok = angle(w, &b);
	} else if (ok && apart) {
		ok = wrong(w, "words stand there that are no address");
	} else if (ok && at(w) == '@') {
		ok = b.n > 0 || wrong(w, "there is nothing before an @");
		buf_chr(&b, '@');
		w->i++;
		ok = ok && domain(w, &b);
	} else if (ok && !b.n) {
		ok = wrong(w, "something stands there that is no address");
	}
	if (!ok)
		goto out;
	if (b.err) {
		wrong(w, "an address is far too long");
		goto out;
	}
	buf_chr(&b, 0);
	b.n -= !b.err;
	for (size_t i = 0; i < b.n; i++) {
		unsigned char c = (unsigned char)b.p[i];

		m.utf8 |= c >= 0x80;
		if (c < 32 || c == 127) {
			wrong(w, "a control character stands in an address");
			goto out;
		}
	}
	m.note = w->note;
	m.nnote = w->nnote;
	m.addr = b.p;
	/* words() took no @ outside quotes, so the last one divides. */
	m.bare = b.p[0] == '"' ? b.p[b.n - 1] == '"' : !memchr(b.p, '@', b.n);
	r = push(out, m);
	if (!r)
		return 0;
out:
	/* Without memory nothing that was read tells anything. */
	if (b.err == -ENOMEM)
		r = -ENOMEM;
	buf_free(&b);
	return r;
}

static int
list(struct walk *w, struct smtp_mailboxes *out)
{
	bool in = false, group;
	int r;

	for (;;) {
		if (!blanks(w))
			return -EBADMSG;
		if (!more(w))
			break;
		if (at(w) == ',') {
			w->i++;
			continue;
		}
		if (in && at(w) == ';') {
			in = false;
			w->i++;
			if (!blanks(w))
				return -EBADMSG;
			if (more(w) && at(w) != ',') {
				wrong(w, "no comma stands behind a group");
				return -EBADMSG;
			}
			continue;
		}
		if ((r = mailbox(w, out, &group)))
			return r;
		if (group && in) {
			wrong(w, "a group stands in a group");
			return -EBADMSG;
		}
		if (group) {
			in = out->group = true;
			continue;
		}
		if (more(w) && at(w) != ',' && !(in && at(w) == ';')) {
			wrong(w, "no comma stands behind an address");
			return -EBADMSG;
		}
	}
	if (in) {
		wrong(w, "a group is not closed");
		return -EBADMSG;
	}
	if (!out->n && !out->group) {
		wrong(w, "there is no address");
		return -EBADMSG;
	}
	return 0;
}

int
smtp_mailboxes_read(struct smtp_mailboxes *out, const char *s, size_t n, const char **why)
{
	struct walk w = {.s = s, .n = n};
	struct smtp_mailboxes m = {0};
	int r = list(&w, &m);

	if (r) {
		smtp_mailboxes_free(&m);
		*why = w.why ? w.why : "it holds too many addresses";
		return r;
	}
	*out = m;
	return 0;
}

void
smtp_mailboxes_free(struct smtp_mailboxes *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->v[i].addr);
	free(m->v);
	*m = (struct smtp_mailboxes){0};
}

/* What is longer is left out: a cut quoted string would be none. */
enum { PHRASE_MOST = 400 };

void
smtp_phrase_write(struct buf *out, const struct smtp_mailbox *m)
{
	const char *s = m->nphrase ? m->phrase : m->note;
	size_t n = m->nphrase ? m->nphrase : m->nnote;
	bool quote = !m->nphrase;

	if (!n || n > PHRASE_MOST)
		return;
	if (quote)
		buf_chr(out, '"');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '\r' || c == '\n')
			continue;
		if (quote && c == '\\')
			continue;
		if (quote && c == '"')
			buf_chr(out, '\\');
		buf_chr(out, (char)(c == '\t' ? ' ' : c < 32 || c == 127 ? '?' : c));
	}
	buf_str(out, quote ? "\" " : " ");
}

/* ---- dates ----------------------------------------------------------------- */

void
smtp_date_write(struct buf *out, unsigned long long seconds, int east)
{
	static const char days[][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
		"Oct", "Nov", "Dec"};
	long long t = (long long)seconds + east * 60LL;
	long long day = t / 86400 - (t % 86400 < 0), s = t - day * 86400;
	/* Days since 1 March 0000, in eras of 400 years (146097 days). */
	long long z = day + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
	long long yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	long long doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	long long d = doy - (153 * mp + 2) / 5 + 1, m = mp < 10 ? mp + 3 : mp - 9;
	long long y = yoe + era * 400 + (m <= 2);
	int off = east < 0 ? -east : east;

	buf_printf(out, "%s, %lld %s %04lld %02lld:%02lld:%02lld %c%02d%02d",
	    days[((day % 7) + 7) % 7], d, months[m - 1], y, s / 3600, s / 60 % 60, s % 60,
	    east < 0 ? '-' : '+', off / 60, off % 60);
}
