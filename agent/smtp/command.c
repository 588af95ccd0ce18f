#include "smtp/command.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"

/*
 * MAIL: 512, and SIZE 26, BODY 17, AUTH 500, SMTPUTF8 10, RET and ENVID; RCPT:
 * 512 and NOTIFY, ORCPT 500, 10 of SMTPUTF8 for the rest. AUTH: RFC 4954 4.
 */
enum { LINE = 512, LINE_MAIL = 2048, LINE_RCPT = 1152, LINE_AUTH = 12288 + 2 };

const struct smtp_command_row smtp_commands[] = {
	{"EHLO", SMTP_EHLO, SMTP_ARG_HELO, LINE, true, false, true, "EHLO host.name"},
	{"HELO", SMTP_HELO, SMTP_ARG_HELO, LINE, true, false, true, "HELO host.name"},
	{"MAIL", SMTP_MAIL, SMTP_ARG_MAIL, LINE_MAIL, false, false, true,
	    "MAIL FROM:<address> [SIZE=n] [BODY=7BIT|8BITMIME] [SMTPUTF8] [RET=FULL|HDRS] [ENVID=x]"},
	{"RCPT", SMTP_RCPT, SMTP_ARG_RCPT, LINE_RCPT, false, false, true,
	    "RCPT TO:<address> [NOTIFY=NEVER|SUCCESS,FAILURE,DELAY] [ORCPT=type;address]"},
	{"DATA", SMTP_DATA, SMTP_ARG_NONE, LINE, true, false, true, "DATA"},
	{"RSET", SMTP_RSET, SMTP_ARG_NONE, LINE, false, false, true, "RSET"},
	{"NOOP", SMTP_NOOP, SMTP_ARG_ANY, LINE, true, false, true, "NOOP"},
	{"VRFY", SMTP_VRFY, SMTP_ARG_WORD, LINE + 10, true, false, true, "VRFY address"},
	{"HELP", SMTP_HELP, SMTP_ARG_ANY, LINE, true, false, true, "HELP [command]"},
	{"QUIT", SMTP_QUIT, SMTP_ARG_NONE, LINE, true, false, true, "QUIT"},
	{"AUTH", SMTP_AUTH, SMTP_ARG_AUTH, LINE_AUTH, true, false, true, "AUTH mechanism [response]"},
	{"EXPN", SMTP_EXPN, SMTP_ARG_ANY, LINE + 10, true, false, false, ""},
	{"STARTTLS", SMTP_STARTTLS, SMTP_ARG_ANY, LINE, true, false, false, ""},
	/* What follows BDAT and BURL is a message: read as commands it could be anything. */
	{"BDAT", SMTP_BDAT, SMTP_ARG_ANY, LINE, true, true, false, ""},
	{"BURL", SMTP_BURL, SMTP_ARG_ANY, LINE, true, true, false, ""},
	{"TURN", SMTP_TURN, SMTP_ARG_ANY, LINE, true, false, false, ""},
	{"ETRN", SMTP_ETRN, SMTP_ARG_ANY, LINE, true, false, false, ""},
	{"SEND", SMTP_SEND, SMTP_ARG_ANY, LINE, false, false, false, ""},
	{"SOML", SMTP_SOML, SMTP_ARG_ANY, LINE, false, false, false, ""},
	{"SAML", SMTP_SAML, SMTP_ARG_ANY, LINE, false, false, false, ""},
	{"GET", SMTP_HTTP, SMTP_ARG_ANY, LINE, false, true, false, ""},
	{"POST", SMTP_HTTP, SMTP_ARG_ANY, LINE, false, true, false, ""},
	{"PUT", SMTP_HTTP, SMTP_ARG_ANY, LINE, false, true, false, ""},
	{"HEAD", SMTP_HTTP, SMTP_ARG_ANY, LINE, false, true, false, ""},
	{"OPTIONS", SMTP_HTTP, SMTP_ARG_ANY, LINE, false, true, false, ""},
	{"CONNECT", SMTP_HTTP, SMTP_ARG_ANY, LINE, false, true, false, ""},
	{"DELETE", SMTP_HTTP, SMTP_ARG_ANY, LINE, false, true, false, ""},
	{"PATCH", SMTP_HTTP, SMTP_ARG_ANY, LINE, false, true, false, ""},
	{NULL, SMTP_UNKNOWN, SMTP_ARG_ANY, LINE, false, false, false, ""},
};

