#include "look/records.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/units.h"
#include "mail/mail.h"

#define ROWS(table) (table), sizeof(table) / sizeof *(table)

static struct records_fact
plain(const char *value, struct text_span at)
{
	return (struct records_fact){.value = value, .at = at};
}

static struct records_fact
ranked(const char *value, struct text_span at, uint64_t loose)
{
	return (struct records_fact){value, at, RECORDS_RANKED, loose};
}

/* A number that is not said when it is 0: what we take then is ours to choose, so
 * it is ordered against another number alone. */
static struct records_fact
number(struct arena *m, uint64_t n, struct text_span at)
{
	if (!n)
		return plain(NULL, at);
	return ranked(arena_printf(m, "%" PRIu64, n), at, n);
}

/* A list as one value, in order of the alphabet. */
static int
by_string(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static struct records_fact
joined(struct arena *m, const char *const *v, size_t n, struct text_span at)
{
	const char **w = arena_array(m, n, const char *);
	const char *s = NULL;

	for (size_t i = 0; i < n; i++)
		w[i] = v[i];
	if (n)
		qsort(w, n, sizeof *w, by_string);
	for (size_t i = 0; i < n; i++)
		s = s ? arena_printf(m, "%s, %s", s, w[i]) : w[i];
	return plain(s, at);
}

/* The parameters of a row's function, with x as the thing. */
#define OF(name, type) \
	static struct records_fact \
	name(struct arena *m, const struct policy *p, const void *thing) \
	{ \
		const struct type *x = thing; \
\
		(void)m; \
		(void)p;

/* ---- relays ---- */

OF(relay_class, policy_relay)
	return ranked(policy_class_word(x->class), x->meta.at, x->class == POLICY_CLASS_ANY);
}

OF(relay_host, policy_relay)
	return plain(x->host, x->meta.at);
}

OF(relay_tls_minimum, policy_relay)
	if (!x->tls_minimum)
		return plain(NULL, x->meta.at);
	return ranked(arena_printf(m, "%u.%u", x->tls_minimum / 10, x->tls_minimum % 10),
	    x->meta.at, 100 - x->tls_minimum);
}

OF(relay_ca, policy_relay)
	return plain(x->ca, x->meta.at);
}

OF(relay_auth, policy_relay)
	return ranked(policy_auth_word(x->auth), x->meta.at, x->auth == POLICY_AUTH_NONE);
}

OF(relay_credential, policy_relay)
	return plain(x->credential, x->meta.at);
}

OF(relay_stored, policy_relay)
	return ranked(x->stored_credentials ? "allowed" : "forbidden", x->meta.at,
	    x->stored_credentials);
}

OF(relay_size, policy_relay)
	char size[32];
	/* The largest message that passes: "below 5001 bytes" is "up to 5 kB". */
	uint64_t largest = !x->size.set ? UINT64_MAX :
	    x->size.strict && x->size.bytes ? x->size.bytes - 1 : x->size.bytes;

	return (struct records_fact){
		.value = x->size.set ? arena_printf(m, "%s %s", x->size.strict ? "below" : "up to",
		    units_size(x->size.bytes, size)) : NULL,
		.at = x->size.at,
		.rank = RECORDS_EXACT,
		.loose = largest,
	};
}

OF(relay_senders, policy_relay)
	return ranked(x->senders_registered ? "registered" : "any", x->meta.at,
	    !x->senders_registered);
}

OF(relay_registration, policy_relay)
	return ranked(x->registration ? "required" : "none", x->meta.at, !x->registration);
}

OF(relay_connections, policy_relay)
	return number(m, x->most_connections, x->meta.at);
}

OF(relay_messages, policy_relay)
	return number(m, x->messages_per_connection, x->meta.at);
}

OF(relay_age, policy_relay)
	char time[32];

	if (!x->connection_seconds)
		return plain(NULL, x->meta.at);
	return ranked(arena_str(m, units_time(x->connection_seconds, time)), x->meta.at,
	    x->connection_seconds);
}

OF(relay_reason, policy_relay)
	return plain(x->host_reason, x->meta.at);
}

OF(relay_un_encoded, policy_relay)
	char size[32];

	return plain(x->advertised_raw ?
	    arena_printf(m, "up to %s", units_size(x->advertised_raw, size)) : NULL, x->size.at);
}

