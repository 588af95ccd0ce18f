#include "smtp/ehlo.h"

#include <string.h>
#include <strings.h>

#include "smtp/reply.h"

/* A number of at most 20 digits, saturating; false for what is none. */
static bool
number(const char *s, size_t n, uint64_t *out)
{
	uint64_t x = 0;

	if (!n || n > 20)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint64_t d = (uint64_t)(s[i] - '0');

		if (s[i] < '0' || s[i] > '9')
			return false;
		x = x > (UINT64_MAX - d) / 10 ? UINT64_MAX : x * 10 + d;
	}
	*out = x;
	return true;
}

static void
read_size(struct smtp_capable *c, const char *s, size_t n)
{
	uint64_t x = 0;

	if (c->size || (n && !number(s, n, &x)))
		return;
	c->size = true;
	c->size_most = x;
}

/* The next word of s; n 0 at the end. */
static size_t
word(const char **s, size_t *n)
{
	size_t k = 0;

	while (*n && **s == ' ') {
		++*s;
		--*n;
	}
	while (k < *n && (*s)[k] != ' ')
		k++;
	return k;
}

static bool
is_mechanism(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", s[i]))
			return false;
	return n >= 1 && n <= 20;
}

static void
read_auth(struct smtp_capable *c, const char *s, size_t n)
{
	size_t used = strlen(c->mechanisms), k;

	c->auth = true;
	for (; (k = word(&s, &n)); s += k, n -= k) {
		char name[21];

		if (!is_mechanism(s, k))
			continue;
		for (size_t i = 0; i < k; i++)
			name[i] = (char)(s[i] >= 'a' && s[i] <= 'z' ? s[i] - 'a' + 'A' : s[i]);
		name[k] = 0;
		if (smtp_capable_auth(c, name) || used + k + 2 > sizeof c->mechanisms)
			continue;
		if (used)
			c->mechanisms[used++] = ' ';
		memcpy(c->mechanisms + used, name, k + 1);
		used += k;
	}
}

static void
read_limits(struct smtp_capable *c, const char *s, size_t n)
{
	const struct {
		const char *name;
		uint32_t *to;
	} names[] = {
		{"MAILMAX=", &c->mail_most}, {"RCPTMAX=", &c->rcpt_most},
		{"RCPTDOMAINMAX=", &c->domain_most},
	};
	size_t k;

	for (; (k = word(&s, &n)); s += k, n -= k)
		for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
			size_t m = strlen(names[i].name);
			uint64_t x;

			/* RFC 9422 3: at most six digits, not zero. */
			if (k > m && k <= m + 6 && !strncasecmp(s, names[i].name, m) &&
			    number(s + m, k - m, &x) && x && !*names[i].to)
				*names[i].to = (uint32_t)x;
		}
}

/* A keyword: what it says by being there, or how what follows it is read. */
static const struct {
	const char *keyword;
	size_t flag;
	void (*read)(struct smtp_capable *c, const char *s, size_t n);
} rows[] = {
	{"PIPELINING", offsetof(struct smtp_capable, pipelining), NULL},
	{"8BITMIME", offsetof(struct smtp_capable, eightbit), NULL},
	{"SMTPUTF8", offsetof(struct smtp_capable, utf8), NULL},
	{"DSN", offsetof(struct smtp_capable, dsn), NULL},
	{"STARTTLS", offsetof(struct smtp_capable, starttls), NULL},
	{"ENHANCEDSTATUSCODES", offsetof(struct smtp_capable, enhanced), NULL},
	{"CHUNKING", offsetof(struct smtp_capable, chunking), NULL},
	{"REQUIRETLS", offsetof(struct smtp_capable, requiretls), NULL},
	{"SIZE", 0, read_size},
	{"AUTH", 0, read_auth},
	{"LIMITS", 0, read_limits},
};

void
smtp_capable_read(struct smtp_capable *c, const struct smtp_reply *r)
{
	const char *line = r->text;

	*c = (struct smtp_capable){.esmtp = true};
	/* The first line is the relay's name, never a keyword. */
	while ((line = strchr(line, '\n'))) {
		size_t n = strcspn(++line, "\n"), k = 0;
		const char *s = line;

		k = word(&s, &n);
		/* "AUTH=LOGIN": what came before RFC 2554, still said by some. */
		if (k > 5 && !strncasecmp(s, "AUTH=", 5)) {
			read_auth(c, s + 5, n - 5);
			continue;
		}
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
			if (strlen(rows[i].keyword) == k && !strncasecmp(s, rows[i].keyword, k)) {
				const char *rest = s + k;
				size_t left = n - k;

				word(&rest, &left);
				if (rows[i].read)
					rows[i].read(c, rest, left);
				else
					*(bool *)(void *)((char *)c + rows[i].flag) = true;
			}
	}
}

bool
smtp_capable_auth(const struct smtp_capable *c, const char *mechanism)
{
	const char *s = c->mechanisms;
	size_t n = strlen(s), m = strlen(mechanism), k;

	for (; (k = word(&s, &n)); s += k, n -= k)
		if (k == m && !strncasecmp(s, mechanism, m))
			return true;
	return false;
}
