/*
 * judge: the statements of one judge as the rules of one chain.
 *
 * The chain sees what the entry sends it: new TCP connections to the ports
 * that matter, from inside to outside (or the other way). A match that this
 * makes sure of is left out, and so is a rule that can meet no packet. Where an
 * allowed packet is no different from an untouched one, a statement that allows
 * only what nothing behind it refuses needs no rule.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "plan/lower.h"

static const char *const kind_word[] = {
	[POLICY_EXEMPT] = "exempt",
	[POLICY_RELAY] = "relay",
	[POLICY_BLOCK] = "block",
	[POLICY_ROAMING] = "roaming",
	[POLICY_OTHERWISE] = "otherwise",
};

static const char *const dir_word[] = {
	[POLICY_OUTBOUND] = "outbound",
	[POLICY_INBOUND] = "inbound",
};

const char *
lower_judge_name(struct lower *l, const struct policy_judge *j)
{
	if (l->pt->kind == POLICY_HOST)
		return dir_word[j->dir];
	return arena_printf(l->a, "%s-%s", j->zone->meta.name, dir_word[j->dir]);
}

static bool
refuses(const struct policy_stmt *s)
{
	return s->kind == POLICY_BLOCK || (s->kind == POLICY_OTHERWISE && s->deny);
}

static bool
speaks(const struct policy_stmt *s)
{
	return s->kind != POLICY_OTHERWISE || s->deny;
}

bool
lower_refuses(const struct policy_judge *j)
{
	if (!j->present)
		return false;
	for (size_t i = 0; i < j->nstmt; i++)
		if (refuses(j->stmt[i]))
			return true;
	return j->nlimit > 0;
}

/* ---- ports ------------------------------------------------------------------ */

static void
see(struct lower *l, struct seen *x, const struct port_set *s)
{
	struct port_set both = {0};

	if (x->all && !x->limited)
		return;
	port_set_union(l->a, &both, &x->set, s);
	x->set = both;
	if (port_set_covers(&both, &port_set_all)) {
		x->all = true;
		x->limited = false;
	}
}

struct seen
lower_join(struct lower *l, const struct seen *x, const struct seen *y)
{
	struct seen z = *x;

	if (y->all) {
		z.limited = y->limited && (!x->all || x->limited);
		z.all = true;
	}
	see(l, &z, &y->set);
	return z;
}

/* Sees what an allowing statement lets pass. All ports, where only limits make that of interest,
 * are not listed: their destinations are. */
static void
see_allowed(struct lower *l, struct seen *x, const struct port_set *s, bool limits)
{
	if (!limits || !port_set_covers(s, &port_set_all)) {
		see(l, x, s);
	} else if (!x->all) {
		x->all = true;
		x->limited = true;
	}
}

/* The ports of a relay's statement, for what goes to (or comes from) its ranges;
 * `own`: for what the relay itself sends out. */
static const struct port_set *
relay_ports(const struct policy_stmt *s, bool own)
{
	if (s->own_ports)
		return &s->ports.set;
	if (s->relay->ports_all || (own && s->dir == POLICY_OUTBOUND))
		return &port_set_all;
	return &s->relay->ports;
}

/* Whether the relay may stand inside, so that what it sends is judged here. */
static bool
relay_inside(struct lower *l, const struct policy_stmt *s)
{
	const struct addr_set *r = &s->relay->ranges.set;
	const struct addr_set *in = &s->zone->inside.set;

	return l->pt->kind == POLICY_HOST || lower_meets(ADDR_V4, r, in) ||
	    lower_meets(ADDR_V6, r, in);
}

