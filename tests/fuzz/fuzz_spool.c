/*
 * Any bytes as a spool file: a first byte 'f' gives them as the file's front, 'r' as
 * records as they stand, anything else as the lines of records (ended by 0xff) whose
 * heads and checksums are put right, so that what is behind them is reached.
 *
 * What reads as an envelope writes back to the same bytes; recipients are in a state
 * that exists; the lines of the whole records are told.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "spool/form.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint64_t id = 0x60a24181e4002;

static void
must(bool x)
{
	if (!x)
		abort();
}

static void
front(const uint8_t *data, size_t size)
{
	char p[FORM_FRONT] = {0}, again[FORM_FRONT];
	struct form_front f;

	memcpy(p, data, size < sizeof p ? size : sizeof p);
	if (form_front_read(p, &f))
		return;
	form_front(again, &f);
	must(!memcmp(p, again, sizeof p));
}

static void
count(void *arg, const char *s, size_t n)
{
	must(!memchr(s, '\n', n));
	*(size_t *)arg += n + 1;
}

/* The envelope, written and read again, is the same to the byte. */
static void
both_ways(const struct spool_envelope *e)
{
	struct buf one = BUF_INIT(FORM_ENVELOPE_MOST), two = BUF_INIT(FORM_ENVELOPE_MOST);
	struct form_tail t;
	char *copy;

	form_begin(&one);
	form_envelope(&one, e);
	form_end(&one, 0, id, 0);
	/* A text longer than any that we would write. */
	if (one.err == -22) {
		buf_free(&one);
		return;
	}
	must(!one.err);
	copy = calloc(1, one.n + 1);
	must(copy);
	memcpy(copy, one.p, one.n);
	must(!form_read(copy, one.n, id, &t));
	must(t.env.nrcpt == e->nrcpt && t.good == one.n && !t.torn);
	form_begin(&two);
	form_envelope(&two, &t.env);
	form_end(&two, 0, id, 0);
	must(!two.err && two.n == one.n && !memcmp(one.p, two.p, one.n));
	free(t.env.rcpt);
	free(copy);
	buf_free(&one);
	buf_free(&two);
}

static void
records(const char *p, size_t n)
{
	char *copy = calloc(1, n + 1);
	struct form_tail t;
	size_t told = 0;

	must(copy);
	if (n)
		memcpy(copy, p, n);
	form_lines(p, n, id, count, &told);
	if (!form_read(copy, n, id, &t)) {
		must(t.good <= n && t.torn == (t.good < n) && t.seq && t.env.nrcpt && t.env.id == id);
		must(told + (size_t)t.seq * FORM_HEAD == t.good);
		for (size_t i = 0; i < t.env.nrcpt; i++) {
			must(t.env.rcpt[i].state <= SPOOL_DROPPED && t.env.rcpt[i].address && t.env.rcpt[i].relay);
			must(!t.env.rcpt[i].owed || t.env.rcpt[i].state >= SPOOL_DELIVERED);
		}
		both_ways(&t.env);
		free(t.env.rcpt);
	}
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b = BUF_INIT(1 << 22);
	uint32_t seq = 0;
	size_t at = 0;

	if (size && data[0] == 'f') {
		front(data + 1, size - 1);
		return 0;
	}
	if (size && data[0] == 'r') {
		records((const char *)data + 1, size - 1);
		return 0;
	}
	while (at < size) {
		const uint8_t *end = memchr(data + at, 0xff, size - at);
		size_t n = end ? (size_t)(end - data) - at : size - at, place;

		/* What is behind the last mark is a torn tail. */
		if (!end) {
			buf_add(&b, data + at, n);
			break;
		}
		place = form_begin(&b);
		buf_add(&b, data + at, n);
		buf_chr(&b, '\n');
		form_end(&b, place, id, seq++);
		at += n + 1;
	}
	if (!b.err)
		records(b.p ? b.p : "", b.n);
	buf_free(&b);
	return 0;
}
