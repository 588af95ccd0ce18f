#include "world/world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"

enum { CHUNK = 64 * 1024 };

/* All of fd into the arena. A file that grows past `most` while it is read is
 * refused as well. */
static int
slurp_fd(struct arena *a, int fd, size_t most, const char **bytes, size_t *len)
{
	struct stat st;
	size_t cap = CHUNK, n = 0;
	char *p;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISREG(st.st_mode)) {
		if ((uintmax_t)st.st_size > most)
			return -EFBIG;
		cap = (size_t)st.st_size + 1;
	}
	p = arena_alloc(a, cap + 1);
	for (;;) {
		ssize_t k;

		if (n == cap) {
			p = arena_resize(a, p, n + 1, 2 * cap + 1, 1);
			cap *= 2;
		}
		k = read(fd, p + n, cap - n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		if (!k)
			break;
		n += (size_t)k;
		if (n > most)
			return -EFBIG;
	}
	p[n] = 0;
	*bytes = p;
	*len = n;
	return 0;
}

/* Only regular files and, for the main file, pipes: a device or a FIFO in an
 * include would hang the compiler. */
static int
slurp_and_close(struct arena *a, int fd, bool pipe_ok, size_t most,
    const char **bytes, size_t *len)
{
	struct stat st;
	int err;

	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) &&
	    !(pipe_ok && S_ISFIFO(st.st_mode)))
		err = -ENXIO;
	else
		err = slurp_fd(a, fd, most, bytes, len);
	close(fd);
	return err;
}

int
world_slurp(struct arena *a, const char *path, size_t most, const char **bytes, size_t *len)
{
	int fd;

	if (!strcmp(path, "-"))
		return slurp_fd(a, STDIN_FILENO, most, bytes, len);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	return slurp_and_close(a, fd, true, most, bytes, len);
}

static int
world_read(void *arg, struct arena *a, const char *name, size_t most,
    const char **bytes, size_t *len)
{
	struct world *w = arg;
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, w->dir, name, &how, sizeof how);

	/* Before Linux 5.6, or under a filter that does not know it. The
	 * language itself refuses "/..." and "..". */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = openat(w->dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY |
		    O_NONBLOCK | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	return slurp_and_close(a, fd, false, most, bytes, len);
}

/* A zone's name is a path below the system's zone files; nothing else may be
 * opened by it. */
static bool
zone_name_ok(const char *zone)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789_+-/";

	return *zone && *zone != '/' && strlen(zone) < 64 &&
	    zone[strspn(zone, set)] == 0;
}

/* Where clocks go back over midnight, a day has two: it begins with the first. (Where they
 * go forward over it, mktime() gives the first second there is.) */
static time_t
first_midnight(const struct tm *day)
{
	enum { STEP = 1800, MOST = 3 * 3600 };
	struct tm tm = *day, at;
	time_t t = mktime(&tm), first = t;

	for (time_t s = STEP; s <= MOST; s += STEP) {
		time_t u = t - s;

		if (t >= s && localtime_r(&u, &at) && at.tm_mday == day->tm_mday)
			first = u;
	}
	return first;
}

/*
 * The C library knows the zones; it reads TZ from the environment and takes
 * UTC for a zone that it does not have, so that is ruled out first.
 */
struct zone {
	char *old;
};

static bool
zone_enter(struct zone *z, const char *zone)
{
	char path[128];
	struct stat st;

	if (!zone_name_ok(zone))
		return false;
	snprintf(path, sizeof path, ":/usr/share/zoneinfo/%s", zone);
	if (stat(path + 1, &st) || !S_ISREG(st.st_mode))
		return false;
	z->old = getenv("TZ");
	z->old = z->old ? strdup(z->old) : NULL;
	setenv("TZ", path, 1);
	tzset();
	return true;
}

static void
zone_leave(struct zone *z)
{
	if (z->old)
		setenv("TZ", z->old, 1);
	else
		unsetenv("TZ");
	tzset();
	free(z->old);
}

static int
world_day(void *arg, const char *zone, int y, int m, int d, uint64_t *sec)
{
	struct tm tm = {.tm_year = y - 1900, .tm_mon = m - 1, .tm_mday = d,
	    .tm_isdst = -1};
	struct zone z;
	time_t t;

	(void)arg;
	if (!strcmp(zone, "UTC")) {
		t = timegm(&tm);
	} else {
		if (!zone_enter(&z, zone))
			return -ENOENT;
		t = first_midnight(&tm);
		zone_leave(&z);
	}
	if (t < 0)
		return -ERANGE;
	*sec = (uint64_t)t;
	return 0;
}

void
world_clock(const char *zone, uint64_t sec, char out[32])
{
	time_t t = (time_t)sec;
	struct zone z;
	struct tm tm;
	bool ok;

	if (strcmp(zone, "UTC") && zone_enter(&z, zone)) {
		ok = localtime_r(&t, &tm);
		zone_leave(&z);
	} else {
		ok = gmtime_r(&t, &tm);
	}
	if (!ok || sec > 253402300799u)
		snprintf(out, 32, "second %llu", (unsigned long long)sec);
	else if (tm.tm_hour || tm.tm_min || tm.tm_sec)
		snprintf(out, 32, "%04d-%02d-%02d %02d:%02d:%02d", tm.tm_year % 10000 + 1900,
		    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	else
		snprintf(out, 32, "%04d-%02d-%02d", tm.tm_year % 10000 + 1900, tm.tm_mon + 1,
		    tm.tm_mday);
}

bool
world_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int
world_open(struct world *w, const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[4096] = ".";

	*w = (struct world){.policy = {w, world_read, world_day}, .dir = -1};
	if (slash == path) {
		memcpy(dir, "/", 2);
	} else if (slash && strcmp(path, "-")) {
		if ((size_t)(slash - path) >= sizeof dir)
			return -ENAMETOOLONG;
		memcpy(dir, path, (size_t)(slash - path));
		dir[slash - path] = 0;
	}
	w->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return w->dir < 0 ? -errno : 0;
}

void
world_close(struct world *w)
{
	if (w->dir >= 0)
		close(w->dir);
	w->dir = -1;
}
