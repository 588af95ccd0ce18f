/*
 * read: the plan file, believed in nothing.
 *
 * A reader that remembers its first error; every number is checked against
 * what it counts or points to, every name against what nft takes bare, and a chain may
 * only call chains before it. What is read writes back to the same bytes.
 */
#include <sha2.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "plan/bytes.h"
#include "plan/plan.h"

struct rd {
	struct arena *a;
	const uint8_t *p;
	size_t n;
	const char *wrong;
	struct plan *plan;
	uint32_t *depth;           /* of each chain's calls */
	struct hash_names *sets, *chains, *counters;
};

static void
bad(struct rd *r, const char *why)
{
	if (!r->wrong)
		r->wrong = why;
	r->n = 0;
}

static const uint8_t *
take(struct rd *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->n < n) {
		bad(r, "it ends too early");
		return NULL;
	}
	r->p += n;
	r->n -= n;
	return p;
}

static uint8_t
get8(struct rd *r)
{
	const uint8_t *p = take(r, 1);

	return p ? *p : 0;
}

static uint32_t
be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t
get32(struct rd *r)
{
	const uint8_t *p = take(r, 4);

	return p ? be32(p) : 0;
}

static uint64_t
get64(struct rd *r)
{
	const uint8_t *p = take(r, 8);

	return p ? (uint64_t)be32(p) << 32 | be32(p + 4) : 0;
}

static u128
get128(struct rd *r)
{
	const uint8_t *p = take(r, 16);

	return p ? u128_from_be(p) : 0;
}

static bool
get_bool(struct rd *r)
{
	uint8_t x = get8(r);

	if (x > 1)
		bad(r, "a yes or no is neither");
	return x == 1;
}

/* A number below `most`. */
static unsigned
get_enum(struct rd *r, unsigned most)
{
	uint8_t x = get8(r);

	if (x >= most) {
		bad(r, "a choice is unknown");
		return 0;
	}
	return x;
}

/* A number of records of at least `least` bytes each. */
static uint32_t
get_count(struct rd *r, size_t least)
{
	uint32_t n = get32(r);

	if (n > r->n / least) {
		bad(r, "a list is longer than the file");
		return 0;
	}
	return n;
}

/* A number below n, or none. */
static uint32_t
get_index(struct rd *r, uint32_t n, bool needed)
{
	uint32_t i = get32(r);

	if (i == PLAN_NONE ? needed : i >= n) {
		bad(r, "a number points to nothing");
		return PLAN_NONE;
	}
	return i;
}

/* Text of at most `most` bytes without '"' and control characters; NULL when empty. */
static const char *
get_text(struct rd *r, size_t most)
{
	uint32_t n = get_count(r, 1);
	const uint8_t *p;

	if (n > most)
		bad(r, "a text is too long");
	p = take(r, r->wrong ? 0 : n);
	if (r->wrong || n == 0)
		return NULL;
	for (uint32_t i = 0; i < n; i++)
		if (p[i] < ' ' || p[i] == '"' || p[i] == 0x7f) {
			bad(r, "a text has an odd character");
			return NULL;
		}
	return arena_strn(r->a, (const char *)p, n);
}

/* A name that nft takes bare, not seen before. */
static const char *
get_name(struct rd *r, struct hash_names *seen)
{
	const char *s = get_text(r, PLAN_NAME);
	int fresh;

	if (!s)
		return NULL;
	for (const char *q = s; *q; q++) {
		bool letter = (*q >= 'a' && *q <= 'z') || (*q >= 'A' && *q <= 'Z') || *q == '_';

		if (!letter && (q == s || !((*q >= '0' && *q <= '9') || *q == '-' || *q == '.'))) {
			bad(r, "a name has an odd character");
			return NULL;
		}
	}
	hash_names_add(seen, s, strlen(s), &fresh);
	if (!fresh) {
		bad(r, "a name is there twice");
		return NULL;
	}
	return s;
}

static struct plan_verdict
get_verdict(struct rd *r, uint32_t chains)
{
	struct plan_verdict v = {.kind = get_enum(r, PLAN_NVERDICT)};
	bool calls = v.kind == PLAN_DO_JUMP || v.kind == PLAN_DO_GOTO;

	v.chain = get_index(r, calls ? chains : 0, calls);
	return v;
}

