#include "nl/edit.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "nl/dump.h"
#include "nl/element.h"
#include "nl/held.h"
#include "nl/put.h"
#include "nl/wire.h"

/* What is to be done to one set. */
struct change {
	uint32_t set;
	size_t *del, *add;         /* numbers of elements: of the old plan's set, the new one's */
	size_t ndel, nadd, capdel, capadd;
};

/* ---- what differs ---------------------------------------------------------------------- */

static bool
same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : !a && !b;
}

static bool
same_chain(const struct nl_form *old, const struct nl_form *new, uint32_t c)
{
	const struct plan_chain *p = &old->plan->chain[c], *q = &new->plan->chain[c];

	return !strcmp(old->chain[c].name, new->chain[c].name) &&
	    !memcmp(old->chain[c].digest, new->chain[c].digest, NL_DIGEST) &&
	    p->nrule == q->nrule && p->entry == q->entry && p->base == q->base &&
	    p->type == q->type && p->hook == q->hook && p->priority == q->priority;
}

/* Whether all but the elements of sets is the same. A chain's digest covers its rules with the
 * names of what they use, and the contents of anonymous sets. */
static bool
same_frame(const struct nl_form *old, const struct nl_form *new)
{
	const struct plan *p = old->plan, *q = new->plan;

	if (strcmp(p->table, q->table) != 0 || p->own_table != q->own_table ||
	    p->nset != q->nset || p->nchain != q->nchain || p->ncounter != q->ncounter ||
	    old->salt.set != new->salt.set || old->salt.chain != new->salt.chain)
		return false;
	for (uint32_t i = 0; i < p->ncounter; i++)
		if (strcmp(p->counter[i].name, q->counter[i].name) != 0)
			return false;
	for (uint32_t c = 0; c < p->nchain; c++)
		if (!same_chain(old, new, c))
			return false;
	for (uint32_t i = 0; i < p->nset; i++)
		if (!same_text(old->set[i].name, new->set[i].name))
			return false;
	return true;
}

/* Whether a set is one whose elements can be changed: ranges in a tree. */
static bool
changeable(const struct plan_set *p, const struct plan_set *q)
{
	return p->kind == PLAN_SET && q->kind == PLAN_SET && p->key == q->key &&
	    p->interval && q->interval && p->key != PLAN_KEY_UID;
}

static void
ends(const struct plan_set *s, size_t i, u128 *lo, u128 *hi)
{
	switch (s->key) {
	case PLAN_KEY_IPV4:
		*lo = s->v4[i].lo;
		*hi = s->v4[i].hi;
		break;
	case PLAN_KEY_IPV6:
		*lo = s->v6[i].lo;
		*hi = s->v6[i].hi;
		break;
	case PLAN_KEY_PORT:
		*lo = s->port[i].lo;
		*hi = s->port[i].hi;
		break;
	case PLAN_KEY_UID:
	case PLAN_NKEY:
		*lo = *hi = 0;
		break;
	}
}

static bool
too_much(const struct change *c, size_t n)
{
	size_t k = c->ndel + c->nadd;

	return k > NL_EDIT_ALWAYS && k * 100 > n * NL_EDIT_PERCENT;
}

/* The elements of p that q has not, and of q that p has not; an element is its range and its
 * comment. False where they are too many. */
static bool
differ(struct arena *a, const struct plan_set *p, const struct plan_set *q, struct change *c)
{
	size_t i = 0, k = 0, most = p->n > q->n ? p->n : q->n;
	u128 plo = 0, phi = 0, qlo = 0, qhi = 0;

	while ((i < p->n || k < q->n) && !too_much(c, most)) {
		if (i < p->n)
			ends(p, i, &plo, &phi);
		if (k < q->n)
			ends(q, k, &qlo, &qhi);
		if (i < p->n && k < q->n && plo == qlo && phi == qhi &&
		    same_text(p->comment ? p->comment[i] : NULL,
		    q->comment ? q->comment[k] : NULL)) {
			i++;
			k++;
		} else if (i < p->n && (k == q->n || plo <= qlo)) {
			ARENA_PUSH(a, c->del, c->ndel, c->capdel) = i++;
		} else {
			ARENA_PUSH(a, c->add, c->nadd, c->capadd) = k++;
		}
	}
	return !too_much(c, most);
}

/* ---- what a packet sees -------------------------------------------------------------------- */

/* How often a packet of a family may look into sets that change, on its longest way through
 * chain c; those that it calls stand before it. */
static uint32_t
looks(const struct plan *p, const bool *changed, enum plan_key other, const uint32_t *below,
    uint32_t c)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < p->chain[c].nrule; k++) {
		const struct plan_rule *r = &p->chain[c].rule[k];
		uint32_t most = 0;

		for (uint32_t i = 0; i < r->nmatch; i++)
			n += r->match[i].set != PLAN_NONE && changed[r->match[i].set] &&
			    p->set[r->match[i].set].key != other;
		if (r->vmap == PLAN_NONE && r->verdict.chain != PLAN_NONE)
			most = below[r->verdict.chain];
		for (size_t i = 0; r->vmap != PLAN_NONE && i < p->set[r->vmap].n; i++) {
			uint32_t to = p->set[r->vmap].verdict[i].chain;

			if (to != PLAN_NONE && below[to] > most)
				most = below[to];
		}
		n += most;
	}
	return n;
}

