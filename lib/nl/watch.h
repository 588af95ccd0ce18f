/*
 * watch: whether the kernel still holds what a form says, and what others have there.
 *
 * What a form's rules and elements look like in a dump is computed once; a look is then a
 * comparison of hashes, rule by rule, and the differences come out in words. Elements are
 * summed as they stream past: a sum knows no order, so nothing is kept and nothing sorted.
 * Hashes are hash.h's: they find accidents and administrators, not forgers, who as root
 * could stop the watcher too.
 */
#ifndef NL_WATCH_H
#define NL_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "nl/form.h"

struct arena;
struct hash_names;
struct nl_dump;
struct nl_talk;

enum { NL_MOST_WORDS = 3000 };     /* bytes of a list of differences */

/* The elements of a set: how many (an interval is one) and the sum of their hashes. */
struct nl_sum {
	uint64_t sum;
	uint32_t n;
};

/* What a form looks like. */
struct nl_watch {
	const struct nl_form *form;
	uint64_t **rule;           /* the hash of each rule of each chain */
	struct nl_sum *set;        /* of each set of the plan */
	struct hash_names *counters; /* of the plan */
};

/* Computes it, in the arena; the form must live as long. What an older one of the same plan
 * (NULL) has summed already is taken from it. 0, -EBADMSG for a form that
 * the reader of dump.h does not read, -ENOMEM. */
int
nl_watch(struct arena *a, const struct nl_form *f, const struct nl_watch *old,
    struct nl_watch **out);

/* The sums of a dump's anonymous sets, which belong to the rules that look into them, by the
 * set's number in the dump; the others are zero. */
struct nl_sums {
	struct nl_sum *of;
	uint32_t n;
};

/* Asks the kernel for them, as of the dump's generation: 0, -EAGAIN where the kernel is at
 * another by now, or -errno. Sets of more than `most` elements are passed over. */
int
nl_watch_sums(struct nl_talk *t, struct arena *a, const struct nl_dump *d, uint32_t most,
    struct nl_sums *out);

/* The sum of one set of the dump, as of its generation. The same errors. */
int
nl_watch_sum(struct nl_talk *t, const struct nl_dump *d, uint32_t set, struct nl_sum *out);

/* Adds the elements of a list (the attribute NFTA_SET_ELEM_LIST_ELEMENTS). 0 or -EBADMSG. */
int
nl_sum_add(struct arena *a, const uint8_t *p, size_t n, struct nl_sum *s);

/* Differences, and what it takes to mend them. */
struct nl_diff {
	struct buf words;          /* "rule 3 of chain out deleted; set x has 2 elements more" */
	uint32_t n;                /* differences */
	bool table;                /* the table is not there */
	bool chain;                /* a chain under a generation name holds other rules */
	bool set;                  /* a set with a name holds other elements */
	bool *sets;                /* NULL, or the caller's: a place for each set of the plan, where
	                              those that do are marked */
};

/* Frees the words and makes it empty; one that is zero is fine. */
void
nl_diff_free(struct nl_diff *d);

/* Adds a difference. */
void
nl_diff_add(struct nl_diff *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What of the form's table is not as it should be; sets by the kernel's count alone. `flags`:
 * those that the table should have, of NL_OWNER and NL_PERSIST. A plan whose digest is zero has
 * no stamp. `unjudged` (NULL, or a place for
 * each set of the plan) is set where the kernel gave no count. The dump must hold the table's
 * rules and no elements. */
void
nl_watch_look(const struct nl_watch *w, const struct nl_dump *d, const struct nl_sums *s,
    uint32_t flags, struct nl_diff *out, bool *unjudged);

/* Compares set i of the plan with its sum in the kernel. */
void
nl_watch_set(const struct nl_watch *w, uint32_t i, struct nl_sum have, struct nl_diff *out);

/* ---- others' ------------------------------------------------------------------------- */

/* A table of somebody else's (chain ""), or a chain in it. */
struct nl_other {
	uint8_t family;
	const char *table, *chain;
	uint64_t hash;             /* of flags, set heads and objects' names; of hook and rules */
};

struct nl_others {
	struct nl_other *v;        /* sorted */
	uint32_t n, cap;
};

/* All in the dump that is neither the plan's (NULL: there is none) nor of the table `own` (NULL),
 * in the arena. */
void
nl_others(struct arena *a, const struct nl_dump *d, const struct nl_sums *s,
    const struct plan *p, const char *own, struct nl_others *out);

/* The differences between two such lists, in words. */
void
nl_others_diff(const struct nl_others *before, const struct nl_others *after,
    struct nl_diff *out);

/* "inet", "ip", ...; "?". */
const char *
nl_family_word(uint8_t family);

/* A name for people: without the digits of its generation. */
const char *
nl_plain_name(struct arena *a, const char *name);

#endif
