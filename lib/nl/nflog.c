#include "nl/nflog.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "nl/attr.h"
#include "nl/wire.h"

enum {
	/* bytes that may wait for us, as the kernel counts them: some thousands of packets */
	WAITING = 4 << 20,
	/* bytes that the kernel sets aside for a message: attributes, prefix and range */
	MESSAGE = 512,
	MOST_EXTENSIONS = 8,
	TYPE_PACKET = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET,
	TYPE_CONFIG = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG,
};

/* ---- the socket --------------------------------------------------------------------- */

/* Sends a message and hears whether it was taken. 0 or -errno. */
static int
order(int fd, struct buf *b, uint32_t seq)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	_Alignas(struct nlmsghdr) uint8_t in[4096];

	if (b->err)
		return b->err;
	if (sendto(fd, b->p, b->n, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
		return -errno;
	/* the kernel answers before it comes back; packets may stand before the answer */
	for (int i = 0; i < 1000; i++) {
		struct nlmsghdr h;
		struct nlmsgerr e;
		ssize_t n = recv(fd, in, sizeof in, MSG_DONTWAIT);

		if (n < 0 && errno != EINTR && errno != ENOBUFS)
			return -errno;
		if (n < (ssize_t)(NLMSG_HDRLEN + sizeof e))
			continue;
		memcpy(&h, in, sizeof h);
		if (h.nlmsg_type != NLMSG_ERROR || h.nlmsg_seq != seq)
			continue;
		memcpy(&e, in + NLMSG_HDRLEN, sizeof e);
		return e.error;
	}
	return -ENOBUFS;
}

static int
bind_group(int fd, uint16_t group)
{
	const struct nfulnl_msg_config_cmd cmd = {NFULNL_CFG_CMD_BIND};
	const struct nfulnl_msg_config_mode mode = {htonl(NFLOG_RANGE), NFULNL_COPY_PACKET, 0};
	struct buf b = BUF_INIT(1024);
	int err;

	size_t at = wire_msg(&b, TYPE_CONFIG, NLM_F_REQUEST | NLM_F_ACK, 1, AF_UNSPEC, group);
	wire_put(&b, NFULA_CFG_CMD, &cmd, sizeof cmd);
	wire_msg_end(&b, at);
	err = order(fd, &b, 1);
	buf_free(&b);
	if (err)
		return err;
	at = wire_msg(&b, TYPE_CONFIG, NLM_F_REQUEST | NLM_F_ACK, 2, AF_UNSPEC, group);
	wire_put(&b, NFULA_CFG_MODE, &mode, sizeof mode);
	wire_u32(&b, NFULA_CFG_NLBUFSIZ, MESSAGE);
	/* each packet at once: a socket that is asked for a second later has gone */
	wire_u32(&b, NFULA_CFG_QTHRESH, 1);
	wire_u32(&b, NFULA_CFG_TIMEOUT, 1);
	wire_u16(&b, NFULA_CFG_FLAGS, NFULNL_CFG_F_SEQ);
	wire_msg_end(&b, at);
	err = order(fd, &b, 2);
	buf_free(&b);
	return err;
}

int
nflog_open(uint16_t group)
{
	struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	int want = WAITING, err = 0;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof want))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &want, sizeof want);
	if (bind(fd, (struct sockaddr *)&any, sizeof any))
		err = -errno;
	if (!err)
		err = bind_group(fd, group);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* ---- messages ----------------------------------------------------------------------- */

static int
read_packet(const uint8_t *p, size_t n, struct nflog_packet *out)
{
	struct attr t[NFULA_MAX + 1];
	struct nflog_packet k = {0};
	int err;

	if (n < NLMSG_ALIGN(sizeof(struct nfgenmsg)))
		return -EBADMSG;
	err = attr_table(p + NLMSG_ALIGN(sizeof(struct nfgenmsg)),
	    n - NLMSG_ALIGN(sizeof(struct nfgenmsg)), t, NFULA_MAX);
	if (err)
		return err;
	if (t[NFULA_PACKET_HDR].p) {
		struct nfulnl_msg_packet_hdr h;
		if (t[NFULA_PACKET_HDR].n != sizeof h)
			return -EBADMSG;
		memcpy(&h, t[NFULA_PACKET_HDR].p, sizeof h);
		k.ethertype = ntohs(h.hw_protocol);
		k.hook = h.hook;
	}
	if (t[NFULA_TIMESTAMP].p) {
		struct nfulnl_msg_packet_timestamp s;
		if (t[NFULA_TIMESTAMP].n != sizeof s)
			return -EBADMSG;
		const struct attr sec = {t[NFULA_TIMESTAMP].p, 8}, usec = {t[NFULA_TIMESTAMP].p + 8, 8};
		uint64_t x = attr_u64(sec, 0, &err), y = attr_u64(usec, 0, &err);
		/* a clock that is far off is no clock: 2^43 seconds keep the sum in its number */
		if (x < (uint64_t)1 << 43 && y < 1000000)
			k.when = x * 1000000 + y;
	}
	k.in = attr_u32(t[NFULA_IFINDEX_INDEV], 0, &err);
	k.out = attr_u32(t[NFULA_IFINDEX_OUTDEV], 0, &err);
	k.uid = attr_u32(t[NFULA_UID], (uint32_t)NFLOG_NO_ID, &err);
	k.gid = attr_u32(t[NFULA_GID], (uint32_t)NFLOG_NO_ID, &err);
	k.mark = attr_u32(t[NFULA_MARK], 0, &err);
	k.seq = attr_u32(t[NFULA_SEQ], 0, &err);
	k.has_seq = t[NFULA_SEQ].p != NULL;
	if (t[NFULA_PREFIX].p) {
		size_t len = strnlen((const char *)t[NFULA_PREFIX].p, t[NFULA_PREFIX].n);
		if (len >= NFLOG_PREFIX)
			len = NFLOG_PREFIX - 1;
		memcpy(k.prefix, t[NFULA_PREFIX].p, len);
	}
	k.payload = t[NFULA_PAYLOAD].p;
	k.npayload = t[NFULA_PAYLOAD].n;
	if (err)
		return err;
	*out = k;
	return 0;
}

