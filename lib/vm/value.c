/*
 * value: bytes of registers, and the packets for which a comparison of them holds.
 *
 * Each byte of a register is a byte of a source (a field as the kernel loads it),
 * masked and flipped. A source is a number, its idx 0 the highest byte; a comparison
 * becomes a list of numbers of each source, and that list a condition on fields.
 */
#include <string.h>

#include "addr/packet.h"
#include "base/arena.h"
#include "base/hash.h"
#include "vm/inside.h"

#define SECOND ((u128)1000000000)
#define LOOPBACK_NAME ((u128)0x6c6f << 112)     /* "lo", padded to 16 bytes */

enum {
	SYN_MASK = 0x17,           /* FIN, SYN, RST, ACK */
	SYN_ONLY = 0x02,
	RTN_UNICAST = 1, RTN_LOCAL = 2,
	SMALL = 2,                 /* bytes of a source whose numbers are all tried */
};

static const struct source_row row[S_NSOURCE] = {
	[S_FIXED] = {1, FLOW_NFIELD, false},
	[S_LOST] = {1, FLOW_NFIELD, false},
	[S_NFPROTO] = {1, FLOW_FAMILY, false},
	[S_ETHERTYPE] = {2, FLOW_FAMILY, false},
	[S_L4PROTO] = {1, FLOW_PROTO, true},
	[S_STATE] = {4, FLOW_STATE, false},
	[S_DPORT] = {2, FLOW_DPORT, true},
	[S_SPORT] = {2, FLOW_SPORT, true},
	[S_FLAGS] = {1, FLOW_FLAGS, false},
	[S_SRC4] = {4, FLOW_SRC4, true},
	[S_DST4] = {4, FLOW_DST4, true},
	[S_SRC6] = {16, FLOW_SRC6, true},
	[S_DST6] = {16, FLOW_DST6, true},
	[S_UID] = {4, FLOW_USER, false},
	[S_CGROUP] = {8, FLOW_UNIT, false},
	[S_TIME] = {8, FLOW_DATE, false},
	[S_IIF] = {16, FLOW_IIF, false},
	[S_OIF] = {16, FLOW_OIF, false},
	[S_IIFX] = {4, FLOW_IIF, false},
	[S_OIFX] = {4, FLOW_OIF, false},
	[S_MARK] = {4, FLOW_MARK, true},
	[S_CTMARK] = {4, FLOW_CTMARK, true},
	[S_CTPORT] = {2, FLOW_CTPORT, true},
	[S_DSTTYPE] = {4, FLOW_DSTTYPE, false},
};

const struct source_row *
source_row(enum source s)
{
	return &row[s];
}

static u128
top_of(unsigned bytes)
{
	return bytes == 16 ? U128_MAX : ((u128)1 << 8 * bytes) - 1;
}

/* The number of a field's value, for sources of few numbers. */
static bool
code(enum source s, u128 value, uint32_t *out)
{
	static const uint8_t state[] = {
		[PACKET_NEW] = 8, [PACKET_ESTABLISHED] = 2, [PACKET_RELATED] = 4,
		[PACKET_INVALID] = 1, [PACKET_UNTRACKED] = 64,
	};

	if (s == S_NFPROTO)
		*out = value == ADDR_V4 ? NF_IP : NF_IP6;
	else if (s == S_ETHERTYPE)
		*out = value == ADDR_V4 ? 0x0800 : 0x86dd;
	else if (s == S_STATE)
		*out = state[value];
	else if (s == S_DSTTYPE)
		*out = (uint32_t)value;
	else
		return false;
	return true;
}

static bool
is_coded(enum source s)
{
	return s == S_NFPROTO || s == S_ETHERTYPE || s == S_STATE || s == S_DSTTYPE;
}

static fdd_ref
yes_no(bool b)
{
	return b ? YES : NO;
}

/* Where routing sends the packet says something of its destination. */
static u128
as_routed(const struct exec *x, u128 type)
{
	if (x->at.way == WAY_FORWARD && type == RTN_LOCAL)
		return RTN_UNICAST;
	if (x->at.way == WAY_INPUT && type == RTN_UNICAST)
		return RTN_LOCAL;
	return type;
}

