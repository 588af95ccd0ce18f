#include "spool/form.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/crc.h"

/* ---- numbers and times ---- */

/* Exactly n digits of the base; false when one is none. */
static bool
digits(const char *s, size_t n, unsigned base, uint64_t *out)
{
	uint64_t x = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned d = s[i] >= '0' && s[i] <= '9' ? (unsigned)(s[i] - '0') :
		    s[i] >= 'a' && s[i] <= 'f' ? (unsigned)(s[i] - 'a' + 10) : 99;

		if (d >= base || x > (UINT64_MAX - d) / base)
			return false;
		x = x * base + d;
	}
	*out = x;
	return n > 0;
}

static bool
number(const char *s, uint64_t most, uint64_t *out)
{
	return digits(s, strlen(s), 10, out) && *out <= most;
}

void
form_time(uint64_t ms, char out[FORM_TIME + 1])
{
	static const uint64_t last = 253402300799999;
	uint64_t days, rest, era, doe, yoe, doy, mp;
	unsigned y, m, d;

	if (ms > last)
		ms = last;
	days = ms / 86400000 + 719468;
	rest = ms % 86400000;
	/* Days to a date, in eras of 400 years that begin on 1 March. */
	era = days / 146097;
	doe = days % 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	d = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
	m = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	y = (unsigned)(yoe + era * 400 + (m <= 2));
	snprintf(out, FORM_TIME + 1, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", y % 10000, m % 100, d % 100,
	    (unsigned)(rest / 3600000) % 100, (unsigned)(rest / 60000 % 60), (unsigned)(rest / 1000 % 60),
	    (unsigned)(rest % 1000));
}

bool
form_time_read(const char *s, size_t n, uint64_t *ms)
{
	uint64_t y, m, d, hh, mm, ss, milli, era, yoe, doy;
	char back[FORM_TIME + 1];

	if (n != FORM_TIME || !digits(s, 4, 10, &y) || !digits(s + 5, 2, 10, &m) ||
	    !digits(s + 8, 2, 10, &d) || !digits(s + 11, 2, 10, &hh) || !digits(s + 14, 2, 10, &mm) ||
	    !digits(s + 17, 2, 10, &ss) || !digits(s + 20, 3, 10, &milli))
		return false;
	if (y < 1970 || m < 1 || m > 12 || d < 1 || hh > 23 || mm > 59 || ss > 59)
		return false;
	y -= m <= 2;
	era = y / 400;
	yoe = y % 400;
	doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	*ms = ((era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468) * 86400 + hh * 3600 +
	    mm * 60 + ss) * 1000 + milli;
	/* One time, one text: 31 February is none. */
	form_time(*ms, back);
	return !memcmp(back, s, FORM_TIME);
}

/* ---- the front ---- */

static const char front_words[] = "mailreeve-spool 1 id=%016llx size=%020llu crc=%08x";

void
form_front(char out[FORM_FRONT], const struct form_front *f)
{
	int n = snprintf(out, FORM_FRONT, front_words, (unsigned long long)f->id,
	    (unsigned long long)f->size, f->crc);
	char sum[16];

	assert(n > 0 && n < 200);
	memset(out + n, ' ', (size_t)(FORM_FRONT - n));
	snprintf(sum, sizeof sum, " front=%08x", crc32c(0, out, (size_t)n));
	memcpy(out + n, sum, 15);
	out[FORM_FRONT - 1] = '\n';
}

int
form_front_read(const char p[FORM_FRONT], struct form_front *f)
{
	char again[FORM_FRONT];
	uint64_t crc;

	/* Where the numbers stand is fixed; all else must be as we would write it. */
	if (!digits(p + 21, 16, 16, &f->id) || !digits(p + 43, 20, 10, &f->size) ||
	    !digits(p + 68, 8, 16, &crc))
		return -EBADMSG;
	f->crc = (uint32_t)crc;
	form_front(again, f);
	if (memcmp(again, p, FORM_FRONT) || f->size > INT64_MAX / 2)
		return -EBADMSG;
	return 0;
}

/* ---- writing ---- */

