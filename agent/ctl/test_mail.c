/*
 * test_mail: a message through the agent's own door, and what becomes of it.
 */
#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ipc/mail.h"

enum { PATIENCE_S = 120, LINE = 1100, ROUNDS = 60 };

struct talk {
	FILE *f;
	char line[LINE];           /* the last one of a reply */
};

static int
wrong(const char *text)
{
	fprintf(stderr, "mailreevectl test-mail: %s\n", text);
	return 2;
}

/* Reads a reply; its lines are printed. The code; 0 where there is none. */
static int
reply(struct talk *t)
{
	do {
		if (!fgets(t->line, sizeof t->line, t->f)) {
			fprintf(stderr, "mailreevectl test-mail: the agent does not answer\n");
			return 0;
		}
		t->line[strcspn(t->line, "\r\n")] = '\0';
		printf("< ");
		puts(t->line);
	} while (strlen(t->line) > 3 && t->line[3] == '-');
	return (int)strtol(t->line, NULL, 10);
}

static int
say(struct talk *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int
say(struct talk *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("> ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	va_start(ap, fmt);
	vfprintf(t->f, fmt, ap);
	va_end(ap);
	fputs("\r\n", t->f);
	fflush(t->f);
	return reply(t);
}

static FILE *
reach(const char *run)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FILE *f = NULL;

	if (snprintf(a.sun_path, sizeof a.sun_path, "%s/submission.sock", run) < (int)sizeof a.sun_path && fd >= 0 &&
	    !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) &&
	    !connect(fd, (struct sockaddr *)&a, sizeof a))
		f = fdopen(fd, "r+");
	if (!f) {
		fprintf(stderr, "mailreevectl test-mail: no mail is taken at %s: %s (mailreevectl status tells why)\n",
		    a.sun_path, strerror(errno));
		if (fd >= 0)
			close(fd);
	}
	return f;
}

/* The message's number in "250 2.0.0 queued as 000660d43cb2a5d0"; NULL: the reply tells none. */
static const char *
number_of(const char *line)
{
	enum { DIGITS = 16 };
	const char *p = strrchr(line, ' ');

	return p && strspn(p + 1, "0123456789abcdef") == DIGITS && !p[1 + DIGITS] ? p + 1 : NULL;
}

/* Waits until the queue has it no more. The exit status. */
static int
follow(const char *run, const char *id)
{
	struct timespec pause = {.tv_nsec = 500000000};
	FILE *none = fopen("/dev/null", "we");
	int status = 0;

	for (int i = 0; none && i < ROUNDS && status == 0; i++) {
		status = ctl_queue(run, MAIL_QUEUE_SHOW, id, none, none);
		if (status == 0)
			nanosleep(&pause, NULL);
	}
	if (none)
		fclose(none);
	printf("its life so far:\n");
	fflush(stdout);
	(void)ctl_queue(run, MAIL_QUEUE_TRACE, id, stdout, stderr);
	if (status == 0) {
		printf("it waits still; see: mailreevectl queue show %s\n", id);
		return 1;
	}
	return status == 1 ? 0 : status;
}

static bool
sound(const char *s)
{
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '<' || *p == '>')
			return false;
	return *s && strlen(s) < 300;
}

int
test_mail(const char *run, const char *from, const char *to)
{
	const struct passwd *pw = getpwuid(getuid());
	struct utsname u;
	char own[400], date[64], id[32] = "";
	const char *number;
	struct talk t = {0};
	time_t now = time(NULL);
	struct tm tm;
	int code;

	if (uname(&u))
		return 3;
	snprintf(own, sizeof own, "%s@%s", pw ? pw->pw_name : "nobody", u.nodename);
	if (!from)
		from = own;
	if (!sound(to) || !sound(from))
		return wrong("an address is written local@domain");
	t.f = reach(run);
	if (!t.f)
		return 3;
	gmtime_r(&now, &tm);
	strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &tm);
	code = reply(&t);
	if (code == 220)
		code = say(&t, "EHLO localhost");
	if (code == 250)
		code = say(&t, "MAIL FROM:<%s>", from);
	if (code == 250)
		code = say(&t, "RCPT TO:<%s>", to);
	if (code == 250)
		code = say(&t, "DATA");
	if (code == 354) {
		fprintf(t.f, "From: <%s>\r\nTo: <%s>\r\nDate: %s\r\nSubject: test of mailreeve\r\n"
		    "Auto-Submitted: auto-generated\r\n\r\nThis message was sent by `mailreevectl test-mail` on %s.\r\n", from, to,
		    date, u.nodename);
		printf("> (a message)\n");
		code = say(&t, ".");
	}
	number = code == 250 ? number_of(t.line) : NULL;
	if (number)
		snprintf(id, sizeof id, "%s", number);
	if (code)
		fputs("QUIT\r\n", t.f);
	fclose(t.f);
	if (code != 250) {
		printf("%s\n", code ? "refused: the line above is what a program of yours would be told" :
		    "no answer");
		return code ? 1 : 3;
	}
	if (*id)
		return follow(run, id);
	printf("the relay has it\n");
	return 0;
}
