#include "gen/prove.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "nl/form.h"
#include "tell/describe.h"
#include "tell/region.h"

enum { TEXT = 1 << 16 };

static int
uid_of(void *arg, const char *name, uint32_t *uid)
{
	struct passwd *p = getpwnam(name);

	(void)arg;
	if (!p)
		return -ENOENT;
	*uid = p->pw_uid;
	return 0;
}

static int
cgroup_of(void *arg, const char *path, uint64_t *id)
{
	char full[4200];
	struct stat st;

	(void)arg;
	snprintf(full, sizeof full, "/sys/fs/cgroup/%s", path);
	if (stat(full, &st))
		return -errno;
	*id = st.st_ino;
	return 0;
}

const struct nl_host prove_host = {.uid = uid_of, .cgroup = cgroup_of};

/* Says why it could not be done, behind what is printed already. */
static void
why(const struct prove *p, int err)
{
	const char *who = p->who ? p->who : "", *sep = p->who ? ": " : "";

	switch (p->step) {
	case PROVE_SPACE:
		fprintf(stderr, "this machine does not let us make a network namespace (%s)\n"
		    "  try it as root, or see what user_namespaces(7) needs here: "
		    "user.max_user_namespaces and user.max_net_namespaces above 0; in a container, "
		    "its seccomp profile\n", strerror(-err));
		break;
	case PROVE_LOAD:
		if (err == -ENOENT && !strcmp(who, "nft")) {
			fprintf(stderr, "the program nft is not installed, which loads a ruleset's text\n");
			break;
		}
		if (err == -EINVAL && strchr(who, '\n')) { /* nft's own words, with a caret */
			fprintf(stderr, "nft does not take the rules:\n%s\n", who);
			break;
		}
		fprintf(stderr, "the kernel does not take the rules: %s%s%s\n", who, sep,
		    strerror(-err));
		break;
	case PROVE_READ:
		fprintf(stderr, "cannot read the rules from the kernel: %s%s\n", strerror(-err),
		    err == -EPERM ? " (this needs CAP_NET_ADMIN: try it as root)" : "");
		break;
	case PROVE_EXECUTE:
		fprintf(stderr, "the rules are too many to compare\n");
		break;
	}
}

int
prove_cannot(const char *command, const struct prove *p, int err)
{
	fprintf(stderr, "mailreeve %s: ", command);
	why(p, err);
	return UNIT_MACHINE;
}

/* Whether it is this machine that cannot: no namespaces, no such thing in its kernel, no
 * room. Rules that a kernel refuses for another reason may be wrong. */
static bool
is_machine(const struct prove *p, int err)
{
	switch (p->step) {
	case PROVE_SPACE:
	case PROVE_READ:
	case PROVE_EXECUTE:
		return true;
	case PROVE_LOAD:
		break;
	}
	switch (-err) {
	case EOPNOTSUPP:
	case EPROTONOSUPPORT:
	case EAFNOSUPPORT:
	case ENOENT:               /* a module that is not there */
	case EPERM:
	case ENOMEM:
	case ENOBUFS:
	case EMSGSIZE:
	case E2BIG:
		return true;
	}
	return false;
}

int
prove_point(struct unit *u, const struct policy_point *pt, bool insist)
{
	struct prove p = {.a = u->a, .flow = u->c.flow, .meant = u->c.meaning[pt->index],
	    .strict = true, .observe = pt->observe, .most = 1000};
	struct buf packet = BUF_INIT(TEXT), rule = BUF_INIT(TEXT);
	const struct prove_region *b;
	struct diag *g;
	int err = prove_plan(&p, u->c.plan[pt->index]);

	if (err < 0 && (insist || !is_machine(&p, err)))
		return prove_cannot("compile", &p, err);
	if (err < 0) {
		fprintf(stderr, "mailreeve compile: note: the rules are not proved in a kernel: ");
		why(&p, err);
		return 0;
	}
	if (err == PROVE_EQUAL)
		return 0;
	u->d->n = u->d->errors = u->d->warnings = 0; /* those are told already */
	b = &p.region[0];
	describe_packet(&packet, u->a, &b->witness, b->field[FLOW_DATE].n);
	if (b->rule)
		region_rule(&rule, b->rule);
	else
		buf_str(&rule, "no rule alone");
	g = diag_add(u->d, DIAG_E2003, pt->meta.at,
	    "in this kernel the rules made for %s do %s with %s, and the policy says %s",
	    pt->meta.name, b->is, packet.p, b->meant);
	diag_hint(u->d, g, "what decides is %s; %zu region%s of packets differ%s", rule.p,
	    p.nregion, p.nregion == 1 ? "" : "s", p.truncated ? " at least" : "");
	buf_free(&packet);
	buf_free(&rule);
	unit_report(u);
	return UNIT_BAD;
}
