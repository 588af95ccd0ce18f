/*
 * queue_kill [KILLS [SEED]]: the role queue, killed (SIGKILL) at random points and started again on the same
 * folder, with programs and relays around it that remember what they were told and what they got:
 *
 *   lost     250 was said, and a recipient got neither the mail nor (refused) a report
 *   torn     a content that is not what was given
 *   twice    delivered again, though it was not with the relay when the role was killed
 *
 * Each is a failure. A message may be delivered once more for each kill that it was in flight at.
 */
#include <stdint.h>
#include <time.h>

#include "../unit/chance.h"
#include "queue_rig.h"

enum { MESSAGES = 100000, FLYING = 24, SENDS = 600 };

struct message {
	uint64_t token, id;
	int fd;
	bool open, through, settled, acked;
	bool refuse;                 /* the relay says 550 */
	bool refused;                /* and has said so */
	unsigned got, allowed;       /* times the relay has it; kills that it was in flight at */
	unsigned reports;
	bool out, reporting;         /* with the relay at this moment, or answered and maybe not heard */
	uint64_t answered;           /* us: when */
};

static struct message *msg;
static size_t nmsg;
static struct rig g;
static unsigned lost, torn, twice, again, acked, through, reported;
static bool quiet;                 /* no kills, no new messages: let it come to its end */

static size_t
content_of(size_t i, char *out, size_t cap)
{
	int n = snprintf(out, cap, "From: s%zu@example.org\r\nSubject: %zu\r\n\r\n", i, i);

	for (size_t k = 0; k < i % 40; k++)
		n += snprintf(out + n, cap - (size_t)n, "line %zu of %zu\r\n", k, i);
	return (size_t)n;
}

/* ---- programs ------------------------------------------------------------------------- */

static void
new_message(void)
{
	struct message *m = &msg[nmsg];
	struct front_arrive a;

	if (nmsg == MESSAGES)
		return;
	*m = (struct message){.token = nmsg + 1, .fd = -1, .open = true, .through = rnd(2), .refuse = !rnd(12)};
	a = (struct front_arrive){m->token, 0};
	if (!ipc_send(g.front, FRONT_ARRIVE, 0, &front_ask_shape[FRONT_ARRIVE], &a, NULL, 0))
		nmsg++;
}

static void
write_and_seal(struct ipc_in *in, const struct front_arrived *t)
{
	size_t i = t->token - 1;
	struct message *m = &msg[i];
	char text[4096], from[64], to[64];
	struct front_rcpt r = {to, rnd(2) ? "one" : "two", "", ""};
	struct front_seal s = {.token = t->token, .through = m->through, .application = "", .unit = "",
		.from = from, .envid = "", .ret = "", .note = "", .rcpt = &r, .nrcpt = 1};
	int fd = ipc_take(in, 0);

	CHECK(!t->err && fd >= 0);
	m->id = t->id;
	s.size = content_of(i, text, sizeof text);
	CHECK(pwrite(fd, text, s.size, (off_t)t->offset) == (ssize_t)s.size);
	close(fd);
	snprintf(from, sizeof from, "s%zu@example.org", i);
	snprintf(to, sizeof to, "r%zu@%s.example", i, r.relay);
	(void)ipc_send(g.front, FRONT_SEAL, 0, &front_ask_shape[FRONT_SEAL], &s, NULL, 0);
}

static void
front(void)
{
	for (struct ipc_in in = {0}; ipc_recv(g.front, &in) == 1; ipc_free(&in)) {
		const void *body;

		CHECK(in.type < FRONT_NTELL && !ipc_body(&in, &front_tell_shape[in.type], &body));
		if (in.type == FRONT_ARRIVED) {
			write_and_seal(&in, body);
		} else if (in.type == FRONT_SETTLED) {
			const struct front_settled *t = body;
			struct message *m = &msg[t->token - 1];

			m->open = false;
			m->settled = true;
			m->acked = t->code == 250;
			acked += m->acked;
			through += t->delivered;
			CHECK(!t->delivered || m->got);
			CHECK(m->acked || m->refused || t->code / 100 == 4);
		}
	}
}

/* ---- relays ------------------------------------------------------------------------------ */

static struct {
	uint64_t claim;
	size_t i;
	bool report;
} held[SENDS];
static size_t nheld;

static void
take(const struct relay_send *s, struct ipc_in *in)
{
	bool report = !*s->from;
	size_t i = strtoul((report ? s->rcpt[0].address : s->from) + 1, NULL, 10), n;
	char want[4096], is[4096];

	CHECK(i < nmsg && s->nrcpt == 1 && nheld < SENDS);
	if (!report) {
		n = content_of(i, want, sizeof want);
		if (s->size != n || pread(in->fd[0], is, n, (off_t)s->offset) != (ssize_t)n || memcmp(is, want, n) != 0)
			torn++;
		msg[i].out = true;
	} else {
		msg[i].reporting = true;
	}
	held[nheld].claim = s->claim;
	held[nheld].i = i;
	held[nheld++].report = report;
}

