/*
 * What the commands of a client do, one by one.
 */
#include <assert.h>
#include <string.h>
#include <strings.h>

#include "smtp/server_inside.h"

/* What EHLO offers, in order; `when` NULL: always. */
static bool
offers_auth(const struct smtp_server *s)
{
	return s->o.auth;
}

static bool
offers_utf8(const struct smtp_server *s)
{
	return !s->o.no_utf8;
}

static const struct {
	const char *word;
	bool (*when)(const struct smtp_server *s);
} offers[] = {
	{"PIPELINING", NULL},
	{"8BITMIME", NULL},
	{"SMTPUTF8", offers_utf8},
	{"ENHANCEDSTATUSCODES", NULL},
	{"DSN", NULL},
	{"AUTH PLAIN LOGIN", offers_auth},
	{"HELP", NULL},
};

static void
ehlo(struct smtp_server *s, bool extended)
{
	const char *name = s->command.arg;
	struct buf b = BUF_INIT(4096);

	if (s->mail)
		server_reset(s, SMTP_WHY_QUIT);
	memcpy(s->helo, name, strlen(name) + 1);
	s->extended = extended;
	if (!extended) {
		server_reply(s, 250, NULL, s->o.host);
		return;
	}
	buf_str(&b, s->o.host);
	if (s->o.size)
		buf_printf(&b, "\nSIZE %llu", (unsigned long long)s->o.size);
	else
		buf_str(&b, "\nSIZE");
	for (size_t i = 0; i < sizeof offers / sizeof *offers; i++)
		if (!offers[i].when || offers[i].when(s))
			buf_printf(&b, "\n%s", offers[i].word);
	if (b.err)
		s->out.err = b.err;
	else
		server_reply(s, 250, NULL, b.p);
	buf_free(&b);
}

static void
help(struct smtp_server *s)
{
	struct buf b = BUF_INIT(4096);
	const char *arg = s->command.arg;

	for (const struct smtp_command_row *r = smtp_commands; r->verb; r++) {
		if (!r->offered || (r->is == SMTP_AUTH && !s->o.auth))
			continue;
		if (!*arg || !strcasecmp(arg, r->verb)) {
			if (b.n)
				buf_chr(&b, '\n');
			buf_str(&b, r->help);
		}
	}
	if (b.err)
		s->out.err = b.err;
	else if (b.n)
		server_reply(s, 214, "2.0.0", b.p);
	else
		server_error(s, 504, "5.5.1", "there is no such command");
	buf_free(&b);
}

static void
mail(struct smtp_server *s)
{
	struct smtp_command *c = &s->command;

	if (!s->helo[0]) {
		server_error(s, 503, "5.5.1", "say EHLO first");
	} else if (s->mail) {
		server_error(s, 503, "5.5.1", "a transaction is open; say RSET first");
	} else if (s->messages >= s->o.messages) {
		server_refuse(s, SMTP_WHY_ERRORS, 421, "4.7.0", "enough messages for one connection; connect again");
	} else if (s->o.size && c->mail.size > s->o.size) {
		server_too_large(s, s->o.size);
	} else {
		server_stand(s, SMTP_SERVER_MAIL);
		s->event.path = c->path;
		s->event.mail = c->mail;
	}
}

static void
rcpt(struct smtp_server *s)
{
	struct smtp_command *c = &s->command;

	if (s->refused >= s->o.recipients) {
		server_refuse(s, SMTP_WHY_ERRORS, 421, "4.7.0", "too many recipients were refused");
	} else if (!s->mail) {
		/* No error to be counted: a client that pipelines cannot know that its MAIL was refused. */
		s->refused++;
		server_reply(s, 503, "5.5.1", "say MAIL first");
	} else if (s->rcpt >= s->o.recipients) {
		server_no(s, 452, "4.5.3", "enough recipients for one message; send to the others in another");
	} else {
		server_stand(s, SMTP_SERVER_RCPT);
		s->event.path = c->path;
		s->event.bare = c->bare;
		s->event.rcpt = c->rcpt;
	}
}

static void
data(struct smtp_server *s)
{
	if (!s->mail)
		server_reply(s, 503, "5.5.1", "say MAIL first");
	else if (!s->rcpt)
		server_reply(s, 554, "5.5.1", "no valid recipients");
	else
		server_stand(s, SMTP_SERVER_DATA);
}

/* The command in s->command, which was read well. */
static void
obey(struct smtp_server *s)
{
	switch (s->command.row->is) {
	case SMTP_EHLO:
		ehlo(s, true);
		break;
	case SMTP_HELO:
		ehlo(s, false);
		break;
	case SMTP_MAIL:
		mail(s);
		break;
	case SMTP_RCPT:
		rcpt(s);
		break;
	case SMTP_DATA:
		data(s);
		break;
	case SMTP_RSET:
		server_reset(s, SMTP_WHY_QUIT);
		server_reply(s, 250, "2.0.0", "forgotten");
		break;
	case SMTP_NOOP:
		server_reply(s, 250, "2.0.0", "nothing done");
		break;
	case SMTP_VRFY:
		server_reply(s, 252, "2.0.0", "nobody is looked up here; send, and it will be tried");
		break;
	case SMTP_HELP:
		help(s);
		break;
	case SMTP_QUIT:
		server_refuse(s, SMTP_WHY_QUIT, 221, "2.0.0", "goodbye");
		break;
	case SMTP_AUTH:
		server_auth(s);
		break;
	case SMTP_EXPN:
	case SMTP_STARTTLS:
	case SMTP_BDAT:
	case SMTP_TURN:
	case SMTP_ETRN:
	case SMTP_SEND:
	case SMTP_SOML:
	case SMTP_SAML:
	case SMTP_BURL:
	case SMTP_HTTP:
	case SMTP_UNKNOWN:
		assert(!"an offered command");
	}
}

/* Which rows count against the option `idle`: whatever brings no message nearer. */
static bool
is_idle(enum smtp_verb v)
{
	return v != SMTP_RCPT;
}

/* A whole line stands in s->line; `more`: input follows it. */
void
server_command(struct smtp_server *s, bool more)
{
	struct smtp_grammar g = {.extended = s->extended, .auth = s->o.auth, .space = s->o.space};
	const char *enhanced, *why;
	struct smtp_line *l = &s->line;
	unsigned code;

	if (l->lost) {
		server_no(s, 451, "4.3.0", "no memory at the moment");
		return;
	}
	g.utf8 = !s->o.no_utf8 && (!s->mail || s->utf8);
	code = smtp_command_read(l->p, l->n, &g, &s->command, &enhanced, &why);
	if (l->over || l->nul) {
		code = 500;
		enhanced = "5.5.2";
		why = l->over ? "the line is too long" : "a NUL stands in the line";
	}
	if (s->command.row->closes) {
		server_refuse(s, SMTP_WHY_FOREIGN, s->command.row->is == SMTP_HTTP ? 554 : 502, "5.5.1",
		    s->command.row->is == SMTP_HTTP ? "this is no web server" : "this command is not offered");
		return;
	}
	if (s->command.row->last && more && s->command.row->is != SMTP_QUIT) {
		server_refuse(s, SMTP_WHY_EARLY, 554, "5.5.0", "bytes behind a command that must wait for its reply");
		return;
	}
	if (is_idle(s->command.row->is) && ++s->idle > s->o.idle) {
		server_refuse(s, SMTP_WHY_ERRORS, 421, "4.7.0", "too many commands without a message");
		return;
	}
	if (code)
		server_error(s, code, enhanced, why);
	else
		obey(s);
	if (s->command.row->last)
		s->hold = true;
}
