/* Rulesets built by hand, and what they mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "addr/packet.h"
#include "base/arena.h"
#include "base/buf.h"
#include "nl/dump.h"
#include "vm/vm.h"

enum { PRE, IN, FORWARD, OUT, POST, INET = 1, MOST = 64, REG = NL_DATA_REG };
enum { PASS = 1 << VM_PASS, DROP = 1 << VM_DROP, REJECT = 1 << VM_REJECT, CAPTURE = 1 << VM_CAPTURE };
enum { NODES = 1 << 16 };

struct kit {
	struct arena *a;
	struct nl_dump d;
	struct nl_expr *e;         /* of the rule being written */
	struct fdd *f;
	struct vm *v;
	fdd_ref r;
};

static int
begin(void **state)
{
	struct kit *k = calloc(1, sizeof *k);

	k->a = arena_new();
	k->f = fdd_new(NODES);
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

static void
chain(struct kit *k, const char *name, int hook, int32_t priority, uint32_t policy)
{
	ARENA_PUSH(k->a, k->d.chain, k->d.nchain, k->d.capchain) = (struct nl_chain){
	    .family = INET, .table = "t", .name = name, .base = hook >= 0, .type = "filter",
	    .hook = (uint32_t)(hook < 0 ? 0 : hook), .priority = priority, .policy = policy};
}

static void
rule(struct kit *k, const char *of)
{
	struct nl_rule *r = &ARENA_PUSH(k->a, k->d.rule, k->d.nrule, k->d.caprule);

	*r = (struct nl_rule){.family = INET, .table = "t", .chain = of, .handle = k->d.nrule,
	    .expr = arena_array(k->a, MOST, struct nl_expr)};
}

static void
put(struct kit *k, struct nl_expr e)
{
	struct nl_rule *r = &k->d.rule[k->d.nrule - 1];

	r->expr[r->nexpr++] = e;
}

static struct nl_bytes
bytes(struct kit *k, const void *p, uint32_t n)
{
	return (struct nl_bytes){memcpy(arena_alloc(k->a, n), p, n), n};
}

static void
verdict(struct kit *k, int32_t code, const char *to)
{
	put(k, (struct nl_expr){.kind = NL_IMMEDIATE, .name = "immediate",
	    .u.immediate = {.dreg = NL_VERDICT_REG, .verdict = {code, to}}});
}

static void
meta(struct kit *k, uint32_t key)
{
	put(k, (struct nl_expr){.kind = NL_META, .name = "meta",
	    .u.meta = {.key = key, .dreg = REG, .sreg = NL_NO_REG}});
}

static void
ct(struct kit *k, uint32_t key, int dir)
{
	put(k, (struct nl_expr){.kind = NL_CT, .name = "ct",
	    .u.ct = {.key = key, .dreg = REG, .sreg = NL_NO_REG, .dir = dir}});
}

static void
load(struct kit *k, uint32_t base, uint32_t offset, uint32_t n, uint8_t r)
{
	put(k, (struct nl_expr){.kind = NL_PAYLOAD, .name = "payload",
	    .u.payload = {.base = base, .offset = offset, .len = n, .dreg = r, .sreg = NL_NO_REG}});
}

static void
cmp(struct kit *k, uint32_t op, const void *p, uint32_t n)
{
	put(k, (struct nl_expr){.kind = NL_CMP, .name = "cmp",
	    .u.cmp = {.op = op, .sreg = REG, .v = bytes(k, p, n)}});
}

static void
mask(struct kit *k, const void *m, uint32_t n)
{
	static const uint8_t none[16];

	put(k, (struct nl_expr){.kind = NL_BITWISE, .name = "bitwise", .u.bitwise = {.len = n,
	    .sreg = REG, .dreg = REG, .mask = bytes(k, m, n), .flip = bytes(k, none, n)}});
}

static void
tcp_dport(struct kit *k, uint16_t port)
{
	uint8_t p[2] = {(uint8_t)(port >> 8), (uint8_t)port};

	meta(k, 16);
	cmp(k, 0, "\6", 1);
	load(k, 2, 2, 2, REG);
	cmp(k, 0, p, 2);
}

static void
plain(struct kit *k, enum nl_kind kind)
{
	put(k, (struct nl_expr){.kind = kind, .name = "?"});
}

static const struct vm_leaf *
at(struct kit *k, const u128 *hook_and)
{
	u128 x[FLOW_NFIELD];

	for (enum flow_field i = 0; i < FLOW_NFIELD; i++)
		x[i] = field_row(i)->first;
	x[FLOW_HOOK] = hook_and[0];
	x[FLOW_PROTO] = 6;
	x[FLOW_SYN] = 1;
	x[FLOW_FLAGS] = 2;
	x[FLOW_DPORT] = 25;
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

/* ---- the tests ---------------------------------------------------------------------- */

static void
vm_an_empty_ruleset_passes_all(void **state)
{
	struct kit *k = *state;

	assert_int_equal(FATE(k, PACKET_FORWARD), PASS);
	assert_true(fdd_is_leaf(k->r));
}

static void
vm_the_policy_of_a_chain_is_its_last_word(void **state)
{
	struct kit *k = *state;

	chain(k, "c", FORWARD, 0, 0);
	rule(k, "c");
	tcp_dport(k, 25);
	verdict(k, 1, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_PROTO, 17), DROP);
	assert_int_equal(FATE(k, PACKET_INPUT), PASS);
}

static void
vm_accept_ends_one_base_chain_and_drop_all(void **state)
{
	struct kit *k = *state;

	chain(k, "second", FORWARD, 10, 1);
	chain(k, "first", FORWARD, -10, 1);
	rule(k, "second");
	tcp_dport(k, 25);
	plain(k, NL_REJECT);
	rule(k, "first");
	tcp_dport(k, 25);
	verdict(k, 1, NULL);
	rule(k, "first");
	tcp_dport(k, 26);
	verdict(k, 0, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD), REJECT);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), DROP);
}

