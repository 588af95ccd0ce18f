#include "mail/inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/units.h"
#include "mail/window.h"

/* One limit on one key, as it applies to this message. */
struct check {
	const struct policy_mail_limit *limit;
	const char *scope;         /* "application web-forms": whose limit, for people */
	const struct policy_relay *relay; /* counts what goes by it; NULL: everything */
	struct window_ask ask;
	enum window_answer answer;
};

struct checks {
	struct check *v;
	size_t n, cap;
};

/* What to do, the mildest first. */
enum action { PASS, WARN, DELAY, DEFER, REFUSE };

static enum action
action_of(enum policy_over over)
{
	switch (over) {
	case POLICY_OVER_WARN:
	case POLICY_OVER_LOG:
		return WARN;
	case POLICY_OVER_DELAY:
		return DELAY;
	case POLICY_OVER_DEFER:
		return DEFER;
	case POLICY_OVER_REFUSE:
	case POLICY_OVER_REJECT:
	case POLICY_OVER_DROP:
		return REFUSE;
	}
	return REFUSE;
}

static const char *const count_word[] = {
	[POLICY_COUNT_CONNECTIONS] = "connections",
	[POLICY_COUNT_MESSAGES] = "messages",
	[POLICY_COUNT_RECIPIENTS] = "recipients",
	[POLICY_COUNT_BYTES] = "bytes",
};

/* "100 messages per hour". */
static const char *
limit_words(struct arena *m, const struct policy_mail_limit *l)
{
	char size[32], time[32];
	const char *per = "message";

	if (l->window == POLICY_PER_SECONDS)
		per = units_time(l->seconds, time);
	else if (l->window == POLICY_PER_CONNECTION)
		per = "connection";
	if (l->count == POLICY_COUNT_BYTES)
		return arena_printf(m, "%s per %s", units_size(l->most, size), per);
	return arena_printf(m, "%" PRIu64 " %s per %s", l->most, count_word[l->count], per);
}

/* ---- what is asked ---- */

static uint64_t
limit_hash(const char *scope, const struct policy_mail_limit *l)
{
	uint64_t h = hash_bytes(0, scope, strlen(scope) + 1);

	h = hash_u64(h, l->count);
	h = hash_u64(h, l->window);
	h = hash_u64(h, l->seconds);
	h = hash_u64(h, l->each);
	h = hash_u64(h, l->over);
	for (size_t i = 0; i < l->except.n; i++) {
		const struct policy_pattern *p = &l->except.v[i];

		h = hash_u64(h, p->kind);
		h = p->local ? hash_bytes(h, p->local, strlen(p->local) + 1) : h;
		h = p->domain ? hash_bytes(h, p->domain, strlen(p->domain) + 1) : h;
	}
	return h;
}

/* The limit's identity: all but its figure, so that a reload that changes the
 * figure keeps the count; equal ones by their order. */
static uint64_t
limit_id(const char *scope, const struct policy_mail_limits *list, size_t at)
{
	uint64_t h = limit_hash(scope, &list->v[at]), nth = 0;

	for (size_t i = 0; i < at; i++)
		nth += limit_hash(scope, &list->v[i]) == h;
	return hash_u64(h, nth);
}

/* The envelope sender with its domain in lower case: one window for it. */
static const char *
sender_key(const struct admit *a)
{
	struct mail_address x;
	char *s;

	if (!a->out->sender)
		return "";
	s = arena_str(a->m, a->out->sender);
	if (!mail_address_read(s, strlen(s), true, &x, NULL))
		return s;
	for (char *p = s + (x.domain - s); *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + ('a' - 'A'));
	return s;
}

static const char *
application_key(const struct admit *a)
{
	if (a->out->application)
		return a->out->application->meta.name;
	return arena_printf(a->m, "/%s/%s", a->user ? a->user : "", a->unit ? a->unit : "");
}

