/* One connection: name, addresses, TCP, TLS, bytes. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "role/relay_inside.h"

/* ---- making and ending ---------------------------------------------------------------- */

static void
on_names(void *arg, const struct dns_answer *a)
{
	struct relay_conn *c = arg;

	c->names = *a;
	c->answered = true;
}

/* Starts at the endpoint, from its name on. */
static void
restart(struct relay_conn *c, unsigned endpoint)
{
	c->endpoint = endpoint;
	c->at = CONN_NAME;
	c->asked = c->answered = false;
	c->naddress = c->next_address = 0;
	c->limit = c->r->now + RELAY_CONNECT_MS;
	c->again = true;
}

bool
relay_conn_begin(struct relay *r, struct relay_lane *l, unsigned endpoint, struct relay_try *probe)
{
	struct relay_conn *c = calloc(1, sizeof *c);

	if (!c)
		return false;
	c->r = r;
	c->lane = l;
	c->fd = -1;
	c->next = r->conn;
	r->conn = c;
	c->probe = probe;
	if (probe)
		probe->conn = c;
	else
		r->nconn++;
	l->nconn++;
	l->ndial++;
	l->dest->nconn++;
	l->dest->ndial++;
	restart(c, endpoint);
	relay_conn_turn(c, NULL, 0);
	return true;
}

