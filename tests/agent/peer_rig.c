/*
 * peer_rig: accepts connections on a port of loopback, of both families, and prints who is at their
 * other end: a JSON object a line, until standard input ends.
 *
 *	peer_rig PORT
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer/peer.h"

static int
listening(int family, uint16_t port)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port),
		.sin6_addr = in6addr_loopback};
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six,
	    family == AF_INET ? sizeof four : sizeof six) || listen(fd, 16)) {
		perror("peer_rig");
		exit(1);
	}
	return fd;
}

int
main(int argc, char **argv)
{
	uint16_t port = (uint16_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 0);
	struct pollfd f[3] = {{STDIN_FILENO, POLLIN, 0}, {listening(AF_INET, port), POLLIN, 0},
		{listening(AF_INET6, port), POLLIN, 0}};
	int diag = peer_open();

	if (diag < 0)
		return 1;
	printf("{\"ready\":true}\n");
	fflush(stdout);
	while (poll(f, 3, -1) > 0 && !f[0].revents) {
		for (int i = 1; i < 3; i++) {
			struct peer_sock s = {0};
			if (!f[i].revents)
				continue;
			int conn = accept4(f[i].fd, NULL, NULL, SOCK_CLOEXEC);
			if (conn < 0)
				continue;
			int got = peer_of_tcp(diag, conn, &s);
			printf("{\"got\":%d,\"uid\":%" PRIu32 ",\"inode\":%" PRIu32 ",\"cgroup\":%" PRIu64 "}\n",
			    got, s.uid, s.inode, s.cgroup);
			fflush(stdout);
			close(conn);
		}
	}
	return 0;
}