static const struct {
	const char *name;
} event_row[FORM_NEVENT] = {
	[FORM_SENDING] = {"sending"}, [FORM_SPARED] = {"spared"}, [FORM_DELIVERED] = {"delivered"},
	[FORM_DEFERRED] = {"deferred"}, [FORM_FAILED] = {"failed"}, [FORM_EXPIRED] = {"expired"},
	[FORM_HELD] = {"held"}, [FORM_RELEASED] = {"released"}, [FORM_RETRY] = {"retry"},
	[FORM_REROUTED] = {"rerouted"}, [FORM_WARNED] = {"warned"}, [FORM_REPORTED] = {"reported"},
	[FORM_DROPPED] = {"dropped"}, [FORM_CUT] = {"cut"},
};

const char *
form_event_name(enum form_event e)
{
	return event_row[e].name;
}

/* A text of at most `most` bytes, so that it ends neither column nor line. */
static void
text(struct buf *b, const char *s, size_t most)
{
	static const char hex[] = "0123456789abcdef";
	size_t from = 0, i;

	if (!s)
		return;
	for (i = 0; i < most && s[i]; i++) {
		unsigned char c = (unsigned char)s[i];
		char esc[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};

		if (c >= 0x20 && c != 0x7f && c != '\\')
			continue;
		buf_add(b, s + from, i - from);
		buf_add(b, esc, 4);
		from = i + 1;
	}
	buf_add(b, s + from, i - from);
}

size_t
form_begin(struct buf *b)
{
	static const char blank[FORM_HEAD] = {0};
	size_t place = b->n;

	buf_add(b, blank, FORM_HEAD);
	return place;
}

static uint32_t
record_crc(const char *p, size_t n, uint64_t id, uint32_t seq)
{
	uint8_t k[16];

	for (int i = 0; i < 8; i++) {
		k[i] = (uint8_t)(id >> 8 * i);
		k[8 + i] = (uint8_t)(((uint64_t)seq << 32 | (uint32_t)n) >> 8 * i);
	}
	return crc32c(crc32c(0, k, sizeof k), p, n);
}

void
form_end(struct buf *b, size_t place, uint64_t id, uint32_t seq)
{
	char head[FORM_HEAD + 1];
	size_t n = b->n - place - FORM_HEAD;

	if (b->err)
		return;
	snprintf(head, sizeof head, "\n#%08x %08x %08x\n", (unsigned)n,
	    record_crc(b->p + place + FORM_HEAD, n, id, seq), seq);
	memcpy(b->p + place, head, FORM_HEAD);
}

/* A line of the envelope: key and text; nothing for NULL. */
static void
field(struct buf *b, const char *key, const char *s)
{
	if (!s)
		return;
	if (strnlen(s, SPOOL_TEXT_MOST + 1) > SPOOL_TEXT_MOST && !b->err)
		b->err = -EINVAL;
	buf_str(b, key);
	buf_chr(b, '\t');
	text(b, s, SPOOL_TEXT_MOST);
	buf_chr(b, '\n');
}

void
form_envelope(struct buf *b, const struct spool_envelope *e)
{
	char at[FORM_TIME + 1];

	form_time(e->arrived, at);
	field(b, "arrived", at);
	field(b, "application", e->application);
	buf_printf(b, "uid\t%u\n", e->uid);
	field(b, "unit", e->unit);
	field(b, "from", e->from);
	field(b, "envid", e->envid);
	field(b, "ret", e->ret);
	field(b, "body", e->body);
	if (e->smtputf8)
		buf_str(b, "smtputf8\tyes\n");
	field(b, "note", e->note);
	if (e->not_before) {
		form_time(e->not_before, at);
		field(b, "not-before", at);
	}
	for (size_t i = 0; i < e->nrcpt; i++) {
		const struct spool_rcpt *r = &e->rcpt[i];

		/* Columns beyond the address follow as lines of their own. */
		field(b, "to", r->address);
		field(b, " relay", r->relay);
		field(b, " notify", r->notify);
		field(b, " orcpt", r->orcpt);
	}
}

static void
list(struct buf *b, const uint32_t *w, size_t n)
{
	for (size_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n && w[j] == w[j - 1] + 1; j++)
			;
		if (i)
			buf_chr(b, ',');
		buf_dec(b, w[i]);
		if (j > i + 1) {
			buf_chr(b, '-');
			buf_dec(b, w[j - 1]);
		}
	}
}

