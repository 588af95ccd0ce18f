#include "smtp/report.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "smtp/address.h"
#include "smtp/command.h"
#include "smtp/field.h"
#include "smtp/reply.h"

static const struct {
	const char *word, *status, *subject, *lead;
	unsigned notify;
} actions[] = {
	[SMTP_REPORT_FAILED] = {"failed", "5.0.0", "Mail could not be delivered",
	    "Your message could not be delivered to the recipients below. It will not be tried again.",
	    SMTP_NOTIFY_FAILURE},
	[SMTP_REPORT_DELAYED] = {"delayed", "4.0.0", "Mail is delayed",
	    "Your message has not been delivered yet to the recipients below. You need not send it\r\n"
	    "again: it is still being tried.", SMTP_NOTIFY_DELAY},
	[SMTP_REPORT_RELAYED] = {"relayed", "2.0.0", "Mail was given to its relay",
	    "Your message was given to a relay that sends no confirmations of its own for the\r\n"
	    "recipients below. You may get no further word of its delivery.", SMTP_NOTIFY_SUCCESS},
};

bool
smtp_report_wanted(enum smtp_report_action action, unsigned notify, const char *reverse)
{
	if (!*reverse || notify & SMTP_NOTIFY_NEVER)
		return false;
	if (!notify)
		return action != SMTP_REPORT_RELAYED;
	return notify & actions[action].notify;
}

/* One line of printable ASCII (bytes above 127 where `utf8`), at most `most` bytes. */
static void
line(struct buf *out, const char *s, size_t most, bool utf8)
{
	for (size_t i = 0; i < most && s[i]; i++) {
		unsigned char c = (unsigned char)s[i];

		buf_chr(out, (char)(c == '\n' || c == '\r' || c == '\t' ? ' ' :
		    c < 32 || c == 127 || (c > 127 && !utf8) ? '?' : c));
	}
}

static void
field(struct buf *out, const char *name, const char *type, const char *s, bool utf8)
{
	buf_printf(out, "%s: %s", name, type);
	line(out, s, 900, utf8);
	buf_add(out, "\r\n", 2);
}

static void
date_field(struct buf *out, const char *name, uint64_t seconds, int east)
{
	buf_printf(out, "%s: ", name);
	smtp_date_write(out, seconds, east);
	buf_add(out, "\r\n", 2);
}

static void
boundary(const struct smtp_report *r, struct buf *out, const char *end)
{
	buf_str(out, "--=_report-");
	line(out, r->id, 50, false);
	buf_str(out, end);
	buf_add(out, "\r\n", 2);
}

/* The gravest of all is the report's own. */
static enum smtp_report_action
gravest(const struct smtp_report *r)
{
	enum smtp_report_action a = SMTP_REPORT_RELAYED;

	for (size_t i = 0; i < r->nrcpt; i++)
		if (r->rcpt[i].action < a)
			a = r->rcpt[i].action;
	return a;
}

