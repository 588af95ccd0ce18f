#include "ipc/compile.h"

#define NAMES(type) \
	{IPC_LIST, offsetof(type, name), offsetof(type, nname), &apply_name_shape, APPLY_MOST_NAMES}

static const struct ipc_field job_rows[] = {
	{IPC_U32, offsetof(struct compile_job, want)},
	{IPC_U32, offsetof(struct compile_job, fds)},
	{IPC_TEXT, offsetof(struct compile_job, path)},
	{IPC_TEXT, offsetof(struct compile_job, point)},
	{IPC_TEXT, offsetof(struct compile_job, connection)},
	{IPC_U32, offsetof(struct compile_job, most)},
	NAMES(struct compile_job),
};
const struct ipc_shape compile_job_shape = IPC_SHAPE("job", struct compile_job, job_rows);

static const struct ipc_field text_rows[] = {
	{.kind = IPC_TEXT, .at = offsetof(struct compile_text, text)},
};
static const struct ipc_shape text_shape = IPC_SHAPE("text", struct compile_text, text_rows);

#define TEXTS(what, n) \
	{IPC_LIST, offsetof(struct compile_result, what), offsetof(struct compile_result, n), &text_shape, \
	    COMPILE_MOST_MAIL}

static const struct ipc_field result_rows[] = {
	{IPC_U32, offsetof(struct compile_result, fds)},
	{IPC_U32, offsetof(struct compile_result, errors)},
	{IPC_U32, offsetof(struct compile_result, warnings)},
	{IPC_U32, offsetof(struct compile_result, err)},
	{IPC_U32, offsetof(struct compile_result, differences)},
	{IPC_U32, offsetof(struct compile_result, unknown)},
	{IPC_U32, offsetof(struct compile_result, more)},
	{IPC_U32, offsetof(struct compile_result, observe)},
	{IPC_BYTES, offsetof(struct compile_result, digest),
	    offsetof(struct compile_result, ndigest), NULL, APPLY_DIGEST},
	{IPC_TEXT, offsetof(struct compile_result, policy)},
	{IPC_TEXT, offsetof(struct compile_result, point)},
	{IPC_TEXT, offsetof(struct compile_result, cut)},
	{IPC_TEXT, offsetof(struct compile_result, summary)},
	NAMES(struct compile_result),
	{IPC_U32, offsetof(struct compile_result, submission)},
	TEXTS(listen, nlisten),
	TEXTS(credential, ncredential),
	TEXTS(ca, nca),
};
const struct ipc_shape compile_result_shape =
    IPC_SHAPE("result", struct compile_result, result_rows);
