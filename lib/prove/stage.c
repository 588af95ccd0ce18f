#include "prove/stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nl/talk.h"
#include "nl/track.h"
#include "prove/inside.h"
#include "prove/link.h"

enum {
	LO = 1,                    /* its index in every namespace */
	TRIES = 40, PAUSE = 25,    /* of sending without rules; milliseconds */
	SIGN_WAIT = 50, LAST_WAIT = 300, /* milliseconds for a sign */
	GRACE = 10,                /* and for a packet behind it */
	OTHERS = 64,               /* interfaces that the ruleset may name beside ours */
	WORDS = 300,
};

/* An interface and the other end of it, on the wire. */
struct end {
	int index;
	int here, wire;            /* packet sockets of both ends */
	int wire_index;
	uint8_t mac[LINK_MAC], wire_mac[LINK_MAC];
	bool sign_here, sign_wire; /* came */
};

struct act {
	const struct stage_wants *w;
	struct stage_seen *seen;
	struct frame f;
	struct end end[2];         /* the first is where the packet comes in, the last where it leaves */
	int nend;
	int home, outside;         /* the namespaces */
	int raw;                   /* what programs here are given */
	int send;                  /* for what they send */
};

/* Says what cannot be done, of which thing ("": of none), and the errno (0: none). */
static bool
cannot(struct act *s, int err, const char *what, const char *thing)
{
	snprintf(s->seen->why, sizeof s->seen->why, "%s%s%s%s%s", what, *thing ? " " : "", thing,
	    err ? ": " : "", err ? strerror(err < 0 ? -err : err) : "");
	return false;
}

/* ---- namespaces -------------------------------------------------------------------------------- */

static int
this_namespace(void)
{
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

/* Takes the name under which a socket is made, and no right goes with it (setfsuid(2)). */
static bool
be(uint32_t uid)
{
	setfsuid(uid);
	return (uint32_t)setfsuid((uid_t)-1) == uid;
}

static bool
may_be(uint32_t uid)
{
	bool yes = be(uid);

	return be(geteuid()) && yes;
}

/* Whoever may makes the namespace without a user namespace: nft's transactions may be larger. */
static bool
enter(struct act *s)
{
	uint32_t as = s->w->user ? s->w->uid : 0;
	int err = 0;

	if (unshare(CLONE_NEWNET) || (s->w->user && !may_be(as))) {
		err = space_user(as);
		if (!err && unshare(CLONE_NEWNET))
			err = -errno;
	}
	if (err)
		return cannot(s, err, "this machine does not let us make a network namespace", "");
	s->home = this_namespace();
	if (s->home < 0 || unshare(CLONE_NEWNET))
		return cannot(s, errno, "a second network namespace", "");
	s->outside = this_namespace();
	if (s->outside < 0 || setns(s->home, CLONE_NEWNET))
		return cannot(s, errno, "two network namespaces", "");
	return true;
}

/* Writes a switch of the namespace that we are in. */
static bool
set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* What a way through needs, whatever this machine's own settings are. Only what is missed is
 * seen: when nothing comes through without rules. */
static void
settings(void)
{
	static const struct {
		const char *path, *value;
	} row[] = {
		{"/proc/sys/net/ipv6/conf/all/disable_ipv6", "0"},
		{"/proc/sys/net/ipv6/conf/default/disable_ipv6", "0"},
		{"/proc/sys/net/ipv6/conf/default/accept_dad", "0"},
		{"/proc/sys/net/ipv4/ip_forward", "1"},
		{"/proc/sys/net/ipv6/conf/all/forwarding", "1"},
		{"/proc/sys/net/ipv4/conf/all/rp_filter", "0"},
		{"/proc/sys/net/ipv4/conf/default/rp_filter", "0"},
		{"/proc/sys/net/ipv4/conf/all/accept_local", "1"},
		{"/proc/sys/net/ipv4/conf/all/route_localnet", "1"},
		{"/proc/sys/net/ipv4/conf/all/send_redirects", "0"},
		{"/proc/sys/net/ipv4/conf/default/send_redirects", "0"},
	};

	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		set(row[i].path, row[i].value);
}

/* ---- interfaces -------------------------------------------------------------------------------- */

static int
packet_socket(int index)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
	    .sll_ifindex = index};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));

	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The gateway behind an end, of a family. */
