/*
 * u128: the one number wide enough for every packet field.
 *
 * An IPv6 address, an IPv4 address, a port, a second since 1970: all are
 * ordered as unsigned numbers, so one type serves the interval algebra.
 */
#ifndef BASE_U128_H
#define BASE_U128_H

#include <stdint.h>

__extension__ typedef unsigned __int128 u128;

#define U128_MAX (~(u128)0)

/* The number hi * 2^64 + lo. */
static inline u128
u128_of(uint64_t hi, uint64_t lo)
{
	return (u128)hi << 64 | lo;
}

/* The upper and lower 64 bits. */
static inline uint64_t
u128_hi(u128 x)
{
	return (uint64_t)(x >> 64);
}

static inline uint64_t
u128_lo(u128 x)
{
	return (uint64_t)x;
}

/* The 16 bytes at p, network order. */
static inline u128
u128_from_be(const uint8_t p[16])
{
	u128 x = 0;

	for (int i = 0; i < 16; i++)
		x = x << 8 | p[i];
	return x;
}

/* Writes x to the 16 bytes at p, network order. */
static inline void
u128_to_be(u128 x, uint8_t p[16])
{
	for (int i = 15; i >= 0; i--, x >>= 8)
		p[i] = (uint8_t)x;
}

#endif
