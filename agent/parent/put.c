/*
 * put: what changes the rules, or what is remembered of them.
 *
 * The order is always the same: all that needs room on the disk first (a generation's folder,
 * the next `current` beside the present one, `pending`), then the kernel, then renames. Whoever is
 * killed between two steps leaves the old, or the new, never neither.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "parent/inside.h"

enum { MOST_CONFIRM = 30 * 86400, MOST_PAUSE = 86400 };

void
force_set(struct parent *p, uint32_t number, struct state_about *about)
{
	state_about_free(&p->force.about);
	p->force.number = number;
	if (about) {
		p->force.about = *about;
		*about = (struct state_about){0};
	}
	p->force.since = now_us(CLOCK_REALTIME);
	p->trouble[0] = '\0';
	p->counted_at = 0;
	if (number) {
		foreign_soon(p, TICK_US);
		reports_mended(p, number);
	}
	mail_follow(p);
	notify_status(p);
}

char *
generation_text(uint32_t n, char out[32])
{
	if (n)
		snprintf(out, 32, "generation %u is", n);
	else
		snprintf(out, 32, "no rules are");
	return out;
}

bool
was_good(struct parent *p, uint32_t n)
{
	char ended[128];

	state_how_ended(p->state, n, ended, sizeof ended);
	/* in force, confirmed, replaced by, taken down by; not: reverted, rolled back, waiting, and
	   nothing where a death came before the kernel had it */
	return n == p->current || (*ended && strncmp(ended, "reverted", 8) != 0 &&
	    strncmp(ended, "rolled back", 11) != 0 && strncmp(ended, "waiting", 7) != 0);
}

/* ---- a confirm that is waited for --------------------------------------------------------- */

static int
on_deadline(sd_event_source *s, uint64_t usec, void *arg)
{
	struct parent *p = arg;
	struct op *o;

	(void)s, (void)usec;
	p->revert_due = true;
	o = op_own(p, OP_REVERT);  /* where another changes something, its end begins this */
	if (o)
		op_begin(o);
	return 0;
}

void
revert_arm(struct parent *p)
{
	p->revert = sd_event_source_disable_unref(p->revert);
	if (p->waiting && sd_event_add_time(p->ev, &p->revert, CLOCK_BOOTTIME, p->pending.boottime, 1000,
	    on_deadline, p) < 0) {
		/* without a timer nothing would revert it: at once, then */
		p->revert_due = true;
	}
}

/* The wait is over: whether by a confirm or by a revert. */
static void
wait_over(struct parent *p)
{
	p->waiting = false;
	p->revert_due = false;
	p->revert = sd_event_source_disable_unref(p->revert);
}

static void
prune(struct parent *p)
{
	uint32_t keep[] = {p->current, p->force.number, p->waiting ? p->pending.now : 0,
	    p->waiting ? p->pending.previous : 0};

	state_prune(p->state, keep, sizeof keep / sizeof keep[0]);
}

/* ---- putting a plan in force --------------------------------------------------------------- */

/* Maps the plan and the bundle and adds a generation (or a saved plan) of them. 0 or -errno. */
static int
add(struct op *o, enum state_kind k, uint32_t *number)
{
	const uint8_t *plan = NULL, *bundle = NULL;
	size_t nplan = 0, nbundle = 0;
	int err;

	o->about.uid = o->uid;
	o->about.pid = o->pid;
	o->about.when = now_us(CLOCK_REALTIME);
	o->about.kernel = o->kernel;
	snprintf(o->about.boot, sizeof o->about.boot, "%s", o->p->boot);
	if (o->p->force.number)
		memcpy(o->about.base, o->p->force.about.digest, STATE_DIGEST);
	else
		memset(o->about.base, 0, STATE_DIGEST);
	err = ipc_map(o->plan, APPLY_MOST_PLAN, &plan, &nplan);
	if (!err && o->bundle >= 0)
		err = ipc_map(o->bundle, STATE_BULK, &bundle, &nbundle);
	if (!err)
		err = state_add(o->p->state, k, plan, nplan, bundle, nbundle, &o->about, number);
	if (plan)
		ipc_unmap(plan, nplan);
	if (bundle)
		ipc_unmap(bundle, nbundle);
	return err;
}

