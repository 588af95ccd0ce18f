#include "flow/fdd.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "flow/ival.h"

enum {
	LARGE = 4096,              /* edges from which a node's memory is its own */
	EDGES_A_NODE = 8,          /* the limit of edges, in limits of nodes */
	CACHE_FIRST = 1 << 12,
	CACHE_MOST = 1 << 20,
	SLOT_FIRST = 1 << 10,
	DEPTH = 64,                /* open builders: FLOW_NFIELD and some callers */
	SCRATCH_KEEP = 1 << 16,    /* edges of scratch that outlive an operation */
};

struct node {
	uint64_t hash;
	void *hi;                  /* NULL: swept */
	fdd_ref *child;            /* in the same piece of memory, behind hi */
	uint32_t n;
	uint8_t field;
};

struct narrow {
	uint32_t hi;
	fdd_ref child;
};

struct wide {
	u128 hi;
	fdd_ref child;
};

/* A node being built: its edges are the top of the scratch of its width. */
struct frame {
	enum flow_field field;
	bool wide, broken;
	size_t base;
};

struct result {
	uint32_t tag;              /* 0: empty */
	fdd_ref a, b, r;
};

struct fdd {
	struct arena *a;           /* the edges of small nodes */
	uint32_t most;
	struct node *node;
	uint32_t nnode, capnode, live;
	uint64_t edges;
	size_t large;              /* bytes of large nodes */
	uint32_t *slot;            /* node + 1, open addressing */
	uint32_t nslot;
	struct result *cache;      /* lossy, one place for a key */
	uint32_t ncache, stores;
	uint32_t tag;
	struct narrow *narrow;
	size_t nnarrow, capnarrow;
	struct wide *wide;
	size_t nwide, capwide;
	struct frame frame[DEPTH];
	unsigned nframe;
};

static void *
must(void *p)
{
	if (!p)
		abort();
	return p;
}

struct fdd *
fdd_new(uint32_t most)
{
	struct fdd *f = must(calloc(1, sizeof *f));

	f->a = arena_new();
	f->most = most < FDD_LEAF - 1 ? most : FDD_LEAF - 1;
	f->nslot = SLOT_FIRST;
	f->slot = must(calloc(f->nslot, sizeof *f->slot));
	f->ncache = CACHE_FIRST;
	f->cache = must(calloc(f->ncache, sizeof *f->cache));
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

	assert(f->nframe < DEPTH);
	f->frame[f->nframe++] = (struct frame){field, wide, false,
	    wide ? f->nwide : f->nnarrow};
}

static void
narrow_grow(struct fdd *f)
{
	f->capnarrow = f->capnarrow ? 2 * f->capnarrow : 256;
	f->narrow = must(realloc(f->narrow, f->capnarrow * sizeof *f->narrow));
}

static void
wide_grow(struct fdd *f)
{
	f->capwide = f->capwide ? 2 * f->capwide : 256;
	f->wide = must(realloc(f->wide, f->capwide * sizeof *f->wide));
}

static inline void
edge_narrow(struct fdd *f, struct frame *fr, uint32_t hi, fdd_ref child)
{
	if (child == FDD_NONE) {
		fr->broken = true;
	} else if (f->nnarrow > fr->base && f->narrow[f->nnarrow - 1].child == child) {
		f->narrow[f->nnarrow - 1].hi = hi;
	} else {
		if (f->nnarrow == f->capnarrow)
			narrow_grow(f);
		f->narrow[f->nnarrow++] = (struct narrow){hi, child};
	}
}

static inline void
edge_wide(struct fdd *f, struct frame *fr, u128 hi, fdd_ref child)
{
	if (child == FDD_NONE) {
		fr->broken = true;
	} else if (f->nwide > fr->base && f->wide[f->nwide - 1].child == child) {
		f->wide[f->nwide - 1].hi = hi;
	} else {
		if (f->nwide == f->capwide)
			wide_grow(f);
		f->wide[f->nwide++] = (struct wide){hi, child};
	}
}

