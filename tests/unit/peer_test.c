/* peer: who is at an end of a connection. Real sockets on loopback; processes also from a folder
 * that only looks like /proc. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "peer/peer.h"

/* ---- sockets ------------------------------------------------------------------------ */

struct pair {
	int listener, client, server;
	struct peer_tuple t;       /* the client's view */
};

static uint32_t
inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint32_t)st.st_ino;
}

static void
address_of(int fd, bool far, uint8_t addr[16], uint16_t *port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	} a;
	socklen_t n = sizeof a;

	memset(&a, 0, sizeof a);
	assert_int_equal(far ? getpeername(fd, &a.any, &n) : getsockname(fd, &a.any, &n), 0);
	if (a.any.sa_family == AF_INET)
		memcpy(addr, &a.four.sin_addr, 4);
	else
		memcpy(addr, &a.six.sin6_addr, 16);
	/* both have it at the same place */
	*port = ntohs(a.four.sin_port);
}

/* A TCP connection within this host. wide: the listener takes both families; mapped: the client is
 * an IPv6 socket that connects to ::ffff:127.0.0.1. False where there is no IPv6. */
static bool
connected(struct pair *p, int family, bool wide, bool mapped)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	bool on_six = wide || family == AF_INET6;
	socklen_t n = on_six ? sizeof six : sizeof four;
	struct sockaddr *at = on_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
	int no = 0;

	memset(p, 0, sizeof *p);
	p->listener = socket(on_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->listener < 0)
		return false;
	if (on_six) {
		setsockopt(p->listener, SOL_IPV6, 26 /* IPV6_V6ONLY */, &no, sizeof no);
		if (!wide)
			six.sin6_addr = in6addr_loopback;
	}
	if (bind(p->listener, at, n)) {
		close(p->listener);
		return false;
	}
	assert_int_equal(listen(p->listener, 5), 0);
	assert_int_equal(getsockname(p->listener, at, &n), 0);
	uint16_t port = on_six ? six.sin6_port : four.sin_port;
	if (mapped) {
		six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
		assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.1", &six.sin6_addr), 1);
		at = (struct sockaddr *)&six;
		n = sizeof six;
	} else if (family == AF_INET) {
		four.sin_port = port;
		four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		at = (struct sockaddr *)&four;
		n = sizeof four;
	}
	p->client = socket(mapped ? AF_INET6 : family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(p->client >= 0);
	assert_int_equal(connect(p->client, at, n), 0);
	p->server = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(p->server >= 0);
	p->t.family = mapped || family == AF_INET6 ? 6 : 4;
	p->t.proto = 6;
	address_of(p->client, false, p->t.src, &p->t.sport);
	address_of(p->client, true, p->t.dst, &p->t.dport);
	return true;
}

static void
disconnect(struct pair *p)
{
	close(p->listener);
	if (p->client >= 0)
		close(p->client);
	close(p->server);
}

static void
the_client_of_a_loopback_connection_is_known(void **state)
{
	static const struct {
		int family;
		bool wide, mapped;
	} kind[] = {
		{AF_INET, false, false}, {AF_INET6, false, false}, {AF_INET, true, false},
		{AF_INET, true, true}, {AF_INET, false, true},
	};
	int diag = peer_open(), done = 0;

	(void)state;
	assert_true(diag >= 0);
	for (size_t i = 0; i < sizeof kind / sizeof kind[0]; i++) {
		struct peer_sock s = {0};
		struct pair p;
		if (!connected(&p, kind[i].family, kind[i].wide, kind[i].mapped))
			continue;
		assert_int_equal(peer_of_tcp(diag, p.server, &s), PEER_FOUND);
		assert_int_equal(s.uid, geteuid());
		assert_int_equal(s.inode, inode(p.client));
		assert_int_equal(s.state, 1);
		/* and by its addresses, in the form that it has them */
		assert_int_equal(peer_find(diag, &p.t, &s), PEER_FOUND);
		assert_int_equal(s.inode, inode(p.client));
		disconnect(&p);
		done++;
	}
	assert_true(done >= 1);
	close(diag);
}

