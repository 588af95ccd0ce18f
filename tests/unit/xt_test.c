/* iptables' extensions: their bytes, and what they mean. The bytes are the kernel's structs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_iprange.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_owner.h>
#include <linux/netfilter/xt_state.h>
#include <linux/netfilter/xt_tcpudp.h>

#include "addr/packet.h"
#include "base/arena.h"
#include "base/buf.h"
#include "nl/dump.h"
#include "nl/xtread.h"
#include "vm/vm.h"

enum { PRE, IN, FORWARD, OUT, POST, NF_INET = 1, NF_IP = 2, NF_IP6 = 10 };
enum { PASS = 1 << VM_PASS, DROP = 1 << VM_DROP, REJECT = 1 << VM_REJECT,
	CAPTURE = 1 << VM_CAPTURE, MOVED = 1 << VM_MOVED, OTHER = 1 << VM_OTHER };
enum { NODES = 1 << 16, MOST = 16 };

struct kit {
	struct arena *a;
	struct nl_dump d;
	struct fdd *f;
	struct vm *v;
	fdd_ref r;
	uint8_t family;
};

static int
begin(void **state)
{
	struct kit *k = calloc(1, sizeof *k);

	k->a = arena_new();
	k->f = fdd_new(NODES);
	k->family = NF_IP;
	*state = k;
	return 0;
}

static int
end(void **state)
{
	struct kit *k = *state;

	vm_free(k->v);
	fdd_free(k->f);
	arena_free(k->a);
	free(k);
	return 0;
}

/* ---- rulesets ------------------------------------------------------------------------ */

static void
chain(struct kit *k, const char *name, const char *type, int hook, int32_t priority)
{
	ARENA_PUSH(k->a, k->d.chain, k->d.nchain, k->d.capchain) = (struct nl_chain){
	    .family = k->family, .table = "t", .name = name, .base = true, .type = type,
	    .hook = (uint32_t)hook, .priority = priority, .policy = 1};
}

static void
rule(struct kit *k, const char *of)
{
	struct nl_rule *r = &ARENA_PUSH(k->a, k->d.rule, k->d.nrule, k->d.caprule);

	*r = (struct nl_rule){.family = k->family, .table = "t", .chain = of,
	    .handle = k->d.nrule, .expr = arena_array(k->a, MOST, struct nl_expr)};
}

static struct nl_expr *
put(struct kit *k, struct nl_expr e)
{
	struct nl_rule *r = &k->d.rule[k->d.nrule - 1];

	r->expr[r->nexpr] = e;
	return &r->expr[r->nexpr++];
}

static struct nl_bytes
bytes(struct kit *k, const void *p, size_t n)
{
	return (struct nl_bytes){n ? memcpy(arena_alloc(k->a, n), p, n) : NULL, (uint32_t)n};
}

/* As the kernel dumps it: padded. */
static struct nl_expr *
ext(struct kit *k, enum nl_kind kind, const char *name, uint32_t rev, const void *p, size_t n)
{
	uint8_t padded[512] = {0};

	assert_true(XT_ALIGN(n) <= sizeof padded);
	if (n)
		memcpy(padded, p, n);
	return put(k, (struct nl_expr){.kind = kind, .name = "match", .u.xt = {.ext = name,
	    .rev = rev, .info = bytes(k, padded, XT_ALIGN(n))}});
}

#define MATCH(k, name, rev, m) ext(k, NL_XT_MATCH, name, rev, &(m), sizeof(m))
#define TARGET(k, name, rev, m) ext(k, NL_XT_TARGET, name, rev, &(m), sizeof(m))

static void
drop(struct kit *k)
{
	put(k, (struct nl_expr){.kind = NL_IMMEDIATE, .name = "immediate",
	    .u.immediate = {.dreg = NL_VERDICT_REG, .verdict = {0, NULL}}});
}

/* As iptables-nft writes -p udp --dport: the protocol by nft's own expressions. */
static void
udp(struct kit *k, uint16_t port)
{
	struct xt_udp m = {.spts = {0, 65535}, .dpts = {port, port}};

	put(k, (struct nl_expr){.kind = NL_META, .name = "meta",
	    .u.meta = {.key = 16, .dreg = NL_DATA_REG, .sreg = NL_NO_REG}});
	put(k, (struct nl_expr){.kind = NL_CMP, .name = "cmp",
	    .u.cmp = {.op = 0, .sreg = NL_DATA_REG, .v = bytes(k, "\21", 1)}});
	MATCH(k, "udp", 0, m);
}

