/* explain: one packet, the verdict, and every statement that spoke of it. */
#include "look/look.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

/* ---- matching, from the typed policy alone ---------------------------------- */

static bool
in_where(const struct policy_where *w, struct addr x)
{
	return w->any || addr_set_has(&w->set, x);
}

static bool
is_decimal(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n && n <= 10 && !s[n];
}

static bool
same_user(const char *a, const char *b)
{
	if (is_decimal(a) && is_decimal(b))
		return strtoull(a, NULL, 10) == strtoull(b, NULL, 10);
	return !strcmp(a, b);
}

/* A probe may name a unit as systemctl does, without its slice. */
static bool
same_unit(const char *a, const char *b)
{
	static const char slice[] = "system.slice/";

	if (!strchr(b, '/') && !strncmp(a, slice, sizeof slice - 1))
		a += sizeof slice - 1;
	return !strcmp(a, b);
}

static bool
named(const char **v, size_t n, const char *s, bool (*same)(const char *, const char *))
{
	for (size_t i = 0; s && i < n; i++)
		if (same(v[i], s))
			return true;
	return !n;
}

/* Whether the statement matches, whatever the day. */
static bool
matches(const struct policy_stmt *s, const struct packet *p)
{
	const struct policy_relay *y = s->relay;
	const struct port_set *ports = &s->ports.set;

	if (!named(s->user, s->nuser, p->user, same_user) ||
	    !named(s->unit, s->nunit, p->unit, same_unit))
		return false;
	switch (s->kind) {
	case POLICY_EXEMPT:
	case POLICY_BLOCK:
	case POLICY_ROAMING:
		return port_set_has(ports, p->dport) && in_where(&s->from, p->src) &&
		    in_where(&s->to, p->dst);
	case POLICY_OTHERWISE:
		return s->deny && port_set_has(ports, p->dport);
	case POLICY_RELAY:
		break;
	}
	if (!s->own_ports)
		ports = &y->ports;
	if (in_where(&y->ranges, p->src) &&
	    ((s->dir == POLICY_OUTBOUND && !s->own_ports) || port_set_has(ports, p->dport)))
		return true;
	return port_set_has(ports, p->dport) && in_where(&y->ranges, p->dst) &&
	    in_where(&y->clients, p->src);
}

static bool
awake(const struct policy_days *d, uint64_t date)
{
	return date >= d->since && (d->until == UINT64_MAX || date < d->until);
}

static bool
sees(const struct policy_judge *j, const struct packet *p)
{
	const struct policy_zone *z = j->zone;
	bool out = j->dir == POLICY_OUTBOUND;

	if (!j->present)
		return false;
	if (z->point->kind == POLICY_HOST)
		return (p->hook == PACKET_INPUT) != out &&
		    (p->hook != PACKET_FORWARD || z->point->containers);
	return p->hook == PACKET_FORWARD && in_where(&z->inside, out ? p->src : p->dst) &&
	    !addr_set_has(&z->internal, out ? p->dst : p->src);
}

/* Why no judge looks at the packet, or NULL. */
static const char *
not_judged(const struct policy_point *pt, const struct packet *p)
{
	if (p->proto != IPPROTO_TCP)
		return "only TCP is judged";
	if (pt->kind == POLICY_HOST && p->loopback && p->hook != PACKET_FORWARD)
		return "it stays on this host: loopback is not judged";
	switch (pt->state) {
	case POLICY_CONNTRACK:
		if (p->state == PACKET_ESTABLISHED || p->state == PACKET_RELATED)
			return "it belongs to a connection that was judged when it began";
		break;
	case POLICY_SYN:
		if (!p->syn)
			return "only the first packet of a connection is judged";
		break;
	}
	if (pt->kind == POLICY_ROUTER && p->hook != PACKET_FORWARD)
		return "a router point judges what is forwarded, not what the router itself sends "
		    "or receives";
	if (pt->kind == POLICY_HOST && p->hook == PACKET_FORWARD && !pt->containers)
		return "the point leaves containers untouched";
	return NULL;
}

/* ---- what the judges say ---------------------------------------------------- */

/* What one judge says: the class that decides, and how that ranks. */
struct ruling {
	const struct policy_judge *judge;
	int kind;                  /* enum policy_stmt_kind, or one past: none */
	unsigned rank;             /* 0 nothing, 1 allows, 2 refuses inbound, 3 outbound */
};

static void
rule(struct arena *m, const struct policy_judge *j, const struct packet *p, struct ruling *r,
    struct look_explain *out, size_t *cap)
{
	r->judge = j;
	r->kind = POLICY_OTHERWISE + 1;
	for (size_t i = 0; i < j->nstmt; i++) {
		const struct policy_stmt *s = j->stmt[i];
		bool asleep = !awake(&s->meta.days, p->date);

		if (!matches(s, p))
			continue;
		ARENA_PUSH(m, out->said, out->nsaid, *cap) =
		    (struct look_said){.stmt = s, .asleep = asleep};
		if (!asleep && (int)s->kind < r->kind)
			r->kind = s->kind;
	}
	if (r->kind == POLICY_BLOCK || r->kind == POLICY_OTHERWISE)
		r->rank = j->dir == POLICY_OUTBOUND ? 3 : 2;
	else
		r->rank = r->kind <= POLICY_OTHERWISE;
}

