/*
 * explain: what happens to a packet or a message and why; what a code means.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cgroup.h"
#include "base/units.h"
#include "gen/commands.h"
#include "gen/describe.h"
#include "gen/unit.h"
#include "mail/mail.h"

enum { PROBES_MOST = 64 << 20 };

/* A question about a packet: the probe and what goes with it. */
struct question {
	const char *probe;
	const char *at, *date, *user, *unit, *direction;
};

static const char *const hook_word[] = {
	[PACKET_FORWARD] = "forwarded", [PACKET_OUTPUT] = "outbound", [PACKET_INPUT] = "inbound",
};

static bool
is_code(const char *s)
{
	return strchr("EWNewn", s[0]) && isdigit((unsigned char)s[1]) && strlen(s) >= 4 &&
	    s[1 + strspn(s + 1, "0123456789")] == 0;
}

/* Wraps text at 78 columns. */
static void
wrap(struct buf *out, const char *s)
{
	size_t col = 0;

	while (*s) {
		size_t n = strcspn(s, " \n");

		if (col && col + 1 + n > 78) {
			buf_chr(out, '\n');
			col = 0;
		} else if (col) {
			buf_chr(out, ' ');
			col++;
		}
		buf_add(out, s, n);
		col += n;
		s += n;
		if (*s == '\n') {
			buf_chr(out, '\n');
			col = 0;
		}
		s += *s != 0;
	}
	buf_chr(out, '\n');
}

static int
explain_code(const struct args *a, const char *name)
{
	enum diag_code code = diag_code_find(name);
	struct buf out = BUF_INIT(64 * 1024);

	if (code == DIAG_NCODE) {
		fprintf(stderr, "mailreeve: there is no code %s\n", name);
		return UNIT_MACHINE;
	}
	buf_printf(&out, "%s: %s\n\n", diag_row(code)->code, diag_row(code)->title);
	wrap(&out, diag_row(code)->text);
	return unit_write(a, &out, 0);
}

/* The point of a question; NULL after a message. */
static const struct policy_point *
point_of(struct unit *u, const struct question *q)
{
	const struct policy_point *pt;

	if (!q->at)
		return unit_point(u, ARG_AT);
	pt = policy_point_find(u->c.policy, q->at);
	if (!pt)
		fprintf(stderr, "mailreeve: %s has no point '%s'\n", u->c.name, q->at);
	return pt;
}

static int
hook_of(const struct question *q, const struct policy_point *pt, enum packet_hook *hook)
{
	if (pt->kind == POLICY_ROUTER) {
		*hook = PACKET_FORWARD;
		return 0;
	}
	*hook = pt->zone[0]->judge[POLICY_OUTBOUND].present ? PACKET_OUTPUT : PACKET_INPUT;
	if (!q->direction)
		return 0;
	for (int h = PACKET_FORWARD; h <= PACKET_INPUT; h++)
		if (!strcmp(q->direction, hook_word[h])) {
			*hook = (enum packet_hook)h;
			return 0;
		}
	fprintf(stderr, "mailreeve: a direction is outbound, inbound or forwarded, not '%s'\n",
	    q->direction);
	return UNIT_MACHINE;
}

static void
human(struct buf *out, struct unit *u, const struct look_explain *e)
{
	bool first = true;

	buf_printf(out, "%s: ", e->point->meta.name);
	describe_packet(out, u->a, &e->packet, true);
	buf_printf(out, "\n  %s\n  %s\n", describe_verdict(e->leaf.verdict, e->leaf.observe), e->why);
	for (size_t i = 0; i < e->nsaid; i++) {
		const struct policy_meta *m = &e->said[i].stmt->meta;

		if (e->said[i].decided) {
			buf_printf(out, "  decided by  %s\n", describe_stmt(u->a, u->c.text, e->said[i].stmt));
			if (m->reason)
				buf_printf(out, "              reason: %s\n", m->reason);
			if (m->source)
				buf_printf(out, "              source: %s\n", m->source);
		} else {
			buf_printf(out, "  %s  %s%s\n", first ? "overruled " : "          ",
			    describe_stmt(u->a, u->c.text, e->said[i].stmt),
			    e->said[i].asleep ? " (not on this day)" : "");
			first = false;
		}
	}
	if (*e->limits)
		buf_printf(out, "  limit       %s\n", e->limits);
	if (e->until < UINT64_MAX)
		buf_printf(out, "  until       %s\n", describe_second(u->a, e->until));
}

