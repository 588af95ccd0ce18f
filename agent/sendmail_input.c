#include "sendmail_input.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"

static int
next_byte(struct sendmail_input *in)
{
	if (in->at == in->n) {
		ssize_t k;

		do
			k = read(STDIN_FILENO, in->raw, sizeof in->raw);
		while (k < 0 && errno == EINTR);
		if (k < 0)
			in->err = errno;
		in->at = 0;
		in->n = k > 0 ? (size_t)k : 0;
		if (k <= 0)
			return -1;
	}
	return (unsigned char)in->raw[in->at++];
}

bool
sendmail_line(struct sendmail_input *in, struct buf *out)
{
	size_t from = out->n, cr = 0;
	bool fresh = !in->begun;
	int c = -1;

	if (in->over)
		return false;
	while (out->n - from < SENDMAIL_LINE && (c = next_byte(in)) >= 0) {
		if (c == '\r') {
			cr++;
			continue;
		}
		if (c == '\n')
			break;
		/* these stood alone, and will be refused */
		for (; cr; cr--)
			buf_chr(out, '\r');
		buf_chr(out, (char)c);
	}
	in->begun = out->n - from >= SENDMAIL_LINE;
	if (in->begun)
		return true;
	in->over = c < 0;
	if (fresh && !in->dots && out->n - from == 1 && out->p[from] == '.') {
		out->n = from;
		in->over = true;
		return false;
	}
	if (c < 0 && out->n == from)
		return false;
	buf_add(out, "\r\n", 2);
	return true;
}

size_t
sendmail_field_is(const char *p, size_t n, const char *name)
{
	size_t k = strlen(name);

	if (n <= k || strncasecmp(p, name, k) != 0)
		return 0;
	while (k < n && (p[k] == ' ' || p[k] == '\t'))
		k++;
	return k < n && p[k] == ':' ? k + 1 : 0;
}

size_t
sendmail_field_length(const char *p, size_t n)
{
	size_t at = 0;

	do {
		const char *lf = memchr(p + at, '\n', n - at);

		at = lf ? (size_t)(lf + 1 - p) : n;
	} while (at < n && (p[at] == ' ' || p[at] == '\t'));
	return at;
}
