/*
 * check, lint: what is wrong, what is doubtful.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "gen/commands.h"
#include "gen/unit.h"

static const enum print_form form_of[] = {
	[UNIT_HUMAN] = PRINT_HUMAN,
	[UNIT_JSON] = PRINT_JSON,
	[UNIT_SARIF] = PRINT_SARIF,
	[UNIT_GITHUB] = PRINT_GITHUB,
};

/* The answer goes to standard output: here the diagnostics are the data. All
 * policies are read into one text set, so that one document (SARIF, JSON)
 * tells of all. */
static int
say(const struct args *a, bool lint)
{
	int form = unit_form(a, 1u << UNIT_HUMAN | 1u << UNIT_JSON |
	    1u << UNIT_SARIF | 1u << UNIT_GITHUB);
	struct buf out = BUF_INIT(UNIT_OUT_MOST);
	const char *window = arg_value(a, ARG_WINDOW);
	unsigned long days = 30;
	int status = 0;

	if (form < 0)
		return UNIT_MACHINE;
	if (window) {
		char *end;

		days = strtoul(window, &end, 10);
		if (*end || end == window || days > 36500) {
			fprintf(stderr, "mailreeve: --window takes a number of days, not '%s'\n", window);
			return UNIT_MACHINE;
		}
	}
	if (a->nword > 1 && form != UNIT_HUMAN && form != UNIT_GITHUB) {
		fprintf(stderr, "mailreeve: --format %s takes one policy at a time\n",
		    arg_value(a, ARG_FORMAT));
		return UNIT_MACHINE;
	}
	for (size_t i = 0; i < a->nword; i++) {
		struct unit u;
		int err = unit_open(&u, a->word[i], a);
		bool ok;

		if (err) {
			unit_close(&u);
			status = err > status ? err : status;
			continue;
		}
		ok = compile_run(&u.c, 1u << COMPILE_READ);
		/* What only a compilation would refuse is told here too. */
		if (ok && !lint)
			ok = compile_run(&u.c, 1u << COMPILE_MEAN | 1u << COMPILE_PLAN);
		if (ok && lint) {
			err = unit_date(&u, NULL, &u.c.lint.now);
			if (err) {
				unit_close(&u);
				buf_free(&out);
				return err;
			}
			u.c.lint.window = days * 86400;
			ok = compile_run(&u.c, 1u << COMPILE_MEAN | 1u << COMPILE_LINT |
			    1u << COMPILE_PLAN);
		}
		diags_sort(u.d);
		print_diags(&out, u.d, u.c.text, form_of[form],
		    !arg_value(a, ARG_OUTPUT) && unit_colour(a, STDOUT_FILENO));
		if (form == UNIT_HUMAN && u.d->n)
			print_summary(&out, u.d);
		else if (form == UNIT_HUMAN)
			buf_printf(&out, "%s: fine\n", u.c.name);
		if ((!ok || (lint && u.d->warnings)) && status < UNIT_BAD)
			status = UNIT_BAD;
		u.c.flow = flow_free(u.c.flow);
		unit_close(&u);
	}
	return unit_write(a, &out, status);
}

int
command_check(const struct args *a)
{
	return say(a, false);
}

int
command_lint(const struct args *a)
{
	return say(a, true);
}