static void
get_ranges(struct rd *r, struct plan_set *s)
{
	static const size_t least[PLAN_NKEY] = {8, 32, 4, 5};
	size_t each = least[s->key] + (s->kind == PLAN_MAP ? 5 : 0);
	struct addr_range4 *v4 = NULL;
	struct addr_range6 *v6 = NULL;
	struct port_range *port = NULL;
	struct plan_verdict *verdict = NULL;
	const char **user = NULL;
	u128 last = 0;

	s->n = get_count(r, each);
	if (s->kind == PLAN_METER ? s->n > 0 : s->n == 0)
		bad(r, "a set has elements where it may not, or none");
	if (r->wrong)
		s->n = 0;
	switch (s->key) {
	case PLAN_KEY_IPV4:
		s->v4 = v4 = arena_array(r->a, s->n, struct addr_range4);
		break;
	case PLAN_KEY_IPV6:
		s->v6 = v6 = arena_array(r->a, s->n, struct addr_range6);
		break;
	case PLAN_KEY_PORT:
		s->port = port = arena_array(r->a, s->n, struct port_range);
		break;
	case PLAN_KEY_UID:
		s->user = user = arena_array(r->a, s->n, const char *);
		break;
	case PLAN_NKEY:
		break;
	}
	if (s->kind == PLAN_MAP)
		s->verdict = verdict = arena_array(r->a, s->n, struct plan_verdict);
	for (size_t i = 0; i < s->n && !r->wrong; i++) {
		u128 lo = i, hi = i;
		uint32_t x;

		if (v4) {
			v4[i].lo = get32(r);
			v4[i].hi = get32(r);
			lo = v4[i].lo;
			hi = v4[i].hi;
		} else if (v6) {
			lo = v6[i].lo = get128(r);
			hi = v6[i].hi = get128(r);
		} else if (port) {
			x = get32(r);
			lo = port[i].lo = (uint16_t)(x >> 16);
			hi = port[i].hi = (uint16_t)x;
		} else if (user && !(user[i] = get_text(r, 255))) {
			bad(r, "a user has no name");
		}
		if (lo > hi || (i && lo <= last) || (!s->interval && lo != hi))
			bad(r, "the elements of a set are not in order");
		last = hi;
		if (!verdict)
			continue;
		verdict[i] = get_verdict(r, UINT32_MAX);
		if (verdict[i].kind == PLAN_GO_ON || verdict[i].kind == PLAN_DO_REJECT ||
		    verdict[i].kind == PLAN_DO_REDIRECT)
			bad(r, "a map gives what no map can");
	}
}

static void
get_set(struct rd *r, struct plan_set *s)
{
	s->name = get_name(r, r->sets);
	s->kind = get_enum(r, PLAN_NSET_KIND);
	s->key = get_enum(r, PLAN_NKEY);
	s->interval = get_bool(r);
	s->timeout = get32(r);
	s->size = get32(r);
	if (s->key == PLAN_KEY_UID && (s->kind != PLAN_SET || s->interval))
		bad(r, "a set of users is more than that");
	if (s->kind == PLAN_METER ? s->interval || !s->timeout || !s->size :
	    s->timeout || s->size)
		bad(r, "a set's time or size is odd");
	if (!s->name && (s->kind != PLAN_SET || s->interval))
		bad(r, "a set has no name");
	get_ranges(r, s);
}

enum form { FORM_NUMBER, FORM_ADDR4, FORM_ADDR6, FORM_TEXT, FORM_USER, FORM_FLAGS,
	FORM_STATE, FORM_TIME };