static struct addr
gateway(int i, enum addr_family family)
{
	return family == ADDR_V4 ? (struct addr){ADDR_V4, 0xa9fe4d01u + (unsigned)i} :
	    (struct addr){ADDR_V6, u128_of(0xfe80000000000000, 0x4d01u + (unsigned)i)};
}

/* What an end of a router is called: whoever masquerades or redirects takes an interface's own address, and
 * drops the packet where there is none. */
static struct addr
own_address(const struct act *s, int i, enum addr_family family)
{
	struct addr x = family == ADDR_V4 ? (struct addr){ADDR_V4, 0xa9fe4d81u + (unsigned)i} :
	    (struct addr){ADDR_V6, u128_of(0x0100000000000000, 0x4d81u + (unsigned)i)};

	/* the packet's own addresses stay on the wire */
	while (x.n == s->f.src.n || x.n == s->f.dst.n)
		x.n += 2;
	return x;
}

static bool
make_end(struct act *s, int fd, const char *name)
{
	int i = s->nend, err, other;
	struct end *e = &s->end[i];
	char peer[] = "w0";
	uint8_t mac[LINK_MAC] = {2, 0x6d, 0x72, 0, 0, (uint8_t)i};
	uint8_t wire[LINK_MAC] = {2, 0x6d, 0x72, 0, 1, (uint8_t)i};

	peer[1] = (char)('0' + i);
	memcpy(e->mac, mac, sizeof mac);
	memcpy(e->wire_mac, wire, sizeof wire);
	err = link_pair(fd, name, e->mac, peer, s->outside, e->wire_mac);
	if (err)
		return cannot(s, err, "an interface called", name);
	s->nend++;
	e->index = (int)if_nametoindex(name);
	err = link_up(fd, e->index);
	if (err)
		return cannot(s, err, "switching on", name);
	e->here = packet_socket(e->index);
	if (setns(s->outside, CLONE_NEWNET))
		return cannot(s, errno, "the wire", "");
	other = link_open();
	e->wire_index = (int)if_nametoindex(peer);
	err = other < 0 ? other : link_up(other, e->wire_index);
	if (other >= 0)
		close(other);
	e->wire = packet_socket(e->wire_index);
	if (setns(s->home, CLONE_NEWNET) || err || e->here < 0 || e->wire < 0)
		return cannot(s, err ? err : errno, "the wire behind", name);
	return true;
}

/* The interfaces that are on this machine now, so that rules can name them. */
static bool
make_others(struct act *s, int fd, const struct if_nameindex *all)
{
	uint8_t mac[LINK_MAC] = {2, 0x6d, 0x72, 1, 0, 0}, wire[LINK_MAC] = {2, 0x6d, 0x72, 1, 1, 0};
	char peer[IFNAMSIZ];
	int n = 0;

	for (; all && all->if_index; all++) {
		if (if_nametoindex(all->if_name))
			continue;
		if (n++ == OTHERS)
			return cannot(s, 0, "this machine has too many interfaces", "");
		mac[5] = wire[5] = (uint8_t)n;
		snprintf(peer, sizeof peer, "x%d", n);
		link_pair(fd, all->if_name, mac, peer, s->outside, wire);
	}
	return true;
}

/* Routes, addresses and neighbours: all that is not ours is behind the last end, who sends it
 * behind the first. */
