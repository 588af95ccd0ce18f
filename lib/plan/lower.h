/*
 * lower: what the parts of the lowering share. Private to lib/plan.
 *
 * build.c reads a point's hooks, judge.c a judge's statements, and both hand
 * drafts of rules to emit.c, which knows how a match on a set too large for one
 * becomes chains; sets.c owns sets and names.
 */
#ifndef PLAN_LOWER_H
#define PLAN_LOWER_H

#include "base/arena.h"
#include "base/hash.h"
#include "plan/plan.h"
#include "policy/policy.h"

/* When and how large sets are split. */
struct split {
	size_t above;              /* sets of more ranges */
	size_t least;              /* a shard has so many at least, but for the last */
	size_t chance;             /* and then one range in so many begins the next */
};

extern const struct split split_usual;

/* An address set of the plan: one kernel set, or shards of it. */
struct lot {
	enum plan_key key;
	const void *v;             /* the ranges */
	size_t n;
	uint32_t set;              /* the first kernel set; shards follow it */
	uint32_t nshard;           /* 1: not split */
	const u128 *cut;           /* where each shard begins; cut[0] is 0 */
	const char *name;
	uint32_t next;             /* in its hash bucket */
};

/* A match that has not chosen its form yet. */
struct draft_match {
	struct plan_match m;
	uint32_t lot;              /* a lot of several shards; else PLAN_NONE */
};

struct draft {
	struct draft_match match[PLAN_MOST_RULE_MATCHES];
	uint32_t nmatch;
	struct plan_rule r;        /* match, nmatch unused */
};

/* A chain outside of a sharded set: see emit_not(). */
struct beyond {
	uint32_t lot, chain, made;
	enum plan_field field;
};

struct lower {
	struct arena *a;
	const struct policy *p;
	const struct policy_point *pt;
	struct diags *d;
	struct plan *plan;
	bool chains;               /* as: chains */
	const struct split *split; /* NULL: sets are not split */
	const char *prefix;        /* of every name: "" or "mailreeve-" */
	struct hash_names *name[3];
	struct lot *lot;
	uint32_t nlot, caplot;
	uint32_t *bucket, nbucket;
	uint32_t *counter;         /* by statement, PLAN_NONE: none yet */
	struct beyond *beyond;
	uint32_t nbeyond, capbeyond;
};

enum name_space { NAME_SET, NAME_CHAIN, NAME_COUNTER };

/* The ports that a chain sees. */
struct seen {
	bool all;
	bool limited;              /* all, but outside of set only what a limit counts matters */
	struct port_set set;
};

/* What a judge's chain is made for. */
struct bench {
	const struct policy_judge *judge;
	struct seen seen;          /* TCP ports that reach it */
	bool local;                /* packets of programs of this host */
	bool forwarded;            /* a copy for the forward hook of a host */
	bool nat;                  /* capture: refusals become redirects */
	struct plan_verdict pass;  /* what an allowed packet does */
};

/* ---- sets.c ---- */

/* A name that nft takes bare, unique in its space: prefix, the given text with odd
 * bytes replaced, and a number when it is taken. */
