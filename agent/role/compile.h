/*
 * compile: the role that reads what an author wrote.
 *
 * A child for one job (ipc/compile.h): it may read the policy's folder and the time zones, and
 * nothing else: no capability, no socket but its channel. It reads, compiles, compares, tells,
 * ends. A policy that kills it has killed nothing else.
 */
#ifndef ROLE_COMPILE_H
#define ROLE_COMPILE_H

#include <stdint.h>

#include "ipc/doctor.h"

struct arena;
struct nl_dump;
struct policy;

/* compile_ways.c: whether the ruleset lets programs reach the forwarder, and it the policy's relays at second `now`; the
 * forwarder's user is this process's. */
void
compile_ways(struct arena *a, const struct policy *p, const struct nl_dump *d, uint64_t now, struct doctor_list *out);

/* Takes one job from the channel and answers it. Gives the exit status of the process. */
int
role_compile(int chan);

#endif
