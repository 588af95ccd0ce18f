/*
 * What is due when, to whom, and what becomes of it: order, back-off, circuits,
 * lifetime, reports, and what people ask for.
 */
#include "spool_one.h"

static void
order_of_arrival_is_kept(void **state)
{
	struct world *w = *state;
	uint64_t id[50], at = 0;

	for (int i = 0; i < 50; i++)
		id[i] = put1(w, T0 - (uint64_t)i);
	again(w, T0);
	for (int i = 0; i < 50; i++) {
		at = spool_after(w->s, at);
		assert_int_equal(at, id[i]);
	}
	assert_int_equal(spool_after(w->s, at), 0);
	/* A clock that went back gives no id twice, also of mail that has gone. */
	assert_true(put1(w, 1000) > id[49]);
	for (uint64_t k = spool_after(w->s, 0); k; k = spool_after(w->s, 0))
		assert_int_equal(spool_drop(w->s, k, T0, NULL), 0);
	again(w, 1000);
	assert_true(put1(w, 1000) > id[49] + 1);
}

static void
recipients_are_sent_once_and_only_to_their_relay(void **state)
{
	struct world *w = *state;
	uint64_t id = put(w, "x", T0, 4, (const char *const[]){"a@r1", "b@r2", "c@r1", "d@r2"});
	const enum spool_fate mixed[2] = {SPOOL_FATE_DELIVERED, SPOOL_FATE_DEFERRED};
	const uint32_t *which;
	struct spool_message m;
	struct spool_claim *c;
	size_t n;

	assert_int_equal(spool_claim(w->s, "r1", T0, &c), 0);
	spool_claim_message(c, &which, &n);
	assert_int_equal(n, 2);
	assert_int_equal(which[0], 0);
	assert_int_equal(which[1], 2);
	/* In flight: not given twice, not dropped under the sender's hands. */
	struct spool_claim *d;
	assert_int_equal(spool_claim(w->s, "r1", T0, &d), 1);
	assert_int_equal(spool_drop(w->s, id, T0, "x"), -EBUSY);
	assert_int_equal(spool_hold(w->s, id, T0), -EBUSY);
	assert_int_equal(spool_done(w->s, c, NULL, T0), 0);
	assert_int_equal(answer(w, "r1", T0, mixed, false), 0);
	assert_int_equal(all(w, "r2", T0, SPOOL_FATE_DELIVERED, false), 0);
	assert_int_equal(all(w, "r2", T0 + 86400000, SPOOL_FATE_DELIVERED, false), 1);
	again(w, T0);
	assert_int_equal(spool_read(w->s, id, &m), 0);
	assert_int_equal(m.env.rcpt[0].state, SPOOL_DELIVERED);
	assert_int_equal(m.env.rcpt[1].state, SPOOL_DELIVERED);
	assert_int_equal(m.env.rcpt[2].state, SPOOL_PENDING);
	assert_int_equal(m.env.rcpt[3].state, SPOOL_DELIVERED);
	spool_message_end(&m);
	assert_int_equal(all(w, "r1", T0 + 86400000, SPOOL_FATE_DELIVERED, false), 0);
	assert_int_equal(spool_after(w->s, 0), 0);
}

static void
a_crash_while_sending_leads_to_one_more_attempt(void **state)
{
	struct world *w = *state;
	struct spool_claim *c;

	put1(w, T0);
	assert_int_equal(spool_claim(w->s, "r1", T0, &c), 0);
	again(w, T0 + 5);
	assert_int_equal(spool_relay_wake(w->s, "r1"), T0 + 5);
	assert_int_equal(all(w, "r1", T0 + 5, SPOOL_FATE_DELIVERED, false), 0);
	assert_int_equal(spool_after(w->s, 0), 0);
}

static void
backoff_doubles_with_jitter_up_to_its_most(void **state)
{
	struct world *w = *state;
	uint64_t now = T0, first = 60000;
	bool same = true;

	put1(w, T0);
	for (int i = 0; i < 12; i++) {
		uint64_t mid = first << i > 3600000 ? 3600000 : first << i, wait;

		assert_int_equal(all(w, "r1", now, SPOOL_FATE_DEFERRED, false), 0);
		wait = spool_relay_wake(w->s, "r1") - now;
		assert_in_range(wait, mid - mid / 4, mid + mid / 4);
		same &= wait == mid;
		assert_int_equal(all(w, "r1", now + wait - 1, SPOOL_FATE_DEFERRED, false), 1);
		now += wait;
	}
	assert_false(same);
}

