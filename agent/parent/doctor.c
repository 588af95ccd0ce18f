/*
 * doctor: what is wrong with the way of mail, found by who can see it: the roles relay and queue, a compile child
 * that reads the rules, and here what the parent itself opened. mailreevectl adds what a program sees, and prints.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ipc/doctor.h"
#include "parent/inside.h"

enum { WAIT_US = 50000, MOST_WAITS = 200, PROBE_MS = 30000, PROBE_US = 34 * 1000000, SPOOL_US = 10 * 1000000 };

/* A clock that is before this was never set. */
static const uint64_t OLDEST_US = UINT64_C(1767225600000000); /* 2026-01-01 */

struct doctor {
	struct op *o;
	sd_event_source *timer;    /* of the wait for a policy that was just applied */
	unsigned looked;
	unsigned waits;
	struct doctor_list list;
	bool stranger;             /* there is no such relay */
};

/* ---- what is seen from here ------------------------------------------------------------- */

static void
look_at_agent(struct parent *p, struct doctor_list *l)
{
	const struct mail *m = &p->mail;
	bool well = true;

	if (!p->force.number) {
		doctor_add(l, DOCTOR_AGENT, DOCTOR_FAIL, "", "mailreevectl apply, or mailreevectl status, which tells why",
		    "no policy is in force");
		return;
	}
	if (!m->submission) {
		doctor_add(l, DOCTOR_AGENT, DOCTOR_FAIL, "", "write a `submission:` section in the policy (and a point of `kind: host`), "
		    "then mailreevectl apply", "the policy in force has no `submission:` for this host: no mail is taken");
		return;
	}
	if (!m->team.up || m->team.stopping) {
		doctor_add(l, DOCTOR_AGENT, DOCTOR_FAIL, "", "journalctl -u mailreeved -u mailreeve-mail tells more", "the mail roles do not run"
		    "%s%s", *m->team.why ? ": " : "", m->team.why);
		well = false;
	}
	if (*m->trouble) {
		doctor_add(l, DOCTOR_AGENT, DOCTOR_FAIL, "", "mend what it says; it is tried again by itself", "%s", m->trouble);
		well = false;
	}
	for (int i = 0; i < 3; i++)
		if (*m->taken[i]) {
			doctor_add(l, DOCTOR_AGENT, DOCTOR_FAIL, "", "mend what it says, then mailreevectl apply", "%s", m->taken[i]);
			well = false;
		}
	if (well)
		doctor_add(l, DOCTOR_AGENT, DOCTOR_PASS, "", "", "the mail roles run, by generation %u of the policy", m->number);
}

static void
look_at_listeners(struct parent *p, struct doctor_list *l)
{
	const struct mail *m = &p->mail;
	char path[512];

	if (!m->submission)
		return;
	for (uint32_t i = 0; i < m->nlistener; i++)
		if (m->listener[i].handed)
			doctor_ask(l, DOCTOR_LISTENER, m->listener[i].address, p->o->submission_port);
	snprintf(path, sizeof path, "%s/submission.sock", p->o->run);
	if (m->local >= 0)
		doctor_ask(l, DOCTOR_LISTENER, path, 0);
}

static void
look_at_credentials(struct parent *p, struct doctor_list *l)
{
	const struct mail *m = &p->mail;

	for (uint32_t i = 0; i < m->credential.n; i++) {
		const char *name = m->credential.v[i];
		char why[900] = "", path[512];
		int fd = mail_credential_open(p, name, why, sizeof why);
		struct stat st;

		snprintf(path, sizeof path, "%s/%s", p->o->credentials, name);
		if (fd < 0) {
			doctor_add(l, DOCTOR_CREDENTIAL, DOCTOR_FAIL, "", "mend it (lines `user: ...` and `password: ...`; chmod 0600; chown root, or "
			    "the agent's user), then mailreevectl apply", "credential '%.100s': %s", name, why);
			continue;
		}
		close(fd);
		if (!stat(path, &st) && (uint64_t)st.st_ctim.tv_sec * 1000000 + (uint64_t)st.st_ctim.tv_nsec / 1000 >
		    m->credentials_read)
			doctor_add(l, DOCTOR_CREDENTIAL, DOCTOR_WARN, "", "mailreevectl apply", "credential '%.100s': %s was changed after the "
			    "agent read it: what is used is what stood there before", name, path);
		else
			doctor_add(l, DOCTOR_CREDENTIAL, DOCTOR_PASS, "", "", "credential '%.100s': %s can be read, and by nobody else", name,
			    path);
	}
}

static void
look_at_clock(struct parent *p, struct doctor_list *l)
{
	static const char todo[] = "set this host's clock, and run a time service: timedatectl set-ntp true";
	uint64_t now = now_us(CLOCK_REALTIME);
	char is[32], was[32];

	when_text(now, is);
	when_text(p->force.about.when, was);
	if (now < OLDEST_US)
		doctor_add(l, DOCTOR_CLOCK, DOCTOR_FAIL, "", todo, "this host's clock says %s, which is long over", is);
	else if (p->force.number && now < p->force.about.when)
		doctor_add(l, DOCTOR_CLOCK, DOCTOR_FAIL, "", todo, "this host's clock says %s, and what is in force was made at %s: it was set "
		    "back, or was wrong then", is, was);
	else
		doctor_add(l, DOCTOR_CLOCK, DOCTOR_PASS, "", "", "%s, which can be", is);
}

