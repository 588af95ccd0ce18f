/*
 * Doctor: whether the rules that are loaded, ours and others', let the forwarder reach its relays, and programs
 * of this host the forwarder (CAM-24). The ruleset is read as lib/vm reads any; each way is a packet of which
 * all is known but its interface and the address at our end.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "flow/fdd.h"
#include "nl/dump.h"
#include "nl/xtread.h"
#include "policy/policy.h"
#include "role/compile.h"
#include "vm/vm.h"

enum {
	MOST_NODES = 1 << 22,
	MOST_STEPS = 1 << 20,      /* of one search */
	MOST_ADDRESSES = 200,      /* of a relay's ranges that are asked about */
	SUBMISSION = 587, EPHEMERAL = 40000,
	TCP_SYN = 0x02, TCP_ACK = 0x10,
	TYPE_UNICAST = 1, TYPE_LOCAL = 2, /* RTN_* */
	HOOK_IN = 1, HOOK_OUT = 3, /* NF_INET_* */
	WORDS = 900,
	PASSES = 1 << VM_PASS | 1 << VM_MOVED | 1 << VM_CAPTURE | 1 << VM_QUEUE,
	REFUSES = 1 << VM_DROP | 1 << VM_REJECT,
};

enum class { CLASS_PASS, CLASS_UNKNOWN, CLASS_REFUSE, CLASS_NONE };

struct ways {
	struct arena *a;
	const struct nl_dump *d;
	struct doctor_list *out;
	struct fdd *f;
	struct vm *v;
	fdd_ref all;
	uint64_t now;
	/* one way */
	u128 x[FLOW_NFIELD], at[MOST_ADDRESSES];
	const char *about;
	enum flow_field far;       /* the address at the other end: DST4, ... */
	unsigned nat;
	bool two;                  /* the relay has addresses of the other family too */
	unsigned steps;            /* of all ways */
};

/* ---- searching ------------------------------------------------------------------------- */

static enum class
class_of(const struct ways *w, fdd_ref leaf)
{
	const struct vm_leaf *l = vm_leaf(w->v, fdd_number(leaf));

	return !(l->fates & ~(uint32_t)PASSES) ? CLASS_PASS : !(l->fates & ~(uint32_t)REFUSES) ? CLASS_REFUSE :
	    CLASS_UNKNOWN;
}

/* The kindest leaf below r; of its packet w->x gets the fields that were open. */
static enum class
kindest(struct ways *w, fdd_ref r)
{
	enum class best = CLASS_NONE;
	u128 keep[FLOW_NFIELD];
	struct fdd_view v;
	u128 lo = 0;

	if (fdd_is_leaf(r))
		return class_of(w, r);
	if (w->steps++ > MOST_STEPS)
		return CLASS_UNKNOWN;
	v = fdd_view(w->f, r);
	for (uint32_t i = 0; i < v.n && best != CLASS_PASS; i++) {
		enum class c;

		w->x[v.field] = i ? lo : field_row(v.field)->first;
		c = kindest(w, v.child[i]);
		if (c < best) {
			best = c;
			memcpy(keep, w->x, sizeof keep);
		}
		lo = fdd_hi(&v, i) + 1;
	}
	memcpy(w->x, keep, sizeof keep);
	return best;
}

/* Adds the addresses at which the diagram changes its mind, so that each kind of address is asked about. */
static void
gather(struct ways *w, fdd_ref r)
{
	struct fdd_view v;

	if (fdd_is_leaf(r) || w->steps++ > MOST_STEPS)
		return;
	v = fdd_view(w->f, r);
	for (uint32_t i = 0; i < v.n; i++) {
		if (v.field == w->far && w->nat < MOST_ADDRESSES)
			w->at[w->nat++] = fdd_hi(&v, i);
		gather(w, v.child[i]);
	}
}

/* ---- telling ------------------------------------------------------------------------------ */

static const char *
family_of(uint8_t family)
{
	return family == 1 ? "inet" : family == 2 ? "ip" : family == 10 ? "ip6" : family == 7 ? "bridge" : "netdev";
}

