/*
 * mailreevectl: what an administrator says to the agent. It knows no policy and touches no rule:
 * it sends one request over the control socket and prints what comes back.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/near.h"
#include "ctl/ctl.h"
#include "ipc/ctl.h"
#include "ipc/mail.h"

/* ---- the table ----------------------------------------------------------------------------- */

enum option { OPT_CONFIRM, OPT_FOR, OPT_FORCE, OPT_JSON, OPT_NOW, OPT_LAST, OPT_RELAY, OPT_WHY,
	OPT_FROM, OPT_RUN, OPT_HELP, OPT_N };

static const struct option_row {
	const char *name, *value, *text;
} option[OPT_N] = {
	[OPT_CONFIRM] = {"confirm", "TIME", "revert by itself unless `confirm` follows within so long: 10min"},
	[OPT_FOR] = {"for", "TIME", "for so long: 90s, 10min, 1h, 2d"},
	[OPT_FORCE] = {"force", NULL, "even where it would cut the connection that it is sent over"},
	[OPT_JSON] = {"json", NULL, "as JSON"},
	[OPT_NOW] = {"now", NULL, "compare the live rules with the policy now"},
	[OPT_LAST] = {"last", "N", "at most so many; 20"},
	[OPT_RELAY] = {"relay", "NAME", "of this relay alone"},
	[OPT_WHY] = {"why", "TEXT", "the reason, for the message's trace"},
	[OPT_FROM] = {"from", "ADDRESS", "the sender; your name at this host"},
	[OPT_RUN] = {"run", "DIR", "where control.sock is; $MAILREEVE_RUN, or /run/mailreeve"},
	[OPT_HELP] = {"help", NULL, "print this help"},
};

enum word { WORD_NONE, WORD_NUMBER, WORD_ADDRESS, WORD_IDS, WORD_RCPT, WORD_RELAY };

struct command {
	const char *name;
	enum ctl_op op;            /* 0: it is done here */
	enum word word;
	const char *synopsis;
	unsigned options;          /* bits 1 << enum option */
	bool needs_word;
	const char *text;
	uint32_t queue;            /* QUEUE: enum mail_queue_op */
};

