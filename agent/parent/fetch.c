/*
 * fetch: a generation of the history, by all means that it leaves.
 *
 * Its plan is what was in force. Where that is damaged, or of a format that this agent cannot read, its
 * text is compiled again. Where that fails too, the newest good generation before it takes its place, and
 * that is said loudly. What nobody has applied here is never taken.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "parent/inside.h"

static void
next(struct op *o, const char *why);

/* Made again: it is written back, so that the next start finds it whole. */
static void
made(struct op *o)
{
	const uint8_t *plan;
	size_t n;
	int err;

	if (*o->why) {
		char why[sizeof o->why];

		snprintf(why, sizeof why, "%s", o->why);
		next(o, why);
		return;
	}
	err = ipc_map(o->plan, APPLY_MOST_PLAN, &plan, &n);
	if (!err) {
		err = state_plan_put(o->p->state, STATE_IN_HISTORY, o->target, plan, n, &o->about);
		ipc_unmap(plan, n);
	}
	if (err)
		log_say(LOG_IS_WARNING, NULL, "the plan of generation %u cannot be written: %s", o->target,
		    strerror(-err));
	units_look(o->p, &o->about);
	o->ready(o);
}

static void
again(struct op *o, const char *why)
{
	log_say(LOG_IS_WARNING, NULL, "generation %u: %s: its text is compiled again", o->target, why);
	op_again(o, made);
}

static void
loaded(struct op *o, int err)
{
	if (!err) {
		units_look(o->p, &o->about);
		o->ready(o);
	} else if (err == -EUCLEAN) {
		again(o, state_error(err));
	} else {
		next(o, state_error(err));
	}
}

static void
next(struct op *o, const char *why)
{
	uint32_t list[STATE_HISTORY + 8], n, bad = o->target;

	log_say(LOG_IS_ERROR, NULL, "generation %u cannot be put in force: %s", bad, why);
	n = state_list(o->p->state, STATE_IN_HISTORY, list, STATE_HISTORY + 8);
	while (n && (list[n - 1] >= bad || !was_good(o->p, list[n - 1])))
		n--;
	o->target = n ? list[n - 1] : 0;
	o->why[0] = '\0';
	o->made_again = false;
	if (!o->target) {
		o->ready(o);
		return;
	}
	log_say(LOG_IS_ERROR, NULL, "generation %u takes the place of %u", o->target, o->wanted);
	loaded(o, op_load(o, STATE_IN_HISTORY, o->target));
}

void
op_fetch(struct op *o, op_fn *ready)
{
	o->ready = ready;
	o->wanted = o->target;
	o->made_again = false;
	loaded(o, op_load(o, STATE_IN_HISTORY, o->target));
}

bool
op_unreadable(struct op *o)
{
	if (o->done.err != EBADMSG && o->done.err != EPROTO)
		return false;
	if (!o->made_again && o->bundle >= 0)
		again(o, "the role apply cannot read its plan");
	else
		next(o, "the role apply cannot read its plan");
	return true;
}
