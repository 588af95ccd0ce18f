/*
 * Any bytes as the messages of a dump: read or refused, and what was read can be
 * printed. A set's element has a key as long as the set says.
 */
#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "nl/batch.h"
#include "nl/dump.h"
#include "nl/xtread.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
print(const struct nl_dump *d)
{
	struct buf b = BUF_INIT(1 << 20);

	for (uint32_t i = 0; i < d->nrule; i++)
		for (uint32_t k = 0; k < d->rule[i].nexpr; k++) {
			nl_expr_text(&b, &d->rule[i].expr[k]);
			nl_expr_words(&b, &d->rule[i].expr[k]);
		}
	for (uint32_t i = 0; i < d->nset; i++)
		for (uint32_t k = 0; k < d->set[i].nelem; k++) {
			const struct nl_elem *e = &d->set[i].elem[k];

			if (!e->key != e->catchall)
				abort();
			if (e->key)
				buf_add(&b, e->key, d->set[i].key_len);
			if (e->more)
				nl_verdict_text(&b, e->more->verdict);
		}
	buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	struct nl_dump d = {0};
	uint8_t digest[NL_DIGEST];
	struct nl_salt salt;
	struct nlmsghdr h;

	while (size >= sizeof h) {
		uint8_t *message;

		memcpy(&h, data, sizeof h);
		if (h.nlmsg_len < sizeof h || h.nlmsg_len > size)
			break;
		message = malloc(h.nlmsg_len); /* of its own: reading behind it is seen */
		if (!message)
			abort();
		memcpy(message, data, h.nlmsg_len);
		nl_dump_add(a, &d, message, h.nlmsg_len);
		free(message);
		data += h.nlmsg_len;
		size -= h.nlmsg_len;
	}
	print(&d);
	nl_stamp(&d, "mailreeve", digest, &salt);
	arena_free(a);
	return 0;
}
