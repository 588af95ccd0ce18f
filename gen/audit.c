/*
 * audit: where a ruleset is not what a policy says.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "gen/commands.h"
#include "gen/describe.h"
#include "gen/prove.h"
#include "gen/unit.h"
#include "nl/form.h"

enum { REGIONS = 1000, TEXT = 1 << 16 };

static const struct {
	const char *word, *text;   /* in JSON; for people */
} kind[PROVE_NKIND] = {
	[PROVE_ALLOWS] = {"allows", "the ruleset allows what the policy refuses"},
	[PROVE_FORBIDS] = {"forbids", "the ruleset refuses what the policy allows"},
	[PROVE_MAY] = {"may", "the ruleset and the policy differ by a limit"},
	[PROVE_OTHERWISE] = {"otherwise", "the ruleset does it in another way than the policy says"},
	[PROVE_UNKNOWN] = {"unknown", "it cannot be known what the ruleset does"},
};

static int
uid_of(void *arg, const char *name, uint32_t *uid)
{
	struct passwd *p = getpwnam(name);

	(void)arg;
	if (!p)
		return -ENOENT;
	*uid = p->pw_uid;
	return 0;
}

static int
cgroup_of(void *arg, const char *path, uint64_t *id)
{
	char full[4200];
	struct stat st;

	(void)arg;
	snprintf(full, sizeof full, "/sys/fs/cgroup/%s", path);
	if (stat(full, &st))
		return -errno;
	*id = st.st_ino;
	return 0;
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
witness_put(struct buf *out, struct unit *u, const struct flow_box *b,
    const struct prove_region *r)
{
	describe_packet(out, u->a, &r->witness, b->field[FLOW_DATE].n);
	describe_more(out, u->c.flow, b, r->x);
}

static void
region_human(struct buf *out, struct unit *u, const struct prove_region *r)
{
	struct flow_box b = box_of(r);

	buf_printf(out, "  %s\n", kind[r->kind].text);
	describe_region(out, u->c.flow, &b);
	buf_str(out, "    witness   ");
	witness_put(out, u, &b, r);
	buf_printf(out, "\n    policy    %s", describe_verdict(r->leaf->verdict, r->leaf->observe));
	if (r->leaf->limits)
		buf_printf(out, " (%s)", flow_limits_text(u->c.flow, r->leaf->limits));
	for (unsigned i = 0; i < r->leaf->nstmt; i++)
		buf_printf(out, "%s%s", i ? "; " : " by ",
		    describe_stmt(u->a, u->c.text, r->leaf->stmt[i]));
	buf_printf(out, "\n    ruleset   %s", r->is);
	if (r->rule) {
		buf_str(out, " by ");
		prove_rule_put(out, r->rule);
		if (r->rule->number)
			buf_printf(out, "\n              %s", r->rule->text);
	} else {
		buf_str(out, ": no rule decides");
	}
	buf_chr(out, '\n');
}

static void
region_json(struct buf *out, struct unit *u, const struct prove_region *r)
{
	struct flow_box b = box_of(r);
	struct buf w = BUF_INIT(TEXT);

	buf_printf(out, "{\"kind\": \"%s\", \"region\": ", kind[r->kind].word);
	describe_region_json(out, &b);
	buf_str(out, ", \"witness\": ");
	witness_put(&w, u, &b, r);
	buf_json(out, w.p ? w.p : "");
	buf_free(&w);
	buf_printf(out, ", \"policy\": {\"verdict\": \"%s\", \"observed\": %s, \"limits\": ",
	    flow_verdict_name(r->leaf->verdict), r->leaf->observe ? "true" : "false");
	buf_json(out, flow_limits_text(u->c.flow, r->leaf->limits));
	buf_str(out, ", \"statements\": [");
	for (unsigned i = 0; i < r->leaf->nstmt; i++) {
		buf_str(out, i ? ", " : "");
		describe_stmt_json(out, u->c.text, r->leaf->stmt[i]);
	}
	buf_str(out, "]}, \"ruleset\": {\"does\": ");
	buf_json(out, r->is);
	if (r->rule) {
		buf_str(out, ", \"family\": ");
		buf_json(out, r->rule->family);
		buf_str(out, ", \"table\": ");
		buf_json(out, r->rule->table);
		buf_str(out, ", \"chain\": ");
		buf_json(out, r->rule->chain);
		buf_printf(out, ", \"handle\": %llu", (unsigned long long)r->rule->handle);
		if (r->rule->number)
			buf_printf(out, ", \"rule\": %u", r->rule->number);
		if (r->rule->comment) {
			buf_str(out, ", \"comment\": ");
			buf_json(out, r->rule->comment);
		}
		buf_str(out, ", \"text\": ");
		buf_json(out, r->rule->text);
	}
	buf_str(out, "}}");
}

static void
print(struct buf *out, struct unit *u, const char *point, const char *ruleset,
    const struct prove *p, bool json)
{
	if (json) {
		buf_str(out, "{\"point\": ");
		buf_json(out, point);
		buf_str(out, ", \"ruleset\": ");
		buf_json(out, ruleset);
		buf_printf(out, ", \"truncated\": %s, \"regions\": [", p->truncated ? "true" : "false");
	} else if (!p->nregion) {
		buf_printf(out, "%s does what the policy says for %s\n", ruleset, point);
	} else {
		buf_printf(out, "%s is not what the policy says for %s: %zu region%s\n", ruleset, point,
		    p->nregion, p->nregion == 1 ? "" : "s");
	}
	for (size_t i = 0; i < p->nregion; i++) {
		if (json) {
			buf_str(out, i ? ",\n  " : "\n  ");
			region_json(out, u, &p->region[i]);
		} else {
			region_human(out, u, &p->region[i]);
		}
	}
	if (json)
		buf_str(out, "]}\n");
	else if (p->truncated)
		buf_str(out, "  and more regions than are shown\n");
}

/* Audits the unit's point `pt`. */
static int
audit(struct unit *u, const struct policy_point *pt, const char *ruleset, bool json)
{
	static const struct nl_host host = {.uid = uid_of, .cgroup = cgroup_of};
	struct prove p = {.a = u->a, .flow = u->c.flow, .meant = u->c.meaning[pt->index],
	    .most = REGIONS, .host = &host};
	struct buf out = BUF_INIT(UNIT_OUT_MOST);
	int outcome = strcmp(ruleset, "live") ? prove_file(&p, ruleset) : prove_live(&p);

	if (outcome < 0)
		return prove_cannot("audit", &p, outcome);
	print(&out, u, pt->meta.name, ruleset, &p, json);
	return unit_write(u->args, &out, outcome == PROVE_DIFFERS ? UNIT_BAD : UNIT_FINE);
}

int
command_audit(const struct args *a)
{
	int form = unit_form(a, 1u << UNIT_HUMAN | 1u << UNIT_JSON), status;
	const struct policy_point *pt = NULL;
	struct unit u;

	if (form < 0)
		return UNIT_MACHINE;
	if (!strcmp(a->word[0], "-") && !strcmp(a->word[1], "-")) {
		fprintf(stderr, "mailreeve audit: only one of both can be standard input\n");
		return UNIT_MACHINE;
	}
	status = unit_open(&u, a->word[0], a);
	u.no_notes = true;
	if (!status && !compile_run(&u.c, 1u << COMPILE_READ)) {
		unit_report(&u);
		status = UNIT_BAD;
	}
	if (!status) {
		pt = unit_point(&u, ARG_AT);
		u.c.only = pt ? pt->meta.name : NULL;
		status = pt ? unit_run(&u, 1u << COMPILE_MEAN) : UNIT_MACHINE;
	}
	if (!status)
		status = audit(&u, pt, a->word[1], form == UNIT_JSON);
	u.c.flow = flow_free(u.c.flow);
	unit_close(&u);
	return status;
}
