/*
 * relay: the messages between the role queue, which owns the spool, and the role relay, which
 * speaks with the policy's relays.
 *
 *   queue SEND (content as a descriptor to read) -> relay RESULT
 *   queue CANCEL -> RESULT at once where nothing final was said yet (the content's end had not
 *   gone out), else when the relay has answered
 */
#ifndef IPC_RELAY_H
#define IPC_RELAY_H

#include "ipc/ipc.h"

enum { RELAY_MOST_RCPT = 100, RELAY_MOST_CONTENT = 14 << 10 };

enum relay_ask {
	RELAY_SEND = 1,            /* relay_send, fd 0: the content, from offset on; none where it comes along */
	RELAY_CANCEL,              /* relay_cancel */
	RELAY_RESOLVE,             /* relay_resolve: a question about a name -> RELAY_RESOLVED */
	RELAY_AGAIN,               /* relay_again: people say that what failed is mended. No answer */
	RELAY_NASK
};

enum relay_tell {
	RELAY_RESULT = 1,          /* relay_result */
	RELAY_RESOLVED,            /* relay_resolved */
	RELAY_STATE,               /* relay_state: how a relay does, when that changes */
	RELAY_READY,               /* - : connections may be asked for */
	RELAY_NTELL
};

struct relay_rcpt {
	const char *address;
	const char *notify, *orcpt;
	uint32_t auth;             /* 1: AUTH is to be used for it */
};

struct relay_send {
	uint64_t claim;            /* queue's number; comes back with the result */
	uint64_t id;               /* of the message, for logs */
	const char *relay;         /* its name in the policy */
	const char *application;   /* whose credential it may be; "" */
	const char *from;
	const char *envid, *ret;
	uint64_t offset, size;
	uint32_t eight, utf8;
	struct relay_rcpt *rcpt;   /* at most RELAY_MOST_RCPT: more go as another claim */
	uint32_t nrcpt;
	const uint8_t *content;    /* of one without a file: all `size` bytes */
	uint32_t ncontent;         /* 0: it is in fd 0 */
};

struct relay_cancel {
	uint64_t claim;
};

/* Of one recipient. HELD: people must look: our credential was refused, or an endpoint of the relay was not trusted
 * (its certificate, a TLS that cannot be had) and none of the others serves. */
enum relay_fate { RELAY_DEFERRED, RELAY_DELIVERED, RELAY_FAILED, RELAY_HELD };

struct relay_fate_of {
	uint32_t fate;
	uint32_t code;             /* of the reply; 0: it said nothing */
	const char *text;          /* the reply's lines, or the failure in words */
};

struct relay_result {
	uint64_t claim;
	uint32_t connected;        /* 1: a session stood, the fates are the relay's word on this message; 0: it
	                              could not be reached, would not talk, or was not trusted */
	uint32_t canceled;         /* 1: nothing of it was sent to its end */
	uint32_t busy;             /* 1: not tried at all, for too much waits here already */
	uint32_t doubt;            /* 1: it was lost after the end of the content: it may have arrived */
	uint32_t dsn;              /* 1: the relay takes over reports (RFC 3461) */
	const char *peer;          /* address and port */
	const char *tls, *cipher;  /* "" without TLS */
	struct relay_fate_of *rcpt; /* as many, in the order of the send */
	uint32_t nrcpt;
};

/* Nothing that failed before keeps the relay from being tried at once: no endpoint is left alone, no credential
 * waits out its refusal, no answer about a name is remembered. */
struct relay_again {
	const char *relay;         /* "": all */
};

/* Whether mail for a domain could go anywhere (sender-domain, mx-required): asked of DNS. */
struct relay_resolve {
	uint64_t token;
	const char *domain;
};

enum relay_name { RELAY_NAME_MX, RELAY_NAME_ADDRESS, RELAY_NAME_NONE, RELAY_NAME_NOT_NOW };

struct relay_resolved {
	uint64_t token;
	uint32_t answer;           /* enum relay_name; MX says nothing of an address record */
};

struct relay_state {
	const char *relay;
	uint32_t well;             /* 1: its last connection went well */
	uint32_t alarm;            /* 1: people must look: credential, certificate, range */
	const char *text;          /* what is wrong, in words; "" */
	uint32_t connections;
};

extern const struct ipc_shape relay_ask_shape[RELAY_NASK], relay_tell_shape[RELAY_NTELL];

#endif
