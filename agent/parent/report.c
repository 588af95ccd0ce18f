/*
 * report: what the roles tell is kept for a while, counted, and logged with fields.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "parent/inside.h"
#include "role/attempt_text.h"

enum { FOREIGN_US = 10 * 1000000, MOST_COMPARES = 4 };

static const char *const event_name[APPLY_NEVENT] = {
	[APPLY_NOTE] = "note",
	[APPLY_DRIFT] = "drift",
	[APPLY_HEALED] = "healed",
	[APPLY_HEAL_FAILED] = "not healed",
	[APPLY_BACKS_OFF] = "backs off",
	[APPLY_FOREIGN] = "foreign",
	[APPLY_LOST] = "lost",
};

/* ---- what other tables make of the policy ------------------------------------------------- */

static void
foreign_told(struct op *o)
{
	struct parent *p = o->p;
	bool was = p->foreign != NULL;

	p->foreign_asked = false;
	if (*o->why) {
		log_say(LOG_IS_WARNING, NULL, "what other tables do is not known: %s", o->why);
		op_end(o, 0);
		return;
	}
	p->foreign_differences = o->differences - o->unknown_regions;
	p->foreign_unknown = o->unknown_regions;
	free(p->foreign);
	p->foreign = o->differences ? o->text : NULL;
	if (o->differences)
		o->text = NULL;
	if (o->differences) {
		char n[16];

		p->n.foreign++;
		snprintf(n, sizeof n, "%u", o->differences);
		log_say(LOG_IS_WARNING, (struct log_field[]){{"DIFFERENCES", n}, {"KIND", "foreign"},
		    {NULL, NULL}}, "%s: %s", p->foreign_differences ? "other tables change what the policy says" :
		    "what other tables make of the policy cannot be known", o->summary ? o->summary : "");
	} else if (was) {
		log_say(LOG_IS_NOTICE, NULL, "other tables change nothing of the policy any more");
	}
	notify_status(p);
	op_end(o, 0);
}

static void
foreign_compare(struct op *o)
{
	struct parent *p = o->p;

	if (!*o->why && p->force.number) {
		int err;

		err = op_load(o, STATE_IN_HISTORY, p->force.number);
		err = err == -EUCLEAN ? 0 : err; /* the text is all that is needed */
		if (!err) {
			state_about_free(&o->about);
			if (!state_about_copy(&o->about, &p->force.about))
				err = -ENOMEM;
		}
		if (!err) {
			op_compare(o, foreign_told);
			return;
		}
		snprintf(o->why, sizeof o->why, "%s", strerror(-err));
	}
	if (!p->force.number)
		snprintf(o->why, sizeof o->why, "nothing is in force");
	foreign_told(o);
}

void
run_foreign(struct op *o)
{
	o->soft = true;
	op_record(o, foreign_compare);
}

static int
on_foreign(sd_event_source *s, uint64_t usec, void *arg)
{
	struct parent *p = arg;
	struct op *o;

	(void)s, (void)usec;
	p->foreign_timer = sd_event_source_disable_unref(p->foreign_timer);
	if (!p->force.number)
		return 0;
	if (p->changing || p->foreign_asked) {
		foreign_soon(p, FOREIGN_US);
		return 0;
	}
	o = op_own(p, OP_FOREIGN);
	if (o) {
		p->foreign_asked = true;
		op_begin(o);
	}
	return 0;
}

/* Rate-limited: a timer that is set already stays. */
void
foreign_soon(struct parent *p, uint64_t us)
{
	if (!p->foreign_timer)
		(void)sd_event_add_time_relative(p->ev, &p->foreign_timer, CLOCK_MONOTONIC, us, TICK_US / 10,
		    on_foreign, p);
}

/* ---- drift --------------------------------------------------------------------------------- */

static struct report *
report_find(struct parent *p, uint64_t number)
{
	struct report *r = &p->report[number % KEPT_REPORTS];

	return r->number == number ? r : NULL;
}

