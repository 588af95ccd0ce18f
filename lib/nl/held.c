#include "nl/held.h"

#include <assert.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/sha.h"
#include "nl/batch.h"
#include "nl/dump.h"
#include "nl/wire.h"

#define OURS "mailreeve-"

enum { OBJECT_COUNTER = 1 };

/* ---- names ----------------------------------------------------------------------------- */

void
index_add(struct arena *a, struct index *x, const char *name, uint32_t at)
{
	int fresh;

	if (!x->names)
		x->names = hash_names_new(a);
	hash_names_add(x->names, name, strlen(name), &fresh);
	if (fresh)
		ARENA_PUSH(a, x->at, x->n, x->cap) = at;
}

uint32_t
index_find(const struct index *x, const char *name)
{
	uint32_t i = x->names ? hash_names_find(x->names, name, strlen(name)) : UINT32_MAX;

	if (i == UINT32_MAX)
		return UINT32_MAX;
	assert(x->at && i < x->n);
	return x->at[i];
}

bool
held_in_table(const struct plan *p, uint8_t family, const char *table)
{
	return family == NFPROTO_INET && !strcmp(table, p->table);
}

bool
held_ours(const struct plan *p, const char *name)
{
	return p->own_table || !strncmp(name, OURS, strlen(OURS)) || !strcmp(name, NL_STAMP) ||
	    held_edited_set(name);
}

const char *
held_edited_name(struct arena *a, const char *set)
{
	return arena_printf(a, "%s%s", NL_EDITED, set);
}

const char *
held_edited_set(const char *counter)
{
	size_t n = strlen(NL_EDITED);

	return strncmp(counter, NL_EDITED, n) ? NULL : counter + n;
}

const struct nl_set *
held_set(const struct held *h, const char *name)
{
	uint32_t i = index_find(&h->set, name);

	return i == UINT32_MAX ? NULL : &h->d->set[i];
}

const struct nl_chain *
held_chain(const struct held *h, const char *name)
{
	uint32_t i = index_find(&h->chain, name);

	return i == UINT32_MAX ? NULL : &h->d->chain[i];
}

/* ---- digests ----------------------------------------------------------------------------- */

static bool
digest_of(struct nl_bytes udata, uint8_t digest[NL_DIGEST])
{
	size_t n;
	const uint8_t *p = wire_tag_find(udata.p, udata.n, WIRE_TAG_DIGEST, &n);

	if (!p || n != NL_DIGEST)
		return false;
	memcpy(digest, p, NL_DIGEST);
	return true;
}

bool
held_own_digest(const struct nl_set *s, uint8_t digest[NL_DIGEST])
{
	return digest_of(s->udata, digest);
}

static const struct nl_object *
edit_of(const struct held *h, const char *set)
{
	char name[sizeof NL_EDITED + NL_NAME];
	size_t n = strlen(set);
	uint32_t i;

	if (n > NL_NAME)
		return NULL;
	memcpy(name, NL_EDITED, sizeof NL_EDITED - 1);
	memcpy(name + sizeof NL_EDITED - 1, set, n + 1);
	i = index_find(&h->object, name);
	return i == UINT32_MAX ? NULL : &h->d->object[i];
}

bool
held_edited(const struct held *h, const char *set)
{
	return edit_of(h, set) != NULL;
}

bool
held_content(const struct held *h, const struct nl_set *s, uint8_t digest[NL_DIGEST])
{
	const struct nl_object *o = edit_of(h, s->name);

	return !h->doubt && digest_of(o ? o->udata : s->udata, digest);
}

int
held_sum(uint8_t sum[NL_DIGEST], const char *set, const uint8_t digest[NL_DIGEST])
{
	struct sha *s = sha_new();
	uint8_t one[SHA_LEN];

	if (!s)
		return -ENOMEM;
	sha_add(s, set, strlen(set) + 1);
	sha_add(s, digest, NL_DIGEST);
	sha_end(s, one);
	for (int i = 0; i < NL_DIGEST; i++)
		sum[i] ^= one[i];
	return 0;
}

/* The 32 bytes of a tag in the stamp; NULL. */
static const uint8_t *
stamped(const struct held *h, uint8_t tag)
{
	uint32_t i = index_find(&h->object, NL_STAMP);
	const uint8_t *p;
	size_t n;

	if (i == UINT32_MAX)
		return NULL;
	p = wire_tag_find(h->d->object[i].udata.p, h->d->object[i].udata.n, tag, &n);
	return p && n == NL_DIGEST ? p : NULL;
}

