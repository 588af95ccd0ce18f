/*
 * starter: the process that starts roles and binds ports while the agent runs.
 *
 * It keeps CAP_NET_ADMIN (the log group's socket of the role attempts) and CAP_NET_BIND_SERVICE
 * (port 587), as far as the agent has them, reads nothing but the parent's few messages, and executes
 * nothing but this program and its neighbour, as one of five roles.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "ipc/starter.h"
#include "jail/jail.h"
#include "log/log.h"
#include "parent/parent.h"

enum {
	MOST_CHILDREN = 16,
	BACKLOG = 512,
	FIRST_FD = 3,              /* of a role */
	NET_BIND_BIT = 10,         /* linux/capability.h */
	NET_ADMIN_BIT = 12,
	WAIT_MS = 5000,
};

static const struct {
	const char *name;
	const char *program;       /* beside this one; NULL: this one */
	uint64_t caps;             /* passed on; the role drops them when it has opened what it needs */
} row[START_NWHICH] = {
	[START_ATTEMPTS] = {"attempts", NULL, 1ull << NET_ADMIN_BIT},
	[START_QUEUE] = {"queue", NULL, 0},
	[START_RELAY] = {"relay", "mailreeve-relay", 0},
	[START_FRONT] = {"front", NULL, 0},
	[START_APPLY] = {"apply", NULL, 1ull << NET_ADMIN_BIT},
};

struct starter {
	const struct parent_self *self;
	int chan, sig;
	pid_t child[MOST_CHILDREN]; /* 0: free */
	int fd[START_MOST_FDS];    /* given for the next role */
	unsigned nfd;
	int program[START_NWHICH]; /* opened once, so that an upgrade mixes no versions; or -errno */
	char missing[360]; /* of the role asked for: its program, and why there is none */
	char beside[4096];         /* the folder of the programs, with its last slash */
	int first, ngiven;         /* listening sockets of the service manager */
};

static void
drop_fds(struct starter *s)
{
	while (s->nfd)
		close(s->fd[--s->nfd]);
}

/* In the child: its descriptors from 3 on, and nothing else but standard error. */
static void
become(struct starter *s, const struct start_role *r)
{
	char role[40], uid[24], gid[24], fds[24];
	char args[START_MOST_ARGS][IPC_MOST_TEXT + 8];
	char *argv[START_MOST_ARGS + 7];
	sigset_t none;
	int n = 0, high = FIRST_FD + (int)s->nfd + 1;
	/* out of the way first: what it has now may be where a role's descriptors go */
	int program = fcntl(s->program[r->which], F_DUPFD_CLOEXEC, high);

	snprintf(role, sizeof role, "--role=%s", row[r->which].name);
	snprintf(uid, sizeof uid, "--uid=%u", s->self->uid);
	snprintf(gid, sizeof gid, "--gid=%u", s->self->gid);
	snprintf(fds, sizeof fds, "--fds=%u", s->nfd);
	argv[n++] = (char[]){"mailreeved"};
	argv[n++] = role;
	argv[n++] = uid;
	argv[n++] = gid;
	argv[n++] = fds;
	if (s->self->no_owner)
		argv[n++] = (char[]){"--no-owner"};
	for (uint32_t i = 0; i < r->narg; i++) {
		snprintf(args[i], sizeof args[i], "--arg=%s", r->arg[i].text);
		argv[n++] = args[i];
	}
	argv[n] = NULL;
	for (unsigned i = 0; i < s->nfd; i++)
		if ((s->fd[i] = fcntl(s->fd[i], F_DUPFD_CLOEXEC, high)) < 0)
			_exit(126);
	for (unsigned i = 0; i < s->nfd; i++)
		if (dup2(s->fd[i], FIRST_FD + (int)i) < 0)
			_exit(126);
	sigemptyset(&none);
	if (program < 0 || dup3(program, FIRST_FD + (int)s->nfd, O_CLOEXEC) < 0 ||
	    sigprocmask(SIG_SETMASK, &none, NULL) || jail_caps_pass(row[r->which].caps) ||
	    syscall(SYS_close_range, FIRST_FD + s->nfd + 1, ~0u, 0) < 0)
		_exit(126);
	execveat(FIRST_FD + (int)s->nfd, "", argv, environ, AT_EMPTY_PATH);
	log_say(LOG_IS_ERROR, NULL, "the role %s cannot be executed: %s", row[r->which].name, strerror(errno));
	_exit(127);
}

