#include "role/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <malloc.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "jail/jail.h"
#include "log/log.h"
#include "nl/dump.h"
#include "nl/probe.h"

enum {
	INET = 1,                  /* NFPROTO_INET */
	CAP_NET_ADMIN_BIT = 12,    /* linux/capability.h */
	TELL_MS = 1000,            /* to wait for room in the channel */
	MOST_FEATURES = 2048,
	MOST_AT_ONCE = 64,         /* questions before the next look */
	STARVED_US = 1000000,      /* without memory no look for so long */
	MOST_STARVED = 100,        /* times; each may have left a few kilobytes behind */
};

uint64_t
apply_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- telling -------------------------------------------------------------------------- */

void
apply_tell(struct apply *x, uint32_t type, uint32_t id, const void *body, int fd)
{
	int err = ipc_send_wait(x->opt->chan, type, id, &apply_tell_shape[type], body, &fd,
	    fd >= 0, TELL_MS);

	if (err == -EPIPE)
		x->gone = true;
	else if (err)
		log_say(LOG_IS_ERROR, NULL, "an answer did not go through: %s", strerror(-err));
}

void
apply_event(struct apply *x, struct apply_event e, int fd)
{
	apply_tell(x, APPLY_EVENT, 0, &e, fd);
	if (fd >= 0)
		close(fd);
}

void
apply_note(struct apply *x, const char *fmt, ...)
{
	struct apply_event e = {.kind = APPLY_NOTE, .uid = UINT32_MAX, .program = "", .exe = ""};
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	e.what = text;
	apply_event(x, e, -1);
}

/* The answer to what changes something. */
static void
done(struct apply *x, uint32_t id, int err, const struct apply_result *r)
{
	struct apply_done d = {.err = (uint32_t)-err, .text = r->text, .stage_us = r->stage_us,
	    .swap_us = r->swap_us, .changes = r->changes, .tries = r->tries};

	nl_talk_gen(x->t, &d.gen);
	apply_tell(x, APPLY_DONE, id, &d, -1);
}

/* ---- questions ------------------------------------------------------------------------ */

/* In the plan's own memory; whole or, without memory, not at all. */
static void
copy_names(const struct apply_name *from, uint32_t n, struct apply_plan *to)
{
	struct apply_name *v = arena_array(to->read, n, struct apply_name);

	for (uint32_t i = 0; i < n; i++) {
		v[i] = from[i];
		v[i].name = arena_str(to->read, from[i].name);
	}
	to->name = v;
	to->nname = n;
}

struct reading {
	struct apply_plan *p;
	const uint8_t *bytes;
	size_t n;
	const struct apply_do *q;
	const char *wrong;
};

static void
read_bytes(void *arg)
{
	struct reading *r = arg;

	r->p->read = arena_new();
	r->wrong = plan_read(r->p->read, r->bytes, r->n, &r->p->plan);
	if (!r->wrong)
		copy_names(r->q->name, r->q->nname, r->p);
}

/* The plan of a message, as it was read. NULL with the error and its text. */
static struct apply_plan *
read_plan(struct ipc_in *in, const struct apply_do *q, int *err, char text[APPLY_WORDS])
{
	struct apply_plan *p = calloc(1, sizeof *p);
	int fd = ipc_take(in, 0);
	struct reading r = {.p = p, .q = q};

	*err = !p ? -ENOMEM : fd < 0 ? -EBADF : ipc_map(fd, APPLY_MOST_PLAN, &r.bytes, &r.n);
	if (fd >= 0)
		close(fd);
	if (*err) {
		snprintf(text, APPLY_WORDS, "the plan's file: %s", strerror(-*err));
		free(p);
		return NULL;
	}
	*err = arena_try(read_bytes, &r);
	ipc_unmap(r.bytes, r.n);
	if (*err) {
		p->read = NULL;
		snprintf(text, APPLY_WORDS, "reading the plan: %s", APPLY_NO_MEMORY);
		return apply_plan_free(p);
	}
	if (r.wrong) {
		snprintf(text, APPLY_WORDS, "this is no plan: %s", r.wrong);
		*err = -EBADMSG;
		return apply_plan_free(p);
	}
	return p;
}

static int
do_apply(struct apply *x, struct ipc_in *in, const void *body, struct apply_result *r)
{
	const struct apply_do *q = body;
	int err = 0;
	struct apply_plan *p = read_plan(in, q, &err, r->text);

	if (!p)
		return err;
	err = apply_put(x, p, q->gen, false, r);
	if (err && x->now != p)
		apply_plan_free(p);
	return err;
}

