#include "prove/replay.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "addr/packet.h"
#include "base/arena.h"
#include "nl/form.h"
#include "prove/inside.h"
#include "prove/stage.h"

enum {
	STRANGER = 1987654321,     /* a user id that no ruleset speaks of */
	SECONDS = 20,              /* that a child may live */
	TCP_SYN = 0x02, TCP_ACK = 0x10, TCP_PUSH = 0x08, TCP_NEW_BESIDE = 0xc0, /* ECN's with a SYN */
	TYPE_UNICAST = 1, TYPE_LOCAL = 2, /* RTN_*: of FLOW_DSTTYPE */
	PASSES = 1 << VM_PASS | 1 << VM_MOVED | 1 << VM_CAPTURE | 1 << VM_QUEUE,
	REFUSES = 1 << VM_DROP | 1 << VM_REJECT,
};

static bool
not(struct replay *r, const char *why)
{
	r->why = why;
	return false;
}

/* ---- what the witness asks for -------------------------------------------------------------- */

/* An interface's name as the field has it. */
static void
name_of(u128 x, char out[17])
{
	u128_to_be(x, (uint8_t *)out);
	out[16] = 0;
}

static bool
needs_user(struct replay *r, const struct prove_region *b, struct stage_wants *w)
{
	u128 v = b->x[FLOW_USER];
	uint32_t uid;

	if (!b->field[FLOW_USER].n)
		return true;
	if (w->hook != PACKET_OUTPUT)
		return v == FLOW_USER_NONE || not(r, "only what this host sends has a user");
	if (v < FLOW_USER_NAMES)
		uid = (uint32_t)v;
	else if (v == FLOW_USER_NONE || !r->host ||
	    r->host->uid(r->host->arg, flow_user_name(r->flow, v), &uid))
		uid = STRANGER; /* as whom the ruleset was read: nobody of whom it speaks */
	w->user = true;
	w->uid = uid;
	return true;
}

/* The packet's part in its connection, as conntrack will see it. */
static bool
needs_state(struct replay *r, const struct prove_region *b, struct stage_wants *w)
{
	struct frame *f = &w->frame;
	bool tcp = f->proto == IPPROTO_TCP;

	switch ((enum packet_state)b->x[FLOW_STATE]) {
	case PACKET_NEW:
		if (!tcp || (f->flags & ~TCP_NEW_BESIDE) == TCP_SYN ||
		    (f->flags & ~TCP_PUSH) == TCP_ACK)
			return true;
		return not(r, "no connection begins with these TCP flags");
	case PACKET_ESTABLISHED:
		w->established = true;
		w->mark = (uint32_t)b->x[FLOW_CTMARK];
		w->reply = b->field[FLOW_CTPORT].n && b->x[FLOW_CTPORT] != f->dport;
		if (w->reply && b->x[FLOW_CTPORT] != f->sport) {
			if (b->field[FLOW_SPORT].n)
				return not(r, "a connection that was moved to another port");
			f->sport = (uint16_t)b->x[FLOW_CTPORT];
		}
		if (tcp && (f->flags & ~TCP_PUSH) != TCP_ACK)
			return not(r, "a packet with these TCP flags in an open connection");
		return true;
	case PACKET_INVALID:
		f->broken = (tcp || f->proto == IPPROTO_UDP) && !w->loopback &&
		    w->hook != PACKET_OUTPUT;
		w->strict = !f->broken && tcp && f->flags == TCP_ACK;
		return f->broken || w->strict || not(r, "an invalid packet of this kind");
	case PACKET_RELATED:
		return not(r, "a packet that is related to another connection");
	case PACKET_UNTRACKED:
		return not(r, "a packet that is not tracked before the first rule");
	}
	return not(r, "a packet of no known state");
}

static bool
needs_interfaces(struct replay *r, const struct prove_region *b, struct stage_wants *w)
{
	if (w->loopback)
		return w->hook != PACKET_FORWARD || not(r, "what is forwarded is not on the loopback");
	if (w->hook != PACKET_OUTPUT)
		name_of(b->x[FLOW_IIF], w->iif);
	if (w->hook != PACKET_INPUT)
		name_of(b->x[FLOW_OIF], w->oif);
	if ((w->hook != PACKET_OUTPUT && !*w->iif) || (w->hook != PACKET_INPUT && !*w->oif))
		return not(r, "a packet without an interface");
	return true;
}

static bool
needs_date(struct replay *r, const struct prove_region *b)
{
	return !b->field[FLOW_DATE].n ||
	    ival_has(b->field[FLOW_DATE].v, b->field[FLOW_DATE].n, r->now) ||
	    not(r, "it is another day");
}

