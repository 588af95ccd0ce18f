/*
 * nl_plans: plans made for comparing, in all their forms.
 *
 *     nl_plans FOLDER SEED COUNT
 *
 * Writes FOLDER/0.plan, .nft, .json: a plan with everything that a plan can say; and
 * COUNT random ones, of SEED, SEED + 1, ...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "gen/out/out.h"
#include "plan/plan.h"
#include "text/diag.h"

#define ONE(f, o, v) {.field = (f), .op = (o), .set = PLAN_NONE, .lo = (v), .hi = (v)}
#define SPAN(f, o, a, b) {.field = (f), .op = (o), .set = PLAN_NONE, .lo = (a), .hi = (b)}
#define IN(f, o, s) {.field = (f), .op = (o), .set = (s)}
#define BITS(f, o, m, v) {.field = (f), .op = (o), .set = PLAN_NONE, .mask = (m), .lo = (v), .hi = (v)}
#define WORD(f, o, t) {.field = (f), .op = (o), .set = PLAN_NONE, .text = (t)}

enum { MOST = 200 };

static uint64_t state;

static uint32_t
pick(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)((state * 0x2545f4914f6cdd1dULL >> 33) % n);
}

static u128
any128(void)
{
	u128 x = 0;

	for (int i = 0; i < 8; i++)
		x = x << 16 | pick(65536);
	return x;
}

/* ---- putting together --------------------------------------------------------- */

struct made {
	struct arena *a;
	struct plan p;
};

static struct made
fresh(bool own)
{
	struct made m = {.a = arena_new()};

	m.p = (struct plan){.table = own ? "mailreeve" : "filter", .own_table = own,
	    .policy = "p", .point = "q"};
	return m;
}

static uint32_t
counter(struct made *m, const char *name)
{
	ARENA_PUSH(m->a, m->p.counter, m->p.ncounter, m->p.capcounter).name = name;
	return m->p.ncounter - 1;
}

static uint32_t
set(struct made *m, struct plan_set s)
{
	ARENA_PUSH(m->a, m->p.set, m->p.nset, m->p.capset) = s;
	return m->p.nset - 1;
}

static uint32_t
chain(struct made *m, const char *name)
{
	ARENA_PUSH(m->a, m->p.chain, m->p.nchain, m->p.capchain).name = name;
	return m->p.nchain - 1;
}

static struct plan_rule *
rule(struct made *m, uint32_t c, struct plan_verdict v, const struct plan_match *match, uint32_t n)
{
	struct plan_chain *x = &m->p.chain[c];
	struct plan_rule *r = &ARENA_PUSH(m->a, x->rule, x->nrule, x->caprule);

	*r = (struct plan_rule){.nmatch = n, .verdict = v, .vmap = PLAN_NONE,
	    .counter = PLAN_NONE, .limit.meter = PLAN_NONE, .stmt = PLAN_NONE,
	    .at = TEXT_NO_SPAN};
	r->match = arena_array(m->a, n, struct plan_match);
	if (n)
		memcpy(r->match, match, n * sizeof *match);
	return r;
}

#define RULE(m, c, v, ...) \
	rule((m), (c), (v), (const struct plan_match[]){__VA_ARGS__}, \
	    sizeof((const struct plan_match[]){__VA_ARGS__}) / sizeof(struct plan_match))

static struct plan_verdict
plain(enum plan_verdict_kind k)
{
	return (struct plan_verdict){k, PLAN_NONE};
}

static struct plan_verdict
call(enum plan_verdict_kind k, uint32_t c)
{
	return (struct plan_verdict){k, c};
}

static void
put_file(const char *folder, int i, const char *end, const struct buf *b)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/%d.%s", folder, i, end);
	if (b->err || out_file(path, b->p, b->n)) {
		fprintf(stderr, "nl_plans: cannot write %s\n", path);
		exit(2);
	}
}

static void
finish(struct made *m, const char *folder, int i)
{
	struct buf b = BUF_INIT(OUT_MOST);

	plan_seal(&m->p);
	out_plan(&b, &m->p);
	put_file(folder, i, "plan", &b);
	buf_free(&b);
	out_nft(&b, &m->p, NULL);
	put_file(folder, i, "nft", &b);
	buf_free(&b);
	if (!out_json(&b, &m->p, NULL, diags_new(m->a)))
		put_file(folder, i, "json", &b);
	buf_free(&b);
	arena_free(m->a);
}

