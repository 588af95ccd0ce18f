/*
 * inside: what the files of this room share: the index in memory, and the
 * spool itself.
 *
 * A message is an entry; its recipients are read from its file when they
 * are needed. What one relay has to get of it is a part: parts are what is
 * scheduled. Room in the heaps is made before a part exists, so that nothing
 * that is on disk can fail to be scheduled.
 */
#ifndef SPOOL_INSIDE_H
#define SPOOL_INSIDE_H

#include <stddef.h>

#include "base/buf.h"
#include "spool/form.h"
#include "spool/spool.h"

enum {
	SPOOL_RUN = 8192,            /* bytes of an arrival that wait for company */
	SPOOL_SCRATCH = 1 << 16,
	SPOOL_STEP = 1 << 18,        /* bytes of content beyond what was told, between looks at the free space */
	SPOOL_DIRTY_MOST = 64,       /* changed files that one commit syncs one by one */
	SPOOL_NAME = SPOOL_ID_LEN + 8,
};

/* Ids grow from the clock's microseconds; what is far beyond is not ours (year 2255). */
#define SPOOL_ID_MOST ((uint64_t)1 << 53)

/* ---- a heap of times ---- */

struct node {
	uint64_t key, tie;           /* ms; id */
	uint32_t pos;                /* place + 1 in its heap; 0: in none */
};

struct heap {
	struct node **v;
	uint32_t n, cap;
};

/* Room for n nodes. 0 or -ENOMEM. */
int
heap_room(struct heap *h, size_t n);
/* Puts the node there with this key, or moves it; there must be room. */
void
heap_put(struct heap *h, struct node *x, uint64_t key);
/* Takes it out, if it is in. */
void
heap_drop(struct heap *h, struct node *x);

/* ---- relays, messages ---- */

struct relay {
	char *name;
	struct heap due;             /* parts that are pending and not being sent */
	uint32_t parts;              /* that exist */
	uint32_t sending, held;
	uint32_t failures;
	uint64_t until;              /* circuit: no claim before */
	bool stopped;
};

struct part {
	struct node node;            /* first */
	struct entry *e;
	struct relay *relay;
	uint32_t attempts;
	uint16_t pending, held;      /* recipients; sending ones are pending */
	bool sending;
};

struct entry {
	struct node node;            /* first: when it needs attention */
	uint64_t id, arrived, size;
	uint64_t first;              /* due, when it was just sealed */
	uint64_t told;               /* a report is being made: no event about one before */
	uint64_t chance;             /* since when it is too old and waits for one more try; 0: it does not */
	uint64_t tail;               /* bytes of records */
	uint32_t seq;                /* of the next record */
	uint32_t nparts;
	struct part *part;
	struct entry *prev, *next;   /* order of ids */
	struct entry *hash;
	struct entry *dirty;         /* next of the changed ones */
	bool is_dirty, is_new, warned, owed, checked, damaged, dead;
	struct part one;
};

struct spool_arrival {
	struct spool *s;
	struct spool_arrival *next;
	uint64_t id, reserved;
	uint64_t room;               /* content up to here was seen to fit above the floor */
	uint64_t size, written;      /* content so far; of it in the file */
	uint32_t crc;
	int fd, err;
	size_t nrun;
	struct entry *e;             /* once sealed */
	void *token;
	char run[SPOOL_RUN];         /* front, then content that is not in the file */
};

struct spool_claim {
	struct spool_claim *next;
	struct spool_message m;
	struct entry *e;
	int queue;                   /* the spool's */
	struct part *part;
	uint32_t *which;
	size_t n;
	struct buf late;             /* a record that could not be written yet */
	enum spool_fate *fate;       /* room for the results, so that the end cannot lack it */
	bool *report;
	uint64_t next_try;           /* of what is deferred */
};

