/*
 * read: what the readers of a dump share. Private to lib/nl.
 */
#ifndef NL_READ_H
#define NL_READ_H

#include "nl/attr.h"
#include "nl/dump.h"

/* A value or a verdict, whichever is there and asked for. 0 or -EBADMSG. */
int
read_data(struct arena *a, struct attr x, struct nl_bytes *value, struct nl_verdict *verdict);

/* A list of expressions; depth 1: inside of another. */
int
read_exprs(struct arena *a, const uint8_t *p, size_t n, unsigned depth,
    struct nl_expr **out, uint32_t *nout);

/* One expression. 0 or -EBADMSG. */
int
read_expr(struct arena *a, struct attr x, unsigned depth, struct nl_expr *e);

#endif