/* Says farewell to TLS, as far as the socket takes it at once. */
static void
farewell(struct relay_conn *c)
{
	const void *p;
	size_t n;

	if (!c->tls || c->fd < 0 || c->eof || tls_state(c->tls) != TLS_READY)
		return;
	tls_end(c->tls);
	p = tls_out(c->tls, &n);
	if (n && send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;                /* the other side will see it closed without */
}

/* Ends what stands between us and the address, not the attempt. */
static void
drop(struct relay_conn *c)
{
	farewell(c);
	for (unsigned i = 0; i < c->ntry; i++)
		close(c->try[i].fd);
	c->ntry = 0;
	c->c = smtp_client_free(c->c);
	c->tls = tls_free(c->tls);
	c->sasl = sasl_free(c->sasl);
	c->cred = relay_cred_free(c->cred);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->raw_at = c->raw_n = c->in_at = c->in_n = 0;
	c->eof = c->cut = c->proved = false;
	c->why[0] = 0;
	explicit_bzero(c->raw, sizeof c->raw);
	explicit_bzero(c->in, sizeof c->in);
}

void
relay_conn_dead(struct relay_conn *c)
{
	struct relay_dest *d = c->lane->dest;

	if (c->at == CONN_DEAD)
		return;
	assert(!c->nclaim);
	if (c->at < CONN_LIVE) {
		c->r->count.failed += !c->probe;
		c->lane->ndial--;
		d->ndial--;
	}
	c->lane->nconn--;
	d->nconn--;
	d->used = c->r->now;
	c->at = CONN_DEAD;
	dns_forget(c->r->dns, c);
	drop(c);
	if (c->probe)
		relay_probe_gone(c);
}

void
relay_conns_sweep(struct relay *r, bool all)
{
	struct relay_conn **p = &r->conn;
	bool any = *p != NULL;

	while (*p) {
		struct relay_conn *c = *p;

		if (all) {
			for (unsigned i = 0; i < c->nclaim; i++)
				relay_claim_free(c->claim[i]);
			c->nclaim = 0;
			relay_conn_dead(c);
		}
		if (c->at != CONN_DEAD) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		if (!c->probe)
			r->nconn--;
		free(c);
	}
	/* idle: what sessions took goes back */
	if (any && !r->conn)
		malloc_trim(0);
}

/* ---- failing --------------------------------------------------------------------------- */

/* Whether the endpoint gives no TLS: after TLS failed elsewhere it is not taken. */
static bool
is_weak(const struct relay_endpoint *e)
{
	return e->tls == POLICY_TLS_NONE || e->tls == POLICY_TLS_FORBIDDEN;
}

/* The cause that is told of all endpoints: the last one's, and before it one that people must look at, which would
 * never be told where another endpoint, tried after it, is only closed. Where one of them was not trusted and none of
 * the others serves, mail is held: it shall not grow too old for what people have to mend. */
static void
keep_cause(struct relay_dest *d, struct relay_endpoint *e, const struct relay_cause *cause)
{
	unsigned i = 0;

	d->cause = *cause;
	e->alarm = cause->alarm;
	e->held = cause->fate == RELAY_HELD;
	snprintf(e->why, sizeof e->why, "%s", cause->text);
	while (i < d->nendpoint && !(d->endpoint[i].fails && d->endpoint[i].alarm))
		i++;
	if (cause->alarm || i == d->nendpoint)
		return;
	d->cause.alarm = true;
	if (d->endpoint[i].held)
		d->cause.fate = RELAY_HELD;
	snprintf(d->cause.text, sizeof d->cause.text, "%.300s; and %.200s", d->endpoint[i].why, cause->text);
}

void
relay_conn_failed(struct relay_conn *c, const struct relay_cause *cause, bool tls)
{
	struct relay *r = c->r;
	struct relay_lane *l = c->lane;
	struct relay_dest *d = l->dest;
	struct relay_endpoint *e = &d->endpoint[c->endpoint];
	unsigned i = c->endpoint + 1;

	if (c->probe) {
		relay_probe_failed(c, NULL, cause->text);
		relay_conn_dead(c);
		return;
	}
	drop(c);
	/* where TLS is not required, what failed of it must not stand in the way (RFC 7435) */
	if (tls && e->tls == POLICY_TLS_NONE && e->clear <= r->now) {
		e->clear = r->now + RELAY_CLEAR_MS;
		restart(c, c->endpoint);
		return;
	}
	if (c->next_address < c->naddress && c->at != CONN_NAME) {
		c->at = CONN_TCP;
		c->limit = r->now + RELAY_CONNECT_MS;
		c->next_try = 0;
		c->again = true;
		return;
	}
	c->no_weaker |= tls;
	relay_endpoint_failed(r, e);
	keep_cause(d, e, cause);
	/* others of its kind stand: the relay lets us have no more than those for a while */
	if (d->nconn > d->ndial) {
		d->limit = d->nconn - d->ndial;
		d->limit_until = r->now + RELAY_LIMIT_MS;
		e->back = 0;
		e->fails = 0;
		relay_conn_dead(c);
		return;
	}
	while (i < d->nendpoint && (!relay_endpoint_free(r, &d->endpoint[i]) ||
	    (c->no_weaker && is_weak(&d->endpoint[i]))))
		i++;
	if (i < d->nendpoint) {
		restart(c, i);
		return;
	}
	relay_dest_state(d, false, d->cause.alarm, d->cause.text);
	relay_conn_dead(c);
	/* others that are being made may do better */
	if (!l->nconn)
		relay_lane_fail(r, l, &d->cause);
}

static void
failed(struct relay_conn *c, bool alarm, const char *what, const char *why)
{
	struct relay_cause cause = {.fate = RELAY_DEFERRED, .alarm = alarm};

	snprintf(cause.text, sizeof cause.text, "%.200s%s%.250s", what, *why ? ": " : "", why);
	relay_conn_failed(c, &cause, false);
}

/* ---- names and addresses ------------------------------------------------------------------ */

struct addr
relay_addr_of(const struct sockaddr_storage *s)
{
	struct addr a = {.family = ADDR_V4};
	const uint8_t *p = (const uint8_t *)&((const struct sockaddr_in *)s)->sin_addr;
	size_t n = 4;

	if (s->ss_family == AF_INET6) {
		p = ((const struct sockaddr_in6 *)s)->sin6_addr.s6_addr;
		n = 16;
		a.family = ADDR_V6;
	}
	for (size_t i = 0; i < n; i++)
		a.n = a.n << 8 | p[i];
	return a;
}

static void
sockaddr_of(struct addr a, struct sockaddr_storage *out)
{
	uint8_t *p = (uint8_t *)&((struct sockaddr_in *)out)->sin_addr;
	size_t n = 4;

	*out = (struct sockaddr_storage){.ss_family = AF_INET};
	if (a.family == ADDR_V6) {
		out->ss_family = AF_INET6;
		p = ((struct sockaddr_in6 *)out)->sin6_addr.s6_addr;
		n = 16;
	}
	for (size_t i = n; i-- > 0; a.n >>= 8)
		p[i] = (uint8_t)a.n;
}

static socklen_t
set_port(struct sockaddr_storage *s, uint16_t port)
{
	if (s->ss_family == AF_INET6) {
		((struct sockaddr_in6 *)s)->sin6_port = htons(port);
		return sizeof(struct sockaddr_in6);
	}
	((struct sockaddr_in *)s)->sin_port = htons(port);
	return sizeof(struct sockaddr_in);
}

/* An IPv6 socket that speaks with an IPv4 address is written as IPv4: ranges say so too. */
static void
unmap(struct sockaddr_storage *s)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)s;
	struct sockaddr_in v4 = {.sin_family = AF_INET};

	if (s->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		return;
	memcpy(&v4.sin_addr, v6->sin6_addr.s6_addr + 12, 4);
	*s = (struct sockaddr_storage){0};
	memcpy(s, &v4, sizeof v4);
}

