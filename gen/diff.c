/*
 * diff: what two policies treat differently; with a ruleset on a side, see diff_rules.c.
 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "gen/commands.h"
#include "gen/describe.h"
#include "gen/diff_rules.h"
#include "gen/unit.h"

static const char *const area_word[] = {
	[LOOK_TRAFFIC] = "traffic",
	[LOOK_MESSAGES] = "messages",
	[LOOK_METADATA] = "metadata",
};

static void
change_human(struct buf *out, struct unit *was, struct unit *now,
    const struct look_change *c)
{
	const char *place = c->now ? describe_place(was->a, now->c.text, c->now_at) :
	    describe_place(was->a, was->c.text, c->was_at);

	buf_printf(out, "  %s: %s: ", c->subject, c->what);
	if (c->was && c->now)
		buf_printf(out, "%s -> %s", c->was, c->now);
	else if (c->now)
		buf_printf(out, "added: %s", c->now);
	else
		buf_printf(out, "removed: %s", c->was ? c->was : "");
	buf_printf(out, "%s%s%s%s%s\n", c->widens ? "  [widens]" : "",
	    c->narrows ? "  [narrows]" : "", *place ? "  (" : "", place, *place ? ")" : "");
}

static void
human(struct buf *out, struct unit *was, struct unit *now, struct flow *f,
    const struct look_diff *df)
{
	if (!df->traffic && !df->messages && !df->metadata) {
		buf_str(out, "no change\n");
		return;
	}
	if (!df->traffic)
		buf_str(out, "traffic: no change\n");
	for (size_t i = 0; i < df->npoint; i++) {
		const struct look_point_diff *p = &df->point[i];

		if (!p->diff.nbox && p->was && p->now)
			continue;
		buf_printf(out, "traffic at %s%s: %zu region%s\n", p->name,
		    !p->was ? " (a new point)" : !p->now ? " (a point no more)" : "",
		    p->diff.nbox, p->diff.nbox == 1 ? "" : "s");
		for (size_t k = 0; k < p->diff.nbox; k++)
			describe_box(out, was->a, f, &p->diff.box[k], was->c.text, now->c.text);
		if (p->diff.truncated)
			buf_str(out, "  and more regions than are shown\n");
	}
	for (int area = LOOK_MESSAGES; area <= LOOK_METADATA; area++) {
		if (area == LOOK_MESSAGES ? !df->messages : !df->metadata) {
			buf_printf(out, "%s: no change\n", area_word[area]);
			continue;
		}
		buf_printf(out, "%s:\n", area_word[area]);
		for (size_t i = 0; i < df->nchange; i++)
			if ((int)df->change[i].area == area)
				change_human(out, was, now, &df->change[i]);
	}
}

static void
place_json(struct buf *out, const char *key, struct text_set *t, struct text_span at)
{
	struct text_place p = text_place(t, at);

	if (!*p.name)
		return;
	buf_printf(out, ", \"%s\": {\"file\": ", key);
	buf_json(out, p.name);
	buf_printf(out, ", \"line\": %u}", p.line);
}

static void
json(struct buf *out, struct unit *was, struct unit *now, struct flow *f,
    const struct look_diff *df)
{
	buf_printf(out, "{\"changed\": {\"traffic\": %s, \"messages\": %s, \"metadata\": %s},\n \"points\": [",
	    df->traffic ? "true" : "false", df->messages ? "true" : "false",
	    df->metadata ? "true" : "false");
	for (size_t i = 0; i < df->npoint; i++) {
		const struct look_point_diff *p = &df->point[i];

		buf_printf(out, "%s\n  {\"point\": ", i ? "," : "");
		buf_json(out, p->name);
		buf_printf(out, ", \"was\": %s, \"now\": %s, \"truncated\": %s, \"regions\": [",
		    p->was ? "true" : "false", p->now ? "true" : "false",
		    p->diff.truncated ? "true" : "false");
		for (size_t k = 0; k < p->diff.nbox; k++) {
			buf_str(out, k ? ",\n   " : "\n   ");
			describe_box_json(out, was->a, f, &p->diff.box[k], was->c.text, now->c.text);
		}
		buf_str(out, "]}");
	}
	buf_str(out, "],\n \"changes\": [");
	for (size_t i = 0; i < df->nchange; i++) {
		const struct look_change *c = &df->change[i];

		buf_printf(out, "%s\n  {\"area\": \"%s\", \"subject\": ", i ? "," : "", area_word[c->area]);
		buf_json(out, c->subject);
		buf_str(out, ", \"what\": ");
		buf_json(out, c->what);
		buf_str(out, ", \"was\": ");
		if (c->was)
			buf_json(out, c->was);
		else
			buf_str(out, "null");
		buf_str(out, ", \"now\": ");
		if (c->now)
			buf_json(out, c->now);
		else
			buf_str(out, "null");
		buf_printf(out, ", \"widens\": %s, \"narrows\": %s", c->widens ? "true" : "false",
		    c->narrows ? "true" : "false");
		place_json(out, "was_at", was->c.text, c->was_at);
		place_json(out, "now_at", now->c.text, c->now_at);
		buf_chr(out, '}');
	}
	buf_str(out, "]}\n");
}

/* Reads one side; both share the store of diagrams, so that equal meaning is
 * an equal reference. */