/* What a match on a field may say. */
static const struct {
	enum form form;
	uint64_t most;
} field_row[PLAN_NFIELD] = {
	[PLAN_NFPROTO] = {FORM_NUMBER, 255},
	[PLAN_L4PROTO] = {FORM_NUMBER, 255},
	[PLAN_IIFNAME] = {FORM_TEXT, 15},
	[PLAN_OIFNAME] = {FORM_TEXT, 15},
	[PLAN_SADDR4] = {FORM_ADDR4, 0},
	[PLAN_DADDR4] = {FORM_ADDR4, 0},
	[PLAN_SADDR6] = {FORM_ADDR6, 0},
	[PLAN_DADDR6] = {FORM_ADDR6, 0},
	[PLAN_DPORT] = {FORM_NUMBER, 65535},
	[PLAN_TCP_FLAGS] = {FORM_FLAGS, 0},
	[PLAN_CT_STATE] = {FORM_STATE, 0},
	[PLAN_CT_DPORT] = {FORM_NUMBER, 65535},
	[PLAN_TIME] = {FORM_TIME, 9223372036},
	[PLAN_SKUID] = {FORM_USER, 255},
	[PLAN_CGROUP] = {FORM_TEXT, 4096},
};

/* Whether a set may be looked into with the field. */
static bool
key_fits(enum plan_key k, enum plan_field f)
{
	switch (k) {
	case PLAN_KEY_IPV4:
		return f == PLAN_SADDR4 || f == PLAN_DADDR4;
	case PLAN_KEY_IPV6:
		return f == PLAN_SADDR6 || f == PLAN_DADDR6;
	case PLAN_KEY_PORT:
		return f == PLAN_DPORT;
	case PLAN_KEY_UID:
		return f == PLAN_SKUID;
	case PLAN_NKEY:
		break;
	}
	return false;
}

static void
get_match(struct rd *r, struct plan_match *m)
{
	const struct plan *p = r->plan;
	bool ordered, ok = true;
	u128 most;

	m->field = get_enum(r, PLAN_NFIELD);
	m->op = get_enum(r, PLAN_NOP);
	m->set = get_index(r, p->nset, false);
	m->lo = get128(r);
	m->hi = get128(r);
	m->mask = get32(r);
	m->level = get32(r);
	m->text = get_text(r, field_row[m->field].most);
	if (r->wrong)
		return;
	ordered = m->op == PLAN_LESS || m->op == PLAN_LEAST;
	if (m->set != PLAN_NONE) {
		const struct plan_set *s = &p->set[m->set];

		if (ordered || s->kind != PLAN_SET || !key_fits(s->key, m->field) ||
		    m->lo || m->hi || m->mask || m->level || m->text)
			bad(r, "a match looks into a set that does not fit");
		return;
	}
	switch (field_row[m->field].form) {
	case FORM_NUMBER:
	case FORM_ADDR4:
	case FORM_ADDR6:
		most = m->field == PLAN_SADDR6 || m->field == PLAN_DADDR6 ? U128_MAX :
		    m->field == PLAN_SADDR4 || m->field == PLAN_DADDR4 ? UINT32_MAX :
		    (u128)field_row[m->field].most;
		ok = !ordered && m->lo <= m->hi && m->hi <= most && !m->mask &&
		    !m->level && !m->text;
		if (m->field == PLAN_NFPROTO)
			ok = ok && m->lo == m->hi && (m->lo == 2 || m->lo == 10);
		if (m->field == PLAN_L4PROTO)
			ok = ok && m->lo == m->hi;
		break;
	case FORM_TEXT:
	case FORM_USER:
		ok = !ordered && !m->lo && !m->hi && !m->mask && m->text &&
		    (m->field == PLAN_CGROUP ? m->level > 0 && m->level < 256 : !m->level);
		break;
	case FORM_FLAGS:
		ok = !ordered && m->mask && m->mask < 256 && m->lo == m->hi &&
		    (m->lo & ~(u128)m->mask) == 0 && !m->level && !m->text;
		break;
	case FORM_STATE:
		ok = !ordered && m->mask && !(m->mask & ~(uint32_t)(1 | 2 | 4 | 8 | 64)) &&
		    !m->lo && !m->hi && !m->level && !m->text;
		break;
	case FORM_TIME:
		ok = ordered && m->lo == m->hi && m->lo <= field_row[m->field].most &&
		    !m->mask && !m->level && !m->text;
		break;
	}
	if (!ok)
		bad(r, "a match says something odd");
}