static const char *
limit_key(const struct admit *a, const struct policy_mail_limit *l, const struct policy_relay *r)
{
	switch (l->each) {
	case POLICY_EACH_ALL:
	case POLICY_EACH_SOURCE:
	case POLICY_EACH_HOST:
		return "";
	case POLICY_EACH_APPLICATION:
		return application_key(a);
	case POLICY_EACH_SENDER:
		return sender_key(a);
	case POLICY_EACH_RELAY:
		return r ? r->meta.name : "";
	}
	return "";
}

static void
check_add(struct admit *a, struct checks *c, const char *scope,
    const struct policy_mail_limits *list, size_t at, const struct policy_relay *r)
{
	const struct policy_mail_limit *l = &list->v[at];

	ARENA_PUSH(a->m, c->v, c->n, c->cap) = (struct check){
		.limit = l,
		.scope = scope,
		.relay = r,
		.ask = {
			.id = limit_id(scope, list, at),
			.key = limit_key(a, l, r),
			.seconds = l->seconds,
			.most = l->most,
		},
	};
}

/* The relays of the recipients that are accepted so far, each once. */
struct relays {
	const struct policy_relay **v;
	size_t n, cap;
};

static void
relays_of(const struct admit *a, struct relays *out)
{
	for (size_t i = 0; i < a->out->nrecipient; i++) {
		const struct policy_relay *r = a->out->recipient[i].relay;
		size_t k = 0;

		while (k < out->n && out->v[k] != r)
			k++;
		if (r && k == out->n)
			ARENA_PUSH(a->m, out->v, out->n, out->cap) = r;
	}
}

static void
checks_of_list(struct admit *a, struct checks *c, const struct relays *r, const char *scope,
    const struct policy_mail_limits *list)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct policy_mail_limit *l = &list->v[i];

		if (!admit_active(&l->meta.days, a->now) ||
		    (l->count == POLICY_COUNT_CONNECTIONS) != !a->msg)
			continue;
		if (l->each != POLICY_EACH_RELAY || !a->msg)
			check_add(a, c, scope, list, i, NULL);
		else
			for (size_t k = 0; k < r->n; k++)
				check_add(a, c, scope, list, i, r->v[k]);
	}
}

static void
checks_of(struct admit *a, struct checks *c)
{
	const struct policy_application *app = a->out->application;
	struct relays r = {0};

	relays_of(a, &r);
	if (app)
		checks_of_list(a, c, &r, arena_printf(a->m, "application %s", app->meta.name),
		    &app->limits);
	if (app && app->kind)
		checks_of_list(a, c, &r, arena_printf(a->m, "kind %s", app->kind->meta.name),
		    &app->kind->limits);
	checks_of_list(a, c, &r, "submission", &a->p->submission.limits);
	for (size_t i = 0; i < r.n; i++) {
		const char *scope = arena_printf(a->m, "relay %s", r.v[i]->meta.name);
		const struct policy_mail_limits *list = &r.v[i]->limits;

		for (size_t k = 0; k < list->n; k++)
			if (list->v[k].count != POLICY_COUNT_CONNECTIONS &&
			    admit_active(&list->v[k].meta.days, a->now))
				check_add(a, c, scope, list, k, r.v[i]);
	}
}

/* ---- what is answered ---- */

/* Whether the limit counts the recipient at all. */
static bool
counted(const struct check *c, const struct mail_recipient *r)
{
	return r->relay && (!c->relay || r->relay == c->relay) &&
	    !mail_patterns_match(&c->limit->except, r->address);
}

/* How much the message is to the limit, of the recipients accepted so far. */
static uint64_t
amount(const struct admit *a, const struct check *c)
{
	uint64_t n = 0;

	if (!a->msg)
		return 1;
	for (size_t i = 0; i < a->out->nrecipient; i++)
		n += counted(c, &a->out->recipient[i]);
	switch (c->limit->count) {
	case POLICY_COUNT_RECIPIENTS:
		return n;
	case POLICY_COUNT_BYTES:
		return n ? a->msg->size : 0;
	case POLICY_COUNT_MESSAGES:
	case POLICY_COUNT_CONNECTIONS:
		return n != 0;
	}
	return n;
}

