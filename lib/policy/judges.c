/* The rules of one direction: statements, limits, and the one default. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/hash.h"
#include "policy/load.h"
#include "policy/read.h"

/* ---- statements ----------------------------------------------------------- */

void
stmt_bad(struct load *l, const struct policy_stmt *s)
{
	if (!stmt_is_bad(l, s))
		ARENA_PUSH(l->a, l->bad, l->nbad, l->capbad) = s;
}

bool
stmt_is_bad(const struct load *l, const struct policy_stmt *s)
{
	for (size_t i = 0; i < l->nbad; i++)
		if (l->bad[i] == s)
			return true;
	return false;
}

static struct policy_stmt *
stmt_new(struct load *l, struct policy_judge *j, enum policy_stmt_kind kind,
    const struct raw_stmt *raw)
{
	struct policy_stmt *s = arena_of(l->a, struct policy_stmt);

	s->kind = kind;
	s->point = j->zone->point;
	s->zone = j->zone;
	s->dir = j->dir;
	s->with = raw->with.ok ? (enum policy_with)raw->with.n :
	    j->dir == POLICY_OUTBOUND ? POLICY_REJECT : POLICY_DROP;
	s->log = raw->log.n;
	if (!meta_read(l, &raw->meta, raw->in.node->at, &s->meta) || !raw->in.ok)
		stmt_bad(l, s);
	ARENA_PUSH(l->a, j->stmt, j->nstmt, j->capstmt) = s;
	ARENA_PUSH(l->a, l->p->stmt, l->p->nstmt, l->p->capstmt) = s;
	return s;
}

/* `users` and `units`: only what a program of this host sends has them. */
static void
stmt_who(struct load *l, struct policy_stmt *s, const struct raw_stmt *raw)
{
	const struct shape_list *who[] = {&raw->users, &raw->units};

	for (size_t i = 0; i < 2; i++) {
		if (!who[i]->node || (s->point->kind == POLICY_HOST && s->dir == POLICY_OUTBOUND))
			continue;
		diag_hint(l->d, diag_add(l->d, DIAG_E0432, who[i]->node->at,
		    "`%s` means nothing %s", i ? "units" : "users",
		    s->point->kind == POLICY_ROUTER ? "at a router" : "inbound"),
		    "only what a program of a host sends has a user and a unit: remove it, or write "
		    "`from` with its address");
		stmt_bad(l, s);
	}
	s->user = meta_strings(l, &raw->users, &s->nuser);
	s->unit = meta_strings(l, &raw->units, &s->nunit);
	for (size_t i = 0; i < s->nunit; i++)
		s->unit[i] = cgroup_of_unit(l->a, s->unit[i]);
}

/* A place of a statement, or any; false when it was mistaken. */
static bool
stmt_where(struct load *l, const struct raw_where *raw, const struct policy_stmt *s,
    struct policy_where *out)
{
	*out = where_any(l, s->meta.at);
	return !raw->items.node || where_read(l, raw, WHERE_ANY, out, NULL);
}

static void
stmt_places(struct load *l, struct policy_stmt *s, const struct raw_stmt *raw)
{
	bool ok = stmt_where(l, &raw->from, s, &s->from);

	ok &= stmt_where(l, &raw->to, s, &s->to);
	if (raw->ports.node)
		ok &= ports_read(l, &raw->ports, &s->ports);
	if (!ok)
		stmt_bad(l, s);
}

/* Who is exempt from what is never guessed where an address can say it. */
static void
exempt_make(struct load *l, struct policy_judge *j, const struct raw_stmt *raw)
{
	struct policy_stmt *s = stmt_new(l, j, POLICY_EXEMPT, raw);
	bool router = s->point->kind == POLICY_ROUTER;
	bool from = router || s->dir == POLICY_INBOUND, to = s->dir == POLICY_OUTBOUND;

	stmt_places(l, s, raw);
	stmt_who(l, s, raw);
	if (from && !raw->from.items.node && !raw->in.unknown) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0435, raw->in.node->at,
		    "the exemption does not say whom it exempts"), "write `from: 131.111.70.5`%s",
		    s->dir == POLICY_INBOUND ? ", or `from: anywhere`" : "");
		stmt_bad(l, s);
	}
	if (to && !raw->to.items.node && !raw->in.unknown) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0435, raw->in.node->at,
		    "the exemption does not say towards where"), "write `to: anywhere`, or less");
		stmt_bad(l, s);
	}
	if (router && s->dir == POLICY_INBOUND && !raw->to.items.node)
		s->to = s->zone->inside;
}

