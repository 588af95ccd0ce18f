#include "ipc/mail.h"

static const struct ipc_field policy_rows[] = {
	{IPC_TEXT, offsetof(struct mail_policy, host)},
};
static const struct ipc_field credential_rows[] = {
	{IPC_TEXT, offsetof(struct mail_credential, name)},
	{IPC_U32, offsetof(struct mail_credential, gone)},
	{IPC_TEXT, offsetof(struct mail_credential, text)},
};
static const struct ipc_field names_rows[] = {
	{IPC_LIST, offsetof(struct apply_host, name), offsetof(struct apply_host, nname),
	    &apply_name_shape, APPLY_MOST_NAMES},
};
static const struct ipc_field taken_rows[] = {
	{IPC_U32, offsetof(struct mail_taken, err)},
	{IPC_TEXT, offsetof(struct mail_taken, text)},
};
static const struct ipc_field count_rows[] = {
	{IPC_TEXT, offsetof(struct mail_count, name), .most = 256},
	{IPC_U64, offsetof(struct mail_count, value)},
};
static const struct ipc_shape count_shape = IPC_SHAPE("count", struct mail_count, count_rows);
static const struct ipc_field counted_rows[] = {
	{IPC_LIST, offsetof(struct mail_counted, count), offsetof(struct mail_counted, ncount), &count_shape,
	    MAIL_MOST_COUNTS},
	{IPC_TEXT, offsetof(struct mail_counted, text)},
};

const struct ipc_shape mail_ask_shape[MAIL_NASK] = {
	[MAIL_POLICY] = IPC_SHAPE("policy", struct mail_policy, policy_rows),
	[MAIL_CREDENTIAL] = IPC_SHAPE("credential", struct mail_credential, credential_rows),
	[MAIL_NAMES] = IPC_SHAPE("names", struct apply_host, names_rows),
};

const struct ipc_shape mail_tell_shape[MAIL_NTELL] = {
	[MAIL_TAKEN] = IPC_SHAPE("taken", struct mail_taken, taken_rows),
	[MAIL_WANT] = IPC_SHAPE("want", struct apply_host, names_rows),
	[MAIL_COUNTED] = IPC_SHAPE("counted", struct mail_counted, counted_rows),
};
