/*
 * mail: the messages between the parent and the mail roles front, queue and relay: one header for
 * the three, for what they are told is much the same.
 *
 * The parent's first message to a role is MAIL_POLICY; before it the role does nothing for
 * others. A reload is another MAIL_POLICY: the role goes over to it whole, or stays with what it
 * has and says so. Every MAIL_POLICY, MAIL_CREDENTIAL and MAIL_NAMES is answered by MAIL_TAKEN
 * with its id.
 */
#ifndef IPC_MAIL_H
#define IPC_MAIL_H

#include "ipc/apply.h"
#include "ipc/ipc.h"

enum mail_ask {
	MAIL_POLICY = 1,           /* mail_policy, fd 0: a bundle (world/bundle.h), sealed */
	MAIL_CREDENTIAL,           /* mail_credential, fd 0 where `gone` is 0: to relay alone */
	MAIL_STOP,                 /* - : take nothing new, end what is under way, then end. The parent waits
	                              some seconds for the process, then kills it */
	MAIL_NAMES,                /* apply_host: what this host's users and control groups are: to front alone. It
	                              adds to those told before; one told again has its new number */
	MAIL_COUNT,                /* - : how do you do, in numbers -> MAIL_COUNTED with its id */
	MAIL_NASK
};

enum mail_tell {
	MAIL_TAKEN = 1,            /* mail_taken */
	MAIL_WANT,                 /* apply_host, values UINT64_MAX: names that front has to know before it goes over
	                              to the policy just told; the parent answers MAIL_NAMES with all of them, those
	                              that nobody has as UINT64_MAX. Without an answer it goes over in 5 s */
	MAIL_COUNTED,              /* mail_counted */
	MAIL_NTELL
};

struct mail_policy {
	const char *host;          /* this host's full name, for EHLO, Received and reports; "" not known */
};

struct mail_credential {
	const char *name;          /* as the policy calls it */
	/* fd 0: a memory file (ipc_file) of what its 0600 file holds: lines as sasl/sasl.h reads them, or, for
	   `auth: certificate`, PEM with our chain and its key. The role reads it at once, closes it, and
	   overwrites what it keeps when another comes */
	uint32_t gone;             /* 1: there is none (any more) */
	const char *text;          /* gone: why, in words: "/etc/mailreeve/x may be read by others"; "" */
};

struct mail_taken {
	uint32_t err;              /* errno; 0: it holds from now on */
	const char *text;          /* what was wrong, in words, never a secret; "" */
};

/* Numbers of a role, for status and metrics. */
enum { MAIL_MOST_COUNTS = 200 };

struct mail_count {
	const char *name;          /* as Prometheus writes them: "front_messages_total", labels and all */
	uint64_t value;
};

struct mail_counted {
	struct mail_count *count;
	uint32_t ncount;
	const char *text;          /* what is wrong at the moment, in words; "" */
};

extern const struct ipc_shape mail_ask_shape[MAIL_NASK];   /* size 0: no body */
extern const struct ipc_shape mail_tell_shape[MAIL_NTELL];

#endif
