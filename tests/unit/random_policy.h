/*
 * random_policy: small random policies built by hand, random packets, and
 * what a policy says of a packet, written straight from the comments of
 * policy/policy.h. For the property tests of flow and look.
 */
#ifndef TESTS_RANDOM_POLICY_H
#define TESTS_RANDOM_POLICY_H

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "policy/policy.h"

struct rnd {
	uint64_t s;
};

/* splitmix64 */
static inline uint64_t
rnd_next(struct rnd *r)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static inline unsigned
rnd_below(struct rnd *r, unsigned n)
{
	return (unsigned)(rnd_next(r) % n);
}

static inline bool
rnd_one_in(struct rnd *r, unsigned n)
{
	return rnd_below(r, n) == 0;
}

/* All addresses that matter lie in 64 of each family. */
#define RND_V4 ((u128)0x0a000000)
#define RND_V6 (u128_of(0x20010db800000000, 0))

static const uint16_t rnd_port_list[] = {25, 587, 465, 143, 80, 24, 26, 0, 65535};
static const uint64_t rnd_day_list[] = {0, 100, 200, 300, UINT64_MAX};
static const char *const rnd_user_list[] = {"www-data", "33", "mail", "0"};
static const char *const rnd_unit_list[] = {"system.slice/a.service", "b.slice/c.service"};

static inline void
rnd_ranges(struct rnd *r, struct arena *a, struct addr_set *s, unsigned lo, unsigned hi)
{
	unsigned families = 1 + rnd_below(r, 3);

	if (rnd_one_in(r, 2))
		families = ADDR_BOTH;
	*s = (struct addr_set){0};
	for (unsigned n = 1 + rnd_below(r, 3); n--; ) {
		unsigned x = lo + rnd_below(r, hi - lo), y = x + rnd_below(r, hi - x);

		if (rnd_one_in(r, 2))
			y = x + (y - x) / 4;
		if (families & ADDR_V4)
			addr_set_add(a, s, ADDR_V4, RND_V4 + x, RND_V4 + y);
		if (families & ADDR_V6)
			addr_set_add(a, s, ADDR_V6, RND_V6 + x, RND_V6 + y);
	}
	addr_set_finish(s);
}

static inline void
rnd_anywhere(struct arena *a, struct policy_where *w)
{
	*w = (struct policy_where){.any = true, .label = "anywhere"};
	addr_set_all(a, &w->set, ADDR_BOTH);
}

static inline void
rnd_where(struct rnd *r, struct arena *a, struct policy_where *w)
{
	if (rnd_one_in(r, 3)) {
		rnd_anywhere(a, w);
		return;
	}
	*w = (struct policy_where){.label = "ranges"};
	rnd_ranges(r, a, &w->set, 0, 64);
}

static inline void
rnd_ports(struct rnd *r, struct arena *a, struct port_set *s)
{
	*s = (struct port_set){0};
	for (unsigned n = 1 + rnd_below(r, 3); n--; ) {
		uint16_t p = rnd_port_list[rnd_below(r, 9)];

		port_set_add(a, s, p, p);
	}
	if (rnd_one_in(r, 8))
		port_set_add(a, s, 20, 600);
	port_set_finish(s);
}

static inline struct policy_days
rnd_days(struct rnd *r)
{
	struct policy_days d = POLICY_ALWAYS;
	unsigned i = rnd_below(r, 4), k = i + 1 + rnd_below(r, 4 - i);

	if (rnd_one_in(r, 2))
		return d;
	d.since = rnd_day_list[i];
	d.until = rnd_day_list[k];
	return d;
}

static inline struct policy_stmt *
rnd_stmt(struct rnd *r, struct policy *p, struct policy_judge *j, enum policy_stmt_kind kind,
    enum policy_with with)
{
	struct policy_stmt *s = arena_of(p->a, struct policy_stmt);

