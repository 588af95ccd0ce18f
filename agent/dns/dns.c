#include "dns/dns.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/select.h>
#include <sys/stat.h>

enum {
	TRY_MS = 3000,             /* for one server */
	TRIES = 2,
};

static const char CONF[] = "/etc/resolv.conf"; /* which c-ares reads when a channel is made */

struct question {
	struct question *next;
	struct dns *d;
	enum dns_kind kind;
	dns_told *told;            /* NULL: forgotten */
	void *arg;
	char name[DNS_MOST_NAME + 1];
};

struct kept {
	char name[DNS_MOST_NAME + 1];
	enum dns_kind kind;
	uint64_t until;            /* ms; 0: free */
	struct dns_answer *answer;
};

/* A file as it was: another one of its name, or one written anew, has others. */
struct stamp {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec written, changed;
};

struct dns {
	ares_channel chan;
	bool given;                /* the servers were: no file is looked at */
	bool moving;               /* to other servers: what ends is asked again */
	struct stamp conf;         /* resolv.conf, when the channel was made */
	struct question *asked;
	size_t nasked;
	uint64_t now;
	struct kept kept[DNS_MOST_KEPT];
};

/* Zeros where there is no such file. */
static struct stamp
stamp_of(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return (struct stamp){0};
	return (struct stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
}

static bool
is_same(const struct stamp *a, const struct stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	    a->written.tv_sec == b->written.tv_sec && a->written.tv_nsec == b->written.tv_nsec &&
	    a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static int
channel_make(ares_channel *chan)
{
	struct ares_options o = {.timeout = TRY_MS, .tries = TRIES};

	return ares_init_options(chan, &o, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
}

int
dns_open(const char *servers, struct dns **out)
{
	struct dns *d = calloc(1, sizeof *d);
	int err;

	if (!d)
		return -ENOMEM;
	d->given = servers != NULL;
	d->conf = stamp_of(CONF);
	err = ares_library_init(ARES_LIB_INIT_ALL);
	if (!err)
		err = channel_make(&d->chan);
	if (!err && servers && ares_set_servers_ports_csv(d->chan, servers)) {
		ares_destroy(d->chan);
		err = ARES_EBADSTR;
	}
	if (err) {
		free(d);
		return err == ARES_ENOMEM ? -ENOMEM : -EINVAL;
	}
	*out = d;
	return 0;
}

struct dns *
dns_close(struct dns *d)
{
	if (!d)
		return NULL;
	for (struct question *q = d->asked; q; q = q->next)
		q->told = NULL;
	ares_destroy(d->chan);     /* tells each question that it ends */
	ares_library_cleanup();
	for (size_t i = 0; i < DNS_MOST_KEPT; i++)
		free(d->kept[i].answer);
	free(d);
	return NULL;
}

/* ---- what is kept ------------------------------------------------------------------ */

static struct kept *
find(struct dns *d, enum dns_kind k, const char *name)
{
	for (size_t i = 0; i < DNS_MOST_KEPT; i++) {
		struct kept *e = &d->kept[i];
		if (e->until > d->now && e->kind == k && !strcasecmp(e->name, name))
			return e;
	}
	return NULL;
}

/* Keeps an answer in the place of the same question, of one that is over, or of the one that ends
 * first. Without memory it is not kept. */
static void
keep(struct dns *d, const struct question *q, const struct dns_answer *a, uint64_t seconds)
{
	struct kept *e = &d->kept[0];

	for (size_t i = 0; i < DNS_MOST_KEPT && e->until; i++) {
		struct kept *x = &d->kept[i];
		if (x->kind == q->kind && x->until && !strcasecmp(x->name, q->name)) {
			e = x;
			break;
		}
		if (x->until < e->until)
			e = x;
	}
	if (!e->answer && !(e->answer = malloc(sizeof *e->answer))) {
		e->until = 0;
		return;
	}
	if (seconds < DNS_LEAST)
		seconds = DNS_LEAST;
	if (seconds > DNS_MOST)
		seconds = DNS_MOST;
	memcpy(e->name, q->name, sizeof e->name);
	e->kind = q->kind;
	e->until = d->now + 1000 * seconds;
	*e->answer = *a;
}

/* ---- answers ------------------------------------------------------------------------ */

/* Which failures mean that there is none, rather than that nobody knows. */
static bool
is_absence(int status)
{
	return status == ARES_ENODATA || status == ARES_ENOTFOUND;
}

static void
end(struct question *q, const struct dns_answer *a, uint64_t seconds)
{
	struct dns *d = q->d;
	struct question **p = &d->asked;

	while (*p != q)
		p = &(*p)->next;
	*p = q->next;
	d->nasked--;
	/* records are asked by people, who ask again when they have mended them */
	if (a && a->outcome != DNS_NOT_NOW && q->kind <= DNS_MX)
		keep(d, q, a, seconds);
	if (a && q->told)
		q->told(q->arg, a);
	free(q);
}

static void
on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *r)
{
	struct question *q = arg;
	struct dns_answer a = {.outcome = DNS_NOT_NOW};
	uint64_t ttl = DNS_MOST;

	(void)timeouts;
	if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) {
		if (!q->d->moving)
			end(q, NULL, 0);
		return;
	}
	if (status == ARES_SUCCESS)
		for (struct ares_addrinfo_node *n = r->nodes; n && a.n < DNS_MOST_ADDRESSES; n = n->ai_next) {
			if (n->ai_addrlen > sizeof a.address[0])
				continue;
			memcpy(&a.address[a.n++], n->ai_addr, n->ai_addrlen);
			if (n->ai_ttl >= 0 && (uint64_t)n->ai_ttl < ttl)
				ttl = (uint64_t)n->ai_ttl;
		}
	if (a.n) {
		a.outcome = DNS_FOUND;
	} else if (status == ARES_SUCCESS || is_absence(status)) {
		a.outcome = DNS_NONE;
		ttl = DNS_MOST_NONE;
	} else {
		a.why = ares_strerror(status);
	}
	if (r)
		ares_freeaddrinfo(r);
	end(q, &a, ttl);
}

static void
on_mx(void *arg, int status, int timeouts, unsigned char *bytes, int n)
{
	struct question *q = arg;
	struct dns_answer a = {.outcome = DNS_NOT_NOW};
	struct ares_mx_reply *mx = NULL;

	(void)timeouts;
	if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) {
		if (!q->d->moving)
			end(q, NULL, 0);
		return;
	}
	if (status == ARES_SUCCESS)
		status = ares_parse_mx_reply(bytes, n, &mx);
	if (status == ARES_SUCCESS && mx)
		a.outcome = !mx->next && (!*mx->host || !strcmp(mx->host, ".")) ? DNS_NULL_MX : DNS_FOUND;
	else if (status == ARES_SUCCESS || is_absence(status))
		a.outcome = DNS_NONE;
	else
		a.why = ares_strerror(status);
	if (mx)
		ares_free_data(mx);
	/* c-ares 1.18 does not tell the record's time */
	end(q, &a, DNS_MOST_NONE);
}

