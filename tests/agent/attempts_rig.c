/*
 * attempts_rig: the role attempts as a process, in the network namespace where this is run; prints
 * what it tells, a JSON object a line. Ends, with all that is left told, when standard input
 * ends.
 *
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "ipc/attempts.h"
#include "nl/nflog.h"
#include "peer/peer.h"
#include "peer/witness.h"
#include "plan/plan.h"
#include "role/attempt_ring.h"
#include "role/attempt_text.h"
#include "role/role.h"

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int
must(int fd, const char *what)
{
	if (fd < 0) {
		fprintf(stderr, "attempts_rig: %s: %s\n", what, strerror(fd == -1 ? errno : -fd));
		exit(1);
	}
	return fd;
}

static void
print_one(const struct attempts_one *a)
{
	struct buf b = BUF_INIT(64 << 10), line = BUF_INIT(8 << 10);
	struct attempt_fields f;

	attempt_line(&line, a, NULL);
	attempt_fields(a, &f);
	buf_str(&b, "{\"one\":");
	attempt_json(&b, a);
	buf_str(&b, ",\"line\":");
	buf_json(&b, line.p);
	buf_printf(&b, ",\"late_us\":%" PRIu64 ",\"fields\":{", now_us() - a->when);
	for (unsigned i = 0; f.field[i].key; i++) {
		buf_printf(&b, "%s\"%s\":", i ? "," : "", f.field[i].key);
		buf_json(&b, f.field[i].value);
	}
	buf_str(&b, "}}\n");
	if (b.err || fwrite(b.p, 1, b.n, stdout) != b.n)
		exit(1);
	buf_free(&b);
	buf_free(&line);
}

/* Memory of a process in KiB, at its most. */
static unsigned long
peak_kib(pid_t pid)
{
	char name[64], line[256];
	unsigned long kib = 0;

	snprintf(name, sizeof name, "/proc/%d/status", (int)pid);
	FILE *f = fopen(name, "r");
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "VmHWM:", 6))
			kib = strtoul(line + 6, NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

/* Waits until the role has its rings: what connects before leaves no trace in them. */
static void
wait_traced(pid_t pid, unsigned rings)
{
	char name[64], line[512];
	unsigned n = 0;

	snprintf(name, sizeof name, "/proc/%d/maps", (int)pid);
	for (int i = 0; i < 2000 && n < rings; i++) {
		FILE *f = fopen(name, "r");
		n = 0;
		while (f && fgets(line, sizeof line, f))
			n += strstr(line, "perf_event") != NULL;
		if (f)
			fclose(f);
		usleep(5000);
	}
	if (n < rings) {
		fprintf(stderr, "attempts_rig: the role has no rings\n");
		exit(1);
	}
}

int
main(int argc, char **argv)
{
	struct role_attempts r = {.uid = getuid(), .gid = getgid()};
	const char *cgroup = NULL;
	static const uint16_t port[] = {25, 587};
	bool ending = false, trace = false;
	int chan[2], event[WITNESS_MOST], status;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--no-jail"))
			r.no_jail = true;
		else if (!strcmp(argv[i], "--trace"))
			trace = true;
		else if (!strcmp(argv[i], "--uid") && i + 1 < argc)
			r.uid = r.gid = (uid_t)strtoul(argv[++i], NULL, 10);
		else
			cgroup = argv[i];
	}
	r.nflog = must(nflog_open(PLAN_LOG_GROUP), "nflog");
	r.diag = must(peer_open(), "sock_diag");
	r.proc = must(open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "/proc");
	r.cgroup = cgroup ? open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	r.passwd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	if (trace) {
		r.tracefs = must(open("/sys/kernel/tracing", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "tracefs");
		r.ntrace = (unsigned)must(peer_witness_open(r.tracefs, port, 2, event, WITNESS_MOST), "witness");
		r.trace = event;
	}
	must(ipc_pair(chan), "channel");
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		close(chan[0]);
		r.chan = chan[1];
		close(STDIN_FILENO);
		_exit(role_attempts(&r));
	}
	must(pid, "fork");
	close(chan[1]);
	close(r.nflog);
	struct attempt_ring *ring = attempt_ring_new(ATTEMPT_RING);
	wait_traced(pid, r.ntrace);
	printf("{\"ready\":%d}\n", (int)pid);
	fflush(stdout);
	for (;;) {
		struct pollfd f[2] = {{chan[0], POLLIN, 0}, {ending ? -1 : STDIN_FILENO, POLLIN, 0}};
		struct ipc_in in;
		const void *body;
		char c;

		if (poll(f, 2, -1) < 0)
			continue;
		if (f[1].revents && read(STDIN_FILENO, &c, 1) <= 0) {
			printf("{\"peak_kib\":%lu}\n", peak_kib(pid));
			shutdown(chan[0], SHUT_WR);
			ending = true;
		}
		if (!f[0].revents)
			continue;
		int k = ipc_recv(chan[0], &in);
		if (k == 0)
			break;
		if (k < 0)
			continue;
		if (in.type == 0 || in.type >= ATTEMPTS_NTELL ||
		    ipc_body(&in, &attempts_shape[in.type], &body)) {
			fprintf(stderr, "attempts_rig: a message that is none\n");
			return 1;
		}
		if (in.type == ATTEMPTS_ONE) {
			print_one(body);
			attempt_ring_add(ring, body);
		} else {
			const struct attempts_lost *l = body;
			printf("{\"lost\":%" PRIu64 ",\"over_rate\":%" PRIu64 "}\n", l->lost, l->over_rate);
			attempt_ring_lost(ring, l);
		}
		ipc_free(&in);
		fflush(stdout);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status)) {
		printf("{\"status\":%d}\n", status);
		return 1;
	}
	const struct attempt_counter *n;
	for (uint32_t i = 0; (n = attempt_ring_counter(ring, i)); i++) {
		struct buf b = BUF_INIT(1024);
		buf_json(&b, n->statement);
		printf("{\"statement\":%s,\"attempts\":%" PRIu64 ",\"packets\":%" PRIu64 "}\n", b.p,
		    n->attempts, n->packets);
		buf_free(&b);
	}
	attempt_ring_free(ring);
	return 0;
}
