#include "role/compile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/sanitized.h"
#include "compile/compile.h"
#include "doc/doc.h"
#include "ipc/compile.h"
#include "jail/jail.h"
#include "nl/block.h"
#include "nl/dump.h"
#include "nl/record.h"
#include "plan/plan.h"
#include "prove/prove.h"
#include "tell/describe.h"
#include "tell/region.h"
#include "text/print.h"
#include "world/bundle.h"
#include "world/world.h"

enum {
	JOB_MS = 10000,            /* to wait for the job, and for room for the answer */
	SECONDS = 60,              /* of processor time */
	MOST_TEXT = 1 << 20,       /* bytes of what is told to people */
	MOST_PLAN = APPLY_MOST_PLAN,
	BOXES = 100,               /* told where the job says no number */
};

/* More than any policy within its limits takes; a mistake of ours ends here, not in the
 * machine's last memory. */
static const rlim_t memory = (rlim_t)4 << 30;

struct work {
	int chan;
	struct ipc_in in;
	const struct compile_job *job;
	struct arena *a;
	struct world world;
	struct policy_world served;
	struct bundle *bundle;
	struct compile c;
	const struct policy_point *point;
	const struct plan *plan;
	struct buf text;
	struct compile_result r;
	size_t capname;
	int file[IPC_MOST_FDS];
	uint32_t nfile;
};

/* ---- the jail ---------------------------------------------------------------- */

/* Where the unit allows less, that holds. 0 or -1 with errno. */
static int
bound(__rlimit_resource_t what, struct rlimit to)
{
	struct rlimit is;

	if (getrlimit(what, &is))
		return -1;
	if (is.rlim_max < to.rlim_max)
		to.rlim_cur = to.rlim_max = is.rlim_max;
	return setrlimit(what, &to);
}

static int
enter(const struct compile_job *job)
{
	struct rlimit cpu = {SECONDS, SECONDS}, mem = {memory, memory}, core = {0, 0};
	char folder[4096];
	const char *slash = strrchr(job->path, '/');
	struct jail_path path[] = {{.path = "/usr/share/zoneinfo"}, {.path = folder}};
	int err;

	snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - job->path) + 1 : 1,
	    slash ? job->path : ".");
	/* the address sanitizer takes terabytes of addresses */
	if (bound(RLIMIT_CPU, cpu) || bound(RLIMIT_CORE, core) || (!SANITIZED && bound(RLIMIT_AS, mem)))
		return -errno;
	err = jail_begin();
	if (!err)
		err = jail_landlock(path, job->fds & COMPILE_FD_BUNDLE ? 1 : 2);
	if (err < 0 || (err = jail_caps(0)) < 0)
		return err;
	err = jail_seccomp(JAIL_COMPILE);
	return err < 0 ? err : 0;
}

/* ---- telling ------------------------------------------------------------------ */

static int
fail(struct work *w, int err, const char *what)
{
	w->r.err = (uint32_t)-err;
	w->r.summary = arena_printf(w->a, "%s: %s", what, strerror(-err));
	return -1;
}

/* The first diagnostic's sentence with its place; they are sorted. */
static const char *
first_error(struct work *w)
{
	const struct diags *d = w->c.d;

	for (size_t i = 0; i < d->n; i++)
		if (d->v[i].severity == DIAG_ERROR) {
			struct text_place at = text_place(w->c.text, d->v[i].at);
			return arena_printf(w->a, "%s:%u:%u: %s", at.name, at.line, at.col, d->v[i].message);
		}
	return "";
}

static void
put_diagnostics(struct work *w)
{
	diags_sort(w->c.d);
	print_diags(&w->text, w->c.d, w->c.text, PRINT_HUMAN, false);
	w->r.errors = (uint32_t)w->c.d->errors;
	w->r.warnings = (uint32_t)w->c.d->warnings;
	if (w->r.errors)
		w->r.summary = first_error(w);
}

static int
put_file(struct work *w, uint32_t bit, const char *name, struct buf *b)
{
	int fd = b->err ? b->err : ipc_file(name, b->p ? b->p : "", b->n);

	if (fd < 0)
		return fail(w, fd, name);
	w->file[w->nfile++] = fd;
	w->r.fds |= bit;
	return 0;
}

/* ---- the policy ---------------------------------------------------------------- */

