/* The forwarder's part: kinds, routes, applications. */
#include <string.h>

#include "base/cgroup.h"
#include "policy/load.h"
#include "policy/read.h"

static const char *
text(const struct shape_text *t)
{
	return t->ok ? t->s : NULL;
}

/* ---- kinds ------------------------------------------------------------------- */

void
kinds_make(struct load *l)
{
	for (size_t i = 0; i < l->nfile; i++) {
		const struct shape_list *list = &l->file[i]->raw.kinds;

		for (size_t k = 0; k < list->n; k++) {
			const struct raw_kind *raw = SHAPE_AT(*list, const struct raw_kind, k);
			struct policy_rate *r = arena_of(l->a, struct policy_rate);

			if (!raw->in.name)
				continue;
			meta_read(l, &raw->meta, raw->in.key->at, &r->meta);
			r->meta.name = raw->in.name;
			r->class = (enum policy_class)raw->class.n;
			mail_limits_read(l, &raw->limits, POLICY_EACH_APPLICATION, &r->limits);
			if (names_add(l, &l->kinds, raw->in.name, raw->in.key->at, r))
				ARENA_PUSH(l->a, l->p->rate, l->p->nrate, l->p->caprate) = r;
		}
	}
}

/* ---- applications --------------------------------------------------------------- */

static void
senders_read(struct load *l, const struct shape_list *raw, struct policy_application *x)
{
	for (size_t i = 0; i < raw->n; i++) {
		const struct raw_sender *s = SHAPE_AT(*raw, const struct raw_sender, i);
		struct policy_sender_pair pair;

		if (!s->envelope.ok)
			continue;
		pair.at = s->in.node->at;
		pair.envelope = read_pattern(l->a, s->envelope.s, s->envelope.n, s->envelope.node->at);
		pair.header = pair.envelope;
		if (s->header.ok)
			pair.header = read_pattern(l->a, s->header.s, s->header.n, s->header.node->at);
		if (pair.header.kind == POLICY_PATTERN_NULL) {
			diag_hint(l->d, diag_add(l->d, DIAG_E0455, pair.header.at,
			    "the From field of a message is never empty"),
			    s->header.ok ? "write the address that stands in the From field" :
			    "write `header:` beside it, with the address that stands in the From field");
			continue;
		}
		ARENA_PUSH(l->a, x->sender, x->nsender, x->capsender) = pair;
	}
}

/* A place is known by exactly one of an address, a name, a certificate. */
static void
location_read(struct load *l, const struct raw_location *raw, struct policy_application *x)
{
	struct policy_location loc = {0};
	struct policy_where w;
	size_t n = !!raw->cidr.items.node + !!raw->hostname.node + !!raw->certificate.node;

	if (!raw->in.name || raw->in.node->kind != DOC_MAP)
		return;
	meta_read(l, &raw->meta, raw->in.key->at, &loc.meta);
	loc.meta.name = raw->in.name;
	if (!n && raw->in.unknown)
		return;
	if (n != 1) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0454, raw->in.key->at, n ?
		    "the location `%s` is known by more than one thing" :
		    "the location `%s` is known by nothing", raw->in.name),
		    "write exactly one of `cidr`, `hostname`, `certificate`; another location for "
		    "another one (COR-11)");
		return;
	}
	if (raw->cidr.items.node) {
		loc.identity = POLICY_ID_CIDR;
		if (!where_read(l, &raw->cidr, 0, &w, NULL))
			return;
		loc.cidr = w.set;
	} else {
		loc.identity = raw->hostname.node ? POLICY_ID_HOSTNAME : POLICY_ID_CERTIFICATE;
		loc.value = text(raw->hostname.node ? &raw->hostname : &raw->certificate);
		if (!loc.value)
			return;
		if (raw->hostname.node)
			loc.value = read_lower(l->a, loc.value, strlen(loc.value));
	}
	loc.dns_registered = raw->dns_registered.n;
	ARENA_PUSH(l->a, x->location, x->nlocation, x->caplocation) = loc;
}

