#include "role/apply.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "nl/dump.h"
#include "nl/edit.h"

enum {
	INET = 1,                  /* NFPROTO_INET */
	MOST_ANON = 4096,          /* elements of an anonymous set that is looked into */
	LARGE = 256 << 10,         /* bytes of a batch that a listener would slow down */
	PART = 1 << 20,            /* bytes of a transaction: what it has made is still in the caches when
	                              it commits, and others wait less for their turn */
};

struct apply_plan *
apply_plan_free(struct apply_plan *p)
{
	if (!p)
		return NULL;
	arena_free(p->formed);
	arena_free(p->read);
	free(p);
	return NULL;
}

/* ---- our own commits ------------------------------------------------------------------ */

void
apply_own(struct apply *x, uint32_t from, uint32_t to)
{
	x->own[x->nown % APPLY_OWN].from = from;
	x->own[x->nown++ % APPLY_OWN].to = to;
}

bool
apply_is_own(const struct apply *x, uint32_t gen)
{
	for (uint32_t i = 0; i < APPLY_OWN && i < x->nown; i++)
		/* numbers go round */
		if (gen - x->own[i].from - 1 < x->own[i].to - x->own[i].from)
			return true;
	return false;
}

void
apply_own_elsewhere(struct apply *x, uint32_t from, uint32_t to)
{
	apply_own(x, from, to);
	if (!x->now || x->gen != from)
		return;
	x->gen = to;
	for (uint32_t i = 0; i < x->now->plan->nset; i++)
		if (x->now->sure[i] == from)
			x->now->sure[i] = to;
}

int
apply_dump(struct apply *x, struct arena *a, const char *table, struct nl_dump *d,
    struct nl_sums *s)
{
	int err = -EAGAIN;

	for (int i = 0; i < APPLY_TRIES && err == -EAGAIN; i++) {
		err = nl_talk_dump(x->t, a, table ? INET : 0, table, NL_DUMP_RULES, APPLY_TRIES, d);
		if (!err)
			err = nl_watch_sums(x->t, a, d, MOST_ANON, s);
	}
	return err;
}

/* ---- numbers of names ----------------------------------------------------------------- */

static int
value_of(const struct apply_plan *p, enum apply_name_kind kind, const char *name, uint64_t *v)
{
	for (uint32_t i = 0; i < p->nname; i++)
		if (p->name[i].kind == kind && !strcmp(p->name[i].name, name)) {
			*v = apply_number(&p->name[i]);
			return 0;
		}
	return -ENOENT;
}

/* A user or a unit that is not there has a number that nobody has. */
static int
uid_of(void *arg, const char *name, uint32_t *uid)
{
	uint64_t v = 0;
	int err = value_of(arg, APPLY_USER, name, &v);

	if (!err)
		*uid = (uint32_t)v;
	return err;
}

static int
cgroup_of(void *arg, const char *path, uint64_t *id)
{
	return value_of(arg, APPLY_UNIT, path, id);
}

/* ---- sending -------------------------------------------------------------------------- */

struct work {
	struct apply *x;
	struct apply_result *r;
	struct arena *a;           /* of this try */
	struct nl_job j;
	struct nl_dump d;
	bool alone;                /* since the first dump nobody else has committed */
	const struct apply_plan *was;
};

/* Why, in words, for what people can do something about. */
static const char *
reason(int err)
{
	switch (-err) {
	case EPERM:
		return "another program owns the table, or this one may not change the rules";
	case EMSGSIZE:
		return "a transaction is larger than the socket's buffer may be (net.core.wmem_max)";
	case ENOMEM:
		return "the kernel has no memory for it: is there a limit on the unit (MemoryMax=)?";
	case ENOBUFS:
		return "the kernel's answers were lost";
	case ERESTART:
	case EAGAIN:
		return "other programs kept changing the rules meanwhile";
	case EOPNOTSUPP:
		return "this kernel, or the table's flags, do not allow it";
	}
	return strerror(-err);
}