OF(relay_for, policy_relay)
	return joined(m, x->for_class, x->nfor_class, x->meta.at);
}

static const struct records_row relay_head[] = {
	{"class", LOOK_MESSAGES, relay_class},
	{"host", LOOK_MESSAGES, relay_host},
}, relay_row[] = {
	{"tls minimum", LOOK_MESSAGES, relay_tls_minimum},
	{"tls ca", LOOK_MESSAGES, relay_ca},
	{"auth", LOOK_MESSAGES, relay_auth},
	{"credential", LOOK_MESSAGES, relay_credential},
	{"stored-credentials", LOOK_MESSAGES, relay_stored},
	{"message-size", LOOK_MESSAGES, relay_size},
	{"senders", LOOK_MESSAGES, relay_senders},
	{"registration", LOOK_MESSAGES, relay_registration},
	{"connections at-most", LOOK_MESSAGES, relay_connections},
	{"connections messages", LOOK_MESSAGES, relay_messages},
	{"connections age", LOOK_MESSAGES, relay_age},
}, relay_about[] = {
	{"host-reason", LOOK_METADATA, relay_reason},
	{"un-encoded", LOOK_METADATA, relay_un_encoded},
	{"for", LOOK_METADATA, relay_for},
};

/* Weaker TLS is looser; the two ways to have it are alike. */
static unsigned
tls_loose(enum policy_tls t)
{
	switch (t) {
	case POLICY_TLS_NONE:
	case POLICY_TLS_FORBIDDEN:
		return 1;
	case POLICY_TLS_STARTTLS:
	case POLICY_TLS_IMPLICIT:
		return 0;
	}
	return 0;
}

/* What the relay's endpoints on one port are, in order; ranked by the weakest. */
static struct records_fact
endpoint_fact(struct arena *m, const struct policy_relay *x, uint16_t port)
{
	struct records_fact f = {.at = TEXT_NO_SPAN, .rank = RECORDS_RANKED};

	for (size_t i = 0; x && i < x->nendpoint; i++) {
		const struct policy_endpoint *e = &x->endpoint[i];

		if (e->port != port)
			continue;
		if (!f.value)
			f.at = e->at;
		f.value = f.value ? arena_printf(m, "%s, %s", f.value, policy_tls_word(e->tls)) :
		    policy_tls_word(e->tls);
		f.loose |= tls_loose(e->tls);
	}
	return f;
}

/* The ports that both relays have, in the order of x. */
static struct records_fact
endpoint_order(struct arena *m, const struct policy_relay *x, const struct policy_relay *other)
{
	struct records_fact f = {.at = TEXT_NO_SPAN};

	for (size_t i = 0; i < x->nendpoint; i++) {
		const struct policy_endpoint *e = &x->endpoint[i];
		bool seen = false;

		for (size_t k = 0; k < i; k++)
			seen |= x->endpoint[k].port == e->port;
		if (seen || !endpoint_fact(m, other, e->port).value)
			continue;
		if (!f.value)
			f.at = e->at;
		f.value = f.value ? arena_printf(m, "%s, %u", f.value, e->port) :
		    arena_printf(m, "%u", e->port);
	}
	return f;
}

/* The lowest port of an endpoint from `port` on; past all ports: none. */
static uint32_t
endpoint_next(const struct policy_relay *x, uint32_t port)
{
	uint32_t best = UINT16_MAX + 1;

	for (size_t i = 0; x && i < x->nendpoint; i++)
		if (x->endpoint[i].port >= port && x->endpoint[i].port < best)
			best = x->endpoint[i].port;
	return best;
}

static void
relay_endpoints(struct records *r, const struct policy_relay *x, const struct policy_relay *y)
{
	for (uint32_t port = 0;; port++) {
		struct records_fact was, now;
		struct look_change *c;
		uint32_t a = endpoint_next(x, port), b = endpoint_next(y, port);

		if ((port = a < b ? a : b) > UINT16_MAX)
			break;
		was = endpoint_fact(r->m, x, (uint16_t)port);
		now = endpoint_fact(r->m, y, (uint16_t)port);
		if (was.value && now.value && !strcmp(was.value, now.value))
			continue;
		c = records_put(r, LOOK_MESSAGES, arena_printf(r->m, "endpoint %u", port), was, now);
		if (!was.value || !now.value) {
			c->widens = r->whole && now.value;
			c->narrows = r->whole && was.value;
		}
	}
	if (x && y) {
		struct records_fact was = endpoint_order(r->m, x, y), now = endpoint_order(r->m, y, x);

		if (was.value && now.value && strcmp(was.value, now.value))
			records_put(r, LOOK_MESSAGES, "endpoint order", was, now);
	}
}