static int
do_host(struct apply *x, struct ipc_in *in, const void *body, struct apply_result *r)
{
	const struct apply_host *q = body;
	struct apply_plan *p = x->now;
	struct apply_name *name;
	uint32_t nname;
	int err;

	(void)in;
	if (!p) {
		snprintf(r->text, sizeof r->text, "no plan is in force");
		return -ENOENT;
	}
	/* in the plan's own memory: names are few, and a table of them at most a few kilobytes */
	name = p->name;
	nname = p->nname;
	if (nname == q->nname) {
		for (uint32_t i = 0; i < nname; i++)
			if (name[i].kind != q->name[i].kind || strcmp(name[i].name, q->name[i].name) != 0)
				goto other;
		/* the same names with other numbers: nothing grows however often */
		uint64_t *was = calloc(nname + 1, sizeof *was);

		if (!was)
			return -ENOMEM;
		for (uint32_t i = 0; i < nname; i++) {
			was[i] = name[i].value;
			name[i].value = q->name[i].value;
		}
		err = apply_put(x, p, 0, false, r);
		for (uint32_t i = 0; i < nname && err; i++)
			name[i].value = was[i];
		free(was);
		return err;
	}
other:
	copy_names(q->name, q->nname, p);
	err = apply_put(x, p, 0, false, r);
	if (err) {
		p->name = name;
		p->nname = nname;
	}
	return err;
}

static int
do_block(struct apply *x, struct ipc_in *in, const void *body, struct apply_result *r)
{
	const struct apply_block *q = body;

	(void)in;
	return apply_block(x, q->address, q->seconds, apply_clock(), r->text);
}

static int
do_remove(struct apply *x, struct ipc_in *in, const void *body, struct apply_result *r)
{
	(void)in;
	(void)body;
	return apply_remove(x, r);
}

static int
do_pause(struct apply *x, struct ipc_in *in, const void *body, struct apply_result *r)
{
	const struct apply_pause *q = body;

	(void)in;
	(void)r;
	apply_pause(x, q->seconds, apply_clock());
	return 0;
}

static void
record(struct apply *x, uint32_t id)
{
	struct apply_recorded r = {.text = ""};
	int fd = apply_record(x, true, &r.gen);

	if (fd < 0) {
		r.err = (uint32_t)-fd;
		r.text = strerror(-fd);
	}
	apply_tell(x, APPLY_RECORDED, id, &r, fd);
	if (fd >= 0)
		close(fd);
}

/* That of the table of blocks; NULL where nothing is blocked. */
static const struct nl_object *
block_counter(struct apply *x, struct arena *a)
{
	const struct nl_object *v;
	struct nl_dump d = {0};

	if (!x->block_ours || nl_talk_dump(x->t, a, INET, NL_BLOCK_TABLE, 0, APPLY_TRIES, &d))
		return NULL;
	v = d.object;              /* the arena's */
	for (uint32_t i = 0; i < d.nobject; i++)
		if (!strcmp(v[i].name, NL_BLOCK_COUNTER))
			return v + i;
	return NULL;
}

static void
count(struct apply *x, uint32_t id)
{
	struct apply_counted c = {.text = ""};
	struct arena *a = arena_new();
	const struct nl_object *blocked;
	size_t bytes = 1024, cap = 0;
	struct nl_dump d = {0};
	int err = -ENOENT;

	if (x->now)
		err = nl_talk_dump(x->t, a, INET, x->now->plan->table, 0, APPLY_TRIES, &d);
	/* first, so that none of the plan's many keeps it out */
	blocked = block_counter(x, a);
	if (blocked)
		ARENA_PUSH(a, c.counter, c.ncounter, cap) =
		    (struct apply_counter){APPLY_BLOCKED_COUNTER, blocked->packets, blocked->bytes};
	for (uint32_t i = 0; !err && i < d.nobject; i++) {
		const struct nl_object *o = &d.object[i];

		if (hash_names_find(x->now->watch->counters, o->name, strlen(o->name)) == UINT32_MAX)
			continue;
		bytes += strlen(o->name) + 21;
		if (bytes > IPC_MOST || c.ncounter == APPLY_MOST_COUNTERS) {
			c.text = "there are more counters than a message holds";
			break;
		}
		ARENA_PUSH(a, c.counter, c.ncounter, cap) =
		    (struct apply_counter){o->name, o->packets, o->bytes};
	}
	if (err) {
		c.err = (uint32_t)-err;
		c.text = x->now ? strerror(-err) : "no plan is in force";
	}
	apply_tell(x, APPLY_COUNTED, id, &c, -1);
	arena_free(a);
}

