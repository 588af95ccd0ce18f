/*
 * others: what is in the kernel beside ours, as a list of hashes (watch.h).
 */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "nl/batch.h"
#include "nl/dump.h"
#include "nl/rulehash.h"

enum { MOST_TEXT = 1 << 20 };

struct gathering {
	const struct nl_dump *d;
	const struct nl_sums *s;
	const struct plan *p;
	const char *own;
	struct arena *a, *tmp;
	struct nl_others *out;
	struct hash_names *rows, *anon; /* keys to places in out, in the dump's sets */
	uint32_t *anon_at;
	struct buf key, text;
	const struct nl_rule *rule; /* being hashed */
};

static bool
foreign(const struct gathering *g, uint8_t family, const char *table, const char *name)
{
	static const char mark[] = "mailreeve";

	if (family != NFPROTO_INET)
		return true;
	if (g->own && !strcmp(table, g->own))
		return false;
	if (!g->p || strcmp(table, g->p->table) != 0)
		return true;
	return !g->p->own_table && strncmp(name, mark, sizeof mark - 1) != 0;
}

static void
key_of(struct gathering *g, uint8_t family, const char *table, const char *name)
{
	g->key.n = 0;
	buf_chr(&g->key, (char)family);
	buf_str(&g->key, table);
	buf_chr(&g->key, 0);
	buf_str(&g->key, name);
}

static struct nl_other *
row_of(struct gathering *g, uint8_t family, const char *table, const char *chain)
{
	struct nl_other *o;
	uint32_t i;
	int fresh;

	key_of(g, family, table, chain);
	i = hash_names_add(g->rows, g->key.p, g->key.n, &fresh);
	if (!fresh)
		return &g->out->v[i];
	o = &ARENA_PUSH(g->a, g->out->v, g->out->n, g->out->cap);
	*o = (struct nl_other){family, arena_str(g->a, table), arena_str(g->a, chain), 1};
	return o;
}

static const struct nl_sum *
anon_of(void *arg, const char *set)
{
	struct gathering *g = arg;
	uint32_t i;

	if (strncmp(set, "__", 2) != 0)
		return NULL;
	key_of(g, g->rule->family, g->rule->table, set);
	i = hash_names_find(g->anon, g->key.p, g->key.n);
	return i == UINT32_MAX ? NULL : &g->s->of[g->anon_at[i]];
}

static uint64_t
add_text(uint64_t h, const char *s)
{
	return s ? hash_bytes(h, s, strlen(s) + 1) : hash_u64(h, 0);
}

static void
take_sets(struct gathering *g)
{
	const struct nl_dump *d = g->d;

	g->anon_at = arena_array(g->tmp, d->nset, uint32_t);
	for (uint32_t i = 0; i < d->nset; i++) {
		const struct nl_set *s = &d->set[i];
		struct nl_other *o;
		uint64_t h;

		if (s->flags & NFT_SET_ANONYMOUS) {
			key_of(g, s->family, s->table, s->name);
			g->anon_at[hash_names_add(g->anon, g->key.p, g->key.n, NULL)] = i;
			continue;
		}
		if (!foreign(g, s->family, s->table, s->name))
			continue;
		h = add_text(2, s->name);
		h = hash_u64(hash_u64(h, s->flags), (uint64_t)s->key_type << 32 | s->key_len);
		h = hash_u64(hash_u64(h, s->timeout), (uint64_t)s->data_type << 32 | s->data_len);
		o = row_of(g, s->family, s->table, "");
		o->hash += h ^ h >> 31;
	}
}

static void
take_chains(struct gathering *g)
{
	const struct nl_dump *d = g->d;

	for (uint32_t i = 0; i < d->nchain; i++) {
		const struct nl_chain *c = &d->chain[i];
		struct nl_other *o;

		if (!foreign(g, c->family, c->table, c->name))
			continue;
		o = row_of(g, c->family, c->table, c->name);
		o->hash = hash_u64(add_text(3, c->type), c->base);
		if (c->base)
			o->hash = add_text(hash_u64(hash_u64(o->hash, c->hook),
			    (uint64_t)(uint32_t)c->priority << 32 | c->policy), c->device);
	}
	for (uint32_t i = 0; i < d->nrule; i++) {
		struct nl_other *o;

		g->rule = &d->rule[i];
		if (!foreign(g, g->rule->family, g->rule->table, g->rule->chain))
			continue;
		/* the row first: the sums of sets use the same room for a key */
		o = row_of(g, g->rule->family, g->rule->table, g->rule->chain);
		o->hash = hash_u64(o->hash, rule_hash(&g->text, g->rule->expr, g->rule->nexpr,
		    g->rule->udata, anon_of, g));
	}
}

static int
compare(const void *a, const void *b)
{
	const struct nl_other *x = a, *y = b;
	int k = (x->family > y->family) - (x->family < y->family);

	if (!k)
		k = strcmp(x->table, y->table);
	return k ? k : strcmp(x->chain, y->chain);
}

void
nl_others(struct arena *a, const struct nl_dump *d, const struct nl_sums *s, const struct plan *p,
    const char *own, struct nl_others *out)
{
	struct gathering g = {.d = d, .s = s, .p = p, .own = own, .a = a, .tmp = arena_new(),
	    .out = out, .key = BUF_INIT(4096), .text = BUF_INIT(MOST_TEXT)};

	*out = (struct nl_others){0};
	g.rows = hash_names_new(g.tmp);
	g.anon = hash_names_new(g.tmp);
	for (uint32_t i = 0; i < d->ntable; i++)
		if (foreign(&g, d->table[i].family, d->table[i].name, ""))
			row_of(&g, d->table[i].family, d->table[i].name, "")->hash +=
			    hash_u64(4, d->table[i].flags);
	take_sets(&g);
	for (uint32_t i = 0; i < d->nobject; i++) {
		const struct nl_object *o = &d->object[i];

		if (foreign(&g, o->family, o->table, o->name))
			row_of(&g, o->family, o->table, "")->hash +=
			    hash_u64(add_text(5, o->name), o->type);
	}
	take_chains(&g);
	if (out->n)
		qsort(out->v, out->n, sizeof *out->v, compare);
	buf_free(&g.key);
	buf_free(&g.text);
	arena_free(g.tmp);
}

static void
say(struct nl_diff *d, const struct nl_other *o, const char *what)
{
	if (*o->chain)
		nl_diff_add(d, "chain %s of table %s %s %s", o->chain, nl_family_word(o->family),
		    o->table, what);
	else
		nl_diff_add(d, "table %s %s %s", nl_family_word(o->family), o->table, what);
}

void
nl_others_diff(const struct nl_others *before, const struct nl_others *after,
    struct nl_diff *out)
{
	uint32_t i = 0, k = 0;

	while (i < before->n || k < after->n) {
		int c = i == before->n ? 1 : k == after->n ? -1 :
		    compare(&before->v[i], &after->v[k]);

		if (c < 0)
			say(out, &before->v[i++], "deleted");
		else if (c > 0)
			say(out, &after->v[k++], "added");
		else {
			if (before->v[i].hash != after->v[k].hash)
				say(out, &after->v[k], "changed");
			i++;
			k++;
		}
	}
}
