#include "spool/crc.h"

#include <stdbool.h>
#include <string.h>

/* Reflected polynomial; eight tables, so that eight bytes take one step. */
static uint32_t table[8][256];

__attribute__((constructor)) static void
fill(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0x82f63b78U : c >> 1;
		table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int k = 1; k < 8; k++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
}

static uint32_t
by_tables(uint32_t c, const uint8_t *p, size_t n)
{
	for (; n >= 8; p += 8, n -= 8) {
		uint32_t lo = c ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
		    (uint32_t)p[3] << 24);

		c = table[7][lo & 0xff] ^ table[6][lo >> 8 & 0xff] ^ table[5][lo >> 16 & 0xff] ^
		    table[4][lo >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
	}
	for (; n; p++, n--)
		c = c >> 8 ^ table[0][(c ^ *p) & 0xff];
	return c;
}

/* Processors that have an instruction for it take a fifth of the time: the queue reads each
 * message once, and large ones would else wait for this above all. */
#if defined(__x86_64__)
#define OWN __attribute__((target("sse4.2")))
#define STEP(c, word) ((uint32_t)__builtin_ia32_crc32di((c), (word)))

static bool
has_own(void)
{
	return __builtin_cpu_supports("sse4.2") != 0;
}
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <sys/auxv.h>
#define OWN __attribute__((target("+crc")))
#define STEP(c, word) __crc32cd((c), (word))

static bool
has_own(void)
{
	return (getauxval(AT_HWCAP) & 1UL << 7) != 0; /* HWCAP_CRC32 */
}
#endif

#ifdef OWN
OWN static uint32_t
by_instruction(uint32_t c, const uint8_t *p, size_t n)
{
	for (; n >= 8; p += 8, n -= 8) {
		uint64_t word;

		memcpy(&word, p, sizeof word);
		c = STEP(c, word);
	}
	return by_tables(c, p, n);
}
#endif

uint32_t
crc32c(uint32_t c, const void *bytes, size_t n)
{
#ifdef OWN
	if (has_own())
		return ~by_instruction(~c, bytes, n);
#endif
	return ~by_tables(~c, bytes, n);
}

uint32_t
crc32c_slowly(uint32_t c, const void *bytes, size_t n)
{
	return ~by_tables(~c, bytes, n);
}
