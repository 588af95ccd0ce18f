#include <errno.h>
#include <malloc.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/sanitized.h"
#include "jail/jail.h"

#define CALL(name) SCMP_SYS(name)
#define CLONE_THREAD_FLAG 0x00010000 /* linux/sched.h; s390 and cris have it in another argument */

/* What any program of ours does: memory, its channel, waiting, ending. */
static const int common[] = {
	CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64), CALL(pwrite64),
	CALL(close), CALL(close_range), CALL(fstat), CALL(fstat64), CALL(newfstatat), CALL(statx),
	CALL(lseek), CALL(_llseek), CALL(fcntl), CALL(fcntl64), CALL(dup), CALL(dup2), CALL(dup3),
	CALL(mmap), CALL(mmap2), CALL(munmap), CALL(mremap), CALL(mprotect), CALL(madvise), CALL(brk),
	CALL(memfd_create), CALL(ftruncate), CALL(ftruncate64),
	CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(sigreturn),
	CALL(sigaltstack), CALL(tgkill), CALL(gettid), CALL(getpid), CALL(getppid),
	CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid),
	CALL(poll), CALL(ppoll), CALL(ppoll_time64), CALL(epoll_create1), CALL(epoll_ctl),
	CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_pwait2), CALL(eventfd2),
	CALL(timerfd_create), CALL(timerfd_settime), CALL(timerfd_settime64), CALL(timerfd_gettime),
	CALL(clock_gettime), CALL(clock_gettime64), CALL(clock_getres), CALL(clock_nanosleep),
	CALL(clock_nanosleep_time64), CALL(nanosleep), CALL(gettimeofday), CALL(time),
	CALL(futex), CALL(futex_time64), CALL(sched_yield), CALL(sched_getaffinity), CALL(rseq),
	CALL(set_robust_list), CALL(getrandom), CALL(prlimit64), CALL(getrusage), CALL(uname),
	CALL(sysinfo), CALL(restart_syscall), CALL(exit), CALL(exit_group),
	CALL(sendmsg), CALL(recvmsg), CALL(sendto), CALL(recvfrom), CALL(send), CALL(recv),
	CALL(getsockopt), CALL(setsockopt), CALL(getsockname), CALL(getpeername), CALL(shutdown),
	/* a role narrows itself further */
	CALL(seccomp), CALL(prctl),
};

static const int reading[] = {
	CALL(open), CALL(openat), CALL(openat2), CALL(getdents), CALL(getdents64), CALL(readlink),
	CALL(readlinkat), CALL(access), CALL(faccessat), CALL(faccessat2), CALL(stat), CALL(lstat),
	CALL(stat64), CALL(lstat64), CALL(fstatat64), CALL(statfs), CALL(fstatfs), CALL(getcwd),
	CALL(chdir), CALL(fchdir),
};

static const int netlink_calls[] = {
	CALL(bind), CALL(ioctl),
};

/* Files of its own, clients, children (whose own profiles are within this one). */
static const int parental[] = {
	CALL(mkdir), CALL(mkdirat), CALL(unlink), CALL(unlinkat), CALL(rmdir), CALL(rename),
	CALL(renameat), CALL(renameat2), CALL(link), CALL(linkat), CALL(fsync), CALL(fdatasync),
	CALL(sync_file_range), CALL(fallocate), CALL(fchmod), CALL(fchmodat), CALL(chmod),
	CALL(fchown), CALL(fchownat), CALL(utimensat), CALL(flock), CALL(umask), CALL(copy_file_range),
	CALL(sendfile), CALL(name_to_handle_at),
	CALL(accept), CALL(accept4), CALL(connect), CALL(bind), CALL(listen), CALL(ioctl),
	CALL(socketpair), CALL(pipe), CALL(pipe2), CALL(signalfd4), CALL(inotify_init1),
	CALL(inotify_add_watch), CALL(inotify_rm_watch),
	CALL(clone), CALL(clone3), CALL(fork), CALL(vfork), CALL(execve), CALL(execveat),
	CALL(wait4), CALL(waitid), CALL(kill), CALL(pidfd_open), CALL(pidfd_send_signal),
	CALL(rt_sigpending), CALL(rt_sigtimedwait), CALL(rt_sigqueueinfo),
	CALL(set_tid_address), CALL(arch_prctl), CALL(setrlimit), CALL(getrlimit), CALL(setpgid),
	CALL(setsid), CALL(getgroups), CALL(getresuid), CALL(getresgid), CALL(capget), CALL(capset),
	CALL(setgroups), CALL(setresuid), CALL(setresgid), CALL(setpriority), CALL(getpriority),
	CALL(landlock_create_ruleset), CALL(landlock_add_rule), CALL(landlock_restrict_self),
};

