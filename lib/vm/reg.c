/*
 * reg: the registers of a rule's execution.
 */
#include <string.h>

#include "vm/inside.h"

enum { LITTLE = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ };

bool
reg_fits(unsigned r, uint32_t n)
{
	/* a dump may hold any number */
	return r <= NL_REGS && n <= 4 * (NL_REGS - r);
}

/* n bytes and the zeros to the end of the word; NULL: no such register. */
struct sym *
reg_clear(struct exec *x, unsigned r, uint32_t n)
{
	uint32_t whole;

	if (!reg_fits(r, n))
		return NULL;
	whole = (n + 3) / 4 * 4;
	if (!reg_fits(r, whole))
		return NULL;
	memset(x->reg + 4 * r, 0, whole * sizeof *x->reg);
	return x->reg + 4 * r;
}

void
reg_fixed(struct exec *x, unsigned r, const void *p, uint32_t n)
{
	struct sym *b = reg_clear(x, r, n);

	for (uint32_t j = 0; b && j < n; j++)
		b[j].flip = ((const uint8_t *)p)[j];
}

void
reg_number(struct exec *x, unsigned r, uint32_t host)
{
	reg_fixed(x, r, &host, sizeof host);
}

void
reg_lost(struct exec *x, unsigned r, uint32_t n, uint32_t i)
{
	struct sym *b;

	if (!reg_fits(r, n))
		n = reg_fits(r, 0) ? 4 * NL_REGS - 4 * r : 0;
	b = reg_clear(x, r, n);
	for (uint32_t j = 0; b && j < n; j++)
		b[j] = (struct sym){S_LOST, (uint8_t)i, 0xff, 0};
}

void
reg_source(struct exec *x, unsigned r, enum source s, bool host)
{
	uint32_t n = source_row(s)->bytes;
	struct sym *b = reg_clear(x, r, n);

	for (uint32_t j = 0; b && j < n; j++)
		b[j] = (struct sym){(uint8_t)s, (uint8_t)(host && LITTLE ? n - 1 - j : j), 0xff, 0};
}

bool
reg_is_fixed(const struct exec *x, unsigned r, uint32_t n, uint8_t *out)
{
	if (!reg_fits(r, n))
		return false;
	for (uint32_t j = 0; j < n; j++) {
		if (x->reg[4 * r + j].mask)
			return false;
		out[j] = x->reg[4 * r + j].flip;
	}
	return true;
}

void
reg_bitwise(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	uint32_t n = e->u.bitwise.len;
	struct sym got[4 * NL_REGS], *b;

	if (n > NL_MOST_DATA || !reg_fits(e->u.bitwise.sreg, n) || e->u.bitwise.op ||
	    e->u.bitwise.mask.n < n || e->u.bitwise.flip.n < n) {
		reg_lost(x, e->u.bitwise.dreg, n <= NL_MOST_DATA ? n : 4, i);
		return;
	}
	memcpy(got, x->reg + 4 * e->u.bitwise.sreg, n * sizeof *got);
	b = reg_clear(x, e->u.bitwise.dreg, n);
	for (uint32_t j = 0; b && j < n; j++) {
		uint8_t m = e->u.bitwise.mask.p[j];

		b[j] = got[j];
		b[j].mask &= m;
		b[j].flip = (b[j].flip & m) ^ e->u.bitwise.flip.p[j];
		if (!b[j].mask)
			b[j] = (struct sym){S_FIXED, 0, 0, b[j].flip};
	}
}

void
reg_byteorder(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	uint32_t n = e->u.byteorder.len, size = e->u.byteorder.size;
	struct sym got[4 * NL_REGS], *b;

	if (n > NL_MOST_DATA || !reg_fits(e->u.byteorder.sreg, n) || !size || n % size) {
		reg_lost(x, e->u.byteorder.dreg, n <= NL_MOST_DATA ? n : 4, i);
		return;
	}
	memcpy(got, x->reg + 4 * e->u.byteorder.sreg, n * sizeof *got);
	b = reg_clear(x, e->u.byteorder.dreg, n);
	for (uint32_t j = 0; b && j < n; j++)
		b[j] = got[LITTLE ? j / size * size + size - 1 - j % size : j];
}
