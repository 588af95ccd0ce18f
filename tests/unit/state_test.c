/*
 * What the agent remembers: written whole or not at all, read back the same, and nothing that lies
 * in its folder is believed.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "state/state.h"

struct room {
	char path[64];
	int dir;
	struct state *s;
	unsigned warnings;
	char last[400];
};

static void
warn(void *arg, const char *text)
{
	struct room *r = arg;

	r->warnings++;
	snprintf(r->last, sizeof r->last, "%s", text);
}

static void
open_room(struct room *r)
{
	*r = (struct room){.path = "/tmp/state-test-XXXXXX"};
	assert_non_null(mkdtemp(r->path));
	r->dir = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(r->dir >= 0);
	assert_int_equal(state_open(r->dir, warn, r, &r->s), 0);
}

static void
again(struct room *r)
{
	r->s = state_close(r->s);
	assert_int_equal(state_open(r->dir, warn, r, &r->s), 0);
}

static void
remove_tree(const char *path)
{
	char *argv[] = {(char[]){"rm"}, (char[]){"-rf"}, (char *)(uintptr_t)path, NULL};
	pid_t pid = fork();

	if (pid == 0) {
		execvp("rm", argv);
		_exit(1);
	}
	(void)waitpid(pid, NULL, 0);
}

static void
close_room(struct room *r)
{
	state_close(r->s);
	close(r->dir);
	remove_tree(r->path);
}

static struct state_about
an_about(void)
{
	static struct state_name name[3];
	static char policy[] = "site\nwith a line", point[] = "host", how[] = "apply \\x41";
	struct state_about a = {.policy = policy, .point = point, .how = how, .observe = 1, .uid = 7,
	    .pid = 8, .when = 1795309714438023, .kernel = 42, .name = name, .nname = 3, .boot = "b-o-o-t"};

	name[0] = (struct state_name){0, "mail", 8};
	name[1] = (struct state_name){1, "system.slice/a b.service", 12345678901234};
	name[2] = (struct state_name){0, "nobody here", UINT64_MAX};
	memset(a.digest, 0xd1, sizeof a.digest);
	memset(a.base, 0xba, sizeof a.base);
	return a;
}

static uint32_t
add(struct room *r, enum state_kind k, const char *plan)
{
	struct state_about a = an_about();
	uint32_t n;

	assert_int_equal(state_add(r->s, k, (const uint8_t *)plan, strlen(plan), (const uint8_t *)"bundle", 6, &a,
	    &n), 0);
	return n;
}

static void
a_generation_is_read_back_as_it_was_written(void **state)
{
	struct state_about want = an_about(), got;
	char bytes[16] = {0};
	struct room r;
	size_t size;
	int fd;

	(void)state;
	open_room(&r);
	assert_int_equal(add(&r, STATE_IN_HISTORY, "plan one"), 1);
	assert_int_equal(add(&r, STATE_IN_HISTORY, "plan two"), 2);
	again(&r);
	assert_int_equal(add(&r, STATE_IN_HISTORY, "plan three"), 3);
	assert_int_equal(state_about(r.s, STATE_IN_HISTORY, 1, &got), 0);
	assert_string_equal(got.policy, want.policy);
	assert_string_equal(got.point, want.point);
	assert_string_equal(got.how, want.how);
	assert_string_equal(got.boot, want.boot);
	assert_memory_equal(got.digest, want.digest, STATE_DIGEST);
	assert_memory_equal(got.base, want.base, STATE_DIGEST);
	assert_int_equal(got.uid, 7);
	assert_int_equal(got.pid, 8);
	assert_int_equal(got.when, want.when);
	assert_int_equal(got.kernel, 42);
	assert_int_equal(got.observe, 1);
	assert_int_equal(got.nname, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(got.name[i].kind, want.name[i].kind);
		assert_string_equal(got.name[i].name, want.name[i].name);
		assert_int_equal(got.name[i].value, want.name[i].value);
	}
	state_about_free(&got);
	assert_int_equal(state_plan(r.s, STATE_IN_HISTORY, 2, false, &fd, &size), 0);
	assert_int_equal(size, 8);
	assert_int_equal(read(fd, bytes, sizeof bytes), 8);
	assert_string_equal(bytes, "plan two");
	close(fd);
	assert_int_equal(state_plan(r.s, STATE_IN_HISTORY, 9, false, &fd, &size), -ENOENT);
	assert_int_equal(r.warnings, 0);
	close_room(&r);
}

static void
what_is_no_more_what_was_written_is_set_aside(void **state)
{
	static const char *const part[] = {"plan", "bundle", "about"};
	char path[128];
	struct state_about a;
	struct room r;
	size_t size;
	int fd, err;

	(void)state;
	open_room(&r);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned how = 0; how < 4; how++) {
			uint32_t n = add(&r, STATE_IN_HISTORY, "a plan of some bytes");
			unsigned before = r.warnings;
			char byte = 0;

			snprintf(path, sizeof path, "%s/history/%06u/%s", r.path, n, part[i]);
			fd = open(path, O_RDWR);
			assert_true(fd >= 0);
			if (how == 0)      /* torn */
				assert_int_equal(ftruncate(fd, 3), 0);
			else if (how == 1) /* empty, as after a power cut without fsync */
				assert_int_equal(ftruncate(fd, 0), 0);
			else if (how == 2) /* one bit */
				assert_true(pread(fd, &byte, 1, 4) == 1 && (byte ^= 1, pwrite(fd, &byte, 1, 4)) == 1);
			else               /* a link to elsewhere */
				assert_true(!unlink(path) && !symlink("/etc/passwd", path));
			close(fd);
			again(&r);
			err = state_about(r.s, STATE_IN_HISTORY, n, &a);
			if (!err) {
				state_about_free(&a);
				err = state_plan(r.s, STATE_IN_HISTORY, n, i == 1, &fd, &size);
			}
			if (i == 0) { /* the plan can be made again from its text */
				static const uint8_t anew[] = "the plan, made again";
				assert_int_equal(err, -EUCLEAN);
				assert_int_equal(r.warnings, before);
				assert_int_equal(state_about(r.s, STATE_IN_HISTORY, n, &a), 0);
				assert_int_equal(state_plan_put(r.s, STATE_IN_HISTORY, n, anew, sizeof anew, &a), 0);
				state_about_free(&a);
				again(&r);
				assert_int_equal(state_plan(r.s, STATE_IN_HISTORY, n, false, &fd, &size), 0);
				assert_int_equal(size, sizeof anew);
				close(fd);
			} else {
				assert_int_equal(err, -EBADMSG);
				assert_int_equal(r.warnings, before + 1);
				assert_non_null(strstr(r.last, "set aside"));
				assert_int_equal(state_about(r.s, STATE_IN_HISTORY, n, &a), -ENOENT);
			}
			/* its number is not dealt out again */
			again(&r);
			assert_true(add(&r, STATE_IN_HISTORY, "p") > n);
		}
	close_room(&r);
}

