#include "nl/dump.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

#include "base/arena.h"
#include "nl/read.h"
#include "nl/wire.h"

enum {
	SET_COUNT = 20,            /* NFTA_SET_COUNT, newer than the headers */
	SET_ATTRS = SET_COUNT,
	POOL = 65536,
	COMMENT_TAG = 0,           /* NFTNL_UDATA_RULE_COMMENT */
	OBJECT_COUNTER = 1,
};

static struct nl_bytes
keep(struct arena *a, struct attr x)
{
	struct nl_bytes b = {.n = x.n};

	if (x.n)
		b.p = memcpy(arena_alloc(a, x.n), x.p, x.n);
	return b;
}

/* A name that must be there. */
static const char *
name(struct arena *a, struct attr x, int *err)
{
	const char *s = attr_text(a, x);

	if (!s || !*s)
		*err = -EBADMSG;
	return s ? s : "";
}

static int
add_table(struct arena *a, struct nl_dump *d, uint8_t family, const uint8_t *p, size_t n)
{
	struct attr t[NFTA_TABLE_MAX + 1];
	struct nl_table x = {.family = family};
	int err = attr_table(p, n, t, NFTA_TABLE_MAX);

	x.name = name(a, t[NFTA_TABLE_NAME], &err);
	x.flags = attr_u32(t[NFTA_TABLE_FLAGS], 0, &err);
	x.owner = attr_u32(t[NFTA_TABLE_OWNER], 0, &err);
	x.handle = attr_u64(t[NFTA_TABLE_HANDLE], 0, &err);
	x.udata = keep(a, t[NFTA_TABLE_USERDATA]);
	if (!err)
		ARENA_PUSH(a, d->table, d->ntable, d->captable) = x;
	return err;
}

/* The first of a hook's devices. */
static const char *
device(struct arena *a, struct attr *hook)
{
	struct attrs s = {hook[NFTA_HOOK_DEVS].p, hook[NFTA_HOOK_DEVS].n, 0};
	struct attr x;
	uint16_t type;

	if (hook[NFTA_HOOK_DEV].p)
		return attr_text(a, hook[NFTA_HOOK_DEV]);
	while (attr_next(&s, &type, &x))
		if (type == NFTA_DEVICE_NAME)
			return attr_text(a, x);
	return NULL;
}

static int
add_chain(struct arena *a, struct nl_dump *d, uint8_t family, const uint8_t *p, size_t n)
{
	struct attr t[NFTA_CHAIN_MAX + 1], hook[NFTA_HOOK_MAX + 1];
	struct nl_chain x = {.family = family};
	int err = attr_table(p, n, t, NFTA_CHAIN_MAX);

	x.table = name(a, t[NFTA_CHAIN_TABLE], &err);
	x.name = name(a, t[NFTA_CHAIN_NAME], &err);
	x.handle = attr_u64(t[NFTA_CHAIN_HANDLE], 0, &err);
	x.use = attr_u32(t[NFTA_CHAIN_USE], 0, &err);
	x.flags = attr_u32(t[NFTA_CHAIN_FLAGS], 0, &err);
	x.udata = keep(a, t[NFTA_CHAIN_USERDATA]);
	if (t[NFTA_CHAIN_HOOK].p) {
		if (attr_table(t[NFTA_CHAIN_HOOK].p, t[NFTA_CHAIN_HOOK].n, hook, NFTA_HOOK_MAX))
			err = -EBADMSG;
		x.base = true;
		x.type = name(a, t[NFTA_CHAIN_TYPE], &err);
		x.policy = attr_u32(t[NFTA_CHAIN_POLICY], 1, &err);
		x.hook = attr_u32(hook[NFTA_HOOK_HOOKNUM], 0, &err);
		x.priority = (int32_t)attr_u32(hook[NFTA_HOOK_PRIORITY], 0, &err);
		x.device = device(a, hook);
	}
	if (!err)
		ARENA_PUSH(a, d->chain, d->nchain, d->capchain) = x;
	return err;
}

