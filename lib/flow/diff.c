/* Differences of two diagrams, as boxes. */
#include "flow/inside.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"

enum {
	NAMED = 8,                 /* statements kept for a side of a box */
	COUNTED = 1000,            /* statements counted for a side of a box */
	WORK = 20 * 1000 * 1000,   /* edges looked at to name the statements of all boxes */
};

/* ---- effects and pairs of them ------------------------------------------- */

static uint32_t
leaf_effect(void *arg, uint32_t l)
{
	struct flow *f = arg;

	return flow_effect(&f->leaf[l]);
}

/* As leaf_effect, where untouched and allowed are one. */
static uint32_t
leaf_fate(void *arg, uint32_t l)
{
	struct flow *f = arg;
	struct flow_leaf x = f->leaf[l];

	if (x.verdict == FLOW_UNTOUCHED)
		x.verdict = FLOW_ALLOW;
	return flow_effect(&x);
}

static bool
alike(const struct flow *f, uint32_t a, uint32_t b)
{
	if (a == b)
		return true;
	if (f->strict || a >> 3 != b >> 3)
		return false;
	return effect_verdict(a) <= FLOW_ALLOW && effect_verdict(b) <= FLOW_ALLOW;
}

/* The leaves of a difference are numbers of pairs; 0: no difference. */
static uint32_t
leaf_pair(void *arg, uint32_t a, uint32_t b)
{
	struct flow *f = arg;
	uint32_t k[2] = {flow_effect(&f->leaf[a]), flow_effect(&f->leaf[b])}, i;
	int fresh;

	if (alike(f, k[0], k[1]))
		return 0;
	i = hash_names_add(f->pairs, (const char *)k, sizeof k, &fresh);
	if (fresh)
		ARENA_PUSH(f->a, f->pair, f->npair, f->cappair) = (struct flow_pair){k[0], k[1]};
	return i;
}

static fdd_ref
quick_pair(void *arg, fdd_ref a, fdd_ref b)
{
	(void)arg;
	return a == b ? NOTHING : FDD_NONE;
}

bool
flow_same(struct flow *f, flow_ref a, flow_ref b, bool strict)
{
	uint32_t mark = fdd_mark(f->fdd);
	uint64_t edges = fdd_edges(f->fdd);
	uint32_t (*leaf)(void *, uint32_t) = strict ? leaf_effect : leaf_fate;
	uint32_t tag = strict ? f->effect : f->fate;
	fdd_ref x = fdd_map(f->fdd, tag, leaf, f, a);
	fdd_ref y = fdd_map(f->fdd, tag, leaf, f, b);

	flow_finish(f, mark, edges, NOTHING);
	return x == y && x != FDD_NONE;
}

/* ---- boxes ----------------------------------------------------------------- */

/* A list of intervals; equal lists are one, so that boxes compare quickly. */
struct list {
	struct flow_ival *v;
	size_t n;
	uint64_t hash;
};

/* A box before it is told: lists by number, 0: all of the field. */
struct raw {
	uint32_t list[FLOW_NFIELD];
	uint32_t leaf;
};

struct walk {
	struct flow *f;
	struct arena *m;
	fdd_ref was, now;
	bool leaves;               /* leaves are of a policy, not pairs */
	size_t most;
	struct list *list;
	size_t nlist, caplist;
	uint32_t *slot;            /* of lists: number + 1, open addressing */
	uint32_t nslot;
	struct raw at;             /* where the walk is */
	struct raw *raw;
	size_t nraw, capraw;
	uint32_t *seen, stamp;     /* nodes seen while a box's statements are collected */
	uint64_t work;
	struct flow_diff *out;
};

static void
list_slots(struct walk *w, uint32_t n)
{
	w->nslot = n;
	w->slot = arena_array(w->m, n, uint32_t);
	for (uint32_t i = 0; i < w->nlist; i++) {
		uint32_t k = (uint32_t)w->list[i].hash & (n - 1);

		while (w->slot[k])
			k = (k + 1) & (n - 1);
		w->slot[k] = i + 1;
	}
}

