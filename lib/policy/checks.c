/* Checks that look at two things at once: zones, places, contradictions. */
#include <string.h>

#include "policy/load.h"

/* ---- sets, quickly ---------------------------------------------------------- */

enum { FEW = 16 };                 /* ranges that are looked up one by one */

static bool
few4(const struct addr_set *few, const struct addr_set *many, struct addr *x)
{
	for (size_t i = 0; i < few->n4; i++) {
		size_t lo = 0, hi = many->n4;

		while (lo < hi) {
			size_t mid = lo + (hi - lo) / 2;

			if (many->v4[mid].hi < few->v4[i].lo)
				lo = mid + 1;
			else
				hi = mid;
		}
		if (lo < many->n4 && many->v4[lo].lo <= few->v4[i].hi) {
			*x = (struct addr){ADDR_V4, many->v4[lo].lo > few->v4[i].lo ?
			    many->v4[lo].lo : few->v4[i].lo};
			return true;
		}
	}
	return false;
}

static bool
few6(const struct addr_set *few, const struct addr_set *many, struct addr *x)
{
	for (size_t i = 0; i < few->n6; i++) {
		size_t lo = 0, hi = many->n6;

		while (lo < hi) {
			size_t mid = lo + (hi - lo) / 2;

			if (many->v6[mid].hi < few->v6[i].lo)
				lo = mid + 1;
			else
				hi = mid;
		}
		if (lo < many->n6 && many->v6[lo].lo <= few->v6[i].hi) {
			*x = (struct addr){ADDR_V6, many->v6[lo].lo > few->v6[i].lo ?
			    many->v6[lo].lo : few->v6[i].lo};
			return true;
		}
	}
	return false;
}

/* Whether the sets share an address; quick where one of them is small. */
static bool
check_meets(const struct addr_set *a, const struct addr_set *b, struct addr *x)
{
	struct addr unused;

	if (!x)
		x = &unused;
	if (b->n4 + b->n6 < a->n4 + a->n6) {
		const struct addr_set *c = a;

		a = b;
		b = c;
	}
	if (a->n4 + a->n6 > FEW)
		return addr_set_meets(a, b, x);
	return few4(a, b, x) || few6(a, b, x);
}

static const char *
shown(struct load *l, struct addr x)
{
	char s[46];

	addr_write(x, s);
	return arena_str(l->a, s);
}

/* ---- zones ------------------------------------------------------------------- */

static void
check_zones(struct load *l, const struct policy_point *pt)
{
	for (size_t i = 0; i < pt->nzone; i++)
		for (size_t k = i + 1; k < pt->nzone; k++) {
			const struct policy_zone *a = pt->zone[i], *b = pt->zone[k];
			struct addr x;

			if (!check_meets(&a->inside.set, &b->inside.set, &x))
				continue;
			diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0434, b->inside.at,
			    "the zones `%s` and `%s` overlap: %s lies in both", a->meta.name,
			    b->meta.name, shown(l, x)), a->inside.at, "the other zone"),
			    "take it out of one of them: `{ranges: [...], except: [...]}`");
		}
}

/* ---- what can decide nothing ---------------------------------------------------- */

/* A literal or network wholly on the side that the judge never sees. */
static void
check_side(struct load *l, const struct policy_stmt *s)
{
	const struct policy_zone *z = s->zone;
	bool out = s->dir == POLICY_OUTBOUND;
	const struct policy_where *near = out ? &s->from : &s->to, *far = out ? &s->to : &s->from;

	if (z->point->kind != POLICY_ROUTER || !addr_set_families(&z->inside.set))
		return;
	if (!near->any && !check_meets(&near->set, &z->inside.set, NULL)) {
		diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0436, near->at,
		    "`%s` lies wholly outside the zone `%s`, so this can decide nothing",
		    near->label, z->meta.name), z->inside.at, "the zone's inside"),
		    out ? "outbound is from inside to outside: `from` is an address inside" :
		    "inbound is from outside to inside: `to` is an address inside");
		stmt_bad(l, s);
	}
	if (!far->any && addr_set_covers(&z->internal, &far->set)) {
		diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0436, far->at,
		    "`%s` lies wholly inside, and what stays inside is never touched",
		    far->label), z->inside.at, "the zone's inside"),
		    "%s means connections that cross the border of the zone: `%s` is an address "
		    "outside", out ? "outbound" : "inbound", out ? "to" : "from");
		stmt_bad(l, s);
	}
}

static void
check_families(struct load *l, const struct policy_stmt *s)
{
	unsigned from = addr_set_families(&s->from.set), to = addr_set_families(&s->to.set);

	if ((from & to) || !from || !to)
		return;
	diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0437, s->to.at,
	    "`%s` is %s and `%s` is %s: no packet is both", s->from.label,
	    from == ADDR_V4 ? "IPv4" : "IPv6", s->to.label, to == ADDR_V4 ? "IPv4" : "IPv6"),
	    s->from.at, "from"), "add the addresses of the other family, or two statements");
	stmt_bad(l, s);
}

/* ---- contradictions --------------------------------------------------------------- */

/* An address of both places, on the side that the judge sees: `seen` cuts to
 * it, `not` takes away. */
