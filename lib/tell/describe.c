#include "tell/describe.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "addr/addr.h"
#include "base/arena.h"
#include "base/buf.h"
#include "world/world.h"

enum { PREFIXES_SHOWN = 6, RANGES_SHOWN = 6 };

static const char *const hook_word[] = {
	[PACKET_FORWARD] = "forwarded",
	[PACKET_OUTPUT] = "outbound",
	[PACKET_INPUT] = "inbound",
};

static const char *const state_word[] = {
	[PACKET_NEW] = "new",
	[PACKET_ESTABLISHED] = "established",
	[PACKET_RELATED] = "related",
	[PACKET_INVALID] = "invalid",
	[PACKET_UNTRACKED] = "untracked",
};

const char *
describe_place(struct arena *a, struct text_set *t, struct text_span at)
{
	struct text_place p = text_place(t, at);

	return *p.name ? arena_printf(a, "%s:%u", p.name, p.line) : "";
}

const char *
describe_stmt(struct arena *a, struct text_set *t, const struct policy_stmt *s)
{
	const char *where = s->point->kind == POLICY_ROUTER ?
	    arena_printf(a, " (%s, %s)", s->zone->meta.name, policy_dir_word(s->dir)) :
	    arena_printf(a, " (%s)", policy_dir_word(s->dir));

	return arena_printf(a, "%s%s, %s", policy_stmt_label(a, s), where,
	    describe_place(a, t, s->meta.at));
}

static void
json_key(struct buf *out, const char *key, const char *value)
{
	if (!value)
		return;
	buf_printf(out, ", \"%s\": ", key);
	buf_json(out, value);
}

void
describe_stmt_json(struct buf *out, struct text_set *t, const struct policy_stmt *s)
{
	struct text_place p = text_place(t, s->meta.at);

	buf_str(out, "{\"statement\": ");
	buf_json(out, s->meta.name ? s->meta.name : policy_stmt_kind_word(s->kind));
	json_key(out, "kind", policy_stmt_kind_word(s->kind));
	json_key(out, "point", s->point->meta.name);
	json_key(out, "zone", s->zone->meta.name);
	json_key(out, "direction", policy_dir_word(s->dir));
	json_key(out, "file", p.name);
	buf_printf(out, ", \"line\": %u, \"column\": %u", p.line, p.col);
	json_key(out, "title", s->meta.title);
	json_key(out, "owner", s->meta.owner);
	json_key(out, "reason", s->meta.reason);
	json_key(out, "ticket", s->meta.ticket);
	json_key(out, "source", s->meta.source);
	buf_chr(out, '}');
}

static const char *zone = "UTC";

void
describe_zone(const char *name)
{
	zone = name ? name : "UTC";
}

const char *
describe_second(struct arena *a, uint64_t sec)
{
	char text[32];

	world_clock(zone, sec, text);
	return arena_printf(a, "%s %s", text, zone);
}

const char *
describe_verdict(enum flow_verdict v, bool observe)
{
	if (!observe)
		return flow_verdict_name(v);
	switch (v) {
	case FLOW_UNTOUCHED:
	case FLOW_ALLOW:
		return flow_verdict_name(v);
	case FLOW_REJECT:
		return "pass, observed (would be reject)";
	case FLOW_DROP:
		return "pass, observed (would be drop)";
	case FLOW_CAPTURE:
		return "pass, observed (would be capture)";
	}
	return "?";
}

static bool
is_address(enum flow_field x)
{
	return x == FLOW_SRC4 || x == FLOW_DST4 || x == FLOW_SRC6 || x == FLOW_DST6;
}

static enum addr_family
family_of(enum flow_field x)
{
	return x == FLOW_SRC4 || x == FLOW_DST4 ? ADDR_V4 : ADDR_V6;
}

/* How many prefixes write the intervals; stops counting past `most`. */
static size_t
prefix_count(enum addr_family f, const struct flow_ival *v, size_t n, size_t most)
{
	size_t k = 0;

	for (size_t i = 0; i < n && k <= most; i++)
		for (u128 lo = v[i].lo; k <= most; ) {
			struct addr_prefix p = addr_range_head(f, lo, v[i].hi);

			k++;
			if (p.hi >= v[i].hi)
				break;
			lo = p.hi + 1;
		}
	return k;
}

