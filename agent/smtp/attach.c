/*
 * Attachments by the ending of their names (CAM-21): every part that the walk
 * enters, none inside an archive.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp/field.h"
#include "smtp/mime.h"

struct smtp_attach {
	struct smtp_mime *walk;
	const char *const *ending;
	size_t n;
	const char *found;
	char name[256];
};

/* Keeps the name when it has one of the endings. Blanks, full stops and what cannot be
 * seen at its end are none of it: Windows leaves them out too. */
static bool
named(struct smtp_attach *a, const char *s, size_t n)
{
	while (n && ((unsigned char)s[n - 1] <= 32 || s[n - 1] == '.' || s[n - 1] == 127))
		n--;
	for (size_t i = 0; i < a->n; i++) {
		size_t k = strlen(a->ending[i]), from;

		if (n < k || !k || strncasecmp(s + n - k, a->ending[i], k))
			continue;
		a->found = a->ending[i];
		from = n > sizeof a->name - 1 ? n - (sizeof a->name - 1) : 0;
		for (size_t j = from; j < n; j++)
			a->name[j - from] = (char)(s[j] < 32 || s[j] > 126 ? '?' : s[j]);
		a->name[n - from] = 0;
		return true;
	}
	return false;
}

static int
look(struct smtp_attach *a, const char *p, size_t n, const char *parameter)
{
	struct buf b = BUF_INIT(64 * 1024);
	const char *colon = memchr(p, ':', n);
	int r = 0;

	if (!colon)
		return 0;
	n -= (size_t)(colon + 1 - p);
	if (smtp_parameter_read(&b, colon + 1, n, parameter) && b.n && named(a, b.p, b.n))
		r = 1;
	else if (b.err == -ENOMEM)
		r = -ENOMEM;
	buf_free(&b);
	return r;
}

static int
see(void *arg, enum smtp_mime_is is, const struct smtp_mime_part *part, const char *p, size_t n)
{
	struct smtp_attach *a = arg;

	(void)part;
	if (is != SMTP_MIME_FIELD_IS || n < 13)
		return 0;
	if (n > 19 && !strncasecmp(p, "Content-Disposition", 19))
		return look(a, p, n, "filename");
	if (!strncasecmp(p, "Content-Type", 12))
		return look(a, p, n, "name");
	return 0;
}

struct smtp_attach *
smtp_attach_new(const char *const *ending, size_t n)
{
	struct smtp_attach *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->ending = ending;
	a->n = n;
	a->walk = smtp_mime_new(see, a);
	return a->walk ? a : smtp_attach_free(a);
}

struct smtp_attach *
smtp_attach_free(struct smtp_attach *a)
{
	if (!a)
		return NULL;
	smtp_mime_free(a->walk);
	free(a);
	return NULL;
}

int
smtp_attach_feed(struct smtp_attach *a, const char *p, size_t n)
{
	return a->found ? 1 : smtp_mime_feed(a->walk, p, n);
}

int
smtp_attach_end(struct smtp_attach *a)
{
	return a->found ? 1 : smtp_mime_end(a->walk);
}

const char *
smtp_attach_name(const struct smtp_attach *a, const char **ending)
{
	*ending = a->found;
	return a->name;
}
