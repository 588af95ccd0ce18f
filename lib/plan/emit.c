/*
 * emit: drafts of rules into chains.
 *
 * A rule that looks into a set split in shards becomes a verdict map by
 * address range and a chain for each shard, where the rest of the rule
 * stands. Its verdict must be one that means the same a chain deeper, so
 * nothing that reaches here returns after a match on such a set: an allowed
 * packet accepts, or goes to a chain that ends in accept.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "plan/lower.h"

enum { FEW_PORTS = 32 };           /* so many are listed one by one */

uint32_t
lower_chain(struct lower *l, const char *name)
{
	struct plan *p = l->plan;

	ARENA_PUSH(l->a, p->chain, p->nchain, p->capchain).name =
	    lower_name(l, NAME_CHAIN, "%s", name);
	return p->nchain - 1;
}

/* ---- drafts --------------------------------------------------------------- */

struct draft
draft_new(struct plan_verdict v)
{
	return (struct draft){.r = {
		.vmap = PLAN_NONE,
		.counter = PLAN_NONE,
		.limit.meter = PLAN_NONE,
		.verdict = v,
		.stmt = PLAN_NONE,
		.at = TEXT_NO_SPAN,
	}};
}

static struct draft_match *
push(struct draft *r, enum plan_field f, enum plan_op op)
{
	struct draft_match *m = &r->match[r->nmatch];

	assert(r->nmatch < PLAN_MOST_RULE_MATCHES);
	r->nmatch++;
	*m = (struct draft_match){.m = {.field = f, .op = op, .set = PLAN_NONE},
	    .lot = PLAN_NONE};
	return m;
}

void
draft_addr(struct lower *l, struct draft *r, enum plan_field field4,
    enum plan_op op, enum addr_family f, const struct addr_set *s,
    const char *name)
{
	enum plan_field field = field4;
	struct draft_match *m;
	uint32_t i;

	if (f == ADDR_V6)
		field = field4 == PLAN_SADDR4 ? PLAN_SADDR6 : PLAN_DADDR6;
	m = push(r, field, op);
	if (lower_count(f, s) == 1) {
		m->m.lo = f == ADDR_V4 ? s->v4[0].lo : s->v6[0].lo;
		m->m.hi = f == ADDR_V4 ? s->v4[0].hi : s->v6[0].hi;
		return;
	}
	i = lower_lot(l, f, s, name);
	if (l->lot[i].nshard > 1)
		m->lot = i;
	else
		m->m.set = l->lot[i].set;
}

/* The interval set of those ports, made now if new. */
static uint32_t
port_ranges(struct lower *l, const struct port_set *s, const char *label)
{
	struct plan *p = l->plan;

	for (uint32_t i = 0; i < p->nset; i++) {
		const struct plan_set *t = &p->set[i];

		if (t->key == PLAN_KEY_PORT && t->name && t->n == s->n &&
		    !memcmp(t->port, s->v, s->n * sizeof *s->v))
			return i;
	}
	return lower_set(l, (struct plan_set){
		.name = lower_name(l, NAME_SET, "ports-%s", label),
		.kind = PLAN_SET, .key = PLAN_KEY_PORT, .interval = true,
		.n = s->n, .port = s->v,
	});
}

void
draft_ports(struct lower *l, struct draft *r, const struct port_set *s,
    const char *label)
{
	struct draft_match *m = push(r, PLAN_DPORT, PLAN_IS);
	struct port_range *one;
	size_t count = 0, n = 0;

	assert(s->n > 0);
	if (s->n == 1) {
		m->m.lo = s->v[0].lo;
		m->m.hi = s->v[0].hi;
		return;
	}
	for (size_t i = 0; i < s->n; i++)
		count += (size_t)(s->v[i].hi - s->v[i].lo) + 1;
	if (count > FEW_PORTS) {
		m->m.set = port_ranges(l, s, label);
		return;
	}
	one = arena_array(l->a, count, struct port_range);
	for (size_t i = 0; i < s->n; i++)
		for (unsigned q = s->v[i].lo; q <= s->v[i].hi; q++)
			one[n++] = (struct port_range){(uint16_t)q, (uint16_t)q};
	m->m.set = lower_set(l, (struct plan_set){
		.kind = PLAN_SET, .key = PLAN_KEY_PORT, .n = count, .port = one,
	});
}

void
draft_value(struct draft *r, enum plan_field f, enum plan_op op, u128 v)
{
	struct draft_match *m = push(r, f, op);

	m->m.lo = m->m.hi = v;
}

void
draft_text(struct draft *r, enum plan_field f, const char *s, uint32_t level)
{
	struct draft_match *m = push(r, f, PLAN_IS);

	m->m.text = s;
	m->m.level = level;
}

