/*
 * sets: the plan's sets and names.
 *
 * A set of more than PLAN_SHARD_ABOVE ranges is split by address, for the
 * kernel dumps a large one in quadratic time and rebuilds it whole for each
 * change. The places to cut are chosen from the elements alone: having passed
 * `least` ranges, the next range whose first address hashes to 0 modulo
 * `chance` begins a new shard. A policy that gains or loses an element
 * therefore changes one shard, and almost never where the others begin; a
 * shard is named after the address where it begins, so it keeps its name.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "plan/lower.h"

enum { SHARD_ROOM = 8 };           /* at most least + SHARD_ROOM * chance in a shard */

/* A shard holds 16,384 on the average. */
const struct split split_usual = {
	.above = PLAN_SHARD_ABOVE, .least = 14336, .chance = 2048,
};

static bool
fits(char c, bool first)
{
	bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

	return letter || (!first && ((c >= '0' && c <= '9') || c == '-' || c == '.'));
}

/* Words of nft that our names could become: they end in a family's digit. */
static bool
word_of_nft(const char *s)
{
	return !strcmp(s, "ip6") || !strcmp(s, "icmpv6");
}

const char *
lower_name(struct lower *l, enum name_space sp, const char *fmt, ...)
{
	char raw[PLAN_NAME + 1];
	const char *name;
	va_list ap;
	size_t n;
	int fresh;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof raw, fmt, ap);
	va_end(ap);
	n = strlen(raw);
	if (n > PLAN_NAME - 32)    /* room for a prefix and a number */
		raw[n = PLAN_NAME - 32] = 0;
	for (size_t i = 0; i < n; i++)
		if (!fits(raw[i], false))
			raw[i] = '-';
	name = arena_printf(l->a, "%s%s%s", l->prefix,
	    *l->prefix || fits(raw[0], true) ? "" : "x-", raw);
	if (word_of_nft(name))
		name = arena_printf(l->a, "%s-", name);
	hash_names_add(l->name[sp], name, strlen(name), &fresh);
	for (unsigned k = 2; !fresh; k++) {
		const char *other = arena_printf(l->a, "%s-%u", name, k);

		hash_names_add(l->name[sp], other, strlen(other), &fresh);
		if (fresh)
			name = other;
	}
	return name;
}

uint32_t
lower_set(struct lower *l, struct plan_set s)
{
	struct plan *p = l->plan;

	ARENA_PUSH(l->a, p->set, p->nset, p->capset) = s;
	return p->nset - 1;
}

uint32_t
lower_counter_new(struct lower *l, const char *name)
{
	struct plan *p = l->plan;

	ARENA_PUSH(l->a, p->counter, p->ncounter, p->capcounter).name =
	    lower_name(l, NAME_COUNTER, "%s", name);
	return p->ncounter - 1;
}

uint32_t
lower_counter(struct lower *l, const struct policy_stmt *s)
{
	const struct policy_judge *j = &s->zone->judge[s->dir];

	if (l->counter[s->id] == PLAN_NONE)
		l->counter[s->id] = lower_counter_new(l, arena_printf(l->a, "%s-%s",
		    lower_judge_name(l, j), s->meta.name));
	return l->counter[s->id];
}

/* ---- ranges of either family ------------------------------------------- */

size_t
lower_count(enum addr_family f, const struct addr_set *x)
{
	return f == ADDR_V4 ? x->n4 : x->n6;
}

static u128
lo_at(enum addr_family f, const struct addr_set *x, size_t i)
{
	return f == ADDR_V4 ? x->v4[i].lo : x->v6[i].lo;
}

static u128
hi_at(enum addr_family f, const struct addr_set *x, size_t i)
{
	return f == ADDR_V4 ? x->v4[i].hi : x->v6[i].hi;
}

