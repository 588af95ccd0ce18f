/*
 * spool: the mail that was taken and is not yet delivered, on disk, and when
 * each of it is due.
 *
 * No sockets, no SMTP, no clock: time is an argument, in milliseconds since
 * 1970, and everything happens below the one folder whose descriptor is
 * given (openat family only). Lack of memory, space, inodes or descriptors
 * is a negative errno of that one call; nothing aborts, nothing is lost.
 *
 * The folder, made by spool_open() where it is missing:
 *
 *   queue/ID        a message (form.h tells its bytes), ID of 16 hex digits
 *   queue/ID.new    the same, arriving, or sealed a moment ago
 *   damaged/ID      set aside: never delivered, never deleted by us
 *   damaged/ID.why  the reason, a line of text
 *   trace/N.log     the lives of messages that have ended
 *   keep/NAME       small states of others (spool_keep)
 *
 * A message's life, and what a crash leaves of it:
 *
 *   state     entered by                    on disk                      after a crash
 *   --------  ----------------------------  ---------------------------  ----------------------------
 *   arriving  spool_arrive                  ID.new, its front blank      removed by the next open
 *   sealed    spool_seal                    front and envelope written   kept if whole (a duplicate
 *                                                                        at worst: nobody was told)
 *   durable   commit: each file and then    the same, synced             kept; `250` may be said
 *             queue/ synced
 *   queued    commit's finish               renamed to ID (unsynced:     kept under either name
 *                                           either name will do)
 *   refused   a failed sync or write        unlinked                     as sealed, if the unlink was
 *                                                                        lost with the power
 *   gone      all recipients final, all     trace line, then unlinked    final states are on disk
 *             reports made                                               first: the open ends it again
 *
 * A recipient's life, within a queued message:
 *
 *   from      event                 to         record   next
 *   --------  --------------------  ---------  -------  ----------------------------------------
 *   pending   spool_claim           sending    intent   the answer
 *   sending   done: delivered       delivered  yes      final
 *   sending   done: failed          failed     yes      final; `owed` until spool_reported
 *   sending   done: deferred        pending    yes      back-off with jitter
 *   sending   crash                 pending    cut      at once: the one possible duplicate
 *   pending   lifetime is over      failed     yes      final; `owed` (one more try first, where one is
 *                                                       due and possible: last_chance)
 *   pending   spool_hold            held       yes      waits for people; does not grow too old
 *   held      spool_release         pending    yes      at once
 *   pending   spool_reroute         pending    yes      at once, at the other relay
 *   any       spool_drop            dropped    yes      final
 *
 * `sending` is never trusted after a crash; its record tells people that a
 * duplicate was possible. Records are appended, each with length, checksum
 * and the message's identity; they become durable with the next commit. A
 * torn tail is cut at the next open; a bad record with good ones behind it
 * is damage, and the file is set aside.
 *
 * Syncs may block: spool_commit_sync() touches its job alone, so that it can
 * run in another thread while everything else goes on in the owner's.
 */
#ifndef SPOOL_SPOOL_H
#define SPOOL_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spool;
struct spool_arrival;
struct spool_claim;
struct spool_job;

enum {
	SPOOL_RCPT_MOST = 1000,      /* recipients of a message */
	SPOOL_TEXT_MOST = 2048,      /* bytes of any text of an envelope or a reply; longer: -EINVAL, replies are cut */
	SPOOL_RELAYS_MOST = 1024,    /* relay names with mail waiting */
	SPOOL_GROUP_MOST = 256,      /* messages made durable by one commit */
	SPOOL_KEEP_MOST = 1 << 24,   /* bytes of a kept state */
	SPOOL_ID_LEN = 16,
};

/* What a recipient is. */
enum spool_state {
	SPOOL_PENDING,
	SPOOL_SENDING,
	SPOOL_HELD,
	SPOOL_DELIVERED,
	SPOOL_FAILED,
	SPOOL_DROPPED,
};

/* How group commit makes files durable. Each file's sync flushes the device's cache once more;
 * syncfs flushes it once, and waits for what others have written to that file system. */
