/* Prints the JSON Schema of the policy language, or of included files, from the same rows that read
 * a policy. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "policy/keys.h"

int
main(int argc, char **argv)
{
	struct buf out = BUF_INIT(4 * 1024 * 1024);

	if (argc > 1 && !strcmp(argv[1], "included"))
		policy_included_schema_print(&out);
	else
		policy_schema_print(&out);
	if (out.err || fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout))
		return 2;
	buf_free(&out);
	return 0;
}
