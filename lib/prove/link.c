#include "prove/link.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 512 };

/* A request that is being written; none needs more room. */
struct ask {
	_Alignas(struct nlmsghdr) uint8_t p[ROOM];
	size_t n;
};

static void *
put(struct ask *a, const void *p, size_t n)
{
	uint8_t *at = a->p + a->n;

	memset(at, 0, NLMSG_ALIGN(n));
	if (p)
		memcpy(at, p, n);
	a->n += NLMSG_ALIGN(n);
	return at;
}

static void
begin(struct ask *a, int type, int flags, const void *body, size_t n)
{
	struct nlmsghdr h = {.nlmsg_type = (uint16_t)type, .nlmsg_seq = 1,
	    .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags)};

	a->n = 0;
	put(a, &h, sizeof h);
	put(a, body, n);
}

static void
attr(struct ask *a, int type, const void *p, size_t n)
{
	struct rtattr r = {.rta_type = (uint16_t)type, .rta_len = (uint16_t)(sizeof r + n)};

	put(a, &r, sizeof r);
	put(a, p, n);
}

static void
attr_text(struct ask *a, int type, const char *s)
{
	attr(a, type, s, strlen(s) + 1);
}

static size_t
nest(struct ask *a, int type)
{
	size_t at = a->n;

	attr(a, type, NULL, 0);
	return at;
}

static void
nest_end(struct ask *a, size_t at)
{
	uint16_t n = (uint16_t)(a->n - at);

	memcpy(a->p + at, &n, sizeof n); /* rta_len stands first */
}

/* Sends it and hears the answer. */
static int
send_and_hear(int fd, struct ask *a)
{
	uint32_t len = (uint32_t)a->n;
	struct nlmsgerr e;
	struct nlmsghdr h;
	uint8_t in[4096];
	ssize_t n;

	memcpy(a->p, &len, sizeof len);
	if (send(fd, a->p, a->n, 0) < 0)
		return -errno;
	do
		n = recv(fd, in, sizeof in, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof h + sizeof e)
		return -EBADMSG;
	memcpy(&h, in, sizeof h);
	memcpy(&e, in + sizeof h, sizeof e);
	return h.nlmsg_type == NLMSG_ERROR ? e.error : -EBADMSG;
}

int
link_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

int
link_pair(int fd, const char *name, const uint8_t mac[LINK_MAC], const char *peer, int peer_ns,
    const uint8_t peer_mac[LINK_MAC])
{
	struct ifinfomsg body = {.ifi_family = AF_UNSPEC};
	struct ask a;
	size_t info, data, other;

	if (!*name || strlen(name) >= IFNAMSIZ)
		return -EINVAL;
	begin(&a, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof body);
	attr_text(&a, IFLA_IFNAME, name);
	attr(&a, IFLA_ADDRESS, mac, LINK_MAC);
	info = nest(&a, IFLA_LINKINFO);
	attr_text(&a, IFLA_INFO_KIND, "veth");
	data = nest(&a, IFLA_INFO_DATA);
	other = nest(&a, VETH_INFO_PEER);
	put(&a, &body, sizeof body);
	attr_text(&a, IFLA_IFNAME, peer);
	attr(&a, IFLA_ADDRESS, peer_mac, LINK_MAC);
	attr(&a, IFLA_NET_NS_FD, &peer_ns, sizeof peer_ns);
	nest_end(&a, other);
	nest_end(&a, data);
	nest_end(&a, info);
	return send_and_hear(fd, &a);
}

int
link_up(int fd, int index)
{
	struct ifinfomsg body = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct ask a;

	begin(&a, RTM_NEWLINK, 0, &body, sizeof body);
	return send_and_hear(fd, &a);
}

static uint8_t
family_of(enum addr_family x)
{
	return x == ADDR_V4 ? AF_INET : AF_INET6;
}

/* The bytes of an address as they are sent; gives their number. */
static size_t
bytes(const struct addr *x, uint8_t out[16])
{
	u128_to_be(x->family == ADDR_V4 ? x->n << 96 : x->n, out);
	return x->family == ADDR_V4 ? 4 : 16;
}

static void
attr_addr(struct ask *a, int type, const struct addr *x)
{
	uint8_t b[16];
	size_t n = bytes(x, b);

	attr(a, type, b, n);
}

int
link_address(int fd, int index, const struct addr *x)
{
	struct ifaddrmsg body = {.ifa_family = family_of(x->family), .ifa_index = (uint32_t)index,
	    .ifa_prefixlen = x->family == ADDR_V4 ? 32 : 128, .ifa_flags = IFA_F_NODAD};
	struct ask a;

	begin(&a, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
	attr_addr(&a, IFA_LOCAL, x);
	attr_addr(&a, IFA_ADDRESS, x);
	return send_and_hear(fd, &a);
}

int
link_route(int fd, int index, enum addr_family family, const struct addr *to,
    const struct addr *gateway)
{
	struct rtmsg body = {.rtm_family = family_of(family), .rtm_table = RT_TABLE_MAIN,
	    .rtm_protocol = RTPROT_STATIC, .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST,
	    .rtm_flags = RTNH_F_ONLINK,
	    .rtm_dst_len = (uint8_t)(!to ? 0 : family == ADDR_V4 ? 32 : 128)};
	struct ask a;

	begin(&a, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
	if (to)
		attr_addr(&a, RTA_DST, to);
	attr_addr(&a, RTA_GATEWAY, gateway);
	attr(&a, RTA_OIF, &index, sizeof index);
	return send_and_hear(fd, &a);
}

int
link_neighbour(int fd, int index, const struct addr *x, const uint8_t mac[LINK_MAC])
{
	struct ndmsg body = {.ndm_family = family_of(x->family), .ndm_ifindex = index,
	    .ndm_state = NUD_PERMANENT};
	struct ask a;

	begin(&a, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
	attr_addr(&a, NDA_DST, x);
	attr(&a, NDA_LLADDR, mac, LINK_MAC);
	return send_and_hear(fd, &a);
}
