#include "role/apply.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "nl/dump.h"
#include "nl/record.h"

enum {
	INET = 1,                  /* NFPROTO_INET */
	SECOND = 1000000,          /* microseconds */
	HEAR_MS = 20,              /* for the name of who committed */
	AT_ONCE = 3,               /* heals of one program's edits without a pause */
	MOST_PAUSE = 300,          /* seconds */
	QUIET = 3600,              /* seconds after which a program's edits are forgotten */
	CREDIT = 600000,           /* microseconds of comparing elements after quiet */
	CREDIT_SHARE = 50,         /* one part in so many of the time, when it is used up */
	AT_A_TIME = 30000,         /* microseconds of it before others are served */
	UNHEARD = 5000000,         /* microseconds to wait for the end of a commit */
	MOST_TOLD = 60,            /* seconds between two tellings of what is not healed yet */
	LOOK_SHARE = 10,           /* looks take at most one part in so many of the time */
	OTHERS_SHARE = 50,
	CHEAP = 120000,            /* elements in all that a recording may hold before a heal */
	CHEAP_SET = 20000,         /* and in one set: a dump of one is quadratic */
	CHEAP_US = 100000,         /* microseconds that it may take by what was seen lately */
	COST = 1000,               /* nanoseconds to read an element, where nothing was seen yet */
	LEAST_SEEN = 1000,         /* elements that tell something about that */
	RECORD_MOST = NL_RECORD_MOST,
};

/* ---- who ------------------------------------------------------------------------------ */

/* The last of those that committed behind `from`, up to `to`, and was not ourselves. */
static const struct nl_committer *
last_other(struct apply *x, uint32_t from, uint32_t to)
{
	nl_who_hear(x->who);
	for (uint32_t gen = to, n = 0; gen != from && n < 256; gen--, n++) {
		const struct nl_committer *c = apply_is_own(x, gen) ? NULL : nl_who_at(x->who, gen);

		if (c)
			return c;
	}
	return NULL;
}

static const struct nl_committer *
culprit(struct apply *x, uint32_t from, uint32_t to)
{
	const struct nl_committer *c = x->who ? last_other(x, from, to) : NULL;

	/* the kernel tells a moment after it has committed */
	if (!c && x->who) {
		struct pollfd p = {.fd = nl_who_fd(x->who), .events = POLLIN};

		poll(&p, 1, HEAR_MS);
		c = last_other(x, from, to);
	}
	return c;
}

/* The place where its deeds are counted. */
static struct apply_culprit *
account(struct apply *x, const char *name, uint64_t now)
{
	struct apply_culprit *oldest = &x->culprit[0];

	for (int i = 0; i < APPLY_CULPRITS; i++) {
		struct apply_culprit *c = &x->culprit[i];

		if (c->last && now - c->last > (uint64_t)QUIET * SECOND)
			*c = (struct apply_culprit){0};
		if (c->last && !strcmp(c->name, name))
			return c;
		if (c->last < oldest->last)
			oldest = c;
	}
	*oldest = (struct apply_culprit){0};
	snprintf(oldest->name, sizeof oldest->name, "%s", name);
	return oldest;
}

/* The pause before its nth edit within the hour is healed. */
static uint64_t
pause_for(uint32_t times)
{
	uint32_t over = times > AT_ONCE ? times - AT_ONCE - 1 : 0;

	if (times <= AT_ONCE)
		return 0;
	return (over < 9 && 1u << over < MOST_PAUSE ? 1u << over : MOST_PAUSE) * (uint64_t)SECOND;
}

/* ---- recordings ----------------------------------------------------------------------- */

/* What it takes to read an element, by the last that were read: more on a busy machine. */
static void
learn_cost(struct apply *x, uint64_t us, uint64_t elements)
{
	if (elements >= LEAST_SEEN)
		x->cost = (3 * (x->cost ? x->cost : COST) + us * 1000 / elements) / 4;
}

int
apply_record(struct apply *x, bool elements, uint32_t *gen)
{
	struct buf b = BUF_INIT(RECORD_MOST);
	int fd = nl_record(x->t, 0, NULL, elements ? NL_DUMP_ALL : NL_DUMP_RULES, APPLY_TRIES, &b);

	if (!fd && b.n >= 12 && gen)
		*gen = (uint32_t)(uint8_t)b.p[8] << 24 | (uint32_t)(uint8_t)b.p[9] << 16 |
		    (uint32_t)(uint8_t)b.p[10] << 8 | (uint8_t)b.p[11];
	if (!fd)
		fd = ipc_file("ruleset", b.p, b.n);
	buf_free(&b);
	return fd;
}

