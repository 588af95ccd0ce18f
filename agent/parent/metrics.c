/*
 * metrics: Prometheus text exposition, version 0.0.4.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "parent/inside.h"

enum { MOST_METRICS = 4 << 20, FRESH_US = 1000000 };

struct wish {
	struct parent *p;
	metrics_fn *fn;
	void *arg;
};

/* A label's value: backslash, quote and line break are escaped. */
static void
label(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			buf_chr(b, '\\');
		if (*s == '\n')
			buf_str(b, "\\n");
		else
			buf_chr(b, *s);
	}
}

static void
head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# HELP mailreeve_%s %s\n# TYPE mailreeve_%s %s\n", name, help, name, type);
}

static void
one(struct buf *b, const char *name, const char *type, const char *help, uint64_t x)
{
	head(b, name, type, help);
	buf_printf(b, "mailreeve_%s %" PRIu64 "\n", name, x);
}

static void
seconds(struct buf *b, const char *name, const char *type, const char *help, uint64_t us)
{
	head(b, name, type, help);
	buf_printf(b, "mailreeve_%s %" PRIu64 ".%06" PRIu64 "\n", name, us / 1000000, us % 1000000);
}

/* The statement that a counter's name tells. */
static void
take_counters(struct parent *p, const struct apply_counted *c)
{
	struct buf *b = &p->counters;

	p->blocked_packets = p->blocked_bytes = 0;
	buf_free(b);
	*b = (struct buf)BUF_INIT(MOST_METRICS);
	for (uint32_t i = 0; i < c->ncounter; i++)
		if (!strcmp(c->counter[i].name, APPLY_BLOCKED_COUNTER)) {
			p->blocked_packets = c->counter[i].packets;
			p->blocked_bytes = c->counter[i].bytes;
		}
	if (c->ncounter) {
		head(b, "statement_packets_total", "counter", "Packets that a statement decided.");
		for (uint32_t i = 0; i < c->ncounter; i++) {
			if (!strcmp(c->counter[i].name, APPLY_BLOCKED_COUNTER))
				continue;
			buf_str(b, "mailreeve_statement_packets_total{statement=\"");
			label(b, c->counter[i].name);
			buf_printf(b, "\"} %" PRIu64 "\n", c->counter[i].packets);
		}
		head(b, "statement_bytes_total", "counter", "Bytes that a statement decided.");
		for (uint32_t i = 0; i < c->ncounter; i++) {
			if (!strcmp(c->counter[i].name, APPLY_BLOCKED_COUNTER))
				continue;
			buf_str(b, "mailreeve_statement_bytes_total{statement=\"");
			label(b, c->counter[i].name);
			buf_printf(b, "\"} %" PRIu64 "\n", c->counter[i].bytes);
		}
	}
	p->counted_at = now_us(CLOCK_MONOTONIC);
}

static void
attempts(struct parent *p, struct buf *b)
{
	struct attempts_lost l = p->attempt ? attempt_ring_untold(p->attempt) : (struct attempts_lost){0};
	const struct attempt_counter *c;

	one(b, "attempts_not_told_total", "counter", "Refused packets not told one by one.",
	    l.over_rate + l.lost);
	head(b, "attempts_total", "counter", "Packets refused by statements with log: true.");
	for (uint32_t i = 0; p->attempt && (c = attempt_ring_counter(p->attempt, i)); i++) {
		buf_str(b, "mailreeve_attempts_total{statement=\"");
		label(b, c->statement);
		buf_printf(b, "\"} %" PRIu64 "\n", c->packets);
	}
}

