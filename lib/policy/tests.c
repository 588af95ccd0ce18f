/* The policy's own tests: packets and messages with their fate. */
#include <string.h>

#include "base/cgroup.h"
#include "policy/load.h"
#include "policy/read.h"

/* The place of byte `off` of a scalar; all of it where quotes hide where that is. */
static struct text_span
inside(const struct doc_node *n, size_t off, size_t len)
{
	uint32_t quote = n->at.len == n->n + 2;

	if (n->at.len != n->n + 2 * quote || off > n->n)
		return n->at;
	if (!len || off + len > n->n)
		len = off < n->n ? n->n - off : 1;
	return (struct text_span){n->at.file, n->at.off + quote + (uint32_t)off, (uint32_t)len};
}

/* A key that goes with packets, in a message's test, and the other way round. */
static void
misfit(struct load *l, const struct doc_node *value, const char *key, const char *why)
{
	if (value)
		diag_hint(l->d, diag_add(l->d, DIAG_E0472, value->at, "`%s` means nothing here: %s",
		    key, why), "remove it");
}

static void
packet_keys(struct load *l, const struct raw_test *raw, struct policy_test *t)
{
	const struct policy_point *pt = t->point;
	bool host = pt->kind == POLICY_HOST;

	misfit(l, raw->relay.node, "relay", "a packet goes where it is addressed");
	if (!host) {
		misfit(l, raw->user.node, "user", "a router does not see users");
		misfit(l, raw->unit.node, "unit", "a router does not see units");
		misfit(l, raw->direction.node, "direction", "a router forwards");
		t->packet.hook = PACKET_FORWARD;
		return;
	}
	t->packet.hook = PACKET_OUTPUT;
	if (raw->direction.ok)
		t->packet.hook = (enum packet_hook)raw->direction.n;
	else if (pt->nzone && !pt->zone[0]->judge[POLICY_OUTBOUND].present)
		t->packet.hook = PACKET_INPUT;
	if (t->packet.hook != PACKET_OUTPUT) {
		misfit(l, raw->user.node, "user", "only what a program of the host sends has a user");
		misfit(l, raw->unit.node, "unit", "only what a program of the host sends has a unit");
		return;
	}
	t->packet.user = raw->user.ok ? raw->user.s : NULL;
	t->packet.unit = raw->unit.ok ? cgroup_of_unit(l->a, raw->unit.s) : NULL;
}

static void
packet_test(struct load *l, const struct raw_test *raw, struct policy_test *t)
{
	size_t where = 0, len = 0;
	const char *why;

	if (!raw->at.node && raw->in.unknown)
		return;
	if (!raw->at.node) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0471, raw->in.node->at,
		    "the test does not say at which point"), "write `at: POINT`");
		return;
	}
	if (raw->at.ok)
		t->point = names_need(l, &l->points, raw->at.s, raw->at.node->at);
	if (!raw->probe.ok)
		return;
	t->probe = raw->probe.s;
	why = packet_read(raw->probe.s, raw->probe.n, &t->packet, &where, &len);
	if (why)
		diag_hint(l->d, diag_add(l->d, DIAG_E0470, inside(raw->probe.node, where, len),
		    "the probe cannot be read: %s", why),
		    "write `\"tcp 131.111.64.9 -> 8.8.8.8:25\"`, IPv6 with a port in brackets");
	if (t->point)
		packet_keys(l, raw, t);
	if (!raw->expect.ok)
		return;
	if (!read_verdict(raw->expect.s, &t->expect))
		diag_hint(l->d, diag_add(l->d, DIAG_E0473, raw->expect.node->at,
		    "`%s` is the reply to a message, and this is a packet", raw->expect.s),
		    "write allow, untouched, deny, reject, drop or capture");
	else if (t->expect == POLICY_EXPECT_CAPTURE && t->point && t->point->kind == POLICY_ROUTER)
		diag_hint(l->d, diag_add(l->d, DIAG_E0473, raw->expect.node->at,
		    "a router captures nothing"), "write reject, drop or deny");
}

