#include "smtp/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp/client_inside.h"

/* RFC 5321 4.5.3.2, and what it leaves to us: TLS, AUTH, RSET, QUIT. */
static const struct {
	const char *name;
	uint64_t ms;
} stages[] = {
	[SMTP_AT_GREETING] = {"greeting", 300 * 1000},
	[SMTP_AT_EHLO] = {"EHLO", 300 * 1000},
	[SMTP_AT_HELO] = {"HELO", 300 * 1000},
	[SMTP_AT_STARTTLS] = {"STARTTLS", 120 * 1000},
	[SMTP_AT_TLS] = {"TLS handshake", 120 * 1000},
	[SMTP_AT_AUTH] = {"AUTH", 120 * 1000},
	[SMTP_AT_MAIL] = {"MAIL", 300 * 1000},
	[SMTP_AT_RCPT] = {"RCPT", 300 * 1000},
	[SMTP_AT_DATA] = {"DATA", 120 * 1000},
	[SMTP_AT_CONTENT] = {"content", 180 * 1000},
	[SMTP_AT_DOT] = {"end of data", 600 * 1000},
	[SMTP_AT_RSET] = {"RSET", 120 * 1000},
	[SMTP_AT_QUIT] = {"QUIT", 10 * 1000},
	[SMTP_AT_IDLE] = {"idle", 0},
};

const char *
smtp_stage_name(enum smtp_stage s)
{
	return stages[s].name;
}

struct smtp_client *
smtp_client_new(const struct smtp_client_options *o)
{
	struct smtp_client *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	assert(o->host && smtp_helo_ok(o->host, strlen(o->host)));
	c->o = *o;
	c->tls = o->tls == SMTP_TLS_IMPLICIT;
	c->out = (struct buf)BUF_INIT(CLIENT_OUT_MOST);
	smtp_reply_init(&c->reply);
	return c;
}

struct smtp_client *
smtp_client_free(struct smtp_client *c)
{
	if (!c)
		return NULL;
	if (c->out.p)
		explicit_bzero(c->out.p, c->out.cap);
	buf_free(&c->out);
	smtp_reply_free(&c->reply);
	free(c);
	return NULL;
}

/* ---- events ---------------------------------------------------------------- */

static void
stand(struct smtp_client *c, enum smtp_client_event_is is)
{
	assert(!c->stands);
	c->event = (struct smtp_client_event){.is = is};
	c->stands = true;
}

/* What reply is awaited now. */
static enum smtp_stage
stage(const struct smtp_client *c)
{
	return c->at != SMTP_AT_IDLE || !c->nflight ? c->at : c->flight[0].at;
}

void
client_fail(struct smtp_client *c, enum smtp_client_why why, bool reply)
{
	enum smtp_stage at = stage(c);

	if (c->over)
		return;
	c->stands = false;
	c->over = true;
	stand(c, SMTP_CLIENT_FAILED);
	c->event.why = why;
	c->event.stage = at;
	c->event.reply = reply ? &c->reply : NULL;
	for (unsigned i = 0; i < c->nflight; i++)
		c->event.lost[i] = c->flight[i].m;
	c->event.dot = c->nflight && c->flight[0].ended && c->taken >= c->flight[0].dot;
	/* Nothing of what waits may go out any more. */
	if (c->out.p)
		explicit_bzero(c->out.p, c->out.cap);
	c->out.n = c->sent = 0;
}

static void
closed(struct smtp_client *c)
{
	c->stands = false;
	c->over = true;
	stand(c, SMTP_CLIENT_CLOSED);
}

const struct smtp_client_event *
smtp_client_event(const struct smtp_client *c)
{
	static const struct smtp_client_event ready = {.is = SMTP_CLIENT_READY};
	const struct flight *f = c->nflight ? &c->flight[0] : NULL;

	if (c->stands)
		return &c->event;
	if (c->over || c->quit || c->at != SMTP_AT_IDLE)
		return NULL;
	if (f && f->at == SMTP_AT_CONTENT)
		return &c->content;
	if (!f)
		return &ready;
	/* The next may be asked for while the dot of this one waits for its reply. */
	if (c->nflight == 1 && f->ended && f->good && client_pipelines(c) && !smtp_client_spent(c))
		return &ready;
	return NULL;
}

/* ---- output ---------------------------------------------------------------- */

size_t
client_unsent(const struct smtp_client *c)
{
	return c->out.n - c->sent;
}

/* Begins a command; its reply is one more to be awaited. */
static void
awaiting(struct smtp_client *c, uint64_t now)
{
	if (!c->awaited)
		c->mark = c->taken + client_unsent(c);
	c->awaited++;
	c->since = now;
}