static bool
is_ours(const char *table)
{
	return !strncmp(table, "mailreeve", 9);
}

/* Who decides over the packet w->x. */
static void
decider(struct ways *w, char out[WORDS], bool *ours, char list[WORDS])
{
	struct vm_decider d;
	struct buf b = BUF_INIT(4096);

	*ours = false;
	snprintf(out, WORDS, "several rules together");
	snprintf(list, WORDS, "nft -a list ruleset");
	if (!vm_decide(w->v, w->x, &d))
		return;
	if (d.rule) {
		for (uint32_t i = 0; i < d.rule->nexpr; i++) {
			if (d.rule->expr[i].kind == NL_COUNTER)
				continue;
			buf_str(&b, b.n ? "; " : "");
			nl_expr_words(&b, &d.rule->expr[i]);
		}
		*ours = is_ours(d.rule->table);
		snprintf(out, WORDS, "a rule of table %s %.60s, chain %.60s (handle %llu%s%.80s%s: %.200s)", family_of(d.rule->family),
		    d.rule->table, d.rule->chain, (unsigned long long)d.rule->handle, d.rule->comment ? ", \"" : "",
		    d.rule->comment ? d.rule->comment : "", d.rule->comment ? "\"" : "", b.p ? b.p : "");
		snprintf(list, WORDS, "nft -a list chain %s %.60s %.60s", family_of(d.rule->family), d.rule->table, d.rule->chain);
	} else if (d.chain) {
		*ours = is_ours(d.chain->table);
		snprintf(out, WORDS, "the policy of table %s %.60s, chain %.60s", family_of(d.chain->family), d.chain->table,
		    d.chain->name);
		snprintf(list, WORDS, "nft -a list chain %s %.60s %.60s", family_of(d.chain->family), d.chain->table, d.chain->name);
	}
	buf_free(&b);
}

static void
address_text(const struct ways *w, u128 n, char out[46])
{
	bool v4 = w->far == FLOW_DST4 || w->far == FLOW_SRC4;

	addr_write((struct addr){.family = v4 ? ADDR_V4 : ADDR_V6, .n = n}, out);
}

/* ---- one way --------------------------------------------------------------------------------- */

/* The diagram of the way, with the far address still open. */
static fdd_ref
narrow(struct ways *w)
{
	static const enum flow_field known[] = {
		FLOW_HOOK, FLOW_LOOPBACK, FLOW_PROTO, FLOW_STATE, FLOW_SYN, FLOW_DPORT, FLOW_FAMILY, FLOW_USER, FLOW_UNIT,
		FLOW_DATE, FLOW_SPORT, FLOW_FLAGS, FLOW_MARK, FLOW_CTMARK, FLOW_CTPORT, FLOW_DSTTYPE,
	};
	fdd_ref r = w->all;

	for (size_t i = 0; i < sizeof known / sizeof known[0] && r != FDD_NONE; i++)
		r = fdd_fix(w->f, r, known[i], w->x[known[i]]);
	return r;
}

/* What becomes of the way's packets, told where it is not well; whether it is. `what` is the way in words, with a %s for
 * the address. */