static bool
make_ways(struct act *s, int fd)
{
	enum addr_family family = s->f.src.family;
	int last = s->nend - 1, err = 0;

	for (int i = 0; i < s->nend && !err; i++) {
		struct addr g = gateway(i, family);

		err = link_neighbour(fd, s->end[i].index, &g, s->end[i].wire_mac);
	}
	for (int i = 0; i < s->nend && !err && s->w->hook == PACKET_FORWARD; i++) {
		struct addr own = own_address(s, i, family);

		err = link_address(fd, s->end[i].index, &own);
	}
	if (!err && s->w->hook == PACKET_INPUT && !s->w->loopback)
		err = link_address(fd, s->end[0].index, &s->f.dst);
	if (!err && s->w->hook == PACKET_OUTPUT && !s->w->loopback)
		err = link_address(fd, s->end[0].index, &s->f.src);
	if (!err && s->w->loopback) {
		err = link_address(fd, LO, &s->f.src);
		if (!err)
			err = link_address(fd, LO, &s->f.dst);
	}
	if (!err && s->nend) {
		struct addr g = gateway(last, family);

		err = link_route(fd, s->end[last].index, family, NULL, &g);
	}
	if (!err && s->nend == 2) {
		struct addr g = gateway(0, family);

		err = link_route(fd, s->end[0].index, family, &s->f.src, &g);
	}
	return !err || cannot(s, err, "these addresses on an interface", "");
}

static bool
make_sockets(struct act *s)
{
	bool v4 = s->f.src.family == ADDR_V4;
	int on = 1;

	s->raw = socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, s->f.proto);
	if (s->raw < 0)
		return cannot(s, errno, "a raw socket", "");
	if (s->w->hook != PACKET_OUTPUT)
		return true;
	if (s->w->user && !be(s->w->uid))
		return cannot(s, 0, "we may not be that user", "");
	s->send = socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (s->send < 0)
		return cannot(s, errno, "a raw socket of that user", "");
	be(geteuid());
	if (setsockopt(s->send, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_HDRINCL : IPV6_HDRINCL, &on,
	    sizeof on))
		return cannot(s, errno, "a raw socket that writes heads", "");
	if (s->w->packet_mark && setsockopt(s->send, SOL_SOCKET, SO_MARK, &s->w->packet_mark,
	    sizeof s->w->packet_mark))
		return cannot(s, errno, "a packet with a mark", "");
	return true;
}

/* ---- what comes ------------------------------------------------------------------------------------ */

/* Reads a packet socket until it is empty; true where our packet was among what came. What we
 * sent through it ourselves counts where `sent`. */
static bool
came(struct act *s, int fd, bool sent, bool *sign)
{
	uint8_t p[2048];
	struct sockaddr_ll from = {0};
	bool found = false;

	for (;;) {
		socklen_t len = sizeof from;
		ssize_t n = recvfrom(fd, p, sizeof p, 0, (struct sockaddr *)&from, &len);
		uint16_t type;

		if (n < 0)
			return found;
		if (n < FRAME_ETHER || (from.sll_pkttype == PACKET_OUTGOING && !sent))
			continue;
		type = (uint16_t)(p[12] << 8 | p[13]);
		if (type == FRAME_SIGN && from.sll_pkttype != PACKET_OUTGOING)
			*sign = true;
		if (type == ETH_P_IP || type == ETH_P_IPV6)
			found |= frame_is(&s->f, p + FRAME_ETHER, (size_t)n - FRAME_ETHER);
	}
}

static void
collect(struct act *s)
{
	uint8_t p[2048];
	ssize_t n;

	for (int i = 0; i < s->nend; i++) {
		struct end *e = &s->end[i];

		if (e->wire >= 0)
			s->seen->out |= came(s, e->wire, false, &e->sign_wire);
		/* of what leaves by the loopback the tap is told before the other side is */
		if (came(s, e->here, true, &e->sign_here) && s->w->loopback &&
		    s->w->hook == PACKET_OUTPUT)
			s->seen->out = true;
	}
	while ((n = recv(s->raw, p, sizeof p, 0)) >= 0)
		s->seen->in |= s->f.src.family == ADDR_V4 ? frame_is(&s->f, p, (size_t)n) :
		    frame_is_inner(&s->f, p, (size_t)n);
}

