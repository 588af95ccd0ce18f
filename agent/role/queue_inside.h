/*
 * queue: the role queue, in parts. Private to the files queue*.c.
 *
 *   queue.c          the jail, the loop, the three channels, the policy
 *   queue_arrive.c   a message from a program: arrival, seal, through, the answer
 *   queue_send.c     what is with the role relay: sends, their results; how each relay does
 *   queue_deliver.c  the spool's claims, its events, new routes after a reload
 *   queue_report.c   reports to senders
 *   queue_commit.c   group commit, its syncs in a thread
 *   queue_people.c   what people ask, and the counters
 *   queue_life.c     the life of a message in their words
 *   queue_outcome.c  the pure part: what a program is told
 *
 * A message of a program is a `mail` until its answer is told. A send is what the relay role has of it, or
 * of a claim of the spool: one relay, at most RELAY_MOST_RCPT recipients. All that waits for room in a
 * channel is such an object in a list, so nothing grows that is not counted.
 */
#ifndef ROLE_QUEUE_INSIDE_H
#define ROLE_QUEUE_INSIDE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "ipc/front.h"
#include "ipc/ipc.h"
#include "ipc/mail.h"
#include "ipc/relay.h"
#include "policy/policy.h"
#include "role/queue_outcome.h"
#include "role/role.h"
#include "spool/spool.h"

struct arena;

/* What a recipient's last reply begins with that an alarm holds, the relay's code and words behind it; people's
 * own holds say nothing. */
#define QUEUE_ALARM "alarm: "

enum {
	QUEUE_MAILS = 256,         /* of programs at once; each holds a descriptor */
	QUEUE_SENDS = 480,         /* with the relay role, less than it takes (busy) */
	QUEUE_CLAIMS = 224,        /* of them for the spool's claims: the rest is for programs that wait */
	QUEUE_EACH = 128,          /* claims of one relay, where the policy says nothing: the relay role keeps its
	                              connections busy from them, two each, and makes more while so many wait */
	QUEUE_FEW = 64,            /* claims that a relay gets also where others have many */
	QUEUE_AHEAD = 2,           /* claims for each connection, where it does */
	QUEUE_PARTS = 64,          /* sends of one message or claim */
	QUEUE_SEND_BYTES = 40 << 10, /* of addresses in one send: a channel's message is limited */
	QUEUE_THROUGH_MS = 15000,  /* a program waits so long for the relay's own word */
	QUEUE_STOP_MS = 5000,      /* for what is under way, when the role is to end; */
	QUEUE_LAST_MS = 1000,      /* so long at least for front's last words */
	QUEUE_LEISURE_MS = 1000,   /* records may wait so long for a sync */
	QUEUE_BUSY_MS = 200,       /* a relay role that has too much is left alone */
	QUEUE_DOWN_MS = 1000,      /* a relay that failed gets no `through` so long, then twice ... */
	QUEUE_DOWN_MOST_MS = 60000,
	QUEUE_ALARM_MS = 15000,    /* one message of those that an alarm holds knocks again, then twice ... */
	QUEUE_ALARM_MOST_MS = 600000,
	QUEUE_REOPEN_MS = 10000,   /* a sick spool is opened anew after that */
	QUEUE_SET_BACK_MS = 1000,  /* a clock that goes back by more was set, not slewed */
	QUEUE_LAST_CHANCE_MS = 3600000, /* spool_config's: a relay role may be that late, or have that much to do */
	QUEUE_TURN = 64,           /* messages of a channel before the others have their turn */
	QUEUE_SCAN = 16,           /* messages looked through for other routes in a turn */
	QUEUE_SHOWN = 16 << 10,    /* bytes of a content's header that people see */
	QUEUE_ORIGINAL = 256 << 10, /* bytes of an original that a report returns whole */
	QUEUE_HEADER = 64 << 10,   /* bytes of its header, where it does not */
	QUEUE_SLOTS = 256,
	QUEUE_KEEPS = 4,           /* states that front keeps, by name */
};

