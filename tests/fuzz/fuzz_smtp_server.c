/*
 * Any bytes as a client of the server session. The first byte says how large the pieces are and
 * how the caller answers. Every transaction that was opened ends once, by END or RESET;
 * what an END hands over is clean; what is said to the client are replies.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/server.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool x)
{
	if (!x)
		abort();
}

struct state {
	struct smtp_server *s;
	unsigned how, step;
	bool open;                 /* MAIL was answered well */
	bool data;
	uint64_t content;
	char last;                 /* of the content so far; LF at its beginning */
	size_t col;                /* of what is said to the client */
	char prev;
};

static void
clean(const char *s)
{
	for (; s && *s; s++)
		must((unsigned char)*s >= 32 && *s != 127);
}

static void
content(struct state *t, const char *p, size_t n)
{
	must(t->open && t->data && n);
	for (size_t i = 0; i < n; i++) {
		must(p[i]);
		must((p[i] == '\n') == (t->last == '\r'));
		t->last = p[i];
	}
	t->content += n;
}

/* False: the event is left standing. */
static bool
event(struct state *t)
{
	const struct smtp_server_event *e = smtp_server_event(t->s);
	bool no = (t->how >> (t->step++ & 7) & 1) && t->how & 0x80;

	clean(e->path);
	clean(e->mail.envid);
	clean(e->mail.auth);
	clean(e->rcpt.orcpt);
	switch (e->is) {
	case SMTP_SERVER_CONNECT:
		smtp_server_answer(t->s, 220, NULL, NULL, 0);
		break;
	case SMTP_SERVER_MAIL:
		must(!t->open);
		t->open = !no;
		smtp_server_answer(t->s, no ? 550 : 250, NULL, no ? "a\nb" : NULL, 0);
		break;
	case SMTP_SERVER_RCPT:
		must(t->open);
		smtp_server_answer(t->s, no ? 450 : 250, no ? "9.9" : NULL, NULL, 0);
		break;
	case SMTP_SERVER_DATA:
		must(t->open && !t->data);
		smtp_server_answer(t->s, no ? 451 : 354, NULL, NULL, 0);
		t->data = !no;
		t->content = 0;
		t->last = 0;
		break;
	case SMTP_SERVER_CONTENT:
		content(t, e->run, e->nrun);
		smtp_server_next(t->s, 0);
		break;
	case SMTP_SERVER_END:
		must(t->open && t->data && e->size == t->content);
		must(!t->content || t->last == '\n');
		t->open = t->data = false;
		smtp_server_answer(t->s, no ? 451 : 250, NULL, NULL, 0);
		break;
	case SMTP_SERVER_RESET:
		must(t->open);
		t->open = t->data = false;
		smtp_server_next(t->s, 0);
		break;
	case SMTP_SERVER_CLOSE:
		must(!t->open);
		return false;
	}
	return true;
}

static void
drain(struct state *t)
{
	const char *p;
	size_t n;

	while (smtp_server_event(t->s) && event(t))
		;
	p = smtp_server_output(t->s, &n);
	for (size_t i = 0; i < n; i++) {
		must(p[i] == '\r' || p[i] == '\n' || (p[i] >= 32 && p[i] < 127));
		must((p[i] == '\n') == (t->prev == '\r'));
		if (t->col < 3)
			must(p[i] >= '0' && p[i] <= '9');
		t->prev = p[i];
		t->col = p[i] == '\n' ? 0 : t->col + 1;
		must(t->col < 512);
	}
	smtp_server_sent(t->s, n, 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct smtp_server_options with = {.host = "h", .auth = true, .size = 300, .line = 1000, .errors = 1000,
		.idle = 1000};
	struct state t = {.how = size ? data[0] : 0};
	size_t piece = (t.how & 3) == 3 ? 1 : (t.how & 3) == 2 ? 7 : (t.how & 3) ? 100 : size;

	if (!(t.s = smtp_server_new(&with)))
		return 0;
	smtp_server_start(t.s, 0);
	drain(&t);
	for (size_t i = 1, idle = 0; i < size && idle < 3;) {
		size_t n = size - i < piece ? size - i : piece, k;
		char *copy = malloc(n);

		if (!copy)
			break;
		memcpy(copy, data + i, n);
		k = smtp_server_feed(t.s, copy, n, 0);
		must(k <= n);
		/* A run of content lies in what was fed. */
		drain(&t);
		free(copy);
		i += k;
		idle = k ? 0 : idle + 1;
		if (smtp_server_event(t.s))
			break;
	}
	smtp_server_gone(t.s, 0);
	drain(&t);
	must(smtp_server_event(t.s) && smtp_server_event(t.s)->is == SMTP_SERVER_CLOSE && !t.open);
	smtp_server_free(t.s);
	return 0;
}