static void
fault(struct work *w, const char *step, int err, const struct nl_faults *f)
{
	const char *what = "";

	if (f->n && f->v[0].item && f->v[0].item->name)
		what = nl_item_text(w->a, f->v[0].item);
	snprintf(w->r->text, sizeof w->r->text, "%s: %s%s%s%s%s", step, what, *what ? ": " : "",
	    reason(err), f->n && f->v[0].text[0] ? "; the kernel says: " : "",
	    f->n ? f->v[0].text : "");
}

/* Sends a batch built for job.genid, which then is the generation behind it. */
static int
send_batch(struct work *w, const char *step, struct nl_batch *b)
{
	struct apply *x = w->x;
	struct nl_faults *f;
	size_t n = 0;
	uint32_t after = nl_gen_after(w->j.genid, b);
	bool large;
	int err;

	if (!b->changes) {
		nl_batch_free(b);
		return 0;
	}
	f = calloc(1, sizeof *f);
	if (!f) {
		nl_batch_free(b);
		return -ENOMEM;
	}
	for (const struct nl_batch *p = b; p; p = p->next)
		n += p->bytes.n;
	large = n > LARGE;
	if (large)
		nl_who_deaf(x->who, true);
	err = nl_talk_send(x->t, b, f);
	if (large) {
		nl_who_deaf(x->who, false);
		nl_talk_gen(x->t, &x->deaf_gen);
	}
	if (!err) {
		apply_own(x, w->j.genid, after);
		w->j.genid = after;
		w->r->changes += b->changes;
	}
	nl_batch_free(b);
	if (err)
		fault(w, step, err, f);
	free(f);
	return err;
}

struct building {
	const struct nl_job *j;
	int (*build)(const struct nl_job *, struct nl_batch *, const char **);
	struct nl_batch b;
	const char *who;
	int err;
};

static void
build(void *arg)
{
	struct building *g = arg;

	g->err = g->build(g->j, &g->b, &g->who);
}

static int
step(struct work *w, const char *name,
    int (*how)(const struct nl_job *, struct nl_batch *, const char **))
{
	struct building g = {.j = &w->j, .build = how};

	/* bytes of a batch are in no arena */
	if (arena_try(build, &g)) {
		g.err = -ENOMEM;
		nl_batch_free(&g.b);
	}
	if (g.err) {
		snprintf(w->r->text, sizeof w->r->text, "%s: %s%s%s", name, g.who ? g.who : "",
		    g.who ? ": " : "", g.err == -ENOMEM ? APPLY_NO_MEMORY : reason(g.err));
		return g.err;
	}
	return send_batch(w, name, &g.b);
}

/* ---- a plan into force ---------------------------------------------------------------- */

/* The flags that the table can have, as it stands. */
static uint32_t
flags_for(const struct apply *x, const struct plan *p, const struct nl_dump *d)
{
	const uint32_t both = NL_OWNER | NL_PERSIST;
	const struct nl_table *t = nl_dump_table(d, INET, p->table);

	if (!p->own_table)
		return t ? t->flags & both : 0;
	if (!t)
		return x->table_flags;
	/* an orphan is adopted again; a table made without an owner can have none */
	if ((t->flags & both) == NL_PERSIST)
		return x->table_flags == both ? both : NL_PERSIST;
	return t->flags & both;
}

/* The names that objects have now stay, where the plan is one of ours already. */
static struct nl_salt
salt_of(const struct nl_dump *d, const struct plan *p)
{
	struct nl_salt s = {0};
	uint8_t digest[NL_DIGEST];

	if (nl_stamp(d, p->table, digest, &s))
		s = (struct nl_salt){0};
	return s;
}

static bool
same_table(const struct apply_plan *a, const struct apply_plan *b)
{
	return !strcmp(a->plan->table, b->plan->table) && a->plan->own_table == b->plan->own_table;
}

