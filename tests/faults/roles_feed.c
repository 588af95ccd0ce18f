/*
 * roles_feed: the roles front, queue and relay as three real processes with their channels, between a program
 * that sends mail and two relays that remember what they got; one of the three is broken at one of its calls
 * (fault.c). Then all are started again without a fault, the queue is emptied, and
 *
 *   lost       the program was told 250, and a recipient got neither the mail nor, where its relay refuses it,
 *              the sender a report
 *   torn       a content that is not what was given, or a file set aside
 *   forbidden  told 5xx, and delivered all the same
 *   twice      more than twice, or twice without a fault
 *   died       a role ended by another signal than kill -9: an assertion, a lack of memory
 *   hangs      no end within a minute: a program without an answer, a role that does not end, a queue that
 *              does not become empty
 *
 * have all to be 0. roles_feed POINTS [SEED]: that many points of the list of all of them, chosen at random;
 * `roles_feed ROLE KIND N MORE` (numbers) shows one. Run with fault.so before libc, as root of a network
 * namespace of its own (unshare -Urn).
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../unit/spool_world.h"
#include "base/arena.h"
#include "base/buf.h"
#include "fault.h"
#include "ipc/mail.h"
#include "peer/peer.h"
#include "role/role.h"
#include "spool/spool.h"
#include "world/bundle.h"

enum { MESSAGES = 4, RCPTS = 3, PORT = 2525, SUBMISSION = 2587, LARGE = 70000 };
enum { FRONT, QUEUE, RELAY, ROLES };

static const char *const role_name[ROLES] = {"front", "queue", "relay"};
static const char *const kind_name[FAULT_NKIND] = {"none", "kill", "torn", "ENOSPC", "EIO", "EMFILE", "ENOMEM",
	"EINTR", "half"};

/* What the relays write down, and what outlives a role. */
static struct shared {
	atomic_uint serial;          /* of the point; mail of others is not counted */
	struct {
		atomic_uint got[RCPTS], reports;
		atomic_uint late;    /* deferrals */
	} m[MESSAGES];
	atomic_uint torn;
	long count[ROLES];           /* calls, told at a role's end */
} *sh;

static const char policy[] =
    "mailreeve: 1\n"
    "name: faults\n"
    "contact: postmaster@example.org\n"
    "relays:\n"
    "  one: {ranges: [127.0.0.1], families: ipv4, host: 127.0.0.1, reason: a test, auth: none,\n"
    "        endpoints: [{port: 2525, tls: none}]}\n"
    "  two: {ranges: [127.0.0.2], families: ipv4, host: 127.0.0.2, reason: a test, auth: none,\n"
    "        endpoints: [{port: 2525, tls: none}]}\n"
    "submission:\n"
    "  mode: %s\n"
    "  routes: [{to: [\"@two.example\"], via: two}, {to: any, via: one}]\n"
    "  unregistered: route\n";

static void (*set)(enum fault_kind, long, long);
static long (*counted)(void);
static uint64_t seed;
static char folder[WORLD_PATH];
static int dir, listener, bundle[2];
static struct spool_config config;
static pid_t relays;
static bool shows;               /* one point, with what the roles say */
static int limit_ms = 60000;

#define MUST(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x, strerror(errno)); \
			kill(relays, SIGKILL); \
			_exit(3); \
		} \
	} while (0)

static uint64_t
rnd(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % n;
}

static uint64_t
ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- messages ------------------------------------------------------------------------------------ */

/* Recipients: "nobody" is refused by its relay, "late" deferred once. */
static const struct {
	size_t size;
	const char *to[RCPTS + 1];
} mail[MESSAGES] = {
	{500, {"a@one.example", "b@two.example"}},
	{LARGE, {"c@one.example"}},
	{800, {"d@two.example", "nobody@one.example", "late@one.example"}},
	{300, {"nobody@two.example"}},
};

/* The body, which begins behind the header's empty line. */
static size_t
body_of(unsigned serial, unsigned i, char *out)
{
	size_t n = 0;

	while (n < mail[i].size)
		n += (size_t)snprintf(out + n, 100, "%s%u/%u at %zu\r\n", n % 3 ? "" : ".", serial, i, n);
	return n;
}

