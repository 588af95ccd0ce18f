#include "gen/args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/near.h"

static const struct arg_row row[ARG_NOPTION] = {
	[ARG_APPLICATION] = {"application", 0, "NAME", NULL, false, "the registered application that sends the message"},
	[ARG_AT] = {"at", 0, "POINT", NULL, false, "the point to ask; needed where the policy has several"},
	[ARG_COLOUR] = {"colour", 0, "WHEN", "auto|always|never", false, "colour in messages; auto: on a terminal, unless NO_COLOR is set"},
	[ARG_DATE] = {"date", 0, "DATE", NULL, false, "the day to ask about, YYYY-MM-DD; today by default"},
	[ARG_DETAILED] = {"detailed-exitcode", 0, NULL, NULL, false, "exit status 3 when something differs, 0 when nothing does"},
	[ARG_DIRECTION] = {"direction", 0, "WAY", "outbound|inbound|forwarded", false, "of a packet at a host"},
	[ARG_DUMP] = {"dump", 0, "LETTERS", NULL, false, "what each pass left, on standard error: R policy, M meaning, P plan"},
	[ARG_FORMAT] = {"format", 0, "FORM", "human|json|sarif|github|junit", false, "how to print the answer; not every form fits every command"},
	[ARG_FROM] = {"from", 0, "ADDRESS", NULL, false, "envelope sender of a message; '' is the null sender"},
	[ARG_HEADER] = {"header", 0, "ADDRESS", NULL, true, "address in the message's From field, the envelope sender by default; may be repeated"},
	[ARG_HELP] = {"help", 'h', NULL, NULL, false, "print help"},
	[ARG_NO_PROVE] = {"no-prove", 0, NULL, NULL, false, "write the rules without a proof in a kernel"},
	[ARG_OUTPUT] = {"output", 'o', "FILE", NULL, false, "write to FILE, replaced as a whole and only on success"},
	[ARG_PART] = {"part", 0, "PART", "all|stage|swap", false, "one of the two files of a replacement that leaks no packet"},
	[ARG_POINT] = {"point", 0, "POINT", NULL, false, "the point to compile, or to compare; needed where rules are of one and the policy has several"},
	[ARG_PROBES] = {"probes", 0, "FILE", NULL, false, "read probes from FILE, one a line: PROBE [; at=POINT date=DATE user=U unit=U direction=WAY]"},
	[ARG_PROVE] = {"prove", 0, NULL, NULL, false, "insist on the proof: where this machine allows no network namespace, write nothing"},
	[ARG_RECIPIENT] = {"recipient", 0, "ADDRESS", NULL, true, "recipient of a message, which the question is then about; may be repeated"},
	[ARG_REPLAY] = {"replay", 0, NULL, NULL, false, "really send each packet that is told through a kernel with the ruleset, and say what became of it"},
	[ARG_SIZE] = {"size", 0, "SIZE", NULL, false, "size of a message: '6 MB', '100 KiB', '5000000 B'"},
	[ARG_SLOT] = {"slot", 0, "SLOT", "a|b", false, "which of two alternating tables a replacement in two files fills"},
	[ARG_STRICT] = {"strict", 0, NULL, NULL, false, "also tell apart what is allowed from what is untouched"},
	[ARG_TO] = {"to", 0, "FORM", "nft|json|plan", false, "what to make: nft text, libnftables JSON, or the plan file"},
	[ARG_UNIT] = {"unit", 0, "UNIT", NULL, false, "the systemd unit of the program that sends"},
	[ARG_USER] = {"user", 0, "USER", NULL, false, "the user of the program that sends"},
	[ARG_VERSION] = {"version", 'V', NULL, NULL, false, "print the version"},
	[ARG_WINDOW] = {"window", 0, "DAYS", NULL, false, "warn of what expires within so many days; 30 by default"},
	[ARG_WRITE] = {"write", 'w', NULL, NULL, false, "write the result back to the file"},
};

const struct arg_row *
arg_row(enum arg_option o)
{
	return &row[o];
}

const char *
arg_value(const struct args *a, enum arg_option o)
{
	return a->nvalue[o] ? a->value[o][a->nvalue[o] - 1] : NULL;
}

static bool
takes(const struct command *c, enum arg_option o)
{
	if (o == ARG_HELP || o == ARG_COLOUR)
		return true;
	for (const enum arg_option *p = c->option; *p != ARG_NOPTION; p++)
		if (*p == o)
			return true;
	return false;
}

static const char *
option_at(const void *arg, size_t i)
{
	const struct command *c = arg;

	for (int o = 0; o < ARG_NOPTION; o++)
		if (takes(c, (enum arg_option)o) && !i--)
			return row[o].name;
	return NULL;
}

/* Whether `value` is one of the words "a|b|c". */
static bool
word_ok(const char *words, const char *value)
{
	size_t n = strlen(value);

	for (const char *p = words; *p; ) {
		size_t k = strcspn(p, "|");

		if (k == n && !memcmp(p, value, n))
			return true;
		p += k + (p[k] == '|');
	}
	return false;
}

