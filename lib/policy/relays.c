/* Relays, and the limits of mail that many things bear. */
#include <string.h>

#include "policy/load.h"
#include "policy/read.h"

void
patterns_read(struct load *l, const struct shape_list *raw, struct policy_patterns *out)
{
	for (size_t i = 0; i < raw->n; i++) {
		const struct shape_text *t = SHAPE_AT(*raw, const struct shape_text, i);

		if (t->ok)
			ARENA_PUSH(l->a, out->v, out->n, out->cap) =
			    read_pattern(l->a, t->s, t->n, t->node->at);
	}
}

/* ---- limits of mail --------------------------------------------------------- */

/* Recipients that are not counted: `internal` is each internal domain and all
 * below it. */
static void
except_read(struct load *l, const struct shape_list *raw, struct policy_patterns *out)
{
	const struct shape_list *in = &l->file[0]->raw.submission.internal;

	for (size_t i = 0; i < raw->n; i++) {
		const struct shape_text *t = SHAPE_AT(*raw, const struct shape_text, i);

		if (!t->ok)
			continue;
		if (strcmp(t->s, "internal")) {
			ARENA_PUSH(l->a, out->v, out->n, out->cap) =
			    read_pattern(l->a, t->s, t->n, t->node->at);
			continue;
		}
		if (!in->node)
			diag_hint(l->d, diag_add(l->d, DIAG_E0459, t->node->at,
			    "`internal` means nothing: the policy names no internal domains"),
			    "write them down: `submission: {internal: [cam.ac.uk]}`");
		for (size_t k = 0; k < in->n; k++) {
			const struct shape_text *dom = SHAPE_AT(*in, const struct shape_text, k);
			struct policy_pattern p = {.at = t->node->at};

			if (!dom->ok)
				continue;
			p.domain = read_lower(l->a, dom->s, dom->n);
			p.kind = POLICY_PATTERN_DOMAIN;
			ARENA_PUSH(l->a, out->v, out->n, out->cap) = p;
			p.kind = POLICY_PATTERN_BELOW;
			ARENA_PUSH(l->a, out->v, out->n, out->cap) = p;
		}
	}
}

/* What is counted: exactly one of the four. */
static bool
limit_count(struct load *l, const struct raw_mail_limit *raw, struct policy_mail_limit *out)
{
	const struct {
		const struct shape_num *n;
		enum policy_count count;
	} given[] = {
		{&raw->messages, POLICY_COUNT_MESSAGES},
		{&raw->recipients, POLICY_COUNT_RECIPIENTS},
		{&raw->bytes, POLICY_COUNT_BYTES},
		{&raw->connections, POLICY_COUNT_CONNECTIONS},
	};
	size_t n = 0;
	bool ok = true;

	for (size_t i = 0; i < 4; i++) {
		if (!given[i].n->node)
			continue;
		ok &= given[i].n->ok;
		out->most = given[i].n->n;
		out->count = given[i].count;
		n++;
	}
	if (n == 1 || (!n && raw->in.unknown))
		return ok && n;
	diag_hint(l->d, diag_add(l->d, DIAG_E0450, raw->in.node->at,
	    n ? "the limit counts more than one thing" : "the limit counts nothing"),
	    "write one of `messages`, `recipients`, `bytes`, `connections`; "
	    "a second limit for a second count");
	return false;
}

static bool
limit_window(struct load *l, const struct raw_mail_limit *raw, enum policy_each each,
    struct policy_mail_limit *out)
{
	if (!strcmp(raw->per.s, "message") || !strcmp(raw->per.s, "connection")) {
		out->window = raw->per.s[0] == 'm' ? POLICY_PER_MESSAGE : POLICY_PER_CONNECTION;
		out->each = POLICY_EACH_ALL;
		if (raw->each.node) {
			diag_hint(l->d, diag_add(l->d, DIAG_E0451, raw->each.node->at,
			    "a limit per %s has no `each`", raw->per.s), "remove `each`");
			return false;
		}
		if (out->count == POLICY_COUNT_CONNECTIONS ||
		    (out->count == POLICY_COUNT_MESSAGES && out->window == POLICY_PER_MESSAGE)) {
			diag_hint(l->d, diag_add(l->d, DIAG_E0451, raw->per.node->at,
			    "%s per %s are not counted", out->count == POLICY_COUNT_CONNECTIONS ?
			    "connections" : "messages", raw->per.s),
			    "write a duration, as in `per: hour`");
			return false;
		}
		return true;
	}
	out->window = POLICY_PER_SECONDS;
	out->each = raw->each.ok ? (enum policy_each)raw->each.n : each;
	return shape_time_read(raw->per.s, raw->per.n, &out->seconds);
}

