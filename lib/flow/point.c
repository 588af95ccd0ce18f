/* From the typed policy to its diagram. */
#include "flow/inside.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "policy/policy.h"
#include "text/diag.h"

enum {
	SWEEP_FROM = 1 << 18,      /* edges made, from which the garbage is swept, */
	SWEEP_EARLY = 1 << 22,     /* and before a point is done */
};

/* ---- leaves and what is done with two ------------------------------------ */

static bool
refuses(enum flow_verdict v)
{
	return v == FLOW_REJECT || v == FLOW_DROP || v == FLOW_CAPTURE;
}

static enum flow_verdict
verdict_of(const struct policy_stmt *s)
{
	switch (s->kind) {
	case POLICY_EXEMPT:
	case POLICY_RELAY:
	case POLICY_ROAMING:
		break;
	case POLICY_BLOCK:
	case POLICY_OTHERWISE:
		return s->with == POLICY_DROP ? FLOW_DROP : FLOW_REJECT;
	}
	return FLOW_ALLOW;
}

static uint32_t
stmt_leaf(struct flow *f, const struct policy_stmt *s)
{
	return flow_leaf_number(f, &(struct flow_leaf){.verdict = verdict_of(s),
	    .nstmt = 1, .stmt = {s}});
}

/* The statements of a and b, the lowest ids; the lowest speaks. */
static struct flow_leaf
both(const struct flow_leaf *a, const struct flow_leaf *b)
{
	struct flow_leaf l = {.observe = a->observe, .more = a->more || b->more};

	for (unsigned i = 0, j = 0; i < a->nstmt || j < b->nstmt; ) {
		const struct policy_stmt *s;

		if (j == b->nstmt || (i < a->nstmt && a->stmt[i]->id <= b->stmt[j]->id)) {
			s = a->stmt[i++];
			if (j < b->nstmt && b->stmt[j] == s)
				j++;
		} else {
			s = b->stmt[j++];
		}
		if (l.nstmt < FLOW_LEAF_STMTS)
			l.stmt[l.nstmt++] = s;
		else
			l.more = true;
	}
	assert(l.stmt[0]);
	l.verdict = verdict_of(l.stmt[0]);
	return l;
}

/* with: statements of one class, side by side. */
static uint32_t
leaf_with(void *arg, uint32_t a, uint32_t b)
{
	struct flow *f = arg;
	struct flow_leaf l = both(&f->leaf[a], &f->leaf[b]);

	return flow_leaf_number(f, &l);
}

static fdd_ref
quick_with(void *arg, fdd_ref a, fdd_ref b)
{
	(void)arg;
	return a == NOTHING || a == b ? b : b == NOTHING ? a : FDD_NONE;
}

/* over: a, and b where a says nothing. */
static uint32_t
leaf_over(void *arg, uint32_t a, uint32_t b)
{
	(void)arg;
	return a ? a : b;
}

static fdd_ref
quick_over(void *arg, fdd_ref a, fdd_ref b)
{
	(void)arg;
	return a == NOTHING ? b : fdd_is_leaf(a) || b == NOTHING || a == b ? a : FDD_NONE;
}

/* under: b where a says nothing, nothing elsewhere. */
static uint32_t
leaf_under(void *arg, uint32_t a, uint32_t b)
{
	(void)arg;
	return a ? 0 : b;
}

static fdd_ref
quick_under(void *arg, fdd_ref a, fdd_ref b)
{
	(void)arg;
	return a == NOTHING || b == NOTHING ? b : fdd_is_leaf(a) ? NOTHING : FDD_NONE;
}

/* restrict_to: b in the region a (leaf 1), nothing elsewhere (leaf 0). */
static uint32_t
leaf_restrict(void *arg, uint32_t a, uint32_t b)
{
	(void)arg;
	return a ? b : 0;
}

static fdd_ref
quick_restrict(void *arg, fdd_ref a, fdd_ref b)
{
	(void)arg;
	return a == NOTHING || b == NOTHING ? NOTHING : fdd_is_leaf(a) ? b : FDD_NONE;
}

/* join: the judges of two zones. */
static unsigned
rank(const struct flow_leaf *l)
{
	if (!l->nstmt)
		return 0;
	if (!refuses(l->verdict))
		return 1;
	return l->stmt[0]->dir == POLICY_OUTBOUND ? 3 : 2;
}

