#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "peer/peer.h"

enum {
	ANSWER = 4 << 10,          /* one socket with its attributes: some 200 bytes */
	MOST_STALE = 16,           /* answers to earlier questions that are passed over */
	ORIGINAL_DST = 80,         /* SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST: linux/netfilter_ipv4.h */
	STATE_LISTEN = 10,         /* TCP_LISTEN: net/tcp_states.h */
	CGROUP_ID = 21,            /* INET_DIAG_CGROUP_ID */
	PROTO_TCP = 6, PROTO_UDP = 17,
};

int
peer_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);

	return fd < 0 ? -errno : fd;
}

struct question {
	struct nlmsghdr h;
	struct inet_diag_req_v2 r;
};

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* An address as the 16 bytes of an IPv6 one, so that one form is compared. */
static void
as_six(uint8_t family, const uint8_t *a, uint8_t out[16])
{
	if (family == 6) {
		memcpy(out, a, 16);
	} else {
		memcpy(out, mapped, sizeof mapped);
		memcpy(out + sizeof mapped, a, 4);
	}
}

static bool
is_mapped(const uint8_t a[16])
{
	return !memcmp(a, mapped, sizeof mapped);
}

static bool
is_any(const uint8_t a[16])
{
	static const uint8_t zero[16];

	return !memcmp(a, zero, 16) || (is_mapped(a) && !memcmp(a + 12, zero, 4));
}

/* The socket that came is the one that was asked for. A look-up falls back to listeners, and to
 * unconnected UDP sockets, whose address or peer is "any". */
static bool
is_asked(const struct peer_tuple *t, const uint8_t src[16], const uint8_t dst[16],
    const struct inet_diag_msg *m)
{
	uint8_t family = m->idiag_family == AF_INET6 ? 6 : 4, s[16], d[16];

	as_six(family, (const uint8_t *)m->id.idiag_src, s);
	as_six(family, (const uint8_t *)m->id.idiag_dst, d);
	if (ntohs(m->id.idiag_sport) != t->sport)
		return false;
	if (t->proto == PROTO_TCP)
		return m->idiag_state != STATE_LISTEN && ntohs(m->id.idiag_dport) == t->dport &&
		    !memcmp(s, src, 16) && !memcmp(d, dst, 16);
	return (!memcmp(s, src, 16) || is_any(s)) &&
	    ((!memcmp(d, dst, 16) && ntohs(m->id.idiag_dport) == t->dport) ||
	    (is_any(d) && m->id.idiag_dport == 0));
}

static int
read_answer(const struct peer_tuple *t, const uint8_t src[16], const uint8_t dst[16],
    const uint8_t *p, size_t n, struct peer_sock *out)
{
	struct peer_sock s = {.uid = PEER_NO_UID};
	struct inet_diag_msg m;

	if (n < sizeof m)
		return -EBADMSG;
	memcpy(&m, p, sizeof m);
	if (!is_asked(t, src, dst, &m))
		return -ENOENT;
	for (size_t at = NLMSG_ALIGN(sizeof m); at + sizeof(struct nlattr) <= n;) {
		struct nlattr a;
		memcpy(&a, p + at, sizeof a);
		if (a.nla_len < sizeof a || a.nla_len > n - at)
			break;
		if ((a.nla_type & NLA_TYPE_MASK) == CGROUP_ID && a.nla_len == sizeof a + sizeof s.cgroup)
			memcpy(&s.cgroup, p + at + sizeof a, sizeof s.cgroup);
		at += NLA_ALIGN(a.nla_len);
	}
	s.state = m.idiag_state;
	s.inode = m.idiag_inode;
	/* A socket that no program has (TIME_WAIT, a half-open one, one closed with bytes under way)
	   has inode 0, and older kernels tell uid 0 of it. */
	if (s.inode)
		s.uid = m.idiag_uid;
	*out = s;
	return s.inode ? PEER_FOUND : PEER_CLOSED;
}

