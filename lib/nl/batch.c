#include "nl/batch.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#include "base/arena.h"
#include "nl/dump.h"
#include "nl/held.h"
#include "nl/put.h"
#include "nl/wire.h"

enum {
	OBJECT_COUNTER = 1,
	OBJECT_COMMENT_TAG = 0,    /* NFTNL_UDATA_OBJ_COMMENT */
	LEAST_PART = 1024,         /* bytes of a message about a name, and more */
};

/* ---- stage ------------------------------------------------------------------------------- */

/* Whether the thing has to be made; -EEXIST is noted where it cannot be. */
static bool
wanting(struct put *o, enum there t, const char *name)
{
	if (t == ANOTHER) {
		o->err = -EEXIST;
		o->who = name;
	}
	return t == ABSENT || t == PARTLY || t == LEFTOVER;
}

static void
stage_sets(struct put *o, const struct held *h, bool maps)
{
	for (uint32_t i = 0; i < o->p->nset && !o->err; i++) {
		const char *name = o->f->set[i].name;
		enum there t;

		if (!name || (o->p->set[i].kind == PLAN_MAP) != maps)
			continue;
		t = held_set_there(h, o->f, i);
		if (!wanting(o, t, name))
			continue;
		put_part(o, 2 * WIRE_ATTR);
		if (t == LEFTOVER)
			put_delete_set(o, name);
		put_set(o, i);
	}
}

static void
stage_chain(struct put *o, uint32_t c, enum there t)
{
	const char *name = o->f->chain[c].name;

	put_part(o, PUT_SLACK);
	if (t == LEFTOVER) {
		put_flush(o, name);
		put_delete_chain(o, name);
	}
	if (t != PARTLY)
		put_chain(o, c);
}

/* Fills a chain. One that was there may be in use: its old rules and its new ones change
 * places in one transaction. */
static void
stage_rules(struct put *o, uint32_t c, enum there t)
{
	uint32_t n = o->p->chain[c].nrule;
	size_t whole = 0;

	for (uint32_t k = 0; t == PARTLY && k < n; k++)
		whole += o->f->chain[c].rule[k].n + PUT_SLACK;
	if (t == PARTLY) {
		put_part(o, whole);
		put_flush(o, o->f->chain[c].name);
	}
	for (uint32_t k = 0; k < n; k++) {
		if (t != PARTLY)
			put_part(o, WIRE_ATTR);
		put_rule(o, c, k);
	}
}

int
nl_stage(const struct nl_job *j, struct nl_batch *out, const char **who)
{
	struct put o = put_start(j, out);
	struct held h = held_look(j->a, j->form->plan, j->have);
	const struct plan *p = o.p;
	enum there *t = arena_array(j->a, p->nchain + 1, enum there);

	put_table(&o);
	out->changes += !nl_dump_table(j->have, NFPROTO_INET, p->table);
	for (uint32_t i = 0; i < p->ncounter; i++)
		if (index_find(&h.object, p->counter[i].name) == UINT32_MAX) {
			put_part(&o, PUT_SLACK);
			put_counter(&o, p->counter[i].name, NULL);
		}
	stage_sets(&o, &h, false);
	for (uint32_t c = 0; c < p->nchain && !o.err; c++) {
		t[c] = p->chain[c].entry ? PRESENT : held_chain_there(&h, o.f, c);
		if (wanting(&o, t[c], o.f->chain[c].name))
			stage_chain(&o, c, t[c]);
	}
	stage_sets(&o, &h, true);
	for (uint32_t c = 0; c < p->nchain && !o.err; c++)
		if (wanting(&o, t[c], o.f->chain[c].name))
			stage_rules(&o, c, t[c]);
	return put_end(&o, who);
}

/* ---- swap --------------------------------------------------------------------------------- */

static bool
same_entry(const struct nl_chain *have, const struct plan_chain *want)
{
	if (!want->base)
		return !have->base;
	return have->base && have->hook == put_hook(want->hook) &&
	    have->priority == want->priority && have->policy == NF_ACCEPT &&
	    !strcmp(have->type, put_chain_type(want->type));
}

/* The entry chains of ours that the plan has not: base chains go, others are emptied,
 * for rules of the administrator may still jump to them. */
static void
retire(struct put *o, const struct held *h)
{
	struct index wanted = {0};

	for (uint32_t c = 0; c < o->p->nchain; c++)
		if (o->p->chain[c].entry)
			index_add(o->j->a, &wanted, o->f->chain[c].name, c);
	for (uint32_t i = 0; h->d && i < h->d->nchain; i++) {
		const struct nl_chain *c = &h->d->chain[i];

		if (!held_in_table(o->p, c->family, c->table) || !held_ours(o->p, c->name) ||
		    index_find(&wanted, c->name) != UINT32_MAX)
			continue;
		if (!c->base && (o->p->own_table || nl_is_generation(c->name)))
			continue;          /* the sweep's */
		put_flush(o, c->name);
		if (c->base)
			put_delete_chain(o, c->name);
	}
}