static void
put_prefixes(struct buf *out, enum addr_family f, const struct flow_ival *v, size_t n)
{
	const char *comma = "";

	for (size_t i = 0; i < n; i++)
		for (u128 lo = v[i].lo; ; ) {
			struct addr_prefix p = addr_range_head(f, lo, v[i].hi);
			char text[50];

			addr_prefix_write(p, text);
			buf_printf(out, "%s%s", comma, text);
			comma = ", ";
			if (p.hi >= v[i].hi)
				break;
			lo = p.hi + 1;
		}
}

/* A count of addresses: exact up to 2^64, then as a power of two. */
static void
put_count(struct buf *out, enum addr_family f, const struct flow_ival *v, size_t n)
{
	u128 sum = 0;
	bool over = false;
	unsigned k = 127;

	for (size_t i = 0; i < n; i++) {
		u128 c = v[i].hi - v[i].lo + 1;

		over |= c == 0 || sum + c < sum;
		sum += c;
	}
	if (over) {
		buf_str(out, " (2^128 addresses)");
		return;
	}
	if (f == ADDR_V4 || sum < (u128)1 << 40) {
		buf_str(out, " (");
		buf_dec(out, (uint64_t)sum);
		buf_str(out, sum == 1 ? " address)" : " addresses)");
		return;
	}
	while (!(sum >> k))
		k--;
	buf_printf(out, " (%s2^%u addresses)", sum == (u128)1 << k ? "" : "about ", k);
}

static void
put_addresses(struct buf *out, enum addr_family f, const struct flow_ival *v, size_t n)
{
	struct flow_ival gap[PREFIXES_SHOWN + 1];
	size_t ngap = 0;
	u128 at = 0, last = addr_last(f);
	bool open = true;

	if (prefix_count(f, v, n, PREFIXES_SHOWN) <= PREFIXES_SHOWN) {
		put_prefixes(out, f, v, n);
		put_count(out, f, v, n);
		return;
	}
	/* "all but a few" reads better than the holes' edges. */
	for (size_t i = 0; i < n && ngap <= PREFIXES_SHOWN; i++) {
		if (v[i].lo > at)
			gap[ngap++] = (struct flow_ival){at, v[i].lo - 1};
		if (v[i].hi == last)
			open = false;
		at = v[i].hi + 1;
	}
	if (open && ngap <= PREFIXES_SHOWN)
		gap[ngap++] = (struct flow_ival){at, last};
	if (ngap <= PREFIXES_SHOWN &&
	    prefix_count(f, gap, ngap, PREFIXES_SHOWN) <= PREFIXES_SHOWN) {
		buf_printf(out, "all IPv%c but ", f == ADDR_V4 ? '4' : '6');
		put_prefixes(out, f, gap, ngap);
		put_count(out, f, v, n);
		return;
	}
	for (size_t i = 0; i < n && i < RANGES_SHOWN; i++) {
		char text[46];

		addr_write((struct addr){f, v[i].lo}, text);
		buf_printf(out, "%s%s", i ? ", " : "", text);
		if (v[i].hi != v[i].lo) {
			addr_write((struct addr){f, v[i].hi}, text);
			buf_printf(out, "-%s", text);
		}
	}
	if (n > RANGES_SHOWN)
		buf_printf(out, ", and %zu more ranges", n - RANGES_SHOWN);
	put_count(out, f, v, n);
}

/* An interface's name; what is no letter of a name as '?'. */
static void
put_interface(struct buf *out, u128 v)
{
	for (int shift = 120; shift >= 0 && v >> shift & 0xff; shift -= 8) {
		unsigned c = (unsigned)(v >> shift & 0xff);

		if (c <= ' ' || c >= 127 || c == '"' || c == '\\')
			c = '?';
		buf_chr(out, (char)c);
	}
}

/* A name, or those that begin alike: "veth*". */
static void
put_interfaces(struct buf *out, u128 lo, u128 hi)
{
	put_interface(out, lo);
	if (lo == hi)
		return;
	if (lo & (lo ^ hi) || (lo ^ hi) & ((lo ^ hi) + 1)) {
		buf_chr(out, '-');
		put_interface(out, hi);
	} else {
		buf_chr(out, '*');
	}
}

static bool
is_interface(enum flow_field x)
{
	return x == FLOW_IIF || x == FLOW_OIF;
}

