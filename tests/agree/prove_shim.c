/*
 * prove_shim: a library to be preloaded, through which a kernel seems to hear another port.
 *
 * In netlink messages the value 25 of two bytes (NFTA_DATA_VALUE) becomes 26: what
 * `compile --prove` does in its own process is then wrong, and must be found.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

ssize_t
sendto(int fd, const void *p, size_t n, int flags, __CONST_SOCKADDR_ARG to, socklen_t len)
{
	static const unsigned char from[] = {6, 0, 1, 0, 0, 25};
	ssize_t (*next)(int, const void *, size_t, int, __CONST_SOCKADDR_ARG, socklen_t);
	void *sym = dlsym(RTLD_NEXT, "sendto");
	unsigned char *copy = malloc(n + 1), *at;
	ssize_t k;

	if (!sym || !copy)
		abort();
	memcpy(&next, &sym, sizeof next);
	memcpy(copy, p, n);
	for (at = copy; (at = memmem(at, (size_t)(copy + n - at), from, sizeof from)); )
		at[sizeof from - 1] = 26;
	k = next(fd, copy, n, flags, to, len);
	free(copy);
	return k;
}
