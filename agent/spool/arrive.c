/* Arrivals: a file that is being written, until it waits for a commit. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "spool/crc.h"
#include "spool/inside.h"
#include "spool/io.h"

static void
new_name(const struct spool_arrival *a, char out[SPOOL_NAME])
{
	spool_id_text(a->id, out);
	memcpy(out + SPOOL_ID_LEN, ".new", 5);
}

/* Whether `more` bytes fit above the floor, beside what was promised to others. */
static int
fits(struct spool *s, uint64_t more)
{
	uint64_t bytes, inodes;
	int r = io_space(s->queue, &bytes, &inodes);

	if (r)
		return r;
	return bytes < s->c.floor_bytes + s->promised + more || inodes < s->c.floor_inodes ? -ENOSPC : 0;
}

int
spool_arrive_later(struct spool *s, uint64_t size, uint64_t now, struct spool_arrival **out)
{
	uint64_t us = now * 1000;
	struct spool_arrival *a;
	int r;

	s->now = now;
	if (s->found.sick)
		return -EIO;
	if (size > s->c.message_most)
		return -EMSGSIZE;
	if (s->arrivals >= s->c.arrivals_most)
		return -EAGAIN;
	if (s->count >= s->c.messages_most || s->bytes + size > s->c.bytes_most)
		return -ENOSPC;
	r = fits(s, size);
	if (r)
		return r;
	a = malloc(sizeof *a);
	if (!a)
		return -ENOMEM;
	memset(a, 0, offsetof(struct spool_arrival, run));
	a->s = s;
	a->id = us > s->last_id ? us : s->last_id + 1;
	a->reserved = size;
	a->room = size + SPOOL_STEP;
	memset(a->run, 0, FORM_FRONT);
	a->nrun = FORM_FRONT;
	a->fd = -1;
	s->last_id = a->id;
	s->arrivals++;
	s->count++;
	s->bytes += size;
	s->promised += size;
	*out = a;
	return 0;
}

int
spool_arrival_open(struct spool_arrival *a)
{
	char name[SPOOL_NAME];
	int fd;

	if (a->fd >= 0)
		return 0;
	if (a->s->found.sick)
		return -EIO;
	new_name(a, name);
	fd = io_open(a->s->queue, name, O_RDWR | O_CREAT | O_EXCL);
	if (fd < 0)
		return fd;
	a->fd = fd;
	return 0;
}

int
spool_arrive(struct spool *s, uint64_t size, uint64_t now, struct spool_arrival **out)
{
	struct spool_arrival *a;
	int r = spool_arrive_later(s, size, now, &a);

	if (r)
		return r;
	r = spool_arrival_open(a);
	if (r)
		spool_drop_arrival(s, a);
	else
		*out = a;
	return r;
}

uint64_t
spool_arrival_id(const struct spool_arrival *a)
{
	return a->id;
}

/* Room for n bytes in all, asked for again only where more come than were told. */
static int
grow(struct spool_arrival *a, uint64_t n)
{
	struct spool *s = a->s;

	if (n > s->c.message_most)
		return -EMSGSIZE;
	if (n <= a->reserved)
		return 0;
	if (s->bytes + (n - a->reserved) > s->c.bytes_most)
		return -ENOSPC;
	if (n > a->room) {
		int r = fits(s, n - a->reserved);

		if (r)
			return r;
		a->room = n + SPOOL_STEP;
	}
	s->bytes += n - a->reserved;
	s->promised += n - a->reserved;
	a->reserved = n;
	return 0;
}

/* What waits in the run, into the file; the blank front is left out. */
static int
run_out(struct spool_arrival *a)
{
	size_t n = a->nrun - FORM_FRONT;
	int r = io_write(a->fd, a->run + FORM_FRONT, n, FORM_FRONT + a->written);

	if (!r) {
		a->written += n;
		a->nrun = FORM_FRONT;
	}
	return r;
}

int
spool_write(struct spool_arrival *a, const void *p, size_t n)
{
	if (!a->err)
		a->err = grow(a, a->size + n);
	if (a->err)
		return a->err;
	a->crc = crc32c(a->crc, p, n);
	a->size += n;
	if (n > sizeof a->run - a->nrun)
		a->err = run_out(a);
	if (a->err)
		return a->err;
	if (n > sizeof a->run - a->nrun) {
		a->err = io_write(a->fd, p, n, FORM_FRONT + a->written);
		a->written += n;
	} else {
		memcpy(a->run + a->nrun, p, n);
		a->nrun += n;
	}
	return a->err;
}

int
spool_arrival_fd(const struct spool_arrival *a, uint64_t *offset)
{
	*offset = FORM_FRONT;
	return a->fd;
}

int
spool_arrival_reader(const struct spool_arrival *a)
{
	char name[SPOOL_NAME];

	new_name(a, name);
	return io_open(a->s->queue, name, O_RDONLY);
}

