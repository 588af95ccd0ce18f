#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peer/peer.h"

enum {
	MOST_FILE = 8 << 10,       /* of a file below /proc/PID that is read */
	MOST_PROCS = 64 << 10,     /* of cgroup.procs */
	MOST_NAMES = 8,            /* different names among candidates */
};

/* Reads a whole small file, NUL-terminated, cut at n - 1 bytes. Its bytes or -errno. */
static ssize_t
read_at(int dir, const char *name, char *p, size_t n)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t at = 0;
	ssize_t k = 0;

	if (fd < 0)
		return -errno;
	while (at < n - 1) {
		k = read(fd, p + at, n - 1 - at);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			break;
		at += (size_t)k;
	}
	if (k < 0)
		k = -errno;
	close(fd);
	p[at] = '\0';
	return k < 0 ? k : (ssize_t)at;
}

/* What a process is, read through the descriptor of its folder: it stands for this process alone, also
 * when the number is given to another. */
struct process {
	uint32_t pid;
	uint32_t euid, fsuid, egid, fsgid;
	uint64_t start;
	bool lives;                /* it has memory: neither a zombie nor a thread of the kernel's */
};

/* The numbers after "\nNAME:\t" in a status file. */
static unsigned
numbers(const char *text, const char *name, uint32_t *v, unsigned n)
{
	const char *p = strstr(text, name);
	unsigned i = 0;

	for (p = p ? p + strlen(name) : ""; i < n && (*p == '\t' || *p == ' '); i++) {
		char *end;
		while (*p == '\t' || *p == ' ')
			p++;
		if (!isdigit((unsigned char)*p))
			break;
		v[i] = (uint32_t)strtoul(p, &end, 10);
		p = end;
	}
	return i;
}

/* The 22nd field of a stat file; names of programs may hold anything, but the last ')' ends them. */
static bool
started(const char *text, uint64_t *start)
{
	const char *p = strrchr(text, ')');

	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p || !isdigit((unsigned char)p[1]))
		return false;
	*start = strtoull(p + 1, NULL, 10);
	return true;
}

static int
look(int dir, struct process *p)
{
	char text[MOST_FILE];
	uint32_t uid[4], gid[4];
	ssize_t n = read_at(dir, "status", text, sizeof text);

	if (n < 0)
		return (int)n;
	if (numbers(text, "\nUid:", uid, 4) != 4 || numbers(text, "\nGid:", gid, 4) != 4)
		return -EBADMSG;
	p->euid = uid[1];
	p->fsuid = uid[3];
	p->egid = gid[1];
	p->fsgid = gid[3];
	p->lives = strstr(text, "\nVmSize:") != NULL;
	n = read_at(dir, "stat", text, sizeof text);
	if (n < 0)
		return (int)n;
	return started(text, &p->start) ? 0 : -EBADMSG;
}

static void
name_of(int dir, char out[PEER_COMM])
{
	ssize_t n = read_at(dir, "comm", out, PEER_COMM);

	if (n < 0)
		n = 0;
	while (n && out[n - 1] == '\n')
		n--;
	out[n] = '\0';
}

static void
exe_of(int dir, char out[PEER_EXE])
{
	ssize_t n = readlinkat(dir, "exe", out, PEER_EXE - 1);

	/* a cut path would be another's */
	if (n < 0 || n == PEER_EXE - 1)
		n = 0;
	out[n] = '\0';
}

/* The path in the line "0::/path" of the cgroup file, as peer_units_path() writes it. */
static void
unit_of(int dir, char out[PEER_UNIT])
{
	char text[MOST_FILE];
	const char *p = text;

	out[0] = '\0';
	if (read_at(dir, "cgroup", text, sizeof text) <= 0)
		return;
	while (strncmp(p, "0::/", 4) != 0) {
		p = strchr(p, '\n');
		if (!p)
			return;
		p++;
	}
	p += 4;
	size_t n = strcspn(p, "\n");
	if (p[n] != '\n' || n >= PEER_UNIT)
		return;
	if (n) {
		memcpy(out, p, n);
		out[n] = '\0';
	} else {
		memcpy(out, "/", 2);
	}
}

