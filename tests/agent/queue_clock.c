/*
 * The role queue under a scripted clock (clock.h): retries, circuits, warnings, bounces, alarms over days, through
 * deaths of roles and jumps of the clock. The relay role at the other end of the channel is played here, and keeps
 * a book of what it was given and when: the script's time is exact, so what is claimed of it is, too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clock.h"
#include "queue_rig.h"

enum { SENT_MOST = 4096 };

/* How a relay does. */
enum health {
	TAKES, PUTS_OFF, REFUSES,
	IS_DOWN,                     /* no connection */
	WRONG_PASSWORD,
	SAYS_NOTHING,                /* keeps what it was given, without an answer */
};

struct sent {
	uint64_t at, mono, id;       /* at: the wall's clock */
	bool two, report;            /* relay two; a report of ours, which */
	bool warning;                /* tells of a delay, else of a failure */
	bool host;                   /* names relay one by its host (RFC 3464 2.3.5) */
	char status[16];
};

static struct rig g;
static struct sent sent[SENT_MOST];
static size_t nsent;
static enum health health[2];        /* of one and two */
static unsigned again;               /* RELAY_AGAIN came so often */

static const struct {
	enum relay_fate fate;
	unsigned code;
	const char *text;
} words[] = {
	[TAKES] = {RELAY_DELIVERED, 250, "2.0.0 ok"}, [PUTS_OFF] = {RELAY_DEFERRED, 451, "4.3.0 later"},
	[REFUSES] = {RELAY_FAILED, 550, "5.1.1 no"}, [IS_DOWN] = {RELAY_DEFERRED, 0, "no connection"},
	[WRONG_PASSWORD] = {RELAY_HELD, 535, "192.0.2.1:587 refused the credential (AUTH): 535 5.7.8 wrong"},
};

static void
given(struct rig_in *m)
{
	const struct relay_send *s = m->body;
	struct sent *x = &sent[nsent++];
	enum health h;

	CHECK(nsent < SENT_MOST);
	*x = (struct sent){.at = clock_wall(), .mono = clock_mono(), .id = s->id, .two = !strcmp(s->relay, "two"),
		.report = false};
	if (!*s->from) {
		char *text = rig_content_of(m), *status = strstr(text, "\nStatus: ");

		x->report = strstr(text, "multipart/report") != NULL;
		x->host = strstr(text, "\nRemote-MTA: dns; one.example.org\r") != NULL;
		x->warning = strstr(text, "\nAction: delayed") != NULL;
		CHECK(!x->report || (status && sscanf(status, " Status: %15s", x->status) == 1));
		free(text);
	}
	/* reports have a way in any case */
	h = x->report && health[x->two] == PUTS_OFF ? TAKES : health[x->two];
	if (h != SAYS_NOTHING)
		rig_result(&g, s, words[h].fate, words[h].code, words[h].text);
}

/* All that the role has told. */
static bool
play(void *arg)
{
	struct rig_in m = {0};
	bool any = false;

	(void)arg;
	while (ipc_recv(g.relay, &m.in) == 1) {
		any = true;
		if (m.in.type == RELAY_SEND) {
			CHECK(!ipc_body(&m.in, &relay_ask_shape[RELAY_SEND], &m.body));
			given(&m);
		}
		again += m.in.type == RELAY_AGAIN;
		ipc_free(&m.in);
		m = (struct rig_in){0};
	}
	return any;
}

static void
pass(uint64_t ms)
{
	clock_pass(ms, play, NULL);
}

static void
jump(int64_t ms)
{
	clock_settle(play, NULL);
	clock_jump(ms);
}

static void
settle(void)
{
	clock_settle(play, NULL);
}

static void
enter(void)
{
	clock_enter(0);
}

static void
start(void)
{
	clock_expect(0);
	rig_begin(&g);
	settle();
}

/* sig 0: the relay role has died, with which all end. */
static void
stop(int sig)
{
	int st;

	settle();
	clock_gone(0);
	st = rig_end(&g, sig);
	CHECK(sig ? WIFSIGNALED(st) : WIFEXITED(st) && !WEXITSTATUS(st));
}

