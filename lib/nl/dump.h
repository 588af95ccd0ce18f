/*
 * dump: what the kernel says that it holds, as plain structs.
 *
 * Pure bytes: messages of a dump in, structs out (talk.h fetches them). Any
 * ruleset can be read, not ours alone, and nothing in the bytes is believed: what is
 * short, long or odd is -EBADMSG, what is unknown is kept as NL_UNKNOWN with its
 * name. Everything lives in the arena; names are NUL-terminated.
 *
 * Registers are numbered in units of 4 bytes: 0..3 is the verdict, 4..19 the
 * data (NFT_REG_1 is 4, NFT_REG32_01 is 5, NFT_REG_2 is 8). NL_NO_REG is none.
 * Numbers are the kernel's, of linux/netfilter/nf_tables.h, where no enum is given.
 */
#ifndef NL_DUMP_H
#define NL_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct buf;

enum {
	NL_VERDICT_REG = 0,
	NL_DATA_REG = 4,
	NL_REGS = 20,
	NL_NO_REG = 255,
	NL_MOST_DATA = 64,         /* bytes of a value, a mask, a key, at most */
	NL_MOST_EXPRS = 128,       /* of a rule: the kernel's limit */
	NL_MOST_FIELDS = 16,       /* of a concatenation */
};

struct nl_bytes {
	const uint8_t *p;
	uint32_t n;
};

/* A verdict's code: 0 drop, 1 accept, 3 queue; negative: below. */
enum {
	NL_CONTINUE = -1,
	NL_BREAK = -2,
	NL_JUMP = -3,
	NL_GOTO = -4,
	NL_RETURN = -5,
};

struct nl_verdict {
	int32_t code;
	const char *chain;         /* JUMP, GOTO; else NULL */
};

enum nl_kind {
	NL_UNKNOWN,
	NL_PAYLOAD, NL_META, NL_CT, NL_FIB, NL_SOCKET, NL_RT, NL_EXTHDR,
	NL_NUMGEN, NL_HASH, NL_OSF, NL_XFRM, NL_TUNNEL,
	NL_CMP, NL_RANGE, NL_BITWISE, NL_BYTEORDER,
	NL_LOOKUP, NL_DYNSET, NL_OBJREF,
	NL_IMMEDIATE, NL_REJECT, NL_NAT, NL_MASQ, NL_REDIR, NL_TPROXY, NL_QUEUE,
	NL_DUP, NL_FWD, NL_SYNPROXY, NL_FLOW,
	NL_COUNTER, NL_LOG, NL_LIMIT, NL_QUOTA, NL_CONNLIMIT, NL_LAST, NL_NOTRACK,
	NL_XT_MATCH, NL_XT_TARGET,
	NL_NKIND
};

/* One expression. What a kind does not list in the union it has not. */
struct nl_expr {
	enum nl_kind kind;
	const char *name;          /* the kernel's: "payload" */
	union {
		struct {           /* load; or sreg: write into the packet */
			uint32_t base, offset, len;
			uint8_t dreg, sreg;
		} payload;
		struct {           /* meta, rt, osf, xfrm, tunnel: load; meta's sreg: set */
			uint32_t key;
			uint8_t dreg, sreg;
		} meta;
		struct {           /* load; or sreg: set */
			uint32_t key;
			uint8_t dreg, sreg;
			int dir;   /* 0 original, 1 reply; -1: none */
		} ct;
		struct {
			uint32_t result, flags;
			uint8_t dreg;
		} fib;
		struct {
			uint32_t key, level;
			uint8_t dreg;
		} socket;
		struct {
			uint32_t type, offset, len, flags, op;
			uint8_t dreg, sreg;
		} exthdr;
		struct {           /* numgen, hash */
			uint32_t type, modulus, offset;
			uint8_t dreg, sreg;
			uint32_t len, seed;
		} number;
		struct {
			uint32_t op;
			uint8_t sreg;
			struct nl_bytes v;
		} cmp;
		struct {
			uint32_t op;
			uint8_t sreg;
			struct nl_bytes from, to;
		} range;
		struct {           /* op 0: (sreg & mask) ^ flip; 1, 2: shifts by data */
			uint32_t op, len;
			uint8_t sreg, dreg;
			struct nl_bytes mask, flip, data;
		} bitwise;
		struct {
			uint32_t op, len, size;
			uint8_t sreg, dreg;
		} byteorder;
		struct {           /* dreg: a map; 0..3: to verdicts */
			const char *set;
			uint8_t sreg, dreg;
			bool invert;
		} lookup;
		struct {
			const char *set;
			uint32_t op;
			uint8_t key, data;
			uint64_t timeout; /* milliseconds */
			const struct nl_expr *expr; /* what each element holds */
			uint32_t nexpr;
		} dynset;
		struct {           /* set: by map, with sreg; else an object's name */
			const char *object, *set;
			uint32_t type;
			uint8_t sreg;
		} objref;
		struct {           /* n 0: a verdict */
			uint8_t dreg;
			struct nl_bytes v;
			struct nl_verdict verdict;
		} immediate;
		struct {
			uint32_t type;
			uint8_t code;
		} reject;
		struct {           /* nat, masq, redir, tproxy, dup, fwd */
			uint32_t type, family, flags;
			uint8_t addr_min, addr_max, port_min, port_max;
		} nat;
		struct {
			uint16_t num, total, flags;
			uint8_t sreg;
		} queue;
		struct {           /* log; group -1: to the kernel's log */
			const char *prefix;
			int group;
			uint32_t snaplen, level;
		} log;
		struct {           /* limit, quota (rate: bytes), connlimit (rate: count) */
			uint64_t rate, unit;
			uint32_t burst, type;
			bool over;
		} limit;
		struct {
			uint64_t packets, bytes;
		} counter;
		struct {           /* an iptables extension, as its C struct */
			const char *ext;
			uint32_t rev;
			struct nl_bytes info;
		} xt;
	} u;
};

