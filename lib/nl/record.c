#include "nl/record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

#include "base/buf.h"
#include "nl/attr.h"
#include "nl/dump.h"
#include "nl/gather.h"

enum { VERSION = 1, HEAD = sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg) };

static const char magic[8] = {'n', 'l', 'r', 'e', 'c', 'o', 'r', 'd'};

struct head {
	uint32_t genid, version, high, low;
};

struct recorder {
	struct buf *out;
	size_t start, at;          /* of the record; where the search for sets goes on */
	uint32_t next;             /* the number of the set found there */
	char table[NFT_NAME_MAXLEN], name[NFT_NAME_MAXLEN];
};

/* Takes back all behind n. */
static void
shorten(struct buf *b, size_t n)
{
	b->n = n;
	if (b->p)
		b->p[n] = 0;
}

static void
begin(void *arg, uint32_t genid)
{
	struct recorder *r = arg;
	struct head h = {htonl(genid), htonl(VERSION), 0, 0};

	shorten(r->out, r->start);
	buf_add(r->out, magic, sizeof magic);
	buf_add(r->out, &h, sizeof h);
	r->at = r->start + NL_RECORD_HEAD;
	r->next = 0;
}

static int
message(void *arg, const void *p, size_t n)
{
	static const char pad[NLMSG_ALIGNTO];
	struct recorder *r = arg;

	buf_add(r->out, p, n);
	buf_add(r->out, pad, NLMSG_ALIGN(n) - n);
	return r->out->err;
}

static bool
copy_name(struct attr x, char out[NFT_NAME_MAXLEN])
{
	size_t n = x.p ? strnlen((const char *)x.p, x.n) : 0;

	if (!n || n >= NFT_NAME_MAXLEN)
		return false;
	memcpy(out, x.p, n);
	out[n] = 0;
	return true;
}

/* Sets are asked for in their order: the search goes on where it stood. */
static bool
set(void *arg, uint32_t i, uint8_t *family, const char **table, const char **name)
{
	struct recorder *r = arg;
	struct attr t[NFTA_SET_NAME + 1];
	struct nlmsghdr h;
	struct nfgenmsg g;

	while (r->at < r->out->n) {
		const uint8_t *p = (const uint8_t *)r->out->p + r->at;

		memcpy(&h, p, sizeof h);
		memcpy(&g, p + sizeof h, sizeof g);
		r->at += NLMSG_ALIGN(h.nlmsg_len);
		if (h.nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSET))
			continue;
		if (attr_table(p + HEAD, h.nlmsg_len - HEAD, t, NFTA_SET_NAME) ||
		    !copy_name(t[NFTA_SET_TABLE], r->table) || !copy_name(t[NFTA_SET_NAME], r->name))
			continue;  /* who reads the record refuses it */
		if (r->next++ != i)
			continue;
		*family = g.nfgen_family;
		*table = r->table;
		*name = r->name;
		return true;
	}
	return false;
}

int
nl_record(struct nl_talk *t, uint8_t family, const char *table, unsigned what,
    unsigned tries, struct buf *out)
{
	struct recorder r = {.out = out, .start = out->n};
	struct talk_taker k = {begin, message, set, &r};
	uint64_t n;
	uint32_t half[2];
	int err;

	if (out->err)
		return out->err;
	err = talk_gather(t, family, table, what, tries, &k);
	if (err || out->err) {
		err = err ? err : out->err;
		shorten(out, r.start);
		out->err = 0;
		return err;
	}
	n = out->n - r.start - NL_RECORD_HEAD;
	half[0] = htonl((uint32_t)(n >> 32));
	half[1] = htonl((uint32_t)n);
	memcpy(out->p + r.start + sizeof magic + 8, half, sizeof half);
	return 0;
}

int
nl_record_read(struct arena *a, const void *bytes, size_t n, struct nl_dump *out)
{
	const uint8_t *p = bytes;
	struct nl_dump d = {0};
	struct nlmsghdr m;
	struct head h;
	int err = 0;

	if (n > NL_RECORD_MOST)
		return -E2BIG;
	if (n < NL_RECORD_HEAD || memcmp(p, magic, sizeof magic) != 0)
		return -EBADMSG;
	memcpy(&h, p + sizeof magic, sizeof h);
	p += NL_RECORD_HEAD;
	n -= NL_RECORD_HEAD;
	if (ntohl(h.version) != VERSION || ((uint64_t)ntohl(h.high) << 32 | ntohl(h.low)) != n)
		return -EBADMSG;
	d.genid = ntohl(h.genid);
	while (n && !err) {
		if (n < HEAD)
			return -EBADMSG;
		memcpy(&m, p, sizeof m);
		if (m.nlmsg_len < HEAD || m.nlmsg_len > n || NLMSG_ALIGN(m.nlmsg_len) > n ||
		    NFNL_SUBSYS_ID(m.nlmsg_type) != NFNL_SUBSYS_NFTABLES)
			return -EBADMSG;
		err = nl_dump_add(a, &d, p, m.nlmsg_len);
		p += NLMSG_ALIGN(m.nlmsg_len);
		n -= NLMSG_ALIGN(m.nlmsg_len);
	}
	if (!err)
		*out = d;
	return err;
}
