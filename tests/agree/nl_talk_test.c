/*
 * lib/nl against the kernel of this machine: run in a user and a network namespace.
 *
 *     unshare -Urn nl_talk_test
 *
 * ROUNDS= (200) of races and of kills.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "nl/batch.h"
#include "nl/dump.h"
#include "nl/talk.h"
#include "plan/plan.h"

enum { INET = 1, RANGES = 4000, TRIES = 1000 };

static int rounds = 200;

/* forward -> judge -> a list; `kind` makes lists that differ. */
struct world {
	struct arena *a;
	struct plan p;
	struct plan_set set;
	struct plan_chain chain[2];
	struct plan_rule rule[2];
	struct plan_match match;
	struct plan_counter counter;
	struct addr_range4 v4[RANGES];
	struct nl_form *form;
};

static void
world(struct world *w, uint32_t kind)
{
	const char *who;

	memset(w, 0, sizeof *w);
	w->a = arena_new();
	for (uint32_t i = 0; i < RANGES; i++)
		w->v4[i] = (struct addr_range4){i << 16 | kind, i << 16 | (kind + 3)};
	w->set = (struct plan_set){.name = "list", .interval = true, .n = RANGES, .v4 = w->v4};
	w->match = (struct plan_match){.field = PLAN_DADDR4, .set = 0};
	for (int i = 0; i < 2; i++)
		w->rule[i] = (struct plan_rule){.vmap = PLAN_NONE, .counter = PLAN_NONE,
		    .limit.meter = PLAN_NONE, .stmt = PLAN_NONE, .at = TEXT_NO_SPAN};
	w->rule[0].match = &w->match;
	w->rule[0].nmatch = 1;
	w->rule[0].verdict = (struct plan_verdict){PLAN_DO_DROP, PLAN_NONE};
	w->rule[1].verdict = (struct plan_verdict){PLAN_DO_JUMP, 0};
	w->counter.name = "count";
	w->chain[0] = (struct plan_chain){.name = "judge", .rule = &w->rule[0], .nrule = 1};
	w->chain[1] = (struct plan_chain){.name = "forward", .entry = true, .base = true,
	    .rule = &w->rule[1], .nrule = 1};
	w->p = (struct plan){.table = "mailreeve", .own_table = true, .set = &w->set, .nset = 1,
	    .chain = w->chain, .nchain = 2, .counter = &w->counter, .ncounter = 1,
	    .policy = "p", .point = "q"};
	plan_seal(&w->p);
	assert_int_equal(nl_form(w->a, &w->p, NULL, (struct nl_salt){0}, &w->form, &who), 0);
}

static struct nl_talk *
fresh(void)
{
	struct nl_talk *t;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(nl_talk_open(&t), 0);
	return t;
}

static int
send_one(struct nl_talk *t, struct nl_job *j,
    int (*build)(const struct nl_job *, struct nl_batch *, const char **))
{
	const char *who;
	struct nl_batch b;
	int err = build(j, &b, &who);

	if (err)
		return err;
	if (b.changes)
		err = nl_talk_send(t, &b, NULL);
	if (!err)
		j->genid = nl_gen_after(j->genid, &b);
	nl_batch_free(&b);
	return err;
}

/* Stage, swap, sweep; once. */
static int
apply(struct nl_talk *t, struct nl_form *f, uint32_t flags)
{
	struct arena *a = arena_new();
	struct nl_job j = {.a = a, .form = f, .table_flags = flags, .seq = 1,
	    .most = nl_talk_most(t)};
	struct nl_dump d;
	int err = nl_talk_dump(t, a, INET, "mailreeve", NL_DUMP_RULES, TRIES, &d);

	j.have = &d;
	if (!err) {
		j.genid = d.genid;
		err = send_one(t, &j, nl_stage);
	}
	if (!err)
		err = send_one(t, &j, nl_swap);
	if (!err)
		err = nl_talk_dump(t, a, INET, "mailreeve", NL_DUMP_RULES, TRIES, &d);
	if (!err) {
		j.genid = d.genid;
		err = send_one(t, &j, nl_sweep);
	}
	arena_free(a);
	return err;
}