static int
begin(void **state)
{
	(void)state;
	rig_new(&g);
	spool_config_default(&g.config);
	g.config.floor_bytes = g.config.floor_inodes = 0;
	g.config.last_chance = CLOCK_HOUR;
	g.child = enter;
	nsent = again = 0;
	health[0] = health[1] = TAKES;
	start();
	return 0;
}

static int
end(void **state)
{
	(void)state;
	stop(0);
	rig_free(&g);
	return 0;
}

static uint64_t
mail(const struct rig_mail *w)
{
	struct rig_in m = {0};
	uint64_t id = rig_mail(&g, w);

	assert_int_equal(rig_settled(&g, &m)->code, 250);
	ipc_free(&m.in);
	settle();
	return id;
}

static uint64_t
plain(void)
{
	return mail(&(struct rig_mail){.to = {"b@example.com"}});
}

/* The sends of a message from number `from` on. */
static size_t
sends_of(uint64_t id, size_t from)
{
	size_t n = 0;

	for (size_t i = from; i < nsent; i++)
		n += sent[i].id == id;
	return n;
}

/* So many reports, each counted once. */
static size_t
reports(bool warning)
{
	size_t n = 0;

	for (size_t i = 0; i < nsent; i++)
		n += sent[i].report && sent[i].warning == warning && sends_of(sent[i].id, i) == 1;
	return n;
}

static unsigned
queued(void)
{
	struct rig_in m = {0};
	unsigned n;

	rig_status(&g, &m);
	n = ((const struct mail_status *)m.body)->messages;
	ipc_free(&m.in);
	settle();
	return n;
}

static bool
shown(uint64_t id, const char *what)
{
	int err;
	char *text = rig_people(&g, MAIL_QUEUE_SHOW, id, false, &err);
	bool is = !err && strstr(text, what);

	free(text);
	settle();
	return is;
}

static void
people(enum mail_queue_op op, uint64_t id)
{
	int err;

	free(rig_people(&g, op, id, false, &err));
	assert_int_equal(err, 0);
	settle();
}

static void
tell(bool alarm, bool well, const char *text)
{
	struct relay_state y = {.relay = "one", .alarm = alarm, .well = well, .text = text};

	CHECK(!ipc_send(g.relay, RELAY_STATE, 0, &relay_tell_shape[RELAY_STATE], &y, NULL, 0));
	settle();
}

/* The nth wait: first * 2^(n-1), at most `most`; a quarter more or less. */
static void
is_a_wait(uint64_t ms, uint64_t first, unsigned n, uint64_t most)
{
	uint64_t mid = first;

	while (n-- > 1 && mid < most)
		mid *= 2;
	if (mid > most)
		mid = most;
	assert_in_range(ms, mid - mid / 4, mid + mid / 4);
}

/* The waits of one message since its first try are those of a back-off that nothing has set back. */
static unsigned
waits(uint64_t id)
{
	const struct sent *last = NULL;
	unsigned n = 0;

	for (size_t i = 0; i < nsent; i++) {
		if (sent[i].id != id)
			continue;
		if (last)
			is_a_wait(sent[i].at - last->at, g.config.retry_first, ++n, g.config.retry_most);
		last = &sent[i];
	}
	return n;
}

/* ---- a message ------------------------------------------------------------------------- */

static void
ISSUE_04_the_waits_of_a_message_double_to_an_hour_each_with_its_own_jitter(void **state)
{
	uint64_t a, b, at;
	size_t alike = 0;

	(void)state;
	health[0] = PUTS_OFF;
	a = plain();
	b = plain();
	at = clock_wall();
	assert_int_equal(nsent, 2);
	pass(CLOCK_DAY);
	assert_true(waits(a) > 25 && waits(b) > 25);
	for (size_t i = 2; i < nsent; i++)
		for (size_t k = 2; k < i; k++)
			alike += !sent[i].report && !sent[k].report && sent[i].id != sent[k].id &&
			    sent[i].at == sent[k].at;
	/* what failed together does not come back together */
	assert_true(alike < 3);
	assert_int_equal(clock_wall(), at + CLOCK_DAY);
	health[0] = TAKES;
	pass(2 * CLOCK_HOUR);
	assert_int_equal(queued(), 0);
}

