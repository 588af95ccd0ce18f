/*
 * apply: the role apply, in parts. Private to the files apply*.c.
 *
 *   apply.c        the loop, the questions and their answers
 *   apply_put.c    a plan into force: edit, or stage, swap and sweep, with the
 *                  generation compared each time
 *   apply_drift.c  whether it is still in force; what others have; healing
 *   apply_block.c  addresses blocked for a time
 */
#ifndef ROLE_APPLY_H
#define ROLE_APPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "ipc/apply.h"
#include "nl/batch.h"
#include "nl/block.h"
#include "nl/talk.h"
#include "nl/watch.h"
#include "nl/who.h"
#include "role/role.h"

struct arena;

enum {
	APPLY_TICK_MS = 50,        /* the kernel's generation is asked for so often */
	APPLY_HEARD_MS = 250,      /* where commits are heard anyhow, and nothing waits to be done */
	APPLY_TRIES = 10,          /* of anything that others can get in the way of */
	APPLY_OWN = 64,            /* commits of ours that are remembered */
	APPLY_CULPRITS = 16,
	APPLY_BLOCKS = 1024,       /* prefixes blocked at a time */
	APPLY_WORDS = 1000,        /* bytes of an error's text */
};

/* The counter of the table of blocks (lib/nl/block.c). */
#define NL_BLOCK_COUNTER "blocked"

/* Said where this process, not the kernel, has no memory. */
#define APPLY_NO_MEMORY "the agent has no memory for it: is there a limit on the unit (MemoryMax=)?"

/* A plan that is in force: as it was read, and as it stands in the kernel. */
struct apply_plan {
	struct arena *read;        /* owns plan and names */
	struct plan *plan;
	struct apply_name *name;
	uint32_t nname;
	struct arena *formed;      /* owns form, watch, sure, bad */
	struct nl_form *form;
	struct nl_watch *watch;
	uint32_t *sure;            /* of each set: the generation in which its elements were the
	                              plan's, 0: not known */
	bool *bad;                 /* of each set: under its name the kernel holds something else */
	uint32_t flags;            /* of its table */
};

struct apply_culprit {
	char name[NL_WHO_NAME + 1]; /* "": not known */
	uint64_t last;             /* microseconds; 0: free */
	uint32_t times;
};

struct apply_blocked {
	struct nl_prefix prefix;
	uint64_t until;            /* microseconds */
};

struct apply {
	const struct role_apply *opt;
	struct nl_talk *t;
	struct nl_who *who;        /* NULL: commits are not heard */
	struct apply_plan *now;    /* NULL: none */
	uint32_t port;             /* the socket's name as an owner */
	uint32_t table_flags;      /* of those that this kernel has, what a new table gets */
	bool in_place;             /* sets in use can be changed (struct nl_job) */
	char *features;            /* what this kernel has, a line each */
	struct { uint32_t from, to; } own[APPLY_OWN]; /* generations behind our own commits */
	uint32_t nown;
	bool gone;                 /* the channel has closed */
	uint32_t starved;          /* times that there was no memory */
	uint64_t starved_until;    /* microseconds; no look before */

	uint32_t gen;              /* in which the table was last looked at */
	bool drifted;              /* and was not as it should be: told, to be healed */
	bool bad_plan, bad_block;  /* what: the plan's table, that of blocks */
	bool busy;                 /* something waits: elements, a heal, others */
	bool look_again;           /* though the generation is the same */
	bool bad_set, bad_chain;   /* what cannot be mended under its present name; sets: now->bad */
	uint64_t seen, heal_at;    /* microseconds */
	struct nl_committer by;    /* of the drift that was seen last; all zero: not known */
	uint32_t times;            /* how often within the hour */
	char words[NL_MOST_WORDS + 128];
	uint64_t told;             /* hash of the differences that were told last */
	uint64_t told_next;        /* what came on top of them not before */
	uint64_t told_gap;
	uint32_t told_gen;         /* generation of that telling */
	bool told_more;            /* something came on top */
	uint32_t fails;            /* to heal, in a row */
	uint32_t lost;             /* questions without an answer, in a row */
	uint64_t paused;           /* until then; 0: not */
	struct apply_culprit culprit[APPLY_CULPRITS];
	uint32_t next_set;         /* whose elements are to be compared */
	int64_t credit;            /* microseconds of such work that may be done now */
	uint64_t credit_at;
	uint64_t cost;             /* nanoseconds to read an element, lately */
	uint64_t next_look;        /* not before */
	uint32_t deaf_gen;         /* up to this one commits may have been missed */
	uint64_t unheard;          /* since when a commit's end is waited for; 0 */

