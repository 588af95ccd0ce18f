/*
 * notify: what the service manager is told (sd_notify(3)).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "parent/inside.h"

void
notify_status(struct parent *p)
{
	if (p->ready)
		(void)sd_notifyf(0, "STATUS=%s%s%s", p->trouble[0] ? p->trouble :
		    p->force.number == 0 ? "nothing is in force" :
		    p->force.about.observe ? "MODE OBSERVE: nothing is refused" : "the policy is in force",
		    p->waiting ? "; waiting to be confirmed" : "", p->changing ? "; at work" : "");
}

void
notify_ready(struct parent *p)
{
	(void)sd_notify(0, "READY=1");
	notify_status(p);
}

void
notify_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1");
}

/* ---- the watchdog: it is fed when the role apply has answered from the kernel ---------------- */

enum { CHECK_SHARE = 1000 };   /* a full look takes at most one part in so many of the time */

static void
looked(void *arg, struct ipc_in *in, int err)
{
	struct parent *p = arg;
	const struct apply_checked *c;
	const void *body;
	uint64_t now = now_us(CLOCK_MONOTONIC);

	if (!err && in->type == APPLY_CHECKED) {
		err = ipc_body(in, &apply_tell_shape[APPLY_CHECKED], &body);
		p->check_us = now - p->checked_at;
		if (!err) {
			c = body;
			err = -(int)c->err;
			if (!err && !c->in_force && p->force.number)
				log_say(LOG_IS_WARNING, NULL, "the self-check: the rules are not what they should be: "
				    "%s", c->text);
		}
	} else if (!err) {
		err = ipc_body(in, &apply_tell_shape[APPLY_COUNTED], &body);
		if (!err)
			err = -(int)((const struct apply_counted *)body)->err;
	}
	if (err)
		log_say(LOG_IS_ERROR, NULL, "the self-check failed: %s", strerror(-err));
	else
		(void)sd_notify(0, "WATCHDOG=1");
}

static int
on_watch(sd_event_source *s, uint64_t usec, void *arg)
{
	struct parent *p = arg;
	uint64_t every = 0, now = now_us(CLOCK_MONOTONIC);
	bool full = now - p->checked_at >= p->check_us * CHECK_SHARE;

	(void)usec;
	if (sd_watchdog_enabled(0, &every) <= 0)
		return 0;
	if (p->rules.wanted && p->apply.chan < 0) {
		/* it is known why it does not answer, and when it will */
		(void)sd_notify(0, "WATCHDOG=1");
		sd_event_source_set_time_relative(s, every / 3);
		sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
		return 0;
	}
	if (full)
		p->checked_at = now;
	if (ask_apply(p, full ? APPLY_CHECK : APPLY_COUNT, NULL, -1, full ? APPLY_CHECKED : APPLY_COUNTED,
	    every / 2, looked, p))
		log_say(LOG_IS_ERROR, NULL, "the self-check failed: the role apply cannot be asked");
	sd_event_source_set_time_relative(s, every / 3);
	sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

void
notify_watch(struct parent *p)
{
	uint64_t every = 0;

	if (sd_watchdog_enabled(0, &every) > 0 && sd_event_add_time_relative(p->ev, &p->watchdog,
	    CLOCK_MONOTONIC, every / 3, 0, on_watch, p) < 0)
		log_say(LOG_IS_ERROR, NULL, "the watchdog cannot be fed");
}
