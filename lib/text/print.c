#include "text/print.h"

#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"

enum {
	TAB = 8,      /* cells between tab stops */
	WINDOW = 96,  /* cells of a source line that are shown */
	LEAD = 32     /* cells before the caret, where a line is clipped */
};

struct severity {
	const char *word;     /* for people, JSON, and SARIF's level */
	const char *command;  /* GitHub's word */
	const char *colour;
};

static const struct severity severities[] = {
	[DIAG_ERROR] = {"error", "error", "\033[1;31m"},
	[DIAG_WARNING] = {"warning", "warning", "\033[1;33m"},
	[DIAG_NOTE] = {"note", "notice", "\033[1;36m"},
};

#define BOLD "\033[1m"
#define GREEN "\033[1;32m"
#define PLAIN "\033[0m"

static void
paint(struct buf *out, bool colour, const char *escape)
{
	if (colour)
		buf_str(out, escape);
}

/*
 * Characters as they are shown.
 */

/* Whether a code point would not be seen as itself: controls, marks that
 * turn the direction of text, characters without width. */
static bool
unseen(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad ||
	    c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) ||
	    (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
	    c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || c >= 0xe0000;
}

/* The cells that a visible code point takes on a terminal. */
static unsigned
cells(uint32_t c)
{
	static const struct {
		uint32_t lo, hi;
		unsigned n;
	} row[] = {
		{0x300, 0x36f, 0}, {0x1100, 0x115f, 2}, {0x1ab0, 0x1aff, 0},
		{0x20d0, 0x20ff, 0}, {0x2e80, 0x303e, 2}, {0x3041, 0xa4cf, 2},
		{0xac00, 0xd7a3, 2}, {0xf900, 0xfaff, 2}, {0xfe00, 0xfe0f, 0},
		{0xfe30, 0xfe6f, 2}, {0xff00, 0xff60, 2}, {0xffe0, 0xffe6, 2},
		{0x1f300, 0x1f64f, 2}, {0x1f900, 0x1f9ff, 2},
		{0x20000, 0x3fffd, 2},
	};

	if (c < 0x300)
		return 1;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		if (c >= row[i].lo && c <= row[i].hi)
			return row[i].n;
	return 1;
}

/* One character of a text, as it is shown. */
struct glyph {
	size_t len;      /* bytes of the text */
	unsigned width;  /* cells */
	bool as_is;      /* the bytes themselves, or else `text` */
	char text[12];
};

/* The glyph at s; `at` is its cell in the line, for tabs. n > 0. */
static struct glyph
glyph_at(const char *s, size_t n, size_t at)
{
	static const char digit[] = "0123456789ABCDEF";
	struct glyph g = {0};
	uint32_t c;
	size_t k = 0;

	g.len = utf8_next(s, n, &c);
	if (g.len && c == '\t') {
		g.width = TAB - (unsigned)(at % TAB);
		memset(g.text, ' ', g.width);
		return g;
	}
	if (g.len && !unseen(c)) {
		g.as_is = true;
		g.width = cells(c);
		return g;
	}
	g.text[k++] = '<';
	if (g.len) {
		g.text[k++] = 'U';
		g.text[k++] = '+';
		for (int shift = c > 0xfffff ? 20 : c > 0xffff ? 16 : 12;
		    shift >= 0; shift -= 4)
			g.text[k++] = digit[c >> shift & 15];
	} else {
		g.len = 1;
		g.text[k++] = digit[(unsigned char)*s >> 4];
		g.text[k++] = digit[(unsigned char)*s & 15];
	}
	g.text[k++] = '>';
	g.width = (unsigned)k;
	return g;
}

static void
add_glyph(struct buf *out, const char *s, const struct glyph *g)
{
	if (g->as_is)
		buf_add(out, s, g->len);
	else
		buf_str(out, g->text);
}

/* Text from anywhere, without a character that could act on a terminal. */
static void
visible(struct buf *out, const char *s)
{
	size_t n = strlen(s), at = 0;

	while (n) {
		struct glyph g = glyph_at(s, n, at);

		add_glyph(out, s, &g);
		at += g.width;
		s += g.len;
		n -= g.len;
	}
}

/*
 * The human form.
 */

/* The cells from `s` to the byte `to` of a line, starting at cell `at`. */
static size_t
cell_of(const char *s, size_t n, size_t to)
{
	size_t at = 0;

	for (size_t i = 0; i < to && i < n; ) {
		struct glyph g = glyph_at(s + i, n - i, at);

		at += g.width;
		i += g.len;
	}
	return at;
}