const char *
lower_name(struct lower *l, enum name_space sp, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The lot of the ranges of one family, made now if new. */
uint32_t
lower_lot(struct lower *l, enum addr_family f, const struct addr_set *s,
    const char *name);

/* A new set. */
uint32_t
lower_set(struct lower *l, struct plan_set s);

/* The number of a statement's counter, made now if new. */
uint32_t
lower_counter(struct lower *l, const struct policy_stmt *s);
uint32_t
lower_counter_new(struct lower *l, const char *name);

/* Whether the ranges of a family in x share an address with those in y, are
 * covered by those in y, are all addresses. Quick where either side is small. */
bool
lower_meets(enum addr_family f, const struct addr_set *x, const struct addr_set *y);
bool
lower_inside(enum addr_family f, const struct addr_set *x, const struct addr_set *y);
bool
lower_all(enum addr_family f, const struct addr_set *x);
size_t
lower_count(enum addr_family f, const struct addr_set *x);

/* Splits n ranges: gives the number of shards and where each begins, as an
 * index (first) and as an address (cut). At most PLAN_SHARD_MOST. */
uint32_t
lower_split(enum plan_key key, const void *v, size_t n, const struct split *by,
    size_t first[PLAN_SHARD_MOST], u128 cut[PLAN_SHARD_MOST]);

/* ---- emit.c ---- */

uint32_t
lower_chain(struct lower *l, const char *name);

/* Adds to a draft: a range of addresses or a set of them; ports; a number; text. */
void
draft_addr(struct lower *l, struct draft *r, enum plan_field field4, enum plan_op op,
    enum addr_family f, const struct addr_set *s, const char *name);
void
draft_ports(struct lower *l, struct draft *r, const struct port_set *s, const char *label);
void
draft_value(struct draft *r, enum plan_field f, enum plan_op op, u128 v);
void
draft_text(struct draft *r, enum plan_field f, const char *s, uint32_t level);
void
draft_days(struct draft *r, const struct policy_days *d);

/* A draft of a rule without matches. */
struct draft
draft_new(struct plan_verdict v);

/* Adds the rule to the chain, and to the chains behind it that it needs. */
void
lower_emit(struct lower *l, uint32_t chain, const struct draft *r);

/* A comment: "words, file:line, source", cut to fit. */
const char *
lower_comment(struct lower *l, const struct policy_meta *m, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define VERDICT(k) ((struct plan_verdict){.kind = (k), .chain = PLAN_NONE})
#define TO_CHAIN(k, c) ((struct plan_verdict){.kind = (k), .chain = (c)})

/* ---- judge.c ---- */

/* The TCP ports that the judge must see: those that it refuses, and where limits or
 * `as: chains` make an allowed packet special, those that it allows. False: none. */
bool
lower_seen(struct lower *l, const struct policy_judge *j, struct seen *out);

/* Whether it refuses anything, or limits. */
bool
lower_refuses(const struct policy_judge *j);

/* The chain of the judge's rules. */
uint32_t
lower_judge(struct lower *l, const struct bench *b);

/* Joins two sets of ports. */
struct seen
lower_join(struct lower *l, const struct seen *x, const struct seen *y);

/* The name and the comment of a judge's limit, and of what is made for it. */
const char *
lower_limit_name(struct lower *l, const struct policy_judge *j, size_t i);
const char *
lower_limit_comment(struct lower *l, const struct policy_limit *t);

/* What of the statement's ports reaches the chain; n 0: nothing. */
struct port_set
lower_visible(struct lower *l, const struct seen *x, const struct port_set *s);

/* "exempt physics-mta, policy.yaml:57, CAM-03" */
const char *
lower_stmt_comment(struct lower *l, const struct policy_stmt *s);

/* "institution-outbound": the judge in names. */
const char *
lower_judge_name(struct lower *l, const struct policy_judge *j);

/* ---- group.c ---- */

enum { LOWER_GROUP = 32 };         /* so many exemptions of one shape become a set */

/* Adds one rule and one set for each large group of exemptions that ask for nothing but a
 * source (and the same ports); gives which of the judge's statements are done with. */
bool *
lower_group(struct lower *l, const struct bench *b, uint32_t chain,
    struct plan_verdict allow);

/* ---- build.c ---- */

/* plan_of_point() with another way to split; for tests. */
struct plan *
lower_point(struct arena *a, const struct policy *p, const struct policy_point *pt,
    struct diags *d, const struct split *by);

/* ---- order.c ---- */

/* Renumbers: chains behind those that they call, entries last; chains, sets and counters
 * that nothing uses are dropped. Gives how deep calls are nested. */
uint32_t
lower_order(struct arena *a, struct plan *p);

#endif
