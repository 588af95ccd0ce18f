#include "nl/talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "nl/attr.h"
#include "nl/gather.h"
#include "nl/wire.h"

#ifndef NETLINK_CAP_ACK
#define NETLINK_CAP_ACK 10
#endif
#ifndef NETLINK_EXT_ACK
#define NETLINK_EXT_ACK 11
#endif

enum {
	RECEIVE = 1 << 16,         /* the kernel fills at most 32 KiB of it at a time */
	ANSWERS = 4 << 20,         /* bytes of answers that may wait for us */
	QUESTION = 1 << 29,        /* bytes of a batch; a limit, nothing is set aside for it */
	SLACK = 1024,
	MOST_INTERRUPTS = 100,
	MOST_COUNTER_TRIES = 10,
	OBJECT_COUNTER = 1,
};

struct nl_talk {
	struct mnl_socket *s;
	unsigned port;
	uint32_t seq;
	size_t most;               /* bytes in one batch */
	uint8_t in[RECEIVE];
};

/* Asks for a large buffer: as root whatever we say, in a user namespace up to the
 * system's limit. */
static void
grow(int fd, int forced, int plain, int want)
{
	if (setsockopt(fd, SOL_SOCKET, forced, &want, sizeof want))
		setsockopt(fd, SOL_SOCKET, plain, &want, sizeof want);
}

static int
make(struct mnl_socket *s, struct nl_talk **out)
{
	struct nl_talk *t = calloc(1, sizeof *t);
	int on = 1, room = 0, fd = mnl_socket_get_fd(s);
	socklen_t len = sizeof room;

	if (!t)
		return -ENOMEM;
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
	grow(fd, SO_RCVBUFFORCE, SO_RCVBUF, ANSWERS);
	grow(fd, SO_SNDBUFFORCE, SO_SNDBUF, QUESTION);
	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, &len) || room <= SLACK)
		room = 2 * SLACK;
	t->most = (size_t)room - SLACK;
	t->s = s;
	t->port = mnl_socket_get_portid(s);
	*out = t;
	return 0;
}

int
nl_talk_open(struct nl_talk **out)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	int err;

	if (!s)
		return -errno;
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0)
		err = -errno;
	else
		err = make(s, out);
	if (err)
		mnl_socket_close(s);
	return err;
}

int
nl_talk_adopt(int fd, struct nl_talk **out)
{
	struct mnl_socket *s = mnl_socket_fdopen(fd);
	int err;

	if (!s)
		return -errno;
	err = make(s, out);
	if (err)
		free(s);           /* not the descriptor: it is still the caller's */
	return err;
}

int
nl_talk_fd(const struct nl_talk *t)
{
	return mnl_socket_get_fd(t->s);
}

size_t
nl_talk_most(const struct nl_talk *t)
{
	return t->most;
}

struct nl_talk *
nl_talk_close(struct nl_talk *t)
{
	if (t)
		mnl_socket_close(t->s);
	free(t);
	return NULL;
}

/* ---- bytes in and out -------------------------------------------------------------- */

static int
put(struct nl_talk *t, const void *p, size_t n)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int tries = 0;
	ssize_t k;

	do
		k = sendto(nl_talk_fd(t), p, n, 0, (struct sockaddr *)&kernel, sizeof kernel);
	while (k < 0 && errno == EINTR && ++tries < MOST_INTERRUPTS);
	if (k < 0)
		return -errno;
	return (size_t)k == n ? 0 : -EMSGSIZE;
}

/* Reads one run of messages: its length, 0 for one that is not the kernel's, or -errno. */
static ssize_t
get(struct nl_talk *t, int flags)
{
	struct sockaddr_nl from = {0};
	struct iovec v = {t->in, sizeof t->in};
	struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &v,
	    .msg_iovlen = 1};
	ssize_t n;
	int tries = 0;

	do
		n = recvmsg(nl_talk_fd(t), &m, flags);
	while (n < 0 && errno == EINTR && ++tries < MOST_INTERRUPTS);
	if (n < 0)
		return -errno;
	if (from.nl_pid != 0)
		return 0;
	/* what does not fit is lost, as what there was no room for */
	return m.msg_flags & MSG_TRUNC ? -ENOBUFS : n;
}

/* Drops what is left of older answers. */
static void
drain(struct nl_talk *t)
{
	int odd = 0;
	ssize_t n;

	do {
		n = get(t, MSG_DONTWAIT);
		odd += n < 0;
	} while (n >= 0 || (n == -ENOBUFS && odd < MOST_INTERRUPTS));
}