static inline void
edge(struct fdd *f, struct frame *fr, u128 hi, fdd_ref child)
{
	if (fr->wide)
		edge_wide(f, fr, hi, child);
	else
		edge_narrow(f, fr, (uint32_t)hi, child);
}

void
fdd_edge(struct fdd *f, u128 hi, fdd_ref child)
{
	edge(f, &f->frame[f->nframe - 1], hi, child);
}

static inline uint64_t
mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
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
	f->slot = must(calloc(nslot, sizeof *f->slot));
	for (uint32_t i = 0; i < f->nnode; i++) {
		uint32_t k = (uint32_t)f->node[i].hash & (nslot - 1);

		if (!f->node[i].hi)
			continue;
		while (f->slot[k])
			k = (k + 1) & (nslot - 1);
		f->slot[k] = i + 1;
	}
}

static fdd_ref
node_add(struct fdd *f, const struct frame *fr, size_t n, uint64_t hash)
{
	size_t width = fr->wide ? sizeof(u128) : sizeof(uint32_t);
	size_t bytes = n * (width + sizeof(fdd_ref));
	struct node *x;

	if (f->live >= f->most || f->nnode >= FDD_LEAF - 1 ||
	    f->edges + n > (uint64_t)EDGES_A_NODE * f->most)
		return FDD_NONE;
	if (f->nnode == f->capnode) {
		f->capnode = f->capnode ? 2 * f->capnode : 256;
		f->node = must(realloc(f->node, f->capnode * sizeof *f->node));
	}
	x = &f->node[f->nnode];
	*x = (struct node){.hash = hash, .n = (uint32_t)n, .field = (uint8_t)fr->field};
	if (n >= LARGE) {
		x->hi = must(malloc(bytes));
		f->large += bytes;
	} else {
		x->hi = arena_alloc(f->a, bytes);
	}
	x->child = (fdd_ref *)(void *)((char *)x->hi + n * width);
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

/* ---- operations -------------------------------------------------------- */

uint32_t
fdd_tag(struct fdd *f)
{
	return ++f->tag;
}

static struct result *
cache_at(struct fdd *f, uint32_t tag, fdd_ref a, fdd_ref b)
{
	uint64_t h = mix(mix(tag, (uint64_t)a << 32 | b), 0);

	return &f->cache[(uint32_t)(h >> 32) & (f->ncache - 1)];
}

/* Grows with what is stored, so that small diagrams pay for a small one. */
static void
cache_put(struct fdd *f, uint32_t tag, fdd_ref a, fdd_ref b, fdd_ref r)
{
	if (++f->stores > f->ncache && f->ncache < CACHE_MOST) {
		struct result *old = f->cache;
		uint32_t n = f->ncache;

		f->ncache *= 4;
		f->stores = 0;
		f->cache = must(calloc(f->ncache, sizeof *f->cache));
		for (uint32_t i = 0; i < n; i++)
			if (old[i].tag)
				*cache_at(f, old[i].tag, old[i].a, old[i].b) = old[i];
		free(old);
	}
	*cache_at(f, tag, a, b) = (struct result){tag, a, b, r};
}

static bool
cache_get(struct fdd *f, uint32_t tag, fdd_ref a, fdd_ref b, fdd_ref *r)
{
	const struct result *c = cache_at(f, tag, a, b);

	if (c->tag != tag || c->a != a || c->b != b)
		return false;
	*r = c->r;
	return true;
}

struct fdd_view
fdd_view(const struct fdd *f, fdd_ref r)
{
	const struct node *x = &f->node[r];

	assert(!fdd_is_leaf(r) && r < f->nnode && x->hi);
	return (struct fdd_view){(enum flow_field)x->field,
	    field_row((enum flow_field)x->field)->wide, x->n, x->hi, x->child};
}

/* A leaf, or a node that asks a later field, laid open as one edge. */
static struct fdd_view
view_at(const struct fdd *f, const fdd_ref *r, enum flow_field field, const u128 *last)
{
	if (!fdd_is_leaf(*r) && f->node[*r].field == field)
		return fdd_view(f, *r);
	return (struct fdd_view){field, true, 1, last, r};
}

static enum flow_field
top(const struct fdd *f, fdd_ref r)
{
	return fdd_is_leaf(r) ? FLOW_NFIELD : (enum flow_field)f->node[r].field;
}

/* Long lists alternate between few children: the last pairs are at hand. */
enum { RECENT = 4 };

struct recent {
	fdd_ref a[RECENT], b[RECENT], r[RECENT];
};

static fdd_ref
apply(struct fdd *f, const struct fdd_op *op, fdd_ref a, fdd_ref b);

static inline fdd_ref
again(struct fdd *f, const struct fdd_op *op, struct recent *m, fdd_ref a, fdd_ref b)
{
	unsigned k = (a ^ a >> 1 ^ b << 1) % RECENT;

	if (m->a[k] != a || m->b[k] != b) {
		m->r[k] = apply(f, op, a, b);
		m->a[k] = a;
		m->b[k] = b;
	}
	return m->r[k];
}

/* The edges of two nodes side by side; one may stand for a leaf or a node further
 * down, as a single edge. */
static void
merge_narrow(struct fdd *f, const struct fdd_op *op, const struct fdd_view *va,
    const struct fdd_view *vb, uint32_t last)
{
	struct frame *fr = &f->frame[f->nframe - 1];
	const uint32_t *ah = va->wide ? &last : va->hi, *bh = vb->wide ? &last : vb->hi;
	struct recent m;

	memset(&m, 0xff, sizeof m);
	for (uint32_t i = 0, j = 0; ; ) {
		uint32_t x = ah[i], y = bh[j], h = x < y ? x : y;

		edge_narrow(f, fr, h, again(f, op, &m, va->child[i], vb->child[j]));
		if (h == last || fr->broken)
			return;
		i += x == h;
		j += y == h;
	}
}

static void
merge_wide(struct fdd *f, const struct fdd_op *op, const struct fdd_view *va,
    const struct fdd_view *vb, u128 last)
{
	struct frame *fr = &f->frame[f->nframe - 1];
	const u128 *ah = va->hi, *bh = vb->hi;
	struct recent m;

	memset(&m, 0xff, sizeof m);
	for (uint32_t i = 0, j = 0; ; ) {
		u128 x = ah[i], y = bh[j], h = x < y ? x : y;

		edge_wide(f, fr, h, again(f, op, &m, va->child[i], vb->child[j]));
		if (h == last || fr->broken)
			return;
		i += x == h;
		j += y == h;
	}
}

static fdd_ref
apply(struct fdd *f, const struct fdd_op *op, fdd_ref a, fdd_ref b)
{
	enum flow_field fa, fb, field;
	struct fdd_view va, vb;
	fdd_ref r;
	u128 last;

	if (a == FDD_NONE || b == FDD_NONE)
		return FDD_NONE;
	if (op->quick && (r = op->quick(op->arg, a, b)) != FDD_NONE)
		return r;
	if (op->commutes && a > b) {
		fdd_ref t = a;

		a = b;
		b = t;
	}
	if (cache_get(f, op->tag, a, b, &r))
		return r;
	if (fdd_is_leaf(a) && fdd_is_leaf(b)) {
		r = fdd_leaf(op->leaf(op->arg, fdd_number(a), fdd_number(b)));
		cache_put(f, op->tag, a, b, r);
		return r;
	}
	fa = top(f, a);
	fb = top(f, b);
	field = fa < fb ? fa : fb;
	last = field_row(field)->last;
	va = view_at(f, &a, field, &last);
	vb = view_at(f, &b, field, &last);
	fdd_begin(f, field);
	if (field_row(field)->wide)
		merge_wide(f, op, &va, &vb, last);
	else
		merge_narrow(f, op, &va, &vb, (uint32_t)last);
	r = fdd_end(f);
	if (r != FDD_NONE)
		cache_put(f, op->tag, a, b, r);
	return r;
}

static void
trim(struct fdd *f)
{
	if (f->nframe)
		return;
	if (f->capnarrow > SCRATCH_KEEP) {
		free(f->narrow);
		f->narrow = NULL;
		f->capnarrow = 0;
	}
	if (f->capwide > SCRATCH_KEEP) {
		free(f->wide);
		f->wide = NULL;
		f->capwide = 0;
	}
}

fdd_ref
fdd_apply(struct fdd *f, const struct fdd_op *op, fdd_ref a, fdd_ref b)
{
	fdd_ref r = apply(f, op, a, b);

	trim(f);
	return r;
}

fdd_ref
fdd_fold(struct fdd *f, const struct fdd_op *op, fdd_ref *r, size_t n, fdd_ref none)
{
	if (!n)
		return none;
	for (; n > 1; n = (n + 1) / 2) {
		for (size_t i = 0; i < n / 2; i++)
			r[i] = apply(f, op, r[2 * i], r[2 * i + 1]);
		if (n % 2)
			r[n / 2] = r[n - 1];
	}
	trim(f);
	return r[0];
}

/* What map and fix have in common: one diagram in, leaves replaced, or one
 * field fixed. */
struct unary {
	uint32_t tag;
	uint32_t (*leaf)(void *arg, uint32_t l);
	void *arg;
	enum flow_field field;     /* FLOW_NFIELD: none is fixed */
	u128 x;
};

static fdd_ref
unary(struct fdd *f, const struct unary *u, fdd_ref a)
{
	fdd_ref r, la = FDD_NONE, lr = FDD_NONE;
	struct fdd_view v;
	struct frame *fr;

	if (a == FDD_NONE)
		return FDD_NONE;
	if (top(f, a) == u->field && u->field != FLOW_NFIELD) {
		v = fdd_view(f, a);
		return v.child[fdd_find(&v, u->x)];
	}
	if (u->field != FLOW_NFIELD && top(f, a) > u->field)
		return a;
	if (cache_get(f, u->tag, a, FDD_NONE, &r))
		return r;
	if (fdd_is_leaf(a)) {
		assert(u->leaf);
		r = fdd_leaf(u->leaf(u->arg, fdd_number(a)));
	} else {
		v = fdd_view(f, a);
		fdd_begin(f, v.field);
		fr = &f->frame[f->nframe - 1];
		for (uint32_t i = 0; i < v.n && !fr->broken; i++) {
			if (v.child[i] != la) {
				la = v.child[i];
				lr = unary(f, u, la);
			}
			edge(f, fr, fdd_hi(&v, i), lr);
		}
		r = fdd_end(f);
	}
	if (r != FDD_NONE)
		cache_put(f, u->tag, a, FDD_NONE, r);
	return r;
}

fdd_ref
fdd_map(struct fdd *f, uint32_t tag, uint32_t (*leaf)(void *arg, uint32_t l),
    void *arg, fdd_ref a)
{
	struct unary u = {.tag = tag, .leaf = leaf, .arg = arg, .field = FLOW_NFIELD};
	fdd_ref r = unary(f, &u, a);

	trim(f);
	return r;
}

fdd_ref
fdd_fix(struct fdd *f, fdd_ref a, enum flow_field field, u128 x)
{
	struct unary u = {.tag = fdd_tag(f), .field = field, .x = x};
	fdd_ref r = unary(f, &u, a);

	trim(f);
	return r;
}

/* ---- reading ----------------------------------------------------------- */

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
	seen = must(calloc(f->nnode - mark, 1));
	for (size_t i = 0; i < n; i++)
		if (keep[i] != FDD_NONE)
			reach(f, mark, seen, keep[i]);
	for (uint32_t i = mark; i < f->nnode; i++) {
		struct node *x = &f->node[i];

		if (seen[i - mark] || !x->hi)
			continue;
		if (x->n >= LARGE) {
			f->large -= x->n * ((field_row((enum flow_field)x->field)->wide ?
			    sizeof(u128) : sizeof(uint32_t)) + sizeof(fdd_ref));
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
