/*
 * peer: who is at an end of a connection, as the kernel tells it.
 *
 * A TCP or UDP socket of this host by its addresses and ports (sock_diag(7), linux/inet_diag.h), the
 * other end of an accepted loopback connection, the other end of a unix socket; the unit of a
 * control group; the process behind a socket as far as it can still be known. What cannot be
 * told is not known: PEER_NO_UID, a NULL, a 0, and never root. Nothing here waits, and
 * everything is bounded. Folders come as descriptors, so that it runs under Landlock.
 */
#ifndef PEER_PEER_H
#define PEER_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_NO_UID UINT32_MAX

enum {
	PEER_COMM = 64,            /* bytes of a process's name with its NUL */
	PEER_EXE = 512,            /* of its executable's path */
	PEER_UNIT = 1024,          /* of a control group's path below the root */
	PEER_AMONG = 128,          /* of a list of processes' names */
	PEER_MOST_PROCESSES = 4096, /* looked at in one question */
	PEER_MOST_FDS = 1024,      /* of one process */
	PEER_MOST_UNITS = 16384,   /* control groups remembered */
	PEER_MOST_DEPTH = 32,
	PEER_MOST_WALKS = 32,      /* at once, by one who has rested */
};

/* ---- sockets ------------------------------------------------------------------------ */

/* A socket, seen from its own side. Addresses in network order, the first 4 bytes of an IPv4
 * one; ports as numbers. */
struct peer_tuple {
	uint8_t family;            /* 4 or 6 */
	uint8_t proto;             /* 6 TCP, 17 UDP */
	uint8_t src[16], dst[16];
	uint16_t sport, dport;
	uint32_t ifindex;          /* that it sends through; 0 where not known */
};

struct peer_sock {
	uint32_t uid;              /* PEER_NO_UID */
	uint32_t inode;            /* 0: no program has it open any more */
	uint64_t cgroup;           /* 0: not known (kernels before 5.8) */
	uint8_t state;             /* 1 established, 2 SYN sent, ... (tcp_states.h) */
};

/* What peer_find() may say beside -errno. */
enum peer_found {
	PEER_FOUND = 0,
	PEER_CLOSED = 1,           /* the kernel has it, no program does: uid and inode not known */
};

/* Opens a sock_diag socket of the calling thread's network namespace (close-on-exec,
 * non-blocking). It needs no capability. The descriptor or -errno. */
int
peer_open(void);

/* Looks up the socket with exactly these addresses and ports; IPv4 as the plain or as the mapped
 * address (::ffff:a.b.c.d) of a socket of either family. A listener, or a socket of another
 * pair, is not it. PEER_FOUND, PEER_CLOSED and *out; -ENOENT there is none (any more), or
 * -errno. An answer to an earlier question is passed over. */
int
peer_find(int diag, const struct peer_tuple *t, struct peer_sock *out);

/* Looks up the other end of an accepted TCP connection from this host, also of one that was
 * redirected here: the client's socket stands under its original destination
 * (SO_ORIGINAL_DST). As peer_find(); -ENOENT for a client that has gone or is not of this host's
 * network namespace. */
int
peer_of_tcp(int diag, int conn, struct peer_sock *out);

/* The other end of a unix socket (SO_PEERCRED): those who connected it, which need not be
 * those who write now. */
struct peer_unix {
	uint32_t uid, gid;
	uint32_t pid;              /* 0: in another pid namespace */
	int pidfd;                 /* SO_PEERPIDFD, the caller's to close; -1 where the kernel (< 6.5)
	                              has it not, or the process has gone */
};
int
peer_of_unix(int conn, struct peer_unix *out);

/* ---- units -------------------------------------------------------------------------- */

struct peer_units;

/* A map from control group ids to paths below `root`, a folder of a cgroup2 mount, whose
 * descriptor stays the caller's. Nothing is read yet. NULL without memory. */
struct peer_units *
peer_units_new(int root);
struct peer_units *
peer_units_free(struct peer_units *u);

/* The path of a control group: "system.slice/apache2.service", "/" for the root itself. NULL where it
 * is not known: no such folder (any more), below another root, or past a limit. An unknown id lets
 * the folders be walked again, PEER_MOST_WALKS times at once; each walk is earned again in
 * 1 ms and 1 more for 16 control groups, by the caller's clock. It lives until the next call. */
const char *
peer_units_path(struct peer_units *u, uint64_t id, uint64_t now_ms);

/* The same, never walking. */
const char *
peer_units_known(const struct peer_units *u, uint64_t id);

/* How many are remembered, and whether a limit cut the last walk. */
uint32_t
peer_units_count(const struct peer_units *u, bool *cut);

/* ---- processes ---------------------------------------------------------------------- */

/* Where processes are looked for. */
struct peer_places {
	int proc;                  /* the folder /proc */
	int cgroup;                /* the cgroup2 mount; -1: none */
};

/* What is asked. */
struct peer_ask {
	uint32_t uid, gid;         /* of the socket; gid UINT32_MAX: any; uid PEER_NO_UID: by inode alone */
	uint32_t inode;            /* of the socket; 0: not known */
	const char *unit;          /* peer_units_path()'s; NULL: not known, all of /proc is looked at */
	uint64_t born_by;          /* processes begun later were not it; ticks since boot as in
	                              proc_pid_stat(5); UINT64_MAX: any */
};

/* How a process was found. */
enum peer_how {
	PEER_NOBODY,               /* pid is 0 */
	PEER_HOLDS,                /* it has the socket open */
	PEER_ONLY,                 /* it is the only process of that user (in that unit): likely */
	PEER_NHOW
};

struct peer_who {
	enum peer_how how;
	uint32_t pid;
	uint64_t start;            /* ticks since boot: with pid, its identity */
	uint32_t candidates;       /* processes of that user (in that unit) */
	char comm[PEER_COMM];      /* of the process, or what all candidates share; "" */
	char exe[PEER_EXE];        /* its executable where it may be read, or what all share; "" */
	char unit[PEER_UNIT];      /* what all candidates share: with how PEER_HOLDS, its own; "" */
	char among[PEER_AMONG];    /* "apache2 x5, sh" where there are several; "" */
};

/* Looks for the process: who holds the socket's inode, as far as other processes' descriptors may be
 * read (one's own uid, or CAP_SYS_PTRACE, and no Landlock), else the only one of that user. Each
 * process is held by a descriptor of its folder, which never becomes another process's. 0, also where
 * there is nobody; -errno where /proc cannot be read. */
int
peer_process(const struct peer_places *p, const struct peer_ask *a, struct peer_who *out);

/* What /proc tells of one process: start, comm, exe, unit (the path in /proc/PID/cgroup below the
 * namespace's root). 0; -ESRCH it has gone, or -errno. */
int
peer_pid(const struct peer_places *p, uint32_t pid, struct peer_who *out);

#endif
