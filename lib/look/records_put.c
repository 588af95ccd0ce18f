#include "look/records.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/units.h"
#include "mail/mail.h"

#define NO_FACT ((struct records_fact){.at = TEXT_NO_SPAN})

struct look_change *
records_put(struct records *r, enum look_area area, const char *what,
    struct records_fact was, struct records_fact now)
{
	struct look_change *c;
	bool ranked = r->whole && was.rank != RECORDS_PLAIN && now.rank != RECORDS_PLAIN;

	if (!was.value && !now.value)
		return NULL;
	c = &ARENA_PUSH(r->m, r->out->change, r->out->nchange, r->out->capchange);
	*c = (struct look_change){
		.area = area,
		.subject = r->subject,
		.what = what,
		.was = was.value,
		.now = now.value,
		.was_at = was.value ? was.at : TEXT_NO_SPAN,
		.now_at = now.value ? now.at : TEXT_NO_SPAN,
		.widens = ranked && now.loose > was.loose,
		.narrows = ranked && now.loose < was.loose,
	};
	switch (area) {
	case LOOK_TRAFFIC:
		r->out->traffic = true;
		break;
	case LOOK_MESSAGES:
		r->out->messages = true;
		break;
	case LOOK_METADATA:
		r->out->metadata = true;
		break;
	}
	return c;
}

static bool
same(const struct records_fact *x, const struct records_fact *y)
{
	if (x->rank == RECORDS_EXACT && y->rank == RECORDS_EXACT)
		return x->loose == y->loose;
	if (!x->value || !y->value)
		return x->value == y->value;
	return !strcmp(x->value, y->value);
}

static const char *
named(struct records *r, const char *prefix, const char *what)
{
	return prefix ? arena_printf(r->m, "%s: %s", prefix, what) : what;
}

void
records_rows(struct records *r, const char *prefix, const struct records_row *row, size_t n,
    const void *x, const void *y)
{
	for (size_t i = 0; i < n; i++) {
		struct records_fact was = x ? row[i].of(r->m, r->was, x) : NO_FACT;
		struct records_fact now = y ? row[i].of(r->m, r->now, y) : NO_FACT;

		if (!same(&was, &now))
			records_put(r, row[i].area, named(r, prefix, row[i].what), was, now);
	}
}

/* ---- what everything carries ---- */

#define META(field) \
	static struct records_fact \
	meta_##field(struct arena *m, const struct policy *p, const void *thing) \
	{ \
		const struct policy_meta *x = thing; \
\
		(void)m; \
		(void)p; \
		return (struct records_fact){.value = x->field, .at = x->at}; \
	}

META(title)
META(owner)
META(contact)
META(reason)
META(ticket)
META(source)

static const struct records_row meta_row[] = {
	{"title", LOOK_METADATA, meta_title},
	{"owner", LOOK_METADATA, meta_owner},
	{"contact", LOOK_METADATA, meta_contact},
	{"reason", LOOK_METADATA, meta_reason},
	{"ticket", LOOK_METADATA, meta_ticket},
	{"source", LOOK_METADATA, meta_source},
};

void
records_meta(struct records *r, const char *prefix, const struct policy_meta *x,
    const struct policy_meta *y)
{
	records_rows(r, prefix, meta_row, sizeof meta_row / sizeof *meta_row, x, y);
}

const char *
records_day(struct arena *m, const struct policy *p, struct text_span at, uint64_t sec)
{
	if (p->text && at.file != TEXT_NOWHERE && at.len && at.file < p->text->n)
		return arena_strn(m, p->text->file[at.file]->bytes + at.off, at.len);
	return arena_printf(m, "@%" PRIu64, sec);
}

static uint64_t
end_of(const struct policy_days *d)
{
	return d->until ? d->until : UINT64_MAX;
}

static struct records_fact
day_since(struct arena *m, const struct policy *p, const void *thing)
{
	const struct policy_meta *x = thing;
	const struct policy_days *d = &x->days;

	return (struct records_fact){
		.value = d->since ? records_day(m, p, d->since_at, d->since) : NULL,
		.at = d->since_at,
		.rank = RECORDS_EXACT,
		.loose = UINT64_MAX - d->since,
	};
}

static struct records_fact
day_until(struct arena *m, const struct policy *p, const void *thing)
{
	const struct policy_meta *x = thing;
	const struct policy_days *d = &x->days;

	return (struct records_fact){
		.value = end_of(d) != UINT64_MAX ? records_day(m, p, d->until_at, d->until) : NULL,
		.at = d->until_at,
		.rank = RECORDS_EXACT,
		.loose = end_of(d),
	};
}

