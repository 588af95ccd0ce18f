/*
 * step: the steps that operations are made of.
 *
 * A step that fails ends the operation with the reason, unless o->soft: then it goes on with the
 * reason in o->why, for who can do without it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "parent/inside.h"

const char *
hex_of(const uint8_t *digest, char out[17])
{
	for (int i = 0; i < 8; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
	return out;
}

static void
trouble(struct op *o, uint32_t status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void
trouble(struct op *o, uint32_t status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o->why, sizeof o->why, fmt, ap);
	va_end(ap);
	if (o->soft)
		o->then(o);
	else
		op_fail(o, status, "%s", o->why);
}

static char *
again(char **old, const char *s)
{
	free(*old);
	*old = strdup(s ? s : "");
	return *old;
}

static void
put_fd(int *to, int fd)
{
	if (*to >= 0)
		close(*to);
	*to = fd;
}

/* ---- compiling ------------------------------------------------------------------- */

/* Takes the texts out of a result. 0 or -errno. */
static int
take_text(struct op *o, int fd)
{
	enum { MOST_TEXT = 4 << 20 };
	const uint8_t *bytes;
	size_t n;
	int err = ipc_map(fd, MOST_TEXT, &bytes, &n);

	if (err)
		return err;
	free(o->text);
	o->text = strndup((const char *)bytes, n);
	ipc_unmap(bytes, n);
	return o->text ? 0 : -ENOMEM;
}

static int
take_names(struct state_about *a, const struct apply_name *v, uint32_t n)
{
	free(a->name);
	a->nname = 0;
	a->name = n ? calloc(n, sizeof *a->name) : NULL;
	if (n && !a->name)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		struct state_name *x = &a->name[i];

		if (strlen(v[i].name) >= sizeof x->name)
			return -ENAMETOOLONG;
		snprintf(x->name, sizeof x->name, "%s", v[i].name);
		x->kind = v[i].kind != APPLY_USER;
		x->value = UINT64_MAX;
		a->nname++;
	}
	return 0;
}

/* Takes all of a result that the job has asked for. 0 or -errno. */
static int
take_result(struct op *o, struct ipc_in *in, const struct compile_result *r)
{
	uint32_t k = 0;
	int err = 0, fd;

	if (r->fds & COMPILE_FD_PLAN)
		put_fd(&o->plan, ipc_take(in, k++));
	if (r->fds & COMPILE_FD_BUNDLE_OUT)
		put_fd(&o->bundle, ipc_take(in, k++));
	if (r->fds & COMPILE_FD_TEXT) {
		fd = ipc_take(in, k++);
		err = fd < 0 ? -EBADMSG : take_text(o, fd);
		if (fd >= 0)
			close(fd);
	}
	o->errors = r->errors;
	o->differences = r->differences;
	o->unknown_regions = r->unknown;
	o->more = r->more;
	if (!err && !again(&o->summary, r->summary))
		err = -ENOMEM;
	return err;
}

