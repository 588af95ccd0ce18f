/*
 * doctor: what `mailreevectl doctor` finds: a finding a check. Who looks, tells: the role relay what it sees
 * of its relays, the role queue its spool, a compile child the rules that are loaded, the parent what
 * it opened, mailreevectl what a program of this host sees.
 */
#ifndef IPC_DOCTOR_H
#define IPC_DOCTOR_H

#include "ipc/ipc.h"

/* In the order in which they are told. COL-36's six are PORT, TLS, SENDERS, ADDRESS, SIZE and CIPHERS. */
enum doctor_check {
	DOCTOR_AGENT,              /* the mail roles run, by the policy in force */
	DOCTOR_LISTENER,           /* programs of this host are answered */
	DOCTOR_SPOOL,              /* a message can be kept */
	DOCTOR_CREDENTIAL,         /* its file can be read, by us alone */
	DOCTOR_FIREWALL,           /* no rule that is loaded stands in the way (CAM-24) */
	DOCTOR_CLOCK,
	DOCTOR_NAME,               /* the relay's name and addresses, and its ranges (CAM-11) */
	DOCTOR_PORT,               /* an endpoint answers */
	DOCTOR_TLS,                /* version, certificate, its names and days (COL-28) */
	DOCTOR_AUTH,               /* who we are is accepted */
	DOCTOR_SENDERS,            /* senders that are registered are taken (COL-29) */
	DOCTOR_ADDRESS,            /* ours, as the relay sees it (COL-37, COR-16) */
	DOCTOR_SIZE,               /* what the relay takes, and what the policy says of it (COL-30, CAM-19) */
	DOCTOR_CIPHERS,            /* the policy's list and the relay have one in common (COL-38) */
	DOCTOR_DNS,                /* our address is registered: reverse and forward (CAM-15) */
	DOCTOR_NCHECK
};

enum doctor_verdict {
	DOCTOR_PASS, DOCTOR_WARN, DOCTOR_FAIL,
	DOCTOR_NOT,                /* not asked, and why */
	DOCTOR_NVERDICT,
	DOCTOR_YOURS = DOCTOR_NVERDICT, /* mailreevectl is to look itself: `text` is an address of the loopback, and
	                              `number` its port; or a unix socket's path, and 0 */
};

enum { DOCTOR_MOST_FINDINGS = 4096, DOCTOR_MOST_TEXT = 1024 };

struct doctor_finding {
	uint32_t check, verdict;
	const char *about;         /* the relay's name; "" of this host */
	const char *text;          /* what was found: a sentence without a full stop */
	const char *todo;          /* what to do about it; "" */
	uint32_t number;           /* YOURS: a port; else 0 */
};

struct doctor_findings {
	struct doctor_finding *finding;
	uint32_t nfinding;
};

/* Of each check: "port"; how it is written to people and in JSON. */
extern const char *const doctor_check_name[DOCTOR_NCHECK];
extern const char *const doctor_verdict_name[DOCTOR_NVERDICT];

extern const struct ipc_shape doctor_finding_shape, doctor_findings_shape;

/* ---- a list that grows ------------------------------------------------------------------------ */

/* Findings with texts of their own. Zeros: none. */
struct doctor_list {
	struct doctor_findings of;
	uint32_t cap;
	int err;                   /* 0, -ENOMEM or -E2BIG: then some are missing */
};

void
doctor_add(struct doctor_list *l, enum doctor_check check, enum doctor_verdict verdict, const char *about,
    const char *todo, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Adds that mailreevectl is to look itself at an address and port, or at a path (port 0). */
void
doctor_ask(struct doctor_list *l, enum doctor_check check, const char *where, uint32_t port);

/* As a sealed memory file. The descriptor, or -errno. */
int
doctor_file(const struct doctor_list *l);

/* Adds those of such a file. 0 or -errno. */
int
doctor_take(struct doctor_list *l, int fd);

void
doctor_free(struct doctor_list *l);

#endif
