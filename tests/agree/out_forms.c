/*
 * out_forms: writes the plans of policies made by hand and at random, in every form, into a
 * folder, for out_agree.py to load.
 *
 *     out_forms FOLDER SEED COUNT            every form of each plan
 *     out_forms FOLDER SEED COUNT packets    text, and packets with what plan_eval() says
 *
 * Half of the plans are made as if sets were to be split above one range, so that small ones
 * have shards; for packets all of them are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "gen/out/out.h"
#include "plan/lower.h"
#include "tests/unit/random_policy.h"

static const char *folder;

static int
by_precedence(const void *pa, const void *pb)
{
	const struct policy_stmt *a = *(struct policy_stmt *const *)pa;
	const struct policy_stmt *b = *(struct policy_stmt *const *)pb;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

/* Users that exist wherever this is loaded, no units (they need their cgroups), names
 * and comments with odd characters, limits of all kinds. */
static void
settle(struct rnd *r, struct policy *p)
{
	static const char *const user[] = {"root", "0", "daemon", "2"};
	static const enum policy_over over[] = {POLICY_OVER_LOG, POLICY_OVER_REJECT,
	    POLICY_OVER_DROP};

	for (size_t i = 0; i < p->point[0]->nzone; i++)
		for (int k = 0; k < POLICY_NDIR; k++) {
			struct policy_judge *j = &p->point[0]->zone[i]->judge[k];

			if (j->nstmt)
				qsort(j->stmt, j->nstmt, sizeof *j->stmt, by_precedence);
			for (size_t s = 0; s < j->nstmt; s++) {
				struct policy_stmt *x = j->stmt[s];

				x->nunit = 0;
				if (k == POLICY_INBOUND)
					x->nuser = 0;
				for (size_t u = 0; u < x->nuser; u++)
					x->user[u] = user[rnd_below(r, 4)];
				if (x->nuser == 2 && !strcmp(x->user[0], x->user[1]))
					x->nuser = 1;
				if (rnd_one_in(r, 4))
					x->meta.source = "S3:34 \"quoted\" \xc3\xa9 { # ; \\";
			}
			for (size_t t = 0; t < j->nlimit; t++) {
				j->limit[t].over = over[rnd_below(r, 3)];
				j->limit[t].each = rnd_one_in(r, 3) ? POLICY_EACH_ALL : POLICY_EACH_SOURCE;
				j->limit[t].seconds = rnd_one_in(r, 2) ? 3600 : 7 * 86400 + 1;
			}
		}
}

/* More zones than rules are written for. */
static void
zones(struct rnd *r, struct arena *a, struct policy *p)
{
	struct policy_point *pt = p->point[0];

	p->nstmt = 0;
	pt->kind = POLICY_ROUTER;
	pt->nzone = 0;
	for (unsigned i = 0; i < 10; i++) {
		struct policy_zone *z = arena_of(a, struct policy_zone);

		z->meta = (struct policy_meta){.at = TEXT_NO_SPAN, .days = POLICY_ALWAYS,
		    .name = arena_printf(a, "z%u", i)};
		z->point = pt;
		rnd_ranges(r, a, &z->inside.set, 6 * i, 6 * i + 6);
		z->internal = z->inside.set;
		ARENA_PUSH(a, pt->zone, pt->nzone, pt->capzone) = z;
		for (int k = 0; k < POLICY_NDIR; k++)
			rnd_judge(r, p, &z->judge[k], z, (enum policy_dir)k, 2, true);
	}
}

/* So many exemptions that they become a set with a comment at each element. */
static void
exemptions(struct rnd *r, struct policy *p)
{
	struct policy_zone *z = p->point[0]->zone[0];
	struct policy_judge *j = &z->judge[POLICY_OUTBOUND];

	for (unsigned i = 0; j->present && i < 40; i++) {
		struct policy_stmt *s = rnd_stmt(r, p, j, POLICY_EXEMPT, POLICY_REJECT);

		s->meta.days = POLICY_ALWAYS;
		s->nuser = s->nunit = 0;
		rnd_anywhere(p->a, &s->to);
		s->from = (struct policy_where){.label = "x"};
		addr_set_add(p->a, &s->from.set, ADDR_V4, RND_V4 + i, RND_V4 + i + i % 2);
		addr_set_add(p->a, &s->from.set, ADDR_V6, RND_V6 + i, RND_V6 + i);
		s->ports.set = (struct port_set){0};
		port_set_add(p->a, &s->ports.set, 25, 25);
	}
}

static void
put(const char *name, unsigned i, struct buf *b)
{
	char path[4096];
	int err;

	snprintf(path, sizeof path, "%s/%u.%s", folder, i, name);
	err = b->err ? b->err : out_file(path, b->p, b->n);
	if (err) {
		fprintf(stderr, "%s: %s\n", path, strerror(-err));
		exit(2);
	}
	buf_free(b);
}

