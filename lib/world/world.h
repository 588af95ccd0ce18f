/*
 * world: the files and time zones of this machine, for struct policy_world.
 *
 * The one room of lib that opens files. A name is looked up below the folder
 * of the policy's main file and never outside it, by the kernel's own rule
 * (openat2(2), RESOLVE_BENEATH), so no link leads out either.
 */
#ifndef WORLD_WORLD_H
#define WORLD_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

struct arena;

struct world {
	struct policy_world policy; /* what policy_load() takes */
	int dir;                    /* the folder of the main file; -1: none yet */
};

/* Reads the whole file `path` ("-": standard input) of at most `most` bytes
 * into the arena, NUL-terminated. 0, -EFBIG past the limit, -EISDIR or -ENXIO
 * for what is no regular file (standard input may be a pipe), or -errno. */
int
world_slurp(struct arena *a, const char *path, size_t most, const char **bytes, size_t *len);

/* Makes *w serve includes from the folder of `path` (the current folder for
 * "-"). 0 or -errno. world_close() frees it. */
int
world_open(struct world *w, const char *path);

void
world_close(struct world *w);

/* Whether both paths name one file that exists. */
bool
world_same_file(const char *a, const char *b);

/* A second since 1970 as the clock of a zone shows it: "2027-04-01" where a day
 * begins, else "2027-04-01 13:05:00". An unknown zone is taken for UTC. */
void
world_clock(const char *zone, uint64_t sec, char out[32]);

#endif