bool
lower_seen(struct lower *l, const struct policy_judge *j, struct seen *out)
{
	bool allowed = l->chains || j->nlimit > 0, narrow = !l->chains;
	struct seen x = {0};

	if (!j->present)
		return false;
	for (size_t i = 0; i < j->nlimit; i++)
		narrow = narrow && !lower_all(ADDR_V4, &j->limit[i].to.set) &&
		    !lower_all(ADDR_V6, &j->limit[i].to.set);
	for (size_t i = 0; i < j->nstmt; i++) {
		const struct policy_stmt *s = j->stmt[i];

		if (!speaks(s) || (!refuses(s) && !allowed))
			continue;
		if (refuses(s)) {
			see(l, &x, &s->ports.set);
		} else if (s->kind != POLICY_RELAY) {
			see_allowed(l, &x, &s->ports.set, narrow);
		} else {
			see_allowed(l, &x, relay_ports(s, false), narrow);
			if (relay_inside(l, s))
				see_allowed(l, &x, relay_ports(s, true), narrow);
		}
	}
	*out = x;
	return x.all || x.set.n > 0;
}

struct port_set
lower_visible(struct lower *l, const struct seen *x, const struct port_set *s)
{
	struct port_set both = {0};

	if (x->all)
		return *s;
	port_set_and(l->a, &both, &x->set, s);
	return both;
}

/* ---- one statement --------------------------------------------------------------- */

/* One rule to be: who, to whom, where. */
struct clause {
	const struct policy_where *from, *to;
	const char *from_name, *to_name;
	const struct port_set *ports;
	const char *port_label;
};

/* Where in a family a clause applies. */
struct reach {
	bool here;                 /* packets of this family reach the chain at all */
	bool some;                 /* and the clause may match one */
	bool src, dst;             /* an address must be looked at */
};

static struct reach
reach(struct lower *l, const struct bench *b, enum addr_family f,
    const struct addr_set *src, const struct addr_set *dst)
{
	const struct policy_zone *z = b->judge->zone;
	bool out = b->judge->dir == POLICY_OUTBOUND;
	const struct addr_set *near = out ? src : dst, *far = out ? dst : src;
	bool all_near = lower_all(f, near), all_far = lower_all(f, far);
	struct reach x = {.here = true};

	if (l->pt->kind == POLICY_ROUTER) {
		x.here = lower_count(f, &z->inside.set) > 0 &&
		    !lower_all(f, &z->internal);
		x.some = x.here && (all_near || lower_meets(f, near, &z->inside.set)) &&
		    lower_count(f, far) && (all_far || !lower_inside(f, far, &z->internal));
		all_near = all_near || (x.some && lower_inside(f, &z->inside.set, near));
	} else {
		x.some = lower_count(f, near) && lower_count(f, far);
	}
	x.src = out ? !all_near : !all_far;
	x.dst = out ? !all_far : !all_near;
	return x;
}

/* The name for a set of the addresses of w. */
static const char *
where_name(const struct policy_where *w, const char *other)
{
	return w->network && w->network->meta.name ? w->network->meta.name : other;
}

/* Emits r for the clause, in as few rules as the families need. */
static void
emit_clause(struct lower *l, const struct bench *b, uint32_t chain,
    const struct clause *c, const struct draft *r)
{
	static const enum addr_family family[] = {ADDR_V4, ADDR_V6};
	struct port_set ports = lower_visible(l, &b->seen, c->ports);
	bool all_ports = b->seen.all ? port_set_covers(&ports, &port_set_all) :
	    port_set_equal(&ports, &b->seen.set);
	struct reach x[2];

	if (!ports.n)
		return;
	for (int i = 0; i < 2; i++)
		x[i] = reach(l, b, family[i], &c->from->set, &c->to->set);
	for (int i = 0; i < 2; i++) {
		bool plain = !x[i].src && !x[i].dst;
		const struct reach *other = &x[!i];
		struct draft one = draft_new(r->r.verdict);

		if (!x[i].some)
			continue;
		if (plain && i == 1 && x[0].some && !x[0].src && !x[0].dst)
			continue;          /* one rule speaks for both families */
		if (plain && other->here && (!other->some || other->src || other->dst))
			draft_value(&one, PLAN_NFPROTO, PLAN_IS, i ? 10 : 2);
		if (x[i].src)
			draft_addr(l, &one, PLAN_SADDR4, PLAN_IS, family[i],
			    &c->from->set, where_name(c->from, c->from_name));
		if (x[i].dst)
			draft_addr(l, &one, PLAN_DADDR4, PLAN_IS, family[i],
			    &c->to->set, where_name(c->to, c->to_name));
		if (!all_ports)
			draft_ports(l, &one, &ports, c->port_label);
		for (uint32_t k = 0; k < r->nmatch; k++)
			one.match[one.nmatch++] = r->match[k];
		one.r = r->r;
		lower_emit(l, chain, &one);
	}
}