static const struct command command[] = {
	{"status", CTL_STATUS, WORD_NONE, "[--json]", 1 << OPT_JSON, false,
	    "what is in force, whether it is what the policy on disk says, and all that is amiss; exit "
	    "status 1 where something is"},
	{"check", CTL_CHECK, WORD_NONE, "", 0, false,
	    "look at the rules in the kernel now, set by set"},
	{"plan", CTL_PLAN, WORD_NONE, "", 0, false,
	    "what would change, as regions of packets with a witness each, beside the rules that are "
	    "live; the plan is saved under a number; exit status 1 where something would"},
	{"apply", CTL_APPLY, WORD_NUMBER, "[N] [--confirm TIME] [--force]",
	    1 << OPT_CONFIRM | 1 << OPT_FORCE, false,
	    "compile the policy and put it in force, or the saved plan N, unless the rules have changed "
	    "since"},
	{"confirm", CTL_CONFIRM, WORD_NONE, "", 0, false, "keep what was applied with --confirm"},
	{"rollback", CTL_ROLLBACK, WORD_NUMBER, "[N] [--force]", 1 << OPT_FORCE, false,
	    "back to the generation before the present one, or N before it; what waits to be confirmed "
	    "is taken back at once"},
	{"history", CTL_HISTORY, WORD_NONE, "[--last N]", 1 << OPT_LAST, false,
	    "the generations that were in force"},
	{"block", CTL_BLOCK, WORD_ADDRESS, "ADDRESS --for TIME", 1 << OPT_FOR, true,
	    "refuse all mail from and to an address or prefix for a while"},
	{"unblock", CTL_UNBLOCK, WORD_ADDRESS, "ADDRESS", 0, true, "no longer"},
	{"drift", CTL_DRIFT, WORD_NONE, "[--now] [--last N]", 1 << OPT_NOW | 1 << OPT_LAST, false,
	    "what others have changed, who, and what it meant"},
	{"attempts", CTL_ATTEMPTS, WORD_NONE, "[--last N] [--json]", 1 << OPT_LAST | 1 << OPT_JSON, false,
	    "packets that statements with `log: true` refused, and whose they were"},
	{"metrics", CTL_METRICS, WORD_NONE, "", 0, false, "counters, as Prometheus reads them"},
	{"pause", CTL_PAUSE, WORD_NONE, "[--for TIME]", 1 << OPT_FOR, false,
	    "do not heal what others change, for 15 minutes or so long"},
	{"resume", CTL_PAUSE, WORD_NONE, "", 0, false, "heal again"},
	{"remove", CTL_REMOVE, WORD_NONE, "[--force]", 1 << OPT_FORCE, false,
	    "take all rules down; they stay down until `apply`. --force: even where that cannot be written down"},
	{"queue list", CTL_QUEUE, WORD_NONE, "[--relay NAME] [--last N] [--json]",
	    1 << OPT_RELAY | 1 << OPT_LAST | 1 << OPT_JSON, false,
	    "the mail that waits, a line a message: number, arrival, bytes, state, recipients open/all, relay, "
	    "sender, recipient, the last answer", MAIL_QUEUE_LIST},
	{"queue show", CTL_QUEUE, WORD_IDS, "ID ... [--json]", 1 << OPT_JSON, true,
	    "one message: envelope, recipients and their answers, the header of its content", MAIL_QUEUE_SHOW},
	{"queue retry", CTL_QUEUE, WORD_IDS, "ID ...", 0, true, "try them now", MAIL_QUEUE_RETRY},
	{"queue hold", CTL_QUEUE, WORD_IDS, "ID ...", 0, true, "do not send them until `release`",
	    MAIL_QUEUE_HOLD},
	{"queue release", CTL_QUEUE, WORD_IDS, "ID ...", 0, true, "send them", MAIL_QUEUE_RELEASE},
	{"queue drop", CTL_QUEUE, WORD_IDS, "ID ... [--why TEXT]", 1 << OPT_WHY, true,
	    "give them up, without a report to the sender", MAIL_QUEUE_DROP},
	{"queue flush", CTL_QUEUE, WORD_NONE, "[--relay NAME]", 1 << OPT_RELAY, false,
	    "try all mail now, also where a relay is left alone for a while: what was amiss is mended", MAIL_QUEUE_FLUSH},
	{"trace", CTL_QUEUE, WORD_IDS, "ID", 0, true, "one message's life, line by line, also of one that has gone",
	    MAIL_QUEUE_TRACE},
	{"doctor", CTL_DOCTOR, WORD_RELAY, "[RELAY] [--json]", 1 << OPT_JSON, false,
	    "what is wrong with the way of mail, and what to do about it: this host's listeners, spool, credentials, "
	    "firewall and clock; then of each relay (or of RELAY alone) its name, port, TLS, our credential, our senders, our "
	    "address as it sees it, its size, ciphers, and our registration in DNS. Each passes, warns, fails, or was not "
	    "asked. It connects to the relays as mail does, and sends none; it ends within some 40 s. Exit status 1 where "
	    "something fails"},
	{"test-mail", 0, WORD_RCPT, "ADDRESS [--from ADDRESS]", 1 << OPT_FROM, true,
	    "send a message as any program of this host would, and tell what becomes of it"},
};
enum { NCOMMAND = sizeof command / sizeof command[0] };

static const char about[] =
    "Asks the agent mailreeved, or tells it what to do. Root may, and the members of the agent's "
    "group. Times are written 90s, 10min, 1h, 2d.";

static void
help(void)
{
	printf("usage: mailreevectl COMMAND [OPTION ...] [WORD]\n\n%s\n\n", about);
	for (int i = 0; i < NCOMMAND; i++)
		printf("  %s %s\n      %s\n", command[i].name, command[i].synopsis, command[i].text);
	printf("\n");
	for (int i = 0; i < OPT_N; i++)
		printf("  --%s%s%s\n      %s\n", option[i].name, option[i].value ? " " : "",
		    option[i].value ? option[i].value : "", option[i].text);
}

