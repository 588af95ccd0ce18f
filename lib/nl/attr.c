#include "nl/attr.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>

#include "base/arena.h"

bool
attr_next(struct attrs *s, uint16_t *type, struct attr *out)
{
	struct nlattr h;
	size_t step;

	if (s->n == 0)
		return false;
	if (s->n < sizeof h)
		goto odd;
	memcpy(&h, s->p, sizeof h);
	if (h.nla_len < sizeof h || h.nla_len > s->n)
		goto odd;
	*type = h.nla_type & NLA_TYPE_MASK;
	out->p = s->p + sizeof h;
	out->n = (uint32_t)(h.nla_len - sizeof h);
	step = NLA_ALIGN(h.nla_len);
	if (step > s->n)
		step = s->n;
	s->p += step;
	s->n -= step;
	return true;
odd:
	s->err = -EBADMSG;
	s->n = 0;
	return false;
}

int
attr_table(const uint8_t *p, size_t n, struct attr *out, unsigned most)
{
	struct attrs s = {p, n, 0};
	struct attr a;
	uint16_t type;

	memset(out, 0, (most + 1) * sizeof *out);
	while (attr_next(&s, &type, &a))
		if (type <= most)
			out[type] = a;
	return s.err;
}

static uint64_t
number(struct attr a, unsigned size, uint64_t other, int *err)
{
	uint64_t x = 0;

	if (!a.p)
		return other;
	if (a.n != size) {
		*err = -EBADMSG;
		return other;
	}
	for (unsigned i = 0; i < size; i++)
		x = x << 8 | a.p[i];
	return x;
}

uint8_t
attr_u8(struct attr a, uint8_t other, int *err)
{
	return (uint8_t)number(a, 1, other, err);
}

uint16_t
attr_u16(struct attr a, uint16_t other, int *err)
{
	return (uint16_t)number(a, 2, other, err);
}

uint32_t
attr_u32(struct attr a, uint32_t other, int *err)
{
	return (uint32_t)number(a, 4, other, err);
}

uint64_t
attr_u64(struct attr a, uint64_t other, int *err)
{
	return number(a, 8, other, err);
}

const char *
attr_text(struct arena *m, struct attr a)
{
	return a.p ? arena_strn(m, (const char *)a.p, strnlen((const char *)a.p, a.n)) : NULL;
}
