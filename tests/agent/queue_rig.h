/*
 * The role queue as a process, and who stands around it: front, relay and parent, played by the test over
 * ipc. Real files, real syncs. Included once by a test.
 */
#ifndef QUEUE_RIG_H
#define QUEUE_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/spool_world.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/sanitized.h"
#include "ipc/front.h"
#include "ipc/mail.h"
#include "ipc/relay.h"
#include "role/role.h"
#include "spool/spool.h"
#include "world/bundle.h"

#define CHECK(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort(); \
		} \
	} while (0)

static const char rig_policy[] =
    "mailreeve: 1\n"
    "name: queue-test\n"
    "contact: postmaster@example.org\n"
    "networks:\n"
    "  servers: [192.0.2.0/28, \"2001:db8:25::/64\"]\n"
    "relays:\n"
    "  one:\n"
    "    class: device\n"
    "    ranges: servers\n"
    "    host: one.example.org\n"
    "    endpoints: [{port: 587, tls: starttls}]\n"
    "    auth: {password: one}\n"
    "    accepts: {recipients: any}\n"
    "  two:\n"
    "    class: device\n"
    "    ranges: servers\n"
    "    host: two.example.org\n"
    "    endpoints: [{port: 587, tls: starttls}]\n"
    "    accepts: {recipients: any}\n"
    "submission:\n"
    "  listen: [127.0.0.1]\n"
    "  user: mailreeve\n"
    "  unregistered: refuse\n"
    "  routes:\n"
    "    - {to: any, via: one}\n"
    "    - {to: \"@two.example\", via: two}\n";

struct rig {
	char path[WORLD_PATH];
	int dir;
	struct spool_config config;
	pid_t pid;
	int front, relay, parent;
	bool no_policy;              /* do not tell one at the beginning */
	void (*child)(void);         /* what the role's process does first; NULL */
	uint64_t token;
};

/* The last message of each channel. */
struct rig_in {
	struct ipc_in in;
	const void *body;
};

/* A second and less is a look whether nothing comes; more is for what surely comes, and on a busy machine that takes
 * its time. */
static inline int
rig_patience(int ms)
{
	return ms > 1000 && ms < 60000 ? 60000 : ms;
}

/* Waits; the message, or NULL after ms. */
static inline const void *
rig_wait(int chan, const struct ipc_shape *shapes, uint32_t type, int ms, struct rig_in *m)
{
	ipc_free(&m->in);
	m->in = (struct ipc_in){0};
	int r = ipc_recv_wait(chan, &m->in, rig_patience(ms));
	if (r == -ETIMEDOUT)
		return NULL;
	CHECK(r == 1);
	if (m->in.type != type)
		fprintf(stderr, "type %u in place of %u\n", m->in.type, type);
	CHECK(m->in.type == type);
	if (!shapes[type].size)
		return m;
	CHECK(!ipc_body(&m->in, &shapes[type], &m->body));
	return m->body;
}

static inline int
rig_bundle(const char *policy)
{
	struct arena *a = arena_new();
	struct bundle *b = bundle_new(a);
	struct buf bytes = BUF_INIT(1 << 20);
	int fd;

	CHECK(!bundle_add(b, "policy.yaml", policy, strlen(policy)));
	bundle_write(&bytes, b);
	fd = ipc_file("bundle", bytes.p, bytes.n);
	CHECK(fd >= 0);
	buf_free(&bytes);
	arena_free(a);
	return fd;
}

static inline void
rig_take_policy(struct rig *r, const char *policy)
{
	struct mail_policy p = {"mail.example.org"};
	struct rig_in m = {0};
	int fd = rig_bundle(policy);
	const struct mail_taken *t;

	CHECK(!ipc_send(r->parent, MAIL_POLICY, 7, &mail_ask_shape[MAIL_POLICY], &p, &fd, 1));
	close(fd);
	t = rig_wait(r->parent, mail_tell_shape, MAIL_TAKEN, 20000, &m);
	CHECK(t && m.in.id == 7);
	if (t->err)
		fprintf(stderr, "%s\n", t->text);
	CHECK(!t->err);
	ipc_free(&m.in);
}

