/*
 * policy_world: a small world for tests that load policies: files in memory or
 * of the source tree, and a calendar of its own. Included by one test each.
 */
#ifndef TEST_POLICY_WORLD_H
#define TEST_POLICY_WORLD_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "policy/policy.h"

struct world_file {
	const char *name, *bytes;
	size_t len;
};

struct test_world {
	const struct world_file *file; /* those in memory; the last has no name */
	const char *dir;               /* then those of this folder; NULL: none */
};

/* The whole file of the source tree; NULL when it is not there. */
static inline char *
world_file_read(struct arena *a, const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	size_t n = 0, cap = 1 << 16;
	char *p;

	*len = 0;
	if (!f)
		return NULL;
	p = arena_alloc(a, cap + 1);
	for (size_t k; (k = fread(p + n, 1, cap - n, f)); ) {
		n += k;
		if (n == cap) {
			p = arena_resize(a, p, n, 2 * cap + 1, 1);
			cap *= 2;
		}
	}
	fclose(f);
	p[n] = 0;
	*len = n;
	return p;
}

static inline int
world_read(void *arg, struct arena *a, const char *name, size_t most,
    const char **bytes, size_t *len)
{
	const struct test_world *w = arg;
	const char *p;

	for (const struct world_file *f = w->file; f && f->name; f++)
		if (!strcmp(f->name, name)) {
			if (f->len > most)
				return -EFBIG;
			*bytes = f->bytes;
			*len = f->len;
			return 0;
		}
	if (!w->dir)
		return -ENOENT;
	p = world_file_read(a, arena_printf(a, "%s/%s", w->dir, name), len);
	if (!p)
		return -ENOENT;
	*bytes = p;
	return *len > most ? -EFBIG : 0;
}

/* Days since 1970-01-01 of the Gregorian calendar. */
static inline int64_t
world_days(int y, int m, int d)
{
	static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
	int64_t n = (int64_t)(y - 1970) * 365 + before[m - 1] + d - 1;

	for (int i = 1970; i <= y; i++)
		if ((i % 4 == 0 && i % 100 != 0) || i % 400 == 0)
			n += i < y || m > 2;
	return n;
}

static inline int
world_day(void *arg, const char *zone, int y, int m, int d, uint64_t *sec)
{
	(void)arg;
	*sec = (uint64_t)world_days(y, m, d) * 86400;
	if (!strcmp(zone, "UTC") || !strcmp(zone, "Europe/London"))
		return 0;
	if (!strcmp(zone, "America/New_York")) {
		*sec += 5 * 3600;
		return 0;
	}
	return -ENOENT;
}

static inline struct policy_world
world_of(struct test_world *w)
{
	return (struct policy_world){.arg = w, .read = world_read, .day = world_day};
}

#endif
