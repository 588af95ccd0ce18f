#include "prove/prove.h"

#include <net/if.h>

#include "base/arena.h"
#include "nl/talk.h"
#include "prove/inside.h"

enum { TRIES = 10 };

/* What the kernel behind the socket holds, compared; closes it. */
static int
read_and_compare(struct prove *p, struct nl_talk *t, const struct vm_world *w)
{
	struct nl_dump d;
	int err;

	p->step = PROVE_READ;
	err = nl_talk_dump(t, p->a, 0, NULL, NL_DUMP_ALL, TRIES, &d);
	nl_talk_close(t);
	if (err)
		return err;
	p->step = PROVE_EXECUTE;
	return region_compare(p, NULL, &(struct side){&d, w});
}

int
prove_plan(struct prove *p, const struct plan *plan)
{
	struct vm_world w = {0};
	struct nl_talk *t;
	int err;

	p->who = NULL;
	p->step = PROVE_SPACE;
	err = space_open(&t);
	if (err)
		return err;
	p->step = PROVE_LOAD;
	err = load_plan(p, t, plan, &w);
	if (err) {
		nl_talk_close(t);
		return err;
	}
	return read_and_compare(p, t, &w);
}

int
prove_file(struct prove *p, const char *path)
{
	struct vm_world w = {0};
	struct nl_talk *t;
	int err;

	p->who = NULL;
	err = space_open_with(p, path, &t);
	if (err)
		return err;
	load_names(p, &w);
	return read_and_compare(p, t, &w);
}

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

int
prove_live(struct prove *p)
{
	struct vm_world w = {0};
	struct nl_talk *t;
	int err;

	p->who = NULL;
	p->step = PROVE_READ;
	err = nl_talk_open(&t);
	if (err)
		return err;
	load_names(p, &w);
	interfaces(p, &w);
	return read_and_compare(p, t, &w);
}

int
prove_dump(struct prove *p, const struct nl_dump *d, const struct prove_world *w)
{
	struct vm_world names;

	p->who = NULL;
	p->step = PROVE_EXECUTE;
	load_world(p, w, &names);
	return region_compare(p, NULL, &(struct side){d, &names});
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
