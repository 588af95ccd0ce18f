#include "role/attempt_ring.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "role/attempt_text.h"

/* The texts of an attempt, and how many bytes of each are kept. */
static const struct text_row {
	size_t at;
	size_t most;
} text_rows[] = {
	{offsetof(struct attempts_one, statement), 127},
	{offsetof(struct attempts_one, source), 63},
	{offsetof(struct attempts_one, destination), 63},
	{offsetof(struct attempts_one, in), 31},
	{offsetof(struct attempts_one, out), 31},
	{offsetof(struct attempts_one, user), 63},
	{offsetof(struct attempts_one, unit), 383},
	{offsetof(struct attempts_one, program), 63},
	{offsetof(struct attempts_one, exe), 255},
	{offsetof(struct attempts_one, among), 127},
};

enum { NTEXT = sizeof text_rows / sizeof text_rows[0] };

struct attempt_ring {
	uint32_t most, n, next;
	uint32_t ncounter;
	struct attempts_lost untold;
	struct attempt_counter counter[ATTEMPT_COUNTERS + 1];
	struct attempts_one *v[];  /* each one allocation with its texts */
};

struct attempt_ring *
attempt_ring_new(uint32_t most)
{
	struct attempt_ring *r = calloc(1, sizeof *r + most * sizeof r->v[0]);

	if (r)
		r->most = most;
	return r;
}

struct attempt_ring *
attempt_ring_free(struct attempt_ring *r)
{
	for (uint32_t i = 0; r && i < r->most; i++)
		free(r->v[i]);
	free(r);
	return NULL;
}

static const char **
text_at(struct attempts_one *a, size_t at)
{
	return (const char **)(void *)((char *)a + at);
}

static const char *
text_of(const struct attempts_one *a, size_t at)
{
	const char *s;

	memcpy(&s, (const char *)a + at, sizeof s);
	return s ? s : "";
}

static struct attempts_one *
copy(const struct attempts_one *a)
{
	size_t len[NTEXT], all = sizeof *a;

	for (size_t i = 0; i < NTEXT; i++) {
		len[i] = strnlen(text_of(a, text_rows[i].at), text_rows[i].most);
		all += len[i] + 1;
	}
	struct attempts_one *c = malloc(all);
	if (!c)
		return NULL;
	*c = *a;
	char *p = (char *)(c + 1);
	for (size_t i = 0; i < NTEXT; i++) {
		memcpy(p, text_of(a, text_rows[i].at), len[i]);
		p[len[i]] = '\0';
		*text_at(c, text_rows[i].at) = p;
		p += len[i] + 1;
	}
	return c;
}

static void
count(struct attempt_ring *r, const struct attempts_one *a)
{
	char name[ATTEMPT_STATEMENT];
	uint32_t i = 0;

	attempt_statement(text_of(a, offsetof(struct attempts_one, statement)), name);
	while (i < r->ncounter && strcmp(r->counter[i].statement, name))
		i++;
	if (i == r->ncounter) {
		/* one place is kept for all that come when the others are taken */
		if (r->ncounter < ATTEMPT_COUNTERS)
			memcpy(r->counter[i].statement, name, sizeof name);
		if (r->ncounter <= ATTEMPT_COUNTERS)
			r->ncounter++;
		else
			i = ATTEMPT_COUNTERS;
	}
	r->counter[i].attempts++;
	r->counter[i].packets += a->count;
	r->counter[i].last = a->when;
}

int
attempt_ring_add(struct attempt_ring *r, const struct attempts_one *a)
{
	struct attempts_one *c = copy(a);

	count(r, a);
	if (!c || !r->most) {
		free(c);
		return -ENOMEM;
	}
	free(r->v[r->next]);
	r->v[r->next] = c;
	r->next = (r->next + 1) % r->most;
	if (r->n < r->most)
		r->n++;
	return 0;
}

void
attempt_ring_lost(struct attempt_ring *r, const struct attempts_lost *l)
{
	r->untold.over_rate += l->over_rate;
	r->untold.lost += l->lost;
}

uint32_t
attempt_ring_count(const struct attempt_ring *r)
{
	return r->n;
}

const struct attempts_one *
attempt_ring_at(const struct attempt_ring *r, uint32_t i)
{
	if (i >= r->n)
		return NULL;
	return r->v[(r->next + r->most - 1 - i) % r->most];
}

const struct attempt_counter *
attempt_ring_counter(const struct attempt_ring *r, uint32_t i)
{
	return i < r->ncounter ? &r->counter[i] : NULL;
}

struct attempts_lost
attempt_ring_untold(const struct attempt_ring *r)
{
	return r->untold;
}
