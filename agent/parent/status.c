/*
 * status: how it stands, for people and as JSON.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/units.h"
#include "parent/inside.h"

/* The text of a policy that was compiled for this answer, so that disk and force are compared. */
enum disk { DISK_SAME, DISK_OTHER, DISK_WRONG };

static enum disk
disk_of(const struct op *o)
{
	if (*o->why)
		return DISK_WRONG;
	return o->p->force.number && !memcmp(o->about.digest, o->p->force.about.digest, STATE_DIGEST) ?
	    DISK_SAME : DISK_OTHER;
}

bool
other_point(const struct parent *p)
{
	return *p->o->point && p->force.number && strcmp(p->o->point, p->force.about.point) != 0;
}

static uint64_t
left_of(const struct parent *p)
{
	uint64_t now = now_us(CLOCK_BOOTTIME);

	return now < p->pending.boottime ? (p->pending.boottime - now + 999999) / 1000000 : 0;
}

/* To be read, not reckoned with: 3 days, not 259,207 s. */
static const char *
rough_span(uint64_t s, char out[32])
{
	static const uint64_t of[] = {86400, 3600, 60};

	for (size_t i = 0; i < sizeof of / sizeof of[0]; i++)
		if (s >= 2 * of[i])
			return units_span(s - s % of[i], out);
	return units_span(s, out);
}

static const char *
drift_word(const struct parent *p, char out[200])
{
	char when[32];

	if (p->n.drift == 0 && p->n.lost == 0)
		return "none since the agent was started";
	when_text(p->report[p->nreport % KEPT_REPORTS].when, when);
	snprintf(out, 200, "%" PRIu64 " change%s by others, healed %" PRIu64 " time%s, failed %" PRIu64 " time%s; the last "
	    "%s: mailreevectl drift", p->n.drift + p->n.lost, p->n.drift + p->n.lost == 1 ? "" : "s", p->n.heals,
	    p->n.heals == 1 ? "" : "s", p->n.heal_failures, p->n.heal_failures == 1 ? "" : "s", when);
	return out;
}

static void
rules_line(struct op *o)
{
	const struct apply_checked *c = &o->checked;

	if (c->err == ENOENT && !o->p->force.number) {
		op_out(o, "kernel       no rules of ours\n");
		return;
	}
	if (c->err) {
		op_out(o, "kernel       THE RULES CANNOT BE LOOKED AT: %s\n", o->said);
		return;
	}
	op_out(o, "kernel       generation %u, %s%s%s; owner %s, persist %s\n", c->gen,
	    !o->p->force.number ? "no rules of ours" : c->in_force ? "rules in force" :
	    "RULES ARE NOT WHAT THEY SHOULD BE", *o->said ? ": " : "", o->said, c->owner ? "yes" : "no",
	    c->persist ? "yes" : "no");
	for (char *s = o->features; *s; ) {
		size_t n = strcspn(s, "\n");

		op_out(o, "             %.*s\n", (int)n, s);
		s += n + (s[n] == '\n');
	}
}