static fdd_ref
coded(struct exec *x, enum source s, bool (*holds)(const void *, u128), const void *arg)
{
	const struct field_row *f = field_row(row[s].field);
	uint32_t c = 0;

	fdd_begin(x->v->f, row[s].field);
	for (u128 i = f->first; i <= f->last; i++) {
		code(s, s == S_DSTTYPE ? as_routed(x, i) : i, &c);
		fdd_edge(x->v->f, i, yes_no(holds(arg, c)));
	}
	return fdd_end(x->v->f);
}

static bool
is_among(const void *arg, u128 number)
{
	const struct ivals *s = arg;

	return ival_has(s->v, s->n, number);
}

/* ---- sources that are more than a field ------------------------------------------- */

/* A value that cannot be has the fate of its neighbour, so that what is equal looks equal. */
static fdd_ref
flags_among(struct exec *x, const struct ivals *s)
{
	fdd_ref side[2];

	for (unsigned syn = 0; syn < 2; syn++) {
		bool last = ival_has(s->v, s->n, syn ? SYN_ONLY : 0);

		fdd_begin(x->v->f, FLOW_FLAGS);
		for (unsigned i = 0; i < 256; i++) {
			if (((i & SYN_MASK) == SYN_ONLY) == syn)
				last = ival_has(s->v, s->n, i);
			fdd_edge(x->v->f, i, yes_no(last));
		}
		side[syn] = fdd_end(x->v->f);
	}
	return fdd_range(x->v->f, FLOW_SYN, 1, 1, side[1], side[0]);
}

/* A name ends with its first zero: of values alike up to there one alone can be. iptables
 * compares no further, nft all of the 16 bytes. */
static void
names_only(struct arena *a, const struct ivals *s, struct ivals *out)
{
	for (size_t i = 0; i < s->n; i++) {
		u128 lo = s->v[i].lo, hi = s->v[i].hi;
		unsigned shift = 128;
		bool ended = false;

		do {
			shift -= 8;
			ended = !(lo >> shift & 0xff);
		} while (shift && !ended && lo >> shift == hi >> shift);
		if (!ended || lo >> shift != hi >> shift)
			ival_add(a, out, lo, hi);
		else if (!(lo & (((u128)1 << shift) - 1)))
			ival_add(a, out, lo, lo);
	}
	ival_finish(out);
}

static fdd_ref
interface_among(struct exec *x, enum flow_field field, const struct ivals *any)
{
	struct ivals lo = {0}, rest = {0}, names = {0};
	const struct ivals *s = &names;
	fdd_ref r;

	names_only(x->v->a, any, &names);
	ival_add(x->v->a, &lo, LOOPBACK_NAME, LOOPBACK_NAME);
	if (ival_has(s->v, s->n, LOOPBACK_NAME - 1))
		ival_or(x->v->a, &rest, s, &lo);
	else
		ival_minus(x->v->a, &rest, s, &lo);
	r = fdd_among(x->v->f, field, &rest, YES, NO);
	return fdd_range(x->v->f, FLOW_LOOPBACK, 1, 1,
	    yes_no(ival_has(s->v, s->n, LOOPBACK_NAME)), r);
}

static fdd_ref
either(struct exec *x, enum flow_field field, struct ivals *yes, struct ivals *perhaps,
    const char *why)
{
	uint32_t cause;
	fdd_ref r;

	ival_finish(yes);
	ival_finish(perhaps);
	r = fdd_among(x->v->f, field, yes, YES, NO);
	if (!perhaps->n)
		return r;
	cause = cause_of(x->v, x->rule, x->now, why);
	return cond_or(x->v, r, fdd_among(x->v->f, field, perhaps, not_known(cause), NO));
}

/* Nanoseconds to seconds: of a second that is cut in two nothing can be said. */
static fdd_ref
time_among(struct exec *x, const struct ivals *s)
{
	struct ivals yes = {0}, perhaps = {0};
	u128 end = field_row(FLOW_DATE)->last;

	for (size_t i = 0; i < s->n; i++) {
		u128 lo = s->v[i].lo, hi = s->v[i].hi;
		u128 from = (lo + SECOND - 1) / SECOND;
		u128 to = hi == UINT64_MAX ? end + 1 : (hi + 1) / SECOND;

		if (from > to) {
			ival_add(x->v->a, &perhaps, to, to);
			continue;
		}
		if (lo % SECOND)
			ival_add(x->v->a, &perhaps, from - 1, from - 1);
		if (to <= end && (hi + 1) % SECOND)
			ival_add(x->v->a, &perhaps, to, to);
		if (from < to)
			ival_add(x->v->a, &yes, from, to - 1);
	}
	return either(x, FLOW_DATE, &yes, &perhaps, "a time within a second");
}