/* Whether a recording with elements takes a moment only. */
static bool
cheap(struct apply *x)
{
	struct arena *a = arena_new();
	struct nl_dump d;
	uint64_t all = 0;
	bool yes = !nl_talk_dump(x->t, a, 0, NULL, 0, APPLY_TRIES, &d);

	for (uint32_t i = 0; yes && i < d.nset; i++) {
		uint32_t n = d.set[i].count;

		if (n == UINT32_MAX)       /* an older kernel: as many as the plan has */
			n = 0;
		all += n;
		yes = n <= CHEAP_SET;
	}
	for (uint32_t i = 0; yes && x->now && i < x->now->plan->nset && !all; i++)
		all = x->now->plan->set[i].n > CHEAP_SET ? CHEAP + 1 : 0;
	arena_free(a);
	return yes && all <= CHEAP && all * (x->cost ? x->cost : COST) / 1000 <= CHEAP_US;
}

/* ---- healing -------------------------------------------------------------------------- */

static void
heal(struct apply *x)
{
	struct apply_event of = {.uid = UINT32_MAX, .exe = "", .what = x->words};
	struct apply_result r = {0};
	char text[APPLY_WORDS] = "";
	int block = x->bad_block ? apply_block_heal(x, apply_clock(), text) : 0;
	int err = x->bad_plan && x->now ? apply_put(x, x->now, 0, x->bad_chain, &r) : 0;

	x->bad_block = block != 0;
	if (!err) {
		x->bad_plan = false;
		if (block)
			snprintf(r.text, sizeof r.text, "%s", text);
		err = block;
	}
	x->drifted = x->bad_plan || x->bad_block;

	of.pid = x->by.pid;
	of.program = x->by.name;
	of.times = x->times;
	of.kind = err ? APPLY_HEAL_FAILED : APPLY_HEALED;
	of.gen = x->now ? x->gen : x->block_gen;
	of.us = apply_clock() - x->seen;
	if (err) {
		uint32_t s = x->fails < 8 ? 1u << x->fails : MOST_PAUSE;

		x->fails++;
		x->heal_at = apply_clock() + (uint64_t)s * SECOND;
		snprintf(text, sizeof text, "%.*s (tried again in %u second%s)",
		    (int)sizeof text - 64, r.text, s, s == 1 ? "" : "s");
		of.what = text;
	} else {
		x->fails = 0;
		x->heals++;
	}
	apply_event(x, of, -1);
}

/* Microseconds until it is healed, as it looks now. */
static uint64_t
heal_in(const struct apply *x, uint64_t now)
{
	uint64_t at = x->paused ? x->paused : x->heal_at;

	return at > now ? at - now : 0;
}

/* The drift, and when it will be healed. */
static void
when(const struct apply *x, uint64_t now, char *text, size_t n)
{
	uint64_t s = (heal_in(x, now) + SECOND - 1) / SECOND;

	if (!s)
		snprintf(text, n, "%s", x->words);
	else
		snprintf(text, n, "%s (%s: healed in %llu second%s, or by `mailreevectl resume`)",
		    x->words, x->paused ? "healing is paused" : "it is not the first time",
		    (unsigned long long)s, s == 1 ? "" : "s");
}

/* What is not as it should be: told, and healed now, later or not at all. */
static void
drift(struct apply *x, struct nl_diff *d, uint32_t from, uint32_t to, uint64_t now)
{
	const struct nl_committer *c;
	struct apply_culprit *k;
	struct apply_event e = {.kind = APPLY_DRIFT, .gen = to, .uid = UINT32_MAX, .exe = ""};
	const char *words = d->words.p ? d->words.p : "?";
	uint64_t hash = hash_bytes(0, words, strlen(words));
	char text[sizeof x->words + 128];
	bool all, more = x->drifted;
	int fd;

	x->bad_set |= d->set;
	x->bad_chain |= d->chain;
	if (more && hash == x->told)
		return;
	if (more && now < x->told_next) {  /* in its turn: somebody may be at it without pause */
		x->told_more = true;
		return;
	}
	c = culprit(x, more ? x->told_gen : from, to);
	x->told_gen = to;
	x->told_more = false;
	x->told_gap = !more ? SECOND : x->told_gap < MOST_TOLD / 2 * SECOND ? 2 * x->told_gap :
	    (uint64_t)MOST_TOLD * SECOND;
	x->told_next = now + x->told_gap;
	x->told = hash;
	k = account(x, c ? c->name : "", now);
	k->times += !more;                 /* what comes on top of a drift waits no longer for it */
	k->last = now;
	x->drifted = true;
	x->by = c ? *c : (struct nl_committer){0};
	x->times = k->times;
	e.pid = x->by.pid;
	e.program = x->by.name;
	e.times = x->times;
	if (!more) {
		x->seen = now;
		x->heal_at = now + pause_for(k->times);
	}
	all = cheap(x);
	fd = apply_record(x, all, NULL);
	snprintf(x->words, sizeof x->words, "%s%s", words, fd < 0 ?
	    " (the rules could not be recorded)" : all ? "" :
	    " (recorded without elements: there are too many)");
	when(x, now, text, sizeof text);
	e.what = text;
	e.us = heal_in(x, now);
	apply_event(x, e, fd);
	if (x->paused || more)
		return;
	if (x->heal_at > now) {
		e.kind = APPLY_BACKS_OFF;
		apply_event(x, e, -1);
		return;
	}
	heal(x);
}

