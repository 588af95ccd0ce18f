/*
 * mail: the roles front, queue and relay, and all that they get from the parent: channels, listeners, the
 * spool's folder, the policy in force, credentials, numbers of users.
 *
 * What the policy in force wants is told by a compile child (COMPILE_WANT_MAIL), for the parent reads no
 * policy. A role that dies takes the two others with it (team.c); mail stays in the spool, and who
 * connects meanwhile waits at the listeners, which are the parent's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "parent/inside.h"

enum {
	STOP_US = 12 * 1000000,
	BIND_US = 5 * 1000000,     /* between two tries */
	AGAIN_US = 5 * 1000000,    /* until a policy that was not taken is told again; doubles */
	AGAIN_MOST_US = 300 * 1000000,
	NAMES_TICKS = 60,
	MOST_FDS = 2 + MAIL_LISTENERS + 1,
};

static const char in_use[] = "another program listens there (ss -ltnp tells which)";

/* ---- texts --------------------------------------------------------------------------------- */

static void
texts_free(struct texts *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		free(t->v[i]);
	free(t->v);
	*t = (struct texts){0};
}

static bool
texts_take(struct texts *t, const struct compile_text *v, uint32_t n)
{
	texts_free(t);
	t->v = n ? calloc(n, sizeof *t->v) : NULL;
	if (n && !t->v)
		return false;
	for (; t->n < n; t->n++)
		if (!(t->v[t->n] = strdup(v[t->n].text)))
			return false;
	return true;
}

static bool
texts_copy(struct texts *to, const struct texts *from)
{
	texts_free(to);
	to->v = from->n ? calloc(from->n, sizeof *to->v) : NULL;
	if (from->n && !to->v)
		return false;
	for (; to->n < from->n; to->n++)
		if (!(to->v[to->n] = strdup(from->v[to->n])))
			return false;
	return true;
}

static bool
texts_have(const struct texts *t, const char *s)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (!strcmp(t->v[i], s))
			return true;
	return false;
}

static void
trouble(struct parent *p, const char *text)
{
	struct mail *m = &p->mail;

	if (!strcmp(m->trouble, text))
		return;
	snprintf(m->trouble, sizeof m->trouble, "%s", text);
	if (*text)
		log_say(LOG_IS_ERROR, NULL, "submission: %s", text);
}

/* ---- questions to the roles ---------------------------------------------------------------------- */

static uint32_t
next_id(struct parent *p)
{
	if (++p->next_id == 0)
		p->next_id = 1;
	return p->next_id;
}

int
ask_mail(struct parent *p, struct role *r, uint32_t type, const void *body, uint32_t want, uint64_t within,
    ask_fn *fn, void *arg)
{
	const struct ipc_shape *s = &mail_ask_shape[type];
	struct mail_question *q = NULL;
	int err;

	if (r->chan < 0)
		return -ENOTCONN;
	for (int i = 0; i < MAIL_ASKS && !q; i++)
		if (p->mail.ask[i].ask.id == 0)
			q = &p->mail.ask[i];
	if (!q)
		return -EBUSY;
	err = ipc_send(r->chan, type, next_id(p), s->size ? s : NULL, s->size ? body : NULL, NULL, 0);
	if (!err)
		*q = (struct mail_question){.role = r, .ask = {.id = p->next_id, .want = want,
		    .until = now_us(CLOCK_MONOTONIC) + within, .fn = fn, .arg = arg}};
	return err;
}

static void
answer(struct mail_question *q, struct ipc_in *in, int err)
{
	struct ask x = q->ask;

	*q = (struct mail_question){0};
	x.fn(x.arg, in, err);
}

void
mail_asks_drop(struct parent *p, const void *arg)
{
	for (int i = 0; i < MAIL_ASKS; i++)
		if (p->mail.ask[i].ask.id && p->mail.ask[i].ask.arg == arg)
			p->mail.ask[i] = (struct mail_question){0};
}

static void
asks_end(struct parent *p, bool all)
{
	uint64_t now = now_us(CLOCK_MONOTONIC);

	for (int i = 0; i < MAIL_ASKS; i++)
		if (p->mail.ask[i].ask.id && (all || p->mail.ask[i].ask.until <= now))
			answer(&p->mail.ask[i], NULL, all ? -ECONNRESET : -ETIMEDOUT);
}

/* ---- the policy ----------------------------------------------------------------------------------- */

