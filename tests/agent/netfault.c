/*
 * netfault: a library put before libc (LD_PRELOAD) that breaks a process's netlink.
 *
 * NETFAULT names a file of eight 32-bit words, mapped by every process that has the library: who reads
 * and writes it may be another program.
 *
 *     0  process in which calls on sockets of AF_NETLINK are counted; 0: none
 *     1  kind (below)        2  the call that meets the fault, from 1; 0: count only
 *     3  as many after it    4  calls counted        5  faults met
 *     6  bytes that a send buffer may have at most, in any process; 0: any
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PID, KIND, AT, MORE, COUNT, MET, ROOM, WORDS = 8 };

enum kind {
	LOST,      /* receiving: what was there is dropped; ENOBUFS */
	LOST_ONE,  /* the first of it is */
	SHORT,     /* receiving: half of it, and MSG_TRUNC */
	KILL,      /* the process, before the call */
	KILL_SENT, /* behind a sending call */
	STOP,      /* the process is stopped (SIGSTOP), before the call */
	FROM_ERRNO = 100, /* 100 + errno, the call is not made */
	NO_SEND = 300,    /* 300 + errno: sending alone */
	NO_RECEIVE = 500, /* 500 + errno: receiving alone */
};

static volatile uint32_t *word;

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("NETFAULT");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *m = fd < 0 ? MAP_FAILED :
	    mmap(NULL, WORDS * sizeof *word, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (m != MAP_FAILED)
		word = m;
	if (fd >= 0)
		close(fd);
}

static int
is_netlink(int fd)
{
	int domain = 0, was = errno;
	socklen_t n = sizeof domain;

	(void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n);
	errno = was;
	return domain == AF_NETLINK;
}

/* By a call that jails leave. */
static void
signal_self(int sig)
{
	syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
}

/* Whether the call meets the fault. */
static int
meets(int fd, int sending)
{
	uint32_t k, n;

	if (!word || !word[PID] || (uint32_t)getpid() != word[PID] || !is_netlink(fd))
		return 0;
	k = word[KIND];
	if (sending ? k == LOST || k == LOST_ONE || k == SHORT || k >= NO_RECEIVE :
	    k == KILL_SENT || (k >= NO_SEND && k < NO_RECEIVE))
		return 0;
	n = ++word[COUNT];
	if (!word[AT] || n < word[AT] || n - word[AT] > word[MORE])
		return 0;
	word[MET]++;
	if (k == KILL)
		signal_self(SIGKILL);
	if (k == STOP)
		signal_self(SIGSTOP);
	return k != STOP;
}

static ssize_t
refuse(void)
{
	uint32_t k = word[KIND];

	errno = (int)(k >= NO_RECEIVE ? k - NO_RECEIVE : k >= NO_SEND ? k - NO_SEND : k - FROM_ERRNO);
	return -1;
}

#define REAL(ret, name, ...) \
	static ret (*real)(__VA_ARGS__); \
	if (!real) \
		*(void **)&real = dlsym(RTLD_NEXT, name)

ssize_t
sendto(int fd, const void *p, size_t n, int flags, __CONST_SOCKADDR_ARG to, socklen_t len)
{
	REAL(ssize_t, "sendto", int, const void *, size_t, int, __CONST_SOCKADDR_ARG, socklen_t);
	ssize_t k;

	if (!meets(fd, 1))
		return real(fd, p, n, flags, to, len);
	if (word[KIND] != KILL_SENT)
		return refuse();
	k = real(fd, p, n, flags, to, len);
	signal_self(SIGKILL);
	return k;
}

ssize_t
recvmsg(int fd, struct msghdr *m, int flags)
{
	REAL(ssize_t, "recvmsg", int, struct msghdr *, int);
	ssize_t k;

	if (!meets(fd, 0))
		return real(fd, m, flags);
	switch (word[KIND]) {
	case LOST:
	case LOST_ONE:
		do
			k = real(fd, m, flags | MSG_DONTWAIT);
		while (k >= 0 && word[KIND] == LOST);
		errno = ENOBUFS;
		return -1;
	case SHORT:
		k = real(fd, m, flags);
		if (k > 0)
			m->msg_flags |= MSG_TRUNC;
		return k > 0 ? k / 2 : k;
	}
	return refuse();
}

int
setsockopt(int fd, int level, int what, const void *p, socklen_t n)
{
	REAL(int, "setsockopt", int, int, int, const void *, socklen_t);
	int room;

	if (word && word[ROOM] && level == SOL_SOCKET && (what == SO_SNDBUF || what == SO_SNDBUFFORCE) &&
	    is_netlink(fd)) {
		room = (int)word[ROOM];
		return real(fd, level, SO_SNDBUF, &room, sizeof room);
	}
	return real(fd, level, what, p, n);
}