/* ---- looking -------------------------------------------------------------------------- */

static void
look(struct apply *x, uint64_t now)
{
	struct arena *a = arena_new();
	struct nl_diff diff = {.sets = x->now ? x->now->bad : NULL};
	struct nl_sums sums;
	struct nl_dump d = {0};
	uint32_t from = x->now ? x->gen : x->block_gen, plan;
	bool blind;

	if (x->now && apply_dump(x, a, x->now->plan->table, &d, &sums))
		goto out;                  /* they are at it this moment: next time */
	if (x->now)
		nl_watch_look(x->now->watch, &d, &sums, x->now->flags, &diff, NULL);
	plan = diff.n;
	/* what cannot be seen of the blocks keeps nobody from the plan: they are looked at again */
	blind = apply_block_look(x, &diff) != 0;
	if (x->now)
		x->gen = d.genid;
	x->look_again = false;
	/* looks alone: what follows from them is not charged to the next */
	x->next_look = apply_clock() + LOOK_SHARE * (apply_clock() - now);
	/* or somebody has put it right */
	x->bad_plan = plan || (x->bad_plan && x->bad_set);
	x->bad_chain &= x->bad_plan;
	if (!blind)
		x->bad_block = diff.n > plan;
	if (diff.n)
		drift(x, &diff, from, x->now ? d.genid : x->block_gen, now);
	else
		x->drifted = x->bad_plan || x->bad_block;
out:
	nl_diff_free(&diff);
	arena_free(a);
}

/* The elements of one set of the plan, as of generation gen. */
static int
compare_set(struct apply *x, uint32_t i, uint32_t gen, struct nl_diff *diff)
{
	struct nl_set s = {.family = INET, .table = x->now->plan->table,
	    .name = x->now->form->set[i].name};
	struct nl_dump d = {.genid = gen, .set = &s, .nset = 1};
	struct nl_sum sum;
	int err = nl_watch_sum(x->t, &d, 0, &sum);

	if (!err)
		nl_watch_set(x->now->watch, i, sum, diff);
	return err;
}

/* Set by set, those whose elements somebody may have touched; as long as there is credit. */
static void
look_at_elements(struct apply *x, uint64_t now)
{
	uint32_t n = x->now->plan->nset, from = x->gen;
	struct nl_diff diff = {.sets = x->now->bad};
	uint64_t begun = apply_clock();

	x->credit += (int64_t)((now - x->credit_at) / CREDIT_SHARE);
	x->credit_at = now;
	if (x->credit > CREDIT)
		x->credit = CREDIT;
	for (uint32_t k = 0; k < n && !diff.n; k++) {
		uint32_t i = x->next_set < n ? x->next_set : 0;
		uint64_t since;

		x->next_set = i + 1;
		if (x->now->sure[i] == x->gen)
			continue;
		x->busy = true;
		if (x->credit <= 0)
			break;
		since = apply_clock();
		if (!x->now->form->set[i].name || x->now->plan->set[i].kind == PLAN_METER) {
			x->now->sure[i] = x->gen;
			continue;
		}
		if (compare_set(x, i, x->gen, &diff)) {
			x->next_set = i;
			break;
		}
		x->now->sure[i] = x->gen;
		learn_cost(x, apply_clock() - since, x->now->plan->set[i].n);
		x->credit -= (int64_t)(apply_clock() - since);
		if (apply_clock() - begun > AT_A_TIME)
			break;
	}
	x->bad_plan |= diff.n > 0;
	if (diff.n)
		/* it may have been any since the last time that all was known */
		drift(x, &diff, from - 32, x->gen, now);
	nl_diff_free(&diff);
}

/* ---- others --------------------------------------------------------------------------- */

