/*
 * ipc: framed messages between the agent's processes, with descriptors.
 *
 * A channel is a SOCK_SEQPACKET unix socket, so a message arrives whole or not at all.
 * What is in a message is a C struct; a const shape (rows of its fields) packs and unpacks
 * it, so both ends read one table. Nothing in the bytes is believed: what is short, long or
 * of a wrong type is -EBADMSG, lists and texts have a most. Bulk (plans, dumps, texts) goes
 * as sealed memory files (memfd_create(2)) beside the message.
 *
 * The messages stand in apply.h, attempts.h, compile.h and ctl.h, one header a pair of
 * processes.
 */
#ifndef IPC_IPC_H
#define IPC_IPC_H

#include <stddef.h>
#include <stdint.h>

enum {
	IPC_MOST = 60 << 10,       /* bytes of one message */
	IPC_MOST_FDS = 4,
	IPC_MOST_TEXT = 4 << 10,   /* bytes of a text where its row says no less */
};

enum ipc_kind {
	IPC_U32,                   /* uint32_t */
	IPC_U64,                   /* uint64_t */
	IPC_TEXT,                  /* const char *: no NUL inside; NULL travels as "" */
	IPC_BYTES,                 /* const uint8_t * and, at `count`, a uint32_t */
	IPC_LIST,                  /* pointer to structs of shape `of` and, at `count`, a uint32_t */
};

struct ipc_shape;

struct ipc_field {
	enum ipc_kind kind;
	size_t at;                 /* offsets in the struct */
	size_t count;              /* BYTES, LIST */
	const struct ipc_shape *of; /* LIST */
	uint32_t most;             /* bytes of TEXT and BYTES (0: IPC_MOST_TEXT), elements of LIST */
};

/* A message's struct. Lists hold no lists. */
struct ipc_shape {
	const char *name;
	size_t size;               /* of the struct */
	const struct ipc_field *field;
	uint32_t nfield;
};

#define IPC_SHAPE(sname, type, rows) \
	{sname, sizeof(type), rows, sizeof(rows) / sizeof(rows)[0]}

/* A message that has come. Owned by the caller until ipc_free(). */
struct ipc_in {
	uint32_t type, id;         /* id: the asker's number, which the answer bears too */
	int fd[IPC_MOST_FDS];      /* close-on-exec; those taken are set to -1 by the taker */
	uint32_t nfd;
	uint8_t *bytes;            /* the body */
	size_t n;
	void *body;                /* ipc_body()'s, freed with the message */
};

/* A pair of connected channels, close-on-exec, non-blocking. 0 or -errno. */
int
ipc_pair(int fd[2]);

/* Sends a message of struct body (NULL: none) with copies of nfd descriptors. 0; -EAGAIN when
 * the channel is full, -EMSGSIZE for a body of more than IPC_MOST, -EPIPE when the other end
 * has gone, or -errno. No signal is raised. */
int
ipc_send(int chan, uint32_t type, uint32_t id, const struct ipc_shape *s, const void *body,
    const int *fd, uint32_t nfd);

/* The same, waiting for room for at most `ms` milliseconds; -ETIMEDOUT. */
int
ipc_send_wait(int chan, uint32_t type, uint32_t id, const struct ipc_shape *s, const void *body,
    const int *fd, uint32_t nfd, int ms);

/* Takes the next message. 1 and *in; 0 when the other end has closed; -EAGAIN when there is none
 * yet; -EBADMSG for what is no message (it is gone), or -errno. */
int
ipc_recv(int chan, struct ipc_in *in);

/* The same, waiting for at most `ms` milliseconds (-1: for ever); -ETIMEDOUT. */
int
ipc_recv_wait(int chan, struct ipc_in *in, int ms);

/* The body as the struct of shape s, whose texts point into the message; it lives as long as
 * the message. 0 and *body, -EBADMSG or -ENOMEM. */
int
ipc_body(struct ipc_in *in, const struct ipc_shape *s, const void **body);

/* Takes descriptor i out of the message: it is the caller's now. -1 where there is none. */
int
ipc_take(struct ipc_in *in, uint32_t i);

/* Frees the message, closes its descriptors; an empty one is fine. */
void
ipc_free(struct ipc_in *in);

/* Packs and unpacks without a socket, for files and tests. ipc_unpack gives a struct that
 * points into bytes, to be freed by free(3), NULL with *err -EBADMSG or -ENOMEM. */
struct buf;
void
ipc_pack(struct buf *b, const struct ipc_shape *s, const void *body);
void *
ipc_unpack(const struct ipc_shape *s, const uint8_t *bytes, size_t n, int *err);

/* A sealed memory file of n bytes. The descriptor (close-on-exec) or -errno. */
int
ipc_file(const char *name, const void *bytes, size_t n);

/* Maps a memory file that came, which must be sealed against change, of at most `most` bytes. 0
 * and the bytes (munmap(2) by ipc_unmap), -EPERM where it is not sealed, -EFBIG, or -errno. */
int
ipc_map(int fd, size_t most, const uint8_t **bytes, size_t *n);
void
ipc_unmap(const uint8_t *bytes, size_t n);

#endif
