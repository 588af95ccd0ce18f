/* Checks of the forwarder's part that look at two things at once. */
#include <assert.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "policy/load.h"

/* ---- routes ------------------------------------------------------------------ */

/* A key that is equal for equal patterns; the domain is in lower case already. */
static const char *
pattern_key(struct load *l, const struct policy_pattern *p)
{
	switch (p->kind) {
	case POLICY_PATTERN_ANY:
		return "any";
	case POLICY_PATTERN_NULL:
		return "<>";
	case POLICY_PATTERN_DOMAIN:
		return arena_printf(l->a, "@%s", p->domain);
	case POLICY_PATTERN_BELOW:
		return arena_printf(l->a, "@*.%s", p->domain);
	case POLICY_PATTERN_LOCAL_ANY:
		return arena_printf(l->a, "*@%s", p->domain);
	case POLICY_PATTERN_ADDRESS:
		return arena_printf(l->a, "%s@%s", p->local, p->domain);
	}
	return "";
}

/* The same recipients by two relays, on one day. */
static void
check_routes(struct load *l, const struct policy_submission *s)
{
	struct hash_names *h = hash_names_new(l->a);
	struct seen {
		const struct policy_route *r;
		struct text_span at;
	} *v = NULL;
	size_t n = 0, cap = 0;

	for (size_t i = 0; i < s->nroute; i++)
		for (size_t k = 0; k < s->route[i].to.n; k++) {
			const struct policy_route *r = &s->route[i];
			const char *key = pattern_key(l, &r->to.v[k]);
			int fresh;
			uint32_t at = hash_names_add(h, key, strlen(key), &fresh);

			if (fresh) {
				ARENA_PUSH(l->a, v, n, cap) = (struct seen){r, r->to.v[k].at};
				continue;
			}
			assert(v && at < n);
			if (v[at].r == r || !meta_days_meet(&v[at].r->meta.days, &r->meta.days))
				continue;
			diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0458, r->to.v[k].at,
			    "two routes are for the recipients `%s`", key), v[at].at,
			    "the first one is here"), "remove it from one of them");
		}
}

/* ---- registrations ------------------------------------------------------------- */

struct owner {
	const struct policy_application *app;
	struct text_span at;
};

struct registry {
	struct load *l;
	struct hash_names *h;
	struct owner *v;
	size_t n, cap;
};

static void
register_(struct registry *g, const struct policy_application *x, const struct policy_pattern *p)
{
	const char *key = pattern_key(g->l, p);
	int fresh;
	uint32_t i;

	if (p->kind == POLICY_PATTERN_NULL)
		return;
	i = hash_names_add(g->h, key, strlen(key), &fresh);
	if (fresh) {
		ARENA_PUSH(g->l->a, g->v, g->n, g->cap) = (struct owner){x, p->at};
		return;
	}
	assert(g->v && i < g->n);
	if (g->v[i].app == x)
		return;
	diag_hint(g->l->d, diag_also(diag_add(g->l->d, DIAG_E0453, p->at,
	    "the sender `%s` is registered by `%s` already", key, g->v[i].app->meta.name),
	    g->v[i].at, "the other registration"),
	    "`unique-senders` allows one application for an address: remove one (COR-06)");
}

/* An address of one application among all those that another has registered. */
static void
among_all(struct registry *g, const struct policy_application *x, const struct policy_pattern *p)
{
	const char *all;
	uint32_t i;

	if (p->kind != POLICY_PATTERN_ADDRESS)
		return;
	all = arena_printf(g->l->a, "*@%s", p->domain);
	i = hash_names_find(g->h, all, strlen(all));
	if (i == UINT32_MAX)
		return;
	assert(g->v && i < g->n);
	if (g->v[i].app == x)
		return;
	diag_hint(g->l->d, diag_also(diag_add(g->l->d, DIAG_E0453, p->at,
	    "the sender `%s@%s` is registered by `%s` too, which has `%s`", p->local, p->domain,
	    g->v[i].app->meta.name, all), g->v[i].at, "the other registration"),
	    "`unique-senders` allows one application for an address: name its addresses there "
	    "one by one (COR-06)");
}

static void
check_unique(struct load *l, const struct policy_submission *s)
{
	struct registry g = {.l = l, .h = hash_names_new(l->a)};

	for (size_t i = 0; i < s->napplication; i++)
		for (size_t k = 0; k < s->application[i]->nsender; k++) {
			register_(&g, s->application[i], &s->application[i]->sender[k].envelope);
			register_(&g, s->application[i], &s->application[i]->sender[k].header);
		}
	for (size_t i = 0; i < s->napplication; i++)
		for (size_t k = 0; k < s->application[i]->nsender; k++) {
			const struct policy_sender_pair *y = &s->application[i]->sender[k];

			among_all(&g, s->application[i], &y->envelope);
			if (y->header.at.off != y->envelope.at.off)
				among_all(&g, s->application[i], &y->header);
		}
}

/* Two registrations for the same program: whose mail is it? */
static void
check_programs(struct load *l, const struct policy_submission *s)
{
	struct registry g = {.l = l, .h = hash_names_new(l->a)};

	for (size_t i = 0; i < s->napplication; i++) {
		const struct policy_application *x = s->application[i];
		const char *key = arena_printf(l->a, "%s %s", x->user ? x->user : "",
		    x->unit ? x->unit : "");
		int fresh;
		uint32_t at;

		if (!x->user && !x->unit)
			continue;
		at = hash_names_add(g.h, key, strlen(key), &fresh);
		if (fresh)
			ARENA_PUSH(l->a, g.v, g.n, g.cap) = (struct owner){x, x->meta.at};
		assert(g.v && at < g.n);
		if (!fresh && meta_days_meet(&g.v[at].app->meta.days, &x->meta.days))
			diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0461, x->meta.at,
			    "`%s` runs as `%s` does: the forwarder could not tell them apart",
			    x->meta.name, g.v[at].app->meta.name), g.v[at].at,
			    "the other registration"), "give each its own user or unit, or make "
			    "one registration of both");
	}
}

/* Mail of one class by a relay for the other, where both say so (COL-09). */
static void
check_class(struct load *l, const struct policy_application *x)
{
	if (!x->kind || !x->via || x->kind->class == POLICY_CLASS_ANY ||
	    x->via->class == POLICY_CLASS_ANY || x->kind->class == x->via->class)
		return;
	diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0427, x->via_at,
	    "the relay `%s` is for %s mail, and `%s` sends %s mail", x->via->meta.name,
	    policy_class_word(x->via->class), x->meta.name, policy_class_word(x->kind->class)),
	    x->via->meta.at, "the relay"), "send by a relay of its class");
}

void
check_submission(struct load *l)
{
	const struct policy_submission *s = &l->p->submission;

	check_routes(l, s);
	check_programs(l, s);
	if (s->unique_senders)
		check_unique(l, s);
	for (size_t i = 0; i < s->napplication; i++)
		check_class(l, s->application[i]);
	if (s->present && !s->napplication && s->unregistered_refuse && !s->nroute &&
	    !l->d->errors)
		diag_hint(l->d, diag_add(l->d, DIAG_E0457, s->at,
		    "the forwarder has nobody to serve: no routes, no applications, and whoever is "
		    "unregistered is refused"), "write `routes` and `applications`, or "
		    "`unregistered: {via: RELAY}`");
}
