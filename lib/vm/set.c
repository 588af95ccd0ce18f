/*
 * set: looking up in a set, for all packets at once.
 *
 * Elements become boxes: for each source that the key is made of, an interval of its
 * numbers. Boxes that lead to one thing are a class, and a class becomes a condition by
 * sorting and linear merges, never one element at a time.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "vm/inside.h"

enum { MOST_DIMS = 8, MOST_KEY = 16 };

struct span {
	u128 lo, hi;
};

struct box {
	uint32_t class;
	const struct span *at;     /* of each dimension */
};

struct boxes {
	struct exec *x;
	struct arena *a;           /* for the time of the lookup */
	const struct sym *b;       /* the key's bytes */
	enum source dim[MOST_DIMS]; /* special ones first, then plain ones by field */
	uint8_t dim_of[S_NSOURCE];
	unsigned ndim;
	bool lost;                 /* some byte of the key cannot be known */
	struct box *v;
	size_t n, cap;
	struct hash_names *classes;
	struct found *found;
	size_t nfound, capfound;
	struct span *pool;
	size_t npool;
};

static u128
number(const uint8_t *p, uint32_t n)
{
	u128 y = 0;

	while (n--)
		y = y << 8 | *p++;
	return y;
}

static u128
top_of(unsigned bytes)
{
	return bytes >= 16 ? U128_MAX : ((u128)1 << 8 * bytes) - 1;
}

/* ---- the shape of the key -------------------------------------------------------- */

static int
dim_order(enum source s)
{
	return source_row(s)->plain ? 100 + (int)source_row(s)->field : (int)s;
}

static bool
shape(struct boxes *w, uint32_t n)
{
	for (uint32_t j = 0; j < n; j++) {
		enum source s = (enum source)w->b[j].source;
		unsigned k;

		if (s == S_LOST && w->b[j].mask)
			w->lost = true;
		if (s == S_FIXED || s == S_LOST)
			continue;
		for (k = 0; k < w->ndim && w->dim[k] != s; k++)
			;
		if (k < w->ndim)
			continue;
		if (w->ndim == MOST_DIMS)
			return false;
		for (k = w->ndim++; k && dim_order(w->dim[k - 1]) > dim_order(s); k--)
			w->dim[k] = w->dim[k - 1];
		w->dim[k] = s;
	}
	for (unsigned k = 0; k < w->ndim; k++)
		w->dim_of[w->dim[k]] = (uint8_t)k;
	return true;
}

static struct span *
spans(struct boxes *w)
{
	struct span *p;

	if (w->npool < w->ndim + 1) {
		w->npool = 4096;
		w->pool = arena_array(w->a, w->npool, struct span);
	}
	p = w->pool;
	w->pool += w->ndim + 1;
	w->npool -= w->ndim + 1;
	for (unsigned k = 0; k < w->ndim; k++)
		p[k] = (struct span){0, top_of(source_row(w->dim[k])->bytes)};
	return p;
}

static void
add(struct boxes *w, uint32_t class, const struct span *at)
{
	ARENA_PUSH(w->a, w->v, w->n, w->cap) = (struct box){class, at};
}

/* ---- elements ------------------------------------------------------------------------ */