/* A forward chain; its first rule begins. */
static void
forward(struct kit *k)
{
	chain(k, "c", "filter", FORWARD, 0);
	rule(k, "c");
}

static const struct vm_leaf *
at(struct kit *k, const u128 *hook_and)
{
	u128 x[FLOW_NFIELD];

	for (enum flow_field i = 0; i < FLOW_NFIELD; i++)
		x[i] = field_row(i)->first;
	x[FLOW_HOOK] = hook_and[0];
	x[FLOW_FAMILY] = k->family == NF_IP6 ? ADDR_V6 : ADDR_V4;
	x[FLOW_PROTO] = IPPROTO_TCP;
	x[FLOW_SYN] = 1;
	x[FLOW_FLAGS] = 2;
	x[FLOW_DPORT] = 25;
	x[FLOW_SPORT] = 1025;
	x[FLOW_DSTTYPE] = 1;
	for (size_t i = 1; hook_and[i] != U128_MAX; i += 2)
		x[hook_and[i]] = hook_and[i + 1];
	if (!k->v) {
		k->v = vm_new(k->f, &k->d, NULL);
		k->r = vm_read(k->v);
		assert_int_not_equal(k->r, FDD_NONE);
	}
	return vm_leaf(k->v, fdd_number(fdd_eval(k->f, k->r, x)));
}

/* The hook, then fields and their values. */
#define AT(k, ...) at(k, (const u128[]){__VA_ARGS__, U128_MAX})
#define FATE(k, ...) ((int)AT(k, __VA_ARGS__)->fates)

static struct nl_xt
read_one(enum nl_kind kind, const char *name, uint32_t rev, const void *p, size_t n)
{
	struct nl_expr e = {.kind = kind, .u.xt = {.ext = name, .rev = rev,
	    .info = {p, (uint32_t)n}}};
	struct nl_xt m;

	nl_xt_read(&e, &m);
	return m;
}

/* ---- bytes ------------------------------------------------------------------------------ */

static void
xt_a_struct_of_another_length_is_not_read(void **state)
{
	uint8_t p[sizeof(struct xt_conntrack_mtinfo3) + 64] = {0};
	size_t n = sizeof(struct xt_conntrack_mtinfo3);

	(void)state;
	assert_int_equal(read_one(NL_XT_MATCH, "conntrack", 3, p, n).kind, NL_XT_CONNTRACK);
	assert_int_equal(read_one(NL_XT_MATCH, "conntrack", 3, p, XT_ALIGN(n)).kind,
	    NL_XT_CONNTRACK);
	for (size_t i = 0; i < sizeof p; i++)
		if (i != n && i != XT_ALIGN(n))
			assert_int_equal(read_one(NL_XT_MATCH, "conntrack", 3, p, i).kind,
			    NL_XT_UNREAD);
	assert_int_equal(read_one(NL_XT_MATCH, "conntrack", 4, p, n).kind, NL_XT_UNREAD);
	assert_int_equal(read_one(NL_XT_TARGET, "conntrack", 3, p, n).kind, NL_XT_UNREAD);
	assert_int_equal(read_one(NL_XT_MATCH, "Conntrack", 3, p, n).kind, NL_XT_UNREAD);
	assert_int_equal(read_one(NL_XT_MATCH, NULL, 0, NULL, 0).kind, NL_XT_UNREAD);
	assert_int_equal(read_one(NL_XT_TARGET, "REJECT", 0, NULL, 0).kind, NL_XT_UNREAD);
}

