/*
 * short_memory: the roles queue and relay as processes whose memory is refused when a message of a channel comes: at
 * the first allocation from there, at the second, and so on. What they are asked they answer all the same, and
 * nothing stays claimed: issue 4, no program waits for an answer that never comes. (The allocator is wrapped by the
 * linker, so that the sanitizers' own is underneath.) As root of a network namespace of its own, whose loopback is
 * down.
 */
#include <stdatomic.h>
#include <sys/mman.h>

#include "queue_rig.h"

enum { MOST = 12, WAIT = 60000 };

static atomic_int *refuse;         /* the role's n-th allocation from now, once; 0: none. Shared with it */
static bool is_role;

void *
__real_malloc(size_t n);
void *
__real_calloc(size_t n, size_t k);
void *
__real_realloc(void *p, size_t n);
void *
__wrap_malloc(size_t n);
void *
__wrap_calloc(size_t n, size_t k);
void *
__wrap_realloc(void *p, size_t n);

static bool
refused(void)
{
	return is_role && atomic_load(refuse) > 0 && atomic_fetch_sub(refuse, 1) == 1;
}

void *
__wrap_malloc(size_t n)
{
	return refused() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t k)
{
	return refused() ? NULL : __real_calloc(n, k);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return refused() ? NULL : __real_realloc(p, n);
}

static void
begin_role(void)
{
	is_role = true;
}

/* ---- the queue -------------------------------------------------------------------------------- */

/* What is with the relays is delivered, the n-th allocation refused at each result, until front is told of this type;
 * its body. */
static const void *
served(struct rig *g, uint32_t type, int n, struct rig_in *m)
{
	for (;;) {
		struct pollfd f[2] = {{g->front, POLLIN, 0}, {g->relay, POLLIN, 0}};
		struct rig_in s = {0};

		CHECK(poll(f, 2, WAIT) > 0);
		if (f[0].revents)
			return rig_wait(g->front, front_tell_shape, type, WAIT, m);
		CHECK(rig_send(g, WAIT, &s));
		atomic_store(refuse, n);
		rig_result(g, s.body, RELAY_DELIVERED, 250, "2.0.0 ok");
		ipc_free(&s.in);
	}
}

/* A message, with the n-th allocation refused at its arrival, at its seal, and at what the relay says of it. */
static void
message(struct rig *g, bool through, int n)
{
	static const char text[] = "From: a@example.org\r\nSubject: one\r\n\r\nHello.\r\n";
	struct front_arrive ask = {.token = ++g->token, .later = through};
	struct front_rcpt to[] = {{"b@example.com", "one", "", ""}, {"c@two.example", "two", "", ""}};
	struct front_seal s = {.token = g->token, .size = sizeof text - 1, .through = through, .application = "",
		.unit = "", .uid = 1000, .from = "a@example.org", .envid = "", .ret = "", .note = "a test", .rcpt = to,
		.nrcpt = 2};
	const struct front_arrived *a;
	const struct front_settled *t;
	struct rig_in m = {0};
	int fd;

	atomic_store(refuse, n);
	CHECK(!ipc_send_wait(g->front, FRONT_ARRIVE, 0, &front_ask_shape[FRONT_ARRIVE], &ask, NULL, 0, WAIT));
	a = served(g, FRONT_ARRIVED, n, &m);
	CHECK(a && a->token == g->token);
	if (a->err) {
		ipc_free(&m.in);
		return;
	}
	fd = ipc_take(&m.in, 0);
	if (a->later) {
		s.content = (const uint8_t *)text;
		s.ncontent = (uint32_t)s.size;
	} else {
		CHECK(fd >= 0 && pwrite(fd, text, s.size, (off_t)a->offset) == (ssize_t)s.size);
		close(fd);
	}
	atomic_store(refuse, n);
	CHECK(!ipc_send_wait(g->front, FRONT_SEAL, 0, &front_ask_shape[FRONT_SEAL], &s, NULL, 0, WAIT));
	t = served(g, FRONT_SETTLED, n, &m);
	CHECK(t && t->token == g->token && (t->code == 250 || t->code == 451));
	ipc_free(&m.in);
}

