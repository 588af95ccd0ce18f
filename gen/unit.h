/*
 * unit: one policy on its way through the passes, for a command.
 *
 * Owns what belongs to it: arena, text, diagnostics, the world's folder. The
 * diagrams may be shared by two units (the sides of a diff).
 */
#ifndef GEN_UNIT_H
#define GEN_UNIT_H

#include <stdbool.h>

#include "base/buf.h"
#include "compile/compile.h"
#include "gen/args.h"
#include "text/print.h"
#include "world/world.h"

enum {
	UNIT_FINE = 0,
	UNIT_BAD = 1,      /* the policy, or the answer */
	UNIT_MACHINE = 2,  /* usage or the machine */
	UNIT_DIFFERS = 3,
};

/* Output of a command is gathered and written at its end, so that nothing
 * half-made is ever printed. */
enum { UNIT_OUT_MOST = 1 << 30 };

struct unit {
	struct arena *a;
	struct diags *d;
	struct world world;
	struct compile c;
	const struct args *args;
	bool no_notes;     /* report errors and warnings only */
};

/* Reads the policy file `path`; 0, or an exit status after a message. */
int
unit_open(struct unit *u, const char *path, const struct args *args);

/* Runs passes (bits 1u << enum compile_pass) and prints what was found to
 * standard error. Gives 0 or UNIT_BAD. */
int
unit_run(struct unit *u, unsigned passes);

/* Prints the diagnostics so far to standard error. */
void
unit_report(struct unit *u);

void
unit_close(struct unit *u);

/* The point that --point or --at (`o`) names, or the only one; NULL after a
 * message. */
const struct policy_point *
unit_point(struct unit *u, enum arg_option o);

/* The second at which DATE (--date, or `date` when not NULL) begins in the
 * policy's time zone; now when none is given. 0 or an exit status. */
int
unit_date(struct unit *u, const char *date, uint64_t *sec);

/* Writes the buffer to standard output, or to the file of --output (whole or
 * not at all), and frees it. Gives `status`, or UNIT_MACHINE when writing
 * failed. */
int
unit_write(const struct args *args, struct buf *out, int status);

/* The form that --format asks for. */
enum unit_form { UNIT_HUMAN, UNIT_JSON, UNIT_SARIF, UNIT_GITHUB, UNIT_JUNIT };

/* Gives the form; -1 after a message when it is not in the mask `ok`. */
int
unit_form(const struct args *args, unsigned ok);

/* Whether what goes to the descriptor is coloured. */
bool
unit_colour(const struct args *args, int fd);

/* Says that the machine does not let us; gives UNIT_MACHINE. `what` is a verb,
 * err a negative errno. */
int
unit_cannot(const char *what, const char *path, int err);

#endif
