/* The trace log: what became of messages that have ended. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "spool/inside.h"
#include "spool/io.h"

enum { LOG_NAME = 32 };

static void
log_name(uint64_t no, char out[LOG_NAME])
{
	snprintf(out, LOG_NAME, "%010llu.log", (unsigned long long)no);
}

/* The number of a log's name; 0: it is none. */
static uint64_t
log_no(const char *name)
{
	char again[LOG_NAME];
	uint64_t no = strtoull(name, NULL, 10);

	if (no > UINT64_MAX / 2)
		return 0;
	log_name(no, again);
	return strcmp(again, name) ? 0 : no;
}

/* The lowest and the highest number; 0 where there is none. */
static int
range(struct spool *s, uint64_t *low, uint64_t *high)
{
	int fd = io_open(s->trace, ".", O_RDONLY | O_DIRECTORY), r = 0;
	struct dirent *d;
	DIR *dir;

	*low = *high = 0;
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		io_close(fd);
		return r;
	}
	while ((errno = 0, d = readdir(dir))) {
		uint64_t no = log_no(d->d_name);

		if (no && (!*low || no < *low))
			*low = no;
		if (no > *high)
			*high = no;
	}
	r = -errno;
	closedir(dir);
	return r;
}

/* Removes what is too many or too old. */
static void
forget(struct spool *s)
{
	uint64_t low, high, keep = s->c.trace_files ? s->c.trace_files : 1;

	if (range(s, &low, &high) || !low)
		return;
	/* Numbers are dense but for what people have removed: no long walk. */
	if (high - low > 100000)
		low = high - 100000;
	for (; low < high; low++) {
		char name[LOG_NAME];
		struct stat st;

		log_name(low, name);
		if (high - low >= keep)
			(void)io_unlink(s->trace, name);
		else if (s->c.trace_keep && !fstatat(s->trace, name, &st, AT_SYMLINK_NOFOLLOW) &&
		    (uint64_t)st.st_mtime * 1000 + s->c.trace_keep < s->now)
			(void)io_unlink(s->trace, name);
	}
}

static int
log_open(struct spool *s)
{
	char name[LOG_NAME], last = '\n';
	uint64_t size;
	int r;

	log_name(s->log_no, name);
	s->log = io_open(s->trace, name, O_RDWR | O_CREAT);
	if (s->log < 0) {
		r = s->log;
		s->log = -1;
		return r;
	}
	r = io_size(s->log, &size);
	if (!r && size && io_read(s->log, &last, 1, size - 1) != 1)
		r = -EIO;
	if (r) {
		s->log = io_close(s->log);
		return r;
	}
	s->log_size = size;
	/* A line that a crash cut is ended, so that it spoils no other. */
	s->log_torn = last != '\n';
	return 0;
}

/* No id twice, even when the clock has gone back: those of messages that
 * ended last stand at the log's end. */
static int
last_ids(struct spool *s)
{
	uint64_t from = s->log_size > sizeof s->scratch ? s->log_size - sizeof s->scratch : 0;
	int64_t got = io_read(s->log, s->scratch, sizeof s->scratch, from);

	if (got < 0)
		return (int)got;
	for (int64_t i = 0; i + SPOOL_ID_LEN < got; i++) {
		char text[SPOOL_ID_LEN + 1] = "";
		uint64_t id;

		if ((i && s->scratch[i - 1] != '\n') || s->scratch[i + SPOOL_ID_LEN] != '\t')
			continue;
		memcpy(text, s->scratch + i, SPOOL_ID_LEN);
		id = spool_id_of(text);
		if (id > s->last_id && id < SPOOL_ID_MOST)
			s->last_id = id;
	}
	return 0;
}

int
trace_open(struct spool *s)
{
	uint64_t low, high;
	int r = range(s, &low, &high);

	if (r)
		return r;
	s->log_no = high ? high : 1;
	r = log_open(s);
	return r ? r : last_ids(s);
}

struct lines {
	struct buf b;
	char id[SPOOL_ID_LEN + 1];
};

static void
prefixed(void *arg, const char *p, size_t n)
{
	struct lines *l = arg;

	buf_add(&l->b, l->id, SPOOL_ID_LEN);
	buf_chr(&l->b, '\t');
	buf_add(&l->b, p, n);
	buf_chr(&l->b, '\n');
}

