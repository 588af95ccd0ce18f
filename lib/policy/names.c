/* Names: each once, and what they mean. */
#include "policy/load.h"

#include <string.h>

#include "base/hash.h"
#include "base/near.h"

void
names_init(struct load *l, struct names *n, const char *what, const char *where)
{
	*n = (struct names){.what = what, .where = where, .hash = hash_names_new(l->a)};
}

/* Words that stand where names stand, and would hide a thing of that name. */
static bool
is_word(const char *s)
{
	static const char *const word[] = {
		"any", "anywhere", "all", "endpoints", "relays", "internal", "none", NULL,
	};

	for (size_t i = 0; word[i]; i++)
		if (!strcmp(s, word[i]))
			return true;
	return false;
}

bool
names_add(struct load *l, struct names *n, const char *name, struct text_span at, void *thing)
{
	int fresh;
	uint32_t i;

	if (is_word(name)) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0403, at,
		    "`%s` is a word of the language and cannot name a %s", name, n->what),
		    "choose another name");
		return false;
	}
	i = hash_names_add(n->hash, name, strlen(name), &fresh);
	if (!fresh) {
		diag_hint(l->d, diag_also(diag_add(l->d, DIAG_E0401, at,
		    "the %s `%s` is defined twice", n->what, name), n->v[i].at,
		    "the first one is here"), "give one of them another name, or remove it");
		return false;
	}
	ARENA_PUSH(l->a, n->v, n->n, n->cap) = (struct name_row){hash_names_at(n->hash, i), at, thing};
	return true;
}

static void *
names_find(const struct names *n, const char *name)
{
	uint32_t i = hash_names_find(n->hash, name, strlen(name));

	return i == UINT32_MAX ? NULL : n->v[i].thing;
}

static const char *
name_at(const void *arg, size_t i)
{
	const struct names *n = arg;

	return i < n->n ? n->v[i].name : n->builtin ? n->builtin(i - n->n) : NULL;
}

/* Another kind of thing that bears the name: a natural slip. */
static const char *
other_kind(const struct load *l, const struct names *n, const char *name)
{
	const struct names *all[] = {&l->networks, &l->ports, &l->relays, &l->points};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i] != n && names_find(all[i], name))
			return all[i]->what;
	return NULL;
}

void *
names_need(struct load *l, const struct names *n, const char *name, struct text_span at)
{
	void *thing = names_find(n, name);
	const char *near, *all = "";
	const char *kind;
	struct diag *g;

	if (thing || l->incomplete)
		return thing;
	g = diag_add(l->d, DIAG_E0402, at, "there is no %s `%s`", n->what, name);
	kind = other_kind(l, n, name);
	if (kind && n == &l->networks && !strcmp(kind, l->relays.what)) {
		diag_hint(l->d, g, "`%s` is a relay; name its ranges as a network, and write that name "
		    "here and in the relay's `ranges`", name);
		return NULL;
	}
	if (kind) {
		diag_hint(l->d, g, "`%s` is a %s", name, kind);
		return NULL;
	}
	if ((near = near_of(name, strlen(name), name_at, n))) {
		diag_hint(l->d, g, "did you mean `%s`?", near);
		return NULL;
	}
	for (size_t i = 0; i < 12 && name_at(n, i); i++)
		all = arena_printf(l->a, "%s%s%s", all, i ? ", " : "", name_at(n, i));
	if (!*all)
		diag_hint(l->d, g, "define it under `%s`; there is none yet", n->where);
	else
		diag_hint(l->d, g, "define it under `%s`; those there are: %s%s", n->where, all,
		    name_at(n, 12) ? ", ..." : "");
	return NULL;
}