static const char *
why_put(struct op *o)
{
	static char text[700];

	if (o->done.err == ERESTART || o->done.err == ESTALE)
		snprintf(text, sizeof text, "the kernel's rules have changed since%s%s",
		    *o->said ? ": " : "", o->said);
	else if (o->done.err == EPIPE)
		snprintf(text, sizeof text, "%s", o->said);
	else
		snprintf(text, sizeof text, "%s%s%s", strerror((int)o->done.err), *o->said ? ": " : "", o->said);
	return text;
}

/* The role apply may have put it in force, or do so yet. All that is on the disk stays; once the role
 * answers, what is to be in force is put in force again: that before, or, until its deadline, this. */
static void
not_known(struct op *o)
{
	struct parent *p = o->p;

	if (o->seconds) {
		(void)state_ended(p->state, o->target, "waiting to be confirmed");
		p->waiting = true;
		revert_arm(p);
	}
	op_settle(p);
	if (o->seconds)
		op_fail(o, 3, "%s: whether generation %u is in force is not known; what "
		    "comes of it is reverted at the deadline unless confirmed", o->said, o->target);
	else if (p->current)
		op_fail(o, 3, "%s: whether it was done is not known; generation %u is put in "
		    "force again when it does", o->said, p->current);
	else
		op_fail(o, 3, "%s: whether it was done is not known; rules are taken down "
		    "again when it does", o->said);
}

static void
go_to_made(struct op *o);
static void
rolled_away(struct parent *p, const struct op *o);

/* The kernel has answered. */
static void
was_put(struct op *o)
{
	struct parent *p = o->p;
	bool waits = o->seconds != 0;
	char hex[17], text[64], which[32];
	int err;

	if (o->unknown) {
		not_known(o);
		return;
	}
	if (o->done.err) {
		if (waits)
			(void)state_pending_drop(p->state);
		if (o->target != p->current)
			state_drop(p->state, STATE_IN_HISTORY, o->target);
		/* one of an older agent's, to go back to */
		if (o->done.err == EBADMSG && o->kind == CTL_ROLLBACK && !o->made_again && o->bundle >= 0) {
			op_again(o, go_to_made);
			return;
		}
		log_say(LOG_IS_ERROR, (struct log_field[]){{"REASON", why_put(o)}, {NULL, NULL}},
		    "%s failed; what was in force stays", o->row->name);
		if (o->done.err == ERESTART || o->done.err == ESTALE)
			op_fail(o, 1, "%s; plan again", why_put(o));
		else
			op_fail(o, 3, "%s; what was in force stays", why_put(o));
		return;
	}
	if (waits) {
		struct state_pending x = p->pending;

		/* the time that sets took to be filled is not the administrator's */
		x.realtime = now_us(CLOCK_REALTIME) + o->seconds * 1000000;
		x.boottime = now_us(CLOCK_BOOTTIME) + o->seconds * 1000000;
		if (!state_pending_put(p->state, &x))
			p->pending = x;
		p->waiting = true;
		revert_arm(p);
	} else {
		err = state_commit(p->state);
		if (err)
			log_say(LOG_IS_ERROR, NULL, "generation %u is in force, but a restart would bring back "
			    "%u: %s", o->target, p->current, strerror(-err));
		if (p->current && p->current != o->target) {
			snprintf(text, sizeof text, "replaced by %u", o->target);
			(void)state_ended(p->state, p->current, text);
			if (o->kind == CTL_ROLLBACK)
				rolled_away(p, o);
		}
		p->current = o->target;
		p->removed = false;
	}
	(void)state_ended(p->state, o->target, waits ? "waiting to be confirmed" : "in force");
	hex_of(o->about.digest, hex);
	op_out(o, "generation %u is in force (digest %s, %u change%s, staged in %.1f ms, swapped in %.1f ms)\n",
	    o->target, hex, o->done.changes, o->done.changes == 1 ? "" : "s", (double)o->done.stage_us / 1000,
	    (double)o->done.swap_us / 1000);
	if (o->about.observe)
		op_out(o, "MODE OBSERVE: nothing is refused, only counted and logged\n");
	if (waits)
		op_out(o, "unless confirmed, %s in force again in %s: mailreevectl confirm\n",
		    generation_text(p->pending.previous, which), units_span(o->seconds, text));
	log_say(LOG_IS_NOTICE, (struct log_field[]){{"DIGEST", hex}, {"POLICY", o->about.policy},
	    {"POINT", o->about.point}, {NULL, NULL}}, "generation %u is in force: %s by uid %u%s",
	    o->target, o->about.how, o->uid, waits ? ", to be confirmed" : "");
	if (o->kind == CTL_APPLY && o->number)
		state_drop(p->state, STATE_IN_PLANS, o->number);
	force_set(p, o->target, &o->about);
	prune(p);
	op_end(o, 0);
}