static void
ISSUE_04_five_days_with_deaths_of_roles_keep_the_waits_one_warning_one_bounce(void **state)
{
	uint64_t id, at, told = 0;
	size_t n;

	(void)state;
	health[0] = PUTS_OFF;
	id = plain();
	at = clock_wall();
	pass(g.config.warn_after - 1);
	assert_int_equal(reports(true), 0);
	/* by kill -9, or with the relay role, at odd times */
	for (unsigned i = 0; clock_wall() < at + g.config.lifetime - 8 * CLOCK_HOUR; i++) {
		pass(7 * CLOCK_HOUR + i % 4 * 13 * CLOCK_MINUTE);
		stop(i % 2 ? 0 : SIGKILL);
		pass(i % 3 * 20 * CLOCK_SECOND);
		start();
		assert_int_equal(reports(true), 1);
	}
	pass(at + g.config.lifetime - 1 - clock_wall());
	/* waits of what was due while nobody was there end a little later */
	n = 0;
	for (size_t i = 0, last = SIZE_MAX; i < nsent; i++) {
		if (sent[i].id != id)
			continue;
		if (last != SIZE_MAX && n++ >= 7)
			assert_in_range(sent[i].at - sent[last].at, g.config.retry_most - g.config.retry_most / 4,
			    g.config.retry_most + g.config.retry_most / 4 + CLOCK_MINUTE);
		last = i;
	}
	assert_true(n > 100);
	assert_int_equal(reports(false), 0);
	assert_int_equal(queued(), 1);
	pass(CLOCK_MINUTE);
	assert_int_equal(queued(), 0);
	assert_int_equal(reports(true), 1);
	assert_int_equal(reports(false), 1);
	for (size_t i = 0; i < nsent; i++)
		if (sent[i].report) {
			told = told ? told : sent[i].at;
			assert_string_equal(sent[i].status, sent[i].warning ? "4.3.0" : "5.4.7");
			assert_true(sent[i].host);
		}
	assert_int_equal(told, at + g.config.warn_after);
	assert_int_equal(sent[nsent - 1].at, at + g.config.lifetime);
	pass(CLOCK_DAY);
	assert_int_equal(sends_of(id, 0) + 2, nsent);
}

static void
ISSUE_04_nobody_is_told_who_wants_no_report_nor_a_null_path(void **state)
{
	(void)state;
	health[0] = PUTS_OFF;
	mail(&(struct rig_mail){.to = {"b@example.com"}, .notify = "NEVER"});
	mail(&(struct rig_mail){.from = "", .to = {"c@example.com"}});
	/* a message of no sender is no report of ours, but nobody is told of it either */
	pass(6 * CLOCK_DAY);
	assert_int_equal(queued(), 0);
	assert_int_equal(reports(true), 0);
	assert_int_equal(reports(false), 0);
}

static void
ISSUE_04_what_a_limit_put_off_leaves_at_its_second_over_a_kill_and_a_clock_set_back(void **state)
{
	uint64_t when = clock_wall() + 9 * CLOCK_HOUR + 1;
	uint64_t id = mail(&(struct rig_mail){.to = {"b@example.com"}, .not_before = when / 1000});

	(void)state;
	pass(4 * CLOCK_HOUR);
	stop(SIGKILL);
	pass(CLOCK_HOUR);
	start();
	/* a clock that is set back does not make it due: the time is the limit's */
	jump(-3LL * CLOCK_HOUR);
	pass(6 * CLOCK_HOUR);
	assert_int_equal(sends_of(id, 0), 0);
	pass(2 * CLOCK_HOUR);
	assert_int_equal(sends_of(id, 0), 1);
	for (size_t i = 0; i < nsent; i++)
		if (sent[i].id == id)
			assert_int_equal(sent[i].at, when / 1000 * 1000);
}

/* ---- a relay --------------------------------------------------------------------------------- */