static void
repeat(struct buf *out, char c, size_t n)
{
	while (n--)
		buf_chr(out, c);
}

/* Whether a byte may be of a secret. */
static bool
hidden(const struct diags *d, uint32_t file, size_t off)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->v[i].hidden && d->v[i].at.file == file && off >= d->v[i].at.off &&
		    off - d->v[i].at.off < d->v[i].at.len)
			return true;
	return false;
}

/* The line of the span, and carets below what the span has of it. */
static void
snippet(struct buf *out, const struct diags *d, struct text_set *t, struct text_span at,
    bool colour, const char *paint_caret)
{
	size_t n, begin, from, to, left = 0, right, cell = 0;
	const char *s = text_line(t, at.file, at.off, &n);

	begin = (size_t)(s - t->file[at.file]->bytes);
	from = at.off > begin ? at.off - begin : 0;
	if (from > n)
		from = n;
	to = at.len < n - from ? from + at.len : n;
	from = cell_of(s, n, from);
	to = cell_of(s, n, to);
	if (to <= from)
		to = from + 1;
	right = cell_of(s, n, n);
	if (right > WINDOW) {
		if (from > WINDOW - LEAD)
			left = from - LEAD;
		if (right > left + WINDOW)
			right = left + WINDOW;
	}

	buf_printf(out, "%8u | ", text_place(t, at).line);
	if (left)
		buf_str(out, "...");
	for (size_t i = 0; i < n && cell < right; ) {
		struct glyph g = glyph_at(s + i, n - i, cell);

		/* What straddles the edge of the window is left out whole. */
		if (cell >= left && cell + g.width <= right && hidden(d, at.file, begin + i))
			repeat(out, '*', g.width);
		else if (cell >= left && cell + g.width <= right)
			add_glyph(out, s + i, &g);
		else if (cell < left && cell + g.width > left)
			repeat(out, ' ', cell + g.width - left);
		cell += g.width;
		i += g.len;
		if (cell >= right && i < n)
			buf_str(out, "...");
	}
	while (out->n && out->p[out->n - 1] == ' ')
		out->p[--out->n] = 0;
	buf_str(out, "\n         | ");
	repeat(out, ' ', from - left + (left ? 3 : 0));
	paint(out, colour, paint_caret);
	repeat(out, '^', (to < right || right <= from ? to : right) - from);
	paint(out, colour, PLAIN);
	buf_chr(out, '\n');
}

/* "name:line:col: ", or nothing where there is no place. */
static void
place(struct buf *out, struct text_set *t, struct text_span at)
{
	struct text_place p = text_place(t, at);

	if (!p.line)
		return;
	visible(out, p.name);
	buf_printf(out, ":%u:%u: ", p.line, p.col);
}

static void
human(struct buf *out, const struct diags *d, const struct diag *g, struct text_set *t,
    bool colour)
{
	const struct severity *s = &severities[g->severity];

	paint(out, colour, BOLD);
	place(out, t, g->at);
	paint(out, colour, s->colour);
	buf_printf(out, "%s[%s]:", s->word, diag_row(g->code)->code);
	paint(out, colour, PLAIN);
	buf_chr(out, ' ');
	paint(out, colour, BOLD);
	visible(out, g->message);
	paint(out, colour, PLAIN);
	buf_chr(out, '\n');
	if (g->at.file < t->n)
		snippet(out, d, t, g->at, colour, s->colour);
	if (g->also.file < t->n) {
		buf_str(out, "  ");
		place(out, t, g->also);
		visible(out, g->also_label ? g->also_label : "see here");
		buf_chr(out, '\n');
		snippet(out, d, t, g->also, colour, GREEN);
	}
	if (g->hint) {
		buf_str(out, "      ");
		paint(out, colour, GREEN);
		buf_str(out, "hint:");
		paint(out, colour, PLAIN);
		buf_chr(out, ' ');
		visible(out, g->hint);
		buf_chr(out, '\n');
	}
}

/*
 * Forms for programs. Columns count code points from 1; the end is the first
 * one behind.
 */

static struct text_place
end_of(struct text_set *t, struct text_span at)
{
	uint32_t most = (uint32_t)t->file[at.file]->len;

	at.off = at.off < most && at.len < most - at.off ?
	    at.off + at.len : most;
	at.len = 0;
	return text_place(t, at);
}

