/*
 * start: the parent opens what it needs, starts the roles, gives up what they need alone, and
 * waits for what comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "jail/jail.h"
#include "parent/inside.h"

enum {
	BACKLOG = 256, STOP_MS = 3000, MOST_ROLE_ARGS = 12,
	/* an agent that was killed leaves its lock and its sockets to a child that it had begun to start, until
	   that is a role, or has seen that it is alone */
	PATIENCE_MS = 3000, PAUSE_MS = 20,
};

uint64_t
now_us(int clock)
{
	struct timespec t = {0};

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void
parent_end(struct parent *p, int status)
{
	if (!p->ending) {
		p->ending = true;
		p->status = status;
		notify_stopping();
	}
	sd_event_exit(p->ev, status);
}

/* ---- folders and sockets ------------------------------------------------------------------ */

/* A folder, made where it is not there, ours alone. The descriptor or -errno. */
static int
folder(struct parent *p, const char *path, mode_t mode)
{
	bool made = mkdir(path, mode) == 0;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	if (fd < 0) {
		err = -errno;
		log_say(LOG_IS_ERROR, NULL, "%s cannot be opened: %s", path, strerror(-err));
		return err;
	}
	if (geteuid() == 0 && p->uid != 0 && fchown(fd, p->uid, p->gid)) {
		err = -errno;
		log_say(LOG_IS_ERROR, NULL, "%s cannot be given to uid %u: %s", path, p->uid, strerror(-err));
		close(fd);
		return err;
	}
	if (made && fchmod(fd, mode))
		log_say(LOG_IS_WARNING, NULL, "%s: %s", path, strerror(errno));
	return fd;
}

static void
pause_ms(int ms)
{
	struct timespec t = {.tv_nsec = ms * 1000000L};

	nanosleep(&t, NULL);
}

/* Whether somebody listens at this socket. */
static bool
answers_now(const struct sockaddr_un *a, int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes = fd >= 0 && (!connect(fd, (const struct sockaddr *)a, sizeof *a) || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return yes;
}

static bool
answers(const struct sockaddr_un *a, int type)
{
	int n = 0;

	while (answers_now(a, type)) {
		if (n++ == PATIENCE_MS / PAUSE_MS)
			return true;
		pause_ms(PAUSE_MS);
	}
	return false;
}

int
parent_listener(struct parent *p, const char *name, int type, mode_t mode, bool group)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd, err = 0, n;
	mode_t was;

	n = snprintf(a.sun_path, sizeof a.sun_path, "%s/%s", p->o->run, name);
	if (n < 0 || (size_t)n >= sizeof a.sun_path)
		return -ENAMETOOLONG;
	if (answers(&a, type)) {
		log_say(LOG_IS_ERROR, NULL, "another agent listens at %s", a.sun_path);
		return -EADDRINUSE;
	}
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	(void)unlink(a.sun_path);
	was = umask(0777);
	if (bind(fd, (struct sockaddr *)&a, sizeof a))
		err = -errno;
	umask(was);
	/* the group before the mode, so that nobody has it too early */
	if (!err && group && p->control != (gid_t)-1 && p->control != getegid() &&
	    lchown(a.sun_path, (uid_t)-1, p->control))
		log_say(LOG_IS_WARNING, NULL, "%s cannot be given to the group: %s", a.sun_path,
		    strerror(errno));
	if (!err && geteuid() == 0 && p->uid != 0 && lchown(a.sun_path, p->uid, (gid_t)-1))
		err = -errno;
	if (!err && (chmod(a.sun_path, mode) || listen(fd, BACKLOG)))
		err = -errno;
	if (err) {
		log_say(LOG_IS_ERROR, NULL, "%s: %s", a.sun_path, strerror(-err));
		close(fd);
		return err;
	}
	return fd;
}

/* Who holds the lock of an inode, by /proc/locks; 0: not known. */
static unsigned
holder(unsigned long inode)
{
	FILE *f = fopen("/proc/locks", "re");
	unsigned pid = 0, x;
	unsigned long i;
	char line[256];

	while (f && !pid && fgets(line, sizeof line, f))
		/* the kernel's own numbers; NOLINTNEXTLINE(cert-err34-c) */
		if (sscanf(line, "%*u: FLOCK %*s %*s %u %*x:%*x:%lu", &x, &i) == 2 && i == inode)
			pid = x;
	if (f)
		fclose(f);
	return pid;
}

/* Two agents on one state would each undo what the other does. The lock ends with this process, however
 * that ends. */
static int
alone(struct parent *p, int dir)
{
	struct stat st;

	p->lock = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	if (p->lock < 0)
		return -errno;
	for (int i = 0; i < PATIENCE_MS / PAUSE_MS; i++) {
		if (!flock(p->lock, LOCK_EX | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK)
			break;
		pause_ms(PAUSE_MS);
	}
	if (errno != EWOULDBLOCK)
		return -errno;
	log_say(LOG_IS_ERROR, NULL, "another agent is at work on %s: pid %u", p->o->state,
	    fstat(dir, &st) ? 0 : holder(st.st_ino));
	return -EBUSY;
}

static void
read_boot(struct parent *p)
{
	const char *other = p->o->boot_id;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, p->boot, sizeof p->boot - 1);

	if (fd >= 0)
		close(fd);
	p->boot[n > 0 ? n : 0] = '\0';
	p->boot[strcspn(p->boot, "\n")] = '\0';
	if (other && strlen(other) < sizeof p->boot)
		memcpy(p->boot, other, strlen(other) + 1);
}

/* The first name with a dot that /etc/hosts gives to the short one. */
static void
host_by_file(const char *shortly, char *out, size_t room)
{
	FILE *f = fopen("/etc/hosts", "re");
	char line[1024], *word, *save, *full;

	while (f && !*out && fgets(line, sizeof line, f)) {
		line[strcspn(line, "#\n")] = '\0';
		full = NULL;
		/* an address, then names */
		word = strtok_r(line, " \t", &save);
		while (word && (word = strtok_r(NULL, " \t", &save))) {
			if (!full && strchr(word, '.'))
				full = word;
			if (full && !strcmp(word, shortly))
				snprintf(out, room, "%s", full);
		}
	}
	if (f)
		fclose(f);
}

/* What this host is called in the mail it hands on. */
static void
host(struct parent *p)
{
	struct utsname u;

	if (p->o->host)
		snprintf(p->host, sizeof p->host, "%s", p->o->host);
	else if (!uname(&u) && strchr(u.nodename, '.'))
		snprintf(p->host, sizeof p->host, "%s", u.nodename);
	else
		host_by_file(u.nodename, p->host, sizeof p->host);
	if (!*p->host)
		log_say(LOG_IS_NOTICE, NULL, "this host has no full name (hostname -f): relays are greeted by address");
}

/* Who to be and who may control. */
static void
who(struct parent *p)
{
	const struct passwd *pw;
	const struct group *g;

	p->uid = geteuid();
	p->gid = getegid();
	p->control = (gid_t)-1;
	if (p->o->group) {
		g = getgrnam(p->o->group);
		if (g)
			p->control = g->gr_gid;
		else
			log_say(LOG_IS_NOTICE, NULL, "there is no group %s here: only root and the agent's own "
			    "user may control it", p->o->group);
	}
	if (p->o->user && p->uid == 0) {
		pw = getpwnam(p->o->user);
		if (pw) {
			p->uid = pw->pw_uid;
			p->gid = pw->pw_gid;
		} else {
			log_say(LOG_IS_WARNING, NULL, "there is no user %s here: the agent goes on as it is",
			    p->o->user);
		}
	}
}

/* ---- roles -------------------------------------------------------------------------------- */

static void
become(struct parent *p, const char *name, int chan)
{
	char role[40], uid[24], gid[24], owner[] = "--no-owner";
	char *argv[MOST_ROLE_ARGS];
	sigset_t none;
	int n = 0;

	snprintf(role, sizeof role, "--role=%s", name);
	snprintf(uid, sizeof uid, "--uid=%u", p->uid);
	snprintf(gid, sizeof gid, "--gid=%u", p->gid);
	argv[n++] = p->o->program;
	argv[n++] = role;
	argv[n++] = uid;
	argv[n++] = gid;
	if (p->o->no_owner)
		argv[n++] = owner;
	argv[n] = NULL;
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) || dup2(chan, 3) < 0 ||
	    syscall(SYS_close_range, 4u, ~0u, 0) < 0)
		_exit(126);
	execve("/proc/self/exe", argv, environ);
	log_say(LOG_IS_ERROR, NULL, "/proc/self/exe cannot be executed: %s", strerror(errno));
	_exit(127);
}

