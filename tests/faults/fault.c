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
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fault.h"

static enum fault_kind kind = FAULT_NONE;
static long at, more, count;
static unsigned long failed;

void
fault_set(enum fault_kind k, long n, long m)
{
	kind = k;
	at = n;
	more = m;
	count = 0;
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

enum call { OPEN, MAKE, READ, WRITE, SYNC, NAME, CUT, SPACE, MEMORY, NCALL };

/* kind: the calls it applies to, and its errno. */
static const struct {
	unsigned calls;
	int err;
} row[FAULT_NKIND] = {
	[FAULT_KILL] = {(1 << MEMORY) - 1, 0},
	[FAULT_TORN] = {1 << WRITE, 0},
	[FAULT_ENOSPC] = {1 << MAKE | 1 << WRITE | 1 << SYNC | 1 << NAME, ENOSPC},
	[FAULT_EIO] = {(1 << MEMORY) - 1, EIO},
	[FAULT_EMFILE] = {1 << OPEN | 1 << MAKE, EMFILE},
	[FAULT_ENOMEM] = {1 << MEMORY | 1 << OPEN | 1 << MAKE | 1 << NAME, ENOMEM},
	[FAULT_EINTR] = {(1 << MEMORY) - 1, EINTR},
	[FAULT_SHORT] = {1 << READ | 1 << WRITE, 0},
};

/* 1: the fault is met, errno is set; 2: half the bytes, then what the kind says. */
static int
met(enum call c)
{
	if (kind == FAULT_NONE || !(row[kind].calls & 1u << c))
		return 0;
	count++;
	if (!at || count < at || count > at + more)
		return 0;
	if (kind == FAULT_KILL)
		kill(getpid(), SIGKILL);
	if (kind == FAULT_TORN || kind == FAULT_SHORT)
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
		return real(fd);
	failed = 1;
	return -1;
}

int
fdatasync(int fd)
{
	REAL(int, "fdatasync", int);
	struct stat st;

	if (!met(SYNC))
		return real(fd);
	if (!fstatat(fd, "", &st, AT_EMPTY_PATH) && failed != 1)
		failed = st.st_ino;
	return -1;
}

int
syncfs(int fd)
{
	REAL(int, "syncfs", int);
	if (!met(SYNC))
		return real(fd);
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
