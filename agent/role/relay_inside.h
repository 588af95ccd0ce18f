/*
 * relay: the role relay, in parts. Private to the files relay*.c.
 *
 *   relay.c          the jail, the loop, the two channels
 *   relay_book.c     the policy's relays, as much as is needed here; credentials
 *   relay_lane.c     which message goes next, when to connect, when not to; how a relay does
 *   relay_claim.c    one claim: its recipients' fates, its content, its result
 *   relay_conn.c     one connection: name, addresses, TCP, TLS, bytes
 *   relay_session.c  what happens on a connection: SMTP and AUTH
 *   relay_probe.c    doctor: connections that carry no mail
 *   relay_found.c    what they found, in words
 *
 * A claim waits in a lane (a relay, and who we are there) until a connection of that lane takes
 * it. A connection that fails before its first message tries the next address, then the next
 * endpoint; when all have failed, what waits in the lane is given back with the reason.
 */
#ifndef ROLE_RELAY_INSIDE_H
#define ROLE_RELAY_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "dns/dns.h"
#include "ipc/doctor.h"
#include "ipc/ipc.h"
#include "ipc/mail.h"
#include "ipc/relay.h"
#include "policy/policy.h"
#include "role/role.h"
#include "sasl/sasl.h"
#include "smtp/client.h"
#include "smtp/mime.h"
#include "tls/tls.h"

struct arena;
struct pollfd;

enum {
	RELAY_MOST_CONNS = 40,     /* in all; then idle ones of others make place */
	RELAY_CONNS_EACH = 32,     /* to one relay, where the policy says nothing; */
	RELAY_CONNS_FAR = 36,      /* to one that is far: a message takes a round trip of a connection. One that lets us
	                              have less is asked for no more (limit); one that hangs leaves some to others */
	RELAY_MOST_CLAIMS = 512,   /* that wait or travel; each holds a descriptor */
	RELAY_MOST_ASKED = 128,    /* names of RELAY_RESOLVE */
	RELAY_MOST_CREDENTIALS = 4096,
	RELAY_MOST_LANES = 1024,
	RELAY_DIAL_FIRST = 2,      /* connections being made to a relay that is not known to be well, */
	RELAY_DIAL_MORE = 16,      /* and to one that is */
	RELAY_NEXT_ADDRESS_MS = 3000, /* then the next address is tried beside */
	RELAY_CONNECT_MS = 30000,
	RELAY_GREETING_MS = 30000, /* to greet and agree, where there is another endpoint; else RFC 5321's */
	RELAY_IDLE_MS = 15000,
	RELAY_MESSAGES = 1000,     /* of a connection, where the policy says nothing */
	RELAY_SECONDS = 300,
	RELAY_FAR_MS = 10,         /* a relay that takes so long to greet and to say EHLO is far away, or slow */
	RELAY_WAITED_MS = 300,     /* one that waits so long is worth a connection of its own */
	RELAY_BACK_MS = 1000,      /* an endpoint that failed is left alone so long, then twice ... */
	RELAY_BACK_MOST_MS = 30000,
	RELAY_LIMIT_MS = 5000,     /* a relay that refused one connection more is asked for no more so long */
	RELAY_AUTH_BACK_MS = 5000, /* a credential that was refused: accounts get locked */
	RELAY_AUTH_BACK_MOST_MS = 60000,
	RELAY_CLEAR_MS = 3600000,  /* `tls: none`, and its TLS failed: in clear for so long */
	RELAY_CONTEXT_MS = 60000,  /* without a connection: then TLS's roots are given up */
	RELAY_STOP_MS = 8000,
	RELAY_STATE_MS = 1000,     /* a number of connections is told no more often */
	RELAY_TRIES = 3,           /* of a claim whose connection was lost before its content's end */
	RELAY_WORDS = 512,         /* bytes of a reason */
	RELAY_RAW = 16 << 10,      /* bytes read at once */
	RELAY_RUN = 64 << 10,      /* of a content */
	RELAY_TURN = 1 << 20,      /* sent before others have their turn */
	RELAY_PROBES = 24,         /* connections of a probe at a time, beside those for mail */
	RELAY_PROBE_MS = 10000,    /* that each may take */
	RELAY_PROBE_SENDERS = 8,   /* that are asked of a relay */
	RELAY_PROBE_CREDENTIALS = 8,
	RELAY_PROBE_RELAYS = 64,
	RELAY_PROBE_OWN = 8,       /* addresses of ours that are looked up */
};

