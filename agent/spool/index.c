/* The index in memory: heaps, relays, entries and their parts. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "spool/inside.h"

/* ---- heap ---- */

int
heap_room(struct heap *h, size_t n)
{
	size_t cap = h->cap ? h->cap : 8;
	struct node **v;

	if (n <= h->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	if (cap > UINT32_MAX / 2)
		return -ENOMEM;
	v = realloc(h->v, cap * sizeof(struct node *));
	if (!v)
		return -ENOMEM;
	h->v = v;
	h->cap = (uint32_t)cap;
	return 0;
}

static bool
before(const struct node *a, const struct node *b)
{
	return a->key < b->key || (a->key == b->key && a->tie < b->tie);
}

static void
place(struct heap *h, uint32_t i, struct node *x)
{
	h->v[i] = x;
	x->pos = i + 1;
}

static void
sift(struct heap *h, uint32_t i)
{
	struct node *x = h->v[i];

	for (; i && before(x, h->v[(i - 1) / 2]); i = (i - 1) / 2)
		place(h, i, h->v[(i - 1) / 2]);
	for (;;) {
		uint32_t k = 2 * i + 1;

		if (k + 1 < h->n && before(h->v[k + 1], h->v[k]))
			k++;
		if (k >= h->n || !before(h->v[k], x))
			break;
		place(h, i, h->v[k]);
		i = k;
	}
	place(h, i, x);
}

void
heap_put(struct heap *h, struct node *x, uint64_t key)
{
	x->key = key;
	if (!x->pos) {
		assert(h->n < h->cap);
		h->v[h->n++] = x;
		sift(h, h->n - 1);
	} else {
		sift(h, x->pos - 1);
	}
}

void
heap_drop(struct heap *h, struct node *x)
{
	uint32_t i = x->pos;

	if (!i)
		return;
	assert(h->v[i - 1] == x);
	x->pos = 0;
	if (i == h->n--)
		return;
	h->v[i - 1] = h->v[h->n];
	sift(h, i - 1);
}

/* ---- relays ---- */

struct relay *
relay_find(const struct spool *s, const char *name)
{
	for (size_t i = 0; i < s->nrelay; i++)
		if (!strcmp(s->relay[i]->name, name))
			return s->relay[i];
	return NULL;
}

static void
relay_free(struct relay *r)
{
	free(r->due.v);
	free(r->name);
	free(r);
}

struct relay *
relay_get(struct spool *s, const char *name)
{
	struct relay *r = relay_find(s, name);
	size_t at = s->nrelay;

	if (r)
		return r;
	/* The place of one that has no mail. */
	if (at == SPOOL_RELAYS_MOST) {
		for (at = 0; at < s->nrelay && s->relay[at]->parts; at++)
			;
		if (at == s->nrelay)
			return NULL;
	}
	r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	r->name = strdup(name);
	if (!r->name) {
		free(r);
		return NULL;
	}
	if (at < s->nrelay)
		relay_free(s->relay[at]);
	else
		s->nrelay++;
	s->relay[at] = r;
	return r;
}

bool
relay_open(const struct spool *s, const struct relay *r)
{
	return s->c.circuit_after && r->failures >= s->c.circuit_after;
}

uint64_t
relay_wake(const struct spool *s, const struct relay *r)
{
	uint64_t t;

	if (r->stopped || !r->due.n)
		return UINT64_MAX;
	t = r->due.v[0]->key;
	if (!relay_open(s, r))
		return t;
	if (r->sending)
		return UINT64_MAX;
	return t > r->until ? t : r->until;
}

/* splitmix64 */
static uint64_t
random_next(struct spool *s)
{
	uint64_t z = s->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t
backoff(struct spool *s, uint64_t first, unsigned n)
{
	uint64_t t = first ? first : 1, most = s->c.retry_most ? s->c.retry_most : 1;

	while (n-- > 1 && t < most)
		t *= 2;
	if (t > most)
		t = most;
	/* A quarter more or less, so that what failed together does not come back together. */
	return t - t / 4 + random_next(s) % (t / 2 + 1);
}

/* ---- entries ---- */

static size_t
bucket_of(const struct spool *s, uint64_t id)
{
	return hash_u64(0, id) & (s->nbucket - 1);
}

struct entry *
entry_find(const struct spool *s, uint64_t id)
{
	struct entry *e = s->nbucket ? s->bucket[bucket_of(s, id)] : NULL;

	while (e && e->id != id)
		e = e->hash;
	return e;
}

/* Twice the buckets; without memory the chains grow instead. */
static void
more_buckets(struct spool *s)
{
	size_t n = s->nbucket * 2;
	struct entry **v = calloc(n, sizeof(struct entry *));

	if (!v)
		return;
	free(s->bucket);
	s->bucket = v;
	s->nbucket = n;
	for (struct entry *e = s->first; e; e = e->next) {
		size_t b = bucket_of(s, e->id);

		e->hash = v[b];
		v[b] = e;
	}
}

static bool
is_open(enum spool_state st)
{
	return st == SPOOL_PENDING || st == SPOOL_SENDING || st == SPOOL_HELD;
}

static struct part *
part_of(struct part *v, size_t n, const char *relay)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(v[i].relay->name, relay))
			return &v[i];
	return NULL;
}

