#include "base/units.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

struct unit {
	uint64_t of;
	const char *word, *one;  /* one: the word for exactly one; NULL: "1 word" */
};

/* Descending, so that the first that divides is the largest. */
static const struct unit size_unit[] = {
	{UINT64_C(1) << 30, "GiB", NULL},
	{UINT64_C(1000000000), "GB", NULL},
	{UINT64_C(1) << 20, "MiB", NULL},
	{UINT64_C(1000000), "MB", NULL},
	{UINT64_C(1) << 10, "KiB", NULL},
	{UINT64_C(1000), "kB", NULL},
	{1, "bytes", "1 byte"},
};

static const struct unit time_unit[] = {
	{UINT64_C(604800), "weeks", "week"},
	{UINT64_C(86400), "days", "day"},
	{UINT64_C(3600), "h", "hour"},
	{UINT64_C(60), "min", "minute"},
	{1, "s", "second"},
};

/* The same for spans: never without a number. */
static const struct unit span_unit[] = {
	{UINT64_C(86400), "days", "1 day"},
	{UINT64_C(3600), "h", NULL},
	{UINT64_C(60), "min", NULL},
	{1, "s", NULL},
};

static const char *
write_in(const struct unit *u, size_t n, uint64_t x, char out[32])
{
	size_t i = x ? 0 : n - 1;

	/* the last unit is 1 */
	while (i < n - 1 && x % u[i].of)
		i++;
	assert(u[i].of);
	if (x == u[i].of && u[i].one)
		snprintf(out, 32, "%s", u[i].one);
	else
		snprintf(out, 32, "%" PRIu64 " %s", x / u[i].of, u[i].word);
	return out;
}

const char *
units_size(uint64_t bytes, char out[32])
{
	return write_in(size_unit, sizeof size_unit / sizeof *size_unit, bytes, out);
}

const char *
units_time(uint64_t seconds, char out[32])
{
	return write_in(time_unit, sizeof time_unit / sizeof *time_unit, seconds, out);
}

const char *
units_span(uint64_t seconds, char out[32])
{
	return write_in(span_unit, sizeof span_unit / sizeof *span_unit, seconds, out);
}
