/*
 * spool_feed: gives a spool mail, carries it to a relay that remembers what
 * it got, and breaks it at every call (fault.c): once without a fault to
 * count the calls, then for each call of each kind of fault in a child, whose
 * promises and deliveries are written to memory that outlives it. After each
 * the spool is opened again, looked through and emptied:
 *
 *   lost       acknowledged, and some recipient got neither the mail nor a report; or
 *              acknowledged, though its sync was refused
 *   torn       a content that is not what was given, or a file set aside
 *   twice      more than once, without having been in flight at the fault
 *
 * spool_feed POINTS [FIRST SEED]: that many points. Run with fault.so before libc.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/chance.h"
#include "../unit/spool_world.h"
#include "fault.h"
#include "spool/spool.h"

enum { MESSAGES = 12, RCPTS = 3, RELAYS = 2 };

struct rcpt {
	unsigned got;                /* times the relay took it */
	bool flying;                 /* and nobody has been told yet */
	unsigned again;              /* times it was so when the spool ended */
	bool refused;                /* the relay said 5xx */
	unsigned reports;
	bool report_flying;
	unsigned report_again;
};

/* What outlives the child. */
static struct shared {
	size_t n;
	struct message {
		uint64_t id;
		size_t size, nrcpt;
		int relay[RCPTS];
		bool acked;          /* 250 was said */
		struct rcpt rcpt[RCPTS];
	} m[MESSAGES];
	unsigned kept_tried, kept_acked;
	unsigned refusals;
	unsigned unsynced;           /* acknowledged, though the sync was refused */
} *sh;

static const char *const relay_name[RELAYS] = {"one", "two"};
static const uint64_t T0 = 1700000000000;
static void (*set)(enum fault_kind, long, long);
static long (*counted)(void);
static unsigned long (*unsynced)(void);
static int folder;

static char
content(uint64_t id, size_t i)
{
	return (char)(id * 31 + i * 7 + (i >> 8));
}

static struct message *
message(uint64_t id)
{
	for (size_t i = 0; i < sh->n; i++)
		if (sh->m[i].id == id)
			return &sh->m[i];
	return NULL;
}

/* Of the message's file. */
static unsigned long
inode(uint64_t id)
{
	char name[64] = "queue/";
	struct stat st;

	spool_id_text(id, name + 6);
	if (!fstatat(folder, name, &st, 0))
		return st.st_ino;
	memcpy(name + 6 + SPOOL_ID_LEN, ".new", 5);
	return fstatat(folder, name, &st, 0) ? 0 : st.st_ino;
}

/* Up to k arrivals, then a commit; 250 only where it says so. */
static void
arrive(struct spool *s, uint64_t now, size_t k)
{
	struct spool_outcome out[SPOOL_GROUP_MOST];
	unsigned long no;
	size_t got;

	while (k-- && sh->n < MESSAGES) {
		struct message *m = &sh->m[sh->n];
		struct spool_rcpt rcpt[RCPTS] = {0};
		struct spool_envelope e = {.from = "f", .rcpt = rcpt, .nrcpt = 1 + rnd(RCPTS)};
		size_t size = rnd(3) ? rnd(300) : rnd(20000);
		static char run[20000];
		struct spool_arrival *a;

		memset(m, 0, sizeof *m);
		for (size_t i = 0; i < e.nrcpt; i++) {
			m->relay[i] = (int)rnd(RELAYS);
			rcpt[i] = (struct spool_rcpt){.address = "to", .relay = relay_name[m->relay[i]]};
		}
		if (spool_arrive(s, size, now, &a)) {
			sh->refusals++;
			continue;
		}
		m->id = spool_arrival_id(a);
		m->size = size;
		m->nrcpt = e.nrcpt;
		sh->n++;
		for (size_t i = 0; i < size; i++)
			run[i] = content(m->id, i);
		/* In two runs. */
		if (spool_write(a, run, size / 3) || spool_write(a, run + size / 3, size - size / 3) ||
		    spool_seal(s, a, &e, now, m)) {
			sh->refusals++;
			spool_drop_arrival(s, a);
		}
	}
	(void)unsynced();
	got = spool_commit(s, now, out);
	no = unsynced();
	for (size_t i = 0; i < got; i++)
		if (out[i].err) {
			sh->refusals++;
		} else {
			((struct message *)out[i].token)->acked = true;
			sh->unsynced += no == 1 || (no && no == inode(out[i].id));
		}
}

