/*
 * batch: a plan's form as netlink batches. Pure bytes; talk.h sends them.
 *
 * A policy is replaced in three transactions, none of which a packet can fall through:
 *
 *   stage   fresh sets and chains under generation names, which nothing refers to
 *   swap    the entry chains get their new rules; base chains no longer wanted go; the
 *           stamp says which plan this is. Small, whatever the plan's size
 *   sweep   what the plan does not name is deleted
 *
 * A set made in the transaction that first uses it is empty for packets until the
 * commit has ended, so only swap touches what is in use, and it makes no set but the
 * anonymous hash sets of an entry's rules, which have no such gap. A map deleted
 * in the transaction that last uses it loses its elements a moment before a packet on
 * its way has read them, hence the sweep of its own.
 *
 * Other tables are never touched; in a table that is not all ours (`as: chains`) only what
 * is named mailreeve-* and the stamp.
 */
#ifndef NL_BATCH_H
#define NL_BATCH_H

#include "base/buf.h"
#include "nl/form.h"

struct arena;
struct nl_dump;

/* Flags of a table (linux/netfilter/nf_tables.h; persist is newer than its Debian 12
 * form): only the socket that made it may change it; it outlives that socket. */
enum { NL_OWNER = 2, NL_PERSIST = 4 };

/* The counter that bears the stamp; and, with a set's name behind it, the one that says
 * what a set holds that was changed in place (edit.h). */
#define NL_STAMP "mailreeve/stamp"
#define NL_EDITED "mailreeve/in/"

enum nl_what {
	NL_THE_BATCH,              /* as a whole: a wrong generation, a failed commit */
	NL_A_TABLE, NL_A_COUNTER, NL_A_SET, NL_AN_ELEMENT, NL_A_CHAIN, NL_A_RULE,
	NL_NWHAT
};

/* What a message of a batch is about, for the names in errors. */
struct nl_item {
	enum nl_what what;
	bool del;
	const char *name;          /* of a rule: its chain's; an element: its set's */
	uint32_t rule;             /* its number in the chain, from 0 */
};

/* One transaction, and those to be sent after it. Message i of a batch has the sequence
 * number seq + i. Owned by the caller until nl_batch_free(); the items and the later
 * batches' structs live in the arena. */
struct nl_batch {
	struct buf bytes;
	uint32_t seq;
	struct nl_item *item;
	uint32_t nitem, capitem;
	uint32_t changes;          /* of the first: objects that all of them make or delete; 0:
	                              not worth sending */
	struct nl_batch *next;
};

struct nl_job {
	struct arena *a;
	const struct nl_form *form;
	const struct nl_dump *have; /* what the kernel holds; NULL: nothing of ours. Elements
	                              are not needed. */
	const struct nl_form *old; /* nl_edit(): what is in force, formed by nl_form_as() of
	                              `have` or, before it, by nl_form_over(); NULL: not known */
	bool in_place;             /* nl_edit(): a set in use can be changed without a packet
	                              seeing anything but its old or its new content
	                              (struct nl_probe, in_place) */
	uint32_t table_flags;      /* NL_OWNER | NL_PERSIST */
	uint32_t genid;            /* the generation that the kernel must be at; 0: any */
	uint32_t seq;              /* the first message's */
	size_t most;               /* bytes that one transaction may have: nl_talk_most(); 0: any
	                              number. A stage is sent in parts where it has more: it
	                              need not be one, for nothing refers to it. The others are
	                              small, and one. */
};

/* The generation that the kernel is at when b was committed at generation g, each of its
 * parts; g itself where b changes nothing, for then it is not sent. */
uint32_t
nl_gen_after(uint32_t g, const struct nl_batch *b);

/* The batches. 0, or -errno with *who (where not NULL) naming the object: -EEXIST the
 * kernel has something else in use under a generation name (form the plan by nl_form_as();
 * where it was, with another salt), -EMSGSIZE, -E2BIG, -ENOMEM.
 *
 * What a stage finds under its names it takes for its own where the digests agree and a rule
 * looks into it (sets) or it has as many rules as it should (chains): a stage that was
 * interrupted has neither. A set's digest is that of what it holds, also where it was changed
 * in place; where somebody removed or made a counter of changed sets, none is believed. Leftovers are made anew; a chain with too few or too many rules
 * gets its own again, in one transaction. have must hold the rules. */
int
nl_stage(const struct nl_job *j, struct nl_batch *out, const char **who);
int
nl_swap(const struct nl_job *j, struct nl_batch *out, const char **who);
int
nl_sweep(const struct nl_job *j, struct nl_batch *out, const char **who);

/* Deletes all that is ours; the whole table where it is ours. */
int
nl_remove(const struct nl_job *j, struct nl_batch *out, const char **who);

void
nl_batch_free(struct nl_batch *b);

/* "rule 3 of chain x", for people. The text lives in the arena. */
const char *
nl_item_text(struct arena *a, const struct nl_item *i);

/* The stamp in a dump of the table: 0 and the digest and salt of the plan that is in
 * force, -ENOENT without one, -EBADMSG where it is not to be read. */
int
nl_stamp(const struct nl_dump *d, const char *table, uint8_t digest[NL_DIGEST],
    struct nl_salt *salt);

/* Whether all that the form names is there, by name and the digests in user data, the
 * stamp is the plan's, and the entry chains have as many rules as they should. A quick look
 * that trusts the kernel's names; contents are compared by others. */
bool
nl_in_force(const struct nl_form *f, const struct nl_dump *d);

#endif
