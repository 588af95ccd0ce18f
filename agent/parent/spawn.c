/*
 * spawn: the spawner, and the child that asks the name service.
 */
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/spawn.h"
#include "jail/jail.h"
#include "parent/parent.h"

enum { WAIT_MS = 5000 };

static char *const child_argv[SPAWN_NASK][3] = {
	[SPAWN_COMPILE] = {(char[]){"mailreeved"}, (char[]){"--role=compile"}, NULL},
	[SPAWN_NAMES] = {(char[]){"mailreeved"}, (char[]){"--role=names"}, NULL},
};

/* In the child: its channel at 3, nothing else but standard error. */
static void
become(uint32_t type, int chan)
{
	if (dup2(chan, 3) < 0 || syscall(SYS_close_range, 4u, ~0u, 0) < 0)
		_exit(126);
	execve("/proc/self/exe", child_argv[type], environ);
	_exit(127);
}

/* Waits for the child, at most ms milliseconds, or until the parent has gone. */
static void
wait_for(pid_t pid, uint32_t ms, int chan, struct spawn_ended *e)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), status = 0, n;
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = chan, .events = 0}};

	if (fd < 0) {
		e->err = (uint32_t)errno;
		kill(pid, SIGKILL);
	} else {
		do
			n = poll(p, 2, (int)ms);
		while (n < 0 && errno == EINTR);
		if (!(p[0].revents & POLLIN)) {
			e->late = n == 0;
			kill(pid, SIGKILL);
		}
		close(fd);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		e->signal = (uint32_t)WTERMSIG(status);
	else
		e->status = (uint32_t)WEXITSTATUS(status);
}

/* Whether its end of the channel has been closed by who asked. */
static bool
forsaken(int child)
{
	struct pollfd p = {.fd = child, .events = 0};

	return child >= 0 && poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

static void
one(uint32_t type, int child, uint32_t ms, int chan, struct spawn_ended *e)
{
	if (forsaken(child)) {
		close(child);
		e->err = ECANCELED;
		return;
	}

	pid_t pid = child < 0 || type == 0 || type >= SPAWN_NASK || ms > INT32_MAX ? -1 : fork();

	if (pid == 0)
		become(type, child);
	if (pid < 0) {
		e->err = (uint32_t)(errno ? errno : EBADMSG);
		return;
	}
	close(child);
	wait_for(pid, ms, chan, e);
}

int
parent_spawner(int chan, const struct parent_self *self)
{
	struct ipc_in in;
	int err;

	if (jail_begin() || jail_user(self->uid, self->gid, false) || jail_caps(0) || jail_seccomp(JAIL_PARENT) < 0)
		return 1;
	while ((err = ipc_recv_wait(chan, &in, -1)) == 1) {
		struct spawn_ended e = {0};
		const void *body;

		errno = 0;
		if (ipc_body(&in, &spawn_job_shape, &body) == 0)
			one(in.type, ipc_take(&in, 0), ((const struct spawn_job *)body)->ms, chan, &e);
		else
			e.err = EBADMSG;
		err = ipc_send_wait(chan, SPAWN_ENDED, in.id, &spawn_ended_shape, &e, NULL, 0, -1);
		ipc_free(&in);
		if (err)
			break;
	}
	return err ? 1 : 0;
}

static uint64_t
number_of(const char *user)
{
	enum { ROOM = 16 << 10 };
	struct passwd pw, *found = NULL;
	char *room = malloc(ROOM);
	uint64_t uid = UINT64_MAX;

	if (room && getpwnam_r(user, &pw, room, ROOM, &found) == 0 && found)
		uid = found->pw_uid;
	free(room);
	return uid;
}

int
parent_names(int chan)
{
	struct apply_name name[APPLY_MOST_NAMES];
	struct apply_host answer = {.name = name};
	const void *body;
	struct ipc_in in;
	int err = jail_begin();

	if (!err && ipc_recv_wait(chan, &in, WAIT_MS) != 1)
		err = -EBADMSG;
	if (err)
		return 1;
	if (in.type == NAMES_ASK && !ipc_body(&in, &spawn_names_shape, &body)) {
		const struct apply_host *h = body;

		for (; answer.nname < h->nname; answer.nname++) {
			name[answer.nname] = h->name[answer.nname];
			name[answer.nname].value = number_of(h->name[answer.nname].name);
		}
		err = ipc_send_wait(chan, NAMES_TOLD, in.id, &spawn_names_shape, &answer, NULL, 0,
		    WAIT_MS);
	} else {
		err = -EBADMSG;
	}
	ipc_free(&in);
	return err ? 1 : 0;
}
