/* attempts: packets alike are one attempt, within a rate and bounded memory; how they are told
 * and kept. The clock is an argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "role/attempt_pool.h"
#include "role/attempt_ring.h"
#include "role/attempt_text.h"

enum { SECOND = 1000000 };

static struct pool_key
key_of(uint32_t n)
{
	struct pool_key k;

	memset(&k, 0, sizeof k);
	snprintf(k.prefix, sizeof k.prefix, "mailreeve outbound-block: ");
	memcpy(k.dst, &n, sizeof n);
	k.family = 4;
	k.proto = 6;
	k.hook = 3;
	k.dport = 25;
	k.uid = 33;
	return k;
}

static struct pool_attempt *
add(struct attempt_pool *p, uint32_t n, uint16_t sport, uint64_t now, bool *fresh)
{
	struct pool_key k = key_of(n);

	return attempt_pool_add(p, &k, sport, now, now, fresh);
}

static void
packets_alike_within_a_second_are_one_attempt(void **state)
{
	struct attempt_pool *p = attempt_pool_new();
	const struct pool_attempt *a;
	bool fresh;

	(void)state;
	assert_true(attempt_pool_wait(p, 5) == UINT64_MAX);
	assert_non_null(add(p, 1, 1000, 5, &fresh));
	assert_true(fresh);
	for (uint16_t i = 1; i < 50; i++) {
		assert_non_null(add(p, 1, (uint16_t)(1000 + i), 5 + i, &fresh));
		assert_false(fresh);
	}
	assert_non_null(add(p, 2, 1000, 60, &fresh));
	assert_true(fresh);
	assert_null(attempt_pool_due(p, 4 + SECOND));
	assert_int_equal(attempt_pool_wait(p, 4 + SECOND), 1);
	a = attempt_pool_due(p, 5 + SECOND);
	assert_non_null(a);
	assert_int_equal(a->count, 50);
	assert_int_equal(a->sport, 1000);
	assert_int_equal(a->when, 5);
	assert_null(attempt_pool_due(p, 5 + SECOND));
	a = attempt_pool_due(p, 60 + SECOND);
	assert_non_null(a);
	assert_int_equal(a->count, 1);
	assert_int_equal(attempt_pool_over(p), 0);
	attempt_pool_free(p);
}

static void
repetitions_of_a_syn_are_told_once_more_and_a_new_connection_soon(void **state)
{
	static const unsigned at[] = {1, 3, 7, 15, 31, 63};
	struct attempt_pool *p = attempt_pool_new();
	const struct pool_attempt *a;
	unsigned told = 0;
	uint64_t packets = 0;
	bool fresh;

	(void)state;
	add(p, 1, 1000, 10, &fresh);
	for (unsigned s = 1, i = 0; s < 70; s++) {
		if (i < 6 && s == at[i]) {
			/* a little late, as retransmissions are */
			add(p, 1, 1000, 10 + (uint64_t)s * SECOND + 20000, &fresh);
			assert_false(fresh);
			i++;
		}
		while ((a = attempt_pool_due(p, 10 + (uint64_t)s * SECOND + 30000))) {
			told++;
			packets += a->count;
		}
	}
	assert_int_equal(told, 2);
	assert_int_equal(packets, 7);
	/* forgotten by now: the same again is new; and while one lingers, another port is */
	add(p, 1, 1000, 100ull * SECOND, &fresh);
	assert_true(fresh);
	assert_non_null(attempt_pool_due(p, 101ull * SECOND));
	add(p, 1, 1001, 102ull * SECOND, &fresh);
	assert_true(fresh);
	add(p, 1, 1000, 103ull * SECOND - 1, &fresh);
	assert_false(fresh);
	a = attempt_pool_due(p, 103ull * SECOND);
	assert_non_null(a);
	assert_int_equal(a->sport, 1001);
	assert_int_equal(a->count, 2);
	attempt_pool_free(p);
}

