/*
 * The spool's promises, one by one: what arrives stays, what is final goes,
 * and what a crash or a disk has spoilt is told from what is whole.
 */
#include "spool_one.h"

#include <pthread.h>
#include <sys/statvfs.h>

#include "spool/crc.h"
#include "spool/form.h"

static void
crc32c_is_that_of_RFC3720_B4(void **state)
{
	uint8_t b[48] = {0};

	(void)state;
	memset(b, 0, 32);
	assert_int_equal(crc32c(0, b, 32), 0x8a9136aa);
	memset(b, 0xff, 32);
	assert_int_equal(crc32c(0, b, 32), 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, b, 32), 0x46dd794e);
	assert_int_equal(crc32c(crc32c(0, b, 13), b + 13, 19), 0x46dd794e);
	/* both ways of it, at every length and alignment */
	for (size_t at = 0; at < 8; at++)
		for (size_t n = 0; at + n <= sizeof b; n++)
			assert_int_equal(crc32c(7, b + at, n), crc32c_slowly(7, b + at, n));
}

static void
times_go_both_ways(void **state)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} row[] = {
		{0, "1970-01-01T00:00:00.000Z"}, {951782399999, "2000-02-28T23:59:59.999Z"},
		{951782400000, "2000-02-29T00:00:00.000Z"}, {1700000000123, "2023-11-14T22:13:20.123Z"},
		{253402300799999, "9999-12-31T23:59:59.999Z"},
	};
	char out[FORM_TIME + 1];
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		form_time(row[i].ms, out);
		assert_string_equal(out, row[i].text);
		assert_true(form_time_read(out, FORM_TIME, &ms));
		assert_int_equal(ms, row[i].ms);
	}
	assert_false(form_time_read("2023-02-29T00:00:00.000Z", FORM_TIME, &ms));
	assert_false(form_time_read("2023-02-28T24:00:00.000Z", FORM_TIME, &ms));
	assert_false(form_time_read("2023-02-28 00:00:00.000Z", FORM_TIME, &ms));
}

static void
what_is_committed_is_there_after_an_open_whole(void **state)
{
	struct world *w = *state;
	static char big[300000];
	struct spool_rcpt rcpt[2] = {
		{.address = "\xc3\xa9@x", .relay = "r1", .notify = "SUCCESS,DELAY", .orcpt = "rfc822;a+2Bb"},
		{.address = "b@y", .relay = "r2"}};
	struct spool_envelope e = {.application = "app", .unit = "u.service", .uid = 4294967295U,
		.from = "", .envid = "QQ", .ret = "HDRS", .body = "8BITMIME", .smtputf8 = true,
		.note = "tab\tand\\line\nand#0", .rcpt = rcpt, .nrcpt = 2};
	struct spool_outcome out[SPOOL_GROUP_MOST];
	struct spool_arrival *a;
	struct spool_message m;
	char *back;

	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (char)(i * 7 + i / 251);
	assert_int_equal(spool_arrive(w->s, sizeof big, T0, &a), 0);
	/* Runs of all sizes about the buffer's. */
	for (size_t at = 0, k = 1; at < sizeof big; at += k, k = k * 3 % 9001 + 1) {
		if (k > sizeof big - at)
			k = sizeof big - at;
		assert_int_equal(spool_write(a, big + at, k), 0);
	}
	assert_int_equal(spool_seal(w->s, a, &e, T0, NULL), 0);
	assert_int_equal(spool_commit(w->s, T0, out), 1);
	again(w, T0 + 1);
	assert_int_equal(spool_read(w->s, out[0].id, &m), 0);
	assert_int_equal(m.size, sizeof big);
	back = malloc(sizeof big);
	assert_int_equal(pread(m.fd, back, sizeof big, (off_t)m.offset), sizeof big);
	assert_memory_equal(back, big, sizeof big);
	free(back);
	assert_string_equal(m.env.from, "");
	assert_string_equal(m.env.application, "app");
	assert_string_equal(m.env.unit, "u.service");
	assert_int_equal(m.env.uid, 4294967295U);
	assert_string_equal(m.env.envid, "QQ");
	assert_string_equal(m.env.ret, "HDRS");
	assert_string_equal(m.env.body, "8BITMIME");
	assert_true(m.env.smtputf8);
	assert_string_equal(m.env.note, e.note);
	assert_int_equal(m.env.arrived, T0);
	assert_int_equal(m.env.nrcpt, 2);
	assert_string_equal(m.env.rcpt[0].address, "\xc3\xa9@x");
	assert_string_equal(m.env.rcpt[0].notify, "SUCCESS,DELAY");
	assert_string_equal(m.env.rcpt[0].orcpt, "rfc822;a+2Bb");
	assert_string_equal(m.env.rcpt[1].relay, "r2");
	assert_null(m.env.rcpt[1].notify);
	spool_message_end(&m);
}