/* ---- relays: a process of their own, a thread a connection -------------------------------------------- */

struct lines {
	int fd;
	size_t n, at;
	char raw[8192];
};

/* A line without its end; its length, or -1. */
static long
line_of(struct lines *l, char *out, size_t room)
{
	size_t n = 0;

	for (;;) {
		if (l->at == l->n) {
			ssize_t k = recv(l->fd, l->raw, sizeof l->raw, 0);

			if (k <= 0)
				return -1;
			l->n = (size_t)k;
			l->at = 0;
		}
		if (n + 1 >= room)
			return -1;
		out[n++] = l->raw[l->at++];
		if (n > 1 && out[n - 1] == '\n' && out[n - 2] == '\r') {
			out[n - 2] = 0;
			return (long)n - 2;
		}
	}
}

static bool
answer(int fd, const char *s)
{
	return send(fd, s, strlen(s), MSG_NOSIGNAL) == (ssize_t)strlen(s);
}

/* Which recipient of which message. */
static bool
rcpt_of(const char *address, unsigned i, unsigned *k)
{
	for (*k = 0; *k < RCPTS && mail[i].to[*k]; ++*k)
		if (!strcmp(mail[i].to[*k], address))
			return true;
	return false;
}

/* Notes what came, and looks at it. */
static void
took(unsigned serial, unsigned i, char to[][64], unsigned nto, const char *content, size_t n)
{
	char *want = malloc(LARGE + 1000);
	const char *body = memmem(content, n, "\r\n\r\n", 4);
	size_t k = body_of(serial, i, want);

	if (serial == atomic_load(&sh->serial)) {
		if (!body || n - (size_t)(body + 4 - content) != k || memcmp(body + 4, want, k) != 0)
			atomic_fetch_add(&sh->torn, 1);
		for (unsigned j = 0, r; j < nto; j++)
			if (rcpt_of(to[j], i, &r))
				atomic_fetch_add(&sh->m[i].got[r], 1);
	}
	free(want);
}

static void *
session(void *arg)
{
	struct lines *l = arg;
	unsigned serial = 0, i = 0, nto = 0, got = 0;
	bool report = false;
	char *line = malloc(4096), *content = malloc(4 * LARGE), to[RCPTS][64];
	size_t n;
	long k;

	answer(l->fd, "220 relay ESMTP\r\n");
	while ((k = line_of(l, line, 4096)) >= 0) {
		char *p = strchr(line, '<');

		if (!strncmp(line, "MAIL", 4)) {
			report = p && p[1] == '>';
			nto = got = 0;
			if (!report && (!p || sscanf(p, "<s%u.%u@", &serial, &i) != 2 || i >= MESSAGES))
				break;
			answer(l->fd, "250 2.1.0 ok\r\n");
		} else if (!strncmp(line, "RCPT", 4) && p) {
			p[strcspn(p, ">")] = 0;
			if (report && sscanf(p, "<s%u.%u@", &serial, &i) != 2)
				break;
			if (!strncmp(p + 1, "nobody", 6)) {
				answer(l->fd, "550 5.1.1 nobody of that name\r\n");
			} else if (!strncmp(p + 1, "late", 4) && !atomic_fetch_add(&sh->m[i].late, 1)) {
				answer(l->fd, "450 4.2.1 not now\r\n");
			} else {
				snprintf(to[nto], sizeof to[0], "%s", p + 1);
				nto += nto < RCPTS - 1;
				got++;
				answer(l->fd, "250 2.1.5 ok\r\n");
			}
		} else if (!strncmp(line, "DATA", 4) && !got) {
			answer(l->fd, "554 5.5.1 no recipients\r\n");
		} else if (!strncmp(line, "DATA", 4)) {
			answer(l->fd, "354 go on\r\n");
			for (n = 0; (k = line_of(l, line, 4096)) >= 0 && strcmp(line, ".") != 0;) {
				bool dot = line[0] == '.';

				if (n + 4096 > 4 * LARGE)
					break;
				memcpy(content + n, line + dot, (size_t)k - dot);
				memcpy(content + n + k - dot, "\r\n", 2);
				n += (size_t)k - dot + 2;
			}
			if (k < 0)
				break;
			if (!report)
				took(serial, i, to, got, content, n);
			else if (serial == atomic_load(&sh->serial) && i < MESSAGES)
				atomic_fetch_add(&sh->m[i].reports, 1);
			if (!answer(l->fd, "250 2.0.0 taken\r\n"))
				break;
			nto = got = 0;
		} else if (!strncmp(line, "EHLO", 4)) {
			answer(l->fd, "250-relay\r\n250-PIPELINING\r\n250 SIZE 1000000\r\n");
		} else if (!strncmp(line, "QUIT", 4)) {
			answer(l->fd, "221 2.0.0 bye\r\n");
			break;
		} else {
			answer(l->fd, "250 2.0.0 ok\r\n");
		}
	}
	close(l->fd);
	free(line);
	free(content);
	free(l);
	return NULL;
}

