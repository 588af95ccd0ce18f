/*
 * front: the role front, in parts. Private to the files front*.c.
 *
 *   front.c         the jail, the loop, the listeners
 *   front_chan.c    the two channels: what is told and asked, windows kept
 *   front_book.c    the policy, and what users' names are as numbers
 *   front_who.c     who is at the other end; what each user has open; who gives way
 *   front_conn.c    one connection: bytes, events, ends
 *   front_admit.c   what lib/mail says to an event
 *   front_msg.c     a message's content on its way into the queue's file
 *   front_names.c   domains that must resolve
 *
 * One process, one loop. A connection has its turn when its socket or a channel has something for
 * it; in a turn it reads at most FRONT_READ bytes into the one buffer that all share. The content of
 * a message goes from there to the file in one pwritev(2) a turn; only a header block, what comes
 * before the file does, and what a client sends too early lies in memory of the connection's own,
 * and all of that together is bounded (FRONT_MEM_MOST).
 */
#ifndef ROLE_FRONT_INSIDE_H
#define ROLE_FRONT_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "ipc/front.h"
#include "ipc/mail.h"
#include "mail/mail.h"
#include "peer/peer.h"
#include "role/role.h"
#include "smtp/header.h"
#include "smtp/mime.h"
#include "smtp/server.h"

struct arena;
struct front;

enum {
	FRONT_MOST_CONNS = 512,
	FRONT_MOST_EACH = 192,     /* connections of one user */
	FRONT_RESERVED = 64,       /* the last places are for users who have no more than FRONT_FEW */
	FRONT_FEW = 8,
	FRONT_MOST_MESSAGES = 192, /* with a file of the queue's, which has QUEUE_MAILS; past it, one more is only for users
	                              who have no more than FRONT_FEW: dripping content must not keep others out */
	FRONT_GIVES_WAY_MS = 10,   /* who has not moved for so long, when places are short */
	FRONT_PATIENCE_MS = 500,   /* a newcomer waits so long for one of who has more; then that one gives way, moving or not */
	FRONT_MOST_WAITING = 4,    /* newcomers, one of a user: a descriptor each */
	FRONT_SPARE_FDS = 24,      /* descriptors that are no connection's and no message's */
	FRONT_RCPTS = 1000,
	FRONT_MOST_LISTENERS = 16,
	FRONT_READ = 64 << 10,     /* bytes of a turn */
	FRONT_READ_LITTLE = 8 << 10, /* the same before a message's file is there, or when memory is short */
	FRONT_GATHER = 64 << 10,   /* bytes of small pieces that wait for one write */
	FRONT_QUIET_MS = 2000,     /* without a connection: then memory goes back to the system */
	FRONT_IOV = 64,
	FRONT_EARLY = 256 << 10,   /* bytes of a content that begin their way to the disk together */
	FRONT_MEM_MOST = 16 << 20, /* of all connections; past it, messages that take more than */
	FRONT_MEM_FREE = 16 << 10, /* that are deferred */
	FRONT_LINGER_MS = 1000,
	FRONT_TICK_MS = 250,
	FRONT_SETTLE_MS = 570000,  /* a client waits ten minutes for the answer to its dot (RFC 5321 4.5.3.2.6) */
	FRONT_STOP_MS = 8000,
	FRONT_PAUSE_MS = 100,      /* no descriptor left: no connection is taken for so long */
	FRONT_KEEP_MS = 5000,
	FRONT_KEEP_MOST = 16 << 20,
	FRONT_WANT_MS = 5000,
	FRONT_NAMES = 4096,        /* of users */
	FRONT_DOMAINS = 1024,      /* answers remembered */
	FRONT_LOG_LINES = 50,      /* a second of refusals and the like */
	FRONT_WORDS = 500,
};

static const uint64_t FRONT_BYTES_EACH = 1ull << 30; /* of one user's messages under way */

/* A policy in use. */
struct front_policy {
	unsigned refs;
	struct arena *a;
	const uint8_t *map;        /* its bundle, into which it may point */
	size_t nmap;
	struct policy *policy;
	const char **user;         /* of each application, as the policy has it */
	uint64_t rcpt_most;        /* the smallest limit of recipients per message; UINT64_MAX */
	bool per_connection;       /* there is a limit per connection */
};

