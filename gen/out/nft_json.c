/*
 * nft_json: a plan as JSON for `nft -j -f`, after libnftables-json(5).
 *
 * It loads to the ruleset that the text loads to. Chains come before the maps
 * and rules that jump to them, one command a line. Traps of nft 1.0.6 that are
 * written around: a priority must be a number (a word makes a chain without a
 * hook, silently), a prefix must be an object, `ct state` needs the operator
 * `in`, and a meter's flag is `timeout` alone: nft finds out that it is dynamic from
 * the rule, but not where the set is there already.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "gen/out/form.h"

static const struct out_options whole = {OUT_ALL, OUT_NO_SLOT};

struct js {
	struct buf *b;
	const struct plan *p;
	const char *table;
	bool more;                 /* a command has been written */
};

/* Begins a command: ,{"add":{"rule":{"family":"inet","table":"t" */
static void
begin(struct js *j, const char *verb, const char *object)
{
	buf_printf(j->b, "%s{\"%s\":{\"%s\":{\"family\":\"inet\"", j->more ? ",\n" : "",
	    verb, object);
	j->more = true;
}

static void
begin_in(struct js *j, const char *verb, const char *object, const char *name)
{
	begin(j, verb, object);
	buf_printf(j->b, ",\"table\":\"%s\"", j->table);
	if (name)
		buf_printf(j->b, ",\"name\":\"%s\"", name);
}

static void
end(struct js *j)
{
	buf_str(j->b, "}}}");
}

static void
put_addr(struct buf *b, enum addr_family f, u128 x)
{
	char s[1 + 39 + 1];        /* with its quotes */
	size_t n = f == ADDR_V4 ? form_addr4(s + 1, (uint32_t)x) : form_addr6(s + 1, x);

	s[0] = '"';
	s[n + 1] = '"';
	buf_add(b, s, n + 2);
}

static void
put_range(struct buf *b, enum addr_family f, u128 lo, u128 hi)
{
	unsigned bits = f == ADDR_V4 ? 32 : 128;
	int prefix = form_prefix(lo, hi, bits);

	if (prefix == (int)bits) {
		put_addr(b, f, lo);
	} else if (prefix >= 0) {
		buf_str(b, "{\"prefix\":{\"addr\":");
		put_addr(b, f, lo);
		buf_str(b, ",\"len\":");
		buf_dec(b, (uint64_t)prefix);
		buf_str(b, "}}");
	} else {
		buf_str(b, "{\"range\":[");
		put_addr(b, f, lo);
		buf_chr(b, ',');
		put_addr(b, f, hi);
		buf_str(b, "]}");
	}
}

static void
put_ports(struct buf *b, uint16_t lo, uint16_t hi)
{
	if (lo == hi)
		buf_dec(b, lo);
	else
		buf_printf(b, "{\"range\":[%u,%u]}", lo, hi);
}

static void
put_user(struct buf *b, const char *s)
{
	if (form_number(s))
		buf_str(b, s);
	else
		buf_json(b, s);
}

static void
put_element(struct buf *b, const struct plan_set *s, size_t i)
{
	switch (s->key) {
	case PLAN_KEY_IPV4:
		put_range(b, ADDR_V4, s->v4[i].lo, s->v4[i].hi);
		break;
	case PLAN_KEY_IPV6:
		put_range(b, ADDR_V6, s->v6[i].lo, s->v6[i].hi);
		break;
	case PLAN_KEY_PORT:
		put_ports(b, s->port[i].lo, s->port[i].hi);
		break;
	case PLAN_KEY_UID:
		put_user(b, s->user[i]);
		break;
	case PLAN_NKEY:
		break;
	}
}

static void
put_verdict(struct buf *b, const struct plan *p, struct plan_verdict v)
{
	switch (v.kind) {
	case PLAN_GO_ON:
	case PLAN_NVERDICT:
		buf_str(b, "{\"continue\":null}");
		break;
	case PLAN_DO_REJECT:
		buf_str(b, "{\"reject\":{\"type\":\"tcp reset\"}}");
		break;
	case PLAN_DO_REDIRECT:
		buf_printf(b, "{\"redirect\":{\"port\":%d}}", PLAN_CAPTURE_PORT);
		break;
	case PLAN_DO_ACCEPT:
	case PLAN_DO_DROP:
	case PLAN_DO_RETURN:
		buf_printf(b, "{\"%s\":null}", form_verdict(v.kind));
		break;
	case PLAN_DO_JUMP:
	case PLAN_DO_GOTO:
		buf_printf(b, "{\"%s\":{\"target\":\"%s\"}}", form_verdict(v.kind),
		    p->chain[v.chain].name);
		break;
	}
}

