/*
 * inside: what the files of lib/vm share and nobody else sees.
 *
 * Three kinds of diagram stand in one store, told apart by who holds them: conditions
 * (leaves NO, YES, and 2 + a cause: not known), results (leaves are sets of
 * outcomes), and what vm_read gives (leaves are vm_leaf's).
 */
#ifndef VM_INSIDE_H
#define VM_INSIDE_H

#include "flow/fdd.h"
#include "flow/ival.h"
#include "nl/dump.h"
#include "vm/vm.h"

struct arena;
struct hash_names;

/* ---- numbers of the kernel (linux/netfilter/nf_tables.h, linux/netfilter.h) ---- */

enum { HOOK_PRE, HOOK_IN, HOOK_FORWARD, HOOK_OUT, HOOK_POST, HOOK_INGRESS };
enum { NF_INET = 1, NF_IP = 2, NF_NETDEV = 5, NF_IP6 = 10 };
enum { OP_EQ, OP_NEQ, OP_LT, OP_LTE, OP_GT, OP_GTE };
enum { SET_INTERVAL = 4, SET_MAP = 8, SET_EVAL = 0x20, SET_CONCAT = 0x80 };
enum { PRIO_CONNTRACK = -200 };

enum {
	MOST_STATES = 512,         /* of a packet changed on its way, in one ruleset */
	MOST_OUTCOMES = 16,        /* of a leaf */
	MOST_SPLIT = 4096,         /* values that a map may give */
	MOST_CALLS = 17,           /* nested; the kernel has 16 */
	MOST_BLOCKS = 18,          /* bits of intervals for one masked comparison */
};

/* ---- conditions ------------------------------------------------------------------ */

#define NO fdd_leaf(0)
#define YES fdd_leaf(1)

static inline fdd_ref
not_known(uint32_t cause)
{
	return fdd_leaf(2 + cause);
}

/* ---- the packet on its way --------------------------------------------------------- */

/* What rules have changed; zeros: nothing. Compared by its bytes. A mark that is FIXED is
 * (as it came & keep) ^ is. Of state, FIXED is untracked; LOST, before tracking: a rule has
 * given the packet a template of a connection. */
enum { SAME, FIXED, LOST };        /* as it came; a value that we know; one that we do not */

struct changed {
	uint8_t mark, ctmark, dport, sport, dst4, dst6, src4, src6, state;
	uint8_t nat;               /* 0, else enum vm_fate VM_CAPTURE or VM_MOVED */
	uint8_t local;             /* redirected: its destination is this host */
	uint8_t pad;
	uint32_t mark_keep, mark_is, ctmark_keep, ctmark_is, dport_is, dst4_is;
	uint8_t dst6_is[16];
};

struct state {
	struct changed c;
	struct fdd_op over;        /* a, and b where a goes on in this state */
	struct fdd_op guard;       /* a where the condition holds, else on in this state */
	uint32_t may;              /* tag: or on in this state */
	uint32_t on;               /* leaf: on in this state */
	struct vm *v;
	uint32_t number;
};

/* ---- outcomes ---------------------------------------------------------------------- */

enum verb {
	V_NEXT,                    /* the next rule */
	V_RETURN,                  /* the chain's end */
	V_ACCEPT,                  /* the next base chain */
	V_DROP, V_REJECT, V_QUEUE, V_OTHER,
};

static inline uint32_t
outcome(enum verb v, uint32_t state)
{
	return state * 8 + v;
}

static inline enum verb
outcome_verb(uint32_t o)
{
	return (enum verb)(o % 8);
}

static inline uint32_t
outcome_state(uint32_t o)
{
	return o / 8;
}

enum { BY_LIMIT = 1, BY_UNKNOWN = 2 };

struct leaf {
	uint32_t n, why, cause;    /* cause: number + 1 */
	const uint32_t *o;         /* ascending */
};

/* ---- the reader --------------------------------------------------------------------- */

struct vm {
	struct arena *a;
	struct fdd *f;
	const struct nl_dump *d;
	struct vm_world w;
	struct fdd_op and, or, any;
	uint32_t not, end, rename[V_OTHER + 1][V_OTHER + 1];
	struct hash_names *leaves, *states, *causes, *finals, *memo, *written;
	struct leaf *leaf;
	struct state **state;
	struct vm_cause *cause;
	struct vm_leaf *final;
	size_t nleaf, capleaf, nstate, capstate, ncause, capcause, nfinal, capfinal;
	fdd_ref *done;             /* by memo's numbers */
	size_t ndone, capdone;
	uint32_t *first, *nrule;   /* of each chain: its rules in `order` */
	uint32_t *order;           /* rules, chain by chain */
	unsigned depth;
	bool marks;                /* some rule changes a packet and goes on */
	uint64_t unit_level;       /* of cgroup ids that nobody named; UINT64_MAX: several */
	const u128 *packet;        /* of vm_decide(); else NULL */
	const struct nl_elem *picked; /* for that packet, in the verdict map looked up last */
};

