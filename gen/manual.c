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

	if (!a->nword) {
		policy_schema_print(&out);
	} else if (!strcmp(a->word[0], "included")) {
		policy_included_schema_print(&out);
	} else {
		fprintf(stderr, "mailreeve schema: there is `schema` and `schema included`, not '%s'\n",
		    a->word[0]);
		return UNIT_MACHINE;
	}
	return unit_write(a, &out, 0);
}

int
command_manual(const struct args *a)
{
	struct buf out = BUF_INIT(UNIT_OUT_MOST);

	if (!a->nword) {
		args_manual(&out);
	} else if (!strcmp(a->word[0], "language")) {
		buf_str(&out, ".\\\" Printed by `mailreeve manual language` from the rows that read the keys.\n"
		    ".TH MAILREEVE\\-POLICY 5\n.SH NAME\n"
		    "mailreeve\\-policy \\- the language of mail policies, version 1\n");
		policy_guide_print(&out);
		buf_str(&out, ".SH KEYS\n");
		policy_manual_print(&out);
		buf_str(&out, ".SH DIAGNOSTICS\nEach message bears a code;\n"
		    ".B mailreeve explain\n.I CODE\ntells what it means and the way out.\n"
		    ".SH SEE ALSO\nmailreeve(1), nft(8); the folders policies and examples\n");
	} else {
		fprintf(stderr, "mailreeve manual: there is `manual` and `manual language`, not '%s'\n", a->word[0]);
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