/* A user of the host. */
struct front_uid {
	char *name;
	uint64_t value;            /* UINT64_MAX: there is none */
};

/* A user with connections. */
struct front_user {
	struct front_user *next;
	uint32_t uid;              /* PEER_NO_UID: all that are not known */
	unsigned nconn;
	uint64_t bytes;            /* of messages under way */
	unsigned nmsg;             /* of them with a file */
};

/* A reply that is ours to give. code 0: none */
struct front_reply {
	unsigned code;
	char enhanced[12];
	char text[FRONT_WORDS];
};

struct front_to {
	const char *relay;         /* the policy's */
	unsigned notify;
	char *orcpt;               /* behind the address; NULL */
	char address[];
};

enum front_at {
	FRONT_AT_NONE,             /* no transaction */
	FRONT_AT_MAIL,
	FRONT_AT_DATA,
	FRONT_AT_END,              /* whole; its file is not there yet */
	FRONT_AT_SEALED,           /* the queue has it; its answer is awaited */
};

struct front_msg {
	enum front_at at;
	struct front_policy *p;
	char *from, *envid;
	enum smtp_ret ret;
	bool sized, utf8, high;
	uint64_t said, size;       /* SIZE=; what RFC 1870 counts */
	struct front_to **to;
	size_t nto, capto;
	size_t envelope;           /* bytes of them in memory */
	/* its file */
	uint64_t token, id;        /* token 0: not asked for */
	bool ask, arrived;         /* ask: ARRIVE waits for room in the channel */
	bool filed;                /* counted in nmsg */
	bool known;                /* an ARRIVE has been told */
	bool small;                /* it has no file as long as its seal can bring its content */
	int fd;
	uint64_t offset, wrote;
	uint64_t started;          /* of what was wrote, on its way to the disk */
	struct buf out;            /* content that waits to be written */
	size_t id_at[2];           /* where in it the id will stand; 0 */
	struct iovec iov[FRONT_IOV]; /* and behind it what lies in the shared buffer */
	int niov;
	size_t pending;            /* bytes in iov */
	uint64_t came;             /* bytes of content */
	uint64_t counted;          /* bytes on the user's account: these, or what SIZE= said if that is more */
	/* its content */
	struct smtp_header *header; /* until the block is whole */
	size_t fed;                /* of it */
	struct smtp_attach *attach;
	const char *with;
	char **sender;             /* From addresses, to be judged */
	size_t nsender;
	bool qualified;            /* the lone From address got our host's name */
	struct front_reply refusal; /* what will be said at the end */
	/* sealing */
	char *as;                  /* the envelope sender to use */
	const char *application;   /* the policy's; "" */
	uint64_t not_before, since;
	struct mail_tally *tally;  /* what limits counted, given back where the queue does not take it */
	size_t ntally;
	size_t sealed;             /* recipients told */
};

enum front_waits { FRONT_WAITS_NOT, FRONT_WAITS_NAME };

struct front_conn {
	struct front *f;
	unsigned slot;
	int fd;
	struct smtp_server *s;
	struct front_user *u;
	char user[12];             /* its number; "" not known */
	char *unit;                /* NULL: not known */
	struct front_policy *p;    /* of the connection */
	struct arena *sa;
	struct mail_session *session;
	bool readable, writable, hung_up, eof, runs, tells, dead;
	bool lingers;              /* all is said; what still comes is thrown away */
	uint64_t linger;
	struct front_conn *run_next, *tell_next;
	char *in;                  /* what the session would not take yet */
	size_t nin, in_at;
	uint64_t moved;            /* ms: when it last came on */
	uint64_t block;            /* of the message's content, for `moved` */
	size_t mem;                /* on the account of all */
	struct front_msg m;
	/* a domain that is being asked for */
	enum front_waits waits;
	uint64_t name_token, name_until;
	bool name_known;           /* answered, or given up */
	enum front_name name;
};

/* An accepted connection that has no place yet. */
struct front_newcomer {
	int fd;
	bool tcp;
	uint32_t uid;
	char *unit;
	uint64_t until;            /* ms */
};

/* A domain's answer. */
struct front_domain {
	uint64_t token;            /* 0: empty */
	uint64_t until;            /* ms */
	bool known;
	enum front_name answer;
	char name[256];
};

