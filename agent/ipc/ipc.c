#include "ipc/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

/* What stands before the body: type, id, length of the body, each of 4 bytes in the host's
 * order, for both ends are one host. */
enum { HEAD = 12, SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

int
ipc_pair(int fd[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd))
		return -errno;
	return 0;
}

/* ---- packing ---------------------------------------------------------------- */

static void
put_u32(struct buf *b, uint32_t x)
{
	buf_add(b, &x, sizeof x);
}

static const void *
at(const void *body, size_t offset)
{
	return (const char *)body + offset;
}

static uint32_t
count_of(const struct ipc_field *f, const void *body)
{
	uint32_t n;

	memcpy(&n, at(body, f->count), sizeof n);
	return n;
}

/* Pointers in the structs are of several types; all are read and written as bytes. */
static const void *
pointer_of(const struct ipc_field *f, const void *body)
{
	const void *p;

	memcpy(&p, at(body, f->at), sizeof p);
	return p;
}

void
ipc_pack(struct buf *b, const struct ipc_shape *s, const void *body)
{
	for (uint32_t i = 0; i < s->nfield; i++) {
		const struct ipc_field *f = &s->field[i];
		const void *p;
		size_t n;

		switch (f->kind) {
		case IPC_U32:
			buf_add(b, at(body, f->at), 4);
			break;
		case IPC_U64:
			buf_add(b, at(body, f->at), 8);
			break;
		case IPC_TEXT:
			p = pointer_of(f, body);
			n = p ? strlen(p) : 0;
			/* the reader's limit is the writer's too: what is longer is cut */
			if (n > (f->most ? f->most : IPC_MOST_TEXT))
				n = f->most ? f->most : IPC_MOST_TEXT;
			put_u32(b, (uint32_t)n);
			if (n)
				buf_add(b, p, n);
			buf_chr(b, '\0');
			break;
		case IPC_BYTES:
			n = count_of(f, body);
			put_u32(b, (uint32_t)n);
			if (n)
				buf_add(b, pointer_of(f, body), n);
			break;
		case IPC_LIST:
			n = count_of(f, body);
			p = pointer_of(f, body);
			put_u32(b, (uint32_t)n);
			for (size_t k = 0; k < n; k++)
				ipc_pack(b, f->of, at(p, k * f->of->size));
			break;
		}
	}
}

/* ---- unpacking -------------------------------------------------------------- */

struct reader {
	const uint8_t *p, *end;
	char *place;               /* where structs go: a first pass counts with NULL */
	size_t used;
	int err;
};

static uint32_t
get_u32(struct reader *r)
{
	uint32_t x = 0;

	if (!r->p || (size_t)(r->end - r->p) < sizeof x) {
		r->err = -EBADMSG;
		return 0;
	}
	memcpy(&x, r->p, sizeof x);
	r->p += sizeof x;
	return x;
}

/* The next n bytes; NULL and the error where there are fewer. */
static const uint8_t *
get_run(struct reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->err || (size_t)(r->end - r->p) < n) {
		r->err = -EBADMSG;
		return NULL;
	}
	r->p += n;
	return p;
}

static void
store(struct reader *r, size_t to, size_t offset, const void *x, size_t n)
{
	if (r->place && !r->err)
		memcpy(r->place + to + offset, x, n);
}

/* Room for n structs; all are aligned as the strictest type of a field. */
static size_t
room(struct reader *r, size_t n, size_t size)
{
	size_t to = r->used;

	r->used += (n * size + 15) & ~(size_t)15;
	return to;
}

