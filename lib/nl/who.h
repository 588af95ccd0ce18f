/*
 * who: who changed the ruleset, by the kernel's own word.
 *
 * A socket that hears of every commit to nf_tables in its network namespace, and of nothing
 * else of it: a filter in the kernel (classic BPF) lets only the message through that tells the
 * new generation, the process and its name. Where there is a listener the kernel makes
 * a message of every element of a commit, which slows it, so the listener goes out of the group
 * while a large commit of our own is on its way.
 */
#ifndef NL_WHO_H
#define NL_WHO_H

#include <stdbool.h>
#include <stdint.h>

struct nl_who;

enum { NL_WHO_NAME = 16 };

struct nl_committer {
	uint32_t gen, pid;         /* pid: of the machine, not of a PID namespace */
	char name[NL_WHO_NAME + 1];
};

/* Opens it in the network namespace of the calling thread. 0 or -errno; needs
 * CAP_NET_ADMIN. */
int
nl_who_open(struct nl_who **out);

/* Closes it; NULL is fine. Returns NULL. */
struct nl_who *
nl_who_close(struct nl_who *w);

/* For poll(2). */
int
nl_who_fd(const struct nl_who *w);

/* Takes in what has come, without waiting. */
void
nl_who_hear(struct nl_who *w);

/* Who made generation `gen`, if it was heard and is among the last 256; else NULL. */
const struct nl_committer *
nl_who_at(const struct nl_who *w, uint32_t gen);

/* Hears nothing until called with false. */
void
nl_who_deaf(struct nl_who *w, bool deaf);

#endif
