#include "flow/fdd.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "flow/fdd_inside.h"

enum {
	CACHE_MOST = 1 << 20,
	SCRATCH_KEEP = 1 << 16,    /* edges of scratch that outlive an operation */
};

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
		f->cache = fdd_must(calloc(f->ncache, sizeof *f->cache));
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

/* Gives back the scratch that one large operation took. */
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
