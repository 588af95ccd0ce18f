/* world: the files and time zones of a real machine. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "world/world.h"

static uint64_t
begins(struct world *w, const char *zone, int y, int m, int d)
{
	uint64_t sec = 0;

	if (w->policy.day(w->policy.arg, zone, y, m, d, &sec))
		skip();            /* no time zones on this machine */
	return sec;
}

static void
a_day_begins_with_its_first_second(void **state)
{
	struct world w;

	(void)state;
	assert_int_equal(world_open(&w, "-"), 0);
	assert_int_equal(begins(&w, "UTC", 2027, 4, 1), 1806537600);
	assert_int_equal(begins(&w, "Europe/London", 2027, 4, 1), 1806534000);
	/* there is no midnight: clocks go from 24:00 to 01:00 */
	assert_int_equal(begins(&w, "America/Sao_Paulo", 2018, 11, 4), 1541300400);
	/* there are two: clocks go from 01:00 back to 00:00; what ends with the day before
	 * must not live until the second */
	assert_int_equal(begins(&w, "Atlantic/Azores", 2027, 10, 31), 1824940800);
	assert_int_equal(begins(&w, "America/Havana", 2027, 11, 7), 1825560000);
	/* two of an hour, but not of midnight */
	assert_int_equal(begins(&w, "Europe/London", 2027, 10, 31), 1824937200);
	world_close(&w);
}

static void
the_zone_of_the_caller_is_no_matter(void **state)
{
	static const char *const tz[] = {"Asia/Tokyo", "UTC", "nonsense", ""};
	struct world w;

	(void)state;
	assert_int_equal(world_open(&w, "-"), 0);
	for (size_t i = 0; i < sizeof tz / sizeof *tz; i++) {
		setenv("TZ", tz[i], 1);
		assert_int_equal(begins(&w, "UTC", 2027, 4, 1), 1806537600);
		assert_int_equal(begins(&w, "Europe/London", 2027, 4, 1), 1806534000);
		assert_string_equal(getenv("TZ"), tz[i]);
	}
	unsetenv("TZ");
	world_close(&w);
}

static void
there_are_no_other_zones(void **state)
{
	static const char *const no[] = {"Europe/Lodon", "Europe", "../../etc/passwd", "/etc/localtime",
	    "", "EST5", ":UTC", "Europe/London\n"};
	struct world w;
	uint64_t sec;

	(void)state;
	assert_int_equal(world_open(&w, "-"), 0);
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		assert_int_equal(w.policy.day(w.policy.arg, no[i], 2027, 1, 1, &sec), -ENOENT);
	world_close(&w);
}

/* What an include may not be: nothing of it is opened, nothing hangs. */
static void
files_are_below_the_policy_and_are_files(void **state)
{
	char dir[] = "/tmp/world_test.XXXXXX", path[64], out[64];
	struct arena *a = arena_new();
	struct world w;
	const char *s;
	size_t n;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/policy.yaml", dir);
	assert_int_equal(world_open(&w, path), 0);
	assert_int_equal(mkdirat(w.dir, "sub", 0700), 0);
	assert_int_equal(mkfifoat(w.dir, "fifo", 0600), 0);
	assert_int_equal(symlinkat("/etc/hostname", w.dir, "out"), 0);
	assert_int_equal(symlinkat("sub/list", w.dir, "in"), 0);
	assert_int_equal(symlinkat("loop", w.dir, "loop"), 0);
	assert_int_equal(symlinkat("..", w.dir, "sub/up"), 0);
	snprintf(out, sizeof out, "%s/sub/list", dir);
	f = fopen(out, "w");
	assert_non_null(f);
	fputs("10.0.0.0/8\n", f);
	fclose(f);

	assert_int_equal(w.policy.read(w.policy.arg, a, "sub/list", 100, &s, &n), 0);
	assert_string_equal(s, "10.0.0.0/8\n");
	assert_int_equal(w.policy.read(w.policy.arg, a, "in", 100, &s, &n), 0);
	assert_int_equal(w.policy.read(w.policy.arg, a, "sub/list", 10, &s, &n), -EFBIG);
	assert_true(w.policy.read(w.policy.arg, a, "out", 100, &s, &n) < 0);
	assert_true(w.policy.read(w.policy.arg, a, "sub/up/../policy.yaml", 100, &s, &n) < 0);
	assert_true(w.policy.read(w.policy.arg, a, "/etc/hostname", 100, &s, &n) < 0);
	assert_int_equal(w.policy.read(w.policy.arg, a, "loop", 100, &s, &n), -ELOOP);
	assert_int_equal(w.policy.read(w.policy.arg, a, "fifo", 100, &s, &n), -ENXIO);
	assert_true(w.policy.read(w.policy.arg, a, "sub", 100, &s, &n) < 0);

	static const char *const made[] = {"sub/up", "sub/list", "fifo", "out", "in", "loop"};
	for (size_t i = 0; i < sizeof made / sizeof *made; i++)
		assert_int_equal(unlinkat(w.dir, made[i], 0), 0);
	assert_int_equal(unlinkat(w.dir, "sub", AT_REMOVEDIR), 0);
	world_close(&w);
	assert_int_equal(rmdir(dir), 0);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_day_begins_with_its_first_second),
		cmocka_unit_test(the_zone_of_the_caller_is_no_matter),
		cmocka_unit_test(there_are_no_other_zones),
		cmocka_unit_test(files_are_below_the_policy_and_are_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
