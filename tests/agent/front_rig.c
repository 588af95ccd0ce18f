/*
 * front_rig: the role front in a child, jailed, with this process as its queue and its parent.
 *
 *	front_rig DIR POLICY [PORT [MOST_CONNECTIONS [COMMAND_MS [SETTLE_MS]]]]
 *
 * Messages come to rest as DIR/ID; what was kept is DIR/windows. Lines of standard input steer it:
 *
 *	policy FILE          another policy
 *	name USER UID        a user's number; `names` sends those collected
 *	answer CODE ENHANCED TEXT    to every seal from now on
 *	hold | go            seals wait for their answer | get it
 *	errno N              every ARRIVE fails so; 0: none does
 *	silent N             1: no ARRIVE is answered
 *	domain NAME N        how a name resolves (enum front_name); -1: no answer. Others: MX
 *	count | stop | stat | limit FD
 *
 * It tells what happens, a JSON object a line. It ends with standard input, or with the role.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "ipc/front.h"
#include "ipc/mail.h"
#include "peer/peer.h"
#include "role/role.h"
#include "text/diag.h"
#include "world/bundle.h"
#include "world/world.h"

enum { OFFSET = 100, MOST_HELD = 4096, MOST_DOMAINS = 64, MOST_NAMES = 64 };

struct arrival {
	uint64_t token, id;
	bool open;
	struct arrival *next;
	struct buf to;             /* JSON, of the seals so far */
};

struct rig {
	const char *dir;
	int dirfd, queue, parent;
	pid_t child;
	struct arrival *arrival;
	uint64_t id;
	bool hold;
	struct front_settled say;
	char enhanced[16], text[512];
	uint64_t held[MOST_HELD];
	unsigned nheld;
	uint32_t err;
	unsigned silent;
	struct { char name[256]; int answer; } domain[MOST_DOMAINS];
	unsigned ndomain;
	struct apply_name name[MOST_NAMES];
	unsigned nname;
	struct buf keep;
	uint32_t ask;
	bool over;
};

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "front_rig: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
tell(struct buf *b)
{
	buf_chr(b, '\n');
	must(!b->err && write(STDOUT_FILENO, b->p, b->n) == (ssize_t)b->n, "standard output");
	buf_free(b);
}

#define LINE BUF_INIT(8 << 20)

static void
key(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "%s\"%s\":", b->n && b->p[b->n - 1] != '{' ? "," : "", name);
	buf_json(b, value ? value : "");
}

static void
num(struct buf *b, const char *name, uint64_t value)
{
	buf_printf(b, "%s\"%s\":%" PRIu64, b->n && b->p[b->n - 1] != '{' ? "," : "", name, value);
}

/* ---- the policy ---------------------------------------------------------------------------- */

static void
send_policy(struct rig *r, const char *path)
{
	struct arena *a = arena_new();
	struct world w;
	struct policy_world kept;
	struct bundle *bundle = bundle_new(a);
	struct buf bytes = BUF_INIT(BUNDLE_MOST);
	const char *text;
	size_t n;
	struct mail_policy m = {.host = "host.example.org"};
	int fd;

	must(!world_slurp(a, path, 1 << 24, &text, &n) && !world_open(&w, path), path);
	must(!bundle_add(bundle, path, text, n), "bundle");
	bundle_keep(bundle, &w.policy, &kept);
	policy_load(a, text_set_new(a), path, text, n, &kept, diags_new(a));
	bundle_write(&bytes, bundle);
	fd = ipc_file("bundle", bytes.p, bytes.n);
	must(fd >= 0, "bundle");
	must(!ipc_send_wait(r->parent, MAIL_POLICY, ++r->ask, &mail_ask_shape[MAIL_POLICY], &m, &fd, 1, 5000),
	    "policy");
	close(fd);
	world_close(&w);
	buf_free(&bytes);
	arena_free(a);
}

/* ---- as the queue ------------------------------------------------------------------------------ */

