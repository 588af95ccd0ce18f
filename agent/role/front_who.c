/* Who is at the other end, what each user has open, who gives way. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "role/front_inside.h"

/* The unit of a process that connected to the unix socket; it is believed only where the process still
 * lives when it has been read, so that the number cannot be another's by now. */
static char *
unit_of(const struct front *f, const struct peer_unix *x)
{
	const struct peer_places places = {f->opt->proc, f->cgroup};
	struct peer_who who;
	struct pollfd p = {.fd = x->pidfd, .events = POLLIN};

	if (!x->pid || places.proc < 0 || peer_pid(&places, x->pid, &who) || !who.unit[0])
		return NULL;
	if (x->pidfd >= 0 && poll(&p, 1, 0) != 0)
		return NULL;
	return strdup(who.unit);
}

void
front_who(struct front *f, int fd, bool tcp, uint32_t *uid, char **unit)
{
	*uid = PEER_NO_UID;
	*unit = NULL;
	if (tcp) {
		struct peer_sock s;
		const char *path;

		if (f->opt->diag < 0 || peer_of_tcp(f->opt->diag, fd, &s))
			return;
		*uid = s.uid;
		path = f->units && s.cgroup ? peer_units_path(f->units, s.cgroup, f->now) : NULL;
		*unit = path ? strdup(path) : NULL;
	} else {
		struct peer_unix x;

		if (peer_of_unix(fd, &x))
			return;
		*uid = x.uid;
		*unit = unit_of(f, &x);
		if (x.pidfd >= 0)
			close(x.pidfd);
	}
}

static struct front_user *
user_find(const struct front *f, uint32_t uid)
{
	for (struct front_user *u = f->user; u; u = u->next)
		if (u->uid == uid)
			return u;
	return NULL;
}

/* Who of the user's connections has not moved for longest, and so many ms. */
static struct front_conn *
slowest(const struct front *f, const struct front_user *u, uint64_t ms)
{
	struct front_conn *worst = NULL;

	for (unsigned i = 0; i < FRONT_MOST_CONNS; i++) {
		struct front_conn *c = f->conn[i];

		if (!c || c->u != u || c->m.at >= FRONT_AT_END || f->now - c->moved < ms)
			continue;
		if (!worst || c->moved < worst->moved)
			worst = c;
	}
	return worst;
}

static struct front_user *
noisiest(const struct front *f)
{
	struct front_user *most = NULL;

	for (struct front_user *u = f->user; u; u = u->next)
		if (!most || u->nconn > most->nconn)
			most = u;
	return most;
}

/* Frees a place by ending a connection of u. */
static bool
give_way(struct front *f, const struct front_user *u, uint64_t ms)
{
	struct front_conn *c = u ? slowest(f, u, ms) : NULL;

	if (!c)
		return false;
	front_conn_give_way(c);
	return true;
}

struct front_user *
front_user_enter(struct front *f, uint32_t uid, bool now, const char **why, bool *soon)
{
	struct front_user *u = user_find(f, uid);
	unsigned has = u ? u->nconn : 0;
	unsigned each = f->most > FRONT_MOST_EACH ? FRONT_MOST_EACH : f->most - f->most / 4;
	unsigned reserved = f->most > FRONT_MOST_EACH ? FRONT_RESERVED : f->most / 4;

	*why = "too many connections of this user are open; close some, or connect again later";
	*soon = false;
	if (has >= each && !give_way(f, u, FRONT_GIVES_WAY_MS))
		return NULL;
	*why = "too many connections are open; connect again later";
	if (f->nconn >= f->most - (has >= FRONT_FEW ? reserved : 0)) {
		const struct front_user *n = noisiest(f);

		/* whoever has as many as the noisiest makes place of his own; a moving one goes where that leaves it as
		   many as the newcomer has then */
		if (!give_way(f, n && n->nconn > has ? n : u, now && n && n->nconn > has + 1 ? 0 : FRONT_GIVES_WAY_MS)) {
			*soon = n && n->nconn > has;
			return NULL;
		}
	}
	/* it may have been the user's last one */
	u = user_find(f, uid);
	if (!u) {
		u = calloc(1, sizeof *u);
		if (!u)
			return NULL;
		u->uid = uid;
		u->next = f->user;
		f->user = u;
	}
	u->nconn++;
	return u;
}

bool
front_user_may_send(const struct front *f, const struct front_user *u)
{
	return f->nmsg < FRONT_MOST_MESSAGES || u->nmsg < FRONT_FEW;
}

void
front_user_leave(struct front *f, struct front_user *u)
{
	struct front_user **at = &f->user;

	if (--u->nconn)
		return;
	while (*at != u)
		at = &(*at)->next;
	*at = u->next;
	free(u);
}
