#include "prove/prove.h"

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
	return region_compare(p, &d, w);
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