static void
head(const struct smtp_report *r, struct buf *out)
{
	buf_str(out, "From: \"Mail service\" <MAILER-DAEMON@");
	line(out, r->host, 255, false);
	buf_str(out, ">\r\nTo: <");
	line(out, r->to, 320, r->utf8);
	buf_printf(out, ">\r\nSubject: %s\r\nDate: ", actions[gravest(r)].subject);
	smtp_date_write(out, r->now, r->east);
	buf_str(out, "\r\nMessage-ID: <");
	line(out, r->id, 100, false);
	buf_chr(out, '@');
	line(out, r->host, 255, false);
	/* RFC 3834: nobody answers this by a machine. */
	buf_str(out, ">\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"=_report-");
	line(out, r->id, 50, false);
	buf_printf(out, "\"\r\nContent-Transfer-Encoding: %s\r\n\r\n", r->high || r->utf8 ? "8bit" : "7bit");
}

static void
words(const struct smtp_report *r, struct buf *out)
{
	boundary(r, out, "");
	buf_printf(out, "Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
	    r->utf8 ? "utf-8" : "us-ascii", r->utf8 ? "8bit" : "7bit");
	buf_str(out, "This is the mail service at ");
	line(out, r->host, 255, false);
	buf_str(out, ".\r\n\r\n");
	buf_str(out, actions[gravest(r)].lead);
	buf_str(out, "\r\n");
	for (size_t i = 0; i < r->nrcpt; i++) {
		const struct smtp_report_rcpt *t = &r->rcpt[i];

		buf_str(out, "\r\n  <");
		line(out, t->path, 320, r->utf8);
		buf_printf(out, "> %s\r\n", actions[t->action].word);
		if (t->words) {
			buf_str(out, "    ");
			line(out, t->words, 900, r->utf8);
			buf_str(out, "\r\n");
		}
		if (t->reply) {
			buf_str(out, "    ");
			line(out, t->relay ? t->relay : "this service", 255, false);
			buf_str(out, " said: ");
			line(out, t->reply, 600, r->utf8);
			buf_str(out, "\r\n");
		}
		if (t->action == SMTP_REPORT_DELAYED && t->until) {
			buf_str(out, "    It is tried until ");
			smtp_date_write(out, t->until, r->east);
			buf_str(out, ".\r\n");
		}
	}
	if (r->message) {
		buf_str(out, "\r\nThe service knows the message as ");
		line(out, r->message, 100, false);
		buf_str(out, ".\r\n");
	}
	if (r->postmaster) {
		buf_str(out, "\r\nWhoever can help: ");
		line(out, r->postmaster, 300, r->utf8);
		buf_str(out, "\r\n");
	}
	buf_str(out, "\r\n");
}

/* ORCPT as the field wants it: the type, and the address without its xtext. */
static void
original(const struct smtp_report *r, const char *orcpt, struct buf *out)
{
	const char *semi = strchr(orcpt, ';');
	struct buf b = BUF_INIT(1024);

	if (!semi || !smtp_orcpt_ok(orcpt, strlen(orcpt), true))
		return;
	smtp_xtext_read(&b, semi + 1, strlen(semi + 1));
	if (b.err == -ENOMEM)
		out->err = out->err ? out->err : b.err;
	if (!b.err) {
		buf_str(out, "Original-Recipient: ");
		line(out, orcpt, (size_t)(semi - orcpt), false);
		buf_chr(out, ';');
		line(out, b.p, 600, r->utf8);
		buf_add(out, "\r\n", 2);
	}
	buf_free(&b);
}

/* RFC 3464 2.3.5: by name, or by an address as RFC 5321 4.1.3 writes it. */
static void
remote(struct buf *out, const char *host)
{
	struct buf b = BUF_INIT(300);
	bool six = strchr(host, ':') != NULL;

	if (six || !host[strspn(host, "0123456789.")])
		buf_printf(&b, "[%s%.250s]", six ? "IPv6:" : "", host);
	else
		buf_printf(&b, "%.255s", host);
	if (b.err)
		out->err = out->err ? out->err : b.err;
	else
		field(out, "Remote-MTA", "dns; ", b.p, false);
	buf_free(&b);
}

static void
status(const struct smtp_report *r, struct buf *out)
{
	boundary(r, out, "");
	buf_printf(out, "Content-Type: message/%sdelivery-status\r\n%s\r\n", r->utf8 ? "global-" : "",
	    r->utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	if (r->envid && smtp_xtext_ok(r->envid, strlen(r->envid))) {
		struct buf b = BUF_INIT(1024);

		smtp_xtext_read(&b, r->envid, strlen(r->envid));
		if (b.err)
			out->err = out->err ? out->err : b.err;
		else
			field(out, "Original-Envelope-Id", "", b.p, false);
		buf_free(&b);
	}
	field(out, "Reporting-MTA", "dns; ", r->host, false);
	if (r->arrived)
		date_field(out, "Arrival-Date", r->arrived, r->east);
	for (size_t i = 0; i < r->nrcpt; i++) {
		const struct smtp_report_rcpt *t = &r->rcpt[i];
		size_t n = t->status ? strlen(t->status) : 0;
		const char *of = actions[t->action].status;

		buf_add(out, "\r\n", 2);
		if (t->orcpt)
			original(r, t->orcpt, out);
		field(out, "Final-Recipient", r->utf8 ? "utf-8; " : "rfc822; ", t->path, r->utf8);
		field(out, "Action", "", actions[t->action].word, false);
		if (n && smtp_enhanced_read(t->status, n, (unsigned)(*of - '0')) == n)
			of = t->status;
		field(out, "Status", "", of, false);
		if (t->relay)
			remote(out, t->relay);
		if (t->reply)
			field(out, "Diagnostic-Code", "smtp; ", t->reply, r->utf8);
		if (t->last)
			date_field(out, "Last-Attempt-Date", t->last, r->east);
		if (t->action == SMTP_REPORT_DELAYED && t->until)
			date_field(out, "Will-Retry-Until", t->until, r->east);
	}
	buf_add(out, "\r\n", 2);
}

int
smtp_report_head(const struct smtp_report *r, struct buf *out)
{
	const char *type = r->full ? r->utf8 ? "message/global" : "message/rfc822" :
	    r->utf8 ? "message/global-headers" : "text/rfc822-headers";

	if (!*r->to)
		return -EINVAL;
	assert(r->nrcpt);
	head(r, out);
	words(r, out);
	status(r, out);
	boundary(r, out, "");
	buf_printf(out, "Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", type,
	    r->high || r->utf8 ? "8bit" : "7bit");
	return out->err;
}

int
smtp_report_tail(const struct smtp_report *r, struct buf *out)
{
	buf_add(out, "\r\n", 2);
	boundary(r, out, "--");
	return out->err;
}
