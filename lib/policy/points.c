/* Points and zones. */
#include <string.h>

#include "policy/load.h"

/* A key that stands at the wrong kind of point. */
static void
misplaced(struct load *l, const struct doc_node *value, const char *key, const char *kind,
    const char *hint)
{
	diag_hint(l->d, diag_add(l->d, DIAG_E0430, value->at, "a %s has no `%s`", kind, key),
	    "%s", hint);
}

static struct policy_zone *
zone_new(struct load *l, struct policy_point *pt)
{
	struct policy_zone *z = arena_of(l->a, struct policy_zone);

	z->point = pt;
	for (enum policy_dir d = POLICY_OUTBOUND; d < POLICY_NDIR; d++)
		z->judge[d] = (struct policy_judge){
			.zone = z, .dir = d, .at = TEXT_NO_SPAN, .capture_at = TEXT_NO_SPAN,
		};
	ARENA_PUSH(l->a, pt->zone, pt->nzone, pt->capzone) = z;
	return z;
}

static void
judges_make(struct load *l, struct policy_zone *z, const struct raw_judge raw[2],
    const char *what, struct text_span at, bool unknown)
{
	if (!raw[0].in.node && !raw[1].in.node && !unknown)
		diag_hint(l->d, diag_add(l->d, DIAG_E0431, at, "%s has no rules", what),
		    "write `outbound`, `inbound`, or both");
	for (enum policy_dir d = POLICY_OUTBOUND; d < POLICY_NDIR; d++)
		if (raw[d].in.node && raw[d].in.node->kind == DOC_MAP)
			judge_make(l, z, d, &raw[d]);
}

static void
zone_make(struct load *l, struct policy_point *pt, const struct raw_zone *raw)
{
	struct policy_zone *z = zone_new(l, pt);
	const char *what = arena_printf(l->a, "the zone `%s`", raw->in.name);
	struct policy_where internal = {.at = TEXT_NO_SPAN, .label = ""};

	meta_read(l, &raw->meta, raw->in.key->at, &z->meta);
	z->meta.name = raw->in.name;
	z->inside = (struct policy_where){.at = TEXT_NO_SPAN, .label = ""};
	if (raw->inside.items.node && where_read(l, &raw->inside, 0, &z->inside, NULL))
		families_check(l, what, &z->inside.set, &raw->families, z->inside.at,
		    where_named(&raw->inside));
	z->internal = z->inside.set;
	if (raw->internal.items.node && where_read(l, &raw->internal, 0, &internal, NULL))
		addr_set_union(l->a, &z->internal, &z->inside.set, &internal.set);
	z->internal_said = internal;
	judges_make(l, z, raw->judge, what, raw->in.key->at, raw->in.unknown);
}

enum { ZONES_MOST = 2000 };

static void
router_make(struct load *l, struct policy_point *pt, const struct raw_point *raw)
{
	struct names zones;

	for (enum policy_dir d = POLICY_OUTBOUND; d < POLICY_NDIR; d++)
		if (raw->judge[d].in.node)
			misplaced(l, raw->judge[d].in.node, policy_dir_word(d), "router",
			    "the rules of a router stand in a zone: "
			    "`zones: {NAME: {inside: NETWORK, outbound: ...}}`");
	if (raw->containers.node)
		misplaced(l, raw->containers.node, "containers", "router",
		    "a router forwards; what its containers do is forwarded as well");
	if (!raw->zones.node && raw->in.unknown)
		return;
	if (!raw->zones.node) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0431, raw->in.key->at,
		    "the router `%s` has no zones", pt->meta.name),
		    "write `zones: {NAME: {inside: NETWORK, outbound: ...}}`");
		return;
	}
	if (raw->zones.n > ZONES_MOST) {
		const struct raw_zone *z = SHAPE_AT(raw->zones, const struct raw_zone, ZONES_MOST);

		diag_hint(l->d, diag_add(l->d, DIAG_E0418, z->in.key->at,
		    "this is one zone more than the %d that a point can have", (int)ZONES_MOST),
		    "make one zone of the networks that have the same rules, or divide the point into "
		    "several");
		return;
	}
	names_init(l, &zones, "zone", "zones");
	for (size_t i = 0; i < raw->zones.n; i++) {
		const struct raw_zone *z = SHAPE_AT(raw->zones, const struct raw_zone, i);

		if (z->in.name && z->in.node->kind == DOC_MAP &&
		    names_add(l, &zones, z->in.name, z->in.key->at, pt))
			zone_make(l, pt, z);
	}
}

static void
host_make(struct load *l, struct policy_point *pt, const struct raw_point *raw)
{
	struct policy_zone *z = zone_new(l, pt);

	z->meta = pt->meta;
	z->inside = z->internal_said = (struct policy_where){.at = TEXT_NO_SPAN, .label = ""};
	if (raw->zones.node)
		misplaced(l, raw->zones.node, "zones", "host",
		    "write `outbound` and `inbound` directly in the point; a host has no inside");
	judges_make(l, z, raw->judge, arena_printf(l->a, "the host `%s`", pt->meta.name),
	    raw->in.key->at, raw->in.unknown);
}

void
points_make(struct load *l)
{
	const struct shape_list *list = &l->file[0]->raw.points;

	for (size_t i = 0; i < list->n; i++) {
		const struct raw_point *raw = SHAPE_AT(*list, const struct raw_point, i);
		struct policy_point *pt = arena_of(l->a, struct policy_point);

		if (!raw->in.name || raw->in.node->kind != DOC_MAP)
			continue;
		meta_read(l, &raw->meta, raw->in.key->at, &pt->meta);
		pt->meta.name = raw->in.name;
		pt->kind = (enum policy_kind)raw->kind.n;
		pt->state = (enum policy_state)raw->state.n;
		pt->as = (enum policy_as)raw->as.n;
		pt->observe = raw->mode.n;
		pt->containers = pt->kind == POLICY_HOST && (!raw->containers.ok || raw->containers.n);
		if (!names_add(l, &l->points, raw->in.name, raw->in.key->at, pt))
			continue;
		pt->index = (uint32_t)l->p->npoint;
		ARENA_PUSH(l->a, l->p->point, l->p->npoint, l->p->cappoint) = pt;
		if (!raw->kind.ok)
			continue;
		if (pt->kind == POLICY_ROUTER)
			router_make(l, pt, raw);
		else
			host_make(l, pt, raw);
	}
}
