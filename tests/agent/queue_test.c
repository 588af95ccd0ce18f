/*
 * The role queue between a front, a relay and a parent that are played here: what a program is told,
 * what is durable before it, what goes where and when.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include <dirent.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "queue_rig.h"
#include "role/queue_inside.h"

static struct rig g;

/* What the role's syncs meet: the three calls below stand before the C library's. Shared with the role. */
static struct syncs {
	atomic_int fail, block, fail_at; /* fail_at: the n-th from now */
	atomic_uint n;
} *syncs;

static int
synced(long call, int fd)
{
	atomic_fetch_add(&syncs->n, 1);
	while (atomic_load(&syncs->block))
		usleep(1000);
	if (atomic_load(&syncs->fail) || (atomic_load(&syncs->fail_at) && atomic_fetch_sub(&syncs->fail_at, 1) == 1)) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(call, fd);
}

int
fsync(int fd)
{
	return synced(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
	return synced(SYS_fdatasync, fd);
}

int
syncfs(int fd)
{
	return synced(SYS_syncfs, fd);
}

static int
begin(void **state)
{
	(void)state;
	*syncs = (struct syncs){0};
	rig_new(&g);
	rig_begin(&g);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	int st = rig_end(&g, 0);
	rig_free(&g);
	return !(WIFEXITED(st) && !WEXITSTATUS(st));
}

static void
a_message_is_accepted_delivered_and_gone(void **state)
{
	struct rig_in m = {0}, s = {0};
	const struct front_settled *t;
	const struct relay_send *x;

	(void)state;
	uint64_t id = rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	t = rig_settled(&g, &m);
	assert_int_equal(t->code, 250);
	assert_int_equal(t->id, id);
	assert_int_equal(t->delivered, 0);
	assert_string_equal(t->enhanced, "2.0.0");
	x = rig_send(&g, 5000, &s);
	assert_non_null(x);
	assert_int_equal(x->id, id);
	assert_string_equal(x->relay, "one");
	assert_string_equal(x->from, "a@example.org");
	assert_int_equal(x->nrcpt, 1);
	assert_string_equal(x->rcpt[0].address, "b@example.com");
	assert_int_equal(x->rcpt[0].auth, 1);
	char *c = rig_content_of(&s);
	assert_string_equal(c, rig_content);
	free(c);
	rig_result(&g, x, RELAY_DELIVERED, 250, "2.0.0 taken");
	assert_true(rig_empty(&g, 5000));
	int err;
	char *text = rig_people(&g, MAIL_QUEUE_TRACE, id, false, &err);
	assert_int_equal(err, 0);
	assert_non_null(strstr(text, "delivered"));
	assert_non_null(strstr(text, "TLSv1.3"));
	free(text);
	ipc_free(&m.in);
	ipc_free(&s.in);
}

/* ---- through ------------------------------------------------------------------------ */

/* A message of these recipients, and the sends of it: one for each relay. */
static uint64_t
goes_through(const struct rig_mail *w, struct rig_in *s, size_t n)
{
	uint64_t id = rig_mail(&g, w);

	for (size_t i = 0; i < n; i++) {
		const struct relay_send *x = rig_send(&g, 5000, &s[i]);
		assert_non_null(x);
		assert_int_equal(x->id, id);
	}
	return id;
}

static unsigned
in_the_queue(void)
{
	struct rig_in m = {0};

	rig_status(&g, &m);
	unsigned n = ((const struct mail_status *)m.body)->messages;
	ipc_free(&m.in);
	return n;
}

static void
through_the_program_hears_the_relays_own_250(void **state)
{
	struct rig_in m = {0}, s = {0};
	int err;

	(void)state;
	uint64_t id = goes_through(&(struct rig_mail){.to = {"b@example.com"}, .through = true}, &s, 1);
	char *c = rig_content_of(&s);
	assert_string_equal(c, rig_content);
	free(c);
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "2.6.0 it is mine as XYZ");
	const struct front_settled *t = rig_settled(&g, &m);
	assert_int_equal(t->code, 250);
	assert_int_equal(t->delivered, 1);
	assert_string_equal(t->enhanced, "2.6.0");
	assert_string_equal(t->text, "it is mine as XYZ");
	assert_int_equal(in_the_queue(), 0);
	char *text = rig_people(&g, MAIL_QUEUE_TRACE, id, false, &err);
	assert_int_equal(err, 0);
	assert_non_null(strstr(text, "delivered"));
	assert_non_null(strstr(text, "it is mine as XYZ"));
	assert_non_null(strstr(text, "TLSv1.3"));
	free(text);
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
through_a_550_of_the_relay_is_a_550_to_the_program(void **state)
{
	struct rig_in m = {0}, s = {0};

	(void)state;
	goes_through(&(struct rig_mail){.to = {"b@example.com", "c@example.com"}, .through = true}, &s, 1);
	rig_result(&g, s.body, RELAY_FAILED, 550, "5.1.1 no such user\n5.1.1 here");
	const struct front_settled *t = rig_settled(&g, &m);
	assert_int_equal(t->code, 550);
	assert_int_equal(t->delivered, 0);
	assert_string_equal(t->enhanced, "5.1.1");
	assert_string_equal(t->text, "no such user\nhere");
	assert_int_equal(in_the_queue(), 0);
	assert_null(rig_send(&g, 200, &s));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
through_a_deferral_is_queued_before_its_250(void **state)
{
	struct rig_in m = {0}, s = {0};
	char id[SPOOL_ID_LEN + 1];

	(void)state;
	spool_id_text(goes_through(&(struct rig_mail){.to = {"b@example.com"}, .through = true}, &s, 1), id);
	rig_result(&g, s.body, RELAY_DEFERRED, 451, "4.3.0 later");
	const struct front_settled *t = rig_settled(&g, &m);
	assert_int_equal(t->code, 250);
	assert_int_equal(t->delivered, 0);
	assert_non_null(strstr(t->text, "queued as"));
	assert_non_null(strstr(t->text, id));
	assert_non_null(strstr(t->text, "451 4.3.0 later"));
	/* and it goes from there */
	assert_non_null(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
through_of_three_fates_each_is_seen_to(void **state)
{
	struct rig_in m = {0}, s = {0};
	static const struct rig_mail w = {.to = {"b@example.com", "c@example.com", "d@example.com"},
		.through = true};
	struct relay_fate_of f[3] = {{RELAY_DELIVERED, 250, "2.0.0 mine"}, {RELAY_FAILED, 550, "5.1.1 who is c"},
		{RELAY_DEFERRED, 450, "4.2.0 d is busy"}};

	(void)state;
	goes_through(&w, &s, 1);
	const struct relay_send *x = s.body;
	assert_int_equal(x->nrcpt, 3);
	struct relay_result r = {.claim = x->claim, .connected = 1, .rcpt = f, .nrcpt = 3};
	assert_int_equal(ipc_send(g.relay, RELAY_RESULT, 0, &relay_tell_shape[RELAY_RESULT], &r, NULL, 0), 0);
	const struct front_settled *t = rig_settled(&g, &m);
	assert_int_equal(t->code, 250);
	assert_int_equal(t->delivered, 0);
	assert_non_null(strstr(t->text, "delivered to 1 of 3"));
	assert_non_null(strstr(t->text, "for 1"));
	assert_non_null(strstr(t->text, "<c@example.com> 550 5.1.1 who is c"));
	assert_non_null(strstr(t->text, "a report"));
	/* the report, and what is open: of the others nothing more */
	bool report = false, rest = false;
	for (int i = 0; i < 2; i++) {
		x = rig_send(&g, 5000, &s);
		assert_non_null(x);
		assert_int_equal(x->nrcpt, 1);
		if (!*x->from) {
			report = true;
			assert_string_equal(x->rcpt[0].address, "a@example.org");
			char *c = rig_content_of(&s);
			assert_non_null(strstr(c, "rfc822; c@example.com"));
			assert_null(strstr(c, "d@example.com"));
			free(c);
		} else {
			rest = true;
			assert_string_equal(x->rcpt[0].address, "d@example.com");
		}
		rig_result(&g, x, RELAY_DELIVERED, 250, "ok");
	}
	assert_true(report && rest);
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
through_two_relays_one_claim_each(void **state)
{
	struct rig_in m = {0}, s[2] = {{{0}}};

	(void)state;
	goes_through(&(struct rig_mail){.to = {"b@example.com", "c@two.example"}, .through = true}, s, 2);
	for (int i = 0; i < 2; i++) {
		const struct relay_send *x = s[i].body;
		assert_int_equal(x->nrcpt, 1);
		assert_string_equal(x->rcpt[0].address, strcmp(x->relay, "two") ? "b@example.com" : "c@two.example");
		assert_int_equal(x->rcpt[0].auth, strcmp(x->relay, "two") != 0);
		rig_result(&g, x, RELAY_DELIVERED, 250, "2.0.0 ok");
	}
	assert_int_equal(rig_settled(&g, &m)->delivered, 1);
	assert_int_equal(in_the_queue(), 0);
	for (int i = 0; i < 2; i++)
		ipc_free(&s[i].in);
	ipc_free(&m.in);
}

static void
through_a_refusal_and_no_report_wanted_is_told_in_words(void **state)
{
	struct rig_in m = {0}, s[2] = {{{0}}};

	(void)state;
	goes_through(&(struct rig_mail){.to = {"b@example.com", "c@two.example"}, .through = true,
		.notify = "NEVER"}, s, 2);
	for (int i = 0; i < 2; i++) {
		const struct relay_send *x = s[i].body;
		if (!strcmp(x->relay, "two"))
			rig_result(&g, x, RELAY_FAILED, 550, "5.7.1 not you");
		else
			rig_result(&g, x, RELAY_DELIVERED, 250, "2.0.0 ok");
	}
	const struct front_settled *t = rig_settled(&g, &m);
	assert_int_equal(t->code, 250);
	assert_int_equal(t->delivered, 0);
	assert_non_null(strstr(t->text, "<c@two.example> 550 5.7.1 not you"));
	assert_non_null(strstr(t->text, "no report follows"));
	assert_null(rig_send(&g, 300, &s[0]));
	assert_int_equal(in_the_queue(), 0);
	for (int i = 0; i < 2; i++)
		ipc_free(&s[i].in);
	ipc_free(&m.in);
}

static void
through_an_unreachable_relay_is_known_and_not_waited_for_again(void **state)
{
	struct rig_in m = {0}, s = {0};

	(void)state;
	goes_through(&(struct rig_mail){.to = {"b@example.com"}, .through = true}, &s, 1);
	rig_result(&g, s.body, RELAY_DEFERRED, 0, "no route to host");
	const struct front_settled *t = rig_settled(&g, &m);
	assert_int_equal(t->code, 250);
	assert_non_null(strstr(t->text, "relay one: no route to host"));
	/* the next one is queued at once: no send of it is waited for */
	rig_mail(&g, &(struct rig_mail){.to = {"c@example.com"}, .through = true});
	t = rig_settled(&g, &m);
	assert_int_equal(t->code, 250);
	assert_non_null(strstr(t->text, "no route to host"));
	for (int i = 0; i < 2; i++) {
		assert_non_null(rig_send(&g, 5000, &s));
		rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	}
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
through_no_answer_in_time_is_cancelled_then_queued(void **state)
{
	struct rig_in m = {0}, s = {0}, c = {0};

	(void)state;
	goes_through(&(struct rig_mail){.to = {"b@example.com"}, .through = true}, &s, 1);
	const struct relay_cancel *x = rig_wait(g.relay, relay_ask_shape, RELAY_CANCEL, 20000, &c);
	assert_non_null(x);
	assert_int_equal(x->claim, ((const struct relay_send *)s.body)->claim);
	/* as long as the relay says nothing, the program is told nothing */
	assert_null(rig_wait(g.front, front_tell_shape, FRONT_SETTLED, 300, &m));
	struct relay_fate_of f = {RELAY_DEFERRED, 0, "given up"};
	struct relay_result r = {.claim = x->claim, .canceled = 1, .rcpt = &f, .nrcpt = 1};
	assert_int_equal(ipc_send(g.relay, RELAY_RESULT, 0, &relay_tell_shape[RELAY_RESULT], &r, NULL, 0), 0);
	const struct front_settled *t = rig_settled(&g, &m);
	assert_int_equal(t->code, 250);
	assert_non_null(strstr(t->text, "not answered in time"));
	assert_non_null(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
	ipc_free(&c.in);
}

static void
through_a_late_250_after_the_cancel_is_the_answer(void **state)
{
	struct rig_in m = {0}, s = {0}, c = {0};

	(void)state;
	goes_through(&(struct rig_mail){.to = {"b@example.com"}, .through = true}, &s, 1);
	assert_non_null(rig_wait(g.relay, relay_ask_shape, RELAY_CANCEL, 20000, &c));
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "2.0.0 after all");
	const struct front_settled *t = rig_settled(&g, &m);
	assert_int_equal(t->delivered, 1);
	assert_string_equal(t->text, "after all");
	assert_null(rig_send(&g, 300, &s));
	assert_int_equal(in_the_queue(), 0);
	ipc_free(&m.in);
	ipc_free(&s.in);
	ipc_free(&c.in);
}

/* ---- from the spool ------------------------------------------------------------------ */

/* 256 messages are taken at once; a relay that is silent must not hold all these places. */
static void
through_waits_for_192_messages_and_the_next_is_queued(void **state)
{
	struct rig_in m = {0};

	(void)state;
	for (int i = 0; i < 192; i++)
		rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}, .through = true});
	uint64_t id = rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}, .through = true});
	const struct front_settled *t = rig_settled(&g, &m);
	assert_int_equal(t->id, id);
	assert_int_equal(t->code, 250);
	assert_int_equal(t->delivered, 0);
	ipc_free(&m.in);
}