int
entry_parts(struct spool *s, struct entry *e, const struct spool_envelope *env)
{
	struct part *v = NULL;
	size_t n = 0, cap = 0;
	int r = 0;

	for (size_t i = 0; i < env->nrcpt && !r; i++) {
		struct relay *to;

		if (!is_open(env->rcpt[i].state) || part_of(v, n, env->rcpt[i].relay))
			continue;
		if (n == cap) {
			struct part *w = realloc(v, (cap ? 2 * cap : 1) * sizeof *w);

			if (!w) {
				r = -ENOMEM;
				break;
			}
			v = w;
			cap = cap ? 2 * cap : 1;
		}
		to = relay_get(s, env->rcpt[i].relay);
		if (!to)
			r = -ENOMEM;
		else
			r = heap_room(&to->due, (size_t)to->parts + 1);
		if (!r) {
			v[n++] = (struct part){.e = e, .relay = to, .node = {.tie = e->id}};
			to->parts++;
		}
	}
	if (r) {
		for (size_t i = 0; i < n; i++)
			v[i].relay->parts--;
		free(v);
		return r;
	}
	for (uint32_t i = 0; i < e->nparts; i++) {
		struct part *p = &e->part[i];

		assert(!p->sending);
		heap_drop(&p->relay->due, &p->node);
		p->relay->parts--;
		p->relay->held -= p->held > 0;
	}
	if (e->part != &e->one)
		free(e->part);
	if (n == 1) {
		e->one = v[0];
		free(v);
		v = &e->one;
	}
	e->part = v;
	e->nparts = (uint32_t)n;
	return 0;
}

struct entry *
entry_new(struct spool *s, const struct spool_envelope *env, uint64_t size, int *err)
{
	struct entry *e = calloc(1, sizeof *e);

	*err = -ENOMEM;
	if (!e)
		return NULL;
	e->id = e->node.tie = env->id;
	e->arrived = env->arrived;
	e->size = size;
	if (!s->nbucket) {
		s->bucket = calloc(256, sizeof(struct entry *));
		s->nbucket = s->bucket ? 256 : 0;
	}
	if (s->nbucket && !heap_room(&s->attention, (size_t)s->entries + s->arrivals + 1))
		*err = entry_parts(s, e, env);
	if (*err) {
		free(e);
		return NULL;
	}
	return e;
}

void
part_put(struct part *p, uint64_t when)
{
	if (p->pending && !p->sending && !p->e->damaged)
		heap_put(&p->relay->due, &p->node, when);
	else
		heap_drop(&p->relay->due, &p->node);
}

