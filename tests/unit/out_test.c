/*
 * out: what nft reads of a plan is tested in tests/agree; here are the forms' small
 * parts, files, and speed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "gen/out/form.h"
#include "random_policy.h"

static void
addresses_are_written_as_inet_ntop_does(void **state)
{
	static const char *const odd[] = {"::", "::1", "1::", "1:0:0:2::3", "1:0:2:0:3:0:4:0",
	    "0:0:1::", "2001:db8::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:0", "0:2:3:4:5:6:7:8",
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "1:0:0:1:0:0:0:1", "0:0:2:3:4:5:6:7"};
	struct rnd r = {42};
	char want[64], got[64];
	uint8_t be[16];

	(void)state;
	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
		assert_int_equal(inet_pton(AF_INET6, odd[i], be), 1);
		inet_ntop(AF_INET6, be, want, sizeof want);
		got[form_addr6(got, u128_from_be(be))] = 0;
		assert_string_equal(got, want);
	}
	for (int i = 0; i < 200000; i++) {
		uint32_t x = (uint32_t)rnd_next(&r), n = htonl(x);
		u128 y = ~(u128)0;

		/* few bits, and whole groups of none */
		for (int k = 0; k < 3; k++)
			y &= u128_of(rnd_next(&r), rnd_next(&r));
		for (int g = 0; g < 8; g++)
			if (rnd_one_in(&r, 2))
				y &= ~((u128)0xffff << (16 * g));
		inet_ntop(AF_INET, &n, want, sizeof want);
		got[form_addr4(got, x)] = 0;
		assert_string_equal(got, want);
		if (y >> 32 == 0 || y >> 32 == 0xffff)
			continue;          /* inet_ntop writes these with dots */
		u128_to_be(y, be);
		inet_ntop(AF_INET6, be, want, sizeof want);
		got[form_addr6(got, y)] = 0;
		assert_string_equal(got, want);
	}
}

static void
ranges_are_prefixes_where_they_can_be(void **state)
{
	(void)state;
	assert_int_equal(form_prefix(0, UINT32_MAX, 32), 0);
	assert_int_equal(form_prefix(0x0a000000, 0x0affffff, 32), 8);
	assert_int_equal(form_prefix(5, 5, 32), 32);
	assert_int_equal(form_prefix(1, 2, 32), -1);
	assert_int_equal(form_prefix(2, 5, 32), -1);
	assert_int_equal(form_prefix(0, U128_MAX, 128), 0);
	assert_int_equal(form_prefix(U128_MAX, U128_MAX, 128), 128);
	assert_int_equal(form_prefix(1, U128_MAX, 128), -1);
}

/* ---- files ---------------------------------------------------------------------- */

static char folder[] = "/tmp/out_test.XXXXXX";

static const char *
in_folder(const char *name)
{
	static char path[4][512];
	static unsigned k;

	snprintf(path[k %= 4], sizeof path[0], "%s/%s", folder, name);
	return path[k++];
}

static bool
holds(const char *path, const char *want)
{
	char got[256] = "";
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		return false;
	n = fread(got, 1, sizeof got - 1, f);
	fclose(f);
	return n == strlen(want) && !memcmp(got, want, n);
}