static void
wait_for(struct act *s, const bool *sign, int ms)
{
	struct pollfd fd[5];
	nfds_t n = 0;

	for (int i = 0; i < s->nend; i++) {
		fd[n++] = (struct pollfd){s->end[i].here, POLLIN, 0};
		fd[n++] = (struct pollfd){s->end[i].wire, POLLIN, 0};
	}
	fd[n++] = (struct pollfd){s->raw, POLLIN, 0};
	for (collect(s); !*sign && ms > 0 && poll(fd, n, ms) > 0; ms--)
		collect(s);
}

/* ---- what is sent ------------------------------------------------------------------------------------- */

/* A frame to the socket's interface. */
static bool
put(int fd, const uint8_t *p, size_t n)
{
	return send(fd, p, n, 0) == (ssize_t)n;
}

static void
sign(int fd, const uint8_t to[LINK_MAC], const uint8_t from[LINK_MAC])
{
	uint8_t p[60] = {0};

	frame_ether(p, to, from, FRAME_SIGN);
	put(fd, p, sizeof p);
}

/* The packet; then signs on all ways that it can take, each behind what came before: when they
 * are through, it is too, or is nowhere. */
static void
send_and_watch(struct act *s, int wait)
{
	uint8_t p[FRAME_MOST];
	size_t n = frame_put(&s->f, p);
	struct end *e = s->end;
	const bool never = false;

	if (s->w->hook == PACKET_OUTPUT) {
		struct sockaddr_in v4 = {.sin_family = AF_INET};
		struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

		memcpy(&v4.sin_addr, p + FRAME_ETHER + 16, 4);
		memcpy(&v6.sin6_addr, p + FRAME_ETHER + 24, 16);
		/* -1 with EPERM is what a rule's drop gives */
		sendto(s->send, p + FRAME_ETHER, n - FRAME_ETHER, 0,
		    s->f.src.family == ADDR_V4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
		    s->f.src.family == ADDR_V4 ? sizeof v4 : sizeof v6);
	} else {
		frame_ether(p, e->mac, e->wire_mac, s->f.src.family == ADDR_V4 ? ETH_P_IP : ETH_P_IPV6);
		put(s->w->loopback ? e->here : e->wire, p, n);
	}
	for (int i = 0; i < s->nend; i++)
		s->end[i].sign_here = s->end[i].sign_wire = false;
	if (s->w->hook != PACKET_OUTPUT || s->w->loopback) {
		sign(s->w->loopback ? e->here : e->wire, e->mac, e->wire_mac);
		wait_for(s, &e->sign_here, wait);
	}
	for (int i = 0; i < s->nend && !s->w->loopback; i++) {
		sign(s->end[i].here, s->end[i].wire_mac, s->end[i].mac);
		wait_for(s, &s->end[i].sign_wire, wait);
	}
	if (!s->seen->out && !s->seen->in)
		wait_for(s, &never, GRACE);
}

/* The way without rules. */
static bool
control(struct act *s)
{
	bool arrived = false;

	for (int i = 0; i < TRIES && !arrived; i++) {
		if (i)
			poll(NULL, 0, PAUSE);
		send_and_watch(s, SIGN_WAIT);
		arrived = s->w->hook == PACKET_INPUT ? s->seen->in : s->seen->out;
	}
	s->seen->in = s->seen->out = false;
	return arrived || cannot(s, 0, "even without rules the packet does not come through here", "");
}

/* ---- the ruleset ------------------------------------------------------------------------------------------ */

struct loader {
	const char *path;
	int words;
};