static int
listening(const char *address, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	inet_pton(AF_INET, address, &a.sin_addr);
	MUST(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) &&
	    !bind(fd, (struct sockaddr *)&a, sizeof a) && !listen(fd, 100));
	return fd;
}

static void
be_relays(const int fd[2])
{
	int yes = 1;

	for (;;) {
		struct pollfd p[2] = {{fd[0], POLLIN, 0}, {fd[1], POLLIN, 0}};

		if (poll(p, 2, 1000) < 0 || getppid() == 1)
			_exit(0);
		for (int i = 0; i < 2; i++) {
			struct lines *l = p[i].revents ? calloc(1, sizeof *l) : NULL;
			pthread_t t;

			if (!l)
				continue;
			l->fd = accept(fd[i], NULL, NULL);
			setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
			if (l->fd < 0 || pthread_create(&t, NULL, session, l))
				_exit(4);
			pthread_detach(t);
		}
	}
}

/* ---- roles ---------------------------------------------------------------------------------------------- */

struct team {
	pid_t pid[ROLES];            /* 0: has ended */
	int chan[ROLES];             /* to each, from its parent */
	int status[ROLES];
};

/* The fault of one role. */
struct point {
	int role;                    /* -1: none */
	enum fault_kind kind;
	long n, more;
};

/* Where it was. */
static void
show(int sig)
{
	void *at[40];

	set(FAULT_NONE, 0, 0);
	backtrace_symbols_fd(at, backtrace(at, 40), STDERR_FILENO);
	signal(sig, SIG_DFL);
	raise(sig);
}

static int
be_role(int role, const struct point *p, int parent, int up, int down)
{
	struct role_front f = {.listener = &listener, .nlistener = 1, .parent = parent, .queue = down, .proc = -1,
	    .cgroup = -1, .diag = peer_open(), .uid = getuid(), .gid = getgid(), .no_jail = true};
	struct role_queue q = {.parent = parent, .front = up, .relay = down, .spool = dir, .config = &config,
	    .uid = getuid(), .gid = getgid(), .no_jail = true};
	struct role_relay r = {.parent = parent, .queue = up, .servers = "127.0.0.1:5353", .uid = getuid(),
	    .gid = getgid(), .no_jail = true};
	int status;

	if (shows)
		signal(SIGABRT, show);
	set(p->role == role || p->role < 0 ? p->kind : FAULT_NONE, p->role == role ? p->n : 0, p->more);
	status = role == FRONT ? role_front(&f) : role == QUEUE ? role_queue(&q) : role_relay(&r);
	sh->count[role] = counted();
	return status;
}

/* Whether the role says that it could not take the policy. */
static bool
took_not(int chan)
{
	struct ipc_in in = {0};
	const void *body;
	bool err = false;

	if (ipc_recv_wait(chan, &in, limit_ms) != 1)
		return false;
	err = in.type == MAIL_TAKEN && !ipc_body(&in, &mail_tell_shape[MAIL_TAKEN], &body) &&
	    ((const struct mail_taken *)body)->err;
	ipc_free(&in);
	return err;
}

