/*
 * mailreeved: the agent. Started without --role it is the parent, which starts this same program
 * once for each role, so that each has memory and a jail of its own.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/near.h"
#include "ipc/starter.h"
#include "jail/jail.h"
#include "log/log.h"
#include "nl/nflog.h"
#include "parent/parent.h"
#include "peer/peer.h"
#include "plan/plan.h"
#include "role/compile.h"
#include "role/role.h"

enum { CHAN = 3 };             /* where a role finds its channel */

/* ---- roles --------------------------------------------------------------------------------- */

struct start {
	uid_t uid;
	gid_t gid;
	bool no_owner;
	unsigned nfds;             /* from CHAN on */
};

static int
start_apply(const struct start *s)
{
	struct role_apply r = {.chan = CHAN, .netlink = -1, .uid = s->uid, .gid = s->gid,
	    .no_owner = s->no_owner};

	return role_apply(&r);
}

static int
start_attempts(const struct start *s)
{
	struct role_attempts r = {.chan = CHAN, .uid = s->uid, .gid = s->gid,
	    .nflog = nflog_open(PLAN_LOG_GROUP), .diag = peer_open(),
	    .proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC),
	    .cgroup = cgroup_open(),
	    .passwd = open("/etc/passwd", O_RDONLY | O_CLOEXEC)};

	if (r.nflog < 0 || r.diag < 0) {
		log_say(LOG_IS_ERROR, NULL, "refused packets cannot be told: %s: %s",
		    r.nflog < 0 ? "nflog" : "sock_diag", strerror(r.nflog < 0 ? -r.nflog : -r.diag));
		return 1;
	}
	return role_attempts(&r);
}

static int
start_queue(const struct start *s)
{
	struct role_queue r = {.parent = CHAN, .front = CHAN + 1, .relay = CHAN + 2, .spool = CHAN + 3,
	    .uid = s->uid, .gid = s->gid};

	return s->nfds == 4 ? role_queue(&r) : 2;
}

static int
start_front(const struct start *s)
{
	int listener[START_MOST_FDS];
	struct role_front r = {.parent = CHAN, .queue = CHAN + 1, .listener = listener, .uid = s->uid,
	    .gid = s->gid, .diag = peer_open(), .cgroup = cgroup_open(),
	    .proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)};

	for (unsigned i = 2; i < s->nfds && i < START_MOST_FDS; i++)
		listener[r.nlistener++] = CHAN + (int)i;
	if (r.diag < 0)
		log_say(LOG_IS_WARNING, NULL, "programs cannot be told from each other over TCP: sock_diag: %s",
		    strerror(-r.diag));
	return s->nfds > 2 ? role_front(&r) : 2;
}

static int
start_compile(const struct start *s)
{
	(void)s;
	return role_compile(CHAN);
}

static int
start_spawner(const struct start *s)
{
	struct parent_self self = {.uid = s->uid, .gid = s->gid};

	return parent_spawner(CHAN, &self);
}

static int
start_starter(const struct start *s)
{
	struct parent_self self = {.uid = s->uid, .gid = s->gid, .no_owner = s->no_owner};

	return parent_starter(CHAN, &self);
}

static int
start_names(const struct start *s)
{
	(void)s;
	return parent_names(CHAN);
}

static const struct role_row {
	const char *name, *who;
	int (*run)(const struct start *s);
	int first_to_go;           /* a compilation is asked for again, a role started again */
} roles[] = {
	{"apply", "mailreeved apply", start_apply, JAIL_GO_APPLY},
	{"attempts", "mailreeved attempts", start_attempts, JAIL_GO_ROLE},
	{"queue", "mailreeved queue", start_queue, JAIL_GO_ROLE},
	{"front", "mailreeved front", start_front, JAIL_GO_ROLE},
	{"compile", "mailreeved compile", start_compile, JAIL_GO_JOB},
	{"spawner", "mailreeved spawner", start_spawner, 0},
	{"starter", "mailreeved starter", start_starter, 0},
	{"names", "mailreeved names", start_names, JAIL_GO_JOB},
};

