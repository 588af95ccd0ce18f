#include "peer/witness.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	PAGES = 8,                 /* of a ring, some 300 events */
	MOST_EVENT = 1024,         /* bytes; ours have some 120 */
	MOST_FORMAT = 8 << 10,
	PENDING_US = 1000000,
	SYN_SENT = 2,              /* net/tcp_states.h */
};

#define EVENT "events/sock/inet_sock_set_state/"

/* The fields that we read, and where they are. */
enum { SKADDR, OLDSTATE, NEWSTATE, SPORT, DPORT, SADDR6, DADDR6, NFIELD };

static const struct row {
	const char *name;
	unsigned size;
} rows[NFIELD] = {
	[SKADDR] = {" skaddr;", 8}, [OLDSTATE] = {" oldstate;", 4}, [NEWSTATE] = {" newstate;", 4},
	[SPORT] = {" sport;", 2}, [DPORT] = {" dport;", 2},
	/* for IPv4 they hold the mapped form, so that there is one to compare (trace/events/sock.h) */
	[SADDR6] = {" saddr_v6[16];", 16}, [DADDR6] = {" daddr_v6[16];", 16},
};

struct seen {
	uint64_t when;             /* CLOCK_MONOTONIC, nanoseconds */
	uint64_t sock;             /* the kernel's name of the socket */
	uint32_t pid;
	uint16_t sport, dport;     /* sport 0: not given out yet */
	uint8_t src[16], dst[16];  /* as IPv6, IPv4 mapped */
};

struct ring {
	struct perf_event_mmap_page *head;
	const uint8_t *data;
};

struct peer_witness {
	size_t page;
	unsigned at[NFIELD];
	unsigned nring;
	uint32_t next;             /* of the seen ones to be given up */
	struct seen seen[WITNESS_SEEN];
	struct ring ring[];
};

/* ---- the tracepoint ----------------------------------------------------------------- */

static ssize_t
read_file(int dir, const char *name, char *p, size_t n)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	size_t at = 0;
	ssize_t k;

	if (fd < 0)
		return -errno;
	while (at < n - 1 && (k = read(fd, p + at, n - 1 - at)) > 0)
		at += (size_t)k;
	close(fd);
	p[at] = '\0';
	return (ssize_t)at;
}

/* The number behind a word; UINT_MAX where it is not next. */
static unsigned
number_after(const char **p, const char *word)
{
	char *end;

	*p += strspn(*p, "\t ;");
	if (strncmp(*p, word, strlen(word)) != 0)
		return UINT_MAX;
	*p += strlen(word);
	unsigned long x = strtoul(*p, &end, 10);
	if (end == *p || x >= UINT_MAX)
		return UINT_MAX;
	*p = end;
	return (unsigned)x;
}

/* "field:__u16 sport; offset:24; size:2; signed:0;" */
static int
layout(int tracefs, unsigned at[NFIELD])
{
	char text[MOST_FORMAT] = "";
	ssize_t n = read_file(tracefs, EVENT "format", text, sizeof text);

	if (n < 0)
		return (int)n;
	for (int i = 0; i < NFIELD; i++) {
		const char *p = strstr(text, rows[i].name);
		if (!p)
			return -ENOENT;
		p += strlen(rows[i].name);
		at[i] = number_after(&p, "offset:");
		if (at[i] > MOST_EVENT || number_after(&p, "size:") != rows[i].size)
			return -ENOENT;
	}
	return 0;
}

