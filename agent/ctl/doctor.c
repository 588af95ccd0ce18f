/*
 * doctor: what the agent finds, and what only a program of this host sees: whether the listeners answer, and
 * whether the kernel's clock is kept.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "ctl/ctl.h"
#include "ipc/ctl.h"
#include "ipc/doctor.h"

enum { PATIENCE_S = 5, GREETING = 600, MOST_LINE = 16 << 10 };

struct print {
	bool json, any;
	char about[256];           /* the heading that stands */
	unsigned n[DOCTOR_NVERDICT];
};

/* ---- printing ------------------------------------------------------------------------------- */

static void
as_json(struct print *p, const struct doctor_finding *f)
{
	struct buf b = BUF_INIT(MOST_LINE);

	buf_printf(&b, "%s\n{\"relay\":", p->any ? "," : "{\"checks\":[");
	buf_json(&b, f->about);
	buf_printf(&b, ",\"check\":\"%s\",\"verdict\":\"%s\",\"text\":", doctor_check_name[f->check],
	    doctor_verdict_name[f->verdict]);
	buf_json(&b, f->text);
	buf_str(&b, ",\"do\":");
	buf_json(&b, f->todo);
	buf_str(&b, "}");
	if (!b.err)
		fputs(b.p, stdout);
	buf_free(&b);
}

static void
as_text(struct print *p, const struct doctor_finding *f)
{
	static const char *const word[DOCTOR_NVERDICT] = {"ok", "WARN", "FAIL", "-"};

	if (!p->any || strcmp(p->about, f->about) != 0) {
		printf("%s%s%s\n", p->any ? "\n" : "", *f->about ? "relay " : "this host", f->about);
		snprintf(p->about, sizeof p->about, "%s", f->about);
	}
	printf("  %-5s %-11s %s\n", word[f->verdict], doctor_check_name[f->check], f->text);
	if (*f->todo)
		printf("        %-11s %s\n", "do:", f->todo);
	fflush(stdout);
}

static void
tell(struct print *p, const struct doctor_finding *f)
{
	if (f->check >= DOCTOR_NCHECK || f->verdict >= DOCTOR_NVERDICT)
		return;
	p->n[f->verdict]++;
	if (p->json)
		as_json(p, f);
	else
		as_text(p, f);
	p->any = true;
}

static void
finish(const struct print *p)
{
	unsigned fail = p->n[DOCTOR_FAIL], warn = p->n[DOCTOR_WARN], all = fail + warn + p->n[DOCTOR_PASS];

	if (p->json)
		printf("%s\n],\"failed\":%u,\"warned\":%u,\"passed\":%u,\"not_asked\":%u}\n", p->any ? "" : "{\"checks\":[", fail, warn,
		    p->n[DOCTOR_PASS], p->n[DOCTOR_NOT]);
	else if (fail)
		printf("\n%u of %u checks fail%s\n", fail, all, fail == 1 ? "s" : "");
	else
		printf("\nnone of %u checks fails\n", all);
	if (!p->json && warn)
		printf("%u warning%s\n", warn, warn == 1 ? "" : "s");
}

/* ---- the listeners ----------------------------------------------------------------------------- */

/* Connected to the address and port, or the path; -1 with errno. */
static int
reach(const struct doctor_finding *f)
{
	union {
		struct sockaddr a;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
	} a = {0};
	struct timeval patience = {.tv_sec = PATIENCE_S};
	socklen_t n;
	int fd, err;

	if (inet_pton(AF_INET, f->text, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons((uint16_t)f->number);
		n = sizeof a.v4;
	} else if (inet_pton(AF_INET6, f->text, &a.v6.sin6_addr) == 1) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons((uint16_t)f->number);
		n = sizeof a.v6;
	} else {
		a.un.sun_family = AF_UNIX;
		n = sizeof a.un;
		if (strlen(f->text) >= sizeof a.un.sun_path) {
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(a.un.sun_path, f->text, strlen(f->text) + 1);
	}
	fd = socket(a.a.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) &&
	    !setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) && !connect(fd, &a.a, n))
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

/* The first line that is said; false: none, with errno (0: it was closed). */
static bool
greeting(int fd, char line[GREETING])
{
	size_t n = 0;

	while (n + 1 < GREETING) {
		ssize_t got = recv(fd, line + n, GREETING - 1 - n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			if (got == 0)
				errno = 0;
			break;
		}
		n += (size_t)got;
		line[n] = '\0';
		if (strchr(line, '\n'))
			break;
	}
	line[n] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	return n > 0;
}

