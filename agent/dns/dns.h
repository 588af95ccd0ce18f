/*
 * dns: names to addresses, and whether mail for a domain could go anywhere, by c-ares, without
 * waiting.
 *
 * The hosts file and the name servers of resolv.conf(5) are asked. Answers are kept for as long
 * as they say (at least DNS_LEAST, at most DNS_MOST seconds), so that a relay's name is asked
 * again at each connection made after that. That there is no such name is an answer; that nobody
 * could be asked is not: it is DNS_NOT_NOW, never an absence.
 *
 * Another resolv.conf(5) is noticed at the next question: answers of the servers before are forgotten, and
 * what is under way is asked of the new ones.
 */
#ifndef DNS_DNS_H
#define DNS_DNS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct dns;
struct pollfd;

enum {
	DNS_LEAST = 5, DNS_MOST = 3600, /* seconds that an answer is kept */
	DNS_MOST_NONE = 60,        /* that the absence of a name is */
	DNS_MOST_ADDRESSES = 16,
	DNS_MOST_KEPT = 256,       /* answers */
	DNS_MOST_ASKED = 256,      /* questions under way */
	DNS_MOST_FDS = 16,
	DNS_MOST_NAME = 253,
	DNS_MOST_NAMES = 4,
	DNS_REVERSE = 80,
};

enum dns_kind {
	DNS_ADDRESSES, DNS_MX,
	/* of name servers alone, never of the hosts file: whether a host is registered */
	DNS_PTR,                   /* the name is that of an address: dns_reverse() */
	DNS_A, DNS_AAAA,
};

enum dns_outcome {
	DNS_FOUND,                 /* addresses; or an MX record that is not "." (RFC 7505) */
	DNS_NULL_MX,               /* MX: the domain takes no mail (RFC 7505) */
	DNS_NONE,                  /* no such name, or no such record */
	DNS_NOT_NOW,               /* nobody answered, or in no way to be understood */
};

struct dns_answer {
	enum dns_outcome outcome;
	unsigned n;                /* ADDRESSES: IPv6 and IPv4 as the system would order them */
	struct sockaddr_storage address[DNS_MOST_ADDRESSES]; /* port 0 */
	unsigned nname;
	char name[DNS_MOST_NAMES][DNS_MOST_NAME + 1]; /* PTR */
	const char *why;           /* NOT_NOW: in words */
};

/* The name below which an address is registered (RFC 1035 3.5, RFC 3596 2.5). */
void
dns_reverse(const struct sockaddr_storage *a, char out[DNS_REVERSE]);

/* Opens it. `servers` ("192.0.2.53:53,192.0.2.54") in place of resolv.conf's; NULL: those. 0 or
 * -errno. */
int
dns_open(const char *servers, struct dns **out);

/* Ends it; what is asked is never answered. NULL is fine. Returns NULL. */
struct dns *
dns_close(struct dns *d);

typedef void dns_told(void *arg, const struct dns_answer *a);

/* Asks; `told`, which asks nothing itself, is called once, at once where the answer is known. now: milliseconds of a clock
 * that never goes back. 0; -EINVAL for what is no name, -EBUSY with too many under way, -ENOMEM:
 * then it is not called. */
int
dns_ask(struct dns *d, enum dns_kind k, const char *name, uint64_t now, dns_told *told, void *arg);

/* Forgets all answers that are kept. */
void
dns_renew(struct dns *d);

/* Forgets the questions of that arg. */
void
dns_forget(struct dns *d, const void *arg);

/* What to wait for: fills at most DNS_MOST_FDS entries and gives how many; *ms is lowered to the next
 * time at which dns_done() has work (-1: never). */
size_t
dns_wait(struct dns *d, struct pollfd *p, int *ms);

/* Sees to what came, or to the time that passed. */
void
dns_done(struct dns *d, const struct pollfd *p, size_t n, uint64_t now);

#endif
