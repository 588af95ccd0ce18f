/*
 * prove: what lib/prove found, told.
 */
#ifndef GEN_PROVE_H
#define GEN_PROVE_H

#include "gen/unit.h"
#include "prove/prove.h"

/* Shows that the rules of a point that is compiled are the policy in the kernel. 0, UNIT_BAD
 * after a diagnostic with a packet that proves the contrary, or UNIT_MACHINE after a
 * message. Where this machine does not let us, that is an error if one insists, else a note
 * and 0. */
int
prove_point(struct unit *u, const struct policy_point *pt, bool insist);

/* The users and control groups of this machine. */
extern const struct nl_host prove_host;

/* Says why a proof could not be made; gives UNIT_MACHINE. err: a negative errno, of p->step. */
int
prove_cannot(const char *command, const struct prove *p, int err);

#endif
