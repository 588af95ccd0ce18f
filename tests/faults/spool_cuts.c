/*
 * spool_cuts: power cuts. A spool works on a real ext4 on a loop device whose
 * file is served by this program through FUSE, so that every write and every
 * flush of the block device is seen and kept, in order. Then, for each of
 * many moments, the disk is built as a power cut may have left it: all that
 * was written before the last flush, and of what was written after it all,
 * nothing, or some, the last of it torn between two sectors. It is mounted
 * (ext4 plays its journal back), the spool is opened, and
 *
 *   lost    acknowledged before the cut, not there, and not sent either
 *   torn    set aside as damaged, or another content
 *   again   there, though its delivery was committed before the cut
 *
 * must all be 0. spool_cuts CUTS [SEED [syncfs]]. Needs root, /dev/fuse and loop devices.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/chance.h"
#include "../unit/spool_world.h"
#include "spool/spool.h"

enum { DISK = 24 << 20, WRITES = 1 << 19, MESSAGES = 400, SECTOR = 512 };
static const size_t bytes_most = (size_t)1 << 30;
static const uint64_t T0 = 1700000000000;

struct write {
	uint64_t off, data;
	uint32_t n;                  /* 0: a flush */
};

static struct shared {
	volatile size_t n;           /* writes and flushes so far */
	size_t nmessages;
	struct message {
		uint64_t id;
		size_t size, acked, sent, final;  /* moments; 0: never */
	} m[MESSAGES];
	uint64_t used;
	struct write w[WRITES];
} *sh;

static uint8_t *disk, *data, *base;

static void
must(bool x, const char *what)
{
	if (!x) {
		perror(what);
		exit(2);
	}
}

static void *
shared(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	must(p != MAP_FAILED, "mmap");
	return p;
}

/* ---- the disk, served ---- */

static void
reply(int fd, const struct fuse_in_header *in, int err, const void *p, size_t n)
{
	static uint8_t out[(1 << 20) + 64];
	struct fuse_out_header h = {.len = (uint32_t)(sizeof h + n), .error = err, .unique = in->unique};

	memcpy(out, &h, sizeof h);
	if (n)
		memcpy(out + sizeof h, p, n);
	if (write(fd, out, sizeof h + n) < 0 && errno != ENOENT)
		exit(3);
}

static struct fuse_attr
attr(uint64_t node)
{
	return (struct fuse_attr){.ino = node, .size = node == 2 ? DISK : 0, .blocks = DISK / 512,
		.mode = node == 2 ? S_IFREG | 0600 : S_IFDIR | 0700, .nlink = 1, .blksize = 4096};
}

static void
note(uint64_t off, const void *p, uint32_t n)
{
	must(sh->n < WRITES && sh->used + n < bytes_most, "the log is full");
	sh->w[sh->n] = (struct write){.off = off, .data = sh->used, .n = n};
	if (n) {
		memcpy(disk + off, p, n);
		memcpy(data + sh->used, p, n);
	}
	sh->used += n;
	__atomic_store_n(&sh->n, sh->n + 1, __ATOMIC_SEQ_CST);
}

