/*
 * attempt_pool: packets alike become one attempt with a count, and not more are told than
 * somebody can read. Time is an argument, memory is bounded whatever comes.
 *
 * What becomes of a packet: it opens an attempt, which is told a second later with all that
 * were alike; or, repeated by TCP after that (same ports), it is told once more when the
 * connection can no longer repeat it; or it is over the rate, and counted. No packet is
 * counted twice or not at all.
 */
#ifndef ROLE_ATTEMPT_POOL_H
#define ROLE_ATTEMPT_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "nl/nflog.h"
#include "peer/peer.h"

enum {
	POOL_ATTEMPTS = 1024,      /* at a time */
	POOL_WINDOW_US = 1000000,  /* alike within */
	POOL_LINGER_US = 64000000, /* repetitions of SYN within (tcp_syn_retries 6: 63 s) */
	POOL_PORTS = 8,            /* source ports whose repetitions are known */
	POOL_RATE = 20,            /* told a second */
	POOL_BURST = 200,
};

/* What makes packets alike. Zeroed before it is filled: it is compared as bytes. */
struct pool_key {
	char prefix[NFLOG_PREFIX];
	uint8_t src[16], dst[16];
	uint64_t cgroup;           /* of the socket or the task; 0: not known */
	uint32_t in, out, uid, gid;
	uint32_t pid;              /* where it is known for this very packet; else 0 */
	uint16_t dport;
	uint8_t family, proto, hook, zero[7]; /* zero: no padding is left to chance */
};

struct pool_attempt {
	struct pool_key key;
	uint16_t sport;            /* of the first packet */
	uint16_t port[POOL_PORTS]; /* the last source ports */
	uint8_t nport, next_port;
	uint64_t when;             /* of the first, microseconds since 1970 */
	uint64_t count;            /* packets since it was last told */
	uint64_t due;              /* when it is to be told, or forgotten */
	bool told;                 /* it was told already and waits for repetitions */
	uint32_t sure;             /* enum attempts_sure */
	struct peer_who who;       /* the caller's to fill when the attempt is fresh */
	uint64_t boot_ticks;       /* when it was, as processes' start times are told */
};

struct attempt_pool;

/* An empty pool with a full bucket; NULL without memory (some 3 MB, of which only what is in use
 * is ever touched). */
struct attempt_pool *
attempt_pool_new(void);
struct attempt_pool *
attempt_pool_free(struct attempt_pool *p);

/* Takes a packet. The attempt it belongs to, *fresh where it opened it now; NULL: there are too many,
 * it was counted as over the rate. The place lives until attempt_pool_due() gives it out. */
struct pool_attempt *
attempt_pool_add(struct attempt_pool *p, const struct pool_key *k, uint16_t sport, uint64_t when,
    uint64_t now_us, bool *fresh);

/* The next attempt that is due and within the rate; NULL: none. It lives until the next call to the
 * pool. now_us UINT64_MAX: all that are left, without a rate. */
struct pool_attempt *
attempt_pool_due(struct attempt_pool *p, uint64_t now_us);

/* Microseconds until the next is due; UINT64_MAX: there is none. */
uint64_t
attempt_pool_wait(const struct attempt_pool *p, uint64_t now_us);

/* Counts packets that could not be told after all. */
void
attempt_pool_untold(struct attempt_pool *p, uint64_t packets);

/* Packets over the rate since the last call. */
uint64_t
attempt_pool_over(struct attempt_pool *p);

#endif