static void
put_set(struct js *j, const struct plan_set *s, bool elements)
{
	struct buf *b = j->b;

	begin_in(j, "add", s->kind == PLAN_MAP ? "map" : "set", s->name);
	buf_printf(b, ",\"type\":\"%s\"", plan_key_word(s->key));
	if (s->kind == PLAN_MAP)
		buf_str(b, ",\"map\":\"verdict\"");
	if (s->kind == PLAN_METER)
		buf_printf(b, ",\"size\":%u,\"flags\":[\"timeout\"],\"timeout\":%u",
		    (unsigned)s->size, (unsigned)s->timeout);
	else if (s->interval)
		buf_str(b, ",\"flags\":[\"interval\"]");
	if (s->n && elements) {
		buf_str(b, ",\"elem\":[\n");
		for (size_t i = 0; i < s->n; i++) {
			const char *comment = s->comment ? s->comment[i] : NULL;

			if (i)
				buf_add(b, ",\n", 2);
			if (s->kind == PLAN_MAP)
				buf_chr(b, '[');
			if (comment)
				buf_str(b, "{\"elem\":{\"val\":");
			put_element(b, s, i);
			if (comment) {
				buf_str(b, ",\"comment\":");
				buf_json(b, comment);
				buf_str(b, "}}");
			}
			if (s->kind == PLAN_MAP) {
				buf_chr(b, ',');
				put_verdict(b, j->p, s->verdict[i]);
				buf_chr(b, ']');
			}
		}
		buf_chr(b, ']');
	}
	end(j);
}

static void
put_field(struct buf *b, enum plan_field f)
{
	const struct form_field *x = form_field(f);

	if (f == PLAN_CT_STATE)
		buf_str(b, "{\"ct\":{\"key\":\"state\"}}");
	else if (f == PLAN_CT_DPORT)
		buf_str(b, "{\"ct\":{\"key\":\"proto-dst\",\"dir\":\"original\"}}");
	else if (x->proto)
		buf_printf(b, "{\"payload\":{\"protocol\":\"%s\",\"field\":\"%s\"}}", x->proto, x->name);
	else
		buf_printf(b, "{\"meta\":{\"key\":\"%s\"}}", x->name);
}

/* ["fin","syn"], or one word alone. */
static void
put_words(struct buf *b, const char *(*next)(uint32_t *), uint32_t bits)
{
	bool several = (bits & (bits - 1)) != 0;
	const char *word, *sep = "";

	if (!bits)
		buf_chr(b, '0');
	buf_str(b, several ? "[" : "");
	for (; (word = next(&bits)); sep = ",")
		buf_printf(b, "%s\"%s\"", sep, word);
	buf_str(b, several ? "]" : "");
}

static void
put_right(struct buf *b, const struct plan *p, const struct plan_match *m)
{
	if (m->set != PLAN_NONE) {
		const struct plan_set *s = &p->set[m->set];

		if (s->name) {
			buf_printf(b, "\"@%s\"", s->name);
			return;
		}
		buf_str(b, s->n > 1 ? "{\"set\":[" : "");
		for (size_t i = 0; i < s->n; i++) {
			if (i)
				buf_chr(b, ',');
			put_element(b, s, i);
		}
		buf_str(b, s->n > 1 ? "]}" : "");
		return;
	}
	switch (m->field) {
	case PLAN_NFPROTO:
		buf_str(b, m->lo == 2 ? "\"ipv4\"" : "\"ipv6\"");
		break;
	case PLAN_L4PROTO:
		if (m->lo == 6)
			buf_str(b, "\"tcp\"");
		else
			buf_dec(b, (uint64_t)m->lo);
		break;
	case PLAN_SADDR4:
	case PLAN_DADDR4:
		put_range(b, ADDR_V4, m->lo, m->hi);
		break;
	case PLAN_SADDR6:
	case PLAN_DADDR6:
		put_range(b, ADDR_V6, m->lo, m->hi);
		break;
	case PLAN_DPORT:
	case PLAN_CT_DPORT:
		put_ports(b, (uint16_t)m->lo, (uint16_t)m->hi);
		break;
	case PLAN_TIME:
		buf_dec(b, (uint64_t)m->lo);
		break;
	case PLAN_IIFNAME:
	case PLAN_OIFNAME:
	case PLAN_CGROUP:
		buf_json(b, m->text);
		break;
	case PLAN_SKUID:
		put_user(b, m->text);
		break;
	case PLAN_CT_STATE:
		put_words(b, form_ct_state, m->mask);
		break;
	case PLAN_TCP_FLAGS:
		put_words(b, form_tcp_flag, (uint32_t)m->lo);
		break;
	case PLAN_NFIELD:
		break;
	}
}

