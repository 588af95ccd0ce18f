/*
 * space: network namespaces for a moment.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nl/talk.h"
#include "prove/inside.h"

enum { STACK = 64 << 10 };

/* Shared with the child, which shares our memory and descriptors, and for which we wait
 * (clone(2), CLONE_VFORK): it may call only what vfork's child may. */
struct space {
	int fd, err;
};

static int
child(void *arg)
{
	struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	struct space *s = arg;

	s->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&any, sizeof any))
		s->err = -errno;
	return 0;
}

static int
spawn(struct space *s, int flags)
{
	char *stack = malloc(STACK);
	pid_t pid;

	*s = (struct space){.fd = -1};
	if (!stack)
		return -ENOMEM;
	pid = clone(child, stack + STACK, flags | CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, s);
	if (pid < 0)
		s->err = -errno;
	else
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	free(stack);
	return s->err;
}

int
space_open(struct nl_talk **out)
{
	struct space s;
	struct nl_talk *t;
	uint32_t gen;
	/* Whoever may, without a user namespace: the batches of root may be larger. */
	int err = spawn(&s, CLONE_NEWNET);

	if (err && s.fd < 0)
		err = spawn(&s, CLONE_NEWNET | CLONE_NEWUSER);
	if (!err)
		err = nl_talk_adopt(s.fd, &t);
	if (err) {
		if (s.fd >= 0)
			close(s.fd);
		return err;
	}
	/* Some machines give the namespace, and in it no rights. */
	err = nl_talk_gen(t, &gen);
	if (err)
		nl_talk_close(t);
	else
		*out = t;
	return err;
}