/* The bundle of what is in force as a sealed memory file. The descriptor or -errno. */
static int
bundle_open(struct parent *p)
{
	size_t size;
	void *m;
	int fd, err = state_plan(p->state, STATE_IN_HISTORY, p->mail.number, true, &fd, &size);

	if (err)
		return err;
	m = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	err = m == MAP_FAILED ? -errno : 0;
	close(fd);
	if (err)
		return err;
	fd = ipc_file("bundle", m, size);
	munmap(m, size);
	return fd;
}

static void
send_policy(struct parent *p)
{
	struct mail *m = &p->mail;
	struct role *const all[] = {&m->queue, &m->relay, &m->front};
	struct mail_policy b = {.host = p->host};
	int fd = bundle_open(p), err = fd < 0 ? fd : 0;
	char text[300];

	for (int i = 0; i < 3 && !err; i++) {
		if (all[i]->chan < 0)
			continue;
		m->policy_id[i] = next_id(p);
		err = ipc_send(all[i]->chan, MAIL_POLICY, m->policy_id[i], &mail_ask_shape[MAIL_POLICY], &b, &fd, 1);
	}
	if (fd >= 0)
		close(fd);
	/* one that has died is started again, and told then */
	if (err && err != -EPIPE) {
		snprintf(text, sizeof text, "the policy cannot be told to the mail roles: %s", strerror(-err));
		trouble(p, text);
	}
}

/* ---- credentials ------------------------------------------------------------------------------------ */

int
mail_credential_open(struct parent *p, const char *name, char *why, size_t room)
{
	enum { MOST = 64 << 10 };
	const char *dir = p->o->credentials;
	bool system = p->o->credentials_of_manager;
	char path[512], *bytes;
	struct stat st;
	ssize_t n;
	int fd, out;

	if (!*name || *name == '.' || strchr(name, '/')) {
		snprintf(why, room, "'%s' is no name of a credential", name);
		return -1;
	}
	snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		snprintf(why, room, "%s: %s", path, errno == ENOENT ? "there is no such file" :
		    errno == ELOOP ? "it is a symbolic link" : errno != EACCES ? strerror(errno) :
		    "the agent may not read it: let the file be its own user's, or use LoadCredential=");
		return -1;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		snprintf(why, room, "%s is no regular file", path);
	} else if (st.st_uid != 0 && st.st_uid != p->uid) {
		snprintf(why, room, "%s belongs to uid %u; it must be root's, or the agent's (uid %u)", path, st.st_uid,
		    p->uid);
	} else if (st.st_mode & (system ? 0037 : 0077)) {
		/* systemd's own copies bear an access list for the unit's user, whose mask shows as the group's */
		snprintf(why, room, "%s may be read or written by others (mode %04o): chmod 0600", path,
		    st.st_mode & 07777);
	} else if (st.st_size > MOST) {
		snprintf(why, room, "%s is larger than %d bytes", path, MOST);
	} else {
		bytes = malloc(MOST);
		n = bytes ? read(fd, bytes, MOST) : -1;
		out = n > 0 ? ipc_file("credential", bytes, (size_t)n) : -1;
		if (out < 0)
			snprintf(why, room, "%s %s", path, n == 0 ? "is empty" : strerror(errno));
		if (bytes)
			explicit_bzero(bytes, MOST);
		free(bytes);
		close(fd);
		return out;
	}
	close(fd);
	return -1;
}

/* Where a credential is of no use, its relay's mail stays: that is said in `status`. */
static void
credential_bad(struct mail *m, const char *name, const char *why)
{
	log_say(LOG_IS_ERROR, NULL, "credential %s: %s", name, why);
	if (m->credentials_bad++ == 0)
		snprintf(m->credential_why, sizeof m->credential_why, "credential %s: %s", name, why);
}

static void
send_credentials(struct parent *p)
{
	struct mail *m = &p->mail;

	m->credentials_bad = 0;
	/* one after the other, also past the number's end */
	if (p->next_id > UINT32_MAX - m->credential.n - 1)
		p->next_id = 0;
	m->credential_id = p->next_id + 1;
	m->credentials_read = now_us(CLOCK_REALTIME);
	for (uint32_t i = 0; i < m->credential.n && m->relay.chan >= 0; i++) {
		char why[900] = "";
		int fd = mail_credential_open(p, m->credential.v[i], why, sizeof why), err;
		struct mail_credential c = {.name = m->credential.v[i], .gone = fd < 0, .text = why};

		if (fd < 0)
			credential_bad(m, c.name, why);
		err = ipc_send_wait(m->relay.chan, MAIL_CREDENTIAL, next_id(p), &mail_ask_shape[MAIL_CREDENTIAL], &c, &fd,
		    fd >= 0, 1000);
		if (fd >= 0)
			close(fd);
		if (err) {
			log_say(LOG_IS_ERROR, NULL, "credential %s cannot be told to the role relay: %s", c.name,
			    strerror(-err));
			return;
		}
	}
}

