/*
 * inside: what the files of this room share.
 *
 * One process, one thread, one event loop. What takes several steps is an operation (struct
 * op): it goes from step to step by being called back, and one that changes what is in force runs
 * alone.
 */
#ifndef PARENT_INSIDE_H
#define PARENT_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/buf.h"
#include "ipc/apply.h"
#include "ipc/attempts.h"
#include "ipc/compile.h"
#include "ipc/ctl.h"
#include "ipc/ipc.h"
#include "ipc/mail.h"
#include "ipc/spawn.h"
#include "ipc/starter.h"
#include "log/log.h"
#include "parent/parent.h"
#include "role/attempt_ring.h"
#include "state/state.h"

enum {
	MOST_CLIENTS = 16,
	MOST_ASKS = 32,            /* of the role apply, unanswered */
	MOST_JOBS = 64,            /* waiting for the spawner, with those that nobody wants any more */
	MOST_OPS = 32,
	MOST_QUEUE = 1 << 20,      /* bytes that wait for one client */
	MOST_BOXES = 50,
	KEPT_REPORTS = 20,
	KEPT_ATTEMPTS = 200,
	JOB_MS = 30000,
	NAMES_MS = 10000,
	ASK_US = 120 * 1000000,    /* the role apply is given up after so long */
	LOOK_US = 10 * 1000000,    /* and so long by who only looks */
	TICK_US = 1000000,
	TEXTFILE_TICKS = 15,
};

struct parent;
struct doctor;
struct op;
struct client;

/* ---- roles ---------------------------------------------------------------------- */

struct role {
	const char *name;
	pid_t pid;                 /* 0: does not run */
	int chan;
	sd_event_source *io;
	struct parent *p;          /* of those that the starter starts */
};

/* Roles that live and die together (team.c). */
struct team {
	const char *name;
	struct role *role[3];
	unsigned n;
	struct role *starter;      /* who starts them */
	int (*start)(struct parent *p); /* 0, or -errno: what it began is ended by the team */
	void (*fell)(struct parent *p); /* NULL */
	bool wanted, up;
	bool stopping;             /* told to end: that is no fall */
	unsigned fails;
	uint64_t began, due, kill_at; /* monotonic microseconds */
	uint64_t deaths;
	char why[400];             /* the last one; "" */
};

/* An answer of the role apply, or err where there is none (then in is NULL). */
typedef void ask_fn(void *arg, struct ipc_in *in, int err);

struct ask {
	uint32_t id;               /* 0: free */
	uint32_t want;             /* the type of the answer */
	uint64_t until;            /* monotonic microseconds */
	ask_fn *fn;
	void *arg;
};

/* A job's result, or NULL and why not. */
typedef void job_fn(void *arg, struct ipc_in *in, const char *why);

struct job {
	struct job *next;
	uint32_t id, type, want;   /* of the child's role; of the answer */
	int chan;                  /* ours */
	sd_event_source *io;
	job_fn *fn;
	void *arg;
	bool answered;
};

/* ---- mail ------------------------------------------------------------------------- */

enum { MAIL_LISTENERS = 14, MAIL_ASKS = 64 };

struct texts {
	char **v;
	uint32_t n;
};

struct mail_listener {
	char address[46];
	int fd;                    /* -1: not bound */
	bool handed;               /* the role front has it */
};

struct mail_question {
	struct role *role;
	struct ask ask;            /* id 0: free */
};

/* What a role said of itself last. */
struct mail_said {
	struct ipc_in in;          /* owns what body points to */
	const void *body;          /* NULL: nothing */
};

struct mail {
	struct team team;
	struct role queue, relay, front;
	bool due, asked;           /* what is in force is to be looked at; is being */
	uint32_t number, looking;  /* of the generation that is known; that is looked at */
	bool submission;
	struct texts listen, credential, ca, ca_given, want; /* want: users that front asked for */
	struct mail_listener listener[MAIL_LISTENERS], given[MAIL_LISTENERS];
	uint32_t nlistener, ngiven;
	uint64_t bind_at;          /* what could not be bound is tried again; 0 */
	int local;                 /* the unix socket; -1 */
	uint32_t policy_id[3];     /* queue, relay, front: MAIL_POLICY not answered */
	char taken[3][400];        /* why the last was not taken; "" */
	uint64_t again_at;         /* it is told again: who lacked memory may have it then; 0 */
	uint64_t again_wait;       /* monotonic microseconds, as again_at; doubles */
	char trouble[512];         /* "" */
	char credential_why[1200];
	uint64_t credentials_read; /* when; microseconds since 1970 */
	uint32_t credentials_bad;
	uint32_t credential_id;    /* of the first that was told, the others follow; 0: none */
	bool names_asked;
	struct mail_question ask[MAIL_ASKS];
	struct mail_said status, count[3]; /* of the queue; of each */
};