static void
message_test(struct load *l, const struct raw_test *raw, struct policy_test *t)
{
	struct policy_message *m = &t->message;
	const struct raw_send *s = &raw->send;
	enum policy_expect verdict;
	struct rel *r;

	t->send = true;
	misfit(l, raw->at.node, "at", "a message is submitted to the forwarder, not to a point");
	misfit(l, raw->user.node, "user", "the user of a message stands in `send`");
	misfit(l, raw->unit.node, "unit", "the unit of a message stands in `send`");
	misfit(l, raw->direction.node, "direction", "a message has none");
	if (!l->p->submission.present && !l->file[0]->raw.submission.in.node)
		diag_hint(l->d, diag_add(l->d, DIAG_E0471, s->in.node->at,
		    "the policy has no forwarder to send a message to"), "write `submission:`");
	m->user = s->user.ok ? s->user.s : NULL;
	m->unit = s->unit.ok ? cgroup_of_unit(l->a, s->unit.s) : NULL;
	if (s->application.ok && names_need(l, &l->applications, s->application.s,
	    s->application.node->at))
		m->application = s->application.s;
	if (s->application.node && (s->user.node || s->unit.node))
		misfit(l, s->application.node, "application", "user and unit say which one it is");
	m->from = s->from.ok ? s->from.s : "";
	m->to = meta_strings(l, &s->to, &m->nto);
	m->header = meta_strings(l, &s->header, &m->nheader);
	if (!m->nheader && *m->from) {
		m->header = arena_array(l->a, 1, const char *);
		m->header[0] = m->from;
		m->nheader = 1;
	}
	m->size = s->size.ok ? s->size.n : 1000;
	if (raw->relay.ok && (r = names_need(l, &l->relays, raw->relay.s, raw->relay.node->at)))
		t->expect_relay = r->r->meta.name;
	if (!raw->expect.ok)
		return;
	t->expect_code = raw->expect.s;
	if (!read_verdict(raw->expect.s, &verdict))
		return;
	diag_hint(l->d, diag_add(l->d, DIAG_E0473, raw->expect.node->at,
	    "`%s` is the fate of a packet, and this is a message", raw->expect.s),
	    "write the beginning of the reply: \"250\", \"552\", \"550 5.7.1\"");
}

static void
test_day(struct load *l, const struct shape_day *day, struct policy_test *t)
{
	int y = day->y, m = day->m, d = day->d;

	if (!day->ok || !meta_day(l, y, m, d, &t->day_from))
		return;
	shape_day_next(&y, &m, &d);
	t->dated = meta_day(l, y, m, d, &t->day_until);
}

void
tests_make(struct load *l)
{
	const struct shape_list *list = &l->file[0]->raw.tests;

	for (size_t i = 0; i < list->n; i++) {
		const struct raw_test *raw = SHAPE_AT(*list, const struct raw_test, i);
		struct policy_test t = {0};

		if (!raw->in.node || raw->in.node->kind != DOC_MAP)
			continue;
		meta_read(l, &raw->meta, raw->in.node->at, &t.meta);
		if (!raw->probe.node && !raw->send.in.node && raw->in.unknown)
			continue;
		if (!raw->probe.node == !raw->send.in.node) {
			diag_hint(l->d, diag_add(l->d, DIAG_E0471, raw->in.node->at, raw->probe.node ?
			    "the test has both a packet and a message" :
			    "the test has neither a packet nor a message"),
			    "write `probe: \"tcp 131.111.64.9 -> 8.8.8.8:25\"` or `send: {...}`");
			continue;
		}
		if (raw->probe.node)
			packet_test(l, raw, &t);
		else if (raw->send.in.node->kind == DOC_MAP)
			message_test(l, raw, &t);
		test_day(l, &raw->date, &t);
		ARENA_PUSH(l->a, l->p->test, l->p->ntest, l->p->captest) = t;
	}
}