void
form_line(struct buf *b, const struct form_line *l)
{
	char at[FORM_TIME + 1], next[FORM_TIME + 1];

	form_time(l->at, at);
	form_time(l->next, next);
	buf_str(b, event_row[l->event].name);
	buf_chr(b, '\t');
	buf_str(b, at);
	buf_chr(b, '\t');
	if (l->which)
		list(b, l->which, l->n);
	else
		buf_chr(b, '*');
	buf_printf(b, "\t%u\t%s\t%s\t%u\t", l->attempts, l->next ? next : "", l->owed ? "owed" : "",
	    l->reply.code);
	text(b, l->relay, SPOOL_TEXT_MOST);
	buf_chr(b, '\t');
	text(b, l->reply.peer, SPOOL_TEXT_MOST);
	buf_chr(b, '\t');
	text(b, l->reply.tls, SPOOL_TEXT_MOST);
	buf_chr(b, '\t');
	text(b, l->reply.cipher, SPOOL_TEXT_MOST);
	buf_chr(b, '\t');
	text(b, l->reply.text, SPOOL_TEXT_MOST);
	buf_chr(b, '\n');
}

/* ---- reading ---- */

/* The bytes of the lines of a whole record at p, 0 when there is none. */
static size_t
record(const char *p, size_t n, uint64_t id, uint32_t *seq)
{
	uint64_t len, crc, no;

	if (n < FORM_HEAD || p[0] != '\n' || p[1] != '#' || p[10] != ' ' || p[19] != ' ' || p[28] != '\n')
		return 0;
	if (!digits(p + 2, 8, 16, &len) || !digits(p + 11, 8, 16, &crc) || !digits(p + 20, 8, 16, &no))
		return 0;
	if (!len || len > n - FORM_HEAD || p[FORM_HEAD + len - 1] != '\n')
		return 0;
	if (record_crc(p + FORM_HEAD, len, id, (uint32_t)no) != crc)
		return 0;
	*seq = (uint32_t)no;
	return len;
}

/* Makes a text readable in place: \xHH to bytes. False: not as we write it. */
static bool
readable(char *s)
{
	char *to = s;

	for (; *s; s++) {
		uint64_t c = (unsigned char)*s;

		if (c == '\\') {
			if (s[1] != 'x' || !digits(s + 2, strnlen(s + 2, 2), 16, &c) || !s[3] || !c)
				return false;
			s += 3;
		}
		*to++ = (char)c;
	}
	*to = 0;
	return true;
}

/* The next line of *p, its end made NUL; NULL at the end. */
static char *
next_line(char **p, char *end)
{
	char *s = *p, *nl;

	if (s == end)
		return NULL;
	nl = memchr(s, '\n', (size_t)(end - s));
	if (!nl || memchr(s, 0, (size_t)(nl - s)))
		return NULL;
	*nl = 0;
	*p = nl + 1;
	return s;
}

static struct spool_rcpt *
more_rcpt(struct spool_envelope *e)
{
	/* In steps of doubling, which the count itself tells. */
	if (!(e->nrcpt & (e->nrcpt - 1))) {
		size_t cap = e->nrcpt ? 2 * e->nrcpt : 1;
		struct spool_rcpt *v = realloc(e->rcpt, cap * sizeof *v);

		if (!v)
			return NULL;
		e->rcpt = v;
	}
	memset(&e->rcpt[e->nrcpt], 0, sizeof *e->rcpt);
	return &e->rcpt[e->nrcpt++];
}