void
mail_limits_read(struct load *l, const struct shape_list *raw, enum policy_each each,
    struct policy_mail_limits *out)
{
	for (size_t i = 0; i < raw->n; i++) {
		const struct raw_mail_limit *r = SHAPE_AT(*raw, const struct raw_mail_limit, i);
		struct policy_mail_limit x = {0};

		if (!r->in.node)
			continue;
		meta_read(l, &r->meta, r->in.node->at, &x.meta);
		if (!limit_count(l, r, &x) || !r->per.ok || !limit_window(l, r, each, &x) ||
		    !r->over.ok)
			continue;
		x.over = (enum policy_over)r->over.n;
		except_read(l, &r->except, &x.except);
		if (!x.meta.name)
			x.meta.name = i ? arena_printf(l->a, "limit-%zu", i + 1) : "limit";
		ARENA_PUSH(l->a, out->v, out->n, out->cap) = x;
	}
}

/* ---- relays ------------------------------------------------------------------- */

static bool
said(const struct shape_text *t, const char *word)
{
	return t->ok && !strcmp(t->s, word);
}

/* TLS from the first byte has its own port, 465, and no other mail port has it. */
static bool
endpoint_check(struct load *l, const struct raw_endpoint *e)
{
	bool implicit = e->tls.n == POLICY_TLS_IMPLICIT;
	const char *hint;

	if (e->port.n == 465 && !implicit)
		hint = "port 465 is TLS from the first byte: write `tls: implicit`, or port 587";
	else if ((e->port.n == 587 || e->port.n == 25) && implicit)
		hint = "TLS from the first byte is on port 465; this port begins in clear: write "
		    "`tls: starttls`";
	else
		return true;
	diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0423, e->tls.node->at,
	    "`tls: %s` does not go with port %u", policy_tls_word((enum policy_tls)e->tls.n),
	    (unsigned)e->port.n), e->port.node->at, "the port"), "%s", hint);
	return false;
}

static bool
endpoints_read(struct load *l, const struct raw_relay *raw, struct policy_relay *r)
{
	bool ok = !raw->endpoints.node || raw->endpoints.ok;

	r->endpoint = arena_array(l->a, raw->endpoints.n, struct policy_endpoint);
	for (size_t i = 0; i < raw->endpoints.n; i++) {
		const struct raw_endpoint *e = SHAPE_AT(raw->endpoints, const struct raw_endpoint, i);

		if (!e->port.ok || !e->tls.ok)
			continue;
		ok &= endpoint_check(l, e);
		for (size_t k = 0; k < r->nendpoint; k++)
			if (r->endpoint[k].port == e->port.n) {
				diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0428, e->in.node->at,
				    "port %u is listed twice", (unsigned)e->port.n), r->endpoint[k].at,
				    "the first one is here"), "remove one of them");
				ok = false;
			}
		r->endpoint[r->nendpoint++] = (struct policy_endpoint){
			e->in.node->at, (uint16_t)e->port.n, (enum policy_tls)e->tls.n,
		};
	}
	return ok;
}

