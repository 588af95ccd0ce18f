#include "role/attempt_who.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "ipc/attempts.h"

enum { SECOND_US = 1000000, MOST_PASSWD = 4 << 20, OUTPUT = 3 };

/* A number's name, remembered for a while; an empty one too. */
struct name {
	uint32_t id;
	uint64_t until;            /* 0: free */
	char text[WHO_USER];
};

struct names {
	struct name v[WHO_NAMES];
	unsigned next;             /* to be given up when all are taken */
};

struct budget {
	uint64_t since;
	unsigned used;
};

struct attempt_who {
	int diag, passwd;
	struct peer_witness *witness;
	struct peer_places places;
	struct peer_units *units;
	struct names interface, user;
	struct budget sockets, scans;
};

struct attempt_who *
attempt_who_new(int diag, const struct peer_places *places, int passwd, struct peer_witness *witness)
{
	struct attempt_who *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->diag = diag;
	w->passwd = passwd;
	w->witness = witness;
	w->places = *places;
	w->units = peer_units_new(places->cgroup);
	return w->units ? w : attempt_who_free(w);
}

struct attempt_who *
attempt_who_free(struct attempt_who *w)
{
	if (w)
		peer_units_free(w->units);
	free(w);
	return NULL;
}

static bool
afford(struct budget *b, unsigned most, uint64_t now_us)
{
	if (now_us - b->since >= SECOND_US) {
		b->since = now_us;
		b->used = 0;
	}
	if (b->used >= most)
		return false;
	b->used++;
	return true;
}

static uint64_t
boot_ticks(void)
{
	struct timespec t;
	long hz = sysconf(_SC_CLK_TCK);

	if (clock_gettime(CLOCK_BOOTTIME, &t) || hz <= 0)
		return UINT64_MAX;
	return (uint64_t)t.tv_sec * (uint64_t)hz +
	    (uint64_t)t.tv_nsec / (1000000000u / (uint64_t)hz) + 1;
}

/* ---- sockets and processes ---------------------------------------------------------- */

void
attempt_who_packet(struct attempt_who *w, const struct nflog_head *h, struct pool_key *k,
    uint64_t now_us, struct who_packet *out)
{
	struct peer_tuple t = {
		.family = h->family, .proto = h->proto, .sport = h->sport, .dport = h->dport,
		.ifindex = k->out,
	};

	*out = (struct who_packet){.boot_ticks = UINT64_MAX};
	/* what is forwarded or received is no socket's of ours */
	if (k->hook != OUTPUT || !h->ports || !afford(&w->sockets, WHO_SOCKETS, now_us))
		return;
	memcpy(t.src, h->src, sizeof t.src);
	memcpy(t.dst, h->dst, sizeof t.dst);
	if (w->witness) {
		peer_witness_read(w->witness);
		k->pid = peer_witness_find(w->witness, &t, now_us);
	}
	if (peer_find(w->diag, &t, &out->sock) < 0)
		out->sock = (struct peer_sock){.uid = PEER_NO_UID};
	/* the packet's user is the one who opened the file of the socket that sent it: it is the same
	   socket, or none */
	if (out->sock.inode && k->uid == PEER_NO_UID)
		k->uid = out->sock.uid;
	k->cgroup = out->sock.cgroup;
	out->boot_ticks = boot_ticks();
}

static void
set_unit(struct pool_attempt *a, const char *unit)
{
	snprintf(a->who.unit, sizeof a->who.unit, "%s", unit);
	a->sure |= ATTEMPTS_SURE_UNIT;
}

/* The process was seen connecting; what it is, where it still is. */
static void
witnessed(struct attempt_who *w, struct pool_attempt *a, uint32_t pid)
{
	if (peer_pid(&w->places, pid, &a->who) || a->who.start > a->boot_ticks)
		a->who = (struct peer_who){0}; /* it has gone; its number may be another's */
	a->who.pid = pid;
	a->sure = ATTEMPTS_SURE_PID;
	if (a->who.unit[0])
		a->sure |= ATTEMPTS_SURE_UNIT;
}

