/*
 * element: a set of a plan and its elements as attributes. Private to lib/nl.
 */
#ifndef NL_ELEMENT_H
#define NL_ELEMENT_H

#include <stdbool.h>

#include "base/buf.h"
#include "nl/form.h"

/* The elements of a set, message after message. */
struct element_run {
	const struct nl_form *form;
	uint32_t set;
	size_t at;                 /* the next element */
	const size_t *pick;        /* NULL: all; else the numbers of npick elements, and `at`
	                              counts these */
	size_t npick;
	bool bare;                 /* keys alone, as a deletion wants them */
};

/* Whether nothing is left. */
bool
element_done(const struct element_run *run);

/* Adds the attributes of a NEWSET message; id is unique in the batch. */
void
element_set(struct buf *b, const struct nl_form *f, uint32_t set, uint32_t id);

/* Adds the attributes of a NEWSETELEM or DELSETELEM message with as many elements, from
 * run->at on, as one message holds, and moves run->at behind them. Both ends of a range stand
 * side by side in one message. id 0: the set is not of this batch. */
void
element_put(struct buf *b, struct element_run *run, uint32_t id);

#endif
