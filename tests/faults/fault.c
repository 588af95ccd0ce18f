/*
 * fault: a library put before libc (LD_PRELOAD) that counts the calls by
 * which a program touches files and memory, and at the n-th ends the process
 * as kill -9 does, or gives an errno, or moves half the bytes.
 *
 * Nothing happens until the program says fault_set(kind, n, more), found by
 * dlsym(3): the calls to which that kind applies are counted from there; the
 * n-th, and `more` after it, meet the fault. n 0 counts only.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fault.h"

static enum fault_kind kind = FAULT_NONE;
static long at, more, count, hit;
static unsigned long *syncs;   /* those that succeeded */
static int event = -1;         /* an eventfd: nothing but a signal keeps from writing to it */
static unsigned long failed;

void
fault_set(enum fault_kind k, long n, long m)
{
	kind = k;
	at = n;
	more = m;
	count = hit = 0;
}

long
fault_met(void)
{
	return hit;
}

void
fault_syncs_to(unsigned long *n)
{
	syncs = n;
}

static int
synced(int err)
{
	if (!err && syncs)
		__atomic_fetch_add(syncs, 1, __ATOMIC_SEQ_CST);
	return err;
}

unsigned long
fault_unsynced(void)
{
	unsigned long f = failed;

	failed = 0;
	return f;
}

long
fault_count(void)
{
	return count;
}

enum call { OPEN, MAKE, READ, WRITE, SYNC, NAME, CUT, SPACE, MEMORY, SOCKET, TALK, WAIT, OTHER, NCALL };

enum { FILES = (1 << MEMORY) - 1, ALL = FILES | 1 << SOCKET | 1 << TALK | 1 << WAIT };

/* kind: the calls it applies to, and its errno. */
static const struct {
	unsigned calls;
	int err;
} row[FAULT_NKIND] = {
	[FAULT_KILL] = {ALL | 1 << OTHER, 0},
	[FAULT_TORN] = {1 << WRITE, 0},
	[FAULT_ENOSPC] = {1 << MAKE | 1 << WRITE | 1 << SYNC | 1 << NAME, ENOSPC},
	[FAULT_EIO] = {FILES | 1 << TALK, EIO},
	[FAULT_EMFILE] = {1 << OPEN | 1 << MAKE | 1 << SOCKET, EMFILE},
	[FAULT_ENOMEM] = {1 << MEMORY | 1 << OPEN | 1 << MAKE | 1 << NAME | 1 << SOCKET | 1 << TALK | 1 << WAIT,
		ENOMEM},
	[FAULT_EINTR] = {ALL, EINTR},
	[FAULT_SHORT] = {1 << READ | 1 << WRITE | 1 << TALK, 0},
	[FAULT_PART] = {1 << READ | 1 << WRITE, 0},
};

/* 1: the fault is met, errno is set; 2: half the bytes, then what the kind says. */
static int
met(enum call c)
{
	long n;

	if (kind == FAULT_NONE || !(row[kind].calls & 1u << c))
		return 0;
	/* a role may have a second thread */
	n = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
	if (!at || n < at || n > at + more)
		return 0;
	__atomic_fetch_add(&hit, 1, __ATOMIC_RELAXED);
	if (kind == FAULT_KILL)
		kill(getpid(), SIGKILL);
	if (kind == FAULT_TORN || kind == FAULT_SHORT || kind == FAULT_PART)
		return 2;
	errno = row[kind].err;
	return 1;
}

#define REAL(ret, name, ...) \
	static ret (*real)(__VA_ARGS__); \
	if (!real) \
		*(void **)&real = dlsym(RTLD_NEXT, name)

int
openat(int dir, const char *name, int flags, ...)
{
	REAL(int, "openat", int, const char *, int, ...);
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (met(flags & O_CREAT ? MAKE : OPEN))
		return -1;
	return real(dir, name, flags, mode);
}

int
mkdirat(int dir, const char *name, mode_t mode)
{
	REAL(int, "mkdirat", int, const char *, mode_t);
	return met(MAKE) ? -1 : real(dir, name, mode);
}

