/*
 * crc: CRC-32C (Castagnoli, RFC 3720 appendix B.4), for what a disk or a
 * power cut does to bytes; not for what an adversary does.
 */
#ifndef SPOOL_CRC_H
#define SPOOL_CRC_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of n bytes at p, continued from c (0 at first). */
uint32_t
crc32c(uint32_t c, const void *p, size_t n);

/* The same without the processor's own instruction, for tests. */
uint32_t
crc32c_slowly(uint32_t c, const void *p, size_t n);

#endif
