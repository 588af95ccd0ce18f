/*
 * ctl: what the files of mailreevectl share.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Asks the agent whose sockets are in the folder run for one message (enum mail_queue_op), prints what it
 * says to out and err. The exit status. */
int
ctl_queue(const char *run, uint32_t op, const char *id, FILE *out, FILE *err);

/* A connection to the agent whose sockets are in the folder run; -1 after a sentence on standard error. */
int
ctl_reach(const char *run);

/* Asks what is wrong with the way of mail (of one relay; "": of all), looks itself at what a program would see, and tells. The
 * exit status: 0 nothing fails, 1 something does, 2 there is no such relay, 3 the agent cannot be asked. */
int
doctor(const char *run, const char *relay, bool json);

/* Sends a message through the agent's own door RUN/submission.sock, as any program would, waits a while for
 * what becomes of it, and tells. from NULL: the user's name at this host. The exit status: 0 the relay has
 * it, 1 refused or still waiting. */
int
test_mail(const char *run, const char *from, const char *to);

#endif
