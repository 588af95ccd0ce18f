/*
 * roles_world: what the program of roles_feed sends, and the two relays that it goes to.
 */
#ifndef FAULTS_ROLES_WORLD_H
#define FAULTS_ROLES_WORLD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MESSAGES = 4, RCPTS = 3, REPORTS = 8, PORT = 2525, LARGE = 70000 };

/* What the relays write down, and what outlives a role. */
struct shared {
	atomic_uint serial;          /* of the point; mail of others is not counted */
	struct {
		atomic_uint got[RCPTS];
		atomic_uint reports; /* messages of their own: */
		struct {
			uint32_t id;
			atomic_uint got;
		} report[REPORTS];
		atomic_uint late;    /* deferrals */
	} m[MESSAGES];
	atomic_uint torn;
	unsigned long syncs;         /* of the queue, that succeeded */
	long count[3];               /* calls of each role, told at its end */
	long met;                    /* of them broken */
};

/* Recipients: "nobody" is refused by its relay, "late" deferred once. */
extern const struct roles_mail {
	size_t size;
	const char *to[RCPTS + 1];
} roles_mail[MESSAGES];

/* Lines of a stream. */
struct lines {
	int fd;
	size_t n, at;
	char raw[8192];
};

/* Sends the whole text. */
bool
roles_say(int fd, const char *text);

/* The body of message i, LARGE + 100 bytes at most, which begins behind the header's empty line; its length. */
size_t
roles_body(unsigned serial, unsigned i, char *out);

/* A listening socket; -1 and errno. */
int
roles_listening(const char *address, uint16_t port);

/* Is the relays, a thread a connection, which note in *s what they get, until the parent has gone. */
_Noreturn void
roles_be_relays(struct shared *s, const int fd[2]);

#endif
