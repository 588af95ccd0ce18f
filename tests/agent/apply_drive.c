/*
 * apply_drive: the role apply, driven by lines, for tests and benchmarks.
 *
 *     apply_drive [--no-owner] [--no-jail] [--keep-socket]
 *
 * Each line of standard input is a question or an order:
 *
 *     do PLAN [gen=N] [user:NAME=N] [unit:PATH=N] ...      host [user:NAME=N] ...
 *     block ADDRESS SECONDS     pause SECONDS     count     check     record FILE     remove
 *     kill      the role, at once        start      a new one        stat    its process
 *     force PLAN [user:NAME=N] ...       whether it is in force, as seen from here
 *
 * What the role tells comes out as a line of JSON each; "gone" when it has ended.
 * --keep-socket: the netlink socket is ours and the role gets it, as from mailreeved.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/sanitized.h"
#include "ipc/apply.h"
#include "log/log.h"
#include "nl/talk.h"
#include "plan/plan.h"
#include "role/role.h"

enum { MOST_LINE = 1 << 16 };

static struct role_apply opt = {.netlink = -1};
static struct nl_talk *kept;
static int chan = -1;
static pid_t role;
static uint32_t id;
static char record_to[4096];
static int status;                 /* of the last role that ended by itself */

static void
start(void)
{
	int fd[2];

	if (chan >= 0)
		close(chan);
	if (ipc_pair(fd))
		exit(2);
	fflush(stdout);
	role = fork();
	if (role < 0)
		exit(2);
	if (role == 0) {
		close(fd[0]);
		close(0);
		opt.chan = fd[1];
		opt.uid = getuid();
		opt.gid = getgid();
		log_begin("apply");
		exit(role_apply(&opt));
	}
	close(fd[1]);
	chan = fd[0];
}

static void
reap(void)
{
	if (!role)
		return;
	waitpid(role, &status, 0);
	role = 0;
	status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
	printf("{\"gone\": %d}\n", status);
	fflush(stdout);
}

/* ---- out ------------------------------------------------------------------------------ */

static const char *const ask_word[APPLY_NASK] = {
	[APPLY_DO] = "do", [APPLY_HOST] = "host", [APPLY_RECORD] = "record", [APPLY_BLOCK] = "block",
	[APPLY_COUNT] = "count", [APPLY_CHECK] = "check", [APPLY_REMOVE] = "remove",
	[APPLY_PAUSE] = "pause",
};
static const char *const tell_word[APPLY_NTELL] = {
	[APPLY_DONE] = "done", [APPLY_RECORDED] = "recorded", [APPLY_COUNTED] = "counted",
	[APPLY_CHECKED] = "checked", [APPLY_EVENT] = "event",
};
static const char *const event_word[APPLY_NEVENT] = {
	[APPLY_NOTE] = "note", [APPLY_DRIFT] = "drift", [APPLY_HEALED] = "healed",
	[APPLY_HEAL_FAILED] = "heal-failed", [APPLY_BACKS_OFF] = "backs-off",
	[APPLY_FOREIGN] = "foreign", [APPLY_LOST] = "lost",
};

static void
number(struct buf *b, const char *key, uint64_t v)
{
	buf_printf(b, ", \"%s\": %llu", key, (unsigned long long)v);
}

static void
word(struct buf *b, const char *key, const char *v)
{
	buf_printf(b, ", \"%s\": ", key);
	buf_json(b, v);
}

static void
put_done(struct buf *b, const void *body)
{
	const struct apply_done *d = body;

	number(b, "err", d->err);
	number(b, "gen", d->gen);
	word(b, "text", d->text);
	number(b, "stage_us", d->stage_us);
	number(b, "swap_us", d->swap_us);
	number(b, "changes", d->changes);
	number(b, "tries", d->tries);
}

static void
put_recorded(struct buf *b, const void *body)
{
	const struct apply_recorded *d = body;

	number(b, "err", d->err);
	number(b, "gen", d->gen);
	word(b, "text", d->text);
}

static void
put_counted(struct buf *b, const void *body)
{
	const struct apply_counted *d = body;

	number(b, "err", d->err);
	word(b, "text", d->text);
	buf_str(b, ", \"counters\": {");
	for (uint32_t i = 0; i < d->ncounter; i++) {
		buf_str(b, i ? ", " : "");
		buf_json(b, d->counter[i].name);
		buf_printf(b, ": %llu", (unsigned long long)d->counter[i].packets);
	}
	buf_str(b, "}");
}