/* How a relay does, as far as it has come to us. */
struct queue_relay {
	char *name;
	unsigned claims;           /* of the spool, with the relay role */
	bool well, alarm;
	bool serves;               /* the relay role's last word on it */
	uint64_t failed;           /* monotonic ms of the last failure that counted */
	unsigned fails;            /* in a row */
	uint64_t down;             /* monotonic ms: no `through` before */
	uint64_t pause;            /* monotonic ms: no claim before: the relay role is busy */
	unsigned connections;
	char text[MAIL_MOST_TROUBLE]; /* what is wrong */
	/* messages that an alarm holds, oldest first */
	uint64_t *held;
	size_t nheld, capheld;
	uint64_t knock;            /* monotonic ms: when one of them tries */
	unsigned knocks;
};

/* A part of a message with the role relay. */
struct queue_send {
	struct queue_send *next;   /* of its owner */
	struct queue_send *slot;   /* of its claim's number */
	struct queue_send *wait;   /* for room in the channel */
	uint64_t claim, began;
	struct queue_mail *mail;   /* the owner: one of both */
	struct queue_claim *of;
	const char *relay;
	uint32_t *which;           /* n recipients of the owner */
	uint32_t n;
	bool sent, cancel, cancel_sent, over, waits;
	struct ipc_in in;          /* the result, and what it points to */
	const struct relay_result *r;
};

/* What comes back from a commit. */
struct queue_token {
	struct queue_mail *mail;   /* the message itself, or whose answer waits for this report; NULL */
	bool report;               /* to be freed */
	uint64_t about;            /* a report about this message of the spool, and of it */
	uint32_t *owed;            /* these recipients, who were owed one: nowed; 0: none of the spool's */
	size_t nowed;
};

enum queue_mail_at {
	MAIL_ARRIVES,              /* front writes it */
	MAIL_THROUGH,              /* the relays have it */
	MAIL_COMMITS,              /* it, or a report about it, becomes durable */
	MAIL_OVER,                 /* its answer is to be told */
};

/* A message whose 250 was told: should DROP have crossed it. */
struct queue_told {
	uint64_t token, id;
};

/* A seal as it came. */
struct queue_seal {
	struct queue_seal *next;
	struct ipc_in in;
};

struct queue_mail {
	struct queue_mail *slot;   /* of its token's number */
	struct queue_mail *next, **prev; /* of all */
	struct queue_mail *wait;   /* for room in front's channel */
	bool waits;
	uint64_t token, id;
	enum queue_mail_at at;
	struct spool_arrival *a;
	bool later;                /* ARRIVE asked for its number alone */
	int err;                   /* of the arrival */
	struct queue_seal *seal, **seal_end; /* what the texts below point to */
	size_t nseal;
	const struct front_seal *s; /* the last, which counts */
	bool brought;              /* the content is in it, and not (yet) in a file */
	struct spool_rcpt *rcpt;
	size_t nrcpt;
	/* through */
	struct queue_fate *fate;   /* of each recipient */
	struct queue_send *sends;
	unsigned nopen;
	uint64_t limit;            /* monotonic ms; 0: none */
	bool cancelled;
	/* commit */
	struct queue_token own;
	unsigned ncommit;          /* outcomes awaited */
	int commit_err;
	bool kept, told_report;
	bool durable;              /* what was kept is in the spool */
	bool owed;                 /* the report is on refused ones: without it the message is not taken */
	uint64_t report;           /* it is in the spool under this id; 0 */
	struct queue_answer answer;
	bool delivered;
	bool dropped;              /* front wants it no more: its program was told 451 */
};

/* A claim of the spool, with the relay role. */
struct queue_claim {
	struct queue_claim *next, **prev;
	struct spool_claim *c;
	struct queue_relay *relay;
	const struct spool_message *m;
	const uint32_t *which;
	size_t n;
	struct queue_send *sends;
	unsigned nopen;
	bool reroute;              /* look at its routes when it has ended */
};

/* A question of front about a name. */
struct queue_name {
	struct queue_name *next;
	uint64_t token;
	uint64_t since;            /* monotonic ms */
	bool back, answered;       /* the relay role has it; for front */
	uint32_t answer;
	char domain[256];
};

/* A state that front keeps, gathered from its pieces. */
struct queue_keep {
	char name[33];
	struct buf b;
	bool whole;                /* waits to be kept */
};

struct queue_policy {
	struct arena *a;
	const struct policy *p;    /* NULL: none yet */
	char host[256];
};

/* Whose channel. */
enum queue_from { QUEUE_FROM_FRONT, QUEUE_FROM_RELAY, QUEUE_FROM_PARENT, QUEUE_FROM };

