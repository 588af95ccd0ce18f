/* One claim: its recipients' fates, its content, its result. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "role/relay_inside.h"

enum {
	MOST_BITS = 1 << 20,       /* converted content that waits: a run becomes at most three */
	MOST_TELL = 256,           /* results told in one turn */
};

/* ---- making and ending ------------------------------------------------------------- */

struct relay_claim *
relay_claim_free(struct relay_claim *c)
{
	if (!c)
		return NULL;
	free(c->one);
	free(c->rcpt);
	free(c->which);
	buf_free(&c->words);
	smtp_seven_free(c->seven);
	buf_free(&c->bits);
	if (c->fd >= 0)
		close(c->fd);
	ipc_free(&c->in);
	free(c);
	return NULL;
}

int
relay_claim_new(struct relay *r, struct ipc_in *in, struct relay_claim **claim)
{
	struct relay_claim *c = calloc(1, sizeof *c);
	const void *body;
	int err = c ? ipc_body(in, &relay_ask_shape[RELAY_SEND], &body) : -ENOMEM;

	if (!err) {
		c->s = body;
		err = c->s->ncontent && c->s->ncontent != c->s->size ? -EBADMSG : 0;
	}
	if (!err) {
		c->one = calloc(c->s->nrcpt + 1, sizeof *c->one);
		c->rcpt = calloc(c->s->nrcpt + 1, sizeof *c->rcpt);
		c->which = calloc(c->s->nrcpt + 1, sizeof *c->which);
		err = c->one && c->rcpt && c->which ? 0 : -ENOMEM;
	}
	if (err) {
		if (c) {
			free(c->one);
			free(c->rcpt);
			free(c->which);
		}
		free(c);
		return err;
	}
	c->bits = (struct buf)BUF_INIT(MOST_BITS);
	c->words = (struct buf)BUF_INIT(RELAY_MOST_RCPT * RELAY_WORDS);
	c->in = *in;
	*in = (struct ipc_in){0};
	c->fd = ipc_take(&c->in, 0);
	c->since = r->now;
	r->nclaim++;
	*claim = c;
	return 0;
}

void
relay_claim_settle(struct relay_claim *c, uint32_t i, unsigned fate, unsigned code,
    const char *text)
{
	struct relay_one *o = &c->one[i];

	assert(!o->settled);
	o->settled = true;
	o->fate = fate;
	o->code = code;
	o->text = c->words.n;
	buf_add(&c->words, text, strnlen(text, RELAY_WORDS - 1));
	buf_chr(&c->words, 0);
}

/* Without memory for them: without words. */
static const char *
words_of(const struct relay_claim *c, const struct relay_one *o)
{
	return c->words.err ? "" : c->words.p + o->text;
}

uint32_t
relay_claim_open(const struct relay_claim *c)
{
	uint32_t i = 0;

	while (i < c->s->nrcpt && c->one[i].settled)
		i++;
	return i;
}

/* What travels with the claim is needed no more; its result is. */
static void
shed(struct relay_claim *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->seven = smtp_seven_free(c->seven);
	buf_free(&c->bits);
}

void
relay_claim_over(struct relay *r, struct relay_claim *c, unsigned fate, unsigned code,
    const char *text)
{
	assert(c->at != CLAIM_OVER);
	for (uint32_t i = 0; i < c->s->nrcpt; i++)
		if (!c->one[i].settled)
			relay_claim_settle(c, i, fate, code, text);
	c->at = CLAIM_OVER;
	c->conn = NULL;
	c->lane = NULL;
	if (c->canceled) {         /* told long ago */
		r->nclaim--;
		relay_claim_free(c);
		return;
	}
	shed(c);
	c->next = NULL;
	*r->over_last = c;
	r->over_last = &c->next;
	r->nover++;
}

/* ---- fates -------------------------------------------------------------------------- */

/* 530, 534, 535, 538 (RFC 4954 6) tell of who we are, not of the message: people must look. */
unsigned
relay_fate_of_code(unsigned code)
{
	if (code / 100 == 2)
		return RELAY_DELIVERED;
	if (code == 530 || code == 534 || code == 535 || code == 538)
		return RELAY_HELD;
	return code / 100 == 5 ? RELAY_FAILED : RELAY_DEFERRED;
}

/* ---- a round --------------------------------------------------------------------------- */