/* In the place of what is in force, element by element. -EOPNOTSUPP: to be staged. */
static int
try_edit(struct work *w, struct apply_plan *p, const struct nl_host *h, struct arena *formed,
    struct nl_form **form)
{
	struct apply *x = w->x;
	const char *who = NULL;
	uint64_t since = apply_clock();
	int err;

	/* only over what is known to be there */
	if (!x->now || !same_table(x->now, p) || x->bad_plan || x->gen != w->d.genid)
		return -EOPNOTSUPP;
	err = nl_form_over(formed, p->plan, h, x->now->form, form, &who);
	if (err)
		return -EOPNOTSUPP;
	w->j.form = *form;
	w->j.old = x->now->form;
	w->j.in_place = x->in_place;
	err = step(w, "edit", nl_edit);
	w->r->swap_us += apply_clock() - since;
	w->r->edited = !err;
	switch (-err) {
	case 0:
	case ERESTART:
	case ENOBUFS:
	case EPERM:
		return err;
	}
	/* also where the kernel would not: elements may not be those that they should */
	w->r->text[0] = 0;
	return -EOPNOTSUPP;
}

static int
form_of(struct work *w, struct apply_plan *p, const struct nl_host *h, struct nl_salt salt,
    struct arena *formed, struct nl_form **form)
{
	const char *who = NULL;
	int err = nl_form_as(formed, p->plan, h, salt, &w->d, form, &who);

	if (err)
		snprintf(w->r->text, sizeof w->r->text, "%s: %s", who ? who : "",
		    err == -ENOENT ? "this host has no such user or unit" : strerror(-err));
	w->j.form = *form;
	w->j.old = NULL;
	return err;
}

static int
stage_and_swap(struct work *w)
{
	uint64_t since = apply_clock();
	int err = step(w, "stage", nl_stage);

	/* a try on a stage that an earlier one has made takes no time */
	w->r->stage_us += apply_clock() - since;
	if (err)
		return err;
	since = apply_clock();
	err = step(w, "swap", nl_swap);
	w->r->swap_us += apply_clock() - since;
	return err;
}

/* What the plan does not name goes. The rules are in force already, so a failure here is none
 * of the plan: what is left over is found as drift. */
static void
sweep(void *arg)
{
	struct work *w = arg;
	struct nl_dump after;

	for (int i = 0; i < APPLY_TRIES; i++) {
		int err = nl_talk_dump(w->x->t, w->a, INET, w->j.form->plan->table, NL_DUMP_RULES,
		    APPLY_TRIES, &after);

		if (err)
			continue;
		w->alone &= after.genid == w->j.genid;
		w->j.have = &after;
		w->j.genid = after.genid;
		if (!step(w, "sweep", nl_sweep))
			break;
		w->alone = false;
	}
	w->r->text[0] = 0;
}

/* Which sets are known to hold what the plan says: those that nobody but us can have touched. */
static void
mark_sure(struct work *w, struct apply_plan *was, struct apply_plan *p, uint32_t gen)
{
	struct nl_form *f = p->form;
	const struct plan *plan = f->plan;
	bool clean = w->alone && was && same_table(was, p) && w->d.genid == w->x->gen;

	p->sure = arena_array(p->formed, plan->nset, uint32_t);
	p->bad = arena_array(p->formed, plan->nset, bool);
	for (uint32_t i = 0; i < plan->nset; i++) {
		const char *name = f->set[i].name;

		if (!name || plan->set[i].kind == PLAN_METER)
			p->sure[i] = gen;
		else if (w->alone && !nl_dump_set(&w->d, INET, plan->table, name))
			p->sure[i] = gen;
		for (uint32_t k = 0; clean && name && k < was->plan->nset && !p->sure[i]; k++)
			if (was->form->set[k].name && !strcmp(was->form->set[k].name, name) &&
			    was->sure[k] == w->d.genid)
				p->sure[i] = gen;
	}
}

/* Sets that hold something else than they say are nobody's: without the digest in their user data
 * they are not taken for what they were, get no second life under their names, and are swept. */
