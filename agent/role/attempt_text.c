#include "role/attempt_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

bool
attempt_statement(const char *prefix, char name[ATTEMPT_STATEMENT])
{
	static const char ours[] = "mailreeve ", observe[] = "observe ";
	bool observes = false;
	size_t n;

	if (!strncmp(prefix, ours, sizeof ours - 1)) {
		prefix += sizeof ours - 1;
		observes = !strncmp(prefix, observe, sizeof observe - 1);
		if (observes)
			prefix += sizeof observe - 1;
	}
	n = strnlen(prefix, ATTEMPT_STATEMENT - 1);
	while (n && (prefix[n - 1] == ' ' || prefix[n - 1] == ':'))
		n--;
	memcpy(name, prefix, n);
	name[n] = '\0';
	return observes;
}

const char *
attempt_unit(const char *path, size_t *n)
{
	static const char *const kind[] = {".service", ".scope", ".socket", ".mount", ".swap", ".slice"};
	const char *found = NULL;

	*n = strlen(path);
	for (const char *p = path; *p;) {
		size_t len = strcspn(p, "/");
		for (size_t k = 0; k < sizeof kind / sizeof kind[0]; k++) {
			size_t e = strlen(kind[k]);
			/* a slice holds units; it is one itself only where nothing within it is */
			if (len > e && !memcmp(p + len - e, kind[k], e)) {
				found = p;
				*n = len;
			}
		}
		p += len;
		p += *p == '/';
	}
	return found ? found : path;
}

/* ---- one line ----------------------------------------------------------------------- */

static bool
is_plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    strchr("._+@:/-%~#[]", c);
}

/* n bytes at s: bare where nothing in them could be taken for our own words, else quoted. */
static void
put_name(struct buf *b, const char *s, size_t n)
{
	bool plain = n > 0;

	for (size_t i = 0; i < n; i++)
		plain = plain && s[i] && is_plain((unsigned char)s[i]);
	if (plain) {
		buf_add(b, s, n);
		return;
	}
	buf_chr(b, '"');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c < ' ' || c > '~' || c == '"' || c == '\\')
			buf_printf(b, "\\x%02x", c);
		else
			buf_chr(b, (char)c);
	}
	buf_chr(b, '"');
}

static void
put_text(struct buf *b, const char *s)
{
	put_name(b, s, strlen(s));
}

static void
put_end(struct buf *b, const struct attempts_one *a, const char *address, uint32_t port)
{
	bool six = a->family == 6;

	if (six)
		buf_chr(b, '[');
	put_text(b, address);
	if (six)
		buf_chr(b, ']');
	if (port)
		buf_printf(b, ":%" PRIu32, port);
}

static bool
sure(const struct attempts_one *a, enum attempts_sure what)
{
	return a->sure & (uint32_t)what;
}

/* Who it was, as far as it is known. */
static void
put_who(struct buf *b, const struct attempts_one *a)
{
	bool pid_sure = sure(a, ATTEMPTS_SURE_PID);
	size_t n;

	if (a->program[0])
		put_text(b, a->program);
	else
		buf_str(b, "a program");
	if (a->program[0] && !pid_sure)
		buf_str(b, ", likely");
	buf_printf(b, " (uid %" PRIu32, a->uid);
	if (a->user[0]) {
		buf_chr(b, ' ');
		put_text(b, a->user);
	}
	if (a->unit[0]) {
		const char *unit = attempt_unit(a->unit, &n);
		buf_str(b, sure(a, ATTEMPTS_SURE_UNIT) ? ", unit " : ", likely unit ");
		put_name(b, unit, n);
	}
	if (a->pid)
		buf_printf(b, ", %spid %" PRIu32, pid_sure ? "" : "likely ", a->pid);
	if (a->exe[0]) {
		buf_str(b, a->pid ? " " : ", ");
		put_text(b, a->exe);
	}
	if (!a->pid && a->among[0]) {
		buf_str(b, ", one of ");
		put_text(b, a->among);
	}
	buf_chr(b, ')');
}

static bool
known_user(const struct attempts_one *a)
{
	return a->uid != UINT32_MAX;
}

static const char *
proto_word(uint32_t proto, char room[16])
{
	switch (proto) {
	case 6:
		return "tcp";
	case 17:
		return "udp";
	case 1:
		return "icmp";
	case 58:
		return "ipv6-icmp";
	default:
		snprintf(room, 16, "%" PRIu32, proto);
		return room;
	}
}

static const char *
hook_word(uint32_t hook)
{
	switch (hook) {
	case 1:
		return "input";
	case 2:
		return "forward";
	case 3:
		return "output";
	default:
		return "other";
	}
}

void
attempt_line(struct buf *b, const struct attempts_one *a, const char *did)
{
	char name[ATTEMPT_STATEMENT], room[16];
	bool observes = attempt_statement(a->statement, name), local = known_user(a);

	if (local)
		put_who(b, a);
	else
		put_end(b, a, a->source, a->sport);
	buf_str(b, " tried ");
	put_end(b, a, a->destination, a->dport);
	if (a->proto != 6)
		buf_printf(b, " (%s)", proto_word(a->proto, room));
	if (local) {
		buf_str(b, " from ");
		put_end(b, a, a->source, 0);
	}
	if (a->hook == 2)
		buf_str(b, ", forwarded");
	if (a->count != 1)
		buf_printf(b, ", %" PRIu64 " packets", a->count);
	buf_printf(b, ": %s ", did ? did : observes ? "would be refused by" : "refused by");
	put_text(b, name);
	if (a->in[0]) {
		buf_str(b, ", in ");
		put_text(b, a->in);
	}
	if (a->out[0]) {
		buf_str(b, ", out ");
		put_text(b, a->out);
	}
}