static unsigned
notify_bits(const char *s)
{
	static const struct { const char *word; unsigned bit; } words[] = {
		{"NEVER", SMTP_NOTIFY_NEVER}, {"SUCCESS", SMTP_NOTIFY_SUCCESS},
		{"FAILURE", SMTP_NOTIFY_FAILURE}, {"DELAY", SMTP_NOTIFY_DELAY},
	};
	unsigned bits = 0;

	while (*s) {
		size_t n = strcspn(s, ",");

		for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
			if (n == strlen(words[i].word) && !strncasecmp(s, words[i].word, n))
				bits |= words[i].bit;
		s += n + (s[n] == ',');
	}
	/* RFC 3461 4.1: it stands alone */
	return bits & SMTP_NOTIFY_NEVER ? SMTP_NOTIFY_NEVER : bits;
}

static const char *
domain_of(const char *path)
{
	const char *at = strrchr(path, '@');

	return at ? at + 1 : "";
}

/* Whether one recipient more keeps to the relay's RCPTDOMAINMAX (RFC 9422). */
static bool
domain_fits(const struct relay_claim *c, const char *path, uint32_t most)
{
	uint32_t n = 1;

	for (size_t i = 0; i < c->m.nrcpt && most; i++) {
		size_t k = 0;

		if (!strcasecmp(domain_of(c->rcpt[i].path), domain_of(path)))
			return true;
		while (k < i && strcasecmp(domain_of(c->rcpt[k].path), domain_of(c->rcpt[i].path)))
			k++;
		n += k == i;
	}
	return !most || n <= most;
}

void
relay_claim_form(struct relay_claim *c, const struct smtp_capable *can)
{
	const struct relay_send *s = c->s;
	uint32_t first = relay_claim_open(c);

	assert(first < s->nrcpt);
	c->seven = smtp_seven_free(c->seven);
	c->m = (struct smtp_client_message){.path = s->from, .rcpt = c->rcpt, .high = s->eight,
	    .arg = c};
	c->m.mail.utf8 = s->utf8;
	c->m.mail.envid = *s->envid ? s->envid : NULL;
	c->m.mail.ret = !strcasecmp(s->ret, "FULL") ? SMTP_RET_FULL :
	    !strcasecmp(s->ret, "HDRS") ? SMTP_RET_HDRS : SMTP_RET_UNSAID;
	c->m.mail.sized = true;
	c->m.mail.size = s->size;
	if (s->eight)
		c->m.mail.body = SMTP_BODY_8BITMIME;
	for (uint32_t i = first; i < s->nrcpt; i++) {
		const struct relay_rcpt *p = &s->rcpt[i];

		c->one[i].good = false;
		if (c->one[i].settled || p->auth != s->rcpt[first].auth ||
		    !domain_fits(c, p->address, can->domain_most))
			continue;
		c->which[c->m.nrcpt] = i;
		c->rcpt[c->m.nrcpt++] = (struct smtp_client_rcpt){.path = p->address,
		    .dsn = {notify_bits(p->notify), *p->orcpt ? p->orcpt : NULL}};
	}
	c->ngood = 0;
	c->code = 0;
	c->text[0] = 0;
	c->off = 0;
	c->ended = false;
	c->bits_at = 0;
	c->bits.n = 0;
}

/* ---- content ------------------------------------------------------------------------------ */

/* Reads a run of the content at off. Bytes, 0 at its end, -errno. */
static ssize_t
run(struct relay *r, const struct relay_claim *c, uint64_t off)
{
	size_t n = c->s->size - off < sizeof r->run ? (size_t)(c->s->size - off) : sizeof r->run;
	ssize_t got;

	if (!n)
		return 0;
	if (c->s->ncontent) {
		memcpy(r->run, c->s->content + off, n);
		return (ssize_t)n;
	}
	do
		got = pread(c->fd, r->run, n, (off_t)(c->s->offset + off));
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got ? got : -EIO;
}

const char *
relay_claim_seven(struct relay *r, struct relay_claim *c)
{
	const char *why;
	ssize_t got;

	smtp_seven_free(c->seven);
	c->seven = smtp_seven_new();
	if (!c->seven)
		return "no memory for the conversion";
	for (uint64_t off = 0; off < c->s->size; off += (uint64_t)got) {
		got = run(r, c, off);
		if (got < 0 || smtp_seven_look(c->seven, r->run, (size_t)got)) {
			c->seven = smtp_seven_free(c->seven);
			return "the message could not be read for the conversion";
		}
	}
	why = smtp_seven_cannot(c->seven);
	if (why)
		c->seven = smtp_seven_free(c->seven);
	else
		c->m.high = false;
	/* what becomes of its size is not known before */
	c->m.mail.sized = false;
	c->m.mail.body = SMTP_BODY_UNSAID;
	c->seven_over = false;
	return why;
}

