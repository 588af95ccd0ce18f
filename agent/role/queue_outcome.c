#include "role/queue_outcome.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "smtp/command.h"
#include "smtp/reply.h"

enum { LINES = 10, LINE = 300 };   /* recipients told one by one; bytes of each cause */

static bool
open_still(const struct queue_fate *f)
{
	return f->fate == RELAY_DEFERRED || f->fate == RELAY_HELD;
}

void
queue_enhanced(unsigned code, const char *text, char out[12], const char **rest)
{
	unsigned class = code / 100;
	size_t n = smtp_enhanced_read(text, strlen(text), class);

	if (n && n < 12 && (text[n] == ' ' || text[n] == 0)) {
		memcpy(out, text, n);
		out[n] = 0;
		*rest = text + n + (text[n] == ' ');
		return;
	}
	snprintf(out, 12, "%c.0.0", (char)('0' + class % 10));
	*rest = text;
}

/* The relay's words on one recipient, as a line: its reply, or the cause. */
static void
one_line(struct buf *b, const struct queue_fate *f)
{
	const char *s = f->text ? f->text : "";
	size_t n = strcspn(s, "\n");

	if (f->code)
		buf_printf(b, "%u ", f->code);
	buf_add(b, s, n < LINE ? n : LINE);
}

/* The lines of a reply's text as our own; each begins with the same enhanced code often enough. */
static void
reply_lines(struct buf *b, unsigned code, const char *s, char enhanced[12])
{
	for (bool first = true; *s; first = false) {
		char again[12];
		const char *rest, *line;
		size_t n;

		queue_enhanced(code, s, first ? enhanced : again, &line);
		n = strcspn(line, "\n");
		buf_printf(b, "%s%.*s", first ? "" : "\n", (int)n, line);
		rest = line + n;
		s = *rest ? rest + 1 : rest;
	}
}

static void
finish(struct queue_answer *out, struct buf *b)
{
	size_t n = b->n < sizeof out->text ? b->n : sizeof out->text - 1;

	if (b->p)
		memcpy(out->text, b->p, n);
	out->text[n] = 0;
	buf_free(b);
}

static const struct queue_fate *
first_of(const struct queue_fate *f, size_t n, enum relay_fate fate)
{
	for (size_t i = 0; i < n; i++)
		if (f[i].fate == fate)
			return &f[i];
	return NULL;
}

static bool
alike(const struct queue_fate *a, const struct queue_fate *b)
{
	return a->code == b->code && !strcmp(a->text ? a->text : "", b->text ? b->text : "");
}

void
queue_answer_refused(const struct queue_fate *f, size_t n, struct queue_answer *out)
{
	const struct queue_fate *of = first_of(f, n, RELAY_FAILED);
	struct buf b = BUF_INIT(QUEUE_WORDS);
	size_t told = 0;
	bool all = true;

	assert(of);
	for (size_t i = 0; i < n; i++)
		all &= f[i].fate == RELAY_FAILED && alike(&f[i], of);
	/* what is refused without a reply was refused by us for the relay's sake */
	out->code = of->code >= 500 && of->code < 600 ? of->code : 554;
	snprintf(out->enhanced, sizeof out->enhanced, "5.0.0");
	reply_lines(&b, out->code, of->text && *of->text ? of->text : "the relay refused it", out->enhanced);
	for (size_t i = 0; i < n && !all && told < LINES; i++) {
		buf_printf(&b, "\n<%s>: %s", f[i].address,
		    f[i].fate == RELAY_DELIVERED ? "delivered, " : open_still(&f[i]) ? "not taken, " : "");
		one_line(&b, &f[i]);
		told++;
	}
	finish(out, &b);
}

/* What became of whom, in lines. */
static void
mixed(struct buf *b, const struct queue_fate *f, size_t n, const char *id, bool reported,
    const struct queue_answer *c)
{
	const char *sep = "";
	size_t told = 0;

	if (c->ndelivered) {
		buf_printf(b, "delivered to %zu of %zu recipients", c->ndelivered, n);
		sep = "\n";
	}
	if (c->nopen) {
		const struct queue_fate *o = first_of(f, n, RELAY_HELD);

		if (!o)
			o = first_of(f, n, RELAY_DEFERRED);
		assert(o);
		buf_printf(b, "%squeued as %s", sep, id);
		if (c->nopen < n)
			buf_printf(b, " for %zu", c->nopen);
		buf_printf(b, ": relay %s: ", o->relay);
		one_line(b, o);
		sep = "\n";
	}
	for (size_t i = 0; i < n && told < LINES; i++) {
		if (f[i].fate != RELAY_FAILED)
			continue;
		buf_printf(b, "%srefused: <%s> ", sep, f[i].address);
		one_line(b, &f[i]);
		sep = "\n";
		told++;
	}
	if (c->nrefused > told)
		buf_printf(b, "%srefused: %zu more", sep, c->nrefused - told);
	if (c->nrefused)
		buf_str(b, reported ? "\na report on what is refused goes to the sender" :
		    "\nno report follows on what is refused");
}

