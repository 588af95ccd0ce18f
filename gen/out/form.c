#include "gen/out/form.h"

#include <stdio.h>
#include <string.h>

static size_t
decimal(char *out, unsigned x)
{
	size_t n = 0;

	if (x >= 100)
		out[n++] = (char)('0' + x / 100);
	if (x >= 10)
		out[n++] = (char)('0' + x / 10 % 10);
	out[n++] = (char)('0' + x % 10);
	return n;
}

size_t
form_addr4(char out[15], uint32_t x)
{
	size_t n = 0;

	for (int shift = 24; shift >= 0; shift -= 8) {
		n += decimal(out + n, x >> shift & 0xff);
		if (shift)
			out[n++] = '.';
	}
	return n;
}

static size_t
hexadecimal(char *out, unsigned x)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (int shift = 12; shift >= 0; shift -= 4)
		if (n || !shift || x >> shift)
			out[n++] = hex[x >> shift & 15];
	return n;
}

size_t
form_addr6(char out[39], u128 x)
{
	unsigned group[8];
	int best = -1, most = 1;   /* a run of one zero is not shortened */
	size_t n = 0;

	for (int i = 0; i < 8; i++)
		group[i] = (unsigned)(x >> (112 - 16 * i)) & 0xffff;
	for (int i = 0; i < 8; i++) {
		int k = i;

		while (k < 8 && !group[k])
			k++;
		if (k - i > most) {
			best = i;
			most = k - i;
		}
		if (k > i)
			i = k - 1;
	}
	for (int i = 0; i < 8; i++) {
		if (i == best) {
			out[n++] = ':';
			out[n++] = ':';
			i += most - 1;
			continue;
		}
		if (n && out[n - 1] != ':')
			out[n++] = ':';
		n += hexadecimal(out + n, group[i]);
	}
	return n;
}

int
form_prefix(u128 lo, u128 hi, unsigned bits)
{
	u128 span = hi - lo;
	int n = (int)bits;

	if (span & (span + 1) || lo & span)
		return -1;
	for (; span; span >>= 1)
		n--;
	return n;
}

static const struct form_field field_row[PLAN_NFIELD] = {
	[PLAN_NFPROTO] = {"meta nfproto", NULL, "nfproto"},
	[PLAN_L4PROTO] = {"meta l4proto", NULL, "l4proto"},
	[PLAN_IIFNAME] = {"iifname", NULL, "iifname"},
	[PLAN_OIFNAME] = {"oifname", NULL, "oifname"},
	[PLAN_SADDR4] = {"ip saddr", "ip", "saddr"},
	[PLAN_DADDR4] = {"ip daddr", "ip", "daddr"},
	[PLAN_SADDR6] = {"ip6 saddr", "ip6", "saddr"},
	[PLAN_DADDR6] = {"ip6 daddr", "ip6", "daddr"},
	[PLAN_DPORT] = {"tcp dport", "tcp", "dport"},
	[PLAN_TCP_FLAGS] = {"tcp flags", "tcp", "flags"},
	[PLAN_CT_STATE] = {"ct state", NULL, NULL},
	[PLAN_CT_DPORT] = {"ct original proto-dst", NULL, NULL},
	[PLAN_TIME] = {"meta time", NULL, "time"},
	[PLAN_SKUID] = {"meta skuid", NULL, "skuid"},
	[PLAN_CGROUP] = {"socket cgroupv2", NULL, NULL},
};

const struct form_field *
form_field(enum plan_field f)
{
	return &field_row[f];
}

struct bit {
	uint32_t bit;
	const char *word;
};

static const char *
next_bit(const struct bit *row, size_t n, uint32_t *bits)
{
	for (size_t i = 0; i < n; i++)
		if (*bits & row[i].bit) {
			*bits &= ~row[i].bit;
			return row[i].word;
		}
	return NULL;
}

const char *
form_ct_state(uint32_t *bits)
{
	static const struct bit row[] = {
		{PLAN_CT_INVALID, "invalid"},
		{PLAN_CT_ESTABLISHED, "established"},
		{PLAN_CT_RELATED, "related"},
		{PLAN_CT_NEW, "new"},
		{PLAN_CT_UNTRACKED, "untracked"},
	};

	return next_bit(row, sizeof row / sizeof *row, bits);
}

const char *
form_tcp_flag(uint32_t *bits)
{
	static const struct bit row[] = {
		{1, "fin"}, {2, "syn"}, {4, "rst"}, {8, "psh"},
		{16, "ack"}, {32, "urg"}, {64, "ecn"}, {128, "cwr"},
	};

	return next_bit(row, sizeof row / sizeof *row, bits);
}

const char *
form_verdict(enum plan_verdict_kind k)
{
	switch (k) {
	case PLAN_DO_ACCEPT:
		return "accept";
	case PLAN_DO_DROP:
		return "drop";
	case PLAN_DO_RETURN:
		return "return";
	case PLAN_DO_JUMP:
		return "jump";
	case PLAN_DO_GOTO:
		return "goto";
	case PLAN_GO_ON:
	case PLAN_DO_REJECT:
	case PLAN_DO_REDIRECT:
	case PLAN_NVERDICT:
		break;
	}
	return NULL;
}

const char *
form_hook(enum packet_hook h)
{
	switch (h) {
	case PACKET_FORWARD:
		return "forward";
	case PACKET_OUTPUT:
		return "output";
	case PACKET_INPUT:
		return "input";
	}
	return NULL;
}

const char *
form_chain_type(enum plan_chain_type t)
{
	return t == PLAN_NAT ? "nat" : "filter";
}

static const char *const slot_suffix[] = {
	[OUT_NO_SLOT] = "",
	[OUT_SLOT_A] = "-a",
	[OUT_SLOT_B] = "-b",
};

const char *
form_table(const struct plan *p, const struct out_options *o, char name[PLAN_NAME + 3])
{
	snprintf(name, PLAN_NAME + 3, "%s%s", p->table,
	    p->own_table ? slot_suffix[o->slot] : "");
	return name;
}

void
form_stale(const struct plan *p, const struct out_options *o,
    const char *name[4], char hold[3][PLAN_NAME + 3])
{
	int n = 0;

	for (int s = OUT_NO_SLOT; s <= OUT_SLOT_B; s++) {
		if (!p->own_table || s == (int)o->slot || o->part == OUT_STAGE)
			continue;
		snprintf(hold[n], PLAN_NAME + 3, "%s%s", p->table, slot_suffix[s]);
		name[n] = hold[n];
		n++;
	}
	name[n] = NULL;
}

bool
form_has(const struct plan_chain *c, enum out_part part)
{
	switch (part) {
	case OUT_ALL:
		return true;
	case OUT_STAGE:
		return !c->base;
	case OUT_SWAP:
		return c->base;
	}
	return false;
}

bool
form_number(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s);
}