static int
side(struct unit *u, const char *path, const struct args *a)
{
	int err = unit_open(u, path, a);

	return err ? err : unit_run(u, 1u << COMPILE_READ);
}

/* Keeps the traffic of one point alone. False after a message. */
static bool
only_point(const char *name, const struct policy *was, const struct policy *now,
    struct look_diff *df)
{
	size_t n = 0;

	if (!policy_point_find(was, name) && !policy_point_find(now, name)) {
		fprintf(stderr, "mailreeve diff: neither policy has a point '%s'\n", name);
		return false;
	}
	df->traffic = false;
	for (size_t i = 0; i < df->npoint; i++)
		if (!strcmp(df->point[i].name, name)) {
			df->point[n] = df->point[i];
			df->traffic |= df->point[n].diff.nbox > 0 || df->point[n].diff.truncated;
			n++;
		}
	df->npoint = n;
	return true;
}

static int
policies(const struct args *a, int form)
{
	int status, status2;
	struct unit was, now;
	struct look_diff df = {.strict = arg_value(a, ARG_STRICT) != NULL};
	struct buf out = BUF_INIT(UNIT_OUT_MOST);
	struct flow *f;

	status = side(&was, a->word[0], a);
	status2 = side(&now, a->word[1], a);
	status = status2 > status ? status2 : status;
	if (!status) {
		f = flow_new(0);
		if (look_diff(now.a, f, was.c.policy, now.c.policy, now.d, &df)) {
			unit_report(&now);
			status = UNIT_BAD;
		} else if (arg_value(a, ARG_POINT) &&
		    !only_point(arg_value(a, ARG_POINT), was.c.policy, now.c.policy, &df)) {
			status = UNIT_MACHINE;
		} else {
			if (form == UNIT_JSON)
				json(&out, &was, &now, f, &df);
			else
				human(&out, &was, &now, f, &df);
			if (arg_value(a, ARG_DETAILED) &&
			    (df.traffic || df.messages || df.metadata))
				status = UNIT_DIFFERS;
			status = unit_write(a, &out, status);
		}
		flow_free(f);
	}
	unit_close(&was);
	unit_close(&now);
	return status;
}

int
command_diff(const struct args *a)
{
	int form = unit_form(a, 1u << UNIT_HUMAN | 1u << UNIT_JSON);
	enum diff_side was, now;

	if (form < 0)
		return UNIT_MACHINE;
	if (!strcmp(a->word[0], "-") && !strcmp(a->word[1], "-")) {
		fprintf(stderr, "mailreeve diff: only one side can be standard input\n");
		return UNIT_MACHINE;
	}
	was = diff_side(a->word[0]);
	now = diff_side(a->word[1]);
	return was == DIFF_POLICY && now == DIFF_POLICY ? policies(a, form) :
	    diff_rules(a, was, now, form == UNIT_JSON);
}
