/*
 * parent: the process that people and the service manager know as mailreeved.
 *
 * It starts the roles, keeps the state on disk, answers mailreevectl, and decides what is to be
 * in force; it reads no policy, touches no rule, and has no capability once the roles run.
 */
#ifndef PARENT_PARENT_H
#define PARENT_PARENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct parent_options {
	const char *policy;        /* the main file, absolute */
	const char *point;         /* "": the one host point there is */
	const char *state, *run;   /* folders */
	const char *group, *user;  /* who may control; who to be. NULL: nobody else; as it is */
	const char *textfile;      /* NULL: none */
	const char *version;
	const char *credentials;   /* the folder of credentials */
	bool credentials_of_manager; /* it is $CREDENTIALS_DIRECTORY */
	uint16_t submission_port;
	const char *host;          /* this host's full name; NULL: as the machine says */
	bool no_owner;
	bool apart;                /* the mail roles are another unit's: parent_apart() */
	char *program;             /* a role's argv[0] */
	/* of tests, which can neither start the machine anew nor wait for long */
	const char *boot_id;       /* that this boot has; NULL: as the kernel says */
	const char *memory_events; /* in place of the control group's; NULL */
	uint32_t ask_ms, job_ms;   /* longer no role, no child of the spawner is waited for; 0: as long as it is to be */
};

/* Runs the agent until it is told to end. The exit status: 0 told to end; 1 a role died or the
 * machine failed, which was logged; 2 it could not begin. */
int
parent_run(const struct parent_options *o);

/* Whom to become. */
struct parent_self {
	uid_t uid;
	gid_t gid;
	bool no_owner;             /* of a role apply that it starts */
};

/* The spawner: takes jobs from channel chan until it closes. The exit status. */
int
parent_spawner(int chan, const struct parent_self *self);

/* The starter: starts roles and binds ports for the parent, until channel chan closes; the roles end
 * with it. The exit status. */
int
parent_starter(int chan, const struct parent_self *self);

/* The same, of the mail roles alone, as a unit of its own: waits for the parent's socket in the folder run,
 * connects, and serves it until it ends. Sockets that the service manager gave are handed over in place of
 * new ones. The exit status. */
int
parent_apart(const char *run);

/* The folder below which units stand, that of version 2 of control groups also where version 1 is beside it; an
 * O_PATH descriptor, or -1. */
int
cgroup_open(void);

/* A child that answers one question of the name service. The exit status. */
int
parent_names(int chan);

#endif