static int
start_role(struct parent *p, struct role *r, const char *name)
{
	int pair[2], err = ipc_pair(pair);

	if (err)
		return err;
	r->name = name;
	r->pid = fork();
	if (r->pid == 0)
		become(p, name, pair[1]);
	if (r->pid < 0)
		err = -errno;
	close(pair[1]);
	if (err)
		close(pair[0]);
	r->chan = err ? -1 : pair[0];
	return err;
}

static void
reaped(struct parent *p, pid_t pid, int status)
{
	struct role *all[] = {&p->apply, &p->spawner, &p->starter};

	for (int i = 0; i < 3; i++) {
		struct role *r = all[i];

		if (r->pid != pid)
			continue;
		r->pid = 0;
		if (p->ending)
			continue;
		if (r == &p->apply && WIFSIGNALED(status) && oom_killed(p, WTERMSIG(status))) {
			oom_fell(p);
			continue;
		}
		if (WIFSIGNALED(status))
			log_say(LOG_IS_ERROR, NULL, "the role %s was killed by signal %d (%s)%s", r->name,
			    WTERMSIG(status), strsignal(WTERMSIG(status)), oom_words(p, WTERMSIG(status)));
		else
			log_say(LOG_IS_ERROR, NULL, "the role %s ended with status %d", r->name,
			    WEXITSTATUS(status));
		parent_end(p, 1);
	}
}