enum spool_sync {
	SPOOL_SYNC_AUTO,             /* syncfs for SPOOL_SYNC_FEW files or more, else each (measured: spool_bench) */
	SPOOL_SYNC_EACH,             /* fdatasync of each file, then fsync of queue/: for a file system shared with others */
	SPOOL_SYNC_FS,               /* one syncfs; it reports errors since Linux 5.8 */
};

enum { SPOOL_SYNC_FEW = 4 };

/* Limits and times; spool_config_default() fills it. */
struct spool_config {
	uint64_t message_most;       /* bytes of one message's content */
	uint64_t bytes_most;         /* bytes of all contents, arriving ones included */
	uint32_t messages_most;      /* messages in the queue, arriving ones included */
	uint32_t arrivals_most;      /* arrivals at once: each holds a descriptor */
	uint64_t floor_bytes;        /* free space that is never used up */
	uint64_t floor_inodes;
	enum spool_sync sync;
	uint64_t retry_first;        /* ms to the second attempt; doubles with each */
	uint64_t retry_most;         /* ms; the longest wait */
	uint64_t lifetime;           /* ms from arrival until pending recipients fail */
	uint64_t warn_after;         /* ms from arrival until a delay warning is due; 0: never */
	uint64_t last_chance;        /* ms; who is too old and due, for nobody was there to try it (the host slept, people
	                                held it), may wait so long for one more try; 0: fails at once */
	uint32_t circuit_after;      /* failures of a relay in a row that open its circuit; 0: never */
	uint64_t circuit_first;      /* ms until the first probe; doubles up to retry_most */
	uint64_t seed;               /* of the jitter */
	uint64_t trace_bytes;        /* of one file of the trace log */
	uint32_t trace_files;        /* so many are kept */
	uint64_t trace_keep;         /* ms; a file older than that goes at the next rotation; 0: never */
};

/* What a relay said, or what kept us from asking. Texts may be NULL. */
struct spool_reply {
	unsigned code;               /* of SMTP; 0: it said nothing */
	const char *text;            /* the reply, or the machine's failure in words */
	const char *tls, *cipher;    /* of the session, such as "TLSv1.3" (COL-35) */
	const char *peer;            /* address and port */
};

struct spool_rcpt {
	const char *address;         /* without <> */
	const char *relay;           /* its name in the policy */
	const char *notify, *orcpt;  /* RFC 3461, as given; NULL: not given */
	/* from here: written by the spool, ignored by spool_seal() */
	enum spool_state state;
	bool owed;                   /* a report has to be made */
	unsigned attempts;
	uint64_t next;               /* ms; of SPOOL_PENDING */
	struct spool_reply last;
};

/* What goes with a message. Texts may be NULL where they were not given; a
 * text may hold any bytes but NUL. */
struct spool_envelope {
	uint64_t id;                 /* given by the spool */
	uint64_t arrived;            /* ms; given by spool_seal() */
	const char *application, *unit;
	uint32_t uid;
	const char *from;            /* without <>; "": the null path */
	const char *envid, *ret;     /* RFC 3461 */
	const char *body;            /* RFC 6152: "8BITMIME" */
	bool smtputf8;
	const char *note;            /* for the trace: how it came in */
	uint64_t not_before;         /* ms: it is first due then; 0: at once */
	struct spool_rcpt *rcpt;
	size_t nrcpt;                /* 1 to SPOOL_RCPT_MOST */
};

/* A message as it is on disk now. The content, exactly as it will be sent
 * (before dots are stuffed), stands at `offset` of `fd`, `size` bytes. */
struct spool_message {
	struct spool_envelope env;
	int fd;
	uint64_t offset, size;
	void *own;                   /* the texts' memory */
};

/* ---- opening ---- */

/* Defaults: 100 MB, 100,000 messages, 5 days, first retry after 1 min. */
void
spool_config_default(struct spool_config *c);