/* The next of what the conversion gives. */
static int
seven_content(struct relay *r, struct relay_claim *c, struct smtp_client *s)
{
	for (;;) {
		ssize_t got = 0;
		int err;

		if (c->bits_at < c->bits.n)
			c->bits_at += smtp_client_content(s, c->bits.p + c->bits_at, c->bits.n - c->bits_at,
			    r->now);
		if (c->bits_at < c->bits.n)
			return 0;
		c->bits.n = c->bits_at = 0;
		if (c->seven_over) {
			smtp_client_content_end(s, r->now);
			c->ended = true;
			return 0;
		}
		got = run(r, c, c->off);
		if (got < 0)
			return (int)got;
		c->off += (uint64_t)got;
		c->seven_over = !got;
		err = got ? smtp_seven_feed(c->seven, r->run, (size_t)got, &c->bits) :
		    smtp_seven_end(c->seven, &c->bits);
		if (err)
			return err;
	}
}

int
relay_claim_content(struct relay *r, struct relay_claim *c, struct smtp_client *s)
{
	if (c->seven)
		return seven_content(r, c, s);
	for (;;) {
		const struct smtp_client_event *e = smtp_client_event(s);
		ssize_t got = run(r, c, c->off);
		size_t took;

		if (got < 0)
			return (int)got;
		if (!e || e->is != SMTP_CLIENT_CONTENT)
			return 0;
		if (!got) {
			smtp_client_content_end(s, r->now);
			c->ended = true;
			return 0;
		}
		took = smtp_client_content(s, r->run, (size_t)got, r->now);
		c->off += took;
		if (took < (size_t)got)
			return 0;
	}
}

/* ---- telling --------------------------------------------------------------------------------- */

static int
tell_result(const struct relay *r, const struct relay_claim *c, bool words)
{
	struct relay_fate_of fate[RELAY_MOST_RCPT];
	struct relay_result m = {
		.claim = c->s->claim, .connected = c->connected, .canceled = c->told_canceled,
		.busy = c->busy, .doubt = c->doubt, .dsn = c->dsn, .peer = c->peer, .tls = c->tls,
		.cipher = c->cipher,
	};

	for (uint32_t i = 0; i < c->s->nrcpt; i++)
		fate[i] = (struct relay_fate_of){c->one[i].fate, c->one[i].code,
		    words ? words_of(c, &c->one[i]) : ""};
	m.rcpt = fate;
	m.nrcpt = c->s->nrcpt;
	return ipc_send(r->opt->queue, RELAY_RESULT, 0, &relay_tell_shape[RELAY_RESULT], &m, NULL, 0);
}

/* Of a relay's state only what is new, its connections not too often. */
static bool
tell_state(struct relay *r, struct relay_dest *d)
{
	struct relay_state m = {.relay = d->name, .well = d->well, .alarm = d->alarm,
	    .text = d->text, .connections = d->nconn};

	if (d->gone || !d->known || (!d->dirty && (d->nconn == d->told_conns || d->told + RELAY_STATE_MS > r->now)))
		return true;
	if (ipc_send(r->opt->queue, RELAY_STATE, 0, &relay_tell_shape[RELAY_STATE], &m, NULL, 0))
		return false;
	d->dirty = false;
	d->told = r->now;
	d->told_conns = d->nconn;
	return true;
}

static bool
tell_names(struct relay *r)
{
	struct relay_name_asked **p = &r->asked;

	while (*p) {
		struct relay_name_asked *q = *p;
		struct relay_resolved m = {q->token, q->answer};

		if (!q->over) {
			p = &q->next;
			continue;
		}
		if (ipc_send(r->opt->queue, RELAY_RESOLVED, 0, &relay_tell_shape[RELAY_RESOLVED], &m,
		    NULL, 0))
			return false;
		*p = q->next;
		free(q);
		r->nasked--;
	}
	return true;
}

void
relay_tell(struct relay *r)
{
	for (unsigned i = 0; r->over && i < MOST_TELL; i++) {
		struct relay_claim *c = r->over;
		int err = tell_result(r, c, true);

		if (err == -EMSGSIZE)
			err = tell_result(r, c, false);
		/* it stays until it is told: the queue waits for it */
		if (err)
			return;
		r->over = c->next;
		if (!r->over)
			r->over_last = &r->over;
		r->nover--;
		r->nclaim--;
		relay_claim_free(c);
	}
	if (!tell_names(r))
		return;
	for (struct relay_dest *d = r->dest; d; d = d->next)
		if (!tell_state(r, d))
			return;
}
