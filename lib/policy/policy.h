/*
 * policy: the typed policy, resolved and checked.
 *
 * What a policy file says, with every name looked up, every include read,
 * every range list parsed, and every statement with its place. lib/flow (what
 * it means), lib/plan (what we ask of the kernel) and lib/mail (what happens
 * to a message) all start here, and from nothing else.
 *
 * Everything lives in the policy's arena. Lists are in the order of the file;
 * order never matters to the meaning.
 */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr/packet.h"
#include "addr/set.h"
#include "text/diag.h"
#include "text/text.h"

struct arena;

/* Seconds since 1970, [since, until): whole days of the policy's time zone. */
struct policy_days {
	uint64_t since;            /* 0: always was */
	uint64_t until;            /* UINT64_MAX: no end */
	struct text_span since_at, until_at;
};

#define POLICY_ALWAYS ((struct policy_days){.until = UINT64_MAX, \
	.since_at = TEXT_NO_SPAN, .until_at = TEXT_NO_SPAN})

/* What every statement and every named thing may carry. NULL: not given. */
struct policy_meta {
	struct text_span at;       /* the whole statement */
	const char *name;          /* for a statement: its own or a made one, unique in its judge */
	const char *title, *owner, *contact, *reason, *ticket, *source;
	struct policy_days days;
};

/* ---- networks, ports ------------------------------------------------- */

struct policy_network {
	struct policy_meta meta;
	unsigned families;         /* declared or found: mask of enum addr_family */
	struct addr_set set;
};

/* A place in a statement: from, to, inside, clients, ranges. */
struct policy_where {
	struct text_span at;
	bool any;                  /* said `anywhere` or `any`: set holds all addresses */
	const char *label;         /* "institution", "131.111.70.5", "a+b": for names and for people */
	const struct policy_network *network; /* when it is exactly one named network */
	struct addr_set set;
};

struct policy_ports {
	struct text_span at;
	const char *label;         /* "smtp", "roaming", "25,587" */
	struct port_set set;
};

/* ---- relays ---------------------------------------------------------- */

enum policy_class { POLICY_CLASS_ANY, POLICY_CLASS_PERSONAL, POLICY_CLASS_DEVICE };

enum policy_tls { POLICY_TLS_NONE, POLICY_TLS_STARTTLS, POLICY_TLS_IMPLICIT, POLICY_TLS_FORBIDDEN };

enum policy_auth { POLICY_AUTH_NONE, POLICY_AUTH_PASSWORD, POLICY_AUTH_CERTIFICATE };

struct policy_endpoint {
	struct text_span at;
	uint16_t port;
	enum policy_tls tls;
};

/* A mail address pattern. Domains are kept in lower case; A-labels where
 * the policy wrote U-labels is not done: they must be written as A-labels. */
enum policy_pattern_kind {
	POLICY_PATTERN_ANY,
	POLICY_PATTERN_DOMAIN,     /* "@example.org": exactly that domain */
	POLICY_PATTERN_BELOW,      /* "@*.example.org": below it, not itself */
	POLICY_PATTERN_LOCAL_ANY,  /* "*@example.org": as DOMAIN, for senders */
	POLICY_PATTERN_ADDRESS,    /* "a@example.org" */
	POLICY_PATTERN_NULL,       /* "<>": the null reverse path */
};

struct policy_pattern {
	struct text_span at;
	enum policy_pattern_kind kind;
	const char *local;         /* ADDRESS only; case kept */
	const char *domain;        /* NULL for ANY and NULL */
};

struct policy_patterns {
	struct policy_pattern *v;
	size_t n, cap;
};

/* A size limit: `up to` is inclusive, `below` is strict. */
struct policy_size {
	bool set;
	bool strict;
	uint64_t bytes;            /* a message of `bytes` passes unless strict */
	struct text_span at;
};

enum policy_window {               /* what a limit counts over */
	POLICY_PER_SECONDS,        /* a sliding window of `seconds` */
	POLICY_PER_MESSAGE,
	POLICY_PER_CONNECTION,
};

enum policy_count { POLICY_COUNT_CONNECTIONS, POLICY_COUNT_MESSAGES, POLICY_COUNT_RECIPIENTS, POLICY_COUNT_BYTES };

enum policy_each { POLICY_EACH_ALL, POLICY_EACH_SOURCE, POLICY_EACH_HOST, POLICY_EACH_APPLICATION, POLICY_EACH_SENDER, POLICY_EACH_RELAY };

enum policy_over { POLICY_OVER_WARN, POLICY_OVER_REFUSE, POLICY_OVER_DEFER, POLICY_OVER_DELAY,
	POLICY_OVER_LOG, POLICY_OVER_REJECT, POLICY_OVER_DROP };

