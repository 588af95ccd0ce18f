/*
 * AUTH as a formality (RFC 4954, 4616): who a program is the kernel tells; its
 * name goes to the log, its password nowhere.
 */
#include <string.h>
#include <strings.h>

#include "smtp/base64.h"
#include "smtp/server_inside.h"

static void
user_keep(struct smtp_server *s, const char *p, size_t n)
{
	if (n > sizeof s->user - 1)
		n = sizeof s->user - 1;
	for (size_t i = 0; i < n; i++)
		s->user[i] = (char)(p[i] < 32 || p[i] > 126 ? '?' : p[i]);
	s->user[n] = 0;
}

static void
accepted(struct smtp_server *s)
{
	s->at = AT_COMMAND;
	s->authenticated = true;
	server_reply(s, 235, "2.7.0", "accepted; this machine knows its programs without it");
}

static void
failed(struct smtp_server *s, unsigned code, const char *enhanced, const char *why)
{
	s->at = AT_COMMAND;
	s->user[0] = 0;
	server_error(s, code, enhanced, why);
}

/* The n bytes at p, a response in base64; overwritten. */
static void
plain(struct smtp_server *s, char *p, size_t n)
{
	size_t all = n, user, k;
	char *nul;

	if (n == 1 && *p == '=')
		n = 0;
	if (!smtp_base64_read(p, n, &k) || !(nul = memchr(p, 0, k))) {
		failed(s, 501, "5.5.2", "the response is no base64 of a name and a password");
		goto wipe;
	}
	user = (size_t)(nul - p) + 1;
	nul = memchr(p + user, 0, k - user);
	if (!nul || nul == p + user || memchr(nul + 1, 0, k - (size_t)(nul + 1 - p))) {
		failed(s, 501, "5.5.2", "the response is no name and password (RFC 4616)");
		goto wipe;
	}
	user_keep(s, p + user, (size_t)(nul - (p + user)));
	accepted(s);
wipe:
	explicit_bzero(p, all);
}

static void
login_user(struct smtp_server *s, char *p, size_t n)
{
	size_t k;

	if (!smtp_base64_read(p, n, &k) || !k) {
		failed(s, 501, "5.5.2", "the response is no base64 of a name");
		return;
	}
	user_keep(s, p, k);
	s->at = AT_AUTH_PASSWORD;
	server_reply(s, 334, NULL, "UGFzc3dvcmQ6");
}

static void
login_password(struct smtp_server *s, char *p, size_t n)
{
	size_t k;

	if (smtp_base64_read(p, n, &k))
		accepted(s);
	else
		failed(s, 501, "5.5.2", "the response is no base64 of a password");
	explicit_bzero(p, n);
}

void
server_auth(struct smtp_server *s)
{
	struct smtp_command *c = &s->command;

	if (!s->o.auth) {
		server_error(s, 502, "5.5.1", "this command is not offered");
	} else if (!s->extended) {
		server_error(s, 503, "5.5.1", "say EHLO first");
	} else if (s->authenticated) {
		server_error(s, 503, "5.5.1", "AUTH was done already");
	} else if (s->mail) {
		server_error(s, 503, "5.5.1", "AUTH may not stand inside a transaction");
	} else if (!strcasecmp(c->mechanism, "PLAIN")) {
		if (c->initial) {
			plain(s, c->initial, c->ninitial);
		} else {
			s->at = AT_AUTH_PLAIN;
			server_reply(s, 334, NULL, "");
		}
	} else if (!strcasecmp(c->mechanism, "LOGIN")) {
		if (c->initial) {
			login_user(s, c->initial, c->ninitial);
		} else {
			s->at = AT_AUTH_USER;
			server_reply(s, 334, NULL, "VXNlcm5hbWU6");
		}
	} else {
		server_error(s, 504, "5.5.4", "this mechanism is not offered; PLAIN and LOGIN are");
	}
	s->hold = true;
}

void
server_auth_line(struct smtp_server *s)
{
	char *p = s->line.p;
	size_t n = s->line.n;

	if (s->line.over) {
		failed(s, 500, "5.5.6", "the line is too long");
	} else if (s->line.lost) {
		failed(s, 451, "4.3.0", "no memory at the moment");
	} else if (n == 1 && *p == '*') {
		failed(s, 501, "5.7.0", "AUTH was cancelled");
	} else if (s->at == AT_AUTH_PLAIN) {
		plain(s, p, n);
	} else if (s->at == AT_AUTH_USER) {
		login_user(s, p, n);
	} else {
		login_password(s, p, n);
	}
	s->hold = true;
}
