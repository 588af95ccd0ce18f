/* Domains that must resolve. The role relay asks DNS; answers are remembered here for a while. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "role/front_inside.h"

enum { WAYS = 4, GOOD_MS = 300000, BAD_MS = 60000 };

/* A domain has its place in one of WAYS entries; the oldest gives way. */
static struct front_domain *
entry_of(struct front *f, const char *name)
{
	struct front_domain *set, *old;

	if (!f->domain)
		f->domain = calloc(FRONT_DOMAINS, sizeof *f->domain);
	if (!f->domain)
		return NULL;
	set = &f->domain[hash_bytes(0, name, strlen(name)) % (FRONT_DOMAINS / WAYS) * WAYS];
	old = set;
	for (int i = 0; i < WAYS; i++) {
		if (set[i].token && !strcmp(set[i].name, name))
			return &set[i];
		if (set[i].until < old->until)
			old = &set[i];
	}
	*old = (struct front_domain){0};
	snprintf(old->name, sizeof old->name, "%s", name);
	return old;
}

void
front_domain_resolved(struct front *f, const struct front_resolved *a)
{
	enum front_name answer = a->answer < FRONT_NAME_NOT_NOW ? (enum front_name)a->answer :
	    FRONT_NAME_NOT_NOW;

	for (size_t i = 0; f->domain && a->token && i < FRONT_DOMAINS; i++) {
		struct front_domain *d = &f->domain[i];

		if (d->token != a->token || d->known)
			continue;
		/* "not now" is nothing to be remembered */
		d->known = answer != FRONT_NAME_NOT_NOW;
		d->answer = answer;
		d->until = f->now + (answer == FRONT_NAME_NONE ? BAD_MS : GOOD_MS);
		if (!d->known)
			*d = (struct front_domain){0};
	}
	for (unsigned i = 0; i < FRONT_MOST_CONNS; i++) {
		struct front_conn *c = f->conn[i];

		if (!c || c->waits != FRONT_WAITS_NAME || c->name_token != a->token || c->name_known)
			continue;
		c->name_known = true;
		c->name = answer;
		front_run(c);
	}
}

/* What is known of the domain. False: it has been asked for, and c waits. */
static bool
know(struct front_conn *c, const char *name, enum front_name *out)
{
	struct front *f = c->f;
	struct front_domain *d;

	if (c->waits == FRONT_WAITS_NAME) {
		if (!c->name_known)
			return false;
		c->waits = FRONT_WAITS_NOT;
		*out = c->name;
		return true;
	}
	d = entry_of(f, name);
	if (d && d->known && d->until > f->now) {
		*out = d->answer;
		return true;
	}
	*out = FRONT_NAME_NOT_NOW;
	if (!d)
		return true;
	/* one question serves all who wait */
	if (!d->token || d->known || d->until <= f->now) {
		d->token = ++f->name_token;
		d->known = false;
		d->until = f->now + FRONT_RESOLVE_MS;
		if (!front_ask_domain(f, d->token, name)) {
			*d = (struct front_domain){0};
			return true;
		}
	}
	c->waits = FRONT_WAITS_NAME;
	c->name_token = d->token;
	c->name_known = false;
	c->name_until = f->now + FRONT_RESOLVE_MS;
	return false;
}

static void
reply(const struct front_conn *c, struct front_reply *r, unsigned code, const char *enhanced,
    const char *domain, const char *what)
{
	char text[FRONT_WORDS];

	r->code = code;
	snprintf(r->enhanced, sizeof r->enhanced, "%s", enhanced);
	snprintf(text, sizeof text, "the domain %.200s %s", domain, what);
	front_words(c->m.p ? c->m.p : c->f->p, text, r->text);
}

enum front_domain_is
front_domain_look(struct front_conn *c, const char *address, bool sender, struct front_reply *r)
{
	const struct policy *p = (c->m.p ? c->m.p : c->f->p)->policy;
	bool mx = mail_mx_required(p, address);
	struct mail_address a;
	enum front_name is;
	char name[256];

	if (!mx && !(sender && p->submission.sender_domain_resolvable)) {
		/* another policy came while it was asked for: what comes is not the next one's answer */
		c->waits = FRONT_WAITS_NOT;
		return FRONT_DOMAIN_FINE;
	}
	if (!mail_address_read(address, strlen(address), true, &a, NULL) || a.literal ||
	    a.ndomain >= sizeof name)
		return FRONT_DOMAIN_FINE;
	for (size_t i = 0; i < a.ndomain; i++)
		name[i] = (char)(a.domain[i] >= 'A' && a.domain[i] <= 'Z' ? a.domain[i] | 32 : a.domain[i]);
	name[a.ndomain] = 0;
	if (!know(c, name, &is))
		return FRONT_DOMAIN_WAIT;
	switch (is) {
	case FRONT_NAME_MX:
		return FRONT_DOMAIN_FINE;
	case FRONT_NAME_ADDRESS:
		if (!mx)
			return FRONT_DOMAIN_FINE;
		reply(c, r, 550, sender ? "5.1.8" : "5.1.2", name,
		    "has no MX record; a host name is no mail domain here, use one that has");
		return FRONT_DOMAIN_BAD;
	case FRONT_NAME_NONE:
		reply(c, r, 550, sender ? "5.1.8" : "5.1.2", name, "does not exist for mail; check its spelling");
		return FRONT_DOMAIN_BAD;
	case FRONT_NAME_NOT_NOW:
		reply(c, r, 451, "4.4.3", name, "cannot be looked up at the moment; send it again later");
		return FRONT_DOMAIN_BAD;
	}
	return FRONT_DOMAIN_FINE;
}
