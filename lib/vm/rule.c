/*
 * rule: one rule for all packets, its expressions from left to right.
 *
 * A load puts sources into registers; a comparison becomes a guard on all that follows.
 * Where what a load gives depends on the packet (its family, its protocol, whether it has
 * a connection) the rest of the rule is executed for each case.
 */
#include <netinet/in.h>
#include <string.h>

#include "addr/packet.h"
#include "base/arena.h"
#include "base/hash.h"
#include "vm/inside.h"

enum {
	META_PROTOCOL = 1, META_MARK = 3, META_IIF, META_OIF, META_IIFNAME, META_OIFNAME,
	META_SKUID = 10, META_SKGID = 11, META_NFPROTO = 15, META_L4PROTO = 16, META_TIME = 30,
};
enum {
	CT_STATE, CT_DIRECTION, CT_STATUS, CT_MARK, CT_L3PROTO = 7, CT_PROTO = 10, CT_PROTO_SRC,
	CT_PROTO_DST, CT_SRC_IP = 19, CT_DST_IP, CT_SRC_IP6, CT_DST_IP6,
};
enum { FIB_ADDRTYPE = 3, FIB_DADDR = 2, SOCKET_CGROUP = 3, DYNSET_DELETE = 2 };
enum { OBJECT_QUOTA = 2, OBJECT_LIMIT = 4, OBJECT_CONNLIMIT = 5, OBJECT_SYNPROXY = 10 };
enum { EXTHDR_IPV6 = 0, EXTHDR_PRESENT = 1 };
enum { CT_UNTRACKED_BIT = 64, CT_INVALID_BIT = 1, LOCAL_TYPE = 2 };

/* ---- cases ------------------------------------------------------------------------------- */

const struct changed *
rule_now(const struct exec *x)
{
	return &x->v->state[x->state]->c;
}

fdd_ref
rule_on(const struct exec *x)
{
	return fdd_leaf(x->v->state[x->state]->on);
}

fdd_ref
rule_guarded(struct exec *x, uint32_t i, fdd_ref c)
{
	struct exec y = *x;

	if (c == NO)
		return rule_on(x);
	case_narrow(&y, c);
	return guard(x->v, x->state, c, rule_go(&y, i + 1));
}

fdd_ref
rule_lost(struct exec *x, uint32_t i, const char *why)
{
	return rule_guarded(x, i, not_known(cause_of(x->v, x->rule, i, why)));
}

fdd_ref
rule_other(struct exec *x, uint32_t i, const char *why)
{
	uint32_t o = outcome(V_OTHER, 0);

	return fdd_leaf(leaf_of(x->v, &o, 1, BY_UNKNOWN,
	    cause_of(x->v, x->rule, i, why) + 1));
}

/* Goes on from i in the changed state. */
fdd_ref
rule_change(struct exec *x, uint32_t i, const struct changed *c)
{
	uint32_t s = state_of(x->v, c);

	if (s == UINT32_MAX)
		return rule_other(x, i, "too many ways to change a packet");
	x->state = s;
	return rule_go(x, i + 1);
}

/* ---- loads -------------------------------------------------------------------------------- */

/* Whose socket sends, at the hooks where there is one. */
static fdd_ref
owner(struct exec *x, uint32_t i, unsigned r, enum source s)
{
	struct exec y = *x;

	if (x->at.way == WAY_OUTPUT) {
		if (s == S_LOST)
			reg_lost(x, r, 4, i);
		else
			reg_source(x, r, s, true);
		return rule_go(x, i + 1);
	}
	if (x->at.way == WAY_FORWARD)
		return rule_on(x);
	reg_lost(&y, r, 4, i);
	return case_choose(x, case_in_states(x, PACKET_NEW, PACKET_NEW), rule_on(x),
	    rule_guarded(&y, i, not_known(cause_of(x->v, x->rule, i, "a socket that receives"))));
}

static void
interface(struct exec *x, unsigned r, enum source s, bool there, bool host)
{
	static const uint8_t nothing[16];

	if (there)
		reg_source(x, r, s, host);
	else
		reg_fixed(x, r, nothing, source_row(s)->bytes);
}

/* Behind the hook at which its destination was changed a packet is routed anew. */
static bool
rerouted(const struct exec *x)
{
	const struct changed *c = rule_now(x);

	return (c->dst4 != SAME || c->dst6 != SAME) &&
	    (x->at.hook == HOOK_FORWARD || x->at.hook == HOOK_POST);
}

