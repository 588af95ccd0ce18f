/*
 * edit: a plan put in the place of another by changing single elements of its sets.
 *
 * Where two plans differ in the elements of some sets only, those elements are changed in the
 * sets that are in use, in one small transaction: 100 of 100,000 ranges take milliseconds
 * where a stage takes a third of a second. The sets keep their names; what each holds from
 * now on is said by a counter beside it, made in the same transaction (held.h), and the
 * stamp names the new plan. Who comes later and knows nothing of this reads the counters:
 * nl_form_as() finds the content under whatever name, nl_stage(), nl_in_force() and nl_sweep()
 * never take the set for what its name was given for.
 *
 * No packet may see what is neither the old policy nor the new one. The kernel publishes a
 * changed set in one instant (where job.in_place says so), but one set after another, and
 * a packet on its way may look twice. So it is done only where no walk of a packet through
 * the chains can look more than once into sets that change.
 */
#ifndef NL_EDIT_H
#define NL_EDIT_H

#include "nl/batch.h"

enum {
	NL_EDIT_PERCENT = 30,      /* of a set's elements, at most; a stage is cheaper above */
	NL_EDIT_ALWAYS = 64,       /* changes of a set that are never too many */
};

/* The one batch that changes what is in force from job.old to job.form, which nl_form_over()
 * has made of it; it is bound to the generation of job.have also where job.genid is 0. No sweep
 * need follow. 0, or -EOPNOTSUPP with *who saying in a few words why not: form the plan by
 * nl_form_as(), stage and swap; else as nl_stage(). */
int
nl_edit(const struct nl_job *j, struct nl_batch *out, const char **who);

/* Whether the dump's counters of changed sets are those that its stamp knows: where they are
 * not, somebody took one away or made one, and nothing that a set's name or digest says is
 * to be believed (nl_in_force() is false, a stage makes every set anew). */
bool
nl_edits_agree(const struct plan *p, const struct nl_dump *d);

#endif
