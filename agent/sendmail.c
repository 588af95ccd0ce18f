/*
 * mailreeve-sendmail: the way of programs that know no SMTP, sendmail(1)'s options as they use them. It
 * hands the message over through the agent's unix socket, so that the agent sees who sends. Nothing is kept
 * here: it has been taken when the exit status is 0, and not otherwise.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/buf.h"
#include "sendmail_input.h"
#include "smtp/address.h"
#include "smtp/data.h"
#include "smtp/field.h"
#include "smtp/reply.h"

enum {
	HEADER_MOST = 256 << 10,
	LINE_MOST = SENDMAIL_LINE,
	RCPT_MOST = 1000,
	RUN = SENDMAIL_RUN,
	PATIENCE_S = 600,          /* for an answer (RFC 5321 4.5.3.2.6) */
};

/* ---- options --------------------------------------------------------------------------------- */

enum takes { TAKES_NONE, TAKES_ONE, TAKES_REST };

enum does {
	DOES_NOTHING, DOES_DOTS, DOES_HEADER, DOES_FROM, DOES_NAME, DOES_MODE, DOES_OLD, DOES_BODY,
	DOES_NOTIFY, DOES_RET, DOES_ENVID, DOES_QUEUE, DOES_VERBOSE,
};

static const struct option_row {
	char letter;
	enum takes takes;          /* REST: what is written behind the letter, perhaps nothing */
	enum does does;
	const char *value, *text;
} options[] = {
	{'t', TAKES_NONE, DOES_HEADER, "", "send also to those whom the fields To, Cc and Bcc name; Bcc does "
	    "not travel"},
	{'i', TAKES_NONE, DOES_DOTS, "", "a line that is one dot does not end the message (so does -oi)"},
	{'f', TAKES_ONE, DOES_FROM, "ADDRESS", "the envelope sender; <> for none"},
	{'r', TAKES_ONE, DOES_FROM, "ADDRESS", "as -f"},
	{'F', TAKES_ONE, DOES_NAME, "NAME", "the name beside the sender where the message has no From field"},
	{'b', TAKES_REST, DOES_MODE, "m|s|p|i", "m: send a message, which is what happens anyway; s: speak SMTP on "
	    "standard input and output; p: where to see the queue; i: nothing"},
	{'N', TAKES_ONE, DOES_NOTIFY, "never|success,failure,delay", "what to report of (RFC 3461)"},
	{'R', TAKES_ONE, DOES_RET, "full|hdrs", "how much of the message a report holds"},
	{'V', TAKES_ONE, DOES_ENVID, "ID", "what a report calls the message"},
	{'B', TAKES_ONE, DOES_BODY, "7bit|8bitmime", "what the content is said to be"},
	{'q', TAKES_REST, DOES_QUEUE, "", "nothing: the queue runs by itself"},
	{'v', TAKES_NONE, DOES_VERBOSE, "", "show what is said to the agent"},
	{'o', TAKES_REST, DOES_OLD, "", "an option of old; all but -oi are passed over"},
	{'O', TAKES_ONE, DOES_NOTHING, "NAME=VALUE", "passed over, as the following"},
	{'C', TAKES_ONE, DOES_NOTHING, "FILE", ""},
	{'X', TAKES_ONE, DOES_NOTHING, "FILE", ""},
	{'D', TAKES_ONE, DOES_NOTHING, "FILE", ""},
	{'L', TAKES_ONE, DOES_NOTHING, "TAG", ""},
	{'h', TAKES_ONE, DOES_NOTHING, "N", ""},
	{'p', TAKES_ONE, DOES_NOTHING, "PROTOCOL", ""},
	{'A', TAKES_REST, DOES_NOTHING, "", ""},
	{'d', TAKES_REST, DOES_NOTHING, "", ""},
	{'e', TAKES_REST, DOES_NOTHING, "", ""},
	{'G', TAKES_NONE, DOES_NOTHING, "", ""},
	{'m', TAKES_NONE, DOES_NOTHING, "", ""},
	{'n', TAKES_NONE, DOES_NOTHING, "", ""},
	{'s', TAKES_NONE, DOES_NOTHING, "", ""},
	{'U', TAKES_NONE, DOES_NOTHING, "", ""},
};

