/*
 * server_inside: what the files of the server session share.
 */
#ifndef SMTP_SERVER_INSIDE_H
#define SMTP_SERVER_INSIDE_H

#include "base/buf.h"
#include "smtp/command.h"
#include "smtp/data.h"
#include "smtp/line.h"
#include "smtp/server.h"

enum server_at {
	AT_GREETING,
	AT_COMMAND,
	AT_AUTH_PLAIN,             /* 334 was said, the one response follows */
	AT_AUTH_USER, AT_AUTH_PASSWORD,
	AT_DATA,
	AT_CLOSED,
};

struct smtp_server {
	struct smtp_server_options o;
	enum server_at at;
	struct smtp_line line;
	struct smtp_command command;
	struct smtp_data data;
	struct smtp_server_event event;
	bool stands;               /* the event */
	bool closing;              /* CLOSE follows the event */
	enum smtp_server_why closing_why;
	bool shutdown, gone;
	struct buf out;
	size_t sent;               /* of out, taken by the peer */
	bool hold;                 /* out ends with a reply that the client has to see before it speaks */
	bool extended;
	char helo[256];
	bool authenticated;
	char user[256];
	bool mail;                 /* a transaction is open */
	bool utf8;
	unsigned rcpt, refused;    /* taken and refused so far */
	uint64_t limit;            /* octets of this message; 0: none */
	bool over;                 /* more than that came */
	unsigned errors, idle, messages;
	uint64_t since;            /* when we began to wait for what we wait for */
	uint64_t begun;            /* when DATA was answered */
	uint64_t block;            /* data.size at `since` */
	uint64_t wrote;            /* when the peer took output, or there was none before */
};

/* 552: more than `most` octets. */
void
server_too_large(struct smtp_server *s, uint64_t most);

/* Adds a reply; an error of syntax or order is counted where `count`. */
void
server_reply(struct smtp_server *s, unsigned code, const char *enhanced, const char *text);
/* The same of a refusal of ours, with whom to ask. */
void
server_no(struct smtp_server *s, unsigned code, const char *enhanced, const char *text);
void
server_error(struct smtp_server *s, unsigned code, const char *enhanced, const char *text);

/* The last word: a reply and the end. */
void
server_refuse(struct smtp_server *s, enum smtp_server_why why, unsigned code, const char *enhanced,
    const char *text);

/* An event stands; there was none. */
void
server_stand(struct smtp_server *s, enum smtp_server_event_is is);

/* RESET stands, where a transaction was open. */
void
server_reset(struct smtp_server *s, enum smtp_server_why why);

/* A whole line stands in s->line; `more`: input follows it. */
void
server_command(struct smtp_server *s, bool more);

/* Begins an AUTH exchange, or takes one more line of it. The line is overwritten. */
void
server_auth(struct smtp_server *s);
void
server_auth_line(struct smtp_server *s);

#endif
