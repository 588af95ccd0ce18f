/*
 * mail_way: what mail_bench.py needs beside Postfix's smtp-source and smtp-sink.
 *
 *   mail_way way PORT TO MS [CERT]       a way to the relay at 127.0.0.1:TO: each round trip takes MS more, the
 *                                        handshake too; with CERT (PEM, with its key) TLS 1.3 from the first byte
 *   mail_way one PORT SINK N BYTES [CA]  N messages, one after the other, each with a connection of its own, to
 *                                        127.0.0.1:PORT; the relay that gets them is here, at SINK. With CA: TLS,
 *                                        verified, from the first byte
 *
 *   mail_way sink PORT                   a relay that takes all; each 4 ms in which something came a line: how many
 *                                        messages have come, and when the last did
 *   mail_way load PORT SESSIONS N BYTES keep|each
 *                                        N messages by so many sessions at once, each command after its reply;
 *                                        a session keeps its connection, or makes one for each message. When
 *                                        the last 250 to a content came
 *
 * Both are as smtp-source and smtp-sink, with less processor time: what measures 1 MB messages must not be
 * what limits them. Times are seconds of the monotonic clock.
 *
 * `one` prints microseconds, of each message a line: from before connect() until the 250 to the content, and
 * until the relay had the content whole. Every wait ends after 60 s, with status 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 64 << 10, PATIENCE_S = 60 };

static const uint64_t SECOND = 1000000000;
static uint64_t delay;               /* ns, one way */
static unsigned short to_port;
static SSL_CTX *tls;

static uint64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void
doze(uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND)};

	nanosleep(&t, NULL);
}

static void
die(const char *what)
{
	fprintf(stderr, "mail_way: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in
loopback(unsigned short port)
{
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int
listener(unsigned short port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
	    bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 512))
		die("listen");
	return fd;
}

static int
connected(unsigned short port)
{
	struct timeval t = {.tv_sec = PATIENCE_S};
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a)) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	return fd;
}

/* A thread for each connection. */
static void
serve(int fd, void *(*each)(void *))
{
	for (;;) {
		int c = accept(fd, NULL, NULL), on = 1;
		pthread_attr_t attr;
		pthread_t t;

		if (c < 0)
			continue;
		setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		pthread_attr_init(&attr);
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		pthread_attr_setstacksize(&attr, 256 << 10);
		if (pthread_create(&t, &attr, each, (void *)(intptr_t)c))
			close(c);
		pthread_attr_destroy(&attr);
	}
}

/* ---- the way ------------------------------------------------------------------------ */

struct chunk {
	struct chunk *next;
	uint64_t due;
	size_t n;
	char p[];
};

struct line {
	struct chunk *first, **last;
};

static void
append(struct line *l, const char *p, size_t n)
{
	struct chunk *c = malloc(sizeof *c + n);

	if (!c)
		die("memory");
	c->next = NULL;
	c->due = now() + delay;
	c->n = n;
	memcpy(c->p, p, n);
	*l->last = c;
	l->last = &c->next;
}

