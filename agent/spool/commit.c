/* Group commit: many messages share the syncs. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "spool/inside.h"
#include "spool/io.h"

struct spool_job {
	enum spool_sync how;
	int queue;                   /* a descriptor of its own is not needed: the spool outlives the job */
	size_t n, ndirty;
	bool changed;                /* records wait too */
	int folder_err;
	atomic_size_t next;          /* sync to be taken up */
	atomic_bool started;
	struct spool_arrival *a[SPOOL_GROUP_MOST];
	int fd[SPOOL_GROUP_MOST + SPOOL_DIRTY_MOST];  /* arrivals, then changed files */
	int err[SPOOL_GROUP_MOST + SPOOL_DIRTY_MOST];
};

int
spool_commit_wanted(const struct spool *s)
{
	if (s->job)
		return 0;
	return s->sealed ? 2 : s->dirty || s->dir_dirty || s->late;
}

/* Either name will do: the final one tells damage from an interrupted arrival. What is
 * refused now is asked for again with the next commit. */
static void
final_name(struct spool *s, struct entry *e)
{
	char from[SPOOL_NAME], to[SPOOL_NAME];

	file_name(e, from);
	e->is_new = false;
	file_name(e, to);
	if (io_rename(s->queue, from, s->queue, to)) {
		e->is_new = true;
		file_dirty(s, e);
	}
}

/* Files whose records wait; beyond a few the number does not matter. */
static size_t
changed(const struct spool *s)
{
	size_t n = 0;

	for (const struct entry *e = s->dirty; e && n < SPOOL_SYNC_FEW; e = e->dirty)
		n++;
	return n;
}

struct spool_job *
spool_commit_begin(struct spool *s)
{
	struct entry *again = NULL;
	struct spool_job *j;

	assert(!s->job);
	late_again(s);
	if (!spool_commit_wanted(s))
		return NULL;
	if (!s->sealed && !s->dirty && !s->dir_dirty)
		return NULL;
	j = malloc(sizeof *j);
	if (!j)
		return NULL;
	j->queue = s->queue;
	j->n = j->ndirty = 0;
	j->changed = s->dirty != NULL;
	j->folder_err = 0;
	atomic_init(&j->next, 0);
	atomic_init(&j->started, false);
	while (s->sealed && j->n < SPOOL_GROUP_MOST) {
		struct spool_arrival *a = s->sealed;

		s->sealed = a->next;
		if (!s->sealed)
			s->sealed_end = &s->sealed;
		j->fd[j->n] = a->fd;
		j->a[j->n++] = a;
	}
	j->how = s->c.sync;
	if (j->how == SPOOL_SYNC_AUTO)
		j->how = j->n + changed(s) < SPOOL_SYNC_FEW ? SPOOL_SYNC_EACH : SPOOL_SYNC_FS;
	/* One by one each needs its descriptor; what finds none waits for the next. */
	while (s->dirty && (j->how == SPOOL_SYNC_FS || j->ndirty < SPOOL_DIRTY_MOST)) {
		struct entry *e = s->dirty;

		if (j->how == SPOOL_SYNC_EACH) {
			char name[SPOOL_NAME];
			int fd;

			file_name(e, name);
			fd = io_open(s->queue, name, O_RDWR);
			if (fd < 0 && fd != -ENOENT)
				break;
			if (fd >= 0)
				j->fd[j->n + j->ndirty++] = fd;
		}
		s->dirty = e->dirty;
		e->is_dirty = false;
		if (e->is_new)
			again = e;
	}
	if (again)
		final_name(s, again);
	s->dir_dirty = false;
	s->job = j;
	return j;
}

void
spool_commit_sync(struct spool_job *j)
{
	size_t all = j->n + j->ndirty, i;

	if (j->how == SPOOL_SYNC_FS && (j->n || j->changed)) {
		if (atomic_fetch_add(&j->next, 1))
			return;
		j->folder_err = io_syncfs(j->queue);
		for (i = 0; i < all; i++)
			j->err[i] = j->folder_err;
		return;
	}
	/* All pages on their way first: then one commit of the file system's journal
	 * serves all, and the waits overlap. */
	if (all > 1 && !atomic_exchange(&j->started, true))
		for (i = 0; i < all; i++)
			io_start(j->fd[i]);
	/* In any order: nothing is told before all are done. */
	while ((i = atomic_fetch_add(&j->next, 1)) <= all)
		if (i < all)
			j->err[i] = io_fdatasync(j->fd[i]);
		else
			j->folder_err = io_fsync(j->queue);
}

size_t
spool_commit_finish(struct spool *s, struct spool_job *j, uint64_t now, struct spool_outcome *out)
{
	size_t n = j->n;

	assert(s->job == j);
	s->now = now;
	/* The kernel tells an error once and then takes the pages for clean: nothing
	 * that this folder says later can be believed. */
	if (j->folder_err)
		s->found.sick = true;
	for (size_t i = 0; i < n; i++) {
		struct spool_arrival *a = j->a[i];
		struct entry *e = a->e;
		int err = j->err[i] ? j->err[i] : j->folder_err;

		out[i] = (struct spool_outcome){.token = a->token, .id = a->id, .err = err};
		if (err) {
			spool_drop_arrival(s, a);
			continue;
		}
		s->bytes += e->size;
		s->bytes -= a->reserved;
		s->promised -= a->reserved;
		s->arrivals--;
		entry_join(s, e, NULL);
		final_name(s, e);
		io_close(a->fd);
		free(a);
	}
	for (size_t i = n; i < n + j->ndirty; i++) {
		s->found.unsynced += j->err[i] != 0;
		io_close(j->fd[i]);
	}
	free(j);
	s->job = NULL;
	return n;
}

size_t
spool_commit(struct spool *s, uint64_t now, struct spool_outcome *out)
{
	struct spool_job *j;

	s->now = now;
	j = spool_commit_begin(s);
	if (!j)
		return 0;
	spool_commit_sync(j);
	return spool_commit_finish(s, j, now, out);
}