enum { NOPTION = sizeof options / sizeof options[0] };

static const struct status_row {
	int status;
	const char *text;
} statuses[] = {
	{EX_OK, "the agent has taken the message"},
	{EX_USAGE, "an option or the list of recipients cannot be read"},
	{EX_DATAERR, "the message is none that can be sent"},
	{EX_NOUSER, "a recipient is refused: there is none such"},
	{EX_NOHOST, "a recipient's domain is refused: there is none such"},
	{EX_UNAVAILABLE, "it is refused for another reason, which standard error tells"},
	{EX_OSERR, "the machine failed"},
	{EX_IOERR, "standard input could not be read"},
	{EX_TEMPFAIL, "not now; try again"},
	{EX_NOPERM, "the policy does not allow it"},
};

struct mail {
	bool dots, header, verbose;
	const char *from, *name, *envid;
	char mode;
	const char *body, *ret;
	char notify[64];
	char *to[RCPT_MOST];
	size_t nto;
	char host[256];
	int fd;
	struct smtp_reply reply;
};

static void
help(void)
{
	printf("usage: mailreeve-sendmail [OPTION ...] [RECIPIENT ...] <MESSAGE\n\n");
	for (size_t i = 0; i < NOPTION; i++)
		printf("  -%c%s%-*s %s\n", options[i].letter, *options[i].value ? " " : "",
		    *options[i].value ? 12 : 13, options[i].value, options[i].text);
}

static void
manual(void)
{
	printf(".\\\" Printed by `mailreeve-sendmail --manual`; the tables in agent/sendmail.c are its source.\n"
	    ".TH MAILREEVE\\-SENDMAIL 8\n.SH NAME\nmailreeve\\-sendmail \\- hand a message to the agent\n"
	    ".SH SYNOPSIS\n.B mailreeve\\-sendmail\n[\\fIOPTION\\fP ...] [\\fIRECIPIENT\\fP ...]\n"
	    ".SH DESCRIPTION\nReads a message from standard input and hands it to mailreeved(8) through its socket, "
	    "for programs that call sendmail(1). The agent knows by the kernel which user and unit calls, and "
	    "holds it to its registration. Nothing is kept here and no dead letter is written: what was not "
	    "taken is told by the exit status, with the agent's words on standard error, and then nobody has "
	    "got it. Addresses without a domain get that of /etc/mailname, or this host's name. Lines may end "
	    "with LF or with CR LF.\n.SH OPTIONS\n");
	for (size_t i = 0; i < NOPTION; i++)
		printf(".TP\n.B \\-%c\\fR %s\n%s\n", options[i].letter, options[i].value,
		    *options[i].text ? options[i].text : "Passed over.");
	printf(".SH EXIT STATUS\n");
	for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
		printf(".TP\n.B %d\n%s\n", statuses[i].status, statuses[i].text);
	printf(".SH ENVIRONMENT\n.TP\n.B MAILREEVE_SUBMISSION\nthe socket; /run/mailreeve/submission.sock\n"
	    ".SH SEE ALSO\nmailreeved(8), mailreevectl(8)\n");
}

__attribute__((format(printf, 2, 3), noreturn)) static void
fail(int status, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "sendmail: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(status);
}

/* ---- recipients --------------------------------------------------------------------------------- */

static char *
copy(const char *s)
{
	char *own = strdup(s);

	if (!own)
		fail(EX_OSERR, "no memory");
	return own;
}

/* An address, with our domain where it has none. */
static char *
qualified(const struct mail *m, const char *s)
{
	char *out = NULL;

	if (strchr(s, '@'))
		return copy(s);
	if (asprintf(&out, "%s@%s", s, m->host) < 0)
		fail(EX_OSERR, "no memory");
	return out;
}

static void
add_to(struct mail *m, const char *address)
{
	char *s = qualified(m, address);

	for (size_t i = 0; i < m->nto; i++)
		if (!strcmp(m->to[i], s)) {
			free(s);
			return;
		}
	if (m->nto == RCPT_MOST)
		fail(EX_USAGE, "more than %d recipients", RCPT_MOST);
	m->to[m->nto++] = s;
}