static void
CVE_2020_28021_no_text_from_outside_ends_a_record(void **state)
{
	struct world *w = *state;
	/* A whole record of this very file, as a reply and as an address. */
	struct buf b = BUF_INIT(10000);
	uint64_t id = T0 * 1000;
	struct spool_result r = {.fate = SPOOL_FATE_DEFERRED};
	struct spool_claim *c;
	struct spool_message m;

	form_begin(&b);
	form_line(&b, &(struct form_line){.event = FORM_DELIVERED, .at = T0});
	form_end(&b, 0, id, 1);
	assert_int_equal(put(w, b.p, T0, 1, (const char *const[]){"\n#x\n@r1"}), id);
	assert_string_equal(spool_relay(w->s, 0), "r1");
	assert_null(spool_relay(w->s, 1));
	assert_int_equal(spool_claim(w->s, "r1", T0, &c), 0);
	r.reply.text = b.p;
	assert_int_equal(spool_done(w->s, c, &r, T0), 0);
	again(w, T0);
	assert_int_equal(spool_read(w->s, id, &m), 0);
	assert_int_equal(m.env.rcpt[0].state, SPOOL_PENDING);
	assert_string_equal(m.env.rcpt[0].address, "\n#x\n@r1");
	assert_string_equal(m.env.rcpt[0].last.text, b.p);
	spool_message_end(&m);
	buf_free(&b);
	assert_int_equal(found(w).damaged, 0);
}

static void
an_arrival_that_was_not_sealed_is_removed(void **state)
{
	struct world *w = *state;
	struct spool_arrival *a;
	char path[128];

	assert_int_equal(spool_arrive(w->s, 0, T0, &a), 0);
	assert_int_equal(spool_write(a, "x", 1), 0);
	path_of(w, "queue", spool_arrival_id(a), ".new", path);
	assert_int_equal(access(path, F_OK), 0);
	/* As a crash leaves it: a copy that the close does not know. */
	world_copy(path, w->path, "queue/0000000000000007.new");
	spool_drop_arrival(w->s, a);
	assert_int_equal(access(path, F_OK), -1);
	again(w, T0);
	assert_int_equal(found(w).interrupted, 1);
	assert_int_equal(spool_after(w->s, 0), 0);
}

static void
a_sealed_file_is_kept_under_either_name(void **state)
{
	struct world *w = *state;
	uint64_t id = put1(w, T0);
	char from[128], to[128];

	w->s = spool_close(w->s);
	path_of(w, "queue", id, "", from);
	path_of(w, "queue", id, ".new", to);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(spool_open(&w->s, w->dir, &w->c, T0), 0);
	assert_int_equal(spool_after(w->s, 0), id);
	assert_int_equal(found(w).interrupted, 0);
	assert_int_equal(access(from, F_OK), 0);
	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DELIVERED, false), 0);
	assert_int_equal(access(from, F_OK), -1);
}

/* Every cut of a message's file: whole up to its last record, or set aside; and of a .new: removed. */
static void
every_cut_of_a_file_is_seen(void **state)
{
	struct world *w = *state;
	uint64_t id = put1(w, T0), whole;
	char path[128], copy[128];
	struct stat st;

	path_of(w, "queue", id, "", path);
	stat(path, &st);
	whole = (uint64_t)st.st_size;
	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DEFERRED, false), 0);
	stat(path, &st);
	w->s = spool_close(w->s);
	snprintf(copy, sizeof copy, "%s/whole", w->path);
	world_copy(path, w->path, "whole");
	for (off_t cut = 0; cut < st.st_size; cut++) {
		bool there;

		world_copy(copy, w->path, path + strlen(w->path) + 1);
		assert_int_equal(truncate(path, cut), 0);
		assert_int_equal(spool_open(&w->s, w->dir, &w->c, T0), 0);
		there = spool_after(w->s, 0) == id;
		assert_int_equal(there, (uint64_t)cut >= whole);
		assert_int_equal(found(w).damaged, !there);
		w->s = spool_close(w->s);
		path_of(w, "damaged", id, "", path);
		assert_int_equal(access(path, F_OK), there ? -1 : 0);
		unlink(path);
		path_of(w, "damaged", id, ".why", path);
		unlink(path);
		path_of(w, "queue", id, "", path);
	}
	assert_int_equal(spool_open(&w->s, w->dir, &w->c, T0), 0);
}