static void
compiled(void *arg, struct ipc_in *in, const char *why)
{
	struct op *o = arg;
	struct parent *p = o->p;
	const struct compile_result *r;
	const void *body;
	int err;

	if (!why && (!in || ipc_body(in, &compile_result_shape, &body)))
		why = "the compile child answered with what is no answer";
	if (why) {
		p->n.compile_errors++;
		snprintf(p->compile_error, sizeof p->compile_error, "%s", why);
		trouble(o, 3, "%s", why);
		return;
	}
	r = body;
	err = take_result(o, in, r);
	if (!err && r->err == 0 && r->errors == 0 && (o->plan < 0 || r->ndigest != STATE_DIGEST))
		err = -EBADMSG;
	if (err || r->err) {
		p->n.compile_errors++;
		snprintf(p->compile_error, sizeof p->compile_error, "the policy could not be compiled: %s",
		    err || !*r->summary ? strerror(err ? -err : (int)r->err) : r->summary);
		trouble(o, 3, "%s", p->compile_error);
		return;
	}
	if (r->errors) {
		p->n.compile_errors++;
		snprintf(p->compile_error, sizeof p->compile_error, "%s",
		    *r->summary ? r->summary : o->text ? o->text : "it does not compile");
		if (o->soft) {
			trouble(o, 1, "%s", p->compile_error);
			return;
		}
		if (o->text && *o->text)
			op_err(o, "%s%s", o->text, o->text[strlen(o->text) - 1] == '\n' ? "" : "\n");
		op_fail(o, 1, "the policy does not compile (%u error%s); the rules in force stay as they are",
		    r->errors, r->errors == 1 ? "" : "s");
		return;
	}
	if (o->row != &op_table[CTL_ROLLBACK])
		p->compile_error[0] = '\0';
	state_about_free(&o->about);
	if (!again(&o->cut, r->cut)) {
		trouble(o, 3, "%s", strerror(ENOMEM));
		return;
	}
	o->about.policy = strdup(r->policy);
	o->about.point = strdup(r->point);
	o->about.how = strdup(o->row->name);
	memcpy(o->about.digest, r->digest, STATE_DIGEST);
	o->about.observe = r->observe;
	err = take_names(&o->about, r->name, r->nname);
	if (!o->about.policy || !o->about.point || !o->about.how)
		err = -ENOMEM;
	if (err) {
		trouble(o, 3, "%s", strerror(-err));
		return;
	}
	o->then(o);
}

void
op_compile(struct op *o, op_fn *then)
{
	struct compile_job j = {.want = COMPILE_WANT_PLAN, .path = o->p->o->policy,
	    .point = o->was.point ? o->was.point : o->p->o->point, .connection = o->connection,
	    .most = MOST_BOXES};
	int err;

	if (o->bundle >= 0)
		j.fds = COMPILE_FD_BUNDLE;
	o->then = then;
	err = job_start(o->p, SPAWN_COMPILE, COMPILE_JOB, &compile_job_shape, &j, &o->bundle,
	    o->bundle >= 0, COMPILE_RESULT, compiled, o);
	if (err)
		trouble(o, 3, "the compile child cannot be started: %s", strerror(-err));
}

/* What was known of it stays known; the names' numbers are those of before until they are asked again. */
static void
compiled_again(struct op *o)
{
	struct state_about *a = &o->about, *b = &o->was;

	o->soft = false;
	if (*o->why) {
		state_about_free(a);
		*a = *b;
		*b = (struct state_about){0};
		o->after(o);
		return;
	}
	for (uint32_t i = 0; i < a->nname; i++)
		for (uint32_t k = 0; k < b->nname; k++)
			if (a->name[i].kind == b->name[k].kind && !strcmp(a->name[i].name, b->name[k].name))
				a->name[i].value = b->name[k].value;
	free(a->how);
	a->how = b->how;
	b->how = NULL;
	a->uid = b->uid;
	a->pid = b->pid;
	a->when = b->when;
	a->kernel = b->kernel;
	a->has_bundle = b->has_bundle;
	memcpy(a->base, b->base, sizeof a->base);
	memcpy(a->boot, b->boot, sizeof a->boot);
	memcpy(a->bundle_sum, b->bundle_sum, sizeof a->bundle_sum);
	state_about_free(b);
	o->after(o);
}

void
op_again(struct op *o, op_fn *then)
{
	state_about_free(&o->was);
	o->was = o->about;
	o->about = (struct state_about){0};
	o->after = then;
	o->soft = o->made_again = true;
	o->why[0] = '\0';
	op_compile(o, compiled_again);
}

/* ---- names ------------------------------------------------------------------------- */