static bool
put(int fd, SSL *ssl, const char *p, size_t n)
{
	while (n) {
		ssize_t k = ssl ? SSL_write(ssl, p, (int)n) : send(fd, p, n, MSG_NOSIGNAL);

		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

/* What is due goes. False: the end of it has, or its reader is gone. */
static bool
pass(struct line *l, int fd, SSL *ssl, uint64_t *next)
{
	while (l->first && l->first->due <= now()) {
		struct chunk *c = l->first;
		bool end = !c->n || !put(fd, ssl, c->p, c->n);

		l->first = c->next;
		if (!l->first)
			l->last = &l->first;
		free(c);
		if (end)
			return false;
	}
	if (l->first && l->first->due < *next)
		*next = l->first->due;
	return true;
}

static void *
way(void *arg)
{
	struct line there = {0}, back = {0};
	int c = (int)(intptr_t)arg, r;
	bool heard = true, said = true;
	SSL *ssl = NULL;
	char *b = malloc(BLOCK);

	there.last = &there.first;
	back.last = &back.first;
	doze(3 * delay);             /* SYN, SYN-ACK, ACK */
	if (tls) {
		ssl = SSL_new(tls);
		SSL_set_fd(ssl, c);
		if (SSL_accept(ssl) != 1)
			goto out;
	}
	r = connected(to_port);
	if (r < 0)
		goto out;
	for (;;) {
		struct pollfd p[2] = {{c, heard ? POLLIN : 0, 0}, {r, said ? POLLIN : 0, 0}};
		uint64_t next = UINT64_MAX, t;
		struct timespec wait;
		ssize_t n;

		if (!pass(&there, r, NULL, &next) || !pass(&back, c, ssl, &next))
			break;
		t = now();
		t = next < t ? 0 : next - t;
		wait = (struct timespec){.tv_sec = (time_t)(t / SECOND), .tv_nsec = (long)(t % SECOND)};
		if (!(ssl && heard && SSL_pending(ssl)) &&
		    ppoll(p, 2, next == UINT64_MAX ? NULL : &wait, NULL) < 0 && errno != EINTR)
			break;
		if (p[0].revents || (ssl && SSL_pending(ssl))) {
			n = ssl ? SSL_read(ssl, b, BLOCK) : recv(c, b, BLOCK, 0);
			heard = n > 0;
			append(&there, b, n > 0 ? (size_t)n : 0);
		}
		if (p[1].revents) {
			n = recv(r, b, BLOCK, 0);
			said = n > 0;
			append(&back, b, n > 0 ? (size_t)n : 0);
		}
	}
	close(r);
out:
	for (struct line *l = &there; l; l = l == &there ? &back : NULL)
		while (l->first) {
			struct chunk *x = l->first;

			l->first = x->next;
			free(x);
		}
	free(b);
	if (ssl)
		SSL_shutdown(ssl);
	SSL_free(ssl);
	close(c);
	return NULL;
}

/* ---- one message at a time --------------------------------------------------------------- */

static _Atomic uint64_t taken;       /* messages that the relay here has */
static _Atomic uint64_t last;        /* when it had the last */

/* How much of b[0..n) is content: all of it, but for what could be the end's begin; *end: the end is there. */
static size_t
content_of(const char *b, size_t n, bool *end)
{
	static const char mark[] = "\r\n.\r\n";
	const char *p = memmem(b, n, mark, 5);

	*end = p != NULL;
	return p ? (size_t)(p - b) + 5 : n > 4 ? n - 4 : 0;
}

/* Answers whole lines of b[0..n); how much is taken. */
static size_t
commands(const char *b, size_t n, char *out, size_t *nout, bool *data, bool *end)
{
	static const char can[] = "250-relay.example.org\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 100000000\r\n"
	    "250 ENHANCEDSTATUSCODES\r\n";
	size_t at = 0;
	const char *e;

	while (!*data && !*end && *nout < 3000 && (e = memchr(b + at, '\n', n - at))) {
		const char *say = "250 2.0.0 ok\r\n";

		if (!strncasecmp(b + at, "EHLO", 4)) {
			say = can;
		} else if (!strncasecmp(b + at, "DATA", 4)) {
			say = "354 go on\r\n";
			*data = true;
		} else if (!strncasecmp(b + at, "QUIT", 4)) {
			say = "221 2.0.0 bye\r\n";
			*end = true;
		}
		memcpy(out + *nout, say, strlen(say));
		*nout += strlen(say);
		at = (size_t)(e + 1 - b);
	}
	return at;
}

/* A relay: what comes in one piece is answered in one piece. */
static void *
relay(void *arg)
{
	static const char hello[] = "220 relay.example.org ESMTP\r\n", taken_it[] = "250 2.0.0 taken\r\n";
	int fd = (int)(intptr_t)arg;
	char *b = malloc(BLOCK + 1), out[4096];
	bool data = false, end = !b || !put(fd, NULL, hello, sizeof hello - 1);
	size_t n = 0;

	while (!end) {
		ssize_t k = recv(fd, b + n, BLOCK - n, 0);
		size_t at = 0, nout = 0, was;

		if (k <= 0)
			break;
		n += (size_t)k;
		b[n] = 0;
		do {
			was = at;
			if (data) {
				bool over;

				at += content_of(b + at, n - at, &over);
				if (over) {
					atomic_store(&last, now());
					atomic_fetch_add(&taken, 1);
					data = false;
					memcpy(out + nout, taken_it, sizeof taken_it - 1);
					nout += sizeof taken_it - 1;
				}
			} else {
				at += commands(b + at, n - at, out, &nout, &data, &end);
			}
		} while (at != was && at < n && !end && nout < 3000);
		memmove(b, b + at, n - at);
		n -= at;
		if (n == BLOCK || (nout && !put(fd, NULL, out, nout)))
			break;
	}
	free(b);
	close(fd);
	return NULL;
}

static void *
tells(void *arg)
{
	uint64_t told = 0;

	(void)arg;
	for (;;) {
		uint64_t n = atomic_load(&taken);

		if (n != told) {
			printf("%llu %.6f\n", (unsigned long long)n, (double)atomic_load(&last) / 1e9);
			fflush(stdout);
		}
		told = n;
		doze(4000000);
	}
	return NULL;
}

static void *
relays(void *fd)
{
	serve((int)(intptr_t)fd, relay);
	return NULL;
}

/* The code of a whole reply; 0: none. */
static int
reply(int fd, SSL *ssl)
{
	char b[2048];
	size_t n = 0;

	while (n < sizeof b - 1) {
		ssize_t k = ssl ? SSL_read(ssl, b + n, (int)(sizeof b - 1 - n)) : recv(fd, b + n, sizeof b - 1 - n, 0);
		char *p = b;

		if (k <= 0)
			return 0;
		n += (size_t)k;
		b[n] = 0;
		if (b[n - 1] != '\n')
			continue;
		for (char *e; (e = strchr(p, '\n')); p = e + 1)
			if (e - p >= 4 && p[3] == ' ')
				return (int)strtol(p, NULL, 10);
	}
	return 0;
}

static bool
ask(int fd, SSL *ssl, const char *line, int want)
{
	int code = put(fd, ssl, line, strlen(line)) ? reply(fd, ssl) : 0;

	if (code != want)
		fprintf(stderr, "mail_way: %.10s: %d, not %d\n", line, code, want);
	return code == want;
}

static SSL *
verified(SSL_CTX *ctx, int fd)
{
	SSL *ssl = SSL_new(ctx);

	SSL_set_fd(ssl, fd);
	SSL_set1_host(ssl, "relay.example.org");
	SSL_set_tlsext_host_name(ssl, "relay.example.org");
	return SSL_connect(ssl) == 1 ? ssl : NULL;
}

/* Sends one; when its content was answered. */
static uint64_t
send_one(unsigned short port, const char *content)
{
	int fd = connected(port);
	SSL *ssl = NULL;
	uint64_t t;

	if (fd < 0)
		die("connect");
	if (tls && !(ssl = verified(tls, fd)))
		die("TLS");
	if (reply(fd, ssl) != 220 || !ask(fd, ssl, "EHLO localhost\r\n", 250) ||
	    !ask(fd, ssl, "MAIL FROM:<a@example.org>\r\n", 250) || !ask(fd, ssl, "RCPT TO:<b@example.net>\r\n", 250) ||
	    !ask(fd, ssl, "DATA\r\n", 354) || !ask(fd, ssl, content, 250))
		exit(1);
	t = now();
	(void)ask(fd, ssl, "QUIT\r\n", 221);
	SSL_free(ssl);
	close(fd);
	return t;
}

static int
one(unsigned short port, unsigned short sink, unsigned long n, size_t size)
{
	static const char head[] = "From: a@example.org\r\nTo: b@example.net\r\nSubject: one\r\n"
	    "Date: Sun, 22 Nov 2026 00:00:00 +0000\r\nMessage-ID: <%lu@example.org>\r\n\r\n";
	char *content = malloc(size + 512);
	pthread_t t;

	if (!content || pthread_create(&t, NULL, relays, (void *)(intptr_t)listener(sink)))
		die("begin");
	for (unsigned long i = 0; i < n; i++) {
		size_t k = (size_t)sprintf(content, head, i);
		uint64_t before, answered;

		while (k + 80 < size) {
			memset(content + k, 'x', 70);
			memcpy(content + k + 70, "\r\n", 3);
			k += 72;
		}
		memcpy(content + k, ".\r\n", 4);
		before = now();
		answered = send_one(port, content);
		while (atomic_load(&taken) <= i) {
			if (now() - before > PATIENCE_S * SECOND) {
				fprintf(stderr, "mail_way: message %lu does not come\n", i);
				return 1;
			}
			doze(200000);
		}
		printf("%llu %llu\n", (unsigned long long)(answered - before) / 1000,
		    (unsigned long long)(atomic_load(&last) - before) / 1000);
		doze(10000000);
	}
	free(content);
	return 0;
}

/* ---- many -------------------------------------------------------------------------------------- */

struct session {
	int fd, at;                  /* what was said last: a row of script, or the greeting is awaited */
	size_t said;                 /* of the content */
	char b[512];
	size_t n;
};

static const char *const script[] = {"EHLO localhost\r\n", "MAIL FROM:<a@example.org>\r\n", "RCPT TO:<b@example.net>\r\n",
	"DATA\r\n", NULL, "QUIT\r\n"};
enum { GREETING = -1, EHLO, MAIL, RCPT, DATA, CONTENT, QUIT };
static const int wanted[] = {220, 250, 250, 250, 354, 250, 221};

static struct load {
	int epoll;
	unsigned short port;
	unsigned long begun, done, n;
	bool keep;
	char *content;
	size_t size;
	uint64_t last;
} load;

static void
watch(struct session *s, uint32_t events, int how)
{
	struct epoll_event e = {.events = events, .data.ptr = s};

	if (epoll_ctl(load.epoll, how, s->fd, &e))
		die("epoll");
}

static void
dial(struct session *s)
{
	s->fd = connected(load.port);
	if (s->fd < 0)
		die("connect");
	s->at = GREETING;
	s->n = 0;
	watch(s, EPOLLIN, EPOLL_CTL_ADD);
}

static void
say_content(struct session *s)
{
	while (s->said < load.size) {
		ssize_t k = send(s->fd, load.content + s->said, load.size - s->said, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k < 0 && errno == EAGAIN) {
			watch(s, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
			return;
		}
		if (k < 0)
			die("content");
		s->said += (size_t)k;
	}
	watch(s, EPOLLIN, EPOLL_CTL_MOD);
}

/* The reply to what was said is here: says the next. */
static void
go_on(struct session *s)
{
	if (s->at == CONTENT) {
		load.done++;
		load.last = now();
	}
	if (s->at == QUIT) {
		close(s->fd);
		if (load.begun < load.n) {
			load.begun++;
			dial(s);
		}
		return;
	}
	s->at++;
	if (s->at == QUIT && load.keep && load.begun < load.n) {
		load.begun++;
		s->at = MAIL;
	}
	if (s->at == CONTENT) {
		s->said = 0;
		say_content(s);
	} else if (!put(s->fd, NULL, script[s->at], strlen(script[s->at]))) {
		die("send");
	}
}

static void
hear(struct session *s)
{
	ssize_t k = recv(s->fd, s->b + s->n, sizeof s->b - 1 - s->n, MSG_DONTWAIT);
	char *p = s->b, *e;

	if (k < 0 && errno == EAGAIN)
		return;
	if (k <= 0)
		die("the server has gone");
	s->n += (size_t)k;
	s->b[s->n] = 0;
	while ((e = strchr(p, '\n'))) {
		if (e - p >= 4 && p[3] == ' ') {
			if (strtol(p, NULL, 10) != wanted[s->at + 1]) {
				fprintf(stderr, "mail_way: %s: %s\n", s->at < 0 ? "greeting" : s->at == CONTENT ? "content" :
				    script[s->at], p);
				exit(1);
			}
			s->n = 0;
			go_on(s);
			return;
		}
		p = e + 1;
	}
	s->n -= (size_t)(p - s->b);
	memmove(s->b, p, s->n);
}

static void
fill(size_t size, unsigned long i)
{
	size_t k = (size_t)sprintf(load.content, "From: a@example.org\r\nTo: b@example.net\r\nSubject: load\r\n"
	    "Date: Sun, 22 Nov 2026 00:00:00 +0000\r\nMessage-ID: <%lu@example.org>\r\n\r\n", i);

	while (k + 80 < size) {
		memset(load.content + k, 'x', 70);
		memcpy(load.content + k + 70, "\r\n", 3);
		k += 72;
	}
	memcpy(load.content + k, ".\r\n", 4);
	load.size = k + 3;
}

static int
many(unsigned short port, unsigned long sessions, unsigned long n, size_t size, bool keep)
{
	struct session *s = calloc(sessions, sizeof *s);

	load = (struct load){.epoll = epoll_create1(0), .port = port, .n = n, .keep = keep,
	    .content = malloc(size + 512)};
	if (!s || !load.content || load.epoll < 0)
		die("begin");
	fill(size, 0);
	for (unsigned long i = 0; i < sessions && load.begun < n; i++) {
		load.begun++;
		dial(&s[i]);
	}
	while (load.done < n) {
		struct epoll_event e[64];
		int k = epoll_wait(load.epoll, e, 64, PATIENCE_S * 1000);

		if (k == 0) {
			fprintf(stderr, "mail_way: %lu of %lu\n", load.done, n);
			return 1;
		}
		for (int i = 0; i < k; i++) {
			struct session *x = e[i].data.ptr;

			if (e[i].events & EPOLLOUT && x->at == CONTENT && x->said < load.size)
				say_content(x);
			if (e[i].events & ~(uint32_t)EPOLLOUT)
				hear(x);
		}
	}
	printf("%.6f\n", (double)load.last / 1e9);
	return 0;
}

/* ---- the program ------------------------------------------------------------------------------ */

static SSL_CTX *
context(bool server, const char *file)
{
	SSL_CTX *c = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

	SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
	if (!server)
		SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
	if (server ? SSL_CTX_use_certificate_chain_file(c, file) != 1 ||
	    SSL_CTX_use_PrivateKey_file(c, file, SSL_FILETYPE_PEM) != 1 :
	    SSL_CTX_load_verify_locations(c, file, NULL) != 1)
		die(file);
	return c;
}

int
main(int argc, char **argv)
{
	unsigned long n[4] = {0};

	signal(SIGPIPE, SIG_IGN);
	for (int i = 2; i < argc && i < 6; i++)
		n[i - 2] = strtoul(argv[i], NULL, 10);
	if ((argc == 5 || argc == 6) && !strcmp(argv[1], "way")) {
		to_port = (unsigned short)n[1];
		delay = n[2] * SECOND / 2000;
		if (argc == 6)
			tls = context(true, argv[5]);
		serve(listener((unsigned short)n[0]), way);
	} else if ((argc == 6 || argc == 7) && !strcmp(argv[1], "one")) {
		if (argc == 7)
			tls = context(false, argv[6]);
		return one((unsigned short)n[0], (unsigned short)n[1], n[2], n[3]);
	} else if (argc == 3 && !strcmp(argv[1], "sink")) {
		pthread_t t;

		if (pthread_create(&t, NULL, tells, NULL))
			die("thread");
		serve(listener((unsigned short)n[0]), relay);
	} else if (argc == 7 && !strcmp(argv[1], "load")) {
		return many((unsigned short)n[0], n[1], n[2], n[3], !strcmp(argv[6], "keep"));
	}
	fprintf(stderr, "usage: mail_way way PORT TO MS [CERT] | one PORT SINK N BYTES [CA] | sink PORT |\n"
	    "  load PORT SESSIONS N BYTES keep|each\n");
	return 2;
}
