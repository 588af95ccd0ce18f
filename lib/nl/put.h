/*
 * put: the messages of a batch, object by object. Private to lib/nl.
 */
#ifndef NL_PUT_H
#define NL_PUT_H

#include "nl/batch.h"

/* A batch being written. */
struct put {
	const struct nl_job *j;
	const struct nl_form *f;
	const struct plan *p;
	struct nl_batch *b, *first; /* being written; the head of all */
	const char *who;
	size_t last;               /* where the last object's message begins */
	uint32_t set_id, genid;
	int err;
};

enum { PUT_SLACK = 4096 };         /* for heads and the batch's end */

/* Begins a batch, and ends it: 0, or the first error; then it is empty. */
struct put
put_start(const struct nl_job *j, struct nl_batch *b);
int
put_end(struct put *o, const char **who);

/* Between objects of a stage: a new transaction where the present one would grow too
 * large by n bytes more. */
void
put_part(struct put *o, size_t n);

/* The generation behind a commit at g. */
uint32_t
put_gen_next(uint32_t g);

/* Begins a message; gives the place for wire_msg_end(). */
size_t
put_begin(struct put *o, int type, uint16_t flags, struct nl_item item);

void
put_table(struct put *o);
void
put_counter(struct put *o, const char *name, const struct buf *udata);
void
put_delete_counter(struct put *o, const char *name);
/* One of any kind: somebody's quota in our table. */
void
put_delete_object(struct put *o, const char *name, uint32_t type);

/* A set and its elements; gives its ID in the batch. */
uint32_t
put_set(struct put *o, uint32_t i);
void
put_delete_set(struct put *o, const char *name);

/* Elements of a set that is there: adds or deletes what the run says. The set's name is
 * that of the form. */
struct element_run;
void
put_elements(struct put *o, struct element_run *run, bool add);

/* The stamp of the form's plan; what the kernel has instead of it goes. `sum`: of the counters
 * of changed sets (held.h). The second keeps the plan that the present stamp tells. */
struct held;
void
put_stamp(struct put *o, const struct held *h, const uint8_t sum[NL_DIGEST]);
void
put_stamp_again(struct put *o, const struct held *h, const uint8_t sum[NL_DIGEST]);

/* A chain without its rules; one rule with its anonymous sets; all of a chain's. */
void
put_chain(struct put *o, uint32_t c);
void
put_rule(struct put *o, uint32_t c, uint32_t k);
void
put_rules(struct put *o, uint32_t c);
/* Deletes all rules of a chain; a chain, which must be empty and called by none. */
void
put_flush(struct put *o, const char *name);
void
put_delete_chain(struct put *o, const char *name);

/* The kernel's words for a hook (NF_INET_*) and a type. */
uint32_t
put_hook(enum packet_hook h);
const char *
put_chain_type(enum plan_chain_type t);

#endif