static void
xt_ranges_of_ports_that_have_no_end_are_not_read(void **state)
{
	struct xt_multiport_v1 m = {.flags = XT_MULTIPORT_EITHER, .count = 3,
	    .ports = {25, 465, 587}, .pflags = {0, 1, 0}};
	struct nl_xt x = read_one(NL_XT_MATCH, "multiport", 1, &m, sizeof m);

	(void)state;
	assert_int_equal(x.kind, NL_XT_PORTS);
	assert_int_equal(x.u.ports.test[0].n, 2);
	assert_int_equal(x.u.ports.test[0].range[1].lo, 465);
	assert_int_equal(x.u.ports.test[0].range[1].hi, 587);
	m.pflags[2] = 1;
	m.pflags[1] = 0;
	assert_int_equal(read_one(NL_XT_MATCH, "multiport", 1, &m, sizeof m).kind, NL_XT_UNREAD);
	m.pflags[2] = 0;
	m.count = XT_MULTI_PORTS + 1;
	assert_int_equal(read_one(NL_XT_MATCH, "multiport", 1, &m, sizeof m).kind, NL_XT_UNREAD);
	m.count = 1;
	m.flags = 3;
	assert_int_equal(read_one(NL_XT_MATCH, "multiport", 1, &m, sizeof m).kind, NL_XT_UNREAD);
}

static void
xt_redirect_is_told_apart_by_its_length(void **state)
{
	struct nf_nat_ipv4_multi_range_compat old = {.rangesize = 1, .range = {{
	    .flags = NF_NAT_RANGE_PROTO_SPECIFIED, .min.all = htons(587), .max.all = htons(588)}}};
	struct nf_nat_range new = {.flags = NF_NAT_RANGE_PROTO_SPECIFIED,
	    .min_proto.all = htons(465), .max_proto.all = htons(465)};
	struct nl_xt x = read_one(NL_XT_TARGET, "REDIRECT", 0, &old, sizeof old);

	(void)state;
	assert_int_equal(x.kind, NL_XT_NAT);
	assert_int_equal(x.u.nat.port_lo, 587);
	assert_int_equal(x.u.nat.port_hi, 588);
	x = read_one(NL_XT_TARGET, "REDIRECT", 0, &new, sizeof new);
	assert_int_equal(x.u.nat.how, NL_XT_REDIRECT);
	assert_int_equal(x.u.nat.port_lo, 465);
	old.rangesize = 2;
	assert_int_equal(read_one(NL_XT_TARGET, "REDIRECT", 0, &old, sizeof old).kind, NL_XT_UNREAD);
}

static void
said(struct kit *k, const char *want)
{
	const struct nl_rule *r = &k->d.rule[k->d.nrule - 1];
	struct buf b = BUF_INIT(4096);

	nl_expr_words(&b, &r->expr[r->nexpr - 1]);
	assert_string_equal(b.p, want);
	buf_free(&b);
}

static void
xt_is_said_in_words(void **state)
{
	struct kit *k = *state;
	uint8_t junk[256];
	struct xt_multiport_v1 m = {.flags = XT_MULTIPORT_DESTINATION, .count = 3,
	    .ports = {25, 465, 587}, .pflags = {0, 1}, .invert = 1};
	struct xt_iprange_mtinfo r = {.src_min.ip = htonl(0x0a00000a), .src_max.ip = htonl(0x0a000014),
	    .flags = IPRANGE_SRC | IPRANGE_SRC_INV};
	struct xt_state_info s = {XT_STATE_BIT(IP_CT_NEW) | XT_STATE_UNTRACKED};
	struct nf_nat_range2 to;

	/* an initialiser of a union leaves what is behind the member as it was */
	memset(&to, 0, sizeof to);
	to.flags = NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED;
	to.min_addr.ip = to.max_addr.ip = htonl(0x0a000007);
	to.min_proto.all = htons(2525);
	to.max_proto.all = htons(2530);
	forward(k);
	MATCH(k, "multiport", 1, m);
	said(k, "match multiport destination port not 25,465-587");
	MATCH(k, "iprange", 1, r);
	said(k, "match iprange source not 10.0.0.10-10.0.0.20");
	MATCH(k, "state", 0, s);
	said(k, "match state state new,untracked");
	TARGET(k, "DNAT", 2, to);
	said(k, "target DNAT to 10.0.0.7 to port 2525-2530");
	ext(k, NL_XT_MATCH, "string", 1, &s, sizeof s);
	said(k, "match string rev 1");
	memset(junk, 'x', sizeof junk);
	junk[1] = 0x1b;
	junk[2] = 0;
	ext(k, NL_XT_MATCH, "comment", 0, junk, sizeof junk);
	said(k, "match comment \"x\\u001b\"");
	memset(junk, 'x', sizeof junk);
	ext(k, NL_XT_MATCH, "comment", 0, junk, sizeof junk);
}

