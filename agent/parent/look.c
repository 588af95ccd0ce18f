/*
 * look: what only looks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "parent/inside.h"
#include "role/attempt_text.h"

void
when_text(uint64_t us, char out[32])
{
	time_t t = (time_t)(us / 1000000);
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, 32, "%Y-%m-%d %H:%M:%SZ", &tm))
		snprintf(out, 32, "?");
}

static uint32_t
how_many(const struct op *o, uint32_t most)
{
	return o->number == 0 ? 20 : o->number < most ? o->number : most;
}

/* ---- plan ------------------------------------------------------------------------------------ */

static void
planned(struct op *o)
{
	const uint8_t *plan = NULL, *bundle = NULL;
	size_t nplan = 0, nbundle = 0;
	struct parent *p = o->p;
	uint32_t number = 0;
	char hex[17];
	int err;

	if (o->text && *o->text)
		op_text(o, o->text, strlen(o->text));
	if (o->differences == 0)
		op_out(o, "nothing would change\n");
	if (o->cut && *o->cut)
		op_err(o, "warning: it would cut the connection that you are connected by (%s)\n", o->cut);
	o->about.uid = o->uid;
	o->about.pid = o->pid;
	o->about.when = now_us(CLOCK_REALTIME);
	o->about.kernel = o->kernel;
	snprintf(o->about.boot, sizeof o->about.boot, "%s", p->boot);
	if (p->force.number)
		memcpy(o->about.base, p->force.about.digest, STATE_DIGEST);
	err = ipc_map(o->plan, APPLY_MOST_PLAN, &plan, &nplan);
	if (!err && o->bundle >= 0)
		err = ipc_map(o->bundle, STATE_BULK, &bundle, &nbundle);
	if (!err)
		err = state_add(p->state, STATE_IN_PLANS, plan, nplan, bundle, nbundle, &o->about, &number);
	if (plan)
		ipc_unmap(plan, nplan);
	if (bundle)
		ipc_unmap(bundle, nbundle);
	if (err) {
		op_fail(o, 3, "the plan cannot be saved: %s", strerror(-err));
		return;
	}
	state_prune(p->state, NULL, 0);
	op_out(o, "plan %u (digest %s, of the kernel's generation %u) is saved: mailreevectl apply %u\n",
	    number, hex_of(o->about.digest, hex), o->kernel, number);
	op_end(o, o->differences ? 1 : 0);
}

static void
plan_compare(struct op *o)
{
	/* the text of a compilation that went well holds warnings */
	if (o->text && *o->text)
		op_err(o, "%s", o->text);
	if (o->text)
		*o->text = '\0';
	o->compare = COMPILE_OWN_RULES | COMPILE_CHANGES;
	op_compare(o, planned);
}

static void
plan_record(struct op *o)
{
	op_record(o, plan_compare);
}

static void
plan_names(struct op *o)
{
	op_names(o, plan_record);
}

void
run_plan(struct op *o)
{
	op_compile(o, plan_names);
}

/* ---- drift -------------------------------------------------------------------------------------- */

static void
drift_report(struct op *o, const struct report *r)
{
	char when[32];

	when_text(r->when, when);
	op_out(o, "%" PRIu64 "  %s  %s\n", r->number, when, *r->what ? r->what : "changed");
	op_out(o, "    by %s%s%s", *r->program ? r->program : "a program that is not known",
	    *r->exe ? ", " : "", r->exe);
	if (r->pid)
		op_out(o, ", pid %u", r->pid);
	if (r->uid != UINT32_MAX)
		op_out(o, ", uid %u", r->uid);
	if (r->times > 1)
		op_out(o, ", %u times in an hour", r->times);
	if (r->healed_us)
		op_out(o, "; healed after %" PRIu64 ".%" PRIu64 " ms\n", r->healed_us / 1000,
		    r->healed_us / 100 % 10);
	else if (r->mended_by)
		op_out(o, "; made good by generation %u, which was put in force over it\n", r->mended_by);
	else
		op_out(o, "; %s\n", r->heal_failed ? "NOT HEALED" : "not healed yet");
	if (*r->not_compared)
		op_out(o, "    %s\n", r->not_compared);
	for (const char *s = r->boxes; s && *s; ) {
		size_t n = strcspn(s, "\n");

		op_out(o, "    %.*s\n", (int)(n > 2000 ? 2000 : n), s);
		s += n + (s[n] == '\n');
	}
}