/* Its channel has closed: it is dying, or does what it should not. */
void
role_gone(struct parent *p, struct role *r)
{
	struct timespec t = {.tv_nsec = 2000000};
	int status;

	/* on a busy machine its end may be a while behind that of its channel */
	for (int i = 0; i < 1500 && r->pid; i++) {
		if (waitpid(r->pid, &status, WNOHANG) == r->pid)
			reaped(p, r->pid, status);
		else
			nanosleep(&t, NULL);
	}
	if (r->pid)
		log_say(LOG_IS_ERROR, NULL, "the role %s has closed its channel", r->name);
}

static void
reap(struct parent *p)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		reaped(p, pid, status);
}

/* Their channels close, they end; who does not is killed. */
static void
stop_roles(struct parent *p)
{
	struct role *all[] = {&p->apply, &p->spawner, &p->starter};
	uint64_t until;
	unsigned left = 3;

	p->ending = true;
	if (p->starter.chan >= 0) {
		mail_end(p);
		role_close(&p->attempts);
		if (p->rules.wanted) {
			role_close(&p->apply);
			team_wait(p, &p->rules, now_us(CLOCK_MONOTONIC) + STOP_MS * 1000);
			p->apply.pid = 0;
		}
		team_wait(p, &p->watch, now_us(CLOCK_MONOTONIC) + STOP_MS * 1000);
	}
	until = now_us(CLOCK_MONOTONIC) + STOP_MS * 1000;
	for (int i = 0; i < 3; i++)
		if (all[i]->chan >= 0) {
			all[i]->io = sd_event_source_disable_unref(all[i]->io);
			close(all[i]->chan);
			all[i]->chan = -1;
		}
	while (left && now_us(CLOCK_MONOTONIC) < until) {
		struct timespec t = {.tv_nsec = 2000000};

		reap(p);
		left = 0;
		for (int i = 0; i < 3; i++)
			left += all[i]->pid > 0;
		if (left)
			nanosleep(&t, NULL);
	}
	for (int i = 0; i < 3; i++)
		if (all[i]->pid > 0) {
			log_say(LOG_IS_WARNING, NULL, "the role %s does not end: killed", all[i]->name);
			kill(all[i]->pid, SIGKILL);
			(void)waitpid(all[i]->pid, NULL, 0);
		}
}

/* ---- events ------------------------------------------------------------------------------- */