static int
read_sources(struct work *w)
{
	const struct compile_job *job = w->job;
	const uint8_t *map;
	size_t n;
	int err;

	w->world.dir = -1;
	if (job->fds & COMPILE_FD_BUNDLE) {
		err = ipc_map(w->in.fd[0], BUNDLE_MOST, &map, &n);
		if (!err)
			err = bundle_read(w->a, map, n, &w->bundle);
		if (err)
			return fail(w, err, "reading the bundle");
		w->world.policy = (struct policy_world){0};
		err = world_open(&w->world, "/usr/share/zoneinfo/");
		if (err)
			return fail(w, err, "opening /usr/share/zoneinfo");
		bundle_serve(w->bundle, &w->world.policy, &w->served);
		w->c.name = bundle_file(w->bundle, 0, &w->c.bytes, &w->c.len);
		return 0;
	}
	err = world_slurp(w->a, job->path, DOC_MOST, &w->c.bytes, &w->c.len);
	if (err)
		return fail(w, err, job->path);
	err = world_open(&w->world, job->path);
	if (err)
		return fail(w, err, job->path);
	w->bundle = bundle_new(w->a);
	err = bundle_add(w->bundle, job->path, w->c.bytes, w->c.len);
	if (err)
		return fail(w, err, job->path);
	bundle_keep(w->bundle, &w->world.policy, &w->served);
	w->c.name = job->path;
	return 0;
}

/* The point that the job names; else the one host point; else the one point. */
static int
choose(struct work *w)
{
	const struct policy *p = w->c.policy;
	struct buf names = BUF_INIT(1024);
	size_t nhost = 0;

	if (*w->job->point) {
		w->point = policy_point_find(p, w->job->point);
	} else {
		for (size_t i = 0; i < p->npoint; i++)
			if (p->point[i]->kind == POLICY_HOST && ++nhost == 1)
				w->point = p->point[i];
		if (nhost > 1)
			w->point = NULL;
		if (!nhost && p->npoint == 1)
			w->point = p->point[0];
	}
	if (w->point)
		return 0;
	for (size_t i = 0; i < p->npoint; i++)
		buf_printf(&names, "%s%s", i ? ", " : "", p->point[i]->meta.name);
	w->r.errors = 1;
	if (!p->npoint)
		w->r.summary = "the policy has no `points:`, and one of them is this host; where no rules are wanted: "
		    "`points: {host: {kind: host, outbound: {otherwise: untouched}}}`";
	else if (*w->job->point)
		w->r.summary = arena_printf(w->a, "the policy has no point '%s'; it has: %s",
		    w->job->point, names.p ? names.p : "");
	else
		w->r.summary = arena_printf(w->a, "choose one of the policy's points by --point: %s",
		    names.p ? names.p : "");
	buf_printf(&w->text, "%s\n", w->r.summary);
	buf_free(&names);
	return -1;
}

/* ---- names ---------------------------------------------------------------------- */

static int
put_name(struct work *w, struct hash_names *seen, enum apply_name_kind kind, const char *name)
{
	int fresh;

	if (kind == APPLY_USER && strspn(name, "0123456789") == strlen(name))
		return 0;
	hash_names_add(seen, name, strlen(name), &fresh);
	if (!fresh)
		return 0;
	if (w->r.nname == APPLY_MOST_NAMES) {
		w->r.errors = 1;
		w->r.summary = arena_printf(w->a, "the point names more than %d users and units",
		    APPLY_MOST_NAMES);
		buf_printf(&w->text, "%s\n", w->r.summary);
		return -1;
	}
	ARENA_PUSH(w->a, w->r.name, w->r.nname, w->capname) =
	    (struct apply_name){kind, name, UINT64_MAX};
	return 0;
}

/* The names that the plan asks the host for. */
static int
gather_names(struct work *w)
{
	const struct plan *p = w->plan;
	struct hash_names *user = hash_names_new(w->a), *unit = hash_names_new(w->a);

	for (uint32_t i = 0; i < p->nset; i++)
		for (size_t k = 0; p->set[i].key == PLAN_KEY_UID && k < p->set[i].n; k++)
			if (put_name(w, user, APPLY_USER, p->set[i].user[k]))
				return -1;
	for (uint32_t c = 0; c < p->nchain; c++)
		for (uint32_t r = 0; r < p->chain[c].nrule; r++)
			for (uint32_t m = 0; m < p->chain[c].rule[r].nmatch; m++) {
				const struct plan_match *x = &p->chain[c].rule[r].match[m];
				if (!x->text)
					continue;
				if (x->field == PLAN_SKUID && put_name(w, user, APPLY_USER, x->text))
					return -1;
				if (x->field == PLAN_CGROUP && put_name(w, unit, APPLY_UNIT, x->text))
					return -1;
			}
	return 0;
}

