/*
 * region: two diagrams, one over the other, and where they are not the same.
 *
 * Fates are sets of bits 1 << enum vm_fate. The policy's diagram and the ruleset's are
 * mapped to such numbers, so that equal meaning is one reference; else their product has as
 * leaves the pairs that differ, and is cut into disjoint boxes.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "addr/packet.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "nl/dump.h"
#include "nl/xtread.h"
#include "prove/inside.h"

#define SAME fdd_leaf(0)

enum {
	PASSES = 1 << VM_PASS | 1 << VM_MOVED | 1 << VM_CAPTURE | 1 << VM_QUEUE,
	REFUSES = 1 << VM_DROP | 1 << VM_REJECT,
	NOT_KNOWN = 1 << 29,       /* with fates: which of them cannot be known */
	ANY = 1 << 30,             /* the policy does not care */
	CAUSE = 8,                 /* with NOT_KNOWN, of two rulesets: by whose doing, from this bit on */
	MOST_CAUSES = (1 << (29 - CAUSE)) - 1,
	TEXT = 1 << 16,
	SYN_FLAGS = 0x17, SYN_ONLY = 0x02, ACK_ONLY = 0x10,
	RTN_UNICAST = 1, RTN_LOCAL = 2,
};

/* A box before it is told: lists by number, 0: all of the field. */
struct raw {
	uint32_t list[FLOW_NFIELD];
	uint32_t pair;
};

struct pair {
	uint32_t meant, is;
};

/* A ruleset that is read. */
struct reading {
	struct compare *c;
	const struct nl_dump *d;
	struct vm *v;
	fdd_ref raw;               /* vm_read's */
};

struct compare {
	struct prove *p;
	struct arena *m;           /* for the boxes' making */
	struct fdd *f;
	struct reading is, was;    /* was.v NULL: the policy is */
	struct hash_names *pairs, *lists, *causes;
	struct raw at, *box;
	size_t nbox, capbox;
};

/* ---- fates as numbers ----------------------------------------------------------------- */

/* To refuse is to refuse, where nobody asks how. */
static uint32_t
fates_of(const struct prove *p, uint32_t fates, bool unknown)
{
	if (!p->strict && fates & REFUSES)
		fates = (fates & ~(uint32_t)REFUSES) | 1u << VM_REJECT;
	if (!(fates & (fates - 1)) && fates != 1u << VM_OTHER)
		unknown = false;
	return fates | (unknown ? NOT_KNOWN : 0);
}

static const char *
rule_text(struct arena *a, const struct nl_rule *r);

/* The number of a cause in both rulesets: what is unknown in one is unknown in the other in the
 * same way where the same expression of the same rule makes it so. */
static uint32_t
cause_bits(struct compare *c, const struct vm_cause *x)
{
	const char *text = arena_printf(c->m, "%u %s %s", x->expr, x->why,
	    x->rule ? rule_text(c->m, x->rule) : "");
	uint32_t i = hash_names_add(c->causes, text, strlen(text), NULL);

	return (i < MOST_CAUSES ? i + 1 : MOST_CAUSES) << CAUSE;
}

static uint32_t
is_leaf(void *arg, uint32_t l)
{
	const struct reading *r = arg;
	const struct vm_leaf *x = vm_leaf(r->v, l);
	uint32_t out = fates_of(r->c->p, x->fates, x->unknown);

	return out | (r->c->was.v && out & NOT_KNOWN && x->cause ?
	    cause_bits(r->c, x->cause) : 0);
}

/* What the words of flow_limits_text() say happens above a limit. */
static uint32_t
over_limit(const char *limits)
{
	return (strstr(limits, "else reject") ? 1u << VM_REJECT : 0) |
	    (strstr(limits, "else drop") ? 1u << VM_DROP : 0);
}

