/*
 * mailreeve: the command.
 */
#include <stdio.h>
#include <string.h>

#include "base/near.h"
#include "gen/args.h"
#include "gen/commands.h"

static const enum arg_option check_options[] = {ARG_FORMAT, ARG_OUTPUT, ARG_NOPTION};
static const enum arg_option lint_options[] = {ARG_FORMAT, ARG_OUTPUT, ARG_DATE, ARG_WINDOW, ARG_NOPTION};
static const enum arg_option compile_options[] = {ARG_TO, ARG_POINT, ARG_OUTPUT, ARG_PART, ARG_SLOT, ARG_PROVE, ARG_NO_PROVE, ARG_DUMP, ARG_NOPTION};
static const enum arg_option audit_options[] = {ARG_AT, ARG_REPLAY, ARG_FORMAT, ARG_OUTPUT, ARG_NOPTION};
static const enum arg_option explain_options[] = {ARG_AT, ARG_DATE, ARG_USER, ARG_UNIT, ARG_DIRECTION, ARG_PROBES,
	ARG_FROM, ARG_HEADER, ARG_RECIPIENT, ARG_SIZE, ARG_APPLICATION, ARG_FORMAT, ARG_OUTPUT, ARG_NOPTION};
static const enum arg_option diff_options[] = {ARG_POINT, ARG_FORMAT, ARG_STRICT, ARG_DETAILED, ARG_OUTPUT, ARG_NOPTION};
static const enum arg_option test_options[] = {ARG_FORMAT, ARG_OUTPUT, ARG_NOPTION};
static const enum arg_option fmt_options[] = {ARG_WRITE, ARG_OUTPUT, ARG_NOPTION};
static const enum arg_option points_options[] = {ARG_FORMAT, ARG_OUTPUT, ARG_NOPTION};
static const enum arg_option print_options[] = {ARG_OUTPUT, ARG_NOPTION};
static const enum arg_option no_options[] = {ARG_NOPTION};