	s->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .days = rnd_days(r)};
	s->id = (uint32_t)p->nstmt;
	s->meta.name = arena_printf(p->a, "s%u", s->id);
	s->kind = kind;
	s->zone = j->zone;
	s->point = j->zone->point;
	s->dir = j->dir;
	s->with = with;
	s->log = rnd_one_in(r, 2);
	rnd_where(r, p->a, &s->from);
	rnd_where(r, p->a, &s->to);
	s->ports.label = "ports";
	rnd_ports(r, p->a, &s->ports.set);
	if (kind == POLICY_RELAY) {
		s->relay = p->relay[rnd_below(r, (unsigned)p->nrelay)];
		s->own_ports = rnd_one_in(r, 4);
	}
	if (kind == POLICY_OTHERWISE) {
		s->meta.days = POLICY_ALWAYS;
		s->deny = rnd_one_in(r, 2);
		s->ports.set = port_set_mail;
	} else if (s->point->kind == POLICY_HOST && rnd_one_in(r, 2)) {
		s->nuser = rnd_below(r, 3);
		s->nunit = rnd_below(r, 2);
		s->user = arena_array(p->a, 2, const char *);
		s->unit = arena_array(p->a, 2, const char *);
		for (size_t i = 0; i < 2; i++) {
			s->user[i] = rnd_user_list[rnd_below(r, 4)];
			s->unit[i] = rnd_unit_list[rnd_below(r, 2)];
		}
	}
	ARENA_PUSH(p->a, p->stmt, p->nstmt, p->capstmt) = s;
	ARENA_PUSH(p->a, j->stmt, j->nstmt, j->capstmt) = s;
	return s;
}

static inline void
rnd_judge(struct rnd *r, struct policy *p, struct policy_judge *j, struct policy_zone *z,
    enum policy_dir dir, unsigned stmts, bool limits)
{
	enum policy_with with = rnd_one_in(r, 2) ? POLICY_REJECT : POLICY_DROP;

	*j = (struct policy_judge){.present = true, .at = TEXT_NO_SPAN, .dir = dir, .zone = z,
	    .capture_at = TEXT_NO_SPAN};
	if (rnd_one_in(r, 6)) {
		j->present = false;
		return;
	}
	for (unsigned n = rnd_below(r, stmts + 1); n--; )
		rnd_stmt(r, p, j, (enum policy_stmt_kind)rnd_below(r, POLICY_OTHERWISE), with);
	j->otherwise = rnd_stmt(r, p, j, POLICY_OTHERWISE, with);
	j->capture = dir == POLICY_OUTBOUND && z->point->kind == POLICY_HOST && rnd_one_in(r, 2);
	j->forwarder = j->capture && rnd_one_in(r, 2) ? "mail" : NULL;
	for (unsigned n = limits ? rnd_below(r, 3) : 0; n--; ) {
		struct policy_limit *l = &ARENA_PUSH(p->a, j->limit, j->nlimit, j->caplimit);

		l->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .days = rnd_days(r)};
		l->most = 60 + rnd_below(r, 2);
		l->seconds = 3600;
		l->each = POLICY_EACH_SOURCE;
		l->over = POLICY_OVER_LOG;
		rnd_where(r, p->a, &l->to);
	}
}

/* A policy of one point with up to `stmts` statements a judge. */
static inline struct policy *
rnd_policy(struct rnd *r, struct arena *a, unsigned stmts, bool limits)
{
	struct policy *p = arena_of(a, struct policy);
	struct policy_point *pt = arena_of(a, struct policy_point);

	p->a = a;
	p->meta.at = TEXT_NO_SPAN;
	for (unsigned n = 2; n--; ) {
		struct policy_relay *y = arena_of(a, struct policy_relay);

		y->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .days = POLICY_ALWAYS};
		y->meta.name = n ? "ppsw" : "ser";
		y->index = (uint32_t)p->nrelay;
		rnd_where(r, a, &y->ranges);
		if (y->ranges.any)
			rnd_ranges(r, a, &y->ranges.set, 0, 64);
		y->ranges.any = false;
		rnd_where(r, a, &y->clients);
		y->ports_all = rnd_one_in(r, 3);
		y->ports = port_set_all;
		if (!y->ports_all)
			rnd_ports(r, a, &y->ports);
		ARENA_PUSH(a, p->relay, p->nrelay, p->caprelay) = y;
	}
	pt->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .name = "point", .days = POLICY_ALWAYS};
	pt->kind = rnd_one_in(r, 2) ? POLICY_HOST : POLICY_ROUTER;
	pt->state = rnd_one_in(r, 3) ? POLICY_SYN : POLICY_CONNTRACK;
	pt->observe = rnd_one_in(r, 5);
	pt->containers = rnd_one_in(r, 2);
	ARENA_PUSH(a, p->point, p->npoint, p->cappoint) = pt;
	for (unsigned n = pt->kind == POLICY_HOST ? 1 : 1 + rnd_below(r, 3), i = 0; i < n; i++) {
		struct policy_zone *z = arena_of(a, struct policy_zone);
		struct addr_set more;

		z->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .name = "zone",
		    .days = POLICY_ALWAYS};
		z->point = pt;
		if (pt->kind == POLICY_ROUTER) {
			rnd_ranges(r, a, &z->inside.set, 20 * i, 20 * i + 16);
			rnd_ranges(r, a, &more, 0, 64);
			addr_set_union(a, &z->internal, &z->inside.set,
			    rnd_one_in(r, 2) ? &more : &z->inside.set);
		}
		ARENA_PUSH(a, pt->zone, pt->nzone, pt->capzone) = z;
		for (int k = 0; k < POLICY_NDIR; k++)
			rnd_judge(r, p, &z->judge[k], z, (enum policy_dir)k, stmts, limits);
	}
	return p;
}

