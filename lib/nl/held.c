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

void
held_stamped_sum(const struct held *h, uint8_t sum[NL_DIGEST])
{
	uint32_t i = index_find(&h->object, NL_STAMP);
	const uint8_t *p = NULL;
	size_t n = 0;

	memset(sum, 0, NL_DIGEST);
	if (i != UINT32_MAX)
		p = wire_tag_find(h->d->object[i].udata.p, h->d->object[i].udata.n,
		    WIRE_TAG_EDITS, &n);
	if (p && n == NL_DIGEST)
		memcpy(sum, p, NL_DIGEST);
}

int
held_sum_of(const struct held *h, const struct plan *p, const struct index *keep,
    uint8_t sum[NL_DIGEST])
{
	uint8_t digest[NL_DIGEST];
	int err = 0;

	memset(sum, 0, NL_DIGEST);
	for (uint32_t i = 0; h->d && i < h->d->nobject && !err; i++) {
		const struct nl_object *o = &h->d->object[i];
		const char *set = held_edited_set(o->name);

		if (!set || o->type != OBJECT_COUNTER ||
		    !held_in_table(p, o->family, o->table) ||
		    (keep && index_find(keep, o->name) == UINT32_MAX))
			continue;
		err = digest_of(o->udata, digest) ? held_sum(sum, set, digest) : -EBADMSG;
	}
	return err;
}

static bool
doubtful(const struct held *h, const struct plan *p)
{
	uint8_t sum[NL_DIGEST], stamped[NL_DIGEST];

	held_stamped_sum(h, stamped);
	return held_sum_of(h, p, NULL, sum) || memcmp(sum, stamped, sizeof sum) != 0;
}

/* ---- what is there ------------------------------------------------------------------------- */

struct held
held_look(struct arena *a, const struct plan *p, const struct nl_dump *d)
{
	struct held h = {.d = d};

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
	h.doubt = doubtful(&h, p);
	return h;
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
	/* newer kernels count the elements */
	if (same && (held_count_agrees(s, p) || p->kind == PLAN_METER))
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
