/*
 * history: generations and saved plans, a folder each.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha.h"
#include "state/inside.h"

static const char *const folder_name[] = {
	[STATE_IN_HISTORY] = "history",
	[STATE_IN_PLANS] = "plans",
};
/* what may lie in a generation's folder */
static const char *const part_name[] = {"plan", "bundle", "about", "ended", "plan.new",
	"bundle.new", "about.new", "ended.new"};
enum { NPART = sizeof part_name / sizeof part_name[0] };

static void
name_of(uint32_t n, char out[16])
{
	snprintf(out, 16, "%06" PRIu32, n);
}

static void
remove_folder(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0) {
		for (int i = 0; i < NPART; i++)
			(void)unlinkat(fd, part_name[i], 0);
		close(fd);
	}
	(void)unlinkat(dir, name, AT_REMOVEDIR);
}

/* Whether a name is a generation's: six digits or more, decimal. */
static bool
is_number(const char *name, uint32_t *n)
{
	uint64_t x;

	if (strlen(name) < 6 || !state_number(name, &x) || x == 0 || x > UINT32_MAX)
		return false;
	*n = (uint32_t)x;
	return true;
}

static DIR *
listing(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

static int
by_number(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return x < y ? -1 : x > y;
}

uint32_t
state_list(struct state *s, enum state_kind k, uint32_t *out, uint32_t most)
{
	DIR *d = listing(s->folder[k]);
	uint32_t n = 0, cap = 0, x;
	uint32_t *all = NULL;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (!is_number(e->d_name, &x))
			continue;
		if (n == cap) {
			uint32_t *more = realloc(all, (cap + 64) * sizeof *all);

			if (!more)
				break;
			all = more;
			cap += 64;
		}
		all[n++] = x;
	}
	if (d)
		closedir(d);
	if (n)
		qsort(all, n, sizeof *all, by_number);
	uint32_t from = n > most ? n - most : 0;
	for (uint32_t i = from; i < n; i++)
		out[i - from] = all[i];
	free(all);
	return n - from;
}