/* The element whose key the bytes must equal; false: too many intervals. */
static bool
add_equal(struct boxes *w, uint32_t class, const uint8_t *key, uint32_t n)
{
	u128 m[MOST_DIMS] = {0}, want[MOST_DIMS] = {0};
	struct span *p;
	int gappy = -1;

	for (uint32_t j = 0; j < n; j++) {
		const struct sym *b = &w->b[j];
		uint8_t c = key[j] ^ b->flip;
		unsigned shift, k;
		u128 bm, bw;

		if (c & ~b->mask)
			return true;
		if (b->source == S_FIXED || b->source == S_LOST)
			continue;
		k = w->dim_of[b->source];
		shift = 8u * (source_row((enum source)b->source)->bytes - 1u - b->idx);
		bm = (u128)b->mask << shift;
		bw = (u128)c << shift;
		if ((want[k] ^ bw) & m[k] & bm)
			return true;
		m[k] |= bm;
		want[k] |= bw;
	}
	p = spans(w);
	for (unsigned k = 0; k < w->ndim; k++) {
		u128 gap = top_of(source_row(w->dim[k])->bytes) & ~m[k];

		p[k] = (struct span){want[k], want[k] | gap};
		if (gap & (gap + 1)) {
			if (gappy >= 0)
				return false;
			gappy = (int)k;
		}
	}
	if (gappy < 0) {
		add(w, class, p);
	} else {
		struct ivals in = {0};

		if (!masked(w->x->v, m[gappy], want[gappy],
		    source_row(w->dim[gappy])->bytes, &in))
			return false;
		for (size_t k = 0; k < in.n; k++) {
			struct span *q = spans(w);

			memcpy(q, p, w->ndim * sizeof *p);
			q[gappy] = (struct span){in.v[k].lo, in.v[k].hi};
			add(w, class, q);
		}
	}
	return true;
}

/* The bytes at b lie in lo..hi, as they are ordered. 1 yes, 0 never, -1 not to be told. */
static int
part(struct boxes *w, const struct sym *b, uint32_t n, u128 lo, u128 hi, struct span *p)
{
	enum source s = (enum source)b->source;
	unsigned bytes = source_row(s)->bytes, shift;
	u128 mask = 0, flip = 0, gap;

	for (uint32_t j = 0; j < n; j++) {
		if (b[j].source != s || (s != S_FIXED && s != S_LOST && b[j].idx != j))
			return -1;
		mask = mask << 8 | b[j].mask;
		flip = flip << 8 | b[j].flip;
	}
	if (s == S_FIXED)
		return flip >= lo && flip <= hi;
	if (s == S_LOST)
		return 1;
	gap = ~mask & top_of(n);
	if (flip || (gap & (gap + 1)) || n > bytes)
		return -1;
	if (lo & gap) {
		if ((lo | gap) >= hi)
			return 0;
		lo = (lo | gap) + 1;
	}
	shift = 8 * (bytes - n);
	p = &p[w->dim_of[s]];
	lo <<= shift;
	hi = (hi | gap) << shift | (((u128)1 << shift) - 1);
	/* a field may stand in two parts of a key */
	p->lo = p->lo > lo ? p->lo : lo;
	p->hi = p->hi < hi ? p->hi : hi;
	return p->lo <= p->hi;
}

static bool
add_ranges(struct boxes *w, uint32_t class, const struct nl_set *s, const struct nl_elem *e)
{
	struct span *p = spans(w);
	uint32_t at = 0;

	for (uint32_t k = 0; k < s->nfield; k++) {
		uint32_t n = s->field[k];
		int can;

		if (n > MOST_KEY || at + n > s->key_len)
			return false;
		can = part(w, w->b + at, n, number(e->key + at, n),
		    number((e->key_end ? e->key_end : e->key) + at, n), p);
		if (can < 0)
			return false;
		if (!can)
			return true;
		at += (n + 3) / 4 * 4;
	}
	add(w, class, p);
	return true;
}

static uint32_t
class_of(struct boxes *w, const struct nl_set *s, const struct nl_elem *e)
{
	char key[NL_MOST_DATA + 4 + 256] = {0};
	size_t n = 0;
	uint32_t i;
	int fresh;

	if (s->flags & SET_MAP && e->more) {
		const struct nl_elem_more *m = e->more;

		memcpy(key, &m->verdict.code, sizeof m->verdict.code);
		n = sizeof m->verdict.code;
		if (m->data.n) {
			memcpy(key + n, m->data.p, m->data.n);
			n += m->data.n;
		} else if (m->verdict.chain) {
			size_t len = strnlen(m->verdict.chain, 255);

			memcpy(key + n, m->verdict.chain, len);
			n += len;
		}
	}
	i = hash_names_add(w->classes, key, n, &fresh);
	if (fresh)
		ARENA_PUSH(w->a, w->found, w->nfound, w->capfound) = (struct found){e, NO};
	return i;
}

