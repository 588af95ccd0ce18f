#include "smtp/server.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp/reply.h"
#include "smtp/server_inside.h"

enum {
	LINE_MOST = 12288 + 2,     /* RFC 4954 4; the table of commands says less for the others */
	OUT_MOST = 256 * 1024,
	OUT_HIGH = 16 * 1024,      /* with so much unsent, nothing more is taken */
	BLOCK = 4096,
};

static uint64_t
or_else(uint64_t x, uint64_t otherwise)
{
	return x ? x : otherwise;
}

struct smtp_server *
smtp_server_new(const struct smtp_server_options *o)
{
	struct smtp_server *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	assert(o->host && *o->host);
	s->o = *o;
	s->o.recipients = (unsigned)or_else(o->recipients, 1000);
	if (s->o.recipients < 100)
		s->o.recipients = 100;
	s->o.messages = (unsigned)or_else(o->messages, 10000);
	s->o.errors = (unsigned)or_else(o->errors, 20);
	s->o.idle = (unsigned)or_else(o->idle, 200);
	if (s->o.line && s->o.line < 1000)
		s->o.line = 1000;
	s->o.command_ms = or_else(o->command_ms, 300 * 1000);
	s->o.block_ms = or_else(o->block_ms, 180 * 1000);
	s->o.message_ms = or_else(o->message_ms, 3600 * 1000);
	s->o.write_ms = or_else(o->write_ms, 300 * 1000);
	s->out = (struct buf)BUF_INIT(OUT_MOST);
	smtp_line_init(&s->line, LINE_MOST);
	return s;
}

struct smtp_server *
smtp_server_free(struct smtp_server *s)
{
	if (!s)
		return NULL;
	smtp_line_free(&s->line);
	buf_free(&s->out);
	free(s);
	return NULL;
}

/* ---- events --------------------------------------------------------------- */

void
server_stand(struct smtp_server *s, enum smtp_server_event_is is)
{
	assert(!s->stands);
	s->event = (struct smtp_server_event){.is = is};
	s->stands = true;
}

static void
forget_mail(struct smtp_server *s)
{
	s->mail = s->utf8 = s->over = false;
	s->rcpt = s->refused = 0;
}

/* The transaction ends without END. */
void
server_reset(struct smtp_server *s, enum smtp_server_why why)
{
	if (!s->mail)
		return;
	forget_mail(s);
	server_stand(s, SMTP_SERVER_RESET);
	s->event.why = why;
}

static void
stand_close(struct smtp_server *s, enum smtp_server_why why)
{
	server_stand(s, SMTP_SERVER_CLOSE);
	s->event.why = why;
	s->at = AT_CLOSED;
}

/* Whatever stands gives way to the end; its reply, if any, has been written. */
static void
finish(struct smtp_server *s, enum smtp_server_why why)
{
	bool reset = s->stands && s->event.is == SMTP_SERVER_RESET;

	if (s->at == AT_CLOSED)
		return;
	s->at = AT_CLOSED;
	smtp_line_free(&s->line);
	if (!reset) {
		s->stands = false;
		server_reset(s, why);
	}
	if (s->stands) {
		s->closing = true;
		s->closing_why = why;
	} else {
		stand_close(s, why);
	}
}

static bool
ends_now(const struct smtp_server *s)
{
	return s->at == AT_CLOSED;
}

/* ---- output --------------------------------------------------------------- */

static size_t
unsent(const struct smtp_server *s)
{
	return s->out.n - s->sent;
}

void
server_reply(struct smtp_server *s, unsigned code, const char *enhanced, const char *text)
{
	smtp_reply_write(&s->out, code, enhanced, text);
}

void
server_no(struct smtp_server *s, unsigned code, const char *enhanced, const char *text)
{
	char with[400];

	if (s->o.contact) {
		snprintf(with, sizeof with, "%.240s; contact %.100s", text, s->o.contact);
		text = with;
	}
	server_reply(s, code, enhanced, text);
}

void
server_error(struct smtp_server *s, unsigned code, const char *enhanced, const char *text)
{
	server_reply(s, code, enhanced, text);
	s->errors++;
}

void
server_too_large(struct smtp_server *s, uint64_t most)
{
	char text[96];

	snprintf(text, sizeof text, "the message is larger than may be sent from here: at most %llu bytes",
	    (unsigned long long)most);
	server_no(s, 552, "5.3.4", text);
}

/* The last word: a reply and the end. */
void
server_refuse(struct smtp_server *s, enum smtp_server_why why, unsigned code, const char *enhanced,
    const char *text)
{
	server_no(s, code, enhanced, text);
	finish(s, why);
}

