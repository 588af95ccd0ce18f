/*
 * The spool against a model that is a few arrays: random operations, with
 * crashes between them (the object is closed with claims in flight and
 * opened again). After each step both tell the same of every recipient; at
 * the end each has been delivered once, or has failed, or was dropped.
 *
 * SEED= chooses the first seed, ROUNDS= how many.
 */
#include <inttypes.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "spool/spool.h"

#include "spool_world.h"

enum { MESSAGES = 4000, RCPTS = 5, RELAYS = 4, FLIGHTS = 4, STEPS = 600 };

static const char *const relay_name[RELAYS] = {"alpha", "beta", "gamma", "delta"};

struct model {
	uint64_t id, arrived;
	size_t n, size;
	bool live;
	enum spool_state state[RCPTS];
	bool owed[RCPTS];
	int relay[RCPTS], delivered[RCPTS];
};

struct flight {
	struct spool_claim *c;
	struct model *m;
	int relay;
};

static struct model model[MESSAGES];
static size_t nmodel;
static struct flight flight[FLIGHTS];
static uint64_t seed;

static uint64_t
rnd(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % n;
}

static struct model *
model_of(uint64_t id)
{
	for (size_t i = nmodel; i-- > 0;)
		if (model[i].id == id)
			return &model[i];
	fail_msg("a message nobody sent");
	return NULL;
}

static bool
flies(const struct model *m, int relay)
{
	for (int i = 0; i < FLIGHTS; i++)
		if (flight[i].c && flight[i].m == m && (relay < 0 || flight[i].relay == relay))
			return true;
	return false;
}

/* The message is over when nothing is open and nothing owed. */
static void
settle(struct model *m)
{
	m->live = false;
	for (size_t i = 0; i < m->n; i++)
		m->live |= m->state[i] < SPOOL_DELIVERED || m->owed[i];
}

static char
content(uint64_t id, size_t i)
{
	return (char)(id * 31 + i * 7 + (i >> 8));
}

static void
arrive(struct spool *s, uint64_t now)
{
	struct spool_outcome out[SPOOL_GROUP_MOST];
	size_t k = 1 + rnd(6), got;

	for (size_t i = 0; i < k && nmodel < MESSAGES; i++) {
		struct model *m = &model[nmodel];
		struct spool_rcpt rcpt[RCPTS] = {0};
		struct spool_envelope e = {.from = "f", .rcpt = rcpt, .nrcpt = 1 + rnd(RCPTS)};
		struct spool_arrival *a;
		char run[3000];

		memset(m, 0, sizeof *m);
		assert_int_equal(spool_arrive(s, 0, now, &a), 0);
		m->id = spool_arrival_id(a);
		m->arrived = now;
		m->n = e.nrcpt;
		m->size = rnd(4) ? rnd(200) : rnd(30000);
		for (size_t at = 0; at < m->size;) {
			size_t n = 1 + rnd(sizeof run);

			if (n > m->size - at)
				n = m->size - at;
			for (size_t j = 0; j < n; j++)
				run[j] = content(m->id, at + j);
			assert_int_equal(spool_write(a, run, n), 0);
			at += n;
		}
		for (size_t j = 0; j < m->n; j++) {
			m->relay[j] = (int)rnd(RELAYS);
			rcpt[j] = (struct spool_rcpt){.address = "to", .relay = relay_name[m->relay[j]]};
		}
		if (!rnd(8)) {
			spool_drop_arrival(s, a);
			continue;
		}
		assert_int_equal(spool_seal(s, a, &e, now, m), 0);
		m->live = true;
		nmodel++;
	}
	got = spool_commit(s, now, out);
	for (size_t i = 0; i < got; i++) {
		assert_int_equal(out[i].err, 0);
		assert_int_equal(((struct model *)out[i].token)->id, out[i].id);
	}
}

