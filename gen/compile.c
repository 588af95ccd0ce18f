/*
 * compile: the rules of one point, as text, JSON or plan file.
 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "gen/commands.h"
#include "gen/out/out.h"
#include "gen/prove.h"
#include "gen/unit.h"
#include "plan/plan.h"

int
command_compile(const struct args *a)
{
	const char *to = arg_value(a, ARG_TO), *part = arg_value(a, ARG_PART);
	const char *slot = arg_value(a, ARG_SLOT);
	struct buf out = BUF_INIT(OUT_MOST), dumped = BUF_INIT(UNIT_OUT_MOST);
	struct out_options o = {.part = OUT_ALL, .slot = OUT_NO_SLOT};
	const struct policy_point *pt = NULL;
	const struct plan *p;
	struct unit u;
	int status;

	if (part && !strcmp(part, "stage"))
		o.part = OUT_STAGE;
	else if (part && !strcmp(part, "swap"))
		o.part = OUT_SWAP;
	if (slot)
		o.slot = *slot == 'a' ? OUT_SLOT_A : OUT_SLOT_B;
	if (o.part != OUT_ALL && !slot) {
		fprintf(stderr, "mailreeve compile: --part %s needs --slot a or --slot b: two tables take "
		    "turns, so that one is complete before the other goes\n", part);
		return UNIT_MACHINE;
	}
	if (to && !strcmp(to, "plan") && (part || slot)) {
		fprintf(stderr, "mailreeve compile: a plan file has no parts or slots\n");
		return UNIT_MACHINE;
	}
	if (arg_value(a, ARG_PROVE) && arg_value(a, ARG_NO_PROVE)) {
		fprintf(stderr, "mailreeve compile: --prove and --no-prove are one too many\n");
		return UNIT_MACHINE;
	}
	status = unit_open(&u, a->word[0], a);
	u.no_notes = true; /* lint is for those; here they would hide a warning */
	u.c.dump = arg_value(a, ARG_DUMP);
	u.c.dumped = &dumped;
	if (!status && !compile_run(&u.c, 1u << COMPILE_READ)) {
		unit_report(&u);
		status = UNIT_BAD;
	}
	if (!status) {
		pt = unit_point(&u, ARG_POINT);
		if (!pt)
			status = UNIT_MACHINE;
		else
			u.c.only = pt->meta.name;
	}
	if (!status)
		status = unit_run(&u, 1u << COMPILE_MEAN | 1u << COMPILE_LINT | 1u << COMPILE_PLAN);
	if (!status) {
		p = u.c.plan[pt->index];
		if (!p->own_table && (part || slot)) {
			fprintf(stderr, "mailreeve compile: %s is `as: chains`: it lives in the administrator's "
			    "table and has no parts or slots\n", pt->meta.name);
			status = UNIT_MACHINE;
		} else if (!to || !strcmp(to, "nft")) {
			out_nft(&out, p, &o);
		} else if (!strcmp(to, "plan")) {
			out_plan(&out, p);
		} else if (out_json(&out, p, &o, u.d)) {
			unit_report(&u);
			status = UNIT_BAD;
		}
	}
	if (!status && !arg_value(a, ARG_NO_PROVE))
		status = prove_point(&u, pt, arg_value(a, ARG_PROVE) != NULL);
	if (dumped.n)
		fwrite(dumped.p, 1, dumped.n, stderr);
	buf_free(&dumped);
	if (!status)
		status = unit_write(a, &out, 0);
	buf_free(&out);
	u.c.flow = flow_free(u.c.flow);
	unit_close(&u);
	return status;
}
