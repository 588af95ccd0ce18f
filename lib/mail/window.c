#include "mail/window.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "mail/mail.h"

/* Above all that is ever counted, and small enough that sums cannot wrap. */
static const uint64_t MOST = UINT64_MAX / 8;

static const uint32_t NONE = UINT32_MAX;

enum { KEY_CHUNK = 32, SLOT_CHUNK = 256, BUCKETS = 1024 };

/* What was counted in one second of the windows' own clock. */
struct slot {
	uint64_t t, n;
	uint32_t next;
};

struct window {
	uint64_t id;
	uint64_t seconds;
	uint64_t sum;
	uint32_t head, tail;       /* slots, oldest first */
	uint32_t next;             /* in the bucket, or in the list of the free */
	char key[WINDOW_KEY_MOST + 1];
};

/* Places are numbers, chunks never move, and what is given up goes to a list:
 * the arena has no way to take memory back. */
struct mail_windows {
	struct arena *a;
	uint64_t last;             /* what the caller's clock said */
	uint64_t clock;            /* our own: it never goes back */
	struct window *key[WINDOW_KEYS_MOST / KEY_CHUNK];
	struct slot *slot[WINDOW_SLOTS_MOST / SLOT_CHUNK];
	uint32_t nkey, nslot;      /* ever handed out */
	uint32_t key_free, slot_free;
	uint32_t keys, slots;      /* in use */
	size_t need;               /* keys that may be asked for, see window_begin() */
	uint32_t bucket[BUCKETS];
};

struct mail_windows *
mail_windows_new(struct arena *a)
{
	struct mail_windows *w = arena_of(a, struct mail_windows);

	w->a = a;
	w->key_free = w->slot_free = NONE;
	for (size_t i = 0; i < BUCKETS; i++)
		w->bucket[i] = NONE;
	return w;
}

static struct window *
key_at(const struct mail_windows *w, uint32_t i)
{
	return &w->key[i / KEY_CHUNK][i % KEY_CHUNK];
}

static struct slot *
slot_at(const struct mail_windows *w, uint32_t i)
{
	return &w->slot[i / SLOT_CHUNK][i % SLOT_CHUNK];
}