static inline struct packet
rnd_packet(struct rnd *r)
{
	struct packet p = {.proto = IPPROTO_TCP, .syn = true};
	bool v4 = rnd_one_in(r, 2);

	p.hook = (enum packet_hook)rnd_below(r, 3);
	p.loopback = rnd_one_in(r, 10);
	if (rnd_one_in(r, 10))
		p.proto = rnd_one_in(r, 2) ? IPPROTO_UDP : 132;
	if (rnd_one_in(r, 4))
		p.state = (enum packet_state)rnd_below(r, 5);
	if (rnd_one_in(r, 6))
		p.syn = false;
	p.src.family = p.dst.family = v4 ? ADDR_V4 : ADDR_V6;
	p.src.n = (v4 ? RND_V4 : RND_V6) + rnd_below(r, 68) - 2;
	p.dst.n = (v4 ? RND_V4 : RND_V6) + rnd_below(r, 68) - 2;
	if (rnd_one_in(r, 10))
		p.dst.n = v4 ? UINT32_MAX : U128_MAX;
	p.dport = rnd_port_list[rnd_below(r, rnd_one_in(r, 2) ? 3 : 9)];
	p.user = rnd_one_in(r, 2) ? NULL : rnd_one_in(r, 5) ? "stranger" :
	    rnd_user_list[rnd_below(r, 4)];
	p.unit = rnd_one_in(r, 2) ? NULL : rnd_one_in(r, 5) ? "stranger.service" :
	    rnd_unit_list[rnd_below(r, 2)];
	p.date = rnd_below(r, 400);
	if (rnd_one_in(r, 3))
		p.date = rnd_day_list[1 + rnd_below(r, 4)] - rnd_below(r, 2);
	return p;
}

/* ---- what the policy says, naively ------------------------------------------- */

struct naive {
	enum { NAIVE_UNTOUCHED, NAIVE_ALLOW, NAIVE_REJECT, NAIVE_DROP, NAIVE_CAPTURE } verdict;
	bool observe;
	const struct policy_stmt *stmt[64];
	size_t nstmt;
	const struct policy_limit *limit[16];
	size_t nlimit;
};

static inline bool
naive_in(const struct policy_where *w, struct addr x)
{
	return w->any || addr_set_has(&w->set, x);
}

static inline bool
naive_named(const char **v, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (s && !strcmp(v[i], s))
			return true;
	return !n;
}

static inline bool
naive_matches(const struct policy_stmt *s, const struct packet *p)
{
	const struct policy_relay *y = s->relay;
	const struct policy_days *d = &s->meta.days;

	if (p->date < d->since || (d->until != UINT64_MAX && p->date >= d->until))
		return false;
	if (!naive_named(s->user, s->nuser, p->user) || !naive_named(s->unit, s->nunit, p->unit))
		return false;
	switch (s->kind) {
	case POLICY_EXEMPT:
	case POLICY_BLOCK:
	case POLICY_ROAMING:
		return naive_in(&s->from, p->src) && naive_in(&s->to, p->dst) &&
		    port_set_has(&s->ports.set, p->dport);
	case POLICY_OTHERWISE:
		return s->deny && port_set_has(&s->ports.set, p->dport);
	case POLICY_RELAY:
		break;
	}
	if (s->dir == POLICY_OUTBOUND) {
		if (naive_in(&y->ranges, p->dst) && naive_in(&y->clients, p->src) &&
		    port_set_has(s->own_ports ? &s->ports.set : &y->ports, p->dport))
			return true;
		return naive_in(&y->ranges, p->src) &&
		    (!s->own_ports || port_set_has(&s->ports.set, p->dport));
	}
	if (!port_set_has(s->own_ports ? &s->ports.set : &y->ports, p->dport))
		return false;
	return naive_in(&y->ranges, p->src) ||
	    (naive_in(&y->ranges, p->dst) && naive_in(&y->clients, p->src));
}