static const char *
operator(const struct plan_match *m)
{
	switch (m->op) {
	case PLAN_NOT:
		return "!=";
	case PLAN_LESS:
		return "<";
	case PLAN_LEAST:
		return ">=";
	case PLAN_IS:
	case PLAN_NOP:
		break;
	}
	return m->field == PLAN_CT_STATE ? "in" : "==";
}

static void
put_match(struct buf *b, const struct plan *p, const struct plan_match *m)
{
	buf_printf(b, "{\"match\":{\"op\":\"%s\",\"left\":", operator(m));
	if (m->field == PLAN_TCP_FLAGS) {
		buf_str(b, "{\"&\":[");
		put_field(b, m->field);
		buf_chr(b, ',');
		put_words(b, form_tcp_flag, m->mask);
		buf_str(b, "]}");
	} else {
		put_field(b, m->field);
	}
	buf_str(b, ",\"right\":");
	put_right(b, p, m);
	buf_str(b, "}}");
}

static void
put_limit(struct buf *b, const struct plan *p, const struct plan_limit *k)
{
	bool four;

	if (k->meter != PLAN_NONE) {
		four = p->set[k->meter].key == PLAN_KEY_IPV4;
		buf_str(b, "{\"set\":{\"op\":\"update\",\"elem\":");
		if (!four)
			buf_str(b, "{\"&\":[");
		put_field(b, four ? PLAN_SADDR4 : PLAN_SADDR6);
		if (!four)
			buf_str(b, ",\"ffff:ffff:ffff:ffff::\"]}");
		buf_printf(b, ",\"set\":\"@%s\",\"stmt\":[", p->set[k->meter].name);
	}
	buf_printf(b, "{\"limit\":{\"rate\":%llu,\"burst\":%u,\"per\":\"%s\"}}",
	    (unsigned long long)k->rate, (unsigned)k->burst, plan_unit_word(k->unit));
	if (k->meter != PLAN_NONE)
		buf_str(b, "]}}");
}

static void
put_rule(struct js *j, const struct plan_chain *c, const struct plan_rule *r)
{
	struct buf *b = j->b;
	const char *sep = "";

	begin_in(j, "add", "rule", NULL);
	buf_printf(b, ",\"chain\":\"%s\",\"expr\":[", c->name);
	for (uint32_t i = 0; i < r->nmatch; i++, sep = ",") {
		buf_str(b, sep);
		put_match(b, j->p, &r->match[i]);
	}
	if (r->limit.rate) {
		buf_str(b, sep);
		put_limit(b, j->p, &r->limit);
		sep = ",";
	}
	if (r->vmap != PLAN_NONE) {
		buf_printf(b, "%s{\"vmap\":{\"key\":", sep);
		put_field(b, r->vmap_field);
		buf_printf(b, ",\"data\":\"@%s\"}}", j->p->set[r->vmap].name);
		sep = ",";
	}
	if (r->counter != PLAN_NONE) {
		buf_printf(b, "%s{\"counter\":\"%s\"}", sep, j->p->counter[r->counter].name);
		sep = ",";
	}
	if (r->log) {
		buf_printf(b, "%s{\"log\":{\"prefix\":", sep);
		buf_json(b, r->log);
		buf_printf(b, ",\"group\":%d}}", PLAN_LOG_GROUP);
		sep = ",";
	}
	if (r->verdict.kind != PLAN_GO_ON) {
		buf_str(b, sep);
		put_verdict(b, j->p, r->verdict);
	}
	buf_chr(b, ']');
	if (r->comment) {
		buf_str(b, ",\"comment\":");
		buf_json(b, r->comment);
	}
	end(j);
}