static int
receive(int diag, uint32_t seq, const struct peer_tuple *t, const uint8_t src[16],
    const uint8_t dst[16], struct peer_sock *out)
{
	_Alignas(struct nlmsghdr) uint8_t in[ANSWER];

	for (int i = 0; i < MOST_STALE; i++) {
		struct sockaddr_nl from = {0};
		socklen_t len = sizeof from;
		struct nlmsghdr h;
		ssize_t n;

		/* the kernel has answered by the time sendto() returns */
		do
			n = recvfrom(diag, in, sizeof in, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return -errno;
		if (from.nl_pid != 0 || (size_t)n < sizeof h)
			continue;
		memcpy(&h, in, sizeof h);
		if (h.nlmsg_seq != seq || h.nlmsg_len < sizeof h || h.nlmsg_len > (size_t)n)
			continue;
		if (h.nlmsg_type == NLMSG_ERROR) {
			struct nlmsgerr e;
			if (h.nlmsg_len < NLMSG_HDRLEN + sizeof e)
				return -EBADMSG;
			memcpy(&e, in + NLMSG_HDRLEN, sizeof e);
			/* a success without a socket is no answer */
			return e.error < 0 ? e.error : -EBADMSG;
		}
		if (h.nlmsg_type != SOCK_DIAG_BY_FAMILY)
			return -EBADMSG;
		return read_answer(t, src, dst, in + NLMSG_HDRLEN, h.nlmsg_len - NLMSG_HDRLEN, out);
	}
	return -EBADMSG;
}

static int
ask(int diag, const struct peer_tuple *t, int family, const uint8_t *src, const uint8_t *dst,
    size_t n, struct peer_sock *out)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct question q = {
		.h = {sizeof q, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0},
		.r = {.sdiag_family = (uint8_t)family, .sdiag_protocol = t->proto, .idiag_states = ~0u},
	};
	uint8_t s6[16], d6[16];
	struct timespec now;
	ssize_t k;

	/* the sequence tells a stale answer; it need not be secret, for only the kernel is heard */
	clock_gettime(CLOCK_MONOTONIC, &now);
	q.h.nlmsg_seq = (uint32_t)now.tv_nsec ^ (uint32_t)now.tv_sec << 20;
	/* for UDP the kernel wants the two ends the other way round (net/ipv4/udp_diag.c) */
	bool swap = t->proto == PROTO_UDP;
	memcpy(q.r.id.idiag_src, swap ? dst : src, n);
	memcpy(q.r.id.idiag_dst, swap ? src : dst, n);
	q.r.id.idiag_sport = htons(swap ? t->dport : t->sport);
	q.r.id.idiag_dport = htons(swap ? t->sport : t->dport);
	q.r.id.idiag_if = t->ifindex;
	q.r.id.idiag_cookie[0] = q.r.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	do
		k = sendto(diag, &q, sizeof q, 0, (struct sockaddr *)&kernel, sizeof kernel);
	while (k < 0 && errno == EINTR);
	if (k < 0)
		return -errno;
	as_six(family == AF_INET6 ? 6 : 4, src, s6);
	as_six(family == AF_INET6 ? 6 : 4, dst, d6);
	return receive(diag, q.h.nlmsg_seq, t, s6, d6, out);
}

int
peer_find(int diag, const struct peer_tuple *t, struct peer_sock *out)
{
	const uint8_t *src = t->src, *dst = t->dst;
	bool four = t->family == 4;

	if ((t->family != 4 && t->family != 6) || (t->proto != PROTO_TCP && t->proto != PROTO_UDP))
		return -EAFNOSUPPORT;
	if (!four && is_mapped(src) && is_mapped(dst)) {
		src += sizeof mapped;
		dst += sizeof mapped;
		four = true;
	}
	return ask(diag, t, four ? AF_INET : AF_INET6, src, dst, four ? 4 : 16, out);
}

/* ---- the other end of a connection -------------------------------------------------- */

/* An address of the kernel's: false for one that is neither family. */
static bool
take(const struct sockaddr_storage *a, uint8_t addr[16], uint16_t *port, uint8_t *family)
{
	if (a->ss_family == AF_INET) {
		const struct sockaddr_in *i = (const struct sockaddr_in *)a;
		as_six(4, (const uint8_t *)&i->sin_addr, addr);
		*port = ntohs(i->sin_port);
		*family = 4;
		return true;
	}
	if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *i = (const struct sockaddr_in6 *)a;
		memcpy(addr, &i->sin6_addr, 16);
		*port = ntohs(i->sin6_port);
		*family = 6;
		return true;
	}
	return false;
}

int
peer_of_tcp(int diag, int conn, struct peer_sock *out)
{
	struct sockaddr_storage there = {0}, here = {0}, first = {0};
	socklen_t n = sizeof there, k = sizeof here, f = sizeof first;
	struct peer_tuple t = {.family = 6, .proto = PROTO_TCP}, u;
	uint8_t family;
	int err;

	if (getpeername(conn, (struct sockaddr *)&there, &n) ||
	    getsockname(conn, (struct sockaddr *)&here, &k))
		return -errno;
	if (!take(&there, t.src, &t.sport, &family) || !take(&here, t.dst, &t.dport, &family))
		return -EAFNOSUPPORT;
	u = t;
	/* without connection tracking, and for what was not redirected: an error, or the same */
	bool four = is_mapped(t.dst);
	if (!getsockopt(conn, four ? SOL_IP : SOL_IPV6, ORIGINAL_DST, &first, &f) &&
	    take(&first, u.dst, &u.dport, &family) &&
	    (u.dport != t.dport || memcmp(u.dst, t.dst, 16) != 0)) {
		err = peer_find(diag, &u, out);
		if (err != -ENOENT)
			return err;
	}
	return peer_find(diag, &t, out);
}

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

int
peer_of_unix(int conn, struct peer_unix *out)
{
	struct ucred c;
	socklen_t n = sizeof c;
	int pidfd = -1;

	if (getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &c, &n))
		return -errno;
	n = sizeof pidfd;
	if (getsockopt(conn, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &n))
		pidfd = -1;
	/* a socket without a peer tells -1 */
	*out = (struct peer_unix){
		.uid = c.uid, .gid = c.gid, .pid = c.pid > 0 ? (uint32_t)c.pid : 0, .pidfd = pidfd,
	};
	return 0;
}
