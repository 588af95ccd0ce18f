#include "flow/fdd.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "flow/fdd_inside.h"
#include "flow/ival.h"

enum {
	LARGE = 4096,              /* edges from which a node's memory is its own */
	EDGES_A_NODE = 8,          /* the limit of edges, in limits of nodes */
	CACHE_FIRST = 1 << 12,
	SLOT_FIRST = 1 << 10,
};

void *
fdd_must(void *p)
{
	if (!p)
		abort();
	return p;
}

struct fdd *
fdd_new(uint32_t most)
{
	struct fdd *f = fdd_must(calloc(1, sizeof *f));

	f->a = arena_new();
	f->most = most < FDD_LEAF - 1 ? most : FDD_LEAF - 1;
	f->nslot = SLOT_FIRST;
	f->slot = fdd_must(calloc(f->nslot, sizeof *f->slot));
	f->ncache = CACHE_FIRST;
	f->cache = fdd_must(calloc(f->ncache, sizeof *f->cache));
	return f;
}

struct fdd *
fdd_free(struct fdd *f)
{
	if (!f)
		return NULL;
	for (uint32_t i = 0; i < f->nnode; i++)
		if (f->node[i].n >= LARGE)
			free(f->node[i].hi);
	arena_free(f->a);
	free(f->node);
	free(f->slot);
	free(f->cache);
	free(f->narrow);
	free(f->wide);
	free(f);
	return NULL;
}

uint32_t
fdd_most(const struct fdd *f)
{
	return f->most;
}

uint32_t
fdd_count(const struct fdd *f)
{
	return f->live;
}

uint64_t
fdd_edges(const struct fdd *f)
{
	return f->edges;
}

size_t
fdd_used(const struct fdd *f)
{
	return arena_used(f->a) + f->large + f->capnode * sizeof *f->node +
	    f->nslot * sizeof *f->slot + f->ncache * sizeof *f->cache +
	    f->capnarrow * sizeof *f->narrow + f->capwide * sizeof *f->wide;
}

/* ---- making nodes ------------------------------------------------------ */

void
fdd_begin(struct fdd *f, enum flow_field field)
{
	bool wide = field_row(field)->wide;

	assert(f->nframe < FDD_DEPTH);
	f->frame[f->nframe++] = (struct frame){field, wide, false,
	    wide ? f->nwide : f->nnarrow};
}

void
fdd_grow_narrow(struct fdd *f)
{
	f->capnarrow = f->capnarrow ? 2 * f->capnarrow : 256;
	f->narrow = fdd_must(realloc(f->narrow, f->capnarrow * sizeof *f->narrow));
}

void
fdd_grow_wide(struct fdd *f)
{
	f->capwide = f->capwide ? 2 * f->capwide : 256;
	f->wide = fdd_must(realloc(f->wide, f->capwide * sizeof *f->wide));
}

void
fdd_edge(struct fdd *f, u128 hi, fdd_ref child)
{
	edge(f, &f->frame[f->nframe - 1], hi, child);
}

/* Two lanes, since a multiplication has to be waited for. */
static uint64_t
hash_frame(const struct fdd *f, const struct frame *fr, size_t n)
{
	uint64_t h = mix(fr->field, n), g = h;

	if (fr->wide) {
		const struct wide *e = f->wide + fr->base;

		for (size_t i = 0; i < n; i++) {
			h = mix(h, u128_hi(e[i].hi));
			g = mix(g, (u128_lo(e[i].hi) << 13 | u128_lo(e[i].hi) >> 51) ^ e[i].child);
		}
	} else {
		const struct narrow *e = f->narrow + fr->base;

		for (size_t i = 0; i + 1 < n; i += 2) {
			h = mix(h, (uint64_t)e[i].hi << 32 | e[i].child);
			g = mix(g, (uint64_t)e[i + 1].hi << 32 | e[i + 1].child);
		}
		h = mix(h, (uint64_t)e[n - 1].hi << 32 | e[n - 1].child);
	}
	return hash_u64(h, g);
}