static void
get(struct reader *r, const struct ipc_shape *s, size_t to)
{
	for (uint32_t i = 0; i < s->nfield && !r->err; i++) {
		const struct ipc_field *f = &s->field[i];
		const uint8_t *p;
		const void *q;
		uint32_t n;
		size_t list;

		switch (f->kind) {
		case IPC_U32:
			if ((p = get_run(r, 4)))
				store(r, to, f->at, p, 4);
			break;
		case IPC_U64:
			if ((p = get_run(r, 8)))
				store(r, to, f->at, p, 8);
			break;
		case IPC_TEXT:
			n = get_u32(r);
			if (n > (f->most ? f->most : IPC_MOST_TEXT))
				r->err = -EBADMSG;
			p = get_run(r, (size_t)n + 1);
			if (p && (p[n] != '\0' || memchr(p, '\0', n)))
				r->err = -EBADMSG;
			store(r, to, f->at, &p, sizeof p);
			break;
		case IPC_BYTES:
			n = get_u32(r);
			if (n > (f->most ? f->most : IPC_MOST_TEXT))
				r->err = -EBADMSG;
			p = get_run(r, n);
			store(r, to, f->at, &p, sizeof p);
			store(r, to, f->count, &n, sizeof n);
			break;
		case IPC_LIST:
			n = get_u32(r);
			/* each element takes at least a byte, so the message bounds the list */
			if (n > f->most || n > (size_t)(r->end - r->p)) {
				r->err = -EBADMSG;
				break;
			}
			list = room(r, n, f->of->size);
			q = r->place ? r->place + list : NULL;
			store(r, to, f->at, &q, sizeof q);
			store(r, to, f->count, &n, sizeof n);
			for (uint32_t k = 0; k < n && !r->err; k++)
				get(r, f->of, list + k * f->of->size);
			break;
		}
	}
}

void *
ipc_unpack(const struct ipc_shape *s, const uint8_t *bytes, size_t n, int *err)
{
	struct reader r = {.p = bytes, .end = bytes + n};
	size_t top = room(&r, 1, s->size);

	get(&r, s, top);
	if (!r.err && r.p != r.end)
		r.err = -EBADMSG;
	if (r.err) {
		*err = r.err;
		return NULL;
	}
	char *place = calloc(1, r.used);
	if (!place) {
		*err = -ENOMEM;
		return NULL;
	}
	r = (struct reader){.p = bytes, .end = bytes + n, .place = place};
	get(&r, s, room(&r, 1, s->size));
	*err = 0;
	return place;
}

/* ---- the channel ------------------------------------------------------------- */

int
ipc_send(int chan, uint32_t type, uint32_t id, const struct ipc_shape *s, const void *body,
    const int *fd, uint32_t nfd)
{
	struct buf b = BUF_INIT(HEAD + IPC_MOST);
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(IPC_MOST_FDS * sizeof(int))];
	} c;
	int err = 0;

	if (nfd > IPC_MOST_FDS)
		return -EINVAL;
	put_u32(&b, type);
	put_u32(&b, id);
	put_u32(&b, 0);
	if (body)
		ipc_pack(&b, s, body);
	if (b.err) {
		err = b.err == -E2BIG ? -EMSGSIZE : b.err;
		buf_free(&b);
		return err;
	}
	uint32_t len = (uint32_t)(b.n - HEAD);
	memcpy(b.p + 8, &len, sizeof len);

	struct iovec v = {.iov_base = b.p, .iov_len = b.n};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	if (nfd) {
		memset(&c, 0, sizeof c);
		m.msg_control = c.room;
		m.msg_controllen = CMSG_SPACE(nfd * sizeof(int));
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(nfd * sizeof(int));
		memcpy(CMSG_DATA(h), fd, nfd * sizeof(int));
	}
	ssize_t n;
	do
		n = sendmsg(chan, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		err = -errno;
	buf_free(&b);
	return err == -ECONNRESET ? -EPIPE : err;
}

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits for `what` on chan until `end` (-1: for ever). 0 or -errno. */
static int
wait_for(int chan, short what, int64_t end)
{
	for (;;) {
		int64_t left = end < 0 ? -1 : end - now_ms();
		struct pollfd p = {.fd = chan, .events = what};

		if (end >= 0 && left <= 0)
			return -ETIMEDOUT;
		int n = poll(&p, 1, left > 1 << 30 ? 1 << 30 : (int)left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

int
ipc_send_wait(int chan, uint32_t type, uint32_t id, const struct ipc_shape *s, const void *body,
    const int *fd, uint32_t nfd, int ms)
{
	int64_t end = ms < 0 ? -1 : now_ms() + ms;

	for (;;) {
		int err = ipc_send(chan, type, id, s, body, fd, nfd);
		if (err != -EAGAIN)
			return err;
		if ((err = wait_for(chan, POLLOUT, end)))
			return err;
	}
}

int
ipc_recv(int chan, struct ipc_in *in)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(IPC_MOST_FDS * sizeof(int))];
	} c;
	uint32_t head[3];
	ssize_t n;

	*in = (struct ipc_in){.fd = {-1, -1, -1, -1}};
	do
		n = recv(chan, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	size_t most = n > HEAD + IPC_MOST ? HEAD + IPC_MOST : n > HEAD ? (size_t)n : HEAD;
	uint8_t *bytes = malloc(most);
	if (!bytes)
		return -ENOMEM;

	struct iovec v = {.iov_base = bytes, .iov_len = most};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1,
		.msg_control = c.room, .msg_controllen = sizeof c.room};
	do
		n = recvmsg(chan, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		int err = errno == ECONNRESET ? 0 : -errno;
		free(bytes);
		return err;
	}
	for (struct cmsghdr *h = n >= 0 ? CMSG_FIRSTHDR(&m) : NULL; h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t k = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < k; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
			if (in->nfd < IPC_MOST_FDS)
				in->fd[in->nfd++] = fd;
			else
				close(fd);
		}
	}
	in->bytes = bytes;
	if (n == 0 && !in->nfd) {
		ipc_free(in);
		return 0;
	}
	if ((size_t)n < HEAD || m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		ipc_free(in);
		return -EBADMSG;
	}
	memcpy(head, bytes, HEAD);
	if (head[2] != (size_t)n - HEAD) {
		ipc_free(in);
		return -EBADMSG;
	}
	in->type = head[0];
	in->id = head[1];
	in->n = head[2];
	memmove(bytes, bytes + HEAD, in->n);
	return 1;
}