static void
a_deferral_is_tried_again_and_a_refusal_reported_once(void **state)
{
	struct rig_in m = {0}, s = {0};

	(void)state;
	rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	rig_settled(&g, &m);
	for (int i = 0; i < 3; i++) {
		assert_non_null(rig_send(&g, 5000, &s));
		rig_result(&g, s.body, RELAY_DEFERRED, 451, "4.3.0 later");
	}
	assert_non_null(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_FAILED, 550, "5.1.1 no");
	const struct relay_send *x = rig_send(&g, 5000, &s);
	assert_non_null(x);
	assert_string_equal(x->from, "");
	assert_string_equal(x->rcpt[0].address, "a@example.org");
	/* the report is refused: nobody is told of that, RFC 5321 4.5.5 */
	rig_result(&g, x, RELAY_FAILED, 550, "5.1.1 nor this");
	assert_true(rig_empty(&g, 5000));
	assert_null(rig_send(&g, 300, &s));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
a_wrong_credential_holds_and_bounces_nothing_until_it_is_well(void **state)
{
	struct rig_in m = {0}, s = {0};
	struct relay_state y = {.relay = "one", .alarm = 1, .text = "535 5.7.8 wrong password"};
	int err;

	(void)state;
	uint64_t id = rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	rig_settled(&g, &m);
	assert_non_null(rig_send(&g, 5000, &s));
	assert_int_equal(ipc_send(g.relay, RELAY_STATE, 0, &relay_tell_shape[RELAY_STATE], &y, NULL, 0), 0);
	rig_result(&g, s.body, RELAY_HELD, 0, "535 5.7.8 wrong password");
	assert_null(rig_send(&g, 1000, &s));
	char *text = rig_people(&g, MAIL_QUEUE_SHOW, id, false, &err);
	assert_int_equal(err, 0);
	assert_non_null(strstr(text, "held"));
	assert_non_null(strstr(text, "wrong password"));
	free(text);
	rig_status(&g, &m);
	const struct mail_status *t = m.body;
	assert_int_equal(t->held, 1);
	assert_int_equal(t->bounced, 0);
	assert_int_equal(t->nrelay, 1);
	assert_int_equal(t->relay[0].alarm, 1);
	assert_string_equal(t->relay[0].text, "535 5.7.8 wrong password");
	y = (struct relay_state){.relay = "one", .well = 1, .text = ""};
	assert_int_equal(ipc_send(g.relay, RELAY_STATE, 0, &relay_tell_shape[RELAY_STATE], &y, NULL, 0), 0);
	assert_non_null(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
what_an_alarm_held_is_known_again_after_a_restart(void **state)
{
	struct rig_in m = {0}, s = {0};
	struct relay_state y = {.relay = "one", .alarm = 1, .text = "535 wrong"};

	(void)state;
	rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	rig_settled(&g, &m);
	assert_non_null(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_HELD, 0, "535 wrong");
	assert_null(rig_send(&g, 300, &s));
	rig_end(&g, 0);
	rig_begin(&g);
	assert_null(rig_send(&g, 300, &s));
	assert_int_equal(ipc_send(g.relay, RELAY_STATE, 0, &relay_tell_shape[RELAY_STATE], &y, NULL, 0), 0);
	y = (struct relay_state){.relay = "one", .well = 1, .text = ""};
	assert_int_equal(ipc_send(g.relay, RELAY_STATE, 0, &relay_tell_shape[RELAY_STATE], &y, NULL, 0), 0);
	assert_non_null(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
other_routes_after_a_reload_take_what_is_queued_along(void **state)
{
	struct rig_in m = {0}, s = {0};
	char *other = strdup(rig_policy), *via;

	(void)state;
	rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	rig_settled(&g, &m);
	assert_non_null(rig_send(&g, 5000, &s));
	assert_string_equal(((const struct relay_send *)s.body)->relay, "one");
	via = strstr(other, "{to: any, via: one}");
	memcpy(via, "{to: any, via: two}", 19);
	rig_take_policy(&g, other);
	/* it was being sent while the policy changed */
	rig_result(&g, s.body, RELAY_DEFERRED, 451, "4.3.0 later");
	assert_non_null(rig_send(&g, 5000, &s));
	assert_string_equal(((const struct relay_send *)s.body)->relay, "two");
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	free(other);
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
a_limit_puts_a_message_off_also_over_a_restart(void **state)
{
	struct rig_in m = {0}, s = {0};

	(void)state;
	rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}, .through = true,
		.not_before = (uint64_t)time(NULL) + 30});
	assert_int_equal(rig_settled(&g, &m)->code, 250);
	assert_null(rig_send(&g, 300, &s));
	rig_end(&g, SIGKILL);
	rig_begin(&g);
	assert_null(rig_send(&g, 300, &s));
	int err;
	free(rig_people(&g, MAIL_QUEUE_FLUSH, 0, false, &err));
	assert_int_equal(err, 0);
	/* the relay role's own pauses go first */
	const struct relay_again *again = rig_wait(g.relay, relay_ask_shape, RELAY_AGAIN, 5000, &m);
	assert_non_null(again);
	assert_string_equal(again->relay, "");
	assert_non_null(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

/* ---- front --------------------------------------------------------------------------------- */

static void
a_dropped_arrival_leaves_nothing(void **state)
{
	uint64_t offset, id;
	int fd;

	(void)state;
	assert_int_equal(rig_arrive(&g, 10, &fd, &offset, &id), 0);
	close(fd);
	struct front_drop d = {g.token};
	assert_int_equal(ipc_send(g.front, FRONT_DROP, 0, &front_ask_shape[FRONT_DROP], &d, NULL, 0), 0);
	assert_int_equal(in_the_queue(), 0);
	assert_int_equal(world_bytes(g.path, "queue"), 0);
}

/* Front told its program 451 after ten minutes: RFC 5321 4.5.3.2.6. */
static void
taken_back(uint64_t token)
{
	struct front_drop d = {token};

	assert_int_equal(ipc_send(g.front, FRONT_DROP, 0, &front_ask_shape[FRONT_DROP], &d, NULL, 0), 0);
}

/* Another message, which is the first that a relay sees; then nothing is left. */
static void
nothing_went_before(void)
{
	struct rig_in m = {0}, s = {0};
	uint64_t id = rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});

	assert_int_equal(rig_settled(&g, &m)->id, id);
	assert_non_null(rig_send(&g, 30000, &s));
	assert_int_equal(((const struct relay_send *)s.body)->id, id);
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 30000));
	assert_int_equal(world_bytes(g.path, "queue"), 0);
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
a_drop_while_its_seal_is_being_synced_leaves_nothing(void **state)
{
	struct rig_in m = {0};
	int err;

	(void)state;
	atomic_store(&syncs->block, 1);
	uint64_t id = rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	while (!atomic_load(&syncs->n))
		usleep(1000);
	taken_back(g.token);
	/* it has read that when it has answered this */
	free(rig_people(&g, MAIL_QUEUE_LIST, 0, false, &err));
	atomic_store(&syncs->block, 0);
	assert_int_equal(rig_settled(&g, &m)->id, id);
	nothing_went_before();
	char *text = rig_people(&g, MAIL_QUEUE_TRACE, id, false, &err);
	assert_non_null(strstr(text, "the program was told 451"));
	free(text);
	ipc_free(&m.in);
}

static void
a_drop_that_crosses_the_250_removes_what_is_not_being_sent(void **state)
{
	struct rig_in m = {0}, s = {0};

	(void)state;
	rig_end(&g, 0);
	rig_begin_quiet(&g);
	rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	assert_int_equal(rig_settled(&g, &m)->code, 250);
	assert_int_equal(in_the_queue(), 1);
	taken_back(g.token);
	while (in_the_queue())
		usleep(1000);
	/* no relay was there until now */
	assert_int_equal(ipc_send(g.relay, RELAY_READY, 0, NULL, NULL, NULL, 0), 0);
	nothing_went_before();
	/* what is being sent is the relay's to answer: it goes on, and may come twice */
	rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	assert_int_equal(rig_settled(&g, &m)->code, 250);
	assert_non_null(rig_send(&g, 30000, &s));
	taken_back(g.token);
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 30000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
through_a_drop_cancels_and_keeps_nothing(void **state)
{
	struct rig_in m = {0}, s = {0}, c = {0};

	(void)state;
	goes_through(&(struct rig_mail){.to = {"b@example.com"}, .through = true}, &s, 1);
	taken_back(g.token);
	const struct relay_cancel *x = rig_wait(g.relay, relay_ask_shape, RELAY_CANCEL, 10000, &c);
	assert_non_null(x);
	struct relay_fate_of f = {RELAY_DEFERRED, 0, "given up"};
	struct relay_result r = {.claim = x->claim, .canceled = 1, .rcpt = &f, .nrcpt = 1};
	assert_int_equal(ipc_send(g.relay, RELAY_RESULT, 0, &relay_tell_shape[RELAY_RESULT], &r, NULL, 0), 0);
	assert_int_equal(rig_settled(&g, &m)->code, 451);
	nothing_went_before();
	ipc_free(&m.in);
	ipc_free(&s.in);
	ipc_free(&c.in);
}

/* One recipient refused, who is reported on, one deferred, who is kept: of the two files the n-th is not durable. The
 * program is told 451 and sends again, so what was kept would come twice. Nothing else is synced before. */
static void
half_is_durable(int n)
{
	struct rig_in m = {0}, s = {0};
	struct relay_fate_of f[2] = {{RELAY_FAILED, 550, "5.1.1 who is b"}, {RELAY_DEFERRED, 450, "4.2.0 busy"}};

	goes_through(&(struct rig_mail){.to = {"b@example.com", "c@example.com"}, .through = true}, &s, 1);
	struct relay_result r = {.claim = ((const struct relay_send *)s.body)->claim, .connected = 1, .rcpt = f,
		.nrcpt = 2};
	atomic_store(&syncs->fail_at, n);
	assert_int_equal(ipc_send(g.relay, RELAY_RESULT, 0, &relay_tell_shape[RELAY_RESULT], &r, NULL, 0), 0);
	assert_int_equal(rig_settled(&g, &m)->code, 451);
	assert_int_equal(atomic_load(&syncs->fail_at), 0);
	nothing_went_before();
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
through_a_report_goes_only_with_what_it_is_about(void **state)
{
	(void)state;
	half_is_durable(2);
}

static void
through_what_is_open_is_kept_only_with_its_report(void **state)
{
	(void)state;
	half_is_durable(1);
}

static void
a_seal_of_more_than_was_written_is_refused(void **state)
{
	struct rig_in m = {0};
	struct front_rcpt to = {"b@example.com", "one", "", ""};
	struct front_seal s = {.size = 100, .application = "", .unit = "", .from = "", .envid = "", .ret = "",
		.note = "", .rcpt = &to, .nrcpt = 1};
	uint64_t offset, id;
	int fd;

	(void)state;
	assert_int_equal(rig_arrive(&g, 100, &fd, &offset, &id), 0);
	close(fd);
	s.token = g.token;
	assert_int_equal(ipc_send(g.front, FRONT_SEAL, 0, &front_ask_shape[FRONT_SEAL], &s, NULL, 0), 0);
	const struct front_settled *t = rig_settled(&g, &m);
	assert_int_equal(t->code, 451);
	assert_string_equal(t->enhanced, "4.3.0");
	assert_int_equal(in_the_queue(), 0);
	ipc_free(&m.in);
}

static void
a_message_over_the_size_is_refused_for_good(void **state)
{
	uint64_t offset, id;
	int fd;

	(void)state;
	assert_int_equal(rig_arrive(&g, g.config.message_most + 1, &fd, &offset, &id), EMSGSIZE);
}

static void
recipients_in_several_seals_go_in_several_claims(void **state)
{
	struct rig_in m = {0}, s = {0};
	struct front_rcpt to[200];
	char name[450][32];
	struct front_seal f = {.application = "", .unit = "", .from = "a@example.org", .envid = "",
		.ret = "", .note = "", .rcpt = to, .size = 2};
	bool seen[450] = {false};
	uint64_t offset, id;
	size_t n = 0;
	int fd;

	(void)state;
	assert_int_equal(rig_arrive(&g, 0, &fd, &offset, &id), 0);
	assert_int_equal(pwrite(fd, "\r\n", 2, (off_t)offset), 2);
	close(fd);
	f.token = g.token;
	while (n < 450) {
		for (f.nrcpt = 0; f.nrcpt < 200 && n < 450; n++) {
			snprintf(name[n], sizeof name[n], "r%zu@example.com", n);
			to[f.nrcpt++] = (struct front_rcpt){name[n], "one", "", ""};
		}
		f.more = n < 450;
		assert_int_equal(ipc_send(g.front, FRONT_SEAL, 0, &front_ask_shape[FRONT_SEAL], &f, NULL, 0), 0);
	}
	assert_int_equal(rig_settled(&g, &m)->code, 250);
	for (n = 0; n < 450; ) {
		const struct relay_send *x = rig_send(&g, 5000, &s);
		assert_non_null(x);
		assert_true(x->nrcpt <= RELAY_MOST_RCPT);
		for (uint32_t i = 0; i < x->nrcpt; i++) {
			size_t k = strtoul(x->rcpt[i].address + 1, NULL, 10);
			assert_false(seen[k]);
			seen[k] = true;
			n++;
		}
		rig_result(&g, x, RELAY_DELIVERED, 250, "ok");
	}
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
a_kept_state_comes_back_whole_after_a_restart(void **state)
{
	static uint8_t bytes[3 * FRONT_MOST_KEEP / 2];
	struct rig_in m = {0};
	size_t at = 0;

	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 8));
	while (at < sizeof bytes) {
		size_t n = sizeof bytes - at < FRONT_MOST_KEEP ? sizeof bytes - at : FRONT_MOST_KEEP;
		struct front_keep k = {"windows", bytes + at, (uint32_t)n, at + n < sizeof bytes};
		assert_int_equal(ipc_send_wait(g.front, FRONT_KEEP, 0, &front_ask_shape[FRONT_KEEP], &k, NULL, 0,
		    5000), 0);
		at += n;
	}
	/* answered after it, so it was read; closing the channels ends the role in order */
	assert_int_equal(in_the_queue(), 0);
	rig_end(&g, 0);
	rig_begin(&g);
	assert_int_equal(ipc_send(g.front, FRONT_READY, 0, NULL, NULL, NULL, 0), 0);
	for (at = 0; at < sizeof bytes; ) {
		const struct front_keep *k = rig_wait(g.front, front_tell_shape, FRONT_KEPT, 5000, &m);
		assert_non_null(k);
		assert_memory_equal(k->bytes, bytes + at, k->n);
		at += k->n;
		assert_int_equal(k->more, at < sizeof bytes);
	}
	ipc_free(&m.in);
}

static void
a_question_about_a_name_goes_to_the_relay_role_and_back(void **state)
{
	struct front_resolve f = {77, "example.com"};
	struct rig_in m = {0}, s = {0};

	(void)state;
	assert_int_equal(ipc_send(g.front, FRONT_RESOLVE, 0, &front_ask_shape[FRONT_RESOLVE], &f, NULL, 0), 0);
	const struct relay_resolve *x = rig_wait(g.relay, relay_ask_shape, RELAY_RESOLVE, 5000, &s);
	assert_non_null(x);
	assert_string_equal(x->domain, "example.com");
	struct relay_resolved r = {x->token, RELAY_NAME_MX};
	assert_int_equal(ipc_send(g.relay, RELAY_RESOLVED, 0, &relay_tell_shape[RELAY_RESOLVED], &r, NULL, 0), 0);
	const struct front_resolved *t = rig_wait(g.front, front_tell_shape, FRONT_RESOLVED, 5000, &m);
	assert_non_null(t);
	assert_int_equal(t->token, 77);
	assert_int_equal(t->answer, FRONT_NAME_MX);
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
nothing_is_taken_before_a_policy_and_a_bad_one_changes_nothing(void **state)
{
	struct rig_in m = {0}, s = {0};
	struct mail_policy p = {"h"};
	int fd = rig_bundle("mailreeve: 1\nnonsense: [\n"), none;
	uint64_t offset, id;

	(void)state;
	rig_end(&g, 0);
	g.no_policy = true;
	rig_begin(&g);
	assert_int_equal(rig_arrive(&g, 0, &none, &offset, &id), EAGAIN);
	rig_take_policy(&g, rig_policy);
	assert_int_equal(rig_arrive(&g, 0, &none, &offset, &id), 0);
	close(none);
	assert_int_equal(ipc_send(g.parent, MAIL_POLICY, 3, &mail_ask_shape[MAIL_POLICY], &p, &fd, 1), 0);
	close(fd);
	const struct mail_taken *t = rig_wait(g.parent, mail_tell_shape, MAIL_TAKEN, 5000, &m);
	assert_non_null(t);
	assert_int_equal(t->err, EINVAL);
	assert_true(*t->text);
	rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	assert_int_equal(rig_settled(&g, &m)->code, 250);
	assert_non_null(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
a_stop_finishes_what_was_sealed_and_refuses_what_is_new(void **state)
{
	struct rig_in m = {0}, s = {0};
	uint64_t offset, id;
	int fd, st;

	(void)state;
	goes_through(&(struct rig_mail){.to = {"b@example.com"}, .through = true}, &s, 1);
	assert_int_equal(ipc_send(g.parent, MAIL_STOP, 0, NULL, NULL, NULL, 0), 0);
	struct rig_in c = {0};
	assert_non_null(rig_wait(g.relay, relay_ask_shape, RELAY_CANCEL, 3000, &c));
	assert_int_equal(rig_arrive(&g, 0, &fd, &offset, &id), ESHUTDOWN);
	struct relay_fate_of f = {RELAY_DEFERRED, 0, "given up"};
	struct relay_result r = {.claim = ((const struct relay_send *)s.body)->claim, .canceled = 1, .rcpt = &f,
		.nrcpt = 1};
	assert_int_equal(ipc_send(g.relay, RELAY_RESULT, 0, &relay_tell_shape[RELAY_RESULT], &r, NULL, 0), 0);
	assert_int_equal(rig_settled(&g, &m)->code, 250);
	assert_int_equal(waitpid(g.pid, &st, 0), g.pid);
	assert_true(WIFEXITED(st) && !WEXITSTATUS(st));
	close(g.front);
	close(g.relay);
	close(g.parent);
	rig_begin(&g);
	assert_non_null(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
	ipc_free(&c.in);
}

/* So many messages to a relay that does not answer: how many of them are handed to it. */
static unsigned
handed(const char *to, unsigned n)
{
	struct rig_in m = {0};
	unsigned sent = 0;

	for (unsigned i = 0; i < n; i++) {
		rig_mail(&g, &(struct rig_mail){.to = {to}});
		rig_settled(&g, &m);
	}
	while (rig_send(&g, sent < QUEUE_FEW ? 5000 : 500, &m))
		sent++;
	ipc_free(&m.in);
	return sent;
}

static void
relays_that_do_not_answer_leave_claims_to_others(void **state)
{
	(void)state;
	assert_int_equal(handed("b@example.com", QUEUE_EACH + 20), QUEUE_EACH);
	assert_int_equal(handed("b@two.example", QUEUE_EACH), QUEUE_FEW);
	assert_true(QUEUE_EACH + QUEUE_FEW < QUEUE_CLAIMS);
}

static void
many_messages_share_few_commits(void **state)
{
	enum { N = 200 };
	struct rig_in m = {0}, s = {0};
	const char *text = rig_content;
	int fd[N];
	uint64_t offset[N], id[N], token[N];

	(void)state;
	/* all are written, then sealed at once */
	for (int i = 0; i < N; i++) {
		assert_int_equal(rig_arrive(&g, strlen(text), &fd[i], &offset[i], &id[i]), 0);
		token[i] = g.token;
		assert_int_equal(pwrite(fd[i], text, strlen(text), (off_t)offset[i]), strlen(text));
		close(fd[i]);
	}
	unsigned before = atomic_load(&syncs->n);
	for (int i = 0; i < N; i++) {
		struct front_rcpt to = {"b@example.com", "one", "", ""};
		struct front_seal f = {.token = token[i], .size = strlen(text), .application = "", .unit = "",
			.from = "a@example.org", .envid = "", .ret = "", .note = "", .rcpt = &to, .nrcpt = 1};
		assert_int_equal(ipc_send_wait(g.front, FRONT_SEAL, 0, &front_ask_shape[FRONT_SEAL], &f, NULL, 0,
		    5000), 0);
	}
	for (int i = 0; i < N; i++)
		assert_int_equal(rig_settled(&g, &m)->code, 250);
	rig_status(&g, &m);
	const struct mail_status *t = m.body;
	unsigned used = atomic_load(&syncs->n) - before;
	print_message("%d messages in %llu commits, %u syncs\n", N, (unsigned long long)t->commits, used);
	assert_true(used && used < N / 4);
	assert_int_equal(t->committed, N);
	assert_true(t->commits < N / 4);
	for (int i = 0; i < N; i++) {
		assert_non_null(rig_send(&g, 5000, &s));
		rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	}
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
no_250_before_the_sync_and_accepting_goes_on_meanwhile(void **state)
{
	struct rig_in m = {0}, s = {0};
	uint64_t id[2], offset, third;
	int fd;

	(void)state;
	atomic_store(&syncs->block, 1);
	id[0] = rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	/* another one arrives and is sealed while the first is being synced */
	id[1] = rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	assert_null(rig_wait(g.front, front_tell_shape, FRONT_SETTLED, 500, &m));
	assert_null(rig_send(&g, 100, &s));
	/* what needs no sync is answered */
	assert_int_equal(rig_arrive(&g, 0, &fd, &offset, &third), 0);
	close(fd);
	atomic_store(&syncs->block, 0);
	for (int i = 0; i < 2; i++) {
		const struct front_settled *t = rig_settled(&g, &m);
		assert_int_equal(t->code, 250);
		assert_true(t->id == id[0] || t->id == id[1]);
	}
	for (int i = 0; i < 2; i++) {
		assert_non_null(rig_send(&g, 5000, &s));
		rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	}
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
through_a_content_that_comes_with_the_seal_needs_no_file(void **state)
{
	static const struct rig_mail w = {.to = {"b@example.com"}, .through = true, .brings = true};
	struct rig_in m = {0}, s = {0};
	struct dirent *e;
	unsigned files = 0;
	char path[PATH_MAX], *c;
	DIR *d;

	(void)state;
	goes_through(&w, &s, 1);
	snprintf(path, sizeof path, "%s/queue", g.path);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)))
		files += e->d_name[0] != '.';
	closedir(d);
	assert_int_equal(files, 0);
	c = rig_content_of(&s);
	assert_string_equal(c, rig_content);
	free(c);
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "2.0.0 ok");
	assert_int_equal(rig_settled(&g, &m)->delivered, 1);
	/* not answered, it is in the spool before its 250, whole */
	goes_through(&w, &s, 1);
	rig_result(&g, s.body, RELAY_DEFERRED, 451, "4.3.0 later");
	assert_int_equal(rig_settled(&g, &m)->code, 250);
	assert_int_equal(in_the_queue(), 1);
	assert_non_null(rig_send(&g, 5000, &s));
	c = rig_content_of(&s);
	assert_string_equal(c, rig_content);
	free(c);
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
through_a_content_that_was_brought_is_in_its_report(void **state)
{
	static const struct rig_mail w = {.to = {"b@example.com", "c@example.com"}, .ret = "FULL", .through = true,
		.brings = true};
	struct rig_in m = {0}, s = {0};
	char *c;

	(void)state;
	goes_through(&w, &s, 1);
	const struct relay_send *x = s.body;
	struct relay_fate_of f[2] = {{RELAY_DELIVERED, 250, "2.0.0 ok"}, {RELAY_FAILED, 550, "5.1.1 no such user"}};
	struct relay_result t = {.claim = x->claim, .connected = 1, .dsn = 1, .peer = "192.0.2.1:587", .tls = "",
		.cipher = "", .rcpt = f, .nrcpt = 2};
	assert_int_equal(ipc_send(g.relay, RELAY_RESULT, 0, &relay_tell_shape[RELAY_RESULT], &t, NULL, 0), 0);
	assert_int_equal(rig_settled(&g, &m)->code, 250);
	assert_non_null(rig_send(&g, 5000, &s));
	c = rig_content_of(&s);
	assert_non_null(strstr(c, "no such user"));
	assert_non_null(strstr(c, "Hello."));
	free(c);
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
a_message_that_outgrows_its_seal_gets_its_file(void **state)
{
	struct front_arrive a;
	struct front_rcpt to = {"b@example.com", "one", "", ""};
	struct front_seal f = {.size = strlen(rig_content), .through = 1, .application = "", .unit = "", .uid = 1000,
		.from = "a@example.org", .envid = "", .ret = "", .note = "a test", .rcpt = &to, .nrcpt = 1};
	struct rig_in m = {0}, s = {0};
	const struct front_arrived *t;
	uint64_t id;
	char *c;
	int fd;

	(void)state;
	id = rig_arrive_later(&g);
	a = (struct front_arrive){g.token, 0, 0};
	assert_int_equal(ipc_send(g.front, FRONT_ARRIVE, 0, &front_ask_shape[FRONT_ARRIVE], &a, NULL, 0), 0);
	t = rig_wait(g.front, front_tell_shape, FRONT_ARRIVED, 20000, &m);
	assert_true(t && t->token == a.token && !t->err && !t->later);
	assert_true(t->id == id);
	fd = ipc_take(&m.in, 0);
	assert_true(fd >= 0);
	assert_true(pwrite(fd, rig_content, f.size, (off_t)t->offset) == (ssize_t)f.size);
	close(fd);
	f.token = a.token;
	assert_int_equal(ipc_send(g.front, FRONT_SEAL, 0, &front_ask_shape[FRONT_SEAL], &f, NULL, 0), 0);
	assert_non_null(rig_send(&g, 5000, &s));
	c = rig_content_of(&s);
	assert_string_equal(c, rig_content);
	free(c);
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "2.0.0 ok");
	assert_int_equal(rig_settled(&g, &m)->delivered, 1);
	/* one whose number alone was asked for is given up without a trace */
	rig_arrive_later(&g);
	struct front_drop d = {g.token};
	assert_int_equal(ipc_send(g.front, FRONT_DROP, 0, &front_ask_shape[FRONT_DROP], &d, NULL, 0), 0);
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
through_a_delivery_takes_no_sync(void **state)
{
	struct rig_in m = {0}, s = {0};

	(void)state;
	atomic_store(&syncs->block, 1);
	goes_through(&(struct rig_mail){.to = {"b@example.com"}, .through = true}, &s, 1);
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "2.0.0 ok");
	assert_int_equal(rig_settled(&g, &m)->delivered, 1);
	/* what is not final waits for one */
	goes_through(&(struct rig_mail){.to = {"b@example.com"}, .through = true}, &s, 1);
	rig_result(&g, s.body, RELAY_DEFERRED, 451, "4.3.0 later");
	assert_null(rig_wait(g.front, front_tell_shape, FRONT_SETTLED, 500, &m));
	atomic_store(&syncs->block, 0);
	assert_int_equal(rig_settled(&g, &m)->code, 250);
	assert_non_null(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
a_failed_sync_is_a_451_and_the_role_recovers_alone(void **state)
{
	struct rig_in m = {0}, s = {0};
	uint64_t offset, id;
	int fd, err;

	(void)state;
	atomic_store(&syncs->fail, 1);
	rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
	const struct front_settled *t = rig_settled(&g, &m);
	assert_int_equal(t->code, 451);
	assert_string_equal(t->enhanced, "4.3.0");
	/* the folder is not believed any more: nothing is taken */
	assert_int_not_equal(rig_arrive(&g, 0, &fd, &offset, &id), 0);
	atomic_store(&syncs->fail, 0);
	for (int i = 0; i < 300; i++) {
		err = rig_arrive(&g, 0, &fd, &offset, &id);
		if (!err)
			break;
		usleep(100000);
	}
	assert_int_equal(err, 0);
	close(fd);
	rig_mail(&g, &(struct rig_mail){.to = {"c@example.com"}});
	assert_int_equal(rig_settled(&g, &m)->code, 250);
	assert_non_null(rig_send(&g, 5000, &s));
	/* what was refused does not go all the same */
	assert_string_equal(((const struct relay_send *)s.body)->rcpt[0].address, "c@example.com");
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	assert_true(rig_empty(&g, 5000));
	assert_null(rig_send(&g, 200, &s));
	ipc_free(&m.in);
	ipc_free(&s.in);
}

/* Whose report it is: a@, b@ or both. */
static int
about(struct rig_in *s)
{
	char *text = rig_content_of(s);
	int who = (strstr(text, "<a@one.example>") || strstr(text, "; a@one.example")) |
	    (strstr(text, "<b@two.example>") || strstr(text, "; b@two.example")) << 1;

	free(text);
	return who;
}

static void
who_fails_while_a_report_is_being_made_gets_one_of_his_own(void **state)
{
	struct rig_in m = {0}, s[2] = {{{0}}}, st = {0};
	int told = 0;

	(void)state;
	rig_mail(&g, &(struct rig_mail){.from = "me@example.org", .to = {"a@one.example", "b@two.example"}});
	assert_int_equal(rig_settled(&g, &m)->code, 250);
	assert_non_null(rig_send(&g, 30000, &s[0]));
	assert_non_null(rig_send(&g, 30000, &s[1]));
	/* the first report is not durable yet when the second recipient fails */
	atomic_store(&syncs->block, 1);
	for (int i = 0; i < 2; i++) {
		rig_result(&g, s[i].body, RELAY_FAILED, 550, "5.1.1 no");
		rig_status(&g, &st);
	}
	atomic_store(&syncs->block, 0);
	for (int i = 0; i < 2; i++) {
		const struct relay_send *x = rig_send(&g, 30000, &s[i]);

		assert_non_null(x);
		assert_string_equal(x->from, "");
		int who = about(&s[i]);
		assert_true(who == 1 || who == 2);
		assert_false(told & who);
		told |= who;
		rig_result(&g, x, RELAY_DELIVERED, 250, "ok");
	}
	assert_true(rig_empty(&g, 30000));
	assert_null(rig_send(&g, 200, &s[0]));
	ipc_free(&m.in);
	ipc_free(&st.in);
	ipc_free(&s[0].in);
	ipc_free(&s[1].in);
}

static void
people_hold_release_drop_and_list(void **state)
{
	struct rig_in m = {0}, s = {0};
	int err;

	(void)state;
	uint64_t id = rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"},
		.not_before = (uint64_t)time(NULL) + 3600});
	rig_settled(&g, &m);
	free(rig_people(&g, MAIL_QUEUE_HOLD, id, false, &err));
	assert_int_equal(err, 0);
	char *text = rig_people(&g, MAIL_QUEUE_LIST, 0, false, &err);
	assert_non_null(strstr(text, " held 1/1 one <a@example.org> <b@example.com>"));
	free(text);
	text = rig_people(&g, MAIL_QUEUE_SHOW, id, true, &err);
	assert_non_null(strstr(text, "\"state\":\"held\""));
	assert_non_null(strstr(text, "Subject: one"));
	free(text);
	free(rig_people(&g, MAIL_QUEUE_RELEASE, id, false, &err));
	assert_int_equal(err, 0);
	assert_non_null(rig_send(&g, 5000, &s));
	free(rig_people(&g, MAIL_QUEUE_DROP, id, false, &err));
	assert_int_equal(err, EBUSY);
	rig_result(&g, s.body, RELAY_DEFERRED, 451, "later");
	do
		free(rig_people(&g, MAIL_QUEUE_DROP, id, false, &err));
	while (err == EBUSY);
	assert_int_equal(err, 0);
	assert_int_equal(in_the_queue(), 0);
	text = rig_people(&g, MAIL_QUEUE_DROP, id, false, &err);
	assert_int_equal(err, ENOENT);
	assert_non_null(strstr(text, "is not in the queue"));
	free(text);
	ipc_free(&m.in);
	ipc_free(&s.in);
}

static void
a_sender_gets_so_many_reports_an_hour_and_no_more(void **state)
{
	enum { N = 60 };
	struct rig_in m = {0}, s = {0};
	unsigned reports = 0, mails = 0;

	(void)state;
	for (int i = 0; i < N; i++) {
		rig_mail(&g, &(struct rig_mail){.to = {"b@example.com"}});
		rig_settled(&g, &m);
	}
	while (rig_send(&g, mails < N || reports < 50 ? 5000 : 1000, &s)) {
		const struct relay_send *x = s.body;
		if (*x->from) {
			mails++;
			rig_result(&g, x, RELAY_FAILED, 550, "5.1.1 no");
		} else {
			reports++;
			rig_result(&g, x, RELAY_DELIVERED, 250, "ok");
		}
	}
	assert_int_equal(mails, N);
	assert_int_equal(reports, 50);
	assert_true(rig_empty(&g, 5000));
	rig_status(&g, &m);
	const struct mail_status *t = m.body;
	assert_int_equal(t->reports, 50);
	assert_int_equal(t->reports_left_out, N - 50);
	ipc_free(&m.in);
	ipc_free(&s.in);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_message_is_accepted_delivered_and_gone),
		T(through_the_program_hears_the_relays_own_250),
		T(through_a_550_of_the_relay_is_a_550_to_the_program),
		T(through_a_deferral_is_queued_before_its_250),
		T(through_of_three_fates_each_is_seen_to),
		T(through_two_relays_one_claim_each),
		T(through_a_refusal_and_no_report_wanted_is_told_in_words),
		T(through_an_unreachable_relay_is_known_and_not_waited_for_again),
		T(through_no_answer_in_time_is_cancelled_then_queued),
		T(through_a_late_250_after_the_cancel_is_the_answer),
		T(through_waits_for_192_messages_and_the_next_is_queued),
		T(a_deferral_is_tried_again_and_a_refusal_reported_once),
		T(a_wrong_credential_holds_and_bounces_nothing_until_it_is_well),
		T(what_an_alarm_held_is_known_again_after_a_restart),
		T(other_routes_after_a_reload_take_what_is_queued_along),
		T(a_limit_puts_a_message_off_also_over_a_restart),
		T(a_dropped_arrival_leaves_nothing),
		T(a_drop_while_its_seal_is_being_synced_leaves_nothing),
		T(a_drop_that_crosses_the_250_removes_what_is_not_being_sent),
		T(through_a_drop_cancels_and_keeps_nothing),
		T(through_a_report_goes_only_with_what_it_is_about),
		T(through_what_is_open_is_kept_only_with_its_report),
		T(a_seal_of_more_than_was_written_is_refused),
		T(a_message_over_the_size_is_refused_for_good),
		T(recipients_in_several_seals_go_in_several_claims),
		T(a_kept_state_comes_back_whole_after_a_restart),
		T(a_question_about_a_name_goes_to_the_relay_role_and_back),
		T(nothing_is_taken_before_a_policy_and_a_bad_one_changes_nothing),
		T(a_stop_finishes_what_was_sealed_and_refuses_what_is_new),
		T(relays_that_do_not_answer_leave_claims_to_others),
		T(many_messages_share_few_commits),
		T(no_250_before_the_sync_and_accepting_goes_on_meanwhile),
		T(through_a_delivery_takes_no_sync),
		T(through_a_content_that_comes_with_the_seal_needs_no_file),
		T(through_a_content_that_was_brought_is_in_its_report),
		T(a_message_that_outgrows_its_seal_gets_its_file),
		T(a_failed_sync_is_a_451_and_the_role_recovers_alone),
		T(who_fails_while_a_report_is_being_made_gets_one_of_his_own),
		T(people_hold_release_drop_and_list),
		T(a_sender_gets_so_many_reports_an_hour_and_no_more),
	};
	signal(SIGPIPE, SIG_IGN);
	syncs = mmap(NULL, sizeof *syncs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(syncs != MAP_FAILED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