static void
json(struct buf *out, struct unit *u, const struct look_explain *e)
{
	char probe[128];

	packet_write(&e->packet, probe);
	buf_str(out, "{\"point\": ");
	buf_json(out, e->point->meta.name);
	buf_str(out, ", \"probe\": ");
	buf_json(out, probe);
	buf_printf(out, ", \"hook\": \"%s\", \"date\": ", hook_word[e->packet.hook]);
	buf_dec(out, e->packet.date);
	buf_str(out, ", \"user\": ");
	if (e->packet.user)
		buf_json(out, e->packet.user);
	else
		buf_str(out, "null");
	buf_str(out, ", \"unit\": ");
	if (e->packet.unit)
		buf_json(out, e->packet.unit);
	else
		buf_str(out, "null");
	buf_printf(out, ", \"verdict\": \"%s\", \"observed\": %s, \"fate\": \"%s\", \"why\": ",
	    flow_verdict_name(e->leaf.verdict), e->leaf.observe ? "true" : "false",
	    flow_verdict_name(e->fate));
	buf_json(out, e->why);
	for (int decided = 1; decided >= 0; decided--) {
		const char *comma = "";

		buf_printf(out, ", \"%s\": [", decided ? "decided" : "overruled");
		for (size_t i = 0; i < e->nsaid; i++) {
			if (e->said[i].decided != (bool)decided)
				continue;
			buf_str(out, comma);
			comma = ", ";
			describe_stmt_json(out, u->c.text, e->said[i].stmt);
		}
		buf_chr(out, ']');
	}
	buf_str(out, ", \"limits\": ");
	buf_json(out, e->limits);
	buf_str(out, ", \"until\": ");
	if (e->until < UINT64_MAX)
		buf_dec(out, e->until);
	else
		buf_str(out, "null");
	buf_str(out, "}\n");
}

/* Answers one question into the buffer. `m` holds the answer's memory. */
static int
answer(struct buf *out, struct unit *u, const struct question *q, int form)
{
	const struct policy_point *pt = point_of(u, q);
	struct look_explain e;
	struct packet p;
	size_t where = 0, len = 0;
	const char *wrong;
	uint64_t date;
	int err;

	if (!pt)
		return UNIT_MACHINE;
	wrong = packet_read(q->probe, strlen(q->probe), &p, &where, &len);
	if (wrong) {
		fprintf(stderr, "mailreeve: %s\n  %s\n  %*s^\n", wrong, q->probe, (int)where, "");
		return UNIT_MACHINE;
	}
	if ((err = hook_of(q, pt, &p.hook)) || (err = unit_date(u, q->date, &date)))
		return err;
	p.date = date;
	p.user = q->user;
	p.unit = q->unit ? cgroup_of_unit(u->a, q->unit) : NULL;
	look_explain(u->a, u->c.flow, u->c.meaning[pt->index], pt, &p, &e);
	if (form == UNIT_JSON)
		json(out, u, &e);
	else
		human(out, u, &e);
	return 0;
}

