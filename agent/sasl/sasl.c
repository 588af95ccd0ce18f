#include "sasl/sasl.h"

#include <errno.h>
#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What we speak, the best first. */
static const struct mechanism {
	const char *name;
	bool token;                /* for an OAuth token; else for a password */
	bool plain;                /* tells the secret to the relay */
	bool plus;                 /* bound to the TLS session */
	bool first;                /* the client begins */
	bool proves;               /* the relay proves that it knows the password, too */
} mechanism[] = {
	{"SCRAM-SHA-256-PLUS", .plus = true, .first = true, .proves = true},
	{"SCRAM-SHA-1-PLUS", .plus = true, .first = true, .proves = true},
	{"SCRAM-SHA-256", .first = true, .proves = true},
	{"SCRAM-SHA-1", .first = true, .proves = true},
	{"CRAM-MD5"},
	{"PLAIN", .plain = true, .first = true},
	{"LOGIN", .plain = true},
	{"OAUTHBEARER", .token = true, .plain = true, .first = true},
	{"XOAUTH2", .token = true, .plain = true, .first = true},
};

enum { NMECHANISM = sizeof mechanism / sizeof mechanism[0] };

struct sasl {
	const struct mechanism *m;
	const struct sasl_credential *c;
	const char *host;
	unsigned port;
	Gsasl *lib;
	Gsasl_session *session;
	char *line;                /* the last that was given out */
	bool begun, done;
};

/* ---- credentials ------------------------------------------------------------------ */

static void
wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

struct sasl_credential *
sasl_credential_free(struct sasl_credential *c)
{
	if (c) {
		wipe(c->user);
		wipe(c->password);
		wipe(c->token);
		free(c);
	}
	return NULL;
}

static bool
is_key(const char *line, size_t n, const char *key)
{
	size_t k = strlen(key);

	return n > k && !memcmp(line, key, k) && line[k] == ':';
}

struct sasl_credential *
sasl_credential_read(const char *bytes, size_t n, char why[SASL_MOST_WHY])
{
	static const char *const key[] = {"user", "password", "token"};
	struct sasl_credential *c = calloc(1, sizeof *c);
	unsigned number = 0;

	if (!c || n > SASL_MOST_CREDENTIAL || memchr(bytes, 0, n)) {
		snprintf(why, SASL_MOST_WHY, "%s", !c ? "no memory" : "it is too long, or no text");
		return sasl_credential_free(c);
	}
	while (n) {
		const char *nl = memchr(bytes, '\n', n);
		size_t len = nl ? (size_t)(nl - bytes) : n, skip = len + (nl != NULL);
		char **to[] = {&c->user, &c->password, &c->token};
		int k = 0;

		number++;
		if (len && bytes[len - 1] == '\r')
			len--;
		if (!len || bytes[0] == '#') {
			bytes += skip;
			n -= skip;
			continue;
		}
		while (k < 3 && !is_key(bytes, len, key[k]))
			k++;
		if (k == 3 || *to[k]) {
			snprintf(why, SASL_MOST_WHY, "line %u: %s", number, k == 3 ?
			    "a line is `user: ...`, `password: ...` or `token: ...`" : "it is said twice");
			return sasl_credential_free(c);
		}
		size_t at = strlen(key[k]) + 1;
		while (at < len && (bytes[at] == ' ' || bytes[at] == '\t'))
			at++;
		*to[k] = strndup(bytes + at, len - at);
		if (!*to[k] || !**to[k]) {
			snprintf(why, SASL_MOST_WHY, "line %u: nothing is behind the colon", number);
			return sasl_credential_free(c);
		}
		bytes += skip;
		n -= skip;
	}
	if (c->user && !c->password != !c->token)
		return c;
	snprintf(why, SASL_MOST_WHY, "it needs `user:` and one of `password:` and `token:`");
	return sasl_credential_free(c);
}

/* ---- choosing ---------------------------------------------------------------------- */

static bool
is_listed(const char *list, const char *name)
{
	size_t n = strlen(name);

	while (*list) {
		size_t k = strcspn(list, " \t");
		if (k == n && !strncasecmp(list, name, n))
			return true;
		list += k;
		list += strspn(list, " \t");
	}
	return false;
}

