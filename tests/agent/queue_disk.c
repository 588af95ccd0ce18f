/*
 * queue_disk FOLDER: the role queue on a small file system (queue_disk.py mounts it). Programs send until it
 * is full, and go on; the relay begins to take mail only then. What was told 250 arrives whole and once; what
 * was not is refused as for want of space, never otherwise; and then there is room again.
 */
#include <stdint.h>

#include "queue_rig.h"

enum { SIZE = 60000, MOST = 400, BEYOND = 30 };

static struct rig g;
static char content[SIZE + 1];

static void
fill(unsigned i)
{
	int n = snprintf(content, sizeof content, "Subject: %u\r\n\r\n", i);

	for (int k = n; k < SIZE; k++)
		content[k] = k % 64 == 62 ? '\r' : k % 64 == 63 ? '\n' : (char)('a' + (i + (unsigned)k / 64) % 26);
	content[SIZE] = 0;
}

/* 250, 452; another: a failure. */
static unsigned
one(unsigned i)
{
	char from[32];
	struct front_rcpt to = {"b@example.com", "one", "", ""};
	struct front_seal s = {.size = SIZE, .application = "", .unit = "", .from = from, .envid = "",
		.ret = "", .note = "", .rcpt = &to, .nrcpt = 1};
	struct rig_in m = {0};
	uint64_t offset, id;
	size_t done = 0;
	int fd, err = rig_arrive(&g, i % 2 ? SIZE : 0, &fd, &offset, &id);

	if (err) {
		CHECK(err == ENOSPC);
		return 452;
	}
	fill(i);
	while (done < SIZE) {
		ssize_t n = pwrite(fd, content + done, SIZE - done, (off_t)(offset + done));
		if (n < 0) {
			struct front_drop d = {g.token};

			CHECK(errno == ENOSPC);
			close(fd);
			CHECK(!ipc_send(g.front, FRONT_DROP, 0, &front_ask_shape[FRONT_DROP], &d, NULL, 0));
			return 452;
		}
		done += (size_t)n;
	}
	close(fd);
	snprintf(from, sizeof from, "s%u@example.org", i);
	s.token = g.token;
	CHECK(!ipc_send(g.front, FRONT_SEAL, 0, &front_ask_shape[FRONT_SEAL], &s, NULL, 0));
	unsigned code = rig_settled(&g, &m)->code;
	ipc_free(&m.in);
	CHECK(code == 250 || code == 452);
	return code;
}

int
main(int argc, char **argv)
{
	static bool taken[MOST + BEYOND + 1], got[MOST + BEYOND + 1];
	unsigned n = 0, ntaken = 0, refused = 0, narrived = 0, again = 0;
	struct rig_in s = {0};

	if (argc != 2)
		return 2;
	rig_new(&g);
	close(g.dir);
	rmdir(g.path);
	snprintf(g.path, sizeof g.path, "%s", argv[1]);
	g.dir = open(g.path, O_RDONLY | O_DIRECTORY);
	CHECK(g.dir >= 0);
	rig_begin_quiet(&g);
	while (n < MOST && refused < BEYOND) {
		taken[n] = one(n) == 250;
		ntaken += taken[n];
		refused += !taken[n];
		n++;
	}
	CHECK(ntaken && refused == BEYOND);
	CHECK(!ipc_send(g.relay, RELAY_READY, 0, NULL, NULL, NULL, 0));
	while (rig_send(&g, narrived < ntaken ? 20000 : 500, &s)) {
		const struct relay_send *x = s.body;
		unsigned long i = strtoul(x->from + 1, NULL, 10);
		char *c = rig_content_of(&s);

		CHECK(i < n && taken[i]);
		fill((unsigned)i);
		CHECK(!strcmp(c, content));
		free(c);
		again += got[i];
		narrived += !got[i];
		got[i] = true;
		rig_result(&g, x, RELAY_DELIVERED, 250, "2.0.0 ok");
	}
	CHECK(narrived == ntaken && !again);
	CHECK(rig_empty(&g, 20000));
	CHECK(one(n) == 250);
	CHECK(rig_send(&g, 5000, &s));
	rig_result(&g, s.body, RELAY_DELIVERED, 250, "ok");
	CHECK(rig_empty(&g, 5000));
	ipc_free(&s.in);
	int st = rig_end(&g, 0);
	CHECK(WIFEXITED(st) && !WEXITSTATUS(st));
	printf("%u taken and delivered once, %u refused with 452; then there was room again\n", ntaken, refused);
	return 0;
}
