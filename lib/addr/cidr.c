/*
 * cidr: the one file that uses libcidr, and only its algebra: its parser and
 * printer are not fit for text from outside (tests/style checks that neither
 * is linked).
 */
#include <libcidr.h>
#include <string.h>

#include "addr/scan.h"

/* A CIDR of libcidr, or NULL without memory. */
static CIDR *
cidr_of(struct addr a, unsigned bits)
{
	uint8_t be[16], *mask;
	struct in6_addr a6;
	struct in_addr a4;
	CIDR *c;

	u128_to_be(a.n, be);
	if (a.family == ADDR_V4) {
		memcpy(&a4, be + 12, sizeof a4);
		c = cidr_from_inaddr(&a4);
	} else {
		memcpy(&a6, be, sizeof a6);
		c = cidr_from_in6addr(&a6);
	}
	if (!c)
		return NULL;
	mask = a.family == ADDR_V4 ? c->mask + 12 : c->mask;
	for (unsigned i = 0; i < (a.family == ADDR_V4 ? 4 : 16); i++) {
		unsigned k = bits < 8 ? bits : 8;

		mask[i] = (uint8_t)(0xff00 >> k);
		bits -= k;
	}
	return c;
}

bool
scan_network(struct addr a, unsigned bits, struct addr *out)
{
	CIDR *c = cidr_of(a, bits), *net = c ? cidr_addr_network(c) : NULL;
	struct in6_addr a6;
	struct in_addr a4;
	bool ok = false;

	if (net && a.family == ADDR_V4 && cidr_to_inaddr(net, &a4)) {
		*out = (struct addr){ADDR_V4, ntohl(a4.s_addr)};
		ok = true;
	} else if (net && a.family == ADDR_V6 && cidr_to_in6addr(net, &a6)) {
		*out = (struct addr){ADDR_V6, u128_from_be(a6.s6_addr)};
		ok = true;
	}
	cidr_free(net);
	cidr_free(c);
	return ok;
}

bool
scan_netmask(struct addr mask, unsigned *bits)
{
	CIDR *c = cidr_of(mask, mask.family == ADDR_V4 ? 32 : 128);
	int n = -1;

	if (c) {
		/* The address is the mask: let libcidr count its bits, and
		 * refuse it when they have gaps. */
		memcpy(c->mask, c->addr, sizeof c->mask);
		if (mask.family == ADDR_V4)
			memset(c->mask, 0xff, 12);
		n = cidr_get_pflen(c);
		cidr_free(c);
	}
	if (n < 0)
		return false;
	*bits = (unsigned)n;
	return true;
}