/* ---- parameters ---------------------------------------------------------- */

static bool
is_word(const char *s, const char *word)
{
	return !strcasecmp(s, word);
}

static bool
size_read(struct smtp_command *c, const char *v, const struct smtp_grammar *g)
{
	uint64_t x = 0;
	size_t i;

	(void)g;
	for (i = 0; v[i] >= '0' && v[i] <= '9'; i++) {
		uint64_t d = (uint64_t)(v[i] - '0');

		/* 20 digits may be more than there are numbers: then it is too large anyway. */
		x = x > (UINT64_MAX - d) / 10 ? UINT64_MAX : x * 10 + d;
	}
	c->mail.sized = true;
	c->mail.size = x;
	return i >= 1 && i <= 20 && !v[i];
}

static bool
body_read(struct smtp_command *c, const char *v, const struct smtp_grammar *g)
{
	(void)g;
	c->mail.body = is_word(v, "8BITMIME") ? SMTP_BODY_8BITMIME :
	    is_word(v, "7BIT") ? SMTP_BODY_7BIT : SMTP_BODY_UNSAID;
	return c->mail.body != SMTP_BODY_UNSAID;
}

static bool
utf8_read(struct smtp_command *c, const char *v, const struct smtp_grammar *g)
{
	(void)v;
	(void)g;
	c->mail.utf8 = true;
	return true;
}

static bool
ret_read(struct smtp_command *c, const char *v, const struct smtp_grammar *g)
{
	(void)g;
	c->mail.ret = is_word(v, "FULL") ? SMTP_RET_FULL :
	    is_word(v, "HDRS") ? SMTP_RET_HDRS : SMTP_RET_UNSAID;
	return c->mail.ret != SMTP_RET_UNSAID;
}

static bool
envid_read(struct smtp_command *c, const char *v, const struct smtp_grammar *g)
{
	size_t n = strlen(v);

	(void)g;
	c->mail.envid = v;
	return n <= 100 && smtp_xtext_ok(v, n);
}

static bool
auth_read(struct smtp_command *c, const char *v, const struct smtp_grammar *g)
{
	struct buf b = BUF_INIT(512);
	bool ok;

	(void)g;
	c->mail.auth = v;
	if (!strcmp(v, "<>"))
		return true;
	if (!smtp_xtext_ok(v, strlen(v)))
		return false;
	smtp_xtext_read(&b, v, strlen(v));
	ok = !b.err && smtp_mailbox_ok(b.p, b.n, true, NULL);
	buf_free(&b);
	return ok;
}

static bool
notify_read(struct smtp_command *c, const char *v, const struct smtp_grammar *g)
{
	static const struct {
		const char *word;
		unsigned bit;
	} words[] = {
		{"SUCCESS", SMTP_NOTIFY_SUCCESS}, {"FAILURE", SMTP_NOTIFY_FAILURE},
		{"DELAY", SMTP_NOTIFY_DELAY},
	};

	(void)g;
	if (is_word(v, "NEVER")) {
		c->rcpt.notify = SMTP_NOTIFY_NEVER;
		return true;
	}
	for (;;) {
		size_t n = strcspn(v, ","), i = 0;

		while (i < 3 && (strlen(words[i].word) != n || strncasecmp(v, words[i].word, n)))
			i++;
		if (i == 3)
			return false;
		c->rcpt.notify |= words[i].bit;
		if (!v[n])
			return true;
		v += n + 1;
	}
}

