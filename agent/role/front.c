#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "jail/jail.h"
#include "log/log.h"
#include "role/front_inside.h"

enum { QUEUE = FRONT_MOST_LISTENERS, PARENT, CONNS, EVENTS = 256, ACCEPTS = 256 };

static uint64_t
clock_ms(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void
look_at_clock(struct front *f)
{
	f->now = clock_ms(CLOCK_MONOTONIC);
	f->sec = clock_ms(CLOCK_REALTIME) / 1000;
}

bool
front_may_say(struct front *f)
{
	if (f->log_second != f->sec) {
		if (f->log_lines > FRONT_LOG_LINES)
			log_say(LOG_IS_NOTICE, NULL, "%u more lines about refusals are left out",
			    f->log_lines - FRONT_LOG_LINES);
		f->log_second = f->sec;
		f->log_lines = 0;
	}
	return ++f->log_lines <= FRONT_LOG_LINES;
}

void
front_run(struct front_conn *c)
{
	struct front *f = c->f;

	if (c->runs)
		return;
	c->runs = true;
	c->run_next = NULL;
	*f->run_last = c;
	f->run_last = &c->run_next;
}

/* ---- what is waited for -------------------------------------------------------------------- */

static int
add(struct front *f, int fd, uint64_t id, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.u64 = id};

	return epoll_ctl(f->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

static void
listen_to_all(struct front *f, bool on)
{
	if (f->listening == on)
		return;
	f->listening = on;
	for (unsigned i = 0; i < f->opt->nlistener; i++) {
		if (!on) {
			epoll_ctl(f->epoll, EPOLL_CTL_DEL, f->opt->listener[i], NULL);
		} else if (add(f, f->opt->listener[i], i, EPOLLIN)) {
			/* no memory: all again in a moment */
			listen_to_all(f, false);
			f->paused = f->now + FRONT_PAUSE_MS;
			return;
		}
	}
}

/* The queue's channel is waited for until it has room. */
static void
watch_room(struct front *f, bool *watched)
{
	struct epoll_event e = {.events = EPOLLIN | (f->chan_full ? EPOLLOUT : 0), .data.u64 = QUEUE};

	if (*watched == f->chan_full)
		return;
	if (!epoll_ctl(f->epoll, EPOLL_CTL_MOD, f->opt->queue, &e))
		*watched = f->chan_full;
}

/* ---- listeners ------------------------------------------------------------------------------- */

static bool
is_tcp(int fd)
{
	int family = AF_UNIX;
	socklen_t n = sizeof family;

	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &n);
	return family != AF_UNIX;
}

static void
take_some(struct front *f, int listener)
{
	bool tcp = is_tcp(listener);

	for (int i = 0; i < ACCEPTS; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			front_conn_begin(f, fd, tcp);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN) {
			/* no descriptor, no memory: those who wait stay in the backlog */
			if (front_may_say(f))
				log_say(LOG_IS_WARNING, NULL, "connections are not taken for a moment: %s", strerror(errno));
			f->paused = f->now + FRONT_PAUSE_MS;
			listen_to_all(f, false);
		}
		return;
	}
}

/* ---- the loop ---------------------------------------------------------------------------------- */

