#include "world/bundle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/sha.h"

static const char magic[] = "mailreeve bundle 1\n";

enum { MOST_LINE = 5000 };

struct entry {
	const char *name, *bytes;
	size_t len;
};

struct bundle {
	struct arena *a;
	struct entry *v;
	size_t n, cap, bytes;
	const struct policy_world *inner;
};

struct bundle *
bundle_new(struct arena *a)
{
	struct bundle *b = arena_of(a, struct bundle);

	b->a = a;
	return b;
}

static const struct entry *
find(const struct bundle *b, const char *name)
{
	for (size_t i = 0; i < b->n; i++)
		if (!strcmp(b->v[i].name, name))
			return &b->v[i];
	return NULL;
}

int
bundle_add(struct bundle *b, const char *name, const char *bytes, size_t len)
{
	if (!*name || strchr(name, '\n') || strlen(name) > MOST_LINE - 100)
		return -EINVAL;
	if (find(b, name))
		return 0;
	if (b->n == BUNDLE_MOST_FILES || len > BUNDLE_MOST - b->bytes)
		return -E2BIG;
	b->bytes += len;
	ARENA_PUSH(b->a, b->v, b->n, b->cap) = (struct entry){arena_str(b->a, name), bytes, len};
	return 0;
}

size_t
bundle_count(const struct bundle *b)
{
	return b->n;
}

const char *
bundle_file(const struct bundle *b, size_t i, const char **bytes, size_t *len)
{
	*bytes = b->v[i].bytes;
	*len = b->v[i].len;
	return b->v[i].name;
}

static int
keep_read(void *arg, struct arena *a, const char *name, size_t most, const char **bytes,
    size_t *len)
{
	struct bundle *b = arg;
	char *copy;
	int err = b->inner->read(b->inner->arg, a, name, most, bytes, len);

	if (err)
		return err;
	/* the reader's arena may end before the bundle does */
	copy = arena_strn(b->a, *bytes, *len);
	return bundle_add(b, name, copy, *len);
}

static int
inner_day(void *arg, const char *zone, int y, int m, int d, uint64_t *sec)
{
	struct bundle *b = arg;

	return b->inner->day(b->inner->arg, zone, y, m, d, sec);
}

void
bundle_keep(struct bundle *b, const struct policy_world *inner, struct policy_world *out)
{
	b->inner = inner;
	*out = (struct policy_world){b, keep_read, inner_day};
}

static int
serve_read(void *arg, struct arena *a, const char *name, size_t most, const char **bytes,
    size_t *len)
{
	const struct bundle *b = arg;
	const struct entry *e = find(b, name);

	if (!e)
		return -ENOENT;
	if (e->len > most)
		return -EFBIG;
	*bytes = arena_strn(a, e->bytes, e->len);
	*len = e->len;
	return 0;
}

void
bundle_serve(struct bundle *b, const struct policy_world *inner, struct policy_world *out)
{
	b->inner = inner;
	*out = (struct policy_world){b, serve_read, inner_day};
}

static void
put_digest(const void *bytes, size_t n, char out[2 * SHA_LEN + 1])
{
	uint8_t d[SHA_LEN] = {0};
	struct sha *s = sha_new();

	if (s)
		sha_add(s, bytes, n);
	sha_end(s, d);
	for (int i = 0; i < SHA_LEN; i++)
		snprintf(out + 2 * i, 3, "%02x", d[i]);
}

void
bundle_write(struct buf *out, const struct bundle *b)
{
	char hex[2 * SHA_LEN + 1];
	size_t from = out->n;

	buf_str(out, magic);
	for (size_t i = 0; i < b->n; i++) {
		buf_printf(out, "file %zu %s\n", b->v[i].len, b->v[i].name);
		buf_add(out, b->v[i].bytes, b->v[i].len);
		buf_chr(out, '\n');
	}
	if (out->err)
		return;
	put_digest(out->p + from, out->n - from, hex);
	buf_printf(out, "sha256 %s\n", hex);
}

/* The next line of at most MOST_LINE bytes, without its end, into line; NULL: there is none. */
static const char *
next_line(const char *p, const char *end, char line[MOST_LINE])
{
	const char *nl = memchr(p, '\n', (size_t)(end - p));

	if (!nl || nl - p >= MOST_LINE)
		return NULL;
	memcpy(line, p, (size_t)(nl - p));
	line[nl - p] = 0;
	return strlen(line) == (size_t)(nl - p) ? nl + 1 : NULL;
}

int
bundle_read(struct arena *a, const void *bytes, size_t n, struct bundle **out)
{
	const char *start = bytes, *p = start, *end = start + n;
	struct bundle *b = bundle_new(a);
	char line[MOST_LINE], hex[2 * SHA_LEN + 1];

	if (n < sizeof magic - 1 || memcmp(p, magic, sizeof magic - 1))
		return -EBADMSG;
	p += sizeof magic - 1;
	for (;;) {
		const char *body = next_line(p, end, line);
		char *name;

		if (!body)
			return -EBADMSG;
		if (!strncmp(line, "sha256 ", 7)) {
			put_digest(start, (size_t)(p - start), hex);
			if (strcmp(line + 7, hex) || body != end || !b->n)
				return -EBADMSG;
			*out = b;
			return 0;
		}
		if (strncmp(line, "file ", 5) || line[5] < '0' || line[5] > '9')
			return -EBADMSG;
		errno = 0;
		unsigned long long len = strtoull(line + 5, &name, 10);
		if (errno || *name++ != ' ' || len >= (size_t)(end - body) || body[len] != '\n' ||
		    find(b, name) || bundle_add(b, name, body, (size_t)len))
			return -EBADMSG;
		p = body + len + 1;
	}
}
