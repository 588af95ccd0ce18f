/*
 * nl_floor: what the kernel itself takes for N ranges: a program that does nothing but
 * libmnl and one transaction.
 *
 *     nl_floor FILE [DELETED ADDED]
 *
 * Files of pairs of addresses, 4 bytes each, network order, inclusive. A table, one interval
 * set, a hooked chain with a rule on it, and the elements; then, where they are given, a
 * transaction that takes some away and adds others. Prints seconds: encode, send; and of the
 * second transaction, both at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static char *buf;
static size_t used;
static uint32_t seq;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct nlmsghdr *
message(int type, int flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf + used);
	struct nfgenmsg *g;

	h->nlmsg_type = (uint16_t)type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = ++seq;
	g = mnl_nlmsg_put_extra_header(h, sizeof *g);
	g->nfgen_family = type < NLMSG_MIN_TYPE + 2 ? 0 : NFPROTO_INET;
	g->res_id = type < NLMSG_MIN_TYPE + 2 ? htons(NFNL_SUBSYS_NFTABLES) : 0;
	return h;
}

#define TYPE(t) (NFNL_SUBSYS_NFTABLES << 8 | (t))

static void
done(struct nlmsghdr *h)
{
	used += NLMSG_ALIGN(h->nlmsg_len);
}

static void
element(struct nlmsghdr *h, uint32_t key, uint32_t flags)
{
	struct nlattr *e = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
	struct nlattr *k = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);

	mnl_attr_put_u32(h, NFTA_DATA_VALUE, htonl(key));
	mnl_attr_nest_end(h, k);
	if (flags)
		mnl_attr_put_u32(h, NFTA_SET_ELEM_FLAGS, htonl(flags));
	mnl_attr_nest_end(h, e);
}

static struct nlattr *
expression(struct nlmsghdr *h, const char *name, struct nlattr **data)
{
	struct nlattr *e = mnl_attr_nest_start(h, NFTA_LIST_ELEM);

	mnl_attr_put_strz(h, NFTA_EXPR_NAME, name);
	*data = mnl_attr_nest_start(h, NFTA_EXPR_DATA);
	return e;
}

static void
elements(int type, int flags, const uint32_t *range, size_t n)
{
	struct nlattr *nest;
	struct nlmsghdr *h;

	for (size_t i = 0; i < n; ) {
		h = message(TYPE(type), flags);
		mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, "floor");
		mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, "s");
		nest = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
		for (; i < n && h->nlmsg_len < 60000; i++) {
			element(h, ntohl(range[2 * i]), 0);
			if (range[2 * i + 1] != UINT32_MAX)
				element(h, ntohl(range[2 * i + 1]) + 1, NFT_SET_ELEM_INTERVAL_END);
		}
		mnl_attr_nest_end(h, nest);
		done(h);
	}
}

static void
ruleset(const uint32_t *range, size_t n)
{
	struct nlattr *nest, *e, *d, *v, *c;
	struct nlmsghdr *h;

	used = 0;
	done(message(NFNL_MSG_BATCH_BEGIN, 0));
	h = message(TYPE(NFT_MSG_NEWTABLE), NLM_F_CREATE);
	mnl_attr_put_strz(h, NFTA_TABLE_NAME, "floor");
	done(h);
	h = message(TYPE(NFT_MSG_NEWSET), NLM_F_CREATE);
	mnl_attr_put_strz(h, NFTA_SET_TABLE, "floor");
	mnl_attr_put_strz(h, NFTA_SET_NAME, "s");
	mnl_attr_put_u32(h, NFTA_SET_FLAGS, htonl(NFT_SET_INTERVAL));
	mnl_attr_put_u32(h, NFTA_SET_KEY_TYPE, htonl(7));
	mnl_attr_put_u32(h, NFTA_SET_KEY_LEN, htonl(4));
	mnl_attr_put_u32(h, NFTA_SET_ID, htonl(1));
	done(h);
	elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, range, n);
	h = message(TYPE(NFT_MSG_NEWCHAIN), NLM_F_CREATE);
	mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, "floor");
	mnl_attr_put_strz(h, NFTA_CHAIN_NAME, "c");
	nest = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
	mnl_attr_put_u32(h, NFTA_HOOK_HOOKNUM, htonl(NF_INET_FORWARD));
	mnl_attr_put_u32(h, NFTA_HOOK_PRIORITY, 0);
	mnl_attr_nest_end(h, nest);
	mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, "filter");
	done(h);
	h = message(TYPE(NFT_MSG_NEWRULE), NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK);
	mnl_attr_put_strz(h, NFTA_RULE_TABLE, "floor");
	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, "c");
	nest = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
	e = expression(h, "payload", &d);
	mnl_attr_put_u32(h, NFTA_PAYLOAD_DREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_BASE, htonl(NFT_PAYLOAD_NETWORK_HEADER));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_OFFSET, htonl(16));
	mnl_attr_put_u32(h, NFTA_PAYLOAD_LEN, htonl(4));
	mnl_attr_nest_end(h, d);
	mnl_attr_nest_end(h, e);
	e = expression(h, "lookup", &d);
	mnl_attr_put_strz(h, NFTA_LOOKUP_SET, "s");
	mnl_attr_put_u32(h, NFTA_LOOKUP_SREG, htonl(NFT_REG_1));
	mnl_attr_nest_end(h, d);
	mnl_attr_nest_end(h, e);
	e = expression(h, "immediate", &d);
	mnl_attr_put_u32(h, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_VERDICT));
	v = mnl_attr_nest_start(h, NFTA_IMMEDIATE_DATA);
	c = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);
	mnl_attr_put_u32(h, NFTA_VERDICT_CODE, htonl(NF_DROP));
	mnl_attr_nest_end(h, c);
	mnl_attr_nest_end(h, v);
	mnl_attr_nest_end(h, d);
	mnl_attr_nest_end(h, e);
	mnl_attr_nest_end(h, nest);
	done(h);
	done(message(NFNL_MSG_BATCH_END, 0));
}

static void
delta(const uint32_t *del, size_t ndel, const uint32_t *add, size_t nadd)
{
	used = 0;
	done(message(NFNL_MSG_BATCH_BEGIN, 0));
	elements(NFT_MSG_DELSETELEM, 0, del, ndel);
	elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_ACK, add, nadd);
	done(message(NFNL_MSG_BATCH_END, 0));
}

/* The ranges of a file, which live as long as the process. */
static uint32_t *
ranges(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	uint32_t *p;
	long k;

	if (!f || fseek(f, 0, SEEK_END) || (k = ftell(f)) < 0 || fseek(f, 0, SEEK_SET) ||
	    !(p = malloc((size_t)k + 1)) || fread(p, 1, (size_t)k, f) != (size_t)k) {
		perror(path);
		exit(2);
	}
	fclose(f);
	*n = (size_t)k / 8;
	return p;
}