static uint32_t
meant_leaf(void *arg, uint32_t l)
{
	static const uint32_t of[] = {
		[FLOW_UNTOUCHED] = 1u << VM_PASS, [FLOW_ALLOW] = 1u << VM_PASS,
		[FLOW_REJECT] = 1u << VM_REJECT, [FLOW_DROP] = 1u << VM_DROP,
		[FLOW_CAPTURE] = 1u << VM_CAPTURE,
	};
	struct packet any = {.src = {ADDR_V4, 0}, .dst = {ADDR_V4, 0}};
	const struct prove *p = arg;
	const struct flow_leaf *x = flow_eval(p->flow, fdd_leaf(l), &any);

	if (x->verdict == FLOW_UNTOUCHED && !x->limits && !p->strict)
		return ANY;
	if (x->observe)
		return 1u << VM_PASS;
	return fates_of(p, of[x->verdict] |
	    (p->observe ? 0 : over_limit(flow_limits_text(p->flow, x->limits))), false);
}

static uint32_t
leaf_cannot_be(void *arg, uint32_t c, uint32_t meant)
{
	(void)arg;
	return c ? ANY : meant;
}

/* Nobody cares what becomes of the packets of `where` (leaf 1) at that hook. */
static fdd_ref
not_cared_for(struct fdd *f, enum packet_hook hook, fdd_ref where, fdd_ref meant)
{
	struct fdd_op op = {fdd_tag(f), false, leaf_cannot_be, NULL, NULL};

	return meant == FDD_NONE ? meant :
	    fdd_apply(f, &op, fdd_range(f, FLOW_HOOK, hook, hook, where, fdd_leaf(0)), meant);
}

/* What is forwarded has not come over the loopback. */
static fdd_ref
without_loops(struct fdd *f, fdd_ref meant)
{
	return not_cared_for(f, PACKET_FORWARD,
	    fdd_range(f, FLOW_LOOPBACK, 1, 1, fdd_leaf(1), fdd_leaf(0)), meant);
}

/* A SYN goes where its connection goes: when it comes to its first hook, its port and the
 * connection's first port are one. It matters for port 25, which the forwarder is led to by. (Both
 * ends opening at once, RFC 9293 section 3.5, would send a SYN back along a connection that the
 * other way has opened; to be about port 25 it would have to go there first.) */
static fdd_ref
without_strays(struct fdd *f, fdd_ref meant)
{
	enum { CAPTURED_PORT = 25 };
	fdd_ref no = fdd_leaf(0), yes = fdd_leaf(1), r;

	r = fdd_range(f, FLOW_DPORT, CAPTURED_PORT, CAPTURED_PORT,
	    fdd_range(f, FLOW_CTPORT, CAPTURED_PORT, CAPTURED_PORT, no, yes),
	    fdd_range(f, FLOW_CTPORT, CAPTURED_PORT, CAPTURED_PORT, yes, no));
	r = fdd_range(f, FLOW_SYN, 1, 1, r, no);
	r = fdd_range(f, FLOW_STATE, PACKET_ESTABLISHED, PACKET_RELATED, r, no);
	return not_cared_for(f, PACKET_OUTPUT, r, meant);
}

static uint32_t
leaf_pair(void *arg, uint32_t meant, uint32_t is)
{
	struct compare *c = arg;
	struct pair k = {meant, is};

	if (meant == is || meant & ANY)
		return 0;
	/* refused either way: where two zones judge, the limit of one may be over before the other's
	   block refuses, and which of the two refusals it is nobody is promised */
	if (!((meant | is) & ~(uint32_t)REFUSES) && is & meant)
		return 0;
	return hash_names_add(c->pairs, (const char *)&k, sizeof k, NULL) + 1;
}

static fdd_ref
quick_pair(void *arg, fdd_ref meant, fdd_ref is)
{
	(void)arg;
	return meant == is || meant == fdd_leaf(ANY) ? SAME : FDD_NONE;
}

