/*
 * records: what two policies say of messages, and their metadata.
 *
 * In a fixed order: the policy itself, relays, the submission, its routes,
 * applications, kinds, points, networks; things of one sort by name. What packets may
 * do is not compared here: the diagrams do that, exactly.
 */
#include "look/records.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "mail/mail.h"

/* ---- things of one sort, by name ---- */

struct thing {
	const char *name;
	const void *p;
};

struct things {
	struct thing *v;
	size_t n, cap;
};

static void
thing_add(struct records *r, struct things *t, const char *name, const void *p)
{
	if (name)
		ARENA_PUSH(r->m, t->v, t->n, t->cap) = (struct thing){name, p};
}

static int
by_name(const void *a, const void *b)
{
	const struct thing *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* Calls one(r, x, y, name) for each name, x or y NULL where it is not there. */
static void
each_pair(struct records *r, struct things *x, struct things *y,
    void (*one)(struct records *, const void *, const void *, const char *))
{
	size_t i = 0, k = 0;

	if (x->n)
		qsort(x->v, x->n, sizeof *x->v, by_name);
	if (y->n)
		qsort(y->v, y->n, sizeof *y->v, by_name);
	while (i < x->n || k < y->n) {
		int d = i == x->n ? 1 : k == y->n ? -1 : strcmp(x->v[i].name, y->v[k].name);
		const char *name = d <= 0 ? x->v[i].name : y->v[k].name;
		const void *a = d <= 0 ? x->v[i++].p : NULL;
		const void *b = d >= 0 ? y->v[k++].p : NULL;

		one(r, a, b, name);
	}
}

/* Begins a subject; a thing that is on one side alone is said first, with a
 * word on what it is. */
static struct look_change *
begin(struct records *r, const char *subject, const char *sort, struct records_fact was,
    struct records_fact now)
{
	r->subject = subject;
	r->whole = was.value && now.value;
	return r->whole ? NULL : records_put(r, LOOK_MESSAGES, sort, was, now);
}

static struct records_fact
fact(const char *value, struct text_span at)
{
	return (struct records_fact){.value = value, .at = at};
}

/* ---- relays, applications, kinds ---- */

static struct records_fact
relay_is(const struct policy_relay *x)
{
	if (!x)
		return fact(NULL, TEXT_NO_SPAN);
	return fact(x->meta.title ? x->meta.title : x->host ? x->host : "for the firewall alone",
	    x->meta.at);
}

static void
one_relay(struct records *r, const void *x, const void *y, const char *name)
{
	begin(r, arena_printf(r->m, "relay %s", name), "relay", relay_is(x), relay_is(y));
	records_relay(r, x, y);
}

static struct records_fact
application_is(const struct policy_application *x)
{
	if (!x)
		return fact(NULL, TEXT_NO_SPAN);
	return fact(x->meta.title ? x->meta.title : policy_registration_word(x->state), x->meta.at);
}

static void
one_application(struct records *r, const void *x, const void *y, const char *name)
{
	const struct policy_application *a = x, *b = y;
	struct look_change *c = begin(r, arena_printf(r->m, "application %s", name),
	    "application", application_is(x), application_is(y));

	if (c) {
		c->widens = b && b->state == POLICY_REGISTERED;
		c->narrows = a && a->state == POLICY_REGISTERED;
	}
	records_application(r, x, y);
}

static struct records_fact
kind_is(const struct policy_rate *x)
{
	if (!x)
		return fact(NULL, TEXT_NO_SPAN);
	return fact(x->meta.title ? x->meta.title : "rate class", x->meta.at);
}

static void
one_kind(struct records *r, const void *x, const void *y, const char *name)
{
	begin(r, arena_printf(r->m, "kind %s", name), "kind", kind_is(x), kind_is(y));
	records_kind(r, x, y);
}

static void
relays(struct records *r)
{
	struct things x = {0}, y = {0};

	for (size_t i = 0; i < r->was->nrelay; i++)
		thing_add(r, &x, r->was->relay[i]->meta.name, r->was->relay[i]);
	for (size_t i = 0; i < r->now->nrelay; i++)
		thing_add(r, &y, r->now->relay[i]->meta.name, r->now->relay[i]);
	each_pair(r, &x, &y, one_relay);
}

static void
applications(struct records *r)
{
	const struct policy_submission *a = &r->was->submission, *b = &r->now->submission;
	struct things x = {0}, y = {0};

	for (size_t i = 0; i < a->napplication; i++)
		thing_add(r, &x, a->application[i]->meta.name, a->application[i]);
	for (size_t i = 0; i < b->napplication; i++)
		thing_add(r, &y, b->application[i]->meta.name, b->application[i]);
	each_pair(r, &x, &y, one_application);
}

static void
kinds(struct records *r)
{
	struct things x = {0}, y = {0};

	for (size_t i = 0; i < r->was->nrate; i++)
		thing_add(r, &x, r->was->rate[i]->meta.name, r->was->rate[i]);
	for (size_t i = 0; i < r->now->nrate; i++)
		thing_add(r, &y, r->now->rate[i]->meta.name, r->now->rate[i]);
	each_pair(r, &x, &y, one_kind);
}

/* ---- submission and routes ---- */

static struct records_fact
submission_is(const struct policy_submission *x)
{
	return fact(x->present ? "on this host" : NULL, x->at);
}

static void
submission(struct records *r)
{
	const struct policy_submission *x = &r->was->submission, *y = &r->now->submission;

	if (!x->present && !y->present)
		return;
	begin(r, "submission", "submission", submission_is(x), submission_is(y));
	records_submission(r, x->present ? x : NULL, y->present ? y : NULL);
}

/* The narrower, the higher: an address, a domain, the longer of two domains
 * that both lie above. */
static size_t
narrowness(const struct policy_pattern *p)
{
	switch (p->kind) {
	case POLICY_PATTERN_ADDRESS:
		return SIZE_MAX;
	case POLICY_PATTERN_DOMAIN:
	case POLICY_PATTERN_LOCAL_ANY:
		return SIZE_MAX - 1;
	case POLICY_PATTERN_BELOW:
		return 2 + strlen(p->domain);
	case POLICY_PATTERN_ANY:
		return 1;
	case POLICY_PATTERN_NULL:
		return 0;
	}
	return 0;
}

static const char *
route_words(struct arena *m, const struct policy *p, const struct policy_route *x)
{
	const struct policy_days *d = &x->meta.days;
	const char *s = arena_printf(m, "via %s", x->via->meta.name);

	if (d->since)
		s = arena_printf(m, "%s since %s", s, records_day(m, p, d->since_at, d->since));
	if (d->until && d->until != UINT64_MAX)
		s = arena_printf(m, "%s until %s", s, records_day(m, p, d->until_at, d->until));
	return s;
}

static bool
is_dated(const struct policy_days *d)
{
	return d->since || (d->until && d->until != UINT64_MAX);
}

/*
 * Where mail goes for which the pattern is the narrowest that either policy
 * writes. Patterns nest or are apart, so such mail goes by the narrowest of this
 * side's patterns that hold it; when that is dated, by a broader one on other days.
 */
static struct records_fact
route_fact(struct arena *m, const struct policy *p, const struct policy_pattern *to)
{
	const struct policy_submission *s = &p->submission;
	struct records_fact f = fact(NULL, TEXT_NO_SPAN);
	size_t below = 0;

	for (bool more = true; more;) {
		size_t best = 0;
		bool dated = true;

		for (size_t i = 0; i < s->nroute; i++)
			for (size_t k = 0; k < s->route[i].to.n; k++) {
				const struct policy_pattern *x = &s->route[i].to.v[k];
				size_t n = narrowness(x);

				if (n > best && (!below || n < below) && records_pattern_covers(x, to))
					best = n;
			}
		for (size_t i = 0; best && dated && i < s->nroute; i++)
			for (size_t k = 0; dated && k < s->route[i].to.n; k++) {
				const struct policy_pattern *x = &s->route[i].to.v[k];

				if (narrowness(x) != best || !records_pattern_covers(x, to))
					continue;
				if (!f.value)
					f.at = s->route[i].meta.at;
				f.value = f.value ? arena_printf(m, "%s, else %s", f.value,
				    route_words(m, p, &s->route[i])) : route_words(m, p, &s->route[i]);
				dated = is_dated(&s->route[i].meta.days);
			}
		below = best;
		more = best && dated;
	}
	return f;
}

/* A pattern of either side, and the route that writes it. */
struct way {
	const char *text;
	const struct policy_pattern *to;
	const struct policy_route *was, *now; /* the first that writes it; NULL */
};

struct ways {
	struct way *v;
	size_t n, cap;
};

static int
by_way(const void *a, const void *b)
{
	const struct way *x = a, *y = b;

	return strcmp(x->text, y->text);
}

static void
ways_of(struct records *r, const struct policy_submission *s, bool now, struct ways *out)
{
	for (size_t i = 0; i < s->nroute; i++)
		for (size_t k = 0; k < s->route[i].to.n; k++) {
			const struct policy_pattern *to = &s->route[i].to.v[k];

			ARENA_PUSH(r->m, out->v, out->n, out->cap) = (struct way){
				.text = mail_pattern_text(r->m, to),
				.to = to,
				.was = now ? NULL : &s->route[i],
				.now = now ? &s->route[i] : NULL,
			};
		}
}

static void
routes(struct records *r)
{
	struct ways w = {0};

	r->subject = "routes";
	r->whole = true;
	ways_of(r, &r->was->submission, false, &w);
	ways_of(r, &r->now->submission, true, &w);
	if (w.n)
		qsort(w.v, w.n, sizeof *w.v, by_way);
	for (size_t i = 0, k; i < w.n; i = k) {
		struct way *x = &w.v[i];
		const char *what = arena_printf(r->m, "to %s", x->text);
		struct records_fact was = route_fact(r->m, r->was, x->to);
		struct records_fact now = route_fact(r->m, r->now, x->to);
		struct look_change *c;

		for (k = i + 1; k < w.n && !strcmp(w.v[k].text, x->text); k++) {
			if (w.v[k].was && (!x->was || w.v[k].was < x->was))
				x->was = w.v[k].was;
			if (w.v[k].now && (!x->now || w.v[k].now < x->now))
				x->now = w.v[k].now;
		}
		if (!was.value || !now.value || strcmp(was.value, now.value)) {
			if ((c = records_put(r, LOOK_MESSAGES, what, was, now))) {
				c->widens = !was.value;
				c->narrows = !now.value;
			}
		}
		records_meta(r, what, x->was ? &x->was->meta : NULL, x->now ? &x->now->meta : NULL);
	}
}

/* ---- points: what is told of their statements ---- */

static struct records_fact
stmt_log(struct arena *m, const struct policy *p, const void *thing)
{
	const struct policy_stmt *s = thing;

	(void)m;
	(void)p;
	return fact(s->log ? "true" : NULL, s->meta.at);
}

static const struct records_row stmt_row[] = {
	{"log", LOOK_METADATA, stmt_log},
};

static bool
same_words(const char **x, size_t nx, const char **y, size_t ny)
{
	if (nx != ny)
		return false;
	for (size_t i = 0; i < nx; i++)
		if (strcmp(x[i], y[i]))
			return false;
	return true;
}

static bool
same_text(const char *x, const char *y)
{
	return x && y && !strcmp(x, y);
}

/* Whether two statements match the same packets on the same days. */
static bool
same_meaning(const struct policy_stmt *x, const struct policy_stmt *y)
{
	if (x->kind != y->kind || (x->relay != NULL) != (y->relay != NULL) ||
	    (x->relay && !same_text(x->relay->meta.name, y->relay->meta.name)))
		return false;
	return addr_set_equal(&x->from.set, &y->from.set) && addr_set_equal(&x->to.set, &y->to.set) &&
	    port_set_equal(&x->ports.set, &y->ports.set) &&
	    same_words(x->user, x->nuser, y->user, y->nuser) &&
	    same_words(x->unit, x->nunit, y->unit, y->nunit) &&
	    x->deny == y->deny && x->with == y->with &&
	    x->meta.days.since == y->meta.days.since && x->meta.days.until == y->meta.days.until;
}

static bool
same_label(const struct policy_stmt *x, const struct policy_stmt *y)
{
	return x->kind == y->kind && (same_text(x->ports.label, y->ports.label) ||
	    same_text(x->from.label, y->from.label) ||
	    (x->relay && y->relay && same_text(x->relay->meta.name, y->relay->meta.name)) ||
	    x->kind == POLICY_OTHERWISE);
}

/* The closest first, so that an unnamed statement that moved in the file,
 * and got another number by that, is still found. */
static bool
is_pair(const struct policy_stmt *x, const struct policy_stmt *y, int closeness)
{
	bool name = x->kind == y->kind && same_text(x->meta.name, y->meta.name);

	switch (closeness) {
	case 0:
		return name && same_meaning(x, y);
	case 1:
		return same_meaning(x, y);
	case 2:
		return name;
	}
	return same_label(x, y);
}

enum { CLOSENESS = 4 };

/* A statement that is on one side alone shows in its traffic. */
static void
judges(struct records *r, const char *where, const struct policy_judge *x,
    const struct policy_judge *y)
{
	const struct policy_stmt **pair = arena_array(r->m, x->nstmt, const struct policy_stmt *);
	bool *used = arena_array(r->m, y->nstmt, bool);

	for (int closeness = 0; closeness < CLOSENESS; closeness++)
		for (size_t i = 0; i < x->nstmt; i++)
			for (size_t k = 0; k < y->nstmt && !pair[i]; k++)
				if (!used[k] && is_pair(x->stmt[i], y->stmt[k], closeness)) {
					pair[i] = y->stmt[k];
					used[k] = true;
				}
	for (size_t i = 0; i < x->nstmt; i++) {
		const struct policy_stmt *s = x->stmt[i];

		if (!pair[i])
			continue;
		r->subject = arena_printf(r->m, "%s, %s", where, policy_stmt_label(r->m, pair[i]));
		records_rows(r, NULL, stmt_row, sizeof stmt_row / sizeof *stmt_row, s, pair[i]);
		records_meta(r, NULL, &s->meta, &pair[i]->meta);
	}
	r->subject = where;
	for (size_t i = 0; i < x->nlimit && i < y->nlimit; i++)
		records_meta(r, "limit", &x->limit[i].meta, &y->limit[i].meta);
}

static void
one_zone(struct records *r, const void *was, const void *now, const char *name)
{
	const struct policy_zone *x = was, *y = now;
	const char *point = r->subject, *where = point;

	if (!x || !y)
		return;
	if (y->point->kind == POLICY_ROUTER) {
		where = r->subject = arena_printf(r->m, "%s, zone %s", point, name);
		records_meta(r, NULL, &x->meta, &y->meta);
	}
	for (enum policy_dir d = 0; d < POLICY_NDIR; d++)
		if (x->judge[d].present && y->judge[d].present)
			judges(r, arena_printf(r->m, "%s, %s", where, policy_dir_word(d)),
			    &x->judge[d], &y->judge[d]);
	r->subject = point;
}

static struct records_fact
point_as(struct arena *m, const struct policy *p, const void *thing)
{
	const struct policy_point *x = thing;

	(void)m;
	(void)p;
	return fact(x->as == POLICY_AS_CHAINS ? "chains" : "base", x->meta.at);
}

static const struct records_row point_row[] = {
	{"as", LOOK_METADATA, point_as},
};

static void
one_point(struct records *r, const void *was, const void *now, const char *name)
{
	const struct policy_point *x = was, *y = now;
	struct things a = {0}, b = {0};

	/* A point that comes or goes is told with its traffic. */
	if (!x || !y)
		return;
	r->subject = arena_printf(r->m, "point %s", name);
	r->whole = true;
	records_rows(r, NULL, point_row, sizeof point_row / sizeof *point_row, x, y);
	records_meta(r, NULL, &x->meta, &y->meta);
	for (size_t i = 0; i < x->nzone; i++)
		thing_add(r, &a, x->zone[i]->meta.name, x->zone[i]);
	for (size_t i = 0; i < y->nzone; i++)
		thing_add(r, &b, y->zone[i]->meta.name, y->zone[i]);
	each_pair(r, &a, &b, one_zone);
}

static void
points(struct records *r)
{
	struct things x = {0}, y = {0};

	for (size_t i = 0; i < r->was->npoint; i++)
		thing_add(r, &x, r->was->point[i]->meta.name, r->was->point[i]);
	for (size_t i = 0; i < r->now->npoint; i++)
		thing_add(r, &y, r->now->point[i]->meta.name, r->now->point[i]);
	each_pair(r, &x, &y, one_point);
}

/* ---- networks, the policy itself ---- */

/* A network is its name for a set: only what is told of one that is on both
 * sides is metadata. */
static void
one_network(struct records *r, const void *was, const void *now, const char *name)
{
	const struct policy_network *x = was, *y = now;

	if (!x || !y)
		return;
	r->subject = arena_printf(r->m, "network %s", name);
	r->whole = true;
	records_meta(r, NULL, &x->meta, &y->meta);
}

static void
networks(struct records *r)
{
	struct things x = {0}, y = {0};

	for (size_t i = 0; i < r->was->nnetwork; i++)
		thing_add(r, &x, r->was->network[i]->meta.name, r->was->network[i]);
	for (size_t i = 0; i < r->now->nnetwork; i++)
		thing_add(r, &y, r->now->network[i]->meta.name, r->now->network[i]);
	each_pair(r, &x, &y, one_network);
}

static struct records_fact
policy_name(struct arena *m, const struct policy *p, const void *thing)
{
	const struct policy *x = thing;

	(void)m;
	(void)p;
	return fact(x->meta.name, x->meta.at);
}

static struct records_fact
policy_zone_of(struct arena *m, const struct policy *p, const void *thing)
{
	const struct policy *x = thing;

	(void)m;
	(void)p;
	return fact(x->timezone, x->meta.at);
}

static const struct records_row policy_row[] = {
	{"name", LOOK_METADATA, policy_name},
	{"timezone", LOOK_METADATA, policy_zone_of},
};

void
look_diff_records(struct arena *m, const struct policy *was,
    const struct policy *now, struct look_diff *out)
{
	struct records r = {.m = m, .was = was, .now = now, .out = out, .subject = "policy",
	    .whole = true};

	records_rows(&r, NULL, policy_row, sizeof policy_row / sizeof *policy_row, was, now);
	records_meta(&r, NULL, &was->meta, &now->meta);
	relays(&r);
	submission(&r);
	routes(&r);
	applications(&r);
	kinds(&r);
	points(&r);
	networks(&r);
}
