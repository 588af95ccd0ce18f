#include "nl/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

#include "base/buf.h"

static const char zero[4];

static void
align(struct buf *b)
{
	buf_add(b, zero, -b->n & 3);
}

size_t
wire_msg(struct buf *b, uint16_t type, uint16_t flags, uint32_t seq, uint8_t family,
    uint16_t res_id)
{
	struct nlmsghdr h = {.nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = seq};
	struct nfgenmsg g = {.nfgen_family = family, .version = NFNETLINK_V0,
	    .res_id = htons(res_id)};
	size_t at = b->n;

	buf_add(b, &h, sizeof h);
	buf_add(b, &g, sizeof g);
	return at;
}

void
wire_msg_end(struct buf *b, size_t at)
{
	uint32_t n;

	align(b);
	if (b->err)
		return;
	n = (uint32_t)(b->n - at);
	memcpy(b->p + at, &n, sizeof n);
}

static void
head(struct buf *b, uint16_t type, size_t n)
{
	struct nlattr a = {.nla_len = (uint16_t)(sizeof a + n), .nla_type = type};

	if (sizeof a + n > WIRE_ATTR && !b->err)
		b->err = -EMSGSIZE;
	buf_add(b, &a, sizeof a);
}

void
wire_put(struct buf *b, uint16_t type, const void *p, size_t n)
{
	head(b, type, n);
	buf_add(b, p, n);
	align(b);
}

void
wire_str(struct buf *b, uint16_t type, const char *s)
{
	wire_put(b, type, s, strlen(s) + 1);
}

void
wire_u8(struct buf *b, uint16_t type, uint8_t x)
{
	wire_put(b, type, &x, 1);
}

void
wire_u16(struct buf *b, uint16_t type, uint16_t x)
{
	x = htons(x);
	wire_put(b, type, &x, sizeof x);
}

void
wire_u32(struct buf *b, uint16_t type, uint32_t x)
{
	x = htonl(x);
	wire_put(b, type, &x, sizeof x);
}

void
wire_u64(struct buf *b, uint16_t type, uint64_t x)
{
	uint32_t v[2] = {htonl((uint32_t)(x >> 32)), htonl((uint32_t)x)};

	wire_put(b, type, v, sizeof v);
}

size_t
wire_nest(struct buf *b, uint16_t type)
{
	size_t at = b->n;

	head(b, type | NLA_F_NESTED, 0);
	return at;
}

void
wire_end(struct buf *b, size_t at)
{
	uint16_t n;

	if (b->err)
		return;
	if (b->n - at > WIRE_ATTR) {
		b->err = -EMSGSIZE;
		return;
	}
	n = (uint16_t)(b->n - at);
	memcpy(b->p + at, &n, sizeof n);
}

void
wire_tag(struct buf *b, uint8_t type, const void *p, size_t n)
{
	uint8_t h[2] = {type, (uint8_t)n};

	if (n > UINT8_MAX && !b->err)
		b->err = -EMSGSIZE;
	buf_add(b, h, sizeof h);
	buf_add(b, p, n);
}

const uint8_t *
wire_tag_find(const uint8_t *p, size_t n, uint8_t type, size_t *len)
{
	while (n >= 2 && n - 2 >= p[1]) {
		if (p[0] == type) {
			*len = p[1];
			return p + 2;
		}
		n -= 2u + p[1];
		p += 2u + p[1];
	}
	return NULL;
}