static void
a_flood_is_told_within_the_rate_and_counted_wholly(void **state)
{
	struct attempt_pool *p = attempt_pool_new();
	const struct pool_attempt *a;
	uint64_t told = 0, packets = 0, over = 0, now = 0;
	bool fresh;

	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		now = (uint64_t)i * 100;   /* ten seconds */
		add(p, i, 1000, now, &fresh);
		while ((a = attempt_pool_due(p, now))) {
			told++;
			packets += a->count;
		}
		over += attempt_pool_over(p);
	}
	assert_true(told >= POOL_BURST && told <= POOL_BURST + 10 * POOL_RATE);
	/* all that is left, at once */
	while ((a = attempt_pool_due(p, UINT64_MAX)))
		packets += a->count;
	attempt_pool_untold(p, 3);
	assert_int_equal(packets + over + attempt_pool_over(p), 100003);
	assert_true(attempt_pool_wait(p, now) == UINT64_MAX);
	attempt_pool_free(p);
}

static void
no_packet_is_lost_in_any_order(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 20; seed++) {
		struct attempt_pool *p = attempt_pool_new();
		const struct pool_attempt *a;
		uint64_t sent = 0, told = 0, now = 0, x = seed * 0x9e3779b97f4a7c15u;
		bool fresh;

		for (int i = 0; i < 20000; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			now += x % 5000;
			if (x >> 60 < 14) {
				add(p, (uint32_t)(x >> 20) % (seed * 150), (uint16_t)(x >> 40) % 7, now, &fresh);
				sent++;
			}
			while ((a = attempt_pool_due(p, now)))
				told += a->count;
			told += attempt_pool_over(p);
		}
		while ((a = attempt_pool_due(p, UINT64_MAX)))
			told += a->count;
		told += attempt_pool_over(p);
		if (told != sent)
			print_message("seed %u\n", seed);
		assert_int_equal(told, sent);
		attempt_pool_free(p);
	}
}

/* ---- told --------------------------------------------------------------------------- */

static struct attempts_one
example(void)
{
	return (struct attempts_one){
		.when = 1700000000250000, .count = 3, .statement = "mailreeve outbound-block: ", .hook = 3,
		.family = 4, .proto = 6, .source = "192.0.2.77", .destination = "192.0.2.10", .sport = 40000,
		.dport = 25, .in = "", .out = "eth0", .uid = 33, .user = "www-data",
		.unit = "system.slice/apache2.service", .pid = 4711, .program = "php8.2",
		.exe = "/usr/bin/php8.2", .sure = ATTEMPTS_SURE_UNIT | ATTEMPTS_SURE_PID, .among = "",
	};
}

static void
is_line(const struct attempts_one *a, const char *did, const char *want)
{
	struct buf b = BUF_INIT(8192);

	attempt_line(&b, a, did);
	assert_int_equal(b.err, 0);
	assert_string_equal(b.p, want);
	buf_free(&b);
}

static void
an_attempt_is_one_line_that_says_what_is_only_likely(void **state)
{
	struct attempts_one a = example();

	(void)state;
	is_line(&a, NULL, "php8.2 (uid 33 www-data, unit apache2.service, pid 4711 /usr/bin/php8.2) tried "
	    "192.0.2.10:25 from 192.0.2.77, 3 packets: refused by outbound-block, out eth0");
	is_line(&a, "led to the forwarder by", "php8.2 (uid 33 www-data, unit apache2.service, pid 4711 "
	    "/usr/bin/php8.2) tried 192.0.2.10:25 from 192.0.2.77, 3 packets: led to the forwarder by "
	    "outbound-block, out eth0");
	a.sure = 0;
	a.count = 1;
	is_line(&a, NULL, "php8.2, likely (uid 33 www-data, likely unit apache2.service, likely pid 4711 "
	    "/usr/bin/php8.2) tried 192.0.2.10:25 from 192.0.2.77: refused by outbound-block, out eth0");
	a.pid = 0;
	a.unit = a.program = a.exe = a.user = "";
	a.among = "php-fpm x5, sh";
	is_line(&a, NULL, "a program (uid 33, one of \"php-fpm x5, sh\") tried 192.0.2.10:25 from 192.0.2.77: "
	    "refused by outbound-block, out eth0");
	a.uid = UINT32_MAX;
	a.hook = 2;
	a.in = "eth1";
	a.family = 6;
	a.source = "2001:db8::1";
	a.destination = "2001:db8::2";
	a.statement = "mailreeve observe outbound-block: ";
	is_line(&a, NULL, "[2001:db8::1]:40000 tried [2001:db8::2]:25, forwarded: would be refused by "
	    "outbound-block, in eth1, out eth0");
}