static int
run_role(const char *name, int argc, char **argv)
{
	struct start s = {.uid = geteuid(), .gid = getegid()};
	char comm[16];             /* the kernel takes 15 bytes */

	for (int i = 2; i < argc; i++) {
		if (!strncmp(argv[i], "--uid=", 6))
			s.uid = (uid_t)strtoul(argv[i] + 6, NULL, 10);
		else if (!strncmp(argv[i], "--gid=", 6))
			s.gid = (gid_t)strtoul(argv[i] + 6, NULL, 10);
		else if (!strcmp(argv[i], "--no-owner"))
			s.no_owner = true;
		else if (!strncmp(argv[i], "--fds=", 6))
			s.nfds = (unsigned)strtoul(argv[i] + 6, NULL, 10);
	}
	for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
		if (!strcmp(name, roles[i].name)) {
			/* so that they can be told apart: nft, ps and logs would say "exe" */
			snprintf(comm, sizeof comm, "mreeve-%s", name);
			prctl(PR_SET_NAME, comm, 0, 0, 0);
			log_begin(roles[i].who);
			jail_first_to_go(roles[i].first_to_go);
			return roles[i].run(&s);
		}
	fprintf(stderr, "mailreeved: no role is called '%s'\n", name);
	return 2;
}

/* ---- options --------------------------------------------------------------------------------- */

enum option {
	OPT_POLICY, OPT_POINT, OPT_STATE, OPT_RUN, OPT_GROUP, OPT_USER, OPT_TEXTFILE, OPT_NO_OWNER,
	OPT_CREDENTIALS, OPT_PORT, OPT_HOST, OPT_APART, OPT_STARTER,
	OPT_TEST_BOOT, OPT_TEST_ASK, OPT_TEST_JOB, OPT_TEST_OOM,
	OPT_HELP, OPT_MANUAL, OPT_VERSION, OPT_N
};

static const struct option_row {
	const char *name, *value;  /* value NULL: it takes none */
	const char *text;          /* NULL: for tests alone, and told to nobody */
} option[OPT_N] = {
	[OPT_POLICY] = {"policy", "FILE", "the policy's main file; /etc/mailreeve/policy.yaml"},
	[OPT_POINT] = {"point", "NAME", "the point of the policy that this host is; needed where the "
	    "policy has several host points"},
	[OPT_STATE] = {"state", "DIR", "what is remembered: the last 50 generations, blocks; "
	    "$STATE_DIRECTORY, or /var/lib/mailreeve"},
	[OPT_RUN] = {"run", "DIR", "where the sockets are: control.sock, metrics.sock; "
	    "$RUNTIME_DIRECTORY, or /run/mailreeve"},
	[OPT_GROUP] = {"group", "NAME", "whose members may control the agent, besides root; mailreeve"},
	[OPT_USER] = {"user", "NAME", "whom the agent becomes when root has started it; mailreeve"},
	[OPT_TEXTFILE] = {"textfile", "FILE", "write metrics there every 15 s, for node_exporter"},
	[OPT_NO_OWNER] = {"no-owner", NULL, "do not keep others from editing the tables (the kernel's "
	    "flag owner); what they change is found and healed all the same"},
	[OPT_CREDENTIALS] = {"credentials", "DIR", "where the relays' credentials are, a 0600 file each; "
	    "$CREDENTIALS_DIRECTORY, or /etc/mailreeve/credentials"},
	[OPT_PORT] = {"submission-port", "N", "take mail at another port than 587, for tests"},
	[OPT_HOST] = {"host", "NAME", "this host's full name, in EHLO, Received and reports; as hostname(1) and "
	    "/etc/hosts have it"},
	[OPT_APART] = {"mail-apart", NULL, "the mail roles are started by another unit, mailreeve-mail.service"},
	[OPT_STARTER] = {"mail-starter", NULL, "be that unit: start the mail roles for the mailreeved whose sockets "
	    "are in --run"},
	[OPT_TEST_BOOT] = {"test-boot-id", "TEXT", NULL}, /* the machine was started anew */
	[OPT_TEST_ASK] = {"test-ask-ms", "N", NULL},      /* no role is waited for longer */
	[OPT_TEST_JOB] = {"test-job-ms", "N", NULL},      /* nor a child */
	[OPT_TEST_OOM] = {"test-memory-events", "FILE", NULL}, /* in place of the control group's */
	[OPT_HELP] = {"help", NULL, "print this help"},
	[OPT_MANUAL] = {"manual", NULL, "print the manual page mailreeved(8) in roff"},
	[OPT_VERSION] = {"version", NULL, "print the version"},
};