/* By which interface: what this host sends to itself by lo; else we do not know. */
static void
goes_out(struct exec *x, uint32_t i, unsigned r, enum source s)
{
	static const uint8_t lo[16] = {'l', 'o'};

	if (!rule_now(x)->local)
		reg_lost(x, r, source_row(s)->bytes, i);
	else if (s == S_OIFX)
		reg_number(x, r, 1);
	else
		reg_fixed(x, r, lo, sizeof lo);
}

static fdd_ref
meta(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	bool in = x->at.way != WAY_OUTPUT, out = x->at.hook != HOOK_PRE && x->at.hook != HOOK_IN;
	unsigned r = e->u.meta.dreg;
	struct changed c = *rule_now(x);

	if (e->u.meta.sreg != NL_NO_REG) {
		if (e->u.meta.key != META_MARK)
			return rule_go(x, i + 1);
		mark_store(x, e->u.meta.sreg, S_MARK, &c);
		return rule_change(x, i, &c);
	}
	switch (e->u.meta.key) {
	case META_PROTOCOL:
		reg_source(x, r, S_ETHERTYPE, false);
		break;
	case META_MARK:
		mark_load(x, i, r, S_MARK);
		break;
	case META_IIF:
		interface(x, r, S_IIFX, in, true);
		break;
	case META_OIF:
		if (rerouted(x))
			goes_out(x, i, r, S_OIFX);
		else
			interface(x, r, S_OIFX, out, true);
		break;
	case META_IIFNAME:
		interface(x, r, S_IIF, in, false);
		break;
	case META_OIFNAME:
		if (rerouted(x))
			goes_out(x, i, r, S_OIF);
		else
			interface(x, r, S_OIF, out, false);
		break;
	case META_SKUID:
		return owner(x, i, r, S_UID);
	case META_SKGID:
		return owner(x, i, r, S_LOST);
	case META_NFPROTO:
		reg_source(x, r, S_NFPROTO, false);
		break;
	case META_L4PROTO:
		reg_source(x, r, S_L4PROTO, false);
		break;
	case META_TIME:
		reg_source(x, r, S_TIME, true);
		break;
	default:
		reg_lost(x, r, 16, i);
	}
	return rule_go(x, i + 1);
}

/* Goes on with one set of registers for packets that make a connection, with the other
 * for those of one that is there. Told apart once. */
static fdd_ref
by_newness(struct exec *x, uint32_t i, struct exec *fresh, struct exec *later)
{
	fresh->newness = 1;
	later->newness = 2;
	if (x->newness)
		return rule_go(x->newness == 1 ? fresh : later, i + 1);
	return case_choose(x, case_in_states(x, PACKET_NEW, PACKET_NEW), rule_go(fresh, i + 1),
	    rule_go(later, i + 1));
}

/* The connection's tuple, in a packet that makes it: the packet's own, before NAT. */
static bool
tuple(struct exec *x, unsigned r, uint32_t key)
{
	switch (key) {
	case CT_PROTO_SRC:
		reg_source(x, r, S_SPORT, false);
		return true;
	case CT_PROTO_DST:
		reg_source(x, r, S_DPORT, false);
		return true;
	case CT_SRC_IP:
		reg_source(x, r, S_SRC4, false);
		return true;
	case CT_DST_IP:
		reg_source(x, r, S_DST4, false);
		return true;
	case CT_SRC_IP6:
		reg_source(x, r, S_SRC6, false);
		return true;
	case CT_DST_IP6:
		reg_source(x, r, S_DST6, false);
		return true;
	default:
		return false;
	}
}

static fdd_ref
tuple_load(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	uint32_t key = e->u.ct.key;
	bool ports = key == CT_PROTO_SRC || key == CT_PROTO_DST;
	struct exec y = *x, z = *x;

	if (ports && case_protocols(x, case_has_ports) < 0)
		return case_by_protocol(x, i, case_has_ports);
	if (!ports && key >= CT_SRC_IP && x->families == (1 << ADDR_V4 | 1 << ADDR_V6))
		return case_by_family(x, i);
	if (key >= CT_SRC_IP &&
	    (key <= CT_DST_IP) != (x->families == 1 << ADDR_V4))
		return rule_on(x);
	if (ports && case_protocols(x, case_has_ports) == 0) {
		reg_lost(x, e->u.ct.dreg, 2, i);
		return rule_go(x, i + 1);
	}
	reg_lost(&z, e->u.ct.dreg, 16, i);
	if (key == CT_PROTO_DST)
		reg_source(&z, e->u.ct.dreg, S_CTPORT, false);
	tuple(&y, e->u.ct.dreg, key);
	return by_newness(x, i, &y, &z);
}