static enum action
judge(struct admit *a, struct check *c, uint64_t *when)
{
	c->answer = WINDOW_FITS;
	c->ask.n = amount(a, c);
	if (!c->ask.n)
		return PASS;
	switch (c->limit->window) {
	case POLICY_PER_SECONDS:
		if (a->w)
			c->answer = window_over(a->w, &c->ask, when);
		break;
	case POLICY_PER_MESSAGE:
		if (c->ask.n > c->ask.most)
			c->answer = WINDOW_OVER;
		break;
	case POLICY_PER_CONNECTION:
		if (a->s ? session_over(a->s, &c->ask) : c->ask.n > c->ask.most)
			c->answer = WINDOW_OVER;
		break;
	}
	switch (c->answer) {
	case WINDOW_FITS:
		return PASS;
	case WINDOW_OVER:
		return action_of(c->limit->over);
	case WINDOW_FULL:
		/* A want of memory is nothing that lasts: it never bounces mail. */
		return action_of(c->limit->over) == WARN ? WARN : DEFER;
	}
	return PASS;
}

struct row {
	unsigned code;
	const char *enhanced, *todo;
};

/* [deferred, refused] */
static const struct row per_seconds[] = {
	{451, "4.7.1", "send it again later"},
	{550, "5.7.1", "this is not retried"},
}, per_connection[] = {
	{451, "4.7.1", "open a new connection"},
	{550, "5.7.1", "open a new connection"},
}, per_message_recipients[] = {
	{452, "4.5.3", "send to the others in a further message"},
	{550, "5.5.3", "send it to fewer recipients"},
}, per_message_bytes[] = {
	{452, "4.3.4", "send a smaller message"},
	{552, "5.3.4", "send a smaller message"},
}, opening[] = {
	{421, "4.7.0", "connect again later"},
	{554, "5.7.1", "connect again later"},
};

static const struct row *
row_of(const struct admit *a, const struct policy_mail_limit *l)
{
	if (!a->msg)
		return opening;
	switch (l->window) {
	case POLICY_PER_SECONDS:
		break;
	case POLICY_PER_CONNECTION:
		return per_connection;
	case POLICY_PER_MESSAGE:
		if (l->count == POLICY_COUNT_RECIPIENTS)
			return per_message_recipients;
		if (l->count == POLICY_COUNT_BYTES)
			return per_message_bytes;
		break;
	}
	return per_seconds;
}

static const char *
check_rule(const struct admit *a, const struct check *c)
{
	return arena_printf(a->m, "%s: limit %s", c->scope, limit_words(a->m, c->limit));
}

static struct mail_reply
check_reply(const struct admit *a, const struct check *c, enum action act)
{
	const struct row *row = &row_of(a, c->limit)[act == REFUSE];
	const char *todo = row->todo;

	if (c->answer == WINDOW_FULL)
		return admit_reply(a, row->code, row->enhanced, check_rule(a, c),
		    c->limit->meta.at, "%s: too many windows are open to count %s; %s", c->scope,
		    limit_words(a->m, c->limit), todo);
	if (a->msg && c->limit->window == POLICY_PER_SECONDS && c->ask.n > c->ask.most)
		todo = "this message alone is over it";
	return admit_reply(a, row->code, row->enhanced, check_rule(a, c), c->limit->meta.at,
	    "%s: over the limit of %s; %s", c->scope, limit_words(a->m, c->limit), todo);
}

static void
warn(struct admit *a, const struct check *c, enum action act)
{
	ARENA_PUSH(a->m, a->out->warning, a->out->nwarning, a->out->capwarning) =
	    arena_printf(a->m, "%s: over the limit of %s%s", c->scope,
	    limit_words(a->m, c->limit), act == DELAY ? ", put off" : "");
}

/* ---- what follows ---- */