int
nl_swap(const struct nl_job *j, struct nl_batch *out, const char **who)
{
	struct put o = put_start(j, out);
	uint8_t sum[NL_DIGEST];
	struct held h = held_look(j->a, j->form->plan, j->have);

	put_table(&o);
	held_stamped_sum(&h, sum); /* a swap changes no set, and clears no doubt */
	put_stamp(&o, &h, sum);
	retire(&o, &h);
	for (uint32_t c = 0; c < o.p->nchain; c++) {
		const struct nl_chain *have;

		if (!o.p->chain[c].entry)
			continue;
		have = held_chain(&h, o.f->chain[c].name);
		if (have)
			put_flush(&o, have->name);
		if (have && !same_entry(have, &o.p->chain[c])) {
			put_delete_chain(&o, have->name);
			have = NULL;
		}
		if (!have)
			put_chain(&o, c);
		put_rules(&o, c);
	}
	return put_end(&o, who);
}

/* ---- sweep -------------------------------------------------------------------------------- */

/* Whether rules outside of the chain refer to it. */
static bool
called(const struct nl_dump *d, const struct nl_chain *c)
{
	uint32_t own = 0;

	for (uint32_t i = 0; i < d->nrule; i++)
		own += d->rule[i].family == c->family && !strcmp(d->rule[i].chain, c->name) &&
		    !strcmp(d->rule[i].table, c->table);
	return c->use > own;
}

/* Between what nothing refers to any more. */
static void
may_part(struct put *o, bool parts)
{
	if (parts)
		put_part(o, LEAST_PART);
}

/* Deletes what is ours and not in `keep`: rules first, then what they used; in one transaction,
 * or in as many as it takes. */
static void
clear(struct put *o, const struct nl_dump *d, const struct index keep[3], bool parts)
{
	bool *gone = arena_array(o->j->a, d->nchain + 1, bool);

	for (uint32_t i = 0; i < d->nchain; i++) {
		const struct nl_chain *c = &d->chain[i];

		gone[i] = held_in_table(o->p, c->family, c->table) && held_ours(o->p, c->name) &&
		    index_find(&keep[0], c->name) == UINT32_MAX;
		/* an entry of ours that the administrator's rules still jump to stays,
		 * empty */
		if (gone[i] && !o->p->own_table && !nl_is_generation(c->name) && called(d, c))
			gone[i] = false;
		if (!gone[i])
			continue;
		may_part(o, parts);
		put_flush(o, c->name);
	}
	for (uint32_t i = 0; i < d->nset; i++) {
		const struct nl_set *s = &d->set[i];

		if (!held_in_table(o->p, s->family, s->table) || !held_ours(o->p, s->name) ||
		    s->flags & NFT_SET_ANONYMOUS ||
		    index_find(&keep[1], s->name) != UINT32_MAX)
			continue;
		may_part(o, parts);
		put_delete_set(o, s->name);
	}
	for (uint32_t i = 0; i < d->nchain; i++) {
		if (!gone[i])
			continue;
		may_part(o, parts);
		put_delete_chain(o, d->chain[i].name);
	}
	for (uint32_t i = 0; i < d->nobject; i++) {
		const struct nl_object *x = &d->object[i];

		if (!held_in_table(o->p, x->family, x->table) || !held_ours(o->p, x->name) ||
		    (x->type == OBJECT_COUNTER && index_find(&keep[2], x->name) != UINT32_MAX))
			continue;
		may_part(o, parts);
		put_delete_object(o, x->name, x->type);
	}
}

/* The stamp's sum of the counters of changed sets that are kept, where it has another. */
static void
sum_again(struct put *o, const struct held *h, const struct index *keep)
{
	uint8_t sum[NL_DIGEST], stamped[NL_DIGEST];

	held_stamped_sum(h, stamped);
	if (held_sum_of(h, keep, sum) || !memcmp(sum, stamped, sizeof sum))
		return;
	put_stamp_again(o, h, sum);
}

int
nl_sweep(const struct nl_job *j, struct nl_batch *out, const char **who)
{
	struct put o = put_start(j, out);
	struct index keep[3] = {0};
	struct held h;

	for (uint32_t c = 0; c < o.p->nchain; c++)
		index_add(j->a, &keep[0], o.f->chain[c].name, c);
	for (uint32_t i = 0; i < o.p->nset; i++)
		if (o.f->set[i].name)
			index_add(j->a, &keep[1], o.f->set[i].name, i);
	for (uint32_t i = 0; i < o.p->ncounter; i++)
		index_add(j->a, &keep[2], o.p->counter[i].name, i);
	for (uint32_t i = 0; i < o.p->nset; i++)
		if (o.f->set[i].name)
			index_add(j->a, &keep[2], held_edited_name(j->a, o.f->set[i].name), i);
	index_add(j->a, &keep[2], NL_STAMP, 0);
	put_table(&o);
	if (j->have) {
		h = held_look(j->a, o.p, j->have);
		clear(&o, j->have, keep, true);
		sum_again(&o, &h, &keep[2]);
	}
	return put_end(&o, who);
}

