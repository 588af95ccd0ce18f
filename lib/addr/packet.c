#include "addr/packet.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "addr/scan.h"

struct proto {
	const char *word;
	uint8_t v4, v6;
	bool ports;
};

static const struct proto protos[] = {
	{"tcp", IPPROTO_TCP, IPPROTO_TCP, true},
	{"udp", IPPROTO_UDP, IPPROTO_UDP, true},
	{"icmp", IPPROTO_ICMP, IPPROTO_ICMPV6, false},
	{"sctp", IPPROTO_SCTP, IPPROTO_SCTP, true},
};

enum { NPROTO = sizeof protos / sizeof *protos };

/* One word of the probe. */
struct word {
	const char *s;
	size_t n;
};

/* One end: an address and perhaps a port. */
struct end {
	struct addr addr;
	unsigned port;
	bool has_port;
};

static struct word
next_word(const char *s, size_t n, size_t *at)
{
	struct word w;

	while (*at < n && (s[*at] == ' ' || s[*at] == '\t'))
		++*at;
	w.s = s + *at;
	while (*at < n && s[*at] != ' ' && s[*at] != '\t')
		++*at;
	w.n = (size_t)(s + *at - w.s);
	return w;
}

static bool
word_is(struct word w, const char *text)
{
	return w.n == strlen(text) && !strncasecmp(w.s, text, w.n);
}

static const struct proto *
proto_of_word(struct word w)
{
	for (size_t i = 0; i < NPROTO; i++)
		if (word_is(w, protos[i].word))
			return &protos[i];
	return NULL;
}

/* The row that this number has in this family, or NULL. */
static const struct proto *
proto_of_number(unsigned number, enum addr_family f)
{
	for (size_t i = 0; i < NPROTO; i++)
		if (number == (f == ADDR_V4 ? protos[i].v4 : protos[i].v6))
			return &protos[i];
	return NULL;
}

static bool
port_of(const char *s, size_t n, unsigned *out)
{
	unsigned x = 0;

	if (!n || n > 5 || (n > 1 && s[0] == '0'))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		x = 10 * x + (unsigned)(s[i] - '0');
	}
	if (x > UINT16_MAX)
		return false;
	*out = x;
	return true;
}

/* Any address may stand in a probe, also one that a policy may not name: a
 * witness can be one. Gives NULL or the mistake, and where it is in w. */
static const char *
end_of(struct word w, struct end *e, struct word *bad)
{
	struct word a = w, p = {NULL, 0};
	struct addr unused;
	const char *c;

	*bad = w;
	*e = (struct end){0};
	if (!w.n)
		return "an address is missing";
	if (memmem(w.s, w.n, "->", 2))
		return "`->` needs a blank on either side";
	if (w.s[0] == '[') {
		c = memchr(w.s, ']', w.n);
		if (!c)
			return "the `]` is missing";
		a = (struct word){w.s + 1, (size_t)(c - w.s) - 1};
		if (c + 1 < w.s + w.n) {
			if (c[1] != ':')
				return "only `:` and a port may follow the `]`";
			p = (struct word){c + 2, (size_t)(w.s + w.n - c) - 2};
			e->has_port = true;
		}
		if (!memchr(a.s, ':', a.n))
			return "brackets are for IPv6 addresses";
	} else if ((c = memchr(w.s, ':', w.n)) && c == memrchr(w.s, ':', w.n)) {
		a.n = (size_t)(c - w.s);
		p = (struct word){c + 1, (size_t)(w.s + w.n - c) - 1};
		e->has_port = true;
	}
	if (!scan_addr(a.s, a.n, &e->addr)) {
		enum addr_wrong wrong = addr_read(a.s, a.n, &unused);

		*bad = a.n ? a : w;
		return addr_wrong_text(wrong);
	}
	if (e->has_port && !port_of(p.s, p.n, &e->port)) {
		*bad = p.n ? p : w;
		return "a port is a number from 0 to 65535, without leading zeros";
	}
	return NULL;
}

