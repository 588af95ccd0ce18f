/*
 * fdd: a store of decision diagrams over packet fields.
 *
 * Ordered, reduced, hash-consed. A node asks one field and has edges (last
 * value, child) that are sorted and cover the whole domain; neighbours with
 * one child are merged and a node with one edge is never made, so equal
 * functions are equal references. Leaves are plain numbers; what they mean is
 * the caller's. Knows nothing of policies.
 *
 * Nodes live until fdd_free() or fdd_sweep(). Where the store's limit is
 * reached a constructor gives FDD_NONE, and every operation passes it on.
 */
#ifndef FLOW_FDD_H
#define FLOW_FDD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/u128.h"
#include "flow/field.h"

struct buf;
struct fdd;
struct ivals;

/* A node, or a leaf when FDD_LEAF is set. */
typedef uint32_t fdd_ref;

#define FDD_NONE UINT32_MAX
#define FDD_LEAF 0x80000000u

/* The leaf of number n, n < 2^31 - 1; and back. */
static inline fdd_ref
fdd_leaf(uint32_t n)
{
	return FDD_LEAF | n;
}

static inline bool
fdd_is_leaf(fdd_ref r)
{
	return r & FDD_LEAF;
}

static inline uint32_t
fdd_number(fdd_ref r)
{
	return r & ~FDD_LEAF;
}

/* A new, empty store of at most `most` nodes (and 8 times as many edges). */
struct fdd *
fdd_new(uint32_t most);

/* Frees all; NULL is fine. Returns NULL. */
struct fdd *
fdd_free(struct fdd *f);

/* The limit of nodes. */
uint32_t
fdd_most(const struct fdd *f);

/* The nodes alive; their edges; the bytes that they take. */
uint32_t
fdd_count(const struct fdd *f);
uint64_t
fdd_edges(const struct fdd *f);
size_t
fdd_used(const struct fdd *f);

/* ---- making nodes ------------------------------------------------------ */

/*
 * fdd_begin, then fdd_edge for ascending last values up to the end of the
 * domain, then fdd_end, which gives the node (or the child, where all edges
 * have the same). Nests: a child may be built between two edges of its parent.
 */
void
fdd_begin(struct fdd *f, enum flow_field field);
void
fdd_edge(struct fdd *f, u128 hi, fdd_ref child);
fdd_ref
fdd_end(struct fdd *f);

/* `yes` where lo <= field <= hi, else `no`. */
fdd_ref
fdd_range(struct fdd *f, enum flow_field field, u128 lo, u128 hi, fdd_ref yes, fdd_ref no);

/* `yes` where the field lies in the finished list, else `no`. */
fdd_ref
fdd_among(struct fdd *f, enum flow_field field, const struct ivals *s, fdd_ref yes, fdd_ref no);

/* ---- operations -------------------------------------------------------- */

/* A fresh tag: operations are told apart by it where results are remembered,
 * so an operation keeps its tag as long as its meaning. */
uint32_t
fdd_tag(struct fdd *f);

struct fdd_op {
	uint32_t tag;
	bool commutes;
	/* The number of the leaf for the leaves a and b. */
	uint32_t (*leaf)(void *arg, uint32_t a, uint32_t b);
	/* The result where it is known without looking further down, else
	 * FDD_NONE; may be NULL. Called for nodes and leaves. */
	fdd_ref (*quick)(void *arg, fdd_ref a, fdd_ref b);
	void *arg;
};

/* The diagram of leaf(a(packet), b(packet)) for every packet. */
fdd_ref
fdd_apply(struct fdd *f, const struct fdd_op *op, fdd_ref a, fdd_ref b);

/* op over all n diagrams at r, as a balanced tree; `none` for n 0. r is
 * overwritten. */
fdd_ref
fdd_fold(struct fdd *f, const struct fdd_op *op, fdd_ref *r, size_t n, fdd_ref none);

/* The diagram with every leaf l replaced by leaf(arg, l). */
fdd_ref
fdd_map(struct fdd *f, uint32_t tag, uint32_t (*leaf)(void *arg, uint32_t l),
    void *arg, fdd_ref a);

/* The diagram with the field fixed at x: it does not ask it any more. */
fdd_ref
fdd_fix(struct fdd *f, fdd_ref a, enum flow_field field, u128 x);

/* ---- reading ----------------------------------------------------------- */

/* A node laid open; valid until the node is swept. */
struct fdd_view {
	enum flow_field field;
	bool wide;
	uint32_t n;
	const void *hi;          /* uint32_t[n], or u128[n] when wide */
	const fdd_ref *child;
};

/* Lays the node r open; r must not be a leaf. */
struct fdd_view
fdd_view(const struct fdd *f, fdd_ref r);

/* The last value of edge i. */
static inline u128
fdd_hi(const struct fdd_view *v, uint32_t i)
{
	return v->wide ? ((const u128 *)v->hi)[i] : ((const uint32_t *)v->hi)[i];
}

/* The edge that x is on. */
uint32_t
fdd_find(const struct fdd_view *v, u128 x);

/* The leaf for the packet whose fields are x. */
fdd_ref
fdd_eval(const struct fdd *f, fdd_ref r, const u128 x[FLOW_NFIELD]);

/* ---- memory ------------------------------------------------------------ */

/* A mark for fdd_sweep: nodes made from now on have it or more. */
uint32_t
fdd_mark(const struct fdd *f);

/* Forgets all nodes made since the mark that are not reached from the n
 * references at keep. Only who made them all may do that. */
void
fdd_sweep(struct fdd *f, uint32_t mark, const fdd_ref *keep, size_t n);

/* Writes the diagram, each node once, in a fixed order, numbered from 0, for
 * people and golden files. `leaf` writes a leaf. */
void
fdd_dump(const struct fdd *f, fdd_ref r, struct buf *out,
    void (*leaf)(void *arg, uint32_t l, struct buf *out), void *arg);

#endif