/* Adds whole lines, in one write. */
static int
add(struct spool *s, const struct buf *b)
{
	int r;

	if (b->err)
		return b->err;
	if (s->log >= 0 && s->log_size && s->log_size + b->n > s->c.trace_bytes) {
		s->log = io_close(s->log);
		s->log_no++;
		r = log_open(s);
		if (r)
			return r;
		forget(s);
	}
	if (s->log < 0) {
		r = log_open(s);
		if (r)
			return r;
	}
	if (s->log_torn) {
		r = io_write(s->log, "\n", 1, s->log_size);
		if (r)
			return r;
		s->log_size++;
		s->log_torn = false;
	}
	r = io_write(s->log, b->p, b->n, s->log_size);
	if (r)
		(void)io_cut(s->log, s->log_size);
	else
		s->log_size += b->n;
	return r;
}

void
trace_bury(struct spool *s, uint64_t id, const char *tail, size_t n)
{
	struct lines l = {.b = BUF_INIT(2 * FORM_TAIL_MOST)};

	spool_id_text(id, l.id);
	form_lines(tail, n, id, prefixed, &l);
	(void)add(s, &l.b);
	buf_free(&l.b);
}

int
spool_trace_add(struct spool *s, uint64_t id, uint64_t now, const char *text)
{
	struct lines l = {.b = BUF_INIT(2 * FORM_TAIL_MOST)};
	char at[FORM_TIME + 1], line[SPOOL_TEXT_MOST];
	int n, r;

	s->now = now;
	spool_id_text(id, l.id);
	form_time(now, at);
	n = snprintf(line, sizeof line, "note\t%s\t%s", at, text);
	if (n >= (int)sizeof line)
		n = sizeof line - 1;
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' && line[i] != '\t')
			line[i] = ' ';
	prefixed(&l, line, (size_t)n);
	r = add(s, &l.b);
	buf_free(&l.b);
	return r;
}

struct teller {
	char *buf;
	void (*line)(void *arg, const char *text);
	void *arg;
};

static void
one_line(void *arg, const char *p, size_t n)
{
	struct teller *t = arg;

	if (n >= SPOOL_SCRATCH)
		n = SPOOL_SCRATCH - 1;
	memcpy(t->buf, p, n);
	t->buf[n] = 0;
	t->line(t->arg, t->buf);
}

/* From the file of a message that lives. */
static int
living(struct spool *s, const struct entry *e, struct teller *t)
{
	char name[SPOOL_NAME], *tail = NULL;
	int fd, r = 0;

	file_name(e, name);
	fd = io_open(s->queue, name, O_RDONLY);
	if (fd < 0)
		return fd;
	tail = malloc(e->tail);
	if (!tail)
		r = -ENOMEM;
	else if (io_read(fd, tail, e->tail, FORM_FRONT + e->size) != (int64_t)e->tail)
		r = -EIO;
	else
		form_lines(tail, e->tail, e->id, one_line, t);
	free(tail);
	io_close(fd);
	return r;
}

/* From one log; *found when a line was its. */
static int
buried(struct spool *s, uint64_t no, const char *id, struct teller *t, bool *found)
{
	char name[LOG_NAME], *run = s->scratch;
	uint64_t at = 0;
	int fd, r = 0;

	log_name(no, name);
	fd = io_open(s->trace, name, O_RDONLY);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	for (;;) {
		int64_t got = io_read(fd, run, sizeof s->scratch, at);
		char *p = run, *nl;

		if (got < 0)
			r = (int)got;
		if (got <= 0)
			break;
		while ((nl = memchr(p, '\n', (size_t)(run + got - p)))) {
			if (nl - p > SPOOL_ID_LEN && !memcmp(p, id, SPOOL_ID_LEN) && p[SPOOL_ID_LEN] == '\t') {
				*found = true;
				one_line(t, p + SPOOL_ID_LEN + 1, (size_t)(nl - p) - SPOOL_ID_LEN - 1);
			}
			p = nl + 1;
		}
		/* The line that was cut by the end of the run is read again; none is longer than a run. */
		at += p > run ? (uint64_t)(p - run) : (uint64_t)got;
		if ((size_t)got < sizeof s->scratch)
			break;
	}
	io_close(fd);
	return r;
}

int
spool_trace(struct spool *s, uint64_t id, void (*line)(void *arg, const char *text), void *arg)
{
	const struct entry *e = entry_find(s, id);
	struct teller t = {.line = line, .arg = arg};
	char text[SPOOL_ID_LEN + 1];
	uint64_t low, high;
	bool found = false;
	int r;

	t.buf = malloc(SPOOL_SCRATCH);
	if (!t.buf)
		return -ENOMEM;
	if (e && !e->dead && !e->damaged) {
		r = living(s, e, &t);
		free(t.buf);
		return r;
	}
	spool_id_text(id, text);
	r = range(s, &low, &high);
	if (!r && high - low > 100000)
		low = high - 100000;
	for (; !r && low && low <= high; low++)
		r = buried(s, low, text, &t, &found);
	free(t.buf);
	return r ? r : found ? 0 : -ENOENT;
}
