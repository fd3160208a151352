/* crc - the checksums that S3 knows: CRC32 (IEEE), CRC32C (Castagnoli), CRC64NVME. ISA-L for the first two, carry-less
 * multiply (or tables where the CPU lacks it) for the third, which ISA-L 2.30 does not have.
 *
 * Running values: start with 0, feed in order; the value is the finished checksum of what was fed.
 * combine(a, b, len_b): the checksum of A followed by B (S3 FULL_OBJECT multipart checksums). Thread: any; pure. */
#pragma once
#include "common/base.h"

/* ISA-L exports another crc32_ieee: ours has its own symbol, so that neither replaces the other when linked. */
uint32_t crc32_ieee(uint32_t crc, const void *p, size_t n) __asm__("lectern_crc32_ieee");
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
uint64_t crc64nvme(uint64_t crc, const void *p, size_t n);
/* The same by a way not better than the given one (for tests; the CPU may offer less). */
enum crc_way { CRC_TABLE, CRC_FOLD, CRC_FOLD_WIDE };
uint64_t crc64nvme_by(enum crc_way way, uint64_t crc, const void *p, size_t n);
uint32_t crc32_ieee_combine(uint32_t a, uint32_t b, uint64_t len_b);
uint32_t crc32c_combine(uint32_t a, uint32_t b, uint64_t len_b);
uint64_t crc64nvme_combine(uint64_t a, uint64_t b, uint64_t len_b);