static enum prove_kind
kind_of(struct pair k)
{
	if ((k.is | k.meant) & NOT_KNOWN)
		return PROVE_UNKNOWN;
	if (k.is & (k.is - 1) || k.meant & (k.meant - 1))
		return PROVE_MAY;
	if (k.is & REFUSES)
		return k.meant & REFUSES ? PROVE_OTHERWISE : PROVE_FORBIDS;
	return k.meant & PASSES ? PROVE_OTHERWISE : PROVE_ALLOWS;
}

/* ---- boxes -------------------------------------------------------------------------------- */

static uint32_t
list_number(struct compare *c, const struct flow_ival *v, size_t n)
{
	return hash_names_add(c->lists, (const char *)v, n * sizeof *v, NULL) + 1;
}

/* The list; it lives as long as the answer. */
static struct ivals
list_of(struct compare *c, struct arena *a, uint32_t number)
{
	size_t n;
	const char *bytes;
	struct ivals s = {0};

	if (!number)
		return s;
	bytes = hash_names_at(c->lists, number - 1);
	n = hash_names_size(c->lists, number - 1);
	s.v = arena_array(a, n / sizeof *s.v, struct flow_ival);
	memcpy(s.v, bytes, n);
	s.n = s.cap = n / sizeof *s.v;
	return s;
}

static void
boxes(struct compare *c, fdd_ref r)
{
	struct hash_names *children;
	struct fdd_view v;
	struct ivals *list;
	uint32_t n;

	if (r == SAME || c->p->truncated)
		return;
	if (fdd_is_leaf(r)) {
		c->at.pair = fdd_number(r) - 1;
		if (c->nbox == c->p->most)
			c->p->truncated = true;
		else
			ARENA_PUSH(c->m, c->box, c->nbox, c->capbox) = c->at;
		return;
	}
	v = fdd_view(c->f, r);
	children = hash_names_new(c->m);
	list = arena_array(c->m, v.n, struct ivals);
	for (uint32_t i = 0; i < v.n; i++) {
		u128 lo = i ? fdd_hi(&v, i - 1) + 1 : field_row(v.field)->first;

		if (v.child[i] != SAME)
			ival_add(c->m, &list[hash_names_add(children, (const char *)&v.child[i],
			    sizeof v.child[i], NULL)], lo, fdd_hi(&v, i));
	}
	n = hash_names_count(children);
	for (uint32_t i = 0; i < n; i++) {
		fdd_ref child;

		memcpy(&child, hash_names_at(children, i), sizeof child);
		c->at.list[v.field] = list_number(c, list[i].v, list[i].n);
		boxes(c, child);
	}
	c->at.list[v.field] = 0;
}

/* Boxes that are alike in all but one field become one. False: there were none. */
static bool
merge(struct compare *c)
{
	bool any = false;

	for (enum flow_field k = 0; k < FLOW_NFIELD; k++) {
		struct hash_names *seen = hash_names_new(c->m);
		size_t n = 0;

		for (size_t i = 0; i < c->nbox; i++) {
			struct raw x = c->box[i];
			struct ivals a, b, both = {0};
			uint32_t own = x.list[k], *of, at;
			int fresh;

			x.list[k] = 0;
			at = hash_names_add(seen, (const char *)&x, sizeof x, &fresh);
			if (fresh) {
				c->box[n++] = c->box[i];
				continue;
			}
			of = &c->box[at].list[k];
			a = list_of(c, c->m, *of);
			b = list_of(c, c->m, own);
			ival_or(c->m, &both, &a, &b);
			*of = both.n == 1 && both.v[0].lo == field_row(k)->first &&
			    both.v[0].hi == field_row(k)->last ? 0 : list_number(c, both.v, both.n);
			any = true;
		}
		c->nbox = n;
	}
	return any;
}

/* ---- the witness ---------------------------------------------------------------------------- */

/* Values that a person takes for an example's, by what is set already: a new TCP connection
 * to the mail port between addresses of the documentation. */
