/*
 * Doctor: connections that carry no mail. First to each endpoint of the relays, as far as EHLO; then to the
 * first that is well, with each credential, as far as MAIL. Meanwhile DNS is asked about our own addresses.
 *
 * A probe's relays are copies (relay_dest.apart) and its lanes are its own, so that nothing that happens to
 * it is remembered for mail: neither pauses nor limits nor alarms.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/log.h"
#include "role/relay_inside.h"

enum { LEAST_MS = 2000, MOST_MS = 30000, TELL_MS = 500, PARENT_MS = 1000, MOST_ENDPOINTS = 16 };

/* ---- making and ending ---------------------------------------------------------------- */

static void
check_free(struct relay_check *k)
{
	for (size_t i = 0; i < k->nlane; i++) {
		assert(!k->lane[i].nconn);
		tls_context_free(k->lane[i].tls);
		free(k->lane[i].credential);
	}
	tls_context_free(k->dest.tls);
	free(k->dest.endpoint);
	free(k->lane);
	free(k->unfit);
	free(k->try);
}

static struct relay_probe *
probe_free(struct relay_probe *p)
{
	for (size_t i = 0; p && i < p->ncheck; i++)
		check_free(&p->check[i]);
	if (p)
		free(p->check);
	free(p);
	return NULL;
}

/* The credentials that mail to the relay may need, each once; false without memory. */
static bool
make_lanes(const struct relay *r, struct relay_check *k)
{
	const struct relay_dest *d = &k->dest;
	const char *name[1 + RELAY_PROBE_CREDENTIALS] = {NULL};
	size_t n = 1;

	if (d->auth == POLICY_AUTH_CERTIFICATE)
		name[0] = d->credential;
	else if (d->auth != POLICY_AUTH_NONE && d->credential)
		name[n++] = d->credential;
	for (size_t i = 0; d->auth != POLICY_AUTH_NONE && i < r->book.napp; i++) {
		const struct relay_app *x = &r->book.app[i];
		size_t at = 0;

		while (at < n && (!name[at] || strcmp(name[at], x->credential) != 0))
			at++;
		if (!strcmp(x->relay, d->name) && at == n && n <= RELAY_PROBE_CREDENTIALS)
			name[n++] = x->credential;
	}
	k->lane = calloc(n, sizeof *k->lane);
	k->unfit = calloc(n, sizeof *k->unfit);
	if (!k->lane || !k->unfit)
		return false;
	for (; k->nlane < n; k->nlane++) {
		struct relay_lane *l = &k->lane[k->nlane];

		l->dest = &k->dest;
		l->last = &l->first;
		if (name[k->nlane] && !(l->credential = strdup(name[k->nlane])))
			return false;
	}
	return true;
}

static bool
check_make(const struct relay *r, const struct relay_dest *d, struct relay_check *k)
{
	unsigned n = d->nendpoint < MOST_ENDPOINTS ? d->nendpoint : MOST_ENDPOINTS;

	*k = (struct relay_check){.dest = *d, .own = SIZE_MAX, .good = n, .nfirst = n};
	k->dest.apart = true;
	k->dest.tls = NULL;
	k->dest.nlane = k->dest.nconn = k->dest.ndial = 0;
	k->dest.nendpoint = n;
	k->dest.endpoint = calloc(n, sizeof *k->dest.endpoint);
	if (!k->dest.endpoint || !make_lanes(r, k))
		return false;
	k->try = calloc(n + k->nlane, sizeof *k->try);
	for (unsigned i = 0; i < n; i++)
		k->dest.endpoint[i] = (struct relay_endpoint){.port = d->endpoint[i].port, .tls = d->endpoint[i].tls};
	for (size_t i = 0; i < r->book.nwant; i++)
		if (!strcmp(r->book.want[i].name, d->name))
			k->want = &r->book.want[i];
	return k->try && k->want;
}

/* Whether the lane has what it needs; TLS's roots are read once. */
static bool
is_fit(struct relay *r, struct relay_check *k, size_t lane)
{
	if (relay_lane_fit(r, &k->lane[lane], &k->unfit[lane])) {
		k->unfit[lane].text[0] = '\0';
		return true;
	}
	return false;
}

static void
add_try(struct relay_check *k, unsigned endpoint, size_t lane, bool full)
{
	k->try[k->ntry++] = (struct relay_try){.of = k, .lane = &k->lane[lane], .endpoint = endpoint, .full = full};
}

