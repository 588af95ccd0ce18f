/*
 * state: what the agent remembers on disk.
 *
 * One folder, the agent's own, readable with plain tools:
 *
 *     current             the generation that is to be in force
 *     pending             an apply that waits to be confirmed
 *     blocks              addresses blocked by hand
 *     history/000012/     the last 50 generations that were put in force
 *     plans/000003/       the last 10 plans that were asked for and not yet applied
 *     *.damaged           what could not be read, set aside
 *
 * A generation is a folder with `plan` (a plan file), `bundle` (the policy's files as they were
 * read), `about` and, once it is known, `ended` (a line: how it ended). `current`, `pending`,
 * `blocks` and `about` are lines "key value"; control characters, and backslashes, in a value are
 * written \xHH. Their last line is "sha256 HEX", over all lines before it. The keys:
 *
 *     current   generation N              0: taken down by hand, nothing is to be in force
 *     pending   new N, previous N, deadline-realtime US, deadline-boottime US, boot ID
 *     blocks    block US ADDRESS          until US, microseconds since 1970
 *               for SECONDS US BOOT       of the block above: its length, its end in that boot
 *     about     policy, point, digest, observe 0|1, how, uid, pid, when US, kernel N (the
 *               generation of the kernel), boot ID, base DIGEST (what was in force then),
 *               user NUMBER NAME, unit NUMBER PATH ("-": no such on this host),
 *               plan-sha256, bundle-sha256
 *
 * Everything is written to a temporary name, synchronised, renamed, and the folder is
 * synchronised, so each is old or new and never torn. Before the kernel is changed all that
 * needs room on the disk is written: state_stage() writes the next `current`, state_commit()
 * only renames it.
 */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	STATE_HISTORY = 50,        /* generations kept */
	STATE_PLANS = 10,          /* saved plans kept */
	STATE_BLOCKS = 1000,
	STATE_NAMES = 400,
	STATE_NAME = 208,          /* bytes of a name with its NUL */
	STATE_TEXT = 512,          /* bytes of a text of `about` */
	STATE_DIGEST = 32,
	STATE_BOOT = 40,           /* bytes of a boot id, with NUL */
	STATE_SMALL = 1 << 20,     /* bytes of a small file that is read, at most */
	STATE_BULK = 512 << 20,    /* bytes of a plan or a bundle, at most */
};

struct state;

/* A name of a plan and the number it had on this host when last asked. */
struct state_name {
	uint32_t kind;             /* 0 user, 1 control group (enum apply_name_kind) */
	char name[STATE_NAME];
	uint64_t value;            /* UINT64_MAX: no such */
};

/* What is known of a generation. Texts are owned; state_about_free() frees them. */
struct state_about {
	char *policy, *point, *how;
	uint8_t digest[STATE_DIGEST];
	uint8_t base[STATE_DIGEST]; /* what was in force when it was made; zeros: nothing */
	uint32_t observe;
	uint32_t uid, pid;         /* who asked */
	uint64_t when;             /* microseconds since 1970 */
	uint32_t kernel;           /* a saved plan: the kernel's generation; else 0 */
	char boot[STATE_BOOT];     /* a saved plan: the boot it was made in */
	struct state_name *name;
	uint32_t nname;
	uint8_t plan_sum[STATE_DIGEST], bundle_sum[STATE_DIGEST]; /* set by state_add() */
	bool has_bundle;
};

enum state_kind { STATE_IN_HISTORY, STATE_IN_PLANS };

struct state_pending {
	uint32_t now, previous;    /* generations; previous 0: nothing was in force */
	uint64_t realtime, boottime; /* the deadline, microseconds of these clocks */
	char boot[STATE_BOOT];
};

/* Within the boot that it was made in a block ends by the clock that nobody sets; in another, by the date,
 * but no later than its whole length from then on. */
struct state_block {
	char address[64];
	uint64_t until;            /* microseconds since 1970 */
	uint64_t seconds;          /* its length; 0: not known */
	uint64_t boottime;         /* its end in CLOCK_BOOTTIME microseconds of this boot: */
	char boot[STATE_BOOT];     /* "": not known */
};

