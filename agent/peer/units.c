#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peer/peer.h"

enum { MOST_TEXT = 4 << 20 };  /* bytes of all paths */

struct unit {
	uint64_t id;
	uint32_t at;               /* of its path in text */
};

struct units_list {
	struct unit *v;            /* by id */
	uint32_t n, cap;
	char *text;
	uint32_t ntext, captext;
	bool cut;
};

struct peer_units {
	int root;
	uint32_t walks;            /* that may be made at once, PEER_MOST_WALKS at most */
	uint64_t last;             /* milliseconds: until when walks were counted */
	struct units_list l;
};

struct peer_units *
peer_units_new(int root)
{
	struct peer_units *u = calloc(1, sizeof *u);

	if (u) {
		u->root = root;
		u->walks = PEER_MOST_WALKS;
	}
	return u;
}

static void
list_free(struct units_list *l)
{
	free(l->v);
	free(l->text);
	*l = (struct units_list){0};
}

struct peer_units *
peer_units_free(struct peer_units *u)
{
	if (u)
		list_free(&u->l);
	free(u);
	return NULL;
}

/* Makes room for one more of n bytes; false past a limit or without memory. */
static bool
room(struct units_list *l, size_t n)
{
	if (l->n >= PEER_MOST_UNITS || n > MOST_TEXT - l->ntext)
		return false;
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? 2 * l->cap : 64;
		struct unit *v = realloc(l->v, cap * sizeof *v);
		if (!v)
			return false;
		l->v = v;
		l->cap = cap;
	}
	if (l->ntext + n > l->captext) {
		uint32_t cap = l->captext ? 2 * l->captext : 4096;
		while (cap < l->ntext + n)
			cap *= 2;
		char *text = realloc(l->text, cap);
		if (!text)
			return false;
		l->text = text;
		l->captext = cap;
	}
	return true;
}

static void
add(struct units_list *l, uint64_t id, const char *path)
{
	size_t n = strlen(path) + 1;

	if (!room(l, n)) {
		l->cut = true;
		return;
	}
	l->v[l->n++] = (struct unit){id, l->ntext};
	memcpy(l->text + l->ntext, path, n);
	l->ntext += (uint32_t)n;
}

/* Adds what is in the folder, which is closed. path holds its path of n bytes. */
static void
walk(struct units_list *l, int fd, char path[PEER_UNIT], size_t n, int depth)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;

	if (!d) {
		close(fd);
		l->cut = true;
		return;
	}
	while (!l->cut && (e = readdir(d))) {
		size_t len = strlen(e->d_name), at = n;
		struct stat st;

		if (e->d_name[0] == '.' && (!e->d_name[1] || (e->d_name[1] == '.' && !e->d_name[2])))
			continue;
		if (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN)
			continue;
		int sub = openat(dirfd(d), e->d_name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			continue; /* removed meanwhile, or no folder */
		if (fstat(sub, &st) || n + len + 2 > PEER_UNIT || depth + 1 >= PEER_MOST_DEPTH) {
			close(sub);
			continue;
		}
		if (at)
			path[at++] = '/';
		memcpy(path + at, e->d_name, len + 1);
		add(l, st.st_ino, path);
		walk(l, sub, path, at + len, depth + 1);
		path[n] = '\0';
	}
	closedir(d);
}

static int
by_id(const void *a, const void *b)
{
	const struct unit *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static void
again(struct peer_units *u)
{
	struct units_list l = {0};
	char path[PEER_UNIT] = "";
	struct stat st;
	int fd = openat(u->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return; /* what is known stays known */
	if (!fstat(fd, &st))
		add(&l, st.st_ino, "/");
	walk(&l, fd, path, 0, 0);
	if (l.n)
		qsort(l.v, l.n, sizeof *l.v, by_id);
	list_free(&u->l);
	u->l = l;
}

const char *
peer_units_known(const struct peer_units *u, uint64_t id)
{
	uint32_t lo = 0, hi = u->l.n;

	while (id && lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (u->l.v[mid].id == id)
			return u->l.text + u->l.v[mid].at;
		if (u->l.v[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* Units begin in bursts, and each of them is to be known at its first word; but who sits in a control group
 * that cannot be seen must not make us walk all the time. A walk costs some microseconds a control
 * group: each is earned by a rest of some ten times that. */
static void
again_earned(struct peer_units *u, uint64_t now_ms)
{
	uint64_t rest = 1 + u->l.n / 16, earned = (now_ms - u->last) / rest;

	if (now_ms < u->last || earned >= PEER_MOST_WALKS - u->walks) {
		u->walks = PEER_MOST_WALKS;
		u->last = now_ms;
	} else {
		u->walks += (uint32_t)earned;
		u->last += earned * rest;
	}
}

const char *
peer_units_path(struct peer_units *u, uint64_t id, uint64_t now_ms)
{
	const char *path = peer_units_known(u, id);

	if (path || !id || u->root < 0)
		return path;
	again_earned(u, now_ms);
	if (!u->walks)
		return NULL;
	u->walks--;
	again(u);
	return peer_units_known(u, id);
}

uint32_t
peer_units_count(const struct peer_units *u, bool *cut)
{
	if (cut)
		*cut = u->l.cut;
	return u->l.n;
}
