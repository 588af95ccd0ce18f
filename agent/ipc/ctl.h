/*
 * ctl: the messages between mailreevectl and the parent, over the control socket. A client
 * sends one request; texts come until CTL_END.
 */
#ifndef IPC_CTL_H
#define IPC_CTL_H

#include "ipc/ipc.h"

enum ctl_op {
	CTL_STATUS = 1, CTL_PLAN, CTL_APPLY, CTL_CONFIRM, CTL_ROLLBACK, CTL_BLOCK, CTL_UNBLOCK,
	CTL_DRIFT, CTL_ATTEMPTS, CTL_HISTORY, CTL_METRICS, CTL_PAUSE, CTL_REMOVE, CTL_CHECK,
	CTL_QUEUE,               /* its body is a mail_queue (ipc/mail.h), in place of ctl_ask */
	CTL_DOCTOR,
	CTL_NOP
};

enum ctl_tell {
	CTL_OUT = 1, CTL_ERR, CTL_END,
	CTL_FOUND,                 /* ctl_text: a doctor_finding (ipc/doctor.h), packed */
	CTL_FILE,                  /* - , fd 0: a sealed memory file that is to be printed, of at most MAIL_MOST_TEXT */
};

enum {
	CTL_FORCE = 1,
	CTL_JSON = 2,            /* STATUS */
	CTL_NOW = 4,             /* DRIFT: compare now */
};

enum { CTL_MOST_TEXT = 32 << 10 }; /* bytes of one piece of text */

/* The body of every request but QUEUE; its type is the op. */
struct ctl_ask {
	uint32_t flags;
	uint32_t number;           /* APPLY: of a saved plan, 0 none; ROLLBACK: how many back, 0 for 1;
	                              ATTEMPTS, DRIFT, HISTORY: how many at most, 0: 20 */
	uint64_t seconds;          /* APPLY: to be confirmed within; BLOCK, PAUSE: for so long */
	const char *address;       /* BLOCK, UNBLOCK; DOCTOR: a relay's name, "" all */
	const char *connection;    /* SSH_CONNECTION of the client's session; "" */
};

struct ctl_text {
	const uint8_t *bytes;
	uint32_t n;
};

struct ctl_end {
	uint32_t status;           /* the exit status: 0 done, 1 no (a difference, a refusal), 2 wrong
	                              use, 3 the machine failed */
};

extern const struct ipc_shape ctl_ask_shape, ctl_text_shape, ctl_end_shape;

#endif
