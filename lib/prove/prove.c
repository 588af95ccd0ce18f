#include "prove/prove.h"

#include <net/if.h>

#include "base/arena.h"
#include "nl/talk.h"
#include "prove/inside.h"

enum { TRIES = 10 };

/* The names of interfaces, for rules that know them by number. */
static void
interfaces(struct prove *p, struct vm_world *w)
{
	struct if_nameindex *all = if_nameindex();
	struct vm_iface *v;
	size_t n = 0;

	while (all && all[n].if_index)
		n++;
	w->iface = v = arena_array(p->a, n, struct vm_iface);
	w->niface = n;
	for (size_t i = 0; i < n; i++)
		v[i] = (struct vm_iface){all[i].if_index, arena_str(p->a, all[i].if_name)};
	if_freenameindex(all);
}

/* A socket to a kernel that has the ruleset; of a plan the names of its numbers too. */
static int
reach(struct prove *p, const struct prove_source *s, struct nl_talk **t, struct vm_world *w)
{
	int err = 0;

	p->who = NULL;
	*w = (struct vm_world){0};
	switch (s->from) {
	case PROVE_PLAN:
		p->step = PROVE_SPACE;
		err = space_open(t);
		if (err)
			return err;
		p->step = PROVE_LOAD;
		err = load_plan(p, *t, s->plan, w);
		if (err)
			nl_talk_close(*t);
		break;
	case PROVE_FILE:
		err = space_open_with(p, s->path, t);
		break;
	case PROVE_LIVE:
		p->step = PROVE_READ;
		err = nl_talk_open(t);
		break;
	}
	return err;
}

/* The ruleset as it was read back. */
static int
read_back(struct prove *p, const struct prove_source *s, struct nl_dump *d, struct vm_world *w)
{
	struct nl_talk *t = NULL;
	int err = reach(p, s, &t, w);

	if (err)
		return err;
	p->step = PROVE_READ;
	err = nl_talk_dump(t, p->a, 0, NULL, NL_DUMP_ALL, TRIES, d);
	nl_talk_close(t);
	p->step = err ? PROVE_READ : PROVE_EXECUTE;
	return err;
}

/* The names of this machine, for what is not of a plan: all that the flow knows by now. */
static void
names(struct prove *p, const struct prove_source *s, struct vm_world *w)
{
	if (s->from != PROVE_PLAN)
		load_names(p, w);
	if (s->from == PROVE_LIVE)
		interfaces(p, w);
}

int
prove_source(struct prove *p, const struct prove_source *s)
{
	struct vm_world w;
	struct nl_dump d;
	int err = read_back(p, s, &d, &w);

	if (err)
		return err;
	names(p, s, &w);
	return region_compare(p, NULL, &(struct side){&d, &w});
}

int
prove_sources(struct prove *p, const struct prove_source *was, const struct prove_source *is)
{
	struct vm_world w[2];
	struct nl_dump d[2];
	int err;

	err = read_back(p, was, &d[0], &w[0]);
	if (err)
		return err;
	err = read_back(p, is, &d[1], &w[1]);
	if (err)
		return err;
	names(p, was, &w[0]);
	names(p, is, &w[1]);
	return region_compare(p, &(struct side){&d[0], &w[0]}, &(struct side){&d[1], &w[1]});
}

int
prove_plan(struct prove *p, const struct plan *plan)
{
	return prove_source(p, &(struct prove_source){.from = PROVE_PLAN, .plan = plan});
}

int
prove_file(struct prove *p, const char *path)
{
	return prove_source(p, &(struct prove_source){.from = PROVE_FILE, .path = path});
}

int
prove_live(struct prove *p)
{
	return prove_source(p, &(struct prove_source){.from = PROVE_LIVE});
}

int
prove_dump(struct prove *p, const struct nl_dump *d, const struct prove_world *w)
{
	struct vm_world world;

	p->who = NULL;
	p->step = PROVE_EXECUTE;
	load_world(p, w, &world);
	return region_compare(p, NULL, &(struct side){d, &world});
}

int
prove_dumps(struct prove *p, const struct nl_dump *was, const struct prove_world *was_world,
    const struct nl_dump *is, const struct prove_world *is_world)
{
	struct vm_world was_names, is_names;

	p->who = NULL;
	p->step = PROVE_EXECUTE;
	load_world(p, was_world, &was_names);
	load_world(p, is_world, &is_names);
	return region_compare(p, &(struct side){was, &was_names}, &(struct side){is, &is_names});
}
