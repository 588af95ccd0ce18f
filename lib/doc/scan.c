#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/utf8.h"
#include "doc/inside.h"

enum { STRIDE = 64 };

/* Kinds of characters that are refused. */
struct sort {
	enum diag_code code;
	const char *what;
	const char *hint;
};

static const struct sort
	control = {DIAG_E0103, "a control character",
	    "delete it, or write it with a backslash in a double-quoted string"},
	nul = {DIAG_E0103, "a NUL character",
	    "delete it; files with many of them are often UTF-16: save as UTF-8"},
	nonchar = {DIAG_E0103, "a code point that is no character", "delete it"},
	unseen = {DIAG_E0104, "a character without width",
	    "delete it: it makes words differ that look the same"},
	turning = {DIAG_E0104, "a character that turns the direction of text",
	    "delete it: the text would not be shown in the order in which it is read"},
	breaking = {DIAG_E0105, "a line break that only some programs see as one",
	    "write an ordinary line feed, or delete it"},
	returning = {DIAG_E0105, "a carriage return without a line feed",
	    "save the file with line feeds at the ends of its lines"},
	marking = {DIAG_E0106, "a byte order mark",
	    "save the file as UTF-8 without a byte order mark"};

/* The sort of a code point, or NULL for one that may stand in a policy. A
 * carriage return is judged by its caller. */
static const struct sort *
sort_of(uint32_t c, size_t off)
{
	if (c >= 0x20 && c < 0x7f)
		return NULL;
	if (c == '\t' || c == '\n' || c == '\r')
		return NULL;
	if (!c)
		return &nul;
	if (c == 0x85 || c == 0x2028 || c == 0x2029)
		return &breaking;
	if (c < 0xa0)
		return &control;
	if (c == 0x61c || c == 0x200e || c == 0x200f ||
	    (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
		return &turning;
	if (c == 0xfeff)
		return off ? &unseen : &marking;
	if (c == 0xad || c == 0x180e || (c >= 0x200b && c <= 0x200d) ||
	    (c >= 0x2060 && c <= 0x2064) || (c >= 0x206a && c <= 0x206f) ||
	    (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f))
		return &unseen;
	if ((c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef))
		return &nonchar;
	return NULL;
}

static void
refuse(struct diags *d, const struct sort *k, uint32_t c, struct text_span at)
{
	struct diag *g = diag_add(d, k->code, at, "U+%04X is %s", (unsigned)c,
	    k->what);

	diag_hint(d, g, "%s", k->hint);
}

static bool
sixteen(const struct scan *sc)
{
	return sc->n >= 2 && (!memcmp(sc->s, "\xff\xfe", 2) ||
	    !memcmp(sc->s, "\xfe\xff", 2) ||
	    (!sc->s[0]) != (!sc->s[1]));
}

bool
scan_bytes(struct arena *a, struct text_set *t, uint32_t file, struct scan *sc,
    struct diags *d)
{
	const struct text_file *f = t->file[file];
	size_t first = d->n + d->dropped, index = 0, cap = 0;
	bool binary = false;

	*sc = (struct scan){
		.s = f->bytes,
		.n = f->len,
		.file = file,
		.ascii = true,
	};
	if (sixteen(sc)) {
		struct diag *g = diag_add(d, DIAG_E0102,
		    (struct text_span){file, 0, 2}, "the file is not UTF-8");

		diag_hint(d, g, "it looks like UTF-16: save it as UTF-8");
		return false;
	}
	/* One byte that is in no text is enough: the rest of a binary file is more of them. */
	for (size_t i = 0; i < sc->n && !d->dropped && !binary; index++) {
		struct text_span at = {file, (uint32_t)i, 1};
		const struct sort *k;
		uint32_t c = (unsigned char)sc->s[i];
		size_t len = 1;

		if (!sc->ascii && index % STRIDE == 0)
			ARENA_PUSH(a, sc->at, sc->nat, cap) = (uint32_t)i;
		if ((c >= 0x20 && c < 0x7f) || c == '\n') {
			i++;
			continue;
		}
		if (c == '\r' && (i + 1 == sc->n || sc->s[i + 1] != '\n'))
			refuse(d, &returning, c, at);
		if (c >= 0x80 && sc->ascii) {
			sc->ascii = false;
			for (size_t j = 0; j <= index; j += STRIDE)
				ARENA_PUSH(a, sc->at, sc->nat, cap) = (uint32_t)j;
		}
		if (c >= 0x80)
			len = utf8_next(sc->s + i, sc->n - i, &c);
		if (!len) {
			/* One report for a run of bytes that are none. */
			uint32_t unused;

			for (len = 1; i + len < sc->n &&
			    !utf8_next(sc->s + i + len, sc->n - i - len,
			    &unused); len++)
				;
			at.len = (uint32_t)len;
			diag_hint(d, diag_add(d, DIAG_E0102, at,
			    "the byte 0x%02X is not UTF-8",
			    (unsigned char)sc->s[i]), "save the file as UTF-8");
			binary = true;
		} else if ((k = sort_of(c, i))) {
			at.len = (uint32_t)len;
			refuse(d, k, c, at);
			binary = k == &nul;
		}
		i += len;
	}
	return d->n + d->dropped == first;
}

uint32_t
scan_offset(const struct scan *sc, size_t index)
{
	size_t i;

	if (sc->ascii)
		return (uint32_t)(index < sc->n ? index : sc->n);
	if (index / STRIDE >= sc->nat)
		return (uint32_t)sc->n;
	i = sc->at[index / STRIDE];
	for (index %= STRIDE; index && i < sc->n; index--) {
		i++;
		while (i < sc->n && ((unsigned char)sc->s[i] & 0xc0) == 0x80)
			i++;
	}
	return (uint32_t)i;
}

struct text_span
scan_span(const struct scan *sc, size_t from, size_t to)
{
	uint32_t off = scan_offset(sc, from), end = scan_offset(sc, to);

	return (struct text_span){sc->file, off, end > off ? end - off : 0};
}

bool
scan_decoded(const char *s, size_t n, struct text_span at, struct diags *d)
{
	for (size_t i = 0; i < n; ) {
		const struct sort *k;
		uint32_t c;
		size_t len = utf8_next(s + i, n - i, &c);

		if (!len) {
			len = 1;
			c = 0xffff;
		}
		k = c == '\r' ? &control : sort_of(c, 1);
		if (k) {
			diag_hint(d, diag_add(d, k->code, at,
			    "the string holds U+%04X, %s", (unsigned)c,
			    k->what), "leave it out: no policy needs it");
			return false;
		}
		i += len;
	}
	return true;
}