static void
put_chain(struct js *j, const struct plan_chain *c)
{
	begin_in(j, "add", "chain", c->name);
	if (c->entry && c->base)
		buf_printf(j->b, ",\"type\":\"%s\",\"hook\":\"%s\",\"prio\":%d,\"policy\":\"accept\"",
		    form_chain_type(c->type), form_hook(c->hook), (int)c->priority);
	end(j);
}

static void
put_table(struct js *j, const char *verb, const char *name)
{
	begin(j, verb, "table");
	buf_printf(j->b, ",\"name\":\"%s\"", name);
	end(j);
}

/* What JSON cannot say; false with diagnostics. */
static bool
sayable(const struct plan *p, struct diags *d)
{
	struct text_span last = TEXT_NO_SPAN;
	bool ok = true;

	for (uint32_t i = 0; i < p->nchain; i++)
		for (uint32_t k = 0; k < p->chain[i].nrule; k++) {
			const struct plan_rule *r = &p->chain[i].rule[k];

			for (uint32_t m = 0; m < r->nmatch; m++) {
				if (r->match[m].field != PLAN_CGROUP)
					continue;
				if (ok || memcmp(&last, &r->at, sizeof last))
					diag_hint(d, diag_add(d, DIAG_E0805, r->at,
					    "the JSON form of nft cannot say `units`%s%s%s",
					    r->comment ? " (" : "", r->comment ? r->comment : "",
					    r->comment ? ")" : ""),
					    "use `--to nft` or `--to plan`");
				last = r->at;
				ok = false;
			}
			if (r->limit.meter == PLAN_NONE || p->own_table)
				continue;
			diag_hint(d, diag_add(d, DIAG_E0806, r->at,
			    "the JSON form of nft cannot make `limit` again in a table that stays"),
			    "use `--to nft` or `--to plan`, or leave out `as: chains`");
			ok = false;
		}
	return ok;
}

int
out_json(struct buf *b, const struct plan *p, const struct out_options *options,
    struct diags *d)
{
	const struct out_options *o = options ? options : &whole;
	char hold[3][PLAN_NAME + 3], name[PLAN_NAME + 3];
	struct js j = {.b = b, .p = p, .table = form_table(p, o, name)};
	const char *stale[4];

	assert(o->part == OUT_ALL || (p->own_table && o->slot != OUT_NO_SLOT));
	if (!sayable(p, d))
		return -EOPNOTSUPP;
	form_stale(p, o, stale, hold);
	buf_str(b, "{\"nftables\":[\n{\"metainfo\":{\"json_schema_version\":1}}");
	j.more = true;
	put_table(&j, "add", j.table);
	if (p->own_table && o->part != OUT_SWAP) {
		put_table(&j, "delete", j.table);
		put_table(&j, "add", j.table);
	}
	for (int i = 0; stale[i]; i++) {
		put_table(&j, "add", stale[i]);
		put_table(&j, "delete", stale[i]);
	}
	for (uint32_t i = 0; i < p->ncounter && o->part != OUT_SWAP; i++) {
		begin_in(&j, "add", "counter", p->counter[i].name);
		end(&j);
	}
	for (uint32_t i = 0; i < p->nchain; i++)
		if (form_has(&p->chain[i], o->part))
			put_chain(&j, &p->chain[i]);
	if (!p->own_table) {
		for (uint32_t i = 0; i < p->nset; i++)
			if (p->set[i].name)
				put_set(&j, &p->set[i], false);
		for (uint32_t i = p->nchain; i--; ) {
			begin_in(&j, "flush", "chain", p->chain[i].name);
			end(&j);
		}
		for (uint32_t i = 0; i < p->nset; i++)
			if (p->set[i].name && p->set[i].kind != PLAN_METER) {
				begin_in(&j, "flush", p->set[i].kind == PLAN_MAP ? "map" : "set",
				    p->set[i].name);
				end(&j);
			}
	}
	for (uint32_t i = 0; i < p->nset && o->part != OUT_SWAP; i++)
		if (p->set[i].name)
			put_set(&j, &p->set[i], true);
	for (uint32_t i = p->nchain; i--; )
		for (uint32_t k = 0; form_has(&p->chain[i], o->part) && k < p->chain[i].nrule; k++)
			put_rule(&j, &p->chain[i], &p->chain[i].rule[k]);
	buf_str(b, "\n]}\n");
	return 0;
}
