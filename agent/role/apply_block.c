#include "role/apply.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "addr/addr.h"
#include "base/arena.h"
#include "nl/dump.h"

enum {
	INET = 1,                  /* NFPROTO_INET */
	SECOND = 1000000,          /* microseconds */
	LONGEST = 366 * 24 * 3600, /* seconds of a block, at most */
	MOST_ELEMENTS = 8 * APPLY_BLOCKS, /* of a set that is compared; ours have less */
	SLACK_MS = 3000,           /* by which a block may end earlier or later */
	SLACK_SHARE = 1000,        /* and one part in so many of the time since it was put */
	LEAST_BITS4 = 8, LEAST_BITS6 = 16, /* of a prefix: more addresses are no block but a policy */
};

static void
forget_past(struct apply *x, uint64_t now)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < x->nblocked; i++)
		if (x->blocked[i].until > now)
			x->blocked[n++] = x->blocked[i];
	x->nblocked = n;
}

struct putting {
	struct apply *x;
	uint64_t now;
	bool fresh;
	int err;
};

static int
put_now(struct apply *x, uint64_t now, bool fresh)
{
	struct arena *a = arena_new();
	struct nl_blocked *v = arena_array(a, x->nblocked, struct nl_blocked);
	struct nl_batch b;
	struct nl_block_job how;
	const struct nl_table *t;
	struct nl_dump d;
	uint32_t after;
	int err = -EAGAIN;

	for (uint32_t i = 0; i < x->nblocked; i++)
		v[i] = (struct nl_blocked){x->blocked[i].prefix,
		    (x->blocked[i].until - now) / 1000 + 1};
	for (int i = 0; i < APPLY_TRIES && (err == -EAGAIN || err == -ERESTART || err == -ENOBUFS);
	    i++) {
		err = nl_talk_dump(x->t, a, INET, NL_BLOCK_TABLE, NL_DUMP_RULES, APPLY_TRIES, &d);
		if (err || (!x->nblocked && !d.ntable))
			continue;
		t = nl_dump_table(&d, INET, NL_BLOCK_TABLE);
		how = (struct nl_block_job){.there = t, .flags = x->table_flags, .genid = d.genid};
		/* one that was made without an owner cannot get one */
		how.fresh = fresh || !nl_block_whole(&d) || (t->flags ^ how.flags) & NL_PERSIST;
		err = x->nblocked ? nl_block(a, v, x->nblocked, &how, &b) :
		    nl_block_remove(a, d.genid, &b);
		if (err)
			break;
		err = nl_talk_send(x->t, &b, NULL);
		if (!err) {
			x->block_ours = x->nblocked > 0;
			x->block_put = now;
			after = nl_gen_after(d.genid, &b);
			/* what others did before that is looked for still */
			if (how.fresh || x->block_gen == d.genid)
				x->block_gen = after;
			apply_own_elsewhere(x, d.genid, after);
		}
		nl_batch_free(&b);
	}
	arena_free(a);
	return err;
}

static void
putting(void *arg)
{
	struct putting *z = arg;

	z->err = put_now(z->x, z->now, z->fresh);
}

/* What is to be blocked into the kernel; nothing: the table goes. */
static int
put(struct apply *x, uint64_t now, bool fresh)
{
	struct putting z = {.x = x, .now = now, .fresh = fresh};
	int err = arena_try(putting, &z);

	if (err)
		apply_starved(x);
	return err ? err : z.err;
}

static int
find(const struct apply *x, const struct nl_prefix *p)
{
	for (uint32_t i = 0; i < x->nblocked; i++) {
		const struct nl_prefix *q = &x->blocked[i].prefix;

		if (q->v6 == p->v6 && q->lo == p->lo && q->hi == p->hi)
			return (int)i;
	}
	return -1;
}

/* What people may block. */
static const char *
unfit(const struct addr_prefix *p)
{
	const u128 loop4 = (u128)127 << 24;

	if (p->family == ADDR_V4 && p->lo <= loop4 + 0xffffff && p->hi >= loop4)
		return "that is this host itself";
	if (p->family == ADDR_V6 && p->lo <= 1)
		return "that is this host itself";
	if (p->bits < (p->family == ADDR_V4 ? LEAST_BITS4 : LEAST_BITS6))
		return "so many addresses are for the policy, not for a block";
	return NULL;
}

