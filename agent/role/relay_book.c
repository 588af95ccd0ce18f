/* The policy's relays, as much as is needed here, and credentials. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "role/relay_inside.h"
#include "text/diag.h"
#include "world/bundle.h"
#include "world/world.h"

enum { MOST_FORM = 64 << 20 };

/* ---- a relay, copied out of the policy -------------------------------------------- */

static void
copy_set(struct arena *a, struct addr_set *out, const struct addr_set *in)
{
	out->n4 = out->cap4 = in->n4;
	out->n6 = out->cap6 = in->n6;
	out->v4 = arena_array(a, in->n4 + 1, struct addr_range4);
	out->v6 = arena_array(a, in->n6 + 1, struct addr_range6);
	if (in->n4)
		memcpy(out->v4, in->v4, in->n4 * sizeof *in->v4);
	if (in->n6)
		memcpy(out->v6, in->v6, in->n6 * sizeof *in->v6);
}

static void
put(struct buf *b, const char *key, const char *value)
{
	buf_printf(b, "%s %zu %s\n", key, value ? strlen(value) : 0, value ? value : "-");
}

/* All that a connection depends on, so that equal texts are equal relays. */
static const char *
form_of(struct arena *a, const struct relay_dest *d)
{
	struct buf b = BUF_INIT(MOST_FORM);
	const char *text;

	put(&b, "host", d->host);
	for (unsigned i = 0; i < d->nendpoint; i++)
		buf_printf(&b, "endpoint %u %d\n", d->endpoint[i].port, d->endpoint[i].tls);
	buf_printf(&b, "tls %u auth %d most %u %llu %llu\n", d->tls_minimum, d->auth, d->most_conns,
	    (unsigned long long)d->most_messages, (unsigned long long)d->most_ms);
	put(&b, "ciphers", d->ciphers);
	put(&b, "ca", d->ca);
	put(&b, "credential", d->credential);
	for (size_t i = 0; i < d->npinned; i++)
		put(&b, "pinned", d->pinned[i]);
	for (size_t i = 0; i < d->ranges.n4; i++)
		buf_printf(&b, "%x %x\n", d->ranges.v4[i].lo, d->ranges.v4[i].hi);
	for (size_t i = 0; i < d->ranges.n6; i++) {
		const struct addr_range6 *v = &d->ranges.v6[i];
		buf_printf(&b, "%llx %llx %llx %llx\n", (unsigned long long)(v->lo >> 64),
		    (unsigned long long)v->lo, (unsigned long long)(v->hi >> 64),
		    (unsigned long long)v->hi);
	}
	text = b.err ? NULL : arena_str(a, b.p ? b.p : "");
	buf_free(&b);
	return text;
}

static struct relay_dest *
dest_new(const struct policy_relay *p)
{
	struct arena *a = arena_new();
	struct relay_dest *d = arena_of(a, struct relay_dest);
	struct buf list = BUF_INIT(64 << 10);

	d->a = a;
	d->name = arena_str(a, p->meta.name);
	d->host = arena_str(a, p->host);
	d->literal = p->host_literal;
	d->address = p->host_addr;
	copy_set(a, &d->ranges, &p->ranges.set);
	d->endpoint = arena_array(a, p->nendpoint + 1, struct relay_endpoint);
	d->nendpoint = (unsigned)p->nendpoint;
	for (unsigned i = 0; i < d->nendpoint; i++)
		d->endpoint[i] = (struct relay_endpoint){.port = p->endpoint[i].port,
		    .tls = p->endpoint[i].tls};
	d->tls_minimum = p->tls_minimum;
	for (size_t i = 0; i < p->ncipher; i++)
		buf_printf(&list, "%s%s", i ? ":" : "", p->cipher[i]);
	d->ciphers = list.n ? arena_str(a, list.p) : NULL;
	buf_free(&list);
	d->ca = arena_str(a, p->ca);
	d->npinned = p->npinned;
	d->pinned = arena_array(a, p->npinned + 1, const char *);
	for (size_t i = 0; i < p->npinned; i++)
		d->pinned[i] = arena_str(a, p->pinned[i]);
	d->auth = p->auth;
	d->credential = arena_str(a, p->credential);
	d->most_conns = p->most_connections < RELAY_MOST_CONNS ? (unsigned)p->most_connections : RELAY_MOST_CONNS;
	d->most_messages = p->messages_per_connection ? p->messages_per_connection : RELAY_MESSAGES;
	d->most_ms = 1000 * (p->connection_seconds && p->connection_seconds < 86400 ?
	    p->connection_seconds : RELAY_SECONDS);
	d->limit = d->most_conns;
	d->form = form_of(a, d);
	return d;
}

struct relay_dest *
relay_dest_free(struct relay_dest *d)
{
	tls_context_free(d->tls);
	arena_free(d->a);
	return NULL;
}