/* Status bits of a packet that makes its connection: no reply was seen, and NAT of the
 * destination is what we have followed. Of the others nothing is known. */
static fdd_ref
status(struct exec *x, uint32_t i, unsigned r)
{
	enum { SEEN_REPLY = 2, ASSURED = 4, DST_NAT = 0x20 };
	struct exec fresh = *x, later = *x;
	struct sym *b;

	reg_lost(&fresh, r, 4, i);
	b = reg_fits(r, 4) ? fresh.reg + 4 * r : NULL;
	if (b) {
		b += __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 3;
		b->mask = 0xff & ~(SEEN_REPLY | ASSURED | DST_NAT);
		b->flip = rule_now(x)->nat ? DST_NAT : 0;
	}
	reg_lost(&later, r, 4, i);
	return by_newness(x, i, &fresh, &later);
}

/* An ICMP error is related to a connection whose protocol is another. */
static fdd_ref
protocol(struct exec *x, uint32_t i, unsigned r)
{
	struct exec error = *x, own = *x;

	reg_lost(&error, r, 1, i);
	reg_source(&own, r, S_L4PROTO, false);
	return case_choose(x, case_errors(x->v), rule_go(&error, i + 1), rule_go(&own, i + 1));
}

/* What a connection tells; where there is none the rule ends. */
static fdd_ref
ct_load(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	unsigned r = e->u.ct.dreg;
	struct exec y = *x;
	fdd_ref rest;

	if (x->at.early && rule_now(x)->state == LOST)
		return rule_lost(x, i, "a template of a connection");
	if (x->at.early)
		return rule_on(x);
	switch (e->u.ct.key) {
	case CT_MARK:
		mark_load(&y, i, r, S_CTMARK);
		rest = rule_go(&y, i + 1);
		break;
	case CT_STATUS:
		rest = status(&y, i, r);
		break;
	case CT_L3PROTO:
		reg_source(&y, r, S_NFPROTO, false);
		rest = rule_go(&y, i + 1);
		break;
	case CT_PROTO:
		rest = protocol(x, i, r);
		break;
	case CT_DIRECTION: {
		struct exec z = *x;

		reg_fixed(&y, r, "", 1);
		reg_lost(&z, r, 1, i);
		rest = by_newness(x, i, &y, &z);
		break;
	}
	default:
		if (e->u.ct.dir == 0 && (e->u.ct.key == CT_PROTO_SRC || e->u.ct.key == CT_PROTO_DST ||
		    (e->u.ct.key >= CT_SRC_IP && e->u.ct.key <= CT_DST_IP6))) {
			rest = tuple_load(&y, i, e);
			break;
		}
		reg_lost(&y, r, 16, i);
		rest = rule_go(&y, i + 1);
	}
	if (rule_now(x)->state == FIXED)
		return rule_on(x);
	return guard(x->v, x->state, case_in_states(x, PACKET_NEW, PACKET_RELATED), rest);
}

static fdd_ref
ct(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	struct changed c = *rule_now(x);

	if (e->u.ct.sreg != NL_NO_REG) {
		if (e->u.ct.key != CT_MARK)
			return rule_go(x, i + 1);
		mark_store(x, e->u.ct.sreg, S_CTMARK, &c);
		return rule_change(x, i, &c);
	}
	if (e->u.ct.key != CT_STATE)
		return ct_load(x, i, e);
	if (c.state == FIXED)
		reg_number(x, e->u.ct.dreg, CT_UNTRACKED_BIT);
	else if (x->at.early && c.state == LOST)
		reg_lost(x, e->u.ct.dreg, 4, i);
	else if (x->at.early)
		reg_number(x, e->u.ct.dreg, CT_INVALID_BIT);
	else
		reg_source(x, e->u.ct.dreg, S_STATE, true);
	return rule_go(x, i + 1);
}

static fdd_ref
fib(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	const struct changed *c = rule_now(x);

	if (e->u.fib.result != FIB_ADDRTYPE || e->u.fib.flags != FIB_DADDR)
		reg_lost(x, e->u.fib.dreg, 16, i);
	else if (c->local)
		reg_number(x, e->u.fib.dreg, LOCAL_TYPE);
	else if (c->dst4 != SAME || c->dst6 != SAME)
		reg_lost(x, e->u.fib.dreg, 4, i);
	else
		reg_source(x, e->u.fib.dreg, S_DSTTYPE, true);
	return rule_go(x, i + 1);
}

