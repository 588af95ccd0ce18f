/* Claims, their ends, and events. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "spool/inside.h"
#include "spool/io.h"

enum { LATER = 60000 };              /* ms until what the machine refused is tried again */

uint64_t
spool_wake(const struct spool *s)
{
	uint64_t t = s->attention.n ? s->attention.v[0]->key : UINT64_MAX;

	for (size_t i = 0; i < s->nrelay; i++) {
		uint64_t w = relay_wake(s, s->relay[i]);

		if (w < t)
			t = w;
	}
	return t;
}

const char *
spool_relay(const struct spool *s, size_t i)
{
	for (size_t k = 0; k < s->nrelay; k++)
		if (s->relay[k]->parts && !i--)
			return s->relay[k]->name;
	return NULL;
}

uint64_t
spool_relay_wake(const struct spool *s, const char *relay)
{
	const struct relay *r = relay_find(s, relay);

	return r ? relay_wake(s, r) : UINT64_MAX;
}

void
claim_free(struct spool_claim **list, struct spool_claim *c)
{
	while (*list != c)
		list = &(*list)->next;
	*list = c->next;
	spool_message_end(&c->m);
	buf_free(&c->late);
	free(c->fate);
	free(c->report);
	free(c->which);
	free(c);
}

/* A claim of the part's recipients in m, which it takes over on success. */
static int
claim_new(struct spool *s, struct part *p, struct spool_message *m, struct spool_claim **out)
{
	struct spool_claim *c = calloc(1, sizeof *c);
	size_t room = p->pending ? p->pending : 1;

	if (!c)
		return -ENOMEM;
	c->late = (struct buf)BUF_INIT(FORM_ENVELOPE_MOST);
	c->which = calloc(room, sizeof *c->which);
	c->fate = calloc(room, sizeof *c->fate);
	c->report = calloc(room, sizeof *c->report);
	if (!c->which || !c->fate || !c->report) {
		free(c->which);
		free(c->fate);
		free(c->report);
		free(c);
		return -ENOMEM;
	}
	for (size_t i = 0; i < m->env.nrcpt; i++) {
		struct spool_rcpt *r = &m->env.rcpt[i];

		if ((r->state != SPOOL_PENDING && r->state != SPOOL_SENDING) ||
		    strcmp(r->relay, p->relay->name))
			continue;
		if (c->n < room)
			c->which[c->n] = (uint32_t)i;
		c->n++;
		r->state = SPOOL_SENDING;
	}
	c->e = p->e;
	c->queue = s->queue;
	c->part = p;
	c->m = *m;
	c->next = s->claims;
	s->claims = c;
	*out = c;
	return 0;
}

int
spool_claim(struct spool *s, const char *relay, uint64_t now, struct spool_claim **out)
{
	struct relay *to = relay_find(s, relay);
	struct spool_message m = {0};
	struct spool_claim *c;
	struct part *p;
	struct entry *e;
	int r;

	s->now = now;
	for (;;) {
		if (!to || relay_wake(s, to) > now)
			return 1;
		p = (struct part *)to->due.v[0];
		e = p->e;
		r = file_load(s, e, &m);
		if (r == -EBADMSG) {
			/* Set aside; if even that was refused, later. */
			if (!e->damaged)
				part_put(p, now + LATER);
			continue;
		}
		if (r)
			return r;
		r = claim_new(s, p, &m, &c);
		if (r) {
			spool_message_end(&m);
			return r;
		}
		if (c->n == p->pending)
			break;
		/* A reroute that is on disk and found no memory: make the parts anew. */
		r = entry_parts(s, e, &c->m.env);
		if (!r)
			entry_schedule(s, e, &c->m.env);
		else
			part_put(p, now + LATER);
		claim_free(&s->claims, c);
		if (r)
			return r;
	}
	p->attempts++;
	/* The intent is for people; a full disk must not keep mail from leaving. */
	if (e->tail < FORM_TAIL_SOFT)
		(void)file_tell(s, e, c->m.fd, &(struct form_line){.event = FORM_SENDING, .at = now,
			.which = c->which, .n = c->n, .attempts = p->attempts, .relay = relay});
	heap_drop(&to->due, &p->node);
	p->sending = true;
	to->sending++;
	*out = c;
	return 0;
}

