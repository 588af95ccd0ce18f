/*
 * attempts: reads the log group's packets and tells the parent of attempts (ipc/attempts.h).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ipc/attempts.h"
#include "jail/jail.h"
#include "log/log.h"
#include "nl/nflog.h"
#include "peer/witness.h"
#include "role/attempt_pool.h"
#include "role/attempt_who.h"
#include "role/role.h"

enum {
	AT_ONCE = 256,             /* reads between two looks at the clock's business */
	LOST_US = 1000000,         /* losses are told so often */
	LOST_TYPE = ATTEMPTS_LOST,
};

struct state {
	int chan, nflog;
	struct attempt_pool *pool;
	struct attempt_who *who;
	struct nflog_seq seq;
	struct attempts_lost lost;
	struct peer_witness *witness;
	const int *trace;
	unsigned ntrace;
	uint64_t lost_told;        /* when, microseconds */
	uint32_t id;
};

static uint64_t
clock_us(clockid_t c)
{
	struct timespec t;

	clock_gettime(c, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- packets in --------------------------------------------------------------------- */

static void
one_packet(struct state *s, const struct nflog_packet *n)
{
	uint64_t now = clock_us(CLOCK_MONOTONIC);
	struct nflog_head h = {0};
	struct pool_key k;
	struct who_packet w;
	struct pool_attempt *a;
	bool fresh;

	s->lost.lost += nflog_lost(&s->seq, n);
	/* what is no IP packet is told with what is known: nothing but the statement */
	if (nflog_head(n->payload, n->npayload, &h))
		h = (struct nflog_head){0};
	memset(&k, 0, sizeof k);
	memcpy(k.prefix, n->prefix, sizeof k.prefix);
	memcpy(k.src, h.src, sizeof k.src);
	memcpy(k.dst, h.dst, sizeof k.dst);
	k.in = n->in;
	k.out = n->out;
	k.uid = n->uid;
	k.gid = n->gid;
	k.dport = h.dport;
	k.family = h.family;
	k.proto = h.proto;
	k.hook = n->hook;
	attempt_who_packet(s->who, &h, &k, now, &w);
	a = attempt_pool_add(s->pool, &k, h.sport, n->when ? n->when : clock_us(CLOCK_REALTIME), now,
	    &fresh);
	if (a && fresh)
		attempt_who_attempt(s->who, &w, a, now);
}

/* Reads what has come, not for ever. 0; -EAGAIN there is no more; or -errno. */
static int
read_some(struct state *s)
{
	_Alignas(8) static uint8_t in[64 << 10];

	for (int i = 0; i < AT_ONCE; i++) {
		struct sockaddr_nl from = {0};
		socklen_t len = sizeof from;
		struct nflog_packet p;
		ssize_t n = recvfrom(s->nflog, in, sizeof in, MSG_DONTWAIT, (struct sockaddr *)&from,
		    &len);

		if (n < 0 && (errno == EINTR || errno == ENOBUFS))
			continue; /* what was lost, the sequence numbers tell */
		if (n < 0)
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
		if (n == 0)
			return -ENOTCONN;
		if (len < sizeof from || from.nl_pid != 0)
			continue; /* not the kernel's */
		struct nflog_bytes b = {in, (size_t)n};
		while (nflog_next(&b, &p) == 1)
			one_packet(s, &p);
	}
	return 0;
}

/* ---- attempts out ------------------------------------------------------------------- */

static void
address(uint8_t family, const uint8_t *a, char out[INET6_ADDRSTRLEN])
{
	out[0] = '\0';
	if (family)
		inet_ntop(family == 6 ? AF_INET6 : AF_INET, a, out, INET6_ADDRSTRLEN);
}

/* 0, also where it could only be counted; -errno: the parent has gone. */
static int
tell(struct state *s, const struct pool_attempt *a, uint64_t now)
{
	const struct pool_key *k = &a->key;
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN], in[WHO_IFNAME];
	struct attempts_one one = {
		.when = a->when, .count = a->count, .statement = k->prefix, .hook = k->hook,
		.family = k->family, .proto = k->proto, .source = src, .destination = dst,
		.sport = a->sport, .dport = k->dport, .in = in, .uid = k->uid,
		.unit = a->who.unit, .pid = a->who.pid, .program = a->who.comm, .exe = a->who.exe,
		.sure = a->sure, .among = a->who.among,
	};
	int err;

	address(k->family, k->src, src);
	address(k->family, k->dst, dst);
	/* a name may be forgotten while the next one is looked up */
	snprintf(in, sizeof in, "%.*s", WHO_IFNAME - 1, attempt_who_interface(s->who, k->in, now));
	one.out = attempt_who_interface(s->who, k->out, now);
	one.user = attempt_who_user(s->who, k->uid, now);
	err = ipc_send(s->chan, ATTEMPTS_ONE, ++s->id, &attempts_shape[ATTEMPTS_ONE], &one, NULL, 0);
	if (err == -EAGAIN || err == -ENOMEM || err == -EMSGSIZE) {
		/* the parent is slow: it reads them as a number */
		attempt_pool_untold(s->pool, a->count);
		return 0;
	}
	return err;
}

static int
tell_lost(struct state *s)
{
	int err;

	if (!s->lost.over_rate && !s->lost.lost)
		return 0;
	err = ipc_send(s->chan, LOST_TYPE, ++s->id, &attempts_shape[LOST_TYPE], &s->lost, NULL, 0);
	if (!err)
		s->lost = (struct attempts_lost){0};
	return err == -EAGAIN || err == -ENOMEM ? 0 : err;
}

static int
tell_due(struct state *s, uint64_t now, bool all)
{
	struct pool_attempt *a;
	int err = 0;

	while (!err && (a = attempt_pool_due(s->pool, all ? UINT64_MAX : now))) {
		attempt_who_late(s->who, a, now);
		err = tell(s, a, now);
	}
	s->lost.over_rate += attempt_pool_over(s->pool);
	if (!err && (all || now - s->lost_told >= LOST_US)) {
		s->lost_told = now;
		err = tell_lost(s);
	}
	return err;
}

/* ---- the role ----------------------------------------------------------------------- */

static int
wait_ms(const struct state *s, uint64_t now)
{
	uint64_t us = attempt_pool_wait(s->pool, now);

	/* losses wait for a second at most, once there are any */
	if ((s->lost.lost || s->lost.over_rate) && us > LOST_US)
		us = LOST_US;
	if (us > 10 * LOST_US)
		us = 10 * LOST_US;
	return (int)((us + 999) / 1000);
}

/* Until the parent has closed the channel, or its own direction of it. */
static int
run(struct state *s)
{
	struct pollfd f[2 + WITNESS_MOST] = {{s->nflog, POLLIN, 0}, {s->chan, POLLRDHUP, 0}};
	int err = 0;

	for (unsigned i = 0; i < s->ntrace; i++)
		f[2 + i] = (struct pollfd){s->trace[i], POLLIN, 0};

	while (!err) {
		uint64_t now = clock_us(CLOCK_MONOTONIC);
		if (poll(f, 2 + s->ntrace, wait_ms(s, now)) < 0 && errno != EINTR)
			return -errno;
		if (s->witness)
			peer_witness_read(s->witness);
		if (f[0].revents)
			err = read_some(s);
		if (err == -EAGAIN)
			err = 0;
		if (!err)
			err = tell_due(s, clock_us(CLOCK_MONOTONIC), false);
		if (f[1].revents & (POLLRDHUP | POLLHUP | POLLERR))
			return 0;
	}
	return err;
}

static int
jailed(const struct role_attempts *r)
{
	const struct jail_path path[] = {{.path = "/proc"}, {.path = "/sys/fs/cgroup"}};
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
		err = jail_seccomp(JAIL_ATTEMPTS);
	return err < 0 ? err : 0;
}

int
role_attempts(const struct role_attempts *r)
{
	const struct peer_places places = {r->proc, r->cgroup};
	struct state s = {.chan = r->chan, .nflog = r->nflog};
	int err;

	log_begin("mailreeved attempts");
	/* tracefs is out of reach in the jail; what is read there is the kernel's */
	if (r->ntrace) {
		s.witness = peer_witness_new(r->tracefs, r->trace, r->ntrace, &err);
		if (s.witness) {
			s.trace = r->trace;
			s.ntrace = r->ntrace;
		} else {
			log_say(LOG_IS_NOTICE, NULL, "processes that connect are not seen: %s", strerror(-err));
		}
	}
	err = jailed(r);
	if (!err) {
		s.pool = attempt_pool_new();
		s.who = attempt_who_new(r->diag, &places, r->passwd, s.witness);
		if (!s.pool || !s.who)
			err = -ENOMEM;
	}
	if (!err)
		err = run(&s);
	/* a parent that only closed its own direction still reads what is left */
	if (!err || err == -EPIPE)
		err = s.pool ? tell_due(&s, clock_us(CLOCK_MONOTONIC), true) : 0;
	if (err == -EPIPE || err == -ECONNRESET)
		err = 0;
	if (err)
		log_say(LOG_IS_ERROR, NULL, "attempts are not told any more: %s", strerror(-err));
	attempt_pool_free(s.pool);
	attempt_who_free(s.who);
	peer_witness_free(s.witness);
	return err ? 1 : 0;
}