static bool
in_force(struct nl_talk *t, const struct nl_form *f)
{
	struct arena *a = arena_new();
	struct nl_dump d;
	bool yes;

	assert_int_equal(nl_talk_dump(t, a, INET, "mailreeve", NL_DUMP_RULES, TRIES, &d), 0);
	yes = nl_in_force(f, &d);
	arena_free(a);
	return yes;
}

/* ---- one after another ------------------------------------------------------------ */

static void
a_plan_is_applied_replaced_and_swept(void **state)
{
	struct nl_talk *t = fresh();
	struct world *w = calloc(2, sizeof *w);
	struct nl_dump d;

	(void)state;
	world(&w[0], 0);
	world(&w[1], 8);
	assert_false(in_force(t, w[0].form));
	for (int i = 0; i < 6; i++) {
		assert_int_equal(apply(t, w[i % 2].form, 0), 0);
		assert_true(in_force(t, w[i % 2].form));
		assert_false(in_force(t, w[!(i % 2)].form));
		assert_int_equal(nl_talk_dump(t, w[0].a, INET, "mailreeve", NL_DUMP_ALL, 1, &d), 0);
		assert_int_equal(d.nset, 1);
		assert_int_equal(d.nchain, 2);
		assert_int_equal(d.nobject, 2);
		assert_int_equal(d.set[0].nelem, 2 * RANGES);
	}
	nl_talk_close(t);
	arena_free(w[0].a);
	arena_free(w[1].a);
	free(w);
}

static void
faults_name_what_they_are_about(void **state)
{
	struct nl_talk *t = fresh();
	struct world *w = calloc(1, sizeof *w);
	struct nl_faults *f = calloc(1, sizeof *f);
	struct nl_job j;
	struct nl_batch b;
	const char *who;
	bool set = false, chain = false, counter = false;
	uint32_t gen, after;

	(void)state;
	world(w, 0);
	assert_int_equal(apply(t, w->form, 0), 0);
	assert_int_equal(nl_talk_gen(t, &gen), 0);
	j = (struct nl_job){.a = w->a, .form = w->form, .seq = 77}; /* as if nothing were there */
	assert_int_equal(nl_stage(&j, &b, &who), 0);
	assert_int_equal(nl_talk_send(t, &b, f), -EEXIST);
	for (size_t i = 0; i < f->n; i++) {
		assert_non_null(f->v[i].item);
		assert_int_equal(f->v[i].err, -EEXIST);
		set |= f->v[i].item->what == NL_A_SET && !strcmp(f->v[i].item->name, w->form->set[0].name);
		chain |= f->v[i].item->what == NL_A_CHAIN;
		counter |= f->v[i].item->what == NL_A_COUNTER && !strcmp(f->v[i].item->name, "count");
	}
	assert_true(set && chain && counter);
	assert_int_equal(f->n, f->all);
	assert_int_equal(nl_talk_gen(t, &after), 0);
	assert_int_equal(gen, after);
	nl_batch_free(&b);
	/* the batch as a whole: a wrong generation */
	j.genid = gen + 1;
	assert_int_equal(nl_stage(&j, &b, &who), 0);
	assert_int_equal(nl_talk_send(t, &b, f), -ERESTART);
	assert_int_equal(f->v[0].item->what, NL_THE_BATCH);
	nl_batch_free(&b);
	nl_talk_close(t);
	arena_free(w->a);
	free(f);
	free(w);
}