void
draft_days(struct draft *r, const struct policy_days *d)
{
	if (d->since)
		draft_value(r, PLAN_TIME, PLAN_LEAST, d->since);
	if (d->until != UINT64_MAX)
		draft_value(r, PLAN_TIME, PLAN_LESS, d->until);
}

/* ---- into chains ------------------------------------------------------------ */

static bool
tells_tcp(const struct draft *r)
{
	for (uint32_t i = 0; i < r->nmatch; i++)
		if (r->match[i].m.field == PLAN_DPORT ||
		    r->match[i].m.field == PLAN_TCP_FLAGS ||
		    r->match[i].m.field == PLAN_L4PROTO)
			return true;
	return false;
}

/* Adds a rule all of whose matches have their form. */
static void
append(struct lower *l, uint32_t chain, struct draft *r)
{
	struct plan_chain *c = &l->plan->chain[chain];
	struct plan_match *m;

	/* a reset and a port to redirect to need it in the rule itself */
	if ((r->r.verdict.kind == PLAN_DO_REJECT ||
	    r->r.verdict.kind == PLAN_DO_REDIRECT) && !tells_tcp(r))
		draft_value(r, PLAN_L4PROTO, PLAN_IS, 6);
	m = arena_array(l->a, r->nmatch, struct plan_match);
	for (uint32_t i = 0; i < r->nmatch; i++) {
		assert(r->match[i].lot == PLAN_NONE);
		m[i] = r->match[i].m;
	}
	r->r.match = m;
	r->r.nmatch = r->nmatch;
	ARENA_PUSH(l->a, c->rule, c->nrule, c->caprule) = r->r;
}

static void
drop_match(struct draft *r, uint32_t i)
{
	r->nmatch--;
	memmove(&r->match[i], &r->match[i + 1],
	    (r->nmatch - i) * sizeof r->match[0]);
}

/* A map from the stretches of a lot's shards to v[] of the chains. */
static uint32_t
stretches(struct lower *l, const struct lot *t, const char *name,
    const struct plan_verdict *v)
{
	enum addr_family f = t->key == PLAN_KEY_IPV4 ? ADDR_V4 : ADDR_V6;
	struct plan_set s = {.kind = PLAN_MAP, .key = t->key, .interval = true,
	    .n = t->nshard, .verdict = v,
	    .name = lower_name(l, NAME_SET, "%s-shard", name)};
	struct addr_range4 *v4 = NULL;
	struct addr_range6 *v6 = NULL;

	if (f == ADDR_V4)
		s.v4 = v4 = arena_array(l->a, s.n, struct addr_range4);
	else
		s.v6 = v6 = arena_array(l->a, s.n, struct addr_range6);
	for (size_t i = 0; i < s.n; i++) {
		u128 hi = i + 1 < s.n ? t->cut[i + 1] - 1 : addr_last(f);

		if (f == ADDR_V4)
			v4[i] = (struct addr_range4){(uint32_t)t->cut[i], (uint32_t)hi};
		else
			v6[i] = (struct addr_range6){t->cut[i], hi};
	}
	return lower_set(l, s);
}

/* A name like the shard's own, for the chain that looks into it. */
static const char *
shard_name(struct lower *l, const char *head, const struct lot *t, uint32_t i)
{
	const char *set = l->plan->set[t->set + i].name;

	return arena_printf(l->a, "%s-%s", head, set + strlen(l->prefix));
}

/* The chain that goes to `to` unless the field is in the lot, where it
 * returns to its caller. One for each pair. */
static uint32_t
outside_of(struct lower *l, enum plan_field field, uint32_t lot, uint32_t to,
    const struct draft *like)
{
	struct lot *t = &l->lot[lot];
	const char *head = l->plan->chain[to].name + strlen(l->prefix);
	struct plan_verdict *v;
	struct draft r;
	uint32_t made;

	for (uint32_t i = 0; i < l->nbeyond; i++)
		if (l->beyond[i].lot == lot && l->beyond[i].chain == to &&
		    l->beyond[i].field == field)
			return l->beyond[i].made;
	head = arena_printf(l->a, "%s-not-%s", head, t->name);
	v = arena_array(l->a, t->nshard, struct plan_verdict);
	for (uint32_t i = 0; i < t->nshard; i++) {
		v[i] = TO_CHAIN(PLAN_DO_GOTO,
		    lower_chain(l, shard_name(l, head, t, i)));
		r = draft_new(VERDICT(PLAN_DO_RETURN));
		push(&r, field, PLAN_IS)->m.set = t->set + i;
		append(l, v[i].chain, &r);
		r = draft_new(TO_CHAIN(PLAN_DO_GOTO, to));
		append(l, v[i].chain, &r);
	}
	made = lower_chain(l, head);
	r = draft_new(VERDICT(PLAN_GO_ON));
	r.r.vmap_field = field;
	r.r.vmap = stretches(l, t, head, v);
	r.r.comment = like->r.comment;
	r.r.at = like->r.at;
	append(l, made, &r);
	ARENA_PUSH(l->a, l->beyond, l->nbeyond, l->capbeyond) =
	    (struct beyond){.lot = lot, .chain = to, .made = made, .field = field};
	return made;
}