/* ---- the policy's relays ------------------------------------------------------- */

struct relay_endpoint {
	uint16_t port;
	enum policy_tls tls;
	uint64_t back;             /* not before, ms */
	unsigned fails;
	uint64_t clear;            /* until then without the TLS that is not required */
	bool alarm, held;          /* of its last failure; mean something while it fails */
	char why[RELAY_WORDS];
};

/* What became of an attempt, for the claims that waited for it. */
struct relay_cause {
	enum relay_fate fate;      /* DEFERRED or HELD */
	bool alarm;
	unsigned code;             /* of a reply; 0: none */
	char text[RELAY_WORDS];
};

/* A relay. Lives until the book drops it and its last lane has gone. */
struct relay_dest {
	struct relay_dest *next;
	struct arena *a;           /* owns itself and its texts */
	const char *name, *host, *form; /* form: its definition, to be compared */
	bool literal;
	struct addr address;
	struct addr_set ranges;
	struct relay_endpoint *endpoint;
	unsigned nendpoint;
	unsigned tls_minimum;
	const char *ciphers, *ca;
	const char **pinned;
	size_t npinned;
	enum policy_auth auth;
	const char *credential;
	unsigned most_conns;       /* 0: the policy says nothing */
	uint64_t most_messages, most_ms;
	/* how it does */
	bool gone;                 /* the policy has it no more */
	struct tls_context *tls;   /* made with the first connection */
	uint64_t used;             /* when the last connection ended */
	unsigned nlane, nconn, ndial; /* connections; those not yet ready */
	unsigned limit;            /* that the relay lets us have: less after it refused one */
	uint64_t limit_until;
	struct relay_cause cause;  /* the last failure */
	bool known, well, alarm;   /* known: there was an attempt */
	bool far;                  /* so its last connection found */
	char text[RELAY_WORDS];
	bool apart;                /* a probe's own copy: how it does is nobody's business */
	bool dirty;                /* to be told */
	unsigned told_conns;
	uint64_t told;
};

/* An application with a credential of its own at a relay. */
struct relay_app {
	const char *name, *relay, *credential;
};

/* A registered sender, or one that stands for those of its pattern. */
struct relay_sender {
	const char *application, *envelope;
	const char *header;        /* the From field where it is another; NULL */
	bool pattern;              /* the policy registers all of a domain */
};

/* Where an application may send from. */
struct relay_place {
	const char *application, *name;
	enum policy_identity identity;
	struct addr_set set;       /* CIDR */
	const char *host;          /* HOSTNAME */
	bool registered;           /* its address has to be in DNS */
};

/* What the policy says of a relay that no connection needs to know: doctor does. */
struct relay_want {
	const char *name;
	struct policy_size size;
	bool everybody;            /* who may reach it: anybody; else */
	struct addr_set clients;
	struct relay_sender sender[RELAY_PROBE_SENDERS];
	size_t nsender;
	struct relay_place *place;
	size_t nplace;
};

struct relay_book {
	struct arena *a;           /* owns the rest */
	struct relay_app *app;
	size_t napp;
	struct relay_want *want;
	size_t nwant;
};

struct relay_cred {
	struct relay_cred *next;
	unsigned refs;             /* the list's, sessions' */
	char *name;
	struct sasl_credential *c; /* NULL: PEM, or none */
	int pem;                   /* a memory file; -1: none */
	char why[RELAY_WORDS];     /* there is none: why */
};