/* Opens the spool below the folder `dir` (the caller keeps that descriptor)
 * and reads what is there, in order of arrival, contents unread: removes
 * interrupted arrivals, cuts torn tails, sets damaged files aside, ends what
 * is final. 0; -EBUSY: another process has it; other errno: the machine's. */
int
spool_open(struct spool **out, int dir, const struct spool_config *c, uint64_t now);

/* Drops arrivals and claims (their mail stays as it is on disk) and frees;
 * jobs must have been finished. NULL is fine. Returns NULL. */
struct spool *
spool_close(struct spool *s);

/* Takes other limits and times; what is already scheduled stays so. */
void
spool_configure(struct spool *s, const struct spool_config *c);

/* The clock was set back to `now`: what waits for its next try, and what waited for a time that is far
 * now, is due as if no time had passed; what a limit put off keeps its time (not_before). An open does the same. */
void
spool_set_back(struct spool *s, uint64_t now);

/* What the open, and later reading, found wrong so far. */
struct spool_found {
	uint32_t interrupted;        /* arrivals removed */
	uint32_t torn;               /* tails cut */
	uint32_t damaged;            /* set aside */
	uint32_t unreadable;         /* left where they are: the machine would not read them */
	uint32_t stray;              /* names that are not ours, left alone */
	uint32_t unsynced;           /* records whose sync failed: a duplicate after a power cut */
	bool sick;                   /* a sync of the folder failed: nothing is taken until a new open */
};

void
spool_found(const struct spool *s, struct spool_found *f);

/* ---- arrival ---- */

/* Begins an arrival of about `size` bytes (0: not told). 0, or -ENOSPC (space
 * or inodes near the floor, or the queue is full), -EMSGSIZE (over
 * message_most), -EAGAIN (arrivals_most), -EIO (sick), other errno. */
int
spool_arrive(struct spool *s, uint64_t size, uint64_t now, struct spool_arrival **out);

/* The same, but for its file: until spool_arrival_open() it has a number and its place among the arrivals, and
 * can only be dropped. */
int
spool_arrive_later(struct spool *s, uint64_t size, uint64_t now, struct spool_arrival **out);

/* Makes its file, where it has none. 0 or errno. */
int
spool_arrival_open(struct spool_arrival *a);

uint64_t
spool_arrival_id(const struct spool_arrival *a);

/* Adds n bytes of content. -EMSGSIZE past message_most; after any error the
 * arrival can only be dropped (the error stays and spool_seal() gives it). */
int
spool_write(struct spool_arrival *a, const void *p, size_t n);

/* The descriptor of the arriving file and the offset at which content
 * begins: another process may write there instead of spool_write(). -1: it has no file yet. */
int
spool_arrival_fd(const struct spool_arrival *a, uint64_t *offset);

/* A descriptor of the same file for reading alone, the caller's, for who must not write; or
 * a negative errno. */
int
spool_arrival_reader(const struct spool_arrival *a);

/* Says that `size` bytes stand behind that offset. They are read once, for
 * the checksum, here and now: some 0.3 ms a megabyte; fewer: -ENODATA. */
int
spool_adopt_own(struct spool_arrival *a, uint64_t size);

/* Copies `size` bytes at `offset` of any file (a memfd); fewer: -ENODATA. */
int
spool_adopt(struct spool_arrival *a, int fd, uint64_t offset, uint64_t size);

/* Writes the envelope and queues the arrival for the next commit; `token`
 * comes back with its outcome. On an error the arrival is still the
 * caller's, to be dropped. */
int
spool_seal(struct spool *s, struct spool_arrival *a, const struct spool_envelope *e, uint64_t now,
    void *token);

/* Gives up an arrival that was not sealed; NULL is fine. Returns NULL. */
/* (An arrival belongs to the spool from its seal until its outcome.) */
struct spool_arrival *
spool_drop_arrival(struct spool *s, struct spool_arrival *a);

/* ---- group commit ---- */

/* The outcome of one seal: only with err 0 may `250` be said. */
struct spool_outcome {
	void *token;
	uint64_t id;
	int err;                     /* 0, or the negative errno of the sync */
};

