/*
 * mailreeve-relay: the role relay as a program of its own, which the starter executes. It alone links
 * TLS, SASL and DNS: their data would be private memory of each of the agent's processes.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/starter.h"
#include "jail/jail.h"
#include "log/log.h"
#include "role/role.h"

enum { PARENT = 3, QUEUE = 4 }; /* where the starter puts its channels */

int
main(int argc, char **argv)
{
	const char *ca[START_MOST_ARGS];
	struct role_relay r = {.parent = PARENT, .queue = QUEUE, .ca = ca, .uid = geteuid(), .gid = getegid()};
	bool told = false;

	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--uid=", 6))
			r.uid = (uid_t)strtoul(argv[i] + 6, NULL, 10);
		else if (!strncmp(argv[i], "--gid=", 6))
			r.gid = (gid_t)strtoul(argv[i] + 6, NULL, 10);
		else if (!strcmp(argv[i], "--fds=2"))
			told = true;
		else if (!strncmp(argv[i], "--arg=", 6) && r.nca < START_MOST_ARGS)
			ca[r.nca++] = argv[i] + 6;
	}
	if (!told) {
		fprintf(stderr, "mailreeve-relay: mailreeved starts it\n");
		return 2;
	}
	/* what a policy or a chain of certificates took once goes back to the system */
	(void)mallopt(M_MMAP_THRESHOLD, 32 << 10);
	(void)mallopt(M_TRIM_THRESHOLD, 32 << 10);
	log_begin("mailreeved relay");
	jail_first_to_go(JAIL_GO_ROLE);
	return role_relay(&r);
}
