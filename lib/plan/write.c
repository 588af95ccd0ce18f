/*
 * write: the canonical bytes of a plan, their digest, and the plan file.
 *
 * File: magic, version, length of the canonical bytes (8), the canonical
 * bytes, their SHA-256, length of the provenance (8), the provenance.
 */
#include <sha2.h>
#include <string.h>

#include "base/buf.h"
#include "plan/bytes.h"
#include "plan/plan.h"

/* Where the bytes go: to a buffer, a digest, or only counted. */
struct sink {
	struct buf *b;
	SHA2_CTX *sha;
	uint64_t n;
	size_t held;
	uint8_t hold[4096];
};

static void
flush(struct sink *s)
{
	if (s->b)
		buf_add(s->b, s->hold, s->held);
	if (s->sha)
		SHA256Update(s->sha, s->hold, s->held);
	s->n += s->held;
	s->held = 0;
}

/* Room for n bytes, n small. */
static uint8_t *
room(struct sink *s, size_t n)
{
	uint8_t *p;

	if (s->held + n > sizeof s->hold)
		flush(s);
	p = s->hold + s->held;
	s->held += n;
	return p;
}

static void
be32(uint8_t *p, uint32_t x)
{
	p[0] = (uint8_t)(x >> 24);
	p[1] = (uint8_t)(x >> 16);
	p[2] = (uint8_t)(x >> 8);
	p[3] = (uint8_t)x;
}

static void
put8(struct sink *s, unsigned x)
{
	*room(s, 1) = (uint8_t)x;
}

static void
put32(struct sink *s, uint32_t x)
{
	be32(room(s, 4), x);
}

static void
put64(struct sink *s, uint64_t x)
{
	uint8_t *p = room(s, 8);

	be32(p, (uint32_t)(x >> 32));
	be32(p + 4, (uint32_t)x);
}

static void
put128(struct sink *s, u128 x)
{
	u128_to_be(x, room(s, 16));
}

static void
put_text(struct sink *s, const char *t)
{
	size_t n = t ? strlen(t) : 0;

	put32(s, (uint32_t)n);
	while (n) {
		size_t k = n < 1024 ? n : 1024;

		memcpy(room(s, k), t, k);
		t += k;
		n -= k;
	}
}

static void
put_verdict(struct sink *s, struct plan_verdict v)
{
	put8(s, v.kind);
	put32(s, v.chain);
}

static void
put_set(struct sink *s, const struct plan_set *t)
{
	put_text(s, t->name);
	put8(s, t->kind);
	put8(s, t->key);
	put8(s, t->interval);
	put32(s, t->timeout);
	put32(s, t->size);
	put32(s, (uint32_t)t->n);
	for (size_t i = 0; i < t->n; i++) {
		uint8_t *p;

		switch (t->key) {
		case PLAN_KEY_IPV4:
			p = room(s, 8);
			be32(p, t->v4[i].lo);
			be32(p + 4, t->v4[i].hi);
			break;
		case PLAN_KEY_IPV6:
			p = room(s, 32);
			u128_to_be(t->v6[i].lo, p);
			u128_to_be(t->v6[i].hi, p + 16);
			break;
		case PLAN_KEY_PORT:
			put32(s, (uint32_t)t->port[i].lo << 16 | t->port[i].hi);
			break;
		case PLAN_KEY_UID:
			put_text(s, t->user[i]);
			break;
		case PLAN_NKEY:
			break;
		}
		if (t->kind == PLAN_MAP)
			put_verdict(s, t->verdict[i]);
	}
}

static void
put_match(struct sink *s, const struct plan_match *m)
{
	put8(s, m->field);
	put8(s, m->op);
	put32(s, m->set);
	put128(s, m->lo);
	put128(s, m->hi);
	put32(s, m->mask);
	put32(s, m->level);
	put_text(s, m->text);
}

static void
put_rule(struct sink *s, const struct plan_rule *r)
{
	put32(s, r->nmatch);
	for (uint32_t i = 0; i < r->nmatch; i++)
		put_match(s, &r->match[i]);
	put64(s, r->limit.rate);
	put32(s, r->limit.unit);
	put32(s, r->limit.burst);
	put32(s, r->limit.meter);
	put32(s, r->limit.prefix);
	put32(s, r->vmap);
	put8(s, r->vmap == PLAN_NONE ? 0 : r->vmap_field);
	put32(s, r->counter);
	put_text(s, r->log);
	put_verdict(s, r->verdict);
}

