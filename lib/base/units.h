/*
 * units: sizes and durations in the words of the language.
 *
 * The way back from what the policy reader made of `5 MB` and `10 min`, for
 * replies, reports and differences.
 */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stdint.h>

/* Writes a size in the largest unit that holds it exactly: "5 MB" (10^6),
 * "5 MiB" (2^20), "1234 bytes". Gives out. */
const char *
units_size(uint64_t bytes, char out[32]);

/* Writes a duration of so many seconds: "hour", "day" for exactly one, else
 * "10 min", "36 h", "90 s". Gives out. */
const char *
units_time(uint64_t seconds, char out[32]);

/* Writes how long something takes, or how long ago it was: always with a
 * number, "1 h", "10 min", "90 s". Gives out. */
const char *
units_span(uint64_t seconds, char out[32]);

#endif
