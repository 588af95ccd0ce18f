/*
 * front: the messages between the role front, which speaks with programs, and the role queue,
 * which owns the spool. `token` is front's number of a message, unique while its connection lives;
 * a message's way:
 *
 *   front ARRIVE -> queue ARRIVED (a descriptor to write to)
 *   front writes the content, then SEAL (it is whole) -> queue SETTLED (the reply to the program)
 *   or DROP before SEAL
 *   or DROP after SEAL: the program was told that it has not been taken, for the queue was silent for
 *   FRONT_SETTLE_MS. The queue takes it back: what is becoming durable, or is it and waits, is removed before
 *   it is sent, and what the relay role has is cancelled. SETTLED comes all the same, or has come; front
 *   ignores it.
 *
 * What can still be sent twice, a program being told 4xx, or nothing, of a message that goes (RFC 1047): an
 * attempt was under way when DROP came, and the relay took the message; the removal was lost with the power;
 * front, the queue or the program died between the last sync and the 250. RFC 5321 4.1.1.4 and 6.1 want it so:
 * in doubt a message goes twice rather than never. A program that goes before it has its answer has sent all
 * the same: its message stays.
 *
 * Where the relay's own word is wanted (`through`) a small message needs no file: ARRIVE says `later`, ARRIVED gives
 * the number alone, and the last SEAL brings the content. One that grows past FRONT_MOST_CONTENT asks again.
 */
#ifndef IPC_FRONT_H
#define IPC_FRONT_H

#include "ipc/ipc.h"

enum { FRONT_MOST_RCPT = 200, FRONT_MOST_KEEP = 48 << 10, FRONT_MOST_CONTENT = 14 << 10 };

enum front_ask {
	FRONT_ARRIVE = 1,          /* front_arrive */
	FRONT_SEAL,                /* front_seal */
	FRONT_DROP,                /* front_drop */
	FRONT_KEEP,                /* front_keep: a small state to be kept; no answer */
	FRONT_READY,               /* - : front listens; the queue answers FRONT_KEPT */
	FRONT_RESOLVE,             /* front_resolve: may mail for a name go anywhere; the queue asks the role
	                              relay (RELAY_RESOLVE) and answers FRONT_RESOLVED */
	FRONT_NASK
};

enum front_tell {
	FRONT_ARRIVED = 1,         /* front_arrived, fd 0 where err is 0 */
	FRONT_SETTLED,             /* front_settled */
	FRONT_KEPT,                /* front_keep: what was kept last; n 0: nothing */
	FRONT_RESOLVED,            /* front_resolved */
	FRONT_NTELL
};

struct front_arrive {
	uint64_t token, size;      /* size: as MAIL SIZE= said; 0: it did not */
	uint32_t later;            /* 1: its number is wanted, its file when it is asked for again */
};

struct front_arrived {
	uint64_t token, id, offset; /* content begins at offset of the file */
	uint32_t err;              /* errno; ENOSPC and the like: 452, EMSGSIZE: 552, else 451 */
	uint32_t later;            /* 1: there is no file yet, as was asked for */
};

struct front_rcpt {
	const char *address, *relay; /* relay: its name in the policy */
	const char *notify, *orcpt; /* RFC 3461, as given; "" */
};

struct front_seal {
	uint64_t token, size;      /* bytes of content behind the offset, as they will be sent */
	uint32_t through;          /* 1: the relay's own reply is wanted, where it comes in time */
	const char *application, *unit; /* "" unregistered; "" not known */
	uint32_t uid;              /* UINT32_MAX: not known */
	const char *from;          /* "" the null path */
	const char *envid, *ret;   /* "" not given */
	uint32_t eight, utf8;      /* 1: 8-bit content; SMTPUTF8 */
	const char *note;          /* for the trace: how it came in */
	struct front_rcpt *rcpt;   /* a message of more recipients comes in several seals: `more` */
	uint32_t nrcpt;
	uint32_t more;             /* 1: another seal with more recipients follows, then it counts */
	uint64_t not_before;       /* a limit puts it off: not to be sent before this second since 1970; 0 */
	const uint8_t *content;    /* of one that has no file, in its last seal: all `size` bytes */
	uint32_t ncontent;         /* 0: it is in the file */
};

struct front_drop {
	uint64_t token;
};

struct front_settled {
	uint64_t token, id;
	uint32_t code;             /* 250: ours or delivered; else the relay's refusal, or 451, 452 */
	const char *enhanced, *text;
	uint32_t delivered;        /* 1: the relay has it already */
};

struct front_keep {
	const char *name;          /* "windows" */
	const uint8_t *bytes;
	uint32_t n;
	uint32_t more;             /* 1: it goes on in the next message of that name */
};

/* `token` is front's number of the question, unlike those of messages. No answer within
 * FRONT_RESOLVE_MS is a deferral. */
enum { FRONT_RESOLVE_MS = 5000 };

struct front_resolve {
	uint64_t token;
	const char *domain;        /* as written in the address: no address literal */
};

enum front_name { FRONT_NAME_MX, FRONT_NAME_ADDRESS, FRONT_NAME_NONE, FRONT_NAME_NOT_NOW };

struct front_resolved {
	uint64_t token;
	uint32_t answer;           /* enum front_name, whose values are those of enum relay_name */
};

extern const struct ipc_shape front_ask_shape[FRONT_NASK], front_tell_shape[FRONT_NTELL];

#endif