int
ipc_recv_wait(int chan, struct ipc_in *in, int ms)
{
	int64_t end = ms < 0 ? -1 : now_ms() + ms;

	for (;;) {
		int err = ipc_recv(chan, in);
		if (err != -EAGAIN)
			return err;
		if ((err = wait_for(chan, POLLIN, end)))
			return err;
	}
}

int
ipc_body(struct ipc_in *in, const struct ipc_shape *s, const void **body)
{
	int err;

	free(in->body);
	in->body = ipc_unpack(s, in->bytes, in->n, &err);
	if (!in->body)
		return err;
	*body = in->body;
	return 0;
}

int
ipc_take(struct ipc_in *in, uint32_t i)
{
	if (i >= in->nfd)
		return -1;
	int fd = in->fd[i];
	in->fd[i] = -1;
	return fd;
}

void
ipc_free(struct ipc_in *in)
{
	for (uint32_t i = 0; i < in->nfd; i++)
		if (in->fd[i] >= 0)
			close(in->fd[i]);
	free(in->body);
	free(in->bytes);
	*in = (struct ipc_in){.fd = {-1, -1, -1, -1}};
}

/* ---- memory files -------------------------------------------------------------- */

int
ipc_file(const char *name, const void *bytes, size_t n)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	const char *p = bytes;
	int err;

	if (fd < 0)
		return -errno;
	while (n) {
		ssize_t k = write(fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			err = k ? -errno : -EIO;
			close(fd);
			return err;
		}
		p += k;
		n -= (size_t)k;
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int
ipc_map(int fd, size_t most, const uint8_t **bytes, size_t *n)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	/* unsealed, its owner could shorten it under our feet: SIGBUS */
	if (seals < 0 || (seals & SEALS) != SEALS)
		return -EPERM;
	if (fstat(fd, &st))
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size > most)
		return -EFBIG;
	*n = (size_t)st.st_size;
	if (*n == 0) {
		*bytes = (const uint8_t *)"";
		return 0;
	}
	void *p = mmap(NULL, *n, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*bytes = p;
	return 0;
}

void
ipc_unmap(const uint8_t *bytes, size_t n)
{
	if (bytes && n)
		munmap((void *)(uintptr_t)bytes, n);
}