static void
in_words(struct op *o)
{
	struct parent *p = o->p;
	const struct state_about *a = &p->force.about;
	char hex[17], when[32], room[200], span[32];

	if (p->trouble[0])
		op_out(o, "TROUBLE      %s\n", p->trouble);
	if (p->force.number && a->observe)
		op_out(o, "OBSERVE      MODE OBSERVE: NOTHING IS REFUSED, only counted and logged\n");
	if (p->force.number) {
		when_text(a->when, when);
		op_out(o, "in force     generation %u, %s at %s, digest %s\n", p->force.number, a->policy, a->point,
		    hex_of(a->digest, hex));
		op_out(o, "             since %s, %s by uid %u (pid %u)\n", when, a->how, a->uid, a->pid);
	} else {
		op_out(o, "in force     NOTHING\n");
	}
	if (other_point(p))
		op_out(o, "POINT        started for %s, but what is in force is for %s: mailreevectl apply\n", p->o->point,
		    a->point);
	switch (disk_of(o)) {
	case DISK_SAME:
		op_out(o, "on disk      %s, the same\n", p->o->policy);
		break;
	case DISK_OTHER:
		op_out(o, "on disk      %s, digest %s, IS NOT WHAT IS IN FORCE: mailreevectl plan\n",
		    p->o->policy, hex_of(o->about.digest, hex));
		break;
	case DISK_WRONG:
		op_out(o, "on disk      %s DOES NOT COMPILE: %s\n", p->o->policy, o->why);
		break;
	}
	if (p->waiting)
		op_out(o, "confirm      unless generation %u is confirmed, %s in force again in %s: mailreevectl "
		    "confirm\n", p->pending.now, generation_text(p->pending.previous, room), units_span(left_of(p), span));
	if (p->changing)
		op_out(o, "at work      %s, asked by uid %u (pid %u) %" PRIu64 " s ago\n",
		    p->changing->row->name, p->changing->uid, p->changing->pid,
		    (now_us(CLOCK_MONOTONIC) - p->changing->began) / 1000000);
	if (p->paused_until > now_us(CLOCK_REALTIME)) {
		when_text(p->paused_until, when);
		op_out(o, "PAUSED       changes by others are not healed until %s\n", when);
	}
	rules_line(o);
	if (p->note[0])
		op_out(o, "             %s\n", p->note);
	op_out(o, "drift        %s\n", drift_word(p, room));
	op_out(o, "foreign      ");
	if (p->foreign && p->foreign_differences)
		op_out(o, "OTHER TABLES CHANGE WHAT THE POLICY SAYS, %u difference%s: mailreevectl drift\n",
		    p->foreign_differences, p->foreign_differences == 1 ? "" : "s");
	if (p->foreign && p->foreign_unknown)
		op_out(o, "%swhat other tables do to %u region%s of packets cannot be known: mailreevectl drift\n",
		    p->foreign_differences ? "             " : "", p->foreign_unknown, p->foreign_unknown == 1 ? "" : "s");
	if (!p->foreign)
		op_out(o, "other tables change nothing of it\n");
	op_out(o, "attempts     %" PRIu64 " packet%s refused and told%s\n", report_packets(p),
	    report_packets(p) == 1 ? "" : "s",
	    p->attempts.chan < 0 ? "; THE ROLE ATTEMPTS HAS ENDED and is started again" : "");
	if (p->rules.deaths)
		op_out(o, "             the role apply was started again %" PRIu64 " time%s\n", p->rules.deaths -
		    (p->apply.chan < 0), p->rules.deaths - (p->apply.chan < 0) == 1 ? "" : "s");
	if (p->watch.deaths)
		op_out(o, "             the role attempts was started again %" PRIu64 " time%s; the last because %s\n",
		    p->watch.deaths, p->watch.deaths == 1 ? "" : "s", *p->watch.why ? p->watch.why : "it ended");
	mail_words(o);
	for (uint32_t i = 0; i < p->nblock; i++) {
		when_text(block_until(&p->block[i]), when);
		op_out(o, "blocked      %s until %s\n", p->block[i].address, when);
	}
	if (p->blocks_lost)
		op_out(o, "             the list of blocked addresses was damaged: others may be blocked still, until "
		    "their time or `mailreevectl unblock ADDRESS`\n");
	if (p->compile_error[0])
		op_out(o, "last error   %s\n", p->compile_error);
	op_out(o, "agent        mailreeved %s, up %s\n", p->o->version,
	    rough_span((now_us(CLOCK_MONOTONIC) - p->started) / 1000000, span));
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void
put_text(struct buf *b, const char *key, const char *value)
{
	buf_printf(b, ",\"%s\":", key);
	buf_json(b, value ? value : "");
}

static void
put_number(struct buf *b, const char *key, uint64_t x)
{
	buf_printf(b, ",\"%s\":%" PRIu64, key, x);
}

static void
put_bool(struct buf *b, const char *key, bool x)
{
	buf_printf(b, ",\"%s\":%s", key, x ? "true" : "false");
}

static void
as_json(struct op *o)
{
	static const char *const disk_word[] = {"same", "other", "wrong"};
	struct parent *p = o->p;
	const struct state_about *a = &p->force.about;
	struct buf b = BUF_INIT(1 << 20);
	char hex[17], when[32];

	buf_str(&b, "{\"version\":");
	buf_json(&b, p->o->version);
	put_bool(&b, "ready", p->ready);
	put_text(&b, "trouble", p->trouble);
	put_number(&b, "generation", p->force.number);
	put_text(&b, "digest", p->force.number ? hex_of(a->digest, hex) : "");
	put_text(&b, "policy", p->force.number ? a->policy : "");
	put_text(&b, "point", p->force.number ? a->point : "");
	put_bool(&b, "observe", p->force.number && a->observe);
	when_text(a->when, when);
	put_text(&b, "since", p->force.number ? when : "");
	put_text(&b, "how", p->force.number ? a->how : "");
	put_text(&b, "file", p->o->policy);
	put_text(&b, "on_disk", disk_word[disk_of(o)]);
	put_text(&b, "on_disk_digest", disk_of(o) == DISK_WRONG ? "" : hex_of(o->about.digest, hex));
	put_text(&b, "on_disk_error", o->why);
	put_bool(&b, "pending", p->waiting);
	if (p->waiting) {
		put_number(&b, "pending_generation", p->pending.now);
		put_number(&b, "pending_previous", p->pending.previous);
		put_number(&b, "pending_seconds", left_of(p));
	}
	put_text(&b, "at_work", p->changing ? p->changing->row->name : "");
	put_bool(&b, "paused", p->paused_until > now_us(CLOCK_REALTIME));
	put_number(&b, "kernel_error", o->checked.err);
	put_number(&b, "kernel_generation", o->checked.gen);
	put_bool(&b, "in_force", !o->checked.err && o->checked.in_force && p->force.number);
	put_text(&b, "kernel_text", o->said);
	put_bool(&b, "owner", o->checked.owner);
	put_bool(&b, "persist", o->checked.persist);
	put_text(&b, "features", o->features);
	put_number(&b, "drift", p->n.drift);
	put_number(&b, "heals", p->n.heals);
	put_number(&b, "heal_failures", p->n.heal_failures);
	put_number(&b, "foreign_differences", p->foreign ? p->foreign_differences : 0);
	put_number(&b, "foreign_unknown", p->foreign ? p->foreign_unknown : 0);
	put_number(&b, "attempts", report_packets(p));
	put_bool(&b, "attempts_up", p->attempts.chan >= 0);
	put_number(&b, "attempts_restarts", p->watch.deaths);
	put_bool(&b, "apply_up", p->apply.chan >= 0);
	put_number(&b, "apply_deaths", p->rules.deaths);
	put_number(&b, "reverts", p->n.reverts);
	mail_json(p, &b);
	put_text(&b, "compile_error", p->compile_error);
	buf_str(&b, ",\"blocked\":[");
	for (uint32_t i = 0; i < p->nblock; i++) {
		when_text(block_until(&p->block[i]), when);
		buf_printf(&b, "%s{\"address\":", i ? "," : "");
		buf_json(&b, p->block[i].address);
		put_text(&b, "until", when);
		buf_chr(&b, '}');
	}
	buf_str(&b, "]}\n");
	if (!b.err)
		op_text(o, b.p, b.n);
	buf_free(&b);
}

static void
told(void *arg)
{
	struct op *o = arg;
	struct parent *p = o->p;
	bool good = !p->trouble[0] && p->force.number && !o->checked.err && o->checked.in_force &&
	    !(p->foreign && p->foreign_differences) && mail_well(p) && disk_of(o) == DISK_SAME && !other_point(p) &&
	    p->paused_until <= now_us(CLOCK_REALTIME) && p->attempts.chan >= 0 && !p->blocks_lost;

	if (o->flags & CTL_JSON)
		as_json(o);
	else
		in_words(o);
	op_end(o, good ? 0 : 1);
}

static void
status_mail(struct op *o)
{
	mail_numbers(o->p, told, o);
}

static void
status_check(struct op *o)
{
	op_check(o, status_mail);
}

void
run_status(struct op *o)
{
	o->soft = true;
	op_compile(o, status_check);
}