static int
loader(void *arg)
{
	const struct loader *l = arg;

	return space_nft(l->path, l->words) ? 127 : 0;
}

static bool
load(struct act *s)
{
	struct loader l = {s->w->path, memfd_create("words", MFD_CLOEXEC)};
	char words[WORDS + 1];
	int status = 0, err;
	ssize_t n;

	if (l.words < 0)
		return cannot(s, errno, "what nft says", "");
	err = space_child(loader, &l, &status);
	n = pread(l.words, words, WORDS, 0);
	words[n > 0 ? n : 0] = 0;
	for (char *p = words; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	close(l.words);
	if (err)
		return cannot(s, err, "nft", "");
	return !status || cannot(s, 0, "nft does not take the ruleset here:", words);
}

static void
address_bytes(const struct addr *x, uint8_t out[16])
{
	u128_to_be(x->family == ADDR_V4 ? x->n << 96 : x->n, out);
}

/* The connection that the packet is part of. */
static bool
track(struct act *s)
{
	bool reply = s->w->reply;
	struct nl_connection c = {.v6 = s->f.src.family == ADDR_V6, .proto = s->f.proto,
	    .sport = reply ? s->f.dport : s->f.sport, .dport = reply ? s->f.sport : s->f.dport,
	    .mark = s->w->mark};
	struct nl_talk *t;
	int err;

	if (s->w->strict)
		set("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", "0");
	if (!s->w->established)
		return true;
	address_bytes(reply ? &s->f.dst : &s->f.src, c.src);
	address_bytes(reply ? &s->f.src : &s->f.dst, c.dst);
	err = nl_talk_open(&t);
	if (!err) {
		err = nl_track(t, &c);
		nl_talk_close(t);
	}
	return !err || cannot(s, err, "a connection that is open", "");
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

static void
stay_on_one_processor(void)
{
	cpu_set_t one;
	int cpu = sched_getcpu();

	/* so that frames keep their order from end to end */
	CPU_ZERO(&one);
	CPU_SET(cpu < 0 ? 0 : cpu, &one);
	sched_setaffinity(0, sizeof one, &one);
}

static bool
make(struct act *s, const struct if_nameindex *others)
{
	const struct stage_wants *w = s->w;
	int fd = link_open(), err;
	bool ok;

	if (fd < 0)
		return cannot(s, fd, "a netlink socket", "");
	err = link_up(fd, LO);
	ok = !err || cannot(s, err, "switching the loopback on", "");
	settings();
	if (w->loopback) {
		s->end[0] = (struct end){.index = LO, .here = packet_socket(LO), .wire = -1};
		ok = ok && (s->end[0].here >= 0 || cannot(s, errno, "the loopback", ""));
	}
	if (ok && *w->iif)
		ok = make_end(s, fd, w->iif);
	if (ok && *w->oif && strcmp(w->oif, w->iif) != 0)
		ok = make_end(s, fd, w->oif);
	settings(); /* of the interfaces too */
	ok = ok && make_others(s, fd, others) && make_ways(s, fd);
	if (w->loopback)
		s->nend = 1;
	close(fd);
	return ok && make_sockets(s);
}

void
stage(const struct stage_wants *w, struct stage_seen *out)
{
	struct if_nameindex *others = w->live ? if_nameindex() : NULL;
	struct act s = {.w = w, .seen = out, .f = w->frame, .raw = -1, .send = -1};

	stay_on_one_processor();
	if (getrandom(s.f.cookie, sizeof s.f.cookie, 0) != (ssize_t)sizeof s.f.cookie) {
		cannot(&s, errno, "random bytes", "");
		return;
	}
	if (!enter(&s) || !make(&s, others) || !control(&s) || !load(&s) || !track(&s))
		return;
	s.f.cookie[FRAME_COOKIE - 1] ^= 0xff; /* another packet than those before */
	send_and_watch(&s, LAST_WAIT);
	out->done = true;
}
