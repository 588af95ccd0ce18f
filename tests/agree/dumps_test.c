/*
 * Rulesets that others have written, as dumps that travel: a record read again is what
 * nl_talk_dump() gives, and lib/prove says the same of it as of the kernel itself.
 *
 *     unshare -Urn dumps_test POLICY FILE.nft...
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "compile/compile.h"
#include "nl/dump.h"
#include "nl/record.h"
#include "nl/talk.h"
#include "prove/prove.h"
#include "world/world.h"

enum { TRIES = 20, MOST = 1 << 24, FILES = 32 };

static struct compile k;
static struct world places = {.dir = -1};
static struct arena *a;
static struct nl_dump dump[FILES]; /* of each file, from its record */
static char **file;
static int nfile;

/* A namespace with the rules of the file. */
static struct nl_talk *
loaded(char *path)
{
	char nft[] = "nft", f[] = "-f";
	char *argv[] = {nft, f, path, NULL};
	struct nl_talk *t;
	int status;
	pid_t pid;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	pid = fork();
	if (!pid) {
		execvp(nft, argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(nl_talk_open(&t), 0);
	return t;
}

static void
bytes(struct buf *b, const void *p, size_t n)
{
	for (size_t i = 0; p && i < n; i++)
		buf_printf(b, "%02x", ((const uint8_t *)p)[i]);
	buf_chr(b, ' ');
}

/* All that a dump holds, as text. */
static struct buf
text(const struct nl_dump *d)
{
	struct buf b = BUF_INIT(MOST);

	buf_printf(&b, "%u\n", d->genid);
	for (uint32_t i = 0; i < d->ntable; i++)
		buf_printf(&b, "table %u %s %llu\n", d->table[i].family, d->table[i].name,
		    (unsigned long long)d->table[i].handle);
	for (uint32_t i = 0; i < d->nchain; i++)
		buf_printf(&b, "chain %s %s %u %d %u %d\n", d->chain[i].table, d->chain[i].name,
		    d->chain[i].hook, d->chain[i].priority, d->chain[i].policy, d->chain[i].base);
	for (uint32_t i = 0; i < d->nset; i++) {
		const struct nl_set *s = &d->set[i];

		buf_printf(&b, "set %s %s %x %u %u %u:", s->table, s->name, s->flags, s->key_type,
		    s->key_len, s->nelem);
		for (uint32_t n = 0; n < s->nelem; n++) {
			bytes(&b, s->elem[n].key, s->key_len);
			bytes(&b, s->elem[n].key_end, s->key_len);
			buf_printf(&b, "%d%d", s->elem[n].end, s->elem[n].catchall);
			if (s->elem[n].more) {
				nl_verdict_text(&b, s->elem[n].more->verdict);
				bytes(&b, s->elem[n].more->data.p, s->elem[n].more->data.n);
			}
		}
		buf_chr(&b, '\n');
	}
	for (uint32_t i = 0; i < d->nobject; i++)
		buf_printf(&b, "object %s %s %u\n", d->object[i].table, d->object[i].name, d->object[i].type);
	for (uint32_t i = 0; i < d->nrule; i++) {
		buf_printf(&b, "rule %s %s %llu %s:", d->rule[i].table, d->rule[i].chain,
		    (unsigned long long)d->rule[i].handle, d->rule[i].comment ? d->rule[i].comment : "");
		for (uint32_t n = 0; n < d->rule[i].nexpr; n++) {
			buf_chr(&b, ' ');
			nl_expr_text(&b, &d->rule[i].expr[n]);
		}
		buf_chr(&b, '\n');
	}
	assert_int_equal(b.err, 0);
	return b;
}

static void
same_dump(const struct nl_dump *x, const struct nl_dump *y)
{
	struct buf s = text(x), t = text(y);

	assert_string_equal(s.p, t.p);
	buf_free(&s);
	buf_free(&t);
}

static void
same_regions(const struct prove *x, const struct prove *y)
{
	assert_int_equal(x->nregion, y->nregion);
	for (size_t i = 0; i < x->nregion; i++) {
		assert_int_equal(x->region[i].kind, y->region[i].kind);
		assert_string_equal(x->region[i].is, y->region[i].is);
		assert_string_equal(x->region[i].meant, y->region[i].meant);
		assert_memory_equal(x->region[i].x, y->region[i].x, sizeof x->region[i].x);
		assert_ptr_equal(x->region[i].leaf, y->region[i].leaf);
		assert_int_equal(!x->region[i].rule, !y->region[i].rule);
		if (x->region[i].rule && y->region[i].rule)
			assert_int_equal(x->region[i].rule->handle, y->region[i].rule->handle);
	}
}

static struct prove
question(void)
{
	return (struct prove){.a = a, .flow = k.flow, .meant = k.meaning[0], .most = 1000};
}

static void
a_record_is_the_dump_and_is_judged_like_the_kernel(void **state)
{
	(void)state;
	for (int i = 0; i < nfile; i++) {
		struct nl_talk *t = loaded(file[i]);
		struct buf b = BUF_INIT(MOST), small = BUF_INIT(600);
		struct prove live = question(), there = question();
		struct nl_dump d;
		uint8_t *copy;

		buf_str(&b, "before");
		assert_int_equal(nl_talk_dump(t, a, 0, NULL, NL_DUMP_ALL, TRIES, &d), 0);
		assert_int_equal(nl_record(t, 0, NULL, NL_DUMP_ALL, TRIES, &b), 0);
		copy = malloc(b.n - 6);  /* reading behind it is seen, and it need not live on */
		assert_non_null(copy);
		memcpy(copy, b.p + 6, b.n - 6);
		assert_int_equal(nl_record_read(a, copy, b.n - 6, &dump[i]), 0);
		memset(copy, 0xa5, b.n - 6);
		free(copy);
		same_dump(&d, &dump[i]);
		buf_str(&small, "kept");
		assert_int_equal(nl_record(t, 0, NULL, NL_DUMP_ALL, TRIES, &small), -E2BIG);
		assert_int_equal(small.n, 4);
		assert_int_equal(small.err, 0);
		assert_int_equal(prove_dump(&there, &dump[i], NULL), prove_live(&live));
		same_regions(&live, &there);
		buf_free(&small);
		buf_free(&b);
		nl_talk_close(t);
	}
}

static void
half_records_are_refused(void **state)
{
	struct nl_talk *t = loaded(file[0]);
	struct buf b = BUF_INIT(MOST);
	struct nl_dump d = {.genid = 77};

	(void)state;
	assert_int_equal(nl_record(t, 0, NULL, NL_DUMP_ALL, TRIES, &b), 0);
	for (size_t n = 0; n < b.n; n++) {
		uint8_t *copy = malloc(n + 1);

		assert_non_null(copy);
		memcpy(copy, b.p, n);
		assert_int_equal(nl_record_read(a, copy, n, &d), -EBADMSG);
		free(copy);
	}
	for (size_t n = 0; n < NL_RECORD_HEAD; n++) {
		if (n >= 8 && n < 12)
			continue;  /* any generation is one */
		b.p[n] ^= 1;
		assert_int_equal(nl_record_read(a, b.p, b.n, &d), -EBADMSG);
		b.p[n] ^= 1;
	}
	assert_int_equal(nl_record_read(a, b.p, (size_t)NL_RECORD_MOST + 1, &d), -E2BIG);
	assert_int_equal(d.genid, 77);
	buf_free(&b);
	nl_talk_close(t);
}

static void
two_dumps_differ_where_their_fates_do_and_one_not_from_itself(void **state)
{
	size_t regions = 0, rules = 0;

	(void)state;
	for (int i = 0; i < nfile; i++)
		for (int n = 0; n < nfile; n++) {
			struct prove there = question(), back = question();
			int outcome = prove_dumps(&there, &dump[i], NULL, &dump[n], NULL);

			assert_int_equal(outcome, i == n ? PROVE_EQUAL : PROVE_DIFFERS);
			assert_int_equal(prove_dumps(&back, &dump[n], NULL, &dump[i], NULL), outcome);
			for (size_t r = 0; r < there.nregion; r++) {
				assert_string_not_equal(there.region[r].is, there.region[r].meant);
				assert_null(there.region[r].leaf);
				rules += there.region[r].was != NULL;
			}
			if (!there.truncated)
				assert_int_equal(!there.nregion, outcome == PROVE_EQUAL);
			regions += there.nregion;
		}
	assert_true(regions > 0 && rules > 0);
}

static void
users_and_interfaces_have_the_names_of_their_own_machines(void **state)
{
	char here[] = "/tmp/dumps-XXXXXX", there[] = "/tmp/dumps-XXXXXX";
	static const char *const rules[] = {
		"table inet x { chain y { type filter hook output priority 0; policy drop; meta skuid 1001 accept\n}\n}\n",
		"table inet x { chain y { type filter hook output priority 0; policy drop; meta skuid 1002 accept\n}\n}\n",
	};
	const struct prove_name one = {"mailer", 1001}, two = {"mailer", 1002};
	const struct prove_world first = {.user = &one, .nuser = 1}, second = {.user = &two, .nuser = 1};
	char *path[] = {here, there};
	struct nl_dump d[2];
	struct prove p = question();

	(void)state;
	for (int i = 0; i < 2; i++) {
		int fd = mkstemp(path[i]);
		struct nl_talk *t;

		assert_true(fd >= 0);
		assert_int_equal(write(fd, rules[i], strlen(rules[i])), strlen(rules[i]));
		close(fd);
		t = loaded(path[i]);
		unlink(path[i]);
		assert_int_equal(nl_talk_dump(t, a, 0, NULL, NL_DUMP_ALL, TRIES, &d[i]), 0);
		nl_talk_close(t);
	}
	assert_int_equal(prove_dumps(&p, &d[0], NULL, &d[1], NULL), PROVE_DIFFERS);
	assert_int_equal(p.nregion, 2);
	assert_int_equal(p.region[0].kind + p.region[1].kind, PROVE_ALLOWS + PROVE_FORBIDS);
	assert_int_equal(prove_dumps(&p, &d[0], &first, &d[1], &first), PROVE_DIFFERS);
	/* both let the mailer, and nobody else, out: 1002 there and 1001 here are other users, and
	 * nobody knows them by name */
	assert_int_equal(prove_dumps(&p, &d[0], &first, &d[1], &second), PROVE_EQUAL);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_the_dump_and_is_judged_like_the_kernel),
		cmocka_unit_test(half_records_are_refused),
		cmocka_unit_test(two_dumps_differ_where_their_fates_do_and_one_not_from_itself),
		cmocka_unit_test(users_and_interfaces_have_the_names_of_their_own_machines),
	};
	int failed;

	if (argc < 3 || argc - 2 > FILES)
		return 2;
	file = argv + 2;
	nfile = argc - 2;
	a = arena_new();
	k = (struct compile){.a = a, .text = text_set_new(a), .d = diags_new(a), .name = argv[1]};
	if (world_slurp(a, argv[1], MOST, &k.bytes, &k.len) || world_open(&places, argv[1]))
		return 2;
	k.world = &places.policy;
	if (!compile_run(&k, 1u << COMPILE_READ | 1u << COMPILE_MEAN))
		return 2;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	flow_free(k.flow);
	world_close(&places);
	arena_free(a);
	return failed;
}