static void
plain_make(struct load *l, struct policy_judge *j, enum policy_stmt_kind kind,
    const struct raw_stmt *raw)
{
	stmt_places(l, stmt_new(l, j, kind, raw), raw);
}

/* A statement of a relay that ends before the other lasts as long as both do. */
static bool
relay_days(struct load *l, struct policy_stmt *s)
{
	const struct policy_days *r = &s->relay->meta.days;
	struct policy_days *d = &s->meta.days;

	if (!meta_days_meet(r, d)) {
		diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0438, s->meta.at,
		    "the relay `%s` is in use on no day of this statement", s->relay->meta.name),
		    s->relay->meta.at, "the relay"), "make their dates overlap");
		return false;
	}
	if (r->since > d->since) {
		d->since = r->since;
		d->since_at = r->since_at;
	}
	if (r->until < d->until) {
		d->until = r->until;
		d->until_at = r->until_at;
	}
	return true;
}

static void
relay_make(struct load *l, struct policy_judge *j, const struct raw_stmt *raw, bool only)
{
	struct policy_stmt *s;
	struct rel *x;

	if (!raw->relay.ok || !(x = names_need(l, &l->relays, raw->relay.s, raw->relay.node->at)))
		return;
	for (size_t i = 0; i < j->nstmt; i++)
		if (j->stmt[i]->relay == x->r && !raw->ports.node && !raw->meta.name.node &&
		    !raw->users.node && !raw->units.node && !raw->meta.since.node &&
		    !raw->meta.until.node) {
			diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0441, raw->relay.node->at,
			    "the relay `%s` is listed twice", x->r->meta.name), j->stmt[i]->meta.at,
			    "the first one is here"), "remove one of them");
			return;
		}
	s = stmt_new(l, j, POLICY_RELAY, raw);
	s->relay = x->r;
	s->from = s->to = (struct policy_where){.at = TEXT_NO_SPAN, .label = ""};
	stmt_who(l, s, raw);
	if (x->bad) {
		stmt_bad(l, s);
		return;
	}
	if (!x->raw->ranges.items.node) {
		diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0421, raw->relay.node->at,
		    "the relay `%s` has no ranges to open", x->r->meta.name), x->r->meta.at,
		    "the relay"), "write its `ranges`; its host name cannot stand in a rule (CAM-08)");
		stmt_bad(l, s);
		return;
	}
	if (raw->ports.node) {
		s->own_ports = true;
		if (!ports_read(l, &raw->ports, &s->ports))
			stmt_bad(l, s);
	}
	if (!relay_days(l, s))
		stmt_bad(l, s);
	if (only && (raw->users.node || raw->units.node)) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0442, raw->in.node->at,
		    "both `only: forwarder` and this entry say for whom the relay is"),
		    "remove `only`, and write `users: [%s]` where the forwarder is meant",
		    l->p->submission.user);
		stmt_bad(l, s);
	} else if (only) {
		s->user = arena_array(l->a, 1, const char *);
		s->user[0] = l->p->submission.user;
		s->nuser = 1;
	}
}

static void
otherwise_make(struct load *l, struct policy_judge *j, const struct raw_stmt *raw)
{
	struct policy_stmt *s;

	if (!raw->in.node)
		return;
	s = stmt_new(l, j, POLICY_OTHERWISE, raw);
	s->deny = raw->word.node ? raw->word.n : raw->deny.n;
	s->from = s->to = where_any(l, s->meta.at);
	s->ports = (struct policy_ports){.at = s->meta.at, .label = "mail", .set = port_set_mail};
	j->otherwise = s;
	if (raw->in.ok && !s->deny)
		for (size_t i = 0; i < 2; i++) {
			const struct shape_num *n = i ? &raw->log : &raw->with;

			if (n->node)
				diag_hint(l->d, diag_add(l->d, DIAG_E0443, n->node->at,
				    "`%s` means nothing where nothing is refused", i ? "log" : "with"),
				    "remove it, or write `deny: true`");
		}
}

/* ---- limits ------------------------------------------------------------------ */

