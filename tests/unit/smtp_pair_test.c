/*
 * Our client and our server, mouth to ear: random messages over connections that carry a
 * few bytes at a time. What the client was told was taken is what the server
 * took, byte for byte and in order, and nothing else; a connection that breaks leaves each
 * message settled, not taken, or in doubt as the client says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "smtp/client.h"
#include "smtp/server.h"

enum { MESSAGES = 8 };

static uint64_t seed;
static unsigned confirmed, doubted; /* over all rounds: the test is not empty */

static unsigned
dice(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

struct world {
	struct smtp_client *c;
	struct smtp_server *s;
	struct buf to_server, to_client; /* on their way */
	struct buf content[MESSAGES], taken[MESSAGES];
	struct smtp_client_rcpt rcpt[MESSAGES][3];
	struct smtp_client_message m[MESSAGES];
	unsigned sent, settled, given; /* given: of the content being written */
	unsigned ntaken, accepted; /* END seen, and answered 250 */
	bool sent_well[MESSAGES];  /* what the client was told */
	bool doubt[MESSAGES];
	unsigned good;             /* recipients of the transaction, as the server answered */
	bool lost, over;
	bool breaks;
	uint64_t now;
};

static void
random_content(struct buf *b)
{
	static const char *const pieces[] = {".", "..", "a", "line", "\r\n", "\r\n.", "\r\n..\r\n", "\xc3\xa9", "\r\n.\r\n"};
	unsigned n = dice(6) ? dice(40) : dice(9000);

	for (unsigned i = 0; i < n; i++)
		buf_str(b, pieces[dice(9)]);
	if (b->n < 2 || b->p[b->n - 1] != '\n')
		buf_str(b, "\r\n");
}

static void
client_event(struct world *w)
{
	const struct smtp_client_event *e = smtp_client_event(w->c);
	size_t i;

	switch (e->is) {
	case SMTP_CLIENT_REPLY:
		smtp_client_next(w->c, w->now);
		break;
	case SMTP_CLIENT_READY:
		if (w->sent == MESSAGES) {
			smtp_client_quit(w->c, w->now);
			break;
		}
		assert_int_equal(smtp_client_fits(w->c, &w->m[w->sent]), SMTP_FIT_OK);
		smtp_client_send(w->c, &w->m[w->sent++], w->now);
		break;
	case SMTP_CLIENT_CONTENT:
		i = (size_t)(e->message - w->m);
		if (w->given < w->content[i].n) {
			size_t k = 1 + dice(5000);

			if (k > w->content[i].n - w->given)
				k = w->content[i].n - w->given;
			w->given += (unsigned)smtp_client_content(w->c, w->content[i].p + w->given, k, w->now);
		} else {
			w->given = 0;
			smtp_client_content_end(w->c, w->now);
		}
		break;
	case SMTP_CLIENT_DONE:
		assert_ptr_equal(e->message, &w->m[w->settled]);
		w->sent_well[w->settled++] = e->outcome == SMTP_OUT_SENT;
		smtp_client_next(w->c, w->now);
		break;
	case SMTP_CLIENT_FAILED:
		assert_true(w->breaks);
		for (i = 0; i < 2; i++)
			if (e->lost[i]) {
				assert_ptr_equal(e->lost[i], &w->m[w->settled]);
				w->doubt[w->settled++] = !i && e->dot;
			}
		w->over = true;
		break;
	case SMTP_CLIENT_CLOSED:
		w->over = true;
		break;
	case SMTP_CLIENT_STARTTLS:
	case SMTP_CLIENT_AUTH:
	case SMTP_CLIENT_CHALLENGE:
		fail();
	}
}

/* Some are refused, by the address. */
static unsigned
verdict(const char *path)
{
	return *path == 'n' ? 550 : *path == 'l' ? 450 : 250;
}

static void
server_event(struct world *w)
{
	const struct smtp_server_event *e = smtp_server_event(w->s);
	struct buf *to = &w->taken[w->ntaken];
	unsigned code = 250;

	switch (e->is) {
	case SMTP_SERVER_CONNECT:
		smtp_server_answer(w->s, 220, NULL, NULL, w->now);
		break;
	case SMTP_SERVER_MAIL:
	case SMTP_SERVER_RCPT:
		code = verdict(e->path);
		w->good = e->is == SMTP_SERVER_MAIL ? 0 : w->good + (code == 250);
		smtp_server_answer(w->s, code, NULL, NULL, w->now);
		break;
	case SMTP_SERVER_DATA:
		to->n = 0;
		smtp_server_answer(w->s, 354, NULL, NULL, w->now);
		break;
	case SMTP_SERVER_CONTENT:
		buf_add(to, e->run, e->nrun);
		smtp_server_next(w->s, w->now);
		break;
	case SMTP_SERVER_END:
		assert_int_equal(e->size, to->n);
		assert_true(w->good > 0);
		w->ntaken++;
		smtp_server_answer(w->s, 250, NULL, NULL, w->now);
		break;
	case SMTP_SERVER_RESET:
		smtp_server_next(w->s, w->now);
		break;
	case SMTP_SERVER_CLOSE:
		break;
	}
}

/* Some bytes from what one says to what the other hears. */
static void
carry(struct buf *way, const char *p, size_t n, size_t *k)
{
	*k = n ? 1 + dice((unsigned)n) : 0;
	buf_add(way, p, *k);
}

static void
feed_server(struct world *w)
{
	size_t n = w->to_server.n ? 1 + dice((unsigned)w->to_server.n) : 0, k;
	char *copy;

	if (!n || (smtp_server_event(w->s) && smtp_server_event(w->s)->is == SMTP_SERVER_CLOSE))
		return;
	copy = malloc(n);
	assert_non_null(copy);
	memcpy(copy, w->to_server.p, n);
	k = smtp_server_feed(w->s, copy, n, w->now);
	/* A run of content lies in the copy: it is seen to before that goes. */
	while (smtp_server_event(w->s) && smtp_server_event(w->s)->is == SMTP_SERVER_CONTENT)
		server_event(w);
	free(copy);
	memmove(w->to_server.p, w->to_server.p + k, w->to_server.n - k + 1);
	w->to_server.n -= k;
}

static void
feed_client(struct world *w)
{
	size_t n = w->to_client.n ? 1 + dice((unsigned)w->to_client.n) : 0, k;

	if (!n)
		return;
	k = smtp_client_feed(w->c, w->to_client.p, n, w->now);
	memmove(w->to_client.p, w->to_client.p + k, w->to_client.n - k + 1);
	w->to_client.n -= k;
}

static void
step(struct world *w)
{
	const char *p;
	size_t n, k;

	switch (dice(6)) {
	case 0:
		if (smtp_client_event(w->c))
			client_event(w);
		break;
	case 1:
		if (smtp_server_event(w->s))
			server_event(w);
		break;
	case 2:
		p = smtp_client_output(w->c, &n);
		carry(&w->to_server, p, n, &k);
		smtp_client_sent(w->c, k, w->now);
		break;
	case 3:
		p = smtp_server_output(w->s, &n);
		carry(&w->to_client, p, n, &k);
		smtp_server_sent(w->s, k, w->now);
		break;
	case 4:
		feed_server(w);
		break;
	default:
		feed_client(w);
		break;
	}
	w->now++;
}

static void
round_of(uint64_t number, bool breaks)
{
	static const char *const paths[] = {"a@b.c", "no@b.c", "later@b.c", "x@y.z", "d@e.f", "q@r.s"};
	const struct smtp_client_options co = {.host = "c", .no_pipelining = number % 3 == 0};
	const struct smtp_server_options so = {.host = "s"};
	struct world w = {.to_server = BUF_INIT(16 << 20), .to_client = BUF_INIT(1 << 20), .breaks = breaks};
	unsigned long steps = 0, end;
	unsigned next = 0;

	seed = number;
	end = breaks ? dice(4000) : 40000000;
	w.c = smtp_client_new(&co);
	w.s = smtp_server_new(&so);
	assert_true(w.c && w.s);
	for (int i = 0; i < MESSAGES; i++) {
		w.content[i] = w.taken[i] = (struct buf)BUF_INIT(1 << 20);
		random_content(&w.content[i]);
		for (int j = 0; j < 3; j++)
			w.rcpt[i][j].path = paths[dice(6)];
		w.m[i] = (struct smtp_client_message){.path = paths[dice(6)], .rcpt = w.rcpt[i], .nrcpt = 1 + dice(3), .high = true};
	}
	smtp_client_start(w.c, 0);
	smtp_server_start(w.s, 0);
	while (!w.over && steps++ < end)
		step(&w);
	if (!w.over) {
		assert_true(breaks);
		smtp_client_gone(w.c, w.now);
		client_event(&w);
		/* What had come to the server before is taken as far as it goes. */
		while (smtp_server_event(w.s) && smtp_server_event(w.s)->is != SMTP_SERVER_CLOSE)
			server_event(&w);
		smtp_server_gone(w.s, w.now);
	}
	if (!breaks)
		assert_int_equal(w.settled, MESSAGES);
	/* Every message that the server took is one that the client was told of or is in doubt of. */
	for (unsigned i = 0; i < w.settled; i++) {
		if (next < w.ntaken && (w.sent_well[i] || w.doubt[i]) && w.content[i].n == w.taken[next].n &&
		    !memcmp(w.content[i].p, w.taken[next].p, w.content[i].n)) {
			confirmed += w.sent_well[i];
			doubted += w.doubt[i];
			next++;
			continue;
		}
		/* Only what was never confirmed may be missing. */
		assert_false(w.sent_well[i]);
	}
	assert_int_equal(next, w.ntaken);
	for (int i = 0; i < MESSAGES; i++) {
		buf_free(&w.content[i]);
		buf_free(&w.taken[i]);
	}
	buf_free(&w.to_server);
	buf_free(&w.to_client);
	smtp_client_free(w.c);
	smtp_server_free(w.s);
}

static void
what_was_confirmed_was_taken(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 300; i++)
		round_of(i, false);
}

static void
a_broken_connection_leaves_no_lie(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 3000; i++)
		round_of(i * 7919, true);
	printf("%u confirmed, %u taken in doubt\n", confirmed, doubted);
	assert_true(confirmed > 100 && doubted > 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_confirmed_was_taken),
		cmocka_unit_test(a_broken_connection_leaves_no_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
