#include "nl/probe.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "nl/talk.h"
#include "nl/wire.h"

enum {
	MOST = 4096,               /* bytes of a question */
	DESTROYTABLE = 26,         /* newer than the headers */
	TRIES = 50,
	LO = 16, PAST = 32,        /* a range of ports */
	PORT_TYPE = 13,            /* nft's number for inet_service */
};

#define NAME "mailreeve/probe"
#define MISSING "mailreeve/probe/none"

struct try {
	struct nl_talk *t;
	struct arena *a;
	struct nl_faults *faults;
	const char *name;          /* of the table */
	struct nl_batch b;
	const struct nl_item *item; /* of the batch that was sent last */
};

/* ---- a batch by hand -------------------------------------------------------------- */

static size_t
begin(struct try *y, uint16_t type, uint16_t flags, uint8_t family, uint16_t res_id)
{
	struct nl_batch *b = &y->b;

	ARENA_PUSH(y->a, b->item, b->nitem, b->capitem) =
	    (struct nl_item){.what = NL_A_TABLE, .name = y->name};
	return wire_msg(&b->bytes, type, NLM_F_REQUEST | flags, b->seq + b->nitem - 1, family,
	    res_id);
}

static size_t
message(struct try *y, int type, uint16_t flags)
{
	return begin(y, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, NFPROTO_INET, 0);
}

static void
start(struct try *y)
{
	size_t at;

	y->b = (struct nl_batch){.bytes = BUF_INIT(MOST), .seq = 1, .changes = 1};
	at = begin(y, NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES);
	wire_msg_end(&y->b.bytes, at);
}

/* Ends the batch and sends it; flags: of its last message. */
static int
finish(struct try *y, uint16_t flags)
{
	struct nl_batch *b = &y->b;
	size_t at = wire_msg(&b->bytes, NFNL_MSG_BATCH_END, NLM_F_REQUEST | flags,
	    b->seq + b->nitem, 0, NFNL_SUBSYS_NFTABLES);
	int err;

	wire_msg_end(&b->bytes, at);
	memset(y->faults, 0, sizeof *y->faults);
	err = b->bytes.err ? b->bytes.err : nl_talk_send(y->t, b, y->faults);
	y->item = b->item;     /* the arena's */
	nl_batch_free(b);
	return err;
}

static void
table(struct try *y, int type, uint16_t flags, const char *name, uint32_t table_flags)
{
	size_t at = message(y, type, flags);

	wire_str(&y->b.bytes, NFTA_TABLE_NAME, name);
	if (type == NFT_MSG_NEWTABLE)
		wire_u32(&y->b.bytes, NFTA_TABLE_FLAGS, table_flags);
	wire_msg_end(&y->b.bytes, at);
}

/* Whether the kernel takes message 1, in a transaction that must fail for message 2. */
static int
taken(struct try *y, enum nl_known *out)
{
	int err, one = 0;
	bool poison = false;

	table(y, NFT_MSG_DELTABLE, NLM_F_ACK, MISSING, 0);
	err = finish(y, 0);
	for (size_t i = 0; i < y->faults->n; i++) {
		const struct nl_fault *f = &y->faults->v[i];

		if (f->item == &y->item[1])
			one = f->err;
		poison |= f->item == &y->item[2] && f->err == -ENOENT;
	}
	if (err == -EPERM || one == -EPERM)
		return -EPERM;
	if (one == -EOPNOTSUPP || one == -EINVAL)
		*out = NL_HAS_NOT;
	else if (!one && poison)
		*out = NL_HAS;
	return 0;
}

/* ---- the questions ------------------------------------------------------------------- */

static int
try_flags(struct try *y, uint32_t flags, enum nl_known *out)
{
	start(y);
	table(y, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, y->name, flags);
	return taken(y, out);
}

static int
try_destroy(struct try *y, enum nl_known *out)
{
	start(y);
	table(y, DESTROYTABLE, 0, MISSING, 0);
	return taken(y, out);
}