/* ---- everything -------------------------------------------------------------------- */

static const struct addr_range4 some4[] = {
	{0x00000000, 0x00000000}, {0x0a000000, 0x0affffff}, {0x0b000001, 0x0b000009},
	{0x0b00000a, 0x0b00000a}, {0xc0a80000, 0xc0a8ffff}, {0xffffff00, 0xffffffff},
};
#define V6(hi, lo) ((u128)(hi) << 64 | (lo))
static const struct addr_range6 some6[] = {
	{0, 0}, {V6(0x20010db800000000, 0), V6(0x20010db8ffffffff, UINT64_MAX)},
	{V6(0x20010db900000000, 1), V6(0x20010db900000000, 9)},
	{V6(0xff00000000000000, 0), U128_MAX},
};
static const struct port_range few_ports[] = {{25, 25}, {465, 465}, {587, 587}};
static const struct port_range wide_ports[] = {{1, 1}, {25, 200}, {201, 201}, {60000, 65535}};
static const char *const few_users[] = {"0", "root", "4000"};
static const struct addr_range4 adjacent4[] = {
	{0x00000000, 0x0affffff}, {0x0b000000, 0x7fffffff}, {0x80000000, 0xffffffff},
};

static void
everything(const char *folder)
{
	struct made made = fresh(true), *m = &made;
	uint32_t c0 = counter(m, "exempt-one"), c1 = counter(m, "block");
	uint32_t v4 = set(m, (struct plan_set){.name = "partners4", .key = PLAN_KEY_IPV4,
	    .interval = true, .n = 6, .v4 = some4});
	uint32_t v6 = set(m, (struct plan_set){.name = "partners6", .key = PLAN_KEY_IPV6,
	    .interval = true, .n = 4, .v6 = some6});
	uint32_t few = set(m, (struct plan_set){.key = PLAN_KEY_PORT, .n = 3, .port = few_ports});
	uint32_t single = set(m, (struct plan_set){.key = PLAN_KEY_PORT, .n = 1, .port = few_ports});
	uint32_t wide = set(m, (struct plan_set){.name = "ports-wide", .key = PLAN_KEY_PORT,
	    .interval = true, .n = 4, .port = wide_ports});
	uint32_t users = set(m, (struct plan_set){.key = PLAN_KEY_UID, .n = 3, .user = few_users});
	uint32_t m4 = set(m, (struct plan_set){.name = "m-4", .kind = PLAN_METER,
	    .key = PLAN_KEY_IPV4, .timeout = 3600, .size = 65535});
	uint32_t m6 = set(m, (struct plan_set){.name = "m-6", .kind = PLAN_METER,
	    .key = PLAN_KEY_IPV6, .timeout = 90, .size = 65535});
	uint32_t leaf = chain(m, "leaf"), a = chain(m, "a"), b, n;
	struct plan_verdict *v = arena_array(m->a, 3, struct plan_verdict);
	const char **comment = arena_array(m->a, 3, const char *);
	uint32_t map;
	struct plan_rule *r;

	v[0] = call(PLAN_DO_JUMP, leaf);
	v[1] = plain(PLAN_DO_DROP);
	v[2] = call(PLAN_DO_GOTO, a);
	comment[0] = "zone x, policy.yaml:12";
	map = set(m, (struct plan_set){.name = "zones", .kind = PLAN_MAP, .key = PLAN_KEY_IPV4,
	    .interval = true, .n = 3, .v4 = adjacent4, .verdict = v, .comment = comment});
	RULE(m, leaf, plain(PLAN_DO_RETURN), IN(PLAN_SADDR4, PLAN_IS, v4))->comment = "one";
	RULE(m, leaf, plain(PLAN_DO_ACCEPT), IN(PLAN_DADDR4, PLAN_NOT, v4), IN(PLAN_DPORT, PLAN_IS, few));
	RULE(m, leaf, plain(PLAN_DO_DROP), IN(PLAN_SADDR6, PLAN_IS, v6), IN(PLAN_DADDR6, PLAN_NOT, v6));
	RULE(m, leaf, plain(PLAN_DO_DROP), IN(PLAN_DPORT, PLAN_NOT, few), ONE(PLAN_DADDR4, PLAN_IS, 1));
	RULE(m, leaf, plain(PLAN_DO_DROP), IN(PLAN_DPORT, PLAN_IS, single), IN(PLAN_DPORT, PLAN_IS, wide));
	for (int op = PLAN_IS; op <= PLAN_NOT; op++) {
		static const unsigned bits4[] = {1, 8, 9, 16, 23, 24, 31, 32};
		static const unsigned bits6[] = {1, 8, 32, 33, 48, 64, 120, 127, 128};

		for (size_t i = 0; i < sizeof bits4 / sizeof *bits4; i++) {
			u128 span = bits4[i] == 32 ? 0 : ((u128)1 << (32 - bits4[i])) - 1;
			u128 lo = 0xc0a85a5a & ~span;

			RULE(m, a, plain(PLAN_DO_ACCEPT), SPAN(i & 1 ? PLAN_SADDR4 : PLAN_DADDR4, op,
			    lo, lo | span));
		}
		for (size_t i = 0; i < sizeof bits6 / sizeof *bits6; i++) {
			u128 span = bits6[i] == 128 ? 0 : ((u128)1 << (128 - bits6[i])) - 1;
			u128 lo = V6(0x20010db85a5a5a5a, 0x5a5a5a5a5a5a5a5a) & ~span;

			RULE(m, a, plain(PLAN_DO_ACCEPT), SPAN(i & 1 ? PLAN_SADDR6 : PLAN_DADDR6, op,
			    lo, lo | span));
		}
		RULE(m, a, plain(PLAN_DO_ACCEPT), SPAN(PLAN_SADDR4, op, 5, 11));
		RULE(m, a, plain(PLAN_DO_ACCEPT), SPAN(PLAN_DADDR6, op, 5, V6(1, 11)));
		RULE(m, a, plain(PLAN_DO_ACCEPT), SPAN(PLAN_DPORT, op, 465, 466));
		RULE(m, a, plain(PLAN_DO_ACCEPT), ONE(PLAN_DPORT, op, 25));
		RULE(m, a, plain(PLAN_DO_ACCEPT), ONE(PLAN_DPORT, PLAN_IS, 587), ONE(PLAN_CT_DPORT, op, 25));
		RULE(m, a, plain(PLAN_DO_ACCEPT), ONE(PLAN_DPORT, PLAN_IS, 587), SPAN(PLAN_CT_DPORT, op, 25, 30));
		RULE(m, a, plain(PLAN_DO_ACCEPT), ONE(PLAN_NFPROTO, op, 2));
		RULE(m, a, plain(PLAN_DO_ACCEPT), ONE(PLAN_NFPROTO, op, 10));
		RULE(m, a, plain(PLAN_DO_ACCEPT), ONE(PLAN_L4PROTO, op, 6));
		RULE(m, a, plain(PLAN_DO_ACCEPT), ONE(PLAN_L4PROTO, op, 132));
		RULE(m, a, plain(PLAN_DO_ACCEPT), WORD(PLAN_IIFNAME, op, "lo"));
		RULE(m, a, plain(PLAN_DO_ACCEPT), WORD(PLAN_OIFNAME, op, "abcdefghijklmno"));
		RULE(m, a, plain(PLAN_DO_ACCEPT), BITS(PLAN_TCP_FLAGS, op, 23, 2));
		RULE(m, a, plain(PLAN_DO_ACCEPT), BITS(PLAN_TCP_FLAGS, op, 2, 2));
		RULE(m, a, plain(PLAN_DO_ACCEPT), BITS(PLAN_TCP_FLAGS, op, 255, 0));
		RULE(m, a, plain(PLAN_DO_ACCEPT), WORD(PLAN_SKUID, op, "33"));
		RULE(m, a, plain(PLAN_DO_ACCEPT), WORD(PLAN_SKUID, op, "root"));
		RULE(m, a, plain(PLAN_DO_ACCEPT), IN(PLAN_SKUID, op, users));
	}
	RULE(m, a, plain(PLAN_DO_ACCEPT), BITS(PLAN_CT_STATE, PLAN_IS, 6, 0));
	RULE(m, a, plain(PLAN_DO_ACCEPT), BITS(PLAN_CT_STATE, PLAN_IS, 8, 0));
	RULE(m, a, plain(PLAN_DO_ACCEPT), BITS(PLAN_CT_STATE, PLAN_IS, 64 + 1, 0));
	RULE(m, a, plain(PLAN_DO_ACCEPT), ONE(PLAN_TIME, PLAN_LEAST, 1795132800),
	    ONE(PLAN_TIME, PLAN_LESS, 1795219200));
	RULE(m, a, plain(PLAN_DO_ACCEPT), ONE(PLAN_NFPROTO, PLAN_IS, 2), ONE(PLAN_SADDR4, PLAN_IS, 77),
	    ONE(PLAN_L4PROTO, PLAN_IS, 6), ONE(PLAN_DPORT, PLAN_IS, 3), BITS(PLAN_TCP_FLAGS, PLAN_IS, 2, 2));
	RULE(m, a, plain(PLAN_DO_ACCEPT), ONE(PLAN_NFPROTO, PLAN_NOT, 10), ONE(PLAN_SADDR4, PLAN_IS, 77));
	RULE(m, a, plain(PLAN_DO_REJECT), ONE(PLAN_L4PROTO, PLAN_IS, 6));
	RULE(m, a, plain(PLAN_DO_REJECT), ONE(PLAN_DPORT, PLAN_IS, 25))->counter = c1;
	r = RULE(m, a, plain(PLAN_DO_DROP), ONE(PLAN_DPORT, PLAN_IS, 26));
	r->counter = c0;
	r->log = "mailreeve exempt-one: ";
	r->comment = "all of it, with a # and a ; and a \\ and \xc3\xa9";
	r = rule(m, a, plain(PLAN_DO_RETURN), NULL, 0);
	r->limit = (struct plan_limit){.rate = 60, .unit = 3600, .burst = 60, .meter = m4, .prefix = 32};
	r = rule(m, a, plain(PLAN_DO_RETURN), NULL, 0);
	r->limit = (struct plan_limit){.rate = 7, .unit = 604800, .burst = 5, .meter = m6, .prefix = 64};
	r = RULE(m, a, plain(PLAN_DO_RETURN), ONE(PLAN_DADDR4, PLAN_IS, 5));
	r->limit = (struct plan_limit){.rate = 60, .unit = 3600, .burst = 60, .meter = m4, .prefix = 32};
	r = rule(m, a, plain(PLAN_GO_ON), NULL, 0);
	r->limit = (struct plan_limit){.rate = 100, .unit = 1, .burst = 1, .meter = PLAN_NONE};
	r->counter = c1;
	rule(m, a, call(PLAN_DO_JUMP, leaf), NULL, 0);
	b = chain(m, "mail-forward");
	r = RULE(m, b, plain(PLAN_GO_ON), ONE(PLAN_DPORT, PLAN_IS, 25));
	r->vmap = map;
	r->vmap_field = PLAN_SADDR4;
	rule(m, b, call(PLAN_DO_GOTO, a), NULL, 0);
	n = chain(m, "capture");
	m->p.chain[n].entry = m->p.chain[n].base = true;
	m->p.chain[n].type = PLAN_NAT;
	m->p.chain[n].hook = PACKET_OUTPUT;
	m->p.chain[n].priority = -100;
	RULE(m, n, plain(PLAN_DO_REDIRECT), ONE(PLAN_DPORT, PLAN_IS, 25))->comment = "captured";
	for (int h = PACKET_FORWARD; h <= PACKET_INPUT; h++) {
		static const char *const name[] = {"forward", "output", "input"};

		n = chain(m, name[h]);
		m->p.chain[n].entry = m->p.chain[n].base = true;
		m->p.chain[n].hook = (enum packet_hook)h;
		m->p.chain[n].priority = h * 5;
		RULE(m, n, call(PLAN_DO_JUMP, b), IN(PLAN_DPORT, PLAN_IS, few))->comment = "ports";
	}
	finish(m, folder, 0);
}