static int
on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	struct parent *p = arg;
	struct op *o;

	(void)s;
	switch ((int)si->ssi_signo) {
	case SIGCHLD:
		reap(p);
		break;
	case SIGHUP:
		o = op_own(p, OP_HUP);
		if (o) {
			op_begin(o);
		} else {
			p->hup_due = true;
			log_say(LOG_IS_NOTICE, NULL, "reloaded later: %s is being done",
			    p->changing ? p->changing->row->name : "too much");
		}
		break;
	default:
		log_say(LOG_IS_NOTICE, NULL, "told to end; the rules stay in the kernel");
		parent_end(p, 0);
		break;
	}
	return 0;
}

static int
on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
	struct parent *p = arg;

	(void)usec;
	p->ticks++;
	asks_late(p);
	clients_late(p);
	blocks_expire(p);
	if (p->force.number && p->blocks_from < p->nblock)
		blocks_send(p);
	names_tick(p);
	team_tick(p, &p->watch);
	team_tick(p, &p->rules);
	mail_tick(p);
	boot_try(p);
	if (p->ticks % TEXTFILE_TICKS == 0)
		textfile_write(p);
	sd_event_source_set_time_relative(s, TICK_US);
	sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

static int
events(struct parent *p)
{
	static const int sig[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
	int err = 0;

	for (size_t i = 0; i < sizeof sig / sizeof sig[0] && err >= 0; i++)
		err = sd_event_add_signal(p->ev, NULL, sig[i], on_signal, p);
	if (err >= 0)
		err = sd_event_add_io(p->ev, &p->apply.io, p->apply.chan, EPOLLIN, on_apply, p);
	if (err >= 0)
		err = sd_event_add_io(p->ev, &p->starter.io, p->starter.chan, EPOLLIN, on_starter, p);
	if (err >= 0)
		err = sd_event_add_io(p->ev, &p->spawner.io, p->spawner.chan, EPOLLIN, on_spawner, p);
	if (err >= 0)
		err = sd_event_add_io(p->ev, NULL, p->control_fd, EPOLLIN, on_control, p);
	if (err >= 0 && p->apart_fd >= 0)
		err = sd_event_add_io(p->ev, NULL, p->apart_fd, EPOLLIN, on_apart, p);
	if (err >= 0)
		err = sd_event_add_io(p->ev, NULL, p->metrics_fd, EPOLLIN, on_metrics, p);
	if (err >= 0)
		err = sd_event_add_time_relative(p->ev, &p->tick, CLOCK_MONOTONIC, TICK_US, TICK_US / 10, on_tick,
		    p);
	return err < 0 ? err : 0;
}

/* ---- the jail ------------------------------------------------------------------------------- */

static int
jail(struct parent *p)
{
	char *folder_of = p->o->textfile ? strdup(p->o->textfile) : NULL;
	char *slash = folder_of ? strrchr(folder_of, '/') : NULL;
	/* a folder that is made later is seen where the one above it is open */
	char *above = access(p->o->credentials, F_OK) ? strdup(p->o->credentials) : NULL;
	char *cut = above ? strrchr(above, '/') : NULL;
	struct jail_path path[] = {
		{p->o->state, true, false}, {p->o->run, true, false}, {"/proc", false, false},
		{p->o->credentials, false, false}, {cut && cut != above ? above : "/nonexistent", false, false},
		{slash == folder_of ? "/" : folder_of, true, false},
	};
	int err, missing;

	if (slash && slash != folder_of)
		*slash = '\0';
	if (cut)
		*cut = '\0';
	err = jail_begin();
	/* the service manager, or a shell, may go on without it */
	if (!err && prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0))
		err = -errno;
	if (!err)
		err = jail_user(p->uid, p->gid, false);
	if (!err && prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0))
		err = -errno;
	if (!err) {
		missing = jail_landlock(path, slash ? 6 : 5);
		if (missing > 0)
			log_say(LOG_IS_NOTICE, NULL, "this kernel has no Landlock: files are not fenced off");
		err = missing < 0 ? missing : 0;
	}
	if (!err)
		err = jail_caps(0);
	if (!err) {
		missing = jail_seccomp(JAIL_PARENT);
		err = missing < 0 ? missing : 0;
	}
	free(folder_of);
	free(above);
	return err;
}

