#include "mail/inside.h"

#include <string.h>

#include "base/arena.h"

bool
admit_active(const struct policy_days *d, uint64_t now)
{
	return d->since <= now && (!d->until || now < d->until);
}

/* ---- applications ---- */

/* A cgroup path without the slash at its start; *slice is what is to be
 * thought before a unit that is named alone. */
static const char *
unit_path(const char *s, const char **slice)
{
	while (*s == '/')
		s++;
	*slice = strchr(s, '/') ? "" : "system.slice/";
	return s;
}

/* Whether the program's cgroup is that of the registration or below it. */
static bool
unit_in(const char *registered, const char *program)
{
	const char *rs, *ps, *r = unit_path(registered, &rs), *p = unit_path(program, &ps);
	size_t n;

	if (*rs && !*ps) {
		n = strlen(rs);
		if (strncmp(p, rs, n))
			return false;
		p += n;
	} else if (!*rs && *ps) {
		n = strlen(ps);
		if (strncmp(r, ps, n))
			return false;
		r += n;
	}
	n = strlen(r);
	return n && !strncmp(r, p, n) && (!p[n] || p[n] == '/');
}

/* How much the registration says of the program; 0: it is not meant. */
static size_t
application_rank(const struct policy_application *x, const char *user, const char *unit)
{
	const char *slice;
	size_t rank = 0;

	if (x->user) {
		if (!user || strcmp(x->user, user))
			return 0;
		rank += 1;
	}
	if (x->unit) {
		if (!unit || !unit_in(x->unit, unit))
			return 0;
		unit_path(x->unit, &slice);
		rank += 2 * (strlen(x->unit) + strlen(slice));
	}
	return rank;
}

/* `now` NULL: on any day. */
static const struct policy_application *
application_best(const struct policy *p, const char *user, const char *unit, const uint64_t *now)
{
	const struct policy_application *best = NULL;
	size_t most = 0, rank;

	for (size_t i = 0; i < p->submission.napplication; i++) {
		const struct policy_application *x = p->submission.application[i];

		if (now && !admit_active(&x->meta.days, *now))
			continue;
		if ((rank = application_rank(x, user, unit)) > most) {
			most = rank;
			best = x;
		}
	}
	return best;
}

const struct policy_application *
mail_application(const struct policy *p, const char *user, const char *unit)
{
	return application_best(p, user, unit, NULL);
}

const struct policy_application *
route_application(const struct policy *p, const char *user, const char *unit, uint64_t now)
{
	const struct policy_application *x = application_best(p, user, unit, &now);

	return x ? x : application_best(p, user, unit, NULL);
}

/* ---- routes ---- */

const char *
mail_pattern_text(struct arena *m, const struct policy_pattern *p)
{
	switch (p->kind) {
	case POLICY_PATTERN_ANY:
		return "any";
	case POLICY_PATTERN_DOMAIN:
		return arena_printf(m, "@%s", p->domain);
	case POLICY_PATTERN_BELOW:
		return arena_printf(m, "@*.%s", p->domain);
	case POLICY_PATTERN_LOCAL_ANY:
		return arena_printf(m, "*@%s", p->domain);
	case POLICY_PATTERN_ADDRESS:
		return arena_printf(m, "%s@%s", p->local, p->domain);
	case POLICY_PATTERN_NULL:
		return "<>";
	}
	return "";
}

/* The more specific, the higher; patterns that both match an address are
 * never equal unless they match the same addresses. */
static size_t
pattern_rank(const struct policy_pattern *p)
{
	switch (p->kind) {
	case POLICY_PATTERN_ADDRESS:
		return SIZE_MAX;
	case POLICY_PATTERN_DOMAIN:
	case POLICY_PATTERN_LOCAL_ANY:
		return SIZE_MAX - 1;
	case POLICY_PATTERN_BELOW:
		return 1 + strlen(p->domain);
	case POLICY_PATTERN_ANY:
		return 1;
	case POLICY_PATTERN_NULL:
		return 0;
	}
	return 0;
}

void
mail_route(struct arena *m, const struct policy *p, const struct policy_application *app,
    const char *recipient, uint64_t now, struct mail_route *out)
{
	const struct policy_submission *s = &p->submission;
	const struct policy_pattern *pattern = NULL;
	size_t most = 0;

	*out = (struct mail_route){.at = TEXT_NO_SPAN};
	if (app && app->via) {
		*out = (struct mail_route){app->via,
		    arena_printf(m, "application %s: via", app->meta.name), app->via_at};
		return;
	}
	if (!app && s->unregistered_via) {
		*out = (struct mail_route){s->unregistered_via, "submission: unregistered", s->at};
		return;
	}
	for (size_t i = 0; i < s->nroute; i++) {
		const struct policy_route *r = &s->route[i];

		if (!admit_active(&r->meta.days, now))
			continue;
		for (size_t k = 0; k < r->to.n; k++) {
			if (pattern_rank(&r->to.v[k]) <= most ||
			    !mail_pattern_match(&r->to.v[k], recipient))
				continue;
			pattern = &r->to.v[k];
			most = pattern_rank(pattern);
			*out = (struct mail_route){.relay = r->via, .at = r->meta.at};
		}
	}
	if (pattern)
		out->rule = arena_printf(m, "route to %s", mail_pattern_text(m, pattern));
}

bool
mail_mx_required(const struct policy *p, const char *address)
{
	struct mail_address a;

	if (!mail_address_read(address, strlen(address), true, &a, NULL) || a.literal)
		return false;
	for (size_t i = 0; i < p->submission.nmx_required; i++)
		if (mail_domain_in(&a, p->submission.mx_required[i]))
			return true;
	return false;
}

bool
mail_size_fits(const struct policy_size *limit, uint64_t bytes)
{
	if (!limit->set)
		return true;
	return limit->strict ? bytes < limit->bytes : bytes <= limit->bytes;
}