/* The addresses of a list: "a@b, C D <c@d>". */
static void
add_list(struct mail *m, const char *s, size_t n, const char *where, int status)
{
	struct smtp_mailboxes list = {0};
	const char *why = "";
	int err = smtp_mailboxes_read(&list, s, n, &why);

	if (err == -ENOMEM)
		fail(EX_OSERR, "no memory");
	if (err)
		fail(status, "%s cannot be read: %s: %.*s", where, err == -E2BIG ? "too many addresses" : why,
		    (int)(n > 200 ? 200 : n), s);
	for (size_t i = 0; i < list.n; i++)
		add_to(m, list.v[i].addr);
	smtp_mailboxes_free(&list);
}

/* ---- reading the options ---------------------------------------------------------------------------- */

static const char *
notify_words(const char *s, char out[64])
{
	static const char *const word[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};

	out[0] = 0;
	while (*s) {
		size_t n = strcspn(s, ","), i = 0, at = strlen(out);

		while (i < 4 && !(strlen(word[i]) == n && !strncasecmp(word[i], s, n)))
			i++;
		if (i == 4 || strstr(out, word[i]) || (i ? strstr(out, "NEVER") != NULL : at != 0))
			return NULL;
		snprintf(out + at, 64 - at, "%s%s", at ? "," : "", word[i]);
		s += n + (s[n] == ',');
	}
	return *out ? out : NULL;
}

static const char *
one_of(const char *s, const char *a, const char *b)
{
	return !strcasecmp(s, a) ? a : !strcasecmp(s, b) ? b : NULL;
}

static void
obey(struct mail *m, const struct option_row *o, const char *value)
{
	bool fine = true;

	switch (o->does) {
	case DOES_NOTHING:
		break;
	case DOES_DOTS:
		m->dots = true;
		break;
	case DOES_HEADER:
		m->header = true;
		break;
	case DOES_FROM:
		m->from = value;
		break;
	case DOES_NAME:
		m->name = value;
		break;
	case DOES_MODE:
		m->mode = value[0];
		fine = strlen(value) == 1 && strchr("mspi", value[0]);
		break;
	case DOES_OLD:
		/* -oi, and -oiX of those who write several in one */
		if (value[0] == 'i')
			m->dots = true;
		break;
	case DOES_BODY:
		m->body = one_of(value, "7BIT", "8BITMIME");
		fine = m->body != NULL;
		break;
	case DOES_NOTIFY:
		fine = notify_words(value, m->notify) != NULL;
		break;
	case DOES_RET:
		m->ret = one_of(value, "FULL", "HDRS");
		fine = m->ret != NULL;
		break;
	case DOES_ENVID:
		m->envid = value;
		fine = *value && strlen(value) <= 100;
		break;
	case DOES_QUEUE:
		m->mode = 'q';
		break;
	case DOES_VERBOSE:
		m->verbose = true;
		break;
	}
	if (!fine)
		fail(EX_USAGE, "-%c %s: %s", o->letter, value, *o->value ? o->value : "what is that?");
}

static void
read_options(struct mail *m, int argc, char **argv)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		const char *p = argv[i] + 1;

		if (!strcmp(p, "-")) {
			i++;
			break;
		}
		while (*p) {
			size_t k = 0;

			while (k < NOPTION && options[k].letter != *p)
				k++;
			if (k == NOPTION)
				fail(EX_USAGE, "unknown option -%c; see --help", *p);
			p++;
			if (options[k].takes == TAKES_NONE) {
				obey(m, &options[k], "");
				continue;
			}
			if (options[k].takes == TAKES_ONE && !*p) {
				if (++i == argc)
					fail(EX_USAGE, "-%c takes %s", options[k].letter, options[k].value);
				p = argv[i];
			}
			obey(m, &options[k], p);
			break;
		}
	}
	for (; i < argc; i++)
		add_list(m, argv[i], strlen(argv[i]), "a recipient", EX_USAGE);
}

/* ---- who we are --------------------------------------------------------------------------------------- */

