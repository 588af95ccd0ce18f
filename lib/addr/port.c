#include "addr/set.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

#define RANGE struct port_range
#define BOUND uint16_t
#define LAST UINT16_MAX
#define NAME(x) port_##x
#include "addr/algebra.h"

static const struct port_range mail[] = {
	{25, 25}, {110, 110}, {143, 143}, {465, 465}, {587, 587}, {993, 993},
	{995, 995},
};
static const struct port_range all[] = {{0, UINT16_MAX}};

/* Nobody writes through these: a set is changed only by adding, and a full
 * array (n == cap) is moved before it is written. */
const struct port_set port_set_mail = {(struct port_range *)mail, 7, 7};
const struct port_set port_set_all = {(struct port_range *)all, 1, 1};

void
port_set_add(struct arena *a, struct port_set *s, uint16_t lo, uint16_t hi)
{
	assert(lo <= hi);
	ARENA_PUSH(a, s->v, s->n, s->cap) = (struct port_range){lo, hi};
}

void
port_set_finish(struct port_set *s)
{
	if (!port_sorted(s->v, s->n))
		port_sort(s->v, s->n);
	s->n = port_merge(s->v, s->n);
}

bool
port_set_has(const struct port_set *s, uint16_t p)
{
	return port_has(s->v, s->n, p);
}

bool
port_set_equal(const struct port_set *a, const struct port_set *b)
{
	return port_equal(a->v, a->n, b->v, b->n);
}

bool
port_set_covers(const struct port_set *s, const struct port_set *in)
{
	return port_covers(s->v, s->n, in->v, in->n);
}

static void
room(struct arena *m, struct port_set *out, const struct port_set *a,
    const struct port_set *b)
{
	assert(out != a && out != b);
	*out = (struct port_set){.cap = a->n + b->n};
	out->v = arena_array(m, out->cap, struct port_range);
}

void
port_set_union(struct arena *m, struct port_set *out, const struct port_set *a,
    const struct port_set *b)
{
	room(m, out, a, b);
	out->n = port_union(out->v, a->v, a->n, b->v, b->n);
}

void
port_set_and(struct arena *m, struct port_set *out, const struct port_set *a,
    const struct port_set *b)
{
	room(m, out, a, b);
	out->n = port_and(out->v, a->v, a->n, b->v, b->n);
}

void
port_set_minus(struct arena *m, struct port_set *out, const struct port_set *a,
    const struct port_set *b)
{
	room(m, out, a, b);
	out->n = port_minus(out->v, a->v, a->n, b->v, b->n);
}