/* ---- the end ---------------------------------------------------------------------------------- */

/* A finding, and where the first about its relay stands. */
struct place {
	const struct doctor_finding *f;
	uint32_t relay;
};

/* This host first; then relay by relay, in the order in which they came; of each in the order of the checks. */
static int
in_order(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->relay != y->relay)
		return x->relay < y->relay ? -1 : 1;
	if (x->f->check != y->f->check)
		return x->f->check < y->f->check ? -1 : 1;
	return x->f < y->f ? -1 : x->f > y->f;
}

static void
sort(struct place *v, const struct doctor_findings *l)
{
	for (uint32_t i = 0; i < l->nfinding; i++) {
		uint32_t k = 0;

		while (strcmp(l->finding[k].about, l->finding[i].about) != 0)
			k++;
		v[i] = (struct place){&l->finding[i], *l->finding[i].about ? k + 1 : 0};
	}
	qsort(v, l->nfinding, sizeof *v, in_order);
}

static void
give(struct op *o, const struct doctor_finding *f)
{
	struct buf b = BUF_INIT(CTL_MOST_TEXT);

	ipc_pack(&b, &doctor_finding_shape, f);
	if (!b.err && o->client)
		client_say(o->client, CTL_FOUND, b.p, b.n);
	buf_free(&b);
}

static void
finish(struct op *o)
{
	struct doctor *d = o->doctor;
	uint32_t n = d->list.of.nfinding;
	struct place *v = calloc(n + 1, sizeof *v);
	uint32_t status = d->stranger ? 2 : 0;

	if (!v || d->list.err)
		status = 3;
	if (v)
		sort(v, &d->list.of);
	for (uint32_t i = 0; v && i < n && !d->stranger; i++) {
		const struct doctor_finding *f = v[i].f;

		/* of one relay, and of this host */
		if (*o->relay && *f->about && strcmp(f->about, o->relay) != 0)
			continue;
		if (f->verdict == DOCTOR_FAIL && status == 0)
			status = 1;
		give(o, f);
	}
	if (status == 3)
		op_err(o, "doctor: no memory for all that was found\n");
	free(v);
	doctor_free(&d->list);
	free(d);
	o->doctor = NULL;
	op_end(o, status);
}

static void
one_less(struct op *o)
{
	if (--o->doctor->waits == 0)
		finish(o);
}

/* ---- what others see ----------------------------------------------------------------------------- */

/* The findings that came with a message; else why not. */
static int
take(struct doctor *d, struct ipc_in *in, int err, const char **text)
{
	const struct mail_probed *m;
	const void *body;
	int fd;

	*text = "";
	if (!err)
		err = ipc_body(in, &mail_tell_shape[MAIL_PROBED], &body);
	if (err)
		return err;
	m = body;
	*text = m->text;
	if (m->err)
		return -(int)m->err;
	fd = ipc_take(in, 0);
	if (fd < 0)
		return -EBADMSG;
	err = doctor_take(&d->list, fd);
	close(fd);
	return err;
}

static const char *
words(int err)
{
	return err == -ETIMEDOUT ? "it does not answer" : err == -ECONNRESET ? "it has just ended" : err == -EAGAIN ?
	    "it has no policy yet" : strerror(-err);
}

static void
relay_told(void *arg, struct ipc_in *in, int err)
{
	struct op *o = arg;
	const char *text;

	err = take(o->doctor, in, err, &text);
	if (err == -ENOENT) {
		o->doctor->stranger = true;
		op_err(o, "doctor: %s\n", text);
	} else if (err) {
		doctor_add(&o->doctor->list, DOCTOR_PORT, DOCTOR_NOT, "", "try again in a minute; mailreevectl status", "the role relay could not "
		    "look at its relays: %s", *text ? text : words(err));
	}
	one_less(o);
}

static void
queue_told(void *arg, struct ipc_in *in, int err)
{
	struct op *o = arg;
	const char *text;

	err = take(o->doctor, in, err, &text);
	if (err)
		doctor_add(&o->doctor->list, DOCTOR_SPOOL, DOCTOR_FAIL, "", "mailreevectl status; journalctl -u mailreeved", "the role queue could not "
		    "look at its spool: %s", *text ? text : words(err));
	one_less(o);
}

/* ---- the rules ------------------------------------------------------------------------------------- */

static void
rules_not(struct op *o, const char *why)
{
	doctor_add(&o->doctor->list, DOCTOR_FIREWALL, DOCTOR_NOT, "", "nft list ruleset shows them", "the rules of this host could not be "
	    "looked at: %s", why);
	one_less(o);
}