static void
start(struct starter *s, const struct start_role *r, struct start_done *d)
{
	pid_t pid;
	int at = 0;

	while (at < MOST_CHILDREN && s->child[at])
		at++;
	if (at == MOST_CHILDREN || r->which >= START_NWHICH) {
		d->err = at == MOST_CHILDREN ? EAGAIN : EINVAL;
		return;
	}
	if (s->program[r->which] < 0) {
		d->err = (uint32_t)-s->program[r->which];
		snprintf(s->missing, sizeof s->missing, "%.256s%s: %s; install it and start the agent anew", s->beside,
		    row[r->which].program, strerror((int)d->err));
		d->why = s->missing;
		return;
	}
	pid = fork();
	if (pid == 0)
		become(s, r);
	if (pid < 0) {
		d->err = (uint32_t)errno;
		return;
	}
	s->child[at] = pid;
	d->pid = (uint32_t)pid;
}

/* A listening socket of the loopback: no other address is bound for whoever asks. */
static int
bound(const struct starter *s, const struct start_bind *b, uint32_t *err)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)b->port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)b->port)};
	bool six = inet_pton(AF_INET6, b->address, &v6.sin6_addr) == 1;
	int on = 1, fd;

	if (b->port == 0 || b->port > 65535 || (six ? !IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) :
	    inet_pton(AF_INET, b->address, &v4.sin_addr) != 1 || ntohl(v4.sin_addr.s_addr) >> 24 != 127)) {
		*err = EINVAL;
		return -1;
	}
	for (int i = 0; i < s->ngiven; i++)
		if (sd_is_socket_sockaddr(s->first + i, SOCK_STREAM, six ? (struct sockaddr *)&v6 :
		    (struct sockaddr *)&v4, six ? sizeof v6 : sizeof v4, 1) > 0 &&
		    fcntl(s->first + i, F_SETFL, O_RDWR | O_NONBLOCK) == 0)
			return fcntl(s->first + i, F_DUPFD_CLOEXEC, 3);
	fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
	    (six && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on)) ||
	    bind(fd, six ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4, six ? sizeof v6 : sizeof v4) ||
	    listen(fd, BACKLOG)) {
		*err = (uint32_t)errno;
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static void
end(struct starter *s, const struct start_kill *k, struct start_done *d)
{
	d->err = ESRCH;
	for (int i = 0; i < MOST_CHILDREN; i++)
		if (s->child[i] && (uint32_t)s->child[i] == k->pid)
			d->err = kill(s->child[i], SIGKILL) ? (uint32_t)errno : 0;
}

static int
one(struct starter *s, struct ipc_in *in)
{
	struct start_done d = {0};
	const void *body = NULL;
	int fd = -1, err;

	if (in->type == 0 || in->type >= START_NASK ||
	    (start_ask_shape[in->type].size && ipc_body(in, &start_ask_shape[in->type], &body))) {
		d.err = EBADMSG;
	} else if (in->type == START_GIVE) {
		for (uint32_t i = 0; i < in->nfd && s->nfd < START_MOST_FDS; i++)
			s->fd[s->nfd++] = ipc_take(in, i);
	} else if (!body) {
		d.err = EBADMSG;       /* the others have one */
	} else if (in->type == START_ROLE) {
		start(s, body, &d);
		drop_fds(s);
	} else if (in->type == START_BIND) {
		fd = bound(s, body, &d.err);
	} else {
		end(s, body, &d);
	}
	err = ipc_send_wait(s->chan, START_DONE, in->id, &start_tell_shape[START_DONE], &d, &fd, fd >= 0, WAIT_MS);
	if (fd >= 0)
		close(fd);
	return err;
}

static int
reap(struct starter *s)
{
	struct signalfd_siginfo si;
	int status, err = 0;

	while (read(s->sig, &si, sizeof si) == (ssize_t)sizeof si)
		;
	for (int i = 0; i < MOST_CHILDREN && !err; i++) {
		struct start_ended e = {.pid = (uint32_t)s->child[i]};

		if (!s->child[i] || waitpid(s->child[i], &status, WNOHANG) != s->child[i])
			continue;
		s->child[i] = 0;
		if (WIFSIGNALED(status))
			e.signal = (uint32_t)WTERMSIG(status);
		else
			e.status = (uint32_t)WEXITSTATUS(status);
		err = ipc_send_wait(s->chan, START_ENDED, 0, &start_tell_shape[START_ENDED], &e, NULL, 0, WAIT_MS);
	}
	return err;
}

/* The programs of the roles: this one, and those beside it, which may be missing where no policy asks
 * for them. 0 or -errno. */
static int
programs(struct starter *s)
{
	/* read apart: with sanitizers gcc believes that s may be NULL, and refuses */
	char path[sizeof s->beside + 64], beside[sizeof s->beside], *slash;
	ssize_t n = readlink("/proc/self/exe", beside, sizeof beside - 1);

	if (n < 0)
		return -errno;
	beside[n] = '\0';
	memcpy(s->beside, beside, (size_t)n + 1);
	slash = strrchr(s->beside, '/');
	if (slash)
		slash[1] = '\0';
	for (int i = 0; i < START_NWHICH; i++) {
		snprintf(path, sizeof path, "%s%s", s->beside, row[i].program ? row[i].program : "");
		s->program[i] = open(row[i].program ? path : "/proc/self/exe", O_PATH | O_CLOEXEC);
		if (s->program[i] >= 0)
			continue;
		s->program[i] = -errno;
		if (!row[i].program) {
			log_say(LOG_IS_ERROR, NULL, "/proc/self/exe: %s", strerror(-s->program[i]));
			return s->program[i];
		}
	}
	return 0;
}

static int
serve(struct starter s)
{
	const struct parent_self *self = s.self;
	int chan = s.chan;
	struct ipc_in in;
	sigset_t mask;
	int err;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	s.sig = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s.sig < 0 || programs(&s) || jail_begin() || jail_user(self->uid, self->gid, true) ||
	    jail_caps_pass(1ull << NET_ADMIN_BIT | 1ull << NET_BIND_BIT) || jail_seccomp(JAIL_STARTER) < 0) {
		log_say(LOG_IS_ERROR, NULL, "the starter cannot begin: %s", strerror(errno));
		return 1;
	}
	for (;;) {
		struct pollfd p[2] = {{.fd = chan, .events = POLLIN}, {.fd = s.sig, .events = POLLIN}};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return 1;
		err = p[1].revents ? reap(&s) : 0;
		if (!err && p[0].revents) {
			err = ipc_recv(chan, &in);
			if (err == 0)
				return 0;
			if (err == 1) {
				err = one(&s, &in);
				ipc_free(&in);
			} else if (err == -EAGAIN || err == -EBADMSG) {
				err = 0;
			}
		}
		if (err)
			return err == -EPIPE ? 0 : 1;
	}
}

int
parent_starter(int chan, const struct parent_self *self)
{
	return serve((struct starter){.self = self, .chan = chan});
}

int
parent_apart(const char *run)
{
	struct parent_self self = {.uid = geteuid(), .gid = getegid()};
	struct starter s = {.self = &self, .chan = -1, .first = SD_LISTEN_FDS_START, .ngiven = sd_listen_fds(1)};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct timespec pause = {.tv_nsec = 500000000};
	int n = snprintf(a.sun_path, sizeof a.sun_path, "%s/starter.sock", run), fd;

	if (n < 0 || (size_t)n >= sizeof a.sun_path)
		return 2;
	(void)sd_notify(0, "READY=1\nSTATUS=waits for mailreeved");
	for (;;) {
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return 1;
		if (!connect(fd, (struct sockaddr *)&a, sizeof a))
			break;
		close(fd);
		nanosleep(&pause, NULL);
	}
	if (fcntl(fd, F_SETFL, O_NONBLOCK))
		return 1;
	(void)sd_notify(0, "STATUS=starts the mail roles for mailreeved");
	s.chan = fd;
	return serve(s);
}
