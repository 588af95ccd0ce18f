#include "gen/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "doc/doc.h"
#include "gen/describe.h"
#include "gen/out/out.h"

bool
unit_colour(const struct args *args, int fd)
{
	const char *when = arg_value(args, ARG_COLOUR);

	if (when && !strcmp(when, "always"))
		return true;
	if (when && !strcmp(when, "never"))
		return false;
	return isatty(fd) && !getenv("NO_COLOR");
}

int
unit_cannot(const char *what, const char *path, int err)
{
	fprintf(stderr, "mailreeve: cannot %s %s: %s\n", what, *path ? path : "''",
	    err == -ENXIO ? "it is no regular file" : strerror(-err));
	return UNIT_MACHINE;
}

int
unit_open(struct unit *u, const char *path, const struct args *args)
{
	const char *name = strcmp(path, "-") ? path : "<stdin>";
	int err;

	*u = (struct unit){.a = arena_new(), .args = args};
	u->d = diags_new(u->a);
	u->c = (struct compile){.a = u->a, .text = text_set_new(u->a),
	    .d = u->d, .name = name};
	u->world.dir = -1;
	err = world_slurp(u->a, path, DOC_MOST, &u->c.bytes, &u->c.len);
	if (err == -EFBIG) {
		diag_hint(u->d, diag_add(u->d, DIAG_E2001, (struct text_span){
		    .file = text_add(u->c.text, name, "", 0)},
		    "a policy file has at most %d MiB", DOC_MOST >> 20),
		    "keep long lists of addresses in files of their own: `ranges-from: FILE`");
		unit_report(u);
		return UNIT_BAD;
	}
	if (err)
		return unit_cannot("read", name, err);
	err = world_open(&u->world, path);
	if (err)
		return unit_cannot("open the folder of", name, err);
	u->c.world = &u->world.policy;
	return 0;
}

void
unit_report(struct unit *u)
{
	struct buf out = BUF_INIT(UNIT_OUT_MOST);
	const char *form = arg_value(u->args, ARG_FORMAT);
	bool json = form && !strcmp(form, "json");

	diags_sort(u->d);
	if (u->no_notes) {
		size_t n = 0;

		for (size_t i = 0; i < u->d->n; i++)
			if (u->d->v[i].severity != DIAG_NOTE)
				u->d->v[n++] = u->d->v[i];
		u->d->n = n;
	}
	if (!u->d->n)
		return;
	print_diags(&out, u->d, u->c.text, json ? PRINT_JSON : PRINT_HUMAN,
	    unit_colour(u->args, STDERR_FILENO));
	if (!json)
		print_summary(&out, u->d);
	if (out.n)
		fwrite(out.p, 1, out.n, stderr);
	buf_free(&out);
}

int
unit_run(struct unit *u, unsigned passes)
{
	bool ok = compile_run(&u->c, passes);

	if (u->c.policy)
		describe_zone(u->c.policy->timezone);
	unit_report(u);
	return ok ? 0 : UNIT_BAD;
}

void
unit_close(struct unit *u)
{
	world_close(&u->world);
	u->a = arena_free(u->a);
}

static const char *
points(const struct policy *p, struct buf *b)
{
	for (size_t i = 0; i < p->npoint; i++)
		buf_printf(b, "%s%s", i ? ", " : "", p->point[i]->meta.name);
	return b->n ? b->p : "none";
}

const struct policy_point *
unit_point(struct unit *u, enum arg_option o)
{
	const char *name = arg_value(u->args, o);
	const struct policy *p = u->c.policy;
	const struct policy_point *pt = NULL;
	struct buf b = BUF_INIT(64 * 1024);

	if (name) {
		pt = policy_point_find(p, name);
		if (!pt)
			fprintf(stderr, "mailreeve: %s has no point '%s'; it has: %s\n",
			    u->c.name, name, points(p, &b));
	} else if (p->npoint == 1) {
		pt = p->point[0];
	} else if (!p->npoint) {
		fprintf(stderr, "mailreeve: %s has no `points:`, so no rules run anywhere\n",
		    u->c.name);
	} else {
		fprintf(stderr, "mailreeve: %s has several points; choose one with --%s: %s\n",
		    u->c.name, arg_row(o)->name, points(p, &b));
	}
	buf_free(&b);
	return pt;
}

/* Reads n digits at s, at most nine; false where another byte is among them. */
static bool
digits(const char *s, size_t n, unsigned *x)
{
	*x = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		*x = 10 * *x + (unsigned)(s[i] - '0');
	}
	return true;
}

int
unit_date(struct unit *u, const char *date, uint64_t *sec)
{
	const char *zone = u->c.policy && u->c.policy->timezone ?
	    u->c.policy->timezone : "UTC";
	unsigned y, m, d;

	if (!date)
		date = arg_value(u->args, ARG_DATE);
	if (!date) {
		*sec = (uint64_t)time(NULL);
		return 0;
	}
	if (strlen(date) != 10 || date[4] != '-' || date[7] != '-' ||
	    !digits(date, 4, &y) || !digits(date + 5, 2, &m) || !digits(date + 8, 2, &d) ||
	    y < 1970 || m < 1 || m > 12 || d < 1 || d > 31 ||
	    (d > 30 && (m == 4 || m == 6 || m == 9 || m == 11)) ||
	    (m == 2 && d > (y % 4 == 0 && (y % 100 || y % 400 == 0) ? 29u : 28u)) ||
	    u->world.policy.day(u->world.policy.arg, zone, (int)y, (int)m, (int)d, sec)) {
		fprintf(stderr, "mailreeve: '%s' is no day of the calendar from 1970 on; write it as 2027-03-31\n", date);
		return UNIT_MACHINE;
	}
	return 0;
}

int
unit_write(const struct args *args, struct buf *out, int status)
{
	const char *path = arg_value(args, ARG_OUTPUT);
	int err = out->err;

	for (size_t i = 0; !err && path && i < args->nword; i++)
		if (world_same_file(path, args->word[i])) {
			fprintf(stderr, "mailreeve: --output %s is the file that is read; it is left as "
			    "it is\n", path);
			buf_free(out);
			return UNIT_MACHINE;
		}
	if (!err && path && strcmp(path, "-")) {
		err = out_file(path, out->p ? out->p : "", out->n);
	} else if (!err) {
		path = "standard output";
		if (out->n && fwrite(out->p, 1, out->n, stdout) != out->n)
			err = -errno;
		if (fflush(stdout))
			err = err ? err : -errno;
	}
	buf_free(out);
	return err ? unit_cannot("write", path ? path : "output", err) : status;
}

int
unit_form(const struct args *args, unsigned ok)
{
	static const char *const word[] = {
		[UNIT_HUMAN] = "human", [UNIT_JSON] = "json", [UNIT_SARIF] = "sarif",
		[UNIT_GITHUB] = "github", [UNIT_JUNIT] = "junit",
	};
	const char *form = arg_value(args, ARG_FORMAT);

	if (!form)
		return UNIT_HUMAN;
	for (int i = UNIT_HUMAN; i <= UNIT_JUNIT; i++)
		if (!strcmp(form, word[i]) && ok & 1u << i)
			return i;
	fprintf(stderr, "mailreeve: --format %s does not fit here; this command prints:", form);
	for (int i = UNIT_HUMAN; i <= UNIT_JUNIT; i++)
		if (ok & 1u << i)
			fprintf(stderr, " %s", word[i]);
	fputc('\n', stderr);
	return -1;
}