static void
manual(void)
{
	printf(".\\\" Printed by `mailreevectl manual`; the tables in agent/ctl are its source.\n"
	    ".TH MAILREEVECTL 8\n.SH NAME\nmailreevectl \\- question and control the mail policy agent\n"
	    ".SH SYNOPSIS\n.B mailreevectl\n\\fICOMMAND\\fP [\\fIOPTION\\fP ...] [\\fIWORD\\fP]\n"
	    ".SH DESCRIPTION\n%s\n.SH COMMANDS\n", about);
	for (int i = 0; i < NCOMMAND; i++)
		printf(".TP\n.B %s\\fR %s\n%s\n", command[i].name, command[i].synopsis, command[i].text);
	printf(".SH OPTIONS\n");
	for (int i = 0; i < OPT_N; i++)
		printf(".TP\n.B \\-\\-%s\\fR %s\n%s\n", option[i].name,
		    option[i].value ? option[i].value : "", option[i].text);
	printf(".SH EXIT STATUS\n0 done; 1 no: something differs, is amiss, or was refused; 2 wrong use; "
	    "3 the machine, or the agent, failed.\n.SH ENVIRONMENT\nSSH_CONNECTION: the connection that "
	    "an apply must not cut. Where it is not set, as behind sudo(8), that of the processes by which this one was "
	    "started is taken, as far as they may be read; set and empty: there is none. MAILREEVE_RUN: see \\-\\-run.\n.SH SEE ALSO\nmailreeved(8), "
	    "mailreeve(1)\n");
}

/* ---- reading the command line ------------------------------------------------------------------ */

static const char *
command_at(const void *arg, size_t i)
{
	(void)arg;
	return i < NCOMMAND ? command[i].name : NULL;
}

static bool
number(const char *s, uint64_t most, uint64_t *out, const char **rest)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*out = strtoull(s, &end, 10);
	*rest = end;
	return !errno && *out <= most;
}

/* "10min": seconds. */
static bool
seconds(const char *s, uint64_t *out)
{
	static const struct unit {
		const char *name;
		uint64_t n;
	} unit[] = {
		{"s", 1}, {"sec", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"hour", 3600}, {"hours", 3600},
		{"d", 86400}, {"day", 86400}, {"days", 86400},
	};
	const char *rest;

	if (!number(s, 100000000, out, &rest))
		return false;
	while (*rest == ' ')
		rest++;
	for (size_t i = 0; i < sizeof unit / sizeof unit[0]; i++)
		if (!strcmp(rest, unit[i].name)) {
			*out *= unit[i].n;
			return *out > 0;
		}
	return false;
}

static int
wrong(const struct command *c, const char *what, const char *word)
{
	fprintf(stderr, "mailreevectl %s: %s%s%s%s\nusage: mailreevectl %s %s\n", c->name, what,
	    word ? " '" : "", word ? word : "", word ? "'" : "", c->name, c->synopsis);
	return 2;
}

struct wish {
	struct ctl_ask ask;
	struct mail_queue queue;
	struct mail_id id[MAIL_MOST_IDS];
	const char *run, *rcpt, *from;
};

/* An option's value into the request. 0 or 2. */
static int
take(const struct command *c, enum option o, const char *value, struct wish *w)
{
	const char *rest;
	uint64_t x;

	switch (o) {
	case OPT_CONFIRM:
	case OPT_FOR:
		if (!seconds(value, &w->ask.seconds))
			return wrong(c, "a time is written 90s, 10min, 1h or 2d, not", value);
		return 0;
	case OPT_FORCE:
		w->ask.flags |= CTL_FORCE;
		return 0;
	case OPT_JSON:
		w->ask.flags |= CTL_JSON;
		w->queue.json = 1;
		return 0;
	case OPT_NOW:
		w->ask.flags |= CTL_NOW;
		return 0;
	case OPT_LAST:
		if (!number(value, 100000, &x, &rest) || *rest || x == 0)
			return wrong(c, "--last takes a number, not", value);
		w->ask.number = w->queue.most = (uint32_t)x;
		return 0;
	case OPT_RELAY:
		w->queue.relay = value;
		return 0;
	case OPT_WHY:
		w->queue.why = value;
		return 0;
	case OPT_FROM:
		w->from = value;
		return 0;
	case OPT_RUN:
		w->run = value;
		return 0;
	case OPT_HELP:
	case OPT_N:
		break;
	}
	return 0;
}