static bool
overlap(struct load *l, const struct addr_set *a, const struct addr_set *b,
    const struct addr_set *seen, const struct addr_set *not, struct addr *x)
{
	struct addr_set both, cut;

	if (!check_meets(a, b, x))
		return false;
	if (!seen && !not)
		return true;
	addr_set_and(l->a, &both, a, b);
	if (seen)
		return check_meets(&both, seen, x);
	addr_set_minus(l->a, &cut, &both, not);
	if (!addr_set_families(&cut))
		return false;
	*x = cut.n4 ? (struct addr){ADDR_V4, cut.v4[0].lo} : (struct addr){ADDR_V6, cut.v6[0].lo};
	return true;
}

static bool
overlap_family(struct load *l, const struct policy_stmt *a, const struct policy_stmt *b,
    unsigned family, struct addr *src, struct addr *dst)
{
	const struct policy_zone *z = a->zone;
	bool router = z->point->kind == POLICY_ROUTER, out = a->dir == POLICY_OUTBOUND;
	const struct addr_set *in = router ? &z->inside.set : NULL;
	const struct addr_set *not = router ? &z->internal : NULL;
	struct addr_set af = addr_set_family(&a->from.set, family);
	struct addr_set bf = addr_set_family(&b->from.set, family);
	struct addr_set at = addr_set_family(&a->to.set, family);
	struct addr_set bt = addr_set_family(&b->to.set, family);

	return overlap(l, &af, &bf, out ? in : NULL, out ? NULL : not, src) &&
	    overlap(l, &at, &bt, out ? NULL : in, out ? not : NULL, dst);
}

/* Whether the two speak of one packet on one day; then *what is such a one. */
static bool
overlap_stmt(struct load *l, const struct policy_stmt *a, const struct policy_stmt *b,
    const char **what)
{
	struct addr src, dst;
	unsigned port = 0;

	if (!meta_days_meet(&a->meta.days, &b->meta.days))
		return false;
	for (size_t i = 0, k = 0; i < a->ports.set.n && k < b->ports.set.n; ) {
		const struct port_range *x = &a->ports.set.v[i], *y = &b->ports.set.v[k];

		if (x->lo <= y->hi && y->lo <= x->hi) {
			port = x->lo > y->lo ? x->lo : y->lo;
			break;
		}
		if (x->hi < y->hi)
			i++;
		else
			k++;
	}
	if (!port)
		return false;
	if (!overlap_family(l, a, b, ADDR_V4, &src, &dst) &&
	    !overlap_family(l, a, b, ADDR_V6, &src, &dst))
		return false;
	*what = arena_printf(l->a, src.family == ADDR_V4 ? "tcp %s -> %s:%u" : "tcp [%s] -> [%s]:%u",
	    shown(l, src), shown(l, dst), port);
	return true;
}

static void
check_pair(struct load *l, const struct policy_stmt *a, const struct policy_stmt *b)
{
	const struct policy_stmt *later = a->meta.at.off > b->meta.at.off ? a : b;
	const struct policy_stmt *first = later == a ? b : a;
	const char *what;

	if (!overlap_stmt(l, a, b, &what))
		return;
	if (a->kind == b->kind)
		diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0440, later->meta.at,
		    "two blocks disagree on how `%s` is refused", what), first->meta.at,
		    policy_with_word(first->with)), "write the same `with` in both, or take the "
		    "common part out of one");
	else
		diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0439, later->meta.at,
		    "`block` refuses what `roaming` allows: `%s`", what), first->meta.at,
		    policy_stmt_kind_word(first->kind)), "take the common ports or places out of one "
		    "of them; an exception for some is an `exempt`");
}

/* Blocks against roaming, and against the blocks that refuse otherwise. */
static void
check_contradictions(struct load *l, const struct policy_judge *j)
{
	size_t errors = l->d->errors;

	for (size_t i = 0; i < j->nstmt; i++) {
		const struct policy_stmt *a = j->stmt[i];

		if (a->kind != POLICY_BLOCK || (l->nbad && stmt_is_bad(l, a)))
			continue;
		for (size_t k = 0; k < j->nstmt; k++) {
			const struct policy_stmt *b = j->stmt[k];
			bool clash = b->kind == POLICY_ROAMING ||
			    (b->kind == POLICY_BLOCK && k > i && b->with != a->with);

			if (clash && !(l->nbad && stmt_is_bad(l, b)))
				check_pair(l, a, b);
			if (l->d->errors > errors + 20)
				return;
		}
	}
}

void
check_judges(struct load *l)
{
	for (size_t i = 0; i < l->p->npoint; i++) {
		const struct policy_point *pt = l->p->point[i];

		check_zones(l, pt);
		for (size_t z = 0; z < pt->nzone; z++)
			for (enum policy_dir d = POLICY_OUTBOUND; d < POLICY_NDIR; d++) {
				const struct policy_judge *j = &pt->zone[z]->judge[d];

				for (size_t k = 0; k < j->nstmt; k++) {
					const struct policy_stmt *s = j->stmt[k];

					if (s->kind == POLICY_RELAY || s->kind == POLICY_OTHERWISE ||
					    (l->nbad && stmt_is_bad(l, s)))
						continue;
					check_side(l, s);
					check_families(l, s);
				}
				check_contradictions(l, j);
			}
	}
}
