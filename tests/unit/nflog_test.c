/* nflog: what the kernel hands over of a logged packet, and the packet's headers: nothing in
 * either is believed. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>

#include "nl/nflog.h"

struct bytes {
	uint8_t p[2048];
	size_t n;
};

static void
put(struct bytes *b, const void *p, size_t n)
{
	assert_true(b->n + n + 4 <= sizeof b->p);
	memcpy(b->p + b->n, p, n);
	b->n += n;
	while (b->n % 4)
		b->p[b->n++] = 0;
}

static void
attribute(struct bytes *b, uint16_t type, const void *p, size_t n)
{
	const struct nlattr a = {(uint16_t)(sizeof a + n), type};

	put(b, &a, sizeof a);
	put(b, p, n);
}

static void
number(struct bytes *b, uint16_t type, uint32_t x)
{
	x = htonl(x);
	attribute(b, type, &x, sizeof x);
}

/* A message of the log group's, of this body. */
static void
message(struct bytes *out, uint16_t type, const struct bytes *body)
{
	const struct nfgenmsg g = {2, 0, htons(587)};
	const struct nlmsghdr h = {(uint32_t)(sizeof h + sizeof g + body->n), type, 0, 0, 0};

	put(out, &h, sizeof h);
	put(out, &g, sizeof g);
	put(out, body->p, body->n);
}

static const uint16_t PACKET = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET;

/* 192.0.2.77:40000 -> 192.0.2.10:25, SYN. */
static const uint8_t syn4[40] = {
	0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 77, 192, 0, 2, 10,
	0x9c, 0x40, 0, 25, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0,
};

static void
whole(struct bytes *out)
{
	struct bytes b = {.n = 0};
	const struct nfulnl_msg_packet_hdr h = {htons(0x0800), 3, 0};
	const struct nfulnl_msg_packet_timestamp t = {
		htobe64(1700000000), htobe64(250000),
	};

	attribute(&b, NFULA_PACKET_HDR, &h, sizeof h);
	attribute(&b, NFULA_PREFIX, "mailreeve outbound-block: ", 27);
	number(&b, NFULA_IFINDEX_OUTDEV, 3);
	number(&b, NFULA_UID, 33);
	number(&b, NFULA_GID, 34);
	number(&b, NFULA_MARK, 7);
	number(&b, NFULA_SEQ, 41);
	attribute(&b, NFULA_TIMESTAMP, &t, sizeof t);
	attribute(&b, NFULA_PAYLOAD, syn4, sizeof syn4);
	message(out, PACKET, &b);
}

static void
a_packet_is_read_whole(void **state)
{
	struct bytes m = {.n = 0};
	struct nflog_packet p;
	struct nflog_head h;

	(void)state;
	whole(&m);
	struct nflog_bytes in = {m.p, m.n};
	assert_int_equal(nflog_next(&in, &p), 1);
	assert_string_equal(p.prefix, "mailreeve outbound-block: ");
	assert_int_equal(p.hook, 3);
	assert_int_equal(p.ethertype, 0x0800);
	assert_int_equal(p.in, 0);
	assert_int_equal(p.out, 3);
	assert_int_equal(p.uid, 33);
	assert_int_equal(p.gid, 34);
	assert_int_equal(p.mark, 7);
	assert_int_equal(p.when, 1700000000250000u);
	assert_true(p.has_seq && p.seq == 41);
	assert_int_equal(nflog_head(p.payload, p.npayload, &h), 0);
	assert_int_equal(h.family, 4);
	assert_int_equal(h.proto, 6);
	assert_true(h.ports && h.sport == 40000 && h.dport == 25 && h.flags == 2);
	assert_memory_equal(h.src, syn4 + 12, 4);
	assert_memory_equal(h.dst, syn4 + 16, 4);
	assert_int_equal(nflog_next(&in, &p), 0);
}

static void
what_is_not_told_is_not_zero(void **state)
{
	struct bytes m = {.n = 0}, b = {.n = 0};
	struct nflog_packet p;

	(void)state;
	attribute(&b, NFULA_PREFIX, "x", 2);
	message(&m, PACKET, &b);
	struct nflog_bytes in = {m.p, m.n};
	assert_int_equal(nflog_next(&in, &p), 1);
	/* no user is not root */
	assert_int_equal(p.uid, UINT32_MAX);
	assert_int_equal(p.gid, UINT32_MAX);
	assert_false(p.has_seq);
	assert_null(p.payload);
}