static void
what_comes_from_outside_brings_no_words_of_its_own(void **state)
{
	static const char *const evil[] = {
		"a\nb", "a\x1b[2Jb", "a\xe2\x80\xaez", "x (uid 0) tried", "\"", "\\", "\xff", "a,b", "\x7f", " ",
	};
	struct attempts_one a = example();
	struct attempt_fields f;

	(void)state;
	for (size_t i = 0; i < sizeof evil / sizeof evil[0]; i++) {
		struct buf line = BUF_INIT(8192), json = BUF_INIT(8192);
		a.program = a.exe = a.user = a.unit = a.statement = a.out = evil[i];
		attempt_line(&line, &a, NULL);
		attempt_json(&json, &a);
		attempt_fields(&a, &f);
		assert_true(!line.err && !json.err);
		for (size_t k = 0; k < line.n; k++)
			assert_true(line.p[k] >= ' ' && line.p[k] <= '~');
		assert_int_equal(line.p[0], '"');
		assert_null(memchr(json.p, '\n', json.n));
		buf_free(&line);
		buf_free(&json);
	}
}

static const char *
field(const struct attempt_fields *f, const char *key)
{
	for (unsigned i = 0; f->field[i].key; i++)
		if (!strcmp(f->field[i].key, key))
			return f->field[i].value;
	return NULL;
}

static void
fields_hold_what_is_known_and_nothing_else(void **state)
{
	static const char *const always[][2] = {
		{"STATEMENT", "outbound-block"}, {"HOOK", "output"}, {"PROTO", "tcp"}, {"SOURCE", "192.0.2.77"},
		{"SOURCE_PORT", "40000"}, {"DESTINATION", "192.0.2.10"}, {"PORT", "25"}, {"OUT", "eth0"},
		{"UID", "33"}, {"USER", "www-data"}, {"UNIT", "apache2.service"},
		{"CGROUP", "system.slice/apache2.service"}, {"PID", "4711"}, {"COMM", "php8.2"},
		{"EXE", "/usr/bin/php8.2"}, {"SURE", "user,unit,pid"}, {"COUNT", "3"},
	};
	struct attempts_one a = example();
	struct attempt_fields f;
	unsigned n = 0;

	(void)state;
	attempt_fields(&a, &f);
	for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
		assert_non_null(field(&f, always[i][0]));
		assert_string_equal(field(&f, always[i][0]), always[i][1]);
	}
	while (f.field[n].key)
		n++;
	assert_int_equal(n, sizeof always / sizeof always[0]);
	a.uid = UINT32_MAX;
	a.pid = a.sport = a.sure = 0;
	a.user = a.unit = a.program = a.exe = "";
	attempt_fields(&a, &f);
	assert_null(field(&f, "UID"));
	assert_null(field(&f, "PID"));
	assert_null(field(&f, "UNIT"));
	assert_null(field(&f, "SURE"));
}

static void
every_field_fits(void **state)
{
	struct attempts_one a = example();
	struct attempt_fields f;

	(void)state;
	a.in = "eth1";
	a.among = "x";
	a.statement = "mailreeve observe x: ";
	a.proto = 132;
	attempt_fields(&a, &f);
	/* the last to be written is there */
	assert_string_equal(field(&f, "COUNT"), "3");
	assert_string_equal(field(&f, "OBSERVED"), "1");
	assert_string_equal(field(&f, "PROTO"), "132");
}