static void
json_place(struct buf *out, struct text_set *t, struct text_span at)
{
	struct text_place p, e;

	if (at.file >= t->n) {
		buf_str(out, "\"file\": null, \"line\": null, \"column\": null, "
		    "\"end_line\": null, \"end_column\": null");
		return;
	}
	p = text_place(t, at);
	e = end_of(t, at);
	buf_str(out, "\"file\": ");
	buf_json(out, p.name);
	buf_printf(out, ", \"line\": %u, \"column\": %u, \"end_line\": %u, "
	    "\"end_column\": %u", p.line, p.col, e.line, e.col);
}

static void
json_or_null(struct buf *out, const char *s)
{
	if (s)
		buf_json(out, s);
	else
		buf_str(out, "null");
}

static void
json(struct buf *out, const struct diags *d, struct text_set *t)
{
	buf_chr(out, '[');
	for (size_t i = 0; i < d->n; i++) {
		const struct diag *g = &d->v[i];

		buf_printf(out, "%s\n  {\"code\": \"%s\", \"severity\": \"%s\", "
		    "\"message\": ", i ? "," : "", diag_row(g->code)->code,
		    severities[g->severity].word);
		buf_json(out, g->message);
		buf_str(out, ", \"hint\": ");
		json_or_null(out, g->hint);
		buf_str(out, ", ");
		json_place(out, t, g->at);
		buf_str(out, ", \"also\": ");
		if (g->also.file < t->n) {
			buf_str(out, "{\"label\": ");
			json_or_null(out, g->also_label);
			buf_str(out, ", ");
			json_place(out, t, g->also);
			buf_chr(out, '}');
		} else {
			buf_str(out, "null");
		}
		buf_chr(out, '}');
	}
	buf_str(out, d->n ? "\n]\n" : "]\n");
}

/* A file name as a URI reference, RFC 3986: relative, or file: for a path
 * from the root. The colon is coded, so that none is read as a scheme. */
static void
uri(struct buf *out, const char *name)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";

	buf_chr(out, '"');
	if (*name == '/')
		buf_str(out, "file://");
	for (; *name; name++) {
		if (strchr(safe, *name))
			buf_chr(out, *name);
		else
			buf_printf(out, "%%%02X", (unsigned char)*name);
	}
	buf_chr(out, '"');
}

static void
sarif_place(struct buf *out, struct text_set *t, struct text_span at)
{
	struct text_place p = text_place(t, at), e = end_of(t, at);

	buf_str(out, "\"physicalLocation\": {\"artifactLocation\": {\"uri\": ");
	uri(out, p.name);
	buf_printf(out, "}, \"region\": {\"startLine\": %u, "
	    "\"startColumn\": %u, \"endLine\": %u, \"endColumn\": %u}}",
	    p.line, p.col, e.line, e.col);
}

/* The rules that the results name, ascending, each once; index[code] gets
 * its place. */
static void
sarif_rules(struct buf *out, const struct diags *d, unsigned index[DIAG_NCODE])
{
	bool used[DIAG_NCODE + 1] = {false};
	unsigned n = 0;

	for (size_t i = 0; i < d->n; i++)
		used[d->v[i].code] = true;
	for (unsigned c = 0; c < DIAG_NCODE; c++) {
		const struct diag_row *r = diag_row((enum diag_code)c);
		const char *level = r->code[0] == 'E' ? "error" :
		    r->code[0] == 'W' ? "warning" : "note";

		if (!used[c])
			continue;
		buf_printf(out, "%s\n        {\"id\": \"%s\", "
		    "\"shortDescription\": {\"text\": ", n ? "," : "", r->code);
		buf_json(out, r->title);
		buf_str(out, "}, \"fullDescription\": {\"text\": ");
		buf_json(out, r->text);
		buf_printf(out, "}, \"defaultConfiguration\": "
		    "{\"level\": \"%s\"}}", level);
		index[c] = n++;
	}
}

