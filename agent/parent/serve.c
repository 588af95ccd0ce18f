/*
 * serve: metrics for who connects to the socket, and as a file for node_exporter.
 *
 * Who says "GET " is answered as HTTP/1.0 would; who says nothing gets the text as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "parent/inside.h"

enum { MOST_READERS = 8, MOST_REQUEST = 8 << 10, PATIENCE_US = 100000, LIFE_US = 10 * 1000000 };

struct reader {
	struct parent *p;
	int fd;
	sd_event_source *io, *timer;
	struct buf out;
	size_t sent, heard;
	uint32_t last;             /* the last four bytes heard: an empty line ends a request */
	char first[4];
	bool http, asked, dead;    /* dead: it has gone while its text is being made */
};

static unsigned nreader;

static void
reader_free(struct reader *r)
{
	r->io = sd_event_source_disable_unref(r->io);
	r->timer = sd_event_source_disable_unref(r->timer);
	if (r->fd >= 0) {
		close(r->fd);
		nreader--;
	}
	r->fd = -1;
	buf_free(&r->out);
	if (r->asked)
		r->dead = true;    /* the answer frees it */
	else
		free(r);
}

static void
push(struct reader *r)
{
	while (r->sent < r->out.n) {
		ssize_t k = send(r->fd, r->out.p + r->sent, r->out.n - r->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN) {
			sd_event_source_set_io_events(r->io, EPOLLOUT);
			return;
		}
		if (k <= 0)
			break;
		r->sent += (size_t)k;
	}
	shutdown(r->fd, SHUT_RDWR);
	reader_free(r);
}

static void
ready(void *arg, const char *text, size_t n)
{
	struct reader *r = arg;

	r->asked = false;
	if (r->dead) {
		free(r);
		return;
	}
	r->out = (struct buf)BUF_INIT(16 << 20);
	if (r->http)
		buf_printf(&r->out, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4; "
		    "charset=utf-8\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", n);
	buf_add(&r->out, text, n);
	push(r);
}

static void
serve(struct reader *r)
{
	if (r->asked)
		return;
	sd_event_source_set_io_events(r->io, 0);
	r->asked = true;
	metrics_ask(r->p, ready, r);
}

static int
on_late(sd_event_source *s, uint64_t usec, void *arg)
{
	struct reader *r = arg;

	(void)usec;
	if (r->asked || r->out.n || r->heard) {
		/* it has had the time of its life */
		reader_free(r);
		return 0;
	}
	/* it says nothing: it wants the text */
	sd_event_source_set_time_relative(s, LIFE_US);
	sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	serve(r);
	return 0;
}

static void
hear(struct reader *r, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (r->heard < sizeof r->first)
			r->first[r->heard] = p[i];
		r->heard++;
		if (p[i] != '\r')
			r->last = r->last << 8 | (uint8_t)p[i];
	}
}

static int
on_reader(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct reader *r = arg;
	char room[1024];
	ssize_t n;

	(void)s;
	if (r->out.n) {
		push(r);
		return 0;
	}
	if (r->asked) {
		if (events & (EPOLLHUP | EPOLLERR))
			reader_free(r);
		return 0;
	}
	n = recv(fd, room, sizeof room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0) {
		reader_free(r);
		return 0;
	}
	hear(r, room, (size_t)n);
	r->http = r->heard >= 4 && !memcmp(r->first, "GET ", 4);
	if (r->heard > MOST_REQUEST || (r->heard >= 4 && !r->http)) {
		reader_free(r);
		return 0;
	}
	if (n == 0 || (r->http && (r->last & 0xffff) == 0x0a0a))
		serve(r);
	else
		sd_event_source_set_time_relative(r->timer, LIFE_US);
	return 0;
}

int
on_metrics(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct parent *p = arg;
	struct reader *r;
	int k = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)s, (void)events;
	if (k < 0)
		return 0;
	r = nreader < MOST_READERS ? calloc(1, sizeof *r) : NULL;
	if (!r) {
		close(k);
		return 0;
	}
	nreader++;
	*r = (struct reader){.p = p, .fd = k, .out = BUF_INIT(16 << 20)};
	if (sd_event_add_io(p->ev, &r->io, k, EPOLLIN, on_reader, r) < 0 ||
	    sd_event_add_time_relative(p->ev, &r->timer, CLOCK_MONOTONIC, PATIENCE_US, 0, on_late, r) < 0)
		reader_free(r);
	return 0;
}

/* ---- the textfile ------------------------------------------------------------------------- */

static void
write_text(void *arg, const char *text, size_t n)
{
	struct parent *p = arg;
	static bool told;
	char fresh[4096];
	int fd, err = 0;

	snprintf(fresh, sizeof fresh, "%s.new", p->o->textfile);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	/* for others to read, whatever the umask */
	if (fd < 0 || fchmod(fd, 0644))
		err = errno;
	while (!err && n) {
		ssize_t k = write(fd, text, n);

		if (k <= 0) {
			err = k ? errno : EIO;
		} else {
			text += k;
			n -= (size_t)k;
		}
	}
	if (fd >= 0 && close(fd) && !err)
		err = errno;
	if (!err && rename(fresh, p->o->textfile))
		err = errno;
	if (err && !told)
		log_say(LOG_IS_WARNING, NULL, "%s cannot be written: %s", p->o->textfile, strerror(err));
	told = err != 0;
}

void
textfile_write(struct parent *p)
{
	if (p->o->textfile)
		metrics_ask(p, write_text, p);
}