/* ---- matches ------------------------------------------------------------------------------ */

static void
xt_tcp_ranges_hold_both_ends_and_inversion_turns_one_test(void **state)
{
	struct kit *k = *state;
	struct xt_tcp m = {.spts = {0, 65535}, .dpts = {25, 26}};
	struct xt_tcp not = {.spts = {1000, 2000}, .dpts = {465, 465}, .invflags = XT_TCP_INV_SRCPT};

	forward(k);
	MATCH(k, "tcp", 0, m);
	drop(k);
	rule(k, "c");
	MATCH(k, "tcp", 0, not);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 24), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 27), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 465, FLOW_SPORT, 999), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 465, FLOW_SPORT, 1000), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 465, FLOW_SPORT, 2001), DROP);
	assert_true(AT(k, PACKET_FORWARD, FLOW_PROTO, IPPROTO_UDP)->unknown);
}

static void
xt_tcp_flags_are_masked_and_an_option_is_not_known(void **state)
{
	struct kit *k = *state;
	struct xt_tcp syn = {.spts = {0, 65535}, .dpts = {25, 25}, .flg_mask = 0x17, .flg_cmp = 2,
	    .invflags = XT_TCP_INV_FLAGS};
	struct xt_tcp option = {.spts = {0, 65535}, .dpts = {26, 26}, .option = 8};

	forward(k);
	MATCH(k, "tcp", 0, syn);
	drop(k);
	rule(k, "c");
	MATCH(k, "tcp", 0, option);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SYN, 0, FLOW_FLAGS, 0x12), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_FLAGS, 0xc2), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), PASS | DROP);
	assert_true(AT(k, PACKET_FORWARD, FLOW_DPORT, 26)->unknown);
}

static void
xt_multiport_asks_either_end(void **state)
{
	struct kit *k = *state;
	struct xt_multiport_v1 m = {.flags = XT_MULTIPORT_EITHER, .count = 3, .ports = {25, 465, 587},
	    .pflags = {0, 1}, .invert = 1};

	forward(k);
	MATCH(k, "multiport", 1, m);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26, FLOW_SPORT, 500), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 587), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 588), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_PROTO, IPPROTO_UDP, FLOW_DPORT, 26), DROP);
}

static void
xt_conntrack_states_are_the_kernels_bits(void **state)
{
	struct kit *k = *state;
	struct xt_conntrack_mtinfo3 m = {.match_flags = XT_CONNTRACK_STATE,
	    .state_mask = XT_CONNTRACK_STATE_INVALID | XT_CONNTRACK_STATE_UNTRACKED |
	    XT_CONNTRACK_STATE_BIT(IP_CT_NEW)};
	struct xt_state_info old = {XT_STATE_BIT(IP_CT_RELATED)};

	forward(k);
	MATCH(k, "conntrack", 3, m);
	drop(k);
	rule(k, "c");
	MATCH(k, "state", 0, old);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_INVALID), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_UNTRACKED), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_RELATED), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_ESTABLISHED), PASS);
}

/* Not "not of these states, and with a connection": a packet without one has a state too. */
static void
xt_conntrack_without_a_connection_asks_the_state_alone(void **state)
{
	struct kit *k = *state;
	struct xt_conntrack_mtinfo3 m = {.match_flags = XT_CONNTRACK_STATE | XT_CONNTRACK_PROTO,
	    .invert_flags = XT_CONNTRACK_STATE, .l4proto = IPPROTO_UDP,
	    .state_mask = XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED)};
	struct xt_conntrack_mtinfo3 port = {.match_flags = XT_CONNTRACK_ORIGDST_PORT,
	    .invert_flags = XT_CONNTRACK_ORIGDST_PORT, .origdst_port = 25, .origdst_port_high = 26};

	forward(k);
	MATCH(k, "conntrack", 3, m);
	drop(k);
	rule(k, "c");
	MATCH(k, "conntrack", 3, port);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_INVALID), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_PROTO, IPPROTO_UDP), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 27), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_ESTABLISHED, FLOW_CTPORT, 25,
	    FLOW_DPORT, 1025), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_ESTABLISHED, FLOW_CTPORT, 80), DROP);
}

