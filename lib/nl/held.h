/*
 * held: what the kernel holds of a table, looked at with a form in the hand. Private to
 * lib/nl.
 *
 * A set that was changed in place keeps its name and the digest in its user data, which the
 * kernel does not let us change. The truth about it then stands in a counter of ours,
 * NL_EDITED and the set's name, made in the same transaction as the change; its user data is
 * the digest of what the set holds now. So that nobody can take such a counter away unseen,
 * the stamp has the sum of all of them: where the sum does not agree, no set's content is
 * known.
 */
#ifndef NL_HELD_H
#define NL_HELD_H

#include <stdbool.h>

#include "nl/form.h"

struct arena;
struct nl_dump;

/* Names to places, for a dump of thousands. */
struct index {
	struct hash_names *names;
	uint32_t *at;
	uint32_t n, cap;
};

/* The first of a name stays. */
void
index_add(struct arena *a, struct index *x, const char *name, uint32_t at);

/* The place of a name; UINT32_MAX: it has none. */
uint32_t
index_find(const struct index *x, const char *name);

struct held {
	const struct nl_dump *d;   /* NULL: nothing is there */
	const struct plan *plan;   /* whose table this is */
	struct index set, chain, object;
	struct index used;         /* sets that a rule looks into */
	uint32_t *rules;           /* of each chain of the dump */
	bool doubt;                /* the counters of changed sets are not those that the
	                              stamp knows */
};

/* What the dump (NULL: nothing) has of the plan's table; in the arena. */
struct held
held_look(struct arena *a, const struct plan *p, const struct nl_dump *d);

/* Whether the table is the plan's; whether a thing of that name in it is ours. */
bool
held_in_table(const struct plan *p, uint8_t family, const char *table);
bool
held_ours(const struct plan *p, const char *name);

const struct nl_set *
held_set(const struct held *h, const char *name);
const struct nl_chain *
held_chain(const struct held *h, const char *name);

/* What stands under the name of something to be staged. */
enum there {
	ABSENT,
	PRESENT,
	PARTLY,                    /* a chain of ours, not with all its rules, or too many */
	LEFTOVER,                  /* nothing refers to it: to be made anew */
	ANOTHER,                   /* in use, and not what we know: the name is taken */
};

enum there
held_set_there(const struct held *h, const struct nl_form *f, uint32_t i);
/* The same for a set of the plan that has its digest but not yet its name. */
enum there
held_name_there(const struct held *h, const struct nl_form *f, uint32_t i, const char *name);
enum there
held_chain_there(const struct held *h, const struct nl_form *f, uint32_t c);

/* The sets that packets come to from the entries. Where maps of chains are on the way, whose
 * elements a dump need not have, each chain that is called counts as one that is come to. */
void
held_live(const struct held *h, struct arena *a, struct index *live);

/* Whether the form is the one that the stamp was put for. */
bool
held_frame_agrees(const struct held *h, const struct nl_form *f);

/* Whether the kernel's count of a set's elements, where it gives one, is the plan's. */
bool
held_count_agrees(const struct nl_set *s, const struct plan_set *p);

/* The name of the counter that says what a changed set holds; the set's name of such a
 * counter, NULL for another's. The first lives in the arena. */
const char *
held_edited_name(struct arena *a, const char *set);
const char *
held_edited_set(const char *counter);

/* Whether there is such a counter for a set of that name. */
bool
held_edited(const struct held *h, const char *set);

/* The digest of what a set holds: the counter's, else the set's own. False: neither is to be
 * read, or there is doubt. */
bool
held_content(const struct held *h, const struct nl_set *s, uint8_t digest[NL_DIGEST]);

/* The digest in a set's own user data; false without one. */
bool
held_own_digest(const struct nl_set *s, uint8_t digest[NL_DIGEST]);

/* Adds a counter of a changed set to a sum, or takes it away: a sum is the exclusive or of
 * SHA-256 of name, NUL, digest. -ENOMEM. */
int
held_sum(uint8_t sum[NL_DIGEST], const char *set, const uint8_t digest[NL_DIGEST]);

/* The sum of the counters that are there and, where keep is not NULL, named in it. -EBADMSG:
 * one of them is not to be read; -ENOMEM. */
int
held_sum_of(const struct held *h, const struct index *keep, uint8_t sum[NL_DIGEST]);

/* The sum that the stamp has; all zero where there is none. */
void
held_stamped_sum(const struct held *h, uint8_t sum[NL_DIGEST]);

#endif