static bool
look(struct ways *w, const struct addr_set *far, const char *what, const char *then)
{
	bool v4 = w->far == FLOW_DST4 || w->far == FLOW_SRC4, ours;
	size_t n = v4 ? far->n4 : far->n6;
	unsigned asked = 0, refused = 0, unknown = 0;
	char text[46], who[WORDS], list[WORDS], todo[WORDS], way[WORDS];
	u128 bad[FLOW_NFIELD], dim[FLOW_NFIELD];
	fdd_ref r;

	w->x[FLOW_FAMILY] = v4 ? ADDR_V4 : ADDR_V6;
	r = n ? narrow(w) : FDD_NONE;
	if (r == FDD_NONE)
		return true;
	w->nat = 0;
	for (size_t i = 0; i < n && w->nat < MOST_ADDRESSES / 2; i++) {
		w->at[w->nat++] = v4 ? far->v4[i].lo : far->v6[i].lo;
		w->at[w->nat++] = v4 ? far->v4[i].hi : far->v6[i].hi;
	}
	w->steps = 0;
	gather(w, r);
	for (unsigned i = 0; i < w->nat; i++) {
		enum class c;

		if (!addr_set_has(far, (struct addr){.family = v4 ? ADDR_V4 : ADDR_V6, .n = w->at[i]}))
			continue;
		w->x[w->far] = w->at[i];
		w->steps = 0;
		c = kindest(w, fdd_fix(w->f, r, w->far, w->at[i]));
		asked++;
		if (c == CLASS_REFUSE && !refused++)
			memcpy(bad, w->x, sizeof bad);
		if (c == CLASS_UNKNOWN && !unknown++)
			memcpy(dim, w->x, sizeof dim);
	}
	if (!refused && !unknown)
		return true;
	memcpy(w->x, refused ? bad : dim, sizeof w->x);
	address_text(w, w->x[w->far], text);
	snprintf(way, sizeof way, what, text);
	decider(w, who, &ours, list);
	if (refused)
		snprintf(todo, sizeof todo, ours ? "it is a rule of the policy in force: see mailreevectl plan, and let the policy's "
		    "`outbound:` pass the relay" : "let %s pass before it, or take it out: %s", then, list);
	else
		snprintf(todo, sizeof todo, "look whether it lets %.120s pass: %.300s", then, list);
	doctor_add(w->out, DOCTOR_FIREWALL, refused == asked && !w->two ? DOCTOR_FAIL : DOCTOR_WARN, w->about, todo, refused ?
	    "%s %s refused by %s" : "%s %s perhaps refused, which cannot be known, by %s", way,
	    refused && refused < asked ? "(and others, not all of the ranges) is" : "is", who);
	return false;
}

/* A connection of the forwarder to one port of a relay: its first packet, and what comes back. */
static bool
look_at_port(struct ways *w, const struct policy_relay *r, uint16_t port, bool v4)
{
	struct addr_set one = {0};
	const struct addr_set *far = &r->ranges.set;
	char there[200], back[200], then[120];
	bool loop;

	/* a literal is the one address that counts */
	if (r->host_literal) {
		addr_set_add(w->a, &one, r->host_addr.family, r->host_addr.n, r->host_addr.n);
		addr_set_finish(&one);
		far = &one;
	}
	w->two = far->n4 && far->n6;
	loop = v4 ? far->n4 && far->v4[0].lo >> 24 == 127 : far->n6 && far->v6[0].lo == 1;
	snprintf(there, sizeof there, "tcp to %%s port %u", port);
	snprintf(back, sizeof back, "what %%s port %u answers", port);
	snprintf(then, sizeof then, "tcp to port %u of the relay, and what it answers,", port);
	memset(w->x, 0, sizeof w->x);
	w->x[FLOW_HOOK] = PACKET_OUTPUT;
	w->x[FLOW_LOOPBACK] = loop;
	w->x[FLOW_PROTO] = IPPROTO_TCP;
	w->x[FLOW_STATE] = PACKET_NEW;
	w->x[FLOW_SYN] = 1;
	w->x[FLOW_FLAGS] = TCP_SYN;
	w->x[FLOW_DPORT] = port;
	w->x[FLOW_SPORT] = EPHEMERAL;
	w->x[FLOW_CTPORT] = port;
	w->x[FLOW_USER] = getuid();
	w->x[FLOW_DATE] = w->now;
	w->x[FLOW_DSTTYPE] = loop ? TYPE_LOCAL : TYPE_UNICAST;
	w->far = v4 ? FLOW_DST4 : FLOW_DST6;
	if (!look(w, far, there, then))
		return false;
	w->x[FLOW_HOOK] = PACKET_INPUT;
	w->x[FLOW_STATE] = PACKET_ESTABLISHED;
	w->x[FLOW_SYN] = 0;
	w->x[FLOW_FLAGS] = TCP_ACK;
	w->x[FLOW_DPORT] = EPHEMERAL;
	w->x[FLOW_SPORT] = port;
	w->x[FLOW_USER] = FLOW_USER_NONE;
	w->x[FLOW_DSTTYPE] = TYPE_LOCAL;
	w->far = v4 ? FLOW_SRC4 : FLOW_SRC6;
	return look(w, far, back, then);
}