ssize_t
pread(int fd, void *p, size_t n, off_t off)
{
	REAL(ssize_t, "pread", int, void *, size_t, off_t);
	int m = met(READ);

	return m == 1 ? -1 : real(fd, p, m == 2 && n > 1 ? n / 2 : n, off);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
	REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
	int m = met(WRITE);
	ssize_t k;

	if (m == 1)
		return -1;
	k = real(fd, p, m == 2 && n > 1 ? n / 2 : n, off);
	if (m == 2 && kind == FAULT_TORN)
		kill(getpid(), SIGKILL);
	return k;
}

int
fsync(int fd)
{
	REAL(int, "fsync", int);
	if (!met(SYNC))
		return synced(real(fd));
	failed = 1;
	return -1;
}

int
fdatasync(int fd)
{
	REAL(int, "fdatasync", int);
	struct stat st;

	if (!met(SYNC))
		return synced(real(fd));
	if (!fstatat(fd, "", &st, AT_EMPTY_PATH) && failed != 1)
		failed = st.st_ino;
	return -1;
}

int
syncfs(int fd)
{
	REAL(int, "syncfs", int);
	if (!met(SYNC))
		return synced(real(fd));
	failed = 1;
	return -1;
}

int
renameat(int from, const char *a, int to, const char *b)
{
	REAL(int, "renameat", int, const char *, int, const char *);
	return met(NAME) ? -1 : real(from, a, to, b);
}

int
unlinkat(int dir, const char *name, int flags)
{
	REAL(int, "unlinkat", int, const char *, int);
	return met(NAME) ? -1 : real(dir, name, flags);
}

int
ftruncate(int fd, off_t n)
{
	REAL(int, "ftruncate", int, off_t);
	return met(CUT) ? -1 : real(fd, n);
}

int
fstatvfs(int fd, struct statvfs *v)
{
	REAL(int, "fstatvfs", int, struct statvfs *);
	return met(SPACE) ? -1 : real(fd, v);
}

int
fstat(int fd, struct stat *st)
{
	REAL(int, "fstat", int, struct stat *);
	return met(READ) == 1 ? -1 : real(fd, st);
}

struct dirent *
readdir(DIR *d)
{
	REAL(struct dirent *, "readdir", DIR *);
	return met(READ) == 1 ? NULL : real(d);
}

/* ---- what the processes of the agent do besides ---- */

int
open(const char *name, int flags, ...)
{
	REAL(int, "open", const char *, int, ...);
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (met(flags & O_CREAT ? MAKE : OPEN))
		return -1;
	return real(name, flags, mode);
}

ssize_t
read(int fd, void *p, size_t n)
{
	REAL(ssize_t, "read", int, void *, size_t);
	int m = met(READ);

	return m == 1 ? -1 : real(fd, p, n);
}

/* The log is not what is tried. */
ssize_t
write(int fd, const void *p, size_t n)
{
	REAL(ssize_t, "write", int, const void *, size_t);
	if (fd == event && kind != FAULT_KILL && kind != FAULT_EINTR)
		return real(fd, p, n);
	return fd != STDERR_FILENO && met(WRITE) == 1 ? -1 : real(fd, p, n);
}

ssize_t
pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
	int m = met(WRITE);
	struct iovec half;
	ssize_t k;

	if (m == 1)
		return -1;
	if (m == 2 && n > 0) {
		half = (struct iovec){v[0].iov_base, (v[0].iov_len + 1) / 2};
		v = &half;
		n = 1;
	}
	k = real(fd, v, n, off);
	if (m == 2 && kind == FAULT_TORN)
		kill(getpid(), SIGKILL);
	return k;
}

int
socket(int family, int type, int protocol)
{
	REAL(int, "socket", int, int, int);
	return met(SOCKET) ? -1 : real(family, type, protocol);
}

int
accept4(int fd, __SOCKADDR_ARG a, socklen_t *n, int flags)
{
	REAL(int, "accept4", int, struct sockaddr *, socklen_t *, int);
	return met(SOCKET) ? -1 : real(fd, a.__sockaddr__, n, flags);
}

int
connect(int fd, __CONST_SOCKADDR_ARG a, socklen_t n)
{
	REAL(int, "connect", int, const struct sockaddr *, socklen_t);
	return met(SOCKET) ? -1 : real(fd, a.__sockaddr__, n);
}

