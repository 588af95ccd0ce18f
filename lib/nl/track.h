/*
 * track: a connection told to the kernel, which from then on knows it (conntrack).
 */
#ifndef NL_TRACK_H
#define NL_TRACK_H

#include <stdbool.h>
#include <stdint.h>

struct nl_talk;

/* A connection that both ends have spoken on; addresses and ports are those of its first
 * packet. */
struct nl_connection {
	bool v6;
	uint8_t src[16], dst[16];  /* in network order; of IPv4 the first four bytes */
	uint8_t proto;
	uint16_t sport, dport;
	uint32_t mark;
};

enum { NL_TRACK_SECONDS = 60 };    /* that it is kept */

/* Adds it in the socket's network namespace; TCP's windows are not looked at. 0 or -errno:
 * -EEXIST it is there. */
int
nl_track(struct nl_talk *t, const struct nl_connection *c);

#endif
