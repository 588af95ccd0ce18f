/*
 * fault: what can be made to go wrong (fault.c).
 */
#ifndef FAULT_H
#define FAULT_H

enum fault_kind {
	FAULT_NONE,
	FAULT_KILL,                  /* kill -9 before the call */
	FAULT_TORN,                  /* half of a write, then kill -9 */
	FAULT_ENOSPC, FAULT_EIO, FAULT_EMFILE, FAULT_ENOMEM, FAULT_EINTR,
	FAULT_SHORT,                 /* half of a read or write */
	FAULT_PART,                  /* the same, of files alone */
	FAULT_NKIND
};

/* The n-th call of this kind from now, and `more` behind it; n 0: count only. */
void
fault_set(enum fault_kind k, long n, long more);

/* Calls of the kind so far. */
long
fault_count(void);

/* How many calls have met the fault. */
long
fault_met(void);

/* Each sync that succeeds from now on, in this process, adds one to *n, which may be shared memory. */
void
fault_syncs_to(unsigned long *n);

/* Since the last question: 0: no sync was refused; 1: one of a folder or of
 * all was; else the inode of the file whose sync was. */
unsigned long
fault_unsynced(void);

#endif