static void
a_batch_too_large_for_the_socket_changes_nothing_and_in_parts_it_fits(void **state)
{
	struct nl_talk *t = fresh();
	struct world *w = calloc(1, sizeof *w);
	struct nl_job j;
	uint32_t gen, after;
	int small = 50000;

	(void)state;
	world(w, 0);
	assert_int_equal(nl_talk_gen(t, &gen), 0);
	assert_int_equal(setsockopt(nl_talk_fd(t), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
	j = (struct nl_job){.a = w->a, .form = w->form, .seq = 1};
	assert_int_equal(send_one(t, &j, nl_stage), -EMSGSIZE);
	assert_int_equal(nl_talk_gen(t, &after), 0);
	assert_int_equal(gen, after);
	j.most = 90000;
	j.genid = gen;
	assert_int_equal(send_one(t, &j, nl_stage), 0);
	assert_int_equal(nl_talk_gen(t, &after), 0);
	assert_int_equal(j.genid, after);
	assert_true(after > gen + 1);
	nl_talk_close(t);
	arena_free(w->a);
	free(w);
}

static void
only_the_owner_may_change_its_table_and_it_outlives_him(void **state)
{
	struct nl_talk *t = fresh(), *other, *heir;
	struct world *w = calloc(2, sizeof *w);
	int err, fd;

	(void)state;
	world(&w[0], 0);
	world(&w[1], 8);
	assert_int_equal(nl_talk_open(&other), 0);
	err = apply(t, w[0].form, NL_OWNER | NL_PERSIST);
	if (err == -EOPNOTSUPP || err == -EINVAL) {
		print_message("this kernel has no persistent tables (6.9)\n");
	} else {
		assert_int_equal(err, 0);
		assert_int_equal(apply(other, w[1].form, 0), -EPERM);
		assert_true(in_force(other, w[0].form));
		/* handed on, it is the owner still; closed, the next one may adopt */
		fd = fcntl(nl_talk_fd(t), F_DUPFD_CLOEXEC, 3);
		nl_talk_close(t);
		assert_int_equal(nl_talk_adopt(fd, &heir), 0);
		assert_int_equal(apply(heir, w[1].form, NL_OWNER | NL_PERSIST), 0);
		nl_talk_close(heir);
		assert_true(in_force(other, w[1].form));
		assert_int_equal(apply(other, w[0].form, NL_OWNER | NL_PERSIST), 0);
		assert_true(in_force(other, w[0].form));
	}
	nl_talk_close(other);
	arena_free(w[0].a);
	arena_free(w[1].a);
	free(w);
}

/* ---- at the same time --------------------------------------------------------------- */

static atomic_int restarts;

/* Reads the number in the stamp and writes the next one, until nobody came between. */
static void *
count_up(void *arg)
{
	struct world *w = calloc(1, sizeof *w);
	struct nl_talk *t;

	(void)arg;
	world(w, 0);
	assert_int_equal(nl_talk_open(&t), 0);
	for (int i = 0; i < rounds; ) {
		struct arena *a = arena_new();
		struct nl_job j = {.a = a, .form = w->form, .seq = 1};
		struct nl_dump d;
		struct nl_salt salt;
		uint32_t n = 0;
		int err;

		assert_int_equal(nl_talk_dump(t, a, INET, "mailreeve", NL_DUMP_RULES, TRIES, &d), 0);
		if (!nl_stamp(&d, "mailreeve", w->p.digest, &salt))
			memcpy(&n, w->p.digest, sizeof n);
		n++;
		memset(w->p.digest, 0, sizeof w->p.digest);
		memcpy(w->p.digest, &n, sizeof n);
		j.have = &d;
		j.genid = d.genid;
		err = send_one(t, &j, nl_stage);
		if (!err)
			err = send_one(t, &j, nl_swap);
		if (err == -ERESTART || err == -EEXIST)
			restarts++;
		else
			assert_int_equal(err, 0);
		i += !err;
		arena_free(a);
	}
	nl_talk_close(t);
	arena_free(w->a);
	free(w);
	return NULL;
}

static void
generation_races_lose_no_update(void **state)
{
	struct nl_talk *t = fresh();
	struct arena *a = arena_new();
	uint8_t digest[NL_DIGEST];
	struct nl_salt salt;
	pthread_t one, two;
	struct nl_dump d;
	uint32_t n;

	(void)state;
	assert_int_equal(pthread_create(&one, NULL, count_up, NULL), 0);
	assert_int_equal(pthread_create(&two, NULL, count_up, NULL), 0);
	pthread_join(one, NULL);
	pthread_join(two, NULL);
	assert_int_equal(nl_talk_dump(t, a, INET, "mailreeve", NL_DUMP_RULES, 1, &d), 0);
	assert_int_equal(nl_stamp(&d, "mailreeve", digest, &salt), 0);
	memcpy(&n, digest, sizeof n);
	print_message("%d updates, %d times somebody was quicker\n", 2 * rounds, restarts);
	assert_int_equal(n, 2 * rounds);
	nl_talk_close(t);
	arena_free(a);
}

static atomic_bool over;

static void *
toggle(void *arg)
{
	struct world *w = arg;
	struct nl_talk *t;

	assert_int_equal(nl_talk_open(&t), 0);
	for (int i = 0; !over; i++)
		assert_int_equal(apply(t, w[i % 2].form, 0), 0);
	nl_talk_close(t);
	return NULL;
}

/* Whether a dump with elements is of one moment: its list is a whole one. */
static void
whole(const struct nl_dump *d, const struct world *w)
{
	for (uint32_t i = 0; i < d->nset; i++) {
		const struct nl_set *s = &d->set[i];
		uint32_t kind = !strcmp(s->name, w[1].form->set[0].name) ? 8 : 0;

		assert_int_equal(s->nelem, 2 * RANGES);
		for (uint32_t k = 0; k < s->nelem; k++)
			assert_int_equal(s->elem[k].key[3], kind + (s->elem[k].end ? 4 : 0));
	}
}

static void
a_dump_is_of_one_moment_while_rules_change(void **state)
{
	struct nl_talk *t = fresh();
	struct world *w = calloc(2, sizeof *w);
	int seen = 0, again = 0;
	pthread_t other;

	(void)state;
	world(&w[0], 0);
	world(&w[1], 8);
	over = false;
	assert_int_equal(apply(t, w[0].form, 0), 0);
	assert_int_equal(pthread_create(&other, NULL, toggle, w), 0);
	while (seen < rounds / 4) {
		struct arena *a = arena_new();
		struct nl_dump d;
		int err = nl_talk_dump(t, a, INET, "mailreeve", NL_DUMP_ALL, 1, &d);

		if (err) {
			assert_int_equal(err, -EAGAIN);
			again++;
			if (again % 50 == 0)
				usleep(1000);
		} else {
			whole(&d, w);
			assert_true(d.nchain >= 2 && d.nrule >= 2);
			seen++;
		}
		arena_free(a);
	}
	over = true;
	pthread_join(other, NULL);
	print_message("%d dumps of one moment, %d begun again\n", seen, again);
	nl_talk_close(t);
	arena_free(w[0].a);
	arena_free(w[1].a);
	free(w);
}

static void
kill_9_at_any_point_leaves_old_or_new_rules(void **state)
{
	struct nl_talk *t = fresh();
	struct world *w = calloc(2, sizeof *w);
	int moved = 0, before = 0;

	(void)state;
	world(&w[0], 0);
	world(&w[1], 8);
	assert_int_equal(apply(t, w[0].form, 0), 0);
	for (int i = 0; i < rounds; i++) {
		int now, status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			struct nl_talk *mine;

			if (nl_talk_open(&mine))
				_exit(2);
			for (int k = !before; ; k = !k)
				if (apply(mine, w[k].form, 0))
					_exit(3);
		}
		usleep((useconds_t)((unsigned)i * 7919 % 20000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		now = in_force(t, w[1].form);
		assert_true(now || in_force(t, w[0].form));
		moved += now != before;
		before = now;
	}
	print_message("%d kills, %d found the other plan in force\n", rounds, moved);
	assert_int_equal(apply(t, w[1].form, 0), 0);
	assert_true(in_force(t, w[1].form));
	nl_talk_close(t);
	arena_free(w[0].a);
	arena_free(w[1].a);
	free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_is_applied_replaced_and_swept),
		cmocka_unit_test(faults_name_what_they_are_about),
		cmocka_unit_test(a_batch_too_large_for_the_socket_changes_nothing_and_in_parts_it_fits),
		cmocka_unit_test(only_the_owner_may_change_its_table_and_it_outlives_him),
		cmocka_unit_test(generation_races_lose_no_update),
		cmocka_unit_test(a_dump_is_of_one_moment_while_rules_change),
		cmocka_unit_test(kill_9_at_any_point_leaves_old_or_new_rules),
	};
	const char *r = getenv("ROUNDS");

	if (r)
		rounds = (int)strtol(r, NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