/* Whether a statement of some point opens the relay's ranges: then the
 * difference of packets tells what changes there. */
static bool
is_used(const struct policy *p, const struct policy_relay *x)
{
	for (size_t i = 0; x && i < p->nstmt; i++)
		if (p->stmt[i]->relay == x)
			return true;
	return false;
}

static bool
has_ranges(const struct policy_relay *x)
{
	return x && (x->ranges.any || x->ranges.set.n4 || x->ranges.set.n6);
}

static struct records_fact
relay_ports(struct arena *m, const struct policy_relay *x)
{
	struct records_fact f = {.at = TEXT_NO_SPAN};

	if (!x)
		return f;
	f.at = x->meta.at;
	if (x->ports_all)
		f.value = "all";
	for (size_t i = 0; !x->ports_all && i < x->ports.n; i++) {
		const struct port_range *v = &x->ports.v[i];

		f.value = arena_printf(m, v->lo == v->hi ? "%s%s%u" : "%s%s%u-%u",
		    f.value ? f.value : "", f.value ? ", " : "", v->lo, v->hi);
	}
	return f;
}

/* A list in which an empty one stands for everything. */
static void
open_list(struct records *r, const char *what, const char *const *x, size_t nx, bool has_x,
    const char *const *y, size_t ny, bool has_y, struct text_span x_at, struct text_span y_at)
{
	struct records_set a = {0}, b = {0};

	records_strings(r, &a, x, nx, x_at);
	records_strings(r, &b, y, ny, y_at);
	if (has_x && !nx)
		records_elem(r, &a, "any", x_at, NULL)->all = true;
	if (has_y && !ny)
		records_elem(r, &b, "any", y_at, NULL)->all = true;
	/* That a new thing restricts nothing is not worth a line. */
	if (!(has_x && has_y) && !nx && !ny)
		return;
	records_sets(r, LOOK_MESSAGES, what, RECORDS_WIDENS, NULL, &a, &b);
}

static void
relay_patterns(struct records *r, const struct policy_relay *x, const struct policy_relay *y)
{
	struct records_set a = {0}, b = {0}, c = {0}, d = {0};

	if (x)
		records_patterns(r, &a, &x->recipients, true, x->meta.at);
	if (y)
		records_patterns(r, &b, &y->recipients, true, y->meta.at);
	records_sets(r, LOOK_MESSAGES, "recipients", RECORDS_WIDENS, records_pattern_covers, &a, &b);
	/* AUTH for fewer is AUTH dropped for some; without AUTH there is none. */
	if (x && x->auth != POLICY_AUTH_NONE)
		records_patterns(r, &c, &x->auth_recipients, y && y->auth != POLICY_AUTH_NONE, x->meta.at);
	if (y && y->auth != POLICY_AUTH_NONE)
		records_patterns(r, &d, &y->auth_recipients, x && x->auth != POLICY_AUTH_NONE, y->meta.at);
	records_sets(r, LOOK_MESSAGES, "auth recipients", RECORDS_NARROWS, records_pattern_covers,
	    &c, &d);
}