static void
small_files_are_read_back_or_set_aside(void **state)
{
	static const char *const bad[] = {"", "generation 1\n", "generation 1\nsha256 00\n", "\n\n\n",
		"sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"};
	struct state_pending p = {.now = 4, .previous = 3, .realtime = 99, .boottime = 77, .boot = "id"}, q;
	struct state_block b[2] = {{.address = "192.0.2.1", .until = 5},
	    {.address = "2001:db8::/32", .until = UINT64_MAX, .seconds = 3600, .boottime = 88, .boot = "id"}}, *c;
	struct room r;
	uint32_t n;

	(void)state;
	open_room(&r);
	c = calloc(STATE_BLOCKS, sizeof *c);
	assert_non_null(c);
	assert_int_equal(state_current(r.s, &n), -ENOENT);
	assert_int_equal(state_pending(r.s, &q), -ENOENT);
	assert_int_equal(state_blocks(r.s, c), 0);
	assert_int_equal(state_stage(r.s, 5), 0);
	assert_int_equal(state_current(r.s, &n), -ENOENT);
	assert_int_equal(state_commit(r.s), 0);
	assert_int_equal(state_pending_put(r.s, &p), 0);
	assert_int_equal(state_blocks_put(r.s, b, 2), 0);
	again(&r);
	assert_int_equal(state_current(r.s, &n), 0);
	assert_int_equal(n, 5);
	assert_int_equal(state_pending(r.s, &q), 0);
	assert_int_equal(q.now, 4);
	assert_int_equal(q.previous, 3);
	assert_int_equal(q.realtime, 99);
	assert_int_equal(q.boottime, 77);
	assert_string_equal(q.boot, "id");
	assert_int_equal(state_blocks(r.s, c), 2);
	assert_string_equal(c[1].address, "2001:db8::/32");
	assert_int_equal(c[1].until, UINT64_MAX);
	assert_string_equal(c[0].boot, "");
	assert_int_equal(c[1].seconds, 3600);
	assert_int_equal(c[1].boottime, 88);
	assert_string_equal(c[1].boot, "id");
	assert_int_equal(state_pending_drop(r.s), 0);
	assert_int_equal(state_pending(r.s, &q), -ENOENT);
	assert_int_equal(r.warnings, 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		static const char *const file[] = {"current", "pending"};

		for (int k = 0; k < 2; k++) {
			unsigned before = r.warnings;
			int fd = openat(r.dir, file[k], O_WRONLY | O_CREAT | O_TRUNC, 0600);

			assert_int_equal(write(fd, bad[i], strlen(bad[i])), strlen(bad[i]));
			close(fd);
			assert_int_equal(k ? state_pending(r.s, &q) : state_current(r.s, &n), -ENOENT);
			assert_int_equal(r.warnings, before + 1);
			assert_int_equal(faccessat(r.dir, file[k], F_OK, 0), -1);
		}
	}
	free(c);
	close_room(&r);
}