/* One claim, carried out. `drain`: everything is taken. 1: nothing due. */
static int
carry(struct spool *s, int relay, uint64_t now, bool drain, unsigned *torn)
{
	struct spool_result r[RCPTS] = {0};
	const struct spool_message *msg;
	static char run[20000];
	uint32_t mine[RCPTS];
	const uint32_t *which;
	struct spool_claim *c;
	struct message *m;
	size_t n;
	int e = spool_claim(s, relay_name[relay], now, &c);

	if (e)
		return e;
	msg = spool_claim_message(c, &which, &n);
	m = message(msg->env.id);
	if (!m || msg->size != m->size || msg->env.nrcpt != m->nrcpt || n > RCPTS) {
		++*torn;
		return spool_done(s, c, NULL, now);
	}
	/* An error of reading is the relay role's: the attempt is given up. */
	for (size_t at = 0; at < msg->size;) {
		ssize_t k = pread(msg->fd, run + at, msg->size - at, (off_t)(msg->offset + at));

		if (k <= 0)
			return spool_done(s, c, NULL, now);
		at += (size_t)k;
	}
	for (size_t i = 0; i < m->size; i++)
		if (run[i] != content(m->id, i)) {
			++*torn;
			break;
		}
	if (!drain && !rnd(8))
		return spool_done(s, c, NULL, now);
	for (size_t i = 0; i < n; i++) {
		struct rcpt *to = &m->rcpt[which[i]];
		unsigned what = drain ? 0 : (unsigned)rnd(4);

		r[i].fate = what < 2 ? SPOOL_FATE_DELIVERED : what == 2 ? SPOOL_FATE_FAILED : SPOOL_FATE_DEFERRED;
		r[i].report = what == 2;
		r[i].reply.text = "250 2.0.0 a reply";
		if (what < 2) {
			to->flying = true;
			to->got++;
		} else if (what == 2) {
			to->refused = true;
		}
	}
	memcpy(mine, which, n * sizeof *which);
	e = spool_done(s, c, r, now);
	for (size_t i = 0; i < n && !e; i++)
		m->rcpt[mine[i]].flying = false;
	return e;
}

static void
reports(struct spool *s, uint64_t now, unsigned *damaged)
{
	struct spool_event ev;

	for (int k = 0; k < 100 && !spool_event(s, now, &ev); k++) {
		struct message *m = message(ev.id);
		struct spool_message msg;

		*damaged += ev.kind == SPOOL_EVENT_DAMAGED;
		if (ev.kind != SPOOL_EVENT_REPORT || !m || spool_read(s, ev.id, &msg))
			continue;
		for (size_t i = 0; i < msg.env.nrcpt; i++)
			/* Who has made it and could not say so says it again, and makes no other. */
			if (msg.env.rcpt[i].owed && !m->rcpt[i].report_flying) {
				m->rcpt[i].report_flying = true;
				m->rcpt[i].reports++;
			}
		spool_message_end(&msg);
		if (!spool_reported(s, ev.id, now))
			for (size_t i = 0; i < m->nrcpt; i++)
				m->rcpt[i].report_flying = false;
	}
}

/* The spool has ended: what was in flight may come once more. */
static void
landed(void)
{
	for (size_t i = 0; i < sh->n; i++)
		for (size_t k = 0; k < RCPTS; k++) {
			struct rcpt *to = &sh->m[i].rcpt[k];

			to->again += to->flying;
			to->report_again += to->report_flying;
			to->flying = to->report_flying = false;
		}
}

static void
config(struct spool_config *c)
{
	spool_config_default(c);
	c->floor_bytes = c->floor_inodes = 0;
	c->circuit_after = 0;
	c->sync = (enum spool_sync)rnd(3);
	c->trace_bytes = 4000;
	c->trace_files = 3;
}

/* A short life of a spool, the same for the same seed. */
static void
life(int dir)
{
	struct spool_config c;
	struct spool *s = NULL;
	unsigned torn = 0, damaged = 0;
	uint64_t now = T0;

	config(&c);
	for (int part = 0; part < 2; part++) {
		/* What the machine refuses once it may grant at the second try. */
		int err = spool_open(&s, dir, &c, now);

		if (err && spool_open(&s, dir, &c, now))
			return;
		for (int k = 0; k < 3; k++) {
			unsigned value = sh->kept_tried + 1;

			arrive(s, now, 1 + rnd(3));
			for (int i = 0; i < 4; i++)
				(void)carry(s, (int)rnd(RELAYS), now, false, &torn);
			reports(s, now, &damaged);
			if (k == 1) {
				sh->kept_tried = value;
				if (!spool_keep(s, "count", &value, sizeof value))
					sh->kept_acked = value;
			}
			if (sh->n && !rnd(3)) {
				uint64_t id = sh->m[rnd(sh->n)].id;
				const char *to[RCPTS] = {relay_name[1], relay_name[1], relay_name[0]};

				if (rnd(2)) {
					(void)spool_hold(s, id, now);
					(void)spool_release(s, id, now);
				} else if (!spool_reroute(s, id, to, now)) {
					(void)spool_retry(s, id, now);
				}
			}
			now += 100000;
		}
		/* What could not be written may be so now. */
		arrive(s, now, 0);
		s = spool_close(s);
		landed();
		if (torn || damaged)
			_exit(7);
	}
}

static unsigned long lost, torn_all, twice, bad, refusals;