/* The number of the list, which is kept by reference when it is new. */
static uint32_t
list_number(struct walk *w, struct flow_ival *v, size_t n)
{
	uint64_t h = hash_u64(0, n);
	uint32_t k;

	for (size_t i = 0; i < n; i++) {
		h = hash_u64(h, (uint64_t)v[i].lo ^ (uint64_t)(v[i].lo >> 64));
		h = hash_u64(h, (uint64_t)v[i].hi ^ (uint64_t)(v[i].hi >> 64));
	}
	if (2 * (w->nlist + 1) > w->nslot)
		list_slots(w, 2 * w->nslot);
	for (k = (uint32_t)h & (w->nslot - 1); w->slot[k]; k = (k + 1) & (w->nslot - 1)) {
		const struct list *x = &w->list[w->slot[k] - 1];

		if (x->hash == h && x->n == n && (!n || !memcmp(x->v, v, n * sizeof *v)))
			return w->slot[k] - 1;
	}
	ARENA_PUSH(w->m, w->list, w->nlist, w->caplist) = (struct list){v, n, h};
	w->slot[k] = (uint32_t)w->nlist;
	return w->slot[k] - 1;
}

/* The edges of a node by child, in the order in which children first appear. */
struct groups {
	uint32_t *group;           /* of each edge; UINT32_MAX: no box leads there */
	struct {
		fdd_ref child;
		uint32_t n;        /* edges */
	} *v;
	size_t n, cap;
};

static void
groups_make(struct walk *w, const struct fdd_view *v, struct groups *g)
{
	uint32_t nslot = 16, *slot = arena_array(w->m, nslot, uint32_t), k;

	*g = (struct groups){.group = arena_array(w->m, v->n, uint32_t)};
	for (uint32_t i = 0; i < v->n; i++) {
		fdd_ref c = v->child[i];

		g->group[i] = UINT32_MAX;
		if (!w->leaves && c == NOTHING)
			continue;
		for (k = c * 0x9e3779b1u & (nslot - 1); slot[k]; k = (k + 1) & (nslot - 1))
			if (g->v[slot[k] - 1].child == c)
				break;
		if (!slot[k]) {
			(void)ARENA_PUSH(w->m, g->v, g->n, g->cap);
			g->v[g->n - 1].child = c;
			slot[k] = (uint32_t)g->n;
		}
		g->group[i] = slot[k] - 1;
		g->v[slot[k] - 1].n++;
		if (2 * g->n <= nslot)
			continue;
		nslot *= 4;
		slot = arena_array(w->m, nslot, uint32_t);
		for (uint32_t x = 0; x < g->n; x++) {
			for (k = g->v[x].child * 0x9e3779b1u & (nslot - 1); slot[k]; )
				k = (k + 1) & (nslot - 1);
			slot[k] = x + 1;
		}
	}
}

/* ---- the statements of a box ------------------------------------------------ */

struct names {
	const struct policy_stmt *v[COUNTED];
	size_t n;
};

static void
collect_leaf(struct walk *w, uint32_t l, struct names *out)
{
	const struct flow_leaf *x = &w->f->leaf[l];

	for (unsigned i = 0; i < x->nstmt && out->n < COUNTED; i++) {
		size_t lo = 0, hi = out->n;

		while (lo < hi) {
			size_t mid = lo + (hi - lo) / 2;

			if (out->v[mid]->id < x->stmt[i]->id)
				lo = mid + 1;
			else
				hi = mid;
		}
		if (lo < out->n && out->v[lo] == x->stmt[i])
			continue;
		for (size_t k = out->n++; k > lo; k--)
			out->v[k] = out->v[k - 1];
		out->v[lo] = x->stmt[i];
	}
}

/* fdd_find() for a value behind that of edge i: near where it stands, since
 * long lists are walked side by side. */
static uint32_t
find_from(const struct fdd_view *v, uint32_t i, u128 x)
{
	for (unsigned near = 0; near < 8; near++, i++)
		if (fdd_hi(v, i) >= x)
			return i;
	return fdd_find(v, x);
}

/* Adds the statements that r names within the box; each node once, since a box
 * is the same for all ways to a node. */