static void
disown(struct work *w)
{
	const struct apply_plan *now = w->x->now;

	for (uint32_t i = 0; now && i < now->plan->nset; i++)
		for (uint32_t k = 0; now->bad[i] && k < w->d.nset; k++)
			if (w->d.set[k].family == INET && !strcmp(w->d.set[k].table, now->plan->table) &&
			    !strcmp(w->d.set[k].name, now->form->set[i].name))
				w->d.set[k].udata = (struct nl_bytes){0};
}

/* Bytes that a transaction may have. Who commits in between makes us begin again: then all in one. */
static size_t
most(const struct work *w)
{
	size_t n = nl_talk_most(w->x->t);

	return w->r->tries == 1 && n > PART ? PART : n;
}

/* One try. -ERESTART and -ENOBUFS: to be begun again from a look at what is there. */
static int
put_once(struct work *w, struct apply_plan *p, uint32_t want, struct nl_salt bump,
    struct arena *formed, struct nl_form **form, bool *done)
{
	struct nl_host h = {uid_of, cgroup_of, p};
	const struct nl_table *t;
	struct nl_salt salt;
	int err;

	err = nl_talk_dump(w->x->t, w->a, INET, p->plan->table, NL_DUMP_RULES, APPLY_TRIES, &w->d);
	if (err) {
		snprintf(w->r->text, sizeof w->r->text, "reading the rules: %s", reason(err));
		return err;
	}
	t = nl_dump_table(&w->d, INET, p->plan->table);
	if (t && t->owner && t->owner != w->x->port) {
		/* though it may hold the same rules: they would not stay so by us */
		snprintf(w->r->text, sizeof w->r->text, "table inet %s: another program owns it (netlink "
		    "port %u): is there another agent?", p->plan->table, t->owner);
		return -EPERM;
	}
	if (want && w->d.genid != want) {
		snprintf(w->r->text, sizeof w->r->text,
		    "the rules have changed since the plan was made: generation %u, not %u",
		    w->d.genid, want);
		return -ESTALE;
	}
	w->j = (struct nl_job){.a = w->a, .have = &w->d, .genid = w->d.genid, .seq = 1,
	    .most = most(w), .table_flags = flags_for(w->x, p->plan, &w->d)};
	w->alone = true;
	if (!bump.set && !bump.chain) {
		err = try_edit(w, p, &h, formed, form);
		if (err != -EOPNOTSUPP) {
			*done = !err;
			return err;
		}
	}
	disown(w);
	salt = salt_of(&w->d, p->plan);
	salt.set += bump.set;
	salt.chain += bump.chain;
	err = form_of(w, p, &h, salt, formed, form);
	if (err)
		return err;
	/* a quick look would not see every drift */
	if (!w->x->bad_plan && nl_in_force(*form, &w->d) && !bump.set && !bump.chain &&
	    w->j.table_flags == (nl_dump_table(&w->d, INET, p->plan->table)->flags &
	    (NL_OWNER | NL_PERSIST))) {
		*done = true;
		return 0;
	}
	err = stage_and_swap(w);
	*done = !err;
	return err;
}

/* The old plan's table, where the new one has another. */
static void
retire(void *arg)
{
	struct work *w = arg;
	const struct apply_plan *was = w->was;
	int err = -EAGAIN;

	for (int i = 0; i < APPLY_TRIES && (err == -EAGAIN || err == -ERESTART); i++) {
		struct nl_dump d;
		const struct nl_table *t;

		err = nl_talk_dump(w->x->t, w->a, INET, was->plan->table, NL_DUMP_RULES,
		    APPLY_TRIES, &d);
		t = err ? NULL : nl_dump_table(&d, INET, was->plan->table);
		if (!t)
			continue;
		w->j = (struct nl_job){.a = w->a, .form = was->form, .have = &d, .seq = 1,
		    .genid = d.genid, .table_flags = t->flags};
		err = step(w, "remove", nl_remove);
	}
	w->alone = false;
	if (err)
		apply_note(w->x, "the rules of table inet %s, which the plan does not use any more, "
		    "are still there: %s", was->plan->table, reason(err));
	w->r->text[0] = 0;
}