void
entry_schedule(struct spool *s, struct entry *e, const struct spool_envelope *env)
{
	(void)s;
	e->owed = false;
	for (uint32_t i = 0; i < e->nparts; i++) {
		e->part[i].relay->held -= e->part[i].held > 0;
		e->part[i].pending = e->part[i].held = 0;
		e->part[i].node.key = UINT64_MAX;
	}
	for (size_t i = 0; i < env->nrcpt; i++) {
		const struct spool_rcpt *r = &env->rcpt[i];
		struct part *p;

		e->owed |= r->owed;
		if (!is_open(r->state))
			continue;
		p = part_of(e->part, e->nparts, r->relay);
		assert(p);
		if (r->state == SPOOL_HELD) {
			p->held++;
			continue;
		}
		p->pending++;
		if (p->attempts < r->attempts)
			p->attempts = r->attempts;
		if (r->next < p->node.key)
			p->node.key = r->next;
	}
	for (uint32_t i = 0; i < e->nparts; i++) {
		struct part *p = &e->part[i];

		p->relay->held += p->held > 0;
		part_put(p, p->node.key);
	}
}

void
entry_attend(struct spool *s, struct entry *e, uint64_t not_before)
{
	uint64_t when = UINT64_MAX;
	bool pending = false;

	for (uint32_t i = 0; i < e->nparts; i++)
		pending |= e->part[i].pending > 0;
	if (pending && s->c.lifetime)
		when = e->arrived + s->c.lifetime;
	if (pending && s->c.warn_after && !e->warned && e->arrived + s->c.warn_after < when)
		when = e->arrived + s->c.warn_after;
	if (e->owed && e->told < when)
		when = e->told;
	if (e->damaged)
		when = 0;
	if (when == UINT64_MAX)
		heap_drop(&s->attention, &e->node);
	else
		heap_put(&s->attention, &e->node, when > not_before ? when : not_before);
}

void
entry_join(struct spool *s, struct entry *e, const struct spool_envelope *env)
{
	struct entry *after = s->last;
	size_t b;

	if (s->entries >= s->nbucket)
		more_buckets(s);
	b = bucket_of(s, e->id);
	e->hash = s->bucket[b];
	s->bucket[b] = e;
	/* Ids grow, so the place is at the end or near it. */
	while (after && after->id > e->id)
		after = after->prev;
	e->prev = after;
	e->next = after ? after->next : s->first;
	*(e->next ? &e->next->prev : &s->last) = e;
	*(after ? &after->next : &s->first) = e;
	s->entries++;
	if (env)
		entry_schedule(s, e, env);
	else
		for (uint32_t i = 0; i < e->nparts; i++)
			part_put(&e->part[i], e->first);
	entry_attend(s, e, 0);
}

void
entry_free(struct spool *s, struct entry *e)
{
	struct entry **p;

	for (p = s->nbucket ? &s->bucket[bucket_of(s, e->id)] : NULL; p && *p && *p != e; p = &(*p)->hash)
		;
	if (p && *p) {
		*p = e->hash;
		*(e->prev ? &e->prev->next : &s->first) = e->next;
		*(e->next ? &e->next->prev : &s->last) = e->prev;
		s->entries--;
		s->count--;
		s->bytes -= e->size;
		if (e->is_dirty) {
			struct entry **d = &s->dirty;

			while (*d != e)
				d = &(*d)->dirty;
			*d = e->dirty;
		}
	}
	heap_drop(&s->attention, &e->node);
	for (uint32_t i = 0; i < e->nparts; i++) {
		struct part *q = &e->part[i];

		heap_drop(&q->relay->due, &q->node);
		q->relay->parts--;
		q->relay->held -= q->held > 0;
		q->relay->sending -= q->sending;
	}
	if (e->part != &e->one)
		free(e->part);
	free(e);
}
