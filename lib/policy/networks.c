/* Networks and places: names and literals to sets of addresses. */
#include <assert.h>
#include <string.h>

#include "base/near.h"
#include "policy/load.h"

/* ---- addresses that cannot be read ---------------------------------------- */

/* The codes E02xx are in the order of enum addr_wrong, from ADDR_EMPTY on. */
static enum diag_code
wrong_code(enum addr_wrong w)
{
	return (enum diag_code)(DIAG_E0201 + ((unsigned)w - ADDR_EMPTY));
}

static const char *
network_at(const void *arg, size_t i)
{
	const struct names *n = arg;

	return i < n->n ? n->v[i].name : NULL;
}

void
address_wrong(struct load *l, enum addr_wrong w, const char *s, size_t n, const char *fix,
    struct text_span at)
{
	const char *near;
	struct diag *g;
	char *seen = arena_strn(l->a, s, n < 60 ? n : 60);

	for (char *c = seen; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	g = diag_add(l->d, wrong_code(w), at, "`%s`: %s", seen, addr_wrong_text(w));
	if (w == ADDR_NAME && (near = near_of(s, n, network_at, &l->networks)))
		diag_hint(l->d, g, "did you mean the network `%s`?", near);
	else if (w == ADDR_NAME)
		diag_hint(l->d, g, "write its prefixes, or the name of a network: what a host name "
		    "means changes with the DNS, and the rules would not (CAM-08)");
	else if (w == ADDR_ANY)
		diag_hint(l->d, g, "write `anywhere` where really every address is meant, of both "
		    "families");
	else if (fix && *fix)
		diag_hint(l->d, g, "write `%s`", fix);
	else
		diag_hint(l->d, g, "an address or a prefix is written as `131.111.64.0/20` or "
		    "`\"2001:630:210:100::/56\"`");
}

/* ---- sets ------------------------------------------------------------------ */

struct policy_where
where_any(struct load *l, struct text_span at)
{
	if (!l->all.n4)
		addr_set_all(l->a, &l->all, ADDR_BOTH);
	return (struct policy_where){.at = at, .any = true, .label = "anywhere", .set = l->all};
}

bool
where_named(const struct raw_where *raw)
{
	for (size_t i = 0; i < raw->items.n; i++) {
		const struct shape_text *t = SHAPE_AT(raw->items, const struct shape_text, i);

		if (t->ok && !shape_name_ok(t->s, t->n))
			return false;
	}
	return raw->items.n;
}

static const char *
family_word(unsigned f)
{
	return f == ADDR_V4 ? "IPv4" : "IPv6";
}

/* A set that is all of a family, written as ranges, is `any` in disguise. */
static bool
disguise_check(struct load *l, const char *what, const struct addr_set *s, struct text_span at)
{
	unsigned f = 0;

	if (s->n4 == 1 && !s->v4[0].lo && s->v4[0].hi == UINT32_MAX)
		f = ADDR_V4;
	else if (s->n6 == 1 && !s->v6[0].lo && s->v6[0].hi == U128_MAX)
		f = ADDR_V6;
	if (!f)
		return true;
	diag_hint(l->d, diag_add(l->d, DIAG_E0409, at, "%s holds every %s address", what,
	    family_word(f)), "if that is meant, write `anywhere` where it is used");
	return false;
}

bool
families_check(struct load *l, const char *what, const struct addr_set *s,
    const struct shape_num *said, struct text_span at, bool named)
{
	unsigned have = addr_set_families(s);

	if (said->node && !said->ok)
		return false;
	if (said->ok) {
		assert(said->node);
		if (have == said->n)
			return true;
		diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0407, said->node->at,
		    "%s is declared %s, and has %s addresses", what, family_word((unsigned)said->n),
		    have == ADDR_BOTH ? family_word(ADDR_BOTH & ~(unsigned)said->n) : family_word(have)),
		    at, "its addresses"), "remove `families`, or the addresses of the other family");
		return false;
	}
	if (have == ADDR_BOTH || !have || named)
		return true;
	diag_hint(l->d, diag_add(l->d, DIAG_E0406, at, "%s has no %s addresses, and does not say so",
	    what, family_word(ADDR_BOTH & ~have)),
	    "add the %s addresses, or write `families: %s` if there are none on purpose",
	    family_word(ADDR_BOTH & ~have), have == ADDR_V4 ? "ipv4" : "ipv6");
	return false;
}

static bool
network_make(struct load *l, struct net *n);

enum {
	NESTING_MOST = 64,
	COPIED_MOST = 32 << 20,    /* a short text can ask for any number of copies */
};

