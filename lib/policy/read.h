/*
 * read: the words of the language that have a form of their own: ports, paths,
 * users, units, host names, address patterns. Inside policy only.
 *
 * The read_*_ok functions have the type shape_read: NULL, or a clause about
 * what is wrong.
 */
#ifndef POLICY_READ_H
#define POLICY_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

struct arena;

/* "25", "1024-2000", or a name. */
const char *
read_port_ok(struct arena *a, const char *s, size_t n);

/* The ports of "25" or "1024-2000"; false for anything else. */
bool
read_ports(const char *s, size_t n, uint16_t *lo, uint16_t *hi);

/* A path of a file below the policy's folder: relative, without `..`. */
const char *
read_path_ok(struct arena *a, const char *s, size_t n);

/* A user name or a decimal uid. */
const char *
read_user_ok(struct arena *a, const char *s, size_t n);

/* A systemd unit ("apache2.service") or a cgroup path below the root. */
const char *
read_unit_ok(struct arena *a, const char *s, size_t n);

/* A host name (RFC 1123, with a dot) or an address literal. */
const char *
read_host_ok(struct arena *a, const char *s, size_t n);

/* A host name only. */
const char *
read_hostname_ok(struct arena *a, const char *s, size_t n);

/* A mail domain as A-labels. */
const char *
read_domain_ok(struct arena *a, const char *s, size_t n);

/* Recipient patterns: any, "@example.org", "@*.example.org", an address. */
const char *
read_recipient_ok(struct arena *a, const char *s, size_t n);

/* The same, and `internal`: the institution's own domains. */
const char *
read_uncounted_ok(struct arena *a, const char *s, size_t n);

/* Sender patterns: "<>", "*@example.org", "@*.example.org", an address. */
const char *
read_sender_ok(struct arena *a, const char *s, size_t n);

/* A mail address, as owners have it. */
const char *
read_address_ok(struct arena *a, const char *s, size_t n);

/* The pattern; s has passed one of the above. */
struct policy_pattern
read_pattern(struct arena *a, const char *s, size_t n, struct text_span at);

/* What a mail limit counts over: message, connection, or a duration. */
const char *
read_per_ok(struct arena *a, const char *s, size_t n);

/* The s in lower case, in the arena. */
const char *
read_lower(struct arena *a, const char *s, size_t n);

/* A reply code's beginning, or a verdict of a packet. */
const char *
read_expect_ok(struct arena *a, const char *s, size_t n);

/* A file name's ending, ".exe". */
const char *
read_ending_ok(struct arena *a, const char *s, size_t n);

/* A path of this machine, absolute: a file or folder of certificates. */
const char *
read_ca_ok(struct arena *a, const char *s, size_t n);

/* A time zone's name, "Europe/London". */
const char *
read_zone_ok(struct arena *a, const char *s, size_t n);

/* The expectation of a packet's test; false for no such word. */
bool
read_verdict(const char *s, enum policy_expect *out);

#endif