/* The first range of x that ends at v or behind. */
static size_t
find(enum addr_family f, const struct addr_set *x, u128 v)
{
	size_t lo = 0, hi = lower_count(f, x);

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (hi_at(f, x, mid) < v)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Whether x has an address in lo..hi. */
static bool
touches(enum addr_family f, const struct addr_set *x, u128 lo, u128 hi)
{
	size_t i = find(f, x, lo);

	return i < lower_count(f, x) && lo_at(f, x, i) <= hi;
}

bool
lower_meets(enum addr_family f, const struct addr_set *x, const struct addr_set *y)
{
	if (lower_count(f, x) > lower_count(f, y)) {
		const struct addr_set *t = x;

		x = y;
		y = t;
	}
	for (size_t i = 0; i < lower_count(f, x); i++)
		if (touches(f, y, lo_at(f, x, i), hi_at(f, x, i)))
			return true;
	return false;
}

bool
lower_inside(enum addr_family f, const struct addr_set *x, const struct addr_set *y)
{
	size_t nx = lower_count(f, x), ny = lower_count(f, y);
	u128 from = 0;

	if (nx <= ny) {
		for (size_t i = 0; i < nx; i++) {
			size_t k = find(f, y, lo_at(f, x, i));

			if (k == ny || lo_at(f, y, k) > lo_at(f, x, i) ||
			    hi_at(f, y, k) < hi_at(f, x, i))
				return false;
		}
		return true;
	}
	/* fewer gaps in y than ranges in x: nothing of x may lie in one */
	for (size_t k = 0; k < ny; k++) {
		u128 lo = lo_at(f, y, k);

		if (lo > from && touches(f, x, from, lo - 1))
			return false;
		if (hi_at(f, y, k) == addr_last(f))
			return true;
		from = hi_at(f, y, k) + 1;
	}
	return !touches(f, x, from, addr_last(f));
}

bool
lower_all(enum addr_family f, const struct addr_set *x)
{
	return lower_count(f, x) == 1 && lo_at(f, x, 0) == 0 &&
	    hi_at(f, x, 0) == addr_last(f);
}

/* ---- lots ---------------------------------------------------------------- */

static size_t
width(enum plan_key key)
{
	return key == PLAN_KEY_IPV4 ? sizeof(struct addr_range4) :
	    sizeof(struct addr_range6);
}

static u128
first_of(enum plan_key key, const void *v, size_t i)
{
	return key == PLAN_KEY_IPV4 ? ((const struct addr_range4 *)v)[i].lo :
	    ((const struct addr_range6 *)v)[i].lo;
}

static uint32_t
cut_at(enum plan_key key, const void *v, size_t n, size_t least, size_t chance,
    size_t first[], u128 cut[])
{
	uint32_t k = 1;

	first[0] = 0;
	cut[0] = 0;
	for (size_t i = 0; i < n; i++) {
		size_t held = i - first[k - 1];
		u128 lo;

		if (held < least)
			continue;
		lo = first_of(key, v, i);
		if (hash_u64(hash_u64(0, u128_hi(lo)), u128_lo(lo)) % chance &&
		    held < least + SHARD_ROOM * chance)
			continue;
		if (k == PLAN_SHARD_MOST)
			return 0;
		first[k] = i;
		cut[k++] = lo;
	}
	return k;
}

uint32_t
lower_split(enum plan_key key, const void *v, size_t n, const struct split *by,
    size_t first[PLAN_SHARD_MOST], u128 cut[PLAN_SHARD_MOST])
{
	uint32_t k = 0;

	if (n <= by->above) {
		first[0] = 0;
		cut[0] = 0;
		return 1;
	}
	for (size_t scale = 1; !k; scale *= 2)
		k = cut_at(key, v, n, by->least * scale, by->chance * scale,
		    first, cut);
	return k;
}

static struct plan_set
slice(const struct lot *t, const char *name, size_t from, size_t to)
{
	struct plan_set s = {.name = name, .kind = PLAN_SET, .key = t->key,
	    .interval = true, .n = to - from};

	if (t->key == PLAN_KEY_IPV4)
		s.v4 = (const struct addr_range4 *)t->v + from;
	else
		s.v6 = (const struct addr_range6 *)t->v + from;
	return s;
}

/* Makes the kernel sets of a new lot. */
static void
stock(struct lower *l, struct lot *t)
{
	size_t first[PLAN_SHARD_MOST + 1] = {0};
	u128 cut[PLAN_SHARD_MOST] = {0};

	t->nshard = 1;
	if (l->split)
		t->nshard = lower_split(t->key, t->v, t->n, l->split, first, cut);
	if (t->nshard == 1) {
		t->set = lower_set(l, slice(t, lower_name(l, NAME_SET, "%s", t->name),
		    0, t->n));
		return;
	}
	first[t->nshard] = t->n;
	t->cut = memcpy(arena_array(l->a, t->nshard, u128), cut,
	    t->nshard * sizeof *cut);
	t->set = l->plan->nset;
	for (uint32_t i = 0; i < t->nshard; i++) {
		const char *name = t->key == PLAN_KEY_IPV4 ?
		    lower_name(l, NAME_SET, "%s-%08x", t->name, (unsigned)cut[i]) :
		    lower_name(l, NAME_SET, "%s-%016llx%016llx", t->name,
		    (unsigned long long)u128_hi(cut[i]),
		    (unsigned long long)u128_lo(cut[i]));

		lower_set(l, slice(t, name, first[i], first[i + 1]));
	}
}

/* A hash of a few elements; equal sets are compared whole. */
static uint64_t
taste(enum plan_key key, const void *v, size_t n)
{
	size_t w = width(key);
	uint64_t h = hash_u64(hash_u64(0, key), n);

	for (size_t i = 0; i < 4; i++)
		h = hash_bytes(h, (const char *)v + (n - 1) * i / 3 * w, w);
	return h;
}

static void
rehash(struct lower *l)
{
	l->nbucket = l->nbucket ? l->nbucket * 2 : 64;
	l->bucket = arena_array(l->a, l->nbucket, uint32_t);
	for (uint32_t i = 0; i < l->nlot; i++) {
		struct lot *t = &l->lot[i];
		uint32_t *b = &l->bucket[taste(t->key, t->v, t->n) % l->nbucket];

		t->next = *b;
		*b = i + 1;
	}
}

uint32_t
lower_lot(struct lower *l, enum addr_family f, const struct addr_set *s,
    const char *name)
{
	enum plan_key key = f == ADDR_V4 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6;
	const void *v = f == ADDR_V4 ? (const void *)s->v4 : s->v6;
	size_t n = lower_count(f, s);
	uint64_t h;
	struct lot *t;

	assert(n > 0);
	if (l->nlot == l->nbucket)
		rehash(l);
	h = taste(key, v, n);
	for (uint32_t i = l->bucket[h % l->nbucket]; i; i = l->lot[i - 1].next) {
		t = &l->lot[i - 1];
		if (t->key == key && t->n == n &&
		    (t->v == v || !memcmp(t->v, v, n * width(key))))
			return i - 1;
	}
	t = &ARENA_PUSH(l->a, l->lot, l->nlot, l->caplot);
	*t = (struct lot){.key = key, .v = v, .n = n,
	    .name = arena_printf(l->a, "%s%c", name, f == ADDR_V4 ? '4' : '6'),
	    .next = l->bucket[h % l->nbucket]};
	l->bucket[h % l->nbucket] = l->nlot;
	stock(l, t);
	return l->nlot - 1;
}
