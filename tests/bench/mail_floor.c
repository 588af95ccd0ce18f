/*
 * mail_floor PORT TO PROCESSES: the least that a program between a program and its relay can do, for mail_bench.py.
 *
 * So many processes in a row, each asleep until its neighbour wakes it. The first speaks with a program, one at a
 * time, and gives its content on; the last has a connection to the relay at 127.0.0.1:TO, which it keeps, and gives
 * the relay's answer back. Nothing is looked at, kept or logged.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCK = 64 << 10 };

static unsigned short to;

static void
die(const char *what)
{
	fprintf(stderr, "mail_floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in
loopback(unsigned short port)
{
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool
put(int fd, const char *p, size_t n)
{
	return send(fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* Until `code` begins a line. */
static bool
until(int fd, const char *code)
{
	char b[2048];
	size_t n = 0;

	while (n < sizeof b - 1) {
		ssize_t k = recv(fd, b + n, sizeof b - 1 - n, 0);
		char *p = b;

		if (k <= 0)
			return false;
		n += (size_t)k;
		b[n] = 0;
		while (p && strncmp(p, code, strlen(code)) != 0)
			p = (p = strchr(p, '\n')) ? p + 1 : NULL;
		if (p)
			return true;
	}
	return false;
}

static int
relay(void)
{
	static const char hello[] = "EHLO floor\r\n";
	struct sockaddr_in a = loopback(to);
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (!connect(fd, (struct sockaddr *)&a, sizeof a) && until(fd, "220") && put(fd, hello, sizeof hello - 1) &&
	    until(fd, "250 "))
		return fd;
	close(fd);
	return -1;
}

/* The content to the relay. */
static bool
hand_on(const char *p, size_t n)
{
	static const char envelope[] = "MAIL FROM:<a@example.org> SIZE=4096\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";
	static int fd = -1;

	for (int i = 0; i < 2; i++) {
		if (fd < 0 && (fd = relay()) < 0)
			return false;
		if (put(fd, envelope, sizeof envelope - 1) && until(fd, "354"))
			return put(fd, p, n) && until(fd, "250");
		/* the relay of the last round has gone */
		close(fd);
		fd = -1;
	}
	return false;
}

/* The content to the next, or, at the last, to the relay; whether it was taken. */
static bool
give(int next, const char *p, size_t n)
{
	char ok = 0;

	if (next < 0)
		return hand_on(p, n);
	return put(next, p, n) && recv(next, &ok, 1, 0) == 1 && ok;
}

static void
between(int before, int next)
{
	static char b[BLOCK];
	ssize_t n;

	while ((n = recv(before, b, sizeof b, 0)) > 0) {
		char ok = give(next, b, (size_t)n);

		if (!put(before, &ok, 1))
			break;
	}
	exit(0);
}

/* One program, which waits for each reply. */
static void
session(int fd, int next)
{
	static char b[BLOCK + 1];
	bool data = false, on = put(fd, "220 floor ESMTP\r\n", 17);
	size_t n = 0;

	while (on) {
		const char *say = "250 2.0.0 ok\r\n";
		ssize_t k = recv(fd, b + n, BLOCK - n, 0);

		if (k <= 0)
			return;
		n += (size_t)k;
		b[n] = 0;
		if (data && !memmem(b, n, "\r\n.\r\n", 5))
			continue;
		if (data) {
			say = give(next, b, n) ? say : "451 4.0.0 no\r\n";
			data = false;
		} else if (b[n - 1] != '\n') {
			continue;
		} else if (!strncasecmp(b, "DATA", 4)) {
			say = "354 go on\r\n";
			data = true;
		} else if (!strncasecmp(b, "QUIT", 4)) {
			say = "221 2.0.0 bye\r\n";
			on = false;
		}
		n = 0;
		if (!put(fd, say, strlen(say)))
			return;
	}
}

/* A neighbour, and the channel to it. */
static int
beside(int next, int listener)
{
	pid_t parent = getpid(), pid = -1;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) || (pid = fork()) < 0)
		die("a process");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			exit(1);
		close(pair[0]);
		close(listener);
		between(pair[1], next);
	}
	close(pair[1]);
	return pair[0];
}

int
main(int argc, char **argv)
{
	struct sockaddr_in a;
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1, next = -1;

	if (argc != 4) {
		fprintf(stderr, "usage: mail_floor PORT TO PROCESSES\n");
		return 2;
	}
	a = loopback((unsigned short)strtoul(argv[1], NULL, 10));
	to = (unsigned short)strtoul(argv[2], NULL, 10);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 64))
		die("the port");
	for (unsigned long i = strtoul(argv[3], NULL, 10); i > 1; i--)
		next = beside(next, fd);
	for (;;) {
		int c = accept(fd, NULL, NULL);

		setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		session(c, next);
		close(c);
	}
}
