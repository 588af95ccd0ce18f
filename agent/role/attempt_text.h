/*
 * attempt_text: an attempt as people, the journal and programs read it. Pure.
 *
 * Names of programs, files and units come from whoever made them: what is not plain ASCII is
 * escaped (\xNN), what could be taken for our own words is quoted.
 */
#ifndef ROLE_ATTEMPT_TEXT_H
#define ROLE_ATTEMPT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "ipc/attempts.h"
#include "log/log.h"

struct buf;

enum {
	ATTEMPT_NFIELD = 20,       /* of the journal, at most */
	ATTEMPT_STATEMENT = 128,   /* bytes of a statement's name with its NUL */
};

/* An attempt's fields for log_say(): `field` ends with a NULL key. The values point into
 * this struct and into the attempt. */
struct attempt_fields {
	struct log_field field[ATTEMPT_NFIELD + 1];
	char statement[ATTEMPT_STATEMENT];
	char unit[256];
	char number[8][24];
};

/* The statement's name in a log prefix that lib/plan gave: "mailreeve outbound-block: " is
 * "outbound-block". True where its point only observes, so that the packet passed. Another's
 * prefix is kept whole. */
bool
attempt_statement(const char *prefix, char name[ATTEMPT_STATEMENT]);

/* The unit in a control group's path: its innermost component that systemd would name so
 * (system.slice/apache2.service/x: apache2.service), else the whole path; "" for "". n is set to
 * its bytes; it points into path. */
const char *
attempt_unit(const char *path, size_t *n);

/* One line for people, without a line break: "php8.2 (uid 33 www-data, unit apache2.service,
 * pid 4711 /usr/bin/php8.2) tried 192.0.2.10:25 from 192.0.2.77, 3 packets: refused by
 * outbound-block, out eth0". What is only likely is said to be. `did` is what the statement does
 * where the caller knows it ("led to the forwarder by"); NULL: "refused by", or "would be refused
 * by" for one that observes. */
void
attempt_line(struct buf *b, const struct attempts_one *a, const char *did);

/* The journal's fields: STATEMENT, OBSERVED, HOOK, PROTO, SOURCE, SOURCE_PORT, DESTINATION, PORT, IN, OUT, UID,
 * USER, UNIT, CGROUP, PID, COMM, EXE, SURE, AMONG, COUNT; what is not known is left out. */
void
attempt_fields(const struct attempts_one *a, struct attempt_fields *f);

/* A JSON object on one line; what is not known is null. */
void
attempt_json(struct buf *b, const struct attempts_one *a);

/* A line for those who could not be told one by one. */
void
attempt_lost_line(struct buf *b, const struct attempts_lost *l);

#endif