/* Begins the role without saying that a relay is ready. */
static inline void
rig_begin_quiet(struct rig *r)
{
	int f[2], y[2], p[2];

	CHECK(!ipc_pair(f) && !ipc_pair(y) && !ipc_pair(p));
	fflush(NULL);
	r->pid = fork();
	CHECK(r->pid >= 0);
	if (!r->pid) {
		/* the search for leaks reads its own process, which a jailed one forbids */
		struct role_queue o = {.front = f[1], .relay = y[1], .parent = p[1], .spool = r->dir,
			.config = &r->config, .uid = getuid(), .gid = getgid(), .no_jail = SANITIZED};
		close(f[0]);
		close(y[0]);
		close(p[0]);
		if (r->child)
			r->child();
		/* not _exit(2): a sanitizer looks for leaks at the end */
		exit(role_queue(&o));
	}
	close(f[1]);
	close(y[1]);
	close(p[1]);
	r->front = f[0];
	r->relay = y[0];
	r->parent = p[0];
	if (!r->no_policy)
		rig_take_policy(r, rig_policy);
}

static inline void
rig_begin(struct rig *r)
{
	rig_begin_quiet(r);
	CHECK(!ipc_send(r->relay, RELAY_READY, 0, NULL, NULL, NULL, 0));
}

static inline void
rig_new(struct rig *r)
{
	*r = (struct rig){0};
	world_folder(r->path);
	r->dir = open(r->path, O_RDONLY | O_DIRECTORY);
	spool_config_default(&r->config);
	r->config.floor_bytes = r->config.floor_inodes = 0;
	r->config.retry_first = 50;
	r->config.retry_most = 400;
	r->config.circuit_first = 100;
	r->config.arrivals_most = 320;
}

/* The process's wait status. */
static inline int
rig_end(struct rig *r, int sig)
{
	int st;

	if (sig)
		kill(r->pid, sig);
	close(r->front);
	close(r->relay);
	close(r->parent);
	CHECK(waitpid(r->pid, &st, 0) == r->pid);
	return st;
}

static inline void
rig_free(struct rig *r)
{
	close(r->dir);
	world_remove(r->path);
}

/* ---- front -------------------------------------------------------------------------- */

/* Begins a message; 0, or its errno. */
static inline int
rig_arrive(struct rig *r, uint64_t size, int *fd, uint64_t *offset, uint64_t *id)
{
	struct front_arrive a = {++r->token, size, 0};
	struct rig_in m = {0};
	const struct front_arrived *t;
	int err;

	CHECK(!ipc_send_wait(r->front, FRONT_ARRIVE, 0, &front_ask_shape[FRONT_ARRIVE], &a, NULL, 0, 10000));
	t = rig_wait(r->front, front_tell_shape, FRONT_ARRIVED, 20000, &m);
	CHECK(t && t->token == a.token);
	err = (int)t->err;
	*offset = t->offset;
	*id = t->id;
	*fd = ipc_take(&m.in, 0);
	CHECK((*fd >= 0) == !err);
	ipc_free(&m.in);
	return err;
}

/* Begins a message that has a number, and no file yet. */
static inline uint64_t
rig_arrive_later(struct rig *r)
{
	struct front_arrive a = {++r->token, 0, 1};
	struct rig_in m = {0};
	const struct front_arrived *t;
	uint64_t id;

	CHECK(!ipc_send_wait(r->front, FRONT_ARRIVE, 0, &front_ask_shape[FRONT_ARRIVE], &a, NULL, 0, 10000));
	t = rig_wait(r->front, front_tell_shape, FRONT_ARRIVED, 20000, &m);
	CHECK(t && t->token == a.token && !t->err && t->later && !m.in.nfd);
	id = t->id;
	ipc_free(&m.in);
	return id;
}

/* What a message is sent with. */
struct rig_mail {
	const char *content;
	const char *from, *notify, *ret;
	const char *to[4];
	bool through, brings;      /* brings: its content comes with the seal */
	uint64_t not_before;
};

static const char rig_content[] = "From: a@example.org\r\nSubject: one\r\n\r\nHello.\r\n";

/* Arrives, is written and sealed. Its id. */
static inline uint64_t
rig_mail(struct rig *r, const struct rig_mail *w)
{
	const char *text = w->content ? w->content : rig_content;
	struct front_rcpt to[4];
	struct front_seal s = {.size = strlen(text), .through = w->through, .application = "", .unit = "",
		.uid = 1000, .from = w->from ? w->from : "a@example.org", .envid = "", .ret = w->ret ? w->ret : "",
		.note = "a test", .rcpt = to, .not_before = w->not_before};
	uint64_t offset, id;
	int fd;

	if (w->brings) {
		id = rig_arrive_later(r);
		s.content = (const uint8_t *)text;
		s.ncontent = (uint32_t)s.size;
	} else {
		CHECK(!rig_arrive(r, s.size, &fd, &offset, &id));
		CHECK(pwrite(fd, text, s.size, (off_t)offset) == (ssize_t)s.size);
		close(fd);
	}
	s.token = r->token;
	for (; s.nrcpt < 4 && w->to[s.nrcpt]; s.nrcpt++)
		to[s.nrcpt] = (struct front_rcpt){w->to[s.nrcpt],
			strstr(w->to[s.nrcpt], "@two.example") ? "two" : "one", w->notify ? w->notify : "", ""};
	CHECK(!ipc_send(r->front, FRONT_SEAL, 0, &front_ask_shape[FRONT_SEAL], &s, NULL, 0));
	return id;
}