void
attempt_who_late(struct attempt_who *w, struct pool_attempt *a, uint64_t now_us)
{
	struct peer_tuple t = {
		.family = a->key.family, .proto = a->key.proto, .sport = a->sport, .dport = a->key.dport,
	};

	if (!w->witness || a->key.hook != OUTPUT || a->told || a->sure & ATTEMPTS_SURE_PID)
		return;
	memcpy(t.src, a->key.src, sizeof t.src);
	memcpy(t.dst, a->key.dst, sizeof t.dst);
	peer_witness_read(w->witness);
	uint32_t pid = peer_witness_find(w->witness, &t, now_us);
	if (!pid)
		return;
	char unit[PEER_UNIT];
	bool sure = a->sure & ATTEMPTS_SURE_UNIT;
	snprintf(unit, sizeof unit, "%s", a->who.unit);
	witnessed(w, a, pid);
	if (sure)
		set_unit(a, unit);
}

void
attempt_who_attempt(struct attempt_who *w, const struct who_packet *p, struct pool_attempt *a,
    uint64_t now_us)
{
	const char *unit = peer_units_path(w->units, a->key.cgroup, now_us / 1000);
	struct peer_ask ask = {
		.uid = a->key.uid, .gid = a->key.gid, .inode = p->sock.inode, .unit = unit,
		.born_by = p->boot_ticks,
	};
	struct peer_who *who = &a->who;

	*who = (struct peer_who){0};
	a->sure = 0;
	a->boot_ticks = p->boot_ticks;
	if (a->key.pid) {
		witnessed(w, a, a->key.pid);
		if (unit)
			set_unit(a, unit);
		return;
	}
	if (a->key.uid == PEER_NO_UID && !a->key.cgroup)
		return;
	if (a->key.uid != PEER_NO_UID && afford(&w->scans, WHO_SCANS, now_us) &&
	    peer_process(&w->places, &ask, who))
		*who = (struct peer_who){0};
	if (who->how == PEER_HOLDS)
		a->sure |= ATTEMPTS_SURE_PID;
	if (unit) {
		set_unit(a, unit);
	} else if (a->key.cgroup) {
		/* the kernel named a group that we cannot see: no other is to be named instead */
		who->unit[0] = '\0';
	}
}

/* ---- names -------------------------------------------------------------------------- */

static struct name *
remembered(struct names *t, uint32_t id, uint64_t now_us)
{
	for (unsigned i = 0; i < WHO_NAMES; i++)
		if (t->v[i].until > now_us && t->v[i].id == id)
			return &t->v[i];
	return NULL;
}

static struct name *
fresh(struct names *t, uint32_t id, uint64_t now_us)
{
	struct name *n = &t->v[t->next];

	t->next = (t->next + 1) % WHO_NAMES;
	*n = (struct name){.id = id, .until = now_us + WHO_NAME_US};
	return n;
}

const char *
attempt_who_interface(struct attempt_who *w, uint32_t index, uint64_t now_us)
{
	struct ifreq r = {.ifr_ifindex = (int)index};
	struct name *n;

	if (!index)
		return "";
	n = remembered(&w->interface, index, now_us);
	if (!n) {
		n = fresh(&w->interface, index, now_us);
		/* any socket of the namespace will do (netdevice(7)) */
		if (!ioctl(w->diag, SIOCGIFNAME, &r))
			snprintf(n->text, sizeof n->text, "%.*s", IFNAMSIZ - 1, r.ifr_name);
	}
	return n->text;
}

/* Reads "name:x:uid:..." lines for the first of this uid. */
static void
read_user(int fd, uint32_t uid, char out[WHO_USER])
{
	char in[4096], line[512];
	size_t len = 0;
	off_t at = 0;
	ssize_t k;

	while (at < MOST_PASSWD && (k = pread(fd, in, sizeof in, at)) > 0) {
		at += k;
		for (ssize_t i = 0; i < k; i++) {
			unsigned long x;
			char *p, *end;

			if (in[i] != '\n') {
				if (len < sizeof line - 1)
					line[len++] = in[i];
				continue;
			}
			line[len] = '\0';
			len = 0;
			size_t n = strcspn(line, ":");
			p = line[n] ? strchr(line + n + 1, ':') : NULL;
			if (!p || p[1] < '0' || p[1] > '9')
				continue;
			x = strtoul(p + 1, &end, 10);
			if (*end == ':' && x == uid && n && n < WHO_USER) {
				memcpy(out, line, n);
				out[n] = '\0';
				return;
			}
		}
	}
}

const char *
attempt_who_user(struct attempt_who *w, uint32_t uid, uint64_t now_us)
{
	struct name *n;

	if (uid == PEER_NO_UID || w->passwd < 0)
		return "";
	n = remembered(&w->user, uid, now_us);
	if (!n) {
		n = fresh(&w->user, uid, now_us);
		read_user(w->passwd, uid, n->text);
	}
	return n->text;
}
