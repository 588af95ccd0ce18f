#include "log/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/buf.h"

enum {
	MOST_FIELDS = 32,
	MOST_VALUE = 1024,         /* bytes of a value, escaped */
	MOST_LINE = 8 << 10,
	OWN_FIELDS = 3,            /* PRIORITY, SYSLOG_IDENTIFIER, MESSAGE */
};

static const char *who = "mailreeved";
static bool journal;

static const char *const level_word[] = {
	[LOG_IS_ERROR] = "error",
	[LOG_IS_WARNING] = "warning",
	[LOG_IS_NOTICE] = "notice",
	[LOG_IS_INFO] = "info",
};

/* systemd tells by JOURNAL_STREAM which file standard error was when it connected it to the
 * journal (systemd.exec(5)). */
static bool
on_journal(void)
{
	const char *s = getenv("JOURNAL_STREAM");
	struct stat st;
	char *end;

	if (!s || fstat(STDERR_FILENO, &st))
		return false;
	unsigned long long dev = strtoull(s, &end, 10);
	if (*end != ':')
		return false;
	unsigned long long ino = strtoull(end + 1, &end, 10);
	return *end == '\0' && dev == st.st_dev && ino == st.st_ino;
}

void
log_begin(const char *name)
{
	who = name;
	journal = on_journal();
}

/* Adds s without anything that could end a line or move a terminal's cursor. */
static void
put_escaped(struct buf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c < ' ' || c == 127)
			buf_printf(b, "\\x%02x", c);
		else
			buf_chr(b, (char)c);
	}
}

static bool
is_plain(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == '"' || *s == '=')
			return false;
	return true;
}

static void
to_stderr(enum log_level l, const struct log_field *f, const char *text)
{
	struct buf b = BUF_INIT(MOST_LINE);

	buf_printf(&b, "%s: %s: ", who, level_word[l]);
	put_escaped(&b, text);
	for (; f && f->key; f++) {
		if (!f->value)
			continue;
		buf_chr(&b, ' ');
		for (const char *k = f->key; *k; k++)
			buf_chr(&b, (char)(*k >= 'A' && *k <= 'Z' ? *k + ('a' - 'A') : *k));
		buf_chr(&b, '=');
		bool plain = is_plain(f->value);
		if (!plain)
			buf_chr(&b, '"');
		put_escaped(&b, f->value);
		if (!plain)
			buf_chr(&b, '"');
	}
	buf_chr(&b, '\n');
	/* a line that is too long, or no memory: what there is, ended */
	if (b.err && b.n)
		b.p[b.n - 1] = '\n';
	for (size_t done = 0; done < b.n;) {
		ssize_t k = write(STDERR_FILENO, b.p + done, b.n - done);
		if (k <= 0)
			break; /* nobody is left to be told */
		done += (size_t)k;
	}
	buf_free(&b);
}

static void
to_journal(enum log_level l, const struct log_field *f, const char *text)
{
	struct buf b[OWN_FIELDS + MOST_FIELDS];
	struct iovec v[OWN_FIELDS + MOST_FIELDS];
	int n = 0;

	for (size_t i = 0; i < sizeof b / sizeof b[0]; i++)
		b[i] = (struct buf)BUF_INIT(MOST_VALUE + 256);
	buf_printf(&b[n++], "PRIORITY=%d", (int)l);
	buf_printf(&b[n++], "SYSLOG_IDENTIFIER=%s", who);
	buf_str(&b[n], "MESSAGE=");
	put_escaped(&b[n++], text);
	for (; f && f->key && n < OWN_FIELDS + MOST_FIELDS; f++) {
		if (!f->value)
			continue;
		buf_printf(&b[n], "MAILREEVE_%s=", f->key);
		put_escaped(&b[n++], f->value);
	}
	for (int i = 0; i < n; i++)
		v[i] = (struct iovec){.iov_base = b[i].p, .iov_len = b[i].n};
	if (sd_journal_sendv(v, n) < 0)
		to_stderr(l, NULL, text);
	for (int i = 0; i < n; i++)
		buf_free(&b[i]);
}

void
log_say(enum log_level l, const struct log_field *f, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (journal)
		to_journal(l, f, text);
	else
		to_stderr(l, f, text);
}