static void
drift_told(struct op *o)
{
	struct report *r = report_find(o->p, o->report);

	if (r) {
		free(r->boxes);
		r->boxes = o->text;
		o->text = NULL;
		r->differences = o->differences;
		snprintf(r->not_compared, sizeof r->not_compared, "%s", o->why);
		log_say(LOG_IS_WARNING, (struct log_field[]){{"WHAT", r->what}, {"PROGRAM", r->program},
		    {NULL, NULL}}, "drift %" PRIu64 ": %s", r->number,
		    *o->why ? o->why : o->summary ? o->summary : "");
	}
	op_end(o, 0);
}

void
run_drifted(struct op *o)
{
	int err;

	o->soft = true;
	o->then = drift_told;
	err = op_load(o, STATE_IN_HISTORY, o->p->force.number);
	err = err == -EUCLEAN ? 0 : err;
	if (!err) {
		state_about_free(&o->about);
		if (!state_about_copy(&o->about, &o->p->force.about))
			err = -ENOMEM;
	}
	if (err) {
		snprintf(o->why, sizeof o->why, "not compared: %s", state_error(err));
		drift_told(o);
		return;
	}
	o->compare = COMPILE_OWN_RULES;
	op_compare(o, drift_told);
}

/* What is known of a process, while it lives. */
static void
ask_proc(struct report *r)
{
	char path[40];
	struct stat st;
	ssize_t n;

	if (!r->pid)
		return;
	snprintf(path, sizeof path, "/proc/%u", r->pid);
	if (r->uid == UINT32_MAX && !stat(path, &st))
		r->uid = st.st_uid;
	if (*r->exe)
		return;
	snprintf(path, sizeof path, "/proc/%u/exe", r->pid);
	n = readlink(path, r->exe, sizeof r->exe - 1);
	r->exe[n > 0 ? n : 0] = '\0';
}

/* A name, or words of the role about names: on one line. */
static void
one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
}

static void
say_event(const struct report *r, uint64_t us)
{
	char pid[16] = "", uid[16] = "", times[16], took[24];
	bool bad = r->kind == APPLY_HEAL_FAILED || r->kind == APPLY_LOST;
	struct log_field f[] = {
		{"EVENT", event_name[r->kind]}, {"WHAT", *r->what ? r->what : NULL},
		{"PID", r->pid ? pid : NULL}, {"PROGRAM", *r->program ? r->program : NULL},
		{"UID", r->uid != UINT32_MAX ? uid : NULL}, {"EXE", *r->exe ? r->exe : NULL},
		{"TIMES", r->times ? times : NULL}, {"US", us ? took : NULL}, {NULL, NULL},
	};

	snprintf(pid, sizeof pid, "%u", r->pid);
	snprintf(uid, sizeof uid, "%u", r->uid);
	snprintf(times, sizeof times, "%u", r->times);
	snprintf(took, sizeof took, "%" PRIu64, us);
	log_say(bad ? LOG_IS_ERROR : r->kind == APPLY_NOTE || r->kind == APPLY_HEALED ?
	    LOG_IS_NOTICE : LOG_IS_WARNING, f, "%s%s%s", event_name[r->kind], *r->what ? ": " : "",
	    r->what);
}

/* A drift is healed with all that came on top of it, `us` after the first was seen: those came later. */
static uint64_t
healed_after(const struct report *r, uint64_t us)
{
	uint64_t now = now_us(CLOCK_REALTIME), here = now > r->when ? now - r->when : 0;

	if (!us || (here && here < us))
		us = here;
	return us ? us : 1;
}

/* Another generation was put in force over all that was not as it should be. */
void
reports_mended(struct parent *p, uint32_t generation)
{
	for (int i = 0; i < KEPT_REPORTS; i++)
		if (p->report[i].number && !p->report[i].healed_us && !p->report[i].mended_by)
			p->report[i].mended_by = generation;
}

static void
drift_compare(struct parent *p, const struct report *r, int fd)
{
	unsigned n = 0;
	struct op *o;

	for (o = p->op; o; o = o->next)
		n += o->kind == OP_DRIFTED;
	if (fd < 0 || n >= MOST_COMPARES || !(o = op_own(p, OP_DRIFTED))) {
		if (fd >= 0)
			close(fd);
		return;
	}
	o->record = fd;
	o->report = r->number;
	op_begin(o);
}