static void
another_pair_or_a_listener_is_not_it(void **state)
{
	int diag = peer_open();
	struct peer_sock s = {.inode = 77};
	struct peer_tuple t;
	struct pair p;

	(void)state;
	assert_true(connected(&p, AF_INET, false, false));
	t = p.t;
	t.dport ^= 1;
	assert_int_equal(peer_find(diag, &t, &s), -ENOENT);
	/* the kernel falls back to whoever listens at the port that was asked for */
	t = p.t;
	t.sport = p.t.dport;
	t.dport = 9;
	assert_int_equal(peer_find(diag, &t, &s), -ENOENT);
	t = p.t;
	t.dst[3] = 3;
	assert_int_equal(peer_find(diag, &t, &s), -ENOENT);
	/* what is not found is not written */
	assert_int_equal(s.inode, 77);
	t.family = 5;
	assert_int_equal(peer_find(diag, &t, &s), -EAFNOSUPPORT);
	disconnect(&p);
	close(diag);
}

static void
a_program_that_has_gone_is_nobody_and_not_root(void **state)
{
	int diag = peer_open();
	struct peer_sock s = {0};
	struct pair p;

	(void)state;
	assert_true(connected(&p, AF_INET, false, false));
	close(p.client);
	p.client = -1;
	int got = peer_of_tcp(diag, p.server, &s);
	assert_true(got == PEER_CLOSED || got == -ENOENT);
	if (got == PEER_CLOSED) {
		assert_int_equal(s.uid, PEER_NO_UID);
		assert_int_equal(s.inode, 0);
	}
	disconnect(&p);
	close(diag);
}

static void
answers_to_earlier_questions_are_passed_over(void **state)
{
	int diag = peer_open();
	/* struct nlmsghdr and struct inet_diag_req_v2: of a socket that is not there */
	struct {
		uint32_t len;
		uint16_t type, flags;
		uint32_t seq, pid;
		uint8_t family, proto, ext, pad;
		uint32_t states;
		uint16_t sport, dport;
		uint32_t src[4], dst[4], dev, cookie[2];
	} q = {.len = sizeof q, .type = 20, .flags = 1, .family = AF_INET, .proto = 6, .states = ~0u,
	    .cookie = {~0u, ~0u}};
	struct peer_sock s = {0};
	struct pair p;

	(void)state;
	assert_true(connected(&p, AF_INET, false, false));
	for (int i = 0; i < 3; i++)
		assert_int_equal(send(diag, &q, sizeof q, 0), sizeof q);
	assert_int_equal(peer_of_tcp(diag, p.server, &s), PEER_FOUND);
	assert_int_equal(s.inode, inode(p.client));
	disconnect(&p);
	close(diag);
}

static void
a_udp_socket_is_found_by_what_it_sends(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int diag = peer_open(), fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct peer_tuple t = {.family = 4, .proto = 17, .src = {127, 0, 0, 1}, .dst = {127, 0, 0, 1},
	    .dport = 9};
	struct peer_sock s = {0};

	(void)state;
	/* unconnected */
	a.sin_port = htons(9);
	assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof a), 1);
	uint8_t any[16];
	address_of(fd, false, any, &t.sport);
	assert_int_equal(peer_find(diag, &t, &s), PEER_FOUND);
	assert_int_equal(s.inode, inode(fd));
	/* connected */
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(peer_find(diag, &t, &s), PEER_FOUND);
	assert_int_equal(s.inode, inode(fd));
	t.dport = 10;
	assert_int_equal(peer_find(diag, &t, &s), -ENOENT);
	close(fd);
	close(diag);
}