/* ---- clients -------------------------------------------------------------------- */

struct client {
	struct parent *p;
	struct client *next;
	int fd;
	uint32_t uid, pid;
	sd_event_source *io;
	struct op *op;             /* what it asked; NULL: nothing yet, or ended */
	struct buf out;            /* pieces that wait to be sent; sent: so far */
	size_t sent;
	uint64_t moved;            /* when it last took something, monotonic microseconds */
	bool asked, ended, refused; /* refused: it may not control */
};

/* ---- operations ------------------------------------------------------------------- */

/* Those that nobody asks for over the control socket. */
enum op_own { OP_BOOT = CTL_NOP, OP_HUP, OP_REVERT, OP_FOREIGN, OP_DRIFTED, OP_NOP };

struct op_row {
	const char *name;          /* "apply"; NULL: no such */
	bool changes;              /* what is in force, or the state on disk: one at a time */
	void (*run)(struct op *o);
};

typedef void op_fn(struct op *o);

struct op {
	struct parent *p;
	struct op *next;
	uint32_t kind;             /* enum ctl_op or op_own */
	const struct op_row *row;
	struct client *client;     /* NULL: none, or it has gone */
	bool internal;             /* its words go to the log */
	uint32_t flags, number;
	uint64_t seconds;
	char address[64], connection[200];
	uint32_t uid, pid;
	uint64_t began;            /* monotonic microseconds */
	struct buf out;
	bool wrong;                /* something was said to standard error */
	/* gathered on the way */
	int plan, bundle, record;  /* sealed memory files; -1 */
	struct state_about about;
	char *text, *summary, *cut; /* of the last job */
	uint32_t errors, differences, more, unknown_regions;
	uint32_t compare;          /* COMPILE_OWN_RULES, COMPILE_CHANGES: how op_compare() does */
	uint32_t kernel;           /* generation */
	uint32_t target;           /* generation of the state */
	uint32_t want_gen;         /* that the kernel must be at */
	bool unknown;              /* the role apply did not answer: it may have done it, or do it yet */
	bool failed_quietly;       /* a step may fail: see soft */
	bool soft;                 /* a failed job or question goes on to `then`, with why */
	char why[256];
	struct doctor *doctor;     /* DOCTOR: doctor.c */
	char relay[256];           /* DOCTOR: this one alone; "" */
	struct ipc_in in;          /* QUEUE: owns what queue points to */
	const struct mail_queue *queue;
	struct apply_done done;    /* without texts */
	char said[400];            /* the role's words */
	struct apply_checked checked;
	uint8_t digest[STATE_DIGEST]; /* of what the role apply holds */
	char features[2048];
	bool drop_pending;         /* BOOT: once it is in force */
	struct state_about was;    /* op_again: before */
	op_fn *after, *ready;      /* of op_again; of op_fetch */
	uint32_t wanted;           /* op_fetch: the first that was tried */
	bool made_again;           /* its plan was compiled from its text */
	uint64_t report;           /* DRIFTED: the report's number */
	op_fn *then;
};

/* ---- what is remembered ----------------------------------------------------------- */

struct report {
	uint64_t number;           /* 0: none */
	uint64_t when;             /* microseconds since 1970 */
	uint32_t kind;             /* enum apply_event_kind */
	uint32_t pid, uid, times;
	char program[32], exe[256], what[512];
	uint64_t healed_us;        /* 0: not (yet) */
	bool heal_failed;
	uint32_t mended_by;        /* the generation that was applied over it; 0 */
	uint32_t differences;
	char *boxes;               /* what it meant; NULL: not known (yet) */
	char not_compared[256];    /* why that is not known */
};

struct force {
	uint32_t number;           /* of the generation; 0: nothing */
	struct state_about about;
	uint64_t since;            /* microseconds since 1970 */
	uint64_t kernel_ok;        /* how often putting it in force went well */
};