static void
put_value(struct buf *out, struct flow *f, enum flow_field x, u128 v)
{
	switch (x) {
	case FLOW_HOOK:
		buf_str(out, v <= PACKET_INPUT ? hook_word[(int)v] : "?");
		return;
	case FLOW_LOOPBACK:
	case FLOW_SYN:
		buf_str(out, v ? "yes" : "no");
		return;
	case FLOW_PROTO:
		if (v == IPPROTO_TCP)
			buf_str(out, "tcp");
		else if (v == IPPROTO_UDP)
			buf_str(out, "udp");
		else
			buf_dec(out, (uint64_t)v);
		return;
	case FLOW_STATE:
		buf_str(out, v <= PACKET_UNTRACKED ? state_word[(int)v] : "?");
		return;
	case FLOW_FAMILY:
		buf_str(out, v == ADDR_V4 ? "IPv4" : "IPv6");
		return;
	case FLOW_USER:
		buf_str(out, flow_user_name(f, v));
		return;
	case FLOW_UNIT:
		buf_str(out, flow_unit_name(f, v));
		return;
	case FLOW_IIF:
	case FLOW_OIF:
		put_interface(out, v);
		return;
	case FLOW_DPORT:
	case FLOW_DATE:
	case FLOW_SRC4:
	case FLOW_DST4:
	case FLOW_SRC6:
	case FLOW_DST6:
	case FLOW_SPORT:
	case FLOW_FLAGS:
	case FLOW_MARK:
	case FLOW_CTMARK:
	case FLOW_CTPORT:
	case FLOW_DSTTYPE:
	case FLOW_NFIELD:
		buf_dec(out, (uint64_t)v);
	}
}

/* The values from lo to hi of users or units, each name by itself; of those that no name has
 * nothing is said. */
static void
put_names(struct buf *out, struct flow *f, enum flow_field x, u128 lo, u128 hi, const char **sep)
{
	u128 first = x == FLOW_USER ? FLOW_USER_NAMES : FLOW_UNIT_NONE + 1;
	u128 end = first + (x == FLOW_USER ? flow_user_count(f) : flow_unit_count(f));

	if (x == FLOW_USER && lo < first) {
		u128 last = hi < first ? hi : first - 1;
		buf_str(out, *sep);
		put_value(out, f, x, lo);
		if (last != lo) {
			buf_chr(out, '-');
			put_value(out, f, x, last);
		}
		*sep = ", ";
	}
	for (u128 v = lo > first ? lo : first; v <= hi && v < end; v++) {
		buf_str(out, *sep);
		put_value(out, f, x, v);
		*sep = ", ";
	}
}

/* Users or units. Where those that no policy names are among them, the others are the few. */
static void
put_named(struct buf *out, struct flow *f, enum flow_field x, const struct flow_ival *v, size_t n)
{
	const char *sep = "";
	u128 none = x == FLOW_USER ? FLOW_USER_NONE : FLOW_UNIT_NONE, next = 0;
	bool most = v[0].lo <= none && none <= v[0].hi;

	most = most || (v[n - 1].lo <= none && none <= v[n - 1].hi);
	if (!most) {
		for (size_t i = 0; i < n; i++)
			put_names(out, f, x, v[i].lo, v[i].hi, &sep);
		if (!*sep)
			buf_str(out, x == FLOW_USER ? "another user" : "another unit");
		return;
	}
	sep = "all but ";
	for (size_t i = 0; i < n; i++) {
		if (v[i].lo > next)
			put_names(out, f, x, next, v[i].lo - 1, &sep);
		next = v[i].hi + 1;
	}
	if (x == FLOW_UNIT && next)
		put_names(out, f, x, next, U128_MAX, &sep);
	if (*sep == 'a')
		buf_str(out, "any that no policy names");
}

/* Intervals of a field as words: addresses as prefixes or ranges with their
 * count, ports, dates. */