struct front_count {
	uint64_t connections, connections_refused, connections_gave_way;
	uint64_t accepted, delayed, refused, deferred, bytes;
	uint64_t rcpt_refused, rcpt_deferred, unregistered, over_lines;
};

struct front {
	const struct role_front *opt;
	uint64_t now;              /* ms, of a clock that never goes back */
	uint64_t sec;              /* since 1970 */
	int epoll;
	struct front_policy *p, *next; /* next: waits for names */
	uint32_t next_id;
	uint64_t next_since;
	char host[256], next_host[256];
	struct front_uid *name;
	size_t nname;
	struct peer_units *units;
	int cgroup;                /* the cgroup2 folder; -1 */
	struct mail_windows *windows;
	struct arena *wa, *scratch;
	bool have_kept, ready_told, listening, stopping;
	bool used;                 /* memory that connections took has not gone back */
	bool gone, queue_gone;      /* a channel has closed */
	uint64_t stop_at, paused; /* ms; 0 */
	struct buf kept;           /* coming in */
	struct buf keep;           /* going out */
	size_t keep_at;
	bool keep_dirty;
	uint64_t keep_next;
	struct front_conn *conn[FRONT_MOST_CONNS];
	unsigned nconn, most, nmsg;
	struct front_newcomer newcomer[FRONT_MOST_WAITING];
	unsigned nnewcomer;
	uint64_t generation;       /* of tokens */
	struct front_user *user;
	struct front_conn *run, **run_last;
	struct front_conn *tell, **tell_last;
	bool chan_full;
	uint64_t drop[2 * FRONT_MOST_CONNS];
	unsigned ndrop;
	struct front_domain *domain;
	uint64_t name_token;
	size_t mem;
	struct front_count count;
	uint64_t log_second;
	unsigned log_lines;
	uint64_t tick;
	char buf[FRONT_READ];
};

/* ---- front.c ------------------------------------------------------------------------- */

/* The connection shall have its turn. */
void
front_run(struct front_conn *c);

/* Whether a line about what a client did may still be said in this second. */
bool
front_may_say(struct front *f);

/* ---- front_chan.c --------------------------------------------------------------------- */

/* Something waits to be told to the queue: c's ARRIVE or seals. */
void
front_tell(struct front_conn *c);

/* The message's number is not needed any more: DROP. */
void
front_drop(struct front *f, uint64_t token);

/* Tells what waits, as much as the channel takes; the windows when it is time for them. */
void
front_tell_run(struct front *f);

/* Takes what has come. */
void
front_queue_read(struct front *f);
void
front_parent_read(struct front *f);

/* Goes over to a policy whose names have not come in time. */
void
front_parent_tick(struct front *f);

/* At the end: the windows as they are now. */
void
front_keep_last(struct front *f);

/* Asks for the domain; false: the channel is full. */
bool
front_ask_domain(struct front *f, uint64_t token, const char *domain);

/* ---- front_book.c ---------------------------------------------------------------------- */

/* Reads a policy from a sealed bundle. NULL, with -errno in *err and why. */
struct front_policy *
front_policy_read(int fd, int *err, char why[FRONT_WORDS]);

struct front_policy *
front_policy_ref(struct front_policy *p);
struct front_policy *
front_policy_free(struct front_policy *p);

/* Takes numbers of users. 0 or -ENOMEM. */
int
front_names_take(struct front *f, const struct apply_host *h);
void
front_names_free(struct front *f);

/* Puts numbers in the place of names in the policy's applications. */
void
front_policy_number(struct front *f, struct front_policy *p);

/* The text of a refusal with whom to ask, where the policy says and the text does not, printable; in `out`. */
const char *
front_words(const struct front_policy *p, const char *text, char out[FRONT_WORDS]);

/* The first `most` names of users that the policy has and nobody told; how many. */
unsigned
front_policy_wants(const struct front *f, const struct front_policy *p, struct apply_name *out,
    unsigned most);

/* The largest message that a program of that application may ever send, for EHLO; 0: no limit. */
uint64_t
front_policy_size(const struct policy *p, const struct policy_application *x);

/* ---- front_who.c ------------------------------------------------------------------------ */

