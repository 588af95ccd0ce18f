#include "ipc/ctl.h"

static const struct ipc_field ask_rows[] = {
	{IPC_U32, offsetof(struct ctl_ask, flags)},
	{IPC_U32, offsetof(struct ctl_ask, number)},
	{IPC_U64, offsetof(struct ctl_ask, seconds)},
	{.kind = IPC_TEXT, .at = offsetof(struct ctl_ask, address), .most = 255},
	{.kind = IPC_TEXT, .at = offsetof(struct ctl_ask, connection), .most = 200},
};
const struct ipc_shape ctl_ask_shape = IPC_SHAPE("request", struct ctl_ask, ask_rows);

static const struct ipc_field text_rows[] = {
	{IPC_BYTES, offsetof(struct ctl_text, bytes), offsetof(struct ctl_text, n), NULL,
	    CTL_MOST_TEXT},
};
const struct ipc_shape ctl_text_shape = IPC_SHAPE("text", struct ctl_text, text_rows);

static const struct ipc_field end_rows[] = {
	{IPC_U32, offsetof(struct ctl_end, status)},
};
const struct ipc_shape ctl_end_shape = IPC_SHAPE("end", struct ctl_end, end_rows);