struct relay_dest *
relay_dest_find(const struct relay *r, const char *name)
{
	for (struct relay_dest *d = r->dest; d; d = d->next)
		if (!d->gone && !strcmp(d->name, name))
			return d;
	return NULL;
}

void
relay_again(struct relay *r, const char *name)
{
	for (struct relay_dest *d = r->dest; d; d = d->next) {
		if (d->gone || (*name && strcmp(d->name, name) != 0))
			continue;
		for (unsigned i = 0; i < d->nendpoint; i++) {
			d->endpoint[i].back = d->endpoint[i].clear = 0;
			d->endpoint[i].fails = 0;
		}
		d->limit_until = 0;
		for (struct relay_lane *l = r->lane; l; l = l->next)
			if (l->dest == d) {
				l->back = 0;
				l->fails = 0;
			}
	}
	dns_renew(r->dns);
}

/* ---- the book ------------------------------------------------------------------------ */

/* A sender of the pattern; NULL: it is of none that can be said. */
static const char *
sender_of(struct arena *a, const struct policy_pattern *p, bool *pattern)
{
	switch (p->kind) {
	case POLICY_PATTERN_ADDRESS:
		*pattern = false;
		return arena_printf(a, "%s@%s", p->local, p->domain);
	case POLICY_PATTERN_DOMAIN:
	case POLICY_PATTERN_LOCAL_ANY:
		*pattern = true;
		return arena_printf(a, "postmaster@%s", p->domain);
	case POLICY_PATTERN_ANY:
	case POLICY_PATTERN_BELOW:
	case POLICY_PATTERN_NULL:
		break;
	}
	return NULL;
}

static void
add_sender(struct arena *a, struct relay_want *w, const char *application, const struct policy_pattern *envelope,
    const struct policy_pattern *header)
{
	struct relay_sender s = {.application = application};
	bool any;

	s.envelope = sender_of(a, envelope, &s.pattern);
	if (!s.envelope || w->nsender == RELAY_PROBE_SENDERS)
		return;
	for (size_t i = 0; i < w->nsender; i++)
		if (!strcmp(w->sender[i].envelope, s.envelope))
			return;
	if (header && (header->kind != envelope->kind || (header->local && envelope->local &&
	    strcmp(header->local, envelope->local) != 0) || (header->domain && envelope->domain &&
	    strcmp(header->domain, envelope->domain) != 0)))
		s.header = sender_of(a, header, &any);
	w->sender[w->nsender++] = s;
}

/* Whether mail of the application may go by this relay. */
static bool
goes_by(const struct policy *p, const struct policy_application *x, const struct policy_relay *relay)
{
	if (x->state != POLICY_REGISTERED)
		return false;
	if (x->via)
		return x->via == relay;
	for (size_t i = 0; i < p->submission.nroute; i++)
		if (p->submission.route[i].via == relay)
			return true;
	return false;
}

static void
want_of(struct arena *a, const struct policy *p, const struct policy_relay *relay, struct relay_want *w)
{
	size_t n = 0;

	*w = (struct relay_want){.name = arena_str(a, relay->meta.name), .size = relay->size,
	    .everybody = relay->clients.any || !(relay->clients.set.n4 + relay->clients.set.n6)};
	if (!w->everybody)
		copy_set(a, &w->clients, &relay->clients.set);
	for (size_t i = 0; i < p->submission.napplication; i++)
		n += p->submission.application[i]->nlocation;
	w->place = arena_array(a, n + 1, struct relay_place);
	for (size_t i = 0; i < p->submission.napplication; i++) {
		const struct policy_application *x = p->submission.application[i];
		const char *name = arena_str(a, x->meta.name);

		if (!goes_by(p, x, relay))
			continue;
		for (size_t k = 0; k < x->nsender; k++)
			add_sender(a, w, name, &x->sender[k].envelope, &x->sender[k].header);
		if (x->rewrite.kind == POLICY_PATTERN_ADDRESS)
			add_sender(a, w, name, &x->rewrite, NULL);
		for (size_t k = 0; k < x->nlocation; k++) {
			const struct policy_location *l = &x->location[k];
			struct relay_place *to = &w->place[w->nplace++];

			*to = (struct relay_place){.application = name, .name = arena_str(a, l->meta.name),
			    .identity = l->identity, .registered = l->dns_registered};
			if (l->identity == POLICY_ID_CIDR)
				copy_set(a, &to->set, &l->cidr);
			if (l->identity == POLICY_ID_HOSTNAME)
				to->host = arena_str(a, l->value);
		}
	}
}

/* A policy being read, and what is made of it. */
struct reading {
	const uint8_t *map;
	size_t n;
	struct world world;
	struct relay_dest *dest;
	struct relay_book book;
	int err;
	char *why;
};