static void
put_checked(struct buf *b, const void *body)
{
	const struct apply_checked *d = body;

	number(b, "err", d->err);
	number(b, "gen", d->gen);
	number(b, "in_force", d->in_force);
	number(b, "owner", d->owner);
	number(b, "persist", d->persist);
	number(b, "digest", d->ndigest);
	word(b, "features", d->features);
	word(b, "text", d->text);
	number(b, "polls", d->polls);
	number(b, "heals", d->heals);
}

static void
put_event(struct buf *b, const void *body)
{
	const struct apply_event *d = body;

	word(b, "kind", d->kind < APPLY_NEVENT ? event_word[d->kind] : "?");
	number(b, "gen", d->gen);
	number(b, "pid", d->pid);
	word(b, "program", d->program);
	word(b, "what", d->what);
	number(b, "us", d->us);
	number(b, "times", d->times);
}

static void (*const put[APPLY_NTELL])(struct buf *, const void *) = {
	[APPLY_DONE] = put_done, [APPLY_RECORDED] = put_recorded, [APPLY_COUNTED] = put_counted,
	[APPLY_CHECKED] = put_checked, [APPLY_EVENT] = put_event,
};

/* A recording that came along: its size, and the bytes where they were asked for. */
static void
put_file(struct buf *b, int fd, bool asked)
{
	const uint8_t *p;
	size_t n;

	if (ipc_map(fd, 1u << 30, &p, &n))
		return;
	number(b, "record", n);
	if (asked && record_to[0]) {
		FILE *f = fopen(record_to, "wb");

		if (f) {
			fwrite(p, 1, n, f);
			fclose(f);
		}
	}
	ipc_unmap(p, n);
}

static void
print(struct ipc_in *in)
{
	struct buf b = BUF_INIT(1 << 20);
	const void *body;

	if (in->type >= APPLY_NTELL || !put[in->type] ||
	    ipc_body(in, &apply_tell_shape[in->type], &body)) {
		printf("{\"odd\": %u}\n", in->type);
		return;
	}
	buf_printf(&b, "{\"tell\": \"%s\", \"id\": %u", tell_word[in->type], in->id);
	put[in->type](&b, body);
	if (in->nfd)
		put_file(&b, in->fd[0], in->type == APPLY_RECORDED);
	printf("%s}\n", b.p);
	fflush(stdout);
	buf_free(&b);
}

/* ---- in ------------------------------------------------------------------------------- */

/* user:NAME=N, unit:PATH=N; -1: there is none. */
static bool
read_name(char *w, struct apply_name *out)
{
	char *eq = strrchr(w, '=');

	if (!eq || (strncmp(w, "user:", 5) != 0 && strncmp(w, "unit:", 5) != 0))
		return false;
	*eq = 0;
	*out = (struct apply_name){w[1] == 's' ? APPLY_USER : APPLY_UNIT, w + 5,
	    (uint64_t)strtoll(eq + 1, NULL, 10)};
	return true;
}

static int
plan_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), file = -1;
	struct stat st;
	char *p;

	if (fd < 0 || fstat(fd, &st) || !(p = malloc((size_t)st.st_size + 1)))
		exit(2);
	if (read(fd, p, (size_t)st.st_size) == st.st_size)
		file = ipc_file("plan", p, (size_t)st.st_size);
	free(p);
	close(fd);
	return file;
}

static int
uid_of(void *arg, const char *name, uint32_t *uid)
{
	const struct apply_do *q = arg;

	for (uint32_t i = 0; i < q->nname; i++)
		if (q->name[i].kind == APPLY_USER && !strcmp(q->name[i].name, name)) {
			*uid = (uint32_t)apply_number(&q->name[i]);
			return 0;
		}
	return -ENOENT;
}

static int
cgroup_of(void *arg, const char *path, uint64_t *inode)
{
	const struct apply_do *q = arg;

	for (uint32_t i = 0; i < q->nname; i++)
		if (q->name[i].kind == APPLY_UNIT && !strcmp(q->name[i].name, path)) {
			*inode = apply_number(&q->name[i]);
			return 0;
		}
	return -ENOENT;
}