static void
describe_ivals(struct buf *out, struct flow *f, enum flow_field x,
    const struct flow_ival *v, size_t n)
{
	struct arena *a;

	if (is_address(x)) {
		put_addresses(out, family_of(x), v, n);
		return;
	}
	if (x == FLOW_DATE) {
		a = arena_new();
		for (size_t i = 0; i < n; i++) {
			buf_str(out, i ? " and " : "");
			if (v[i].lo)
				buf_printf(out, "from %s%s", describe_second(a, (uint64_t)v[i].lo),
				    v[i].hi < UINT64_MAX ? " " : " on");
			if (v[i].hi < UINT64_MAX)
				buf_printf(out, "before %s", describe_second(a, (uint64_t)v[i].hi + 1));
		}
		arena_free(a);
		return;
	}
	if (n && (x == FLOW_USER || x == FLOW_UNIT)) {
		put_named(out, f, x, v, n);
		return;
	}
	if (is_interface(x) && n && !v[0].lo && v[n - 1].hi == U128_MAX) {
		buf_str(out, "all but ");
		for (size_t i = 1; i < n; i++) {
			buf_str(out, i > 1 ? ", " : "");
			put_interfaces(out, v[i - 1].hi + 1, v[i].lo - 1);
		}
		return;
	}
	for (size_t i = 0; i < n; i++) {
		buf_str(out, i ? ", " : "");
		if (is_interface(x)) {
			put_interfaces(out, v[i].lo, v[i].hi);
			continue;
		}
		put_value(out, f, x, v[i].lo);
		if (v[i].hi != v[i].lo) {
			buf_chr(out, '-');
			put_value(out, f, x, v[i].hi);
		}
	}
}

void
describe_packet(struct buf *out, struct arena *a, const struct packet *p, bool dated)
{
	char text[128];

	packet_write(p, text);
	buf_str(out, text);
	if (p->hook != PACKET_FORWARD)
		buf_printf(out, ", %s", hook_word[p->hook]);
	if (p->state != PACKET_NEW)
		buf_printf(out, ", %s", state_word[p->state]);
	if (p->user)
		buf_printf(out, ", by user %s", p->user);
	if (p->unit)
		buf_printf(out, ", in %s", p->unit);
	if (dated)
		buf_printf(out, ", on %s", describe_second(a, p->date));
}

static const char *const label[FLOW_NFIELD] = {
	[FLOW_HOOK] = "direction", [FLOW_LOOPBACK] = "loopback", [FLOW_PROTO] = "protocol",
	[FLOW_STATE] = "state", [FLOW_SYN] = "first packet", [FLOW_DPORT] = "port",
	[FLOW_FAMILY] = "family", [FLOW_SRC4] = "from", [FLOW_DST4] = "to",
	[FLOW_SRC6] = "from", [FLOW_DST6] = "to", [FLOW_USER] = "user",
	[FLOW_UNIT] = "unit", [FLOW_DATE] = "when",
	[FLOW_SPORT] = "from port", [FLOW_FLAGS] = "TCP flags", [FLOW_IIF] = "in by",
	[FLOW_OIF] = "out by", [FLOW_MARK] = "mark", [FLOW_CTMARK] = "connection mark",
	[FLOW_CTPORT] = "first port", [FLOW_DSTTYPE] = "to kind",
};

static void
side(struct buf *out, struct arena *a, struct flow *f, struct text_set *t, const char *word,
    enum flow_verdict v, bool observe, uint32_t limits,
    const struct policy_stmt *const *stmt, size_t n)
{
	buf_printf(out, "    %-9s %s", word, describe_verdict(v, observe));
	if (limits)
		buf_printf(out, " (%s)", flow_limits_text(f, limits));
	for (size_t i = 0; i < n && i < 8; i++)
		buf_printf(out, "%s%s", i ? "; " : " by ", describe_stmt(a, t, stmt[i]));
	if (n > 8)
		buf_printf(out, "; and %zu more", n - 8);
	buf_chr(out, '\n');
}

/* A policy speaks of new connections. Only where a region is about other packets (the two
 * points tell new connections in different ways) a reader must be told. */
static bool
goes_without_saying(const struct flow_box *b, enum flow_field x)
{
	const struct flow_ival *v = b->field[x].v;

	if (x == FLOW_SYN)
		return v[0].lo == 1;
	if (x == FLOW_STATE)
		return v[0].hi == PACKET_NEW && (b->field[x].n == 1 || v[1].lo > PACKET_RELATED);
	return false;
}

void
describe_region(struct buf *out, struct flow *f, const struct flow_box *b)
{
	bool addresses = b->field[FLOW_SRC4].n || b->field[FLOW_DST4].n ||
	    b->field[FLOW_SRC6].n || b->field[FLOW_DST6].n;

	for (int x = 0; x < FLOW_NFIELD; x++) {
		if (!b->field[x].n || (x == FLOW_FAMILY && addresses) ||
		    (x == FLOW_LOOPBACK && b->field[x].v[0].lo == 0) ||
		    goes_without_saying(b, (enum flow_field)x))
			continue;
		buf_printf(out, "    %-9s ", label[x]);
		describe_ivals(out, f, (enum flow_field)x, b->field[x].v, b->field[x].n);
		buf_chr(out, '\n');
	}
}

