/* Prints the JSON Schema of the policy language, from the same rows that read
 * a policy. */
#include <stdio.h>

#include "base/buf.h"
#include "policy/keys.h"

int
main(void)
{
	struct buf out = BUF_INIT(4 * 1024 * 1024);

	policy_schema_print(&out);
	if (out.err || fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout))
		return 2;
	buf_free(&out);
	return 0;
}
