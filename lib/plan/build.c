/*
 * build: a point's hooks, zones and entry chains.
 *
 *     entry (forward)          the ports that matter: all else pays one lookup
 *       -> mail-forward        only the first packet of a connection; which zone
 *            -> ZONE-outbound  its statements; what it allows goes on to
 *            -> forward-allowed   where another zone may still refuse
 *            -> ZONE-inbound
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "plan/lower.h"

enum {
	MANY_ZONES = 8,            /* from here on a map finds the zone */
	CAPTURE_PRIORITY = -100,   /* NF_IP_PRI_NAT_DST */
	CAPTURED_PORT = 25
};

static const char *const hook_name[] = {
	[PACKET_FORWARD] = "forward",
	[PACKET_OUTPUT] = "output",
	[PACKET_INPUT] = "input",
};

/* The verdict of what is not for us to judge. */
static struct plan_verdict
not_ours(const struct lower *l)
{
	return VERDICT(l->chains ? PLAN_DO_RETURN : PLAN_DO_ACCEPT);
}

/* The verdict of what a judge allows when no other has to be asked. Where
 * an accept would speak for the administrator's other rules, mode observe
 * must not. */
static struct plan_verdict
final(const struct lower *l)
{
	return VERDICT(l->chains && l->pt->observe ? PLAN_DO_RETURN : PLAN_DO_ACCEPT);
}

static uint32_t
entry(struct lower *l, enum packet_hook hook, enum plan_chain_type type)
{
	const char *name = type == PLAN_NAT ? "capture" : hook_name[hook];
	uint32_t i = lower_chain(l, name);
	struct plan_chain *c = &l->plan->chain[i];

	c->entry = true;
	c->base = !l->chains;
	c->type = type;
	c->hook = hook;
	c->priority = type == PLAN_NAT ? CAPTURE_PRIORITY : 0;
	return i;
}

/* What limits is not the ports: only connections to these go to the judges. */
static void
enter_limited(struct lower *l, uint32_t from, const struct policy_judge *j, uint32_t to)
{
	for (size_t i = 0; i < j->nlimit; i++)
		for (int k = 0; k < 2; k++) {
			const struct policy_limit *t = &j->limit[i];
			enum addr_family f = k ? ADDR_V6 : ADDR_V4;
			struct draft r = draft_new(TO_CHAIN(PLAN_DO_GOTO, to));

			if (!lower_count(f, &t->to.set))
				continue;
			draft_value(&r, PLAN_L4PROTO, PLAN_IS, 6);
			draft_addr(l, &r, PLAN_DADDR4, PLAN_IS, f, &t->to.set,
			    lower_limit_name(l, j, i));
			r.r.comment = lower_limit_comment(l, t);
			r.r.at = t->meta.at;
			lower_emit(l, from, &r);
		}
}

/* The entry's rules: what goes to the judges, j[] of n. */
static void
enter(struct lower *l, uint32_t from, const struct seen *s, uint32_t to,
    const struct policy_judge *const *j, size_t n)
{
	struct draft r = draft_new(TO_CHAIN(PLAN_DO_JUMP, to));

	if (s->all && !s->limited) {
		draft_value(&r, PLAN_L4PROTO, PLAN_IS, 6);
		r.r.comment = "all TCP ports: a statement allows or refuses any port";
		lower_emit(l, from, &r);
		return;
	}
	if (s->all)                /* once is enough */
		r.r.verdict.kind = PLAN_DO_GOTO;
	if (s->set.n) {
		draft_ports(l, &r, &s->set, "judged");
		r.r.comment = "the ports that the policy judges here";
		lower_emit(l, from, &r);
	}
	for (size_t i = 0; s->all && i < n; i++)
		enter_limited(l, from, j[i], to);
}

