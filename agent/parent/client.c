/*
 * client: who speaks to the control socket.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "parent/inside.h"

enum { GROUPS = 1024, IDLE_US = 10 * 1000000 };

/* What stands before each piece of text that waits to be sent. */
struct head {
	uint32_t type, n;
	uint32_t status;           /* CTL_END */
};

static void
client_free(struct client *c)
{
	struct parent *p = c->p;
	struct op *o = c->op;

	for (struct client **at = &p->client; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	p->nclient--;
	buf_free(&c->out);
	sd_event_source_disable_unref(c->io);
	close(c->fd);
	free(c);
	if (o)
		op_forsaken(o);
}

void
clients_free(struct parent *p)
{
	while (p->client)
		client_free(p->client);
}

static int
send_piece(struct client *c, const struct head *h, const char *bytes)
{
	struct ctl_text t = {.bytes = (const uint8_t *)bytes, .n = h->n};
	struct ctl_end e = {.status = h->status};

	return h->type == CTL_END ? ipc_send(c->fd, CTL_END, 0, &ctl_end_shape, &e, NULL, 0) :
	    ipc_send(c->fd, h->type, 0, &ctl_text_shape, &t, NULL, 0);
}

/* Sends what it takes. false when the client is gone: freed. */
static bool
flush(struct client *c)
{
	while (c->sent < c->out.n) {
		struct head h;
		int err;

		memcpy(&h, c->out.p + c->sent, sizeof h);
		err = send_piece(c, &h, c->out.p + c->sent + sizeof h);
		if (err == -EAGAIN) {
			sd_event_source_set_io_events(c->io, EPOLLIN | EPOLLOUT);
			return true;
		}
		if (err) {
			client_free(c);
			return false;
		}
		c->moved = now_us(CLOCK_MONOTONIC);
		c->sent += sizeof h + h.n;
	}
	buf_free(&c->out);
	c->sent = 0;
	if (c->ended) {
		client_free(c);
		return false;
	}
	sd_event_source_set_io_events(c->io, EPOLLIN);
	return true;
}

/* false when the client is gone. */
static bool
queue(struct client *c, uint32_t type, const char *bytes, size_t n, uint32_t status)
{
	struct head h = {.type = type, .n = (uint32_t)n, .status = status};

	buf_add(&c->out, &h, sizeof h);
	if (n)
		buf_add(&c->out, bytes, n);
	if (!c->out.err)
		return true;
	log_say(LOG_IS_WARNING, NULL, "a client of uid %u (pid %u) does not read: dropped", c->uid,
	    c->pid);
	client_free(c);
	return false;
}

void
client_say(struct client *c, uint32_t type, const char *bytes, size_t n)
{
	while (n) {
		size_t k = n > CTL_MOST_TEXT ? CTL_MOST_TEXT : n;

		if (!queue(c, type, bytes, k, 0))
			return;
		bytes += k;
		n -= k;
	}
	flush(c);
}

int
client_file(struct client *c, int fd)
{
	/* what waits is bytes: a descriptor goes at once, or not at all */
	return c->out.n > c->sent ? -EAGAIN : ipc_send(c->fd, CTL_FILE, 0, NULL, NULL, &fd, 1);
}

void
client_end(struct client *c, uint32_t status)
{
	c->op = NULL;
	c->ended = true;
	if (queue(c, CTL_END, NULL, 0, status))
		flush(c);
}

static void
refuse(struct client *c, uint32_t status, const char *text)
{
	c->ended = true;
	if (queue(c, CTL_ERR, text, strlen(text), 0) && queue(c, CTL_END, NULL, 0, status))
		flush(c);
}

static void
request(struct client *c, struct ipc_in *in)
{
	const struct ctl_ask *a;
	const void *body;
	struct op *o;

	/* told now, not before: closing with its request unread would lose the answer */
	if (c->refused) {
		refuse(c, 3, "mailreeved: you may not control the agent\n");
		return;
	}
	if (c->asked || in->type == 0 || in->type >= CTL_NOP || !op_table[in->type].name ||
	    ipc_body(in, in->type == CTL_QUEUE ? &mail_ask_shape[MAIL_QUEUE] : &ctl_ask_shape, &body)) {
		refuse(c, 2, "mailreeved: that is no request\n");
		return;
	}
	c->asked = true;
	o = op_new(c->p, in->type);
	if (!o) {
		refuse(c, 3, "mailreeved: too much to do, or no memory\n");
		return;
	}
	o->client = c;
	c->op = o;
	o->uid = c->uid;
	o->pid = c->pid;
	if (in->type == CTL_QUEUE) {
		o->in = *in;
		o->queue = body;
		*in = (struct ipc_in){0};
		op_begin(o);
		return;
	}
	a = body;
	o->flags = a->flags;
	o->number = a->number;
	o->seconds = a->seconds;
	if (in->type == CTL_DOCTOR)
		strncpy(o->relay, a->address, sizeof o->relay - 1);
	else
		strncpy(o->address, a->address, sizeof o->address - 1);
	strncpy(o->connection, a->connection, sizeof o->connection - 1);
	op_begin(o);
}

static int
on_client(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct client *c = arg;
	struct ipc_in in;
	int err;

	(void)s;
	if (events & EPOLLOUT && !flush(c))
		return 0;
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return 0;
	err = ipc_recv(fd, &in);
	if (err == -EAGAIN)
		return 0;
	if (err == 1) {
		if (!c->ended)
			request(c, &in);
		ipc_free(&in);
	} else if (err == -EBADMSG && !c->op && !c->ended) {
		refuse(c, 2, "mailreeved: that is no request\n");
	} else {
		client_free(c);
	}
	return 0;
}

/* Whether who connected may control: root, the agent's own user, the group. */
static bool
may(struct parent *p, int fd, struct ucred *u)
{
	gid_t group[GROUPS];
	socklen_t n = sizeof *u;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, u, &n))
		return false;
	if (u->uid == 0 || u->uid == p->uid)
		return true;
	if (p->control == (gid_t)-1)
		return false;
	if (u->gid == p->control)
		return true;
	n = sizeof group;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, group, &n))
		return false;
	for (size_t i = 0; i < n / sizeof group[0]; i++)
		if (group[i] == p->control)
			return true;
	return false;
}