/* The i-th match, on a split set, becomes a map to chains with the rest. */
static void
emit_split(struct lower *l, uint32_t chain, struct draft *r, uint32_t i)
{
	struct draft_match m = r->match[i];
	struct lot *t = &l->lot[m.lot];
	const char *head = l->plan->chain[chain].name + strlen(l->prefix);
	struct plan_verdict *v = arena_array(l->a, t->nshard, struct plan_verdict);
	struct draft rest = *r, front = *r;

	assert(r->r.verdict.kind != PLAN_DO_RETURN);
	/* what is left of the matches stands in front of the map, but for other
	 * split sets, which need a chain of their own */
	drop_match(&front, i);
	rest.nmatch = 0;
	for (uint32_t k = 0; k < front.nmatch; )
		if (front.match[k].lot != PLAN_NONE) {
			rest.match[rest.nmatch++] = front.match[k];
			drop_match(&front, k);
		} else {
			k++;
		}
	if (rest.nmatch) {
		uint32_t inner = lower_chain(l, arena_printf(l->a, "%s-and", head));

		lower_emit(l, inner, &rest);
		rest = draft_new(TO_CHAIN(PLAN_DO_JUMP, inner));
	}
	for (uint32_t k = 0; k < t->nshard; k++) {
		struct draft one = rest;

		v[k] = TO_CHAIN(PLAN_DO_JUMP, lower_chain(l, shard_name(l, head, t, k)));
		push(&one, m.m.field, PLAN_IS)->m.set = t->set + k;
		append(l, v[k].chain, &one);
	}
	front.r = draft_new(VERDICT(PLAN_GO_ON)).r;
	front.r.vmap_field = m.m.field;
	front.r.vmap = stretches(l, t, arena_printf(l->a, "%s-%s", head, t->name), v);
	front.r.comment = r->r.comment;
	front.r.stmt = r->r.stmt;
	front.r.at = r->r.at;
	append(l, chain, &front);
}

void
lower_emit(struct lower *l, uint32_t chain, const struct draft *draft)
{
	struct draft r = *draft;

	for (uint32_t i = 0; i < r.nmatch; i++)
		if (r.match[i].lot != PLAN_NONE && r.match[i].m.op == PLAN_NOT) {
			struct draft_match m = r.match[i];

			assert(r.r.verdict.kind == PLAN_DO_JUMP);
			drop_match(&r, i);
			r.r.verdict.chain = outside_of(l, m.m.field, m.lot,
			    r.r.verdict.chain, &r);
			i--;
		}
	for (uint32_t i = 0; i < r.nmatch; i++)
		if (r.match[i].lot != PLAN_NONE) {
			emit_split(l, chain, &r, i);
			return;
		}
	append(l, chain, &r);
}

/* ---- comments ------------------------------------------------------------------ */

/* Cuts s to at most n bytes, between characters. */
static void
cut(char *s, size_t n)
{
	if (strlen(s) <= n)
		return;
	while (n && ((unsigned char)s[n] & 0xc0) == 0x80)
		n--;
	s[n] = 0;
}

const char *
lower_comment(struct lower *l, const struct policy_meta *m, const char *fmt, ...)
{
	char words[512], *s;
	struct text_place at = {.name = ""};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(words, sizeof words, fmt, ap);
	va_end(ap);
	if (l->p->text && m->at.file != TEXT_NOWHERE)
		at = text_place(l->p->text, m->at);
	if (*at.name) {
		char place[300];
		/* From the policy's folder, as included files are: where that
		 * folder is on this machine is no part of the rules. */
		const char *slash = m->at.file == l->p->file ? strrchr(at.name, '/') : NULL;
		const char *name = slash ? slash + 1 : at.name;
		size_t n = strlen(name);

		if (n > 60) {              /* the end of a path says more */
			name += n - 60;
			while (((unsigned char)*name & 0xc0) == 0x80)
				name++;
		}
		snprintf(place, sizeof place, ", %s:%u", name, at.line);
		cut(words, PLAN_COMMENT - strlen(place));
		s = arena_printf(l->a, "%s%s", words, place);
	} else {
		s = arena_str(l->a, words);
	}
	if (m->source && strlen(s) + strlen(m->source) + 2 <= PLAN_COMMENT)
		s = arena_printf(l->a, "%s, %s", s, m->source);
	cut(s, PLAN_COMMENT);
	for (char *q = s; *q; q++)         /* nft knows no escapes */
		if (*q == '"')
			*q = '\'';
		else if ((unsigned char)*q < ' ' || *q == 0x7f)
			*q = ' ';
	return s;
}