/* Who is told what was found wrong: a sentence. */
typedef void state_warn(void *arg, const char *text);

/* Opens the folder of descriptor dir (which stays the caller's), makes the folders in it, and
 * removes what a death left half-written. 0 and *out, or -errno. */
int
state_open(int dir, state_warn *warn, void *arg, struct state **out);

/* Closes it; NULL is fine. Returns NULL. */
struct state *
state_close(struct state *s);

/* ---- generations ------------------------------------------------------------ */

/* Adds a generation or a saved plan: the bytes of its plan and of its bundle (NULL: none)
 * and what is known of it; a->plan_sum and bundle_sum are set. 0 and its number, or -errno, and
 * then nothing is left behind. */
int
state_add(struct state *s, enum state_kind k, const uint8_t *plan, size_t nplan,
    const uint8_t *bundle, size_t nbundle, struct state_about *a, uint32_t *number);

/* Reads what is known of number n. 0; -ENOENT; -EBADMSG where it is damaged (it is set aside then,
 * with a warning); or -errno. */
int
state_about(struct state *s, enum state_kind k, uint32_t n, struct state_about *out);

/* Gives the plan (or the bundle) of number n as a descriptor open for reading, whose bytes were
 * compared with their sum. The errors of state_about(); -EUCLEAN: the plan is damaged, but its bundle, from
 * which it can be made again, is whole, and nothing is set aside. */
int
state_plan(struct state *s, enum state_kind k, uint32_t n, bool bundle, int *fd, size_t *size);

/* Writes the plan of number n anew, and what is known of it: a->plan_sum is set, the bundle stays. 0 or
 * -errno. */
int
state_plan_put(struct state *s, enum state_kind k, uint32_t n, const uint8_t *plan, size_t nplan,
    struct state_about *a);

/* Writes how number n ended, a line. 0 or -errno. */
int
state_ended(struct state *s, uint32_t n, const char *text);

/* Reads it into out: "" where it is not known. */
void
state_how_ended(struct state *s, uint32_t n, char *out, size_t size);

/* The numbers there are, ascending, at most `most` newest of them; how many. */
uint32_t
state_list(struct state *s, enum state_kind k, uint32_t *out, uint32_t most);

/* Writes the names' numbers of a generation anew. 0 or -errno. */
int
state_about_put(struct state *s, enum state_kind k, uint32_t n, const struct state_about *a);

/* Removes generations beyond the newest STATE_HISTORY, but for those named by keep, and saved
 * plans beyond STATE_PLANS. What cannot be removed stays. */
void
state_prune(struct state *s, const uint32_t *keep, uint32_t nkeep);

/* Removes one. */
void
state_drop(struct state *s, enum state_kind k, uint32_t n);

/* Sets one aside as damaged, with a warning. */
void
state_set_aside(struct state *s, enum state_kind k, uint32_t n, const char *why);

void
state_about_free(struct state_about *a);

/* Copies; false without memory (then out is empty). */
bool
state_about_copy(struct state_about *out, const struct state_about *a);

/* ---- small files --------------------------------------------------------------- */

/* Reads `current`. 0; -ENOENT where there is none, or it was damaged and is set aside; -errno. */
int
state_current(struct state *s, uint32_t *n);

/* Writes what is to be `current` next, beside it. 0 or -errno. */
int
state_stage(struct state *s, uint32_t n);

/* Makes it `current`, by a rename. 0 or -errno. */
int
state_commit(struct state *s);

/* Reads, writes, removes `pending`. 0, -ENOENT, or -errno. */
int
state_pending(struct state *s, struct state_pending *out);
int
state_pending_put(struct state *s, const struct state_pending *p);
int
state_pending_drop(struct state *s);

/* Reads the blocks into out, room for STATE_BLOCKS; how many. */
uint32_t
state_blocks(struct state *s, struct state_block *out);
int
state_blocks_put(struct state *s, const struct state_block *b, uint32_t n);

/* Whether there were blocks that could not be read: they lie aside. forget: no longer. */
bool
state_blocks_lost(struct state *s, bool forget);

#endif