/* A relay and who we are there. */
struct relay_lane {
	struct relay_lane *next;
	struct relay_dest *dest;
	char *credential;          /* its name; NULL: nobody */
	struct relay_claim *first, **last; /* waiting */
	unsigned nwaiting, nconn, ndial;
	struct tls_context *tls;   /* with our certificate, where that says who we are; else the relay's */
	uint64_t back;             /* AUTH was refused: not before */
	unsigned fails;
	bool proved;               /* a session by it went live */
	struct relay_cause cause;
};

/* ---- claims ---------------------------------------------------------------------- */

struct relay_one {                 /* of a recipient */
	bool settled, good;        /* good: RCPT was taken in this round */
	unsigned fate, code;
	size_t text;               /* where it begins in the claim's words */
};

enum relay_claim_at { CLAIM_WAITS, CLAIM_TRAVELS, CLAIM_OVER };

struct relay_claim {
	struct relay_claim *next;  /* in a lane, or among those to be told */
	struct relay_lane *lane;
	struct relay_conn *conn;   /* TRAVELS */
	enum relay_claim_at at;
	struct ipc_in in;          /* owns what s points to */
	const struct relay_send *s;
	int fd;
	uint64_t since;
	unsigned tries, rounds;
	struct relay_one *one;     /* of each recipient */
	struct buf words;          /* their texts, each with its NUL */
	bool canceled;             /* its result was told; it must not reach its end */
	bool ended;                /* the end of its content was handed over */
	/* a round */
	struct smtp_client_message m;
	struct smtp_client_rcpt *rcpt;
	uint32_t *which;           /* of each in rcpt: its number in one */
	unsigned ngood;
	unsigned code;             /* of the last reply to MAIL, DATA or the dot */
	char text[RELAY_WORDS];
	uint64_t off;              /* content handed over so far */
	struct smtp_seven *seven;  /* it is being converted */
	bool seven_over;
	struct buf bits;           /* converted, not yet handed over */
	size_t bits_at;
	/* its result */
	bool connected, busy, doubt, dsn, told_canceled;
	char peer[80], tls[16], cipher[64];
};

/* ---- connections ------------------------------------------------------------------ */

enum relay_conn_at {
	CONN_NAME,                 /* its name is asked */
	CONN_TCP,                  /* addresses are tried */
	CONN_SHAKE,                /* implicit TLS */
	CONN_OPEN,                 /* greeting to READY */
	CONN_LIVE,
	CONN_LEAVES,               /* QUIT */
	CONN_DEAD,                 /* to be freed */
};

struct relay_conn {
	struct relay_conn *next;
	struct relay *r;
	struct relay_lane *lane;   /* NULL: the conn was left behind (the policy changed): leaves */
	struct relay_try *probe;   /* whose it is; NULL: it is for mail */
	enum relay_conn_at at;
	unsigned endpoint;
	bool no_weaker;            /* TLS failed: no endpoint without it (no silent fall-back) */
	bool clear;                /* this time without the TLS that is not required */
	bool asked, answered;
	struct dns_answer names;
	struct sockaddr_storage address[DNS_MOST_ADDRESSES];
	unsigned naddress, next_address;
	struct { int fd; unsigned address; } try[DNS_MOST_ADDRESSES];
	unsigned ntry;
	int last_err;
	uint64_t next_try, limit;  /* times; 0 none */
	int fd;
	char peer[80], host[256];
	struct smtp_client *c;
	struct tls *tls;
	struct sasl *sasl;
	struct relay_cred *cred;
	bool proved;
	uint64_t born, used;
	uint64_t messages;
	bool took;                 /* the relay has taken one of them */
	bool outside;              /* some of its addresses are outside the ranges */
	bool eof, cut;             /* cut: we gave the session up on purpose, */
	char why[RELAY_WORDS];     /* for this reason */
	struct relay_claim *claim[2];
	unsigned nclaim;
	size_t raw_at, raw_n, in_at, in_n;
	short wait;                /* poll(2) events */
	bool again;                /* it has more to do, at once */
	char raw[RELAY_RAW], in[RELAY_RAW]; /* as they came; as plain text */
};