static bool
same(const struct fdd *f, const struct frame *fr, const struct node *x, size_t n)
{
	if (fr->field != x->field || n != x->n)
		return false;
	if (fr->wide) {
		const struct wide *e = f->wide + fr->base;

		for (size_t i = 0; i < n; i++)
			if (e[i].child != x->child[i] || e[i].hi != ((u128 *)x->hi)[i])
				return false;
	} else {
		const struct narrow *e = f->narrow + fr->base;

		for (size_t i = 0; i < n; i++)
			if (e[i].child != x->child[i] || e[i].hi != ((uint32_t *)x->hi)[i])
				return false;
	}
	return true;
}

static void
slots_fill(struct fdd *f, uint32_t nslot)
{
	free(f->slot);
	f->nslot = nslot;
	f->slot = fdd_must(calloc(nslot, sizeof *f->slot));
	for (uint32_t i = 0; i < f->nnode; i++) {
		uint32_t k = (uint32_t)f->node[i].hash & (nslot - 1);

		if (!f->node[i].hi)
			continue;
		while (f->slot[k])
			k = (k + 1) & (nslot - 1);
		f->slot[k] = i + 1;
	}
}

/* The bytes of an edge of a node. */
static size_t
edge_bytes(bool wide)
{
	return sizeof(fdd_ref) + (wide ? sizeof(u128) : sizeof(uint32_t));
}

static fdd_ref
node_add(struct fdd *f, const struct frame *fr, size_t n, uint64_t hash)
{
	size_t bytes = n * edge_bytes(fr->wide);
	struct node *x;

	if (f->live >= f->most || f->nnode >= FDD_LEAF - 1 ||
	    f->edges + n > (uint64_t)EDGES_A_NODE * f->most)
		return FDD_NONE;
	if (f->nnode == f->capnode) {
		f->capnode = f->capnode ? 2 * f->capnode : 256;
		f->node = fdd_must(realloc(f->node, f->capnode * sizeof *f->node));
	}
	x = &f->node[f->nnode];
	*x = (struct node){.hash = hash, .n = (uint32_t)n, .field = (uint8_t)fr->field};
	if (n >= LARGE) {
		x->hi = fdd_must(malloc(bytes));
		f->large += bytes;
	} else {
		x->hi = arena_alloc(f->a, bytes);
	}
	x->child = (fdd_ref *)(void *)((char *)x->hi + bytes) - n;
	if (fr->wide) {
		const struct wide *e = f->wide + fr->base;

		for (size_t i = 0; i < n; i++) {
			((u128 *)x->hi)[i] = e[i].hi;
			x->child[i] = e[i].child;
		}
	} else {
		const struct narrow *e = f->narrow + fr->base;

		for (size_t i = 0; i < n; i++) {
			((uint32_t *)x->hi)[i] = e[i].hi;
			x->child[i] = e[i].child;
		}
	}
	for (size_t i = 0; i < n; i++)
		assert(fdd_is_leaf(x->child[i]) || f->node[x->child[i]].field > x->field);
	f->edges += n;
	f->live++;
	return f->nnode++;
}

fdd_ref
fdd_end(struct fdd *f)
{
	struct frame *fr = &f->frame[--f->nframe];
	size_t n = (fr->wide ? f->nwide : f->nnarrow) - fr->base;
	fdd_ref r;

	assert(fr->broken || n);
	if (fr->broken) {
		r = FDD_NONE;
	} else if (n == 1) {
		r = fr->wide ? f->wide[fr->base].child : f->narrow[fr->base].child;
	} else {
		uint64_t h = hash_frame(f, fr, n);
		uint32_t k = (uint32_t)h & (f->nslot - 1);

		assert((fr->wide ? f->wide[f->nwide - 1].hi : f->narrow[f->nnarrow - 1].hi) ==
		    field_row(fr->field)->last);
		for (; f->slot[k]; k = (k + 1) & (f->nslot - 1)) {
			const struct node *x = &f->node[f->slot[k] - 1];

			if (x->hash == h && same(f, fr, x, n))
				break;
		}
		if (f->slot[k]) {
			r = f->slot[k] - 1;
		} else if ((r = node_add(f, fr, n, h)) != FDD_NONE) {
			f->slot[k] = r + 1;
			if (2 * (uint64_t)f->live > f->nslot)
				slots_fill(f, 2 * f->nslot);
		}
	}
	if (fr->wide)
		f->nwide = fr->base;
	else
		f->nnarrow = fr->base;
	return r;
}