static void
sarif_result(struct buf *out, const struct diag *g, struct text_set *t,
    unsigned rule)
{
	struct buf text = BUF_INIT(SIZE_MAX / 2);

	buf_printf(out, "\n      {\"ruleId\": \"%s\", \"ruleIndex\": %u, "
	    "\"level\": \"%s\", \"message\": {\"text\": ",
	    diag_row(g->code)->code, rule, severities[g->severity].word);
	buf_str(&text, g->message);
	if (g->hint) {
		buf_str(&text, "; ");
		buf_str(&text, g->hint);
	}
	buf_json(out, text.p ? text.p : "");
	buf_free(&text);
	buf_chr(out, '}');
	if (g->at.file < t->n) {
		buf_str(out, ", \"locations\": [{");
		sarif_place(out, t, g->at);
		buf_str(out, "}]");
	}
	if (g->also.file < t->n) {
		buf_str(out, ", \"relatedLocations\": [{\"id\": 1, ");
		sarif_place(out, t, g->also);
		buf_str(out, ", \"message\": {\"text\": ");
		buf_json(out, g->also_label ? g->also_label : "see here");
		buf_str(out, "}}]");
	}
	buf_chr(out, '}');
}

static void
sarif(struct buf *out, const struct diags *d, struct text_set *t)
{
	unsigned index[DIAG_NCODE + 1] = {0};

	buf_str(out, "{\n"
	    "  \"$schema\": \"https://json.schemastore.org/sarif-2.1.0.json\",\n"
	    "  \"version\": \"2.1.0\",\n"
	    "  \"runs\": [{\n"
	    "    \"tool\": {\"driver\": {\"name\": \"mailreeve\", \"rules\": [");
	sarif_rules(out, d, index);
	buf_str(out, "]}},\n"
	    "    \"columnKind\": \"unicodeCodePoints\",\n"
	    "    \"results\": [");
	for (size_t i = 0; i < d->n; i++) {
		if (i)
			buf_chr(out, ',');
		sarif_result(out, &d->v[i], t, index[d->v[i].code]);
	}
	buf_str(out, "]\n  }]\n}\n");
}

/* A value of GitHub's workflow commands; `more` are further characters to
 * escape, as in their own toolkit: ":" and "," in a property. */
static void
escaped(struct buf *out, const char *s, const char *more)
{
	for (; *s; s++) {
		if (*s == '%' || *s == '\r' || *s == '\n' || strchr(more, *s))
			buf_printf(out, "%%%02X", (unsigned char)*s);
		else
			buf_chr(out, *s);
	}
}

static void
github(struct buf *out, const struct diag *g, struct text_set *t)
{
	const struct diag_row *row = diag_row(g->code);

	buf_printf(out, "::%s ", severities[g->severity].command);
	if (g->at.file < t->n) {
		struct text_place p = text_place(t, g->at);
		struct text_place e = end_of(t, g->at);

		buf_str(out, "file=");
		escaped(out, p.name, ":,");
		buf_printf(out, ",line=%u,col=%u", p.line, p.col);
		/* An end column is only taken in the same line. */
		buf_printf(out, ",endLine=%u", e.line);
		if (e.line == p.line)
			buf_printf(out, ",endColumn=%u", e.col);
		buf_chr(out, ',');
	}
	buf_printf(out, "title=%s ", row->code);
	escaped(out, row->title, ":,");
	buf_str(out, "::");
	escaped(out, g->message, "");
	if (g->hint) {
		buf_str(out, "%0Ahint: ");
		escaped(out, g->hint, "");
	}
	buf_chr(out, '\n');
}

void
print_diags(struct buf *out, const struct diags *d, struct text_set *t,
    enum print_form form, bool colour)
{
	switch (form) {
	case PRINT_HUMAN:
		for (size_t i = 0; i < d->n; i++)
			human(out, d, &d->v[i], t, colour);
		break;
	case PRINT_JSON:
		json(out, d, t);
		break;
	case PRINT_SARIF:
		sarif(out, d, t);
		break;
	case PRINT_GITHUB:
		for (size_t i = 0; i < d->n; i++)
			github(out, &d->v[i], t);
		break;
	}
}

void
print_summary(struct buf *out, const struct diags *d)
{
	if (!d->errors && !d->warnings && !d->dropped)
		return;
	if (d->errors)
		buf_printf(out, "%zu error%s", d->errors,
		    d->errors == 1 ? "" : "s");
	if (d->warnings)
		buf_printf(out, "%s%zu warning%s", d->errors ? ", " : "",
		    d->warnings, d->warnings == 1 ? "" : "s");
	if (d->dropped)
		buf_printf(out, "%s%zu not shown",
		    d->errors || d->warnings ? ", " : "", d->dropped);
	buf_chr(out, '\n');
}
