#include "smtp/data.h"

#include <assert.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Where a reader or writer stands. */
enum {
	AT_START,                  /* at the beginning of a line */
	AT_TEXT,                   /* inside a line */
	AT_CR,                     /* behind a CR that belongs to the content */
	AT_DOT,                    /* behind a dot at the beginning of a line */
	AT_DOT_CR,                 /* behind such a dot and a CR: both are kept back */
};

size_t
smtp_data_scan(const char *p, size_t n, bool *high)
{
	size_t i = 0;
	unsigned char seen = 0;

#ifdef __SSE2__
	const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n'), nul = _mm_setzero_si128();
	int up = 0;

	for (; i + 16 <= n; i += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
		__m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf)),
		    _mm_cmpeq_epi8(v, nul));
		unsigned m = (unsigned)_mm_movemask_epi8(hit);

		if (m) {
			unsigned k = (unsigned)__builtin_ctz(m);

			if (up || (_mm_movemask_epi8(v) & ((1 << k) - 1)))
				*high = true;
			return i + k;
		}
		up |= _mm_movemask_epi8(v);
	}
	if (up)
		*high = true;
#endif
	for (; i < n && p[i] != '\r' && p[i] != '\n' && p[i]; i++)
		seen |= (unsigned char)p[i];
	if (seen & 0x80)
		*high = true;
	return i;
}

void
smtp_data_init(struct smtp_data *d)
{
	*d = (struct smtp_data){.at = AT_START};
}

static void
line_ends(struct smtp_data *d)
{
	if (d->line > d->longest)
		d->longest = d->line;
	d->line = 0;
}

/* One byte of content where the state is AT_START, AT_TEXT or AT_CR. */
static void
count(struct smtp_data *d, uint64_t n)
{
	d->size += n;
	d->line += n;
}

size_t
smtp_data_feed(struct smtp_data *d, const char *p, size_t n, const char **run, size_t *nrun)
{
	size_t i = 0, from = 0;

	*nrun = 0;
	*run = p;
	if (d->ended || !n)
		return 0;
	/* A run begins at `from`; it breaks where a byte is no content. */
	while (i < n) {
		char c = p[i];

		switch (d->at) {
		case AT_TEXT: {
			size_t k = smtp_data_scan(p + i, n - i, &d->high);

			count(d, k);
			i += k;
			if (i == n)
				break;
			c = p[i++];
			count(d, 1);
			if (c == '\r')
				d->at = AT_CR;
			else if (c == '\n')
				d->bad |= SMTP_BAD_LF;
			else
				d->bad |= SMTP_BAD_NUL;
			break;
		}
		case AT_CR:
			if (c == '\n') {
				count(d, 1);
				line_ends(d);
				i++;
				d->at = AT_START;
			} else {
				d->bad |= SMTP_BAD_CR;
				d->at = AT_TEXT;
			}
			break;
		case AT_START:
			if (c != '.') {
				d->at = AT_TEXT;
				break;
			}
			/* The dot is no content, whatever follows. */
			d->at = AT_DOT;
			if (i > from && !d->bad) {
				*run = p + from;
				*nrun = i - from;
				return i + 1;
			}
			from = ++i;
			break;
		case AT_DOT:
			if (c == '\r') {
				d->at = AT_DOT_CR;
				i++;
				from = i;
			} else {
				d->at = AT_TEXT;
			}
			break;
		case AT_DOT_CR:
			if (c == '\n') {
				d->ended = true;
				line_ends(d);
				return i + 1;
			}
			/* The CR stood alone after all. */
			d->bad |= SMTP_BAD_CR;
			count(d, 1);
			d->at = AT_TEXT;
			from = i;
			break;
		default:
			assert(!"a state");
		}
	}
	if (!d->bad && i > from) {
		*run = p + from;
		*nrun = i - from;
	}
	return i;
}

void
smtp_stuff_init(struct smtp_stuff *w)
{
	*w = (struct smtp_stuff){.at = AT_START};
}

size_t
smtp_stuff_feed(struct smtp_stuff *w, const char *p, size_t n, const char **run, size_t *nrun)
{
	size_t i = 0;
	bool high = false;

	assert(!w->ended);
	*nrun = 0;
	*run = p;
	if (!n || w->bad)
		return 0;
	if (w->at == AT_START && *p == '.') {
		/* The dot that is stuffed; the content's own follows as text. */
		w->at = AT_TEXT;
		*run = ".";
		*nrun = 1;
		return 0;
	}
	while (i < n) {
		if (w->at == AT_CR) {
			if (p[i] != '\n') {
				w->bad |= SMTP_BAD_CR;
				break;
			}
			i++;
			w->at = AT_START;
			if (i < n && p[i] == '.')
				break;
			continue;
		}
		w->at = AT_TEXT;
		i += smtp_data_scan(p + i, n - i, &high);
		if (i == n)
			break;
		if (p[i] == '\r') {
			w->at = AT_CR;
			i++;
		} else {
			w->bad |= p[i] == '\n' ? SMTP_BAD_LF : SMTP_BAD_NUL;
			break;
		}
	}
	w->size += i;
	*nrun = i;
	return i;
}

const char *
smtp_stuff_end(struct smtp_stuff *w)
{
	assert(!w->ended);
	if (w->at == AT_CR)
		w->bad |= SMTP_BAD_CR;
	if (w->bad)
		return NULL;
	w->ended = true;
	assert(w->at == AT_START || w->at == AT_TEXT);
	return w->at == AT_START ? ".\r\n" : "\r\n.\r\n";
}
