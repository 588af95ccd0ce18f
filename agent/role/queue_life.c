/* A message's life in the words of people, from the lines of its file and of the trace log (spool/form.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "role/queue_inside.h"

enum { COLUMNS = 12, TIME = 24 };

/* What each event is to people; what follows is the recipient. */
static const struct {
	const char *name, *words;
	bool of_all;               /* of the whole message where all recipients are meant */
} told[] = {
	{"sending", "being sent to", false}, {"spared", "not sent after all to", false},
	{"delivered", "delivered to", false}, {"deferred", "put off for", false}, {"failed", "refused for good for", false},
	{"expired", "given up, too old, for", false}, {"held", "held for", true}, {"released", "released for", true},
	{"retry", "to be tried at once for", true}, {"rerouted", "goes another way to", false},
	{"warned", "the sender was told of the delay for", false}, {"reported", "the sender was told of the failure for", false},
	{"dropped", "dropped by people for", true},
	{"cut", "was being sent when the forwarder ended, so it may come twice, to", false},
};

/* The keys of the envelope, in the order of the file; each begins with what is put before its value. */
static const struct {
	const char *key, *before, *after;
} field[] = {
	{"application", ", application ", ""}, {"uid", ", uid ", ""}, {"unit", ", unit ", ""},
	{"from", "\n    from <", ">"}, {"envid", "\n    envelope id ", ""}, {"ret", "\n    returned in reports: ", ""},
	{"body", "\n    body ", ""}, {"smtputf8", "\n    with addresses beyond ASCII: ", ""}, {"note", "\n    by ", ""},
	{"not-before", "\n    not before ", ""}, {" relay", ", by relay ", ""}, {" notify", ", reports wanted: ", ""},
	{" orcpt", ", first meant for ", ""},
};

/* Only what a terminal shows as it is: no control characters, those of UTF-8 (U+0080 to U+009F) among them. */
static void
say(struct buf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		bool high = c == 0xc2 && ((unsigned char)s[1] & 0xe0) == 0x80;

		buf_chr(b, (char)(c < ' ' || c == 0x7f || high ? '?' : *s));
		s += high;
	}
}

static void
recipient(struct queue_life *l, size_t i)
{
	buf_str(l->b, i && l->said ? ", <" : " <");
	say(l->b, i < l->nto ? l->to[i] : "?");
	buf_chr(l->b, '>');
	l->said = true;
}

/* "0,3-5": the recipients' numbers; "*": all. */
static void
recipients(struct queue_life *l, const char *which)
{
	l->said = false;
	if (*which == '*') {
		for (size_t i = 0; i < l->nto; i++)
			recipient(l, i);
		return;
	}
	while (*which >= '0' && *which <= '9') {
		char *end;
		unsigned long from = strtoul(which, &end, 10), to = from;

		if (*end == '-')
			to = strtoul(end + 1, &end, 10);
		for (; from <= to && from < l->nto; from++)
			recipient(l, from);
		which = *end == ',' ? end + 1 : end;
	}
}

/* "2026-11-22T04:17:47.613Z" with a blank for the T; its bytes have been seen. */
static void
at(struct buf *b, const char *time)
{
	buf_add(b, time, 10);
	buf_chr(b, ' ');
	buf_str(b, time + 11);
}

static void
event(struct queue_life *l, char *col[COLUMNS], const char *words, bool of_all)
{
	const char *next = col[4], *relay = col[7], *peer = col[8], *tls = col[9], *cipher = col[10], *text = col[11];
	/* an alarm's text says the code itself */
	bool none = !strcmp(col[6], "0") || !strncmp(text, QUEUE_ALARM, strlen(QUEUE_ALARM));

	at(l->b, col[1]);
	buf_str(l->b, "  ");
	if (of_all && *col[2] == '*')
		/* without "for" or "to" */
		buf_add(l->b, words, (size_t)(strrchr(words, ' ') - words));
	else {
		buf_str(l->b, words);
		recipients(l, col[2]);
	}
	if (*relay)
		buf_printf(l->b, ", relay %s", relay);
	if (*peer)
		buf_printf(l->b, " at %s, %s%s%s", peer, *tls ? tls : "without TLS", *cipher ? " " : "", cipher);
	if (!strcmp(col[0], "sending") && strcmp(col[3], "0") != 0)
		buf_printf(l->b, ", attempt %s", col[3]);
	if (!none || *text) {
		buf_printf(l->b, ": %s%s", none ? "" : col[6], none ? "" : " ");
		say(l->b, text);
	}
	if (strlen(next) == TIME) {
		buf_str(l->b, "; again at ");
		at(l->b, next);
	}
	buf_chr(l->b, '\n');
}

/* A message that never was in the queue: "note TIME through FATE relay R CODE TEXT ...", by columns. */
static void
note(struct queue_life *l, char *time, char *rest)
{
	at(l->b, time);
	buf_str(l->b, "  ");
	for (char *p = rest; *p; p++)
		if (*p == '\t')
			buf_str(l->b, ", ");
		else
			buf_chr(l->b, *p);
	buf_chr(l->b, '\n');
}

static void
envelope(struct queue_life *l, const char *key, const char *value)
{
	if (!strcmp(key, "arrived")) {
		at(l->b, value);
		buf_str(l->b, "  taken");
		l->open = true;
	} else if (!strcmp(key, "to")) {
		char **v = realloc(l->to, (l->nto + 1) * sizeof *v);

		if (v) {
			l->to = v;
			if ((v[l->nto] = strdup(value)))
				l->nto++;
		}
		buf_str(l->b, "\n    to <");
		say(l->b, value);
		buf_chr(l->b, '>');
	}
	for (size_t i = 0; i < sizeof field / sizeof *field; i++)
		if (!strcmp(key, field[i].key)) {
			buf_str(l->b, field[i].before);
			/* whom the kernel could not tell */
			say(l->b, !strcmp(key, "uid") && !strcmp(value, "4294967295") ? "not known" : value);
			buf_str(l->b, field[i].after);
		}
}

void
queue_life_line(struct queue_life *l, char *line)
{
	char *col[COLUMNS] = {line};
	size_t n = 1;

	for (char *p = line; n < COLUMNS && (p = strchr(p, '\t')); n++) {
		*p++ = 0;
		col[n] = p;
	}
	if (n == 2 && (strcmp(col[0], "arrived") != 0 || strlen(col[1]) == TIME)) {
		envelope(l, col[0], col[1]);
		return;
	}
	if (l->open)
		buf_chr(l->b, '\n');
	l->open = false;
	if (n < 3 || strlen(col[1]) != TIME)
		return;
	if (n == COLUMNS && strcmp(col[0], "note") != 0) {
		for (size_t i = 0; i < sizeof told / sizeof *told; i++)
			if (!strcmp(col[0], told[i].name))
				event(l, col, told[i].words, told[i].of_all);
		return;
	}
	/* the columns of a note are its own */
	for (size_t i = 3; i < n; i++)
		*(col[i] - 1) = '\t';
	note(l, col[1], col[2]);
}

void
queue_life_end(struct queue_life *l)
{
	if (l->open)
		buf_chr(l->b, '\n');
	for (size_t i = 0; i < l->nto; i++)
		free(l->to[i]);
	free(l->to);
	*l = (struct queue_life){.b = l->b};
}