static const struct records_row day_row[] = {
	{"since", LOOK_MESSAGES, day_since},
	{"until", LOOK_MESSAGES, day_until},
};

void
records_days(struct records *r, const struct policy_meta *x, const struct policy_meta *y)
{
	records_rows(r, NULL, day_row, sizeof day_row / sizeof *day_row, x, y);
}

/* ---- sets ---- */

struct records_elem *
records_elem(struct records *r, struct records_set *s, const char *text,
    struct text_span at, const void *thing)
{
	struct records_elem *e = &ARENA_PUSH(r->m, s->v, s->n, s->cap);

	*e = (struct records_elem){.text = text, .at = at, .thing = thing};
	return e;
}

void
records_strings(struct records *r, struct records_set *s, const char *const *v, size_t n,
    struct text_span at)
{
	for (size_t i = 0; i < n; i++)
		records_elem(r, s, v[i], at, v[i]);
}

void
records_patterns(struct records *r, struct records_set *s, const struct policy_patterns *p,
    bool empty_is_any, struct text_span at)
{
	for (size_t i = 0; i < p->n; i++)
		records_elem(r, s, mail_pattern_text(r->m, &p->v[i]), p->v[i].at, &p->v[i]);
	if (!p->n && empty_is_any)
		records_elem(r, s, "any", at, NULL)->all = true;
}

static bool
below(const char *domain, const char *top)
{
	size_t n = strlen(domain), k = strlen(top);

	return n > k && domain[n - k - 1] == '.' && !strcmp(domain + n - k, top);
}

bool
records_pattern_covers(const void *big, const void *small)
{
	const struct policy_pattern *b = big, *s = small;

	if (b->kind == POLICY_PATTERN_ANY)
		return s->kind != POLICY_PATTERN_NULL;
	if (!b->domain || !s->domain)
		return b->kind == s->kind;
	switch (b->kind) {
	case POLICY_PATTERN_DOMAIN:
	case POLICY_PATTERN_LOCAL_ANY:
		return s->kind != POLICY_PATTERN_BELOW && !strcmp(b->domain, s->domain);
	case POLICY_PATTERN_BELOW:
		return below(s->domain, b->domain) ||
		    (s->kind == POLICY_PATTERN_BELOW && !strcmp(b->domain, s->domain));
	case POLICY_PATTERN_ADDRESS:
		return s->kind == POLICY_PATTERN_ADDRESS && !strcmp(b->domain, s->domain) &&
		    !strcmp(b->local, s->local);
	case POLICY_PATTERN_ANY:
	case POLICY_PATTERN_NULL:
		return false;
	}
	return false;
}

static int
by_text(const void *a, const void *b)
{
	const struct records_elem *x = a, *y = b;

	return strcmp(x->text, y->text);
}

static bool
covered(const struct records_set *s, const struct records_elem *e,
    bool (*covers)(const void *big, const void *small))
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].all || (covers && !e->all && covers(s->v[i].thing, e->thing)))
			return true;
	return false;
}

/* One element that is on one side alone; `other` is that side's counterpart. */
static void
lone(struct records *r, enum look_area area, const char *what, enum records_sense sense,
    bool (*covers)(const void *, const void *), const struct records_elem *e,
    const struct records_set *other, bool added)
{
	struct records_fact f = {.value = e->text, .at = e->at};
	struct look_change *c = records_put(r, area, what, added ? NO_FACT : f, added ? f : NO_FACT);

	if (!r->whole || sense == RECORDS_SENSELESS || covered(other, e, covers))
		return;
	c->widens = (sense == RECORDS_WIDENS) == added;
	c->narrows = !c->widens;
}

void
records_sets(struct records *r, enum look_area area, const char *what,
    enum records_sense sense, bool (*covers)(const void *big, const void *small),
    struct records_set *x, struct records_set *y)
{
	size_t i = 0, k = 0;

	if (x->n)
		qsort(x->v, x->n, sizeof *x->v, by_text);
	if (y->n)
		qsort(y->v, y->n, sizeof *y->v, by_text);
	while (i < x->n || k < y->n) {
		int d = i == x->n ? 1 : k == y->n ? -1 : strcmp(x->v[i].text, y->v[k].text);
		const struct records_elem *e = d > 0 ? &y->v[k] : &x->v[i];

		if (d < 0)
			lone(r, area, what, sense, covers, e, y, false);
		else if (d > 0)
			lone(r, area, what, sense, covers, e, x, true);
		/* Written twice is written once. */
		while (d <= 0 && i < x->n && !strcmp(x->v[i].text, e->text))
			i++;
		while (d >= 0 && k < y->n && !strcmp(y->v[k].text, e->text))
			k++;
	}
}

