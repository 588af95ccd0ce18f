/* What lib/mail says to an event. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sanitized.h"
#include "log/log.h"
#include "role/front_inside.h"

/* What is found out about one message lives until the next question. */
static struct arena *
scratch(struct front *f)
{
	/* in a sanitized build each question ends what is known from the one before: who keeps it is found out */
	if (f->scratch && arena_used(f->scratch) > (SANITIZED ? 0 : 512 * 1024))
		f->scratch = arena_free(f->scratch);
	if (!f->scratch) {
		f->scratch = arena_new();
		arena_keep(f->scratch);
	}
	return f->scratch;
}

static const char *
user_of(const struct front_conn *c)
{
	return c->user[0] ? c->user : NULL;
}

static void
say_warnings(struct front_conn *c, const struct mail_verdict *v)
{
	const struct log_field field[] = {{"UID", user_of(c)}, {"UNIT", c->unit},
	    {"APPLICATION", v->application ? v->application->meta.name : NULL}, {NULL, NULL}};

	for (size_t i = 0; i < v->nwarning; i++)
		if (front_may_say(c->f))
			log_say(LOG_IS_WARNING, field, "%s", v->warning[i]);
}

/* ---- a connection ------------------------------------------------------------------------ */

bool
front_admit_connect(struct front_conn *c)
{
	struct front *f = c->f;
	struct mail_verdict v;

	mail_connect(scratch(f), c->p->policy, user_of(c), c->unit, f->windows, f->sec, &v);
	f->keep_dirty = true;
	say_warnings(c, &v);
	if (v.reply.code == 220) {
		smtp_server_answer(c->s, 220, NULL, "ready", f->now);
		return true;
	}
	f->count.connections_refused++;
	front_admit_tell(c, v.reply.code, v.reply.enhanced, v.reply.text);
	smtp_server_answer(c->s, v.reply.code, v.reply.enhanced, v.reply.text, f->now);
	return true;
}

/* ---- the envelope -------------------------------------------------------------------------- */

/* The envelope alone, for one recipient or none. `a`: where `to` may lie, so not asked for here: that could end it. */
static void
judge(struct front_conn *c, struct arena *a, const struct policy *p, const char *from, const char **to, size_t nto,
    uint64_t size, struct mail_verdict *v)
{
	const struct policy_message msg = {.user = user_of(c), .unit = c->unit, .from = from, .to = to,
	    .nto = nto, .size = size};

	mail_admit_session(a, p, &msg, NULL, NULL, c->f->sec, v);
}

static void
answer(struct front_conn *c, unsigned code, const char *enhanced, const char *text)
{
	char words[FRONT_WORDS];

	if (code >= 400)
		text = front_words(c->m.p ? c->m.p : c->f->p, text, words);
	smtp_server_answer(c->s, code, enhanced, text, c->f->now);
}

/* RFC 5321 3.3: "no recipient" is what a verdict without recipients says when all else is well. */
static bool
fine_so_far(const struct mail_verdict *v)
{
	return v->reply.code < 400 || !strcmp(v->reply.enhanced, "5.5.1");
}

bool
front_admit_mail(struct front_conn *c, const struct smtp_server_event *e)
{
	struct front *f = c->f;
	struct front_reply r = {0};
	struct mail_verdict v;
	uint64_t most;

	judge(c, scratch(f), f->p->policy, e->path, NULL, 0, e->mail.size, &v);
	if (!fine_so_far(&v)) {
		f->count.refused++;
		f->count.unregistered += !v.application;
		front_admit_tell(c, v.reply.code, v.reply.enhanced, v.reply.text);
		answer(c, v.reply.code, v.reply.enhanced, v.reply.text);
		return true;
	}
	switch (*v.sender ? front_domain_look(c, v.sender, true, &r) : FRONT_DOMAIN_FINE) {
	case FRONT_DOMAIN_WAIT:
		return false;
	case FRONT_DOMAIN_BAD:
		*(r.code >= 500 ? &f->count.refused : &f->count.deferred) += 1;
		front_admit_tell(c, r.code, r.enhanced, r.text);
		answer(c, r.code, r.enhanced, r.text);
		return true;
	case FRONT_DOMAIN_FINE:
		break;
	}
	if (c->u->bytes && (c->u->bytes > FRONT_BYTES_EACH || e->mail.size > FRONT_BYTES_EACH - c->u->bytes)) {
		f->count.deferred++;
		answer(c, 452, "4.3.1", "messages of this user that are under way take too much; send it "
		    "again later");
		return true;
	}
	if (!front_msg_begin(c, e)) {
		answer(c, 451, "4.3.0", "no memory at the moment");
		return true;
	}
	most = front_policy_size(f->p->policy, v.application);
	answer(c, 250, "2.1.0", NULL);
	/* the transaction's policy may be a newer one than the connection's */
	smtp_server_limit(c->s, most);
	return true;
}

