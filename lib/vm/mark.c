/*
 * mark: the packet's mark and its connection's, as rules change them: bits of what came are
 * kept, others set.
 */
#include <string.h>

#include "vm/inside.h"

struct mark {
	uint8_t *how;
	uint32_t *keep, *is;
};

static struct mark
mark_of(enum source s, struct changed *c)
{
	if (s == S_MARK)
		return (struct mark){&c->mark, &c->mark_keep, &c->mark_is};
	return (struct mark){&c->ctmark, &c->ctmark_keep, &c->ctmark_is};
}

static void
put(enum source s, struct changed *c, uint8_t how, uint32_t keep, uint32_t is)
{
	struct mark m = mark_of(s, c);

	if (how == FIXED && keep == UINT32_MAX && !is)
		how = SAME;
	*m.how = how;
	*m.keep = how == FIXED ? keep : 0;
	*m.is = how == FIXED ? is : 0;
}

void
mark_load(struct exec *x, uint32_t i, unsigned r, enum source s)
{
	struct changed c = *rule_now(x);
	struct mark m = mark_of(s, &c);
	uint8_t keep[4], is[4];
	struct sym *b;

	if (*m.how == LOST) {
		reg_lost(x, r, 4, i);
		return;
	}
	reg_source(x, r, s, true);
	if (*m.how == SAME || !reg_fits(r, sizeof keep))
		return;
	memcpy(keep, m.keep, sizeof keep);
	memcpy(is, m.is, sizeof is);
	b = x->reg + 4 * r;
	for (unsigned j = 0; j < sizeof keep; j++) {
		b[j].mask = keep[j];
		b[j].flip = is[j];
		if (!keep[j])
			b[j] = (struct sym){S_FIXED, 0, 0, is[j]};
	}
}

void
mark_store(const struct exec *x, unsigned r, enum source s, struct changed *c)
{
	uint8_t keep[4], is[4];
	struct exec plain = *x;
	uint32_t bits[2];

	reg_source(&plain, NL_DATA_REG, s, true);
	if (!reg_fits(r, sizeof keep)) {
		mark_lose(s, c);
		return;
	}
	for (unsigned j = 0; j < sizeof keep; j++) {
		const struct sym *b = x->reg + 4 * r + j, *own = plain.reg + 4 * NL_DATA_REG + j;

		if (b->mask && (b->source != own->source || b->idx != own->idx)) {
			mark_lose(s, c);
			return;
		}
		keep[j] = b->mask;
		is[j] = b->flip;
	}
	memcpy(&bits[0], keep, sizeof keep);
	memcpy(&bits[1], is, sizeof is);
	put(s, c, FIXED, bits[0], bits[1]);
}

void
mark_change(enum source s, struct changed *c, uint32_t mask, uint32_t is)
{
	struct mark m = mark_of(s, c);

	if (mask == UINT32_MAX)
		put(s, c, FIXED, 0, is);
	else if (*m.how == SAME)
		put(s, c, FIXED, ~mask, is);
	else if (*m.how == FIXED)
		put(s, c, FIXED, *m.keep & ~mask, (*m.is & ~mask) ^ is);
}

void
mark_lose(enum source s, struct changed *c)
{
	put(s, c, LOST, 0, 0);
}

bool
mark_known(enum source s, const struct changed *c, uint32_t mask, uint32_t *is)
{
	struct changed copy = *c;
	struct mark m = mark_of(s, &copy);

	*is = *m.is & mask;
	return !mask || (*m.how == FIXED && !(*m.keep & mask));
}
