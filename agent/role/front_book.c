/* The policy, and what users' names are as numbers. */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "role/front_inside.h"
#include "text/diag.h"
#include "world/bundle.h"
#include "world/world.h"

/* ---- a policy ----------------------------------------------------------------------- */

static void
look_at_limits(struct front_policy *p, const struct policy_mail_limits *l)
{
	for (size_t i = 0; i < l->n; i++) {
		p->per_connection |= l->v[i].window == POLICY_PER_CONNECTION;
		if (l->v[i].window == POLICY_PER_MESSAGE && l->v[i].count == POLICY_COUNT_RECIPIENTS &&
		    l->v[i].most < p->rcpt_most)
			p->rcpt_most = l->v[i].most;
	}
}

static void
finish(struct front_policy *p)
{
	const struct policy_submission *s = &p->policy->submission;

	p->rcpt_most = UINT64_MAX;
	look_at_limits(p, &s->limits);
	p->user = arena_array(p->a, s->napplication + 1, const char *);
	for (size_t i = 0; i < s->napplication; i++) {
		p->user[i] = s->application[i]->user;
		look_at_limits(p, &s->application[i]->limits);
		if (s->application[i]->kind)
			look_at_limits(p, &s->application[i]->kind->limits);
	}
	for (size_t i = 0; i < p->policy->nrelay; i++)
		look_at_limits(p, &p->policy->relay[i]->limits);
}

static void
first_error(struct diags *d, struct text_set *text, char why[FRONT_WORDS])
{
	diags_sort(d);
	for (size_t i = 0; i < d->n; i++)
		if (d->v[i].severity == DIAG_ERROR) {
			struct text_place at = text_place(text, d->v[i].at);

			snprintf(why, FRONT_WORDS, "%s:%u:%u: %s", at.name, at.line, at.col, d->v[i].message);
			return;
		}
	snprintf(why, FRONT_WORDS, "the policy has errors");
}

/* A policy being read. */
struct reading {
	struct front_policy *p;
	struct world world;
	int err;
	char *why;
};

/* As far as memory is from arenas. */
static void
read_it(void *arg)
{
	struct reading *x = arg;
	struct front_policy *p = x->p;
	struct policy_world served;
	struct bundle *b;
	struct diags *d;
	struct text_set *text;
	const char *bytes, *name;
	size_t len;

	p->a = arena_new();
	d = diags_new(p->a);
	text = text_set_new(p->a);
	x->err = bundle_read(p->a, p->map, p->nmap, &b);
	if (x->err) {
		snprintf(x->why, FRONT_WORDS, "the policy's bundle: %s", strerror(-x->err));
		return;
	}
	bundle_serve(b, &x->world.policy, &served);
	name = bundle_file(b, 0, &bytes, &len);
	p->policy = policy_load(p->a, text, name, bytes, len, &served, d);
	if (p->policy) {
		finish(p);
	} else {
		x->err = -EINVAL;
		first_error(d, text, x->why);
	}
}

struct front_policy *
front_policy_read(int fd, int *err, char why[FRONT_WORDS])
{
	struct reading x = {.p = calloc(1, sizeof *x.p), .world.dir = -1, .why = why};

	if (!x.p) {
		*err = -ENOMEM;
		snprintf(why, FRONT_WORDS, "no memory");
		return NULL;
	}
	x.p->refs = 1;
	*err = ipc_map(fd, BUNDLE_MOST, &x.p->map, &x.p->nmap);
	if (*err) {
		snprintf(why, FRONT_WORDS, "the policy's bundle: %s", strerror(-*err));
	} else if ((*err = world_open(&x.world, "/usr/share/zoneinfo/"))) {
		snprintf(why, FRONT_WORDS, "/usr/share/zoneinfo: %s", strerror(-*err));
	} else if (arena_try(read_it, &x)) {
		x.p->a = NULL;     /* it has gone */
		*err = -ENOMEM;
		snprintf(why, FRONT_WORDS, "no memory for the policy; the one before it stays");
	} else {
		*err = x.err;
	}
	world_close(&x.world);
	return *err ? front_policy_free(x.p) : x.p;
}

struct front_policy *
front_policy_ref(struct front_policy *p)
{
	p->refs++;
	return p;
}