/* After anything that wrote: a reply that found no memory cannot be made up for. */
static void
wrote(struct smtp_server *s, uint64_t now)
{
	if (unsent(s) && s->wrote == UINT64_MAX)
		s->wrote = now;
	if (s->out.err && !ends_now(s)) {
		s->out.err = 0;
		finish(s, SMTP_WHY_MEMORY);
	}
}

const char *
smtp_server_output(const struct smtp_server *s, size_t *n)
{
	*n = unsent(s);
	return *n ? s->out.p + s->sent : "";
}

void
smtp_server_sent(struct smtp_server *s, size_t n, uint64_t now)
{
	assert(n <= unsent(s));
	s->sent += n;
	s->wrote = now;
	if (s->sent < s->out.n) {
		if (s->sent >= OUT_HIGH) {
			s->out.n -= s->sent;
			memmove(s->out.p, s->out.p + s->sent, s->out.n);
			s->sent = 0;
		}
		return;
	}
	s->wrote = UINT64_MAX;
	s->hold = false;
	s->sent = s->out.n = 0;
	if (s->out.cap > 4096)
		buf_free(&s->out);
}

/* ---- data ------------------------------------------------------------------ */

static void
data_ended(struct smtp_server *s)
{
	struct smtp_data *d = &s->data;

	s->at = AT_COMMAND;
	s->messages++;
	s->idle = 0;
	if (d->bad & SMTP_BAD_NUL) {
		server_no(s, 550, "5.6.0", "the message holds a NUL");
	} else if (d->bad) {
		server_no(s, 550, "5.6.0",
		    "the message holds a CR or LF that stands alone; lines end with CR LF (RFC 5321 2.3.8)");
	} else if (s->o.line && d->longest > s->o.line) {
		server_no(s, 550, "5.6.0", "a line of the message is too long (RFC 5321 4.5.3.1.6)");
	} else if (s->over) {
		server_too_large(s, s->limit);
		server_reset(s, SMTP_WHY_SIZE);
		return;
	} else {
		server_stand(s, SMTP_SERVER_END);
		s->event.size = d->size;
		s->event.high = d->high;
		return;
	}
	server_reset(s, SMTP_WHY_CONTENT);
}

static size_t
data_feed(struct smtp_server *s, const char *p, size_t n, uint64_t now)
{
	struct smtp_data *d = &s->data;
	const char *run;
	size_t nrun, k = smtp_data_feed(d, p, n, &run, &nrun);

	if (d->size - s->block >= BLOCK) {
		s->block = d->size;
		s->since = now;
	}
	if (s->limit && d->size > s->limit)
		s->over = true;
	if (nrun && !s->over) {
		server_stand(s, SMTP_SERVER_CONTENT);
		s->event.run = run;
		s->event.nrun = nrun;
	} else if (d->ended) {
		data_ended(s);
	}
	return k;
}

/* ---- the session ------------------------------------------------------------ */

void
smtp_server_start(struct smtp_server *s, uint64_t now)
{
	assert(s->at == AT_GREETING && !s->stands);
	s->since = now;
	s->wrote = UINT64_MAX;
	server_stand(s, SMTP_SERVER_CONNECT);
}

static bool
in_auth(const struct smtp_server *s)
{
	return s->at == AT_AUTH_PLAIN || s->at == AT_AUTH_USER || s->at == AT_AUTH_PASSWORD;
}

/* Up to one line of commands. */
static size_t
line_feed(struct smtp_server *s, char *p, size_t n, uint64_t now)
{
	struct smtp_line *l = &s->line;
	enum smtp_line_is is;
	size_t k = smtp_line_feed(l, p, n, &is);

	if (in_auth(s) || (l->n >= 4 && !strncasecmp(l->p, "AUTH", 4)))
		explicit_bzero(p, k);
	switch (is) {
	case SMTP_LINE_MORE:
		return k;
	case SMTP_LINE_BARE_CR:
	case SMTP_LINE_BARE_LF:
		server_refuse(s, SMTP_WHY_LINES, 554, "5.5.2", is == SMTP_LINE_BARE_LF ?
		    "a line must end with CR LF, not with LF alone (RFC 5321 2.3.8)" :
		    "a line must end with CR LF, not with CR alone (RFC 5321 2.3.8)");
		return k;
	case SMTP_LINE_WHOLE:
		break;
	}
	s->since = now;
	if (!in_auth(s)) {
		server_command(s, k < n);
	} else if (k < n) {
		server_refuse(s, SMTP_WHY_EARLY, 554, "5.5.0", "bytes behind a response that must wait for its reply");
	} else {
		server_auth_line(s);
	}
	/* The strings of MAIL and RCPT live in the line until they are answered. */
	if (!ends_now(s) && !(s->stands &&
	    (s->event.is == SMTP_SERVER_MAIL || s->event.is == SMTP_SERVER_RCPT)))
		smtp_line_again(l);
	if (s->errors >= s->o.errors && !ends_now(s))
		server_refuse(s, SMTP_WHY_ERRORS, 421, "4.7.0", "too many errors");
	return k;
}