struct policy_mail_limit {
	struct policy_meta meta;
	uint64_t most;
	enum policy_count count;
	enum policy_window window;
	uint64_t seconds;
	enum policy_each each;
	enum policy_over over;     /* WARN, REFUSE, DEFER, DELAY */
	struct policy_patterns except; /* recipients that are not counted */
};

struct policy_mail_limits {
	struct policy_mail_limit *v;
	size_t n, cap;
};

struct policy_relay {
	struct policy_meta meta;
	uint32_t index;            /* in policy->relay */
	enum policy_class class;
	struct policy_where ranges;
	unsigned families;
	struct policy_where clients;   /* who may reach it; any unless said */
	const char *host;          /* a name, or an address literal; NULL: firewall only */
	bool host_literal;
	struct addr host_addr;
	const char *host_reason;   /* why a literal (CAM-10) */
	bool ports_all;            /* `ports: all` */
	struct port_set ports;     /* what the ranges open, all ports when ports_all */
	struct policy_endpoint *endpoint; /* in order of preference */
	size_t nendpoint;
	unsigned tls_minimum;      /* 0 not said, else 12 or 13 */
	const char **cipher; size_t ncipher;
	const char *ca;            /* file or directory; NULL: the system's */
	const char **pinned; size_t npinned; /* names the certificate must bear */
	enum policy_auth auth;
	const char *credential;    /* its name; never a secret */
	struct policy_patterns auth_recipients; /* AUTH only for these; none: for all */
	bool stored_credentials;   /* false: `stored-credentials: forbidden` (COL-11, COL-12) */
	struct policy_patterns recipients; /* `accepts.recipients`; ANY in it: all */
	struct policy_size size;
	uint64_t advertised_raw;   /* un-encoded maximum told to users, bytes; 0 not said (CAM-20) */
	bool senders_registered;   /* accepts.senders: registered */
	bool registration;         /* registration: required */
	const char **for_class; size_t nfor_class; /* `for:` (COL-08) */
	struct policy_mail_limits limits;
	uint64_t most_connections, messages_per_connection, connection_seconds; /* 0: ours to choose */
};

/* ---- points: where rules run ----------------------------------------- */

enum policy_kind { POLICY_ROUTER, POLICY_HOST };
enum policy_state { POLICY_CONNTRACK, POLICY_SYN };
enum policy_as { POLICY_AS_BASE, POLICY_AS_CHAINS };
enum policy_dir { POLICY_OUTBOUND, POLICY_INBOUND, POLICY_NDIR };
enum policy_with { POLICY_REJECT, POLICY_DROP };

/* By precedence: the first class that matches decides. */
enum policy_stmt_kind {
	POLICY_EXEMPT,
	POLICY_RELAY,
	POLICY_BLOCK,
	POLICY_ROAMING,
	POLICY_OTHERWISE,
};

/*
 * One statement of a judge. What it matches, for a packet that the judge
 * sees (see struct policy_judge), always TCP:
 *
 * EXEMPT, BLOCK, ROAMING: src in from, dst in to, dport in ports.
 * RELAY outbound: dst in relay->ranges, dport in relay->ports, src in
 *     relay->clients; or src in relay->ranges (the relay stands inside: what
 *     it sends out), any TCP port.
 * RELAY inbound: src in relay->ranges, dport in relay->ports; or dst in
 *     relay->ranges (it stands inside), dport in relay->ports, src in
 *     relay->clients.
 *     In all four, when the statement has `ports` of its own (nports set),
 *     those stand in place of relay->ports (and of "any TCP port").
 * OTHERWISE: when `deny`: dport in ports (the mail ports); else nothing
 *     matches it, the packet is untouched.
 *
 * And, for every kind: the date in meta.days; user in users (any of them)
 * when nusers; unit in units when nunits. EXEMPT, RELAY, ROAMING allow;
 * BLOCK and OTHERWISE deny refuse.
 */
struct policy_stmt {
	struct policy_meta meta;
	uint32_t id;               /* index in policy->stmt: stable, in file order */
	enum policy_stmt_kind kind;
	const struct policy_point *point;
	const struct policy_zone *zone;
	enum policy_dir dir;
	struct policy_where from, to;
	struct policy_ports ports;
	bool own_ports;            /* RELAY: ports given in the statement */
	const struct policy_relay *relay;
	const char **user; size_t nuser;   /* names or decimal uids */
	const char **unit; size_t nunit;   /* cgroup paths below the root, "system.slice/apache2.service" */
	bool deny;                 /* OTHERWISE */
	enum policy_with with;     /* BLOCK, OTHERWISE deny */
	bool log;
};