/* ---- addresses ---- */

enum { PREFIXES_MOST = 16 };

static void
prefix_add(struct buf *b, size_t *n, enum addr_family f, u128 lo, u128 hi)
{
	for (;;) {
		struct addr_prefix p = addr_range_head(f, lo, hi);
		char text[50];

		if ((*n)++ < PREFIXES_MOST) {
			addr_prefix_write(p, text);
			buf_str(b, *n > 1 ? ", " : "");
			buf_str(b, text);
		}
		if (p.hi >= hi)
			return;
		lo = p.hi + 1;
	}
}

/* The prefixes of a set, "and 5 more" after the first sixteen. */
static const char *
prefixes(struct arena *m, const struct addr_set *s)
{
	struct buf b = BUF_INIT(64 * (PREFIXES_MOST + 1));
	size_t n = 0;
	char *out;

	for (size_t i = 0; i < s->n4; i++)
		prefix_add(&b, &n, ADDR_V4, s->v4[i].lo, s->v4[i].hi);
	for (size_t i = 0; i < s->n6; i++)
		prefix_add(&b, &n, ADDR_V6, s->v6[i].lo, s->v6[i].hi);
	if (n > PREFIXES_MOST)
		buf_printf(&b, " and %zu more", n - PREFIXES_MOST);
	out = arena_strn(m, b.n ? b.p : "", b.n);
	buf_free(&b);
	return out;
}

void
records_addresses(struct records *r, const char *what, const struct policy_where *x,
    const struct policy_where *y)
{
	struct records_fact was = NO_FACT, now = NO_FACT;
	struct addr_set gone, fresh;
	struct look_change *c;

	if (!x || !y || x->any || y->any) {
		if (x && (x->any || x->set.n4 || x->set.n6))
			was = (struct records_fact){.at = x->at,
			    .value = x->any ? "any" : prefixes(r->m, &x->set)};
		if (y && (y->any || y->set.n4 || y->set.n6))
			now = (struct records_fact){.at = y->at,
			    .value = y->any ? "any" : prefixes(r->m, &y->set)};
		if (same(&was, &now) || !(c = records_put(r, LOOK_MESSAGES, what, was, now)))
			return;
		c->widens = r->whole && y && y->any;
		c->narrows = r->whole && x && x->any;
		return;
	}
	addr_set_minus(r->m, &gone, &x->set, &y->set);
	addr_set_minus(r->m, &fresh, &y->set, &x->set);
	if (gone.n4 || gone.n6) {
		was = (struct records_fact){.value = prefixes(r->m, &gone), .at = x->at};
		records_put(r, LOOK_MESSAGES, what, was, NO_FACT)->narrows = r->whole;
	}
	if (fresh.n4 || fresh.n6) {
		now = (struct records_fact){.value = prefixes(r->m, &fresh), .at = y->at};
		records_put(r, LOOK_MESSAGES, what, NO_FACT, now)->widens = r->whole;
	}
}

/* ---- limits ---- */

/* The milder, the looser. */
static unsigned
over_loose(enum policy_over o)
{
	switch (o) {
	case POLICY_OVER_LOG:
	case POLICY_OVER_WARN:
		return 3;
	case POLICY_OVER_DELAY:
		return 2;
	case POLICY_OVER_DEFER:
		return 1;
	case POLICY_OVER_REFUSE:
	case POLICY_OVER_REJECT:
	case POLICY_OVER_DROP:
		return 0;
	}
	return 0;
}

/* A limit, ready to be paired: by what it counts, then by what it says. */
struct limit {
	const struct policy_mail_limit *l;
	const char *key, *rest, *value; /* rest: exceptions and dates */
	struct limit *pair;        /* of the other side */
};

static const char *
limit_key(struct arena *m, const struct policy_mail_limit *l)
{
	char time[32];
	const char *per = "message";

	if (l->window == POLICY_PER_SECONDS)
		per = units_time(l->seconds, time);
	else if (l->window == POLICY_PER_CONNECTION)
		per = "connection";
	return arena_printf(m, "limit %s per %s%s%s", policy_count_word(l->count), per,
	    l->each == POLICY_EACH_ALL ? "" : ", each ",
	    l->each == POLICY_EACH_ALL ? "" : policy_each_word(l->each));
}

