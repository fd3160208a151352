/* crc - three CRCs, all reflected, all starting from ones and inverted at the end.
 *
 * ISA-L's conventions differ: crc32_gzip_refl inverts by itself, as zlib does; crc32_iscsi does not and takes an int
 * length. CRC64NVME is folded by carry-less multiplication: accumulators side by side (eight of
 * 128 bits, or four of 512) step over the bytes, are folded into one, and the last 16 bytes plus the tail go through
 * the table. In the reflected form a product of two 64-bit halves stands one place too high, so the constant that moves
 * a half by d bits is x^(d-1) mod P, bit-reversed. Joining: crc(A then B) = crc(A) * x^(8 len B) mod P + crc(B); the
 * inversions cancel out. */
#include "common/crc.h"

/* ISA-L has a crc32_ieee too, of another (unreflected) kind; crc.h gives ours its own symbol. */
#define crc32_ieee isal_crc32_ieee
#include <isa-l/crc.h>
#undef crc32_ieee

#define POLY_IEEE       UINT64_C(0xedb88320)
#define POLY_CASTAGNOLI UINT64_C(0x82f63b78)
#define POLY_NVME       UINT64_C(0x9a6c9329ac4bc9b5)

uint32_t crc32_ieee(uint32_t crc, const void *p, size_t n)
{
    return crc32_gzip_refl(crc, p, n);
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
    const size_t most = (size_t)1 << 30;
    uint8_t *at = (uint8_t *)(uintptr_t)p; /* ISA-L forgot const */
    crc = ~crc;
    while (n) {
        size_t step = MIN_OF(n, most);
        crc = crc32_iscsi(at, (int)step, crc);
        at += step;
        n -= step;
    }
    return ~crc;
}

/* ---- arithmetic of polynomials mod P, reflected: the highest bit of the width is x^0 ---- */

struct field {
    unsigned width;
    uint64_t poly;
    uint64_t pow2[64]; /* x^(2^i) mod P */
};

static uint64_t field_mul(const struct field *f, uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (uint64_t bit = UINT64_C(1) << (f->width - 1); a; bit >>= 1) {
        if (a & bit) {
            product ^= b;
            a ^= bit;
        }
        b = b >> 1 ^ (b & 1 ? f->poly : 0);
    }
    return product;
}

static void field_init(struct field *f, unsigned width, uint64_t poly)
{
    f->width = width;
    f->poly = poly;
    f->pow2[0] = UINT64_C(1) << (width - 2);
    for (size_t i = 1; i < ARRAY_LEN(f->pow2); i++)
        f->pow2[i] = field_mul(f, f->pow2[i - 1], f->pow2[i - 1]);
}

static uint64_t field_combine(const struct field *f, uint64_t a, uint64_t b, uint64_t len_b)
{
    /* x^(8 len) = product of x^(2^(i+3)) over the bits of len. */
    for (unsigned i = 3; len_b && i < ARRAY_LEN(f->pow2); i++, len_b >>= 1)
        if (len_b & 1)
            a = field_mul(f, f->pow2[i], a);
    return a ^ b;
}

static struct field ieee, castagnoli, nvme;
static uint64_t nvme_table[8][256]; /* slicing by eight */

__attribute__((constructor)) static void tables_init(void)
{
    field_init(&ieee, 32, POLY_IEEE);
    field_init(&castagnoli, 32, POLY_CASTAGNOLI);
    field_init(&nvme, 64, POLY_NVME);
    for (unsigned i = 0; i < 256; i++) {
        uint64_t v = i;
        for (int bit = 0; bit < 8; bit++)
            v = v >> 1 ^ (v & 1 ? POLY_NVME : 0);
        nvme_table[0][i] = v;
    }
    for (unsigned i = 0; i < 256; i++)
        for (unsigned k = 1; k < 8; k++)
            nvme_table[k][i] = nvme_table[k - 1][i] >> 8 ^ nvme_table[0][nvme_table[k - 1][i] & 255];
}

uint32_t crc32_ieee_combine(uint32_t a, uint32_t b, uint64_t len_b)
{
    return (uint32_t)field_combine(&ieee, a, b, len_b);
}

uint32_t crc32c_combine(uint32_t a, uint32_t b, uint64_t len_b)
{
    return (uint32_t)field_combine(&castagnoli, a, b, len_b);
}

uint64_t crc64nvme_combine(uint64_t a, uint64_t b, uint64_t len_b)
{
    return field_combine(&nvme, a, b, len_b);
}

/* ---- CRC64NVME; state is the inverted running value ---- */

static uint64_t nvme_by_table(uint64_t state, const uint8_t *p, size_t n)
{
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t v = 0;
        for (int i = 7; i >= 0; i--)
            v = v << 8 | p[i];
        v ^= state;
        state = 0;
        for (unsigned i = 0; i < 8; i++, v >>= 8)
            state ^= nvme_table[7 - i][v & 255];
    }
    for (; n; p++, n--)
        state = state >> 8 ^ nvme_table[0][(state ^ *p) & 255];
    return state;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define FOLD_LANES 8