/* One judge, for a packet that is the first of a TCP connection. */
static inline struct naive
naive_judge(const struct policy_judge *j, const struct packet *p)
{
	const struct policy_zone *z = j->zone;
	struct naive n = {0};

	if (!j->present)
		return n;
	if (z->point->kind == POLICY_ROUTER) {
		struct addr in = j->dir == POLICY_OUTBOUND ? p->src : p->dst;
		struct addr out = j->dir == POLICY_OUTBOUND ? p->dst : p->src;

		if (!naive_in(&z->inside, in) || addr_set_has(&z->internal, out))
			return n;
	}
	for (int k = POLICY_EXEMPT; k <= POLICY_OTHERWISE && !n.nstmt; k++) {
		/* The lowest id first, whatever the order of the list. */
		for (uint32_t id = 0; id < 64; id++)
			for (size_t i = 0; i < j->nstmt; i++)
				if ((int)j->stmt[i]->kind == k && j->stmt[i]->id == id &&
				    naive_matches(j->stmt[i], p))
					n.stmt[n.nstmt++] = j->stmt[i];
	}
	if (!n.nstmt)
		return n;
	switch (n.stmt[0]->kind) {
	case POLICY_EXEMPT:
	case POLICY_RELAY:
	case POLICY_ROAMING:
		n.verdict = NAIVE_ALLOW;
		break;
	case POLICY_BLOCK:
	case POLICY_OTHERWISE:
		n.verdict = n.stmt[0]->with == POLICY_DROP ? NAIVE_DROP : NAIVE_REJECT;
		return n;
	}
	for (size_t i = 0; i < j->nlimit; i++) {
		const struct policy_limit *l = &j->limit[i];

		if (naive_in(&l->to, p->dst) && p->date >= l->meta.days.since &&
		    (l->meta.days.until == UINT64_MAX || p->date < l->meta.days.until))
			n.limit[n.nlimit++] = l;
	}
	return n;
}

static inline struct naive
naive_point(const struct policy_point *pt, const struct packet *packet)
{
	struct packet p = *packet;
	struct naive n = {0};

	if (p.proto != IPPROTO_TCP)
		return n;
	if (pt->state == POLICY_SYN ? !p.syn :
	    p.state == PACKET_ESTABLISHED || p.state == PACKET_RELATED)
		return n;
	if (pt->kind == POLICY_HOST) {
		const struct policy_judge *j = pt->zone[0]->judge;

		if (p.hook == PACKET_FORWARD ? !pt->containers : p.loopback)
			return n;
		if (p.hook == PACKET_FORWARD)
			p.user = p.unit = NULL;
		n = naive_judge(&j[p.hook == PACKET_INPUT ? POLICY_INBOUND : POLICY_OUTBOUND], &p);
		if (p.hook == PACKET_OUTPUT && j->capture && !pt->observe && p.dport == 25 &&
		    (p.state == PACKET_NEW || p.state == PACKET_RELATED) && n.verdict >= NAIVE_REJECT &&
		    !(j->forwarder && p.user && !strcmp(p.user, j->forwarder)))
			n.verdict = NAIVE_CAPTURE;
	} else if (p.hook == PACKET_FORWARD) {
		/* A refusal wins, outbound before inbound. */
		for (int k = 0; k < POLICY_NDIR; k++)
			for (size_t i = 0; i < pt->nzone && n.verdict < NAIVE_REJECT; i++) {
				struct naive x = naive_judge(&pt->zone[i]->judge[k], &p);

				if (x.verdict >= NAIVE_REJECT || n.verdict == NAIVE_UNTOUCHED) {
					n = x;
					continue;
				}
				for (size_t s = 0; s < x.nstmt; s++)
					n.stmt[n.nstmt++] = x.stmt[s];
				for (size_t s = 0; s < x.nlimit; s++)
					n.limit[n.nlimit++] = x.limit[s];
			}
	}
	n.observe = pt->observe && n.verdict >= NAIVE_REJECT;
	return n;
}

#endif
