/*
 * spool_bench: how fast mail becomes durable, beside a bare program that does
 * for each message what any queue does: create, write, fsync, rename, fsync
 * of the folder. 4 KB messages; 1 and 16 sealers; on tmpfs, and on an ext4 on
 * a loop device on tmpfs where there is root, else on the folder given.
 *
 * spool_bench [FOLDER [SECONDS]]. Also: a record appended and synced beside a
 * rewritten side file, a message's whole life, and the opening of a queue of
 * 100,000 messages.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../unit/spool_world.h"
#include "spool/spool.h"

enum { SIZE = 4096, MOST = 16 };

static double seconds = 2;
static char content[SIZE];
static const uint64_t T0 = 1700000000000;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double
cpu(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	    (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void
must(bool x, const char *what)
{
	if (!x) {
		perror(what);
		exit(2);
	}
}

/* ---- the bare program ---- */

struct bare {
	int dir, no;
	unsigned long done;
	double end;
};

static void *
bare_one(void *arg)
{
	struct bare *b = arg;
	int dir = openat(b->dir, ".", O_RDONLY | O_DIRECTORY);

	while (now() < b->end) {
		char from[32], to[32];
		int fd;

		snprintf(from, sizeof from, "%d-%lu.new", b->no, b->done);
		snprintf(to, sizeof to, "%d-%lu", b->no, b->done);
		fd = openat(dir, from, O_WRONLY | O_CREAT | O_EXCL, 0600);
		must(fd >= 0 && write(fd, content, SIZE) == SIZE && !fsync(fd), "bare write");
		must(!renameat(dir, from, dir, to) && !fsync(dir), "bare rename");
		close(fd);
		b->done++;
	}
	close(dir);
	return NULL;
}

static double
bare(int dir, int n)
{
	struct bare b[MOST] = {0};
	pthread_t t[MOST];
	unsigned long sum = 0;
	double start = now();

	for (int i = 0; i < n; i++) {
		b[i] = (struct bare){.dir = dir, .no = i, .end = start + seconds};
		must(!pthread_create(&t[i], NULL, bare_one, &b[i]), "thread");
	}
	for (int i = 0; i < n; i++) {
		pthread_join(t[i], NULL);
		sum += b[i].done;
	}
	return (double)sum / (now() - start);
}

/* ---- the spool ---- */

static struct spool *
opened(int dir, enum spool_sync how)
{
	struct spool_config c;
	struct spool *s;

	spool_config_default(&c);
	c.floor_bytes = c.floor_inodes = 0;
	c.messages_most = 1 << 24;
	c.bytes_most = UINT64_MAX / 2;
	c.sync = how;
	must(!spool_open(&s, dir, &c, T0), "spool_open");
	return s;
}

static void
seal(struct spool *s)
{
	struct spool_rcpt r = {.address = "somebody@example.net", .relay = "main"};
	struct spool_envelope e = {.from = "me@example.org", .application = "bench", .unit = "bench.service",
		.uid = 1000, .rcpt = &r, .nrcpt = 1};
	struct spool_arrival *a;

	must(!spool_arrive(s, SIZE, T0, &a) && !spool_write(a, content, SIZE) && !spool_seal(s, a, &e, T0, NULL),
	    "seal");
}

static void *
syncs(void *job)
{
	spool_commit_sync(job);
	return NULL;
}

/* The commit, its syncs by eight threads. */
static size_t
together(struct spool *s, struct spool_outcome *out)
{
	struct spool_job *job = spool_commit_begin(s);
	pthread_t t[8];

	must(job != NULL, "begin");
	for (int i = 0; i < 8; i++)
		must(!pthread_create(&t[i], NULL, syncs, job), "thread");
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	return spool_commit_finish(s, job, T0, out);
}