/* Writes all that must be on the disk before the kernel is touched. */
static void
put(struct op *o)
{
	struct parent *p = o->p;
	const char *what = "the new generation";
	int err;

	if (*o->cut && !(o->flags & CTL_FORCE)) {
		op_fail(o, 1, "refused: it would cut the connection that you are connected by (%s); "
		    "--force does it all the same", o->cut);
		return;
	}
	if (*o->cut)
		op_err(o, "warning: this cuts the connection that you are connected by (%s)\n", o->cut);
	err = add(o, STATE_IN_HISTORY, &o->target);
	if (!err && p->force.number && !o->seconds && !p->waiting && p->current == p->force.number &&
	    !memcmp(o->about.plan_sum, p->force.about.plan_sum, STATE_DIGEST) &&
	    !memcmp(o->about.bundle_sum, p->force.about.bundle_sum, STATE_DIGEST)) {
		/* what is in force already keeps its number; the kernel is asked all the same */
		state_drop(p->state, STATE_IN_HISTORY, o->target);
		o->target = p->current;
	}
	if (!err && o->seconds) {
		what = "the deadline";
		p->pending = (struct state_pending){.now = o->target, .previous = p->current,
		    .realtime = now_us(CLOCK_REALTIME) + o->seconds * 1000000,
		    .boottime = now_us(CLOCK_BOOTTIME) + o->seconds * 1000000};
		snprintf(p->pending.boot, sizeof p->pending.boot, "%s", p->boot);
		err = state_pending_put(p->state, &p->pending);
	} else if (!err) {
		what = "what is to be in force";
		err = state_stage(p->state, o->target);
	}
	if (err) {
		if (o->target && o->target != p->current)
			state_drop(p->state, STATE_IN_HISTORY, o->target);
		op_fail(o, 3, "%s cannot be written: %s; nothing was changed", what, strerror(-err));
		return;
	}
	op_put(o, was_put);
}

static void
name_then_put(struct op *o)
{
	op_names(o, put);
}

/* ---- apply -------------------------------------------------------------------------------- */

/* A saved plan was compiled again from its bundle, for what it means to this connection. */
static void
saved_again(struct op *o)
{
	struct state_about a;
	int err = state_about(o->p->state, STATE_IN_PLANS, o->number, &a);

	if (err || memcmp(a.digest, o->about.digest, STATE_DIGEST) != 0) {
		if (!err)
			state_about_free(&a);
		op_fail(o, 1, "the saved plan %u is not what its policy compiles to now; plan again",
		    o->number);
		return;
	}
	state_about_free(&a);
	name_then_put(o);
}

static void
apply_saved(struct op *o)
{
	struct parent *p = o->p;
	static const uint8_t none[STATE_DIGEST];
	int err = op_load(o, STATE_IN_PLANS, o->number);

	/* it is compiled again in any case */
	if (err && err != -EUCLEAN) {
		op_fail(o, 1, "there is no saved plan %u: %s", o->number, err == -ENOENT ? "plan again" :
		    state_error(err));
		return;
	}
	if (strcmp(o->about.boot, p->boot) != 0) {
		op_fail(o, 1, "the saved plan %u is stale: the machine was started anew since; plan again",
		    o->number);
		return;
	}
	if (memcmp(o->about.base, p->force.number ? p->force.about.digest : none, STATE_DIGEST) != 0) {
		op_fail(o, 1, "the saved plan %u is stale: something else is in force now; plan again",
		    o->number);
		return;
	}
	o->want_gen = o->about.kernel;
	if (o->bundle >= 0)
		op_compile(o, saved_again);
	else
		name_then_put(o);
}

