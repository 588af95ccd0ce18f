/*
 * element: a set of a plan and its elements as attributes. Private to lib/nl.
 */
#ifndef NL_ELEMENT_H
#define NL_ELEMENT_H

#include "base/buf.h"
#include "nl/form.h"

/* The elements of a set, message after message. */
struct element_run {
	const struct nl_form *form;
	uint32_t set;
	size_t at;                 /* the next element */
};

/* Adds the attributes of a NEWSET message; id is unique in the batch. */
void
element_set(struct buf *b, const struct nl_form *f, uint32_t set, uint32_t id);

/* Adds the attributes of a NEWSETELEM message with as many elements, from run->at on, as
 * one message holds, and moves run->at behind them. */
void
element_put(struct buf *b, struct element_run *run, uint32_t id);

#endif
