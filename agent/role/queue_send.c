/* What is with the role relay, and how each relay does. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/log.h"
#include "mail/mail.h"
#include "role/queue_inside.h"

/* ---- sends ------------------------------------------------------------------------ */

static struct queue_send **
slot_of(struct queue *q, uint64_t claim)
{
	struct queue_send **at = &q->send_slot[claim % QUEUE_SLOTS];

	while (*at && (*at)->claim != claim)
		at = &(*at)->slot;
	return at;
}

static void
line_up(struct queue *q, struct queue_send *s)
{
	if (s->waits)
		return;
	s->waits = true;
	s->wait = NULL;
	*q->to_send_end = s;
	q->to_send_end = &s->wait;
}

/* How many of the recipients fit into one send. */
static uint32_t
fitting(const struct queue_parcel *p, const uint32_t *which, size_t n)
{
	size_t bytes = 0;
	uint32_t k = 0;

	for (; k < n && k < RELAY_MOST_RCPT; k++) {
		const struct spool_rcpt *r = &p->rcpt[which[k]];

		bytes += strlen(r->address) + (r->notify ? strlen(r->notify) : 0) +
		    (r->orcpt ? strlen(r->orcpt) : 0) + 32;
		if (k && bytes > QUEUE_SEND_BYTES)
			break;
	}
	return k;
}

int
queue_send_new(struct queue *q, struct queue_mail *m, struct queue_claim *c, const char *relay,
    const struct queue_parcel *p, const uint32_t *which, size_t n)
{
	struct queue_send **list = m ? &m->sends : &c->sends, *made = NULL;
	unsigned nmade = 0;

	while (n) {
		uint32_t k = fitting(p, which, n);
		struct queue_send *s = q->nsend + nmade < QUEUE_SENDS && nmade < QUEUE_PARTS ?
		    calloc(1, sizeof *s) : NULL;

		if (s)
			s->which = malloc(k * sizeof *which);
		if (!s || !s->which) {
			int err = q->nsend + nmade < QUEUE_SENDS && nmade < QUEUE_PARTS ? -ENOMEM : -EAGAIN;

			free(s);
			for (; made; made = s) {
				s = made->next;
				free(made->which);
				free(made);
			}
			return err;
		}
		memcpy(s->which, which, k * sizeof *which);
		s->n = k;
		s->mail = m;
		s->of = c;
		s->relay = relay;
		s->began = q->mono;
		s->next = made;
		made = s;
		nmade++;
		which += k;
		n -= k;
	}
	q->nsend += nmade;
	*(m ? &m->nopen : &c->nopen) += nmade;
	while (made) {
		struct queue_send *s = made;

		made = s->next;
		s->claim = ++q->next_claim;
		s->next = *list;
		*list = s;
		*slot_of(q, s->claim) = s;
		line_up(q, s);
	}
	return 0;
}

/* Out of the table and the line; it is not with the relay role any more. */
static void
unhook(struct queue *q, struct queue_send *s)
{
	struct queue_send **at = slot_of(q, s->claim);

	if (*at == s) {
		*at = s->slot;
		q->nsend--;
	}
	if (!s->waits)
		return;
	at = &q->to_send;
	while (*at != s)
		at = &(*at)->wait;
	*at = s->wait;
	if (!*at)
		q->to_send_end = at;
	s->waits = false;
}

static void
over(struct queue *q, struct queue_send *s)
{
	unhook(q, s);
	s->over = true;
	if (s->mail && !--s->mail->nopen)
		queue_mail_sent(q, s->mail);
	else if (s->of && !--s->of->nopen)
		queue_claim_sent(q, s->of);
}

void
queue_send_cancel(struct queue *q, struct queue_send *s)
{
	if (s->over || s->cancel)
		return;
	s->cancel = true;
	if (s->sent)
		line_up(q, s);
	else
		over(q, s);
}

void
queue_send_free(struct queue *q, struct queue_send **list)
{
	while (*list) {
		struct queue_send *s = *list;

		*list = s->next;
		unhook(q, s);
		ipc_free(&s->in);
		free(s->which);
		free(s);
	}
}

static bool
by_auth(const struct queue *q, const char *relay, const char *address)
{
	const struct policy_relay *r = policy_relay_find(q->policy.p, relay);

	return r && r->auth != POLICY_AUTH_NONE &&
	    (!r->auth_recipients.n || mail_patterns_match(&r->auth_recipients, address));
}