/* The clauses of a statement; gives their number, at most 2. */
static int
clauses(struct lower *l, const struct policy_stmt *s, const struct policy_where *any,
    struct clause c[2])
{
	const struct policy_relay *y = s->relay;
	const char *name = s->meta.name;

	switch (s->kind) {
	case POLICY_EXEMPT:
	case POLICY_BLOCK:
	case POLICY_ROAMING:
		c[0] = (struct clause){.from = &s->from, .to = &s->to,
		    .from_name = arena_printf(l->a, "%s-from", name),
		    .to_name = arena_printf(l->a, "%s-to", name),
		    .ports = &s->ports.set, .port_label = s->ports.label};
		break;
	case POLICY_OTHERWISE:
		c[0] = (struct clause){.from = any, .to = any,
		    .ports = &s->ports.set, .port_label = "mail"};
		return s->deny;
	case POLICY_RELAY: {
		struct clause far = {.from = &y->clients, .to = &y->ranges,
		    .from_name = arena_printf(l->a, "%s-clients", y->meta.name),
		    .to_name = y->meta.name,
		    .port_label = s->own_ports ? s->ports.label : y->meta.name};
		struct clause own = {.from = &y->ranges, .to = any,
		    .from_name = y->meta.name,
		    .port_label = far.port_label};

		far.ports = relay_ports(s, false);
		own.ports = relay_ports(s, true);
		/* outbound: towards the ranges, or sent by them from inside;
		 * inbound: sent by them, or towards them inside */
		c[0] = s->dir == POLICY_OUTBOUND ? far : own;
		c[1] = s->dir == POLICY_OUTBOUND ? own : far;
		return s->dir == POLICY_INBOUND || relay_inside(l, s) ? 2 : 1;
	}
	}
	return 1;
}

const char *
lower_stmt_comment(struct lower *l, const struct policy_stmt *s)
{
	const char *word = kind_word[s->kind];
	const char *name = s->relay ? s->relay->meta.name : s->meta.name;

	if (s->kind == POLICY_OTHERWISE)
		return lower_comment(l, &s->meta, "otherwise: deny");
	if (!name || !strncmp(name, word, strlen(word)))
		return lower_comment(l, &s->meta, "%s", name ? name : word);
	return lower_comment(l, &s->meta, "%s %s", word, name);
}

const char *
lower_limit_name(struct lower *l, const struct policy_judge *j, size_t i)
{
	return arena_printf(l->a, "%s-limit-%zu", lower_judge_name(l, j), i + 1);
}

const char *
lower_limit_comment(struct lower *l, const struct policy_limit *t)
{
	const char *name = t->meta.name;

	if (!name || !strncmp(name, "limit", 5))
		return lower_comment(l, &t->meta, "%s", name ? name : "limit");
	return lower_comment(l, &t->meta, "limit %s", name);
}

static const char *
log_prefix(struct lower *l, const char *name)
{
	return arena_printf(l->a, "mailreeve %s%.*s: ", l->pt->observe ? "observe " : "",
	    PLAN_PREFIX - 24, name);
}

/* What a refusing rule does: verdict, counter, log; in mode observe, what it would have
 * done, and on as allowed. */
