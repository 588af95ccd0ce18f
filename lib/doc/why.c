/*
 * why: syntax errors in the author's terms.
 *
 * libyaml says what its grammar missed and where; here the text around that
 * place is looked at again for what people really do wrong: tabs, unclosed
 * quotes and brackets, a missing blank or colon, addresses and mail domains
 * without quotes, lines that are indented a little off.
 */
#include <stdio.h>
#include <string.h>

#include "doc/inside.h"

/* Where libyaml stopped. */
struct stop {
	const struct scan *sc;
	const struct complaint *c;
	struct diags *d;
	size_t p;            /* offset of the problem, inside the text */
	size_t q;            /* offset of its context */
	size_t line, end;    /* the line of p, without its end */
	bool at_end;         /* nothing but blanks from the problem on */
};

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
of_address(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
	    (c >= 'A' && c <= 'F') || c == ':' || c == '.' || c == '/';
}

bool
why_looks_ipv6(const char *s, size_t n)
{
	size_t colons = 0, others = 0;
	bool twin = false;

	for (size_t i = 0; i < n; i++) {
		if (!of_address(s[i]))
			return false;
		if (s[i] == ':') {
			colons++;
			twin |= i && s[i - 1] == ':';
		} else {
			others++;
		}
	}
	return n <= 50 && colons <= 8 && ((twin && (others || n == 2)) ||
	    colons == 7);
}

static bool
says(const char *libyaml, const char *words)
{
	return libyaml && strstr(libyaml, words);
}

static struct text_span
span(const struct stop *x, size_t from, size_t to)
{
	return (struct text_span){x->sc->file, (uint32_t)from,
	    (uint32_t)(to > from ? to - from : 0)};
}

/* The word at offset i, as a reader would mark it. */
static struct text_span
word(const struct stop *x, size_t i)
{
	size_t to = i;

	while (to < x->sc->n && !blank(x->sc->s[to]) &&
	    !(to > i && strchr(",]}", x->sc->s[to])))
		to++;
	return span(x, i, to);
}

static struct text_span
one(const struct stop *x, size_t i)
{
	return span(x, i, i + 1);
}

static size_t
first_on_line(const struct stop *x, size_t i)
{
	while (i && x->sc->s[i - 1] != '\n')
		i--;
	return i;
}

static struct diag *
syntax(const struct stop *x, struct text_span at, const char *message,
    const char *hint)
{
	struct diag *g = diag_add(x->d, DIAG_E0109, at, "%s", message);

	if (hint)
		diag_hint(x->d, g, "%s", hint);
	return g;
}

/* A tab before the first character of the line. */
static bool
tabs(const struct stop *x)
{
	const char *s = x->sc->s;
	size_t i = x->line;

	if (says(x->c->problem, "',' or") || says(x->c->context, "quoted") ||
	    says(x->c->context, "flow"))
		return false;
	while (i < x->end && s[i] == ' ')
		i++;
	if (i == x->end || s[i] != '\t')
		return false;
	diag_hint(x->d, diag_add(x->d, DIAG_E0110, one(x, i),
	    "a tab is used for indentation"), "indent with blanks");
	return true;
}

/* An IPv6 address that the problem touches. */
static bool
address(const struct stop *x)
{
	const char *s = x->sc->s;
	size_t from = x->p, to = x->p;

	/* The stop may be just behind it. */
	if (from > x->line && (from == x->sc->n || !of_address(s[from])))
		from--, to--;
	while (to < x->end && of_address(s[to]))
		to++;
	while (from > x->line && of_address(s[from - 1]))
		from--;
	/* `key:` in front belongs to a mapping in brackets: {a:::1}. */
	if (to <= from || !why_looks_ipv6(s + from, to - from))
		return false;
	diag_hint(x->d, diag_add(x->d, DIAG_E0112, span(x, from, to),
	    "an IPv6 address needs quotes here"), "write \"%.*s\"",
	    (int)(to - from), s + from);
	return true;
}

static void
needs_quotes(const struct stop *x, size_t i)
{
	struct text_span w = word(x, i);
	struct diag *g;

	g = diag_add(x->d, DIAG_E0109, w,
	    "a string that begins with `%c` needs quotes", x->sc->s[i]);
	if (w.len <= 80 && !memchr(x->sc->s + i, '"', w.len) &&
	    !memchr(x->sc->s + i, '\\', w.len))
		diag_hint(x->d, g, "write \"%.*s\"", (int)w.len, x->sc->s + i);
}

