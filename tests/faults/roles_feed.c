/*
 * roles_feed: the roles front, queue and relay as three real processes with their channels, between a program
 * that sends mail and two relays that remember what they got; one of the three is broken at one of its calls
 * (fault.c). Then all are started again without a fault, the queue is emptied, and
 *
 *   lost       the program was told 250, and a recipient got neither the mail nor, where its relay refuses it,
 *              the sender a report
 *   torn       a content that is not what was given, or a file set aside
 *   forbidden  told 5xx, and delivered all the same
 *   hollow     told 250 in mode spool, and nothing had been made durable since its end
 *   twice      more than twice, or twice without a fault
 *   died       a role ended by another signal than kill -9: an assertion, a lack of memory
 *   hangs      no end within a minute: a program without an answer, a role that does not end, a queue that
 *              does not become empty
 *
 * have all to be 0. roles_feed POINTS [SEED] (or SEED in the environment): that many points of the list of all
 * of them, chosen at random; `roles_feed ROLE KIND STEP`: each STEP-th call of one role in both modes; `roles_feed
 * ROLE KIND N MORE` (numbers): one point, with what the roles say. Run with fault.so before libc, as root of a
 * network namespace of its own (unshare -Urn).
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
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

#include "../unit/chance.h"
#include "../unit/spool_world.h"
#include "base/arena.h"
#include "base/buf.h"
#include "fault.h"
#include "faults/roles_world.h"
#include "ipc/mail.h"
#include "peer/peer.h"
#include "role/role.h"
#include "spool/spool.h"
#include "world/bundle.h"

enum { SUBMISSION = 2587 };
enum { FRONT, QUEUE, RELAY, ROLES };

static const char *const role_name[ROLES] = {"front", "queue", "relay"};
static const char *const kind_name[FAULT_NKIND] = {"none", "kill", "torn", "ENOSPC", "EIO", "EMFILE", "ENOMEM",
	"EINTR", "half", "half of a file"};

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
static long (*counted)(void), (*met)(void);
static void (*syncs_to)(unsigned long *);
static char folder[WORLD_PATH];
static int dir, listener, bundle[2];
static struct shared *sh;
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
ms(void)
{
	return us() / 1000;
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
	if (role == QUEUE)
		syncs_to(&sh->syncs);
	set(p->role == role || p->role < 0 ? p->kind : FAULT_NONE, p->role == role ? p->n : 0, p->more);
	status = role == FRONT ? role_front(&f) : role == QUEUE ? role_queue(&q) : role_relay(&r);
	sh->count[role] = counted();
	if (p->role == role)
		sh->met = met();
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

/* What the program was told of a message. */
struct told {
	int code;                    /* the last reply */
	bool hollow;                 /* 250, and no sync had succeeded since its last byte */
};

