#include "nl/watch.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "nl/attr.h"
#include "nl/batch.h"
#include "nl/dump.h"
#include "nl/element.h"
#include "nl/gather.h"
#include "nl/held.h"
#include "nl/put.h"
#include "nl/read.h"
#include "nl/rulehash.h"

enum {
	MOST_TEXT = 1 << 20,       /* bytes of a rule's text */
	MOST_LIST = 1 << 17,
	DORMANT = 1,               /* NFT_TABLE_F_DORMANT */
	TABLE_FLAGS = DORMANT | NL_OWNER | NL_PERSIST,
	OBJECT_COUNTER = 1,
};

/* ---- words ---------------------------------------------------------------------------- */

void
nl_diff_free(struct nl_diff *d)
{
	buf_free(&d->words);
	*d = (struct nl_diff){0};
}

void
nl_diff_add(struct nl_diff *d, const char *fmt, ...)
{
	char one[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(one, sizeof one, fmt, ap);
	va_end(ap);
	d->words.max = NL_MOST_WORDS + 64;
	if (n < 0)
		n = 0;
	if (d->words.n + (size_t)n + 2 <= NL_MOST_WORDS) {
		if (d->words.n)
			buf_str(&d->words, "; ");
		buf_str(&d->words, one);
	} else if (d->words.n <= NL_MOST_WORDS) {
		buf_str(&d->words, "; and more");
		while (d->words.n <= NL_MOST_WORDS && !d->words.err)
			d->words.n = NL_MOST_WORDS + 1; /* said once */
	}
	d->n++;
}

const char *
nl_family_word(uint8_t family)
{
	switch (family) {
	case NFPROTO_INET:
		return "inet";
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	case NFPROTO_ARP:
		return "arp";
	case NFPROTO_NETDEV:
		return "netdev";
	case NFPROTO_BRIDGE:
		return "bridge";
	}
	return "?";
}

const char *
nl_plain_name(struct arena *a, const char *name)
{
	return nl_is_generation(name) ?
	    arena_strn(a, name, (size_t)(strrchr(name, '/') - name)) : name;
}

/* ---- elements ------------------------------------------------------------------------- */

/* A boundary at the lowest address that ends nothing, as nft puts one into a set. */
static bool
ends_nothing(const struct attr *key, uint32_t flags)
{
	if (!(flags & NFT_SET_ELEM_INTERVAL_END))
		return false;
	for (uint32_t i = 0; i < key->n; i++)
		if (key->p[i])
			return false;
	return true;
}

static uint64_t
hash_verdict(uint64_t h, struct nl_verdict v)
{
	h = hash_u64(h, (uint32_t)v.code);
	return v.chain ? hash_bytes(h, v.chain, strlen(v.chain)) : h;
}

static int
sum_one(struct arena *a, struct attr x, struct nl_sum *s)
{
	struct attr t[NFTA_SET_ELEM_MAX + 1], key[NFTA_DATA_MAX + 1];
	struct nl_verdict v = {0};
	struct nl_bytes b = {0};
	int err = attr_table(x.p, x.n, t, NFTA_SET_ELEM_MAX);
	uint32_t flags = attr_u32(t[NFTA_SET_ELEM_FLAGS], 0, &err);
	uint64_t h;

	if (!err && t[NFTA_SET_ELEM_KEY].p)
		err = attr_table(t[NFTA_SET_ELEM_KEY].p, t[NFTA_SET_ELEM_KEY].n, key, NFTA_DATA_MAX);
	else
		memset(key, 0, sizeof key);
	if (err)
		return -EBADMSG;
	flags &= NFT_SET_ELEM_INTERVAL_END | NFT_SET_ELEM_CATCHALL;
	if (ends_nothing(&key[NFTA_DATA_VALUE], flags))
		return 0;
	h = hash_bytes(flags + 1, key[NFTA_DATA_VALUE].p, key[NFTA_DATA_VALUE].n);
	if (t[NFTA_SET_ELEM_KEY_END].p)
		h = hash_bytes(h, t[NFTA_SET_ELEM_KEY_END].p, t[NFTA_SET_ELEM_KEY_END].n);
	if (t[NFTA_SET_ELEM_DATA].p) {
		if (read_data(a, t[NFTA_SET_ELEM_DATA], &b, &v))
			return -EBADMSG;
		h = hash_bytes(hash_verdict(h, v), b.p, b.n);
	}
	if (t[NFTA_SET_ELEM_USERDATA].p)
		h = hash_bytes(h, t[NFTA_SET_ELEM_USERDATA].p, t[NFTA_SET_ELEM_USERDATA].n);
	/* ours last for ever and count nothing */
	if (t[NFTA_SET_ELEM_TIMEOUT].p)
		h = hash_u64(h, NFTA_SET_ELEM_TIMEOUT);
	if (t[NFTA_SET_ELEM_EXPR].p || t[NFTA_SET_ELEM_EXPRESSIONS].p)
		h = hash_u64(h, NFTA_SET_ELEM_EXPRESSIONS);
	s->sum += h ^ h >> 29;
	s->n += !(flags & NFT_SET_ELEM_INTERVAL_END);
	return 0;
}

int
nl_sum_add(struct arena *a, const uint8_t *p, size_t n, struct nl_sum *s)
{
	struct attrs run = {p, n, 0};
	struct attr x;
	uint16_t type;
	int err = 0;

	while (!err && attr_next(&run, &type, &x))
		if (type == NFTA_LIST_ELEM)
			err = sum_one(a, x, s);
	return err ? err : run.err;
}

struct summing {
	struct nl_sum sum;
	struct arena *a;
};

/* The list of a NEWSETELEM message's attributes. */
static int
sum_attributes(struct summing *s, const uint8_t *p, size_t n)
{
	struct attr t[NFTA_SET_ELEM_LIST_MAX + 1];
	int err = attr_table(p, n, t, NFTA_SET_ELEM_LIST_MAX);

	if (!err)
		err = nl_sum_add(s->a, t[NFTA_SET_ELEM_LIST_ELEMENTS].p,
		    t[NFTA_SET_ELEM_LIST_ELEMENTS].n, &s->sum);
	return err;
}

static int
sum_message(void *arg, const void *message, size_t n)
{
	size_t head = sizeof(struct nlmsghdr) + sizeof(struct nfgenmsg);

	return n < head ? -EBADMSG : sum_attributes(arg, (const uint8_t *)message + head, n - head);
}

int
nl_watch_sum(struct nl_talk *t, const struct nl_dump *d, uint32_t set, struct nl_sum *out)
{
	const struct nl_set *x = &d->set[set];
	struct summing s = {.a = arena_new()};
	struct talk_taker k = {.message = sum_message, .arg = &s};
	int err = talk_gather_set(t, d->genid, x->family, x->table, x->name, &k);

	if (!err)
		*out = s.sum;
	arena_free(s.a);
	return err;
}

int
nl_watch_sums(struct nl_talk *t, struct arena *a, const struct nl_dump *d, uint32_t most,
    struct nl_sums *out)
{
	int err = 0;

	out->n = d->nset;
	out->of = arena_array(a, d->nset, struct nl_sum);
	for (uint32_t i = 0; i < d->nset && !err; i++)
		if (d->set[i].flags & NFT_SET_ANONYMOUS &&
		    (d->set[i].count == UINT32_MAX || d->set[i].count <= most))
			err = nl_watch_sum(t, d, i, &out->of[i]);
	return err;
}

static int
by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Users that have one number are one element. */
static int
sum_uids(struct summing *s, const struct nl_form *f, uint32_t i)
{
	const struct plan_set *p = &f->plan->set[i];
	uint32_t *v = arena_array(s->a, p->n, uint32_t);
	size_t n = 0;

	memcpy(v, f->set[i].uid, p->n * sizeof *v);
	qsort(v, p->n, sizeof *v, by_number);
	for (size_t k = 0; k < p->n; k++) {
		uint64_t h;

		if (k && v[k] == v[k - 1])
			continue;
		h = hash_bytes(1, &v[k], sizeof *v);
		s->sum.sum += h ^ h >> 29;
		n++;
	}
	s->sum.n = (uint32_t)n;
	return 0;
}

static int
sum_form(const struct nl_form *f, uint32_t i, struct nl_sum *out)
{
	const struct plan_set *p = &f->plan->set[i];
	struct element_run run = {.form = f, .set = i};
	struct summing s = {.a = arena_new()};
	struct buf b = BUF_INIT(MOST_LIST);
	int err = 0;

	if (p->key == PLAN_KEY_UID && !p->comment)
		err = sum_uids(&s, f, i);
	else
		while (run.at < p->n && !err) {
			b.n = 0;
			element_put(&b, &run, 0);
			err = b.err ? b.err : sum_attributes(&s, (const uint8_t *)b.p, b.n);
		}
	if (!err)
		*out = s.sum;
	buf_free(&b);
	arena_free(s.a);
	return err;
}

/* ---- rules ---------------------------------------------------------------------------- */

struct form_anon {
	const struct nl_watch *w;
	const struct nl_rule_form *r;
	uint32_t at;
};

/* The anonymous sets of a form's rule come in the order of its expressions. */
static const struct nl_sum *
anon_of_form(void *arg, const char *set)
{
	struct form_anon *x = arg;

	return !strncmp(set, "__", 2) && x->at < x->r->nanon ?
	    &x->w->set[x->r->anon[x->at++].set] : NULL;
}

int
nl_watch(struct arena *a, const struct nl_form *f, const struct nl_watch *old,
    struct nl_watch **out)
{
	struct nl_watch *w = arena_of(a, struct nl_watch);
	struct buf b = BUF_INIT(MOST_TEXT);
	struct arena *tmp = arena_new();
	const struct plan *p = f->plan;
	int err = 0;

	w->form = f;
	w->counters = hash_names_new(a);
	for (uint32_t i = 0; i < p->ncounter; i++)
		hash_names_add(w->counters, p->counter[i].name, strlen(p->counter[i].name), NULL);
	w->set = arena_array(a, p->nset, struct nl_sum);
	w->rule = arena_array(a, p->nchain, uint64_t *);
	for (uint32_t i = 0; i < p->nset && !err; i++) {
		if (old && old->form->plan == p && !memcmp(old->form->set[i].digest,
		    f->set[i].digest, NL_DIGEST))
			w->set[i] = old->set[i];
		else if (p->set[i].kind != PLAN_METER)
			err = sum_form(f, i, &w->set[i]);
	}
	for (uint32_t c = 0; c < p->nchain && !err; c++) {
		w->rule[c] = arena_array(a, p->chain[c].nrule, uint64_t);
		for (uint32_t k = 0; k < p->chain[c].nrule && !err; k++) {
			const struct nl_rule_form *r = &f->chain[c].rule[k];
			struct form_anon arg = {w, r, 0};
			struct nl_expr *e = NULL;
			uint32_t n = 0;

			err = nl_exprs_read(tmp, r->bytes, r->n, &e, &n);
			if (!err) {
				w->rule[c][k] = rule_hash(&b, e, n,
				    (struct nl_bytes){r->udata, r->nudata}, anon_of_form, &arg);
				err = b.err;
			}
		}
	}
	buf_free(&b);
	arena_free(tmp);
	if (!err)
		*out = w;
	return err;
}

/* ---- a look --------------------------------------------------------------------------- */

struct look {
	const struct nl_watch *w;
	const struct nl_dump *d;
	const struct nl_sums *s;
	struct nl_diff *out;
	struct arena *a;           /* for the names */
	struct hash_names *sets, *chains; /* of the table, to places in the dump */
	uint32_t *set_at, *chain_at, *first, *many; /* first, many: rules of chain_at[i] */
	bool *set_known, *chain_known; /* the form has it */
	struct buf b;
};

static bool
in_table(const struct look *l, uint8_t family, const char *table)
{
	return family == NFPROTO_INET && !strcmp(table, l->w->form->plan->table);
}

static bool
ours(const struct plan *p, const char *name)
{
	static const char own[] = "mailreeve";

	return p->own_table || (!strncmp(name, own, sizeof own - 1) &&
	    (name[sizeof own - 1] == '-' || name[sizeof own - 1] == '/'));
}

static const struct nl_sum *
anon_of_dump(void *arg, const char *set)
{
	struct look *l = arg;
	uint32_t i;

	if (strncmp(set, "__", 2) != 0)
		return NULL;
	i = hash_names_find(l->sets, set, strlen(set));
	return i == UINT32_MAX || !(l->d->set[l->set_at[i]].flags & NFT_SET_ANONYMOUS) ? NULL :
	    &l->s->of[l->set_at[i]];
}

static void
place_all(struct look *l)
{
	const struct nl_dump *d = l->d;

	l->sets = hash_names_new(l->a);
	l->chains = hash_names_new(l->a);
	l->set_at = arena_array(l->a, d->nset, uint32_t);
	l->set_known = arena_array(l->a, d->nset, bool);
	l->chain_at = arena_array(l->a, d->nchain, uint32_t);
	l->chain_known = arena_array(l->a, d->nchain, bool);
	l->first = arena_array(l->a, d->nchain, uint32_t);
	l->many = arena_array(l->a, d->nchain, uint32_t);
	for (uint32_t i = 0; i < d->nset; i++)
		if (in_table(l, d->set[i].family, d->set[i].table))
			l->set_at[hash_names_add(l->sets, d->set[i].name, strlen(d->set[i].name),
			    NULL)] = i;
	for (uint32_t i = 0; i < d->nchain; i++)
		if (in_table(l, d->chain[i].family, d->chain[i].table))
			l->chain_at[hash_names_add(l->chains, d->chain[i].name,
			    strlen(d->chain[i].name), NULL)] = i;
	for (uint32_t i = 0; i < d->nrule; i++) {
		uint32_t c;

		if (!in_table(l, d->rule[i].family, d->rule[i].table))
			continue;
		c = hash_names_find(l->chains, d->rule[i].chain, strlen(d->rule[i].chain));
		if (c == UINT32_MAX)
			continue;
		if (!l->many[c]++)
			l->first[c] = i;
	}
}

static uint64_t
hash_have(struct look *l, uint32_t rule)
{
	const struct nl_rule *r = &l->d->rule[rule];

	return rule_hash(&l->b, r->expr, r->nexpr, r->udata, anon_of_dump, l);
}

/* What happened to a chain's rules: they agree at the beginning and at the end, so what
 * happened is between. */
static void
look_rules(struct look *l, uint32_t c, uint32_t at, const char *name)
{
	uint32_t want = l->w->form->plan->chain[c].nrule, have = l->many[at], head = 0, tail = 0;
	const uint64_t *w = l->w->rule[c];
	uint64_t *h = arena_array(l->a, have, uint64_t);

	for (uint32_t i = 0; i < have; i++)
		h[i] = hash_have(l, l->first[at] + i);
	while (head < want && head < have && w[head] == h[head])
		head++;
	if (head == want && head == have)
		return;
	while (tail < want - head && tail < have - head && w[want - 1 - tail] == h[have - 1 - tail])
		tail++;
	want -= head + tail;
	have -= head + tail;
	l->out->chain |= !l->w->form->plan->chain[c].entry;
	if (have == 0 && want == 1)
		nl_diff_add(l->out, "rule %u of chain %s deleted", head + 1, name);
	else if (have == 0)
		nl_diff_add(l->out, "rules %u to %u of chain %s deleted", head + 1, head + want, name);
	else if (want == 0 && have == 1)
		nl_diff_add(l->out, "a rule more in chain %s, before rule %u", name, head + 1);
	else if (want == 0)
		nl_diff_add(l->out, "%u rules more in chain %s, before rule %u", have, name, head + 1);
	else if (want == 1 && have == 1)
		nl_diff_add(l->out, "rule %u of chain %s changed", head + 1, name);
	else
		nl_diff_add(l->out, "rules %u to %u of chain %s changed", head + 1, head + want, name);
}

static void
look_base(struct look *l, uint32_t c, const struct nl_chain *have, const char *name)
{
	const struct plan_chain *want = &l->w->form->plan->chain[c];

	if (have->base != (want->entry && want->base))
		nl_diff_add(l->out, "chain %s is %s", name,
		    have->base ? "hooked, and should not be" : "not hooked any more");
	else if (have->base && (have->hook != put_hook(want->hook) ||
	    have->priority != want->priority || strcmp(have->type, put_chain_type(want->type)) != 0))
		nl_diff_add(l->out, "chain %s is hooked elsewhere", name);
	else if (have->base && have->policy != NF_ACCEPT)
		nl_diff_add(l->out, "the policy of chain %s is drop", name);
}

static void
look_chains(struct look *l)
{
	const struct nl_form *f = l->w->form;
	const struct plan *p = f->plan;

	for (uint32_t c = 0; c < p->nchain; c++) {
		uint32_t at = hash_names_find(l->chains, f->chain[c].name, strlen(f->chain[c].name));
		const char *name = nl_plain_name(l->a, f->chain[c].name);

		if (at == UINT32_MAX) {
			nl_diff_add(l->out, "chain %s deleted", name);
			continue;
		}
		l->chain_known[at] = true;
		look_base(l, c, &l->d->chain[l->chain_at[at]], name);
		look_rules(l, c, at, name);
	}
	for (uint32_t i = 0; i < hash_names_count(l->chains); i++)
		if (!l->chain_known[i] && ours(p, hash_names_at(l->chains, i)))
			nl_diff_add(l->out, "chain %s added", hash_names_at(l->chains, i));
}

static void
mark(struct nl_diff *out, uint32_t set)
{
	out->set = true;
	if (out->sets)
		out->sets[set] = true;
}

static void
counts(struct nl_diff *out, uint32_t set, const char *name, uint32_t want, uint32_t have)
{
	uint32_t n = have > want ? have - want : want - have;

	mark(out, set);
	nl_diff_add(out, "set %s has %u element%s %s", name, n, n == 1 ? "" : "s",
	    have > want ? "more" : "fewer");
}

static void
look_sets(struct look *l, bool *unjudged)
{
	const struct nl_form *f = l->w->form;
	const struct plan *p = f->plan;

	for (uint32_t i = 0; i < p->nset; i++) {
		const char *name = f->set[i].name, *plain;
		const struct nl_set *s;
		uint32_t at;

		if (!name)
			continue;
		at = hash_names_find(l->sets, name, strlen(name));
		plain = nl_plain_name(l->a, name);
		if (at == UINT32_MAX) {
			nl_diff_add(l->out, "set %s deleted", plain);
			continue;
		}
		l->set_known[at] = true;
		s = &l->d->set[l->set_at[at]];
		if (s->key_len != plan_key_len(p->set[i].key) ||
		    !(s->flags & NFT_SET_MAP) != (p->set[i].kind != PLAN_MAP)) {
			mark(l->out, i);
			nl_diff_add(l->out, "set %s is of another kind", plain);
		} else if (p->set[i].kind == PLAN_METER) {
			continue;
		} else if (s->count == UINT32_MAX) {
			if (unjudged)
				unjudged[i] = true;
		} else if (s->count != l->w->set[i].n && !held_count_agrees(s, &p->set[i])) {
			counts(l->out, i, plain, l->w->set[i].n, s->count);
		}
	}
	for (uint32_t i = 0; i < hash_names_count(l->sets); i++)
		if (!l->set_known[i] && ours(p, hash_names_at(l->sets, i)) &&
		    !(l->d->set[l->set_at[i]].flags & NFT_SET_ANONYMOUS))
			nl_diff_add(l->out, "set %s added", hash_names_at(l->sets, i));
}

static bool
wanted_counter(const struct nl_watch *w, const char *name)
{
	/* the stamp, and those that say what a set holds: the agent's own */
	return hash_names_find(w->counters, name, strlen(name)) != UINT32_MAX ||
	    !strncmp(name, "mailreeve/", 10);
}

static void
look_objects(struct look *l)
{
	const struct nl_form *f = l->w->form;
	const struct plan *p = f->plan;
	struct hash_names *have = hash_names_new(l->a);
	static const uint8_t unstamped[PLAN_DIGEST];
	uint8_t digest[NL_DIGEST];
	struct nl_salt salt;
	int err = nl_stamp(l->d, p->table, digest, &salt);

	if (!memcmp(p->digest, unstamped, sizeof unstamped))
		; /* the table of blocks */
	else if (err == -ENOENT)
		nl_diff_add(l->out, "the stamp deleted");
	else if (err || memcmp(digest, p->digest, sizeof digest) != 0 ||
	    salt.set != f->salt.set || salt.chain != f->salt.chain)
		nl_diff_add(l->out, "the stamp changed");
	for (uint32_t i = 0; i < l->d->nobject; i++) {
		const struct nl_object *o = &l->d->object[i];

		if (!in_table(l, o->family, o->table))
			continue;
		if (o->type == OBJECT_COUNTER)
			hash_names_add(have, o->name, strlen(o->name), NULL);
		if (ours(p, o->name) && (o->type != OBJECT_COUNTER || !wanted_counter(l->w, o->name)))
			nl_diff_add(l->out, "object %s added", o->name);
	}
	for (uint32_t i = 0; i < p->ncounter; i++)
		if (hash_names_find(have, p->counter[i].name, strlen(p->counter[i].name)) ==
		    UINT32_MAX)
			nl_diff_add(l->out, "counter %s deleted", p->counter[i].name);
}

void
nl_watch_look(const struct nl_watch *w, const struct nl_dump *d, const struct nl_sums *s,
    uint32_t flags, struct nl_diff *out, bool *unjudged)
{
	const struct plan *p = w->form->plan;
	const struct nl_table *t = nl_dump_table(d, NFPROTO_INET, p->table);
	struct look l = {.w = w, .d = d, .s = s, .out = out, .b = BUF_INIT(MOST_TEXT)};

	if (!t) {
		out->table = true;
		nl_diff_add(out, "table inet %s deleted", p->table);
		return;
	}
	l.a = arena_new();
	if (p->own_table && t->flags & DORMANT)
		nl_diff_add(out, "table inet %s made dormant", p->table);
	if (p->own_table && (t->flags ^ flags) & TABLE_FLAGS & ~DORMANT)
		nl_diff_add(out, "table inet %s is %s", p->table,
		    flags & ~t->flags & NL_OWNER ? "not our own any more" : "flagged otherwise");
	place_all(&l);
	look_chains(&l);
	look_sets(&l, unjudged);
	look_objects(&l);
	buf_free(&l.b);
	arena_free(l.a);
}

void
nl_watch_set(const struct nl_watch *w, uint32_t i, struct nl_sum have, struct nl_diff *out)
{
	struct arena *a;
	const char *name;

	if (have.n == w->set[i].n && have.sum == w->set[i].sum)
		return;
	a = arena_new();
	name = nl_plain_name(a, w->form->set[i].name ? w->form->set[i].name : "(anonymous)");
	if (have.n != w->set[i].n) {
		counts(out, i, name, w->set[i].n, have.n);
	} else {
		mark(out, i);
		nl_diff_add(out, "set %s has other elements", name);
	}
	arena_free(a);
}