static u128
pleasant(enum flow_field k, const u128 x[FLOW_NFIELD])
{
	switch (k) {
	case FLOW_PROTO:
		return IPPROTO_TCP;
	case FLOW_SYN:
		return x[FLOW_PROTO] == IPPROTO_TCP && x[FLOW_STATE] != PACKET_ESTABLISHED;
	case FLOW_DPORT:
		return 25;
	case FLOW_CTPORT:
		return x[FLOW_DPORT];
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
	case FLOW_SPORT:
		return 40000;
	case FLOW_FLAGS:
		return x[FLOW_SYN] ? SYN_ONLY : ACK_ONLY;
	case FLOW_DSTTYPE:
		return x[FLOW_HOOK] == PACKET_INPUT ? RTN_LOCAL : RTN_UNICAST;
	case FLOW_HOOK:
	case FLOW_LOOPBACK:
	case FLOW_STATE:
	case FLOW_DATE:
	case FLOW_MARK:
	case FLOW_CTMARK:
	case FLOW_NFIELD:
		break;
	case FLOW_IIF:
		return (u128)0x65746830 << 96; /* "eth0" */
	case FLOW_OIF:
		return (u128)0x65746831 << 96; /* "eth1" */
	}
	return field_row(k)->first;
}

/* What is taken where the first choice is not there: other addresses to send to, of the
 * documentation (RFC 5737); other ports that mail, or anything, is sent to; UDP. */
static const struct {
	enum flow_field field;
	u128 value;
} second[] = {
	{FLOW_DST4, 0xcb007101}, {FLOW_DST4, 0xc0000201},
	{FLOW_DPORT, 587}, {FLOW_DPORT, 465}, {FLOW_DPORT, 443}, {FLOW_DPORT, 53},
	{FLOW_PROTO, IPPROTO_UDP},
};

static u128
in_list(enum flow_field k, const struct flow_ival *v, size_t n, const u128 x[FLOW_NFIELD])
{
	u128 want = pleasant(k, x), least = 0;

	if (ival_has(v, n, want))
		return want;
	for (size_t i = 0; i < sizeof second / sizeof *second; i++)
		if (second[i].field == k && ival_has(v, n, second[i].value))
			return second[i].value;
	if (k == FLOW_SRC4 || k == FLOW_DST4)
		least = 0x01000001;
	else if (k == FLOW_SRC6 || k == FLOW_DST6)
		least = u128_of(0x2001000000000000, 1);
	for (size_t i = 0; i < n && k == FLOW_FLAGS; i++) /* flags that go with SYN */
		for (u128 y = v[i].lo; y <= v[i].hi; y++)
			if (((y & SYN_FLAGS) == SYN_ONLY) == (x[FLOW_SYN] == 1))
				return y;
	for (size_t i = 0; i < n; i++)
		if (v[i].hi >= least) {
			u128 y = v[i].lo > least ? v[i].lo : least;

			/* the first of a network is nobody's address */
			return least && y < v[i].hi && !(y & 1) ? y + 1 : y;
		}
	return v[0].lo;
}