static int
wrong(const struct command *c)
{
	fprintf(stderr, "usage: mailreeve %s %s\n", c->name, c->synopsis);
	return 2;
}

static const char **
pushed(const char **v, size_t n, const char *s)
{
	const char **w = realloc(v, (n + 1) * sizeof *w);

	if (!w)
		abort();
	w[n] = s;
	return w;
}

static int
option(const struct command *c, struct args *a, enum arg_option o, const char *value)
{
	const struct arg_row *r = &row[o];

	if (a->nvalue[o] && !r->many) {
		fprintf(stderr, "mailreeve %s: --%s is given twice\n", c->name, r->name);
		return wrong(c);
	}
	if (r->words && !word_ok(r->words, value)) {
		fprintf(stderr, "mailreeve %s: --%s takes %s, not '%s'\n",
		    c->name, r->name, r->words, value);
		return wrong(c);
	}
	if (a->nvalue[o] >= ARG_MANY) {
		fprintf(stderr, "mailreeve %s: too many --%s\n", c->name, r->name);
		return 2;
	}
	a->value[o] = pushed(a->value[o], a->nvalue[o], value);
	a->nvalue[o]++;
	return 0;
}

/* Finds the option that `s` (n bytes, without dashes; `letter` for -x) names. */
static int
find(const struct command *c, const char *s, size_t n, bool letter, enum arg_option *out)
{
	for (int o = 0; o < ARG_NOPTION; o++) {
		if (!takes(c, (enum arg_option)o))
			continue;
		if (letter ? row[o].letter && row[o].letter == *s :
		    strlen(row[o].name) == n && !memcmp(row[o].name, s, n)) {
			*out = (enum arg_option)o;
			return 0;
		}
	}
	fprintf(stderr, "mailreeve %s: unknown option %s%.*s", c->name,
	    letter ? "-" : "--", (int)n, s);
	if (!letter) {
		const char *meant = near_of(s, n, option_at, c);

		if (meant)
			fprintf(stderr, "; did you mean --%s?", meant);
	}
	fputc('\n', stderr);
	return wrong(c);
}

int
args_read(const struct command *c, int argc, char **argv, struct args *a)
{
	bool only_words = false;

	*a = (struct args){.nword = 0};
	for (int i = 1; i < argc; i++) {
		const char *s = argv[i], *value = NULL;
		enum arg_option o;
		size_t n;
		int err;

		if (only_words || s[0] != '-' || !s[1]) {
			a->word = pushed(a->word, a->nword++, s);
			continue;
		}
		if (!strcmp(s, "--")) {
			only_words = true;
			continue;
		}
		if (s[1] == '-') {
			s += 2;
			n = strcspn(s, "=");
			value = s[n] ? s + n + 1 : NULL;
			err = find(c, s, n, false, &o);
		} else {
			s++;
			value = s[1] ? s + 1 : NULL;
			err = find(c, s, 1, true, &o);
		}
		if (err)
			return err;
		if (o == ARG_HELP)
			return 1;
		if (!row[o].value && value) {
			fprintf(stderr, "mailreeve %s: --%s takes no value\n", c->name, row[o].name);
			return wrong(c);
		}
		if (row[o].value && !value && !(value = argv[++i])) {
			fprintf(stderr, "mailreeve %s: --%s needs %s\n", c->name, row[o].name, row[o].value);
			return wrong(c);
		}
		if ((err = option(c, a, o, value ? value : "")))
			return err;
	}
	if (a->nword < c->least) {
		fprintf(stderr, "mailreeve %s: too few arguments\n", c->name);
		return wrong(c);
	}
	if (a->nword > c->most) {
		fprintf(stderr, "mailreeve %s: '%s' is one argument too many\n", c->name, a->word[c->most]);
		return wrong(c);
	}
	return 0;
}

void
args_free(struct args *a)
{
	for (int o = 0; o < ARG_NOPTION; o++)
		free(a->value[o]);
	free(a->word);
	*a = (struct args){.nword = 0};
}

static void
help_option(enum arg_option o)
{
	char left[64];

	snprintf(left, sizeof left, "%s%c%s--%s%s%s",
	    row[o].letter ? "-" : "  ", row[o].letter ? row[o].letter : ' ',
	    row[o].letter ? ", " : " ", row[o].name,
	    row[o].value ? " " : "", row[o].value ? row[o].value : "");
	printf("  %-28s %s", left, row[o].text);
	if (row[o].words)
		printf(" (%s)", row[o].words);
	putchar('\n');
}