/* A folder below dir, made where it is not there. */
static int
sub_folder(int dir, const char *name)
{
	int fd;

	if (mkdirat(dir, name, 0700) && errno != EEXIST)
		return -errno;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Clears away folders that a death left, and finds the next number, past those set aside too. */
static void
tidy(struct state *s, enum state_kind k)
{
	DIR *d = listing(s->folder[k]);
	struct dirent *e;
	uint32_t n;

	s->next[k] = 1;
	while (d && (e = readdir(d))) {
		char *dot;

		if (!strncmp(e->d_name, ".new", 4)) {
			remove_folder(s->folder[k], e->d_name);
			continue;
		}
		if ((dot = strchr(e->d_name, '.')))
			*dot = '\0';
		if (is_number(e->d_name, &n) && n >= s->next[k] && n < UINT32_MAX)
			s->next[k] = n + 1;
	}
	if (d)
		closedir(d);
}

int
state_open(int dir, state_warn *warn, void *arg, struct state **out)
{
	struct state *s = calloc(1, sizeof *s);
	int err = 0;

	if (!s)
		return -ENOMEM;
	*s = (struct state){.dir = -1, .folder = {-1, -1}, .warn = warn, .arg = arg};
	s->dir = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	if (s->dir < 0)
		err = -errno;
	for (int k = 0; k < 2 && !err; k++) {
		s->folder[k] = sub_folder(s->dir, folder_name[k]);
		if (s->folder[k] < 0)
			err = s->folder[k];
		else
			tidy(s, (enum state_kind)k);
	}
	if (err) {
		state_close(s);
		return err;
	}
	*out = s;
	return 0;
}

struct state *
state_close(struct state *s)
{
	if (!s)
		return NULL;
	for (int k = 0; k < 2; k++)
		if (s->folder[k] >= 0)
			close(s->folder[k]);
	if (s->dir >= 0)
		close(s->dir);
	free(s);
	return NULL;
}

/* ---- about -------------------------------------------------------------------- */

void
state_about_free(struct state_about *a)
{
	free(a->name);
	free(a->policy);
	free(a->point);
	free(a->how);
	*a = (struct state_about){0};
}

static char *
copied(const char *s, bool *ok)
{
	char *p = strndup(s ? s : "", STATE_TEXT);

	if (!p)
		*ok = false;
	return p;
}

bool
state_about_copy(struct state_about *out, const struct state_about *a)
{
	bool ok = true;

	*out = *a;
	out->policy = copied(a->policy, &ok);
	out->point = copied(a->point, &ok);
	out->how = copied(a->how, &ok);
	out->nname = 0;
	out->name = a->nname ? calloc(a->nname, sizeof *out->name) : NULL;
	if (a->nname && !out->name)
		ok = false;
	for (; out->name && out->nname < a->nname; out->nname++)
		out->name[out->nname] = a->name[out->nname];
	if (!ok)
		state_about_free(out);
	return ok;
}

static void
about_bytes(struct buf *b, const struct state_about *a)
{
	char hex[2 * STATE_DIGEST + 1], text[5000];

	state_line(b, "policy", a->policy);
	state_line(b, "point", a->point);
	state_hex(a->digest, STATE_DIGEST, hex);
	state_line(b, "digest", hex);
	state_hex(a->base, STATE_DIGEST, hex);
	state_line(b, "base", hex);
	state_line(b, "how", a->how);
	state_line(b, "boot", a->boot);
	buf_printf(b, "observe %u\nuid %" PRIu32 "\npid %" PRIu32 "\nwhen %" PRIu64 "\nkernel %" PRIu32
	    "\n", a->observe ? 1u : 0u, a->uid, a->pid, a->when, a->kernel);
	for (uint32_t i = 0; i < a->nname; i++) {
		const struct state_name *n = &a->name[i];

		if (n->value == UINT64_MAX)
			snprintf(text, sizeof text, "- %s", n->name);
		else
			snprintf(text, sizeof text, "%" PRIu64 " %s", n->value, n->name);
		state_line(b, n->kind ? "unit" : "user", text);
	}
	state_hex(a->plan_sum, STATE_DIGEST, hex);
	state_line(b, "plan-sha256", hex);
	if (a->has_bundle) {
		state_hex(a->bundle_sum, STATE_DIGEST, hex);
		state_line(b, "bundle-sha256", hex);
	}
	state_sum_line(b);
}

static bool
take_text(char **to, const char *value)
{
	free(*to);
	*to = strndup(value, STATE_TEXT);
	return *to != NULL;
}

static bool
take_name(struct state_about *a, uint32_t kind, char *value)
{
	char *name = strchr(value, ' ');
	uint64_t x = UINT64_MAX;

	if (!name || a->nname == STATE_NAMES || strlen(name + 1) >= STATE_NAME)
		return false;
	*name++ = '\0';
	if (strcmp(value, "-") != 0 && !state_number(value, &x))
		return false;
	if (!a->name && !(a->name = calloc(STATE_NAMES, sizeof *a->name)))
		return false;
	struct state_name *n = &a->name[a->nname];
	snprintf(n->name, sizeof n->name, "%s", name);
	n->kind = kind;
	n->value = x;
	a->nname++;
	return true;
}

static bool
take(struct state_about *a, const char *key, char *value, unsigned *seen)
{
	uint64_t x = 0;
	bool number = state_number(value, &x);
	bool small = number && x <= UINT32_MAX;

	if (!strcmp(key, "policy"))
		return take_text(&a->policy, value);
	if (!strcmp(key, "point"))
		return take_text(&a->point, value);
	if (!strcmp(key, "how"))
		return take_text(&a->how, value);
	if (!strcmp(key, "digest")) {
		*seen |= 1;
		return state_unhex(value, a->digest, STATE_DIGEST);
	}
	if (!strcmp(key, "base"))
		return state_unhex(value, a->base, STATE_DIGEST);
	if (!strcmp(key, "plan-sha256")) {
		*seen |= 2;
		return state_unhex(value, a->plan_sum, STATE_DIGEST);
	}
	if (!strcmp(key, "bundle-sha256")) {
		a->has_bundle = true;
		return state_unhex(value, a->bundle_sum, STATE_DIGEST);
	}
	if (!strcmp(key, "boot")) {
		snprintf(a->boot, sizeof a->boot, "%s", value);
		return true;
	}
	if (!strcmp(key, "user") || !strcmp(key, "unit"))
		return take_name(a, key[1] == 'n', value);
	if (!strcmp(key, "observe"))
		a->observe = x != 0;
	else if (!strcmp(key, "uid"))
		a->uid = (uint32_t)x;
	else if (!strcmp(key, "pid"))
		a->pid = (uint32_t)x;
	else if (!strcmp(key, "kernel"))
		a->kernel = (uint32_t)x;
	else if (!strcmp(key, "when")) {
		a->when = x;
		return number;
	} else
		return true;       /* of a later version */
	return small;
}

static int
read_about(int dir, struct state_about *out)
{
	struct buf b = BUF_INIT(STATE_SMALL);
	struct state_about a = {0};
	unsigned seen = 0;
	char *p, *key, *value;
	int err = state_read(dir, "about", &b);

	for (p = b.p; !err && state_next(&p, &key, &value); )
		if (!take(&a, key, value, &seen))
			err = -EBADMSG;
	if (!err && (seen != 3 || !a.policy || !a.point || !a.how))
		err = -EBADMSG;
	buf_free(&b);
	if (err)
		state_about_free(&a);
	else
		*out = a;
	return err;
}

/* ---- a generation -------------------------------------------------------------- */

static bool
sum_bytes(const uint8_t *p, size_t n, uint8_t out[STATE_DIGEST])
{
	struct sha *h = sha_new();

	if (!h)
		return false;
	sha_add(h, p, n);
	sha_end(h, out);
	return true;
}

int
state_add(struct state *s, enum state_kind k, const uint8_t *plan, size_t nplan,
    const uint8_t *bundle, size_t nbundle, struct state_about *a, uint32_t *number)
{
	struct buf b = BUF_INIT(STATE_SMALL);
	char fresh[24], name[16];
	int dir = -1, err = 0;

	a->has_bundle = bundle != NULL;
	if (s->next[k] == UINT32_MAX)
		return -EOVERFLOW;
	if (!sum_bytes(plan, nplan, a->plan_sum) ||
	    (bundle && !sum_bytes(bundle, nbundle, a->bundle_sum)))
		return -ENOMEM;
	about_bytes(&b, a);
	err = b.err;
	name_of(s->next[k], name);
	snprintf(fresh, sizeof fresh, ".new%s", name);
	remove_folder(s->folder[k], fresh);
	if (!err) {
		dir = sub_folder(s->folder[k], fresh);
		if (dir < 0)
			err = dir;
	}
	if (!err)
		err = state_write(dir, "plan", plan, nplan, true);
	if (!err && bundle)
		err = state_write(dir, "bundle", bundle, nbundle, true);
	if (!err)
		err = state_write(dir, "about", b.p, b.n, true);
	buf_free(&b);
	if (dir >= 0)
		close(dir);
	if (!err && renameat(s->folder[k], fresh, s->folder[k], name))
		err = -errno;
	if (!err && fsync(s->folder[k]))
		err = -errno;
	if (err) {
		remove_folder(s->folder[k], fresh);
		return err;
	}
	*number = s->next[k]++;
	return 0;
}

static int
open_one(struct state *s, enum state_kind k, uint32_t n)
{
	char name[16];
	int dir;

	name_of(n, name);
	dir = openat(s->folder[k], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return dir < 0 ? -errno : dir;
}

int
state_about(struct state *s, enum state_kind k, uint32_t n, struct state_about *out)
{
	int dir = open_one(s, k, n), err;

	if (dir < 0)
		return dir;
	err = read_about(dir, out);
	close(dir);
	if (err == -EBADMSG || err == -ENOENT) {
		state_set_aside(s, k, n, "about is not what was written");
		err = -EBADMSG;
	}
	return err;
}

int
state_about_put(struct state *s, enum state_kind k, uint32_t n, const struct state_about *a)
{
	struct buf b = BUF_INIT(STATE_SMALL);
	int dir = open_one(s, k, n), err;

	if (dir < 0)
		return dir;
	about_bytes(&b, a);
	err = b.err ? b.err : state_write(dir, "about", b.p, b.n, true);
	buf_free(&b);
	close(dir);
	return err;
}

/* Compares the bytes of a file with their sum. */
static int
sum_file(int fd, const uint8_t want[STATE_DIGEST], size_t *size)
{
	uint8_t sum[STATE_DIGEST];
	struct stat st;
	void *p;
	bool ok;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > STATE_BULK)
		return -EBADMSG;
	*size = (size_t)st.st_size;
	p = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	ok = sum_bytes(p, *size, sum);
	munmap(p, *size);
	if (!ok)
		return -ENOMEM;
	return memcmp(sum, want, STATE_DIGEST) == 0 ? 0 : -EBADMSG;
}

static bool
bundle_whole(int dir, const struct state_about *a)
{
	int fd = openat(dir, "bundle", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	size_t size;
	bool ok = fd >= 0 && !sum_file(fd, a->bundle_sum, &size);

	if (fd >= 0)
		close(fd);
	return ok;
}

int
state_plan_put(struct state *s, enum state_kind k, uint32_t n, const uint8_t *plan, size_t nplan,
    struct state_about *a)
{
	int dir = open_one(s, k, n), err;

	if (dir < 0)
		return dir;
	/* a death between the two leaves a sum that is wrong, and a bundle */
	err = sum_bytes(plan, nplan, a->plan_sum) ? state_write(dir, "plan", plan, nplan, true) : -ENOMEM;
	close(dir);
	return err ? err : state_about_put(s, k, n, a);
}

int
state_plan(struct state *s, enum state_kind k, uint32_t n, bool bundle, int *fd, size_t *size)
{
	struct state_about a;
	int err = state_about(s, k, n, &a), dir, f = -1;

	if (err)
		return err;
	dir = open_one(s, k, n);
	if (dir < 0)
		err = dir;
	else if (bundle && !a.has_bundle)
		err = -ENOENT;
	else if ((f = openat(dir, bundle ? "bundle" : "plan", O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		err = errno == ENOENT || errno == ELOOP ? -EBADMSG : -errno;
	else
		err = sum_file(f, bundle ? a.bundle_sum : a.plan_sum, size);
	if (err == -EBADMSG && !bundle && a.has_bundle && bundle_whole(dir, &a))
		err = -EUCLEAN;
	if (dir >= 0)
		close(dir);
	state_about_free(&a);
	if (err) {
		if (f >= 0)
			close(f);
		if (err == -EBADMSG)
			state_set_aside(s, k, n, bundle ? "the bundle is not what was written" :
			    "the plan is not what was written");
		return err;
	}
	*fd = f;
	return 0;
}

int
state_ended(struct state *s, uint32_t n, const char *text)
{
	struct buf b = BUF_INIT(STATE_SMALL);
	int dir = open_one(s, STATE_IN_HISTORY, n), err;

	if (dir < 0)
		return dir;
	state_line(&b, "ended", text);
	state_sum_line(&b);
	err = b.err ? b.err : state_write(dir, "ended", b.p, b.n, true);
	buf_free(&b);
	close(dir);
	return err;
}

void
state_how_ended(struct state *s, uint32_t n, char *out, size_t size)
{
	struct buf b = BUF_INIT(STATE_SMALL);
	int dir = open_one(s, STATE_IN_HISTORY, n);
	char *p, *key, *value;

	out[0] = '\0';
	if (dir < 0)
		return;
	if (!state_read(dir, "ended", &b) && (p = b.p) && state_next(&p, &key, &value))
		snprintf(out, size, "%s", value);
	buf_free(&b);
	close(dir);
}

void
state_drop(struct state *s, enum state_kind k, uint32_t n)
{
	char name[16], dead[24];

	name_of(n, name);
	snprintf(dead, sizeof dead, ".new%s", name);
	/* out of sight first, so that no half of it is ever taken for one */
	if (!renameat(s->folder[k], name, s->folder[k], dead))
		remove_folder(s->folder[k], dead);
}

void
state_prune(struct state *s, const uint32_t *keep, uint32_t nkeep)
{
	static const uint32_t most[] = {STATE_HISTORY, STATE_PLANS};
	enum { LOOK = 4096 };
	uint32_t *v = calloc(LOOK, sizeof *v);

	if (!v)
		return;
	for (int k = 0; k < 2; k++) {
		uint32_t n = state_list(s, (enum state_kind)k, v, LOOK);

		for (uint32_t i = 0; i + most[k] < n; i++) {
			bool kept = false;

			for (uint32_t j = 0; j < nkeep && k == STATE_IN_HISTORY; j++)
				kept = kept || keep[j] == v[i];
			if (!kept)
				state_drop(s, (enum state_kind)k, v[i]);
		}
	}
	free(v);
}

void
state_set_aside(struct state *s, enum state_kind k, uint32_t n, const char *why)
{
	char name[16], aside[32];

	name_of(n, name);
	snprintf(aside, sizeof aside, "%s.damaged", name);
	remove_folder(s->folder[k], aside);
	if (renameat(s->folder[k], name, s->folder[k], aside))
		state_say(s, "%s/%s is damaged (%s) and cannot be set aside: %s", folder_name[k], name,
		    why, strerror(errno));
	else
		state_say(s, "%s/%s is damaged (%s): set aside as %s", folder_name[k], name, why, aside);
	(void)fsync(s->folder[k]);
}
