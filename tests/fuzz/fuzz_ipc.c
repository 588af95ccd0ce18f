/*
 * Any bytes as the body of any message between the agent's processes. The first byte chooses the
 * shape; what unpacks packs to the same bytes again, and every text in it ends.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "ipc/apply.h"
#include "ipc/attempts.h"
#include "ipc/compile.h"
#include "ipc/ctl.h"
#include "ipc/spawn.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ipc_shape *const shape[] = {
	&ctl_ask_shape, &ctl_text_shape, &ctl_end_shape,
	&apply_ask_shape[APPLY_DO], &apply_ask_shape[APPLY_HOST], &apply_ask_shape[APPLY_BLOCK],
	&apply_ask_shape[APPLY_PAUSE], &apply_tell_shape[APPLY_DONE], &apply_tell_shape[APPLY_RECORDED],
	&apply_tell_shape[APPLY_COUNTED], &apply_tell_shape[APPLY_CHECKED],
	&apply_tell_shape[APPLY_EVENT], &attempts_shape[ATTEMPTS_ONE], &attempts_shape[ATTEMPTS_LOST],
	&compile_job_shape, &compile_result_shape, &spawn_job_shape, &spawn_ended_shape,
	&spawn_names_shape,
};
enum { NSHAPE = sizeof shape / sizeof shape[0] };

/* Reads every byte that the body leads to. */
static size_t
walk(const struct ipc_shape *s, const char *body)
{
	size_t sum = 0;

	for (uint32_t i = 0; i < s->nfield; i++) {
		const struct ipc_field *f = &s->field[i];
		const char *p;
		uint32_t n = 0;

		if (f->kind == IPC_U32 || f->kind == IPC_U64)
			continue;
		memcpy(&p, body + f->at, sizeof p);
		if (f->kind == IPC_TEXT) {
			n = (uint32_t)strlen(p);
			if (n > (f->most ? f->most : IPC_MOST_TEXT))
				abort();
			sum += n;
			continue;
		}
		memcpy(&n, body + f->count, sizeof n);
		if (n > (f->most ? f->most : IPC_MOST_TEXT))
			abort();
		for (uint32_t k = 0; k < n; k++)
			sum += f->kind == IPC_BYTES ? (uint8_t)p[k] : walk(f->of, p + k * f->of->size);
	}
	return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ipc_shape *s;
	struct buf b = BUF_INIT(1 << 24);
	uint8_t *copy;
	void *body;
	int err = 0;

	if (size == 0 || size > IPC_MOST)
		return 0;
	s = shape[data[0] % NSHAPE];
	copy = malloc(size > 1 ? size - 1 : 1); /* its own size: a read past the end is seen */
	if (!copy)
		abort();
	memcpy(copy, data + 1, size - 1);
	body = ipc_unpack(s, copy, size - 1, &err);
	if (!body && err != -EBADMSG && err != -ENOMEM)
		abort();
	if (body) {
		if (walk(s, body) > (size_t)256 * IPC_MOST)
			abort();
		ipc_pack(&b, s, body);
		if (b.err || b.n != size - 1 || (b.n && memcmp(b.p, copy, b.n)))
			abort();
	}
	buf_free(&b);
	free(body);
	free(copy);
	return 0;
}
