/*
 * relay_rig: the role relay as a process, and this program as its queue and its parent: commands
 * as lines on standard input, words divided by tabs; what the role says as JSON objects, a line
 * each, on standard output.
 *
 *   policy FILE HOST
 *   credential NAME FILE          "-": there is none
 *   send CLAIM RELAY FROM FILE FLAGS APPLICATION RCPT...    FLAGS: 8 eight, u utf8, a AUTH, -
 *   burst N WINDOW RELAY FROM FILE RCPT        so many messages, at most WINDOW under way
 *   cancel CLAIM | resolve TOKEN NAME | again [RELAY] | memory | stop | close
 *
 * Options: --servers LIST, --ca PATH, --no-jail.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/sanitized.h"
#include "ipc/mail.h"
#include "ipc/relay.h"
#include "role/role.h"
#include "world/bundle.h"
#include "world/world.h"

enum { WORDS = 120, PIECE = 1 << 16 };

static int queue, parent;
static pid_t child;
static struct {
	unsigned total, sent, done, window, delivered, other;
	const char *relay, *from, *file;
	char *rcpt;
	uint64_t began;
} burst;

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "relay_rig: %s: %s\n", what, strerror(errno));
	kill(child, SIGKILL);
	exit(3);
}

static void
print(struct buf *b)
{
	must(!b->err, "a line");
	printf("%s\n", b->p);
	fflush(stdout);
	buf_free(b);
}

static void
key(struct buf *b, const char *name, const char *text)
{
	buf_printf(b, ",\"%s\":", name);
	buf_json(b, text);
}

/* ---- what is said -------------------------------------------------------------------- */

static void
say(int chan, uint32_t type, const struct ipc_shape *s, const void *body, int fd)
{
	int err = ipc_send_wait(chan, type, type, s, body, &fd, fd >= 0, 10000);

	errno = -err;
	must(!err, "sending");
}

static void
say_policy(char **w)
{
	struct mail_policy m = {w[2]};
	struct arena *a = arena_new();
	struct bundle *b = bundle_new(a);
	struct buf out = BUF_INIT(BUNDLE_MOST);
	const char *bytes;
	size_t n;
	int fd;

	must(!world_slurp(a, w[1], 1 << 24, &bytes, &n), w[1]);
	must(!bundle_add(b, w[1], bytes, n), "the bundle");
	bundle_write(&out, b);
	fd = ipc_file("bundle", out.p, out.n);
	must(fd >= 0, "a memory file");
	say(parent, MAIL_POLICY, &mail_ask_shape[MAIL_POLICY], &m, fd);
	close(fd);
	buf_free(&out);
	arena_free(a);
}

static void
say_credential(char **w)
{
	struct mail_credential m = {.name = w[1], .gone = !strcmp(w[2], "-")};
	char bytes[32 << 10];
	ssize_t n;
	int fd = -1, file;

	if (!m.gone) {
		file = open(w[2], O_RDONLY | O_CLOEXEC);
		must(file >= 0, w[2]);
		n = read(file, bytes, sizeof bytes);
		close(file);
		fd = ipc_file("credential", bytes, (size_t)n);
	} else {
		m.text = "its file /etc/mailreeve/x is not there";
	}
	say(parent, MAIL_CREDENTIAL, &mail_ask_shape[MAIL_CREDENTIAL], &m, fd);
	if (fd >= 0)
		close(fd);
}

static void
say_send(uint64_t claim, const char *relay, const char *from, const char *file, const char *flags,
    const char *application, char **rcpt, unsigned n)
{
	static struct relay_rcpt r[RELAY_MOST_RCPT];
	struct relay_send m = {.claim = claim, .id = claim, .relay = relay, .application = application,
	    .from = from, .envid = "", .ret = "", .eight = !!strchr(flags, '8'),
	    .utf8 = !!strchr(flags, 'u'), .rcpt = r, .nrcpt = n};
	struct stat st = {0};
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && !fstat(fd, &st), file);
	must(n <= RELAY_MOST_RCPT, "recipients");
	m.size = (uint64_t)st.st_size;
	for (unsigned i = 0; i < n; i++)
		r[i] = (struct relay_rcpt){.address = rcpt[i], .notify = "", .orcpt = "",
		    .auth = !!strchr(flags, 'a')};
	say(queue, RELAY_SEND, &relay_ask_shape[RELAY_SEND], &m, fd);
	close(fd);
}

static void
go_on(void)
{
	while (burst.sent < burst.total && burst.sent - burst.done < burst.window) {
		say_send(1000000 + burst.sent, burst.relay, burst.from, burst.file, "-", "", &burst.rcpt, 1);
		burst.sent++;
	}
}

