/*
 * diff_rules: differences where at least one side is rules, not a policy.
 */
#ifndef GEN_DIFF_RULES_H
#define GEN_DIFF_RULES_H

#include <stdbool.h>

struct args;

enum diff_side {
	DIFF_POLICY,
	DIFF_PLAN,                 /* a plan file, by its first bytes */
	DIFF_FILE,                 /* nft text: a name that ends in .nft */
	DIFF_LIVE,                 /* the word `live` */
};

/* What a word of the command line is. */
enum diff_side
diff_side(const char *word);

/* Prints the differences of both words; one of them is no policy. An exit status. */
int
diff_rules(const struct args *a, enum diff_side was, enum diff_side now, bool json);

#endif