static uint32_t
leaf_join(void *arg, uint32_t a, uint32_t b)
{
	struct flow *f = arg;
	const struct flow_leaf *x = &f->leaf[a], *y = &f->leaf[b];
	struct flow_leaf l;

	if (rank(x) != rank(y))
		return rank(x) > rank(y) ? a : b;
	l = both(x, y);
	l.limits = flow_limits_both(f, x->limits, y->limits);
	return flow_leaf_number(f, &l);
}

static fdd_ref
quick_join(void *arg, fdd_ref a, fdd_ref b)
{
	(void)arg;
	return a == NOTHING ? b : b == NOTHING ? a : FDD_NONE;
}

/* limits: two diagrams whose leaves are sets of limits. */
static uint32_t
leaf_limits(void *arg, uint32_t a, uint32_t b)
{
	return flow_limits_both(arg, a, b);
}

/* limited: a judge and the limits b on what it allows. */
static uint32_t
leaf_limited(void *arg, uint32_t a, uint32_t b)
{
	struct flow *f = arg;
	struct flow_leaf l = f->leaf[a];

	if (l.verdict != FLOW_ALLOW)
		return a;
	l.limits = b;
	return flow_leaf_number(f, &l);
}

static fdd_ref
quick_limited(void *arg, fdd_ref a, fdd_ref b)
{
	struct flow *f = arg;

	return b == NOTHING || (fdd_is_leaf(a) &&
	    f->leaf[fdd_number(a)].verdict != FLOW_ALLOW) ? a : FDD_NONE;
}

/* capture: the judge b, what it refuses in the region a goes to the forwarder. */
static uint32_t
leaf_capture(void *arg, uint32_t a, uint32_t b)
{
	struct flow *f = arg;
	struct flow_leaf l = f->leaf[b];

	if (!a || !refuses(l.verdict))
		return b;
	l.verdict = FLOW_CAPTURE;
	return flow_leaf_number(f, &l);
}

static fdd_ref
quick_capture(void *arg, fdd_ref a, fdd_ref b)
{
	(void)arg;
	return a == NOTHING || b == NOTHING ? b : FDD_NONE;
}

static uint32_t
leaf_mute(void *arg, uint32_t a)
{
	struct flow *f = arg;
	struct flow_leaf l = f->leaf[a];

	if (!refuses(l.verdict))
		return a;
	l.observe = true;
	return flow_leaf_number(f, &l);
}

struct flow *
flow_new(uint32_t most)
{
	struct flow *f = calloc(1, sizeof *f);
	struct flow_leaf none = {.verdict = FLOW_UNTOUCHED};

	if (!f)
		abort();
	f->a = arena_new();
	f->fdd = fdd_new(most ? most : FLOW_MOST);
	f->leaves = hash_names_new(f->a);
	f->limit = hash_names_new(f->a);
	f->sets = hash_names_new(f->a);
	f->user = hash_names_new(f->a);
	f->unit = hash_names_new(f->a);
	f->pairs = hash_names_new(f->a);
	flow_leaf_number(f, &none);
	hash_names_add(f->sets, "", 0, NULL);
	ARENA_PUSH(f->a, f->set, f->nset, f->capset) = (struct flow_limits){.text = ""};
	hash_names_add(f->pairs, "", 0, NULL);
	(void)ARENA_PUSH(f->a, f->pair, f->npair, f->cappair);
	f->mute = fdd_tag(f->fdd);
	f->effect = fdd_tag(f->fdd);
	f->fate = fdd_tag(f->fdd);
	f->with = (struct fdd_op){fdd_tag(f->fdd), true, leaf_with, quick_with, f};
	f->over = (struct fdd_op){fdd_tag(f->fdd), false, leaf_over, quick_over, f};
	f->under = (struct fdd_op){fdd_tag(f->fdd), false, leaf_under, quick_under, f};
	f->restrict_to = (struct fdd_op){fdd_tag(f->fdd), false, leaf_restrict, quick_restrict, f};
	f->join = (struct fdd_op){fdd_tag(f->fdd), true, leaf_join, quick_join, f};
	f->limits = (struct fdd_op){fdd_tag(f->fdd), true, leaf_limits, quick_join, f};
	f->limited = (struct fdd_op){fdd_tag(f->fdd), false, leaf_limited, quick_limited, f};
	f->capture = (struct fdd_op){fdd_tag(f->fdd), false, leaf_capture, quick_capture, f};
	return f;
}

struct flow *
flow_free(struct flow *f)
{
	if (!f)
		return NULL;
	fdd_free(f->fdd);
	arena_free(f->a);
	free(f);
	return NULL;
}

