/*
 * bytes: what the writer and the reader of the plan file share. Private to
 * lib/plan.
 */
#ifndef PLAN_BYTES_H
#define PLAN_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* What a plan file begins with; then the version, 4 bytes. */
#define PLAN_MAGIC "mailreeveplan"
enum { PLAN_VERSION = 1, PLAN_MAGIC_LEN = sizeof PLAN_MAGIC - 1 };

/* What a record takes at least, in bytes. */
enum {
	LEAST_COUNTER = 4,
	LEAST_SET = 4 + 1 + 1 + 1 + 4 + 4 + 4,
	LEAST_CHAIN = 4 + 1 + 4,
	LEAST_MATCH = 1 + 1 + 4 + 16 + 16 + 4 + 4 + 4,
	LEAST_RULE = 4 + 8 + 4 + 4 + 4 + 4 + 4 + 1 + 4 + 4 + 1 + 4,
};

/* Puts the digest of its own bytes into a plan file of n bytes that is long enough; for
 * tests that change such files. */
void
plan_resign(uint8_t *file, size_t n);

#endif