/* Where a rule is executed. */
struct place {
	enum { WAY_FORWARD, WAY_OUTPUT, WAY_INPUT } way;
	unsigned hook;             /* HOOK_* */
	uint8_t family;            /* of the table */
	bool early;                /* before connection tracking */
};

/* leaf.c */
uint32_t
leaf_of(struct vm *v, const uint32_t *o, uint32_t n, uint32_t why, uint32_t cause);
uint32_t
leaf_one(struct vm *v, enum verb verb, uint32_t state);
uint32_t
cause_of(struct vm *v, const struct nl_rule *r, uint32_t expr, const char *why);
/* The number of a state; 0 is the packet as it came. UINT32_MAX: too many. */
uint32_t
state_of(struct vm *v, const struct changed *c);
void
ops_init(struct vm *v);
/* Diagram of `a` or going on in state s, because of `why`. */
fdd_ref
may_go_on(struct vm *v, uint32_t s, fdd_ref a);
fdd_ref
cond_and(struct vm *v, fdd_ref a, fdd_ref b);
fdd_ref
cond_or(struct vm *v, fdd_ref a, fdd_ref b);
fdd_ref
cond_not(struct vm *v, fdd_ref a);
fdd_ref
guard(struct vm *v, uint32_t s, fdd_ref cond, fdd_ref a);
fdd_ref
over(struct vm *v, uint32_t s, fdd_ref a, fdd_ref b);
/* The states in which outcomes of the verb are reached in r; gives their number. */
size_t
states_in(struct vm *v, fdd_ref r, enum verb verb, uint32_t **out);
/* Verb `from` becomes `to`, in r. */
fdd_ref
verb_map(struct vm *v, fdd_ref r, enum verb from, enum verb to);

/* ---- values --------------------------------------------------------------------------- */

/* Where a byte of a register comes from. */
enum source {
	S_FIXED,                   /* a constant */
	S_LOST,                    /* not to be known; idx: expression */
	S_NFPROTO, S_ETHERTYPE, S_L4PROTO, S_STATE, S_DPORT, S_SPORT, S_FLAGS,
	S_SRC4, S_DST4, S_SRC6, S_DST6, S_UID, S_CGROUP, S_TIME, S_IIF, S_OIF,
	S_IIFX, S_OIFX,            /* by number */
	S_MARK, S_CTMARK, S_CTPORT, S_DSTTYPE,
	S_NSOURCE
};

/* (byte idx of the source, from the highest, & mask) ^ flip */
struct sym {
	uint8_t source, idx, mask, flip;
};

struct source_row {
	uint8_t bytes;
	enum flow_field field;
	bool plain;                /* its numbers are the field's values */
};

const struct source_row *
source_row(enum source s);

/* What a rule's execution knows while it goes from left to right. */
struct exec {
	struct vm *v;
	const struct nl_rule *rule;
	struct place at;
	uint32_t state;
	uint32_t now;              /* the expression */
	uint8_t level;             /* of the cgroup load */
	uint8_t newness;           /* 1: makes a connection, 2: does not, 0: either */
	uint8_t families;          /* bits 1 << enum addr_family that are still possible */
	uint64_t proto[4];         /* protocols that are */
	struct sym reg[NL_REGS * 4];
};

/* The condition that the source's number lies in s (finished). */
fdd_ref
source_among(struct exec *x, enum source s, const struct ivals *among);

/* Conditions on n bytes from register r on. i: number of the expression. */
fdd_ref
bytes_equal(struct exec *x, uint32_t i, unsigned r, const uint8_t *v, uint32_t n);
/* from <= bytes <= to, as memcmp orders. */
fdd_ref
bytes_between(struct exec *x, uint32_t i, unsigned r, const uint8_t *from, const uint8_t *to,
    uint32_t n);

/* The cause that the bytes hold something lost, else that `why`. */
uint32_t
bytes_cause(struct exec *x, uint32_t i, const struct sym *b, uint32_t n, const char *why);

/* x & m == want, of `bytes` bytes, as intervals; false: too many. */
bool
masked(struct vm *v, u128 m, u128 want, unsigned bytes, struct ivals *out);

/* set.c: each class of elements that lead to the same thing. */
struct found {
	const struct nl_elem *of;  /* one of the class; NULL with `none` */
	fdd_ref cond;
};

/* What looking up the bytes at register r finds: *out gets n classes, disjoint; for a set
 * that is no map at most one. *none: the condition that nothing is found. False: it
 * cannot be told, *none is that. */
bool
set_find(struct exec *x, uint32_t i, const struct nl_set *s, unsigned r,
    struct found **out, size_t *n, fdd_ref *none);