static void
begin(struct team *t, const struct point *p, int through)
{
	struct mail_policy m = {"host.example.org"};
	int a[2], b[2], chan[ROLES][2];

	MUST(!ipc_pair(a) && !ipc_pair(b));
	for (int i = 0; i < ROLES; i++)
		MUST(!ipc_pair(chan[i]));
	fflush(NULL);
	for (int i = 0; i < ROLES; i++) {
		t->pid[i] = fork();
		MUST(t->pid[i] >= 0);
		if (t->pid[i])
			continue;
		for (int k = 0; k < ROLES; k++) {
			close(chan[k][0]);
			if (k != i)
				close(chan[k][1]);
		}
		/* front has a's first end, queue its second and b's first, relay b's second */
		if (i != FRONT)
			close(a[0]);
		if (i != QUEUE) {
			close(a[1]);
			close(b[0]);
		}
		if (i != RELAY)
			close(b[1]);
		_exit(be_role(i, p, chan[i][1], i == QUEUE ? a[1] : b[1], i == FRONT ? a[0] : b[0]));
	}
	close(a[0]);
	close(a[1]);
	close(b[0]);
	close(b[1]);
	for (int i = 0; i < ROLES; i++) {
		close(chan[i][1]);
		t->chan[i] = chan[i][0];
		(void)ipc_send(t->chan[i], MAIL_POLICY, 7, &mail_ask_shape[MAIL_POLICY], &m, &bundle[through], 1);
	}
	/* who could not take it for want of something is told again */
	for (int i = 0; i < ROLES; i++)
		for (int tries = 0; tries < 100 && took_not(t->chan[i]); tries++)
			(void)ipc_send(t->chan[i], MAIL_POLICY, 7, &mail_ask_shape[MAIL_POLICY], &m, &bundle[through],
			    1);
}

/* Whether that role has ended, or, -1, any. */
static bool
ended(struct team *t, int role)
{
	bool gone = false;

	for (int i = 0; i < ROLES; i++) {
		if (t->pid[i] && waitpid(t->pid[i], &t->status[i], WNOHANG) == t->pid[i])
			t->pid[i] = 0;
		gone |= !t->pid[i] && (role < 0 || role == i);
	}
	return gone;
}

/* Kills them, or closes their channels and waits. False: one does not end. */
static bool
end(struct team *t, bool kills)
{
	uint64_t until = ms() + (uint64_t)limit_ms;
	bool well = true;

	for (int i = 0; i < ROLES; i++) {
		if (kills && t->pid[i])
			kill(t->pid[i], SIGKILL);
		close(t->chan[i]);
	}
	while (ended(t, -1), t->pid[FRONT] || t->pid[QUEUE] || t->pid[RELAY]) {
		if (ms() > until) {
			well = false;
			for (int i = 0; i < ROLES; i++)
				if (t->pid[i]) {
					printf("the role %s does not end\n", role_name[i]);
					kill(t->pid[i], SIGKILL);
				}
			until += (uint64_t)limit_ms;
		}
		usleep(200);
	}
	return well;
}

/* How many messages wait; -1: the queue does not answer (any more). */
static long
waiting(struct team *t)
{
	uint64_t until = ms() + (uint64_t)limit_ms;
	struct ipc_in in = {0};
	const void *body;
	long n = -1;

	if (ipc_send(t->chan[QUEUE], MAIL_STATUS, 9, NULL, NULL, NULL, 0))
		return -1;
	while (ms() < until) {
		int r = ipc_recv_wait(t->chan[QUEUE], &in, 20);

		if (r == -ETIMEDOUT && !ended(t, QUEUE))
			continue;
		if (r != 1)
			return -1;
		if (in.type == MAIL_STATUS_IS && !ipc_body(&in, &mail_tell_shape[MAIL_STATUS_IS], &body))
			n = ((const struct mail_status *)body)->messages;
		r = in.type;
		ipc_free(&in);
		if (r == MAIL_STATUS_IS)
			return n;
	}
	return -2;
}

/* ---- the program ------------------------------------------------------------------------------------------ */

