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
	MAIL_QUEUE,                /* mail_queue: what people ask of the queue: to queue alone -> MAIL_ANSWER */
	MAIL_STATUS,               /* - : to queue alone -> MAIL_STATUS_IS */
	MAIL_PROBE,                /* mail_probe: to queue and relay: is all well? -> MAIL_PROBED */
	MAIL_NASK
};

enum mail_tell {
	MAIL_TAKEN = 1,            /* mail_taken */
	MAIL_WANT,                 /* apply_host, values UINT64_MAX: names that front has to know before it goes over
	                              to the policy just told; the parent answers MAIL_NAMES with all of them, those
	                              that nobody has as UINT64_MAX. Without an answer it goes over in 5 s */
	MAIL_COUNTED,              /* mail_counted */
	MAIL_ANSWER,               /* mail_answer, with fd 0 where `file` is 1 */
	MAIL_STATUS_IS,            /* mail_status */
	MAIL_PROBED,               /* mail_probed, with fd 0 where err is 0: a file of findings (ipc/doctor.h) */
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

/* ---- doctor -------------------------------------------------------------------- */

/* The relay role connects to each endpoint of the relays, speaks as far as MAIL with a registered sender, and
 * leaves: no message is sent. What it does for mail meanwhile does not know of it: neither limits nor
 * pauses. The queue ignores both. */
struct mail_probe {
	const char *relay;         /* "": all */
	uint64_t ms;               /* the answer is told within so long */
};

struct mail_probed {
	uint32_t err;              /* errno. ENOENT: the policy has no such relay, EBUSY: another probe is under way */
	const char *text;          /* in words; "" */
};

/* ---- the queue, for people -------------------------------------------------- */

enum mail_queue_op {
	MAIL_QUEUE_LIST = 1,       /* a line a message; of `relay` alone; at most `most` (0: all) */
	MAIL_QUEUE_SHOW,           /* one message: envelope, recipients, the header of its content */
	MAIL_QUEUE_RETRY,          /* these `id`s are due now; */
	MAIL_QUEUE_HOLD,           /* kept, until */
	MAIL_QUEUE_RELEASE,        /* released; */
	MAIL_QUEUE_DROP,           /* given up, without a report, `why` in the trace */
	MAIL_QUEUE_FLUSH,          /* all mail (of `relay`) is due now */
	MAIL_QUEUE_TRACE,          /* one message's life, line by line, also of one that has gone */
	MAIL_QUEUE_NOP
};

enum { MAIL_MOST_IDS = 1000, MAIL_MOST_TEXT = 32 << 20 };

struct mail_id {
	const char *text;          /* 16 hex digits (spool_id_text) */
};

struct mail_queue {
	uint32_t op;               /* enum mail_queue_op */
	struct mail_id *id;
	uint32_t nid;
	const char *relay, *why;   /* "" */
	uint32_t json;             /* LIST, SHOW: JSON, an object a message */
	uint32_t most;
};

struct mail_answer {
	uint32_t err;              /* errno; 0: all of it is done. ENOENT: `text` names who is not there */
	const char *text;          /* in words, for people; "" */
	uint32_t done;             /* messages that it was done to, that are told */
	uint32_t file;             /* 1: fd 0 is a sealed memory file of what is told */
};

enum { MAIL_MOST_RELAYS = 256, MAIL_MOST_TROUBLE = 400 };

struct mail_relay_status {
	const char *relay;
	uint32_t pending, sending, held; /* messages */
	uint64_t oldest;           /* ms since 1970; UINT64_MAX none */
	uint32_t well, alarm;      /* as in relay_state */
	uint32_t down;             /* 1: left alone for a while, for it failed */
	uint32_t connections;
	const char *text;          /* what is wrong; "". MAIL_MOST_TROUBLE bytes, less where many are in trouble */
};

struct mail_status {
	uint32_t messages;         /* in the queue */
	uint64_t bytes, oldest;    /* oldest: ms since 1970; UINT64_MAX none */
	uint32_t arriving, sending, held;
	uint32_t damaged, unreadable, sick; /* spool_found() */
	/* counters, since the role began */
	uint64_t accepted;         /* 250 said to programs, of it: */
	uint64_t through;          /* by the relay itself */
	uint64_t refused, failed;  /* by a relay; for want of space and the like */
	uint64_t delivered, deferred, bounced; /* recipients of queued mail; bounced: 5xx or too old */
	uint64_t reports, reports_left_out; /* made; left out, for the sender had had too many */
	uint64_t commits, committed; /* group commits; messages in them */
	uint64_t doubts;           /* lost after their end was sent: a duplicate is possible */
	struct mail_relay_status *relay; /* with mail, or with something wrong */
	uint32_t nrelay;
};

extern const struct ipc_shape mail_ask_shape[MAIL_NASK];   /* size 0: no body */
extern const struct ipc_shape mail_tell_shape[MAIL_NTELL];

#endif