static bool
orcpt_read(struct smtp_command *c, const char *v, const struct smtp_grammar *g)
{
	c->rcpt.orcpt = v;
	return smtp_orcpt_ok(v, strlen(v), g->utf8);
}

enum { OF_MAIL = 1, OF_RCPT = 2 };

static const struct parameter {
	const char *word;
	unsigned of;
	bool valued;               /* "=value" must follow; else none may */
	bool (*read)(struct smtp_command *c, const char *v, const struct smtp_grammar *g);
	const char *why;
} parameters[] = {
	{"SIZE", OF_MAIL, true, size_read, "SIZE is a number of 1 to 20 digits (RFC 1870)"},
	{"BODY", OF_MAIL, true, body_read, "BODY is 7BIT or 8BITMIME (RFC 6152)"},
	{"SMTPUTF8", OF_MAIL, false, utf8_read, "SMTPUTF8 has no value (RFC 6531)"},
	{"RET", OF_MAIL, true, ret_read, "RET is FULL or HDRS (RFC 3461)"},
	{"ENVID", OF_MAIL, true, envid_read, "ENVID is xtext of at most 100 characters (RFC 3461)"},
	{"AUTH", OF_MAIL, true, auth_read, "AUTH is <> or an address as xtext (RFC 4954)"},
	{"NOTIFY", OF_RCPT, true, notify_read,
	    "NOTIFY is NEVER, or some of SUCCESS, FAILURE, DELAY with commas (RFC 3461)"},
	{"ORCPT", OF_RCPT, true, orcpt_read, "ORCPT is type;xtext of at most 500 characters (RFC 3461)"},
};

enum { NPARAMETERS = sizeof parameters / sizeof *parameters };

/* esmtp-keyword and esmtp-value of RFC 5321 4.1.2, and UTF-8 in values (RFC 6531 3.3). */
static bool
spelled(const char *s)
{
	for (size_t i = 0; s[i] && s[i] != '='; i++) {
		bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
		    (s[i] >= '0' && s[i] <= '9');

		if (!letter && (s[i] != '-' || !i))
			return false;
	}
	return *s && *s != '=';
}

/* The parameters at s, NUL-terminated; 0 or the code. */
static unsigned
parameters_read(char *s, unsigned of, const struct smtp_grammar *g, struct smtp_command *out,
    const char **why)
{
	unsigned seen = 0;

	while (*s == ' ')
		s++;
	while (*s) {
		char *end = s + strcspn(s, " "), *value = NULL;
		char *next = end;
		size_t k = 0;

		while (*next == ' ')
			next++;
		*end = 0;
		if (!g->extended) {
			*why = "parameters need EHLO, not HELO";
			return 555;
		}
		if (!spelled(s)) {
			*why = "that is no parameter";
			return 501;
		}
		if ((value = strchr(s, '=')))
			*value++ = 0;
		while (k < NPARAMETERS && (!(parameters[k].of & of) || !is_word(s, parameters[k].word)))
			k++;
		if (k == NPARAMETERS || (parameters[k].read == auth_read && !g->auth) ||
		    (parameters[k].read == utf8_read && !g->utf8)) {
			*why = "this parameter is not known here";
			return 555;
		}
		if (seen & 1u << k) {
			*why = "a parameter stands there twice";
			return 501;
		}
		seen |= 1u << k;
		if (parameters[k].valued != (value && *value) || (!parameters[k].valued && value) ||
		    !parameters[k].read(out, value, g)) {
			*why = parameters[k].why;
			return 501;
		}
		s = next;
	}
	return 0;
}

/* "FROM:<path> parameters" and "TO:<path> parameters". */
static unsigned
path_read(char *s, const char *word, enum smtp_path_kind kind, const struct smtp_grammar *g,
    struct smtp_command *out, const char **enhanced, const char **why)
{
	bool from = kind == SMTP_PATH_REVERSE;
	size_t k = strlen(word);
	struct smtp_path p;
	unsigned code;
	char *end;