	struct arena *others_in;   /* owns others */
	struct nl_others others;
	uint32_t others_gen;       /* 0: not known yet */
	uint64_t others_next;

	struct apply_blocked *blocked; /* APPLY_BLOCKS places */
	uint32_t nblocked, block_gen;
	bool block_ours;           /* the table is there by us */
	uint64_t block_put;        /* microseconds: when it was filled last */
	uint64_t polls, heals;
};

/* ---- apply.c ---- */

/* Microseconds of a clock that never goes back. */
uint64_t
apply_clock(void);

/* Sends an answer or an event; waits for room for a second. */
void
apply_tell(struct apply *x, uint32_t type, uint32_t id, const void *body, int fd);
void
apply_event(struct apply *x, struct apply_event e, int fd);
void
apply_note(struct apply *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* There was no memory: a pause, and another look at all. */
void
apply_starved(struct apply *x);

/* ---- apply_put.c ---- */

/* What became of it. */
struct apply_result {
	char text[APPLY_WORDS];    /* what failed; "" */
	uint64_t stage_us, swap_us; /* over all tries */
	uint32_t changes, tries;
	bool edited;               /* in place */
};

/* Puts the plan `w` (its read part) into force in the place of the present one. want: the
 * generation that the kernel must be at, 0: any. bump_chain: chains with generation names get
 * others; sets that are marked as bad do always. On success x->now is w, formed, and what was before is
 * freed; else -errno, r->text says why, w is the caller's still and the rules are those of
 * before. w may be x->now itself. */
int
apply_put(struct apply *x, struct apply_plan *w, uint32_t want, bool bump_chain,
    struct apply_result *r);

struct apply_plan *
apply_plan_free(struct apply_plan *p);

/* Takes down the table or the chains of the plan in force, and the table of blocks where it is by
 * us; r->text says so where no plan is. */
int
apply_remove(struct apply *x, struct apply_result *r);

/* Whether a generation is that of a commit of ours; to be remembered as such. */
bool
apply_is_own(const struct apply *x, uint32_t gen);
void
apply_own(struct apply *x, uint32_t from, uint32_t to);

/* A commit of ours that did not touch the plan's table: what was known of it still is. */
void
apply_own_elsewhere(struct apply *x, uint32_t from, uint32_t to);

/* A dump of table `table` of inet with its anonymous sets' sums; -errno, -EAGAIN when others keep
 * changing it. */
int
apply_dump(struct apply *x, struct arena *a, const char *table, struct nl_dump *d,
    struct nl_sums *s);

/* ---- apply_drift.c ---- */

/* Looks, once: every tick and whenever a commit was heard. */
void
apply_watch(struct apply *x, uint64_t now);

/* Looks at everything now: 0 and the differences in d, or -errno. held: whether the plan's table
 * is owned by this role's socket. */
int
apply_check(struct apply *x, struct nl_diff *d, uint32_t *gen, bool *held);

void
apply_pause(struct apply *x, uint64_t seconds, uint64_t now);

/* A recording of the whole ruleset as a memory file; -errno. */
int
apply_record(struct apply *x, bool elements, uint32_t *gen);

/* ---- apply_block.c ---- */

/* Blocks an address or a prefix for so long, or no longer (0); text gets the reason of an
 * error. */
int
apply_block(struct apply *x, const char *address, uint64_t seconds, uint64_t now,
    char text[APPLY_WORDS]);

/* Reads what the kernel still blocks, at start, and owns the table again. */
void
apply_block_begin(struct apply *x, uint64_t now);

/* Adds what of the table is not as it should be: rules, elements and when they end. 0 or
 * -errno, -EAGAIN when others keep changing it. */
int
apply_block_look(struct apply *x, struct nl_diff *diff);

/* Makes the table anew; text gets the reason of an error. */
int
apply_block_heal(struct apply *x, uint64_t now, char text[APPLY_WORDS]);

#endif