int
relay_probe_begin(struct relay *r, const struct mail_probe *m, uint32_t id, char why[RELAY_WORDS])
{
	uint64_t ms = m->ms < LEAST_MS ? LEAST_MS : m->ms < MOST_MS ? m->ms : MOST_MS;
	struct relay_probe *p;
	size_t n = 0;

	why[0] = '\0';
	if (r->probe) {
		snprintf(why, RELAY_WORDS, "another doctor is at work");
		return -EBUSY;
	}
	for (const struct relay_dest *d = r->dest; d; d = d->next)
		n += !d->gone;
	p = calloc(1, sizeof *p);
	if (p)
		p->check = calloc(n + 1, sizeof *p->check);
	if (!p || !p->check) {
		probe_free(p);
		return -ENOMEM;
	}
	p->id = id;
	p->until = r->now + ms - TELL_MS;
	for (size_t i = 0; i < r->book.nwant; i++) {
		/* in the order of the policy */
		const struct relay_dest *d = relay_dest_find(r, r->book.want[i].name);

		if (p->ncheck == RELAY_PROBE_RELAYS)
			break;
		if (!d || (*m->relay && strcmp(d->name, m->relay) != 0))
			continue;
		if (!check_make(r, d, &p->check[p->ncheck++])) {
			probe_free(p);
			return -ENOMEM;
		}
	}
	if (!p->ncheck && *m->relay) {
		int at = snprintf(why, RELAY_WORDS, "the policy in force has no relay '%.100s' that mail goes to; it has:",
		    m->relay);

		for (size_t i = 0; i < r->book.nwant && at > 0 && at < RELAY_WORDS; i++)
			if (relay_dest_find(r, r->book.want[i].name))
				at += snprintf(why + at, RELAY_WORDS - (size_t)at, " %.60s", r->book.want[i].name);
		probe_free(p);
		return -ENOENT;
	}
	r->probe = p;
	/* what people ask is how it is now */
	dns_renew(r->dns);
	return 0;
}

void
relay_probe_end(struct relay *r, bool silent)
{
	struct relay_probe *p = r->probe;
	struct doctor_list l = {0};
	struct mail_probed m = {.text = ""};
	int fd = -1, err;

	if (!p)
		return;
	for (struct relay_conn *c = r->conn; c; c = c->next)
		if (c->probe && c->at != CONN_DEAD) {
			c->probe->late = true;
			relay_conn_dead(c);
		}
	assert(!p->nconn);
	for (size_t i = 0; i < p->nown; i++)
		dns_forget(r->dns, &p->own[i]);
	r->probe = NULL;
	if (!silent) {
		relay_found(r, p, &l);
		fd = l.err ? l.err : doctor_file(&l);
		m.err = fd < 0 ? (uint32_t)-fd : 0;
		err = ipc_send_wait(r->opt->parent, MAIL_PROBED, p->id, &mail_tell_shape[MAIL_PROBED], &m, &fd, fd >= 0,
		    PARENT_MS);
		if (err)
			log_say(LOG_IS_WARNING, NULL, "the parent takes no findings: %s", strerror(-err));
	}
	if (fd >= 0)
		close(fd);
	doctor_free(&l);
	probe_free(p);
}

/* ---- our own addresses -------------------------------------------------------------------- */

static void
on_forward(void *arg, const struct dns_answer *a)
{
	struct relay_own *o = arg;

	o->waits--;
	o->not_now |= a->outcome == DNS_NOT_NOW;
	for (unsigned i = 0; i < a->n; i++) {
		struct addr x = relay_addr_of(&a->address[i]), y = relay_addr_of(&o->address);
		o->confirmed |= x.family == y.family && x.n == y.n;
	}
}

static void
on_reverse(void *arg, const struct dns_answer *a)
{
	struct relay_own *o = arg;

	o->waits--;
	o->answered = true;
	o->reverse = *a;
}

