/*
 * floor: the least that any compiler of address lists must do: read lines of
 * prefixes, sort, merge, print an nft set. No checks, no places, no meaning. The
 * benchmark gives mailreeve's time as a multiple of this one's.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct range {
	uint32_t lo, hi;
};

static int
by_lo(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

int
main(int argc, char **argv)
{
	FILE *f = argc > 1 ? fopen(argv[1], "r") : stdin;
	struct range *v = NULL, *more;
	size_t n = 0, cap = 0, m = 0;
	char line[64];

	if (!f)
		return 2;
	while (fgets(line, sizeof line, f)) {
		char *slash = strpbrk(line, "/\n");
		unsigned long bits = 32;
		struct in_addr a;

		if (!slash)
			continue;
		if (*slash == '/')
			bits = strtoul(slash + 1, NULL, 10);
		*slash = 0;
		if (inet_pton(AF_INET, line, &a) != 1)
			continue;
		if (n == cap) {
			cap = cap ? 2 * cap : 1024;
			more = realloc(v, cap * sizeof *v);
			if (!more)
				abort();
			v = more;
		}
		v[n].lo = ntohl(a.s_addr);
		v[n].hi = v[n].lo | (bits ? UINT32_MAX >> 1 >> (bits - 1) : UINT32_MAX);
		n++;
	}
	if (n)
		qsort(v, n, sizeof *v, by_lo);
	for (size_t i = 0; i < n; i++) {
		if (m && v[i].lo <= (uint64_t)v[m - 1].hi + 1) {
			if (v[i].hi > v[m - 1].hi)
				v[m - 1].hi = v[i].hi;
		} else {
			v[m++] = v[i];
		}
	}
	printf("table inet t {\n\tset s {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = {\n");
	for (size_t i = 0; i < m; i++) {
		struct in_addr lo = {htonl(v[i].lo)}, hi = {htonl(v[i].hi)};
		char a[INET_ADDRSTRLEN], b[INET_ADDRSTRLEN];

		inet_ntop(AF_INET, &lo, a, sizeof a);
		inet_ntop(AF_INET, &hi, b, sizeof b);
		printf("\t\t\t%s-%s,\n", a, b);
	}
	printf("\t\t}\n\t}\n}\n");
	free(v);
	return 0;
}