bool
copied_ok(struct load *l, size_t n, struct text_span at)
{
	bool was = l->copied <= COPIED_MOST;

	l->copied += n;
	if (l->copied <= COPIED_MOST)
		return true;
	if (was)
		diag_hint(l->d, diag_add(l->d, DIAG_E0417, at, "with this, what is made of other "
		    "networks, lists and ports has more than %d ranges", (int)COPIED_MOST),
		    "make fewer of the large ones");
	return false;
}

bool
nesting_ok(struct load *l, const struct shape_text *t)
{
	if (l->nesting < NESTING_MOST)
		return true;
	diag_hint(l->d, diag_add(l->d, DIAG_E0416, t->node->at, "`%s` is one of more than %d that are "
	    "made of each other", t->s, (int)NESTING_MOST), "write here what it holds");
	return false;
}

/* Adds one item to the set; *net gets the network when it is a name. */
static bool
item_add(struct load *l, const struct shape_text *t, struct addr_set *set,
    const struct policy_network **net)
{
	struct addr_prefix p;
	enum addr_wrong w;
	char fix[64];
	struct net *n;

	*net = NULL;
	if (shape_name_ok(t->s, t->n)) {
		n = names_need(l, &l->networks, t->s, t->node->at);
		if (!n)
			return false;
		if (n->made == MADE_NOW) {
			diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0404, t->node->at,
			    "the network `%s` is made of itself", t->s), n->n->meta.at,
			    "it is defined here"), "break the circle: write the ranges in one of them");
			return false;
		}
		if ((n->made == MADE_NOT && !nesting_ok(l, t)) || !network_make(l, n) ||
		    (set && !copied_ok(l, n->n->set.n4 + n->n->set.n6, t->node->at)))
			return false;
		*net = n->n;
		if (set)
			for (size_t i = 0; i < n->n->set.n4; i++)
				addr_set_add(l->a, set, ADDR_V4, n->n->set.v4[i].lo, n->n->set.v4[i].hi);
		if (set)
			for (size_t i = 0; i < n->n->set.n6; i++)
				addr_set_add(l->a, set, ADDR_V6, n->n->set.v6[i].lo, n->n->set.v6[i].hi);
		return true;
	}
	w = addr_prefix_read(t->s, t->n, &p, fix);
	if (w != ADDR_OK) {
		address_wrong(l, w, t->s, t->n, fix, t->node->at);
		return false;
	}
	addr_set_add(l->a, set, p.family, p.lo, p.hi);
	return true;
}

static bool
is_any(const char *s)
{
	return !strcmp(s, "any") || !strcmp(s, "anywhere");
}

/* `any` or `relays`, and nothing else beside it. */
static bool
word_alone(struct load *l, const struct shape_text *t, bool allowed, size_t n)
{
	if (!allowed) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0408, t->node->at,
		    "`%s` is no value here", t->s), "name the addresses, or a network");
		return false;
	}
	if (n > 1) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0408, t->node->at,
		    "`%s` stands beside other places", t->s),
		    "`%s` stands alone: remove it, or the others", t->s);
		return false;
	}
	return true;
}

bool
where_read(struct load *l, const struct raw_where *raw, unsigned how,
    struct policy_where *out, bool *relays)
{
	const struct policy_network *net = NULL;
	struct addr_set set = {0};
	size_t n = raw->items.n;
	bool ok = raw->items.ok;

	*out = (struct policy_where){.at = raw->items.node->at};
	if (relays)
		*relays = false;
	for (size_t i = 0; i < n; i++) {
		const struct shape_text *t = SHAPE_AT(raw->items, const struct shape_text, i);

		if (!t->ok) {
			ok = false;
			continue;
		}
		if (i < 3)
			out->label = i ? arena_printf(l->a, "%s+%s", out->label, t->s) : t->s;
		else if (i + 1 == n)
			out->label = arena_printf(l->a, "%s+%zu", out->label, n - 3);
		if (is_any(t->s)) {
			ok &= word_alone(l, t, how & WHERE_ANY, n);
			if (ok)
				*out = where_any(l, t->node->at);
			continue;
		}
		if (!strcmp(t->s, "relays")) {
			ok &= word_alone(l, t, how & WHERE_RELAYS, n);
			if (ok) {
				assert(relays);
				*relays = true;
			}
			continue;
		}
		/* One name alone shares the set of its network. */
		if (n == 1 && shape_name_ok(t->s, t->n)) {
			if (!item_add(l, t, NULL, &net))
				return false;
			assert(net);
			out->network = net;
			out->set = net->set;
			return true;
		}
		ok &= item_add(l, t, &set, &net);
	}
	if (!ok || out->any || (relays && *relays))
		return ok;
	addr_set_finish(&set);
	out->set = set;
	return disguise_check(l, "this place", &set, out->at);
}