int
apply_block(struct apply *x, const char *address, uint64_t seconds, uint64_t now,
    char text[APPLY_WORDS])
{
	struct addr_prefix p;
	enum addr_wrong wrong = addr_prefix_read(address, strlen(address), &p, NULL);
	const char *no = wrong != ADDR_OK ? addr_wrong_text(wrong) : unfit(&p);
	struct apply_blocked was = {0};
	struct nl_prefix q;
	int at, err;

	if (no) {
		snprintf(text, APPLY_WORDS, "%.100s: %s", address, no);
		return -EINVAL;
	}
	forget_past(x, now);
	q = (struct nl_prefix){p.family == ADDR_V6, p.lo, p.hi};
	at = find(x, &q);
	if (at < 0 && (!seconds || x->nblocked == APPLY_BLOCKS)) {
		snprintf(text, APPLY_WORDS, seconds ? "%u prefixes are blocked already" :
		    "it is not blocked", APPLY_BLOCKS);
		return seconds ? -ENOSPC : -ENOENT;
	}
	if (at < 0)
		x->blocked[at = (int)x->nblocked++] = (struct apply_blocked){.prefix = q};
	was = x->blocked[at];
	if (seconds)
		x->blocked[at].until = now + (seconds < LONGEST ? seconds : LONGEST) * SECOND;
	else
		x->blocked[at] = x->blocked[--x->nblocked];
	err = put(x, now, false);
	if (!err)
		return 0;
	/* as it was */
	if (!seconds) {
		x->blocked[x->nblocked++] = was;
	} else {
		x->blocked[at] = was;
		forget_past(x, now);
	}
	snprintf(text, APPLY_WORDS, "the kernel did not take it: %s", err == -EPERM ?
	    "another program owns the table inet " NL_BLOCK_TABLE : strerror(-err));
	return err;
}

void
apply_block_begin(struct apply *x, uint64_t now)
{
	struct arena *a = arena_new();
	const struct nl_table *t = NULL;
	struct nl_blocked *v;
	struct nl_dump d;
	uint32_t n = 0;
	int err = nl_talk_dump(x->t, a, INET, NL_BLOCK_TABLE, NL_DUMP_ALL, APPLY_TRIES, &d);

	if (!err)
		t = nl_dump_table(&d, INET, NL_BLOCK_TABLE);
	if (t && t->owner && t->owner != x->port) {
		apply_note(x, "another program owns the table inet " NL_BLOCK_TABLE
		    ": while it does nothing can be blocked here");
	} else if (t) {
		v = nl_block_read(a, &d, &n);
		for (uint32_t i = 0; i < n && i < APPLY_BLOCKS; i++)
			x->blocked[x->nblocked++] = (struct apply_blocked){v[i].range,
			    now + v[i].ms * 1000};
		/* also to own it again; with nothing in it, it goes */
		x->block_ours = true;
		x->block_put = now;
		put(x, now, false);
	}
	arena_free(a);
}

int
apply_block_look(struct apply *x, struct nl_diff *diff)
{
	struct arena *a = arena_new();
	struct nl_diff d = {0};
	struct nl_blocked *v;
	struct nl_sums sums;
	struct nl_dump rules, all;
	uint64_t now;
	uint32_t most = 0;
	int err = apply_dump(x, a, NL_BLOCK_TABLE, &rules, &sums);

	forget_past(x, apply_clock());
	if (!err && !x->nblocked && !rules.ntable)
		x->block_ours = false;     /* nothing is missing */
	if (err || !x->block_ours)
		goto out;
	err = nl_block_look(&rules, &sums, x->table_flags, &d);
	for (uint32_t i = 0; i < rules.nset; i++)
		if (rules.set[i].count != UINT32_MAX && rules.set[i].count > most)
			most = rules.set[i].count;
	if (!err && most > MOST_ELEMENTS)
		nl_diff_add(&d, "%u elements", most);
	if (err || d.n)
		goto out;
	err = nl_talk_dump(x->t, a, INET, NL_BLOCK_TABLE, NL_DUMP_ALL, APPLY_TRIES, &all);
	if (!err && all.genid != rules.genid)
		err = -EAGAIN;
	if (err)
		goto out;
	now = apply_clock();
	v = arena_array(a, x->nblocked, struct nl_blocked);
	for (uint32_t i = 0; i < x->nblocked; i++)
		v[i] = (struct nl_blocked){x->blocked[i].prefix, x->blocked[i].until > now ?
		    (x->blocked[i].until - now) / 1000 + 1 : 1};
	nl_block_compare(a, v, x->nblocked, &all,
	    SLACK_MS + (now - x->block_put) / 1000 / SLACK_SHARE, &d);
out:
	if (!err && x->block_ours && d.n)
		nl_diff_add(diff, "table inet " NL_BLOCK_TABLE ": %s", d.words.p ? d.words.p : "?");
	if (!err)
		x->block_gen = rules.genid;
	nl_diff_free(&d);
	arena_free(a);
	return err;
}

int
apply_block_heal(struct apply *x, uint64_t now, char text[APPLY_WORDS])
{
	int err;

	forget_past(x, now);
	err = put(x, now, true);
	if (err)
		snprintf(text, APPLY_WORDS, "table inet " NL_BLOCK_TABLE ": %s", err == -EPERM ?
		    "another program owns it" : strerror(-err));
	return err;
}