static void
answer(size_t k)
{
	struct message *m = &msg[held[k].i];
	struct relay_fate_of f = {RELAY_DELIVERED, 250, "2.0.0 mine"};
	struct relay_result r = {.claim = held[k].claim, .connected = 1, .rcpt = &f, .nrcpt = 1};

	if (!quiet && !rnd(6))
		f = (struct relay_fate_of){RELAY_DEFERRED, 451, "4.3.0 later"};
	else if (!held[k].report && m->refuse)
		f = (struct relay_fate_of){RELAY_FAILED, 550, "5.1.1 no such user"};
	if (held[k].report && f.fate == RELAY_DELIVERED) {
		m->reports++;
		reported++;
	} else if (f.fate == RELAY_DELIVERED) {
		if (m->got > m->allowed) {
			fprintf(stderr, "message %zu: once more, %u and %u\n", held[k].i, m->got, m->allowed);
			twice++;
		}
		again += m->got > 0;
		m->got++;
	} else if (f.fate == RELAY_FAILED) {
		m->refused = true;
	}
	m->answered = us();
	if (f.fate == RELAY_DEFERRED && !held[k].report)
		m->out = false;
	CHECK(!ipc_send(g.relay, RELAY_RESULT, 0, &relay_tell_shape[RELAY_RESULT], &r, NULL, 0));
	held[k] = held[--nheld];
}

static void
relay(void)
{
	for (struct ipc_in in = {0}; ipc_recv(g.relay, &in) == 1; ipc_free(&in)) {
		const void *body;

		CHECK(in.type < RELAY_NASK && !ipc_body(&in, &relay_ask_shape[in.type], &body));
		if (in.type == RELAY_SEND)
			take(body, &in);
	}
	/* in another order than they came, some later */
	while (nheld && (quiet || rnd(4)))
		answer(rnd(nheld));
}

/* ---- rounds ------------------------------------------------------------------------------- */

static void
life(uint64_t until)
{
	for (;;) {
		struct pollfd f[2] = {{g.front, POLLIN, 0}, {g.relay, POLLIN, 0}};
		unsigned open = 0;

		if (us() >= until)
			return;
		for (size_t i = nmsg > 64 ? nmsg - 64 : 0; i < nmsg; i++)
			open += msg[i].open;
		while (!quiet && open < FLYING && rnd(8)) {
			new_message();
			open++;
		}
		if (quiet && !open && rig_empty(&g, 20))
			return;
		poll(f, 2, 1);
		relay();
		front();
	}
}

static void
killed(void)
{
	rig_end(&g, SIGKILL);
	nheld = 0;
	for (size_t i = 0; i < nmsg; i++) {
		/* What was answered half a second ago was heard; what was answered now, perhaps not. */
		if (msg[i].out && (!msg[i].got || us() - msg[i].answered < 500000))
			msg[i].allowed = msg[i].got;
		if (msg[i].out && us() - msg[i].answered >= 500000)
			msg[i].out = false;
		msg[i].open = false;
	}
}

int
main(int argc, char **argv)
{
	unsigned long kills = argc > 1 ? strtoul(argv[1], NULL, 10) : 100;
	uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);

	chance_begin(first);
	signal(SIGPIPE, SIG_IGN);
	msg = calloc(MESSAGES, sizeof *msg);
	CHECK(msg);
	rig_new(&g);
	for (unsigned long k = 0; k < kills; k++) {
		rig_begin(&g);
		life(us() + rnd(25000));
		killed();
	}
	quiet = true;
	rig_begin(&g);
	life(us() + 60000000);
	bool empty = rig_empty(&g, 10000);
	rig_end(&g, 0);
	for (size_t i = 0; i < nmsg; i++) {
		struct message *m = &msg[i];

		if (m->acked && !m->got && !(m->refused && m->reports)) {
			fprintf(stderr, "message %zu (%016llx) is lost: refused %d, reports %u, through %d\n", i,
			    (unsigned long long)m->id, m->refused, m->reports, m->through);
			lost++;
		}
	}
	printf("%lu kills, seed %llu: %zu messages, %u acknowledged, %u of them through, %u reports; "
	    "lost %u, torn %u, twice %u; again after a kill in flight %u; the queue is %s\n", kills,
	    (unsigned long long)first, nmsg, acked, through, reported, lost, torn, twice, again,
	    empty ? "empty" : "NOT EMPTY");
	rig_free(&g);
	free(msg);
	return lost || torn || twice || !empty || !acked || !through;
}