/* ---- regions ---------------------------------------------------------------- */

static fdd_ref
in_set(struct fdd *f, enum flow_field field, const struct addr_set *s, fdd_ref yes, fdd_ref no)
{
	u128 next = 0, last = field_row(field)->last;
	bool v4 = field == FLOW_SRC4 || field == FLOW_DST4;
	size_t n = v4 ? s->n4 : s->n6;

	fdd_begin(f, field);
	for (size_t i = 0; i < n; i++) {
		u128 lo = v4 ? s->v4[i].lo : s->v6[i].lo;
		u128 hi = v4 ? s->v4[i].hi : s->v6[i].hi;

		if (lo > next)
			fdd_edge(f, lo - 1, no);
		fdd_edge(f, hi, yes);
		next = hi + 1;
	}
	if (!n || next - 1 != last)
		fdd_edge(f, last, no);
	return fdd_end(f);
}

/* r where source and destination lie in the sets (NULL: anywhere; `not`: where
 * the other end does not lie in its set), else nothing. */
static fdd_ref
between(struct fdd *f, const struct addr_set *src, bool not_src,
    const struct addr_set *dst, bool not_dst, fdd_ref r)
{
	fdd_ref v4 = r, v6 = r;

	if (dst) {
		v4 = in_set(f, FLOW_DST4, dst, not_dst ? NOTHING : v4, not_dst ? v4 : NOTHING);
		v6 = in_set(f, FLOW_DST6, dst, not_dst ? NOTHING : v6, not_dst ? v6 : NOTHING);
	}
	if (src) {
		v4 = in_set(f, FLOW_SRC4, src, not_src ? NOTHING : v4, not_src ? v4 : NOTHING);
		v6 = in_set(f, FLOW_SRC6, src, not_src ? NOTHING : v6, not_src ? v6 : NOTHING);
	}
	fdd_begin(f, FLOW_FAMILY);
	fdd_edge(f, ADDR_V4, v4);
	fdd_edge(f, ADDR_V6, v6);
	return fdd_end(f);
}

static const struct addr_set *
set_of(const struct policy_where *w)
{
	return w->any ? NULL : &w->set;
}

static fdd_ref
on_ports(struct fdd *f, const struct port_set *s, fdd_ref r)
{
	u128 next = 0;

	fdd_begin(f, FLOW_DPORT);
	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].lo > next)
			fdd_edge(f, s->v[i].lo - 1u, NOTHING);
		fdd_edge(f, s->v[i].hi, r);
		next = s->v[i].hi + 1u;
	}
	if (next <= 65535)
		fdd_edge(f, 65535, NOTHING);
	return fdd_end(f);
}

static fdd_ref
on_days(struct fdd *f, const struct policy_days *d, fdd_ref r)
{
	uint64_t hi = d->until == UINT64_MAX ? d->until : d->until - 1;

	if (d->since >= d->until)
		return NOTHING;
	if (!d->since && hi == UINT64_MAX)
		return r;
	return fdd_range(f, FLOW_DATE, d->since, hi, r, NOTHING);
}

static fdd_ref
for_names(struct flow *f, enum flow_field field, const char **name, size_t n, fdd_ref r)
{
	struct ivals s = {0};

	if (!n)
		return r;
	for (size_t i = 0; i < n; i++) {
		u128 x = field == FLOW_USER ? flow_user_value(f, name[i], true) :
		    flow_unit_value(f, name[i], true);

		ival_add(f->a, &s, x, x);
	}
	ival_finish(&s);
	return fdd_among(f->fdd, field, &s, r, NOTHING);
}

