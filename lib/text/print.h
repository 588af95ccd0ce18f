/*
 * print: diagnostics as text with a caret, JSON, SARIF 2.1.0, or GitHub
 * workflow commands, into a buffer.
 *
 * Whether to colour is decided by the caller.
 */
#ifndef TEXT_PRINT_H
#define TEXT_PRINT_H

#include <stdbool.h>

#include "text/diag.h"

struct buf;

enum print_form {
	PRINT_HUMAN,
	PRINT_JSON,
	PRINT_SARIF,
	PRINT_GITHUB,
};

/* All diagnostics, in the order they are in. */
void
print_diags(struct buf *out, const struct diags *d, struct text_set *t,
    enum print_form form, bool colour);

/* "3 errors, 1 warning" and what was dropped, one line; nothing for none. */
void
print_summary(struct buf *out, const struct diags *d);

#endif