const struct spool_message *
spool_claim_message(const struct spool_claim *c, const uint32_t **which, size_t *n)
{
	*which = c->which;
	*n = c->n;
	return &c->m;
}

int
spool_claim_reader(const struct spool_claim *c)
{
	char name[SPOOL_NAME];

	file_name(c->e, name);
	return io_open(c->queue, name, O_RDONLY);
}

/* ---- the end of a claim ---- */

static bool
same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool
alike(const struct spool_result *a, const struct spool_result *b)
{
	return a->fate == b->fate && a->report == b->report && a->reply.code == b->reply.code &&
	    same(a->reply.text, b->reply.text) && same(a->reply.tls, b->reply.tls) &&
	    same(a->reply.cipher, b->reply.cipher) && same(a->reply.peer, b->reply.peer);
}

static const enum form_event fate_event[] = {
	[SPOOL_FATE_DEFERRED] = FORM_DEFERRED, [SPOOL_FATE_DELIVERED] = FORM_DELIVERED,
	[SPOOL_FATE_FAILED] = FORM_FAILED, [SPOOL_FATE_HELD] = FORM_HELD,
};

/* The record of the results: those alike share a line. Without r: from what the claim
 * remembers, without replies. */
static void
tell(struct spool *s, struct spool_claim *c, const struct spool_result *r)
{
	uint32_t which[SPOOL_RCPT_MOST];
	uint8_t told[SPOOL_RCPT_MOST] = {0};

	c->late.n = 0;
	c->late.err = 0;
	form_begin(&c->late);
	for (size_t i = 0; i < c->n; i++) {
		struct spool_result a = r ? r[i] :
		    (struct spool_result){.fate = c->fate[i], .report = c->report[i]};
		size_t n = 0;

		if (told[i])
			continue;
		for (size_t k = i; k < c->n; k++) {
			struct spool_result b = r ? r[k] :
			    (struct spool_result){.fate = c->fate[k], .report = c->report[k]};

			if (!told[k] && alike(&a, &b)) {
				told[k] = 1;
				which[n++] = c->which[k];
			}
		}
		form_line(&c->late, &(struct form_line){.event = fate_event[a.fate], .at = s->now,
			.which = which, .n = n, .attempts = c->part->attempts,
			.next = a.fate == SPOOL_FATE_DEFERRED ? c->next_try : 0,
			.owed = c->report[i], .relay = c->part->relay->name, .reply = a.reply});
	}
}

/* Memory learns what the disk knows. Frees the claim and, may be, its message. */
static void
settle(struct spool *s, struct spool_claim **list, struct spool_claim *c)
{
	struct part *p = c->part;
	struct entry *e = c->e;
	bool held = p->held > 0, final = false;

	p->sending = false;
	p->relay->sending--;
	for (size_t i = 0; i < c->n; i++) {
		if (c->fate[i] == SPOOL_FATE_DEFERRED)
			continue;
		final = true;
		p->pending--;
		p->held += c->fate[i] == SPOOL_FATE_HELD;
		e->owed |= c->report[i] && c->fate[i] != SPOOL_FATE_HELD;
	}
	p->relay->held += (p->held > 0) - held;
	e->chance = 0;
	part_put(p, c->next_try);
	entry_attend(s, e, 0);
	if (!entry_end(s, e, c->m.fd) && final)
		file_dirty(s, e);
	claim_free(list, c);
}

int
spool_done(struct spool *s, struct spool_claim *c, const struct spool_result *r, uint64_t now)
{
	struct part *p = c->part;
	bool final = false;
	int err = 0;

	s->now = now;
	if (!r) {
		if (c->e->tail < FORM_TAIL_SOFT)
			(void)file_tell(s, c->e, c->m.fd, &(struct form_line){.event = FORM_SPARED, .at = now,
				.which = c->which, .n = c->n, .attempts = p->attempts - 1,
				.next = p->node.key, .relay = p->relay->name});
		p->attempts--;
		c->next_try = p->node.key;
		for (size_t i = 0; i < c->n; i++)
			c->fate[i] = SPOOL_FATE_DEFERRED;
		settle(s, &s->claims, c);
		return 0;
	}
	for (size_t i = 0; i < c->n; i++) {
		c->fate[i] = r[i].fate;
		/* What will be tried again has nothing to report. */
		c->report[i] = r[i].report &&
		    (r[i].fate == SPOOL_FATE_FAILED || r[i].fate == SPOOL_FATE_DELIVERED);
		final |= r[i].fate != SPOOL_FATE_DEFERRED;
	}
	c->next_try = now + backoff(s, s->c.retry_first, p->attempts);
	tell(s, c, r);
	if (c->late.err)
		tell(s, c, NULL);
	err = file_append(s, c->e, c->m.fd, &c->late);
	/* Of what is only deferred the record may be missing: at worst it is tried sooner. */
	if (err && final) {
		struct spool_claim **at = &s->claims;

		while (*at != c)
			at = &(*at)->next;
		*at = c->next;
		c->next = s->late;
		s->late = c;
		return err;
	}
	settle(s, &s->claims, c);
	return err;
}

