/* The store: leaves, limits and names as numbers, and what is read from them. */
#include "flow/inside.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cgroup.h"
#include "base/hash.h"
#include "policy/policy.h"

/* A leaf without padding, so that equal leaves are equal bytes. */
struct key {
	const struct policy_stmt *stmt[FLOW_LEAF_STMTS];
	uint32_t limits;
	uint8_t verdict, observe, nstmt, more;
};

uint32_t
flow_leaf_number(struct flow *f, const struct flow_leaf *l)
{
	struct key k = {.limits = l->limits, .verdict = (uint8_t)l->verdict,
	    .observe = l->observe, .nstmt = l->nstmt, .more = l->more};
	uint32_t i;
	int fresh;

	assert(l->nstmt <= FLOW_LEAF_STMTS);
	for (unsigned s = 0; s < l->nstmt; s++)
		k.stmt[s] = l->stmt[s];
	i = hash_names_add(f->leaves, (const char *)&k, sizeof k, &fresh);
	if (fresh) {
		struct flow_leaf *x = &ARENA_PUSH(f->a, f->leaf, f->nleaf, f->capleaf);

		*x = *l;
		for (unsigned s = l->nstmt; s < FLOW_LEAF_STMTS; s++)
			x->stmt[s] = NULL;
	}
	return i;
}

uint32_t
flow_effect(const struct flow_leaf *l)
{
	assert(l->limits < 1u << 27);
	return (uint32_t)l->verdict | (uint32_t)l->observe << 3 | l->limits << 4;
}

/* ---- limits -------------------------------------------------------------- */

static const char *
span_of(uint64_t s, uint64_t *n)
{
	static const struct {
		uint64_t seconds;
		const char *word;
	} unit[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};

	for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
		if (s && s % unit[i].seconds == 0) {
			*n = s / unit[i].seconds;
			return unit[i].word;
		}
	}
	*n = s;
	return "second";
}

/* The text is the identity: two limits that read alike count alike. */
static const char *
limit_text(struct arena *a, const struct policy_limit *l)
{
	static const char *const over[] = {
		[POLICY_OVER_WARN] = "warn", [POLICY_OVER_REFUSE] = "refuse",
		[POLICY_OVER_DEFER] = "defer", [POLICY_OVER_DELAY] = "delay",
		[POLICY_OVER_LOG] = "log", [POLICY_OVER_REJECT] = "reject",
		[POLICY_OVER_DROP] = "drop",
	};
	static const char *const each[] = {
		[POLICY_EACH_ALL] = "", [POLICY_EACH_SOURCE] = " for each source",
		[POLICY_EACH_HOST] = " for each host",
		[POLICY_EACH_APPLICATION] = " for each application",
		[POLICY_EACH_SENDER] = " for each sender",
		[POLICY_EACH_RELAY] = " for each relay",
	};
	uint64_t n;
	const char *word = span_of(l->seconds, &n);
	const char *per = n == 1 ? arena_printf(a, "%s %s", word[0] == 'h' ? "an" : "a", word) :
	    arena_printf(a, "in %llu %ss", (unsigned long long)n, word);

	return arena_printf(a, "at most %llu connection%s %s%s, else %s",
	    (unsigned long long)l->most, l->most == 1 ? "" : "s", per, each[l->each],
	    over[l->over]);
}

static uint32_t
set_number(struct flow *f, const uint32_t *v, size_t n)
{
	struct flow_limits *s;
	struct buf b = BUF_INIT(65536);
	uint32_t *copy;
	uint32_t i;
	int fresh;

	i = hash_names_add(f->sets, (const char *)v, n * sizeof *v, &fresh);
	if (!fresh)
		return i;
	copy = arena_array(f->a, n ? n : 1, uint32_t);
	for (size_t k = 0; k < n; k++) {
		copy[k] = v[k];
		if (k)
			buf_str(&b, "; ");
		buf_str(&b, hash_names_at(f->limit, v[k]));
	}
	s = &ARENA_PUSH(f->a, f->set, f->nset, f->capset);
	*s = (struct flow_limits){copy, n, arena_strn(f->a, b.p ? b.p : "", b.n)};
	buf_free(&b);
	return i;
}

uint32_t
flow_limits_one(struct flow *f, const struct policy_limit *l)
{
	const char *s = limit_text(f->a, l);
	uint32_t i = hash_names_add(f->limit, s, strlen(s), NULL);

	return set_number(f, &i, 1);
}

uint32_t
flow_limits_both(struct flow *f, uint32_t a, uint32_t b)
{
	const struct flow_limits *x = &f->set[a], *y = &f->set[b];
	uint32_t *v;
	size_t n = 0;

	if (!a || !b)
		return a | b;
	v = arena_array(f->a, x->n + y->n, uint32_t);
	for (size_t i = 0, j = 0; i < x->n || j < y->n; ) {
		if (j == y->n || (i < x->n && x->v[i] <= y->v[j]))
			v[n++] = x->v[i++];
		else
			v[n++] = y->v[j++];
	}
	return set_number(f, v, n);
}

const char *
flow_limits_text(struct flow *f, uint32_t limits)
{
	assert(limits < f->nset);
	return f->set[limits].text;
}

/* ---- names --------------------------------------------------------------- */

static bool
decimal(const char *s, u128 *x)
{
	uint64_t n = 0;

	if (!*s || strlen(s) > 10)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		n = 10 * n + (uint64_t)(*s - '0');
	}
	*x = n;
	return n <= UINT32_MAX;
}

u128
flow_user_value(struct flow *f, const char *name, bool add)
{
	uint32_t i;
	u128 x;

	if (!name)
		return FLOW_USER_NONE;
	if (decimal(name, &x))
		return x;
	i = add ? hash_names_add(f->user, name, strlen(name), NULL) :
	    hash_names_find(f->user, name, strlen(name));
	return i == UINT32_MAX ? FLOW_USER_NONE : FLOW_USER_NAMES + i;
}