void
run_apply(struct op *o)
{
	struct parent *p = o->p;

	if (p->waiting) {
		op_fail(o, 1, "generation %u waits to be confirmed: confirm it, or roll it back, first",
		    p->pending.now);
		return;
	}
	if (o->seconds > MOST_CONFIRM) {
		op_fail(o, 2, "a confirm is waited for 30 days at most");
		return;
	}
	if (o->internal)
		o->seconds = 0;
	o->cut = strdup("");
	if (!o->cut)
		op_fail(o, 3, "%s", strerror(ENOMEM));
	else if (o->number)
		apply_saved(o);
	else
		op_compile(o, name_then_put);
}

/* ---- confirm, rollback, revert --------------------------------------------------------------- */

void
run_confirm(struct op *o)
{
	struct parent *p = o->p;
	uint32_t was = p->current, now = p->pending.now;
	char text[64];
	int err;

	if (!p->waiting) {
		op_fail(o, 1, "nothing waits to be confirmed");
		return;
	}
	if (p->force.number != now) {
		op_fail(o, 1, "generation %u is not in force: %s", now, p->trouble);
		return;
	}
	if (p->revert_due || now_us(CLOCK_BOOTTIME) >= p->pending.boottime) {
		op_fail(o, 1, "too late: generation %u is being reverted", now);
		return;
	}
	err = state_stage(p->state, now);
	if (!err)
		err = state_commit(p->state);
	if (err) {
		op_fail(o, 3, "it cannot be written: %s; generation %u waits still", strerror(-err), now);
		return;
	}
	p->current = now;
	p->removed = false;
	wait_over(p);
	err = state_pending_drop(p->state);
	if (err)
		log_say(LOG_IS_WARNING, NULL, "pending cannot be removed: %s", strerror(-err));
	(void)state_ended(p->state, now, "confirmed");
	if (was) {
		snprintf(text, sizeof text, "replaced by %u", now);
		(void)state_ended(p->state, was, text);
	}
	log_say(LOG_IS_NOTICE, NULL, "generation %u is confirmed by uid %u", now, o->uid);
	op_out(o, "generation %u is confirmed\n", now);
	prune(p);
	notify_status(p);
	op_end(o, 0);
}

static int
on_again(sd_event_source *s, uint64_t usec, void *arg)
{
	struct parent *p = arg;

	p->revert = sd_event_source_disable_unref(p->revert);
	return on_deadline(s, usec, arg);
}

static void
reverted(struct op *o)
{
	struct parent *p = o->p;
	uint32_t bad = p->pending.now, back = o->target;
	uint64_t late = now_us(CLOCK_BOOTTIME);
	char which[32];
	int err;

	if (back && op_unreadable(o))
		return;
	if (o->done.err) {
		snprintf(p->trouble, sizeof p->trouble, "generation %u cannot be reverted: %s", bad,
		    why_put(o));
		p->revert_due = false;
		p->revert = sd_event_source_disable_unref(p->revert);
		if (sd_event_add_time_relative(p->ev, &p->revert, CLOCK_BOOTTIME, TICK_US / 2, 1000, on_again,
		    p) < 0)
			parent_end(p, 1);
		op_fail(o, 3, "%s; tried again", p->trouble);
		return;
	}
	late = late > p->pending.boottime ? late - p->pending.boottime : 0;
	wait_over(p);
	p->n.reverts++;
	/* on a full disk it stays, and a restart reverts once more, to the same */
	err = back ? 0 : state_stage(p->state, 0);
	if (!err && !back)
		err = state_commit(p->state);
	if (!err)
		err = state_pending_drop(p->state);
	if (err)
		log_say(LOG_IS_WARNING, NULL, "pending cannot be removed: %s", strerror(-err));
	p->removed = !back;
	p->current = back;
	(void)state_ended(p->state, bad, o->internal ? "reverted: not confirmed in time" : "rolled back");
	generation_text(back, which);
	log_say(LOG_IS_WARNING, NULL, "generation %u was %s: %s in force again", bad,
	    o->internal ? "not confirmed in time" : "rolled back", which);
	op_out(o, "generation %u is reverted; %s in force again\n", bad, which);
	if (o->internal)
		op_out(o, "the deadline was %" PRIu64 " ms ago\n", late / 1000);
	force_set(p, back, back ? &o->about : NULL);
	op_end(o, 0);
}

