/* Range lists: one range a line, "#" begins a comment. A million lines are
 * ordinary, so nothing is made of a line but its range. */
#include <errno.h>
#include <string.h>

#include "policy/load.h"

enum {
	LIST_MOST = 256 * 1024 * 1024,
	LIST_TOLD = 20,            /* mistakes of one list that are told one by one */
};

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

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

static bool
line_read(struct load *l, const char *s, size_t n, uint32_t file, uint32_t off, size_t *bad,
    struct addr_set *out)
{
	struct addr_prefix p;
	enum addr_wrong w;
	char fix[64];

	w = addr_prefix_read(s, n, &p, NULL);
	if (w == ADDR_OK) {
		addr_set_add(l->a, out, p.family, p.lo, p.hi);
		return true;
	}
	if ((*bad)++ < LIST_TOLD) {
		struct text_span at = {file, off, (uint32_t)(n < 200 ? n : 200)};

		fix[0] = 0;
		addr_prefix_read(s, n, &p, fix);
		address_wrong(l, w, s, n, fix, at);
	}
	return false;
}

/* The file of a list, read once however many networks name it; its number, or UINT32_MAX with
 * a diagnostic. */
static uint32_t
list_of(struct load *l, const char *name, struct text_span at, bool *again)
{
	const char *bytes;
	size_t len;
	uint32_t i;
	int err;

	if (!l->lists)
		l->lists = hash_names_new(l->a);
	i = hash_names_find(l->lists, name, strlen(name));
	*again = i != UINT32_MAX;
	if (*again)
		return i;
	err = l->w->read(l->w->arg, l->a, name, LIST_MOST, &bytes, &len);
	if (err) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0413, at,
		    "the list `%s` is not there to read: %s", name, why(err)),
		    "its path is relative to the folder of the file that names it");
		return UINT32_MAX;
	}
	ARENA_PUSH(l->a, l->list, l->nlist, l->caplist) = (struct list_file){
		.file = text_add(l->t, name, bytes, len)};
	return hash_names_add(l->lists, name, strlen(name), NULL);
}

bool
list_read(struct load *l, const char *dir, const struct shape_text *path, struct addr_set *out)
{
	const char *name = arena_printf(l->a, "%s%s", dir, path->s), *bytes, *s, *end;
	size_t bad = 0, good = 0;
	uint32_t file, i;
	bool again;

	i = list_of(l, name, path->node->at, &again);
	if (i == UINT32_MAX || l->list[i].bad)
		return false;
	file = l->list[i].file;
	if (again && !copied_ok(l, l->t->file[file]->len / 8, path->node->at))
		return false;
	bytes = l->t->file[file]->bytes;
	end = bytes + l->t->file[file]->len;
	for (s = bytes; s < end; ) {
		const char *nl = memchr(s, '\n', (size_t)(end - s)), *e = nl ? nl : end, *next, *c;

		next = e + 1;
		if ((c = memchr(s, '#', (size_t)(e - s))))
			e = c;
		while (s < e && blank(*s))
			s++;
		while (e > s && blank(e[-1]))
			e--;
		if (e > s)
			good += line_read(l, s, (size_t)(e - s), file, (uint32_t)(s - bytes), &bad, out);
		s = next;
	}
	l->list[i].bad = bad || !good;
	if (bad > LIST_TOLD)
		diag_hint(l->d, diag_add(l->d, DIAG_E0414, path->node->at,
		    "the list `%s` has %zu mistakes, of which %d are shown", name, bad,
		    (int)LIST_TOLD), "correct these first: the others are probably of the same kind");
	if (!bad && !good) {
		diag_hint(l->d, diag_add(l->d, DIAG_E0414, path->node->at,
		    "the list `%s` holds no range", name),
		    "one range a line: `131.111.64.0/20`; an empty list is never `any`");
		return false;
	}
	return !bad;
}
