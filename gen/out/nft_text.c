/*
 * nft_text: a plan as text for `nft -f`.
 *
 * One object, one rule, one element a line, so that diff(1) of two files is
 * readable by itself. Chains come in the order of a packet's way: entries first.
 */
#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "gen/out/form.h"

static const struct out_options whole = {OUT_ALL, OUT_NO_SLOT};

/* Adds lo..hi of a family, as nft reads it best. */
static void
put_range(struct buf *b, enum addr_family f, u128 lo, u128 hi)
{
	unsigned bits = f == ADDR_V4 ? 32 : 128;
	int prefix = form_prefix(lo, hi, bits);
	char s[96];
	size_t n;

	n = f == ADDR_V4 ? form_addr4(s, (uint32_t)lo) : form_addr6(s, lo);
	if (prefix < 0) {
		s[n++] = '-';
		n += f == ADDR_V4 ? form_addr4(s + n, (uint32_t)hi) : form_addr6(s + n, hi);
	} else if ((unsigned)prefix < bits) {
		s[n++] = '/';
		if (prefix >= 100)
			s[n++] = '1';
		if (prefix >= 10)
			s[n++] = (char)('0' + prefix / 10 % 10);
		s[n++] = (char)('0' + prefix % 10);
	}
	buf_add(b, s, n);
}

static void
put_ports(struct buf *b, uint16_t lo, uint16_t hi)
{
	buf_dec(b, lo);
	if (hi != lo) {
		buf_chr(b, '-');
		buf_dec(b, hi);
	}
}

static void
put_quoted(struct buf *b, const char *s)
{
	buf_chr(b, '"');
	buf_str(b, s);             /* the plan has no '"' in any text */
	buf_chr(b, '"');
}

