#include "mail/inside.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/units.h"

/* RFC 5321 4.5.3.1.5: 512 octets of reply line, less code and enhanced code. */
enum { TEXT_MOST = 480, CONTACT_MOST = 160, SHOWN_MOST = 100 };

/* ---- replies ---- */

/* Printable ASCII, whatever a program or a policy put in (RFC 5321 4.2). */
static void
plain(char *s)
{
	for (; *s; s++)
		if (*s < 32 || *s > 126)
			*s = '?';
}

static const char *
contact(const struct admit *a)
{
	const struct policy_application *x = a->out->application;

	if (x && x->meta.contact)
		return x->meta.contact;
	return a->p->meta.contact;
}

struct mail_reply
admit_reply(const struct admit *a, unsigned code, const char *enhanced,
    const char *rule, struct text_span at, const char *fmt, ...)
{
	char text[TEXT_MOST + 1], who[CONTACT_MOST + 1] = "";
	va_list ap;
	size_t k;

	if (contact(a) && code >= 400)
		snprintf(who, sizeof who, "; contact %s", contact(a));
	k = strlen(who);
	va_start(ap, fmt);
	vsnprintf(text, sizeof text - k, fmt, ap);
	va_end(ap);
	memcpy(text + strlen(text), who, k + 1);
	plain(text);
	return (struct mail_reply){
		.code = code,
		.enhanced = enhanced,
		.text = arena_str(a->m, text),
		.rule = rule,
		.at = at,
	};
}

/* An address, cut to what a reply has room for. */
static const char *
shown(const struct admit *a, const char *address)
{
	if (!*address)
		return "<>";
	if (strlen(address) <= SHOWN_MOST)
		return address;
	return arena_printf(a->m, "%.*s...", SHOWN_MOST, address);
}

void
admit_refuse(struct mail_recipient *r, struct mail_reply reply)
{
	r->relay = NULL;
	r->auth = false;
	r->reply = reply;
}

void
admit_refuse_all(struct admit *a, struct mail_reply reply)
{
	for (size_t i = 0; i < a->out->nrecipient; i++)
		if (a->out->recipient[i].relay || !a->out->recipient[i].reply.code)
			admit_refuse(&a->out->recipient[i], reply);
	a->out->reply = reply;
}

/* ---- who sends ---- */

static const char *
application_rule(const struct admit *a, const char *what)
{
	return arena_printf(a->m, "application %s: %s", a->out->application->meta.name, what);
}

static bool
registration_ok(struct admit *a)
{
	const struct policy_submission *s = &a->p->submission;
	const struct policy_application *x = a->out->application;

	if (!s->present) {
		admit_refuse_all(a, admit_reply(a, 550, "5.7.1", "submission", TEXT_NO_SPAN,
		    "the policy has no submission: no program of this host may send"));
		return false;
	}
	if (!x && a->msg->application) {
		admit_refuse_all(a, admit_reply(a, 550, "5.7.1", "submission: applications", s->at,
		    "there is no application %s; register it", shown(a, a->msg->application)));
		return false;
	}
	if (!x && s->unregistered_refuse) {
		admit_refuse_all(a, admit_reply(a, 550, "5.7.1", "submission: unregistered", s->at,
		    "this program is not registered to send mail; register it"));
		return false;
	}
	if (!x)
		return true;
	if (!admit_active(&x->meta.days, a->now)) {
		bool early = a->now < x->meta.days.since;

		admit_refuse_all(a, admit_reply(a, 550, "5.7.1",
		    application_rule(a, early ? "since" : "until"), x->meta.at,
		    "the registration of application %s %s; have it renewed", x->meta.name,
		    early ? "has not begun" : "has ended"));
		return false;
	}
	switch (x->state) {
	case POLICY_REGISTERED:
		return true;
	case POLICY_PENDING:
		admit_refuse_all(a, admit_reply(a, 550, "5.7.1", application_rule(a, "state"),
		    x->meta.at, "the registration of application %s is pending; "
		    "wait until it is confirmed", x->meta.name));
		return false;
	case POLICY_SUSPENDED:
		admit_refuse_all(a, admit_reply(a, 550, "5.7.1", application_rule(a, "state"),
		    x->meta.at, "application %s is suspended", x->meta.name));
		return false;
	}
	return false;
}

/* ---- as whom ---- */

/* "root": cron and its like name no domain, and a rewrite gives one. */
static bool
is_bare(const char *s)
{
	return *s && !strchr(s, '@');
}