static void
witness(struct flow *f, struct prove_region *b)
{
	struct packet *p = &b->witness;
	u128 *x = b->x;
	bool v4;

	for (enum flow_field k = 0; k < FLOW_NFIELD; k++)
		x[k] = b->field[k].n ? in_list(k, b->field[k].v, b->field[k].n, x) : pleasant(k, x);
	v4 = x[FLOW_FAMILY] == ADDR_V4;
	p->hook = (enum packet_hook)x[FLOW_HOOK];
	p->loopback = x[FLOW_LOOPBACK];
	p->proto = (uint8_t)x[FLOW_PROTO];
	p->state = (enum packet_state)x[FLOW_STATE];
	p->syn = x[FLOW_SYN];
	p->dport = (uint16_t)x[FLOW_DPORT];
	p->sport = b->field[FLOW_SPORT].n ? (uint16_t)x[FLOW_SPORT] : 0;
	p->src = (struct addr){v4 ? ADDR_V4 : ADDR_V6, x[v4 ? FLOW_SRC4 : FLOW_SRC6]};
	p->dst = (struct addr){v4 ? ADDR_V4 : ADDR_V6, x[v4 ? FLOW_DST4 : FLOW_DST6]};
	if (x[FLOW_USER] != FLOW_USER_NONE)
		p->user = flow_user_name(f, x[FLOW_USER]);
	if (x[FLOW_UNIT] != FLOW_UNIT_NONE)
		p->unit = flow_unit_name(f, x[FLOW_UNIT]);
	p->date = (uint64_t)x[FLOW_DATE];
}

/* ---- both sides of it ------------------------------------------------------------------------- */