/* ---- the connection that the request came over ------------------------------------ */

static bool
address_of(const char *s, struct addr *out)
{
	struct packet p;
	size_t at, len;
	char probe[160];

	/* the one strict reader of addresses is that of probes; sshd writes them bare */
	snprintf(probe, sizeof probe, strchr(s, ':') ? "tcp [%s]:1 -> [%s]:1" : "tcp %s:1 -> %s:1",
	    s, s);
	if (packet_read(probe, strlen(probe), &p, &at, &len))
		return false;
	*out = p.src;
	return true;
}

/* Says how the plan would end the connection that SSH_CONNECTION names (ssh(1): client's
 * address and port, server's address and port); both ways of an established connection, and a new
 * one of its kind, must pass. */
static void
look_at_connection(struct work *w, uint64_t now)
{
	char client[64], server[64], text[128], from[8], to[8];
	unsigned long cport, sport;
	struct packet in = {.hook = PACKET_INPUT, .proto = IPPROTO_TCP, .date = now}, p;

	if (!*w->job->connection)
		return;
	if (sscanf(w->job->connection, "%63s %7s %63s %7s", client, from, server, to) != 4)
		return;
	cport = strtoul(from, NULL, 10);
	sport = strtoul(to, NULL, 10);
	if (cport > 65535 || sport > 65535 || !address_of(client, &in.src) ||
	    !address_of(server, &in.dst))
		return;
	in.sport = (uint16_t)cport;
	in.dport = (uint16_t)sport;
	for (int way = 0; way < 3; way++) {
		struct plan_answer ans;

		p = in;
		p.state = way < 2 ? PACKET_ESTABLISHED : PACKET_NEW;
		p.syn = way == 2;
		if (way == 1) {
			p.hook = PACKET_OUTPUT;
			p.src = in.dst;
			p.dst = in.src;
			p.sport = in.dport;
			p.dport = in.sport;
		}
		plan_eval(w->plan, &p, &ans);
		if (ans.fate != PLAN_REJECT && ans.fate != PLAN_DROP)
			continue;
		packet_write(&p, text);
		const struct policy_stmt *s = ans.stmt < w->c.policy->nstmt ?
		    w->c.policy->stmt[ans.stmt] : NULL;
		w->r.cut = arena_printf(w->a, "%s %s would be refused%s%s",
		    way == 1 ? "its answers" : way ? "connections like it," : "its packets", text,
		    s ? " by " : "", s ? describe_stmt(w->a, w->c.text, s) : "");
		return;
	}
}

/* ---- the comparison ----------------------------------------------------------------- */

/* Leaves of the dump's chains and rules those of the table of family inet, or all but those. What was
 * blocked by hand is told as such, not as a difference: its table decides nothing. */
static void
only_table(struct nl_dump *d, const char *table, bool its)
{
	enum { INET = 1 };         /* linux/netfilter.h */
	uint32_t nchain = 0, nrule = 0;

	for (uint32_t i = 0; i < d->nchain; i++)
		if ((d->chain[i].family == INET && !strcmp(d->chain[i].table, table)) == its)
			d->chain[nchain++] = d->chain[i];
	for (uint32_t i = 0; i < d->nrule; i++)
		if ((d->rule[i].family == INET && !strcmp(d->rule[i].table, table)) == its)
			d->rule[nrule++] = d->rule[i];
	d->nchain = nchain;
	d->nrule = nrule;
}

