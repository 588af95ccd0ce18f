/* ipc: messages arrive whole, with their descriptors, or are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "ipc/apply.h"
#include "ipc/attempts.h"
#include "ipc/compile.h"
#include "ipc/ctl.h"
#include "ipc/doctor.h"

static void
a_struct_comes_as_it_went(void **state)
{
	(void)state;
	int c[2];
	struct ipc_in in;
	const void *body;
	struct apply_name names[] = {{APPLY_USER, "www-data", 33}, {APPLY_UNIT, "a/b.service", UINT64_MAX}};
	struct apply_do d = {.gen = 7, .name = names, .nname = 2};

	assert_int_equal(ipc_pair(c), 0);
	int file = ipc_file("plan", "bytes", 5);
	assert_true(file >= 0);
	assert_int_equal(ipc_recv(c[1], &in), -EAGAIN);
	assert_int_equal(ipc_send(c[0], APPLY_DO, 9, &apply_ask_shape[APPLY_DO], &d, &file, 1), 0);
	assert_int_equal(ipc_recv(c[1], &in), 1);
	assert_int_equal(in.type, APPLY_DO);
	assert_int_equal(in.id, 9);
	assert_int_equal(ipc_body(&in, &apply_ask_shape[APPLY_DO], &body), 0);
	const struct apply_do *got = body;
	assert_int_equal(got->gen, 7);
	assert_int_equal(got->nname, 2);
	assert_string_equal(got->name[0].name, "www-data");
	assert_string_equal(got->name[1].name, "a/b.service");
	assert_true(got->name[1].value == UINT64_MAX);
	int fd = ipc_take(&in, 0);
	assert_true(fd >= 0);
	assert_int_equal(ipc_take(&in, 0), -1);
	ipc_free(&in);
	const uint8_t *p;
	size_t n;
	assert_int_equal(ipc_map(fd, 4, &p, &n), -EFBIG);
	assert_int_equal(ipc_map(fd, 5, &p, &n), 0);
	assert_memory_equal(p, "bytes", 5);
	ipc_unmap(p, n);
	close(fd);
	close(file);
	close(c[0]);
	assert_int_equal(ipc_recv(c[1], &in), 0);
	close(c[1]);
}

static void
an_open_memory_file_is_not_mapped(void **state)
{
	(void)state;
	int fd = memfd_create("open", MFD_ALLOW_SEALING);
	const uint8_t *p;
	size_t n;

	assert_int_equal(ftruncate(fd, 10), 0);
	assert_int_equal(ipc_map(fd, 100, &p, &n), -EPERM);
	close(fd);
}

static void
what_is_too_large_is_not_sent(void **state)
{
	(void)state;
	int c[2];
	uint8_t *big = calloc(1, CTL_MOST_TEXT);
	struct ctl_text t = {.bytes = big, .n = CTL_MOST_TEXT};
	struct apply_name *names = calloc(APPLY_MOST_NAMES, sizeof *names);
	char longest[1001];

	memset(longest, 'x', 1000);
	longest[1000] = 0;
	for (int i = 0; i < APPLY_MOST_NAMES; i++)
		names[i].name = longest;
	struct apply_host h = {.name = names, .nname = APPLY_MOST_NAMES};
	assert_int_equal(ipc_pair(c), 0);
	assert_int_equal(ipc_send(c[0], CTL_OUT, 1, &ctl_text_shape, &t, NULL, 0), 0);
	assert_int_equal(ipc_send(c[0], APPLY_HOST, 1, &apply_ask_shape[APPLY_HOST], &h, NULL, 0),
	    -EMSGSIZE);
	close(c[0]);
	close(c[1]);
	free(big);
	free(names);
}

static const struct ipc_shape *
shape_of(int i)
{
	static const struct ipc_shape *const other[] = {
		&compile_job_shape, &compile_result_shape, &ctl_ask_shape, &ctl_text_shape, &ctl_end_shape,
	};

	if (i < APPLY_NASK)
		return &apply_ask_shape[i];
	i -= APPLY_NASK;
	if (i < APPLY_NTELL)
		return &apply_tell_shape[i];
	i -= APPLY_NTELL;
	if (i < ATTEMPTS_NTELL)
		return &attempts_shape[i];
	i -= ATTEMPTS_NTELL;
	return i < 5 ? other[i] : NULL;
}

/* Every prefix of a good message, and every message with a byte changed, is read or refused; a
 * shortened one is always refused. */
