/*
 * fdd_inside: the store of diagrams laid open, for the files of fdd alone.
 */
#ifndef FLOW_FDD_INSIDE_H
#define FLOW_FDD_INSIDE_H

#include "flow/fdd.h"

enum { FDD_DEPTH = 64 };       /* open builders: FLOW_NFIELD and some callers */

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
	struct frame frame[FDD_DEPTH];
	unsigned nframe;
};

/* p, which malloc(3) or one of its kin gave; aborts where it is NULL. */
void *
fdd_must(void *p);

/* Room for one more edge of the scratch, narrow or wide. */
void
fdd_grow_narrow(struct fdd *f);
void
fdd_grow_wide(struct fdd *f);

/* What fdd_edge() does for fr, the node on top, where the width is known. */
static inline void
edge_narrow(struct fdd *f, struct frame *fr, uint32_t hi, fdd_ref child)
{
	if (child == FDD_NONE) {
		fr->broken = true;
	} else if (f->nnarrow > fr->base && f->narrow[f->nnarrow - 1].child == child) {
		f->narrow[f->nnarrow - 1].hi = hi;
	} else {
		if (f->nnarrow == f->capnarrow)
			fdd_grow_narrow(f);
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
			fdd_grow_wide(f);
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

/* x stirred into the hash h: cheap, and good enough for a table. */
static inline uint64_t
mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

#endif