/* Names are asked by UDP and TCP; c-ares asks for interfaces and binds. */
static const int relay_calls[] = {
	CALL(connect), CALL(bind), CALL(ioctl), CALL(sendmmsg),
};

/* Files below one folder, made durable. Threads: threads() sees to them. */
static const int storing[] = {
	CALL(mkdir), CALL(mkdirat), CALL(unlink), CALL(unlinkat), CALL(rename), CALL(renameat),
	CALL(renameat2), CALL(fsync), CALL(fdatasync), CALL(syncfs), CALL(sync_file_range),
	CALL(sync_file_range2), CALL(flock), CALL(fallocate),
};

static const int front_calls[] = {
	CALL(accept), CALL(accept4), CALL(pwritev), CALL(pwritev2),
	CALL(sync_file_range), CALL(sync_file_range2),
};

#define LIST(x) {x, sizeof(x) / sizeof(x)[0]}

enum { MOST_LISTS = 6 };

struct calls {
	const int *v;
	size_t n;
};

static const struct profile {
	struct calls list[MOST_LISTS];
	int family[4];             /* of sockets that it may make; 0 ends them */
	bool threads;              /* it may start threads, and no process */
} profile[JAIL_NPROFILE] = {
	/* netlink: its children, which inherit the filter, look up interfaces and sockets */
	[JAIL_PARENT] = {{LIST(common), LIST(reading), LIST(parental)}, {AF_UNIX, AF_NETLINK}},
	[JAIL_APPLY] = {{LIST(common), LIST(netlink_calls)}, {AF_NETLINK}},
	[JAIL_ATTEMPTS] = {{LIST(common), LIST(reading), LIST(netlink_calls)}, {AF_NETLINK, AF_UNIX}},
	[JAIL_RELAY] = {{LIST(common), LIST(reading), LIST(relay_calls)}, {AF_INET, AF_INET6}},
	[JAIL_QUEUE] = {{LIST(common), LIST(reading), LIST(storing)}, {0}, .threads = true},
	[JAIL_FRONT] = {{LIST(common), LIST(reading), LIST(front_calls)}, {0}},
	[JAIL_STARTER] = {{LIST(common), LIST(reading), LIST(parental), LIST(relay_calls), LIST(storing),
	    LIST(front_calls)}, {AF_UNIX, AF_NETLINK, AF_INET, AF_INET6}},
	[JAIL_COMPILE] = {{LIST(common), LIST(reading)}, {0}},
};

/* Sockets: the families of the profile; of others the caller is told that there are none, as a
 * kernel without them would, for libraries that only try. */
static int
families(scmp_filter_ctx c, const int *family)
{
	int err = 0;
	unsigned n = 0;

	for (; n < 4 && family[n]; n++)
		if (!err)
			err = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
			    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family[n]));
	/* libseccomp takes the broader rule where rules overlap only if it was exact; so the rest is
	   told by ranges around those allowed, which are few and small */
	for (int f = 0; !err && f < AF_MAX; f++) {
		unsigned i = 0;
		while (i < n && family[i] != f)
			i++;
		if (i == n)
			err = seccomp_rule_add(c, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
			    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)f));
	}
	return err;
}

/* clone(2) of a thread alone. What clone3(2) asks for stands in memory, where no filter sees it: there is
 * none, and the C library takes the other. */
static int
threads(scmp_filter_ctx c)
{
	int err = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
	    SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD_FLAG, CLONE_THREAD_FLAG));

	if (!err)
		err = seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return err;
}

int
jail_seccomp(enum jail_profile p)
{
	const struct profile *pr = &profile[p];
	scmp_filter_ctx c;
	int err = 0;

	if (SANITIZED)
		return 1;
	c = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!c)
		return -ENOMEM;
	for (size_t i = 0; i < MOST_LISTS && !err; i++)
		for (size_t k = 0; k < pr->list[i].n && !err; k++)
			err = seccomp_rule_add(c, SCMP_ACT_ALLOW, pr->list[i].v[k], 0);
	if (!err)
		err = families(c, pr->family);
	if (!err && pr->threads)
		err = threads(c);
	if (!err)
		err = seccomp_load(c);
	seccomp_release(c);
	/* a filter is made of thousands of small pieces: 200 KiB that each process would keep */
	malloc_trim(0);
	/* libseccomp tells a kernel without filters by these */
	return err == -EINVAL || err == -ENOSYS ? 1 : err;
}