/* Not the role's word, and not its code: names, digests, stamp and numbers of rules. */
static void
force(int file, struct apply_do *q)
{
	struct nl_host h = {uid_of, cgroup_of, q};
	struct arena *a = arena_new();
	uint8_t digest[NL_DIGEST];
	struct nl_salt salt = {0};
	struct nl_talk *t = NULL;
	struct nl_form *f;
	struct nl_dump d;
	struct plan *p;
	const char *who;
	const uint8_t *bytes;
	size_t n;
	int yes = -1;

	if (!ipc_map(file, APPLY_MOST_PLAN, &bytes, &n) && !plan_read(a, bytes, n, &p) &&
	    !nl_talk_open(&t) &&
	    !nl_talk_dump(t, a, 1, p->table, NL_DUMP_RULES, 100, &d)) {
		nl_stamp(&d, p->table, digest, &salt);
		if (!nl_form_as(a, p, &h, salt, &d, &f, &who))
			yes = nl_in_force(f, &d);
	}
	printf("{\"force\": %d}\n", yes);
	fflush(stdout);
	nl_talk_close(t);
	arena_free(a);
}

static void
order(char *line)
{
	static struct apply_name name[APPLY_MOST_NAMES];
	char *save, *w[APPLY_MOST_NAMES + 4];
	uint32_t n = 0, nname = 0, gen = 0, type = 0;
	union {
		struct apply_do put;
		struct apply_host host;
		struct apply_block block;
		struct apply_pause pause;
	} q = {0};
	int fd = -1, err;

	for (char *p = strtok_r(line, " \n", &save); p && n < APPLY_MOST_NAMES;
	    p = strtok_r(NULL, " \n", &save))
		w[n++] = p;
	if (!n)
		return;
	if (!strcmp(w[0], "kill")) {
		if (role)
			kill(role, SIGKILL);
		reap();
		status = 0;
		return;
	}
	if (!strcmp(w[0], "start")) {
		start();
		return;
	}
	if (!strcmp(w[0], "stat")) {
		printf("{\"pid\": %d}\n", role);
		fflush(stdout);
		return;
	}
	while (strcmp(w[0], "force") != 0 && type < APPLY_NASK && (!ask_word[type] || strcmp(ask_word[type], w[0]) != 0))
		type++;
	if (type == APPLY_NASK)
		exit(2);
	for (uint32_t i = 1; i < n; i++) {
		if (!strncmp(w[i], "gen=", 4))
			gen = (uint32_t)strtoul(w[i] + 4, NULL, 10);
		else if (read_name(w[i], &name[nname]))
			nname++;
	}
	if (type == 0) {
		q.put = (struct apply_do){0, name, nname};
		fd = plan_file(w[1]);
		force(fd, &q.put);
		close(fd);
		return;
	}
	if (type == APPLY_DO) {
		q.put = (struct apply_do){gen, name, nname};
		fd = plan_file(w[1]);
	} else if (type == APPLY_HOST) {
		q.host = (struct apply_host){name, nname};
	} else if (type == APPLY_BLOCK && n > 2) {
		q.block = (struct apply_block){w[1], strtoull(w[2], NULL, 10)};
	} else if (type == APPLY_PAUSE && n > 1) {
		q.pause.seconds = strtoull(w[1], NULL, 10);
	} else if (type == APPLY_RECORD) {
		snprintf(record_to, sizeof record_to, "%s", n > 1 ? w[1] : "");
	}
	err = ipc_send_wait(chan, type, ++id, &apply_ask_shape[type], &q, &fd, fd >= 0, 1000);
	if (fd >= 0)
		close(fd);
	if (err) {
		printf("{\"unsent\": %d}\n", err);
		fflush(stdout);
	}
}

int
main(int argc, char **argv)
{
	static char line[MOST_LINE];
	struct pollfd p[2] = {{.fd = 0, .events = POLLIN}, {.events = POLLIN}};

	for (int i = 1; i < argc; i++) {
		opt.no_owner |= !strcmp(argv[i], "--no-owner");
		opt.no_jail |= !strcmp(argv[i], "--no-jail");
		if (!strcmp(argv[i], "--keep-socket")) {
			if (nl_talk_open(&kept))
				return 2;
			opt.netlink = nl_talk_fd(kept);
		}
	}
	opt.no_jail |= SANITIZED;  /* who looks for leaks needs what the jail takes */
	setvbuf(stdin, NULL, _IONBF, 0);
	start();
	for (;;) {
		p[1].fd = role ? chan : -1;
		p[1].revents = 0;
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents) {
			struct ipc_in in = {0};
			int k = ipc_recv(chan, &in);

			if (k == 1) {
				print(&in);
				ipc_free(&in);
			} else if (k != -EAGAIN) {
				reap();
			}
		}
		if (p[0].revents) {
			if (!fgets(line, sizeof line, stdin))
				break;
			order(line);
		}
	}
	if (role)
		close(chan);
	reap();
	nl_talk_close(kept);
	return status != 0;
}
