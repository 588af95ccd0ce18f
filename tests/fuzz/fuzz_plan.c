/*
 * Any bytes as a plan file, with the digest put right, so that what is behind it is
 * reached.
 *
 * What reads writes back to the same bytes, gives every packet an answer, and prints as
 * text and JSON.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "gen/out/out.h"
#include "plan/bytes.h"
#include "plan/plan.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool x)
{
	if (!x)
		abort();
}

static void
use(struct arena *a, const struct plan *p, const uint8_t *bytes, size_t n)
{
	struct buf file = BUF_INIT(1 << 24), text = BUF_INIT(1 << 24);
	struct packet pk = {.proto = 6, .syn = true, .user = "root", .unit = "a.service"};
	struct plan_answer x;

	plan_write(&file, p);
	must(!file.err && file.n == n && !memcmp(file.p, bytes, n));
	for (int hook = 0; hook < 3; hook++)
		for (int family = 1; family < 3; family++) {
			pk.hook = (enum packet_hook)hook;
			pk.src.family = pk.dst.family = (enum addr_family)family;
			pk.src.n = pk.dst.n = 0x0a000001;
			pk.dport = 25;
			plan_eval(p, &pk, &x);
			must(x.fate <= PLAN_REDIRECT);
		}
	out_nft(&text, p, NULL);
	(void)out_json(&text, p, NULL, diags_new(a));
	buf_free(&text);
	buf_free(&file);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	uint8_t *copy = malloc(size ? size : 1);
	struct plan *p = NULL;

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	plan_resign(copy, size);
	if (!plan_read(a, copy, size, &p))
		use(a, p, copy, size);
	free(copy);
	arena_free(a);
	return 0;
}