static void
several_messages_and_others_between(void **state)
{
	struct bytes m = {.n = 0}, none = {.n = 0};
	struct nflog_packet p;

	(void)state;
	whole(&m);
	message(&m, NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG, &none);
	whole(&m);
	struct nflog_bytes in = {m.p, m.n};
	assert_int_equal(nflog_next(&in, &p), 1);
	assert_int_equal(nflog_next(&in, &p), 1);
	assert_int_equal(nflog_next(&in, &p), 0);
}

static void
odd_sizes_are_refused(void **state)
{
	static const struct {
		uint16_t type;
		size_t n;
	} odd[] = {
		{NFULA_PACKET_HDR, 3}, {NFULA_TIMESTAMP, 15}, {NFULA_UID, 3}, {NFULA_UID, 8},
		{NFULA_GID, 0}, {NFULA_IFINDEX_INDEV, 5}, {NFULA_SEQ, 2}, {NFULA_MARK, 1},
	};
	const uint8_t zero[16] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
		struct bytes m = {.n = 0}, b = {.n = 0};
		struct nflog_packet p;
		attribute(&b, odd[i].type, zero, odd[i].n);
		message(&m, PACKET, &b);
		struct nflog_bytes in = {m.p, m.n};
		assert_int_equal(nflog_next(&in, &p), -EBADMSG);
	}
}

static void
an_early_end_is_seen_at_every_byte(void **state)
{
	struct bytes m = {.n = 0};
	struct nflog_packet p;

	(void)state;
	whole(&m);
	for (size_t n = 1; n < m.n; n++) {
		uint8_t cut[2048];
		memcpy(cut, m.p, n);
		struct nflog_bytes in = {cut, n};
		assert_int_equal(nflog_next(&in, &p), -EBADMSG);
		assert_int_equal(nflog_next(&in, &p), 0);
		/* and with a length that says it is whole */
		uint32_t len = (uint32_t)n;
		memcpy(cut, &len, sizeof len);
		in = (struct nflog_bytes){cut, n};
		int got = nflog_next(&in, &p);
		assert_true(got == 1 || got == 0 || got == -EBADMSG);
	}
}

static void
an_error_of_the_kernels_is_passed_on(void **state)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
	} m = {{sizeof m, NLMSG_ERROR, 0, 0, 0}, {.error = -EPERM}};
	struct nflog_packet p;

	(void)state;
	struct nflog_bytes in = {(const uint8_t *)&m, sizeof m};
	assert_int_equal(nflog_next(&in, &p), -EPERM);
	m.e.error = INT32_MIN;
	in = (struct nflog_bytes){(const uint8_t *)&m, sizeof m};
	assert_int_equal(nflog_next(&in, &p), -EBADMSG);
}

static void
a_long_prefix_is_cut_and_ended(void **state)
{
	struct bytes m = {.n = 0}, b = {.n = 0};
	struct nflog_packet p;
	char prefix[400];

	(void)state;
	memset(prefix, 'x', sizeof prefix);
	attribute(&b, NFULA_PREFIX, prefix, sizeof prefix);
	message(&m, PACKET, &b);
	struct nflog_bytes in = {m.p, m.n};
	assert_int_equal(nflog_next(&in, &p), 1);
	assert_int_equal(strlen(p.prefix), NFLOG_PREFIX - 1);
}

