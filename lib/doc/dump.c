#include "base/buf.h"
#include "doc/inside.h"

#include <string.h>

/* A letter of any script counts: what is none was refused when it was read. */
static bool
letter_or_digit(char c)
{
	return (unsigned char)c >= 0x80 ||
	    (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9');
}

/* Whether the string is the same without quotes, in a block. Some that would
 * be are left out, for the sake of those who read it. */
static bool
bare(const struct doc_node *n)
{
	size_t at = 0;

	if (!n->n)
		return false;
	if (strchr("+-", n->s[at]))
		at++;
	if (at < n->n && strchr("./", n->s[at]))
		at++;
	if (at == n->n || !letter_or_digit(n->s[at]))
		return false;
	for (size_t i = 0; i < n->n; i++) {
		unsigned char c = (unsigned char)n->s[i];

		if (c < 0x20 || c == 0x7f)
			return false;
		if (c == ':' && (i + 1 == n->n || n->s[i + 1] == ' '))
			return false;
		if (c == '#' && n->s[i - 1] == ' ')
			return false;
		if (c == ' ' && i + 1 == n->n)
			return false;
	}
	return true;
}

/* Whether quotes make a difference to those who read the scalar: what would
 * be a number, a boolean or null without them. */
static bool
telling(const struct doc_node *n)
{
	return word_of(n->s, n->n) != WORD_STRING && bare(n);
}

bool
doc_equal(const struct doc_node *a, const struct doc_node *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case DOC_SCALAR:
		return a->n == b->n && !memcmp(a->s, b->s, a->n) &&
		    (a->quoted == b->quoted || !telling(a));
	case DOC_SEQ:
		if (a->nitem != b->nitem)
			return false;
		for (size_t i = 0; i < a->nitem; i++)
			if (!doc_equal(a->item[i], b->item[i]))
				return false;
		return true;
	case DOC_MAP:
		if (a->npair != b->npair)
			return false;
		for (size_t i = 0; i < a->npair; i++)
			if (!doc_equal(a->pair[i].key, b->pair[i].key) ||
			    !doc_equal(a->pair[i].value, b->pair[i].value))
				return false;
		return true;
	}
	return false;
}

static void
scalar(struct buf *out, const struct doc_node *n)
{
	if (bare(n) && !(n->quoted && telling(n))) {
		buf_add(out, n->s, n->n);
		return;
	}
	buf_chr(out, '"');
	for (size_t i = 0; i < n->n; i++) {
		switch (n->s[i]) {
		case '"':
		case '\\':
			buf_chr(out, '\\');
			buf_chr(out, n->s[i]);
			break;
		case '\n':
			buf_str(out, "\\n");
			break;
		case '\t':
			buf_str(out, "\\t");
			break;
		default:
			buf_chr(out, n->s[i]);
		}
	}
	buf_chr(out, '"');
}

static void
indent(struct buf *out, unsigned level)
{
	while (level--)
		buf_str(out, "  ");
}

static bool
is_block(const struct doc_node *n)
{
	return (n->kind == DOC_SEQ && n->nitem) ||
	    (n->kind == DOC_MAP && n->npair);
}

/* Writes n where the cursor stands at the given level; `inside` tells that
 * the first line is begun already. */
static void
dump(struct buf *out, const struct doc_node *n, unsigned level, bool inside)
{
	switch (n->kind) {
	case DOC_SCALAR:
		scalar(out, n);
		buf_chr(out, '\n');
		break;
	case DOC_SEQ:
		if (!n->nitem)
			buf_str(out, "[]\n");
		for (size_t i = 0; i < n->nitem; i++) {
			if (i || !inside)
				indent(out, level);
			buf_str(out, "- ");
			dump(out, n->item[i], level + 1, true);
		}
		break;
	case DOC_MAP:
		if (!n->npair)
			buf_str(out, "{}\n");
		for (size_t i = 0; i < n->npair; i++) {
			const struct doc_node *v = n->pair[i].value;

			if (i || !inside)
				indent(out, level);
			scalar(out, n->pair[i].key);
			buf_str(out, is_block(v) ? ":\n" : ": ");
			dump(out, v, level + 1, !is_block(v));
		}
		break;
	}
}

void
doc_dump(struct buf *out, const struct doc_node *n)
{
	if (n)
		dump(out, n, 0, false);
}