static int
compare(struct work *w)
{
	const struct compile_job *job = w->job;
	int fd = w->in.fd[job->fds & COMPILE_FD_BUNDLE ? 1 : 0];
	struct prove_name *user = arena_array(w->a, job->nname + 1, struct prove_name);
	struct prove_name *unit = arena_array(w->a, job->nname + 1, struct prove_name);
	struct prove_world world = {.user = user, .unit = unit};
	struct prove p = {.a = w->a, .flow = w->c.flow, .meant = w->c.meaning[w->point->index],
	    .most = job->most ? job->most : BOXES, .observe = w->point->observe};
	struct nl_dump dump = {0};
	const uint8_t *map;
	size_t n;
	int err = ipc_map(fd, NL_RECORD_MOST, &map, &n);

	if (!err)
		err = nl_record_read(w->a, map, n, &dump);
	if (err)
		return fail(w, err, "reading the recording of the ruleset");
	for (uint32_t i = 0; i < job->nname; i++) {
		if (job->name[i].kind == APPLY_USER)
			user[world.nuser++] = (struct prove_name){job->name[i].name,
			    apply_number(&job->name[i])};
		else
			unit[world.nunit++] = (struct prove_name){job->name[i].name,
			    apply_number(&job->name[i])};
	}
	if (job->want & COMPILE_PASS_BLOCKS)
		only_table(&dump, NL_BLOCK_TABLE, false);
	if (job->want & COMPILE_OWN_RULES && w->point->as == POLICY_AS_BASE) {
		only_table(&dump, plan_table(w->point), true);
		p.strict = true;
	}
	err = prove_dump(&p, &dump, &world);
	if (err < 0)
		return fail(w, err, "comparing the ruleset with the policy");
	w->r.differences = (uint32_t)p.nregion;
	w->r.more = p.truncated;
	for (size_t i = 0; i < p.nregion; i++)
		w->r.unknown += p.region[i].kind == PROVE_UNKNOWN;
	for (size_t i = 0; i < p.nregion; i++)
		if (job->want & COMPILE_CHANGES)
			region_change(&w->text, w->a, w->c.flow, w->c.text, &p.region[i], true);
		else
			region_tell(&w->text, w->a, w->c.flow, w->c.text, &p.region[i]);
	if (p.truncated)
		buf_str(&w->text, "  and more regions than are shown\n");
	w->r.summary = p.nregion ? arena_printf(w->a, "%zu difference%s%s", p.nregion,
	    p.nregion == 1 ? "" : "s", p.truncated ? " and more" : "") : "no difference";
	return 0;
}

/* ---- doctor ---------------------------------------------------------------------------- */

static int
ways(struct work *w, uint64_t now)
{
	struct doctor_list l = {0};
	struct nl_dump dump = {0};
	const uint8_t *map;
	size_t n;
	int err = ipc_map(w->in.fd[1], NL_RECORD_MOST, &map, &n);

	if (!err)
		err = nl_record_read(w->a, map, n, &dump);
	if (!err) {
		compile_ways(w->a, w->c.policy, &dump, now, &l);
		err = l.err;
	}
	if (!err) {
		int fd = doctor_file(&l);

		if (fd < 0) {
			err = fd;
		} else {
			w->file[w->nfile++] = fd;
			w->r.fds |= COMPILE_FD_FINDINGS;
		}
	}
	doctor_free(&l);
	return err ? fail(w, err, "looking at the rules") : 0;
}

/* ---- mail ------------------------------------------------------------------------------ */

static int
put_text(struct work *w, struct hash_names *seen, struct compile_text **v, uint32_t *n, size_t *cap,
    const char *text)
{
	int fresh;

	if (!text)
		return 0;
	hash_names_add(seen, text, strlen(text), &fresh);
	if (!fresh)
		return 0;
	if (*n == COMPILE_MOST_MAIL)
		return fail(w, -E2BIG, "addresses, credentials or CA files of `submission` and its relays");
	ARENA_PUSH(w->a, *v, *n, *cap) = (struct compile_text){text};
	return 0;
}

/* What the parent must open, bind and hand on for the mail roles. */
static int
gather_mail(struct work *w)
{
	const struct policy *p = w->c.policy;
	const struct policy_submission *s = &p->submission;
	struct hash_names *listen = hash_names_new(w->a), *cred = hash_names_new(w->a),
	    *ca = hash_names_new(w->a);
	size_t cap[3] = {0};
	char text[46];
	int err = 0;

	/* a router is not a host that programs run on */
	w->r.submission = s->present && w->point->kind == POLICY_HOST;
	if (!w->r.submission)
		return 0;
	for (size_t i = 0; i < s->nlisten && !err; i++) {
		addr_write(s->listen[i], text);
		err = put_text(w, listen, &w->r.listen, &w->r.nlisten, &cap[0], arena_printf(w->a, "%s", text));
	}
	for (size_t i = 0; i < p->nrelay && !err; i++) {
		/* what people type into their own programs is never kept on a host (COL-11) */
		err = put_text(w, cred, &w->r.credential, &w->r.ncredential, &cap[1],
		    p->relay[i]->stored_credentials ? p->relay[i]->credential : NULL);
		if (!err)
			err = put_text(w, ca, &w->r.ca, &w->r.nca, &cap[2], p->relay[i]->ca);
	}
	for (size_t i = 0; i < s->napplication && !err; i++)
		err = put_text(w, cred, &w->r.credential, &w->r.ncredential, &cap[1],
		    s->application[i]->credential);
	return err;
}