/* The option that a word beginning with -- names; OPT_N: none. */
static int
option_of(const char *a)
{
	const char *eq = strchr(a, '=');
	size_t n = eq ? (size_t)(eq - a) : strlen(a);
	int k = 0;

	while (k < OPT_N && (n - 2 != strlen(option[k].name) || strncmp(a + 2, option[k].name, n - 2)))
		k++;
	return k;
}

/* Options may stand before the command too: it is moved to the front. */
static void
command_first(int argc, char **argv)
{
	char *name;
	int at = 1;

	while (at < argc && !strncmp(argv[at], "--", 2)) {
		int k = option_of(argv[at]);

		if (k == OPT_HELP || k == OPT_N)
			return;
		at += option[k].value && !strchr(argv[at], '=') ? 2 : 1;
	}
	if (at >= argc)
		return;
	name = argv[at];
	memmove(&argv[2], &argv[1], (size_t)(at - 1) * sizeof argv[0]);
	argv[1] = name;
}

/* Reads what follows the command. 0; 2 after a message; -1: help is wanted. */
static int
words(const struct command *c, int argc, char **argv, struct wish *w)
{
	bool seen = false;
	int status;

	for (int i = 2; i < argc; i++) {
		const char *a = argv[i], *value, *eq = strchr(a, '='), *rest;
		uint64_t x;
		int k;

		if (strncmp(a, "--", 2) != 0) {
			if (c->word == WORD_NONE || (seen && (c->word != WORD_IDS || c->queue == MAIL_QUEUE_TRACE)))
				return wrong(c, "what is", a);
			seen = true;
			if (c->word == WORD_IDS) {
				if (w->queue.nid == MAIL_MOST_IDS)
					return wrong(c, "so many at a time are too many", NULL);
				w->id[w->queue.nid++].text = a;
				continue;
			}
			if (c->word == WORD_RCPT) {
				w->rcpt = a;
				continue;
			}
			if (c->word == WORD_ADDRESS || c->word == WORD_RELAY) {
				w->ask.address = a;
				continue;
			}
			if (!number(a, UINT32_MAX, &x, &rest) || *rest || x == 0)
				return wrong(c, "a number is wanted, not", a);
			w->ask.number = (uint32_t)x;
			continue;
		}
		k = option_of(a);
		if (k == OPT_HELP)
			return -1;
		if (k == OPT_N || (k != OPT_RUN && !(c->options >> k & 1)))
			return wrong(c, "it does not take", a);
		value = !option[k].value ? "" : eq ? eq + 1 : i + 1 < argc ? argv[++i] : NULL;
		if (!value || (!option[k].value && eq))
			return wrong(c, option[k].value ? "a value is missing behind" : "no value belongs to", a);
		status = take(c, (enum option)k, value, w);
		if (status)
			return status;
	}
	if (c->needs_word && !seen)
		return wrong(c, c->word == WORD_IDS ? "which message? `mailreevectl queue list` tells their numbers" :
		    "an address is missing", NULL);
	return 0;
}

/* ---- speaking ------------------------------------------------------------------------------------ */