void
records_relay(struct records *r, const struct policy_relay *x, const struct policy_relay *y)
{
	struct text_span xa = x ? x->meta.at : TEXT_NO_SPAN, ya = y ? y->meta.at : TEXT_NO_SPAN;

	records_rows(r, NULL, ROWS(relay_head), x, y);
	relay_endpoints(r, x, y);
	open_list(r, "tls ciphers", x ? x->cipher : NULL, x ? x->ncipher : 0, x,
	    y ? y->cipher : NULL, y ? y->ncipher : 0, y, xa, ya);
	open_list(r, "tls names", x ? x->pinned : NULL, x ? x->npinned : 0, x,
	    y ? y->pinned : NULL, y ? y->npinned : 0, y, xa, ya);
	records_rows(r, NULL, ROWS(relay_row), x, y);
	relay_patterns(r, x, y);
	records_limits(r, x ? &x->limits : NULL, y ? &y->limits : NULL);
	records_days(r, x ? &x->meta : NULL, y ? &y->meta : NULL);
	/* Without ranges on either side there is nothing that these would open. */
	if ((has_ranges(x) || has_ranges(y)) && !is_used(r->was, x) && !is_used(r->now, y)) {
		struct records_fact was = relay_ports(r->m, x), now = relay_ports(r->m, y);

		records_addresses(r, "ranges", x ? &x->ranges : NULL, y ? &y->ranges : NULL);
		records_addresses(r, "clients", x ? &x->clients : NULL, y ? &y->clients : NULL);
		if (!was.value || !now.value || strcmp(was.value, now.value)) {
			struct look_change *c = records_put(r, LOOK_MESSAGES, "ports", was, now);

			if (c && r->whole && was.value && now.value) {
				c->widens = port_set_covers(&y->ports, &x->ports);
				c->narrows = port_set_covers(&x->ports, &y->ports);
			}
		}
	}
	records_rows(r, NULL, ROWS(relay_about), x, y);
	records_meta(r, NULL, x ? &x->meta : NULL, y ? &y->meta : NULL);
}

/* ---- submission ---- */

OF(submission_mode, policy_submission)
	return plain(x->through ? "through" : "spool", x->at);
}

OF(submission_user, policy_submission)
	return plain(x->user, x->at);
}

OF(submission_unregistered, policy_submission)
	if (x->unregistered_refuse)
		return ranked("refuse", x->at, 0);
	return ranked(x->unregistered_via ?
	    arena_printf(m, "via %s", x->unregistered_via->meta.name) : "by route", x->at, 1);
}

OF(submission_unique, policy_submission)
	return ranked(x->unique_senders ? "true" : "false", x->at, !x->unique_senders);
}

OF(submission_resolvable, policy_submission)
	return ranked(x->sender_domain_resolvable ? "resolvable" : "any", x->at,
	    !x->sender_domain_resolvable);
}

static const struct records_row submission_row[] = {
	{"mode", LOOK_MESSAGES, submission_mode},
	{"user", LOOK_MESSAGES, submission_user},
	{"unregistered", LOOK_MESSAGES, submission_unregistered},
	{"unique-senders", LOOK_MESSAGES, submission_unique},
	{"sender-domain", LOOK_MESSAGES, submission_resolvable},
};

static bool
domain_covers(const void *big, const void *small)
{
	const char *b = big, *s = small;
	size_t n = strlen(s), k = strlen(b);

	return n >= k && !strcmp(s + n - k, b) && (n == k || s[n - k - 1] == '.');
}

static void
submission_strings(struct records *r, const char *what, enum records_sense sense,
    bool (*covers)(const void *, const void *), const struct policy_submission *x,
    const char *const *xv, size_t xn, const struct policy_submission *y,
    const char *const *yv, size_t yn)
{
	struct records_set a = {0}, b = {0};

	records_strings(r, &a, xv, xn, x ? x->at : TEXT_NO_SPAN);
	records_strings(r, &b, yv, yn, y ? y->at : TEXT_NO_SPAN);
	records_sets(r, LOOK_MESSAGES, what, sense, covers, &a, &b);
}

static void
listen_of(struct records *r, const struct policy_submission *x, struct records_set *out)
{
	for (size_t i = 0; x && i < x->nlisten; i++) {
		char text[46];

		addr_write(x->listen[i], text);
		records_elem(r, out, arena_str(r->m, text), x->at, NULL);
	}
}

void
records_submission(struct records *r, const struct policy_submission *x,
    const struct policy_submission *y)
{
	struct records_set a = {0}, b = {0};

	listen_of(r, x, &a);
	listen_of(r, y, &b);
	records_sets(r, LOOK_MESSAGES, "listen", RECORDS_WIDENS, NULL, &a, &b);
	records_rows(r, NULL, ROWS(submission_row), x, y);
	submission_strings(r, "mx-required", RECORDS_NARROWS, domain_covers,
	    x, x ? x->mx_required : NULL, x ? x->nmx_required : 0,
	    y, y ? y->mx_required : NULL, y ? y->nmx_required : 0);
	submission_strings(r, "blocked-types", RECORDS_NARROWS, NULL,
	    x, x ? x->blocked_types : NULL, x ? x->nblocked_types : 0,
	    y, y ? y->blocked_types : NULL, y ? y->nblocked_types : 0);
	submission_strings(r, "internal", RECORDS_SENSELESS, NULL,
	    x, x ? x->internal : NULL, x ? x->ninternal : 0,
	    y, y ? y->internal : NULL, y ? y->ninternal : 0);
	records_limits(r, x ? &x->limits : NULL, y ? &y->limits : NULL);
}

