/* dns: what a name server says is told, what it does not say is not made up. The name server is
 * this test's own, on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dns/dns.h"

enum { A = 1, MX = 15, AAAA = 28, SERVFAIL = 2, NXDOMAIN = 3 };

static const struct row {
	const char *name;
	int type, rcode;
	const char *data;          /* hexadecimal RDATA; NULL: none */
	uint32_t ttl;
} row[] = {
	{"relay.example.org", A, 0, "c0000201", 30},
	{"relay.example.org", A, 0, "c0000202", 30},
	{"relay.example.org", AAAA, 0, "20010db8000000000000000000000001", 30},
	{"v6.example.org", AAAA, 0, "20010db8000000000000000000000009", 1},
	{"mail.example.org", MX, 0, "000a02" "6d78" "00", 30},
	{"null.example.org", MX, 0, "000000", 30},
	{"broken.example.org", A, SERVFAIL, NULL, 0},
	{"broken.example.org", AAAA, SERVFAIL, NULL, 0},
	{"broken.example.org", MX, SERVFAIL, NULL, 0},
	{"none.example.org", A, NXDOMAIN, NULL, 0},
	{"none.example.org", AAAA, NXDOMAIN, NULL, 0},
	{"none.example.org", MX, NXDOMAIN, NULL, 0},
};

static unsigned *asked;            /* questions that the server saw; shared with it */
static char server[64];
static pid_t pid;

static size_t
answer(const uint8_t *q, size_t n, uint8_t out[512])
{
	char name[256] = "";
	size_t at = 12, len = 0, count = 0;
	int rcode = 0;

	while (at < n && q[at]) {
		if (len)
			name[len++] = '.';
		memcpy(name + len, q + at + 1, q[at]);
		len += q[at];
		at += 1u + q[at];
	}
	name[len] = 0;
	int type = q[at + 1] << 8 | q[at + 2];
	at += 5;
	memcpy(out, q, at);
	size_t w = at;
	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		if (strcmp(row[i].name, name) || row[i].type != type)
			continue;
		rcode = row[i].rcode;
		if (!row[i].data)
			continue;
		size_t k = strlen(row[i].data) / 2;
		const uint8_t head[] = {0xc0, 12, 0, (uint8_t)type, 0, 1, 0, 0, 0, (uint8_t)row[i].ttl, 0, (uint8_t)k};
		memcpy(out + w, head, sizeof head);
		w += sizeof head;
		for (size_t b = 0; b < k; b++) {
			char two[3] = {row[i].data[2 * b], row[i].data[2 * b + 1], 0};
			out[w++] = (uint8_t)strtoul(two, NULL, 16);
		}
		count++;
	}
	out[2] = 0x81;
	out[3] = (uint8_t)(0x80 | rcode);
	memset(out + 4, 0, 8);
	out[5] = 1;
	out[7] = (uint8_t)count;
	return w;
}

static int
setup(void **state)
{
	(void)state;
	struct sockaddr_in me = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
	socklen_t len = sizeof me, flen = sizeof from;
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	asked = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (bind(s, (struct sockaddr *)&me, len) || getsockname(s, (struct sockaddr *)&me, &len))
		return -1;
	snprintf(server, sizeof server, "127.0.0.1:%u", ntohs(me.sin_port));
	fflush(stdout);
	if ((pid = fork()))
		return close(s);
	for (;;) {
		uint8_t q[512], out[1024];
		ssize_t n = recvfrom(s, q, sizeof q, 0, (struct sockaddr *)&from, &flen);
		if (n < 17)
			continue;
		__atomic_add_fetch(asked, 1, __ATOMIC_SEQ_CST);
		size_t k = answer(q, (size_t)n, out);
		sendto(s, out, k, 0, (struct sockaddr *)&from, flen);
	}
}

static int
teardown(void **state)
{
	(void)state;
	kill(pid, SIGKILL);
	return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

static struct dns_answer got;
static int told;

static void
hear(void *arg, const struct dns_answer *a)
{
	assert_ptr_equal(arg, &got);
	got = *a;
	told++;
}

static void
turn(struct dns *d, uint64_t now)
{
	struct pollfd p[DNS_MOST_FDS];
	int ms = 200;
	size_t n = dns_wait(d, p, &ms);

	poll(p, n, ms);
	dns_done(d, p, n, now);
}

static struct dns_answer *
ask(struct dns *d, enum dns_kind k, const char *name, uint64_t now)
{
	told = 0;
	assert_int_equal(dns_ask(d, k, name, now, hear, &got), 0);
	for (int i = 0; !told && i < 200; i++)
		turn(d, now);
	assert_int_equal(told, 1);
	return &got;
}

static void
names_become_addresses_of_both_families(void **state)
{
	(void)state;
	struct dns *d;
	char text[INET6_ADDRSTRLEN];

	assert_int_equal(dns_open(server, &d), 0);
	struct dns_answer *a = ask(d, DNS_ADDRESSES, "relay.example.org", 1000);
	assert_int_equal(a->outcome, DNS_FOUND);
	assert_int_equal(a->n, 3);
	int four = 0, six = 0;
	for (unsigned i = 0; i < a->n; i++) {
		four += a->address[i].ss_family == AF_INET;
		six += a->address[i].ss_family == AF_INET6;
	}
	assert_int_equal(four, 2);
	assert_int_equal(six, 1);
	a = ask(d, DNS_ADDRESSES, "v6.example.org", 1000);
	assert_int_equal(a->n, 1);
	assert_string_equal(inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&a->address[0])->sin6_addr, text,
	    sizeof text), "2001:db8::9");
	d = dns_close(d);
}

