/*
 * nl_leak: packets that get through while rules are replaced.
 *
 *     nl_leak DENIED[,DENIED...] ALLOWED[,...] ROUNDS COMMAND... -- COMMAND...
 *
 * One thread sends TCP SYNs to port 25 of those addresses as fast as it can, through the
 * output hook of this network namespace (a drop there is EPERM to the sender); the other
 * runs the two commands in turn, ROUNDS times. Prints: sent, sent to denied addresses and
 * not dropped, sent to allowed ones and dropped, seconds, the longest run of leaks in
 * milliseconds. The rules must be in force at the start.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 256, PORT = 25 };

static struct in_addr denied[MOST], allowed[MOST];
static size_t ndenied, nallowed;
static atomic_bool over;
static unsigned long sent, leaked, refused, odd;
static double longest, begun;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t
addresses(char *list, struct in_addr *out)
{
	size_t n = 0;
	char *save = NULL;

	for (char *s = strtok_r(list, ",", &save); s && n < MOST; s = strtok_r(NULL, ",", &save))
		if (inet_pton(AF_INET, s, &out[n++]) != 1) {
			fprintf(stderr, "nl_leak: no address: %s\n", s);
			exit(2);
		}
	return n;
}

/* Sends one SYN; whether it left. */
static bool
leaves(int fd, struct in_addr to, unsigned n)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = to};
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} p = {.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP,
	    .tot_len = htons(sizeof p), .daddr = to.s_addr, .saddr = htonl(0x0a630001)},
	    .tcp = {.source = htons((uint16_t)(1024 + n % 60000)), .dest = htons(PORT), .syn = 1,
	    .doff = 5, .window = htons(1000)}};

	if (sendto(fd, &p, sizeof p, 0, (struct sockaddr *)&sin, sizeof sin) == sizeof p)
		return true;
	odd += errno != EPERM;
	return false;
}

static void *
sender(void *arg)
{
	int fd = *(int *)arg;
	double since = 0;

	for (unsigned n = 0; !over; n++) {
		if (leaves(fd, denied[n % ndenied], n)) {
			leaked++;
			if (!since)
				since = now();
			if (now() - since > longest)
				longest = now() - since;
		} else {
			since = 0;
		}
		if (n % 4 == 0) {
			refused += !leaves(fd, allowed[n / 4 % nallowed], 1);
			sent++;
		}
		sent++;
	}
	return NULL;
}

static void
run(char **argv)
{
	pid_t pid;
	int status;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) ||
	    waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "nl_leak: %s failed\n", argv[0]);
		exit(2);
	}
}

int
main(int argc, char **argv)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), rounds, second = 0;
	pthread_t t;

	for (int i = 5; i < argc; i++)
		if (!strcmp(argv[i], "--")) {
			argv[i] = NULL;
			second = i + 1;
		}
	if (argc < 6 || second == 0 || second >= argc) {
		fputs("usage: nl_leak DENIED,... ALLOWED,... ROUNDS COMMAND... -- COMMAND...\n", stderr);
		return 2;
	}
	ndenied = addresses(argv[1], denied);
	nallowed = addresses(argv[2], allowed);
	rounds = (int)strtol(argv[3], NULL, 10);
	if (fd < 0 || !ndenied || !nallowed || pthread_create(&t, NULL, sender, &fd)) {
		perror("nl_leak");
		return 2;
	}
	begun = now();
	for (int i = 0; i < rounds; i++)
		run(i % 2 ? &argv[second] : &argv[4]);
	over = true;
	pthread_join(t, NULL);
	printf("%lu %lu %lu %.3f %.3f\n", sent, leaked, refused, now() - begun, longest * 1e3);
	if (odd)
		fprintf(stderr, "nl_leak: %lu packets were not sent for other reasons\n", odd);
	return odd != 0;
}