/* ---- applications ---- */

OF(application_state, policy_application)
	return ranked(policy_registration_word(x->state), x->meta.at, x->state == POLICY_REGISTERED);
}

OF(application_kind, policy_application)
	return plain(x->kind ? x->kind->meta.name : NULL, x->meta.at);
}

OF(application_user, policy_application)
	return plain(x->user, x->meta.at);
}

OF(application_unit, policy_application)
	return plain(x->unit, x->meta.at);
}

OF(application_via, policy_application)
	return plain(x->via ? x->via->meta.name : NULL, x->via ? x->via_at : x->meta.at);
}

OF(application_rewrite, policy_application)
	if (x->rewrite.kind == POLICY_PATTERN_ANY)
		return plain(NULL, x->meta.at);
	return plain(mail_pattern_text(m, &x->rewrite), x->rewrite.at);
}

OF(application_owners, policy_application)
	return joined(m, x->owners, x->nowners, x->meta.at);
}

OF(application_rate, policy_application)
	if (!x->declared_rate)
		return plain(NULL, x->meta.at);
	return plain(arena_printf(m, "%" PRIu64, x->declared_rate), x->meta.at);
}

#define APPLICATION_TEXT(field) \
	OF(application_##field, policy_application) \
		return plain(x->field, x->meta.at); \
	}

APPLICATION_TEXT(credential)
APPLICATION_TEXT(arrangement)
APPLICATION_TEXT(group)
APPLICATION_TEXT(contract)
APPLICATION_TEXT(purpose)
APPLICATION_TEXT(audience)
APPLICATION_TEXT(account_type)
APPLICATION_TEXT(registrant)

static const struct records_row application_row[] = {
	{"state", LOOK_MESSAGES, application_state},
	{"kind", LOOK_MESSAGES, application_kind},
	{"user", LOOK_MESSAGES, application_user},
	{"unit", LOOK_MESSAGES, application_unit},
	{"via", LOOK_MESSAGES, application_via},
	{"credential", LOOK_MESSAGES, application_credential},
	{"rewrite", LOOK_MESSAGES, application_rewrite},
}, application_about[] = {
	{"owners", LOOK_METADATA, application_owners},
	{"rate", LOOK_METADATA, application_rate},
	{"arrangement", LOOK_METADATA, application_arrangement},
	{"group", LOOK_METADATA, application_group},
	{"contract", LOOK_METADATA, application_contract},
	{"purpose", LOOK_METADATA, application_purpose},
	{"audience", LOOK_METADATA, application_audience},
	{"account-type", LOOK_METADATA, application_account_type},
	{"registrant", LOOK_METADATA, application_registrant},
};

static bool
pair_covers(const void *big, const void *small)
{
	const struct policy_sender_pair *b = big, *s = small;

	return records_pattern_covers(&b->envelope, &s->envelope) &&
	    records_pattern_covers(&b->header, &s->header);
}

static void
senders_of(struct records *r, const struct policy_application *x, struct records_set *out)
{
	for (size_t i = 0; x && i < x->nsender; i++) {
		const struct policy_sender_pair *s = &x->sender[i];
		const char *envelope = mail_pattern_text(r->m, &s->envelope);
		const char *header = mail_pattern_text(r->m, &s->header);

		records_elem(r, out, strcmp(envelope, header) ?
		    arena_printf(r->m, "envelope %s, header %s", envelope, header) : envelope,
		    s->at, s);
	}
	/* No list restricts nothing. */
	if (x && !x->nsender && r->whole)
		records_elem(r, out, "any", x->meta.at, NULL)->all = true;
}

/* All networks of the locations of that name as one place, so that it does not
 * matter how they are spread over entries. */
