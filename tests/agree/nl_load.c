/*
 * nl_load: the rules of a plan file, put into the kernel of this network namespace
 * by lib/nl, and shown as lib/nl reads them.
 *
 *     nl_load PLAN            stage, swap, sweep
 *     nl_load --old OLD PLAN  OLD's sets changed in place where that can be, else as above;
 *                             says "in place" or why not, to standard error
 *     nl_load --stage PLAN    only what nothing refers to yet
 *     nl_load --remove PLAN   all of it gone again
 *     nl_load --again PLAN    0 when it is in force as it stands, else 1
 *     nl_load --batch PLAN    its first two batches to standard output, the kernel not asked
 *     nl_load --near N PLAN   another plan to standard output, which differs in elements of the
 *                             N-th set of ranges; 3 where there is none
 *     nl_load --show          every rule's bytecode, every set's elements
 *
 * --flags N: of the table. --most N: bytes of a transaction. --salt N: other generation names. --keep SECONDS: stay, with the
 * socket that owns the table. Prints the time of each step to standard error with --times.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "nl/batch.h"
#include "nl/dump.h"
#include "nl/edit.h"
#include "nl/talk.h"
#include "plan/plan.h"

enum { TRIES = 10, INET = 1 };

static bool times;
static size_t most;
static const struct nl_host host;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double
step(const char *what, double since)
{
	double t = now();

	if (times)
		fprintf(stderr, "%s %.6f\n", what, t - since);
	return now();
}

/* The most that was resident since exec. */
static void
memory(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];

	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "VmHWM:", 6))
			fprintf(stderr, "memory %ld KB\n", strtol(line + 6, NULL, 10));
	if (f)
		fclose(f);
}

static int
uid_of(void *arg, const char *name, uint32_t *uid)
{
	struct passwd *p = getpwnam(name);

	(void)arg;
	if (!p)
		return -ENOENT;
	*uid = p->pw_uid;
	return 0;
}

static int
cgroup_of(void *arg, const char *path, uint64_t *id)
{
	char full[4200];
	struct stat st;

	(void)arg;
	snprintf(full, sizeof full, "/sys/fs/cgroup/%s", path);
	if (stat(full, &st))
		return -errno;
	*id = st.st_ino;
	return 0;
}

static void
die(const char *what, int err)
{
	fprintf(stderr, "nl_load: %s: %s\n", what, strerror(-err));
	exit(2);
}

static void *
slurp(struct arena *a, const char *path, size_t *n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t at = 0;
	ssize_t k;
	char *p;

	if (fd < 0 || fstat(fd, &st))
		die(path, -errno);
	p = arena_alloc(a, (size_t)st.st_size + 1);
	while (at < (size_t)st.st_size && (k = read(fd, p + at, (size_t)st.st_size - at)) > 0)
		at += (size_t)k;
	close(fd);
	*n = at;
	return p;
}

/* Builds and sends one of the batches. -ERESTART: somebody else was quicker. */
static int
send_one(struct nl_talk *t, int (*build)(const struct nl_job *, struct nl_batch *, const char **),
    const struct nl_job *j, const char *what, uint32_t *gen)
{
	struct nl_faults *f = calloc(1, sizeof *f);
	const char *who = NULL;
	struct nl_batch b;
	double since = now();
	int err = build(j, &b, &who);

	since = step("build", since);
	if (err) {
		fprintf(stderr, "nl_load: %s: %s: %s\n", what, who, strerror(-err));
		exit(2);
	}
	if (b.changes)
		err = nl_talk_send(t, &b, f);
	if (times)
		fprintf(stderr, "%zu bytes, %u messages\n", b.bytes.n, b.nitem);
	step(what, since);
	for (size_t i = 0; i < f->n && err != -ERESTART; i++)
		fprintf(stderr, "nl_load: %s: %s: %s %s\n", what,
		    f->v[i].item ? nl_item_text(j->a, f->v[i].item) : "?",
		    strerror(-f->v[i].err), f->v[i].text);
	if (err && !f->n)
		fprintf(stderr, "nl_load: %s: %s\n", what, strerror(-err));
	if (!err) {
		err = (int)b.changes;
		*gen = nl_gen_after(j->genid, &b);
	}
	nl_batch_free(&b);
	free(f);
	if (err < 0 && err != -ERESTART)
		exit(2);
	return err;
}

