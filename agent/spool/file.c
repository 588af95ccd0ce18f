/* A message's file: reading, appending, setting aside, ending. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/inside.h"
#include "spool/io.h"

void
spool_id_text(uint64_t id, char out[SPOOL_ID_LEN + 1])
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 0; i < SPOOL_ID_LEN; i++)
		out[i] = hex[id >> 4 * (SPOOL_ID_LEN - 1 - i) & 15];
	out[SPOOL_ID_LEN] = 0;
}

uint64_t
spool_id_of(const char *t)
{
	uint64_t id = 0;
	size_t i;

	for (i = 0; i < SPOOL_ID_LEN && t[i]; i++) {
		if (!(t[i] >= '0' && t[i] <= '9') && !(t[i] >= 'a' && t[i] <= 'f'))
			return 0;
		id = id << 4 | (uint64_t)(t[i] <= '9' ? t[i] - '0' : t[i] - 'a' + 10);
	}
	return i == SPOOL_ID_LEN && !t[i] ? id : 0;
}

void
file_name(const struct entry *e, char out[SPOOL_NAME])
{
	spool_id_text(e->id, out);
	if (e->is_new)
		memcpy(out + SPOOL_ID_LEN, ".new", 5);
}

int
file_read(struct spool *s, uint64_t id, int fd, bool check, uint64_t most, struct spool_message *m,
    struct form_tail *t, const char **why)
{
	struct form_front f;
	char front[FORM_FRONT], *tail;
	uint64_t size;
	uint32_t crc;
	int64_t got;
	int r = io_size(fd, &size);

	*why = "it is no file";
	if (r)
		return r;
	got = io_read(fd, front, sizeof front, 0);
	if (got < 0)
		return (int)got;
	*why = "its first line is not whole";
	if (got != FORM_FRONT || form_front_read(front, &f))
		return -EBADMSG;
	*why = "it is another message's file";
	if (f.id != id)
		return -EBADMSG;
	*why = "its content is cut";
	if (f.size > size - FORM_FRONT)
		return -EBADMSG;
	size -= FORM_FRONT + f.size;
	*why = "its records are too long";
	if (size > most)
		size = most;
	if (size > FORM_TAIL_MOST)
		return -EBADMSG;
	if (check) {
		*why = "the checksum of its content is wrong";
		r = io_crc(fd, FORM_FRONT, f.size, s->scratch, sizeof s->scratch, &crc);
		if (r && r != -ENODATA)
			return r;
		if (r || crc != f.crc)
			return -EBADMSG;
	}
	tail = malloc(size + 1);
	if (!tail)
		return -ENOMEM;
	got = io_read(fd, tail, size, FORM_FRONT + f.size);
	if (got < 0) {
		free(tail);
		return (int)got;
	}
	tail[got] = 0;
	*why = "its records are damaged";
	r = form_read(tail, (size_t)got, id, t);
	if (r) {
		free(tail);
		return r;
	}
	*m = (struct spool_message){.env = t->env, .fd = fd, .offset = FORM_FRONT, .size = f.size,
		.own = tail};
	return 0;
}

void
spool_message_end(struct spool_message *m)
{
	if (!m->own)
		return;
	free(m->env.rcpt);
	free(m->own);
	io_close(m->fd);
	memset(m, 0, sizeof *m);
}

int
file_aside(struct spool *s, const char *name, uint64_t id, const char *why)
{
	char to[SPOOL_NAME], note[SPOOL_NAME + 4], line[256];
	int fd, n, r;

	spool_id_text(id, to);
	r = io_rename(s->queue, name, s->damaged, to);
	if (r && r != -ENOENT)
		return r;
	s->found.damaged++;
	s->dir_dirty = true;
	/* The reason is for people: without it the file still stands aside. */
	snprintf(note, sizeof note, "%s.why", to);
	n = snprintf(line, sizeof line, "%s: %s\n", to, r ? "the file is gone" : why);
	fd = io_open(s->damaged, note, O_WRONLY | O_CREAT | O_TRUNC);
	if (fd >= 0)
		(void)io_write(fd, line, (size_t)n, 0);
	io_close(fd);
	return 0;
}