/* A limit refines what the judge allowed; it stands outside the precedence. */
struct policy_limit {
	struct policy_meta meta;
	uint64_t most;             /* connections */
	uint64_t seconds;
	enum policy_each each;     /* SOURCE or ALL */
	bool to_relays;            /* said `relays`: the relays of this judge */
	struct policy_where to;    /* the union of the relays' ranges when to_relays */
	enum policy_over over;     /* LOG, REJECT, DROP */
};

/*
 * The rules of one zone in one direction. For a zone of a router it judges
 * the first packet of a connection (state: conntrack: neither established
 * nor related; state: syn: TCP with SYN alone) with
 *     outbound: src in zone->inside, dst not in zone->internal;
 *     inbound:  dst in zone->inside, src not in zone->internal.
 * For a host: outbound judges hook output (and forward, unless
 * `containers: untouched`), inbound judges hook input; loopback is not
 * judged; inside and internal are empty and not looked at.
 */
struct policy_judge {
	bool present;
	struct text_span at;
	enum policy_dir dir;
	const struct policy_zone *zone;
	struct policy_stmt **stmt; /* in the order of precedence, then of the file */
	size_t nstmt, capstmt;
	const struct policy_stmt *otherwise;
	struct policy_limit *limit;
	size_t nlimit, caplimit;
	bool capture;              /* host outbound: what is refused on port 25, sent by a
	                              local program as a new connection, is
	                              redirected to the forwarder */
	const char *forwarder;     /* with capture: the forwarder's own user, whose packets are
	                              refused and not redirected (to itself, for ever) */
	struct text_span capture_at;
};

struct policy_zone {
	struct policy_meta meta;   /* name: the zone's, or the point's for a host */
	const struct policy_point *point;
	struct policy_where inside;
	struct policy_where internal_said; /* `internal:`; empty when not given */
	struct addr_set internal;  /* inside and what `internal:` adds */
	struct policy_judge judge[POLICY_NDIR];
};

struct policy_point {
	struct policy_meta meta;
	uint32_t index;
	enum policy_kind kind;
	enum policy_state state;
	enum policy_as as;
	bool observe;              /* `mode: observe`: refuses nothing, logs and counts */
	bool containers;           /* host: the forward hook too (the default) */
	struct policy_zone **zone; /* a host has exactly one */
	size_t nzone, capzone;
};

/* ---- submission: what may a message do -------------------------------- */

struct policy_route {
	struct policy_meta meta;
	struct policy_patterns to;
	const struct policy_relay *via;
};

struct policy_sender_pair {
	struct text_span at;
	struct policy_pattern envelope;
	struct policy_pattern header;  /* as envelope when not given */
};

enum policy_identity { POLICY_ID_CIDR, POLICY_ID_HOSTNAME, POLICY_ID_CERTIFICATE };

struct policy_location {
	struct policy_meta meta;   /* name: campus, aws, azure, ... */
	enum policy_identity identity;
	struct addr_set cidr;
	const char *value;         /* host name or credential name */
	bool dns_registered;
};

enum policy_registration { POLICY_REGISTERED, POLICY_PENDING, POLICY_SUSPENDED };

struct policy_rate {               /* `kinds:`: the rate classes */
	struct policy_meta meta;
	struct policy_mail_limits limits;
	enum policy_class class;   /* what relays its applications may use; ANY */
};

struct policy_application {
	struct policy_meta meta;
	uint32_t index;
	const struct policy_rate *kind;
	const char *user, *unit;   /* runs-as; unit as in policy_stmt; NULL: any */
	const char **owners; size_t nowners;
	struct policy_sender_pair *sender;
	size_t nsender, capsender;
	const struct policy_relay *via; /* NULL: by route */
	struct text_span via_at;
	const char *credential;    /* its own at the relay `via`; NULL: the relay's */
	struct policy_mail_limits limits;
	enum policy_registration state;
	struct policy_location *location;
	size_t nlocation, caplocation;
	uint64_t declared_rate;    /* messages an hour; 0 not said (CAM-13) */
	const char *arrangement;   /* why a higher rate is fine */
	struct policy_pattern rewrite; /* sender that replaces an unregistered one (cron); kind ANY: none */
	const char *group, *contract, *purpose, *audience, *account_type, *registrant;
};