struct parent {
	const struct parent_options *o;
	sd_event *ev;
	struct state *state;
	int cgroup;                /* the folder below which units stand; -1 */
	int run;                   /* the folder of sockets */
	int lock;                  /* of the state's folder, held for life */
	char boot[STATE_BOOT];
	uint64_t started;          /* monotonic microseconds */
	uid_t uid;
	gid_t gid, control;        /* who may control; (gid_t)-1: no group */
	struct role apply, attempts, spawner, starter;
	struct role apart;         /* the starter of the mail roles, where that is another unit: connected, or -1 */
	int apart_fd;              /* it connects here; -1 */
	uint32_t start_id;
	char start_why[360];       /* of the starter's last answer; "" */
	struct team watch;         /* attempts alone */
	struct team rules;         /* apply alone: wanted once it was killed for want of memory (oom.c) */
	bool oom;                  /* so it has ended last */
	int memory_events;         /* of our control group; -1 */
	uint64_t oom_kills;        /* that it has told */
	struct mail mail;
	int spool;                 /* the folder */
	char host[256];            /* this host's full name; "" */
	struct ask ask[MOST_ASKS];
	uint32_t next_id;
	struct job *job;           /* running and waiting */
	int control_fd, metrics_fd;
	struct client *client;
	unsigned nclient;
	struct op *op;             /* all that run */
	struct op *changing;
	bool ready, ending;
	int status;
	sd_event_source *tick, *revert, *watchdog, *foreign_timer, *boot_timer;
	uint64_t ticks;
	/* in force */
	uint32_t current;          /* what `current` says; 0 with `removed` or nothing */
	bool removed;              /* taken down by hand */
	struct force force;
	bool waiting;              /* for a confirm */
	struct state_pending pending;
	bool revert_due, hup_due;
	uint64_t boot_wait;        /* between tries, microseconds */
	uint64_t boot_at;          /* it is tried again then, monotonic microseconds; 0: it is not */
	bool reverted_at_boot;     /* what waited to be confirmed is not what is put in force */
	uint32_t blocks_from;      /* those from here on are to be told to the role still */
	uint32_t blocks_asked;     /* those that it has not answered for */
	bool ready_due;            /* READY=1 waits for them */
	bool names_due, names_asked; /* users are to be looked up; are being */
	char trouble[800];         /* why what is to be in force is not; "" */
	char compile_error[2048];  /* the last one, with its place; "" */
	uint64_t paused_until;     /* microseconds since 1970; 0: not */
	struct state_block block[STATE_BLOCKS]; /* addresses as lib/addr writes them, ends in this boot */
	uint32_t nblock;
	bool blocks_lost;          /* there may be others in the kernel */
	/* told and counted */
	struct report report[KEPT_REPORTS];
	uint64_t nreport;
	struct attempt_ring *attempt; /* made with the first one */
	struct {
		uint64_t drift, heals, heal_failures, foreign, backs_off, lost, applies, apply_failures;
		uint64_t compile_errors, apply_us, last_stage_us;
		uint64_t last_swap_us, heal_us, clients_refused, reverts;
	} n;
	char *foreign;             /* what other tables make of the policy; NULL: nothing */
	uint32_t foreign_differences, foreign_unknown; /* regions that are changed; that cannot be known */
	bool foreign_asked;
	char note[512];            /* what the role said at its start */
	uint64_t check_us, checked_at; /* how long the last look took; when */
	struct buf counters;       /* the named counters as metrics, of counted_at */
	uint64_t counted_at;
	uint64_t blocked_packets, blocked_bytes; /* at counted_at */
};

/* start.c */
/* A listening socket RUN/name; group: it is the control group's. The descriptor or -errno. */
int
parent_listener(struct parent *p, const char *name, int type, mode_t mode, bool group);
uint64_t
now_us(int clock);
void
parent_end(struct parent *p, int status);
void
role_gone(struct parent *p, struct role *r);

/* chan.c: what an answer of type APPLY_DONE, as ask_fn has it, says of its outcome: 0 or -errno. */
int
done_error(struct ipc_in *in, int err);

/* chan.c: asks the role apply; fn is called once, also when it dies or does not answer in time. 0
 * or -errno, and then fn is not called. */
int
ask_apply(struct parent *p, uint32_t type, const void *body, int fd, uint32_t want,
    uint64_t within, ask_fn *fn, void *arg);
void
asks_late(struct parent *p);
void
asks_drop(struct parent *p, const void *arg);
/* Whether `arg` waits for an answer. */
bool
asks_wait(const struct parent *p, const void *arg);
int
on_apply(sd_event_source *s, int fd, uint32_t events, void *arg);
int
on_attempts(sd_event_source *s, int fd, uint32_t events, void *arg);
/* The role apply has ended: all who wait are told -ECONNRESET. */
void
asks_gone(struct parent *p);
/* The team of attempts. */
void
watch_begin(struct parent *p);