static void
ways_told(void *arg, struct ipc_in *in, const char *why)
{
	struct op *o = arg;
	const struct compile_result *r;
	const void *body;
	int fd = -1, err;

	if (!why && (!in || ipc_body(in, &compile_result_shape, &body)))
		why = "the compile child answered with what is no answer";
	if (!why) {
		r = body;
		if (r->err || r->errors || !(r->fds & COMPILE_FD_FINDINGS) || (fd = ipc_take(in, 0)) < 0)
			why = *r->summary ? r->summary : "there is no answer";
	}
	if (!why && (err = doctor_take(&o->doctor->list, fd)))
		why = strerror(-err);
	if (fd >= 0)
		close(fd);
	if (why)
		rules_not(o, why);
	else
		one_less(o);
}

static void
recorded(struct op *o)
{
	struct compile_job j = {.want = COMPILE_WANT_WAYS, .path = o->p->o->policy, .fds = COMPILE_FD_BUNDLE | COMPILE_FD_RECORD};
	int fd[2], err;

	if (*o->why) {
		rules_not(o, o->why);
		return;
	}
	fd[0] = o->bundle;
	fd[1] = o->record;
	err = job_start(o->p, SPAWN_COMPILE, COMPILE_JOB, &compile_job_shape, &j, fd, 2, COMPILE_RESULT, ways_told, o);
	if (err)
		rules_not(o, strerror(-err));
}

/* What stands on the disk is compiled: is it what is in force? */
static void
compiled(struct op *o)
{
	struct doctor_list *l = &o->doctor->list;
	const uint8_t *a = NULL, *b = NULL;
	size_t na = 0, nb = 0;
	int fresh = -1, err;

	if (*o->why) {
		doctor_add(l, DOCTOR_AGENT, DOCTOR_WARN, "", "mend it, then mailreevectl apply", "the policy on the disk does not compile, and what "
		    "was in force before stays: %s", o->why);
		o->why[0] = '\0';
	} else {
		fresh = o->bundle;
		o->bundle = -1;
	}
	err = op_load(o, STATE_IN_HISTORY, o->p->force.number);
	err = err == -EUCLEAN ? 0 : err; /* the text is all that is needed */
	if (!err && fresh >= 0 && o->bundle >= 0 && !ipc_map(fresh, STATE_BULK, &a, &na) && !ipc_map(o->bundle, STATE_BULK, &b, &nb) &&
	    (na != nb || memcmp(a, b, na) != 0))
		doctor_add(l, DOCTOR_AGENT, DOCTOR_WARN, "", "mailreevectl plan tells what would change, mailreevectl apply puts it in force",
		    "the policy on the disk is another than the one in force");
	if (a)
		ipc_unmap(a, na);
	if (b)
		ipc_unmap(b, nb);
	if (fresh >= 0)
		close(fresh);
	if (err)
		rules_not(o, state_error(err));
	else
		op_record(o, recorded);
}

/* ---- all of it -------------------------------------------------------------------------------------- */

/* What was applied a moment ago is on its way to the roles, or they begin anew for it. */
static bool
is_settled(const struct mail *m)
{
	return !m->due && !m->asked && !m->policy_id[0] && !m->policy_id[1] && !m->policy_id[2] &&
	    (m->team.up ? !m->team.stopping : !m->team.wanted || m->team.fails);
}

static void
begin(struct op *o)
{
	struct parent *p = o->p;
	struct mail_probe m = {.relay = o->relay, .ms = PROBE_MS};
	struct doctor *d = o->doctor;

	d->waits = 1;
	look_at_agent(p, &d->list);
	look_at_listeners(p, &d->list);
	look_at_credentials(p, &d->list);
	look_at_clock(p, &d->list);
	if (p->mail.submission) {
		if (!ask_mail(p, &p->mail.relay, MAIL_PROBE, &m, MAIL_PROBED, PROBE_US, relay_told, o))
			d->waits++;
		if (!ask_mail(p, &p->mail.queue, MAIL_PROBE, &m, MAIL_PROBED, SPOOL_US, queue_told, o))
			d->waits++;
	}
	if (!p->force.number) {
		one_less(o);
		return;
	}
	o->soft = true;
	op_compile(o, compiled);
}

static int
on_wait(sd_event_source *s, uint64_t usec, void *arg)
{
	struct op *o = arg;
	struct doctor *d = o->doctor;

	(void)usec;
	if (!is_settled(&o->p->mail) && d->looked++ < MOST_WAITS && sd_event_source_set_time_relative(s, WAIT_US) >= 0 &&
	    sd_event_source_set_enabled(s, SD_EVENT_ONESHOT) >= 0)
		return 0;
	d->timer = sd_event_source_disable_unref(d->timer);
	begin(o);
	return 0;
}

void
run_doctor(struct op *o)
{
	struct parent *p = o->p;

	o->doctor = calloc(1, sizeof *o->doctor);
	if (!o->doctor) {
		op_fail(o, 3, "%s", strerror(ENOMEM));
		return;
	}
	o->doctor->o = o;
	if (is_settled(&p->mail) || sd_event_add_time_relative(p->ev, &o->doctor->timer, CLOCK_MONOTONIC, WAIT_US, 0, on_wait, o) < 0)
		begin(o);
}