static int
by_precedence(const void *x, const void *y)
{
	const struct look_said *a = x, *b = y;

	if (a->decided != b->decided)
		return a->decided ? -1 : 1;
	if (a->stmt->kind != b->stmt->kind && !a->decided)
		return a->stmt->kind < b->stmt->kind ? -1 : 1;
	return a->stmt->id < b->stmt->id ? -1 : a->stmt->id > b->stmt->id;
}

/* The diagram and the statements are two readings of one policy. */
static void
agree(const struct look_explain *e, size_t decided)
{
	const struct flow_leaf *l = &e->leaf;

	assert(l->more == (decided > FLOW_LEAF_STMTS));
	assert(l->nstmt == (decided < FLOW_LEAF_STMTS ? decided : FLOW_LEAF_STMTS));
	assert((l->verdict == FLOW_UNTOUCHED) == !decided);
	for (size_t i = 0; i < l->nstmt && e->said; i++)
		assert(l->stmt[i] == e->said[i].stmt);
	(void)l;
	(void)decided;
}

static const char *
why(struct arena *m, const struct look_explain *e, const struct ruling *r, size_t nr,
    size_t decided)
{
	static const char *const did[] = {
		[FLOW_UNTOUCHED] = "is not touched", [FLOW_ALLOW] = "is allowed",
		[FLOW_REJECT] = "is rejected", [FLOW_DROP] = "is dropped",
		[FLOW_CAPTURE] = "goes to the forwarder",
	};
	const struct policy_point *pt = e->point;
	const char *s = not_judged(pt, &e->packet), *would = "";
	const struct policy_stmt *by;

	if (s)
		return arena_printf(m, "the packet is not touched: %s", s);
	if (!nr)
		return pt->kind == POLICY_ROUTER ?
		    "the packet is not touched: it neither leaves nor enters a zone with rules for it" :
		    "the packet is not touched: the point has no rules for this direction";
	if (!decided)
		return arena_printf(m, "the packet is not touched: no statement speaks of port %u "
		    "between these addresses%s", e->packet.dport,
		    e->nsaid ? " on this day" : "");
	assert(e->said);
	by = e->said[0].stmt;
	s = did[e->leaf.verdict];
	if (e->leaf.observe) {
		would = ", were the point not in `mode: observe`";
		s = e->leaf.verdict == FLOW_DROP ? "would be dropped" : "would be rejected";
	}
	s = arena_printf(m, "the packet %s by %s%s", s, policy_stmt_label(m, by), would);
	if (pt->kind == POLICY_ROUTER)
		s = arena_printf(m, "%s, %s of zone %s", s, policy_dir_word(by->dir),
		    by->zone->meta.name);
	for (size_t i = 0, n = 0; i < nr; i++)
		if (e->leaf.verdict >= FLOW_REJECT && r[i].rank == 1 && !n++)
			s = arena_printf(m, "%s; a refusal wins over what zone %s allows", s,
			    r[i].judge->zone->meta.name);
	return s;
}

void
look_explain(struct arena *m, struct flow *f, flow_ref ref,
    const struct policy_point *pt, const struct packet *p, struct look_explain *out)
{
	struct look_explain e = {.point = pt, .packet = *p};
	struct packet q = *p;
	struct ruling *r = arena_array(m, 2 * pt->nzone + 1, struct ruling);
	size_t cap = 0, nr = 0, decided = 0;
	unsigned rank = 0;

	if (!not_judged(pt, p)) {
		/* What is forwarded has no local socket. */
		if (p->hook == PACKET_FORWARD)
			q.user = q.unit = NULL;
		for (size_t i = 0; i < pt->nzone; i++)
			for (int k = 0; k < POLICY_NDIR; k++) {
				const struct policy_judge *j = &pt->zone[i]->judge[k];

				if (!sees(j, &q))
					continue;
				rule(m, j, &q, &r[nr], &e, &cap);
				rank = r[nr].rank > rank ? r[nr].rank : rank;
				nr++;
			}
	}
	for (size_t i = 0; i < e.nsaid; i++)
		for (size_t k = 0; rank && k < nr; k++) {
			const struct policy_stmt *s = e.said[i].stmt;

			if (r[k].rank == rank && s->zone == r[k].judge->zone &&
			    s->dir == r[k].judge->dir && (int)s->kind == r[k].kind &&
			    !e.said[i].asleep) {
				e.said[i].decided = true;
				decided++;
			}
		}
	if (e.nsaid)
		qsort(e.said, e.nsaid, sizeof *e.said, by_precedence);
	e.leaf = *flow_eval(f, ref, p);
	agree(&e, decided);
	e.fate = e.leaf.observe ? FLOW_UNTOUCHED : e.leaf.verdict;
	e.limits = flow_limits_text(f, e.leaf.limits);
	e.until = flow_eval_until(f, ref, p);
	e.why = why(m, &e, r, nr, decided);
	*out = e;
}