/* A stage that came to nothing leaves nothing behind, if it can be helped. */
static void
tidy(struct work *w, struct nl_form *form)
{
	char said[APPLY_WORDS];
	struct apply_plan *now = w->x->now;
	struct nl_dump d;
	bool made = form && !nl_dump_table(&w->d, INET, form->plan->table);
	const char *table = made ? form->plan->table : now ? now->plan->table : NULL;
	const struct nl_table *t;

	if (!table || nl_talk_dump(w->x->t, w->a, INET, table, NL_DUMP_RULES, APPLY_TRIES, &d))
		return;
	t = nl_dump_table(&d, INET, table);
	if (!t)
		return;
	memcpy(said, w->r->text, sizeof said);
	w->j = (struct nl_job){.a = w->a, .form = made ? form : now->form, .have = &d,
	    .genid = d.genid, .seq = 1, .table_flags = t->flags};
	step(w, "sweep", made ? nl_remove : nl_sweep);
	memcpy(w->r->text, said, sizeof said);
}

/* After an edit in place: a form that shares nothing with the one before it. */
static int
form_again(struct work *w, struct apply_plan *p, struct arena **formed, struct nl_form **form)
{
	struct nl_host h = {uid_of, cgroup_of, p};
	struct arena *own = arena_new();
	uint32_t before = w->d.genid;
	const char *who;
	int err;

	err = nl_talk_dump(w->x->t, w->a, INET, p->plan->table, NL_DUMP_RULES, APPLY_TRIES, &w->d);
	w->alone &= !err && w->d.genid == w->j.genid;
	if (!err)
		err = nl_form_as(own, p->plan, &h, salt_of(&w->d, p->plan), &w->d, form, &who);
	w->d.genid = before;
	if (err) {
		arena_free(own);
		return err;
	}
	arena_free(*formed);
	*formed = own;
	return 0;
}

static int
put_plan(struct work *w, struct apply_plan *p, uint32_t want, struct nl_salt bump)
{
	struct apply *x = w->x;
	struct apply_plan *was = x->now, n = *p;
	struct nl_form *form = NULL;
	bool done = false;
	int err = -EAGAIN;

	n.formed = NULL;
	while (!done && w->r->tries < APPLY_TRIES) {
		w->r->tries++;
		n.formed = arena_free(n.formed);
		n.formed = arena_new();
		w->a = arena_free(w->a);
		w->a = arena_new();
		form = NULL;
		err = put_once(w, p, want, bump, n.formed, &form, &done);
		if (err == -EEXIST) {      /* a name is taken */
			bump.set++;
			bump.chain++;
		} else if (err && err != -ERESTART && err != -ENOBUFS && err != -EAGAIN) {
			break;
		}
	}
	if (done && w->r->edited)
		err = form_again(w, p, &n.formed, &form);
	if (!done || err) {
		if (err != -ESTALE && !done)
			tidy(w, form);
		arena_free(n.formed);
		return err;
	}
	w->r->text[0] = 0;
	/* one that died may have left what it had staged, or not swept */
	if (!w->r->edited && (w->r->changes || !was))
		arena_try(sweep, w);
	n.form = form;
	n.flags = w->j.table_flags;
	/* for who is left in the midst of this */
	snprintf(w->r->text, sizeof w->r->text, "the rules are in force, but cannot be watched: %s",
	    APPLY_NO_MEMORY);
	err = nl_watch(n.formed, form, was ? was->watch : NULL, &n.watch);
	if (err) {
		snprintf(w->r->text, sizeof w->r->text, "the rules are in force, but cannot be "
		    "watched: %s", strerror(-err));
		arena_free(n.formed);
		return err;
	}
	mark_sure(w, was, &n, w->j.genid);
	if (was == p)
		arena_free(p->formed);
	w->r->text[0] = 0;
	*p = n;
	x->gen = w->j.genid;
	x->now = p;
	arena_keep(p->read);
	arena_keep(p->formed);
	w->was = was;
	if (was && !same_table(was, p) && arena_try(retire, w))
		apply_note(x, "the rules of table inet %s, which the plan does not use any more, "
		    "are still there: %s", was->plan->table, APPLY_NO_MEMORY);
	if (was && !same_table(was, p))
		x->others_gen = 0;         /* what is another's has changed with it */
	if (was != p)
		apply_plan_free(was);
	return 0;
}

