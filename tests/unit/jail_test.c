/* jail: what a process gave up it cannot do, and what it kept it can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail/jail.h"

static char folder[] = "/tmp/mailreeve-jail-XXXXXX";

/* Runs f in a child; its exit status, or 256 + the signal that killed it. */
static int
in_child(int (*f)(void))
{
	fflush(stdout);
	pid_t pid = fork();
	int st;

	if (pid == 0)
		_exit(f());
	assert_true(pid > 0);
	while (waitpid(pid, &st, 0) < 0)
		assert_int_equal(errno, EINTR);
	return WIFSIGNALED(st) ? 256 + WTERMSIG(st) : WEXITSTATUS(st);
}

static int
only_the_folder(void)
{
	char name[64];
	struct jail_path p[] = {{.path = folder, .write = true}, {.path = "/no/such/place"},
		{.path = "/dev/null"}};
	int got = jail_landlock(p, 3);

	if (got == 1)
		return 77; /* this kernel has none: told apart below */
	if (got)
		return 1;
	snprintf(name, sizeof name, "%s/x", folder);
	int fd = open(name, O_CREAT | O_RDWR, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1 || unlink(name))
		return 2;
	if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
		return 3;
	if (open("/dev/null", O_WRONLY) >= 0 || errno != EACCES)
		return 4;
	return open("/dev/null", O_RDONLY) >= 0 ? 0 : 5;
}

static void
landlock_leaves_only_what_is_named(void **state)
{
	(void)state;
	int got = in_child(only_the_folder);

	if (got == 77)
		print_message("no Landlock in this kernel\n");
	else
		assert_int_equal(got, 0);
}

/* Connects to a listener on loopback, then tries to be one: 0 both, 1 neither, 2 connect alone. */
static int
reaches(int (*jail)(const struct jail_path *, unsigned))
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
	int b = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(l, (struct sockaddr *)&a, n) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&a, &n) || jail(NULL, 0) < 0)
		return 99;
	bool connects = !connect(c, (struct sockaddr *)&a, n);
	a.sin_port = 0;
	bool binds = !bind(b, (struct sockaddr *)&a, n);
	return connects && binds ? 0 : connects ? 2 : binds ? 3 : 1;
}

static int
reaches_nothing(void)
{
	return reaches(jail_landlock);
}

static int
reaches_out(void)
{
	return reaches(jail_landlock_connect);
}

static void
landlock_leaves_connect_to_the_role_that_needs_it(void **state)
{
	(void)state;
	int none = in_child(reaches_nothing);

	if (none == 0) {
		/* it is older than 6.7: this Landlock knows no sockets */
		assert_int_equal(in_child(reaches_out), 0);
		return;
	}
	assert_int_equal(none, 1);
	assert_int_equal(in_child(reaches_out), 2);
}

static int
no_capability(void)
{
	int fd;

	if (jail_begin() || jail_caps(0))
		return 1;
	/* root without CAP_DAC_OVERRIDE, CAP_NET_RAW */
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	return fd < 0 && errno == EPERM ? 0 : 2;
}

static int
caps_not_had(void)
{
	return jail_caps(0) || jail_caps(1ull << 12) != -EPERM;
}

static void
capabilities_are_gone_for_good(void **state)
{
	(void)state;
	assert_int_equal(in_child(no_capability), 0);
	assert_int_equal(in_child(caps_not_had), 0);
}

static enum jail_profile profile;

static int
lives(void)
{
	if (jail_begin() || jail_seccomp(profile))
		return 1;
	char *p = malloc(3 << 20);
	if (!p)
		return 2;
	memset(p, 1, 3 << 20);
	free(p);
	/* the one that connects has no other family; who starts it has these alone */
	if (socket(profile == JAIL_RELAY ? AF_UNIX : profile == JAIL_STARTER ? AF_PACKET : AF_INET,
	    SOCK_STREAM, 0) >= 0 ||
	    errno != EAFNOSUPPORT)
		return 3;
	return write(2, "", 0) == 0 ? 0 : 4;
}

static int
strays(void)
{
	if (jail_begin() || jail_seccomp(profile))
		return 1;
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	return 2;
}

static int
runs_another(void)
{
	if (jail_begin() || jail_seccomp(profile))
		return 1;
	execl("/bin/true", "true", (char *)NULL);
	return 2;
}

static int
has_seccomp(void)
{
	return jail_begin() ? 2 : jail_seccomp(JAIL_COMPILE);
}

static void
seccomp_kills_what_strays(void **state)
{
	(void)state;
	if (in_child(has_seccomp) == 1) {
		print_message("no filter here: no seccomp, or a build with sanitizers\n");
		return;
	}
	for (profile = 0; profile < JAIL_NPROFILE; profile++) {
		assert_int_equal(in_child(lives), 0);
		assert_int_equal(in_child(strays), 256 + SIGSYS);
		assert_int_equal(in_child(runs_another), profile == JAIL_PARENT ||
		    profile == JAIL_STARTER ? 0 : 256 + SIGSYS);
	}
}

static int
becomes_nobody(void)
{
	if (geteuid() != 0)
		return jail_user(geteuid(), getegid(), false);
	int err = jail_begin() ? -EIO : jail_user(65534, 65534, false);
	/* in a user namespace of one user there is nobody to become, and that is said */
	if (err == -EPERM || err == -EINVAL)
		return access("/proc/self/uid_map", R_OK) ? 1 : 0;
	if (err)
		return 1;
	if (geteuid() != 65534 || getegid() != 65534 || setuid(0) == 0)
		return 2;
	return 0;
}

static void
the_user_is_changed_for_good(void **state)
{
	(void)state;
	assert_int_equal(in_child(becomes_nobody), 0);
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
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(landlock_leaves_only_what_is_named),
		cmocka_unit_test(landlock_leaves_connect_to_the_role_that_needs_it),
		cmocka_unit_test(capabilities_are_gone_for_good),
		cmocka_unit_test(seccomp_kills_what_strays),
		cmocka_unit_test(the_user_is_changed_for_good),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