u128
flow_unit_value(struct flow *f, const char *name, bool add)
{
	uint32_t i;

	if (!name)
		return FLOW_UNIT_NONE;
	i = add ? hash_names_add(f->unit, name, strlen(name), NULL) :
	    hash_names_find(f->unit, name, strlen(name));
	/* A probe may name the unit as systemctl does. */
	if (i == UINT32_MAX && !strchr(name, '/')) {
		name = cgroup_of_unit(f->a, name);
		i = hash_names_find(f->unit, name, strlen(name));
	}
	return i == UINT32_MAX ? FLOW_UNIT_NONE : (u128)i + 1;
}

size_t
flow_user_count(const struct flow *f)
{
	return hash_names_count(f->user);
}

size_t
flow_unit_count(const struct flow *f)
{
	return hash_names_count(f->unit);
}

const char *
flow_user_name(struct flow *f, u128 v)
{
	if (v == FLOW_USER_NONE)
		return "nobody that a policy names";
	if (v < FLOW_USER_NAMES)
		return arena_printf(f->a, "%llu", (unsigned long long)v);
	v -= FLOW_USER_NAMES;
	return v < hash_names_count(f->user) ? hash_names_at(f->user, (uint32_t)v) :
	    "another user";
}

const char *
flow_unit_name(struct flow *f, u128 v)
{
	if (v == FLOW_UNIT_NONE)
		return "none that a policy names";
	return v - 1 < hash_names_count(f->unit) ?
	    hash_names_at(f->unit, (uint32_t)v - 1) : "another unit";
}

const char *
flow_field_name(enum flow_field x)
{
	return field_row(x)->name;
}

const char *
flow_verdict_name(enum flow_verdict v)
{
	static const char *const name[] = {
		[FLOW_UNTOUCHED] = "untouched", [FLOW_ALLOW] = "allow",
		[FLOW_REJECT] = "reject", [FLOW_DROP] = "drop",
		[FLOW_CAPTURE] = "capture",
	};

	return name[v];
}

/* ---- reading --------------------------------------------------------------- */

void
flow_packet(struct flow *f, const struct packet *p, u128 x[FLOW_NFIELD])
{
	bool v4 = p->src.family == ADDR_V4;

	assert(p->src.family == p->dst.family);
	x[FLOW_HOOK] = p->hook;
	x[FLOW_LOOPBACK] = p->loopback;
	x[FLOW_PROTO] = p->proto;
	x[FLOW_STATE] = p->state;
	x[FLOW_SYN] = p->syn;
	x[FLOW_DPORT] = p->dport;
	x[FLOW_FAMILY] = p->src.family;
	x[FLOW_SRC4] = v4 ? p->src.n : 0;
	x[FLOW_DST4] = v4 ? p->dst.n : 0;
	x[FLOW_SRC6] = v4 ? 0 : p->src.n;
	x[FLOW_DST6] = v4 ? 0 : p->dst.n;
	x[FLOW_USER] = flow_user_value(f, p->user, false);
	x[FLOW_UNIT] = flow_unit_value(f, p->unit, false);
	x[FLOW_DATE] = p->date;
	for (enum flow_field k = FLOW_DATE + 1; k < FLOW_NFIELD; k++)
		x[k] = field_row(k)->first;
}

const struct flow_leaf *
flow_eval(struct flow *f, flow_ref r, const struct packet *p)
{
	u128 x[FLOW_NFIELD];

	flow_packet(f, p, x);
	return &f->leaf[fdd_number(fdd_eval(f->fdd, r, x))];
}

uint64_t
flow_eval_until(struct flow *f, flow_ref r, const struct packet *p)
{
	u128 x[FLOW_NFIELD];
	enum flow_verdict now;
	struct fdd_view v;
	uint32_t i;

	flow_packet(f, p, x);
	for (; !fdd_is_leaf(r); r = v.child[fdd_find(&v, x[v.field])]) {
		v = fdd_view(f->fdd, r);
		if (v.field != FLOW_DATE)
			continue;
		/* The last field: the rest of its edges are what the future holds. */
		i = fdd_find(&v, x[FLOW_DATE]);
		now = f->leaf[fdd_number(v.child[i])].verdict;
		for (; i + 1 < v.n; i++)
			if (f->leaf[fdd_number(v.child[i + 1])].verdict != now)
				return (uint64_t)fdd_hi(&v, i) + 1;
		break;
	}
	return UINT64_MAX;
}

uint32_t
flow_count(const struct flow *f)
{
	return fdd_count(f->fdd);
}

struct fdd *
flow_fdd(struct flow *f)
{
	return f->fdd;
}

flow_ref
flow_nothing(const struct flow *f)
{
	(void)f;
	return fdd_leaf(0);
}

static void
leaf_put(void *arg, uint32_t l, struct buf *out)
{
	struct flow *f = arg;
	const struct flow_leaf *x = &f->leaf[l];

	buf_str(out, flow_verdict_name(x->verdict));
	if (x->observe)
		buf_str(out, " observe");
	for (unsigned i = 0; i < x->nstmt; i++) {
		buf_str(out, i ? ", " : " by ");
		if (x->stmt[i]->meta.name)
			buf_str(out, x->stmt[i]->meta.name);
		else
			buf_printf(out, "#%u", x->stmt[i]->id);
	}
	if (x->more)
		buf_str(out, ", ...");
	if (x->limits)
		buf_printf(out, " (%s)", f->set[x->limits].text);
}

void
flow_dump(struct flow *f, flow_ref r, struct buf *out)
{
	fdd_dump(f->fdd, r, out, leaf_put, f);
}