static void
rewrite_read(struct load *l, const struct shape_text *raw, struct policy_application *x)
{
	if (!raw->ok)
		return;
	x->rewrite = read_pattern(l->a, raw->s, raw->n, raw->node->at);
	if (x->rewrite.kind == POLICY_PATTERN_ADDRESS)
		return;
	x->rewrite = (struct policy_pattern){.kind = POLICY_PATTERN_ANY};
	diag_hint(l->d, diag_add(l->d, DIAG_E0455, raw->node->at,
	    "`%s` is a pattern, and cannot stand as a sender", raw->s),
	    "write one address, which the application has registered");
}

/* A relay may know each application by a credential of its own (COL-33). */
static void
credential_read(struct load *l, const struct raw_application *raw, struct policy_application *x)
{
	x->credential = text(&raw->credential);
	if (!x->credential || (x->via && x->via->auth != POLICY_AUTH_NONE) ||
	    (raw->via.node && !x->via))
		return;
	diag_hint(l->d, diag_add(l->d, DIAG_E0462, raw->credential.node->at,
	    "the credential `%s` is for no relay", x->credential),
	    x->via ? "the relay `%s` wants no AUTH: write its `auth`, or remove the credential" :
	    "write `via: RELAY` too%s", x->via ? x->via->meta.name : ": routes may lead to several");
}

static void
application_fill(struct load *l, const struct raw_application *raw, struct policy_application *x)
{
	static const char *const registrant[] = {NULL, "owner", "administrator"};

	if (raw->kind.ok)
		x->kind = names_need(l, &l->kinds, raw->kind.s, raw->kind.node->at);
	x->user = text(&raw->runs_as.user);
	x->unit = text(&raw->runs_as.unit);
	if (x->unit)
		x->unit = cgroup_of_unit(l->a, x->unit);
	x->owners = meta_strings(l, &raw->owners, &x->nowners);
	senders_read(l, &raw->senders, x);
	x->via = relay_forward(l, &raw->via);
	x->via_at = raw->via.node ? raw->via.node->at : TEXT_NO_SPAN;
	credential_read(l, raw, x);
	mail_limits_read(l, &raw->limits, POLICY_EACH_APPLICATION, &x->limits);
	x->state = (enum policy_registration)raw->state.n;
	for (size_t i = 0; i < raw->locations.n; i++)
		location_read(l, SHAPE_AT(raw->locations, const struct raw_location, i), x);
	x->declared_rate = raw->rate.n;
	x->arrangement = text(&raw->arrangement);
	rewrite_read(l, &raw->rewrite, x);
	x->group = text(&raw->group);
	x->contract = text(&raw->contract);
	x->purpose = text(&raw->purpose);
	x->audience = text(&raw->audience);
	x->account_type = text(&raw->account_type);
	x->registrant = registrant[raw->registrant.n];
	if (!raw->via.node && !raw->in.unknown && !l->file[0]->raw.submission.routes.node)
		diag_hint(l->d, diag_add(l->d, DIAG_E0457, raw->in.key->at,
		    "no relay takes the mail of the application `%s`", x->meta.name),
		    "write `via: RELAY`, or `routes` in `submission`");
}

static void
applications_make(struct load *l, struct policy_submission *s, const struct shape_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct raw_application *raw = SHAPE_AT(*list, const struct raw_application, i);
		struct policy_application *x = arena_of(l->a, struct policy_application);

		if (!raw->in.name || raw->in.node->kind != DOC_MAP)
			continue;
		meta_read(l, &raw->meta, text_join(raw->in.key->at, raw->in.node->at), &x->meta);
		x->meta.name = raw->in.name;
		application_fill(l, raw, x);
		if (!names_add(l, &l->applications, raw->in.name, raw->in.key->at, x))
			continue;
		x->index = (uint32_t)s->napplication;
		ARENA_PUSH(l->a, s->application, s->napplication, s->capapplication) = x;
	}
}

/* ---- the forwarder -------------------------------------------------------------- */

static bool
is_loopback(struct addr x)
{
	return x.family == ADDR_V4 ? x.n >> 24 == 127 : x.n == 1;
}