/* What could not be taken for want of memory. */
struct queue_late {
	bool is;
	struct ipc_in in;          /* empty: it is still in the channel */
};

struct queue {
	const struct role_queue *opt;
	struct spool *s;
	struct spool_config config;
	uint64_t now;              /* ms since 1970 */
	uint64_t mono;             /* monotonic ms */
	struct queue_policy policy;
	struct arena *scratch;     /* of routes */
	bool again;                /* the relay role is to be told RELAY_AGAIN, */
	char again_of[256];        /* of this relay; "": of all */
	/* front */
	struct queue_mail *mails, *mail_slot[QUEUE_SLOTS];
	unsigned nmail;
	struct queue_mail *out, **out_end; /* to be told */
	struct queue_told told[QUEUE_MAILS]; /* the last ones, in a ring */
	unsigned ntold;
	struct queue_name *names;
	unsigned nname;
	struct queue_keep keep[QUEUE_KEEPS];
	void *kept;                /* what front is told, */
	size_t nkept, kept_at;     /* as far as this */
	bool tell_kept;
	/* relay */
	bool relay_ready;
	uint64_t next_claim;
	struct queue_send *send_slot[QUEUE_SLOTS];
	struct queue_send *to_send, **to_send_end;
	unsigned nsend;
	struct queue_claim *claims;
	unsigned nclaim;
	struct queue_relay relay[SPOOL_RELAYS_MOST];
	size_t nrelay;
	uint64_t scan;             /* id last looked at for other routes; UINT64_MAX: all were */
	struct queue_storm *storm;
	struct queue_late late[QUEUE_FROM];
	/* commit */
	struct {
		pthread_t thread;
		bool running, stop;
		pthread_mutex_t lock;
		pthread_cond_t wake;
		struct spool_job *todo;
		const struct queue_keep *keep; /* whose state is being kept, */
		struct buf b;      /* which is this */
		bool kept, synced; /* it has been; the job's syncs are over */
		int keep_err;
		int done;              /* eventfd: the job's syncs are over */
	} commit;
	struct spool_job *job;
	uint64_t leisure;          /* monotonic ms: since when records wait; 0: none do */
	struct spool_outcome outcome[SPOOL_GROUP_MOST];
	uint64_t sick;             /* monotonic ms since when; 0: it is not */
	bool stopping, leave;
	uint64_t stop_at;
	uint32_t stop_id;
	struct mail_status count;  /* its counters */
};

/* ---- queue.c ---------------------------------------------------------------------- */

/* n zeroed things of a mail, freed with it; NULL: no memory. Out of sight of gcc's analyser, which loses
 * sight of a list's owner. */
void *
queue_room(size_t n, size_t size);

/* The relay's row, made where it is missing; NULL: no memory, too many. */
struct queue_relay *
queue_relay_of(struct queue *q, const char *name);

/* The host that the policy has for a relay of that name; the name itself where it has no such relay any more. */
const char *
queue_host_of(const struct queue *q, const char *relay);

/* The application of that name; NULL: none. */
const struct policy_application *
queue_application(const struct queue *q, const char *name);

/* Where mail of an application for a recipient goes now; NULL: nowhere. 0, or -ENOMEM. */
int
queue_route(struct queue *q, const char *application, const char *recipient, const char **relay);

/* ---- queue_arrive.c ---------------------------------------------------------------- */

/* A message of front's channel; what it takes out of the message is the message's no more. 0; -ENOMEM: nothing was
 * done, it is to be said again. */
int
queue_front(struct queue *q, struct ipc_in *in);

/* Tells front what waits. 0; -EAGAIN; errno. */
int
queue_front_out(struct queue *q);

/* All sends of the mail have ended. */
void
queue_mail_sent(struct queue *q, struct queue_mail *m);

/* One of the commits that the mail waits for. */
void
queue_mail_committed(struct queue *q, struct queue_mail *m, int err);

/* Cancels what has waited too long; all: for the role ends. */
void
queue_mail_limits(struct queue *q, bool all);
uint64_t
queue_mail_deadline(const struct queue *q);

struct queue_mail *
queue_mail_free(struct queue *q, struct queue_mail *m);

/* ---- queue_send.c --------------------------------------------------------------------- */