static void
a_unix_client_is_known(void **state)
{
	struct peer_unix u;
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(peer_of_unix(fd[0], &u), 0);
	assert_int_equal(u.uid, geteuid());
	assert_int_equal(u.gid, getegid());
	assert_int_equal(u.pid, getpid());
	if (u.pidfd >= 0)
		close(u.pidfd);
	close(fd[0]);
	close(fd[1]);
	fd[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(peer_of_unix(fd[0], &u), -ENOTSOCK);
	close(fd[0]);
}

/* ---- folders that look like others -------------------------------------------------- */

static char top[64];

static void
put_file(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", top, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void
put_folder(const char *name)
{
	char path[512];

	snprintf(path, sizeof path, "%s/%s", top, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static uint64_t
id_of(const char *name)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof path, "%s/%s", top, name);
	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

static int
begin(void **state)
{
	(void)state;
	snprintf(top, sizeof top, "/tmp/mailreeve-peer-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *f)
{
	(void)st;
	(void)kind;
	(void)f;
	return remove(path);
}

static int
end(void **state)
{
	(void)state;
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int
open_at(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", top, name);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void
units_are_known_by_their_ids(void **state)
{
	bool cut;

	(void)state;
	put_folder("system.slice");
	put_folder("system.slice/apache2.service");
	put_folder("system.slice/apache2.service/x");
	put_file("system.slice/cgroup.procs", "");
	int fd = open_at(".");
	struct peer_units *u = peer_units_new(fd);
	assert_null(peer_units_known(u, id_of("system.slice")));
	assert_string_equal(peer_units_path(u, id_of("system.slice/apache2.service"), 5000),
	    "system.slice/apache2.service");
	assert_string_equal(peer_units_known(u, id_of("system.slice/apache2.service/x")),
	    "system.slice/apache2.service/x");
	assert_string_equal(peer_units_known(u, id_of(".")), "/");
	assert_int_equal(peer_units_count(u, &cut), 4);
	assert_false(cut);
	/* an id that is not known is nobody's; and 0, which older kernels tell, too */
	assert_null(peer_units_path(u, 1, 7000));
	assert_null(peer_units_path(u, 0, 9000));
	/* a job that has just begun is known at once, and so are many that begin together */
	for (int i = 0; i < PEER_MOST_WALKS; i++) {
		char late[64];

		snprintf(late, sizeof late, "system.slice/late%d.service", i);
		put_folder(late);
		assert_string_equal(peer_units_path(u, id_of(late), 9001), late);
	}
	/* but who cannot be known does not make us walk for every question */
	for (int i = 0; i < PEER_MOST_WALKS; i++)
		assert_null(peer_units_path(u, 1, 9001));
	put_folder("system.slice/last.service");
	assert_null(peer_units_path(u, id_of("system.slice/last.service"), 9001));
	assert_string_equal(peer_units_path(u, id_of("system.slice/last.service"), 9001 + 1 + 40 / 16),
	    "system.slice/last.service");
	u = peer_units_free(u);
	assert_null(u);
	close(fd);
}

static void
units_in_a_deep_tree_are_walked_to_a_limit(void **state)
{
	char path[256] = "";

	(void)state;
	for (int i = 0; i < PEER_MOST_DEPTH + 8; i++) {
		size_t n = strlen(path);
		snprintf(path + n, sizeof path - n, "%sd", n ? "/" : "");
		put_folder(path);
	}
	int fd = open_at(".");
	struct peer_units *u = peer_units_new(fd);
	assert_null(peer_units_path(u, id_of(path), 1));
	assert_int_equal(peer_units_count(u, NULL), PEER_MOST_DEPTH);
	peer_units_free(u);
	close(fd);
}

/* A process in our folder. */
static void
process(unsigned pid, unsigned uid, unsigned start, const char *comm, const char *unit, unsigned sock)
{
	char name[64], text[512], path[256];

	snprintf(name, sizeof name, "%u", pid);
	put_folder(name);
	snprintf(name, sizeof name, "%u/status", pid);
	snprintf(text, sizeof text, "Name:\t%s\nUid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nVmSize:\t 9 kB\n",
	    "any", uid, uid, uid, uid, uid, uid, uid, uid);
	put_file(name, text);
	/* a name that tries to look like the fields behind it */
	snprintf(text, sizeof text,
	    "%u (a) S 9 9 (%s) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 %u 1 2 3\n", pid, comm, start);
	snprintf(name, sizeof name, "%u/stat", pid);
	put_file(name, text);
	snprintf(name, sizeof name, "%u/comm", pid);
	snprintf(text, sizeof text, "%s\n", comm);
	put_file(name, text);
	snprintf(name, sizeof name, "%u/cgroup", pid);
	snprintf(text, sizeof text, "1:name=systemd:/other\n0::/%s\n", unit);
	put_file(name, text);
	snprintf(path, sizeof path, "%s/%u/exe", top, pid);
	snprintf(text, sizeof text, "/usr/bin/%s", comm);
	assert_int_equal(symlink(text, path), 0);
	snprintf(name, sizeof name, "%u/fd", pid);
	put_folder(name);
	snprintf(path, sizeof path, "%s/%u/fd/3", top, pid);
	snprintf(text, sizeof text, "socket:[%u]", sock);
	assert_int_equal(symlink(text, path), 0);
}

static void
who_holds_the_socket_is_found_before_who_is_alone(void **state)
{
	uint32_t uid = geteuid();

	(void)state;
	process(10, uid, 100, "apache2", "system.slice/apache2.service", 555);
	process(11, uid, 100, "apache2", "system.slice/apache2.service", 556);
	process(12, uid, 300, "sh", "system.slice/cron.service", 557);
	put_folder("cg");
	put_folder("cg/system.slice");
	put_folder("cg/system.slice/apache2.service");
	put_file("cg/system.slice/apache2.service/cgroup.procs", "10\n11\n");
	struct peer_places places = {open_at("."), open_at("cg")};
	struct peer_ask a = {.uid = uid, .gid = UINT32_MAX, .inode = 556, .born_by = UINT64_MAX};
	struct peer_who w;

	for (int with_unit = 0; with_unit < 2; with_unit++) {
		a.unit = with_unit ? "system.slice/apache2.service" : NULL;
		assert_int_equal(peer_process(&places, &a, &w), 0);
		assert_int_equal(w.how, PEER_HOLDS);
		assert_int_equal(w.pid, 11);
		assert_int_equal(w.start, 100);
		assert_string_equal(w.comm, "apache2");
		assert_string_equal(w.exe, "/usr/bin/apache2");
		assert_string_equal(w.unit, "system.slice/apache2.service");
	}
	/* nobody holds it: what all processes of that user in that unit share, and no pid */
	a.inode = 999;
	assert_int_equal(peer_process(&places, &a, &w), 0);
	assert_int_equal(w.how, PEER_NOBODY);
	assert_int_equal(w.pid, 0);
	assert_int_equal(w.candidates, 2);
	assert_string_equal(w.comm, "apache2");
	assert_string_equal(w.among, "apache2 x2");
	a.unit = NULL;
	assert_int_equal(peer_process(&places, &a, &w), 0);
	assert_int_equal(w.candidates, 3);
	assert_string_equal(w.comm, "");
	assert_string_equal(w.exe, "");
	assert_string_equal(w.unit, "");
	assert_string_equal(w.among, "apache2 x2, sh");
	/* the unit has gone: its processes are looked for everywhere, and others' are not taken */
	a.unit = "system.slice/cron.service";
	assert_int_equal(peer_process(&places, &a, &w), 0);
	assert_int_equal(w.how, PEER_ONLY);
	assert_int_equal(w.pid, 12);
	/* begun after the packet: it was not it */
	a.born_by = 299;
	assert_int_equal(peer_process(&places, &a, &w), 0);
	assert_int_equal(w.how, PEER_NOBODY);
	assert_int_equal(w.candidates, 0);
	a = (struct peer_ask){.uid = uid + 1, .gid = UINT32_MAX, .born_by = UINT64_MAX};
	assert_int_equal(peer_process(&places, &a, &w), 0);
	assert_int_equal(w.candidates, 0);
	a = (struct peer_ask){.uid = uid, .gid = uid + 1, .born_by = UINT64_MAX};
	assert_int_equal(peer_process(&places, &a, &w), 0);
	assert_int_equal(w.candidates, 0);
	close(places.proc);
	close(places.cgroup);
}

static void
odd_files_of_a_process_are_no_process(void **state)
{
	struct peer_ask a = {.uid = geteuid(), .gid = UINT32_MAX, .born_by = UINT64_MAX};
	struct peer_who w;

	(void)state;
	process(20, geteuid(), 5, "one", "u", 1);
	process(21, geteuid(), 5, "two", "u", 1);
	put_file("20/stat", "20 no parenthesis");
	put_file("21/status", "Uid:\t1\n");
	put_folder("22");          /* without any file: it ended just now */
	put_folder("99999999999");
	struct peer_places places = {open_at("."), -1};
	assert_int_equal(peer_process(&places, &a, &w), 0);
	assert_int_equal(w.candidates, 0);
	close(places.proc);
}

static void
a_child_is_found_by_its_socket_and_is_gone_when_it_is(void **state)
{
	struct peer_places places = {open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC), -1};
	struct peer_who w;
	int up[2], down[2];
	uint32_t ino = 0;
	char c = 0;

	(void)state;
	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		struct stat st;
		close(down[1]);
		if (fd < 0 || fstat(fd, &st))
			_exit(1);
		ino = (uint32_t)st.st_ino;
		if (write(up[1], &ino, sizeof ino) != sizeof ino || read(down[0], &c, 1) < 0)
			_exit(1);
		_exit(0);
	}
	assert_true(pid > 0);
	close(down[0]);
	assert_int_equal(read(up[0], &ino, sizeof ino), sizeof ino);
	struct peer_ask a = {.uid = geteuid(), .gid = getegid(), .inode = ino, .born_by = UINT64_MAX};
	assert_int_equal(peer_process(&places, &a, &w), 0);
	assert_int_equal(w.how, PEER_HOLDS);
	assert_int_equal(w.pid, pid);
	assert_true(strstr(w.exe, "peer_test") != NULL);
	uint64_t start = w.start;
	assert_int_equal(peer_pid(&places, (uint32_t)pid, &w), 0);
	assert_int_equal(w.start, start);
	close(down[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(peer_pid(&places, (uint32_t)pid, &w), -ESRCH);
	assert_int_equal(peer_process(&places, &a, &w), 0);
	assert_int_not_equal(w.how, PEER_HOLDS);
	close(up[0]);
	close(up[1]);
	close(places.proc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_client_of_a_loopback_connection_is_known),
		cmocka_unit_test(another_pair_or_a_listener_is_not_it),
		cmocka_unit_test(a_program_that_has_gone_is_nobody_and_not_root),
		cmocka_unit_test(answers_to_earlier_questions_are_passed_over),
		cmocka_unit_test(a_udp_socket_is_found_by_what_it_sends),
		cmocka_unit_test(a_unix_client_is_known),
		cmocka_unit_test_setup_teardown(units_are_known_by_their_ids, begin, end),
		cmocka_unit_test_setup_teardown(units_in_a_deep_tree_are_walked_to_a_limit, begin, end),
		cmocka_unit_test_setup_teardown(who_holds_the_socket_is_found_before_who_is_alone, begin, end),
		cmocka_unit_test_setup_teardown(odd_files_of_a_process_are_no_process, begin, end),
		cmocka_unit_test(a_child_is_found_by_its_socket_and_is_gone_when_it_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