static int
envelope_line(struct spool_envelope *e, char *s)
{
	char *v = strchr(s, '\t');
	struct spool_rcpt *r = e->nrcpt ? &e->rcpt[e->nrcpt - 1] : NULL;
	const struct {
		const char *key;
		const char **to;
	} row[] = {
		{"application", &e->application}, {"unit", &e->unit}, {"from", &e->from},
		{"envid", &e->envid}, {"ret", &e->ret}, {"body", &e->body}, {"note", &e->note},
		{" relay", r ? &r->relay : NULL}, {" notify", r ? &r->notify : NULL},
		{" orcpt", r ? &r->orcpt : NULL},
	};
	uint64_t x;

	if (!v)
		return -EBADMSG;
	*v++ = 0;
	if (!readable(v))
		return -EBADMSG;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		if (!strcmp(s, row[i].key)) {
			if (!row[i].to || *row[i].to)
				return -EBADMSG;
			*row[i].to = v;
			return 0;
		}
	if (!strcmp(s, "to")) {
		if (e->nrcpt == SPOOL_RCPT_MOST)
			return -EBADMSG;
		r = more_rcpt(e);
		if (!r)
			return -ENOMEM;
		r->address = v;
		return 0;
	}
	if (!strcmp(s, "arrived"))
		return form_time_read(v, strlen(v), &e->arrived) ? 0 : -EBADMSG;
	if (!strcmp(s, "not-before"))
		return form_time_read(v, strlen(v), &e->not_before) ? 0 : -EBADMSG;
	if (!strcmp(s, "uid")) {
		if (!number(v, UINT32_MAX, &x))
			return -EBADMSG;
		e->uid = (uint32_t)x;
		return 0;
	}
	if (!strcmp(s, "smtputf8")) {
		e->smtputf8 = true;
		return 0;
	}
	return -EBADMSG;
}

static int
envelope(struct spool_envelope *e, char *p, char *end)
{
	char *s;
	int r = 0;

	while (!r && (s = next_line(&p, end)))
		r = envelope_line(e, s);
	if (r)
		return r;
	if (p != end || !e->from || !e->nrcpt)
		return -EBADMSG;
	for (size_t i = 0; i < e->nrcpt; i++)
		if (!e->rcpt[i].relay)
			return -EBADMSG;
		else
			e->rcpt[i].next = e->not_before;
	return 0;
}

static void
apply(struct form_tail *t, const struct form_line *l, struct spool_rcpt *r)
{
	bool final = r->state >= SPOOL_DELIVERED;

	if (l->event == FORM_REPORTED)
		r->owed = false;
	if (l->event == FORM_WARNED)
		t->warned = true;
	/* What is final stays. */
	if (final)
		return;
	switch (l->event) {
	case FORM_SENDING:
		r->state = SPOOL_SENDING;
		r->attempts = l->attempts;
		return;
	case FORM_SPARED:
		r->state = SPOOL_PENDING;
		r->attempts = l->attempts;
		r->next = l->next;
		return;
	case FORM_DELIVERED:
	case FORM_FAILED:
	case FORM_EXPIRED:
		r->state = l->event == FORM_DELIVERED ? SPOOL_DELIVERED : SPOOL_FAILED;
		r->owed = l->owed;
		break;
	case FORM_DEFERRED:
		r->state = SPOOL_PENDING;
		r->attempts = l->attempts;
		r->next = l->next;
		break;
	case FORM_HELD:
		r->state = SPOOL_HELD;
		break;
	case FORM_REROUTED:
		r->relay = l->relay;
		r->next = l->at;
		return;
	case FORM_RELEASED:
		if (r->state == SPOOL_HELD)
			r->state = SPOOL_PENDING;
		r->next = l->at;
		return;
	case FORM_RETRY:
		r->next = l->at;
		return;
	case FORM_DROPPED:
		r->state = SPOOL_DROPPED;
		return;
	case FORM_WARNED:
	case FORM_REPORTED:
	case FORM_CUT:
	case FORM_NEVENT:
		return;
	}
	/* An expiry keeps the last reply: it is what kept the mail here. */
	if (l->reply.text || l->reply.code)
		r->last = l->reply;
}