static void
claim(struct spool *s, uint64_t now)
{
	int relay = (int)rnd(RELAYS), at = 0, r;
	const struct spool_message *msg;
	const uint32_t *which;
	struct model *m;
	size_t n, k = 0;
	char *p;

	while (at < FLIGHTS && flight[at].c)
		at++;
	if (at == FLIGHTS)
		return;
	r = spool_claim(s, relay_name[relay], now, &flight[at].c);
	if (r) {
		assert_int_equal(r, 1);
		flight[at].c = NULL;
		return;
	}
	msg = spool_claim_message(flight[at].c, &which, &n);
	m = model_of(msg->env.id);
	assert_true(m->live);
	assert_false(flies(m, relay) && flight[at].m != m);
	/* Exactly the pending recipients of that relay. */
	for (size_t i = 0; i < m->n; i++)
		if (m->state[i] == SPOOL_PENDING && m->relay[i] == relay) {
			assert_true(k < n);
			assert_int_equal(which[k++], i);
			m->state[i] = SPOOL_SENDING;
		}
	assert_int_equal(k, n);
	assert_true(n > 0);
	assert_int_equal(msg->size, m->size);
	p = malloc(m->size + 1);
	assert_int_equal(pread(msg->fd, p, m->size, (off_t)msg->offset), m->size);
	for (size_t i = 0; i < m->size; i++)
		assert_int_equal(p[i], content(m->id, i));
	free(p);
	flight[at].m = m;
	flight[at].relay = relay;
}

static void
finish(struct spool *s, uint64_t now, bool all)
{
	struct spool_result r[RCPTS] = {0};
	int at = (int)rnd(FLIGHTS);
	const uint32_t *which;
	struct model *m = flight[at].m;
	size_t n;

	if (!flight[at].c)
		return;
	spool_claim_message(flight[at].c, &which, &n);
	if (!all && !rnd(6)) {
		for (size_t i = 0; i < n; i++)
			m->state[which[i]] = SPOOL_PENDING;
		assert_int_equal(spool_done(s, flight[at].c, NULL, now), 0);
		flight[at].c = NULL;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t w = which[i];

		r[i].fate = all ? SPOOL_FATE_DELIVERED : (enum spool_fate)rnd(4);
		r[i].report = !rnd(3);
		r[i].reply.text = rnd(2) ? "4.0.0 this" : "that";
		switch (r[i].fate) {
		case SPOOL_FATE_DEFERRED:
			m->state[w] = SPOOL_PENDING;
			break;
		case SPOOL_FATE_DELIVERED:
			m->state[w] = SPOOL_DELIVERED;
			m->delivered[w]++;
			m->owed[w] = r[i].report;
			break;
		case SPOOL_FATE_FAILED:
			m->state[w] = SPOOL_FAILED;
			m->owed[w] = r[i].report;
			break;
		case SPOOL_FATE_HELD:
			m->state[w] = SPOOL_HELD;
			break;
		}
	}
	assert_int_equal(spool_done(s, flight[at].c, r, now), 0);
	flight[at].c = NULL;
	settle(m);
}

static void
events(struct spool *s, const struct spool_config *c, uint64_t now)
{
	struct spool_event ev;

	while (!spool_event(s, now, &ev)) {
		struct model *m = model_of(ev.id);
		bool owed = false;

		assert_true(m->live);
		assert_int_not_equal(ev.kind, SPOOL_EVENT_DAMAGED);
		if (ev.kind == SPOOL_EVENT_WARN) {
			assert_true(m->arrived + c->warn_after <= now);
			continue;
		}
		for (size_t i = 0; i < m->n; i++) {
			if (m->arrived + c->lifetime <= now && m->state[i] == SPOOL_PENDING) {
				m->state[i] = SPOOL_FAILED;
				m->owed[i] = true;
			}
			owed |= m->owed[i];
		}
		assert_true(owed);
		if (rnd(2)) {
			assert_int_equal(spool_reported(s, m->id, now), 0);
			memset(m->owed, 0, sizeof m->owed);
			settle(m);
		}
	}
	/* Nobody is pending any more whose life is over, also not behind a claim of the same relay; who fails while a
	   report on the message is being made is told with the next. */
	for (size_t i = 0; i < nmodel; i++) {
		struct model *m = &model[i];
		struct spool_message msg = {0};
		bool owed = false;

		for (size_t k = 0; k < m->n; k++)
			owed |= m->owed[k];
		for (size_t k = 0; k < m->n; k++) {
			if (!m->live || m->state[k] != SPOOL_PENDING || m->arrived + c->lifetime > now)
				continue;
			assert_true(owed);
			assert_int_equal(spool_read(s, m->id, &msg), 0);
			assert_int_equal(msg.env.rcpt[k].state, SPOOL_FAILED);
			assert_true(msg.env.rcpt[k].owed);
			spool_message_end(&msg);
			m->state[k] = SPOOL_FAILED;
			m->owed[k] = true;
		}
	}
}