static void
add_address(struct dns_answer *a, int family, const void *bytes)
{
	struct sockaddr_storage *s = &a->address[a->n];

	if (a->n == DNS_MOST_ADDRESSES)
		return;
	*s = (struct sockaddr_storage){.ss_family = (sa_family_t)family};
	if (family == AF_INET)
		memcpy(&((struct sockaddr_in *)s)->sin_addr, bytes, 4);
	else
		memcpy(&((struct sockaddr_in6 *)s)->sin6_addr, bytes, 16);
	a->n++;
}

static void
add_name(struct dns_answer *a, const char *name)
{
	if (name && *name && strlen(name) <= DNS_MOST_NAME && a->nname < DNS_MOST_NAMES)
		snprintf(a->name[a->nname++], sizeof a->name[0], "%s", name);
}

/* What stands in the record itself. */
static int
read_record(enum dns_kind k, const unsigned char *bytes, int n, struct dns_answer *a)
{
	static const unsigned char nobody[4];
	struct hostent *h = NULL;
	int status = k == DNS_A ? ares_parse_a_reply(bytes, n, &h, NULL, NULL) :
	    k == DNS_AAAA ? ares_parse_aaaa_reply(bytes, n, &h, NULL, NULL) :
	    ares_parse_ptr_reply(bytes, n, nobody, sizeof nobody, AF_INET, &h);

	if (status != ARES_SUCCESS)
		return status;
	if (k == DNS_PTR) {
		add_name(a, h->h_name);
		for (char **p = h->h_aliases; p && *p; p++)
			if (!a->nname || strcasecmp(*p, a->name[0]) != 0)
				add_name(a, *p);
	} else {
		for (char **p = h->h_addr_list; p && *p; p++)
			add_address(a, h->h_addrtype, *p);
	}
	ares_free_hostent(h);
	return a->n || a->nname ? ARES_SUCCESS : ARES_ENODATA;
}

static void
on_record(void *arg, int status, int timeouts, unsigned char *bytes, int n)
{
	struct question *q = arg;
	struct dns_answer a = {.outcome = DNS_NOT_NOW};

	(void)timeouts;
	if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) {
		if (!q->d->moving)
			end(q, NULL, 0);
		return;
	}
	if (status == ARES_SUCCESS)
		status = read_record(q->kind, bytes, n, &a);
	if (status == ARES_SUCCESS)
		a.outcome = DNS_FOUND;
	else if (is_absence(status))
		a.outcome = DNS_NONE;
	else
		a.why = ares_strerror(status);
	end(q, &a, 0);
}

void
dns_reverse(const struct sockaddr_storage *a, char out[DNS_REVERSE])
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *p;
	char *at = out;

	if (a->ss_family == AF_INET) {
		p = (const uint8_t *)&((const struct sockaddr_in *)a)->sin_addr;
		snprintf(out, DNS_REVERSE, "%u.%u.%u.%u.in-addr.arpa", p[3], p[2], p[1], p[0]);
		return;
	}
	p = ((const struct sockaddr_in6 *)a)->sin6_addr.s6_addr;
	for (int i = 15; i >= 0; i--) {
		*at++ = hex[p[i] & 15];
		*at++ = '.';
		*at++ = hex[p[i] >> 4];
		*at++ = '.';
	}
	snprintf(at, DNS_REVERSE - 64, "ip6.arpa");
}

