/*
 * form: a plan as the kernel will hold it, before anything is sent.
 *
 * Each rule is encoded once, to the bytecode that nft 1.0.6 makes of the
 * plan's text. Sets with names, and chains that are no entries, get generation names:
 * the plan's name, '/' and 8 hexadecimal digits of the SHA-256 of their content
 * (a chain's covers the generation names of what its rules use, so a change
 * goes up to the entries, and what did not change keeps its name). Such objects can
 * be staged beside those in use. '/' is in no name of a plan, and nft reads it back.
 *
 * A set that is changed in place (edit.h) keeps the name that it has, so a name is no
 * promise: what a set holds is told by its digest, and a plan is formed under the names that
 * the kernel has for its contents (nl_form_as).
 */
#ifndef NL_FORM_H
#define NL_FORM_H

#include <stdint.h>

#include "plan/plan.h"

struct arena;
struct nl_dump;

enum { NL_DIGEST = 32, NL_NAME = PLAN_NAME + 10 };

/* How the host's names become numbers. Each gives 0 and the number, or -errno
 * (-ENOENT: no such user or control group). */
struct nl_host {
	int (*uid)(void *arg, const char *name, uint32_t *uid);
	int (*cgroup)(void *arg, const char *path, uint64_t *id); /* the folder's inode */
	void *arg;
};

/* Other names for the same content: where an object in the kernel bears the name
 * that it should but was changed behind our back. Zero at first. */
struct nl_salt {
	uint32_t set, chain;
};

/* An anonymous set that a rule looks into: its number in the plan, and where in the
 * rule's bytes its ID in the batch stands (4 bytes, network order). */
struct nl_anon {
	uint32_t set, at;
};

struct nl_rule_form {
	const uint8_t *bytes;      /* the list of expressions, as attributes */
	const uint8_t *udata;      /* the comment; NULL: none */
	const struct nl_anon *anon;
	uint32_t n, nudata, nanon;
};

struct nl_chain_form {
	const char *name;
	uint8_t digest[NL_DIGEST];
	struct nl_rule_form *rule; /* as many as in the plan */
};

struct nl_set_form {
	const char *name;          /* NULL: anonymous */
	uint8_t digest[NL_DIGEST]; /* of the content, not of the name */
	const uint32_t *uid;       /* UID sets: the elements, resolved */
};

struct nl_form {
	const struct plan *plan;
	struct nl_salt salt;
	struct nl_set_form *set;
	struct nl_chain_form *chain;
	uint8_t frame[NL_DIGEST];  /* of all chains' digests and all sets' names: what can be in
	                              force under one plan's stamp in more than one way */
};

/* The form of a plan, in the arena; shares memory with the plan. 0, or -errno
 * with *who (not NULL) naming what was being worked on: -ENOENT a user or a
 * control group that is not there, -EINVAL a plan that no plan_read() would give. */
int
nl_form(struct arena *a, const struct plan *p, const struct nl_host *host,
    struct nl_salt salt, struct nl_form **out, const char **who);

/* The same under the names of a dump (NULL: as nl_form): a set whose content the kernel has
 * under some generation name of the set gets that one; else it gets one of eight names of its
 * digest that nothing else bears. The same plan, salt and dump give the same form. The dump
 * must hold the rules. */
int
nl_form_as(struct arena *a, const struct plan *p, const struct nl_host *host,
    struct nl_salt salt, const struct nl_dump *have, struct nl_form **out, const char **who);

/* The same under the names and the salt of another form, for nl_edit(): each set that the
 * old plan has too bears its name, whatever it holds. A set that is equal is not hashed
 * again. Shares no memory with the old form. Not to be staged. */
int
nl_form_over(struct arena *a, const struct plan *p, const struct nl_host *host,
    const struct nl_form *old, struct nl_form **out, const char **who);

/* Whether a chain's or a set's name is a generation name. */
bool
nl_is_generation(const char *name);

#endif