static void
warn(void *arg, const char *text)
{
	(void)arg;
	log_say(LOG_IS_WARNING, NULL, "state: %s", text);
}

static int
open_all(struct parent *p)
{
	char spool[4096];
	int dir, err;

	who(p);
	read_boot(p);
	p->cgroup = cgroup_open();
	oom_begin(p);
	dir = folder(p, p->o->state, 0700);
	if (dir < 0)
		return dir;
	err = alone(p, dir);
	if (err) {
		close(dir);
		return err;
	}
	snprintf(spool, sizeof spool, "%s/spool", p->o->state);
	p->spool = folder(p, spool, 0700);
	if (p->spool < 0) {
		close(dir);
		return p->spool;
	}
	host(p);
	for (int i = 0, n = sd_listen_fds(1); i < n; i++)
		mail_given(p, SD_LISTEN_FDS_START + i);
	p->run = folder(p, p->o->run, 0755);
	err = p->run < 0 ? p->run : 0;
	if (!err && (p->control_fd = parent_listener(p, "control.sock", SOCK_SEQPACKET, 0660, true)) < 0)
		err = p->control_fd;
	if (!err && (p->metrics_fd = parent_listener(p, "metrics.sock", SOCK_STREAM, 0666, true)) < 0)
		err = p->metrics_fd;
	if (!err && (err = start_role(p, &p->apply, "apply")) == 0 &&
	    (err = start_role(p, &p->starter, "starter")) == 0)
		err = start_role(p, &p->spawner, "spawner");
	if (err)
		log_say(LOG_IS_ERROR, NULL, "a role cannot be started: %s", strerror(-err));
	if (!err && p->o->apart && (p->apart_fd = parent_listener(p, "starter.sock", SOCK_SEQPACKET, 0600, false)) < 0)
		err = p->apart_fd;
	if (!err && (err = jail(p)))
		log_say(LOG_IS_ERROR, NULL, "privileges cannot be given up: %s", strerror(-err));
	if (!err && (err = state_open(dir, warn, p, &p->state)))
		log_say(LOG_IS_ERROR, NULL, "the state in %s cannot be opened: %s", p->o->state,
		    strerror(-err));
	close(dir);
	return err;
}

int
parent_run(const struct parent_options *o)
{
	struct parent *p = calloc(1, sizeof *p);
	struct op *boot;
	sigset_t block;
	int err;

	if (!p)
		return 2;
	*p = (struct parent){.o = o, .cgroup = -1, .run = -1, .control_fd = -1, .metrics_fd = -1,
	    .apply.chan = -1, .spawner.chan = -1, .starter.chan = -1, .spool = -1, .apart.chan = -1, .apart_fd = -1,
	    .started = now_us(CLOCK_MONOTONIC), .counters = BUF_INIT(1 << 20)};
	watch_begin(p);
	mail_begin(p);
	sigemptyset(&block);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGHUP);
	sigaddset(&block, SIGCHLD);
	signal(SIGPIPE, SIG_IGN);
	err = sigprocmask(SIG_BLOCK, &block, NULL) ? -errno : open_all(p);
	if (!err && (err = sd_event_new(&p->ev)) >= 0)
		err = events(p);
	if (err) {
		log_say(LOG_IS_ERROR, NULL, "the agent cannot begin: %s", strerror(-err));
		stop_roles(p);
		return 2;
	}
	blocks_load(p);
	team_tick(p, &p->watch);
	log_say(LOG_IS_NOTICE, NULL, "mailreeved %s began", o->version);
	notify_watch(p);
	textfile_write(p);         /* that of an agent before us would tell old news */
	boot = op_own(p, OP_BOOT);
	if (boot)
		op_begin(boot);
	else
		parent_end(p, 1);
	err = sd_event_loop(p->ev);
	if (err < 0)
		log_say(LOG_IS_ERROR, NULL, "the event loop failed: %s", strerror(-err));
	p->ending = true;
	clients_free(p);
	stop_roles(p);
	state_close(p->state);
	reports_free(p);
	buf_free(&p->counters);
	state_about_free(&p->force.about);
	return err < 0 ? 1 : p->status;
}