static fdd_ref
sock(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	if (e->u.socket.key == SOCKET_CGROUP && x->at.way == WAY_OUTPUT) {
		x->level = (uint8_t)e->u.socket.level;
		reg_source(x, e->u.socket.dreg, S_CGROUP, true);
		return rule_go(x, i + 1);
	}
	reg_lost(x, e->u.socket.dreg, 8, i);
	return rule_lost(x, i, "a socket that receives");
}

/* ---- computing ------------------------------------------------------------------------------- */

static fdd_ref
compare(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	const struct nl_bytes *v = &e->u.cmp.v;
	struct vm *vm = x->v;
	fdd_ref c;

	if (!reg_fits(e->u.cmp.sreg, v->n))
		return rule_other(x, i, "a register that is none");
	switch (e->u.cmp.op) {
	case OP_EQ:
	case OP_NEQ:
		c = bytes_equal(x, i, e->u.cmp.sreg, v->p, v->n);
		break;
	case OP_LT:
	case OP_GTE:
		c = cond_not(vm, bytes_between(x, i, e->u.cmp.sreg, v->p, NULL, v->n));
		break;
	case OP_LTE:
	case OP_GT:
		c = bytes_between(x, i, e->u.cmp.sreg, NULL, v->p, v->n);
		break;
	default:
		c = not_known(cause_of(vm, x->rule, i, "a comparison of a kind not known"));
	}
	if (e->u.cmp.op == OP_NEQ || e->u.cmp.op == OP_GTE || e->u.cmp.op == OP_GT)
		c = cond_not(vm, c);
	return rule_guarded(x, i, c);
}

static fdd_ref
range(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	fdd_ref c;

	if (!reg_fits(e->u.range.sreg, e->u.range.from.n))
		return rule_other(x, i, "a register that is none");
	c = bytes_between(x, i, e->u.range.sreg, e->u.range.from.p, e->u.range.to.p,
	    e->u.range.from.n);
	return rule_guarded(x, i, e->u.range.op == OP_NEQ ? cond_not(x->v, c) : c);
}

/* ---- verdicts ---------------------------------------------------------------------------------- */

static fdd_ref
call(struct exec *x, uint32_t i, struct nl_verdict k)
{
	uint32_t chain = chain_find(x->v, x->rule, k.chain);
	fdd_ref r;

	if (chain == UINT32_MAX)
		return rule_other(x, i, "a chain that is not there");
	r = chain_run(x->v, chain, x->at, x->state);
	return k.code == NL_JUMP ? verb_map(x->v, r, V_RETURN, V_NEXT) : r;
}

static fdd_ref
verdict(struct exec *x, uint32_t i, struct nl_verdict k)
{
	switch (k.code) {
	case NL_CONTINUE:
	case NL_BREAK:
		return rule_on(x);
	case NL_RETURN:
		return fdd_leaf(leaf_one(x->v, V_RETURN, x->state));
	case NL_JUMP:
	case NL_GOTO:
		return call(x, i, k);
	case 0:
		return fdd_leaf(leaf_one(x->v, V_DROP, 0));
	case 1:
		return fdd_leaf(leaf_one(x->v, V_ACCEPT, x->state));
	default:
		if ((k.code & 0xff) == 3)
			return fdd_leaf(leaf_one(x->v, V_QUEUE, 0));
		return rule_other(x, i, "a verdict not known");
	}
}

static bool
limits(const struct nl_expr *e, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++)
		if (e[k].kind == NL_LIMIT || e[k].kind == NL_QUOTA || e[k].kind == NL_CONNLIMIT)
			return true;
	return false;
}

static bool
elements_limit(const struct nl_set *s)
{
	for (uint32_t k = 0; k < s->nelem; k++)
		if (s->elem[k].more && limits(s->elem[k].more->expr, s->elem[k].more->nexpr))
			return true;
	return false;
}

static bool
is_written(const struct vm *v, const struct nl_set *s)
{
	return hash_names_find(v->written, (const char *)&s, sizeof s) != UINT32_MAX;
}

