/*
 * raw: a policy file as its keys say it, before any name is looked up. What the
 * rows of keys_*.c bind to; inside policy only.
 */
#ifndef POLICY_RAW_H
#define POLICY_RAW_H

#include "shape/shape.h"

/* What every statement and named thing may carry. */
struct raw_meta {
	struct shape_text name;    /* statements only */
	struct shape_text title, owner, contact, reason, ticket, source;
	struct shape_day since, until;
};

/* A place: a name, a literal, `any`; or a list of these. */
struct raw_where {
	struct shape_list items;   /* struct shape_text */
};

struct raw_network {
	struct shape_rec in;
	struct raw_meta meta;
	struct raw_where ranges, except;
	struct shape_list lists;   /* ranges-from: struct shape_text */
	struct shape_num families; /* enum addr_family */
};

struct raw_ports {
	struct shape_rec in;
	struct shape_list items;   /* struct shape_text: "25", "1024-2000", a name */
};

struct raw_endpoint {
	struct shape_rec in;
	struct shape_num port, tls;
};

struct raw_tls {
	struct shape_rec in;
	struct shape_num minimum;
	struct shape_list ciphers; /* struct shape_text */
	struct shape_text ca;
	struct shape_list names;   /* struct shape_text */
};

struct raw_auth {
	struct shape_rec in;
	struct shape_num word;     /* `none` */
	struct shape_text password, certificate;
	struct shape_list recipients; /* struct shape_text */
};

struct raw_accepts {
	struct shape_rec in;
	struct shape_list recipients; /* struct shape_text */
	struct shape_num size, un_encoded, senders;
};

struct raw_connections {
	struct shape_rec in;
	struct shape_num at_most, messages, age;
};

struct raw_mail_limit {
	struct shape_rec in;
	struct raw_meta meta;
	struct shape_num messages, recipients, bytes, connections;
	struct shape_text per;
	struct shape_num each, over;
	struct shape_list except;  /* struct shape_text */
};

struct raw_relay {
	struct shape_rec in;
	struct raw_meta meta;
	struct shape_num class;
	struct raw_where ranges, clients;
	struct shape_num families;
	struct shape_text host, host_reason;
	struct shape_list ports;   /* struct shape_text, also `all`, `endpoints` */
	struct shape_list endpoints; /* struct raw_endpoint */
	struct raw_tls tls;
	struct raw_auth auth;
	struct shape_num stored, registration;
	struct shape_list for_;    /* struct shape_text */
	struct raw_accepts accepts;
	struct raw_connections connections;
	struct shape_list limits;  /* struct raw_mail_limit */
};

/* Any statement of a judge; each kind has the keys it knows. */
struct raw_stmt {
	struct shape_rec in;
	struct raw_meta meta;
	struct raw_where from, to;
	struct shape_list ports;   /* struct shape_text */
	struct shape_list users, units; /* struct shape_text */
	struct shape_text relay;   /* an entry of `relays` */
	struct shape_num with, log;
	struct shape_num word, deny; /* otherwise */
};

struct raw_limit {
	struct shape_rec in;
	struct raw_meta meta;
	struct shape_num connections, each, over;
	struct shape_num per;
	struct raw_where to;       /* also `relays` */
};

struct raw_judge {
	struct shape_rec in;
	struct shape_list exempt, relays, block, roaming; /* struct raw_stmt */
	struct raw_stmt otherwise;
	struct shape_list limit;   /* struct raw_limit */
	struct shape_num only, capture;
};

struct raw_zone {
	struct shape_rec in;
	struct raw_meta meta;
	struct raw_where inside, internal;
	struct shape_num families;
	struct raw_judge judge[2]; /* by enum policy_dir */
};

struct raw_point {
	struct shape_rec in;
	struct raw_meta meta;
	struct shape_num kind, state, as, mode, containers;
	struct shape_list zones;   /* struct raw_zone */
	struct raw_judge judge[2];
};

