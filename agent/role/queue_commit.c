/* Group commit: the syncs of a job in a thread, all else in the role's own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "log/log.h"
#include "role/queue_inside.h"

static void *
syncs(void *arg)
{
	struct queue *q = arg;
	const uint64_t one = 1;

	pthread_mutex_lock(&q->commit.lock);
	for (;;) {
		struct spool_job *j = q->commit.todo;

		if (!j && q->commit.keep && !q->commit.kept) {
			const struct queue_keep *k = q->commit.keep;
			int err;

			pthread_mutex_unlock(&q->commit.lock);
			err = spool_keep(q->s, k->name, q->commit.b.p ? q->commit.b.p : "", q->commit.b.n);
			pthread_mutex_lock(&q->commit.lock);
			q->commit.keep_err = err;
			q->commit.kept = true;
			while (write(q->commit.done, &one, sizeof one) < 0 && errno == EINTR)
				;
			continue;
		}
		if (!j && q->commit.stop)
			break;
		if (!j) {
			pthread_cond_wait(&q->commit.wake, &q->commit.lock);
			continue;
		}
		q->commit.todo = NULL;
		pthread_mutex_unlock(&q->commit.lock);
		spool_commit_sync(j);
		pthread_mutex_lock(&q->commit.lock);
		q->commit.synced = true;
		while (write(q->commit.done, &one, sizeof one) < 0 && errno == EINTR)
			;
	}
	pthread_mutex_unlock(&q->commit.lock);
	return NULL;
}

int
queue_commit_start(struct queue *q)
{
	int err;

	pthread_mutex_init(&q->commit.lock, NULL);
	pthread_cond_init(&q->commit.wake, NULL);
	q->commit.done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->commit.done < 0)
		return -errno;
	err = -pthread_create(&q->commit.thread, NULL, syncs, q);
	q->commit.running = !err;
	return err;
}

static void
finish(struct queue *q)
{
	struct spool_job *j = q->job;
	size_t n;

	q->job = NULL;
	n = spool_commit_finish(q->s, j, q->now, q->outcome);
	q->count.commits += n > 0;
	for (size_t i = 0; i < n; i++) {
		struct queue_token *t = q->outcome[i].token;
		struct queue_mail *m = t->mail;
		int err = q->outcome[i].err;

		q->count.committed += !err;
		if (t->report && !err && t->nowed)
			(void)spool_reported_of(q->s, t->about, t->owed, t->nowed, q->now);
		q->count.reports += t->report && !err;
		if (t->report && m && !err)
			m->report = q->outcome[i].id;
		else if (m && !err)
			m->durable = true;
		if (t->report) {
			free(t->owed);
			free(t);
		}
		if (m)
			queue_mail_committed(q, m, err);
	}
}

void
queue_commit_done(struct queue *q)
{
	bool synced, kept;
	uint64_t n;

	if (read(q->commit.done, &n, sizeof n) != sizeof n)
		return;
	pthread_mutex_lock(&q->commit.lock);
	synced = q->commit.synced;
	q->commit.synced = false;
	kept = q->commit.kept;
	if (kept) {
		q->commit.keep = NULL;
		buf_free(&q->commit.b);
		q->commit.kept = false;
	}
	pthread_mutex_unlock(&q->commit.lock);
	if (kept && q->commit.keep_err)
		log_say(LOG_IS_WARNING, NULL, "a state of the role front could not be kept: %s",
		    strerror(-q->commit.keep_err));
	if (synced && q->job)
		finish(q);
	queue_keep(q);
}

void
queue_keep(struct queue *q)
{
	struct queue_keep *k = NULL;

	for (unsigned i = 0; i < QUEUE_KEEPS && !k; i++)
		if (q->keep[i].whole)
			k = &q->keep[i];
	if (!k || q->commit.keep)
		return;
	k->whole = false;
	if (!q->commit.running) {
		(void)spool_keep(q->s, k->name, k->b.p ? k->b.p : "", k->b.n);
		buf_free(&k->b);
		return;
	}
	pthread_mutex_lock(&q->commit.lock);
	q->commit.keep = k;
	q->commit.b = k->b;
	k->b = (struct buf)BUF_INIT(SPOOL_KEEP_MOST);
	pthread_cond_signal(&q->commit.wake);
	pthread_mutex_unlock(&q->commit.lock);
}

void
queue_commit(struct queue *q)
{
	int wanted = spool_commit_wanted(q->s);

	if (!wanted)
		q->leisure = 0;
	else if (wanted == 1 && !q->leisure)
		q->leisure = q->mono;
	if (q->job || !wanted || (wanted == 1 && q->mono - q->leisure < QUEUE_LEISURE_MS && !q->leave))
		return;
	q->leisure = 0;
	q->job = spool_commit_begin(q->s);
	if (!q->job) {
		/* no memory, or records that the disk refuses: a little later */
		q->leisure = q->mono;
		return;
	}
	if (q->commit.running) {
		pthread_mutex_lock(&q->commit.lock);
		q->commit.todo = q->job;
		pthread_cond_signal(&q->commit.wake);
		pthread_mutex_unlock(&q->commit.lock);
		return;
	}
	spool_commit_sync(q->job);
	finish(q);
}

void
queue_commit_stop(struct queue *q)
{
	if (q->commit.running) {
		pthread_mutex_lock(&q->commit.lock);
		q->commit.stop = true;
		pthread_cond_signal(&q->commit.wake);
		pthread_mutex_unlock(&q->commit.lock);
		pthread_join(q->commit.thread, NULL);
		q->commit.running = false;
		q->commit.keep = NULL;
		buf_free(&q->commit.b);
	}
	for (unsigned i = 0; i < QUEUE_KEEPS; i++)
		queue_keep(q);
	if (q->job)
		finish(q);
	q->leave = true;
	for (int i = 0; i < 4 && spool_commit_wanted(q->s); i++)
		queue_commit(q);
	if (q->commit.done >= 0)
		close(q->commit.done);
	q->commit.done = -1;
}