/* The next reply's code; 0: there is none any more; -1: it does not come. */
static int
reply(struct team *t, struct lines *l)
{
	char line[4096];
	size_t n = 0;
	uint64_t until = ms() + (uint64_t)limit_ms;

	for (;;) {
		struct pollfd p = {l->fd, POLLIN, 0};

		if (l->at == l->n) {
			if (!poll(&p, 1, 20)) {
				/* who waits at the listener of one that has gone waits for the next */
				if (ended(t, -1))
					return 0;
				if (ms() > until)
					return -1;
				continue;
			}
			ssize_t k = recv(l->fd, l->raw, sizeof l->raw, 0);
			if (k <= 0)
				return 0;
			l->n = (size_t)k;
			l->at = 0;
		}
		if (n + 1 < sizeof line)
			line[n++] = l->raw[l->at];
		if (l->raw[l->at++] != '\n')
			continue;
		if (n > 3 && line[3] != '-')
			return (int)strtol(line, NULL, 10);
		n = 0;
	}
}

/* Sends the messages. told[]: the last reply to each. False: an answer did not come. */
static bool
program(struct team *t, unsigned serial, int told[MESSAGES])
{
	static char content[4 * LARGE];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(SUBMISSION),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct lines *l = calloc(1, sizeof *l);
	int code;

	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	MUST(!connect(l->fd, (struct sockaddr *)&a, sizeof a));
	code = reply(t, l);
	if (code == 220) {
		answer(l->fd, "EHLO program\r\n");
		code = reply(t, l);
	}
	for (unsigned i = 0; i < MESSAGES && code > 0; i++) {
		char line[200];
		size_t n, body;

		snprintf(line, sizeof line, "MAIL FROM:<s%u.%u@example.org>\r\n", serial, i);
		answer(l->fd, line);
		code = reply(t, l);
		for (unsigned k = 0; k < RCPTS && mail[i].to[k] && code == 250; k++) {
			snprintf(line, sizeof line, "RCPT TO:<%s>\r\n", mail[i].to[k]);
			answer(l->fd, line);
			code = reply(t, l);
		}
		if (code == 250) {
			answer(l->fd, "DATA\r\n");
			code = reply(t, l);
		}
		if (code == 354) {
			n = (size_t)snprintf(content, sizeof content, "From: s%u.%u@example.org\r\nSubject: x\r\n\r\n", serial, i);
			static char text[2 * LARGE];
			body = body_of(serial, i, text);
			for (size_t k = 0; k < body; k++) {
				if (text[k] == '.' && (!k || text[k - 1] == '\n'))
					content[n++] = '.';
				content[n++] = text[k];
			}
			n += (size_t)snprintf(content + n, 4, ".\r\n");
			(void)!send(l->fd, content, n, MSG_NOSIGNAL);
			code = reply(t, l);
		}
		told[i] = code;
		if (code > 0 && code != 250) {
			answer(l->fd, "RSET\r\n");
			code = reply(t, l);
		}
	}
	close(l->fd);
	free(l);
	return code >= 0;
}

/* ---- a point ---------------------------------------------------------------------------------------------- */

static unsigned long lost, torn, forbidden, twice, died, hangs, told250, refused, again;

static void
look_at_end(const struct team *t, const struct point *p)
{
	for (int i = 0; i < ROLES; i++)
		if (WIFSIGNALED(t->status[i]) && WTERMSIG(t->status[i]) != SIGKILL) {
			printf("died: the role %s by signal %d, at %s %s %ld+%ld\n", role_name[i], WTERMSIG(t->status[i]),
			    p->role < 0 ? "" : role_name[p->role], kind_name[p->kind], p->n, p->more);
			died++;
		}
}

/* Until nothing waits. False: a minute was not enough. */
static bool
empty(struct team *t, int limit)
{
	struct mail_queue flush = {.op = MAIL_QUEUE_FLUSH, .relay = "", .why = ""};
	uint64_t until = ms() + (uint64_t)limit;
	long n;

	while ((n = waiting(t)) != 0) {
		if (n == -2 || n == -1 || ms() > until)
			return false;
		if (limit == limit_ms)
			(void)ipc_send(t->chan[QUEUE], MAIL_QUEUE, 8, &mail_ask_shape[MAIL_QUEUE], &flush, NULL, 0);
		usleep(3000);
	}
	return true;
}

