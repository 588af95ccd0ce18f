#include "base/sha.h"

#include <sha2.h>
#include <stdlib.h>

struct sha {
	SHA2_CTX ctx;
};

struct sha *
sha_new(void)
{
	struct sha *s = malloc(sizeof *s);

	if (s)
		SHA256Init(&s->ctx);
	return s;
}

void
sha_add(struct sha *s, const void *p, size_t n)
{
	if (n)
		SHA256Update(&s->ctx, p, n);
}

void
sha_end(struct sha *s, uint8_t out[SHA_LEN])
{
	if (!s)
		return;
	SHA256Final(out, &s->ctx);
	free(s);
}