static void
back_put(struct op *o)
{
	if (o->target) {
		op_put(o, reverted);
		return;
	}
	o->done = (struct apply_done){.err = EBADMSG};
	snprintf(o->said, sizeof o->said, "no earlier generation can be read");
	o->made_again = o->unknown = false;
	reverted(o);
}

/* Back to the generation before the one that waits. */
static void
go_back(struct op *o)
{
	o->target = o->p->pending.previous;
	if (!o->target) {
		op_take_down(o, reverted);
		return;
	}
	op_fetch(o, back_put);
}

void
run_revert(struct op *o)
{
	if (!o->p->waiting) {
		o->p->revert_due = false;
		op_end(o, 0);
		return;
	}
	go_back(o);
}

/* Its plan was damaged, or cannot be read. */
static void
go_to_made(struct op *o)
{
	if (*o->why)
		op_fail(o, 3, "the plan of that generation cannot be read, and its text cannot be compiled again: %s",
		    o->why);
	else
		name_then_put(o);
}

/* Back to an older generation, o->target, as a new one. */
static void
go_to(struct op *o)
{
	char how[64];
	int err = op_load(o, STATE_IN_HISTORY, o->target);

	o->soft = false;
	snprintf(how, sizeof how, "rollback to %u", o->target);
	free(o->about.how);
	o->about.how = strdup(how);
	if (!o->cut)
		o->cut = strdup("");
	if ((!err || err == -EUCLEAN) && (!o->about.how || !o->cut))
		err = -ENOMEM;
	if (err == -EUCLEAN)
		op_again(o, go_to_made);
	else if (err)
		op_fail(o, 3, "generation %u cannot be read: %s", o->target, state_error(err));
	else
		name_then_put(o);
}

/* The generation that `how` (state.h) says it went back to; 0: it is no rollback. */
static uint32_t
rolled_to(const char *how)
{
	static const char word[] = "rollback to ";
	unsigned long n;

	if (!how || strncmp(how, word, sizeof word - 1) != 0)
		return 0;
	n = strtoul(how + sizeof word - 1, NULL, 10);
	return n > UINT32_MAX ? 0 : (uint32_t)n;
}

/* Where the present generation comes from: one that a rollback made is the old one that it went back to. */
static uint32_t
lineage(struct parent *p)
{
	uint32_t n = p->current, to;
	struct state_about a;

	while (n && !state_about(p->state, STATE_IN_HISTORY, n, &a)) {
		bool back = (to = rolled_to(a.how)) != 0 && to < n;

		state_about_free(&a);
		if (!back)
			break;
		n = to;
	}
	return n;
}

/* Those between are no generations to go back to any more. */
static void
rolled_away(struct parent *p, const struct op *o)
{
	uint32_t list[STATE_HISTORY + 8], to;
	uint32_t n = state_list(p->state, STATE_IN_HISTORY, list, STATE_HISTORY + 8);
	char text[64];

	if (!(to = rolled_to(o->about.how)))
		return;
	snprintf(text, sizeof text, "rolled back by %u", o->target);
	for (uint32_t i = 0; i < n; i++)
		if (list[i] > to && list[i] < o->target && was_good(p, list[i]))
			(void)state_ended(p->state, list[i], text);
}