/* Every byte turned: in the content it is found at the claim, before anything is sent. */
static void
a_turned_bit_is_never_sent(void **state)
{
	struct world *w = *state;
	uint64_t id = put1(w, T0);
	char path[128], copy[128];
	struct stat st;

	path_of(w, "queue", id, "", path);
	stat(path, &st);
	w->s = spool_close(w->s);
	snprintf(copy, sizeof copy, "%s/whole", w->path);
	world_copy(path, w->path, "whole");
	for (off_t at = 0; at < st.st_size; at++) {
		struct spool_event ev;
		struct spool_claim *c;

		world_copy(copy, w->path, path + strlen(w->path) + 1);
		world_turn(path, at);
		assert_int_equal(spool_open(&w->s, w->dir, &w->c, T0), 0);
		assert_int_equal(spool_claim(w->s, "r1", T0, &c), 1);
		assert_int_equal(found(w).damaged, 1);
		if (spool_event(w->s, T0, &ev) == 0)
			assert_int_equal(ev.kind, SPOOL_EVENT_DAMAGED);
		assert_int_equal(spool_after(w->s, 0), 0);
		path_of(w, "damaged", id, "", path);
		assert_int_equal(access(path, F_OK), 0);
		unlink(path);
		path_of(w, "damaged", id, ".why", path);
		assert_int_equal(access(path, F_OK), 0);
		unlink(path);
		w->s = spool_close(w->s);
		path_of(w, "queue", id, "", path);
	}
	assert_int_equal(spool_open(&w->s, w->dir, &w->c, T0), 0);
}

static void
a_bad_record_with_good_ones_behind_is_damage(void **state)
{
	struct world *w = *state;
	uint64_t id = put1(w, T0);
	char path[128];
	struct stat st;

	path_of(w, "queue", id, "", path);
	stat(path, &st);
	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DEFERRED, false), 0);
	w->s = spool_close(w->s);
	world_turn(path, st.st_size + 40);
	assert_int_equal(spool_open(&w->s, w->dir, &w->c, T0), 0);
	assert_int_equal(found(w).damaged, 1);
	assert_int_equal(spool_after(w->s, 0), 0);
}

static void
a_torn_tail_is_cut_and_the_message_goes_on(void **state)
{
	struct world *w = *state;
	uint64_t id = put1(w, T0);
	struct spool_message m;
	char path[128];

	path_of(w, "queue", id, "", path);
	w->s = spool_close(w->s);
	world_append(path, "\n#00000100 12345678 00000001\ndelivered\t", 40);
	assert_int_equal(spool_open(&w->s, w->dir, &w->c, T0), 0);
	assert_int_equal(found(w).torn, 1);
	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DEFERRED, false), 0);
	again(w, T0);
	assert_int_equal(found(w).torn, 0);
	assert_int_equal(spool_read(w->s, id, &m), 0);
	assert_int_equal(m.env.rcpt[0].attempts, 1);
	assert_string_equal(m.env.rcpt[0].last.tls, "TLSv1.3");
	spool_message_end(&m);
}

static void
count_lines(void *arg, const char *text)
{
	struct buf *b = arg;

	buf_str(b, text);
	buf_chr(b, '\n');
}