/* The lengths of a concatenation's fields. */
static void
read_fields(struct nl_set *x, struct attr desc, int *err)
{
	struct attr t[NFTA_SET_DESC_MAX + 1], one;
	struct attrs s;
	uint16_t type;

	if (attr_table(desc.p, desc.n, t, NFTA_SET_DESC_MAX)) {
		*err = -EBADMSG;
		return;
	}
	x->size = attr_u32(t[NFTA_SET_DESC_SIZE], 0, err);
	s = (struct attrs){t[NFTA_SET_DESC_CONCAT].p, t[NFTA_SET_DESC_CONCAT].n, 0};
	while (attr_next(&s, &type, &one)) {
		struct attr f[NFTA_SET_FIELD_MAX + 1];
		uint32_t len;

		if (attr_table(one.p, one.n, f, NFTA_SET_FIELD_MAX) ||
		    x->nfield == NL_MOST_FIELDS) {
			*err = -EBADMSG;
			return;
		}
		len = attr_u32(f[NFTA_SET_FIELD_LEN], 0, err);
		if (len == 0 || len > NL_MOST_DATA)
			*err = -EBADMSG;
		x->field[x->nfield++] = (uint8_t)len;
	}
	if (s.err)
		*err = s.err;
}

static int
add_set(struct arena *a, struct nl_dump *d, uint8_t family, const uint8_t *p, size_t n)
{
	struct attr t[SET_ATTRS + 1];
	struct nl_set x = {.family = family};
	int err = attr_table(p, n, t, SET_ATTRS);

	x.table = name(a, t[NFTA_SET_TABLE], &err);
	x.name = name(a, t[NFTA_SET_NAME], &err);
	x.handle = attr_u64(t[NFTA_SET_HANDLE], 0, &err);
	x.timeout = attr_u64(t[NFTA_SET_TIMEOUT], 0, &err);
	x.flags = attr_u32(t[NFTA_SET_FLAGS], 0, &err);
	x.key_type = attr_u32(t[NFTA_SET_KEY_TYPE], 0, &err);
	x.key_len = attr_u32(t[NFTA_SET_KEY_LEN], 0, &err);
	x.data_type = attr_u32(t[NFTA_SET_DATA_TYPE], 0, &err);
	x.data_len = attr_u32(t[NFTA_SET_DATA_LEN], 0, &err);
	x.obj_type = attr_u32(t[NFTA_SET_OBJ_TYPE], 0, &err);
	x.count = UINT32_MAX;
	if (t[SET_COUNT].n == sizeof(uint32_t))
		x.count = attr_u32(t[SET_COUNT], 0, &err);
	x.udata = keep(a, t[NFTA_SET_USERDATA]);
	if (t[NFTA_SET_DESC].p)
		read_fields(&x, t[NFTA_SET_DESC], &err);
	if (x.key_len == 0 || x.key_len > NL_MOST_DATA)
		err = -EBADMSG;
	if (!err)
		ARENA_PUSH(a, d->set, d->nset, d->capset) = x;
	return err;
}

static int
add_object(struct arena *a, struct nl_dump *d, uint8_t family, const uint8_t *p, size_t n)
{
	struct attr t[NFTA_OBJ_MAX + 1], c[NFTA_COUNTER_MAX + 1];
	struct nl_object x = {.family = family};
	int err = attr_table(p, n, t, NFTA_OBJ_MAX);

	x.table = name(a, t[NFTA_OBJ_TABLE], &err);
	x.name = name(a, t[NFTA_OBJ_NAME], &err);
	x.type = attr_u32(t[NFTA_OBJ_TYPE], 0, &err);
	x.use = attr_u32(t[NFTA_OBJ_USE], 0, &err);
	x.handle = attr_u64(t[NFTA_OBJ_HANDLE], 0, &err);
	x.udata = keep(a, t[NFTA_OBJ_USERDATA]);
	if (x.type == OBJECT_COUNTER && t[NFTA_OBJ_DATA].p) {
		if (attr_table(t[NFTA_OBJ_DATA].p, t[NFTA_OBJ_DATA].n, c, NFTA_COUNTER_MAX))
			err = -EBADMSG;
		x.packets = attr_u64(c[NFTA_COUNTER_PACKETS], 0, &err);
		x.bytes = attr_u64(c[NFTA_COUNTER_BYTES], 0, &err);
	}
	if (!err)
		ARENA_PUSH(a, d->object, d->nobject, d->capobject) = x;
	return err;
}

static int
add_rule(struct arena *a, struct nl_dump *d, uint8_t family, const uint8_t *p, size_t n)
{
	struct attr t[NFTA_RULE_MAX + 1];
	struct nl_rule x = {.family = family};
	int err = attr_table(p, n, t, NFTA_RULE_MAX);
	const uint8_t *comment;
	size_t len;

	x.table = name(a, t[NFTA_RULE_TABLE], &err);
	x.chain = name(a, t[NFTA_RULE_CHAIN], &err);
	x.handle = attr_u64(t[NFTA_RULE_HANDLE], 0, &err);
	x.udata = keep(a, t[NFTA_RULE_USERDATA]);
	if (!err && t[NFTA_RULE_EXPRESSIONS].p)
		err = nl_exprs_read(a, t[NFTA_RULE_EXPRESSIONS].p, t[NFTA_RULE_EXPRESSIONS].n,
		    &x.expr, &x.nexpr);
	comment = wire_tag_find(x.udata.p, x.udata.n, COMMENT_TAG, &len);
	if (comment)
		x.comment = arena_strn(a, (const char *)comment,
		    strnlen((const char *)comment, len));
	if (!err)
		ARENA_PUSH(a, d->rule, d->nrule, d->caprule) = x;
	return err;
}