static void
send_front(struct rig *r, uint32_t type, const void *body, const int *fd)
{
	int err = ipc_send_wait(r->queue, type, 0, &front_tell_shape[type], body, fd, fd ? 1 : 0, 10000);

	if (err == -EPIPE || err == -ECONNRESET)
		r->over = true;
	else
		must(!err, "to front");
}

static void
name_of(uint64_t id, char out[24])
{
	snprintf(out, 24, "%016" PRIx64, id);
}

static void
arrive(struct rig *r, const struct front_arrive *a)
{
	struct front_arrived t = {.token = a->token, .offset = OFFSET, .err = r->err, .later = a->later};
	struct arrival *x = r->arrival;
	char name[24];
	int fd;

	if (r->silent)
		return;
	if (r->err) {
		send_front(r, FRONT_ARRIVED, &t, NULL);
		return;
	}
	/* one that has its number asks for its file */
	while (x && x->token != a->token)
		x = x->next;
	if (!x) {
		x = calloc(1, sizeof *x);
		must(x != NULL, "memory");
		*x = (struct arrival){.token = a->token, .id = ++r->id, .open = true, .next = r->arrival, .to = LINE};
		r->arrival = x;
	}
	t.id = x->id;
	name_of(x->id, name);
	if (a->later) {
		send_front(r, FRONT_ARRIVED, &t, NULL);
		return;
	}
	fd = openat(r->dirfd, name, O_CREAT | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
	must(fd >= 0, name);
	send_front(r, FRONT_ARRIVED, &t, &fd);
	close(fd);
}

static struct arrival **
find(struct rig *r, uint64_t token)
{
	struct arrival **at = &r->arrival;

	while (*at && (*at)->token != token)
		at = &(*at)->next;
	return at;
}

static void
forget(struct arrival **at)
{
	struct arrival *x = *at;

	*at = x->next;
	buf_free(&x->to);
	free(x);
}

static void
settle(struct rig *r, uint64_t token)
{
	struct arrival **at = find(r, token);

	r->say.token = token;
	r->say.id = *at ? (*at)->id : 0;
	send_front(r, FRONT_SETTLED, &r->say, NULL);
	if (*at)
		forget(at);
}

static void
seal(struct rig *r, const struct front_seal *s)
{
	struct arrival **at = find(r, s->token);
	struct buf b = LINE;
	char name[24];

	if (!*at) {
		printf("{\"tell\":\"seal of nothing\"}\n");
		fflush(stdout);
		return;
	}
	for (uint32_t i = 0; i < s->nrcpt; i++) {
		buf_printf(&(*at)->to, "%s{", (*at)->to.n ? "," : "");
		key(&(*at)->to, "address", s->rcpt[i].address);
		key(&(*at)->to, "relay", s->rcpt[i].relay);
		key(&(*at)->to, "notify", s->rcpt[i].notify);
		key(&(*at)->to, "orcpt", s->rcpt[i].orcpt);
		buf_chr(&(*at)->to, '}');
	}
	if (s->more)
		return;
	name_of((*at)->id, name);
	if (s->ncontent) {
		int fd = openat(r->dirfd, name, O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0600);

		must(fd >= 0 && pwrite(fd, s->content, s->ncontent, OFFSET) == (ssize_t)s->ncontent, name);
		close(fd);
	}
	buf_chr(&b, '{');
	key(&b, "tell", "seal");
	key(&b, "id", name);
	num(&b, "size", s->size);
	num(&b, "offset", OFFSET);
	num(&b, "through", s->through);
	num(&b, "brought", s->ncontent);
	key(&b, "application", s->application);
	key(&b, "unit", s->unit);
	num(&b, "uid", s->uid);
	key(&b, "from", s->from);
	key(&b, "envid", s->envid);
	key(&b, "ret", s->ret);
	num(&b, "eight", s->eight);
	num(&b, "utf8", s->utf8);
	key(&b, "note", s->note);
	num(&b, "not_before", s->not_before);
	buf_printf(&b, ",\"to\":[%s]}", (*at)->to.p);
	tell(&b);
	if (!r->hold)
		settle(r, s->token);
	else if (r->nheld < MOST_HELD)
		r->held[r->nheld++] = s->token;
}

static void
drop(struct rig *r, const struct front_drop *d)
{
	struct arrival **at = find(r, d->token);
	char name[24];

	if (!*at)
		return;
	name_of((*at)->id, name);
	unlinkat(r->dirfd, name, 0);
	forget(at);
	printf("{\"tell\":\"drop\"}\n");
	fflush(stdout);
}

static void
keep(struct rig *r, const struct front_keep *k)
{
	int fd;

	buf_add(&r->keep, k->bytes, k->n);
	if (k->more)
		return;
	fd = openat(r->dirfd, "windows", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	must(fd >= 0 && write(fd, r->keep.p, r->keep.n) == (ssize_t)r->keep.n, "windows");
	close(fd);
	printf("{\"tell\":\"keep\",\"bytes\":%zu}\n", r->keep.n);
	fflush(stdout);
	r->keep.n = 0;
}

static void
give_kept(struct rig *r)
{
	static uint8_t bytes[FRONT_MOST_KEEP];
	struct front_keep k = {.name = "windows", .bytes = bytes};
	int fd = openat(r->dirfd, "windows", O_RDONLY | O_CLOEXEC);
	struct stat st = {0};
	off_t left;

	if (fd >= 0)
		must(!fstat(fd, &st), "windows");
	left = st.st_size;
	do {
		k.n = left > FRONT_MOST_KEEP ? FRONT_MOST_KEEP : (uint32_t)left;
		must(!k.n || read(fd, bytes, k.n) == (ssize_t)k.n, "windows");
		left -= k.n;
		k.more = left > 0;
		send_front(r, FRONT_KEPT, &k, NULL);
	} while (left > 0);
	if (fd >= 0)
		close(fd);
}

static void
resolve(struct rig *r, const struct front_resolve *q)
{
	struct front_resolved t = {.token = q->token, .answer = FRONT_NAME_MX};
	struct buf b = LINE;

	buf_chr(&b, '{');
	key(&b, "tell", "resolve");
	key(&b, "domain", q->domain);
	buf_chr(&b, '}');
	tell(&b);
	for (unsigned i = 0; i < r->ndomain; i++)
		if (!strcmp(r->domain[i].name, q->domain)) {
			if (r->domain[i].answer < 0)
				return;
			t.answer = (uint32_t)r->domain[i].answer;
		}
	send_front(r, FRONT_RESOLVED, &t, NULL);
}

static void
from_front(struct rig *r)
{
	struct ipc_in in = {0};
	int got = ipc_recv(r->queue, &in);
	const void *body = NULL;

	if (got <= 0) {
		if (got && got != -EAGAIN)
			fprintf(stderr, "front_rig: from front: %s\n", strerror(-got));
		r->over = got != -EAGAIN;
		return;
	}
	must(in.type && in.type < FRONT_NASK, "type");
	if (front_ask_shape[in.type].size)
		must(!ipc_body(&in, &front_ask_shape[in.type], &body), "body");
	switch ((enum front_ask)in.type) {
	case FRONT_ARRIVE:
		arrive(r, body);
		break;
	case FRONT_SEAL:
		seal(r, body);
		break;
	case FRONT_DROP:
		drop(r, body);
		break;
	case FRONT_KEEP:
		keep(r, body);
		break;
	case FRONT_READY:
		give_kept(r);
		printf("{\"tell\":\"ready\"}\n");
		fflush(stdout);
		break;
	case FRONT_RESOLVE:
		resolve(r, body);
		break;
	case FRONT_NASK:
		break;
	}
	ipc_free(&in);
}

/* ---- as the parent --------------------------------------------------------------------------------- */

static void
from_role(struct rig *r)
{
	struct ipc_in in = {0};
	int got = ipc_recv(r->parent, &in);
	const void *body;
	struct buf b = LINE;

	if (got <= 0) {
		r->over = got != -EAGAIN;
		return;
	}
	must(!ipc_body(&in, &mail_tell_shape[in.type], &body), "body");
	buf_chr(&b, '{');
	if (in.type == MAIL_TAKEN) {
		const struct mail_taken *t = body;
		key(&b, "tell", "taken");
		num(&b, "err", t->err);
		key(&b, "text", t->text);
	} else if (in.type == MAIL_WANT) {
		const struct apply_host *h = body;
		key(&b, "tell", "want");
		for (uint32_t i = 0; i < h->nname; i++)
			key(&b, h->name[i].name, "");
	} else if (in.type == MAIL_COUNTED) {
		const struct mail_counted *n = body;
		key(&b, "tell", "counted");
		for (uint32_t i = 0; i < n->ncount; i++) {
			buf_chr(&b, ',');
			buf_json(&b, n->count[i].name);
			buf_printf(&b, ":%" PRIu64, n->count[i].value);
		}
	}
	buf_chr(&b, '}');
	tell(&b);
	ipc_free(&in);
}

static void
ask(struct rig *r, uint32_t type, const void *body)
{
	must(!ipc_send_wait(r->parent, type, ++r->ask, &mail_ask_shape[type], body, NULL, 0, 5000), "ask");
}

static void
stat_child(const struct rig *r)
{
	char path[64], line[256];
	unsigned long rss = 0, peak = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)r->child);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f)) {
		sscanf(line, "VmRSS: %lu", &rss);
		sscanf(line, "VmHWM: %lu", &peak);
	}
	if (f)
		fclose(f);
	printf("{\"pid\":%d,\"rss\":%lu,\"peak\":%lu}\n", (int)r->child, rss, peak);
	fflush(stdout);
}