struct front_policy *
front_policy_free(struct front_policy *p)
{
	if (!p || --p->refs)
		return NULL;
	arena_free(p->a);
	if (p->map)
		ipc_unmap(p->map, p->nmap);
	free(p);
	/* a policy is the largest thing that is ever held here */
	malloc_trim(0);
	return NULL;
}

const char *
front_words(const struct front_policy *p, const char *text, char out[FRONT_WORDS])
{
	const char *contact = p ? p->policy->meta.contact : NULL;

	if (contact && !strstr(text, "; contact "))
		snprintf(out, FRONT_WORDS, "%.360s; contact %.100s", text, contact);
	else
		snprintf(out, FRONT_WORDS, "%s", text);
	for (char *at = out; *at; at++)
		if ((*at < ' ' && *at != '\n') || *at > '~')
			*at = '?';
	return out;
}

/* What passes of a relay, 0: all. A message of `bytes` passes unless the limit is strict. */
static uint64_t
passes(const struct policy_relay *r)
{
	if (!r->size.set)
		return 0;
	if (!r->size.strict)
		return r->size.bytes;
	return r->size.bytes > 1 ? r->size.bytes - 1 : 1;
}

static bool
largest(uint64_t *most, const struct policy_relay *r)
{
	uint64_t n = passes(r);

	if (n > *most)
		*most = n;
	return n != 0;
}

uint64_t
front_policy_size(const struct policy *p, const struct policy_application *x)
{
	const struct policy_submission *s = &p->submission;
	const struct policy_relay *via = x ? x->via : s->unregistered_via;
	uint64_t most = 0;

	if (via)
		return passes(via);
	for (size_t i = 0; i < s->nroute; i++)
		if (s->route[i].via && !largest(&most, s->route[i].via))
			return 0;
	return most;
}

/* ---- users ----------------------------------------------------------------------------- */

static struct front_uid *
name_find(const struct front *f, const char *name)
{
	for (size_t i = 0; i < f->nname; i++)
		if (!strcmp(f->name[i].name, name))
			return &f->name[i];
	return NULL;
}

int
front_names_take(struct front *f, const struct apply_host *h)
{
	for (uint32_t i = 0; i < h->nname; i++) {
		struct front_uid *n;

		if (h->name[i].kind != APPLY_USER)
			continue;
		n = name_find(f, h->name[i].name);
		if (!n) {
			char *name;

			if (f->nname == FRONT_NAMES)
				return -E2BIG;
			if (!f->name)
				f->name = calloc(FRONT_NAMES, sizeof *f->name);
			name = f->name ? strdup(h->name[i].name) : NULL;
			if (!name)
				return -ENOMEM;
			n = &f->name[f->nname++];
			n->name = name;
		}
		n->value = h->name[i].value;
	}
	return 0;
}

void
front_names_free(struct front *f)
{
	for (size_t i = 0; i < f->nname; i++)
		free(f->name[i].name);
	free(f->name);
	f->name = NULL;
	f->nname = 0;
}

static bool
is_number(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s);
}

void
front_policy_number(struct front *f, struct front_policy *p)
{
	const struct policy_submission *s = &p->policy->submission;
	char number[24];

	for (size_t i = 0; i < s->napplication; i++) {
		struct policy_application *x = s->application[i];
		const struct front_uid *n;
		uint64_t value = UINT64_MAX;

		if (!p->user[i])
			continue;
		if (is_number(p->user[i]))
			value = strtoull(p->user[i], NULL, 10);
		else if ((n = name_find(f, p->user[i])))
			value = n->value;
		/* a name that nobody has stays a name: no number matches it */
		if (value >= PEER_NO_UID) {
			x->user = p->user[i];
			continue;
		}
		snprintf(number, sizeof number, "%" PRIu64, value);
		if (strcmp(x->user, number) != 0)
			x->user = arena_str(p->a, number);
	}
}

unsigned
front_policy_wants(const struct front *f, const struct front_policy *p, struct apply_name *out,
    unsigned most)
{
	unsigned n = 0;

	for (size_t i = 0; i < p->policy->submission.napplication && n < most; i++) {
		unsigned k = 0;

		if (!p->user[i] || is_number(p->user[i]) || name_find(f, p->user[i]))
			continue;
		while (k < n && strcmp(out[k].name, p->user[i]) != 0)
			k++;
		if (k == n)
			out[n++] = (struct apply_name){APPLY_USER, p->user[i], UINT64_MAX};
	}
	return n;
}