static void
find_host(struct mail *m)
{
	FILE *f = fopen("/etc/mailname", "re");
	const char *why;

	if (f && fgets(m->host, sizeof m->host, f))
		m->host[strcspn(m->host, " \t\r\n")] = 0;
	if (f)
		fclose(f);
	if (!m->host[0] && gethostname(m->host, sizeof m->host - 1))
		m->host[0] = 0;
	/* what it is made of has to be a domain, or no address stands */
	char probe[300];
	snprintf(probe, sizeof probe, "x@%s", m->host);
	if (!smtp_mailbox_ok(probe, strlen(probe), false, &why))
		snprintf(m->host, sizeof m->host, "localhost");
}

static char *
sender(const struct mail *m)
{
	const struct passwd *p;
	char number[32];
	const char *s = m->from;

	if (s) {
		size_t n = strlen(s);
		struct smtp_mailboxes list = {0};
		const char *why = "";
		char *out;

		if (!n || !strcmp(s, "<>"))
			return copy("");
		if (smtp_mailboxes_read(&list, s, n, &why) || list.n != 1)
			fail(EX_USAGE, "the sender %s cannot be read%s%s", s, *why ? ": " : "", why);
		out = qualified(m, list.v[0].addr);
		smtp_mailboxes_free(&list);
		return out;
	}
	p = getpwuid(getuid());
	snprintf(number, sizeof number, "uid%u", (unsigned)getuid());
	return qualified(m, p && *p->pw_name ? p->pw_name : number);
}

/* ---- speaking with the agent ------------------------------------------------------------------------------ */

static const char *
socket_path(void)
{
	const char *s = getenv("MAILREEVE_SUBMISSION");

	return s && *s ? s : "/run/mailreeve/submission.sock";
}