static void
xt_conntrack_knows_what_the_packet_that_makes_a_connection_has(void **state)
{
	struct kit *k = *state;
	struct xt_conntrack_mtinfo3 m = {.match_flags = XT_CONNTRACK_ORIGSRC | XT_CONNTRACK_STATUS |
	    XT_CONNTRACK_DIRECTION, .origsrc_addr.ip = htonl(0x0a000000),
	    .origsrc_mask.ip = htonl(0xff000000), .invert_flags = XT_CONNTRACK_STATUS,
	    .status_mask = IPS_SEEN_REPLY};

	forward(k);
	MATCH(k, "conntrack", 3, m);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0a010203), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0b010203), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0a010203, FLOW_STATE,
	    PACKET_ESTABLISHED), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_UNTRACKED), PASS);
	assert_true(AT(k, PACKET_FORWARD, FLOW_STATE, PACKET_RELATED)->unknown);
}

static void
xt_an_icmp_error_has_the_protocol_of_its_connection(void **state)
{
	struct kit *k = *state;
	struct xt_conntrack_mtinfo1 m = {.match_flags = XT_CONNTRACK_PROTO, .l4proto = IPPROTO_TCP};

	forward(k);
	MATCH(k, "conntrack", 1, m);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_PROTO, IPPROTO_ICMP), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_RELATED), DROP);
	assert_true(AT(k, PACKET_FORWARD, FLOW_PROTO, IPPROTO_ICMP, FLOW_STATE, PACKET_RELATED)->unknown);
}

static void
xt_an_owner_that_nobody_is_matches_only_when_inverted(void **state)
{
	struct kit *k = *state;
	struct xt_owner_match_info m = {.uid_min = 33, .uid_max = 40, .match = XT_OWNER_UID,
	    .invert = XT_OWNER_UID};
	struct xt_owner_match_info group = {.gid_min = 8, .gid_max = 8, .match = XT_OWNER_GID};

	chain(k, "p", "filter", POST, 0);
	rule(k, "p");
	MATCH(k, "owner", 1, m);
	drop(k);
	chain(k, "o", "filter", OUT, 0);
	rule(k, "o");
	MATCH(k, "tcp", 0, ((struct xt_tcp){.spts = {0, 65535}, .dpts = {465, 465}}));
	MATCH(k, "owner", 1, group);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD), DROP);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_USER, 33), PASS);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_USER, 40), PASS);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_USER, 41), DROP);
	assert_true(AT(k, PACKET_OUTPUT, FLOW_USER, 33, FLOW_DPORT, 465)->unknown);
}

static void
xt_iprange_holds_both_ends_and_an_empty_range_nothing(void **state)
{
	struct kit *k = *state;
	struct xt_iprange_mtinfo m = {.src_min.ip = htonl(0x0a00000a), .src_max.ip = htonl(0x0a000014),
	    .flags = IPRANGE_SRC};
	struct xt_iprange_mtinfo none = {.dst_min.ip = htonl(9), .dst_max.ip = htonl(8),
	    .flags = IPRANGE_DST | IPRANGE_DST_INV};

	forward(k);
	MATCH(k, "iprange", 1, m);
	drop(k);
	rule(k, "c");
	MATCH(k, "udp", 0, ((struct xt_udp){.spts = {0, 65535}, .dpts = {0, 65535}}));
	MATCH(k, "iprange", 1, none);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0a00000a), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0a000014), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_PROTO, IPPROTO_UDP, FLOW_SRC4, 0x0a000015), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_PROTO, IPPROTO_UDP, FLOW_SRC4, 1), DROP);
}

static void
xt_addrtype_of_ipv6_asks_the_address_itself(void **state)
{
	struct kit *k = *state;
	struct xt_addrtype_info_v1 m = {.dest = XT_ADDRTYPE_UNICAST, .flags = XT_ADDRTYPE_INVERT_DEST};

	k->family = NF_IP6;
	forward(k);
	MATCH(k, "addrtype", 1, m);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DST6, (u128)0x20010db8 << 96, FLOW_DSTTYPE, 2), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DST6, (u128)0xff02 << 112), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DST6, 0), DROP);
}