/* `all`, `endpoints` (what is meant when nothing is said), or a list. */
static bool
relay_ports(struct load *l, const struct raw_relay *raw, struct policy_relay *r)
{
	const struct shape_text *first = raw->ports.n ?
	    SHAPE_AT(raw->ports, const struct shape_text, 0) : NULL;
	struct policy_ports ports;

	for (size_t i = 0; i < raw->ports.n && raw->ports.n > 1; i++) {
		const struct shape_text *t = SHAPE_AT(raw->ports, const struct shape_text, i);

		if (said(t, "all") || said(t, "endpoints")) {
			diag_hint(l->d, diag_add(l->d, DIAG_E0408, t->node->at,
			    "`%s` stands beside other ports", t->s),
			    "`%s` stands alone: remove it, or the others", t->s);
			return false;
		}
	}
	if (raw->ports.node && !raw->ports.ok)
		return false;
	if (first && said(first, "all")) {
		r->ports_all = true;
		r->ports = port_set_all;
		return true;
	}
	if (first && !said(first, "endpoints")) {
		if (!ports_read(l, &raw->ports, &ports))
			return false;
		r->ports = ports.set;
		return true;
	}
	for (size_t i = 0; i < r->nendpoint; i++)
		port_set_add(l->a, &r->ports, r->endpoint[i].port, r->endpoint[i].port);
	port_set_finish(&r->ports);
	if (!raw->endpoints.node && raw->ranges.items.node && !raw->in.unknown) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0420,
		    first ? first->node->at : raw->in.key->at,
		    "the relay `%s` opens the ports of its endpoints, and has none", raw->in.name),
		    "write `endpoints: [{port: 25, tls: none}]`, or `ports: all`, or `ports: [25]`");
		return false;
	}
	return true;
}

static bool
relay_auth(struct load *l, const struct raw_auth *raw, struct policy_relay *r)
{
	if (!raw->in.node || !raw->in.ok || raw->word.node)
		return !raw->in.node || raw->in.ok;
	if (!raw->password.node == !raw->certificate.node) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0424, raw->in.node->at,
		    raw->password.node ? "`auth` has two credentials" : "`auth` has no credential"),
		    "write one: `{password: NAME}` or `{certificate: NAME}`, or `auth: none`");
		return false;
	}
	r->auth = raw->password.node ? POLICY_AUTH_PASSWORD : POLICY_AUTH_CERTIFICATE;
	r->credential = raw->password.node ? raw->password.s : raw->certificate.s;
	patterns_read(l, &raw->recipients, &r->auth_recipients);
	return true;
}

/* An address literal as host must lie in the ranges (CAM-10, CAM-11). */
static bool
relay_host(struct load *l, const struct raw_relay *raw, struct policy_relay *r, bool ranges)
{

	if (!raw->host.ok)
		return !raw->host.node;
	r->host = raw->host.s;
	if (addr_read(raw->host.s, raw->host.n, &r->host_addr) != ADDR_OK) {
		r->host = read_lower(l->a, raw->host.s, raw->host.n);
		if (raw->host_reason.node) {
			diag_hint(l->d, diag_add(l->d, DIAG_E0422, raw->host_reason.node->at,
			    "`host-reason` gives a reason for an address, and `host` is a name"),
			    "remove it");
			return false;
		}
		return true;
	}
	r->host_literal = true;
	if (!ranges || !raw->ranges.items.node || addr_set_has(&r->ranges.set, r->host_addr))
		return true;
	diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0422, raw->host.node->at,
	    "the host %s does not lie in the ranges of its relay", raw->host.s), r->ranges.at,
	    "its ranges"), "the firewall would refuse what the forwarder sends: add the address to "
	    "`ranges`, or correct `host`");
	return false;
}

static void
relay_accepts(struct load *l, const struct raw_accepts *raw, struct policy_relay *r)
{
	patterns_read(l, &raw->recipients, &r->recipients);
	if (!r->recipients.n)
		ARENA_PUSH(l->a, r->recipients.v, r->recipients.n, r->recipients.cap) =
		    (struct policy_pattern){.at = r->meta.at};
	if (raw->size.ok)
		r->size = (struct policy_size){
			true, raw->size.strict, raw->size.n, raw->size.node->at,
		};
	r->advertised_raw = raw->un_encoded.n;
	r->senders_registered = raw->senders.n;
}