static uint64_t
plus(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* The key as it is kept. */
static void
key_write(const char *s, char out[WINDOW_KEY_MOST + 1])
{
	size_t n = strlen(s);

	if (n <= WINDOW_KEY_MOST)
		memcpy(out, s, n + 1);
	else
		snprintf(out, WINDOW_KEY_MOST + 1, "%.*s#%016" PRIx64,
		    WINDOW_KEY_MOST - 17, s, hash_bytes(0, s, n));
}

static uint32_t *
bucket_of(struct mail_windows *w, uint64_t id, const char *key)
{
	return &w->bucket[hash_bytes(hash_u64(0, id), key, strlen(key)) % BUCKETS];
}

static uint32_t
find(struct mail_windows *w, uint64_t id, const char *key)
{
	uint32_t i = *bucket_of(w, id, key);

	while (i != NONE && (key_at(w, i)->id != id || strcmp(key_at(w, i)->key, key)))
		i = key_at(w, i)->next;
	return i;
}

static void
drop_head(struct mail_windows *w, struct window *k)
{
	uint32_t i = k->head;
	struct slot *s = slot_at(w, i);

	k->sum -= s->n;
	k->head = s->next;
	if (k->head == NONE)
		k->tail = NONE;
	s->next = w->slot_free;
	w->slot_free = i;
	w->slots--;
}

static void
expire(struct mail_windows *w, struct window *k)
{
	while (k->head != NONE && plus(slot_at(w, k->head)->t, k->seconds) <= w->clock)
		drop_head(w, k);
}

/* Gives up every window that has run empty. */
static void
sweep(struct mail_windows *w)
{
	for (size_t b = 0; b < BUCKETS; b++) {
		uint32_t *at = &w->bucket[b];

		while (*at != NONE) {
			uint32_t i = *at;
			struct window *k = key_at(w, i);

			expire(w, k);
			if (k->head != NONE) {
				at = &k->next;
				continue;
			}
			*at = k->next;
			k->next = w->key_free;
			w->key_free = i;
			w->keys--;
		}
	}
}

/* A window more takes a slot more at least. */
static bool
room(const struct mail_windows *w, size_t k)
{
	return k <= WINDOW_KEYS_MOST - w->keys && k <= WINDOW_SLOTS_MOST - w->slots;
}

bool
window_begin(struct mail_windows *w, uint64_t now, size_t k)
{
	if (now > w->last)
		w->clock = plus(w->clock, now - w->last);
	w->last = now;
	w->need = k;
	if (!room(w, k))
		sweep(w);
	return room(w, k);
}

static uint64_t
least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

enum window_answer
window_over(struct mail_windows *w, const struct window_ask *q, uint64_t *when)
{
	char key[WINDOW_KEY_MOST + 1];
	struct window *k = NULL;
	uint64_t most = least(q->most, MOST), sum = 0, at = w->clock, none;
	enum window_answer answer;
	uint32_t i;

	if (!when)
		when = &none;
	key_write(q->key, key);
	i = find(w, q->id, key);
	if (i != NONE) {
		k = key_at(w, i);
		k->seconds = q->seconds;
		expire(w, k);
		sum = k->sum;
	}
	if (!k ? !room(w, w->need) :
	    k->head == NONE && w->need > WINDOW_SLOTS_MOST - w->slots) {
		*when = plus(w->last, q->seconds);
		return WINDOW_FULL;
	}
	if (q->n > most) {
		*when = UINT64_MAX;
		return WINDOW_OVER;
	}
	answer = sum + q->n > most ? WINDOW_OVER : WINDOW_FITS;
	/* Nothing overtakes what was put off to a later second. */
	if (k && k->tail != NONE && slot_at(w, k->tail)->t > at)
		at = slot_at(w, k->tail)->t;
	for (i = k ? k->head : NONE; sum + q->n > most; i = slot_at(w, i)->next) {
		uint64_t free_at = plus(slot_at(w, i)->t, q->seconds);

		sum -= slot_at(w, i)->n;
		if (free_at > at)
			at = free_at;
	}
	*when = plus(w->last, at - w->clock);
	return answer;
}

static uint32_t
key_take(struct mail_windows *w)
{
	uint32_t i = w->key_free;

	if (i != NONE) {
		w->key_free = key_at(w, i)->next;
	} else {
		assert(w->nkey < WINDOW_KEYS_MOST);
		i = w->nkey++;
		if (!w->key[i / KEY_CHUNK])
			w->key[i / KEY_CHUNK] = arena_array(w->a, KEY_CHUNK, struct window);
	}
	w->keys++;
	return i;
}

static uint32_t
slot_take(struct mail_windows *w)
{
	uint32_t i = w->slot_free;

	if (i != NONE) {
		w->slot_free = slot_at(w, i)->next;
	} else {
		assert(w->nslot < WINDOW_SLOTS_MOST);
		i = w->nslot++;
		if (!w->slot[i / SLOT_CHUNK])
			w->slot[i / SLOT_CHUNK] = arena_array(w->a, SLOT_CHUNK, struct slot);
	}
	w->slots++;
	return i;
}

static uint64_t
key_hash(const char *key)
{
	return hash_bytes(0, key, strlen(key));
}

void
window_add(struct mail_windows *w, const struct window_ask *q, uint64_t at, struct mail_tally *tally)
{
	char key[WINDOW_KEY_MOST + 1];
	struct window *k;
	struct slot *s;
	uint64_t t = at > w->last ? plus(w->clock, at - w->last) : w->clock;
	uint64_t most = least(q->most, MOST), n = least(q->n, most + 1);
	uint32_t i, place;

	if (tally)
		*tally = (struct mail_tally){0};
	if (!n)
		return;
	key_write(q->key, key);
	if ((i = find(w, q->id, key)) == NONE) {
		uint32_t *b = bucket_of(w, q->id, key);

		/* Such a key is over already; only a limit that warns gets here. */
		if (!room(w, 1))
			return;
		i = key_take(w);
		k = key_at(w, i);
		*k = (struct window){.id = q->id, .head = NONE, .tail = NONE, .next = *b};
		memcpy(k->key, key, sizeof key);
		*b = i;
	}
	place = i;
	k = key_at(w, i);
	k->seconds = q->seconds;
	expire(w, k);
	if (k->tail != NONE && (slot_at(w, k->tail)->t >= t || w->slots == WINDOW_SLOTS_MOST)) {
		/* Without a slot left the youngest takes it, and so ends later. */
		s = slot_at(w, k->tail);
		n = least(n, most + 1 - least(s->n, most + 1));
		s->n += n;
		if (s->t < t)
			s->t = t;
	} else {
		/* This was FULL; only a limit that warns gets here. */
		if (w->slots == WINDOW_SLOTS_MOST)
			return;
		i = slot_take(w);
		*slot_at(w, i) = (struct slot){.t = t, .n = n, .next = NONE};
		if (k->tail != NONE)
			slot_at(w, k->tail)->next = i;
		else
			k->head = i;
		k->tail = i;
	}
	k->sum += n;
	if (tally)
		*tally = (struct mail_tally){.id = q->id, .key = key_hash(key), .place = place, .n = n,
		    .at = slot_at(w, k->tail)->t};
	/* What is left is over without the oldest, for as long as it is. */
	while (k->head != k->tail && k->sum - slot_at(w, k->head)->n > most)
		drop_head(w, k);
}

void
window_take(struct mail_windows *w, const struct mail_tally *t)
{
	struct window *k = t->n && t->place < w->nkey ? key_at(w, t->place) : NULL;
	uint32_t i, before = NONE;
	struct slot *s;
	uint64_t n;

	/* its place may be another's by now */
	if (!k || k->id != t->id || key_hash(k->key) != t->key)
		return;
	for (i = k->head; i != NONE && slot_at(w, i)->t < t->at; i = slot_at(w, i)->next)
		before = i;
	/* it has left, or a later one has taken it over for want of slots */
	if (i == NONE || slot_at(w, i)->t != t->at)
		return;
	s = slot_at(w, i);
	n = least(t->n, s->n);
	s->n -= n;
	k->sum -= n;
	if (s->n)
		return;
	if (before == NONE)
		k->head = s->next;
	else
		slot_at(w, before)->next = s->next;
	if (k->tail == i)
		k->tail = before;
	s->next = w->slot_free;
	w->slot_free = i;
	w->slots--;
}

size_t
window_keys(const struct mail_windows *w)
{
	return w->keys;
}

size_t
window_slots(const struct mail_windows *w)
{
	return w->slots;
}

/* ---- kept over a restart ---- */

/* Numbers of eight bytes in the host's order: it is read on the host that wrote it. */
static const char kept_mark[] = "mailreeve windows 1\n";

static void
put(struct buf *out, uint64_t x)
{
	buf_add(out, &x, sizeof x);
}

void
mail_windows_write(struct mail_windows *w, uint64_t now, struct buf *out)
{
	window_begin(w, now, 0);
	sweep(w);
	buf_add(out, kept_mark, sizeof kept_mark - 1);
	put(out, w->last);
	put(out, w->clock);
	put(out, w->keys);
	for (size_t b = 0; b < BUCKETS; b++)
		for (uint32_t i = w->bucket[b]; i != NONE; i = key_at(w, i)->next) {
			const struct window *k = key_at(w, i);
			uint64_t n = 0;

			for (uint32_t s = k->head; s != NONE; s = slot_at(w, s)->next)
				n++;
			put(out, k->id);
			put(out, k->seconds);
			put(out, strlen(k->key));
			buf_str(out, k->key);
			put(out, n);
			for (uint32_t s = k->head; s != NONE; s = slot_at(w, s)->next) {
				put(out, slot_at(w, s)->t);
				put(out, slot_at(w, s)->n);
			}
		}
}

struct reader {
	const char *p;
	size_t n;
	bool bad;
};

static const char *
take(struct reader *r, size_t n)
{
	const char *p = r->p;

	if (r->bad || n > r->n) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	r->n -= n;
	return p;
}

static uint64_t
number(struct reader *r)
{
	uint64_t x = 0;
	const char *p = take(r, sizeof x);

	if (p)
		memcpy(&x, p, sizeof x);
	return x;
}

/* One window, at the end of its bucket: the order there does not matter. */
static void
read_window(struct mail_windows *w, struct reader *r)
{
	uint64_t id = number(r), seconds = number(r), len = number(r), n, t = 0;
	const char *name = len <= WINDOW_KEY_MOST ? take(r, len) : NULL;
	char key[WINDOW_KEY_MOST + 1];
	struct window *k;
	uint32_t i, *b;

	n = number(r);
	if (!name || r->bad || !n || n > WINDOW_SLOTS_MOST - w->slots || !room(w, 1) || memchr(name, 0, len)) {
		r->bad = true;
		return;
	}
	memcpy(key, name, len);
	key[len] = 0;
	if (find(w, id, key) != NONE) {
		r->bad = true;
		return;
	}
	b = bucket_of(w, id, key);
	i = key_take(w);
	k = key_at(w, i);
	*k = (struct window){.id = id, .seconds = seconds, .head = NONE, .tail = NONE, .next = *b};
	memcpy(k->key, key, len + 1);
	*b = i;
	while (n-- && !r->bad) {
		struct slot s = {.t = number(r), .n = number(r), .next = NONE};
		uint32_t at;

		if (r->bad || s.t < t || !s.n || s.n > MOST + 1 || k->sum + s.n < k->sum) {
			r->bad = true;
			break;
		}
		t = s.t;
		at = slot_take(w);
		*slot_at(w, at) = s;
		if (k->tail != NONE)
			slot_at(w, k->tail)->next = at;
		else
			k->head = at;
		k->tail = at;
		k->sum += s.n;
	}
}

/* Gives up all windows. */
static void
clear(struct mail_windows *w)
{
	w->clock = UINT64_MAX;
	sweep(w);
	w->clock = w->last = 0;
}

int
mail_windows_read(struct mail_windows *w, const void *bytes, size_t n)
{
	struct reader r = {bytes, n, false};
	const char *mark = take(&r, sizeof kept_mark - 1);
	uint64_t keys;

	assert(!w->keys);
	if (!mark || memcmp(mark, kept_mark, sizeof kept_mark - 1) != 0)
		return -EBADMSG;
	w->last = number(&r);
	w->clock = number(&r);
	keys = number(&r);
	while (keys-- && !r.bad)
		read_window(w, &r);
	if (r.bad || r.n) {
		clear(w);
		return -EBADMSG;
	}
	return 0;
}

/* ---- one connection ---- */

struct mail_session {
	struct arena *a;
	struct {
		uint64_t id, n;
	} *v;
	size_t n, cap;
};

struct mail_session *
mail_session_new(struct arena *a)
{
	struct mail_session *s = arena_of(a, struct mail_session);

	s->a = a;
	return s;
}

static uint64_t
session_id(const struct window_ask *q)
{
	return hash_bytes(hash_u64(0, q->id), q->key, strlen(q->key));
}

bool
session_over(const struct mail_session *s, const struct window_ask *q)
{
	uint64_t id = session_id(q);

	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].id == id)
			return plus(s->v[i].n, q->n) > q->most;
	return s->n == SESSION_MOST || q->n > q->most;
}

void
session_add(struct mail_session *s, const struct window_ask *q, struct mail_tally *t)
{
	uint64_t id = session_id(q);
	size_t i = 0;

	if (t)
		*t = (struct mail_tally){0};
	while (i < s->n && s->v[i].id != id)
		i++;
	if (i == SESSION_MOST)
		return;
	if (i == s->n)
		ARENA_PUSH(s->a, s->v, s->n, s->cap).id = id;
	s->v[i].n = plus(s->v[i].n, q->n);
	if (t)
		*t = (struct mail_tally){.id = id, .n = q->n, .session = true};
}

void
session_take(struct mail_session *s, const struct mail_tally *t)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].id == t->id)
			s->v[i].n -= least(t->n, s->v[i].n);
}

void
mail_take_back(struct mail_windows *w, struct mail_session *s, const struct mail_tally *t, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!t[i].session)
			window_take(w, &t[i]);
		else if (s)
			session_take(s, &t[i]);
}