/* ---- names ------------------------------------------------------------------------------------------- */

static void
named(void *arg, struct ipc_in *in, const char *why)
{
	struct parent *p = arg;
	const void *body;

	p->mail.names_asked = false;
	if (!why && ipc_body(in, &spawn_names_shape, &body))
		why = "no answer";
	if (why)
		log_say(LOG_IS_WARNING, NULL, "users of the policy's applications cannot be looked up: %s", why);
	else if (p->mail.front.chan >= 0)
		(void)ipc_send(p->mail.front.chan, MAIL_NAMES, next_id(p), &mail_ask_shape[MAIL_NAMES], body, NULL, 0);
}

static void
look_up(struct parent *p)
{
	struct apply_name v[APPLY_MOST_NAMES];
	struct apply_host h = {.name = v};
	struct mail *m = &p->mail;

	for (; h.nname < m->want.n && h.nname < APPLY_MOST_NAMES; h.nname++)
		v[h.nname] = (struct apply_name){.kind = APPLY_USER, .name = m->want.v[h.nname], .value = UINT64_MAX};
	if (h.nname && !m->names_asked && !job_start(p, SPAWN_NAMES, NAMES_ASK, &spawn_names_shape, &h, NULL, 0,
	    NAMES_TOLD, named, p))
		m->names_asked = true;
}

static void
wanted(struct parent *p, const struct apply_host *h)
{
	struct compile_text v[APPLY_MOST_NAMES];
	uint32_t n = 0;

	for (; n < h->nname && n < APPLY_MOST_NAMES; n++)
		v[n].text = h->name[n].name;
	if (texts_take(&p->mail.want, v, n))
		look_up(p);
}

/* ---- what the roles tell --------------------------------------------------------------------------------- */

/* A want of the moment passes; what a role cannot understand it never will. */
static void
again_later(struct mail *m, int err)
{
	if (err != ENOMEM && err != EMFILE && err != ENFILE && err != EAGAIN && err != ENOBUFS)
		return;
	m->again_wait = m->again_wait ? 2 * m->again_wait : AGAIN_US;
	if (m->again_wait > AGAIN_MOST_US)
		m->again_wait = AGAIN_MOST_US;
	m->again_at = now_us(CLOCK_MONOTONIC) + m->again_wait;
}

static void
taken(struct parent *p, struct role *r, struct ipc_in *in)
{
	struct mail *m = &p->mail;
	struct role *const all[] = {&m->queue, &m->relay, &m->front};
	const struct mail_taken *t;
	const void *body;
	char text[400];

	if (ipc_body(in, &mail_tell_shape[MAIL_TAKEN], &body))
		return;
	t = body;
	if (r == &m->relay && in->id - m->credential_id < m->credential.n) {
		if (t->err)
			credential_bad(m, m->credential.v[in->id - m->credential_id], *t->text ? t->text :
			    strerror((int)t->err));
		return;
	}
	if (t->err) {
		snprintf(text, sizeof text, "the role %s did not take what it was told: %s%s%s", r->name,
		    strerror((int)t->err), *t->text ? ": " : "", t->text);
		log_say(LOG_IS_ERROR, NULL, "%s", text);
	}
	for (int i = 0; i < 3; i++)
		if (all[i] == r && m->policy_id[i] == in->id) {
			snprintf(m->taken[i], sizeof m->taken[i], "%s", t->err ? text : "");
			m->policy_id[i] = 0;
			if (t->err)
				again_later(m, (int)t->err);
		}
	if (!*m->taken[0] && !*m->taken[1] && !*m->taken[2])
		m->again_at = m->again_wait = 0;
}

