#include "smtp/reply.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

size_t
smtp_enhanced_read(const char *s, size_t n, unsigned class)
{
	size_t i = 1;

	if (!n || (*s != '2' && *s != '4' && *s != '5') || (class && *s != (char)('0' + class)))
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t from;

		if (i == n || s[i] != '.')
			return 0;
		from = ++i;
		while (i < n && s[i] >= '0' && s[i] <= '9')
			i++;
		if (i == from || i - from > 3)
			return 0;
	}
	return i;
}

/* How much of the n bytes goes into a line of `room`, and how much is passed over. */
static size_t
fold(const char *s, size_t n, size_t room, size_t *skip)
{
	size_t k = room;

	*skip = 0;
	if (n <= room)
		return n;
	while (k > room / 2 && s[k] != ' ')
		k--;
	if (s[k] != ' ')
		return room;
	*skip = 1;
	return k;
}

void
smtp_reply_write(struct buf *out, unsigned code, const char *enhanced, const char *text)
{
	char class[6] = {(char)('0' + code / 100), '.', '0', '.', '0', 0};
	size_t room;

	assert(code >= 200 && code <= 599);
	if (enhanced) {
		size_t n = strlen(enhanced);

		if (!n || smtp_enhanced_read(enhanced, n, code / 100) != n)
			enhanced = class;
	}
	room = SMTP_REPLY_LINE - 2 - 4 - (enhanced ? strlen(enhanced) + 1 : 0);
	for (;;) {
		size_t n = strcspn(text, "\n"), skip, k = fold(text, n, room, &skip);
		bool more = k + skip < n || text[n];

		buf_printf(out, "%03u%c", code, more ? '-' : ' ');
		if (enhanced) {
			buf_str(out, enhanced);
			if (k)
				buf_chr(out, ' ');
		}
		for (size_t i = 0; i < k; i++)
			buf_chr(out, (char)(text[i] < 32 || text[i] > 126 ? '?' : text[i]));
		buf_add(out, "\r\n", 2);
		if (!more)
			return;
		text += k + skip < n ? k + skip : n + 1;
	}
}

void
smtp_reply_init(struct smtp_reply *r)
{
	*r = (struct smtp_reply){0};
}

void
smtp_reply_free(struct smtp_reply *r)
{
	free(r->text);
	smtp_reply_init(r);
}

void
smtp_reply_again(struct smtp_reply *r)
{
	char *text = r->text;
	size_t cap = r->cap;

	*r = (struct smtp_reply){.text = text, .cap = cap};
	if (text)
		*text = 0;
}

bool
smtp_reply_begun(const struct smtp_reply *r)
{
	return r->octets > 0;
}

static bool
keep(struct smtp_reply *r, char c)
{
	if (r->n + 2 > r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 128;
		char *p = realloc(r->text, cap);

		if (!p)
			return false;
		r->text = p;
		r->cap = cap;
	}
	assert(r->text);
	r->text[r->n++] = c;
	r->text[r->n] = 0;
	return true;
}

/* The reply has ended: its enhanced code is that of its first line. */
static void
whole(struct smtp_reply *r)
{
	size_t k;

	assert(r->text);
	k = smtp_enhanced_read(r->text, r->n, r->code / 100);

	if (!k || k >= sizeof r->enhanced || (r->text[k] && r->text[k] != ' ' && r->text[k] != '\n'))
		return;
	memcpy(r->enhanced, r->text, k);
	r->enhanced[k] = 0;
}

/* One byte of the code: its first line sets it, the others repeat it (RFC 5321 4.2.1). */
static bool
digit(struct smtp_reply *r, char c)
{
	static const char least[] = "200", most[] = "559";

	if (c < least[r->col] || c > most[r->col])
		return false;
	if (!r->lines)
		r->digit[r->col] = (unsigned char)c;
	return r->digit[r->col] == (unsigned char)c;
}

size_t
smtp_reply_feed(struct smtp_reply *r, const char *p, size_t n, enum smtp_reply_is *is)
{
	for (size_t i = 0; i < n; i++) {
		char c = p[i];

		*is = SMTP_REPLY_ENDLESS;
		if (++r->octets > SMTP_REPLY_MOST)
			return i;
		*is = SMTP_REPLY_NONSENSE;
		if (r->cr) {
			if (c != '\n')
				return i;
			r->cr = false;
			if (!r->lines)
				r->code = (unsigned)(r->digit[0] - '0') * 100 +
				    (unsigned)(r->digit[1] - '0') * 10 + (unsigned)(r->digit[2] - '0');
			r->lines++;
			r->col = 0;
			if (r->last) {
				if (!r->text) {
					if (!keep(r, 0))
						goto lost;
					r->n = 0;
				}
				whole(r);
				*is = SMTP_REPLY_WHOLE;
				return i + 1;
			}
			*is = SMTP_REPLY_ENDLESS;
			if (r->lines >= SMTP_REPLY_LINES)
				return i;
			continue;
		}
		if (!c || c == '\n')
			return i;
		if (r->col < 3) {
			if (!digit(r, c))
				return i;
		} else if (r->col == 3) {
			if (c == '\r')
				r->cr = true;
			else if (c != ' ' && c != '-')
				return i;
			r->last = c != '-';
			if (r->lines && !keep(r, '\n'))
				goto lost;
		} else if (c == '\r') {
			r->cr = true;
		} else if (r->col < SMTP_REPLY_LINE - 2) {
			if (!keep(r, (char)(c < 32 || c > 126 ? '?' : c)))
				goto lost;
		}
		r->col++;
	}
	*is = SMTP_REPLY_MORE;
	return n;
lost:
	*is = SMTP_REPLY_NO_MEMORY;
	return n;
}
