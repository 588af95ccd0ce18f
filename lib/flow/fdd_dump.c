/* A diagram as text: each node once, children before their parent. */
#include "flow/fdd.h"

#include <stdlib.h>

#include "addr/addr.h"
#include "base/buf.h"

static void
value_put(struct buf *out, enum flow_field x, u128 v)
{
	char s[46];

	switch (x) {
	case FLOW_SRC4:
	case FLOW_DST4:
		addr_write((struct addr){ADDR_V4, v}, s);
		buf_str(out, s);
		return;
	case FLOW_SRC6:
	case FLOW_DST6:
		addr_write((struct addr){ADDR_V6, v}, s);
		buf_str(out, s);
		return;
	case FLOW_HOOK:
	case FLOW_LOOPBACK:
	case FLOW_PROTO:
	case FLOW_STATE:
	case FLOW_SYN:
	case FLOW_DPORT:
	case FLOW_FAMILY:
	case FLOW_USER:
	case FLOW_UNIT:
	case FLOW_DATE:
	case FLOW_SPORT:
	case FLOW_FLAGS:
	case FLOW_IIF:
	case FLOW_OIF:
	case FLOW_MARK:
	case FLOW_CTMARK:
	case FLOW_CTPORT:
	case FLOW_DSTTYPE:
	case FLOW_NFIELD:
		break;
	}
	buf_dec(out, (uint64_t)v);
}

struct dump {
	const struct fdd *f;
	struct buf *out;
	void (*leaf)(void *arg, uint32_t l, struct buf *out);
	void *arg;
	uint32_t *number;          /* of each node, + 1 */
	uint32_t next;
};

static void
dump_ref(struct dump *d, fdd_ref r)
{
	if (fdd_is_leaf(r))
		d->leaf(d->arg, fdd_number(r), d->out);
	else
		buf_printf(d->out, "n%u", d->number[r] - 1);
}

/* Children before their parent, so that a reader meets only known names. */
static void
dump(struct dump *d, fdd_ref r)
{
	struct fdd_view v;
	u128 lo;

	if (fdd_is_leaf(r) || d->number[r])
		return;
	v = fdd_view(d->f, r);
	for (uint32_t i = 0; i < v.n; i++)
		dump(d, v.child[i]);
	d->number[r] = ++d->next;
	buf_printf(d->out, "n%u %s\n", d->number[r] - 1, field_row(v.field)->word);
	lo = field_row(v.field)->first;
	for (uint32_t i = 0; i < v.n; i++) {
		u128 hi = fdd_hi(&v, i);

		buf_str(d->out, "\t");
		value_put(d->out, v.field, lo);
		if (hi != lo) {
			buf_chr(d->out, '-');
			value_put(d->out, v.field, hi);
		}
		buf_str(d->out, ": ");
		dump_ref(d, v.child[i]);
		buf_chr(d->out, '\n');
		lo = hi + 1;
	}
}

void
fdd_dump(const struct fdd *f, fdd_ref r, struct buf *out,
    void (*leaf)(void *arg, uint32_t l, struct buf *out), void *arg)
{
	struct dump d = {.f = f, .out = out, .leaf = leaf, .arg = arg};

	if (r == FDD_NONE) {
		buf_str(out, "none\n");
		return;
	}
	d.number = calloc(fdd_mark(f) + 1, sizeof *d.number);
	if (!d.number)
		abort();
	dump(&d, r);
	buf_str(out, "-> ");
	dump_ref(&d, r);
	buf_chr(out, '\n');
	free(d.number);
}