/* Whether the process has the socket open; no where it may not be asked. */
static bool
holds(int dir, uint32_t inode)
{
	char want[32], is[32];
	int fd = openat(dir, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	bool found = false;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	int len = snprintf(want, sizeof want, "socket:[%" PRIu32 "]", inode);
	for (unsigned i = 0; i < PEER_MOST_FDS && !found && (e = readdir(d)); i++) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, is, sizeof is);
		found = n == len && !memcmp(is, want, (size_t)n);
	}
	closedir(d);
	return found;
}

/* ---- the candidates ----------------------------------------------------------------- */

struct name {
	char comm[PEER_COMM];
	unsigned n;
};

struct search {
	const struct peer_places *places;
	const struct peer_ask *ask;
	struct peer_who *out;
	struct name name[MOST_NAMES];
	unsigned nname, others;    /* others: of names past MOST_NAMES */
	bool cut;                  /* there were more processes than are looked at */
};

static int
open_process(const struct peer_places *p, uint32_t pid)
{
	char name[16];

	snprintf(name, sizeof name, "%" PRIu32, pid);
	int fd = openat(p->proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void
tell(struct peer_who *out, const struct process *p, int dir)
{
	out->pid = p->pid;
	out->start = p->start;
	name_of(dir, out->comm);
	exe_of(dir, out->exe);
	unit_of(dir, out->unit);
}

static void
count_name(struct search *s, const char *comm)
{
	unsigned i = 0;

	while (i < s->nname && strcmp(s->name[i].comm, comm) != 0)
		i++;
	if (i == MOST_NAMES) {
		s->others++;
		return;
	}
	if (i == s->nname)
		snprintf(s->name[s->nname++].comm, PEER_COMM, "%s", comm);
	s->name[i].n++;
}

static void
candidate(struct search *s, const struct process *p, int dir)
{
	struct peer_who *o = s->out, this = {0};

	if (o->candidates++ == 0) {
		tell(o, p, dir);
		count_name(s, o->comm);
		return;
	}
	tell(&this, p, dir);
	count_name(s, this.comm);
	o->pid = 0;
	o->start = 0;
	/* what all share stays */
	if (strcmp(this.comm, o->comm) != 0)
		o->comm[0] = '\0';
	if (strcmp(this.exe, o->exe) != 0)
		o->exe[0] = '\0';
	if (strcmp(this.unit, o->unit) != 0)
		o->unit[0] = '\0';
}

/* Looks at one process; true when it has the socket. */
static bool
try(struct search *s, uint32_t pid, bool in_unit)
{
	const struct peer_ask *a = s->ask;
	struct process p = {.pid = pid};
	bool mine = false;

	int dir = open_process(s->places, pid);
	if (dir < 0)
		return false;
	if (!look(dir, &p) && p.lives && p.start <= a->born_by) {
		bool user = a->uid != PEER_NO_UID && (p.euid == a->uid || p.fsuid == a->uid) &&
		    (a->gid == UINT32_MAX || p.egid == a->gid || p.fsgid == a->gid);
		if (a->inode && (user || in_unit || a->uid == PEER_NO_UID) && holds(dir, a->inode)) {
			tell(s->out, &p, dir);
			mine = true;
		} else if (user) {
			char unit[PEER_UNIT] = "";
			if (!in_unit && a->unit)
				unit_of(dir, unit);
			if (in_unit || !a->unit || !strcmp(unit, a->unit))
				candidate(s, &p, dir);
		}
	}
	close(dir);
	return mine;
}

/* The processes that cgroup.procs of the unit tells. 1: found; 0: not; -errno: it cannot be read. */
static int
in_unit(struct search *s)
{
	const char *unit = s->ask->unit;
	char name[PEER_UNIT + 16], *text;
	unsigned n = 0;
	int found = 0;

	snprintf(name, sizeof name, "%s%scgroup.procs", unit[0] == '/' ? "." : unit, "/");
	text = calloc(1, MOST_PROCS);
	if (!text)
		return -ENOMEM;
	ssize_t k = read_at(s->places->cgroup, name, text, MOST_PROCS);
	if (k < 0) {
		free(text);
		return (int)k;
	}
	s->cut = k == MOST_PROCS - 1;
	for (const char *p = text; isdigit((unsigned char)*p) && !found;) {
		char *end;
		unsigned long pid = strtoul(p, &end, 10);
		if (*end != '\n')
			break;
		p = end + 1;
		if (++n > PEER_MOST_PROCESSES) {
			s->cut = true;
			break;
		}
		if (pid && pid <= INT32_MAX)
			found = try(s, (uint32_t)pid, true);
	}
	free(text);
	return found;
}

/* All processes. As in_unit(). */
static int
everywhere(struct search *s)
{
	int fd = openat(s->places->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	unsigned n = 0;

	if (!d) {
		int err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (!found && (e = readdir(d))) {
		struct stat st;
		char *end;

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		unsigned long pid = strtoul(e->d_name, &end, 10);
		if (*end || !pid || pid > INT32_MAX)
			continue;
		/* The folder is its effective user's; root's (of its user namespace) where it may not be
		   dumped. This spares reading most of them. */
		if (fstatat(dirfd(d), e->d_name, &st, 0))
			continue;
		if (s->ask->uid != PEER_NO_UID && st.st_uid != s->ask->uid && st.st_uid != 0)
			continue;
		if (++n > PEER_MOST_PROCESSES) {
			s->cut = true;
			break;
		}
		found = try(s, (uint32_t)pid, false);
	}
	closedir(d);
	return found;
}

static int
by_count(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	return (x->n < y->n) - (x->n > y->n);
}

static void
list_names(struct search *s)
{
	char *out = s->out->among;
	size_t at = 0;
	unsigned more = s->others;

	qsort(s->name, s->nname, sizeof s->name[0], by_count);
	for (unsigned i = 0; i < s->nname; i++) {
		char one[PEER_COMM + 24];
		int n = s->name[i].n > 1 ? snprintf(one, sizeof one, "%s%s x%u", at ? ", " : "",
		    s->name[i].comm, s->name[i].n) :
		    snprintf(one, sizeof one, "%s%s", at ? ", " : "", s->name[i].comm);
		if (n < 0 || at + (size_t)n + 24 > PEER_AMONG) {
			more += s->name[i].n;
			continue;
		}
		memcpy(out + at, one, (size_t)n + 1);
		at += (size_t)n;
	}
	if (more && at)
		snprintf(out + at, PEER_AMONG - at, ", %u more", more);
}

int
peer_process(const struct peer_places *p, const struct peer_ask *a, struct peer_who *out)
{
	struct peer_who who = {0};
	struct search *s = calloc(1, sizeof *s);
	int found = -ENOENT;

	if (!s)
		return -ENOMEM;
	*s = (struct search){.places = p, .ask = a, .out = &who};
	if (a->unit && p->cgroup >= 0)
		found = in_unit(s);
	/* a unit that is gone, or one of threads (EOPNOTSUPP) */
	if (found < 0) {
		memset(s->name, 0, sizeof s->name);
		s->nname = s->others = 0;
		who = (struct peer_who){0};
		found = everywhere(s);
	}
	if (found > 0) {
		who.how = PEER_HOLDS;
	} else if (found == 0) {
		if (s->cut) {
			/* who was not looked at may differ */
			who = (struct peer_who){.candidates = who.candidates};
		} else if (who.candidates == 1) {
			who.how = PEER_ONLY;
		} else if (who.candidates > 1) {
			list_names(s);
		}
	}
	free(s);
	if (found < 0)
		return found;
	*out = who;
	return 0;
}

int
peer_pid(const struct peer_places *p, uint32_t pid, struct peer_who *out)
{
	struct peer_who who = {.how = PEER_HOLDS, .candidates = 1};
	struct process is = {.pid = pid};

	int dir = open_process(p, pid);
	if (dir < 0)
		return dir == -ENOENT ? -ESRCH : dir;
	int err = look(dir, &is);
	if (!err)
		tell(&who, &is, dir);
	close(dir);
	if (err)
		return err == -ENOENT ? -ESRCH : err;
	*out = who;
	return 0;
}