struct spool {
	struct spool_config c;
	int top, queue, damaged, trace, keep;
	int log;                     /* of the trace; -1: to be opened */
	uint64_t log_no, log_size;
	bool log_torn;
	struct relay *relay[SPOOL_RELAYS_MOST];
	size_t nrelay;
	struct entry *first, *last, **bucket;
	size_t nbucket;
	uint32_t count;              /* entries and arrivals */
	uint32_t entries;
	uint64_t bytes;              /* contents and reservations */
	uint64_t promised;           /* of them: reservations of arrivals */
	struct heap attention;
	uint64_t last_id, random, now;
	struct spool_arrival *sealed, **sealed_end;
	uint32_t arrivals;
	struct spool_claim *claims;  /* being sent */
	struct spool_claim *late;    /* ended, but for their record */
	struct entry *dirty;
	bool dir_dirty;
	struct spool_job *job;
	struct spool_found found;
	char scratch[SPOOL_SCRATCH];
};

/* index.c */
struct entry *
entry_find(const struct spool *s, uint64_t id);
/* A new entry (not yet in the index) for what m tells, its parts made and room for them; NULL
 * without memory or relay names. `fresh`: pending recipients are due at once. */
struct entry *
entry_new(struct spool *s, const struct spool_envelope *env, uint64_t size, int *err);
/* Into the index, scheduled. env NULL: it was just sealed, all is due. */
void
entry_join(struct spool *s, struct entry *e, const struct spool_envelope *env);
/* Out of the index, and freed. Also one that never joined. */
void
entry_free(struct spool *s, struct entry *e);
/* Makes parts for what env says, instead of those that are there. 0 or errno (all as it was). */
int
entry_parts(struct spool *s, struct entry *e, const struct spool_envelope *env);
/* Counts of the parts from env's recipients, and the schedule; attempts and times too. */
void
entry_schedule(struct spool *s, struct entry *e, const struct spool_envelope *env);
/* When the entry needs attention next. */
void
entry_attend(struct spool *s, struct entry *e, uint64_t not_before);
void
part_put(struct part *p, uint64_t when);
struct relay *
relay_find(const struct spool *s, const char *name);
struct relay *
relay_get(struct spool *s, const char *name);
bool
relay_open(const struct spool *s, const struct relay *r);
uint64_t
relay_wake(const struct spool *s, const struct relay *r);
uint64_t
backoff(struct spool *s, uint64_t first, unsigned n);

/* file.c */
void
file_name(const struct entry *e, char out[SPOOL_NAME]);
/* Reads up to `most` bytes of records (and the content's checksum, when `check`) of the open
 * file. The message's fd is fd on success, else the caller's still. 0; -EBADMSG with *why; errno. */
int
file_read(struct spool *s, uint64_t id, int fd, bool check, uint64_t most, struct spool_message *m,
    struct form_tail *t, const char **why);
/* Opens and reads an entry's file; damaged: sets it aside. */
int
file_load(struct spool *s, struct entry *e, struct spool_message *m);
/* Appends a record of what b holds behind form_begin()'s place 0. fd -1: opens it. */
int
file_append(struct spool *s, struct entry *e, int fd, struct buf *b);
/* One line as a record. */
int
file_tell(struct spool *s, struct entry *e, int fd, const struct form_line *l);
void
file_dirty(struct spool *s, struct entry *e);
/* Moves queue/name to damaged/, with the reason. */
int
file_aside(struct spool *s, const char *name, uint64_t id, const char *why);
/* The entry's file is damaged: aside, and out of the schedule; an event tells. */
void
entry_damaged(struct spool *s, struct entry *e, const char *why);
/* Ends the message when nothing is open: trace, unlink, free. True: it is gone. fd -1: opens it. */
bool
entry_end(struct spool *s, struct entry *e, int fd);

/* scan.c */
int
scan(struct spool *s, uint64_t now);

/* trace.c */
int
trace_open(struct spool *s);
void
trace_bury(struct spool *s, uint64_t id, const char *tail, size_t n);

/* deliver.c */
/* Takes the claim off its list and frees it; no more. */
void
claim_free(struct spool_claim **list, struct spool_claim *c);
/* Tries again to write what could not be written. */
void
late_again(struct spool *s);

#endif
