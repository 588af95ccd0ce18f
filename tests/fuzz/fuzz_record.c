/*
 * Any bytes as the record of a dump: refused, or a dump whose sets and rules can be printed,
 * and which differs from itself in nothing.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "flow/flow.h"
#include "nl/dump.h"
#include "nl/record.h"
#include "prove/prove.h"

enum { NODES = 20000 };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = BUF_INIT(1 << 20);
	struct arena *a = arena_new();
	struct nl_dump d = {0};
	uint8_t *copy = malloc(size + 1);
	int err;

	if (!copy)
		abort();
	memcpy(copy, data, size);
	err = nl_record_read(a, copy, size, &d);
	free(copy);                /* what was read stands without it */
	if (!err) {
		struct prove p = {.a = a, .flow = flow_new(NODES), .most = 10};
		int outcome;

		for (uint32_t i = 0; i < d.nrule; i++)
			for (uint32_t k = 0; k < d.rule[i].nexpr; k++)
				nl_expr_text(&out, &d.rule[i].expr[k]);
		for (uint32_t i = 0; i < d.nset; i++)
			for (uint32_t k = 0; k < d.set[i].nelem; k++)
				if (d.set[i].elem[k].key)
					buf_add(&out, d.set[i].elem[k].key, d.set[i].key_len);
		outcome = prove_dumps(&p, &d, NULL, &d, NULL);
		if (outcome != PROVE_EQUAL && outcome >= 0)
			abort();
		flow_free(p.flow);
	}
	buf_free(&out);
	arena_free(a);
	return 0;
}