/* oom.c */
/* Opens what tells of want of memory: before the jail. */
void
oom_begin(struct parent *p);
/* Whether one of ours that ended by this signal was killed for want of memory. */
bool
oom_killed(struct parent *p, int sig);
/* The end of a sentence about a process that ended by this signal: ": memory ...", or what else is known, or "". */
const char *
oom_words(struct parent *p, int sig);
/* The role apply was: it is to be started again. */
void
oom_fell(struct parent *p);
/* The channel of the role apply has closed. */
void
apply_gone(struct parent *p);

/* team.c */
int
on_starter(sd_event_source *s, int fd, uint32_t events, void *arg);
/* The starter of another unit connects. */
int
on_apart(sd_event_source *s, int fd, uint32_t events, void *arg);
/* A listening socket of the loopback. 0 and *fd, or -errno. */
int
starter_bind(struct parent *p, const char *address, uint32_t port, int *fd);
/* Starts the role with copies of these descriptors from 3 on. 0 or -errno. */
int
starter_role(struct parent *p, const struct team *t, struct role *r, const struct start_role *w, const int *fd, uint32_t nfd);
void
role_close(struct role *r);
/* One of it has gone: all end, and are started again in a while. */
void
team_fell(struct parent *p, struct team *t);
/* Its roles were told to end: those left after `within` microseconds are killed. */
void
team_stop(struct parent *p, struct team *t, uint64_t within);
void
team_tick(struct parent *p, struct team *t);
/* Waits for their end, until then, and kills those left. */
void
team_wait(struct parent *p, struct team *t, uint64_t until);

/* mail.c */
void
mail_begin(struct parent *p);
/* A listening socket that the service manager gave. */
void
mail_given(struct parent *p, int fd);
/* Another policy is in force, or the same again: credentials are read anew. */
void
mail_follow(struct parent *p);
void
mail_tick(struct parent *p);
void
mail_end(struct parent *p);
/* Reads a credential's file, which nobody else may read. A sealed memory file or -1 with why. */
int
mail_credential_open(struct parent *p, const char *name, char *why, size_t room);
/* Asks a mail role; fn is called once. 0 or -errno, and then fn is not called. */
int
ask_mail(struct parent *p, struct role *r, uint32_t type, const void *body, uint32_t want, uint64_t within,
    ask_fn *fn, void *arg);
void
mail_asks_drop(struct parent *p, const void *arg);

/* numbers.c: how the mail roles do, in words and figures */
typedef void numbers_fn(void *arg);
/* Asks the roles; fn is called once. */
void
mail_numbers(struct parent *p, numbers_fn *fn, void *arg);
void
mail_numbers_forget(struct parent *p);
void
mail_words(struct op *o);
void
mail_json(struct parent *p, struct buf *b);
void
mail_metrics(struct parent *p, struct buf *b);
/* Whether mail is to be taken and is. */
bool
mail_well(const struct parent *p);

/* job.c: a child of the spawner. Descriptors are copied. 0 or -errno, and then fn is not
 * called. */
int
job_start(struct parent *p, uint32_t type, uint32_t ask, const struct ipc_shape *s, const void *body,
    const int *fd, uint32_t nfd, uint32_t want, job_fn *fn, void *arg);
/* Nobody wants the answers that `arg` waits for any more: fn is not called. Whether there was one. */
bool
jobs_drop(struct parent *p, const void *arg);
int
on_spawner(sd_event_source *s, int fd, uint32_t events, void *arg);

/* client.c */
int
on_control(sd_event_source *s, int fd, uint32_t events, void *arg);
void
client_say(struct client *c, uint32_t type, const char *bytes, size_t n);
void
client_end(struct client *c, uint32_t status);
/* Hands it a sealed memory file, to be printed. 0 or -errno. */
int
client_file(struct client *c, int fd);
void
clients_late(struct parent *p);
void
clients_free(struct parent *p);

/* op.c */
extern const struct op_row op_table[OP_NOP];

/* Begins an operation that nobody asked for over the socket; NULL without memory, or where another
 * one changes already. */
