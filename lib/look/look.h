/*
 * look: what people ask of policies: explain, lint, diff, test. Diagrams and
 * policies in, records out; printing is gen's.
 */
#ifndef LOOK_LOOK_H
#define LOOK_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow/flow.h"
#include "policy/policy.h"

/* ---- explain ----------------------------------------------------------- */

struct look_said {
	const struct policy_stmt *stmt;
	bool decided;              /* one of those that decide; else overruled */
	bool asleep;               /* would match, but not on this day */
};

struct look_explain {
	const struct policy_point *point;
	struct packet packet;
	struct flow_leaf leaf;
	enum flow_verdict fate;    /* what happens to the packet: with observe, UNTOUCHED */
	const char *why;           /* one sentence for people */
	struct look_said *said;    /* the deciding ones first, then the overruled by precedence */
	size_t nsaid;
	const char *limits;        /* "" or what else may refuse it */
	uint64_t until;            /* the verdict is the same until this second; UINT64_MAX */
};

/* What the point does with the packet, and who said so. The overruled are found
 * from the typed policy, not from the diagram; the two are compared and a
 * difference is an assertion. */
void
look_explain(struct arena *m, struct flow *f, flow_ref r,
    const struct policy_point *pt, const struct packet *p, struct look_explain *out);

/* ---- lint -------------------------------------------------------------- */

struct look_lint_options {
	uint64_t now;              /* seconds since 1970; 0: say nothing of dates passed */
	uint64_t window;           /* seconds ahead in which an expiry is told */
};

/* Adds warnings and notes: statements that decide nothing, expired or soon
 * expiring exemptions, and the warnings that the requirements mark lint. */
void
look_lint(struct arena *m, struct flow *f, const struct policy *p,
    const struct look_lint_options *o, struct diags *d);

/* ---- diff ---------------------------------------------------------------- */

enum look_area { LOOK_TRAFFIC, LOOK_MESSAGES, LOOK_METADATA };

/* One change of what messages may do, or of metadata: "relay ser:
 * message-size", "below 5 MB", "up to 10 MB". was/now NULL: not there. */
struct look_change {
	enum look_area area;
	const char *subject;       /* "relay ser", "application web-forms", "point firewall" */
	const char *what;          /* "message-size", "endpoint 587" */
	const char *was, *now;
	struct text_span was_at, now_at; /* in the text set of its own policy */
	bool widens, narrows;      /* where it can be told */
};

struct look_point_diff {
	const char *name;
	const struct policy_point *was, *now; /* NULL: only on the other side */
	struct flow_diff diff;
};

struct look_diff {
	bool strict;               /* GIVEN by the caller: tell UNTOUCHED from ALLOW too */
	struct look_point_diff *point;
	size_t npoint, cappoint;
	struct look_change *change; /* in a fixed order */
	size_t nchange, capchange;
	bool traffic, messages, metadata; /* whether anything changed there */
};

/* Compares two policies. A renamed network, a reordering, another way to write
 * the same ranges is no change. Points are paired by name. Returns 0, or -E2BIG
 * with the reason in d. */
int
look_diff(struct arena *m, struct flow *f, const struct policy *was,
    const struct policy *now, struct diags *d, struct look_diff *out);

/* The part that compares messages and metadata only (look/records.c). */
void
look_diff_records(struct arena *m, const struct policy *was,
    const struct policy *now, struct look_diff *out);

/* ---- test ---------------------------------------------------------------- */

struct look_result {
	const struct policy_test *test;
	bool ok;
	const char *label;         /* "firewall: tcp a -> b:25 on 2027-04-01" */
	const char *got;           /* "reject by block, policy.yaml:57" */
	uint64_t when;             /* the second at which it differs, when undated */
};

struct look_results {
	struct look_result *v;
	size_t n, failed;
};

/* Runs the policy's own tests. An undated packet test must hold on every day;
 * a dated one over its whole day. */
int
look_test(struct arena *m, struct flow *f, const struct policy *p,
    struct diags *d, struct look_results *out);

#endif
