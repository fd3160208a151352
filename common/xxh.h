/* xxh - the door to xxHash: XXH3, the checksum of everything that we store and the hash of placement and tables.
 * Thread: any; pure. */
#pragma once
#include "common/base.h"

struct hash128 {
    uint64_t lo, hi;
};
uint64_t xxh64of(const void *p, size_t n, uint64_t seed); /* XXH3_64bits_withSeed */
struct hash128 xxh128of(const void *p, size_t n);         /* XXH3_128bits */
