/*
 * Any bytes as a relay of the client session. The first byte says how large the pieces are and
 * what the options are. Every message is settled or lost once; what is written are whole
 * lines without control characters; a content has one end.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/client.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool x)
{
	if (!x)
		abort();
}

static const char text[] = ".a\r\n\r\n..\r\nb\r\n";
static const struct smtp_client_rcpt rcpts[] = {{.path = "d@e.f", .dsn = {2, "rfc822;d@e.f"}}, {.path = "g@e.f"}};

struct state {
	struct smtp_client *c;
	struct smtp_client_message m[3];
	unsigned sent, settled;
	size_t given;
	bool over;
	char prev;
};

static void
settle(struct state *t, const struct smtp_client_message *m)
{
	must(m == &t->m[t->settled]);
	t->settled++;
	must(t->settled <= t->sent);
}

static void
reply_ok(const struct smtp_reply *r)
{
	must(r->code >= 200 && r->code <= 559 && r->text && strlen(r->text) == r->n);
	must(r->n <= SMTP_REPLY_MOST && r->lines <= SMTP_REPLY_LINES);
	for (const char *s = r->text; *s; s++)
		must(*s == '\n' || (*s >= 32 && *s < 127));
	must(!*r->enhanced || *r->enhanced == (char)('0' + r->code / 100));
}

/* False: nothing more comes of the event that stands. */
static bool
event(struct state *t)
{
	const struct smtp_client_event *e = smtp_client_event(t->c);

	switch (e->is) {
	case SMTP_CLIENT_REPLY:
		reply_ok(e->reply);
		smtp_client_next(t->c, 0);
		return true;
	case SMTP_CLIENT_STARTTLS:
		smtp_client_tls_done(t->c, true, 0);
		return true;
	case SMTP_CLIENT_AUTH:
		must(strlen(smtp_client_capable(t->c)->mechanisms) < 256);
		smtp_client_auth(t->c, smtp_capable_auth(smtp_client_capable(t->c), "LOGIN") ? "LOGIN" : NULL, NULL, 0);
		return true;
	case SMTP_CLIENT_CHALLENGE:
		smtp_client_auth_line(t->c, *e->challenge == '*' ? NULL : "QQ==", 0);
		return true;
	case SMTP_CLIENT_READY:
		if (t->sent == 3 || smtp_client_spent(t->c) ||
		    smtp_client_fits(t->c, &t->m[t->sent]) != SMTP_FIT_OK) {
			smtp_client_quit(t->c, 0);
			return true;
		}
		smtp_client_send(t->c, &t->m[t->sent++], 0);
		return true;
	case SMTP_CLIENT_CONTENT:
		must(e->message == &t->m[t->settled]);
		t->given = 0;
		while (t->given < sizeof text - 1)
			t->given += smtp_client_content(t->c, text + t->given, sizeof text - 1 - t->given, 0);
		smtp_client_content_end(t->c, 0);
		return true;
	case SMTP_CLIENT_DONE:
		must(e->tried >= 1 && e->tried <= 2);
		settle(t, e->message);
		smtp_client_next(t->c, 0);
		return true;
	case SMTP_CLIENT_FAILED:
		if (e->reply)
			reply_ok(e->reply);
		for (int i = 0; i < 2 && !t->over; i++)
			if (e->lost[i])
				settle(t, e->lost[i]);
		t->over = true;
		return false;
	case SMTP_CLIENT_CLOSED:
		t->over = true;
		return false;
	}
	return false;
}

static void
drain(struct state *t)
{
	const char *p;
	size_t n;

	for (;;) {
		while (smtp_client_event(t->c) && event(t))
			;
		p = smtp_client_output(t->c, &n);
		must(!t->over || !n);
		if (!n)
			return;
		for (size_t i = 0; i < n; i++) {
			must(p[i] == '\r' || p[i] == '\n' || (p[i] >= 32 && p[i] < 127));
			must((p[i] == '\n') == (t->prev == '\r'));
			t->prev = p[i];
		}
		must(p[n - 1] == '\n');
		smtp_client_sent(t->c, n, 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned how = size ? data[0] : 0;
	const struct smtp_client_options o = {
		.host = "h",
		.tls = how & 4 ? SMTP_TLS_STARTTLS : how & 8 ? SMTP_TLS_IMPLICIT : SMTP_TLS_NONE,
		.auth = how & 16 ? SMTP_AUTH_REQUIRED : SMTP_AUTH_NEVER,
		.auth_in_clear = how & 32,
		.no_pipelining = how & 64,
	};
	struct state t = {.c = smtp_client_new(&o)};
	size_t piece = (how & 3) == 3 ? 1 : (how & 3) == 2 ? 7 : (how & 3) ? 40 : size;

	if (!t.c)
		return 0;
	for (int i = 0; i < 3; i++)
		t.m[i] = (struct smtp_client_message){.path = i ? "a@b.c" : "", .rcpt = rcpts, .nrcpt = 2,
		    .mail = {.sized = true, .size = 100, .envid = "x"}};
	smtp_client_start(t.c, 0);
	for (size_t i = 1; i < size && !t.over;) {
		size_t n = size - i < piece ? size - i : piece, k;
		char *copy = malloc(n);

		if (!copy)
			break;
		memcpy(copy, data + i, n);
		k = smtp_client_feed(t.c, copy, n, 0);
		must(k <= n);
		free(copy);
		must(k || smtp_client_event(t.c));
		drain(&t);
		i += k;
	}
	smtp_client_gone(t.c, 0);
	drain(&t);
	must(t.over && t.settled == t.sent);
	smtp_client_free(t.c);
	return 0;
}
