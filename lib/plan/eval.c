/*
 * eval: the chains, executed for one packet.
 *
 * An interpreter of the plan as the kernel will run it, made to judge the
 * lowering: it knows nothing of the policy.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

enum { TCP = 6 };

struct run {
	const struct plan *p;
	const struct packet *pk;
	struct plan_answer *out;
	uint32_t stmt;             /* of the last rule that sent the packet on */
	uint32_t observed;         /* of the first rule that would have refused */
	unsigned depth;
};

/* The element of the set that holds x; n when none does. */
static size_t
find(const struct plan_set *s, u128 x)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		u128 first = 0, last = 0;

		switch (s->key) {
		case PLAN_KEY_IPV4:
			first = s->v4[mid].lo;
			last = s->v4[mid].hi;
			break;
		case PLAN_KEY_IPV6:
			first = s->v6[mid].lo;
			last = s->v6[mid].hi;
			break;
		case PLAN_KEY_PORT:
			first = s->port[mid].lo;
			last = s->port[mid].hi;
			break;
		case PLAN_KEY_UID:
		case PLAN_NKEY:
			return s->n;
		}
		if (x < first)
			hi = mid;
		else if (x > last)
			lo = mid + 1;
		else
			return mid;
	}
	return s->n;
}

static bool
is_user(const struct plan *p, const struct plan_match *m, const char *user)
{
	const struct plan_set *s;

	if (m->set == PLAN_NONE)
		return !strcmp(m->text, user);
	s = &p->set[m->set];
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->user[i], user))
			return true;
	return false;
}

/* Whether the first `level` names of the path are those of text. */
static bool
is_below(const char *unit, const char *text)
{
	size_t n = strlen(text);

	return !strncmp(unit, text, n) && (!unit[n] || unit[n] == '/');
}

static uint32_t
state_bit(enum packet_state s)
{
	switch (s) {
	case PACKET_NEW:
		return PLAN_CT_NEW;
	case PACKET_ESTABLISHED:
		return PLAN_CT_ESTABLISHED;
	case PACKET_RELATED:
		return PLAN_CT_RELATED;
	case PACKET_INVALID:
		return PLAN_CT_INVALID;
	case PACKET_UNTRACKED:
		return PLAN_CT_UNTRACKED;
	}
	return 0;
}

/* The value of a numeric field; false where the packet has none: then no rule that
 * looks at it matches, whatever it wants. */
static bool
value(const struct packet *pk, enum plan_field f, u128 *v)
{
	bool four = pk->src.family == ADDR_V4;

	switch (f) {
	case PLAN_NFPROTO:
		*v = four ? 2 : 10;
		return true;
	case PLAN_L4PROTO:
		*v = pk->proto;
		return true;
	case PLAN_SADDR4:
		*v = pk->src.n;
		return four;
	case PLAN_DADDR4:
		*v = pk->dst.n;
		return four;
	case PLAN_SADDR6:
		*v = pk->src.n;
		return !four;
	case PLAN_DADDR6:
		*v = pk->dst.n;
		return !four;
	case PLAN_DPORT:
		*v = pk->dport;
		return pk->proto == TCP;
	case PLAN_CT_DPORT:
		*v = pk->dport;
		return pk->state != PACKET_INVALID && pk->state != PACKET_UNTRACKED;
	case PLAN_TCP_FLAGS:
		*v = pk->syn ? PLAN_SYN : PLAN_ACK;
		return pk->proto == TCP;
	case PLAN_TIME:
		*v = pk->date;
		return true;
	case PLAN_IIFNAME:
	case PLAN_OIFNAME:
	case PLAN_CT_STATE:
	case PLAN_SKUID:
	case PLAN_CGROUP:
	case PLAN_NFIELD:
		break;
	}
	return false;
}

static bool
matches(const struct run *r, const struct plan_match *m)
{
	const struct packet *pk = r->pk;
	bool in = false;
	u128 v;

	switch (m->field) {
	case PLAN_IIFNAME:
	case PLAN_OIFNAME:
		/* of interfaces a packet knows only whether it is loopback */
		in = pk->loopback && !strcmp(m->text, "lo") && pk->hook !=
		    (m->field == PLAN_IIFNAME ? PACKET_OUTPUT : PACKET_INPUT);
		break;
	case PLAN_CT_STATE:
		in = m->mask & state_bit(pk->state);
		break;
	case PLAN_SKUID:
		if (pk->hook != PACKET_OUTPUT || !pk->user)
			return pk->hook == PACKET_OUTPUT && m->op == PLAN_NOT;
		in = is_user(r->p, m, pk->user);
		break;
	case PLAN_CGROUP:
		if (pk->hook != PACKET_OUTPUT || !pk->unit)
			return pk->hook == PACKET_OUTPUT && m->op == PLAN_NOT;
		in = is_below(pk->unit, m->text);
		break;
	case PLAN_NFPROTO:
	case PLAN_L4PROTO:
	case PLAN_SADDR4:
	case PLAN_DADDR4:
	case PLAN_SADDR6:
	case PLAN_DADDR6:
	case PLAN_DPORT:
	case PLAN_TCP_FLAGS:
	case PLAN_CT_DPORT:
	case PLAN_TIME:
	case PLAN_NFIELD:
		if (!value(pk, m->field, &v))
			return false;
		if (m->op == PLAN_LESS)
			return v < m->lo;
		if (m->op == PLAN_LEAST)
			return v >= m->lo;
		if (m->set != PLAN_NONE)
			in = find(&r->p->set[m->set], v) < r->p->set[m->set].n;
		else if (m->field == PLAN_TCP_FLAGS)
			in = (v & m->mask) == m->lo;
		else
			in = v >= m->lo && v <= m->hi;
		break;
	}
	return in == (m->op == PLAN_IS);
}