enum { RUN = 64 };

/* Whether a list names single numbers: 1; all but single numbers: 0; else -1. Neighbours have grown
 * together in it: up to `run` numbers in a row are taken for numbers that stand there one by one. */
static int
singles(const struct ivals *s, u128 top, u128 run)
{
	u128 next = 0;
	bool in = true, out = true;

	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].hi - s->v[i].lo >= run)
			in = false;
		if (s->v[i].lo > next && s->v[i].lo - next > run)
			out = false;
		next = s->v[i].hi + 1;
	}
	if (next <= top && top - next >= run)
		out = false;
	return in ? 1 : out ? 0 : -1;
}

/*
 * Values that are no number: of those with a name in the world it is known, of the others
 * ("nobody that a policy names") that they are none of the numbers that stand here.
 */
static fdd_ref
users_among(struct exec *x, const struct ivals *s)
{
	struct arena *a = x->v->a;
	const struct vm_world *w = &x->v->w;
	struct ivals named = {0}, values = {0}, rest = {0}, yes = {0}, all = {0}, perhaps = {0};
	int kind = singles(s, UINT32_MAX, RUN);

	for (size_t i = 0; i < w->nuser; i++) {
		ival_add(a, &named, w->user[i].id, w->user[i].id);
		ival_add(a, &values, w->user[i].value, w->user[i].value);
	}
	ival_finish(&named);
	ival_finish(&values);
	ival_minus(a, &yes, s, &named);
	for (size_t i = 0; i < w->nuser; i++)
		if (ival_has(s->v, s->n, w->user[i].id))
			ival_add(a, &yes, w->user[i].value, w->user[i].value);
	if (kind != 1) {
		ival_add(a, &all, FLOW_USER_NAMES, field_row(FLOW_USER)->last);
		ival_or(a, &rest, &all, &named);
		ival_minus(a, &all, &rest, &values);
		for (size_t i = 0; i < all.n; i++)
			ival_add(a, kind ? &perhaps : &yes, all.v[i].lo, all.v[i].hi);
	}
	return either(x, FLOW_USER, &yes, &perhaps, "a user without a number");
}

static fdd_ref
units_among(struct exec *x, const struct ivals *s)
{
	struct vm *v = x->v;
	int kind = singles(s, UINT64_MAX, 1);
	struct ivals ids = *s, all = {0}, yes = {0};
	fdd_ref r;

	if (kind < 0)
		return not_known(cause_of(v, x->rule, x->now, "a range of control groups"));
	if (!kind) {
		ival_add(v->a, &all, 0, UINT64_MAX);
		ids = (struct ivals){0};
		ival_minus(v->a, &ids, &all, s);
	}
	for (size_t i = 0; i < ids.n; i++) {
		for (u128 id = ids.v[i].lo; id <= ids.v[i].hi; id++) {
			bool named = false;

			for (size_t k = 0; k < v->w.nunit; k++)
				if (v->w.unit[k].id == id) {
					named = true;
					ival_add(v->a, &yes, v->w.unit[k].value, v->w.unit[k].value);
				}
			if (named)
				continue;
			if (v->unit_level && v->unit_level != x->level)
				return not_known(cause_of(v, x->rule, x->now,
				    "control groups of several levels"));
			v->unit_level = x->level;
			/* Its own value, from the top: nobody else names it. */
			ival_add(v->a, &yes, UINT32_MAX - (uint32_t)(id % UINT32_MAX),
			    UINT32_MAX - (uint32_t)(id % UINT32_MAX));
		}
	}
	ival_finish(&yes);
	r = fdd_among(v->f, FLOW_UNIT, &yes, YES, NO);
	return kind ? r : cond_not(v, r);
}