struct raw_kind {
	struct shape_rec in;
	struct raw_meta meta;
	struct shape_num class;
	struct shape_list limits;
};

struct raw_route {
	struct shape_rec in;
	struct raw_meta meta;
	struct shape_list to;      /* struct shape_text */
	struct shape_text via;
};

struct raw_sender {
	struct shape_rec in;
	struct shape_text envelope, header;
};

struct raw_runs_as {
	struct shape_rec in;
	struct shape_text user, unit;
};

struct raw_location {
	struct shape_rec in;
	struct raw_meta meta;
	struct raw_where cidr;
	struct shape_text hostname, certificate;
	struct shape_num dns_registered;
};

struct raw_application {
	struct shape_rec in;
	struct raw_meta meta;
	struct shape_text kind;
	struct raw_runs_as runs_as;
	struct shape_list owners;  /* struct shape_text */
	struct shape_list senders; /* struct raw_sender */
	struct shape_text via, credential;
	struct shape_list limits;
	struct shape_num state;
	struct shape_list locations; /* struct raw_location */
	struct shape_num rate;
	struct shape_text arrangement, rewrite;
	struct shape_text group, contract, purpose, audience, account_type;
	struct shape_num registrant;
};

struct raw_unregistered {
	struct shape_rec in;
	struct shape_num word;
	struct shape_text via;
};

struct raw_checks {
	struct shape_rec in;
	struct shape_num sender_domain;
	struct shape_list mx_required, blocked_types; /* struct shape_text */
};

struct raw_submission {
	struct shape_rec in;
	struct raw_meta meta;
	struct shape_list listen;  /* struct shape_text */
	struct shape_num mode;
	struct shape_text user;
	struct shape_list routes;  /* struct raw_route */
	struct shape_list applications; /* struct raw_application */
	struct raw_unregistered unregistered;
	struct shape_list limits;
	struct shape_num unique_senders;
	struct raw_checks checks;
	struct shape_list internal; /* struct shape_text */
};

struct raw_send {
	struct shape_rec in;
	struct shape_text user, unit, application, from;
	struct shape_list header, to; /* struct shape_text */
	struct shape_num size;
};

struct raw_test {
	struct shape_rec in;
	struct raw_meta meta;
	struct shape_text at, probe;
	struct shape_day date;
	struct shape_text user, unit;
	struct shape_num direction;
	struct raw_send send;
	struct shape_text expect, relay;
};

struct raw_source {
	struct shape_rec in;
	struct shape_text text;
};

struct raw_file {
	struct shape_rec in;
	struct raw_meta meta;
	struct shape_num version;
	struct shape_text timezone;
	struct shape_list sources; /* struct raw_source */
	struct shape_list include; /* struct shape_text */
	struct shape_list networks, ports, relays, points, kinds;
	struct raw_submission submission;
	struct shape_list tests;
};

/* The rows, in keys_*.c. */
extern const struct shape_type policy_file_type;     /* struct raw_file */
extern const struct shape_type policy_included_type; /* struct raw_file */

extern const struct shape_type keys_stmt_meta;     /* REC to splice: name, title, ..., until */
extern const struct shape_type keys_named_meta;    /* title, ...; dates refused */
extern const struct shape_type keys_dated_meta;    /* title, ..., since, until */
extern const struct shape_type keys_undated_meta;  /* name, title, ...; dates refused */
extern const struct shape_type keys_text, keys_name, keys_credential, keys_yes, keys_families;
extern const struct shape_type keys_where, keys_where_any, keys_ports, keys_users, keys_units;
extern const struct shape_type keys_user, keys_unit, keys_class;
extern const struct shape_type keys_patterns, keys_sender, keys_host, keys_domains;
extern const struct shape_type keys_relays, keys_mail_limits;  /* values of `relays:`, `limits:` */
extern const struct shape_type keys_points, keys_submission, keys_kinds, keys_tests;

#endif
