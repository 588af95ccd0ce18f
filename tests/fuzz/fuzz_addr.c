/*
 * Any bytes as an address, a prefix, a probe.
 *
 * An address reads exactly where inet_pton(3) reads it, as the same number,
 * and is written as inet_ntop(3) writes it; what is suggested instead of a
 * mistake is no mistake; a probe that reads comes back from its text.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr/addr.h"
#include "addr/packet.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A macro, so that a finding names its line. */
#define must(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort(); \
		} \
	} while (0)

static void
check_written(struct addr a)
{
	char got[46], want[46];
	struct addr b;
	uint8_t be[16];
	size_t n = addr_write(a, got);

	u128_to_be(a.n, be);
	must(inet_ntop(a.family == ADDR_V4 ? AF_INET : AF_INET6,
	    a.family == ADDR_V4 ? be + 12 : be, want, sizeof want) != NULL);
	must(n == strlen(got) && !strcmp(got, want));
	must(addr_read(got, n, &b) == ADDR_OK && a.family == b.family &&
	    a.n == b.n);
}

static void
check_addr(const char *s, size_t n)
{
	uint8_t b4[4], b6[16];
	struct addr a;
	/* A NUL inside is the end to inet_pton(3), and a mistake to us. */
	bool whole = strlen(s) == n;
	bool want4 = whole && inet_pton(AF_INET, s, b4) == 1;
	bool want6 = whole && inet_pton(AF_INET6, s, b6) == 1;
	enum addr_wrong w = addr_read(s, n, &a);

	must((unsigned)w < ADDR_NWRONG);
	if (w == ADDR_OK) {
		must(want4 || want6);
		must(a.family == (want4 ? ADDR_V4 : ADDR_V6));
		if (want4)
			must(a.n == ((u128)b4[0] << 24 | (u128)b4[1] << 16 |
			    (u128)b4[2] << 8 | b4[3]));
		else
			must(a.n == u128_from_be(b6));
		check_written(a);
	} else {
		must(!(want4 || want6) || w == ADDR_MAPPED ||
		    w == ADDR_UNSPECIFIED);
	}
}

static void
check_prefix(const char *s, size_t n)
{
	char fix[64], text[50];
	struct addr_prefix p, q;
	enum addr_wrong w = addr_prefix_read(s, n, &p, fix);

	must(addr_prefix_read(s, n, &q, NULL) == w);
	must(memchr(fix, 0, sizeof fix) != NULL);
	if (w == ADDR_OK) {
		unsigned most = p.family == ADDR_V4 ? 32 : 128;
		size_t k = addr_prefix_write(p, text);

		must(!*fix && p.bits > 0 && p.bits <= most);
		must(p.lo <= p.hi && p.hi <= addr_last(p.family));
		must(p.hi - p.lo == ((u128)1 << (most - p.bits)) - 1);
		must((p.lo & (p.hi - p.lo)) == 0);
		must(k == strlen(text));
		must(addr_prefix_read(text, k, &q, NULL) == ADDR_OK);
		must(q.family == p.family && q.bits == p.bits && q.lo == p.lo);
		return;
	}
	for (char *one = fix, *end; *one && strcmp(one, "any"); one = end) {
		size_t k = strcspn(one, ",");

		must(addr_prefix_read(one, k, &q, NULL) == ADDR_OK);
		end = one + k;
		if (*end)
			end += 2;
	}
}

static void
check_probe(const char *s, size_t n)
{
	size_t where = 0, len = 0, k;
	struct packet p, q;
	char text[128];

	if (packet_read(s, n, &p, &where, &len)) {
		must(where <= n && len <= n - where);
		return;
	}
	k = packet_write(&p, text);
	must(k == strlen(text) && k < sizeof text);
	must(!packet_read(text, k, &q, &where, &len));
	must(p.proto == q.proto && p.sport == q.sport && p.dport == q.dport &&
	    p.src.family == q.src.family && p.src.n == q.src.n &&
	    p.dst.family == q.dst.family && p.dst.n == q.dst.n &&
	    p.loopback == q.loopback && p.syn == q.syn);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *exact = malloc(size ? size : 1), *s = malloc(size + 1);

	if (!exact || !s)
		abort();
	if (size)
		memcpy(exact, data, size);
	memcpy(s, exact, size);
	s[size] = 0;
	check_addr(s, size);
	check_prefix(exact, size);
	check_probe(exact, size);
	free(exact);
	free(s);
	return 0;
}
