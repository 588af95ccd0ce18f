/*
 * rulehash: a rule's meaning as one number. Private to lib/nl.
 */
#ifndef NL_RULEHASH_H
#define NL_RULEHASH_H

#include "nl/dump.h"
#include "nl/watch.h"

/* The hash of n expressions as text (counters and limits without their state) and of the user
 * data. An anonymous set is what it holds: `anon` gives the sum that stands for a set's name, NULL
 * for one that has a name. b is room for the text; its error is remembered there. */
uint64_t
rule_hash(struct buf *b, const struct nl_expr *e, uint32_t n, struct nl_bytes udata,
    const struct nl_sum *(*anon)(void *arg, const char *set), void *arg);

#endif