static bool
needs(struct replay *r, const struct prove_region *b, struct stage_wants *w)
{
	const u128 *x = b->x;
	u128 type;

	*w = (struct stage_wants){.path = r->path, .live = r->live, .hook = b->witness.hook,
	    .loopback = b->witness.loopback};
	w->frame = (struct frame){.src = b->witness.src, .dst = b->witness.dst,
	    .proto = b->witness.proto, .flags = (uint8_t)x[FLOW_FLAGS],
	    .sport = (uint16_t)x[FLOW_SPORT], .dport = (uint16_t)x[FLOW_DPORT]};
	switch (w->frame.proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		break;
	default:
		return not(r, "a protocol without ports");
	}
	type = w->hook == PACKET_INPUT || w->loopback ? TYPE_LOCAL : TYPE_UNICAST;
	if (b->field[FLOW_DSTTYPE].n && x[FLOW_DSTTYPE] != type)
		return not(r, "a destination of another kind than it has on this way");
	if (b->field[FLOW_UNIT].n && x[FLOW_UNIT] != FLOW_UNIT_NONE)
		return not(r, arena_printf(r->a, "it takes a program in the control group %s",
		    flow_unit_name(r->flow, x[FLOW_UNIT])));
	if (x[FLOW_MARK] && w->hook != PACKET_OUTPUT)
		return not(r, "a packet that comes in has no mark");
	if (x[FLOW_CTMARK] && x[FLOW_STATE] != PACKET_ESTABLISHED)
		return not(r, "a connection is marked by its rules alone");
	w->packet_mark = (uint32_t)x[FLOW_MARK];
	return needs_date(r, b) && needs_interfaces(r, b, w) && needs_user(r, b, w) &&
	    needs_state(r, b, w);
}

/* ---- the child ------------------------------------------------------------------------------- */

struct run {
	struct stage_wants want;
	struct stage_seen *seen;   /* shared with it */
	pid_t parent;
};

static int
child(void *arg)
{
	const struct run *x = arg;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != x->parent)
		return 1;
	alarm(SECONDS);
	stage(&x->want, x->seen);
	return 0;
}

static bool
run(struct replay *r, const struct stage_wants *w, struct stage_seen *out)
{
	struct run x = {.want = *w, .parent = getpid()};
	int status = 0, err;

	x.seen = mmap(NULL, sizeof *x.seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (x.seen == MAP_FAILED)
		return not(r, arena_printf(r->a, "%s", strerror(errno)));
	err = space_child(child, &x, &status);
	*out = *x.seen;
	munmap(x.seen, sizeof *x.seen);
	if (err)
		return not(r, arena_printf(r->a, "%s", strerror(-err)));
	if (!out->done)
		return not(r, *out->why ? arena_str(r->a, out->why) : "it took too long");
	return true;
}

/* Whether what was seen is one of the fates, as far as it can be seen. */
static bool
is_fate(const struct prove_region *b, const struct stage_wants *w, const struct stage_seen *s)
{
	uint32_t pass = b->fates & PASSES;

	if (b->unknown)
		return true;
	if (!s->out && !s->in)
		return b->fates & REFUSES;
	if (pass == 1u << VM_CAPTURE)
		return s->in;
	if (pass == 1u << VM_PASS)
		return w->hook == PACKET_INPUT ? s->in : s->out;
	return pass;
}

enum replay_outcome
replay(struct replay *r, const struct prove_region *b)
{
	struct stage_wants w;
	struct stage_seen s;

	r->why = NULL;
	r->passed = false;
	if (b->fates == 1u << VM_QUEUE)
		not(r, "a program decides");
	else if (needs(r, b, &w) && run(r, &w, &s)) {
		r->passed = s.out || s.in;
		return is_fate(b, &w, &s) ? REPLAY_AGREES : REPLAY_OTHERWISE;
	}
	return REPLAY_NOT;
}

/* ---- the ruleset that is there ----------------------------------------------------------------- */

static int
lister(void *arg)
{
	const int *fd = arg;

	return space_nft_list(*fd) ? 127 : 0;
}

int
replay_live_text(void)
{
	int fd = memfd_create("ruleset", 0), status, err;

	if (fd < 0)
		return -errno;
	err = space_child(lister, &fd, &status);
	if (!err && status)
		err = WIFEXITED(status) && WEXITSTATUS(status) == 127 ? -ENOENT : -EPERM;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}