static void
drift_now(struct op *o)
{
	if (o->text && *o->text)
		op_text(o, o->text, strlen(o->text));
	op_out(o, "%s\n", o->differences ? "the live rules are not what the policy says" :
	    "the live rules are what the policy says");
	op_end(o, o->differences ? 1 : 0);
}

/* The rules themselves are what the policy says: then, with all others that are loaded. */
static void
drift_own(struct op *o)
{
	if (o->differences) {
		drift_now(o);
		return;
	}
	o->compare = 0;
	op_compare(o, drift_now);
}

static void
drift_compare(struct op *o)
{
	int err = op_load(o, STATE_IN_HISTORY, o->p->force.number);

	err = err == -EUCLEAN ? 0 : err; /* the text is all that is needed */
	if (!err) {
		state_about_free(&o->about);
		if (!state_about_copy(&o->about, &o->p->force.about))
			err = -ENOMEM;
	}
	if (err)
		op_fail(o, 3, "generation %u cannot be read: %s", o->p->force.number, state_error(err));
	else {
		o->compare = COMPILE_OWN_RULES;
		op_compare(o, drift_own);
	}
}

void
run_drift(struct op *o)
{
	struct parent *p = o->p;
	uint32_t most = how_many(o, KEPT_REPORTS);
	uint64_t from = p->nreport > most ? p->nreport - most + 1 : 1;

	if (o->flags & CTL_NOW) {
		if (!p->force.number)
			op_fail(o, 1, "nothing is in force");
		else
			op_record(o, drift_compare);
		return;
	}
	if (p->nreport == 0)
		op_out(o, "no drift since the agent was started\n");
	for (uint64_t i = from; i <= p->nreport; i++)
		if (p->report[i % KEPT_REPORTS].number == i)
			drift_report(o, &p->report[i % KEPT_REPORTS]);
	if (p->foreign) {
		op_out(o, "%s (foreign):\n", p->foreign_differences ? "other tables change what the policy says" :
		    "what other tables make of the policy cannot be known");
		op_text(o, p->foreign, strlen(p->foreign));
	}
	op_end(o, p->foreign && p->foreign_differences ? 1 : 0);
}

/* ---- attempts ------------------------------------------------------------------------------------- */

void
run_attempts(struct op *o)
{
	struct parent *p = o->p;
	uint32_t n = p->attempt ? attempt_ring_count(p->attempt) : 0;
	uint32_t i = how_many(o, KEPT_ATTEMPTS);
	struct attempts_lost l = {0};
	struct buf b = BUF_INIT(1 << 20);
	char when[32];

	if (p->attempts.chan < 0)
		op_err(o, "warning: the role attempts has ended; newer ones are not known\n");
	if (n == 0 && !(o->flags & CTL_JSON))
		op_out(o, "no packet that a statement with `log: true` refused since the agent was started\n");
	for (i = i < n ? i : n; i > 0; i--) {
		const struct attempts_one *a = attempt_ring_at(p->attempt, i - 1);

		if (o->flags & CTL_JSON) {
			attempt_json(&b, a);
		} else {
			when_text(a->when, when);
			buf_printf(&b, "%s  ", when);
			attempt_line(&b, a, NULL);
		}
		buf_chr(&b, '\n');
	}
	if (p->attempt)
		l = attempt_ring_untold(p->attempt);
	if ((l.over_rate || l.lost) && !(o->flags & CTL_JSON)) {
		attempt_lost_line(&b, &l);
		buf_chr(&b, '\n');
	}
	if (b.n)
		op_text(o, b.p, b.n);
	buf_free(&b);
	op_end(o, 0);
}

/* ---- history --------------------------------------------------------------------------------------- */

void
run_history(struct op *o)
{
	struct parent *p = o->p;
	uint32_t list[STATE_HISTORY + 8], most = how_many(o, STATE_HISTORY), n;

	n = state_list(p->state, STATE_IN_HISTORY, list, most);
	if (n == 0)
		op_out(o, "nothing was ever in force\n");
	for (uint32_t i = 0; i < n; i++) {
		struct state_about a;
		char when[32], ended[128], hex[17];

		if (state_about(p->state, STATE_IN_HISTORY, list[i], &a)) {
			op_out(o, "%6u  damaged\n", list[i]);
			continue;
		}
		when_text(a.when, when);
		state_how_ended(p->state, list[i], ended, sizeof ended);
		op_out(o, "%6u%s %s  %s  %s at %s%s  %s by uid %u  %s\n", list[i],
		    list[i] == p->force.number ? "*" : " ", when, hex_of(a.digest, hex), a.policy, a.point,
		    a.observe ? " (observe)" : "", a.how, a.uid, ended);
		state_about_free(&a);
	}
	op_end(o, 0);
}

