/* One connection: bytes, events, ends. */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "log/log.h"
#include "role/front_inside.h"

enum { AUTH_MOST = 1024, TURN_STEPS = 64 };

/* Of the ids in the loop's epoll set, those of connections. */
static uint64_t
epoll_id(const struct front_conn *c)
{
	return FRONT_MOST_LISTENERS + 2 + c->slot;
}

/* ---- memory --------------------------------------------------------------------------- */

/* What the connection holds beyond what each has. */
static void
account(struct front_conn *c)
{
	size_t mem = c->nin + c->m.envelope + c->m.out.cap + (c->m.header ? 2 * c->m.fed : 0);

	c->f->mem = c->f->mem - c->mem + mem;
	c->mem = mem;
	if (c->f->mem > FRONT_MEM_MOST && mem > FRONT_MEM_FREE && c->m.at == FRONT_AT_DATA)
		front_refuse(c, 451, "4.3.1", "too much is being taken at once; send it again later");
}

/* ---- output ----------------------------------------------------------------------------- */

/* Sends what there is. False: the peer is gone. */
static bool
put(struct front_conn *c)
{
	size_t n;
	const char *p;

	while ((p = smtp_server_output(c->s, &n)), n && c->writable) {
		ssize_t k = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k > 0) {
			smtp_server_sent(c->s, (size_t)k, c->f->now);
		} else if (errno == EAGAIN) {
			c->writable = false;
		} else if (errno != EINTR) {
			return false;
		}
	}
	return true;
}

/* ---- events ------------------------------------------------------------------------------ */

static void
content(struct front_conn *c, const struct smtp_server_event *e)
{
	c->block += e->nrun;
	if (c->block >= 4096) {
		c->block = 0;
		c->moved = c->f->now;
	}
	front_msg_content(c, e->run, e->nrun);
	smtp_server_next(c->s, c->f->now);
}

static void
data(struct front_conn *c)
{
	const char *enhanced = "4.3.0", *why = "no memory at the moment; send it again later";
	char words[FRONT_WORDS];

	if (!c->m.filed && !front_user_may_send(c->f, c->u)) {
		enhanced = "4.3.2";
		why = "too many messages are being taken, and some of this user among them; send it again later";
	} else if (front_msg_data(c)) {
		smtp_server_answer(c->s, 354, NULL, NULL, c->f->now);
		return;
	}
	c->f->count.deferred++;
	front_words(c->m.p, why, words);
	front_admit_tell(c, 451, enhanced, words);
	smtp_server_answer(c->s, 451, enhanced, words, c->f->now);
}

/* Sees to the event that stands. False: it waits. */
static bool
see(struct front_conn *c, const struct smtp_server_event *e)
{
	if (e->is != SMTP_SERVER_CONTENT)
		c->moved = c->f->now;
	switch (e->is) {
	case SMTP_SERVER_CONNECT:
		return front_admit_connect(c);
	case SMTP_SERVER_MAIL:
		return front_admit_mail(c, e);
	case SMTP_SERVER_RCPT:
		return front_admit_rcpt(c, e);
	case SMTP_SERVER_DATA:
		data(c);
		return true;
	case SMTP_SERVER_CONTENT:
		content(c, e);
		return true;
	case SMTP_SERVER_END:
		if (c->m.at == FRONT_AT_DATA) {
			c->m.size = e->size;
			c->m.high = e->high;
		}
		return front_msg_end(c);
	case SMTP_SERVER_RESET:
		if (c->m.at == FRONT_AT_DATA && (e->why == SMTP_WHY_CONTENT || e->why == SMTP_WHY_SIZE)) {
			const char *what = e->why == SMTP_WHY_SIZE ? "too large" : "CR, LF or NUL that stands alone";

			c->f->count.refused++;
			front_admit_tell(c, e->why == SMTP_WHY_SIZE ? 552 : 550,
			    e->why == SMTP_WHY_SIZE ? "5.3.4" : "5.6.0", what);
		}
		front_msg_forget(c);
		smtp_server_next(c->s, c->f->now);
		return true;
	case SMTP_SERVER_CLOSE:
		return false;
	}
	return false;
}