/* Loopback and the later packets of a connection are not judged. */
static void
first_packets(struct lower *l, uint32_t chain, enum packet_hook hook, bool captured)
{
	struct draft r;

	if (l->pt->kind == POLICY_HOST && hook != PACKET_FORWARD) {
		r = draft_new(not_ours(l));
		draft_text(&r, hook == PACKET_OUTPUT ? PLAN_OIFNAME : PLAN_IIFNAME, "lo", 0);
		lower_emit(l, chain, &r);
	}
	if (captured) {
		/* a redirected connection still shows its old interface here */
		r = draft_new(not_ours(l));
		draft_value(&r, PLAN_DPORT, PLAN_IS, PLAN_CAPTURE_PORT);
		draft_value(&r, PLAN_CT_DPORT, PLAN_IS, CAPTURED_PORT);
		r.r.comment = "captured: on its way to the forwarder";
		lower_emit(l, chain, &r);
	}
	r = draft_new(not_ours(l));
	switch (l->pt->state) {
	case POLICY_CONNTRACK:
		draft_value(&r, PLAN_CT_STATE, PLAN_IS, 0);
		r.match[0].m.mask = PLAN_CT_ESTABLISHED | PLAN_CT_RELATED;
		break;
	case POLICY_SYN:
		draft_value(&r, PLAN_TCP_FLAGS, PLAN_NOT, PLAN_SYN);
		r.match[0].m.mask = PLAN_FIN | PLAN_SYN | PLAN_RST | PLAN_ACK;
		break;
	}
	lower_emit(l, chain, &r);
}

/* ---- routers -------------------------------------------------------------------- */

struct seat {
	const struct policy_zone *zone;
	uint32_t chain;
};

struct court {
	struct seat *v;
	size_t n, cap;
	enum policy_dir dir;
	bool by_map;               /* zones are found by a map; internals in the chain's head */
};

static const char *
inside_name(const struct policy_zone *z)
{
	return z->inside.network && z->inside.network->meta.name ?
	    z->inside.network->meta.name : z->meta.name;
}

static const char *
zone_comment(struct lower *l, const struct policy_zone *z)
{
	return lower_comment(l, &z->meta, "zone %s", z->meta.name);
}

/* Whether packets of the family cross the zone's border. */
static bool
crosses(enum addr_family f, const struct policy_zone *z)
{
	return lower_count(f, &z->inside.set) && !lower_all(f, &z->internal);
}

static void
far_match(struct lower *l, struct draft *r, enum policy_dir dir, enum addr_family f,
    const struct policy_zone *z, enum plan_op op)
{
	if (lower_count(f, &z->internal))
		draft_addr(l, r, dir == POLICY_OUTBOUND ? PLAN_DADDR4 : PLAN_SADDR4, op, f,
		    &z->internal, arena_printf(l->a, "%s-internal", z->meta.name));
}

/* One rule for each zone and family. */
static void
dispatch_rules(struct lower *l, uint32_t chain, const struct court *c)
{
	for (size_t i = 0; i < c->n; i++)
		for (int k = 0; k < 2; k++) {
			const struct policy_zone *z = c->v[i].zone;
			enum addr_family f = k ? ADDR_V6 : ADDR_V4;
			struct draft r = draft_new(TO_CHAIN(PLAN_DO_JUMP, c->v[i].chain));

			if (!crosses(f, z))
				continue;
			draft_addr(l, &r, c->dir == POLICY_OUTBOUND ? PLAN_SADDR4 : PLAN_DADDR4,
			    PLAN_IS, f, &z->inside.set, inside_name(z));
			far_match(l, &r, c->dir, f, z, PLAN_NOT);
			r.r.comment = zone_comment(l, z);
			r.r.at = z->meta.at;
			lower_emit(l, chain, &r);
		}
}

struct piece {
	u128 lo, hi;
	uint32_t seat;
};

static int
by_lo(const void *pa, const void *pb)
{
	const struct piece *a = pa, *b = pb;

	return (a->lo > b->lo) - (a->lo < b->lo);
}