const struct command command_table[] = {
	{"check", "POLICY ...", "say all that is wrong with a policy",
	    "Reads each policy with its includes and lists, and says every mistake at once, "
	    "with its place and the way out. Forms: human, json, sarif, github.",
	    1, ARG_MANY, check_options, command_check},
	{"lint", "POLICY ...", "say what is legal but doubtful in a policy",
	    "All that check says, and more: statements that decide nothing (exactly, also "
	    "where several others hide them together), exemptions that have expired or soon "
	    "will, and the advice of the institutions whose rules the language serves. "
	    "Exit status 1 when there is a warning.",
	    1, ARG_MANY, lint_options, command_lint},
	{"compile", "POLICY [--to nft|json|plan] [--point POINT]", "make the rules of one point",
	    "Makes the rules that run at a point, as text for `nft -f`, as JSON for `nft -j -f`, "
	    "or as a plan file. The same policy gives the same bytes, on every machine and every "
	    "day. Before anything is printed, the rules are executed on a packet of every region "
	    "of the policy's meaning and must do what it says.\n\n"
	    "Then they are proved: loaded into a network namespace that nobody else sees and "
	    "that lasts for a moment, read back as the kernel's own bytecode, executed symbolically "
	    "and compared with the policy over all packets. Where they differ, a packet that "
	    "proves it is told, the rule that decides, and nothing is written (exit status 1). No root "
	    "is needed where users may make namespaces; where they may not, a note on standard error "
	    "says so and the rules are written all the same; with --prove it is an error (exit "
	    "status 2). --no-prove leaves the proof out, which takes some ten times as long as compiling.\n\n"
	    "A set that is made in one transaction with the rule that uses it is empty for some "
	    "milliseconds when the kernel commits. Where a running ruleset is replaced under traffic, "
	    "load it in two files: `--part stage --slot b`, then `--part swap --slot b`; the next "
	    "time with slot a. The second file swaps the tables in one small transaction.",
	    1, 1, compile_options, command_compile},
	{"audit", "POLICY live|FILE", "say where a ruleset is not what a policy says",
	    "Compares a point of the policy with any nftables ruleset, whoever wrote it: `live`, the "
	    "one in this machine's kernel (as root), or a file of nft text, which the program nft "
	    "loads into a network namespace that lasts for a moment, without root. The kernel's "
	    "bytecode is executed symbolically over all packets. Prints every region of packets that "
	    "the ruleset allows and the policy refuses, or refuses and the policy allows, or that it "
	    "may allow or refuse by a limit, or of which nothing can be known (a set that packets "
	    "fill, an iptables extension); with a packet of it, the policy's statement and the rule "
	    "that decides. What no statement of the policy speaks of may be anything; to "
	    "drop and to reject are both to refuse.\n\n"
	    "With --replay each of those packets is sent: through a network namespace with the ruleset "
	    "(of `live` the text that nft lists), whose interfaces, addresses and routes are made for it. First "
	    "it must come through without rules. The answer says what became of it and whether that is "
	    "what was told, or why it cannot be replayed here. Where the kernel did otherwise, that is "
	    "a mistake of mailreeve, and the exit status is 2.\n\n"
	    "Users and control groups have the numbers that they have on this machine. Exit status 1 "
	    "where something differs. Forms: human, json.",
	    2, 2, audit_options, command_audit},
	{"explain", "POLICY PROBE | POLICY --probes FILE | POLICY --from A --recipient B | CODE",
	    "say what happens to a packet or a message, and why",
	    "A probe is 'tcp 131.111.64.9 -> 8.8.8.8:25', IPv6 addresses in brackets. Prints the "
	    "verdict, the statement that decided with its line, and those that it overruled.\n\n"
	    "With --recipient the question is about a message that a program hands to the forwarder: "
	    "the reply it gets, and the relay that each recipient goes to.\n\n"
	    "With a code (E0301) prints what the diagnostic means.",
	    1, 2, explain_options, command_explain},
	{"diff", "OLD NEW", "say what two policies, or rules, treat differently",
	    "Every region of traffic whose verdict changed, as disjoint boxes with address counts, a "
	    "packet that proves it and the statements of both sides; then every change of what "
	    "messages may do; then changes of metadata. A reordering, a renamed network or another "
	    "way to write the same ranges is no change.\n\n"
	    "Either side may also be rules: `live`, those in this machine's kernel (as root); a file of "
	    "nft text, by its name, FILE.nft; or a plan file of `compile --to plan`. Then traffic "
	    "alone is compared, over all packets, as `audit` does: at one point of the policy, of "
	    "whose silence rules may do what they like (with --strict they must let pass), or all that "
	    "two rulesets do. Forms: human, json.",
	    2, 2, diff_options, command_diff},
	{"test", "POLICY ...", "run the tests that a policy carries",
	    "Runs the `tests:` of each policy: packets and messages, at dates. A test without a "
	    "date must hold on every day. Forms: human, json, junit.",
	    1, ARG_MANY, test_options, command_test},
	{"fmt", "POLICY", "lay a policy out evenly",
	    "Prints the policy with even indentation and without trailing blanks; comments stay. "
	    "The result means the same: it is read again and compared before it is printed.",
	    1, 1, fmt_options, command_fmt},
	{"points", "POLICY", "list where the rules of a policy run",
	    "One point a line: its name, its kind and its title, with tabs between.",
	    1, 1, points_options, command_points},
	{"schema", "[included]", "print the JSON Schema of the language",
	    "For editors: yaml-language-server completes and checks a policy with it; with `included` "
	    "a file that a policy includes.",
	    0, 1, print_options, command_schema},
	{"manual", "[language]", "print a manual page",
	    "mailreeve(1), or with `language` mailreeve-policy(5), in roff: pipe it to `man -l -`.",
	    0, 1, print_options, command_manual},
	{"completion", "", "print completions for bash",
	    "Source it: `source <(mailreeve completion)`.", 0, 0, no_options, command_completion},
	{.name = NULL},
};

static const char *
command_at(const void *arg, size_t i)
{
	(void)arg;
	return command_table[i].name;
}

static const struct command *
command_find(const char *name)
{
	for (const struct command *c = command_table; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

/* Whether what was printed has arrived. */
static int
said(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	perror("mailreeve: cannot write standard output");
	return 2;
}

int
main(int argc, char **argv)
{
	const struct command *c;
	const char *name = argc > 1 ? argv[1] : NULL;
	struct args a;
	int status;

	if (!name) {
		fprintf(stderr, "usage: mailreeve COMMAND [OPTION ...] [WORD ...]; see mailreeve --help\n");
		return 2;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		c = argc > 2 ? command_find(argv[2]) : NULL;
		args_help(c);
		return said();
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		printf("mailreeve %s\n", MAILREEVE_VERSION);
		return said();
	}
	c = command_find(name);
	if (!c) {
		const char *meant = near_of(name, strlen(name), command_at, NULL);

		fprintf(stderr, "mailreeve: unknown command '%s'%s%s%s; see mailreeve --help\n", name,
		    meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'" : "");
		if (name[0] == '-')
			fprintf(stderr, "options go behind the command\n");
		return 2;
	}
	status = args_read(c, argc - 1, argv + 1, &a);
	if (status == 1) {
		args_help(c);
		status = said();
	} else if (!status) {
		status = c->run(&a);
	}
	args_free(&a);
	return status;
}