static int
tell_send(struct queue *q, struct queue_send *s)
{
	struct relay_rcpt rcpt[RELAY_MOST_RCPT];
	struct relay_send out = {.claim = s->claim, .relay = s->relay, .rcpt = rcpt, .nrcpt = s->n};
	const struct spool_rcpt *of;
	int fd, err;

	if (s->mail) {
		const struct front_seal *f = s->mail->s;

		of = s->mail->rcpt;
		out.id = s->mail->id;
		out.application = f->application;
		out.from = f->from;
		out.envid = f->envid;
		out.ret = f->ret;
		(void)spool_arrival_fd(s->mail->a, &out.offset);
		out.size = f->size;
		out.eight = f->eight;
		out.utf8 = f->utf8;
		if (s->mail->brought) {
			out.content = f->content;
			out.ncontent = f->ncontent;
			fd = -1;
		} else {
			fd = spool_arrival_reader(s->mail->a);
		}
	} else {
		const struct spool_message *m = s->of->m;

		of = m->env.rcpt;
		out.id = m->env.id;
		out.application = m->env.application;
		out.from = m->env.from;
		out.envid = m->env.envid;
		out.ret = m->env.ret;
		out.offset = m->offset;
		out.size = m->size;
		out.eight = m->env.body && !strcmp(m->env.body, "8BITMIME");
		out.utf8 = m->env.smtputf8;
		fd = spool_claim_reader(s->of->c);
	}
	if (fd < 0 && !out.ncontent)
		return fd;
	for (uint32_t i = 0; i < s->n; i++) {
		const struct spool_rcpt *r = &of[s->which[i]];

		out.rcpt[i] = (struct relay_rcpt){r->address, r->notify, r->orcpt, by_auth(q, s->relay, r->address)};
	}
	err = ipc_send(q->opt->relay, RELAY_SEND, 0, &relay_ask_shape[RELAY_SEND], &out, &fd, fd >= 0);
	if (fd >= 0)
		close(fd);
	return err;
}

/* Whether the channel is gone or full: else the send alone is bad. */
static bool
of_channel(int err)
{
	return err == -EAGAIN || err == -EPIPE || err == -ECONNRESET;
}

int
queue_relay_out(struct queue *q)
{
	int err = 0;

	/* before what is to be tried anew */
	if (q->again && q->relay_ready) {
		struct relay_again a = {q->again_of};
		err = ipc_send(q->opt->relay, RELAY_AGAIN, 0, &relay_ask_shape[RELAY_AGAIN], &a, NULL, 0);
		if (err)
			return err;
		q->again = false;
	}
	for (struct queue_name *n = q->names; n && q->relay_ready; n = n->next) {
		if (n->back)
			continue;
		struct relay_resolve r = {n->token, n->domain};
		err = ipc_send(q->opt->relay, RELAY_RESOLVE, 0, &relay_ask_shape[RELAY_RESOLVE], &r, NULL, 0);
		if (err)
			return err;
		n->back = true;
	}
	while (q->to_send && q->relay_ready) {
		struct queue_send *s = q->to_send;

		if (s->cancel) {
			struct relay_cancel c = {s->claim};
			err = ipc_send(q->opt->relay, RELAY_CANCEL, 0, &relay_ask_shape[RELAY_CANCEL], &c, NULL, 0);
		} else {
			err = tell_send(q, s);
		}
		if (err && of_channel(err))
			return err;
		q->to_send = s->wait;
		if (!q->to_send)
			q->to_send_end = &q->to_send;
		s->waits = false;
		if (!err && !s->cancel)
			s->sent = true;
		if (err && !s->cancel) {
			log_say(LOG_IS_WARNING, NULL, "a message could not be handed to the role relay: %s",
			    strerror(-err));
			over(q, s);
		}
	}
	return 0;
}

/* ---- how relays do --------------------------------------------------------------------- */

static uint64_t
doubled(uint64_t first, unsigned n, uint64_t most)
{
	while (n-- > 1 && first < most)
		first *= 2;
	return first < most ? first : most;
}

void
queue_relay_well(struct queue *q, struct queue_relay *r)
{
	bool was = r->fails > 0;

	r->well = true;
	r->fails = 0;
	r->down = 0;
	if (!r->alarm)
		r->text[0] = 0;
	if (!was)
		return;
	spool_relay_well(q->s, r->name);
	/* what waits for its own time need not, now */
	spool_flush(q->s, r->name, q->now);
	log_say(LOG_IS_NOTICE, NULL, "relay %s is reached again", r->name);
}