/* Loopback only (COL-06); both families where nothing is said (COL-05). */
static void
listen_read(struct load *l, const struct shape_list *raw, struct policy_submission *s)
{
	s->listen = arena_array(l->a, raw->n + 2, struct addr);
	for (size_t i = 0; i < raw->n; i++) {
		const struct shape_text *t = SHAPE_AT(*raw, const struct shape_text, i);
		struct addr_prefix p;
		enum addr_wrong w;
		char fix[64];
		struct addr x;

		if (!t->ok)
			continue;
		w = addr_read(t->s, t->n, &x);
		if (w == ADDR_OK && is_loopback(x)) {
			s->listen[s->nlisten++] = x;
			continue;
		}
		if (w == ADDR_OK || w == ADDR_UNSPECIFIED || w == ADDR_ANY || w == ADDR_NAME) {
			diag_hint(l->d, diag_add(l->d, DIAG_E0452, t->node->at,
			    "the forwarder cannot listen at `%s`", t->s),
			    "it serves the programs of its own host: 127.0.0.1 and \"::1\"");
			continue;
		}
		fix[0] = 0;
		addr_prefix_read(t->s, t->n, &p, fix);
		address_wrong(l, w, t->s, t->n, fix, t->node->at);
	}
	if (raw->node)
		return;
	s->listen[s->nlisten++] = (struct addr){ADDR_V4, (u128)127 << 24 | 1};
	s->listen[s->nlisten++] = (struct addr){ADDR_V6, 1};
}

static void
unregistered_read(struct load *l, const struct raw_unregistered *raw, struct policy_submission *s)
{
	const struct policy_relay *r;

	s->unregistered_refuse = raw->word.n;
	if (raw->word.ok && !raw->word.n && !l->file[0]->raw.submission.routes.node)
		diag_hint(l->d, diag_add(l->d, DIAG_E0457, raw->word.node->at,
		    "there are no routes for what is unregistered"),
		    "write `routes`, or `unregistered: {via: RELAY}`");
	s->unregistered_via = r = relay_forward(l, &raw->via);
	if (!r || (!r->registration && !r->senders_registered))
		return;
	diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0456, raw->via.node->at,
	    "the relay `%s` takes mail of registered %s only", r->meta.name,
	    r->registration ? "applications" : "senders"), r->meta.at, "the relay"),
	    "write `unregistered: refuse`, or another relay");
}

void
submission_make(struct load *l)
{
	const struct raw_submission *raw = &l->file[0]->raw.submission;
	struct policy_submission *s = &l->p->submission;
	struct policy_meta meta;

	s->user = raw->user.ok ? raw->user.s : "mailreeve";
	s->at = TEXT_NO_SPAN;
	if (!raw->in.node || raw->in.node->kind != DOC_MAP)
		return;
	meta_read(l, &raw->meta, raw->in.node->at, &meta);
	s->present = true;
	s->at = raw->in.node->at;
	s->through = raw->mode.n;
	listen_read(l, &raw->listen, s);
	for (size_t i = 0; i < raw->routes.n; i++) {
		const struct raw_route *r = SHAPE_AT(raw->routes, const struct raw_route, i);
		struct policy_route x = {0};

		if (!r->in.node || r->in.node->kind != DOC_MAP)
			continue;
		meta_read(l, &r->meta, r->in.node->at, &x.meta);
		if (!x.meta.name)
			x.meta.name = arena_printf(l->a, "route-%zu", i + 1);
		patterns_read(l, &r->to, &x.to);
		x.via = relay_forward(l, &r->via);
		ARENA_PUSH(l->a, s->route, s->nroute, s->caproute) = x;
	}
	applications_make(l, s, &raw->applications);
	unregistered_read(l, &raw->unregistered, s);
	mail_limits_read(l, &raw->limits, POLICY_EACH_HOST, &s->limits);
	s->unique_senders = raw->unique_senders.n;
	s->sender_domain_resolvable = raw->checks.sender_domain.n;
	s->mx_required = meta_strings(l, &raw->checks.mx_required, &s->nmx_required);
	for (size_t i = 0; i < s->nmx_required; i++)
		s->mx_required[i] = read_lower(l->a, s->mx_required[i], strlen(s->mx_required[i]));
	s->blocked_types = meta_strings(l, &raw->checks.blocked_types, &s->nblocked_types);
	for (size_t i = 0; i < s->nblocked_types; i++)
		s->blocked_types[i] = read_lower(l->a, s->blocked_types[i], strlen(s->blocked_types[i]));
	s->internal = meta_strings(l, &raw->internal, &s->ninternal);
	for (size_t i = 0; i < s->ninternal; i++)
		s->internal[i] = read_lower(l->a, s->internal[i], strlen(s->internal[i]));
}