static int
try_ack(struct try *y, enum nl_known *out)
{
	int err;

	start(y);
	err = finish(y, NLM_F_ACK);
	if (!err)
		*out = NL_HAS;
	else if (err == -ENOBUFS) /* there was no answer */
		*out = NL_HAS_NOT;
	return err == -EPERM ? err : 0;
}

static void
element(struct buf *b, uint16_t port, uint32_t flags)
{
	size_t elem = wire_nest(b, NFTA_LIST_ELEM), at = wire_nest(b, NFTA_SET_ELEM_KEY);

	wire_u16(b, NFTA_DATA_VALUE, port);
	wire_end(b, at);
	if (flags)
		wire_u32(b, NFTA_SET_ELEM_FLAGS, flags);
	wire_end(b, elem);
}

/* A table of this socket's with a set of ports: a lone end at 0, as nft makes it, and a
 * range. */
static int
furnish(struct try *y)
{
	struct buf *b = &y->b.bytes;
	size_t at, list;

	start(y);
	table(y, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, y->name, NL_OWNER);
	at = message(y, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL);
	wire_str(b, NFTA_SET_TABLE, y->name);
	wire_str(b, NFTA_SET_NAME, "s");
	wire_u32(b, NFTA_SET_FLAGS, NFT_SET_INTERVAL);
	wire_u32(b, NFTA_SET_KEY_TYPE, PORT_TYPE);
	wire_u32(b, NFTA_SET_KEY_LEN, sizeof(uint16_t));
	wire_u32(b, NFTA_SET_ID, 1);
	wire_msg_end(b, at);
	at = message(y, NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_ACK);
	wire_str(b, NFTA_SET_ELEM_LIST_TABLE, y->name);
	wire_str(b, NFTA_SET_ELEM_LIST_SET, "s");
	wire_u32(b, NFTA_SET_ELEM_LIST_SET_ID, 1);
	list = wire_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
	element(b, 0, NFT_SET_ELEM_INTERVAL_END);
	element(b, LO, 0);
	element(b, PAST, NFT_SET_ELEM_INTERVAL_END);
	wire_end(b, list);
	wire_msg_end(b, at);
	return finish(y, 0);
}

/* The errno of an answer to request seq, 0 for an answer that is none; -EBADMSG. */
static int
answer(int fd, uint32_t seq)
{
	struct nlmsghdr h;
	struct nlmsgerr e;
	char in[MOST];
	ssize_t n;

	for (int i = 0; i < TRIES; i++) {
		n = recv(fd, in, sizeof in, 0);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < (ssize_t)sizeof h)
			continue;
		memcpy(&h, in, sizeof h);
		if (h.nlmsg_seq != seq || h.nlmsg_len > (size_t)n)
			continue;
		if (h.nlmsg_type != NLMSG_ERROR)
			return 0;
		if (h.nlmsg_len < sizeof h + sizeof e)
			return -EBADMSG;
		memcpy(&e, in + sizeof h, sizeof e);
		return e.error;
	}
	return -EBADMSG;
}