#define FOLD_BYTES (16 * FOLD_LANES)
#define WIDE_LANES 4
#define WIDE_BYTES (64 * WIDE_LANES)
/* Without unrolling gcc -O2 keeps the lanes in memory. */
#ifdef __clang__
#define EACH_LANE _Pragma("clang loop unroll(full)")
#else
#define EACH_LANE _Pragma("GCC unroll 8")
#endif
/* {x^(d+63), x^(d-1)} mod P for the low (higher powers) and the high half; d in bits. */
#define FOLD(high, low) _mm_set_epi64x((long long)UINT64_C(high), (long long)UINT64_C(low))
#define FOLD_BY_128     FOLD(0x21e9761e252621ac, 0xeadc41fd2ba3d420)
#define FOLD_BY_1024    FOLD(0x5f852fb61e8d92dc, 0xa1ca681e733f9c40)
#define FOLD_BY_2048    FOLD(0xa043808c0f782663, 0x37ccd3e14069cabc)

__attribute__((target("pclmul"))) static inline __m128i fold(__m128i v, __m128i by, __m128i next)
{
    __m128i lo = _mm_clmulepi64_si128(v, by, 0x00);
    __m128i hi = _mm_clmulepi64_si128(v, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(lo, hi), next);
}

static inline __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i_u *)(const void *)p);
}

/* One 128-bit remainder v of what came before, then the rest of the bytes. */
__attribute__((target("pclmul"))) static uint64_t fold_end(__m128i v, const uint8_t *p, size_t n)
{
    for (; n >= 16; p += 16, n -= 16)
        v = fold(v, FOLD_BY_128, load(p));
    uint8_t rest[16];
    _mm_storeu_si128((__m128i_u *)(void *)rest, v);
    return nvme_by_table(nvme_by_table(0, rest, sizeof rest), p, n);
}

/* n >= FOLD_BYTES */
__attribute__((target("pclmul"))) static uint64_t nvme_by_folding(uint64_t state, const uint8_t *p, size_t n)
{
    __m128i lane[FOLD_LANES];
    EACH_LANE
    for (size_t i = 0; i < FOLD_LANES; i++)
        lane[i] = load(p + 16 * i);
    lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi64_si128((long long)state));
    for (p += FOLD_BYTES, n -= FOLD_BYTES; n >= FOLD_BYTES; p += FOLD_BYTES, n -= FOLD_BYTES) {
        EACH_LANE
        for (size_t i = 0; i < FOLD_LANES; i++)
            lane[i] = fold(lane[i], FOLD_BY_1024, load(p + 16 * i));
    }
    __m128i v = lane[0];
    EACH_LANE
    for (size_t i = 1; i < FOLD_LANES; i++)
        v = fold(v, FOLD_BY_128, lane[i]);
    return fold_end(v, p, n);
}

#define WIDE_TARGET __attribute__((target("avx512f,vpclmulqdq,pclmul")))

WIDE_TARGET static inline __m512i fold_wide(__m512i v, __m512i by, const uint8_t *p)
{
    __m512i lo = _mm512_clmulepi64_epi128(v, by, 0x00);
    __m512i hi = _mm512_clmulepi64_epi128(v, by, 0x11);
    return _mm512_ternarylogic_epi64(lo, hi, _mm512_loadu_si512(p), 0x96); /* xor of three */
}

/* n >= WIDE_BYTES */
WIDE_TARGET static uint64_t nvme_by_wide_folding(uint64_t state, const uint8_t *p, size_t n)
{
    const __m512i by = _mm512_broadcast_i32x4(FOLD_BY_2048);
    __m512i lane[WIDE_LANES];
    EACH_LANE
    for (size_t i = 0; i < WIDE_LANES; i++)
        lane[i] = _mm512_loadu_si512(p + 64 * i);
    lane[0] = _mm512_xor_si512(lane[0], _mm512_zextsi128_si512(_mm_cvtsi64_si128((long long)state)));
    for (p += WIDE_BYTES, n -= WIDE_BYTES; n >= WIDE_BYTES; p += WIDE_BYTES, n -= WIDE_BYTES) {
        EACH_LANE
        for (size_t i = 0; i < WIDE_LANES; i++)
            lane[i] = fold_wide(lane[i], by, p + 64 * i);
    }
    uint8_t left[WIDE_BYTES];
    EACH_LANE
    for (size_t i = 0; i < WIDE_LANES; i++)
        _mm512_storeu_si512(left + 64 * i, lane[i]);
    __m128i v = load(left);
    for (size_t at = 16; at < WIDE_BYTES; at += 16)
        v = fold(v, FOLD_BY_128, load(left + at));
    return fold_end(v, p, n);
}

static bool can_fold(enum crc_way way, size_t n)
{
    return way >= CRC_FOLD && n >= FOLD_BYTES && __builtin_cpu_supports("pclmul");
}

static bool can_fold_wide(enum crc_way way, size_t n)
{
    return way >= CRC_FOLD_WIDE && n >= WIDE_BYTES && __builtin_cpu_supports("vpclmulqdq") &&
           __builtin_cpu_supports("avx512f");
}
#else
#define nvme_by_folding       nvme_by_table
#define nvme_by_wide_folding  nvme_by_table
#define can_fold(way, n)      false
#define can_fold_wide(way, n) false
#endif

uint64_t crc64nvme_by(enum crc_way way, uint64_t crc, const void *p, size_t n)
{
    (void)way; /* where the CPU has one way only */
    if (can_fold_wide(way, n))
        return ~nvme_by_wide_folding(~crc, p, n);
    if (can_fold(way, n))
        return ~nvme_by_folding(~crc, p, n);
    return ~nvme_by_table(~crc, p, n);
}

uint64_t crc64nvme(uint64_t crc, const void *p, size_t n)
{
    return crc64nvme_by(CRC_FOLD_WIDE, crc, p, n);
}
