/*
 * names: the numbers that users and units have on this host.
 *
 * A unit's is the inode of its folder below the control groups' mount: it is another each time
 * that the unit starts anew, so it is looked at every second; a user's seldom changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "parent/inside.h"

enum { USERS_TICKS = 60 };

int
cgroup_open(void)
{
	static const char *const place[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	struct statfs f;

	for (size_t i = 0; i < sizeof place / sizeof place[0]; i++) {
		int fd = open(place[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0 && !fstatfs(fd, &f) && (unsigned long)f.f_type == CGROUP2_SUPER_MAGIC)
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -1;
}

bool
units_look(struct parent *p, struct state_about *a)
{
	bool other = false;

	for (uint32_t i = 0; i < a->nname; i++) {
		struct state_name *n = &a->name[i];
		uint64_t x = UINT64_MAX;
		const char *path = n->name;
		struct stat st;

		if (n->kind == APPLY_USER)
			continue;
		while (*path == '/')
			path++;
		if (p->cgroup >= 0 && !fstatat(p->cgroup, path, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISDIR(st.st_mode))
			x = st.st_ino;
		other = other || x != n->value;
		n->value = x;
	}
	return other;
}

static void
hosted(void *arg, struct ipc_in *in, int err)
{
	(void)arg;
	err = done_error(in, err);
	if (err)
		log_say(LOG_IS_ERROR, NULL, "new numbers of users or units cannot be put in force: %s",
		    strerror(-err));
}

static void
tell(struct parent *p)
{
	struct apply_name v[APPLY_MOST_NAMES];
	struct apply_host h = {.name = v};
	const struct state_about *a = &p->force.about;
	int err;

	for (; h.nname < a->nname && h.nname < APPLY_MOST_NAMES; h.nname++)
		h.name[h.nname] = (struct apply_name){.kind = a->name[h.nname].kind ? APPLY_UNIT : APPLY_USER,
		    .name = a->name[h.nname].name, .value = a->name[h.nname].value};
	err = ask_apply(p, APPLY_HOST, &h, -1, APPLY_DONE, ASK_US, hosted, p);
	if (err)
		hosted(p, NULL, err);
}

static void
users_told(void *arg, struct ipc_in *in, const char *why)
{
	struct parent *p = arg;
	struct state_about *a = &p->force.about;
	const struct apply_host *h;
	const void *body;
	bool other = false;

	p->names_asked = false;
	if (why || ipc_body(in, &spawn_names_shape, &body)) {
		log_say(LOG_IS_WARNING, NULL, "users cannot be looked up: %s", why ? why : "no answer");
		return;
	}
	/* while another generation is on its way it looks by itself */
	if (p->changing)
		return;
	h = body;
	for (uint32_t i = 0; i < a->nname; i++)
		for (uint32_t k = 0; k < h->nname && a->name[i].kind == APPLY_USER; k++)
			if (!strcmp(a->name[i].name, h->name[k].name) &&
			    a->name[i].value != h->name[k].value) {
				log_say(LOG_IS_NOTICE, NULL, "the user %s has another number now", a->name[i].name);
				a->name[i].value = h->name[k].value;
				other = true;
			}
	if (!other)
		return;
	tell(p);
	(void)state_about_put(p->state, STATE_IN_HISTORY, p->force.number, a);
}

static void
users_look(struct parent *p)
{
	struct apply_name v[APPLY_MOST_NAMES];
	struct apply_host h = {.name = v};
	const struct state_about *a = &p->force.about;

	for (uint32_t i = 0; i < a->nname && h.nname < APPLY_MOST_NAMES; i++)
		if (a->name[i].kind == APPLY_USER)
			v[h.nname++] = (struct apply_name){.kind = APPLY_USER, .name = a->name[i].name};
	p->names_due = false;
	if (h.nname == 0)
		return;
	if (!job_start(p, SPAWN_NAMES, NAMES_ASK, &spawn_names_shape, &h, NULL, 0, NAMES_TOLD, users_told,
	    p))
		p->names_asked = true;
}

void
names_tick(struct parent *p)
{
	if (!p->force.number || p->changing)
		return;
	if (units_look(p, &p->force.about))
		tell(p);
	if (!p->names_asked && (p->names_due || p->ticks % USERS_TICKS == 0))
		users_look(p);
}
