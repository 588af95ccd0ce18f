#include "prove/frame.h"

#include <netinet/in.h>
#include <string.h>

#include "base/u128.h"

enum { V4 = 20, V6 = 40, TCP = 20, UDP = 8, HOPS = 64, WINDOW = 0x2000, SEQUENCE = 1 };

static void
put16(uint8_t *p, uint16_t x)
{
	p[0] = (uint8_t)(x >> 8);
	p[1] = (uint8_t)x;
}

/* RFC 1071. */
static uint32_t
sum(uint32_t s, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		s += (uint32_t)p[i] << 8 | p[i + 1];
	return s;
}

static uint16_t
folded(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

static size_t
transport(uint8_t proto)
{
	return proto == IPPROTO_TCP ? TCP : UDP;
}

static void
put_transport(const struct frame *f, uint8_t *p, size_t n, uint32_t pseudo)
{
	uint16_t check;

	put16(p, f->sport);
	put16(p + 2, f->dport);
	if (f->proto == IPPROTO_TCP) {
		p[7] = SEQUENCE;
		p[11] = SEQUENCE;
		p[12] = TCP / 4 << 4;
		p[13] = f->flags;
		put16(p + 14, WINDOW);
	} else {
		put16(p + 4, (uint16_t)n);
	}
	memcpy(p + transport(f->proto), f->cookie, FRAME_COOKIE);
	if (f->proto != IPPROTO_TCP && f->proto != IPPROTO_UDP)
		return;
	check = folded(sum(pseudo, p, n));
	if (!check)
		check = 0xffff;
	if (f->broken)
		check = check == 1 ? 2 : (uint16_t)(check - 1);
	put16(p + (f->proto == IPPROTO_TCP ? 16 : 6), check);
}

size_t
frame_put(const struct frame *f, uint8_t out[FRAME_MOST])
{
	uint8_t *ip = out + FRAME_ETHER, from[16], to[16];
	bool v4 = f->src.family == ADDR_V4;
	size_t head = v4 ? V4 : V6, n = transport(f->proto) + FRAME_COOKIE, len = v4 ? 4 : 16;

	memset(ip, 0, head + n);
	u128_to_be(v4 ? f->src.n << 96 : f->src.n, from);
	u128_to_be(v4 ? f->dst.n << 96 : f->dst.n, to);
	if (v4) {
		ip[0] = 4 << 4 | V4 / 4;
		put16(ip + 2, (uint16_t)(head + n));
		put16(ip + 4, (uint16_t)(f->cookie[0] << 8 | 1));
		ip[6] = 0x40;      /* do not fragment */
		ip[8] = HOPS;
		ip[9] = f->proto;
		memcpy(ip + 12, from, 4);
		memcpy(ip + 16, to, 4);
		put16(ip + 10, folded(sum(0, ip, V4)));
	} else {
		ip[0] = 6 << 4;
		put16(ip + 4, (uint16_t)n);
		ip[6] = f->proto;
		ip[7] = HOPS;
		memcpy(ip + 8, from, 16);
		memcpy(ip + 24, to, 16);
	}
	put_transport(f, ip + head, n,
	    sum(sum(f->proto + (uint32_t)n, from, len), to, len));
	return FRAME_ETHER + head + n;
}

void
frame_ether(uint8_t out[FRAME_ETHER], const uint8_t to[6], const uint8_t from[6], uint16_t type)
{
	memcpy(out, to, 6);
	memcpy(out + 6, from, 6);
	put16(out + 12, type);
}

bool
frame_is_inner(const struct frame *f, const uint8_t *p, size_t n)
{
	size_t head = transport(f->proto);

	return n >= head + FRAME_COOKIE && !memcmp(p + head, f->cookie, FRAME_COOKIE);
}

bool
frame_is(const struct frame *f, const uint8_t *p, size_t n)
{
	size_t head;

	if (n < V4)
		return false;
	if (p[0] >> 4 == 4) {
		head = (p[0] & 15u) * 4u;
		if (p[9] != f->proto || head < V4 || n < head)
			return false;
	} else {
		head = V6;
		if (p[0] >> 4 != 6 || n < V6 || p[6] != f->proto)
			return false;
	}
	return frame_is_inner(f, p + head, n - head);
}
