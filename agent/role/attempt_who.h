/*
 * attempt_who: what of this host stands behind a packet, with a budget for asking.
 *
 * Sources, best first: the socket (sock_diag), where it still is: of packets that are dropped,
 * observed or led to the forwarder, and of UDP. A TCP reset ends the socket before anybody can
 * look; then the witness, where there is one, which saw the task connect; then the packet's own
 * user and group (which nflog brings) and which processes that user has now.
 */
#ifndef ROLE_ATTEMPT_WHO_H
#define ROLE_ATTEMPT_WHO_H

#include <stdint.h>

#include "nl/nflog.h"
#include "peer/peer.h"
#include "peer/witness.h"
#include "role/attempt_pool.h"

enum {
	WHO_SOCKETS = 1000,        /* sockets asked for in a second */
	WHO_SCANS = 40,            /* looks through /proc in a second */
	WHO_NAMES = 64,            /* users and interfaces remembered */
	WHO_NAME_US = 10000000,    /* for so long */
	WHO_IFNAME = 16,
	WHO_USER = 64,
};

struct attempt_who;

/* What was found out about one packet. */
struct who_packet {
	struct peer_sock sock;     /* inode 0: no socket was found */
	uint64_t boot_ticks;       /* now, as processes' start times are told */
};

/* Descriptors stay the caller's: a sock_diag socket, /proc, the cgroup2 mount (-1: none), a file in
 * the form of passwd(5) (-1: none). So does the witness; NULL: none. NULL without memory. */
struct attempt_who *
attempt_who_new(int diag, const struct peer_places *places, int passwd, struct peer_witness *witness);
struct attempt_who *
attempt_who_free(struct attempt_who *w);

/* At once, while the socket may still be there: fills the key's cgroup and pid where they can be
 * known. */
void
attempt_who_packet(struct attempt_who *w, const struct nflog_head *h, struct pool_key *k,
    uint64_t now_us, struct who_packet *out);

/* For a fresh attempt: its unit, process and how sure that is. */
void
attempt_who_attempt(struct attempt_who *w, const struct who_packet *p, struct pool_attempt *a,
    uint64_t now_us);

/* Before it is told, where its process is not sure: what the witness has seen meanwhile. */
void
attempt_who_late(struct attempt_who *w, struct pool_attempt *a, uint64_t now_us);

/* The name of an interface; "" for 0 or one that has gone: it lives until the next call but one. */
const char *
attempt_who_interface(struct attempt_who *w, uint32_t index, uint64_t now_us);

/* The name of a user in the passwd file; "" for UINT32_MAX and where it is not there. */
const char *
attempt_who_user(struct attempt_who *w, uint32_t uid, uint64_t now_us);

#endif