static void
own_run(struct relay *r, struct relay_own *o)
{
	char name[DNS_REVERSE];

	if (!o->asked) {
		o->asked = true;
		dns_reverse(&o->address, name);
		o->waits++;
		if (dns_ask(r->dns, DNS_PTR, name, r->now, on_reverse, o)) {
			o->waits--;
			o->answered = true;
			o->reverse = (struct dns_answer){.outcome = DNS_NOT_NOW, .why = "too many questions at a time"};
		}
	}
	if (!o->answered || o->forward_asked)
		return;
	o->forward_asked = true;
	for (unsigned i = 0; i < o->reverse.nname; i++) {
		o->waits++;
		/* a name that is none leads nowhere */
		if (dns_ask(r->dns, o->address.ss_family == AF_INET6 ? DNS_AAAA : DNS_A, o->reverse.name[i], r->now,
		    on_forward, o))
			o->waits--;
	}
}

static bool
is_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	struct addr x = relay_addr_of(a), y = relay_addr_of(b);

	return x.family == y.family && x.n == y.n;
}

/* The place of the address among ours; SIZE_MAX: none is left. */
static size_t
own_of(struct relay_probe *p, const struct sockaddr_storage *a)
{
	size_t i = 0;

	while (i < p->nown && !is_same(&p->own[i].address, a))
		i++;
	if (i == RELAY_PROBE_OWN)
		return SIZE_MAX;
	if (i == p->nown)
		p->own[p->nown++] = (struct relay_own){.address = *a};
	return i;
}

/* The address that a relay says it sees: "relay.example.org Hello web [192.0.2.7]", as Exim and Sendmail do; Postfix
 * tells none. */
static bool
seen_in(const char *hello, struct sockaddr_storage *out)
{
	for (const char *p = strchr(hello, '['); p; p = strchr(p + 1, '[')) {
		size_t n = strcspn(p + 1, "]");
		const char *s = p + 1;
		struct addr a;

		if (n > 5 && !strncmp(s, "IPv6:", 5)) {
			s += 5;
			n -= 5;
		}
		if (p[1 + strcspn(p + 1, "]")] != ']' || n > 45 || addr_read(s, n, &a))
			continue;
		*out = (struct sockaddr_storage){.ss_family = a.family == ADDR_V4 ? AF_INET : AF_INET6};
		uint8_t *to = a.family == ADDR_V4 ? (uint8_t *)&((struct sockaddr_in *)out)->sin_addr :
		    ((struct sockaddr_in6 *)out)->sin6_addr.s6_addr;
		for (size_t i = a.family == ADDR_V4 ? 4 : 16; i-- > 0; a.n >>= 8)
			to[i] = (uint8_t)a.n;
		return true;
	}
	return false;
}

static void
see(struct relay *r, struct relay_try *t)
{
	struct relay_check *k = t->of;
	struct sockaddr_storage seen;

	if (k->seen)
		return;
	if (seen_in(t->hello, &seen)) {
		k->own = own_of(r->probe, &seen);
		k->seen = k->own != SIZE_MAX;
	} else if (k->own == SIZE_MAX && t->local.ss_family != AF_UNSPEC) {
		k->own = own_of(r->probe, &t->local);
	}
}

/* ---- what happens to a connection ----------------------------------------------------------- */

void
relay_probe_named(struct relay_conn *c)
{
	struct relay_check *k = c->probe->of;

	if (!k->named)
		k->names = c->names;
	k->named = true;
	c->probe->step = STEP_TCP;
}

void
relay_probe_connected(struct relay_conn *c)
{
	struct relay_try *t = c->probe;
	socklen_t n = sizeof t->local;

	t->tcp = c->r->now;
	snprintf(t->peer, sizeof t->peer, "%s", c->peer);
	if (getsockname(c->fd, (struct sockaddr *)&t->local, &n))
		t->local.ss_family = AF_UNSPEC;
	if (t->local.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *)&t->local)->sin6_addr))
		t->local.ss_family = AF_UNSPEC;
	t->step = c->lane->dest->endpoint[c->endpoint].tls == POLICY_TLS_IMPLICIT ? STEP_SHAKE : STEP_TALK;
	t->tls_begun = t->step == STEP_SHAKE;
}

static void
keep_answer(struct relay_answer *a, const struct smtp_reply *reply)
{
	a->code = reply->code;
	snprintf(a->text, sizeof a->text, "%.*s", (int)strcspn(reply->text ? reply->text : "", "\r\n"),
	    reply->text ? reply->text : "");
}