static void
commit(struct mnl_socket *s)
{
	char in[8192];
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)in;

	if (mnl_socket_sendto(s, buf, used) < 0) {
		perror("nl_floor: send");
		exit(1);
	}
	if (mnl_socket_recvfrom(s, in, sizeof in) < 0 || h->nlmsg_type != NLMSG_ERROR ||
	    ((struct nlmsgerr *)mnl_nlmsg_get_payload(h))->error) {
		fprintf(stderr, "nl_floor: refused\n");
		exit(1);
	}
}

int
main(int argc, char **argv)
{
	struct mnl_socket *s = mnl_socket_open(NETLINK_NETFILTER);
	uint32_t *range[3] = {NULL, NULL, NULL};
	size_t n[3] = {0, 0, 0};
	int want = 1 << 29;
	char line[256];
	double t, t2;
	FILE *f;

	if ((argc != 2 && argc != 4) || !s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
		perror("nl_floor");
		return 2;
	}
	for (int i = 1; i < argc; i++)
		range[i - 1] = ranges(argv[i], &n[i - 1]);
	buf = malloc((n[0] + n[1] + n[2]) * 80 + 65536);
	if (!buf) {
		perror("nl_floor");
		return 2;
	}
	if (setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_SNDBUFFORCE, &want, sizeof want))
		setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_SNDBUF, &want, sizeof want);
	t = now();
	ruleset(range[0], n[0]);
	t2 = now();
	commit(s);
	printf("%.6f %.6f\n", t2 - t, now() - t2);
	if (argc == 4) {
		t = now();
		delta(range[1], n[1], range[2], n[2]);
		commit(s);
		printf("delta %.6f\n", now() - t);
	}
	f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "VmHWM:", 6))
			printf("memory %ld KB\n", strtol(line + 6, NULL, 10));
	mnl_socket_close(s);
	return 0;
}
