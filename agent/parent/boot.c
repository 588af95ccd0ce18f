/*
 * boot: what is put in force when the agent starts.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "addr/addr.h"
#include "parent/inside.h"

/* The rules of an agent that dies are its own until its role apply has ended: that is a matter of milliseconds. */
enum { WAIT_LEAST = TICK_US / 2, WAIT_OWNED = TICK_US / 20, WAIT_MOST = 60 * TICK_US, LONGEST_BLOCK = 366 * 86400 };

void
parent_ready(struct parent *p)
{
	if (p->ready)
		return;
	p->ready = true;
	textfile_write(p);
	notify_ready(p);
}

/* Says that it is ready once the role apply has answered for each kept block. */
static void
ready_with_blocks(struct parent *p)
{
	p->ready_due = p->blocks_asked || p->blocks_from < p->nblock;
	if (!p->ready_due)
		parent_ready(p);
}

static void
block_told(void *arg, struct ipc_in *in, int err)
{
	struct parent *p = arg;

	p->blocks_asked--;
	err = done_error(in, err);
	if (err)
		log_say(LOG_IS_WARNING, NULL, "a blocked address could not be blocked again: %s",
		    strerror(-err));
	if (p->force.number && p->blocks_from < p->nblock)
		blocks_send(p);
	if (p->ready_due)
		ready_with_blocks(p);
}

bool
block_address(char address[64], const char **why)
{
	struct addr_prefix x;
	enum addr_wrong w = addr_prefix_read(address, strlen(address), &x, NULL);

	if (w != ADDR_OK) {
		*why = addr_wrong_text(w);
		return false;
	}
	addr_prefix_write(x, address);
	return true;
}

uint64_t
block_until(const struct state_block *b)
{
	return now_us(CLOCK_REALTIME) + b->boottime - now_us(CLOCK_BOOTTIME);
}

/* The date may have been set, and may be wrong before the network has told it: a block never gets longer
 * than it was made. */
void
blocks_load(struct parent *p)
{
	uint64_t now = now_us(CLOCK_REALTIME), here = now_us(CLOCK_BOOTTIME);
	uint32_t all = state_blocks(p->state, p->block), n = 0;
	const char *why;

	p->blocks_lost = state_blocks_lost(p->state, false);
	for (uint32_t i = 0; i < all; i++) {
		struct state_block b = p->block[i];
		uint64_t most = (b.seconds ? b.seconds : LONGEST_BLOCK) * 1000000, left;

		if (*b.boot && !strcmp(b.boot, p->boot))
			left = b.boottime > here ? b.boottime - here : 0;
		else
			left = b.until > now ? b.until - now : 0;
		if (left > most)
			left = most;
		if (!left || !block_address(b.address, &why))
			continue;
		b.boottime = here + left;
		b.until = now + left;
		if (!b.seconds)
			b.seconds = left / 1000000 + 1;
		snprintf(b.boot, sizeof b.boot, "%s", p->boot);
		p->block[n++] = b;
	}
	p->nblock = n;
	if (all)
		(void)state_blocks_put(p->state, p->block, n);
}

static void
block_ended(void *arg, struct ipc_in *in, int err)
{
	(void)arg;
	err = done_error(in, err);
	/* by its own clock it may have ended it already */
	if (err && err != -ENOENT)
		log_say(LOG_IS_WARNING, NULL, "a block whose time is up could not be ended: %s", strerror(-err));
}

void
blocks_expire(struct parent *p)
{
	uint64_t now = now_us(CLOCK_BOOTTIME);
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->nblock; i++) {
		struct apply_block b = {.address = p->block[i].address};

		if (p->block[i].boottime > now ||
		    ask_apply(p, APPLY_BLOCK, &b, -1, APPLY_DONE, ASK_US, block_ended, p))
			p->block[n++] = p->block[i];
		else if (p->blocks_from > n)
			p->blocks_from--;
	}
	if (n == p->nblock)
		return;
	p->nblock = n;
	(void)state_blocks_put(p->state, p->block, n);
}

