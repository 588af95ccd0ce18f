/*
 * role: the agent's processes, one main each. A role's main takes exactly the descriptors that it
 * may use; it gives up all else by itself (jail.h) before it reads a byte, and comes back
 * when its channel has closed: the exit status of its process.
 */
#ifndef ROLE_ROLE_H
#define ROLE_ROLE_H

#include <stdbool.h>
#include <sys/types.h>

/* apply: the kernel's rules (ipc/apply.h). */
struct role_apply {
	int chan;
	int netlink;               /* a netlink socket of NETLINK_NETFILTER, which may own tables
	                              already; -1: it opens one where it is */
	uid_t uid;                 /* to become; one's own: no change */
	gid_t gid;
	bool no_owner;             /* `owner: off`: others may edit the tables */
	bool no_jail;              /* for debuggers: give up nothing */
};

/* The role apply, until chan closes. Rules stay in the kernel. 0, or 1 with a sentence in the
 * log. Needs CAP_NET_ADMIN in the user namespace of the network namespace, and keeps only that. */
int
role_apply(const struct role_apply *r);

/* attempts: who tried what a logging statement stopped (ipc/attempts.h). */
struct role_attempts {
	int chan;
	int nflog;                 /* nflog_open(PLAN_LOG_GROUP) of the host's network namespace */
	int diag;                  /* peer_open(), there too */
	int proc;                  /* the folder /proc */
	int cgroup;                /* the cgroup2 mount; -1: units are not told */
	int passwd;                /* /etc/passwd; -1: users are told by number. Users that are made
	                              later in a new file of that name have no name */
	/* Who connects, where it may be seen: peer_witness_open()'s descriptors and the folder of
	   tracefs. It alone tells the process of a connection that was reset. 0: without. */
	const int *trace;
	unsigned ntrace;
	int tracefs;
	uid_t uid;                 /* to become; one's own: no change */
	gid_t gid;
	bool no_jail;              /* give up nothing: only so, and as root, are the executables and the
	                              open files of other users' processes seen (Landlock forbids it) */
};

/* The role attempts, until chan closes, or its other end's writing direction (shutdown(2)): then what
 * is left is told first. Descriptors stay the caller's. 0, or 1 with a sentence in the log. Needs no
 * capability, and keeps none. */
int
role_attempts(const struct role_attempts *r);

/* relay: speaks with the policy's relays (ipc/relay.h, ipc/mail.h). */
struct role_relay {
	int queue;                 /* channel to the role queue */
	int parent;                /* channel to the parent */
	const char *const *ca;     /* files and folders of roots, of CA files the policy names, that stay readable
	                              with the folders they are in, beside /etc and the system's
	                              (/usr/share/ca-certificates); paths cannot be added to a jail later */
	unsigned nca;
	const char *servers;       /* name servers in place of resolv.conf's (dns/dns.h); NULL: those */
	uid_t uid;                 /* to become; one's own: no change */
	gid_t gid;
	bool no_jail;              /* for debuggers: give up nothing */
};

/* The role relay, until a channel closes or MAIL_STOP has been seen to. Descriptors stay the caller's. 0, or
 * 1 with a sentence in the log. Needs no capability, and keeps none; it may connect, and write no file. */
int
role_relay(const struct role_relay *r);

struct spool_config;

/* queue: owns the spool and its schedule (ipc/front.h, ipc/relay.h, ipc/mail.h). */
struct role_queue {
	int front;                 /* channel to the role front */
	int relay;                 /* channel to the role relay */
	int parent;                /* channel to the parent */
	int spool;                 /* the spool's folder (spool/spool.h) */
	const struct spool_config *config; /* its limits and times; NULL: the spool's own, and ours */
	uid_t uid;                 /* to become; one's own: no change */
	gid_t gid;
	bool no_jail;              /* for debuggers: give up nothing */
};

/* The role queue, until a channel closes or MAIL_STOP has been seen to. Descriptors stay the caller's. 0, or
 * 1 with a sentence in the log. Needs no capability, and keeps none; it makes no socket, and opens no file
 * outside the spool but the time zones'. */
int
role_queue(const struct role_queue *r);

/* front: takes mail from the programs of this host (ipc/front.h, ipc/mail.h). */
struct role_front {
	const int *listener;       /* sockets that listen: 127.0.0.1:587, [::1]:587, a unix socket */
	unsigned nlistener;        /* at most 16 */
	int queue;                 /* channel to the role queue */
	int parent;                /* channel to the parent */
	int diag;                  /* peer_open() in the listeners' network namespace; -1: nobody is known over TCP */
	int cgroup;                /* the cgroup2 mount; -1: units are not known */
	int proc;                  /* the folder /proc; -1: units over the unix socket are not known */
	uid_t uid;                 /* to become; one's own: no change */
	gid_t gid;
	unsigned most_connections; /* 0: 512, fewer where descriptors are few */
	unsigned command_ms;       /* until a command is whole; 0: five minutes */
	unsigned settle_ms;        /* until the queue has answered the end of a message; 0: 9.5 minutes */
	bool no_jail;              /* for debuggers: give up nothing */
};

/* The role front, until a channel closes or MAIL_STOP has been seen to. Descriptors stay the caller's. 0, or
 * 1 with a sentence in the log. Needs no capability, and keeps none; it opens no socket and writes no file
 * but those that the queue hands to it. */
int
role_front(const struct role_front *r);

#endif
