/*
 * load: a plan into the kernel, for users and units that need not exist.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "nl/batch.h"
#include "nl/form.h"
#include "nl/talk.h"
#include "plan/plan.h"
#include "prove/inside.h"

enum { FIRST_USER = 1 << 30, FIRST_UNIT = 1 << 20 };

/* Names and the numbers that they got: in order of first sight. */
struct made_up {
	struct arena *a;
	struct flow *flow;
	struct hash_names *taken;  /* user ids that the plan writes as numbers */
	struct hash_names *user, *unit;
	struct vm_name *uservalue, *unitvalue;
	size_t nuser, capuser, nunit, capunit;
	uint32_t next;
};

static int
uid_of(void *arg, const char *name, uint32_t *uid)
{
	struct made_up *m = arg;
	int fresh;
	uint32_t i = hash_names_add(m->user, name, strlen(name), &fresh);

	if (fresh) {
		while (hash_names_find(m->taken, (const char *)&m->next, sizeof m->next) != UINT32_MAX)
			m->next++;
		ARENA_PUSH(m->a, m->uservalue, m->nuser, m->capuser) =
		    (struct vm_name){m->next++, flow_user_value(m->flow, name, true)};
	}
	*uid = (uint32_t)m->uservalue[i].id;
	return 0;
}

static int
cgroup_of(void *arg, const char *path, uint64_t *id)
{
	struct made_up *m = arg;
	int fresh;
	uint32_t i = hash_names_add(m->unit, path, strlen(path), &fresh);

	if (fresh)
		ARENA_PUSH(m->a, m->unitvalue, m->nunit, m->capunit) =
		    (struct vm_name){FIRST_UNIT + i, flow_unit_value(m->flow, path, true)};
	*id = FIRST_UNIT + i;
	return 0;
}

static void
take(struct made_up *m, const char *user)
{
	uint32_t x;

	if (!user || !*user || strspn(user, "0123456789") != strlen(user))
		return;
	x = (uint32_t)strtoul(user, NULL, 10);
	hash_names_add(m->taken, (const char *)&x, sizeof x, NULL);
}

static void
take_numbers(struct made_up *m, const struct plan *p)
{
	for (uint32_t i = 0; i < p->nset; i++)
		for (size_t k = 0; p->set[i].key == PLAN_KEY_UID && k < p->set[i].n; k++)
			take(m, p->set[i].user[k]);
	for (uint32_t c = 0; c < p->nchain; c++)
		for (uint32_t r = 0; r < p->chain[c].nrule; r++)
			for (uint32_t k = 0; k < p->chain[c].rule[r].nmatch; k++)
				if (p->chain[c].rule[r].match[k].field == PLAN_SKUID)
					take(m, p->chain[c].rule[r].match[k].text);
}

/* The plan with every entry hooked. */
static const struct plan *
hooked(struct arena *a, const struct plan *p)
{
	struct plan *q = arena_of(a, struct plan);

	*q = *p;
	q->chain = arena_array(a, p->nchain, struct plan_chain);
	for (uint32_t c = 0; c < p->nchain; c++) {
		q->chain[c] = p->chain[c];
		q->chain[c].base = q->chain[c].entry;
	}
	return q;
}

static int
commit(struct prove *p, struct nl_talk *t, const struct nl_job *j,
    int (*build)(const struct nl_job *, struct nl_batch *, const char **))
{
	struct nl_faults *f = calloc(1, sizeof *f);
	struct nl_batch b = {0};
	int err;

	if (!f)
		return -ENOMEM;
	err = build(j, &b, &p->who);
	if (!err && b.changes) {
		err = nl_talk_send(t, &b, f);
		if (err && f->n)
			p->who = arena_printf(p->a, "%s%s%s",
			    f->v[0].item ? nl_item_text(p->a, f->v[0].item) : "the rules",
			    *f->v[0].text ? ": " : "", f->v[0].text);
	}
	nl_batch_free(&b);
	free(f);
	return err;
}

int
load_plan(struct prove *p, struct nl_talk *t, const struct plan *plan, struct vm_world *w)
{
	struct made_up m = {.a = p->a, .flow = p->flow, .taken = hash_names_new(p->a),
	    .user = hash_names_new(p->a), .unit = hash_names_new(p->a), .next = FIRST_USER};
	struct nl_host host = {.uid = uid_of, .cgroup = cgroup_of, .arg = &m};
	struct nl_job j = {.a = p->a, .seq = 1, .most = nl_talk_most(t)};
	struct nl_form *form;
	int err;

	take_numbers(&m, plan);
	err = nl_form(p->a, hooked(p->a, plan), &host, (struct nl_salt){0}, &form, &p->who);
	if (err)
		return err;
	j.form = form;
	err = commit(p, t, &j, nl_stage);
	if (!err)
		err = commit(p, t, &j, nl_swap);
	w->user = m.uservalue;
	w->nuser = m.nuser;
	w->unit = m.unitvalue;
	w->nunit = m.nunit;
	return err;
}

void
load_names(struct prove *p, struct vm_world *w)
{
	size_t nuser = flow_user_count(p->flow), nunit = flow_unit_count(p->flow);
	struct vm_name *user = arena_array(p->a, nuser, struct vm_name);
	struct vm_name *unit = arena_array(p->a, nunit, struct vm_name);
	uint64_t id;
	uint32_t uid;

	w->user = user;
	w->unit = unit;
	for (size_t i = 0; p->host && i < nuser; i++)
		if (!p->host->uid(p->host->arg, flow_user_name(p->flow, FLOW_USER_NAMES + i), &uid))
			user[w->nuser++] = (struct vm_name){uid, FLOW_USER_NAMES + i};
	for (size_t i = 0; p->host && i < nunit; i++)
		if (!p->host->cgroup(p->host->arg, flow_unit_name(p->flow, 1 + i), &id))
			unit[w->nunit++] = (struct vm_name){id, 1 + i};
}

void
load_world(struct prove *p, const struct prove_world *from, struct vm_world *w)
{
	struct vm_name *user, *unit;
	struct vm_iface *iface;

	*w = (struct vm_world){0};
	if (!from)
		return;
	w->user = user = arena_array(p->a, from->nuser, struct vm_name);
	w->unit = unit = arena_array(p->a, from->nunit, struct vm_name);
	w->iface = iface = arena_array(p->a, from->niface, struct vm_iface);
	for (size_t i = 0; i < from->nuser; i++)
		user[w->nuser++] = (struct vm_name){from->user[i].id,
		    flow_user_value(p->flow, from->user[i].name, true)};
	for (size_t i = 0; i < from->nunit; i++)
		unit[w->nunit++] = (struct vm_name){from->unit[i].id,
		    flow_unit_value(p->flow, from->unit[i].name, true)};
	for (size_t i = 0; i < from->niface; i++)
		iface[w->niface++] = (struct vm_iface){(uint32_t)from->iface[i].id,
		    from->iface[i].name};
}
