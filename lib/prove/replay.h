/*
 * replay: a witness, really sent through a kernel that has the ruleset.
 *
 * A child makes a network namespace with the interfaces, addresses and routes that the packet
 * asks for, and a second one that is the wire around it. First the packet is sent without
 * rules, and must arrive: what does not come through there says nothing about rules. Then nft
 * loads the ruleset, and the packet is sent again. What follows it on the same way tells that a
 * packet which has not arrived by then is refused; no time-out does. All ends with the child.
 */
#ifndef PROVE_REPLAY_H
#define PROVE_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "prove/prove.h"

struct replay {
	/* given */
	struct arena *a;
	struct flow *flow;         /* of the region's names */
	const struct nl_host *host; /* how this machine numbers users; NULL: not known */
	const char *path;          /* the ruleset as text, which is opened anew for each packet */
	bool live;                 /* it is this namespace's own: it may name its interfaces */
	uint64_t now;              /* seconds since 1970 */
	/* left */
	bool passed;               /* whether the packet came through */
	const char *why;           /* REPLAY_NOT: why not */
};

enum replay_outcome {
	REPLAY_AGREES,             /* the kernel did what the region says, or one thing of several */
	REPLAY_OTHERWISE,          /* it did not: the rules were read wrongly */
	REPLAY_NOT,                /* this packet cannot be replayed here */
};

/* Sends the region's witness. Some milliseconds; a few seconds at most. */
enum replay_outcome
replay(struct replay *r, const struct prove_region *b);

/* The ruleset of this network namespace as text, by the program nft: a descriptor whose
 * /proc/self/fd/N is the file, to be closed; or -errno, -ENOENT without nft. */
int
replay_live_text(void);

#endif
