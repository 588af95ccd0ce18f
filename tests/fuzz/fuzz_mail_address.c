/*
 * Any bytes as a mail address: what is taken has the parts, the lengths and
 * the letters that RFC 5321 allows, and matches the patterns that it must.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "mail/mail.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool x)
{
	if (!x)
		abort();
}

static void
matches(const char *s, const struct mail_address *a)
{
	char domain[256], local[65];
	struct policy_pattern p = {.kind = POLICY_PATTERN_DOMAIN, .domain = domain, .local = local};

	memcpy(domain, a->domain, a->ndomain);
	domain[a->ndomain] = 0;
	memcpy(local, a->local, a->nlocal);
	local[a->nlocal] = 0;
	must(mail_pattern_match(&p, s));
	p.kind = POLICY_PATTERN_ADDRESS;
	must(mail_pattern_match(&p, s));
	p.kind = POLICY_PATTERN_ANY;
	must(mail_pattern_match(&p, s));
	p.kind = POLICY_PATTERN_BELOW;
	must(!mail_pattern_match(&p, s));
	p.kind = POLICY_PATTERN_NULL;
	must(!mail_pattern_match(&p, s));
	/* Never a domain that its own only ends with. */
	p.kind = POLICY_PATTERN_DOMAIN;
	p.domain = domain + 1;
	must(!mail_pattern_match(&p, s));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mail_address a, b;
	const char *why = NULL;
	char *s = malloc(size + 1);
	bool wide, narrow;

	if (!s)
		return 0;
	memcpy(s, data, size);
	s[size] = 0;
	wide = mail_address_read(s, size, true, &a, &why);
	must(wide == (why == NULL));
	narrow = mail_address_read(s, size, false, &b, NULL);
	must(narrow == (wide && !a.utf8));
	if (wide) {
		must(a.local == s && s[a.nlocal] == '@' && a.domain == s + a.nlocal + 1);
		must(a.nlocal + 1 + a.ndomain == size && size <= 254);
		must(a.nlocal && a.nlocal <= 64 && a.ndomain && a.ndomain <= 255);
		must(a.quoted == (*s == '"') && a.literal == (*a.domain == '['));
		must(!memchr(a.domain, '@', a.ndomain) && a.domain[a.ndomain - 1] != '.');
		for (size_t i = 0; i < size; i++)
			must((unsigned char)s[i] >= 32 && s[i] != 127);
		matches(s, &a);
	}
	free(s);
	return 0;
}