void
describe_more(struct buf *out, struct flow *f, const struct flow_box *b,
    const u128 x[FLOW_NFIELD])
{
	for (int k = FLOW_FLAGS; k < FLOW_NFIELD; k++) {
		if (!b->field[k].n)
			continue;
		buf_printf(out, ", %s ", label[k]);
		put_value(out, f, (enum flow_field)k, x[k]);
	}
}

void
describe_box(struct buf *out, struct arena *a, struct flow *f,
    const struct flow_box *b, struct text_set *wt, struct text_set *nt)
{
	buf_printf(out, "  %s -> %s\n", describe_verdict(b->was, b->was_observe),
	    describe_verdict(b->now, b->now_observe));
	describe_region(out, f, b);
	buf_str(out, "    witness   ");
	describe_packet(out, a, &b->witness, b->field[FLOW_DATE].n);
	buf_chr(out, '\n');
	side(out, a, f, wt, "was", b->was, b->was_observe, b->was_limits, b->was_stmt, b->nwas);
	side(out, a, f, nt, "now", b->now, b->now_observe, b->now_limits, b->now_stmt, b->nnow);
}

static void
side_json(struct buf *out, struct flow *f, struct text_set *t, const char *word,
    enum flow_verdict v, bool observe, uint32_t limits,
    const struct policy_stmt *const *stmt, size_t n)
{
	buf_printf(out, ", \"%s\": {\"verdict\": \"%s\", \"observed\": %s, \"limits\": ",
	    word, flow_verdict_name(v), observe ? "true" : "false");
	buf_json(out, flow_limits_text(f, limits));
	buf_printf(out, ", \"statements\": [");
	for (size_t i = 0; i < n && i < 8; i++) {
		buf_str(out, i ? ", " : "");
		describe_stmt_json(out, t, stmt[i]);
	}
	buf_printf(out, "], \"statement_count\": %zu}", n);
}

void
describe_region_json(struct buf *out, const struct flow_box *b)
{
	buf_chr(out, '{');
	for (int x = 0, any = 0; x < FLOW_NFIELD; x++) {
		if (!b->field[x].n)
			continue;
		buf_printf(out, "%s\"%s\": [", any++ ? ", " : "", flow_field_name((enum flow_field)x));
		for (size_t i = 0; i < b->field[x].n; i++) {
			const struct flow_ival *v = &b->field[x].v[i];
			char lo[46], hi[46];

			if (is_address((enum flow_field)x)) {
				addr_write((struct addr){family_of((enum flow_field)x), v->lo}, lo);
				addr_write((struct addr){family_of((enum flow_field)x), v->hi}, hi);
				buf_printf(out, "%s[\"%s\", \"%s\"]", i ? ", " : "", lo, hi);
			} else if (is_interface((enum flow_field)x)) {
				buf_printf(out, "%s[\"", i ? ", " : "");
				put_interface(out, v->lo);
				buf_str(out, "\", \"");
				put_interface(out, v->hi);
				buf_str(out, "\"]");
			} else {
				buf_printf(out, "%s[", i ? ", " : "");
				buf_dec(out, (uint64_t)v->lo);
				buf_str(out, ", ");
				buf_dec(out, (uint64_t)v->hi);
				buf_chr(out, ']');
			}
		}
		buf_chr(out, ']');
	}
	buf_chr(out, '}');
}

void
describe_box_json(struct buf *out, struct arena *a, struct flow *f,
    const struct flow_box *b, struct text_set *wt, struct text_set *nt)
{
	struct buf w = BUF_INIT(4096);

	buf_str(out, "{\"region\": ");
	describe_region_json(out, b);
	describe_packet(&w, a, &b->witness, b->field[FLOW_DATE].n);
	buf_str(out, ", \"witness\": ");
	buf_json(out, w.p ? w.p : "");
	buf_free(&w);
	side_json(out, f, wt, "was", b->was, b->was_observe, b->was_limits, b->was_stmt, b->nwas);
	side_json(out, f, nt, "now", b->now, b->now_observe, b->now_limits, b->now_stmt, b->nnow);
	buf_chr(out, '}');
}