void
held_stamped_sum(const struct held *h, uint8_t sum[NL_DIGEST])
{
	const uint8_t *p = stamped(h, WIRE_TAG_EDITS);

	memset(sum, 0, NL_DIGEST);
	if (p)
		memcpy(sum, p, NL_DIGEST);
}

bool
held_frame_agrees(const struct held *h, const struct nl_form *f)
{
	const uint8_t *p = stamped(h, WIRE_TAG_FRAME);

	return p && !memcmp(p, f->frame, NL_DIGEST);
}

int
held_sum_of(const struct held *h, const struct index *keep, uint8_t sum[NL_DIGEST])
{
	uint8_t digest[NL_DIGEST];
	int err = 0;

	memset(sum, 0, NL_DIGEST);
	for (uint32_t i = 0; h->d && i < h->d->nobject && !err; i++) {
		const struct nl_object *o = &h->d->object[i];
		const char *set = held_edited_set(o->name);

		if (!set || o->type != OBJECT_COUNTER ||
		    !held_in_table(h->plan, o->family, o->table) ||
		    (keep && index_find(keep, o->name) == UINT32_MAX))
			continue;
		err = digest_of(o->udata, digest) ? held_sum(sum, set, digest) : -EBADMSG;
	}
	return err;
}

static bool
doubtful(const struct held *h)
{
	uint8_t sum[NL_DIGEST], want[NL_DIGEST];

	held_stamped_sum(h, want);
	return held_sum_of(h, NULL, sum) || memcmp(sum, want, sizeof sum) != 0;
}

/* ---- what is there ------------------------------------------------------------------------- */

struct held
held_look(struct arena *a, const struct plan *p, const struct nl_dump *d)
{
	struct held h = {.d = d, .plan = p};

	for (uint32_t i = 0; d && i < d->nset; i++)
		if (held_in_table(p, d->set[i].family, d->set[i].table))
			index_add(a, &h.set, d->set[i].name, i);
	for (uint32_t i = 0; d && i < d->nchain; i++)
		if (held_in_table(p, d->chain[i].family, d->chain[i].table))
			index_add(a, &h.chain, d->chain[i].name, i);
	for (uint32_t i = 0; d && i < d->nobject; i++)
		if (d->object[i].type == OBJECT_COUNTER &&
		    held_in_table(p, d->object[i].family, d->object[i].table))
			index_add(a, &h.object, d->object[i].name, i);
	h.rules = arena_array(a, d ? d->nchain + 1 : 1, uint32_t);
	for (uint32_t i = 0; d && i < d->nrule; i++) {
		const struct nl_rule *r = &d->rule[i];
		uint32_t c;

		if (!held_in_table(p, r->family, r->table))
			continue;
		c = index_find(&h.chain, r->chain);
		if (c != UINT32_MAX)
			h.rules[c]++;
		for (uint32_t k = 0; k < r->nexpr; k++) {
			const struct nl_expr *e = &r->expr[k];

			if (e->kind == NL_LOOKUP)
				index_add(a, &h.used, e->u.lookup.set, i);
			if (e->kind == NL_DYNSET)
				index_add(a, &h.used, e->u.dynset.set, i);
		}
	}
	h.doubt = doubtful(&h);
	return h;
}

/* The number of a rule's chain; UINT32_MAX: it is not of the table. */
static uint32_t
chain_of(const struct held *h, const struct nl_rule *r)
{
	return held_in_table(h->plan, r->family, r->table) ? index_find(&h->chain, r->chain) :
	    UINT32_MAX;
}

/* The chain that an expression calls; NULL. */
static const char *
called_by(const struct nl_expr *e)
{
	return e->kind == NL_IMMEDIATE && e->u.immediate.v.n == 0 ?
	    e->u.immediate.verdict.chain : NULL;
}

/* Goes on from the rules of chains that are come to: whether others are come to by that. */
static bool
come_further(const struct held *h, bool *come, bool *maps)
{
	const struct nl_dump *d = h->d;
	bool more = false;

	for (uint32_t i = 0; i < d->nrule; i++) {
		uint32_t c = chain_of(h, &d->rule[i]);

		if (c == UINT32_MAX || !come[c])
			continue;
		for (uint32_t k = 0; k < d->rule[i].nexpr; k++) {
			const struct nl_expr *e = &d->rule[i].expr[k];
			const char *name = called_by(e);
			uint32_t to = name ? index_find(&h->chain, name) : UINT32_MAX;

			more |= to != UINT32_MAX && !come[to];
			if (to != UINT32_MAX)
				come[to] = true;
			if (e->kind == NL_LOOKUP && e->u.lookup.dreg < NL_DATA_REG && !*maps)
				*maps = more = true;
		}
	}
	for (uint32_t c = 0; *maps && c < d->nchain; c++)
		if (index_find(&h->chain, d->chain[c].name) == c && !come[c] &&
		    d->chain[c].use > h->rules[c])
			come[c] = more = true;
	return more;
}

