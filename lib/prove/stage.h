/*
 * stage: where a packet is replayed: a namespace with a ruleset, and the wire around it.
 * Private to lib/prove.
 */
#ifndef PROVE_STAGE_H
#define PROVE_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "addr/packet.h"
#include "prove/frame.h"

enum { STAGE_WHY = 400 };

struct stage_wants {
	const char *path;          /* the ruleset */
	bool live;                 /* it may name the interfaces that are here now */
	enum packet_hook hook;
	bool loopback;
	char iif[17], oif[17];     /* "": none. Both may be one */
	struct frame frame;        /* without its cookie */
	bool user;                 /* to be sent by uid */
	uint32_t uid, packet_mark;
	bool established;          /* in a connection that is open; `reply`: in the other direction */
	bool reply;
	uint32_t mark;             /* of that connection */
	bool strict;               /* conntrack takes up no connection in its middle */
};

struct stage_seen {
	bool done;                 /* the packet was sent; else why */
	bool out;                  /* it left the namespace; on the loopback: was sent */
	bool in;                   /* it came to a program of the namespace */
	char why[STAGE_WHY];
};

/* Sends the packet, in a process of its own: its namespaces are not given back. */
void
stage(const struct stage_wants *w, struct stage_seen *out);

#endif
