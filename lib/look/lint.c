/* lint: what is legal in a policy and doubtful. Rules on points are here. */
#include "look/lint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

/* Of one code, so that a thousand exemptions without an end hide nothing else. */
enum { LINT_MOST = 20 };

/* ---- saying ------------------------------------------------------------------ */

struct diag *
lint_say(struct lint *l, enum diag_code code, struct text_span at, const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	if ((diag_row(code)->code[0] == 'N') != l->notes)
		return NULL;
	if (l->told[code]++ >= LINT_MOST)
		return NULL;
	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	va_end(ap);
	l->last[code] = diag_add(l->d, code, at, "%s", s);
	free(s);
	return l->last[code];
}

void
lint_hint(struct lint *l, struct diag *g, const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	if (!g)
		return;
	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	va_end(ap);
	diag_hint(l->d, g, "%s", s);
	free(s);
}

/* The day as the policy writes it, or the second. */
static const char *
day(const struct lint *l, struct text_span at, uint64_t sec)
{
	const struct text_set *t = l->p->text;

	if (t && at.file < t->n && at.len && at.len < 40 &&
	    at.off + (size_t)at.len <= t->file[at.file]->len)
		return arena_strn(l->m, t->file[at.file]->bytes + at.off, at.len);
	return arena_printf(l->m, "second %llu", (unsigned long long)sec);
}

/* ---- statements ---------------------------------------------------------------- */

static const char *
of_whom(struct lint *l, const struct policy_stmt *s)
{
	return policy_stmt_label(l->m, s);
}

static void
decides_nothing(struct lint *l, const struct policy_stmt *s, const struct flow_useful *u)
{
	const char *me = of_whom(l, s);
	bool same = u->use == FLOW_USE_SAME, exempt = s->kind == POLICY_EXEMPT;
	/* Relays, roaming ports and blocks that change nothing still say what is
	 * meant; an exemption from nothing is a mistake. */
	enum diag_code code = u->use == FLOW_USE_NEVER ? DIAG_W1002 :
	    exempt || (s->kind == POLICY_BLOCK && !same) ? DIAG_W1001 : DIAG_N1001;
	struct diag *g = NULL;

	switch (u->use) {
	case FLOW_USE_DECIDES:
		return;
	case FLOW_USE_NEVER:
		g = lint_say(l, code, s->meta.at, "%s matches no packet that it could judge", me);
		lint_hint(l, g, s->point->kind == POLICY_HOST ?
		    "its addresses, ports or days leave nothing: correct or remove it" :
		    "%s judges what goes from inside zone %s to outside its `internal`%s: correct "
		    "its addresses, or remove it", policy_dir_word(s->dir), s->zone->meta.name,
		    s->dir == POLICY_INBOUND ? ", seen from the other end" : "");
		return;
	case FLOW_USE_OVERRULED:
		g = lint_say(l, code, s->meta.at, "%s decides nothing: %s takes precedence over it "
		    "everywhere", me, u->by ? of_whom(l, u->by) : "what is above it");
		break;
	case FLOW_USE_TWIN:
		g = lint_say(l, code, s->meta.at, "%s decides nothing: %s says the same wherever it "
		    "matches", me, u->by ? of_whom(l, u->by) : "another statement");
		break;
	case FLOW_USE_SAME:
		g = lint_say(l, code, s->meta.at, u->without == FLOW_UNTOUCHED ?
		    "%s decides nothing: without it nothing would refuse these packets" :
		    "%s decides nothing: without it the verdict would be %s as well", me,
		    flow_verdict_name(u->without));
		break;
	}
	if (!g)
		return;
	if (u->by)
		diag_also(g, u->by->meta.at, same ? "the same verdict" : "the other statement");
	lint_hint(l, g, exempt ? "remove it, or see whether the block that it was made for is still "
	    "there" : "remove it, alone, and ask again; or leave it for the reader");
}

static void
dates(struct lint *l, const struct policy_stmt *s)
{
	const struct policy_days *v = &s->meta.days;
	bool ends = v->until != UINT64_MAX, exempt = s->kind == POLICY_EXEMPT;
	const char *until = ends ? day(l, v->until_at, v->until) : "";
	const char *me = of_whom(l, s);
	struct diag *g;

	if (ends && l->o->now && l->o->now >= v->until) {
		g = lint_say(l, DIAG_W1003, v->until_at, "%s ended with %s", me, until);
		lint_hint(l, g, exempt ? "remove it, or renew it with its owner%s%s" : "remove it%s%s",
		    exempt && s->meta.owner ? ": " : "", exempt && s->meta.owner ? s->meta.owner : "");
		return;
	}
	if (exempt && ends && l->o->now && v->until - l->o->now <= l->o->window) {
		g = lint_say(l, DIAG_W1004, v->until_at, "%s ends with %s", me, until);
		lint_hint(l, g, "ask its owner%s%s whether it is still needed",
		    s->meta.owner ? ", " : "", s->meta.owner ? s->meta.owner : "");
	}
	if (exempt && !ends) {
		g = lint_say(l, DIAG_N1002, s->meta.at, "%s has no end", me);
		lint_hint(l, g, "write `until: YYYY-MM-DD`: what nobody renews ends by itself (CAM-03)");
	}
	if (s->kind == POLICY_BLOCK && ends) {
		g = lint_say(l, DIAG_W1005, v->until_at, "%s ends with %s, and what it refuses is open "
		    "from then on", me, until);
		lint_hint(l, g, "a block without `until` stays until somebody decides otherwise");
	}
}