void
held_live(const struct held *h, struct arena *a, struct index *live)
{
	const struct nl_dump *d = h->d;
	bool *come, maps = false;

	if (!d)
		return;
	come = arena_array(a, d->nchain + 1, bool);
	for (uint32_t c = 0; c < d->nchain; c++)
		come[c] = index_find(&h->chain, d->chain[c].name) == c &&
		    !nl_is_generation(d->chain[c].name);
	while (come_further(h, come, &maps))
		;
	for (uint32_t i = 0; i < d->nrule; i++) {
		uint32_t c = chain_of(h, &d->rule[i]);

		for (uint32_t k = 0; c != UINT32_MAX && come[c] && k < d->rule[i].nexpr; k++)
			if (d->rule[i].expr[k].kind == NL_LOOKUP)
				index_add(a, live, d->rule[i].expr[k].u.lookup.set, i);
	}
}

/* Whether the last range has no end: nothing is behind it. */
static bool
open_at_the_end(const struct plan_set *p)
{
	if (!p->interval || p->n == 0)
		return false;
	switch (p->key) {
	case PLAN_KEY_IPV4:
		return p->v4[p->n - 1].hi == UINT32_MAX;
	case PLAN_KEY_IPV6:
		return p->v6[p->n - 1].hi == U128_MAX;
	case PLAN_KEY_PORT:
		return p->port[p->n - 1].hi == UINT16_MAX;
	case PLAN_KEY_UID:
	case PLAN_NKEY:
		break;
	}
	return false;
}

/* The kernel counts the boundaries of ranges, and gives half of that. */
bool
held_count_agrees(const struct nl_set *s, const struct plan_set *p)
{
	return s->count == p->n || (open_at_the_end(p) && s->count == p->n - 1);
}

/* Whether a rule of the plan looks into its set number i. */
static bool
looked_into(const struct plan *p, uint32_t i)
{
	for (uint32_t c = 0; c < p->nchain; c++)
		for (uint32_t k = 0; k < p->chain[c].nrule; k++) {
			const struct plan_rule *r = &p->chain[c].rule[k];

			if (r->vmap == i || r->limit.meter == i)
				return true;
			for (uint32_t m = 0; m < r->nmatch; m++)
				if (r->match[m].set == i)
					return true;
		}
	return false;
}

enum there
held_name_there(const struct held *h, const struct nl_form *f, uint32_t i, const char *name)
{
	const struct nl_set *s = held_set(h, name);
	const struct plan_set *p = &f->plan->set[i];
	uint8_t digest[NL_DIGEST];
	bool same;

	if (!s)            /* a counter without its set would speak for the new one */
		return edit_of(h, name) ? ANOTHER : ABSENT;
	same = held_content(h, s, digest) && !memcmp(digest, f->set[i].digest, NL_DIGEST);
	if (index_find(&h->used, s->name) != UINT32_MAX)
		return same ? PRESENT : ANOTHER;
	/* newer kernels count the elements; where none does, a set that no packet comes to may
	 * be half staged */
	if (same && (held_count_agrees(s, p) || p->kind == PLAN_METER ||
	    (s->count == UINT32_MAX && !looked_into(f->plan, i))))
		return PRESENT;
	return edit_of(h, s->name) ? ANOTHER : LEFTOVER;
}

enum there
held_set_there(const struct held *h, const struct nl_form *f, uint32_t i)
{
	return held_name_there(h, f, i, f->set[i].name);
}

enum there
held_chain_there(const struct held *h, const struct nl_form *f, uint32_t i)
{
	uint32_t at = index_find(&h->chain, f->chain[i].name);
	const struct nl_chain *c;
	uint8_t digest[NL_DIGEST];

	if (at == UINT32_MAX)
		return ABSENT;
	c = &h->d->chain[at];
	if (!c->base && digest_of(c->udata, digest) &&
	    !memcmp(digest, f->chain[i].digest, NL_DIGEST))
		return h->rules[at] == f->plan->chain[i].nrule ? PRESENT : PARTLY;
	return c->base || c->use > h->rules[at] ? ANOTHER : LEFTOVER;
}