/* Interfaces by number: 1 is lo, of others the world knows the names. */
static fdd_ref
indices_among(struct exec *x, enum flow_field field, const struct ivals *s)
{
	struct vm *v = x->v;
	int kind = singles(s, UINT32_MAX, RUN);
	struct ivals ids = *s, all = {0}, names = {0};
	uint32_t strange = cause_of(v, x->rule, x->now, "an interface known by number alone");
	fdd_ref r;

	if (kind < 0)
		return not_known(strange);
	if (!kind) {
		ival_add(v->a, &all, 0, UINT32_MAX);
		ids = (struct ivals){0};
		ival_minus(v->a, &ids, &all, s);
	}
	for (size_t i = 0; i < ids.n; i++) {
		for (u128 id = ids.v[i].lo; id <= ids.v[i].hi; id++) {
			u128 name = id == 1 ? LOOPBACK_NAME : 0;

			for (size_t k = 0; k < v->w.niface && !name; k++)
				if (v->w.iface[k].index == id) {
					char padded[16] = {0};

					strncpy(padded, v->w.iface[k].name, sizeof padded - 1);
					name = u128_from_be((const uint8_t *)padded);
				}
			if (!name)
				return not_known(strange);
			ival_add(v->a, &names, name, name);
		}
	}
	ival_finish(&names);
	r = interface_among(x, field, &names);
	return kind ? r : cond_not(v, r);
}

fdd_ref
source_among(struct exec *x, enum source s, const struct ivals *among)
{
	if (is_coded(s))
		return coded(x, s, is_among, among);
	if (s == S_FLAGS)
		return flags_among(x, among);
	if (s == S_IIF || s == S_OIF)
		return interface_among(x, row[s].field, among);
	if (s == S_IIFX || s == S_OIFX)
		return indices_among(x, row[s].field, among);
	if (s == S_TIME)
		return time_among(x, among);
	if (s == S_UID)
		return users_among(x, among);
	if (s == S_CGROUP)
		return units_among(x, among);
	return fdd_among(x->v->f, row[s].field, among, YES, NO);
}

/* ---- comparisons ----------------------------------------------------------------------- */

uint32_t
bytes_cause(struct exec *x, uint32_t i, const struct sym *b, uint32_t n, const char *why)
{
	for (uint32_t k = 0; k < n; k++)
		if (b[k].source == S_LOST && b[k].mask)
			return cause_of(x->v, x->rule, b[k].idx, "not known");
	return cause_of(x->v, x->rule, i, why);
}

bool
masked(struct vm *v, u128 m, u128 want, unsigned bytes, struct ivals *out)
{
	u128 top = top_of(bytes), loose, low = 0, s = 0;
	unsigned bits = 0;

	m &= top;
	while (low < top && !(m & (low + 1)))
		low = low << 1 | 1;
	loose = top & ~m & ~low;
	for (u128 y = loose; y; y &= y - 1)
		bits++;
	if (bits > MOST_BLOCKS)
		return false;
	do {
		ival_add(v->a, out, want | s, want | s | low);
		s = (s - loose) & loose;
	} while (s);
	return true;
}

struct mask {
	u128 m, want;
};

static bool
mask_holds(const void *arg, u128 number)
{
	const struct mask *k = arg;

	return (number & k->m) == k->want;
}

fdd_ref
bytes_equal(struct exec *x, uint32_t i, unsigned r, const uint8_t *v, uint32_t n)
{
	struct mask k[S_NSOURCE] = {{0, 0}};
	const struct sym *b = x->reg + 4 * r;
	bool lost = false;
	fdd_ref c = YES;

	for (uint32_t j = 0; j < n; j++) {
		uint8_t want = v[j] ^ b[j].flip;
		struct mask *y = &k[b[j].source];
		unsigned shift = 8u * (row[b[j].source].bytes - 1u - b[j].idx);

		if (want & ~b[j].mask)
			return NO;
		if (b[j].source == S_FIXED)
			continue;
		if (b[j].source == S_LOST) {
			lost |= b[j].mask;
			continue;
		}
		if ((y->want ^ (u128)want << shift) & y->m & (u128)b[j].mask << shift)
			return NO;
		y->m |= (u128)b[j].mask << shift;
		y->want |= (u128)want << shift;
	}
	for (enum source s = S_NFPROTO; s < S_NSOURCE; s++) {
		struct ivals in = {0};

		if (!k[s].m)
			continue;
		if (is_coded(s))
			c = cond_and(x->v, c, coded(x, s, mask_holds, &k[s]));
		else if (masked(x->v, k[s].m, k[s].want, row[s].bytes, &in))
			c = cond_and(x->v, c, source_among(x, s, &in));
		else
			c = cond_and(x->v, c, not_known(cause_of(x->v, x->rule, i,
			    "a mask with too many gaps")));
	}
	if (lost)
		c = cond_and(x->v, c, not_known(bytes_cause(x, i, b, n, "")));
	return c;
}

