/*
 * The transactions of a client session: what is said of a message, in which
 * order, and what the replies mean for it.
 */
#include <assert.h>
#include <string.h>
#include <strings.h>

#include "smtp/client_inside.h"

bool
client_pipelines(const struct smtp_client *c)
{
	return c->capable.pipelining && !c->o.no_pipelining;
}

/* ---- does it fit ------------------------------------------------------------- */

static bool
path_fits(const char *path, bool utf8, bool forward)
{
	if (!*path)
		return !forward;
	return (forward && !strcasecmp(path, "postmaster")) ||
	    smtp_mailbox_ok(path, strlen(path), utf8, NULL);
}

enum smtp_client_fit
smtp_client_fits(const struct smtp_client *c, const struct smtp_client_message *m)
{
	const struct smtp_mail *e = &m->mail;
	bool ok = !m->nrcpt == m->ask && path_fits(m->path, e->utf8, false) &&
	    (!e->envid || smtp_xtext_ok(e->envid, strlen(e->envid))) &&
	    (!e->auth || !strcmp(e->auth, "<>") || smtp_xtext_ok(e->auth, strlen(e->auth)));

	for (size_t i = 0; ok && i < m->nrcpt; i++) {
		const char *orcpt = m->rcpt[i].dsn.orcpt;

		ok = path_fits(m->rcpt[i].path, e->utf8, true) &&
		    (!orcpt || smtp_orcpt_ok(orcpt, strlen(orcpt), e->utf8));
	}
	if (!ok)
		return SMTP_FIT_LINE;
	if (e->utf8 && !c->capable.utf8)
		return SMTP_FIT_UTF8;
	if (m->high && !c->capable.eightbit)
		return SMTP_FIT_SEVEN;
	if (e->sized && c->capable.size_most && e->size > c->capable.size_most)
		return SMTP_FIT_SIZE;
	return SMTP_FIT_OK;
}

/* ---- what is said ------------------------------------------------------------- */

static void
say_mail(struct smtp_client *c, struct flight *f, uint64_t now)
{
	static const char *const ret[] = {
		[SMTP_RET_UNSAID] = "", [SMTP_RET_FULL] = " RET=FULL", [SMTP_RET_HDRS] = " RET=HDRS",
	};
	const struct smtp_mail *e = &f->m->mail;
	struct buf b = BUF_INIT(4096);

	buf_printf(&b, "MAIL FROM:<%s>", f->m->path);
	if (c->capable.size && e->sized)
		buf_printf(&b, " SIZE=%llu", (unsigned long long)e->size);
	if (c->capable.eightbit && (f->m->high || e->body == SMTP_BODY_8BITMIME))
		buf_str(&b, " BODY=8BITMIME");
	if (e->utf8)
		buf_str(&b, " SMTPUTF8");
	if (c->capable.dsn) {
		buf_str(&b, ret[e->ret]);
		if (e->envid)
			buf_printf(&b, " ENVID=%s", e->envid);
	}
	/* RFC 4954 5: to a relay that knows who we are. */
	if (c->authenticated && e->auth)
		buf_printf(&b, " AUTH=%s", e->auth);
	client_command(c, &b, now);
	buf_free(&b);
	f->mail_said = true;
	f->data_said = f->m->ask;  /* nothing follows */
	c->mails++;
}

