#include "base/cgroup.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"

static const char suffix[] = ".slice";

/* `a-b-c.slice`, n bytes without its suffix: a.slice/a-b.slice/ in front of it. */
static void
parents(struct buf *b, const char *unit, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (unit[i] == '-') {
			buf_add(b, unit, i);
			buf_str(b, suffix);
			buf_chr(b, '/');
		}
}

/* A dash of the template's name is no step of its slice's. */
static void
template_slice(struct buf *b, const char *unit, const char *at)
{
	buf_str(b, "system-");
	for (; unit < at; unit++)
		if (*unit == '-' || *unit == '\\')
			buf_printf(b, "\\x%02x", *unit);
		else
			buf_chr(b, *unit);
	buf_str(b, suffix);
	buf_chr(b, '/');
}

const char *
cgroup_of_unit(struct arena *a, const char *unit)
{
	/* a unit's name has 255 bytes at most, and so 127 parents at most */
	struct buf b = BUF_INIT(64 << 10);
	const char *at = strchr(unit, '@'), *dot = strrchr(unit, '.'), *out;

	if (strchr(unit, '/'))
		return unit;
	if (dot && dot > unit && !strcmp(dot, suffix)) {
		parents(&b, unit, (size_t)(dot - unit));
	} else {
		buf_str(&b, "system.slice/");
		if (at && at > unit && dot && dot > at + 1)
			template_slice(&b, unit, at);
	}
	buf_str(&b, unit);
	out = b.err ? unit : arena_str(a, b.p);
	buf_free(&b);
	return out;
}
