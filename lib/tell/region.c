#include "tell/region.h"

#include "base/arena.h"
#include "base/buf.h"
#include "tell/describe.h"

enum { WITNESS = 1 << 16 };

static const struct {
	const char *word, *text;   /* in JSON; for people */
} kind[PROVE_NKIND] = {
	[PROVE_ALLOWS] = {"allows", "the ruleset allows what the policy refuses"},
	[PROVE_FORBIDS] = {"forbids", "the ruleset refuses what the policy allows"},
	[PROVE_MAY] = {"may", "the ruleset and the policy differ by a limit"},
	[PROVE_OTHERWISE] = {"otherwise", "the ruleset does it in another way than the policy says"},
	[PROVE_UNKNOWN] = {"unknown", "it cannot be known what the ruleset does"},
};

void
region_rule(struct buf *out, const struct prove_rule *r)
{
	if (r->number)
		buf_printf(out, "rule %u of chain %s", r->number, r->chain);
	else
		buf_printf(out, "%s of chain %s", r->text, r->chain);
	buf_printf(out, " (table %s %s, handle %llu)", r->family, r->table,
	    (unsigned long long)r->handle);
	if (r->comment)
		buf_printf(out, " \"%s\"", r->comment);
}

/* The region as flow's box, for the words of describe. */
static struct flow_box
box_of(const struct prove_region *r)
{
	struct flow_box b = {.witness = r->witness};

	for (int k = 0; k < FLOW_NFIELD; k++) {
		b.field[k].v = r->field[k].v;
		b.field[k].n = r->field[k].n;
	}
	return b;
}

static void
put_witness(struct buf *out, struct arena *a, struct flow *f, const struct flow_box *b,
    const struct prove_region *r)
{
	describe_packet(out, a, &r->witness, b->field[FLOW_DATE].n);
	describe_more(out, f, b, r->x);
}

static void
put_policy(struct buf *out, struct arena *a, struct flow *f, struct text_set *t,
    const struct flow_leaf *l)
{
	buf_str(out, describe_verdict(l->verdict, l->observe));
	if (l->limits)
		buf_printf(out, " (%s)", flow_limits_text(f, l->limits));
	for (unsigned i = 0; i < l->nstmt; i++)
		buf_printf(out, "%s%s", i ? "; " : " by ", describe_stmt(a, t, l->stmt[i]));
	buf_chr(out, '\n');
}

static void
put_ruleset(struct buf *out, const char *does, const struct prove_rule *rule)
{
	buf_str(out, does);
	if (rule) {
		buf_str(out, " by ");
		region_rule(out, rule);
		if (rule->number)
			buf_printf(out, "\n              %s", rule->text);
	} else {
		buf_str(out, ": no rule decides");
	}
	buf_chr(out, '\n');
}

static void
put_region(struct buf *out, struct arena *a, struct flow *f, const struct prove_region *r)
{
	struct flow_box b = box_of(r);

	describe_region(out, f, &b);
	buf_str(out, "    witness   ");
	put_witness(out, a, f, &b, r);
	buf_chr(out, '\n');
}

void
region_tell(struct buf *out, struct arena *a, struct flow *f, struct text_set *t,
    const struct prove_region *r)
{
	if (!r->leaf) {
		region_change(out, a, f, t, r, false);
		return;
	}
	buf_printf(out, "  %s\n", kind[r->kind].text);
	put_region(out, a, f, r);
	buf_str(out, "    policy    ");
	put_policy(out, a, f, t, r->leaf);
	buf_str(out, "    ruleset   ");
	put_ruleset(out, r->is, r->rule);
}

/* What a region means for people: the policy's verdict, or the first ruleset's fates. */
static const char *
meant(const struct prove_region *r)
{
	return r->leaf ? describe_verdict(r->leaf->verdict, r->leaf->observe) : r->meant;
}

void
region_change(struct buf *out, struct arena *a, struct flow *f, struct text_set *t,
    const struct prove_region *r, bool back)
{
	buf_printf(out, "  %s -> %s\n", back ? r->is : meant(r), back ? meant(r) : r->is);
	put_region(out, a, f, r);
	if (back) {
		buf_str(out, "    was       ");
		put_ruleset(out, r->is, r->rule);
	}
	buf_printf(out, "    %-9s ", back ? "now" : "was");
	if (r->leaf)
		put_policy(out, a, f, t, r->leaf);
	else
		put_ruleset(out, r->meant, r->was);
	if (!back) {
		buf_str(out, "    now       ");
		put_ruleset(out, r->is, r->rule);
	}
}

/* ---- as JSON ------------------------------------------------------------------------------ */

static void
json_policy(struct buf *out, struct flow *f, struct text_set *t, const struct flow_leaf *l)
{
	buf_printf(out, "{\"verdict\": \"%s\", \"observed\": %s, \"limits\": ",
	    flow_verdict_name(l->verdict), l->observe ? "true" : "false");
	buf_json(out, flow_limits_text(f, l->limits));
	buf_str(out, ", \"statements\": [");
	for (unsigned i = 0; i < l->nstmt; i++) {
		buf_str(out, i ? ", " : "");
		describe_stmt_json(out, t, l->stmt[i]);
	}
	buf_str(out, "]}");
}

static void
json_ruleset(struct buf *out, const char *does, const struct prove_rule *r)
{
	buf_str(out, "{\"does\": ");
	buf_json(out, does);
	if (r) {
		buf_str(out, ", \"family\": ");
		buf_json(out, r->family);
		buf_str(out, ", \"table\": ");
		buf_json(out, r->table);
		buf_str(out, ", \"chain\": ");
		buf_json(out, r->chain);
		buf_printf(out, ", \"handle\": %llu", (unsigned long long)r->handle);
		if (r->number)
			buf_printf(out, ", \"rule\": %u", r->number);
		if (r->comment) {
			buf_str(out, ", \"comment\": ");
			buf_json(out, r->comment);
		}
		buf_str(out, ", \"text\": ");
		buf_json(out, r->text);
	}
	buf_chr(out, '}');
}

static void
json_region(struct buf *out, struct arena *a, struct flow *f, const struct prove_region *r)
{
	struct flow_box b = box_of(r);
	struct buf w = BUF_INIT(WITNESS);

	buf_str(out, "\"region\": ");
	describe_region_json(out, &b);
	buf_str(out, ", \"witness\": ");
	put_witness(&w, a, f, &b, r);
	buf_json(out, w.p ? w.p : "");
	buf_free(&w);
}

void
region_json(struct buf *out, struct arena *a, struct flow *f, struct text_set *t,
    const struct prove_region *r)
{
	buf_printf(out, "\"kind\": \"%s\", ", kind[r->kind].word);
	json_region(out, a, f, r);
	if (r->leaf) {
		buf_str(out, ", \"policy\": ");
		json_policy(out, f, t, r->leaf);
	}
	buf_str(out, ", \"ruleset\": ");
	json_ruleset(out, r->is, r->rule);
}

void
region_change_json(struct buf *out, struct arena *a, struct flow *f, struct text_set *t,
    const struct prove_region *r, bool back)
{
	buf_chr(out, '{');
	json_region(out, a, f, r);
	if (back) {
		buf_str(out, ", \"was\": ");
		json_ruleset(out, r->is, r->rule);
	}
	buf_printf(out, ", \"%s\": ", back ? "now" : "was");
	if (r->leaf)
		json_policy(out, f, t, r->leaf);
	else
		json_ruleset(out, r->meant, r->was);
	if (!back) {
		buf_str(out, ", \"now\": ");
		json_ruleset(out, r->is, r->rule);
	}
	buf_chr(out, '}');
}