struct putting {
	struct work w;
	struct apply_plan *p;
	uint32_t want;
	struct nl_salt bump;
	int err;
};

static void
put(void *arg)
{
	struct putting *z = arg;

	z->err = put_plan(&z->w, z->p, z->want, z->bump);
	z->w.a = arena_free(z->w.a);
}

int
apply_put(struct apply *x, struct apply_plan *p, uint32_t want, bool bump_chain,
    struct apply_result *r)
{
	struct putting z = {.w = {.x = x, .r = r}, .p = p, .want = want,
	    .bump = {0, bump_chain}};
	int err;

	*r = (struct apply_result){0};
	err = arena_try(put, &z);
	if (err) {
		apply_starved(x);
		if (!r->text[0])
			snprintf(r->text, sizeof r->text, "%s", APPLY_NO_MEMORY);
	} else {
		err = z.err;
	}
	malloc_trim(0);
	if (err) {
		if (!r->text[0])
			snprintf(r->text, sizeof r->text, "%s", reason(err));
		return err;
	}
	x->bad_plan = x->bad_set = x->bad_chain = false;
	x->drifted = x->bad_block;
	x->look_again = true;
	x->lost = 0;
	return 0;
}

/* ---- taking down ---------------------------------------------------------------------- */

/* One table, of which all is ours or what bears our name. */
static int
remove_table(struct work *w, const char *table, bool own)
{
	struct plan p = {.table = table, .own_table = own};
	struct nl_form f = {.plan = &p};
	int err = -EAGAIN;

	for (int i = 0; i < APPLY_TRIES && (err == -EAGAIN || err == -ERESTART || err == -ENOBUFS);
	    i++) {
		struct nl_dump d;
		const struct nl_table *t;

		err = nl_talk_dump(w->x->t, w->a, INET, table, NL_DUMP_RULES, APPLY_TRIES, &d);
		t = err ? NULL : nl_dump_table(&d, INET, table);
		if (!t)
			continue;
		w->j = (struct nl_job){.a = w->a, .form = &f, .have = &d, .genid = d.genid,
		    .seq = 1, .table_flags = t->flags};
		err = step(w, "remove", nl_remove);
	}
	return err;
}

int
apply_remove(struct apply *x, struct apply_result *r)
{
	struct work w = {.x = x, .r = r, .a = arena_new()};
	const struct plan *p = x->now ? x->now->plan : NULL;
	int err = 0;

	*r = (struct apply_result){0};
	/* another agent may have tables of such names: only what this one has put there */
	if (p)
		err = remove_table(&w, p->table, p->own_table);
	if (!err && x->block_ours)
		err = remove_table(&w, NL_BLOCK_TABLE, true);
	arena_free(w.a);
	if (err && !r->text[0])
		snprintf(r->text, sizeof r->text, "%s", reason(err));
	if (!err) {
		snprintf(r->text, sizeof r->text, "%s", p ? "" : "no plan is in force here: no rules "
		    "were taken down but those of blocked addresses");
		x->now = apply_plan_free(x->now);
		x->nblocked = 0;
		x->block_ours = false;
		x->drifted = x->bad_plan = x->bad_block = false;
		x->others_gen = 0;
	}
	malloc_trim(0);
	return err;
}