/* Whether bytes now are bytes before our word was seen. */
static bool
too_early(const struct smtp_server *s)
{
	if (s->stands)
		return s->event.is == SMTP_SERVER_CONNECT || s->event.is == SMTP_SERVER_DATA;
	return s->hold;
}

size_t
smtp_server_feed(struct smtp_server *s, char *p, size_t n, uint64_t now)
{
	size_t i = 0;

	if (!n || ends_now(s))
		return 0;
	if (too_early(s)) {
		server_refuse(s, SMTP_WHY_EARLY, 554, "5.5.0", "bytes before our reply");
		wrote(s, now);
		return 0;
	}
	while (i < n && !s->stands && !ends_now(s) && unsent(s) < OUT_HIGH) {
		if (s->at == AT_DATA)
			i += data_feed(s, p + i, n - i, now);
		else
			i += line_feed(s, p + i, n - i, now);
	}
	wrote(s, now);
	return i;
}

const struct smtp_server_event *
smtp_server_event(const struct smtp_server *s)
{
	return s->stands ? &s->event : NULL;
}

/* What stood has been seen to; the next thing may follow at once. */
static void
settled(struct smtp_server *s, uint64_t now)
{
	s->since = now;
	if (s->closing) {
		s->closing = false;
		stand_close(s, s->closing_why);
	} else if (s->gone && s->at == AT_COMMAND && !s->stands) {
		finish(s, SMTP_WHY_GONE);
	} else if (s->shutdown && s->at == AT_COMMAND && !s->stands) {
		server_refuse(s, SMTP_WHY_SHUTDOWN, 421, "4.3.2", "the service ends; try again soon");
	}
	wrote(s, now);
}

/* The usual words of an answer. */
static const char *
words(enum smtp_server_event_is is, unsigned code)
{
	if (code >= 500)
		return "refused";
	if (code >= 400)
		return "not now; try again later";
	switch (is) {
	case SMTP_SERVER_CONNECT:
		return "ready";
	case SMTP_SERVER_MAIL:
		return "sender fine";
	case SMTP_SERVER_RCPT:
		return "recipient fine";
	case SMTP_SERVER_DATA:
		return "go ahead; end with a line that is one dot";
	case SMTP_SERVER_END:
		return "taken";
	case SMTP_SERVER_CONTENT:
	case SMTP_SERVER_RESET:
	case SMTP_SERVER_CLOSE:
		break;
	}
	return "";
}

static void
answer_connect(struct smtp_server *s, unsigned code, const char *enhanced, const char *text)
{
	if (code == 220) {
		struct buf b = BUF_INIT(8192);

		buf_printf(&b, "%s ESMTP %s", s->o.host, text);
		if (b.err)
			s->out.err = b.err;
		else
			server_reply(s, code, NULL, b.p);
		buf_free(&b);
		s->at = AT_COMMAND;
		s->hold = true;
	} else {
		assert(code >= 400);
		server_refuse(s, SMTP_WHY_REFUSED, code, enhanced, text);
	}
}

void
smtp_server_answer(struct smtp_server *s, unsigned code, const char *enhanced, const char *text,
    uint64_t now)
{
	enum smtp_server_event_is is = s->event.is;
	bool good = code / 100 == 2;

	assert(s->stands);
	if (!text)
		text = words(is, code);
	s->stands = false;
	switch (is) {
	case SMTP_SERVER_CONNECT:
		answer_connect(s, code, enhanced, text);
		break;
	case SMTP_SERVER_MAIL:
		assert(good || code >= 400);
		server_reply(s, code, enhanced ? enhanced : "2.1.0", text);
		if (good) {
			forget_mail(s);
			s->mail = true;
			s->utf8 = s->command.mail.utf8;
			s->limit = s->o.size;
		}
		smtp_line_again(&s->line);
		break;
	case SMTP_SERVER_RCPT:
		assert(good || code >= 400);
		server_reply(s, code, enhanced ? enhanced : "2.1.5", text);
		s->rcpt += good;
		s->refused += !good;
		smtp_line_again(&s->line);
		break;
	case SMTP_SERVER_DATA:
		assert(code == 354 || code >= 400);
		server_reply(s, code, code == 354 ? NULL : enhanced ? enhanced : "2.0.0", text);
		s->hold = true;
		if (code == 354) {
			smtp_data_init(&s->data);
			s->at = AT_DATA;
			s->block = 0;
			s->over = false;
			s->begun = now;
		}
		break;
	case SMTP_SERVER_END:
		assert(good || code >= 400);
		forget_mail(s);
		if (!s->gone)
			server_reply(s, code, enhanced ? enhanced : "2.0.0", text);
		break;
	case SMTP_SERVER_CONTENT:
	case SMTP_SERVER_RESET:
	case SMTP_SERVER_CLOSE:
		assert(!"an event that is answered");
	}
	/* 421 as an answer says that we close (RFC 5321 3.8). */
	if (code == 421 && !ends_now(s))
		finish(s, SMTP_WHY_REFUSED);
	settled(s, now);
}

