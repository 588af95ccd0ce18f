/*
 * op: operations begin, speak, and end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "parent/inside.h"

enum { MOST_OUT = 8 << 20, FLUSH_AT = 16 << 10 };

const struct op_row op_table[OP_NOP] = {
	[CTL_STATUS] = {"status", false, run_status},
	[CTL_PLAN] = {"plan", false, run_plan},
	[CTL_APPLY] = {"apply", true, run_apply},
	[CTL_CONFIRM] = {"confirm", true, run_confirm},
	[CTL_ROLLBACK] = {"rollback", true, run_rollback},
	[CTL_BLOCK] = {"block", true, run_block},
	[CTL_UNBLOCK] = {"unblock", true, run_unblock},
	[CTL_DRIFT] = {"drift", false, run_drift},
	[CTL_ATTEMPTS] = {"attempts", false, run_attempts},
	[CTL_HISTORY] = {"history", false, run_history},
	[CTL_METRICS] = {"metrics", false, run_metrics},
	[CTL_PAUSE] = {"pause", true, run_pause},
	[CTL_REMOVE] = {"remove", true, run_remove},
	[CTL_CHECK] = {"check", false, run_check},
	[CTL_QUEUE] = {"queue", false, run_queue},
	[CTL_DOCTOR] = {"doctor", false, run_doctor},
	[OP_BOOT] = {"boot", true, run_boot},
	[OP_HUP] = {"reload", true, run_apply},
	[OP_REVERT] = {"revert", true, run_revert},
	[OP_FOREIGN] = {"look at other tables", false, run_foreign},
	[OP_DRIFTED] = {"look at drift", false, run_drifted},
};

struct op *
op_new(struct parent *p, uint32_t kind)
{
	struct op *o;
	unsigned n = 0;

	for (o = p->op; o; o = o->next)
		n++;
	if (n >= MOST_OPS || !(o = calloc(1, sizeof *o)))
		return NULL;
	*o = (struct op){.p = p, .next = p->op, .kind = kind, .row = &op_table[kind],
	    .began = now_us(CLOCK_MONOTONIC), .out = BUF_INIT(MOST_OUT),
	    .plan = -1, .bundle = -1, .record = -1};
	p->op = o;
	return o;
}

struct op *
op_own(struct parent *p, uint32_t kind)
{
	struct op *o;

	if (op_table[kind].changes && p->changing)
		return NULL;
	o = op_new(p, kind);
	if (o) {
		o->internal = true;
		o->uid = p->uid;
		o->pid = (uint32_t)getpid();
	}
	return o;
}

void
op_begin(struct op *o)
{
	struct parent *p = o->p;

	if (o->row->changes) {
		const struct op *x = p->changing;

		if (x) {
			op_fail(o, 1, "busy: %s is being done, asked by uid %u (pid %u) %" PRIu64 " s ago",
			    x->row->name, x->uid, x->pid, (now_us(CLOCK_MONOTONIC) - x->began) / 1000000);
			return;
		}
		p->changing = o;
		notify_status(p);
	}
	o->row->run(o);
}

/* Tells the client what was said. */
static void
flush(struct op *o)
{
	if (o->client && o->out.n)
		client_say(o->client, o->wrong ? CTL_ERR : CTL_OUT, o->out.p, o->out.n);
	if (!o->internal)
		buf_free(&o->out);
}

/* Names of programs, files and policies are not ours: what a terminal takes for an order is
 * written out. */
static void
put_plain(struct buf *b, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i], d = i + 1 < n ? (unsigned char)s[i + 1] : 0;

		if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f)
			buf_printf(b, "\\x%02x", c);
		else if (c == 0xc2 && d >= 0x80 && d < 0xa0)
			buf_printf(b, "\\xc2\\x%02x", (unsigned char)s[++i]);
		else
			buf_chr(b, (char)c);
	}
}

static void
say(struct op *o, bool wrong, const char *fmt, va_list ap)
{
	char text[4096];

	if (wrong != o->wrong)
		flush(o);
	o->wrong = wrong;
	vsnprintf(text, sizeof text, fmt, ap);
	put_plain(&o->out, text, strlen(text));
	if (!o->internal && o->out.n > FLUSH_AT)
		flush(o);
}

void
op_out(struct op *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(o, false, fmt, ap);
	va_end(ap);
}

void
op_err(struct op *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(o, true, fmt, ap);
	va_end(ap);
}

void
op_text(struct op *o, const char *bytes, size_t n)
{
	if (o->wrong)
		flush(o);
	o->wrong = false;
	put_plain(&o->out, bytes, n);
	if (!o->internal && o->out.n > FLUSH_AT)
		flush(o);
}

/* Nobody reads: the log does. */
static void
to_log(struct op *o, uint32_t status)
{
	char *p = o->out.p;
	unsigned n = 0;

	while (p && *p && n++ < 40) {
		char *end = strchr(p, '\n');

		if (end)
			*end = '\0';
		if (*p)
			log_say(status ? LOG_IS_ERROR : LOG_IS_NOTICE, NULL, "%s: %s", o->row->name, p);
		p = end ? end + 1 : NULL;
	}
}

void
op_forsaken(struct op *o)
{
	o->client = NULL;
	/* it waits for one thing at a time; while it speaks for none */
	if (!o->row->changes && !o->internal && (jobs_drop(o->p, o) || asks_wait(o->p, o)))
		op_end(o, 1);
}

void
op_end(struct op *o, uint32_t status)
{
	struct parent *p = o->p;
	const int held[] = {o->plan, o->bundle, o->record};

	flush(o);
	if (o->internal)
		to_log(o, status);
	buf_free(&o->out);
	if (o->client)
		client_end(o->client, status);
	for (struct op **at = &p->op; *at; at = &(*at)->next)
		if (*at == o) {
			*at = o->next;
			break;
		}
	asks_drop(p, o);
	for (size_t i = 0; i < sizeof held / sizeof held[0]; i++)
		if (held[i] >= 0)
			close(held[i]);
	state_about_free(&o->about);
	state_about_free(&o->was);
	free(o->text);
	free(o->summary);
	free(o->cut);
	ipc_free(&o->in);
	if (p->changing == o) {
		p->changing = NULL;
		notify_status(p);
	}
	free(o);
	/* what had to wait for its turn */
	if (!p->changing && p->revert_due && !p->ending) {
		struct op *r = op_own(p, OP_REVERT);

		if (r)
			op_begin(r);
	}
	if (!p->changing && p->hup_due && !p->ending) {
		struct op *b = op_own(p, OP_HUP);

		p->hup_due = false;
		if (b)
			op_begin(b);
	}
}

void
op_fail(struct op *o, uint32_t status, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	/* the log puts the name before every line */
	op_err(o, "%s%s%s\n", o->internal ? "" : o->row->name, o->internal ? "" : ": ", text);
	op_end(o, status);
}