static void
limit_make(struct load *l, struct policy_judge *j, const struct raw_limit *raw)
{
	struct policy_limit x = {0};

	if (!raw->in.node)
		return;
	if (!meta_read(l, &raw->meta, raw->in.node->at, &x.meta) || !raw->in.ok)
		return;
	x.most = raw->connections.n;
	x.seconds = raw->per.n;
	x.each = (enum policy_each)raw->each.n;
	x.over = (enum policy_over)raw->over.n;
	if (!where_read(l, &raw->to, WHERE_ANY | WHERE_RELAYS, &x.to, &x.to_relays))
		return;
	if (x.to_relays) {
		struct addr_set set = {0}, sum;

		for (size_t i = 0; i < j->nstmt; i++)
			if (j->stmt[i]->kind == POLICY_RELAY) {
				addr_set_union(l->a, &sum, &set, &j->stmt[i]->relay->ranges.set);
				set = sum;
			}
		x.to.set = set;
		if (!set.n4 && !set.n6 && !l->d->errors) {
			diag_hint(l->d, diag_add(l->d, DIAG_E0444, x.to.at,
			    "the limit counts connections to the relays, and there are none here"),
			    "list the `relays`, or write where `to`");
			return;
		}
	}
	ARENA_PUSH(l->a, j->limit, j->nlimit, j->caplimit) = x;
}

/* ---- names --------------------------------------------------------------------- */

static const char *
made_name(struct load *l, const struct policy_stmt *s)
{
	if (s->kind == POLICY_RELAY)
		return arena_printf(l->a, "relay-%s", s->relay->meta.name);
	return policy_stmt_kind_word(s->kind);
}

/* Each statement and limit has a name of its own in its judge. */
struct namer {
	struct load *l;
	struct hash_names *h;
	struct policy_meta **at;
	size_t n, cap;
	struct hash_names *made;
	unsigned *last;            /* of each made name, the number it got last */
	size_t nlast, caplast;
};

static void
name_said(struct namer *n, struct policy_meta *m)
{
	int fresh;
	uint32_t i;

	if (!m->name)
		return;
	i = hash_names_add(n->h, m->name, strlen(m->name), &fresh);
	if (fresh) {
		ARENA_PUSH(n->l->a, n->at, n->n, n->cap) = m;
		return;
	}
	assert(n->at && i < n->n);
	diag_hint(n->l->d, diag_also(diag_add(n->l->d, DIAG_E0401, m->at,
	    "the name `%s` is given twice in one direction", m->name), n->at[i]->at,
	    "the first one is here"), "counters and reports tell them apart by it: "
	    "change one of them");
}

static void
name_made(struct namer *n, struct policy_meta *m, const char *made)
{
	const char *try = made;
	uint32_t i;
	int fresh;

	if (m->name)
		return;
	i = hash_names_add(n->made, made, strlen(made), &fresh);
	if (fresh)
		ARENA_PUSH(n->l->a, n->last, n->nlast, n->caplast) = 1;
	assert(n->last && i < n->nlast);
	if (!fresh)
		try = arena_printf(n->l->a, "%s-%u", made, ++n->last[i]);
	for (;;) {
		hash_names_add(n->h, try, strlen(try), &fresh);
		if (fresh)
			break;
		try = arena_printf(n->l->a, "%s-%u", made, ++n->last[i]);
	}
	m->name = try;
}

static void
judge_names(struct load *l, struct policy_judge *j)
{
	struct namer n = {.l = l, .h = hash_names_new(l->a), .made = hash_names_new(l->a)};

	for (size_t i = 0; i < j->nstmt; i++)
		name_said(&n, &j->stmt[i]->meta);
	for (size_t i = 0; i < j->nlimit; i++)
		name_said(&n, &j->limit[i].meta);
	for (size_t i = 0; i < j->nstmt; i++)
		name_made(&n, &j->stmt[i]->meta, made_name(l, j->stmt[i]));
	for (size_t i = 0; i < j->nlimit; i++)
		name_made(&n, &j->limit[i].meta, "limit");
}

/* ---- the judge -------------------------------------------------------------------- */

static bool
refuses_smtp(const struct policy_judge *j)
{
	for (size_t i = 0; i < j->nstmt; i++)
		if ((j->stmt[i]->kind == POLICY_BLOCK && port_set_has(&j->stmt[i]->ports.set, 25)) ||
		    (j->stmt[i]->kind == POLICY_OTHERWISE && j->stmt[i]->deny))
			return true;
	return false;
}

static void
capture_make(struct load *l, struct policy_judge *j, const struct raw_judge *raw)
{
	const char *why = NULL, *hint = NULL;

	if (!raw->capture.ok)
		return;
	j->capture_at = raw->capture.node->at;
	if (j->zone->point->kind != POLICY_HOST || j->dir != POLICY_OUTBOUND) {
		why = "`capture` means nothing here";
		hint = "only what programs of a host send can be captured: it belongs to `outbound` of "
		    "a host";
	} else if (raw->capture.n && !l->p->submission.present) {
		why = "`capture` redirects to a forwarder, and the policy has none";
		hint = "write `submission:`, or remove it";
	} else if (raw->capture.n && raw->in.ok && !refuses_smtp(j)) {
		why = "`capture` redirects what is refused on port 25, and nothing is";
		hint = "write `block: {ports: [smtp]}`, or remove it";
	}
	if (why)
		diag_hint(l->d, diag_add(l->d, DIAG_E0433, j->capture_at, "%s", why), "%s", hint);
	else if ((j->capture = raw->capture.n))
		j->forwarder = l->p->submission.user;
}

