#include "tell/region.h"

#include "base/arena.h"
#include "base/buf.h"
#include "tell/describe.h"

static const char *const kind_text[PROVE_NKIND] = {
	[PROVE_ALLOWS] = "the ruleset allows what the policy refuses",
	[PROVE_FORBIDS] = "the ruleset refuses what the policy allows",
	[PROVE_MAY] = "the ruleset and the policy differ by a limit",
	[PROVE_OTHERWISE] = "the ruleset does it in another way than the policy says",
	[PROVE_UNKNOWN] = "it cannot be known what the ruleset does",
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

void
region_tell(struct buf *out, struct arena *a, struct flow *f, struct text_set *t,
    const struct prove_region *r)
{
	struct flow_box b = box_of(r);

	buf_printf(out, "  %s\n", kind_text[r->kind]);
	describe_region(out, f, &b);
	buf_str(out, "    witness   ");
	describe_packet(out, a, &r->witness, b.field[FLOW_DATE].n);
	describe_more(out, f, &b, r->x);
	buf_printf(out, "\n    policy    %s", describe_verdict(r->leaf->verdict, r->leaf->observe));
	if (r->leaf->limits)
		buf_printf(out, " (%s)", flow_limits_text(f, r->leaf->limits));
	for (unsigned i = 0; i < r->leaf->nstmt; i++)
		buf_printf(out, "%s%s", i ? "; " : " by ", describe_stmt(a, t, r->leaf->stmt[i]));
	buf_printf(out, "\n    ruleset   %s", r->is);
	if (r->rule) {
		buf_str(out, " by ");
		region_rule(out, r->rule);
		if (r->rule->number)
			buf_printf(out, "\n              %s", r->rule->text);
	} else {
		buf_str(out, ": no rule decides");
	}
	buf_chr(out, '\n');
}