static void
look_at_listener(struct print *p, const struct doctor_finding *f)
{
	struct doctor_list l = {0};
	char line[GREETING], where[400];
	bool late, v6 = strchr(f->text, ':') != NULL;
	int fd = reach(f);

	if (f->number)
		snprintf(where, sizeof where, "%s%.300s%s port %u", v6 ? "[" : "", f->text, v6 ? "]" : "", f->number);
	else
		snprintf(where, sizeof where, "%.300s", f->text);
	late = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINPROGRESS || errno == ETIMEDOUT;
	if (fd < 0) {
		doctor_add(&l, DOCTOR_LISTENER, DOCTOR_FAIL, "", late ? "a rule of this host swallows it: see `firewall`" : errno == EADDRNOTAVAIL ?
		    "this host lacks that address on its loopback: ip link set lo up; ip address show lo" :
		    "see `firewall`, and mailreevectl status", "programs of this host cannot connect to %s: %s", where,
		    late ? "nothing comes back" : strerror(errno));
	} else if (!greeting(fd, line)) {
		late = errno == EAGAIN || errno == EWOULDBLOCK;
		doctor_add(&l, DOCTOR_LISTENER, DOCTOR_FAIL, "", "another program may listen there (ss -ltnp), or the role front hangs: mailreevectl "
		    "status", "%s takes connections and says nothing%s", where, late ? "" : ": it closes them");
	} else if (strncmp(line, "220", 3) != 0) {
		doctor_add(&l, DOCTOR_LISTENER, strncmp(line, "421", 3) ? DOCTOR_FAIL : DOCTOR_WARN, "", "the line tells why; mailreevectl status",
		    "%s answers: %.200s", where, line);
	} else {
		doctor_add(&l, DOCTOR_LISTENER, DOCTOR_PASS, "", "", "%s answers: %.200s", where, line);
	}
	if (fd >= 0) {
		(void)send(fd, "QUIT\r\n", 6, MSG_NOSIGNAL);
		close(fd);
	}
	for (uint32_t i = 0; i < l.of.nfinding; i++)
		tell(p, &l.of.finding[i]);
	doctor_free(&l);
}

/* Whether a time service keeps the kernel's clock. */
static void
look_at_clock(struct print *p)
{
	static const struct doctor_finding loose = {.check = DOCTOR_CLOCK, .verdict = DOCTOR_WARN, .about = "",
	    .text = "no time service keeps this host's clock", .todo = "run one: timedatectl set-ntp true, or chrony; certificates and "
	    "dates of messages go by the clock"};
	struct timex t = {0};

	if (adjtimex(&t) == TIME_ERROR && t.status & STA_UNSYNC)
		tell(p, &loose);
}

/* ---- all of it ----------------------------------------------------------------------------------- */

static void
found(struct print *p, const struct ctl_text *t)
{
	int err;
	struct doctor_finding *f = ipc_unpack(&doctor_finding_shape, t->bytes, t->n, &err);

	if (f && f->verdict == DOCTOR_YOURS)
		look_at_listener(p, f);
	else if (f)
		tell(p, f);
	if (f && f->check == DOCTOR_CLOCK && !*f->about)
		look_at_clock(p);
	free(f);
}

int
doctor(const char *run, const char *relay, bool json)
{
	struct ctl_ask ask = {.flags = json ? CTL_JSON : 0, .address = relay};
	struct print p = {.json = json};
	int fd, status = -1, err;
	const void *body;
	struct ipc_in in;

	if (strlen(relay) > 250) {
		fprintf(stderr, "mailreevectl doctor: no relay has so long a name\n");
		return 2;
	}
	fd = ctl_reach(run);
	if (fd < 0)
		return 3;
	err = ipc_send_wait(fd, CTL_DOCTOR, 1, &ctl_ask_shape, &ask, NULL, 0, 10000);
	if (err)
		fprintf(stderr, "mailreevectl: %s\n", err == -EPIPE ? "the agent has too many clients" : strerror(-err));
	else if (!json && isatty(STDERR_FILENO))
		fprintf(stderr, "looking; a relay that does not answer may take half a minute\n");
	while (!err && status < 0 && ipc_recv_wait(fd, &in, -1) == 1) {
		if (in.type == CTL_END && !ipc_body(&in, &ctl_end_shape, &body))
			status = (int)((const struct ctl_end *)body)->status;
		else if (in.type == CTL_FOUND && !ipc_body(&in, &ctl_text_shape, &body))
			found(&p, body);
		else if ((in.type == CTL_OUT || in.type == CTL_ERR) && !ipc_body(&in, &ctl_text_shape, &body))
			fwrite(((const struct ctl_text *)body)->bytes, 1, ((const struct ctl_text *)body)->n, stderr);
		ipc_free(&in);
	}
	close(fd);
	if (status < 0) {
		if (!err)
			fprintf(stderr, "mailreevectl: the agent ended before it had answered\n");
		return 3;
	}
	if (status < 2)
		finish(&p);
	if (ferror(stdout) || fflush(stdout)) {
		perror("mailreevectl: standard output");
		return 3;
	}
	return status == 0 && p.n[DOCTOR_FAIL] ? 1 : status;
}
