#include "nl/form.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sha.h"
#include "nl/dump.h"
#include "nl/expr.h"
#include "nl/held.h"
#include "nl/wire.h"

enum {
	NAME_DIGITS = 8,
	NAME_BYTES = NAME_DIGITS / 2,
	NAMES = NL_DIGEST / NAME_BYTES, /* that a digest has */
	MOST_RULE = 1 << 16,
	COMMENT_TAG = 0,
};

struct make {
	struct arena *a;
	const struct nl_host *host;
	struct nl_form *f;
	bool *set_done;
	struct expr_out out;       /* its buffer is used again for each rule */
	const char *who;
	const struct nl_form *old; /* whose names are kept; NULL */
	struct index old_set;
	const struct held *held;   /* whose names are looked for; NULL */
	struct index base;         /* names without their digits: the first set of the dump ... */
	uint32_t *next;            /* ... and the next of the same; UINT32_MAX */
	struct index live;         /* sets that packets come to, made when they matter */
	bool live_known;
};

static void
add_u32(struct sha *s, uint32_t x)
{
	sha_add(s, &x, sizeof x);
}

static void
add_text(struct sha *s, const char *t)
{
	uint32_t n = t ? (uint32_t)strlen(t) : UINT32_MAX;

	add_u32(s, n);
	if (t)
		sha_add(s, t, n);
}

/* Name number k of a content. */
static const char *
generation(struct arena *a, const char *name, const uint8_t digest[NL_DIGEST], unsigned k)
{
	const uint8_t *d = digest + (size_t)k * NAME_BYTES;

	return arena_printf(a, "%s/%02x%02x%02x%02x", name, d[0], d[1], d[2], d[3]);
}

bool
nl_is_generation(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash && strspn(slash + 1, "0123456789abcdef") == NAME_DIGITS &&
	    !slash[1 + NAME_DIGITS];
}

/* ---- sets -------------------------------------------------------------------- */

static int
resolve(struct make *m, uint32_t i)
{
	const struct plan_set *s = &m->f->plan->set[i];
	uint32_t *uid = arena_array(m->a, s->n, uint32_t);
	int err;

	for (size_t k = 0; k < s->n; k++) {
		err = expr_uid(m->host, s->user[k], &uid[k]);
		if (err) {
			m->who = s->user[k];
			return err;
		}
	}
	m->f->set[i].uid = uid;
	return 0;
}

static void
add_elements(struct make *m, struct sha *sha, uint32_t i)
{
	const struct plan_set *s = &m->f->plan->set[i];

	switch (s->key) {
	case PLAN_KEY_IPV4:
		sha_add(sha, s->v4, s->n * sizeof *s->v4);
		break;
	case PLAN_KEY_IPV6:
		sha_add(sha, s->v6, s->n * sizeof *s->v6);
		break;
	case PLAN_KEY_PORT:
		sha_add(sha, s->port, s->n * sizeof *s->port);
		break;
	case PLAN_KEY_UID:
		sha_add(sha, m->f->set[i].uid, s->n * sizeof(uint32_t));
		break;
	case PLAN_NKEY:
		break;
	}
	for (size_t k = 0; s->kind == PLAN_MAP && k < s->n; k++) {
		uint32_t c = s->verdict[k].chain;

		add_u32(sha, s->verdict[k].kind);
		add_text(sha, c == PLAN_NONE ? NULL : m->f->chain[c].name);
	}
	for (size_t k = 0; s->comment && k < s->n; k++)
		add_text(sha, s->comment[k]);
}

/* A meter's buckets keep what limit they were made for, so that is its content. */
static void
add_limits(const struct plan *p, struct sha *sha, uint32_t meter)
{
	for (uint32_t i = 0; i < p->nchain; i++)
		for (uint32_t k = 0; k < p->chain[i].nrule; k++) {
			const struct plan_limit *t = &p->chain[i].rule[k].limit;

			if (!t->rate || t->meter != meter)
				continue;
			add_u32(sha, (uint32_t)(t->rate >> 32));
			add_u32(sha, (uint32_t)t->rate);
			add_u32(sha, t->unit);
			add_u32(sha, t->burst);
			add_u32(sha, t->prefix);
		}
}