static void
check(struct apply *x, uint32_t id)
{
	struct apply_checked c = {.text = "", .features = x->features, .polls = x->polls,
	    .heals = x->heals};
	struct nl_diff diff = {0};
	bool held = false;
	int err = x->now ? apply_check(x, &diff, &c.gen, &held) : -ENOENT;

	c.err = (uint32_t)-err;
	if (err)
		c.text = x->now ? strerror(-err) : "no plan is in force";
	else if (diff.n)
		c.text = diff.words.p ? diff.words.p : "?";
	c.in_force = !err && !diff.n;
	if (x->now) {
		c.owner = held;
		c.persist = (x->now->flags & NL_PERSIST) != 0;
		c.digest = x->now->plan->digest;
		c.ndigest = PLAN_DIGEST;
	}
	apply_tell(x, APPLY_CHECKED, id, &c, -1);
	nl_diff_free(&diff);
}

static int (*const changing[APPLY_NASK])(struct apply *, struct ipc_in *, const void *,
    struct apply_result *) = {
	[APPLY_DO] = do_apply, [APPLY_HOST] = do_host, [APPLY_BLOCK] = do_block,
	[APPLY_REMOVE] = do_remove, [APPLY_PAUSE] = do_pause,
};
static void (*const asking[APPLY_NASK])(struct apply *, uint32_t id) = {
	[APPLY_RECORD] = record, [APPLY_COUNT] = count, [APPLY_CHECK] = check,
};

struct handling {
	struct apply *x;
	struct ipc_in *in;
	const void *body;
	struct apply_result r;
	int err;
};

static void
change(void *arg)
{
	struct handling *h = arg;

	h->err = changing[h->in->type](h->x, h->in, h->body, &h->r);
}

static void
ask(void *arg)
{
	struct handling *h = arg;

	asking[h->in->type](h->x, h->in->id);
}

/* There was no memory for an answer. */
static void
no_answer(struct apply *x, uint32_t type, uint32_t id)
{
	struct apply_recorded r = {.err = ENOMEM, .text = APPLY_NO_MEMORY};
	struct apply_counted t = {.err = ENOMEM, .text = APPLY_NO_MEMORY};
	struct apply_checked c = {.err = ENOMEM, .text = APPLY_NO_MEMORY, .features = x->features,
	    .polls = x->polls, .heals = x->heals};

	if (type == APPLY_RECORD)
		apply_tell(x, APPLY_RECORDED, id, &r, -1);
	else if (type == APPLY_COUNT)
		apply_tell(x, APPLY_COUNTED, id, &t, -1);
	else
		apply_tell(x, APPLY_CHECKED, id, &c, -1);
}

static void
handle(struct apply *x, struct ipc_in *in)
{
	struct handling h = {.x = x, .in = in};

	if (in->type >= APPLY_NASK || (!changing[in->type] && !asking[in->type])) {
		log_say(LOG_IS_ERROR, NULL, "a message of kind %u, which is none", in->type);
		return;
	}
	if (apply_ask_shape[in->type].size)
		h.err = ipc_body(in, &apply_ask_shape[in->type], &h.body);
	if (asking[in->type]) {
		if (arena_try(ask, &h)) {
			apply_starved(x);
			no_answer(x, in->type, in->id);
		}
		return;
	}
	if (h.err) {
		snprintf(h.r.text, sizeof h.r.text, "the message is not to be read: %s",
		    strerror(-h.err));
	} else if (arena_try(change, &h)) {
		h.err = -ENOMEM;
		apply_starved(x);
		snprintf(h.r.text, sizeof h.r.text, "%s", APPLY_NO_MEMORY);
	}
	done(x, in->id, h.err, &h.r);
}

/* ---- start ---------------------------------------------------------------------------- */

/* What this kernel has, and what follows from it. */
static int
features(struct apply *x)
{
	struct buf b = BUF_INIT(MOST_FEATURES);
	struct nl_probe p = {0};
	int err = nl_probe(&p);

	if (err)
		return err;
	x->in_place = p.in_place == NL_HAS;
	if (x->opt->no_owner)
		x->table_flags = 0;
	else if (p.owner == NL_HAS && p.persist == NL_HAS)
		x->table_flags = NL_OWNER | NL_PERSIST;
	else
		/* an owner alone takes the rules along when it dies */
		apply_note(x, "this kernel has no tables that outlive their owner: others may "
		    "change the rules, which is found and healed");
	nl_probe_text(&b, &p);
	buf_printf(&b, "who changes the rules: %s\n", x->who ? "heard" : "not heard");
	x->features = b.err ? NULL : strdup(b.p);
	buf_free(&b);
	return x->features ? 0 : -ENOMEM;
}