static void
look_at_others(struct apply *x, uint64_t now)
{
	struct arena *tmp = arena_new(), *a = arena_new();
	struct nl_diff diff = {0};
	struct nl_others o;
	struct nl_sums sums;
	struct nl_dump d;
	uint32_t from = x->others_gen;
	uint64_t begun = apply_clock();

	if (apply_dump(x, tmp, NULL, &d, &sums)) {
		arena_free(a);
		goto out;
	}
	nl_others(a, &d, &sums, x->now->plan, NL_BLOCK_TABLE, &o);
	if (from)
		nl_others_diff(&x->others, &o, &diff);
	arena_free(x->others_in);
	x->others_in = a;
	x->others = o;
	x->others_gen = d.genid;
	if (diff.n) {
		const struct nl_committer *c = culprit(x, from, d.genid);
		struct apply_event e = {.kind = APPLY_FOREIGN, .gen = d.genid, .uid = UINT32_MAX,
		    .pid = c ? c->pid : 0, .program = c ? c->name : "", .exe = "",
		    .what = diff.words.p ? diff.words.p : ""};

		apply_event(x, e, -1);
	}
out:
	nl_diff_free(&diff);
	arena_free(tmp);
	x->others_next = now + SECOND + OTHERS_SHARE * (apply_clock() - begun);
}

/* ---- each time ------------------------------------------------------------------------ */

void
apply_pause(struct apply *x, uint64_t seconds, uint64_t now)
{
	x->paused = seconds ? now + (seconds < 1u << 30 ? seconds : 1u << 30) * SECOND : 0;
	if (!seconds)
		x->heal_at = now;
}

/* A generation has its number before its commit has ended: until then counts are of both. Its
 * end is heard; one that was missed while we were deaf is not waited for. */
static bool
settled(struct apply *x, uint32_t gen, uint64_t now)
{
	if (x->who && gen != x->gen && !apply_is_own(x, gen) && (int32_t)(gen - x->deaf_gen) > 0) {
		nl_who_hear(x->who);
		if (!nl_who_at(x->who, gen)) {
			if (!x->unheard)
				x->unheard = now;
			if (now - x->unheard < UNHEARD) {
				x->busy = true;
				return false;
			}
		}
	}
	x->unheard = 0;
	return true;
}

void
apply_watch(struct apply *x, uint64_t now)
{
	uint32_t gen;
	int err = nl_talk_gen(x->t, &gen);

	x->polls++;
	if (err) {
		/* an answer may be lost; the socket itself is not replaced: it is the owner */
		if (++x->lost == 20) {
			struct apply_event e = {.kind = APPLY_LOST, .uid = UINT32_MAX, .program = "",
			    .exe = "", .what = strerror(-err)};

			apply_event(x, e, -1);
		}
		return;
	}
	x->lost = 0;
	if (x->told_more && now >= x->told_next) {
		x->told_more = false;
		x->look_again |= x->drifted;
	}
	x->busy = x->drifted || x->look_again;
	if (x->paused && now >= x->paused) {
		x->paused = 0;
		x->heal_at = now;
	}
	if (((x->now && gen != x->gen) || gen != x->block_gen || x->look_again) &&
	    now >= x->next_look && settled(x, gen, now))
		look(x, now);
	if (x->drifted && !x->paused && now >= x->heal_at)
		heal(x);
	if (!x->now) {
		x->busy |= x->drifted;
		return;
	}
	if (!x->drifted && !x->look_again)
		look_at_elements(x, now);
	if (gen != x->others_gen && now >= x->others_next && !x->unheard)
		look_at_others(x, now);
	x->busy |= x->drifted || x->others_gen != gen;
}

int
apply_check(struct apply *x, struct nl_diff *diff, uint32_t *gen, bool *held)
{
	struct arena *a = arena_new();
	struct nl_sums sums;
	struct nl_dump d;
	const struct nl_table *t;
	int err = -EAGAIN;

	for (int try = 0; try < APPLY_TRIES && err == -EAGAIN; try++) {
		nl_diff_free(diff);
		err = apply_dump(x, a, x->now->plan->table, &d, &sums);
		if (err)
			continue;
		nl_watch_look(x->now->watch, &d, &sums, x->now->flags, diff, NULL);
		t = nl_dump_table(&d, INET, x->now->plan->table);
		*held = t && t->flags & NL_OWNER && t->owner == x->port;
		if (t && t->owner && !*held)
			nl_diff_add(diff, "another program (port %u) owns table inet %s", t->owner,
			    x->now->plan->table);
		*gen = d.genid;
		for (uint32_t i = 0; i < x->now->plan->nset && !err && !diff->n; i++)
			if (x->now->form->set[i].name && x->now->plan->set[i].kind != PLAN_METER)
				err = compare_set(x, i, d.genid, diff);
		if (!err)
			err = apply_block_look(x, diff);
	}
	arena_free(a);
	return err;
}