/* Whether every packet looks at most once, so that it sees the old sets or the new ones. */
static bool
seen_once(struct arena *a, const struct plan *p, const bool *changed)
{
	static const enum plan_key other[] = {PLAN_KEY_IPV6, PLAN_KEY_IPV4};
	uint32_t *n = arena_array(a, p->nchain + 1, uint32_t);

	for (size_t f = 0; f < sizeof other / sizeof *other; f++)
		for (uint32_t c = 0; c < p->nchain; c++) {
			n[c] = looks(p, changed, other[f], n, c);
			if (p->chain[c].entry && n[c] > 1)
				return false;
			if (n[c] > 1)
				n[c] = 2; /* it cannot grow without bound */
		}
	return true;
}

/* ---- the batch ------------------------------------------------------------------------------- */

/* Says what the set holds from now on, where its own digest does not. */
static void
put_content(struct put *o, const struct held *h, uint32_t i, uint8_t sum[NL_DIGEST])
{
	const struct nl_set *s = held_set(h, o->f->set[i].name);
	const char *name = held_edited_name(o->j->a, s->name);
	struct buf tag = BUF_INIT(64);
	uint8_t now[NL_DIGEST];
	int err = 0;

	if (held_edited(h, s->name)) {
		if (!held_content(h, s, now))
			err = -EBADMSG;
		else
			err = held_sum(sum, s->name, now);
		put_delete_counter(o, name);
	}
	if (!held_own_digest(s, now) || memcmp(now, o->f->set[i].digest, NL_DIGEST) != 0) {
		wire_tag(&tag, WIRE_TAG_DIGEST, o->f->set[i].digest, NL_DIGEST);
		if (!err)
			err = held_sum(sum, s->name, o->f->set[i].digest);
		put_counter(o, name, &tag);
	}
	if (tag.err && !err)
		err = tag.err;
	buf_free(&tag);
	if (err && !o->err)
		o->err = err;
}

/* Deletions first: what is added may touch, or be, what was deleted. */
static void
put_change(struct put *o, const struct nl_form *old, const struct change *c)
{
	struct element_run del = {.form = old, .set = c->set, .pick = c->del,
	    .npick = c->ndel, .bare = true};
	struct element_run add = {.form = o->f, .set = c->set, .pick = c->add,
	    .npick = c->nadd};

	if (c->ndel)
		put_elements(o, &del, false);
	if (c->nadd)
		put_elements(o, &add, true);
}

static int
not_in_place(const char **who, const char *why)
{
	if (who)
		*who = why;
	return -EOPNOTSUPP;
}

/* The changes; NULL and why there cannot be any. */
static struct change *
changes(const struct nl_job *j, const struct held *h, uint32_t *n, const char **why)
{
	const struct plan *p = j->old->plan, *q = j->form->plan;
	struct change *c = arena_array(j->a, q->nset + 1, struct change);
	bool *changed = arena_array(j->a, q->nset + 1, bool);

	*n = 0;
	for (uint32_t i = 0; i < q->nset; i++) {
		const struct nl_set *s;

		if (!memcmp(j->old->set[i].digest, j->form->set[i].digest, NL_DIGEST))
			continue;
		*why = "a map, or a set that holds no ranges, is another";
		if (!j->form->set[i].name || !changeable(&p->set[i], &q->set[i]))
			return NULL;
		*why = "a set does not hold as many elements as it should";
		s = held_set(h, j->form->set[i].name);
		if (!s || (s->count != UINT32_MAX && !held_count_agrees(s, &p->set[i])))
			return NULL;
		*why = "too much of a set is another";
		c[*n].set = i;
		if (!differ(j->a, &p->set[i], &q->set[i], &c[*n]))
			return NULL;
		changed[i] = true;
		++*n;
	}
	*why = "a packet could look into changed sets more than once";
	return seen_once(j->a, q, changed) ? c : NULL;
}

int
nl_edit(const struct nl_job *j, struct nl_batch *out, const char **who)
{
	struct nl_job job = *j;
	const char *why = "";
	struct change *c;
	struct held h;
	struct put o;
	uint8_t sum[NL_DIGEST];
	uint32_t n;
	int err;

	if (!j->in_place)
		return not_in_place(who, "not with this kernel");
	if (!j->old || !j->have || !j->have->genid)
		return not_in_place(who, "what is in force is not known");
	if (!same_frame(j->old, j->form))
		return not_in_place(who, "more than elements of sets is another");
	if (!nl_in_force(j->old, j->have))
		return not_in_place(who, "the old plan is not in force as it stands");
	h = held_look(j->a, j->form->plan, j->have);
	c = changes(j, &h, &n, &why);
	if (!c)
		return not_in_place(who, why);
	if (!job.genid)
		job.genid = j->have->genid;
	o = put_start(&job, out);
	put_table(&o);
	if (n || memcmp(j->old->plan->digest, j->form->plan->digest, PLAN_DIGEST) != 0) {
		held_stamped_sum(&h, sum);
		for (uint32_t i = 0; i < n; i++)
			put_content(&o, &h, c[i].set, sum);
		put_stamp(&o, &h, sum);
	}
	for (uint32_t i = 0; i < n; i++)
		put_change(&o, j->old, &c[i]);
	err = put_end(&o, who);
	if (!err && j->most && out->bytes.n > j->most) {
		nl_batch_free(out);
		return not_in_place(who, "more than one transaction may have");
	}
	return err;
}

bool
nl_edits_agree(const struct plan *p, const struct nl_dump *d)
{
	struct arena *a = arena_new();
	bool yes = !held_look(a, p, d).doubt;

	arena_free(a);
	return yes;
}
