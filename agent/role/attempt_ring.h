/*
 * attempt_ring: the last attempts, and counters per statement, in bounded memory (some 1.2 KB an
 * attempt, whatever comes).
 */
#ifndef ROLE_ATTEMPT_RING_H
#define ROLE_ATTEMPT_RING_H

#include <stdint.h>

#include "ipc/attempts.h"

enum {
	ATTEMPT_RING = 1000,       /* attempts kept */
	ATTEMPT_COUNTERS = 256,    /* statements counted one by one; the rest under "" */
};

struct attempt_ring;

struct attempt_counter {
	char statement[128];       /* its name, without "mailreeve " and ": " */
	uint64_t attempts, packets; /* told */
	uint64_t last;             /* microseconds since 1970 */
};

/* An empty ring of at most `most` attempts (ATTEMPT_RING); NULL without memory. */
struct attempt_ring *
attempt_ring_new(uint32_t most);

/* Frees it; NULL is fine. Returns NULL. */
struct attempt_ring *
attempt_ring_free(struct attempt_ring *r);

/* Keeps a copy, with over-long texts clipped, and counts it. 0; -ENOMEM: it was counted only. */
int
attempt_ring_add(struct attempt_ring *r, const struct attempts_one *a);

/* Counts packets that were not told. */
void
attempt_ring_lost(struct attempt_ring *r, const struct attempts_lost *l);

/* How many are kept. */
uint32_t
attempt_ring_count(const struct attempt_ring *r);

/* The i-th latest (0: the last that came); NULL past the end. It lives until the next add. */
const struct attempts_one *
attempt_ring_at(const struct attempt_ring *r, uint32_t i);

/* The counter number i, in order of first sight; NULL past the end. */
const struct attempt_counter *
attempt_ring_counter(const struct attempt_ring *r, uint32_t i);

/* What was not told, since the ring was made. */
struct attempts_lost
attempt_ring_untold(const struct attempt_ring *r);

#endif