int
nl_remove(const struct nl_job *j, struct nl_batch *out, const char **who)
{
	struct put o = put_start(j, out);
	struct index keep[3] = {0};
	size_t at;

	put_table(&o);
	if (!o.p->own_table) {
		if (j->have)
			clear(&o, j->have, keep, false);
		return put_end(&o, who);
	}
	at = put_begin(&o, NFT_MSG_DELTABLE, 0,
	    (struct nl_item){.what = NL_A_TABLE, .del = true, .name = o.p->table});
	wire_str(&out->bytes, NFTA_TABLE_NAME, o.p->table);
	wire_msg_end(&out->bytes, at);
	out->changes++;
	return put_end(&o, who);
}

void
nl_batch_free(struct nl_batch *b)
{
	buf_free(&b->bytes);
	for (struct nl_batch *p = b->next; p; p = p->next)
		buf_free(&p->bytes);
	*b = (struct nl_batch){0};
}

uint32_t
nl_gen_after(uint32_t g, const struct nl_batch *b)
{
	for (const struct nl_batch *p = b->changes ? b : NULL; p; p = p->next)
		g = put_gen_next(g);
	return g;
}

/* ---- reading back --------------------------------------------------------------------------- */

static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
nl_stamp(const struct nl_dump *d, const char *table, uint8_t digest[NL_DIGEST],
    struct nl_salt *salt)
{
	const struct nl_object *o = nl_dump_object(d, NFPROTO_INET, table, NL_STAMP);
	const uint8_t *text, *s;
	uint8_t bytes[NL_DIGEST];
	size_t n, ns;

	if (!o)
		return -ENOENT;
	text = wire_tag_find(o->udata.p, o->udata.n, OBJECT_COMMENT_TAG, &n);
	s = wire_tag_find(o->udata.p, o->udata.n, WIRE_TAG_SALT, &ns);
	if (!text || n != 2 * NL_DIGEST + 1 || !s || ns != 8)
		return -EBADMSG;
	for (size_t i = 0; i < NL_DIGEST; i++) {
		int hi = hex((char)text[2 * i]), lo = hex((char)text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EBADMSG;
		bytes[i] = (uint8_t)(hi << 4 | lo);
	}
	memcpy(digest, bytes, sizeof bytes);
	salt->set = (uint32_t)s[0] << 24 | (uint32_t)s[1] << 16 | (uint32_t)s[2] << 8 | s[3];
	salt->chain = (uint32_t)s[4] << 24 | (uint32_t)s[5] << 16 | (uint32_t)s[6] << 8 | s[7];
	return 0;
}

bool
nl_in_force(const struct nl_form *f, const struct nl_dump *d)
{
	struct nl_job j = {.a = arena_new(), .form = f, .have = d};
	const struct plan *p = f->plan;
	struct held h = held_look(j.a, p, d);
	uint8_t digest[NL_DIGEST];
	struct nl_salt salt;
	bool yes = !h.doubt && !nl_stamp(d, p->table, digest, &salt) &&
	    !memcmp(digest, p->digest, sizeof digest) && salt.set == f->salt.set &&
	    salt.chain == f->salt.chain && held_frame_agrees(&h, f);

	for (uint32_t i = 0; i < p->ncounter && yes; i++)
		yes = index_find(&h.object, p->counter[i].name) != UINT32_MAX;
	for (uint32_t i = 0; i < p->nset && yes; i++)
		yes = !f->set[i].name || held_set_there(&h, f, i) == PRESENT;
	for (uint32_t c = 0; c < p->nchain && yes; c++) {
		uint32_t at = index_find(&h.chain, f->chain[c].name);

		if (!p->chain[c].entry)
			yes = held_chain_there(&h, f, c) == PRESENT;
		else
			yes = at != UINT32_MAX && same_entry(&d->chain[at], &p->chain[c]) &&
			    h.rules[at] == p->chain[c].nrule;
	}
	arena_free(j.a);
	return yes;
}

const char *
nl_item_text(struct arena *a, const struct nl_item *i)
{
	static const char *const word[NL_NWHAT] = {
		[NL_THE_BATCH] = "the transaction on table", [NL_A_TABLE] = "table",
		[NL_A_COUNTER] = "counter", [NL_A_SET] = "set",
		[NL_AN_ELEMENT] = "an element of set", [NL_A_CHAIN] = "chain",
		[NL_A_RULE] = "rule",
	};

	if (i->what == NL_A_RULE && !i->del)
		return arena_printf(a, "rule %u of chain %s", i->rule + 1, i->name);
	if (i->what == NL_A_RULE)
		return arena_printf(a, "the old rules of chain %s", i->name);
	return arena_printf(a, "%s%s %s", i->del ? "deleting " : "", word[i->what], i->name);
}