/* n sealers that wait for their outcome; `apart` 8: eight threads sync; 1: the sync in a thread, while the next n arrive. */
static double
sealers(int dir, enum spool_sync how, int n, int apart, double *us)
{
	static struct spool_outcome out[SPOOL_GROUP_MOST];
	struct spool *s = opened(dir, how);
	double start = now(), used = cpu(), took;
	struct spool_job *job = NULL;
	unsigned long done = 0;
	pthread_t t;

	while (now() < start + seconds) {
		for (int i = 0; i < n; i++)
			seal(s);
		if (apart != 1) {
			done += apart ? together(s, out) : spool_commit(s, T0, out);
			continue;
		}
		if (job) {
			pthread_join(t, NULL);
			done += spool_commit_finish(s, job, T0, out);
		}
		job = spool_commit_begin(s);
		must(job && !pthread_create(&t, NULL, syncs, job), "thread");
	}
	if (job) {
		pthread_join(t, NULL);
		done += spool_commit_finish(s, job, T0, out);
	}
	took = now() - start;
	*us = (cpu() - used) / (double)done * 1e6;
	/* As it was. */
	for (uint64_t id; (id = spool_after(s, 0));)
		spool_drop(s, id, T0, NULL);
	spool_commit(s, T0, out);
	spool_close(s);
	return (double)done / took;
}

/* Arrival of 16, commit, delivery of 16. */
static double
lives(int dir, enum spool_sync how, double *us)
{
	static struct spool_outcome out[SPOOL_GROUP_MOST];
	struct spool *s = opened(dir, how);
	double start = now(), used = cpu(), took;
	unsigned long done = 0;

	while (now() < start + seconds) {
		for (int i = 0; i < 16; i++)
			seal(s);
		spool_commit(s, T0, out);
		for (int i = 0; i < 16; i++) {
			struct spool_result r = {.fate = SPOOL_FATE_DELIVERED, .reply = {.code = 250, .text = "2.0.0 ok",
				.tls = "TLSv1.3", .cipher = "TLS_AES_256_GCM_SHA384", .peer = "192.0.2.1:465"}};
			struct spool_claim *c;

			must(!spool_claim(s, "main", T0, &c) && !spool_done(s, c, &r, T0), "deliver");
			done++;
		}
	}
	took = now() - start;
	*us = (cpu() - used) / (double)done * 1e6;
	spool_close(s);
	return (double)done / took;
}

/* A change of state: appended to the message's file, or a side file made anew. */
static double
records(int dir, bool side)
{
	char line[160];
	unsigned long done = 0;
	double start = now();
	int top = openat(dir, ".", O_RDONLY | O_DIRECTORY);
	int fd = openat(dir, "message", O_RDWR | O_CREAT, 0600);

	memset(line, 'x', sizeof line);
	must(fd >= 0 && write(fd, content, SIZE) == SIZE && !fsync(fd), "record");
	for (; now() < start + seconds / 2; done++) {
		if (side) {
			int f = openat(dir, "side.new", O_WRONLY | O_CREAT | O_TRUNC, 0600);

			must(f >= 0 && write(f, line, sizeof line) == sizeof line && !fsync(f) &&
			    !renameat(dir, "side.new", dir, "side") && !fsync(top), "side");
			close(f);
		} else {
			must(write(fd, line, sizeof line) == sizeof line && !fdatasync(fd), "append");
		}
	}
	close(fd);
	close(top);
	return (double)done / (now() - start);
}