/* Writes a command, without CRLF in its words. */
void
client_command(struct smtp_client *c, const struct buf *b, uint64_t now)
{
	awaiting(c, now);
	assert(b->err || (!memchr(b->p, '\r', b->n) && !memchr(b->p, '\n', b->n) &&
	    !memchr(b->p, 0, b->n)));
	if (b->err)
		c->out.err = b->err;
	else
		buf_add(&c->out, b->p, b->n);
	buf_add(&c->out, "\r\n", 2);
}

static void
say(struct smtp_client *c, enum smtp_stage at, const char *word, const char *arg, uint64_t now)
{
	struct buf b = BUF_INIT(16 * 1024);

	buf_str(&b, word);
	if (arg) {
		if (*word)
			buf_chr(&b, ' ');
		buf_str(&b, arg);
	}
	client_command(c, &b, now);
	if (b.p)
		explicit_bzero(b.p, b.cap);
	buf_free(&b);
	c->at = at;
}

/* After anything that wrote. */
static void
wrote(struct smtp_client *c)
{
	if (c->out.err)
		client_fail(c, SMTP_FAIL_MEMORY, false);
}

const char *
smtp_client_output(const struct smtp_client *c, size_t *n)
{
	*n = client_unsent(c);
	return *n ? c->out.p + c->sent : "";
}

void
smtp_client_sent(struct smtp_client *c, size_t n, uint64_t now)
{
	assert(n <= client_unsent(c));
	c->sent += n;
	c->taken += n;
	c->since = now;
	if (c->sent == c->out.n) {
		/* It may have been a password. */
		if (c->at == SMTP_AT_AUTH && c->out.p)
			explicit_bzero(c->out.p, c->out.cap);
		c->sent = c->out.n = 0;
		if (c->out.cap > 4096 && !c->nflight)
			buf_free(&c->out);
	} else if (c->sent >= CLIENT_OUT_HIGH / 2) {
		c->out.n -= c->sent;
		memmove(c->out.p, c->out.p + c->sent, c->out.n);
		c->sent = 0;
	}
	client_pump(c, now);
	wrote(c);
}

/* ---- before the first message ------------------------------------------------ */

static void
ehlo(struct smtp_client *c, uint64_t now)
{
	c->capable = (struct smtp_capable){0};
	say(c, SMTP_AT_EHLO, "EHLO", c->o.host, now);
}

/* EHLO was answered: what has to come before the first message? */
static void
prepare(struct smtp_client *c, uint64_t now)
{
	bool wanted = (c->o.tls == SMTP_TLS_STARTTLS || c->o.tls == SMTP_TLS_MAY) && !c->tls;

	if (wanted && c->capable.starttls && !c->no_tls) {
		say(c, SMTP_AT_STARTTLS, "STARTTLS", NULL, now);
	} else if (wanted && c->o.tls == SMTP_TLS_STARTTLS) {
		client_fail(c, SMTP_FAIL_NO_TLS, false);
	} else if (c->o.auth == SMTP_AUTH_REQUIRED && !c->authenticated) {
		if (!c->tls && !c->o.auth_in_clear) {
			client_fail(c, SMTP_FAIL_AUTH_CLEAR, false);
		} else if (!c->capable.auth) {
			client_fail(c, SMTP_FAIL_NO_AUTH, false);
		} else {
			c->at = SMTP_AT_AUTH;
			stand(c, SMTP_CLIENT_AUTH);
		}
	} else {
		c->at = SMTP_AT_IDLE;
	}
}

static void
act_ehlo(struct smtp_client *c, uint64_t now)
{
	if (c->reply.code == 250) {
		smtp_capable_read(&c->capable, &c->reply);
		prepare(c, now);
	} else if (c->reply.code / 100 != 5) {
		client_fail(c, SMTP_FAIL_EHLO, true);
	} else if (c->o.tls == SMTP_TLS_STARTTLS) {
		/* HELO knows neither STARTTLS nor AUTH. */
		client_fail(c, c->tls ? SMTP_FAIL_EHLO : SMTP_FAIL_NO_TLS, true);
	} else if (c->o.auth == SMTP_AUTH_REQUIRED) {
		client_fail(c, SMTP_FAIL_NO_AUTH, true);
	} else {
		say(c, SMTP_AT_HELO, "HELO", c->o.host, now);
	}
}

static void
act_auth(struct smtp_client *c)
{
	if (c->reply.code == 334) {
		stand(c, SMTP_CLIENT_CHALLENGE);
		c->event.challenge = c->reply.text;
	} else if (c->reply.code / 100 == 2) {
		c->authenticated = true;
		c->at = SMTP_AT_IDLE;
	} else {
		client_fail(c, SMTP_FAIL_AUTH, true);
	}
}