/* ---- names of sets ------------------------------------------------------------- */

/* The sets of the dump by the names that they were made from. */
static void
sort_names(struct make *m, const struct held *h)
{
	const struct nl_dump *d = h->d;

	m->held = h;
	m->next = arena_array(m->a, d->nset + 1, uint32_t);
	for (uint32_t i = d->nset; i-- > 0; ) {
		const char *name = d->set[i].name;
		uint32_t first;

		m->next[i] = UINT32_MAX;
		if (!held_in_table(m->f->plan, d->set[i].family, d->set[i].table) ||
		    !nl_is_generation(name))
			continue;
		name = arena_strn(m->a, name, (size_t)(strrchr(name, '/') - name));
		index_add(m->a, &m->base, name, i);
		first = index_find(&m->base, name);
		if (first == i)
			continue;
		/* the dump's order, whatever it is, is not ours to rely on: they are compared */
		m->next[i] = m->next[first];
		m->next[first] = i;
	}
}

/* Of two sets with one content: the one that packets come to, the one in use, the one that was
 * changed in place (for it was in force then), then by name. */
static bool
rather(struct make *m, const char *one, const char *than)
{
	bool used, edited, live;

	if (!m->live_known)
		held_live(m->held, m->a, &m->live);
	m->live_known = true;
	live = index_find(&m->live, one) != UINT32_MAX;
	if (live != (index_find(&m->live, than) != UINT32_MAX))
		return live;
	used = index_find(&m->held->used, one) != UINT32_MAX;
	edited = held_edited(m->held, one);
	if (used != (index_find(&m->held->used, than) != UINT32_MAX))
		return used;
	if (edited != held_edited(m->held, than))
		return edited;
	return strcmp(one, than) < 0;
}

/* The name under which the kernel has the content; else one that is free. */
static const char *
name_as_held(struct make *m, uint32_t i)
{
	const struct plan_set *s = &m->f->plan->set[i];
	const uint8_t *digest = m->f->set[i].digest;
	const char *best = NULL;
	uint32_t at = index_find(&m->base, s->name);

	for (; at != UINT32_MAX; at = m->next[at]) {
		const char *name = m->held->d->set[at].name;

		if (strlen(name) < NL_NAME &&
		    held_name_there(m->held, m->f, i, name) == PRESENT &&
		    (!best || rather(m, name, best)))
			best = name;
	}
	for (unsigned k = 0; !best && k < NAMES; k++) {
		const char *name = generation(m->a, s->name, digest, k);
		enum there t = held_name_there(m->held, m->f, i, name);

		if (t == ABSENT || t == LEFTOVER)
			return name;
	}
	return best ? arena_str(m->a, best) : generation(m->a, s->name, digest, 0);
}

static const char *
set_name(struct make *m, uint32_t i)
{
	const struct plan_set *s = &m->f->plan->set[i];

	if (m->old) {
		uint32_t at = index_find(&m->old_set, s->name);

		if (at != UINT32_MAX)
			return arena_str(m->a, m->old->set[at].name);
	}
	if (m->held)
		return name_as_held(m, i);
	return generation(m->a, s->name, m->f->set[i].digest, 0);
}

/* Whether the content is byte for byte that of the old form's set `at`. */
static bool
same_content(const struct plan_set *s, const struct plan_set *t)
{
	if (s->kind != PLAN_SET || t->kind != PLAN_SET || s->key != t->key || s->n != t->n ||
	    s->interval != t->interval || s->comment || t->comment)
		return false;
	switch (s->key) {
	case PLAN_KEY_IPV4:
		return s->n == 0 || !memcmp(s->v4, t->v4, s->n * sizeof *s->v4);
	case PLAN_KEY_IPV6:
		return s->n == 0 || !memcmp(s->v6, t->v6, s->n * sizeof *s->v6);
	case PLAN_KEY_PORT:
		return s->n == 0 || !memcmp(s->port, t->port, s->n * sizeof *s->port);
	case PLAN_KEY_UID:     /* a name may have another number by now */
	case PLAN_NKEY:
		break;
	}
	return false;
}