static void
a_relay_that_is_down_gets_one_probe_at_a_time(void **state)
{
	struct world *w = *state;
	struct spool_claim *c, *d;
	struct spool_depth dep;
	uint64_t now = T0;

	for (int i = 0; i < 20; i++)
		put1(w, T0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(all(w, "r1", now, SPOOL_FATE_DEFERRED, false), 0);
		spool_relay_failed(w->s, "r1", now);
	}
	assert_int_equal(spool_claim(w->s, "r1", now, &c), 1);
	spool_depth(w->s, "r1", &dep);
	assert_true(dep.open);
	assert_int_equal(dep.pending, 20);
	now = spool_relay_wake(w->s, "r1");
	assert_in_range(now, T0 + 22500, T0 + 37500);
	assert_int_equal(spool_claim(w->s, "r1", now, &c), 0);
	assert_int_equal(spool_claim(w->s, "r1", now, &d), 1);
	spool_relay_failed(w->s, "r1", now);
	assert_int_equal(spool_done(w->s, c, NULL, now), 0);
	assert_int_equal(spool_claim(w->s, "r1", now + 40000, &c), 1);
	now += 100000;
	assert_int_equal(spool_claim(w->s, "r1", now, &c), 0);
	spool_relay_well(w->s, "r1");
	assert_int_equal(spool_claim(w->s, "r1", now, &d), 0);
	assert_int_equal(spool_done(w->s, c, NULL, now), 0);
	assert_int_equal(spool_done(w->s, d, NULL, now), 0);
	spool_relay_hold(w->s, "r1", true);
	assert_int_equal(spool_relay_wake(w->s, "r1"), UINT64_MAX);
	spool_relay_hold(w->s, "r1", false);
	assert_int_equal(spool_claim(w->s, "r1", now, &d), 0);
}

static void
what_is_too_old_fails_and_owes_a_report_until_it_is_made(void **state)
{
	struct world *w = *state;
	uint64_t id = put1(w, T0), old = T0 + w->c.lifetime;
	struct spool_message m;
	struct spool_event ev;

	assert_int_equal(spool_event(w->s, T0 + w->c.warn_after - 1, &ev), 1);
	assert_int_equal(spool_wake(w->s), T0);
	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DEFERRED, false), 0);
	assert_int_equal(spool_event(w->s, T0 + w->c.warn_after, &ev), 0);
	assert_int_equal(ev.kind, SPOOL_EVENT_WARN);
	assert_int_equal(ev.id, id);
	assert_int_equal(spool_event(w->s, old - 1, &ev), 1);
	again(w, old - 1);
	assert_int_equal(spool_event(w->s, old - 1, &ev), 1);
	assert_int_equal(spool_event(w->s, old, &ev), 0);
	assert_int_equal(ev.kind, SPOOL_EVENT_REPORT);
	again(w, old + 1);
	assert_int_equal(spool_event(w->s, old + 1, &ev), 0);
	assert_int_equal(ev.kind, SPOOL_EVENT_REPORT);
	assert_int_equal(spool_read(w->s, id, &m), 0);
	assert_int_equal(m.env.rcpt[0].state, SPOOL_FAILED);
	assert_true(m.env.rcpt[0].owed);
	assert_int_equal(m.env.rcpt[0].last.code, 450);
	spool_message_end(&m);
	assert_int_equal(all(w, "r1", old + 86400000, SPOOL_FATE_DELIVERED, false), 1);
	assert_int_equal(spool_reported(w->s, id, old + 2), 0);
	assert_int_equal(spool_after(w->s, 0), 0);
	assert_int_equal(spool_event(w->s, UINT64_MAX / 2, &ev), 1);
}