static void
people(struct spool *s, uint64_t now)
{
	struct model *m = nmodel ? &model[nmodel - 1 - rnd(nmodel < 40 ? nmodel : 40)] : NULL;
	const char *to[RCPTS] = {0};
	int relay[RCPTS], r;

	if (!m)
		return;
	switch (rnd(5)) {
	case 0:
		r = spool_hold(s, m->id, now);
		assert_int_equal(r, !m->live ? -ENOENT : flies(m, -1) ? -EBUSY : 0);
		for (size_t i = 0; !r && i < m->n; i++)
			if (m->state[i] == SPOOL_PENDING)
				m->state[i] = SPOOL_HELD;
		break;
	case 1:
	case 2:
		r = spool_release(s, m->id, now);
		assert_int_equal(r, !m->live ? -ENOENT : 0);
		for (size_t i = 0; !r && i < m->n; i++)
			if (m->state[i] == SPOOL_HELD)
				m->state[i] = SPOOL_PENDING;
		break;
	case 3:
		for (size_t i = 0; i < m->n; i++) {
			relay[i] = (int)rnd(RELAYS);
			to[i] = rnd(2) ? relay_name[relay[i]] : NULL;
		}
		r = spool_reroute(s, m->id, to, now);
		assert_int_equal(r, !m->live ? -ENOENT : flies(m, -1) ? -EBUSY : 0);
		for (size_t i = 0; !r && i < m->n; i++)
			if (to[i] && m->state[i] < SPOOL_DELIVERED)
				m->relay[i] = relay[i];
		break;
	case 4:
		if (rnd(4)) {
			assert_int_equal(spool_retry(s, m->id, now), m->live ? 0 : -ENOENT);
			break;
		}
		r = spool_drop(s, m->id, now, "why");
		assert_int_equal(r, !m->live ? -ENOENT : flies(m, -1) ? -EBUSY : 0);
		if (!r) {
			for (size_t i = 0; i < m->n; i++)
				if (m->state[i] < SPOOL_DELIVERED)
					m->state[i] = SPOOL_DROPPED;
			memset(m->owed, 0, sizeof m->owed);
			settle(m);
		}
		break;
	}
}

static void
compare(struct spool *s)
{
	uint32_t pending = 0, sending = 0, held = 0, live = 0, messages;
	struct spool_depth d;
	uint64_t at = 0, bytes, size = 0;

	for (size_t i = 0; i < nmodel; i++) {
		struct model *m = &model[i];
		struct spool_message msg = {0};

		if (!m->live) {
			assert_int_equal(spool_read(s, m->id, &msg), -ENOENT);
			continue;
		}
		live++;
		size += m->size;
		at = spool_after(s, at);
		assert_int_equal(at, m->id);
		assert_int_equal(spool_read(s, m->id, &msg), 0);
		assert_int_equal(msg.env.nrcpt, m->n);
		for (size_t k = 0; k < m->n; k++) {
			assert_int_equal(msg.env.rcpt[k].state, m->state[k]);
			assert_int_equal(msg.env.rcpt[k].owed, m->owed[k]);
			assert_string_equal(msg.env.rcpt[k].relay, relay_name[m->relay[k]]);
		}
		spool_message_end(&msg);
		for (int r = 0; r < RELAYS; r++) {
			bool p = false, h = false;

			for (size_t k = 0; k < m->n; k++) {
				p |= m->relay[k] == r && m->state[k] == SPOOL_PENDING;
				h |= m->relay[k] == r && m->state[k] == SPOOL_HELD;
			}
			sending += flies(m, r);
			pending += p && !flies(m, r);
			held += h;
		}
	}
	assert_int_equal(spool_after(s, at), 0);
	spool_depth(s, NULL, &d);
	assert_int_equal(d.pending, pending);
	assert_int_equal(d.sending, sending);
	assert_int_equal(d.held, held);
	spool_size(s, &messages, &bytes);
	assert_int_equal(messages, live);
	assert_int_equal(bytes, size);
}

