#include "role/attempt_pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { TOKEN_US = 1000000 / POOL_RATE };

struct attempt_pool {
	uint64_t hash[POOL_ATTEMPTS]; /* of the keys, so that a look-up reads these alone; 0: free */
	uint32_t n;                /* places below are in use or were */
	uint32_t live;
	uint64_t next;             /* no attempt is due before */
	uint64_t tokens_us;        /* microseconds of the bucket */
	uint64_t filled;           /* when it was last filled; 0: not yet */
	uint64_t over;
	struct pool_attempt given; /* the last that attempt_pool_due() gave */
	struct pool_attempt v[POOL_ATTEMPTS];
};

static_assert(sizeof(struct pool_key) == 200, "keys are compared as bytes");

struct attempt_pool *
attempt_pool_new(void)
{
	struct attempt_pool *p = calloc(1, sizeof *p);

	if (p) {
		p->tokens_us = (uint64_t)POOL_BURST * TOKEN_US;
		p->next = UINT64_MAX;
	}
	return p;
}

struct attempt_pool *
attempt_pool_free(struct attempt_pool *p)
{
	free(p);
	return NULL;
}

static uint64_t
hash_of(const struct pool_key *k)
{
	uint64_t h = hash_bytes(0, k, sizeof *k);

	return h ? h : 1;
}

static uint32_t
find(const struct attempt_pool *p, uint64_t h, const struct pool_key *k)
{
	for (uint32_t i = 0; i < p->n; i++)
		if (p->hash[i] == h && !memcmp(&p->v[i].key, k, sizeof *k))
			return i;
	return POOL_ATTEMPTS;
}

static void
drop(struct attempt_pool *p, uint32_t i)
{
	assert(p->hash[i]);
	p->hash[i] = 0;
	p->live--;
	while (p->n && !p->hash[p->n - 1])
		p->n--;
}

/* A free place; else that of the oldest which only waits for repetitions; else POOL_ATTEMPTS. */
static uint32_t
place(struct attempt_pool *p)
{
	uint32_t best = POOL_ATTEMPTS;

	if (p->live < p->n || p->n < POOL_ATTEMPTS) {
		for (uint32_t i = 0; i < p->n; i++)
			if (!p->hash[i])
				return i;
		return p->n++;
	}
	for (uint32_t i = 0; i < p->n; i++)
		if (p->v[i].told && p->v[i].count == 0 &&
		    (best == POOL_ATTEMPTS || p->v[i].due < p->v[best].due))
			best = i;
	if (best < POOL_ATTEMPTS)
		p->live--;
	return best;
}

/* Whether the attempt knows the port already; it does from now on. */
static bool
repeats(struct pool_attempt *a, uint16_t sport)
{
	for (unsigned i = 0; i < a->nport; i++)
		if (a->port[i] == sport)
			return true;
	a->port[a->next_port] = sport;
	a->next_port = (uint8_t)((a->next_port + 1) % POOL_PORTS);
	if (a->nport < POOL_PORTS)
		a->nport++;
	return false;
}

struct pool_attempt *
attempt_pool_add(struct attempt_pool *p, const struct pool_key *k, uint16_t sport, uint64_t when,
    uint64_t now_us, bool *fresh)
{
	uint64_t h = hash_of(k);
	uint32_t i = find(p, h, k);

	*fresh = false;
	if (i < POOL_ATTEMPTS) {
		struct pool_attempt *a = &p->v[i];
		a->count++;
		if (repeats(a, sport) || !a->told)
			return a;
		/* The same program again, by another connection: an attempt of its own, which is told
		   soon and takes the repetitions of the old one along. */
		a->told = false;
		a->sport = sport;
		a->when = when;
		a->due = now_us + POOL_WINDOW_US;
		if (a->due < p->next)
			p->next = a->due;
		*fresh = true;
		return a;
	}
	i = place(p);
	if (i == POOL_ATTEMPTS) {
		p->over++;
		return NULL;
	}
	struct pool_attempt *a = &p->v[i];
	*a = (struct pool_attempt){
		.key = *k, .sport = sport, .when = when, .count = 1, .due = now_us + POOL_WINDOW_US,
	};
	repeats(a, sport);
	p->hash[i] = h;
	p->live++;
	if (a->due < p->next)
		p->next = a->due;
	*fresh = true;
	return a;
}

static bool
token(struct attempt_pool *p, uint64_t now_us)
{
	if (now_us == UINT64_MAX)
		return true;
	if (p->filled && now_us > p->filled) {
		p->tokens_us += now_us - p->filled;
		if (p->tokens_us > (uint64_t)POOL_BURST * TOKEN_US)
			p->tokens_us = (uint64_t)POOL_BURST * TOKEN_US;
	}
	p->filled = now_us;
	if (p->tokens_us < TOKEN_US)
		return false;
	p->tokens_us -= TOKEN_US;
	return true;
}

struct pool_attempt *
attempt_pool_due(struct attempt_pool *p, uint64_t now_us)
{
	if (now_us < p->next)
		return NULL;
	p->next = UINT64_MAX;
	for (uint32_t i = 0; i < p->n; i++) {
		struct pool_attempt *a = &p->v[i];

		if (!p->hash[i])
			continue;
		if (a->due > now_us) {
			if (a->due < p->next)
				p->next = a->due;
			continue;
		}
		bool tell = a->count > 0 && token(p, now_us);
		if (!tell)
			p->over += a->count;
		p->given = *a;
		a->count = 0;
		if (a->told || now_us == UINT64_MAX) {
			drop(p, i);
		} else {
			a->told = true;
			a->due += POOL_LINGER_US;
			if (a->due < p->next)
				p->next = a->due;
		}
		if (tell) {
			/* the places after this one have not been looked at */
			p->next = now_us;
			return &p->given;
		}
	}
	return NULL;
}

uint64_t
attempt_pool_wait(const struct attempt_pool *p, uint64_t now_us)
{
	if (p->next == UINT64_MAX)
		return UINT64_MAX;
	return p->next > now_us ? p->next - now_us : 0;
}

void
attempt_pool_untold(struct attempt_pool *p, uint64_t packets)
{
	p->over += packets;
}

uint64_t
attempt_pool_over(struct attempt_pool *p)
{
	uint64_t over = p->over;

	p->over = 0;
	return over;
}