fdd_ref
flow_stmt_region(struct flow *f, const struct policy_stmt *s)
{
	struct fdd *d = f->fdd;
	fdd_ref r = fdd_leaf(stmt_leaf(f, s)), x, y;
	const struct policy_relay *relay;
	const struct port_set *ports;
	const struct addr_set *in;
	struct addr_set within;

	r = on_days(d, &s->meta.days, r);
	r = for_names(f, FLOW_UNIT, s->unit, s->nunit, r);
	r = for_names(f, FLOW_USER, s->user, s->nuser, r);
	switch (s->kind) {
	case POLICY_EXEMPT:
	case POLICY_BLOCK:
	case POLICY_ROAMING:
		return on_ports(d, &s->ports.set,
		    between(d, set_of(&s->from), false, set_of(&s->to), false, r));
	case POLICY_OTHERWISE:
		return s->deny ? on_ports(d, &s->ports.set, r) : NOTHING;
	case POLICY_RELAY:
		break;
	}
	relay = s->relay;
	ports = s->own_ports ? &s->ports.set : &relay->ports;
	/* A relay mostly stands outside; then its own end of the zone is empty. */
	in = set_of(&relay->ranges);
	if (in && s->point->kind == POLICY_ROUTER && !s->zone->inside.any) {
		addr_set_and(f->a, &within, in, &s->zone->inside.set);
		in = &within;
	}
	if (s->dir == POLICY_OUTBOUND) {
		x = between(d, set_of(&relay->clients), false, set_of(&relay->ranges), false, r);
		y = between(d, in, false, NULL, false, r);
		/* Both with the one leaf: whichever is over the other. */
		return fdd_apply(d, &f->over, s->own_ports ? on_ports(d, ports, y) : y,
		    on_ports(d, ports, x));
	}
	x = between(d, set_of(&relay->ranges), false, NULL, false, r);
	y = between(d, set_of(&relay->clients), false, in, false, r);
	return on_ports(d, ports, fdd_apply(d, &f->over, y, x));
}

/* ---- judges ------------------------------------------------------------------ */

fdd_ref
flow_judge_sees(struct flow *f, const struct policy_judge *j)
{
	const struct policy_zone *z = j->zone;
	const struct addr_set *inside = set_of(&z->inside);

	if (z->point->kind == POLICY_HOST)
		return fdd_leaf(1);
	if (j->dir == POLICY_OUTBOUND)
		return between(f->fdd, inside, false, &z->internal, true, fdd_leaf(1));
	return between(f->fdd, &z->internal, true, inside, false, fdd_leaf(1));
}

void
flow_judge_classes(struct flow *f, const struct policy_judge *j, fdd_ref out[POLICY_OTHERWISE + 1])
{
	fdd_ref *r = calloc(j->nstmt ? j->nstmt : 1, sizeof *r);

	if (!r)
		abort();
	for (enum policy_stmt_kind k = POLICY_EXEMPT; k <= POLICY_OTHERWISE; k++) {
		size_t n = 0;

		for (size_t i = 0; i < j->nstmt; i++)
			if (j->stmt[i]->kind == k)
				r[n++] = flow_stmt_region(f, j->stmt[i]);
		out[k] = fdd_fold(f->fdd, &f->with, r, n, NOTHING);
	}
	free(r);
}

static fdd_ref
judge_limits(struct flow *f, const struct policy_judge *j)
{
	fdd_ref r = NOTHING;

	for (size_t i = 0; i < j->nlimit; i++) {
		const struct policy_limit *l = &j->limit[i];
		fdd_ref x = on_days(f->fdd, &l->meta.days, fdd_leaf(flow_limits_one(f, l)));

		x = between(f->fdd, NULL, false, set_of(&l->to), false, x);
		r = fdd_apply(f->fdd, &f->limits, r, x);
	}
	return r;
}

/* Lists of a million prefixes leave hundreds of megabytes behind each step. */
static fdd_ref
tidy(struct flow *f, uint32_t mark, uint64_t edges, fdd_ref r)
{
	if (fdd_edges(f->fdd) - edges > SWEEP_EARLY)
		fdd_sweep(f->fdd, mark, &r, 1);
	return r;
}

static size_t
where_ranges(const struct policy_where *w)
{
	return w->any ? 0 : w->set.n4 + w->set.n6;
}

/* Ranges named by the relays of a judge. */
static size_t
relay_ranges(const struct policy_judge *j)
{
	size_t n = 0;

	for (size_t i = 0; i < j->nstmt; i++)
		if (j->stmt[i]->kind == POLICY_RELAY)
			n += where_ranges(&j->stmt[i]->relay->ranges) +
			    where_ranges(&j->stmt[i]->relay->clients);
	return n;
}

/*
 * What the judge says of the packets it sees, whatever hook they are at. The
 * classes are laid over each other from the lowest. What the judge does not see
 * is cut away at the end; where the relays have more ranges than the zone, also
 * before they are laid over each port's block, so that the long list is walked
 * while there is one of it. Not so the exemptions: as long as one decides for
 * a source whatever the destination, nothing below it has to be walked.
 */