/* After the lookup has found what leads to e. */
static fdd_ref
found(struct exec *x, uint32_t i, unsigned dreg, const struct nl_elem *e)
{
	struct exec y = *x;

	if (dreg == NL_NO_REG)
		return rule_go(&y, i + 1);
	if (!e || !e->more)
		return rule_other(x, i, "a map without values");
	if (dreg < NL_DATA_REG)
		return e->more->verdict.code == NL_CONTINUE ? rule_go(&y, i + 1) :
		    verdict(&y, i, e->more->verdict);
	reg_fixed(&y, dreg, e->more->data.p, e->more->data.n);
	return rule_go(&y, i + 1);
}

static fdd_ref
lookup(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	const struct nl_set *s = nl_dump_set(x->v->d, x->rule->family, x->rule->table,
	    e->u.lookup.set);
	struct vm *v = x->v;
	struct found *f;
	fdd_ref none, r, *part;
	size_t n;

	if (!s)
		return rule_other(x, i, "a set that is not there");
	if (is_written(v, s))
		return e->u.lookup.dreg == NL_NO_REG ?
		    rule_lost(x, i, "a set that packets fill") :
		    rule_other(x, i, "a map that packets fill");
	if (!set_find(x, i, s, e->u.lookup.sreg, &f, &n, &none) && e->u.lookup.dreg != NL_NO_REG)
		return rule_other(x, i, "a map that we cannot follow");
	if (e->u.lookup.dreg == NL_NO_REG) {
		r = rule_guarded(x, i, e->u.lookup.invert ? none : cond_not(v, none));
		return elements_limit(s) ? may_go_on(v, x->state, r) : r;
	}
	for (size_t k = 0; k < n && v->packet; k++)
		if (fdd_eval(v->f, f[k].cond, v->packet) == YES)
			v->picked = f[k].of;
	part = arena_array(v->a, n + 1, fdd_ref);
	for (size_t k = 0; k < n; k++)
		part[k] = f[k].cond == NO ? rule_on(x) :
		    guard(v, x->state, f[k].cond, found(x, i, e->u.lookup.dreg, f[k].of));
	r = fdd_fold(v->f, &v->state[x->state]->over, part, n, rule_on(x));
	return elements_limit(s) ? may_go_on(v, x->state, r) : r;
}

static fdd_ref
objref(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	uint32_t type = e->u.objref.type;
	struct vm *v = x->v;
	const struct nl_set *s;
	struct found *f;
	struct exec y = *x;
	fdd_ref none = NO, r;
	size_t n;

	if (e->u.objref.set) {
		s = nl_dump_set(v->d, x->rule->family, x->rule->table, e->u.objref.set);
		if (!s)
			return rule_other(x, i, "a set that is not there");
		set_find(x, i, s, e->u.objref.sreg, &f, &n, &none);
		type = s->obj_type;
	}
	if (type == OBJECT_SYNPROXY)
		return rule_other(x, i, "synproxy");
	r = rule_go(&y, i + 1);
	if (type == OBJECT_QUOTA || type == OBJECT_LIMIT || type == OBJECT_CONNLIMIT)
		r = may_go_on(v, x->state, r);
	return guard(v, x->state, cond_not(v, none), r);
}

/* ---- a rule ------------------------------------------------------------------------------------------ */

static fdd_ref
exthdr(struct exec *x, uint32_t i, const struct nl_expr *e)
{
	if (e->u.exthdr.dreg == NL_NO_REG)
		return rule_go(x, i + 1);
	if (e->u.exthdr.type == EXTHDR_IPV6) {
		if (!(e->u.exthdr.flags & EXTHDR_PRESENT))
			return rule_on(x);
		reg_fixed(x, e->u.exthdr.dreg, "", 1);
		return rule_go(x, i + 1);
	}
	reg_lost(x, e->u.exthdr.dreg, e->u.exthdr.len <= NL_MOST_DATA ? e->u.exthdr.len : 4, i);
	return rule_lost(x, i, "an option that a packet may have");
}

/* What has room for this packet, or has not. */
fdd_ref
rule_perhaps(struct exec *x, uint32_t i)
{
	uint32_t s = x->state;

	return may_go_on(x->v, s, rule_go(x, i + 1));
}

fdd_ref
rule_notrack(struct exec *x, uint32_t i)
{
	struct changed c = *rule_now(x);
	struct exec y;

	/* later it concerns those that tracking has left without a connection */
	if (c.state == FIXED)
		return rule_go(x, i + 1);
	c.state = FIXED;
	if (x->at.early && rule_now(x)->state == SAME)
		return rule_change(x, i, &c);
	if (x->at.early)
		return rule_go(x, i + 1);  /* a template stands there */
	y = *x;
	return case_choose(x, case_in_states(x, PACKET_INVALID, PACKET_INVALID),
	    rule_change(&y, i, &c), rule_go(x, i + 1));
}