static bool
is_loopback(struct addr a)
{
	return a.family == ADDR_V4 ? a.n >> 24 == 127 : a.n == 1;
}

const char *
packet_read(const char *s, size_t n, struct packet *out, size_t *where,
    size_t *len)
{
	size_t at = 0;
	struct word first = next_word(s, n, &at), from = next_word(s, n, &at);
	struct word arrow = next_word(s, n, &at), to = next_word(s, n, &at);
	struct word more = next_word(s, n, &at), bad = first;
	const struct proto *row = proto_of_word(first);
	struct end src = {0}, dst = {0};
	unsigned number = 0;
	const char *wrong = NULL;

	if (!first.n)
		wrong = "the probe is empty";
	else if (!row && !scan_bits(first.s, first.n, 255, &number))
		wrong = "a probe begins with tcp, udp, icmp, sctp or the number of a protocol";
	if (!wrong)
		wrong = end_of(from, &src, &bad);
	if (!wrong && !word_is(arrow, "->")) {
		bad = arrow;
		wrong = "`->` and the destination are missing";
	}
	if (!wrong)
		wrong = end_of(to, &dst, &bad);
	if (!wrong && more.n) {
		bad = more;
		wrong = "nothing may follow the destination";
	}
	if (!wrong && src.addr.family != dst.addr.family) {
		bad = (struct word){from.s, (size_t)(to.s + to.n - from.s)};
		wrong = "the addresses are of different families (an IPv6 address with a port is "
		    "written in brackets: [2001:db8::1]:25)";
	}
	if (!wrong && !row)
		row = proto_of_number(number, dst.addr.family);
	if (!wrong && row && row->ports && !dst.has_port) {
		bad = to;
		wrong = dst.addr.family == ADDR_V6 && to.s[0] != '[' ?
		    "the port of the destination is missing; an IPv6 address with a port is "
		    "written in brackets: [2001:db8::1]:25" :
		    "the port of the destination is missing";
	}
	if (!wrong && !(row && row->ports) && (src.has_port || dst.has_port)) {
		bad = src.has_port ? from : to;
		wrong = "this protocol has no ports";
	}
	if (wrong) {
		*where = (size_t)(bad.s - s);
		*len = bad.n;
		return wrong;
	}
	*out = (struct packet){
		.loopback = is_loopback(src.addr) || is_loopback(dst.addr),
		.proto = !row ? (uint8_t)number :
		    dst.addr.family == ADDR_V4 ? row->v4 : row->v6,
		.state = PACKET_NEW,
		.src = src.addr,
		.dst = dst.addr,
		.sport = (uint16_t)src.port,
		.dport = (uint16_t)dst.port,
	};
	out->syn = out->proto == IPPROTO_TCP;
	return NULL;
}

static size_t
write_end(char *out, struct addr a, bool has_port, unsigned port)
{
	bool brackets = has_port && a.family == ADDR_V6;
	size_t k = 0;

	if (brackets)
		out[k++] = '[';
	k += addr_write(a, out + k);
	if (brackets)
		out[k++] = ']';
	if (has_port)
		k += (size_t)snprintf(out + k, 7, ":%u", port & UINT16_MAX);
	out[k] = 0;
	return k;
}

size_t
packet_write(const struct packet *p, char out[128])
{
	const struct proto *row = proto_of_number(p->proto, p->dst.family);
	bool ports = row && row->ports;
	size_t k;

	if (row)
		k = (size_t)snprintf(out, 8, "%s ", row->word);
	else
		k = (size_t)snprintf(out, 8, "%u ", p->proto);
	k += write_end(out + k, p->src, ports && p->sport, p->sport);
	k += (size_t)snprintf(out + k, 5, " -> ");
	return k + write_end(out + k, p->dst, ports, p->dport);
}