/* A map from the insides of all zones to their chains. */
static uint32_t
zone_map(struct lower *l, const struct court *c, enum addr_family f)
{
	struct plan_set s = {.kind = PLAN_MAP, .interval = true,
	    .key = f == ADDR_V4 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6};
	struct plan_verdict *v;
	const char **comment;
	struct addr_range4 *v4 = NULL;
	struct addr_range6 *v6 = NULL;
	struct piece *e;
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += crosses(f, c->v[i].zone) ? lower_count(f, &c->v[i].zone->inside.set) : 0;
	if (!n)
		return PLAN_NONE;
	e = arena_array(l->a, n, struct piece);
	for (size_t i = 0, k = 0; i < c->n; i++) {
		const struct addr_set *in = &c->v[i].zone->inside.set;

		for (size_t q = 0; crosses(f, c->v[i].zone) && q < lower_count(f, in); q++)
			e[k++] = f == ADDR_V4 ?
			    (struct piece){in->v4[q].lo, in->v4[q].hi, (uint32_t)i} :
			    (struct piece){in->v6[q].lo, in->v6[q].hi, (uint32_t)i};
	}
	qsort(e, n, sizeof *e, by_lo);
	s.n = n;
	v = arena_array(l->a, n, struct plan_verdict);
	comment = arena_array(l->a, n, const char *);
	if (f == ADDR_V4)
		s.v4 = v4 = arena_array(l->a, n, struct addr_range4);
	else
		s.v6 = v6 = arena_array(l->a, n, struct addr_range6);
	for (size_t k = 0; k < n; k++) {
		v[k] = TO_CHAIN(PLAN_DO_JUMP, c->v[e[k].seat].chain);
		comment[k] = zone_comment(l, c->v[e[k].seat].zone);
		if (f == ADDR_V4)
			v4[k] = (struct addr_range4){(uint32_t)e[k].lo, (uint32_t)e[k].hi};
		else
			v6[k] = (struct addr_range6){e[k].lo, e[k].hi};
	}
	s.verdict = v;
	s.comment = comment;
	s.name = lower_name(l, NAME_SET, "zones-%s%c",
	    c->dir == POLICY_OUTBOUND ? "outbound" : "inbound", f == ADDR_V4 ? '4' : '6');
	return lower_set(l, s);
}

static void
dispatch(struct lower *l, uint32_t chain, const struct court *c, const uint32_t map[2])
{
	if (!c->by_map) {
		dispatch_rules(l, chain, c);
		return;
	}
	for (int k = 0; k < 2; k++) {
		struct draft r = draft_new(VERDICT(PLAN_GO_ON));

		if (map[k] == PLAN_NONE)
			continue;
		r.r.vmap = map[k];
		r.r.vmap_field = c->dir == POLICY_OUTBOUND ?
		    (k ? PLAN_SADDR6 : PLAN_SADDR4) : (k ? PLAN_DADDR6 : PLAN_DADDR4);
		lower_emit(l, chain, &r);
	}
}

/* Whether a map can find the zones: there are many, and none is huge. */
static bool
mappable(const struct lower *l, const struct court *c)
{
	size_t n4 = 0, n6 = 0, most = l->split ? l->split->above : PLAN_SHARD_ABOVE;

	for (size_t i = 0; i < c->n; i++) {
		const struct policy_zone *z = c->v[i].zone;

		n4 += z->inside.set.n4;
		n6 += z->inside.set.n6;
		if (z->internal.n4 > most || z->internal.n6 > most)
			return false;
	}
	return c->n >= MANY_ZONES && n4 <= most && n6 <= most;
}

/* The chain that a zone's packets go to: its judge's, with what is internal sent
 * back first where the dispatch has not looked. */
static void
seat_judges(struct lower *l, struct court *c, const struct seen *seen,
    struct plan_verdict pass)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct policy_zone *z = c->v[i].zone;
		struct bench b = {.judge = &z->judge[c->dir], .seen = *seen, .pass = pass};
		uint32_t judge = lower_judge(l, &b), head;

		c->v[i].chain = judge;
		if (!c->by_map)
			continue;
		head = lower_chain(l, arena_printf(l->a, "%s-border", lower_judge_name(l, b.judge)));
		for (int k = 0; k < 2; k++) {
			struct draft r = draft_new(VERDICT(PLAN_DO_RETURN));

			if (!crosses(k ? ADDR_V6 : ADDR_V4, z))
				continue;
			far_match(l, &r, c->dir, k ? ADDR_V6 : ADDR_V4, z, PLAN_IS);
			lower_emit(l, head, &r);
		}
		{
			struct draft r = draft_new(TO_CHAIN(PLAN_DO_GOTO, judge));

			lower_emit(l, head, &r);
		}
		c->v[i].chain = head;
	}
}