static void
vm_jump_comes_back_and_goto_does_not(void **state)
{
	struct kit *k = *state;

	chain(k, "c", FORWARD, 0, 0);
	chain(k, "sub", -1, 0, 0);
	rule(k, "c");
	tcp_dport(k, 25);
	verdict(k, NL_JUMP, "sub");
	rule(k, "c");
	tcp_dport(k, 26);
	verdict(k, NL_GOTO, "sub");
	rule(k, "c");
	verdict(k, 1, NULL);
	rule(k, "sub");
	tcp_dport(k, 27);
	verdict(k, NL_RETURN, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), DROP);
}

static void
vm_lo_is_the_field_loopback(void **state)
{
	struct kit *k = *state;

	chain(k, "o", OUT, 0, 1);
	rule(k, "o");
	meta(k, 7);
	cmp(k, 0, "lo\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	verdict(k, 0, NULL);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_LOOPBACK, 1), DROP);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_LOOPBACK, 0), PASS);
	/* nothing else is asked */
	assert_true(k->r == fdd_range(k->f, FLOW_HOOK, 1, 1,
	    fdd_range(k->f, FLOW_LOOPBACK, 1, 1, fdd_leaf(fdd_number(fdd_eval(k->f, k->r,
	    (const u128[FLOW_NFIELD]){[FLOW_HOOK] = 1, [FLOW_LOOPBACK] = 1}))),
	    fdd_eval(k->f, k->r, (const u128[FLOW_NFIELD]){[FLOW_HOOK] = 1})),
	    fdd_eval(k->f, k->r, (const u128[FLOW_NFIELD]){0})));
}

static void
vm_the_mask_of_a_first_packet_is_the_field_syn(void **state)
{
	struct kit *k = *state;

	chain(k, "c", FORWARD, 0, 1);
	rule(k, "c");
	meta(k, 16);
	cmp(k, 0, "\6", 1);
	load(k, 2, 13, 1, REG);
	mask(k, "\x17", 1);
	cmp(k, 0, "\2", 1);
	verdict(k, 0, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SYN, 0, FLOW_FLAGS, 0x12), PASS);
	/* PSH with SYN is a first packet all the same; other flags are not asked */
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_FLAGS, 0x0a), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_PROTO, 17), PASS);
}

