/*
 * compile: the list of passes, read aloud; the same for the command and for
 * the agent.
 *
 *     source --read--> policy --mean--> diagrams --lint--> --plan--> plans
 *
 * Each pass says what it requires and what it leaves, and is followed by a
 * check of what it left, in every build: the plan of a point is executed on
 * a witness of every region of its diagram, so two ways from the same policy
 * that share no code must agree before anything is printed.
 */
#ifndef COMPILE_COMPILE_H
#define COMPILE_COMPILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow/flow.h"
#include "look/look.h"
#include "policy/policy.h"

struct arena;
struct buf;
struct plan;

enum compile_pass {
	COMPILE_READ,   /* source -> policy */
	COMPILE_MEAN,   /* policy -> meaning[] */
	COMPILE_LINT,   /* meaning[] -> warnings */
	COMPILE_PLAN,   /* policy -> plan[] */
	COMPILE_NPASS
};

struct compile {
	/* given */
	struct arena *a;
	struct text_set *text;
	struct diags *d;
	const char *name;          /* of the source, for messages */
	const char *bytes;
	size_t len;
	const struct policy_world *world;
	struct look_lint_options lint;
	const char *only;          /* the one point to mean and plan; NULL: all */
	const char *dump;          /* letters of the passes to dump; NULL */
	struct buf *dumped;        /* where to */
	/* left by the passes */
	struct policy *policy;
	struct flow *flow;         /* made when NULL; the caller frees it */
	flow_ref *meaning;         /* one a point, FLOW_NONE where not made */
	const struct plan **plan;  /* one a point, NULL where not made */
};

/* Runs the passes whose bit (1u << pass) is in `which`, in order, stopping
 * after one that left errors in c->d. Gives whether there are none. */
bool
compile_run(struct compile *c, unsigned which);

#endif
