/*
 * leap: a library put before libc (LD_PRELOAD) whose clock leaps when the test says so: hours go by in moments, for
 * every process of the agent. Between leaps time goes on as it does.
 *
 * LEAP names a file of three 64-bit words, mapped by every process that has the library: the nanoseconds that are
 * added to CLOCK_REALTIME, CLOCK_MONOTONIC and CLOCK_BOOTTIME. Who waits looks at it every SLICE_MS.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { WALL, MONO, BOOT, WORDS, SLICE_MS = 5, TIMERS = 64 };

static const int64_t SECOND = 1000000000;

static _Atomic int64_t *word;

/* The kernel's timers, by the time that they were set to. */
static struct timer {
	int fd, id;
	bool set;
	int64_t at, every, leapt;
} timer[TIMERS];
static unsigned ntimer;

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("LEAP");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *m = fd < 0 ? MAP_FAILED :
	    mmap(NULL, WORDS * sizeof *word, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (m != MAP_FAILED)
		word = m;
	if (fd >= 0)
		close(fd);
}

static int64_t
leapt(clockid_t id)
{
	if (!word)
		return 0;
	switch (id) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_REALTIME_ALARM:
		return atomic_load(&word[WALL]);
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_MONOTONIC_RAW:
		return atomic_load(&word[MONO]);
	case CLOCK_BOOTTIME:
	case CLOCK_BOOTTIME_ALARM:
		return atomic_load(&word[BOOT]);
	}
	return 0;
}

static int64_t
ns(const struct timespec *t)
{
	return t->tv_sec * SECOND + t->tv_nsec;
}

static struct timespec
spec(int64_t n)
{
	return (struct timespec){.tv_sec = (time_t)(n / SECOND), .tv_nsec = (long)(n % SECOND)};
}

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int r = (int)syscall(SYS_clock_gettime, id, t);

	if (!r)
		*t = spec(ns(t) + leapt(id));
	return r;
}

time_t
time(time_t *out)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}

int
gettimeofday(struct timeval *restrict v, void *restrict zone)
{
	struct timespec t;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &t);
	*v = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
	return 0;
}

/* ---- waiting -------------------------------------------------------------------------- */

static int64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return ns(&t);
}

static struct timespec
slice_until(int64_t end)
{
	int64_t left = end == INT64_MAX ? end : end - now();

	if (left < 0)
		left = 0;
	return spec(left < SLICE_MS * 1000000 ? left : SLICE_MS * 1000000);
}

int
ppoll(struct pollfd *p, nfds_t n, const struct timespec *limit, const sigset_t *mask)
{
	int64_t end = limit ? now() + ns(limit) : INT64_MAX;

	for (;;) {
		struct timespec slice = slice_until(end);
		int r = (int)syscall(SYS_ppoll, p, n, &slice, mask, 8);

		if (r || now() >= end)
			return r;
	}
}

int
poll(struct pollfd *p, nfds_t n, int ms)
{
	struct timespec t = spec((int64_t)ms * 1000000);

	return ppoll(p, n, ms < 0 ? NULL : &t, NULL);
}

static void
put(struct timer *t)
{
	int64_t at = t->at - (t->leapt = leapt(t->id));
	struct itimerspec v = {.it_value = spec(at > 0 ? at : 1), .it_interval = spec(t->every)};

	(void)syscall(SYS_timerfd_settime, t->fd, TFD_TIMER_ABSTIME, &v, NULL);
}

static int
wait(int fd, struct epoll_event *e, int most, int64_t end, const sigset_t *mask)
{
	for (;;) {
		struct timespec slice = slice_until(end);
		int ms = (int)((ns(&slice) + 999999) / 1000000), r;

		for (unsigned i = 0; i < ntimer; i++)
			if (timer[i].set && timer[i].leapt != leapt(timer[i].id))
				put(&timer[i]);
		r = (int)syscall(SYS_epoll_pwait, fd, e, most, ms, mask, 8);
		if (r || now() >= end)
			return r;
	}
}

int
epoll_pwait(int fd, struct epoll_event *e, int most, int ms, const sigset_t *mask)
{
	return wait(fd, e, most, ms < 0 ? INT64_MAX : now() + (int64_t)ms * 1000000, mask);
}

int
epoll_wait(int fd, struct epoll_event *e, int most, int ms)
{
	return epoll_pwait(fd, e, most, ms, NULL);
}

int
epoll_pwait2(int fd, struct epoll_event *e, int most, const struct timespec *limit, const sigset_t *mask)
{
	return wait(fd, e, most, limit ? now() + ns(limit) : INT64_MAX, mask);
}

int
timerfd_create(int id, int flags)
{
	int fd = (int)syscall(SYS_timerfd_create, id, flags);

	for (unsigned i = 0; i < ntimer; i++)
		if (timer[i].fd == fd)
			timer[i] = timer[--ntimer];
	if (fd >= 0 && ntimer < TIMERS)
		timer[ntimer++] = (struct timer){.fd = fd, .id = id};
	return fd;
}

int
timerfd_settime(int fd, int flags, const struct itimerspec *v, struct itimerspec *old)
{
	struct timespec t;

	for (unsigned i = 0; i < ntimer; i++) {
		if (timer[i].fd != fd)
			continue;
		clock_gettime(timer[i].id, &t);
		timer[i].set = v->it_value.tv_sec || v->it_value.tv_nsec;
		timer[i].at = ns(&v->it_value) + (flags & TFD_TIMER_ABSTIME ? 0 : ns(&t));
		timer[i].every = ns(&v->it_interval);
		if (!timer[i].set || old)
			break;
		put(&timer[i]);
		return 0;
	}
	return (int)syscall(SYS_timerfd_settime, fd, flags, v, old);
}
