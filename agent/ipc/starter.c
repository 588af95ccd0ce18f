#include "ipc/starter.h"

static const struct ipc_field arg_rows[] = {
	{.kind = IPC_TEXT, .at = offsetof(struct start_arg, text)},
};
static const struct ipc_shape arg_shape = IPC_SHAPE("argument", struct start_arg, arg_rows);

static const struct ipc_field role_rows[] = {
	{IPC_U32, offsetof(struct start_role, which)},
	{IPC_LIST, offsetof(struct start_role, arg), offsetof(struct start_role, narg), &arg_shape,
	    START_MOST_ARGS},
};

static const struct ipc_field bind_rows[] = {
	{.kind = IPC_TEXT, .at = offsetof(struct start_bind, address), .most = 64},
	{IPC_U32, offsetof(struct start_bind, port)},
};

static const struct ipc_field kill_rows[] = {
	{IPC_U32, offsetof(struct start_kill, pid)},
};

const struct ipc_shape start_ask_shape[START_NASK] = {
	[START_ROLE] = IPC_SHAPE("role", struct start_role, role_rows),
	[START_BIND] = IPC_SHAPE("bind", struct start_bind, bind_rows),
	[START_KILL] = IPC_SHAPE("kill", struct start_kill, kill_rows),
};

static const struct ipc_field done_rows[] = {
	{IPC_U32, offsetof(struct start_done, err)},
	{IPC_U32, offsetof(struct start_done, pid)},
	{.kind = IPC_TEXT, .at = offsetof(struct start_done, why)},
};

static const struct ipc_field ended_rows[] = {
	{IPC_U32, offsetof(struct start_ended, pid)},
	{IPC_U32, offsetof(struct start_ended, status)},
	{IPC_U32, offsetof(struct start_ended, signal)},
};

const struct ipc_shape start_tell_shape[START_NTELL] = {
	[START_DONE] = IPC_SHAPE("done", struct start_done, done_rows),
	[START_ENDED] = IPC_SHAPE("ended", struct start_ended, ended_rows),
};
