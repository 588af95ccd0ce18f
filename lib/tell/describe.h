/*
 * describe: records of lib/look and lib/flow as words and as JSON.
 */
#ifndef TELL_DESCRIBE_H
#define TELL_DESCRIBE_H

#include <stdbool.h>

#include "flow/flow.h"
#include "policy/policy.h"

struct arena;
struct buf;
struct look_explain;

/* "policy.yaml:57" of a span; "" for none. */
const char *
describe_place(struct arena *a, struct text_set *t, struct text_span at);

/* "exempt physics-mta" with its zone and direction where the point has
 * several, and its place: "exempt physics-mta, policy.yaml:57". */
const char *
describe_stmt(struct arena *a, struct text_set *t, const struct policy_stmt *s);

/* {"statement": ..., "kind": ..., "zone": ..., "direction": ..., "file": ...,
 * "line": ..., "reason": ...} */
void
describe_stmt_json(struct buf *out, struct text_set *t, const struct policy_stmt *s);

/* Seconds are written by the clock of this zone from now on; UTC at first. */
void
describe_zone(const char *zone);

/* A second as "2027-04-01 Europe/London", with the time where it begins no day. */
const char *
describe_second(struct arena *a, uint64_t sec);

/* A verdict with `observe`: "reject (observed: passes)". */
const char *
describe_verdict(enum flow_verdict v, bool observe);

/* Where a box is, a line a field; as JSON, {"port": [[25, 25]], ...}. */
void
describe_region(struct buf *out, struct flow *f, const struct flow_box *b);
void
describe_region_json(struct buf *out, const struct flow_box *b);

/* Of a packet with fields x what no probe tells, where the box asks it: ", mark 7". */
void
describe_more(struct buf *out, struct flow *f, const struct flow_box *b,
    const u128 x[FLOW_NFIELD]);

/* A box of a difference. `wt`, `nt`: the text sets of both sides. */
void
describe_box(struct buf *out, struct arena *a, struct flow *f,
    const struct flow_box *b, struct text_set *wt, struct text_set *nt);
void
describe_box_json(struct buf *out, struct arena *a, struct flow *f,
    const struct flow_box *b, struct text_set *wt, struct text_set *nt);

/* A witness as a probe, with what a probe alone does not say ("on
 * 2027-04-01", "by www-data"). */
void
describe_packet(struct buf *out, struct arena *a, const struct packet *p, bool dated);

#endif
