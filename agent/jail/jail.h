/*
 * jail: a process gives up what it does not need. What a kernel does not have is not an
 * error: it is told in `missing`, for the log, and the rest is done.
 *
 * Order in a role's start: open everything, jail_user, jail_landlock, jail_caps, jail_seccomp.
 */
#ifndef JAIL_JAIL_H
#define JAIL_JAIL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Sets no_new_privs, undumpable, and that the process dies with its parent. 0 or -errno. */
int
jail_begin(void);

/* Where memory is short the kernel kills this process before others that do not call it: adds to its
 * oom_score_adj (proc(5)), thousandths of the memory there is. To be called before jail_begin(), after which
 * the file is root's. What cannot be done is left: it is a preference. */
void
jail_first_to_go(int more);

/* What a role adds, against the parent, whose end would be the end of all. */
enum { JAIL_GO_APPLY = 100, JAIL_GO_ROLE = 200, JAIL_GO_JOB = 500 };

/* Becomes the user and its group for good, without supplementary groups; keep: capabilities
 * stay (PR_SET_KEEPCAPS). Does nothing for one who is that user already. 0 or -errno; -EPERM
 * and -EINVAL where this user namespace has no such user. */
int
jail_user(uid_t uid, gid_t gid, bool keep);

/* Keeps of the capabilities those whose bit (1 << CAP_X, linux/capability.h) is in `keep`, drops
 * all others from every set, the bounding set too. 0 or -errno. */
int
jail_caps(uint64_t keep);

/* Keeps of those in `keep` what the process has, drops all others, and passes them on to programs that it
 * executes (capabilities(7), ambient set). 0 or -errno. */
int
jail_caps_pass(uint64_t keep);

/* A folder or file that stays open to the process. */
struct jail_path {
	const char *path;          /* one that is not there is passed over; NULL: the folder `dir` */
	bool write;                /* else reading only */
	bool exec;                 /* programs in it may be run */
	int dir;
};

/* Only these files, by Landlock (linux/landlock.h), and no TCP connect or bind where the kernel can
 * forbid it. 0; 1 where the kernel has no Landlock; or -errno. */
int
jail_landlock(const struct jail_path *path, unsigned n);

/* The same for a role whose work is to connect: TCP connect stays open, bind does not. */
int
jail_landlock_connect(const struct jail_path *path, unsigned n);

/* The system calls of a role. */
enum jail_profile { JAIL_PARENT, JAIL_APPLY, JAIL_ATTEMPTS, JAIL_COMPILE, JAIL_RELAY, JAIL_QUEUE,
	JAIL_FRONT,
	JAIL_STARTER,              /* what it starts narrows it */
	JAIL_NPROFILE };

/* Allows the profile's system calls; any other kills the process (SIGSYS), which is told by
 * its parent. Sockets only of the families that the profile names, else EAFNOSUPPORT. Children
 * that the parent starts later narrow its profile with their own. 0; 1 where the kernel has no
 * seccomp, or this is a build with sanitizers, which make calls of their own; or -errno. */
int
jail_seccomp(enum jail_profile p);

#endif
