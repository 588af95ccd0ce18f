#include "spool/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "spool/crc.h"

#define AGAIN(r, call) \
	do { \
		(r) = (call); \
	} while ((r) < 0 && errno == EINTR)

int
io_open(int dir, const char *name, int flags)
{
	int fd;

	AGAIN(fd, openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600));
	return fd < 0 ? -errno : fd;
}

int
io_folder(int dir, const char *name)
{
	int r;

	AGAIN(r, mkdirat(dir, name, 0700));
	if (r < 0 && errno != EEXIST)
		return -errno;
	return io_open(dir, name, O_RDONLY | O_DIRECTORY);
}

int
io_write(int fd, const void *bytes, size_t n, uint64_t at)
{
	const char *p = bytes;

	while (n) {
		ssize_t k;

		AGAIN(k, pwrite(fd, p, n, (off_t)at));
		if (k < 0)
			return -errno;
		if (!k)
			return -EIO;
		p += k;
		n -= (size_t)k;
		at += (size_t)k;
	}
	return 0;
}

int64_t
io_read(int fd, void *bytes, size_t n, uint64_t at)
{
	char *p = bytes;
	size_t got = 0;

	while (got < n) {
		ssize_t k;

		AGAIN(k, pread(fd, p + got, n - got, (off_t)(at + got)));
		if (k < 0)
			return -errno;
		if (!k)
			break;
		got += (size_t)k;
	}
	return (int64_t)got;
}

int
io_rename(int from, const char *a, int to, const char *b)
{
	int r;

	AGAIN(r, renameat(from, a, to, b));
	return r < 0 ? -errno : 0;
}

int
io_unlink(int dir, const char *name)
{
	int r;

	AGAIN(r, unlinkat(dir, name, 0));
	return r < 0 ? -errno : 0;
}

int
io_cut(int fd, uint64_t size)
{
	int r;

	AGAIN(r, ftruncate(fd, (off_t)size));
	return r < 0 ? -errno : 0;
}

int
io_size(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	*size = (uint64_t)st.st_size;
	return 0;
}

int
io_fsync(int fd)
{
	return fsync(fd) < 0 ? -errno : 0;
}

int
io_fdatasync(int fd)
{
	return fdatasync(fd) < 0 ? -errno : 0;
}

int
io_syncfs(int fd)
{
	return syncfs(fd) < 0 ? -errno : 0;
}

void
io_start(int fd)
{
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int
io_space(int fd, uint64_t *bytes, uint64_t *inodes)
{
	struct statvfs v;
	int r;

	AGAIN(r, fstatvfs(fd, &v));
	if (r < 0)
		return -errno;
	*bytes = (uint64_t)v.f_bavail * v.f_frsize;
	*inodes = v.f_files ? v.f_favail : UINT64_MAX;
	return 0;
}

int
io_crc(int fd, uint64_t at, uint64_t n, char *run, size_t cap, uint32_t *crc)
{
	uint32_t c = 0;

	while (n) {
		size_t k = n < cap ? (size_t)n : cap;
		int64_t got = io_read(fd, run, k, at);

		if (got < 0)
			return (int)got;
		if ((size_t)got < k)
			return -ENODATA;
		c = crc32c(c, run, k);
		at += k;
		n -= k;
	}
	*crc = c;
	return 0;
}

int
io_close(int fd)
{
	if (fd >= 0)
		close(fd);
	return -1;
}
