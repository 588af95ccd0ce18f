/* Opening: what is in the folder becomes the index. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "spool/inside.h"
#include "spool/io.h"

struct seen {
	uint64_t *id;                /* 2 * id + (1: still .new) */
	size_t n, cap;
};

static int
see(struct seen *v, uint64_t x)
{
	if (v->n == v->cap) {
		size_t cap = v->cap ? 2 * v->cap : 1024;
		uint64_t *w = realloc(v->id, cap * sizeof *w);

		if (!w)
			return -ENOMEM;
		v->id = w;
		v->cap = cap;
	}
	v->id[v->n++] = x;
	return 0;
}

static int
names(struct spool *s, struct seen *v)
{
	int fd = io_open(s->queue, ".", O_RDONLY | O_DIRECTORY), r = 0;
	struct dirent *d;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		io_close(fd);
		return r;
	}
	while (!r && (errno = 0, d = readdir(dir))) {
		char name[SPOOL_ID_LEN + 1] = "";
		uint64_t id, fresh;

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		fresh = strlen(d->d_name) == SPOOL_ID_LEN + 4 && !strcmp(d->d_name + SPOOL_ID_LEN, ".new");
		if (fresh || strlen(d->d_name) == SPOOL_ID_LEN)
			memcpy(name, d->d_name, SPOOL_ID_LEN);
		id = spool_id_of(name);
		if (id && id < SPOOL_ID_MOST)
			r = see(v, 2 * id + fresh);
		else
			s->found.stray++;
	}
	if (!r)
		r = -errno;
	closedir(dir);
	return r;
}

static int
by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* One file. An errno only where the open as a whole must fail. */
static int
load(struct spool *s, uint64_t id, bool fresh, uint64_t now)
{
	struct entry at = {.id = id, .is_new = fresh}, *e;
	struct spool_message m = {0};
	struct form_tail t;
	const char *why;
	char name[SPOOL_NAME];
	int fd, r;

	file_name(&at, name);
	fd = io_open(s->queue, name, O_RDWR);
	if (fd == -ENOMEM || fd == -EMFILE || fd == -ENFILE)
		return fd;
	if (fd < 0) {
		s->found.unreadable++;
		return 0;
	}
	r = file_read(s, id, fd, fresh, UINT64_MAX, &m, &t, &why);
	if (r) {
		io_close(fd);
		if (r == -ENOMEM)
			return r;
		if (r != -EBADMSG) {
			s->found.unreadable++;
			return 0;
		}
		if (!fresh) {
			if (file_aside(s, name, id, why))
				s->found.unreadable++;
			return 0;
		}
		/* Nobody was told that it was taken. */
		s->found.interrupted++;
		s->dir_dirty = true;
		(void)io_unlink(s->queue, name);
		return 0;
	}
	if (t.torn) {
		s->found.torn++;
		r = io_cut(fd, FORM_FRONT + m.size + t.good);
	}
	/* What was being sent may have arrived, or not: again, at once. */
	for (size_t i = 0; i < m.env.nrcpt; i++) {
		struct spool_rcpt *to = &m.env.rcpt[i];

		if (to->state == SPOOL_SENDING) {
			to->state = SPOOL_PENDING;
			to->next = now;
		}
		/* A clock that was far ahead must not keep mail here for years. */
		if (to->next > now + 2 * s->c.retry_most && to->next != m.env.not_before)
			to->next = now;
	}
	e = r ? NULL : entry_new(s, &m.env, m.size, &r);
	if (e) {
		e->is_new = fresh;
		e->checked = fresh;
		e->warned = t.warned;
		e->tail = t.good;
		e->seq = t.seq;
		s->count++;
		s->bytes += e->size;
		entry_join(s, e, &m.env);
		if (t.torn) {
			/* For people only; without it the message is no worse. */
			(void)file_tell(s, e, fd, &(struct form_line){.event = FORM_CUT, .at = now});
			file_dirty(s, e);
		}
		if (fresh) {
			char to[SPOOL_ID_LEN + 1];

			spool_id_text(id, to);
			e->is_new = io_rename(s->queue, name, s->queue, to) != 0;
			file_dirty(s, e);
			s->dir_dirty = true;
		}
		(void)entry_end(s, e, fd);
	}
	spool_message_end(&m);
	return r;
}

