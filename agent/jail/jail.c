#include "jail/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than Debian 12's headers (linux/landlock.h, ABI 3, 4, 5). */
#define FS_TRUNCATE (1ull << 14)
#define FS_IOCTL_DEV (1ull << 15)
#define NET_BIND_TCP (1ull << 0)
#define NET_CONNECT_TCP (1ull << 1)

struct ruleset {
	uint64_t fs, net;
};

int
jail_begin(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ||
	    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0))
		return -errno;
	return 0;
}

void
jail_first_to_go(int more)
{
	enum { MOST = 1000 };
	char text[16] = "";
	int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC), n;
	long score;

	if (fd < 0)
		return;
	if (read(fd, text, sizeof text - 1) > 0) {
		score = strtol(text, NULL, 10) + more;
		n = snprintf(text, sizeof text, "%ld", score > MOST ? MOST : score);
		(void)!write(fd, text, (size_t)n);
	}
	close(fd);
}

int
jail_user(uid_t uid, gid_t gid, bool keep)
{
	uid_t r, e, s;

	if (getresuid(&r, &e, &s))
		return -errno;
	if (r == uid && e == uid && s == uid)
		return 0;
	if (keep && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		return -errno;
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return -errno;
	/* changing the user clears these (prctl(2)) */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0))
		return -errno;
	return 0;
}

int
jail_caps(uint64_t keep)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {0};

	/* the bounding set first, for that takes CAP_SETPCAP; without it it bounds nothing that we
	   could gain, because of no_new_privs */
	for (int c = 0; c < 64; c++) {
		if (keep >> c & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) && errno == EINVAL)
			break;
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		return -errno;
	if (syscall(SYS_capget, &h, d))
		return -errno;
	/* who has nothing needs no call to give it up, which a service manager may have forbidden */
	if (!keep && !(d[0].permitted | d[1].permitted | d[0].inheritable | d[1].inheritable))
		return 0;
	for (int i = 0; i < 2; i++) {
		uint32_t k = (uint32_t)(keep >> (32 * i));
		d[i].permitted &= k;
		d[i].effective = d[i].permitted;
		d[i].inheritable = 0;
		if (d[i].permitted != k)
			return -EPERM;
	}
	return syscall(SYS_capset, &h, d) ? -errno : 0;
}

int
jail_caps_pass(uint64_t keep)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {0};

	if (syscall(SYS_capget, &h, d))
		return -errno;
	keep &= (uint64_t)d[1].permitted << 32 | d[0].permitted;
	for (int c = 0; c < 64; c++)
		if (!(keep >> c & 1) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) && errno == EINVAL)
			break;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		return -errno;
	if (!keep && !(d[0].permitted | d[1].permitted | d[0].inheritable | d[1].inheritable))
		return 0;
	for (int i = 0; i < 2; i++)
		d[i].permitted = d[i].effective = d[i].inheritable = (uint32_t)(keep >> (32 * i));
	if (syscall(SYS_capset, &h, d))
		return -errno;
	for (int c = 0; c < 64; c++)
		if (keep >> c & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0))
			return -errno;
	return 0;
}

/* The rights that a file which is no folder can have. */
#define FS_OF_FILE (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | \
    LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

static int
allow(int set, const struct jail_path *p, uint64_t handled)
{
	struct landlock_path_beneath_attr a = {.parent_fd = p->path ? open(p->path, O_PATH | O_CLOEXEC) :
	    fcntl(p->dir, F_DUPFD_CLOEXEC, 0)};
	struct stat st;
	int err = 0;

	if (a.parent_fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	a.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	if (p->write)
		a.allowed_access |= LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
		    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK |
		    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
		    LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE;
	if (p->exec)
		a.allowed_access |= LANDLOCK_ACCESS_FS_EXECUTE;
	if (fstat(a.parent_fd, &st))
		err = -errno;
	if (!S_ISDIR(st.st_mode))
		a.allowed_access &= FS_OF_FILE;
	a.allowed_access &= handled;
	if (!err && syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &a, 0))
		err = -errno;
	close(a.parent_fd);
	return err;
}

static int
landlock(const struct jail_path *path, unsigned n, uint64_t net)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct ruleset r = {.fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
	int err = 0;

	if (abi < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 1 : -errno;
	if (abi >= 2)
		r.fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		r.fs |= FS_TRUNCATE;
	if (abi >= 5)
		r.fs |= FS_IOCTL_DEV;
	if (abi >= 4)
		r.net = net;
	int set = (int)syscall(SYS_landlock_create_ruleset, &r,
	    abi >= 4 ? sizeof r : offsetof(struct ruleset, net), 0);
	if (set < 0)
		return -errno;
	for (unsigned i = 0; i < n && !err; i++)
		err = allow(set, &path[i], r.fs);
	if (!err && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_landlock_restrict_self, set, 0)))
		err = -errno;
	close(set);
	return err;
}

int
jail_landlock(const struct jail_path *path, unsigned n)
{
	return landlock(path, n, NET_BIND_TCP | NET_CONNECT_TCP);
}

int
jail_landlock_connect(const struct jail_path *path, unsigned n)
{
	return landlock(path, n, NET_BIND_TCP);
}
