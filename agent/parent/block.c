/*
 * block: addresses that people refuse by hand for a while. The kernel ends each in its time, also
 * where the agent is dead; the list here is for people, and for the next start.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/units.h"
#include "parent/inside.h"

enum { MOST_BLOCK = 366 * 86400 };

static struct state_block *
block_find(struct parent *p, const char *address)
{
	for (uint32_t i = 0; i < p->nblock; i++)
		if (!strcmp(p->block[i].address, address))
			return &p->block[i];
	return NULL;
}

static void
blocked(void *arg, struct ipc_in *in, int err)
{
	struct op *o = arg;
	struct parent *p = o->p;
	struct state_block *b, copy = {.until = now_us(CLOCK_REALTIME) + o->seconds * 1000000,
	    .seconds = o->seconds, .boottime = now_us(CLOCK_BOOTTIME) + o->seconds * 1000000};
	const struct apply_done *d;
	const void *body;
	char text[32];

	if (!err)
		err = ipc_body(in, &apply_tell_shape[APPLY_DONE], &body);
	if (err == -ETIMEDOUT)
		op_err(o, "warning: the role apply does not answer: it is done when it does\n");
	else if (err) {
		op_fail(o, 3, "%s", strerror(-err));
		return;
	}
	d = err ? NULL : body;
	b = block_find(p, o->address);
	/* a list that was lost the role may know still; one of ours it may have ended already */
	if (d && d->err == ENOENT && o->kind == CTL_UNBLOCK && !b) {
		op_fail(o, 1, "%s is not blocked", o->address);
		return;
	}
	if (d && d->err && !(d->err == ENOENT && o->kind == CTL_UNBLOCK)) {
		op_fail(o, d->err == EINVAL ? 2 : 3, "%s%s", *d->text ? "" : "the kernel did not take it: ",
		    *d->text ? d->text : strerror((int)d->err));
		return;
	}
	if (o->kind == CTL_UNBLOCK) {
		if (b) {
			uint32_t at = (uint32_t)(b - p->block);

			*b = p->block[--p->nblock];
			/* what has come in its place may not have been told to the role */
			if (p->blocks_from > at)
				p->blocks_from = p->blocks_from > p->nblock ? p->nblock : at;
		}
		op_out(o, "%s is not blocked any more\n", o->address);
	} else {
		if (!b) {
			/* it has been told to the role just now */
			p->blocks_from += p->blocks_from == p->nblock;
			b = &p->block[p->nblock++];
		}
		snprintf(copy.address, sizeof copy.address, "%s", o->address);
		snprintf(copy.boot, sizeof copy.boot, "%s", p->boot);
		*b = copy;
		op_out(o, "%s is blocked for %s\n", o->address, units_span(o->seconds, text));
	}
	if (!d)
		op_settle(p);
	err = state_blocks_put(p->state, p->block, p->nblock);
	if (err)
		op_err(o, "warning: it cannot be written down (%s): a restart of the agent forgets it\n",
		    strerror(-err));
	log_say(LOG_IS_NOTICE, (struct log_field[]){{"ADDRESS", o->address}, {NULL, NULL}},
	    "%s is %s by uid %u", o->address, o->kind == CTL_UNBLOCK ? "unblocked" : "blocked", o->uid);
	op_end(o, 0);
}

static void
block(struct op *o, uint64_t seconds)
{
	struct apply_block b = {.address = o->address, .seconds = seconds};
	int err = ask_apply(o->p, APPLY_BLOCK, &b, -1, APPLY_DONE, ASK_US, blocked, o);

	if (err)
		op_fail(o, 3, "the role apply cannot be asked: %s", strerror(-err));
}

void
run_block(struct op *o)
{
	struct parent *p = o->p;

	const char *why;

	if (!*o->address)
		op_fail(o, 2, "which address?");
	else if (!block_address(o->address, &why))
		op_fail(o, 2, "%s: %s", o->address, why);
	else if (o->seconds == 0 || o->seconds > MOST_BLOCK)
		op_fail(o, 2, "an address is blocked for 1 s to 366 days");
	else if (p->nblock == STATE_BLOCKS && !block_find(p, o->address))
		op_fail(o, 1, "%d addresses are blocked already: the policy is the place for more",
		    STATE_BLOCKS);
	else
		block(o, o->seconds);
}

void
run_unblock(struct op *o)
{
	const char *why;

	if (!block_address(o->address, &why))
		op_fail(o, 2, "%s: %s", o->address, why);
	else
		block(o, 0);
}
