/*
 * ehlo: what a relay says it can do (RFC 5321 4.1.1.1, RFC 9422), by a const table of
 * keywords.
 */
#ifndef SMTP_EHLO_H
#define SMTP_EHLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct smtp_reply;

struct smtp_capable {
	bool esmtp;                /* EHLO was taken */
	bool pipelining, eightbit, utf8, dsn, starttls, enhanced, chunking, requiretls;
	bool size;                 /* SIZE was said */
	uint64_t size_most;        /* 0: no fixed limit */
	bool auth;
	char mechanisms[256];      /* of AUTH, upper case, divided by blanks; what does not fit is left
	                              out whole */
	uint32_t mail_most;        /* LIMITS MAILMAX; 0: none */
	uint32_t rcpt_most;        /* LIMITS RCPTMAX; 0: none */
	uint32_t domain_most;      /* LIMITS RCPTDOMAINMAX; 0: none */
};

/* Reads the reply to EHLO. What is no keyword, and what is said twice with another value
 * (the first holds), is passed over. */
void
smtp_capable_read(struct smtp_capable *c, const struct smtp_reply *r);

/* Whether the mechanism is among those offered (any case). */
bool
smtp_capable_auth(const struct smtp_capable *c, const char *mechanism);

#endif
