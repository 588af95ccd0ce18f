/*
 * vm_agree: the ruleset of this network namespace, read by lib/vm.
 *
 *     vm_agree policy FILE POINT    0 where it means what the policy means, else 1
 *                                   and a packet whose fate differs
 *     vm_agree packets              the fate of each packet on standard input: a line of
 *                                   words FIELD=NUMBER, by the words of flow/field.c
 *     vm_agree dump                 the diagram
 *
 * --times: how long each step took, to standard error.
 */
#include <assert.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/arena.h"
#include "base/buf.h"
#include "compile/compile.h"
#include "nl/talk.h"
#include "text/print.h"
#include "vm/vm.h"
#include "world/world.h"

enum { TRIES = 10, MOST = 1 << 30, MOST_NAMES = 256, NOT_KNOWN = 1 << 30 };

static bool times;

static double
step(const char *what, double since)
{
	struct timespec t;
	double now;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
	if (times && what)
		fprintf(stderr, "%s %.6f\n", what, now - since);
	return now;
}

static void
die(const char *what)
{
	fprintf(stderr, "vm_agree: %s\n", what);
	exit(2);
}

/* ---- fates as numbers ------------------------------------------------------------- */

static uint32_t
vm_fates(void *arg, uint32_t l)
{
	const struct vm_leaf *x = vm_leaf(arg, l);

	return x->fates | (x->unknown ? NOT_KNOWN : 0);
}

static uint32_t
flow_fates(void *arg, uint32_t l)
{
	static const uint32_t of[] = {
		[FLOW_UNTOUCHED] = 1u << VM_PASS, [FLOW_ALLOW] = 1u << VM_PASS,
		[FLOW_REJECT] = 1u << VM_REJECT, [FLOW_DROP] = 1u << VM_DROP,
		[FLOW_CAPTURE] = 1u << VM_CAPTURE,
	};
	struct packet any = {.src = {ADDR_V4, 0}, .dst = {ADDR_V4, 0}};
	const struct flow_leaf *x = flow_eval(arg, fdd_leaf(l), &any);
	const char *limits = flow_limits_text(arg, x->limits);
	uint32_t fates = of[x->verdict];

	if (x->observe)
		return 1u << VM_PASS;
	if (strstr(limits, "else reject"))
		fates |= 1u << VM_REJECT;
	if (strstr(limits, "else drop"))
		fates |= 1u << VM_DROP;
	return fates;
}

/* ---- a packet ------------------------------------------------------------------------ */

static void
print_packet(const u128 x[FLOW_NFIELD], const bool said[FLOW_NFIELD])
{
	for (enum flow_field k = 0; k < FLOW_NFIELD; k++) {
		if (!said[k])
			continue;
		printf(" %s=0x", field_row(k)->word);
		if (u128_hi(x[k]))
			printf("%llx%016llx", (unsigned long long)u128_hi(x[k]),
			    (unsigned long long)u128_lo(x[k]));
		else
			printf("%llx", (unsigned long long)u128_lo(x[k]));
	}
}

/* The first packet for which two diagrams differ. */
static void
witness(const struct fdd *f, fdd_ref a, fdd_ref b, u128 x[FLOW_NFIELD], bool said[FLOW_NFIELD],
    fdd_ref out[2])
{
	while (!fdd_is_leaf(a) || !fdd_is_leaf(b)) {
		struct fdd_view va, vb;
		enum flow_field fa = FLOW_NFIELD, fb = FLOW_NFIELD, k;
		u128 at;

		if (!fdd_is_leaf(a))
			fa = (va = fdd_view(f, a)).field;
		if (!fdd_is_leaf(b))
			fb = (vb = fdd_view(f, b)).field;
		k = fa < fb ? fa : fb;
		assert(k < FLOW_NFIELD);
		for (at = field_row(k)->first;; at++) {
			uint32_t i = fa == k ? fdd_find(&va, at) : 0, j = fb == k ? fdd_find(&vb, at) : 0;
			fdd_ref ca = fa == k ? va.child[i] : a, cb = fb == k ? vb.child[j] : b;
			u128 ha = fa == k ? fdd_hi(&va, i) : field_row(k)->last;
			u128 hb = fb == k ? fdd_hi(&vb, j) : field_row(k)->last;

			if (ca != cb) {
				a = ca;
				b = cb;
				break;
			}
			at = ha < hb ? ha : hb;
		}
		x[k] = at;
		said[k] = true;
	}
	out[0] = a;
	out[1] = b;
}

static void
fates_put(uint32_t fates, char out[128])
{
	size_t n = 0;

	out[0] = '\0';
	for (enum vm_fate k = 0; k < VM_NFATE; k++)
		if (fates >> k & 1)
			n += (size_t)snprintf(out + n, 128 - n, "%s%s", n ? "|" : "", vm_fate_name(k));
	if (fates & NOT_KNOWN)
		snprintf(out + n, 128 - n, "?");
}

/* ---- commands -------------------------------------------------------------------------- */

static struct nl_dump dump;

static void
read_kernel(struct arena *a)
{
	struct nl_talk *t = NULL;

	if (nl_talk_open(&t) || nl_talk_dump(t, a, 0, NULL, NL_DUMP_ALL, TRIES, &dump))
		die("no dump");
	nl_talk_close(t);
}