static void
vm_ports_of_a_protocol_without_ports_are_not_known(void **state)
{
	struct kit *k = *state;
	const struct vm_leaf *l;
	struct buf b = BUF_INIT(4096);

	chain(k, "c", FORWARD, 0, 1);
	rule(k, "c");
	load(k, 2, 2, 2, REG);
	cmp(k, 0, "\0\x19", 2);
	verdict(k, 0, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_PROTO, 17), DROP);
	l = AT(k, PACKET_FORWARD, FLOW_PROTO, 1);
	assert_int_equal(l->fates, PASS | DROP);
	assert_true(l->unknown && !l->may);
	assert_ptr_equal(l->cause->rule, &k->d.rule[0]);
	assert_int_equal(l->cause->expr, 0);
	vm_leaf_text(&b, l);
	assert_non_null(strstr(b.p, "payload"));
	buf_free(&b);
}

static void
vm_what_is_not_known_but_does_not_matter_is_known(void **state)
{
	struct kit *k = *state;

	chain(k, "c", FORWARD, 0, 0);
	rule(k, "c");
	meta(k, 20);
	cmp(k, 0, "\1\0\0\0", 4);
	verdict(k, 0, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD), DROP);
	assert_true(fdd_is_leaf(fdd_fix(k->f, k->r, FLOW_HOOK, 0)));
}

static void
vm_a_limit_has_both_outcomes(void **state)
{
	struct kit *k = *state;
	const struct vm_leaf *l;

	chain(k, "c", FORWARD, 0, 0);
	rule(k, "c");
	tcp_dport(k, 25);
	plain(k, NL_LIMIT);
	verdict(k, 1, NULL);
	l = AT(k, PACKET_FORWARD);
	assert_int_equal(l->fates, PASS | DROP);
	assert_true(l->may && !l->unknown);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), DROP);
}

static void
vm_a_mark_that_a_rule_sets_is_read_by_the_next(void **state)
{
	struct kit *k = *state;

	chain(k, "early", PRE, -150, 1);
	chain(k, "c", FORWARD, 0, 1);
	rule(k, "early");
	tcp_dport(k, 25);
	put(k, (struct nl_expr){.kind = NL_IMMEDIATE, .u.immediate = {.dreg = REG,
	    .v = bytes(k, "\7\0\0\0", 4)}});
	put(k, (struct nl_expr){.kind = NL_META, .u.meta = {.key = 3, .dreg = NL_NO_REG, .sreg = REG}});
	rule(k, "c");
	meta(k, 3);
	cmp(k, 0, "\7\0\0\0", 4);
	verdict(k, 0, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26, FLOW_MARK, 7), DROP);
}

static void
vm_a_redirect_is_asked_once_a_connection(void **state)
{
	struct kit *k = *state;

	chain(k, "n", OUT, -100, 1);
	k->d.chain[0].type = "nat";
	chain(k, "o", OUT, 0, 1);
	rule(k, "n");
	tcp_dport(k, 25);
	put(k, (struct nl_expr){.kind = NL_IMMEDIATE, .u.immediate = {.dreg = REG,
	    .v = bytes(k, "\2\x4b", 2)}});
	put(k, (struct nl_expr){.kind = NL_REDIR, .u.nat = {.addr_min = NL_NO_REG,
	    .addr_max = NL_NO_REG, .port_min = REG, .port_max = NL_NO_REG}});
	rule(k, "o");
	tcp_dport(k, 587);
	ct(k, 12, 0);
	cmp(k, 0, "\0\x19", 2);
	verdict(k, 1, NULL);
	rule(k, "o");
	tcp_dport(k, 587);
	verdict(k, 0, NULL);
	rule(k, "o");
	tcp_dport(k, 25);
	plain(k, NL_REJECT);
	assert_int_equal(FATE(k, PACKET_OUTPUT), CAPTURE);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_DPORT, 587), DROP);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_STATE, PACKET_INVALID), REJECT);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_STATE, PACKET_ESTABLISHED), REJECT);
}

