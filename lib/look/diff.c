/* diff: two policies, point by point. */
#include "look/look.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"

/* Boxes told of one point: past that a person reads the policies. */
/* More than anybody reads, and still bounded memory. */
enum { BOXES = 100 * 1000 };

static const struct policy_point *
point_of(const struct policy *p, const char *name)
{
	for (size_t i = 0; i < p->npoint; i++)
		if (!strcmp(p->point[i]->meta.name, name))
			return p->point[i];
	return NULL;
}

static bool
compare(struct arena *m, struct flow *f, const struct policy_point *was,
    const struct policy_point *now, struct diags *d, struct look_diff *out)
{
	flow_ref a = was ? flow_point(f, was, d) : flow_nothing(f);
	flow_ref b = now ? flow_point(f, now, d) : flow_nothing(f);
	struct look_point_diff *x;

	if (a == FLOW_NONE || b == FLOW_NONE)
		return false;
	x = &ARENA_PUSH(m, out->point, out->npoint, out->cappoint);
	x->name = (was ? was : now)->meta.name;
	x->was = was;
	x->now = now;
	flow_diff(f, m, a, b, false, BOXES, &x->diff);
	out->traffic |= x->diff.nbox > 0 || x->diff.truncated;
	return true;
}

int
look_diff(struct arena *m, struct flow *f, const struct policy *was,
    const struct policy *now, struct diags *d, struct look_diff *out)
{
	struct look_diff x = {0};

	/* In the order of the new policy; what is gone comes last. */
	for (size_t i = 0; i < now->npoint; i++)
		if (!compare(m, f, point_of(was, now->point[i]->meta.name), now->point[i], d, &x))
			return -E2BIG;
	for (size_t i = 0; i < was->npoint; i++)
		if (!point_of(now, was->point[i]->meta.name) &&
		    !compare(m, f, was->point[i], NULL, d, &x))
			return -E2BIG;
	look_diff_records(m, was, now, &x);
	*out = x;
	return 0;
}