int
scan(struct spool *s, uint64_t now)
{
	struct seen v = {0};
	int r = names(s, &v);

	if (v.n)
		qsort(v.id, v.n, sizeof *v.id, by_id);
	for (size_t i = 0; i < v.n && !r; i++) {
		uint64_t id = v.id[i] / 2;

		if (id > s->last_id)
			s->last_id = id;
		/* Both names: the rename of the one replaced nothing, so one of them is a copy by hand. */
		if (i && v.id[i - 1] / 2 == id) {
			s->found.stray++;
			continue;
		}
		r = load(s, id, v.id[i] & 1, now);
	}
	free(v.id);
	return r;
}

void
spool_config_default(struct spool_config *c)
{
	*c = (struct spool_config){
		.message_most = 100000000, .bytes_most = (uint64_t)10 << 30, .messages_most = 100000,
		.arrivals_most = 256, .floor_bytes = 64 << 20, .floor_inodes = 1000,
		.sync = SPOOL_SYNC_AUTO, .retry_first = 60000, .retry_most = 3600000,
		.lifetime = (uint64_t)5 * 86400000, .warn_after = (uint64_t)4 * 3600000,
		.circuit_after = 5, .circuit_first = 30000, .seed = 1,
		.trace_bytes = 8 << 20, .trace_files = 8, .trace_keep = (uint64_t)30 * 86400000,
	};
}

int
spool_open(struct spool **out, int dir, const struct spool_config *c, uint64_t now)
{
	struct spool *s = calloc(1, sizeof *s);
	const struct {
		const char *name;
		int *fd;
	} row[] = {
		{"queue", s ? &s->queue : NULL}, {"damaged", s ? &s->damaged : NULL},
		{"trace", s ? &s->trace : NULL}, {"keep", s ? &s->keep : NULL},
	};
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->c = *c;
	s->random = c->seed;
	s->sealed_end = &s->sealed;
	s->top = s->queue = s->damaged = s->trace = s->keep = s->log = -1;
	/* A descriptor of our own, so that the lock ends with this object. */
	s->top = io_open(dir, ".", O_RDONLY | O_DIRECTORY);
	if (s->top < 0)
		r = s->top;
	else if (flock(s->top, LOCK_EX | LOCK_NB) < 0)
		r = errno == EWOULDBLOCK ? -EBUSY : -errno;
	for (size_t i = 0; i < sizeof row / sizeof *row && !r; i++) {
		*row[i].fd = io_folder(s->top, row[i].name);
		if (*row[i].fd < 0)
			r = *row[i].fd;
	}
	if (!r)
		r = io_fsync(s->top);
	if (!r)
		r = trace_open(s);
	if (!r)
		r = scan(s, now);
	/* What a dead process left in the queue is as durable as we will say it is. */
	if (!r)
		r = io_fsync(s->queue);
	if (r) {
		spool_close(s);
		return r;
	}
	*out = s;
	return 0;
}

struct spool *
spool_close(struct spool *s)
{
	if (!s)
		return NULL;
	assert(!s->job);
	while (s->claims)
		claim_free(&s->claims, s->claims);
	while (s->late)
		claim_free(&s->late, s->late);
	while (s->sealed) {
		struct spool_arrival *a = s->sealed;

		s->sealed = a->next;
		spool_drop_arrival(s, a);
	}
	while (s->first)
		entry_free(s, s->first);
	for (size_t i = 0; i < s->nrelay; i++) {
		free(s->relay[i]->due.v);
		free(s->relay[i]->name);
		free(s->relay[i]);
	}
	free(s->bucket);
	free(s->attention.v);
	io_close(s->log);
	io_close(s->keep);
	io_close(s->trace);
	io_close(s->damaged);
	io_close(s->queue);
	io_close(s->top);
	free(s);
	return NULL;
}

void
spool_configure(struct spool *s, const struct spool_config *c)
{
	uint64_t random = s->random;

	s->c = *c;
	s->random = random;
}

void
spool_found(const struct spool *s, struct spool_found *f)
{
	*f = s->found;
}