/* Whether this claim's end is the message's: all is delivered, nothing is owed. */
static bool
all_delivered(const struct spool_claim *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->fate[i] != SPOOL_FATE_DELIVERED || c->report[i])
			return false;
	return c->e->nparts == 1 && !c->part->held && c->part->pending == c->n && !c->e->owed;
}

void
late_again(struct spool *s)
{
	struct spool_claim *next;

	for (struct spool_claim *c = s->late; c; c = next) {
		next = c->next;
		/* A full disk still removes files. */
		if (c->late.n == 0 || c->late.err)
			tell(s, c, NULL);
		if (!file_append(s, c->e, c->m.fd, &c->late) || all_delivered(c))
			settle(s, &s->late, c);
		else
			tell(s, c, NULL);
	}
}

void
spool_relay_failed(struct spool *s, const char *relay, uint64_t now)
{
	struct relay *r = relay_find(s, relay);

	if (!r)
		return;
	r->failures += r->failures < UINT32_MAX;
	if (relay_open(s, r))
		r->until = now + backoff(s, s->c.circuit_first, r->failures - s->c.circuit_after + 1);
}

void
spool_relay_well(struct spool *s, const char *relay)
{
	struct relay *r = relay_find(s, relay);

	if (r)
		r->failures = 0;
}

void
spool_relay_hold(struct spool *s, const char *relay, bool hold)
{
	struct relay *r = relay_find(s, relay);

	if (!r)
		return;
	r->stopped = hold;
	if (!hold)
		r->failures = 0;
}

/* ---- events ---- */

static struct part *
part_named(struct entry *e, const char *relay)
{
	for (uint32_t i = 0; i < e->nparts; i++)
		if (!strcmp(e->part[i].relay->name, relay))
			return &e->part[i];
	return NULL;
}

/* Whether a claim has this recipient: a part that is being sent may have others, released meanwhile. */
static bool
claimed(const struct spool_claim *list, const struct part *p, uint32_t k)
{
	for (const struct spool_claim *c = list; c; c = c->next)
		for (size_t i = 0; c->part == p && i < c->n; i++)
			if (c->which[i] == k)
				return true;
	return false;
}

/* Too old, but nobody has tried since it was due, and one could. */
static bool
has_chance(const struct spool *s, const struct part *p)
{
	const struct entry *e = p->e;

	return e->chance && s->now < e->chance + s->c.last_chance && p->pending && !p->sending && p->node.pos &&
	    p->node.key <= s->now && relay_wake(s, p->relay) <= s->now;
}

/* Pending recipients have failed, but for those that are being sent, or have a try before them. */
static int
expire(struct spool *s, struct entry *e)
{
	uint32_t which[SPOOL_RCPT_MOST];
	struct spool_message m = {0};
	size_t n = 0;
	int r = file_load(s, e, &m);

	if (r)
		return r;
	for (uint32_t k = 0; k < m.env.nrcpt; k++) {
		const struct part *p = part_named(e, m.env.rcpt[k].relay);

		if (p && (m.env.rcpt[k].state == SPOOL_PENDING || m.env.rcpt[k].state == SPOOL_SENDING) &&
		    !(p->sending && (claimed(s->claims, p, k) || claimed(s->late, p, k))) && !has_chance(s, p))
			which[n++] = k;
	}
	if (n)
		r = file_tell(s, e, m.fd, &(struct form_line){.event = FORM_EXPIRED, .at = s->now,
			.which = which, .n = n, .owed = true});
	for (size_t i = 0; !r && i < n; i++) {
		struct part *p = part_named(e, m.env.rcpt[which[i]].relay);

		assert(p);                 /* as above */
		p->pending -= p->pending > 0;
		if (!p->pending)
			part_put(p, 0);
	}
	spool_message_end(&m);
	if (r || !n)
		return r;
	e->owed = true;
	file_dirty(s, e);
	return 0;
}

