/*
 * args: the commands and options of `mailreeve`, as const tables.
 *
 * The same rows make the parser, the help, the manual page and the shell
 * completions.
 */
#ifndef GEN_ARGS_H
#define GEN_ARGS_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

enum arg_option {
	ARG_APPLICATION, ARG_AT, ARG_COLOUR, ARG_DATE, ARG_DETAILED, ARG_DIRECTION,
	ARG_DUMP, ARG_FORMAT, ARG_FROM, ARG_HEADER, ARG_HELP, ARG_NO_PROVE, ARG_OUTPUT,
	ARG_PART, ARG_POINT, ARG_PROBES, ARG_PROVE, ARG_RECIPIENT, ARG_REPLAY, ARG_SIZE, ARG_SLOT,
	ARG_STRICT, ARG_TO, ARG_UNIT, ARG_USER, ARG_VERSION, ARG_WINDOW,
	ARG_WRITE, ARG_NOPTION
};

struct arg_row {
	const char *name;          /* without the dashes */
	char letter;               /* short form, or 0 */
	const char *value;         /* what it takes, in capitals; NULL: nothing */
	const char *words;         /* the values it may have, "human|json"; NULL: any */
	bool many;                 /* may be given several times */
	const char *text;          /* one line */
};

enum { ARG_MANY = 1000 };

struct args {
	const char **value[ARG_NOPTION]; /* all values given, in order */
	size_t nvalue[ARG_NOPTION];
	const char **word;         /* what is no option */
	size_t nword;
};

struct command {
	const char *name;
	const char *synopsis;      /* behind the name */
	const char *summary;       /* one line */
	const char *text;          /* paragraphs for the manual and --help */
	unsigned least, most;      /* words; most 0: none */
	const enum arg_option *option; /* ends with ARG_NOPTION */
	/* Runs; gives the exit status: 0 fine, 1 the policy or the answer is bad,
	 * 2 usage or the machine, 3 differs (with --detailed-exitcode). */
	int (*run)(const struct args *a);
};

/* The commands; ends with a NULL name. */
extern const struct command command_table[];

const struct arg_row *
arg_row(enum arg_option o);

/* The last value of an option, or NULL. */
const char *
arg_value(const struct args *a, enum arg_option o);

/* Reads argv[1..] into *a for command c; it refers to argv, and args_free() frees
 * the rest in any case. Gives 0; 2 after a message on standard error; 1 when
 * --help was asked. */
int
args_read(const struct command *c, int argc, char **argv, struct args *a);

void
args_free(struct args *a);

/* Prints help for one command, or for all with NULL, to standard output. */
void
args_help(const struct command *c);

/* The manual page mailreeve(1) in roff; a completion script for bash, to standard
 * output. Both from the tables. */
void
args_manual(struct buf *out);
void
args_completion(void);

#endif
