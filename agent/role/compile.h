/*
 * compile: the role that reads what an author wrote.
 *
 * A child for one job (ipc/compile.h): it may read the policy's folder and the time zones, and
 * nothing else: no capability, no socket but its channel. It reads, compiles, compares, tells,
 * ends. A policy that kills it has killed nothing else.
 */
#ifndef ROLE_COMPILE_H
#define ROLE_COMPILE_H

/* Takes one job from the channel and answers it. Gives the exit status of the process. */
int
role_compile(int chan);

#endif