static void
make(struct reading *x, const struct policy *p)
{
	for (size_t i = 0; i < p->nrelay; i++) {
		struct relay_dest *d;

		if (!p->relay[i]->host || !p->relay[i]->nendpoint)
			continue;
		d = dest_new(p->relay[i]);
		d->next = x->dest;
		x->dest = d;
	}
	x->book = (struct relay_book){.a = arena_new()};
	x->book.want = arena_array(x->book.a, p->nrelay + 1, struct relay_want);
	for (size_t i = 0; i < p->nrelay; i++)
		want_of(x->book.a, p, p->relay[i], &x->book.want[x->book.nwant++]);
	x->book.app = arena_array(x->book.a, p->submission.napplication + 1, struct relay_app);
	for (size_t i = 0; i < p->submission.napplication; i++) {
		const struct policy_application *a = p->submission.application[i];

		if (a->credential && a->via)
			x->book.app[x->book.napp++] = (struct relay_app){
				arena_str(x->book.a, a->meta.name),
				arena_str(x->book.a, a->via->meta.name),
				arena_str(x->book.a, a->credential),
			};
	}
}

static bool
is_named(const struct relay *r, const char *credential)
{
	for (const struct relay_dest *d = r->dest; d; d = d->next)
		if (!d->gone && d->credential && !strcmp(d->credential, credential))
			return true;
	for (size_t i = 0; i < r->book.napp; i++)
		if (!strcmp(r->book.app[i].credential, credential))
			return true;
	return false;
}

/* What the policy names no more is nothing to keep; a session that has begun by it keeps it until it ends. */
static void
forget_credentials(struct relay *r)
{
	struct relay_cred **p = &r->cred;

	while (*p) {
		struct relay_cred *c = *p;

		if (is_named(r, c->name)) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		r->ncred--;
		relay_cred_free(c);
	}
}

/* Takes over the relays of the policy; those that are as they were stay the objects they are. */
static void
adopt(struct relay *r, struct reading *x)
{
	/* it points into what is taken over */
	relay_probe_end(r, false);
	for (struct relay_dest *d = r->dest; d; d = d->next)
		d->gone = true;
	while (x->dest) {
		struct relay_dest *old = r->dest, *d = x->dest;

		x->dest = d->next;
		while (old && !(old->form && d->form && !strcmp(old->name, d->name) &&
		    !strcmp(old->form, d->form)))
			old = old->next;
		if (old) {
			old->gone = false;
			relay_dest_free(d);
		} else {
			d->next = r->dest;
			r->dest = d;
		}
	}
	r->book.a = arena_free(r->book.a);
	r->book = x->book;
	forget_credentials(r);
	/* who is idle at a relay that has gone leaves now, not when it has been idle for long */
	for (struct relay_conn *c = r->conn; c; c = c->next)
		c->again |= c->lane->dest->gone;
}

/* As far as memory is from arenas. */
static void
read_it(void *arg)
{
	struct reading *x = arg;
	struct arena *a = arena_new();
	struct diags *d = diags_new(a);
	struct policy_world served;
	struct bundle *b;
	struct policy *p;
	const char *bytes, *name;
	size_t len;

	x->err = bundle_read(a, x->map, x->n, &b);
	if (x->err) {
		snprintf(x->why, RELAY_WORDS, "the policy's bundle: %s", strerror(-x->err));
	} else {
		bundle_serve(b, &x->world.policy, &served);
		name = bundle_file(b, 0, &bytes, &len);
		p = policy_load(a, text_set_new(a), name, bytes, len, &served, d);
		if (p) {
			make(x, p);
		} else {
			x->err = -EINVAL;
			snprintf(x->why, RELAY_WORDS, "%s", d->n ? d->v[0].message : "the policy has errors");
		}
	}
	arena_free(a);
}

int
relay_book_read(struct relay *r, int fd, char why[RELAY_WORDS])
{
	struct reading x = {.world.dir = -1, .why = why};
	int err = ipc_map(fd, BUNDLE_MOST, &x.map, &x.n);

	if (err) {
		snprintf(why, RELAY_WORDS, "the policy's bundle: %s", strerror(-err));
		return err;
	}
	err = world_open(&x.world, "/usr/share/zoneinfo/");
	if (err) {
		snprintf(why, RELAY_WORDS, "/usr/share/zoneinfo: %s", strerror(-err));
	} else if (arena_try(read_it, &x)) {
		/* what was made has gone with its arenas */
		err = -ENOMEM;
		snprintf(why, RELAY_WORDS, "no memory for the policy; the one before it stays");
	} else {
		err = x.err;
	}
	if (!err)
		adopt(r, &x);
	ipc_unmap(x.map, x.n);
	world_close(&x.world);
	/* what the policy took is not needed between two reloads */
	malloc_trim(0);
	return err;
}

