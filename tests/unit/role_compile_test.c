/* The compile role: a policy in, a plan out, from behind its jail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "ipc/compile.h"
#include "plan/plan.h"
#include "role/compile.h"

struct answer {
	struct ipc_in in;
	const struct compile_result *r;
	int status;                /* of the child */
};

static struct answer
ask(const struct compile_job *job, const int *fd, uint32_t nfd)
{
	struct answer a = {0};
	const void *body = NULL;
	int c[2];

	assert_int_equal(ipc_pair(c), 0);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		close(c[0]);
		_exit(role_compile(c[1]));
	}
	close(c[1]);
	assert_int_equal(ipc_send(c[0], COMPILE_JOB, 5, &compile_job_shape, job, fd, nfd), 0);
	assert_int_equal(ipc_recv_wait(c[0], &a.in, 60000), 1);
	assert_int_equal(a.in.type, COMPILE_RESULT);
	assert_int_equal(a.in.id, 5);
	assert_int_equal(ipc_body(&a.in, &compile_result_shape, &body), 0);
	a.r = body;
	assert_int_equal(waitpid(pid, &a.status, 0), pid);
	close(c[0]);
	return a;
}

static char *
text_of(struct answer *a)
{
	const uint8_t *p;
	size_t n;
	int i = !!(a->r->fds & COMPILE_FD_PLAN) + !!(a->r->fds & COMPILE_FD_BUNDLE_OUT);

	if (!(a->r->fds & COMPILE_FD_TEXT))
		return strdup("");
	assert_int_equal(ipc_map(a->in.fd[i], 1 << 20, &p, &n), 0);
	char *s = strndup((const char *)p, n);
	ipc_unmap(p, n);
	return s;
}

static void
every_shipped_policy_compiles_and_again_from_its_bundle(void **state)
{
	(void)state;
	glob_t g;
	char full[4096];
	int done = 0;

	assert_int_equal(glob("policies/*.yaml", 0, NULL, &g), 0);
	assert_int_equal(glob("examples/*.yaml", GLOB_APPEND, NULL, &g), 0);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		assert_non_null(realpath(g.gl_pathv[i], full));
		struct compile_job job = {.want = COMPILE_WANT_PLAN, .path = full, .point = ""};
		struct answer a = ask(&job, NULL, 0);
		if (a.r->errors) { /* several points, none of them the one host */
			assert_non_null(strstr(a.r->summary, "point"));
			ipc_free(&a.in);
			continue;
		}
		assert_int_equal(a.r->err, 0);
		assert_int_equal(a.status, 0);
		assert_int_equal(a.r->fds & 3, COMPILE_FD_PLAN | COMPILE_FD_BUNDLE_OUT);
		const uint8_t *p;
		size_t n;
		struct arena *m = arena_new();
		struct plan *plan;
		assert_int_equal(ipc_map(a.in.fd[0], APPLY_MOST_PLAN, &p, &n), 0);
		assert_null(plan_read(m, p, n, &plan));
		assert_memory_equal(plan->digest, a.r->digest, PLAN_DIGEST);
		assert_string_equal(plan->point, a.r->point);
		ipc_unmap(p, n);
		job.fds = COMPILE_FD_BUNDLE;
		struct answer b = ask(&job, &a.in.fd[1], 1);
		assert_int_equal(b.r->errors, 0);
		assert_int_equal(b.r->ndigest, PLAN_DIGEST);
		assert_memory_equal(b.r->digest, a.r->digest, PLAN_DIGEST);
		m = arena_free(m);
		ipc_free(&a.in);
		ipc_free(&b.in);
		done++;
	}
	globfree(&g);
	assert_true(done >= 10);
}

static char folder[] = "/tmp/mailreeve-role-XXXXXX";

static const char *
write_file(const char *name, const char *text)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	return path;
}

static const char host_policy[] =
    "mailreeve: 1\n"
    "name: a\n"
    "contact: postmaster@example.org\n"
    "points:\n"
    "  me:\n"
    "    kind: host\n"
    "    outbound:\n"
    "      otherwise: {deny: true}\n"
    "    inbound:\n"
    "      otherwise: {deny: true}\n";

