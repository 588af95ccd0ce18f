#include "ipc/doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum { MOST_FILE = 16 << 20 };

const char *const doctor_check_name[DOCTOR_NCHECK] = {
	[DOCTOR_AGENT] = "agent",
	[DOCTOR_LISTENER] = "listener",
	[DOCTOR_SPOOL] = "spool",
	[DOCTOR_CREDENTIAL] = "credential",
	[DOCTOR_FIREWALL] = "firewall",
	[DOCTOR_CLOCK] = "clock",
	[DOCTOR_NAME] = "name",
	[DOCTOR_PORT] = "port",
	[DOCTOR_TLS] = "tls",
	[DOCTOR_AUTH] = "auth",
	[DOCTOR_SENDERS] = "senders",
	[DOCTOR_ADDRESS] = "address",
	[DOCTOR_SIZE] = "size",
	[DOCTOR_CIPHERS] = "ciphers",
	[DOCTOR_DNS] = "dns",
};

const char *const doctor_verdict_name[DOCTOR_NVERDICT] = {
	[DOCTOR_PASS] = "pass",
	[DOCTOR_WARN] = "warn",
	[DOCTOR_FAIL] = "fail",
	[DOCTOR_NOT] = "not asked",
};

static const struct ipc_field finding_rows[] = {
	{IPC_U32, offsetof(struct doctor_finding, check)},
	{IPC_U32, offsetof(struct doctor_finding, verdict)},
	{.kind = IPC_TEXT, .at = offsetof(struct doctor_finding, about), .most = 256},
	{.kind = IPC_TEXT, .at = offsetof(struct doctor_finding, text), .most = DOCTOR_MOST_TEXT},
	{.kind = IPC_TEXT, .at = offsetof(struct doctor_finding, todo), .most = DOCTOR_MOST_TEXT},
	{IPC_U32, offsetof(struct doctor_finding, number)},
};
const struct ipc_shape doctor_finding_shape = IPC_SHAPE("finding", struct doctor_finding, finding_rows);

static const struct ipc_field findings_rows[] = {
	{IPC_LIST, offsetof(struct doctor_findings, finding), offsetof(struct doctor_findings, nfinding),
	    &doctor_finding_shape, DOCTOR_MOST_FINDINGS},
};
const struct ipc_shape doctor_findings_shape = IPC_SHAPE("findings", struct doctor_findings, findings_rows);

/* ---- a list that grows ------------------------------------------------------------------------ */

static void
forget(struct doctor_finding *f)
{
	free((void *)(uintptr_t)f->about);
	free((void *)(uintptr_t)f->text);
	free((void *)(uintptr_t)f->todo);
}

/* A copy of at most `most` - 1 bytes; what an answer from outside may hold beside text is written as '?'. */
static char *
copy(const char *s, size_t most)
{
	char *c = strndup(s, most - 1);

	for (char *p = c; p && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return c;
}

static void
put(struct doctor_list *l, const struct doctor_finding *f)
{
	struct doctor_finding mine = {.check = f->check, .verdict = f->verdict, .number = f->number};

	if (l->of.nfinding == DOCTOR_MOST_FINDINGS) {
		l->err = -E2BIG;
		return;
	}
	if (l->of.nfinding == l->cap) {
		uint32_t cap = l->cap ? 2 * l->cap : 32;
		struct doctor_finding *v = realloc(l->of.finding, cap * sizeof *v);

		if (!v) {
			l->err = -ENOMEM;
			return;
		}
		l->of.finding = v;
		l->cap = cap;
	}
	mine.about = copy(f->about, 256);
	mine.text = copy(f->text, DOCTOR_MOST_TEXT);
	mine.todo = copy(f->todo, DOCTOR_MOST_TEXT);
	if (!mine.about || !mine.text || !mine.todo) {
		forget(&mine);
		l->err = -ENOMEM;
		return;
	}
	l->of.finding[l->of.nfinding++] = mine;
}

void
doctor_add(struct doctor_list *l, enum doctor_check check, enum doctor_verdict verdict, const char *about,
    const char *todo, const char *fmt, ...)
{
	char text[DOCTOR_MOST_TEXT];
	struct doctor_finding f = {.check = check, .verdict = verdict, .about = about, .text = text, .todo = todo};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	put(l, &f);
}

void
doctor_ask(struct doctor_list *l, enum doctor_check check, const char *where, uint32_t port)
{
	struct doctor_finding f = {.check = check, .verdict = DOCTOR_YOURS, .about = "", .text = where, .todo = "",
	    .number = port};

	put(l, &f);
}

int
doctor_file(const struct doctor_list *l)
{
	struct buf b = BUF_INIT(MOST_FILE);
	int fd;

	ipc_pack(&b, &doctor_findings_shape, &l->of);
	fd = b.err ? b.err : ipc_file("findings", b.p ? b.p : "", b.n);
	buf_free(&b);
	return fd;
}

int
doctor_take(struct doctor_list *l, int fd)
{
	const uint8_t *bytes;
	struct doctor_findings *in;
	size_t n;
	int err = ipc_map(fd, MOST_FILE, &bytes, &n);

	if (err)
		return err;
	in = ipc_unpack(&doctor_findings_shape, bytes, n, &err);
	for (uint32_t i = 0; in && i < in->nfinding; i++)
		if (in->finding[i].check < DOCTOR_NCHECK && in->finding[i].verdict < DOCTOR_NVERDICT)
			put(l, &in->finding[i]);
	ipc_unmap(bytes, n);       /* which its texts point into */
	free(in);
	return err;
}

void
doctor_free(struct doctor_list *l)
{
	for (uint32_t i = 0; i < l->of.nfinding; i++)
		forget(&l->of.finding[i]);
	free(l->of.finding);
	*l = (struct doctor_list){0};
}