int
ctl_reach(const char *run)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd, n = snprintf(a.sun_path, sizeof a.sun_path, "%s/control.sock", run);

	if (n < 0 || (size_t)n >= sizeof a.sun_path) {
		fprintf(stderr, "mailreevectl: %s is too long\n", run);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof a))
		return fd;
	fprintf(stderr, "mailreevectl: the agent cannot be reached at %s: %s%s\n", a.sun_path,
	    strerror(errno), errno == EACCES ? " (only root and the agent's group may)" :
	    errno == ENOENT || errno == ECONNREFUSED ? " (is mailreeved running?)" : "");
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Prints a memory file. */
static void
print_file(struct ipc_in *in, FILE *to)
{
	const uint8_t *bytes;
	size_t n;
	int fd = ipc_take(in, 0);

	if (fd < 0 || ipc_map(fd, MAIL_MOST_TEXT, &bytes, &n)) {
		fprintf(stderr, "mailreevectl: what the agent handed over cannot be read\n");
	} else {
		fwrite(bytes, 1, n, to);
		ipc_unmap(bytes, n);
	}
	if (fd >= 0)
		close(fd);
}

/* Prints what comes until the end. The exit status. */
static int
listen_to(int fd, FILE *out, FILE *err)
{
	const void *body;
	struct ipc_in in;
	int status = -1;

	while (status < 0 && ipc_recv_wait(fd, &in, -1) == 1) {
		if (in.type == CTL_END && !ipc_body(&in, &ctl_end_shape, &body)) {
			status = (int)((const struct ctl_end *)body)->status;
		} else if ((in.type == CTL_OUT || in.type == CTL_ERR) &&
		    !ipc_body(&in, &ctl_text_shape, &body)) {
			const struct ctl_text *t = body;

			fwrite(t->bytes, 1, t->n, in.type == CTL_OUT ? out : err);
			fflush(in.type == CTL_OUT ? out : err);
		} else if (in.type == CTL_FILE) {
			print_file(&in, out);
		}
		ipc_free(&in);
	}
	if (status < 0) {
		fprintf(stderr, "mailreevectl: the agent ended before it had answered; what it was doing it "
		    "has done whole or not at all: mailreevectl status\n");
		return 3;
	}
	if (ferror(stdout) || fflush(stdout)) {
		perror("mailreevectl: standard output");
		return 3;
	}
	return status;
}

/* Sends the request, prints the answer. The exit status. */
static int
speak(const char *run, uint32_t op, const void *body, FILE *out, FILE *err)
{
	int fd = ctl_reach(run), status;

	if (fd < 0)
		return 3;
	status = ipc_send_wait(fd, op, 1, op == CTL_QUEUE ? &mail_ask_shape[MAIL_QUEUE] : &ctl_ask_shape, body,
	    NULL, 0, 10000);
	if (status) {
		fprintf(stderr, "mailreevectl: %s\n", status == -EPIPE ? "the agent has too many clients" :
		    status == -EMSGSIZE ? "so many at a time are too many" : strerror(-status));
		close(fd);
		return 3;
	}
	status = listen_to(fd, out, err);
	close(fd);
	return status;
}

int
ctl_queue(const char *run, uint32_t op, const char *id, FILE *out, FILE *err)
{
	struct mail_id one = {.text = id};
	struct mail_queue q = {.op = op, .id = &one, .nid = 1};

	return speak(run, CTL_QUEUE, &q, out, err);
}

/* sudo(8) hides SSH_CONNECTION from what it starts; those that it was started by have it still. As root one may
 * read that. NULL: there is none. */
