/* What people ask of the queue. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spool/inside.h"
#include "spool/io.h"

uint64_t
spool_after(const struct spool *s, uint64_t id)
{
	const struct entry *e = entry_find(s, id);

	if (e)
		e = e->next;
	else
		for (e = s->first; e && e->id <= id; e = e->next)
			;
	while (e && (e->dead || e->damaged))
		e = e->next;
	return e ? e->id : 0;
}

static struct entry *
find(const struct spool *s, uint64_t id)
{
	struct entry *e = entry_find(s, id);

	return e && !e->dead && !e->damaged ? e : NULL;
}

static bool
busy(const struct entry *e)
{
	for (uint32_t i = 0; i < e->nparts; i++)
		if (e->part[i].sending)
			return true;
	return false;
}

int
spool_read(struct spool *s, uint64_t id, struct spool_message *m)
{
	struct entry *e = find(s, id);
	int r;

	if (!e)
		return -ENOENT;
	r = file_load(s, e, m);
	if (r)
		return r;
	/* `sending` on disk is what was once begun; in memory it is what is so now. */
	for (size_t i = 0; i < m->env.nrcpt; i++) {
		struct spool_rcpt *to = &m->env.rcpt[i];
		bool now = false;

		for (uint32_t k = 0; k < e->nparts; k++)
			if (e->part[k].sending && !strcmp(e->part[k].relay->name, to->relay))
				now = true;
		if (to->state == SPOOL_SENDING && !now)
			to->state = SPOOL_PENDING;
	}
	return 0;
}

static int
tell(struct spool *s, struct entry *e, enum form_event event, uint64_t now, const char *text)
{
	int r = file_tell(s, e, -1, &(struct form_line){.event = event, .at = now, .reply.text = text});

	if (!r)
		file_dirty(s, e);
	return r;
}

int
spool_hold(struct spool *s, uint64_t id, uint64_t now)
{
	struct entry *e = find(s, id);
	int r;

	if (!e)
		return -ENOENT;
	if (busy(e))
		return -EBUSY;
	r = tell(s, e, FORM_HELD, now, NULL);
	if (r)
		return r;
	for (uint32_t i = 0; i < e->nparts; i++) {
		struct part *p = &e->part[i];

		p->relay->held += !p->held && p->pending;
		p->held = (uint16_t)(p->held + p->pending);
		p->pending = 0;
		part_put(p, now);
	}
	entry_attend(s, e, 0);
	return 0;
}

int
spool_release(struct spool *s, uint64_t id, uint64_t now)
{
	struct entry *e = find(s, id);
	int r;

	if (!e)
		return -ENOENT;
	r = tell(s, e, FORM_RELEASED, now, NULL);
	if (r)
		return r;
	for (uint32_t i = 0; i < e->nparts; i++) {
		struct part *p = &e->part[i];

		p->relay->held -= p->held > 0;
		p->pending = (uint16_t)(p->pending + p->held);
		p->held = 0;
		part_put(p, now);
	}
	entry_attend(s, e, 0);
	return 0;
}

int
spool_retry(struct spool *s, uint64_t id, uint64_t now)
{
	struct entry *e = find(s, id);

	if (!e)
		return -ENOENT;
	/* The record is for the trace: a full disk must not keep people from trying. */
	(void)tell(s, e, FORM_RETRY, now, NULL);
	for (uint32_t i = 0; i < e->nparts; i++)
		part_put(&e->part[i], now);
	return 0;
}

int
spool_drop(struct spool *s, uint64_t id, uint64_t now, const char *why)
{
	struct entry *e = find(s, id);
	char name[SPOOL_NAME];
	int r;

	if (!e)
		return -ENOENT;
	if (busy(e))
		return -EBUSY;
	s->now = now;
	r = tell(s, e, FORM_DROPPED, now, why);
	if (r) {
		/* A full disk still removes files. */
		file_name(e, name);
		if (io_unlink(s->queue, name))
			return r;
	}
	for (uint32_t i = 0; i < e->nparts; i++) {
		struct part *p = &e->part[i];

		p->relay->held -= p->held > 0;
		p->held = p->pending = 0;
		part_put(p, now);
	}
	e->owed = false;
	entry_end(s, e, -1);
	return 0;
}

int
spool_reroute(struct spool *s, uint64_t id, const char *const *relay, uint64_t now)
{
	struct entry *e = find(s, id);
	struct buf b = BUF_INIT(FORM_ENVELOPE_MOST);
	struct spool_message m = {0};
	bool any = false;
	int r;

	if (!e)
		return -ENOENT;
	if (busy(e))
		return -EBUSY;
	r = spool_read(s, id, &m);
	if (r)
		return r;
	form_begin(&b);
	for (uint32_t i = 0; i < m.env.nrcpt; i++) {
		struct spool_rcpt *to = &m.env.rcpt[i];

		if (!relay[i] || to->state >= SPOOL_DELIVERED || !strcmp(relay[i], to->relay))
			continue;
		if (!*relay[i] || strlen(relay[i]) > SPOOL_TEXT_MOST)
			r = -EINVAL;
		any = true;
		to->relay = relay[i];
		to->next = now;
		form_line(&b, &(struct form_line){.event = FORM_REROUTED, .at = now, .which = &i, .n = 1,
			.relay = relay[i]});
	}
	if (any && !r)
		r = file_append(s, e, m.fd, &b);
	if (any && !r) {
		/* Without memory now, the next claim makes the parts. */
		if (!entry_parts(s, e, &m.env))
			entry_schedule(s, e, &m.env);
		entry_attend(s, e, 0);
		file_dirty(s, e);
	}
	buf_free(&b);
	spool_message_end(&m);
	return r;
}

void
spool_flush(struct spool *s, const char *relay, uint64_t now)
{
	for (size_t i = 0; i < s->nrelay; i++)
		if (!relay || !strcmp(relay, s->relay[i]->name))
			s->relay[i]->failures = 0;
	for (struct entry *e = s->first; e; e = e->next)
		for (uint32_t i = 0; i < e->nparts; i++)
			if (!relay || !strcmp(relay, e->part[i].relay->name))
				part_put(&e->part[i], now);
}

void
spool_depth(const struct spool *s, const char *relay, struct spool_depth *d)
{
	memset(d, 0, sizeof *d);
	d->oldest = UINT64_MAX;
	for (size_t i = 0; i < s->nrelay; i++) {
		const struct relay *r = s->relay[i];

		if (relay && strcmp(relay, r->name))
			continue;
		d->pending += r->due.n;
		d->sending += r->sending;
		d->held += r->held;
		d->open |= relay_open(s, r);
		d->stopped |= r->stopped;
		if (r->failures > d->failures)
			d->failures = r->failures;
	}
	for (const struct entry *e = s->first; e; e = e->next) {
		bool its = !relay;

		for (uint32_t i = 0; i < e->nparts && !its; i++)
			its = (e->part[i].pending || e->part[i].held) && !strcmp(e->part[i].relay->name, relay);
		if (its && e->arrived < d->oldest)
			d->oldest = e->arrived;
		/* In order of arrival, the first is the oldest. */
		if (its)
			break;
	}
}

void
spool_size(const struct spool *s, uint32_t *messages, uint64_t *bytes)
{
	*messages = s->entries;
	*bytes = s->bytes;
}