static void
a_life_is_told_line_by_line_also_when_it_is_over(void **state)
{
	struct world *w = *state;
	uint64_t id = put1(w, T0), other = put1(w, T0);
	struct buf a = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20);

	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DEFERRED, false), 0);
	assert_int_equal(spool_trace(w->s, id, count_lines, &a), 0);
	assert_non_null(strstr(a.p, "application\tapp\n"));
	assert_non_null(strstr(a.p, "TLSv1.3\tTLS_AES_256_GCM_SHA384\t2.0.0 so\\x0asaid\n"));
	assert_int_equal(all(w, "r1", T0 + 1, SPOOL_FATE_DELIVERED, false), 0);
	spool_flush(w->s, NULL, T0 + 2);
	assert_int_equal(all(w, "r1", T0 + 2, SPOOL_FATE_DELIVERED, false), 0);
	again(w, T0 + 3);
	assert_int_equal(spool_trace(w->s, id, count_lines, &b), 0);
	assert_memory_equal(a.p, b.p, a.n);
	assert_non_null(strstr(b.p + a.n, "delivered\t2023-11-14T22:13:20.002Z\t0\t2\t\t\t250\tr1\t"));
	assert_int_equal(spool_trace(w->s, other, count_lines, &b), 0);
	assert_int_equal(spool_trace(w->s, 77, count_lines, &b), -ENOENT);
	assert_int_equal(spool_trace_add(w->s, 77, T0, "through\tr1\nx"), 0);
	assert_int_equal(spool_trace(w->s, 77, count_lines, &b), 0);
	buf_free(&a);
	buf_free(&b);
}

static void
the_trace_log_is_bounded(void **state)
{
	struct world *w = *state;
	struct buf b = BUF_INIT(1 << 20);
	uint64_t first = 0, last = 0;

	w->c.trace_bytes = 3000;
	w->c.trace_files = 3;
	spool_configure(w->s, &w->c);
	for (int i = 0; i < 100; i++) {
		last = put1(w, T0);
		first = first ? first : last;
		assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DELIVERED, false), 0);
	}
	assert_true(world_bytes(w->path, "trace") <= 3 * 3000);
	assert_int_equal(spool_trace(w->s, last, count_lines, &b), 0);
	assert_int_equal(spool_trace(w->s, first, count_lines, &b), -ENOENT);
	buf_free(&b);
}

static void
limits_refuse_before_a_byte_is_taken(void **state)
{
	struct world *w = *state;
	struct spool_arrival *a, *b;

	w->c.message_most = 100;
	w->c.bytes_most = 250;
	w->c.arrivals_most = 2;
	spool_configure(w->s, &w->c);
	assert_int_equal(spool_arrive(w->s, 101, T0, &a), -EMSGSIZE);
	assert_int_equal(spool_arrive(w->s, 100, T0, &a), 0);
	assert_int_equal(spool_arrive(w->s, 0, T0, &b), 0);
	assert_int_equal(spool_write(b, "0123456789", 10), 0);
	struct spool_arrival *c;
	assert_int_equal(spool_arrive(w->s, 0, T0, &c), -EAGAIN);
	w->c.arrivals_most = 3;
	spool_configure(w->s, &w->c);
	assert_int_equal(spool_arrive(w->s, 141, T0, &c), -EMSGSIZE);
	w->c.message_most = 1000;
	spool_configure(w->s, &w->c);
	assert_int_equal(spool_arrive(w->s, 141, T0, &c), -ENOSPC);
	w->c.message_most = 100;
	spool_configure(w->s, &w->c);
	for (int i = 0; i < 9; i++)
		assert_int_equal(spool_write(b, "0123456789", 10), 0);
	assert_int_equal(spool_write(b, "0", 1), -EMSGSIZE);
	struct spool_rcpt r = {.address = "a", .relay = "r"};
	struct spool_envelope e = {.from = "", .rcpt = &r, .nrcpt = 1};
	assert_int_equal(spool_seal(w->s, b, &e, T0, NULL), -EMSGSIZE);
	spool_drop_arrival(w->s, a);
	spool_drop_arrival(w->s, b);
	uint32_t n;
	uint64_t bytes;
	spool_size(w->s, &n, &bytes);
	assert_int_equal(n, 0);
	assert_int_equal(bytes, 0);
	/* The floor holds for content that was not announced, too. */
	static char much[1 << 16];
	struct statvfs v;
	int e2 = 0;
	w->c.message_most = w->c.bytes_most = 100 << 20;
	assert_int_equal(statvfs(w->path, &v), 0);
	w->c.floor_bytes = (uint64_t)v.f_bavail * v.f_frsize - (1 << 20);
	spool_configure(w->s, &w->c);
	assert_int_equal(spool_arrive(w->s, 0, T0, &a), 0);
	for (int i = 0; i < 1024 && !e2; i++)
		e2 = spool_write(a, much, sizeof much);
	assert_int_equal(e2, -ENOSPC);
	spool_drop_arrival(w->s, a);
	w->c.floor_bytes = UINT64_MAX / 2;
	spool_configure(w->s, &w->c);
	assert_int_equal(spool_arrive(w->s, 0, T0, &a), -ENOSPC);
	w->c.floor_bytes = 0;
	w->c.messages_most = 1;
	spool_configure(w->s, &w->c);
	put1(w, T0);
	assert_int_equal(spool_arrive(w->s, 0, T0, &a), -ENOSPC);
	static char huge[SPOOL_TEXT_MOST + 2];
	memset(huge, 'a', sizeof huge - 1);
	w->c.messages_most = 9;
	spool_configure(w->s, &w->c);
	assert_int_equal(spool_arrive(w->s, 0, T0, &a), 0);
	e.envid = huge;
	assert_int_equal(spool_seal(w->s, a, &e, T0, NULL), -EINVAL);
	spool_drop_arrival(w->s, a);
}