/* What is enforced. */
static void
put_body(struct sink *s, const struct plan *p)
{
	put_text(s, p->table);
	put8(s, p->own_table);
	put32(s, p->ncounter);
	for (uint32_t i = 0; i < p->ncounter; i++)
		put_text(s, p->counter[i].name);
	put32(s, p->nset);
	for (uint32_t i = 0; i < p->nset; i++)
		put_set(s, &p->set[i]);
	put32(s, p->nchain);
	for (uint32_t i = 0; i < p->nchain; i++) {
		const struct plan_chain *c = &p->chain[i];

		put_text(s, c->name);
		put8(s, c->entry);
		if (c->entry) {
			put8(s, c->base);
			put8(s, c->type);
			put8(s, c->hook);
			put32(s, (uint32_t)c->priority);
		}
		put32(s, c->nrule);
		for (uint32_t k = 0; k < c->nrule; k++)
			put_rule(s, &c->rule[k]);
	}
}

/* Where it comes from. */
static void
put_provenance(struct sink *s, const struct plan *p)
{
	put_text(s, p->policy);
	put_text(s, p->point);
	put8(s, p->observe);
	for (uint32_t i = 0; i < p->nset; i++) {
		const struct plan_set *t = &p->set[i];

		put8(s, t->comment != NULL);
		for (size_t k = 0; t->comment && k < t->n; k++)
			put_text(s, t->comment[k]);
	}
	for (uint32_t i = 0; i < p->nchain; i++)
		for (uint32_t k = 0; k < p->chain[i].nrule; k++) {
			const struct plan_rule *r = &p->chain[i].rule[k];

			put8(s, r->observed);
			put32(s, r->stmt);
			put_text(s, r->comment);
		}
}

void
plan_seal(struct plan *p)
{
	SHA2_CTX sha;
	struct sink s;

	s.b = NULL;
	s.sha = &sha;
	s.n = 0;
	s.held = 0;
	SHA256Init(&sha);
	put_body(&s, p);
	flush(&s);
	SHA256Final(p->digest, &sha);
}

/* Adds what `put` writes with its length before it. */
static void
put_part(struct buf *out, const struct plan *p,
    void (*put)(struct sink *, const struct plan *))
{
	struct sink s;

	s.b = NULL;
	s.sha = NULL;
	s.n = 0;
	s.held = 0;
	put(&s, p);
	flush(&s);
	s.b = out;                 /* only counted so far */
	put64(&s, s.n);
	put(&s, p);
	flush(&s);
}

void
plan_write(struct buf *out, const struct plan *p)
{
	uint8_t version[4];

	be32(version, PLAN_VERSION);
	buf_add(out, PLAN_MAGIC, PLAN_MAGIC_LEN);
	buf_add(out, version, sizeof version);
	put_part(out, p, put_body);
	buf_add(out, p->digest, sizeof p->digest);
	put_part(out, p, put_provenance);
}

void
plan_resign(uint8_t *file, size_t n)
{
	const size_t head = PLAN_MAGIC_LEN + 4 + 8;
	uint8_t digest[PLAN_DIGEST];
	uint64_t len = 0;
	SHA2_CTX sha;

	for (size_t i = PLAN_MAGIC_LEN + 4; n >= head && i < head; i++)
		len = len << 8 | file[i];
	if (n < head + PLAN_DIGEST || len > n - head - PLAN_DIGEST)
		return;
	SHA256Init(&sha);
	SHA256Update(&sha, file + head, (size_t)len);
	SHA256Final(digest, &sha);
	memcpy(file + head + len, digest, sizeof digest);
}

void
plan_digest_text(const struct plan *p, char out[2 * PLAN_DIGEST + 1])
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < PLAN_DIGEST; i++) {
		out[2 * i] = hex[p->digest[i] >> 4];
		out[2 * i + 1] = hex[p->digest[i] & 15];
	}
	out[2 * PLAN_DIGEST] = 0;
}

static const struct {
	const char *word;
	unsigned len;
} key_row[PLAN_NKEY] = {
	[PLAN_KEY_IPV4] = {"ipv4_addr", 4},
	[PLAN_KEY_IPV6] = {"ipv6_addr", 16},
	[PLAN_KEY_PORT] = {"inet_service", 2},
	[PLAN_KEY_UID] = {"uid", 4},
};

const char *
plan_key_word(enum plan_key k)
{
	return key_row[k].word;
}

unsigned
plan_key_len(enum plan_key k)
{
	return key_row[k].len;
}

const char *
plan_unit_word(uint32_t unit)
{
	static const struct {
		uint32_t seconds;
		const char *word;
	} row[] = {{1, "second"}, {60, "minute"}, {3600, "hour"},
	    {86400, "day"}, {604800, "week"}};

	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		if (row[i].seconds == unit)
			return row[i].word;
	return NULL;
}