/* Looks who has connected. */
void
front_who(struct front *f, int fd, bool tcp, uint32_t *uid, char **unit);

/* A place for one more connection of the user; somebody may have to give way, who has not moved for a while or,
 * `now`, is of a user who has more. NULL: none, with the words for it; *soon: one who has more may give way in
 * a moment. */
struct front_user *
front_user_enter(struct front *f, uint32_t uid, bool now, const char **why, bool *soon);
void
front_user_leave(struct front *f, struct front_user *u);

/* Whether the user may have one message more of which the queue holds a file. */
bool
front_user_may_send(const struct front *f, const struct front_user *u);

/* ---- front_conn.c ------------------------------------------------------------------------ */

/* Takes an accepted connection. */
void
front_conn_begin(struct front *f, int fd, bool tcp);

/* Newcomers that wait get their places, or are turned away. */
void
front_conn_newcomers(struct front *f);

/* Its turn. */
void
front_conn_turn(struct front_conn *c);

/* Looks at its deadlines. */
void
front_conn_tick(struct front_conn *c);

/* It gives way to another: 421. */
void
front_conn_give_way(struct front_conn *c);

/* The service ends. */
void
front_conn_stop(struct front_conn *c);

/* Closes and frees it. */
void
front_conn_end(struct front_conn *c);

/* ---- front_admit.c ------------------------------------------------------------------------ */

/* Answers the event, or gives false: it waits. */
bool
front_admit_connect(struct front_conn *c);
bool
front_admit_mail(struct front_conn *c, const struct smtp_server_event *e);
bool
front_admit_rcpt(struct front_conn *c, const struct smtp_server_event *e);

/* The From field is known: the verdict before the body; c->m.refusal, or 0. *rewrite: the address that
 * replaces the senders, in f->scratch; NULL. */
void
front_admit_header(struct front_conn *c, const char **rewrite);

/* The message is whole: the verdict, counted. c->m.refusal, or the message is ready to be sealed. */
void
front_admit_end(struct front_conn *c);

/* The queue has not taken the message: limits have not counted it. */
void
front_admit_undo(struct front_conn *c);

/* Says in the log what became of the message. */
void
front_admit_tell(struct front_conn *c, unsigned code, const char *enhanced, const char *text);

/* ---- front_msg.c -------------------------------------------------------------------------- */

/* MAIL was taken: a transaction. False without memory. */
bool
front_msg_begin(struct front_conn *c, const struct smtp_server_event *e);
/* A recipient was taken: kept, unless the same one is. False without memory. */
bool
front_msg_rcpt(struct front_conn *c, const struct smtp_server_event *e);

/* Whether as much of its content lies in memory as may, until its file is there. */
bool
front_msg_full(const struct front_msg *m);

/* The queue has its whole seal. */
void
front_msg_sealed(struct front_msg *m);

/* DATA was answered. False without memory. */
bool
front_msg_data(struct front_conn *c);

/* A run of content; it lies in the shared buffer until the end of the turn. */
void
front_msg_content(struct front_conn *c, const char *p, size_t n);

/* Writes what waits; `all`: also what is little. */
void
front_msg_flush(struct front_conn *c, bool all);

/* END stands. True: answered; false: it waits for its file, or for the queue. */
bool
front_msg_end(struct front_conn *c);

/* The queue has answered. */
void
front_msg_arrived(struct front_conn *c, const struct front_arrived *a, int fd);
void
front_msg_settled(struct front_conn *c, const struct front_settled *s);

/* The transaction is over; what has no answer yet is dropped. */
void
front_msg_forget(struct front_conn *c);

/* Sets what will be said at the end, unless something else has been set. */
void
front_refuse(struct front_conn *c, unsigned code, const char *enhanced, const char *text);

/* ---- front_names.c ------------------------------------------------------------------------- */

enum front_domain_is { FRONT_DOMAIN_FINE, FRONT_DOMAIN_WAIT, FRONT_DOMAIN_BAD };

/* Whether the address may be used as far as its domain goes. BAD: with a reply. WAIT: the connection
 * waits (c->waits), and asks again when it has its next turn. */
enum front_domain_is
front_domain_look(struct front_conn *c, const char *address, bool sender, struct front_reply *r);

void
front_domain_resolved(struct front *f, const struct front_resolved *a);

#endif