static bool
can_rewrite(const struct admit *a)
{
	const struct policy_application *x = a->out->application;

	return x && x->rewrite.kind != POLICY_PATTERN_ANY && x->rewrite.kind != POLICY_PATTERN_NULL;
}

/* The address that stands in for `from`; a rewrite that leaves the local part
 * open keeps it. NULL: what would come out is no address. */
static const char *
rewritten(struct admit *a, const char *from)
{
	const struct policy_pattern *r = &a->out->application->rewrite;
	struct mail_address x = {.local = from, .nlocal = strlen(from)};
	const char *s;

	if (r->kind == POLICY_PATTERN_ADDRESS)
		return arena_printf(a->m, "%s@%s", r->local, r->domain);
	if (!is_bare(from) && !mail_address_read(from, strlen(from), true, &x, NULL))
		return NULL;
	s = arena_printf(a->m, "%.*s@%s", (int)x.nlocal, x.local, r->domain);
	return mail_address_ok(s, true, NULL) ? s : NULL;
}

static bool
syntax_ok(struct admit *a)
{
	const struct policy_message *msg = a->msg;
	const char *why;

	if (*msg->from && !mail_address_ok(msg->from, true, &why) &&
	    !(can_rewrite(a) && is_bare(msg->from))) {
		admit_refuse_all(a, admit_reply(a, 501, "5.1.7", "RFC 5321 4.1.2", TEXT_NO_SPAN,
		    "the sender %s is no address: %s; write local@domain",
		    shown(a, msg->from), why));
		return false;
	}
	for (size_t i = 0; i < msg->nheader; i++) {
		if (mail_address_ok(msg->header[i], true, &why) || can_rewrite(a))
			continue;
		admit_refuse_all(a, admit_reply(a, 553, "5.1.7", "RFC 5322 3.6.2", TEXT_NO_SPAN,
		    "the From field holds %s, which is no address: %s; write local@domain",
		    shown(a, msg->header[i]), why));
		return false;
	}
	return true;
}

/* "Postmaster" alone is a recipient (RFC 5321 4.1.1.3). */
static bool
is_postmaster(const char *s)
{
	static const char word[] = "postmaster";
	size_t i = 0;

	while (word[i] && (s[i] | 0x20) == word[i])
		i++;
	return !word[i] && !s[i];
}

static bool
recipient_syntax(struct admit *a, struct mail_recipient *r)
{
	const char *why;

	if (is_postmaster(r->address) || mail_address_ok(r->address, true, &why))
		return true;
	admit_refuse(r, admit_reply(a, 501, "5.1.3", "RFC 5321 4.1.2", TEXT_NO_SPAN,
	    "the recipient %s is no address: %s; write local@domain",
	    shown(a, r->address), why));
	return false;
}

/* Whether some pair allows the envelope sender and, when header is not NULL,
 * this address of the From field. */
static bool
pair_allows(const struct policy_application *x, const char *envelope, const char *header)
{
	for (size_t i = 0; i < x->nsender; i++)
		if (mail_pattern_match(&x->sender[i].envelope, envelope) &&
		    (!header || mail_pattern_match(&x->sender[i].header, header)))
			return true;
	return false;
}

/* The first address that no pair allows, with *header set when it is one of the
 * From field; NULL: all are allowed. */
static const char *
sender_wrong(const struct admit *a, bool *header)
{
	const struct policy_application *x = a->out->application;
	const struct policy_message *msg = a->msg;

	*header = false;
	if (!x)
		return NULL;
	/* The null reverse path is for reports (RFC 5321 4.5.5, CAM-17): an
	 * application has it only when the policy says so. */
	if (!*msg->from || x->nsender) {
		if (!pair_allows(x, msg->from, NULL))
			return msg->from;
	}
	*header = true;
	for (size_t i = 0; x->nsender && i < msg->nheader; i++)
		if (!pair_allows(x, msg->from, msg->header[i]))
			return msg->header[i];
	return NULL;
}