static void
told(struct parent *p, struct role *r, struct ipc_in *in)
{
	const void *body;

	if (in->type == MAIL_TAKEN) {
		taken(p, r, in);
		return;
	}
	if (in->type == MAIL_WANT) {
		if (r == &p->mail.front && !ipc_body(in, &mail_tell_shape[MAIL_WANT], &body))
			wanted(p, body);
		return;
	}
	for (int i = 0; i < MAIL_ASKS; i++) {
		struct mail_question *q = &p->mail.ask[i];

		if (q->ask.id && q->ask.id == in->id && q->role == r) {
			answer(q, in, in->type == q->ask.want ? 0 : -EBADMSG);
			return;
		}
	}
}

static int
on_mail(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct role *r = arg;
	struct parent *p = r->p;
	struct ipc_in in;
	int err = 0;

	(void)s, (void)events;
	for (int i = 0; i < 64 && r->chan == fd && (err = ipc_recv(fd, &in)) == 1; i++) {
		told(p, r, &in);
		ipc_free(&in);
	}
	if (r->chan != fd || err == 1 || err == -EAGAIN || err == -EBADMSG)
		return 0;
	/* it ends, or does what it should not: how, the starter tells */
	r->io = sd_event_source_disable_unref(r->io);
	if (!p->mail.team.stopping)
		team_fell(p, &p->mail.team);
	return 0;
}

/* ---- starting, stopping -------------------------------------------------------------------------------------- */

static int
role_begin(struct parent *p, struct role *r, uint32_t which, const int *fd, uint32_t nfd, const struct texts *args)
{
	struct start_arg arg[START_MOST_ARGS];
	struct start_role w = {.which = which, .arg = arg};
	int all[START_MOST_FDS], pair[2], err = ipc_pair(pair);

	if (err)
		return err;
	for (; args && w.narg < args->n && w.narg < START_MOST_ARGS; w.narg++)
		arg[w.narg].text = args->v[w.narg];
	all[0] = pair[1];
	memcpy(all + 1, fd, nfd * sizeof fd[0]);
	err = starter_role(p, &p->mail.team, r, &w, all, nfd + 1);
	close(pair[1]);
	if (err) {
		close(pair[0]);
		return err;
	}
	r->chan = pair[0];
	err = sd_event_add_io(p->ev, &r->io, r->chan, EPOLLIN, on_mail, r);
	return err < 0 ? err : 0;
}

static int
start(struct parent *p)
{
	struct mail *m = &p->mail;
	int front[2] = {-1, -1}, relay[2] = {-1, -1}, fd[MOST_FDS], err;
	uint32_t n = 0;

	if (!texts_copy(&m->ca_given, &m->ca))
		return -ENOMEM;
	err = ipc_pair(front);
	if (!err)
		err = ipc_pair(relay);
	if (!err) {
		const int q[] = {front[1], relay[0], p->spool};
		err = role_begin(p, &m->queue, START_QUEUE, q, 3, NULL);
	}
	if (!err)
		err = role_begin(p, &m->relay, START_RELAY, &relay[1], 1, &m->ca);
	fd[n++] = front[0];
	for (uint32_t i = 0; i < m->nlistener; i++) {
		m->listener[i].handed = m->listener[i].fd >= 0;
		if (m->listener[i].handed)
			fd[n++] = m->listener[i].fd;
	}
	if (m->local >= 0)
		fd[n++] = m->local;
	if (!err)
		err = role_begin(p, &m->front, START_FRONT, fd, n, NULL);
	for (int i = 0; i < 2; i++) {
		if (front[i] >= 0)
			close(front[i]);
		if (relay[i] >= 0)
			close(relay[i]);
	}
	if (err)
		return err;
	send_policy(p);
	send_credentials(p);
	return 0;
}

static void
fell(struct parent *p)
{
	struct mail *m = &p->mail;

	for (int i = 0; i < 3; i++) {
		m->policy_id[i] = 0;
		m->taken[i][0] = '\0';
	}
	mail_numbers_forget(p);
	asks_end(p, true);
}

/* Tells them to end. */
static void
stop(struct parent *p)
{
	struct mail *m = &p->mail;
	struct role *all[] = {&m->front, &m->queue, &m->relay};

	if (!m->team.up || m->team.stopping)
		return;
	for (int i = 0; i < 3; i++)
		if (all[i]->chan >= 0)
			(void)ipc_send(all[i]->chan, MAIL_STOP, 0, NULL, NULL, NULL, 0);
	team_stop(p, &m->team, STOP_US);
}