static void
say_memory(void)
{
	char path[64], line[256];
	struct buf b = BUF_INIT(4096);
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)child);
	f = fopen(path, "r");
	buf_str(&b, "{\"is\":\"memory\"");
	while (f && fgets(line, sizeof line, f)) {
		char *colon = strchr(line, ':'), *end;
		unsigned long kb = colon ? strtoul(colon + 1, &end, 10) : 0;

		if (colon && end != colon + 1 && !strncmp(end, " kB", 3))
			buf_printf(&b, ",\"%.*s\":%lu", (int)(colon - line), line, kb);
	}
	if (f)
		fclose(f);
	buf_str(&b, "}");
	print(&b);
}

static void
command(char *line)
{
	char *w[WORDS] = {0}, *save = NULL, none[1] = "";
	unsigned n = 0;

	for (char *p = strtok_r(line, "\t", &save); p && n < WORDS; p = strtok_r(NULL, "\t", &save))
		w[n++] = strcmp(p, "<>") ? p : none;
	if (!n)
		return;
	if (!strcmp(w[0], "policy") && n == 3) {
		say_policy(w);
	} else if (!strcmp(w[0], "credential") && n == 3) {
		say_credential(w);
	} else if (!strcmp(w[0], "send") && n >= 7) {
		say_send(strtoull(w[1], NULL, 10), w[2], w[3], w[4], w[5], strcmp(w[6], "-") ? w[6] : "",
		    w + 7, n - 7);
	} else if (!strcmp(w[0], "burst") && n == 7) {
		burst.total = (unsigned)strtoul(w[1], NULL, 10);
		burst.window = (unsigned)strtoul(w[2], NULL, 10);
		burst.relay = strdup(w[3]);
		burst.from = strdup(w[4]);
		burst.file = strdup(w[5]);
		burst.rcpt = strdup(w[6]);
		burst.sent = burst.done = burst.delivered = burst.other = 0;
		burst.began = now_us();
		go_on();
	} else if (!strcmp(w[0], "cancel") && n == 2) {
		struct relay_cancel m = {strtoull(w[1], NULL, 10)};
		say(queue, RELAY_CANCEL, &relay_ask_shape[RELAY_CANCEL], &m, -1);
	} else if (!strcmp(w[0], "resolve") && n == 3) {
		struct relay_resolve m = {strtoull(w[1], NULL, 10), w[2]};
		say(queue, RELAY_RESOLVE, &relay_ask_shape[RELAY_RESOLVE], &m, -1);
	} else if (!strcmp(w[0], "again")) {
		struct relay_again m = {n > 1 ? w[1] : ""};
		say(queue, RELAY_AGAIN, &relay_ask_shape[RELAY_AGAIN], &m, -1);
	} else if (!strcmp(w[0], "memory")) {
		say_memory();
	} else if (!strcmp(w[0], "stop")) {
		say(parent, MAIL_STOP, NULL, NULL, -1);
	} else if (!strcmp(w[0], "close")) {
		shutdown(queue, SHUT_RDWR);
	} else {
		fprintf(stderr, "relay_rig: what is '%s' with %u words?\n", w[0], n);
		exit(2);
	}
}

/* ---- what is heard --------------------------------------------------------------------- */

static void
hear_result(const struct relay_result *m)
{
	static const char *const fates[] = {"deferred", "delivered", "failed", "held"};
	struct buf b = BUF_INIT(1 << 20);

	if (m->claim >= 1000000) {
		burst.done++;
		if (m->nrcpt && m->rcpt[0].fate == RELAY_DELIVERED)
			burst.delivered++;
		else
			burst.other++;
		go_on();
		if (burst.done < burst.total)
			return;
		buf_printf(&b, "{\"is\":\"burst\",\"done\":%u,\"delivered\":%u,\"other\":%u,\"us\":%llu", burst.done,
		    burst.delivered, burst.other, (unsigned long long)(now_us() - burst.began));
		key(&b, "tls", m->tls);
		buf_str(&b, "}");
		print(&b);
		return;
	}
	buf_printf(&b, "{\"is\":\"result\",\"claim\":%llu,\"connected\":%u,\"canceled\":%u,\"busy\":%u,"
	    "\"doubt\":%u,\"dsn\":%u", (unsigned long long)m->claim, m->connected, m->canceled, m->busy,
	    m->doubt, m->dsn);
	key(&b, "peer", m->peer);
	key(&b, "tls", m->tls);
	key(&b, "cipher", m->cipher);
	buf_str(&b, ",\"rcpt\":[");
	for (uint32_t i = 0; i < m->nrcpt; i++) {
		buf_printf(&b, "%s{\"fate\":\"%s\",\"code\":%u", i ? "," : "",
		    m->rcpt[i].fate < 4 ? fates[m->rcpt[i].fate] : "?", m->rcpt[i].code);
		key(&b, "text", m->rcpt[i].text);
		buf_str(&b, "}");
	}
	buf_str(&b, "]}");
	print(&b);
}