static bool
sender_ok(struct admit *a)
{
	const struct policy_application *x = a->out->application;
	const struct policy_message *msg = a->msg;
	bool header, bare = *msg->from && is_bare(msg->from);
	const char *wrong = sender_wrong(a, &header), *s;

	for (size_t i = 0; i < msg->nheader && can_rewrite(a); i++)
		bare |= !mail_address_ok(msg->header[i], true, NULL);
	if (!wrong && !bare)
		return true;
	/* Whoever rewrites the null path makes reports answer reports. */
	if (*msg->from && can_rewrite(a) && (s = rewritten(a, msg->from))) {
		a->out->sender = s;
		a->out->rewritten = true;
		return true;
	}
	if (!wrong)
		wrong = msg->from;
	admit_refuse_all(a, admit_reply(a, 550, "5.7.1", application_rule(a, "senders"),
	    x->nsender ? x->sender[0].at : x->meta.at,
	    "application %s is not registered to send as %s%s%s%s; "
	    "use a registered sender or have this one registered", x->meta.name,
	    shown(a, wrong), header ? " (From field)" : "",
	    header ? " with envelope sender " : "",
	    header ? shown(a, msg->from) : ""));
	return false;
}

/* ---- by which relay ---- */

static const char *const class_word[] = {
	[POLICY_CLASS_ANY] = "any",
	[POLICY_CLASS_PERSONAL] = "personal",
	[POLICY_CLASS_DEVICE] = "device",
};

static const char *
relay_rule(const struct admit *a, const struct policy_relay *r, const char *what)
{
	return arena_printf(a->m, "relay %s: %s", r->meta.name, what);
}

/* Whether the program may use the relay at all. */
static bool
relay_ok(struct admit *a, struct mail_recipient *to, const struct policy_relay *r)
{
	const struct policy_application *x = a->out->application;
	enum policy_class class = x && x->kind ? x->kind->class : POLICY_CLASS_ANY;

	if (!admit_active(&r->meta.days, a->now)) {
		admit_refuse(to, admit_reply(a, 550, "5.7.1", relay_rule(a, r, "until"), r->meta.at,
		    "relay %s is not in use on this day; have a route changed", r->meta.name));
		return false;
	}
	if (class != POLICY_CLASS_ANY && r->class != POLICY_CLASS_ANY && class != r->class) {
		admit_refuse(to, admit_reply(a, 550, "5.7.1", relay_rule(a, r, "class"), r->meta.at,
		    "relay %s is for %s mail, and application %s sends %s mail; use another relay",
		    r->meta.name, class_word[r->class], x->meta.name, class_word[class]));
		return false;
	}
	if (!x && r->registration) {
		admit_refuse(to, admit_reply(a, 550, "5.7.1", relay_rule(a, r, "registration"),
		    r->meta.at, "relay %s takes mail of registered applications only; "
		    "register this program", r->meta.name));
		return false;
	}
	return true;
}

/* Whole-message refusals that come from a relay: its wish for registered
 * senders, its size. */
static bool
message_fits(struct admit *a, const struct policy_relay *r)
{
	const struct policy_application *x = a->out->application;
	char size[32];

	if (r->senders_registered && !(x && (x->nsender || a->out->rewritten))) {
		admit_refuse_all(a, admit_reply(a, 550, "5.7.1", relay_rule(a, r, "senders"),
		    r->meta.at, "relay %s takes registered senders only, and %s%s has none; "
		    "have the sender registered", r->meta.name, x ? "application " : "this program",
		    x ? x->meta.name : ""));
		return false;
	}
	if (!mail_size_fits(&r->size, a->msg->size)) {
		admit_refuse_all(a, admit_reply(a, 552, "5.3.4", relay_rule(a, r, "message-size"),
		    r->size.at, "the message of %" PRIu64 " bytes is too large, relay %s takes %s %s; "
		    "send a smaller one", a->msg->size, r->meta.name,
		    r->size.strict ? "below" : "up to", units_size(r->size.bytes, size)));
		return false;
	}
	return true;
}

static void
recipient_route(struct admit *a, struct mail_recipient *to)
{
	struct mail_route route;

	mail_route(a->m, a->p, a->out->application, to->address, a->now, &route);
	if (!route.relay) {
		admit_refuse(to, admit_reply(a, 550, "5.7.1", "submission: routes",
		    a->p->submission.at, "no route leads to %s; have one added",
		    shown(a, to->address)));
		return;
	}
	if (!relay_ok(a, to, route.relay))
		return;
	to->relay = route.relay;
	to->reply = admit_reply(a, 250, "2.1.5", route.rule, route.at, "goes by relay %s",
	    route.relay->meta.name);
}

