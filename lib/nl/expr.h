/*
 * expr: one rule of a plan as nf_tables expressions. Private to lib/nl.
 */
#ifndef NL_EXPR_H
#define NL_EXPR_H

#include "base/buf.h"
#include "nl/form.h"

/* A rule being encoded. */
struct expr_out {
	struct buf b;
	const struct nl_form *form;
	const struct nl_host *host;
	const char *who;           /* what could not be resolved */
	struct nl_anon anon[PLAN_MOST_RULE_MATCHES + 1];
	uint32_t nanon;
	int err;
};

/* Adds the rule's expressions (a list of NFTA_LIST_ELEM) to out->b. The sets
 * and chains that it uses must have their names in out->form. */
void
expr_rule(struct expr_out *out, const struct plan_rule *r);

/* Adds a verdict, nested as `type` (NFTA_DATA_VERDICT inside). False for one that
 * is no single verdict: go on, reject, redirect. */
bool
expr_verdict(struct buf *b, uint16_t type, struct plan_verdict v, const struct nl_form *f);

/* The number that a user's name stands for. */
int
expr_uid(const struct nl_host *h, const char *name, uint32_t *uid);

#endif