static void
command(struct rig *r, char *line)
{
	char a[256] = "", b[256] = "";
	int n = 0;

	line[strcspn(line, "\n")] = 0;
	if (sscanf(line, "policy %255[^\n]", a) == 1) {
		send_policy(r, a);
	} else if (sscanf(line, "name %255s %255s", a, b) == 2 && r->nname < MOST_NAMES) {
		r->name[r->nname++] = (struct apply_name){APPLY_USER, strdup(a), strtoull(b, NULL, 10)};
	} else if (!strcmp(line, "names")) {
		struct apply_host h = {r->name, r->nname};
		ask(r, MAIL_NAMES, &h);
	} else if (sscanf(line, "answer %u %15s %511[^\n]", &r->say.code, r->enhanced, r->text) == 3) {
		r->say.enhanced = r->enhanced;
		r->say.text = r->text;
	} else if (!strcmp(line, "hold")) {
		r->hold = true;
	} else if (!strcmp(line, "go")) {
		r->hold = false;
		for (unsigned i = 0; i < r->nheld; i++)
			settle(r, r->held[i]);
		r->nheld = 0;
	} else if (sscanf(line, "errno %u", &r->err) == 1 || sscanf(line, "silent %u", &r->silent) == 1) {
	} else if (sscanf(line, "domain %255s %d", a, &n) == 2 && r->ndomain < MOST_DOMAINS) {
		snprintf(r->domain[r->ndomain].name, sizeof a, "%s", a);
		r->domain[r->ndomain++].answer = n;
	} else if (!strcmp(line, "count")) {
		ask(r, MAIL_COUNT, NULL);
	} else if (!strcmp(line, "stop")) {
		ask(r, MAIL_STOP, NULL);
	} else if (!strcmp(line, "stat")) {
		stat_child(r);
	} else {
		fprintf(stderr, "front_rig: what is '%s'?\n", line);
		exit(1);
	}
}