/* The verdict on the recipient, with those before it where the policy counts them. */
static struct mail_reply
judge_rcpt(struct front_conn *c, const char *path)
{
	struct front_msg *m = &c->m;
	struct arena *a = scratch(c->f);
	struct mail_verdict v;
	const char **to;
	size_t n = m->nto >= m->p->rcpt_most ? m->nto : 0;

	to = arena_array(a, n + 1, const char *);
	for (size_t i = 0; i < n; i++)
		to[i] = m->to[i]->address;
	to[n] = path;
	judge(c, a, m->p->policy, m->from, to, n + 1, m->sized ? m->said : 0, &v);
	return v.recipient[n].reply;
}

bool
front_admit_rcpt(struct front_conn *c, const struct smtp_server_event *e)
{
	struct front *f = c->f;
	struct mail_reply reply = judge_rcpt(c, e->path);
	struct front_reply r = {.code = reply.code};

	if (reply.code < 400) {
		switch (e->bare ? FRONT_DOMAIN_FINE : front_domain_look(c, e->path, false, &r)) {
		case FRONT_DOMAIN_WAIT:
			return false;
		case FRONT_DOMAIN_BAD:
			reply = (struct mail_reply){.code = r.code, .enhanced = r.enhanced, .text = r.text};
			break;
		case FRONT_DOMAIN_FINE:
			break;
		}
	}
	if (reply.code < 400 && f->mem > FRONT_MEM_MOST && c->m.envelope > FRONT_MEM_FREE)
		reply = (struct mail_reply){.code = 452, .enhanced = "4.3.1",
		    .text = "too much is being taken at once; send to the others again later"};
	if (reply.code < 400 && !front_msg_rcpt(c, e))
		reply = (struct mail_reply){.code = 451, .enhanced = "4.3.0", .text = "no memory at the moment"};
	if (reply.code >= 400) {
		*(reply.code >= 500 ? &f->count.rcpt_refused : &f->count.rcpt_deferred) += 1;
		front_admit_tell(c, reply.code, reply.enhanced, reply.text);
	}
	answer(c, reply.code, reply.enhanced, reply.code < 400 ? NULL : reply.text);
	return true;
}

/* ---- the message ------------------------------------------------------------------------------ */

static void
message(const struct front_conn *c, struct arena *a, uint64_t size, struct policy_message *msg)
{
	const struct front_msg *m = &c->m;
	const char **to = arena_array(a, m->nto + 1, const char *);
	const char **from = arena_array(a, m->nsender + 1, const char *);

	for (size_t i = 0; i < m->nto; i++)
		to[i] = m->to[i]->address;
	for (size_t i = 0; i < m->nsender; i++)
		from[i] = m->sender[i];
	*msg = (struct policy_message){.user = user_of(c), .unit = c->unit, .from = m->from, .header = from,
	    .nheader = m->nsender, .to = to, .nto = m->nto, .size = size};
}

/* Of a message that is not taken as a whole: a deferral, if there is one, so that nothing is lost. */
static const struct mail_reply *
first_refusal(const struct mail_verdict *v)
{
	const struct mail_reply *first = NULL;

	for (size_t i = 0; i < v->nrecipient; i++) {
		const struct mail_reply *r = &v->recipient[i].reply;

		if (r->code >= 400 && (!first || (r->code < 500 && first->code >= 500)))
			first = r;
	}
	return first;
}