void
queue_answer(const struct queue_fate *f, size_t n, const char *id, bool reported,
    struct queue_answer *out)
{
	struct buf b = BUF_INIT(QUEUE_WORDS);

	assert(n);
	*out = (struct queue_answer){.code = 250, .enhanced = "2.0.0"};
	for (size_t i = 0; i < n; i++) {
		out->ndelivered += f[i].fate == RELAY_DELIVERED;
		out->nrefused += f[i].fate == RELAY_FAILED;
		out->nopen += open_still(&f[i]);
	}
	if (out->nrefused == n) {
		queue_answer_refused(f, n, out);
		return;
	}
	if (out->ndelivered == n) {
		out->code = f->code >= 200 && f->code < 300 ? f->code : 250;
		reply_lines(&b, out->code, f->text && *f->text ? f->text : "delivered", out->enhanced);
	} else {
		mixed(&b, f, n, id, reported, out);
	}
	finish(out, &b);
}

void
queue_answer_error(int err, struct queue_answer *out)
{
	static const struct {
		int err;
		unsigned code;
		const char *enhanced, *text;
	} row[] = {
		{-ENOSPC, 452, "4.3.1", "no room for it now: try again later"},
		{-EDQUOT, 452, "4.3.1", "no room for it now: try again later"},
		{-EMSGSIZE, 552, "5.3.4", "the message is too large for the queue here"},
		{-E2BIG, 552, "5.5.3", "too many recipients, or too long names of them"},
		{-ESHUTDOWN, 451, "4.3.2", "the mail service is being stopped: try again soon"},
		{0, 451, "4.3.0", "it could not be stored: try again later"},
	};
	size_t i = 0;

	while (row[i].err && row[i].err != err)
		i++;
	*out = (struct queue_answer){.code = row[i].code};
	snprintf(out->enhanced, sizeof out->enhanced, "%s", row[i].enhanced);
	snprintf(out->text, sizeof out->text, "%s", row[i].text);
}

unsigned
queue_notify(const char *s)
{
	static const struct {
		const char *word;
		unsigned bit;
	} row[] = {
		{"NEVER", SMTP_NOTIFY_NEVER}, {"SUCCESS", SMTP_NOTIFY_SUCCESS},
		{"FAILURE", SMTP_NOTIFY_FAILURE}, {"DELAY", SMTP_NOTIFY_DELAY},
	};
	unsigned bits = 0;

	while (s && *s) {
		size_t n = strcspn(s, ",");

		for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
			if (n == strlen(row[i].word) && !strncasecmp(s, row[i].word, n))
				bits |= row[i].bit;
		s += n + (s[n] == ',');
	}
	return bits;
}

/* ---- reports to a sender ---------------------------------------------------------- */

struct storm_row {
	char sender[256];          /* a longer one is told apart by its beginning */
	uint64_t since;            /* of the window */
	unsigned went, left;
	uint64_t used;             /* order of use */
};

struct queue_storm {
	unsigned most;
	uint64_t used;
	size_t n;
	struct storm_row row[QUEUE_REPORT_SENDERS];
};

struct queue_storm *
queue_storm_new(unsigned most)
{
	struct queue_storm *s = calloc(1, sizeof *s);

	if (s)
		s->most = most;
	return s;
}

struct queue_storm *
queue_storm_free(struct queue_storm *s)
{
	free(s);
	return NULL;
}

bool
queue_storm_passes(struct queue_storm *s, const char *sender, uint64_t now, unsigned *left)
{
	struct storm_row *r = NULL, *old = NULL;

	*left = 0;
	for (size_t i = 0; i < s->n && !r; i++) {
		if (!strncasecmp(s->row[i].sender, sender, sizeof r->sender - 1))
			r = &s->row[i];
		if (!old || s->row[i].used < old->used)
			old = &s->row[i];
	}
	if (!r) {
		r = s->n < QUEUE_REPORT_SENDERS ? &s->row[s->n++] : old;
		*r = (struct storm_row){.since = now};
		snprintf(r->sender, sizeof r->sender, "%s", sender);
	}
	r->used = ++s->used;
	/* a clock set back begins anew as well */
	if (now - r->since >= 3600) {
		r->since = now;
		r->went = 0;
	}
	if (r->went >= s->most) {
		r->left++;
		return false;
	}
	r->went++;
	*left = r->left;
	r->left = 0;
	return true;
}