/* A question of RELAY_RESOLVE. */
struct relay_name_asked {
	struct relay *r;
	struct relay_name_asked *next;
	uint64_t token;
	enum dns_kind asks;
	bool waits, over;          /* for dns; answered: to be told */
	enum relay_name answer;
	char domain[256];
};

/* Since the role began. */
struct relay_count {
	uint64_t live, failed;     /* connections that became ready for mail, or did not */
	uint64_t sent, refused, lost; /* messages: taken to their end by the relay, not taken, cut off */
};

/* ---- probes ------------------------------------------------------------------------ */

/* How far a try came. */
enum relay_step {
	STEP_NAME,                 /* the name was asked */
	STEP_TCP,                  /* addresses are tried */
	STEP_SHAKE,                /* implicit TLS */
	STEP_TALK,                 /* from the greeting to READY */
	STEP_LIVE,                 /* all that was to be agreed on was */
};

struct relay_answer {
	unsigned code;             /* 0: none */
	char text[200];
};

/* One connection of a probe. */
struct relay_try {
	struct relay_check *of;
	struct relay_lane *lane;
	unsigned endpoint;
	bool full;                 /* AUTH and senders too; else it leaves after EHLO */
	bool begun, over, late;
	uint64_t until, began, tcp; /* ms; tcp: when it was connected */
	struct relay_conn *conn;   /* NULL: none (any more) */
	/* what it found */
	enum relay_step step;
	bool failed;
	char why[RELAY_WORDS];     /* failed */
	enum smtp_stage stage;     /* failed at TALK: where, */
	enum smtp_client_why what; /* and what */
	int err;                   /* failed at TCP: errno */
	struct relay_answer reply; /* failed: the one that was the cause */
	char peer[80];
	struct sockaddr_storage local; /* ours; AF_UNSPEC: not known */
	bool spoke, tls_begun, tls_over; /* a greeting came; TLS was tried; and stood */
	bool clear_offered;        /* without TLS, which would have been there */
	enum tls_fault fault;
	char tls_why[TLS_MOST_WHY], version[16], cipher[64];
	struct tls_peer cert;
	char greeting[RELAY_WORDS], hello[RELAY_WORDS]; /* the first lines */
	struct smtp_capable can;
	char mechanism[32];        /* of AUTH */
	struct relay_answer auth;
	size_t sender;             /* the next to be asked */
	struct relay_answer said[RELAY_PROBE_SENDERS];
	struct smtp_client_message m;
};

/* An address of ours that a relay sees, and what DNS says of it. */
struct relay_own {
	struct sockaddr_storage address;
	bool asked, answered, forward_asked;
	unsigned waits;            /* answers that are to come */
	struct dns_answer reverse;
	bool confirmed, not_now;   /* one of the names leads back; nobody could tell */
	struct relay *r;
};

struct relay_check {
	struct relay_dest dest;    /* our own copy, with endpoints of its own */
	const struct relay_want *want;
	struct relay_lane *lane;   /* the first is without a credential, or a certificate's */
	size_t nlane;
	struct relay_cause *unfit; /* of each lane; text "": none */
	struct relay_try *try;     /* of each endpoint; then of each lane with something to ask */
	size_t ntry, nfirst;
	bool second;               /* the second round has begun */
	unsigned good;             /* the endpoint of it; nendpoint: none is good */
	bool named;
	struct dns_answer names;
	size_t own;                /* of the probe's: the address that the relay sees, or ours; SIZE_MAX */
	bool seen;                 /* the relay told it */
};

struct relay_probe {
	uint32_t id;
	uint64_t until;
	struct relay_check *check;
	size_t ncheck, nopen;      /* nopen: those that were begun */
	unsigned nconn;
	struct relay_own own[RELAY_PROBE_OWN];
	size_t nown;
};

/* What could not be taken for want of memory, until a moment later. */
struct relay_late {
	uint64_t until;            /* monotonic ms; 0: nothing waits */
	struct ipc_in in;          /* empty: it is still in the channel */
};