struct policy_submission {
	bool present;
	struct text_span at;
	struct addr *listen; size_t nlisten; /* loopback only; port 587 */
	bool through;              /* `mode: through`; else spool */
	const char *user;          /* the forwarder's own user, for `only: forwarder` */
	struct policy_route *route; size_t nroute, caproute;
	struct policy_application **application; size_t napplication, capapplication;
	bool unregistered_refuse;
	const struct policy_relay *unregistered_via; /* NULL: by route */
	struct policy_mail_limits limits;
	bool unique_senders;
	bool sender_domain_resolvable;
	const char **mx_required; size_t nmx_required;   /* domains and all below */
	const char **blocked_types; size_t nblocked_types; /* ".exe" */
	const char **internal; size_t ninternal;          /* see limits `except` */
};

/* ---- tests ------------------------------------------------------------ */

enum policy_expect { POLICY_EXPECT_ALLOW, POLICY_EXPECT_UNTOUCHED, POLICY_EXPECT_DENY,
	POLICY_EXPECT_REJECT, POLICY_EXPECT_DROP, POLICY_EXPECT_CAPTURE };

/* A message to be admitted, as tests and `explain` write it. */
struct policy_message {
	const char *user, *unit;   /* NULL: one that no application names */
	const char *application;   /* by name, in place of user and unit; NULL */
	const char *from;          /* envelope sender, "" for <> */
	const char **header; size_t nheader;   /* addresses of the From field */
	const char **to; size_t nto;
	uint64_t size;             /* bytes */
};

struct policy_test {
	struct policy_meta meta;
	bool send;                 /* a message, not a packet */
	const struct policy_point *point;
	const char *probe;         /* as written */
	struct packet packet;      /* date 0 */
	bool dated;
	uint64_t day_from, day_until; /* [from, until) when dated */
	enum policy_expect expect;
	struct policy_message message;
	const char *expect_code;   /* "250", "552", "550 5.7.1": a prefix of the reply */
	const char *expect_relay;  /* NULL or the relay's name */
};

/* ---- the whole --------------------------------------------------------- */

struct policy {
	struct arena *a;
	struct text_set *text;
	uint32_t file;             /* the main file's number in text */
	struct policy_meta meta;   /* name, title, contact of the policy */
	const char *timezone;
	struct policy_network **network; size_t nnetwork, capnetwork;
	struct policy_ports **ports; size_t nports, capports;   /* label is the name */
	struct policy_relay **relay; size_t nrelay, caprelay;
	struct policy_point **point; size_t npoint, cappoint;
	struct policy_stmt **stmt; size_t nstmt, capstmt;       /* all, by id */
	struct policy_rate **rate; size_t nrate, caprate;
	struct policy_submission submission;
	struct policy_test *test; size_t ntest, captest;
};

/* What the compiler asks of the world; policy itself touches no file, clock
 * or name. */
struct policy_world {
	void *arg;
	/* Reads the file `name` (relative to the folder of the policy's main
	 * file, never upwards out of it) into the arena; 0 or -errno;
	 * -EFBIG past `most` bytes. */
	int (*read)(void *arg, struct arena *a, const char *name, size_t most,
	    const char **bytes, size_t *len);
	/* The second at which the day y-m-d begins in the zone; 0, or -ENOENT for
	 * an unknown zone. */
	int (*day)(void *arg, const char *zone, int y, int m, int d, uint64_t *sec);
};

/* Reads and checks the policy whose text is `bytes` (called `name`). Gives
 * the policy, or NULL when d has errors. Warnings may be in d either way. */
struct policy *
policy_load(struct arena *a, struct text_set *t, const char *name,
    const char *bytes, size_t len, const struct policy_world *w, struct diags *d);

/* The point, relay, network of that name; NULL. */
const struct policy_point *
policy_point_find(const struct policy *p, const char *name);
const struct policy_relay *
policy_relay_find(const struct policy *p, const char *name);

/* "block", "relay ppsw", "exempt physics-mta", ...: a statement for people. */
const char *
policy_stmt_label(struct arena *a, const struct policy_stmt *s);

/* "reject", "2 outbound": words of the enums for printers; the same words
 * that the language uses. */
const char *policy_stmt_kind_word(enum policy_stmt_kind k);
const char *policy_dir_word(enum policy_dir d);
const char *policy_with_word(enum policy_with w);
const char *policy_tls_word(enum policy_tls t);
const char *policy_auth_word(enum policy_auth t);
const char *policy_class_word(enum policy_class c);
const char *policy_count_word(enum policy_count c);
const char *policy_each_word(enum policy_each e);
const char *policy_over_word(enum policy_over o);
const char *policy_expect_word(enum policy_expect e);
const char *policy_registration_word(enum policy_registration r);

#endif