void
relay_book_free(struct relay *r)
{
	while (r->dest) {
		struct relay_dest *d = r->dest;
		r->dest = d->next;
		relay_dest_free(d);
	}
	r->book.a = arena_free(r->book.a);
	while (r->cred) {
		struct relay_cred *c = r->cred;
		r->cred = c->next;
		relay_cred_free(c);
	}
}

/* ---- credentials ------------------------------------------------------------------------ */

struct relay_cred *
relay_cred_find(const struct relay *r, const char *name)
{
	for (struct relay_cred *c = r->cred; c; c = c->next)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

struct relay_cred *
relay_cred_free(struct relay_cred *c)
{
	if (!c || --c->refs)
		return NULL;
	sasl_credential_free(c->c);
	if (c->pem >= 0)
		close(c->pem);
	free(c->name);
	free(c);
	return NULL;
}

/* A certificate that no relay will accept is told now, and not by each relay in words of its own. */
static int
pem_check(struct relay_cred *c)
{
	char path[40], why[TLS_MOST_WHY];
	int err;

	snprintf(path, sizeof path, "/proc/self/fd/%d", c->pem);
	err = tls_own_check(path, why);
	if (err)
		snprintf(c->why, sizeof c->why, "%s", *why ? why : strerror(-err));
	return err;
}

/* What is in the file: lines for SASL, or PEM, which OpenSSL reads from a memory file. */
static int
cred_read(struct relay_cred *c, int fd)
{
	char *bytes = malloc(SASL_MOST_CREDENTIAL + 1), why[SASL_MOST_WHY];
	size_t n = 0;
	ssize_t got = -1;
	int err = 0;

	if (!bytes)
		return -ENOMEM;
	while (n <= SASL_MOST_CREDENTIAL &&
	    (got = pread(fd, bytes + n, SASL_MOST_CREDENTIAL + 1 - n, (off_t)n)) > 0)
		n += (size_t)got;
	if (got < 0) {
		err = -errno;
		snprintf(c->why, sizeof c->why, "it cannot be read: %s", strerror(errno));
	} else if (n > SASL_MOST_CREDENTIAL) {
		err = -EFBIG;
		snprintf(c->why, sizeof c->why, "it has more than %d bytes", SASL_MOST_CREDENTIAL);
	} else if (memmem(bytes, n, "-----BEGIN ", 11)) {
		c->pem = ipc_file("credential", bytes, n);
		if (c->pem < 0) {
			err = c->pem;
			c->pem = -1;
			snprintf(c->why, sizeof c->why, "it cannot be kept: %s", strerror(-err));
		} else if ((err = pem_check(c))) {
			close(c->pem);
			c->pem = -1;
		}
	} else if (!(c->c = sasl_credential_read(bytes, n, why))) {
		err = -EINVAL;
		snprintf(c->why, sizeof c->why, "%s", why);
	}
	explicit_bzero(bytes, SASL_MOST_CREDENTIAL + 1);
	free(bytes);
	return err;
}

int
relay_cred_take(struct relay *r, const struct mail_credential *m, int fd, char why[RELAY_WORDS])
{
	struct relay_cred *c, **p = &r->cred;
	int err = 0;

	why[0] = 0;
	while (*p && strcmp((*p)->name, m->name))
		p = &(*p)->next;
	if (!*p && r->ncred == RELAY_MOST_CREDENTIALS) {
		snprintf(why, RELAY_WORDS, "there are more than %d credentials", RELAY_MOST_CREDENTIALS);
		return -E2BIG;
	}
	c = calloc(1, sizeof *c);
	if (!c || !(c->name = strdup(m->name))) {
		free(c);
		snprintf(why, RELAY_WORDS, "no memory");
		return -ENOMEM;
	}
	c->refs = 1;
	c->pem = -1;
	if (m->gone)
		snprintf(c->why, sizeof c->why, "%s", *m->text ? m->text : "there is none");
	else if (fd < 0)
		err = -EBADMSG;
	else
		err = cred_read(c, fd);
	if (err)
		snprintf(why, RELAY_WORDS, "%s", c->why);
	/* a credential that cannot be read is not the one before, either */
	if (*p) {
		struct relay_cred *old = *p;
		c->next = old->next;
		relay_cred_free(old);
	} else {
		r->ncred++;
	}
	*p = c;
	relay_lanes_renew(r, m->name);
	return err;
}

const char *
relay_credential_of(const struct relay *r, const struct relay_dest *d, const char *application)
{
	if (d->auth == POLICY_AUTH_NONE)
		return NULL;
	for (size_t i = 0; i < r->book.napp; i++)
		if (!strcmp(r->book.app[i].name, application) && !strcmp(r->book.app[i].relay, d->name))
			return r->book.app[i].credential;
	return d->credential;
}