/* Takes the digest of the old form where it must be the same. */
static bool
known(struct make *m, uint32_t i)
{
	const struct plan_set *s = &m->f->plan->set[i];
	uint32_t at = m->old && s->name ? index_find(&m->old_set, s->name) : UINT32_MAX;

	if (at == UINT32_MAX || s->timeout != m->old->plan->set[at].timeout ||
	    s->size != m->old->plan->set[at].size ||
	    !same_content(s, &m->old->plan->set[at]))
		return false;
	memcpy(m->f->set[i].digest, m->old->set[at].digest, NL_DIGEST);
	return true;
}

static int
hash_set(struct make *m, uint32_t i)
{
	const struct plan_set *s = &m->f->plan->set[i];
	struct sha *sha;

	sha = sha_new();
	if (!sha)
		return -ENOMEM;
	add_text(sha, s->name);
	add_u32(sha, m->f->salt.set);
	add_u32(sha, s->kind);
	add_u32(sha, s->key);
	add_u32(sha, s->interval);
	add_u32(sha, s->timeout);
	add_u32(sha, s->size);
	add_u32(sha, (uint32_t)s->n);
	add_elements(m, sha, i);
	if (s->kind == PLAN_METER)
		add_limits(m->f->plan, sha, i);
	sha_end(sha, m->f->set[i].digest);
	return 0;
}

/* The chains that a map calls must have their names: they stand before c. */
static bool
calls_below(const struct plan_set *s, uint32_t c)
{
	for (size_t k = 0; s->kind == PLAN_MAP && k < s->n; k++)
		if (s->verdict[k].chain != PLAN_NONE && s->verdict[k].chain >= c)
			return false;
	return true;
}

/* Names a set that chain c uses. */
static int
make_set(struct make *m, uint32_t i, uint32_t c)
{
	const struct plan_set *s = &m->f->plan->set[i];
	struct nl_set_form *f = &m->f->set[i];
	int err;

	if (m->set_done[i])
		return 0;
	m->who = s->name ? s->name : "a set";
	if (!calls_below(s, c) || (!s->name && (s->kind != PLAN_SET || s->interval)) ||
	    (s->name && strlen(s->name) > PLAN_NAME))
		return -EINVAL;
	if (s->key == PLAN_KEY_UID && (err = resolve(m, i)))
		return err;
	if (!known(m, i) && (err = hash_set(m, i)))
		return err;
	f->name = s->name ? set_name(m, i) : NULL;
	m->set_done[i] = true;
	return 0;
}

/* ---- chains -------------------------------------------------------------------- */

static const void *
copy(struct arena *a, const void *p, size_t n)
{
	return n ? memcpy(arena_alloc(a, n), p, n) : NULL;
}

static int
make_comment(struct make *m, const char *comment, struct nl_rule_form *f)
{
	struct buf b = BUF_INIT(256);
	int err;

	if (!comment)
		return 0;
	wire_tag(&b, COMMENT_TAG, comment, strlen(comment) + 1);
	err = b.err;
	if (!err) {
		f->udata = copy(m->a, b.p, b.n);
		f->nudata = (uint32_t)b.n;
	}
	buf_free(&b);
	return err;
}

static int
make_rule(struct make *m, uint32_t c, const struct plan_rule *r, struct nl_rule_form *f)
{
	struct expr_out *o = &m->out;
	int err = 0;

	for (uint32_t i = 0; i < r->nmatch && !err; i++)
		if (r->match[i].set != PLAN_NONE)
			err = make_set(m, r->match[i].set, c);
	if (!err && r->limit.rate && r->limit.meter != PLAN_NONE)
		err = make_set(m, r->limit.meter, c);
	if (!err && r->vmap != PLAN_NONE)
		err = make_set(m, r->vmap, c);
	if (err)
		return err;
	m->who = m->f->plan->chain[c].name;
	if (r->nmatch > PLAN_MOST_RULE_MATCHES ||
	    (r->verdict.chain != PLAN_NONE && r->verdict.chain >= c))
		return -EINVAL;
	o->b.n = 0;
	o->nanon = 0;
	expr_rule(o, r);
	if (o->err) {
		m->who = o->who;
		return o->err;
	}
	if (o->b.err)
		return o->b.err;
	f->bytes = copy(m->a, o->b.p, o->b.n);
	f->n = (uint32_t)o->b.n;
	f->anon = copy(m->a, o->anon, o->nanon * sizeof *o->anon);
	f->nanon = o->nanon;
	return make_comment(m, r->comment, f);
}