static void
losses_are_counted_by_sequence(void **state)
{
	struct nflog_seq s = {0, false};
	struct nflog_packet p = {.has_seq = true};
	static const struct {
		uint32_t seq, lost;
	} step[] = {
		{UINT32_MAX - 2, 0}, {UINT32_MAX - 1, 0}, {1, 2}, {2, 0}, {1003, 1000},
		{5, 0}, /* a group bound anew */
		{6, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof step / sizeof step[0]; i++) {
		p.seq = step[i].seq;
		assert_int_equal(nflog_lost(&s, &p), step[i].lost);
	}
	p.has_seq = false;
	p.seq = 100;
	assert_int_equal(nflog_lost(&s, &p), 0);
}

/* ---- headers ------------------------------------------------------------------------ */

static void
rfc791_options_fragments_and_short_ones(void **state)
{
	uint8_t p[64] = {0};
	struct nflog_head h;

	(void)state;
	memcpy(p, syn4, 20);
	p[0] = 0x47;               /* 8 bytes of options */
	p[3] = 48;
	memcpy(p + 28, syn4 + 20, 20);
	assert_int_equal(nflog_head(p, 48, &h), 0);
	assert_true(h.ports && h.dport == 25 && h.flags == 2);
	/* a header that begins beyond the bytes, or beyond the packet */
	assert_int_equal(nflog_head(p, 24, &h), 0);
	assert_false(h.ports);
	p[3] = 28;
	assert_int_equal(nflog_head(p, 48, &h), 0);
	assert_false(h.ports);
	p[3] = 27;
	assert_int_equal(nflog_head(p, 48, &h), -EBADMSG);
	p[3] = 48;
	p[6] = 0x00;
	p[7] = 1;                  /* a later fragment */
	assert_int_equal(nflog_head(p, 48, &h), 0);
	assert_false(h.ports);
	p[0] = 0x44;
	assert_int_equal(nflog_head(p, 48, &h), -EBADMSG);
	for (size_t n = 0; n < 40; n++) {
		uint8_t cut[40];
		memcpy(cut, syn4, n);
		int err = nflog_head(cut, n, &h);
		assert_int_equal(err, n < 20 ? -EBADMSG : 0);
		if (!err) {
			assert_int_equal(h.ports, n >= 24);
			assert_int_equal(h.flags, n >= 34 ? 2 : 0);
		}
	}
}

/* An IPv6 header, extension headers as given, a SYN to port 25. */
static size_t
six(uint8_t *p, uint8_t first, const uint8_t *ext, size_t n)
{
	memset(p, 0, 40);
	p[0] = 0x60;
	p[5] = (uint8_t)(n + 20);
	p[6] = first;
	p[8] = 0x20;
	p[24] = 0x20;
	p[39] = 9;
	memcpy(p + 40, ext, n);
	memcpy(p + 40 + n, syn4 + 20, 20);
	return 60 + n;
}

static void
rfc8200_extension_headers_are_walked(void **state)
{
	static const uint8_t none[1] = {0}, hop[8] = {6}, two[24] = {60, 0, 0, 0, 0, 0, 0, 0, 6, 1},
	    auth[12] = {6, 1}, first[8] = {6, 0, 0, 1}, later[8] = {6, 0, 0, 8},
	    beyond[8] = {6, 200}, self[8] = {0, 0};
	static const struct {
		const uint8_t *ext;
		size_t n;
		bool ports;
		uint8_t next, proto;
	} t[] = {
		{none, 0, true, 6, 6}, {hop, 8, true, 0, 6}, {two, 24, true, 43, 6}, {auth, 12, true, 51, 6},
		{first, 8, true, 44, 6}, {later, 8, false, 44, 6}, {beyond, 8, false, 60, 60},
		{self, 8, false, 0, 0}, {none, 0, false, 59, 59},
	};
	uint8_t p[128];
	struct nflog_head h;

	(void)state;
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		size_t n = six(p, t[i].next, t[i].ext, t[i].n);
		assert_int_equal(nflog_head(p, n, &h), 0);
		assert_int_equal(h.family, 6);
		assert_int_equal(h.dst[15], 9);
		assert_int_equal(h.ports, t[i].ports);
		if (t[i].ports)
			assert_int_equal(h.dport, 25);
		if (t[i].next != 0 || t[i].ext != self)
			assert_int_equal(h.proto, t[i].proto);
		for (size_t k = 0; k < n; k++) {
			uint8_t cut[128];
			memcpy(cut, p, k);
			assert_int_equal(nflog_head(cut, k, &h), k < 40 ? -EBADMSG : 0);
		}
	}
}

static void
rfc8200_a_chain_of_headers_ends(void **state)
{
	uint8_t p[40 + 8 * 20 + 20], ext[8 * 20] = {0};
	struct nflog_head h;

	(void)state;
	for (int i = 0; i < 20; i++)
		ext[8 * i] = 60;
	ext[8 * 19] = 6;
	size_t n = six(p, 60, ext, sizeof ext);
	assert_int_equal(nflog_head(p, n, &h), 0);
	assert_false(h.ports);
}

static void
what_is_no_ip_packet_is_refused(void **state)
{
	const uint8_t arp[28] = {0, 1, 8, 0};
	struct nflog_head h;

	(void)state;
	assert_int_equal(nflog_head(arp, sizeof arp, &h), -EBADMSG);
	assert_int_equal(nflog_head(NULL, 0, &h), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_is_read_whole),
		cmocka_unit_test(what_is_not_told_is_not_zero),
		cmocka_unit_test(several_messages_and_others_between),
		cmocka_unit_test(odd_sizes_are_refused),
		cmocka_unit_test(an_early_end_is_seen_at_every_byte),
		cmocka_unit_test(an_error_of_the_kernels_is_passed_on),
		cmocka_unit_test(a_long_prefix_is_cut_and_ended),
		cmocka_unit_test(losses_are_counted_by_sequence),
		cmocka_unit_test(rfc791_options_fragments_and_short_ones),
		cmocka_unit_test(rfc8200_extension_headers_are_walked),
		cmocka_unit_test(rfc8200_a_chain_of_headers_ends),
		cmocka_unit_test(what_is_no_ip_packet_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
