/*
 * region: where a ruleset is not what a policy says, or what another one is, in words and as
 * JSON.
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

/* The same as JSON, without the braces around it: "kind", "region", "witness", "policy",
 * "ruleset". */
void
region_json(struct buf *out, struct arena *a, struct flow *f, struct text_set *t,
    const struct prove_region *r);

/* One region as a change, some lines: what became what, where, a witness, who decides on both
 * sides. What the region means is the old side, or with `back` the new one. t may be NULL where
 * there is no policy. */
void
region_change(struct buf *out, struct arena *a, struct flow *f, struct text_set *t,
    const struct prove_region *r, bool back);

/* The same as a JSON object: "region", "witness", "was", "now". */
void
region_change_json(struct buf *out, struct arena *a, struct flow *f, struct text_set *t,
    const struct prove_region *r, bool back);

/* "rule 3 of chain x (table inet y, handle 7) "comment"", in a line. */
void
region_rule(struct buf *out, const struct prove_rule *r);

#endif