void
queue_relay_failed(struct queue *q, struct queue_relay *r, uint64_t began, const char *why)
{
	snprintf(r->text, sizeof r->text, "%s", why);
	r->well = false;
	/* of all that was under way together one failure counts */
	if (r->fails && began <= r->failed)
		return;
	if (!r->fails)
		log_say(LOG_IS_WARNING, NULL, "relay %s is not reached: %s", r->name, why);
	r->failed = q->mono;
	r->fails++;
	r->down = q->mono + doubled(QUEUE_DOWN_MS, r->fails, QUEUE_DOWN_MOST_MS);
	spool_relay_failed(q->s, r->name, q->now);
}

void
queue_relay_hold(struct queue *q, struct queue_relay *r, uint64_t id)
{
	for (size_t i = 0; i < r->nheld; i++)
		if (r->held[i] == id)
			return;
	if (r->nheld == r->capheld) {
		size_t cap = r->capheld ? 2 * r->capheld : 16;
		uint64_t *v = realloc(r->held, cap * sizeof *v);

		/* people can still release it */
		if (!v)
			return;
		r->held = v;
		r->capheld = cap;
	}
	r->held[r->nheld++] = id;
	if (!r->knock) {
		r->knocks = 1;
		r->knock = q->mono + QUEUE_ALARM_MS;
	}
}

void
queue_relay_release(struct queue *q, struct queue_relay *r)
{
	for (size_t i = 0; i < r->nheld; i++)
		(void)spool_release(q->s, r->held[i], q->now);
	if (r->nheld)
		log_say(LOG_IS_NOTICE, NULL, "relay %s: the %zu messages that were held are sent", r->name,
		    r->nheld);
	r->nheld = 0;
	r->knock = 0;
	r->knocks = 0;
}

static void
state(struct queue *q, const struct relay_state *s)
{
	struct queue_relay *r = queue_relay_of(q, s->relay);
	bool alarm = s->alarm != 0;

	if (!r)
		return;
	r->connections = s->connections;
	if (alarm && !r->alarm)
		log_say(LOG_IS_ERROR, NULL, "relay %s: people must look at it: %s", r->name, s->text);
	/* one endpoint that serves is enough, though people must look at another */
	if ((!alarm && r->alarm) || (s->well && !r->serves)) {
		r->alarm = false;
		queue_relay_release(q, r);
	}
	r->alarm = alarm;
	r->serves = s->well != 0;
	if (s->well)
		queue_relay_well(q, r);
	else if (!alarm && *s->text)
		queue_relay_failed(q, r, q->mono < 1000 ? 0 : q->mono - 1000, s->text);
	if (*s->text || s->well)
		snprintf(r->text, sizeof r->text, "%s", s->text);
}

static void
result(struct queue *q, struct ipc_in *in, const struct relay_result *r)
{
	struct queue_send *s = *slot_of(q, r->claim);
	struct queue_relay *to;
	bool held = false;

	/* an answer for nobody: what was asked stays asked, and is in the spool or has no answer */
	if (!s || !s->sent || r->nrcpt != s->n)
		return;
	s->in = *in;
	*in = (struct ipc_in){0};
	s->r = r;
	q->count.doubts += r->doubt;
	to = queue_relay_of(q, s->relay);
	for (uint32_t i = 0; i < r->nrcpt; i++)
		held |= r->rcpt[i].fate == RELAY_HELD;
	if (to && r->busy)
		to->pause = q->mono + QUEUE_BUSY_MS;
	else if (to && r->connected && !held)
		queue_relay_well(q, to);
	else if (to && !r->connected && !r->canceled && !held)
		queue_relay_failed(q, to, s->began, r->nrcpt ? r->rcpt[0].text : "");
	over(q, s);
}

static void
resolved(struct queue *q, const struct relay_resolved *r)
{
	for (struct queue_name *n = q->names; n; n = n->next)
		if (n->token == r->token && n->back && !n->answered) {
			n->answer = r->answer;
			n->answered = true;
		}
}

int
queue_relay(struct queue *q, struct ipc_in *in)
{
	enum relay_tell type = in->type;
	const void *body = NULL;
	int err = type > 0 && type < RELAY_NTELL ? 0 : -EBADMSG;

	if (!err && type != RELAY_READY)
		err = ipc_body(in, &relay_tell_shape[type], &body);
	if (err == -ENOMEM)
		return err;
	if (err) {
		log_say(LOG_IS_ERROR, NULL, "the role relay said what cannot be read");
		return 0;
	}
	switch (type) {
	case RELAY_RESULT:
		result(q, in, body);
		break;
	case RELAY_STATE:
		state(q, body);
		break;
	case RELAY_READY:
		q->relay_ready = true;
		break;
	case RELAY_RESOLVED:
		resolved(q, body);
		break;
	case RELAY_NTELL:
		break;
	}
	return 0;
}