/* Of the answer those within the relay's ranges, IPv6 and IPv4 in turns, beginning with the
 * system's first choice. */
static void
choose(struct relay_conn *c, char outside[46], unsigned *noutside)
{
	const struct relay_dest *d = c->lane->dest;
	struct sockaddr_storage in[DNS_MOST_ADDRESSES];
	bool used[DNS_MOST_ADDRESSES] = {0};
	unsigned n = 0;
	sa_family_t want;

	*noutside = 0;
	for (unsigned i = 0; i < c->names.n; i++) {
		struct sockaddr_storage s = c->names.address[i];
		struct addr a;

		unmap(&s);
		if (s.ss_family != AF_INET && s.ss_family != AF_INET6)
			continue;
		a = relay_addr_of(&s);
		if (addr_set_has(&d->ranges, a))
			in[n++] = s;
		else if (!(*noutside)++)
			addr_write(a, outside);
	}
	c->naddress = c->next_address = 0;
	want = n ? in[0].ss_family : AF_INET;
	while (c->naddress < n) {
		unsigned i = 0;

		while (i < n && (used[i] || in[i].ss_family != want))
			i++;
		if (i == n)
			for (i = 0; used[i]; i++)
				;
		used[i] = true;
		c->address[c->naddress++] = in[i];
		want = in[i].ss_family == AF_INET ? AF_INET6 : AF_INET;
	}
}

/* The name is known, or is no name. */
static void
named(struct relay_conn *c)
{
	struct relay_dest *d = c->lane->dest;
	char outside[46], words[RELAY_WORDS];
	unsigned noutside;

	if (c->probe)
		relay_probe_named(c);
	if (c->names.outcome != DNS_FOUND) {
		snprintf(words, sizeof words, "the name %.200s cannot be resolved", d->host);
		failed(c, c->names.outcome != DNS_NOT_NOW, words, c->names.outcome == DNS_NOT_NOW ?
		    c->names.why ? c->names.why : "nobody answers" : "there is no such name, or it has no address");
		return;
	}
	choose(c, outside, &noutside);
	c->outside = noutside > 0;
	if (noutside) {
		snprintf(words, sizeof words, "the name %.200s leads to %s, outside the ranges of the relay: "
		    "%s not connected to", d->host, outside, noutside > 1 ? "such addresses are" : "it is");
		if (!c->naddress) {
			failed(c, true, words, "");
			return;
		}
		relay_dest_state(d, d->well, true, words);
	}
	c->at = CONN_TCP;
	c->next_try = 0;
	c->again = true;
}