/* ---- fields ------------------------------------------------------------------------- */

struct rows {
	struct attempt_fields *f;
	unsigned n, numbers;
};

static void
row(struct rows *r, const char *key, const char *value)
{
	if (value && *value && r->n < ATTEMPT_NFIELD)
		r->f->field[r->n++] = (struct log_field){key, value};
}

static void
row_number(struct rows *r, const char *key, uint64_t x)
{
	char *s = r->f->number[r->numbers++];

	snprintf(s, sizeof r->f->number[0], "%" PRIu64, x);
	row(r, key, s);
}

static const char *
sure_word(const struct attempts_one *a)
{
	if (!known_user(a))
		return NULL;
	if (sure(a, ATTEMPTS_SURE_PID))
		return sure(a, ATTEMPTS_SURE_UNIT) ? "user,unit,pid" : "user,pid";
	return sure(a, ATTEMPTS_SURE_UNIT) ? "user,unit" : "user";
}

void
attempt_fields(const struct attempts_one *a, struct attempt_fields *f)
{
	struct rows r = {f, 0, 0};
	size_t n;

	memset(f, 0, sizeof *f);
	bool observes = attempt_statement(a->statement, f->statement);
	row(&r, "STATEMENT", f->statement);
	row(&r, "OBSERVED", observes ? "1" : NULL);
	row(&r, "HOOK", hook_word(a->hook));
	if (a->proto == 6 || a->proto == 17)
		row(&r, "PROTO", a->proto == 6 ? "tcp" : "udp");
	else
		row_number(&r, "PROTO", a->proto);
	row(&r, "SOURCE", a->source);
	if (a->sport)
		row_number(&r, "SOURCE_PORT", a->sport);
	row(&r, "DESTINATION", a->destination);
	if (a->dport)
		row_number(&r, "PORT", a->dport);
	row(&r, "IN", a->in);
	row(&r, "OUT", a->out);
	if (known_user(a))
		row_number(&r, "UID", a->uid);
	row(&r, "USER", a->user);
	const char *unit = attempt_unit(a->unit, &n);
	snprintf(f->unit, sizeof f->unit, "%.*s", n < sizeof f->unit ? (int)n : 0, unit);
	row(&r, "UNIT", f->unit);
	row(&r, "CGROUP", a->unit);
	if (a->pid)
		row_number(&r, "PID", a->pid);
	row(&r, "COMM", a->program);
	row(&r, "EXE", a->exe);
	row(&r, "SURE", sure_word(a));
	row(&r, "AMONG", a->among);
	row_number(&r, "COUNT", a->count);
}

/* ---- JSON --------------------------------------------------------------------------- */

static void
json_text(struct buf *b, const char *key, const char *value)
{
	buf_printf(b, ",\"%s\":", key);
	if (value && *value)
		buf_json(b, value);
	else
		buf_str(b, "null");
}

static void
json_number(struct buf *b, const char *key, uint64_t x, bool known)
{
	buf_printf(b, ",\"%s\":", key);
	if (known)
		buf_dec(b, x);
	else
		buf_str(b, "null");
}

void
attempt_json(struct buf *b, const struct attempts_one *a)
{
	char name[ATTEMPT_STATEMENT], room[16], unit[256];
	bool observes = attempt_statement(a->statement, name), local = known_user(a);
	size_t n;
	const char *u = attempt_unit(a->unit, &n);

	snprintf(unit, sizeof unit, "%.*s", (int)(n < sizeof unit ? n : sizeof unit - 1), u);
	buf_str(b, "{\"statement\":");
	buf_json(b, name);
	buf_printf(b, ",\"observed\":%s", observes ? "true" : "false");
	json_number(b, "when_us", a->when, true);
	json_number(b, "count", a->count, true);
	json_text(b, "hook", hook_word(a->hook));
	json_number(b, "family", a->family, true);
	json_text(b, "proto", proto_word(a->proto, room));
	json_text(b, "source", a->source);
	json_number(b, "source_port", a->sport, a->sport != 0);
	json_text(b, "destination", a->destination);
	json_number(b, "port", a->dport, a->dport != 0);
	json_text(b, "in", a->in);
	json_text(b, "out", a->out);
	json_number(b, "uid", a->uid, local);
	json_text(b, "user", a->user);
	json_text(b, "unit", unit);
	json_text(b, "cgroup", a->unit);
	buf_printf(b, ",\"unit_sure\":%s", sure(a, ATTEMPTS_SURE_UNIT) ? "true" : "false");
	json_number(b, "pid", a->pid, a->pid != 0);
	buf_printf(b, ",\"pid_sure\":%s", sure(a, ATTEMPTS_SURE_PID) ? "true" : "false");
	json_text(b, "program", a->program);
	json_text(b, "exe", a->exe);
	json_text(b, "among", a->among);
	buf_chr(b, '}');
}

void
attempt_lost_line(struct buf *b, const struct attempts_lost *l)
{
	buf_str(b, "not told one by one: ");
	if (l->over_rate)
		buf_printf(b, "%" PRIu64 " packets over the rate", l->over_rate);
	if (l->over_rate && l->lost)
		buf_str(b, ", ");
	if (l->lost || !l->over_rate)
		buf_printf(b, "%" PRIu64 " lost before they were read", l->lost);
}