static void
judge(const struct point *p, int through, const int told[MESSAGES])
{
	unsigned long before = lost + torn + forbidden + twice;

	torn += atomic_exchange(&sh->torn, 0) + (world_bytes(folder, "damaged") > 0);
	for (unsigned i = 0; i < MESSAGES; i++) {
		unsigned reports = atomic_load(&sh->m[i].reports), most = reports;
		bool mixed = false, any = false;

		for (unsigned k = 0; k < RCPTS && mail[i].to[k]; k++) {
			unsigned got = atomic_load(&sh->m[i].got[k]);
			bool nobody = !strncmp(mail[i].to[k], "nobody", 6);

			mixed |= nobody;
			any |= got > 0;
			most = got > most ? got : most;
			if (told[i] == 250 && !(nobody ? reports : got)) {
				printf("message %u to %s, %s: got %u, reports %u\n", i, mail[i].to[k],
				    through ? "through" : "spool", got, reports);
				lost++;
			}
		}
		/* a mixed one may be refused with words that are true of some (queue_outcome.h) */
		forbidden += told[i] >= 500 && any && !mixed;
		if (most > (p->role < 0 ? 1 : 2)) {
			printf("message %u, %s, told %d: got", i, through ? "through" : "spool", told[i]);
			for (unsigned k = 0; k < RCPTS && mail[i].to[k]; k++)
				printf(" %u", atomic_load(&sh->m[i].got[k]));
			printf(", reports %u\n", reports);
			twice++;
		}
		again += most == 2;
		told250 += told[i] == 250;
		refused += told[i] >= 400;
	}
	if (lost + torn + forbidden + twice != before)
		printf("AT roles_feed %d %d %ld %ld: the role %s, %s at call %ld and %ld behind it\n", p->role, p->kind, p->n,
		    p->more, p->role < 0 ? "-" : role_name[p->role], kind_name[p->kind], p->n, p->more);
}

static void
one(const struct point *p, int through)
{
	unsigned serial = atomic_load(&sh->serial) + 1;
	int told[MESSAGES] = {0};
	struct point none = {.role = -1};
	struct team t = {0};
	unsigned long before = hangs;
	bool done;

	for (unsigned i = 0; i < MESSAGES; i++) {
		for (unsigned k = 0; k < RCPTS; k++)
			atomic_store(&sh->m[i].got[k], 0);
		atomic_store(&sh->m[i].reports, 0);
		atomic_store(&sh->m[i].late, 0);
	}
	atomic_store(&sh->serial, serial);
	begin(&t, p, through);
	hangs += !program(&t, serial, told);
	done = empty(&t, p->role < 0 ? limit_ms : 150);
	hangs += !end(&t, p->kind == FAULT_KILL || p->kind == FAULT_TORN);
	look_at_end(&t, p);
	/* even if nothing seems left: what is on the disk counts */
	if (!done || rnd(8) == 0) {
		t = (struct team){0};
		begin(&t, &none, through);
		if (!empty(&t, limit_ms)) {
			printf("the queue does not become empty: %ld messages\n", waiting(&t));
			hangs++;
		}
		hangs += !end(&t, false);
		look_at_end(&t, &none);
		for (int i = 0; i < ROLES; i++)
			if (t.status[i])
				died++;
	}
	judge(p, through, told);
	if (hangs != before)
		printf("HANGS at roles_feed %d %d %ld %ld, %s: the role %s, %s\n", p->role, p->kind, p->n, p->more,
		    through ? "through" : "spool", p->role < 0 ? "-" : role_name[p->role], kind_name[p->kind]);
	fflush(stdout);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

static int
bundle_of(const char *mode)
{
	struct arena *a = arena_new();
	struct bundle *b = bundle_new(a);
	struct buf out = BUF_INIT(1 << 20);
	char text[4096];
	int fd, n = snprintf(text, sizeof text, policy, mode);

	MUST(!bundle_add(b, "policy.yaml", text, (size_t)n));
	bundle_write(&out, b);
	fd = ipc_file("bundle", out.p, out.n);
	MUST(fd >= 0);
	buf_free(&out);
	arena_free(a);
	return fd;
}

static void
loopback_up(void)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	MUST(fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &r));
	close(fd);
}

