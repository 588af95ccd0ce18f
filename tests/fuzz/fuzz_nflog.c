/* Messages of the log group, and the packets in them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nl/nflog.h"

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct nflog_bytes in = {p, n};
	struct nflog_seq seq = {0, false};
	struct nflog_packet k;
	struct nflog_head h;

	if (n < 8)
		return 0;
	/* the packet alone, then the messages; one end of the bytes is always checked by ASan */
	if (!nflog_head(p, n, &h) && h.ports && h.family != 4 && h.family != 6)
		abort();
	while (nflog_next(&in, &k) == 1) {
		if (memchr(k.prefix, 0, sizeof k.prefix) == NULL)
			abort();
		if (k.payload && (k.payload < p || k.payload + k.npayload > p + n))
			abort();
		nflog_lost(&seq, &k);
		nflog_head(k.payload, k.npayload, &h);
	}
	if (in.n)
		abort();
	return 0;
}