/* On the hook that captures it the packet's interface is still that of its first route. */
static void
vm_what_is_redirected_leaves_by_lo_behind_the_hook(void **state)
{
	struct kit *k = *state;
	u128 eth0 = (u128)0x65746830 << 96;

	chain(k, "n", OUT, -100, 1);
	k->d.chain[0].type = "nat";
	chain(k, "o", OUT, 5, 1);
	chain(k, "p", POST, -150, 0);
	rule(k, "n");
	tcp_dport(k, 80);
	put(k, (struct nl_expr){.kind = NL_IMMEDIATE, .u.immediate = {.dreg = REG,
	    .v = bytes(k, "\2\x4b", 2)}});
	put(k, (struct nl_expr){.kind = NL_REDIR, .u.nat = {.addr_min = NL_NO_REG,
	    .addr_max = NL_NO_REG, .port_min = REG, .port_max = NL_NO_REG}});
	rule(k, "o");
	tcp_dport(k, 587);
	meta(k, 7);
	cmp(k, 0, "eth1", 5);
	plain(k, NL_REJECT);
	rule(k, "p");
	meta(k, 7);
	cmp(k, 0, "lo", 3);
	verdict(k, 1, NULL);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_DPORT, 80, FLOW_OIF, eth0), CAPTURE);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_DPORT, 81, FLOW_OIF, eth0), DROP);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_DPORT, 80, FLOW_OIF, eth0 + ((u128)1 << 96)), REJECT);
}

/* ---- sets ------------------------------------------------------------------------------- */

static struct nl_set *
set(struct kit *k, const char *name, uint32_t flags, uint32_t key_len)
{
	struct nl_set *s = &ARENA_PUSH(k->a, k->d.set, k->d.nset, k->d.capset);

	*s = (struct nl_set){.family = INET, .table = "t", .name = name, .flags = flags,
	    .key_len = key_len};
	return s;
}

static void
element(struct kit *k, struct nl_set *s, const void *key, bool is_end, int32_t code, const char *to)
{
	struct nl_elem *e = &ARENA_PUSH(k->a, s->elem, s->nelem, s->capelem);
	struct nl_elem_more *m = arena_of(k->a, struct nl_elem_more);

	m->verdict = (struct nl_verdict){code, to};
	*e = (struct nl_elem){.key = bytes(k, key, s->key_len).p, .end = is_end,
	    .more = code || to ? m : NULL};
}

static void
lookup(struct kit *k, const char *name, uint8_t dreg, bool invert)
{
	put(k, (struct nl_expr){.kind = NL_LOOKUP, .u.lookup = {.set = name, .sreg = REG,
	    .dreg = dreg, .invert = invert}});
}

static void
of_family(struct kit *k, const char *proto)
{
	meta(k, 15);
	cmp(k, 0, proto, 1);
}

static void
vm_intervals_end_before_their_end(void **state)
{
	struct kit *k = *state;
	struct nl_set *s = set(k, "s", 4, 4);

	chain(k, "c", FORWARD, 0, 1);
	/* as the kernel may tell them: from the highest */
	element(k, s, "\xff\xff\xff\xff", false, 0, NULL);
	element(k, s, "\x0b\0\0\0", true, 0, NULL);
	element(k, s, "\x0a\0\0\0", false, 0, NULL);
	element(k, s, "\0\0\0\0", true, 0, NULL);
	rule(k, "c");
	of_family(k, "\2");
	load(k, 1, 12, 4, REG);
	lookup(k, "s", NL_NO_REG, false);
	verdict(k, 0, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0a000000), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0affffff), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0b000000), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x09ffffff), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0xffffffff), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_FAMILY, ADDR_V6, FLOW_SRC4, 0x0a000000), PASS);
}

static void
vm_an_inverted_lookup_matches_what_is_not_there(void **state)
{
	struct kit *k = *state;
	struct nl_set *s = set(k, "s", 0, 4);

	chain(k, "c", FORWARD, 0, 1);
	element(k, s, "\x0a\0\0\1", false, 0, NULL);
	rule(k, "c");
	of_family(k, "\2");
	load(k, 1, 16, 4, REG);
	lookup(k, "s", NL_NO_REG, true);
	verdict(k, 0, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DST4, 0x0a000001), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DST4, 0x0a000002), DROP);
}