int
main(int argc, char **argv)
{
	unsigned long points = argc > 1 ? strtoul(argv[1], NULL, 10) : 500, tried[ROLES][FAULT_NKIND] = {0};
	uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
	long counts[ROLES][FAULT_NKIND][2], more[] = {0, 0, 0, 2, 20};
	struct point p = {.role = -1};
	int fd[2];

	*(void **)&set = dlsym(RTLD_DEFAULT, "fault_set");
	*(void **)&counted = dlsym(RTLD_DEFAULT, "fault_count");
	if (!set || !counted) {
		fprintf(stderr, "fault.so is not loaded\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	/* no relay here has a certificate: the system's roots need not be read each time */
	setenv("SSL_CERT_FILE", "/dev/null", 1);
	setenv("SSL_CERT_DIR", "/nonexistent", 1);
	seed = first * 2654435761 + 88172645463325252;
	loopback_up();
	sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(sh != MAP_FAILED);
	fd[0] = listening("127.0.0.1", PORT);
	fd[1] = listening("127.0.0.2", PORT);
	relays = fork();
	MUST(relays >= 0);
	if (!relays)
		be_relays(fd);
	close(fd[0]);
	close(fd[1]);
	listener = listening("127.0.0.1", SUBMISSION);
	/* what the roles say of their faults would be too much */
	shows = argc == 5;
	if (shows)
		limit_ms = 12000;
	if (!shows) {
		int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
		dup2(quiet, STDERR_FILENO);
	}
	bundle[0] = bundle_of("spool");
	bundle[1] = bundle_of("through");
	world_folder(folder);
	dir = open(folder, O_RDONLY | O_DIRECTORY);
	spool_config_default(&config);
	config.floor_bytes = config.floor_inodes = 0;
	config.retry_first = 20;
	config.retry_most = 100;
	config.circuit_first = 20;
	config.arrivals_most = 320;
	for (int through = 0; through < 2; through++)
		for (int kind = 1; kind < FAULT_NKIND; kind++) {
			p.kind = (enum fault_kind)kind;
			one(&p, through);
			for (int i = 0; i < ROLES; i++)
				counts[i][kind][through] = sh->count[i];
		}
	if (shows) {
		p = (struct point){(int)strtol(argv[1], NULL, 10), (enum fault_kind)strtol(argv[2], NULL, 10),
		    strtol(argv[3], NULL, 10), strtol(argv[4], NULL, 10)};
		one(&p, 0);
		one(&p, 1);
		points = 0;
	}
	for (unsigned long i = 0; i < points; i++) {
		int through = (int)rnd(2);

		p = (struct point){(int)rnd(ROLES), (enum fault_kind)(1 + rnd(FAULT_NKIND - 1)), 0, more[rnd(5)]};
		/* epoll(7): half of what a stream could move says that it is drained, which front believes */
		if (p.role == FRONT && p.kind == FAULT_SHORT)
			p.role = RELAY;
		p.n = 1 + (long)rnd((uint64_t)counts[p.role][p.kind][through] + 1);
		tried[p.role][p.kind]++;
		one(&p, through);
	}
	kill(relays, SIGKILL);
	waitpid(relays, NULL, 0);
	close(dir);
	world_remove(folder);
	for (int i = 0; i < ROLES; i++) {
		printf("%s:", role_name[i]);
		for (int kind = 1; kind < FAULT_NKIND; kind++)
			printf(" %s %lu of %ld", kind_name[kind], tried[i][kind], counts[i][kind][0] + counts[i][kind][1]);
		printf("\n");
	}
	printf("%lu points, seed %llu: %lu messages told 250, %lu refused or put off, %lu came twice; "
	    "lost %lu, torn %lu, forbidden %lu, twice %lu, died %lu, hangs %lu\n", points, (unsigned long long)first,
	    told250, refused, again, lost, torn, forbidden, twice, died, hangs);
	return lost || torn || forbidden || twice || died || hangs || !told250;
}