/* Reads "key=value" words behind the ";" of a line of --probes. */
static int
question_words(struct question *q, char *s)
{
	static const char *const key[] = {"at", "date", "user", "unit", "direction"};

	for (char *save = NULL, *w = strtok_r(s, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
		const char **place[] = {&q->at, &q->date, &q->user, &q->unit, &q->direction};
		size_t i = 0, n = strcspn(w, "=");

		while (i < 5 && (strlen(key[i]) != n || memcmp(key[i], w, n)))
			i++;
		if (i == 5 || w[n] != '=' || !w[n + 1]) {
			fprintf(stderr, "mailreeve: '%s' is none of at=, date=, user=, unit=, "
			    "direction=\n", w);
			return UNIT_MACHINE;
		}
		*place[i] = w + n + 1;
	}
	return 0;
}

static int
answer_file(struct buf *out, struct unit *u, const char *path, const struct question *given, int form)
{
	const char *bytes;
	size_t len, line = 0;
	int err = world_slurp(u->a, path, PROBES_MOST, &bytes, &len), status = 0;

	if (err)
		return unit_cannot("read", path, err);
	for (const char *s = bytes, *end = bytes + len, *next; s < end; s = next) {
		const char *nl = memchr(s, '\n', (size_t)(end - s));
		struct question q = *given;
		char *text, *semi, *e;

		next = nl ? nl + 1 : end;
		line++;
		text = arena_strn(u->a, s, (size_t)((nl ? nl : end) - s));
		text += strspn(text, " \t\r");
		if (!*text || *text == '#')
			continue;
		semi = strchr(text, ';');
		err = 0;
		if (semi) {
			*semi = 0;
			err = question_words(&q, semi + 1);
		}
		for (e = text + strlen(text); e > text && strchr(" \t\r", e[-1]); )
			*--e = 0;
		q.probe = text;
		if (!err)
			err = answer(out, u, &q, form);
		if (err) {
			fprintf(stderr, "mailreeve: that was line %zu of %s\n", line, path);
			status = err;
		}
	}
	return status;
}

/* "6 MB", "100 KiB", "5000 bytes": bytes. A unit must stand there, as in a policy. */
static bool
size_read(const char *s, uint64_t *out)
{
	static const struct {
		const char *unit;
		uint64_t n;
	} row[] = {
		{"B", 1}, {"bytes", 1}, {"kB", 1000}, {"KB", 1000}, {"MB", 1000000}, {"GB", 1000000000},
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	};
	char *end;
	unsigned long long n;

	if (!isdigit((unsigned char)*s))
		return false;
	n = strtoull(s, &end, 10);
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		if (!strcmp(end, row[i].unit) && n <= UINT64_MAX / row[i].n / 2) {
			*out = n * row[i].n;
			return true;
		}
	return false;
}

static void
reply_json(struct buf *out, struct unit *u, const struct mail_reply *r)
{
	buf_printf(out, "{\"code\": %u, \"enhanced\": ", r->code);
	buf_json(out, r->enhanced ? r->enhanced : "");
	buf_str(out, ", \"text\": ");
	buf_json(out, r->text ? r->text : "");
	buf_str(out, ", \"rule\": ");
	buf_json(out, r->rule ? r->rule : "");
	buf_str(out, ", \"place\": ");
	buf_json(out, describe_place(u->a, u->c.text, r->at));
	buf_chr(out, '}');
}

static void
message_json(struct buf *out, struct unit *u, const struct mail_verdict *v)
{
	buf_str(out, "{\"application\": ");
	if (v->application)
		buf_json(out, v->application->meta.name);
	else
		buf_str(out, "null");
	buf_str(out, ", \"sender\": ");
	buf_json(out, v->sender ? v->sender : "");
	buf_printf(out, ", \"rewritten\": %s, \"reply\": ", v->rewritten ? "true" : "false");
	reply_json(out, u, &v->reply);
	buf_str(out, ", \"recipients\": [");
	for (size_t i = 0; i < v->nrecipient; i++) {
		buf_printf(out, "%s{\"address\": ", i ? ", " : "");
		buf_json(out, v->recipient[i].address);
		buf_str(out, ", \"relay\": ");
		if (v->recipient[i].relay)
			buf_json(out, v->recipient[i].relay->meta.name);
		else
			buf_str(out, "null");
		buf_printf(out, ", \"auth\": %s, \"reply\": ", v->recipient[i].auth ? "true" : "false");
		reply_json(out, u, &v->recipient[i].reply);
		buf_chr(out, '}');
	}
	buf_str(out, "], \"warnings\": [");
	for (size_t i = 0; i < v->nwarning; i++) {
		buf_str(out, i ? ", " : "");
		buf_json(out, v->warning[i]);
	}
	buf_str(out, "]}\n");
}

static void
reply_human(struct buf *out, struct unit *u, const struct mail_reply *r)
{
	const char *place = describe_place(u->a, u->c.text, r->at);

	buf_printf(out, "%u %s %s\n", r->code, r->enhanced ? r->enhanced : "", r->text ? r->text : "");
	if (r->rule)
		buf_printf(out, "    decided by  %s%s%s\n", r->rule, *place ? ", " : "", place);
}

static void
limits_human(struct buf *out, const char *whose, const struct policy_mail_limits *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct policy_mail_limit *x = &l->v[i];
		char size[32], per[32];

		buf_printf(out, "limit: %s: at most ", whose);
		if (x->count == POLICY_COUNT_BYTES)
			buf_str(out, units_size(x->most, size));
		else
			buf_printf(out, "%llu %s", (unsigned long long)x->most, policy_count_word(x->count));
		buf_printf(out, " per %s", x->window == POLICY_PER_MESSAGE ? "message" :
		    x->window == POLICY_PER_CONNECTION ? "connection" : units_time(x->seconds, per));
		if (x->each != POLICY_EACH_ALL)
			buf_printf(out, " for each %s", policy_each_word(x->each));
		buf_printf(out, ", over it %s\n", policy_over_word(x->over));
	}
}