static void
get_limit(struct rd *r, struct plan_limit *k)
{
	const struct plan *p = r->plan;
	const struct plan_set *s;

	k->rate = get64(r);
	k->unit = get32(r);
	k->burst = get32(r);
	k->meter = get_index(r, p->nset, false);
	k->prefix = get32(r);
	if (r->wrong)
		return;
	if (!k->rate) {
		if (k->unit || k->burst || k->meter != PLAN_NONE || k->prefix)
			bad(r, "a rule has half a limit");
		return;
	}
	if (!plan_unit_word(k->unit) || !k->burst) {
		bad(r, "a limit's unit or burst is odd");
		return;
	}
	s = k->meter == PLAN_NONE ? NULL : &p->set[k->meter];
	if (s ? s->kind != PLAN_METER || (s->key == PLAN_KEY_IPV4 ? k->prefix != 32 :
	    s->key != PLAN_KEY_IPV6 || k->prefix != 64) : k->prefix != 0)
		bad(r, "a limit's meter does not fit");
}

/* Notes that chain i calls v. */
static void
call(struct rd *r, uint32_t i, struct plan_verdict v)
{
	if (r->wrong || v.chain == PLAN_NONE)
		return;
	if (v.chain >= i) {
		bad(r, "a chain calls one that is not before it");
		return;
	}
	if (r->depth[v.chain] + 1 > r->depth[i])
		r->depth[i] = r->depth[v.chain] + 1;
	if (r->depth[i] >= PLAN_DEPTH)
		bad(r, "chains call each other too deep");
}

static void
get_rule(struct rd *r, uint32_t i, struct plan_rule *x)
{
	const struct plan *p = r->plan;

	x->at = TEXT_NO_SPAN;
	x->nmatch = get_count(r, LEAST_MATCH);
	if (x->nmatch > PLAN_MOST_RULE_MATCHES)
		bad(r, "a rule has too many matches");
	if (r->wrong)
		x->nmatch = 0;
	x->match = arena_array(r->a, x->nmatch, struct plan_match);
	for (uint32_t k = 0; k < x->nmatch; k++)
		get_match(r, &x->match[k]);
	get_limit(r, &x->limit);
	x->vmap = get_index(r, p->nset, false);
	x->vmap_field = get_enum(r, PLAN_NFIELD);
	x->counter = get_index(r, p->ncounter, false);
	x->log = get_text(r, PLAN_PREFIX);
	x->verdict = get_verdict(r, i);
	if (r->wrong)
		return;
	call(r, i, x->verdict);
	if (x->vmap == PLAN_NONE) {
		if (x->vmap_field)
			bad(r, "a rule has half a map");
		return;
	}
	if (p->set[x->vmap].kind != PLAN_MAP ||
	    !key_fits(p->set[x->vmap].key, x->vmap_field) ||
	    x->counter != PLAN_NONE || x->log || x->verdict.kind != PLAN_GO_ON) {
		bad(r, "a rule's map does not fit");
		return;
	}
	for (size_t k = 0; k < p->set[x->vmap].n; k++)
		call(r, i, p->set[x->vmap].verdict[k]);
}

static void
get_chain(struct rd *r, uint32_t i)
{
	struct plan_chain *c = &r->plan->chain[i];

	c->name = get_name(r, r->chains);
	if (!c->name)
		bad(r, "a chain has no name");
	c->entry = get_bool(r);
	if (c->entry) {
		c->base = get_bool(r);
		c->type = get_enum(r, PLAN_NCHAIN_TYPE);
		c->hook = get_enum(r, PACKET_INPUT + 1);
		c->priority = (int32_t)get32(r);
	}
	c->nrule = get_count(r, LEAST_RULE);
	c->rule = arena_array(r->a, c->nrule, struct plan_rule);
	for (uint32_t k = 0; k < c->nrule && !r->wrong; k++)
		get_rule(r, i, &c->rule[k]);
}