static void
refuse(struct lower *l, struct draft *r, enum plan_verdict_kind how, bool log,
    uint32_t counter, struct plan_verdict on)
{
	r->r.counter = counter;
	if (log || l->pt->observe)
		r->r.log = log_prefix(l, l->plan->counter[counter].name);
	r->r.verdict = l->pt->observe ? on : VERDICT(how);
	r->r.observed = l->pt->observe ? how : PLAN_GO_ON;
}

static struct draft
stmt_draft(struct lower *l, const struct bench *b, const struct policy_stmt *s,
    struct plan_verdict allow)
{
	struct draft r = draft_new(allow);

	r.r.stmt = s->id;
	r.r.at = s->meta.at;
	r.r.comment = lower_stmt_comment(l, s);
	if (refuses(s))
		refuse(l, &r, b->nat ? PLAN_DO_REDIRECT : s->with == POLICY_REJECT ?
		    PLAN_DO_REJECT : PLAN_DO_DROP, s->log, lower_counter(l, s), b->pass);
	else if (s->kind == POLICY_EXEMPT && !b->nat)
		r.r.counter = lower_counter(l, s);
	return r;
}

/* `system.slice/apache2.service` has two levels. */
static uint32_t
levels(const char *path)
{
	uint32_t n = 1;

	for (; *path; path++)
		n += *path == '/' && path[1];
	return n;
}

static bool
writable(const char *s)
{
	for (; *s; s++)
		if (*s == '"' || *s == '*' || (unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	return true;
}

/* Adds the user and gives the units to add one by one; false with a diagnostic. */
static bool
owner_ok(struct lower *l, const struct policy_stmt *s)
{
	for (size_t i = 0; i < s->nuser + s->nunit; i++) {
		const char *w = i < s->nuser ? s->user[i] : s->unit[i - s->nuser];

		if (!writable(w) || !*w) {
			diag_hint(l->d, diag_add(l->d, DIAG_E0804, s->meta.at,
			    "`%s` has a character that no rule can hold", w),
			    "name it without quotes, asterisks and control characters");
			return false;
		}
	}
	if (l->pt->kind == POLICY_HOST && s->dir == POLICY_OUTBOUND)
		return true;
	diag_hint(l->d, diag_add(l->d, DIAG_E0803, s->meta.at,
	    "`users` and `units` are known only for what a host sends itself"),
	    "use them in `outbound` of a host point");
	return false;
}

static void
add_users(struct lower *l, struct draft *r, const struct policy_stmt *s)
{
	struct draft_match *m;

	if (s->nuser == 1)
		draft_text(r, PLAN_SKUID, s->user[0], 0);
	if (s->nuser < 2)
		return;
	draft_text(r, PLAN_SKUID, NULL, 0);
	m = &r->match[r->nmatch - 1];
	m->m.set = lower_set(l, (struct plan_set){.kind = PLAN_SET,
	    .key = PLAN_KEY_UID, .n = s->nuser, .user = s->user});
}

static void
emit_stmt(struct lower *l, const struct bench *b, uint32_t chain,
    const struct policy_stmt *s, const struct policy_where *any,
    struct plan_verdict allow)
{
	size_t units = s->nunit ? s->nunit : 1;
	struct clause c[2];
	int n = clauses(l, s, any, c);

	for (int i = 0; i < n; i++)
		for (size_t u = 0; u < units; u++) {
			struct draft r = stmt_draft(l, b, s, allow);

			add_users(l, &r, s);
			if (s->nunit)
				draft_text(&r, PLAN_CGROUP, s->unit[u], levels(s->unit[u]));
			draft_days(&r, &s->meta.days);
			emit_clause(l, b, chain, &c[i], &r);
		}
}

/* ---- limits ----------------------------------------------------------------- */

/* most in seconds as a kernel rate: exact in the smallest unit that is, else the greatest
 * that is not more. */
static bool
rate_of(const struct policy_limit *t, struct plan_limit *out)
{
	static const uint32_t unit[] = {1, 60, 3600, 86400, 604800};
	uint64_t rate;

	*out = (struct plan_limit){.meter = PLAN_NONE, .burst = (uint32_t)t->most};
	/* in the words of the policy where the kernel has them: 60 an hour */
	for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
		if (unit[i] == t->seconds) {
			out->rate = t->most;
			out->unit = unit[i];
			return true;
		}
	for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
		if (t->most * unit[i] % t->seconds == 0) {
			out->rate = t->most * unit[i] / t->seconds;
			out->unit = unit[i];
			return true;
		}
	rate = t->most * 604800 / t->seconds;
	out->rate = rate;
	out->unit = 604800;
	return rate > 0;
}

static bool
limit_ok(struct lower *l, const struct policy_limit *t, struct plan_limit *out)
{
	enum { MOST_A_SECOND = 100000 };

	if (t->most == 0 || t->seconds == 0 || t->most > UINT32_MAX ||
	    t->seconds > 366 * 86400u || t->most / t->seconds > MOST_A_SECOND) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0802, t->meta.at,
		    "the kernel cannot count %llu connections in %llu seconds",
		    (unsigned long long)t->most, (unsigned long long)t->seconds),
		    "at most %d a second, and a window of at most a year",
		    (int)MOST_A_SECOND);
		return false;
	}
	if (!rate_of(t, out)) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0801, t->meta.at,
		    "the kernel's slowest limit is one connection a week"),
		    "limit more connections, or a shorter window");
		return false;
	}
	return true;
}