static void
the_unit_is_the_innermost(void **state)
{
	static const char *const t[][2] = {
		{"system.slice/apache2.service", "apache2.service"}, {"", ""}, {"/", "/"},
		{"user.slice/user-1000.slice/user@1000.service/app.slice/mail.service", "mail.service"},
		{"user.slice/user-1000.slice/session-3.scope", "session-3.scope"},
		{"system.slice/docker-0a.scope/init", "docker-0a.scope"}, {"kube/pod", "kube/pod"},
		{"system.slice/.service", "system.slice"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		size_t n;
		const char *u = attempt_unit(t[i][0], &n);
		assert_int_equal(n, strlen(t[i][1]));
		assert_memory_equal(u, t[i][1], n);
	}
}

static void
prefixes_of_lib_plan_are_taken_apart(void **state)
{
	char name[ATTEMPT_STATEMENT], longest[300];

	(void)state;
	assert_false(attempt_statement("mailreeve outbound-block: ", name));
	assert_string_equal(name, "outbound-block");
	assert_true(attempt_statement("mailreeve observe inbound-otherwise: ", name));
	assert_string_equal(name, "inbound-otherwise");
	assert_false(attempt_statement("DROP: ", name));
	assert_string_equal(name, "DROP");
	assert_false(attempt_statement("", name));
	assert_string_equal(name, "");
	memset(longest, 'x', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	attempt_statement(longest, name);
	assert_int_equal(strlen(name), ATTEMPT_STATEMENT - 1);
}

/* ---- kept --------------------------------------------------------------------------- */

static void
the_ring_keeps_the_last_and_counts_all(void **state)
{
	struct attempt_ring *r = attempt_ring_new(10);
	struct attempts_one a = example();
	char name[64], unit[5000];

	(void)state;
	memset(unit, 'u', sizeof unit);
	unit[sizeof unit - 1] = '\0';
	a.unit = unit;
	assert_null(attempt_ring_at(r, 0));
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "mailreeve s%u: ", i % 300);
		a.statement = name;
		a.when = i;
		assert_int_equal(attempt_ring_add(r, &a), 0);
	}
	memset(name, 0, sizeof name); /* it has copies */
	assert_int_equal(attempt_ring_count(r), 10);
	for (uint32_t i = 0; i < 10; i++) {
		const struct attempts_one *k = attempt_ring_at(r, i);
		char want[64];
		snprintf(want, sizeof want, "mailreeve s%u: ", (999 - i) % 300);
		assert_int_equal(k->when, 999 - i);
		assert_string_equal(k->statement, want);
		assert_string_equal(k->exe, "/usr/bin/php8.2");
		assert_true(strlen(k->unit) < 400);
	}
	assert_null(attempt_ring_at(r, 10));
	uint64_t attempts = 0, packets = 0;
	uint32_t n = 0;
	for (const struct attempt_counter *c; (c = attempt_ring_counter(r, n)); n++) {
		attempts += c->attempts;
		packets += c->packets;
	}
	assert_int_equal(n, ATTEMPT_COUNTERS + 1);
	assert_int_equal(attempts, 1000);
	assert_int_equal(packets, 3000);
	assert_string_equal(attempt_ring_counter(r, ATTEMPT_COUNTERS)->statement, "");
	attempt_ring_lost(r, &(struct attempts_lost){5, 7});
	attempt_ring_lost(r, &(struct attempts_lost){1, 1});
	assert_int_equal(attempt_ring_untold(r).over_rate, 6);
	assert_int_equal(attempt_ring_untold(r).lost, 8);
	assert_null(attempt_ring_free(r));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_alike_within_a_second_are_one_attempt),
		cmocka_unit_test(repetitions_of_a_syn_are_told_once_more_and_a_new_connection_soon),
		cmocka_unit_test(a_flood_is_told_within_the_rate_and_counted_wholly),
		cmocka_unit_test(no_packet_is_lost_in_any_order),
		cmocka_unit_test(an_attempt_is_one_line_that_says_what_is_only_likely),
		cmocka_unit_test(what_comes_from_outside_brings_no_words_of_its_own),
		cmocka_unit_test(fields_hold_what_is_known_and_nothing_else),
		cmocka_unit_test(every_field_fits),
		cmocka_unit_test(the_unit_is_the_innermost),
		cmocka_unit_test(prefixes_of_lib_plan_are_taken_apart),
		cmocka_unit_test(the_ring_keeps_the_last_and_counts_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
