/*
 * replay_flip: a replay contradicts what is wrong.
 *
 *     replay_flip POLICY FILE.nft...
 *
 * Of each region where a file is not what the policy's first point says, the witness is replayed
 * as it was told, and with the opposite told: the first agrees and the second does not. Exit
 * status 77: no namespaces here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "compile/compile.h"
#include "prove/replay.h"
#include "vm/vm.h"
#include "world/world.h"

enum { SKIP = 77, MOST = 1 << 26 };

static unsigned failed, flipped, open_ended;

static void
file(struct compile *k, const char *path)
{
	struct prove p = {.a = arena_new(), .flow = k->flow, .meant = k->meaning[0], .most = 1000};
	struct replay r = {.a = p.a, .flow = k->flow, .path = path, .now = 1};
	int outcome = prove_file(&p, path);

	if (outcome < 0) {
		printf("%s: %s\n", path, strerror(-outcome));
		failed++;
	}
	for (size_t i = 0; outcome == PROVE_DIFFERS && i < p.nregion; i++) {
		struct prove_region b = p.region[i];
		char packet[128];

		packet_write(&b.witness, packet);
		if (replay(&r, &b) != REPLAY_AGREES) {
			printf("%s: %s: %s\n", path, packet, r.why ? r.why : "does not agree");
			failed++;
		}
		if (b.unknown || b.fates & (b.fates - 1)) {
			open_ended++;
			continue;
		}
		b.fates = b.fates == 1u << VM_DROP || b.fates == 1u << VM_REJECT ? 1u << VM_PASS :
		    1u << VM_DROP;
		if (replay(&r, &b) != REPLAY_OTHERWISE) {
			printf("%s: %s: agrees with the contrary\n", path, packet);
			failed++;
		}
		flipped++;
	}
	arena_free(p.a);
}

int
main(int argc, char **argv)
{
	struct arena *a = arena_new();
	struct compile k = {.a = a, .text = text_set_new(a), .d = diags_new(a), .name = argv[1]};
	struct world world = {.dir = -1};
	struct prove p = {.a = a, .most = 1};
	int outcome;

	if (argc < 3 || world_slurp(a, argv[1], MOST, &k.bytes, &k.len) || world_open(&world, argv[1]))
		return 2;
	k.world = &world.policy;
	if (!compile_run(&k, 1u << COMPILE_READ | 1u << COMPILE_MEAN))
		return 2;
	p.flow = k.flow;
	p.meant = k.meaning[0];
	outcome = prove_file(&p, argv[2]);
	if (outcome < 0 && (p.step == PROVE_SPACE || outcome == -ENOENT)) {
		printf("no namespaces, or no nft: %s\n", strerror(-outcome));
		return SKIP;
	}
	for (int i = 2; i < argc; i++)
		file(&k, argv[i]);
	flow_free(k.flow);
	world_close(&world);
	arena_free(a);
	printf("%u witnesses replayed both ways, %u may be either; %u failed\n", flipped, open_ended, failed);
	return failed || !flipped;
}