void
report_event(struct parent *p, struct ipc_in *in)
{
	const struct apply_event *e;
	const void *body;
	struct report r;
	int fd;

	if (ipc_body(in, &apply_tell_shape[APPLY_EVENT], &body))
		return;
	e = body;
	if (e->kind >= APPLY_NEVENT)
		return;
	r = (struct report){.when = now_us(CLOCK_REALTIME), .kind = e->kind, .pid = e->pid,
	    .uid = e->uid, .times = e->times};
	snprintf(r.program, sizeof r.program, "%s", e->program);
	snprintf(r.exe, sizeof r.exe, "%s", e->exe);
	snprintf(r.what, sizeof r.what, "%s", e->what);
	ask_proc(&r);
	one_line(r.program);
	one_line(r.exe);
	one_line(r.what);
	say_event(&r, e->us);
	switch ((enum apply_event_kind)e->kind) {
	case APPLY_NOTE:
		snprintf(p->note, sizeof p->note, "%s", r.what);
		break;
	case APPLY_DRIFT:
	case APPLY_LOST:
		if (e->kind == APPLY_DRIFT)
			p->n.drift++;
		else
			p->n.lost++;
		r.number = ++p->nreport;
		free(p->report[r.number % KEPT_REPORTS].boxes);
		p->report[r.number % KEPT_REPORTS] = r;
		fd = ipc_take(in, 0);
		drift_compare(p, &r, fd);
		break;
	case APPLY_HEALED:
	case APPLY_HEAL_FAILED:
		/* of all that were told before */
		for (int i = 0; i < KEPT_REPORTS; i++) {
			struct report *x = &p->report[i];

			if (!x->number || x->healed_us || x->mended_by)
				continue;
			if (e->kind == APPLY_HEALED)
				x->healed_us = healed_after(x, e->us);
			x->heal_failed = e->kind == APPLY_HEAL_FAILED;
		}
		if (e->kind == APPLY_HEALED) {
			p->n.heals++;
			p->n.heal_us = e->us;
			/* what was found while it was not healed may have been that */
			foreign_soon(p, TICK_US);
		} else {
			p->n.heal_failures++;
		}
		p->counted_at = 0;
		break;
	case APPLY_BACKS_OFF:
		p->n.backs_off++;
		break;
	case APPLY_FOREIGN:
		foreign_soon(p, TICK_US);
		break;
	case APPLY_NEVENT:
		break;
	}
}

void
reports_free(struct parent *p)
{
	for (int i = 0; i < KEPT_REPORTS; i++)
		free(p->report[i].boxes);
	free(p->foreign);
	attempt_ring_free(p->attempt);
}

/* ---- attempts ------------------------------------------------------------------------------- */

static bool
have_ring(struct parent *p)
{
	if (!p->attempt)
		p->attempt = attempt_ring_new(KEPT_ATTEMPTS);
	return p->attempt != NULL;
}

void
report_attempt(struct parent *p, const struct attempts_one *a)
{
	struct buf line = BUF_INIT(4096);
	struct attempt_fields f;

	if (have_ring(p))
		(void)attempt_ring_add(p->attempt, a);
	attempt_line(&line, a, NULL);
	attempt_fields(a, &f);
	log_say(LOG_IS_NOTICE, f.field, "%s", line.n ? line.p : "");
	buf_free(&line);
}

void
report_untold(struct parent *p, const struct attempts_lost *l)
{
	struct buf line = BUF_INIT(4096);

	if (have_ring(p))
		attempt_ring_lost(p->attempt, l);
	attempt_lost_line(&line, l);
	log_say(LOG_IS_WARNING, NULL, "%s", line.n ? line.p : "");
	buf_free(&line);
}

uint64_t
report_packets(const struct parent *p)
{
	const struct attempt_counter *c;
	uint64_t n = 0;

	for (uint32_t i = 0; p->attempt && (c = attempt_ring_counter(p->attempt, i)); i++)
		n += c->packets;
	return n;
}