fdd_ref
fdd_range(struct fdd *f, enum flow_field field, u128 lo, u128 hi, fdd_ref yes, fdd_ref no)
{
	const struct field_row *row = field_row(field);

	fdd_begin(f, field);
	if (lo > row->first)
		fdd_edge(f, lo - 1, no);
	fdd_edge(f, hi, yes);
	if (hi < row->last)
		fdd_edge(f, row->last, no);
	return fdd_end(f);
}

fdd_ref
fdd_among(struct fdd *f, enum flow_field field, const struct ivals *s, fdd_ref yes, fdd_ref no)
{
	const struct field_row *row = field_row(field);
	u128 next = row->first;

	fdd_begin(f, field);
	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].lo > next)
			fdd_edge(f, s->v[i].lo - 1, no);
		fdd_edge(f, s->v[i].hi, yes);
		next = s->v[i].hi + 1;
	}
	if (!s->n || s->v[s->n - 1].hi < row->last)
		fdd_edge(f, row->last, no);
	return fdd_end(f);
}

/* ---- reading ----------------------------------------------------------- */

struct fdd_view
fdd_view(const struct fdd *f, fdd_ref r)
{
	const struct node *x = &f->node[r];

	assert(!fdd_is_leaf(r) && r < f->nnode && x->hi);
	return (struct fdd_view){(enum flow_field)x->field,
	    field_row((enum flow_field)x->field)->wide, x->n, x->hi, x->child};
}

uint32_t
fdd_find(const struct fdd_view *v, u128 x)
{
	uint32_t lo = 0, hi = v->n - 1;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (fdd_hi(v, mid) < x)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

fdd_ref
fdd_eval(const struct fdd *f, fdd_ref r, const u128 x[FLOW_NFIELD])
{
	while (!fdd_is_leaf(r)) {
		struct fdd_view v = fdd_view(f, r);

		r = v.child[fdd_find(&v, x[v.field])];
	}
	return r;
}

/* ---- memory ------------------------------------------------------------ */

uint32_t
fdd_mark(const struct fdd *f)
{
	return f->nnode;
}

static void
reach(const struct fdd *f, uint32_t mark, uint8_t *seen, fdd_ref r)
{
	struct fdd_view v;

	if (fdd_is_leaf(r) || r < mark || seen[r - mark])
		return;
	seen[r - mark] = 1;
	v = fdd_view(f, r);
	for (uint32_t i = 0; i < v.n; i++)
		reach(f, mark, seen, v.child[i]);
}

void
fdd_sweep(struct fdd *f, uint32_t mark, const fdd_ref *keep, size_t n)
{
	uint8_t *seen;

	if (mark >= f->nnode)
		return;
	seen = fdd_must(calloc(f->nnode - mark, 1));
	for (size_t i = 0; i < n; i++)
		if (keep[i] != FDD_NONE)
			reach(f, mark, seen, keep[i]);
	for (uint32_t i = mark; i < f->nnode; i++) {
		struct node *x = &f->node[i];

		if (seen[i - mark] || !x->hi)
			continue;
		if (x->n >= LARGE) {
			f->large -= x->n * edge_bytes(field_row((enum flow_field)x->field)->wide);
			free(x->hi);
		}
		f->edges -= x->n;
		f->live--;
		*x = (struct node){0};
	}
	free(seen);
	while (f->nnode > mark && !f->node[f->nnode - 1].hi)
		f->nnode--;
	slots_fill(f, f->nslot);
	memset(f->cache, 0, f->ncache * sizeof *f->cache);
	f->stores = 0;
}