/* A run of bytes of one source, as numbers of n bytes. */
struct run {
	const struct sym *b;
	uint32_t n;
	u128 mask, flip, want;
	bool less;                 /* holds: less than want; else equal */
};

static u128
run_number(const struct run *u, u128 number)
{
	unsigned bytes = row[u->b[0].source].bytes;

	number >>= 8 * (bytes - u->b[0].idx - u->n);
	return (number & u->mask & top_of(u->n)) ^ u->flip;
}

static bool
run_holds(const void *arg, u128 number)
{
	const struct run *u = arg;
	u128 y = run_number(u, number);

	return u->less ? y < u->want : y == u->want;
}

static fdd_ref
run_less(struct exec *x, uint32_t i, const struct run *u)
{
	enum source s = (enum source)u->b[0].source;
	unsigned bytes = row[s].bytes, shift;
	struct ivals in = {0};
	u128 gap, from;

	if (s == S_FIXED)
		return yes_no(u->flip < u->want);
	if (is_coded(s))
		return coded(x, s, run_holds, u);
	if (s != S_LOST && bytes <= SMALL) {
		for (u128 k = 0; k <= top_of(bytes); k++)
			if (run_holds(u, k))
				ival_add(x->v->a, &in, k, k);
		ival_finish(&in);
		return source_among(x, s, &in);
	}
	/* whole bytes from the highest on, or a prefix of them: as the number grows, so do they */
	gap = ~u->mask & top_of(u->n);
	if (s == S_LOST || u->b[0].idx || u->flip || (gap & (gap + 1)))
		return not_known(bytes_cause(x, i, u->b, u->n, "an order that is not the number's"));
	shift = 8 * (bytes - u->n);
	if (!u->want)
		return NO;
	from = u->want;
	if (from & gap) {
		if ((from | gap) == top_of(u->n))
			return YES;
		from = (from | gap) + 1;
	}
	ival_add(x->v->a, &in, 0, (from << shift) - 1);
	return source_among(x, s, &in);
}

/* The run of bytes that begins at b. */
static struct run
run_at(const struct sym *b, uint32_t n, const uint8_t *v)
{
	struct run u = {.b = b};

	do {
		u.mask = u.mask << 8 | b[u.n].mask;
		u.flip = u.flip << 8 | b[u.n].flip;
		u.want = u.want << 8 | v[u.n];
		u.n++;
	} while (u.n < n && u.n < 16 && b[u.n].source == b[0].source &&
	    (b[0].source == S_FIXED || (b[0].source != S_LOST && b[u.n].idx == b[0].idx + u.n)));
	return u;
}

/* bytes < v, or with `same` bytes <= v. */
static fdd_ref
bytes_less(struct exec *x, uint32_t i, unsigned r, uint32_t at, const uint8_t *v, uint32_t n,
    bool same)
{
	const struct sym *b = x->reg + 4 * r + at;
	struct run u;
	fdd_ref less, rest;

	if (at == n)
		return yes_no(same);
	u = run_at(b, n - at, v + at);
	u.less = true;
	less = run_less(x, i, &u);
	if (less == YES)
		return YES;
	rest = bytes_less(x, i, r, at + u.n, v, n, same);
	if (rest != NO) {
		/* the bytes of the run, shifted to a register of their own */
		struct exec one = *x;

		memcpy(one.reg, b, u.n * sizeof *b);
		rest = cond_and(x->v, rest, bytes_equal(&one, i, 0, v + at, u.n));
	}
	return cond_or(x->v, less, rest);
}

fdd_ref
bytes_between(struct exec *x, uint32_t i, unsigned r, const uint8_t *from, const uint8_t *to,
    uint32_t n)
{
	fdd_ref low = from ? cond_not(x->v, bytes_less(x, i, r, 0, from, n, false)) : YES;

	return to ? cond_and(x->v, low, bytes_less(x, i, r, 0, to, n, true)) : low;
}