static void
ask(struct relay_conn *c)
{
	struct relay_dest *d = c->lane->dest;
	int err;

	c->asked = true;
	if (d->literal) {
		c->names = (struct dns_answer){.outcome = DNS_FOUND, .n = 1};
		sockaddr_of(d->address, &c->names.address[0]);
		c->answered = true;
		return;
	}
	err = dns_ask(c->r->dns, DNS_ADDRESSES, d->host, c->r->now, on_names, c);
	if (!err)
		return;
	c->names = (struct dns_answer){.outcome = DNS_NOT_NOW, .why = strerror(-err)};
	c->answered = true;
}

/* ---- TCP --------------------------------------------------------------------------------- */

static void
peer_of(const struct sockaddr_storage *s, uint16_t port, char out[80])
{
	char a[46];

	addr_write(relay_addr_of(s), a);
	snprintf(out, 80, s->ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", a, port);
}

/* Begins with the next address; false: there is none. */
static bool
try_next(struct relay_conn *c)
{
	uint16_t port = c->lane->dest->endpoint[c->endpoint].port;

	while (c->next_address < c->naddress) {
		unsigned i = c->next_address++;
		socklen_t n = set_port(&c->address[i], port);
		int fd = socket(c->address[i].ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		int one = 1;

		peer_of(&c->address[i], port, c->peer);
		if (fd < 0) {
			c->last_err = errno;
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
		if (connect(fd, (const struct sockaddr *)&c->address[i], n) && errno != EINPROGRESS) {
			c->last_err = errno;
			close(fd);
			continue;
		}
		c->try[c->ntry].fd = fd;
		c->try[c->ntry++].address = i;
		c->next_try = c->next_address < c->naddress ? c->r->now + RELAY_NEXT_ADDRESS_MS : 0;
		return true;
	}
	c->next_try = 0;
	return false;
}

static void
no_connection(struct relay_conn *c)
{
	char words[RELAY_WORDS];

	snprintf(words, sizeof words, "no connection to %s", c->peer);
	failed(c, false, words, strerror(c->last_err));
}

/* One of them stands: the others are given up. */
static void
connected(struct relay_conn *c, unsigned i)
{
	struct relay_dest *d = c->lane->dest;
	const struct relay_endpoint *e = &d->endpoint[c->endpoint];

	c->fd = c->try[i].fd;
	peer_of(&c->address[c->try[i].address], e->port, c->peer);
	for (unsigned k = 0; k < c->ntry; k++)
		if (k != i)
			close(c->try[k].fd);
	c->ntry = 0;
	if (c->probe)
		relay_probe_connected(c);
	c->clear = e->tls == POLICY_TLS_NONE && e->clear > c->r->now;
	c->limit = d->nendpoint > 1 || c->next_address < c->naddress ? c->r->now + RELAY_GREETING_MS : 0;
	if (e->tls != POLICY_TLS_IMPLICIT) {
		relay_session_begin(c);
		return;
	}
	c->at = CONN_SHAKE;
	c->limit = c->r->now + RELAY_GREETING_MS;
	c->tls = tls_new(c->lane->tls ? c->lane->tls : d->tls, d->host, d->pinned, d->npinned);
	if (!c->tls)
		failed(c, false, "no memory for TLS", "");
	c->again = true;
}

static void
tcp_turn(struct relay_conn *c, const struct pollfd *p, unsigned n)
{
	for (unsigned i = 0; i < c->ntry;) {
		const struct pollfd *q = NULL;
		int err = 0;
		socklen_t len = sizeof err;

		for (unsigned k = 0; k < n && !q; k++)
			if (p[k].fd == c->try[i].fd && p[k].revents)
				q = &p[k];
		if (!q) {
			i++;
			continue;
		}
		if (getsockopt(c->try[i].fd, SOL_SOCKET, SO_ERROR, &err, &len))
			err = errno;
		if (!err) {
			connected(c, i);
			return;
		}
		c->last_err = err;
		peer_of(&c->address[c->try[i].address], c->lane->dest->endpoint[c->endpoint].port, c->peer);
		close(c->try[i].fd);
		c->try[i] = c->try[--c->ntry];
		c->next_try = c->r->now;
	}
	if ((!c->ntry || (c->next_try && c->next_try <= c->r->now)) && !try_next(c) && !c->ntry) {
		no_connection(c);
	} else if (c->limit <= c->r->now) {
		c->last_err = ETIMEDOUT;
		no_connection(c);
	}
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* Reads more once all that was read is understood. False: nothing came. */
static bool
receive(struct relay_conn *c)
{
	ssize_t got;

	if (c->raw_at < c->raw_n || c->eof)
		return false;
	c->raw_at = c->raw_n = 0;
	do
		got = recv(c->fd, c->raw, sizeof c->raw, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	if (got <= 0) {
		c->last_err = got ? errno : 0;
		c->eof = true;
		if (c->tls)
			tls_feed_end(c->tls);
		return true;
	}
	c->raw_n = (size_t)got;
	return true;
}

/* Moves what came towards the session. False: nothing moved. */
static bool
understand(struct relay_conn *c)
{
	bool moved = false;
	size_t k;

	if (c->tls) {
		if (c->raw_at < c->raw_n) {
			k = tls_feed(c->tls, c->raw + c->raw_at, c->raw_n - c->raw_at);
			c->raw_at += k;
			moved |= k > 0;
			/* bytes that a failed or ended TLS does not want are nobody's */
			if (!k && tls_state(c->tls) != TLS_SHAKING && tls_state(c->tls) != TLS_READY)
				c->raw_at = c->raw_n;
		}
		if (c->in_at == c->in_n) {
			c->in_at = 0;
			c->in_n = tls_read(c->tls, c->in, sizeof c->in);
			moved |= c->in_n > 0;
		}
		if (c->c && c->in_at < c->in_n) {
			k = smtp_client_feed(c->c, c->in + c->in_at, c->in_n - c->in_at, c->r->now);
			c->in_at += k;
			moved |= k > 0;
		}
	} else if (c->c && c->raw_at < c->raw_n) {
		k = smtp_client_feed(c->c, c->raw + c->raw_at, c->raw_n - c->raw_at, c->r->now);
		c->raw_at += k;
		moved |= k > 0;
	}
	return moved;
}

/* Sends what waits. False: nothing went. *sent grows. */
static bool
transmit(struct relay_conn *c, size_t *sent)
{
	const char *p;
	size_t n, k;
	ssize_t put;
	bool moved = false;

	if (c->tls && c->c && tls_state(c->tls) == TLS_READY) {
		p = smtp_client_output(c->c, &n);
		k = n ? tls_write(c->tls, p, n) : 0;
		if (k)
			smtp_client_sent(c->c, k, c->r->now);
		moved |= k > 0;
	}
	if (c->tls)
		p = tls_out(c->tls, &n);
	else
		p = c->c ? smtp_client_output(c->c, &n) : (n = 0, "");
	if (!n || c->eof)
		return moved;
	do
		put = send(c->fd, p, n, MSG_NOSIGNAL);
	while (put < 0 && errno == EINTR);
	if (put < 0) {
		if (errno != EAGAIN && errno != EWOULDBLOCK) {
			/* what it said before it went is still to be read */
			c->last_err = errno;
		}
		return moved;
	}
	if (c->tls)
		tls_sent(c->tls, (size_t)put);
	else
		smtp_client_sent(c->c, (size_t)put, c->r->now);
	*sent += (size_t)put;
	return put > 0;
}

/* The handshake has ended, well or not. */
static void
shake(struct relay_conn *c)
{
	struct relay_cause cause = {.fate = RELAY_HELD, .alarm = true};

	if (!c->tls || tls_state(c->tls) == TLS_SHAKING)
		return;
	if (c->at == CONN_SHAKE && tls_state(c->tls) == TLS_READY) {
		relay_session_begin(c);
		return;
	}
	if (c->at != CONN_SHAKE)
		return;
	if (c->eof) {
		cause.fate = RELAY_DEFERRED;
		cause.alarm = false;
	}
	snprintf(cause.text, sizeof cause.text, "TLS with %s failed: %.400s", c->peer,
	    tls_state(c->tls) == TLS_FAILED ? tls_why(c->tls) : "it was ended");
	relay_conn_failed(c, &cause, true);
}

static bool
is_gone(const struct relay_conn *c)
{
	return c->eof && c->raw_at == c->raw_n && (!c->tls || c->in_at == c->in_n);
}

static void
stream_turn(struct relay_conn *c)
{
	size_t sent = 0;
	bool moved = true;

	c->again = false;
	while (moved && c->at >= CONN_SHAKE && c->at != CONN_DEAD && c->fd >= 0) {
		moved = receive(c);
		moved |= understand(c);
		shake(c);
		if (c->at < CONN_OPEN || c->at == CONN_DEAD || !c->c) {
			if (c->fd >= 0)
				moved |= transmit(c, &sent);
			continue;
		}
		relay_session_run(c);
		if (c->at < CONN_OPEN || c->at == CONN_DEAD || !c->c)
			break;
		moved |= transmit(c, &sent);
		if (!moved && (is_gone(c) || (c->tls && tls_state(c->tls) == TLS_FAILED &&
		    c->in_at == c->in_n))) {
			smtp_client_gone(c->c, c->r->now);
			relay_session_run(c);
			break;
		}
		if (sent > RELAY_TURN) {
			c->again = true;
			break;
		}
	}
}

void
relay_conn_turn(struct relay_conn *c, const struct pollfd *p, unsigned n)
{
	if (c->probe && relay_probe_late(c))
		return;
	switch (c->at) {
	case CONN_NAME:
		c->again = false;
		if (!c->asked)
			ask(c);
		if (c->answered)
			named(c);
		break;
	case CONN_TCP:
		c->again = false;
		tcp_turn(c, p, n);
		break;
	case CONN_SHAKE:
		if (c->limit <= c->r->now) {
			failed(c, false, "TLS takes too long at", c->peer);
			break;
		}
		stream_turn(c);
		break;
	case CONN_OPEN:
		if (c->limit && c->limit <= c->r->now) {
			failed(c, false, "the greeting takes too long at", c->peer);
			break;
		}
		smtp_client_tick(c->c, c->r->now);
		stream_turn(c);
		break;
	case CONN_LIVE:
	case CONN_LEAVES:
		smtp_client_tick(c->c, c->r->now);
		stream_turn(c);
		break;
	case CONN_DEAD:
		break;
	}
}

/* ---- waiting --------------------------------------------------------------------------------- */

unsigned
relay_conn_wait(const struct relay_conn *c, struct pollfd *p)
{
	size_t n = 0;

	if (c->at == CONN_TCP) {
		for (unsigned i = 0; i < c->ntry; i++)
			p[i] = (struct pollfd){.fd = c->try[i].fd, .events = POLLOUT};
		return c->ntry;
	}
	if (c->fd < 0 || c->at == CONN_DEAD)
		return 0;
	*p = (struct pollfd){.fd = c->fd, .events = c->eof ? 0 : POLLIN};
	if (c->tls)
		tls_out(c->tls, &n);
	if (!n && c->c && (!c->tls || tls_state(c->tls) == TLS_READY))
		smtp_client_output(c->c, &n);
	if (n)
		p->events |= POLLOUT;
	return 1;
}

uint64_t
relay_conn_deadline(const struct relay_conn *c)
{
	uint64_t t = UINT64_MAX, s;

	if (c->again)
		return c->r->now;
	switch (c->at) {
	case CONN_TCP:
		t = c->limit;
		if (c->next_try && c->next_try < t)
			t = c->next_try;
		break;
	case CONN_SHAKE:
		t = c->limit;
		break;
	case CONN_OPEN:
	case CONN_LIVE:
	case CONN_LEAVES:
		t = smtp_client_deadline(c->c);
		if (c->at == CONN_OPEN && c->limit && c->limit < t)
			t = c->limit;
		if (c->at == CONN_LIVE && !c->nclaim) {
			s = c->used + RELAY_IDLE_MS;
			t = s < t ? s : t;
		}
		break;
	case CONN_NAME:
	case CONN_DEAD:
		break;
	}
	if (c->probe && c->at != CONN_DEAD && c->probe->until < t)
		t = c->probe->until;
	return t;
}