/* What was asked, and what is true of it besides the reply. */
static void
message_human(struct buf *out, const struct policy *p, const struct policy_message *m,
    const struct mail_verdict *v)
{
	char size[32];

	buf_printf(out, "message: %s from <%s>", units_size(m->size, size), m->from);
	for (size_t i = 0; i < m->nheader; i++)
		buf_printf(out, "%s%s", i ? ", " : ", From field ", m->header[i]);
	buf_printf(out, "\napplication: %s\n", v->application ? v->application->meta.name : "unregistered");
	if (v->rewritten)
		buf_printf(out, "rewritten: the sender becomes <%s>\n", v->sender);
	if (v->application) {
		limits_human(out, v->application->meta.name, &v->application->limits);
		if (v->application->kind)
			limits_human(out, v->application->kind->meta.name, &v->application->kind->limits);
	}
	limits_human(out, "submission", &p->submission.limits);
	for (size_t i = 0; i < v->nrecipient; i++) {
		const struct policy_relay *r = v->recipient[i].relay;
		bool said = !r;

		for (size_t k = 0; k < i; k++)
			said |= v->recipient[k].relay == r;
		if (!said)
			limits_human(out, r->meta.name, &r->limits);
	}
}

static int
explain_message(const struct args *a, struct unit *u, int form)
{
	const struct policy *p = u->c.policy;
	const char *size = arg_value(a, ARG_SIZE), *unit = arg_value(a, ARG_UNIT);
	struct policy_message m = {
		.user = arg_value(a, ARG_USER),
		.application = arg_value(a, ARG_APPLICATION),
		.from = arg_value(a, ARG_FROM),
		.header = a->value[ARG_HEADER], .nheader = a->nvalue[ARG_HEADER],
		.to = a->value[ARG_RECIPIENT], .nto = a->nvalue[ARG_RECIPIENT],
		.size = 1000,
	};
	struct mail_verdict v;
	struct buf out = BUF_INIT(UNIT_OUT_MOST);

	if (!p->submission.present) {
		fprintf(stderr, "mailreeve: %s has no `submission:`, so it says nothing of messages\n",
		    u->c.name);
		return UNIT_MACHINE;
	}
	if (!m.from || !m.nto) {
		fprintf(stderr, "mailreeve: a message needs --from ADDRESS and --recipient ADDRESS\n");
		return UNIT_MACHINE;
	}
	if (size && !size_read(size, &m.size)) {
		fprintf(stderr, "mailreeve: '%s' is no size; write it with a unit: '6 MB', '100 KiB', '5000 bytes'\n", size);
		return UNIT_MACHINE;
	}
	if (m.application) {
		size_t i = 0;

		while (i < p->submission.napplication &&
		    strcmp(p->submission.application[i]->meta.name, m.application))
			i++;
		if (i == p->submission.napplication) {
			fprintf(stderr, "mailreeve: %s has no application '%s'; it has:", u->c.name,
			    m.application);
			for (i = 0; i < p->submission.napplication; i++)
				fprintf(stderr, " %s", p->submission.application[i]->meta.name);
			fputc('\n', stderr);
			return UNIT_MACHINE;
		}
	}
	if (!m.nheader && *m.from) {
		m.header = &m.from;
		m.nheader = 1;
	}
	m.unit = unit ? cgroup_of_unit(u->a, unit) : NULL;
	mail_admit(u->a, p, &m, NULL, 0, &v);
	if (form == UNIT_JSON) {
		message_json(&out, u, &v);
		return unit_write(a, &out, 0);
	}
	message_human(&out, p, &m, &v);
	buf_str(&out, "reply: ");
	reply_human(&out, u, &v.reply);
	for (size_t i = 0; i < v.nrecipient; i++) {
		buf_printf(&out, "  <%s> %s%s%s: ", v.recipient[i].address,
		    v.recipient[i].relay ? "via " : "to no relay",
		    v.recipient[i].relay ? v.recipient[i].relay->meta.name : "",
		    v.recipient[i].auth ? " with AUTH" : "");
		reply_human(&out, u, &v.recipient[i].reply);
	}
	for (size_t i = 0; i < v.nwarning; i++)
		buf_printf(&out, "  warning: %s\n", v.warning[i]);
	return unit_write(a, &out, 0);
}