static bool
closes(const struct front_conn *c)
{
	const struct smtp_server_event *e = smtp_server_event(c->s);

	return e && e->is == SMTP_SERVER_CLOSE;
}

/* Sees to all events; false: one waits, or it is the end. */
static bool
events(struct front_conn *c)
{
	const struct smtp_server_event *e;

	while ((e = smtp_server_event(c->s)))
		if (!see(c, e))
			return false;
	return true;
}

/* ---- input -------------------------------------------------------------------------------- */

/* Gives the session what it takes of the n bytes at p; how many. */
static size_t
feed(struct front_conn *c, char *p, size_t n)
{
	size_t at = 0;

	while (at < n && events(c)) {
		size_t k = smtp_server_feed(c->s, p + at, n - at, c->f->now);

		at += k;
		if (!k && !smtp_server_event(c->s)) {
			size_t left;

			/* much output waits: perhaps it can go */
			if (!put(c))
				c->eof = true;
			smtp_server_output(c->s, &left);
			if (left)
				break;
		}
	}
	events(c);
	return at;
}

/* Keeps what the session has not taken. False without memory. */
static bool
keep(struct front_conn *c, const char *p, size_t n)
{
	char *own = n ? malloc(n) : NULL;

	if (n && !own)
		return false;
	if (n)
		memcpy(own, p, n);
	free(c->in);
	c->in = own;
	c->nin = n;
	c->in_at = 0;
	return true;
}

/* Bytes of the peer into the shared buffer; 0: none now. */
static size_t
get(struct front_conn *c)
{
	struct front *f = c->f;
	size_t most = FRONT_READ_LITTLE;
	ssize_t k;

	/* what comes before the file does has to be kept in memory */
	if (c->m.at == FRONT_AT_DATA && c->m.fd >= 0 && f->mem < FRONT_MEM_MOST / 2)
		most = FRONT_READ;
	do
		k = recv(c->fd, f->buf, most, MSG_DONTWAIT);
	while (k < 0 && errno == EINTR);
	if (k > 0) {
		/* a short read of a stream says that there is no more, for now, unless its end is known to be
		   there, which is told only once */
		if ((size_t)k < most && !c->hung_up)
			c->readable = false;
		return (size_t)k;
	}
	c->readable = false;
	if (!k || errno != EAGAIN)
		c->eof = true;
	return 0;
}

/* Whether more may be read now. */
static bool
takes(const struct front_conn *c)
{
	if (c->nin || smtp_server_event(c->s))
		return false;
	/* its file is on its way */
	return !(c->m.at == FRONT_AT_DATA && front_msg_full(&c->m) && !c->m.refusal.code && !c->m.header);
}

/* ---- ends ----------------------------------------------------------------------------------- */

/* All has been said: what is still on its way is read for a while, so that our last word is not lost
 * to a reset. */
static void
linger(struct front_conn *c)
{
	c->lingers = true;
	c->linger = c->f->now + FRONT_LINGER_MS;
	shutdown(c->fd, SHUT_WR);
	if (smtp_server_event(c->s)->why == SMTP_WHY_QUIT && !c->nin)
		c->dead = true;
}

static void
drain(struct front_conn *c)
{
	ssize_t k = recv(c->fd, c->f->buf, sizeof c->f->buf, MSG_DONTWAIT);

	if (k == 0 || (k < 0 && errno != EAGAIN && errno != EINTR))
		c->dead = true;
	else if (k < 0)
		c->readable = false;
	else
		front_run(c);
}

static void
close_if_over(struct front_conn *c)
{
	size_t n;

	if (!closes(c))
		return;
	smtp_server_output(c->s, &n);
	if (c->eof)
		c->dead = true;
	else if (!n)
		linger(c);
	else if (!c->linger)
		c->linger = c->f->now + 5 * FRONT_LINGER_MS;
}