/* The old plan's sets changed in place: false, and the reason told, where that cannot be. */
static bool
edit(struct nl_talk *t, const struct plan *old, const struct plan *p, uint32_t flags)
{
	struct arena *a = arena_new();
	struct nl_job j = {.a = a, .table_flags = flags, .seq = 1, .in_place = true,
	    .most = most ? most : nl_talk_most(t)};
	uint8_t digest[NL_DIGEST];
	struct nl_form *from, *to = NULL;
	struct nl_salt salt;
	const char *who = "no stamp";
	struct nl_dump d;
	struct nl_batch b;
	double since;
	int err = nl_talk_dump(t, a, INET, p->table, NL_DUMP_RULES, TRIES, &d);

	if (err)
		die("dump", err);
	/* an agent has this from before */
	err = nl_stamp(&d, p->table, digest, &salt);
	if (!err)
		err = nl_form_as(a, old, &host, salt, &d, &from, &who);
	if (!err) {
		since = now();
		err = nl_talk_dump(t, a, INET, p->table, NL_DUMP_RULES, TRIES, &d);
		since = step("dump", since);
		if (!err)
			err = nl_form_over(a, p, &host, from, &to, &who);
		since = step("form", since);
		j.have = &d;
		j.old = from;
		j.form = to;
	}
	if (!err)
		err = nl_edit(&j, &b, &who);
	if (err) {
		fprintf(stderr, "%s\n", who);
		arena_free(a);
		return false;
	}
	since = step("build", since);
	err = nl_talk_send(t, &b, NULL);
	step("edit", since);
	if (err)
		die("edit", err);
	fputs("in place\n", stderr);
	nl_batch_free(&b);
	arena_free(a);
	return true;
}

static void
apply(struct nl_talk *t, const struct plan *p, struct nl_salt salt, uint32_t flags,
    bool stage_only)
{
	for (int tries = 0; tries < TRIES; tries++) {
		struct arena *a = arena_new();
		struct nl_job j = {.a = a, .table_flags = flags, .seq = 1};
		const char *who = NULL;
		struct nl_form *f;
		struct nl_dump d;
		double since = now();
		int err = nl_talk_dump(t, a, INET, p->table, NL_DUMP_RULES, TRIES, &d);

		if (err)
			die("dump", err);
		since = step("dump", since);
		err = nl_form_as(a, p, &host, salt, &d, &f, &who);
		if (err)
			die(who, err);
		step("form", since);
		j.form = f;
		j.have = &d;
		j.genid = d.genid;
		j.most = most ? most : nl_talk_most(t);
		err = send_one(t, nl_stage, &j, "stage", &j.genid);
		if (err >= 0 && !stage_only)
			err = send_one(t, nl_swap, &j, "swap", &j.genid);
		if (err >= 0 && !stage_only) {
			err = nl_talk_dump(t, a, INET, p->table, NL_DUMP_RULES, TRIES, &d);
			if (err)
				die("dump", err);
			j.genid = d.genid;
			err = send_one(t, nl_sweep, &j, "sweep", &j.genid);
		}
		arena_free(a);
		if (err >= 0)
			return;
	}
	die("apply", -ERESTART);
}

static void
show_bytes(struct buf *b, const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		buf_printf(b, "%02x", p[i]);
}

