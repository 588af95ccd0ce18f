/*
 * points: where the rules of a policy run, one a line, for people and for loops
 * in a shell.
 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "gen/commands.h"
#include "gen/unit.h"

static const char *
kind_word(const struct policy_point *pt)
{
	return pt->kind == POLICY_ROUTER ? "router" : "host";
}

int
command_points(const struct args *a)
{
	int form = unit_form(a, 1u << UNIT_HUMAN | 1u << UNIT_JSON), status;
	struct buf out = BUF_INIT(UNIT_OUT_MOST);
	struct unit u;

	if (form < 0)
		return UNIT_MACHINE;
	status = unit_open(&u, a->word[0], a);
	if (!status)
		status = unit_run(&u, 1u << COMPILE_READ);
	if (!status) {
		const struct policy *p = u.c.policy;

		if (form == UNIT_JSON)
			buf_chr(&out, '[');
		for (size_t i = 0; i < p->npoint; i++) {
			const struct policy_meta *m = &p->point[i]->meta;

			if (form == UNIT_HUMAN) {
				buf_printf(&out, "%s\t%s%s%s\n", m->name, kind_word(p->point[i]),
				    m->title ? "\t" : "", m->title ? m->title : "");
				continue;
			}
			buf_str(&out, i ? ",\n {\"point\": " : "\n {\"point\": ");
			buf_json(&out, m->name);
			buf_printf(&out, ", \"kind\": \"%s\", \"title\": ", kind_word(p->point[i]));
			buf_json(&out, m->title ? m->title : "");
			buf_chr(&out, '}');
		}
		if (form == UNIT_JSON)
			buf_str(&out, "]\n");
		status = unit_write(a, &out, 0);
	}
	unit_close(&u);
	return status;
}
