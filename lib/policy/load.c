/* From the files of a policy to the policy: the list of passes. */
#include "policy/load.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "doc/doc.h"

enum {
	FILES_MOST = 256,
	DEEP_MOST = 16,            /* includes in each other */
};

/* ---- files -------------------------------------------------------------------- */

static const char *
why(int err)
{
	switch (-err) {
	case ENOENT:
		return "there is no such file";
	case EFBIG:
		return "it is too large";
	case EISDIR:
		return "it is a folder";
	case EACCES:
	case EPERM:
		return "it may not be read";
	case EXDEV:
	case ELOOP:
		return "it lies outside the policy's folder";
	}
	return "it cannot be read";
}

/* The folder of a path: "" or up to its last `/`. */
static const char *
folder(struct load *l, const char *path)
{
	const char *s = strrchr(path, '/');

	return s ? arena_strn(l->a, path, (size_t)(s - path) + 1) : "";
}

static void
file_read(struct load *l, const char *path, const char *name, const char *bytes, size_t len,
    unsigned depth);

static struct file *
file_find(struct load *l, const char *path)
{
	for (size_t i = 0; i < l->nfile; i++)
		if (!strcmp(l->file[i]->path, path))
			return l->file[i];
	return NULL;
}

static void
include_read(struct load *l, const struct file *from, const struct shape_text *t, unsigned depth)
{
	const char *path = arena_printf(l->a, "%s%s", from->dir, t->s), *bytes;
	const struct file *f = file_find(l, path);
	size_t len;
	int err;

	if (f && f->open) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0412, t->node->at,
		    "`%s` includes itself, directly or through others", path),
		    "break the circle: put what both need into a third file");
		return;
	}
	if (f)
		return;
	if (depth == DEEP_MOST || l->nfile == FILES_MOST) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0412, t->node->at,
		    "there are too many files"), "at most %d, and %d in each other",
		    (int)FILES_MOST, (int)DEEP_MOST);
		l->incomplete = true;
		return;
	}
	err = l->w->read(l->w->arg, l->a, path, DOC_MOST, &bytes, &len);
	if (err) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0411, t->node->at,
		    "`%s` cannot be included: %s", path, why(err)),
		    "its path is relative to the folder of the file that names it");
		l->incomplete = true;
		return;
	}
	file_read(l, path, path, bytes, len, depth + 1);
}

static void
file_read(struct load *l, const char *path, const char *name, const char *bytes, size_t len,
    unsigned depth)
{
	struct file *f = arena_of(l->a, struct file);
	const struct doc_node *root;
	size_t errors = l->d->errors;

	f->path = path;
	f->dir = folder(l, path);
	f->file = text_add(l->t, name, bytes, len);
	f->open = true;
	ARENA_PUSH(l->a, l->file, l->nfile, l->capfile) = f;
	root = doc_parse(l->a, l->t, f->file, l->d);
	if (root)
		shape_bind(l->a, l->d, depth ? &policy_included_type : &policy_file_type, root,
		    &f->raw);
	/* a text that broke off may have lost names */
	if (!root || root->bad || root->kind != DOC_MAP)
		l->incomplete = true;
	if (!root && l->d->errors == errors)
		diag_hint(l->d, diag_add(l->d, DIAG_E0480, (struct text_span){f->file, 0, 0},
		    "the file is empty"), "a policy begins with `mailreeve: 1`");
	for (size_t i = 0; i < f->raw.include.n; i++) {
		const struct shape_text *t = SHAPE_AT(f->raw.include, const struct shape_text, i);

		if (t->ok)
			include_read(l, f, t, depth);
	}
	f->open = false;
}

/* ---- the whole ------------------------------------------------------------------ */

static void
head_make(struct load *l)
{
	const struct raw_file *raw = &l->file[0]->raw;
	uint64_t sec;

	l->p->file = l->file[0]->file;
	l->p->timezone = raw->timezone.ok ? raw->timezone.s : "UTC";
	l->zone_bad = raw->timezone.node && !raw->timezone.ok;
	if (raw->timezone.ok && l->w->day(l->w->arg, l->p->timezone, 2000, 1, 1, &sec)) {
		assert(raw->timezone.node);
		diag_hint(l->d, diag_add(l->d, DIAG_E0460, raw->timezone.node->at,
		    "there is no time zone `%s`", l->p->timezone),
		    "write a name of the time zone database, as in `Europe/London`, or UTC");
		l->zone_bad = true;
	}
	meta_read(l, &raw->meta, raw->in.node ? raw->in.node->at :
	    (struct text_span){l->p->file, 0, 0}, &l->p->meta);
	if (!l->d->errors && !raw->points.node && !raw->submission.in.node)
		diag_hint(l->d, diag_add(l->d, DIAG_E0480, raw->version.node->at,
		    "the policy rules nothing"),
		    "write `points:`, where rules run, or `submission:`, what the forwarder does; "
		    "a file with networks and relays only is for `include`");
}

struct policy *
policy_load(struct arena *a, struct text_set *t, const char *name,
    const char *bytes, size_t len, const struct policy_world *w, struct diags *d)
{
	struct load l = {.a = a, .t = t, .w = w, .d = d};
	const char *base = strrchr(name, '/');

	l.p = arena_of(a, struct policy);
	l.p->a = a;
	l.p->text = t;
	names_init(&l, &l.networks, "network", "networks");
	names_init(&l, &l.ports, "set of ports", "ports");
	l.ports.builtin = ports_builtin_at;
	names_init(&l, &l.relays, "relay", "relays");
	names_init(&l, &l.points, "point", "points");
	names_init(&l, &l.kinds, "kind", "kinds");
	names_init(&l, &l.applications, "application", "applications");

	file_read(&l, base ? base + 1 : name, name, bytes, len, 0);
	head_make(&l);
	networks_make(&l);
	ports_make(&l);
	relays_make(&l);
	kinds_make(&l);
	submission_make(&l);
	points_make(&l);
	judges_order(&l);
	tests_make(&l);
	check_judges(&l);
	check_submission(&l);
	diags_sort(d);
	return d->errors ? NULL : l.p;
}