void
args_help(const struct command *c)
{
	if (c) {
		printf("usage: mailreeve %s %s\n\n%s\n", c->name, c->synopsis, c->text);
		printf("\noptions:\n");
		for (int o = 0; o < ARG_NOPTION; o++)
			if (takes(c, (enum arg_option)o))
				help_option((enum arg_option)o);
		return;
	}
	printf("mailreeve: one mail policy, compiled to nftables rules and asked questions\n\n"
	    "usage: mailreeve COMMAND [OPTION ...] [WORD ...]\n\ncommands:\n");
	for (c = command_table; c->name; c++)
		printf("  %-12s %s\n", c->name, c->summary);
	printf("\n`mailreeve COMMAND --help` tells more; \"-\" as a file is standard input.\n"
	    "exit status: 0 fine; 1 the policy, or the answer, is bad; 2 usage or the machine;\n"
	    "3 something differs (with --detailed-exitcode).\n");
}

/* Text for roff: a backslash and a leading dot or quote are made harmless, a
 * minus stays one. */
static void
roff(struct buf *out, const char *s)
{
	bool bol = true;

	for (; *s; s++) {
		if (bol && (*s == '.' || *s == '\''))
			buf_str(out, "\\&");
		if (*s == '\\')
			buf_str(out, "\\e");
		else if (*s == '-')
			buf_str(out, "\\-");
		else if (*s == '\n' && s[1] == '\n')
			buf_str(out, "\n.PP");
		else
			buf_chr(out, *s);
		bol = *s == '\n';
	}
}

void
args_manual(struct buf *out)
{
	buf_printf(out, ".\\\" Printed by `mailreeve manual`; the tables in gen/ are its source.\n"
	    ".TH MAILREEVE 1\n.SH NAME\nmailreeve \\- compile and question a mail policy\n"
	    ".SH SYNOPSIS\n");
	for (const struct command *c = command_table; c->name; c++) {
		buf_printf(out, ".B mailreeve %s\n", c->name);
		roff(out, c->synopsis);
		buf_printf(out, "\n.br\n");
	}
	buf_printf(out, ".SH DESCRIPTION\n"
	    "One YAML file says how mail may leave a network. This program checks it, "
	    "compiles it to nftables rules for each point where rules run, and answers "
	    "exactly what it does and what changed between two versions.\n"
	    "It needs no privileges, asks no DNS and, but for files named on the command "
	    "line, changes nothing.\n.PP\nA file named \\- is standard input. Answers go to standard "
	    "output, messages to standard error; where the messages are the answer (check, lint) they "
	    "go to standard output. Every command takes \\-\\-help and \\-\\-colour auto|always|never; "
	    "\\-o is short for \\-\\-output, \\-w for \\-\\-write. An option that may be repeated says "
	    "so.\n.SH COMMANDS\n");
	for (const struct command *c = command_table; c->name; c++) {
		buf_printf(out, ".SS %s ", c->name);
		roff(out, c->synopsis);
		buf_chr(out, '\n');
		roff(out, c->text);
		buf_chr(out, '\n');
		for (int o = 0; o < ARG_NOPTION; o++) {
			if (!takes(c, (enum arg_option)o) || o == ARG_HELP || o == ARG_COLOUR)
				continue;
			buf_printf(out, ".TP\n.B \\-\\-");
			roff(out, row[o].name);
			if (row[o].value)
				buf_printf(out, " \\fI%s\\fP", row[o].value);
			buf_chr(out, '\n');
			roff(out, row[o].text);
			if (row[o].words) {
				buf_printf(out, " (");
				roff(out, row[o].words);
				buf_chr(out, ')');
			}
			buf_chr(out, '\n');
		}
	}
	buf_printf(out, ".SH EXIT STATUS\n0 fine; 1 the policy, or the answer, is bad; 2 usage or the "
	    "machine; 3 something differs, with \\-\\-detailed\\-exitcode.\n"
	    ".SH ENVIRONMENT\nNO_COLOR: no colour in messages.\n"
	    ".SH SEE ALSO\nmailreeve\\-policy(5), nft(8)\n");
}

void
args_completion(void)
{
	printf("# bash completion for mailreeve; printed by `mailreeve completion`\n"
	    "_mailreeve() {\n"
	    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} cmd=${COMP_WORDS[1]}\n"
	    "\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n\t\tCOMPREPLY=($(compgen -W \"");
	for (const struct command *c = command_table; c->name; c++)
		printf("%s%s", c == command_table ? "" : " ", c->name);
	printf("\" -- \"$cur\"))\n\t\treturn\n\tfi\n\tcase $cmd in\n");
	for (const struct command *c = command_table; c->name; c++) {
		printf("\t%s) [ \"${cur#-}\" != \"$cur\" ] && COMPREPLY=($(compgen -W \"", c->name);
		for (int o = 0; o < ARG_NOPTION; o++)
			if (takes(c, (enum arg_option)o))
				printf("--%s ", row[o].name);
		printf("\" -- \"$cur\")) ;;\n");
	}
	printf("\tesac\n\t[ ${#COMPREPLY[@]} -eq 0 ] && COMPREPLY=($(compgen -f -- \"$cur\"))\n}\n"
	    "complete -o filenames -F _mailreeve mailreeve\n");
}
