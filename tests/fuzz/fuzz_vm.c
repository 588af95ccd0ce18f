/*
 * Any bytes as the messages of a dump, executed: whatever a ruleset is, it has a
 * diagram, or the limit of nodes is told; each of its leaves can be printed.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "nl/dump.h"
#include "vm/vm.h"

enum { NODES = 20000, HEAD = 16 };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
leaf(void *arg, uint32_t l, struct buf *out)
{
	const struct vm_leaf *x = vm_leaf(arg, l);

	if (!x->fates || (x->cause && !x->unknown))
		abort();
	vm_leaf_text(out, x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = BUF_INIT(1 << 24);
	struct arena *a = arena_new();
	struct fdd *f = fdd_new(NODES);
	struct nl_dump d = {0};
	uint32_t n;
	struct vm *v;

	for (; size >= HEAD; data += n, size -= n) {
		memcpy(&n, data, sizeof n);
		if (n < HEAD || n > size)
			break;
		nl_dump_add(a, &d, data, n);
	}
	v = vm_new(f, &d, NULL);
	fdd_dump(f, vm_read(v), &out, leaf, v);
	vm_free(v);
	buf_free(&out);
	fdd_free(f);
	arena_free(a);
	return 0;
}