static int
enter_jail(struct apply *x)
{
	const struct role_apply *o = x->opt;
	int err;

	if (o->no_jail)
		return 0;
	err = jail_begin();
	if (!err)
		err = jail_user(o->uid, o->gid, true);
	if (!err)
		err = jail_landlock(NULL, 0);
	if (err == 1)
		apply_note(x, "this kernel has no Landlock");
	if (err >= 0)
		err = jail_caps(1ull << CAP_NET_ADMIN_BIT);
	if (err >= 0)
		err = jail_seccomp(JAIL_APPLY);
	return err < 0 ? err : 0;
}

static int
start(struct apply *x)
{
	struct sockaddr_nl here = {0};
	socklen_t len = sizeof here;
	/* another descriptor of the giver's socket: it may own the tables, and outlives us */
	int fd = x->opt->netlink >= 0 ? fcntl(x->opt->netlink, F_DUPFD_CLOEXEC, 3) : -1;
	int err = fd >= 0 ? nl_talk_adopt(fd, &x->t) : nl_talk_open(&x->t);

	if (err) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	if (!getsockname(nl_talk_fd(x->t), (struct sockaddr *)&here, &len))
		x->port = here.nl_pid;
	err = nl_who_open(&x->who);
	if (err)
		apply_note(x, "who changes the rules cannot be heard: %s", strerror(-err));
	x->blocked = calloc(APPLY_BLOCKS, sizeof *x->blocked);
	if (!x->blocked)
		return -ENOMEM;
	err = enter_jail(x);
	if (!err)
		err = features(x);
	if (!err)
		err = nl_talk_gen(x->t, &x->deaf_gen);
	if (!err)
		apply_block_begin(x, apply_clock());
	return err;
}

static void
end(struct apply *x)
{
	x->now = apply_plan_free(x->now);
	arena_free(x->others_in);
	free(x->blocked);
	free(x->features);
	nl_who_close(x->who);
	nl_talk_close(x->t);
}

/* ---- the loop ------------------------------------------------------------------------- */

void
apply_starved(struct apply *x)
{
	malloc_trim(0);
	x->starved++;
	x->starved_until = apply_clock() + STARVED_US;
	x->look_again = true;
	x->block_gen = 0;
}

static void
watch(void *arg)
{
	apply_watch(arg, apply_clock());
}

/* All that the channel has; a busy one may not keep us from looking. */
static void
hear(struct apply *x)
{
	for (int i = 0; i < MOST_AT_ONCE && !x->gone; i++) {
		struct ipc_in in = {0};
		int k = ipc_recv(x->opt->chan, &in);

		if (k == -EAGAIN)
			return;
		if (k == -EBADMSG) {
			log_say(LOG_IS_ERROR, NULL, "bytes that are no message were dropped");
			continue;
		}
		if (k <= 0) {
			x->gone = true;
			return;
		}
		handle(x, &in);
		ipc_free(&in);
	}
}

/* Milliseconds until the next look. Where commits are heard the polling is a second string. */
static int
wait_ms(const struct apply *x, uint64_t now, bool heard)
{
	if (x->who && !heard)
		return x->next_look > now ? (int)((x->next_look - now) / 1000) + 1 : 1;
	return heard && !x->busy ? APPLY_HEARD_MS : APPLY_TICK_MS;
}

static void
run(struct apply *x)
{
	struct pollfd p[2] = {{.fd = x->opt->chan, .events = POLLIN}, {.fd = -1, .events = POLLIN}};

	while (!x->gone) {
		uint64_t now = apply_clock();
		/* one who commits without pause does not get us to look without pause */
		bool heard = x->who && now >= x->next_look;

		p[1].fd = heard ? nl_who_fd(x->who) : -1;
		p[0].revents = p[1].revents = 0;
		if (poll(p, 2, wait_ms(x, now, heard)) < 0 && errno != EINTR)
			return;
		if (p[0].revents)
			hear(x);
		if (p[1].revents)
			nl_who_hear(x->who);
		if (!x->gone && apply_clock() >= x->starved_until && arena_try(watch, x))
			apply_starved(x);
		if (x->starved == MOST_STARVED) {
			log_say(LOG_IS_ERROR, NULL, "there was no memory %u times: to be started anew",
			    x->starved);
			return;
		}
	}
}

int
role_apply(const struct role_apply *r)
{
	struct apply x = {.opt = r};
	int err = start(&x);

	if (err)
		log_say(LOG_IS_ERROR, NULL, "the rules cannot be reached: %s", strerror(-err));
	else
		run(&x);
	err = err || x.starved == MOST_STARVED;
	end(&x);
	return err;
}
