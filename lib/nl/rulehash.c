#include "nl/rulehash.h"

#include "base/hash.h"

/* What the kernel says where it was told nothing: a range of one. */
static void
fill(struct nl_expr *e)
{
	if (e->kind != NL_NAT && e->kind != NL_MASQ && e->kind != NL_REDIR && e->kind != NL_TPROXY)
		return;
	if (e->u.nat.addr_max == NL_NO_REG)
		e->u.nat.addr_max = e->u.nat.addr_min;
	if (e->u.nat.port_max == NL_NO_REG)
		e->u.nat.port_max = e->u.nat.port_min;
}

uint64_t
rule_hash(struct buf *b, const struct nl_expr *e, uint32_t n, struct nl_bytes udata,
    const struct nl_sum *(*anon)(void *arg, const char *set), void *arg)
{
	uint64_t h = hash_bytes(0, udata.p, udata.n);

	for (uint32_t i = 0; i < n; i++) {
		struct nl_expr x = e[i];
		const struct nl_sum *s = NULL;

		if (x.kind == NL_LOOKUP && (s = anon(arg, x.u.lookup.set)) != NULL)
			x.u.lookup.set = "";
		else if (x.kind == NL_DYNSET && (s = anon(arg, x.u.dynset.set)) != NULL)
			x.u.dynset.set = "";
		else if (x.kind == NL_OBJREF && x.u.objref.set &&
		    (s = anon(arg, x.u.objref.set)) != NULL)
			x.u.objref.set = "";
		fill(&x);
		b->n = 0;
		nl_expr_text(b, &x);
		h = hash_bytes(h, b->p, b->n);
		if (s)
			h = hash_u64(hash_u64(h, s->sum), s->n);
	}
	return h;
}
