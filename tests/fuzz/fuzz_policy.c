/*
 * Any bytes as a policy, and as the file that it includes and lists.
 *
 * A policy or an error, never both and never neither; every place lies inside
 * its file; every error has a message, and a second reading says the same.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "policy/policy.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A macro, so that a finding names its line. */
#define must(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort(); \
		} \
	} while (0)

struct input {
	const char *bytes;
	size_t len;
};

static int
read_file(void *arg, struct arena *a, const char *name, size_t most,
    const char **bytes, size_t *len)
{
	const struct input *in = arg;

	(void)a;
	must(name[0] != '/' && strncmp(name, "../", 3) && !strstr(name, "/../"));
	if (strlen(name) > 8)
		return -ENOENT;
	if (in->len > most)
		return -EFBIG;
	*bytes = in->bytes;
	*len = in->len;
	return 0;
}

static int
day(void *arg, const char *zone, int y, int m, int d, uint64_t *sec)
{
	(void)arg;
	*sec = (uint64_t)((y * 12 + m) * 31 + d) * 86400;
	return zone[0] == 'U' ? 0 : -ENOENT;
}

static void
check_span(const struct text_set *t, struct text_span at)
{
	must(at.file < t->n);
	must(at.off <= t->file[at.file]->len && at.len <= t->file[at.file]->len - at.off);
}

static size_t
load(const char *bytes, size_t size)
{
	struct input in = {bytes, size};
	const struct policy_world w = {.arg = &in, .read = read_file, .day = day};
	struct arena *a = arena_new();
	struct text_set *t = text_set_new(a);
	struct diags *d = diags_new(a);
	const struct policy *p = policy_load(a, t, "main", bytes, size, &w, d);
	size_t n = d->n;

	must(!p == (d->errors > 0));
	for (size_t i = 0; i < d->n; i++) {
		check_span(t, d->v[i].at);
		if (d->v[i].also.file != TEXT_NOWHERE)
			check_span(t, d->v[i].also);
		must(d->v[i].message && *d->v[i].message);
	}
	for (size_t i = 0; p && i < p->nstmt; i++) {
		check_span(t, p->stmt[i]->meta.at);
		must(p->stmt[i]->id == i && p->stmt[i]->meta.name);
		must(*policy_stmt_label(a, p->stmt[i]));
	}
	arena_free(a);
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	size_t n;

	must(text);
	if (size)
		memcpy(text, data, size);
	text[size] = 0;
	n = load(text, size);
	must(load(text, size) == n);
	free(text);
	return 0;
}