static void
router(struct lower *l)
{
	struct court court[POLICY_NDIR] = {{.dir = POLICY_OUTBOUND}, {.dir = POLICY_INBOUND}};
	uint32_t map[POLICY_NDIR][2], mail, allowed;
	struct seen seen = {0}, one;
	struct plan_verdict pass = final(l);
	const struct policy_judge **judges = NULL;
	size_t njudge = 0, capjudge = 0;
	bool asked_again = false;
	struct draft r;

	for (size_t i = 0; i < l->pt->nzone; i++)
		for (int d = 0; d < POLICY_NDIR; d++) {
			const struct policy_judge *j = &l->pt->zone[i]->judge[d];

			if (!j->present || !lower_seen(l, j, &one))
				continue;
			seen = lower_join(l, &seen, &one);
			ARENA_PUSH(l->a, court[d].v, court[d].n, court[d].cap).zone = l->pt->zone[i];
			asked_again |= d == POLICY_INBOUND && lower_refuses(j);
		}
	for (int d = 0; d < POLICY_NDIR; d++)
		court[d].by_map = mappable(l, &court[d]);

	seat_judges(l, &court[POLICY_INBOUND], &seen, final(l));
	for (int k = 0; k < 2; k++)
		map[POLICY_INBOUND][k] = court[POLICY_INBOUND].by_map ?
		    zone_map(l, &court[POLICY_INBOUND], k ? ADDR_V6 : ADDR_V4) : PLAN_NONE;
	if (asked_again && court[POLICY_OUTBOUND].n && pass.kind == PLAN_DO_ACCEPT) {
		allowed = lower_chain(l, "forward-allowed");
		dispatch(l, allowed, &court[POLICY_INBOUND], map[POLICY_INBOUND]);
		r = draft_new(pass);
		lower_emit(l, allowed, &r);
		pass = TO_CHAIN(PLAN_DO_GOTO, allowed);
	}
	seat_judges(l, &court[POLICY_OUTBOUND], &seen, pass);
	for (int k = 0; k < 2; k++)
		map[POLICY_OUTBOUND][k] = court[POLICY_OUTBOUND].by_map ?
		    zone_map(l, &court[POLICY_OUTBOUND], k ? ADDR_V6 : ADDR_V4) : PLAN_NONE;

	if (!court[0].n && !court[1].n) {
		if (l->chains)
			entry(l, PACKET_FORWARD, PLAN_FILTER);
		return;
	}
	mail = lower_chain(l, "mail-forward");
	first_packets(l, mail, PACKET_FORWARD, false);
	for (int d = 0; d < POLICY_NDIR; d++)
		dispatch(l, mail, &court[d], map[d]);
	for (int d = 0; d < POLICY_NDIR; d++)
		for (size_t i = 0; i < court[d].n; i++)
			ARENA_PUSH(l->a, judges, njudge, capjudge) = &court[d].v[i].zone->judge[d];
	enter(l, entry(l, PACKET_FORWARD, PLAN_FILTER), &seen, mail, judges, njudge);
}

/* ---- hosts ---------------------------------------------------------------------- */

static bool
names_owners(const struct policy_judge *j)
{
	for (size_t i = 0; i < j->nstmt; i++)
		if (j->stmt[i]->nuser || j->stmt[i]->nunit)
			return true;
	return false;
}

static void
host_hook(struct lower *l, enum packet_hook hook, const struct seen *seen,
    const struct policy_judge *j, uint32_t judge, bool captured)
{
	uint32_t mail = lower_chain(l, arena_printf(l->a, "mail-%s", hook_name[hook]));
	struct draft r = draft_new(TO_CHAIN(PLAN_DO_GOTO, judge));

	first_packets(l, mail, hook, captured);
	lower_emit(l, mail, &r);
	enter(l, entry(l, hook, PLAN_FILTER), seen, mail, &j, 1);
}

/* What would be refused on port 25 is redirected to the forwarder. */
static bool
capture(struct lower *l, const struct policy_judge *j)
{
	struct bench b = {.judge = j, .local = true, .nat = true,
	    .pass = VERDICT(l->chains ? PLAN_DO_RETURN : PLAN_DO_ACCEPT)};
	uint32_t mail, judge;
	struct draft r;

	port_set_add(l->a, &b.seen.set, CAPTURED_PORT, CAPTURED_PORT);
	judge = lower_judge(l, &b);
	if (!l->plan->chain[judge].nrule)
		return false;
	mail = lower_chain(l, "mail-capture");
	first_packets(l, mail, PACKET_OUTPUT, false);
	if (j->forwarder) {
		r = draft_new(not_ours(l));
		draft_text(&r, PLAN_SKUID, j->forwarder, 0);
		r.r.comment = "what the forwarder itself sends must not come back to it";
		lower_emit(l, mail, &r);
	}
	r = draft_new(TO_CHAIN(PLAN_DO_GOTO, judge));
	lower_emit(l, mail, &r);
	enter(l, entry(l, PACKET_OUTPUT, PLAN_NAT), &b.seen, mail, NULL, 0);
	return true;
}

/*
 * Her own chains may still jump to what an earlier version of the policy had:
 * an entry chain without rules, so that loading empties it. Not the forward
 * chain where it may belong to a router point on the same machine.
 */