static void
serve(int fd)
{
	static uint8_t buf[(1 << 20) + 8192];

	for (;;) {
		ssize_t got = read(fd, buf, sizeof buf);
		struct fuse_in_header in;
		const uint8_t *arg = buf + sizeof in;

		if (got < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
			continue;
		if (got < (ssize_t)sizeof in)
			_exit(0);
		memcpy(&in, buf, sizeof in);
		switch (in.opcode) {
		case FUSE_INIT: {
			struct fuse_init_out o = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 128 << 10,
				.flags = FUSE_BIG_WRITES, .max_background = 32, .congestion_threshold = 24,
				.time_gran = 1};

			reply(fd, &in, 0, &o, sizeof o);
			break;
		}
		case FUSE_LOOKUP: {
			struct fuse_entry_out o = {.nodeid = 2, .attr_valid = 3600, .entry_valid = 3600, .attr = attr(2)};

			reply(fd, &in, strcmp((const char *)arg, "disk") ? -ENOENT : 0, &o,
			    strcmp((const char *)arg, "disk") ? 0 : sizeof o);
			break;
		}
		case FUSE_GETATTR:
		case FUSE_SETATTR: {
			struct fuse_attr_out o = {.attr_valid = 3600, .attr = attr(in.nodeid)};

			reply(fd, &in, 0, &o, sizeof o);
			break;
		}
		case FUSE_OPEN:
		case FUSE_OPENDIR: {
			struct fuse_open_out o = {.open_flags = in.opcode == FUSE_OPEN ? FOPEN_DIRECT_IO : 0};

			reply(fd, &in, 0, &o, sizeof o);
			break;
		}
		case FUSE_READ: {
			struct fuse_read_in r;
			size_t n;

			memcpy(&r, arg, sizeof r);
			n = r.offset >= DISK ? 0 : r.size < DISK - r.offset ? r.size : DISK - r.offset;
			reply(fd, &in, 0, disk + r.offset, n);
			break;
		}
		case FUSE_WRITE: {
			struct fuse_write_in w;
			struct fuse_write_out o = {0};

			memcpy(&w, arg, sizeof w);
			must(w.offset + w.size <= DISK, "a write beyond the disk");
			note(w.offset, arg + sizeof w, w.size);
			o.size = w.size;
			reply(fd, &in, 0, &o, sizeof o);
			break;
		}
		case FUSE_FSYNC:
			note(0, NULL, 0);
			reply(fd, &in, 0, NULL, 0);
			break;
		case FUSE_FLUSH:
		case FUSE_RELEASE:
		case FUSE_RELEASEDIR:
			reply(fd, &in, 0, NULL, 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		case FUSE_DESTROY:
			reply(fd, &in, 0, NULL, 0);
			_exit(0);
		default:
			reply(fd, &in, -ENOSYS, NULL, 0);
		}
	}
}

/* ---- loop devices ---- */

/* Mounts the ext4 in the open file; false when it does not mount. */
static bool
mount_file(int file, const char *at)
{
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC), dev = -1;
	bool ok = false;
	char name[32];
	int why;

	must(ctl >= 0, "/dev/loop-control");
	for (int i = 0; i < 50 && dev < 0; i++) {
		struct loop_config c = {.fd = (uint32_t)file, .block_size = SECTOR,
			.info.lo_flags = LO_FLAGS_AUTOCLEAR};
		int no = ioctl(ctl, LOOP_CTL_GET_FREE);

		snprintf(name, sizeof name, "/dev/loop%d", no);
		dev = open(name, O_RDWR | O_CLOEXEC);
		/* Somebody else may have been faster. */
		if (dev >= 0 && ioctl(dev, LOOP_CONFIGURE, &c)) {
			close(dev);
			dev = -1;
			usleep(1000);
		}
	}
	must(dev >= 0, "a loop device");
	ok = !mount(name, at, "ext4", 0, NULL);
	why = errno;
	close(dev);
	close(ctl);
	errno = why;
	return ok;
}

/* ---- the work ---- */

static char
content(uint64_t id, size_t i)
{
	return (char)(id * 31 + i * 7 + (i >> 8));
}

static struct message *
message(uint64_t id)
{
	for (size_t i = 0; i < sh->nmessages; i++)
		if (sh->m[i].id == id)
			return &sh->m[i];
	return NULL;
}

static void
config(struct spool_config *c, enum spool_sync how)
{
	spool_config_default(c);
	c->floor_bytes = c->floor_inodes = 0;
	c->circuit_after = 0;
	c->sync = how;
	c->trace_bytes = 20000;
	c->trace_files = 3;
}

static size_t
commit(struct spool *s, uint64_t now)
{
	static struct spool_outcome out[SPOOL_GROUP_MOST];
	struct message *gone[MESSAGES];
	size_t n, ngone = 0;

	for (size_t i = 0; i < sh->nmessages; i++)
		if (sh->m[i].sent && !sh->m[i].final)
			gone[ngone++] = &sh->m[i];
	n = spool_commit(s, now, out);
	for (size_t i = 0; i < n; i++) {
		must(!out[i].err, "commit");
		((struct message *)out[i].token)->acked = sh->n;
	}
	for (size_t i = 0; i < ngone; i++)
		gone[i]->final = sh->n;
	return n;
}