/* reg.c: registers. n bytes from register r on; a load leaves zeros to the end of the word. */
bool
reg_fits(unsigned r, uint32_t n);
/* The place for n bytes, zeroed; NULL: no such register. */
struct sym *
reg_clear(struct exec *x, unsigned r, uint32_t n);
void
reg_fixed(struct exec *x, unsigned r, const void *p, uint32_t n);
void
reg_number(struct exec *x, unsigned r, uint32_t host);
/* What cannot be known, since expression i. */
void
reg_lost(struct exec *x, unsigned r, uint32_t n, uint32_t i);
/* host: in the machine's byte order. */
void
reg_source(struct exec *x, unsigned r, enum source s, bool host);
/* Whether the bytes are constants, and which. */
bool
reg_is_fixed(const struct exec *x, unsigned r, uint32_t n, uint8_t *out);
void
reg_bitwise(struct exec *x, uint32_t i, const struct nl_expr *e);
void
reg_byteorder(struct exec *x, uint32_t i, const struct nl_expr *e);

/* head.c: the byte at offset o of a header, for packets of one family, of one kind of
 * protocol; expression i. */
void
head_network(struct exec *x, struct sym *b, uint32_t o, uint32_t i);
void
head_transport(struct exec *x, struct sym *b, uint32_t o, uint32_t i);
fdd_ref
head_payload(struct exec *x, uint32_t i, const struct nl_expr *e);

/* mark.c: S_MARK or S_CTMARK, with what rules have changed. */
void
mark_load(struct exec *x, uint32_t i, unsigned r, enum source s);
/* From a register into c. */
void
mark_store(const struct exec *x, unsigned r, enum source s, struct changed *c);
/* mark & ~mask ^ is */
void
mark_change(enum source s, struct changed *c, uint32_t mask, uint32_t is);
void
mark_lose(enum source s, struct changed *c);
/* Whether all bits of the mask are known, in *is. */
bool
mark_known(enum source s, const struct changed *c, uint32_t mask, uint32_t *is);

/* xt.c: iptables' extensions. */
fdd_ref
xt_match(struct exec *x, uint32_t i, const struct nl_expr *e);
fdd_ref
xt_target(struct exec *x, uint32_t i, const struct nl_expr *e);

/* nat.c: accepted, and changed. */
struct nat_to {
	bool addr, one_addr;       /* the destination's; one: and it is that */
	bool port, one_port;
	uint8_t n;                 /* 4, 16 */
	uint8_t addr_is[16];
	uint16_t port_is;
};

fdd_ref
nat_redirect(struct exec *x, uint32_t i, const struct nat_to *to);
fdd_ref
nat_destination(struct exec *x, uint32_t i, const struct nat_to *to);
fdd_ref
nat_source(struct exec *x, uint32_t i);
fdd_ref
rule_redirect(struct exec *x, uint32_t i, const struct nl_expr *e);
fdd_ref
rule_nat(struct exec *x, uint32_t i, const struct nl_expr *e);

/* cases.c */
fdd_ref
case_choose(struct exec *x, fdd_ref c, fdd_ref a, fdd_ref b);
bool
case_has_ports(unsigned p);
bool
case_is_tcp(unsigned p);
bool
case_is_udp(unsigned p);
fdd_ref
case_errors(struct vm *v);
int
case_protocols(const struct exec *x, bool (*of)(unsigned));
fdd_ref
case_by_protocol(struct exec *x, uint32_t i, bool (*of)(unsigned));
fdd_ref
case_by_family(struct exec *x, uint32_t i);
fdd_ref
case_in_states(struct exec *x, unsigned from, unsigned to);
void
case_narrow(struct exec *x, fdd_ref c);

/* rule.c: the rule from expression i on. It may change x. */
fdd_ref
rule_go(struct exec *x, uint32_t i);
/* rule.c: what has been changed; an outcome that we cannot follow. */
const struct changed *
rule_now(const struct exec *x);
fdd_ref
rule_other(struct exec *x, uint32_t i, const char *why);
/* rule.c: the next rule; and what is behind expression i: where the condition holds, where that
 * is not known, where chance lets it, in a changed state, without tracking. */
fdd_ref
rule_on(const struct exec *x);
fdd_ref
rule_guarded(struct exec *x, uint32_t i, fdd_ref c);
fdd_ref
rule_lost(struct exec *x, uint32_t i, const char *why);
fdd_ref
rule_perhaps(struct exec *x, uint32_t i);
fdd_ref
rule_change(struct exec *x, uint32_t i, const struct changed *c);
fdd_ref
rule_notrack(struct exec *x, uint32_t i);

/* rule.c: what a rule does in state s, and whether it may go on in another. */
fdd_ref
rule_run(struct vm *v, const struct nl_rule *r, struct place at, uint32_t s, bool *changes);

/* run.c: base chains in the order in which the kernel asks them. */
struct step {
	uint32_t chain;
	unsigned hook;
	int32_t priority;
	bool device;
};

struct way {
	struct step *v;
	size_t n;
};

void
ways_make(struct vm *v, struct way ways[3]);
/* Where a step's rules are executed. */
struct place
step_place(const struct vm *v, const struct step *st, unsigned way);

/* run.c: what the chain does. RETURN is the end of it. */
fdd_ref
chain_run(struct vm *v, uint32_t chain, struct place at, uint32_t s);
/* The number of a chain of the dump; UINT32_MAX. */
uint32_t
chain_find(struct vm *v, const struct nl_rule *r, const char *name);

#endif
