/*
 * spawn: the messages between the parent and its spawner, a process without capabilities that
 * starts a child for each job and ends it when its time is up; and those between the parent and
 * such a child that asks the name service.
 *
 * The parent, once jailed, executes nothing: whoever brings it under control gets no further.
 */
#ifndef IPC_SPAWN_H
#define IPC_SPAWN_H

#include "ipc/apply.h"
#include "ipc/ipc.h"

/* What the parent asks; fd 0 is the child's channel. One at a time -> SPAWN_ENDED, with its id. */
enum spawn_ask {
	SPAWN_COMPILE = 1,         /* spawn_job */
	SPAWN_NAMES,               /* spawn_job */
	SPAWN_NASK
};

enum spawn_tell { SPAWN_ENDED = 1 };

struct spawn_job {
	uint32_t ms;               /* it may take so long */
};

struct spawn_ended {
	uint32_t err;              /* errno where it could not be started */
	uint32_t status;           /* exit status */
	uint32_t signal;           /* that ended it; 0: none */
	uint32_t late;             /* 1: its time was up */
};

extern const struct ipc_shape spawn_job_shape, spawn_ended_shape;

/* A child of SPAWN_NAMES: users in, the same with their numbers out. */
enum { NAMES_ASK = 1, NAMES_TOLD };

extern const struct ipc_shape spawn_names_shape; /* struct apply_host */

#endif