/* The users and units of a policy, as this machine numbers them. */
static void
names(struct arena *a, struct flow *f, struct vm_world *w)
{
	struct vm_name *user = arena_array(a, MOST_NAMES, struct vm_name);
	struct vm_name *unit = arena_array(a, MOST_NAMES, struct vm_name);

	for (unsigned i = 0; i < MOST_NAMES; i++) {
		const char *name = flow_user_name(f, FLOW_USER_NAMES + i);
		struct passwd *p = getpwnam(name);

		if (p)
			user[w->nuser++] = (struct vm_name){p->pw_uid, FLOW_USER_NAMES + i};
	}
	for (unsigned i = 1; i < MOST_NAMES; i++) {
		char path[4200];
		struct stat st;

		snprintf(path, sizeof path, "/sys/fs/cgroup/%s", flow_unit_name(f, i));
		if (strcmp(flow_unit_name(f, i), "another unit") && !stat(path, &st))
			unit[w->nunit++] = (struct vm_name){st.st_ino, i};
	}
	w->user = user;
	w->unit = unit;
}

static int
say_difference(struct vm *v, const struct fdd *f, fdd_ref want, fdd_ref have, fdd_ref raw)
{
	bool said[FLOW_NFIELD] = {false};
	u128 x[FLOW_NFIELD];
	char one[128], two[128];
	struct buf b = BUF_INIT(1 << 16);
	fdd_ref out[2];

	for (enum flow_field k = 0; k < FLOW_NFIELD; k++)
		x[k] = field_row(k)->first;
	witness(f, want, have, x, said, out);
	fates_put(fdd_number(out[0]), one);
	fates_put(fdd_number(out[1]), two);
	vm_leaf_text(&b, vm_leaf(v, fdd_number(fdd_eval(f, raw, x))));
	printf("differs: meant %s, is %s (%s):", one, two, b.p ? b.p : "");
	print_packet(x, said);
	printf("\n");
	buf_free(&b);
	return 1;
}

static int
against_policy(struct arena *a, const char *path, const char *point)
{
	struct diags *d = diags_new(a);
	struct compile c = {.a = a, .text = text_set_new(a), .d = d, .name = path, .only = point};
	struct vm_world w = {0};
	struct world world = {.dir = -1};
	double since = step(NULL, 0);
	const struct policy_point *pt;
	fdd_ref meant, raw, is;
	struct vm *v;
	int differs = 0;

	if (world_slurp(a, path, 1 << 26, &c.bytes, &c.len) || world_open(&world, path))
		die("cannot read the policy");
	c.world = &world.policy;
	compile_run(&c, 1u << COMPILE_READ | 1u << COMPILE_MEAN);
	pt = c.policy ? policy_point_find(c.policy, point) : NULL;
	if (!pt || !c.flow)
		die("the policy does not compile");
	since = step("policy", since);
	meant = fdd_map(flow_fdd(c.flow), fdd_tag(flow_fdd(c.flow)), flow_fates, c.flow,
	    c.meaning[pt->index]);
	since = step("fates", since);
	read_kernel(a);
	since = step("dump", since);
	names(a, c.flow, &w);
	v = vm_new(flow_fdd(c.flow), &dump, &w);
	raw = vm_read(v);
	since = step("read", since);
	is = fdd_map(flow_fdd(c.flow), fdd_tag(flow_fdd(c.flow)), vm_fates, v, raw);
	if (meant == FDD_NONE || is == FDD_NONE)
		die("too many nodes");
	step("compare", since);
	if (meant != is)
		differs = say_difference(v, flow_fdd(c.flow), meant, is, raw);
	vm_free(v);
	flow_free(c.flow);
	world_close(&world);
	return differs;
}

static u128
number(const char *s)
{
	u128 x = 0;

	if (s[0] == '0' && s[1] == 'x')
		for (s += 2; *s; s++)
			x = x << 4 | (unsigned)(*s <= '9' ? *s - '0' : (*s | 32) - 'a' + 10);
	else
		for (; *s; s++)
			x = x * 10 + (unsigned)(*s - '0');
	return x;
}

static void
packets(struct vm *v, const struct fdd *f, fdd_ref r)
{
	char line[4096];

	while (fgets(line, sizeof line, stdin)) {
		u128 x[FLOW_NFIELD];
		char text[128], *word, *save = NULL;

		for (enum flow_field k = 0; k < FLOW_NFIELD; k++)
			x[k] = field_row(k)->first;
		for (word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
			size_t n = strcspn(word, "=");

			for (enum flow_field k = 0; k < FLOW_NFIELD; k++)
				if (strlen(field_row(k)->word) == n &&
				    !memcmp(field_row(k)->word, word, n) && word[n])
					x[k] = number(word + n + 1);
		}
		fates_put(vm_fates(v, fdd_number(fdd_eval(f, r, x))), text);
		printf("%s\n", text);
	}
}

static void
leaf_put(void *arg, uint32_t l, struct buf *out)
{
	vm_leaf_text(out, vm_leaf(arg, l));
}

int
main(int argc, char **argv)
{
	struct buf out = BUF_INIT(MOST);
	struct arena *a = arena_new();
	double since = step(NULL, 0);
	struct fdd *f;
	struct vm *v;
	fdd_ref r;
	int status = 0;

	if (argc > 1 && !strcmp(argv[1], "--times")) {
		times = true;
		argv++;
		argc--;
	}
	if (argc == 4 && !strcmp(argv[1], "policy")) {
		status = against_policy(a, argv[2], argv[3]);
		arena_free(a);
		return status;
	}
	if (argc != 2)
		die("usage: vm_agree policy FILE POINT | packets | dump");
	read_kernel(a);
	since = step("dump", since);
	f = fdd_new(FLOW_MOST);
	v = vm_new(f, &dump, NULL);
	r = vm_read(v);
	step("read", since);
	if (r == FDD_NONE)
		die("too many nodes");
	if (!strcmp(argv[1], "packets")) {
		packets(v, f, r);
	} else {
		fdd_dump(f, r, &out, leaf_put, v);
		fwrite(out.p, 1, out.n, stdout);
	}
	buf_free(&out);
	vm_free(v);
	fdd_free(f);
	arena_free(a);
	return status;
}