/* ---- listeners ------------------------------------------------------------------------------------------------- */

/* One that the service manager has opened for us, for that address; -1. */
static int
given(struct parent *p, const char *address)
{
	struct mail *m = &p->mail;

	for (uint32_t i = 0; i < m->ngiven; i++)
		if (m->given[i].fd >= 0 && !strcmp(m->given[i].address, address))
			return fcntl(m->given[i].fd, F_DUPFD_CLOEXEC, 3);
	return -1;
}

/* Binds what is wanted and not bound, closes what is not wanted. Whether the roles must be told. */
static bool
listen_all(struct parent *p)
{
	struct mail *m = &p->mail;
	uint32_t n = 0;
	bool other = false;
	char text[400] = "";

	for (uint32_t i = 0; i < m->nlistener; i++) {
		struct mail_listener *l = &m->listener[i];

		if (m->submission && texts_have(&m->listen, l->address)) {
			m->listener[n++] = *l;
			continue;
		}
		other = other || l->handed;
		if (l->fd >= 0)
			close(l->fd);
	}
	m->nlistener = n;
	for (uint32_t i = 0; m->submission && i < m->listen.n && m->nlistener < MAIL_LISTENERS; i++) {
		uint32_t k = 0;

		while (k < m->nlistener && strcmp(m->listener[k].address, m->listen.v[i]) != 0)
			k++;
		if (k == m->nlistener) {
			m->listener[k] = (struct mail_listener){.fd = -1};
			snprintf(m->listener[k].address, sizeof m->listener[k].address, "%s", m->listen.v[i]);
			m->nlistener++;
		}
	}
	/* without its unit nothing can be bound, and nothing needs it */
	for (uint32_t i = 0; i < m->nlistener && m->team.starter->chan >= 0; i++) {
		struct mail_listener *l = &m->listener[i];
		int err = 0;

		if (l->fd >= 0)
			continue;
		l->fd = given(p, l->address);
		if (l->fd < 0)
			err = starter_bind(p, l->address, p->o->submission_port, &l->fd);
		if (err) {
			l->fd = -1;
			if (!*text)
				snprintf(text, sizeof text, "%s port %u cannot be listened at: %s%s%s", l->address,
				    p->o->submission_port, strerror(-err), err == -EADDRINUSE ? ": " :
				    err == -EACCES ? ": it takes CAP_NET_BIND_SERVICE, or a socket of systemd's" : "",
				    err == -EADDRINUSE ? in_use : "");
		} else {
			other = true;
			if (*m->trouble)
				log_say(LOG_IS_NOTICE, NULL, "submission: listens at %s port %u", l->address,
				    p->o->submission_port);
		}
	}
	m->bind_at = *text ? now_us(CLOCK_MONOTONIC) + BIND_US : 0;
	trouble(p, text);
	return other;
}

static void
local_close(struct parent *p)
{
	char path[512];

	if (p->mail.local < 0)
		return;
	close(p->mail.local);
	p->mail.local = -1;
	snprintf(path, sizeof path, "%s/submission.sock", p->o->run);
	(void)unlink(path);
}

/* Brings the roles to what the policy says. */
static void
settle(struct parent *p)
{
	struct mail *m = &p->mail;
	bool anew = listen_all(p);

	m->team.wanted = m->submission;
	if (!m->submission) {
		stop(p);
		if (!m->team.up)
			local_close(p);
		return;
	}
	if (m->local < 0) {
		m->local = parent_listener(p, "submission.sock", SOCK_STREAM, 0666, false);
		anew = true;
	}
	for (uint32_t i = 0; i < m->ca.n; i++)
		anew = anew || !texts_have(&m->ca_given, m->ca.v[i]);
	if (!m->team.up) {
		team_tick(p, &m->team);
	} else if (anew) {
		/* what a role's jail has at its start is all that it gets */
		stop(p);
	} else {
		send_policy(p);
		send_credentials(p);
	}
}

/* ---- what the policy wants ---------------------------------------------------------------------------------------- */

