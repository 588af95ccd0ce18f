/*
 * vm: any nf_tables ruleset, executed symbolically, as a decision diagram.
 *
 * In: a dump (nl/dump.h), whoever wrote its rules. Out: a diagram over the packet fields
 * of flow/field.h, in a store of the caller's, so that two rulesets, or a ruleset and a
 * policy, mean the same when their diagrams, with their leaves named alike (fdd_map),
 * are one reference.
 *
 * A packet of the diagram is whole: no fragment, no IPv6 extension header, no
 * tunnel. Its fields are what it has when it comes to the first hook on its way; what
 * rules change on the way (marks, NAT) is followed. Ways: forward is prerouting,
 * forward, postrouting; output is output, postrouting; input is prerouting, input. On each
 * hook all base chains by priority.
 *
 * What rules decide by something that is no field is not guessed: both outcomes are kept
 * in the leaf, with the expression that was the cause. A limit, a quota, a meter
 * has both outcomes too: such a leaf is `may`.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow/fdd.h"

struct buf;
struct nl_chain;
struct nl_dump;
struct nl_rule;
struct vm;

/* What may become of a packet. */
enum vm_fate {
	VM_PASS,
	VM_DROP,
	VM_REJECT,
	VM_CAPTURE,                /* redirected to a port of this host, and passes */
	VM_MOVED,                  /* passes, to another address or port */
	VM_QUEUE,                  /* a program decides */
	VM_OTHER,                  /* what we cannot follow */
	VM_NFATE
};

/* Where an answer was not to be known. */
struct vm_cause {
	const struct nl_rule *rule; /* NULL: none, see why */
	uint32_t expr;             /* its number in the rule */
	const char *why;           /* "socket: not known at this hook" */
};

struct vm_leaf {
	uint32_t fates;            /* bit 1 << enum vm_fate for each that may be; never 0 */
	bool may;                  /* more than one because of limits and the like */
	bool unknown;              /* more than one because of what is no field, or VM_OTHER */
	const struct vm_cause *cause; /* of unknown; else NULL */
};

/* How this ruleset's numbers are called elsewhere. */
struct vm_name {
	uint64_t id;
	u128 value;                /* of FLOW_USER, FLOW_UNIT */
};

struct vm_iface {
	uint32_t index;
	const char *name;
};

struct vm_world {
	const struct vm_name *user; /* user ids that the other side knows by another value */
	size_t nuser;
	const struct vm_name *unit; /* cgroup ids; one may have several values */
	size_t nunit;
	const struct vm_iface *iface; /* interfaces; `lo` need not be there */
	size_t niface;
};

/* A reader of the dump d, whose diagrams stand in f. w may be NULL. All three must outlive it. */
struct vm *
vm_new(struct fdd *f, const struct nl_dump *d, const struct vm_world *w);

/* Frees all; NULL is fine. Returns NULL. The diagrams stay in their store. */
struct vm *
vm_free(struct vm *v);

/* The diagram of the ruleset over all packets; FDD_NONE when it would exceed the limit of the
 * store. The numbers of its leaves are vm_leaf()'s. */
fdd_ref
vm_read(struct vm *v);

/* A leaf of vm_read's diagram. */
const struct vm_leaf *
vm_leaf(const struct vm *v, uint32_t number);

/* What decided over a packet. */
struct vm_decider {
	const struct nl_rule *rule; /* the last that refused it, or let it pass; NULL: none did */
	const struct nl_chain *chain; /* with no rule: the base chain whose policy did; NULL: nothing
	                           looks at it */
};

/* What decides over the packet whose fields are x, for people: behind vm_read(), which told
 * its fate. False where no single rule does, as behind NAT, or it cannot be told; where one
 * rule made that so, it is in out. */
bool
vm_decide(struct vm *v, const u128 x[FLOW_NFIELD], struct vm_decider *out);

/* Adds a leaf for people: "pass or drop (not known: meta mark, ...)". */
void
vm_leaf_text(struct buf *out, const struct vm_leaf *l);

const char *
vm_fate_name(enum vm_fate x);

#endif