/* Those whose time is not up are told again; a few at a time, as the channel takes them. */
void
blocks_send(struct parent *p)
{
	uint64_t now = now_us(CLOCK_BOOTTIME);

	for (uint32_t i = p->blocks_from; i < p->nblock; i++) {
		struct apply_block b = {.address = p->block[i].address};
		int err;

		if (p->block[i].boottime <= now)
			continue;
		/* others have questions too */
		if (p->blocks_asked >= MOST_ASKS / 2) {
			p->blocks_from = i;
			return;
		}
		b.seconds = (p->block[i].boottime - now + 999999) / 1000000;
		err = ask_apply(p, APPLY_BLOCK, &b, -1, APPLY_DONE, ASK_US, block_told, p);
		if (err) {
			p->blocks_from = i;
			return;
		}
		p->blocks_asked++;
	}
	p->blocks_from = p->nblock;
}

static void
paused_again(void *arg, struct ipc_in *in, int err)
{
	struct parent *p = arg;

	(void)in;
	if (err)
		p->paused_until = 0;
}

/* It may be another process that is to keep it. */
static void
pause_again(struct parent *p)
{
	uint64_t now = now_us(CLOCK_REALTIME);
	struct apply_pause b = {.seconds = p->paused_until > now ? (p->paused_until - now) / 1000000 + 1 : 0};

	if (b.seconds && ask_apply(p, APPLY_PAUSE, &b, -1, APPLY_DONE, ASK_US, paused_again, p))
		p->paused_until = 0;
}

void
boot_try(struct parent *p)
{
	struct op *o;

	if (p->boot_at && p->apply.chan >= 0 && now_us(CLOCK_MONOTONIC) >= p->boot_at && (o = op_own(p, OP_BOOT)))
		op_begin(o);
}

static int
on_boot(sd_event_source *s, uint64_t usec, void *arg)
{
	struct parent *p = arg;

	(void)s;
	(void)usec;
	p->boot_timer = sd_event_source_disable_unref(p->boot_timer);
	boot_try(p);
	return 0;
}

/* It is tried again later, and later each time. How much, in words. */
static const char *
boot_later(struct parent *p, int err, char room[32])
{
	p->boot_wait = p->boot_wait ? p->boot_wait * 2 : err == EPERM ? WAIT_OWNED : WAIT_LEAST;
	if (p->boot_wait > WAIT_MOST)
		p->boot_wait = WAIT_MOST;
	p->boot_at = now_us(CLOCK_MONOTONIC) + p->boot_wait;
	p->boot_timer = sd_event_source_disable_unref(p->boot_timer);
	/* without it the next tick does it */
	(void)sd_event_add_time(p->ev, &p->boot_timer, CLOCK_MONOTONIC, p->boot_at, 1000, on_boot, p);
	if (p->boot_wait < TICK_US)
		snprintf(room, 32, "%" PRIu64 " ms", p->boot_wait / 1000);
	else
		snprintf(room, 32, "%" PRIu64 " s", (p->boot_wait + TICK_US - 1) / TICK_US);
	return room;
}

static void
booted(struct op *o)
{
	struct parent *p = o->p;
	uint32_t from = o->target;
	char later[32];
	int err;

	if (o->done.err) {
		snprintf(p->trouble, sizeof p->trouble, "generation %u cannot be put in force: %s%s%s", from,
		    strerror((int)o->done.err), *o->said ? ": " : "", o->said);
		if (op_unreadable(o))
			return;
		op_fail(o, 3, "%s; tried again in %s", p->trouble, boot_later(p, (int)o->done.err, later));
		return;
	}
	op_out(o, "generation %u is in force (%u change%s)\n", from, o->done.changes,
	    o->done.changes == 1 ? "" : "s");
	if (o->about.observe)
		op_out(o, "MODE OBSERVE: nothing is refused\n");
	if (o->drop_pending && (err = state_pending_drop(p->state)))
		log_say(LOG_IS_WARNING, NULL, "pending cannot be removed: %s", strerror(-err));
	p->boot_wait = 0;
	p->names_due = true;
	force_set(p, from, &o->about);
	if (other_point(p))
		log_say(LOG_IS_WARNING, NULL, "started for the point %s, but what is in force is for %s: it stays until "
		    "`mailreevectl apply`", p->o->point, p->force.about.point);
	if (from != o->wanted)
		snprintf(p->trouble, sizeof p->trouble, "generation %u cannot be read: generation %u is in force in its "
		    "place; mailreevectl apply", o->wanted, from);
	p->blocks_from = 0;
	blocks_send(p);
	pause_again(p);
	ready_with_blocks(p);
	op_end(o, 0);
}

