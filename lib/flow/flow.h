/*
 * flow: what a policy means, as a canonical decision diagram over packets.
 *
 * Ordered, reduced, hash-consed: each node tests one field (flow/field.h) with
 * sorted, disjoint intervals that cover its whole domain; equal diagrams are
 * equal references. One `struct flow` holds the nodes of all diagrams that are
 * to be compared (both sides of a diff), so equality is `==`.
 *
 * A leaf is a verdict and the statements that said so.
 */
#ifndef FLOW_FLOW_H
#define FLOW_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr/packet.h"
#include "base/u128.h"
#include "flow/fdd.h"
#include "flow/field.h"
#include "flow/ival.h"

struct arena;
struct buf;
struct diags;
struct policy;
struct policy_judge;
struct policy_point;
struct policy_stmt;

/* A reference to a node or a leaf (flow/fdd.h); valid as long as its struct
 * flow. */
typedef fdd_ref flow_ref;

#define FLOW_NONE FDD_NONE

/* What happens to a packet. */
enum flow_verdict {
	FLOW_UNTOUCHED,  /* no statement speaks of it */
	FLOW_ALLOW,      /* a statement allows it */
	FLOW_REJECT,
	FLOW_DROP,
	FLOW_CAPTURE,    /* redirected to the forwarder */
};

enum { FLOW_LEAF_STMTS = 2 };

/* A leaf: the verdict and the statements of the deciding class. At most two
 * are kept, the lowest ids; `more` says that there were others. Where the
 * judges of two zones both allow, the statements of both. */
struct flow_leaf {
	enum flow_verdict verdict;
	bool observe;              /* `mode: observe`: verdict is what would be; it passes */
	uint8_t nstmt;
	bool more;
	const struct policy_stmt *stmt[FLOW_LEAF_STMTS];
	uint32_t limits;           /* number of a set of limits; 0: none (flow_limits_text) */
};

struct flow;

/* A new, empty store of nodes. `most` is the limit of its nodes (0: the
 * default, FLOW_MOST). */
struct flow *
flow_new(uint32_t most);

struct flow *
flow_free(struct flow *f);

enum { FLOW_MOST = 8 * 1000 * 1000 };

/* The store of nodes, to build other diagrams (lib/vm's) beside the policy's. */
struct fdd *
flow_fdd(struct flow *f);

/* The diagram that touches nothing: of a point that is not there. */
flow_ref
flow_nothing(const struct flow *f);

/* The diagram of a point: what it means for every packet. `FLOW_NONE` when
 * it would exceed the limit; then d names the statements that make it so large. */
flow_ref
flow_point(struct flow *f, const struct policy_point *pt, struct diags *d);

/* The diagram of one judge alone, for packets that it sees; elsewhere
 * untouched with no statement. FLOW_NONE as flow_point. */
flow_ref
flow_judge(struct flow *f, const struct policy_judge *j, struct diags *d);

/* What a statement is good for in its judge. */
enum flow_use {
	FLOW_USE_NEVER,      /* it matches no packet that the judge sees */
	FLOW_USE_OVERRULED,  /* wherever it matches, a class of higher precedence decides */
	FLOW_USE_TWIN,       /* wherever it could decide, another of its class says so too */
	FLOW_USE_SAME,       /* where it is alone, the verdict is the same without it */
	FLOW_USE_DECIDES,    /* it changes the fate of some packet */
};

struct flow_useful {
	enum flow_use use;
	const struct policy_stmt *by; /* OVERRULED, TWIN: one of the others */
	enum flow_verdict without;    /* SAME: what happens without it */
};

/* What each statement of the judge is good for: out[i] for j->stmt[i];
 * without a look at other zones. UNTOUCHED and ALLOW are the same fate. False
 * when the limit of nodes is reached: then d says so and out is not set. */
bool
flow_judge_useful(struct flow *f, const struct policy_judge *j, struct diags *d,
    struct flow_useful *out);

/* The leaf for one packet. */
const struct flow_leaf *
flow_eval(struct flow *f, flow_ref r, const struct packet *p);

/* The second at which the verdict for the packet, all else equal, becomes
 * another than on its date; UINT64_MAX: never. */
uint64_t
flow_eval_until(struct flow *f, flow_ref r, const struct packet *p);

/* ---- differences ------------------------------------------------------ */

/* A region of packets: for each field a list of intervals; n 0: all of it. */
struct flow_box {
	struct {
		const struct flow_ival *v;
		size_t n;
	} field[FLOW_NFIELD];
	enum flow_verdict was, now;
	bool was_observe, now_observe;
	uint32_t was_limits, now_limits;
	/* the statements of both sides that decide somewhere in the box, at
	 * most 8 each, in id order; n counts all */
	const struct policy_stmt *was_stmt[8], *now_stmt[8];
	size_t nwas, nnow;
	struct packet witness;     /* a packet of the box: the lowest in each field that
	                              the box narrows, an example's value in the others */
};

struct flow_diff {
	struct flow_box *box;      /* disjoint, merged, in the fixed order of fields */
	size_t nbox;
	bool truncated;            /* more than `most` boxes */
};

/* All regions where verdict, observe or limits of a and b differ; UNTOUCHED
 * and ALLOW count as different only when `strict`. In the arena m. */
void
flow_diff(struct flow *f, struct arena *m, flow_ref a, flow_ref b, bool strict,
    size_t most, struct flow_diff *out);

/* Whether a and b give the same verdicts (as flow_diff with the same `strict`
 * would find no box); quick. */
bool
flow_same(struct flow *f, flow_ref a, flow_ref b, bool strict);

/* All regions with their leaves (for dumps, tests and reports): as boxes with
 * `was` = `now` = the verdict. */
void
flow_boxes(struct flow *f, struct arena *m, flow_ref r, size_t most,
    struct flow_diff *out);

/* Writes the diagram for people and golden files. */
void
flow_dump(struct flow *f, flow_ref r, struct buf *out);

/* How many nodes there are. */
uint32_t
flow_count(const struct flow *f);

/* A set of limits for people: "at most 60 connections an hour for each
 * source, else log"; "" for 0. Lives as long as f. */
const char *
flow_limits_text(struct flow *f, uint32_t limits);

/* The name of a field ("source address", ...), of a verdict ("allow"). */
const char *
flow_field_name(enum flow_field x);
const char *
flow_verdict_name(enum flow_verdict v);

/* The value of a user or unit in the diagram; `add`: given now if new, else
 * FLOW_USER_NONE or FLOW_UNIT_NONE. */
u128
flow_user_value(struct flow *f, const char *name, bool add);
u128
flow_unit_value(struct flow *f, const char *name, bool add);

/* How many names there are: their values are FLOW_USER_NAMES + i and 1 + i. */
size_t
flow_user_count(const struct flow *f);
size_t
flow_unit_count(const struct flow *f);

/* A value of USER or UNIT for people. */
const char *
flow_user_name(struct flow *f, u128 v);
const char *
flow_unit_name(struct flow *f, u128 v);

#endif