/* What a commit would have to do: 2: seals wait; 1: records and removals that
 * are not yet durable, at leisure (a second); 0: nothing, or one is under way. */
int
spool_commit_wanted(const struct spool *s);

/* Collects up to SPOOL_GROUP_MOST seals, oldest first, and what else is not
 * durable. NULL: nothing to do, or no memory (try again). One job at a time. */
struct spool_job *
spool_commit_begin(struct spool *s);

/* Syncs. Touches the job alone: safe in another thread, and in several at
 * once, which then share the work (EACH: their flushes become one); the job is
 * done when all calls have returned. */
void
spool_commit_sync(struct spool_job *j);

/* Takes the job back: what is durable joins the queue, what is not is
 * removed. Fills out[] (room for SPOOL_GROUP_MOST), frees the job and gives
 * the number of outcomes. */
size_t
spool_commit_finish(struct spool *s, struct spool_job *j, uint64_t now, struct spool_outcome *out);

/* The three in one. */
size_t
spool_commit(struct spool *s, uint64_t now, struct spool_outcome *out);

/* ---- the schedule ---- */

/* The first time at which a call below would give something: a claim or an
 * event; UINT64_MAX: never, as things stand. */
uint64_t
spool_wake(const struct spool *s);

/* The names of the relays that have mail, by i = 0, 1, ...; NULL ends. The
 * name stays until mail for it is gone. */
const char *
spool_relay(const struct spool *s, size_t i);

/* When this relay's next claim is possible, its circuit considered;
 * UINT64_MAX: nothing, or held. */
uint64_t
spool_relay_wake(const struct spool *s, const char *relay);

/* Claims the relay's next message that is due, for the recipients of it that
 * are pending there, writes the intent, and checks the content: a damaged
 * one is set aside and the next one taken. 0; 1: nothing is due (or its
 * circuit is open, or the one probe is under way); errno. */
int
spool_claim(struct spool *s, const char *relay, uint64_t now, struct spool_claim **out);

/* The message; which[0..*n) are the recipients (numbers in env.rcpt) to
 * send to. Valid until spool_done(). */
const struct spool_message *
spool_claim_message(const struct spool_claim *c, const uint32_t **which, size_t *n);

/* A descriptor of the message's file for reading alone, the caller's; or a negative errno. */
int
spool_claim_reader(const struct spool_claim *c);

/* What became of one recipient of a claim. */
enum spool_fate {
	SPOOL_FATE_DEFERRED,         /* not now: 4xx, or the relay could not be asked */
	SPOOL_FATE_DELIVERED,
	SPOOL_FATE_FAILED,           /* never: 5xx */
	SPOOL_FATE_HELD,             /* people must look: a wrong credential, a broken certificate */
};

struct spool_result {
	enum spool_fate fate;
	bool report;                 /* failed, or relayed without DSN: owes a report */
	struct spool_reply reply;
};

/* Ends a claim: r[i] is the fate of which[i]; r NULL: the attempt was given up
 * before anything was sent, all stays as it was. The claim is freed in any case.
 * 0; an errno: the record is not on disk yet; memory knows it, and each
 * commit tries to write it again (a crash before that: a duplicate). */
int
spool_done(struct spool *s, struct spool_claim *c, const struct spool_result *r, uint64_t now);

/* Tells the relay's circuit how a connection went. After circuit_after
 * failures in a row claims stop, but for one probe at a time. */
void
spool_relay_failed(struct spool *s, const char *relay, uint64_t now);
void
spool_relay_well(struct spool *s, const char *relay);

/* Stops (or starts again, with its circuit closed) all claims for a relay,
 * until the next open. */
void
spool_relay_hold(struct spool *s, const char *relay, bool hold);

/* What the owner has to do about a message. */
enum spool_event_kind {
	SPOOL_EVENT_WARN,            /* a delay warning is due (told once) */
	SPOOL_EVENT_REPORT,          /* recipients are `owed` a report; told again after an open and after a minute, until
	                                spool_reported() */
	SPOOL_EVENT_DAMAGED,         /* was set aside */
};