void
front_conn_turn(struct front_conn *c)
{
	size_t n, k;

	if (c->lingers) {
		drain(c);
	} else {
		bool more = events(c);

		if (more && c->nin) {
			n = c->nin - c->in_at;
			k = feed(c, c->in + c->in_at, n);
			front_msg_flush(c, false);
			c->in_at += k;
			if (c->in_at == c->nin)
				keep(c, NULL, 0);
		}
		if (!put(c))
			c->eof = true;
		if (!c->eof && c->readable && takes(c) && (n = get(c))) {
			k = feed(c, c->f->buf, n);
			front_msg_flush(c, false);
			if (k < n && !closes(c) && !keep(c, c->f->buf + k, n - k))
				c->eof = true;
			if (!put(c))
				c->eof = true;
		}
		if (c->eof && !c->nin && !closes(c)) {
			smtp_server_gone(c->s, c->f->now);
			events(c);
		}
		if (c->nin && !smtp_server_event(c->s) && c->writable)
			front_run(c);
		close_if_over(c);
		if (!c->dead && c->readable && (c->lingers || takes(c)))
			front_run(c);
		account(c);
	}
	if (c->dead)
		front_conn_end(c);
}

void
front_conn_tick(struct front_conn *c)
{
	struct front *f = c->f;

	if (c->linger && f->now >= c->linger) {
		c->dead = true;
		front_run(c);
		return;
	}
	if (c->waits == FRONT_WAITS_NAME && f->now >= c->name_until) {
		c->name_known = true;
		c->name = FRONT_NAME_NOT_NOW;
		front_run(c);
	}
	/* since: of its seal, or of its end, which waits for a file */
	if (c->m.at >= FRONT_AT_END && f->now - c->m.since >= (f->opt->settle_ms ? f->opt->settle_ms :
	    FRONT_SETTLE_MS)) {
		const struct front_settled late = {.code = 451, .enhanced = "4.4.1",
		    .text = "the queue does not answer; send it again later"};

		/* it is sealed, so the queue has to be asked to take it back */
		if (c->m.at == FRONT_AT_SEALED && c->m.sealed == c->m.nto)
			front_drop(f, c->m.token);
		front_msg_settled(c, &late);
	}
	if (smtp_server_deadline(c->s) <= f->now) {
		smtp_server_tick(c->s, f->now);
		front_run(c);
	}
}