static void
named(void *arg, struct ipc_in *in, const char *why)
{
	struct op *o = arg;
	const struct apply_host *h;
	const void *body;
	uint32_t k = 0;

	if (!why && (!in || ipc_body(in, &spawn_names_shape, &body)))
		why = "the names child answered with what is no answer";
	if (why) {
		trouble(o, 3, "%s", why);
		return;
	}
	h = body;
	for (uint32_t i = 0; i < o->about.nname; i++) {
		struct state_name *n = &o->about.name[i];

		/* they come back in the order in which they were asked */
		if (n->kind == APPLY_USER && k < h->nname && !strcmp(h->name[k].name, n->name))
			n->value = h->name[k++].value;
		if (n->value == UINT64_MAX && !o->internal)
			op_err(o, "warning: this host has no %s %s now; what is said of it matches nothing\n",
			    n->kind == APPLY_USER ? "user" : "unit", n->name);
	}
	o->then(o);
}

void
op_names(struct op *o, op_fn *then)
{
	struct apply_name v[APPLY_MOST_NAMES];
	struct apply_host h = {.name = v};
	int err;

	o->then = then;
	units_look(o->p, &o->about);
	for (uint32_t i = 0; i < o->about.nname; i++)
		if (o->about.name[i].kind == APPLY_USER)
			v[h.nname++] = (struct apply_name){.kind = APPLY_USER, .name = o->about.name[i].name};
	if (h.nname == 0) {
		for (uint32_t i = 0; i < o->about.nname && !o->internal; i++)
			if (o->about.name[i].value == UINT64_MAX)
				op_err(o, "warning: this host has no unit %s now; what is said of it matches "
				    "nothing\n", o->about.name[i].name);
		then(o);
		return;
	}
	err = job_start(o->p, SPAWN_NAMES, NAMES_ASK, &spawn_names_shape, &h, NULL, 0, NAMES_TOLD, named,
	    o);
	if (err)
		trouble(o, 3, "the names child cannot be started: %s", strerror(-err));
}

static uint32_t
apply_names(const struct state_about *a, struct apply_name *v)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < a->nname && n < APPLY_MOST_NAMES; i++)
		v[n++] = (struct apply_name){.kind = a->name[i].kind ? APPLY_UNIT : APPLY_USER,
		    .name = a->name[i].name, .value = a->name[i].value};
	return n;
}

static uint32_t
more_names(const struct state_about *a, struct apply_name *v, uint32_t n)
{
	for (uint32_t i = 0; i < a->nname && n < APPLY_MOST_NAMES; i++) {
		struct apply_name x = {.kind = a->name[i].kind ? APPLY_UNIT : APPLY_USER, .name = a->name[i].name,
		    .value = a->name[i].value};
		uint32_t k = 0;

		while (k < n && (v[k].kind != x.kind || strcmp(v[k].name, x.name) != 0))
			k++;
		if (k == n)
			v[n++] = x;
	}
	return n;
}

/* ---- recording and comparing ---------------------------------------------------------- */

const char *
ask_error(int err)
{
	return err == -ETIMEDOUT ? "the role apply does not answer" :
	    err == -ECONNRESET ? "the role apply ended before it had answered" :
	    err == -EPIPE ? "the role apply does not run now" : strerror(-err);
}

static void
recorded(void *arg, struct ipc_in *in, int err)
{
	struct op *o = arg;
	const struct apply_recorded *r;
	const void *body;

	if (!err)
		err = ipc_body(in, &apply_tell_shape[APPLY_RECORDED], &body);
	if (err) {
		trouble(o, 3, "the ruleset cannot be read: %s", ask_error(err));
		return;
	}
	r = body;
	if (r->err) {
		trouble(o, 3, "the ruleset cannot be read: %s%s%s", strerror((int)r->err),
		    *r->text ? ": " : "", r->text);
		return;
	}
	put_fd(&o->record, ipc_take(in, 0));
	o->kernel = r->gen;
	if (o->record < 0) {
		trouble(o, 3, "the ruleset cannot be read: the role apply gave none");
		return;
	}
	o->then(o);
}

void
op_record(struct op *o, op_fn *then)
{
	int err;

	o->then = then;
	err = ask_apply(o->p, APPLY_RECORD, NULL, -1, APPLY_RECORDED, ASK_US, recorded, o);
	if (err)
		trouble(o, 3, "the ruleset cannot be read: %s", ask_error(err));
}

