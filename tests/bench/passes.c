/*
 * passes: what each pass costs, inside one process: milliseconds of the monotonic
 * clock, the best of several runs for the quick ones.
 *
 *     passes POLICY [OTHER]
 *
 * prints one line a pass: NAME MILLISECONDS. OTHER is the new side of a diff.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/buf.h"
#include "compile/compile.h"
#include "doc/doc.h"
#include "gen/out/out.h"
#include "plan/plan.h"
#include "text/print.h"
#include "world/world.h"

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

struct side {
	struct world w;
	struct compile c;
};

static void
step(struct compile *c, enum compile_pass p, const char *name)
{
	double t = now();
	bool ok = compile_run(c, 1u << p);

	if (name)
		printf("%-10s %9.3f\n", name, now() - t);
	if (!ok) {
		struct buf b = BUF_INIT(1 << 20);

		print_diags(&b, c->d, c->text, PRINT_HUMAN, false);
		fputs(b.p ? b.p : "failed\n", stderr);
		exit(1);
	}
}

static void
load(struct side *s, const char *path, struct flow *f, bool tell)
{
	s->c = (struct compile){.a = arena_new(), .name = path, .flow = f};
	s->c.text = text_set_new(s->c.a);
	s->c.d = diags_new(s->c.a);
	if (world_slurp(s->c.a, path, DOC_MOST, &s->c.bytes, &s->c.len) ||
	    world_open(&s->w, path)) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(2);
	}
	s->c.world = &s->w.policy;
	step(&s->c, COMPILE_READ, tell ? "read" : NULL);
	step(&s->c, COMPILE_MEAN, tell ? "mean" : NULL);
}

int
main(int argc, char **argv)
{
	struct flow *f = flow_new(0);
	struct side a, b;
	struct buf out = BUF_INIT(OUT_MOST);
	struct packet p;
	size_t where, len;
	double t;

	if (argc < 2)
		return 2;
	load(&a, argv[1], f, true);
	step(&a.c, COMPILE_LINT, "lint");
	step(&a.c, COMPILE_PLAN, "plan");
	t = now();
	out_nft(&out, a.c.plan[0], NULL);
	printf("%-10s %9.3f\n", "print", now() - t);
	buf_free(&out);
	if (!packet_read("tcp 10.1.2.3 -> 192.0.2.1:25", 28, &p, &where, &len)) {
		const struct policy_point *pt = a.c.policy->point[0];
		struct look_explain e;
		enum { TIMES = 200 };

		p.hook = pt->kind == POLICY_ROUTER ? PACKET_FORWARD : PACKET_OUTPUT;
		t = now();
		for (int i = 0; i < TIMES; i++)
			look_explain(a.c.a, f, a.c.meaning[0], pt, &p, &e);
		printf("%-10s %9.3f\n", "explain", (now() - t) / TIMES);
	}
	if (argc > 2) {
		struct look_diff df = {.strict = false};

		load(&b, argv[2], f, false);
		t = now();
		if (look_diff(b.c.a, f, a.c.policy, b.c.policy, b.c.d, &df))
			return 1;
		printf("%-10s %9.3f\n", "diff", now() - t);
	}
	printf("%-10s %9u\n", "nodes", flow_count(f));
	flow_free(f);
	return 0;
}