/* ---- the job ------------------------------------------------------------------------- */

static int
passes(struct work *w, uint64_t now)
{
	bool want_plan = w->job->want & COMPILE_WANT_PLAN;
	bool ok;

	if (read_sources(w))
		return -1;
	w->c.world = &w->served;
	ok = compile_run(&w->c, 1u << COMPILE_READ);
	if (ok && w->job->want == COMPILE_WANT_MAIL)
		return choose(w) ? -1 : gather_mail(w);
	if (ok && w->job->want == COMPILE_WANT_WAYS)
		return ways(w, now);
	if (ok && choose(w))
		return -1;
	if (ok) {
		describe_zone(w->c.policy->timezone);
		w->c.only = w->point->meta.name;
		ok = compile_run(&w->c, 1u << COMPILE_MEAN |
		    (want_plan ? 1u << COMPILE_LINT | 1u << COMPILE_PLAN : 0u));
	}
	if (!ok || want_plan)
		put_diagnostics(w);
	if (!ok)
		return -1;
	w->r.policy = w->c.policy->meta.name;
	w->r.point = w->point->meta.name;
	if (!want_plan)
		return 0;
	w->plan = w->c.plan[w->point->index];
	w->r.observe = w->plan->observe;
	w->r.digest = w->plan->digest;
	w->r.ndigest = PLAN_DIGEST;
	look_at_connection(w, now);
	return gather_names(w);
}

static void
do_job(struct work *w, uint64_t now)
{
	struct buf plan = BUF_INIT(MOST_PLAN), bundle = BUF_INIT(BUNDLE_MOST);
	bool ok;

	w->c = (struct compile){.a = w->a, .text = text_set_new(w->a), .d = diags_new(w->a)};
	w->r = (struct compile_result){.policy = "", .point = "", .cut = "", .summary = ""};
	ok = !passes(w, now);
	if (ok && w->job->want & COMPILE_WANT_COMPARE)
		ok = !compare(w);
	if (ok && w->job->want & COMPILE_WANT_PLAN) {
		plan_write(&plan, w->plan);
		bundle_write(&bundle, w->bundle);
		if (!put_file(w, COMPILE_FD_PLAN, "plan", &plan))
			put_file(w, COMPILE_FD_BUNDLE_OUT, "bundle", &bundle);
	}
	if (w->text.err == -E2BIG)
		w->text.err = 0;       /* as much as fits */
	if (w->text.n)
		put_file(w, COMPILE_FD_TEXT, "text", &w->text);
	buf_free(&plan);
	buf_free(&bundle);
}

int
role_compile(int chan)
{
	struct work w = {.chan = chan, .text = BUF_INIT(MOST_TEXT), .world = {.dir = -1}};
	const void *body;
	struct timespec now;
	int err = ipc_recv_wait(chan, &w.in, JOB_MS);

	if (err <= 0 || w.in.type != COMPILE_JOB)
		return 1;
	if (ipc_body(&w.in, &compile_job_shape, &body))
		return 1;
	w.job = body;
	w.a = arena_new();
	clock_gettime(CLOCK_REALTIME, &now);
	uint32_t files = !!(w.job->fds & COMPILE_FD_BUNDLE) + !!(w.job->fds & COMPILE_FD_RECORD);
	if (files != w.in.nfd || (w.job->want & (COMPILE_WANT_COMPARE | COMPILE_WANT_WAYS) &&
	    !(w.job->fds & COMPILE_FD_RECORD)) || (w.job->want & COMPILE_WANT_WAYS && !(w.job->fds & COMPILE_FD_BUNDLE)))
		fail(&w, -EBADMSG, "the job");
	else if ((err = enter(w.job)) < 0)
		fail(&w, err, "giving up rights");
	else
		do_job(&w, (uint64_t)now.tv_sec);
	err = ipc_send_wait(chan, COMPILE_RESULT, w.in.id, &compile_result_shape, &w.r, w.file, w.nfile,
	    JOB_MS);
	world_close(&w.world);
	w.c.flow = flow_free(w.c.flow);
	ipc_free(&w.in);
	buf_free(&w.text);
	w.a = arena_free(w.a);
	return err ? 1 : 0;
}