static void
compared(void *arg, struct ipc_in *in, const char *why)
{
	struct op *o = arg;
	const struct compile_result *r;
	const void *body;
	int err;

	if (!why && (!in || ipc_body(in, &compile_result_shape, &body)))
		why = "the compile child answered with what is no answer";
	if (why) {
		trouble(o, 3, "the comparison failed: %s", why);
		return;
	}
	r = body;
	err = take_result(o, in, r);
	if (err || r->err || r->errors) {
		trouble(o, 3, "the comparison failed: %s", err ? strerror(-err) : *r->summary ? r->summary :
		    r->err ? strerror((int)r->err) : "the policy does not compile");
		return;
	}
	o->then(o);
}

void
op_compare(struct op *o, op_fn *then)
{
	struct apply_name v[APPLY_MOST_NAMES];
	struct compile_job j = {.want = COMPILE_WANT_COMPARE, .path = o->p->o->policy,
	    .point = o->about.point, .most = MOST_BOXES, .name = v,
	    .fds = COMPILE_FD_BUNDLE | COMPILE_FD_RECORD};
	int fd[] = {o->bundle, o->record}, err;

	o->then = then;
	if (o->bundle < 0 || o->record < 0) {
		trouble(o, 3, "there is nothing to compare: no policy text is kept with it");
		return;
	}
	if (o->p->nblock || o->p->blocks_lost)
		j.want |= COMPILE_PASS_BLOCKS;
	j.want |= o->compare;
	j.nname = apply_names(&o->about, v);
	/* the live rules may name users and units that the new policy does not */
	j.nname = more_names(&o->p->force.about, v, j.nname);
	err = job_start(o->p, SPAWN_COMPILE, COMPILE_JOB, &compile_job_shape, &j, fd, 2, COMPILE_RESULT,
	    compared, o);
	if (err)
		trouble(o, 3, "the compile child cannot be started: %s", strerror(-err));
}

/* ---- the kernel --------------------------------------------------------------------- */

static void
put_done(void *arg, struct ipc_in *in, int err)
{
	struct op *o = arg;
	struct parent *p = o->p;
	const void *body;

	o->unknown = err == -ETIMEDOUT || err == -ECONNRESET;
	if (!err)
		err = ipc_body(in, &apply_tell_shape[APPLY_DONE], &body);
	if (err) {
		o->done = (struct apply_done){.err = (uint32_t)-err};
		snprintf(o->said, sizeof o->said, "%s", ask_error(err));
	} else {
		o->done = *(const struct apply_done *)body;
		snprintf(o->said, sizeof o->said, "%s", o->done.text);
		o->done.text = NULL;
	}
	if (o->done.err) {
		p->n.apply_failures++;
	} else {
		p->n.applies++;
		p->n.last_stage_us = o->done.stage_us;
		p->n.last_swap_us = o->done.swap_us;
		p->n.apply_us += o->done.stage_us + o->done.swap_us;
		o->kernel = o->done.gen;
	}
	o->then(o);
}

static void
put_failed(struct op *o, int err)
{
	o->done = (struct apply_done){.err = (uint32_t)-err};
	o->unknown = false;
	snprintf(o->said, sizeof o->said, "%s%s", err == -EPIPE ? "" : "the role apply cannot be asked: ", ask_error(err));
	o->then(o);
}

void
op_settle(struct parent *p)
{
	p->blocks_from = 0;
	if (!p->boot_at)
		p->boot_at = now_us(CLOCK_MONOTONIC);
}

void
op_put(struct op *o, op_fn *then)
{
	struct apply_name v[APPLY_MOST_NAMES];
	struct apply_do d = {.gen = o->want_gen, .name = v};
	int err;

	d.nname = apply_names(&o->about, v);
	o->then = then;
	err = ask_apply(o->p, APPLY_DO, &d, o->plan, APPLY_DONE, ASK_US, put_done, o);
	if (err)
		put_failed(o, err);
}