static void
forms(struct arena *a, unsigned i, const struct plan *p)
{
	static const struct {
		const char *name;
		struct out_options o;
	} row[] = {
		{"all", {OUT_ALL, OUT_NO_SLOT}},
		{"stage-a", {OUT_STAGE, OUT_SLOT_A}},
		{"swap-a", {OUT_SWAP, OUT_SLOT_A}},
		{"stage-b", {OUT_STAGE, OUT_SLOT_B}},
		{"swap-b", {OUT_SWAP, OUT_SLOT_B}},
	};
	struct diags *d = diags_new(a);
	struct buf file = BUF_INIT(OUT_MOST);

	out_plan(&file, p);
	put("plan", i, &file);
	for (size_t k = 0; k < (p->own_table ? sizeof row / sizeof *row : 1); k++) {
		struct buf b = BUF_INIT(OUT_MOST);

		out_nft(&b, p, &row[k].o);
		put(arena_printf(a, "%s.nft", row[k].name), i, &b);
		if (out_json(&b, p, &row[k].o, d)) {
			/* a limit in a table that stays; anything else is a bug */
			if (p->own_table || d->v[0].code != DIAG_E0806 || b.n)
				exit(2);
			continue;
		}
		put(arena_printf(a, "%s.json", row[k].name), i, &b);
	}
}

/* What can be sent at any time by anybody: no dates, no users. */
static void
plain(struct policy *p)
{
	for (size_t i = 0; i < p->nstmt; i++) {
		p->stmt[i]->nuser = p->stmt[i]->nunit = 0;
		p->stmt[i]->meta.days = POLICY_ALWAYS;
	}
	for (size_t i = 0; i < p->point[0]->nzone; i++)
		for (int k = 0; k < POLICY_NDIR; k++) {
			struct policy_judge *j = &p->point[0]->zone[i]->judge[k];

			for (size_t t = 0; t < j->nlimit; t++) {
				j->limit[t].meta.days = POLICY_ALWAYS;
				j->limit[t].over = POLICY_OVER_LOG;
			}
		}
}

static void
packets(struct rnd *r, unsigned i, const struct plan *p, enum policy_kind kind)
{
	static const char *const fate[] = {[PLAN_UNTOUCHED] = "allow", [PLAN_ACCEPT] = "allow",
	    [PLAN_REJECT] = "reject", [PLAN_DROP] = "drop", [PLAN_REDIRECT] = "capture"};
	static const char *const hook[] = {[PACKET_FORWARD] = "forward",
	    [PACKET_OUTPUT] = "output", [PACKET_INPUT] = "input"};
	struct buf b = BUF_INIT(1 << 20);

	buf_str(&b, "[");
	for (int k = 0; k < 60; ) {
		struct packet pk = {.proto = IPPROTO_TCP, .syn = true, .date = 1};
		enum addr_family f = rnd_one_in(r, 2) ? ADDR_V4 : ADDR_V6;
		u128 base = f == ADDR_V4 ? RND_V4 : RND_V6;
		char src[46], dst[46];
		struct plan_answer x;

		pk.hook = kind == POLICY_HOST ? (enum packet_hook)rnd_below(r, 3) : PACKET_FORWARD;
		pk.src = (struct addr){f, base + 1 + rnd_below(r, 64)};
		pk.dst = (struct addr){f, base + 1 + rnd_below(r, 64)};
		pk.dport = rnd_port_list[rnd_below(r, rnd_one_in(r, 2) ? 3 : 7)];
		if (pk.src.n == pk.dst.n)
			continue;
		plan_eval(p, &pk, &x);
		addr_write(pk.src, src);
		addr_write(pk.dst, dst);
		buf_printf(&b, "%s\n{\"hook\":\"%s\",\"proto\":\"tcp\",\"src\":\"%s\",\"dst\":\"%s\","
		    "\"dport\":%u,\"want\":\"%s\"}", k ? "," : "", hook[pk.hook], src, dst,
		    pk.dport, fate[x.fate]);
		k++;
	}
	buf_str(&b, "]\n");
	put("packets", i, &b);
	out_nft(&b, p, NULL);
	put("nft", i, &b);
}

int
main(int argc, char **argv)
{
	static const struct split tiny = {.above = 1, .least = 1, .chance = 2};
	struct rnd r;
	unsigned count;

	if (argc != 4 && (argc != 5 || strcmp(argv[4], "packets")))
		return 2;
	folder = argv[1];
	r.s = strtoull(argv[2], NULL, 10);
	count = (unsigned)strtoul(argv[3], NULL, 10);
	for (unsigned i = 0; i < count; i++) {
		struct arena *a = arena_new();
		struct policy *p = rnd_policy(&r, a, 5, true);
		struct policy_point *pt = p->point[0];
		struct diags *d = diags_new(a);
		struct plan *plan;

		if (i % 5 == 4)
			zones(&r, a, p);
		if (i % 5 == 3)
			exemptions(&r, p);
		settle(&r, p);
		p->meta.name = "random";
		pt->as = argc == 4 && rnd_one_in(&r, 3) ? POLICY_AS_CHAINS : POLICY_AS_BASE;
		if (argc == 5)
			plain(p);
		plan = lower_point(a, p, pt, d,
		    argc == 5 || rnd_one_in(&r, 2) ? &tiny : &split_usual);
		if (!plan) {
			fprintf(stderr, "no plan: %s\n", d->n ? d->v[0].message : "");
			return 1;
		}
		if (argc == 5)
			packets(&r, i, plan, pt->kind);
		else
			forms(a, i, plan);
		arena_free(a);
	}
	return 0;
}