/* "From: root" of a program on this host, which no rewriting will see to, is meant to be of this
 * host (RFC 6409 8). */
static bool
qualify(struct front_conn *c)
{
	struct front_msg *m = &c->m;
	char *whole = NULL;

	if (m->qualified || m->nsender != 1 || strchr(m->sender[0], '@') ||
	    asprintf(&whole, "%s@%s", m->sender[0], c->f->host) < 0)
		return false;
	free(m->sender[0]);
	m->sender[0] = whole;
	m->qualified = true;
	return true;
}

void
front_admit_header(struct front_conn *c, const char **rewrite)
{
	struct front_msg *m = &c->m;
	struct arena *a = scratch(c->f);
	struct policy_message msg;
	struct mail_verdict v;
	const struct mail_reply *no;

	do {
		message(c, a, m->sized ? m->said : 0, &msg);
		mail_admit_session(a, m->p->policy, &msg, NULL, NULL, c->f->sec, &v);
		no = first_refusal(&v);
	} while (no && no->code == 553 && qualify(c));
	if (no) {
		front_refuse(c, no->code, no->enhanced, no->text);
		return;
	}
	*rewrite = v.rewritten ? v.sender : NULL;
}

void
front_admit_end(struct front_conn *c)
{
	struct front *f = c->f;
	struct front_msg *m = &c->m;
	struct arena *a = scratch(f);
	struct policy_message msg;
	struct mail_verdict v;
	const struct mail_reply *no;

	message(c, a, m->size, &msg);
	mail_admit_whole(a, m->p->policy, &msg, f->windows, c->session, f->sec, &v);
	f->keep_dirty = true;
	say_warnings(c, &v);
	no = first_refusal(&v);
	if (no) {
		front_refuse(c, no->code, no->enhanced, no->text);
		return;
	}
	m->as = strdup(v.sender);
	m->tally = v.ntally ? malloc(v.ntally * sizeof *v.tally) : NULL;
	if (!m->as || (v.ntally && !m->tally)) {
		mail_take_back(f->windows, c->session, v.tally, v.ntally);
		front_refuse(c, 451, "4.3.0", "no memory at the moment; send it again later");
		return;
	}
	if (v.ntally)
		memcpy(m->tally, v.tally, v.ntally * sizeof *v.tally);
	m->ntally = v.ntally;
	m->application = v.application ? v.application->meta.name : "";
	m->not_before = v.not_before;
	for (size_t i = 0; i < m->nto; i++)
		m->to[i]->relay = v.recipient[i].relay->meta.name;
}

void
front_admit_undo(struct front_conn *c)
{
	mail_take_back(c->f->windows, c->session, c->m.tally, c->m.ntally);
	c->m.ntally = 0;
	c->f->keep_dirty = true;
}

void
front_admit_tell(struct front_conn *c, unsigned code, const char *enhanced, const char *text)
{
	const struct front_msg *m = &c->m;
	char id[24], number[24], size[24];
	const struct policy_application *x = mail_application(c->p->policy, user_of(c), c->unit);
	const struct log_field field[] = {
		{"ID", m->id ? id : NULL}, {"UID", user_of(c)}, {"UNIT", c->unit},
		{"APPLICATION", x ? x->meta.name : NULL}, {"FROM", m->from},
		{"TO", m->nto ? m->to[0]->address : NULL}, {"RECIPIENTS", m->nto ? number : NULL},
		{"SIZE", m->size ? size : NULL}, {NULL, NULL}};

	if (code >= 400 && !front_may_say(c->f))
		return;
	snprintf(id, sizeof id, "%016" PRIx64, m->id);
	snprintf(number, sizeof number, "%zu", m->nto);
	snprintf(size, sizeof size, "%" PRIu64, m->size);
	log_say(code >= 400 ? LOG_IS_NOTICE : LOG_IS_INFO, field, "%s: %u %s %s",
	    code >= 500 ? "refused" : code >= 400 ? "deferred" : "accepted", code, enhanced, text);
}