struct edge {
	u128 key;
	const struct nl_elem *e;
};

static int
by_key(const void *p, const void *q)
{
	const struct edge *a = p, *b = q;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return b->e->end - a->e->end;
}

/* Boundaries, in whatever order the kernel told them. */
static bool
add_intervals(struct boxes *w, const struct nl_set *s)
{
	struct edge *v;
	bool sorted = true;
	uint32_t n = 0;

	if (s->key_len > MOST_KEY)
		return false;
	v = arena_array(w->a, s->nelem ? s->nelem : 1, struct edge);
	for (uint32_t i = 0; i < s->nelem; i++) {
		if (s->elem[i].catchall)
			continue;
		v[n] = (struct edge){number(s->elem[i].key, s->key_len), &s->elem[i]};
		sorted = sorted && (!n || by_key(&v[n - 1], &v[n]) < 0);
		n++;
	}
	if (!sorted)
		qsort(v, n, sizeof *v, by_key);
	for (uint32_t i = 0; i < n; i++) {
		struct span *p;
		u128 hi = top_of(s->key_len);
		int can;

		if (v[i].e->end)
			continue;
		if (v[i].e->key_end)
			hi = number(v[i].e->key_end, s->key_len);
		else if (i + 1 < n)
			hi = v[i + 1].key - 1;
		p = spans(w);
		can = part(w, w->b, s->key_len, v[i].key, hi, p);
		if (can < 0)
			return false;
		if (can)
			add(w, class_of(w, s, v[i].e), p);
	}
	return true;
}

static bool
add_all(struct boxes *w, const struct nl_set *s)
{
	if (s->flags & SET_INTERVAL && s->nfield < 2 && !(s->flags & SET_CONCAT))
		return add_intervals(w, s);
	for (uint32_t i = 0; i < s->nelem; i++) {
		const struct nl_elem *e = &s->elem[i];

		if (e->catchall || e->end)
			continue;
		if (s->flags & SET_INTERVAL ? !s->nfield || !add_ranges(w, class_of(w, s, e), s, e) :
		    !add_equal(w, class_of(w, s, e), e->key, s->key_len))
			return false;
	}
	return true;
}

/* ---- conditions ------------------------------------------------------------------------ */

static int
by_span(const void *p, const void *q, void *arg)
{
	const struct box *a = p, *b = q;
	unsigned k = *(unsigned *)arg;
	const struct span *x = &a->at[k], *y = &b->at[k];

	return x->lo != y->lo ? (x->lo < y->lo ? -1 : 1) :
	    x->hi != y->hi ? (x->hi < y->hi ? -1 : 1) : 0;
}

static fdd_ref
build(struct boxes *w, unsigned k, struct box *v, size_t n);

/* Groups that lie behind one another, as the edges of a node. */
static fdd_ref
build_node(struct boxes *w, unsigned k, struct box *v, const size_t *start, size_t groups)
{
	enum flow_field field = source_row(w->dim[k])->field;
	struct fdd *f = w->x->v->f;
	u128 next = 0, last = field_row(field)->last;

	fdd_begin(f, field);
	for (size_t g = 0; g < groups; g++) {
		struct span at = v[start[g]].at[k];

		if (at.lo > next)
			fdd_edge(f, at.lo - 1, NO);
		fdd_edge(f, at.hi, build(w, k + 1, v + start[g], start[g + 1] - start[g]));
		next = at.hi + 1;
	}
	if (!groups || v[start[groups - 1]].at[k].hi < last)
		fdd_edge(f, last, NO);
	return fdd_end(f);
}

