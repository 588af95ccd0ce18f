#include "base/hash.h"

#include <stdbool.h>
#include <string.h>

#include "base/arena.h"

uint64_t
hash_u64(uint64_t h, uint64_t x)
{
	h ^= x + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
	h ^= h >> 30;
	h *= 0xbf58476d1ce4e5b9u;
	h ^= h >> 27;
	h *= 0x94d049bb133111ebu;
	return h ^ h >> 31;
}

uint64_t
hash_bytes(uint64_t h, const void *p, size_t n)
{
	const unsigned char *u = p;

	h = hash_u64(h, n);
	while (n) {
		uint64_t x = 0;
		size_t k = n < 8 ? n : 8;

		for (size_t i = 0; i < k; i++)
			x = x << 8 | u[i];
		h = hash_u64(h, x);
		u += k;
		n -= k;
	}
	return h;
}

struct name {
	const char *s;
	size_t n;
	uint64_t h;
};

struct hash_names {
	struct arena *a;
	struct name *v;
	uint32_t n, cap;
	uint32_t *slot;  /* number + 1, open addressing */
	uint32_t nslot;
};

struct hash_names *
hash_names_new(struct arena *a)
{
	struct hash_names *t = arena_of(a, struct hash_names);

	t->a = a;
	t->nslot = 64;
	t->slot = arena_array(a, t->nslot, uint32_t);
	return t;
}

static uint32_t
probe(const struct hash_names *t, const char *s, size_t n, uint64_t h)
{
	uint32_t i = (uint32_t)h & (t->nslot - 1);

	for (; t->slot[i]; i = (i + 1) & (t->nslot - 1)) {
		const struct name *e = &t->v[t->slot[i] - 1];

		if (e->h == h && e->n == n && !memcmp(e->s, s, n))
			break;
	}
	return i;
}

uint32_t
hash_names_find(const struct hash_names *t, const char *s, size_t n)
{
	return t->slot[probe(t, s, n, hash_bytes(0, s, n))] - 1;
}

uint32_t
hash_names_add(struct hash_names *t, const char *s, size_t n, int *fresh)
{
	uint64_t h = hash_bytes(0, s, n);
	uint32_t i = probe(t, s, n, h);
	bool new = !t->slot[i];

	if (fresh)
		*fresh = new;
	if (!new)
		return t->slot[i] - 1;
	if (2 * (t->n + 1) > t->nslot) {
		t->nslot *= 2;
		t->slot = arena_array(t->a, t->nslot, uint32_t);
		for (uint32_t k = 0; k < t->n; k++)
			t->slot[probe(t, t->v[k].s, t->v[k].n, t->v[k].h)] = k + 1;
		i = probe(t, s, n, h);
	}
	ARENA_PUSH(t->a, t->v, t->n, t->cap) =
	    (struct name){arena_strn(t->a, s, n), n, h};
	t->slot[i] = t->n;
	return t->n - 1;
}

const char *
hash_names_at(const struct hash_names *t, uint32_t i)
{
	return t->v[i].s;
}

size_t
hash_names_size(const struct hash_names *t, uint32_t i)
{
	return t->v[i].n;
}

uint32_t
hash_names_count(const struct hash_names *t)
{
	return t->n;
}