static bool
relay_fill(struct load *l, const struct raw_relay *raw, struct policy_relay *r)
{
	const char *what = arena_printf(l->a, "the relay `%s`", raw->in.name);
	bool ok = true, ranges = false;

	r->class = (enum policy_class)raw->class.n;
	r->clients = where_any(l, r->meta.at);
	if (raw->clients.items.node)
		ok &= where_read(l, &raw->clients, WHERE_ANY, &r->clients, NULL);
	r->ranges = (struct policy_where){.at = TEXT_NO_SPAN, .label = ""};
	if (raw->ranges.items.node) {
		ranges = where_read(l, &raw->ranges, 0, &r->ranges, NULL) &&
		    families_check(l, what, &r->ranges.set, &raw->families, r->ranges.at,
		    where_named(&raw->ranges));
		ok &= ranges;
	}
	r->families = addr_set_families(&r->ranges.set);
	if (!raw->ranges.items.node && !raw->host.node && !raw->in.unknown) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0429, raw->in.key->at,
		    "%s has neither `ranges` nor `host`", what),
		    "`ranges` open the firewall, `host` is where the forwarder delivers: write one or "
		    "both");
		ok = false;
	}
	ok &= endpoints_read(l, raw, r);
	ok &= relay_ports(l, raw, r);
	ok &= relay_auth(l, &raw->auth, r);
	ok &= relay_host(l, raw, r, ranges);
	r->host_reason = raw->host_reason.ok ? raw->host_reason.s : NULL;
	r->tls_minimum = (unsigned)raw->tls.minimum.n;
	r->cipher = meta_strings(l, &raw->tls.ciphers, &r->ncipher);
	r->ca = raw->tls.ca.ok ? raw->tls.ca.s : NULL;
	r->pinned = meta_strings(l, &raw->tls.names, &r->npinned);
	r->stored_credentials = !raw->stored.node || raw->stored.n;
	r->registration = raw->registration.n;
	r->for_class = meta_strings(l, &raw->for_, &r->nfor_class);
	relay_accepts(l, &raw->accepts, r);
	r->most_connections = raw->connections.at_most.n;
	r->messages_per_connection = raw->connections.messages.n;
	r->connection_seconds = raw->connections.age.n;
	mail_limits_read(l, &raw->limits, POLICY_EACH_RELAY, &r->limits);
	return ok;
}

void
relays_make(struct load *l)
{
	for (size_t i = 0; i < l->nfile; i++) {
		const struct shape_list *list = &l->file[i]->raw.relays;

		for (size_t k = 0; k < list->n; k++) {
			const struct raw_relay *raw = SHAPE_AT(*list, const struct raw_relay, k);
			struct rel *x = arena_of(l->a, struct rel);

			if (!raw->in.name)
				continue;
			*x = (struct rel){.r = arena_of(l->a, struct policy_relay), .raw = raw};
			x->bad = !meta_read(l, &raw->meta, text_join(raw->in.key->at, raw->in.node->at),
			    &x->r->meta);
			x->r->meta.name = raw->in.name;
			x->bad |= !relay_fill(l, raw, x->r) || !raw->in.ok;
			if (!names_add(l, &l->relays, raw->in.name, raw->in.key->at, x))
				continue;
			x->r->index = (uint32_t)l->p->nrelay;
			ARENA_PUSH(l->a, l->p->relay, l->p->nrelay, l->p->caprelay) = x->r;
		}
	}
}

const struct policy_relay *
relay_forward(struct load *l, const struct shape_text *via)
{
	const struct policy_relay *r;
	const char *lacks = NULL;
	struct rel *x;

	if (!via->ok || !(x = names_need(l, &l->relays, via->s, via->node->at)))
		return NULL;
	r = x->r;
	if (x->bad)
		return r;
	if (!r->host)
		lacks = "`host`";
	else if (!r->nendpoint)
		lacks = "`endpoints`";
	if (lacks) {
		diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0426, via->node->at,
		    "the forwarder cannot deliver to the relay `%s`: it has no %s", r->meta.name, lacks),
		    r->meta.at, "the relay"), "write %s there, or another relay here", lacks);
		return r;
	}
	if (r->auth != POLICY_AUTH_NONE &&
	    (!r->stored_credentials || r->class == POLICY_CLASS_PERSONAL))
		diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0425, via->node->at,
		    "the forwarder would have to keep a credential for the relay `%s`, which is %s",
		    r->meta.name, r->stored_credentials ? "for the personal mail of people" :
		    "forbidden there"), r->meta.at, "the relay"),
		    "send by a relay for devices and software (COL-11)");
	return r;
}