static void
looked(void *arg, struct ipc_in *in, const char *why)
{
	struct parent *p = arg;
	struct mail *m = &p->mail;
	const struct compile_result *r;
	const void *body;
	char text[500];

	m->asked = false;
	if (m->due)
		return;            /* another is in force by now: mail_tick() looks again */
	if (!why && ipc_body(in, &compile_result_shape, &body))
		why = "the compile child answered with what is no answer";
	if (!why) {
		r = body;
		if (r->err || r->errors)
			why = *r->summary ? r->summary : "its policy cannot be read again";
		else if (!texts_take(&m->listen, r->listen, r->nlisten) ||
		    !texts_take(&m->credential, r->credential, r->ncredential) || !texts_take(&m->ca, r->ca, r->nca))
			why = strerror(ENOMEM);
		else
			m->submission = r->submission;
	}
	if (why) {
		/* those that run stay with what they have */
		snprintf(text, sizeof text, "what generation %u says of it is not known: %s", m->looking, why);
		trouble(p, text);
		return;
	}
	m->number = m->looking;
	settle(p);
}

static void
look(struct parent *p)
{
	struct mail *m = &p->mail;
	struct compile_job j = {.want = COMPILE_WANT_MAIL, .fds = COMPILE_FD_BUNDLE, .path = p->o->policy,
	    .point = p->o->point};
	uint32_t was = m->number;
	char text[300];
	int fd, err;

	m->due = false;
	m->looking = p->force.number;
	if (!p->force.number) {
		m->submission = false;
		m->number = 0;
		settle(p);
		return;
	}
	m->number = p->force.number;
	fd = bundle_open(p);
	m->number = was;
	err = fd < 0 ? fd : job_start(p, SPAWN_COMPILE, COMPILE_JOB, &compile_job_shape, &j, &fd, 1, COMPILE_RESULT,
	    looked, p);
	if (fd >= 0)
		close(fd);
	if (err == -EBUSY) {
		m->due = true;
	} else if (err) {
		snprintf(text, sizeof text, "what generation %u says of it is not known: %s", m->looking,
		    err == -ENOENT ? "its policy was not kept" : strerror(-err));
		trouble(p, text);
	} else {
		m->asked = true;
	}
}

void
mail_follow(struct parent *p)
{
	p->mail.due = true;
	if (!p->mail.asked)
		look(p);
}

void
mail_tick(struct parent *p)
{
	struct mail *m = &p->mail;

	if (m->due && !m->asked)
		look(p);
	asks_end(p, false);
	team_tick(p, &m->team);
	if (!m->submission && !m->team.up)
		local_close(p);
	if (m->bind_at && now_us(CLOCK_MONOTONIC) >= m->bind_at && listen_all(p))
		stop(p);           /* started again with the new listener */
	if (m->again_at && now_us(CLOCK_MONOTONIC) >= m->again_at) {
		m->again_at = 0;
		if (m->number)
			send_policy(p);
	}
	if (m->front.chan >= 0 && p->ticks % NAMES_TICKS == 0)
		look_up(p);
}

/* ---- begin, end ------------------------------------------------------------------------------------------------------ */

void
mail_begin(struct parent *p)
{
	struct mail *m = &p->mail;
	struct role *const all[] = {&m->queue, &m->relay, &m->front};
	static const char *const name[] = {"queue", "relay", "front"};

	m->team = (struct team){.name = "mail", .n = 3, .start = start, .fell = fell,
	    .starter = p->o->apart ? &p->apart : &p->starter};
	m->local = -1;
	for (int i = 0; i < 3; i++) {
		*all[i] = (struct role){.name = name[i], .chan = -1, .p = p};
		m->team.role[i] = all[i];
	}
}

void
mail_given(struct parent *p, int fd)
{
	struct mail *m = &p->mail;
	union {
		struct sockaddr a;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_storage room;
	} a = {0};
	socklen_t n = sizeof a;
	struct mail_listener *l = &m->given[m->ngiven];

	if (m->ngiven == MAIL_LISTENERS || getsockname(fd, &a.a, &n))
		return;
	if (a.a.sa_family == AF_INET)
		inet_ntop(AF_INET, &a.v4.sin_addr, l->address, sizeof l->address);
	else if (a.a.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &a.v6.sin6_addr, l->address, sizeof l->address);
	else
		return;
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	l->fd = fd;
	m->ngiven++;
}

void
mail_end(struct parent *p)
{
	struct mail *m = &p->mail;

	stop(p);
	team_wait(p, &m->team, now_us(CLOCK_MONOTONIC) + STOP_US);
	team_fell(p, &m->team);
	local_close(p);
	texts_free(&m->listen);
	texts_free(&m->credential);
	texts_free(&m->ca);
	texts_free(&m->ca_given);
	texts_free(&m->want);
}