int
spool_adopt_own(struct spool_arrival *a, uint64_t size)
{
	uint64_t whole;

	assert(!a->size);
	if (!a->err)
		a->err = grow(a, size);
	if (!a->err)
		a->err = io_crc(a->fd, FORM_FRONT, size, a->s->scratch, sizeof a->s->scratch, &a->crc);
	/* What may stand behind it is cut off: there the records begin. To ask is cheaper than to cut. */
	if (!a->err)
		a->err = io_size(a->fd, &whole);
	if (!a->err && whole != FORM_FRONT + size)
		a->err = io_cut(a->fd, FORM_FRONT + size);
	if (!a->err)
		a->size = a->written = size;
	return a->err;
}

int
spool_adopt(struct spool_arrival *a, int fd, uint64_t offset, uint64_t size)
{
	char *run = a->s->scratch;

	if (!a->err)
		a->err = grow(a, a->size + size);
	while (!a->err && size) {
		size_t k = size < sizeof a->s->scratch ? (size_t)size : sizeof a->s->scratch;
		int64_t got = io_read(fd, run, k, offset);

		if (got < 0)
			a->err = (int)got;
		else if ((size_t)got < k)
			a->err = -ENODATA;
		else
			spool_write(a, run, k);
		offset += k;
		size -= k;
	}
	return a->err;
}

int
spool_seal(struct spool *s, struct spool_arrival *a, const struct spool_envelope *given, uint64_t now,
    void *token)
{
	struct form_front f = {a->id, a->size, a->crc};
	struct spool_envelope e = *given;
	struct buf b = BUF_INIT(FORM_ENVELOPE_MOST);
	struct spool_rcpt *rcpt;
	size_t n;

	assert(!a->e);
	s->now = now;
	if (a->err)
		return a->err;
	if (s->found.sick)
		return -EIO;
	if (!e.nrcpt || e.nrcpt > SPOOL_RCPT_MOST || !e.from)
		return -EINVAL;
	rcpt = calloc(e.nrcpt, sizeof *rcpt);
	if (!rcpt)
		return -ENOMEM;
	e.id = a->id;
	e.arrived = now;
	e.rcpt = rcpt;
	for (size_t i = 0; i < e.nrcpt; i++) {
		const struct spool_rcpt *r = &given->rcpt[i];

		if (!r->address || !r->relay)
			a->err = -EINVAL;
		rcpt[i] = (struct spool_rcpt){.address = r->address, .relay = r->relay,
			.notify = r->notify, .orcpt = r->orcpt,
			.next = e.not_before > now ? e.not_before : now};
	}
	form_begin(&b);
	if (!a->err)
		form_envelope(&b, &e);
	form_end(&b, 0, a->id, 0);
	if (!a->err)
		a->err = b.err;
	if (!a->err)
		a->e = entry_new(s, &e, a->size, &a->err);
	/* A small message is one write; else the front is the last. */
	n = b.n;
	if (!a->err && !a->written && n <= sizeof a->run - a->nrun) {
		form_front(a->run, &f);
		memcpy(a->run + a->nrun, b.p, n);
		a->err = io_write(a->fd, a->run, a->nrun + n, 0);
	} else if (!a->err) {
		a->err = run_out(a);
		if (!a->err)
			a->err = io_write(a->fd, b.p, n, FORM_FRONT + a->size);
		form_front(a->run, &f);
		if (!a->err)
			a->err = io_write(a->fd, a->run, FORM_FRONT, 0);
	}
	buf_free(&b);
	if (a->err) {
		if (a->e)
			entry_free(s, a->e);
		a->e = NULL;
		free(rcpt);
		return a->err;
	}
	/* What the entry's schedule will be is known now; the recipients are not kept. */
	a->e->tail = n;
	a->e->seq = 1;
	a->e->is_new = true;
	a->e->first = e.not_before > now ? e.not_before : now;
	a->e->checked = true;
	for (size_t i = 0; i < e.nrcpt; i++)
		for (uint32_t k = 0; k < a->e->nparts; k++)
			a->e->part[k].pending += !strcmp(a->e->part[k].relay->name, rcpt[i].relay);
	free(rcpt);
	a->token = token;
	a->next = NULL;
	*s->sealed_end = a;
	s->sealed_end = &a->next;
	return 0;
}

struct spool_arrival *
spool_drop_arrival(struct spool *s, struct spool_arrival *a)
{
	char name[SPOOL_NAME];

	if (!a)
		return NULL;
	new_name(a, name);
	/* Cut first: should the name come back, it is no whole message. */
	if (a->e)
		(void)io_cut(a->fd, 0);
	if (a->fd >= 0) {
		(void)io_unlink(s->queue, name);
		s->dir_dirty = true;
		io_close(a->fd);
	}
	if (a->e)
		entry_free(s, a->e);
	s->bytes -= a->reserved;
	s->promised -= a->reserved;
	s->count--;
	s->arrivals--;
	free(a);
	return NULL;
}