struct nl_table {
	uint8_t family;            /* NFPROTO_*: 1 inet, 2 ip, 10 ip6, ... */
	const char *name;
	uint32_t flags, owner;     /* owner: the netlink port, 0: none */
	uint64_t handle;
	struct nl_bytes udata;
};

struct nl_chain {
	uint8_t family;
	const char *table, *name;
	uint64_t handle;
	uint32_t use, flags;       /* use: rules and references */
	bool base;                 /* and if so: */
	const char *type;
	uint32_t hook, policy;     /* NF_INET_*; 0 drop, 1 accept */
	int32_t priority;
	const char *device;        /* netdev and ingress: the first; else NULL */
	struct nl_bytes udata;
};

/* One boundary or element, as the kernel has it: an interval of an rbtree set is an
 * element and one with `end`, its exclusive end. */
struct nl_elem {
	const uint8_t *key, *key_end; /* set->key_len bytes; key_end: concatenated ranges, else NULL */
	const struct nl_elem_more *more; /* NULL: nothing more is said */
	bool end, catchall;        /* catchall: key is NULL */
};

struct nl_elem_more {
	struct nl_verdict verdict; /* a verdict map's */
	struct nl_bytes data;      /* another map's */
	const char *object;        /* an object map's */
	uint64_t timeout, expires; /* milliseconds; 0: none */
	struct nl_bytes udata;
	const struct nl_expr *expr;
	uint32_t nexpr;
};

struct nl_set {
	uint8_t family;
	const char *table, *name;
	uint64_t handle, timeout;
	uint32_t flags, key_type, key_len, data_type, data_len, obj_type, size;
	uint32_t count;            /* of elements, by the kernel; UINT32_MAX: it does not say */
	uint8_t field[NL_MOST_FIELDS]; /* of a concatenation: bytes of each */
	uint32_t nfield;
	struct nl_bytes udata;
	struct nl_elem *elem;      /* where elements were asked for, in the kernel's order */
	uint32_t nelem, capelem;
};

struct nl_object {
	uint8_t family;
	const char *table, *name;
	uint32_t type, use;        /* 1: a counter */
	uint64_t handle, packets, bytes;
	struct nl_bytes udata;
};

struct nl_rule {
	uint8_t family;
	const char *table, *chain;
	uint64_t handle;
	struct nl_expr *expr;
	uint32_t nexpr;
	const char *comment;       /* of nft's user data; NULL */
	struct nl_bytes udata;
};

struct nl_dump {
	uint32_t genid;            /* of which generation all this is */
	struct nl_table *table;
	struct nl_chain *chain;
	struct nl_set *set;
	struct nl_object *object;
	struct nl_rule *rule;      /* chain after chain, in order of execution */
	uint32_t ntable, captable, nchain, capchain, nset, capset, nobject, capobject,
	    nrule, caprule;
	uint32_t at;               /* the set whose elements came last */
	uint8_t *pool;             /* room for keys */
	size_t npool;
};

/* Adds what one message (with its head, n bytes, whole) tells; messages of other kinds
 * are passed over. 0 or -EBADMSG. */
int
nl_dump_add(struct arena *a, struct nl_dump *d, const void *message, size_t n);

/* What has the name; NULL when nothing has. */
const struct nl_table *
nl_dump_table(const struct nl_dump *d, uint8_t family, const char *name);
const struct nl_chain *
nl_dump_chain(const struct nl_dump *d, uint8_t family, const char *table, const char *name);
const struct nl_set *
nl_dump_set(const struct nl_dump *d, uint8_t family, const char *table, const char *name);
const struct nl_object *
nl_dump_object(const struct nl_dump *d, uint8_t family, const char *table, const char *name);

/* Reads a list of expressions (attributes NFTA_LIST_ELEM). 0 or -EBADMSG. */
int
nl_exprs_read(struct arena *a, const uint8_t *p, size_t n, struct nl_expr **out,
    uint32_t *nout);

/* Adds one expression as a line of text for people and for comparing, without a line
 * break: "payload 2 @ transport + 2 -> r4". Counters and limits without their state. */
void
nl_expr_text(struct buf *b, const struct nl_expr *e);

/* Adds a verdict: "accept", "jump CHAIN". */
void
nl_verdict_text(struct buf *b, struct nl_verdict v);

#endif