/* A user: names in quotes, looked up where the text is loaded. */
static void
put_user(struct buf *b, const char *s)
{
	if (form_number(s))
		buf_str(b, s);
	else
		put_quoted(b, s);
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

/* A verdict, with its leading space. */
static void
put_verdict(struct buf *b, const struct plan *p, struct plan_verdict v)
{
	switch (v.kind) {
	case PLAN_GO_ON:
	case PLAN_NVERDICT:
		break;
	case PLAN_DO_REJECT:
		buf_str(b, " reject with tcp reset");
		break;
	case PLAN_DO_REDIRECT:
		buf_printf(b, " redirect to :%d", PLAN_CAPTURE_PORT);
		break;
	case PLAN_DO_ACCEPT:
	case PLAN_DO_DROP:
	case PLAN_DO_RETURN:
		buf_printf(b, " %s", form_verdict(v.kind));
		break;
	case PLAN_DO_JUMP:
	case PLAN_DO_GOTO:
		buf_printf(b, " %s %s", form_verdict(v.kind), p->chain[v.chain].name);
		break;
	}
}

static void
put_set(struct buf *b, const struct plan *p, const struct plan_set *s, bool elements)
{
	buf_printf(b, "\t%s %s {\n\t\ttype %s%s\n", s->kind == PLAN_MAP ? "map" : "set",
	    s->name, plan_key_word(s->key), s->kind == PLAN_MAP ? " : verdict" : "");
	if (s->kind == PLAN_METER)
		buf_printf(b, "\t\tsize %u\n\t\tflags dynamic,timeout\n\t\ttimeout %us\n",
		    (unsigned)s->size, (unsigned)s->timeout);
	else if (s->interval)
		buf_str(b, "\t\tflags interval\n");
	if (s->n && elements) {
		buf_str(b, "\t\telements = {\n");
		for (size_t i = 0; i < s->n; i++) {
			buf_add(b, "\t\t\t", 3);
			put_element(b, s, i);
			if (s->comment && s->comment[i]) {
				buf_str(b, " comment ");
				put_quoted(b, s->comment[i]);
			}
			if (s->kind == PLAN_MAP) {
				buf_str(b, " :");
				put_verdict(b, p, s->verdict[i]);
			}
			buf_add(b, ",\n", i + 1 < s->n ? 2 : 0);
		}
		buf_str(b, "\n\t\t}\n");
	}
	buf_str(b, "\t}\n\n");
}

static void
put_match(struct buf *b, const struct plan *p, const struct plan_match *m)
{
	uint32_t bits = m->mask;
	const char *word, *sep = "";

	buf_printf(b, " %s ", form_field(m->field)->text);
	if (m->field == PLAN_CGROUP)
		buf_printf(b, "level %u ", (unsigned)m->level);
	if (m->field == PLAN_TCP_FLAGS) {
		buf_str(b, "& (");
		for (; (word = form_tcp_flag(&bits)); sep = "|")
			buf_printf(b, "%s%s", sep, word);
		buf_str(b, m->op == PLAN_NOT ? ") != " : ") == ");
		bits = (uint32_t)m->lo;
		for (sep = ""; (word = form_tcp_flag(&bits)); sep = "|")
			buf_printf(b, "%s%s", sep, word);
		if (!m->lo)
			buf_chr(b, '0');
		return;
	}
	switch (m->op) {
	case PLAN_IS:
	case PLAN_NOP:
		break;
	case PLAN_NOT:
		buf_str(b, "!= ");
		break;
	case PLAN_LESS:
		buf_str(b, "< ");
		break;
	case PLAN_LEAST:
		buf_str(b, ">= ");
		break;
	}
	if (m->set != PLAN_NONE) {
		const struct plan_set *s = &p->set[m->set];

		if (s->name) {
			buf_printf(b, "@%s", s->name);
			return;
		}
		/* nft itself folds a set of one */
		buf_str(b, s->n > 1 ? "{ " : "");
		for (size_t i = 0; i < s->n; i++) {
			if (i)
				buf_str(b, ", ");
			put_element(b, s, i);
		}
		buf_str(b, s->n > 1 ? " }" : "");
		return;
	}
	switch (m->field) {
	case PLAN_NFPROTO:
		buf_str(b, m->lo == 2 ? "ipv4" : "ipv6");
		break;
	case PLAN_L4PROTO:
		if (m->lo == 6)
			buf_str(b, "tcp");
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
		put_quoted(b, m->text);
		break;
	case PLAN_SKUID:
		put_user(b, m->text);
		break;
	case PLAN_CT_STATE:
		for (; (word = form_ct_state(&bits)); sep = ",")
			buf_printf(b, "%s%s", sep, word);
		break;
	case PLAN_TCP_FLAGS:
	case PLAN_NFIELD:
		break;
	}
}

static void
put_limit(struct buf *b, const struct plan *p, const struct plan_limit *k)
{
	const struct plan_set *s;

	if (!k->rate)
		return;
	if (k->meter != PLAN_NONE) {
		s = &p->set[k->meter];
		buf_printf(b, " update @%s { %s", s->name,
		    s->key == PLAN_KEY_IPV4 ? "ip saddr" :
		    "ip6 saddr & ffff:ffff:ffff:ffff::");
	}
	buf_printf(b, " limit rate %llu/%s burst %u packets",
	    (unsigned long long)k->rate, plan_unit_word(k->unit), (unsigned)k->burst);
	if (k->meter != PLAN_NONE)
		buf_str(b, " }");
}

static void
put_rule(struct buf *b, const struct plan *p, const struct plan_rule *r)
{
	size_t begin;

	buf_chr(b, '\t');
	begin = b->n;
	for (uint32_t i = 0; i < r->nmatch; i++)
		put_match(b, p, &r->match[i]);
	put_limit(b, p, &r->limit);
	if (r->vmap != PLAN_NONE)
		buf_printf(b, " %s vmap @%s", form_field(r->vmap_field)->text,
		    p->set[r->vmap].name);
	if (r->counter != PLAN_NONE)
		buf_printf(b, " counter name \"%s\"", p->counter[r->counter].name);
	if (r->log)
		buf_printf(b, " log prefix \"%s\" group %d", r->log, PLAN_LOG_GROUP);
	put_verdict(b, p, r->verdict);
	if (r->comment) {
		buf_str(b, " comment ");
		put_quoted(b, r->comment);
	}
	if (!b->err && b->n > begin)
		b->p[begin] = '\t';    /* each part began with a space */
	buf_chr(b, '\n');
}

static void
put_chain(struct buf *b, const struct plan *p, const struct plan_chain *c)
{
	buf_printf(b, "\tchain %s {\n", c->name);
	if (c->entry && c->base) {
		buf_printf(b, "\t\ttype %s hook %s priority ", form_chain_type(c->type),
		    form_hook(c->hook));
		if (c->priority)
			buf_printf(b, "%d", (int)c->priority);
		else
			buf_str(b, "filter");
		buf_str(b, "; policy accept;\n");
	}
	for (uint32_t i = 0; i < c->nrule; i++)
		put_rule(b, p, &c->rule[i]);
	buf_str(b, "\t}\n");
}

/* ---- the head -------------------------------------------------------------------- */

static void
put_head(struct buf *b, const struct plan *p, const struct out_options *o,
    const char *table)
{
	char digest[2 * PLAN_DIGEST + 1];

	plan_digest_text(p, digest);
	buf_printf(b, "# mailreeve: policy %s, point %s\n# digest %s\n#\n",
	    p->policy, p->point, digest);
	switch (o->part) {
	case OUT_ALL:
		if (p->own_table)
			buf_printf(b, "# Load with `nft -f FILE`: it replaces table inet %s and its two slots\n"
			    "# (-a, -b), whatever was in them, and touches no other table. Sets are empty\n"
			    "# for the instant of the replacement; the two-step form has no such gap.\n", table);
		else
			buf_printf(b, "# Load with `nft -f FILE`: it fills the chains mailreeve-* of table\n"
			    "# inet %s, and touches nothing else there. Your own chains decide when a\n"
			    "# packet comes here: `jump mailreeve-forward` (or -output, -input).\n", table);
		break;
	case OUT_STAGE:
		buf_printf(b, "# Step 1 of 2: load with `nft -f FILE`. It makes table inet %s with\n"
		    "# everything but what would make it live. Step 2 follows.\n", table);
		break;
	case OUT_SWAP:
		buf_printf(b, "# Step 2 of 2: load with `nft -f FILE` after step 1. It makes table\n"
		    "# inet %s live and deletes what it replaces, in one transaction.\n", table);
		break;
	}
	if (p->observe)
		buf_str(b, "# mode: observe. What would be refused is counted and logged, and passes.\n");
	if (!p->nchain)
		buf_str(b, "# This point refuses nothing, so there is nothing to enforce.\n");
	buf_chr(b, '\n');
}

static void
put_fresh(struct buf *b, const char *table)
{
	buf_printf(b, "table inet %s\ndelete table inet %s\n", table, table);
}

/* In a table that is not ours: what bears our names exists, and is empty. */
static void
put_emptied(struct buf *b, const struct plan *p, const char *table)
{
	buf_printf(b, "table inet %s {\n", table);
	for (uint32_t i = 0; i < p->nset; i++)
		if (p->set[i].name)
			put_set(b, p, &p->set[i], false);
	for (uint32_t i = 0; i < p->nchain; i++)
		buf_printf(b, "\tchain %s {\n\t}\n", p->chain[i].name);
	buf_str(b, "}\n");
	for (uint32_t i = p->nchain; i--; )
		buf_printf(b, "flush chain inet %s %s\n", table, p->chain[i].name);
	for (uint32_t i = 0; i < p->nset; i++)
		if (p->set[i].name && p->set[i].kind != PLAN_METER)
			buf_printf(b, "flush %s inet %s %s\n",
			    p->set[i].kind == PLAN_MAP ? "map" : "set", table, p->set[i].name);
	buf_chr(b, '\n');
}

void
out_nft(struct buf *b, const struct plan *p, const struct out_options *options)
{
	const struct out_options *o = options ? options : &whole;
	char hold[3][PLAN_NAME + 3], name[PLAN_NAME + 3];
	const char *table = form_table(p, o, name), *stale[4];
	bool first = true;

	assert(o->part == OUT_ALL || (p->own_table && o->slot != OUT_NO_SLOT));
	form_stale(p, o, stale, hold);
	put_head(b, p, o, table);
	if (!p->own_table)
		put_emptied(b, p, table);
	else if (o->part != OUT_SWAP)
		put_fresh(b, table);
	for (int i = 0; stale[i]; i++)
		put_fresh(b, stale[i]);
	if (p->own_table)
		buf_chr(b, '\n');
	buf_printf(b, "table inet %s {\n", table);
	for (uint32_t i = 0; i < p->ncounter && o->part != OUT_SWAP; i++)
		buf_printf(b, "\tcounter %s {\n\t}\n\n", p->counter[i].name);
	for (uint32_t i = 0; i < p->nset && o->part != OUT_SWAP; i++)
		if (p->set[i].name)
			put_set(b, p, &p->set[i], true);
	for (uint32_t i = p->nchain; i--; ) {
		if (!form_has(&p->chain[i], o->part))
			continue;
		if (!first)
			buf_chr(b, '\n');
		first = false;
		put_chain(b, p, &p->chain[i]);
	}
	buf_str(b, "}\n");
}