static inline const struct front_settled *
rig_settled(struct rig *r, struct rig_in *m)
{
	const struct front_settled *s = rig_wait(r->front, front_tell_shape, FRONT_SETTLED, 30000, m);

	CHECK(s);
	return s;
}

/* ---- relay ---------------------------------------------------------------------------- */

/* The next send, waited for; NULL after ms. */
static inline const struct relay_send *
rig_send(struct rig *r, int ms, struct rig_in *m)
{
	return rig_wait(r->relay, relay_ask_shape, RELAY_SEND, ms, m);
}

static inline char *
rig_content_of(struct rig_in *m)
{
	const struct relay_send *s = m->body;
	char *p = malloc((size_t)s->size + 1);

	CHECK(p);
	if (s->ncontent) {
		CHECK(s->ncontent == s->size && !m->in.nfd);
		memcpy(p, s->content, s->ncontent);
		p[s->size] = 0;
		return p;
	}
	CHECK(m->in.nfd == 1 && m->in.fd[0] >= 0);
	CHECK(pread(m->in.fd[0], p, (size_t)s->size, (off_t)s->offset) == (ssize_t)s->size);
	p[s->size] = 0;
	/* who reads it has no right to change it */
	CHECK((fcntl(m->in.fd[0], F_GETFL) & O_ACCMODE) == O_RDONLY);
	return p;
}

/* Says this fate of all recipients. */
static inline void
rig_result(struct rig *r, const struct relay_send *s, enum relay_fate fate, unsigned code, const char *text)
{
	struct relay_fate_of f[RELAY_MOST_RCPT];
	struct relay_result x = {.claim = s->claim, .connected = code != 0, .peer = "192.0.2.1:587",
		.tls = "TLSv1.3", .cipher = "TLS_AES_128_GCM_SHA256", .rcpt = f, .nrcpt = s->nrcpt};

	for (uint32_t i = 0; i < s->nrcpt; i++)
		f[i] = (struct relay_fate_of){fate, code, text};
	CHECK(!ipc_send(r->relay, RELAY_RESULT, 0, &relay_tell_shape[RELAY_RESULT], &x, NULL, 0));
}

static inline void
rig_status(struct rig *r, struct rig_in *m)
{
	CHECK(!ipc_send(r->parent, MAIL_STATUS, 9, NULL, NULL, NULL, 0));
	CHECK(rig_wait(r->parent, mail_tell_shape, MAIL_STATUS_IS, 10000, m));
}

/* Asks as people do. The answer's text, or "" (the caller's). */
static inline char *
rig_people(struct rig *r, enum mail_queue_op op, uint64_t id, bool json, int *err)
{
	char hex[SPOOL_ID_LEN + 1];
	struct mail_id only = {hex};
	struct mail_queue ask = {.op = op, .id = &only, .nid = id != 0, .relay = "", .why = "", .json = json};
	struct rig_in m = {0};
	const struct mail_answer *a;
	const uint8_t *p;
	char *text;
	size_t n;

	spool_id_text(id, hex);
	CHECK(!ipc_send(r->parent, MAIL_QUEUE, 8, &mail_ask_shape[MAIL_QUEUE], &ask, NULL, 0));
	a = rig_wait(r->parent, mail_tell_shape, MAIL_ANSWER, 10000, &m);
	CHECK(a);
	*err = (int)a->err;
	if (a->file) {
		CHECK(!ipc_map(m.in.fd[0], MAIL_MOST_TEXT, &p, &n));
		text = strndup((const char *)p, n);
		ipc_unmap(p, n);
	} else {
		text = strdup(a->text);
	}
	ipc_free(&m.in);
	return text;
}

/* Waits until the queue is empty, or fails. */
static inline bool
rig_empty(struct rig *r, int ms)
{
	for (ms = rig_patience(ms); ms > 0; ms -= 20) {
		struct rig_in m = {0};

		rig_status(r, &m);
		bool none = !((const struct mail_status *)m.body)->messages;
		ipc_free(&m.in);
		if (none)
			return true;
		usleep(20000);
	}
	return false;
}

#endif