static void
empty_entries(struct lower *l, bool capture_too, bool forward)
{
	if (!l->chains)
		return;
	for (size_t i = 0; i < l->p->npoint; i++)
		forward = forward && (l->p->point[i]->kind != POLICY_ROUTER ||
		    l->p->point[i]->as != POLICY_AS_CHAINS);
	if (forward)
		entry(l, PACKET_FORWARD, PLAN_FILTER);
	if (capture_too)
		entry(l, PACKET_OUTPUT, PLAN_NAT);
}

static void
host(struct lower *l)
{
	const struct policy_zone *z = l->pt->zone[0];
	const struct policy_judge *out = &z->judge[POLICY_OUTBOUND];
	const struct policy_judge *in = &z->judge[POLICY_INBOUND];
	struct bench b = {.pass = final(l)};
	bool captured = false;
	uint32_t judge;

	if (in->present && lower_seen(l, in, &b.seen)) {
		b.judge = in;
		host_hook(l, PACKET_INPUT, &b.seen, in, lower_judge(l, &b), false);
	} else if (l->chains) {
		entry(l, PACKET_INPUT, PLAN_FILTER);
	}
	if (!out->present || !lower_seen(l, out, &b.seen)) {
		if (l->chains)
			entry(l, PACKET_OUTPUT, PLAN_FILTER);
		empty_entries(l, true, true);
		return;
	}
	b.judge = out;
	b.local = true;
	judge = lower_judge(l, &b);
	if (l->pt->containers) {
		struct bench f = b;

		f.local = false;
		f.forwarded = true;
		host_hook(l, PACKET_FORWARD, &b.seen, out,
		    names_owners(out) ? lower_judge(l, &f) : judge, false);
	}
	if (out->capture && !l->pt->observe)
		captured = capture(l, out);
	host_hook(l, PACKET_OUTPUT, &b.seen, out, judge, captured);
	empty_entries(l, !captured, !l->pt->containers);
}

/* ---- the whole ---------------------------------------------------------------- */

static bool
captures(const struct policy_point *pt)
{
	for (size_t i = 0; i < pt->nzone; i++)
		if (pt->zone[i]->judge[POLICY_OUTBOUND].capture)
			return true;
	return false;
}

static struct plan *
lower(struct arena *a, const struct policy *p, const struct policy_point *pt,
    struct diags *d, const struct split *by)
{
	bool chains = pt->as == POLICY_AS_CHAINS;
	struct lower l = {.a = a, .p = p, .pt = pt, .d = d, .chains = chains,
	    .split = by, .prefix = chains ? "mailreeve-" : ""};

	l.plan = arena_of(a, struct plan);
	l.plan->table = plan_table(pt);
	l.plan->own_table = !chains;
	l.plan->policy = p->meta.name ? p->meta.name : "";
	l.plan->point = pt->meta.name ? pt->meta.name : "";
	l.plan->observe = pt->observe;
	for (int i = 0; i < 3; i++)
		l.name[i] = hash_names_new(a);
	l.counter = arena_array(a, p->nstmt + 1, uint32_t);
	for (size_t i = 0; i < p->nstmt; i++)
		l.counter[i] = PLAN_NONE;
	switch (pt->kind) {
	case POLICY_ROUTER:
		router(&l);
		break;
	case POLICY_HOST:
		host(&l);
		break;
	}
	return l.plan;
}

struct plan *
lower_point(struct arena *a, const struct policy *p, const struct policy_point *pt,
    struct diags *d, const struct split *by)
{
	/* a rule that returns cannot stand behind a map to shards */
	bool shards = pt->as == POLICY_AS_BASE || (!pt->observe && !captures(pt));
	size_t errors = d->errors;
	struct plan *plan = lower(a, p, pt, d, shards ? by : NULL);

	if (d->errors > errors)
		return NULL;
	if (lower_order(a, plan) >= PLAN_DEPTH) {
		plan = lower(a, p, pt, d, NULL);
		lower_order(a, plan);
	}
	plan_seal(plan);
	return plan;
}

const char *
plan_table(const struct policy_point *pt)
{
	if (pt->as == POLICY_AS_CHAINS)
		return "filter";
	return pt->kind == POLICY_HOST ? "mailreeve-host" : "mailreeve";
}

struct plan *
plan_of_point(struct arena *a, const struct policy *p,
    const struct policy_point *pt, struct diags *d)
{
	return lower_point(a, p, pt, d, &split_usual);
}
