/*
 * io: the few calls by which the spool touches its folder. All give 0 (or
 * what they say) or a negative errno; an interrupted call is made again,
 * but for syncs, which are never repeated.
 */
#ifndef SPOOL_IO_H
#define SPOOL_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A descriptor (close-on-exec), or errno. */
int
io_open(int dir, const char *name, int flags);

/* The folder `name`, made if it is missing. */
int
io_folder(int dir, const char *name);

/* All n bytes; what the device refuses is its errno. */
int
io_write(int fd, const void *p, size_t n, uint64_t at);

/* Up to n bytes, fewer at the end of the file only: how many, or errno. */
int64_t
io_read(int fd, void *p, size_t n, uint64_t at);

int
io_rename(int from, const char *a, int to, const char *b);
int
io_unlink(int dir, const char *name);
int
io_cut(int fd, uint64_t size);
int
io_size(int fd, uint64_t *size);

/* fsync, fdatasync or syncfs, once. syncfs tells errors of writing back since Linux 5.8; before it, SPOOL_SYNC_EACH is the
 * only safe choice. */
int
io_fsync(int fd);
int
io_fdatasync(int fd);
int
io_syncfs(int fd);

/* Begins to write a file's pages; a hint. */
void
io_start(int fd);

/* Free bytes and inodes for us; inodes UINT64_MAX where none are counted. */
int
io_space(int fd, uint64_t *bytes, uint64_t *inodes);

/* CRC-32C of n bytes at `at`; fewer: -ENODATA. `run` is scratch space. */
int
io_crc(int fd, uint64_t at, uint64_t n, char *run, size_t cap, uint32_t *crc);

/* Closes; -1 is fine. Returns -1. */
int
io_close(int fd);

#endif
