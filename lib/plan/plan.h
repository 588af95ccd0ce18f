/*
 * plan: what we ask of the kernel for one point of a policy.
 *
 * Plain indexed data: counters, sets, chains and their rules, as a good
 * administrator would have written them. Text, JSON and netlink are renderings
 * of one plan, so they cannot disagree silently. Indices go into the arrays of
 * struct plan; PLAN_NONE is no index.
 *
 * Order: a chain stands before every chain that jumps to it (and before every
 * map element that does), so creating chains in order never meets an unknown
 * one, and a jump can never make a loop.
 *
 * A plan shares memory with the policy that it was made from: both live in
 * the caller's arenas, and the policy's must outlive the plan.
 */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr/packet.h"
#include "addr/set.h"
#include "base/u128.h"
#include "text/diag.h"

struct arena;
struct buf;
struct policy;
struct policy_point;

#define PLAN_NONE UINT32_MAX

enum {
	PLAN_DIGEST = 32,          /* bytes of a SHA-256 */
	PLAN_COMMENT = 127,        /* bytes of a rule's comment, at most */
	PLAN_PREFIX = 127,         /* bytes of a log prefix, at most */
	PLAN_NAME = 200,           /* bytes of a name, at most */
	PLAN_MOST_RULE_MATCHES = 16,
	PLAN_DEPTH = 16,           /* calls are nested less deep: the kernel's limit */
	PLAN_LOG_GROUP = 587,      /* the nflog group of all our logging */
	PLAN_CAPTURE_PORT = 587,   /* where captured connections are redirected to */
	PLAN_METER_SIZE = 65535,   /* sources that a limit can tell apart */
	PLAN_SHARD_ABOVE = 16384,  /* a set of more ranges is split */
	PLAN_SHARD_MOST = 64,
};

/* What a set's elements are. Their length in the kernel: 4, 16, 2, 4. */
enum plan_key {
	PLAN_KEY_IPV4,
	PLAN_KEY_IPV6,
	PLAN_KEY_PORT,
	PLAN_KEY_UID,              /* names or decimal numbers, resolved on the host */
	PLAN_NKEY
};

enum plan_set_kind {
	PLAN_SET,
	PLAN_MAP,                  /* to verdicts */
	PLAN_METER,                /* filled by the kernel: sources under a limit */
	PLAN_NSET_KIND
};

enum plan_verdict_kind {
	PLAN_GO_ON,                /* no verdict: the next rule */
	PLAN_DO_ACCEPT,
	PLAN_DO_DROP,
	PLAN_DO_REJECT,            /* with tcp reset */
	PLAN_DO_RETURN,
	PLAN_DO_JUMP,
	PLAN_DO_GOTO,
	PLAN_DO_REDIRECT,          /* to PLAN_CAPTURE_PORT of this host; nat chains only */
	PLAN_NVERDICT
};

struct plan_verdict {
	enum plan_verdict_kind kind;
	uint32_t chain;            /* JUMP, GOTO; else PLAN_NONE */
};

/* Elements are ascending, disjoint ranges, both ends inclusive. */
struct plan_set {
	const char *name;          /* unique among all sets; NULL: anonymous */
	enum plan_set_kind kind;
	enum plan_key key;
	bool interval;             /* ranges; else single values, lo == hi */
	size_t n;
	const struct addr_range4 *v4;      /* the one of these four that `key` tells */
	const struct addr_range6 *v6;
	const struct port_range *port;
	const char *const *user;
	const struct plan_verdict *verdict; /* MAP: n of them */
	const char *const *comment; /* n of them, each may be NULL; or NULL. Provenance. */
	uint32_t timeout;          /* METER: seconds */
	uint32_t size;             /* METER: most elements */
};

struct plan_counter {
	const char *name;
};

/* What a match looks at. */
enum plan_field {
	PLAN_NFPROTO,              /* 2 IPv4, 10 IPv6 */
	PLAN_L4PROTO,
	PLAN_IIFNAME,              /* text */
	PLAN_OIFNAME,              /* text */
	PLAN_SADDR4, PLAN_DADDR4,  /* these imply NFPROTO 2 */
	PLAN_SADDR6, PLAN_DADDR6,  /* and these 10 */
	PLAN_DPORT,                /* of TCP: implies L4PROTO 6 */
	PLAN_TCP_FLAGS,            /* value & mask; implies L4PROTO 6 */
	PLAN_CT_STATE,             /* any of the bits in the mask */
	PLAN_CT_DPORT,             /* the destination port before any NAT */
	PLAN_TIME,                 /* seconds since 1970; nanoseconds in the kernel */
	PLAN_SKUID,                /* text, or a set of PLAN_KEY_UID */
	PLAN_CGROUP,               /* text: the path's first `level` names */
	PLAN_NFIELD
};

enum plan_op {
	PLAN_IS,
	PLAN_NOT,
	PLAN_LESS,                 /* TIME only */
	PLAN_LEAST,                /* TIME only: at least */
	PLAN_NOP
};

/* Bits of CT_STATE, as in the kernel (linux/netfilter/nf_conntrack_common.h). */
enum {
	PLAN_CT_INVALID = 1,
	PLAN_CT_ESTABLISHED = 2,
	PLAN_CT_RELATED = 4,
	PLAN_CT_NEW = 8,
	PLAN_CT_UNTRACKED = 64,
};

/* Bits of TCP_FLAGS (RFC 9293 section 3.1). */
enum { PLAN_FIN = 1, PLAN_SYN = 2, PLAN_RST = 4, PLAN_ACK = 16 };

