/*
 * space: network namespaces for a moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "nl/talk.h"
#include "prove/inside.h"

enum { STACK = 256 << 10, WORDS = 2000 };

/* Shared with the child, which shares our memory and descriptors, and for which we wait
 * (clone(2), CLONE_VFORK): it may call only what vfork's child may. */
struct space {
	const char *path;          /* for nft; NULL: no program */
	int words;                 /* where it writes to */
	int fd, err, nft;          /* err: no namespace; nft: no program; both -errno */
};

/* A program keeps the right to change the rules there, although its user is nobody there
 * (capabilities(7), "Ambient"). */
static void
keep_rights(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &h, d))
		return;
	d[0].inheritable |= d[0].permitted & 1u << CAP_NET_ADMIN;
	if (!syscall(SYS_capset, &h, d))
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
}

static int
become(char *argv[], int words)
{
	/* descriptors of its own from here on */
	if (unshare(CLONE_FILES) || dup2(words, 1) < 0 || dup2(words, 2) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	keep_rights();
	execvp(argv[0], argv);
	if (errno == ENOENT || errno == EACCES)
		execv("/usr/sbin/nft", argv);
	return -errno;
}

int
space_nft(const char *from, int words)
{
	char name[] = "nft", f[] = "-f", path[4096];
	char *argv[] = {name, f, path, NULL};

	if (strlen(from) >= sizeof path)
		return -ENAMETOOLONG;
	memcpy(path, from, strlen(from) + 1);
	return become(argv, words);
}

int
space_nft_list(int words)
{
	char name[] = "nft", s[] = "-s", list[] = "list", ruleset[] = "ruleset";
	char *argv[] = {name, s, list, ruleset, NULL};

	return become(argv, words);
}

static int
child(void *arg)
{
	struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	struct space *s = arg;

	s->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&any, sizeof any))
		s->err = -errno;
	else if (s->path)
		s->nft = space_nft(s->path, s->words);
	return 1;
}

/* What the program says, until it ends; the first of it is kept. */
static const char *
listen_to(struct arena *a, int fd)
{
	char keep[WORDS + 1], more[512];
	size_t n = 0;
	ssize_t k;

	do {
		k = n < WORDS ? read(fd, keep + n, WORDS - n) : read(fd, more, sizeof more);
		if (k > 0 && n < WORDS)
			n += (size_t)k;
	} while (k > 0 || (k < 0 && errno == EINTR));
	while (n && keep[n - 1] == '\n')
		n--;
	for (size_t i = 0; i < n; i++) /* it repeats what is in the file */
		if ((unsigned char)keep[i] < 0x20 && keep[i] != '\n' && keep[i] != '\t')
			keep[i] = '?';
	return arena_strn(a, keep, n);
}

/* Makes the child; gives its pid, or -errno. */
static pid_t
spawn(struct space *s, int flags)
{
	char *stack = malloc(STACK);
	pid_t pid;

	s->fd = -1;
	s->err = s->nft = 0;
	if (!stack)
		return -ENOMEM;
	pid = clone(child, stack + STACK, flags | CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, s);
	if (pid < 0)
		pid = -errno;
	free(stack);
	return pid;
}

/* Whoever may makes it without a user namespace: the batches of root may be larger. */
static int
space(struct space *s, pid_t *pid)
{
	*pid = spawn(s, CLONE_NEWNET);
	if (*pid < 0)
		*pid = spawn(s, CLONE_NEWNET | CLONE_NEWUSER);
	return *pid < 0 ? *pid : s->err;
}

/* How the child ended: 0, or -EINVAL where it was not pleased. */
static int
ended(pid_t pid)
{
	int status = 1;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EINVAL;
}

/* Writes a file of /proc. */
static int
tell(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

int
space_user(uint32_t uid)
{
	uid_t own = geteuid();
	gid_t group = getegid();
	char map[64];
	int err;

	if (unshare(CLONE_NEWUSER))
		return -errno;
	tell("/proc/self/setgroups", "deny");
	snprintf(map, sizeof map, "%u %u 1", uid, own);
	err = tell("/proc/self/uid_map", map);
	snprintf(map, sizeof map, "0 %u 1", group);
	return err ? err : tell("/proc/self/gid_map", map);
}

int
space_child(int (*f)(void *), void *arg, int *status)
{
	char *stack = malloc(STACK);
	pid_t pid;
	int err = 0;

	if (!stack)
		return -ENOMEM;
	pid = clone(f, stack + STACK, SIGCHLD, arg);
	if (pid < 0)
		err = -errno;
	while (!err && waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			err = -errno;
	free(stack);
	return err;
}

/* Takes the socket over. Some machines give the namespace, and in it no rights. */
static int
adopt(struct space *s, struct nl_talk **out)
{
	struct nl_talk *t;
	uint32_t gen;
	int err = nl_talk_adopt(s->fd, &t);

	if (err) {
		close(s->fd);
		return err;
	}
	err = nl_talk_gen(t, &gen);
	if (err)
		nl_talk_close(t);
	else
		*out = t;
	return err;
}

int
space_open(struct nl_talk **out)
{
	struct space s = {0};
	pid_t pid;
	int err = space(&s, &pid);

	if (pid >= 0)
		ended(pid);
	if (!err)
		return adopt(&s, out);
	if (s.fd >= 0)
		close(s.fd);
	return err;
}

int
space_open_with(struct prove *p, const char *path, struct nl_talk **out)
{
	struct space s = {.path = path};
	int pipes[2], err, end = 0;
	const char *words = "";
	pid_t pid;

	p->step = PROVE_SPACE;
	if (pipe2(pipes, O_CLOEXEC))
		return -errno;
	s.words = pipes[1];
	err = space(&s, &pid);
	close(pipes[1]);
	if (pid >= 0) {
		words = listen_to(p->a, pipes[0]);
		end = ended(pid);
	}
	close(pipes[0]);
	if (!err)
		err = adopt(&s, out);
	else if (s.fd >= 0)
		close(s.fd);
	if (err)
		return err;
	p->step = PROVE_LOAD;
	p->who = s.nft ? "nft" : *words ? words : path;
	err = s.nft ? s.nft : end;
	if (err)
		nl_talk_close(*out);
	else
		p->who = NULL;
	return err;
}