static const char *
limit_rest(struct arena *m, const struct policy *p, const struct policy_mail_limit *l)
{
	const struct policy_days *d = &l->meta.days;
	const char **v = arena_array(m, l->except.n, const char *);
	const char *s = "";
	size_t n = 0;

	/* In order, so that another order of the same exceptions is no change. */
	for (size_t i = 0; i < l->except.n; i++) {
		const char *t = mail_pattern_text(m, &l->except.v[i]);
		size_t k = n++;

		for (; k && strcmp(v[k - 1], t) > 0; k--)
			v[k] = v[k - 1];
		v[k] = t;
	}
	for (size_t i = 0; i < n; i++)
		s = arena_printf(m, "%s%s%s", s, i ? ", " : ", except ", v[i]);
	if (d->since)
		s = arena_printf(m, "%s, since %s", s, records_day(m, p, d->since_at, d->since));
	if (end_of(d) != UINT64_MAX)
		s = arena_printf(m, "%s, until %s", s, records_day(m, p, d->until_at, d->until));
	return s;
}

static int
by_limit(const void *a, const void *b)
{
	const struct limit *x = a, *y = b;
	int d = strcmp(x->key, y->key);

	if (d)
		return d;
	if (x->l->over != y->l->over)
		return x->l->over < y->l->over ? -1 : 1;
	if (x->l->most != y->l->most)
		return x->l->most < y->l->most ? -1 : 1;
	return strcmp(x->rest, y->rest);
}

static struct limit *
limits_of(struct records *r, const struct policy *p, const struct policy_mail_limits *list)
{
	struct limit *v = arena_array(r->m, list ? list->n : 0, struct limit);
	char size[32];

	for (size_t i = 0; list && i < list->n; i++) {
		const struct policy_mail_limit *l = &list->v[i];
		const char *rest = limit_rest(r->m, p, l);

		v[i] = (struct limit){.l = l, .key = limit_key(r->m, l), .rest = rest};
		v[i].value = l->count == POLICY_COUNT_BYTES ?
		    arena_printf(r->m, "%s, over: %s%s", units_size(l->most, size),
		    policy_over_word(l->over), rest) :
		    arena_printf(r->m, "%" PRIu64 ", over: %s%s", l->most,
		    policy_over_word(l->over), rest);
	}
	if (list && list->n)
		qsort(v, list->n, sizeof *v, by_limit);
	return v;
}

/* Looser in one thing and no stricter in the other; exceptions and dates
 * that differ leave it open. */
static void
limit_flags(struct look_change *c, const struct limit *x, const struct limit *y)
{
	unsigned a = x ? over_loose(x->l->over) : 0, b = y ? over_loose(y->l->over) : 0;

	if (!x || !y) {
		/* What only warns neither lets through nor holds back. */
		bool tells = over_loose((x ? x : y)->l->over) < 3;

		c->widens = tells && x;
		c->narrows = tells && y;
		return;
	}
	if (strcmp(x->rest, y->rest) || (a == 3 && b == 3))
		return;
	c->widens = y->l->most >= x->l->most && b >= a;
	c->narrows = !c->widens && y->l->most <= x->l->most && b <= a;
}

static void
limit_pair(struct records *r, struct limit *x, struct limit *y)
{
	struct records_fact was = NO_FACT, now = NO_FACT;
	const struct limit *any = x ? x : y;
	struct look_change *c;

	assert(any);
	if (x)
		was = (struct records_fact){.value = x->value, .at = x->l->meta.at};
	if (y)
		now = (struct records_fact){.value = y->value, .at = y->l->meta.at};
	if (!same(&was, &now)) {
		c = records_put(r, LOOK_MESSAGES, any->key, was, now);
		if (r->whole)
			limit_flags(c, x, y);
	}
	records_meta(r, any->key, x ? &x->l->meta : NULL, y ? &y->l->meta : NULL);
}

void
records_limits(struct records *r, const struct policy_mail_limits *x,
    const struct policy_mail_limits *y)
{
	size_t n = x ? x->n : 0, k = y ? y->n : 0;
	struct limit *a = limits_of(r, r->was, x), *b = limits_of(r, r->now, y);

	/* Equal ones first, then such as differ in the figure alone, then the
	 * rest of what counts the same. */
	for (int closeness = 0; closeness < 3; closeness++)
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < k && !a[i].pair; j++) {
				if (b[j].pair || strcmp(a[i].key, b[j].key) ||
				    (closeness == 0 && strcmp(a[i].value, b[j].value)) ||
				    (closeness == 1 && a[i].l->over != b[j].l->over))
					continue;
				a[i].pair = &b[j];
				b[j].pair = &a[i];
			}
	for (size_t i = 0; i < n; i++)
		limit_pair(r, &a[i], a[i].pair);
	for (size_t j = 0; j < k; j++)
		if (!b[j].pair)
			limit_pair(r, NULL, &b[j]);
}