static fdd_ref
judge_says(struct flow *f, const struct policy_judge *j)
{
	fdd_ref class[POLICY_OTHERWISE + 1], r = NOTHING, sees;
	uint32_t mark = fdd_mark(f->fdd);
	uint64_t edges = fdd_edges(f->fdd);
	bool cut = false;

	if (!j->present)
		return NOTHING;
	flow_judge_classes(f, j, class);
	sees = flow_judge_sees(f, j);
	for (int k = POLICY_OTHERWISE; k >= POLICY_EXEMPT; k--) {
		if (class[k] == NOTHING)
			continue;
		cut = k == POLICY_RELAY &&
		    relay_ranges(j) > j->zone->internal.n4 + j->zone->internal.n6;
		if (cut) {
			r = fdd_apply(f->fdd, &f->restrict_to, sees, r);
			class[k] = fdd_apply(f->fdd, &f->restrict_to, sees, class[k]);
		}
		r = fdd_apply(f->fdd, &f->over, class[k], r);
	}
	if (!cut)
		r = fdd_apply(f->fdd, &f->restrict_to, sees, r);
	r = tidy(f, mark, edges, r);
	r = fdd_apply(f->fdd, &f->limited, r, judge_limits(f, j));
	return tidy(f, mark, edges, r);
}

/* ---- points ------------------------------------------------------------------- */

/* Only the first packet of a TCP connection is judged: r, or `fresh` where the
 * kernel begins to track a connection with it. */
static fdd_ref
first_packets(struct flow *f, const struct policy_point *pt, fdd_ref r, fdd_ref fresh)
{
	struct fdd *d = f->fdd;
	bool syn = pt->state == POLICY_SYN;

	if (syn) {
		r = fdd_range(d, FLOW_SYN, 1, 1, r, NOTHING);
		fresh = fdd_range(d, FLOW_SYN, 1, 1, fresh, NOTHING);
	}
	fdd_begin(d, FLOW_STATE);
	fdd_edge(d, PACKET_NEW, fresh);
	fdd_edge(d, PACKET_ESTABLISHED, syn ? r : NOTHING);
	fdd_edge(d, PACKET_RELATED, syn ? fresh : NOTHING);
	fdd_edge(d, PACKET_UNTRACKED, r);               /* and INVALID */
	return fdd_range(d, FLOW_PROTO, IPPROTO_TCP, IPPROTO_TCP, fdd_end(d), NOTHING);
}

/* The diagrams of the three hooks put together. */
static fdd_ref
at_hooks(struct flow *f, const struct policy_point *pt, fdd_ref forward, fdd_ref output,
    fdd_ref fresh_output, fdd_ref input)
{
	struct fdd *d = f->fdd;
	fdd_ref *all[] = {&forward, &output, &input};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		if (pt->observe)
			*all[i] = fdd_map(d, f->mute, leaf_mute, f, *all[i]);
		*all[i] = first_packets(f, pt, *all[i],
		    all[i] == &output && !pt->observe ? fresh_output : *all[i]);
		/* What is forwarded never crosses lo. */
		if (pt->kind == POLICY_HOST && all[i] != &forward)
			*all[i] = fdd_range(d, FLOW_LOOPBACK, 1, 1, NOTHING, *all[i]);
	}
	fdd_begin(d, FLOW_HOOK);
	fdd_edge(d, PACKET_FORWARD, forward);
	fdd_edge(d, PACKET_OUTPUT, output);
	fdd_edge(d, PACKET_INPUT, input);
	return fdd_end(d);
}

/* A host's judges, at most one of each direction. */
static fdd_ref
host_says(struct flow *f, const struct policy_point *pt, const struct policy_judge *out,
    const struct policy_judge *in)
{
	fdd_ref output = out ? judge_says(f, out) : NOTHING, forward = NOTHING, captured;

	if (pt->containers) {
		/* A packet that is forwarded has no local socket. */
		forward = fdd_fix(f->fdd, output, FLOW_USER, FLOW_USER_NONE);
		forward = fdd_fix(f->fdd, forward, FLOW_UNIT, FLOW_UNIT_NONE);
	}
	captured = output;
	if (out && out->capture && !pt->observe) {
		fdd_ref where = fdd_leaf(1);

		/* What the forwarder itself sends must not come back to it. */
		if (out->forwarder) {
			u128 own = flow_user_value(f, out->forwarder, true);

			where = fdd_range(f->fdd, FLOW_USER, own, own, NOTHING, where);
		}
		captured = fdd_apply(f->fdd, &f->capture,
		    fdd_range(f->fdd, FLOW_DPORT, 25, 25, where, NOTHING), output);
	}
	return at_hooks(f, pt, forward, output, captured, in ? judge_says(f, in) : NOTHING);
}