/* The first line, which tells names and addresses. */
static void
keep_line(char out[RELAY_WORDS], const struct smtp_reply *reply)
{
	const char *s = reply->text ? reply->text : "";

	snprintf(out, RELAY_WORDS, "%.*s", (int)strcspn(s, "\r\n"), s);
}

/* TLS as it stands. */
static void
keep_tls(struct relay_conn *c)
{
	struct relay_try *t = c->probe;

	if (!c->tls)
		return;
	t->tls_begun = true;
	t->cert = *tls_peer(c->tls);
	t->tls_over = tls_state(c->tls) == TLS_READY || tls_state(c->tls) == TLS_ENDED || *tls_version(c->tls);
	t->fault = tls_fault(c->tls);
	snprintf(t->tls_why, sizeof t->tls_why, "%s", tls_why(c->tls));
	snprintf(t->version, sizeof t->version, "%s", tls_version(c->tls));
	snprintf(t->cipher, sizeof t->cipher, "%s", tls_cipher(c->tls));
}

void
relay_probe_reply(struct relay_conn *c, const struct smtp_client_event *e)
{
	struct relay_try *t = c->probe;

	t->step = t->step < STEP_TALK ? STEP_TALK : t->step;
	t->spoke = true;
	keep_tls(c);
	switch (e->stage) {
	case SMTP_AT_GREETING:
		keep_line(t->greeting, e->reply);
		break;
	case SMTP_AT_EHLO:
	case SMTP_AT_HELO:
		keep_line(t->hello, e->reply);
		break;
	case SMTP_AT_AUTH:
		keep_answer(&t->auth, e->reply);
		break;
	case SMTP_AT_MAIL:
		assert(t->sender && t->sender <= RELAY_PROBE_SENDERS);
		keep_answer(&t->said[t->sender - 1], e->reply);
		break;
	case SMTP_AT_STARTTLS:
	case SMTP_AT_TLS:
	case SMTP_AT_RCPT:
	case SMTP_AT_DATA:
	case SMTP_AT_CONTENT:
	case SMTP_AT_DOT:
	case SMTP_AT_RSET:
	case SMTP_AT_QUIT:
	case SMTP_AT_IDLE:
		break;
	}
}

/* The next sender is asked. False: there is none more. */
static bool
ask_sender(struct relay_conn *c)
{
	struct relay_try *t = c->probe;
	const struct relay_want *w = t->of->want;

	while (t->full && t->sender < w->nsender && !smtp_client_spent(c->c)) {
		const struct relay_sender *s = &w->sender[t->sender++];

		t->m = (struct smtp_client_message){.path = s->envelope, .ask = true};
		if (smtp_client_fits(c->c, &t->m) != SMTP_FIT_OK)
			continue;
		smtp_client_send(c->c, &t->m, c->r->now);
		return true;
	}
	return false;
}

bool
relay_probe_ready(struct relay_conn *c)
{
	struct relay_try *t = c->probe;

	if (c->at == CONN_OPEN) {
		c->at = CONN_LIVE;
		c->lane->ndial--;
		c->lane->dest->ndial--;
		c->born = c->used = c->r->now;
		t->step = STEP_LIVE;
		t->can = *smtp_client_capable(c->c);
		t->clear_offered = !c->tls && t->can.starttls;
		keep_tls(c);
		see(c->r, t);
	}
	if (ask_sender(c))
		return true;
	relay_session_leave(c);
	return false;
}

void
relay_probe_failed(struct relay_conn *c, const struct smtp_client_event *e, const char *why)
{
	struct relay_try *t = c->probe;

	keep_tls(c);
	/* what happens to the farewell is of no interest */
	if (c->at == CONN_LEAVES || t->failed)
		return;
	t->failed = true;
	snprintf(t->why, sizeof t->why, "%s", why);
	if (!*t->peer)
		snprintf(t->peer, sizeof t->peer, "%s", c->peer);
	t->err = c->last_err;
	if (c->c)
		t->can = *smtp_client_capable(c->c);
	if (!e)
		return;
	t->stage = e->stage;
	t->what = e->why;
	if (e->reply && e->reply->code) {
		t->spoke = true;
		keep_answer(&t->reply, e->reply);
		if (e->stage == SMTP_AT_AUTH)
			t->auth = t->reply;
		if (e->stage == SMTP_AT_MAIL && t->sender)
			t->said[t->sender - 1] = t->reply;
	}
	see(c->r, t);
}