static const char about[] =
    "Puts a mail policy into this host's kernel and keeps it there. The policy is compiled in a "
    "jailed child, put in force without leaking a packet, found again when somebody else "
    "changes it, healed, and told. It is controlled by mailreevectl(8). SIGHUP is `mailreevectl "
    "apply`. Rules stay in the kernel when the agent ends.";

static void
help(void)
{
	printf("usage: mailreeved [OPTION ...]\n\n%s\n\n", about);
	for (int i = 0; i < OPT_N; i++) {
		int n = !option[i].text ? 0 : printf("  --%s%s%s", option[i].name, option[i].value ? " " : "",
		    option[i].value ? option[i].value : "");

		if (n)
			printf("%*s%s\n", n < 22 ? 22 - n : 1, "", option[i].text);
	}
}

static void
manual(void)
{
	printf(".\\\" Printed by `mailreeved --manual`; the table in agent/mailreeved.c is its source.\n"
	    ".TH MAILREEVED 8\n.SH NAME\nmailreeved \\- keep a mail policy in force on a host\n"
	    ".SH SYNOPSIS\n.B mailreeved\n[\\fIOPTION\\fP ...]\n.SH DESCRIPTION\n%s\n.SH OPTIONS\n", about);
	for (int i = 0; i < OPT_N; i++)
		if (option[i].text)
			printf(".TP\n.B \\-\\-%s\\fR %s\n%s\n", option[i].name,
		    option[i].value ? option[i].value : "", option[i].text);
	printf(".SH SIGNALS\nSIGHUP: compile the policy and apply it. SIGTERM, SIGINT: end; the rules "
	    "stay.\n.SH EXIT STATUS\n0 told to end; 1 a role has died or the machine failed: start it "
	    "anew; 2 it could not begin.\n.SH SEE ALSO\nmailreevectl(8), mailreeve(1), "
	    "mailreeve\\-policy(5)\n");
}

static const char *
option_at(const void *arg, size_t i)
{
	(void)arg;
	return i >= OPT_N ? NULL : option[option[i].text ? i : OPT_HELP].name;
}

/* Reads argv into value[]. 0, or 2 after a message. */
static int
read_options(int argc, char **argv, const char *value[OPT_N])
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], *eq = strchr(a, '='), *near;
		size_t n = eq ? (size_t)(eq - a) : strlen(a);
		int k = 0;

		while (k < OPT_N && (strncmp(a, "--", 2) || n - 2 != strlen(option[k].name) ||
		    strncmp(a + 2, option[k].name, n - 2)))
			k++;
		if (k == OPT_N) {
			near = n > 2 ? near_of(a + 2, n - 2, option_at, NULL) : NULL;
			fprintf(stderr, "mailreeved: unknown option '%s'%s%s%s; see --help\n", a,
			    near ? "; did you mean '--" : "", near ? near : "", near ? "'" : "");
			return 2;
		}
		if (value[k]) {
			fprintf(stderr, "mailreeved: --%s is given twice\n", option[k].name);
			return 2;
		}
		if (!option[k].value) {
			value[k] = "";
		} else if (eq) {
			value[k] = eq + 1;
		} else if (++i < argc) {
			value[k] = argv[i];
		}
		if (!value[k] || (option[k].value && !*value[k] && k != OPT_POINT) ||
		    (!option[k].value && eq)) {
			fprintf(stderr, "mailreeved: --%s takes %s\n", option[k].name,
			    option[k].value ? option[k].value : "nothing");
			return 2;
		}
	}
	return 0;
}