/* ---- which one ----------------------------------------------------------------------------- */

/* What a confirm that was waited for means now: the number to be put in force. */
static uint32_t
decide(struct parent *p, struct op *o, uint32_t current)
{
	struct state_pending x;
	char which[32];

	if (state_pending(p->state, &x))
		return current;
	if (x.now == current) {
		/* it was confirmed, and a death came between the two writes */
		(void)state_pending_drop(p->state);
		return current;
	}
	if (strcmp(x.boot, p->boot) == 0 && now_us(CLOCK_BOOTTIME) < x.boottime) {
		p->pending = x;
		p->waiting = true;
		return x.now;
	}
	op_out(o, "generation %u was not confirmed%s: %s in force again\n", x.now,
	    strcmp(x.boot, p->boot) ? " before the machine was started anew" : " in time", generation_text(current, which));
	p->n.reverts++;
	(void)state_ended(p->state, x.now, "reverted: not confirmed in time");
	p->reverted_at_boot = true;
	return current;
}

/* No rules were in force before what was not confirmed. */
static void
booted_empty(struct op *o)
{
	struct parent *p = o->p;
	int err;

	if (o->done.err) {
		snprintf(p->trouble, sizeof p->trouble, "rules that were not confirmed cannot be taken down: "
		    "%s%s%s", strerror((int)o->done.err), *o->said ? ": " : "", o->said);
		p->boot_at = now_us(CLOCK_MONOTONIC) + TICK_US;
		op_fail(o, 3, "%s; tried again", p->trouble);
		return;
	}
	err = state_stage(p->state, 0);
	if (!err)
		err = state_commit(p->state);
	if (!err)
		err = state_pending_drop(p->state);
	if (err && err != -ENOENT)
		log_say(LOG_IS_WARNING, NULL, "the state cannot be written: %s", strerror(-err));
	force_set(p, 0, NULL);
	snprintf(p->trouble, sizeof p->trouble, "nothing is in force: %s", p->removed ?
	    "all rules were taken down by hand" : "what was applied was not confirmed");
	p->removed = true;
	p->boot_wait = 0;
	parent_ready(p);
	op_fail(o, 1, "%s", p->trouble);
}

static void
first_done(struct op *o)
{
	struct parent *p = o->p;
	char later[32];
	int err;

	if (o->done.err) {
		state_drop(p->state, STATE_IN_HISTORY, o->target);
		snprintf(p->trouble, sizeof p->trouble, "the policy cannot be put in force: %s%s%s",
		    strerror((int)o->done.err), *o->said ? ": " : "", o->said);
		if (o->unknown)
			op_settle(p);
		parent_ready(p);
		/* of another agent, which may be dying */
		if (o->done.err == EPERM)
			op_fail(o, 3, "%s; tried again in %s", p->trouble, boot_later(p, EPERM, later));
		else
			op_fail(o, 3, "%s", p->trouble);
		return;
	}
	err = state_commit(p->state);
	if (err)
		op_err(o, "warning: %s\n", strerror(-err));
	(void)state_ended(p->state, o->target, "in force");
	p->current = o->target;
	p->boot_wait = 0;
	op_out(o, "generation %u is in force\n", o->target);
	force_set(p, o->target, &o->about);
	blocks_send(p);
	ready_with_blocks(p);
	op_end(o, 0);
}

