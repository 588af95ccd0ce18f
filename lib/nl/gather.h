/*
 * gather: the raw messages of a dump, for whoever makes something of them. Private to
 * lib/nl.
 */
#ifndef NL_GATHER_H
#define NL_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nl_talk;

struct talk_taker {
	/* A dump of this generation begins; what came before is void. */
	void (*begin)(void *arg, uint32_t genid);
	/* One message with its head, n bytes, whole. 0 or -errno, which ends the dump. */
	int (*message)(void *arg, const void *message, size_t n);
	/* Set number i of those that came, for its elements to be asked for; false: there are no
	 * more. The texts live until the next call. */
	bool (*set)(void *arg, uint32_t i, uint8_t *family, const char **table, const char **name);
	void *arg;
};

/* As nl_talk_dump(), to the taker: 0 when all that came since its last begin() is of one
 * generation. */
int
talk_gather(struct nl_talk *t, uint8_t family, const char *table, unsigned what,
    unsigned tries, const struct talk_taker *k);

/* The elements of one set, to the taker's message(), as of a generation; -EAGAIN where the
 * kernel is at another by now. */
int
talk_gather_set(struct nl_talk *t, uint32_t genid, uint8_t family, const char *table,
    const char *set, const struct talk_taker *k);

#endif
