/*
 * starter: the messages between the parent and its starter, which alone may start roles once the
 * agent runs, and bind the ports of the policy's submission. It keeps what they need for it, and
 * nothing else: the parent, once jailed, could not give it to them.
 *
 * Every question has one answer with its id; START_ENDED comes with id 0.
 */
#ifndef IPC_STARTER_H
#define IPC_STARTER_H

#include "ipc/ipc.h"

enum { START_MOST_FDS = 24, START_MOST_ARGS = 32 };

/* The roles that it may start; their channels and descriptors, in this order, are theirs from 3 on. */
enum start_which {
	START_ATTEMPTS,            /* parent */
	START_QUEUE,               /* parent, front, relay, the spool's folder */
	START_RELAY,               /* parent, queue; arguments: files of roots */
	START_FRONT,               /* parent, queue, listeners */
	START_APPLY,               /* parent */
	START_NWHICH
};

enum start_ask {
	START_GIVE = 1,            /* - : descriptors that the next role gets behind those given before -> START_DONE */
	START_ROLE,                /* start_role -> START_DONE */
	START_BIND,                /* start_bind -> START_DONE, with the listening socket as fd 0 */
	START_KILL,                /* start_kill -> START_DONE */
	START_NASK
};

enum start_tell {
	START_DONE = 1,            /* start_done */
	START_ENDED,               /* start_ended, id 0 */
	START_NTELL
};

struct start_arg {
	const char *text;
};

struct start_role {
	uint32_t which;            /* enum start_which */
	struct start_arg *arg;
	uint32_t narg;
};

struct start_bind {
	const char *address;       /* of the loopback, as text */
	uint32_t port;
};

struct start_kill {
	uint32_t pid;              /* one that was started and has not been told to have ended */
};

struct start_done {
	uint32_t err;              /* errno */
	uint32_t pid;              /* ROLE */
	const char *why;           /* of err, where it alone does not tell; else "" */
};

struct start_ended {
	uint32_t pid;
	uint32_t status;           /* exit status */
	uint32_t signal;           /* that ended it; 0: none */
};

extern const struct ipc_shape start_ask_shape[START_NASK];   /* size 0: no body */
extern const struct ipc_shape start_tell_shape[START_NTELL];

#endif