static void
show(struct nl_talk *t)
{
	struct arena *a = arena_new();
	struct buf b = BUF_INIT(1 << 30);
	struct nl_dump d;
	int err = nl_talk_dump(t, a, 0, NULL, NL_DUMP_ALL, TRIES, &d);

	if (err)
		die("dump", err);
	for (uint32_t i = 0; i < d.ntable; i++)
		buf_printf(&b, "table %u %s flags %u\n", d.table[i].family, d.table[i].name,
		    d.table[i].flags);
	for (uint32_t i = 0; i < d.nobject; i++)
		buf_printf(&b, "object %s %s type %u\n", d.object[i].table, d.object[i].name,
		    d.object[i].type);
	for (uint32_t i = 0; i < d.nset; i++) {
		const struct nl_set *s = &d.set[i];

		buf_printf(&b, "set %s %s flags %u key %u:%u data %u timeout %llu size %u fields %u\n",
		    s->table, s->name, s->flags, s->key_type, s->key_len, s->data_type,
		    (unsigned long long)s->timeout, s->size, s->nfield);
		for (uint32_t k = 0; k < s->nelem; k++) {
			const struct nl_elem *e = &s->elem[k];

			buf_printf(&b, "element %s ", s->name);
			show_bytes(&b, e->key, e->key ? s->key_len : 0);
			buf_str(&b, e->end ? " end" : "");
			if (e->key_end) {
				buf_str(&b, " to ");
				show_bytes(&b, e->key_end, s->key_len);
			}
			if (e->more && s->data_type == 0xffffff00) {
				buf_str(&b, " : ");
				nl_verdict_text(&b, e->more->verdict);
			}
			if (e->more && e->more->data.n) {
				buf_str(&b, " = ");
				show_bytes(&b, e->more->data.p, e->more->data.n);
			}
			buf_chr(&b, '\n');
		}
	}
	for (uint32_t i = 0; i < d.nchain; i++) {
		const struct nl_chain *c = &d.chain[i];

		buf_printf(&b, "chain %s %s", c->table, c->name);
		if (c->base)
			buf_printf(&b, " type %s hook %u priority %d policy %u", c->type, c->hook,
			    c->priority, c->policy);
		buf_chr(&b, '\n');
	}
	for (uint32_t i = 0; i < d.nrule; i++) {
		const struct nl_rule *r = &d.rule[i];

		buf_printf(&b, "rule %s %s comment %s\n", r->table, r->chain,
		    r->comment ? r->comment : "-");
		for (uint32_t k = 0; k < r->nexpr; k++) {
			buf_str(&b, "  ");
			nl_expr_text(&b, &r->expr[k]);
			buf_chr(&b, '\n');
		}
	}
	if (b.err)
		die("show", b.err);
	if (b.n)
		fwrite(b.p, 1, b.n, stdout);
	buf_free(&b);
	arena_free(a);
}

static const struct nl_host host = {.uid = uid_of, .cgroup = cgroup_of};

/* Makes a set another: without its middle, its first range shorter, its last one too. */
static void
bend(struct arena *a, struct plan_set *s)
{
	size_t mid = s->n / 2, left = s->n - mid - 1, last = s->n > 1 ? s->n - 2 : 0;

	if (s->key == PLAN_KEY_IPV4) {
		struct addr_range4 *v = memcpy(arena_array(a, s->n, struct addr_range4), s->v4,
		    s->n * sizeof *v);

		memmove(v + mid, v + mid + 1, left * sizeof *v);
		v[0].lo += v[0].lo < v[0].hi;
		v[last].hi -= v[last].lo < v[last].hi;
		s->v4 = v;
	} else if (s->key == PLAN_KEY_IPV6) {
		struct addr_range6 *v = memcpy(arena_array(a, s->n, struct addr_range6), s->v6,
		    s->n * sizeof *v);

		memmove(v + mid, v + mid + 1, left * sizeof *v);
		v[0].lo += v[0].lo < v[0].hi;
		v[last].hi -= v[last].lo < v[last].hi;
		s->v6 = v;
	} else {
		struct port_range *v = memcpy(arena_array(a, s->n, struct port_range), s->port,
		    s->n * sizeof *v);

		memmove(v + mid, v + mid + 1, left * sizeof *v);
		v[0].lo = (uint16_t)(v[0].lo + (v[0].lo < v[0].hi));
		v[last].hi = (uint16_t)(v[last].hi - (v[last].lo < v[last].hi));
		s->port = v;
	}
	if (s->comment) {
		const char **c = memcpy(arena_array(a, s->n, const char *), s->comment,
		    s->n * sizeof *c);

		memmove(c + mid, c + mid + 1, left * sizeof *c);
		s->comment = c;
	}
	s->n--;
}

