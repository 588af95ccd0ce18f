/*
 * lint: what the files of lint share.
 */
#ifndef LOOK_LINT_H
#define LOOK_LINT_H

#include "look/look.h"
#include "text/diag.h"

struct arena;

struct lint {
	struct arena *m;
	struct flow *f;
	const struct policy *p;
	const struct look_lint_options *o;
	struct diags *d;
	bool notes;                /* this round is of the notes, else of the warnings */
	unsigned told[DIAG_NCODE];
	struct diag *last[DIAG_NCODE];
};

/* Adds a diagnostic when its severity is that of this round; NULL when it is
 * not, or when there were LINT_MOST of its code already: these are counted. */
struct diag *
lint_say(struct lint *l, enum diag_code code, struct text_span at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Sets the hint of what lint_say gave; NULL is fine. */
void
lint_hint(struct lint *l, struct diag *g, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Rules on relays, applications and their registrations. */
void
lint_relays(struct lint *l);
void
lint_applications(struct lint *l);

#endif