int
spool_event(struct spool *s, uint64_t now, struct spool_event *ev)
{
	s->now = now;
	while (s->attention.n && s->attention.v[0]->key <= now) {
		struct entry *e = (struct entry *)s->attention.v[0];
		uint64_t end = e->arrived + s->c.lifetime, later = now + LATER;

		/* what is pending does not live the longer for what else is to be told */
		if (s->c.lifetime && end > now && end < later)
			later = end;
		ev->id = e->id;
		if (e->dead) {
			(void)entry_end(s, e, -1);
			continue;
		}
		if (e->damaged) {
			bool sending = false;

			for (uint32_t i = 0; i < e->nparts; i++)
				sending |= e->part[i].sending;
			ev->kind = SPOOL_EVENT_DAMAGED;
			if (sending) {
				heap_put(&s->attention, &e->node, now + LATER);
				continue;
			}
			entry_free(s, e);
			return 0;
		}
		if (s->c.lifetime && end <= now) {
			if (!e->chance || e->chance > now)
				e->chance = now;
			(void)expire(s, e);
			if (e->damaged)
				continue;
		}
		if (e->owed && e->told <= now) {
			/* told again should the report not come about */
			e->told = now + LATER;
			entry_attend(s, e, later);
			ev->kind = SPOOL_EVENT_REPORT;
			return 0;
		}
		if (s->c.warn_after && !e->owed && !e->warned && e->arrived + s->c.warn_after <= now &&
		    !file_tell(s, e, -1, &(struct form_line){.event = FORM_WARNED, .at = now})) {
			e->warned = true;
			entry_attend(s, e, now + 1);
			ev->kind = SPOOL_EVENT_WARN;
			return 0;
		}
		entry_attend(s, e, later);
	}
	return 1;
}

void
spool_set_back(struct spool *s, uint64_t now)
{
	uint64_t most = s->c.retry_most + s->c.retry_most / 4;

	s->now = now;
	for (size_t i = 0; i < s->nrelay; i++)
		if (s->relay[i]->until > now + most)
			s->relay[i]->until = now;
	for (struct entry *e = s->first; e; e = e->next) {
		for (uint32_t i = 0; i < e->nparts; i++) {
			struct part *p = &e->part[i];

			if (p->attempts && p->node.pos && p->node.key > now + most)
				part_put(p, now + backoff(s, s->c.retry_first, p->attempts));
		}
		if (e->told > now + LATER)
			e->told = now;
		if (e->node.pos && !e->dead)
			entry_attend(s, e, 0);
	}
}

uint64_t
spool_event_wake(const struct spool *s)
{
	return s->attention.n ? s->attention.v[0]->key : UINT64_MAX;
}

int
spool_reported(struct spool *s, uint64_t id, uint64_t now)
{
	return spool_reported_of(s, id, NULL, 0, now);
}

int
spool_reported_of(struct spool *s, uint64_t id, const uint32_t *which, size_t n, uint64_t now)
{
	struct entry *e = entry_find(s, id);
	struct spool_message m = {0};
	int r;

	s->now = now;
	if (!e)
		return -ENOENT;
	if (!e->owed)
		return 0;
	r = file_tell(s, e, -1, &(struct form_line){.event = FORM_REPORTED, .at = now, .which = which, .n = n});
	if (r)
		return r;
	e->owed = false;
	/* others have failed since: theirs is the next report. Unread, it is asked for once too often */
	if (n && file_load(s, e, &m))
		e->owed = true;
	for (size_t i = 0; m.env.rcpt && i < m.env.nrcpt; i++)
		e->owed |= m.env.rcpt[i].owed;
	spool_message_end(&m);
	e->told = 0;
	entry_attend(s, e, 0);
	if (!entry_end(s, e, -1))
		file_dirty(s, e);
	return 0;
}
