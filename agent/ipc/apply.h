/*
 * apply: the messages between the parent and the role apply, which alone touches the kernel's
 * rules. Every question has one answer with its id; events come with id 0.
 */
#ifndef IPC_APPLY_H
#define IPC_APPLY_H

#include "ipc/ipc.h"

enum { APPLY_MOST_PLAN = 512 << 20, APPLY_MOST_NAMES = 400, APPLY_DIGEST = 32,
       APPLY_MOST_COUNTERS = 1000 };

/* What the parent asks. */
enum apply_ask {
	APPLY_DO = 1,   /* apply_do, fd 0: plan file. Put this plan in force -> APPLY_DONE */
	APPLY_HOST,     /* apply_host: users and control groups have other numbers now -> APPLY_DONE */
	APPLY_RECORD,   /* - : a recording (nl/record.h) of the whole ruleset -> APPLY_RECORDED */
	APPLY_BLOCK,    /* apply_block -> APPLY_DONE */
	APPLY_COUNT,    /* - : the named counters -> APPLY_COUNTED */
	APPLY_CHECK,    /* - : look at what is in force, now, set by set -> APPLY_CHECKED */
	APPLY_REMOVE,   /* - : take down the plan that is in force, and the blocks. Without
	                   one err is 0 and text says that no rules were -> APPLY_DONE */
	APPLY_PAUSE,    /* apply_pause: do not heal (an administrator is at work) -> APPLY_DONE */
	APPLY_NASK
};

/* What the role tells. */
enum apply_tell {
	APPLY_DONE = 1,  /* apply_done */
	APPLY_RECORDED,  /* apply_recorded, fd 0: the recording */
	APPLY_COUNTED,   /* apply_counted */
	APPLY_CHECKED,   /* apply_checked */
	APPLY_EVENT,     /* apply_event, id 0; DRIFT with a recording made before healing as fd 0 */
	APPLY_NTELL
};

/* A name of the plan and its number on this host. */
enum apply_name_kind { APPLY_USER, APPLY_UNIT };
struct apply_name {
	uint32_t kind;
	const char *name;          /* as the plan has it: a user; a control group's path */
	uint64_t value;            /* uid; inode of the folder. UINT64_MAX: no such (a unit that
	                              does not run: the rule matches nothing) */
};

/* The number by which the kernel is asked for the name: its value; for one that is not on this
 * host a number that nobody has, of its own, so that two such names stay two: a user id from
 * 0xf0000000 up, an inode from 2^63 up. The same in every process. */
uint64_t
apply_number(const struct apply_name *n);

struct apply_do {
	uint32_t gen;              /* the generation that the kernel must be at; 0: any */
	struct apply_name *name;
	uint32_t nname;
};

struct apply_host {
	struct apply_name *name;
	uint32_t nname;
};

struct apply_block {
	const char *address;       /* an address, or a prefix */
	uint64_t seconds;          /* for so long; 0: unblock */
};

struct apply_pause {
	uint64_t seconds;          /* 0: go on */
};

struct apply_done {
	uint32_t err;              /* errno, 0: done and in force */
	uint32_t gen;              /* the kernel's generation afterwards */
	const char *text;          /* what failed, in words; "" */
	uint64_t stage_us, swap_us; /* microseconds, over all tries */
	uint32_t changes;          /* objects made and deleted; 0: it was in force already */
	uint32_t tries;            /* with other generations, ERESTART */
};

struct apply_recorded {
	uint32_t err, gen;
	const char *text;
};

/* The name of that which counts what blocked addresses sent or were sent; no statement has a name with a space. */
#define APPLY_BLOCKED_COUNTER "blocked by hand"

struct apply_counter {
	const char *name;
	uint64_t packets, bytes;
};
struct apply_counted {
	uint32_t err;
	struct apply_counter *counter;
	uint32_t ncounter;
	const char *text;
};

/* The self-check. */
struct apply_checked {
	uint32_t err;
	uint32_t gen;
	uint32_t in_force;         /* 1: all that the plan names is there, element by element */
	uint32_t owner, persist;   /* 1: the role owns the table; the table is flagged so */
	const uint8_t *digest;     /* the stamp's */
	uint32_t ndigest;
	const char *features;      /* what this kernel has, a line each */
	const char *text;          /* what is wrong; "" */
	uint64_t polls, heals;     /* since start */
};

enum apply_event_kind {
	APPLY_NOTE,                /* said at start: fallbacks, an orphan adopted again */
	APPLY_DRIFT,               /* ours was changed by another; while that is not healed also each
	                              further change. HEALED is of all that were told before */
	APPLY_HEALED,
	APPLY_HEAL_FAILED,
	APPLY_BACKS_OFF,           /* the same program keeps at it: healed again in `us` */
	APPLY_FOREIGN,             /* other tables changed; what that means the parent has judged */
	APPLY_LOST,                /* the netlink socket, or the table's ownership, was lost */
	APPLY_NEVENT
};

struct apply_event {
	uint32_t kind;
	uint32_t gen;
	uint32_t pid;              /* who committed it, by the kernel's NEWGEN; 0: not known */
	const char *program;       /* its name there (16 bytes at most); "" */
	uint32_t uid;              /* of pid while it could be asked; UINT32_MAX: not known */
	const char *exe;           /* its executable where it could still be read; "" */
	const char *what;          /* "rule 3 of chain out deleted; set x has 2 elements more" */
	uint64_t us;               /* HEALED: from seen to healed; DRIFT, BACKS_OFF: until it will be
	                              healed (0: at once), which `what` says in words too */
	uint32_t times;            /* how often this program did it in the last hour */
};

extern const struct ipc_shape apply_name_shape;
extern const struct ipc_shape apply_ask_shape[APPLY_NASK];   /* size 0: no body */
extern const struct ipc_shape apply_tell_shape[APPLY_NTELL];

#endif