static void
content_is_adopted_by_descriptor(void **state)
{
	struct world *w = *state;
	struct spool_rcpt r = {.address = "a", .relay = "r"};
	struct spool_envelope e = {.from = "", .rcpt = &r, .nrcpt = 1};
	struct spool_outcome out[SPOOL_GROUP_MOST];
	struct spool_arrival *a;
	struct spool_message m;
	uint64_t off;
	char back[16], path[128];
	int fd;

	assert_int_equal(spool_arrive(w->s, 0, T0, &a), 0);
	fd = spool_arrival_fd(a, &off);
	assert_int_equal(pwrite(fd, "own content, more", 17, (off_t)off), 17);
	assert_int_equal(spool_adopt_own(a, 11), 0);
	assert_int_equal(spool_seal(w->s, a, &e, T0, NULL), 0);
	snprintf(path, sizeof path, "%s/other", w->path);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(write(fd, "xxother content", 15), 15);
	assert_int_equal(spool_arrive(w->s, 0, T0, &a), 0);
	assert_int_equal(spool_adopt(a, fd, 2, 13), 0);
	assert_int_equal(spool_seal(w->s, a, &e, T0, NULL), 0);
	assert_int_equal(spool_arrive(w->s, 0, T0, &a), 0);
	assert_int_equal(spool_adopt(a, fd, 2, 14), -ENODATA);
	assert_int_equal(spool_seal(w->s, a, &e, T0, NULL), -ENODATA);
	spool_drop_arrival(w->s, a);
	close(fd);
	/* Two seals, one commit. */
	assert_int_equal(spool_commit(w->s, T0, out), 2);
	again(w, T0);
	for (int i = 0; i < 2; i++) {
		const char *want = i ? "other content" : "own content";

		assert_int_equal(spool_read(w->s, out[i].id, &m), 0);
		assert_int_equal(m.size, strlen(want));
		assert_int_equal(pread(m.fd, back, sizeof back, (off_t)m.offset) >= (ssize_t)m.size, 1);
		assert_memory_equal(back, want, strlen(want));
		spool_message_end(&m);
	}
}

static void
one_process_has_the_spool(void **state)
{
	struct world *w = *state;
	struct spool *other = NULL;

	assert_int_equal(spool_open(&other, w->dir, &w->c, T0), -EBUSY);
	assert_null(other);
}

static void
kept_states_are_the_old_or_the_new(void **state)
{
	struct world *w = *state;
	char path[128];
	void *p;
	size_t n;

	assert_int_equal(spool_kept(w->s, "windows", &p, &n), -ENOENT);
	assert_int_equal(spool_keep(w->s, "windows", "one", 3), 0);
	assert_int_equal(spool_keep(w->s, "windows", "two\0!", 5), 0);
	again(w, T0);
	assert_int_equal(spool_kept(w->s, "windows", &p, &n), 0);
	assert_int_equal(n, 5);
	assert_memory_equal(p, "two\0!", 5);
	free(p);
	assert_int_equal(spool_keep(w->s, "../x", "one", 3), -EINVAL);
	assert_int_equal(spool_keep(w->s, "", "one", 3), -EINVAL);
	snprintf(path, sizeof path, "%s/keep/windows", w->path);
	world_turn(path, 66);
	assert_int_equal(spool_kept(w->s, "windows", &p, &n), -EBADMSG);
}