static void
a_wrong_policy_is_told_with_its_place(void **state)
{
	(void)state;
	struct compile_job job = {.want = COMPILE_WANT_PLAN,
		.path = write_file("wrong.yaml", "mailreeve: 1\nname: a\nrelayz: {}\n"), .point = ""};
	struct answer a = ask(&job, NULL, 0);

	assert_true(a.r->errors > 0);
	assert_int_equal(a.r->fds, COMPILE_FD_TEXT);
	assert_non_null(strstr(a.r->summary, "wrong.yaml:"));
	char *text = text_of(&a);
	assert_non_null(strstr(text, "relayz"));
	free(text);
	ipc_free(&a.in);
}

static void
what_is_not_there_is_told(void **state)
{
	(void)state;
	struct compile_job job = {.want = COMPILE_WANT_PLAN, .path = "/no/such/policy.yaml", .point = ""};
	struct answer a = ask(&job, NULL, 0);

	assert_int_equal(a.r->err, ENOENT);
	assert_non_null(strstr(a.r->summary, "/no/such/policy.yaml"));
	ipc_free(&a.in);
	job.path = write_file("good.yaml", host_policy);
	job.point = "other";
	a = ask(&job, NULL, 0);
	assert_int_equal(a.r->errors, 1);
	assert_non_null(strstr(a.r->summary, "no point 'other'; it has: me"));
	ipc_free(&a.in);
}

static void
a_plan_that_cuts_the_connection_says_so(void **state)
{
	(void)state;
	struct compile_job job = {.want = COMPILE_WANT_PLAN,
		.path = write_file("good.yaml", host_policy), .point = ""};
	static const struct { const char *connection; bool cut; } c[] = {
		{"198.51.100.7 50000 192.0.2.9 22", false},
		{"2001:db8:9::1 50000 2001:db8:8::1 22", false},
		{"", false},
		{"nonsense", false},
		/* a door that somebody opened on a mail port, to get through a firewall: what is
		   established lives on, and nobody comes in again */
		{"198.51.100.7 50000 192.0.2.9 465", true},
		{"2001:db8:9::1 50000 2001:db8:8::1 587", true},
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		job.connection = c[i].connection;
		struct answer a = ask(&job, NULL, 0);
		assert_int_equal(a.r->errors, 0);
		if (c[i].cut)
			assert_non_null(strstr(a.r->cut, "would be refused"));
		else
			assert_string_equal(a.r->cut, "");
		ipc_free(&a.in);
	}
}

static void
a_broken_bundle_or_recording_is_an_error(void **state)
{
	(void)state;
	int fd = ipc_file("x", "mailreeve bundle 1\nfile 3 a\nabc\nsha256 00\n", 43);
	struct compile_job job = {.want = COMPILE_WANT_PLAN, .fds = COMPILE_FD_BUNDLE, .path = "/x",
		.point = ""};
	struct answer a = ask(&job, &fd, 1);

	assert_int_equal(a.r->err, EBADMSG);
	ipc_free(&a.in);
	job = (struct compile_job){.want = COMPILE_WANT_COMPARE, .fds = COMPILE_FD_RECORD,
		.path = write_file("good.yaml", host_policy), .point = ""};
	a = ask(&job, &fd, 1);
	assert_int_equal(a.r->err, EBADMSG);
	assert_non_null(strstr(a.r->summary, "recording"));
	ipc_free(&a.in);
	/* a job that promises files which did not come */
	a = ask(&job, NULL, 0);
	assert_int_equal(a.r->err, EBADMSG);
	ipc_free(&a.in);
	close(fd);
}

static int
setup(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	char path[200];
	static const char *const name[] = {"wrong.yaml", "good.yaml"};

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, name[i]);
		unlink(path);
	}
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_shipped_policy_compiles_and_again_from_its_bundle),
		cmocka_unit_test(a_wrong_policy_is_told_with_its_place),
		cmocka_unit_test(what_is_not_there_is_told),
		cmocka_unit_test(a_plan_that_cuts_the_connection_says_so),
		cmocka_unit_test(a_broken_bundle_or_recording_is_an_error),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