int
memfd_create(const char *name, unsigned flags)
{
	REAL(int, "memfd_create", const char *, unsigned);
	return met(SOCKET) ? -1 : real(name, flags);
}

int
eventfd(unsigned n, int flags)
{
	REAL(int, "eventfd", unsigned, int);
	return met(SOCKET) ? -1 : (event = real(n, flags));
}

int
epoll_create1(int flags)
{
	REAL(int, "epoll_create1", int);
	return met(SOCKET) ? -1 : real(flags);
}

ssize_t
send(int fd, const void *p, size_t n, int flags)
{
	REAL(ssize_t, "send", int, const void *, size_t, int);
	int m = met(TALK);

	return m == 1 ? -1 : real(fd, p, m == 2 && n > 1 ? n / 2 : n, flags);
}

ssize_t
recv(int fd, void *p, size_t n, int flags)
{
	REAL(ssize_t, "recv", int, void *, size_t, int);
	int m = met(TALK);

	return m == 1 ? -1 : real(fd, p, m == 2 && n > 1 ? n / 2 : n, flags);
}

ssize_t
sendmsg(int fd, const struct msghdr *h, int flags)
{
	REAL(ssize_t, "sendmsg", int, const struct msghdr *, int);
	return met(TALK) == 1 ? -1 : real(fd, h, flags);
}

ssize_t
recvmsg(int fd, struct msghdr *h, int flags)
{
	REAL(ssize_t, "recvmsg", int, struct msghdr *, int);
	return met(TALK) == 1 ? -1 : real(fd, h, flags);
}

int
poll(struct pollfd *p, nfds_t n, int ms)
{
	REAL(int, "poll", struct pollfd *, nfds_t, int);
	return met(WAIT) ? -1 : real(p, n, ms);
}

int
epoll_wait(int fd, struct epoll_event *e, int n, int ms)
{
	REAL(int, "epoll_wait", int, struct epoll_event *, int, int);
	return met(WAIT) ? -1 : real(fd, e, n, ms);
}

int
epoll_ctl(int fd, int op, int which, struct epoll_event *e)
{
	REAL(int, "epoll_ctl", int, int, int, struct epoll_event *);
	return met(WAIT) ? -1 : real(fd, op, which, e);
}

/* ---- what can only be killed at ---- */

int
close(int fd)
{
	REAL(int, "close", int);
	(void)met(OTHER);
	return real(fd);
}

int
fcntl(int fd, int cmd, ...)
{
	REAL(int, "fcntl", int, int, ...);
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	(void)met(OTHER);
	return real(fd, cmd, arg);
}

int
getsockopt(int fd, int level, int name, void *p, socklen_t *n)
{
	REAL(int, "getsockopt", int, int, int, void *, socklen_t *);
	(void)met(OTHER);
	return real(fd, level, name, p, n);
}

int
setsockopt(int fd, int level, int name, const void *p, socklen_t n)
{
	REAL(int, "setsockopt", int, int, int, const void *, socklen_t);
	(void)met(OTHER);
	return real(fd, level, name, p, n);
}

int
sync_file_range(int fd, off64_t off, off64_t n, unsigned flags)
{
	REAL(int, "sync_file_range", int, off64_t, off64_t, unsigned);
	(void)met(OTHER);
	return real(fd, off, n, flags);
}

/* ---- memory ---- */

int
pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
	REAL(int, "pthread_create", pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	return met(MEMORY) ? EAGAIN : real(t, a, fn, arg);
}

void *
mmap(void *where, size_t n, int prot, int flags, int fd, off_t off)
{
	REAL(void *, "mmap", void *, size_t, int, int, int, off_t);
	return fd >= 0 && met(MEMORY) ? MAP_FAILED : real(where, n, prot, flags, fd, off);
}

/* glibc's own names, since dlsym(3) itself asks for memory. */
void *
__libc_malloc(size_t n);
void *
__libc_calloc(size_t n, size_t k);
void *
__libc_realloc(void *p, size_t n);

void *
malloc(size_t n)
{
	return met(MEMORY) ? NULL : __libc_malloc(n);
}

void *
calloc(size_t n, size_t k)
{
	return met(MEMORY) ? NULL : __libc_calloc(n, k);
}

void *
realloc(void *p, size_t n)
{
	return met(MEMORY) ? NULL : __libc_realloc(p, n);
}