static void
vm_an_empty_set_has_nothing(void **state)
{
	struct kit *k = *state;

	set(k, "s", 4, 4);
	chain(k, "c", FORWARD, 0, 1);
	rule(k, "c");
	of_family(k, "\2");
	load(k, 1, 16, 4, REG);
	lookup(k, "s", NL_NO_REG, false);
	verdict(k, 0, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS);
}

static void
vm_concatenations_match_pair_by_pair(void **state)
{
	struct kit *k = *state;
	struct nl_set *s = set(k, "s", 0x80, 8);

	chain(k, "c", FORWARD, 0, 1);
	element(k, s, "\x0a\0\0\1\0\x19\0\0", false, 0, NULL);
	element(k, s, "\x0a\0\0\2\2\x4b\0\0", false, 0, NULL);
	rule(k, "c");
	of_family(k, "\2");
	meta(k, 16);
	cmp(k, 0, "\6", 1);
	load(k, 1, 12, 4, REG);
	load(k, 2, 2, 2, REG + 1);
	lookup(k, "s", NL_NO_REG, false);
	verdict(k, 0, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0a000001), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0a000002), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0a000002, FLOW_DPORT, 587), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_SRC4, 0x0a000001, FLOW_DPORT, 587), PASS);
}

static void
vm_a_verdict_map_jumps_and_comes_back(void **state)
{
	struct kit *k = *state;
	struct nl_set *s = set(k, "s", 8, 2);

	chain(k, "c", FORWARD, 0, 1);
	chain(k, "sub", -1, 0, 0);
	element(k, s, "\0\x19", false, NL_JUMP, "sub");
	element(k, s, "\0\x1a", false, NL_RETURN, NULL);
	rule(k, "c");
	meta(k, 16);
	cmp(k, 0, "\6", 1);
	load(k, 2, 2, 2, REG);
	lookup(k, "s", NL_VERDICT_REG, false);
	rule(k, "c");
	verdict(k, 0, NULL);
	rule(k, "sub");
	of_family(k, "\2");
	verdict(k, 1, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_FAMILY, ADDR_V6), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 26), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DPORT, 27), DROP);
}

static void
vm_a_set_that_packets_fill_is_not_known(void **state)
{
	struct kit *k = *state;

	set(k, "s", 0x20, 4);
	chain(k, "c", FORWARD, 0, 1);
	rule(k, "c");
	load(k, 1, 12, 4, REG);
	lookup(k, "s", NL_NO_REG, false);
	verdict(k, 0, NULL);
	rule(k, "c");
	put(k, (struct nl_expr){.kind = NL_DYNSET, .u.dynset = {.set = "s", .op = 0, .key = REG,
	    .data = NL_NO_REG}});
	assert_int_equal(FATE(k, PACKET_FORWARD), PASS | DROP);
	assert_true(AT(k, PACKET_FORWARD)->unknown);
}

/* Bytes that nobody vouches for: a loop of chains, registers and sets that are none. */
static void
vm_a_dump_that_no_kernel_made_leads_nowhere(void **state)
{
	struct kit *k = *state;
	struct nl_expr e = {.kind = NL_CMP, .u.cmp = {.op = 0, .sreg = 19}};

	chain(k, "c", FORWARD, 0, 1);
	chain(k, "loop", -1, 0, 1);
	rule(k, "c");
	e.u.cmp.v = bytes(k, "0123456789abcdef", 16);
	put(k, e);
	rule(k, "c");
	lookup(k, "none", NL_NO_REG, false);
	rule(k, "c");
	load(k, 1, 12, 64, 18);
	tcp_dport(k, 26);
	verdict(k, NL_JUMP, "nowhere");
	rule(k, "loop");
	verdict(k, NL_JUMP, "loop");
	rule(k, "c");
	verdict(k, NL_JUMP, "loop");
	assert_int_equal(FATE(k, PACKET_FORWARD), 1 << VM_OTHER);
	assert_true(AT(k, PACKET_FORWARD)->unknown);
}

