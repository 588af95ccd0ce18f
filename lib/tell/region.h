/*
 * region: where a ruleset is not what a policy says, in words and as JSON.
 */
#ifndef TELL_REGION_H
#define TELL_REGION_H

#include <stdbool.h>

#include "prove/prove.h"

struct arena;
struct buf;
struct text_set;

/* One region, some lines: what is wrong, where, a witness, the statement's place on one side,
 * the rule on the other. `t` has the texts of the policy. */
void
region_tell(struct buf *out, struct arena *a, struct flow *f, struct text_set *t,
    const struct prove_region *r);

/* "rule 3 of chain x (table inet y, handle 7) "comment"", in a line. */
void
region_rule(struct buf *out, const struct prove_rule *r);

#endif
