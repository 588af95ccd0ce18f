/*
 * scan: the strict reading of one address or prefix, and, for what does not
 * read, the reason. Private to lib/addr.
 */
#ifndef ADDR_SCAN_H
#define ADDR_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "addr/addr.h"

enum {
	SCAN_FIX = 64,  /* room for the text to write instead */
	SCAN_MOST = 45  /* the longest address, INET6_ADDRSTRLEN - 1 */
};

/* Reads n bytes as an address in its one strict form, any address: also the
 * unspecified and the IPv4-mapped ones. *out is set on success only. */
bool
scan_addr(const char *s, size_t n, struct addr *out);

/* Reads n bytes as a prefix, or as an address alone. ADDR_SYNTAX stands here
 * for everything that has not the strict form; what has it and yet may not be
 * used is named. *out is set on ADDR_OK, and where the form was right. */
enum addr_wrong
scan_read(const char *s, size_t n, bool prefix, struct addr_prefix *out);

/* Reads n bytes as a prefix length of at most `most`, without leading zeros. */
bool
scan_bits(const char *s, size_t n, unsigned most, unsigned *out);

/* The network of an address with a prefix length; false without memory. */
bool
scan_network(struct addr a, unsigned bits, struct addr *out);

/* The prefix length that a netmask says; false when its bits have gaps. */
bool
scan_netmask(struct addr mask, unsigned *bits);

/* Why scan_read() did not give ADDR_OK for these bytes; never ADDR_OK. `fix`
 * gets the text to write instead, or "". */
enum addr_wrong
scan_why(const char *s, size_t n, bool prefix, char fix[SCAN_FIX]);

#endif