/* ---- random ------------------------------------------------------------------------- */

static struct plan_match
random_match(struct made *m, const uint32_t sets[], uint32_t nsets, unsigned family)
{
	static const uint32_t state_bit[] = {1, 2, 4, 8, 64};
	struct plan_match x = {.op = pick(4) ? PLAN_IS : PLAN_NOT, .set = PLAN_NONE};
	uint32_t bits;

	(void)m;
	switch (pick(9)) {
	case 0:
		x.field = pick(2) ? PLAN_IIFNAME : PLAN_OIFNAME;
		x.text = pick(2) ? "lo" : "eth0";
		break;
	case 1:
		x.field = PLAN_CT_STATE;
		x.op = PLAN_IS;
		for (int i = 0; i < 5; i++)
			x.mask |= pick(2) ? state_bit[i] : 0;
		x.mask = x.mask ? x.mask : 2;
		break;
	case 2:
		x.field = PLAN_TCP_FLAGS;
		x.mask = 1 + pick(255);
		x.lo = x.hi = pick(256) & x.mask;
		break;
	case 3:
		x.field = PLAN_TIME;
		x.op = pick(2) ? PLAN_LESS : PLAN_LEAST;
		x.lo = x.hi = pick(2000000000);
		break;
	case 4:
		x.field = PLAN_SKUID;
		x.text = pick(2) ? "root" : "1234";
		break;
	case 5:
		x.field = PLAN_DPORT;
		x.lo = pick(65536);
		x.hi = pick(2) ? x.lo : x.lo + pick((uint32_t)(65536 - x.lo));
		break;
	case 6:
		x.field = PLAN_NFPROTO;
		x.op = PLAN_IS;
		x.lo = x.hi = family;
		break;
	case 7:
		if (nsets) {
			const struct plan_set *s;

			x.set = sets[pick(nsets)];
			s = &m->p.set[x.set];
			if (s->key == PLAN_KEY_PORT) {
				x.field = PLAN_DPORT;
				break;
			}
			if (s->key == (family == 2 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6)) {
				x.field = family == 2 ? pick(2) ? PLAN_SADDR4 : PLAN_DADDR4 :
				    pick(2) ? PLAN_SADDR6 : PLAN_DADDR6;
				break;
			}
			x.set = PLAN_NONE;
		}
		/* fall through */
	default:
		x.field = family == 2 ? pick(2) ? PLAN_SADDR4 : PLAN_DADDR4 :
		    pick(2) ? PLAN_SADDR6 : PLAN_DADDR6;
		bits = 1 + pick(family == 2 ? 32 : 128);
		x.lo = family == 2 ? any128() >> 96 : any128();
		if (pick(3)) {
			u128 span = ((u128)1 << ((family == 2 ? 32 : 128) - bits)) - 1;

			x.lo &= ~span;
			x.hi = x.lo | span;
		} else {
			u128 room = (family == 2 ? (u128)UINT32_MAX : U128_MAX) - x.lo;
			u128 more = any128() >> (family == 2 ? 96 + pick(32) : pick(128));

			x.hi = x.lo + (more < room ? more : room);
		}
		/* nft reads ::ffff... and 0.0.0.0/0 as it likes; they are for the hand-made plan */
		break;
	}
	return x;
}

