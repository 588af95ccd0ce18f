/*
 * client_inside: what the files of the client session share.
 */
#ifndef SMTP_CLIENT_INSIDE_H
#define SMTP_CLIENT_INSIDE_H

#include "base/buf.h"
#include "smtp/client.h"
#include "smtp/data.h"

enum {
	CLIENT_OUT_MOST = 256 * 1024,
	CLIENT_OUT_HIGH = 64 * 1024, /* with so much unsent, nothing more is written */
};

/* A message between its MAIL and its last reply. */
struct flight {
	const struct smtp_client_message *m;
	enum smtp_stage at;        /* which of its replies is awaited; CONTENT: none, it is being written */
	bool mail_said, data_said;
	size_t tried;              /* recipients that are named in this transaction */
	size_t named, answered, good;
	bool mail_good;
	bool ended;                /* its dot was written, */
	uint64_t dot;              /* so many bytes after the beginning */
	bool reset;                /* the relay may still have its transaction open */
	enum smtp_client_outcome outcome;
};

struct smtp_client {
	struct smtp_client_options o;
	enum smtp_stage at;        /* of the session; IDLE: what the messages in flight say */
	struct smtp_client_event event, content;
	bool stands, over;
	struct smtp_reply reply;
	bool unasked;              /* the reply that is read answers nothing */
	size_t awaited;            /* replies to commands written */
	uint64_t mark;             /* where the first of them began, in bytes written */
	uint64_t taken;            /* bytes of output that were sent */
	struct buf out;
	size_t sent;
	uint64_t since;
	struct smtp_capable capable;
	bool tls, authenticated, stale, quit;
	bool no_tls;               /* STARTTLS was refused, and need not be */
	uint32_t mails;
	struct flight flight[2];   /* in order of their replies */
	unsigned nflight;
	struct smtp_stuff stuff;
};

/* The connection is of no use any more; `reply`: because of the reply read. */
void
client_fail(struct smtp_client *c, enum smtp_client_why why, bool reply);

size_t
client_unsent(const struct smtp_client *c);

void
client_command(struct smtp_client *c, const struct buf *b, uint64_t now);

bool
client_pipelines(const struct smtp_client *c);

/* Writes what may be written now of the messages in flight. */
void
client_pump(struct smtp_client *c, uint64_t now);

/* The reply in c->reply belongs to flight[0], or to nothing. */
void
client_act(struct smtp_client *c, uint64_t now);

#endif