/* One message is taken off: 1 and *out, 0 where it was of another kind, or -errno. */
static int
one_message(struct nflog_bytes *in, struct nflog_packet *out)
{
	struct nlmsghdr h;
	struct nlmsgerr e;

	if (in->n < sizeof h)
		return -EBADMSG;
	memcpy(&h, in->p, sizeof h);
	if (h.nlmsg_len < sizeof h || h.nlmsg_len > in->n)
		return -EBADMSG;
	const uint8_t *body = in->p + NLMSG_HDRLEN;
	size_t step = NLMSG_ALIGN((size_t)h.nlmsg_len), n = h.nlmsg_len - NLMSG_HDRLEN;
	if (step > in->n)
		step = in->n;
	in->p += step;
	in->n -= step;
	if (h.nlmsg_type == TYPE_PACKET) {
		int err = read_packet(body, n, out);
		return err ? err : 1;
	}
	if (h.nlmsg_type != NLMSG_ERROR)
		return 0;
	if (n < sizeof e)
		return -EBADMSG;
	memcpy(&e, body, sizeof e);
	return e.error <= 0 && e.error >= -4095 ? e.error : -EBADMSG;
}

int
nflog_next(struct nflog_bytes *in, struct nflog_packet *out)
{
	int got = 0;

	while (in->n && got == 0)
		got = one_message(in, out);
	if (got < 0)
		in->n = 0;
	return got;
}

uint32_t
nflog_lost(struct nflog_seq *s, const struct nflog_packet *p)
{
	uint32_t lost;

	if (!p->has_seq)
		return 0;
	/* numbers come in order from one group; a step back is a group bound anew */
	lost = s->begun ? p->seq - s->next : 0;
	if (lost > UINT32_MAX / 2)
		lost = 0;
	s->next = p->seq + 1;
	s->begun = true;
	return lost;
}

/* ---- packets ------------------------------------------------------------------------ */

static uint16_t
u16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* The ports at p, n bytes, of h->proto. */
static void
read_ports(const uint8_t *p, size_t n, struct nflog_head *h)
{
	/* TCP, UDP, DCCP, SCTP, UDP-Lite begin with them */
	if ((h->proto != 6 && h->proto != 17 && h->proto != 33 && h->proto != 132 && h->proto != 136) ||
	    n < 4)
		return;
	h->sport = u16_at(p);
	h->dport = u16_at(p + 2);
	h->ports = true;
	if (h->proto == 6 && n >= 14)
		h->flags = p[13];
}

/* RFC 791 section 3.1. */
static int
read_four(const uint8_t *p, size_t n, struct nflog_head *h)
{
	if (n < 20)
		return -EBADMSG;
	size_t len = (size_t)(p[0] & 15) * 4, all = u16_at(p + 2);
	if (len < 20 || all < len)
		return -EBADMSG;
	if (all < n)
		n = all;           /* what follows is no part of the packet */
	h->family = 4;
	h->proto = p[9];
	memcpy(h->src, p + 12, 4);
	memcpy(h->dst, p + 16, 4);
	/* the first fragment has the ports */
	if ((u16_at(p + 6) & 0x1fff) == 0 && n > len)
		read_ports(p + len, n - len, h);
	return 0;
}

/* RFC 8200 sections 3 and 4. */
static int
read_six(const uint8_t *p, size_t n, struct nflog_head *h)
{
	size_t at = 40;
	uint8_t next;

	if (n < 40)
		return -EBADMSG;
	/* a length of 0 is a jumbogram's (RFC 2675) */
	size_t all = (size_t)u16_at(p + 4) + 40;
	if (all > 40 && all < n)
		n = all;
	next = p[6];
	h->family = 6;
	memcpy(h->src, p + 8, 16);
	memcpy(h->dst, p + 24, 16);
	for (int i = 0; i < MOST_EXTENSIONS; i++) {
		size_t len;

		h->proto = next;
		switch (next) {
		case 0: case 43: case 60: case 135: case 139: case 140:
			/* hop by hop, routing, destination options, mobility, HIP, shim6 */
			if (n - at < 8)
				return 0;
			len = ((size_t)p[at + 1] + 1) * 8;
			break;
		case 51:           /* authentication: in units of 4, less 2 (RFC 4302) */
			if (n - at < 8)
				return 0;
			len = ((size_t)p[at + 1] + 2) * 4;
			break;
		case 44:           /* fragment */
			if (n - at < 8)
				return 0;
			if (u16_at(p + at + 2) & 0xfff8) {
				h->proto = p[at];
				return 0;
			}
			len = 8;
			break;
		default:
			read_ports(p + at, n - at, h);
			return 0;
		}
		next = p[at];
		if (len > n - at)
			return 0;
		at += len;
	}
	return 0;
}

int
nflog_head(const uint8_t *p, size_t n, struct nflog_head *out)
{
	struct nflog_head h = {0};
	int err = -EBADMSG;

	if (n && p[0] >> 4 == 4)
		err = read_four(p, n, &h);
	else if (n && p[0] >> 4 == 6)
		err = read_six(p, n, &h);
	if (!err)
		*out = h;
	return err;
}