struct relay {
	const struct role_relay *opt;
	struct dns *dns;
	uint64_t now;
	char host[256];            /* for EHLO; "": the socket's own address */
	bool have_policy, stopping, gone, parent_gone;
	struct relay_late late_queue, late_parent;
	bool moved;                /* a claim was put into a lane since the lanes had their turn */
	uint64_t stop_at;
	struct relay_dest *dest;
	struct relay_book book;
	struct relay_cred *cred;
	unsigned ncred;
	struct relay_lane *lane;
	unsigned nlane;
	struct relay_conn *conn;
	unsigned nconn;
	struct relay_claim *over, **over_last; /* to be told */
	unsigned nclaim, nover;
	struct relay_name_asked *asked;
	unsigned nasked;
	struct relay_count count;
	struct relay_probe *probe; /* NULL: none is under way */
	char run[RELAY_RUN];
};

/* ---- relay_book.c ------------------------------------------------------------------- */

/* Goes over to the policy in a sealed bundle: relays that are as they were keep their
 * connections. 0, or -errno with why. */
int
relay_book_read(struct relay *r, int fd, char why[RELAY_WORDS]);

void
relay_book_free(struct relay *r);

/* Takes a credential, or that there is none; it is wiped with the policy that names it no more. 0, or -errno with why, without a secret. */
int
relay_cred_take(struct relay *r, const struct mail_credential *m, int fd, char why[RELAY_WORDS]);

/* People say that what failed is mended: the relay of that name ("": all) is tried at once. */
void
relay_again(struct relay *r, const char *name);

/* The credential of that name; NULL: never told. */
struct relay_cred *
relay_cred_find(const struct relay *r, const char *name);

struct relay_cred *
relay_cred_free(struct relay_cred *c);

struct relay_dest *
relay_dest_free(struct relay_dest *d);

struct relay_dest *
relay_dest_find(const struct relay *r, const char *name);

/* Whose credential the claim's recipients with AUTH need at this relay; NULL: none. */
const char *
relay_credential_of(const struct relay *r, const struct relay_dest *d, const char *application);

/* ---- relay_lane.c ---------------------------------------------------------------------- */

/* Puts a claim into the lane that its next recipients need; front: before all others. */
void
relay_lane_put(struct relay *r, struct relay_claim *c, bool front);

/* The next claim of the lane, taken out of it; NULL: none. */
struct relay_claim *
relay_lane_next(struct relay_lane *l);

/* Takes a waiting claim out. */
void
relay_lane_drop(struct relay_claim *c);

/* Connects where it is worth it, gives back what cannot go. */
void
relay_lanes_run(struct relay *r);

/* When relay_lanes_run() has work again; UINT64_MAX. */
uint64_t
relay_lanes_deadline(const struct relay *r);

/* Frees lanes that nobody needs, all of them at the end. */
void
relay_lanes_sweep(struct relay *r, bool all);

/* All that waits in the lane is given back for that cause. */
void
relay_lane_fail(struct relay *r, struct relay_lane *l, const struct relay_cause *cause);

/* A credential has changed: lanes that have it try again, with new connections. */
void
relay_lanes_renew(struct relay *r, const char *credential);

/* An endpoint can be used now. */
bool
relay_endpoint_free(const struct relay *r, const struct relay_endpoint *e);
void
relay_endpoint_failed(struct relay *r, struct relay_endpoint *e);

/* What the lane needs before anybody is connected to: a credential, a context. False, and why. */
bool
relay_lane_fit(struct relay *r, struct relay_lane *l, struct relay_cause *why);

/* How a relay does. text "": well. */
void
relay_dest_state(struct relay_dest *d, bool well, bool alarm, const char *text);

/* ---- relay_claim.c ---------------------------------------------------------------------- */

/* A claim of the message, which it takes over. fd: content. 0 and *claim; -ENOMEM or, where it is none, -EBADMSG: the
 * message stays the caller's. */
int
relay_claim_new(struct relay *r, struct ipc_in *in, struct relay_claim **claim);

struct relay_claim *
relay_claim_free(struct relay_claim *c);

/* Settles all recipients that are not and makes it one to be told. */
void
relay_claim_over(struct relay *r, struct relay_claim *c, unsigned fate, unsigned code,
    const char *text);