static const char *
ssh_of_ancestors(void)
{
	enum { MOST_ANCESTORS = 32, MOST_ENVIRON = 1 << 20 };
	static const char name[] = "SSH_CONNECTION=";
	static char value[200];
	static char text[MOST_ENVIRON];
	unsigned pid = (unsigned)getppid();
	char path[64];

	for (int i = 0; i < MOST_ANCESTORS && pid > 1; i++) {
		FILE *f;
		size_t n = 0;

		snprintf(path, sizeof path, "/proc/%u/environ", pid);
		f = fopen(path, "re");
		if (f) {
			n = fread(text, 1, sizeof text - 1, f);
			fclose(f);
		}
		text[n] = '\0';
		for (const char *p = text; p < text + n; p += strlen(p) + 1)
			if (!strncmp(p, name, sizeof name - 1) && strlen(p) < sizeof name - 1 + sizeof value) {
				snprintf(value, sizeof value, "%s", p + sizeof name - 1);
				return value;
			}
		snprintf(path, sizeof path, "/proc/%u/stat", pid);
		f = fopen(path, "re");
		pid = 0;
		if (f) {
			/* behind the name, which may hold anything: state and parent */
			n = fread(text, 1, 4096, f);
			text[n] = '\0';
			char *at = strrchr(text, ')');

			/* " S 4711 ..." */
			if (at && strlen(at) > 4)
				pid = (unsigned)strtoul(at + 4, NULL, 10);
			fclose(f);
		}
	}
	return NULL;
}

/* The row of a command of one or two words; the second is taken out of argv. */
static const struct command *
command_of(int *argc, char **argv)
{
	for (int i = 0; i < NCOMMAND; i++) {
		const char *space = strchr(command[i].name, ' ');
		size_t n = space ? (size_t)(space - command[i].name) : strlen(command[i].name);

		if (strlen(argv[1]) != n || strncmp(argv[1], command[i].name, n) != 0)
			continue;
		if (!space)
			return &command[i];
		if (*argc < 3 || strcmp(argv[2], space + 1) != 0)
			continue;
		memmove(&argv[2], &argv[3], (size_t)(*argc - 3) * sizeof argv[0]);
		--*argc;
		return &command[i];
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	const struct command *c = NULL;
	const char *ssh = getenv("SSH_CONNECTION"), *run = getenv("MAILREEVE_RUN"), *near;
	struct wish w = {.run = run && *run ? run : "/run/mailreeve"};
	int status;

	if (argc < 2) {
		fprintf(stderr, "usage: mailreevectl COMMAND [OPTION ...] [WORD]; see mailreevectl --help\n");
		return 2;
	}
	command_first(argc, argv);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help();
		return fflush(stdout) ? 3 : 0;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("mailreevectl %s\n", MAILREEVE_VERSION);
		return fflush(stdout) ? 3 : 0;
	}
	if (!strcmp(argv[1], "manual")) {
		manual();
		return fflush(stdout) ? 3 : 0;
	}
	c = command_of(&argc, argv);
	if (!c && !strcmp(argv[1], "queue")) {
		fprintf(stderr, "mailreevectl: queue what? list, show, retry, hold, release, drop or flush\n");
		return 2;
	}
	if (!c) {
		near = near_of(argv[1], strlen(argv[1]), command_at, NULL);
		fprintf(stderr, "mailreevectl: unknown command '%s'%s%s%s; see mailreevectl --help\n", argv[1],
		    near ? "; did you mean '" : "", near ? near : "", near ? "'" : "");
		return 2;
	}
	if (c->op == CTL_PAUSE && !strcmp(c->name, "pause"))
		w.ask.seconds = 15 * 60;
	status = words(c, argc, argv, &w);
	if (status < 0) {
		printf("usage: mailreevectl %s %s\n\n%s\n", c->name, c->synopsis, c->text);
		return 0;
	}
	if (status)
		return status;
	if (c->op == CTL_BLOCK && w.ask.seconds == 0)
		return wrong(c, "for how long? --for 1h", NULL);
	if (!ssh && (c->options & 1 << OPT_FORCE || c->op == CTL_PLAN))
		ssh = ssh_of_ancestors();
	w.ask.connection = ssh && strlen(ssh) < 200 ? ssh : "";
	if (c->word == WORD_RCPT)
		return test_mail(w.run, w.from, w.rcpt);
	if (c->op == CTL_DOCTOR)
		return doctor(w.run, w.ask.address ? w.ask.address : "", w.queue.json);
	w.queue.op = c->queue;
	w.queue.id = w.id;
	return speak(w.run, (uint32_t)c->op, c->op == CTL_QUEUE ? (const void *)&w.queue : &w.ask, stdout, stderr);
}