/* ---- networks --------------------------------------------------------------- */

/* Takes the `except` out, and reports what takes nothing out. */
static bool
except_take(struct load *l, const struct raw_network *raw, struct addr_set *set)
{
	struct policy_where ex;
	struct addr_set rest;

	if (!where_read(l, &raw->except, 0, &ex, NULL) ||
	    !copied_ok(l, set->n4 + set->n6, ex.at))
		return false;
	addr_set_minus(l->a, &rest, set, &ex.set);
	if (addr_set_equal(&rest, set)) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0410, ex.at,
		    "`except` takes nothing out of `%s`", raw->in.name ? raw->in.name : "it"),
		    "none of these addresses is in its ranges: remove them, or correct them");
		return false;
	}
	*set = rest;
	return true;
}

static bool
network_fill(struct load *l, struct net *n)
{
	const struct raw_network *raw = n->raw;
	const char *what = arena_printf(l->a, "the network `%s`", n->n->meta.name);
	struct addr_set set = {0};
	bool ok = raw->in.ok, named = true;
	struct policy_where w;

	if (!raw->ranges.items.node && !raw->lists.node && (raw->in.unknown || !ok))
		return false;
	if (!raw->ranges.items.node && !raw->lists.node) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0415, raw->in.node->at,
		    "%s has neither `ranges` nor `ranges-from`", what),
		    "write its addresses: `ranges: [131.111.64.0/20]`");
		return false;
	}
	if (raw->ranges.items.node) {
		if (!where_read(l, &raw->ranges, raw->except.items.node ? WHERE_ANY : 0, &w, NULL))
			ok = false;
		named = where_named(&raw->ranges) && !w.any;
		set = w.set;
	}
	if (raw->lists.node) {
		struct addr_set lists = {0}, both;

		named = false;
		ok &= raw->lists.ok;
		for (size_t i = 0; i < raw->lists.n; i++) {
			const struct shape_text *t = SHAPE_AT(raw->lists, const struct shape_text, i);

			if (t->ok)
				ok &= list_read(l, n->dir, t, &lists);
		}
		addr_set_finish(&lists);
		if (set.n4 || set.n6) {
			addr_set_union(l->a, &both, &set, &lists);
			set = both;
		} else {
			set = lists;
		}
		if (ok)
			ok = disguise_check(l, what, &set, raw->lists.node->at);
	}
	if (!ok || (raw->except.items.node && !except_take(l, raw, &set)))
		return false;
	if (!set.n4 && !set.n6) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0405, raw->in.node->at,
		    "%s has no address left", what),
		    "an empty network is never `any`: correct `ranges` or `except`");
		return false;
	}
	n->n->set = set;
	n->n->families = addr_set_families(&set);
	/* an exception may take a family away: then that must be said as well */
	if (raw->except.items.node)
		named = false;
	return families_check(l, what, &set, &raw->families,
	    raw->ranges.items.node ? raw->ranges.items.node->at : raw->lists.node->at, named);
}

static bool
network_make(struct load *l, struct net *n)
{
	if (n->made == MADE_NOT) {
		n->made = MADE_NOW;
		l->nesting++;
		n->bad = !network_fill(l, n);
		l->nesting--;
		n->made = MADE;
	}
	return !n->bad;
}

void
networks_make(struct load *l)
{
	for (size_t i = 0; i < l->nfile; i++) {
		const struct shape_list *list = &l->file[i]->raw.networks;

		for (size_t k = 0; k < list->n; k++) {
			const struct raw_network *raw = SHAPE_AT(*list, const struct raw_network, k);
			struct net *n = arena_of(l->a, struct net);

			if (!raw->in.name)
				continue;
			n->n = arena_of(l->a, struct policy_network);
			n->raw = raw;
			n->dir = l->file[i]->dir;
			meta_read(l, &raw->meta, raw->in.key->at, &n->n->meta);
			n->n->meta.name = raw->in.name;
			if (names_add(l, &l->networks, raw->in.name, raw->in.key->at, n))
				ARENA_PUSH(l->a, l->p->network, l->p->nnetwork, l->p->capnetwork) = n->n;
		}
	}
	for (size_t i = 0; i < l->networks.n; i++)
		network_make(l, l->networks.v[i].thing);
}