void
entry_damaged(struct spool *s, struct entry *e, const char *why)
{
	char name[SPOOL_NAME];

	file_name(e, name);
	/* What cannot be moved now is met again at the next look. */
	if (file_aside(s, name, e->id, why))
		return;
	e->damaged = true;
	for (uint32_t i = 0; i < e->nparts; i++)
		heap_drop(&e->part[i].relay->due, &e->part[i].node);
	entry_attend(s, e, 0);
}

int
file_load(struct spool *s, struct entry *e, struct spool_message *m)
{
	char name[SPOOL_NAME];
	struct form_tail t;
	const char *why;
	int fd, r;

	if (e->damaged)
		return -EBADMSG;
	file_name(e, name);
	fd = io_open(s->queue, name, O_RDWR);
	if (fd == -ENOENT) {
		entry_damaged(s, e, "the file is gone");
		return -EBADMSG;
	}
	if (fd < 0)
		return fd;
	/* Behind our own end only an append that failed may have left something. */
	r = file_read(s, e->id, fd, !e->checked, e->tail, m, &t, &why);
	if (!r && (t.good != e->tail || m->size != e->size)) {
		spool_message_end(m);
		why = "it was changed by somebody else";
		fd = -1;
		r = -EBADMSG;
	}
	if (!r) {
		e->checked = true;
		return 0;
	}
	io_close(fd);
	if (r == -EBADMSG)
		entry_damaged(s, e, why);
	return r;
}

void
file_dirty(struct spool *s, struct entry *e)
{
	if (e->is_dirty)
		return;
	e->is_dirty = true;
	e->dirty = s->dirty;
	s->dirty = e;
}

int
file_append(struct spool *s, struct entry *e, int fd, struct buf *b)
{
	uint64_t end = FORM_FRONT + e->size + e->tail;
	int own = -1, r;

	form_end(b, 0, e->id, e->seq);
	if (b->err)
		return b->err;
	if (e->tail + b->n > FORM_TAIL_MOST)
		return -EFBIG;
	if (fd < 0) {
		char name[SPOOL_NAME];

		file_name(e, name);
		fd = own = io_open(s->queue, name, O_WRONLY);
		if (fd < 0)
			return fd;
	}
	r = io_write(fd, b->p, b->n, end);
	if (r) {
		(void)io_cut(fd, end);
	} else {
		e->tail += b->n;
		e->seq++;
	}
	io_close(own);
	return r;
}

int
file_tell(struct spool *s, struct entry *e, int fd, const struct form_line *l)
{
	struct buf b = BUF_INIT(FORM_ENVELOPE_MOST);
	int r;

	form_begin(&b);
	form_line(&b, l);
	r = file_append(s, e, fd, &b);
	buf_free(&b);
	return r;
}

bool
entry_end(struct spool *s, struct entry *e, int fd)
{
	char name[SPOOL_NAME], *tail;
	int own = -1, r;

	if (e->owed || e->damaged)
		return false;
	for (uint32_t i = 0; i < e->nparts; i++)
		if (e->part[i].pending || e->part[i].held || e->part[i].sending)
			return false;
	file_name(e, name);
	/* The trace first; without memory or descriptors, without it. */
	if (!e->dead) {
		if (fd < 0)
			fd = own = io_open(s->queue, name, O_RDONLY);
		tail = fd >= 0 ? malloc(e->tail) : NULL;
		if (tail && io_read(fd, tail, e->tail, FORM_FRONT + e->size) == (int64_t)e->tail)
			trace_bury(s, e->id, tail, e->tail);
		free(tail);
		io_close(own);
	}
	r = io_unlink(s->queue, name);
	if (r && r != -ENOENT) {
		/* All is final on disk: only the file is left to be removed. */
		e->dead = true;
		heap_put(&s->attention, &e->node, s->now + 60000);
		return true;
	}
	s->dir_dirty = true;
	entry_free(s, e);
	return true;
}