fdd_ref
rule_go(struct exec *x, uint32_t i)
{
	const struct nl_expr *e;

	if (i >= x->rule->nexpr)
		return rule_on(x);
	e = &x->rule->expr[i];
	x->now = i;
	switch (e->kind) {
	case NL_PAYLOAD:
		return head_payload(x, i, e);
	case NL_META:
		return meta(x, i, e);
	case NL_CT:
		return ct(x, i, e);
	case NL_FIB:
		return fib(x, i, e);
	case NL_SOCKET:
		return sock(x, i, e);
	case NL_EXTHDR:
		return exthdr(x, i, e);
	case NL_RT:
	case NL_OSF:
	case NL_XFRM:
	case NL_TUNNEL:
		reg_lost(x, e->u.meta.dreg, 16, i);
		return rule_lost(x, i, "not known");
	case NL_NUMGEN:
	case NL_HASH:
		reg_lost(x, e->u.number.dreg, 4, i);
		return rule_go(x, i + 1);
	case NL_CMP:
		return compare(x, i, e);
	case NL_RANGE:
		return range(x, i, e);
	case NL_BITWISE:
		reg_bitwise(x, i, e);
		return rule_go(x, i + 1);
	case NL_BYTEORDER:
		reg_byteorder(x, i, e);
		return rule_go(x, i + 1);
	case NL_LOOKUP:
		return lookup(x, i, e);
	case NL_DYNSET:
		if (e->u.dynset.op == DYNSET_DELETE)
			return rule_go(x, i + 1);
		return rule_perhaps(x, i);
	case NL_OBJREF:
		return objref(x, i, e);
	case NL_IMMEDIATE:
		if (!e->u.immediate.v.n)
			return verdict(x, i, e->u.immediate.verdict);
		reg_fixed(x, e->u.immediate.dreg, e->u.immediate.v.p, e->u.immediate.v.n);
		return rule_go(x, i + 1);
	case NL_REJECT:
		return fdd_leaf(leaf_one(x->v, V_REJECT, 0));
	case NL_NAT:
	case NL_MASQ:
		return rule_nat(x, i, e);
	case NL_REDIR:
		return rule_redirect(x, i, e);
	case NL_QUEUE:
		return fdd_leaf(leaf_one(x->v, V_QUEUE, 0));
	case NL_LIMIT:
	case NL_QUOTA:
	case NL_CONNLIMIT:
		return rule_perhaps(x, i);
	case NL_NOTRACK:
		return rule_notrack(x, i);
	case NL_DUP:
	case NL_FLOW:
	case NL_COUNTER:
	case NL_LOG:
	case NL_LAST:
		return rule_go(x, i + 1);
	case NL_XT_MATCH:
		return xt_match(x, i, e);
	case NL_XT_TARGET:
		return xt_target(x, i, e);
	case NL_UNKNOWN:
	case NL_TPROXY:
	case NL_FWD:
	case NL_SYNPROXY:
	case NL_NKIND:
		break;
	}
	return rule_other(x, i, "an expression that we cannot follow");
}

fdd_ref
rule_run(struct vm *v, const struct nl_rule *r, struct place at, uint32_t s, bool *changes)
{
	struct exec x = {.v = v, .rule = r, .at = at, .state = s};

	memset(x.proto, 0xff, sizeof x.proto);
	x.families = at.family == NF_IP ? 1 << ADDR_V4 : at.family == NF_IP6 ? 1 << ADDR_V6 :
	    1 << ADDR_V4 | 1 << ADDR_V6;
	for (size_t j = 0; j < sizeof x.reg / sizeof *x.reg; j++)
		x.reg[j] = (struct sym){S_LOST, 0, 0xff, 0};
	*changes = false;
	for (uint32_t i = 0; i < r->nexpr && v->marks; i++)
		*changes = *changes || r->expr[i].kind == NL_IMMEDIATE ||
		    r->expr[i].kind == NL_LOOKUP || r->expr[i].kind == NL_META ||
		    r->expr[i].kind == NL_CT || r->expr[i].kind == NL_PAYLOAD ||
		    r->expr[i].kind == NL_NOTRACK || r->expr[i].kind == NL_XT_TARGET;
	return rule_go(&x, 0);
}
