/* What a statement or a named thing carries: texts and dates. */
#include <errno.h>
#include <string.h>

#include "policy/load.h"

static const char *
text(const struct shape_text *t)
{
	return t->ok ? t->s : NULL;
}

bool
meta_day(struct load *l, int y, int m, int d, uint64_t *sec)
{
	return !l->zone_bad && !l->w->day(l->w->arg, l->p->timezone, y, m, d, sec);
}

bool
meta_read(struct load *l, const struct raw_meta *raw, struct text_span at, struct policy_meta *out)
{
	bool ok = (raw->since.ok || !raw->since.node) && (raw->until.ok || !raw->until.node);

	*out = (struct policy_meta){
		.at = at,
		.name = text(&raw->name),
		.title = text(&raw->title),
		.owner = text(&raw->owner),
		.contact = text(&raw->contact),
		.reason = text(&raw->reason),
		.ticket = text(&raw->ticket),
		.source = text(&raw->source),
		.days = POLICY_ALWAYS,
	};
	if (raw->since.node)
		out->days.since_at = raw->since.node->at;
	if (raw->until.node)
		out->days.until_at = raw->until.node->at;
	if (raw->since.ok)
		ok &= meta_day(l, raw->since.y, raw->since.m, raw->since.d, &out->days.since);
	if (raw->until.ok) {
		int y = raw->until.y, m = raw->until.m, d = raw->until.d;

		shape_day_next(&y, &m, &d);
		ok &= meta_day(l, y, m, d, &out->days.until);
	}
	if (ok && out->days.since >= out->days.until) {
		diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0438, out->days.until_at,
		    "it ends before it begins"), out->days.since_at, "it begins here"),
		    "`until` is the last day on which it holds; it may be the day of `since`");
		ok = false;
	}
	return ok;
}

bool
meta_days_meet(const struct policy_days *a, const struct policy_days *b)
{
	return a->since < b->until && b->since < a->until;
}

const char **
meta_strings(struct load *l, const struct shape_list *list, size_t *n)
{
	const char **v;

	*n = 0;
	if (!list->n)
		return NULL;
	v = arena_array(l->a, list->n, const char *);
	for (size_t i = 0; i < list->n; i++) {
		const struct shape_text *t = SHAPE_AT(*list, const struct shape_text, i);

		if (t->ok)
			v[(*n)++] = t->s;
	}
	return v;
}