static void
work(const char *at, enum spool_sync how)
{
	int dir = open(at, O_RDONLY | O_DIRECTORY);
	struct spool_config c;
	struct spool *s;
	uint64_t now = T0;

	must(dir >= 0, at);
	config(&c, how);
	must(!spool_open(&s, dir, &c, now), "spool_open");
	while (sh->nmessages < MESSAGES) {
		for (size_t k = 1 + rnd(8); k && sh->nmessages < MESSAGES; k--) {
			struct message *m = &sh->m[sh->nmessages];
			struct spool_rcpt r = {.address = "to@x", .relay = "r"};
			struct spool_envelope e = {.from = "f@x", .rcpt = &r, .nrcpt = 1};
			struct spool_arrival *a;
			char run[1000];

			must(!spool_arrive(s, 0, now, &a), "spool_arrive");
			m->id = spool_arrival_id(a);
			m->size = rnd(3) ? rnd(4000) : rnd(30000);
			for (size_t i = 0; i < m->size; i += sizeof run) {
				size_t n = m->size - i < sizeof run ? m->size - i : sizeof run;

				for (size_t j = 0; j < n; j++)
					run[j] = content(m->id, i + j);
				must(!spool_write(a, run, n), "spool_write");
			}
			must(!spool_seal(s, a, &e, now, m), "spool_seal");
			sh->nmessages++;
		}
		commit(s, now);
		for (size_t k = rnd(8); k; k--) {
			struct spool_result r = {.fate = rnd(3) ? SPOOL_FATE_DELIVERED : SPOOL_FATE_DEFERRED,
				.reply.text = "2.0.0 as you like"};
			struct spool_claim *cl;
			const uint32_t *which;
			size_t n;

			if (spool_claim(s, "r", now, &cl))
				break;
			if (r.fate == SPOOL_FATE_DELIVERED)
				message(spool_claim_message(cl, &which, &n)->env.id)->sent = sh->n;
			must(!spool_done(s, cl, &r, now), "spool_done");
		}
		if (!rnd(4))
			commit(s, now);
		if (!rnd(10))
			sync();
		now += 20000;
	}
	spool_close(s);
	close(dir);
}

/* ---- the cuts ---- */

static unsigned long lost, torn, again, present, unmounted;

/* The disk as a cut before write k may leave it. */
static void
build(uint8_t *img, size_t k)
{
	size_t flush = k;
	uint64_t how = rnd(4);

	memcpy(img, base, DISK);
	while (flush && sh->w[flush - 1].n)
		flush--;
	for (size_t i = 0; i < k; i++) {
		const struct write *w = &sh->w[i];
		uint32_t n = w->n;

		if (i >= flush) {
			/* After the flush: nothing, all, or any of it. */
			if (how == 0 || (how == 1 && rnd(2)) || (how == 2 && rnd(8) == 0))
				continue;
			/* But for the superblock, which ext4 writes in place: torn, it is fsck's. */
			if (i + 1 == k && n && w->off >= 4096)
				n = (uint32_t)rnd(n / SECTOR + 1) * SECTOR;
		}
		memcpy(img + w->off, data + w->data, n);
	}
}

static void
check(const char *at, size_t k, enum spool_sync how)
{
	int dir = open(at, O_RDONLY | O_DIRECTORY);
	struct spool_config c;
	struct spool *s = NULL;
	struct spool_found f;

	config(&c, how);
	if (spool_open(&s, dir, &c, T0 + 1)) {
		torn++;
		close(dir);
		return;
	}
	spool_found(s, &f);
	torn += f.damaged + f.unreadable + f.stray;
	for (size_t i = 0; i < sh->nmessages; i++) {
		struct message *m = &sh->m[i];
		struct spool_message msg;
		static char run[40000];
		int r = spool_read(s, m->id, &msg);

		if (r == -ENOENT) {
			lost += m->acked && m->acked <= k && !(m->sent && m->sent <= k);
			continue;
		}
		if (r) {
			torn++;
			continue;
		}
		present++;
		again += m->final && m->final <= k;
		if (msg.size != m->size || pread(msg.fd, run, m->size, (off_t)msg.offset) != (ssize_t)m->size)
			torn++;
		else
			for (size_t j = 0; j < m->size; j++)
				if (run[j] != content(m->id, j)) {
					torn++;
					break;
				}
		spool_message_end(&msg);
	}
	spool_close(s);
	close(dir);
}

