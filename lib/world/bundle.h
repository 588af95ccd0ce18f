/*
 * bundle: all the files of one policy as they were read, in one run of bytes, so that what was
 * compiled can be read again whatever becomes of the files.
 *
 *     mailreeve bundle 1\n
 *     file BYTES NAME\n      the main file first, then each include once, in the order of reading
 *     ... BYTES bytes ...\n
 *     sha256 HEX\n           of all that stands before this line
 *
 * Plain text wherever the policy is: people read it with any pager.
 */
#ifndef WORLD_BUNDLE_H
#define WORLD_BUNDLE_H

#include <stddef.h>

#include "policy/policy.h"

struct arena;
struct buf;
struct bundle;

enum { BUNDLE_MOST = 256 << 20, BUNDLE_MOST_FILES = 4096 };

/* An empty bundle that lives in the arena. */
struct bundle *
bundle_new(struct arena *a);

/* Adds a file, whose bytes must live as long as the bundle; a second of the same name is passed
 * over. A name has no line end:
 * -EINVAL for such, -E2BIG past the limits. */
int
bundle_add(struct bundle *b, const char *name, const char *bytes, size_t len);

/* Number of files; file i. */
size_t
bundle_count(const struct bundle *b);
const char *
bundle_file(const struct bundle *b, size_t i, const char **bytes, size_t *len);

/* A world that serves what `inner` has and keeps it in the bundle. */
void
bundle_keep(struct bundle *b, const struct policy_world *inner, struct policy_world *out);

/* A world that serves the bundle's files alone, with the days of `inner`. */
void
bundle_serve(struct bundle *b, const struct policy_world *inner, struct policy_world *out);

/* Adds the bundle's bytes. */
void
bundle_write(struct buf *out, const struct bundle *b);

/* Reads a bundle; files point into bytes. 0, or -EBADMSG for what is no whole bundle. */
int
bundle_read(struct arena *a, const void *bytes, size_t n, struct bundle **out);

#endif