/* Asks for one boundary of the set. 0: it is there; -ENOENT; another -errno. */
static int
ask(struct try *y, uint16_t port, uint32_t flags)
{
	static const uint32_t seq = 1 << 20;
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct buf b = BUF_INIT(MOST);
	int fd = nl_talk_fd(y->t), err = 0;
	size_t at, list;

	at = wire_msg(&b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM, NLM_F_REQUEST, seq,
	    NFPROTO_INET, 0);
	wire_str(&b, NFTA_SET_ELEM_LIST_TABLE, y->name);
	wire_str(&b, NFTA_SET_ELEM_LIST_SET, "s");
	list = wire_nest(&b, NFTA_SET_ELEM_LIST_ELEMENTS);
	element(&b, port, flags);
	wire_end(&b, list);
	wire_msg_end(&b, at);
	if (b.err)
		err = b.err;
	else if (sendto(fd, b.p, b.n, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
		err = -errno;
	buf_free(&b);
	return err ? err : answer(fd, seq);
}

/* Whether the dump has the lone end: then the tree holds it. */
static bool
has_lone_end(const struct nl_set *s)
{
	static const uint8_t zero[sizeof(uint16_t)];

	for (uint32_t i = 0; i < s->nelem; i++)
		if (s->elem[i].end && s->key_len == sizeof zero &&
		    !memcmp(s->elem[i].key, zero, sizeof zero))
			return true;
	return false;
}

static int
try_set(struct try *y, struct nl_probe *out)
{
	const struct nl_set *s;
	struct nl_dump d;
	int err = furnish(y);

	if (!err)
		err = nl_talk_dump(y->t, y->a, NFPROTO_INET, y->name, NL_DUMP_ELEMENTS, TRIES, &d);
	if (err)
		return err;
	s = nl_dump_set(&d, NFPROTO_INET, y->name, "s");
	if (!s)
		return 0;
	out->set_count = s->count == UINT32_MAX ? NL_HAS_NOT : NL_HAS;
	/* both ends of the range are found wherever it is looked for; the lone end in the
	 * tree only */
	if (!has_lone_end(s) || ask(y, LO, 0) || ask(y, PAST, NFT_SET_ELEM_INTERVAL_END))
		return 0;
	err = ask(y, 0, NFT_SET_ELEM_INTERVAL_END);
	if (err == -ENOENT)
		out->in_place = NL_HAS;
	else if (!err)
		out->in_place = NL_HAS_NOT;
	return 0;
}

/* What can be said without a table of our own: by any set that is there. */
static int
read_counts(struct try *y, struct nl_probe *out)
{
	struct nl_dump d;
	int err = nl_talk_dump(y->t, y->a, 0, NULL, 0, TRIES, &d);

	if (!err && d.nset)
		out->set_count = d.set[0].count == UINT32_MAX ? NL_HAS_NOT : NL_HAS;
	return err;
}

static int
try_all(struct try *y, struct nl_probe *out)
{
	int err = try_flags(y, NL_OWNER, &out->owner);

	if (!err)
		err = try_flags(y, NL_OWNER | NL_PERSIST, &out->persist);
	if (!err)
		err = try_destroy(y, &out->destroy);
	if (!err)
		err = try_ack(y, &out->ack_end);
	if (!err)
		err = out->owner == NL_HAS ? try_set(y, out) : read_counts(y, out);
	return err;
}

int
nl_probe(struct nl_probe *out)
{
	struct sockaddr_nl me = {0};
	socklen_t n = sizeof me;
	struct try y = {.a = arena_new(), .faults = calloc(1, sizeof *y.faults)};
	int err = y.faults ? nl_talk_open(&y.t) : -ENOMEM;

	*out = (struct nl_probe){0};
	if (!err && getsockname(nl_talk_fd(y.t), (struct sockaddr *)&me, &n))
		err = -errno;
	if (!err) {
		/* no two sockets of a namespace have one number */
		y.name = arena_printf(y.a, NAME "-%u", me.nl_pid);
		err = try_all(&y, out);
	}
	nl_talk_close(y.t);    /* and the table is gone */
	free(y.faults);
	arena_free(y.a);
	return err;
}

void
nl_probe_text(struct buf *b, const struct nl_probe *p)
{
	static const char *const word[] = {
		[NL_NOT_KNOWN] = "not known", [NL_HAS_NOT] = "no", [NL_HAS] = "yes",
	};
	const struct {
		const char *what;
		enum nl_known is;
	} row[] = {
		{"tables with an owner", p->owner},
		{"that outlive it", p->persist},
		{"deletion of what may not be there", p->destroy},
		{"acknowledged ends of batches", p->ack_end},
		{"counts of sets' elements", p->set_count},
		{"elements changed in place", p->in_place},
	};

	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		buf_printf(b, "%s: %s\n", row[i].what, word[row[i].is]);
}
