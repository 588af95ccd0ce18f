/*
 * keys: what is printed from the key rows.
 */
#ifndef POLICY_KEYS_H
#define POLICY_KEYS_H

struct buf;

/* The JSON Schema (draft 2020-12) of the language, version 1. */
void
policy_schema_print(struct buf *out);

/* The same for a file that a policy includes, which needs no name and rules nothing. */
void
policy_included_schema_print(struct buf *out);

/* The reference part of the language's manual page, in roff (man(7)). */
void
policy_manual_print(struct buf *out);

/* The part of that page that is prose: how a policy is read as a whole, in roff. */
void
policy_guide_print(struct buf *out);

#endif