static int
event_line(struct form_tail *t, char *s)
{
	char *col[FORM_COLUMNS], *p;
	struct form_line l = {.event = FORM_NEVENT};
	uint64_t attempts, code;

	for (int i = 0; i < FORM_COLUMNS; i++) {
		col[i] = s;
		s = i < FORM_COLUMNS - 1 ? strchr(s, '\t') : NULL;
		if (!s && i < FORM_COLUMNS - 1)
			return -EBADMSG;
		if (s)
			*s++ = 0;
	}
	for (int e = 0; e < FORM_NEVENT; e++)
		if (!strcmp(col[0], event_row[e].name))
			l.event = (enum form_event)e;
	if (l.event == FORM_NEVENT || !form_time_read(col[1], strlen(col[1]), &l.at) ||
	    !number(col[3], UINT32_MAX, &attempts) ||
	    (*col[4] && !form_time_read(col[4], strlen(col[4]), &l.next)) ||
	    (*col[5] && strcmp(col[5], "owed")) || !number(col[6], 999, &code))
		return -EBADMSG;
	for (int i = 7; i < FORM_COLUMNS; i++)
		if (!readable(col[i]))
			return -EBADMSG;
	l.attempts = (unsigned)attempts;
	l.owed = *col[5];
	l.relay = *col[7] ? col[7] : NULL;
	l.reply = (struct spool_reply){.code = (unsigned)code,
		.peer = *col[8] ? col[8] : NULL, .tls = *col[9] ? col[9] : NULL,
		.cipher = *col[10] ? col[10] : NULL, .text = *col[11] ? col[11] : NULL};
	if (l.event == FORM_REROUTED && !l.relay)
		return -EBADMSG;
	if (!strcmp(col[2], "*")) {
		for (size_t i = 0; i < t->env.nrcpt; i++)
			apply(t, &l, &t->env.rcpt[i]);
		return 0;
	}
	for (p = col[2]; *p;) {
		size_t k = strcspn(p, "-,");
		uint64_t from, to;

		if (!digits(p, k, 10, &from))
			return -EBADMSG;
		to = from;
		p += k;
		if (*p == '-') {
			k = strcspn(p + 1, ",");
			if (!digits(p + 1, k, 10, &to))
				return -EBADMSG;
			p += 1 + k;
		}
		if (from > to || to >= t->env.nrcpt)
			return -EBADMSG;
		if (*p == ',' && !*++p)
			return -EBADMSG;
		for (; from <= to; from++)
			apply(t, &l, &t->env.rcpt[from]);
	}
	return 0;
}

/* Whether a whole record stands anywhere behind p. */
static bool
record_behind(const char *p, size_t n, uint64_t id)
{
	const char *end = p + n;
	uint32_t seq;

	/* Looked at from the second byte: the first was no record. */
	while (n > FORM_HEAD && (p = memmem(p + 1, (size_t)(end - p) - 1, "\n#", 2))) {
		n = (size_t)(end - p);
		if (record(p, n, id, &seq))
			return true;
	}
	return false;
}

int
form_read(char *p, size_t n, uint64_t id, struct form_tail *t)
{
	size_t len, at = 0;
	uint32_t seq;
	int r = 0;

	memset(t, 0, sizeof *t);
	while ((len = record(p + at, n - at, id, &seq)) && seq == t->seq) {
		char *s = p + at + FORM_HEAD, *end = s + len;

		if (!t->seq) {
			r = envelope(&t->env, s, end);
		} else {
			char *line;

			while (!r && (line = next_line(&s, end)))
				r = event_line(t, line);
			if (!r && s != end)
				r = -EBADMSG;
		}
		if (r)
			break;
		at += FORM_HEAD + len;
		t->seq++;
	}
	t->good = at;
	t->torn = at < n;
	if (!r && (!t->seq || (t->torn && record_behind(p + at, n - at, id)) || len))
		r = -EBADMSG;
	t->env.id = id;
	if (r) {
		free(t->env.rcpt);
		t->env.rcpt = NULL;
		t->env.nrcpt = 0;
	}
	return r;
}

void
form_lines(const char *p, size_t n, uint64_t id, void (*line)(void *arg, const char *s, size_t n),
    void *arg)
{
	uint32_t seq, want = 0;
	size_t len;

	while ((len = record(p, n, id, &seq)) && seq == want++) {
		const char *s = p + FORM_HEAD, *end = s + len;

		while (s < end) {
			const char *nl = memchr(s, '\n', (size_t)(end - s));

			line(arg, s, (size_t)(nl - s));
			s = nl + 1;
		}
		p += FORM_HEAD + len;
		n -= FORM_HEAD + len;
	}
}