static void
ISSUE_04_the_circuit_of_a_relay_opens_lets_one_knock_and_closes(void **state)
{
	enum { N = 12 };
	size_t from, probes = 0;
	uint64_t last, id[N];

	(void)state;
	health[0] = IS_DOWN;
	for (int i = 0; i < N; i++) {
		id[i] = plain();
		pass(1);
	}
	/* so many failures open it: each send began after the one before had failed */
	assert_int_equal(nsent, g.config.circuit_after);
	/* the other relay is no worse for it */
	mail(&(struct rig_mail){.to = {"b@two.example"}});
	assert_int_equal(nsent, g.config.circuit_after + 1);
	assert_true(sent[nsent - 1].two);
	from = nsent;
	last = sent[from - 2].at;
	pass(10 * CLOCK_HOUR);
	for (size_t i = from; i < nsent; i++) {
		if (sent[i].report)
			continue;
		/* one at a time, further and further apart; what is due is not, always, at that moment */
		assert_true(sent[i].at > last);
		if (probes < 3)
			is_a_wait(sent[i].at - last, g.config.circuit_first, (unsigned)probes + 1, g.config.retry_most);
		probes++;
		last = sent[i].at;
	}
	assert_in_range(probes, 12, 22);
	/* it is well: the next probe brings all along */
	health[0] = TAKES;
	from = nsent;
	pass(2 * CLOCK_HOUR);
	assert_int_equal(queued(), 0);
	for (int i = 0; i < N; i++)
		assert_int_equal(sends_of(id[i], from), 1);
	for (size_t i = from; i < nsent; i++)
		assert_int_equal(sent[i].at, sent[from].at);
	/* and it is closed: the next one fails alone, and no circuit keeps the second */
	health[0] = IS_DOWN;
	from = nsent;
	plain();
	plain();
	assert_int_equal(nsent, from + 2);
}

static void
ISSUE_04_a_relay_that_is_held_back_by_an_alarm_is_tried_by_one_message_at_growing_times(void **state)
{
	enum { N = 5 };
	uint64_t id[N], last;
	size_t from;
	unsigned n = 0;

	(void)state;
	health[0] = WRONG_PASSWORD;
	tell(true, false, "535 5.7.8 wrong");
	for (int i = 0; i < N; i++)
		id[i] = plain();
	assert_int_equal(nsent, N);
	for (int i = 0; i < N; i++)
		assert_true(shown(id[i], "held, relay one"));
	from = nsent;
	last = clock_wall();
	/* six days: longer than a message lives, for people have to look */
	pass(6 * CLOCK_DAY);
	for (size_t i = from; i < nsent; i++) {
		uint64_t mid = 15 * CLOCK_SECOND;

		for (unsigned k = 0; k < n && mid < 10 * CLOCK_MINUTE; k++)
			mid *= 2;
		mid = mid < 10 * CLOCK_MINUTE ? mid : 16 * CLOCK_MINUTE;
		assert_in_range(sent[i].at - last, 1, mid);
		last = sent[i].at;
		n++;
	}
	assert_in_range(n, 6 * 24 * 3, 6 * 24 * 7);
	assert_int_equal(queued(), N);
	assert_int_equal(reports(false), 0);
	/* the password is mended; the relay role says so */
	health[0] = TAKES;
	from = nsent;
	tell(false, true, "");
	assert_int_equal(queued(), 0);
	for (int i = 0; i < N; i++)
		assert_int_equal(sends_of(id[i], from), 1);
	assert_int_equal(reports(false), 0);
}

static void
ISSUE_04_what_an_alarm_holds_is_released_by_a_policy_by_people_and_over_a_kill(void **state)
{
	uint64_t a, b;
	size_t from;

	(void)state;
	health[0] = WRONG_PASSWORD;
	a = plain();
	b = plain();
	pass(CLOCK_MINUTE);
	stop(SIGKILL);
	start();
	assert_true(shown(a, "held, relay one"));
	assert_true(shown(b, "held, relay one"));
	/* the code is said once */
	assert_true(shown(b, "last: alarm: 192.0.2.1:587 refused the credential (AUTH): 535 5.7.8 wrong\n"));
	/* a reload: one knocks at once, and it is still wrong */
	pass(CLOCK_HOUR);
	from = nsent;
	rig_take_policy(&g, rig_policy);
	settle();
	assert_int_equal(nsent, from + 1);
	/* by hand: that one alone */
	health[0] = TAKES;
	from = nsent;
	people(MAIL_QUEUE_RELEASE, b);
	assert_int_equal(sends_of(b, from), 1);
	/* that it went well is known, and frees the other one */
	assert_int_equal(sends_of(a, from), 1);
	assert_int_equal(queued(), 0);
}

