/*
 * One spool in a folder of its own, a message for it, and a relay's answer: what
 * the tests of the spool share. Included once by a test.
 */
#ifndef SPOOL_ONE_H
#define SPOOL_ONE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "spool/spool.h"

#include "spool_world.h"

static const uint64_t T0 = 1700000000000;

struct world {
	char path[WORLD_PATH];
	int dir;
	struct spool_config c;
	struct spool *s;
};

static inline int
begin(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	world_folder(w->path);
	w->dir = open(w->path, O_RDONLY | O_DIRECTORY);
	spool_config_default(&w->c);
	w->c.floor_bytes = w->c.floor_inodes = 0;
	*state = w;
	return spool_open(&w->s, w->dir, &w->c, T0);
}

static inline int
end(void **state)
{
	struct world *w = *state;

	spool_close(w->s);
	close(w->dir);
	world_remove(w->path);
	free(w);
	return 0;
}

static inline void
again(struct world *w, uint64_t now)
{
	w->s = spool_close(w->s);
	assert_int_equal(spool_open(&w->s, w->dir, &w->c, now), 0);
}

static inline struct spool_found
found(struct world *w)
{
	struct spool_found f;

	spool_found(w->s, &f);
	return f;
}

/* One message to the addresses (relay by address: `x@RELAY`), committed. */
static inline uint64_t
put(struct world *w, const char *content, uint64_t now, size_t n, const char *const *to)
{
	struct spool_rcpt rcpt[8] = {0};
	struct spool_envelope e = {.from = "me@x", .application = "app", .unit = "a.service", .uid = 7,
		.rcpt = rcpt, .nrcpt = n};
	struct spool_outcome out[SPOOL_GROUP_MOST];
	struct spool_arrival *a;

	for (size_t i = 0; i < n; i++)
		rcpt[i] = (struct spool_rcpt){.address = to[i], .relay = strchr(to[i], '@') + 1};
	assert_int_equal(spool_arrive(w->s, 0, now, &a), 0);
	assert_int_equal(spool_write(a, content, strlen(content)), 0);
	assert_int_equal(spool_seal(w->s, a, &e, now, w), 0);
	assert_int_equal(spool_commit(w->s, now, out), 1);
	assert_int_equal(out[0].err, 0);
	assert_ptr_equal(out[0].token, w);
	return out[0].id;
}

static inline uint64_t
put1(struct world *w, uint64_t now)
{
	return put(w, "Subject: x\r\n\r\nbody\r\n", now, 1, (const char *const[]){"a@r1"});
}

static inline void
path_of(struct world *w, const char *folder, uint64_t id, const char *end, char out[128])
{
	char t[SPOOL_ID_LEN + 1];

	spool_id_text(id, t);
	snprintf(out, 128, "%s/%s/%s%s", w->path, folder, t, end);
}

/* Ends the relay's next claim by these fates. */
static inline int
answer(struct world *w, const char *relay, uint64_t now, const enum spool_fate *fate, bool report)
{
	struct spool_result r[SPOOL_RCPT_MOST] = {0};
	struct spool_claim *c;
	const uint32_t *which;
	size_t n;
	int e = spool_claim(w->s, relay, now, &c);

	if (e)
		return e;
	spool_claim_message(c, &which, &n);
	for (size_t i = 0; i < n; i++)
		r[i] = (struct spool_result){.fate = fate[i], .report = report,
			.reply = {.code = fate[i] == SPOOL_FATE_DELIVERED ? 250 : 450, .text = "2.0.0 so\nsaid",
				.tls = "TLSv1.3", .cipher = "TLS_AES_256_GCM_SHA384", .peer = "192.0.2.1:465"}};
	return spool_done(w->s, c, r, now);
}

/* The same for all. */
enum { FATES = 8 };
static inline int
all(struct world *w, const char *relay, uint64_t now, enum spool_fate fate, bool report)
{
	enum spool_fate f[FATES] = {fate, fate, fate, fate, fate, fate, fate, fate};

	return answer(w, relay, now, f, report);
}

#endif