/* Defers the recipients past the limit's figure; those before it stay. */
static void
defer_rest(struct admit *a, const struct check *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < a->out->nrecipient; i++)
		if (counted(c, &a->out->recipient[i]) && ++n > c->limit->most)
			admit_refuse(&a->out->recipient[i], check_reply(a, c, DEFER));
}

static void
refuse_scope(struct admit *a, const struct check *c, enum action act)
{
	struct mail_reply r = check_reply(a, c, act);

	if (!c->relay) {
		admit_refuse_all(a, r);
		return;
	}
	for (size_t i = 0; i < a->out->nrecipient; i++)
		if (a->out->recipient[i].relay == c->relay)
			admit_refuse(&a->out->recipient[i], r);
}

/* Whether the check is of the stage: first each message for itself, then what
 * goes by one relay, then the whole, so that each counts what is left. */
static bool
in_stage(const struct check *c, int stage)
{
	return stage == (c->limit->window == POLICY_PER_MESSAGE ? 0 : c->relay ? 1 : 2);
}

static void
apply(struct admit *a, struct checks *c, int stage, enum action what)
{
	for (size_t i = 0; i < c->n; i++) {
		struct check *x = &c->v[i];

		if (!in_stage(x, stage) || judge(a, x, NULL) != what)
			continue;
		if (what == DEFER && stage == 0 && x->limit->count == POLICY_COUNT_RECIPIENTS)
			defer_rest(a, x);
		else
			refuse_scope(a, x, what);
	}
}

/* Thresholds and delays of what is accepted; then it is counted. */
static void
count(struct admit *a, struct checks *c)
{
	uint64_t when, put_off = 0;

	for (size_t i = 0; i < c->n; i++) {
		struct check *x = &c->v[i];
		enum action act = judge(a, x, &when);

		if (act == WARN || act == DELAY)
			warn(a, x, act);
		if (act != DELAY || x->limit->window != POLICY_PER_SECONDS)
			continue;
		/* One that never fits alone goes when all before it has left. */
		if (when == UINT64_MAX)
			when = a->now + x->limit->seconds;
		if (when > put_off)
			put_off = when;
	}
	a->out->not_before = put_off > a->now ? put_off : 0;
	for (size_t i = 0; i < c->n; i++) {
		struct check *x = &c->v[i];
		bool delays = action_of(x->limit->over) == DELAY;
		struct mail_tally t = {0};

		if (x->limit->window == POLICY_PER_SECONDS && a->w)
			window_add(a->w, &x->ask, delays && put_off > a->now ? put_off : a->now, &t);
		if (x->limit->window == POLICY_PER_CONNECTION && a->s)
			session_add(a->s, &x->ask, &t);
		if (t.n)
			ARENA_PUSH(a->m, a->out->tally, a->out->ntally, a->out->captally) = t;
	}
}

static bool
any_left(const struct admit *a)
{
	for (size_t i = 0; i < a->out->nrecipient; i++)
		if (a->out->recipient[i].relay)
			return true;
	return false;
}

static bool
all_left(const struct admit *a)
{
	for (size_t i = 0; i < a->out->nrecipient; i++)
		if (!a->out->recipient[i].relay)
			return false;
	return true;
}

void
limits_message(struct admit *a)
{
	struct checks c = {0};

	if (!any_left(a))
		return;
	checks_of(a, &c);
	if (a->w)
		window_begin(a->w, a->now, c.n);
	for (int stage = 0; stage < 3; stage++) {
		apply(a, &c, stage, REFUSE);
		apply(a, &c, stage, DEFER);
	}
	if (a->whole ? all_left(a) : any_left(a))
		count(a, &c);
}

void
limits_connection(struct admit *a)
{
	struct checks c = {0};

	checks_of(a, &c);
	if (a->w)
		window_begin(a->w, a->now, c.n);
	for (enum action what = REFUSE; what >= DEFER; what--)
		for (size_t i = 0; i < c.n; i++)
			if (judge(a, &c.v[i], NULL) == what) {
				a->out->reply = check_reply(a, &c.v[i], what);
				return;
			}
	count(a, &c);
}