static struct plan_set
random_set(struct made *m, uint32_t i, enum plan_set_kind kind, uint32_t below)
{
	struct plan_set s = {.kind = kind, .interval = true, .key = pick(3)};
	struct addr_range4 *v4 = arena_array(m->a, MOST, struct addr_range4);
	struct addr_range6 *v6 = arena_array(m->a, MOST, struct addr_range6);
	struct port_range *port = arena_array(m->a, MOST, struct port_range);
	struct plan_verdict *v = arena_array(m->a, MOST, struct plan_verdict);
	u128 top = s.key == PLAN_KEY_IPV4 ? UINT32_MAX : s.key == PLAN_KEY_IPV6 ? U128_MAX : 65535;
	u128 at = pick(4) ? top / 200 + pick(100) : 0, width = top / MOST;

	if (kind == PLAN_MAP && s.key == PLAN_KEY_PORT)
		s.key = PLAN_KEY_IPV4, top = UINT32_MAX, width = top / MOST;
	s.name = arena_printf(m->a, "%s%u", kind == PLAN_MAP ? "map-" : "set-", i);
	s.n = 1 + pick(MOST - 2);
	if (kind == PLAN_SET && s.key == PLAN_KEY_PORT && pick(2)) {
		s.name = NULL;
		s.interval = false;
		s.n = 2 + pick(9);
	}
	for (size_t k = 0; k < s.n; k++) {
		u128 lo = at, hi;

		if (kind != PLAN_MAP || pick(2))
			lo += 1 + pick(s.key == PLAN_KEY_PORT ? 60 : 0x100000);
		hi = lo + (s.interval ? (pick(2) ? width / 2 : pick(3)) : 0);
		v4[k] = (struct addr_range4){(uint32_t)lo, (uint32_t)hi};
		v6[k] = (struct addr_range6){lo, hi};
		port[k] = (struct port_range){(uint16_t)lo, (uint16_t)hi};
		v[k] = below && pick(2) ? call(pick(2) ? PLAN_DO_JUMP : PLAN_DO_GOTO, pick(below)) :
		    plain(pick(2) ? PLAN_DO_ACCEPT : PLAN_DO_RETURN);
		at = hi + 1;
		if (hi > top - top / 50) {
			s.n = k + 1;
			break;
		}
	}
	if (s.key == PLAN_KEY_IPV4)
		s.v4 = v4;
	else if (s.key == PLAN_KEY_IPV6)
		s.v6 = v6;
	else
		s.port = port;
	if (kind == PLAN_MAP)
		s.verdict = v;
	return s;
}