static void
collect(struct walk *w, fdd_ref r, const struct flow_box *b, struct names *out)
{
	fdd_ref last = FDD_NONE;
	const struct flow_ival *k;
	struct fdd_view v;
	uint32_t i = 0;
	size_t n;

	if (fdd_is_leaf(r)) {
		collect_leaf(w, fdd_number(r), out);
		return;
	}
	if (w->seen[r] == w->stamp || out->n >= COUNTED)
		return;
	w->seen[r] = w->stamp;
	v = fdd_view(w->f->fdd, r);
	k = b->field[v.field].v;
	n = b->field[v.field].n;
	if (!n) {
		w->work += v.n;
		for (; i < v.n; i++) {
			if (v.child[i] != last)
				collect(w, last = v.child[i], b, out);
		}
		return;
	}
	for (size_t j = 0; j < n; j++) {
		i = find_from(&v, i, k[j].lo);
		for (;; i++) {
			w->work++;
			if (v.child[i] != last)
				collect(w, last = v.child[i], b, out);
			if (fdd_hi(&v, i) >= k[j].hi)
				break;
		}
	}
}

static size_t
names_of(struct walk *w, fdd_ref r, const struct flow_box *b, const u128 x[FLOW_NFIELD],
    const struct policy_stmt *out[NAMED])
{
	struct names s;

	s.n = 0;
	w->stamp++;
	if (w->work < WORK)
		collect(w, r, b, &s);
	else
		collect_leaf(w, fdd_number(fdd_eval(w->f->fdd, r, x)), &s);
	for (size_t i = 0; i < s.n && i < NAMED; i++)
		out[i] = s.v[i];
	return s.n;
}

/* ---- the witness -------------------------------------------------------------- */

/*
 * Values that a person takes for an example's, where the box leaves the
 * choice: a new TCP connection between documentation addresses (RFC 5737, RFC
 * 3849) to the mail port, by nobody in particular.
 */
static u128
pleasant(enum flow_field x)
{
	switch (x) {
	case FLOW_HOOK:
	case FLOW_LOOPBACK:
	case FLOW_STATE:
	case FLOW_DATE:
	case FLOW_SPORT:
	case FLOW_FLAGS:
	case FLOW_IIF:
	case FLOW_OIF:
	case FLOW_MARK:
	case FLOW_CTMARK:
	case FLOW_CTPORT:
	case FLOW_DSTTYPE:
		break;
	case FLOW_PROTO:
		return IPPROTO_TCP;
	case FLOW_SYN:
		return 1;
	case FLOW_DPORT:
		return 25;
	case FLOW_FAMILY:
		return ADDR_V4;
	case FLOW_SRC4:
		return 0xc0000201;     /* 192.0.2.1 */
	case FLOW_DST4:
		return 0xc6336401;     /* 198.51.100.1 */
	case FLOW_SRC6:
		return u128_of(0x20010db800000000, 1);
	case FLOW_DST6:
		return u128_of(0x20010db800000000, 2);
	case FLOW_USER:
		return FLOW_USER_NONE;
	case FLOW_UNIT:
		return FLOW_UNIT_NONE;
	case FLOW_NFIELD:
		break;
	}
	return field_row(x)->first;
}

/* Other addresses that could be sent to, for where the pleasant one is not in
 * the box: documentation again, then public and private ones. */
static const u128 second4[] = {
	0xcb007101, 0xc6336401, 0xc0000201, 0x08080808, 0x0a000001, 0xac100001, 0xc0a80001,
};

/* The first of these in the box, else the lowest address that is no 0.0.0.0/8
 * or ::/8, else the lowest. */
static u128
sendable(enum flow_field x, const struct flow_ival *v, size_t n)
{
	bool v4 = x == FLOW_SRC4 || x == FLOW_DST4;
	u128 least = v4 ? 0x01000001 : u128_of(0x2001000000000000, 1);

	for (size_t i = 0; v4 && i < sizeof second4 / sizeof *second4; i++)
		if (ival_has(v, n, second4[i]))
			return second4[i];
	for (size_t i = 0; i < n; i++)
		if (v[i].hi >= least)
			return v[i].lo > least ? v[i].lo : least;
	return v[0].lo || !v[0].hi ? v[0].lo : 1;
}