void
op_take_down(struct op *o, op_fn *then)
{
	int err;

	o->then = then;
	err = ask_apply(o->p, APPLY_REMOVE, NULL, -1, APPLY_DONE, ASK_US, put_done, o);
	if (err)
		put_failed(o, err);
}

static void
checked(void *arg, struct ipc_in *in, int err)
{
	static const uint8_t none[STATE_DIGEST];
	struct op *o = arg;
	struct parent *p = o->p;
	const uint8_t *want = p->force.number ? p->force.about.digest : none;
	const void *body;

	memset(o->digest, 0, sizeof o->digest);
	if (!err)
		err = ipc_body(in, &apply_tell_shape[APPLY_CHECKED], &body);
	if (err) {
		o->checked = (struct apply_checked){.err = (uint32_t)-err};
		snprintf(o->said, sizeof o->said, "%s", ask_error(err));
	} else {
		o->checked = *(const struct apply_checked *)body;
		snprintf(o->said, sizeof o->said, "%s", o->checked.text);
		snprintf(o->features, sizeof o->features, "%s", o->checked.features);
		if (o->checked.ndigest == STATE_DIGEST)
			memcpy(o->digest, o->checked.digest, STATE_DIGEST);
		/* it answers in the order in which it was asked, so here both are of one moment */
		if (memcmp(o->digest, want, STATE_DIGEST) != 0 && (!o->checked.err || o->checked.err == ENOENT)) {
			char has[17];

			o->checked.in_force = 0;
			snprintf(o->said, sizeof o->said, "the role apply guards %s%s, which is not what is to be in force",
			    o->checked.err ? "nothing" : "the plan of digest ",
			    o->checked.err ? "" : hex_of(o->digest, has));
			if (!p->changing)
				op_settle(p);
		}
	}
	o->checked.text = o->checked.features = NULL;
	o->checked.digest = NULL;
	o->then(o);
}

void
op_check(struct op *o, op_fn *then)
{
	int err;

	o->then = then;
	err = ask_apply(o->p, APPLY_CHECK, NULL, -1, APPLY_CHECKED, LOOK_US, checked, o);
	if (err) {
		o->checked = (struct apply_checked){.err = (uint32_t)-err};
		snprintf(o->said, sizeof o->said, "%s", ask_error(err));
		then(o);
	}
}

/* ---- from the disk -------------------------------------------------------------------- */

/* A file of the state as a sealed memory file. The descriptor or -errno. */
static int
as_memory(int fd, size_t size, const char *name)
{
	void *m = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	int out;

	if (m == MAP_FAILED)
		return -errno;
	out = ipc_file(name, m, size);
	munmap(m, size);
	return out;
}

int
op_load(struct op *o, enum state_kind k, uint32_t n)
{
	struct state *s = o->p->state;
	size_t size;
	bool damaged;
	int fd, err;

	state_about_free(&o->about);
	put_fd(&o->plan, -1);
	put_fd(&o->bundle, -1);
	err = state_plan(s, k, n, false, &fd, &size);
	damaged = err == -EUCLEAN;
	if (err && !damaged)
		return err;
	if (!damaged) {
		o->plan = as_memory(fd, size, "plan");
		close(fd);
	}
	err = state_plan(s, k, n, true, &fd, &size);
	if (!err) {
		o->bundle = as_memory(fd, size, "bundle");
		close(fd);
	} else if (err == -ENOENT) {
		err = 0;           /* none was kept */
	}
	if (!err && o->plan < 0 && !damaged)
		err = o->plan;
	if (!err && o->bundle < -1)
		err = o->bundle;
	if (!err)
		err = state_about(s, k, n, &o->about);
	if (o->plan < 0)
		o->plan = -1;
	if (o->bundle < 0)
		o->bundle = -1;
	return err ? err : damaged ? -EUCLEAN : 0;
}

const char *
state_error(int err)
{
	switch (err) {
	case -EBADMSG:
		return "it is damaged, and was set aside";
	case -EUCLEAN:
		return "its plan is damaged";
	case -ENOENT:
		return "it is not there";
	}
	return strerror(-err);
}