struct plan_match {
	enum plan_field field;
	enum plan_op op;
	uint32_t set;              /* the set to look in; PLAN_NONE: lo..hi or text */
	u128 lo, hi;               /* a range; one value: lo == hi */
	uint32_t mask;             /* TCP_FLAGS, CT_STATE */
	uint32_t level;            /* CGROUP */
	const char *text;          /* IIFNAME, OIFNAME, SKUID, CGROUP */
};

/* A token bucket: `rate` a `unit`, `burst` at once. It matches while there is
 * a token; where it does not, or where the meter is full, the rule ends. */
struct plan_limit {
	uint64_t rate;             /* 0: no limit in this rule */
	uint32_t unit;             /* seconds: 1, 60, 3600, 86400 or 604800 */
	uint32_t burst;
	uint32_t meter;            /* a bucket for each source; PLAN_NONE: one for all */
	uint32_t prefix;           /* bits of the source that are one source: 32, 64 */
};

/* Executed from left to right: matches, limit, vmap, counter, log, verdict. A rule
 * with a vmap has no counter, log or verdict. */
struct plan_rule {
	struct plan_match *match;
	uint32_t nmatch;
	struct plan_limit limit;
	uint32_t vmap;             /* a map; PLAN_NONE */
	enum plan_field vmap_field; /* meaningful with vmap only */
	uint32_t counter;          /* PLAN_NONE */
	const char *log;           /* the prefix; NULL: no log */
	struct plan_verdict verdict;
	/* provenance: outside the digest */
	enum plan_verdict_kind observed; /* mode observe: what would have been done; else GO_ON */
	uint32_t stmt;             /* policy_stmt.id; PLAN_NONE: the plan's own rule */
	struct text_span at;       /* in the policy's text; not in a plan file */
	const char *comment;       /* at most PLAN_COMMENT bytes, no '"'; NULL */
};

enum plan_chain_type { PLAN_FILTER, PLAN_NAT, PLAN_NCHAIN_TYPE };

struct plan_chain {
	const char *name;
	bool entry;                /* a packet begins here: hook and type are meaningful */
	bool base;                 /* hooked by us; an entry without it is for the
	                              administrator's own ruleset to jump to */
	enum plan_chain_type type;
	enum packet_hook hook;
	int32_t priority;          /* of an entry: its place among those of the hook */
	struct plan_rule *rule;
	uint32_t nrule, caprule;
};

struct plan {
	const char *table;         /* family inet always */
	bool own_table;            /* all of it ours (else `as: chains`: only what bears our names) */
	struct plan_counter *counter; uint32_t ncounter, capcounter;
	struct plan_set *set; uint32_t nset, capset;
	struct plan_chain *chain; uint32_t nchain, capchain;
	uint8_t digest[PLAN_DIGEST]; /* of what is enforced */
	/* provenance: outside the digest */
	const char *policy, *point; /* names */
	bool observe;
};

/* The table, of family inet, that a point's rules are in. */
const char *
plan_table(const struct policy_point *pt);

/* The plan of a point. NULL when d got an error: what cannot be asked of the
 * kernel (codes E08xx). */
struct plan *
plan_of_point(struct arena *a, const struct policy *p,
    const struct policy_point *pt, struct diags *d);

/* ---- one packet --------------------------------------------------------- */

enum plan_fate {
	PLAN_UNTOUCHED,            /* no chain of ours gave a verdict */
	PLAN_ACCEPT,
	PLAN_REJECT,
	PLAN_DROP,
	PLAN_REDIRECT,
};

struct plan_answer {
	enum plan_fate fate;
	bool observed;             /* a rule would have refused, in mode observe */
	enum plan_fate would;      /* observed: what it would have done */
	uint32_t stmt;             /* whose rule decided (or would have); PLAN_NONE */
	bool limited;              /* it took a token on its way: over the limit its fate is another */
};

/* What the chains do with the packet, limits never exceeded. A TCP packet of
 * state NEW that is a SYN or not, as the packet says; no NAT by others. */
void
plan_eval(const struct plan *p, const struct packet *pk, struct plan_answer *out);

/* ---- bytes --------------------------------------------------------------- */

/* Computes the digest; plan_of_point() and plan_read() have done so. */
void
plan_seal(struct plan *p);

/* The plan file: magic, canonical bytes, digest, then the provenance. Integers are
 * big-endian; strings and lists are preceded by their length. */
void
plan_write(struct buf *out, const struct plan *p);

/* Whether the bytes begin as a plan file does. */
bool
plan_is(const void *bytes, size_t n);

/* Reads a plan file. Returns NULL and sets *plan (in the arena), or says in a
 * few words what is wrong. Nothing that it gives can lead plan_eval() or a printer out of
 * its arrays or into a loop. Bytes are referred to nowhere. */
const char *
plan_read(struct arena *a, const void *bytes, size_t n, struct plan **plan);

/* The digest in hexadecimal, NUL-terminated. */
void
plan_digest_text(const struct plan *p, char out[2 * PLAN_DIGEST + 1]);

/* ---- tables for printers --------------------------------------------------- */

/* "ipv4_addr", ...: the word of nft for a key; its length in bytes. */
const char *
plan_key_word(enum plan_key k);
unsigned
plan_key_len(enum plan_key k);

/* The seconds of a limit's unit as a word: "hour". */
const char *
plan_unit_word(uint32_t unit);

#endif