static void
COL_35_mail_of_a_relay_that_the_policy_has_lost_says_so_and_goes_when_it_is_back(void **state)
{
	char *less = strdup(rig_policy), *text;
	uint64_t id;
	int err;

	(void)state;
	health[1] = PUTS_OFF;
	id = mail(&(struct rig_mail){.to = {"b@two.example"}});
	assert_true(shown(id, "last: 451 4.3.0 later"));
	/* relay two has another name, and nothing else is for its mail */
	memcpy(strstr(less, "  two:\n"), "  six:\n", 7);
	memcpy(strstr(less, "- {to: any, via: one}"), "# nothing for anybody", 21);
	memcpy(strstr(less, "via: two"), "via: six", 8);
	memcpy(strstr(less, "@two.example"), "@six.example", 12);
	rig_take_policy(&g, less);
	pass(CLOCK_DAY);
	assert_int_equal(sends_of(id, 0), 1);
	assert_true(shown(id, "waits: the policy has no such relay any more"));
	text = rig_people(&g, MAIL_QUEUE_LIST, 0, false, &err);
	assert_non_null(strstr(text, "(the policy has no such relay any more"));
	free(text);
	health[1] = TAKES;
	rig_take_policy(&g, rig_policy);
	settle();
	assert_false(shown(id, "no such relay"));
	assert_int_equal(queued(), 0);
	free(less);
}

static void
ISSUE_04_people_hold_a_message_for_days_and_retry_one_before_its_time(void **state)
{
	uint64_t id;
	size_t from;

	(void)state;
	health[0] = PUTS_OFF;
	id = plain();
	pass(3 * CLOCK_HOUR);
	from = nsent;
	people(MAIL_QUEUE_RETRY, id);
	assert_int_equal(nsent, from + 1);
	assert_int_equal(sent[from].at, clock_wall());
	people(MAIL_QUEUE_HOLD, id);
	from = nsent;
	pass(9 * CLOCK_DAY);
	assert_int_equal(sends_of(id, from), 0);
	assert_int_equal(reports(false), 0);
	health[0] = TAKES;
	/* it has grown old meanwhile, but was held: it has its try */
	people(MAIL_QUEUE_RELEASE, id);
	assert_int_equal(sends_of(id, from), 1);
	assert_int_equal(queued(), 0);
	assert_int_equal(reports(false), 0);
}

/* ---- the clock itself --------------------------------------------------------------------- */

static void
ISSUE_04_silence_of_a_relay_for_days_is_no_second_send(void **state)
{
	uint64_t id;

	(void)state;
	health[0] = SAYS_NOTHING;
	id = plain();
	pass(9 * CLOCK_DAY);
	/* its answer is still awaited: what is being sent is not too old */
	assert_int_equal(sends_of(id, 0), 1);
	assert_int_equal(reports(false), 0);
	/* the relay role dies; nothing is known, so it is tried anew */
	stop(0);
	health[0] = TAKES;
	start();
	assert_int_equal(sends_of(id, 0), 2);
	assert_int_equal(queued(), 0);
	assert_int_equal(reports(false), 0);
}

static void
ISSUE_04_a_host_that_slept_beyond_the_lifetime_tries_once_more_then_bounces(void **state)
{
	uint64_t a, b;
	size_t from;

	(void)state;
	/* asleep: the wall's clock alone has gone on, and is looked at within a minute */
	health[0] = PUTS_OFF;
	a = plain();
	pass(CLOCK_MINUTE);
	jump(9LL * CLOCK_DAY);
	from = nsent;
	health[0] = TAKES;
	pass(CLOCK_MINUTE);
	assert_int_equal(sends_of(a, from), 1);
	assert_int_equal(queued(), 0);
	assert_int_equal(reports(false), 0);
	/* the same, and the relay still says no */
	health[0] = PUTS_OFF;
	b = plain();
	pass(CLOCK_MINUTE);
	jump(9LL * CLOCK_DAY);
	from = nsent;
	pass(CLOCK_MINUTE);
	assert_int_equal(sends_of(b, from), 1);
	assert_int_equal(reports(false), 1);
	assert_int_equal(queued(), 0);
}

