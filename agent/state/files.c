/*
 * files: small files of lines, written whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha.h"
#include "state/inside.h"

void
state_say(struct state *s, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (s->warn)
		s->warn(s->arg, text);
}

static int
write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = write(fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k ? -errno : -EIO;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

int
state_write(int dir, const char *name, const void *bytes, size_t n, bool put)
{
	char fresh[80];
	int fd, err;

	snprintf(fresh, sizeof fresh, "%s.new", name);
	/* one left by a death may be anything, a link even */
	if (unlinkat(dir, fresh, 0) && errno != ENOENT)
		return -errno;
	fd = openat(dir, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = write_all(fd, bytes, n);
	if (!err && fsync(fd))
		err = -errno;
	if (close(fd) && !err)
		err = -errno;
	if (!err && put && renameat(dir, fresh, dir, name))
		err = -errno;
	if (!err && fsync(dir))
		err = -errno;
	if (err)
		(void)unlinkat(dir, fresh, 0);
	return err;
}

void
state_line(struct buf *b, const char *key, const char *value)
{
	buf_str(b, key);
	buf_chr(b, ' ');
	for (const char *p = value ? value : ""; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f || *p == '\\')
			buf_printf(b, "\\x%02x", (unsigned char)*p);
		else
			buf_chr(b, *p);
	}
	buf_chr(b, '\n');
}

void
state_hex(const uint8_t *p, size_t n, char *out)
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*out++ = digit[p[i] >> 4];
		*out++ = digit[p[i] & 15];
	}
	*out = '\0';
}

static int
digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool
state_unhex(const char *s, uint8_t *out, size_t n)
{
	if (strlen(s) != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int hi = digit_of(s[2 * i]), lo = digit_of(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

static bool
sum_of(const void *p, size_t n, char hex[2 * SHA_LEN + 1])
{
	struct sha *h = sha_new();
	uint8_t sum[SHA_LEN];

	if (!h)
		return false;
	sha_add(h, p, n);
	sha_end(h, sum);
	state_hex(sum, sizeof sum, hex);
	return true;
}

void
state_sum_line(struct buf *b)
{
	char hex[2 * SHA_LEN + 1];

	if (b->err)
		return;
	if (sum_of(b->p ? b->p : "", b->n, hex))
		buf_printf(b, "sha256 %s\n", hex);
	else
		b->err = -ENOMEM;
}

/* Reads the whole file. */
static int
slurp(int dir, const char *name, struct buf *out)
{
	char room[4096];
	struct stat st;
	ssize_t k;
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	int err = 0;

	if (fd < 0)
		return errno == ELOOP ? -EBADMSG : -errno;
	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size > STATE_SMALL)
		err = -EBADMSG;
	while (!err && (k = read(fd, room, sizeof room)) != 0) {
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			err = -errno;
		else
			buf_add(out, room, (size_t)k);
	}
	if (!err)
		err = out->err == -E2BIG ? -EBADMSG : out->err;
	close(fd);
	return err;
}

int
state_read(int dir, const char *name, struct buf *out)
{
	static const char word[] = "sha256 ";
	enum { TAIL = sizeof word - 1 + 2 * SHA_LEN + 1 };
	char hex[2 * SHA_LEN + 1];
	int err = slurp(dir, name, out);

	if (err)
		return err;
	if (out->n < TAIL || memchr(out->p, '\0', out->n))
		return -EBADMSG;
	char *tail = out->p + out->n - TAIL;
	if (memcmp(tail, word, sizeof word - 1) || tail[TAIL - 1] != '\n' ||
	    (tail > out->p && tail[-1] != '\n'))
		return -EBADMSG;
	if (!sum_of(out->p, out->n - TAIL, hex))
		return -ENOMEM;
	if (memcmp(tail + sizeof word - 1, hex, 2 * SHA_LEN) != 0)
		return -EBADMSG;
	*tail = '\0';
	out->n -= TAIL;
	return 0;
}

bool
state_next(char **p, char **key, char **value)
{
	char *line = *p, *end, *w;

	if (!line || !*line)
		return false;
	end = strchr(line, '\n');
	if (end)
		*end = '\0';
	*p = end ? end + 1 : NULL;
	*key = line;
	w = strchr(line, ' ');
	if (!w) {
		*value = line + strlen(line);
		return true;
	}
	*w++ = '\0';
	*value = w;
	for (char *r = w; ; r++) {
		int hi, lo;

		if (r[0] == '\\' && r[1] == 'x' && (hi = digit_of(r[2])) >= 0 &&
		    (lo = digit_of(r[3])) >= 0 && hi + lo) {
			*w++ = (char)(hi << 4 | lo);
			r += 3;
			continue;
		}
		*w++ = *r;
		if (!*r)
			return true;
	}
}

bool
state_number(const char *s, uint64_t *out)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	unsigned long long x = strtoull(s, &end, 10);
	if (errno || *end)
		return false;
	*out = x;
	return true;
}

void
state_bad_file(struct state *s, const char *name, const char *why)
{
	char aside[80];

	snprintf(aside, sizeof aside, "%s.damaged", name);
	if (renameat(s->dir, name, s->dir, aside))
		state_say(s, "%s is damaged (%s) and cannot be set aside: %s", name, why,
		    strerror(errno));
	else
		state_say(s, "%s is damaged (%s): set aside as %s", name, why, aside);
	(void)fsync(s->dir);
}