/* ---- metrics, check ---------------------------------------------------------------------------------- */

static void
metrics_told(void *arg, const char *text, size_t n)
{
	struct op *o = arg;

	op_text(o, text, n);
	op_end(o, 0);
}

void
run_metrics(struct op *o)
{
	metrics_ask(o->p, metrics_told, o);
}

static void
check_told(struct op *o)
{
	if (!o->p->force.number) {
		op_fail(o, 1, "nothing is in force");
		return;
	}
	if (o->checked.err) {
		op_fail(o, 3, "the rules cannot be looked at: %s", *o->said ? o->said :
		    strerror((int)o->checked.err));
		return;
	}
	op_out(o, "%s%s%s\n", o->checked.in_force ? "the rules are in force, element by element" :
	    "THE RULES ARE NOT WHAT THEY SHOULD BE", *o->said ? ": " : "", o->said);
	op_end(o, o->checked.in_force ? 0 : 1);
}

void
run_check(struct op *o)
{
	op_check(o, check_told);
}

/* ---- the queue ---------------------------------------------------------------------------------------- */

static void
queue_told(void *arg, struct ipc_in *in, int err)
{
	static const char *const done[MAIL_QUEUE_NOP] = {
		[MAIL_QUEUE_RETRY] = "due now", [MAIL_QUEUE_HOLD] = "held", [MAIL_QUEUE_RELEASE] = "released",
		[MAIL_QUEUE_DROP] = "dropped",
	};
	struct op *o = arg;
	const struct mail_answer *a;
	const void *body;
	int fd;

	if (!err)
		err = ipc_body(in, &mail_tell_shape[MAIL_ANSWER], &body);
	if (err) {
		op_fail(o, 3, "the role queue %s", err == -ETIMEDOUT ? "does not answer" : err == -ECONNRESET ?
		    "ended before it had answered" : strerror(-err));
		return;
	}
	a = body;
	fd = a->file ? ipc_take(in, 0) : -1;
	if (fd >= 0) {
		err = o->client ? client_file(o->client, fd) : 0;
		close(fd);
	}
	if (*a->text)
		op_err(o, "%s%s", a->text, a->text[strlen(a->text) - 1] == '\n' ? "" : "\n");
	if (!a->err && done[o->queue->op])
		op_out(o, "%u message%s %s\n", a->done, a->done == 1 ? " is" : "s are", done[o->queue->op]);
	else if (!a->err && o->queue->op == MAIL_QUEUE_FLUSH)
		op_out(o, "all that waits%s%s is due now\n", *o->queue->relay ? " for " : "", o->queue->relay);
	else if (!a->err && o->queue->op == MAIL_QUEUE_LIST && a->done == 0 && !o->queue->json)
		op_out(o, "no message waits\n");
	if (err)
		op_fail(o, 3, "it cannot be handed over: %s", strerror(-err));
	else if (a->err && !*a->text)
		op_fail(o, a->err == ENOENT ? 1 : 3, "%s", strerror((int)a->err));
	else
		op_end(o, a->err == 0 ? 0 : a->err == EINVAL ? 2 : a->err == ENOENT || a->err == EBUSY ?
		    1 : 3);
}

void
run_queue(struct op *o)
{
	struct mail *m = &o->p->mail;
	int err;

	if (o->queue->op == 0 || o->queue->op >= MAIL_QUEUE_NOP) {
		op_fail(o, 2, "that is no request");
		return;
	}
	err = ask_mail(o->p, &m->queue, MAIL_QUEUE, o->queue, MAIL_ANSWER, ASK_US, queue_told, o);
	if (err)
		op_fail(o, err == -ENOTCONN ? 1 : 3, "%s", err != -ENOTCONN ? strerror(-err) : m->submission ?
		    *m->team.why ? m->team.why : "the mail roles do not run now" :
		    "the policy in force has no `submission:` for this host, so there is no queue");
}