/* What became of it. */
static bool
judge(int dir)
{
	struct spool_config c;
	struct spool *s = NULL;
	struct spool_found f;
	unsigned long before = lost + torn_all + twice + bad;
	unsigned torn = 0, damaged = 0, value = 0;
	uint64_t now = T0 + 3000000, bytes;
	uint32_t left = 1;
	void *p;
	size_t n;

	config(&c);
	landed();
	if (spool_open(&s, dir, &c, now)) {
		bad++;
		return false;
	}
	spool_found(s, &f);
	torn += f.damaged + f.unreadable + f.stray;
	for (int k = 0; k < 200 && left; k++) {
		spool_flush(s, NULL, now);
		for (uint64_t id = spool_after(s, 0); id; id = spool_after(s, id))
			(void)spool_release(s, id, now);
		for (int r = 0; r < RELAYS; r++)
			while (!carry(s, r, now, true, &torn))
				;
		reports(s, now, &damaged);
		spool_size(s, &left, &bytes);
		now += 100000;
	}
	bad += left > 0;
	torn_all += torn + damaged;
	for (size_t i = 0; i < sh->n; i++)
		for (size_t k = 0; k < sh->m[i].nrcpt; k++) {
			const struct rcpt *to = &sh->m[i].rcpt[k];

			lost += sh->m[i].acked && !to->got && !(to->refused && to->reports);
			twice += to->got > 1 + to->again || to->reports > 1 + to->report_again;
		}
	lost += sh->unsynced;
	if (spool_kept(s, "count", &p, &n))
		lost += sh->kept_acked > 0;
	else {
		memcpy(&value, p, sizeof value);
		free(p);
		lost += value < sh->kept_acked || value > sh->kept_tried;
	}
	s = spool_close(s);
	refusals += sh->refusals;
	return lost + torn_all + twice + bad == before;
}

/* One point; the number of calls when n is 0. */
static long
point(uint64_t first, enum fault_kind kind, long n, long more)
{
	char path[WORLD_PATH];
	long calls = 0;
	int dir, status;
	pid_t pid;

	world_folder(path);
	dir = open(path, O_RDONLY | O_DIRECTORY);
	memset(sh, 0, sizeof *sh);
	chance = first * 0x9e3779b97f4a7c15 + 1;
	folder = dir;
	pid = fork();
	if (!pid) {
		set(kind, n, more);
		life(dir);
		calls = counted();
		set(FAULT_NONE, 0, 0);
		/* The count goes by a file: the exit status is too small. */
		if (!n)
			sh->refusals = (unsigned)calls;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (!n) {
		calls = (long)sh->refusals;
		sh->refusals = 0;
	}
	if (!(WIFEXITED(status) && !WEXITSTATUS(status)) &&
	    !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && kind <= FAULT_TORN)) {
		fprintf(stderr, "seed %llu kind %d at %ld: status %x\n", (unsigned long long)first, kind, n,
		    status);
		bad++;
	}
	if (!judge(dir))
		fprintf(stderr, "seed %llu kind %d at %ld+%ld: lost %lu torn %lu twice %lu bad %lu\n",
		    (unsigned long long)first, kind, n, more, lost, torn_all, twice, bad);
	close(dir);
	world_remove(path);
	return calls;
}

int
main(int argc, char **argv)
{
	static const char *const name[FAULT_PART] = {"none", "kill -9", "kill -9 in a write", "ENOSPC",
		"EIO", "EMFILE", "ENOMEM", "EINTR", "half"};
	unsigned long want = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000, each[FAULT_PART] = {0}, all = 0;
	uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, run = first;

	*(void **)&set = dlsym(RTLD_DEFAULT, "fault_set");
	*(void **)&counted = dlsym(RTLD_DEFAULT, "fault_count");
	*(void **)&unsynced = dlsym(RTLD_DEFAULT, "fault_unsynced");
	if (!set || !counted || !unsynced) {
		fprintf(stderr, "fault.so is not before libc\n");
		return 2;
	}
	sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		return 2;
	/* Argument 3: one kind, argument 4: one point of it. */
	if (argc > 4) {
		point(first, (enum fault_kind)strtol(argv[3], NULL, 10), strtol(argv[4], NULL, 10),
		    argc > 5 ? strtol(argv[5], NULL, 10) : 0);
		all = want = 1;
	}
	for (; all < want; run++)
		for (int k = FAULT_KILL; k < FAULT_PART && all < want; k++) {
			long calls = point(run, (enum fault_kind)k, 0, 0);

			for (long n = 1; n <= calls && all < want; n++, all++) {
				/* Of what gives an errno, every third lasts. */
				long more = k >= FAULT_ENOSPC && n % 3 == 0 ? n % 40 : 0;

				point(run, (enum fault_kind)k, n, more);
				each[k]++;
			}
		}
	for (int k = FAULT_KILL; k < FAULT_PART; k++)
		if (each[k])
			printf("%-20s %8lu\n", name[k], each[k]);
	printf("%lu points in %llu lives: %lu lost, %lu torn, %lu twice, %lu otherwise wrong; %lu refusals\n",
	    all, (unsigned long long)(run - first), lost, torn_all, twice, bad, refusals);
	return lost || torn_all || twice || bad;
}