static void
command(char *const *argv)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execvp(argv[0], argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	must(!status, argv[0]);
}

int
main(int argc, char **argv)
{
	unsigned long cuts = argc > 1 ? strtoul(argv[1], NULL, 10) : 300;
	enum spool_sync how = argc > 3 ? SPOOL_SYNC_FS : SPOOL_SYNC_EACH;
	char path[WORLD_PATH], opt[128], fuse[96], mnt[96], file[96], served[128];
	size_t flushes = 0;
	int fd, img;
	pid_t server;

	chance = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1) * 0x9e3779b97f4a7c15 + 1;
	if (geteuid() || access("/dev/fuse", R_OK | W_OK) || access("/dev/loop-control", R_OK | W_OK)) {
		printf("needs root, /dev/fuse and loop devices: not run\n");
		return 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* A mount namespace: whatever happens, nothing stays mounted. */
	must(!unshare(CLONE_NEWNS), "unshare");
	must(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount");
	sh = shared(sizeof *sh);
	disk = shared(DISK);
	base = shared(DISK);
	data = shared(bytes_most);
	world_folder(path);
	snprintf(fuse, sizeof fuse, "%s/fuse", path);
	snprintf(mnt, sizeof mnt, "%s/mnt", path);
	snprintf(file, sizeof file, "%s/img", path);
	snprintf(served, sizeof served, "%s/disk", fuse);
	mkdir(fuse, 0700);
	mkdir(mnt, 0700);
	img = open(file, O_RDWR | O_CREAT, 0600);
	must(img >= 0 && !ftruncate(img, DISK), file);
	command((char *[]){(char *)"mkfs.ext4", (char *)"-q", (char *)"-F", (char *)"-b", (char *)"4096",
		(char *)"-J", (char *)"size=4", (char *)"-N", (char *)"2000", (char *)"-E",
		(char *)"lazy_itable_init=0,lazy_journal_init=0", file, NULL});
	must(pread(img, base, DISK, 0) == DISK, file);
	memcpy(disk, base, DISK);

	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	must(fd >= 0, "/dev/fuse");
	snprintf(opt, sizeof opt, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	must(!mount("disk", fuse, "fuse", MS_NOSUID | MS_NODEV, opt), "mount fuse");
	server = fork();
	if (!server)
		serve(fd);
	close(fd);
	fd = open(served, O_RDWR | O_CLOEXEC);
	must(fd >= 0, served);
	must(mount_file(fd, mnt), "mount ext4");
	close(fd);
	work(mnt, how);
	must(!umount2(mnt, 0), "umount");
	umount2(fuse, MNT_DETACH);
	waitpid(server, NULL, 0);
	for (size_t i = 0; i < sh->n; i++)
		flushes += !sh->w[i].n;
	printf("%zu messages, %zu writes, %zu flushes, %llu bytes\n", sh->nmessages, sh->n - flushes, flushes,
	    (unsigned long long)sh->used);

	for (unsigned long i = 0; i < cuts; i++) {
		unsigned long before = lost + torn + again;
		size_t k = rnd(sh->n + 1);
		static uint8_t *now;

		now = now ? now : shared(DISK);
		build(now, k);
		must(pwrite(img, now, DISK, 0) == DISK, file);
		if (!mount_file(img, mnt)) {
			printf("cut %zu does not mount: %s\n", k, strerror(errno));
			unmounted++;
			continue;
		}
		check(mnt, k, how);
		must(!umount2(mnt, 0), "umount");
		if (i % 500 == 499)
			printf("%lu cuts so far\n", i + 1);
		if (lost + torn + again != before)
			printf("cut %zu: lost %lu torn %lu again %lu\n", k, lost, torn, again);
	}
	printf("%lu cuts: %lu lost, %lu torn, %lu again, %lu unmountable; %lu messages seen\n", cuts, lost, torn,
	    again, unmounted, present);
	close(img);
	world_remove(path);
	return lost || torn || again || unmounted || !present;
}