void
relay_probe_gone(struct relay_conn *c)
{
	struct relay_try *t = c->probe;

	t->over = true;
	t->conn = NULL;
	c->r->probe->nconn--;
}

bool
relay_probe_late(struct relay_conn *c)
{
	struct relay_try *t = c->probe;

	if (c->at == CONN_DEAD || t->until > c->r->now)
		return false;
	keep_tls(c);
	if (c->c)
		t->can = *smtp_client_capable(c->c);
	if (!*t->peer)
		snprintf(t->peer, sizeof t->peer, "%s", c->peer);
	if (c->at != CONN_LEAVES)
		t->late = true;
	see(c->r, t);
	relay_conn_dead(c);
	return true;
}

/* ---- going on -------------------------------------------------------------------------------- */

static bool
all_over(const struct relay_check *k)
{
	for (size_t i = 0; i < k->ntry; i++)
		if (!k->try[i].over)
			return false;
	return true;
}

/* Each endpoint, as far as EHLO. One relay a turn, for roots take a while to be read. */
static void
first_round(struct relay *r, struct relay_check *k)
{
	if (is_fit(r, k, 0))
		for (unsigned e = 0; e < k->dest.nendpoint; e++)
			add_try(k, e, 0, false);
	k->nfirst = k->ntry;
}

/* The first endpoint that is well is the one that mail takes: there each credential is tried. */
static void
second_round(struct relay *r, struct relay_check *k)
{
	bool nobody = k->nlane == 1;

	k->second = true;
	for (size_t i = 0; i < k->nfirst && k->good == k->dest.nendpoint; i++)
		if (k->try[i].step == STEP_LIVE && !k->try[i].failed)
			k->good = k->try[i].endpoint;
	if (k->good == k->dest.nendpoint)
		return;
	for (size_t i = nobody ? 0 : 1; i < k->nlane; i++)
		if (is_fit(r, k, i) && (!nobody || k->want->nsender))
			add_try(k, k->good, i, true);
}

static void
begin_try(struct relay *r, struct relay_try *t)
{
	struct relay_probe *p = r->probe;

	t->begun = true;
	t->began = r->now;
	t->until = r->now + RELAY_PROBE_MS < p->until ? r->now + RELAY_PROBE_MS : p->until;
	p->nconn++;
	if (relay_conn_begin(r, t->lane, t->endpoint, t))
		return;
	p->nconn--;
	t->over = t->failed = true;
	snprintf(t->why, sizeof t->why, "no memory for a connection");
}

void
relay_probe_run(struct relay *r)
{
	struct relay_probe *p = r->probe;
	bool over;

	if (!p)
		return;
	if (p->until <= r->now) {
		relay_probe_end(r, false);
		return;
	}
	if (p->nopen < p->ncheck)
		first_round(r, &p->check[p->nopen++]);
	over = p->nopen == p->ncheck;
	for (size_t i = 0; i < p->nopen; i++) {
		struct relay_check *k = &p->check[i];

		if (!k->second && all_over(k))
			second_round(r, k);
		for (size_t t = 0; t < k->ntry; t++) {
			if (!k->try[t].begun && p->nconn < RELAY_PROBES)
				begin_try(r, &k->try[t]);
			over = over && k->try[t].over;
		}
		over = over && k->second;
	}
	for (size_t i = 0; i < p->nown; i++) {
		own_run(r, &p->own[i]);
		over = over && p->own[i].forward_asked && !p->own[i].waits;
	}
	if (over)
		relay_probe_end(r, false);
}

uint64_t
relay_probe_deadline(const struct relay *r)
{
	const struct relay_probe *p = r->probe;

	if (!p)
		return UINT64_MAX;
	/* one that ended in this turn makes place for the next */
	if (p->nopen < p->ncheck)
		return r->now;
	for (size_t i = 0; i < p->ncheck; i++) {
		const struct relay_check *k = &p->check[i];

		if (!k->second && all_over(k))
			return r->now;
		for (size_t t = 0; t < k->ntry; t++)
			if (!k->try[t].begun && p->nconn < RELAY_PROBES)
				return r->now;
	}
	for (size_t i = 0; i < p->nown; i++)
		if (!p->own[i].asked || (p->own[i].answered && !p->own[i].forward_asked))
			return r->now;
	return p->until;
}