static bool
only_read(struct load *l, const struct policy_judge *j, const struct raw_judge *raw)
{
	const char *why = NULL, *hint = NULL;

	if (!raw->only.ok)
		return false;
	if (j->zone->point->kind != POLICY_HOST || j->dir != POLICY_OUTBOUND) {
		why = "`only` means nothing here";
		hint = "only what a program of a host sends has a user: it belongs to `outbound` of a "
		    "host";
	} else if (!raw->relays.node) {
		why = "`only` says for whom the relays are, and there are none here";
		hint = "list the `relays`, or remove it";
	} else if (!l->p->submission.present) {
		why = "the relays are for a forwarder only, and the policy has none";
		hint = "write `submission:`, or remove `only`";
	}
	if (!why)
		return true;
	diag_hint(l->d, diag_add(l->d, DIAG_E0442, raw->only.node->at, "%s", why), "%s", hint);
	return false;
}

void
judge_make(struct load *l, struct policy_zone *z, enum policy_dir dir,
    const struct raw_judge *raw)
{
	struct policy_judge *j = &z->judge[dir];
	bool only;

	j->present = true;
	j->at = raw->in.node->at;
	only = only_read(l, j, raw);
	for (size_t i = 0; i < raw->exempt.n; i++) {
		const struct raw_stmt *s = SHAPE_AT(raw->exempt, const struct raw_stmt, i);

		if (s->in.node->kind == DOC_MAP)
			exempt_make(l, j, s);
	}
	for (size_t i = 0; i < raw->relays.n; i++)
		relay_make(l, j, SHAPE_AT(raw->relays, const struct raw_stmt, i), only);
	for (size_t i = 0; i < raw->block.n; i++) {
		const struct raw_stmt *s = SHAPE_AT(raw->block, const struct raw_stmt, i);

		if (s->in.node->kind == DOC_MAP)
			plain_make(l, j, POLICY_BLOCK, s);
	}
	for (size_t i = 0; i < raw->roaming.n; i++) {
		const struct raw_stmt *s = SHAPE_AT(raw->roaming, const struct raw_stmt, i);

		if (s->in.node->kind == DOC_MAP)
			plain_make(l, j, POLICY_ROAMING, s);
	}
	otherwise_make(l, j, &raw->otherwise);
	for (size_t i = 0; i < raw->limit.n; i++)
		limit_make(l, j, SHAPE_AT(raw->limit, const struct raw_limit, i));
	capture_make(l, j, raw);
	judge_names(l, j);
}

/* ---- order --------------------------------------------------------------------------- */

static int
by_place(const void *pa, const void *pb)
{
	const struct policy_stmt *a = *(struct policy_stmt *const *)pa;
	const struct policy_stmt *b = *(struct policy_stmt *const *)pb;

	if (a->meta.at.file != b->meta.at.file)
		return a->meta.at.file < b->meta.at.file ? -1 : 1;
	return a->meta.at.off < b->meta.at.off ? -1 : a->meta.at.off > b->meta.at.off;
}

static int
by_precedence(const void *pa, const void *pb)
{
	const struct policy_stmt *a = *(struct policy_stmt *const *)pa;
	const struct policy_stmt *b = *(struct policy_stmt *const *)pb;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return by_place(pa, pb);
}

void
judges_order(struct load *l)
{
	struct policy *p = l->p;

	if (p->nstmt)
		qsort(p->stmt, p->nstmt, sizeof *p->stmt, by_place);
	for (size_t i = 0; i < p->nstmt; i++)
		p->stmt[i]->id = (uint32_t)i;
	for (size_t i = 0; i < p->npoint; i++)
		for (size_t z = 0; z < p->point[i]->nzone; z++)
			for (enum policy_dir d = POLICY_OUTBOUND; d < POLICY_NDIR; d++) {
				struct policy_judge *j = &p->point[i]->zone[z]->judge[d];

				if (j->nstmt)
					qsort(j->stmt, j->nstmt, sizeof *j->stmt, by_precedence);
			}
}