static void
who_was_released_behind_a_claim_grows_too_old_like_others(void **state)
{
	struct world *w = *state;
	uint64_t id = put(w, "x", T0, 2, (const char *const[]){"a@r1", "b@r1"}), old = T0 + w->c.lifetime;
	struct spool_result sent = {.fate = SPOOL_FATE_DELIVERED};
	const uint32_t *which;
	struct spool_message m;
	struct spool_claim *c;
	struct spool_event ev;
	size_t n;

	w->c.warn_after = 0;
	spool_configure(w->s, &w->c);
	assert_int_equal(answer(w, "r1", T0, (enum spool_fate[]){SPOOL_FATE_HELD, SPOOL_FATE_DEFERRED}, false), 0);
	assert_int_equal(spool_claim(w->s, "r1", old - 1, &c), 0);
	spool_claim_message(c, &which, &n);
	assert_int_equal(n, 1);
	assert_int_equal(which[0], 1);
	assert_int_equal(spool_release(w->s, id, old - 1), 0);
	assert_int_equal(spool_event(w->s, old - 1, &ev), 1);
	/* a's life is over; b is with the relay, whose answer counts */
	assert_int_equal(spool_event(w->s, old, &ev), 0);
	assert_int_equal(ev.kind, SPOOL_EVENT_REPORT);
	assert_int_equal(spool_read(w->s, id, &m), 0);
	assert_int_equal(m.env.rcpt[0].state, SPOOL_FAILED);
	assert_int_equal(m.env.rcpt[1].state, SPOOL_SENDING);
	spool_message_end(&m);
	assert_int_equal(spool_reported(w->s, id, old), 0);
	assert_int_equal(spool_after(w->s, 0), id);
	assert_int_equal(spool_done(w->s, c, &sent, old), 0);
	assert_int_equal(spool_after(w->s, 0), 0);
	assert_int_equal(spool_wake(w->s), UINT64_MAX);
}

static void
what_nobody_tried_since_it_was_due_has_one_more_try_before_it_is_too_old(void **state)
{
	struct world *w = *state;
	uint64_t id = put(w, "x", T0, 2, (const char *const[]){"a@r1", "b@r2"}), old = T0 + w->c.lifetime;
	struct spool_message m;
	struct spool_event ev;

	w->c.warn_after = 0;
	w->c.last_chance = 3600000;
	spool_configure(w->s, &w->c);
	/* r1 is stopped: nobody can try it; r2 is due */
	spool_relay_hold(w->s, "r1", true);
	assert_int_equal(spool_event(w->s, old + 86400000, &ev), 0);
	assert_int_equal(ev.kind, SPOOL_EVENT_REPORT);
	assert_int_equal(spool_read(w->s, id, &m), 0);
	assert_int_equal(m.env.rcpt[0].state, SPOOL_FAILED);
	assert_int_equal(m.env.rcpt[1].state, SPOOL_PENDING);
	spool_message_end(&m);
	assert_int_equal(spool_reported(w->s, id, old + 86400000), 0);
	assert_int_equal(spool_event(w->s, old + 86400000, &ev), 1);
	/* it had its try */
	assert_int_equal(all(w, "r2", old + 86400001, SPOOL_FATE_DEFERRED, false), 0);
	assert_int_equal(spool_event(w->s, old + 86400001, &ev), 0);
	assert_int_equal(spool_read(w->s, id, &m), 0);
	assert_int_equal(m.env.rcpt[1].state, SPOOL_FAILED);
	spool_message_end(&m);
	assert_int_equal(spool_reported(w->s, id, old + 86400001), 0);
	assert_int_equal(spool_after(w->s, 0), 0);
	/* nobody tries for an hour: no longer */
	id = put1(w, T0 + 1000000);
	spool_relay_hold(w->s, "r1", false);
	assert_int_equal(spool_event(w->s, old + 86400000, &ev), 1);
	assert_int_equal(spool_event(w->s, old + 86400000 + 3599999, &ev), 1);
	assert_int_equal(spool_event(w->s, old + 86400000 + 3600000 + 60000, &ev), 0);
	assert_int_equal(ev.id, id);
}

