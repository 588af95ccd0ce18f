/*
 * load: the making of a policy from its files, inside policy only.
 *
 * The passes, in this order (load.c): read the files, take the names, resolve
 * networks, ports, relays, kinds, points, submission, tests, then the checks
 * that look at two things at once. Each goes on past mistakes; what was
 * mistaken is marked, so that no later pass complains of it again.
 */
#ifndef POLICY_LOAD_H
#define POLICY_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/hash.h"
#include "policy/policy.h"
#include "policy/raw.h"

struct hash_names;

/* A table of names of one kind of thing. */
struct names {
	const char *what;          /* "network" */
	const char *where;         /* "networks": the key that holds them */
	struct hash_names *hash;
	struct name_row {
		const char *name;
		struct text_span at;
		void *thing;
	} *v;
	size_t n, cap;
	/* names that the language itself has here, for "did you mean"; NULL: none. NULL
	 * ends them. */
	const char *(*builtin)(size_t i);
};

enum made { MADE_NOT, MADE_NOW, MADE };

struct net {                       /* a network in the making */
	struct policy_network *n;
	const struct raw_network *raw;
	const char *dir;           /* of its file, for ranges-from */
	enum made made;
	bool bad;
};

struct portset {
	struct policy_ports *p;
	const struct raw_ports *raw;
	enum made made;
	bool bad;
};

struct rel {
	struct policy_relay *r;
	const struct raw_relay *raw;
	bool bad;
};

struct file {                      /* one file of the policy */
	struct raw_file raw;
	const char *path;          /* relative to the folder of the main file */
	const char *dir;           /* its folder, "" or with a `/` at its end */
	uint32_t file;
	bool open;                 /* being read: for loops */
};

struct load {
	struct arena *a;
	struct text_set *t;
	const struct policy_world *w;
	struct diags *d;
	struct policy *p;
	struct file **file;
	size_t nfile, capfile;
	bool zone_bad;             /* the time zone was reported */
	bool incomplete;           /* a file is missing: so may be names, and that is told already */
	struct names networks, ports, relays, points, kinds, applications;
	struct addr_set all;       /* every address */
	unsigned nesting;          /* networks that are being made of others */
	uint64_t copied;           /* ranges that were made of those of others */
	struct hash_names *lists;  /* files of ranges that were read; NULL: none yet */
	struct list_file {
		uint32_t file;     /* number in the text set */
		bool bad;          /* its mistakes are told */
	} *list;
	size_t nlist, caplist;
	const struct policy_stmt **bad; /* statements that were mistaken */
	size_t nbad, capbad;
};

/* ---- names.c ------------------------------------------------------------ */

/* Makes an empty table. */
void
names_init(struct load *l, struct names *n, const char *what, const char *where);

/* Adds a name at its key; false, and a diagnostic, when it is taken already or
 * is a word of the language. */
bool
names_add(struct load *l, struct names *n, const char *name, struct text_span at, void *thing);

/* The thing that the text names; NULL and a diagnostic when there is none. */
void *
names_need(struct load *l, const struct names *n, const char *name, struct text_span at);

/* The name of the language's own set of ports number i; NULL behind the last. */
const char *
ports_builtin_at(size_t i);

/* ---- meta.c ------------------------------------------------------------- */

/* The texts and dates of a thing. `at` is the whole of it. */
bool
meta_read(struct load *l, const struct raw_meta *raw, struct text_span at, struct policy_meta *out);

/* The second at which the day begins; false when the zone is not known. */
bool
meta_day(struct load *l, int y, int m, int d, uint64_t *sec);

/* Whether two runs of days share a second. */
bool
meta_days_meet(const struct policy_days *a, const struct policy_days *b);

/* The strings of a list of texts; *n their number. */
const char **
meta_strings(struct load *l, const struct shape_list *list, size_t *n);

/* ---- networks.c --------------------------------------------------------- */

enum {
	WHERE_ANY = 1,             /* `any` and `anywhere` are words here */
	WHERE_RELAYS = 2,          /* so is `relays` */
};

/* Resolves a place; false when it was mistaken. *relays, when not NULL, tells
 * whether `relays` was said. */
bool
where_read(struct load *l, const struct raw_where *raw, unsigned how,
    struct policy_where *out, bool *relays);

/* Every address, as if `anywhere` had been said at `at`. */
struct policy_where
where_any(struct load *l, struct text_span at);

/* Reports a set that has one family only without saying so, or says so and
 * has not. `what` is "network `lab`"; `named`: all of it came from networks
 * that were checked already. */
bool
families_check(struct load *l, const char *what, const struct addr_set *s,
    const struct shape_num *said, struct text_span at, bool named);

/* Whether all items of a place are names of networks. */
bool
where_named(const struct raw_where *raw);

void
networks_make(struct load *l);

/* Reports an address that cannot be read. `at` is its place. */
void
address_wrong(struct load *l, enum addr_wrong w, const char *s, size_t n, const char *fix,
    struct text_span at);

/* Counts n ranges that are copied from a network, a list or ports; false, with a
 * diagnostic the first time, when there are too many. (networks.c) */
bool
copied_ok(struct load *l, size_t n, struct text_span at);

/* Whether what t names may be made now, so deep; false with a diagnostic. (networks.c) */
bool
nesting_ok(struct load *l, const struct shape_text *t);

/* ---- lists.c ------------------------------------------------------------ */

/* Adds the ranges of a list file to the set; false when it was mistaken. */
bool
list_read(struct load *l, const char *dir, const struct shape_text *path, struct addr_set *out);

/* ---- ports.c ------------------------------------------------------------ */

void
ports_make(struct load *l);

/* Resolves ports; false when they were mistaken. */
bool
ports_read(struct load *l, const struct shape_list *raw, struct policy_ports *out);

/* ---- relays.c ------------------------------------------------------------ */

void
relays_make(struct load *l);

/* The relay of that name for the forwarder, with what it needs there; NULL and
 * a diagnostic when it cannot serve. */
const struct policy_relay *
relay_forward(struct load *l, const struct shape_text *via);

/* Patterns of recipients or senders. */
void
patterns_read(struct load *l, const struct shape_list *raw, struct policy_patterns *out);

/* Limits of mail; `each` is what counts where nothing is said. */
void
mail_limits_read(struct load *l, const struct shape_list *raw, enum policy_each each,
    struct policy_mail_limits *out);

/* ---- points.c, judges.c --------------------------------------------------- */

void
points_make(struct load *l);

/* Fills the judge of the zone from its raw form. */
void
judge_make(struct load *l, struct policy_zone *z, enum policy_dir dir,
    const struct raw_judge *raw);

/* Orders and numbers the statements; after all judges are made. */
void
judges_order(struct load *l);

void
stmt_bad(struct load *l, const struct policy_stmt *s);

bool
stmt_is_bad(const struct load *l, const struct policy_stmt *s);

/* ---- submission.c, tests.c ------------------------------------------------- */

void
kinds_make(struct load *l);

void
submission_make(struct load *l);

void
tests_make(struct load *l);

/* ---- checks ----------------------------------------------------------------- */

/* Zones that overlap, statements that can decide nothing, contradictions. */
void
check_judges(struct load *l);

/* The forwarder: routes, credentials, registrations. */
void
check_submission(struct load *l);

#endif