/* Letters, digits, hyphens, underscores, dots: what a policy and an address can hold. */
static bool
is_name(const char *s)
{
	size_t n = strlen(s);

	return n && n <= DNS_MOST_NAME && s[0] != '.' && s[0] != '-' &&
	    strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == n &&
	    !strstr(s, "..");
}

/* It may be answered before this comes back: q is gone then. */
static void
put(struct question *q)
{
	struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	ares_channel chan = q->d->chan;

	switch (q->kind) {
	case DNS_ADDRESSES:
		ares_getaddrinfo(chan, q->name, NULL, &hints, on_addresses, q);
		break;
	case DNS_MX:
		ares_query(chan, q->name, ns_c_in, ns_t_mx, on_mx, q);
		break;
	case DNS_PTR:
		ares_query(chan, q->name, ns_c_in, ns_t_ptr, on_record, q);
		break;
	case DNS_A:
		ares_query(chan, q->name, ns_c_in, ns_t_a, on_record, q);
		break;
	case DNS_AAAA:
		ares_query(chan, q->name, ns_c_in, ns_t_aaaa, on_record, q);
		break;
	}
}

void
dns_renew(struct dns *d)
{
	for (size_t i = 0; i < DNS_MOST_KEPT; i++)
		d->kept[i].until = 0;
}

/* Goes over to the servers that resolv.conf names now, where it is another one. */
static void
look_at_conf(struct dns *d)
{
	struct stamp now;
	struct question *q;
	ares_channel chan;

	if (d->given)
		return;
	now = stamp_of(CONF);
	/* without one, or while it is being written, those before serve on */
	if (is_same(&now, &d->conf) || !now.ino || !now.size || channel_make(&chan))
		return;
	d->conf = now;
	d->moving = true;
	ares_destroy(d->chan);
	d->moving = false;
	d->chan = chan;
	dns_renew(d);
	q = d->asked;
	d->asked = NULL;
	while (q) {
		struct question *next = q->next;

		q->next = d->asked;
		d->asked = q;
		put(q);
		q = next;
	}
}

int
dns_ask(struct dns *d, enum dns_kind k, const char *name, uint64_t now, dns_told *told, void *arg)
{
	const struct kept *e;
	struct question *q;

	if (!is_name(name))
		return -EINVAL;
	d->now = now;
	look_at_conf(d);
	if ((e = find(d, k, name))) {
		struct dns_answer a = *e->answer;
		told(arg, &a);
		return 0;
	}
	if (d->nasked == DNS_MOST_ASKED)
		return -EBUSY;
	if (!(q = calloc(1, sizeof *q)))
		return -ENOMEM;
	*q = (struct question){.next = d->asked, .d = d, .kind = k, .told = told, .arg = arg};
	memcpy(q->name, name, strlen(name) + 1);
	d->asked = q;
	d->nasked++;
	put(q);
	return 0;
}

void
dns_forget(struct dns *d, const void *arg)
{
	for (struct question *q = d->asked; q; q = q->next)
		if (q->arg == arg)
			q->told = NULL;
}

/* ---- waiting --------------------------------------------------------------------------- */

size_t
dns_wait(struct dns *d, struct pollfd *p, int *ms)
{
	ares_socket_t s[ARES_GETSOCK_MAXNUM];
	unsigned bits = (unsigned)ares_getsock(d->chan, s, ARES_GETSOCK_MAXNUM);
	struct timeval tv, *next;
	size_t n = 0;

	_Static_assert(DNS_MOST_FDS >= ARES_GETSOCK_MAXNUM, "all of c-ares' sockets are waited for");
	for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
		/* ares_getsock(3): bit i to be read, bit 16 + i to be written; c-ares' own macros shift a
		   signed 1 by 31 */
		short what = (short)((bits >> i & 1 ? POLLIN : 0) |
		    (bits >> (ARES_GETSOCK_MAXNUM + i) & 1 ? POLLOUT : 0));
		if (what)
			p[n++] = (struct pollfd){.fd = s[i], .events = what};
	}
	next = ares_timeout(d->chan, NULL, &tv);
	if (next) {
		int64_t wait = (int64_t)next->tv_sec * 1000 + (next->tv_usec + 999) / 1000;
		if (*ms < 0 || wait < *ms)
			*ms = (int)wait;
	}
	return n;
}

void
dns_done(struct dns *d, const struct pollfd *p, size_t n, uint64_t now)
{
	d->now = now;
	for (size_t i = 0; i < n; i++) {
		bool in = p[i].revents & (POLLIN | POLLERR | POLLHUP), out = p[i].revents & POLLOUT;
		if (in || out)
			ares_process_fd(d->chan, in ? p[i].fd : ARES_SOCKET_BAD,
			    out ? p[i].fd : ARES_SOCKET_BAD);
	}
	ares_process_fd(d->chan, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}
