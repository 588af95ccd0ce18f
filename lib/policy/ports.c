/* Ports: names, numbers and ranges to sets. */
#include <string.h>

#include "policy/load.h"
#include "policy/read.h"

static const struct {
	const char *name;
	uint16_t port;             /* 0: all the mail ports */
} builtin[] = {
	{"smtp", 25},
	{"submission", 587},
	{"submissions", 465},
	{"imap", 143},
	{"imaps", 993},
	{"pop3", 110},
	{"pop3s", 995},
	{"mail", 0},
};

enum { NBUILTIN = sizeof builtin / sizeof *builtin };

static bool
ports_builtin(const char *name)
{
	for (size_t i = 0; i < NBUILTIN; i++)
		if (!strcmp(builtin[i].name, name))
			return true;
	return false;
}

const char *
ports_builtin_at(size_t i)
{
	return i < NBUILTIN ? builtin[i].name : NULL;
}

static bool
portset_make(struct load *l, struct portset *s);

static void
set_add(struct load *l, struct port_set *out, const struct port_set *in)
{
	for (size_t i = 0; i < in->n; i++)
		port_set_add(l->a, out, in->v[i].lo, in->v[i].hi);
}

static bool
name_add(struct load *l, const struct shape_text *t, struct port_set *out)
{
	struct portset *s;

	for (size_t i = 0; i < NBUILTIN; i++)
		if (!strcmp(builtin[i].name, t->s)) {
			if (builtin[i].port)
				port_set_add(l->a, out, builtin[i].port, builtin[i].port);
			else
				set_add(l, out, &port_set_mail);
			return true;
		}
	s = names_need(l, &l->ports, t->s, t->node->at);
	if (!s)
		return false;
	if (s->made == MADE_NOW) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0404, t->node->at,
		    "the ports `%s` are made of themselves", t->s),
		    "break the circle: write the numbers in one of them");
		return false;
	}
	if ((s->made == MADE_NOT && !nesting_ok(l, t)) || !portset_make(l, s) ||
	    !copied_ok(l, s->p->set.n, t->node->at))
		return false;
	set_add(l, out, &s->p->set);
	return true;
}

bool
ports_read(struct load *l, const struct shape_list *raw, struct policy_ports *out)
{
	bool ok = raw->ok;

	*out = (struct policy_ports){.at = raw->node->at, .label = ""};
	for (size_t i = 0; i < raw->n; i++) {
		const struct shape_text *t = SHAPE_AT(*raw, const struct shape_text, i);
		uint16_t lo, hi;

		if (!t->ok)
			continue;
		if (i < 8)
			out->label = arena_printf(l->a, "%s%s%s", out->label, *out->label ? "," : "", t->s);
		else if (i + 1 == raw->n)
			out->label = arena_printf(l->a, "%s,+%zu", out->label, raw->n - 8);
		if (read_ports(t->s, t->n, &lo, &hi))
			port_set_add(l->a, &out->set, lo, hi);
		else
			ok &= name_add(l, t, &out->set);
	}
	port_set_finish(&out->set);
	return ok;
}

static bool
portset_make(struct load *l, struct portset *s)
{
	if (s->made == MADE_NOT) {
		const char *name = s->p->label;

		s->made = MADE_NOW;
		l->nesting++;
		s->bad = !ports_read(l, &s->raw->items, s->p);
		l->nesting--;
		s->p->label = name;
		s->made = MADE;
	}
	return !s->bad;
}

void
ports_make(struct load *l)
{
	for (size_t i = 0; i < l->nfile; i++) {
		const struct shape_list *list = &l->file[i]->raw.ports;

		for (size_t k = 0; k < list->n; k++) {
			const struct raw_ports *raw = SHAPE_AT(*list, const struct raw_ports, k);
			struct portset *s = arena_of(l->a, struct portset);

			if (!raw->in.name)
				continue;
			s->p = arena_of(l->a, struct policy_ports);
			s->p->label = raw->in.name;
			s->raw = raw;
			if (ports_builtin(raw->in.name)) {
				diag_hint(l->d, diag_add(l->d, DIAG_E0403, raw->in.key->at,
				    "`%s` is built in and keeps its meaning", raw->in.name),
				    "choose another name");
				continue;
			}
			if (names_add(l, &l->ports, raw->in.name, raw->in.key->at, s))
				ARENA_PUSH(l->a, l->p->ports, l->p->nports, l->p->capports) = s->p;
		}
	}
	for (size_t i = 0; i < l->ports.n; i++)
		portset_make(l, l->ports.v[i].thing);
}
