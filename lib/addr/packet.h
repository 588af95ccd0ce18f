/*
 * packet: one packet to be judged, and its text form, the probe.
 *
 *     tcp 131.111.64.9 -> 8.8.8.8:25
 *     tcp [2001:db8::1]:4000 -> [2001:db8::2]:25
 *     udp 10.0.0.1 -> 10.0.0.2:53
 *     icmp 10.0.0.1 -> 10.0.0.2
 *
 * A packet is the first one of a new connection unless said otherwise.
 */
#ifndef ADDR_PACKET_H
#define ADDR_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr/addr.h"

enum packet_hook {
	PACKET_FORWARD,
	PACKET_OUTPUT,   /* sent by a program of this host */
	PACKET_INPUT,    /* for a program of this host */
};

enum packet_state {
	PACKET_NEW,
	PACKET_ESTABLISHED,
	PACKET_RELATED,
	PACKET_INVALID,
	PACKET_UNTRACKED,
};

struct packet {
	enum packet_hook hook;
	bool loopback;            /* over the interface lo */
	uint8_t proto;            /* IPPROTO_TCP, ... */
	enum packet_state state;
	bool syn;                 /* TCP with SYN and without ACK, RST, FIN */
	struct addr src, dst;     /* of one family */
	uint16_t sport, dport;    /* 0 where the protocol has none */
	const char *user;         /* name or decimal uid; NULL: one that no policy names */
	const char *unit;         /* systemd unit or cgroup path; NULL: one that no policy names */
	uint64_t date;            /* seconds since 1970 */
};

/* Reads a probe into the fields proto, src, dst, sport, dport, state (new),
 * syn, loopback (an address of 127.0.0.0/8 or ::1 at either end). The others
 * are zero. Gives NULL, or a sentence about what is wrong; *where gets the
 * offset of the mistake and *len its length. Protocols: tcp, udp, icmp (for
 * either family), sctp. */
const char *
packet_read(const char *s, size_t n, struct packet *out, size_t *where, size_t *len);

/* Writes a packet as a probe; gives its length. */
size_t
packet_write(const struct packet *p, char out[128]);

#endif