static void
queue(void)
{
	struct rig g;
	struct rig_in m = {0};
	uint64_t left;

	rig_new(&g);
	g.child = begin_role;
	rig_begin(&g);
	for (int through = 0; through < 2; through++)
		for (int n = 0; n <= MOST; n++)
			message(&g, through, n);
	/* what was put off is with nobody for ever */
	atomic_store(refuse, 0);
	for (int i = 0; i < WAIT / 20; i++) {
		struct rig_in s = {0};

		while (rig_send(&g, 20, &s))
			rig_result(&g, s.body, RELAY_DELIVERED, 250, "2.0.0 ok");
		ipc_free(&s.in);
		rig_status(&g, &m);
		left = ((const struct mail_status *)m.body)->messages;
		ipc_free(&m.in);
		if (!left)
			break;
	}
	CHECK(!left);
	CHECK(!rig_end(&g, 0));
	rig_free(&g);
}

/* ---- the relay -------------------------------------------------------------------------------- */

static const char relay_policy[] =
    "mailreeve: 1\n"
    "name: short-memory\n"
    "contact: postmaster@example.org\n"
    "relays:\n"
    "  one: {ranges: [127.0.0.1], families: ipv4, host: 127.0.0.1, reason: a test, auth: none,\n"
    "        endpoints: [{port: 2525, tls: none}]}\n"
    "submission: {routes: [{to: any, via: one}], unregistered: route}\n";

/* What comes of the claim. */
static void
told(int chan, uint64_t claim)
{
	for (;;) {
		struct ipc_in in = {0};
		const void *body;
		bool is = false;

		CHECK(ipc_recv_wait(chan, &in, WAIT) == 1);
		if (in.type == RELAY_RESULT) {
			CHECK(!ipc_body(&in, &relay_tell_shape[RELAY_RESULT], &body));
			is = ((const struct relay_result *)body)->claim == claim;
		}
		ipc_free(&in);
		if (is)
			return;
	}
}

static void
relay(void)
{
	int q[2], p[2], st, bundle = rig_bundle(relay_policy), content = ipc_file("content", "\r\n", 2);
	struct mail_policy policy = {"mail.example.org"};
	struct relay_rcpt to = {"b@example.com", "", "", 0};
	struct relay_send s = {.relay = "one", .application = "", .from = "a@example.org", .envid = "", .ret = "",
		.size = 2, .rcpt = &to, .nrcpt = 1};
	struct rig_in m = {0};
	const struct mail_taken *t;
	pid_t pid;

	CHECK(content >= 0 && !ipc_pair(q) && !ipc_pair(p));
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		struct role_relay o = {.queue = q[1], .parent = p[1], .servers = "127.0.0.1", .uid = getuid(),
			.gid = getgid(), .no_jail = SANITIZED};

		close(q[0]);
		close(p[0]);
		begin_role();
		exit(role_relay(&o));
	}
	close(q[1]);
	close(p[1]);
	CHECK(!ipc_send(p[0], MAIL_POLICY, 7, &mail_ask_shape[MAIL_POLICY], &policy, &bundle, 1));
	t = rig_wait(p[0], mail_tell_shape, MAIL_TAKEN, WAIT, &m);
	CHECK(t && !t->err);
	for (int n = 0; n <= MOST; n++) {
		atomic_store(refuse, n);
		s.claim++;
		CHECK(!ipc_send_wait(q[0], RELAY_SEND, 0, &relay_ask_shape[RELAY_SEND], &s, &content, 1, WAIT));
		told(q[0], s.claim);
	}
	for (int n = 0; n <= MOST; n++) {
		struct relay_cancel c = {++s.claim};

		CHECK(!ipc_send_wait(q[0], RELAY_SEND, 0, &relay_ask_shape[RELAY_SEND], &s, &content, 1, WAIT));
		atomic_store(refuse, n);
		CHECK(!ipc_send_wait(q[0], RELAY_CANCEL, 0, &relay_ask_shape[RELAY_CANCEL], &c, NULL, 0, WAIT));
		told(q[0], s.claim);
	}
	ipc_free(&m.in);
	close(q[0]);
	close(p[0]);
	CHECK(waitpid(pid, &st, 0) == pid && !st);
	close(bundle);
	close(content);
}

int
main(void)
{
	signal(SIGPIPE, SIG_IGN);
	refuse = mmap(NULL, sizeof *refuse, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(refuse != MAP_FAILED);
	queue();
	relay();
	printf("each of %d allocations refused at each word between the roles: all were answered\n", MOST);
	return 0;
}