/* A message's recipients, for sends. */
struct queue_parcel {
	const struct spool_rcpt *rcpt;
	const char *from, *application, *envid, *ret;
};

/* Makes sends for n recipients of one relay, in the owner's list, and puts them in line. 0, -ENOMEM,
 * -EAGAIN (too many are out). */
int
queue_send_new(struct queue *q, struct queue_mail *m, struct queue_claim *c, const char *relay,
    const struct queue_parcel *p, const uint32_t *which, size_t n);

/* Wants the send's end; its result comes all the same. */
void
queue_send_cancel(struct queue *q, struct queue_send *s);

/* Frees an owner's list of sends. */
void
queue_send_free(struct queue *q, struct queue_send **list);

/* A message of the relay role's channel; as queue_front(). */
int
queue_relay(struct queue *q, struct ipc_in *in);

/* Tells the relay role what waits. 0; -EAGAIN; errno. */
int
queue_relay_out(struct queue *q);

/* What has come of a connection to the relay; began: when, in monotonic ms. */
void
queue_relay_well(struct queue *q, struct queue_relay *r);
void
queue_relay_failed(struct queue *q, struct queue_relay *r, uint64_t began, const char *why);

/* An alarm holds this message. */
void
queue_relay_hold(struct queue *q, struct queue_relay *r, uint64_t id);

/* The alarm is over: what it holds is released. */
void
queue_relay_release(struct queue *q, struct queue_relay *r);

/* ---- queue_deliver.c -------------------------------------------------------------------- */

/* Claims what is due and has room; hands events on. */
void
queue_deliver(struct queue *q);

/* When queue_deliver() has work again, monotonic ms; UINT64_MAX. */
uint64_t
queue_deliver_deadline(const struct queue *q);

/* All sends of the claim have ended. */
void
queue_claim_sent(struct queue *q, struct queue_claim *c);

/* ---- queue_report.c ------------------------------------------------------------------------ */

struct smtp_report_rcpt;

/* What a report is about. */
struct queue_about {
	const struct spool_envelope *env; /* its id, arrival, from, envid, ret, application */
	int fd;                    /* the content */
	uint64_t offset, size;
	const struct smtp_report_rcpt *rcpt;
	size_t nrcpt;
	const uint32_t *owed;      /* recipients of a queued message who were owed one (spool_reported_of) */
	size_t nowed;
};

/* Seals a report to the sender, which becomes durable with a commit; its outcome goes to `mail` (NULL: to
 * nobody), and to spool_reported_of(). 0; 1: the sender has had too many, or there is no way to it: it is
 * left out, which is logged and counted; errno. */
int
queue_report(struct queue *q, const struct queue_about *a, struct queue_mail *mail);

/* Whether a report on this would be wanted: NOTIFY, and the sender. */
bool
queue_report_wanted(const struct spool_envelope *env, const struct spool_rcpt *r, bool delayed);

/* Events of the spool. */
void
queue_event(struct queue *q, const struct spool_event *e);

/* ---- queue_commit.c ---------------------------------------------------------------------------- */

/* Starts the thread. 0 or -errno: then syncs are made by the caller. */
int
queue_commit_start(struct queue *q);

/* Begins a commit where one is due. */
void
queue_commit(struct queue *q);

/* Has a state of front kept, where one waits. */
void
queue_keep(struct queue *q);

/* The thread has told: takes the job's outcomes. */
void
queue_commit_done(struct queue *q);

/* Ends the thread; a job under way is finished first, what waits is committed. */
void
queue_commit_stop(struct queue *q);

/* ---- queue_people.c ------------------------------------------------------------------------------ */

/* Answers MAIL_QUEUE, MAIL_STATUS and MAIL_PROBE. 0 or -errno, of which -ENOMEM says as queue_front()'s. */
int
queue_people(struct queue *q, struct ipc_in *in);

/* ---- queue_life.c --------------------------------------------------------------------------------- */

struct queue_life {
	struct buf *b;             /* where the words go */
	char **to;                 /* the recipients so far */
	size_t nto;
	bool open;                 /* the envelope's lines are under way */
	bool said;
};

/* Adds a line of spool_trace() in words, changing it. What is no such line is passed over. */
void
queue_life_line(struct queue_life *l, char *line);

/* Ends it and frees all but the buffer. */
void
queue_life_end(struct queue_life *l);

#endif
