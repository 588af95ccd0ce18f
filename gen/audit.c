/*
 * audit: where a ruleset is not what a policy says.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "gen/commands.h"
#include "gen/prove.h"
#include "gen/unit.h"
#include "prove/replay.h"
#include "tell/region.h"

enum { REGIONS = 1000, INPUT_MOST = 1 << 28 };

/* What became of a witness that was sent. */
struct sent {
	enum replay_outcome outcome;
	bool passed;
	const char *why;
};

static void
sent_human(struct buf *out, const struct sent *s, const struct prove_region *r)
{
	bool one = !(r->fates & (r->fates - 1));

	switch (s->outcome) {
	case REPLAY_AGREES:
		buf_printf(out, "    replayed  %s, as %s\n", s->passed ? "passed" : "refused",
		    one ? "told" : "may be");
		break;
	case REPLAY_OTHERWISE:
		buf_printf(out, "    replayed  %s: the kernel did otherwise\n",
		    s->passed ? "passed" : "refused");
		break;
	case REPLAY_NOT:
		buf_printf(out, "    replayed  not: it cannot be replayed here: %s\n", s->why);
		break;
	}
}

static void
sent_json(struct buf *out, const struct sent *s)
{
	static const char *const word[] = {
		[REPLAY_AGREES] = "as told", [REPLAY_OTHERWISE] = "otherwise", [REPLAY_NOT] = "not replayed",
	};

	buf_printf(out, ", \"replay\": {\"outcome\": \"%s\"", word[s->outcome]);
	if (s->outcome == REPLAY_NOT) {
		buf_str(out, ", \"why\": ");
		buf_json(out, s->why);
	} else {
		buf_printf(out, ", \"packet\": \"%s\"", s->passed ? "passed" : "refused");
	}
	buf_chr(out, '}');
}

static void
print(struct buf *out, struct unit *u, const char *point, const char *ruleset,
    const struct prove *p, const struct sent *sent, bool json)
{
	if (json) {
		buf_str(out, "{\"point\": ");
		buf_json(out, point);
		buf_str(out, ", \"ruleset\": ");
		buf_json(out, ruleset);
		buf_printf(out, ", \"truncated\": %s, \"regions\": [", p->truncated ? "true" : "false");
	} else if (!p->nregion) {
		buf_printf(out, "%s does what the policy says for %s\n", ruleset, point);
	} else {
		buf_printf(out, "%s is not what the policy says for %s: %zu region%s\n", ruleset, point,
		    p->nregion, p->nregion == 1 ? "" : "s");
	}
	for (size_t i = 0; i < p->nregion; i++) {
		const struct prove_region *r = &p->region[i];

		if (json) {
			buf_str(out, i ? ",\n  {" : "\n  {");
			region_json(out, u->a, u->c.flow, u->c.text, r);
			if (sent)
				sent_json(out, &sent[i]);
			buf_chr(out, '}');
		} else {
			region_tell(out, u->a, u->c.flow, u->c.text, r);
			if (sent)
				sent_human(out, &sent[i], r);
		}
	}
	if (json)
		buf_str(out, "]}\n");
	else if (p->truncated)
		buf_str(out, "  and more regions than are shown\n");
}

/* Sends each witness; NULL after a message. `otherwise` gets how many the kernel treated
 * otherwise. */
static const struct sent *
resend(struct unit *u, const struct prove *p, const char *path, bool live, size_t *otherwise)
{
	struct sent *s = arena_array(u->a, p->nregion, struct sent);
	struct replay r = {.a = u->a, .flow = u->c.flow, .host = p->host, .path = path, .live = live,
	    .now = (uint64_t)time(NULL)};
	int fd = -1;

	if (live) {
		fd = replay_live_text();
		if (fd < 0) {
			unit_cannot("list", "the live ruleset", fd);
			return NULL;
		}
		r.path = arena_printf(u->a, "/proc/self/fd/%d", fd);
	}
	for (size_t i = 0; i < p->nregion; i++) {
		s[i].outcome = replay(&r, &p->region[i]);
		s[i].passed = r.passed;
		s[i].why = r.why;
		*otherwise += s[i].outcome == REPLAY_OTHERWISE;
	}
	if (fd >= 0)
		close(fd);
	return s;
}

/* Standard input as a file that can be read again: its path; NULL after a message. */
static const char *
kept_input(struct arena *a)
{
	int fd = memfd_create("input", 0), err = fd < 0 ? -errno : 0;
	size_t all = 0;
	char p[65536];
	ssize_t n;

	while (!err && (n = read(STDIN_FILENO, p, sizeof p)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || write(fd, p, (size_t)n) != n)
			err = -errno;
		else if ((all += (size_t)n) > INPUT_MOST)
			err = -EFBIG;
	}
	if (err) {
		unit_cannot("read", "<stdin>", err);
		return NULL;
	}
	return arena_printf(a, "/proc/self/fd/%d", fd);
}

/* Audits the unit's point `pt`. */
static int
audit(struct unit *u, const struct policy_point *pt, const char *ruleset, bool json)
{
	struct prove p = {.a = u->a, .flow = u->c.flow, .meant = u->c.meaning[pt->index],
	    .most = REGIONS, .observe = pt->observe, .host = &prove_host};
	struct buf out = BUF_INIT(UNIT_OUT_MOST);
	bool again = arg_value(u->args, ARG_REPLAY) != NULL, live = !strcmp(ruleset, "live");
	const char *path = again && !strcmp(ruleset, "-") ? kept_input(u->a) : ruleset;
	const struct sent *sent = NULL;
	size_t otherwise = 0;
	int outcome;

	if (!path)
		return UNIT_MACHINE;
	outcome = live ? prove_live(&p) : prove_file(&p, path);
	if (outcome < 0)
		return prove_cannot("audit", &p, outcome);
	if (again && !(sent = resend(u, &p, path, live, &otherwise)))
		return UNIT_MACHINE;
	print(&out, u, pt->meta.name, ruleset, &p, sent, json);
	outcome = unit_write(u->args, &out, outcome == PROVE_DIFFERS ? UNIT_BAD : UNIT_FINE);
	if (!otherwise)
		return outcome;
	fprintf(stderr, "mailreeve audit: the kernel did otherwise with %zu packet%s than was told; this is a "
	    "mistake of mailreeve, please report it with the ruleset\n", otherwise, otherwise == 1 ? "" : "s");
	return UNIT_MACHINE;
}

int
command_audit(const struct args *a)
{
	int form = unit_form(a, 1u << UNIT_HUMAN | 1u << UNIT_JSON), status;
	const struct policy_point *pt = NULL;
	struct unit u;

	if (form < 0)
		return UNIT_MACHINE;
	if (!strcmp(a->word[0], "-") && !strcmp(a->word[1], "-")) {
		fprintf(stderr, "mailreeve audit: only one of both can be standard input\n");
		return UNIT_MACHINE;
	}
	status = unit_open(&u, a->word[0], a);
	u.no_notes = true;
	if (!status && !compile_run(&u.c, 1u << COMPILE_READ)) {
		unit_report(&u);
		status = UNIT_BAD;
	}
	if (!status) {
		pt = unit_point(&u, ARG_AT);
		u.c.only = pt ? pt->meta.name : NULL;
		status = pt ? unit_run(&u, 1u << COMPILE_MEAN) : UNIT_MACHINE;
	}
	if (!status)
		status = audit(&u, pt, a->word[1], form == UNIT_JSON);
	u.c.flow = flow_free(u.c.flow);
	unit_close(&u);
	return status;
}