static void
xt_addrtype_of_ipv4_asks_the_routes_and_a_source_is_not_known(void **state)
{
	struct kit *k = *state;
	struct xt_addrtype_info m = {.dest = XT_ADDRTYPE_UNICAST | XT_ADDRTYPE_LOCAL, .invert_dest = 1};
	struct xt_addrtype_info_v1 source = {.source = XT_ADDRTYPE_LOCAL};

	forward(k);
	MATCH(k, "addrtype", 0, m);
	drop(k);
	rule(k, "c");
	udp(k, 7);
	MATCH(k, "addrtype", 1, source);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DSTTYPE, 3), DROP);
	assert_true(AT(k, PACKET_FORWARD, FLOW_PROTO, IPPROTO_UDP, FLOW_DPORT, 7)->unknown);
}

/* ---- targets ----------------------------------------------------------------------------------- */

static void
xt_a_mark_keeps_the_bits_that_nobody_sets(void **state)
{
	struct kit *k = *state;
	struct xt_mark_tginfo2 set = {.mark = 0x10, .mask = 0x10};
	struct xt_mark_mtinfo1 both = {.mark = 0x11, .mask = 0xffffffff};

	chain(k, "p", "filter", PRE, 0);
	rule(k, "p");
	TARGET(k, "MARK", 2, set);
	forward(k);
	MATCH(k, "mark", 1, both);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_MARK, 1), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_MARK, 0x11), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_MARK, 0), PASS);
}

static void
xt_bits_of_a_mark_are_set_and_taken_again(void **state)
{
	struct kit *k = *state;
	struct xt_mark_tginfo2 set = {.mark = 0x30, .mask = 0x30}, less = {.mask = 0x10};
	struct xt_mark_mtinfo1 left = {.mark = 0x20, .mask = 0xffffffff};

	chain(k, "p", "filter", PRE, 0);
	rule(k, "p");
	TARGET(k, "MARK", 2, set);
	rule(k, "p");
	TARGET(k, "MARK", 2, less);
	forward(k);
	MATCH(k, "mark", 1, left);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_MARK, 0x10), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_MARK, 1), PASS);
}

/* Not even the inverted match: there is no mark that could be another. */
static void
xt_a_packet_without_a_connection_has_no_connmark(void **state)
{
	struct kit *k = *state;
	struct xt_connmark_mtinfo1 not = {.mark = 5, .mask = 0xffffffff, .invert = 1};

	forward(k);
	MATCH(k, "connmark", 1, not);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_CTMARK, 5), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_INVALID), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_UNTRACKED), PASS);
}

static void
xt_restoring_a_mark_needs_a_connection(void **state)
{
	struct kit *k = *state;
	struct xt_connmark_tginfo1 set = {.ctmark = 5, .ctmask = 0xffffffff, .mode = XT_CONNMARK_SET};
	struct xt_connmark_tginfo2 get = {.ctmask = 0xff, .nfmask = 0xffffffff,
	    .mode = XT_CONNMARK_RESTORE};
	struct xt_mark_mtinfo1 five = {.mark = 5, .mask = 0xffffffff};
	struct xt_connmark_mtinfo1 not = {.mark = 5, .mask = 0xff, .invert = 1};

	chain(k, "p", "filter", PRE, 0);
	rule(k, "p");
	TARGET(k, "CONNMARK", 1, set);
	rule(k, "p");
	TARGET(k, "CONNMARK", 2, get);
	forward(k);
	MATCH(k, "mark", 1, five);
	drop(k);
	rule(k, "c");
	MATCH(k, "connmark", 1, not);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_INVALID), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_INVALID, FLOW_MARK, 5), DROP);
}

static void
xt_notrack_makes_untracked_and_late_what_is_invalid(void **state)
{
	struct kit *k = *state;
	struct xt_ct_target_info_v1 m = {.flags = XT_CT_NOTRACK};
	struct xt_state_info untracked = {XT_STATE_UNTRACKED};

	chain(k, "raw", "filter", PRE, -300);
	rule(k, "raw");
	udp(k, 53);
	TARGET(k, "CT", 2, m);
	chain(k, "late", "filter", PRE, 0);
	rule(k, "late");
	TARGET(k, "NOTRACK", 0, ((uint8_t[8]){0}));
	forward(k);
	MATCH(k, "state", 0, untracked);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_PROTO, IPPROTO_UDP, FLOW_DPORT, 53), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_INVALID), DROP);
}