static fdd_ref
router_says(struct flow *f, const struct policy_point *pt)
{
	fdd_ref *r = calloc(2 * pt->nzone + 1, sizeof *r), all;
	size_t n = 0;

	if (!r)
		abort();
	for (size_t i = 0; i < pt->nzone; i++)
		for (int k = 0; k < POLICY_NDIR; k++)
			r[n++] = judge_says(f, &pt->zone[i]->judge[k]);
	all = fdd_fold(f->fdd, &f->join, r, n, NOTHING);
	free(r);
	return at_hooks(f, pt, all, NOTHING, NOTHING, NOTHING);
}

/* ---- the limit ------------------------------------------------------------------ */

/* How large its region is by itself. */
static size_t
stmt_size(const struct policy_stmt *s)
{
	if (s->relay)
		return (where_ranges(&s->relay->ranges) + 1) * (where_ranges(&s->relay->clients) + 1);
	return (where_ranges(&s->from) + 1) * (where_ranges(&s->to) + 1);
}

void
flow_too_large(struct flow *f, const struct policy_judge *const *j, size_t nj,
    struct text_span at, const char *what, struct diags *d)
{
	const struct policy_stmt *big[3] = {0};
	const char *names = "";
	struct diag *g;

	for (size_t k = 0; k < nj; k++) {
		for (size_t i = 0; i < j[k]->nstmt; i++) {
			const struct policy_stmt *s = j[k]->stmt[i];

			for (size_t b = 0; b < 3; b++) {
				if (!big[b] || stmt_size(s) > stmt_size(big[b])) {
					const struct policy_stmt *t = big[b];

					big[b] = s;
					s = t;
				}
				if (!s)
					break;
			}
		}
	}
	for (size_t b = 0; b < 3 && big[b]; b++)
		names = arena_printf(d->a, "%s%s'%s'", names, b ? ", " : "",
		    big[b]->meta.name ? big[b]->meta.name : "?");
	g = diag_add(d, DIAG_E0701, at, "the meaning of %s is too large to be computed "
	    "(limit: %u nodes); its largest statements are %s", what,
	    fdd_most(f->fdd), *names ? names : "none");
	if (big[0])
		diag_also(g, big[0]->meta.at, "the largest statement");
	diag_hint(d, g, "give sources and destinations of the largest statements as "
	    "fewer, wider ranges, or divide the point into several");
}

fdd_ref
flow_finish(struct flow *f, uint32_t mark, uint64_t edges, fdd_ref r)
{
	if (r == FDD_NONE || fdd_edges(f->fdd) - edges > SWEEP_FROM)
		fdd_sweep(f->fdd, mark, &r, 1);
	return r;
}

flow_ref
flow_point(struct flow *f, const struct policy_point *pt, struct diags *d)
{
	uint32_t mark = fdd_mark(f->fdd);
	uint64_t edges = fdd_edges(f->fdd);
	const struct policy_judge **j;
	fdd_ref r;

	if (pt->kind == POLICY_HOST)
		r = pt->nzone ? host_says(f, pt, &pt->zone[0]->judge[POLICY_OUTBOUND],
		    &pt->zone[0]->judge[POLICY_INBOUND]) : NOTHING;
	else
		r = router_says(f, pt);
	r = flow_finish(f, mark, edges, r);
	if (r == FDD_NONE) {
		j = arena_array(f->a, 2 * pt->nzone, const struct policy_judge *);
		for (size_t i = 0; i < 2 * pt->nzone; i++)
			j[i] = &pt->zone[i / 2]->judge[i % 2];
		flow_too_large(f, j, 2 * pt->nzone, pt->meta.at, arena_printf(f->a, "point '%s'",
		    pt->meta.name ? pt->meta.name : "?"), d);
	}
	return r;
}

flow_ref
flow_judge(struct flow *f, const struct policy_judge *j, struct diags *d)
{
	const struct policy_point *pt = j->zone->point;
	uint32_t mark = fdd_mark(f->fdd);
	uint64_t edges = fdd_edges(f->fdd);
	fdd_ref r;

	if (pt->kind == POLICY_HOST)
		r = j->dir == POLICY_OUTBOUND ? host_says(f, pt, j, NULL) :
		    host_says(f, pt, NULL, j);
	else
		r = at_hooks(f, pt, judge_says(f, j), NOTHING, NOTHING, NOTHING);
	r = flow_finish(f, mark, edges, r);
	if (r == FDD_NONE)
		flow_too_large(f, &j, 1, j->at, "this direction of the zone", d);
	return r;
}