static void
a_file_is_replaced_whole_and_keeps_its_mode(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(out_file(in_folder("new"), "one\n", 4), 0);
	assert_true(holds(in_folder("new"), "one\n"));
	assert_int_equal(chmod(in_folder("new"), 0640), 0);
	assert_int_equal(out_file(in_folder("new"), "two", 3), 0);
	assert_true(holds(in_folder("new"), "two"));
	assert_int_equal(stat(in_folder("new"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(out_file(in_folder("new"), "", 0), 0);
	assert_true(holds(in_folder("new"), ""));
}

static void
a_link_stays_a_link(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(out_file(in_folder("real"), "a", 1), 0);
	assert_int_equal(symlink("real", in_folder("link")), 0);
	assert_int_equal(out_file(in_folder("link"), "b", 1), 0);
	assert_true(holds(in_folder("real"), "b"));
	assert_int_equal(lstat(in_folder("link"), &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static unsigned
entries(void)
{
	char cmd[300], n[16] = "";
	FILE *f;

	snprintf(cmd, sizeof cmd, "ls -A %s | wc -l", folder);
	f = popen(cmd, "r");
	assert_non_null(f);
	assert_non_null(fgets(n, sizeof n, f));
	pclose(f);
	return (unsigned)strtoul(n, NULL, 10);
}

static void
a_failure_leaves_nothing_behind(void **state)
{
	unsigned before = entries();
	char name[300];

	(void)state;
	assert_int_equal(out_file(in_folder("no/such/folder"), "x", 1), -ENOENT);
	assert_int_equal(out_file(folder, "x", 1), -EISDIR);
	assert_int_equal(out_file("", "x", 1), -ENOENT);
	memset(name, 'n', sizeof name);
	name[sizeof name - 1] = 0;
	assert_int_not_equal(out_file(in_folder(name), "x", 1), 0);
	assert_int_equal(out_file("/dev/full", "x", 1), -ENOSPC);
	assert_int_equal(out_file("/dev/null", "x", 1), 0);
	assert_int_equal(entries(), before);
}

/* ---- the forms as a whole --------------------------------------------------------- */

static struct policy *
large(struct arena *a, size_t n, enum addr_family f)
{
	struct policy *p = arena_of(a, struct policy);
	struct policy_point *pt = arena_of(a, struct policy_point);
	struct policy_zone *z = arena_of(a, struct policy_zone);
	struct policy_relay *y = arena_of(a, struct policy_relay);
	struct policy_judge *j = &z->judge[POLICY_OUTBOUND];

	p->a = a;
	p->meta.name = "large";
	pt->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .name = "p", .days = POLICY_ALWAYS};
	ARENA_PUSH(a, p->point, p->npoint, p->cappoint) = pt;
	z->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .name = "z", .days = POLICY_ALWAYS};
	z->point = pt;
	addr_set_add(a, &z->inside.set, f, 0x0a000000, 0x0affffff);
	z->internal = z->inside.set;
	ARENA_PUSH(a, pt->zone, pt->nzone, pt->capzone) = z;
	y->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .name = "ranges", .days = POLICY_ALWAYS};
	for (size_t i = 0; i < n; i++) {
		u128 lo = f == ADDR_V4 ? (u128)0x20000000 + i * 1024 :
		    u128_of(0x2001063000000000 + i * 0x30001, 0);

		addr_set_add(a, &y->ranges.set, f, lo,
		    lo + (f == ADDR_V4 ? 0xff : u128_of(0xff, UINT64_MAX)));
	}
	addr_set_finish(&y->ranges.set);
	rnd_anywhere(a, &y->clients);
	y->ports_all = true;
	*j = (struct policy_judge){.present = true, .at = TEXT_NO_SPAN, .zone = z};
	for (int k = 0; k < 2; k++) {
		struct policy_stmt *s = arena_of(a, struct policy_stmt);

		s->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .days = POLICY_ALWAYS,
		    .name = k ? "block" : "relay"};
		s->id = (uint32_t)k;
		s->kind = k ? POLICY_BLOCK : POLICY_RELAY;
		s->point = pt;
		s->zone = z;
		s->relay = k ? NULL : y;
		rnd_anywhere(a, &s->from);
		rnd_anywhere(a, &s->to);
		port_set_add(a, &s->ports.set, 25, 25);
		ARENA_PUSH(a, p->stmt, p->nstmt, p->capstmt) = s;
		ARENA_PUSH(a, j->stmt, j->nstmt, j->capstmt) = s;
	}
	return p;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void
a_million_ranges_lose_no_element_and_little_time(void **state)
{
	(void)state;
	for (int k = 0; k < 2; k++) {
		size_t n = 1000000, lines = 0;
		struct arena *a = arena_new();
		struct policy *p = large(a, n, k ? ADDR_V6 : ADDR_V4);
		struct buf b = BUF_INIT(OUT_MOST);
		double t0 = now(), t1, t2;
		struct plan *plan = plan_of_point(a, p, p->point[0], diags_new(a));

		t1 = now();
		assert_non_null(plan);
		out_nft(&b, plan, NULL);
		t2 = now();
		assert_int_equal(b.err, 0);
		print_message("IPv%d: a million ranges: plan %.0f ms, text %.0f ms, %zu MB, %u sets\n",
		    k ? 6 : 4, t1 - t0, t2 - t1, b.n >> 20, plan->nset);
		for (size_t i = 0; i + 4 < b.n; i++)
			lines += b.p[i] == '\n' && !memcmp(b.p + i + 1, "\t\t\t", 3);
		assert_true(lines >= n && lines <= n + PLAN_SHARD_MOST);
		buf_free(&b);
		arena_free(a);
	}
}

static void
the_same_policy_gives_the_same_bytes(void **state)
{
	struct buf one = BUF_INIT(OUT_MOST), two = BUF_INIT(OUT_MOST);

	(void)state;
	for (int k = 0; k < 2; k++) {
		struct buf *b = k ? &two : &one;

		for (uint64_t s = 1; s < 40; s++) {
			struct arena *a = arena_new();
			struct rnd r = {s};
			struct policy *p = rnd_policy(&r, a, 5, true);
			struct diags *d = diags_new(a);
			struct plan *plan = plan_of_point(a, p, p->point[0], d);

			if (plan) {
				out_nft(b, plan, NULL);
				(void)out_json(b, plan, NULL, d);
				out_plan(b, plan);
			}
			arena_free(a);
		}
	}
	assert_true(one.n > 10000);
	assert_int_equal(one.n, two.n);
	assert_memory_equal(one.p, two.p, one.n);
	buf_free(&one);
	buf_free(&two);
}

static void
E0805_units_have_no_json(void **state)
{
	struct arena *a = arena_new();
	struct policy *p = large(a, 1, ADDR_V4);
	struct policy_point *pt = p->point[0];
	const char *unit[] = {"system.slice/apache2.service"};
	struct buf b = BUF_INIT(OUT_MOST);
	struct diags *d = diags_new(a);
	struct plan *plan;

	(void)state;
	pt->kind = POLICY_HOST;
	pt->containers = true;
	p->stmt[0]->unit = unit;
	p->stmt[0]->nunit = 1;
	p->stmt[0]->meta.at = (struct text_span){0, 7, 3};
	plan = plan_of_point(a, p, pt, d);
	assert_non_null(plan);
	out_nft(&b, plan, NULL);
	assert_non_null(strstr(b.p, "socket cgroupv2 level 2 \"system.slice/apache2.service\""));
	/* what only a local program can match is not asked of a forward hook: the
	 * kernel would refuse it there */
	for (uint32_t i = 0; i < plan->nchain; i++)
		for (uint32_t k = 0; strstr(plan->chain[i].name, "forward") && k < plan->chain[i].nrule; k++)
			for (uint32_t m = 0; m < plan->chain[i].rule[k].nmatch; m++)
				assert_int_not_equal(plan->chain[i].rule[k].match[m].field, PLAN_CGROUP);
	buf_free(&b);
	assert_int_equal(out_json(&b, plan, NULL, d), -EOPNOTSUPP);
	assert_int_equal(b.n, 0);
	assert_int_equal(d->v[0].code, DIAG_E0805);
	assert_int_equal(d->v[0].at.off, 7);
	arena_free(a);
}

static int
make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int
remove_folder(void **state)
{
	static const char *const name[] = {"new", "real", "link"};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		unlink(in_folder(name[i]));
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_written_as_inet_ntop_does),
		cmocka_unit_test(ranges_are_prefixes_where_they_can_be),
		cmocka_unit_test(a_file_is_replaced_whole_and_keeps_its_mode),
		cmocka_unit_test(a_link_stays_a_link),
		cmocka_unit_test(a_failure_leaves_nothing_behind),
		cmocka_unit_test(a_million_ranges_lose_no_element_and_little_time),
		cmocka_unit_test(the_same_policy_gives_the_same_bytes),
		cmocka_unit_test(E0805_units_have_no_json),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
