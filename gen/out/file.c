/*
 * file: the plan file's bytes, and writing any output whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gen/out/out.h"
#include "plan/plan.h"

void
out_plan(struct buf *b, const struct plan *p)
{
	plan_write(b, p);
}

static int
write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = write(fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

/* The mode that the file shall have: its own, or what the umask leaves. */
static mode_t
mode_for(int dir, const char *name)
{
	struct stat st;
	mode_t mask;

	if (!fstatat(dir, name, &st, 0) && S_ISREG(st.st_mode))
		return st.st_mode & 07777;
	mask = umask(0);
	umask(mask);
	return 0666 & ~mask;
}

/* Makes a temporary file beside `name`; its name goes to tmp. */
static int
temporary(int dir, const char *name, char tmp[NAME_MAX + 1])
{
	for (unsigned i = 0; i < 100; i++) {
		int fd, len = snprintf(tmp, NAME_MAX + 1, ".%.200s.%ld.%u", name,
		    (long)getpid(), i);

		if (len < 0 || len > NAME_MAX)
			return -ENAMETOOLONG;
		fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int
replace(int dir, const char *name, const void *bytes, size_t n)
{
	mode_t mode = mode_for(dir, name);
	char tmp[NAME_MAX + 1];
	int fd = temporary(dir, name, tmp), err;

	if (fd < 0)
		return fd;
	err = write_all(fd, bytes, n);
	if (!err && fchmod(fd, mode))
		err = -errno;
	if (!err && fsync(fd))
		err = -errno;
	if (close(fd) && !err)
		err = -errno;
	if (!err && renameat(dir, tmp, dir, name))
		err = -errno;
	if (err) {
		unlinkat(dir, tmp, 0);
		return err;
	}
	/* the new file is there; that it stays there is the folder's */
	return fsync(dir) && errno != EINVAL && errno != EROFS ? -errno : 0;
}

/* Into what is no regular file (a terminal, a pipe, /dev/null) bytes go as they are: nobody
 * wants it replaced by a file. */
static int
pour(const char *path, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = write_all(fd, bytes, n);
	if (close(fd) && !err)
		err = -errno;
	return err;
}

int
out_file(const char *path, const void *bytes, size_t n)
{
	char real[PATH_MAX], *slash;
	const char *name;
	struct stat st;
	int dir, err;

	if (!stat(path, &st)) {
		if (S_ISDIR(st.st_mode))
			return -EISDIR;
		if (!S_ISREG(st.st_mode))
			return pour(path, bytes, n);
		if (!realpath(path, real))     /* a link stays a link */
			return -errno;
	} else {
		size_t len = strlen(path);

		if (errno != ENOENT)
			return -errno;
		if (!len || path[len - 1] == '/')
			return -ENOENT;
		if (len >= sizeof real)
			return -ENAMETOOLONG;
		memcpy(real, path, len + 1);
	}
	slash = strrchr(real, '/');
	name = slash ? slash + 1 : real;
	if (slash && slash != real)
		*slash = 0;
	dir = open(!slash ? "." : slash == real ? "/" : real,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	err = replace(dir, name, bytes, n);
	close(dir);
	return err;
}