static void
first_put(struct op *o)
{
	struct parent *p = o->p;
	const uint8_t *plan, *bundle = NULL;
	size_t nplan, nbundle = 0;
	int err;

	/* a soft step that failed */
	if (*o->why) {
		snprintf(p->trouble, sizeof p->trouble, "nothing is in force: %s", o->why);
		/* it compiles: what is missing is the name service, or a moment of the machine's */
		if (o->plan >= 0)
			p->boot_at = now_us(CLOCK_MONOTONIC) + 5 * TICK_US;
		if (o->text && strcmp(o->text, o->why) != 0)
			op_err(o, "%s\n", o->text);
		parent_ready(p);
		op_fail(o, 1, "%s", p->trouble);
		return;
	}
	o->about.uid = o->uid;
	o->about.pid = o->pid;
	o->about.when = now_us(CLOCK_REALTIME);
	snprintf(o->about.boot, sizeof o->about.boot, "%s", p->boot);
	err = ipc_map(o->plan, APPLY_MOST_PLAN, &plan, &nplan);
	if (!err && o->bundle >= 0)
		err = ipc_map(o->bundle, STATE_BULK, &bundle, &nbundle);
	if (!err)
		err = state_add(p->state, STATE_IN_HISTORY, plan, nplan, bundle, nbundle, &o->about,
		    &o->target);
	if (!err)
		err = state_stage(p->state, o->target);
	if (err) {
		snprintf(p->trouble, sizeof p->trouble, "nothing is in force: the state cannot be written: %s",
		    strerror(-err));
		parent_ready(p);
		op_fail(o, 3, "%s", p->trouble);
		return;
	}
	ipc_unmap(plan, nplan);
	ipc_unmap(bundle, nbundle);
	op_put(o, first_done);
}

static void
first_names(struct op *o)
{
	if (*o->why)
		first_put(o);
	else
		op_names(o, first_put);
}

/* Nothing was ever in force here, or nothing of it can be read. */
static void
first(struct op *o)
{
	o->soft = true;
	op_compile(o, first_names);
}

/* The generation is there, or the one that takes its place. */
static void
boot_put(struct op *o)
{
	struct parent *p = o->p;

	if (!o->target) {
		log_say(LOG_IS_ERROR, NULL, "NO GENERATION CAN BE READ: the policy on disk is taken, whether or not it was "
		    "ever applied here");
		first(o);
		return;
	}
	if (o->target != o->wanted) {
		p->current = o->target;
		p->waiting = false;
	}
	revert_arm(p);
	op_put(o, booted);
}

void
run_boot(struct op *o)
{
	struct parent *p = o->p;
	uint32_t list[STATE_HISTORY + 8], n, to;
	int err = state_current(p->state, &p->current);

	p->boot_at = 0;
	p->revert_due = false;     /* whether its time has come is looked at here */
	p->removed = !err && p->current == 0;
	n = state_list(p->state, STATE_IN_HISTORY, list, STATE_HISTORY + 8);
	if (err) {
		if (n)
			log_say(LOG_IS_WARNING, NULL, "it is not known which generation was in force: the newest "
			    "is taken");
		p->current = 0;
		for (uint32_t i = n; i > 0 && !p->current; i--)
			if (was_good(p, list[i - 1]))
				p->current = list[i - 1];
	}
	p->waiting = false;
	to = decide(p, o, p->current);
	/* those that a death kept from the kernel were never in force */
	for (uint32_t i = n; i > 0 && !err && list[i - 1] > p->current; i--) {
		char ended[16];

		state_how_ended(p->state, list[i - 1], ended, sizeof ended);
		if (!*ended && list[i - 1] != to)
			state_drop(p->state, STATE_IN_HISTORY, list[i - 1]);
	}
	if (to == 0) {
		if (p->reverted_at_boot) {
			p->reverted_at_boot = false;
			op_take_down(o, booted_empty);
			return;
		}
		if (p->removed && p->ready) {
			/* it is not known whether the role apply has put something in force since */
			op_take_down(o, booted_empty);
			return;
		}
		if (p->removed) {
			snprintf(p->trouble, sizeof p->trouble, "all rules were taken down by hand");
			parent_ready(p);
			op_fail(o, 1, "%s; `mailreevectl apply` brings them back", p->trouble);
			return;
		}
		first(o);
		return;
	}
	if (p->reverted_at_boot) {
		p->reverted_at_boot = false;
		/* it stays on the disk until the revert is in force */
		o->drop_pending = true;
	}
	o->target = to;
	op_fetch(o, boot_put);
}