static void
a_clock_that_is_set_back_sets_the_waits_back(void **state)
{
	struct world *w = *state;
	uint64_t year = (uint64_t)365 * 86400000, now = T0 - year, wake;
	struct spool_claim *c;

	put1(w, T0);
	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DEFERRED, false), 0);
	assert_true(spool_relay_wake(w->s, "r1") > T0);
	spool_set_back(w->s, now);
	wake = spool_relay_wake(w->s, "r1");
	assert_in_range(wake, now + w->c.retry_first - w->c.retry_first / 4,
	    now + w->c.retry_first + w->c.retry_first / 4);
	/* so does a circuit */
	for (unsigned i = 0; i < w->c.circuit_after; i++)
		spool_relay_failed(w->s, "r1", T0);
	spool_set_back(w->s, now);
	assert_int_equal(spool_claim(w->s, "r1", wake, &c), 0);
	assert_int_equal(spool_done(w->s, c, NULL, wake), 0);
}

static void
a_failure_or_a_relayed_recipient_owes_a_report(void **state)
{
	struct world *w = *state;
	uint64_t id = put(w, "x", T0, 2, (const char *const[]){"a@r1", "b@r2"});
	struct spool_event ev;

	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_FAILED, true), 0);
	assert_int_equal(spool_event(w->s, T0, &ev), 0);
	assert_int_equal(ev.kind, SPOOL_EVENT_REPORT);
	assert_int_equal(spool_event(w->s, T0, &ev), 1);
	/* Not made: told again later. */
	assert_int_equal(spool_event(w->s, T0 + 60000, &ev), 0);
	assert_int_equal(spool_reported(w->s, id, T0), 0);
	assert_int_equal(all(w, "r2", T0, SPOOL_FATE_DELIVERED, true), 0);
	assert_int_equal(spool_after(w->s, 0), id);
	assert_int_equal(spool_event(w->s, T0, &ev), 0);
	assert_int_equal(spool_reported(w->s, id, T0), 0);
	assert_int_equal(spool_after(w->s, 0), 0);
	assert_int_equal(spool_reported(w->s, id, T0), -ENOENT);
}

static void
who_fails_while_a_report_is_made_gets_one_of_his_own_and_nobody_two(void **state)
{
	struct world *w = *state;
	uint64_t id = put(w, "x", T0, 3, (const char *const[]){"a@r1", "b@r2", "c@r3"});
	struct spool_message m;
	struct spool_event ev;

	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_FAILED, true), 0);
	assert_int_equal(spool_event(w->s, T0, &ev), 0);
	assert_int_equal(ev.kind, SPOOL_EVENT_REPORT);
	/* the report on a is on its way to the disk; whatever happens meanwhile asks for no second one */
	assert_int_equal(all(w, "r2", T0, SPOOL_FATE_FAILED, true), 0);
	assert_int_equal(spool_release(w->s, id, T0), 0);
	assert_int_equal(all(w, "r3", T0, SPOOL_FATE_DEFERRED, false), 0);
	assert_int_equal(spool_event(w->s, T0, &ev), 1);
	assert_int_equal(spool_reported_of(w->s, id, (const uint32_t[]){0}, 1, T0), 0);
	assert_int_equal(spool_read(w->s, id, &m), 0);
	assert_false(m.env.rcpt[0].owed);
	assert_true(m.env.rcpt[1].owed);
	spool_message_end(&m);
	/* and b's comes now, also where the process ended meanwhile */
	again(w, T0);
	assert_int_equal(spool_event(w->s, T0, &ev), 0);
	assert_int_equal(ev.kind, SPOOL_EVENT_REPORT);
	assert_int_equal(spool_reported_of(w->s, id, (const uint32_t[]){1}, 1, T0), 0);
	assert_int_equal(spool_event(w->s, T0, &ev), 1);
	assert_int_equal(all(w, "r3", T0 + 90000, SPOOL_FATE_DELIVERED, false), 0);
	assert_int_equal(spool_after(w->s, 0), 0);
	assert_int_equal(spool_reported_of(w->s, id, (const uint32_t[]){1}, 1, T0), -ENOENT);
}