/* Sends the messages. False: an answer did not come. */
static bool
program(struct team *t, unsigned serial, struct told told[MESSAGES])
{
	static char content[4 * LARGE];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(SUBMISSION),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct lines *l = calloc(1, sizeof *l);
	int code, yes = 1;

	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	MUST(!setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
	MUST(!connect(l->fd, (struct sockaddr *)&a, sizeof a));
	code = reply(t, l);
	if (code == 220) {
		roles_say(l->fd, "EHLO program\r\n");
		code = reply(t, l);
	}
	for (unsigned i = 0; i < MESSAGES && code > 0; i++) {
		char line[200];
		size_t n, body;
		unsigned long syncs = __atomic_load_n(&sh->syncs, __ATOMIC_SEQ_CST);

		snprintf(line, sizeof line, "MAIL FROM:<s%u.%u@example.org>\r\n", serial, i);
		roles_say(l->fd, line);
		code = reply(t, l);
		for (unsigned k = 0; k < RCPTS && roles_mail[i].to[k] && code == 250; k++) {
			snprintf(line, sizeof line, "RCPT TO:<%s>\r\n", roles_mail[i].to[k]);
			roles_say(l->fd, line);
			code = reply(t, l);
		}
		if (code == 250) {
			roles_say(l->fd, "DATA\r\n");
			code = reply(t, l);
		}
		if (code == 354) {
			n = (size_t)snprintf(content, sizeof content, "From: s%u.%u@example.org\r\nSubject: x\r\n\r\n", serial, i);
			static char text[2 * LARGE];
			body = roles_body(serial, i, text);
			for (size_t k = 0; k < body; k++) {
				if (text[k] == '.' && (!k || text[k - 1] == '\n'))
					content[n++] = '.';
				content[n++] = text[k];
			}
			n += (size_t)snprintf(content + n, 4, ".\r\n");
			(void)!send(l->fd, content, n - 3, MSG_NOSIGNAL);
			syncs = __atomic_load_n(&sh->syncs, __ATOMIC_SEQ_CST);
			(void)!send(l->fd, content + n - 3, 3, MSG_NOSIGNAL);
			code = reply(t, l);
		}
		told[i] = (struct told){code, code == 250 && syncs == __atomic_load_n(&sh->syncs, __ATOMIC_SEQ_CST)};
		if (code > 0 && code != 250) {
			roles_say(l->fd, "RSET\r\n");
			code = reply(t, l);
		}
	}
	close(l->fd);
	free(l);
	return code >= 0;
}

/* ---- a point ---------------------------------------------------------------------------------------------- */

static unsigned long lost, torn, hollow, forbidden, twice, died, hangs, told250, refused, again, mets;

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
judge(const struct point *p, int through, const struct told told[MESSAGES])
{
	unsigned long before = lost + torn + hollow + forbidden + twice;

	torn += atomic_exchange(&sh->torn, 0) + (world_bytes(folder, "damaged") > 0);
	for (unsigned i = 0; i < MESSAGES; i++) {
		unsigned reports = atomic_load(&sh->m[i].reports), most = reports;
		bool mixed = false, any = false;

		/* a report is a message of its own, which may come twice; and there may be a second one */
		for (unsigned k = 0; k < reports; k++)
			if (atomic_load(&sh->m[i].report[k].got) > most)
				most = atomic_load(&sh->m[i].report[k].got);

		for (unsigned k = 0; k < RCPTS && roles_mail[i].to[k]; k++) {
			unsigned got = atomic_load(&sh->m[i].got[k]);
			bool nobody = !strncmp(roles_mail[i].to[k], "nobody", 6);

			mixed |= nobody;
			any |= got > 0;
			most = got > most ? got : most;
			if (told[i].code == 250 && !(nobody ? reports : got)) {
				printf("message %u to %s, %s: got %u, reports %u\n", i, roles_mail[i].to[k],
				    through ? "through" : "spool", got, reports);
				lost++;
			}
		}
		if (told[i].hollow && !through) {
			printf("message %u: told 250 without a sync\n", i);
			hollow++;
		}
		/* a mixed one may be refused with words that are true of some (queue_outcome.h) */
		forbidden += told[i].code >= 500 && any && !mixed;
		if (most > (p->role < 0 ? 1 : 2)) {
			printf("message %u, %s, told %d: got", i, through ? "through" : "spool", told[i].code);
			for (unsigned k = 0; k < RCPTS && roles_mail[i].to[k]; k++)
				printf(" %u", atomic_load(&sh->m[i].got[k]));
			printf(", reports %u:", reports);
			for (unsigned k = 0; k < reports; k++)
				printf(" %u", atomic_load(&sh->m[i].report[k].got));
			printf("\n");
			twice++;
		}
		again += most > 1;
		told250 += told[i].code == 250;
		refused += told[i].code >= 400;
	}
	if (lost + torn + hollow + forbidden + twice != before)
		printf("AT roles_feed %d %d %ld %ld: the role %s, %s at call %ld and %ld behind it\n", p->role, p->kind, p->n,
		    p->more, p->role < 0 ? "-" : role_name[p->role], kind_name[p->kind], p->n, p->more);
}

static void
one(const struct point *p, int through)
{
	unsigned serial = atomic_load(&sh->serial) + 1;
	struct told told[MESSAGES] = {0};
	struct point none = {.role = -1};
	struct team t = {0};
	unsigned long before = hangs;
	bool kills = p->role >= 0 && (p->kind == FAULT_KILL || p->kind == FAULT_TORN), done;

	for (unsigned i = 0; i < MESSAGES; i++) {
		for (unsigned k = 0; k < RCPTS; k++)
			atomic_store(&sh->m[i].got[k], 0);
		atomic_store(&sh->m[i].reports, 0);
		for (unsigned k = 0; k < REPORTS; k++)
			atomic_store(&sh->m[i].report[k].got, 0);
		atomic_store(&sh->m[i].late, 0);
	}
	atomic_store(&sh->serial, serial);
	sh->met = 0;
	begin(&t, p, through);
	hangs += !program(&t, serial, told);
	done = empty(&t, p->role < 0 ? limit_ms : 150);
	mets += kills && ended(&t, p->role);
	hangs += !end(&t, kills);
	mets += sh->met > 0;
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

/* A point of a role and a kind that have any. Of the calls those at the end are the messages' own: before them the
 * role reads its policy. */
static void
choose(struct point *p, long counts[ROLES][FAULT_NKIND][2], int through)
{
	static const long more[] = {0, 0, 0, 2, 20};
	long n;

	do {
		p->role = (int)rnd(ROLES);
		p->kind = (enum fault_kind)(1 + rnd(FAULT_NKIND - 1));
		n = counts[p->role][p->kind][through];
		/* epoll(7): half of what a stream could move says that it is drained, which front believes */
	} while (!n || (p->role == FRONT && p->kind == FAULT_SHORT));
	p->more = more[rnd(5)];
	p->n = n > 800 && rnd(2) ? n - (long)rnd(600) : 1 + (long)rnd((uint64_t)n);
}

int
main(int argc, char **argv)
{
	unsigned long points = argc > 1 ? strtoul(argv[1], NULL, 10) : 500, tried[ROLES][FAULT_NKIND] = {0};
	const char *from = argc == 3 ? argv[2] : getenv("SEED");
	uint64_t first = from ? strtoull(from, NULL, 10) : (uint64_t)time(NULL);
	long counts[ROLES][FAULT_NKIND][2] = {0};
	struct point p = {.role = -1};
	int fd[2];

	*(void **)&set = dlsym(RTLD_DEFAULT, "fault_set");
	*(void **)&counted = dlsym(RTLD_DEFAULT, "fault_count");
	*(void **)&met = dlsym(RTLD_DEFAULT, "fault_met");
	*(void **)&syncs_to = dlsym(RTLD_DEFAULT, "fault_syncs_to");
	if (!set || !counted || !met || !syncs_to) {
		fprintf(stderr, "fault.so is not loaded\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	/* no relay here has a certificate: the system's roots need not be read each time */
	setenv("SSL_CERT_FILE", "/dev/null", 1);
	setenv("SSL_CERT_DIR", "/nonexistent", 1);
	chance_begin(first);
	loopback_up();
	sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(sh != MAP_FAILED);
	fd[0] = roles_listening("127.0.0.1", PORT);
	fd[1] = roles_listening("127.0.0.2", PORT);
	MUST(fd[0] >= 0 && fd[1] >= 0);
	relays = fork();
	MUST(relays >= 0);
	if (!relays)
		roles_be_relays(sh, fd);
	close(fd[0]);
	close(fd[1]);
	listener = roles_listening("127.0.0.1", SUBMISSION);
	MUST(listener >= 0);
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
	mets = 0;
	if (shows) {
		p = (struct point){(int)strtol(argv[1], NULL, 10), (enum fault_kind)strtol(argv[2], NULL, 10),
		    strtol(argv[3], NULL, 10), strtol(argv[4], NULL, 10)};
		one(&p, 0);
		one(&p, 1);
		points = 2;
	} else if (argc == 4) {
		long step = strtol(argv[3], NULL, 10);

		p = (struct point){(int)strtol(argv[1], NULL, 10), (enum fault_kind)strtol(argv[2], NULL, 10), 0, 0};
		points = 0;
		for (int through = 0; through < 2; through++)
			for (p.n = 1; p.n <= counts[p.role][p.kind][through]; p.n += step, points++) {
				tried[p.role][p.kind]++;
				one(&p, through);
			}
	} else {
		for (unsigned long i = 0; i < points; i++) {
			int through = (int)rnd(2);

			choose(&p, counts, through);
			tried[p.role][p.kind]++;
			one(&p, through);
		}
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
	printf("%lu points, %lu of which came to their call, seed %llu: %lu messages told 250, %lu refused or put off, %lu "
	    "came twice; lost %lu, torn %lu, hollow %lu, forbidden %lu, twice %lu, died %lu, hangs %lu\n", points, mets,
	    (unsigned long long)first, told250, refused, again, lost, torn, hollow, forbidden, twice, died, hangs);
	return lost || torn || hollow || forbidden || twice || died || hangs || !told250;
}