static void
vm_the_limit_of_nodes_is_told(void **state)
{
	struct kit *k = *state;

	chain(k, "c", FORWARD, 0, 1);
	for (uint16_t i = 0; i < 40; i++) {
		rule(k, "c");
		tcp_dport(k, (uint16_t)(2 * i + 1));
		verdict(k, 0, NULL);
	}
	fdd_free(k->f);
	k->f = fdd_new(5);
	k->v = vm_new(k->f, &k->d, NULL);
	assert_int_equal(vm_read(k->v), FDD_NONE);
}

static void
vm_names_of_users_are_those_of_the_other_side(void **state)
{
	static const struct vm_name user[] = {{33, FLOW_USER_NAMES + 4}};
	struct vm_world w = {.user = user, .nuser = 1};
	struct kit *k = *state;

	chain(k, "o", OUT, 0, 1);
	rule(k, "o");
	meta(k, 10);
	cmp(k, 0, "\x21\0\0\0", 4);
	verdict(k, 0, NULL);
	k->v = vm_new(k->f, &k->d, &w);
	k->r = vm_read(k->v);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_USER, FLOW_USER_NAMES + 4), DROP);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_USER, FLOW_USER_NONE), PASS);
	assert_int_equal(FATE(k, PACKET_OUTPUT, FLOW_USER, 34), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_USER, FLOW_USER_NAMES + 4), PASS);
}

static void
vm_a_time_begins_at_its_second(void **state)
{
	struct kit *k = *state;
	uint64_t ns = 1000 * UINT64_C(1000000000);
	uint8_t be[8];

	for (int i = 7; i >= 0; i--, ns >>= 8)
		be[i] = (uint8_t)ns;
	chain(k, "c", FORWARD, 0, 1);
	rule(k, "c");
	meta(k, 30);
	put(k, (struct nl_expr){.kind = NL_BYTEORDER, .u.byteorder = {.op = 1, .len = 8, .size = 8,
	    .sreg = REG, .dreg = REG}});
	cmp(k, 5, be, 8);
	verdict(k, 0, NULL);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DATE, 999), PASS);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DATE, 1000), DROP);
	assert_int_equal(FATE(k, PACKET_FORWARD, FLOW_DATE, UINT64_MAX), DROP);
}

static void
vm_the_younger_of_two_chains_of_one_priority_runs_first(void **state)
{
	struct kit *k = *state;

	chain(k, "old", FORWARD, 0, 1);
	chain(k, "young", FORWARD, 0, 1);
	rule(k, "old");
	verdict(k, 0, NULL);
	rule(k, "young");
	plain(k, NL_REJECT);
	assert_int_equal(FATE(k, PACKET_FORWARD), REJECT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(vm_an_empty_ruleset_passes_all),
		TEST(vm_the_policy_of_a_chain_is_its_last_word),
		TEST(vm_accept_ends_one_base_chain_and_drop_all),
		TEST(vm_jump_comes_back_and_goto_does_not),
		TEST(vm_lo_is_the_field_loopback),
		TEST(vm_the_mask_of_a_first_packet_is_the_field_syn),
		TEST(vm_ports_of_a_protocol_without_ports_are_not_known),
		TEST(vm_what_is_not_known_but_does_not_matter_is_known),
		TEST(vm_a_limit_has_both_outcomes),
		TEST(vm_a_mark_that_a_rule_sets_is_read_by_the_next),
		TEST(vm_a_redirect_is_asked_once_a_connection),
		TEST(vm_what_is_redirected_leaves_by_lo_behind_the_hook),
		TEST(vm_intervals_end_before_their_end),
		TEST(vm_an_inverted_lookup_matches_what_is_not_there),
		TEST(vm_an_empty_set_has_nothing),
		TEST(vm_concatenations_match_pair_by_pair),
		TEST(vm_a_verdict_map_jumps_and_comes_back),
		TEST(vm_a_set_that_packets_fill_is_not_known),
		TEST(vm_a_dump_that_no_kernel_made_leads_nowhere),
		TEST(vm_the_limit_of_nodes_is_told),
		TEST(vm_names_of_users_are_those_of_the_other_side),
		TEST(vm_a_time_begins_at_its_second),
		TEST(vm_the_younger_of_two_chains_of_one_priority_runs_first),
	};

	return cmocka_run_group_tests_name("vm", tests, NULL, NULL);
}
