/* The relays of roles_feed, and what is sent to them. */
#include "faults/roles_world.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct shared *sh;

const struct roles_mail roles_mail[MESSAGES] = {
	{500, {"a@one.example", "b@two.example"}},
	{LARGE, {"c@one.example"}},
	{800, {"d@two.example", "nobody@one.example", "late@one.example"}},
	{300, {"nobody@two.example"}},
};

size_t
roles_body(unsigned serial, unsigned i, char *out)
{
	size_t n = 0;

	while (n < roles_mail[i].size)
		n += (size_t)snprintf(out + n, 100, "%s%u/%u at %zu\r\n", n % 3 ? "" : ".", serial, i, n);
	return n;
}

/* ---- relays ---- */

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

bool
roles_say(int fd, const char *s)
{
	return send(fd, s, strlen(s), MSG_NOSIGNAL) == (ssize_t)strlen(s);
}

/* Which recipient of which message. */
static bool
rcpt_of(const char *address, unsigned i, unsigned *k)
{
	for (*k = 0; *k < RCPTS && roles_mail[i].to[*k]; ++*k)
		if (!strcmp(roles_mail[i].to[*k], address))
			return true;
	return false;
}

/* Notes what came, and looks at it. */
static void
took(unsigned serial, unsigned i, char to[][64], unsigned nto, const char *content, size_t n)
{
	char *want = malloc(LARGE + 1000);
	const char *body = memmem(content, n, "\r\n\r\n", 4);
	size_t k = roles_body(serial, i, want);

	if (serial == atomic_load(&sh->serial)) {
		if (!body || n - (size_t)(body + 4 - content) != k || memcmp(body + 4, want, k) != 0)
			atomic_fetch_add(&sh->torn, 1);
		for (unsigned j = 0, r; j < nto; j++)
			if (rcpt_of(to[j], i, &r))
				atomic_fetch_add(&sh->m[i].got[r], 1);
	}
	free(want);
}

/* Notes a report on message i. */
static void
reported(unsigned serial, unsigned i, char *content, size_t n)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	const char *at;
	uint32_t id = 1;

	content[n] = 0;
	at = strstr(content, "\r\nMessage-ID:");
	for (at = at ? at + 2 : ""; *at && *at != '\r'; at++)
		id = (id ^ (unsigned char)*at) * 16777619;
	pthread_mutex_lock(&one);
	for (unsigned k = 0; serial == atomic_load(&sh->serial) && i < MESSAGES && k < REPORTS; k++)
		if (k == atomic_load(&sh->m[i].reports) || sh->m[i].report[k].id == id) {
			if (k == atomic_load(&sh->m[i].reports))
				atomic_fetch_add(&sh->m[i].reports, 1);
			sh->m[i].report[k].id = id;
			atomic_fetch_add(&sh->m[i].report[k].got, 1);
			break;
		}
	pthread_mutex_unlock(&one);
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

	roles_say(l->fd, "220 relay ESMTP\r\n");
	while ((k = line_of(l, line, 4096)) >= 0) {
		char *p = strchr(line, '<');

		if (!strncmp(line, "MAIL", 4)) {
			report = p && p[1] == '>';
			nto = got = 0;
			if (!report && (!p || sscanf(p, "<s%u.%u@", &serial, &i) != 2 || i >= MESSAGES))
				break;
			roles_say(l->fd, "250 2.1.0 ok\r\n");
		} else if (!strncmp(line, "RCPT", 4) && p) {
			p[strcspn(p, ">")] = 0;
			if (report && sscanf(p, "<s%u.%u@", &serial, &i) != 2)
				break;
			if (!strncmp(p + 1, "nobody", 6)) {
				roles_say(l->fd, "550 5.1.1 nobody of that name\r\n");
			} else if (!strncmp(p + 1, "late", 4) && !atomic_fetch_add(&sh->m[i].late, 1)) {
				roles_say(l->fd, "450 4.2.1 not now\r\n");
			} else {
				snprintf(to[nto], sizeof to[0], "%s", p + 1);
				nto += nto < RCPTS - 1;
				got++;
				roles_say(l->fd, "250 2.1.5 ok\r\n");
			}
		} else if (!strncmp(line, "DATA", 4) && !got) {
			roles_say(l->fd, "554 5.5.1 no recipients\r\n");
		} else if (!strncmp(line, "DATA", 4)) {
			roles_say(l->fd, "354 go on\r\n");
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
			else
				reported(serial, i, content, n);
			if (!roles_say(l->fd, "250 2.0.0 taken\r\n"))
				break;
			nto = got = 0;
		} else if (!strncmp(line, "EHLO", 4)) {
			roles_say(l->fd, "250-relay\r\n250-PIPELINING\r\n250 SIZE 1000000\r\n");
		} else if (!strncmp(line, "QUIT", 4)) {
			roles_say(l->fd, "221 2.0.0 bye\r\n");
			break;
		} else {
			roles_say(l->fd, "250 2.0.0 ok\r\n");
		}
	}
	close(l->fd);
	free(line);
	free(content);
	free(l);
	return NULL;
}

int
roles_listening(const char *address, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	inet_pton(AF_INET, address, &a.sin_addr);
	if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) &&
	    !bind(fd, (struct sockaddr *)&a, sizeof a) && !listen(fd, 100))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

_Noreturn void
roles_be_relays(struct shared *s, const int fd[2])
{
	int yes = 1;

	sh = s;
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