static void
a_commit_in_parts_leaves_the_spool_at_work(void **state)
{
	struct world *w = *state;
	struct spool_rcpt r = {.address = "a", .relay = "r1"};
	struct spool_envelope e = {.from = "", .rcpt = &r, .nrcpt = 1};
	struct spool_outcome out[SPOOL_GROUP_MOST];
	struct spool_arrival *a, *b;
	struct spool_job *j;
	uint64_t old = put1(w, T0 - 5);

	assert_int_equal(spool_arrive(w->s, 0, T0, &a), 0);
	assert_int_equal(spool_arrive(w->s, 0, T0, &b), 0);
	/* The later one is sealed first. */
	assert_int_equal(spool_seal(w->s, b, &e, T0, &b), 0);
	assert_int_equal(spool_commit_wanted(w->s), 2);
	j = spool_commit_begin(w->s);
	assert_non_null(j);
	assert_int_equal(spool_seal(w->s, a, &e, T0, &a), 0);
	assert_int_equal(all(w, "r1", T0, SPOOL_FATE_DEFERRED, false), 0);
	assert_int_equal(spool_commit_wanted(w->s), 0);
	/* Not durable: not in the queue. */
	assert_int_equal(spool_after(w->s, old), 0);
	spool_commit_sync(j);
	assert_int_equal(spool_commit_finish(w->s, j, T0, out), 1);
	assert_ptr_equal(out[0].token, &b);
	assert_int_equal(spool_commit(w->s, T0, out), 1);
	assert_ptr_equal(out[0].token, &a);
	assert_true(spool_after(w->s, old) == out[0].id);
	w->c.sync = SPOOL_SYNC_FS;
	spool_configure(w->s, &w->c);
	put1(w, T0);
}

static void *
syncs(void *job)
{
	spool_commit_sync(job);
	return NULL;
}

static void
threads_share_the_syncs_of_a_commit(void **state)
{
	struct world *w = *state;
	struct spool_rcpt r = {.address = "a", .relay = "r1"};
	struct spool_envelope e = {.from = "", .rcpt = &r, .nrcpt = 1};
	struct spool_outcome out[SPOOL_GROUP_MOST];
	struct spool_arrival *a;
	struct spool_job *j;
	pthread_t t[4];
	uint64_t at = 0;

	for (int how = SPOOL_SYNC_EACH; how <= SPOOL_SYNC_FS; how++) {
		w->c.sync = (enum spool_sync)how;
		spool_configure(w->s, &w->c);
		for (int i = 0; i < 40; i++) {
			assert_int_equal(spool_arrive(w->s, 0, T0, &a), 0);
			assert_int_equal(spool_seal(w->s, a, &e, T0, NULL), 0);
		}
		j = spool_commit_begin(w->s);
		assert_non_null(j);
		for (int i = 0; i < 4; i++)
			assert_int_equal(pthread_create(&t[i], NULL, syncs, j), 0);
		/* And the spool goes on meanwhile. */
		assert_int_equal(spool_arrive(w->s, 0, T0, &a), 0);
		spool_drop_arrival(w->s, a);
		for (int i = 0; i < 4; i++)
			pthread_join(t[i], NULL);
		assert_int_equal(spool_commit_finish(w->s, j, T0, out), 40);
		for (int i = 0; i < 40; i++) {
			assert_int_equal(out[i].err, 0);
			at = spool_after(w->s, at);
			assert_true(at != 0);
		}
	}
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc32c_is_that_of_RFC3720_B4),
		cmocka_unit_test(times_go_both_ways),
		T(what_is_committed_is_there_after_an_open_whole),
		T(CVE_2020_28021_no_text_from_outside_ends_a_record),
		T(an_arrival_that_was_not_sealed_is_removed),
		T(a_sealed_file_is_kept_under_either_name),
		T(every_cut_of_a_file_is_seen),
		T(a_turned_bit_is_never_sent),
		T(a_bad_record_with_good_ones_behind_is_damage),
		T(a_torn_tail_is_cut_and_the_message_goes_on),
		T(a_life_is_told_line_by_line_also_when_it_is_over),
		T(the_trace_log_is_bounded),
		T(limits_refuse_before_a_byte_is_taken),
		T(content_is_adopted_by_descriptor),
		T(one_process_has_the_spool),
		T(kept_states_are_the_old_or_the_new),
		T(a_commit_in_parts_leaves_the_spool_at_work),
		T(threads_share_the_syncs_of_a_commit),
	};

	return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