static void
recipient_taken(struct admit *a, struct mail_recipient *to)
{
	const struct policy_relay *r = to->relay;

	if (r->recipients.n && !mail_patterns_match(&r->recipients, to->address)) {
		admit_refuse(to, admit_reply(a, 550, "5.7.1", relay_rule(a, r, "recipients"),
		    r->recipients.v[0].at, "relay %s does not take mail for %s; "
		    "have it routed by another relay", r->meta.name, shown(a, to->address)));
		return;
	}
	to->auth = r->auth != POLICY_AUTH_NONE &&
	    (!r->auth_recipients.n || mail_patterns_match(&r->auth_recipients, to->address));
}

/* ---- the whole ---- */

static void
judge_message(struct admit *a)
{
	struct mail_verdict *out = a->out;

	if (!syntax_ok(a) || !registration_ok(a) || !sender_ok(a))
		return;
	for (size_t i = 0; i < out->nrecipient; i++)
		if (recipient_syntax(a, &out->recipient[i]))
			recipient_route(a, &out->recipient[i]);
	for (size_t i = 0; i < out->nrecipient; i++)
		if (out->recipient[i].relay && !message_fits(a, out->recipient[i].relay))
			return;
	for (size_t i = 0; i < out->nrecipient; i++)
		if (out->recipient[i].relay)
			recipient_taken(a, &out->recipient[i]);
	limits_message(a);
}

static void
conclude(struct admit *a)
{
	struct mail_verdict *out = a->out;
	const struct mail_recipient *first = NULL;

	for (size_t i = 0; i < out->nrecipient && !first; i++)
		if (out->recipient[i].relay)
			first = &out->recipient[i];
	if (first) {
		out->reply = admit_reply(a, 250, "2.0.0", first->reply.rule, first->reply.at,
		    "accepted for relay %s", first->relay->meta.name);
		return;
	}
	if (out->reply.code)
		return;
	if (out->nrecipient)
		out->reply = out->recipient[0].reply;
	else
		out->reply = admit_reply(a, 554, "5.5.1", "RFC 5321 3.3", TEXT_NO_SPAN,
		    "the message has no recipient");
}

static void
admit(struct admit *a)
{
	const struct policy *p = a->p;
	const struct policy_message *msg = a->msg;
	struct arena *m = a->m;
	struct mail_verdict *out = a->out;

	*out = (struct mail_verdict){
		.sender = msg->from,
		.recipient = arena_array(m, msg->nto, struct mail_recipient),
		.nrecipient = msg->nto,
	};
	for (size_t i = 0; i < msg->nto; i++)
		out->recipient[i].address = msg->to[i];
	if (msg->application) {
		for (size_t i = 0; i < p->submission.napplication && !out->application; i++)
			if (!strcmp(p->submission.application[i]->meta.name, msg->application))
				out->application = p->submission.application[i];
	} else {
		out->application = route_application(p, msg->user, msg->unit, a->now);
	}
	judge_message(a);
	conclude(a);
}

void
mail_admit_session(struct arena *m, const struct policy *p, const struct policy_message *msg,
    struct mail_windows *w, struct mail_session *s, uint64_t now, struct mail_verdict *out)
{
	struct admit a = {.m = m, .p = p, .msg = msg, .user = msg->user, .unit = msg->unit,
	    .w = w, .s = s, .now = now, .out = out};

	admit(&a);
}

void
mail_admit_whole(struct arena *m, const struct policy *p, const struct policy_message *msg,
    struct mail_windows *w, struct mail_session *s, uint64_t now, struct mail_verdict *out)
{
	struct admit a = {.m = m, .p = p, .msg = msg, .user = msg->user, .unit = msg->unit,
	    .w = w, .s = s, .now = now, .whole = true, .out = out};

	admit(&a);
}

void
mail_admit(struct arena *m, const struct policy *p, const struct policy_message *msg,
    struct mail_windows *w, uint64_t now, struct mail_verdict *out)
{
	mail_admit_session(m, p, msg, w, NULL, now, out);
}

void
mail_connect(struct arena *m, const struct policy *p, const char *user, const char *unit,
    struct mail_windows *w, uint64_t now, struct mail_verdict *out)
{
	struct admit a = {.m = m, .p = p, .user = user, .unit = unit, .w = w, .now = now, .out = out};

	*out = (struct mail_verdict){.application = route_application(p, user, unit, now)};
	out->reply = admit_reply(&a, 220, "2.0.0", "submission", p->submission.at, "ready");
	limits_connection(&a);
}
