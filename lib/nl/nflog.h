/*
 * nflog: packets that a rule's log statement hands to a group, read from its netlink socket
 * (linux/netfilter/nfnetlink_log.h).
 *
 * The reading is pure: bytes in, plain structs out. Nothing in the bytes is believed, neither
 * the message, which the kernel made, nor the packet in it, which anybody made.
 */
#ifndef NL_NFLOG_H
#define NL_NFLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	NFLOG_RANGE = 192,         /* bytes of each packet that we want: headers */
	NFLOG_PREFIX = 128,        /* bytes of a prefix with its NUL */
	NFLOG_IN = 16 << 10,       /* bytes to read at a time, at least */
	NFLOG_NO_ID = -1,          /* as uint32_t: no user, no group */
};

/* Opens a netlink socket (close-on-exec, non-blocking) in the network namespace of the calling
 * thread, bound to the log group: the first NFLOG_RANGE bytes of each packet, at once, with a
 * sequence number. The group is its own until it is closed; reading needs no capability.
 * The descriptor; -EPERM without CAP_NET_ADMIN, -EBUSY the group is another's, or -errno. */
int
nflog_open(uint16_t group);

/* A packet of a group. */
struct nflog_packet {
	char prefix[NFLOG_PREFIX]; /* as the rule has it; what no text holds is escaped nowhere */
	uint8_t hook;              /* enum nf_inet_hooks: 1 in, 2 forward, 3 out */
	uint16_t ethertype;        /* 0x0800, 0x86dd; 0: not told */
	uint32_t in, out;          /* interfaces' indexes; 0: none */
	uint32_t uid, gid;         /* of the sending socket's file; NFLOG_NO_ID */
	uint32_t mark;
	uint64_t when;             /* microseconds since 1970; 0: not stamped (what is sent from here
	                              mostly is not) */
	uint32_t seq;
	bool has_seq;
	const uint8_t *payload;    /* from the network header on; in the bytes that were read */
	uint32_t npayload;
};

/* Bytes that were read from the socket at once, and how far they are read. */
struct nflog_bytes {
	const uint8_t *p;
	size_t n;
};

/* The next packet. 1 and *out; 0 at the end; -EBADMSG for odd bytes, of which nothing more
 * is read, -errno for an error that the kernel tells. Messages of other kinds are passed over. */
int
nflog_next(struct nflog_bytes *in, struct nflog_packet *out);

/* Counts what was lost between packets, by their sequence numbers. */
struct nflog_seq {
	uint32_t next;
	bool begun;
};

/* Packets lost before this one: 0 for the first. */
uint32_t
nflog_lost(struct nflog_seq *s, const struct nflog_packet *p);

/* The headers of a packet. */
struct nflog_head {
	uint8_t family;            /* 4 or 6 */
	uint8_t proto;             /* of the last header that could be read: 6 TCP, 17 UDP, ... */
	uint8_t src[16], dst[16];  /* network order; the first 4 bytes of an IPv4 address */
	bool ports;                /* sport and dport are known: not of a later fragment or where the
	                              bytes end too early */
	uint16_t sport, dport;
	uint8_t flags;             /* TCP's: 2 SYN, 4 RST, 16 ACK; 0 where they end too early */
};

/* Reads the network header of n bytes, IPv6 extension headers (at most 8), and the ports. 0;
 * -EBADMSG for what is no IP packet. */
int
nflog_head(const uint8_t *p, size_t n, struct nflog_head *out);

#endif