/* Before tracking a packet of another zone has the template of a connection. */
static void
xt_a_template_is_not_taken_for_invalid(void **state)
{
	struct kit *k = *state;
	struct xt_ct_target_info_v1 m = {.zone = 3};
	struct xt_state_info invalid = {XT_STATE_INVALID};

	chain(k, "raw", "filter", PRE, -300);
	rule(k, "raw");
	MATCH(k, "tcp", 0, ((struct xt_tcp){.spts = {0, 65535}, .dpts = {25, 25}}));
	TARGET(k, "CT", 2, m);
	rule(k, "raw");
	MATCH(k, "state", 0, invalid);
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), DROP);
	assert_true(AT(k, PACKET_FORWARD, FLOW_DPORT, 25)->unknown);
}

static void
xt_translation_sends_to_one_address_and_port(void **state)
{
	struct kit *k = *state;
	struct nf_nat_range2 to = {.flags = NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED,
	    .min_addr.ip = htonl(0x0a000007), .max_addr.ip = htonl(0x0a000007),
	    .min_proto.all = htons(2525), .max_proto.all = htons(2525)};
	struct nf_nat_ipv4_multi_range_compat here = {.rangesize = 1, .range = {{
	    .flags = NF_NAT_RANGE_PROTO_SPECIFIED, .min.all = htons(587), .max.all = htons(587)}}};
	struct xt_iprange_mtinfo seven = {.dst_min.ip = htonl(0x0a000007),
	    .dst_max.ip = htonl(0x0a000007), .flags = IPRANGE_DST};

	chain(k, "n", "nat", PRE, -100);
	rule(k, "n");
	MATCH(k, "tcp", 0, ((struct xt_tcp){.spts = {0, 65535}, .dpts = {25, 25}}));
	TARGET(k, "DNAT", 2, to);
	rule(k, "n");
	MATCH(k, "tcp", 0, ((struct xt_tcp){.spts = {0, 65535}, .dpts = {26, 26}}));
	TARGET(k, "REDIRECT", 0, here);
	forward(k);
	MATCH(k, "iprange", 1, seven);
	MATCH(k, "tcp", 0, ((struct xt_tcp){.spts = {0, 65535}, .dpts = {2525, 2525}}));
	drop(k);
	chain(k, "i", "filter", IN, 0);
	rule(k, "i");
	MATCH(k, "tcp", 0, ((struct xt_tcp){.spts = {0, 65535}, .dpts = {588, 65535}}));
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), CAPTURE);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 27), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_STATE, PACKET_ESTABLISHED), PASS);
}

/* The interface that its route would have been by is not that of where NAT sends it. */
static void
xt_what_is_sent_elsewhere_is_routed_anew(void **state)
{
	struct kit *k = *state;
	struct nf_nat_range2 to = {.flags = NF_NAT_RANGE_MAP_IPS,
	    .min_addr.ip = htonl(0x0a000007), .max_addr.ip = htonl(0x0a000007)};
	u128 eth0 = (u128)0x65746830 << 96;

	chain(k, "n", "nat", PRE, -100);
	rule(k, "n");
	MATCH(k, "tcp", 0, ((struct xt_tcp){.spts = {0, 65535}, .dpts = {25, 25}}));
	TARGET(k, "DNAT", 2, to);
	forward(k);
	put(k, (struct nl_expr){.kind = NL_META, .name = "meta",
	    .u.meta = {.key = 7, .dreg = NL_DATA_REG, .sreg = NL_NO_REG}});
	put(k, (struct nl_expr){.kind = NL_CMP, .name = "cmp",
	    .u.cmp = {.op = 0, .sreg = NL_DATA_REG, .v = bytes(k, "eth0", 5)}});
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26, FLOW_OIF, eth0), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_OIF, eth0), MOVED | DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD), MOVED | DROP);
	assert_true(AT(k, PACKET_FORWARD)->unknown);
}

