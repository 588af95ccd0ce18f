/*
 * inside: what the files of lib/prove share and nobody else sees.
 */
#ifndef PROVE_INSIDE_H
#define PROVE_INSIDE_H

#include "prove/prove.h"
#include "vm/vm.h"

struct nl_dump;
struct nl_talk;

/* space.c: a socket in a network namespace of its own, which ends with it. 0 or -errno:
 * -EPERM, -ENOSPC, -EINVAL, -ENOSYS the machine allows no namespaces. */
int
space_open(struct nl_talk **out);

/* As space_open; then nft loads the file there. With p->step, p->who. */
int
space_open_with(struct prove *p, const char *path, struct nl_talk **out);

/* space.c: the program nft, in this process's own place, with standard output and error to
 * `words`: loads the file, or prints the rules that are there. Comes back as -errno where it
 * cannot be started. */
int
space_nft(const char *path, int words);
int
space_nft_list(int words);

/* A child with a copy of our memory, which ends where f ends; waits for it. 0 with what
 * wait(2) says of it, or -errno. */
int
space_child(int (*f)(void *), void *arg, int *status);

/* A user namespace for the calling process, in which it has every right and its user has the
 * number uid. 0 or -errno. */
int
space_user(uint32_t uid);

/* load.c: the plan into the namespace of the socket; w gets the numbers of the names in it,
 * as values of the flow. 0 or -errno with p->who. */
int
load_plan(struct prove *p, struct nl_talk *t, const struct plan *plan, struct vm_world *w);

/* load.c: the numbers that this machine has for the names in the flow. */
void
load_names(struct prove *p, struct vm_world *w);

/* load.c: the world of a dump; names are added to the flow. */
void
load_world(struct prove *p, const struct prove_world *from, struct vm_world *w);

/* A ruleset and the names of its numbers. */
struct side {
	const struct nl_dump *d;
	const struct vm_world *w;
};

/* region.c: compares the ruleset with p->meant, or with another where `was` is not NULL, and
 * leaves the regions. PROVE_EQUAL, PROVE_DIFFERS or -E2BIG. */
int
region_compare(struct prove *p, const struct side *was, const struct side *is);

#endif
