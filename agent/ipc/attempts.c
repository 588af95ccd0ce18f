#include "ipc/attempts.h"

static const struct ipc_field one_rows[] = {
	{IPC_U64, offsetof(struct attempts_one, when)},
	{IPC_U64, offsetof(struct attempts_one, count)},
	{IPC_TEXT, offsetof(struct attempts_one, statement)},
	{IPC_U32, offsetof(struct attempts_one, hook)},
	{IPC_U32, offsetof(struct attempts_one, family)},
	{IPC_U32, offsetof(struct attempts_one, proto)},
	{IPC_TEXT, offsetof(struct attempts_one, source)},
	{IPC_TEXT, offsetof(struct attempts_one, destination)},
	{IPC_U32, offsetof(struct attempts_one, sport)},
	{IPC_U32, offsetof(struct attempts_one, dport)},
	{IPC_TEXT, offsetof(struct attempts_one, in)},
	{IPC_TEXT, offsetof(struct attempts_one, out)},
	{IPC_U32, offsetof(struct attempts_one, uid)},
	{IPC_TEXT, offsetof(struct attempts_one, user)},
	{IPC_TEXT, offsetof(struct attempts_one, unit)},
	{IPC_U32, offsetof(struct attempts_one, pid)},
	{IPC_TEXT, offsetof(struct attempts_one, program)},
	{IPC_TEXT, offsetof(struct attempts_one, exe)},
	{IPC_U32, offsetof(struct attempts_one, sure)},
	{IPC_TEXT, offsetof(struct attempts_one, among)},
};
static const struct ipc_field lost_rows[] = {
	{IPC_U64, offsetof(struct attempts_lost, over_rate)},
	{IPC_U64, offsetof(struct attempts_lost, lost)},
};

const struct ipc_shape attempts_shape[ATTEMPTS_NTELL] = {
	[ATTEMPTS_ONE] = IPC_SHAPE("attempt", struct attempts_one, one_rows),
	[ATTEMPTS_LOST] = IPC_SHAPE("lost", struct attempts_lost, lost_rows),
};
