#include "clock.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { POLLED_MOST = 4096, PATIENCE_MS = 60000 };

struct place {
	atomic_bool taken, inside;
	atomic_uint want, seen;      /* the test asks; seen: nothing was there */
	atomic_uint active;          /* so many waits have ended */
	atomic_bool busy;            /* a thread of it is at work */
	atomic_ullong deadline;      /* monotonic ms; UINT64_MAX: none */
};

static struct script {
	atomic_ullong wall, mono;    /* ms */
	struct place place[CLOCK_PLACES];
} *script;

static struct place *mine;           /* NULL in the test itself */
static int wake[CLOCK_PLACES], told; /* eventfds */
static int my_wake;

static void
knock(int fd)
{
	const uint64_t one = 1;

	while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
		;
}

static void
hear(int fd)
{
	uint64_t n;

	while (read(fd, &n, sizeof n) < 0 && errno == EINTR)
		;
}

static void
fail(const char *what)
{
	fprintf(stderr, "clock: %s\n", what);
	abort();
}

/* ---- before the C library's ---------------------------------------------------------- */

int
clock_gettime(clockid_t id, struct timespec *t)
{
	uint64_t ms;

	if (!mine)
		return (int)syscall(SYS_clock_gettime, id, t);
	ms = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE ? atomic_load(&script->wall) :
	    atomic_load(&script->mono);
	*t = (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
	return 0;
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

/* Nothing was there: says so, and waits until something is, or the test asks again. */
static void
rest(struct pollfd *p, nfds_t n, unsigned want, uint64_t deadline)
{
	p[n] = (struct pollfd){.fd = my_wake, .events = POLLIN};
	atomic_store(&mine->deadline, deadline);
	if (!atomic_load(&mine->busy)) {
		atomic_store(&mine->seen, want);
		knock(told);
	}
	(void)syscall(SYS_poll, p, n + 1, 1000);
	if (p[n].revents & POLLIN)
		hear(my_wake);
}

static uint64_t
deadline_of(int ms)
{
	return ms < 0 ? UINT64_MAX : atomic_load(&script->mono) + (uint64_t)ms;
}

int
poll(struct pollfd *p, nfds_t n, int ms)
{
	static struct pollfd all[POLLED_MOST + 1];
	uint64_t deadline;

	if (!mine || !ms)
		return (int)syscall(SYS_poll, p, n, ms);
	if (n > POLLED_MOST)
		fail("too many descriptors");
	deadline = deadline_of(ms);
	for (;;) {
		unsigned want = atomic_load(&mine->want);
		int r = (int)syscall(SYS_poll, p, n, 0);

		if (r || atomic_load(&script->mono) >= deadline) {
			atomic_fetch_add(&mine->active, 1);
			return r;
		}
		memcpy(all, p, n * sizeof *p);
		rest(all, n, want, deadline);
	}
}

int
epoll_wait(int fd, struct epoll_event *e, int most, int ms)
{
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}};
	uint64_t deadline;

	if (!mine || !ms)
		return (int)syscall(SYS_epoll_pwait, fd, e, most, ms, NULL, 8);
	deadline = deadline_of(ms);
	for (;;) {
		unsigned want = atomic_load(&mine->want);
		int r = (int)syscall(SYS_epoll_pwait, fd, e, most, 0, NULL, 8);

		if (r || atomic_load(&script->mono) >= deadline) {
			atomic_fetch_add(&mine->active, 1);
			return r;
		}
		rest(p, 1, want, deadline);
	}
}

/* A thread that is given work is at work until it waits for more. */
int
pthread_cond_signal(pthread_cond_t *c)
{
	if (mine)
		atomic_store(&mine->busy, true);
	/* one thread waits for each */
	return pthread_cond_broadcast(c);
}

int
pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	static int (*real)(pthread_cond_t *, pthread_mutex_t *);
	void *at;

	if (!real) {
		at = dlvsym(RTLD_NEXT, "pthread_cond_wait", "GLIBC_2.3.2");
		if (!at)
			at = dlsym(RTLD_NEXT, "pthread_cond_wait");
		memcpy(&real, &at, sizeof real);
	}
	if (mine && atomic_exchange(&mine->busy, false))
		knock(my_wake);
	return real(c, m);
}

/* ---- the test's side --------------------------------------------------------------------- */

void
clock_make(uint64_t wall)
{
	script = mmap(NULL, sizeof *script, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (script == MAP_FAILED)
		fail("no memory");
	told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (int i = 0; i < CLOCK_PLACES; i++)
		wake[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	atomic_store(&script->wall, wall);
	/* the machine has been up for a day */
	atomic_store(&script->mono, CLOCK_DAY);
}

void
clock_expect(unsigned i)
{
	struct place *p = &script->place[i];

	atomic_store(&p->busy, false);
	atomic_store(&p->deadline, UINT64_MAX);
	atomic_store(&p->taken, true);
}

void
clock_enter(unsigned i)
{
	my_wake = wake[i];
	mine = &script->place[i];
}

void
clock_gone(unsigned i)
{
	atomic_store(&script->place[i].taken, false);
}

uint64_t
clock_wall(void)
{
	return atomic_load(&script->wall);
}

uint64_t
clock_mono(void)
{
	return atomic_load(&script->mono);
}

static uint64_t
real_ms(void)
{
	struct timespec t;

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static unsigned
activity(void)
{
	unsigned n = 0;

	for (int i = 0; i < CLOCK_PLACES; i++)
		n += atomic_load(&script->place[i].active);
	return n;
}

/* Each place says that it has nothing to do, after this was asked. */
static void
round_of(uint64_t limit)
{
	for (int i = 0; i < CLOCK_PLACES; i++)
		if (atomic_load(&script->place[i].taken)) {
			atomic_fetch_add(&script->place[i].want, 1);
			knock(wake[i]);
		}
	for (int i = 0; i < CLOCK_PLACES; i++) {
		struct place *p = &script->place[i];

		while (atomic_load(&p->taken) && atomic_load(&p->seen) != atomic_load(&p->want)) {
			struct pollfd f = {told, POLLIN, 0};

			if (real_ms() > limit)
				fail("a process does not come to rest");
			(void)syscall(SYS_poll, &f, 1, 100);
			hear(told);
		}
	}
}

void
clock_settle(clock_side side, void *arg)
{
	uint64_t limit = real_ms() + PATIENCE_MS;

	for (;;) {
		unsigned before;
		bool any;

		/* nobody is within a turn now, but for who was sent something by another */
		round_of(limit);
		before = activity();
		any = side && side(arg);
		round_of(limit);
		if (!any && activity() == before)
			return;
		if (real_ms() > limit)
			fail("there is no end of work");
	}
}

void
clock_pass(uint64_t ms, clock_side side, void *arg)
{
	uint64_t end = clock_mono() + ms;

	clock_settle(side, arg);
	while (clock_mono() < end) {
		uint64_t next = end, now = clock_mono();

		for (int i = 0; i < CLOCK_PLACES; i++) {
			uint64_t d = atomic_load(&script->place[i].deadline);

			if (atomic_load(&script->place[i].taken) && d < next)
				next = d;
		}
		if (next <= now)
			next = now + 1;
		atomic_fetch_add(&script->wall, next - now);
		atomic_store(&script->mono, next);
		clock_settle(side, arg);
	}
}

void
clock_jump(int64_t ms)
{
	atomic_fetch_add(&script->wall, (unsigned long long)ms);
}