/* A program of this host to the forwarder. */
static bool
look_at_listener(struct ways *w, struct addr at)
{
	struct addr_set one = {0};
	char what[120];
	bool v4 = at.family == ADDR_V4, well;

	addr_set_add(w->a, &one, at.family, at.n, at.n);
	addr_set_finish(&one);
	memset(w->x, 0, sizeof w->x);
	w->x[FLOW_HOOK] = PACKET_OUTPUT;
	w->x[FLOW_LOOPBACK] = 1;
	w->x[FLOW_PROTO] = IPPROTO_TCP;
	w->x[FLOW_STATE] = PACKET_NEW;
	w->x[FLOW_SYN] = 1;
	w->x[FLOW_FLAGS] = TCP_SYN;
	w->x[FLOW_DPORT] = w->x[FLOW_CTPORT] = SUBMISSION;
	w->x[FLOW_SPORT] = EPHEMERAL;
	w->x[FLOW_DATE] = w->now;
	w->x[FLOW_DSTTYPE] = TYPE_LOCAL;
	w->far = v4 ? FLOW_DST4 : FLOW_DST6;
	snprintf(what, sizeof what, "tcp from programs of this host to %%s port %d", SUBMISSION);
	w->two = false;
	well = look(w, &one, what, "what goes over the interface lo");
	w->x[FLOW_HOOK] = PACKET_INPUT;
	w->x[FLOW_USER] = FLOW_USER_NONE;
	return well && look(w, &one, what, "what goes over the interface lo");
}

/* Others' chains that see what comes in or goes out. */
static void
others(const struct ways *w, char out[WORDS])
{
	size_t at = 0, n = 0;

	out[0] = '\0';
	for (uint32_t i = 0; i < w->d->nchain; i++) {
		const struct nl_chain *c = &w->d->chain[i];

		if (!c->base || is_ours(c->table) || (c->hook != HOOK_IN && c->hook != HOOK_OUT))
			continue;
		if (n++ < 6)
			at += (size_t)snprintf(out + at, WORDS - at, "%s%s %.40s/%.40s", at ? ", " : "", family_of(c->family), c->table,
			    c->name);
	}
	if (n > 6)
		snprintf(out + at, WORDS - at, " and %zu more", n - 6);
}

void
compile_ways(struct arena *a, const struct policy *p, const struct nl_dump *d, uint64_t now, struct doctor_list *out)
{
	struct ways w = {.a = a, .d = d, .out = out, .now = now, .about = "", .f = fdd_new(MOST_NODES)};
	char who[WORDS];
	bool well = true;

	w.v = vm_new(w.f, d, NULL);
	w.all = vm_read(w.v);
	if (w.all == FDD_NONE) {
		doctor_add(out, DOCTOR_FIREWALL, DOCTOR_NOT, "", "", "the rules of this host are too many to be read");
	} else {
		for (size_t i = 0; i < p->submission.nlisten; i++)
			well = look_at_listener(&w, p->submission.listen[i]) && well;
		for (size_t i = 0; i < p->nrelay; i++) {
			const struct policy_relay *r = p->relay[i];

			w.about = r->meta.name;
			for (size_t e = 0; r->host && e < r->nendpoint; e++) {
				well = look_at_port(&w, r, r->endpoint[e].port, true) && well;
				well = look_at_port(&w, r, r->endpoint[e].port, false) && well;
			}
		}
		others(&w, who);
		if (well)
			doctor_add(out, DOCTOR_FIREWALL, DOCTOR_PASS, "", "", "no rule of this host stands between programs, the forwarder and "
			    "its relays%s%s", *who ? "; looked at, beside our own: " : "; there are none but our own", who);
	}
	vm_free(w.v);
	fdd_free(w.f);
}
