/* test: the policy proves itself. */
#include "look/look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "mail/mail.h"

static bool
as_expected(enum policy_expect e, enum flow_verdict v)
{
	switch (e) {
	case POLICY_EXPECT_ALLOW:
		return v == FLOW_ALLOW || v == FLOW_UNTOUCHED;
	case POLICY_EXPECT_UNTOUCHED:
		return v == FLOW_UNTOUCHED;
	case POLICY_EXPECT_DENY:
		return v == FLOW_REJECT || v == FLOW_DROP;
	case POLICY_EXPECT_REJECT:
		return v == FLOW_REJECT;
	case POLICY_EXPECT_DROP:
		return v == FLOW_DROP;
	case POLICY_EXPECT_CAPTURE:
		return v == FLOW_CAPTURE;
	}
	return false;
}

static const char *
got_packet(struct arena *m, struct text_set *t, const struct flow_leaf *l)
{
	const char *s = arena_printf(m, "%s%s", flow_verdict_name(l->verdict),
	    l->observe ? " (observed: passes)" : "");

	for (unsigned i = 0; i < l->nstmt; i++)
		s = arena_printf(m, "%s%s%s", s, i ? " and " : " by ", policy_stmt_label(m, l->stmt[i]));
	if (l->more)
		s = arena_printf(m, "%s and others", s);
	if (l->nstmt && t && l->stmt[0]->meta.at.file != TEXT_NOWHERE) {
		struct text_place at = text_place(t, l->stmt[0]->meta.at);

		s = arena_printf(m, "%s, %s:%u", s, at.name, at.line);
	}
	return s;
}

/* From one change of the verdict to the next, so that every second counts. */
static void
packet_test(struct arena *m, struct flow *f, flow_ref r, const struct policy *p,
    struct look_result *out)
{
	const struct policy_test *t = out->test;
	struct packet x = t->packet;
	uint64_t at = t->dated ? t->day_from : 0, end = t->dated ? t->day_until : UINT64_MAX;

	out->ok = true;
	while (out->ok && at < end) {
		const struct flow_leaf *l;

		x.date = at;
		l = flow_eval(f, r, &x);
		if (!as_expected(t->expect, l->observe ? FLOW_UNTOUCHED : l->verdict)) {
			out->ok = false;
			out->when = at;
		}
		if (!out->ok || !out->got)
			out->got = got_packet(m, p->text, l);
		at = flow_eval_until(f, r, &x);
	}
}

static void
message_test(struct arena *m, const struct policy *p, struct look_result *out)
{
	const struct policy_test *t = out->test;
	struct mail_verdict v = {0};
	const struct mail_reply *reply = &v.reply;
	const char *text;

	mail_admit(m, p, &t->message, NULL, 0, &v);
	/* A message that reaches some and not all of its recipients is no 250. */
	for (size_t i = 0; reply->code < 400 && i < v.nrecipient; i++)
		reply = v.recipient[i].reply.code >= 400 ? &v.recipient[i].reply : reply;
	text = arena_printf(m, "%u %s", reply->code, reply->enhanced ? reply->enhanced : "");
	out->ok = true;
	if (t->expect_code)
		out->ok = !strncmp(text, t->expect_code, strlen(t->expect_code));
	out->got = arena_printf(m, "%s %s", text, reply->text ? reply->text : "");
	for (size_t i = 0; i < v.nrecipient; i++) {
		const struct policy_relay *y = v.recipient[i].relay;

		if (!t->expect_relay)
			continue;
		if (!y || strcmp(y->meta.name, t->expect_relay) != 0) {
			out->ok = false;
			out->got = arena_printf(m, "%s, %s by %s", out->got, v.recipient[i].address,
			    y ? y->meta.name : "no relay");
		}
	}
	if (t->expect_relay && !v.nrecipient)
		out->ok = false;
}

static const char *
label(struct arena *m, const struct policy_test *t)
{
	const char *who = t->message.application ? t->message.application :
	    t->message.user ? t->message.user : "anybody";
	const char *s;

	if (!t->send) {
		s = arena_printf(m, "%s: %s", t->point->meta.name, t->probe);
		if (t->packet.user)
			s = arena_printf(m, "%s, user %s", s, t->packet.user);
		if (t->packet.unit)
			s = arena_printf(m, "%s, unit %s", s, t->packet.unit);
		return s;
	}
	s = arena_printf(m, "send: %s as <%s> to ", who, t->message.from ? t->message.from : "");
	for (size_t i = 0; i < t->message.nto; i++)
		s = arena_printf(m, "%s%s%s", s, i ? ", " : "", t->message.to[i]);
	return arena_printf(m, "%s, %llu bytes", s, (unsigned long long)t->message.size);
}

int
look_test(struct arena *m, struct flow *f, const struct policy *p,
    struct diags *d, struct look_results *out)
{
	struct look_results r = {.v = arena_array(m, p->ntest, struct look_result)};
	flow_ref *point = arena_array(m, p->npoint, flow_ref);
	bool *made = arena_array(m, p->npoint, bool);

	for (size_t i = 0; i < p->ntest; i++) {
		const struct policy_test *t = &p->test[i];
		struct look_result *x = &r.v[r.n++];

		x->test = t;
		x->label = label(m, t);
		if (t->send) {
			message_test(m, p, x);
		} else {
			uint32_t k = t->point->index;

			if (!made[k]) {
				made[k] = true;
				point[k] = flow_point(f, t->point, d);
			}
			if (point[k] == FLOW_NONE)
				return -E2BIG;
			packet_test(m, f, point[k], p, x);
		}
		r.failed += !x->ok;
	}
	*out = r;
	return 0;
}
