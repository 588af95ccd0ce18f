#include "base/near.h"

#include <string.h>

enum { LONGEST = 64 };

static unsigned
least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned
near_edits(const char *a, size_t an, const char *b, size_t bn, unsigned most)
{
	unsigned row[3][LONGEST + 1];

	if (an > LONGEST || bn > LONGEST ||
	    (an > bn ? an - bn : bn - an) > most)
		return most + 1;
	for (size_t j = 0; j <= bn; j++)
		row[0][j] = (unsigned)j;
	for (size_t i = 1; i <= an; i++) {
		unsigned *now = row[i % 3], *up = row[(i + 2) % 3];
		const unsigned *up2 = row[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= bn; j++) {
			now[j] = least(up[j - 1] + (a[i - 1] != b[j - 1]),
			    least(up[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				now[j] = least(now[j], up2[j - 2] + 1);
		}
	}
	return least(row[an % 3][bn], most + 1);
}

const char *
near_of(const char *s, size_t n, const char *(*at)(const void *arg, size_t i),
    const void *arg)
{
	const char *best = NULL, *c;
	unsigned best_d = 4;

	for (size_t i = 0; (c = at(arg, i)); i++) {
		size_t k = strlen(c);
		unsigned most = (unsigned)((k > n ? k : n) / 3), d;

		if (most < 1)
			most = 1;
		if (most > 3)
			most = 3;
		d = near_edits(s, n, c, k, most);
		if (d <= most && d < best_d && d < k) {
			best = c;
			best_d = d;
		}
	}
	return best;
}
