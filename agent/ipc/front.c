#include "ipc/front.h"

static const struct ipc_field arrive_rows[] = {
	{IPC_U64, offsetof(struct front_arrive, token)},
	{IPC_U64, offsetof(struct front_arrive, size)},
	{IPC_U32, offsetof(struct front_arrive, later)},
};
static const struct ipc_field rcpt_rows[] = {
	{IPC_TEXT, offsetof(struct front_rcpt, address)},
	{IPC_TEXT, offsetof(struct front_rcpt, relay)},
	{IPC_TEXT, offsetof(struct front_rcpt, notify)},
	{IPC_TEXT, offsetof(struct front_rcpt, orcpt)},
};
static const struct ipc_shape rcpt_shape = IPC_SHAPE("recipient", struct front_rcpt, rcpt_rows);
static const struct ipc_field seal_rows[] = {
	{IPC_U64, offsetof(struct front_seal, token)},
	{IPC_U64, offsetof(struct front_seal, size)},
	{IPC_U32, offsetof(struct front_seal, through)},
	{IPC_TEXT, offsetof(struct front_seal, application)},
	{IPC_TEXT, offsetof(struct front_seal, unit)},
	{IPC_U32, offsetof(struct front_seal, uid)},
	{IPC_TEXT, offsetof(struct front_seal, from)},
	{IPC_TEXT, offsetof(struct front_seal, envid)},
	{IPC_TEXT, offsetof(struct front_seal, ret)},
	{IPC_U32, offsetof(struct front_seal, eight)},
	{IPC_U32, offsetof(struct front_seal, utf8)},
	{IPC_TEXT, offsetof(struct front_seal, note)},
	{IPC_LIST, offsetof(struct front_seal, rcpt), offsetof(struct front_seal, nrcpt), &rcpt_shape,
	    FRONT_MOST_RCPT},
	{IPC_U32, offsetof(struct front_seal, more)},
	{IPC_U64, offsetof(struct front_seal, not_before)},
	{IPC_BYTES, offsetof(struct front_seal, content), offsetof(struct front_seal, ncontent), NULL,
	    FRONT_MOST_CONTENT},
};
static const struct ipc_field drop_rows[] = {
	{IPC_U64, offsetof(struct front_drop, token)},
};
static const struct ipc_field keep_rows[] = {
	{IPC_TEXT, offsetof(struct front_keep, name)},
	{IPC_BYTES, offsetof(struct front_keep, bytes), offsetof(struct front_keep, n), NULL,
	    FRONT_MOST_KEEP},
	{IPC_U32, offsetof(struct front_keep, more)},
};
static const struct ipc_field resolve_rows[] = {
	{IPC_U64, offsetof(struct front_resolve, token)},
	{IPC_TEXT, offsetof(struct front_resolve, domain), .most = 256},
};

const struct ipc_shape front_ask_shape[FRONT_NASK] = {
	[FRONT_ARRIVE] = IPC_SHAPE("arrive", struct front_arrive, arrive_rows),
	[FRONT_SEAL] = IPC_SHAPE("seal", struct front_seal, seal_rows),
	[FRONT_DROP] = IPC_SHAPE("drop", struct front_drop, drop_rows),
	[FRONT_KEEP] = IPC_SHAPE("keep", struct front_keep, keep_rows),
	[FRONT_RESOLVE] = IPC_SHAPE("resolve", struct front_resolve, resolve_rows),
};

static const struct ipc_field arrived_rows[] = {
	{IPC_U64, offsetof(struct front_arrived, token)},
	{IPC_U64, offsetof(struct front_arrived, id)},
	{IPC_U64, offsetof(struct front_arrived, offset)},
	{IPC_U32, offsetof(struct front_arrived, err)},
	{IPC_U32, offsetof(struct front_arrived, later)},
};
static const struct ipc_field settled_rows[] = {
	{IPC_U64, offsetof(struct front_settled, token)},
	{IPC_U64, offsetof(struct front_settled, id)},
	{IPC_U32, offsetof(struct front_settled, code)},
	{IPC_TEXT, offsetof(struct front_settled, enhanced)},
	{IPC_TEXT, offsetof(struct front_settled, text)},
	{IPC_U32, offsetof(struct front_settled, delivered)},
};
static const struct ipc_field resolved_rows[] = {
	{IPC_U64, offsetof(struct front_resolved, token)},
	{IPC_U32, offsetof(struct front_resolved, answer)},
};

const struct ipc_shape front_tell_shape[FRONT_NTELL] = {
	[FRONT_ARRIVED] = IPC_SHAPE("arrived", struct front_arrived, arrived_rows),
	[FRONT_SETTLED] = IPC_SHAPE("settled", struct front_settled, settled_rows),
	[FRONT_KEPT] = IPC_SHAPE("kept", struct front_keep, keep_rows),
	[FRONT_RESOLVED] = IPC_SHAPE("resolved", struct front_resolved, resolved_rows),
};