/* The path from the root; NULL without memory. The last name need not be there. */
static char *
absolute(const char *path)
{
	char cwd[PATH_MAX];
	char *out = NULL;

	if (path[0] == '/')
		return strdup(path);
	if (!getcwd(cwd, sizeof cwd) || asprintf(&out, "%s/%s", cwd, path) < 0)
		return NULL;
	return out;
}

/* A folder that systemd may have named. */
static const char *
folder(const char *given, const char *variable, const char *otherwise)
{
	const char *e = getenv(variable);

	return given ? given : e && *e == '/' && !strchr(e, ':') ? e : otherwise;
}

int
main(int argc, char **argv)
{
	const char *value[OPT_N] = {NULL};
	struct parent_options o = {.version = MAILREEVE_VERSION, .program = argv[0]};
	char *policy, *state, *run, *credentials, *textfile = NULL;
	unsigned long port = 587;
	int status;

	if (argc > 1 && !strncmp(argv[1], "--role=", 7))
		return run_role(argv[1] + 7, argc, argv);
	status = read_options(argc, argv, value);
	if (status)
		return status;
	if (value[OPT_HELP] || value[OPT_MANUAL] || value[OPT_VERSION]) {
		if (value[OPT_HELP])
			help();
		else if (value[OPT_MANUAL])
			manual();
		else
			printf("mailreeved %s\n", MAILREEVE_VERSION);
		return fflush(stdout) ? 2 : 0;
	}
	if (value[OPT_PORT]) {
		char *end;

		port = strtoul(value[OPT_PORT], &end, 10);
		if (*end || port == 0 || port > 65535) {
			fprintf(stderr, "mailreeved: --submission-port takes a port, not '%s'\n", value[OPT_PORT]);
			return 2;
		}
	}
	log_begin("mailreeved");
	policy = absolute(value[OPT_POLICY] ? value[OPT_POLICY] : "/etc/mailreeve/policy.yaml");
	state = absolute(folder(value[OPT_STATE], "STATE_DIRECTORY", "/var/lib/mailreeve"));
	run = absolute(folder(value[OPT_RUN], "RUNTIME_DIRECTORY", "/run/mailreeve"));
	if (value[OPT_TEXTFILE])
		textfile = absolute(value[OPT_TEXTFILE]);
	credentials = absolute(folder(value[OPT_CREDENTIALS], "CREDENTIALS_DIRECTORY", "/etc/mailreeve/credentials"));
	o.apart = value[OPT_APART] != NULL;
	if (value[OPT_STARTER]) {
		status = run ? parent_apart(run) : 2;
		free(policy);
		free(state);
		free(run);
		free(credentials);
		free(textfile);
		return status;
	}
	o.boot_id = value[OPT_TEST_BOOT];
	o.memory_events = value[OPT_TEST_OOM];
	o.ask_ms = value[OPT_TEST_ASK] ? (uint32_t)strtoul(value[OPT_TEST_ASK], NULL, 10) : 0;
	o.job_ms = value[OPT_TEST_JOB] ? (uint32_t)strtoul(value[OPT_TEST_JOB], NULL, 10) : 0;
	o.submission_port = (uint16_t)port;
	o.credentials = credentials;
	o.credentials_of_manager = !value[OPT_CREDENTIALS] && getenv("CREDENTIALS_DIRECTORY");
	o.host = value[OPT_HOST];
	o.policy = policy;
	o.point = value[OPT_POINT] ? value[OPT_POINT] : "";
	o.state = state;
	o.run = run;
	o.group = value[OPT_GROUP] ? value[OPT_GROUP] : "mailreeve";
	o.user = value[OPT_USER] ? value[OPT_USER] : "mailreeve";
	o.textfile = textfile;
	o.no_owner = value[OPT_NO_OWNER] != NULL;
	status = policy && state && run && credentials && (textfile || !value[OPT_TEXTFILE]) ? parent_run(&o) : 2;
	free(policy);
	free(state);
	free(run);
	free(textfile);
	free(credentials);
	return status;
}