static void
broken_bytes_are_refused(void **state)
{
	(void)state;
	int shapes = 0;

	for (int i = 0; shape_of(i); i++) {
		const struct ipc_shape *s = shape_of(i);
		if (!s->size)
			continue;
		struct buf b = BUF_INIT(1 << 16);
		void *zero = calloc(1, s->size);
		int err;
		ipc_pack(&b, s, zero);
		free(zero);
		void *x = ipc_unpack(s, (uint8_t *)b.p, b.n, &err);
		assert_non_null(x);
		free(x);
		for (size_t n = 0; n < b.n; n++) {
			uint8_t *cut = malloc(n ? n : 1);
			memcpy(cut, b.p, n);
			assert_null(ipc_unpack(s, cut, n, &err));
			assert_int_equal(err, -EBADMSG);
			free(cut);
		}
		uint8_t *copy = malloc(b.n + 1);
		memcpy(copy, b.p, b.n);
		copy[b.n] = 0;
		assert_null(ipc_unpack(s, copy, b.n + 1, &err));
		for (size_t n = 0; n < b.n; n++)
			for (int v = 0; v < 256; v += 17) {
				copy[n] = (uint8_t)v;
				free(ipc_unpack(s, copy, b.n, &err));
				copy[n] = (uint8_t)b.p[n];
			}
		free(copy);
		buf_free(&b);
		shapes++;
	}
	assert_true(shapes >= 15);
}

static void
foreign_frames_are_refused(void **state)
{
	(void)state;
	int c[2];
	struct ipc_in in;
	uint32_t head[3] = {1, 2, 50};

	assert_int_equal(ipc_pair(c), 0);
	assert_int_equal(send(c[0], "abc", 3, 0), 3);
	assert_int_equal(ipc_recv(c[1], &in), -EBADMSG);
	assert_int_equal(send(c[0], head, sizeof head, 0), sizeof head);
	assert_int_equal(ipc_recv(c[1], &in), -EBADMSG);
	assert_int_equal(ipc_recv(c[1], &in), -EAGAIN);
	close(c[1]);
	assert_int_equal(ipc_send(c[0], 1, 1, NULL, NULL, NULL, 0), -EPIPE);
	close(c[0]);
}

static void
COL_36_findings_go_through_a_file_as_plain_text(void **state)
{
	struct doctor_list l = {0}, m = {0};
	int fd;

	(void)state;
	doctor_add(&l, DOCTOR_PORT, DOCTOR_FAIL, "r", "do", "\033[31m%s\n", "red");
	/* longer than any may be */
	doctor_add(&l, DOCTOR_DNS, DOCTOR_PASS, "", "", "%*s", 5000, "x");
	doctor_ask(&l, DOCTOR_LISTENER, "127.0.0.1", 587);
	assert_int_equal(l.err, 0);
	fd = doctor_file(&l);
	assert_true(fd >= 0);
	assert_int_equal(doctor_take(&m, fd), 0);
	close(fd);
	/* what asks mailreevectl to look is the parent's alone to say */
	assert_int_equal(m.of.nfinding, 2);
	assert_int_equal(m.of.finding[0].check, DOCTOR_PORT);
	assert_int_equal(m.of.finding[0].verdict, DOCTOR_FAIL);
	assert_string_equal(m.of.finding[0].about, "r");
	assert_string_equal(m.of.finding[0].text, "?[31mred?");
	assert_string_equal(m.of.finding[0].todo, "do");
	assert_int_equal(strlen(m.of.finding[1].text), DOCTOR_MOST_TEXT - 1);
	fd = ipc_file("findings", "nonsense", 8);
	assert_int_equal(doctor_take(&m, fd), -EBADMSG);
	close(fd);
	for (unsigned i = 0; i <= DOCTOR_MOST_FINDINGS; i++)
		doctor_add(&m, DOCTOR_SIZE, DOCTOR_PASS, "", "", "%u", i);
	assert_int_equal(m.err, -E2BIG);
	assert_int_equal(m.of.nfinding, DOCTOR_MOST_FINDINGS);
	doctor_free(&l);
	doctor_free(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_struct_comes_as_it_went),
		cmocka_unit_test(an_open_memory_file_is_not_mapped),
		cmocka_unit_test(what_is_too_large_is_not_sent),
		cmocka_unit_test(broken_bytes_are_refused),
		cmocka_unit_test(foreign_frames_are_refused),
		cmocka_unit_test(COL_36_findings_go_through_a_file_as_plain_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
