#include "ipc/spawn.h"

static const struct ipc_field job_rows[] = {
	{IPC_U32, offsetof(struct spawn_job, ms)},
};
const struct ipc_shape spawn_job_shape = IPC_SHAPE("job", struct spawn_job, job_rows);

static const struct ipc_field ended_rows[] = {
	{IPC_U32, offsetof(struct spawn_ended, err)},
	{IPC_U32, offsetof(struct spawn_ended, status)},
	{IPC_U32, offsetof(struct spawn_ended, signal)},
	{IPC_U32, offsetof(struct spawn_ended, late)},
};
const struct ipc_shape spawn_ended_shape = IPC_SHAPE("ended", struct spawn_ended, ended_rows);

static const struct ipc_field names_rows[] = {
	{IPC_LIST, offsetof(struct apply_host, name), offsetof(struct apply_host, nname),
	    &apply_name_shape, APPLY_MOST_NAMES},
};
const struct ipc_shape spawn_names_shape = IPC_SHAPE("names", struct apply_host, names_rows);
