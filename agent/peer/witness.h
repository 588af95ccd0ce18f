/*
 * witness: which process connects to given ports, as the kernel's tracepoint sock:inet_sock_set_state
 * tells it (tracefs, perf_event_open(2)): the one source that still knows the process of a
 * connection which a TCP reset ends at once.
 *
 * Opening takes CAP_PERFMON and tracefs; reading takes neither, so that one who has them opens
 * and one who has nothing reads. Where it is not to be had, all else works without.
 */
#ifndef PEER_WITNESS_H
#define PEER_WITNESS_H

#include <stdint.h>

#include "peer/peer.h"

enum {
	WITNESS_MOST = 512,        /* processors, and so descriptors */
	WITNESS_PORTS = 16,
	WITNESS_SEEN = 1024,       /* connects remembered */
};

struct peer_witness;

/* Opens one event a processor of those that this process may see, for connects to these ports
 * by any process, in any network namespace. tracefs: its folder (/sys/kernel/tracing). The
 * number of descriptors in fd (close-on-exec), at most `most`; -EPERM, -EACCES without the right,
 * -ENOENT without the tracepoint or tracefs, or -errno, and none is open. */
int
peer_witness_open(int tracefs, const uint16_t *port, unsigned nport, int *fd, unsigned most);

/* Reads from these descriptors, which stay the caller's. tracefs tells how the events are laid out.
 * NULL with *err. */
struct peer_witness *
peer_witness_new(int tracefs, const int *fd, unsigned n, int *err);
struct peer_witness *
peer_witness_free(struct peer_witness *w);

/* Takes what has come. To be called when one of the descriptors is readable, and before asking. */
void
peer_witness_read(struct peer_witness *w);

/* The process that connected this TCP socket; now_us is CLOCK_MONOTONIC's. 0: not seen, or two could
 * be meant (the kernel tells a socket's own port only when the attempt has ended). */
uint32_t
peer_witness_find(const struct peer_witness *w, const struct peer_tuple *t, uint64_t now_us);

#endif