static void
ISSUE_04_a_host_that_was_off_beyond_the_lifetime_tries_once_more(void **state)
{
	uint64_t a;
	size_t from;

	(void)state;
	health[0] = PUTS_OFF;
	a = plain();
	stop(SIGKILL);
	jump(30LL * CLOCK_DAY);
	from = nsent;
	health[0] = IS_DOWN;
	start();
	/* also a relay that is not there yet has been asked, once; then it is enough */
	assert_int_equal(sends_of(a, from), 1);
	pass(CLOCK_MINUTE);
	assert_int_equal(sends_of(a, from), 1);
	health[0] = TAKES;
	pass(2 * CLOCK_HOUR);
	assert_int_equal(reports(false), 1);
	assert_int_equal(queued(), 0);
}

static void
ISSUE_04_a_clock_set_back_keeps_no_mail_waiting_for_the_old_time(void **state)
{
	uint64_t a, b;
	size_t from;

	(void)state;
	health[0] = PUTS_OFF;
	a = plain();
	pass(5 * CLOCK_HOUR);
	/* a year: what was due within the hour still is */
	jump(-365LL * CLOCK_DAY);
	from = nsent;
	pass(2 * CLOCK_HOUR);
	assert_in_range(sends_of(a, from), 1, 4);
	/* the same while nobody was there to see it */
	stop(SIGKILL);
	jump(-365LL * CLOCK_DAY);
	start();
	from = nsent;
	pass(2 * CLOCK_HOUR);
	assert_in_range(sends_of(a, from), 1, 4);
	/* and of a relay whose circuit is open */
	health[0] = IS_DOWN;
	for (int i = 0; i < 8; i++) {
		b = plain();
		pass(1);
	}
	pass(6 * CLOCK_HOUR);
	jump(-365LL * CLOCK_DAY);
	health[0] = TAKES;
	from = nsent;
	pass(2 * CLOCK_HOUR);
	assert_int_equal(sends_of(a, from), 1);
	assert_int_equal(sends_of(b, from), 1);
	assert_int_equal(queued(), 0);
}

static void
ISSUE_04_a_report_under_way_when_the_clock_is_set_back_comes_all_the_same(void **state)
{
	(void)state;
	health[0] = REFUSES;
	/* the report itself waits for a relay that is down */
	health[1] = IS_DOWN;
	mail(&(struct rig_mail){.from = "me@two.example", .to = {"b@example.com"}});
	pass(CLOCK_HOUR);
	jump(-30LL * CLOCK_DAY);
	stop(SIGKILL);
	health[1] = TAKES;
	start();
	pass(2 * CLOCK_HOUR);
	assert_int_equal(queued(), 0);
	assert_int_equal(reports(false), 1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(ISSUE_04_the_waits_of_a_message_double_to_an_hour_each_with_its_own_jitter),
		T(ISSUE_04_five_days_with_deaths_of_roles_keep_the_waits_one_warning_one_bounce),
		T(ISSUE_04_nobody_is_told_who_wants_no_report_nor_a_null_path),
		T(ISSUE_04_what_a_limit_put_off_leaves_at_its_second_over_a_kill_and_a_clock_set_back),
		T(ISSUE_04_the_circuit_of_a_relay_opens_lets_one_knock_and_closes),
		T(ISSUE_04_a_relay_that_is_held_back_by_an_alarm_is_tried_by_one_message_at_growing_times),
		T(ISSUE_04_what_an_alarm_holds_is_released_by_a_policy_by_people_and_over_a_kill),
		T(COL_35_mail_of_a_relay_that_the_policy_has_lost_says_so_and_goes_when_it_is_back),
		T(ISSUE_04_people_hold_a_message_for_days_and_retry_one_before_its_time),
		T(ISSUE_04_silence_of_a_relay_for_days_is_no_second_send),
		T(ISSUE_04_a_host_that_slept_beyond_the_lifetime_tries_once_more_then_bounces),
		T(ISSUE_04_a_host_that_was_off_beyond_the_lifetime_tries_once_more),
		T(ISSUE_04_a_clock_set_back_keeps_no_mail_waiting_for_the_old_time),
		T(ISSUE_04_a_report_under_way_when_the_clock_is_set_back_comes_all_the_same),
	};

	signal(SIGPIPE, SIG_IGN);
	/* a second's beginning, in 2026 */
	clock_make(1790000000000);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