void
metrics_text(struct parent *p, struct buf *b)
{
	uint64_t now = now_us(CLOCK_REALTIME), since = p->force.about.when;
	char hex[17];

	one(b, "in_force", "gauge", "Whether the generation that is to be in force is.",
	    p->force.number && !p->trouble[0]);
	one(b, "observe", "gauge", "Whether the policy in force is in mode observe: nothing is refused.",
	    p->force.number && p->force.about.observe);
	one(b, "generation", "gauge", "Number of the generation in force, 0 for none.", p->force.number);
	one(b, "generation_age_seconds", "gauge", "How long ago the generation in force was applied.",
	    p->force.number && now > since ? (now - since) / 1000000 : 0);
	one(b, "confirm_pending", "gauge", "Whether a generation waits to be confirmed.", p->waiting);
	one(b, "healing_paused", "gauge", "Whether changes by others are not healed now.",
	    p->paused_until > now);
	one(b, "blocked_addresses", "gauge", "Addresses blocked by hand.", p->nblock);
	one(b, "blocked_packets_total", "counter", "Packets refused for an address blocked by hand; from 0 when "
	    "the last one is not any more.", p->blocked_packets);
	one(b, "blocked_bytes_total", "counter", "Their bytes.", p->blocked_bytes);
	one(b, "applies_total", "counter", "Plans put in force.", p->n.applies);
	one(b, "apply_failures_total", "counter", "Plans that could not be put in force.",
	    p->n.apply_failures);
	seconds(b, "apply_seconds_total", "counter", "Time taken by putting plans in force.", p->n.apply_us);
	seconds(b, "apply_last_stage_seconds", "gauge", "Time that the last apply staged sets.",
	    p->n.last_stage_us);
	seconds(b, "apply_last_swap_seconds", "gauge", "Time that the last apply swapped rules.",
	    p->n.last_swap_us);
	one(b, "reverts_total", "counter", "Generations reverted for want of a confirm.", p->n.reverts);
	one(b, "drift_total", "counter", "Changes of our rules by others.", p->n.drift);
	one(b, "heals_total", "counter", "Such changes healed.", p->n.heals);
	one(b, "heal_failures_total", "counter", "Such changes that could not be healed.",
	    p->n.heal_failures);
	one(b, "heal_backoffs_total", "counter", "Times that healing waited for a program that kept at it.",
	    p->n.backs_off);
	seconds(b, "heal_last_seconds", "gauge", "Time from a change seen to its healing, the last one.",
	    p->n.heal_us);
	one(b, "lost_total", "counter", "Times that the netlink socket or the table's ownership was lost.",
	    p->n.lost);
	one(b, "foreign_differences", "gauge", "Regions of packets where other tables change the policy.",
	    p->foreign ? p->foreign_differences : 0);
	one(b, "foreign_unknown", "gauge", "Regions of packets where what other tables do cannot be known.",
	    p->foreign ? p->foreign_unknown : 0);
	one(b, "compile_errors_total", "counter", "Policies that did not compile.", p->n.compile_errors);
	one(b, "clients_refused_total", "counter", "Control clients that may not control.",
	    p->n.clients_refused);
	one(b, "apply_up", "gauge", "Whether the role that guards the rules runs.", p->apply.chan >= 0);
	one(b, "apply_deaths_total", "counter", "Times that it was killed for want of memory.", p->rules.deaths);
	one(b, "attempts_up", "gauge", "Whether refused packets are told.", p->attempts.chan >= 0);
	attempts(p, b);
	mail_metrics(p, b);
	head(b, "info", "gauge", "Version, policy, point and digest.");
	buf_str(b, "mailreeve_info{version=\"");
	label(b, p->o->version);
	buf_str(b, "\",policy=\"");
	label(b, p->force.number ? p->force.about.policy : "");
	buf_str(b, "\",point=\"");
	label(b, p->force.number ? p->force.about.point : "");
	buf_printf(b, "\",digest=\"%s\"} 1\n", p->force.number ? hex_of(p->force.about.digest, hex) : "");
	if (p->counters.n)
		buf_add(b, p->counters.p, p->counters.n);
}

static void
tell(void *arg)
{
	struct wish *w = arg;
	struct buf b = BUF_INIT(MOST_METRICS + (1 << 20));

	metrics_text(w->p, &b);
	w->fn(w->arg, b.p ? b.p : "", b.err ? 0 : b.n);
	buf_free(&b);
	free(w);
}

static void
counted(void *arg, struct ipc_in *in, int err)
{
	struct wish *w = arg;
	const struct apply_counted *c;
	const void *body;

	if (!err && !ipc_body(in, &apply_tell_shape[APPLY_COUNTED], &body)) {
		c = body;
		if (!c->err)
			take_counters(w->p, c);
	}
	mail_numbers(w->p, tell, w);
}

void
metrics_ask(struct parent *p, metrics_fn *fn, void *arg)
{
	struct wish *w = malloc(sizeof *w);

	if (!w) {
		fn(arg, "", 0);
		return;
	}
	*w = (struct wish){.p = p, .fn = fn, .arg = arg};
	if ((p->counted_at && now_us(CLOCK_MONOTONIC) - p->counted_at < FRESH_US) || !p->force.number ||
	    ask_apply(p, APPLY_COUNT, NULL, -1, APPLY_COUNTED, LOOK_US, counted, w))
		mail_numbers(p, tell, w);
}
