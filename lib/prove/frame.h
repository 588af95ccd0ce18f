/*
 * frame: one packet as the bytes on a wire, and found again there. Private to lib/prove.
 */
#ifndef PROVE_FRAME_H
#define PROVE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr/addr.h"

enum {
	FRAME_ETHER = 14,
	FRAME_COOKIE = 16,
	FRAME_MOST = FRAME_ETHER + 40 + 20 + FRAME_COOKIE,
	FRAME_SIGN = 0x88b5,       /* ether type of a frame that only says "here am I" (IEEE 802, local) */
};

struct frame {
	struct addr src, dst;      /* of one family */
	uint8_t proto, flags;      /* flags: TCP's */
	uint16_t sport, dport;
	bool broken;               /* with a wrong checksum of TCP or UDP */
	uint8_t cookie[FRAME_COOKIE]; /* by which it is known, behind the transport's head */
};

/* Writes the packet with its IP head, behind FRAME_ETHER bytes that are left alone; gives the
 * length with those. */
size_t
frame_put(const struct frame *f, uint8_t out[FRAME_MOST]);

/* Writes the first FRAME_ETHER bytes. */
void
frame_ether(uint8_t out[FRAME_ETHER], const uint8_t to[6], const uint8_t from[6], uint16_t type);

/* Whether p, n bytes from the IP head on, is the packet, whatever addresses and ports it has by
 * now; an error message about it is not. */
bool
frame_is(const struct frame *f, const uint8_t *p, size_t n);

/* The same from the transport's head on: what a raw IPv6 socket gives. */
bool
frame_is_inner(const struct frame *f, const uint8_t *p, size_t n);

#endif
