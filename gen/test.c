/*
 * test: the policy proves itself.
 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/utf8.h"
#include "gen/commands.h"
#include "gen/describe.h"
#include "gen/unit.h"

/* Text for XML 1.0: what it cannot hold becomes "?". */
static void
xml(struct buf *out, const char *s)
{
	size_t n = strlen(s);

	while (n) {
		uint32_t c = 0;
		size_t k = utf8_next(s, n, &c);

		if (c == '<' && k)
			buf_str(out, "&lt;");
		else if (c == '>' && k)
			buf_str(out, "&gt;");
		else if (c == '&' && k)
			buf_str(out, "&amp;");
		else if (c == '"' && k)
			buf_str(out, "&quot;");
		else if (!k || (c < 0x20 && c != '\n' && c != '\t') || c == 0xfffe || c == 0xffff)
			buf_chr(out, '?');
		else
			buf_add(out, s, k);
		s += k ? k : 1;
		n -= k ? k : 1;
	}
}

static const char *
expected(struct arena *a, const struct policy_test *t)
{
	if (!t->send)
		return policy_expect_word(t->expect);
	return t->expect_relay ? arena_printf(a, "%s by %s",
	    t->expect_code ? t->expect_code : "any reply", t->expect_relay) : t->expect_code;
}

/* What is asked, with the test's name and day. */
static const char *
question(struct unit *u, const struct look_result *x)
{
	const struct policy_test *t = x->test;
	const char *s = t->meta.name ? arena_printf(u->a, "%s: %s", t->meta.name, x->label) : x->label;

	return t->dated ? arena_printf(u->a, "%s, on %s", s, describe_second(u->a, t->day_from)) : s;
}

static void
human(struct buf *out, struct unit *u, const struct look_results *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct look_result *x = &r->v[i];

		buf_printf(out, "%s %s: %s", x->ok ? "ok  " : "FAIL", u->c.name, question(u, x));
		if (x->ok) {
			buf_printf(out, " = %s\n", expected(u->a, x->test));
			continue;
		}
		buf_printf(out, "\n     %s: expected %s, got %s", describe_place(u->a, u->c.text,
		    x->test->meta.at), expected(u->a, x->test), x->got);
		if (x->when)
			buf_printf(out, " (on %s)", describe_second(u->a, x->when));
		buf_chr(out, '\n');
	}
}

static const char *const hook_word[] = {
	[PACKET_FORWARD] = "forwarded", [PACKET_OUTPUT] = "outbound", [PACKET_INPUT] = "inbound",
};

static void
json_str(struct buf *out, const char *key, const char *value)
{
	buf_printf(out, ", \"%s\": ", key);
	if (value)
		buf_json(out, value);
	else
		buf_str(out, "null");
}

static void
json(struct buf *out, struct unit *u, const struct look_results *r, bool first)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct look_result *x = &r->v[i];
		const struct policy_test *t = x->test;
		struct text_place p = text_place(u->c.text, t->meta.at);

		buf_printf(out, "%s\n  {\"ok\": %s", first && !i ? "" : ",", x->ok ? "true" : "false");
		json_str(out, "policy", u->c.name);
		json_str(out, "label", question(u, x));
		json_str(out, "name", t->meta.name);
		json_str(out, "file", p.name);
		buf_printf(out, ", \"line\": %u", p.line);
		json_str(out, "kind", t->send ? "message" : "packet");
		if (!t->send) {
			json_str(out, "at", t->point->meta.name);
			json_str(out, "probe", t->probe);
			json_str(out, "hook", hook_word[t->packet.hook]);
			json_str(out, "user", t->packet.user);
			json_str(out, "unit", t->packet.unit);
			buf_str(out, ", \"date\": ");
			if (t->dated)
				buf_dec(out, t->day_from);
			else
				buf_str(out, "null");
		}
		json_str(out, "expect", expected(u->a, t));
		json_str(out, "got", x->got);
		buf_chr(out, '}');
	}
}

static void
junit(struct buf *out, struct unit *u, const struct look_results *r)
{
	buf_str(out, " <testsuite name=\"");
	xml(out, u->c.name);
	buf_printf(out, "\" tests=\"%zu\" failures=\"%zu\">\n", r->n, r->failed);
	for (size_t i = 0; i < r->n; i++) {
		const struct look_result *x = &r->v[i];
		struct text_place p = text_place(u->c.text, x->test->meta.at);

		buf_str(out, "  <testcase classname=\"");
		xml(out, u->c.name);
		buf_str(out, "\" name=\"");
		xml(out, question(u, x));
		buf_str(out, "\" file=\"");
		xml(out, p.name);
		buf_printf(out, "\" line=\"%u\"", p.line);
		if (x->ok) {
			buf_str(out, "/>\n");
			continue;
		}
		buf_str(out, ">\n   <failure message=\"expected ");
		xml(out, expected(u->a, x->test));
		buf_str(out, ", got ");
		xml(out, x->got);
		buf_str(out, "\"/>\n  </testcase>\n");
	}
	buf_str(out, " </testsuite>\n");
}

int
command_test(const struct args *a)
{
	int form = unit_form(a, 1u << UNIT_HUMAN | 1u << UNIT_JSON | 1u << UNIT_JUNIT);
	struct buf out = BUF_INIT(UNIT_OUT_MOST);
	size_t passed = 0, failed = 0;
	bool first = true;
	int status = 0;

	if (form < 0)
		return UNIT_MACHINE;
	if (form == UNIT_JSON)
		buf_chr(&out, '[');
	if (form == UNIT_JUNIT)
		buf_str(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
	for (size_t i = 0; i < a->nword; i++) {
		struct unit u;
		struct look_results r = {.n = 0};
		int err = unit_open(&u, a->word[i], a);

		if (!err)
			err = unit_run(&u, 1u << COMPILE_READ | 1u << COMPILE_MEAN);
		if (!err && look_test(u.a, u.c.flow, u.c.policy, u.d, &r)) {
			unit_report(&u);
			err = UNIT_BAD;
		}
		if (!err) {
			if (form == UNIT_HUMAN)
				human(&out, &u, &r);
			else if (form == UNIT_JSON)
				json(&out, &u, &r, first);
			else
				junit(&out, &u, &r);
			first &= !r.n;
			passed += r.n - r.failed;
			failed += r.failed;
			if (r.failed)
				err = UNIT_BAD;
			if (!r.n)
				fprintf(stderr, "mailreeve: %s has no `tests:`\n", u.c.name);
		}
		status = err > status ? err : status;
		u.c.flow = flow_free(u.c.flow);
		unit_close(&u);
	}
	if (form == UNIT_HUMAN)
		buf_printf(&out, "%zu passed, %zu failed\n", passed, failed);
	else if (form == UNIT_JSON)
		buf_str(&out, "]\n");
	else
		buf_str(&out, "</testsuites>\n");
	return unit_write(a, &out, status);
}
