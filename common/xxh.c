/* xxh - XXH3 compiled for AVX2 where the CPU has it, else the distribution's library (built for SSE2, 14 against
 * 52 GB/s in cache). xxhash.h is included twice for that: plainly, for the library's functions, then inlined with AVX2
 * accumulators. The values are the same whichever way runs; the tests compare them. */
#include "common/xxh.h"
#include <stdlib.h>
#include <xxhash.h>

static uint64_t library64(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

static struct hash128 library128(const void *p, size_t n)
{
    XXH128_hash_t h = XXH3_128bits(p, n);
    return (struct hash128){.lo = h.low64, .hi = h.high64};
}

#if defined(__x86_64__)
#include <immintrin.h> /* before the pragma: the intrinsics bring their own target */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define XXH_INLINE_ALL
#undef XXH_VECTOR
#define XXH_VECTOR XXH_AVX2
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wcast-align"
#include <xxhash.h>
#pragma GCC diagnostic pop

static uint64_t avx2_64(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

static struct hash128 avx2_128(const void *p, size_t n)
{
    XXH128_hash_t h = XXH3_128bits(p, n);
    return (struct hash128){.lo = h.low64, .hi = h.high64};
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static inline bool wide(void)
{
    return __builtin_cpu_supports("avx2");
}
#else
#define avx2_64  library64
#define avx2_128 library128
static inline bool wide(void)
{
    return false;
}
#endif

uint64_t xxh64of(const void *p, size_t n, uint64_t seed)
{
    return wide() ? avx2_64(p, n, seed) : library64(p, n, seed);
}

struct hash128 xxh128of(const void *p, size_t n)
{
    return wide() ? avx2_128(p, n) : library128(p, n);
}
