/* Small states of others: whole, the old or the new. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/crc.h"
#include "spool/inside.h"
#include "spool/io.h"

enum { KEEP_HEAD = 64, KEEP_NAME = 32 };

static bool
good_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n && n <= KEEP_NAME && !s[n];
}

static void
head(char out[KEEP_HEAD + 1], const void *p, size_t n)
{
	char words[KEEP_HEAD];

	snprintf(words, sizeof words, "mailreeve-kept 1 size=%010zu crc=%08x", n, crc32c(0, p, n));
	snprintf(out, KEEP_HEAD + 1, "%-*s\n", KEEP_HEAD - 1, words);
}

int
spool_keep(struct spool *s, const char *name, const void *p, size_t n)
{
	char front[KEEP_HEAD + 1], tmp[KEEP_NAME + 8];
	int fd, r;

	if (!good_name(name) || n > SPOOL_KEEP_MOST)
		return -EINVAL;
	snprintf(tmp, sizeof tmp, "%s.new", name);
	fd = io_open(s->keep, tmp, O_WRONLY | O_CREAT | O_TRUNC);
	if (fd < 0)
		return fd;
	head(front, p, n);
	r = io_write(fd, front, KEEP_HEAD, 0);
	if (!r)
		r = io_write(fd, p, n, KEEP_HEAD);
	if (!r)
		r = io_fdatasync(fd);
	io_close(fd);
	if (!r)
		r = io_rename(s->keep, tmp, s->keep, name);
	if (!r)
		r = io_fsync(s->keep);
	else
		(void)io_unlink(s->keep, tmp);
	return r;
}

int
spool_kept(struct spool *s, const char *name, void **p, size_t *n)
{
	char front[KEEP_HEAD + 1], *all = NULL;
	uint64_t size;
	int fd, r;

	if (!good_name(name))
		return -EINVAL;
	fd = io_open(s->keep, name, O_RDONLY);
	if (fd < 0)
		return fd;
	r = io_size(fd, &size);
	if (!r && (size < KEEP_HEAD || size > KEEP_HEAD + SPOOL_KEEP_MOST))
		r = -EBADMSG;
	if (!r) {
		all = malloc((size_t)size);
		if (!all)
			r = -ENOMEM;
	}
	if (!r) {
		int64_t got = io_read(fd, all, (size_t)size, 0);

		if (got < 0)
			r = (int)got;
		else if ((uint64_t)got != size)
			r = -EBADMSG;
	}
	if (!r) {
		head(front, all + KEEP_HEAD, (size_t)size - KEEP_HEAD);
		if (memcmp(front, all, KEEP_HEAD))
			r = -EBADMSG;
	}
	io_close(fd);
	if (r) {
		free(all);
		return r;
	}
	*n = (size_t)size - KEEP_HEAD;
	memmove(all, all + KEEP_HEAD, *n);
	*p = all;
	return 0;
}