static void
say_rcpt(struct smtp_client *c, struct flight *f, uint64_t now)
{
	static const char *const words[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
	const struct smtp_client_rcpt *r = &f->m->rcpt[f->named++];
	struct buf b = BUF_INIT(4096);

	buf_printf(&b, "RCPT TO:<%s>", r->path);
	if (c->capable.dsn) {
		const char *before = " NOTIFY=";

		for (unsigned i = 0; i < 4; i++)
			if (r->dsn.notify & 1u << i) {
				buf_printf(&b, "%s%s", before, words[i]);
				before = ",";
			}
		if (r->dsn.orcpt)
			buf_printf(&b, " ORCPT=%s", r->dsn.orcpt);
	}
	client_command(c, &b, now);
	buf_free(&b);
}

static void
say_data(struct smtp_client *c, struct flight *f, uint64_t now)
{
	struct buf b = BUF_INIT(16);

	buf_str(&b, "DATA");
	client_command(c, &b, now);
	buf_free(&b);
	f->data_said = true;
}

void
client_pump(struct smtp_client *c, uint64_t now)
{
	struct flight *f;

	if (c->over || c->at != SMTP_AT_IDLE || !c->nflight)
		return;
	f = &c->flight[c->nflight - 1];
	while (!f->data_said && client_unsent(c) < CLIENT_OUT_HIGH) {
		/* Without PIPELINING one command waits for the reply to the one before; a DONE
		 * that stands ends the transaction. */
		if (c->stands || (!client_pipelines(c) && c->awaited))
			return;
		if (!f->mail_said)
			say_mail(c, f, now);
		else if (f->named < f->tried)
			say_rcpt(c, f, now);
		else
			say_data(c, f, now);
	}
}

void
smtp_client_send(struct smtp_client *c, const struct smtp_client_message *m, uint64_t now)
{
	struct flight *f;

	assert(smtp_client_event(c) && smtp_client_event(c)->is == SMTP_CLIENT_READY);
	assert(smtp_client_fits(c, m) == SMTP_FIT_OK && !smtp_client_spent(c));
	f = &c->flight[c->nflight++];
	*f = (struct flight){.m = m, .at = SMTP_AT_MAIL, .tried = m->nrcpt};
	if (c->capable.rcpt_most && f->tried > c->capable.rcpt_most)
		f->tried = c->capable.rcpt_most;
	client_pump(c, now);
	if (c->out.err)
		client_fail(c, SMTP_FAIL_MEMORY, false);
}

/* ---- content ------------------------------------------------------------------ */

size_t
smtp_client_content(struct smtp_client *c, const char *p, size_t n, uint64_t now)
{
	size_t i = 0;

	if (c->over)
		return 0;
	assert(c->nflight == 1 && c->flight[0].at == SMTP_AT_CONTENT);
	if (!client_unsent(c))
		c->since = now;
	while (i < n && client_unsent(c) < CLIENT_OUT_HIGH) {
		size_t most = n - i < CLIENT_OUT_HIGH ? n - i : CLIENT_OUT_HIGH, nrun;
		const char *run;

		i += smtp_stuff_feed(&c->stuff, p + i, most, &run, &nrun);
		buf_add(&c->out, run, nrun);
		if (c->stuff.bad || c->out.err) {
			client_fail(c, c->stuff.bad ? SMTP_FAIL_CONTENT : SMTP_FAIL_MEMORY, false);
			return i;
		}
	}
	return i;
}

/* The end of the data is written: its reply is awaited. */
static void
dot(struct smtp_client *c, struct flight *f, const char *end, uint64_t now)
{
	if (!c->awaited)
		c->mark = c->taken + client_unsent(c);
	c->awaited++;
	c->since = now;
	buf_str(&c->out, end);
	f->ended = true;
	f->dot = c->taken + client_unsent(c);
	f->at = SMTP_AT_DOT;
	if (c->out.err)
		client_fail(c, SMTP_FAIL_MEMORY, false);
}

void
smtp_client_content_end(struct smtp_client *c, uint64_t now)
{
	const char *end;

	if (c->over)
		return;
	assert(c->nflight == 1 && c->flight[0].at == SMTP_AT_CONTENT);
	end = smtp_stuff_end(&c->stuff);
	if (end)
		dot(c, &c->flight[0], end, now);
	else
		client_fail(c, SMTP_FAIL_CONTENT, false);
}

/* ---- what replies mean ----------------------------------------------------------- */

static void
done(struct smtp_client *c, enum smtp_client_outcome outcome)
{
	struct flight *f = &c->flight[0];

	c->event = (struct smtp_client_event){.is = SMTP_CLIENT_DONE, .message = f->m,
	    .outcome = outcome, .tried = f->tried};
	c->stands = true;
}

/* How it ends where no content goes: the first refusal that was whole. */
static enum smtp_client_outcome
refused(const struct flight *f)
{
	return !f->mail_good ? SMTP_OUT_MAIL : !f->good ? SMTP_OUT_RCPT : SMTP_OUT_DATA;
}

static void
act_mail(struct smtp_client *c, struct flight *f, bool good)
{
	f->mail_good = good;
	f->at = SMTP_AT_RCPT;
	if (f->m->ask) {
		f->reset = good;
		done(c, SMTP_OUT_ASKED);
		return;
	}
	/* Without PIPELINING nothing else was said. */
	if (!good && !f->named)
		done(c, SMTP_OUT_MAIL);
}

static void
act_rcpt(struct smtp_client *c, struct flight *f, bool good)
{
	f->good += good;
	if (++f->answered < f->tried)
		return;
	f->at = SMTP_AT_DATA;
	if (!f->good && !f->data_said) {
		f->reset = f->mail_good;
		done(c, refused(f));
	}
}

static void
act_data(struct smtp_client *c, struct flight *f, uint64_t now)
{
	if (c->reply.code != 354) {
		f->reset = f->mail_good;
		done(c, refused(f));
	} else if (!f->good || !f->mail_good) {
		/* RFC 2920 3.1: a 354 that nobody is to profit from gets a lone dot. */
		f->outcome = refused(f);
		f->good = 0;
		dot(c, f, ".\r\n", now);
	} else {
		smtp_stuff_init(&c->stuff);
		f->at = SMTP_AT_CONTENT;
		c->content = (struct smtp_client_event){.is = SMTP_CLIENT_CONTENT, .message = f->m};
	}
}

void
client_act(struct smtp_client *c, uint64_t now)
{
	struct flight *f = &c->flight[0];
	unsigned class = c->reply.code / 100;

	assert(c->nflight);
	if (class == 3 && c->reply.code != 354) {
		client_fail(c, SMTP_FAIL_NONSENSE, true);
		return;
	}
	if ((class == 3) != (f->at == SMTP_AT_DATA && class < 4)) {
		/* 2xx to DATA, 354 to something else: both sides are no longer at one place. */
		client_fail(c, SMTP_FAIL_NONSENSE, true);
		return;
	}
	if (f->at == SMTP_AT_MAIL)
		act_mail(c, f, class == 2);
	else if (f->at == SMTP_AT_RCPT)
		act_rcpt(c, f, class == 2);
	else if (f->at == SMTP_AT_DATA)
		act_data(c, f, now);
	else if (f->at == SMTP_AT_DOT)
		done(c, !f->good ? f->outcome : class == 2 ? SMTP_OUT_SENT : SMTP_OUT_DOT);
	else
		client_fail(c, SMTP_FAIL_UNASKED, true);
}