static bool
quotes(const struct stop *x)
{
	if (!says(x->c->context, "quoted scalar"))
		return false;
	if (says(x->c->problem, "escape") || says(x->c->problem, "hexdec")) {
		syntax(x, span(x, x->p, x->p + 2 < x->end ? x->p + 2 : x->end),
		    "this is no escape of a double-quoted string",
		    "double the backslash, or use single quotes");
		return true;
	}
	diag_also(diag_hint(x->d, diag_add(x->d, DIAG_E0111, one(x, x->q),
	    "this quote is never closed"), "close it on the same line"),
	    one(x, x->p), "the string still goes on here");
	return true;
}

static bool
brackets(const struct stop *x)
{
	struct text_span open = x->c->bracket;
	const char *s = x->sc->s;
	char b, closing;

	if (says(x->c->problem, "',' or")) {
		open = one(x, x->q);
	} else if (!says(x->c->problem, "expected node content")) {
		return false;
	}
	if (open.file == TEXT_NOWHERE) {
		if (!strchr("]},", s[x->p]))
			return false;
		syntax(x, one(x, x->p), s[x->p] == ',' ?
		    "a comma stands where a value is wanted" :
		    "this bracket was never opened",
		    "a string with such a character at its beginning needs quotes");
		return true;
	}
	b = s[open.off];
	closing = b == '[' ? ']' : '}';
	if (x->at_end || (first_on_line(x, open.off) != x->line &&
	    !strchr("]},", s[x->p]))) {
		struct diag *g = diag_add(x->d, DIAG_E0111, one(x, open.off),
		    "this `%c` is never closed", b);

		diag_hint(x->d, g, "close it with `%c`, or put a comma before what follows",
		    closing);
		if (!x->at_end)
			diag_also(g, word(x, x->p), "what is read here no longer fits");
		return true;
	}
	if (s[x->p] == ',') {
		syntax(x, one(x, x->p), "there is nothing before this comma",
		    "delete the comma, or write what is missing");
		return true;
	}
	if (strchr("]}", s[x->p])) {
		diag_also(diag_add(x->d, DIAG_E0109, one(x, x->p),
		    "`%c` does not close `%c`", s[x->p], b), one(x, open.off),
		    "opened here");
		return true;
	}
	diag_also(diag_hint(x->d, diag_add(x->d, DIAG_E0109, word(x, x->p),
	    "a comma or `%c` is missing before this", closing),
	    "write it, or put the whole value in quotes"),
	    one(x, open.off), "opened here");
	return true;
}

/* A line without its colon, or with a colon that no blank follows. */
static bool
no_colon(const struct stop *x)
{
	const char *s = x->sc->s;
	size_t i = x->q;

	if (!says(x->c->problem, "expected ':'"))
		return false;
	while (i < x->sc->n && s[i] != '\n' && s[i] != ':')
		i++;
	if (i < x->sc->n && s[i] == ':' && i + 1 < x->sc->n && s[i + 1] != ' ')
		syntax(x, one(x, i), "a blank is missing behind the colon",
		    "write `key: value`");
	else
		syntax(x, word(x, x->q), "a key without a colon",
		    "write `key: value`, or indent the line if it goes on the one above");
	return true;
}

/* A `key: value` that is indented deeper than the line above, and so goes on
 * its value: either the line is, or the one above lacks its colon. */
static void
continued(const struct stop *x)
{
	const char *s = x->sc->s;
	size_t own = x->line, to, from;
	bool has_colon = false;

	while (own < x->p && blank(s[own]))
		own++;
	for (to = x->line; to && blank(s[to - 1]); to--)
		;
	from = first_on_line(x, to);
	while (from < to && blank(s[from]))
		from++;
	for (size_t i = from; i < to; i++)
		has_colon |= s[i] == ':' && (i + 1 == to || s[i + 1] == ' ');
	if (from == to || has_colon || s[from] == '-' || s[from] == '#') {
		syntax(x, span(x, own, x->p), "a mapping cannot begin here",
		    "the line is indented deeper than the key above it, and so "
		    "goes on its value: align the two");
		return;
	}
	diag_also(syntax(x, span(x, from, to), "a colon is missing behind this",
	    "write `key:` where what belongs to the key follows on lines of its own"),
	    span(x, own, x->p), "this would belong to it");
}

static bool
colon(const struct stop *x)
{
	const char *s = x->sc->s;
	struct diag *g;

	if (!says(x->c->problem, "mapping values are not allowed"))
		return false;
	for (size_t i = x->line; i + 1 < x->p; i++) {
		if (s[i] != ':' || !blank(s[i + 1]))
			continue;
		g = syntax(x, one(x, x->p), "a second colon in one line",
		    "put the value in quotes if the colon belongs to it, or begin a new line");
		diag_also(g, one(x, i), "the first one is here");
		return true;
	}
	continued(x);
	return true;
}