static void
xt_what_is_not_known_is_said_with_its_name(void **state)
{
	struct kit *k = *state;
	uint8_t info[64] = {0};

	forward(k);
	ext(k, NL_XT_MATCH, "string", 1, info, sizeof info);
	drop(k);
	rule(k, "c");
	udp(k, 7);
	ext(k, NL_XT_TARGET, "TPROXY", 1, info, sizeof info);
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS | DROP);
	assert_true(AT(k, PACKET_FORWARD)->unknown);
	assert_int_equal(AT(k, PACKET_FORWARD)->cause->expr, 0);
	assert_true(FATE(k, PACKET_FORWARD, FLOW_PROTO, IPPROTO_UDP, FLOW_DPORT, 7) & OTHER);
}

static void
xt_chance_may_and_a_log_goes_on(void **state)
{
	struct kit *k = *state;
	uint8_t info[64] = {0};

	forward(k);
	ext(k, NL_XT_TARGET, "LOG", 0, info, sizeof info);
	rule(k, "c");
	ext(k, NL_XT_MATCH, "comment", 0, info, sizeof info);
	ext(k, NL_XT_MATCH, "hashlimit", 3, info, sizeof info);
	TARGET(k, "REJECT", 0, ((uint32_t){7}));
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS | REJECT);
	assert_true(AT(k, PACKET_FORWARD)->may);
	assert_false(AT(k, PACKET_FORWARD)->unknown);
}

static void
xt_a_name_of_an_interface_ends_with_its_first_zero(void **state)
{
	struct kit *k = *state;
	static const uint8_t name[] = {'e', 't', 'h', '0', 0};
	u128 eth0 = (u128)0x65746830 << 96;

	forward(k);
	put(k, (struct nl_expr){.kind = NL_META, .name = "meta",
	    .u.meta = {.key = 6, .dreg = NL_DATA_REG, .sreg = NL_NO_REG}});
	put(k, (struct nl_expr){.kind = NL_CMP, .name = "cmp",
	    .u.cmp = {.op = 0, .sreg = NL_DATA_REG, .v = bytes(k, name, sizeof name)}});
	drop(k);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_IIF, eth0), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_IIF, eth0 + 1), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_IIF, eth0 - 1), PASS);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	static const struct CMUnitTest tests[] = {
		TEST(xt_a_struct_of_another_length_is_not_read),
		TEST(xt_ranges_of_ports_that_have_no_end_are_not_read),
		TEST(xt_redirect_is_told_apart_by_its_length),
		TEST(xt_is_said_in_words),
		TEST(xt_tcp_ranges_hold_both_ends_and_inversion_turns_one_test),
		TEST(xt_tcp_flags_are_masked_and_an_option_is_not_known),
		TEST(xt_multiport_asks_either_end),
		TEST(xt_conntrack_states_are_the_kernels_bits),
		TEST(xt_conntrack_without_a_connection_asks_the_state_alone),
		TEST(xt_conntrack_knows_what_the_packet_that_makes_a_connection_has),
		TEST(xt_an_icmp_error_has_the_protocol_of_its_connection),
		TEST(xt_an_owner_that_nobody_is_matches_only_when_inverted),
		TEST(xt_iprange_holds_both_ends_and_an_empty_range_nothing),
		TEST(xt_addrtype_of_ipv6_asks_the_address_itself),
		TEST(xt_addrtype_of_ipv4_asks_the_routes_and_a_source_is_not_known),
		TEST(xt_a_mark_keeps_the_bits_that_nobody_sets),
		TEST(xt_bits_of_a_mark_are_set_and_taken_again),
		TEST(xt_a_packet_without_a_connection_has_no_connmark),
		TEST(xt_restoring_a_mark_needs_a_connection),
		TEST(xt_notrack_makes_untracked_and_late_what_is_invalid),
		TEST(xt_a_template_is_not_taken_for_invalid),
		TEST(xt_translation_sends_to_one_address_and_port),
		TEST(xt_what_is_sent_elsewhere_is_routed_anew),
		TEST(xt_what_is_not_known_is_said_with_its_name),
		TEST(xt_chance_may_and_a_log_goes_on),
		TEST(xt_a_name_of_an_interface_ends_with_its_first_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