static uint32_t
meter_of(struct lower *l, enum addr_family f, const char *name,
    const struct plan_limit *k)
{
	/* until a bucket has filled again; then a new one is the same */
	uint64_t full = ((uint64_t)k->burst * k->unit + k->rate - 1) / k->rate;

	return lower_set(l, (struct plan_set){
		.name = lower_name(l, NAME_SET, "%s-%c", name, f == ADDR_V4 ? '4' : '6'),
		.kind = PLAN_METER,
		.key = f == ADDR_V4 ? PLAN_KEY_IPV4 : PLAN_KEY_IPV6,
		.timeout = (uint32_t)full, .size = PLAN_METER_SIZE,
	});
}

/* The chain of one limit: under it, back; over it, the action. */
static uint32_t
limit_chain(struct lower *l, const struct bench *b, const struct policy_limit *t,
    const char *name, const char *comment)
{
	enum plan_verdict_kind how = t->over == POLICY_OVER_REJECT ? PLAN_DO_REJECT :
	    t->over == POLICY_OVER_DROP ? PLAN_DO_DROP : PLAN_GO_ON;
	uint32_t chain = lower_chain(l, name), counter;
	struct plan_limit k;
	struct draft r;

	if (!limit_ok(l, t, &k))
		return chain;
	for (int i = 0; i < 2; i++) {
		enum addr_family f = i ? ADDR_V6 : ADDR_V4;
		bool here = l->pt->kind == POLICY_HOST ||
		    lower_count(f, &b->judge->zone->inside.set);

		if (t->each != POLICY_EACH_SOURCE && i)
			break;             /* one bucket for both families */
		if (t->each == POLICY_EACH_SOURCE && (!here || !lower_count(f, &t->to.set)))
			continue;
		r = draft_new(VERDICT(PLAN_DO_RETURN));
		r.r.limit = k;
		if (t->each == POLICY_EACH_SOURCE) {
			r.r.limit.meter = meter_of(l, f, name, &k);
			r.r.limit.prefix = i ? 64 : 32;
		}
		r.r.comment = comment;
		r.r.at = t->meta.at;
		lower_emit(l, chain, &r);
	}
	r = draft_new(VERDICT(PLAN_GO_ON));
	r.r.comment = comment;
	r.r.at = t->meta.at;
	counter = lower_counter_new(l, name);
	if (how != PLAN_GO_ON) {
		refuse(l, &r, how, false, counter, VERDICT(PLAN_GO_ON));
		r.r.observed = PLAN_GO_ON; /* limits are never exceeded in plan_eval() */
	} else {
		r.r.counter = counter;
		r.r.log = log_prefix(l, l->plan->counter[counter].name);
	}
	lower_emit(l, chain, &r);
	return chain;
}