static long
resident(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%*d %ld", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void
scan(const char *path)
{
	static struct spool_outcome out[SPOOL_GROUP_MOST];
	int dir = open(path, O_RDONLY | O_DIRECTORY);
	struct spool *s = opened(dir, SPOOL_SYNC_EACH);
	uint32_t n;
	uint64_t bytes;
	pid_t pid;

	for (int i = 0; i < 100000; i++) {
		seal(s);
		if (i % 250 == 249)
			spool_commit(s, T0, out);
	}
	spool_close(s);
	/* In a process that has had no memory yet. */
	pid = fork();
	if (!pid) {
		long before = resident();
		double start = now();

		s = opened(dir, SPOOL_SYNC_EACH);
		spool_size(s, &n, &bytes);
		printf("open %u messages of 4 KB: %.2f s, %ld KB (%ld bytes each)\n", n, now() - start,
		    resident() - before, (resident() - before) * 1024 / n);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	close(dir);
}

static void
table(const char *name, const char *path)
{
	static const int each[2] = {1, 16};
	char sub[128];

	printf("%s\n  %-28s %10s %8s %12s\n", name, "4 KB messages durable", "a second", "ratio", "CPU us each");
	for (int k = 0; k < 2; k++) {
		int n = each[k], dir;
		double b, us, r;
		const struct {
			const char *what;
			enum spool_sync how;
			int apart;
		} row[] = {
			{"each", SPOOL_SYNC_EACH, 0}, {"each, 8 threads", SPOOL_SYNC_EACH, 8},
			{"syncfs", SPOOL_SYNC_FS, 0}, {"as default", SPOOL_SYNC_AUTO, 0},
			{"one thread apart", SPOOL_SYNC_AUTO, 1},
		};

		snprintf(sub, sizeof sub, "%s/bare%d", path, n);
		mkdir(sub, 0700);
		dir = open(sub, O_RDONLY | O_DIRECTORY);
		b = bare(dir, n);
		close(dir);
		world_remove(sub);
		printf("  bare, %2d at once             %9.0f %8.2f\n", n, b, 1.0);
		for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
			mkdir(sub, 0700);
			dir = open(sub, O_RDONLY | O_DIRECTORY);
			r = sealers(dir, row[i].how, n, row[i].apart, &us);
			close(dir);
			world_remove(sub);
			printf("  spool, %2d, %-17.17s %9.0f %8.2f %12.0f\n", n, row[i].what, r,
			    r / b, us);
		}
	}
	{
		double us, r, one;
		int dir;

		snprintf(sub, sizeof sub, "%s/life", path);
		for (int how = 1; how < 3; how++) {
			mkdir(sub, 0700);
			dir = open(sub, O_RDONLY | O_DIRECTORY);
			r = lives(dir, (enum spool_sync)how, &us);
			close(dir);
			world_remove(sub);
			printf("  whole lives, 16, %-11s %9.0f %8s %12.0f\n", how == 2 ? "syncfs" : "each", r, "", us);
		}
		mkdir(sub, 0700);
		dir = open(sub, O_RDONLY | O_DIRECTORY);
		one = records(dir, true);
		r = records(dir, false);
		printf("  state: side file             %9.0f %8.2f\n  state: append                %9.0f %8.2f\n", one,
		    1.0, r, r / one);
		close(dir);
		world_remove(sub);
	}
}

static bool
command(const char *const *argv)
{
	pid_t pid = fork();
	int status = 1;

	if (!pid) {
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return !status;
}

int
main(int argc, char **argv)
{
	char path[WORLD_PATH], img[96], mnt[96];

	if (argc > 2)
		seconds = strtod(argv[2], NULL);
	for (size_t i = 0; i < SIZE; i++)
		content[i] = (char)('a' + i % 23);
	setvbuf(stdout, NULL, _IOLBF, 0);
	world_folder(path);
	table("tmpfs", path);
	snprintf(img, sizeof img, "%s/img", path);
	snprintf(mnt, sizeof mnt, "%s/mnt", path);
	mkdir(mnt, 0700);
	if (!geteuid() && !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	    command((const char *const[]){"truncate", "-s", "2G", img, NULL}) &&
	    command((const char *const[]){"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", img,
		NULL}) &&
	    command((const char *const[]){"mount", "-o", "loop", img, mnt, NULL})) {
		table("ext4 on a loop device on tmpfs", mnt);
		umount2(mnt, MNT_DETACH);
	}
	if (argc > 1) {
		snprintf(mnt, sizeof mnt, "%s/spool-bench-%d", argv[1], (int)getpid());
		mkdir(mnt, 0700);
		table(argv[1], mnt);
		world_remove(mnt);
	}
	snprintf(mnt, sizeof mnt, "%s/scan", path);
	mkdir(mnt, 0700);
	scan(mnt);
	world_remove(path);
	return 0;
}