struct op *
op_own(struct parent *p, uint32_t kind);
struct op *
op_new(struct parent *p, uint32_t kind);
void
op_begin(struct op *o);
void
op_out(struct op *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void
op_err(struct op *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void
op_text(struct op *o, const char *bytes, size_t n);
/* Its client has gone: what only looks is given up where it waits, what changes goes on. o may be gone. */
void
op_forsaken(struct op *o);
/* Ends it; o is gone. */
void
op_end(struct op *o, uint32_t status);
void
op_fail(struct op *o, uint32_t status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* step.c: steps; each ends in then(o), or in the end of the operation. */
void
op_compile(struct op *o, op_fn *then);
void
op_names(struct op *o, op_fn *then);
void
op_record(struct op *o, op_fn *then);
void
op_compare(struct op *o, op_fn *then);
void
op_put(struct op *o, op_fn *then);
void
op_take_down(struct op *o, op_fn *then);
void
op_check(struct op *o, op_fn *then);
/* Puts in force again what is to be, as at a start: what the role apply has done is not known. */
void
op_settle(struct parent *p);
const char *
ask_error(int err);
/* Loads the plan and the bundle of a generation into o. 0; -EUCLEAN: the bundle, for the plan is damaged;
 * or -errno. */
int
op_load(struct op *o, enum state_kind k, uint32_t n);
/* Compiles the plan of a generation from the bundle in o, for its point; o->why tells why not. */
void
op_again(struct op *o, op_fn *then);
/* fetch.c: loads generation o->target; where its plan cannot be read, makes it again from its text; where that
 * cannot be either, takes the newest good one before. o->target is 0 in the end where there is none. */
void
op_fetch(struct op *o, op_fn *ready);
/* After op_put(): goes on so where the role apply cannot read the plan. Whether it does. */
bool
op_unreadable(struct op *o);
/* What is wrong with something of the state, for people. */
const char *
state_error(int err);
const char *
hex_of(const uint8_t *digest, char out[17]);

/* put.c: what changes */
void
run_apply(struct op *o);
void
run_confirm(struct op *o);
void
run_rollback(struct op *o);
void
run_revert(struct op *o);
void
run_block(struct op *o);
void
run_unblock(struct op *o);
void
run_pause(struct op *o);
void
run_remove(struct op *o);
/* "generation 3 is", or "no rules are" for 0. */
char *
generation_text(uint32_t n, char out[32]);
/* Whether a generation was in force and was not taken back: one to go back to. */
bool
was_good(struct parent *p, uint32_t n);
/* The one in force from now on. */
void
force_set(struct parent *p, uint32_t number, struct state_about *about);
void
revert_arm(struct parent *p);

/* boot.c */
void
run_boot(struct op *o);
/* Tries a boot that failed once more, where its time has come and nothing else is being done. */
void
boot_try(struct parent *p);
void
blocks_send(struct parent *p);
void
blocks_load(struct parent *p);
/* Ends those whose time is up; the role apply is told, whatever it thinks of the time. */
void
blocks_expire(struct parent *p);
/* Writes the address as everything else does. false: it is none, and why. */
bool
block_address(char address[64], const char **why);
uint64_t
block_until(const struct state_block *b);
void
parent_ready(struct parent *p);

/* look.c: what only looks */
void
run_status(struct op *o);
void
run_plan(struct op *o);
void
run_drift(struct op *o);
void
run_attempts(struct op *o);
void
run_history(struct op *o);
void
run_metrics(struct op *o);
void
run_check(struct op *o);
void
run_queue(struct op *o);
/* doctor.c */
void
run_doctor(struct op *o);
void
when_text(uint64_t us, char out[32]);
/* status.c: whether what is in force is for another point than the agent was started for. */
bool
other_point(const struct parent *p);

/* report.c */
void
report_event(struct parent *p, struct ipc_in *in);
void
report_attempt(struct parent *p, const struct attempts_one *a);
void
report_untold(struct parent *p, const struct attempts_lost *l);
/* Packets that were refused and told. */
uint64_t
report_packets(const struct parent *p);
void
run_foreign(struct op *o);
void
run_drifted(struct op *o);
void
foreign_soon(struct parent *p, uint64_t us);
/* What was told and not healed is made good by this generation, which was put in force over it. */
void
reports_mended(struct parent *p, uint32_t generation);
void
reports_free(struct parent *p);

/* names.c */
/* Sets the numbers of the units; whether any is another now. */
bool
units_look(struct parent *p, struct state_about *a);
void
names_tick(struct parent *p);

/* metrics.c */
typedef void metrics_fn(void *arg, const char *text, size_t n);
void
metrics_ask(struct parent *p, metrics_fn *fn, void *arg);
void
metrics_text(struct parent *p, struct buf *b);

/* serve.c */
int
on_metrics(sd_event_source *s, int fd, uint32_t events, void *arg);
void
textfile_write(struct parent *p);

/* notify.c */
void
notify_ready(struct parent *p);
void
notify_status(struct parent *p);
void
notify_stopping(void);
void
notify_watch(struct parent *p);

#endif
