/*
 * schema, manual, completion: what is printed from the tables.
 */
#include <stdio.h>
#include <string.h>

#include "gen/commands.h"
#include "gen/unit.h"
#include "policy/keys.h"

int
command_schema(const struct args *a)
{
	struct buf out = BUF_INIT(UNIT_OUT_MOST);

	policy_schema_print(&out);
	return unit_write(a, &out, 0);
}

int
command_manual(const struct args *a)
{
	struct buf out = BUF_INIT(UNIT_OUT_MOST);

	if (!a->nword) {
		args_manual(&out);
	} else if (!strcmp(a->word[0], "language")) {
		policy_manual_print(&out);
	} else {
		fprintf(stderr, "mailreeve manual: '%s' is not `language`\n", a->word[0]);
		return UNIT_MACHINE;
	}
	return unit_write(a, &out, 0);
}

int
command_completion(const struct args *a)
{
	(void)a;
	args_completion();
	return 0;
}