static int
open_one(int cpu, uint64_t id, const char *filter)
{
	struct perf_event_attr a = {
		.type = PERF_TYPE_TRACEPOINT, .size = sizeof a, .config = id, .sample_period = 1,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW, .disabled = 1,
		.use_clockid = 1, .clockid = CLOCK_MONOTONIC, .watermark = 1, .wakeup_watermark = 4096,
	};
	int fd = (int)syscall(SYS_perf_event_open, &a, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter) || ioctl(fd, PERF_EVENT_IOC_ENABLE, 0)) {
		int err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int
peer_witness_open(int tracefs, const uint16_t *port, unsigned nport, int *fd, unsigned most)
{
	char text[64] = "", filter[512];
	ssize_t n = read_file(tracefs, EVENT "id", text, sizeof text);
	unsigned got = 0;
	int at, err = 0;

	if (n < 0)
		return (int)n;
	if (!nport || nport > WITNESS_PORTS)
		return -EINVAL;
	at = snprintf(filter, sizeof filter, "(newstate == %d || oldstate == %d) && (", SYN_SENT, SYN_SENT);
	for (unsigned i = 0; i < nport; i++)
		at += snprintf(filter + at, sizeof filter - (size_t)at, "%sdport == %u", i ? " || " : "", port[i]);
	snprintf(filter + at, sizeof filter - (size_t)at, ")");
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	for (int cpu = 0; cpu < cpus && !err; cpu++) {
		int one = got < most ? open_one(cpu, strtoull(text, NULL, 10), filter) : -EMFILE;
		if (one >= 0)
			fd[got++] = one;
		else if (one != -ENODEV) /* a processor that is switched off */
			err = one;
	}
	if (!err)
		return (int)got;
	while (got)
		close(fd[--got]);
	return err;
}

/* ---- events ------------------------------------------------------------------------- */

struct peer_witness *
peer_witness_new(int tracefs, const int *fd, unsigned n, int *err)
{
	struct peer_witness *w = n <= WITNESS_MOST ? calloc(1, sizeof *w + n * sizeof w->ring[0]) : NULL;

	*err = w ? layout(tracefs, w->at) : -ENOMEM;
	if (w)
		w->page = (size_t)sysconf(_SC_PAGESIZE);
	for (unsigned i = 0; i < n && !*err; i++) {
		void *p = mmap(NULL, (1 + PAGES) * w->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd[i], 0);
		if (p == MAP_FAILED) {
			*err = -errno;
			break;
		}
		w->ring[w->nring++] = (struct ring){p, (const uint8_t *)p + w->page};
	}
	return *err ? peer_witness_free(w) : w;
}

struct peer_witness *
peer_witness_free(struct peer_witness *w)
{
	for (unsigned i = 0; w && i < w->nring; i++)
		munmap(w->ring[i].head, (1 + PAGES) * w->page);
	free(w);
	return NULL;
}

static void
take_event(struct peer_witness *w, uint32_t pid, uint64_t when, const uint8_t *raw, size_t n)
{
	struct seen s = {.when = when, .pid = pid};
	int32_t oldstate, newstate;

	for (int i = 0; i < NFIELD; i++)
		if (w->at[i] + rows[i].size > n)
			return;
	memcpy(&s.sock, raw + w->at[SKADDR], sizeof s.sock);
	memcpy(&oldstate, raw + w->at[OLDSTATE], sizeof oldstate);
	memcpy(&newstate, raw + w->at[NEWSTATE], sizeof newstate);
	memcpy(&s.sport, raw + w->at[SPORT], sizeof s.sport);
	memcpy(&s.dport, raw + w->at[DPORT], sizeof s.dport);
	memcpy(s.src, raw + w->at[SADDR6], sizeof s.src);
	memcpy(s.dst, raw + w->at[DADDR6], sizeof s.dst);
	if (newstate == SYN_SENT) {
		/* the task that connects; its port is given out after this */
		w->seen[w->next] = s;
		w->next = (w->next + 1) % WITNESS_SEEN;
		return;
	}
	/* The end of the same attempt, with the port: in whatever task the packet was handled. */
	for (uint32_t i = 1; oldstate == SYN_SENT && i <= WITNESS_SEEN; i++) {
		struct seen *k = &w->seen[(w->next + WITNESS_SEEN - i) % WITNESS_SEEN];
		if (k->sock != s.sock || !k->pid)
			continue;
		if (!k->sport)
			k->sport = s.sport;
		return;
	}
}

/* A sample: u32 pid, u32 tid, u64 time, u32 bytes, bytes. */
static void
take_record(struct peer_witness *w, const struct perf_event_header *h, const uint8_t *p, size_t n)
{
	uint32_t pid, size;
	uint64_t when;

	if (h->type != PERF_RECORD_SAMPLE || n < 20)
		return;
	memcpy(&pid, p, sizeof pid);
	memcpy(&when, p + 8, sizeof when);
	memcpy(&size, p + 16, sizeof size);
	if (size <= n - 20 && pid && pid <= INT32_MAX)
		take_event(w, pid, when, p + 20, size);
}

static void
read_ring(struct peer_witness *w, const struct ring *r)
{
	const size_t all = PAGES * w->page;
	uint64_t head = __atomic_load_n(&r->head->data_head, __ATOMIC_ACQUIRE), tail = r->head->data_tail;
	uint8_t one[MOST_EVENT];

	while (head - tail >= sizeof(struct perf_event_header) && head - tail <= all) {
		struct perf_event_header h;
		/* records are whole multiples of 8, so a head does not wrap */
		memcpy(&h, r->data + tail % all, sizeof h);
		if (h.size < sizeof h || h.size > head - tail)
			break;
		if (h.size <= sizeof one) {
			size_t at = tail % all, first = h.size < all - at ? h.size : all - at;
			memcpy(one, r->data + at, first);
			memcpy(one + first, r->data, h.size - first);
			take_record(w, &h, one + sizeof h, h.size - sizeof h);
		}
		tail += h.size;
	}
	__atomic_store_n(&r->head->data_tail, head, __ATOMIC_RELEASE);
}

void
peer_witness_read(struct peer_witness *w)
{
	for (unsigned i = 0; i < w->nring; i++)
		read_ring(w, &w->ring[i]);
}

uint32_t
peer_witness_find(const struct peer_witness *w, const struct peer_tuple *t, uint64_t now_us)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	uint8_t src[16], dst[16];
	uint32_t pending = 0;
	bool several = false;

	if (t->proto != 6)
		return 0;
	if (t->family == 4) {
		memcpy(src, mapped, sizeof mapped);
		memcpy(src + sizeof mapped, t->src, 4);
		memcpy(dst, mapped, sizeof mapped);
		memcpy(dst + sizeof mapped, t->dst, 4);
	} else {
		memcpy(src, t->src, 16);
		memcpy(dst, t->dst, 16);
	}
	for (uint32_t i = 1; i <= WITNESS_SEEN; i++) {
		const struct seen *s = &w->seen[(w->next + WITNESS_SEEN - i) % WITNESS_SEEN];
		if (!s->pid || s->dport != t->dport || memcmp(s->src, src, 16) || memcmp(s->dst, dst, 16))
			continue;
		if (s->sport == t->sport)
			return s->pid;
		/* one whose port is not told yet, as its attempt has not ended; an old one's end was lost */
		if (!s->sport && s->when / 1000 + PENDING_US > now_us) {
			several = several || (pending && pending != s->pid);
			pending = s->pid;
		}
	}
	return several ? 0 : pending;
}
