/*
 * compile: the messages between the parent and a compile child, which lives for one job: it
 * reads a policy (YAML, from outside), compiles it, and tells what it means beside a recorded
 * ruleset. It has no capability, no socket but this channel, and may read nothing but the
 * policy's folder and the time zones.
 */
#ifndef IPC_COMPILE_H
#define IPC_COMPILE_H

#include "ipc/apply.h"
#include "ipc/ipc.h"

enum { COMPILE_JOB = 1, COMPILE_RESULT };

/* Bits of compile_job.want. */
enum {
	COMPILE_WANT_PLAN = 1,     /* plan, bundle, names */
	COMPILE_WANT_COMPARE = 2,  /* the recording against the policy: boxes with witnesses */
	COMPILE_WANT_MAIL = 8,     /* what the parent must do for the mail roles: alone, nothing else is compiled */
	COMPILE_PASS_BLOCKS = 4,   /* COMPARE: addresses blocked by hand (nl/block.h) are no difference */
	COMPILE_OWN_RULES = 16,    /* COMPARE: the rules that are this policy's work and no others, over all
	                              packets: also those of which no statement speaks must fare alike. With
	                              `as: chains`, where they stand among others': as without it */
	COMPILE_WANT_WAYS = 64,    /* doctor: findings about the rules on the ways of mail (compile_ways); alone, with a record */
	COMPILE_CHANGES = 32,      /* COMPARE: told as changes from the rules to the policy */
};

/* Descriptors of a job, in this order, those that `fds` names. */
enum {
	COMPILE_FD_BUNDLE = 1,     /* the policy as a bundle; else the file `path` is read */
	COMPILE_FD_RECORD = 2,     /* a recording of a ruleset */
};

struct compile_job {
	uint32_t want, fds;
	const char *path;          /* of the policy's main file, absolute */
	const char *point;         /* "": the one host point that the policy has */
	/* the connection that the request came over, as SSH_CONNECTION tells it; "" none: the plan
	   is asked whether it would cut it */
	const char *connection;
	uint32_t most;             /* boxes to tell at most */
	struct apply_name *name;   /* how this host numbers users and units, for COMPARE */
	uint32_t nname;
};

/* Descriptors of a result, in this order, those that `fds` names. */
enum {
	COMPILE_FD_PLAN = 1,       /* a plan file */
	COMPILE_FD_BUNDLE_OUT = 2, /* all files that were read */
	COMPILE_FD_TEXT = 4,       /* diagnostics, or the comparison, for people; UTF-8 */
	COMPILE_FD_FINDINGS = 8,   /* WAYS: ipc/doctor.h */
};

enum { COMPILE_MOST_MAIL = 1000 };

struct compile_text {
	const char *text;
};

struct compile_result {
	uint32_t fds;
	uint32_t errors, warnings; /* diagnostics; with errors there is no plan */
	uint32_t err;              /* errno of the machine, with `text` */
	uint32_t differences;      /* COMPARE: boxes */
	uint32_t unknown;          /* those of them that cannot be known */
	uint32_t more;             /* 1: there are more than were told */
	uint32_t observe;          /* 1: mode observe */
	const uint8_t *digest;     /* of the plan */
	uint32_t ndigest;
	const char *policy, *point; /* names */
	const char *cut;           /* how the plan would cut the connection; "": it would not */
	const char *summary;       /* a line: the first error, or "3 differences" */
	struct apply_name *name;   /* names that the plan needs; values are UINT64_MAX */
	uint32_t nname;
	/* MAIL */
	uint32_t submission;       /* 1: the policy has it */
	struct compile_text *listen, *credential, *ca; /* addresses, names, paths; each once */
	uint32_t nlisten, ncredential, nca;
};

extern const struct ipc_shape compile_job_shape, compile_result_shape;

#endif
