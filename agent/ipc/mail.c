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
static const struct ipc_field id_rows[] = {
	{.kind = IPC_TEXT, .at = offsetof(struct mail_id, text), .most = 32},
};
static const struct ipc_shape id_shape = IPC_SHAPE("id", struct mail_id, id_rows);
static const struct ipc_field queue_rows[] = {
	{IPC_U32, offsetof(struct mail_queue, op)},
	{IPC_LIST, offsetof(struct mail_queue, id), offsetof(struct mail_queue, nid), &id_shape,
	    MAIL_MOST_IDS},
	{IPC_TEXT, offsetof(struct mail_queue, relay)},
	{.kind = IPC_TEXT, .at = offsetof(struct mail_queue, why), .most = 512},
	{IPC_U32, offsetof(struct mail_queue, json)},
	{IPC_U32, offsetof(struct mail_queue, most)},
};
static const struct ipc_field answer_rows[] = {
	{IPC_U32, offsetof(struct mail_answer, err)},
	{IPC_TEXT, offsetof(struct mail_answer, text)},
	{IPC_U32, offsetof(struct mail_answer, done)},
	{IPC_U32, offsetof(struct mail_answer, file)},
};
static const struct ipc_field relay_rows[] = {
	{.kind = IPC_TEXT, .at = offsetof(struct mail_relay_status, relay), .most = 128},
	{IPC_U32, offsetof(struct mail_relay_status, pending)},
	{IPC_U32, offsetof(struct mail_relay_status, sending)},
	{IPC_U32, offsetof(struct mail_relay_status, held)},
	{IPC_U64, offsetof(struct mail_relay_status, oldest)},
	{IPC_U32, offsetof(struct mail_relay_status, well)},
	{IPC_U32, offsetof(struct mail_relay_status, alarm)},
	{IPC_U32, offsetof(struct mail_relay_status, down)},
	{IPC_U32, offsetof(struct mail_relay_status, connections)},
	{.kind = IPC_TEXT, .at = offsetof(struct mail_relay_status, text), .most = MAIL_MOST_TROUBLE},
};
static const struct ipc_shape relay_shape = IPC_SHAPE("relay", struct mail_relay_status, relay_rows);
static const struct ipc_field status_rows[] = {
	{IPC_U32, offsetof(struct mail_status, messages)},
	{IPC_U64, offsetof(struct mail_status, bytes)},
	{IPC_U64, offsetof(struct mail_status, oldest)},
	{IPC_U32, offsetof(struct mail_status, arriving)},
	{IPC_U32, offsetof(struct mail_status, sending)},
	{IPC_U32, offsetof(struct mail_status, held)},
	{IPC_U32, offsetof(struct mail_status, damaged)},
	{IPC_U32, offsetof(struct mail_status, unreadable)},
	{IPC_U32, offsetof(struct mail_status, sick)},
	{IPC_U64, offsetof(struct mail_status, accepted)},
	{IPC_U64, offsetof(struct mail_status, through)},
	{IPC_U64, offsetof(struct mail_status, refused)},
	{IPC_U64, offsetof(struct mail_status, failed)},
	{IPC_U64, offsetof(struct mail_status, delivered)},
	{IPC_U64, offsetof(struct mail_status, deferred)},
	{IPC_U64, offsetof(struct mail_status, bounced)},
	{IPC_U64, offsetof(struct mail_status, reports)},
	{IPC_U64, offsetof(struct mail_status, reports_left_out)},
	{IPC_U64, offsetof(struct mail_status, commits)},
	{IPC_U64, offsetof(struct mail_status, committed)},
	{IPC_U64, offsetof(struct mail_status, doubts)},
	{IPC_LIST, offsetof(struct mail_status, relay), offsetof(struct mail_status, nrelay),
	    &relay_shape, MAIL_MOST_RELAYS},
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
static const struct ipc_field probe_rows[] = {
	{IPC_TEXT, offsetof(struct mail_probe, relay)},
	{IPC_U64, offsetof(struct mail_probe, ms)},
};
static const struct ipc_field probed_rows[] = {
	{IPC_U32, offsetof(struct mail_probed, err)},
	{IPC_TEXT, offsetof(struct mail_probed, text)},
};

const struct ipc_shape mail_ask_shape[MAIL_NASK] = {
	[MAIL_POLICY] = IPC_SHAPE("policy", struct mail_policy, policy_rows),
	[MAIL_CREDENTIAL] = IPC_SHAPE("credential", struct mail_credential, credential_rows),
	[MAIL_NAMES] = IPC_SHAPE("names", struct apply_host, names_rows),
	[MAIL_QUEUE] = IPC_SHAPE("queue", struct mail_queue, queue_rows),
	[MAIL_PROBE] = IPC_SHAPE("probe", struct mail_probe, probe_rows),
};

const struct ipc_shape mail_tell_shape[MAIL_NTELL] = {
	[MAIL_TAKEN] = IPC_SHAPE("taken", struct mail_taken, taken_rows),
	[MAIL_ANSWER] = IPC_SHAPE("answer", struct mail_answer, answer_rows),
	[MAIL_STATUS_IS] = IPC_SHAPE("status", struct mail_status, status_rows),
	[MAIL_WANT] = IPC_SHAPE("want", struct apply_host, names_rows),
	[MAIL_COUNTED] = IPC_SHAPE("counted", struct mail_counted, counted_rows),
	[MAIL_PROBED] = IPC_SHAPE("probed", struct mail_probed, probed_rows),
};