/* What stands where a key or an item was wanted. */
static bool
misfit(const struct stop *x)
{
	bool key = says(x->c->problem, "expected key");
	struct text_span last = x->c->last;
	const char *s = x->sc->s;
	size_t i = x->line;
	struct diag *g;

	if (!key && !says(x->c->problem, "'-' indicator"))
		return false;
	if (s[x->p] == ':') {
		diag_add(x->d, DIAG_E0123, one(x, x->p),
		    "there is no key before this colon");
		return true;
	}
	while (i < x->p && (s[i] == ' ' || (s[i] == '-' && s[i + 1] == ' ')))
		i++;
	if (i < x->p) {
		g = syntax(x, word(x, x->p), "this follows a value that has ended",
		    "put the whole value in quotes, or begin a new line");
		if (last.file != TEXT_NOWHERE && last.len && last.off < x->p)
			diag_also(g, last, "the value");
		return true;
	}
	g = syntax(x, word(x, x->p), key ?
	    "the indentation of this line fits nothing above it" :
	    "this is no item of the list that it stands in",
	    key ? "the keys of one mapping begin at the same column" :
	    "the items of one list begin with `- ` at the same column");
	diag_also(g, word(x, x->q), key ? "the mapping begins here" :
	    "the list begins here");
	return true;
}

static bool
directive(const struct stop *x)
{
	const char *s = x->sc->s;
	size_t i = 0;

	if (!says(x->c->problem, "document start") &&
	    !says(x->c->context, "directive"))
		return false;
	while (i < x->sc->n && s[i] != '%') {
		const char *nl = memchr(s + i, '\n', x->sc->n - i);

		i = nl ? (size_t)(nl - s) + 1 : x->sc->n;
	}
	if (i < x->sc->n)
		diag_add(x->d, DIAG_E0116, word(x, i),
		    "a policy has no directives");
	else
		syntax(x, word(x, x->p), "this follows the end of the text",
		    "a text is one mapping or one list; is this line indented as those above?");
	return true;
}

void
why_syntax(const struct scan *sc, const struct complaint *c, struct diags *d)
{
	struct stop x = {
		.sc = sc, .c = c, .d = d,
		.p = scan_offset(sc, c->at),
		.q = scan_offset(sc, c->context_at),
	};
	size_t i = x.p;

	while (i < sc->n && blank(sc->s[i]))
		i++;
	x.at_end = i == sc->n;
	if (!sc->n) {
		syntax(&x, span(&x, 0, 0), "the text cannot be read", NULL);
		return;
	}
	/* A place inside the text, also where it ended too soon. */
	while (x.at_end && x.p && (x.p == sc->n || blank(sc->s[x.p])))
		x.p--;
	if (x.q >= sc->n)
		x.q = x.p;
	x.line = first_on_line(&x, x.p);
	for (x.end = x.line; x.end < sc->n && sc->s[x.end] != '\n'; x.end++)
		;
	if (x.end > x.line && sc->s[x.end - 1] == '\r')
		x.end--;

	if (tabs(&x) || quotes(&x) || address(&x) || no_colon(&x) ||
	    colon(&x) || brackets(&x) || misfit(&x) || directive(&x))
		return;
	if (says(c->problem, "cannot start any token")) {
		needs_quotes(&x, x.p);
	} else if (says(c->context, "alias") || says(c->context, "anchor")) {
		needs_quotes(&x, x.q);
	} else if (says(c->context, "tag") || says(c->problem, "tag")) {
		diag_hint(d, diag_add(d, DIAG_E0113, word(&x, x.q),
		    "a policy has no tags"),
		    "a string that begins with `!` needs quotes");
	} else if (says(c->problem, "sequence entries")) {
		syntax(&x, one(&x, x.p), "a list cannot begin here",
		    "begin it on a line of its own, or write it in brackets: [a, b]");
	} else if (says(c->context, "block scalar")) {
		syntax(&x, word(&x, x.p),
		    "nothing may follow `|` or `>` on its line",
		    "put the value in quotes if it begins with `>` or `|`");
	} else if (says(c->problem, "mapping keys")) {
		syntax(&x, word(&x, x.p), "a key cannot begin here",
		    "a string that begins with `? ` needs quotes");
	} else {
		diag_add(d, DIAG_E0109, word(&x, x.p), "syntax error: %s",
		    c->problem ? c->problem : "the text cannot be read");
	}
}
