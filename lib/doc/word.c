#include <strings.h>

#include "doc/inside.h"

static bool
is(const char *s, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (!word[i] || s[i] != word[i])
			return false;
	return !word[n];
}

static bool
digit(char c)
{
	return c >= '0' && c <= '9';
}

/* [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?, the "sexagesimal" integers
 * and floats of YAML 1.1. */
static bool
base60(const char *s, size_t n)
{
	size_t i = n && (s[0] == '-' || s[0] == '+'), groups = 0;

	if (i == n || !digit(s[i]))
		return false;
	while (i < n && (digit(s[i]) || s[i] == '_'))
		i++;
	while (i < n && s[i] == ':') {
		size_t k = 0;

		for (i++; i + k < n && digit(s[i + k]); k++)
			;
		if (k < 1 || k > 2 || (k == 2 && s[i] > '5'))
			return false;
		i += k;
		groups++;
	}
	if (i < n && s[i] == '.')
		for (i++; i < n && (digit(s[i]) || s[i] == '_'); i++)
			;
	return groups && i == n;
}

enum word
word_of(const char *s, size_t n)
{
	static const char *const boolean[] = {
		"y", "n", "yes", "no", "on", "off", "true", "false",
	};

	size_t at, dot;

	if (!n || is(s, n, "~") || (n == 4 && !strncasecmp(s, "null", 4)))
		return WORD_NULL;
	if (is(s, n, "true") || is(s, n, "false"))
		return WORD_TRUTH;
	if (is(s, n, "<<"))
		return WORD_MERGE;
	for (size_t i = 0; i < sizeof boolean / sizeof *boolean; i++)
		if (!strncasecmp(s, boolean[i], n) && !boolean[i][n])
			return WORD_BOOLEAN;
	if (base60(s, n))
		return WORD_BASE60;
	at = s[0] == '-' || s[0] == '+';
	dot = at < n && s[at] == '.';
	if (at + dot < n && (digit(s[at + dot]) || (dot &&
	    (!strncasecmp(s + at + 1, "inf", 3) || !strncasecmp(s + at + 1, "nan", 3)))))
		return WORD_NUMBER;
	return WORD_STRING;
}
