#include "ipc/apply.h"

#include <string.h>

#include "base/hash.h"

uint64_t
apply_number(const struct apply_name *n)
{
	uint64_t h;

	if (n->value != UINT64_MAX)
		return n->value;
	h = hash_bytes(0, n->name, strlen(n->name));
	return n->kind == APPLY_USER ? 0xf0000000u | (h & 0xfffffff) : h | 1ull << 63;
}

static const struct ipc_field name_rows[] = {
	{IPC_U32, offsetof(struct apply_name, kind)},
	{IPC_TEXT, offsetof(struct apply_name, name)},
	{IPC_U64, offsetof(struct apply_name, value)},
};
const struct ipc_shape apply_name_shape = IPC_SHAPE("name", struct apply_name, name_rows);

#define NAMES(type) \
	{IPC_LIST, offsetof(type, name), offsetof(type, nname), &apply_name_shape, APPLY_MOST_NAMES}

static const struct ipc_field do_rows[] = {
	{IPC_U32, offsetof(struct apply_do, gen)},
	NAMES(struct apply_do),
};
static const struct ipc_field host_rows[] = {
	NAMES(struct apply_host),
};
static const struct ipc_field block_rows[] = {
	{IPC_TEXT, offsetof(struct apply_block, address)},
	{IPC_U64, offsetof(struct apply_block, seconds)},
};
static const struct ipc_field pause_rows[] = {
	{IPC_U64, offsetof(struct apply_pause, seconds)},
};

const struct ipc_shape apply_ask_shape[APPLY_NASK] = {
	[APPLY_DO] = IPC_SHAPE("do", struct apply_do, do_rows),
	[APPLY_HOST] = IPC_SHAPE("host", struct apply_host, host_rows),
	[APPLY_BLOCK] = IPC_SHAPE("block", struct apply_block, block_rows),
	[APPLY_PAUSE] = IPC_SHAPE("pause", struct apply_pause, pause_rows),
};

static const struct ipc_field done_rows[] = {
	{IPC_U32, offsetof(struct apply_done, err)},
	{IPC_U32, offsetof(struct apply_done, gen)},
	{IPC_TEXT, offsetof(struct apply_done, text)},
	{IPC_U64, offsetof(struct apply_done, stage_us)},
	{IPC_U64, offsetof(struct apply_done, swap_us)},
	{IPC_U32, offsetof(struct apply_done, changes)},
	{IPC_U32, offsetof(struct apply_done, tries)},
};
static const struct ipc_field recorded_rows[] = {
	{IPC_U32, offsetof(struct apply_recorded, err)},
	{IPC_U32, offsetof(struct apply_recorded, gen)},
	{IPC_TEXT, offsetof(struct apply_recorded, text)},
};
static const struct ipc_field counter_rows[] = {
	{IPC_TEXT, offsetof(struct apply_counter, name)},
	{IPC_U64, offsetof(struct apply_counter, packets)},
	{IPC_U64, offsetof(struct apply_counter, bytes)},
};
static const struct ipc_shape counter_shape =
    IPC_SHAPE("counter", struct apply_counter, counter_rows);
static const struct ipc_field counted_rows[] = {
	{IPC_U32, offsetof(struct apply_counted, err)},
	{IPC_LIST, offsetof(struct apply_counted, counter),
	    offsetof(struct apply_counted, ncounter), &counter_shape, APPLY_MOST_COUNTERS},
	{IPC_TEXT, offsetof(struct apply_counted, text)},
};
static const struct ipc_field checked_rows[] = {
	{IPC_U32, offsetof(struct apply_checked, err)},
	{IPC_U32, offsetof(struct apply_checked, gen)},
	{IPC_U32, offsetof(struct apply_checked, in_force)},
	{IPC_U32, offsetof(struct apply_checked, owner)},
	{IPC_U32, offsetof(struct apply_checked, persist)},
	{IPC_BYTES, offsetof(struct apply_checked, digest),
	    offsetof(struct apply_checked, ndigest), NULL, APPLY_DIGEST},
	{IPC_TEXT, offsetof(struct apply_checked, features)},
	{IPC_TEXT, offsetof(struct apply_checked, text)},
	{IPC_U64, offsetof(struct apply_checked, polls)},
	{IPC_U64, offsetof(struct apply_checked, heals)},
};
static const struct ipc_field event_rows[] = {
	{IPC_U32, offsetof(struct apply_event, kind)},
	{IPC_U32, offsetof(struct apply_event, gen)},
	{IPC_U32, offsetof(struct apply_event, pid)},
	{IPC_TEXT, offsetof(struct apply_event, program)},
	{IPC_U32, offsetof(struct apply_event, uid)},
	{IPC_TEXT, offsetof(struct apply_event, exe)},
	{IPC_TEXT, offsetof(struct apply_event, what)},
	{IPC_U64, offsetof(struct apply_event, us)},
	{IPC_U32, offsetof(struct apply_event, times)},
};

const struct ipc_shape apply_tell_shape[APPLY_NTELL] = {
	[APPLY_DONE] = IPC_SHAPE("done", struct apply_done, done_rows),
	[APPLY_RECORDED] = IPC_SHAPE("recorded", struct apply_recorded, recorded_rows),
	[APPLY_COUNTED] = IPC_SHAPE("counted", struct apply_counted, counted_rows),
	[APPLY_CHECKED] = IPC_SHAPE("checked", struct apply_checked, checked_rows),
	[APPLY_EVENT] = IPC_SHAPE("event", struct apply_event, event_rows),
};