static void
answers_are_kept_for_their_time(void **state)
{
	(void)state;
	struct dns *d;

	assert_int_equal(dns_open(server, &d), 0);
	ask(d, DNS_ADDRESSES, "relay.example.org", 1000);
	unsigned before = *asked;
	ask(d, DNS_ADDRESSES, "RELAY.example.org", 1000 + 29 * 1000);
	assert_int_equal(*asked, before);
	ask(d, DNS_ADDRESSES, "relay.example.org", 1000 + 31 * 1000);
	assert_true(*asked > before);
	/* a second is too short to ask again for every message */
	ask(d, DNS_ADDRESSES, "v6.example.org", 100000);
	before = *asked;
	ask(d, DNS_ADDRESSES, "v6.example.org", 100000 + 4000);
	assert_int_equal(*asked, before);
	ask(d, DNS_ADDRESSES, "v6.example.org", 100000 + 6000);
	assert_true(*asked > before);
	d = dns_close(d);
}

static void
CAM_18_rfc7505_where_mail_can_go(void **state)
{
	(void)state;
	struct dns *d;

	assert_int_equal(dns_open(server, &d), 0);
	assert_int_equal(ask(d, DNS_MX, "mail.example.org", 1)->outcome, DNS_FOUND);
	assert_int_equal(ask(d, DNS_MX, "null.example.org", 1)->outcome, DNS_NULL_MX);
	assert_int_equal(ask(d, DNS_MX, "none.example.org", 1)->outcome, DNS_NONE);
	assert_int_equal(ask(d, DNS_MX, "relay.example.org", 1)->outcome, DNS_NONE);
	d = dns_close(d);
}

static void
a_server_that_fails_is_no_absence(void **state)
{
	(void)state;
	struct dns *d;

	assert_int_equal(dns_open(server, &d), 0);
	assert_int_equal(ask(d, DNS_ADDRESSES, "broken.example.org", 1)->outcome, DNS_NOT_NOW);
	assert_non_null(got.why);
	assert_int_equal(ask(d, DNS_MX, "broken.example.org", 1)->outcome, DNS_NOT_NOW);
	assert_int_equal(ask(d, DNS_ADDRESSES, "none.example.org", 1)->outcome, DNS_NONE);
	d = dns_close(d);
	/* nobody is there */
	assert_int_equal(dns_open("127.0.0.1:1", &d), 0);
	assert_int_equal(ask(d, DNS_MX, "mail.example.org", 1)->outcome, DNS_NOT_NOW);
	d = dns_close(d);
}

static void
what_is_no_name_is_not_asked(void **state)
{
	(void)state;
	static const char *const bad[] = {"", ".", "a..b", "a b", "-x", "a\nb", "[192.0.2.1]", "\xc3\xa4.org"};
	char longest[300];
	struct dns *d;

	assert_int_equal(dns_open(server, &d), 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(dns_ask(d, DNS_MX, bad[i], 1, hear, &got), -EINVAL);
	memset(longest, 'a', 299);
	longest[299] = 0;
	assert_int_equal(dns_ask(d, DNS_MX, longest, 1, hear, &got), -EINVAL);
	d = dns_close(d);
	assert_int_equal(dns_open("nonsense", &d), -EINVAL);
}

static void
a_forgotten_question_is_not_told_and_many_are_bounded(void **state)
{
	(void)state;
	struct dns *d;
	char name[64];
	int err = 0, n = 0;

	assert_int_equal(dns_open("127.0.0.1:9", &d), 0);
	told = 0;
	for (; n < 1000 && !err; n++) {
		snprintf(name, sizeof name, "n%d.example.org", n);
		err = dns_ask(d, DNS_MX, name, 1, hear, &got);
	}
	assert_int_equal(err, -EBUSY);
	assert_true(n <= DNS_MOST_ASKED + 1);
	dns_forget(d, &got);
	turn(d, 2);
	d = dns_close(d);
	assert_int_equal(told, 0);
}

static void
CAM_15_an_address_has_a_name_to_be_registered_by(void **state)
{
	struct sockaddr_storage a = {.ss_family = AF_INET};
	char name[DNS_REVERSE];

	(void)state;
	inet_pton(AF_INET, "131.111.8.136", &((struct sockaddr_in *)&a)->sin_addr);
	dns_reverse(&a, name);
	assert_string_equal(name, "136.8.111.131.in-addr.arpa");
	a = (struct sockaddr_storage){.ss_family = AF_INET6};
	inet_pton(AF_INET6, "2001:630:212:8::e:f0e", &((struct sockaddr_in6 *)&a)->sin6_addr);
	dns_reverse(&a, name);
	assert_string_equal(name, "e.0.f.0.e.0.0.0.0.0.0.0.0.0.0.0.8.0.0.0.2.1.2.0.0.3.6.0.1.0.0.2.ip6.arpa");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_become_addresses_of_both_families),
		cmocka_unit_test(answers_are_kept_for_their_time),
		cmocka_unit_test(CAM_18_rfc7505_where_mail_can_go),
		cmocka_unit_test(a_server_that_fails_is_no_absence),
		cmocka_unit_test(what_is_no_name_is_not_asked),
		cmocka_unit_test(CAM_15_an_address_has_a_name_to_be_registered_by),
		cmocka_unit_test(a_forgotten_question_is_not_told_and_many_are_bounded),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