/* Its request may be here already, and closing with it unread would lose the answer; one that comes later is
 * refused by the kernel, which mailreevectl takes for the same. */
static void
too_many(int fd)
{
	static const char text[] = "mailreeved: the agent has too many clients\n";
	struct ctl_text t = {.bytes = (const uint8_t *)text, .n = sizeof text - 1};
	struct ctl_end e = {.status = 3};
	char room[16];

	shutdown(fd, SHUT_RD);
	while (recv(fd, room, sizeof room, MSG_DONTWAIT) > 0)
		;
	if (!ipc_send(fd, CTL_ERR, 0, &ctl_text_shape, &t, NULL, 0))
		(void)ipc_send(fd, CTL_END, 0, &ctl_end_shape, &e, NULL, 0);
	close(fd);
}

int
on_control(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct parent *p = arg;
	struct ucred u = {0};
	struct client *c;
	int k = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	bool allowed;

	(void)s, (void)events;
	if (k < 0)
		return 0;
	allowed = may(p, k, &u);
	c = p->nclient < MOST_CLIENTS ? calloc(1, sizeof *c) : NULL;
	if (!c) {
		too_many(k);
		return 0;
	}
	*c = (struct client){.p = p, .fd = k, .uid = u.uid, .pid = (uint32_t)u.pid,
	    .moved = now_us(CLOCK_MONOTONIC), .next = p->client, .out = BUF_INIT(MOST_QUEUE)};
	if (sd_event_add_io(p->ev, &c->io, k, EPOLLIN, on_client, c) < 0) {
		close(k);
		free(c);
		return 0;
	}
	p->client = c;
	p->nclient++;
	if (!allowed) {
		p->n.clients_refused++;
		log_say(LOG_IS_WARNING, NULL, "uid %u (pid %u) may not control the agent: refused", c->uid,
		    c->pid);
	}
	c->refused = !allowed;
	return 0;
}

void
clients_late(struct parent *p)
{
	uint64_t now = now_us(CLOCK_MONOTONIC);
	struct client *next;

	for (struct client *c = p->client; c; c = next) {
		next = c->next;
		/* one that waits for its operation may wait; one that asks nothing, or takes nothing of
		   what it is told, has had its time */
		if ((!c->asked || c->out.n) && now - c->moved > IDLE_US)
			client_free(c);
	}
}