static void
random_plan(const char *folder, int number, uint64_t seed)
{
	struct made made, *m = &made;
	uint32_t sets[8], nsets, chains, few, n;

	state = seed * 0x9e3779b97f4a7c15ULL + 1;
	for (int i = 0; i < 10; i++)
		pick(2);
	made = fresh(true);
	nsets = 1 + pick(8);
	counter(m, "c-0");
	for (uint32_t i = 0; i < nsets; i++)
		sets[i] = set(m, random_set(m, i, PLAN_SET, 0));
	few = set(m, (struct plan_set){.key = PLAN_KEY_PORT, .n = 3, .port = few_ports});
	chains = 1 + pick(6);
	for (uint32_t c = 0; c < chains; c++) {
		uint32_t id = chain(m, arena_printf(m->a, "chain-%u", c)), rules = 1 + pick(12);

		for (uint32_t k = 0; k < rules; k++) {
			struct plan_match match[4];
			uint32_t nm = pick(4), below = id;
			unsigned family = pick(2) ? 2 : 10;
			struct plan_rule *r;

			for (uint32_t i = 0; i < nm; i++)
				match[i] = random_match(m, sets, nsets, family);
			r = rule(m, id, below && pick(3) == 0 ?
			    call(pick(2) ? PLAN_DO_JUMP : PLAN_DO_GOTO, pick(below)) :
			    plain((enum plan_verdict_kind[]){PLAN_GO_ON, PLAN_DO_ACCEPT, PLAN_DO_DROP,
			    PLAN_DO_RETURN}[pick(4)]), match, nm);
			if (pick(6) == 0) {
				struct plan_set s = random_set(m, m->p.nset, PLAN_MAP, below);
				enum plan_field f = s.key == PLAN_KEY_IPV4 ? PLAN_SADDR4 : PLAN_SADDR6;

				if (s.key == (family == 2 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6)) {
					r->vmap = set(m, s);
					r->vmap_field = f;
					r->verdict = plain(PLAN_GO_ON);
					continue;
				}
			}
			if (pick(4) == 0)
				r->counter = 0;
			if (pick(6) == 0)
				r->log = "a prefix ";
			if (pick(3) == 0)
				r->comment = arena_printf(m->a, "comment %u, file.yaml:%u", k, pick(1000));
			if (pick(8) == 0)
				r->limit = (struct plan_limit){.rate = 1 + pick(1000), .unit = 60,
				    .burst = 1 + pick(100), .meter = PLAN_NONE};
			if (!nm && r->verdict.kind == PLAN_GO_ON && r->counter == PLAN_NONE && !r->log &&
			    !r->limit.rate)
				r->verdict = plain(PLAN_DO_ACCEPT);
		}
	}
	n = chain(m, "forward");
	m->p.chain[n].entry = m->p.chain[n].base = true;
	RULE(m, n, call(PLAN_DO_JUMP, n - 1), IN(PLAN_DPORT, PLAN_IS, few));
	finish(m, folder, number);
}

int
main(int argc, char **argv)
{
	if (argc != 4) {
		fputs("usage: nl_plans FOLDER SEED COUNT\n", stderr);
		return 2;
	}
	everything(argv[1]);
	for (int i = 1; i <= (int)strtol(argv[3], NULL, 10); i++)
		random_plan(argv[1], i, strtoull(argv[2], NULL, 10) + (uint64_t)i);
	return 0;
}
