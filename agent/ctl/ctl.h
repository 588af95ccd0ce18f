/*
 * ctl: what the files of mailreevectl share.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdint.h>
#include <stdio.h>

/* Asks the agent whose sockets are in the folder run for one message (enum mail_queue_op), prints what it
 * says to out and err. The exit status. */
int
ctl_queue(const char *run, uint32_t op, const char *id, FILE *out, FILE *err);

/* Sends a message through the agent's own door RUN/submission.sock, as any program would, waits a while for
 * what becomes of it, and tells. from NULL: the user's name at this host. The exit status: 0 the relay has
 * it, 1 refused or still waiting. */
int
test_mail(const char *run, const char *from, const char *to);

#endif
