/*
 * prove: what a ruleset does in a real kernel, compared with what a policy means.
 *
 * The rules are loaded into a network namespace that nobody else sees, read back as the
 * kernel's own bytecode, executed symbolically (lib/vm) in the store of the policy's
 * diagram, and compared over all packets.
 *
 * The namespace is made by a child that lives for a moment: it opens a netlink socket
 * there, which the parent keeps. A socket holds its namespace, so all work is done by the
 * caller's own process, and the namespace ends with the socket, however the process
 * ends. A user who is not root is root there alone (user_namespaces(7)). To be called where
 * the process has one thread.
 */
#ifndef PROVE_PROVE_H
#define PROVE_PROVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr/packet.h"
#include "flow/flow.h"

struct arena;
struct nl_dump;
struct nl_host;
struct plan;

/* How reality is not what the policy says. */
enum prove_kind {
	PROVE_ALLOWS,              /* passes what is to be refused */
	PROVE_FORBIDS,             /* refuses what is to pass */
	PROVE_MAY,                 /* either, by a limit that the policy has not, or has and it has not */
	PROVE_OTHERWISE,           /* passes in another way, captured or moved; refuses in another way, if strict */
	PROVE_UNKNOWN,             /* what cannot be known: see `why` */
	PROVE_NKIND
};

/* A rule as the kernel has it. */
struct prove_rule {
	const char *family, *table, *chain; /* family: "inet" */
	uint64_t handle;
	uint32_t number;           /* in its chain, from 1; 0: the policy of a base chain */
	const char *comment;       /* NULL: none */
	const char *text;          /* its bytecode in a line; of a chain's policy "policy drop" */
};

/* A region of packets with one meaning and one reality. Of two rulesets the meaning is what
 * the first does. */
struct prove_region {
	struct {
		const struct flow_ival *v;
		size_t n;          /* 0: all of the field */
	} field[FLOW_NFIELD];
	enum prove_kind kind;
	const char *meant, *is;    /* "reject"; "pass or drop (by a limit)" */
	uint32_t fates;            /* what may become of the witness: bits 1 << enum vm_fate */
	bool unknown;              /* which of them cannot be known */
	u128 x[FLOW_NFIELD];       /* a packet of it */
	struct packet witness;     /* the same packet, without what policies do not ask */
	const struct flow_leaf *leaf; /* what the policy says of the witness; NULL: there is no policy */
	const struct prove_rule *rule; /* what decides for the witness; NULL: no rule does, or
	                              none alone */
	const struct prove_rule *was; /* the same of the first ruleset, where there is one */
};

/* What a number in a ruleset is called: a user's id, the inode of a control group's folder
 * (its path below /sys/fs/cgroup), an interface's index. */
struct prove_name {
	const char *name;
	uint64_t id;
};

/* The names of the machine that a dump is of: those that the policy, or the other ruleset,
 * speaks of are enough. A number without a name is itself; a name without a number is nobody
 * there. */
struct prove_world {
	const struct prove_name *user, *unit, *iface;
	size_t nuser, nunit, niface;
};

/* What could not be done, where the outcome is an errno. */
enum prove_step {
	PROVE_SPACE,               /* this machine does not let us make a namespace */
	PROVE_LOAD,                /* the kernel, or nft, does not take the rules */
	PROVE_READ,                /* reading them back */
	PROVE_EXECUTE,             /* -E2BIG: a diagram of more nodes than the store may have */
};

struct prove {
	/* given */
	struct arena *a;
	struct flow *flow;         /* which made `meant` */
	flow_ref meant;
	bool strict;               /* what no statement speaks of must pass, and drop is not reject; else
	                              it may do what it likes, and both are refusals */
	bool observe;              /* the point only observes: its limits refuse nothing */
	size_t most;               /* regions to tell at most */
	const struct nl_host *host; /* how this machine numbers users and control groups, for
	                              prove_file and prove_live; NULL: not known */
	/* left */
	enum prove_step step;
	const char *who;           /* what it was about, with the kernel's or nft's words; NULL */
	struct prove_region *region; /* disjoint */
	size_t nregion;
	bool truncated;            /* there are more */
};

/* Outcomes; a machine's failure is a negative errno, with step and who. */
enum { PROVE_EQUAL = 0, PROVE_DIFFERS = 1 };

/* A plan, loaded by lib/nl as an agent would. Users and units need not be on this machine:
 * they get numbers that nobody has. Chains for an administrator's own ruleset (`as: chains`)
 * are hooked where she would. */
int
prove_plan(struct prove *p, const struct plan *plan);

/* Any ruleset as text, loaded by the program nft where it is installed (-ENOENT: it is
 * not); "-" is standard input. -EINVAL: nft does not take it, and `who` is what it says. The
 * file is opened, and what it includes, with the rights of the caller. */
int
prove_file(struct prove *p, const char *path);

/* The ruleset of this process's own network namespace, which is only read. -EPERM: that needs
 * CAP_NET_ADMIN. */
int
prove_live(struct prove *p);

/* Where a ruleset comes from. */
enum prove_from {
	PROVE_PLAN,                /* `plan`, as prove_plan() */
	PROVE_FILE,                /* `path`, as prove_file() */
	PROVE_LIVE,                /* as prove_live() */
};

struct prove_source {
	enum prove_from from;
	const struct plan *plan;
	const char *path;
};

/* Any of the three above. */
int
prove_source(struct prove *p, const struct prove_source *s);

/* Two rulesets with each other, as prove_dumps(). */
int
prove_sources(struct prove *p, const struct prove_source *was, const struct prove_source *is);

/* A dump with all its rules and elements (nl/record.h), of a kernel that we need not reach: no
 * namespace, no socket, no file. w may be NULL. */
int
prove_dump(struct prove *p, const struct nl_dump *d, const struct prove_world *w);

/* Two dumps with each other, in the store p->flow, without a policy: p->meant is not read.
 * Regions where their fates differ; kinds as if `was` were the policy, which speaks of every
 * packet. What cannot be known is alike where it is for the same reason in a rule with
 * the same text; limits are alike, whatever their rate. */
int
prove_dumps(struct prove *p, const struct nl_dump *was, const struct prove_world *was_world,
    const struct nl_dump *is, const struct prove_world *is_world);

#endif
