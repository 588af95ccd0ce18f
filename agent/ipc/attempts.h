/*
 * attempts: the messages from the role attempts to the parent: packets that `log: true`
 * statements refused, told as what they are.
 */
#ifndef IPC_ATTEMPTS_H
#define IPC_ATTEMPTS_H

#include "ipc/ipc.h"

enum attempts_tell { ATTEMPTS_ONE = 1, ATTEMPTS_LOST, ATTEMPTS_NTELL };

/* What of an attempt the kernel vouches for; what bears no bit is what was likely: the socket had
 * gone (a TCP reset ends it before anybody can look), and it was told by which processes that
 * user had at the time. */
enum attempts_sure {
	ATTEMPTS_SURE_UNIT = 1,    /* the socket's control group, or the task's that connected */
	ATTEMPTS_SURE_PID = 2,     /* the process held the socket, or was seen connecting it */
};

/* Packets alike (same program, address, port, statement) within a second are one attempt. */
struct attempts_one {
	uint64_t when;             /* microseconds since 1970, of the first */
	uint64_t count;            /* packets */
	const char *statement;     /* the log prefix that the plan gave */
	uint32_t hook;             /* enum packet_hook's number by nflog: 1 in, 2 forward, 3 out */
	uint32_t family, proto;    /* 4 or 6; 6 TCP */
	const char *source, *destination; /* addresses as text */
	uint32_t sport, dport;
	const char *in, *out;      /* interfaces; "" */
	uint32_t uid;              /* UINT32_MAX: none (forwarded, received) or not known */
	const char *user;          /* its name; "" */
	const char *unit;          /* the control group's path below the root; "" */
	uint32_t pid;              /* 0: not known any more */
	const char *program;       /* its comm */
	const char *exe;           /* its executable; "" where not to be read */
	uint32_t sure;             /* enum attempts_sure */
	const char *among;         /* pid not known: "php-fpm x5, sh", that user's processes; "" */
};

/* Not told one by one: over the rate, or lost by the kernel's buffer. */
struct attempts_lost {
	uint64_t over_rate, lost;  /* packets since the last such message */
};

extern const struct ipc_shape attempts_shape[ATTEMPTS_NTELL];

#endif