const char *
sasl_choose(const char *list, const struct sasl_credential *c, bool encrypted, bool bound)
{
	for (int i = 0; i < NMECHANISM; i++) {
		const struct mechanism *m = &mechanism[i];
		if (m->token == (c->token != NULL) && (encrypted || !m->plain) && (bound || !m->plus) &&
		    is_listed(list, m->name))
			return m->name;
	}
	return NULL;
}

/* ---- a session ----------------------------------------------------------------------- */

int
sasl_new(const char *name, const struct sasl_credential *c, const char *host, unsigned port,
    const uint8_t *binding, struct sasl **out)
{
	struct sasl *s = calloc(1, sizeof *s);
	int i = 0, err = GSASL_OK;

	if (!s)
		return -ENOMEM;
	while (i < NMECHANISM && strcmp(mechanism[i].name, name))
		i++;
	if (i == NMECHANISM || mechanism[i].token != (c->token != NULL) ||
	    (mechanism[i].plus && !binding)) {
		free(s);
		return -ENOTSUP;
	}
	*s = (struct sasl){.m = &mechanism[i], .c = c, .host = host, .port = port};
	if (s->m->token) {
		*out = s;
		return 0;
	}
	err = gsasl_init(&s->lib);
	if (err == GSASL_OK)
		err = gsasl_client_start(s->lib, name, &s->session);
	if (err == GSASL_OK)
		err = gsasl_property_set(s->session, GSASL_AUTHID, c->user);
	if (err == GSASL_OK)
		err = gsasl_property_set(s->session, GSASL_PASSWORD, c->password);
	if (err == GSASL_OK && s->m->plus) {
		char *b64 = NULL;
		err = gsasl_base64_to((const char *)binding, 32, &b64, NULL);
		if (err == GSASL_OK)
			err = gsasl_property_set(s->session, GSASL_CB_TLS_EXPORTER, b64);
		gsasl_free(b64);
	}
	if (err != GSASL_OK) {
		sasl_free(s);
		return err == GSASL_MALLOC_ERROR ? -ENOMEM : -ENOTSUP;
	}
	*out = s;
	return 0;
}

static void
drop_line(struct sasl *s)
{
	wipe(s->line);
	s->line = NULL;
}

struct sasl *
sasl_free(struct sasl *s)
{
	if (!s)
		return NULL;
	drop_line(s);
	if (s->session)
		gsasl_finish(s->session);
	if (s->lib)
		gsasl_done(s->lib);
	free(s);
	return NULL;
}

bool
sasl_is_first(const struct sasl *s)
{
	return s->m->first;
}

/* The one line of a token's mechanisms. */
static const char *
bear(struct sasl *s)
{
	char *text = NULL, *b64 = NULL;
	int n = !strcmp(s->m->name, "XOAUTH2") ?
	    asprintf(&text, "user=%s\001auth=Bearer %s\001\001", s->c->user, s->c->token) :
	    asprintf(&text, "n,a=%s,\001host=%s\001port=%u\001auth=Bearer %s\001\001", s->c->user,
	        s->host, s->port, s->c->token);

	if (n < 0)
		return NULL;
	if (gsasl_base64_to(text, (size_t)n, &b64, NULL) == GSASL_OK) {
		s->line = strdup(b64);
		wipe(b64);
	}
	wipe(text);
	return s->line;
}

const char *
sasl_step(struct sasl *s, const char *challenge)
{
	char *out = NULL;
	int err;

	drop_line(s);
	if (s->m->token) {
		if (!s->begun) {
			s->begun = true;
			return bear(s);
		}
		/* an error in JSON, after which the relay waits for a word (RFC 7628 3.2.3: 0x01) before
		   it says 535 */
		s->line = strdup(strcmp(s->m->name, "XOAUTH2") ? "AQ==" : "");
		return s->line;
	}
	if (!challenge && s->begun)
		return NULL;
	s->begun = true;
	err = gsasl_step64(s->session, challenge ? challenge : "", &out);
	if (err != GSASL_OK && err != GSASL_NEEDS_MORE) {
		gsasl_free(out);
		return NULL;
	}
	if (err == GSASL_OK)
		s->done = true;
	s->line = out ? strdup(out) : strdup("");
	if (out)
		explicit_bzero(out, strlen(out));
	gsasl_free(out);
	return s->line;
}

bool
sasl_is_proved(const struct sasl *s)
{
	return !s->m->proves || s->done;
}