static int
make_chain(struct make *m, uint32_t c)
{
	const struct plan_chain *from = &m->f->plan->chain[c];
	struct nl_chain_form *to = &m->f->chain[c];
	struct sha *sha;
	int err;

	if (strlen(from->name) > PLAN_NAME) {
		m->who = from->name;
		return -EINVAL;
	}
	to->rule = arena_array(m->a, from->nrule, struct nl_rule_form);
	for (uint32_t k = 0; k < from->nrule; k++) {
		err = make_rule(m, c, &from->rule[k], &to->rule[k]);
		if (err)
			return err;
	}
	sha = sha_new();
	if (!sha)
		return -ENOMEM;
	add_text(sha, from->name);
	add_u32(sha, m->f->salt.chain);
	for (uint32_t k = 0; k < from->nrule; k++) {
		const struct nl_rule_form *f = &to->rule[k];

		add_u32(sha, f->n);
		sha_add(sha, f->bytes, f->n);
		add_u32(sha, f->nudata);
		sha_add(sha, f->udata, f->nudata);
		for (uint32_t i = 0; i < f->nanon; i++)
			sha_add(sha, m->f->set[f->anon[i].set].digest, NL_DIGEST);
	}
	sha_end(sha, to->digest);
	to->name = from->entry ? from->name : generation(m->a, from->name, to->digest, 0);
	return 0;
}

static int
make_frame(struct make *m)
{
	struct sha *sha = sha_new();

	if (!sha)
		return -ENOMEM;
	for (uint32_t c = 0; c < m->f->plan->nchain; c++)
		sha_add(sha, m->f->chain[c].digest, NL_DIGEST);
	for (uint32_t i = 0; i < m->f->plan->nset; i++)
		add_text(sha, m->f->set[i].name);
	sha_end(sha, m->f->frame);
	return 0;
}

static int
make(struct arena *a, const struct plan *p, const struct nl_host *host, struct nl_salt salt,
    const struct nl_form *old, const struct nl_dump *have, struct nl_form **out,
    const char **who)
{
	struct nl_form *f = arena_of(a, struct nl_form);
	struct make m = {.a = a, .host = host, .f = f, .old = old,
	    .set_done = arena_array(a, p->nset, bool),
	    .out = {.b = BUF_INIT(MOST_RULE), .form = f, .host = host}};
	struct held *held;
	int err = 0;

	f->plan = p;
	f->salt = salt;
	f->set = arena_array(a, p->nset, struct nl_set_form);
	f->chain = arena_array(a, p->nchain, struct nl_chain_form);
	for (uint32_t i = 0; old && i < old->plan->nset; i++)
		if (old->plan->set[i].name)
			index_add(a, &m.old_set, old->plan->set[i].name, i);
	if (have) {
		held = arena_of(a, struct held);
		*held = held_look(a, p, have);
		sort_names(&m, held);
	}
	for (uint32_t c = 0; c < p->nchain && !err; c++)
		err = make_chain(&m, c);
	for (uint32_t i = 0; i < p->nset && !err; i++) /* those that no rule uses */
		err = make_set(&m, i, p->nchain);
	buf_free(&m.out.b);
	if (!err)
		err = make_frame(&m);
	if (err)
		*who = m.who ? m.who : p->table;
	else
		*out = f;
	return err;
}

int
nl_form(struct arena *a, const struct plan *p, const struct nl_host *host,
    struct nl_salt salt, struct nl_form **out, const char **who)
{
	return make(a, p, host, salt, NULL, NULL, out, who);
}

int
nl_form_as(struct arena *a, const struct plan *p, const struct nl_host *host,
    struct nl_salt salt, const struct nl_dump *have, struct nl_form **out, const char **who)
{
	return make(a, p, host, salt, NULL, have, out, who);
}

int
nl_form_over(struct arena *a, const struct plan *p, const struct nl_host *host,
    const struct nl_form *old, struct nl_form **out, const char **who)
{
	return make(a, p, host, old->salt, old, NULL, out, who);
}