static u128
lowest(enum flow_field x, const struct flow_ival *v, size_t n)
{
	if (x == FLOW_SRC4 || x == FLOW_DST4 || x == FLOW_SRC6 || x == FLOW_DST6)
		return sendable(x, v, n);
	return v[0].lo;
}

static void
witness(struct flow *f, struct flow_box *b, u128 x[FLOW_NFIELD])
{
	struct packet *p = &b->witness;
	bool v4;

	for (enum flow_field k = 0; k < FLOW_NFIELD; k++) {
		x[k] = pleasant(k);
		if (b->field[k].n && !ival_has(b->field[k].v, b->field[k].n, x[k]))
			x[k] = lowest(k, b->field[k].v, b->field[k].n);
	}
	/* SYN belongs to a new TCP connection, where the box does not say. */
	if (!b->field[FLOW_SYN].n)
		x[FLOW_SYN] = x[FLOW_PROTO] == IPPROTO_TCP && x[FLOW_STATE] != PACKET_ESTABLISHED;
	v4 = x[FLOW_FAMILY] == ADDR_V4;
	p->hook = (enum packet_hook)x[FLOW_HOOK];
	p->loopback = x[FLOW_LOOPBACK];
	p->proto = (uint8_t)x[FLOW_PROTO];
	p->state = (enum packet_state)x[FLOW_STATE];
	p->syn = x[FLOW_SYN];
	p->dport = (uint16_t)x[FLOW_DPORT];
	p->src = (struct addr){v4 ? ADDR_V4 : ADDR_V6, x[v4 ? FLOW_SRC4 : FLOW_SRC6]};
	p->dst = (struct addr){v4 ? ADDR_V4 : ADDR_V6, x[v4 ? FLOW_DST4 : FLOW_DST6]};
	if (x[FLOW_USER] != FLOW_USER_NONE)
		p->user = flow_user_name(f, x[FLOW_USER]);
	if (x[FLOW_UNIT] != FLOW_UNIT_NONE)
		p->unit = flow_unit_name(f, x[FLOW_UNIT]);
	p->date = (uint64_t)x[FLOW_DATE];
}

static void
box_add(struct walk *w, const struct raw *raw)
{
	struct flow_diff *d = w->out;
	struct flow_box *b = &d->box[d->nbox++];
	struct flow_pair pair;
	u128 x[FLOW_NFIELD];

	pair = w->leaves ? (struct flow_pair){flow_effect(&w->f->leaf[raw->leaf]),
	    flow_effect(&w->f->leaf[raw->leaf])} : w->f->pair[raw->leaf];
	for (enum flow_field k = 0; k < FLOW_NFIELD; k++) {
		b->field[k].v = w->list[raw->list[k]].v;
		b->field[k].n = w->list[raw->list[k]].n;
	}
	b->was = effect_verdict(pair.was);
	b->now = effect_verdict(pair.now);
	b->was_observe = effect_observe(pair.was);
	b->now_observe = effect_observe(pair.now);
	b->was_limits = effect_limits(pair.was);
	b->now_limits = effect_limits(pair.now);
	witness(w->f, b, x);
	b->nwas = names_of(w, w->was, b, x, b->was_stmt);
	b->nnow = w->leaves ? 0 : names_of(w, w->now, b, x, b->now_stmt);
}

static void
boxes(struct walk *w, fdd_ref r)
{
	struct flow_ival **list;
	struct groups g;
	struct fdd_view v;
	size_t *n;

	if (w->out->truncated)
		return;
	if (fdd_is_leaf(r)) {
		w->at.leaf = fdd_number(r);
		if (!w->leaves && r == NOTHING)
			return;
		if (w->nraw == w->most)
			w->out->truncated = true;
		else
			ARENA_PUSH(w->m, w->raw, w->nraw, w->capraw) = w->at;
		return;
	}
	v = fdd_view(w->f->fdd, r);
	groups_make(w, &v, &g);
	list = arena_array(w->m, g.n, struct flow_ival *);
	n = arena_array(w->m, g.n, size_t);
	for (size_t i = 0; i < g.n; i++)
		list[i] = arena_array(w->m, g.v[i].n, struct flow_ival);
	for (uint32_t e = 0; e < v.n; e++) {
		uint32_t i = g.group[e];

		if (i != UINT32_MAX)
			list[i][n[i]++] = (struct flow_ival){e ? fdd_hi(&v, e - 1) + 1 :
			    field_row(v.field)->first, fdd_hi(&v, e)};
	}
	for (size_t i = 0; i < g.n; i++) {
		w->at.list[v.field] = list_number(w, list[i], n[i]);
		boxes(w, g.v[i].child);
	}
	w->at.list[v.field] = 0;
}