static void
location_cidrs(struct records *r, const struct policy_application *x, const char *name,
    struct policy_where *out)
{
	*out = (struct policy_where){.at = TEXT_NO_SPAN};
	for (size_t i = 0; x && i < x->nlocation; i++) {
		const struct policy_location *l = &x->location[i];
		struct addr_set all;

		if (l->identity != POLICY_ID_CIDR || strcmp(l->meta.name, name))
			continue;
		if (out->at.file == TEXT_NOWHERE)
			out->at = l->meta.at;
		addr_set_union(r->m, &all, &out->set, &l->cidr);
		out->set = all;
	}
}

static void
location_names(struct records *r, const struct policy_application *x, const char *name,
    struct records_set *out)
{
	for (size_t i = 0; x && i < x->nlocation; i++) {
		const struct policy_location *l = &x->location[i];

		if (l->identity == POLICY_ID_CIDR || strcmp(l->meta.name, name))
			continue;
		records_elem(r, out, arena_printf(r->m, "%s %s",
		    l->identity == POLICY_ID_HOSTNAME ? "hostname" : "certificate", l->value),
		    l->meta.at, NULL);
	}
}

OF(location_registered, policy_location)
	return plain(x->dns_registered ? "true" : NULL, x->meta.at);
}

static const struct records_row location_row[] = {
	{"dns-registered", LOOK_METADATA, location_registered},
};

static const struct policy_location *
location_find(const struct policy_application *x, const char *name)
{
	for (size_t i = 0; x && i < x->nlocation; i++)
		if (!strcmp(x->location[i].meta.name, name))
			return &x->location[i];
	return NULL;
}

static void
one_location(struct records *r, const struct policy_application *x,
    const struct policy_application *y, const char *name)
{
	const struct policy_location *l = location_find(x, name), *k = location_find(y, name);
	const char *what = arena_printf(r->m, "location %s", name);
	struct records_set a = {0}, b = {0};
	struct policy_where was, now;

	location_cidrs(r, x, name, &was);
	location_cidrs(r, y, name, &now);
	records_addresses(r, what, &was, &now);
	location_names(r, x, name, &a);
	location_names(r, y, name, &b);
	records_sets(r, LOOK_MESSAGES, what, RECORDS_WIDENS, NULL, &a, &b);
	records_rows(r, what, ROWS(location_row), l, k);
	records_meta(r, what, l ? &l->meta : NULL, k ? &k->meta : NULL);
}

static void
locations(struct records *r, const struct policy_application *x,
    const struct policy_application *y)
{
	size_t n = x ? x->nlocation : 0, k = y ? y->nlocation : 0, all = 0;
	const char **name = arena_array(r->m, n + k, const char *);

	for (size_t i = 0; i < n; i++)
		name[all++] = x->location[i].meta.name;
	for (size_t i = 0; i < k; i++)
		name[all++] = y->location[i].meta.name;
	if (all)
		qsort(name, all, sizeof *name, by_string);
	for (size_t i = 0; i < all; i++)
		if (!i || strcmp(name[i], name[i - 1]))
			one_location(r, x, y, name[i]);
}

void
records_application(struct records *r, const struct policy_application *x,
    const struct policy_application *y)
{
	struct records_set a = {0}, b = {0};

	records_rows(r, NULL, ROWS(application_row), x, y);
	senders_of(r, x, &a);
	senders_of(r, y, &b);
	records_sets(r, LOOK_MESSAGES, "senders", RECORDS_WIDENS, pair_covers, &a, &b);
	records_limits(r, x ? &x->limits : NULL, y ? &y->limits : NULL);
	locations(r, x, y);
	records_days(r, x ? &x->meta : NULL, y ? &y->meta : NULL);
	records_rows(r, NULL, ROWS(application_about), x, y);
	records_meta(r, NULL, x ? &x->meta : NULL, y ? &y->meta : NULL);
}

/* ---- kinds ---- */

OF(kind_class, policy_rate)
	return ranked(policy_class_word(x->class), x->meta.at, x->class == POLICY_CLASS_ANY);
}

static const struct records_row kind_row[] = {
	{"class", LOOK_MESSAGES, kind_class},
};

void
records_kind(struct records *r, const struct policy_rate *x, const struct policy_rate *y)
{
	records_rows(r, NULL, ROWS(kind_row), x, y);
	records_limits(r, x ? &x->limits : NULL, y ? &y->limits : NULL);
	records_meta(r, NULL, x ? &x->meta : NULL, y ? &y->meta : NULL);
}
