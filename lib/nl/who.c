#include "nl/who.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nl/attr.h"

enum { RING = 256, RECEIVE = 8192, MOST_READS = 1000, NEWGEN = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN };

struct nl_who {
	int fd;
	uint32_t at;               /* where the next one goes */
	struct nl_committer ring[RING];
};

static int
filter(int fd)
{
	struct sock_filter code[] = {
		/* a half word is loaded as if in network order */
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(NEWGEN), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog f = {sizeof code / sizeof *code, code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof f) ? -errno : 0;
}

static int
membership(int fd, bool in)
{
	int group = NFNLGRP_NFTABLES;

	return setsockopt(fd, SOL_NETLINK, in ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP,
	    &group, sizeof group) ? -errno : 0;
}

int
nl_who_open(struct nl_who **out)
{
	struct sockaddr_nl here = {.nl_family = AF_NETLINK};
	struct nl_who *w = calloc(1, sizeof *w);
	int err = 0;

	if (!w)
		return -ENOMEM;
	w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	if (w->fd < 0 || bind(w->fd, (struct sockaddr *)&here, sizeof here))
		err = -errno;
	if (!err)
		err = filter(w->fd);
	if (!err)
		err = membership(w->fd, true);
	if (err)
		nl_who_close(w);
	else
		*out = w;
	return err;
}

struct nl_who *
nl_who_close(struct nl_who *w)
{
	if (w && w->fd >= 0)
		close(w->fd);
	free(w);
	return NULL;
}

int
nl_who_fd(const struct nl_who *w)
{
	return w->fd;
}

static void
take(struct nl_who *w, const uint8_t *p, size_t n)
{
	struct attr t[NFTA_GEN_MAX + 1];
	struct nl_committer c = {0};
	struct nlmsghdr h;
	size_t head = sizeof h + sizeof(struct nfgenmsg), len;
	int err = 0;

	if (n < head)
		return;
	memcpy(&h, p, sizeof h);
	if (h.nlmsg_type != NEWGEN || h.nlmsg_len < head || h.nlmsg_len > n ||
	    attr_table(p + head, h.nlmsg_len - head, t, NFTA_GEN_MAX))
		return;
	c.gen = attr_u32(t[NFTA_GEN_ID], 0, &err);
	c.pid = attr_u32(t[NFTA_GEN_PROC_PID], 0, &err);
	if (t[NFTA_GEN_PROC_NAME].p) {
		len = strnlen((const char *)t[NFTA_GEN_PROC_NAME].p, t[NFTA_GEN_PROC_NAME].n);
		memcpy(c.name, t[NFTA_GEN_PROC_NAME].p, len < NL_WHO_NAME ? len : NL_WHO_NAME);
	}
	if (!err)
		w->ring[w->at++ % RING] = c;
}

void
nl_who_hear(struct nl_who *w)
{
	uint8_t in[RECEIVE];
	struct sockaddr_nl from = {0};
	socklen_t len;
	ssize_t n;

	for (int i = 0; i < MOST_READS; i++) {
		len = sizeof from;
		n = recvfrom(w->fd, in, sizeof in, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
		/* messages lost are names not known; the generation still tells that it was */
		if (n < 0 && errno != EINTR && errno != ENOBUFS)
			return;
		if (n > 0 && len == sizeof from && from.nl_pid == 0)
			take(w, in, (size_t)n);
	}
}

const struct nl_committer *
nl_who_at(const struct nl_who *w, uint32_t gen)
{
	for (uint32_t i = 0; w && i < RING; i++) {
		const struct nl_committer *c = &w->ring[(w->at - 1 - i) % RING];

		if (c->gen == gen && gen)
			return c;
	}
	return NULL;
}

void
nl_who_deaf(struct nl_who *w, bool deaf)
{
	if (w)
		membership(w->fd, !deaf);
}