/* The next message of the run at *p; false at its end. */
static bool
next(const uint8_t **p, size_t *n, struct nlmsghdr *h, const uint8_t **message)
{
	size_t step;

	if (*n < sizeof *h)
		return false;
	memcpy(h, *p, sizeof *h);
	if (h->nlmsg_len < sizeof *h || h->nlmsg_len > *n)
		return false;
	*message = *p;
	step = NLMSG_ALIGN(h->nlmsg_len);
	if (step > *n)
		step = *n;
	*p += step;
	*n -= step;
	return true;
}

/* The errno of an error message, and its text. */
static int
error_of(const struct nlmsghdr *h, const uint8_t *message, char *text, size_t most)
{
	size_t n = h->nlmsg_len - sizeof *h, at = sizeof(struct nlmsgerr);
	struct attr t[NLMSGERR_ATTR_MSG + 1];
	struct nlmsgerr e;

	if (text)
		text[0] = 0;
	if (n < sizeof e)
		return -EBADMSG;
	memcpy(&e, message + sizeof *h, sizeof e);
	if (!text || !(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return e.error;
	/* the head of our message, and what it carried unless it was capped */
	if (!(h->nlmsg_flags & NLM_F_CAPPED) && e.msg.nlmsg_len > sizeof e.msg)
		at += NLMSG_ALIGN(e.msg.nlmsg_len - sizeof e.msg);
	if (at < n && !attr_table(message + sizeof *h + at, n - at, t, NLMSGERR_ATTR_MSG) &&
	    t[NLMSGERR_ATTR_MSG].p) {
		size_t k = strnlen((const char *)t[NLMSGERR_ATTR_MSG].p, t[NLMSGERR_ATTR_MSG].n);

		if (k >= most)
			k = most - 1;
		memcpy(text, t[NLMSGERR_ATTR_MSG].p, k);
		text[k] = 0;
	}
	return e.error;
}

/* ---- the generation ------------------------------------------------------------------- */

static int
ask(struct nl_talk *t, int type, uint16_t flags, uint8_t family, const char *table,
    const char *set)
{
	struct buf b = BUF_INIT(4096);
	size_t at = wire_msg(&b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type),
	    NLM_F_REQUEST | flags, ++t->seq, family, 0);
	int err;

	/* every one of these messages has the table's name as attribute 1 */
	if (table)
		wire_str(&b, NFTA_SET_TABLE, table);
	if (set)
		wire_str(&b, NFTA_SET_NAME, set);
	wire_msg_end(&b, at);
	err = b.err ? b.err : put(t, b.p, b.n);
	buf_free(&b);
	return err;
}

int
nl_talk_gen(struct nl_talk *t, uint32_t *gen)
{
	struct attr a[NFTA_GEN_MAX + 1];
	const uint8_t *p, *message;
	struct nlmsghdr h;
	ssize_t got;
	size_t n;
	int err;

	drain(t);
	err = ask(t, NFT_MSG_GETGEN, 0, 0, NULL, NULL);
	if (err)
		return err;
	for (int tries = 0; tries < MOST_INTERRUPTS; tries++) {
		got = get(t, 0);
		if (got < 0)
			return (int)got;
		p = t->in;
		n = (size_t)got;
		while (next(&p, &n, &h, &message)) {
			size_t head = sizeof h + sizeof(struct nfgenmsg);

			if (h.nlmsg_seq != t->seq)
				continue;
			if (h.nlmsg_type == NLMSG_ERROR) {
				err = error_of(&h, message, NULL, 0);
				return err ? err : -EBADMSG;
			}
			if (h.nlmsg_len < head || attr_table(message + head,
			    h.nlmsg_len - head, a, NFTA_GEN_MAX) || !a[NFTA_GEN_ID].p)
				return -EBADMSG;
			*gen = attr_u32(a[NFTA_GEN_ID], 0, &err);
			return err;
		}
	}
	return -EBADMSG;
}

/* ---- batches ------------------------------------------------------------------------------ */

static void
note(struct nl_faults *f, const struct nl_batch *b, const struct nlmsghdr *h,
    const uint8_t *message)
{
	struct nl_fault x;
	uint32_t i = h->nlmsg_seq - b->seq;

	x.err = error_of(h, message, x.text, sizeof x.text);
	x.item = i < b->nitem ? &b->item[i] : NULL;
	if (!x.err)
		return;
	f->all++;
	if (f->n < NL_MOST_FAULTS)
		f->v[f->n++] = x;
}

/* One transaction. */
static int
send_part(struct nl_talk *t, const struct nl_batch *b, struct nl_faults *f)
{
	const uint8_t *p, *message;
	bool answered = false;
	struct nlmsghdr h;
	int lost = 0;
	ssize_t got;
	size_t n;
	int err;

	drain(t);
	t->seq = b->seq + b->nitem + 1;
	err = put(t, b->bytes.p, b->bytes.n);
	/* the kernel has done all of it, and answered, when the call comes back */
	while (!err) {
		got = get(t, MSG_DONTWAIT);
		if (got == -EAGAIN || got == -EWOULDBLOCK)
			break;
		/* whatever it is: what was asked for may have been done */
		if (got < 0 && ++lost < MOST_INTERRUPTS)
			continue;
		if (got < 0)
			break;
		p = t->in;
		n = (size_t)got;
		while (next(&p, &n, &h, &message)) {
			if (h.nlmsg_type != NLMSG_ERROR || h.nlmsg_seq - b->seq > b->nitem)
				continue;
			answered = true;
			note(f, b, &h, message);
		}
	}
	if (!err && f->n)
		err = f->v[0].err;
	else if (!err && (lost || !answered))
		err = -ENOBUFS;
	return err;
}

int
nl_talk_send(struct nl_talk *t, const struct nl_batch *b, struct nl_faults *faults)
{
	struct nl_faults *f = calloc(1, sizeof *f);
	int err = 0;

	if (!f)
		return -ENOMEM;
	for (; b && !err; b = b->next)
		err = send_part(t, b, f);
	if (faults)
		*faults = *f;
	free(f);
	return err;
}

/* ---- dumps ----------------------------------------------------------------------------------- */

/* Whether a message is about the table: attribute 1 of each kind is its name. Others are
 * not even read: what is odd in them is not for us to stumble over. */
static bool
is_about(const uint8_t *message, size_t n, const char *table)
{
	struct attr t[NFTA_TABLE_NAME + 1];
	size_t len = strlen(table);

	return !attr_table(message, n, t, NFTA_TABLE_NAME) && t[NFTA_TABLE_NAME].p &&
	    strnlen((const char *)t[NFTA_TABLE_NAME].p, t[NFTA_TABLE_NAME].n) == len &&
	    !memcmp(t[NFTA_TABLE_NAME].p, table, len);
}

/* One dump request and its answers, those about `table` where it is not NULL. -EAGAIN: the
 * rules changed meanwhile. */
static int
fetch(struct nl_talk *t, const struct talk_taker *k, uint32_t genid, int type, uint8_t family,
    const char *table, const char *set)
{
	const uint8_t *p, *message;
	struct nlmsghdr h;
	struct nfgenmsg g;
	bool changed = false;
	ssize_t got;
	size_t n;
	int err = ask(t, type, NLM_F_DUMP, family, type == NFT_MSG_GETTABLE ? NULL : table, set);

	if (err)
		return err;
	for (;;) {
		got = get(t, 0);
		if (got < 0)
			return (int)got;
		p = t->in;
		n = (size_t)got;
		while (next(&p, &n, &h, &message)) {
			if (h.nlmsg_seq != t->seq)
				continue;
			changed |= h.nlmsg_flags & NLM_F_DUMP_INTR;
			if (h.nlmsg_type == NLMSG_DONE)
				return err ? err : changed ? -EAGAIN : 0;
			if (h.nlmsg_type == NLMSG_ERROR) {
				err = error_of(&h, message, NULL, 0);
				return err ? err : -EBADMSG;
			}
			if (h.nlmsg_len < sizeof h + sizeof g) {
				err = -EBADMSG;
				continue;
			}
			/* the dump of a set says so nowhere else */
			memcpy(&g, message + sizeof h, sizeof g);
			changed |= ntohs(g.res_id) != (genid & 0xffff);
			if (!err && !changed && (!table || is_about(message + sizeof h + sizeof g,
			    h.nlmsg_len - sizeof h - sizeof g, table)))
				err = k->message(k->arg, message, h.nlmsg_len);
		}
	}
}

/* A table that is gone, or a kind of thing that the kernel does not know. */
static int
forgive(int err)
{
	return err == -ENOENT ? 0 : err;
}

static int
gather_once(struct nl_talk *t, uint8_t family, const char *table, unsigned what,
    const struct talk_taker *k)
{
	static const int type[] = {NFT_MSG_GETCHAIN, NFT_MSG_GETSET, NFT_MSG_GETOBJ};
	const char *of, *name;
	uint32_t genid, after;
	int err;

	err = nl_talk_gen(t, &genid);
	if (err)
		return err;
	k->begin(k->arg, genid);
	err = fetch(t, k, genid, NFT_MSG_GETTABLE, family, table, NULL);
	for (size_t i = 0; i < sizeof type / sizeof *type && !err; i++)
		err = forgive(fetch(t, k, genid, type[i], family, table, NULL));
	if (!err && what & NL_DUMP_RULES)
		err = forgive(fetch(t, k, genid, NFT_MSG_GETRULE, family, table, NULL));
	for (uint32_t i = 0; !err && what & NL_DUMP_ELEMENTS &&
	    k->set(k->arg, i, &family, &of, &name); i++)
		err = fetch(t, k, genid, NFT_MSG_GETSETELEM, family, of, name);
	if (!err)
		err = nl_talk_gen(t, &after);
	if (!err && after != genid)
		err = -EAGAIN;
	return err;
}

int
talk_gather(struct nl_talk *t, uint8_t family, const char *table, unsigned what,
    unsigned tries, const struct talk_taker *k)
{
	int err;

	do {
		err = gather_once(t, family, table, what, k);
		/* a set that went away in the middle is a change too */
		if (err == -ENOENT)
			err = -EAGAIN;
		/* and a lost answer is asked for again */
	} while ((err == -EAGAIN || err == -ENOBUFS) && tries-- > 1);
	return err;
}

int
talk_gather_set(struct nl_talk *t, uint32_t genid, uint8_t family, const char *table,
    const char *set, const struct talk_taker *k)
{
	uint32_t now;
	int err = nl_talk_gen(t, &now);

	if (!err && now != genid)
		err = -EAGAIN;
	if (!err)
		err = fetch(t, k, genid, NFT_MSG_GETSETELEM, family, table, set);
	return err == -ENOENT ? -EAGAIN : err;
}

/* ---- as structs -------------------------------------------------------------------------------- */

struct into {
	struct arena *a;
	struct nl_dump d;
};

static void
into_begin(void *arg, uint32_t genid)
{
	struct into *x = arg;

	x->d = (struct nl_dump){.genid = genid};
}

static int
into_message(void *arg, const void *message, size_t n)
{
	struct into *x = arg;

	return nl_dump_add(x->a, &x->d, message, n);
}

static bool
into_set(void *arg, uint32_t i, uint8_t *family, const char **table, const char **name)
{
	const struct into *x = arg;

	if (i >= x->d.nset)
		return false;
	*family = x->d.set[i].family;
	*table = x->d.set[i].table;
	*name = x->d.set[i].name;
	return true;
}

int
nl_talk_dump(struct nl_talk *t, struct arena *a, uint8_t family, const char *table,
    unsigned what, unsigned tries, struct nl_dump *out)
{
	struct into x = {.a = a};
	struct talk_taker k = {into_begin, into_message, into_set, &x};
	int err = talk_gather(t, family, table, what, tries, &k);

	if (!err)
		*out = x.d;
	return err;
}

int
nl_talk_elements(struct nl_talk *t, struct arena *a, struct nl_dump *d, uint32_t i)
{
	struct into x = {a, *d};
	struct talk_taker k = {into_begin, into_message, into_set, &x};
	struct nl_set *s = &d->set[i];
	uint32_t now;
	int err = nl_talk_gen(t, &now);

	if (!err && now != d->genid)
		err = -EAGAIN;
	if (err)
		return err;
	s->elem = NULL;
	s->nelem = s->capelem = 0;
	err = fetch(t, &k, d->genid, NFT_MSG_GETSETELEM, s->family, s->table, s->name);
	*d = x.d;
	return err == -ENOENT ? -EAGAIN : err;
}

/* The agent's own: the stamp, and what changed sets hold. */
static bool
own_mark(const char *name)
{
	return !strcmp(name, NL_STAMP) || !strncmp(name, NL_EDITED, strlen(NL_EDITED));
}

int
nl_talk_counters(struct nl_talk *t, struct arena *a, const char *table, struct nl_dump *out)
{
	struct into x = {.a = a};
	struct talk_taker k = {into_begin, into_message, into_set, &x};
	uint32_t genid, n = 0;
	int err, tries = MOST_COUNTER_TRIES;

	do {
		err = nl_talk_gen(t, &genid);
		if (err)
			return err;
		into_begin(&x, genid);
		err = forgive(fetch(t, &k, genid, NFT_MSG_GETOBJ, NFPROTO_INET, table, NULL));
	} while (err == -EAGAIN && --tries);
	if (err)
		return err;
	for (uint32_t i = 0; i < x.d.nobject; i++)
		if (x.d.object[i].type == OBJECT_COUNTER && !own_mark(x.d.object[i].name))
			x.d.object[n++] = x.d.object[i];
	x.d.nobject = n;
	*out = x.d;
	return 0;
}