static int
dial(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(socket_path()) >= sizeof un.sun_path)
		fail(EX_USAGE, "the socket's name is too long");
	snprintf(un.sun_path, sizeof un.sun_path, "%s", socket_path());
	if (fd < 0)
		fail(EX_OSERR, "%s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)&un, sizeof un))
		fail(EX_TEMPFAIL, "the agent does not listen at %s: %s; is mailreeved running?", un.sun_path,
		    strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	return fd;
}

/* Sends all of it; false: the agent does not listen any more, and has perhaps said why. */
static bool
put(const struct mail *m, const char *p, size_t n)
{
	while (n) {
		ssize_t k = send(m->fd, p, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

static unsigned
answer(struct mail *m)
{
	enum smtp_reply_is is = SMTP_REPLY_MORE;

	smtp_reply_again(&m->reply);
	while (is == SMTP_REPLY_MORE) {
		char c[1];
		ssize_t k = recv(m->fd, c, 1, 0);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			fail(EX_TEMPFAIL, "the agent has gone: %s", k ? strerror(errno) : "it closed the connection");
		smtp_reply_feed(&m->reply, c, 1, &is);
	}
	if (is != SMTP_REPLY_WHOLE)
		fail(EX_TEMPFAIL, "what answers at %s is no agent", socket_path());
	if (m->verbose)
		fprintf(stderr, "<- %u %s\n", m->reply.code, m->reply.text);
	return m->reply.code;
}

__attribute__((format(printf, 2, 3))) static unsigned
say(struct mail *m, const char *fmt, ...)
{
	char line[LINE_MOST];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof line - 2, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof line - 2)
		fail(EX_USAGE, "an address is too long");
	if (m->verbose)
		fprintf(stderr, "-> %s\n", line);
	line[n++] = '\r';
	line[n++] = '\n';
	/* a last word may be there even if ours does not go out any more */
	put(m, line, (size_t)n);
	return answer(m);
}

static int
status_of(const struct smtp_reply *r, bool recipient)
{
	const char *e = r->enhanced;

	if (r->code < 500)
		return EX_TEMPFAIL;
	if (!strncmp(e, "5.7.", 4))
		return EX_NOPERM;
	if (recipient && !strcmp(e, "5.1.2"))
		return EX_NOHOST;
	if (recipient && !strncmp(e, "5.1.", 4))
		return EX_NOUSER;
	if (!strcmp(e, "5.6.0") || !strcmp(e, "5.1.7"))
		return EX_DATAERR;
	return EX_UNAVAILABLE;
}

__attribute__((noreturn)) static void
refused(const struct mail *m, const char *what, bool recipient)
{
	fail(status_of(&m->reply, recipient), "%s: %u %s %s", what, m->reply.code, m->reply.enhanced,
	    m->reply.text);
}

/* ---- the message -------------------------------------------------------------------------------------------- */

static void
check(const struct sendmail_input *in, const struct buf *b)
{
	if (in->err)
		fail(EX_IOERR, "standard input: %s", strerror(in->err));
	if (b->err)
		fail(EX_OSERR, "no memory");
}

/* Reads the header block into out: what the recipients are, whether there is a From field. */
static void
read_header(struct mail *m, struct sendmail_input *in, struct buf *out, bool *from)
{
	size_t line = 0;

	while (out->n < HEADER_MOST && sendmail_line(in, out)) {
		const char *p = out->p + line;
		size_t n = out->n - line;

		/* a blank line, or one that is no field: the block has ended */
		if (n == 2 || (*p != ' ' && *p != '\t' && !memchr(p, ':', n) && strncmp(p, "From ", 5) != 0))
			break;
		line = out->n;
	}
	check(in, out);
	for (size_t at = 0, n; at < line; at += n) {
		static const char *const lists[] = {"To", "Cc", "Bcc"};
		const char *p = out->p + at;
		size_t k;

		n = sendmail_field_length(p, line - at);
		*from |= sendmail_field_is(p, n, "From") != 0;
		for (size_t i = 0; m->header && i < 3; i++)
			if ((k = sendmail_field_is(p, n, lists[i])))
				add_list(m, p + k, n - k, lists[i], EX_DATAERR);
	}
}

/* Sends content with its dots stuffed. */
static bool
put_content(const struct mail *m, struct smtp_stuff *w, const char *p, size_t n)
{
	while (n) {
		const char *run;
		size_t nrun, k = smtp_stuff_feed(w, p, n, &run, &nrun);

		if (w->bad)
			fail(EX_DATAERR, "the message holds %s; it is not sent", w->bad & SMTP_BAD_NUL ? "a NUL" :
			    "a CR that stands alone");
		if (nrun && !put(m, run, nrun))
			return false;
		p += k;
		n -= k;
	}
	return true;
}

static void
put_from(struct mail *m, const char *address, struct smtp_stuff *w)
{
	struct buf b = BUF_INIT(LINE_MOST);
	/* as a comment, which is quoted where it has to be; a phrase is taken as it is */
	struct smtp_mailbox box = {.note = m->name, .nnote = strlen(m->name)};

	buf_str(&b, "From: ");
	smtp_phrase_write(&b, &box);
	buf_printf(&b, "<%s>\r\n", address);
	if (b.err)
		fail(EX_USAGE, "the name is too long");
	put_content(m, w, b.p, b.n);
	buf_free(&b);
}

static void
envelope(struct mail *m, const char *from)
{
	struct buf id = BUF_INIT(1024);
	char notify[80] = "";

	if (m->envid)
		smtp_xtext_write(&id, m->envid, strlen(m->envid));
	if (m->notify[0])
		snprintf(notify, sizeof notify, " NOTIFY=%s", m->notify);
	if (answer(m) != 220)
		refused(m, "not now", false);
	if (say(m, "EHLO %s", m->host) != 250)
		refused(m, "not now", false);
	if (say(m, "MAIL FROM:<%s>%s%s%s%s%s%s", from, m->body ? " BODY=" : "", m->body ? m->body : "",
	    m->ret ? " RET=" : "", m->ret ? m->ret : "", m->envid ? " ENVID=" : "", id.p ? id.p : "") != 250)
		refused(m, "the sender is refused", false);
	/* for all or for none: who calls can try again without sending twice */
	for (size_t i = 0; i < m->nto; i++)
		if (say(m, "RCPT TO:<%s>%s", m->to[i], notify) / 100 != 2)
			refused(m, m->to[i], true);
	if (say(m, "DATA") != 354)
		refused(m, "the message is refused", false);
	buf_free(&id);
}

static int
send_message(struct mail *m)
{
	static struct sendmail_input in;
	struct buf b = BUF_INIT(HEADER_MOST + LINE_MOST + 4);
	struct smtp_stuff w;
	char *from = sender(m);
	bool has_from = false, more = true;
	const char *end;

	in.dots = m->dots;
	read_header(m, &in, &b, &has_from);
	if (!m->nto)
		fail(EX_USAGE, m->header ? "neither the message nor the command names a recipient" :
		    "no recipient; name one, or use -t");
	for (size_t i = 0; i < m->nto; i++)
		if (strpbrk(m->to[i], "<>\r\n"))
			fail(EX_USAGE, "a recipient is no address");
	m->fd = dial();
	smtp_reply_init(&m->reply);
	envelope(m, from);
	smtp_stuff_init(&w);
	if (m->name && !has_from)
		put_from(m, from, &w);
	while (more && b.n) {
		more = put_content(m, &w, b.p, b.n);
		b.n = 0;
		while (more && b.n < RUN && sendmail_line(&in, &b))
			;
	}
	check(&in, &b);
	end = more ? smtp_stuff_end(&w) : NULL;
	if (end)
		put(m, end, strlen(end));
	if (answer(m) / 100 != 2)
		refused(m, "the message is refused", false);
	put(m, "QUIT\r\n", 6);
	buf_free(&b);
	free(from);
	for (size_t i = 0; i < m->nto; i++)
		free(m->to[i]);
	smtp_reply_free(&m->reply);
	close(m->fd);
	return EX_OK;
}

/* ---- -bs ------------------------------------------------------------------------------------------------------ */

/* Carries bytes between standard input, standard output and the agent. */
static int
speak(struct mail *m)
{
	static char run[RUN];
	struct pollfd f[2] = {{-1, POLLIN, 0}, {0, POLLIN, 0}};
	bool greeted = false;

	f[1].fd = m->fd = dial();
	for (;;) {
		ssize_t k;

		if (poll(f, 2, -1) < 0 && errno != EINTR)
			return EX_OSERR;
		if (f[1].revents) {
			k = recv(m->fd, run, sizeof run, 0);
			if (k <= 0)
				return EX_OK;
			/* who speaks before the greeting is cut off, and a program need not wait for it */
			if (!greeted)
				f[0].fd = STDIN_FILENO;
			greeted = true;
			for (ssize_t at = 0, w; at < k; at += w)
				if ((w = write(STDOUT_FILENO, run + at, (size_t)(k - at))) <= 0)
					return EX_IOERR;
		}
		if (f[0].revents) {
			k = read(STDIN_FILENO, run, sizeof run);
			if (k <= 0) {
				shutdown(m->fd, SHUT_WR);
				f[0].fd = -1;
			} else if (!put(m, run, (size_t)k)) {
				f[0].fd = -1;
			}
		}
	}
}

int
main(int argc, char **argv)
{
	static struct mail m = {.mode = 'm', .fd = -1};
	const char *slash = strrchr(argv[0], '/'), *self = slash ? slash + 1 : argv[0];

	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "--manual"))) {
		if (!strcmp(argv[1], "--help"))
			help();
		else
			manual();
		return fflush(stdout) ? EX_IOERR : EX_OK;
	}
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		printf("mailreeve-sendmail %s\n", MAILREEVE_VERSION);
		return EX_OK;
	}
	find_host(&m);
	if (!strcmp(self, "mailq"))
		m.mode = 'p';
	else if (!strcmp(self, "newaliases"))
		m.mode = 'i';
	else
		read_options(&m, argc, argv);
	switch (m.mode) {
	case 's':
		return speak(&m);
	case 'p':
		printf("the queue is shown by: mailreevectl queue list\n");
		return EX_OK;
	case 'i':
		return EX_OK;
	case 'q':
		/* with recipients -q only asks for haste */
		if (!m.nto && !m.header)
			return EX_OK;
		break;
	}
	return send_message(&m);
}