/* ---- families ------------------------------------------------------------------- */

static unsigned
families(const struct policy_where *w)
{
	return w->any ? ADDR_BOTH : addr_set_families(&w->set);
}

/* A block of port 25 that leaves one family open. */
static void
twins(struct lint *l, const struct policy_judge *j)
{
	unsigned inside = j->zone->point->kind == POLICY_HOST ? ADDR_BOTH :
	    families(&j->zone->inside), blocked = 0;
	const struct policy_stmt *block = NULL;
	const char *has, *lacks;
	struct diag *g;

	for (size_t i = 0; i < j->nstmt; i++) {
		const struct policy_stmt *s = j->stmt[i];
		unsigned mask = inside;

		if (!port_set_has(&s->ports.set, 25))
			continue;
		if (s->kind == POLICY_BLOCK)
			mask &= families(&s->from) & families(&s->to);
		else if (s->kind != POLICY_OTHERWISE || !s->deny)
			continue;
		blocked |= mask;
		block = block ? block : s;
	}
	if (!block || blocked == ADDR_BOTH || !blocked)
		return;
	has = blocked == ADDR_V4 ? "IPv4" : "IPv6";
	lacks = blocked == ADDR_V4 ? "IPv6" : "IPv4";
	if (inside == ADDR_BOTH) {
		g = lint_say(l, DIAG_W1006, block->meta.at, "port 25 is blocked for %s only: mail over "
		    "%s is not", has, lacks);
		lint_hint(l, g, "name addresses of both families, or write a second block for %s (X-06)",
		    lacks);
	} else {
		g = lint_say(l, DIAG_N1003, j->zone->inside.at, "zone %s has %s addresses only: its block "
		    "of port 25 has no %s twin", j->zone->meta.name, has, lacks);
		lint_hint(l, g, "where its machines get %s addresses too, add them to `inside` (X-06)",
		    lacks);
	}
}

/* ---- points ------------------------------------------------------------------------ */

static void
judge(struct lint *l, const struct policy_judge *j, struct flow_useful *u)
{
	for (size_t i = 0; i < j->nstmt; i++) {
		/* What nothing else speaks of has no other place to be said. */
		if (u && j->stmt[i]->kind != POLICY_OTHERWISE)
			decides_nothing(l, j->stmt[i], &u[i]);
		dates(l, j->stmt[i]);
	}
	twins(l, j);
}

static void
point(struct lint *l, const struct policy_point *pt, struct flow_useful **u)
{
	struct diag *g;

	for (size_t i = 0; i < pt->nzone; i++)
		for (int k = 0; k < POLICY_NDIR; k++)
			if (pt->zone[i]->judge[k].present)
				judge(l, &pt->zone[i]->judge[k], u[2 * i + (size_t)k]);
	if (pt->observe) {
		g = lint_say(l, DIAG_N1004, pt->meta.at, "point %s only observes: it refuses nothing",
		    pt->meta.name);
		lint_hint(l, g, "remove `mode: observe` once its counters show what was expected");
	}
	if (pt->kind == POLICY_ROUTER) {
		g = lint_say(l, DIAG_N1005, pt->meta.at, "what the router of point %s sends itself is not "
		    "covered", pt->meta.name);
		lint_hint(l, g, "a router point judges what is forwarded; for the machine's own mail add "
		    "a point of `kind: host` with `containers: untouched`");
	}
}

void
look_lint(struct arena *m, struct flow *f, const struct policy *p,
    const struct look_lint_options *o, struct diags *d)
{
	struct lint l = {.m = m, .f = f, .p = p, .o = o, .d = d};
	struct flow_useful ***u = arena_array(m, p->npoint, struct flow_useful **);

	for (size_t i = 0; i < p->npoint; i++) {
		const struct policy_point *pt = p->point[i];

		u[i] = arena_array(m, 2 * pt->nzone, struct flow_useful *);
		for (size_t k = 0; k < 2 * pt->nzone; k++) {
			const struct policy_judge *j = &pt->zone[k / 2]->judge[k % 2];

			if (!j->present || !j->nstmt)
				continue;
			u[i][k] = arena_array(m, j->nstmt, struct flow_useful);
			if (!flow_judge_useful(f, j, d, u[i][k]))
				u[i][k] = NULL;
		}
	}
	/* Warnings first: the list of diagnostics has an end. */
	for (int notes = 0; notes < 2; notes++) {
		l.notes = notes;
		for (size_t i = 0; i < p->npoint; i++)
			point(&l, p->point[i], u[i]);
		lint_relays(&l);
		lint_applications(&l);
	}
	for (int c = 0; c < DIAG_NCODE; c++)
		if (l.told[c] > LINT_MOST)
			l.last[c]->message = arena_printf(d->a, "%s (and %u more like this)",
			    l.last[c]->message, l.told[c] - LINT_MOST);
}