static void
history_is_bounded_and_what_is_needed_stays(void **state)
{
	uint32_t list[200], keep[] = {2, 5};
	struct room r;
	uint32_t n;

	(void)state;
	open_room(&r);
	for (int i = 0; i < 70; i++)
		add(&r, STATE_IN_HISTORY, "p");
	for (int i = 0; i < 30; i++)
		add(&r, STATE_IN_PLANS, "p");
	state_prune(r.s, keep, 2);
	n = state_list(r.s, STATE_IN_HISTORY, list, 200);
	assert_int_equal(n, STATE_HISTORY + 2);
	assert_int_equal(list[0], 2);
	assert_int_equal(list[1], 5);
	assert_int_equal(list[2], 21);
	assert_int_equal(list[n - 1], 70);
	assert_int_equal(state_list(r.s, STATE_IN_HISTORY, list, 3), 3);
	assert_int_equal(list[0], 68);
	assert_int_equal(state_list(r.s, STATE_IN_PLANS, list, 200), STATE_PLANS);
	close_room(&r);
}

static void
what_a_death_left_half_written_is_cleared_away(void **state)
{
	struct room r;
	uint32_t list[4];
	int fd;

	(void)state;
	open_room(&r);
	assert_int_equal(mkdirat(r.dir, "history/.new000007", 0700), 0);
	fd = openat(r.dir, "history/.new000007/plan.new", O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(mkdirat(r.dir, "history/others", 0700), 0);
	again(&r);
	assert_int_equal(faccessat(r.dir, "history/.new000007", F_OK, 0), -1);
	assert_int_equal(faccessat(r.dir, "history/others", F_OK, 0), 0);
	assert_int_equal(state_list(r.s, STATE_IN_HISTORY, list, 4), 0);
	assert_int_equal(add(&r, STATE_IN_HISTORY, "p"), 1);
	close_room(&r);
}

static void
how_a_generation_ended_is_kept_beside_it(void **state)
{
	char text[64];
	struct room r;

	(void)state;
	open_room(&r);
	add(&r, STATE_IN_HISTORY, "p");
	state_how_ended(r.s, 1, text, sizeof text);
	assert_string_equal(text, "");
	assert_int_equal(state_ended(r.s, 1, "in force\x1b[2J"), 0);
	state_how_ended(r.s, 1, text, sizeof text);
	assert_string_equal(text, "in force\x1b[2J");
	assert_int_equal(state_ended(r.s, 2, "x"), -ENOENT);
	close_room(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_generation_is_read_back_as_it_was_written),
		cmocka_unit_test(what_is_no_more_what_was_written_is_set_aside),
		cmocka_unit_test(small_files_are_read_back_or_set_aside),
		cmocka_unit_test(history_is_bounded_and_what_is_needed_stays),
		cmocka_unit_test(what_a_death_left_half_written_is_cleared_away),
		cmocka_unit_test(how_a_generation_ended_is_kept_beside_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