/* The chain that an allowed packet goes to where there are limits. */
static uint32_t
limits(struct lower *l, const struct bench *b, const struct policy_where *any)
{
	const struct policy_judge *j = b->judge;
	const char *base = arena_printf(l->a, "%s%s", lower_judge_name(l, j),
	    b->forwarded ? "-forwarded" : "");
	uint32_t chain = lower_chain(l, arena_printf(l->a, "%s-allowed", base));
	struct draft r;

	for (size_t i = 0; i < j->nlimit; i++) {
		const struct policy_limit *t = &j->limit[i];
		const char *name = arena_printf(l->a, "%s%s", lower_limit_name(l, j, i),
		    b->forwarded ? "-forwarded" : "");
		const char *comment = lower_limit_comment(l, t);
		struct clause c = {.from = any, .to = &t->to, .ports = &port_set_all,
		    .to_name = name};
		struct bench wide = *b;

		wide.seen = (struct seen){.all = true};
		r = draft_new(TO_CHAIN(PLAN_DO_JUMP, limit_chain(l, b, t, name, comment)));
		r.r.comment = comment;
		r.r.at = t->meta.at;
		draft_days(&r, &t->meta.days);
		emit_clause(l, &wide, chain, &c, &r);
	}
	if (b->pass.kind != PLAN_DO_RETURN) {
		r = draft_new(b->pass);
		lower_emit(l, chain, &r);
	}
	return chain;
}

/* ---- the chain ------------------------------------------------------------- */

/* Whether a packet that s allows could be refused by a statement behind it;
 * refused: their ports. */
static bool
matters(struct lower *l, const struct policy_stmt *s, const struct seen *refused)
{
	struct port_set x;

	if (s->kind != POLICY_RELAY)
		return lower_visible(l, refused, &s->ports.set).n > 0;
	x = lower_visible(l, refused, relay_ports(s, false));
	return x.n || (relay_inside(l, s) && lower_visible(l, refused, relay_ports(s, true)).n);
}

uint32_t
lower_judge(struct lower *l, const struct bench *b)
{
	const struct policy_judge *j = b->judge;
	bool special = !b->nat && (l->chains || j->nlimit);
	struct policy_where any = {.at = TEXT_NO_SPAN, .any = true};
	struct plan_verdict allow = b->pass;
	struct seen *behind;
	bool *done;
	uint32_t chain;

	addr_set_all(l->a, &any.set, ADDR_BOTH);
	/* what is refused behind each statement */
	behind = arena_array(l->a, j->nstmt + 1, struct seen);
	for (size_t i = j->nstmt; i--; ) {
		behind[i] = behind[i + 1];
		if (refuses(j->stmt[i]))
			see(l, &behind[i], &j->stmt[i]->ports.set);
	}
	if (j->nlimit && !b->nat)
		allow = TO_CHAIN(PLAN_DO_GOTO, limits(l, b, &any));
	chain = lower_chain(l, arena_printf(l->a, "%s%s", lower_judge_name(l, j),
	    b->nat ? "-captured" : b->forwarded ? "-forwarded" : ""));
	/* exemptions all lead to the same place, so which comes first is no matter */
	done = lower_group(l, b, chain, allow);
	for (size_t i = 0; i < j->nstmt; i++) {
		const struct policy_stmt *s = j->stmt[i];

		if (done[i] || !speaks(s))
			continue;
		if ((s->nuser || s->nunit) && (!owner_ok(l, s) || !b->local))
			continue;
		if (!refuses(s) && !special && !matters(l, s, &behind[i + 1]))
			continue;
		emit_stmt(l, b, chain, s, &any, allow);
	}
	return chain;
}
