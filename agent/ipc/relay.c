#include "ipc/relay.h"

static const struct ipc_field rcpt_rows[] = {
	{IPC_TEXT, offsetof(struct relay_rcpt, address)},
	{IPC_TEXT, offsetof(struct relay_rcpt, notify)},
	{IPC_TEXT, offsetof(struct relay_rcpt, orcpt)},
	{IPC_U32, offsetof(struct relay_rcpt, auth)},
};
static const struct ipc_shape rcpt_shape = IPC_SHAPE("recipient", struct relay_rcpt, rcpt_rows);
static const struct ipc_field send_rows[] = {
	{IPC_U64, offsetof(struct relay_send, claim)},
	{IPC_U64, offsetof(struct relay_send, id)},
	{IPC_TEXT, offsetof(struct relay_send, relay)},
	{IPC_TEXT, offsetof(struct relay_send, application)},
	{IPC_TEXT, offsetof(struct relay_send, from)},
	{IPC_TEXT, offsetof(struct relay_send, envid)},
	{IPC_TEXT, offsetof(struct relay_send, ret)},
	{IPC_U64, offsetof(struct relay_send, offset)},
	{IPC_U64, offsetof(struct relay_send, size)},
	{IPC_U32, offsetof(struct relay_send, eight)},
	{IPC_U32, offsetof(struct relay_send, utf8)},
	{IPC_LIST, offsetof(struct relay_send, rcpt), offsetof(struct relay_send, nrcpt), &rcpt_shape,
	    RELAY_MOST_RCPT},
	{IPC_BYTES, offsetof(struct relay_send, content), offsetof(struct relay_send, ncontent), NULL,
	    RELAY_MOST_CONTENT},
};
static const struct ipc_field cancel_rows[] = {
	{IPC_U64, offsetof(struct relay_cancel, claim)},
};
static const struct ipc_field resolve_rows[] = {
	{IPC_U64, offsetof(struct relay_resolve, token)},
	{IPC_TEXT, offsetof(struct relay_resolve, domain)},
};
static const struct ipc_field again_rows[] = {
	{IPC_TEXT, offsetof(struct relay_again, relay)},
};

const struct ipc_shape relay_ask_shape[RELAY_NASK] = {
	[RELAY_SEND] = IPC_SHAPE("send", struct relay_send, send_rows),
	[RELAY_CANCEL] = IPC_SHAPE("cancel", struct relay_cancel, cancel_rows),
	[RELAY_RESOLVE] = IPC_SHAPE("resolve", struct relay_resolve, resolve_rows),
	[RELAY_AGAIN] = IPC_SHAPE("again", struct relay_again, again_rows),
};

static const struct ipc_field fate_rows[] = {
	{IPC_U32, offsetof(struct relay_fate_of, fate)},
	{IPC_U32, offsetof(struct relay_fate_of, code)},
	{.kind = IPC_TEXT, .at = offsetof(struct relay_fate_of, text), .most = 512},
};
static const struct ipc_shape fate_shape = IPC_SHAPE("fate", struct relay_fate_of, fate_rows);
static const struct ipc_field result_rows[] = {
	{IPC_U64, offsetof(struct relay_result, claim)},
	{IPC_U32, offsetof(struct relay_result, connected)},
	{IPC_U32, offsetof(struct relay_result, canceled)},
	{IPC_U32, offsetof(struct relay_result, busy)},
	{IPC_U32, offsetof(struct relay_result, doubt)},
	{IPC_U32, offsetof(struct relay_result, dsn)},
	{IPC_TEXT, offsetof(struct relay_result, peer)},
	{IPC_TEXT, offsetof(struct relay_result, tls)},
	{IPC_TEXT, offsetof(struct relay_result, cipher)},
	{IPC_LIST, offsetof(struct relay_result, rcpt), offsetof(struct relay_result, nrcpt),
	    &fate_shape, RELAY_MOST_RCPT},
};
static const struct ipc_field resolved_rows[] = {
	{IPC_U64, offsetof(struct relay_resolved, token)},
	{IPC_U32, offsetof(struct relay_resolved, answer)},
};
static const struct ipc_field state_rows[] = {
	{IPC_TEXT, offsetof(struct relay_state, relay)},
	{IPC_U32, offsetof(struct relay_state, well)},
	{IPC_U32, offsetof(struct relay_state, alarm)},
	{IPC_TEXT, offsetof(struct relay_state, text)},
	{IPC_U32, offsetof(struct relay_state, connections)},
};

const struct ipc_shape relay_tell_shape[RELAY_NTELL] = {
	[RELAY_RESULT] = IPC_SHAPE("result", struct relay_result, result_rows),
	[RELAY_RESOLVED] = IPC_SHAPE("resolved", struct relay_resolved, resolved_rows),
	[RELAY_STATE] = IPC_SHAPE("state", struct relay_state, state_rows),
};