/* ---- elements ------------------------------------------------------------------- */

static bool
is_set(const struct nl_set *s, uint8_t family, struct attr table, struct attr set)
{
	size_t t = strnlen((const char *)table.p, table.n), n = strnlen((const char *)set.p, set.n);

	return s->family == family && strlen(s->name) == n && !memcmp(s->name, set.p, n) &&
	    strlen(s->table) == t && !memcmp(s->table, table.p, t);
}

/* Room for a key, out of a pool: the arena aligns more than keys need. */
static uint8_t *
key_room(struct arena *a, struct nl_dump *d, size_t n)
{
	uint8_t *p;

	if (d->npool < n) {
		d->pool = arena_alloc(a, POOL);
		d->npool = POOL;
	}
	p = d->pool;
	d->pool += n;
	d->npool -= n;
	return p;
}

static const uint8_t *
read_key(struct arena *a, struct nl_dump *d, struct attr x, uint32_t len, int *err)
{
	struct attr t[NFTA_DATA_MAX + 1];

	if (attr_table(x.p, x.n, t, NFTA_DATA_MAX) || t[NFTA_DATA_VALUE].n != len) {
		*err = -EBADMSG;
		return NULL;
	}
	return memcpy(key_room(a, d, len), t[NFTA_DATA_VALUE].p, len);
}

static void
read_more(struct arena *a, struct nl_elem *e, const struct attr *t, int *err)
{
	static const unsigned says[] = {NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_TIMEOUT,
	    NFTA_SET_ELEM_EXPIRATION, NFTA_SET_ELEM_USERDATA, NFTA_SET_ELEM_EXPR,
	    NFTA_SET_ELEM_OBJREF, NFTA_SET_ELEM_EXPRESSIONS};
	struct nl_elem_more *m = NULL;
	struct nl_expr *expr = NULL;

	for (size_t i = 0; i < sizeof says / sizeof *says && !m; i++)
		if (t[says[i]].p)
			m = arena_of(a, struct nl_elem_more);
	if (!m)
		return;
	e->more = m;
	if (t[NFTA_SET_ELEM_DATA].p &&
	    read_data(a, t[NFTA_SET_ELEM_DATA], &m->data, &m->verdict))
		*err = -EBADMSG;
	m->timeout = attr_u64(t[NFTA_SET_ELEM_TIMEOUT], 0, err);
	m->expires = attr_u64(t[NFTA_SET_ELEM_EXPIRATION], 0, err);
	m->object = attr_text(a, t[NFTA_SET_ELEM_OBJREF]);
	m->udata = keep(a, t[NFTA_SET_ELEM_USERDATA]);
	if (t[NFTA_SET_ELEM_EXPRESSIONS].p &&
	    read_exprs(a, t[NFTA_SET_ELEM_EXPRESSIONS].p, t[NFTA_SET_ELEM_EXPRESSIONS].n, 1,
	    &expr, &m->nexpr))
		*err = -EBADMSG;
	else if (t[NFTA_SET_ELEM_EXPR].p && !expr) {
		expr = arena_of(a, struct nl_expr);
		if (read_expr(a, t[NFTA_SET_ELEM_EXPR], 1, expr))
			*err = -EBADMSG;
		m->nexpr = 1;
	}
	m->expr = expr;
}

static int
add_element(struct arena *a, struct nl_dump *d, struct nl_set *s, struct attr x)
{
	struct attr t[NFTA_SET_ELEM_MAX + 1];
	struct nl_elem e = {0};
	int err = attr_table(x.p, x.n, t, NFTA_SET_ELEM_MAX);
	uint32_t flags = attr_u32(t[NFTA_SET_ELEM_FLAGS], 0, &err);

	if (err)
		return err;
	e.end = flags & NFT_SET_ELEM_INTERVAL_END;
	e.catchall = flags & NFT_SET_ELEM_CATCHALL;
	if (!e.catchall)
		e.key = read_key(a, d, t[NFTA_SET_ELEM_KEY], s->key_len, &err);
	if (t[NFTA_SET_ELEM_KEY_END].p)
		e.key_end = read_key(a, d, t[NFTA_SET_ELEM_KEY_END], s->key_len, &err);
	read_more(a, &e, t, &err);
	if (!err)
		ARENA_PUSH(a, s->elem, s->nelem, s->capelem) = e;
	return err;
}