/* Boxes that are alike in all but one field become one. False when there were
 * none. */
static bool
merge(struct walk *w)
{
	uint32_t nslot = 16, *slot;
	bool any = false;
	struct ivals a, b, both;

	while (nslot < 2 * w->nraw)
		nslot *= 2;
	slot = malloc(nslot * sizeof *slot);
	if (!slot)
		abort();
	for (enum flow_field k = 0; k < FLOW_NFIELD; k++) {
		size_t n = 0;

		memset(slot, 0, nslot * sizeof *slot);
		for (size_t i = 0; i < w->nraw; i++) {
			struct raw x = w->raw[i];
			uint32_t own = x.list[k], h;

			/* The key is the box without that field. */
			x.list[k] = 0;
			h = (uint32_t)hash_bytes(0, &x, sizeof x) & (nslot - 1);
			for (; slot[h]; h = (h + 1) & (nslot - 1)) {
				struct raw y = w->raw[slot[h] - 1];

				y.list[k] = 0;
				if (!memcmp(&x, &y, sizeof x))
					break;
			}
			x.list[k] = own;
			if (!slot[h]) {
				w->raw[n++] = x;
				slot[h] = (uint32_t)n;
				continue;
			}
			assert(w->list);
			a = (struct ivals){.v = w->list[own].v, .n = w->list[own].n};
			own = w->raw[slot[h] - 1].list[k];
			b = (struct ivals){.v = w->list[own].v, .n = w->list[own].n};
			ival_or(w->m, &both, &b, &a);
			/* Disjoint boxes: neither list is all of the field, both may be. */
			if (both.n == 1 && both.v[0].lo == field_row(k)->first &&
			    both.v[0].hi == field_row(k)->last)
				both.n = 0;
			w->raw[slot[h] - 1].list[k] = both.n ?
			    list_number(w, both.v, both.n) : 0;
			any = true;
		}
		w->nraw = n;
	}
	free(slot);
	return any;
}

static void
walk(struct walk *w, fdd_ref r)
{
	list_slots(w, 64);
	/* Number 0 is no list: all of the field. */
	list_number(w, NULL, 0);
	boxes(w, r);
	while (merge(w))
		;
	w->seen = calloc(fdd_mark(w->f->fdd) + 1, sizeof *w->seen);
	if (!w->seen)
		abort();
	w->out->box = arena_array(w->m, w->nraw, struct flow_box);
	for (size_t i = 0; i < w->nraw; i++)
		box_add(w, &w->raw[i]);
	free(w->seen);
}

void
flow_diff(struct flow *f, struct arena *m, flow_ref a, flow_ref b, bool strict,
    size_t most, struct flow_diff *out)
{
	struct walk w = {.f = f, .m = m, .was = a, .now = b, .most = most, .out = out};
	struct fdd_op pairs = {fdd_tag(f->fdd), false, leaf_pair, quick_pair, f};
	uint32_t mark = fdd_mark(f->fdd);
	uint64_t edges = fdd_edges(f->fdd);
	fdd_ref r;

	*out = (struct flow_diff){0};
	f->strict = strict;
	r = fdd_apply(f->fdd, &pairs, a, b);
	if (r == FDD_NONE)
		out->truncated = true;
	else
		walk(&w, r);
	flow_finish(f, mark, edges, NOTHING);
}

void
flow_boxes(struct flow *f, struct arena *m, flow_ref r, size_t most,
    struct flow_diff *out)
{
	struct walk w = {.f = f, .m = m, .was = r, .leaves = true, .most = most, .out = out};

	*out = (struct flow_diff){0};
	if (r == FLOW_NONE)
		out->truncated = true;
	else
		walk(&w, r);
}