	if (strncasecmp(s, word, k)) {
		*why = from ? "MAIL is followed by FROM:<address>" : "RCPT is followed by TO:<address>";
		return 501;
	}
	s += k;
	if (*s == ' ' && !g->space) {
		*why = from ? "no blank may stand behind FROM: (RFC 5321 3.3)" :
		    "no blank may stand behind TO: (RFC 5321 3.3)";
		return 501;
	}
	while (*s == ' ')
		s++;
	k = smtp_path_read(s, strlen(s), kind, true, &p, why);
	if (!k) {
		*enhanced = from ? "5.1.7" : "5.1.3";
		return 501;
	}
	end = s + k;
	if (*end && *end != ' ') {
		*why = "a blank must stand behind the address";
		return 501;
	}
	code = parameters_read(end, from ? OF_MAIL : OF_RCPT, g, out, why);
	if (code)
		return code;
	if (p.utf8 && !(from ? out->mail.utf8 : g->utf8)) {
		*why = "an address with bytes above 127 needs SMTPUTF8 behind MAIL (RFC 6531)";
		*enhanced = "5.6.7";
		return 553;
	}
	/* The path ends where its bracket stood; the blank behind it was read already. */
	s[p.p - s + (ptrdiff_t)p.n] = 0;
	out->path = p.p;
	out->bare = p.bare;
	return 0;
}

unsigned
smtp_command_read(char *line, size_t n, const struct smtp_grammar *g, struct smtp_command *out,
    const char **enhanced, const char **why)
{
	const struct smtp_command_row *row = smtp_commands;
	size_t k;
	char *s;

	assert(!line[n]);
	*out = (struct smtp_command){.arg = "", .path = ""};
	*enhanced = "5.5.4";
	/* RFC 5321 4.1.1: blanks at the end are tolerated. */
	while (n && (line[n - 1] == ' ' || line[n - 1] == '\t'))
		n--;
	for (k = 0; k < n && line[k] != ' '; k++)
		;
	while (row->verb && (strlen(row->verb) != k || strncasecmp(line, row->verb, k)))
		row++;
	out->row = row;
	if (n + 2 > row->most) {
		*enhanced = "5.5.2";
		*why = "the line is too long";
		return 500;
	}
	line[n] = 0;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < 32 || line[i] == 127) {
			*enhanced = "5.5.2";
			*why = "a control character stands in the line";
			return 500;
		}
	if (row->is == SMTP_UNKNOWN) {
		*enhanced = "5.5.2";
		*why = "this command is not known";
		return 500;
	}
	if (!row->offered) {
		*enhanced = "5.5.1";
		*why = "this command is not offered";
		return 502;
	}
	for (s = line + k; *s == ' '; s++)
		;
	switch (row->argument) {
	case SMTP_ARG_NONE:
		*why = "nothing may follow this command";
		return *s ? 501 : 0;
	case SMTP_ARG_WORD:
		*why = "an argument must follow this command";
		out->arg = s;
		return *s ? 0 : 501;
	case SMTP_ARG_ANY:
		out->arg = s;
		return 0;
	case SMTP_ARG_HELO:
		*why = "the name of the host must follow, of letters, digits, hyphens and full stops";
		out->arg = s;
		return smtp_helo_ok(s, strlen(s)) ? 0 : 501;
	case SMTP_ARG_MAIL:
		return path_read(s, "FROM:", SMTP_PATH_REVERSE, g, out, enhanced, why);
	case SMTP_ARG_RCPT:
		return path_read(s, "TO:", SMTP_PATH_FORWARD, g, out, enhanced, why);
	case SMTP_ARG_AUTH:
		*why = "AUTH is followed by a mechanism";
		if (!*s)
			return 501;
		out->mechanism = s;
		s += strcspn(s, " ");
		if (!*s)
			return 0;
		*s++ = 0;
		out->initial = s;
		out->ninitial = strlen(s);
		*why = "AUTH is followed by a mechanism and at most one response";
		return *s && !strchr(s, ' ') ? 0 : 501;
	}
	return 0;
}
