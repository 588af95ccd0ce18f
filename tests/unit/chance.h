/*
 * Chance that a printed seed repeats, and the clock that waits go by. Included once by a test.
 */
#ifndef CHANCE_H
#define CHANCE_H

#include <stdint.h>
#include <time.h>

static uint64_t chance;

/* Begins anew from a seed. */
static inline void
chance_begin(uint64_t seed)
{
	chance = seed * 2654435761 + 88172645463325252;
}

/* One of 0 to n - 1. */
static inline uint64_t
rnd(uint64_t n)
{
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return (chance >> 11) % n;
}

/* Monotonic microseconds. */
static inline uint64_t
us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

#endif