static void
woken(struct front *f, const struct epoll_event *e)
{
	uint64_t id = e->data.u64;
	struct front_conn *c;

	if (id == QUEUE) {
		if (e->events & EPOLLOUT)
			f->chan_full = false;
		if (e->events & ~(uint32_t)EPOLLOUT)
			front_queue_read(f);
	} else if (id == PARENT) {
		front_parent_read(f);
	} else if (id >= CONNS) {
		c = f->conn[id - CONNS];
		if (!c)
			return;
		c->readable |= (e->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
		c->hung_up |= (e->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
		c->writable |= (e->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
		front_run(c);
	}
}

static void
turn(void *arg)
{
	front_conn_turn(arg);
}

/* A turn for everyone who had something when we began. */
static void
turns(struct front *f)
{
	struct front_conn *last = NULL;

	if (f->run)
		for (last = f->run; last->run_next; last = last->run_next)
			;
	while (f->run) {
		struct front_conn *c = f->run;
		bool end = c == last;

		f->run = c->run_next;
		if (!f->run)
			f->run_last = &f->run;
		c->runs = false;
		/* without memory to judge it by, a connection ends; its program comes again */
		if (arena_try(turn, c)) {
			if (front_may_say(f))
				log_say(LOG_IS_WARNING, NULL, "no memory: a connection is given up");
			front_conn_end(c);
		}
		if (end)
			break;
	}
}

static void
parent_tick(void *arg)
{
	front_parent_tick(arg);
}

static void
tick(struct front *f)
{
	if (f->now < f->tick)
		return;
	f->tick = f->now + FRONT_TICK_MS;
	for (unsigned i = 0; i < FRONT_MOST_CONNS; i++)
		if (f->conn[i])
			front_conn_tick(f->conn[i]);
	if (arena_try(parent_tick, f))
		f->next_since = f->now; /* again, when there may be memory */
	if (f->paused && f->now >= f->paused) {
		f->paused = 0;
		if (!f->stopping)
			listen_to_all(f, true);
	}
}

/* Nobody waits and nothing is due: sleep until something comes. */
static int
wait_ms(const struct front *f)
{
	if (f->run)
		return 0;
	if (f->nnewcomer)
		return FRONT_GIVES_WAY_MS;
	if (f->nconn || f->next || f->paused || f->stopping || f->chan_full || (f->p && !f->ready_told))
		return FRONT_TICK_MS;
	if (f->have_kept && f->keep_dirty)
		return f->keep_next > f->now ? (int)(f->keep_next - f->now) : 0;
	return f->used ? FRONT_QUIET_MS : -1;
}

/* Begins to take connections when there is a policy and what was kept is here. */
static void
begin(struct front *f)
{
	if (!f->p || f->listening || f->stopping || f->paused)
		return;
	if (!f->ready_told) {
		if (ipc_send(f->opt->queue, FRONT_READY, 0, NULL, NULL, NULL, 0))
			return;
		f->ready_told = true;
	}
	if (!f->have_kept)
		return;
	listen_to_all(f, true);
	if (f->listening)
		log_say(LOG_IS_INFO, NULL, "programs may send mail");
}

static void
stop(struct front *f)
{
	if (f->stop_at)
		return;
	f->stop_at = f->now + FRONT_STOP_MS;
	listen_to_all(f, false);
	for (unsigned i = 0; i < FRONT_MOST_CONNS; i++)
		if (f->conn[i])
			front_conn_stop(f->conn[i]);
}

static int
loop(struct front *f)
{
	struct epoll_event e[EVENTS];
	bool watched = false;

	while (!f->gone && !(f->stopping && (!f->nconn || f->now >= f->stop_at))) {
		int n = epoll_wait(f->epoll, e, EVENTS, wait_ms(f));

		if (n < 0 && errno != EINTR)
			return -errno;
		look_at_clock(f);
		/* before those who come now */
		front_conn_newcomers(f);
		f->used |= f->nconn > 0;
		if (!n && f->used && !f->nconn && !f->keep_dirty) {
			malloc_trim(0);
			f->used = false;
		}
		for (int i = 0; i < n; i++)
			if (e[i].data.u64 < FRONT_MOST_LISTENERS)
				take_some(f, f->opt->listener[e[i].data.u64]);
			else
				woken(f, &e[i]);
		begin(f);
		if (f->stopping)
			stop(f);
		tick(f);
		turns(f);
		front_tell_run(f);
		watch_room(f, &watched);
	}
	return 0;
}

/* ---- beginning and end ------------------------------------------------------------------------------ */

static int
jailed(const struct role_front *r)
{
	const struct jail_path path[] = {{.path = "/proc"}, {.path = "/sys/fs/cgroup"},
	    {.path = "/usr/share/zoneinfo"}};
	int err;

	if (r->no_jail)
		return 0;
	err = jail_begin();
	if (!err)
		err = jail_user(r->uid, r->gid, false);
	if (!err)
		err = jail_landlock(path, sizeof path / sizeof path[0]);
	if (err >= 0)
		err = jail_caps(0);
	if (err >= 0)
		err = jail_seccomp(JAIL_FRONT);
	return err < 0 ? err : 0;
}

/* As many connections as there are descriptors for, each with a message's file. */
static void
find_limits(struct front *f)
{
	struct rlimit l;

	f->most = FRONT_MOST_CONNS;
	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	if (l.rlim_cur < 2 * FRONT_MOST_CONNS + FRONT_SPARE_FDS) {
		l.rlim_cur = l.rlim_max < 2 * FRONT_MOST_CONNS + FRONT_SPARE_FDS ? l.rlim_max :
		    2 * FRONT_MOST_CONNS + FRONT_SPARE_FDS;
		setrlimit(RLIMIT_NOFILE, &l);
		getrlimit(RLIMIT_NOFILE, &l);
	}
	if (l.rlim_cur < 2 * FRONT_MOST_CONNS + FRONT_SPARE_FDS)
		f->most = l.rlim_cur > FRONT_SPARE_FDS + 4 ? (unsigned)(l.rlim_cur - FRONT_SPARE_FDS) / 2 : 2;
	if (f->opt->most_connections && f->opt->most_connections < f->most)
		f->most = f->opt->most_connections;
}

/* The folder where numbers of control groups are inodes: cgroup2 itself, or below a hybrid's old
 * groups, whose inodes are other things and would name another's unit. -1: there is none. */
static int
cgroup2_of(int folder)
{
	struct statfs s;
	int fd;

	if (folder < 0)
		return -1;
	fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && !fstatfs(fd, &s) && s.f_type == CGROUP2_SUPER_MAGIC)
		return fd;
	if (fd >= 0)
		close(fd);
	fd = openat(folder, "unified", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && !fstatfs(fd, &s) && s.f_type == CGROUP2_SUPER_MAGIC)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void
windows_new(void *arg)
{
	struct front *f = arg;

	f->wa = arena_new();
	arena_keep(f->wa);
	f->windows = mail_windows_new(f->wa);
}

static int
set_up(struct front *f)
{
	struct utsname u;
	int err;

	f->run_last = &f->run;
	f->tell_last = &f->tell;
	f->keep = (struct buf)BUF_INIT(FRONT_KEEP_MOST);
	f->kept = (struct buf)BUF_INIT(FRONT_KEEP_MOST);
	look_at_clock(f);
	if (arena_try(windows_new, f))
		return -ENOMEM;
	if (!uname(&u))
		snprintf(f->host, sizeof f->host, "%s", u.nodename);
	if (!f->host[0])
		snprintf(f->host, sizeof f->host, "localhost");
	find_limits(f);
	f->cgroup = cgroup2_of(f->opt->cgroup);
	if (f->cgroup >= 0)
		f->units = peer_units_new(f->cgroup);
	f->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (f->epoll < 0)
		return -errno;
	err = add(f, f->opt->queue, QUEUE, EPOLLIN);
	if (!err)
		err = add(f, f->opt->parent, PARENT, EPOLLIN);
	for (unsigned i = 0; i < f->opt->nlistener; i++) {
		int fl = fcntl(f->opt->listener[i], F_GETFL);

		fcntl(f->opt->listener[i], F_SETFL, fl | O_NONBLOCK);
	}
	return err;
}

static void
take_down(struct front *f)
{
	for (unsigned i = 0; i < FRONT_MOST_CONNS; i++)
		if (f->conn[i])
			front_conn_end(f->conn[i]);
	f->stopping = true;
	front_conn_newcomers(f);
	front_keep_last(f);
	front_policy_free(f->p);
	front_policy_free(f->next);
	front_names_free(f);
	peer_units_free(f->units);
	arena_free(f->wa);
	arena_free(f->scratch);
	buf_free(&f->keep);
	buf_free(&f->kept);
	free(f->domain);
	if (f->cgroup >= 0)
		close(f->cgroup);
	if (f->epoll >= 0)
		close(f->epoll);
	free(f);
}

int
role_front(const struct role_front *r)
{
	struct front *f;
	int err;

	log_begin("mailreeved front");
	if (!r->nlistener || r->nlistener > FRONT_MOST_LISTENERS) {
		log_say(LOG_IS_ERROR, NULL, "%u sockets to listen to", r->nlistener);
		return 1;
	}
	f = calloc(1, sizeof *f);
	if (!f)
		return 1;
	f->opt = r;
	f->epoll = f->cgroup = -1;
	signal(SIGPIPE, SIG_IGN);
	tzset();
	err = set_up(f);
	if (!err)
		err = jailed(r);
	if (!err)
		err = loop(f);
	take_down(f);
	if (err)
		log_say(LOG_IS_ERROR, NULL, "mail of programs is not taken any more: %s", strerror(-err));
	return err ? 1 : 0;
}