/* A copy without what a terminal would take for orders: names and comments are anybody's. */
static const char *
plain(struct arena *a, const char *s)
{
	char *copy = arena_str(a, s);

	for (char *p = copy; p && *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return copy;
}

static const char *
taken(struct arena *a, struct buf *b)
{
	const char *s = plain(a, b->p ? b->p : "");

	buf_free(b);
	return s;
}

static const char *
fates_text(struct arena *a, uint32_t fates)
{
	struct buf b = BUF_INIT(TEXT);

	for (enum vm_fate k = 0; k < VM_NFATE; k++)
		if (fates >> k & 1)
			buf_printf(&b, "%s%s", b.n ? " or " : "", vm_fate_name(k));
	return taken(a, &b);
}

static const char *
rule_text(struct arena *a, const struct nl_rule *r)
{
	struct buf b = BUF_INIT(TEXT);

	for (uint32_t i = 0; i < r->nexpr; i++) {
		if (r->expr[i].kind == NL_COUNTER)
			continue;
		buf_str(&b, b.n ? "; " : "");
		nl_expr_words(&b, &r->expr[i]);
	}
	return taken(a, &b);
}

static const char *
family_word(uint8_t family)
{
	return family == 1 ? "inet" : family == 2 ? "ip" : family == 10 ? "ip6" :
	    family == 5 ? "netdev" : family == 7 ? "bridge" : family == 3 ? "arp" : "?";
}

static const struct prove_rule *
decider(const struct reading *from, const u128 x[FLOW_NFIELD], const struct vm_leaf *l)
{
	struct arena *a = from->c->p->a;
	struct prove_rule *out = arena_of(a, struct prove_rule);
	struct vm_decider w;
	const struct nl_rule *r;

	if (!vm_decide(from->v, x, &w) && !l->unknown && !l->may)
		return NULL;
	r = w.rule ? w.rule : l->unknown && l->cause ? l->cause->rule : NULL;
	if (r) {
		*out = (struct prove_rule){.family = family_word(r->family),
		    .table = plain(a, r->table), .chain = plain(a, r->chain),
		    .handle = r->handle, .number = 1,
		    .comment = plain(a, r->comment), .text = rule_text(a, r)};
		for (const struct nl_rule *y = r; y > from->d->rule && !strcmp(y[-1].chain, r->chain) &&
		    !strcmp(y[-1].table, r->table) && y[-1].family == r->family; y--)
			out->number++;
		return out;
	}
	if (!w.chain)
		return NULL;
	*out = (struct prove_rule){.family = family_word(w.chain->family),
	    .table = plain(a, w.chain->table), .chain = plain(a, w.chain->name),
	    .handle = w.chain->handle, .text = w.chain->policy ? "policy accept" : "policy drop"};
	return out;
}

static const struct vm_leaf *
leaf_of(const struct reading *r, const u128 x[FLOW_NFIELD])
{
	return vm_leaf(r->v, fdd_number(fdd_eval(r->c->f, r->raw, x)));
}

/* What a ruleset does with the packet of fields x, and which rule. */
static const char *
side(const struct reading *r, const u128 x[FLOW_NFIELD], const struct prove_rule **rule)
{
	const struct vm_leaf *l = leaf_of(r, x);
	struct buf text = BUF_INIT(TEXT);

	vm_leaf_text(&text, l);
	*rule = decider(r, x, l);
	return taken(r->c->p->a, &text);
}

static void
tell(struct compare *c, const struct raw *raw, struct prove_region *b)
{
	struct arena *a = c->p->a;
	struct pair k;

	for (enum flow_field i = 0; i < FLOW_NFIELD; i++) {
		struct ivals s = list_of(c, a, raw->list[i]);

		b->field[i].v = s.v;
		b->field[i].n = s.n;
	}
	memcpy(&k, hash_names_at(c->pairs, raw->pair), sizeof k);
	witness(c->p->flow, b);
	b->kind = kind_of(k);
	b->is = side(&c->is, b->x, &b->rule);
	b->fates = leaf_of(&c->is, b->x)->fates;
	b->unknown = leaf_of(&c->is, b->x)->unknown;
	if (c->was.v) {
		b->meant = side(&c->was, b->x, &b->was);
	} else {
		b->meant = fates_text(a, k.meant);
		b->leaf = flow_eval(c->p->flow, fdd_eval(c->f, c->p->meant, b->x), &b->witness);
	}
}

/* The diagram of a ruleset's fates; FDD_NONE: too large. */
static fdd_ref
read_fates(struct compare *c, struct reading *r)
{
	r->raw = vm_read(r->v);
	return r->raw == FDD_NONE ? FDD_NONE : fdd_map(c->f, fdd_tag(c->f), is_leaf, r, r->raw);
}

static int
compare(struct compare *c)
{
	struct fdd_op pairs = {fdd_tag(c->f), false, leaf_pair, quick_pair, c};
	struct prove *p = c->p;
	fdd_ref meant, is, r;

	is = read_fates(c, &c->is);
	meant = c->was.v ? read_fates(c, &c->was) :
	    fdd_map(c->f, fdd_tag(c->f), meant_leaf, p, p->meant);
	if (meant == is && meant != FDD_NONE)
		return PROVE_EQUAL;
	if (!p->strict)
		meant = without_loops(c->f, meant);
	r = fdd_apply(c->f, &pairs, meant, is);
	if (r == FDD_NONE)
		return -E2BIG;
	if (r == SAME)
		return PROVE_EQUAL;
	/* asked for only here, for it cuts every region in pieces */
	if (!c->was.v && fdd_apply(c->f, &pairs, without_strays(c->f, meant), is) == SAME)
		return PROVE_EQUAL;
	boxes(c, r);
	while (merge(c))
		;
	p->region = arena_array(p->a, c->nbox, struct prove_region);
	p->nregion = c->nbox;
	for (size_t i = 0; i < c->nbox; i++)
		tell(c, &c->box[i], &p->region[i]);
	return PROVE_DIFFERS;
}

static void
begin(struct compare *c, struct reading *r, const struct side *s)
{
	*r = (struct reading){c, s->d, vm_new(c->f, s->d, s->w), FDD_NONE};
}

int
region_compare(struct prove *p, const struct side *was, const struct side *is)
{
	struct compare c = {.p = p, .m = arena_new(), .f = flow_fdd(p->flow)};
	int outcome;

	p->region = NULL;
	p->nregion = 0;
	p->truncated = false;
	c.pairs = hash_names_new(c.m);
	c.lists = hash_names_new(c.m);
	c.causes = hash_names_new(c.m);
	begin(&c, &c.is, is);
	if (was)
		begin(&c, &c.was, was);
	outcome = compare(&c);
	vm_free(c.was.v);
	vm_free(c.is.v);
	arena_free(c.m);
	return outcome;
}