/* The packets in any of the n boxes, by the dimensions from k on. */
static fdd_ref
build(struct boxes *w, unsigned k, struct box *v, size_t n)
{
	struct vm *vm = w->x->v;
	size_t *start, groups = 0;
	bool apart = true;
	fdd_ref *r;

	if (!n || k == w->ndim)
		return n ? YES : NO;
	if (k + 1 == w->ndim) {
		struct ivals in = {0};

		for (size_t i = 0; i < n; i++)
			ival_add(w->a, &in, v[i].at[k].lo, v[i].at[k].hi);
		ival_finish(&in);
		return source_among(w->x, w->dim[k], &in);
	}
	qsort_r(v, n, sizeof *v, by_span, &k);
	start = arena_array(w->a, n + 1, size_t);
	for (size_t i = 0; i < n; i++) {
		if (i && !by_span(&v[i - 1], &v[i], &k))
			continue;
		if (i && v[i].at[k].lo <= v[i - 1].at[k].hi)
			apart = false;
		start[groups++] = i;
	}
	start[groups] = n;
	if (apart && source_row(w->dim[k])->plain)
		return build_node(w, k, v, start, groups);
	r = arena_array(w->a, groups, fdd_ref);
	for (size_t g = 0; g < groups; g++) {
		struct ivals in = {0};

		ival_add(w->a, &in, v[start[g]].at[k].lo, v[start[g]].at[k].hi);
		r[g] = source_among(w->x, w->dim[k], &in);
		r[g] = cond_and(vm, r[g], build(w, k + 1, v + start[g], start[g + 1] - start[g]));
	}
	return fdd_fold(vm->f, &vm->or, r, groups, NO);
}

static int
by_class(const void *p, const void *q)
{
	const struct box *a = p, *b = q;

	return a->class != b->class ? (a->class < b->class ? -1 : 1) : 0;
}

static void
conditions(struct boxes *w, uint32_t i, uint32_t key_len)
{
	struct vm *vm = w->x->v;

	if (w->nfound > 1 && w->n)
		qsort(w->v, w->n, sizeof *w->v, by_class);
	for (size_t k = 0, to; k < w->n; k = to) {
		fdd_ref c;

		for (to = k; to < w->n && w->v[to].class == w->v[k].class; to++)
			;
		c = build(w, 0, w->v + k, to - k);
		if (w->lost)
			c = cond_and(vm, c, not_known(bytes_cause(w->x, i, w->b, key_len, "")));
		assert(w->found && w->v[k].class < w->nfound);
		w->found[w->v[k].class].cond = c;
	}
}

bool
set_find(struct exec *x, uint32_t i, const struct nl_set *s, unsigned r,
    struct found **out, size_t *n, fdd_ref *none)
{
	struct boxes w = {.x = x, .a = arena_new(), .b = x->reg};
	const struct nl_elem *other = NULL;
	fdd_ref any = NO;
	bool ok;

	x->now = i;
	w.classes = hash_names_new(w.a);
	for (uint32_t k = 0; k < s->nelem; k++)
		if (s->elem[k].catchall)
			other = &s->elem[k];
	ok = reg_fits(r, s->key_len);
	if (ok)
		w.b += 4 * r;
	ok = ok && shape(&w, s->key_len) &&
	    add_all(&w, s) && w.nfound <= MOST_SPLIT;
	if (ok) {
		conditions(&w, i, s->key_len);
		*out = arena_array(x->v->a, w.nfound + 1, struct found);
		*n = 0;
		for (size_t k = 0; k < w.nfound; k++) {
			any = cond_or(x->v, any, w.found[k].cond);
			(*out)[(*n)++] = w.found[k];
		}
		*none = cond_not(x->v, any);
		if (other) {
			(*out)[(*n)++] = (struct found){other, *none};
			*none = NO;
		}
	} else {
		*n = 0;
		*none = not_known(cause_of(x->v, x->rule, i, "a set that we cannot follow"));
	}
	arena_free(w.a);
	return ok;
}
