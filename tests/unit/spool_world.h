/*
 * A folder for a spool under test, on memory where there is some, and the
 * harm that is done to its files. Included once by a test.
 */
#ifndef SPOOL_WORLD_H
#define SPOOL_WORLD_H

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORLD_PATH = 64 };

static inline void
world_folder(char out[WORLD_PATH])
{
	memcpy(out, "/dev/shm/spool-XXXXXX", 22);
	if (!mkdtemp(out)) {
		memcpy(out, "/tmp/spool-XXXXXX", 18);
		if (!mkdtemp(out))
			abort();
	}
}

static inline void
world_empty(int fd)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (unlinkat(fd, e->d_name, 0)) {
			world_empty(openat(fd, e->d_name, O_RDONLY | O_DIRECTORY));
			unlinkat(fd, e->d_name, AT_REMOVEDIR);
		}
	}
	if (d)
		closedir(d);
}

/* All below path, and path. */
static inline void
world_remove(const char *path)
{
	world_empty(open(path, O_RDONLY | O_DIRECTORY));
	rmdir(path);
}

static inline uint64_t
world_bytes(const char *path, const char *folder)
{
	char name[512];
	uint64_t sum = 0;
	struct dirent *e;
	struct stat st;
	DIR *d;

	snprintf(name, sizeof name, "%s/%s", path, folder);
	d = opendir(name);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && !fstatat(dirfd(d), e->d_name, &st, 0))
			sum += (uint64_t)st.st_size;
	if (d)
		closedir(d);
	return sum;
}

/* The file `from`, copied to path/name. */
static inline void
world_copy(const char *from, const char *path, const char *name)
{
	char to[512], run[65536];
	int in = open(from, O_RDONLY), copy;
	ssize_t n;

	snprintf(to, sizeof to, "%s/%s", path, name);
	copy = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	while ((n = read(in, run, sizeof run)) > 0)
		if (write(copy, run, (size_t)n) != n)
			abort();
	close(in);
	close(copy);
}

/* Turns a bit of the byte at `at`. */
static inline void
world_turn(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	char c;

	if (pread(fd, &c, 1, at) != 1)
		abort();
	c ^= 0x10;
	if (pwrite(fd, &c, 1, at) != 1)
		abort();
	close(fd);
}

static inline void
world_append(const char *path, const char *p, size_t n)
{
	int fd = open(path, O_WRONLY | O_APPEND);

	if (write(fd, p, n) != (ssize_t)n)
		abort();
	close(fd);
}

#endif