/* What the reply means, now that the caller has seen it. */
static void
act(struct smtp_client *c, uint64_t now)
{
	unsigned class = c->reply.code / 100;

	if (c->unasked) {
		client_fail(c, c->reply.code == 421 ? SMTP_FAIL_SHUT : SMTP_FAIL_UNASKED, true);
		return;
	}
	if (c->reply.code == 421 && c->at != SMTP_AT_GREETING && c->at != SMTP_AT_QUIT) {
		client_fail(c, SMTP_FAIL_SHUT, true);
		return;
	}
	switch (c->at) {
	case SMTP_AT_GREETING:
		if (c->reply.code == 220)
			ehlo(c, now);
		else
			client_fail(c, SMTP_FAIL_GREETING, true);
		break;
	case SMTP_AT_EHLO:
		act_ehlo(c, now);
		break;
	case SMTP_AT_HELO:
		if (c->reply.code == 250)
			c->at = SMTP_AT_IDLE;
		else
			client_fail(c, SMTP_FAIL_EHLO, true);
		break;
	case SMTP_AT_STARTTLS:
		if (c->reply.code == 220) {
			c->at = SMTP_AT_TLS;
			stand(c, SMTP_CLIENT_STARTTLS);
		} else if (c->o.tls == SMTP_TLS_MAY) {
			c->no_tls = true;
			prepare(c, now);
		} else {
			client_fail(c, SMTP_FAIL_NO_TLS, true);
		}
		break;
	case SMTP_AT_AUTH:
		act_auth(c);
		break;
	case SMTP_AT_RSET:
		/* A relay that does not even forget gets no further message. */
		c->stale = class != 2;
		c->at = SMTP_AT_IDLE;
		break;
	case SMTP_AT_QUIT:
		closed(c);
		break;
	case SMTP_AT_IDLE:
		client_act(c, now);
		break;
	case SMTP_AT_TLS:
	case SMTP_AT_MAIL:
	case SMTP_AT_RCPT:
	case SMTP_AT_DATA:
	case SMTP_AT_CONTENT:
	case SMTP_AT_DOT:
		assert(!"a stage of the session");
	}
}

/* A message is settled; the transaction may have to be forgotten by the relay. */
static void
act_done(struct smtp_client *c, uint64_t now)
{
	bool reset = c->flight[0].reset;

	c->flight[0] = c->flight[1];
	c->nflight--;
	if (reset) {
		assert(!c->nflight);
		say(c, SMTP_AT_RSET, "RSET", NULL, now);
	} else if (c->quit && !c->nflight) {
		say(c, SMTP_AT_QUIT, "QUIT", NULL, now);
	}
}

void
smtp_client_next(struct smtp_client *c, uint64_t now)
{
	bool done = c->event.is == SMTP_CLIENT_DONE;

	assert(c->stands && (done || c->event.is == SMTP_CLIENT_REPLY));
	c->stands = false;
	if (done)
		act_done(c, now);
	else
		act(c, now);
	if (!c->stands || (c->event.is != SMTP_CLIENT_CHALLENGE && c->event.is != SMTP_CLIENT_FAILED))
		smtp_reply_again(&c->reply);
	client_pump(c, now);
	wrote(c);
}

void
smtp_client_start(struct smtp_client *c, uint64_t now)
{
	assert(!c->awaited && c->at == SMTP_AT_GREETING);
	c->awaited = 1;
	c->since = now;
}

static enum smtp_client_why
why_of(enum smtp_reply_is is)
{
	return is == SMTP_REPLY_ENDLESS ? SMTP_FAIL_ENDLESS :
	    is == SMTP_REPLY_NO_MEMORY ? SMTP_FAIL_MEMORY : SMTP_FAIL_NONSENSE;
}

size_t
smtp_client_feed(struct smtp_client *c, const char *p, size_t n, uint64_t now)
{
	enum smtp_reply_is is;
	size_t k;

	if (!n || c->over)
		return 0;
	if (c->stands && c->event.is == SMTP_CLIENT_STARTTLS) {
		client_fail(c, SMTP_FAIL_INJECTED, false);
		return 0;
	}
	if (c->stands)
		return 0;
	/* A reply that begins before the first byte of its command went out. */
	if (!smtp_reply_begun(&c->reply) && (!c->awaited ||
	    (c->awaited == 1 && c->at != SMTP_AT_GREETING && c->taken <= c->mark)))
		c->unasked = true;
	k = smtp_reply_feed(&c->reply, p, n, &is);
	if (is == SMTP_REPLY_MORE)
		return k;
	if (is != SMTP_REPLY_WHOLE) {
		client_fail(c, c->unasked ? SMTP_FAIL_UNASKED : why_of(is), false);
		return k;
	}
	c->since = now;
	if (c->at == SMTP_AT_STARTTLS && c->reply.code == 220 && k < n) {
		client_fail(c, SMTP_FAIL_INJECTED, false);
		return k;
	}
	if (!c->unasked)
		c->awaited--;
	/* More bytes, and nothing that they could answer. A message's answer counts all the same, else it would
	   be sent twice; none follows it. */
	if (!c->awaited && k < n && c->at == SMTP_AT_IDLE && c->nflight && c->flight[0].at == SMTP_AT_DOT) {
		c->stale = true;
	} else if (c->unasked && c->nflight && c->reply.code / 100 > 3 && c->reply.code != 421) {
		/* a refusal before the end of the content: whatever follows, this was its answer */
	} else if (!c->awaited && k < n && c->reply.code != 421 && c->at != SMTP_AT_QUIT) {
		client_fail(c, n - k >= 3 && !memcmp(p + k, "421", 3) ? SMTP_FAIL_SHUT :
		    SMTP_FAIL_UNASKED, false);
		return k;
	}
	stand(c, SMTP_CLIENT_REPLY);
	c->event.reply = &c->reply;
	c->event.stage = stage(c);
	if (c->at == SMTP_AT_IDLE && c->nflight) {
		c->event.message = c->flight[0].m;
		c->event.rcpt = c->flight[0].answered;
	}
	return k;
}