static void
round_of(uint64_t first)
{
	char path[WORLD_PATH];
	struct spool_config c;
	struct spool *s = NULL;
	uint64_t now = 1700000000000;
	int dir;

	seed = first * 0x9e3779b97f4a7c15 + 1;
	nmodel = 0;
	memset(flight, 0, sizeof flight);
	world_folder(path);
	dir = open(path, O_RDONLY | O_DIRECTORY);
	spool_config_default(&c);
	c.floor_bytes = c.floor_inodes = 0;
	c.circuit_after = 0;
	c.lifetime = 7200000;
	c.warn_after = 3600000;
	c.sync = (enum spool_sync)rnd(3);
	c.trace_bytes = 20000;
	assert_int_equal(spool_open(&s, dir, &c, now), 0);
	for (int step = 0; step < STEPS; step++) {
		switch (rnd(12)) {
		case 0:
			arrive(s, now);
			break;
		case 1:
		case 2:
		case 3:
			claim(s, now);
			break;
		case 4:
		case 5:
		case 6:
			finish(s, now, false);
			break;
		case 7:
			now += rnd(3) ? rnd(100000) : rnd(1000000);
			events(s, &c, now);
			break;
		case 8:
		case 9:
			people(s, now);
			break;
		case 10:
			spool_flush(s, rnd(2) ? NULL : relay_name[rnd(RELAYS)], now);
			break;
		case 11:
			if (rnd(3))
				break;
			s = spool_close(s);
			for (int i = 0; i < FLIGHTS; i++)
				for (size_t k = 0; flight[i].c && k < flight[i].m->n; k++)
					if (flight[i].m->state[k] == SPOOL_SENDING && flight[i].m->relay[k] == flight[i].relay)
						flight[i].m->state[k] = SPOOL_PENDING;
			memset(flight, 0, sizeof flight);
			assert_int_equal(spool_open(&s, dir, &c, now), 0);
			break;
		}
		if (step % 8 == 0)
			compare(s);
	}
	/* Everything out. */
	for (int i = 0; i < 100000; i++) {
		uint32_t left;
		uint64_t bytes;

		spool_size(s, &left, &bytes);
		if (!left)
			break;
		for (size_t k = 0; k < nmodel && i % 50 == 0; k++)
			if (model[k].live) {
				assert_int_equal(spool_release(s, model[k].id, now), 0);
				for (size_t j = 0; j < model[k].n; j++)
					if (model[k].state[j] == SPOOL_HELD)
						model[k].state[j] = SPOOL_PENDING;
			}
		spool_flush(s, NULL, now);
		claim(s, now);
		finish(s, now, true);
		now += 1000;
		events(s, &c, now);
	}
	for (size_t i = 0; i < nmodel; i++) {
		assert_false(model[i].live);
		for (size_t k = 0; k < model[i].n; k++) {
			assert_int_equal(model[i].delivered[k], model[i].state[k] == SPOOL_DELIVERED);
			assert_true(model[i].state[k] >= SPOOL_DELIVERED);
		}
	}
	assert_int_equal(world_bytes(path, "queue"), 0);
	assert_int_equal(world_bytes(path, "damaged"), 0);
	s = spool_close(s);
	close(dir);
	world_remove(path);
}

static void
the_spool_does_what_its_model_does(void **state)
{
	const char *from = getenv("SEED"), *rounds = getenv("ROUNDS");
	uint64_t first = from ? strtoull(from, NULL, 10) : 1;
	uint64_t n = rounds ? strtoull(rounds, NULL, 10) : 30;

	(void)state;
	for (uint64_t i = 0; i < n; i++) {
		print_message("seed %" PRIu64 "\n", first + i);
		round_of(first + i);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_spool_does_what_its_model_does),
	};

	return cmocka_run_group_tests_name("spool_model", tests, NULL, NULL);
}