static void
held_mail_waits_for_people(void **state)
{
	struct world *w = *state;
	uint64_t id = put1(w, T0), late = T0 + 2 * w->c.lifetime;
	struct spool_event ev;
	struct spool_depth d;

	assert_int_equal(spool_hold(w->s, id, T0), 0);
	assert_int_equal(spool_wake(w->s), UINT64_MAX);
	again(w, late);
	assert_int_equal(spool_event(w->s, late, &ev), 1);
	spool_depth(w->s, "r1", &d);
	assert_int_equal(d.held, 1);
	assert_int_equal(d.pending, 0);
	assert_int_equal(d.oldest, T0);
	assert_int_equal(spool_release(w->s, id, late), 0);
	assert_int_equal(all(w, "r1", late, SPOOL_FATE_HELD, false), 0);
	spool_depth(w->s, NULL, &d);
	assert_int_equal(d.held, 1);
	again(w, late);
	spool_depth(w->s, NULL, &d);
	assert_int_equal(d.held, 1);
	assert_int_equal(spool_release(w->s, id, late), 0);
	assert_int_equal(all(w, "r1", late, SPOOL_FATE_DELIVERED, false), 0);
}

static void
changed_relays_reroute_what_is_queued(void **state)
{
	struct world *w = *state;
	uint64_t id = put(w, "x", T0, 3, (const char *const[]){"a@r1", "b@r1", "c@r2"});
	const char *to[3] = {"r3", NULL, "r3"};
	const uint32_t *which;
	struct spool_claim *c;
	size_t n;

	assert_int_equal(all(w, "r2", T0, SPOOL_FATE_DELIVERED, false), 0);
	assert_int_equal(spool_reroute(w->s, id, to, T0), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(spool_claim(w->s, "r3", T0, &c), 0);
		spool_claim_message(c, &which, &n);
		assert_int_equal(n, 1);
		assert_int_equal(which[0], 0);
		assert_int_equal(spool_done(w->s, c, NULL, T0), 0);
		assert_true(spool_relay_wake(w->s, "r1") <= T0);
		assert_int_equal(spool_relay_wake(w->s, "r2"), UINT64_MAX);
		again(w, T0);
	}
	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DELIVERED, false), 0);
	assert_int_equal(all(w, "r2", T0, SPOOL_FATE_DELIVERED, false), 1);
	assert_int_equal(all(w, "r3", T0, SPOOL_FATE_DELIVERED, false), 0);
	assert_int_equal(spool_after(w->s, 0), 0);
}

static void
flush_and_retry_make_it_due_and_drop_ends_it(void **state)
{
	struct world *w = *state;
	uint64_t a = put1(w, T0), b = put1(w, T0);

	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DEFERRED, false), 0);
	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DEFERRED, false), 0);
	assert_int_equal(all(w, "r1", T0 + 1, SPOOL_FATE_DEFERRED, false), 1);
	assert_int_equal(spool_retry(w->s, b, T0 + 1), 0);
	assert_int_equal(all(w, "r1", T0 + 1, SPOOL_FATE_DEFERRED, false), 0);
	spool_flush(w->s, "r1", T0 + 2);
	assert_int_equal(all(w, "r1", T0 + 2, SPOOL_FATE_DELIVERED, false), 0);
	assert_int_equal(spool_after(w->s, 0), b);
	assert_int_equal(spool_drop(w->s, b, T0 + 2, "by hand"), 0);
	assert_int_equal(spool_after(w->s, 0), 0);
	assert_int_equal(spool_drop(w->s, a, T0 + 2, NULL), -ENOENT);
	again(w, T0);
	assert_int_equal(spool_after(w->s, 0), 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(order_of_arrival_is_kept),
		T(recipients_are_sent_once_and_only_to_their_relay),
		T(a_crash_while_sending_leads_to_one_more_attempt),
		T(backoff_doubles_with_jitter_up_to_its_most),
		T(a_relay_that_is_down_gets_one_probe_at_a_time),
		T(what_is_too_old_fails_and_owes_a_report_until_it_is_made),
		T(who_was_released_behind_a_claim_grows_too_old_like_others),
		T(what_nobody_tried_since_it_was_due_has_one_more_try_before_it_is_too_old),
		T(a_clock_that_is_set_back_sets_the_waits_back),
		T(a_failure_or_a_relayed_recipient_owes_a_report),
		T(who_fails_while_a_report_is_made_gets_one_of_his_own_and_nobody_two),
		T(held_mail_waits_for_people),
		T(changed_relays_reroute_what_is_queued),
		T(flush_and_retry_make_it_due_and_drop_ends_it),
	};

	return cmocka_run_group_tests_name("spool_schedule", tests, NULL, NULL);
}