/* ---- what the caller decides -------------------------------------------------- */

void
smtp_client_tls_done(struct smtp_client *c, bool ok, uint64_t now)
{
	if (c->over)
		return;
	assert(c->stands && c->event.is == SMTP_CLIENT_STARTTLS);
	if (!ok) {
		client_fail(c, SMTP_FAIL_TLS, false);
		return;
	}
	c->stands = false;
	c->tls = true;
	assert(!smtp_reply_begun(&c->reply));
	ehlo(c, now);
	wrote(c);
}

void
smtp_client_auth(struct smtp_client *c, const char *mechanism, const char *initial, uint64_t now)
{
	struct buf b = BUF_INIT(16 * 1024);

	assert(c->stands && c->event.is == SMTP_CLIENT_AUTH);
	c->stands = false;
	if (!mechanism) {
		client_fail(c, SMTP_FAIL_NO_AUTH, false);
		return;
	}
	assert(smtp_capable_auth(&c->capable, mechanism));
	buf_printf(&b, "AUTH %s", mechanism);
	/* RFC 4954 4: an empty response is a lone "=". */
	if (initial) {
		buf_chr(&b, ' ');
		buf_str(&b, *initial ? initial : "=");
	}
	client_command(c, &b, now);
	if (b.p)
		explicit_bzero(b.p, b.cap);
	buf_free(&b);
	wrote(c);
}

void
smtp_client_auth_line(struct smtp_client *c, const char *line, uint64_t now)
{
	assert(c->stands && c->event.is == SMTP_CLIENT_CHALLENGE);
	c->stands = false;
	smtp_reply_again(&c->reply);
	say(c, SMTP_AT_AUTH, "", line ? line : "*", now);
	wrote(c);
}

const struct smtp_capable *
smtp_client_capable(const struct smtp_client *c)
{
	return &c->capable;
}

bool
smtp_client_spent(const struct smtp_client *c)
{
	return c->stale || (c->capable.mail_most && c->mails >= c->capable.mail_most);
}

void
smtp_client_quit(struct smtp_client *c, uint64_t now)
{
	assert(!c->stands && !c->over && c->at == SMTP_AT_IDLE && !c->quit);
	c->quit = true;
	if (!c->nflight)
		say(c, SMTP_AT_QUIT, "QUIT", NULL, now);
	wrote(c);
}

void
smtp_client_abort(struct smtp_client *c)
{
	client_fail(c, SMTP_FAIL_CONTENT, false);
}

/* ---- time and ends -------------------------------------------------------------- */

uint64_t
smtp_client_deadline(const struct smtp_client *c)
{
	enum smtp_stage at = stage(c);
	uint64_t ms = stages[at].ms;

	if (c->over || !ms)
		return UINT64_MAX;
	/* An event that stands waits for the caller, but TLS has its own time. */
	if (c->stands && c->event.is != SMTP_CLIENT_STARTTLS)
		return UINT64_MAX;
	/* Content that the caller owes us is not the relay's to answer for. */
	if (at == SMTP_AT_CONTENT && !client_unsent(c))
		return UINT64_MAX;
	return c->since > UINT64_MAX - ms ? UINT64_MAX : c->since + ms;
}

void
smtp_client_tick(struct smtp_client *c, uint64_t now)
{
	if (smtp_client_deadline(c) > now)
		return;
	if (c->at == SMTP_AT_QUIT)
		closed(c);
	else
		client_fail(c, SMTP_FAIL_TIME, false);
}

void
smtp_client_gone(struct smtp_client *c, uint64_t now)
{
	(void)now;
	if (c->over)
		return;
	if (c->at == SMTP_AT_QUIT)
		closed(c);
	else
		client_fail(c, SMTP_FAIL_GONE, false);
}