static int
near(struct arena *a, struct plan *p, uint32_t number)
{
	struct buf b = BUF_INIT(1 << 30);

	for (uint32_t i = 0; i < p->nset; i++) {
		struct plan_set *s = &p->set[i];

		if (!s->name || s->kind != PLAN_SET || !s->interval || s->n < 2 ||
		    s->key == PLAN_KEY_UID || number--)
			continue;
		bend(a, s);
		plan_seal(p);
		plan_write(&b, p);
		if (b.err)
			die("near", b.err);
		fwrite(b.p, 1, b.n, stdout);
		buf_free(&b);
		return 0;
	}
	return 3;
}

static struct plan *
plan_at(struct arena *a, const char *path)
{
	const char *wrong;
	struct plan *p;
	size_t n;
	void *bytes = slurp(a, path, &n);

	wrong = plan_read(a, bytes, n, &p);
	if (wrong) {
		fprintf(stderr, "nl_load: %s: %s\n", path, wrong);
		exit(2);
	}
	return p;
}

int
main(int argc, char **argv)
{
	const char *path = NULL, *old = NULL, *who = NULL, *mode = "";
	static struct arena *a; /* both live as long as the process */
	static struct nl_talk *t;
	struct nl_salt salt = {0};
	uint32_t flags = 0, number = 0;
	unsigned keep = 0;
	struct nl_form *f;
	struct nl_dump d;
	struct plan *p;
	double since;
	int err;

	a = arena_new();
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--flags") && i + 1 < argc)
			flags = (uint32_t)strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--salt") && i + 1 < argc)
			salt.set = salt.chain = (uint32_t)strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--keep") && i + 1 < argc)
			keep = (unsigned)strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--most") && i + 1 < argc)
			most = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--old") && i + 1 < argc)
			old = argv[++i];
		else if (!strcmp(argv[i], "--near") && i + 1 < argc) {
			number = (uint32_t)strtoul(argv[i + 1], NULL, 0);
			mode = argv[i++];
		} else if (!strcmp(argv[i], "--times"))
			times = true;
		else if (argv[i][0] == '-')
			mode = argv[i];
		else
			path = argv[i];
	}
	err = nl_talk_open(&t);
	if (err && strcmp(mode, "--batch"))
		die("socket", err);
	if (!strcmp(mode, "--show")) {
		show(t);
		return 0;
	}
	if (!path) {
		fputs("usage: nl_load [--stage|--remove|--again|--old OLD] PLAN | nl_load --show\n", stderr);
		return 2;
	}
	since = now();
	p = plan_at(a, path);
	step("read", since);
	if (!strcmp(mode, "--near"))
		return near(a, p, number);
	if (!strcmp(mode, "--batch")) {
		struct nl_job j = {.a = a, .seq = 1};
		struct nl_batch b[2];

		err = nl_form(a, p, &host, salt, &f, &who);
		if (err)
			die(who, err);
		j.form = f;
		if (nl_stage(&j, &b[0], &who) || nl_swap(&j, &b[1], &who))
			die(who, -EMSGSIZE);
		for (int i = 0; i < 2; i++)
			fwrite(b[i].bytes.p, 1, b[i].bytes.n, stdout);
		return 0;
	}
	if (!strcmp(mode, "--again") || !strcmp(mode, "--remove")) {
		struct nl_job j = {.a = a, .have = &d, .seq = 1, .table_flags = flags};

		err = nl_talk_dump(t, a, INET, p->table, NL_DUMP_RULES, TRIES, &d);
		if (err)
			die("dump", err);
		err = nl_form_as(a, p, &host, salt, &d, &f, &who);
		if (err)
			die(who, err);
		j.form = f;
		if (!strcmp(mode, "--again"))
			return !nl_in_force(f, &d);
		return send_one(t, nl_remove, &j, "remove", &j.genid) < 0;
	}
	if (!old || !edit(t, plan_at(a, old), p, flags))
		apply(t, p, salt, flags, !strcmp(mode, "--stage"));
	if (times)
		memory();
	if (keep) {
		puts("loaded");
		fflush(stdout);
		sleep(keep);
	}
	nl_talk_close(t);
	arena_free(a);
	return 0;
}