void
run_rollback(struct op *o)
{
	struct parent *p = o->p;
	uint32_t list[STATE_HISTORY + 8], n, back = o->number ? o->number : 1, seen = 0, i, from;
	int err;

	if (p->waiting) {
		if (o->number)
			op_fail(o, 1, "generation %u waits to be confirmed: confirm it, or roll it back without a "
			    "number, first", p->pending.now);
		else
			go_back(o);
		return;
	}
	if (back >= STATE_HISTORY) {
		op_fail(o, 2, "%d generations are kept: %d back at most", STATE_HISTORY, STATE_HISTORY - 1);
		return;
	}
	n = state_list(p->state, STATE_IN_HISTORY, list, STATE_HISTORY + 8);
	from = lineage(p);
	for (i = n; i > 0 && seen < back; i--)
		if ((!from || list[i - 1] < from) && was_good(p, list[i - 1])) {
			o->target = list[i - 1];
			seen++;
		}
	if (seen < back) {
		if (seen)
			op_fail(o, 1, "there %s only %u generation%s before the present one: mailreevectl history",
			    seen == 1 ? "is" : "are", seen, seen == 1 ? "" : "s");
		else
			op_fail(o, 1, "there is no generation before the present one: mailreevectl history");
		return;
	}
	err = op_load(o, STATE_IN_HISTORY, o->target);
	if (err && err != -EUCLEAN) {
		op_fail(o, 3, "generation %u cannot be read: %s", o->target, state_error(err));
		return;
	}
	o->seconds = 0;
	o->soft = true;
	/* its plan is taken as it was; its text tells whether it would cut the connection */
	if (o->bundle >= 0 && *o->connection)
		op_compile(o, go_to);
	else
		go_to(o);
}

/* ---- pause, remove ------------------------------------------------------------------------ */

static void
paused(void *arg, struct ipc_in *in, int err)
{
	struct op *o = arg;
	char text[32];

	err = done_error(in, err);
	if (err) {
		op_fail(o, 3, "%s", strerror(-err));
		return;
	}
	o->p->paused_until = o->seconds ? now_us(CLOCK_REALTIME) + o->seconds * 1000000 : 0;
	log_say(LOG_IS_WARNING, NULL, "healing %s by uid %u", o->seconds ? "is paused" : "goes on", o->uid);
	if (o->seconds)
		op_out(o, "what others change is not healed for %s\n", units_span(o->seconds, text));
	else
		op_out(o, "what others change is healed again\n");
	op_end(o, 0);
}

void
run_pause(struct op *o)
{
	struct apply_pause b = {.seconds = o->seconds};
	int err;

	if (o->seconds > MOST_PAUSE) {
		op_fail(o, 2, "healing is paused for a day at most");
		return;
	}
	err = ask_apply(o->p, APPLY_PAUSE, &b, -1, APPLY_DONE, ASK_US, paused, o);
	if (err)
		op_fail(o, 3, "the role apply cannot be asked: %s", strerror(-err));
}

static void
taken_down(struct op *o)
{
	struct parent *p = o->p;
	char text[64];
	int err;

	if (o->unknown) {
		not_known(o);
		return;
	}
	if (o->done.err) {
		op_fail(o, 3, "%s", why_put(o));
		return;
	}
	err = state_commit(p->state);
	if (err)
		op_err(o, "warning: it cannot be written down (%s): a restart brings the rules back\n",
		    strerror(-err));
	if (p->waiting) {
		wait_over(p);
		(void)state_pending_drop(p->state);
		(void)state_ended(p->state, p->pending.now, "reverted: taken down before it was confirmed");
	}
	snprintf(text, sizeof text, "taken down by uid %u", o->uid);
	if (p->current)
		(void)state_ended(p->state, p->current, text);
	p->current = 0;
	p->removed = true;
	p->nblock = 0;
	p->blocks_lost = state_blocks_lost(p->state, true);
	(void)state_blocks_put(p->state, p->block, 0);
	force_set(p, 0, NULL);
	log_say(LOG_IS_WARNING, NULL, "all rules were taken down by uid %u", o->uid);
	op_out(o, "%s; %s until `mailreevectl apply`\n", *o->said ? o->said : "all rules of mailreeve are taken down",
	    *o->said ? "none are put in force" : "they stay so");
	op_end(o, 0);
}

void
run_remove(struct op *o)
{
	int err = state_stage(o->p->state, 0);

	o->seconds = 0;
	if (err && !(o->flags & CTL_FORCE))
		op_fail(o, 3, "it cannot be written down: %s; nothing was changed; --force takes the rules down all the "
		    "same, until the agent is started anew", strerror(-err));
	else
		op_take_down(o, taken_down);
}
