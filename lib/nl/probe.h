/*
 * probe: what nf_tables of this kernel has, found by trying.
 *
 * Nothing is concluded from a version. What can be is tried in transactions that are bound to
 * fail, so that nothing happens; the rest in a table that belongs to a socket of its own and
 * goes with it, also where the process is killed. It has no chain, so no packet meets it.
 */
#ifndef NL_PROBE_H
#define NL_PROBE_H

struct buf;

enum nl_known { NL_NOT_KNOWN, NL_HAS_NOT, NL_HAS };

struct nl_probe {
	enum nl_known owner;       /* tables that only their socket may change (5.12) */
	enum nl_known persist;     /* and that outlive it (6.9) */
	enum nl_known destroy;     /* DESTROYTABLE: deletes what may not be there (6.3) */
	enum nl_known ack_end;     /* the end of a batch can be acknowledged */
	enum nl_known set_count;   /* a dump says how many elements a set has */
	enum nl_known in_place;    /* sets of ranges are read from a copy that is put in place
	                              in one instant: their elements may be changed while they
	                              are in use (nl_job.in_place). Told by asking for a lone
	                              end of a range, which the copy has not and the tree has. */
};

/* Tries all of them in the network namespace of the calling thread, in about a millisecond; the
 * generation moves by one. 0, or -errno: -EPERM without CAP_NET_ADMIN. */
int
nl_probe(struct nl_probe *out);

/* Adds a line for each: "owner: yes". */
void
nl_probe_text(struct buf *b, const struct nl_probe *p);

#endif