/* Settles one recipient, once. */
void
relay_claim_settle(struct relay_claim *c, uint32_t i, unsigned fate, unsigned code,
    const char *text);

/* The number of the first recipient that is not settled; nrcpt: none. */
uint32_t
relay_claim_open(const struct relay_claim *c);

/* Forms the next round for a relay that can do that. */
void
relay_claim_form(struct relay_claim *c, const struct smtp_capable *can);

/* What a relay's reply means for a recipient. */
unsigned
relay_fate_of_code(unsigned code);

/* Whether the content can be made seven bits; looks through it once. NULL, or why not. */
const char *
relay_claim_seven(struct relay *r, struct relay_claim *c);

/* Hands over content until the session takes no more or it ends. 0, or -errno (-EIO: the file is shorter
 * than was said). */
int
relay_claim_content(struct relay *r, struct relay_claim *c, struct smtp_client *s);

/* Tells results and answers, as many as the channel takes. */
void
relay_tell(struct relay *r);

/* ---- relay_conn.c ----------------------------------------------------------------------- */

/* Begins a connection of the lane at the endpoint, for mail or for the probe's try; false without memory. */
bool
relay_conn_begin(struct relay *r, struct relay_lane *l, unsigned endpoint, struct relay_try *probe);

/* The address of a socket's name; IPv4 in IPv6 is IPv4. */
struct addr
relay_addr_of(const struct sockaddr_storage *s);

/* Fills in what it waits for; gives how many entries. */
unsigned
relay_conn_wait(const struct relay_conn *c, struct pollfd *p);

/* Its turn; p: what relay_conn_wait() filled, or none. */
void
relay_conn_turn(struct relay_conn *c, const struct pollfd *p, unsigned n);

uint64_t
relay_conn_deadline(const struct relay_conn *c);

/* It has failed before it was live: the next address, the next endpoint, or the end of the attempt. */
void
relay_conn_failed(struct relay_conn *c, const struct relay_cause *cause, bool tls);

void
relay_conn_dead(struct relay_conn *c);
void
relay_conns_sweep(struct relay *r, bool all);

/* ---- relay_session.c --------------------------------------------------------------------- */

/* TCP, and implicit TLS, stand: begins to speak. */
void
relay_session_begin(struct relay_conn *c);

/* Sees to all events that stand. */
void
relay_session_run(struct relay_conn *c);

/* QUIT, when it is time. */
void
relay_session_leave(struct relay_conn *c);

/* Whether it could take a message now. */
bool
relay_session_ready(const struct relay_conn *c);

/* ---- relay_probe.c ------------------------------------------------------------------------ */

/* Begins to look at the relays, for the message of that number. 0, or -errno with why. */
int
relay_probe_begin(struct relay *r, const struct mail_probe *m, uint32_t id, char why[RELAY_WORDS]);

/* Takes what came, goes on; tells the findings when all is over. */
void
relay_probe_run(struct relay *r);
uint64_t
relay_probe_deadline(const struct relay *r);

/* Ends it now, with what is known; silent: without an answer. */
void
relay_probe_end(struct relay *r, bool silent);

/* What happens to the probe's connection: its name is known; TCP stands; a reply; it could take a message (false: it
 * leaves); a message was answered; it failed, `e` in the session; it is dead; its time is up (true). */
void
relay_probe_named(struct relay_conn *c);
void
relay_probe_connected(struct relay_conn *c);
void
relay_probe_reply(struct relay_conn *c, const struct smtp_client_event *e);
bool
relay_probe_ready(struct relay_conn *c);
void
relay_probe_failed(struct relay_conn *c, const struct smtp_client_event *e, const char *why);
void
relay_probe_gone(struct relay_conn *c);
bool
relay_probe_late(struct relay_conn *c);

/* ---- relay_found.c ------------------------------------------------------------------------ */

/* What a probe that is over has found. */
void
relay_found(const struct relay *r, const struct relay_probe *p, struct doctor_list *out);

#endif