void
front_conn_give_way(struct front_conn *c)
{
	char word[FRONT_WORDS + 32], words[FRONT_WORDS];
	int len = snprintf(word, sizeof word, "421 4.7.0 %s\r\n", front_words(c->p,
	    "others wait for this place, and nothing came; connect again", words));
	size_t n;

	c->f->count.connections_gave_way++;
	/* what it is told of its message goes out before: it would send it again */
	(void)put(c);
	smtp_server_output(c->s, &n);
	if (!n && !c->lingers)
		send(c->fd, word, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
	front_conn_end(c);
}

void
front_conn_stop(struct front_conn *c)
{
	smtp_server_shutdown(c->s, c->f->now);
	front_run(c);
}

/* ---- beginning and end ------------------------------------------------------------------------ */

void
front_conn_end(struct front_conn *c)
{
	struct front *f = c->f;

	front_msg_forget(c);
	f->mem -= c->mem;
	if (c->fd >= 0)
		close(c->fd);
	smtp_server_free(c->s);
	if (c->u)
		front_user_leave(f, c->u);
	if (c->slot < FRONT_MOST_CONNS) {
		f->conn[c->slot] = NULL;
		f->nconn--;
	}
	for (struct front_conn **at = &f->run; *at; at = &(*at)->run_next)
		if (*at == c) {
			if (f->run_last == &c->run_next)
				f->run_last = at;
			*at = c->run_next;
			break;
		}
	for (struct front_conn **at = &f->tell; *at; at = &(*at)->tell_next)
		if (*at == c) {
			if (f->tell_last == &c->tell_next)
				f->tell_last = at;
			*at = c->tell_next;
			break;
		}
	front_policy_free(c->p);
	arena_free(c->sa);
	free(c->unit);
	free(c->in);
	free(c);
}

/* No place: a word, and goodbye. */
static void
turn_away(struct front *f, int fd, uint32_t uid, const char *why)
{
	char line[FRONT_WORDS + 32], words[FRONT_WORDS];
	int n = snprintf(line, sizeof line, "421 4.7.0 %s\r\n", front_words(f->p, why, words));

	f->count.connections_refused++;
	if (front_may_say(f))
		log_say(LOG_IS_WARNING, NULL, "a connection of uid %d was turned away: %s", (int)uid, why);
	send(fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(fd, SHUT_WR);
	close(fd);
}

static void
session_new(void *arg)
{
	struct front_conn *c = arg;

	c->sa = arena_new();
	arena_keep(c->sa);
	c->session = mail_session_new(c->sa);
}

static bool
fill(struct front_conn *c)
{
	struct front *f = c->f;
	struct smtp_server_options o = {.host = f->host, .contact = c->p->policy->meta.contact, .auth = true, .space = true,
	    .recipients = FRONT_RCPTS, .command_ms = f->opt->command_ms};
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
	const struct policy_application *x = mail_application(c->p->policy, c->user[0] ? c->user : NULL,
	    c->unit);

	o.size = front_policy_size(c->p->policy, x);
	/* o.line stays 0: a line over 998 octets goes as it is. Folding would break a signature, and RFC 5321 4.5.3.1
	   asks to take what is larger than it must be taken; a relay that minds says so */
	c->s = smtp_server_new(&o);
	if (!c->s)
		return false;
	if (c->p->per_connection && arena_try(session_new, c))
		return false;
	e.data.u64 = epoll_id(c);
	return !epoll_ctl(f->epoll, EPOLL_CTL_ADD, c->fd, &e);
}

/* Gives the newcomer a place. */
static bool
place(struct front *f, const struct front_newcomer *w, bool now, const char **why, bool *soon)
{
	struct front_user *u = front_user_enter(f, w->uid, now, why, soon);
	struct front_conn *c = u ? calloc(1, sizeof *c) : NULL;
	int one = 1;

	if (!c) {
		if (u)
			front_user_leave(f, u);
		return false;
	}
	*c = (struct front_conn){.f = f, .fd = w->fd, .u = u, .unit = w->unit, .readable = true, .writable = true,
	    .moved = f->now, .m = {.fd = -1}, .p = front_policy_ref(f->p), .slot = 0};
	if (w->uid != PEER_NO_UID)
		snprintf(c->user, sizeof c->user, "%u", w->uid);
	while (c->slot < FRONT_MOST_CONNS && f->conn[c->slot])
		c->slot++;
	assert(c->slot < FRONT_MOST_CONNS);
	f->conn[c->slot] = c;
	f->nconn++;
	f->count.connections++;
	if (w->tcp)
		setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (!fill(c)) {
		front_conn_end(c);
		return true;
	}
	smtp_server_start(c->s, f->now);
	/* whoever speaks before our greeting is found out */
	if (takes(c) || c->readable) {
		size_t n = get(c);

		if (n)
			smtp_server_feed(c->s, f->buf, n, f->now);
	}
	front_run(c);
	return true;
}

/* It waits for a place. */
static bool
wait_for_place(struct front *f, const struct front_newcomer *w)
{
	for (unsigned i = 0; i < f->nnewcomer; i++)
		if (f->newcomer[i].uid == w->uid)
			return false;
	if (f->nnewcomer == FRONT_MOST_WAITING)
		return false;
	f->newcomer[f->nnewcomer++] = *w;
	return true;
}

void
front_conn_begin(struct front *f, int fd, bool tcp)
{
	struct front_newcomer w = {.fd = fd, .tcp = tcp, .until = f->now + FRONT_PATIENCE_MS};
	const char *why;
	bool soon;

	front_who(f, fd, tcp, &w.uid, &w.unit);
	if (place(f, &w, false, &why, &soon) || (soon && wait_for_place(f, &w)))
		return;
	turn_away(f, fd, w.uid, why);
	free(w.unit);
}

void
front_conn_newcomers(struct front *f)
{
	for (unsigned i = 0; i < f->nnewcomer; ) {
		struct front_newcomer w = f->newcomer[i];
		const char *why = "the service ends; try again soon";
		bool soon, over = f->stopping || f->now >= w.until;

		if (f->stopping || !place(f, &w, over, &why, &soon)) {
			if (!over) {
				i++;
				continue;
			}
			turn_away(f, w.fd, w.uid, why);
			free(w.unit);
		}
		f->newcomer[i] = f->newcomer[--f->nnewcomer];
	}
}
