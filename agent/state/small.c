/*
 * small: `current`, `pending` and `blocks`.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/inside.h"

/* Reads a small file for its reader, which cuts it up; what is damaged is set aside. */
static int
lines(struct state *s, const char *name, struct buf *b)
{
	int err = state_read(s->dir, name, b);

	if (err == -EBADMSG) {
		state_bad_file(s, name, "its sum is wrong");
		return -ENOENT;
	}
	return err;
}

static bool
number32(const char *text, uint32_t *out)
{
	uint64_t x;

	if (!state_number(text, &x) || x > UINT32_MAX)
		return false;
	*out = (uint32_t)x;
	return true;
}

int
state_current(struct state *s, uint32_t *n)
{
	struct buf b = BUF_INIT(STATE_SMALL);
	bool seen = false;
	char *p, *key, *value;
	int err = lines(s, "current", &b);

	for (p = b.p; !err && state_next(&p, &key, &value); )
		if (!strcmp(key, "generation"))
			seen = number32(value, n);
	if (!err && !seen) {
		state_bad_file(s, "current", "it names no generation");
		err = -ENOENT;
	}
	buf_free(&b);
	return err;
}

int
state_stage(struct state *s, uint32_t n)
{
	struct buf b = BUF_INIT(STATE_SMALL);
	int err;

	buf_printf(&b, "generation %" PRIu32 "\n", n);
	state_sum_line(&b);
	err = b.err ? b.err : state_write(s->dir, "current", b.p, b.n, false);
	buf_free(&b);
	return err;
}

int
state_commit(struct state *s)
{
	if (renameat(s->dir, "current.new", s->dir, "current") || fsync(s->dir))
		return -errno;
	return 0;
}

int
state_pending(struct state *s, struct state_pending *out)
{
	struct buf b = BUF_INIT(STATE_SMALL);
	struct state_pending x = {0};
	unsigned seen = 0;
	char *p, *key, *value;
	int err = lines(s, "pending", &b);

	for (p = b.p; !err && state_next(&p, &key, &value); ) {
		if (!strcmp(key, "new"))
			seen |= number32(value, &x.now) ? 1 : 0;
		else if (!strcmp(key, "previous"))
			seen |= number32(value, &x.previous) ? 2 : 0;
		else if (!strcmp(key, "deadline-realtime"))
			seen |= state_number(value, &x.realtime) ? 4 : 0;
		else if (!strcmp(key, "deadline-boottime"))
			seen |= state_number(value, &x.boottime) ? 8 : 0;
		else if (!strcmp(key, "boot") && strlen(value) < sizeof x.boot) {
			memcpy(x.boot, value, strlen(value) + 1);
			seen |= 16;
		}
	}
	buf_free(&b);
	if (!err && seen != 31) {
		state_bad_file(s, "pending", "something is missing");
		err = -ENOENT;
	}
	if (!err)
		*out = x;
	return err;
}

int
state_pending_put(struct state *s, const struct state_pending *x)
{
	struct buf b = BUF_INIT(STATE_SMALL);
	int err;

	buf_printf(&b, "new %" PRIu32 "\nprevious %" PRIu32 "\ndeadline-realtime %" PRIu64
	    "\ndeadline-boottime %" PRIu64 "\n", x->now, x->previous, x->realtime, x->boottime);
	state_line(&b, "boot", x->boot);
	state_sum_line(&b);
	err = b.err ? b.err : state_write(s->dir, "pending", b.p, b.n, true);
	buf_free(&b);
	return err;
}

int
state_pending_drop(struct state *s)
{
	if (unlinkat(s->dir, "pending", 0))
		return -errno;
	return fsync(s->dir) ? -errno : 0;
}

/* "SECONDS US BOOT" */
static void
take_length(struct state_block *b, char *value)
{
	char *end = strchr(value, ' '), *boot = end ? strchr(end + 1, ' ') : NULL;
	uint64_t seconds, us;

	if (!boot)
		return;
	*end++ = '\0';
	*boot++ = '\0';
	if (!state_number(value, &seconds) || !state_number(end, &us) || strlen(boot) >= sizeof b->boot)
		return;
	b->seconds = seconds;
	b->boottime = us;
	memcpy(b->boot, boot, strlen(boot) + 1);
}

bool
state_blocks_lost(struct state *s, bool forget)
{
	if (forget)
		(void)unlinkat(s->dir, "blocks.damaged", 0);
	return faccessat(s->dir, "blocks.damaged", F_OK, 0) == 0;
}

uint32_t
state_blocks(struct state *s, struct state_block *out)
{
	struct buf b = BUF_INIT(STATE_SMALL);
	char *p, *key, *value;
	uint32_t n = 0;
	int err = lines(s, "blocks", &b);

	for (p = b.p; !err && state_next(&p, &key, &value); ) {
		char *address = strchr(value, ' ');

		if (!strcmp(key, "for") && n) {
			take_length(&out[n - 1], value);
			continue;
		}
		if (strcmp(key, "block") != 0 || !address || n == STATE_BLOCKS)
			continue;
		*address++ = '\0';
		if (strlen(address) >= sizeof out->address || !state_number(value, &out[n].until))
			continue;
		memcpy(out[n].address, address, strlen(address) + 1);
		out[n].seconds = out[n].boottime = 0;
		out[n].boot[0] = '\0';
		n++;
	}
	buf_free(&b);
	return n;
}

int
state_blocks_put(struct state *s, const struct state_block *v, uint32_t n)
{
	struct buf b = BUF_INIT(STATE_SMALL);
	char text[100];
	int err;

	for (uint32_t i = 0; i < n; i++) {
		snprintf(text, sizeof text, "%" PRIu64 " %s", v[i].until, v[i].address);
		state_line(&b, "block", text);
		if (!*v[i].boot)
			continue;
		snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %s", v[i].seconds, v[i].boottime, v[i].boot);
		state_line(&b, "for", text);
	}
	state_sum_line(&b);
	err = b.err ? b.err : state_write(s->dir, "blocks", b.p, b.n, true);
	buf_free(&b);
	return err;
}
