/*
 * talk: the netlink socket to nf_tables.
 *
 * Errors of the machine are negative errnos. Worth knowing among them: -ERESTART
 * the kernel is at another generation than the batch wants (read again, build again; how
 * often is the caller's to say), -EMSGSIZE the batch is larger than the socket may
 * hold (in a user namespace net.core.wmem_max is the limit), -EPERM no CAP_NET_ADMIN
 * or a table that another socket owns, -ENOBUFS the kernel's answers were lost, so
 * that only reading the generation tells what became of a batch.
 */
#ifndef NL_TALK_H
#define NL_TALK_H

#include <stddef.h>
#include <stdint.h>

#include "nl/batch.h"
#include "nl/dump.h"

struct nl_talk;

enum { NL_MOST_FAULTS = 64, NL_FAULT_TEXT = 120 };

/* One complaint of the kernel. */
struct nl_fault {
	int err;                   /* -errno */
	const struct nl_item *item; /* what it is about; NULL: nothing that we sent */
	char text[NL_FAULT_TEXT];  /* the kernel's own words; "" mostly */
};

struct nl_faults {
	struct nl_fault v[NL_MOST_FAULTS];
	size_t n;                  /* kept, in the order of the batch */
	size_t all;                /* there were */
};

/* Opens a socket in the network namespace of the calling thread. 0 or -errno. */
int
nl_talk_open(struct nl_talk **out);

/* Takes over an open netlink socket, which is closed with it; one kept across a restart
 * still owns its tables. 0 or -errno (then the descriptor is still the caller's). */
int
nl_talk_adopt(int fd, struct nl_talk **out);

/* The socket, for poll(2) and for handing on. */
int
nl_talk_fd(const struct nl_talk *t);

/* Bytes that one batch may have: half a gigabyte as root, in a user namespace what
 * net.core.wmem_max leaves, some 400,000. */
size_t
nl_talk_most(const struct nl_talk *t);

/* Closes it; NULL is fine. Returns NULL. */
struct nl_talk *
nl_talk_close(struct nl_talk *t);

/* The kernel's present generation. */
int
nl_talk_gen(struct nl_talk *t, uint32_t *gen);

/* Sends a batch, part after part, and hears all that the kernel has to say. 0: all
 * committed. Else -errno, the first of faults->v where that is not empty, and nothing was
 * changed by the part that failed; parts before it stand. faults may be NULL. */
int
nl_talk_send(struct nl_talk *t, const struct nl_batch *b, struct nl_faults *faults);

/* What a dump is to hold. */
enum {
	NL_DUMP_RULES = 1,
	NL_DUMP_ELEMENTS = 2,      /* of every set in the dump; slow above some 20,000 in one */
	NL_DUMP_ALL = 3,
};

/* Dumps table `table` of `family`, or every table where table is NULL (family 0: of
 * all families), as it was in one generation: what changed meanwhile is read again, at
 * most `tries` times, then -EAGAIN. A table that is not there gives an empty dump. */
int
nl_talk_dump(struct nl_talk *t, struct arena *a, uint8_t family, const char *table,
    unsigned what, unsigned tries, struct nl_dump *out);

/* Adds the elements of set number i of a dump, as of the dump's generation; -EAGAIN
 * where the kernel is at another by now. */
int
nl_talk_elements(struct nl_talk *t, struct arena *a, struct nl_dump *d, uint32_t i);

/* The named counters of an inet table and nothing else, for metrics: name, packets and bytes
 * in out->object, of one generation; without the agent's own marks. Two requests, some
 * 10 us. -EAGAIN where the rules change all the time; a table that is not there gives none. */
int
nl_talk_counters(struct nl_talk *t, struct arena *a, const char *table, struct nl_dump *out);

#endif