static enum plan_fate
fate_of(enum plan_verdict_kind v)
{
	switch (v) {
	case PLAN_DO_ACCEPT:
		return PLAN_ACCEPT;
	case PLAN_DO_DROP:
		return PLAN_DROP;
	case PLAN_DO_REJECT:
		return PLAN_REJECT;
	case PLAN_DO_REDIRECT:
		return PLAN_REDIRECT;
	case PLAN_GO_ON:
	case PLAN_DO_RETURN:
	case PLAN_DO_JUMP:
	case PLAN_DO_GOTO:
	case PLAN_NVERDICT:
		break;
	}
	return PLAN_UNTOUCHED;
}

static enum plan_fate walk(struct run *r, uint32_t chain);

/* Executes a verdict; true when the chain is left, with *fate its answer. */
static bool
obey(struct run *r, struct plan_verdict v, uint32_t stmt, enum plan_fate *fate)
{
	*fate = PLAN_UNTOUCHED;
	switch (v.kind) {
	case PLAN_GO_ON:
	case PLAN_NVERDICT:
		return false;
	case PLAN_DO_RETURN:
		return true;
	case PLAN_DO_JUMP:
	case PLAN_DO_GOTO:
		if (stmt != PLAN_NONE)
			r->stmt = stmt;
		if (r->depth < PLAN_DEPTH)
			*fate = walk(r, v.chain);
		return v.kind == PLAN_DO_GOTO || *fate != PLAN_UNTOUCHED;
	case PLAN_DO_ACCEPT:
	case PLAN_DO_DROP:
	case PLAN_DO_REJECT:
	case PLAN_DO_REDIRECT:
		r->out->stmt = stmt != PLAN_NONE ? stmt : r->stmt;
		*fate = fate_of(v.kind);
		return true;
	}
	return false;
}

static enum plan_fate
walk(struct run *r, uint32_t chain)
{
	const struct plan_chain *c = &r->p->chain[chain];
	enum plan_fate fate = PLAN_UNTOUCHED;

	r->depth++;
	for (uint32_t i = 0; i < c->nrule; i++) {
		const struct plan_rule *rule = &c->rule[i];
		bool yes = true;

		for (uint32_t k = 0; yes && k < rule->nmatch; k++)
			yes = matches(r, &rule->match[k]);
		if (!yes)
			continue;
		r->out->limited |= rule->limit.rate > 0;
		if (rule->vmap != PLAN_NONE) {
			const struct plan_set *s = &r->p->set[rule->vmap];
			size_t at = s->n;
			u128 v;

			if (value(r->pk, rule->vmap_field, &v))
				at = find(s, v);
			if (at < s->n && obey(r, s->verdict[at], rule->stmt, &fate))
				break;
			continue;
		}
		if (rule->observed != PLAN_GO_ON && !r->out->observed) {
			r->out->observed = true;
			r->out->would = fate_of(rule->observed);
			r->observed = rule->stmt;
		}
		if (obey(r, rule->verdict, rule->stmt, &fate))
			break;
	}
	r->depth--;
	return fate;
}

/* The entry of the hook that comes next after `last`, by priority, then number. */
static uint32_t
next_entry(const struct plan *p, enum packet_hook hook, uint32_t last)
{
	uint32_t best = PLAN_NONE;

	for (uint32_t i = 0; i < p->nchain; i++) {
		const struct plan_chain *c = &p->chain[i];

		if (!c->entry || c->hook != hook)
			continue;
		if (last != PLAN_NONE && (c->priority < p->chain[last].priority ||
		    (c->priority == p->chain[last].priority && i <= last)))
			continue;
		if (best == PLAN_NONE || c->priority < p->chain[best].priority)
			best = i;
	}
	return best;
}

void
plan_eval(const struct plan *p, const struct packet *pk, struct plan_answer *out)
{
	struct run r = {.p = p, .pk = pk, .out = out, .stmt = PLAN_NONE};
	uint32_t i = PLAN_NONE;

	*out = (struct plan_answer){.stmt = PLAN_NONE};
	while ((i = next_entry(p, pk->hook, i)) != PLAN_NONE) {
		enum plan_fate fate;
		uint32_t stmt = out->stmt;

		/* only a connection's first packet comes to a nat chain, and
		 * what has no connection never does */
		if (p->chain[i].type == PLAN_NAT && pk->state != PACKET_NEW &&
		    pk->state != PACKET_RELATED)
			continue;
		r.stmt = PLAN_NONE;
		fate = walk(&r, i);
		if (p->chain[i].type == PLAN_NAT && fate == PLAN_ACCEPT) {
			out->stmt = stmt;  /* no NAT; the filter decides */
			continue;
		}
		if (fate == PLAN_UNTOUCHED)
			continue;
		out->fate = fate;
		if (fate != PLAN_ACCEPT)
			break;
	}
	if (out->observed)
		out->stmt = r.observed;
}