static bool
hear_queue(void)
{
	struct ipc_in in;
	const void *body = NULL;
	struct buf b = BUF_INIT(8192);
	int got = ipc_recv(queue, &in);

	if (got == -EAGAIN)
		return true;
	if (got <= 0)
		return false;
	must(in.type < RELAY_NTELL, "a type");
	if (in.type != RELAY_READY)
		must(!ipc_body(&in, &relay_tell_shape[in.type], &body), "a body");
	if (in.type == RELAY_RESULT) {
		hear_result(body);
	} else if (in.type == RELAY_RESOLVED) {
		static const char *const words[] = {"mx", "address", "none", "not now"};
		const struct relay_resolved *m = body;
		buf_printf(&b, "{\"is\":\"resolved\",\"token\":%llu,\"answer\":\"%s\"}",
		    (unsigned long long)m->token, words[m->answer]);
		print(&b);
	} else if (in.type == RELAY_STATE) {
		const struct relay_state *m = body;
		buf_printf(&b, "{\"is\":\"state\",\"well\":%u,\"alarm\":%u,\"connections\":%u", m->well, m->alarm,
		    m->connections);
		key(&b, "relay", m->relay);
		key(&b, "text", m->text);
		buf_str(&b, "}");
		print(&b);
	} else {
		buf_str(&b, "{\"is\":\"ready\"}");
		print(&b);
	}
	ipc_free(&in);
	return true;
}

static bool
hear_parent(void)
{
	struct ipc_in in;
	const void *body = NULL;
	struct buf b = BUF_INIT(8192);
	int got = ipc_recv(parent, &in);

	if (got == -EAGAIN)
		return true;
	if (got <= 0)
		return false;
	must(in.type == MAIL_TAKEN && !ipc_body(&in, &mail_tell_shape[MAIL_TAKEN], &body), "a body");
	const struct mail_taken *m = body;
	buf_printf(&b, "{\"is\":\"taken\",\"id\":%u,\"err\":%u", in.id, m->err);
	key(&b, "text", m->text);
	buf_str(&b, "}");
	print(&b);
	ipc_free(&in);
	return true;
}

/* ---- the loop ------------------------------------------------------------------------------ */

/* Whole lines of standard input. False: it has ended. */
static bool
hear_input(void)
{
	static char line[PIECE];
	static size_t n;
	ssize_t got = read(0, line + n, sizeof line - 1 - n);
	char *at = line, *nl;

	if (got <= 0)
		return false;
	n += (size_t)got;
	line[n] = 0;
	while ((nl = strchr(at, '\n'))) {
		*nl = 0;
		command(at);
		at = nl + 1;
	}
	n = strlen(at);
	memmove(line, at, n);
	return true;
}

int
main(int argc, char **argv)
{
	int q[2], p[2], st;
	/* LeakSanitizer looks into /proc at the end, which a jail forbids */
	struct role_relay o = {.uid = getuid(), .gid = getgid(), .no_jail = SANITIZED};
	const char *ca[8];
	struct pollfd w[3];
	bool input = true, q_on = true, p_on = true;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--no-jail"))
			o.no_jail = true;
		else if (!strcmp(argv[i], "--servers") && i + 1 < argc)
			o.servers = argv[++i];
		else if (!strcmp(argv[i], "--ca") && i + 1 < argc && o.nca < 8)
			ca[o.nca++] = argv[++i];
		else
			return 2;
	}
	o.ca = ca;
	must(!ipc_pair(q) && !ipc_pair(p), "channels");
	child = fork();
	must(child >= 0, "fork");
	if (!child) {
		close(0);
		close(q[0]);
		close(p[0]);
		o.queue = q[1];
		o.parent = p[1];
		exit(role_relay(&o));
	}
	close(q[1]);
	close(p[1]);
	queue = q[0];
	parent = p[0];
	while (q_on || p_on) {
		w[0] = (struct pollfd){.fd = input ? 0 : -1, .events = POLLIN};
		w[1] = (struct pollfd){.fd = q_on ? queue : -1, .events = POLLIN};
		w[2] = (struct pollfd){.fd = p_on ? parent : -1, .events = POLLIN};
		if (poll(w, 3, -1) < 0)
			continue;
		if (w[0].revents && !hear_input()) {
			input = false;
			shutdown(queue, SHUT_RDWR);
		}
		if (w[1].revents)
			q_on = hear_queue();
		if (w[2].revents)
			p_on = hear_parent();
	}
	must(waitpid(child, &st, 0) == child, "waiting");
	printf("{\"is\":\"exit\",\"status\":%d,\"signal\":%d}\n", WIFEXITED(st) ? WEXITSTATUS(st) : -1,
	    WIFSIGNALED(st) ? WTERMSIG(st) : 0);
	return 0;
}