static void
get_body(struct rd *r)
{
	struct plan *p = r->plan;

	p->table = get_name(r, hash_names_new(r->a));
	p->own_table = get_bool(r);
	if (!p->table)
		bad(r, "the table has no name");
	p->ncounter = get_count(r, LEAST_COUNTER);
	p->counter = arena_array(r->a, p->ncounter, struct plan_counter);
	for (uint32_t i = 0; i < p->ncounter && !r->wrong; i++)
		if (!(p->counter[i].name = get_name(r, r->counters)))
			bad(r, "a counter has no name");
	p->nset = get_count(r, LEAST_SET);
	p->set = arena_array(r->a, p->nset, struct plan_set);
	for (uint32_t i = 0; i < p->nset && !r->wrong; i++)
		get_set(r, &p->set[i]);
	p->nchain = get_count(r, LEAST_CHAIN);
	p->chain = arena_array(r->a, p->nchain, struct plan_chain);
	r->depth = arena_array(r->a, p->nchain + 1, uint32_t);
	for (uint32_t i = 0; i < p->nchain && !r->wrong; i++)
		get_chain(r, i);
	/* a map that no rule uses calls chains all the same when it is printed */
	for (uint32_t i = 0; i < p->nset && !r->wrong; i++)
		for (size_t k = 0; p->set[i].kind == PLAN_MAP && k < p->set[i].n; k++)
			if (p->set[i].verdict[k].chain != PLAN_NONE &&
			    p->set[i].verdict[k].chain >= p->nchain)
				bad(r, "a map calls a chain that is not there");
}

static void
get_provenance(struct rd *r)
{
	struct plan *p = r->plan;
	const char **comment;

	p->policy = get_text(r, 4096);
	p->point = get_text(r, 4096);
	p->policy = p->policy ? p->policy : "";
	p->point = p->point ? p->point : "";
	p->observe = get_bool(r);
	for (uint32_t i = 0; i < p->nset && !r->wrong; i++) {
		if (!get_bool(r))
			continue;
		if (p->set[i].n > r->n / 4) {
			bad(r, "it ends too early");
			return;
		}
		p->set[i].comment = comment = arena_array(r->a, p->set[i].n, const char *);
		for (size_t k = 0; k < p->set[i].n; k++)
			comment[k] = get_text(r, PLAN_COMMENT);
	}
	for (uint32_t i = 0; i < p->nchain && !r->wrong; i++)
		for (uint32_t k = 0; k < p->chain[i].nrule; k++) {
			struct plan_rule *x = &p->chain[i].rule[k];

			x->observed = get_enum(r, PLAN_NVERDICT);
			x->stmt = get32(r);
			x->comment = get_text(r, PLAN_COMMENT);
		}
}

/* Begins a part: its length and bytes, out of `from`. */
static struct rd
part(struct rd *from)
{
	struct rd r = *from;
	uint64_t n = get64(from);

	if (n > from->n)
		bad(from, "it ends too early");
	r.n = from->wrong ? 0 : (size_t)n;
	r.p = take(from, r.n);
	r.wrong = from->wrong;
	return r;
}

bool
plan_is(const void *bytes, size_t n)
{
	return n >= PLAN_MAGIC_LEN && !memcmp(bytes, PLAN_MAGIC, PLAN_MAGIC_LEN);
}

const char *
plan_read(struct arena *a, const void *bytes, size_t n, struct plan **plan)
{
	struct rd file = {.a = a, .p = bytes, .n = n}, r;
	const uint8_t *magic = take(&file, PLAN_MAGIC_LEN), *digest;
	uint8_t own[PLAN_DIGEST];
	SHA2_CTX sha;

	if (!magic || memcmp(magic, PLAN_MAGIC, PLAN_MAGIC_LEN))
		return "it is no plan file";
	if (get32(&file) != PLAN_VERSION)
		return "it is of another version";
	file.plan = arena_of(a, struct plan);
	file.sets = hash_names_new(a);
	file.chains = hash_names_new(a);
	file.counters = hash_names_new(a);
	r = part(&file);
	if (r.wrong)
		return r.wrong;
	SHA256Init(&sha);
	SHA256Update(&sha, r.p, r.n);
	SHA256Final(own, &sha);
	digest = take(&file, sizeof own);
	if (!digest || memcmp(digest, own, sizeof own))
		return "its digest is not that of its bytes";
	memcpy(file.plan->digest, own, sizeof own);
	get_body(&r);
	if (!r.wrong && r.n)
		return "there is something behind its end";
	if (r.wrong)
		return r.wrong;
	r = part(&file);
	if (!r.wrong)
		get_provenance(&r);
	if (r.wrong)
		return r.wrong;
	if (r.n || file.n)
		return "there is something behind its end";
	*plan = file.plan;
	return NULL;
}