struct spool_event {
	enum spool_event_kind kind;
	uint64_t id;
};

/* The next event that is due; pending recipients of messages that are too
 * old fail here. 0; 1: none. */
int
spool_event(struct spool *s, uint64_t now, struct spool_event *e);

/* The first time at which spool_event() would give something, or UINT64_MAX. */
uint64_t
spool_event_wake(const struct spool *s);

/* The reports about all recipients that are owed one were made (and are
 * durable in this spool); ends the message if nothing else is open. 0; -ENOENT; errno. */
int
spool_reported(struct spool *s, uint64_t id, uint64_t now);

/* The same of n recipients alone, those whose report it was: who has failed while it was made stays owed, and
 * is the next event. */
int
spool_reported_of(struct spool *s, uint64_t id, const uint32_t *which, size_t n, uint64_t now);

/* ---- for people ---- */

/* The first id after `id`, in order of arrival; 0 ends (and begins: id 0). */
uint64_t
spool_after(const struct spool *s, uint64_t id);

/* Reads a queued message; the caller ends it by spool_message_end(). 0;
 * -ENOENT; -EBADMSG (and it has been set aside); errno. */
int
spool_read(struct spool *s, uint64_t id, struct spool_message *m);

/* Frees and closes; a zeroed or ended message is fine. */
void
spool_message_end(struct spool_message *m);

/* By id. Each: 0; -ENOENT; -EBUSY (hold, drop, reroute: it is being sent);
 * errno (not recorded, not done). */
int
spool_hold(struct spool *s, uint64_t id, uint64_t now);
int
spool_release(struct spool *s, uint64_t id, uint64_t now);
int
spool_retry(struct spool *s, uint64_t id, uint64_t now);
int
spool_drop(struct spool *s, uint64_t id, uint64_t now, const char *why);

/* Other relays for a message's recipients, after a reload: relay[i] is that
 * of recipient i, NULL: as it was. Recipients that are final are left alone. */
int
spool_reroute(struct spool *s, uint64_t id, const char *const *relay, uint64_t now);

/* All pending mail of a relay (NULL: of all) is due now, circuits closed. */
void
spool_flush(struct spool *s, const char *relay, uint64_t now);

/* Queue depth: (message, relay) pairs by state, and arrival of the oldest. */
struct spool_depth {
	uint32_t pending, sending, held;
	uint64_t oldest;             /* ms; UINT64_MAX: none */
	bool open;                   /* circuit */
	bool stopped;                /* spool_relay_hold */
	uint32_t failures;           /* of the relay, in a row */
};

/* Of one relay; NULL: the sum, and the oldest message of any state. */
void
spool_depth(const struct spool *s, const char *relay, struct spool_depth *d);

/* Messages in the queue and bytes of their contents. */
void
spool_size(const struct spool *s, uint32_t *messages, uint64_t *bytes);

/* Tells each line of a message's life, without its line end, in order: from
 * its file while it lives, else from the trace log. 0; -ENOENT; errno. */
int
spool_trace(struct spool *s, uint64_t id, void (*line)(void *arg, const char *text), void *arg);

/* Adds a line to the trace log for a message that never was in the queue
 * (`mode: through`). */
int
spool_trace_add(struct spool *s, uint64_t id, uint64_t now, const char *text);

/* An id as text and back (exactly 16 hex digits; 0: not one). */
void
spool_id_text(uint64_t id, char out[SPOOL_ID_LEN + 1]);
uint64_t
spool_id_of(const char *text);

/* ---- small states ---- */

/* Replaces the kept state NAME ([a-z0-9-], 1 to 32) by n bytes, durably:
 * blocks. After a crash: the old or the new, whole. Touches nothing else of the spool: one call at
 * a time may run in another thread while the spool is open. */
int
spool_keep(struct spool *s, const char *name, const void *p, size_t n);

/* The kept state: *p (malloc, the caller's) and *n. 0; -ENOENT; -EBADMSG;
 * errno. */
int
spool_kept(struct spool *s, const char *name, void **p, size_t *n);

#endif
