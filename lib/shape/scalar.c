/* The scalars that have a form of their own: names, numbers, sizes,
 * durations, days. Pure text in, a value out; no diagnostics. */
#include "shape/scalar.h"

#include <string.h>

#include "shape/shape.h"

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool
shape_name_ok(const char *s, size_t n)
{
	if (!n || n > SHAPE_NAME_MOST || s[0] < 'a' || s[0] > 'z')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_digit(s[i]) && !(s[i] >= 'a' && s[i] <= 'z') &&
		    s[i] != '-' && s[i] != '_')
			return false;
	return true;
}

/* Reads decimal digits at the start of the n bytes; how many, 0 where there
 * are none, too many, or one zero too much in front. */
static size_t
digits(const char *s, size_t n, uint64_t *x)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < n && is_digit(s[i]); i++) {
		if (v > (UINT64_MAX - 9) / 10)
			return 0;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	if (i > 1 && s[0] == '0')
		return 0;
	*x = v;
	return i;
}

bool
scalar_int(const char *s, size_t n, uint64_t *x)
{
	return n && digits(s, n, x) == n;
}

struct unit {
	const char *word;
	uint64_t of;
};

static const struct unit size_unit[] = {
	{"B", 1}, {"byte", 1}, {"bytes", 1},
	{"kB", 1000}, {"KB", 1000}, {"MB", 1000 * 1000}, {"GB", 1000 * 1000 * 1000},
	{"KiB", 1u << 10}, {"MiB", 1u << 20}, {"GiB", 1u << 30},
	{NULL, 0},
};

static const struct unit time_unit[] = {
	{"s", 1}, {"sec", 1}, {"second", 1}, {"seconds", 1},
	{"min", 60}, {"minute", 60}, {"minutes", 60},
	{"h", 3600}, {"hour", 3600}, {"hours", 3600},
	{"d", 86400}, {"day", 86400}, {"days", 86400},
	{"week", 604800}, {"weeks", 604800},
	{NULL, 0},
};

static const struct unit *
unit_find(const struct unit *u, const char *s, size_t n)
{
	for (; u->word; u++)
		if (strlen(u->word) == n && !memcmp(u->word, s, n))
			return u;
	return NULL;
}

/* "5 MB" or "5MB": a number, at most one blank, a unit. */
static bool
number_unit(const struct unit *table, const char *s, size_t n, uint64_t most, uint64_t *x)
{
	const struct unit *u;
	uint64_t v;
	size_t i = digits(s, n, &v);

	if (!i)
		return false;
	if (i < n && s[i] == ' ')
		i++;
	u = unit_find(table, s + i, n - i);
	if (!u || v > most / u->of)
		return false;
	*x = v * u->of;
	return true;
}

bool
shape_size_read(const char *s, size_t n, uint64_t *bytes)
{
	return number_unit(size_unit, s, n, UINT64_C(1) << 50, bytes);
}

bool
shape_time_read(const char *s, size_t n, uint64_t *seconds)
{
	/* "hour", "day": one of it; the short forms need a number */
	const struct unit *u = n > 3 || (n == 3 && !memcmp(s, "day", 3)) ?
	    unit_find(time_unit, s, n) : NULL;

	if (u && s[n - 1] != 's') {
		*seconds = u->of;
		return true;
	}
	return number_unit(time_unit, s, n, UINT64_C(36525) * 86400, seconds) && *seconds;
}

bool
scalar_bound(const char *s, size_t n, uint64_t *bytes, bool *strict)
{
	static const struct {
		const char *word;
		bool strict;
	} how[] = {{"up to ", false}, {"below ", true}};

	for (size_t i = 0; i < 2; i++) {
		size_t k = strlen(how[i].word);

		if (n > k && !memcmp(s, how[i].word, k) &&
		    shape_size_read(s + k, n - k, bytes)) {
			*strict = how[i].strict;
			return true;
		}
	}
	return false;
}

static int
month_days(int y, int m)
{
	static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (m == 2 && (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0)))
		return 29;
	return days[m - 1];
}

bool
shape_day_ok(int y, int m, int d)
{
	return y >= 1970 && y <= SHAPE_YEAR_MOST && m >= 1 && m <= 12 && d >= 1 && d <= month_days(y, m);
}

void
shape_day_next(int *y, int *m, int *d)
{
	if (++*d <= month_days(*y, *m))
		return;
	*d = 1;
	if (++*m <= 12)
		return;
	*m = 1;
	++*y;
}

bool
scalar_day(const char *s, size_t n, int *y, int *m, int *d)
{
	int v[3] = {0, 0, 0}, part = 0;

	if (n != 10)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (i == 4 || i == 7) {
			if (s[i] != '-')
				return false;
			part++;
		} else if (is_digit(s[i])) {
			v[part] = v[part] * 10 + (s[i] - '0');
		} else {
			return false;
		}
	}
	if (!shape_day_ok(v[0], v[1], v[2]))
		return false;
	*y = v[0];
	*m = v[1];
	*d = v[2];
	return true;
}