static int
add_elements(struct arena *a, struct nl_dump *d, uint8_t family, const uint8_t *p, size_t n)
{
	struct attr t[NFTA_SET_ELEM_LIST_MAX + 1], one;
	struct nl_set *set = NULL;
	struct attrs s;
	uint16_t type;
	int err = attr_table(p, n, t, NFTA_SET_ELEM_LIST_MAX);

	if (err || !t[NFTA_SET_ELEM_LIST_TABLE].p || !t[NFTA_SET_ELEM_LIST_SET].p)
		return -EBADMSG;
	for (uint32_t i = 0; i < d->nset && !set; i++) {
		struct nl_set *x = &d->set[(d->at + i) % d->nset];

		if (is_set(x, family, t[NFTA_SET_ELEM_LIST_TABLE], t[NFTA_SET_ELEM_LIST_SET])) {
			set = x;
			d->at = (uint32_t)(x - d->set);
		}
	}
	if (!set)
		return -EBADMSG;
	s = (struct attrs){t[NFTA_SET_ELEM_LIST_ELEMENTS].p, t[NFTA_SET_ELEM_LIST_ELEMENTS].n, 0};
	while (!err && attr_next(&s, &type, &one))
		if (type == NFTA_LIST_ELEM)
			err = add_element(a, d, set, one);
	return err ? err : s.err;
}

int
nl_dump_add(struct arena *a, struct nl_dump *d, const void *message, size_t n)
{
	static const struct {
		uint8_t type;
		int (*add)(struct arena *, struct nl_dump *, uint8_t, const uint8_t *, size_t);
	} row[] = {
		{NFT_MSG_NEWTABLE, add_table},
		{NFT_MSG_NEWCHAIN, add_chain},
		{NFT_MSG_NEWSET, add_set},
		{NFT_MSG_NEWOBJ, add_object},
		{NFT_MSG_NEWRULE, add_rule},
		{NFT_MSG_NEWSETELEM, add_elements},
	};
	const uint8_t *p = message;
	struct nlmsghdr h;
	struct nfgenmsg g;

	if (n < sizeof h + sizeof g)
		return -EBADMSG;
	memcpy(&h, p, sizeof h);
	memcpy(&g, p + sizeof h, sizeof g);
	if (h.nlmsg_len < sizeof h + sizeof g || h.nlmsg_len > n)
		return -EBADMSG;
	if (NFNL_SUBSYS_ID(h.nlmsg_type) != NFNL_SUBSYS_NFTABLES)
		return 0;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		if (row[i].type == NFNL_MSG_TYPE(h.nlmsg_type))
			return row[i].add(a, d, g.nfgen_family, p + sizeof h + sizeof g,
			    h.nlmsg_len - sizeof h - sizeof g);
	return 0;
}

/* ---- by name ---------------------------------------------------------------------- */

const struct nl_table *
nl_dump_table(const struct nl_dump *d, uint8_t family, const char *table)
{
	for (uint32_t i = 0; d && i < d->ntable; i++)
		if (d->table[i].family == family && !strcmp(d->table[i].name, table))
			return &d->table[i];
	return NULL;
}

const struct nl_chain *
nl_dump_chain(const struct nl_dump *d, uint8_t family, const char *table, const char *chain)
{
	for (uint32_t i = 0; d && i < d->nchain; i++)
		if (d->chain[i].family == family && !strcmp(d->chain[i].name, chain) &&
		    !strcmp(d->chain[i].table, table))
			return &d->chain[i];
	return NULL;
}

const struct nl_set *
nl_dump_set(const struct nl_dump *d, uint8_t family, const char *table, const char *set)
{
	for (uint32_t i = 0; d && i < d->nset; i++)
		if (d->set[i].family == family && !strcmp(d->set[i].name, set) &&
		    !strcmp(d->set[i].table, table))
			return &d->set[i];
	return NULL;
}

const struct nl_object *
nl_dump_object(const struct nl_dump *d, uint8_t family, const char *table, const char *object)
{
	for (uint32_t i = 0; d && i < d->nobject; i++)
		if (d->object[i].family == family && !strcmp(d->object[i].name, object) &&
		    !strcmp(d->object[i].table, table))
			return &d->object[i];
	return NULL;
}