/* ---- beginning ------------------------------------------------------------------------------------------ */

static int
tcp(int family, uint16_t *port)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(*port),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(*port),
		.sin6_addr = in6addr_loopback};
	struct sockaddr *sa = family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;
	socklen_t n = family == AF_INET ? sizeof four : sizeof six;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, sa, n) || listen(fd, 4096)) {
		close(fd);
		return -1;
	}
	getsockname(fd, sa, &n);
	*port = ntohs(family == AF_INET ? four.sin_port : six.sin6_port);
	return fd;
}

static int
local(const char *dir)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s/submission.sock", dir);
	unlink(un.sun_path);
	must(fd >= 0 && !bind(fd, (struct sockaddr *)&un, sizeof un) && !listen(fd, 4096), un.sun_path);
	chmod(un.sun_path, 0666);
	return fd;
}

int
main(int argc, char **argv)
{
	struct rig r = {.dir = argc > 1 ? argv[1] : ".", .say = {.code = 250, .enhanced = "2.0.0", .text = ""},
	    .keep = BUF_INIT(1 << 24)};
	uint16_t port = argc > 3 ? (uint16_t)strtoul(argv[3], NULL, 10) : 0;
	int q[2], p[2], listener[3], status, nlistener = 0;
	char line[1024];
	size_t have = 0;

	must(argc > 2, "usage");
	r.dirfd = open(r.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(r.dirfd >= 0, r.dir);
	for (char name[24]; name_of(r.id + 1, name), !faccessat(r.dirfd, name, F_OK, 0);)
		r.id++;
	must(!ipc_pair(q) && !ipc_pair(p), "channels");
	listener[nlistener++] = tcp(AF_INET, &port);
	must(listener[0] >= 0, "127.0.0.1");
	listener[nlistener++] = local(r.dir);
	listener[nlistener] = tcp(AF_INET6, &port);
	nlistener += listener[nlistener] >= 0;
	r.child = fork();
	must(r.child >= 0, "fork");
	if (!r.child) {
		struct role_front f = {.listener = listener, .nlistener = (unsigned)nlistener, .queue = q[1],
		    .parent = p[1], .diag = peer_open(), .cgroup = open("/sys/fs/cgroup", O_PATH | O_DIRECTORY),
		    .proc = open("/proc", O_PATH | O_DIRECTORY), .uid = geteuid(), .gid = getegid(),
		    .most_connections = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0,
		    .command_ms = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 0,
		    .settle_ms = argc > 6 ? (unsigned)strtoul(argv[6], NULL, 10) : 0};
		close(q[0]);
		close(p[0]);
		close(STDIN_FILENO);
		open("/dev/null", O_RDONLY);
		/* unjailed, a leak can be looked for at its end */
		f.no_jail = getenv("FRONT_RIG_NO_JAIL") != NULL;
		status = role_front(&f);
		if (f.no_jail)
			exit(status);
		_exit(status);
	}
	close(q[1]);
	close(p[1]);
	for (int i = 0; i < nlistener; i++)
		close(listener[i]);
	r.queue = q[0];
	r.parent = p[0];
	printf("{\"port\":%u,\"pid\":%d}\n", port, (int)r.child);
	fflush(stdout);
	send_policy(&r, argv[2]);
	while (!r.over) {
		struct pollfd f[3] = {{STDIN_FILENO, POLLIN, 0}, {r.queue, POLLIN, 0}, {r.parent, POLLIN, 0}};

		must(poll(f, 3, -1) >= 0 || errno == EINTR, "poll");
		if (f[1].revents)
			from_front(&r);
		if (f[2].revents && !r.over)
			from_role(&r);
		if (f[0].revents) {
			ssize_t k = read(STDIN_FILENO, line + have, sizeof line - 1 - have);
			char *end, *at = line;

			if (k <= 0)
				break;
			have += (size_t)k;
			line[have] = 0;
			while ((end = memchr(at, '\n', have - (size_t)(at - line)))) {
				*end = 0;
				command(&r, at);
				at = end + 1;
			}
			have -= (size_t)(at - line);
			memmove(line, at, have);
		}
	}
	/* what it said at its end */
	while (!r.over) {
		close(r.parent);
		r.parent = open("/dev/null", O_RDONLY | O_CLOEXEC);
		struct pollfd f = {r.queue, POLLIN, 0};
		if (poll(&f, 1, 10000) <= 0)
			break;
		from_front(&r);
	}
	close(r.queue);
	close(r.parent);
	must(waitpid(r.child, &status, 0) == r.child, "wait");
	printf("{\"end\":%d,\"signal\":%d}\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1,
	    WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	fflush(stdout);
	while (r.arrival)
		forget(&r.arrival);
	for (unsigned i = 0; i < r.nname; i++)
		free((void *)(uintptr_t)r.name[i].name);
	buf_free(&r.keep);
	close(r.dirfd);
	return 0;
}