int
command_explain(const struct args *a)
{
	int form = unit_form(a, 1u << UNIT_HUMAN | 1u << UNIT_JSON), status;
	bool message = a->nvalue[ARG_RECIPIENT] || a->nvalue[ARG_FROM];
	const char *probes = arg_value(a, ARG_PROBES);
	struct question q = {
		.probe = a->nword > 1 ? a->word[1] : NULL,
		.at = arg_value(a, ARG_AT), .date = arg_value(a, ARG_DATE),
		.user = arg_value(a, ARG_USER), .unit = arg_value(a, ARG_UNIT),
		.direction = arg_value(a, ARG_DIRECTION),
	};
	struct buf out = BUF_INIT(UNIT_OUT_MOST);
	struct unit u;

	if (form < 0)
		return UNIT_MACHINE;
	if (a->nword == 1 && !message && !probes && is_code(a->word[0]))
		return explain_code(a, a->word[0]);
	if (a->nword == 2 && is_code(a->word[0])) {
		fprintf(stderr, "mailreeve explain: a code stands alone: mailreeve explain %s\n", a->word[0]);
		return UNIT_MACHINE;
	}
	if ((q.probe != NULL) + (probes != NULL) + message != 1) {
		fprintf(stderr, "mailreeve explain: give one of: a probe, --probes FILE, or a message with "
		    "--from and --recipient\n");
		return UNIT_MACHINE;
	}
	status = unit_open(&u, a->word[0], a);
	if (!status)
		status = unit_run(&u, 1u << COMPILE_READ | (message ? 0 : 1u << COMPILE_MEAN));
	if (!status && message)
		status = explain_message(a, &u, form);
	else if (!status && probes)
		status = answer_file(&out, &u, probes, &q, form);
	else if (!status)
		status = answer(&out, &u, &q, form);
	if (!message)
		status = status ? status : unit_write(a, &out, 0);
	u.c.flow = flow_free(u.c.flow);
	unit_close(&u);
	return status;
}