void
smtp_server_next(struct smtp_server *s, uint64_t now)
{
	assert(s->stands && (s->event.is == SMTP_SERVER_CONTENT || s->event.is == SMTP_SERVER_RESET));
	s->stands = false;
	if (s->event.is == SMTP_SERVER_CONTENT) {
		uint64_t since = s->since;

		/* Only 4 KiB put the deadline off, not every piece. */
		settled(s, now);
		if (s->at == AT_DATA)
			s->since = since;
		return;
	}
	settled(s, now);
}

void
smtp_server_limit(struct smtp_server *s, uint64_t octets)
{
	assert(s->at != AT_DATA);
	/* the answer to MAIL may have been the last before the end: of the service, or for want of memory */
	if (!s->mail)
		return;
	s->limit = s->o.size && (!octets || s->o.size < octets) ? s->o.size : octets;
}

/* ---- time and ends ---------------------------------------------------------- */

static uint64_t
later(uint64_t since, uint64_t ms)
{
	return since > UINT64_MAX - ms ? UINT64_MAX : since + ms;
}

/* Until when what we wait for must have come. */
static uint64_t
patience(const struct smtp_server *s)
{
	uint64_t block, all;

	if (s->stands || ends_now(s))
		return UINT64_MAX;
	if (s->at != AT_DATA)
		return later(s->since, s->o.command_ms);
	block = later(s->since, s->o.block_ms);
	all = later(s->begun, s->o.message_ms);
	return block < all ? block : all;
}

static uint64_t
write_patience(const struct smtp_server *s)
{
	if (!unsent(s) || s->wrote == UINT64_MAX || (ends_now(s) && !s->stands))
		return UINT64_MAX;
	return later(s->wrote, s->o.write_ms);
}

uint64_t
smtp_server_deadline(const struct smtp_server *s)
{
	uint64_t a = patience(s), b = write_patience(s);

	return a < b ? a : b;
}

void
smtp_server_tick(struct smtp_server *s, uint64_t now)
{
	if (write_patience(s) <= now) {
		/* Whoever does not read gets no last word either. */
		s->out.n = s->sent = 0;
		s->wrote = UINT64_MAX;
		if (s->stands && s->event.is == SMTP_SERVER_END)
			s->gone = true;
		else
			finish(s, SMTP_WHY_TIME);
	} else if (patience(s) <= now) {
		server_refuse(s, SMTP_WHY_TIME, 421, "4.4.2", "waited too long; closing");
		wrote(s, now);
	}
}

void
smtp_server_shutdown(struct smtp_server *s, uint64_t now)
{
	if (ends_now(s))
		return;
	s->shutdown = true;
	if (s->stands ? s->event.is == SMTP_SERVER_CONNECT : s->at != AT_DATA) {
		server_refuse(s, SMTP_WHY_SHUTDOWN, 421, "4.3.2", "the service ends; try again soon");
		wrote(s, now);
	}
}

void
smtp_server_gone(struct smtp_server *s, uint64_t now)
{
	(void)now;
	if (ends_now(s) || s->gone)
		return;
	s->gone = true;
	/* A whole message waits for its answer: it may be taken all the same. */
	if (s->stands && s->event.is == SMTP_SERVER_END)
		return;
	finish(s, SMTP_WHY_GONE);
}

/* ---- what it learnt --------------------------------------------------------- */

const char *
smtp_server_helo(const struct smtp_server *s)
{
	return s->helo;
}

const char *
smtp_server_user(const struct smtp_server *s)
{
	return s->user;
}

const char *
smtp_server_with(const struct smtp_server *s)
{
	static const char *const keyword[2][2] = {{"ESMTP", "ESMTPA"}, {"UTF8SMTP", "UTF8SMTPA"}};

	return s->extended ? keyword[s->utf8][s->authenticated] : "SMTP";
}
